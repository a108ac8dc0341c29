# SPDX-License-Identifier: MIT
"""What frameworks, tools and administrators do to a log that is in use: an
ORM's truncate, a journal mode, a version or a sequence of somebody's own,
tables that are gone, a mount that turned read-only."""


import contextlib
import ctypes
import os
import sqlite3

import pytest

import disk
from harness import wait_until

MS_RDONLY, MS_REMOUNT = 1, 32
TRUNCATE = ("BEGIN IMMEDIATE; DELETE FROM sqlite_sequence WHERE name='events';"
            "DELETE FROM events; %s COMMIT;")
INSERT = "INSERT INTO events (channel, data) VALUES ('a', 'new %d');"


def truncate(st, n_inserts):
    with disk.program(st) as db:
        db.executescript(TRUNCATE % "".join(INSERT % n
                                            for n in range(n_inserts)))


def count(st):
    with disk.program(st) as db:
        return db.execute("SELECT count(*) FROM events").fetchone()[0]


def run(st, program, *args):
    """A program that is expected to end at once: its code and its words."""
    p = st.spawn(program, [st.bin / program, *args])
    code = p.popen.wait(10)
    return code, p.log.read_text()


@pytest.fixture
def with_eight(make_stack):
    st = make_stack()
    web = st.front("lighttpd")
    old = st.pub.call({"op": "ping"})["generation"]
    for n in range(8):
        st.publish("a", n)
    return st, web, old


# ------------------------------------------------------- an ORM's truncate()

def renewed(st, old):
    wait_until(lambda: st.pub.call({"op": "ping"})["generation"] != old, 5,
               "a new generation")


def all_of_it_follows_a_gap(web, old, n):
    with web.stream({"channel": "a", "generation": old}, last_id=8) as s:
        s.open()
        gap = s.next()
        assert gap.type == "control.gap" and gap.json["code"] == "generation"
        assert [int(e.id) for e in s.take(n)] == list(range(1, n + 1))


@pytest.mark.parametrize("at_once,later", [(0, 12), (3, 9), (8, 4), (12, 0)])
def test_ids_that_begin_anew_are_a_new_generation(with_eight, at_once, later):
    """Whether or not there are as many again when somebody looks."""
    st, web, old = with_eight
    truncate(st, at_once)
    renewed(st, old)
    for n in range(later):
        st.publish("a", n)
    all_of_it_follows_a_gap(web, old, 12)
    assert st.walcast("audit").returncode == 0


@pytest.mark.parametrize("at_once", [0, 12])
def test_an_open_stream_is_told_of_ids_that_begin_anew(with_eight, at_once):
    st, web, old = with_eight
    with web.stream({"channel": "a"}, last_id=0) as s:
        s.open()
        assert [int(e.id) for e in s.take(8)] == list(range(1, 9))
        truncate(st, at_once)
        renewed(st, old)
        for n in range(12 - at_once):
            st.publish("a", n)
        codes, since = [], []
        while since != list(range(1, 13)):
            e = s.next()
            if e.type == "control.gap":
                codes.append(e.json["code"])
                since = []
            else:
                since.append(int(e.id))
    assert "generation" in codes, codes


def test_publishers_that_come_first_after_it_do_not_hide_it(with_eight):
    st, web, old = with_eight
    with disk.program(st) as db:
        db.executescript(TRUNCATE % "")
        for n in range(12):
            st.publish("a", n)
    renewed(st, old)
    all_of_it_follows_a_gap(web, old, 12)


def test_deleting_every_event_alone_is_no_new_generation(with_eight):
    """The ids go on: whoever has 8 has missed nothing."""
    st, web, old = with_eight
    with disk.program(st) as db:
        db.execute("DELETE FROM events")
    assert st.publish("a", "ninth") == 9
    with disk.program(st) as db:
        db.execute("DELETE FROM events")
    assert st.publish("a", "tenth") == 10
    assert st.pub.call({"op": "ping"})["generation"] == old


@pytest.mark.parametrize("deleted", ["1", "id > 3"])
def test_ids_whose_events_were_deleted_before_pubd_came_are_known(with_eight,
                                                                  deleted):
    """Its newest event is none that it could know again."""
    st, web, old = with_eight
    with disk.program(st) as db:
        db.execute("DELETE FROM events WHERE " + deleted)
    st.restart_pubd()
    assert st.pub.call({"op": "ping"})["generation"] == old
    truncate(st, 12)
    renewed(st, old)
    all_of_it_follows_a_gap(web, old, 12)


# ------------------------------------------------------------- its sequence

