# SPDX-License-Identifier: MIT
"""Publishing by INSERT from the languages that people have, with pubd running
and not; what the schema refuses."""

import json
import sqlite3
import subprocess
import time

import pytest

from harness import RUN_AS

PHP = """
$db = new PDO("sqlite:$argv[1]");
$db->setAttribute(PDO::ATTR_ERRMODE, PDO::ERRMODE_EXCEPTION);
$db->exec("PRAGMA busy_timeout = 5000");
$in = $db->prepare(
    "INSERT INTO events(channel, event, data) VALUES (?, ?, ?)");
$in->execute([$argv[2], $argv[3], $argv[4]]);
echo $db->lastInsertId(), "\\n";
"""
PERL = """
use DBI;
my ($path, @row) = @ARGV;
my $db = DBI->connect("dbi:SQLite:dbname=$path", "", "",
    { RaiseError => 1, AutoCommit => 1 });
$db->do("PRAGMA busy_timeout = 5000");
$db->do("INSERT INTO events(channel, event, data) VALUES (?, ?, ?)",
    undef, @row);
print $db->last_insert_id("", "", "", ""), "\\n";
"""
PYTHON = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=5)
with db:
    c = db.execute("INSERT INTO events(channel, event, data) VALUES (?, ?, ?)",
                   sys.argv[2:5])
