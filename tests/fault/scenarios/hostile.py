# SPDX-License-Identifier: MIT
"""Hostile loads beside the innocent (innocent.py): what a good publisher and a
good stream lose by them, as ratios to the same run without the load.

The loads are those of loads.py: from strangers, bounded in count and time.
"""

import contextlib
import ctypes
import os
import pathlib
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import fcgi
from harness import RUN_AS, Stack, wait_until
from innocent import (figures, fresh_publisher, hostile, innocents,
                      new_stream)
from scenario import scenario
from scenarios.security import raw_get
from shims import needed, shim

CONFIG = {"heartbeat_ms": 1000, "retry_ms": 200, "tail_poll_ms": 1000}
LONG_S, SHORT_S = 6, 2      # of a window
ONE = ("lighttpd",)         # where the web server has no part in it


def window_s(run):
    return SHORT_S if run.short else LONG_S


def limited_pubd(descriptors):
    """Starts pubd with so few of them."""
    def start(st):
        st.pubd = st.spawn("pubd", [st.bin / "pubd"],
                           limits=lambda: resource.setrlimit(
                               resource.RLIMIT_NOFILE, (descriptors,) * 2))
        st.await_socket(st.pubd, st.pubd_sock)
    return start


def servers(run, config=None, start_pubd=Stack.start_pubd, metrics=False,
            fill=None, workers=2, **front):
    """A stack, two workers, and the web server before it."""
    st = run.stack(dict(CONFIG, **(config or {})), workers=0, pubd=False,
                   listen="fd0")
    if fill:
        fill(st)
    start_pubd(st)
    for _ in range(workers):
        st.start_worker()
    if metrics:
        st.start_metrics()
    return st, run.front(st, **front)


def beside(run, st, web, name, seconds=None, judged=None, **args):
    """The innocent without, beside and after a load; what the load says."""
    s, told = seconds or window_s(run), {}
    with innocents(run, st, web, **(judged or {})) as who:
        for _ in run.each_round():
            who.window("calm", s)
            with hostile(run, name, **args) as told:
                who.window("beside", s)
            who.recovered()
            who.window("after", s)
    return told


# ---------------------------------------------------------------- pubd

def unfinished(run, st, web, n):
    """n connections of 4,095 bytes without a line's end, and their end."""
    with innocents(run, st, web) as who:
        for _ in run.each_round():
            fds = st.pubd.fds()
            who.window("calm", window_s(run))
            with hostile(run, "unfinished-lines", path=st.pubd_sock, n=n,
                         size=4095):
                who.window("beside", window_s(run))
            run.check(fresh_publisher(st.pubd_sock, 5) is not None,
                      "pubd answers nobody after they have all left")
            who.recovered()
            who.window("after", window_s(run))
            wait_until(lambda: st.pubd.fds() <= fds + 8, 10,
                       "the descriptors of those who left")


@scenario("hostile-unfinished-lines", tags="hostile security", fronts=ONE,
          short=True, rounds=1)
def hostile_unfinished_lines(run):
    """4,400 publishers that each send 4,095 bytes of a line and leave."""
    st, web = servers(run)
    unfinished(run, st, web, 4400)


@scenario("hostile-descriptors", tags="hostile security", fronts=ONE,
          rounds=1)
def hostile_descriptors(run):
    """The same with more of them than pubd may have descriptors."""
    st, web = servers(run, start_pubd=limited_pubd(1024))
    unfinished(run, st, web, 1500)


@scenario("hostile-dripping-lines", tags="hostile security", fronts=ONE,
          rounds=1)
def hostile_dripping_lines(run):
    """4,400 lines that never end, of 4,090 bytes and a byte more each half
    second; who is closed comes again."""
    st, web = servers(run)
    beside(run, st, web, "unfinished-lines", path=st.pubd_sock, n=4400,
           size=4090, drip_s=0.5, refill=True)


@scenario("hostile-ping", tags="hostile security", fronts=ONE,
          rounds=1)
def hostile_ping(run):
    """One connection that pings as fast as it is answered."""
    st, web = servers(run)
    beside(run, st, web, "pings", path=st.pubd_sock, n=1)


@scenario("hostile-pings", tags="hostile security", fronts=ONE,
          short=True, rounds=1)
def hostile_pings(run):
    """A hundred of them."""
    st, web = servers(run)
    beside(run, st, web, "pings", path=st.pubd_sock, n=100)


@scenario("hostile-reports", tags="hostile security", fronts=ONE,
          rounds=1)
