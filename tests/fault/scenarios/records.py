# SPDX-License-Identifier: MIT
"""A worker without a web server: FastCGI to the letter, readers that stall,
and slots that come back."""

import contextlib
import fcntl
import signal
import socket
import sys
import termios
import time

import fcgi
from fcgi import ABORT, END, STDOUT
from harness import Failed, can_connect, free_port, wait_until
from ledger import Ledger, event
from scenario import scenario
from scenarios.continuity import (ALL, ENVELOPES, SMALL, position_of,
                                  read_to)
from sse import Parser, Timeout

COMPLETE = 0            # FCGI_REQUEST_COMPLETE


class Strict(fcgi.Conn):
    """A worker's connection of which no byte may be left over."""

    def __init__(self, addr, query, **more):
        if isinstance(addr, tuple):
            self._buf = b""
            self.sock = socket.socket()
            # Its buffers are small, and are cut anywhere.
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
            self.sock.connect(addr)
        else:
            super().__init__(addr)
        self.send(fcgi.request(query=query, **more))
        self.parser = Parser()
        self.head = None

    def take(self, content):
        """The content of a record: response head, then the event stream."""
        if self.head is None:
            self.head, _, content = content.partition(b"\r\n\r\n")
        self.parser.feed(content)

    def pump(self, timeout=10):
        """Reads one record.  False at the end."""
        try:
            type, id, content = self.record(timeout)
        except EOFError:
            return False
        except TimeoutError as e:
            raise Timeout(e) from e
        assert type == STDOUT, (type, content)
        self.take(content)
        return bool(content)

    def open(self):
        """The type of the first event: control.open, or control.close."""
        try:
            answered = self.pump()
        except Timeout as e:
            raise Failed("a request has no answer: %s" % e) from e
        if not answered:
            raise Failed("a request has no answer, and its connection ends")
        return self.parser.events.pop(0).type

    @property
    def last_id(self):
        return self.parser.last_id

    def trickle(self, rng, upto):
        """Reads as a slow reader does, until an id has come."""
        with contextlib.suppress(Timeout):      # the ledger says what is short
            while position_of(self) < upto and self.pump(20):
                self.parser.events.clear()
                if rng.random() < 0.05:
                    time.sleep(0.005)

    def settled(self):
        """Waits until no more comes although nothing is read."""
        seen = []

        def still():
            raw = fcntl.ioctl(self.sock, termios.FIONREAD, b"\0" * 4)
            seen.append(int.from_bytes(raw, sys.byteorder))
            return len(seen) > 5 and seen[-1] > 0 and len(set(seen[-5:])) == 1
        wait_until(still, 10, "the socket to be full", step=0.02)

    def end(self):
        """(records to the end, bytes left over); events are in the parser."""
        records = self.ended()
        for type, _, content in records:
            if type == STDOUT and content:
                self.take(content)
        return records, self._buf


def judge_end(run, what, conn):
    """STDOUT, an empty one, one END_REQUEST, the close, and nothing else."""
    records, left = conn.end()
    empty = (STDOUT, 1, b"")
    kinds = [type for type, _, _ in records]
    good = (not left and records[-2:-1] == [empty] and
            records.count(empty) == 1 and kinds[-1] == END and
            kinds.count(END) == 1 and {id for _, id, _ in records} == {1} and
            records[-1][2][4] == COMPLETE)
    run.check(good, "%s ends with %r and %r" % (what, [
        (type, id, content[-80:]) for type, id, content in records[-5:]],
        left[:80]))
    run.count("ends")


SHORT_ANSWERS = [
    ("HEAD", "channel=a", {"method": "HEAD"}),
    ("OPTIONS", "channel=a", {"method": "OPTIONS"}),
    ("POST", "channel=a", {"method": "POST"}),
    ("a bad channel", "channel=a%20b", {}),
    ("no channel", "", {}),
    ("a reserved channel", "channel=system.x", {}),
    ("another Accept", "channel=a", {"HTTP_ACCEPT": "text/html"}),
    ("no slot", "channel=a", {"WALCAST_MAX_STREAMS": "0"}),
]


def ends(run, st):
    """Every way in which a response ends in order."""
    for what, query, more in SHORT_ANSWERS:
        with Strict(st.sse_sock, query, **more) as c:
            judge_end(run, what, c)
    with Strict(st.sse_sock, "channel=a") as c:
        c.open()
        c.send(fcgi.record(ABORT))
        judge_end(run, "a stream that is aborted", c)
    with Strict(st.sse_sock, "channel=a") as c:
        c.open()
        judge_end(run, "a stream at its age", c)
        run.check([e.type for e in c.parser.events] == ["control.close"],
                  "at its age a stream was told %r" % c.parser.events)
    with contextlib.ExitStack() as all:
        conns = [all.enter_context(Strict(st.sse_sock, "channel=" + name))
                 for name in ("a", "*")]
        for c in conns:
            c.open()
        st.worker.send_signal(signal.SIGTERM)
        for c in conns:
            judge_end(run, "a stream that is drained", c)
    st.worker.wait()
    st.start_worker(0)


