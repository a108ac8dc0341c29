# SPDX-License-Identifier: MIT
"""Publishers and subscribers that keep a record of all they see.

A Publisher sends events with idempotency keys, some in arrays, pipelined, and
sends again what a broken connection left unanswered.  A Subscriber is an
EventSource: it resumes by the last id, waits as `retry:` says, and takes ids
as the HTML standard does.  Both are threads; neither judges anything.
"""

import json
import random
import socket
import threading
import time
import urllib.parse

from history import Ack, payload_hash
from sse import Parser
from wire import Http1, Http2, readable

AGAIN = ("busy", "storage", "unavailable", "rate_limited")
WINDOW = 64             # events of a publisher that wait for their answer
HEADERS = {"Host": "localhost", "Accept": "text/event-stream",
           "Cache-Control": "no-store"}


# ---------------------------------------------------------------- publishing

class Event:
    """One event to publish."""

    __slots__ = ("key", "channel", "data", "hash", "sent_at")

    def __init__(self, key, channel, size):
        self.key, self.channel, self.sent_at = key, channel, None
        pad = max(size - len(key) - 14, 0)
        self.data = '{"k":"%s","p":"%s"}' % (key, "x" * pad)
        self.hash = payload_hash(self.data)

    def text(self):
        return '{"channel":"%s","key":"%s","data":%s}' % (
            self.channel, self.key, self.data)


class Publisher(threading.Thread):
    """Publishes to a socket until stop(), `rate` events a second."""

    def __init__(self, name, path, history, channels, rate, size, seed,
                 arrays=0.1):
        super().__init__(name=name, daemon=True)
        self.path, self.history, self.channels = str(path), history, channels
        self.rate, self.size, self.arrays = rate, size, arrays
        self.rng = random.Random(seed)
        self.connects = self.errors = 0
        self.made = 0
        self.broken = None          # an exception that ended the thread
        self._waiting = []          # requests (lists of events) sent, in order
        self._again = []            # requests to send again
        self._sock = None
        self._buf = b""
        self._stopping = threading.Event()
        self._giving_up = threading.Event()

    def stop(self):
        """No new events; the thread ends when all have been answered."""
        self._stopping.set()

    def give_up(self):
        """Ends at once; what has no answer is unknown."""
        self._stopping.set()
        self._giving_up.set()

    def run(self):
        try:
            self._work()
        except Exception as e:      # shown by Traffic
            self.broken = e
        finally:
            self._drop()
            for request in self._waiting + self._again:
                for e in request:
                    if e.sent_at is not None:
                        self.history.unknown[e.key] = (e.channel, e.hash)

    def _work(self):
        start = time.monotonic()
        while not self._giving_up.is_set():
            over = self._stopping.is_set()
            if over and not self._waiting and not self._again:
                return
            try:
                if self._sock is None:
                    self._connect()
                self._send(start, over)
                self._recv()
            except OSError:
                self._drop()
                self._again = self._waiting + self._again
                self._waiting = []
                self._giving_up.wait(0.02)

    def _connect(self):
        self.connects += 1
        self._buf = b""
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.settimeout(10)
        self._sock.connect(self.path)

    def _drop(self):
        if self._sock:
            self._sock.close()
            self._sock = None

    def _send(self, start, over):
        lines = []
        room = WINDOW - sum(map(len, self._waiting))
        while room > 0:
            request = self._next(start, over)
            if request is None:
                break
            room -= len(request)
            # Counted as sent before it is: it may arrive in part.
            now = time.monotonic()
            for e in request:
                e.sent_at = now
            self._waiting.append(request)
            texts = [e.text() for e in request]
            lines.append(texts[0] if len(texts) == 1
                         else "[%s]" % ",".join(texts))
        if lines:
            self._sock.sendall(("\n".join(lines) + "\n").encode())

    def _next(self, start, over):
        if self._again:
            return self._again.pop(0)
        due = (time.monotonic() - start) * self.rate
        if over or self.made >= due:
            return None
        n = self.rng.randrange(2, 6) if self.rng.random() < self.arrays else 1
        return [self._make() for _ in range(n)]

    def _make(self):
        self.made += 1
        channel = self.rng.choice(self.channels)
        return Event("%s-%d" % (self.name, self.made), channel, self.size)

    def _recv(self):
        pause = min(1 / self.rate, 0.05) if self.rate else 0.05
        if not readable(self._sock, pause):
            return
        raw = self._sock.recv(1 << 16)
        if not raw:
            raise ConnectionError("pubd closed")
        *lines, self._buf = (self._buf + raw).split(b"\n")
        for line in lines:
            self._answer(json.loads(line))

    def _answer(self, answer):
        request = self._waiting.pop(0)
        now = time.monotonic()
        if answer["ok"]:
            ids = answer["ids"] if "ids" in answer else [answer["id"]]
            if len(ids) != len(request):
                raise ValueError("%d ids for %d events" % (
                    len(ids), len(request)))
            again = set(answer.get("duplicates",
                                   [0] if answer.get("duplicate") else []))
            for n, (e, id) in enumerate(zip(request, ids)):
                self.history.acks.append(Ack(
                    e.key, e.channel, e.hash, id, n in again, e.sent_at, now,
                    self.name))
            return
        self.errors += 1
        self.history.refused[answer["error"]] += 1
        if answer["error"] in AGAIN:
            self._again.append(request)
            self._giving_up.wait(0.02)


