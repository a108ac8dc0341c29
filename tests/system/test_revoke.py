# SPDX-License-Identifier: MIT
"""Revocation: it is durable, nobody gets it, it is obeyed in the log's order,
after restarts of anything, and while pubd is away."""

import sqlite3
import time

import jwt
import pytest

from harness import RUN_AS, Stack, wait_until

SECRET = "0123456789abcdef0123456789abcdef"
RULES = """
anyone  read            news
token   read            *
uid 0 %d  publish,revoke  *
""" % (RUN_AS.pw_uid if RUN_AS else 0)


def token(sub="alice", jti="j1", issued_s=-5, read=("*",)):
    now = int(time.time())
    claims = {"exp": now + 600, "iat": now + issued_s, "sub": sub, "jti": jti,
              "walcast": {"read": list(read)}}
    return jwt.encode({k: v for k, v in claims.items() if v is not None},
                      SECRET, algorithm="HS256")


@pytest.fixture
def st():
    with Stack() as s:
        for name, text in (("access.conf", RULES), ("keys", SECRET + "\n")):
            (s.dir / name).write_text(text)
            (s.dir / name).chmod(0o644)
        s.configure(access=s.dir / "access.conf", token_keys=s.dir / "keys",
                    retry_ms=300, heartbeat_ms=1000)
        s.start(metrics=False)
        yield s


@pytest.fixture
def web(st):
    return st.front("lighttpd")


def bearer(t):
    return {"Authorization": "Bearer " + t}


def reads(web, t, channel="orders"):
    with web.stream({"channel": channel}, headers=bearer(t)) as s:
        return s.status


def revoke(st, *what):
    return int(st.walcast("revoke", *what, check=True).stdout)


def closed(s, timeout=5):
    """The ids that came, until control.close; and its reason."""
    ids = []
    while True:
        e = s.next(timeout)
        if e.type == "control.close":
            return ids, e.json["reason"]
        if e.type == "message":
            ids.append(int(e.id))


def test_a_token_is_revoked_and_only_it(st, web):
    one, other = token(), token(jti="j2")
    with web.stream({"channel": "*"}, headers=bearer(one)) as s, \
            web.stream({"channel": "*"}, headers=bearer(other)) as o:
        s.open(), o.open()
        a = st.publish("orders", 1)
        r = revoke(st, "--token", "j1")
        b = st.publish("orders", 2)
        assert closed(s) == ([a], "revoked"), "what came before, and no more"
        assert [int(e.id) for e in o.take(2)] == [a, b], "it is nobody's event"
        assert r == a + 1 == b - 1, "it has a place in the log"
    assert reads(web, one) == 401
    assert reads(web, other) == 200


def test_a_user_is_revoked_with_all_that_he_was_given_before(st, web):
    old, bob = token(jti=None), token("bob")
    undated = jwt.encode({"exp": int(time.time()) + 600, "sub": "alice",
                          "walcast": {"read": ["*"]}}, SECRET, "HS256")
    with web.stream({"channel": "*"}, headers=bearer(old)) as s, \
            web.stream({"channel": "*"}, headers=bearer(bob)) as o:
        s.open(), o.open()
        revoke(st, "--user", "alice")
        assert closed(s)[1] == "revoked"
        id = st.publish("orders", 1)
        assert [int(e.id) for e in o.take(1)] == [id]
    assert reads(web, old) == 401
    assert reads(web, undated) == 401, "nobody knows when it was issued"
    assert reads(web, token("bob")) == 200
    assert reads(web, token(issued_s=+2)) == 200, "a new one is good"


def test_one_stream_is_ended(st, web):
    t = token()
    with web.stream({"channel": "*"}, headers=bearer(t)) as s, \
            web.stream({"channel": "*"}, headers=bearer(t)) as o:
        id = s.open().json["stream"]
        o.open()
        assert s.headers["x-sse-stream"] == id
        revoke(st, "--stream", id)
        assert closed(s)[1] == "revoked"
        a = st.publish("orders", 1)
        assert [int(e.id) for e in o.take(1)] == [a]
    assert reads(web, t) == 200


def test_nobody_gets_it_in_any_way(st, web):
    t = token("bob", "j9")
    wanted = []
    for n in range(5):
        wanted.append(st.publish("c%d" % n, n))
        revoke(st, "--token", "t%d" % n)
    first = str(wanted[0] - 1)
    ways = [([], "earliest"), ([("last", "50")], None), ([], first or None),
            ([("envelope", "1")], "earliest")]
    for again in range(2):
        for more, last_id in ways:
            kw = {"last_id": last_id} if last_id not in (None, "0") else {
                "last_id": "earliest"} if last_id == "0" else {}
            with web.stream([("channel", "*")] + more, headers=bearer(t),
                            **kw) as s:
                s.open()
                assert [int(e.id) for e in s.take(5)] == wanted, (more, kw)
                revoke(st, "--token", "more")
                live = st.publish("live", 1)
                got = []
                while live not in got:
                    got += [int(e.id) for e in s.take(1)]
                assert got[-1] == live
                sqlite = sqlite3.connect("file:%s?mode=ro" % st.db, uri=True)
                ours = {r[0] for r in sqlite.execute(
                    "SELECT id FROM events WHERE channel = 'system.revoke'")}
                sqlite.close()
                assert not ours & set(got)
            wanted.append(live)
            wanted = wanted[:5]
        st.restart_worker()  # out of the log now, and not out of the ring
    done = st.walcast("tail", "-c", "*", "--from", "0", "-n", "5")
    assert b"system.revoke" not in done.stdout and done.stdout
    for channel in ("system.revoke", "system.*"):
        with web.stream({"channel": channel}, headers=bearer(t)) as s:
            assert s.status == 403
    assert b"system" not in st.walcast("channels").stdout
    assert st.walcast("audit").returncode == 0


