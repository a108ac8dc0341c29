# SPDX-License-Identifier: MIT
"""The network between web servers and clients, in namespaces of its own
(netns.py), and the small one between pubd and its workers.

What is promised of it: a client that can come back has everything, once; one
that cannot costs nothing for longer than the kernel needs to believe it.
"""

import contextlib
import statistics
import time

from harness import accepted, wait_until
from loadlib import Sampler
from netns import Network, Unavailable
from proxy import Harm, Proxy
from scenario import scenario
from scenarios._parts import CONFIG

SILENCE_S = 2.5     # a client that hears nothing for so long comes again
RATE = 150          # events a second
CUT_S = 10          # what a partition lasts

BACK_S = 60         # bound: from the end of a fault to the head


# ---------------------------------------------------------------- the parts

@contextlib.contextmanager
def network(run, **kw):
    """The link; without the rights for one the scenario is skipped."""
    try:
        net = Network(run.rng.random(), **kw)
    except Unavailable as e:
        run.skip(str(e))
    with net:
        yield net


def leave_if_silent(subscribers):
    """What client/ does and what EventSource cannot: a stream without a
    heartbeat is left for a new one.  Without it a client whose server has
    given up would wait for ever for a packet that nobody sends."""
    now = time.monotonic()
    for s in subscribers:
        steps = s.record.steps
        if steps and steps[-1][0] != "end" and now - steps[-1][1] > SILENCE_S:
            s.drop()


@contextlib.contextmanager
def distant_traffic(run, net, st, web, **kw):
    """Traffic whose subscribers are at the other end of the link."""
    with contextlib.ExitStack() as stack:
        with net.clients.entered():
            t = stack.enter_context(run.traffic(st, web, **kw))
        stack.enter_context(Sampler(
            lambda: leave_if_silent(t.subscribers), every=0.2))
        yield t
        t.finish(BACK_S)


def catch_up(run, t):
    """All subscribers have what was acked until now.  Returns the seconds."""
    head, started = t.head(), time.monotonic()
    wait_until(lambda: all(s.position >= head for s in t.subscribers), BACK_S,
               "the head %d at each subscriber: %r" % (
                   head, sorted(s.position for s in t.subscribers)))
    return time.monotonic() - started


def through(run, counted, make, **kw):
    """Traffic over a link whose conditions change from round to round.

    make     a function of the round's chances; gives the conditions
    counted  of which count of the link there must be some (see link.COUNTS)
    """
    st = run.stack(CONFIG)
    with network(run) as net:
        with net.servers.entered():
            web = run.front(st)
        with distant_traffic(run, net, st, web, rate=RATE, **kw) as t:
            for n in run.each_round():
                before = net.clear()
                net.harm(**make(run.rng))
                t.progress(3 * RATE)
                after = net.clear()
                harmed = sum(after[w][counted] - before[w][counted]
                             for w in after)
                run.check(harmed > 0, "the link had %s none" % counted)
                run.count("packets_" + counted, harmed)
                run.note(back_s=round(catch_up(run, t), 3))


# ---------------------------------------------------------------- a bad link

@scenario("link-loss", tags="network", short=True)
def link_loss(run):
    """3 to 8 % of all packets are lost, each way, with 20 ms of delay."""
    through(run, "lost", lambda rng: {"loss": rng.uniform(.03, .08),
                                      "delay": .01})


@scenario("link-delay", tags="network")
def link_delay(run):
    """A delay of 100 to 200 ms each way that varies by half of it, so that
    packets overtake each other."""
    def make(rng):
        delay = rng.uniform(.1, .2)
        return {"delay": delay, "jitter": delay / 2}
    through(run, "given", make)


@scenario("link-duplicates", tags="network")
def link_duplicates(run):
    """A fifth of all packets arrives twice, and many out of their order."""
    through(run, "doubled", lambda rng: {
        "duplicate": .2, "delay": .02, "jitter": .01,
        "reorder": rng.uniform(.1, .4)})


@scenario("link-narrow", tags="network slow")
def link_narrow(run):
    """A link that carries a fraction of what is published: its queue drops
    packets, clients fall behind and come up again."""
    through(run, "overflowed", lambda rng: {
        "rate": rng.randrange(50000, 100000), "delay": .05},
        subscribers=6, size=800)


# ---------------------------------------------------------------- partitions

@scenario("partition", tags="network reconnect", short=True)
def partition(run):
    """Packets vanish for 10 s: both ways, or one of them."""
    st = run.stack(CONFIG)
    with network(run) as net:
        with net.servers.entered():
            web = run.front(st)
        with distant_traffic(run, net, st, web, rate=RATE) as t:
            for n in run.each_round():
                net.harm(("both", "down", "up")[n % 3], cut=True)
                t.progress(CUT_S * RATE, timeout=6 * CUT_S)
                counts = net.clear()
                run.check(any(c["cut"] for c in counts.values()),
                          "no packet met the partition")
                run.count("partitions")
                run.note(back_s=round(catch_up(run, t), 3))


@scenario("link-down", tags="network reconnect")
def link_down(run):
    """`ip link set down` for 10 s and back, of a veth pair."""
    st = run.stack(CONFIG)
    with network(run, kind="veth") as net:
        with net.servers.entered():
            web = run.front(st)
        with distant_traffic(run, net, st, web, rate=RATE) as t:
            for n in run.each_round():
                catch_up(run, t)
                net.down()
                t.progress(CUT_S * RATE, timeout=6 * CUT_S)
                behind = min(s.position for s in t.subscribers)
                run.check(behind < t.head() - RATE,
                          "the link that is down carries events")
                net.up()
                run.count("partitions")
                run.note(back_s=round(catch_up(run, t), 3))


