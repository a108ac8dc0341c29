# SPDX-License-Identifier: MIT
"""Every place from which a stream can go on, and every position that it tells.

The log is known to the last byte (ledger.py), the ring holds about 200 events
of it and a page of the store about 1000, so that a sweep over all ids stands
on each border between them.
"""

import contextlib
import pathlib
import select
import shutil
import signal
import sqlite3
import threading
import time

from harness import Failed, wait_until
from ledger import Ledger, Wish, event
from loadlib import rows
from scenario import scenario
from sse import Ended, Timeout

SMALL = {"ring_bytes": 65536, "heartbeat_ms": 15000, "retry_ms": 50}
QUICK = dict(SMALL, heartbeat_ms=100)
CHANNELS = ["a", "ab", "a.b", "a.b.c", "a.bc", "b", "b.a", "c/d", "c:d"]
TYPES = ["message", "tick", "tock"]
ALL, ENVELOPES = Wish(["*"]), Wish(["*"], envelope=1)
NARROW = Wish(["a.*", "b"], ["tick", "message"])
NOTHING = Wish(["no.such"])
WISHES = [ALL, Wish(["a.b"]), NARROW, ENVELOPES]


def some_events(run, n):
    """Events of up to 3 kB, most of them short, of any channel and type."""
    rng = run.rng
    return [event(rng.choice(CHANNELS), "%d:%s" % (
        i, "x" * int(rng.paretovariate(1.2) * 40 % 3000)), rng.choice(TYPES))
        for i in range(n)]


def begin(run, config=SMALL, events=0):
    """(stack, web server, ledger) with so many events in the log."""
    st = run.stack(config=config, workers=1)
    web = run.front(st)
    ledger = Ledger(run, st)
    if events:
        ledger.publish(some_events(run, events))
    return st, web, ledger


def stream(web, wish, position=None, **more):
    """A stream of this wish, after a position; control.open has come."""
    try:
        return web.admit(dict(wish.params, **more), last_id=position)
    except (Ended, Timeout, OSError) as e:
        raise Failed("no stream of %s: %s" % (wish, e)) from e


def position_of(s):
    """The last id that a stream has told; 0 when there is none."""
    return int(s.last_id) if s.last_id.isdigit() else 0


def read_to(s, id, timeout=15):
    """Reads until this id has been told, or it ends, or time is up: the
    ledger says what is missing."""
    deadline = time.monotonic() + timeout
    with contextlib.suppress(Timeout):
        while position_of(s) < id:
            s.parser.events.clear()
            if not s.pump(deadline - time.monotonic()):
                break
    s.parser.events.clear()


# ---------------------------------------------------------------- resuming

def resume(web, ledger, wish, position, n=None):
    """What comes after this position is right: the next n events, or all."""
    due = ledger.after(wish, position)[:n]
    upto = due[-1].id if due else 0
    with stream(web, wish, position) as s:
        read_to(s, upto, 15 if n else 60)
        return ledger.prove(s, wish, position, upto=upto)


def places(run, ledger, n_newest, n_others):
    """Ids to resume from: the newest, which the ring's border is among, the
    first ones, and some of those between."""
    first, head = ledger.events[0].id, ledger.head
    newest = range(max(head - n_newest, first), head)
    others = run.rng.sample(range(first, newest[0]),
                            min(n_others, newest[0] - first))
    return sorted({*newest, *range(first, first + 5), *others})


@scenario("resume-everywhere", tags="resume", short=True, rounds=1)
def resume_everywhere(run):
    """From every id: in the ring, behind it, over borders of pages."""
    _, web, ledger = begin(run, events=4000)
    with contextlib.ExitStack() as all:
        # While one is there, what is read for its wish is kept for others of
        # it, and the ring has envelopes of what comes.
        for wish in WISHES:
            all.enter_context(stream(web, wish))
        ledger.publish(some_events(run, 100))
        for n in run.each_round():
            for wish in WISHES:
                if not sweep(run, web, ledger, wish):
                    return
            # Those that are at the head go on live, with the next one.
            live_at_the_head(run, web, ledger)
            ledger.publish(some_events(run, 300))


