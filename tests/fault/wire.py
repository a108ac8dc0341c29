# SPDX-License-Identifier: MIT
"""The way of a subscriber's bytes: HTTP/1.1 or HTTP/2 in clear text, with or
without gzip.  Each gives the bytes of the event stream and tells how it ended.
"""

import select
import socket
import struct
import zlib

from sse import _Body as Body

LINGER_0 = struct.pack("ii", 1, 0)      # close() resets
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
WINDOW_MAX = (1 << 31) - 1


def readable(sock, timeout):
    """Waits for bytes or for the end.  Any number of descriptors may be open,
    while select() knows but 1024."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


class Http1:
    """One request.  recv() gives content, b"" while there is none of it yet;
    `ended` is None, or "clean", "cut" or "reset"."""

    def __init__(self, addr, target, headers, timeout, rcvbuf=None):
        self.status = self.ended = None
        self._head, self._body, self._inflate = b"", None, None
        self.sock = socket.socket(
            socket.AF_INET if isinstance(addr, tuple) else socket.AF_UNIX)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(timeout)
        self.sock.connect(addr)
        self._request(target, headers)

    def _request(self, target, headers):
        lines = ["GET %s HTTP/1.1" % target]
        lines += ["%s: %s" % pair for pair in headers.items()]
        self.sock.sendall("\r\n".join(lines + ["", ""]).encode())

    def readable(self, timeout):
        return readable(self.sock, timeout)

    def recv(self, size=1 << 16):
        try:
            raw = self.sock.recv(size)
        except ConnectionResetError:
            self.ended = "reset"
            return b""
        except (OSError, ValueError):       # drop() of another thread
            self.ended = "cut"
            return b""
        content = self._feed(raw) if raw else b""
        if not raw and not self.ended:
            self.ended = "cut"
        return self._plain(content)

    def _feed(self, raw):
        if self._body is None:
            self._head += raw
            head, end, raw = self._head.partition(b"\r\n\r\n")
            if not end:
                return b""
            self._answer(head.decode("latin-1").split("\r\n"))
        content = self._body.feed(raw)
        if self._body.complete:
            self.ended = "clean"
        return content

    def _answer(self, lines):
        self.status = int(lines[0].split(" ")[1])
        fields = dict(line.lower().split(": ", 1) for line in lines[1:]
                      if ": " in line)
        self._body = Body(fields)
        if fields.get("content-encoding") == "gzip":
            self._inflate = zlib.decompressobj(31)

    def _plain(self, content):
        return self._inflate.decompress(content) if self._inflate else content

    def drop(self, reset=False):
        """Ends the connection, from any thread; with RST or with FIN."""
        try:
            if reset:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                     LINGER_0)
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self):
        self.sock.close()


def _frame(type, flags, stream, body=b""):
    return struct.pack("!I", len(body))[1:] + bytes([type, flags]) \
        + struct.pack("!I", stream) + body


def _literal(index, text):
    """A header field with an indexed name (RFC 7541, 6.2.2)."""
    raw = text.encode()
    n = len(raw)
    size = bytes([n]) if n < 127 else _more(n - 127)
    return (bytes([index]) if index < 15 else b"\x0f" + bytes([index - 15])) \
        + size + raw


def _more(n):
    out = [127]
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out + [n])


STATIC = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}
# RFC 7541, appendix B: the digits, as text of zeros and ones.
DIGITS = {format(n, "05b"): str(n) for n in range(3)}
DIGITS.update((format(n + 22, "06b"), str(n)) for n in range(3, 10))


def _status(block):
    """The status that a block of header fields begins with."""
    if block[0] & 0x80:
        return STATIC[block[0] & 0x7f]
    raw = block[2:2 + (block[1] & 0x7f)]
    if not block[1] & 0x80:
        return int(raw)
    bits, text = "".join(format(b, "08b") for b in raw), ""
    while len(text) < 3:
        size = 5 if bits[:5] in DIGITS else 6
        text += DIGITS[bits[:size]]
        bits = bits[size:]
    return int(text)


class Http2(Http1):
    """The same over HTTP/2 with prior knowledge (RFC 9113), one request."""

    def _request(self, target, headers):
        self._raw = b""
        # indexed :method GET, :scheme http; :path, :authority
        block = b"\x82\x86" + _literal(4, target) \
            + _literal(1, headers.pop("Host"))
        for name, value in headers.items():
            block += b"\0" + _literal(0, name.lower())[1:] \
                + _literal(0, value)[1:]
        self.sock.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + _frame(SETTINGS, 0, 0, struct.pack("!HI", 4, WINDOW_MAX))
            + _frame(WINDOW, 0, 0, struct.pack("!I", WINDOW_MAX - 65535))
            + _frame(HEADERS, 5, 1, block))

    def _feed(self, raw):
        self._raw += raw
        content = b""
        while len(self._raw) >= 9:
            size = int.from_bytes(self._raw[:3], "big")
            if len(self._raw) < 9 + size:
                break
            type, flags = self._raw[3], self._raw[4]
            body, self._raw = self._raw[9:9 + size], self._raw[9 + size:]
            content += self._take(type, flags, body)
        return content

    def _take(self, type, flags, body):
        if type == SETTINGS and not flags & 1:
            self.sock.sendall(_frame(SETTINGS, 1, 0))
        elif type == PING and not flags & 1:
            self.sock.sendall(_frame(PING, 1, 0, body))
        elif type in (RST, GOAWAY):
            self.ended = "reset"
        if type == HEADERS and self.status is None:
            self._answer_block(body[5:] if flags & 0x20 else body)
        if type in (DATA, HEADERS) and flags & 1:
            self.ended = "clean"
        if type != DATA:
            return b""
        self.sock.sendall(_frame(WINDOW, 0, 0, struct.pack("!I", len(body)))
                          if body else b"")
        content = body[1:len(body) - body[0]] if flags & 8 else body
        if content[:2] == b"\x1f\x8b" and self._inflate is None:
            self._inflate = zlib.decompressobj(31)
        return content

    def _answer_block(self, block):
        """Only :status is wanted, which comes first."""
        while block and block[0] & 0xe0 == 0x20:    # table size
            block = block[1:]
        self.status = _status(block)
