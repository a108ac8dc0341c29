# SPDX-License-Identifier: MIT
"""pubd under faults: one short life with all that it does in it, judged by
what it answered and what is in the log afterwards."""

import os
import shutil
import signal
import socket
import sqlite3

from harness import RUN_AS, wait_until
from pub import Closed, Publisher
from sweep import Subject

# A batch that is told to have failed has been written when only its sync, or
# the look at the file after it, failed: it is there, or comes back when the WAL
# is recovered.
MAY_RETURN = ("pread", "pwrite", "fsync", "ftruncate", "mmap", "stat", "vfs-")
ANSWER_S = 25   # SQLite alone may try for a lock for 10 s
IMPATIENT_S = 0.3   # while what fails may keep it from answering
ERRORS = {"storage", "busy", "unavailable"}
BAD = {"bad_json", "bad_request", "bad_channel", "bad_event", "too_large"}


class Asked:
    """One event that was sent: what became of it."""

    def __init__(self, channel, data, key=None):
        self.channel, self.data, self.key = channel, data, key
        self.id = self.error = None     # neither: no answer came

    def line(self):
        out = {"channel": self.channel, "data": self.data}
        return dict(out, key=self.key) if self.key else out


class Client:
    """A publisher that connects again when its connection is gone, and keeps
    what it asked and was told."""

    def __init__(self, trial):
        self.trial, self.path = trial, trial.st.pubd_sock
        self.pub = None
        self.events = []        # Asked
        self.n = 0

    def event(self, channel="a", key=None, size=40):
        self.n += 1
        e = Asked(channel, "%d %s" % (self.n, "x" * size), key)
        self.events.append(e)
        return e

    def open(self):
        if self.pub is None and self.trial.running:
            try:
                self.pub = Publisher(self.path, timeout=10)
            except OSError:
                pass
        return self.pub is not None

    def close(self):
        if self.pub:
            self.pub.close()
        self.pub = None

    def exchange(self, lines):
        """Answers to lines that were sent together; fewer when the
        connection was lost."""
        answers = []
        if not self.open():
            return answers
        lasts = self.trial.lasts
        try:
            self.pub.send(*lines)
            for _ in lines:
                answers.append(self.pub.recv(IMPATIENT_S if lasts
                                             else ANSWER_S))
        except socket.timeout:
            self.trial.check(lasts, "no answer in %d s to %.200r" % (
                ANSWER_S, lines[len(answers)]))
            self.close()
        except (OSError, Closed):
            self.close()
        return answers

    def publish(self, *groups):
        """Groups: an event, a list of them (an array), or raw bytes which
        are no event; all sent together."""
        lines = [g if isinstance(g, bytes) else [e.line() for e in g]
                 if isinstance(g, list) else g.line() for g in groups]
        for group, answer in zip(groups, self.exchange(lines)):
            self._take(group, answer)

    def _take(self, group, answer):
        check = self.trial.check
        if not answer.get("ok"):
            allowed = ERRORS | BAD if isinstance(group, bytes) else ERRORS
            check(answer.get("error") in allowed,
                  "%r is no honest answer" % answer)
        if isinstance(group, bytes):
            check(not answer.get("ok"), "%r was taken" % group)
            return
        events = group if isinstance(group, list) else [group]
        ids = answer.get("ids", [answer.get("id")])
        check(not answer.get("ok") or len(ids) == len(events),
              "%d ids for %d events" % (len(ids), len(events)))
        for n, e in enumerate(events):
            if answer.get("ok"):
                e.id = ids[n]
            else:
                e.error = answer["error"]


class Watcher:
    """A connection that watches and reports, as a worker's."""

    def __init__(self, client):
        self.trial, self.heads = client.trial, []
        try:
            self.pub = Publisher(client.path, timeout=10)
            self.pub.send({"op": "watch", "role": "worker"}, dict(
                op="report", name="worker-1-1", role="worker", pid=1,
                started_ms=1, version="1", head=0, cursor=0,
                gauges={"streams": 1}, counters={"events_sent": 3}))
        except OSError:
            self.pub = None

    def close(self):
        """Takes what it was told."""
        if self.pub is None:
            return
        try:
            while True:
                answer = self.pub.recv(0.001)
                if "head" in answer:
                    self.heads.append(answer["head"])
        except (OSError, Closed):
            pass
        self.pub.close()

    def judge(self, head):
        """Heads may be late, and never ahead of the log."""
        self.trial.check(self.heads == sorted(self.heads) and
                         (not self.heads or self.heads[-1] <= head),
                         "watchers were told %r of a log that ends at %d" % (
                             self.heads, head))


