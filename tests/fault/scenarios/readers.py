# SPDX-License-Identifier: MIT
"""What a visitor reads whom the rules of access allow some channels."""

import base64
import hashlib
import hmac
import json
import time

import fcgi
import jwt
from fcgi import STDOUT
from harness import RUN_AS, wait_until
from scenario import scenario
from scenarios.continuity import SMALL
from sse import Parser

SECRET = "0123456789abcdef0123456789abcdef"
ADMINS = "user alice read admin.*\n"
RULES = """anyone read news public.*
env TENANT read tenant.$value_label.*
token read tok.*
user auditor read *
uid 0 %d publish,revoke *
""" % (RUN_AS.pw_uid if RUN_AS else 0)
ALICE = {"REMOTE_USER": "alice"}


def token(secret=SECRET, lives_s=600, **claims):
    now = int(time.time())
    return jwt.encode(dict({"exp": now + lives_s, "iat": now - 5, "sub": "carol",
                            "jti": "j", "aud": "us",
                            "walcast": {"read": ["tok.*"]}},
                           **claims), secret, algorithm="HS256")


def by_hand(header, payload, digest=hashlib.sha256):
    """What no library would sign."""
    def part(b):
        return base64.urlsafe_b64encode(b).rstrip(b"=")
    text = part(header.encode()) + b"." + part(payload.encode())
    mac = hmac.new(SECRET.encode(), text, digest).digest()
    return (text + b"." + part(mac)).decode()


def unbelievable():
    """Tokens that are signed with our key, and what is wrong with them."""
    rest = '"aud":"us","walcast":{"read":["tok.*"]}}'
    far, hs256 = int(time.time()) + 600, '{"alg":"HS256"}'
    return [
        ("that never ends", by_hand(hs256, "{" + rest)),
        ("whose end is a text", by_hand(hs256, '{"exp":"%d",%s' % (
            far, rest))),
        ("with two ends", by_hand(hs256, '{"exp":1,"exp":%d,%s' % (
            far, rest))),
        ("that is not yet good", by_hand(hs256, '{"exp":%d,"nbf":%d,%s' % (
            far, far - 100, rest))),
        ("for others", by_hand(hs256, '{"exp":%d,%s' % (
            far, rest.replace('"us"', '"them"')))),
        ("for nobody", by_hand(hs256, '{"exp":%d,%s' % (
            far, rest.replace('"aud":"us",', "")))),
        ("with another algorithm than the key's", by_hand(
            '{"alg":"HS512"}', '{"exp":%d,%s' % (far, rest),
            hashlib.sha512)),
        ("with no algorithm", by_hand('{"alg":"none"}', '{"exp":%d,%s' % (
            far, rest))),
        ("with an extension", by_hand(
            '{"alg":"HS256","crit":["x"],"x":1}', '{"exp":%d,%s' % (
                far, rest)))]


def bearer(text):
    return {"HTTP_AUTHORIZATION": "Bearer " + text}


class Reader(fcgi.Conn):
    """A request; `said` is its status, or why it was closed at once."""

    def __init__(self, st, query, extra=(), **params):
        raw = fcgi.params(query=query, **params) + b"".join(
            fcgi.pair(*p) for p in extra)
        super().__init__(st.sse_sock, fcgi.record(
            fcgi.BEGIN, b"\0\1\0\0\0\0\0\0") + fcgi.record(fcgi.PARAMS, raw)
            + fcgi.record(fcgi.PARAMS) + fcgi.record(fcgi.STDIN))
        head, _, body = self.record()[2].partition(b"\r\n\r\n")
        self.status = int(head.split()[1])
        self.parser = Parser()
        self.parser.feed(body if self.status == 200 else b"")

    @property
    def closed(self):
        return next((json.loads(e.data)["reason"] for e in self.parser.events
                     if e.type == "control.close"), None)

    @property
    def said(self):
        return self.closed or self.status

    def closes(self, timeout=5):
        """Why it is closed within that time; None: it goes on."""
        deadline = time.monotonic() + timeout
        while self.closed is None and time.monotonic() < deadline:
            try:
                type, _, content = self.record(deadline - time.monotonic())
            except (TimeoutError, EOFError):
                break
            if type == STDOUT:
                self.parser.feed(content)
        return self.closed


def asks(run, st, want, query, what, extra=(), **params):
    with Reader(st, query, extra, **params) as r:
        run.check(r.said == want, "%s: %r, not %r" % (what, r.said, want))


