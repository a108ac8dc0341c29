# SPDX-License-Identifier: MIT
"""Tokens that end while a page reads: a plain EventSource with a cookie and
the JavaScript client with `token`, on real servers."""

import json
import os

import pytest

from browser import CHROMIUM, Browser
from harness import Stack, wait_until
from test_access import SECRET, begin, token
from webclient import Chromium, Consumer

no_browser = pytest.mark.skipif(
    "WALCAST_NO_BROWSER" in os.environ, reason="WALCAST_NO_BROWSER is set")
RULES = """
token     read     tok.*
uid 0 %d  publish  *
""" % os.geteuid()
LIVES_S = 2
ROUNDS = 3

# A site's script: a token that lives so many seconds, as text and as a cookie.
MINT = """#!/usr/bin/python3
import os, time, uuid
import jwt

now = int(time.time())
token = jwt.encode({"sub": "carol", "iat": now, "jti": str(uuid.uuid4()),
    "exp": now + int(os.environ["QUERY_STRING"]),
    "walcast": {"read": ["tok.*"]}}, "%s", algorithm="HS256")
print("Content-Type: text/plain\\nCache-Control: no-store\\n"
      "Set-Cookie: walcast_token=%%s; Path=/; HttpOnly; SameSite=Strict\\n"
      "\\n%%s" %% (token, token), end="")
""" % SECRET

PAGE = """<!doctype html><title>cookie</title><link rel="icon" href="data:,">
<script>
const seen = { ids: [], opens: 0, closes: [], closed: false };
fetch('/mint.cgi?-3600').then(() => {
	const source = new EventSource('/sse.fcgi?channel=tok.a');
	source.onmessage = (e) => seen.ids.push(Number(e.lastEventId));
	source.onerror = () => { seen.closed = source.readyState === 2; };
	source.addEventListener('control.open', () => seen.opens++);
	source.addEventListener('control.close', (e) => {
		seen.closes.push(JSON.parse(e.data).reason);
		fetch('/mint.cgi?%d');
	});
});
</script>
""" % LIVES_S


@pytest.fixture
def site():
    """(stack, web server): a site that mints tokens."""
    with Stack() as st:
        begin(st, RULES, retry_ms=200).start(metrics=False)
        web = st.front("lighttpd")
        web.put("mint.cgi", MINT, 0o755)
        yield st, web


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    b = Chromium(tmp_path_factory.mktemp("chromium"))
    yield b
    b.close()


def publish_until(st, true):
    """Events without a pause; returns their ids."""
    sent = []

    def step():
        sent.append(st.publish("tok.a", len(sent)))
        return true()

    wait_until(step, 60, "streams that end")
    return sent


def ends(log):
    return [e["reason"] for e in log.of("close")]


# ---------------------------------------------------------------- a cookie

@no_browser
def test_an_eventsource_with_a_cookie_that_expires_loses_nothing(site,
                                                                 tmp_path):
    assert CHROMIUM, "Chromium is needed: tests/deps.sh check"
    st, web = site
    web.put("cookie.html", PAGE)
    browser = Browser(tmp_path)
    try:
        page = browser.page(web.url + "/cookie.html")
        # Its first cookie is an hour too old: told in-band, not by a status.
        page.until("seen.opens === 1 && seen.closes.length >= 1",
                   show="JSON.stringify(seen)")
        told = page.eval("seen.closes.length")
        sent = publish_until(st, lambda: page.eval(
            "seen.opens") > ROUNDS)
        page.until("seen.ids.at(-1) === %d" % sent[-1],
                   show="JSON.stringify(seen)")
        seen = page.eval("seen")
    finally:
        browser.close()
    assert seen["ids"] == sent
    assert set(seen["closes"]) == {"auth_expired"} and not seen["closed"]
    assert len(seen["closes"]) >= told + ROUNDS


# ---------------------------------------------------------------- the client

def judge(log, sent):
    log.until_id(sent[-1])
    assert log.ids() == sent
    assert set(ends(log)) == {"auth_expired"}
    assert log.alarms() == []


def outlive(st, log):
    log.until_open()
    sent = publish_until(st, lambda: len(ends(log)) >= ROUNDS and
                         len(log.opens()) > ROUNDS)
    judge(log, sent)
    assert len(log.of("mint")) > ROUNDS
    # Of each stream one, and one more for what was told in-band.
    assert len(log.of("mint")) <= len(log.opens()) + len(ends(log))


def test_a_consumer_outlives_its_tokens(site):
    st, web = site
    log = Consumer(st, web.url + "/sse.fcgi", channels="tok.a",
                   mint="/mint.cgi?%d" % LIVES_S)
    outlive(st, log)
    assert log.of("error") == []


@no_browser
@pytest.mark.parametrize("transport", ["auto", "eventsource"])
def test_a_page_outlives_its_tokens(site, chromium, transport):
    st, web = site
    tab = chromium.tab(web, "tokens " + transport, channels="tok.a",
                       transport=transport, mint="/mint.cgi?%d" % LIVES_S,
                       credentials="omit")
    outlive(st, tab)


@no_browser
def test_tabs_that_share_outlive_their_leaders_tokens(site, chromium):
    st, web = site
    tabs = [chromium.tab(web, "shared tokens", channels="tok.a", shared=True,
                         mint="/mint.cgi?%d" % LIVES_S, credentials="omit")
            for _ in range(2)]
    for tab in tabs:
        tab.until_open()
    sent = publish_until(st, lambda: all(len(t.opens()) > ROUNDS
                                         for t in tabs))
    for tab in tabs:
        tab.until_id(sent[-1])
        assert tab.ids() == sent
        assert tab.alarms() == []


