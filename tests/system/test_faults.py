# SPDX-License-Identifier: MIT
"""The log's disk is full, its file replaced, damaged or locked; retention runs
into a replay.  Publishers are told, streams stay up, nothing is restarted."""

import os
import random
import select
import shutil
import signal
import sqlite3
import time

import pytest

from disk import (SmallDisk, delete_sides, overwrite, own, pages_of,
                  remove_log, unmount)
from harness import wait_until
from loadlib import (Identity, Publishers, Sampler, Subscribers, audit,
                     publish, rows, say, size)
from sse import Timeout

CONFIG = {"retry_ms": 200, "heartbeat_ms": 300}


def outcome(pub, n, **more):
    """Publishes one event, whatever comes of it: "ok" or the error's name."""
    answer = pub.call(dict({"channel": "c0", "data": n}, **more), timeout=20)
    return "ok" if answer["ok"] else answer["error"]


def until(pub, wanted, timeout=30):
    """Publishes until the answer is among the wanted; returns all answers."""
    got = []

    def asked():
        got.append(outcome(pub, "until"))
        return got[-1] in wanted
    wait_until(asked, timeout, "%r, not %r" % (wanted, got[-3:]))
    return got


class Open:
    """One EventSource that must never lose its connection: takes what comes
    and knows what it has had."""

    def __init__(self, web):
        self.s = web.stream({"channel": "c0"})
        self.s.open()
        self.ids, self.gaps = [], []

    def upto(self, id, timeout=20):
        """Reads on until the event with this id has come."""
        deadline = time.monotonic() + timeout
        while not self.ids or self.ids[-1] != id:
            e = self.s.next(deadline - time.monotonic())
            if e.type == "control.gap":
                self.gaps.append(e.json)
                continue
            assert not e.type.startswith("control."), e
            self.ids.append(int(e.id))
        return self

    def beats(self, timeout=10):
        """More comes, a heartbeat if nothing else: the worker is there and so
        is the connection.  What had come before does not count."""
        while select.select([self.s], [], [], 0)[0]:
            assert self.s.pump(0), self.s.raw[-300:]
        assert self.s.pump(timeout), self.s.raw[-300:]

    def close(self):
        self.s.close()


@pytest.fixture
def parts(make_stack):
    """A stack, lighttpd, a stream and a publisher; all of them must be the
    same ones at the end."""
    st = make_stack(config=CONFIG)
    yield from together(st)


def together(st):
    web = st.front("lighttpd")
    same = Identity(st.pubd, st.worker, st.metrics, web.proc)
    client, pub = Open(web), st.publisher(timeout=20)
    st.web = web
    yield st, client, pub
    same.check()
    client.close()
    pub.close()


# ---------------------------------------------------------------- full disk

@pytest.fixture
def small_disk():
    st = SmallDisk(config=dict(CONFIG, retain_bytes=0))
    refused = st.mount()
    if refused:
        st.close()
        pytest.skip("cannot mount a tmpfs: %s (run as root)" % refused)
    try:
        yield from together(st.start())
        st.close()
    finally:
        unmount(st.var)
        shutil.rmtree(st.dir, ignore_errors=True)


def test_a_full_disk_is_told_and_all_goes_on_when_there_is_space(small_disk):
    st, client, pub = small_disk
    acked = [pub.publish("c0", n) for n in range(100)]
    client.upto(acked[-1])
    for round in range(3):
        st.fill()
        # What the WAL has room for is still taken.
        answers = until(pub, ["storage"])
        acked += [acked[-1] + 1 + n for n in range(answers.count("ok"))]
        assert set(answers) <= {"ok", "storage"}
        for n in range(20):
            assert outcome(pub, n) == "storage"
        client.beats()
        st.free()
        assert outcome(pub, "space") == "ok"
        acked.append(st.head())
        client.upto(acked[-1])
    assert client.ids == acked == list(range(1, len(acked) + 1))
    assert client.gaps == []
    audit(st)