class PubdSubject(Subject):
    """The log that it starts with is one commit short of a checkpoint, and
    has more events than are retained."""

    name = "pubd"
    OLD, KEPT = 330, 100    # events in it; retained
    config = {"retain_events": KEPT, "heartbeat_ms": 15000}

    def prepare(self):
        st = self.st
        st.configure(retain_events=0)
        st.init()
        st.start_pubd()
        for n in range(self.OLD):
            st.publish("old%d" % (n % 3), "x", key="old%d" % n)
        st.kill_pubd()
        st.configure(retain_events=self.KEPT)
        self.template = st.dir / "template"
        shutil.copytree(st.var, self.template)

    # -- the log of one trial

    def fresh_log(self):
        var = self.st.var
        for file in var.iterdir():
            file.unlink()
        for file in self.template.iterdir():
            if file.name.startswith("events.db") and \
                    not file.name.endswith("-shm"):
                shutil.copy2(file, var / file.name)
                if RUN_AS:
                    os.chown(var / file.name, RUN_AS.pw_uid, RUN_AS.pw_gid)
        self.st.pubd_sock.unlink(missing_ok=True)

    def reader(self):
        """A worker that has the log open while pubd starts and runs: it did
        the recovery, and its shared memory stays."""
        db = sqlite3.connect("file:%s" % self.st.db, uri=True, timeout=10)
        db.execute("SELECT count(*) FROM events").fetchone()
        return db

    # -- a trial

    def attempt(self, t):
        self.fresh_log()
        cold = t.fault.nth % 4 == 3     # without a reader: it recovers
        other = None if cold else self.reader()
        client = Client(t)
        t.start(self.st.bin / "pubd")
        watcher = None
        if t.reachable(self.st.pubd_sock):
            watcher = Watcher(client)
            self.work(t, client)
            # What lasts either ends while it runs, or is there at its end.
            if t.passes or t.fault.nth % 2:
                t.recover()
                self.goes_on(t, client)
            watcher.close()
        client.close()
        if other:
            other.close()
        t.stop(signal.SIGTERM)
        t.recover()
        self.judge(t, client, watcher)

    def work(self, t, c):
        """Everything that pubd does, once."""
        ping = b'{"op":"ping"}'
        c.exchange([ping])
        c.publish(c.event())
        c.publish(c.event(key="k1"))
        c.publish(c.event("b"), c.event(), b"not json", c.event(key="k2"),
                  [c.event(), c.event("b", key="k3"), c.event("c")],
                  b'{"channel":"control.x y","data":1}', c.event("c"))
        c.publish(*(c.event("b") for _ in range(8)))
        t.proc.send_signal(signal.SIGHUP)   # reads its file, trims at once
        c.exchange([ping])
        self.again(t, c)
        c.publish(c.event("big", size=60000))
        c.publish(c.event(), c.event("d", key="k4"))

    @staticmethod
    def again(t, c):
        """The keys that were acked find their first ids."""
        first = [e for e in c.events if e.key and e.id]
        answers = c.exchange([e.line() for e in first])
        for e, answer in zip(first, answers):
            t.check(answer.get("error") in ERRORS if not answer.get("ok")
                    else answer.get("id") == e.id and answer.get("duplicate"),
                    "sent again, event %d of key %s: %r" % (
                        e.id, e.key, answer))

    def goes_on(self, t, c):
        """It takes events again, and holds no descriptor more."""
        def taken():
            e = c.event("after")
            c.publish(e)
            return e.id or not t.running
        wait_until(taken, 30, "an event to be taken again", step=0.02)
        c.close()
        self.same_descriptors(t)

    # -- the judgement

    def judge(self, t, c, watcher):
        rows = self.rows()
        head = rows[-1][0] if rows else 0
        if watcher:
            watcher.judge(head)
        t.check([r[0] for r in rows] == list(range(rows[0][0], head + 1)),
                "ids are not dense: %r" % [r[0] for r in rows])
        self.judge_events(t, c, rows)
        # One that never listened has hardly touched the log.
        if watcher or t.fault.nth % 16 == 0:
            done = self.st.walcast("audit", timeout=30)
            t.check(done.returncode == 0, "audit: %r" % done.stdout[-1000:])
            self.judge_restart(t, head)

    def rows(self):
        db = sqlite3.connect("file:%s?mode=ro" % self.st.db, uri=True,
                             timeout=10)
        try:
            return db.execute("SELECT id, channel, data, key FROM events "
                              "ORDER BY id").fetchall()
        finally:
            db.close()

    def judge_events(self, t, c, rows):
        by_id = {r[0]: r[1:] for r in rows}
        in_log = {}
        for r in rows:
            in_log.setdefault(r[2], []).append(r[0])
        for e in c.events:
            ids = in_log.get(e.data, [])
            if e.id:
                t.check(by_id.get(e.id) == (e.channel, e.data, e.key),
                        "acked as %d, not in the log as that: %r" % (
                            e.id, by_id.get(e.id)))
            t.check(len(ids) <= 1, "event %.20s is in the log as %r" % (
                e.data, ids))
            if e.error and ids:
                t.notes["refused, stored"] += 1
                t.check(t.fault.site.startswith(MAY_RETURN),
                        "refused with %s, and in the log as %r" % (
                            e.error, ids))

    def judge_restart(self, t, head):
        """Another pubd, without faults, finds all in order."""
        self.st.start_pubd()
        with self.st.publisher() as pub:
            before = pub.call({"op": "ping"})["head"]
            id = pub.publish("restart", "x")
        t.check((before, id) == (head, head + 1),
                "the log ends at %d; after a restart at %d, then comes %d" % (
                    head, before, id))
        t.check(self.st.stop_pubd() == 0, "the next pubd failed")
        self.st._procs.clear()
