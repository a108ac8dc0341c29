# SPDX-License-Identifier: MIT
"""Load for the tests: the C tools beside a stack, and what is checked of both.

By default a test is as large as fits into some seconds; WALCAST_SOAK=1 (`make
soak`) takes the full figures.  WALCAST_LOAD names another directory of tools.
"""

import json
import os
import pathlib
import re
import sqlite3
import subprocess
import threading
import time

from harness import ROOT, Failed, wait_until

SOAK = os.environ.get("WALCAST_SOAK", "") not in ("", "0")
LOAD = pathlib.Path(os.environ.get("WALCAST_LOAD", ROOT / "build" / "load"))


def size(short, full):
    """A figure of the short version, or of the full one."""
    return full if SOAK else short


def say(**figures):
    """Figures for the reader of the test's output (pytest -s, or -rP)."""
    print(" ".join("%s=%s" % (k, round(v, 3) if isinstance(v, float) else v)
                   for k, v in figures.items()))


class Tool:
    """A load tool in the background.  result() is what it printed."""

    def __init__(self, stack, name, *args, max_time=120):
        self.name = name
        self.max_time = max_time
        self._out = open(stack.dir / ("%s-%d.json" % (name, id(self))), "w+b")
        self._err = open(stack.dir / ("%s-%d.err" % (name, id(self))), "w+b")
        self.args = [str(LOAD / name), *map(str, args),
                     "--max-time", str(max_time)]
        self.popen = subprocess.Popen(
            self.args, stdin=subprocess.DEVNULL, stdout=self._out,
            stderr=self._err, cwd=stack.dir)

    @property
    def running(self):
        return self.popen.poll() is None

    def errors(self):
        self._err.seek(0)
        return self._err.read()[:4000].decode("utf-8", "replace")

    def result(self, good=True):
        """Waits for its end.  good: it must have found nothing wrong."""
        try:
            code = self.popen.wait(self.max_time + 20)
        except subprocess.TimeoutExpired:
            self.stop()
            raise Failed("%s does not end\n%s" % (
                self.name, self.errors())) from None
        self._out.seek(0)
        text = self._out.read().decode()
        if code == 2 or not text:
            raise Failed("%s: exit %d\n%s" % (self.name, code, self.errors()))
        r = json.loads(text)
        if good and code != 0:
            raise Failed("%s: exit %d\n%s\n%s\n%s" % (
                " ".join(self.args), code, text, self.errors(), ""))
        return r

    def stop(self):
        """TERM: it prints what it has so far."""
        if self.running:
            self.popen.terminate()
        try:
            self.popen.wait(20)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()
        self._out.close()
        self._err.close()


class Subscribers(Tool):
    """sseload; every stream takes all of the log unless dense=False."""

    def __init__(self, stack, web, n, *args, query="channel=c0", dense=True,
                 ready=None, **kw):
        self.ready_file = stack.dir / ("ready-%d" % time.monotonic_ns())
        more = ["--ready-file", self.ready_file]
        if ready is not None:
            more += ["--ready-streams", ready]
        if dense:
            more.append("--dense")
        super().__init__(stack, "sseload", "--url",
                         "%s/sse.fcgi?%s" % (web.url, query), "--streams", n,
                         *more, *args, **kw)

    def ready(self, timeout=60):
        """Waits until the streams (or as many as were asked for) are open."""
        def open_or_over():
            if not self.running:
                raise Failed("sseload ended early\n%s\n%s" % (
                    self.result(good=False), self.errors()))
            return self.ready_file.exists()
        wait_until(open_or_over, timeout, "the streams to open")
        return self


class Publishers(Tool):
    """pubload, on channel c0 unless the arguments say otherwise."""

    def __init__(self, stack, events, *args, channel="c0", **kw):
        if "--channels" not in args:
            args = ("--channel", channel) + args
        super().__init__(stack, "pubload", "--socket", stack.pubd_sock,
                         "--events", events, *args, **kw)


def publish(stack, events, *args, **kw):
    """Publishes and waits until all is acked."""
    with Publishers(stack, events, *args, **kw) as p:
        return p.result()


def whole(r, streams, events):
    """Every stream has every event once and in order: sseload's result."""
    assert r["complete"] and r["violations"] == 0, r
    assert r["streams_done"] == streams and r["failed_streams"] == 0, r
    assert r["missing_ids"] == r["duplicates"] == r["out_of_order"] == 0, r
    assert r["events_min"] == r["events_max"] == events, r


def audit(stack):
    """The log is what it promises to be."""
    done = stack.walcast("audit", timeout=120)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout.decode()


def rows(stack, sql, *args):
    """Reads from the log beside all the others."""
    db = sqlite3.connect("file:%s?mode=ro" % stack.db, uri=True, timeout=10)
    try:
        return db.execute(sql, args).fetchall()
    finally:
        db.close()


# ---------------------------------------------------------------- watching

class Sampler(threading.Thread):
    """Calls look() again and again beside the test; keeps what it gave."""

    def __init__(self, look, every=0.02):
        super().__init__(daemon=True)
        self.look, self.every = look, every
        self.seen = []
        self.error = None
        self._end = threading.Event()

    def run(self):
        try:
            while not self._end.is_set():
                self.seen.append(self.look())
                self._end.wait(self.every)
        except BaseException as e:      # told in __exit__
            self.error = e

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *exc):
        self._end.set()
        self.join(60)
        if kind is None and self.error:
            raise self.error
        assert not self.is_alive()


class Page(Sampler):
    """Fetches a page over and over; slowest is the longest answer, in s."""

    def __init__(self, web, path, text, every=0.01):
        self.web, self.path, self.text = web, path, text.encode()
        super().__init__(self._get, every)

    def _get(self):
        started = time.monotonic()
        status, _, body = self.web.get(self.path, timeout=30)
        took = time.monotonic() - started
        assert status == 200 and self.text in body, (self.path, status, body)
        return took

    @property
    def slowest(self):
        return max(self.seen)


class Identity:
    """The processes that must be the same ones to the end."""

    def __init__(self, *procs):
        self.procs = [(p, p.pid) for p in procs]

    def check(self):
        for p, pid in self.procs:
            assert p.running and p.pid == pid, p.tail()


def slot_locks(stack):
    """Locks that are held on the slots of this stack's log: pids (-1: held by
    an open file description)."""
    found = stack.run.glob("slots-*")
    inodes = {f.stat().st_ino for f in found}
    held = []
    for line in pathlib.Path("/proc/locks").read_text().splitlines():
        m = re.match(r"\d+: (?:-> )?\S+ +\S+ +\S+ +(-?\d+) \S+:(\d+) ", line)
        if m and int(m.group(2)) in inodes:
            held.append(line)
    return held