def hostile_reports(run):
    """200 watchers of the workers' own uid that report ten times a second."""
    st, web = servers(run)
    beside(run, st, web, "reports", path=st.pubd_sock, n=200, per_s=10,
           uid=None)


@scenario("hostile-strangers-reports", tags="hostile security", fronts=ONE,
          rounds=1)
def hostile_strangers_reports(run):
    """The same of a stranger's uid, which may report nothing."""
    st, web = servers(run)
    beside(run, st, web, "reports", path=st.pubd_sock, n=200, per_s=10)


@scenario("hostile-watchers", tags="hostile security", fronts=ONE,
          rounds=1)
def hostile_watchers(run):
    """5,000 watchers that say nothing and read nothing."""
    st, web = servers(run)
    beside(run, st, web, "watchers", path=st.pubd_sock, n=5000)


@scenario("hostile-publisher", tags="hostile security", fronts=ONE,
          short=True, rounds=1)
def hostile_publisher(run):
    """A publisher as fast as it may, where publish_rate is 500 a second: it is
    told so at once, and the log is not washed out."""
    rate, burst = 500, 1000
    st, web = servers(run, {"publish_rate": rate, "publish_burst": burst})
    began = time.monotonic()
    told = beside(run, st, web, "publish", path=st.pubd_sock, n=4)
    took = time.monotonic() - began
    with contextlib.closing(sqlite3.connect(
            "file:%s?mode=ro" % st.db, uri=True)) as db:
        stored = db.execute("SELECT count(*) FROM events WHERE channel = "
                            "'hostile'").fetchone()[0]
    run.note(stored=stored)
    run.check(stored <= burst + rate * (took + 1),
              "%d events of it were stored" % stored)
    run.check(told["rate_limited"] > 0, "it was never told rate_limited")
    run.check(not told["without_retry_ms"], "rate_limited without retry_ms")


def health(st, web):
    """What `status --check` and readyz say."""
    code = st.walcast("status", "--check").returncode
    return code == 0, web.get("/sse-metrics.fcgi/readyz")[0] == 200


@scenario("hostile-health", tags="hostile security", fronts=ONE,
          rounds=1)
def hostile_health(run):
    """pubd is stopped, as deaf as it can be: readyz and `status --check` say
    so within ten seconds, and that it is well when it is."""
    st, web = servers(run, metrics=True)
    for _ in run.each_round():
        wait_until(lambda: health(st, web) == (True, True), 15, "a ready pubd")
        st.pubd.pause()
        try:
            wait_until(lambda: health(st, web) == (False, False), 10,
                       "both to say that pubd does not answer")
        finally:
            st.pubd.resume()
        wait_until(lambda: health(st, web) == (True, True), 15,
                   "both to say that it is well again")


@scenario("hostile-socket-gone", tags="hostile security", fronts=ONE,
          short=True, rounds=1)
def hostile_socket_gone(run):
    """pubd lives and beats, and its socket was removed: nobody can publish,
    and readyz and `status --check` say so."""
    st, web = servers(run, metrics=True)
    for _ in run.each_round():
        wait_until(lambda: health(st, web) == (True, True), 15, "a ready pubd")
        st.pubd_sock.unlink()
        wait_until(lambda: health(st, web) == (False, False), 20,
                   "both to say that pubd does not answer")
        st.restart_pubd()
        wait_until(lambda: health(st, web) == (True, True), 15,
                   "both to say that it is well again")


# ---------------------------------------------------------------- replay

ROWS = 600000
CHANNELS = ["innocent"] + ["fill%d" % n for n in range(70)]


def filled(st, rows=ROWS, size=100):
    """A log of many rows: `sparse` has the first one only."""
    data = "x" * size
    with contextlib.closing(sqlite3.connect(st.db)) as db:
        db.execute("INSERT INTO events (channel, data) VALUES ('sparse', 'x')")
        db.executemany(
            "INSERT INTO events (channel, data) VALUES (?, ?)",
            ((CHANNELS[n % len(CHANNELS)], data) for n in range(rows)))
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def heavy_targets(rows):
    """What costs a worker most for its length."""
    names = "&".join("channel=fill%d" % n for n in range(60)) \
        + "&channel=none1&channel=none2&channel=none3&channel=sparse"
    return ["/sse.fcgi?channel=sparse&last=1",
            "/sse.fcgi?last=1&" + "&".join("channel=none%d" % n
                                           for n in range(64)),
            "/sse.fcgi?last_event_id=%d&" % (rows - 5000) + names,
            "/sse.fcgi?last_event_id=1&" + names,
            "/sse.fcgi?last_event_id=1&channel=*&" + "&".join(
                "events=never%d" % n for n in range(64))]


