# SPDX-License-Identifier: MIT
"""Who may read, by the rules of access.conf: a worker without a web server is
told by FastCGI parameters who asks."""

import contextlib
import json
import pathlib
import os
import socket
import struct
import threading
import time
import urllib.parse

import jwt
import pytest

from fcgi import (BEGIN, END, PARAMS, STDIN, STDOUT, Conn, pair, params,
                  record, request)
from harness import RUN_AS, Failed, Stack, wait_until
from sse import Parser

SECRET = "0123456789abcdef0123456789abcdef"
RULES = """
anyone                         read  news public.*
user                           read  user.$user user.$user_label.*
user alice bob@example.com     read  admin.*
group staff                    read  staff.*
env TENANT                     read  tenant.$value tenant.$value_label.*
env SSL_CLIENT_VERIFY=SUCCESS  read  devices.*
env SSL_CLIENT_S_DN_CN         read  cn.$value cn.$value_label.*
token                          read  tok.*
uid 0 %d                       publish  *
""" % (RUN_AS.pw_uid if RUN_AS else 0)


def token(lives_s=600, secret=SECRET, read=("tok.*",), **claims):
    """A signed token; a claim that is None is left out."""
    now = int(time.time())
    all = {"exp": now + lives_s, "iat": now, "sub": "carol", "jti": "j1",
           "walcast": {"read": list(read)}}
    all.update(claims)
    return jwt.encode({k: v for k, v in all.items() if v is not None},
                      secret, algorithm="HS256")


def put(st, name, text, mode=0o644):
    path = st.dir / name
    path.write_text(text)
    path.chmod(mode)
    return path


def begin(st, text=RULES, **config):
    """A stack that was not started gets these rules."""
    conf = {"access": put(st, "access.conf", text),
            "groups": put(st, "groups", "staff: alice dave\n"),
            "token_keys": put(st, "keys", SECRET + "\n"),
            "heartbeat_ms": 1000, "retry_ms": 1000}
    conf.update(config)
    st.configure(**conf)
    return st


@pytest.fixture(scope="module")
def st():
    with Stack() as s:
        begin(s).start(metrics=False).publish("news", "the first")
        yield s


@pytest.fixture
def ruled():
    """ruled(rules, **config): a stack of the test's own."""
    made = []

    def make(text=RULES, **config):
        made.append(Stack())
        return begin(made[-1], text, **config).start(metrics=False)

    yield make
    for s in made:
        s.close()


class Visit:
    """One request and what came first."""

    def __init__(self, st, query, **params):
        self.conn = Conn(st.sse_sock, request(query=query, **params))
        type, _, content = self.conn.record()
        assert type == STDOUT, (type, content)
        head, _, self.body = content.partition(b"\r\n\r\n")
        self.headers = dict(l.split(": ", 1)
                            for l in head.decode().split("\r\n"))
        self.status = int(self.headers["Status"].split()[0])
        self.parser = Parser()
        self.parser.feed(self.body)

    @property
    def events(self):
        return self.parser.events

    @property
    def opened(self):
        return self.status == 200 and \
            [e.type for e in self.events[:1]] == ["control.open"]

    @property
    def problem(self):
        assert self.headers["Content-Type"] == "application/problem+json"
        return json.loads(self.body)

    @property
    def reason(self):
        """Why the stream was closed, so far; None: it was not."""
        for e in self.events:
            if e.type == "control.close":
                return json.loads(e.data)["reason"]
        return None

    def pump(self, timeout=10):
        """One more record; False: the end."""
        try:
            type, _, content = self.conn.record(timeout)
        except EOFError:
            return False
        if type == STDOUT:
            self.parser.feed(content)
        return type != END

    def data(self, n, timeout=10):
        """(id, data) of the first n events that are no control."""
        def got():
            return [(int(e.id), e.data) for e in self.events
                    if not e.type.startswith("control.")]
        deadline = time.monotonic() + timeout
        while len(got()) < n:
            assert time.monotonic() < deadline and self.pump(), self.events
        return got()[:n]

    def until(self, id, data, timeout=10):
        """Waits for this event."""
        deadline = time.monotonic() + timeout
        while not any(e.id == str(id) and e.data == data
                      for e in self.events):
            assert time.monotonic() < deadline and self.pump(), self.events

    def ends(self, timeout=10):
        """Waits for control.close; returns the reason."""
        deadline = time.monotonic() + timeout
        while self.pump():
            assert time.monotonic() < deadline, "it goes on"
        return self.reason

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.conn.close()


