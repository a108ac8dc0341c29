# SPDX-License-Identifier: MIT
"""What the application says a visitor may read: a real php-fpm, healthy and
not, and a site with PHP sessions in Chromium."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

from browser import CHROMIUM, Browser
from fcgi import STDOUT, Conn, request
from harness import ROOT, RUN_AS, Failed, Stack, can_connect, wait_until
from sse import Parser

FPM = next((p for p in map(
    shutil.which, ("php-fpm", "php-fpm8.2", "/usr/sbin/php-fpm8.2",
                   "php-fpm8.4", "/usr/sbin/php-fpm8.4")) if p), None)
EXAMPLES = ROOT / "docs" / "examples" / "php"
pytestmark = pytest.mark.skipif(not FPM,
                                reason="no php-fpm: tests/deps.sh check")

RULES = """
anyone  read  news
app     read  user.* shop.*
uid 0 %d  publish,revoke  *
""" % (RUN_AS.pw_uid if RUN_AS else 0)

# Who it is stands in the cookie; every call leaves a line.
APP = """<?php
file_put_contents(%(calls)s, json_encode([$_SERVER['HTTP_COOKIE'] ?? '',
    $_SERVER['HTTP_AUTHORIZATION'] ?? '', $_SERVER['REMOTE_ADDR'],
    $_SERVER['HTTP_X_WALCAST_CHANNELS'], $_SERVER['QUERY_STRING']]) . "\\n",
    FILE_APPEND | LOCK_EX);
$mode = trim(file_get_contents(%(mode)s));
if ($mode === 'slow') sleep(20);
if ($mode === 'error') { http_response_code(500); exit; }
if ($mode === 'nonsense') { header('X-Walcast-Channels: not a channel!'); exit; }
if ($mode === 'huge') { for ($i = 0; $i < 40; $i++) header("X-$i: " . str_repeat('x', 1000)); exit; }
if ($mode === 'exit') { posix_kill(getmypid(), 9); }
if ($mode === 'redirect') { header('Location: /login', true, 302); exit; }
$who = $_COOKIE['sid'] ?? '';
if ($who === '' || $mode === 'refuse') { http_response_code(403); exit; }
header("X-Walcast-Channels: user.$who user.$who.*,");
header('X-Walcast-Channels: shop.all', false);
header("X-Walcast-User: $who");
header('X-Walcast-Max-Age: ' . ($mode === 'short' ? 2 : 60));
"""


class App:
    """php-fpm with one script; `mode` says how it behaves."""

    def __init__(self, st):
        self.st = st
        self.dir = st.mkdir(st.dir / "app")
        self.sock = self.dir / "fpm.sock"
        self.calls_file = self.dir / "calls"
        self.mode_file = self.dir / "mode"
        self.script = self.dir / "auth.php"
        st.write(self.script, APP % dict(
            calls=json.dumps(str(self.calls_file)),
            mode=json.dumps(str(self.mode_file))))
        st.write(self.calls_file, "")
        self.mode("fine")
        user = "user = www-data\ngroup = www-data\n" if RUN_AS else ""
        st.write(self.dir / "fpm.conf", """[global]
