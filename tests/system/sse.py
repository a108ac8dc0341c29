# SPDX-License-Identifier: MIT
"""An EventSource in Python: raw socket, HTTP/1.1, chunked coding, and the
WHATWG parser to the letter.

Stream keeps what a browser does not show as well: the raw bytes, the comments,
the blocks as they were written, and whether the peer ended the stream cleanly.
It may block only as long as the timeout of the call says.
"""

import json
import select
import socket
import time
import urllib.parse


class Timeout(Exception):
    """The wanted thing did not come in time."""


class Ended(Exception):
    """The stream ended before the wanted thing came."""


class Event:
    """One dispatched event: what a page would be given."""

    __slots__ = ("type", "data", "id", "block", "at")

    def __init__(self, type, data, id, block, at):
        self.type = type
        self.data = data
        self.id = id
        self.block = block
        self.at = at

    @property
    def json(self):
        return json.loads(self.data)

    def __repr__(self):
        return "Event(%r, id=%r, data=%r)" % (
            self.type, self.id, self.data[:200])


class Parser:
    """The event stream interpretation of the HTML standard, 9.2.6.

    feed() takes bytes cut anywhere.  A line ends with CR LF, LF or CR.
    """

    def __init__(self):
        self.events = []       # dispatched, not yet taken
        self.comments = []     # text of each comment line
        self.blocks = []       # list of the lines of each block
        self.retry = None      # last retry: value
        self.retries = []
        self.last_id = ""      # what a reconnect would send
        self._id_buf = ""
        self._type = ""
        self._data = []
        self._lines = []
        self._rest = b""
        self._skip_lf = False
        self._first = True

    def feed(self, raw):
        if self._first and raw:
            self._first = False
            if raw.startswith(b"\xef\xbb\xbf"):
                raw = raw[3:]
        buf = self._rest + raw
        pos = 0
        while True:
            if self._skip_lf and pos < len(buf):
                if buf[pos:pos + 1] == b"\n":
                    pos += 1
                self._skip_lf = False
            lf = buf.find(b"\n", pos)
            cr = buf.find(b"\r", pos, lf if lf >= 0 else len(buf))
            end = cr if cr >= 0 else lf
            if end < 0:
                break
            self._line(buf[pos:end].decode("utf-8", "replace"))
            self._skip_lf = end == cr
            pos = end + 1
        self._rest = buf[pos:]

    def _line(self, line):
        if line == "":
            self._dispatch()
            return
        self._lines.append(line)
        if line.startswith(":"):
            self.comments.append(line[1:])
            return
        name, colon, value = line.partition(":")
        if colon and value.startswith(" "):
            value = value[1:]
        if name == "event":
            self._type = value
        elif name == "data":
            self._data.append(value)
        elif name == "id":
            if "\0" not in value:
                self._id_buf = value
        elif name == "retry":
            if value and all(c in "0123456789" for c in value):
                self.retry = int(value)
                self.retries.append(self.retry)

    def _dispatch(self):
        self.last_id = self._id_buf
        lines, self._lines = self._lines, []
        if lines:
            self.blocks.append(lines)
        if self._data:
            self.events.append(Event(self._type or "message",
                                     "\n".join(self._data), self.last_id,
                                     lines, time.monotonic()))
        self._type, self._data = "", []


class _Body:
    """Takes the transfer coding off.  feed() returns content bytes."""

    def __init__(self, headers):
        self.chunked = "chunked" in headers.get("transfer-encoding", "")
        length = headers.get("content-length")
        self.left = int(length) if length is not None else None
        self.complete = self.left == 0
        self._buf = b""
        self._chunk = 0        # content bytes left in this chunk
        self._state = "size"

    def feed(self, raw):
        if not self.chunked:
            if self.left is not None:
                raw = raw[:self.left]
                self.left -= len(raw)
                self.complete = self.left == 0
            return raw
        self._buf += raw
        out = []
        while not self.complete:
            if self._state == "data":
                piece = self._buf[:self._chunk]
                if not piece:
                    break
                out.append(piece)
                self._buf = self._buf[len(piece):]
                self._chunk -= len(piece)
                if self._chunk == 0:
                    self._state = "crlf"
                continue
            line, sep, rest = self._buf.partition(b"\r\n")
            if not sep:
                break
            self._buf = rest
            if self._state == "crlf":
                assert line == b"", "bytes after a chunk: %r" % line
                self._state = "size"
            elif self._state == "trailer":
                self.complete = line == b""
            else:
                self._chunk = int(line.split(b";")[0], 16)
                self._state = "data" if self._chunk else "trailer"
        return b"".join(out)


