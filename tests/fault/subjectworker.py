# SPDX-License-Identifier: MIT
"""sse.fcgi under faults: streams of every kind over FastCGI itself, judged by
what each of them got over all of its connections."""

import json
import select
import signal
import time

from fcgi import END, STDOUT, Conn, record, request
from sse import Parser
from sweep import Subject

CATCH_UP_S = 15
SIZE = 1000         # bytes of an event: the older ones lie behind the ring


class Wire(Conn):
    """One connection to a worker, of which several are read in turn."""

    def has_record(self):
        """A whole one has been read already."""
        return len(self._buf) >= 8 and len(self._buf) >= 8 + int.from_bytes(
            self._buf[4:6], "big") + self._buf[6]


class Reader:
    """An EventSource: connects, reads, and connects again by its last id when
    the stream has ended.

    query    without the position
    begin    the id to begin after; None: live
    takes    which published events are its own
    """

    def __init__(self, trial, name, query, takes, begin=None):
        self.trial, self.name, self.query = trial, name, query
        self.takes, self.begin = takes, begin
        self.path = trial.subject.socket
        self.conn = None
        self.parser = Parser()
        self.ids = []
        self.closed = False     # control.close came
        self.rests = False      # reads nothing for now
        self.connects = 0

    @property
    def position(self):
        return self.parser.last_id or \
            ("" if self.begin is None else str(self.begin))

    # -- connections

    def connect(self):
        last, self.closed, self._head = self.position, False, b""
        self.parser = Parser()
        self.parser.last_id = self.parser._id_buf = last
        more = {"HTTP_LAST_EVENT_ID": last} if last else {}
        try:
            self.conn = Wire(self.path, request(query=self.query, **more))
            self.connects += 1
        except OSError:
            self.conn = None

    def drop(self):
        if self.conn:
            self.conn.close()
        self.conn = None

    def wants(self):
        """The socket to wait for."""
        return None if self.conn is None or self.rests else self.conn.sock

    def pump(self):
        """Takes the records that are there, or sees the end."""
        try:
            self._take(*self.conn.record(5))
            while self.conn and self.conn.has_record():
                self._take(*self.conn.record(5))
        except TimeoutError:
            self.trial.check(self.trial.lasts, "%s: half a record, and no more"
                             % self.name)
            self.drop()
        except (EOFError, OSError):
            self.drop()

    def _take(self, kind, _id, content):
        if kind == STDOUT:
            self._text(content)
        elif kind == END:
            self.drop()

    def _text(self, content):
        if self._head is not None:
            self._head += content
            head, blank, content = self._head.partition(b"\r\n\r\n")
            if not blank:
                return
            self._head = None
            self.trial.check(
                b"event-stream" in head or b"Status: 503" in head,
                "%s: answered by %r" % (self.name, head[:200]))
        self.parser.feed(content)
        for e in self.parser.events:
            self._event(e)
        self.parser.events.clear()

    def _event(self, e):
        check = self.trial.check
        if e.type == "control.open":
            if self.begin is None:
                self.begin = int(e.id)
            return
        if e.type == "control.close":
            self.closed = True
        check(e.type != "control.gap", "%s: a gap: %s" % (self.name, e.data))
        if e.type.startswith(("control.", "system.")):
            return
        data = json.loads(e.data)["data"] if "envelope" in self.query \
            else e.data
        check(self.trial.subject.published.get(int(e.id), ("", ""))[1] == data,
              "%s: event %s with other data" % (self.name, e.id))
        self.ids.append(int(e.id))

    # -- what it should have

    def expected(self):
        return [id for id, (channel, _) in self.trial.subject.published.items()
                if self.begin is not None and id > self.begin
                and self.takes(channel)]

    def has_all(self):
        want = self.expected()
        return self.rests or (self.begin is not None and
                              self.ids[-1:] == want[-1:])

    def judge(self):
        want = self.expected()
        missing = sorted(set(want) - set(self.ids))
        self.trial.check(
            self.ids == want, "%s, over %d connections, from %s: %d events "
            "of %d; missing %r; beginning with %r, ending with %r" % (
                self.name, self.connects, self.begin, len(self.ids),
                len(want), missing[:10], self.ids[:3], self.ids[-3:]))


