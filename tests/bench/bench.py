#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The numbers to hold, as ratios, side by side in one run.

    make bench                          everything, about 10 minutes
    make bench BENCH_ARGS="--quick"     smaller, about 3
    make bench BENCH_ARGS="--only fanout,latency"

Every measurement through a web server is taken next to the same one of nginx
with Nchan (in memory, without logs, with the number of workers and the
publishing window that served it best), and every one of the log next to a
bare SQLite loop over the same schema.  Rounds of the two sides alternate and
the median is taken, so that a machine that slows down slows both.

The client (build/load/sseload) runs on the same cores.  For throughput it
reads every 20 ms at most, on both sides: with a system call for each event it
would be what is measured.  It checks every stream (dense ids here, a dense
number in the data there); a run with a fault counts as failed.

Exit status: 0 all was measured and no client saw a fault, whatever the
ratios; 1 not.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LOAD = ROOT / "build" / "load"
BENCH = ROOT / "build" / "bench"
sys.path.insert(0, str(HERE.parent / "system"))

# pylint: disable=wrong-import-position
from harness import (ApacheProxy, KINDS, Proc, RUN_AS, Stack,  # noqa: E402
                     can_connect, free_port, wait_until)

MODULES = os.environ.get("NGINX_MODULES", "/usr/lib/nginx/modules")
SIZE = 200             # bytes of data in an event
COALESCE_MS = 20
PAGE = 256


class Wrong(Exception):
    """A run that did not complete, or whose client saw a fault."""


def say(text):
    print(text, flush=True)


def tool(path, *args, timeout=180, check=True):
    """Runs a tool that prints one JSON object."""
    done = subprocess.run([str(path), *map(str, args)], timeout=timeout,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          check=False)
    err = done.stderr.decode(errors="replace")
    if check and done.returncode != 0:
        raise Wrong("%s: status %d\n%s%s" % (
            path.name, done.returncode, err, done.stdout.decode()[:2000]))
    return json.loads(done.stdout)