def test_a_sequence_at_its_end_is_named_and_deletes_nothing(make_stack):
    st = make_stack({"retain_events": 5}, workers=0, metrics=False)
    for n in range(4):
        st.publish("a", n)
    with disk.program(st) as db:
        db.execute("UPDATE sqlite_sequence SET seq = 9223372036854775807")
    told = st.pub.call({"channel": "a", "data": "x"})
    assert told.get("error") == "storage", told
    assert "sqlite_sequence" in told["message"], told
    st.restart_pubd()
    wait_until(lambda: not st.pub.call(
        {"channel": "a", "data": "x"})["ok"], 5, "a refusal")
    assert count(st) == 4
    doctor = st.walcast("doctor").stdout.decode()
    assert any(x.startswith("FAIL") and "sqlite_sequence" in x
               for x in doctor.splitlines()), doctor
    with disk.program(st) as db:
        db.execute("UPDATE sqlite_sequence SET seq = (SELECT max(id) FROM "
                   "events) WHERE name = 'events'")
    assert st.publish("a", "y") == 5


# -------------------------------------------------------- version and tables

@pytest.mark.parametrize("version", [7, 0])
def test_user_version_is_the_applications(make_stack, version):
    st = make_stack(workers=0, metrics=False)
    st.publish("a", 1)
    before = st.pub.call({"op": "ping"})["generation"]
    with disk.program(st) as db:
        db.execute("PRAGMA user_version=%d" % version)
    st.restart_pubd()
    st.start_worker()
    assert st.publish("a", 2) == 2
    st.walcast("init", check=True)
    assert st.pub.call({"op": "ping"})["generation"] == before
    with disk.program(st) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (version,)


@pytest.mark.parametrize("version", [0, 1, 7])
def test_a_log_without_a_version_in_meta_is_taken_as_it_is(make_stack,
                                                           version):
    """So were all logs whose version was user_version."""
    st = make_stack(workers=0, metrics=False)
    for n in range(3):
        st.publish("a", n)
    before = st.pub.call({"op": "ping"})["generation"]
    st.stop_pubd()
    rows = "SELECT id, prev, ts, data FROM events WHERE id < 4"
    with disk.program(st) as db:
        old = db.execute(rows).fetchall()
        db.execute("DELETE FROM meta WHERE name = 'version'")
        db.execute("PRAGMA user_version=%d" % version)
    st.walcast("init", check=True)
    st.start_pubd()
    assert st.pub.call({"op": "ping"})["generation"] == before
    assert st.publish("a", 3) == 4
    with disk.program(st) as db:
        assert db.execute(rows).fetchall() == old


@pytest.mark.parametrize("table", ["meta", "channels", "events"])
def test_a_table_that_was_dropped_is_named(make_stack, table):
    st = make_stack(workers=0, metrics=False)
    st.publish("a", 1)
    st.stop_pubd()
    with disk.program(st) as db:
        db.execute("DROP TABLE %s" % table)
    for program in ("pubd", "sse.fcgi"):
        code, said = run(st, program, *(["--listen", st.sse_sock]
                                        if program != "pubd" else []))
        assert code not in (0, None)
        assert "has no table %s" % table in said, said
    done = st.walcast("init")
    assert done.returncode != 0
    assert b"has no table " + table.encode() in done.stderr, done.stderr


def test_a_table_that_is_dropped_meanwhile_is_named(make_stack):
    st = make_stack(metrics=False)
    web = st.front("lighttpd")
    st.publish("a", 1)
    with web.stream({"channel": "a"}, last_id=0) as s:
        s.open()
        assert s.next().data == "1"
        with disk.program(st) as db:
            db.execute("DROP TABLE channels")
        wait_until(lambda: not st.pub.call(
            {"channel": "a", "data": "x"})["ok"], 5, "a refusal")
        wait_until(lambda: "has no table channels" in st.pubd.log.read_text(),
                   5, "its name")
        assert st.pubd.running and st.worker.running


@pytest.mark.parametrize("what,name", [
    ("TRIGGER", "events_link"), ("TRIGGER", "events_guard_insert"),
    ("TRIGGER", "events_guard_update"), ("INDEX", "events_key")])
def test_a_part_of_the_log_that_was_dropped_fails_in_doctor(make_stack, what,
                                                            name):
    st = make_stack(workers=0, metrics=False)
    with disk.program(st) as db:
        db.execute("DROP %s %s" % (what, name))
    doctor = st.walcast("doctor").stdout.decode()
    assert any(x.startswith("FAIL  log") and name in x
               for x in doctor.splitlines()), doctor


# -------------------------------------------------------------- no plain file

@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize("name", ["events.db", "status.db"])
def test_a_fifo_in_the_place_of_a_file_holds_nobody(make_stack, name, suffix):
    st = make_stack(workers=0, metrics=False)
    st.stop_pubd()
    path = st.var / (name + suffix)
    path.unlink()
    os.mkfifo(path)
    disk.own(path)
    done = st.walcast("status", timeout=10)
    assert "no plain file" in (done.stdout + done.stderr).decode()
    metrics = st.start_metrics()
    assert metrics.stop() == 0
    if name == "events.db":
        code, said = run(st, "sse.fcgi", "--listen", st.sse_sock)
        assert code not in (0, None) and "no plain file" in said, said