@scenario("frames", tags="resume", fronts=("lighttpd",), short=True, rounds=1)
def frames(run):
    """FastCGI to the letter: each way in which a response ends."""
    st = run.stack(config=dict(SMALL, max_age_s=1, drain_ms=300), workers=1)
    for n in run.each_round():
        ends(run, st)


def tcp_worker(st):
    """(process, address) of a worker to which one connects by TCP: a Unix
    socket takes a record as a whole or not at all."""
    addr = "127.0.0.1", free_port()
    worker = st.spawn("sse.fcgi", [st.bin / "sse.fcgi", "--listen",
                                   "%s:%d" % addr])
    wait_until(lambda: can_connect(addr), 20, "a worker at %s:%d" % addr)
    return worker, addr


@scenario("stalled-readers", tags="slow resume", fronts=("lighttpd",),
          short=True, rounds=1)
def stalled_readers(run):
    """Readers stall, records are cut anywhere: nobody else is hurt by it."""
    st = run.stack(config=dict(SMALL, drain_ms=300), workers=0)
    ledger = Ledger(run, st)
    for n in run.each_round():
        worker, addr = tcp_worker(st)
        with contextlib.ExitStack() as all:
            if slow_readers(run, worker, addr, ledger, all):
                stalled_and_drained(run, worker, addr, ledger, all)


def slow_readers(run, worker, addr, ledger, all, n=8, events=2400):
    """Streams that stall while more than any socket holds goes by: they cost
    the others nothing and the worker no memory, and lack nothing after."""
    wishes = [ALL, ENVELOPES]
    slow = [all.enter_context(Strict(addr, "channel=*" + (
        "&envelope=1" if i % 2 else ""))) for i in range(n)]
    fast = all.enter_context(Strict(addr, "channel=*"))
    for c in slow + [fast]:
        c.open()
    before = worker.rss_kib()
    for _ in range(8):
        ledger.publish([event("c", "%d:" % i + "x" * 2500)
                        for i in range(events // 8)])
        read_to(fast, ledger.head)
        if fast.last_id != str(ledger.head):
            break
    if not ledger.prove(fast, ALL, upto=ledger.head):
        return False
    grown = worker.rss_kib() - before
    run.note(rss_grown_kib=grown)
    run.check(grown < 6 * 1024, "%d stalled streams made the worker grow by "
              "%d KiB" % (n, grown))
    for i, c in enumerate(slow):
        c.trickle(run.rng, ledger.head)
        if not ledger.prove(c, wishes[i % 2], upto=ledger.head):
            return False
    return True


def stalled_and_drained(run, worker, addr, ledger, all):
    """TERM while records are half out: nothing is said inside of them."""
    stalled = [all.enter_context(Strict(addr, "channel=*&last_event_id=1"))
               for _ in range(5)]
    for c in stalled:
        c.open()
        c.settled()
    worker.send_signal(signal.SIGTERM)
    for c in stalled:       # which has room again while the worker drains
        records, left = c.end()
        c.take(left[8:])        # what came of the record that was cut
        ledger.prove(c, ALL, 1)
        ends = [type for type, _, _ in records[-1:]] == [END]
        run.check(bool(left) != ends, "a stalled stream is drained: %d "
                  "records, the last of type %r, then %r" % (
                      len(records), records and records[-1][0], left[:80]))
        run.count("cut" if left else "ends")
    run.check(worker.wait() == 0, "the worker ended with %d" %
              worker.popen.returncode)


# ---------------------------------------------------------------- slots

def admitted(st, all, n):
    """How many of n streams more are let in; these stay until `all` ends."""
    conns = [all.enter_context(Strict(st.sse_sock, "channel=a",
                                      WALCAST_MAX_STREAMS="3"))
             for _ in range(n)]
    return [c for c in conns if c.open() == "control.open"]


def leave(st, conns):
    for c in conns:
        c.close()


def abort(st, conns):
    for c in conns:
        c.send(fcgi.record(ABORT))


def kill(st, conns):
    st.kill_worker(restart=True)


def drain(st, conns):
    st.restart_worker()


@scenario("slots", tags="resume kill", fronts=("lighttpd",), short=True,
          rounds=2)
def slots(run):
    """A stream's slot is free again however it ended, and never before."""
    st = run.stack(config=dict(SMALL, drain_ms=100), workers=1)
    for n in run.each_round():
        for end in (leave, abort, kill, drain):
            with contextlib.ExitStack() as all:
                held = []
                wait_until(lambda: held.extend(admitted(st, all, 1)) or
                           len(held) == 3, 10, "the slots of those that left")
                more = admitted(st, all, 3)
                run.check(not more, "with a cap of 3 there are %d streams" % (
                    3 + len(more)))
                end(st, held)
            run.count("ends")
