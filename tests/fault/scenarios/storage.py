# SPDX-License-Identifier: MIT
"""The disk beneath the log: full, locked, damaged, its files moved or deleted;
other programs that use the log; descriptors and memory that run out.

What is promised of a file that somebody else destroyed is this much: nothing
wrong is delivered, nothing is passed over in silence, publishers are told, and
all goes on when an operator has restored the log as the manual says.
"""

import contextlib
import os
import sqlite3
import subprocess
import threading
import time

from clients import Event
from disk import (SIDES, SmallDisk, SmallStatusDisk, beside, cannot_mount,
                  delete_sides, generation, overwrite, pages_of, program,
                  put_in_place, to_file)
from harness import RUN_AS, status_rows, wait_until
from history import Ack
from loadlib import Identity, rows
from scenario import scenario
from scenarios._parts import servers

DAMAGED_S = 1.5         # for so long traffic meets a damaged log
BUSY_MAX = 0.7          # of a processor, of programs that cannot work


def load(run, st, web, **kw):
    return run.traffic(st, web, **dict(dict(subscribers=8, publishers=3,
                                            rate=400), **kw))


def meanwhile(run, t):
    """Lets the load go on until a moment that nobody chose."""
    t.progress(run.rng.randrange(1, 200))


def told(t, code, more=1, timeout=60):
    """Waits until publishers have had that many more of an error."""
    want = t.history.refused[code] + more

    def there():
        t.broken()
        return t.history.refused[code] >= want
    wait_until(there, timeout, "%d times %r; refused: %r" % (
        more, code, dict(t.history.refused)))


def same_servers(st):
    """pubd and the workers must be those that they are now, to the end."""
    return Identity(st.pubd, *st.workers)


def stands_on_mounts(run):
    refused = cannot_mount()
    if refused:
        run.skip("cannot mount a tmpfs: %s" % refused)


def steps(t, kind, since=0):
    """Of each subscriber: how many steps of a kind it had since then."""
    return [sum(s[0] == kind and s[1] >= since for s in sub.steps)
            for sub in t.history.subs]


def still_stream(run, t, seconds=2):
    """Every stream says something, an event or a heartbeat."""
    since = time.monotonic()

    def there():
        t.broken()
        return all(any(s[1] >= since and s[0] in ("event", "position")
                       for s in sub.steps[-200:]) for sub in t.history.subs)
    wait_until(there, seconds + 20, "a sign of life of each stream")


# ---------------------------------------------------------------- full disk

@scenario("disk-full", tags="storage", short=True)
def disk_full(run):
    """The log's disk fills up in the middle of it all and has room again."""
    stands_on_mounts(run)
    st, web = servers(run, SmallDisk, retain_events=5000)
    same = same_servers(st)
    with load(run, st, web, size=400) as t:
        for _ in run.each_round():
            meanwhile(run, t)
            st.fill()
            told(t, "storage", run.rng.randrange(1, 60))
            still_stream(run, t)
            st.free()
            t.progress(50)
            run.count("faults")
    same.check()


@scenario("disk-full-status", tags="storage", short=True, rounds=1)
def disk_full_status(run):
    """No room for status.db: figures stand still, the log does not."""
    stands_on_mounts(run)
    st, web = servers(run, SmallStatusDisk)
    same = same_servers(st)
    with load(run, st, web) as t:
        for _ in run.each_round():
            meanwhile(run, t)
            st.ballast.fill()
            t.progress(1000)
            run.check(not t.history.refused, "publishers were refused: %r"
                      % dict(t.history.refused))
            st.ballast.free()
            wait_until(lambda: heartbeat_age(st) < 2, 20, "a new heartbeat")
            run.count("faults")
    same.check()


def heartbeat_age(st):
    """Seconds since pubd's row in status.db was written."""
    seen = [ms for (ms,) in status_rows(st, "seen_ms", "WHERE role = 'pubd'")]
    return time.time() - max(seen, default=0) / 1000