def sweep(run, web, ledger, wish):
    """Downwards, so that each stands right before what was read last."""
    for position in reversed(places(run, ledger, 240, 30)):
        if not resume(web, ledger, wish, position, 3):
            return False
        run.count("resumes")
    return all([resume(web, ledger, wish, position)
                for position in run.rng.sample(range(1, ledger.head), 4)])


def live_at_the_head(run, web, ledger):
    """Streams that resumed at and right before the head join the live ones:
    what comes then comes to each once."""
    head = ledger.head
    with contextlib.ExitStack() as all:
        streams = [(at, wish, all.enter_context(stream(web, wish, at)))
                   for at in range(head - 6, head + 1) for wish in WISHES]
        for _ in range(3):
            last = ledger.publish([event(c, "live") for c in CHANNELS])[-1]
        for at, wish, s in streams:
            due = ledger.after(wish, at)
            read_to(s, due[-1].id)
            ledger.prove(s, wish, at, upto=last)


class Feeder(threading.Thread):
    """Publishes to the end of the `with`; a batch, a moment, the next one."""

    def __init__(self, run, ledger, batch=(1, 20), pause=0.005):
        super().__init__(daemon=True)
        self.run_, self.ledger = run, ledger
        self.batch, self.pause = batch, pause
        self.error = None
        self._over = threading.Event()

    def run(self):
        try:
            while not self._over.wait(self.pause):
                self.ledger.publish(some_events(
                    self.run_, self.run_.rng.randrange(*self.batch)))
        except Exception as e:      # told in __exit__
            self.error = e

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *exc):
        self._over.set()
        self.join(30)
        if kind is None and self.error:
            raise self.error


@scenario("join-under-load", tags="resume", short=True, rounds=4)
def join_under_load(run):
    """Streams join between any two events: live, by last=, from an id."""
    _, web, ledger = begin(run, events=300)
    ways = [{}, {"last": 3}, {"last": 400}, {"last_event_id": "earliest"}]
    for n in run.each_round():
        seen = []
        with contextlib.ExitStack() as all, Feeder(run, ledger):
            for i in range(40):
                wish = WISHES[i % len(WISHES)]
                at = ledger.head - i % 7 if i % 5 == 4 else None
                s = all.enter_context(stream(
                    web, wish, at, **({} if at else ways[i % 5])))
                seen.append((s, wish, at))
            run.count("joins", len(seen))
            for s, wish, at in seen:
                read_to(s, ledger.after(wish, 0)[-1].id)
            # Proved when nothing more is noted.
        for s, wish, at in seen:
            ledger.prove(s, wish, at)
        if n == 0:
            last_n_is_n(run, web, ledger)


def last_n_is_n(run, web, ledger):
    """last=N begins with exactly the newest N of the wish."""
    for wish in WISHES:
        for n in (1, 2, 30, 250):
            due = ledger.wanted(wish)[1][-n:]
            with stream(web, wish, last=n) as s:
                read_to(s, due[-1].id)
                ledger.prove(s, wish, upto=ledger.head)
                began = min(positions_of(s))
                run.check(began == due[0].id - 1,
                          "last=%d of %s begins after %d, and the first event "
                          "is %d" % (n, wish, began, due[0].id))


# ---------------------------------------------------------------- positions

def listen(streams, true, timeout=30):
    """Reads from all of them until true()."""
    def heard():
        for s in select.select(streams, [], [], 0.05)[0]:
            s.pump(0)
        return true()
    wait_until(heard, timeout, "what streams are to tell", step=0)


def positions_of(s):
    """Every id that a stream has told, by whatever kind of block."""
    return {int(line[3:]) for block in s.parser.blocks for line in block
            if line.startswith("id:")}


def heartbeats(s):
    return sum("hb" in block[0] or "event: system.heartbeat" in block
               for block in s.parser.blocks)


