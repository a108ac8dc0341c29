# SPDX-License-Identifier: MIT
"""Connections that break anywhere, answers that are lost, requests that are
repeated, and clients that come back: all at once, too late, or from nowhere."""

import operator
import random
import threading
import time

from clients import Event
from harness import Stack, wait_until
from history import Ack
from proxy import AskTwice, CutAfter, CutInRecord, Proxy
from pub import Publisher
from scenario import FRONTS, PROXIED, scenario
from scenarios._parts import (CONFIG, all_have, connections, heard, servers,
                              steps)

def some(run):
    """Subscribers: few where each connection starts a process."""
    return 20 if run.front_kind in PROXIED else 6


def chances(run):
    """Chance of its own for another thread."""
    return random.Random(run.rng.random())


# ---------------------------------------------------------------- cuts

def lives(run, chance):
    """A function that says after how many bytes of an answer a connection is
    cut.  Clients take a frame of HTTP/2, 16 KiB, as a whole: there must be
    connections that live that long."""
    mean = 20000 if run.options.h2 else 4000
    return lambda: int(chance.expovariate(1 / mean)) + 1


def cut_often(run, t, proxy, each=20):
    """Waits for so many cuts more, in each round."""
    for n in run.each_round():
        t.progress(100)
        wait_until(lambda: proxy.cuts >= (n + 1) * each, 60,
                   "%d connections to be cut" % each)
    run.count("cuts", proxy.cuts)


@scenario("drop-mid-stream", tags="reconnect resume", fronts=FRONTS, url=True,
          short=True)
def drop_mid_stream(run):
    """Clients' connections end at any byte, by FIN and by RST, on and on."""
    st, web = servers(run)
    chance = chances(run)
    life = lives(run, chance)

    def harm():
        return CutAfter(life(), chance.random() < 0.5)
    with Proxy(web.addr, harm) as proxy, \
            run.traffic(st, web, addr=proxy.addr, subscribers=some(run),
                        rate=100) as t:
        cut_often(run, t, proxy)


class Behind(Stack):
    """Its workers listen where no web server looks; a proxy does where it
    does."""

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self.front_sock = self.sse_sock
        self.sse_sock = self.run / "worker.sock"


@scenario("drop-mid-frame", tags="reconnect resume", short=True)
def drop_mid_frame(run):
    """The web server's connection to the worker ends inside a record."""
    st = run.stack(config=CONFIG, cls=Behind)
    chance = chances(run)

    def harm():
        return CutInRecord(chance.randrange(40),
                           lambda length: chance.randrange(1, length))
    with Proxy(st.sse_sock, harm, listen=st.front_sock) as proxy:
        web = run.front(st)
        with run.traffic(st, web, subscribers=20) as t:
            cut_often(run, t, proxy)


# ---------------------------------------------------------------- silence

def silent(t):
    """Waits until nothing is under way to subscribers any more."""
    seen = []

    def still():
        seen.append(heard(t))
        return len(seen) > 4 and seen[-4:] == [seen[-1]] * 4
    wait_until(still, 20, "clients to have what was under way", step=0.05)


@scenario("heartbeats-held", tags="reconnect resume", fronts=FRONTS)
def heartbeats_held(run):
    """A proxy holds heartbeats back, and then lets them go or loses them."""
    st, web = servers(run, heartbeat_ms=200)
    with Proxy(web.addr) as proxy:
        # A channel with an event now and then, beside a busy one.
        t = run.traffic(st, web, addr=proxy.addr, channels=("busy",),
                        params=lambda n: {"channel": "quiet"})
        t.publishers[0].channels, t.publishers[0].rate = ["quiet"], 3
        with t:
            for n in run.each_round():
                t.progress(100)
                hold(run, t, proxy, lose=n % 2 == 1)


def hold(run, t, proxy, lose):
    """Nothing comes down for five heartbeats."""
    proxy.hold()
    silent(t)
    had, since = heard(t), time.monotonic()
    t.progress(300)
    wait_until(lambda: time.monotonic() > since + 1, 2, "five heartbeats")
    run.check(heard(t) == had, "the proxy has held nothing back")
    if lose:
        proxy.cut()
    proxy.hold(False)
    run.count("lost" if lose else "released")
    all_have(t)


# ---------------------------------------------------------------- bursts

