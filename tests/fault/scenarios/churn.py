# SPDX-License-Identifier: MIT
"""Very many streams of which some leave and come all the time: for as long as
one wants to, nothing grows."""

import contextlib
import resource
import statistics
import time

from harness import wait_until
from loadlib import Publishers, Sampler, Subscribers, whole
from scenario import scenario

STREAMS = 8000
CHURN = 5               # percent a second
RATE = 1                # events a second, each to all: who left is found
WARM_S = 60             # what is made once is there
ROUND_S = 60
SAMPLE_S = 2
DESCRIPTORS = 18400     # of the web server: two a stream, and who is leaving
GROWN_KIB = 512         # what a fit may show of memory that only varies ...
GROWN_FDS = STREAMS // 200      # ... and of descriptors: 0.1 s of the churn
WITHIN = 0.01           # or this part of what there is
HELD = 0.9              # of the streams must be there at any time


class Held:
    """Memory and descriptors of the processes, over time."""

    def __init__(self, procs):
        self.procs = procs
        self.started = time.monotonic()

    def look(self):
        return time.monotonic() - self.started, {
            "%s_%s" % (name, what): figure()
            for name, p in self.procs.items()
            for what, figure in (("kib", p.rss_kib), ("fds", p.fds))}


def growth(samples, name):
    """(about how much there is, by how much a straight line through the
    samples has grown at their end)."""
    at = [t for t, _ in samples]
    y = [figures[name] for _, figures in samples]
    line = statistics.linear_regression(at, y)
    return statistics.median(y), line.slope * (at[-1] - at[0])


def judge(run, samples):
    """Nothing grows once the first minute is over."""
    steady = [s for s in samples if s[0] >= WARM_S]
    run.check(len(steady) >= 10, "only %d samples" % len(steady))
    least = min(figures["worker_fds"] for _, figures in steady)
    run.note(streams_least=least)
    run.check(least >= HELD * STREAMS, "only %d streams were held: too much "
              "for this machine, and nothing is shown" % least)
    for name in samples[0][1]:
        level, grown = growth(steady, name)
        bound = max(GROWN_KIB if name.endswith("kib") else GROWN_FDS,
                    WITHIN * level)
        run.note(**{name: round(level), name + "_grown": round(grown)})
        run.check(grown <= bound, "%s grew by %d in %d s from about %d; %d "
                  "would be chance" % (name, grown, steady[-1][0] - WARM_S,
                                       level, bound))


def gone(st, procs, before):
    """Every descriptor of those who left has been given back."""
    def none_left():
        st.publish("c0", "is anyone there?")
        return all(p.fds() <= before[name] for name, p in procs.items())
    wait_until(none_left, 60, "descriptors as at first: %r, not %r" % (
        before, {name: p.fds() for name, p in procs.items()}))


def seconds(run):
    return WARM_S + ROUND_S * run.rounds


@scenario("churn-8000", tags="soak slow", fronts=("lighttpd",), rounds=10)
def churn_8000(run):
    """8,000 streams, 5 % of them leaving and coming each second: no process
    grows in memory or descriptors after the first minute, none is left over.

    A round is a minute.  Every stream has every event once and in order."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < DESCRIPTORS:
        run.skip("lighttpd needs %d descriptors for %d streams" % (
            DESCRIPTORS, STREAMS))
    st = run.stack(config={"heartbeat_ms": 5000, "retry_ms": 1000}, workers=1)
    # Those who left are still counted until something is written to them.
    web = run.front(st, cap=STREAMS + STREAMS // 4)
    procs = {"worker": st.worker, "pubd": st.pubd, "lighttpd": web.proc}
    publish_before(st, web)
    before = {name: p.fds() for name, p in procs.items()}
    head, events = st.head(), RATE * seconds(run)
    with contextlib.ExitStack() as stack:
        subs = stack.enter_context(Subscribers(
            st, web, STREAMS, "--churn", CHURN, "--until-id", head + events,
            "--coalesce-ms", 20, "--seed", run.options.seed,
            max_time=2 * seconds(run) + 300))
        subs.ready(180)
        held = stack.enter_context(
            Sampler(Held(procs).look, every=SAMPLE_S))
        stack.enter_context(Publishers(
            st, events, "--rate", RATE, "--connections", 1,
            max_time=2 * seconds(run))).result()
        r = subs.result()
    whole(r, STREAMS, events)
    run.count("reconnects", r["reconnects"])
    run.count("churned", r["churned"])
    run.count("rounds", run.rounds)
    run.deliveries += STREAMS * events
    run.acked += events
    expected = STREAMS * CHURN / 100 * seconds(run)
    run.check(r["churned"] > expected / 2, "only %d of about %d left and came"
              % (r["churned"], expected))
    judge(run, held.seen)
    gone(st, procs, before)


def publish_before(st, web):
    """What is made once for the first stream and event is made."""
    with web.stream({"channel": "c0"}) as s:
        s.open()
        st.publish("c0", "first")
        s.data()
    st.idle_fds()