@scenario("positions", tags="resume", short=True, rounds=1)
def positions(run):
    """Every position that is told is a place to resume from, exactly."""
    st, web, ledger = begin(run, QUICK, events=600)
    wishes = [NOTHING, Wish(["b.a"]), Wish(["c*"], ["tock"]),
              Wish(["c:d"], heartbeat="event"), Wish(["*"])]
    for n in run.each_round():
        with contextlib.ExitStack() as all:
            streams = [all.enter_context(stream(web, w)) for w in wishes]
            with Feeder(run, ledger, batch=(1, 4), pause=0.03):
                listen(streams, lambda: min(
                    len(positions_of(s)) for s in streams) >= 15)
            for wish, s in zip(wishes, streams):
                ledger.prove(s, wish)
        for wish, s in zip(wishes, streams):
            told = sorted(positions_of(s))[-100:]
            run.count("positions", len(told))
            for position in told:
                resume(web, ledger, wish, position, 3)
        positions_while_the_log_is_away(run, st, web, ledger)


@contextlib.contextmanager
def log_away(st):
    """The log's files are in another directory, which it gives."""
    away = st.mkdir(st.dir / "away")
    shutil.copymode(st.var, away)

    def move(here, there):
        # The database last: who finds it finds the others.
        for end in ("-wal", "-shm", ""):
            if (here / (st.db.name + end)).exists():
                (here / (st.db.name + end)).rename(there / (st.db.name + end))
    move(st.var, away)
    try:
        says(st.worker, "cannot be read")
        yield away
    finally:
        move(away, st.var)
    wait_until(lambda: st.pub.call({"op": "ping"})["ok"], 20,
               "pubd to have the log again")


def says(proc, text):
    """Waits until a process has logged a text, since the last time."""
    log, proc.read = pathlib.Path(proc.log), getattr(proc, "read", 0)
    wait_until(lambda: text in log.read_text(errors="replace")[proc.read:],
               20, "%s to say %r" % (proc.name, text))
    proc.read = len(log.read_text(errors="replace"))


def positions_while_the_log_is_away(run, st, web, ledger):
    """A stream that waits for a page has heartbeats, too: with its own place,
    for the head would pass what it has not had."""
    wish = ALL
    with contextlib.ExitStack() as kept:
        with log_away(st):
            s = kept.enter_context(stream(web, wish, 5))
            listen([s], lambda: heartbeats(s) >= 3)
        read_to(s, ledger.head, 60)
        ledger.prove(s, wish, 5, upto=ledger.head)


# ---------------------------------------------------------------- gaps

def gap(code, requested, oldest, newest, lost):
    return {"code": code, "requested": requested, "oldest": oldest,
            "newest": newest, "lost": lost}


def expired(requested, oldest, newest):
    """What is told to one who had everything up to `requested`."""
    return gap("expired", requested, oldest, newest, oldest - 1 - requested)


def keep(st, ledger, n, **kw):
    """Trims the log to the newest n.  Returns the oldest id that is left."""
    oldest = ledger.head - n + 1
    st.walcast("trim", "--yes", "--before", oldest, check=True, **kw)
    ledger.trimmed(oldest)
    return oldest


def follow(web, ledger, wish, position, gaps, **more):
    """Reads to the head; the gaps must be these."""
    with stream(web, wish, position, **more) as s:
        read_to(s, max(ledger.head, position_of(s)))
        ledger.prove(s, wish, position, upto=ledger.head, gaps=gaps)


def resume_around(run, web, ledger, oldest):
    """From ids that are gone, from the last one that is, from the first that
    is not; a narrow wish is told the same numbers."""
    head = ledger.head
    ids = {0, 1, run.rng.randrange(2, oldest - 3), oldest - 3, oldest - 2,
           oldest - 1, oldest, head - 1, head}
    for position in sorted(ids):
        gone = position < oldest - 1
        gaps = [expired(position, oldest, head)] if gone else []
        for wish in WISHES + [NOTHING]:
            follow(web, ledger, wish, position, gaps)
    for earliest in ("0", "earliest"):
        follow(web, ledger, ALL, None, [], last_event_id=earliest)