print(c.lastrowid)
"""
WRITERS = {
    "php": ["php", "-r", PHP, "--"],
    "perl": ["perl", "-e", PERL],
    "python": ["/usr/bin/python3", "-c", PYTHON],
}


def as_user():
    if not RUN_AS:
        return {}
    return dict(user=RUN_AS.pw_uid, group=RUN_AS.pw_gid, extra_groups=[])


def insert(stack, language, channel, event, data):
    done = subprocess.run(
        WRITERS[language] + [str(stack.db), channel, event, data],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20,
        cwd=stack.dir, **as_user())
    assert done.returncode == 0, done.stdout.decode()
    return int(done.stdout)


@pytest.fixture(scope="module")
def without_pubd():
    """A worker and lighttpd over a log that no pubd serves."""
    from harness import Stack
    with Stack() as st:
        st.start(pubd=False, metrics=False)
        yield st.front("lighttpd")


@pytest.fixture(scope="module")
def with_pubd():
    from harness import Stack
    with Stack() as st:
        st.start(metrics=False)
        yield st.front("lighttpd")


@pytest.fixture(params=["with_pubd", "without_pubd"])
def web(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("language", WRITERS)
def test_an_insert_reaches_a_stream(web, channel, language):
    with web.stream({"channel": channel}) as s:
        s.open()
        id = insert(web.stack, language, channel, "from." + language,
                    "héllo\n2")
        e = s.next(timeout=5)
        assert (e.type, e.data, e.id) == (
            "from." + language, "héllo\n2", str(id))


def test_an_insert_is_seen_within_a_tenth_of_a_second(web, channel):
    """The median of many, with room for a busy machine."""
    db = sqlite3.connect(web.stack.db, isolation_level=None, timeout=5)
    lags = []
    with web.stream({"channel": channel}) as s:
        s.open()
        for n in range(21):
            db.execute("INSERT INTO events(channel, data) VALUES (?, ?)",
                       (channel, n))
            started = time.monotonic()
            assert s.data().data == str(n)
            lags.append(time.monotonic() - started)
    db.close()
    assert sorted(lags)[10] < 0.25, lags


def test_inserts_and_publishers_share_one_order(with_pubd, channel):
    st = with_pubd.stack
    db = sqlite3.connect(st.db, isolation_level=None, timeout=5)
    with with_pubd.stream({"channel": channel}) as s:
        s.open()
        sent = []
        for n in range(100):
            sent.append(st.publish(channel, "p%d" % n))
            sent.append(db.execute(
                "INSERT INTO events(channel, data) VALUES (?, ?)",
                (channel, "i%d" % n)).lastrowid)
        assert sent == list(range(sent[0], sent[0] + 200))
        got = s.take(200)
        assert [int(e.id) for e in got] == sent
        assert [e.data for e in got] == [
            x for n in range(100) for x in ("p%d" % n, "i%d" % n)]
    db.close()


ILL_FORMED = [b"caf\xe9", b"\xe9", b"\xff\xfe", b"\xe2\x82", b"\xed\xa0\x80",
              b"\xf0\x9f\x98\n\xf0\x9f\x98\x80\xf0", b"\xc0\xaf\xe0\x80x",
              b"x\xf4\x90\x80\x80\r\n\x80", b"\xc3\xa9\xc3", b'{"n":"\xe9"}',
              b"y" * 255 + b"\xe9", b"\xe9" * 500000 + b"z"]


@pytest.mark.parametrize("envelope", ["0", "1"])
def test_text_in_another_encoding_goes_out_as_replacements(with_pubd, channel,
                                                           envelope):
    """Each maximal subpart as one U+FFFD, as Python and browsers read it;
    live and replayed."""
    db = sqlite3.connect(with_pubd.stack.db, isolation_level=None, timeout=5)
    params = {"channel": channel, "envelope": envelope}
    want = []

    def check(s):
        for text in want:
            e = s.next(timeout=30)
            got = e.json["data"] if envelope == "1" else e.data
            assert got.splitlines() == text.splitlines()
            assert e.type == "t\ufffd"
            assert envelope == "0" or e.json["event"] == "t\ufffd"
        s.raw.decode("utf-8")       # no strict decoder stumbles

    with with_pubd.stream(params) as s:
        before = int(s.open().id)
        for raw in ILL_FORMED:
            db.execute("INSERT INTO events(channel, event, data, key) VALUES "
                       "(?, CAST(? AS TEXT), CAST(? AS TEXT), "
                       "CAST(? AS TEXT))",
                       (channel, b"t\xe9", raw, b"k\xe9" + raw[:9]))
            want.append(raw.decode("utf-8", "replace"))
        check(s)
    with with_pubd.stream(params, last_id=before) as s:
        s.open()
        check(s)
    shown = with_pubd.stack.walcast("tail", "--json", "--from", before,
                                    check=True).stdout.decode("utf-8")
    rows = [json.loads(line) for line in shown.splitlines()]
    assert [r["data"] for r in rows] == want
    assert {r["event"] for r in rows} == {"t\ufffd"}
    assert all(r["key"].startswith("k\ufffd") for r in rows)
    db.close()


def test_an_insert_in_a_transaction_is_seen_at_its_commit(web, channel):
    db = sqlite3.connect(web.stack.db, isolation_level=None, timeout=5)
    with web.stream({"channel": channel}) as s:
        s.open()
        db.execute("BEGIN IMMEDIATE")
        for n in range(3):
            db.execute("INSERT INTO events(channel, data) VALUES (?, ?)",
                       (channel, n))
        assert s.silent(0.3) == []
        db.execute("COMMIT")
        assert [e.data for e in s.take(3)] == ["0", "1", "2"]
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO events(channel, data) VALUES (?, 'no')",
                   (channel,))
        db.execute("ROLLBACK")
        db.execute("INSERT INTO events(channel, data) VALUES (?, 'yes')",
                   (channel,))
        assert s.data().data == "yes"
    db.close()


def test_an_envelope_links_inserts_and_publishes(with_pubd, channel):
    st = with_pubd.stack
    with with_pubd.stream({"channel": channel, "envelope": 1}) as s:
        s.open()
        a = st.publish(channel, 1)
        b = insert(st, "python", channel, "message", "2")
        c = st.publish(channel, 3)
        d = insert(st, "python", channel, "message", "4")
        got = [e.json for e in s.take(4)]
        assert [e["id"] for e in got] == [a, b, c, d]
        assert [e["prev"] for e in got][1:] == [a, b, c]


def test_what_was_inserted_before_any_program_ran_is_there(make_stack):
    st = make_stack(pubd=False, workers=0, metrics=False)
    for n in range(3):
        insert(st, "python", "a", "message", str(n))
    st.start_worker()
    web = st.front("lighttpd")
    with web.stream({"channel": "a"}, last_id="earliest") as s:
        s.open()
        assert [e.data for e in s.take(3)] == ["0", "1", "2"]
        st.start_pubd()
        assert st.publish("a", 3) == 4
        assert s.data().data == "3"


@pytest.mark.parametrize("sql", [
    "INSERT INTO events(id, channel, data) VALUES (9223372036854775807,'a',1)",
    "INSERT INTO events(id, channel, data) VALUES (5, 'a', 1)",
    "UPDATE events SET data = 'changed'",
    "UPDATE events SET id = id + 1000",
    "INSERT INTO events(channel, data) VALUES ('bad channel', 1)",
    "INSERT INTO events(channel, data) VALUES ('', 1)",
    "INSERT INTO events(channel, event, data) VALUES ('a','control.open',1)",
    "INSERT INTO events(channel, event, data) VALUES ('a','a' || char(10),1)",
    "INSERT INTO events(channel, data) VALUES ('a', NULL)"])
def test_what_would_break_the_log_is_refused(with_pubd, sql):
    st = with_pubd.stack
    st.publish("a", "there is one")
    head = st.head()
    db = sqlite3.connect(st.db, isolation_level=None, timeout=5)
    with pytest.raises(sqlite3.Error):
        db.execute(sql)
    db.close()
    assert st.publish("a", "goes on") == head + 1
