# SPDX-License-Identifier: MIT
"""What a scenario is given: servers, traffic, chance, and a place to report."""

import contextlib
import os
import pathlib
import random
import signal
import sqlite3
import time
import traceback
import urllib.parse

import checker
from clients import Publisher, Subscriber
from harness import Failed, Stack, alive, wait_until
from history import History, LogRow, payload_hash
from report import Result

MPM = {"apache-proxy": {"mpm": "5000", "cap": 1000}, "lighttpd": {"cap": 4000}}
# Apache leaves an HTTP/2 stream open for ever whose worker was killed (httpd
# bug 70131): there a client must hear that heartbeats are missing.
H2_LIVENESS_S = 4
SPAWNS = ("apache-fcgid", "apache-cgi")     # these start workers themselves


class Skip(Exception):
    """It cannot be done here."""


class Options:
    """What the command line says, for every scenario of a run."""

    def __init__(self, seed=1, rounds=None, h2=False, gzip=False, short=False,
                 keep=False, url=None, socket=None, histories=None):
        self.seed, self.rounds, self.h2, self.gzip = seed, rounds, h2, gzip
        self.short, self.keep = short, keep
        self.url, self.socket = url, socket
        self.histories = histories      # directory for those that fail


class Foreign:
    """A deployment that is not ours: a URL of its stream and, for publishing,
    pubd's socket.  Stands for the stack and for the web server."""

    def __init__(self, url, socket_path):
        u = urllib.parse.urlsplit(url)
        if u.scheme != "http" or not u.hostname:
            raise Skip("only http:// URLs can be tested: " + url)
        self.addr = (u.hostname, u.port or 80)
        self.path = u.path or "/sse.fcgi"
        self.host = u.netloc
        self.pubd_sock = socket_path
        self.db = None


class Run:
    """One scenario behind one web server."""

    def __init__(self, scenario, front, options):
        self.scenario, self.front_kind, self.options = scenario, front, options
        self.rng = random.Random("%s/%s/%s" % (options.seed, scenario.name,
                                               front))
        self.rounds = options.rounds or scenario.rounds
        self.soak = os.environ.get("WALCAST_SOAK", "") not in ("", "0")
        self.short = options.short
        self.history = None
        self.counters, self.notes, self.violations = {}, {}, []
        self.acked = self.deliveries = 0
        self.latency = {}
        self._file = None
        self._round = None
        self._exit = contextlib.ExitStack()

    # -- what it is judged by

    def check(self, true, message):
        """A promise besides those of the history."""
        if not true:
            self.violations.append(checker.Violation(
                "check", message, self._place()))

    def count(self, name, n=1):
        self.counters[name] = self.counters.get(name, 0) + n

    def note(self, **figures):
        self.notes.update(figures)

    @staticmethod
    def skip(reason):
        raise Skip(reason)

    def each_round(self):
        """0 .. rounds - 1; ends early when something is wrong already."""
        for n in range(self.rounds):
            self._round = n
            if self.violations:
                return
            yield n
            self.count("rounds")

    def _place(self):
        return "" if self._round is None else "in round %d" % self._round

    # -- the parts

    def stack(self, config=None, workers=2, cls=Stack, metrics=False, **kw):
        """pubd and workers over a new log; closed when the scenario ends.
        Behind a web server that spawns workers none are started."""
        if self.options.url:
            return Foreign(self.options.url, self.options.socket)
        if self.front_kind in SPAWNS:
            workers = 0
        st = cls(config=config, keep=self.options.keep)
        self._exit.push(lambda *exc: self._close(st))
        st.start(workers=workers, metrics=metrics, **kw)
        return st

    def _close(self, st):
        for line in _stopped(st):
            os.kill(line, signal.SIGCONT)
        try:
            st.close()
        except Failed as e:
            self.check(False, "the servers did not end as they should: %s" % e)

    def front(self, st, kind=None, **opts):
        """The web server that was asked for, before this stack."""
        if isinstance(st, Foreign):
            return st
        kind = kind or self.front_kind
        opts = dict(MPM.get(kind, {}), **opts)
        if kind.startswith("apache"):
            opts.setdefault("h2", self.options.h2)
            opts.setdefault("gzip", self.options.gzip)
        return st.front(kind, **opts)

    def workers(self, st, web):
        """Pids of all workers, whoever started them."""
        own = [w.pid for w in st.workers if w.running]
        return own or web.running("sse.fcgi")

    def kill_worker(self, st, web, n=0):
        """kill -9 of a worker; one of ours is started again."""
        self.count("kills")
        if st.workers:
            st.kill_worker(n % len(st.workers), restart=True)
            return
        pids = web.running("sse.fcgi")
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[n % len(pids)], signal.SIGKILL)

    def traffic(self, st, web, **kw):
        """Publishers and subscribers in the background; see Traffic."""
        return Traffic(self, st, web, **kw)

    # -- the whole

    def execute(self):
        """Runs it.  Returns a report.Result, whatever happens."""
        started = time.monotonic()
        status, reason = "passed", ""
        try:
            with self._exit:
                self.scenario.fn(self)
        except Skip as e:
            status, reason = "skipped", str(e)
        except AssertionError as e:     # harness.Failed is one
            self.violations.append(checker.Violation(
                "stuck" if isinstance(e, Failed) else "check",
                str(e) or "an assertion does not hold",
                "%s\n%s" % (self._place(), traceback.format_exc(limit=-4))))
        except Exception:
            status, reason = "error", traceback.format_exc(limit=-6)
        if self.violations and status != "error":
            status = "failed"
            reason = str(self.violations[0].message)
        return Result(
            scenario=self.scenario.name, front=self.front_kind, status=status,
            reason=reason, rounds=self.counters.pop("rounds", 0),
            counters=self.counters, acked=self.acked,
            deliveries=self.deliveries,
            violations=[v._asdict() if hasattr(v, "_asdict") else vars(v)
                        for v in self.violations],
            latency=self.latency, notes=self.notes,
            seconds=time.monotonic() - started, history_file=self._file)

    def judged(self, history, verdict):
        """Takes over what the checker found in one traffic."""
        self.history = history
        self.acked += verdict.acked
        self.deliveries += verdict.deliveries
        self.latency = verdict.latency
        self.violations += verdict.violations
        if verdict.violations and self.options.histories:
            name = "%s-%s.jsonl" % (self.scenario.name, self.front_kind)
            self._file = str(pathlib.Path(self.options.histories) / name)
            history.save(self._file)


