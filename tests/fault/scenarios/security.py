# SPDX-License-Identifier: MIT
"""Hostile peers beside normal traffic: at each socket, and through the web
server.

What is promised of them: they cost themselves only.  The traffic beside them
is judged as ever, its processes are the same ones at the end, and what they
hold of memory and descriptors is bounded during an attack and gone after it.

Events whose text tries to forge fields are in payloads.py.
"""

import collections
import contextlib
import json
import re
import resource
import select
import socket
import struct
import threading
import time

import fcgi
from fcgi import ABORT, BEGIN, PARAMS, STDIN, record, request
from harness import Stack, wait_until
from loadlib import Identity, Sampler
from scenario import scenario

CONFIG = {"heartbeat_ms": 500, "retry_ms": 200, "request_timeout_ms": 2000}
# docs/ARCHITECTURE.md, Memory: lines not parsed, a batch, and answers owed, of
# 16 MiB each, and a line and what the allocator keeps.
PUBD_BOUND_KIB = 3 * 16384 + 16384
WORKER_BOUND_KIB = 4096 * 5  # requests that are not whole
STALL_S = 20                # is a stall even on a machine that is very busy


# ---------------------------------------------------------------- a siege

class Siege:
    """Normal traffic, and what its processes have when nothing else is on."""

    def __init__(self, run, st, web, t):
        self.run, self.st, self.web, self.t = run, st, web, t
        self.procs = {"pubd": st.pubd}
        self.procs.update(("worker %d" % n, w)
                          for n, w in enumerate(st.workers))
        self.same = Identity(*self.procs.values(), web.proc)
        self.fds = {n: p.fds() for n, p in self.procs.items()}
        self.rss = {n: p.rss_kib() for n, p in self.procs.items()}
        self.calm = None

    @contextlib.contextmanager
    def watched(self):
        """While it is attacked.  Its memory is sampled, and all the while
        events are acked."""
        with Sampler(lambda: {n: p.rss_kib() for n, p in self.procs.items()},
                     every=0.05) as sampler:
            yield
            self.t.progress(20)
        for name in self.procs:
            grown = max(s[name] for s in sampler.seen) - self.rss[name]
            bound = PUBD_BOUND_KIB if name == "pubd" else WORKER_BOUND_KIB
            self.run.note(**{"peak_kib_" + name.replace(" ", "_"): grown})
            self.run.check(grown <= bound, "%s grew by %d KiB, bound %d" % (
                name, grown, bound))

    def over(self, timeout=30):
        """The attack has ended: nothing of it is left."""
        self.same.check()
        for name, p in self.procs.items():
            wait_until(lambda: p.fds() <= self.fds[name], timeout,
                       "%s to have no more than %d descriptors" % (
                           name, self.fds[name]))
        rss = {n: p.rss_kib() for n, p in self.procs.items()}
        if self.calm is not None:       # the first round warms up
            for name, kib in rss.items():
                self.run.check(kib <= self.calm[name] + 4096,
                               "%s keeps %d KiB more after each attack" % (
                                   name, kib - self.calm[name]))
        self.calm = rss


@contextlib.contextmanager
def besieged(run, config=None, start_pubd=Stack.start_pubd, **kw):
    """A Siege; afterwards nobody was stalled."""
    st = run.stack(dict(CONFIG, **(config or {})), workers=0, pubd=False,
                   listen="fd0")
    start_pubd(st)
    for _ in range(2):
        st.start_worker()
    web = run.front(st)
    with run.traffic(st, web, rate=200, **kw) as t:
        t.progress(100)
        siege = Siege(run, st, web, t)
        yield siege
        t.progress(20)
    acks = [a.acked_at - a.sent_at for a in run.history.acks]
    run.check(max(acks) < STALL_S, "an ack took %.1f s" % max(acks))


def attack(run, round_of, config=None, **kw):
    """Rounds of round_of(siege), each judged."""
    with besieged(run, config, **kw) as siege:
        for _ in run.each_round():
            with siege.watched():
                round_of(siege)
            siege.over()


def scaled(run, short, full):
    return full if run.soak else short


def dial(path):
    """A connection, as soon as the queue of those to be accepted has room: a
    socket with Python's timeout would fail instead."""
    s = socket.socket(socket.AF_UNIX)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO,
                 struct.pack("ll", 10, 0))
    s.connect(str(path))
    s.settimeout(10)
    return s