def resume_from_elsewhere(run, web, ledger, oldest):
    """Ids that are none of this log's."""
    head, first = ledger.head, ledger.after(ALL, oldest - 1)[0].id
    run.check(first == oldest, "the oldest event is %d, not %d" % (
        first, oldest))
    for id in (head + 1, head + 1000, 1 << 62):
        follow(web, ledger, ALL, id,
               [gap("ahead", id, oldest, head, oldest - 1)])
    for id in ("x1", "-1", "1" * 40):
        with web.admit(ALL.params, last_id=id) as s:
            e = s.next(type="control.gap")
            want = gap("invalid", id, oldest, head, 0)
            run.check(e.json == want and e.id == str(head),
                      "for id %r: %r, not %r" % (id, e.json, want))
    with stream(web, ALL, oldest + 3, generation="0" * 32) as s:
        e = s.next(type="control.gap")
        want = gap("generation", oldest + 3, oldest, head, oldest - 1)
        run.check(e.json == want and e.id == str(oldest - 1),
                  "for another generation: %r, not %r" % (e.json, want))


def passed_while_stopped(run, st, web, ledger):
    """Retention passes a worker that is stopped: its live streams hear of it,
    also those that wanted none of what is lost."""
    wishes = [ALL, NOTHING]
    with contextlib.ExitStack() as all:
        streams = [all.enter_context(stream(web, w)) for w in wishes]
        had = ledger.head
        st.worker.pause()
        ledger.publish(some_events(run, 400))
        oldest = keep(st, ledger, 60)
        st.worker.resume()
        for wish, s in zip(wishes, streams):
            read_to(s, ledger.head)
            ledger.prove(s, wish, upto=ledger.head,
                         gaps=[expired(had, oldest, ledger.head)])
    return oldest


def passed_while_away(run, st, web, ledger):
    """Retention passes a stream that waits for a page."""
    ledger.publish(some_events(run, 900))
    had = ledger.head - 850
    with contextlib.ExitStack() as kept:
        with log_away(st) as away:
            s = kept.enter_context(stream(web, ALL, had))
            oldest = keep(st, ledger, 700,
                          env={"WALCAST_DATABASE": away / st.db.name})
        read_to(s, ledger.head)
        ledger.prove(s, ALL, had, upto=ledger.head,
                     gaps=[expired(had, oldest, ledger.head)])
    return oldest


def retained_exactly(run, st, ledger, n=300):
    """retain_events keeps so many, neither more nor less."""
    st.configure(retain_events=n)
    st.pubd.send_signal(signal.SIGHUP)
    ledger.publish(some_events(run, n + 50))
    oldest = ledger.head - n + 1
    wait_until(lambda: st.oldest() >= oldest, 20, "retention")
    kept = rows(st, "SELECT min(id), count(*) FROM events")
    run.check(kept == [(oldest, n)],
              "retain_events = %d, and (oldest, how many) is %r, not %r" % (
                  n, kept, (oldest, n)))
    ledger.trimmed(oldest)
    return oldest


def trimmed_to_nothing(run, st, web, ledger):
    """The ids go on where they were; the last one is no gap."""
    keep(st, ledger, 0)
    head = ledger.head
    follow(web, ledger, ALL, head, [])
    follow(web, ledger, ALL, head - 2, [expired(head - 2, head + 1,
                                                      head)])
    st.kill_pubd()
    st.start_pubd()
    ledger.publish(some_events(run, 10))    # judges the ids
    follow(web, ledger, ALL, head, [])


def make_log(st, n_events):
    """A log of its own with so many events; gives its directory."""
    other = st.mkdir(st.dir / "other")
    st.walcast("init", "--mode", st.mode, check=True,
               env={"WALCAST_DATABASE": other / st.db.name})
    with contextlib.closing(sqlite3.connect(other / st.db.name)) as db, db:
        db.executemany("INSERT INTO events (channel, event, data) "
                       "VALUES (?, 'tick', ?)",
                       [("a.b", str(n)) for n in range(1, n_events + 1)])
    return other