class WorkerSubject(Subject):
    """pubd and a second worker are there all the time, without faults; the
    second one serves what the faulty one left undone."""

    name = "worker"
    BEHIND = 200        # events that a replay begins before the head
    config = {"ring_bytes": 65536, "heartbeat_ms": 50, "drain_ms": 100,
              "retain_events": 2 * BEHIND, "retry_ms": 100, "log_rate": 0}

    def prepare(self):
        self.st.start(workers=1, metrics=False)
        self.socket = self.st.run / "subject.sock"
        self.published = {}     # id: (channel, data)
        self.publish(2 * self.BEHIND)

    def publish(self, n):
        events = [("abc"[i % 3], "%d %s" % (time.monotonic_ns(), "x" * SIZE))
                  for i in range(n)]
        for id, e in zip(self.st.pub.publish_many(events), events):
            self.published[id] = e
        # What no reader begins before is not looked for again.
        for id in list(self.published)[:-3 * self.BEHIND]:
            del self.published[id]

    @property
    def head(self):
        return max(self.published)

    # -- a trial

    def readers(self, t):
        base, every = self.head - self.BEHIND, lambda channel: True
        all_three = "channel=a&channel=b&channel=c"
        slow = Reader(t, "slow", all_three, every, base)
        slow.rests = True
        return [
            Reader(t, "live", "channel=a", lambda c: c == "a"),
            Reader(t, "resumed", "channel=b&channel=c&heartbeat=event",
                   lambda c: c in "bc", self.head - 5),
            Reader(t, "replay", all_three, every, base),
            Reader(t, "envelope", "channel=a*&envelope=1",
                   lambda c: c == "a", base),
            slow]

    def attempt(self, t):
        self.socket.unlink(missing_ok=True)
        t.start(self.st.bin / "sse.fcgi", "--listen", self.socket)
        readers = self.readers(t)
        try:
            if t.reachable(self.socket):
                self.work(t, readers)
            self.end(t, readers)
        finally:
            for r in readers:
                r.drop()
        if t.control.fired:
            t.notes["cut"] += sum(r.connects > 2 for r in readers)

    def work(self, t, readers):
        for r in readers:
            r.connect()
        self.others(t)
        self.publish(5)
        self.catch_up(t, readers)
        for r in readers:
            r.rests = False
        self.publish(5)
        # What lasts either ends while it runs, or is there at its end.
        if t.passes or t.fault.nth % 2:
            t.recover()
            self.catch_up(t, readers)
            self.same_descriptors(t)
        self.publish(2)

    def others(self, t):
        """Requests that are answered otherwise, or not at all."""
        for raw in (request(query="channel=a", method="POST"),
                    request(query="channel=a", method="HEAD"),
                    request(query="channel=a", method="OPTIONS"),
                    request(query="channel=%21"), record(9, b"x" * 100)):
            self.ended(t, raw)
        # One that comes in pieces is put together.
        whole = request(query="channel=a", method="HEAD")
        self.ended(t, whole[:40], whole[40:])

    def ended(self, t, raw, rest=b""):
        """Sends it and waits for the end of the connection."""
        try:
            with Conn(self.socket, raw) as c:
                c.send(rest)
                got = c.ended(0.1 if t.lasts else 5)
        except TimeoutError:
            t.check(t.lasts, "%.60r is neither answered nor closed" % raw)
        except OSError:
            pass
        else:
            t.must(bool(got) or raw[1] == 9, "%.60r has no answer" % raw)

    def catch_up(self, t, readers):
        """Until every reader has all, with as many connections as it takes,
        or for a moment while nothing else can be expected."""
        lasts = t.lasts
        deadline = time.monotonic() + (0.1 if lasts else CATCH_UP_S)
        while not all(r.has_all() for r in readers):
            if not t.running and self.socket == readers[0].path:
                return
            if time.monotonic() > deadline:
                t.check(lasts, "readers are stuck: %r" % [
                    (r.name, r.connects, r.ids[-1:], r.position, self.head)
                    for r in readers if not r.has_all()])
                return
            self.turn(readers)

    @staticmethod
    def turn(readers, again=True):
        for r in readers:
            if r.conn is None and again:
                r.connect()
        ready = {r.wants(): r for r in readers if r.wants()}
        for sock in select.select(list(ready), [], [], 0.01)[0]:
            ready[sock].pump()

    # -- the end

    def end(self, t, readers):
        """Told to end, it ends its streams; what it did not send the other
        worker does."""
        if t.running:
            t.told = True
            t.proc.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 10
        while any(r.conn and not r.rests for r in readers):
            if time.monotonic() > deadline:
                t.check(False, "streams do not end: %r" % [
                    r.name for r in readers if r.conn])
                break
            self.turn(readers, again=False)
        t.stop(signal.SIGTERM)
        t.recover()
        for r in readers:
            r.drop()
            r.rests, r.path = False, self.st.sse_sock
        self.catch_up(t, readers)
        for r in readers:
            r.judge()