error_log = %(dir)s/fpm.log
daemonize = no
[www]
%(user)slisten = %(dir)s/fpm.sock
listen.mode = 0666
pm = static
pm.max_children = 4
clear_env = yes
env[WALCAST_SOCKET] = %(pubd)s
php_admin_value[session.save_path] = %(dir)s
""" % dict(dir=self.dir, user=user, pubd=st.pubd_sock))
        self.start()

    def start(self):
        self.proc = self.st.spawn("php-fpm", [
            FPM, "-y", self.dir / "fpm.conf"] + (["-R"] if os.getuid() == 0
                                                 and not RUN_AS else []),
            run_as=None)
        wait_until(lambda: can_connect(str(self.sock)), 10, "php-fpm")

    def mode(self, word):
        self.st.write(self.mode_file, word)

    @property
    def calls(self):
        return [json.loads(l)
                for l in self.calls_file.read_text().splitlines()]


@pytest.fixture
def site():
    """(stack, app): a worker that asks the app; short times."""
    def make(**config):
        st = Stack()
        made.append(st)
        st.mkdir(st.var)
        app = App(st)
        access = st.dir / "access.conf"
        access.write_text(RULES)
        conf = dict(access=access, retry_ms=300, heartbeat_ms=500,
                    authorizer="fcgi:%s:%s" % (app.sock, app.script),
                    authorizer_timeout_ms=1500)
        conf.update(config)
        st.configure(**conf)
        st.start(metrics=False)
        return st, app
    made = []
    yield make
    for st in made:
        st.close()


class Visit:
    """One request to the worker; what has come of its answer."""

    def __init__(self, st, channel, sid=None, last_id=None, **params):
        cookie = {"HTTP_COOKIE": "sid=" + sid} if sid else {}
        if last_id:
            cookie["HTTP_LAST_EVENT_ID"] = str(last_id)
        self.conn = Conn(st.sse_sock, request(
            query="&".join("channel=" + c for c in channel.split(",")),
            REMOTE_ADDR="192.0.2.1", **cookie, **params))
        self.parser = Parser()
        self.head = None
        self.body = b""
        self.ended = False

    def pump(self, timeout=10):
        try:
            type, _, content = self.conn.record(timeout)
        except EOFError:
            self.ended = True
            return
        if type != STDOUT:
            return
        if self.head is None:
            head, _, content = content.partition(b"\r\n\r\n")
            self.head = head.decode()
        self.body += content
        self.parser.feed(content)

    def outcome(self, timeout=10):
        """"open", a reason of control.close, or a status."""
        while self.head is None:
            self.pump(timeout)
        status = int(self.head.split()[1])
        if status != 200:
            return status
        while not self.parser.events:
            self.pump(timeout)
        e = self.parser.events[0]
        return "open" if e.type == "control.open" else \
            json.loads(e.data)["reason"]

    def reason(self, timeout=15):
        """Waits for control.close."""
        deadline = time.monotonic() + timeout
        while True:
            for e in self.parser.events:
                if e.type == "control.close":
                    return json.loads(e.data)["reason"]
            if self.ended or time.monotonic() > deadline:
                raise Failed("no control.close")
            self.pump(max(0.1, deadline - time.monotonic()))


def visit(st, channel, sid=None, **kw):
    return Visit(st, channel, sid, **kw).outcome()


def test_the_application_decides(site):
    st, app = site()
    assert visit(st, "news") == "open"
    assert app.calls == [], "no line needs it"
    assert visit(st, "user.alice", "alice") == "open"
    assert visit(st, "user.alice.*", "alice") == "open"
    assert visit(st, "user.alice,shop.all,news", "alice") == "open"
    assert visit(st, "user.bob", "alice") == 403
    assert visit(st, "user.*", "alice") == 403
    assert visit(st, "user.alice,user.bob", "alice") == 403
    assert visit(st, "user.alice") == 403
    assert visit(st, "other", "alice") == 403, "no line lets it decide that"
    cookie, authorization, address, channels, query = app.calls[0]
    assert (cookie, address, channels) == (
        "sid=alice", "192.0.2.1", "user.alice")
    assert query == "channel=user.alice"
    assert all("other" not in c[3] for c in app.calls)


def test_replay_is_judged_as_live(site):
    st, app = site()
    first = st.publish("user.bob", "secret")
    assert Visit(st, "user.bob", "alice", last_id=first).outcome() == 403
    assert visit(st, "user.bob,user.alice", "alice") == 403
    assert Visit(st, "user.bob", "bob", last_id=first - 1
                 if first > 1 else "earliest").outcome() == "open"


def test_a_thousand_clients_ask_once(site):
    st, app = site(max_streams=5000)
    all = [Visit(st, "user.alice", "alice") for _ in range(1000)]
    assert {v.outcome(20) for v in all} == {"open"}
    assert len(app.calls) == 1
    other = [Visit(st, "user.bob", "bob") for _ in range(50)]
    assert {v.outcome(20) for v in other} == {"open"}
    assert len(app.calls) == 2


def test_an_answer_is_not_for_another_credential(site):
    st, app = site()
    assert visit(st, "user.alice", "alice") == "open"
    assert visit(st, "user.alice", "bob") == 403
    assert visit(st, "user.alice") == 403
    assert visit(st, "user.alice", "alice",
                 HTTP_AUTHORIZATION="Basic x") == "open"
    assert len(app.calls) == 4


@pytest.mark.parametrize("mode", ["slow", "error", "nonsense", "huge", "exit",
                                  "redirect"])
def test_who_gets_no_good_answer_is_told_to_come_back(site, mode):
    st, app = site()
    with_stream = Visit(st, "user.carol", "carol")
    assert with_stream.outcome() == "open"
    app.mode(mode)
    assert visit(st, "user.alice", "alice") == "overload"
    assert visit(st, "news") == "open", "whom it does not concern"
    id = st.publish("user.carol", "still there")
    while not any(e.id == str(id) for e in with_stream.parser.events):
        with_stream.pump()
    app.mode("fine")
    wait_until(lambda: visit(st, "user.alice", "alice") == "open", 20,
               "the application is asked again", step=0.3)


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_an_application_that_is_stopped_or_killed(site, how):
    st, app = site()
    running = Visit(st, "user.carol", "carol")
    assert running.outcome() == "open"
    if how == signal.SIGKILL:
        app.proc.kill_all()
    else:
        for pid in app.proc.tree():
            os.kill(pid, how)
    assert visit(st, "user.alice", "alice") == "overload"
    assert visit(st, "news") == "open"
    id = st.publish("user.carol", "still there")
    while not any(e.id == str(id) for e in running.parser.events):
        running.pump()
    if how == signal.SIGKILL:
        app.start()
    else:
        for pid in app.proc.tree():
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: visit(st, "user.alice", "alice") == "open", 20,
               "it is asked again", step=0.3)


def test_a_running_stream_stays_until_its_age_ends(site):
    st, app = site()
    app.mode("short")
    v = Visit(st, "user.alice", "alice")
    assert v.outcome() == "open"
    wait_until(lambda: len(app.calls) >= 3, 20, "it is asked about again")
    assert not any(e.type == "control.close" for e in v.parser.events)
    app.mode("error")
    assert v.reason() == "overload"


def test_a_running_stream_ends_when_the_application_says_no(site):
    st, app = site()
    app.mode("short")
    v, w = Visit(st, "user.alice", "alice"), Visit(st, "news")
    assert (v.outcome(), w.outcome()) == ("open", "open")
    app.mode("refuse")
    assert v.reason() == "revoked"
    assert visit(st, "user.alice", "alice") == 403
    id = st.publish("news", 1)
    while not any(e.id == str(id) for e in w.parser.events):
        w.pump()


def test_a_revoked_user_is_asked_about_anew(site):
    st, app = site()
    v = Visit(st, "user.alice", "alice")
    assert v.outcome() == "open"
    st.walcast("revoke", "--user", "alice", check=True)
    assert v.reason() == "revoked"
    n = len(app.calls)
    assert visit(st, "user.alice", "alice") == "open"
    assert len(app.calls) == n + 1, "the old answer is forgotten"


def test_no_credential_is_in_a_log(site):
    st, app = site()
    app.mode("error")
    assert visit(st, "user.alice", "topsecretcookie",
                 HTTP_AUTHORIZATION="Basic dG9wOnNlY3JldA==") == "overload"
    logs = st.logs(100000)
    assert "does not answer as it should" in logs
    assert "topsecretcookie" not in logs and "dG9wOnNlY3JldA" not in logs


def test_many_questions_at_once_are_bounded(site):
    st, app = site(authorizer_max=2)
    app.mode("slow")
    visits = [Visit(st, "user.u%d" % n, "u%d" % n) for n in range(100)]
    assert visit(st, "news") == "open"
    assert {v.outcome(20) for v in visits} == {"overload"}
    assert len(app.calls) <= 2 + 2


# ---- a site with sessions ---------------------------------------------------------

@pytest.mark.skipif("WALCAST_NO_BROWSER" in os.environ or not CHROMIUM,
                    reason="no Chromium, or WALCAST_NO_BROWSER is set")
def test_two_users_of_a_site_with_php_sessions(site, tmp_path):
    st, app = site(heartbeat_ms=1000)
    web = st.front("lighttpd", extra="""
