# SPDX-License-Identifier: MIT
"""The real programs before and after a power loss.

record*() trace traffic over a log (power.py); a Lab lets the programs open
what is left of it, and judges.  Whatever was said before the power failed must
be true after it: an answer to a publisher, a head that was rung, an id that a
browser has seen.
"""

import contextlib
import functools
import os
import shutil
import sqlite3
import typing

import fcgi
from harness import RUN_AS, Failed, Stack, wait_until
from history import payload_hash
from loadlib import rows
from power import Disk, Loss, Moments, Said, Trace
from pub import Closed
from shims import needed, shim
from sse import Parser

RETAIN = 1200           # events
CONFIG = {"retain_events": RETAIN, "retry_ms": 50, "heartbeat_ms": 100}
CHANNELS = ("c0", "c1", "c2")
AGAIN = 3               # events that are published again after a loss


# ---------------------------------------------------------------- recording

class Traced(Stack):
    """A stack whose log lies on a disk that is traced."""

    def __init__(self, **kw):
        super().__init__(**kw)
        self.trace = Trace(self.dir / "trace")
        # Where RUN_AS can read it.
        self.shim = shutil.copy(shim("power"), self.dir)
        self.born = None        # place in the trace: init has returned
        self.restarts = []      # places: nobody had the log open

    def traced(self):
        return {"LD_PRELOAD": self.shim, "WALCAST_POWER_DIR": self.var,
                "WALCAST_POWER_TRACE": self.trace.path}

    def init(self):
        self.mkdir(self.var)
        self.walcast("init", "--mode", self.mode, check=True,
                     env=self.traced())
        self.born = self.trace.position
        return self

    def start_pubd(self, **env):
        return super().start_pubd(**self.traced(), **env)

    def start_worker(self, index=None, **env):
        return super().start_worker(index, **self.traced(), **env)

    def close(self):
        self.trace.close()
        super().close()

    def kill_in_sync(self):
        """Waits until pubd was killed in the sync that die_in() chose, and
        kills the worker: what was written is in the kernel's cache alone."""
        wait_until(lambda: not self.pubd.running, 30, "a sync")
        self.kill_pubd()
        self.kill_worker(0)
        self.restarts.append(self.trace.position)


class Recording(typing.NamedTuple):
    ops: list           # of the trace
    said: Said
    moments: dict       # {kind: [index]}
    born: int           # index: the log had been made
    events: dict        # {id: (channel, key, hash)}, all that ever were
    generation: str
    image: dict = {}    # what the disk held before


def traced(run, synchronous):
    needed(run, "power")
    return run.stack(config=dict(CONFIG, synchronous=synchronous), cls=Traced,
                     workers=1, listen="fd0")


def report(st, n=200):
    """As many workers would, so that status.db has its checkpoints too."""
    line = {"op": "report", "role": "worker", "pid": 1, "version": "1",
            "started_ms": 1, "head": 1, "cursor": 1, "streams": 0,
            "counters": {"events_sent": 7}, "gauges": {}}
    with st.publisher() as p:
        p.send({"op": "watch", "role": "worker"})
        p.send(*({**line, "name": "worker-%d-1" % (i % 40)}
                 for i in range(n)))
        p.send({"op": "ping"})
        while "oldest" not in p.recv():
            pass


