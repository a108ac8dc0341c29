# SPDX-License-Identifier: MIT
"""The loads of hostile peers, each in a process of its own, so that what is
measured beside them does not wait for this interpreter.

    loads.py NAME <<<'{"path": "/run/walcast/pubd.sock", "n": 100}'

says a line {} when the load is on, goes on until standard input ends, and says
as JSON what it did.  innocent.hostile() starts it.  Each is bounded: in count
by its arguments, in time by LIMIT_S.
"""

import collections
import contextlib
import json
import os
import random
import resource
import select
import socket
import struct
import sys
import time

LIMIT_S = 120
KNOWN = {}


def load(fn):
    KNOWN[fn.__name__.replace("_", "-")] = fn
    return fn


class Until:
    """Whether to go on."""

    def __init__(self):
        self._deadline = time.monotonic() + LIMIT_S

    def ready(self):
        print("{}", flush=True)

    def on(self, pause=0):
        """Waits for pause; false when it is over."""
        if time.monotonic() > self._deadline:
            return False
        return not select.select([0], [], [], pause)[0]


def dial(path):
    """A connection, non-blocking; None when there is none to be had."""
    s = socket.socket(socket.AF_UNIX)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO,
                 struct.pack("ll", 2, 0))
    try:
        s.connect(path)
    except OSError:
        s.close()
        return None
    s.setblocking(False)
    return s


def dial_all(path, n):
    """As many of n as are taken before the first that is not."""
    conns = []
    for _ in range(n):
        s = dial(path)
        if s is None:
            break
        conns.append(s)
    return conns


def web(addr, source=None, rcvbuf=None):
    """A connection to a web server; None when there is none to be had."""
    s = socket.socket()
    s.settimeout(5)
    if rcvbuf:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    try:
        if source:
            s.bind((source, 0))
        s.connect(tuple(addr))
    except OSError:
        s.close()
        return None
    s.setblocking(False)
    return s


def get(target):
    return ("GET %s HTTP/1.1\r\nHost: localhost\r\n"
            "Accept: text/event-stream\r\n\r\n" % target).encode()


def take(s):
    """What is there to read; None when the peer has ended."""
    try:
        return s.recv(65536) or None
    except BlockingIOError:
        return b""
    except OSError:
        return None


def give(s, raw):
    """How much of it went; None when the peer has ended."""
    try:
        return s.send(raw)
    except BlockingIOError:
        return 0
    except OSError:
        return None


class Pool:
    """Connections in an epoll, by descriptor."""

    def __init__(self, conns=(), events=select.EPOLLIN):
        self.by_fd, self._epoll = {}, select.epoll()
        for s in conns:
            self.add(s, events)

    def add(self, s, events=select.EPOLLIN):
        self.by_fd[s.fileno()] = s
        self._epoll.register(s, events)

    def drop(self, s):
        self.by_fd.pop(s.fileno(), None)
        with contextlib.suppress(OSError, ValueError):
            self._epoll.unregister(s)
        s.close()

    def wait(self, timeout):
        for fd, events in self._epoll.poll(timeout):
            if fd in self.by_fd:
                yield self.by_fd[fd], events

    def __len__(self):
        return len(self.by_fd)


# ---------------------------------------------------------------- pubd

@load
def unfinished_lines(go, path, n, size, refill=False, drip_s=0):
    """n connections with size bytes of a line that does not end; refill: who
    is closed comes again; drip_s: a byte more, so far apart."""
    raw = b'{"channel":"hostile","data":"' + b"x" * size
    pool, opened = Pool(), 0

    def more():
        nonlocal opened
        while len(pool) < n and go.on():
            s = dial(path)
            if s is None:
                return
            opened += 1
            give(s, raw[:size])
            pool.add(s, select.EPOLLIN | select.EPOLLRDHUP)
    more()
    go.ready()
    closed, dripped = 0, time.monotonic()
    while go.on(0.05):
        for s, _ in list(pool.wait(0)):
            if take(s) is None:
                pool.drop(s)
                closed += 1
        if refill and opened < 10 * n:
            more()
        if drip_s and time.monotonic() - dripped > drip_s:
            dripped = time.monotonic()
            for s in list(pool.by_fd.values()):
                give(s, b"x")
    return {"opened": opened, "closed_by_peer": closed}


def talkers(go, conns, raw, per_s=None, read=True):
    """Each connection sends raw over and over, at its rate or as fast as it is
    taken, and reads what comes, if at all: (lines sent, left, the first
    answers)."""
    pool = Pool(conns, (select.EPOLLIN if read else 0) |
                (0 if per_s else select.EPOLLOUT))
    came, left = 0, 0
    lines, due = raw.count(b"\n"), time.monotonic()
    go.ready()
    tail = collections.Counter()
    first = collections.defaultdict(bytes)
    while go.on():
        for s, events in list(pool.wait(0.01)):
            if events & ~select.EPOLLOUT:
                got = take(s)
                if got is None:
                    pool.drop(s)
                    left += 1
                    continue
                came += len(got)
                if came < 1 << 22:
                    first[s] += got
            if events & select.EPOLLOUT and not per_s:
                at = tail[s] % len(raw)
                tail[s] += give(s, raw[at:]) or 0
        if per_s and time.monotonic() >= due:
            due += 1 / per_s
            for s in list(pool.by_fd.values()):
                tail[s] += give(s, raw) or 0
    sent = sum(tail.values()) * lines // len(raw)
    return sent, left, [line for raw in first.values()
                        for line in raw.split(b"\n")[:-1]]


@load
def pings(go, path, n):
    """n connections that ping as fast as they are answered."""
    sent, left, _ = talkers(go, dial_all(path, n), b'{"op":"ping"}\n' * 200)
    return {"pings": sent, "closed_by_peer": left}