def _stopped(st):
    """Pids that a scenario left stopped: they could not be told to end."""
    procs = st._procs + [f.proc for f in st.fronts if f.proc]
    for p in procs:
        for pid in p.tree() if p.running else ():
            if alive(pid) and _state(pid) == "T":
                yield pid


def _state(pid):
    try:
        text = pathlib.Path("/proc/%d/stat" % pid).read_text()
        return text.rpartition(")")[2].split()[0]
    except OSError:
        return None


# ---------------------------------------------------------------- traffic

class Traffic:
    """Load whose whole history is judged when the `with` ends.

    subscribers, publishers  how many
    rate        events a second over all publishers; 0: as fast as answers come
    channels    publishers choose among them
    params      query of subscriber n (a function); else all of the channels
    size        bytes of an event's data, about
    allow_gaps  control.gap is right where retention has passed
    last_id     where subscribers begin; None: live
    judge       False: the scenario judges by itself (t.history)
    """

    def __init__(self, run, st, web, *, subscribers=10, publishers=2, rate=400,
                 channels=("c0",), params=None, size=100, allow_gaps=False,
                 envelope=False, last_id=None, rcvbuf=None, arrays=0.1,
                 addr=None, judge=True):
        self.run, self.st, self.web = run, st, web
        self.history = History()
        self.allow_gaps, self.judge = allow_gaps, judge
        foreign = isinstance(st, Foreign)
        if foreign:     # other events of that site are none of ours
            mark = "harness/%d/" % time.time_ns()
            channels = [mark + c for c in channels]
        self.channels = list(channels)
        self._failed = False
        # Keys of different traffics over one log must differ.
        run.count("traffics")
        prefix = "t%d" % run.counters["traffics"]
        self.publishers = [
            Publisher("%sp%d" % (prefix, n), st.pubd_sock, self.history,
                      self.channels, rate / publishers if rate else 1e9, size,
                      run.rng.random(), arrays) for n in range(publishers)]
        make = params or (lambda n: {"channel": self.channels})
        self.subscribers = [
            self._subscriber(n, make(n), addr or web.addr, web, last_id,
                             envelope, rcvbuf) for n in range(subscribers)]

    def _subscriber(self, n, params, addr, web, last_id, envelope, rcvbuf):
        wants = params.get("channel")
        if isinstance(wants, str):
            wants = [wants]
        foreign = isinstance(web, Foreign)
        o = self.run.options
        s = Subscriber(
            self.history.subscriber("s%d" % n, wants), addr,
            path=web.path if foreign else "/sse.fcgi", params=params,
            last_id=None if last_id is None else str(last_id),
            headers={"Host": web.host} if foreign else None,
            h2=o.h2, gzip=o.gzip, rcvbuf=rcvbuf, envelope=envelope)
        if o.h2 and self.run.front_kind.startswith("apache"):
            s.liveness = H2_LIVENESS_S
        return s

    # -- life

    def __enter__(self):
        self.start()
        return self

    def start(self, timeout=30):
        """Subscribers first: nothing is published before all are open."""
        for s in self.subscribers:
            s.start()
        try:
            wait_until(lambda: self.broken() or all(
                s.record.started_after is not None for s in self.subscribers),
                timeout, "%d streams to open" % len(self.subscribers))
        except Failed:
            self.abort()
            raise
        for p in self.publishers:
            p.start()

    def __exit__(self, kind, *exc):
        if kind is None:
            self.finish()
        else:
            self.abort()

    def broken(self):
        """A client that ended by an exception of its own."""
        for c in self.publishers + self.subscribers:
            if c.broken:
                raise RuntimeError("%s broke" % c.name) from c.broken

    def progress(self, more, timeout=60):
        """Waits until so many more events have been acked."""
        want = len(self.history.acks) + more

        def there():
            self.broken()
            return len(self.history.acks) >= want
        wait_until(there, timeout, "%d more acks (%d so far; refused: %r)" % (
            more, len(self.history.acks), dict(self.history.refused)))

    def head(self):
        """The newest id that was acked."""
        return max((a.id for a in self.history.acks), default=0)

    def quiesce(self, timeout=60):
        """Publishers get their answers and end."""
        for p in self.publishers:
            p.stop()
        deadline = time.monotonic() + timeout
        for p in self.publishers:
            p.join(max(deadline - time.monotonic(), 0.01))
        if any(p.is_alive() for p in self.publishers):
            for p in self.publishers:
                p.give_up()
                p.join(15)
            self.run.check(False, "publishers had no answer %g s after the "
                           "last fault; refused: %r" % (
                               timeout, dict(self.history.refused)))
        self.broken()

    def finish(self, timeout=60):
        """Publishers end, every subscriber comes to the head or to the
        timeout, clients stop, the history is judged."""
        if self._failed or self.history.head is not None:
            return
        self.quiesce(timeout)
        head = self.head()

        def there():
            self.broken()
            return all(s.position >= head for s in self.subscribers)
        try:
            wait_until(there, timeout, "the head")
        except Failed:
            pass                # the checker says who is short, and where
        self._stop()
        self._read_log()        # when no stream can tell of a later trim
        self._verdict()

    def _stop(self, others=()):
        for s in self.subscribers:
            s.stop()
        for c in [*others, *self.subscribers]:
            if c.ident:         # it was started
                c.join(15)

    def _verdict(self):
        if not self.judge:
            return
        self.run.judged(self.history, checker.judge(
            self.history, allow_gaps=self.allow_gaps))

    def abort(self):
        """After a failure, which is what counts then: all clients end."""
        if self._failed:
            return
        self._failed = True
        for p in self.publishers:
            p.give_up()
        self._stop(self.publishers)

    def _read_log(self):
        """What the log holds now; None of it for a foreign deployment."""
        h = self.history
        if self.st.db is None:
            h.log, h.oldest_retained, h.head = None, None, self.head()
            return
        db = sqlite3.connect("file:%s?mode=ro" % self.st.db, uri=True,
                             timeout=10)
        with contextlib.closing(db):
            db.execute("BEGIN")     # all of it as of one moment
            h.log = [LogRow(id, channel, key, payload_hash(data))
                     for id, channel, key, data in db.execute(
                         "SELECT id, channel, key, data FROM events "
                         "ORDER BY id")]
            last = db.execute("SELECT seq FROM sqlite_sequence WHERE "
                              "name = 'events'").fetchone()
            generation = db.execute("SELECT value FROM meta WHERE name = "
                                    "'generation'").fetchone()
        h.head = last[0] if last else 0
        h.oldest_retained = h.log[0].id if h.log else h.head + 1
        h.generations.append(generation[0])
