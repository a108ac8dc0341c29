# SPDX-License-Identifier: MIT
"""A log of version 1 becomes one of version 2: by pubd or by `walcast init`,
at once however large it is, wholly or not at all, and readers read both."""

import os
import sqlite3
import time

import pytest

from harness import ROOT, RUN_AS, Stack, wait_until

V1 = (ROOT / "sql" / "0001-log.sql").read_text()


def statements(text):
    """Tables and rows, and the triggers, which come last."""
    at = text.index("-- In a BEFORE trigger")
    return text[:at], text[at:]


def make_v1(st, rows=3):
    """A log as the first version made it, with `rows` events."""
    st.mkdir(st.var)
    tables, triggers = statements(V1)
    db = sqlite3.connect(st.db)
    db.executescript("PRAGMA journal_mode=WAL; PRAGMA application_id="
                     "1463897155; PRAGMA synchronous=OFF;" + tables)
    db.executescript("""
        INSERT INTO events (channel, event, data, ts, prev, json)
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL
                                SELECT i + 1 FROM n WHERE i < %d)
        SELECT 'c' || (i %% 3), 'message', '{"n":' || i || '}',
               CAST(strftime('%%s', 'now') AS INTEGER) * 1000,
               max(i - 3, 0), 1 FROM n;
        INSERT INTO channels SELECT channel, max(id) FROM events
            GROUP BY channel;
        INSERT INTO meta VALUES ('version', '1');
        """ % rows + triggers)
    db.commit()
    db.close()
    if RUN_AS:
        for p in st.var.iterdir():
            os.chown(p, RUN_AS.pw_uid, RUN_AS.pw_gid)
    st.var.chmod(0o2770)
    for p in st.var.iterdir():
        p.chmod(0o660)


def look(st):
    """What must be the same after it."""
    db = sqlite3.connect("file:%s?mode=ro" % st.db, uri=True)
    try:
        return dict(
            generation=db.execute("SELECT value FROM meta WHERE "
                                  "name = 'generation'").fetchone(),
            seq=db.execute("SELECT seq FROM sqlite_sequence WHERE "
                           "name = 'events'").fetchone(),
            rows=db.execute("SELECT count(*), sum(id), sum(prev), "
                            "sum(length(data)) FROM events").fetchone(),
            channels=db.execute("SELECT * FROM channels WHERE name NOT GLOB "
                                "'system.*' ORDER BY name").fetchall())
    finally:
        db.close()


def version(st):
    db = sqlite3.connect("file:%s?mode=ro" % st.db, uri=True)
    try:
        v = db.execute("SELECT value FROM meta WHERE name = 'version'"
                       ).fetchone()[0]
        parts = db.execute(
            "SELECT (SELECT count(*) FROM sqlite_schema WHERE name = "
            "'revocations'), (SELECT instr(sql, 'system.revoke') > 0 FROM "
            "sqlite_schema WHERE name = 'events'), (SELECT instr(sql, '@%~') "
            "> 0 FROM sqlite_schema WHERE name = 'events_guard_insert')"
        ).fetchone()
        sound = db.execute("PRAGMA integrity_check").fetchone()[0]
    finally:
        db.close()
    assert sound == "ok"
    assert set(parts) == {1 if v == "2" else 0}, (v, parts)
    return int(v)


@pytest.fixture
def st():
    with Stack() as s:
        yield s


def test_pubd_brings_a_log_up_and_keeps_all_that_is_in_it(st):
    make_v1(st)
    before = look(st)
    assert version(st) == 1
    st.start(metrics=False)
    wait_until(lambda: version(st) == 2, 10, "version 2")
    assert look(st) == before
    assert st.publish("user.a+b@c=d~%20", 1) == 4
    assert "version 1 and is of version 2 now" in st.pubd.tail()
    assert st.walcast("audit").returncode == 0


def test_init_brings_it_up(st):
    make_v1(st)
    before = look(st)
    st.walcast("init", "--mode", "open", check=True)
    assert version(st) == 2
    assert look(st) == before
    st.walcast("init", "--mode", "open", check=True)
    assert version(st) == 2


def test_a_worker_reads_an_old_log_and_goes_on_when_it_is_brought_up(st):
    make_v1(st)
    st.start(metrics=False, pubd=False)
    web = st.front("lighttpd")
    with web.stream({"channel": "*"}, last_id="earliest") as s:
        s.open()
        assert [int(e.id) for e in s.take(3)] == [1, 2, 3]
        assert version(st) == 1
        st.start_pubd()
        wait_until(lambda: version(st) == 2, 10, "version 2")
        id = st.publish("user.x@y", "new")
        assert [int(e.id) for e in s.take(1)] == [id]
        st.walcast("revoke", "--user", "nobody", check=True)
        id = st.publish("c1", "newer")
        assert [int(e.id) for e in s.take(1)] == [id] == [6]


def test_a_million_rows_are_not_copied(st):
    make_v1(st, 1000000)
    before, size = look(st), st.db.stat().st_size
    st.walcast("init", "--mode", "open", check=True)
    assert version(st) == 2
    assert look(st) == before
    wal = st.db.with_name(st.db.name + "-wal")
    grown = st.db.stat().st_size - size + (
        wal.stat().st_size if wal.exists() else 0)
    assert grown < 1 << 20, "only definitions are written"
    st.start(metrics=False)
    assert st.publish("user.x@y", 1) == 1000001


def test_it_is_brought_up_wholly_or_not_at_all(st):
    """Killed at many moments."""
    make_v1(st)
    before = look(st)
    image = {p.name: p.read_bytes() for p in st.var.iterdir()}
    seen = set()
    for n in range(60):
        for p in list(st.var.iterdir()):
            p.unlink()
        for name, content in image.items():
            st.write(st.var / name, content, 0o660)
        p = st.spawn("init", [st.bin / "walcast", "init", "--mode", "open"])
        time.sleep(0.0005 * (n % 30))
        p.kill_all()
        seen.add(version(st))
        assert look(st) == before
    assert 1 in seen
    st.walcast("init", "--mode", "open", check=True)
    assert version(st) == 2


def test_a_definition_that_somebody_has_changed_is_left_alone(st):
    make_v1(st)
    db = sqlite3.connect(st.db)
    db.executescript("PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql "
                     "= replace(sql, 'BETWEEN 1 AND 128', 'BETWEEN 1 AND 64') "
                     "WHERE name = 'events'; UPDATE sqlite_schema SET sql = "
                     "replace(sql, 'NOT GLOB', ' NOT  GLOB') WHERE name = "
                     "'events'; PRAGMA writable_schema=OFF;")
    db.commit()
    db.close()
    done = st.walcast("init", "--mode", "open")
    assert done.returncode != 0
    assert b"version" in done.stderr
    assert version(st) == 1