fastcgi.server += ( ".php" => (( "socket" => "%s" )) )
""" % app.sock)
    for f in EXAMPLES.glob("*.php"):
        web.put(f.name, f.read_text())
    st.configure(authorizer="fcgi:%s:%s" % (app.sock,
                                            web.docroot / "authorize.php"))
    st.restart_worker()
    browsers = []
    try:
        pages = {}
        for user in ("alice", "bob.o'neil@example.com"):
            dir = tmp_path / user.split(".")[0]
            dir.mkdir()
            browsers.append(Browser(dir))
            page = browsers[-1].page(web.url + "/index.html")
            page.eval("""fetch("/login.php", {method: "POST", body:
                new URLSearchParams({user: %s})})
                .then(() => { location = "/page.php"; })""" % json.dumps(user))
            page.until("document.title == 'page' && "
                       "document.body.innerText.includes('open')")
            pages[user] = page
        st.publish("user.alice", "for alice")
        st.publish("user.bob%2Eo%27neil@example%2Ecom", "for bob")
        st.publish("user.bob", "for another bob")
        for user, page in pages.items():
            page.until("events.innerText.includes('for ')")
            wanted = "for " + user[:5].split(".")[0]
            assert page.eval("events.innerText").split("\n") == [
                "open", wanted, ""], user
        alice, bob = pages.values()
        # Another's channel by hand.
        assert alice.eval("""fetch("/sse.fcgi?channel=" + encodeURIComponent(
            "user.bob%2Eo%27neil@example%2Ecom")).then(r => r.status)""") \
            == 403
        started = time.monotonic()
        alice.eval("fetch('/logout.php').then(r => r.status)")
        alice.until("events.innerText.includes('close revoked')", timeout=2)
        assert time.monotonic() - started < 30
        alice.until("events.innerText.includes('refused')")
        st.publish("user.alice", "for nobody")
        st.publish("user.bob%2Eo%27neil@example%2Ecom", "more for bob")
        bob.until("events.innerText.includes('more for bob')")
        assert "nobody" not in alice.eval("events.innerText")
    finally:
        for b in browsers:
            b.close()