def heavy_gets(run, per_s, sources):
    rows = ROWS // 3 if run.short else ROWS
    st, web = servers(run, {"max_streams_per_address": 0}, workers=1,
                      fill=lambda st: filled(st, rows))
    beside(run, st, web, "gets", addr=web.addr, targets=heavy_targets(rows),
           per_s=per_s, sources=sources, uid=None, limit=1 << 18,
           judged={"factor": 3, "floor_ms": {"p50": 10}})


@scenario("hostile-gets", tags="hostile security", fronts=ONE,
          rounds=1)
def hostile_gets(run):
    """20 GETs a second from one address over 600,000 rows: sparse `last`, 64
    channels, 64 events that never come."""
    heavy_gets(run, 20, ["127.0.0.2"])


@scenario("hostile-gets-of-many", tags="hostile security", fronts=ONE,
          rounds=1)
def hostile_gets_of_many(run):
    """A hundred GETs a second from a hundred addresses over 600,000 rows."""
    heavy_gets(run, 100, ["127.0.1.%d" % n for n in range(1, 101)])


def tcp_kib():
    """Kernel memory of the machine's TCP sockets."""
    with open("/proc/net/sockstat") as f:
        for line in f:
            words = line.split()
            if words[0] == "TCP:":
                return int(words[words.index("mem") + 1]) * 4
    return 0


READERS, HELD_KIB = 100, 1024


def kernel_bounds(run):
    """Does this web server bound its send queues, or the kernel for it?"""
    lowat = pathlib.Path("/proc/sys/net/ipv4/tcp_notsent_lowat").read_text()
    return run.front_kind.startswith("apache") or int(lowat) <= 131072


@scenario("hostile-deaf-readers", tags="hostile security", rounds=1)
def hostile_deaf_readers(run):
    """A hundred streams that replay everything and read nothing: what each
    holds of kernel memory is bounded."""
    st, web = servers(run, fill=lambda st: filled(st, 60000, 1000))
    with innocents(run, st, web) as who:
        for _ in run.each_round():
            who.window("calm", LONG_S)
            before = tcp_kib()
            with hostile(run, "holders", addr=web.addr, n=READERS, read=False,
                         rcvbuf=8192,  # theirs is not counted
                         target="/sse.fcgi?channel=*&last_event_id=1",
                         uid=None):
                who.window("beside", LONG_S)
                each = (tcp_kib() - before) / READERS
            run.note(kib_each=round(each))
            if not kernel_bounds(run):
                run.skip("each holds %d KiB: lighttpd has no bound of its "
                         "own; with lighttpd/walcast-sysctl.conf the kernel "
                         "has one" % each)
            run.check(each < HELD_KIB, "each holds %d KiB" % each)
            who.recovered()
            who.window("after", LONG_S)


# ---------------------------------------------------------------- slots

CAP, VISITORS, IN_S = 100, 22, 5


class Visitor(threading.Thread):
    """A browser that tries until it is in, and stays until it is told."""

    def __init__(self, addr, source, until, over):
        super().__init__(daemon=True)
        self.addr, self.source, self.until = addr, source, until
        self.over, self.took = over, None

    def run(self):
        began = time.monotonic()
        while self.took is None and time.monotonic() < self.until:
            with contextlib.suppress(OSError), \
                    contextlib.closing(socket.socket()) as s:
                s.settimeout(max(self.until - time.monotonic(), 0.01))
                s.bind((self.source, 0))
                s.connect(self.addr)
                s.sendall(b"GET /sse.fcgi?channel=visitors HTTP/1.1\r\n"
                          b"Host: localhost\r\n\r\n")
                got = b""
                while b"control." not in got and (raw := s.recv(65536)):
                    got += raw
                if b"control.open" in got:
                    self.took = time.monotonic() - began
                    self.over.wait(60)
            self.over.wait(0.2)


def visitors(run, web, name):
    """Browsers of other addresses: nine of ten are in within IN_S."""
    over = threading.Event()
    until = time.monotonic() + IN_S
    who = [Visitor(web.addr, "127.0.0.%d" % (n + 3), until, over)
           for n in range(VISITORS)]
    for v in who:
        v.start()
        over.wait(0.02)
    wait_until(lambda: time.monotonic() > until or
               all(v.took is not None for v in who), IN_S + 5, "visitors")
    took = [v.took for v in who if v.took is not None]
    over.set()
    for v in who:
        v.join(10)
    run.note(**{"in_" + name: "%d/%d" % (len(took), VISITORS)})
    if took:
        run.note(**{"in_ms_" + name: "%(p50)g/%(p99)g" % figures(took)})
    run.check(len(took) * 10 >= VISITORS * 9, "%s: %d of %d visitors came in "
              "within %g s" % (name, len(took), VISITORS, IN_S))