def query(params):
    """Encodes a dict or a list of pairs; a list value repeats the name."""
    if not params:
        return ""
    pairs = params.items() if isinstance(params, dict) else params
    flat = []
    for name, value in pairs:
        for v in value if isinstance(value, (list, tuple)) else [value]:
            flat.append((name, v))
    return "?" + urllib.parse.urlencode(flat, safe="*,:/")


class Stream:
    """One HTTP request and what comes back, as an event stream.

    addr     (host, port), or a path of a Unix socket
    params   query parameters: dict or pairs; a list value repeats its name
    last_id  sent as the Last-Event-ID header
    """

    def __init__(self, addr, path="/sse.fcgi", params=None, headers=None,
                 last_id=None, method="GET", timeout=10, rcvbuf=None,
                 body=b""):
        self.addr = addr
        self.method = method
        self.raw = b""         # content, all of it
        self.wire = b""        # response head as it came
        self.status = None
        self.reason = ""
        self.headers = {}
        self.header_list = []
        self.eof = False       # the connection has ended
        self.reset = False     # ... by a reset
        self.parser = Parser()
        self.opened = time.monotonic()
        self.first_byte_at = None
        fields = {"Host": "localhost", "Accept": "text/event-stream",
                  "Cache-Control": "no-store"}
        if last_id is not None:
            fields["Last-Event-ID"] = str(last_id)
        fields.update(headers or {})
        if body:
            fields["Content-Length"] = str(len(body))
        head = "%s %s%s HTTP/1.1\r\n" % (method, path, query(params))
        head += "".join("%s: %s\r\n" % (k, v) for k, v in fields.items()
                        if v is not None)
        if isinstance(addr, (tuple, list)):
            self.sock = socket.socket(socket.AF_INET)
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            addr = str(addr)
        try:
            if rcvbuf:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF,
                                     rcvbuf)
            self.sock.settimeout(timeout)
            self.sock.connect(tuple(addr) if isinstance(addr, list) else addr)
            self.sock.sendall(head.encode("latin-1") + b"\r\n" + body)
            self._head(timeout)
        except BaseException:
            self.sock.close()
            raise

    # -- reading

    def _head(self, timeout):
        deadline = time.monotonic() + timeout
        while b"\r\n\r\n" not in self.wire:
            raw = self._recv(deadline)
            if raw == b"":
                raise Ended("no response head: %r" % self.wire)
            self.wire += raw
        head, _, rest = self.wire.partition(b"\r\n\r\n")
        self.wire = head
        lines = head.decode("latin-1").split("\r\n")
        _, status, self.reason = (lines[0] + " ").split(" ", 2)
        self.status = int(status)
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.header_list.append((name.lower(), value.strip()))
            self.headers[name.lower()] = value.strip()
        self._body = _Body(self.headers)
        if self.method == "HEAD" or self.status in (204, 304):
            self._body.complete = True
        self._content(rest)

    def _recv(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            left = 0
        if not select.select([self.sock], [], [], left)[0]:
            raise Timeout("nothing for the time given; so far %r ... %r"
                          % (self.raw[:300], self.raw[-300:]))
        try:
            return self.sock.recv(1 << 18)
        except ConnectionResetError:
            self.reset = True
            return b""

    def _content(self, raw):
        body = self._body.feed(raw)
        if body:
            if self.first_byte_at is None:
                self.first_byte_at = time.monotonic()
            self.raw += body
            self.parser.feed(body)

    def pump(self, timeout=10):
        """Reads once.  Returns False when the response has ended."""
        if self.eof or self._body.complete:
            return False
        raw = self._recv(time.monotonic() + timeout)
        if raw == b"":
            self.eof = True
            return False
        self._content(raw)
        return not self._body.complete

    def fileno(self):
        return self.sock.fileno()

    # -- what tests ask

    @property
    def last_id(self):
        return self.parser.last_id

    @property
    def complete(self):
        """The response ended as HTTP says it should."""
        return self._body.complete

    def next(self, timeout=10, type=None):
        """The next event; with type, those of other types are dropped."""
        deadline = time.monotonic() + timeout
        while True:
            while self.parser.events:
                e = self.parser.events.pop(0)
                if type is None or e.type == type:
                    return e
            if not self.pump(deadline - time.monotonic()):
                if not self.parser.events:
                    raise Ended("the stream ended; so far %r ... %r" %
                                (self.raw[:300], self.raw[-300:]))

    def open(self, timeout=10):
        """control.open, which must be the first event."""
        assert self.status == 200, (self.status, self.wire, self.raw)
        e = self.next(timeout)
        assert e.type == "control.open", e
        return e

    def data(self, timeout=10):
        """The next event that is not ours (control.*, system.*)."""
        deadline = time.monotonic() + timeout
        while True:
            e = self.next(deadline - time.monotonic())
            if not e.type.startswith(("control.", "system.")):
                return e

    def take(self, n, timeout=10):
        """n events that are not ours."""
        deadline = time.monotonic() + timeout
        return [self.data(deadline - time.monotonic()) for _ in range(n)]

    def comment(self, text, timeout=10):
        """Waits until a comment that begins so has come and its block ended."""
        deadline = time.monotonic() + timeout
        while True:
            for block in self.parser.blocks:
                if any(l.startswith(":" + text) for l in block):
                    return block
            if not self.pump(deadline - time.monotonic()):
                raise Ended("no comment %r in %r" % (text, self.raw[-500:]))

    def silent(self, seconds):
        """No event comes for so long; returns what came (must be [])."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if not self.pump(deadline - time.monotonic()):
                    break
            except Timeout:
                break
        got, self.parser.events = self.parser.events, []
        return got

    def end(self, timeout=10):
        """Reads to the end of the response; returns the events not taken."""
        deadline = time.monotonic() + timeout
        while self.pump(deadline - time.monotonic()):
            pass
        got, self.parser.events = self.parser.events, []
        return got

    def body(self, timeout=10):
        """The whole content of a response that ends."""
        self.end(timeout)
        return self.raw

    def closed(self, timeout=10):
        """control.close, after whatever came before it."""
        return self.next(timeout, type="control.close")

    def close(self, reset=False):
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                 b"\x01\0\0\0\0\0\0\0")
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class Source:
    """A page's EventSource with reconnects: follows one set of parameters over
    any number of connections, and keeps each data event.

    follow() opens anew with the last id whenever the stream has ended, at most
    `tries` times, and stops when `until(events)` is true.
    """

    def __init__(self, addr, path="/sse.fcgi", params=None, headers=None):
        self.addr, self.path = addr, path
        self.params, self.headers = params, headers
        self.last_id = None
        self.events = []
        self.controls = []
        self.connects = 0
        self.statuses = []

    def follow(self, until, timeout=30, tries=1000, pause=0.05,
               drop_after=None):
        """drop_after: leave after so many events of each connection."""
        deadline = time.monotonic() + timeout
        for _ in range(tries):
            if until(self.events):
                return self.events
            left = deadline - time.monotonic()
            if left <= 0:
                break
            try:
                s = Stream(self.addr, self.path, self.params, self.headers,
                           last_id=self.last_id, timeout=left)
            except (OSError, Ended, Timeout):
                time.sleep(pause)
                continue
            with s:
                self.connects += 1
                self.statuses.append(s.status)
                had = len(self.events)
                try:
                    while s.status == 200 and not until(self.events):
                        if drop_after is not None and \
                                len(self.events) - had >= drop_after:
                            break
                        e = s.next(deadline - time.monotonic())
                        self.last_id = e.id or self.last_id
                        if e.type.startswith(("control.", "system.")):
                            self.controls.append(e)
                        else:
                            self.events.append(e)
                except (Ended, Timeout, OSError):
                    pass
                # What was read but not yet taken would be lost to a page too:
                # it resumes after the last event that it was given.
                if not s.parser.events:
                    self.last_id = s.last_id or self.last_id
            time.sleep(pause)
        if until(self.events):
            return self.events
        raise Timeout("%d events after %d connects %r" % (
            len(self.events), self.connects, self.statuses[-10:]))
