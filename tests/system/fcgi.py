# SPDX-License-Identifier: MIT
"""A web server's side of FastCGI, for tests that look at records and for those
that misbehave on purpose.  Talks to a worker's socket without a web server.
"""

import select
import socket
import struct
import time

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR = 1, 2, 3, 4, 5, 6, 7


def record(type, content=b"", id=1, version=1, pad=0):
    return struct.pack("!BBHHBB", version, type, id, len(content), pad, 0) \
        + content + b"\0" * pad


def pair(name, value):
    out = b""
    name, value = name.encode(), value.encode()
    for n in (len(name), len(value)):
        out += bytes([n]) if n < 128 else struct.pack("!I", n | 0x80000000)
    return out + name + value


def params(path="/sse.fcgi", query="", method="GET", **more):
    env = {"GATEWAY_INTERFACE": "CGI/1.1", "SERVER_PROTOCOL": "HTTP/1.1",
           "REQUEST_METHOD": method, "SCRIPT_NAME": "/sse.fcgi",
           "REQUEST_URI": path + ("?" + query if query else ""),
           "QUERY_STRING": query, "REMOTE_ADDR": "127.0.0.1",
           "HTTP_ACCEPT": "text/event-stream"}
    env.update(more)
    return b"".join(pair(k, v) for k, v in env.items() if v is not None)


def request(path="/sse.fcgi", query="", id=1, keep=0, **more):
    """The bytes of a whole request."""
    return record(BEGIN, struct.pack("!HB5x", 1, keep), id) \
        + record(PARAMS, params(path, query, **more), id) \
        + record(PARAMS, b"", id) + record(STDIN, b"", id)


class Conn:
    """One connection to a worker."""

    def __init__(self, path, raw=b"", timeout=10):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        self.sock.connect(str(path))
        self._buf = b""
        if raw:
            self.sock.sendall(raw)

    def send(self, raw):
        self.sock.sendall(raw)

    def _need(self, n, deadline):
        while len(self._buf) < n:
            left = max(deadline - time.monotonic(), 0)
            poll = select.poll()  # select(2) knows 1024 descriptors
            poll.register(self.sock, select.POLLIN)
            if not poll.poll(left * 1000):
                raise TimeoutError("no record; %r" % self._buf[:200])
            try:
                raw = self.sock.recv(1 << 17)
            except ConnectionResetError:
                raw = b""
            if not raw:
                raise EOFError("closed with %r" % self._buf[:200])
            self._buf += raw

    def record(self, timeout=10):
        """The next record: (type, request id, content)."""
        deadline = time.monotonic() + timeout
        self._need(8, deadline)
        _, type, id, size, pad, _ = struct.unpack("!BBHHBB", self._buf[:8])
        self._need(8 + size + pad, deadline)
        content = self._buf[8:8 + size]
        self._buf = self._buf[8 + size + pad:]
        return type, id, content

    def ended(self, timeout=10):
        """Waits for the peer to close; returns the records before that."""
        got = []
        deadline = time.monotonic() + timeout
        try:
            while True:
                got.append(self.record(deadline - time.monotonic()))
        except EOFError:
            return got

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
