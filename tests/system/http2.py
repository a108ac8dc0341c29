# SPDX-License-Identifier: MIT
"""As much HTTP/2 (clear text, prior knowledge) as it takes to put several
requests on one connection: no header compression out, none understood in."""

import socket
import struct
import threading

from harness import wait_until
from sse import Parser

DATA, HEADERS, RST, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7


def _frame(type, flags, stream, body=b""):
    return struct.pack("!I", len(body))[1:] + bytes([type, flags]) \
        + struct.pack("!I", stream) + body


def _text(s):
    s = s.encode()
    assert len(s) < 127
    return bytes([len(s)]) + s


class Connection:
    """get(path) starts a request; what comes is read by a thread."""

    def __init__(self, addr):
        self.sock = socket.create_connection(addr)
        self.sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                          + _frame(SETTINGS, 0, 0))
        self._next = 1
        self._parsers = {}
        self.raw = {}
        self.ended = set()
        self.gone = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def get(self, path):
        id = self._next
        self._next += 2
        self.raw[id] = b""
        self._parsers[id] = Parser()
        # indexed :method GET, :scheme http; literal :path, :authority
        self.sock.sendall(_frame(HEADERS, 5, id, b"\x82\x86\x04" + _text(path)
                                 + b"\x01" + _text("localhost")))
        return id

    def _read(self):
        f = self.sock.makefile("rb")
        try:
            while True:
                head = f.read(9)
                if len(head) < 9:
                    break
                size = int.from_bytes(head[:3], "big")
                type, flags = head[3], head[4]
                id = int.from_bytes(head[5:9], "big")
                body = f.read(size)
                if type == SETTINGS and not flags & 1:
                    self.sock.sendall(_frame(SETTINGS, 1, 0))
                elif type == PING and not flags & 1:
                    self.sock.sendall(_frame(PING, 1, 0, body))
                elif type == DATA:
                    self.raw[id] += body
                    self._parsers[id].feed(body)
                if (type in (DATA, HEADERS) and flags & 1) or type == RST:
                    self.ended.add(id)
        except (OSError, ValueError):
            pass
        self.gone = True

    def events(self, id):
        return self._parsers[id].events

    def first(self, id, timeout=20):
        """The type of the first event of a stream; None: Apache has closed
        the connection before, as it may when it is busy."""
        wait_until(lambda: self.events(id) or self.gone, timeout,
                   "a first event")
        return self.events(id)[0].type if self.events(id) else None

    def page(self, path, timeout=10):
        """The content of a whole response; None as above."""
        try:
            id = self.get(path)
        except OSError:
            return None
        wait_until(lambda: id in self.ended or self.gone, timeout, path)
        return self.raw[id] if id in self.ended else None

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._thread.join(5)
        self.sock.close()