def only_what_is_allowed(run, st):
    asks(run, st, 200, "channel=admin.x", "who may", **ALICE)
    for query in ("channel=admin.x", "channel=news,admin.x", "channel=*",
                  "channel=publi*", "channel=admin.x&last_event_id=earliest",
                  "channel=admin.x&last=9"):
        asks(run, st, 403, query, "a stranger with " + query)
    asks(run, st, 403, "channel=admin.x", "a stranger's HEAD", method="HEAD")
    asks(run, st, 403, "channel=admin.x", "a header for a name",
         HTTP_REMOTE_USER="alice")
    asks(run, st, 403, "channel=tenant.a.x", "two values of a variable",
         extra=(("TENANT", "a"), ("TENANT", "b")))


def tokens(run, st):
    asks(run, st, 200, "channel=tok.x", "a good token", **bearer(token()))
    for channel in ("tok.x", "news"):
        asks(run, st, 401, "channel=" + channel, "a forged token",
             **bearer(token("x" * 32)))
    for what, text in unbelievable():
        asks(run, st, 401, "channel=tok.x", "a token " + what, **bearer(text))
    asks(run, st, "auth_expired", "channel=tok.x", "an expired token",
         **bearer(token(lives_s=-90)))
    asks(run, st, 401, "channel=tok.x", "two tokens of one cookie",
         HTTP_COOKIE="walcast_token=%s; walcast_token=%s" % (
             token(jti="k"), token()))
    with Reader(st, "channel=tok.x", **bearer(token(lives_s=1))) as r:
        run.check(r.closes() == "auth_expired", "it outlives its token")


def revoked(run, st):
    with Reader(st, "channel=tok.x", **bearer(token(sub="eve"))) as r:
        run.check(r.said == 200, "eve's token is good")
        st.walcast("revoke", "--user", "eve")
        run.check(r.closes() == "revoked", "who was revoked reads on")
    asks(run, st, 401, "channel=tok.x", "a token of who was revoked",
         **bearer(token(sub="eve")))
    st.walcast("revoke", "--token", "frank")
    asks(run, st, 200, "channel=tok.x", "who is called as a token was",
         **bearer(token(sub="frank")))
    nobody_is_sent_it(run, st)


def nobody_is_sent_it(run, st):
    """Out of the log, and live."""
    with Reader(st, "channel=*&last_event_id=earliest",
                REMOTE_USER="auditor") as r:
        st.walcast("revoke", "--user", "nobody")
        last = str(st.publish("news", "the last"))
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and \
                not any(e.id == last for e in r.parser.events):
            type, _, content = r.record(deadline - time.monotonic())
            if type == STDOUT:
                r.parser.feed(content)
        run.check(not any(e.type == "revoke" for e in r.parser.events),
                  "a revocation was sent to a reader")


def rules_go(run, st):
    with Reader(st, "channel=news,admin.x", **ALICE) as r:
        write(st, "access.conf", RULES)
        st.worker.send_signal(1)
        run.check(r.closes() == "revoked", "who may no longer read reads on")
    write(st, "access.conf", RULES + ADMINS)


def nobody_knows(run, st):
    """The log is away, so that no token can be looked up."""
    st.pubd.stop()
    files = [p for p in st.var.iterdir() if p.name.startswith("events.db")]
    for p in files:
        p.rename(st.dir / p.name)
    wait_until(lambda: "without the log" in st.worker.log.read_text()
               or "cannot be read" in st.worker.log.read_text(),
               what="the worker to see that the log is away")
    asks(run, st, "overload", "channel=tok.x", "a token that nobody can look "
         "up", **bearer(token()))
    for p in files:
        (st.dir / p.name).rename(p)


def write(st, name, text):
    (st.dir / name).write_text(text)
    (st.dir / name).chmod(0o644)


@scenario("reader-without-rights", tags="security", fronts=("lighttpd",),
          short=True, rounds=1)
def reader_without_rights(run):
    """Visitors whom the rules of access allow some channels: nobody reads
    others, however he asks, with a token that is forged, has ended or was
    revoked, or after the rules have changed."""
    st = run.stack(config=dict(SMALL, tail_poll_ms=10), workers=0, pubd=False)
    st.configure(access=st.dir / "access.conf", token_keys=st.dir / "keys",
                 token_audience="us")
    write(st, "access.conf", RULES + ADMINS)
    write(st, "keys", SECRET + "\n")
    for _ in run.each_round():
        st.restart_pubd()
        st.start_worker(0 if st.workers else None)
        st.publish("admin.x", "secret")
        only_what_is_allowed(run, st)
        tokens(run, st)
        revoked(run, st)
        rules_go(run, st)
        nobody_knows(run, st)
        st.stop_worker()