# Who may, by which kind of line: his parameters, and where his channels begin.
KINDS = {
    "anyone": ({}, "public"),
    "user": ({"REMOTE_USER": "erin"}, "user.erin"),
    "names": ({"REMOTE_USER": "bob@example.com"}, "admin"),
    "group": ({"REMOTE_USER": "dave"}, "staff"),
    "env": ({"TENANT": "acme"}, "tenant.acme"),
    "env=": ({"SSL_CLIENT_VERIFY": "SUCCESS"}, "devices"),
    "certificate": ({"SSL_CLIENT_VERIFY": "SUCCESS",
                     "SSL_CLIENT_S_DN_CN": "box7"}, "cn.box7"),
    "token": ({"HTTP_AUTHORIZATION": "Bearer " + token()}, "tok"),
}
# Of each kind somebody who lacks just the thing that counts.
STRANGERS = {
    "anyone": ({}, "private"),
    "user": ({"REMOTE_USER": "eri"}, "user.erin"),
    "names": ({"REMOTE_USER": "bob"}, "admin"),
    "group": ({"REMOTE_USER": "erin"}, "staff"),
    "env": ({"TENANT": "acm"}, "tenant.acme"),
    "env=": ({"SSL_CLIENT_VERIFY": "FAILED:expired"}, "devices"),
    "certificate": ({"SSL_CLIENT_VERIFY": "GENEROUS",
                     "SSL_CLIENT_S_DN_CN": "box7"}, "cn.box7"),
    "token": ({"HTTP_AUTHORIZATION": "Bearer " + token(read=["other"])},
              "tok"),
    "no token": ({}, "tok"),
    "header": ({"HTTP_REMOTE_USER": "alice", "HTTP_X_REMOTE_USER": "alice"},
               "admin"),
}
WAYS = {
    "exact": "channel={0}.x",
    "prefix": "channel={0}.*",
    "several": "channel=news&channel={0}.x&channel=public.y",
    "replay": "channel={0}.x&last_event_id=1",
    "replay from the start": "channel={0}.*&last_event_id=earliest",
    "last": "channel={0}.x&last=5",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_whom_a_line_names_reads(st, kind, way):
    params, base = KINDS[kind]
    id = st.publish(base + ".x", kind + way)
    with Visit(st, WAYS[way].format(base), **params) as v:
        assert v.opened, v.body
        if "replay" in way or way == "last":
            v.until(id, kind + way)
        v.until(st.publish(base + ".x", "live"), "live")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", STRANGERS)
def test_whom_no_line_names_does_not(st, kind, way):
    params, base = STRANGERS[kind]
    st.publish(base + ".x", "secret")
    with Visit(st, WAYS[way].format(base), **params) as v:
        assert v.status == 403
        shown = v.problem["detail"]
        assert base in shown
        assert "line" not in shown and "secret" not in v.body.decode()
        assert v.conn.ended(), "and the response ends"


@pytest.mark.parametrize("kind", STRANGERS)
def test_head_is_judged_too(st, kind):
    params, base = STRANGERS[kind]
    with Visit(st, "channel=%s.x" % base, method="HEAD", **params) as v:
        assert v.status == 403 and v.body == b""
    if kind not in KINDS:
        return
    params, base = KINDS[kind]
    with Visit(st, "channel=%s.x" % base, method="HEAD", **params) as v:
        assert v.status == 200 and v.body == b""


def test_a_last_event_id_header_opens_nothing(st):
    st.publish("admin.x", "secret")
    with Visit(st, "channel=admin.x", HTTP_LAST_EVENT_ID="1") as v:
        assert v.status == 403


def test_a_prefix_needs_one_line_that_covers_all_of_it(st):
    for wanted in ("*", "n*", "news*", "publi*", "user.*", "user.erin*"):
        with Visit(st, "channel=" + wanted, REMOTE_USER="erin") as v:
            assert v.status == 403, wanted
            assert '"%s"' % wanted in v.problem["detail"]
    with Visit(st, "channel=public.a.*") as v:
        assert v.opened


def test_the_first_refused_channel_is_named_and_no_other(st):
    with Visit(st, "channel=news,admin.a,staff.b") as v:
        assert v.status == 403
        assert "admin.a" in v.problem["detail"]
        assert "staff.b" not in v.problem["detail"]


def test_refused_is_the_same_for_what_exists_and_what_does_not(st):
    st.publish("staff.there", 1)
    bodies = []
    for name in ("staff.there", "staff.nowhe"):
        with Visit(st, "channel=" + name) as v:
            bodies.append(v.body.replace(name.encode(), b"X"))
    assert bodies[0] == bodies[1]


def test_a_name_is_no_way_into_another_names_channels(st):
    for user, channel in (("*", "user.alice"), ("a*", "user.alice"),
                          ("alice.bob", "user.alice.bob.x"),
                          ("a/../b", "user.b")):
        with Visit(st, "channel=" + channel, REMOTE_USER=user) as v:
            assert v.status == 403, user
    # What a channel cannot hold is written %XX, and a % is one of it.
    name = urllib.parse.quote("user.%2A")
    with Visit(st, "channel=" + name, REMOTE_USER="*") as v:
        assert v.opened, v.body


def test_a_parameter_that_is_sent_twice_counts_only_if_both_agree(st):
    for a, b, status in (("alice", "alice", b"200"), ("alice", "eve", b"403"),
                         ("eve", "alice", b"403")):
        raw = record(BEGIN, struct.pack("!HB5x", 1, 0)) + record(
            PARAMS, params(query="channel=admin.x") + pair("REMOTE_USER", a)
            + pair("REMOTE_USER", b)) + record(PARAMS) + record(STDIN)
        with Conn(st.sse_sock, raw) as c:
            assert c.record()[2].startswith(b"Status: " + status), (a, b)


def test_the_log_says_why_and_the_answer_does_not(ruled):
    st = ruled()
    with Visit(st, "channel=admin.why&token=", REMOTE_USER="mallory") as v:
        assert v.status == 403
        id = v.headers["X-SSE-Stream"]
    line = wait_until(lambda: [l for l in st.worker.log.read_text().splitlines()
                               if "stream.deny" in l and id in l])[0]
    assert "channel=admin.why" in line and "status=403" in line
    assert "line 4 is for other users" in line


# ---------------------------------------------------------------------- tokens

def cookie(text, name="walcast_token"):
    return {"HTTP_COOKIE": "a=b; %s=%s; c=d" % (name, text)}


SOURCES = {
    "header": lambda t: ("", {"HTTP_AUTHORIZATION": "Bearer " + t}),
    "header, other case": lambda t: (
        "", {"HTTP_AUTHORIZATION": "bearer  " + t}),
    "query": lambda t: ("&token=" + t, {}),
    "query, Mercure's": lambda t: ("&authorization=" + t, {}),
    "cookie": lambda t: ("", cookie(t)),
    "cookie, quoted": lambda t: ("", cookie('"%s"' % t)),
    "cookie, Mercure's": lambda t: ("", cookie(t, "mercureAuthorization")),
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_token_counts_wherever_it_may_stand(st, source):
    more, params = SOURCES[source](token())
    with Visit(st, "channel=tok.a" + more, **params) as v:
        assert v.opened, v.body
    with Visit(st, "channel=user.carol" + more, **params) as v:
        assert v.opened, "sub is a user"


@pytest.mark.parametrize("source", SOURCES)
def test_a_forged_token_is_401_whatever_it_asks_for(st, source):
    more, params = SOURCES[source](token(secret="x" * 32))
    for channel in ("tok.a", "news"):
        with Visit(st, "channel=" + channel + more, **params) as v:
            assert v.status == 401
            assert v.headers["WWW-Authenticate"] == \
                'Bearer error="invalid_token"'
            assert v.problem["status"] == 401


@pytest.mark.parametrize("source", SOURCES)
def test_an_expired_token_is_told_in_band(st, source):
    more, params = SOURCES[source](token(lives_s=-90))
    with Visit(st, "channel=tok.a" + more, **params) as v:
        assert v.status == 200 and v.reason == "auth_expired", v.body
        assert v.conn.ended()
    with Visit(st, "channel=news" + more, **params) as v:
        assert v.opened, "what is open to anyone needs none"


@pytest.mark.parametrize("claims", [
    {"exp": None}, {"exp": "soon"}, {"nbf": int(time.time()) + 3600},
    {"walcast": {"read": "tok.*"}}, {"sub": 7}])
def test_claims_that_are_not_as_they_must_be_are_401(st, claims):
    with Visit(st, "channel=tok.a&token=" + token(**claims)) as v:
        assert v.status == 401, claims


@pytest.mark.parametrize("text", ["x", "a.b.c", "%zz", ".." + SECRET, "%",
                                  "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0."])
def test_what_is_no_token_is_401(st, text):
    with Visit(st, "channel=news&token=" + text) as v:
        assert v.status == 401
        assert text not in v.body.decode() or len(text) < 3


def test_the_first_source_decides_alone(st):
    good, bad = token(), token(secret="x" * 32)
    with Visit(st, "channel=tok.a&token=" + good,
               HTTP_AUTHORIZATION="Bearer " + bad) as v:
        assert v.status == 401
    with Visit(st, "channel=tok.a&token=" + bad,
               HTTP_AUTHORIZATION="Bearer " + good) as v:
        assert v.opened
    with Visit(st, "channel=tok.a&token=" + bad, **cookie(good)) as v:
        assert v.status == 401
    with Visit(st, "channel=tok.a", HTTP_AUTHORIZATION="Basic YTpi",
               **{k: c for k, c in cookie(good).items()}) as v:
        assert v.opened, "another scheme is no token"


def test_two_tokens_in_one_place_must_be_the_same(st):
    mine, other = token(), token(sub="mallory")
    two = "walcast_token=%s; walcast_token=%s"
    with Visit(st, "channel=tok.a", HTTP_COOKIE=two % (other, mine)) as v:
        assert v.status == 401
    with Visit(st, "channel=tok.a", HTTP_COOKIE=two % (mine, mine)) as v:
        assert v.opened
    with Visit(st, "channel=tok.a&token=%s&token=%s" % (mine, other)) as v:
        assert v.status == 401


def test_no_token_is_in_a_log(st):
    for source in SOURCES:
        for t in (token(), token(secret="y" * 32), token(lives_s=-90)):
            more, params = SOURCES[source](t)
            with Visit(st, "channel=tok.a" + more, **params) as v:
                assert v.status in (200, 401)
            for log in (st.worker.log, st.pubd.log):
                text = log.read_text()
                for part in t.split("."):
                    assert part not in text


def test_a_stream_ends_with_its_token_and_nothing_is_lost(st):
    with Visit(st, "channel=tok.exp&token=" + token(lives_s=2)) as v:
        assert v.opened
        sent = [st.publish("tok.exp", n) for n in range(5)]
        assert v.ends() == "auth_expired"
        got = v.data(5)
        last = v.events[-1].id or got[-1][0]
    sent += [st.publish("tok.exp", n) for n in range(5, 9)]
    with Visit(st, "channel=tok.exp&last_event_id=%s&token=%s" %
               (last, token())) as v:
        got += v.data(4)
    assert [id for id, _ in got] == sent, "each once, in order"


def test_a_stream_that_needs_no_token_does_not_outlive_it_either(st):
    with Visit(st, "channel=news&token=" + token(lives_s=1)) as v:
        assert v.opened and v.ends() == "auth_expired"


def test_a_new_key_counts_without_a_restart(ruled):
    st = ruled()
    fresh = "fedcba9876543210" * 3
    with Visit(st, "channel=tok.a&token=" + token(secret=fresh)) as v:
        assert v.status == 401
    put(st, "keys", fresh + "\n")

    def counts():
        with Visit(st, "channel=tok.a&token=" + token(secret=fresh)) as v:
            return v.opened
    wait_until(counts, what="the new key")


def test_without_keys_no_token_is_looked_at(ruled):
    st = ruled(token_keys="")
    with Visit(st, "channel=news&token=x") as v:
        assert v.opened
    with Visit(st, "channel=tok.a&token=" + token()) as v:
        assert v.status == 403


# ------------------------------------------------------------------------- HUP

def hup(st, text):
    put(st, "access.conf", text)
    st.worker.send_signal(1)


def test_who_loses_his_grant_ends_revoked_and_others_stay(ruled):
    st = ruled()
    with Visit(st, "channel=admin.x", REMOTE_USER="alice") as loses, \
            Visit(st, "channel=news,admin.x", REMOTE_USER="alice") as part, \
            Visit(st, "channel=news", REMOTE_USER="alice") as stays:
        assert loses.opened and part.opened and stays.opened
        hup(st, RULES.replace("user alice bob@", "user bob@"))
        assert loses.ends() == "revoked"
        assert part.ends() == "revoked"
        id = st.publish("news", "on")
        assert stays.data(1) == [(id, "on")]
        with Visit(st, "channel=admin.x", REMOTE_USER="alice") as v:
            assert v.status == 403


def test_two_thousand_streams_lose_their_grant_in_a_second(ruled):
    st = ruled(max_streams_per_address=0)
    conns = [Conn(st.sse_sock, request(query="channel=admin.x",
                                       REMOTE_USER="alice"))
             for _ in range(2000)]
    try:
        for c in conns:
            assert b"control.open" in c.record()[2]
        hup(st, RULES.replace("user alice bob@", "user bob@"))
        for c in conns:
            content = b""
            while b"control.close" not in content:
                type, _, content = c.record()
                assert type == STDOUT
            assert b'"reason":"revoked"' in content
        with Visit(st, "channel=news", REMOTE_USER="alice") as v:
            assert v.opened
    finally:
        for c in conns:
            c.close()


def test_a_broken_file_keeps_the_old_rules(ruled):
    st = ruled()
    with Visit(st, "channel=admin.x", REMOTE_USER="alice") as v:
        hup(st, "anyone read news\nnobody reads this\n")
        line = wait_until(lambda: [
            l for l in st.worker.log.read_text().splitlines()
            if "access.conf:2" in l])[0]
        assert "error" in line
        id = st.publish("admin.x", "on")
        assert v.data(1) == [(id, "on")]
        with Visit(st, "channel=admin.x", REMOTE_USER="alice") as w:
            assert w.opened


def test_a_broken_file_at_the_start_is_an_error(ruled):
    st = ruled()
    st.stop_worker()
    put(st, "access.conf", "anyone reads\n")
    with contextlib.suppress(Failed):  # it listens for a moment
        st.start_worker(0)
    assert st.worker.wait() != 0
    assert "access.conf:1" in st.worker.log.read_text()


# ------------------------------------------------------------------ revocation

def revoke(st, *args):
    out = st.walcast("revoke", *args)
    assert out.returncode == 0, out
    return out


def test_a_user_is_revoked_in_all_that_he_had(ruled):
    st = ruled()
    old = "channel=user.carol,tok.a&token=" + token(iat=int(time.time()) - 9)
    with Visit(st, old) as by_token, \
            Visit(st, "channel=user.carol", REMOTE_USER="carol") as by_name, \
            Visit(st, "channel=user.dave", REMOTE_USER="dave") as other:
        assert by_token.opened and by_name.opened and other.opened
        revoke(st, "--user", "carol")
        assert by_token.ends() == "revoked"
        assert by_name.ends() == "revoked"
        id = st.publish("user.dave", "on")
        assert other.data(1) == [(id, "on")]
    st.restart_worker()
    with Visit(st, old) as v:
        assert v.status == 401
    with Visit(st, "channel=user.carol", REMOTE_USER="carol") as v:
        assert v.opened, "the web server lets him in anew"
    fresh = token(iat=int(time.time()) + 2)
    with Visit(st, "channel=user.carol&token=" + fresh) as v:
        assert v.opened, "and this was given later"
    with Visit(st, "channel=tok.a&token=" + token(iat=None)) as v:
        assert v.status == 401, "who knows when this was given"


def test_a_token_is_revoked_by_its_jti(ruled):
    st = ruled()
    bad, good = token(jti="stolen"), token(jti="mine")
    with Visit(st, "channel=tok.a&token=" + bad) as ends, \
            Visit(st, "channel=tok.a&token=" + good) as stays:
        revoke(st, "--token", "stolen")
        assert ends.ends() == "revoked"
        for t, status in ((bad, 401), (good, 200)):
            with Visit(st, "channel=tok.a&token=" + t) as v:
                assert v.status == status
        id = st.publish("tok.a", "on")
        assert stays.data(1) == [(id, "on")]
    st.restart_worker()
    with Visit(st, "channel=news&token=" + bad) as v:
        assert v.status == 401, "nor with what anyone may read"


def test_one_stream_is_revoked_by_its_id(ruled):
    st = ruled()
    with Visit(st, "channel=news") as ends, Visit(st, "channel=news") as stays:
        revoke(st, "--stream", ends.headers["X-SSE-Stream"])
        assert ends.ends() == "revoked"
        id = st.publish("news", "on")
        assert stays.data(1) == [(id, "on")]


def test_who_is_revoked_on_his_way_in_gets_no_stream(ruled):
    st = ruled()
    raw = request(query="channel=user.carol", REMOTE_USER="carol")
    before = st.worker.fds()
    with Conn(st.sse_sock, raw[:-8]) as conn:
        wait_until(lambda: st.worker.fds() > before, what="the worker to wait "
                   "for the rest")
        st.worker.pause()
        try:
            conn.send(raw[-8:])
            revoke(st, "--user", "carol")
        finally:
            st.worker.resume()
        assert b'"reason":"revoked"' in conn.record()[2]


def test_a_revocation_reaches_no_client(ruled):
    st = ruled(RULES + "anyone read *\n")
    with Visit(st, "channel=*&last_event_id=earliest") as v:
        revoke(st, "--user", "nobody")
        id = st.publish("news", "after")
        assert v.data(1) == [(id, "after")]
        assert not any("revoke" in e.type for e in v.events)


def test_a_token_that_cannot_be_looked_up_opens_nothing(ruled):
    st = ruled(tail_poll_ms=10)
    wal = [p for p in st.var.iterdir() if p.name.startswith("events.db")]
    with Visit(st, "channel=tok.a&token=" + token()) as v:
        assert v.opened
        st.pubd.stop()
        away = st.mkdir(st.dir / "away")
        for p in wal:
            p.rename(away / p.name)
        wait_until(lambda: "cannot be read" in st.worker.log.read_text()
                   or "without the log" in st.worker.log.read_text(),
                   what="the worker to see it")
        with Visit(st, "channel=tok.a&token=" + token()) as w:
            assert w.status == 200 and w.reason == "overload", w.body


# --------------------------------------------------------------- the application

class App(threading.Thread):
    """What php-fpm is to a worker: answers with `answer(params)`, the head of a
    response; None: never."""

    def __init__(self, path, answer):
        super().__init__(daemon=True)
        self.answer, self.asked, self.held = answer, [], []
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(str(path))
        os.chmod(path, 0o666)
        self.sock.listen(64)
        self.start()

    def run(self):
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            self.serve(conn)

    def serve(self, conn):
        raw, params, id = conn.makefile("rb"), b"", 0
        while True:
            head = raw.read(8)
            if len(head) < 8:
                return
            _, type, id, size, pad, _ = struct.unpack("!BBHHBB", head)
            content = raw.read(size + pad)[:size]
            params += content if type == PARAMS else b""
            if type == STDIN and not content:
                break
        self.asked.append(params)
        head = self.answer(params)
        if head is None:
            self.held.append(conn)
            return
        conn.sendall(record(STDOUT, head.encode() + b"\r\n\r\n", id)
                     + record(STDOUT, b"", id) + record(END, bytes(8), id))
        conn.close()

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        for c in self.held:
            c.close()


YES = "Status: 200 OK\r\nX-Walcast-Channels: app.*\r\nX-Walcast-User: zoe"
NO = "Status: 403 Forbidden"


@pytest.fixture
def asked():
    """asked(answer, **config): a stack whose application answers so, and it."""
    made = []

    def make(answer, **config):
        st = Stack()
        made.append(st)
        app = App(st.dir / "app.sock", answer)
        made.append(app)
        begin(st, RULES + "app read app.*\n", authorizer="fcgi:%s:/auth.php" %
              (st.dir / "app.sock"), **config).start(metrics=False)
        return st, app

    yield make
    for m in made:
        m.close()


def by_cookie(params):
    return YES if b"session=good" in params else NO


GOOD, BAD = {"HTTP_COOKIE": "session=good"}, {"HTTP_COOKIE": "session=bad"}


@pytest.mark.parametrize("way", WAYS)
def test_the_application_decides(asked, way):
    st, app = asked(by_cookie)
    st.publish("news", "the first")
    id = st.publish("app.x", way)
    with Visit(st, WAYS[way].format("app"), **GOOD) as v:
        assert v.opened, v.body
        if "replay" in way or way == "last":
            v.until(id, way)
        v.until(st.publish("app.x", "live"), "live")
    with Visit(st, WAYS[way].format("app"), **BAD) as v:
        assert v.status == 403 and b"app." in v.body
    with Visit(st, "channel=app.x", method="HEAD", **BAD) as v:
        assert v.status == 403
    with Visit(st, "channel=app.x", method="HEAD", **GOOD) as v:
        assert v.status == 200
    n = len(app.asked)
    with Visit(st, "channel=news,admin.x", **GOOD) as v:
        assert v.status == 403 and len(app.asked) == n, "nothing to ask"


@pytest.mark.parametrize("answer", ["Status: 500 X", "nonsense", None])
def test_an_application_that_fails_is_told_in_band(asked, answer):
    st, _ = asked(lambda p: answer, authorizer_timeout_ms=200)
    with Visit(st, "channel=app.x", **GOOD) as v:
        assert v.status == 200 and v.reason == "overload"
    with Visit(st, "channel=news", **GOOD) as v:
        assert v.opened


def test_who_is_refused_when_asked_again_ends_revoked(asked):
    answers = [YES + "\r\nX-Walcast-Max-Age: 2"]
    st, app = asked(lambda p: answers.pop() if answers else NO)
    with Visit(st, "channel=app.x", **GOOD) as v:
        assert v.opened and v.ends() == "revoked"
        assert len(app.asked) == 2


def test_who_cannot_be_asked_about_again_ends_when_the_answer_is_old(asked):
    answers = [YES + "\r\nX-Walcast-Max-Age: 2"]
    st, _ = asked(lambda p: answers.pop() if answers else "Status: 500 X")
    with Visit(st, "channel=app.x", **GOOD) as v:
        assert v.opened and v.ends() == "overload"


def test_who_waits_for_the_application_hears_of_the_end(asked):
    st, app = asked(lambda p: None, authorizer_timeout_ms=1000)
    with Conn(st.sse_sock, request(query="channel=app.x", **GOOD)) as c:
        wait_until(lambda: app.asked, what="the question")
        st.worker.send_signal(15)
        assert b'"reason":"drain"' in c.record()[2]


def test_who_is_revoked_while_he_waits_gets_no_stream(asked):
    go = threading.Event()
    st, app = asked(lambda p: YES if go.wait(10) else None,
                    authorizer_timeout_ms=8000)
    with Conn(st.sse_sock, request(query="channel=app.x", REMOTE_USER="carol",
                                   **GOOD)) as c, \
            Visit(st, "channel=user.carol", REMOTE_USER="carol") as other:
        wait_until(lambda: app.asked, what="the question")
        revoke(st, "--user", "carol")
        assert other.ends() == "revoked", "the worker knows of it"
        go.set()
        assert b'"reason":"revoked"' in c.record()[2]


# ------------------------------------------------------------------ not set

def test_while_access_is_not_set_all_is_open_and_said_once(make_stack):
    st = make_stack(metrics=False)
    for params in ({}, {"REMOTE_USER": "eve"},
                   {"HTTP_AUTHORIZATION": "Bearer x"}):
        with Visit(st, "channel=admin.x&token=%zz", **params) as v:
            assert v.opened, v.body
    text = st.worker.log.read_text()
    assert text.count("`access` is not set") == 1


def test_a_preflight_is_nobody_s(ruled):
    st = ruled(allow_origin="https://example.com")
    with Visit(st, "channel=admin.x", method="OPTIONS",
               HTTP_ORIGIN="https://example.com") as v:
        assert v.status == 204
        assert "Authorization" in v.headers["Access-Control-Allow-Headers"]


def test_a_core_of_a_worker_holds_no_memory(st):
    """Tokens, cookies and keys are in it."""
    proc = pathlib.Path("/proc/%d" % st.worker.pid)
    assert int((proc / "coredump_filter").read_text(), 16) == 0
    limit = [l.split() for l in (proc / "limits").read_text().splitlines()
             if l.startswith("Max core file size")][0]
    assert limit[4] == "0", limit