@load
def publish(go, path, n, channel="hostile"):
    """n connections that publish as fast as they are answered."""
    raw = b'{"channel":"%s","data":"x"}\n' % channel.encode()
    sent, left, lines = talkers(go, dial_all(path, n), raw * 500)
    limited = [line for line in lines if b'"rate_limited"' in line]
    return {"lines": sent, "closed_by_peer": left, "answers": len(lines),
            "answered_ok": sum(b'"ok":true' in line for line in lines),
            "rate_limited": len(limited),
            "without_retry_ms": sum(b'"retry_ms"' not in line
                                    for line in limited)}


@load
def talk(go, path, n, line, repeat=1, per_s=None, read=True):
    """n connections that send a line over and over; an @ in it stands for
    so many bytes."""
    head, at, tail = line.partition("@")
    raw = (head + "x" * repeat + tail if at else line).encode() + b"\n"
    sent, left, lines = talkers(go, dial_all(path, n), raw, per_s, read)
    return {"lines": sent, "closed_by_peer": left, "answers": len(lines),
            "answered_ok": sum(b'"ok":true' in line for line in lines)}


@load
def reports(go, path, n, per_s, role="worker"):
    """n watch connections that each report so often."""
    conns = dial_all(path, n)
    for s in conns:
        give(s, b'{"op":"watch","role":"%s"}\n' % role.encode())
    report = {"op": "report", "name": "worker-1-1", "role": role, "pid": 1,
              "version": "x", "started_ms": 1, "head": 1, "cursor": 1,
              "streams": 1, "counters": {"events_sent": 1}, "gauges": {}}
    sent, left, _ = talkers(go, conns, json.dumps(report).encode() + b"\n",
                               per_s)
    return {"watchers": len(conns), "reports": sent, "closed_by_peer": left}


@load
def watchers(go, path, n, read=False, role="tail"):
    """n watch connections that say nothing more; read: what they are told."""
    conns = dial_all(path, n)
    for s in conns:
        give(s, b'{"op":"watch","role":"%s"}\n' % role.encode())
    pool = Pool(conns if read else ())
    go.ready()
    while go.on(0.05):
        for s, _ in list(pool.wait(0)):
            if take(s) is None:
                pool.drop(s)
    for s in conns:
        s.close()
    return {"watchers": len(conns)}


# ---------------------------------------------------------------- the web

@load
def gets(go, addr, targets, per_s, sources=("127.0.0.2",), stay_s=1.0,
         limit=1 << 20):
    """So many GETs a second of targets, in turn, from sources, in turn; each
    reads until limit or for stay_s, then leaves."""
    pool, born, size = Pool(), collections.deque(), collections.Counter()
    began, made, refused, came = time.monotonic(), 0, 0, 0
    head = collections.Counter()
    go.ready()
    while go.on():
        now = time.monotonic()
        while made < (now - began) * per_s:
            s = web(addr, sources[made % len(sources)])
            made += 1
            if s is None:
                refused += 1
                continue
            give(s, get(targets[made % len(targets)]))
            pool.add(s)
            born.append((now, s))
        for s, _ in list(pool.wait(0.01)):
            raw = take(s)
            came += len(raw or b"")
            if raw and not size[s]:
                head[raw[9:12]] += 1
            size[s] += len(raw or b"")
            if raw is None or size[s] > limit:
                pool.drop(s)
        while born and born[0][0] < now - stay_s:
            s = born.popleft()[1]
            size.pop(s, None)
            pool.drop(s) if s.fileno() >= 0 else None
    return {"gets": made, "no_connection": refused, "mib": came >> 20,
            **{"status_" + k.decode("latin-1"): n for k, n in head.items()}}


@load
def aborted_gets(go, addr, target, per_s, source="127.0.0.2", after_s=0.0):
    """GETs whose client leaves at once."""
    began, made, held = time.monotonic(), 0, collections.deque()
    go.ready()
    while go.on(0.002):
        now = time.monotonic()
        while made < (now - began) * per_s:
            made += 1
            s = web(addr, source)
            if s:
                give(s, get(target))
                held.append((now, s))
        while held and held[0][0] <= now - after_s:
            held.popleft()[1].close()
    return {"aborted": made}


@load
def holders(go, addr, target, n, source="127.0.0.2", read=True, rcvbuf=None,
            again=True):
    """n streams from one address that stay, of one target or of each of a
    list in turn; who is refused or closed comes again at once.  read=False:
    never reads a byte."""
    targets = [target] if isinstance(target, str) else target
    pool, made, opened = Pool(), 0, set()
    ready, pause = False, 0
    while go.on(0.02):
        short = n - len(pool)
        for _ in range(min(short, 200) if again or not ready else 0):
            s = web(addr, source, rcvbuf)
            if s is None:
                break
            give(s, get(targets[made % len(targets)]))
            made += 1
            pool.add(s, select.EPOLLIN if read else 0)
        if not ready and (short <= 0 or made >= n):
            ready = True
            go.ready()
        for s, _ in list(pool.wait(0)):
            raw = take(s) if read else None
            if raw and b"control.open" in raw:
                opened.add(s.fileno())
            if raw is None or b"control.close" in raw:
                opened.discard(s.fileno())
                pool.drop(s)
        if made > 200 * n:
            break
    if not ready:
        go.ready()
    return {"requests": made, "held": len(pool), "held_open": len(opened)}


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    random.seed(1)
    line = b""
    while not line.endswith(b"\n"):     # sys.stdin would read past it
        got = os.read(0, 1 << 16)
        if not got:
            return 2
        line += got
    print(json.dumps(KNOWN[sys.argv[1]](Until(), **json.loads(line))),
          flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