@scenario("clients-vanish", tags="network", rounds=2)
def clients_vanish(run):
    """Half-open TCP: 50 clients go dark for good; their streams are freed.

    Nothing but the kernel knows that they have gone: it repeats what it has
    no acknowledgement for, tcp_retries2 times (15 by default, some 15 minutes;
    here 5, so 13 to 25 s, as the round trips were), and then tells the web
    server, which ends the request.  No timeout of the web server's and no
    answer to a heartbeat is needed besides.  They hear heartbeats alone: of
    one whose window was full the kernel asks as often, but in steps that
    begin at the measured time-out, which on a slow way takes minutes.
    """
    retries, dark = 5, 50
    bound_s = 0.2 * (2 ** (retries + 1) - 1) * 4
    st = run.stack(CONFIG)
    with network(run) as net:
        net.servers.sysctl("tcp_retries2", retries)
        with net.servers.entered():     # the others are beside the server
            web = run.front(st)
            t = run.traffic(st, web, rate=RATE)
            t.start()
        try:
            for n in run.each_round():
                vanish(run, net, st, web, dark, bound_s)
                t.progress(RATE)
            t.finish()
        finally:
            t.abort()


def vanish(run, net, st, web, n, bound_s):
    """n streams open, go dark, and must be gone within the bound."""
    def held():     # a connection is of the namespace of who connected
        with net.servers.entered():
            return accepted(st.sse_sock)
    before = held()
    with contextlib.ExitStack() as streams:
        with net.clients.entered():
            for _ in range(n):
                streams.enter_context(web.stream({"channel": "quiet"})).open()
        run.check(held() >= before + n, "there are no %d streams" % n)
        net.harm(cut=True)
        started = time.monotonic()
        wait_until(lambda: held() <= before, bound_s,
                   "the end of %d half-open streams" % n)
        run.note(freed_s=round(time.monotonic() - started, 3))
        run.count("vanished", n)
    net.clear()


# ---------------------------------------------------------------- the wake

class Deaf(Harm):
    """Lets the first line from pubd pass, its answer to the watch, and none
    of the wakes after it."""

    def __init__(self):
        self.passed = False

    def down(self, raw):
        if self.passed:
            return b""
        line, end, _ = raw.partition(b"\n")
        self.passed = bool(end)
        return line + end


POLL_MS = 400


def delays(history, after, upto):
    """Seconds from an event's ack to each subscriber, of ids in (after,
    upto]."""
    acked = {a.id: a.acked_at for a in history.acks if after < a.id <= upto}
    return [max(step[1] - acked[step[2]], 0)
            for s in history.subs for step in s.steps
            if step[0] == "event" and step[2] in acked]


def timed(run, t, what, n=400):
    """The median delay of the next events, which is noted."""
    first = t.head()
    t.progress(n)
    catch_up(run, t)
    found = delays(t.history, first, t.head())
    median = statistics.median(found)
    run.note(**{what + "_p50_ms": round(median * 1000, 2),
                what + "_max_ms": round(max(found) * 1000, 2)})
    return median, max(found)


def judge_polling(run, late, what):
    """Late by a part of the poll: no wake came, and none was needed."""
    median, slowest = late
    run.check(median > POLL_MS / 1000 / 10,
              "%s: wakes came all the same (p50 %.1f ms)" % (
                  what, median * 1000))
    run.check(slowest < POLL_MS / 1000 + 3,
              "%s: an event came %.1f s late, polling is every %d ms" % (
                  what, slowest, POLL_MS))


@scenario("wakes-lost", tags="network", short=True, rounds=1)
def wakes_lost(run):
    """A proxy before pubd's socket swallows every wake: latency only."""
    st = run.stack(dict(CONFIG, tail_poll_ms=POLL_MS), workers=0,
                   listen="fd0")
    ear = st.run / "deaf.sock"
    with Proxy(st.pubd_sock, Deaf, listen=ear) as proxy:
        for _ in range(2):
            st.start_worker(WALCAST_SOCKET=ear)
        web = run.front(st)
        with run.traffic(st, web, rate=RATE) as t:
            wait_until(lambda: proxy.links >= 2, 10, "the workers to listen")
            for n in run.each_round():
                judge_polling(run, timed(run, t, "deaf"), "without wakes")


@scenario("socket-away", tags="network", rounds=2)
def socket_away(run):
    """pubd's socket is moved away and back while workers start: they poll,
    and are woken again as soon as it is there."""
    st = run.stack(dict(CONFIG, tail_poll_ms=POLL_MS))
    web = run.front(st)
    aside = st.run / "aside.sock"
    with run.traffic(st, web, rate=RATE) as t:
        for n in run.each_round():
            st.pubd_sock.rename(aside)
            for w in range(len(st.workers)):
                run.kill_worker(st, web, w)
            # Apache tells clients of a killed worker after KeepAliveTimeout:
            # only what is acked from here on proves that they are back.
            t.progress(20)
            catch_up(run, t)
            judge_polling(run, timed(run, t, "away"), "without the socket")
            aside.rename(st.pubd_sock)
            wait_until(lambda: timed(run, t, "back", 100)[0]
                       < POLL_MS / 1000 / 10, 30, "wakes to come again")