class Clients:
    """sseload with N streams; all of them are open when this returns."""

    def __init__(self, folder, url, streams, *args, max_s=150):
        self.ready = pathlib.Path(folder) / "clients-ready"
        self.ready.unlink(missing_ok=True)
        self.popen = subprocess.Popen(
            [str(LOAD / "sseload"), "--url", url, "--streams", str(streams),
             "--latency", "t", "--ready-file", str(self.ready),
             "--max-time", str(max_s), *map(str, args)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            wait_until(lambda: self.ready.exists() or
                       self.popen.poll() is not None, 60,
                       "%d streams" % streams)
        except BaseException:
            self.end()
            raise

    def result(self, timeout=180):
        out, err = self.popen.communicate(timeout=timeout)
        if self.popen.returncode != 0:
            raise Wrong("sseload: status %d\n%s%s" % (
                self.popen.returncode, err.decode(), out.decode()[:2000]))
        return json.loads(out)

    def end(self):
        if self.popen.poll() is None:
            self.popen.terminate()
        self.popen.communicate(timeout=20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


# ------------------------------------------------------------------ both sides

class Nchan:
    """nginx with Nchan; one channel for each run."""

    name = "Nchan"
    ids = ("--ids", "none", "--seq")

    def __init__(self, workers):
        self.workers = workers
        self.window = 16
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="nchan-"))
        if RUN_AS:
            os.chown(self.dir, RUN_AS.pw_uid, RUN_AS.pw_gid)
        self.port = free_port()
        text = (HERE / "nchan.conf.in").read_text()
        for old, new in (("@MODULES@", MODULES), ("@DIR@", self.dir),
                         ("@PORT@", self.port), ("@WORKERS@", workers),
                         ("@FILES@", 9000),
                         ("@REUSEPORT@",
                          "reuseport" if workers > 1 else "")):
            text = text.replace(old, str(new))
        (self.dir / "nginx.conf").write_text(text)
        self.proc = Proc("nginx", ["/usr/sbin/nginx", "-p", self.dir, "-e",
                                   self.dir / "log", "-c",
                                   self.dir / "nginx.conf"],
                         self.dir / "log")
        wait_until(lambda: can_connect(("127.0.0.1", self.port)), 20, "nginx")
        self.serial = 0

    def url(self, what):
        return "http://127.0.0.1:%d/%s?id=run%d" % (self.port, what,
                                                    self.serial)

    def subscribe(self, folder, n, *args, **kw):
        self.serial += 1
        return Clients(folder, self.url("sub"), n, *self.ids, *args, **kw)

    def publish(self, n, rate=0):
        return tool(LOAD / "nchanpub", "--url", self.url("pub"), "--events",
                    n, "--size", SIZE, "--rate", rate, "--pipeline",
                    self.window)

    def pss_kib(self):
        return {"nginx": self.proc.pss_kib()}

    def cpu_s(self):
        return {"nginx": tree_cpu_s(self.proc)}

    def close(self):
        self.proc.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class ApacheWait(ApacheProxy):
    """The shipped file with the other flushing that it speaks of."""

    kind = "apache-proxy, flushwait"

    def shipped(self, *names):
        return super().shipped(*names).replace(
            "flushpackets=on", "flushpackets=auto flushwait=1")


KINDS[ApacheWait.kind] = ApacheWait


class Walcast:
    """pubd, one worker and a web server, as shipped."""

    def __init__(self, kind, cap=5000, window=100, config=None, workers=1,
                 metrics=False, **opts):
        self.name = kind
        self.window = window
        self.stack = Stack(config=dict({"ring_bytes": None, "retry_ms": None,
                                        "drain_ms": 0,
                                        "log_level": "warning"},
                                       **(config or {})))
        self.front = None
        try:
            self.stack.start(workers=workers, metrics=metrics)
            if kind.startswith("apache"):
                opts["mpm"] = "5000"
            self.front = self.stack.front(kind, cap=cap, **opts)
        except BaseException:
            self.stack.close()
            raise

    def subscribe(self, folder, n, *args, **kw):
        return Clients(folder, self.front.url + "/sse.fcgi?channel=c0", n,
                       "--dense", *args, **kw)

    def publish(self, n, rate=0, array=1):
        return tool(LOAD / "pubload", "--socket", self.stack.pubd_sock,
                    "--events", n, "--size", SIZE, "--stamp", "--rate", rate,
                    "--pipeline", self.window, "--array", array)

    def procs(self):
        return {"web server": self.front.proc, "worker": self.stack.worker,
                "pubd": self.stack.pubd}

    def pss_kib(self):
        return {k: p.pss_kib() for k, p in self.procs().items()}

    def cpu_s(self):
        return {k: tree_cpu_s(p) for k, p in self.procs().items()}

    def close(self):
        self.stack.close()


def tree_cpu_s(proc):
    """Processor time of a process and those below it, in nanoseconds' grain:
    a figure in clock ticks would be coarser than what is compared."""
    total = 0
    for pid in proc.tree():
        for thread in pathlib.Path("/proc/%d/task" % pid).iterdir():
            total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


@contextlib.contextmanager
def running(*sides):
    """Starts each side, closes those that started."""
    up = []
    try:
        for start in sides:
            up.append(start())
        yield up
    finally:
        for side in reversed(up):
            side.close()


# ------------------------------------------------------------- the measurements

class Bench:
    def __init__(self, quick, folder):
        self.quick = quick
        self.folder = folder
        self.rounds = 1 if quick else 3
        self.rows = []
        self.raw = {}

    def row(self, what, ours, theirs, ratio, floor, ok, note=""):
        self.rows.append(dict(what=what, ours=ours, theirs=theirs,
                              ratio=ratio, floor=floor, met=ok, note=note))
        say("  %-34s %14s %14s  %6s  %s" % (
            what, ours, theirs, "-" if ratio is None else "%.2f" % ratio,
            "" if floor is None else
            "%s %g: %s" % ("at most" if floor < 0 else "at least",
                           abs(floor), "met" if ok else "SHORT")))

    def ratio(self, what, ours, theirs, floor, unit="%.0f", note=""):
        """Ours over theirs; floor below 0: at most that much."""
        r = ours / theirs if theirs else None
        ok = floor is None or r is not None and (
            r >= floor if floor > 0 else r <= -floor)
        self.row(what, unit % ours, unit % theirs, r, floor, ok, note)

    # -- saturated fan-out

    def fanout_once(self, side, events, clients=500):
        with side.subscribe(self.folder, clients, "--until-events", events,
                            "--coalesce-ms", COALESCE_MS) as c:
            side.publish(events)
            got = c.result()
        return got["deliveries_per_s"]

    def best_window(self, peer):
        """The publishing window that serves this Nchan best."""
        rates = {}
        for peer.window in (1, 16, 64):
            rates[peer.window] = self.fanout_once(peer, 1000)
        peer.window = max(rates, key=rates.get)
        say("  Nchan, %d worker(s), by window: %s" % (peer.workers, ", ".join(
            "%d: %.0f/s" % kv for kv in rates.items())))

    def fanout(self):
        n_theirs = 2000 if self.quick else 5000
        n_ours = 5000 if self.quick else 20000
        with running(lambda: Nchan(1), lambda: Nchan(2)) as peers:
            for peer in peers:
                self.best_window(peer)
            for kind, floor in (("lighttpd", 4), ("apache-proxy", 2),
                                (ApacheWait.kind, None)):
                with running(lambda k=kind: Walcast(k)) as (us,):
                    ours, theirs = [], {1: [], 2: []}
                    for _ in range(self.rounds):
                        for peer in peers:
                            theirs[peer.workers].append(
                                self.fanout_once(peer, n_theirs))
                        ours.append(self.fanout_once(us, n_ours))
                name = "fan-out/s, " + kind
                self.raw[name] = dict(ours=ours, theirs=theirs)
                best = max(theirs, key=lambda w: statistics.median(theirs[w]))
                self.ratio(name, statistics.median(ours),
                           statistics.median(theirs[best]), floor,
                           note="%d Nchan worker(s)" % best)

    # -- latency

    def latency_once(self, side, rate, seconds, clients=500):
        events = int(rate * seconds)
        with side.subscribe(self.folder, clients, "--until-events",
                            events) as c:
            side.publish(events, rate=rate)
            return c.result()["latency_us"]

    def latency(self):
        seconds = 4 if self.quick else 8
        for kind, floor in (("lighttpd", -1), ("apache-proxy", None)):
            # Both sides with one process of the web server and with two.
            two_of_ours = (dict(extra="\nserver.max-worker = 2\n")
                           if kind == "lighttpd" else {})
            with running(lambda: Nchan(1), lambda: Nchan(2),
                         lambda k=kind: Walcast(k),
                         lambda k=kind, o=two_of_ours: Walcast(k, **o)
                         ) as sides:
                for rate in (50, 100):
                    got = [[] for _ in sides]
                    for _ in range(self.rounds):
                        for side, rows in zip(sides, got):
                            rows.append(self.latency_once(side, rate,
                                                          seconds))
                    self.latency_rows(kind, rate, floor, got[2:], got[:2])

    def latency_rows(self, kind, rate, floor, ours, peers):
        def mid(rows, key):
            return statistics.median(r[key] for r in rows)
        def best(sides):
            return min(sides, key=lambda rows: mid(rows, "p99"))
        us, peer = best(ours), best(peers)
        name = "us at %d/s, %s, " % (rate, kind)
        self.raw[name] = dict(ours=ours, peers=peers)
        self.ratio(name + "p50", mid(us, "p50"), mid(peer, "p50"), None)
        self.ratio(name + "p99", mid(us, "p99"), mid(peer, "p99"), floor,
                   note="%d %s process(es), %d Nchan worker(s)" % (
                       1 + ours.index(us), kind, 1 + peers.index(peer)))

    # -- idle streams

    @staticmethod
    def settled(side):
        """PSS by process when it has stopped changing."""
        seen = [side.pss_kib()]

        def still():
            time.sleep(0.2)
            seen.append(side.pss_kib())
            return seen[-1] == seen[-2]
        with contextlib.suppress(AssertionError):
            wait_until(still, 5, "memory to settle")
        return seen[-1]

    def memory_once(self, side, n):
        # the first streams pay for what all share
        with side.subscribe(self.folder, 50, "--seconds", 1000):
            pass
        before = self.settled(side)
        with side.subscribe(self.folder, n, "--seconds", 1000):
            after = self.settled(side)
        return {k: (after[k] - before[k]) * 1024 / n for k in after}

    def memory(self):
        n = 1000 if self.quick else 4000
        with running(lambda: Nchan(1), lambda: Walcast("lighttpd")) as (
                peer, us):
            theirs = self.memory_once(peer, n)
            ours = self.memory_once(us, n)
        self.raw["memory"] = dict(streams=n, ours=ours, theirs=theirs)
        self.ratio("bytes for an idle stream", sum(ours.values()),
                   sum(theirs.values()), -0.7,
                   note="PSS of all processes; kernel memory not counted")
        self.ratio("  of it in the worker", ours["worker"], 1024, -1,
                   note="against 1 KiB")

    def idle(self):
        n, seconds = 1000, 10 if self.quick else 45
        with running(lambda: Nchan(1), lambda: Walcast("lighttpd")) as sides:
            with contextlib.ExitStack() as stack:
                for i, side in enumerate(sides):
                    part = os.path.join(self.folder, "idle%d" % i)
                    os.mkdir(part)
                    stack.enter_context(side.subscribe(part, n, "--seconds",
                                                       1000))
                before = [s.cpu_s() for s in sides]
                time.sleep(seconds)     # the length of the measurement
                after = [s.cpu_s() for s in sides]
        theirs, ours = ({k: (b[k] - a[k]) * 100 / seconds for k in a}
                        for a, b in zip(before, after))
        self.raw["idle_cpu_percent"] = dict(ours=ours, theirs=theirs)
        self.ratio("% CPU, 1,000 idle streams, worker", ours["worker"], 1,
                   -1, "%.2f", note="against 1 % of a core")
        self.ratio("% CPU, 1,000 idle streams, all", sum(ours.values()),
                   sum(theirs.values()), None, "%.2f", note="with heartbeats")

    # -- the log

    def bare_commit(self, folder, batch, rows):
        path = pathlib.Path(folder) / "bare.db"
        schema = sorted((ROOT / "sql").glob("0*.sql"))
        args = ["--schema", schema[0]] if schema else []
        got = tool(BENCH / "bare_commit", "--db", path, "--batch", batch,
                   "--rows", rows, "--size", SIZE, *args)
        for old in pathlib.Path(folder).glob("bare.db*"):
            old.unlink()
        return got["rows_per_s"]

    @staticmethod
    def commits(stack, timeout=12):
        """Commits that pubd has counted by now, or None if it tells none."""
        path = stack.db.with_name("status.db")
        now_ms = time.time() * 1000

        def told():
            with contextlib.suppress(sqlite3.Error):
                db = sqlite3.connect("file:%s?mode=ro" % path, uri=True)
                with contextlib.closing(db):
                    return [json.loads(text).get("commits")
                            for (text,) in db.execute(
                                "SELECT counters FROM status"
                                " WHERE role = 'pubd' AND seen_ms >= ?",
                                (now_ms,))]
            return []
        if not path.exists():
            return None
        with contextlib.suppress(AssertionError):
            return wait_until(told, timeout, "pubd's counters")[0]
        return None

    def publish_once(self, us, connections, window, events):
        begun = self.commits(us.stack)
        got = tool(LOAD / "pubload", "--socket", us.stack.pubd_sock,
                   "--events", events, "--size", SIZE, "--connections",
                   connections, "--pipeline", window)
        ended = self.commits(us.stack)
        batch = connections * window    # the most that can wait at once
        if begun is not None and ended is not None and ended > begun:
            batch = max(1, min(batch, round(events / (ended - begun))))
        return got, batch

    def publish(self):
        shapes = [(1, 1, 3000), (100, 1, 100000), (10, 10, 100000),
                  (4, 250, 300000)]
        with running(lambda: Walcast("lighttpd")) as (us,):
            for connections, window, events in shapes:
                ours, theirs, batches = [], [], []
                for _ in range(self.rounds):
                    got, batch = self.publish_once(us, connections, window,
                                                   events)
                    ours.append(got["acks_per_s"])
                    batches.append(batch)
                    theirs.append(self.bare_commit(us.stack.var, batch,
                                                   max(events // 2,
                                                       batch * 20)))
                name = "acks/s, %d x %d pipelined" % (connections, window)
                self.raw[name] = dict(ours=ours, theirs=theirs,
                                      batches=batches)
                self.ratio(name, statistics.median(ours),
                           statistics.median(theirs),
                           0.7 if window > 1 else None,
                           note="bare loop of %d rows a commit" %
                           statistics.median(batches))

    def replay(self):
        rows = 200000 if self.quick else 1000000
        with running(lambda: Walcast("lighttpd")) as (us,):
            stack = us.stack
            stack.configure(retain_events=0, retain_bytes=0)
            stack.restart_pubd()
            tool(LOAD / "pubload", "--socket", stack.pubd_sock, "--events",
                 rows, "--size", SIZE, "--array", 500, "--pipeline", 4)
            bare, direct, web = [], [], []
            for _ in range(self.rounds):
                bare.append(tool(BENCH / "bare_read", "--db", stack.db,
                                 "--page", PAGE)["rows_per_s"])
                direct.append(tool(BENCH / "fcgiread", "--socket",
                                   stack.sse_sock, "--until-id",
                                   rows)["rows_per_s"])
                got = tool(LOAD / "sseload", "--url", us.front.url +
                           "/sse.fcgi?channel=c0", "--last-id", 0, "--dense",
                           "--until-id", rows)
                web.append(rows / got["elapsed_s"])
        self.raw["replay"] = dict(rows=rows, bare=bare, direct=direct,
                                  lighttpd=web)
        floor = statistics.median(bare)
        self.ratio("rows/s, replay of %d" % rows, statistics.median(direct),
                   floor, 0.5, note="on the worker's socket")
        self.ratio("rows/s, the same through lighttpd",
                   statistics.median(web), floor, None)


    # -- what observing costs

    def observe_once(self, side, arrays):
        """CPU seconds of all servers for arrays of ten, a hundred a second,
        to 500 clients.  At a rate that they hold with ease each array is one
        write for each client: the same work on both sides."""
        begun = sum(side.cpu_s().values())
        with side.subscribe(self.folder, 500, "--until-events", 10 * arrays,
                            "--coalesce-ms", COALESCE_MS) as c:
            side.publish(10 * arrays, rate=1000, array=10)
            c.result()
        return sum(side.cpu_s().values()) - begun

    def observe(self):
        """Both at once, so that neither has the other's machine; rounds
        alternate, and the one that is first does too."""
        arrays = 100 if self.quick else 500
        seen = {"log_level": "info", "log_format": "json", "metrics": "on"}
        cpu = {"on": [], "off": []}
        with running(lambda: Walcast("lighttpd", config=seen, metrics=True),
                     lambda: Walcast("lighttpd", config={"metrics": "off"})
                     ) as (on, off):
            pair = [("on", on), ("off", off)]
            for side in pair:
                self.observe_once(side[1], arrays)
            for _ in range(5 * self.rounds):
                for name, side in pair:
                    cpu[name].append(self.observe_once(side, arrays))
                pair.reverse()
        self.raw["observe"] = dict(cpu_s=cpu)
        # Of the pairs, since the machine drifts more than this costs.
        each = [a / b for a, b in zip(cpu["on"], cpu["off"])]
        self.row("CPU s, metrics and JSON logs on / off",
                 "%.2f" % statistics.median(cpu["on"]),
                 "%.2f" % statistics.median(cpu["off"]),
                 statistics.median(each), -1.03,
                 statistics.median(each) <= 1.03,
                 note="median of %d pairs, %.2f to %.2f" % (
                     len(each), min(each), max(each)))
        self.scrape()

    def scrape(self):
        with running(lambda: Walcast("lighttpd", workers=20,
                                     metrics=True)) as (us,):
            web, took = us.front, {"/sse-metrics.fcgi": [],
                                   "/index.html": []}
            wait_until(lambda: us.stack.gauges(web).get(
                'sse_process_up{role="worker"}') == 20, 30, "20 workers")
            for _ in range(100):
                for path, times in took.items():
                    begun = time.perf_counter()
                    web.get(path)
                    times.append(1000 * (time.perf_counter() - begun))
        self.raw["scrape_ms"] = took
        figures, page = (statistics.median(t) for t in took.values())
        self.ratio("ms, scrape of 20 processes, static page", figures, page,
                   None, "%.2f", note="both by the same Python client")


PARTS = ("fanout", "latency", "memory", "idle", "publish", "replay",
         "observe")


def machine():
    model = ""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
    return "%s, %d cores, Linux %s, load %.2f" % (
        model, os.cpu_count(), os.uname().release, os.getloadavg()[0])


def parse():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--quick", action="store_true",
                   help="smaller runs, one round")
    p.add_argument("--only", default=",".join(PARTS),
                   help="of " + ",".join(PARTS))
    p.add_argument("--json", default=str(BENCH / "results.json"),
                   help="where the figures of each round go")
    args = p.parse_args()
    args.only = args.only.split(",")
    for part in args.only:
        if part not in PARTS:
            p.error("%s: not one of %s" % (part, ",".join(PARTS)))
    return args


def main():
    args = parse()
    say(machine())
    failed = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(args.quick, folder)
        for part in args.only:
            say("%s\n  %-34s %14s %14s  %6s" % (part, "", "Walcast", "peer",
                                                 "ratio"))
            try:
                getattr(bench, part)()
            except (Wrong, AssertionError, OSError,
                    subprocess.SubprocessError) as e:
                failed.append(part)
                say("  FAILED: %s" % e)
    pathlib.Path(args.json).write_text(json.dumps(
        dict(machine=machine(), quick=args.quick, rows=bench.rows,
             raw=bench.raw, failed=failed), indent=1) + "\n",
        encoding="utf-8")
    short = [r["what"].strip() for r in bench.rows if not r["met"]]
    say("\nbelow the floor: %s" % (", ".join(short) or "nothing"))
    for row in bench.rows:
        if row["note"]:
            say("  %s: %s" % (row["what"].strip(), row["note"]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