# -------------------------------------------------------------- journal mode

def journal_mode(st):
    with disk.program(st) as db:
        return db.execute("PRAGMA journal_mode").fetchone()[0]


def to_rollback_journal(st):
    with disk.program(st) as db:
        assert db.execute("PRAGMA journal_mode=DELETE").fetchone() == (
            "delete",)


def test_a_log_in_rollback_mode_is_told_and_put_back(make_stack):
    st = make_stack(workers=0, metrics=False)
    st.publish("a", 1)
    st.stop_pubd()
    to_rollback_journal(st)
    doctor = st.walcast("doctor").stdout.decode()
    assert any(x.startswith("FAIL") and "journal_mode" in x
               for x in doctor.splitlines()), doctor
    st.start_pubd()             # listens before it opens the log
    assert st.pub.call({"op": "ping"})["ok"]
    assert journal_mode(st) == "wal"
    with disk.program(st) as db:
        db.execute("BEGIN")
        db.execute("SELECT * FROM events").fetchall()
        assert st.publish("a", 2) == 2, "an open SELECT blocks nobody"
    st.start_worker()


def test_a_log_that_cannot_be_put_back_now_is_when_it_can(make_stack):
    st = make_stack(workers=0, metrics=False)
    st.publish("a", 1)
    st.stop_pubd()
    to_rollback_journal(st)
    with disk.program(st) as db:
        db.execute("BEGIN")
        db.execute("SELECT * FROM events").fetchall()
        st.start_pubd()
        told = st.pub.call({"channel": "a", "data": "x"})
        assert not told["ok"], told
        assert "journal_mode" in st.pubd.log.read_text()
    wait_until(lambda: st.pub.call(
        {"channel": "a", "data": "x"})["ok"], 10, "the log")
    assert journal_mode(st) == "wal"


# ----------------------------------------------------------- read-only mounts

@pytest.mark.skipif(disk.cannot_mount() is not None, reason="cannot mount")
def test_a_read_only_mount_is_named():
    with disk.SmallDisk() as st:
        st.start(workers=0, metrics=False)
        st.publish("a", 1)
        st.stop_pubd()
        read_only_is_named(st)


@contextlib.contextmanager
def read_only(st):
    def remount(flags):
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mount(b"", bytes(st.var), None, MS_REMOUNT | flags,
                          None) == 0, os.strerror(ctypes.get_errno())
    remount(MS_RDONLY)
    try:
        yield
    finally:
        remount(0)


def read_only_is_named(st):
    with read_only(st):
        code, said = run(st, "pubd")
        assert code not in (0, None)
        assert "mounted read-only" in said, said
        doctor = st.walcast("doctor").stdout.decode()
        assert any(x.startswith("FAIL  disk") and "read-only" in x
                   for x in doctor.splitlines()), doctor
    disk.delete_sides(st)
    with read_only(st):
        code, said = run(st, "sse.fcgi", "--listen", st.sse_sock)
        assert code not in (0, None)
        assert "mounted read-only" in said, said


# -------------------------------------------------------------- configuration

def test_a_configuration_that_begins_with_a_byte_order_mark_is_read(
        make_stack):
    st = make_stack(workers=0, metrics=False)
    st.write(st.conf, b"\xef\xbb\xbf" + st.conf.read_bytes())
    st.restart_pubd()
    assert st.publish("a", 1) == 1


def test_a_column_that_swallows_rows_has_nothing_acked(make_stack):
    """ON CONFLICT IGNORE in a column that another program added."""
    st = make_stack(metrics=False)
    assert st.publish("a", 1) == 1
    with sqlite3.connect(st.db, timeout=10) as db:
        db.execute("ALTER TABLE events ADD COLUMN g INT GENERATED ALWAYS AS "
                   "(nullif(channel, 'b')) VIRTUAL NOT NULL "
                   "ON CONFLICT IGNORE")
    pub = st.publisher()
    for _ in range(3):
        answer = pub.call({"channel": "b", "data": 1})
        assert answer["ok"] is False and answer["error"] == "storage", answer
        assert "ignores rows" in answer["message"]
    assert pub.call({"channel": "a", "data": 2}) == {"ok": True, "id": 2}
    with sqlite3.connect(st.db, timeout=10) as db:
        assert db.execute("SELECT id, channel FROM events").fetchall() == [
            (1, "a"), (2, "a")]
    assert b"DAMAGED" not in st.walcast("audit").stdout