# ---------------------------------------------------------------- refusals

def refused(st, web, tokens, channels="tok.a"):
    """What a consumer with these tokens ends with: (errors, log)."""
    log = Consumer(st, web.url + "/sse.fcgi", channels=channels,
                   tokens=tokens)
    log.until(lambda l: any(e["to"] == "closed"
                            for e in l.of("stateChange")))
    return log.of("error"), log


def test_a_forged_token_gets_one_fresh_one_then_it_is_final(site):
    st, web = site
    bad = token(secret="f" * 32)
    errors, _ = refused(st, web, [bad, bad, token()])
    assert [(e["status"], e["fatal"]) for e in errors] == [(401, False),
                                                           (401, True)]
    assert "token" in errors[1]["message"]
    log = Consumer(st, web.url + "/sse.fcgi", channels="tok.a",
                   tokens=[bad, token()])
    log.until_open()


def test_a_refused_channel_is_named_in_the_error(site):
    st, web = site
    errors, log = refused(st, web, [token(), token()], "other.b")
    assert [(e["status"], e["fatal"]) for e in errors] == [(403, True)]
    assert '"other.b"' in errors[0]["message"]


def test_a_revoked_token_gets_one_fresh_one(site):
    st, web = site
    log = Consumer(st, web.url + "/sse.fcgi", channels="tok.a", tokens=[
        token(jti="one"), token(jti="two")])
    log.until_open()
    sent = [st.publish("tok.a", 1)]
    log.until_id(sent[0])
    assert st.walcast("revoke", "--token", "one").returncode == 0
    sent.append(st.publish("tok.a", 2))
    log.until_open(2)
    log.until_id(sent[1])
    assert log.ids() == sent and ends(log) == ["revoked"]


def test_names_with_all_their_signs_come_through_a_web_server(site):
    st, web = site
    names = ["tok.a@b.c", "tok.100%25", "tok.~x", "tok.a+b", "tok.k=v"]
    log = Consumer(st, web.url + "/sse.fcgi", channels=names,
                   tokens=[token()])
    log.until_open()
    sent = [st.publish(name, 1) for name in names]
    log.until_id(sent[-1])
    assert [e["channel"] for e in log.of("event")] == names


# ---------------------------------------------------------------- two origins

# Apache keeps Authorization to itself unless it is told.
PASS_TOKENS = """
<Location "/sse.fcgi">
	CGIPassAuth On
</Location>
"""

ELSEWHERE = """(() => {
	document.cookie = 'walcast_token=%s';
	return fetch('%s', { credentials: '%s', headers: %s }).then((r) => {
		r.body.cancel();
		return r.status;
	}).catch(String);
})()"""


@no_browser
@pytest.mark.parametrize("allow, bearer, cookie", [
    ("{0}", 200, 200), ("https://a.example, {0}", 200, 200),
    ("*", 200, None), ("https://a.example", None, None)])
def test_a_token_crosses_origins_where_its_origin_is_listed(
        tmp_path, allow, bearer, cookie):
    """What is None the browser refuses.  A forged one is refused by a status
    that the page can read."""
    browser = Browser(tmp_path)
    try:
        with Stack() as st:
            begin(st, RULES).start(metrics=False)
            page_at = st.front("lighttpd")
            url = st.front("apache-proxy", extra=PASS_TOKENS).url + \
                "/sse.fcgi?channel=tok.a"
            st.configure(allow_origin=allow.format(page_at.url))
            st.restart_worker()
            page = browser.page(page_at.url + "/index.html")
            page.until("document.body.textContent.includes('page')")

            def ask(in_cookie, credentials, headers):
                got = page.eval(ELSEWHERE % (in_cookie, url, credentials,
                                             json.dumps(headers)))
                return got if isinstance(got, int) else None

            def bearing(t):
                return {"Authorization": "Bearer " + t}

            bad = token(secret="f" * 32)
            assert ask("", "omit", bearing(token())) == bearer
            assert ask("", "omit", bearing(bad)) == (bearer and 401)
            assert ask(token(), "include", {}) == cookie
            assert ask(bad, "include", {}) == (cookie and 401)
            assert ask(token(), "omit", {}) == (bearer and 403)
    finally:
        browser.close()


@pytest.mark.parametrize("sent, status", [
    (token(), 200), (token(-3600), 200), (token(secret="f" * 32), 401),
    (None, 403)], ids=["good", "expired", "forged", "none"])
def test_each_answer_tells_a_listed_origin_alone_what_it_may_read(
        sent, status):
    origin = "https://app.example"
    with Stack() as st:
        begin(st, RULES, allow_origin=origin).start(metrics=False)
        web = st.front("lighttpd")
        for whose, listed in ((origin, True), (origin + ".evil", False)):
            headers = {"Origin": whose}
            if sent:
                headers["Authorization"] = "Bearer " + sent
            with web.stream({"channel": "tok.a"}, headers=headers) as s:
                assert s.status == status
                got = {k.lower(): v for k, v in s.headers.items()}
            assert "Origin" in got["vary"]
            assert got.get("access-control-allow-origin") == (
                origin if listed else None)
            assert got.get("access-control-allow-credentials") == (
                "true" if listed else None)
