# SPDX-License-Identifier: MIT
"""Clients that read slowly, not at all, or are no longer there: they cost
themselves something, and nobody else."""

import contextlib
import errno
import socket
import time

from harness import wait_until
from loadlib import Sampler
from run import Foreign
from scenario import FRONTS, scenario
from scenarios._parts import CONFIG, all_have, connections, servers

RING_KIB = 4 << 10
BESIDES_KIB = 24 << 10      # of a worker: code, pages of the store, SQLite


@contextlib.contextmanager
def memory_bounded(run, st):
    """No worker grows past its ring and a constant, at any time."""
    if isinstance(st, Foreign):
        yield
        return
    with Sampler(lambda: max((w.rss_kib() for w in st.workers), default=0),
                 every=0.2) as seen:
        yield
    most = max(seen.seen, default=0)
    bound = RING_KIB + BESIDES_KIB
    run.note(worker_rss_kib=most)
    run.check(most <= bound, "a worker took %d KiB; its bound is %d" % (
        most, bound))


@scenario("slow-readers", tags="slow", url=True, short=True, rounds=1)
def slow_readers(run):
    """10 of 30 clients stop reading while 20,000 events of 2 KB go by.

    (4 of 12, and 5,000 events, in the short form.)  The others have them
    meanwhile, the slow ones in the end, and no worker's memory grows."""
    n, events, rate = (12, 5000, 250) if run.short else (30, 20000, 150)
    st, web = servers(run, ring_bytes=RING_KIB << 10)
    with memory_bounded(run, st), \
            run.traffic(st, web, subscribers=n, size=2048, rate=4 * rate,
                        publishers=4) as t:
        slow, quick = t.subscribers[::3], [
            s for i, s in enumerate(t.subscribers) if i % 3]
        for _ in run.each_round():
            publish_at(t, rate)
            for s in slow:
                s.pause()
            t.progress(events, 300)
            publish_at(t, 0)        # who was behind may come to the head
            all_have(t, quick, 300)
            behind = t.head() - min(s.position for s in slow)
            run.check(behind > events // 2, "who does not read is only %d "
                      "events behind" % behind)
            run.count("stalls", len(slow))
            for s in slow:
                s.resume()
            all_have(t, slow, 300)


def publish_at(t, rate):
    """Each publisher has another rate from now on."""
    for p in t.publishers:
        p.rate = rate


@scenario("byte-a-second", tags="slow", fronts=FRONTS, short=True, rounds=1)
def byte_a_second(run):
    """One client takes a byte a second: others do not feel it."""
    st, web = servers(run, ring_bytes=RING_KIB << 10)
    t = run.traffic(st, web, subscribers=8, rate=500, size=2048)
    slow, *quick = t.subscribers
    slow.rcvbuf = 2048
    with memory_bounded(run, st), t:
        for _ in run.each_round():
            slow.pieces, slow.pace = 1, 1.0
            t.progress(3000 if run.short else 15000, 120)
            all_have(t, quick)
            run.check(slow.position < t.head() - 1000,
                      "one byte a second has brought it to %d" % slow.position)
            run.check(slow.connects == 1, "it was cut off")
            slow.pieces, slow.pace = 1 << 16, 0
            all_have(t, [slow], 120)


# ---------------------------------------------------------------- half-open

TCP_REPAIR = 19


def vanish(stream):
    """The client's machine has lost power and come up again: its side of the
    connection is gone and nobody was told.  Its kernel answers what comes."""
    stream.sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    stream.close()


def can_vanish():
    """Only root may forget a connection without a word."""
    with socket.socket() as s:
        try:
            s.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        except OSError as e:
            if e.errno != errno.EPERM:
                raise
            return False
    return True


@scenario("client-rebooted", tags="slow", short=True, rounds=3)
def client_rebooted(run):
    """Half-open TCP: 40 clients vanish without a word; heartbeats find out."""
    n = 40
    if not can_vanish():
        run.skip("only root can close a connection without FIN")
    st, web = servers(run)
    with run.traffic(st, web, rate=50) as t:
        for _ in run.each_round():
            before = st.streams()
            quiet = [web.stream({"channel": "nothing"}) for _ in range(n)]
            for s in quiet:
                s.open()
            run.check(st.streams() >= before + n, "there are no %d streams" % n)
            for s in quiet:
                vanish(s)
            since = time.monotonic()
            # Apache tells of it with its second write that fails.
            wait_until(lambda: st.streams() <= before,
                       6 * CONFIG["heartbeat_ms"] / 1000 + 5,
                       "the end of %d half-open streams" % n)
            run.note(freed_s=round(time.monotonic() - since, 3))
            run.count("vanished", n)
        run.check(connections(t) == len(t.subscribers),
                  "others were cut off")
