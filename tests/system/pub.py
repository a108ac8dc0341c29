# SPDX-License-Identifier: MIT
"""A publisher: newline-delimited JSON over pubd's Unix socket.

Answers come in the order of the lines, so send() many and recv() as many.
"""

import contextlib
import json
import os
import socket
import time


class Closed(Exception):
    """pubd has ended the connection."""


@contextlib.contextmanager
def acting_as(user, groups=None):
    """What the kernel takes this process for (pwd.struct_passwd); as root.

    groups   its supplementary groups; None: those that it has
    """
    before = os.getgroups()
    if groups is not None:
        os.setgroups(list(groups))
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)


class Publisher:
    def __init__(self, path, timeout=10):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        self.sock.connect(str(path))
        self._buf = b""

    def send(self, *lines):
        """Sends objects as JSON, bytes as they are (with a newline)."""
        self.sock.sendall(b"".join(self.line(x) for x in lines))

    @staticmethod
    def line(x):
        if isinstance(x, str):
            x = x.encode()
        if not isinstance(x, bytes):
            x = json.dumps(x, ensure_ascii=False).encode()
        return x + b"\n"

    def recv_line(self, timeout=10):
        deadline = time.monotonic() + timeout
        while b"\n" not in self._buf:
            self.sock.settimeout(max(deadline - time.monotonic(), 0.001))
            raw = self.sock.recv(1 << 18)
            if not raw:
                raise Closed("pubd closed; unread %r" % self._buf)
            self._buf += raw
        line, _, self._buf = self._buf.partition(b"\n")
        return line

    def recv(self, timeout=10):
        return json.loads(self.recv_line(timeout))

    def call(self, x, timeout=10):
        self.send(x)
        return self.recv(timeout)

    def publish(self, channel, data, timeout=10, **more):
        """Publishes one event, must be acked, returns its id."""
        answer = self.call(dict({"channel": channel, "data": data}, **more),
                           timeout)
        assert answer.get("ok") is True, answer
        return answer["id"]

    def publish_many(self, events, timeout=60, window=500):
        """Publishes (channel, data) pairs or dicts pipelined; returns ids."""
        ids, waiting = [], 0

        def one():
            answer = self.recv(timeout)
            assert answer.get("ok") is True, answer
            ids.append(answer["id"])

        batch = []
        for e in events:
            if not isinstance(e, dict):
                e = {"channel": e[0], "data": e[1]}
            batch.append(e)
            waiting += 1
            if len(batch) == 50:
                self.send(*batch)
                batch = []
            while waiting > window:
                one()
                waiting -= 1
        self.send(*batch)
        for _ in range(waiting):
            one()
        return ids

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