def slots(run, name, **args):
    st, web = servers(run, {"heartbeat_ms": 15000}, cap=CAP, mpm=None,
                      share="shipped")
    for _ in run.each_round():
        visitors(run, web, "calm")
        with hostile(run, name, addr=web.addr, uid=None,
                     target="/sse.fcgi?channel=hostile", **args):
            time.sleep(3)       # until it has what it can have
            visitors(run, web, "beside")


@scenario("hostile-aborts", tags="hostile security", rounds=1)
def hostile_aborts(run):
    """60 GETs a second from one address whose client leaves when it is in, where 100
    streams are allowed and heartbeats are rare: others come in."""
    slots(run, "aborted-gets", per_s=60, after_s=0.2)


@scenario("hostile-holder", tags="hostile security", short=True, rounds=1)
def hostile_holder(run):
    """One address that wants 150 streams where 100 are allowed, and comes
    again and again: others come in."""
    slots(run, "holders", n=150)


@scenario("hostile-stopped-workers", tags="hostile security", rounds=1)
def hostile_stopped_workers(run):
    """The workers are stopped, and 300 browsers ask for streams: the site's
    pages come all the same."""
    st, web = servers(run, mpm=None, cap=CAP)
    for _ in run.each_round():
        for w in st.workers:
            w.pause()
        try:
            with hostile(run, "holders", addr=web.addr, n=300, uid=None,
                         target="/sse.fcgi?channel=c", again=False):
                took = []
                for _ in range(10):
                    began = time.monotonic()
                    with contextlib.suppress(Exception):
                        if web.get("/index.html", timeout=5)[0] == 200:
                            took.append(time.monotonic() - began)
        finally:
            for w in st.workers:
                w.resume()
        run.note(pages="%d/10" % len(took), worst_s=max(took, default=0))
        run.check(len(took) >= 9, "%d of 10 pages came" % len(took))
        # A visitor comes again when he is told to, as an EventSource does.
        until = time.monotonic() + 15
        while (took := new_stream(web.addr, "/sse.fcgi?channel=c",
                                  timeout=5)) is None \
                and time.monotonic() < until:
            time.sleep(0.2)
        run.check(took is not None, "no stream when the workers go on")


# ---------------------------------------------------------------- names

def colliding(n):
    """n channel names of one bucket, to who knows the hash function."""
    text = ctypes.create_string_buffer(17 * n + 1)
    ctypes.CDLL(str(shim("names"))).names_colliding(
        ctypes.c_uint(10), ctypes.c_size_t(n), text)
    return text.value.decode().split()


def of_64(names):
    return ["/sse.fcgi?" + "&".join("channel=" + c for c in names[n:n + 64])
            for n in range(0, len(names), 64)]


@scenario("hostile-names", tags="hostile security", fronts=ONE,
          short=True, rounds=1)
def hostile_names(run):
    """800 streams of 64 channels each, whose names fall into one bucket of a
    hash table without a key; then 20 more come each second."""
    needed(run, "names")
    st, web = servers(run, {"max_streams_per_address": 0}, workers=1, cap=4000)
    targets = of_64(colliding(64 * 1000))
    with innocents(run, st, web) as who:
        for _ in run.each_round():
            who.window("calm", window_s(run))
            with hostile(run, "holders", addr=web.addr, uid=None, n=800,
                         target=targets[:800]):
                with hostile(run, "gets", addr=web.addr, uid=None, per_s=20,
                             targets=targets[800:]):
                    who.window("beside", window_s(run))
            who.recovered()
            who.window("after", window_s(run))


# ---------------------------------------------------------------- requests

@scenario("hostile-headers", tags="hostile security", short=True, rounds=1)
def hostile_headers(run):
    """A request with more headers than a worker takes is told 431 (by it or by
    the web server), it is no broken connection."""
    _, web = servers(run, workers=1)
    for _ in run.each_round():
        for n, size in ((30, 4000), (90, 2000), (95, 4), (400, 4), (1, 7000)):
            status, _ = raw_get(web, "/sse.fcgi?channel=c", [
                "X-Pad-%d: %s" % (i, "x" * size) for i in range(n)])
            run.check(status in ((200,) if n == 1 else (200, 431, 400, 413)),
                      "%d headers of %d bytes were answered %r" % (
                          n, size, status))
            run.count("status_%s" % status)