@scenario("quota", tags="storage", short=True, rounds=2)
def quota(run):
    """Far more than retain_bytes is published: retention makes the room."""
    stands_on_mounts(run)
    limit = 4 << 20
    st, web = servers(run, SmallDisk, retain_bytes=limit)
    with load(run, st, web, size=4000, rate=0, allow_gaps=True,
              subscribers=4) as t:
        for _ in run.each_round():
            t.progress(4 * limit // 4000)
            run.count("faults")
    run.check(not t.history.refused, "publishers were refused: %r"
              % dict(t.history.refused))
    size = live_bytes(st)
    run.note(published=len(t.history.acks) * 4000, live_bytes=size)
    run.check(size < 2 * limit, "the log holds %d bytes, retain_bytes is %d"
              % (size, limit))


def live_bytes(st):
    with program(st) as db:
        pages, free = (db.execute("PRAGMA " + p).fetchone()[0]
                       for p in ("page_count", "freelist_count"))
    return (pages - free) * 4096


# ---------------------------------------------------------------- locks

def hold_lock(run, st, t, seconds):
    """Another program has the log locked; publishers hear `busy`."""
    with program(st) as db:
        db.execute("BEGIN IMMEDIATE")
        until = time.monotonic() + seconds
        told(t, "busy", timeout=seconds + 30)
        still_stream(run, t)
        while time.monotonic() < until:
            time.sleep(0.1)
        db.execute("ROLLBACK")
    run.count("faults")


@scenario("log-locked", tags="storage", short=True, rounds=2)
def log_locked(run):
    """Another program locks the log for longer than pubd waits."""
    st, web = servers(run, lock_timeout_ms=300)
    same = same_servers(st)
    with load(run, st, web) as t:
        for _ in run.each_round():
            meanwhile(run, t)
            hold_lock(run, st, t, run.rng.uniform(0.6, 1.5))
    same.check()


@scenario("log-locked-long", tags="storage", rounds=1)
def log_locked_long(run):
    """The same for 35 s, with the lock_timeout_ms that is shipped."""
    st, web = servers(run)
    same = same_servers(st)
    with load(run, st, web) as t:
        for _ in run.each_round():
            meanwhile(run, t)
            hold_lock(run, st, t, 35)
    same.check()


@scenario("log-locked-shortly", tags="storage", short=True, rounds=30)
def log_locked_shortly(run):
    """Another program takes the lock again and again; nobody is refused."""
    st, web = servers(run)
    with load(run, st, web) as t, program(st) as db:
        for _ in run.each_round():
            t.progress(run.rng.randrange(1, 20))
            db.execute("BEGIN IMMEDIATE")
            time.sleep(run.rng.uniform(0, 0.05))    # the fault: it is held
            db.execute("COMMIT")
            run.count("faults")
    run.check(not t.history.refused, "publishers were refused: %r"
              % dict(t.history.refused))


# ---------------------------------------------------------------- other files

def new_log(st, n):
    """A log with nothing in it, in a directory of its own."""
    other = st.mkdir(st.dir / ("other-%d" % n))
    path = other / "events.db"
    st.walcast("init", "--mode", st.mode, check=True,
               env={"WALCAST_DATABASE": path})
    return path


def told_by_all(run, t, since):
    """Every subscriber was told of another log, and one comes anew."""
    wait_until(lambda: t.broken() or all(steps(t, "gap", since)), 30,
               "control.gap of each")
    since = time.monotonic()
    run.rng.choice(t.subscribers).drop()
    wait_until(lambda: sum(steps(t, "open", since)) > 0, 30, "a new stream")


def outgrow(t):
    """The log gets longer than those before it were: the greatest id is what
    subscribers are waited for in the end."""
    wait_until(lambda: t.history.acks[-1].id >= t.head(), 60,
               "ids beyond those of the logs before")


@scenario("log-replaced", tags="storage", short=True, rounds=2)
def log_replaced(run):
    """Another log takes the path's place under load."""
    st, web = servers(run)
    same = same_servers(st)
    with load(run, st, web) as t:
        for n in run.each_round():
            meanwhile(run, t)
            path = new_log(st, n)
            t.history.generations.append(generation(st))
            since = time.monotonic()
            delete_sides(st)
            path.rename(st.db)
            run.count("faults")
            told_by_all(run, t, since)
            t.progress(50)
        outgrow(t)
    same.check()


@scenario("log-emptied", tags="storage security", short=True, rounds=2)
def log_emptied(run):
    """A program empties the log with its sequence, as an ORM's truncate()
    does, and fills it again at once: ids are given out anew."""
    st, _ = servers(run)
    n = 8
    for _ in run.each_round():
        for _ in range(n - st.head()):
            st.publish("c0", "old")
        time.sleep(0.3)         # pubd knows all of them
        before = generation(st)
        with program(st) as db:
            db.executescript(
                "BEGIN IMMEDIATE; DELETE FROM sqlite_sequence; "
                "DELETE FROM events; " + "INSERT INTO events (channel, data) "
                "VALUES ('c0', 'new');" * (n + 4) + "COMMIT")
        wait_until(lambda: generation(st) != before, 5, "a new generation")
        run.count("faults")
        n += 8


@scenario("log-emptied-unseen", tags="storage security", short=True, rounds=1)
def log_emptied_unseen(run):
    """The same, when retention had left pubd no event to know again."""
    st, _ = servers(run)
    for _ in run.each_round():
        for _ in range(8):
            st.publish("c0", "old")
        with program(st) as db:
            db.execute("DELETE FROM events")
        st.restart_pubd()
        before = generation(st)
        with program(st) as db:
            db.executescript(
                "BEGIN IMMEDIATE; DELETE FROM sqlite_sequence; "
                "DELETE FROM events; " + "INSERT INTO events (channel, data) "
                "VALUES ('c0', 'new');" * (st.head() + 4) + "COMMIT")
        wait_until(lambda: generation(st) != before, 5, "a new generation")
        run.count("faults")


@scenario("sequence-at-its-end", tags="storage security", short=True, rounds=1)
def sequence_at_its_end(run):
    """Somebody sets the sequence to the greatest number there is: events are
    refused with the reason, and retention deletes none."""
    st, _ = servers(run)
    st.configure(retain_events=5)
    st.restart_pubd()
    for _ in run.each_round():
        for _ in range(4):
            last = st.publish("c0", "x")
        with program(st) as db:
            def left():
                return db.execute("SELECT count(*) FROM events").fetchone()[0]
            wait_until(lambda: left() <= 5, 10, "retention of earlier rounds")
            before = left()
            db.execute("UPDATE sqlite_sequence SET seq = 9223372036854775807")
            time.sleep(2.5)     # retention looks every second
            told = st.pub.call({"channel": "c0", "data": "y"})
            run.check("sqlite_sequence" in told.get("message", ""),
                      "refused without the reason: %s" % told)
            run.check(left() == before, "%d of %d events are left" % (
                left(), before))
            db.execute("UPDATE sqlite_sequence SET seq = (SELECT max(id) "
                       "FROM events) WHERE name = 'events'")
        id = st.publish("c0", "z")
        run.check(id == last + 1, "the next id is %d, not %d" % (id, last + 1))
        run.count("faults")


@scenario("log-moved", tags="storage", short=True, rounds=2)
def log_moved(run):
    """The log is moved away and, later, back: it is the same one."""
    st, web = servers(run)
    same = same_servers(st)
    away = st.mkdir(st.dir / "away")
    with load(run, st, web) as t:
        for _ in run.each_round():
            meanwhile(run, t)
            names = ["", *SIDES]
            for suffix in names:
                beside(st, suffix).rename(away / ("events.db" + suffix))
            told(t, "unavailable")
            still_stream(run, t)
            for suffix in reversed(names):
                (away / ("events.db" + suffix)).rename(beside(st, suffix))
            t.progress(50)
            run.count("faults")
    same.check()


@scenario("side-files-deleted", tags="storage", short=True, rounds=6)
def side_files_deleted(run):
    """-wal, -shm or both are deleted under load: nothing is lost by it."""
    st, web = servers(run)
    with load(run, st, web) as t:
        for n in run.each_round():
            meanwhile(run, t)
            gone = (SIDES[:1], SIDES[1:], SIDES)[n % 3]
            delete_sides(st, gone)
            run.count("faults")
            # From here on a kill must not cost anything either.
            wait_until(lambda: all(beside(st, s).exists() for s in gone), 20,
                       "%s to be made anew" % (gone,))
            t.progress(1)
            if run.rng.random() < 0.5:
                st.kill_pubd()
                st.start_pubd()
                run.count("kills")
            if run.rng.random() < 0.5:
                run.kill_worker(st, web, n)


@scenario("side-files-deleted-stopped", tags="storage", short=True, rounds=2)
def side_files_deleted_stopped(run):
    """-wal and -shm are deleted while pubd, or all, has stopped in order."""
    st, web = servers(run)
    with load(run, st, web) as t:
        for n in run.each_round():
            meanwhile(run, t)
            st.stop_pubd()
            if n % 2:
                for i in range(len(st.workers)):
                    st.stop_worker(i)
            delete_sides(st)
            run.count("faults")
            st.start_pubd()
            if n % 2:
                for i in range(len(st.workers)):
                    st.start_worker(i)
            t.progress(50)


@scenario("wal-truncated", tags="storage", short=True, rounds=2)
def wal_truncated(run):
    """The -wal is cut off under load: what was lost with it is told."""
    st, web = servers(run)
    with load(run, st, web) as t:
        for _ in run.each_round():
            meanwhile(run, t)
            before, since = generation(st), time.monotonic()
            os.truncate(beside(st, "-wal"),
                        run.rng.choice((0, run.rng.randrange(12000))))
            run.count("faults")
            t.progress(100)
            if not renewed(st, before):     # all of it was in the database
                run.count("nothing_lost")
                continue
            t.history.generations.append(before)
            told_by_all(run, t, since)
        outgrow(t)


def renewed(st, before):
    return generation(st) != before


@scenario("wal-lost", tags="storage", short=True, rounds=1)
def wal_lost(run):
    """All are killed and the -wal is deleted: what it held is lost, and told."""
    st, web = servers(run)
    with load(run, st, web) as t:
        t.progress(300)
        t.quiesce()
        wait_until(lambda: heartbeat_age(st) < 0.5, 10, "a heartbeat")
        lost = generation(st)
        t.history.generations.append(lost)
        before, since = t.head(), time.monotonic()
        st.kill_pubd()
        for w in st.workers:
            w.kill()
        delete_sides(st)
        run.count("faults")
        st.start_pubd()
        # A worker that is faster tells twice, `ahead` and `generation`; both
        # are true, but no history can say that one generation is two logs.
        wait_until(lambda: renewed(st, lost), 30, "a new generation")
        for n in range(len(st.workers)):
            st.start_worker(n)
        run.check(st.head() < before, "nothing was lost: the test is too "
                  "gentle (head %d, before %d)" % (st.head(), before))
        told_by_all(run, t, since)
        # Ids that are given out again are those of another generation.
        run.check(generation(st) not in t.history.generations,
                  "the log lost events and kept its generation")
        publish_beyond(st, before)


def publish_beyond(st, id):
    """Gives out again the ids up to this one."""
    while st.publish("c0", "again") < id:
        pass


# ---------------------------------------------------------------- damage

def publish_all(run, st, web):
    """A traffic into a log that has some pages, with a backup of them."""
    t = load(run, st, web, size=300)
    t.start()
    t.progress(1500)
    backup = st.dir / ("backup-%d.db" % time.monotonic_ns())
    with program(st) as db:
        db.execute("VACUUM INTO ?", (str(backup),))
    to_file(st)
    return t, backup


def meet_damage(run, st, t):
    """Traffic goes on over a damaged log: no crash, no spinning."""
    procs = [st.pubd, *st.workers]
    before = sum(p.cpu_s() for p in procs)
    behind = Behind(run, st, t)
    until = time.monotonic() + DAMAGED_S
    while time.monotonic() < until:
        t.broken()
        time.sleep(0.1)
    busy = (sum(p.cpu_s() for p in procs) - before) / DAMAGED_S
    run.check(busy < BUSY_MAX * len(procs), "pubd and the workers use %.2f "
              "of a processor over a damaged log" % busy)
    still_stream(run, t)
    behind.judge()
    run.count("faults")


class Behind:
    """Subscribers that come from the beginning and so meet the damage: what
    they are given must be right, and in order without a hole."""

    def __init__(self, run, st, t):
        self.run = run
        self.hashes = {a.id: a.hash for a in t.history.acks}
        # The publishers are those of the first traffic.
        self.t = run.traffic(st, t.web, subscribers=3, publishers=0, rate=1,
                             last_id=0, judge=False)
        self.t.start()

    def judge(self):
        self.t.abort()
        for sub in self.t.history.subs:
            ids = [s for s in sub.steps if s[0] == "event"]
            gaps = [s for s in sub.steps if s[0] == "gap"]
            in_order = all(b[2] == a[2] + 1 for a, b in zip(ids, ids[1:]))
            self.run.check(in_order or gaps, "%s passed over an event: %s"
                           % (sub.name, [s[2] for s in ids]))
            wrong = [s[2] for s in ids
                     if self.hashes.get(s[2], s[4]) != s[4]]
            self.run.check(not wrong, "wrong bytes came with %r" % wrong)


def restore(run, st, t, backup):
    """What the manual tells the operator to do; all goes on."""
    t.history.generations.append(generation_of(backup))
    since = time.monotonic()
    st.stop_pubd()
    put_in_place(st, backup)
    st.start_pubd()
    told_by_all(run, t, since)
    outgrow(t)


def generation_of(path):
    with contextlib.closing(sqlite3.connect(str(path))) as db:
        return db.execute("SELECT value FROM meta WHERE name = "
                          "'generation'").fetchone()[0]


def cut(st, how, rng):
    """Where to cut the log's file off."""
    if how == "zero":
        return 0
    page = rng.randrange(2, pages_of(st) - 1)
    return page * 4096 + (0 if how == "page" else rng.randrange(1, 4096))


def damaged(run, harm):
    """Rounds of harm done to the log under load, and its restoration."""
    for n in run.each_round():
        st, web = servers(run)
        t, backup = publish_all(run, st, web)
        try:
            same = same_servers(st)
            harm(st, n)
            meet_damage(run, st, t)
            same.check()
            restore(run, st, t, backup)
        except BaseException:
            t.abort()
            raise
        t.finish()
        st.close()


@scenario("log-truncated", tags="storage", rounds=3)
def log_truncated(run):
    """The file is cut off at nothing, between pages, inside a page."""
    damaged(run, lambda st, n: os.truncate(
        st.db, cut(st, ("zero", "page", "inside")[n % 3], run.rng)))


@scenario("log-corrupted", tags="storage", short=True, rounds=1)
def log_corrupted(run):
    """Random pages become noise while all run."""
    damaged(run, lambda st, n: noise(run, st))


def noise(run, st):
    n = pages_of(st)
    overwrite(st, run.rng.sample(range(n), run.rng.randrange(1, n // 4)),
              run.rng)


@scenario("log-corrupted-stopped", tags="storage", rounds=2)
def log_corrupted_stopped(run):
    """Random pages become noise while nothing runs; what starts must cope."""
    for n in run.each_round():
        st, web = servers(run)
        t, backup = publish_all(run, st, web)
        try:
            # Who comes back by id alone sees that it is another log only as
            # long as that has not reached the id.
            t.progress(100)
            t.quiesce()
            stop_all(st)
            to_file(st)
            noise(run, st)
            start_what_can(run, st)
            restore_all(run, st, t, backup)
        except BaseException:
            t.abort()
            raise
        t.finish()
        st.close()


def stop_all(st):
    st.stop_pubd()
    for n in range(len(st.workers)):
        st.stop_worker(n)


def start_what_can(run, st):
    """Programs may refuse a damaged log, in words, or serve what is left."""
    started = [st.spawn("pubd", [st.bin / "pubd"])]
    started += [st.spawn("sse.fcgi", [st.bin / "sse.fcgi"],
                         stdin=st.listener()) for _ in st.workers]
    st.pubd, st.workers[:] = started[0], started[1:]
    wait_until(lambda: all(not p.running or ".start " in p.tail()
                           for p in started), 20, "all to start or to end")
    for p in started:
        if not p.running:
            run.count("refused_to_start")
            run.check(p.popen.returncode > 0 and p.tail().strip(),
                      "%s ended with %d and said nothing" % (
                          p.name, p.popen.returncode))
    run.count("faults")


def restore_all(run, st, t, backup):
    """The restoration when everything may be down."""
    t.history.generations.append(generation_of(backup))
    since = time.monotonic()
    for p in [st.pubd, *st.workers]:
        if p.running:
            p.stop()
    st._drop_pub()
    put_in_place(st, backup)
    st.start_pubd()
    for n in range(len(st.workers)):
        st.start_worker(n)
    told_by_all(run, t, since)
    publish_beyond(st, t.head())


# ---------------------------------------------------------------- modes

@scenario("modes-broken", tags="storage", short=True, rounds=4)
def modes_broken(run):
    """Modes that no program can work with; pubd is started in vain."""
    st, web = servers(run)
    with load(run, st, web) as t:
        for n in run.each_round():
            path, mode = ((st.var, 0o555), (st.db, 0o440), (st.db, 0),
                          (st.var, 0))[n % 4]
            meanwhile(run, t)
            right = path.stat().st_mode & 0o7777
            path.chmod(mode)
            st.kill_pubd()
            started_in_vain(run, st, "%04o of %s" % (mode, path.name))
            still_stream(run, t)
            path.chmod(right)
            st.start_pubd()
            t.progress(50)
            run.count("faults")


def started_in_vain(run, st, why):
    """It serves, or it ends and says why; it never hangs or crashes."""
    p = st.spawn("pubd", [st.bin / "pubd"])
    try:
        code = p.popen.wait(1)
    except Exception:
        run.count("started_all_the_same")
        p.stop()
        return
    run.count("refused_to_start")
    run.check(code > 0 and "events.db" in p.tail(),
              "with mode %s pubd ended with %d: %s" % (why, code, p.tail()))


# ---------------------------------------------------------------- programs

@scenario("trim-under-load", tags="storage retention", short=True, rounds=8)
def trim_under_load(run):
    """`walcast trim` takes all, or all but some, from under slow replays."""
    st, web = servers(run, ring_bytes=65536)
    with load(run, st, web, allow_gaps=True, last_id=0, rcvbuf=4096, rate=0,
              size=1000) as t:
        for s in t.subscribers[::2]:
            s.pieces, s.pace = 4096, 0.02
        for _ in run.each_round():
            t.progress(run.rng.randrange(1, 1000))
            st.walcast("trim", "--keep", run.rng.choice((0, 0, 10, 500)),
                       "-y", check=True)
            run.count("faults")
        for s in t.subscribers:
            s.pace = 0
    run.note(gaps=sum(steps(t, "gap")))


@scenario("backup-under-load", tags="storage", short=True, rounds=4)
def backup_under_load(run):
    """VACUUM INTO, VACUUM, checkpoints and checks by another program."""
    st, web = servers(run)
    with load(run, st, web) as t:
        for n in run.each_round():
            meanwhile(run, t)
            into = st.dir / ("backup-%d.db" % n)
            head = t.head()
            with program(st, timeout=30) as db:
                db.execute("VACUUM INTO ?", (str(into),))
                for sql in ("PRAGMA integrity_check", "VACUUM",
                            "PRAGMA wal_checkpoint(TRUNCATE)"):
                    again_while_busy(db, sql)
            whole_backup(run, into, head)
            run.count("faults")


def again_while_busy(db, sql):
    """VACUUM finds no moment of quiet at its first try."""
    def done():
        try:
            db.execute(sql).fetchall()
            return True
        except sqlite3.OperationalError as e:
            assert "locked" in str(e), e
            return False
    wait_until(done, 30, sql)


def whole_backup(run, path, head):
    with contextlib.closing(sqlite3.connect(str(path))) as db:
        n, last = db.execute("SELECT count(*), max(id) FROM events").fetchone()
    run.check(n == last and last >= head, "the backup has %d events up to %s, "
              "%d were acked before it" % (n, last, head))


class SqlWriter(threading.Thread):
    """A program like PHP's that inserts in transactions of its own, some of
    which it takes its time for, and some of which it rolls back."""

    def __init__(self, name, st, history, rng):
        super().__init__(name=name, daemon=True)
        self.st, self.history, self.rng = st, history, rng
        self.rolled_back, self.made = [], 0
        self.broken = None
        self._end = threading.Event()

    def stop(self):
        self._end.set()
        self.join(60)

    def run(self):
        try:
            with program(self.st, timeout=30) as db:
                while not self._end.wait(self.rng.uniform(0, 0.03)):
                    self._transaction(db)
        except Exception as e:      # raised by the scenario
            self.broken = e

    def _transaction(self, db):
        db.execute("BEGIN IMMEDIATE")
        done = [self._insert(db) for _ in range(self.rng.randrange(1, 6))]
        if self.rng.random() < 0.1:
            self._end.wait(0.05)
        if self.rng.random() < 0.3:
            db.execute("ROLLBACK")
            self.rolled_back += [e.key for e, _ in done]
            return
        db.execute("COMMIT")
        now = time.monotonic()
        self.history.acks.extend(
            Ack(e.key, e.channel, e.hash, id, False, e.sent_at, now, self.name)
            for e, id in done)

    def _insert(self, db):
        self.made += 1
        e = Event("%s-%d" % (self.name, self.made), "c0", 100)
        e.sent_at = time.monotonic()
        return e, db.execute(
            "INSERT INTO events (channel, key, data) VALUES (?, ?, ?)",
            (e.channel, e.key, e.data)).lastrowid


@scenario("sql-writers", tags="storage sql", short=True, rounds=5)
def sql_writers(run):
    """Programs insert by SQL beside pubd, commit, dawdle and roll back."""
    st, web = servers(run)
    with load(run, st, web) as t:
        writers = [SqlWriter("sql%d" % n, st, t.history,
                             type(run.rng)(run.rng.random()))
                   for n in range(3)]
        for w in writers:
            w.start()
        for _ in run.each_round():
            t.progress(300)
        for w in writers:
            w.stop()
            if w.broken:
                raise w.broken
    gone = {k for w in writers for k in w.rolled_back}
    run.note(by_sql=sum(w.made for w in writers), rolled_back=len(gone))
    there = {k for k, in rows(st, "SELECT key FROM events")}
    run.check(gone and not gone & there,
              "rolled back, and in the log: %r" % sorted(gone & there)[:5])


# ---------------------------------------------------------------- resources

LIMITS = {"nofile": "Max open files", "as": "Max address space"}


def limit_of(proc, title):
    """The soft limit as /proc has it: a number, or "unlimited"."""
    with open("/proc/%d/limits" % proc.pid) as f:
        return next(line[len(title):].split()[0] for line in f
                    if line.startswith(title))


def set_limit(proc, name, value):
    """A soft limit of a process that runs: as its user, for root itself may
    lack the capability."""
    user = dict(user=RUN_AS.pw_uid, group=RUN_AS.pw_gid,
                extra_groups=[]) if RUN_AS else {}
    subprocess.run(["prlimit", "--pid", str(proc.pid), "--%s=%s:" % (
        name, value)], check=True, **user)


@contextlib.contextmanager
def limited(proc, name, soft):
    """A lower limit, for a while."""
    before = limit_of(proc, LIMITS[name])
    set_limit(proc, name, soft)
    try:
        yield
    finally:
        if proc.running:
            set_limit(proc, name, before)


@scenario("descriptors", tags="storage resources", short=True, rounds=2)
def descriptors(run):
    """pubd and a worker have no descriptor left: who is in is not harmed."""
    st, web = servers(run)
    same = same_servers(st)
    with load(run, st, web) as t:
        for n in run.each_round():
            meanwhile(run, t)
            for proc, connect in ((st.pubd, st.publisher),
                                  (st.workers[n % 2], lambda: web.stream(
                                      {"channel": "c0"}, timeout=1))):
                starve(run, st, t, proc, connect)
    same.check()
    for proc in (st.pubd, *st.workers):
        said = complaints(proc)
        run.check(said == 1, "%s says %d times that it cannot accept" % (
            proc.name, said))


def complaints(proc):
    """How often it has said that it cannot accept."""
    return proc.tail(1 << 20).count("accept")


def starve(run, st, t, proc, connect):
    """No descriptor more for a process at whose door some wait."""
    waiting, busy = [], proc.cpu_s()
    said = complaints(proc)
    with limited(proc, "nofile", proc.fds()):
        started = time.monotonic()
        # At the workers' door the other one may let in whoever comes.
        for n in range(30):
            if n >= 3 and complaints(proc) > said:
                break
            with contextlib.suppress(Exception):    # it is let wait
                waiting.append(connect())
        t.progress(200)
        still_stream(run, t)
        took = time.monotonic() - started
    busy = (proc.cpu_s() - busy) / took
    run.check(busy < BUSY_MAX, "%s without descriptors uses %.2f of a "
              "processor" % (proc.name, busy))
    for c in waiting:
        c.close()
    with st.publisher() as p:       # and lets in who comes now
        assert p.call({"op": "ping"})["ok"]
    run.count("faults")


@scenario("memory", tags="storage resources", short=True, rounds=1)
def memory(run):
    """pubd and the workers get hardly more memory, with large events and
    slow readers: they shed, or die and are started again; nothing is lost."""
    st, web = servers(run, ring_bytes=1048576)
    with load(run, st, web, size=30000, rate=80) as t:
        for s in t.subscribers[:3]:
            s.pace = 0.03
        for n in run.each_round():
            meanwhile(run, t)
            squeeze(run, st, st.pubd, t)
            squeeze(run, st, st.workers[n % 2], t)
        for s in t.subscribers:
            s.pace = 0


def squeeze(run, st, proc, t):
    """So much address space as it has and half a MiB."""
    with limited(proc, "as", vm_bytes(proc) + (1 << 19)):
        until = time.monotonic() + 2
        while time.monotonic() < until and proc.running:
            t.broken()
            time.sleep(0.05)
    run.count("faults")
    if not proc.running:
        run.count("died")
        code = proc.popen.returncode
        run.check(code > 0, "%s ended with %d" % (proc.name, code))
        if proc is st.pubd:
            st.start_pubd()
        else:
            st.start_worker(st.workers.index(proc))
    t.progress(20)


def vm_bytes(proc):
    with open("/proc/%d/statm" % proc.pid) as f:
        return int(f.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