@contextlib.contextmanager
def dialled(path, n):
    """n connections, non-blocking."""
    with contextlib.ExitStack() as stack:
        conns = []
        for _ in range(n):
            s = stack.enter_context(contextlib.closing(dial(path)))
            s.setblocking(False)
            conns.append(s)
        yield conns


def send_some(sock, raw):
    """What the peer takes of it now; None when it has hung up."""
    try:
        return sock.send(raw)
    except BlockingIOError:
        return 0
    except OSError:
        return None


def drip(conns, raw, seconds, every=1.0):
    """A byte to each connection, again and again; returns how many of them the
    peer has ended meanwhile."""
    alive = dict.fromkeys(conns, 0)
    until = time.monotonic() + seconds
    pause = threading.Event()
    while alive and time.monotonic() < until:
        for s, at in list(alive.items()):
            if at < len(raw) - 1 and send_some(s, raw[at:at + 1]) is None:
                del alive[s]
            else:
                alive[s] = at + 1
        pause.wait(every)
    return len(conns) - len(alive)


# ---------------------------------------------------------------- FastCGI

@scenario("fastcgi-slow-loris", tags="security slow", rounds=2)
def fastcgi_slow_loris(run):
    """A thousand half requests at a worker's socket, a byte a second each."""
    def round_of(siege):
        timeout_s = CONFIG["request_timeout_ms"] / 1000
        with dialled(siege.st.sse_sock, scaled(run, 1000, 6000)) as conns:
            ended = drip(conns, request(query="channel=c0"), 3 * timeout_s)
            run.count("half_requests", len(conns))
            run.check(ended == len(conns), "%d of %d half requests outlived "
                      "their deadline" % (len(conns) - ended, len(conns)))
    attack(run, round_of)


BEGUN = record(BEGIN, b"\0\1\0\0\0\0\0\0")
CRAFTED = (
    # What overflows a buffer in libfcgi 2.4.2, or makes it abort.
    record(9, fcgi.pair("FCGI_MAX_CONNS", "") * 40, id=0),
    record(9, fcgi.pair("FCGI_MPXS_CONNS", "") * 3000, id=0),
    BEGUN + record(PARAMS, b"\xff\xff\xff\xfe" * 2) + record(PARAMS)
    + record(STDIN),
    BEGUN + record(PARAMS, b"\xff" * 8) + record(PARAMS) + record(STDIN),
    BEGUN + record(PARAMS, b"\x80\0\0") + record(PARAMS) + record(STDIN),
    BEGUN * 3, BEGUN + record(ABORT), record(STDIN, b"x" * 65535),
    BEGUN + record(PARAMS, b"\1\1ab" * 16000) * 4,
    request(query="channel=c0") * 3, b"\0" * 65536, b"\xff" * 65536,
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")


def mutated(rng, raw):
    """The same with some of it changed, cut out, doubled or put in."""
    raw = bytearray(raw)
    for _ in range(rng.randrange(1, 6)):
        at, to = sorted(rng.randrange(len(raw) + 1) for _ in range(2))
        kind = rng.randrange(5)
        if kind == 0 and raw:
            raw[min(at, len(raw) - 1)] = rng.choice((0, 1, 127, 128, 255,
                                                     rng.randrange(256)))
        elif kind == 1:
            del raw[at:to]
        elif kind == 2:
            raw[at:at] = raw[at:min(to, at + 200)]
        elif kind == 3:
            raw[at:at] = rng.randbytes(rng.randrange(1, 20))
        else:                           # a header's type, id or length
            head = rng.randrange(0, max(len(raw) - 8, 1))
            raw[head:head + 8] = record(rng.randrange(13), b"",
                                        id=rng.choice((0, 1, 2, 65535)),
                                        version=rng.choice((0, 1, 1, 1, 2)))
    return bytes(raw)


@scenario("fastcgi-malformed", tags="security", short=True, rounds=2)
def fastcgi_malformed(run):
    """Thousands of malformed requests at a worker's socket: a valid one with
    bytes and records changed, and those that are known to hurt libfcgi."""
    def round_of(siege):
        valid = request(query="channel=c0&last_event_id=1", keep=1)
        n = scaled(run, 5000, 20000)
        held = collections.deque()
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: [s.close() for s in held])
            for i in range(n):
                if len(held) == 200:
                    held.popleft().close()
                held.append(dial(siege.st.sse_sock))
                send_some(held[-1], CRAFTED[i] if i < len(CRAFTED)
                          else mutated(run.rng, valid))
        run.count("requests", n)
    attack(run, round_of)


