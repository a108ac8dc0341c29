# SPDX-License-Identifier: MIT
"""The wall clock of all programs jumps while they run (shim/clock.c).

What is promised of it: streams, heartbeats, limits and leases of slots go by
the monotonic clock and feel nothing; ids come from the log and not from any
clock.  Three things go by the wall clock, because they outlive a boot: the time
that is stored with an event, its age for retention, and the leases of status
rows.  Of those: no event is deleted for its age before it has that age by the
clock of now, what is deleted is told as ever, and a process that is gone is not
taken for alive for longer than a lease.

A machine that was suspended is not simulated: CLOCK_MONOTONIC stands still
meanwhile, which no program can tell from being scheduled late.
"""

import mmap
import re
import shutil
import time

from harness import Stack, status_rows, wait_until
from loadlib import audit, rows
from scenario import scenario
from shims import needed, shim

HOUR, WEEK, YEAR = 3600, 7 * 86400, 365 * 86400
LEASE_S = 10        # of a row of the status table
BEAT_S = 0.5
CONFIG = {"heartbeat_ms": int(BEAT_S * 1000), "retry_ms": 200,
          "max_age_s": HOUR // 2}


class Shifted(Stack):
    """A stack whose programs share a wall clock that can be set."""

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self._shim = shutil.copy(shim("clock"), self.dir)   # where RUN_AS can read it
        self._file = self.dir / "clock"
        self._file.write_bytes(bytes(mmap.PAGESIZE))
        with open(self._file, "r+b") as f:
            self._page = mmap.mmap(f.fileno(), mmap.PAGESIZE)
        self._offset_us = memoryview(self._page).cast("q")

    def environment(self, **more):
        return super().environment(LD_PRELOAD=self._shim,
                                   WALCAST_FAULT_CLOCK=self._file, **more)

    def shift(self, seconds):
        """The programs' clock is that of the machine and so many seconds."""
        self._offset_us[0] = int(seconds * 1000000)


def shifted(run, config=None, **kw):
    needed(run, "clock")
    return run.stack(dict(CONFIG, **(config or {})), cls=Shifted, **kw)


# ---------------------------------------------------------------- streams

def to_1970():
    return HOUR - time.time()


JUMPS = {"an hour on": HOUR, "an hour back": -HOUR,
         "ten years on": 10 * YEAR, "ten years back": -10 * YEAR,
         "to 1970": to_1970, "as it is": 0}


def silences(t):
    """The longest time that each subscriber heard nothing."""
    for s in t.subscribers:
        at = [step[1] for step in list(s.record.steps)]
        yield max((b - a for a, b in zip(at, at[1:])), default=0)


def is_ready(web):
    return web.get("/sse-metrics.fcgi/readyz")[0] == 200


def figures_of(web):
    """{name: figure} of the metrics page."""
    text = web.get("/sse-metrics.fcgi")[2].decode()
    return {name: float(value) for name, value in
            re.findall(r"^(sse_\S+) (\S+)$", text, re.M)}


def counted_on(run, before, after):
    """No counter has gone back over a jump."""
    for name, value in before.items():
        if re.match(r"sse_\w+_(total|count|bucket)\b", name):
            run.check(after.get(name, 0) >= value, "%s went back: %g, %g" % (
                name, value, after.get(name, 0)))


def heartbeat_ms(st):
    """When pubd's row was written, by the clock of then."""
    return [ms for (ms,) in status_rows(st, "seen_ms", "WHERE role = 'pubd'")]


def all_well(run, st, web, n):
    """The figures are those of now, whatever the clock says."""
    def streams():
        return figures_of(web).get("sse_streams_open") == n
    wait_until(lambda: is_ready(web), LEASE_S / 2, "/readyz after a jump")
    # Apache tells clients of a killed worker after KeepAliveTimeout, 5 s.
    wait_until(streams, 2 * LEASE_S, "%d streams in the figures" % n)
    # By the clock of before the last jump it may be any age.
    seen = heartbeat_ms(st)
    wait_until(lambda: heartbeat_ms(st) != seen, LEASE_S / 2, "a heartbeat")
    age = figures_of(web)["sse_heartbeat_age_seconds"]
    run.check(age < 3, "pubd's heartbeat is %g s old" % age)
    done = st.walcast("status", "--check")
    run.check(done.returncode in (0, 1), "walcast status --check: %s" %
              done.stdout.decode())


def streams_felt_nothing(run, t):
    """Heartbeats came all the time, and no stream was ended for its age."""
    longest = max(silences(t))
    run.note(silence_s=round(longest, 3))
    run.check(longest < BEAT_S + 5, "a stream heard nothing for %.1f s" %
              longest)
    ends = [step for s in t.subscribers for step in s.record.steps
            if step[0] in ("close", "end", "gap")]
    run.check(not ends, "streams were ended or told of gaps: %r" % ends[:3])


@scenario("clock-jumps", tags="time", short=True, rounds=len(JUMPS))
def clock_jumps(run):
    """The clock jumps an hour, ten years, to 1970 and back, under load."""
    st = shifted(run, {"retain_age_s": 0}, metrics=True)
    web = run.front(st)
    names = list(JUMPS)
    with run.traffic(st, web, subscribers=12, params=lambda n: {
            "channel": "quiet" if n % 3 == 0 else "c0"}) as t:
        figures = figures_of(web)
        for n in run.each_round():
            jump = JUMPS[names[n % len(names)]]
            st.shift(jump() if callable(jump) else jump)
            t.progress(200)
            all_well(run, st, web, len(t.subscribers))
            before, figures = figures, figures_of(web)
            counted_on(run, before, figures)
            run.count("jumps")
        streams_felt_nothing(run, t)
        took = figures["sse_delivery_latency_seconds_sum"]
        run.check(took < YEAR, "deliveries took %g s together" % took)
    ids = [id for id, in rows(st, "SELECT id FROM events ORDER BY id")]
    run.check(ids == list(range(1, len(ids) + 1)), "the ids are not dense")


@scenario("clock-trembles", tags="time")
def clock_trembles(run):
    """The clock is set back and forth by up to two seconds all the time."""
    st = shifted(run, metrics=True)
    web = run.front(st)
    with run.traffic(st, web) as t:
        for n in run.each_round():
            for _ in range(40):
                st.shift(run.rng.uniform(-2, 2))
                t.progress(run.rng.randrange(1, 30))
                run.count("jumps")
            all_well(run, st, web, len(t.subscribers))
        streams_felt_nothing(run, t)
    st.shift(0)
    audit(st)


@scenario("clock-jumps-in-kill", tags="time kill reconnect")
def clock_jumps_in_kill(run):
    """Everything is killed, and finds another year when it comes again."""
    st = shifted(run, {"retain_age_s": 0}, metrics=True)
    web = run.front(st)
    with run.traffic(st, web) as t:
        for n in run.each_round():
            t.progress(100)
            st.kill_pubd()
            st.shift(run.rng.choice((-1, 1)) * run.rng.choice((HOUR, YEAR)))
            st.start_pubd()
            for w in range(len(st.workers)):
                run.kill_worker(st, web, w)
            run.count("kills")
            t.progress(100)
            all_well(run, st, web, len(t.subscribers))


@scenario("clock-jumps-in-drain", tags="time")
def clock_jumps_in_drain(run):
    """The clock jumps while a worker drains: it ends when it should."""
    st = shifted(run, {"drain_ms": 1000, "retain_age_s": 0})
    web = run.front(st)
    with run.traffic(st, web) as t:
        for n in run.each_round():
            t.progress(100)
            w = n % len(st.workers)
            started = time.monotonic()
            st.workers[w].popen.terminate()
            st.shift((-HOUR, HOUR, -10 * YEAR)[n % 3])
            st.workers[w].wait(10)
            took = time.monotonic() - started
            run.note(drained_s=round(took, 3))
            run.check(took < 5, "draining took %.1f s" % took)
            st.start_worker(w)


# ---------------------------------------------------------------- retention

def publish(st, n):
    """So many events in one go; returns the last id."""
    return st.pub.publish_many([("r", i) for i in range(n)])[-1]


def looked(st, web):
    """Retention has looked since now.  Returns what is left: (number, oldest,
    newest).  It looks each second and tells of it each second, so of three
    looks one at least began after now."""
    def looks():
        return figures_of(web)["sse_retention_runs_total"]
    before = looks()
    wait_until(lambda: looks() >= before + 3, 20, "retention to look")
    return kept(st)


def kept(st):
    return rows(st, "SELECT count(*), min(id), max(id) FROM events")[0]


def told_of_the_gap(run, web, requested, oldest, head):
    """A client that resumes there is told how much is missing, truly."""
    with web.stream({"channel": "r"}, last_id=requested) as s:
        s.open()
        e = s.next(10)
        run.check(e.type == "control.gap", "no gap was told but %r" % e)
        g = e.json
        run.check((g["code"], g["lost"], g["oldest"], g["newest"]) == (
            "expired", oldest - 1 - requested, oldest, head),
            "the gap is told as %r; oldest %d, head %d" % (g, oldest, head))


@scenario("clock-jumps-over-retention", tags="time storage", rounds=1)
def clock_jumps_over_retention(run):
    """What retention by age deletes when the clock jumps, and what it tells.

    By an hour: nothing.  On by ten years: all of it, for a week has passed by
    the only clock there is; a resuming client hears of it with numbers.  Back
    again: what came meanwhile stays, and nothing else goes.
    """
    st = shifted(run, {"retain_age_s": WEEK}, metrics=True)
    web = run.front(st)
    for n in run.each_round():
        st.shift(0)
        last = publish(st, 3000)
        first = last - 2999
        for jump in (HOUR, -HOUR, 0):
            st.shift(jump)
            run.check(looked(st, web) == (3000, first, last),
                      "%d s are no week: %r is left" % (jump, kept(st)))
        st.shift(10 * YEAR)
        wait_until(lambda: kept(st)[0] == 0, 30, "all to be too old")
        head = publish(st, 100)
        told_of_the_gap(run, web, first, last + 1, head)
        st.shift(0)
        run.check(looked(st, web) == (100, last + 1, head),
                  "the jump back deleted events: %r is left" % (kept(st),))
        run.count("expired", 3000)
        st.walcast("trim", "--keep", 0, check=True)


@scenario("clock-back-keeps-the-young", tags="time storage", rounds=1)
def clock_back_keeps_the_young(run):
    """Some events are stored while the clock is ten years back, as after a boot
    without a battery; when it is right again they are too old, but nothing
    goes before its time: those before them are young."""
    st = shifted(run, {"retain_age_s": WEEK}, metrics=True)
    web = run.front(st)
    for n in run.each_round():
        st.shift(0)
        first = publish(st, 2000) - 1999
        st.shift(-10 * YEAR)
        publish(st, 400)
        st.shift(0)
        publish(st, 1700)
        # A search by halves meets the old ones in the middle.
        for _ in range(4):
            last = publish(st, 100)
            run.check(looked(st, web) == (last - first + 1, first, last),
                      "young events were deleted: %r is left of %d to %d" % (
                          kept(st), first, last))
            run.count("looks")
        st.walcast("trim", "--keep", 0, check=True)


# ---------------------------------------------------------------- the dead

def workers_up(web):
    return figures_of(web).get('sse_process_up{role="worker"}')


@scenario("clock-back-and-the-dead", tags="time kill", rounds=2)
def clock_back_and_the_dead(run):
    """pubd and a worker die, and the clock goes back: they are not taken for
    alive until it has caught up, but for a lease."""
    st = shifted(run, metrics=True)
    web = run.front(st)
    for n in run.each_round():
        wait_until(lambda: workers_up(web) == 2, 20, "two workers")
        st.kill_pubd()
        st.kill_worker(0)
        st.shift(-(n + 1) * HOUR)
        wait_until(lambda: not is_ready(web), 2 * LEASE_S,
                   "pubd to be missed")
        st.start_pubd()
        wait_until(lambda: workers_up(web) == 1, 2 * LEASE_S,
                   "one worker to be left in the figures")
        st.start_worker(0)
        run.count("kills", 2)