def test_a_disk_that_fills_up_under_load_loses_nothing_acked(small_disk):
    """Publishers that retry; the disk is full for a while in the middle."""
    st, client, pub = small_disk
    file, n = st.dir / "acked", 8000
    with Subscribers(st, st.web, 20, "--no-reconnect", "--until-id", n,
                     "--linger", 0.2, max_time=90) as subs:
        subs.ready()
        with Publishers(st, n, "--rate", 3000, "--size", 400, "--keys", "k",
                        "--connections", 4, "--pipeline", 8, "--retry-errors",
                        "--acked-file", file, max_time=90) as load:
            wait_until(lambda: st.head() > 500, 20)
            st.fill()
            # Pages that the WAL has already are written for a while yet.
            until(pub, ["storage"])
            client.beats()
            st.free()
            p = load.result()
        extra = st.head() - n      # what `until` put in between
        s = subs.result()
    assert p["errors"].get("storage", 0) > 0, p
    say(refused=p["errors"], extra=extra)
    assert s["violations"] == 0 and s["complete"], s
    assert rows(st, "SELECT count(*) FROM events WHERE key IS NOT NULL") \
        == [(n,)]
    stored = dict(rows(st, "SELECT key, id FROM events "
                           "WHERE key IS NOT NULL"))
    for line in file.read_text().splitlines():
        id, key = line.split()
        assert stored[key] == int(id)
    client.upto(st.head())
    audit(st)


def test_a_log_that_fills_its_disk_by_itself_can_be_trimmed(small_disk):
    """Deleting writes too, so it takes a little room to make room."""
    st, client, pub = small_disk
    while True:
        pub.send(*[{"channel": "c0", "data": "x" * 20000}] * 50)
        answers = [pub.recv(20) for _ in range(50)]
        if not all(a["ok"] for a in answers):
            break
    assert {a["error"] for a in answers if not a["ok"]} == {"storage"}
    client.beats()
    st.configure(retain_events=10)
    st.pubd.send_signal(signal.SIGHUP)
    st.enlarge(2 * st.BYTES)
    answers = []

    def trimmed():
        answers.append(outcome(pub, "y"))
        return rows(st, "SELECT count(*) FROM events")[0][0] <= 20
    wait_until(trimmed, 30, "the log to be trimmed")
    say(refused_until_trimmed=answers.count("storage"), asked=len(answers))
    assert set(answers) <= {"ok", "storage"}
    client.beats()
    for n in range(100):
        assert outcome(pub, "z" * 1000) == "ok"
    client.upto(st.head())
    audit(st)


# ---------------------------------------------------------------- another file

def test_a_log_moved_away_is_told_and_a_new_one_is_taken(parts):
    st, client, pub = parts
    for n in range(50):
        pub.publish("c0", n)
    client.upto(50)
    before = pub.call({"op": "ping"})["generation"]
    remove_log(st)
    answers = until(pub, ["unavailable", "storage"])
    assert "ok" not in answers, "acked into a file that is gone"
    client.beats()
    st.init()
    answers = until(pub, ["ok"])
    assert pub.call({"op": "ping"})["generation"] != before
    new = pub.publish("c0", "the second")
    assert new == 2
    client.upto(new)
    # It is told that this is another log, and has all of that one.
    assert [g["code"] for g in client.gaps] == ["generation"]
    assert client.ids == list(range(1, 51)) + [1, 2]
    client.beats()
    audit(st)


def test_a_log_replaced_in_place_is_never_written_to_the_old_one(parts):
    """rename(2) of another log over it, again and again, under load."""
    st, client, pub = parts
    for round in range(3):
        other = st.dir / "other"
        shutil.rmtree(other, ignore_errors=True)
        st.mkdir(other)
        st.walcast("init", "--mode", st.mode, check=True,
                   env={"WALCAST_DATABASE": other / "events.db"})
        for n in range(20):
            id = pub.publish("c0", n)
        client.upto(id)
        delete_sides(st)
        (other / "events.db").rename(st.db)
        answers = until(pub, ["ok"])
        # Acked means: it is in the log that is there now.
        assert rows(st, "SELECT count(*) FROM events")[0][0] == 1, answers
        client.upto(1)
        client.upto(pub.publish("c0", "more"))
    assert [g["code"] for g in client.gaps] == ["generation"] * 3
    audit(st)