# What a web server's configuration may say of how many; all mean a limit.
MALFORMED = ("2x", "+2", "2.0", "2 streams", "abc", "-1", "1e3", "")
SAME = (("2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3"),
        ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:7::1%eth0", "2001:db8:7::1", "2001:db8:7::2"))


def first_word(st, stack, **env):
    """Of a stream asked for as by a web server: "open" or "close"."""
    c = stack.enter_context(fcgi.Conn(st.sse_sock, fcgi.request(
        query="channel=c", **env)))
    got = b""
    while b"control." not in got:
        got += c.record(10)[2]
    return got.partition(b"control.")[2].partition(b"\n")[0].decode()


def limit(run, st, n, many, allowed, **env):
    """many streams, of which allowed(how many were opened)."""
    env["WALCAST_LOCATION"] = "limit%d" % n
    with contextlib.ExitStack() as stack:
        opened = [first_word(st, stack, REMOTE_ADDR="10.0.%d.%d" % (n, i),
                             **env) for i in range(many)].count("open")
    run.check(allowed(opened), "%r let %d of %d in" % (env, opened, many))
    run.count("limits")


@scenario("hostile-limits", tags="hostile security", fronts=ONE, short=True,
          rounds=1)
def hostile_limits(run):
    """Caps that are malformed or come from the client, addresses of one /64
    or written in several ways: nothing of it is no limit."""
    st, _ = servers(run, {"max_streams_per_address": 2}, workers=1)
    for _ in run.each_round():
        for n, addresses in enumerate(SAME):
            with contextlib.ExitStack() as stack:
                told = [first_word(st, stack, REMOTE_ADDR=a)
                        for a in addresses]
            run.check(told == ["open", "open", "close"],
                      "streams of %r were told %r" % (addresses, told))
        for n, text in enumerate(("2", " 2", "2 ", "\t2\t")):
            limit(run, st, n, 4, lambda opened: opened == 2,
                  WALCAST_MAX_STREAMS=text, HTTP_WALCAST_MAX_STREAMS="100")
        for n, text in enumerate(MALFORMED, 10):
            limit(run, st, n, 250, lambda opened: opened < 250,
                  WALCAST_MAX_STREAMS=text)


@scenario("hostile-links", tags="hostile security", fronts=ONE, short=True,
          rounds=1)
def hostile_links(run):
    """Links in the directory of the log, to files of root's and of pubd's
    user: root does nothing there, and pubd's user follows none."""
    if not RUN_AS:
        run.skip("not root: nobody has files that another one wants")
    st = run.stack(workers=0, pubd=False)
    for n in run.each_round():
        done = subprocess.run([st.bin / "walcast", "audit"], cwd=st.dir,
                              env=st.environment(), capture_output=True)
        run.check(done.returncode != 0, "root works where others may write")
        for owner, name in ((0, "events.db"), (RUN_AS.pw_uid, "events.db"),
                            (RUN_AS.pw_uid, "status.db")):
            prize = st.run / ("prize%d-%s-%d" % (owner, name, n))
            if name == "status.db":
                prize.touch()       # anything could be made of it
            else:
                shutil.copy(st.db, prize)
            os.chown(prize, owner, RUN_AS.pw_gid)
            prize.chmod(0o660 if owner else 0o600)
            before = prize.read_bytes(), prize.stat()[:6]
            kept = st.var / name
            if kept.exists():
                kept.rename(st.dir / "kept")
            kept.symlink_to(prize)
            for argv in ("walcast", "init", "--mode", "open"), ("pubd",):
                user = dict(user=owner, group=RUN_AS.pw_gid, extra_groups=[])
                try:
                    code = subprocess.run(
                        [st.bin / argv[0], *argv[1:]], timeout=2, cwd=st.dir,
                        env=st.environment(), stdin=subprocess.DEVNULL,
                        capture_output=True, **user).returncode
                except subprocess.TimeoutExpired:
                    code = 0            # it went to work
                refused = code != 0 or name == "status.db"
                run.check(refused, "%s of uid %d went to work over a link at "
                          "%s" % (argv[0], owner, name))
                run.check((prize.read_bytes(), prize.stat()[:6]) == before,
                          "%s of uid %d changed what %s links to" % (
                              argv[0], owner, name))
                run.count("programs")
            kept.unlink()
            if (st.dir / "kept").exists():
                (st.dir / "kept").rename(kept)