# ---------------------------------------------------------------- subscribing

class Recorder(Parser):
    """The parser of the standard; hands each block to a subscriber."""

    def __init__(self, block):
        super().__init__()
        self._block = block

    def _dispatch(self):
        with_id = any(line.startswith("id") for line in self._lines)
        self._block(self._type, "\n".join(self._data) if self._data else None,
                    self._id_buf if with_id else None)
        self._lines, self.comments = [], []
        self._type, self._data = "", []


class Subscriber(threading.Thread):
    """Follows one URL over any number of connections, until stop().

    connect()   replaced by a scenario that comes another way
    pause()     stops reading, as a stalled browser does; resume()
    drop()      ends the connection; it reconnects
    """

    def __init__(self, record, addr, path="/sse.fcgi", params=None,
                 last_id=None, headers=None, h2=False, gzip=False,
                 rcvbuf=None, envelope=False):
        super().__init__(name=record.name, daemon=True)
        self.record, self.addr, self.rcvbuf = record, addr, rcvbuf
        query = dict(params or {}, **({"envelope": 1} if envelope else {}))
        self.target = path + "?" + urllib.parse.urlencode(
            query, doseq=True, safe="*,:/")
        self.headers = dict(HEADERS, **(headers or {}))
        if gzip:
            self.headers["Accept-Encoding"] = "gzip"
        self.transport = Http2 if h2 else Http1
        self.envelope = envelope
        self.last_id = last_id      # what a reconnect sends; a string
        self.position = -1          # of all that is known to have been passed
        self.retry = 0.2
        self.connects = 0
        self.pieces = 1 << 16       # bytes of a read, at most
        self.pace = 0               # seconds to wait after each read
        # Seconds without a byte after which it comes anew.  None: never, as
        # a browser's EventSource.
        self.liveness = None
        self.broken = None
        self._wire = None
        self._stopping = threading.Event()
        self._reading = threading.Event()
        self._reading.set()

    # -- from other threads

    def pause(self):
        self._reading.clear()

    def resume(self):
        self._reading.set()

    def drop(self, reset=False):
        wire = self._wire
        if wire:
            wire.drop(reset)

    def stop(self):
        self._stopping.set()
        self._reading.set()
        self.drop()

    # -- the thread

    def run(self):
        try:
            while not self._stopping.is_set():
                self._follow()
                self._stopping.wait(self.retry)
        except Exception as e:      # shown by Traffic
            self.broken = e

    def connect(self, headers):
        """A new connection with the request sent."""
        return self.transport(self.addr, self.target, headers, timeout=10,
                              rcvbuf=self.rcvbuf)

    def _note(self, kind, *rest):
        self.record.steps.append((kind, time.monotonic(), *rest))

    def _follow(self):
        headers = dict(self.headers)
        if self.last_id is not None:
            headers["Last-Event-ID"] = self.last_id
        try:
            self._wire = self.connect(headers)
        except OSError:
            return
        self.connects += 1
        self._note("connect", self.last_id)
        try:
            self._read(self._wire, Recorder(self._block))
            how = self._wire.ended or "cut"
        except OSError:
            how = "cut"
        finally:
            self._wire.close()
            self._wire = None
        self._note("end", how)

    def _read(self, wire, parser):
        # Nothing is polled for: drop() wakes the wait.  Thousands of these
        # share a processor.
        heard = time.monotonic()
        while not wire.ended and not self._stopping.is_set():
            self._reading.wait()
            if not wire.readable(self.liveness or 30):
                if self.liveness and time.monotonic() - heard > self.liveness:
                    return
                continue
            heard = time.monotonic()
            content = wire.recv(self.pieces)
            if wire.status not in (None, 200):
                self._note("status", wire.status)
                return
            parser.feed(content)
            if parser.retry is not None:
                self.retry = parser.retry / 1000
            if self.pace:
                self._stopping.wait(self.pace)

    def _block(self, type, data, id):
        if id is not None:
            self.last_id = id
        if type.startswith("control."):
            self._control(type[8:], json.loads(data), id)
        elif data is None or type.startswith("system."):
            if id is not None:
                self._note("position", int(id))
                self.position = int(id)
        else:
            self._event(data, id)

    def _control(self, kind, data, id):
        position = None if id is None else int(id)
        if kind == "close":
            self._note("close", data)
            return
        self._note(kind, position, data)
        if position is not None:
            self.position = position
        if self.record.started_after is None:
            self.record.started_after = position

    def _event(self, data, id):
        if self.envelope:
            data = json.dumps(json.loads(data)["data"], separators=(",", ":"),
                              ensure_ascii=False)
        start = data.find('"k":"') + 5
        key = data[start:data.find('"', start)] if start > 4 else None
        number = int(id) if id else -1
        self._note("event", number, key, payload_hash(data))
        self.position = number