def test_it_outlives_restarts_retention_and_pubd(st, web):
    t, other = token(), token("bob", "j2")
    revoke(st, "--token", "j1")
    for n in range(20):
        st.publish("orders", n)
    st.walcast("trim", "--yes", "--keep", "5", check=True)
    st.kill_pubd()
    st.restart_worker()
    wait_until(lambda: reads(web, other) == 200, 10, "the worker")
    assert reads(web, t) == 401, "the log says so, pubd is not asked"
    st.start_pubd()
    assert reads(web, t) == 401


def test_who_acknowledged_it_has_made_it_durable(st, web):
    revoke(st, "--user", "alice")
    st.kill_pubd()
    for p in st.workers:
        p.kill_all()
    st.start_pubd()
    st.start_worker()
    assert reads(web, token()) == 401


def test_all_workers_obey():
    with Stack() as st:
        for name, text in (("access.conf", RULES), ("keys", SECRET + "\n")):
            (st.dir / name).write_text(text)
        st.configure(access=st.dir / "access.conf",
                     token_keys=st.dir / "keys", heartbeat_ms=1000)
        st.start(workers=3, metrics=False)
        front = st.front("lighttpd")
        streams = [front.stream({"channel": "*"}, headers=bearer(token()))
                   for _ in range(30)]
        for s in streams:
            s.open()
        revoke(st, "--user", "alice")
        for s in streams:
            assert closed(s)[1] == "revoked"
            s.close()


def test_a_later_one_moves_the_time_and_never_back(st):
    def at():
        db = sqlite3.connect("file:%s?mode=ro" % st.db, uri=True)
        try:
            return db.execute("SELECT at_ms, until_ms FROM revocations WHERE "
                              "kind = 'user' AND value = 'alice'").fetchone()
        finally:
            db.close()
    until = int(time.time()) + 1000
    revoke(st, "--user", "alice", "--until", str(until))
    first = at()
    assert first[1] == until * 1000
    time.sleep(0.01)
    revoke(st, "--user", "alice")
    second = at()
    assert second[0] > first[0] and second[1] == 0, "for ever now"
    revoke(st, "--user", "alice", "--until", str(until))
    assert at()[1] == 0, "and not for less"


def test_what_is_over_is_forgotten(st):
    soon = int(time.time()) + 2
    for n in range(3):
        revoke(st, "--token", "old%d" % n, "--until", str(soon))
    wait_until(lambda: time.time() > soon + 0.1, 10, "that time")
    revoke(st, "--token", "new")
    done = st.walcast("revoke", "--token", "x", "--until", str(soon))
    assert done.returncode == 1 and b"`until` has passed" in done.stderr
    listed = st.walcast("revoke", "--list", check=True).stdout.decode()
    assert "new" in listed and "old" not in listed


@pytest.mark.parametrize("line", [
    '{"op":"revoke"}', '{"op":"revoke","user":""}', '{"op":"revoke","user":7}',
    '{"op":"revoke","user":"a","token":"b"}',
    '{"op":"revoke","user":"a\\u0001b"}', '{"op":"revoke","stream":"xyz"}',
    '{"op":"revoke","stream":"00112233445566778"}',
    '{"op":"revoke","user":"%s"}' % ("x" * 257),
    '{"op":"revoke","token":"a","until":"1"}',
    '{"op":"revoke","token":"a","until":-1}',
    '{"op":"revoke","token":"a","until":1.5}'])
def test_a_malformed_one_is_refused_with_a_reason(st, line):
    with st.publisher() as p:
        p.send(line)
        answer = p.recv()
    assert answer["ok"] is False and answer["error"] == "bad_request"
    assert answer["message"].startswith("revoke: ")
    assert st.head() == 0


def test_answers_keep_the_order_of_the_lines(st):
    with st.publisher() as p:
        for n in range(5):
            p.send({"channel": "a", "data": n})
            p.send({"op": "revoke", "user": "u%d" % n})
            p.send('{"op":"ping"}')
        answers = [p.recv() for _ in range(15)]
    assert [a["id"] for a in answers if "id" in a] == list(range(1, 11))
    assert all(a["ok"] for a in answers)