# ---------------------------------------------------------------- damage

def test_a_damaged_log_keeps_its_streams_and_a_restored_one_goes_on(parts):
    st, client, pub = parts
    # Older than what the ring holds (4 MiB), so that a replay meets it.
    publish(st, 12000, "--array", 100, "--size", 1000)
    client.upto(12000, timeout=60)
    backup = st.dir / "backup.db"
    db = sqlite3.connect(str(st.db), timeout=10)
    db.execute("VACUUM INTO ?", (str(backup),))
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    n = pages_of(st)            # while `db` is open: its locks stay
    overwrite(st, range(n // 4, n * 3 // 4), random.Random(1))
    # One that comes from far behind meets the damage.
    behind = st.web.stream({"channel": "c0"}, last_id=1)
    behind.open()
    with Sampler(lambda: [outcome(pub, n) for n in range(5)], 0.05) as told:
        before = st.worker.cpu_s() + st.pubd.cpu_s()
        started = time.monotonic()
        client.beats()
        behind_ids = []
        try:
            while time.monotonic() < started + 2:
                e = behind.next(started + 2 - time.monotonic())
                assert e.type == "message", e
                behind_ids.append(int(e.id))
        except Timeout:
            pass
        busy = (st.worker.cpu_s() + st.pubd.cpu_s() - before) / 2
    answers = {a for four in told.seen for a in four}
    say(answers=answers, behind_had=len(behind_ids), cpu=busy)
    assert answers <= {"ok", "storage", "unavailable"}
    # No silent gap even so, and no spinning.
    assert behind_ids == list(range(2, 2 + len(behind_ids)))
    assert busy < 0.6
    assert st.worker.running and st.pubd.running
    client.beats()
    # The remedy: another file in its place, without its -wal and -shm.
    db.close()
    remove_log(st, keep=st.dir / "damaged.db")
    shutil.copyfile(backup, st.var / "new")
    own(st.var / "new")
    os.rename(st.var / "new", st.db)
    until(pub, ["ok"])
    last = pub.publish("c0", "restored")
    client.upto(last, timeout=60)
    assert {g["code"] for g in client.gaps} <= {"ahead"}, client.gaps
    client.beats()
    behind.close()
    with st.web.stream({"channel": "c0"}, last_id=1) as s:
        s.open()
        assert [int(e.id) for e in s.take(last - 1, timeout=60)] \
            == list(range(2, last + 1))
    audit(st)


# ---------------------------------------------------------------- locked

def test_a_lock_held_by_another_program_is_told_and_waited_for(make_stack):
    """BEGIN IMMEDIATE for 4 s (a minute in the long version)."""
    hold = size(4, 60)
    st = make_stack(config=dict(CONFIG, lock_timeout_ms=size(500, 5000)))
    for st, client, pub in together(st):
        client.upto(pub.publish("c0", "before"))
        db = sqlite3.connect(str(st.db), timeout=10, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        until_s = time.monotonic() + hold
        told, slowest = [], 0
        while time.monotonic() < until_s:
            started = time.monotonic()
            told.append(outcome(pub, "while locked"))
            slowest = max(slowest, time.monotonic() - started)
            client.beats()
        # A stream that comes now is served, and one may ask for the past.
        with st.web.stream({"channel": "c0"}, last_id=0) as s:
            s.open()
            assert s.data().data == "before"
        assert set(told) == {"busy"}, told
        # Sent while it is locked, committed when it no longer is.
        pub.send({"channel": "c0", "data": "patience"})
        db.execute("ROLLBACK")
        db.close()
        assert pub.recv()["ok"]
        client.upto(pub.publish("c0", "after"))
        assert client.ids == [1, 2, 3] and client.gaps == []
        say(held_s=hold, told_busy=len(told), slowest_answer_s=slowest)
        audit(st)


def test_a_short_lock_is_not_felt(parts):
    st, client, pub = parts
    db = sqlite3.connect(str(st.db), timeout=10, isolation_level=None)
    for n in range(20):
        db.execute("BEGIN IMMEDIATE")
        pub.send({"channel": "c0", "data": n})
        db.execute("COMMIT")
        assert pub.recv()["ok"]
    db.close()
    client.upto(20)


# ---------------------------------------------------------------- retention

class Numbers:
    """Proves for one stream that every id was had or told as lost."""

    def __init__(self, position):
        self.position = position
        self.had = self.lost = 0
        self.gaps = []

    def take(self, e):
        if e.type == "control.gap":
            g = e.json
            assert g["code"] == "expired", g
            assert g["requested"] == self.position, (g, self.position)
            assert g["lost"] == g["oldest"] - 1 - self.position > 0, g
            assert int(e.id) == g["oldest"] - 1 <= g["newest"], (e, g)
            self.lost += g["lost"]
            self.position = g["oldest"] - 1
            self.gaps.append(g)
        elif not e.type.startswith(("control.", "system.")):
            assert int(e.id) == self.position + 1, \
                "a silent gap: %s after %d" % (e.id, self.position)
            self.had += 1
            self.position += 1


def test_retention_racing_a_replay_is_told_with_true_numbers(make_stack):
    """A slow reader of the whole log, which is trimmed under its feet."""
    st = make_stack(config=dict(CONFIG, ring_bytes=65536, retain_events=3000),
                    metrics=False)
    web = st.front("lighttpd")
    total = size(60000, 400000)
    publish(st, 3000, "--size", 1000, "--pipeline", 16)
    s = web.stream({"channel": "c0"}, last_id=0, rcvbuf=4096)
    s.open()
    n = Numbers(0)
    with Publishers(st, total - 3000, "--size", 1000, "--rate",
                    size(12000, 20000), "--pipeline", 32) as load:
        # Reads for a moment, rests while retention passes it, and so on.
        while load.running:
            for _ in range(20):
                n.take(s.next(20))
            passed = st.oldest()
            if n.position < total - 10000:
                wait_until(lambda: st.oldest() > passed + 3000 or
                           not load.running, 30, "retention to pass")
        load.result()
    while n.position < total:
        n.take(s.next(20))
    s.close()
    say(events=total, had=n.had, lost=n.lost, gaps=len(n.gaps))
    assert n.had + n.lost == total
    assert n.gaps, "retention never met the replay: the test is too gentle"
    audit(st)


def test_clients_that_retention_passes_account_for_every_event(make_stack):
    """Many at once, from the first event on, with reconnects."""
    st = make_stack(config=dict(CONFIG, ring_bytes=65536, retain_events=2000),
                    metrics=False)
    web = st.front("lighttpd")
    streams, total = 40, size(20000, 200000)
    with Subscribers(st, web, streams, "--allow-gaps", "--until-id", total,
                     "--stall", "20:1:5", "--churn", 20, "--rcvbuf", 4096,
                     "--last-id", 0, "--linger", 0.2, max_time=240) as subs:
        subs.ready()
        with Publishers(st, total, "--size", 1500, "--pipeline", 32, "--rate",
                        10000, max_time=240) as load:
            load.result()
        r = subs.result()
    say(events=total, delivered=r["events"], gap=r["control"]["gap"],
        lost=r["control"]["gap_lost"], codes=r["control"]["gap_codes"])
    assert r["violations"] == 0 and r["streams_done"] == streams, r
    assert set(r["control"]["gap_codes"]) <= {"expired"}
    assert r["events"] + r["control"]["gap_lost"] == streams * total