def another_log(run, st, web, ledger):
    """A log with a higher head takes the place of this one: every stream hears
    of it and has all of that one."""
    head, n = ledger.head, ledger.head + 500
    other = make_log(st, n)
    new = Ledger(run, st)
    for i in range(1, n + 1):
        new.note(i, "a.b", "tick", str(i), str(i))
    with stream(web, NARROW) as s:
        st.stop_pubd()
        for end in ("-wal", "-shm"):
            st.db.with_name(st.db.name + end).unlink(missing_ok=True)
        (other / st.db.name).rename(st.db)
        read_to(s, n)
        new.prove(s, NARROW, upto=n,
                  gaps=[gap("generation", head, 1, n, 0)])
    st.start_pubd()
    new.publish(some_events(run, 5))
    follow(web, new, ALL, n - 5, [])


@scenario("gaps", tags="resume", short=True, rounds=1)
def gaps(run):
    """What is gone is told with true numbers: at resuming, live, in replay."""
    st, web, ledger = begin(run, QUICK, events=1200)
    for n in run.each_round():
        oldest = keep(st, ledger, 500)
        resume_around(run, web, ledger, oldest)
        resume_from_elsewhere(run, web, ledger, oldest)
        passed_while_stopped(run, st, web, ledger)
        passed_while_away(run, st, web, ledger)
        resume_around(run, web, ledger, retained_exactly(run, st, ledger))
        trimmed_to_nothing(run, st, web, ledger)
        st.configure(retain_events=1000000)
        st.restart_pubd()
        ledger.publish(some_events(run, 1200))
    another_log(run, st, web, ledger)


# ---------------------------------------------------------------- channels

def random_wish(rng):
    """One to three names or prefixes, sometimes types; "end" is in all."""
    pool = CHANNELS + ["*", "a*", "a.*", "a.b*", "a.b.*", "c*", "b.*", "z*"]
    types = rng.sample(TYPES, rng.randrange(0, 3))
    more = {"envelope": 1} if rng.random() < 0.3 else {}
    return Wish(["end"] + rng.sample(pool, rng.randrange(1, 4)),
                types and types + ["end"], **more)


@scenario("channels", tags="resume", short=True, rounds=2)
def channels(run):
    """Names, prefixes, types: who asked for it has it, and nobody else."""
    _, web, ledger = begin(run)
    for n in run.each_round():
        wishes = [random_wish(run.rng) for _ in range(40)]
        before = ledger.head
        with contextlib.ExitStack() as all:
            streams = [all.enter_context(stream(web, w)) for w in wishes]
            ledger.publish(some_events(run, 300) + [event("end", "", "end")])
            for wish, s in zip(wishes, streams):    # out of hub and index
                read_to(s, ledger.head)
                ledger.prove(s, wish, upto=ledger.head)
        for wish in wishes:     # out of the ring, and out of the store
            resume(web, ledger, wish, ledger.head - 50)
            resume(web, ledger, wish, before)
        run.count("wishes", len(wishes))


@scenario("no-pubd", tags="resume", short=True, rounds=3)
def no_pubd(run):
    """Rows that SQL brings arrive with pubd, and without it: nobody rings."""
    st, web, ledger = begin(run, events=5)
    for n in run.each_round():
        for running in (True, False):
            if not running:
                st.kill_pubd()
            with stream(web, ALL) as s:
                insert(st, ledger, 20)
                read_to(s, ledger.head, 15)
                ledger.prove(s, ALL, upto=ledger.head)
        st.start_pubd()
        ledger.publish(some_events(run, 5))     # ids go on


def insert(st, ledger, n):
    """Another program's transaction."""
    with contextlib.closing(sqlite3.connect(st.db, timeout=10)) as db, db:
        for i in range(n):
            id = db.execute("INSERT INTO events (channel, event, data) VALUES "
                            "('a.b', 'tick', ?)", (str(i),)).lastrowid
            ledger.note(id, "a.b", "tick", str(i), str(i))