# ---------------------------------------------------------------- pubd

@scenario("pubd-endless-line", tags="security", short=True, rounds=1)
def pubd_endless_line(run):
    """A gigabyte without a line's end, from each of two publishers at once;
    then the line ends, and the connection goes on."""
    total, piece = scaled(run, 1 << 28, 1 << 30), b"x" * (1 << 20)

    def pour(siege, told):
        with siege.st.publisher(timeout=60) as p:
            p.sock.sendall(b'{"channel":"hostile","data":"')
            for _ in range(total // len(piece)):
                p.sock.sendall(piece)
            p.sock.sendall(b'"}\n')
            told.append(p.recv(60).get("error"))
            told.append(p.call({"op": "ping"})["ok"])

    def round_of(siege):
        told = []
        threads = [threading.Thread(target=pour, args=(siege, told))
                   for _ in range(2)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(120)
        run.check(sorted(told, key=str) == [True, True] + ["too_large"] * 2,
                  "the endless lines were answered %r" % told)
        run.count("bytes", 2 * total)
    attack(run, round_of)


@scenario("pubd-tiny-connections", tags="security", short=True, rounds=2)
def pubd_tiny_connections(run):
    """Connections to pubd by the thousand that send an event, half of one or
    nothing, and leave without an answer."""
    whole = b'{"channel":"hostile","data":"tiny"}\n'

    def round_of(siege):
        n = scaled(run, 10000, 250000)
        for _ in range(n):
            with contextlib.closing(dial(siege.st.pubd_sock)) as s:
                send_some(s, whole[:run.rng.choice(
                    (0, 1, len(whole) // 2, len(whole)))])
        run.count("connections", n)
    attack(run, round_of)


def pour(conns, raw, timeout=30, full_s=0.5):
    """Sends raw over and over, until for full_s no peer takes more.  Returns
    the bytes, None when that does not come about in time."""
    sent = dict.fromkeys(conns, 0)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        ready = select.select([], conns, [], full_s)[1]
        if not ready:
            return sum(sent.values())
        for s in ready:
            sent[s] += send_some(s, raw[sent[s] % len(raw):]) or 0
    return None


@scenario("pubd-deaf-publishers", tags="security slow", rounds=2)
def pubd_deaf_publishers(run):
    """Publishers that send as fast as they may, never read an answer, and
    leave: only they stall, and nothing of them is left."""
    def round_of(siege):
        lines = b'{"channel":"hostile","data":"deaf"}\n' * 500
        with dialled(siege.st.pubd_sock, 20) as conns:
            sent = pour(conns, lines)
            run.check(sent, "who never reads may send for ever")
            run.count("bytes", sent or 0)
    attack(run, round_of)


EVENT = {"channel": "hostile", "event": "e", "data": {"a": [1, "x\u00e9"]},
         "ref": "r"}


def hostile_lines(rng, n):
    """Lines that are no requests, nearly ones, or hard to read."""
    plain = json.dumps(EVENT, ensure_ascii=False).encode()
    one = b'{"channel":"hostile","data":1}'
    for levels in (63, 64, 65, 1000, 100000):
        yield b'{"channel":"hostile","data":' + b"[" * levels + b"]" * levels \
            + b"}"
        yield b'{"a":' * levels + b"1" + b"}" * levels
    for events in (9999, 10000, 10001, 30000):
        yield b"[" + b",".join([one] * events) + b"]"
    for piece in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
                  b"\0", b"\\u0000", b"\\ud800", b"\\udc00\\ud800",
                  b"9" * 5000, b"1e" + b"9" * 400, b"\\"):
        yield b'{"channel":"hostile","data":"' + piece + b'"}'
        yield b'{"channel":"hos' + piece + b'","data":1}'
        yield b'{"channel":"hostile","data":' + piece + b"}"
    for _ in range(n):
        yield mutated(rng, plain).replace(b"\n", b" ")


@scenario("pubd-bad-lines", tags="security", short=True, rounds=2)
def pubd_bad_lines(run):
    """Thousands of lines of broken JSON: nesting, arrays at and past their
    bound, invalid UTF-8, NUL; each has one answer, in its place."""
    def round_of(siege):
        with siege.st.publisher(timeout=30) as p:
            for line in hostile_lines(run.rng, scaled(run, 1000, 50000)):
                if not line.strip(b" \t\r"):
                    continue            # an empty line has no answer
                p.send(line, {"op": "ping", "ref": "after"})
                first, second = p.recv(30), p.recv(30)
                run.check(type(first.get("ok")) is bool and (
                    first["ok"] or first["error"].isidentifier()),
                    "%r was answered %r" % (line[:200], first))
                run.check(second.get("ref") == "after" and second["ok"],
                          "after %r came %r" % (line[:200], second))
                run.count("lines")
    attack(run, round_of)


REPORT = {"op": "report", "name": "worker-1-1", "role": "worker", "pid": 1,
          "version": "x", "started_ms": 1, "head": 1, "cursor": 1,
          "streams": 1, "counters": {"events_sent": 1}, "gauges": {}}


@scenario("pubd-hostile-watchers", tags="security slow", rounds=2)
def pubd_hostile_watchers(run):
    """Watch connections that never read what they are told, and that report
    nonsense."""
    def round_of(siege):
        raw = json.dumps(REPORT).encode()
        n = scaled(run, 100, 1000)
        with dialled(siege.st.pubd_sock, n) as conns:
            for s in conns:
                send_some(s, b'{"op":"watch","role":"worker"}\n')
            for _ in range(20):
                for s in conns:
                    send_some(s, mutated(run.rng, raw) + b"\n")
                siege.t.progress(5)
        run.count("reports", 20 * n)
    attack(run, round_of)


DESCRIPTORS = 64


def start_narrow_pubd(st):
    """pubd with few descriptors."""
    st.pubd = st.spawn("pubd", [st.bin / "pubd"],
                       limits=lambda: resource.setrlimit(
                           resource.RLIMIT_NOFILE, (DESCRIPTORS,) * 2))
    st.await_socket(st.pubd, st.pubd_sock)


@scenario("pubd-descriptors", tags="security")
def pubd_descriptors(run):
    """Connections to pubd until it has no descriptors left: who has published
    goes on, it does not spin, and takes new ones in the place of silent ones,
    while they are there and when they are not."""
    def round_of(siege):
        pubd = siege.st.pubd
        with dialled(siege.st.pubd_sock, 3 * DESCRIPTORS):
            # It keeps some for its own files.
            wait_until(lambda: pubd.fds() >= DESCRIPTORS - 16, 10,
                       "the limit")
            with siege.st.publisher() as p:
                run.check(p.call({"op": "ping"}, timeout=10)["ok"],
                          "no publisher is taken beside silent ones")
            before, started = pubd.cpu_s(), time.monotonic()
            siege.t.progress(200)
            share = (pubd.cpu_s() - before) / (time.monotonic() - started)
            run.note(cpu=round(share, 3))
            run.check(share < 0.5, "pubd spins: %.2f of a core" % share)
        with siege.st.publisher() as p:
            run.check(p.call({"op": "ping"}, timeout=10)["ok"],
                      "no new publisher is taken")
        run.count("floods")
    attack(run, round_of, start_pubd=start_narrow_pubd)


# ---------------------------------------------------------------- HTTP

@scenario("http-slow-loris", tags="security slow", rounds=1)
def http_slow_loris(run):
    """Requests to the web server that come at a byte a second."""
    def round_of(siege):
        raw = b"GET /sse.fcgi?channel=c0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with contextlib.ExitStack() as stack:
            conns = []
            for _ in range(scaled(run, 200, 800)):
                s = socket.create_connection(siege.web.addr, 10)
                stack.callback(s.close)
                s.setblocking(False)
                conns.append(s)
            drip(conns, raw, 8)
            run.count("connections", len(conns))
            page = siege.web.get("/index.html", timeout=5)
            run.check(page[0] == 200, "the site's pages are gone: %r" %
                      page[0])
    attack(run, round_of)


MARK = "X-Forged"
NEEDLES = ["\r\n%s: 1" % MARK, "%0d%0a" + MARK + ":%201", "%0a%0a" + MARK,
           "\0", "%00", "%ff%fe", "\u2028", "a" * 3000, "%", "%zz", "*", "**",
           "../../etc/passwd", "%2e%2e%2f", "\\", "'\";--", "<script>",
           "id: 7", "event:control.close", "-1", "99999999999999999999", "1e3",
           " 7", "7 ", "+7", "0x7", "\t"]
PATHS = ["/sse.fcgi/../../../etc/passwd", "/sse.fcgi/%2e%2e/%2e%2e/x",
         "//sse.fcgi//", "/sse.fcgi/.%00", "/sse.fcgi/" + "a/" * 2000,
         "/sse.fcgi/c0%0d%0a" + MARK + ":1", "/sse.fcgi/*", "/sse.fcgi/,,,",
         "/sse.fcgi;x=1", "/sse.fcgi/c0?" + "channel=a&" * 500,
         "/sse.fcgi?" + "&".join("channel=c%d" % n for n in range(65)),
         "/sse.fcgi?channel=" + "a" * 6000]
# An EventSource takes these for final, and so they may be: of a request that
# no page would send.
REFUSALS = {400, 403, 404, 405, 406, 414, 431}


def raw_get(web, target, fields, more_s=0.05):
    """The status, and as bytes all that comes until more_s after the first of
    it: of a stream the beginning, of a refusal all."""
    got = b""
    with contextlib.closing(socket.create_connection(web.addr, 10)) as s:
        lines = ["GET %s HTTP/1.1" % target, "Host: localhost",
                 "Connection: close", *fields]
        s.sendall("\r\n".join(lines + ["", ""]).encode())
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            got = s.recv(65536)
            until = time.monotonic() + more_s
            while (left := until - time.monotonic()) > 0:
                s.settimeout(left)
                raw = s.recv(65536)
                if not raw:
                    break
                got += raw
    found = re.match(rb"HTTP/1\.[01] (\d+)", got)
    return int(found.group(1)) if found else None, got


def injections():
    """(target, header fields) of hostile requests."""
    for needle in NEEDLES:
        plain = re.sub(r"[^!-~]", lambda m: "%%%02x" % (ord(m.group()) & 255),
                       needle)
        for name in ("channel", "last_event_id", "events", "generation",
                     "heartbeat", "last", "envelope"):
            yield "/sse.fcgi?channel=quiet&%s=%s" % (name, plain), []
        if "\n" not in needle and "\r" not in needle:
            for field in ("Last-Event-ID", "Origin", "Accept", "traceparent",
                          "X-Forwarded-For"):
                yield "/sse.fcgi?channel=quiet", ["%s: %s" % (field, needle)]
    for path in PATHS:
        yield path, []


@scenario("http-injection", tags="security", short=True, rounds=1)
def http_injection(run):
    """Line ends, NULs, path tricks and nonsense in each part of a request: it
    is a stream or is refused, and no text of it becomes a field of ours."""
    def round_of(siege):
        for target, fields in injections():
            status, got = raw_get(siege.web, target, fields)
            what = "%s %r" % (target[:200], fields)
            run.check(status == 200 or status in REFUSALS,
                      "%s was answered %r" % (what, status))
            run.check(not re.search(rb"(?m)^%s" % MARK.encode(), got),
                      "%s came back as a line of its own: %r" % (
                          what, got[:500]))
            run.check(b"root:" not in got, "%s told a file" % what)
            run.count("requests")
    attack(run, round_of)


@scenario("forged-address", tags="security", rounds=1)
def forged_address(run):
    """The limit for each address counts the peer that is there, whatever
    X-Forwarded-For and its like say."""
    allowed = 15
    with besieged(run, {"max_streams_per_address": allowed},
                  subscribers=10) as siege:
        for _ in run.each_round():
            with contextlib.ExitStack() as stack:
                first = []
                for n in range(20):
                    forged = "203.0.113.%d" % n
                    s = stack.enter_context(siege.web.stream(
                        {"channel": "c0"}, headers={
                            "X-Forwarded-For": forged, "X-Real-IP": forged,
                            "Forwarded": "for=" + forged,
                            "REMOTE_ADDR": forged, "Client-IP": forged}))
                    first.append(s.next(10).type)
            told = collections.Counter(first)
            run.check(told == {"control.open": allowed - 10,
                               "control.close": 20 - (allowed - 10)},
                      "with forged addresses came %r" % dict(told))
            run.count("forged", 20)
            siege.over()        # with their descriptors went their slots