def publish_at_once(run, t, n):
    """n events in one array, one transaction and one wake."""
    run.count("bursts")
    events = [Event("burst%d-%d" % (run.counters["bursts"], i), t.channels[0],
                    60) for i in range(n)]
    line = "[%s]" % ",".join(e.text() for e in events)
    sent = time.monotonic()
    with Publisher(t.st.pubd_sock) as pub:
        answer = pub.call(line, timeout=30)
    now = time.monotonic()
    for e, id in zip(events, answer["ids"], strict=True):
        t.history.acks.append(Ack(e.key, e.channel, e.hash, id, False, sent,
                                  now, "burst"))


@scenario("bursts", tags="reconnect", fronts=FRONTS, url=True, short=True)
def bursts(run):
    """One event, 5,000 at once, silence for two heartbeats, and again."""
    st, web = servers(run)
    with run.traffic(st, web, publishers=0, subscribers=some(run)) as t:
        for _ in run.each_round():
            publish_at_once(run, t, 1)
            all_have(t)
            publish_at_once(run, t, 5000)
            all_have(t)
            had = [len(steps(sub, "position")) for sub in t.history.subs]
            wait_until(lambda: all(
                len(steps(sub, "position")) >= n + 2
                for sub, n in zip(t.history.subs, had)), 60, "heartbeats")
        run.check(connections(t) == len(t.subscribers),
                  "a burst has cut streams")


# ---------------------------------------------------------------- duplicates

def publish_through(t, proxy):
    """Publishers come by the proxy; to be called before they start."""
    for p in t.publishers:
        p.path = str(proxy.addr)


def told_duplicates(run, t):
    """How often a publisher heard that it had sent an event before."""
    n = sum(a.duplicate for a in t.history.acks)
    run.count("duplicates", n)
    run.check(n > 0, "no event was sent twice: nothing was tested")