def record(run, synchronous, events, kills):
    """Traffic over a traced log, with checkpoints, retention and kills."""
    st = traced(run, synchronous)
    web = run.front(st)
    with run.traffic(st, web, subscribers=3, publishers=2, rate=800,
                     channels=CHANNELS, size=500, arrays=0.2,
                     judge=synchronous == "full") as t:
        for _ in range(kills):
            report(st)
            t.progress(events // (kills + 1))
            st.trace.die_in(run.rng.randrange(1, 20))
            st.kill_in_sync()
            starts = [st.start_pubd, functools.partial(st.start_worker, 0)]
            for start in run.rng.sample(starts, 2):
                start()
            run.count("kills")
        report(st)
        t.progress(events // (kills + 1))
    seen = {a.id: (a.channel, a.key, a.hash) for a in t.history.acks}
    return recorded(run, st, seen)


def record_kills(run, kills):
    """Each event is written by a pubd that is killed in its commit.  Then its
    publisher sends it again and a browser sees it, or the other way about:
    who is first opens what nobody has synced."""
    st = traced(run, "full")
    web = run.front(st)

    def publisher_first(event, id):
        st.start_pubd()
        answer = st.pub.call(event)
        # Not a duplicate if the kill came before the sync of a new WAL's
        # header: then nothing of it was written, and nobody has seen it.
        run.check(answer.get("ok") and answer["id"] == id,
                  "the publisher of %d was told %r" % (id, answer))

    def browser_first(_, id):
        st.start_worker(0)
        with web.stream({"channel": "c0"}, last_id=id - 1) as s:
            s.open()
            run.check(s.data().id == str(id), "event %d is not there" % id)

    for id in range(1, kills + 1):
        event = {"channel": "c0", "key": "k%d" % id, "data": {"n": id}}
        st.trace.die_in(1)
        with st.publisher() as p:
            p.send(event)
            st.kill_in_sync()
        order = [publisher_first, browser_first]
        for part in order if id % 2 else reversed(order):
            part(event, id)
        run.count("kills")
    return recorded(run, st, {})


def record_recovery(run, st, rec, point, image):
    """The programs open what a first loss left, and go on; then all die."""
    for proc in (st.pubd, st.worker):
        if proc.running:
            proc.kill()
    install(run, st, image)
    st.trace.restart()
    wrong = start_all(run, st)
    run.check(not wrong, wrong)
    channel, key, _ = rec.events[min(rec.events)]
    st.pub.call({"channel": channel, "key": key, "data": "again"})
    for n in range(3):
        st.publish("c0", {"recovered": n}, key="recovered-%d" % n)
    events = {**rec.events, **log_rows(st)}
    st.kill_pubd()
    st.kill_worker(0)
    ops = st.trace.ops()
    said = Said(ops, rec.said.acked(point), rec.said.upto(point))
    moments = Moments(ops, 0, [0], said)
    return Recording(ops, said, moments.of, 0, events, rec.generation, image)


def log_rows(st):
    """{id: (channel, key, hash)} of the log."""
    return {id: (channel, key, payload_hash(data))
            for id, channel, key, data in rows(
                st, "SELECT id, channel, key, data FROM events")}


def recorded(run, st, seen):
    """Ends the programs.  seen: events that the log may no longer have."""
    events = {**seen, **log_rows(st)}
    generation = st.pub.call({"op": "ping"})["generation"]
    st.stop_worker()
    st.stop_pubd()
    ops = st.trace.ops()
    check_trace(run, st, ops)
    said = Said(ops)
    moments = Moments(ops, st.born, st.restarts, said)
    run.note(ops=len(ops), events=len(events))
    return Recording(ops, said, moments.of, moments.born, events, generation)


def check_trace(run, st, ops):
    """With nothing lost, the disk has what the real one has: every byte."""
    disk = Disk()
    for op in ops:
        disk.do(op)
    made = disk.after(Loss("all", 512, run.rng))
    real = {p.name: p.read_bytes() for p in st.var.iterdir()
            if not p.name.endswith("-shm")}
    for name in sorted(made.keys() | real.keys()):
        run.check(made.get(name) == real.get(name),
                  "the traced %s is not the real one" % name)


# ---------------------------------------------------------------- judging

class Outcome:
    """What was found after one loss."""

    def __init__(self):
        self.lost = 0           # acked events that are gone
        self.reused = 0         # ids that were told and come again
        self.renewed = False    # the log says that it is another one
        self.status_renewed = False     # status.db was made anew
        self.wrong = []         # anything else

    @property
    def good(self):
        return not (self.lost or self.reused or self.wrong)

    def say(self):
        head = ["%d acked events lost" % self.lost] if self.lost else []
        if self.reused:
            head.append("%d ids that were told will be given out again"
                        % self.reused)
        return "; ".join(head + self.wrong)


def install(run, st, image):
    """Puts the files there; -shm may be anything or nothing."""
    shm = run.rng.choice([None, bytes(32768), run.rng.randbytes(32768)])
    if shm:
        image = {**image, "events.db-shm": shm}
    for old in st.var.iterdir():
        old.unlink()
    for name, content in image.items():
        path = st.var / name
        path.write_bytes(content)
        path.chmod(0o660)
        if RUN_AS:
            os.chown(path, RUN_AS.pw_uid, RUN_AS.pw_gid)


@contextlib.contextmanager
def kept_open(path):
    """A descriptor of the file, or None when there is none."""
    fd = os.open(path, os.O_RDONLY) if path.exists() else None
    try:
        yield fd
    finally:
        if fd is not None:
            os.close(fd)


def start_all(run, st):
    """pubd, a worker and an audit, in any order.  What is wrong, or None."""
    wrong = None
    for what in run.rng.sample(["pubd", "worker", "audit"], 3):
        if what == "pubd":
            st.start_pubd()
        elif what == "worker":
            st.workers.clear()
            st.start_worker()
        else:
            done = st.walcast("audit")
            if done.returncode != 0:
                wrong = "audit: %r" % (done.stdout + done.stderr)
    return wrong


class Lab:
    """Where the real programs open what is left."""

    def __init__(self, run):
        self.run, self.rng = run, run.rng
        self.st = run.stack(config=CONFIG, workers=0, pubd=False)

    def judge(self, rec, point, image):
        """The programs on the image of a loss at this op of a recording."""
        out, self.rec = Outcome(), rec
        install(self.run, self.st, image)
        try:
            with kept_open(self.st.var / "status.db") as old:
                self._judge(point, out)
                out.status_renewed = old is not None and \
                    os.fstat(old).st_nlink == 0
        except (Failed, sqlite3.Error, AssertionError, OSError, EOFError,
                Closed) as e:
            out.wrong.append(str(e))
        finally:
            self._stop(out)
        return out

    def _judge(self, point, out):
        if point < self.rec.born:
            self.st.init()
        wrong = start_all(self.run, self.st)
        if wrong:
            out.wrong.append(wrong)
        self._judge_rows(point, out)
        if not out.wrong:
            self._go_on(point, out)

    def _judge_rows(self, point, out):
        """What is there against what was said."""
        ping = self.st.pub.call({"op": "ping"})
        self.head, self.rows = ping["head"], log_rows(self.st)
        head, found, said = self.head, self.rows, self.rec.said
        if sorted(found) != list(range(head - len(found) + 1, head + 1)):
            out.wrong.append("ids are not dense up to %d" % head)
        due = {id for id in said.acked(point) if id > head - RETAIN}
        out.lost = len(due - found.keys())
        out.reused = max(said.upto(point) - head, 0)
        other = [id for id in found if found[id] != self.rec.events.get(id)]
        if other:
            out.wrong.append("%d events are not what was published, the "
                             "first is %d" % (len(other), min(other)))
        for _, ids in said.acks:
            if min(ids) <= head < max(ids):
                out.wrong.append("half of the array %d-%d is there" % (
                    min(ids), max(ids)))
        out.renewed = point >= self.rec.born and \
            ping["generation"] != self.rec.generation

    def _go_on(self, point, out):
        """What comes afterwards, and how it reaches a browser."""
        self._publish_again(point, out)
        id = self.st.publish("c0", {"after": point})
        if id != self.head + 1:
            out.wrong.append("the next id is %d after %d" % (id, self.head))
        self._judge_replay(self._replay(id)[:-1], out)
        self._status(out)

    def _judge_replay(self, seen, out):
        """It has all of the log, but for what retention took meanwhile."""
        first = seen[0][0] if seen else self.head + 1
        held = [(n, self.rows[n][2]) for n in sorted(self.rows) if n >= first]
        oldest = min(self.rows, default=self.head + 1)
        if seen != held or first > max(oldest, self.head + 2 - RETAIN):
            out.wrong.append("a replay of %d events from %d on is not what "
                             "the log holds: %d from %d on, up to %d" % (
                                 len(seen), first, len(self.rows), oldest,
                                 self.head))

    def _publish_again(self, point, out):
        """Keys are remembered for what was acked."""
        known = sorted(self.rec.said.acked(point) & self.rows.keys())
        for id in self.rng.sample(known, min(len(known), AGAIN)):
            channel, key, _ = self.rows[id]
            answer = self.st.pub.call({"channel": channel, "key": key,
                                       "data": "again"})
            if answer.get("id") != id or not answer.get("duplicate"):
                out.wrong.append("the key of %d: %r" % (id, answer))

    def _replay(self, upto):
        """[(id, hash)] of all that the worker has."""
        query = "&".join("channel=" + c for c in CHANNELS) \
            + "&last_event_id=earliest"
        parser, seen = Parser(), []
        with fcgi.Conn(self.st.sse_sock, fcgi.request(query=query)) as conn:
            while not seen or seen[-1][0] < upto:
                kind, _, content = conn.record()
                if kind == fcgi.STDOUT:
                    parser.feed(content)
                seen += [(int(e.id), payload_hash(e.data))
                         for e in parser.events if e.type == "message"]
                parser.events.clear()
        return seen

    def _status(self, out):
        """pubd has a table of figures, whatever became of the old one."""
        def there():
            try:
                db = sqlite3.connect("file:%s?mode=ro" %
                                     (self.st.var / "status.db"), uri=True)
                with contextlib.closing(db):
                    return db.execute("SELECT 1 FROM status WHERE pid = ?",
                                      (self.st.pubd.pid,)).fetchone()
            except sqlite3.Error:
                return None
        try:
            wait_until(there, 5, "pubd's row in status.db")
        except Failed as e:
            out.wrong.append("%s\n%s" % (e, self.st.pubd.tail()))

    def _stop(self, out):
        self.st._drop_pub()
        for proc in [self.st.pubd, *self.st.workers]:
            if proc and proc.running:
                code = proc.stop()
                if code != 0:
                    out.wrong.append("%s ended with %d\n%s" % (
                        proc.name, code, proc.tail()))
        self.st.workers.clear()