@scenario("lost-acks", tags="reconnect", short=True)
def lost_acks(run):
    """pubd's answers are lost, publishers send again: stored once."""
    st, web = servers(run)
    chance = chances(run)
    life = lives(run, chance)
    with Proxy(st.pubd_sock, lambda: CutAfter(life() // 10 + 1),
               listen=st.run / "proxy.sock") as proxy:
        t = run.traffic(st, web)
        publish_through(t, proxy)
        with t:
            cut_often(run, t, proxy)
            t.quiesce()
            told_duplicates(run, t)


@scenario("request-replayed", tags="reconnect", fronts=FRONTS, short=True)
def request_replayed(run):
    """Proxies send requests again, publishers' and subscribers'."""
    st, web = servers(run)
    chance = chances(run)
    life = lives(run, chance)

    def twice(least, then):
        # Of the first answer, which has so many bytes at least.
        return AskTwice(chance.randrange(1, least), CutAfter(then))
    with Proxy(st.pubd_sock, lambda: twice(19, life() // 10 + 1),
               listen=st.run / "proxy.sock") as pubd, \
            Proxy(web.addr, lambda: twice(200, life())) as proxy:
        t = run.traffic(st, web, addr=proxy.addr, subscribers=some(run) // 2,
                        rate=100)
        publish_through(t, pubd)
        with t:
            for n in run.each_round():
                wait_until(lambda: min(pubd.repeats, proxy.repeats)
                           >= 10 * (n + 1), 60, "requests to be repeated")
            t.quiesce()
            told_duplicates(run, t)
        run.count("repeats", pubd.repeats + proxy.repeats)


# ---------------------------------------------------------------- too late

KEPT = 400      # events
NOWHERE = {     # what a client may come with: code of the gap
    "999999999": "ahead",
    "nonsense": "invalid",
    "-5": "invalid",
    "18446744073709551616": "invalid",
    "1": "expired",
    "0": "expired",
}


def begin_later(run, st, web):
    """So much is published that the first events are gone; from then on all
    is kept, so that what is lost is known."""
    with run.traffic(st, web, subscribers=1, rate=0, allow_gaps=True) as t:
        t.progress(2 * KEPT)
    wait_until(lambda: st.oldest() > 1, 20, "retention")
    st.configure(retain_events=0)
    st.restart_pubd()


def other_generation(n):
    return {"channel": "c0", "generation": "%032x" % n}


@scenario("cannot-resume", tags="reconnect resume", fronts=FRONTS, short=True)
def cannot_resume(run):
    """Ids from ahead, long ago or another log, or nonsense: told, then live."""
    st, web = servers(run, retain_events=KEPT)
    begin_later(run, st, web)
    cases = list(NOWHERE.items())
    for _ in run.each_round():
        t = run.traffic(
            st, web, subscribers=len(cases) + 1, rate=200, allow_gaps=True,
            params=lambda n: other_generation(n) if n == len(cases)
            else {"channel": "c0"})
        for s, (id, _) in zip(t.subscribers, cases):
            s.last_id = id
        t.subscribers[-1].last_id = str(st.head())
        with t:
            t.progress(KEPT // 4)
            all_have(t)
        for sub, (id, code) in zip(t.history.subs,
                                   cases + [("its own", "generation")]):
            told = [step[3]["code"] for step in steps(sub, "gap")]
            run.check(told == [code], "who came with %s was told %r" % (
                id, told))
            run.count("gaps", len(told))


def gaps(subscribers):
    """How many each has been told of so far."""
    return [len(steps(s.record, "gap")) for s in subscribers]


@scenario("retention-race", tags="resume slow", short=True)
def retention_race(run):
    """Events are deleted under slow replays: what is lost is told."""
    kept = 1000
    st, web = servers(run, retain_events=kept, ring_bytes=65536)
    t = run.traffic(st, web, subscribers=6, rate=2500, size=1500, last_id=0,
                    allow_gaps=True)
    slow = t.subscribers[::2]
    for s in slow:
        s.rcvbuf = 4096
    with t:
        for _ in run.each_round():
            had = gaps(slow)
            for s in slow:
                s.pause()
            # More than what is kept and what a web server's socket holds.
            t.progress(8000, 180)
            for s in slow:
                s.resume()
            wait_until(lambda: all(map(operator.gt, gaps(slow), had)), 60,
                       "the gap to be told")
        # The log is read, and says what is lost, when no more is deleted.
        t.quiesce()
        wait_until(lambda: st.head() - st.oldest() < kept, 30, "retention")
        t.finish(120)
        run.count("gaps", sum(gaps(t.subscribers)))


# ---------------------------------------------------------------- crowds

def all_at_once(t):
    """The first connects of all subscribers are made at the same time."""
    opened = threading.Event()
    gate = threading.Barrier(len(t.subscribers), action=opened.set)

    def waiting(connect):
        def first_waits(headers):
            if not opened.is_set():
                gate.wait(60)
            return connect(headers)
        return first_waits
    for s in t.subscribers:
        s.connect = waiting(s.connect)


@scenario("connects-at-once", tags="reconnect", url=True, rounds=1)
def connects_at_once(run):
    """2,000 clients (300 in the short form) connect at the same time."""
    n = 300 if run.short else 2000
    st = run.stack(config=dict(CONFIG, heartbeat_ms=5000))
    web = run.front(st, cap=4000)
    for _ in run.each_round():
        t = run.traffic(st, web, subscribers=n, publishers=1, rate=2)
        all_at_once(t)
        started = time.monotonic()
        try:
            t.start(120)
            run.note(all_in_s=round(time.monotonic() - started, 3))
            t.progress(10)
            t.finish(120)
        finally:
            t.abort()


def bunched(times, width):
    """The most of these that lie within so many seconds."""
    times = sorted(times)
    most = first = 0
    for n, at in enumerate(times):
        while at - times[first] > width:
            first += 1
        most = max(most, n - first + 1)
    return most


@scenario("reconnect-storm", tags="reconnect restart", short=True)
def reconnect_storm(run):
    """The web server restarts with 300 streams: they come back, spread."""
    n, retry_s = 300, 1.0
    st, web = servers(run, retry_ms=int(retry_s * 1000), heartbeat_ms=5000)
    with run.traffic(st, web, subscribers=n, publishers=1, rate=20) as t:
        for _ in run.each_round():
            t.progress(5)
            since = time.monotonic()
            web.restart()
            back = wait_until(lambda: came_back(t, since), 60, "all streams")
            run.count("restarts")
            # A quarter either way: half a second for all of them.
            most = bunched(back, retry_s / 10)
            run.note(bunched=most, back_s=round(max(back) - since, 3))
            run.check(most < n * 0.6, "%d of %d came back within %g s" % (
                most, n, retry_s / 10))


def came_back(t, since):
    """When each subscriber opened its first stream since then; None while
    some have not."""
    times = [next((step[1] for step in steps(sub, "open")
                   if step[1] > since), None) for sub in t.history.subs]
    return None if None in times else times
