# SPDX-License-Identifier: MIT
"""What the documents tell people to write, run as it stands there: the blocks
of README.md and client/README.md, with this stack's paths."""

import contextlib
import fnmatch
import os
import re
import sqlite3
import statistics
import subprocess
import time

import pytest

from harness import KINDS, ROOT, Proc, free_port, wait_until
from sse import Ended, Stream
from test_sql import as_user

RUN = {
    "php": ["php", "-d", "display_errors=stderr"],
    "perl": ["perl", "-w", "-Mstrict"],
    "python": ["/usr/bin/python3"],
}
SOCKET, SQL = "pubd.sock", "events.db"
ROW = "SELECT channel, event, data FROM events ORDER BY id DESC LIMIT 1"


def blocks(language, *containing, file="README.md"):
    text = (ROOT / file).read_text()
    found = re.findall(r"^```%s\n(.*?)^```$" % language, text, re.S | re.M)
    return [b for b in found if all(c in b for c in containing)]


def block(language, *containing, file="README.md"):
    """The only one of this language that has these words."""
    one, = blocks(language, *containing, file=file)
    return one


def run(st, language, text, timeout=30, **kw):
    """(status, output, what it said on standard error)"""
    text = text.replace("/run/walcast", str(st.run)).replace(
        "/var/lib/walcast", str(st.var))
    name = "block." + language
    st.write(st.dir / name, text)
    done = subprocess.run(
        [*RUN[language], str(st.dir / name)], cwd=st.dir, timeout=timeout,
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
        **as_user(), **kw)
    return done.returncode, done.stdout, done.stderr


def newest(st):
    with sqlite3.connect(st.db) as db:
        return db.execute(ROW).fetchone()


# ---------------------------------------------------------------- publishers

@pytest.mark.parametrize("language, row", [
    ("php", ("orders", "created", '{"n":1}')),
    ("python", ("orders", "paid", '{"n":1}')),
    ("perl", ("orders", "message", "shipped"))])
def test_a_publisher_of_the_readme_publishes(make_stack, language, row):
    st = make_stack(workers=0, metrics=False)
    status, _, said = run(st, language, block(language, SOCKET))
    assert (status, said) == (0, "")
    assert newest(st) == row


@pytest.mark.parametrize("language, right, wrong", [
    ("php", "'orders'", "'system.x'"), ("python", '"orders"', '"system.x"'),
    ("perl", "'orders'", "'system.x'")])
def test_a_publisher_of_the_readme_is_told_that_it_was_refused(
        make_stack, language, right, wrong):
    st = make_stack(workers=0, metrics=False)
    text = block(language, SOCKET)
    assert right in text
    status, _, said = run(st, language, text.replace(right, wrong))
    assert status != 0 and "system." in said, said
    assert newest(st) is None


@pytest.mark.parametrize("language", ["php", "python", "perl"])
def test_a_publisher_of_the_readme_does_not_wait_for_ever(make_stack,
                                                          language):
    st = make_stack(workers=0, metrics=False)
    st.pubd.pause()
    try:
        # Its own time-out ends it, long before the one of this test.
        status, _, said = run(st, language, block(language, SOCKET),
                              timeout=40)
    finally:
        st.pubd.resume()
    assert status != 0 and said, (status, said)


def test_the_php_publisher_says_that_its_text_is_not_utf_8(make_stack):
    st = make_stack(workers=0, metrics=False)
    text = block("php", SOCKET).replace("'n' => 1", "'n' => \"caf\\xe9\"")
    status, _, said = run(st, "php", text)
    assert status != 0 and "Malformed UTF-8" in said
    # One that does not look is told by pubd.
    status, _, said = run(st, "php", text.replace(
        "JSON_THROW_ON_ERROR", "0"))
    assert status != 0 and "an empty line" in said


def test_a_page_of_php_begins_where_the_log_is(make_stack):
    st = make_stack(workers=0, metrics=False)
    head = [st.publish("orders", n) for n in range(3)][-1]
    text = block("php", SOCKET, file="client/README.md")
    stub = "<?php function load_orders() { return []; } ?>"
    status, page, said = run(st, "php", stub + text)
    assert (status, said) == (0, "")
    assert "lastEventId: \"%d\"," % head in page
    assert re.search(r'generation: "[0-9a-f]{32}"', page), page
    st.pubd.pause()
    try:
        page = run(st, "php", stub + text, timeout=40)[1]
    finally:
        st.pubd.resume()
    assert "pubd does not answer" in page and "connect(" not in page


# ---------------------------------------------------------------- SQL

@pytest.mark.parametrize("language, row", [
    ("php", ("orders", "created", '{"n":2}')),
    ("perl", ("orders", "message", "packed"))])
def test_an_insert_of_the_readme_is_an_event(make_stack, language, row):
    st = make_stack(workers=0, metrics=False)
    status, out, said = run(st, language, block(language, SQL))
    assert (status, said) == (0, "")
    assert newest(st) == row
    assert language != "php" or out == "1\n"


def test_the_statement_of_the_readme_is_an_event(make_stack):
    st = make_stack(workers=0, metrics=False)
    subprocess.run(["sqlite3", st.db, block("sql")], check=True, timeout=20,
                   **as_user())
    assert newest(st) == ("orders", "created", '{"n":1}')


INSERT = "INSERT INTO events(channel, data) VALUES ('a', 'x')"


def transaction(st, *statements):
    """After the second statement pubd stores an event, or waits for the lock."""
    db = sqlite3.connect(st.db, isolation_level=None, timeout=1)
    waits = statements[0] == "BEGIN IMMEDIATE"
    with contextlib.closing(db), st.publisher() as other:
        for n, statement in enumerate(statements):
            db.execute(statement).fetchall()
            if n == 1:
                other.send({"channel": "b", "data": 1})
                assert waits or other.recv()["ok"]
        db.execute("COMMIT")
        assert not waits or other.recv()["ok"]


def test_a_transaction_that_begins_by_reading_fails_when_others_write(
        make_stack):
    st = make_stack(workers=0, metrics=False)
    read = "SELECT count(*) FROM events"
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        transaction(st, "BEGIN", read, INSERT)
    # The two ways that the README names.
    transaction(st, "BEGIN IMMEDIATE", read, INSERT)
    db = sqlite3.connect(st.db, isolation_level=None, timeout=1)
    with contextlib.closing(db):
        for statement in ("BEGIN", INSERT, read, "COMMIT"):
            db.execute(statement).fetchall()
    with sqlite3.connect(st.db) as db:
        assert db.execute("SELECT channel FROM events ORDER BY id"
                          ).fetchall() == [("b",), ("a",), ("b",), ("a",)]
    assert "BEGIN IMMEDIATE" in block("php", SQL)


# ---------------------------------------------------------------- long URLs

LONG = {"channel": ["%02d" % n + "x" * 126 for n in range(64)]}


@pytest.mark.parametrize("kind, refusal, extra", [
    ("apache-proxy", 414, dict(server="LimitRequestLine 16384")),
    ("lighttpd", 431, dict(extra="server.max-request-field-size = 16384\n"))])
def test_64_long_channels_need_a_longer_line_from_the_web_server(
        make_stack, kind, refusal, extra):
    st = make_stack(metrics=False)
    with st.front(kind).stream(LONG) as s:
        assert s.status == refusal
    with st.front(kind, **extra).stream(LONG) as s:
        assert s.status == 200
        s.open()
        id = st.publish(LONG["channel"][63], "here")
        assert s.data().id == str(id)
    told = (ROOT / "docs" / "man" / "walcast-protocol.7").read_text()
    for text in ("LimitRequestLine 16384",
                 "server.max-request-field-size = 16384"):
        assert text in told


# ---------------------------------------------------------------- rules of sites

def test_the_line_for_lighttpd_keeps_streams_from_a_catch_all_rewrite(
        make_stack):
    shipped = (ROOT / "lighttpd" / "walcast.conf").read_text()
    line, = re.findall(r'^#\s+("\^/sse.* => "\$0",)$', shipped, re.M)
    site = """
server.modules += ( "mod_rewrite" )
url.rewrite-once = ( %s "^/(.*)$" => "/index.html?q=$1" )
"""
    st = make_stack(metrics=True)
    with st.front("lighttpd", extra=site % "").stream({"channel": "a"}) as s:
        assert s.headers["content-type"] == "text/html"
    web = st.front("lighttpd", extra=site % line)
    for path in ("/sse.fcgi?channel=a", "/sse.fcgi/a"):
        with web.stream(path=path) as s:
            s.open()
            id = st.publish("a", path)
            assert s.data().id == str(id)
    assert web.get("/sse-metrics.fcgi/readyz")[0] == 200
    assert b"page" in web.get("/other")[2]


RULES = {
    "apache-proxy": """
<Location "/sse.fcgi/secret">
	Require all denied
</Location>
""",
    "lighttpd": """
$HTTP["url"] =~ "^/sse\\.fcgi/secret" { url.access-deny = ( "" ) }
""",
}


@pytest.mark.parametrize("kind", RULES)
def test_a_rule_for_a_path_protects_no_channel(make_stack, kind):
    """Not a promise but the warning of README, OPERATIONS and the files."""
    st = make_stack(metrics=False)
    web = st.front(kind, extra=RULES[kind])
    id = st.publish("secret", "it")
    with web.stream(path="/sse.fcgi/secret") as s:
        assert s.status == 403
    for names in ("secret", "open,secret", "*", "secr*"):
        with web.stream({"channel": names}, last_id="earliest") as s:
            s.open()
            assert s.data().id == str(id)
    for file in ("README.md", "docs/OPERATIONS.md", "docs/nginx.md",
                 "apache/walcast-proxy.conf", "lighttpd/walcast.conf"):
        assert "?channel=secret" in (ROOT / file).read_text(), file


# ---------------------------------------------------------------- HAProxy

HAPROXY = """
defaults
	mode http
	timeout connect 5s
	timeout client 120s
frontend site
	bind 127.0.0.1:%d
	default_backend sse
%s
"""


def haproxy_block(web):
    """The block of OPERATIONS with the address of `web`, which has no TLS."""
    text, n = re.subn(r"192\.0\.2\.11:443 ssl .* (check)$",
                      r"%s:%d \1" % web.addr,
                      block("haproxy", file="docs/OPERATIONS.md"), flags=re.M)
    assert n == 1
    return text


@contextlib.contextmanager
def haproxy(st, block):
    """A HAProxy with this backend; its address, once it has a server."""
    port = free_port()
    conf = st.dir / ("haproxy-%d.cfg" % port)
    st.write(conf, HAPROXY % (port, block))
    proc = Proc("haproxy", ["/usr/sbin/haproxy", "-db", "-f", conf],
                st.dir / ("haproxy-%d.log" % port), run_as=None)

    def is_ready():
        assert proc.running, proc.tail()
        try:
            with Stream(("127.0.0.1", port), "/index.html") as s:
                return s.status == 200
        except (OSError, Ended):
            return False
    try:
        wait_until(is_ready, 20, "HAProxy")
        yield ("127.0.0.1", port)
    finally:
        proc.kill_all()


def typical_delay(st, addr, n=20):
    """Seconds from the publisher's answer to the event, in the middle."""
    took = []
    with Stream(addr, params={"channel": "a"}) as s:
        s.open()
        for _ in range(n):
            id = st.publish("a", 1)
            began = time.monotonic()
            assert s.data().id == str(id)
            took.append(time.monotonic() - began)
    return statistics.median(took)


@pytest.mark.skipif(not os.path.exists("/usr/sbin/haproxy"),
                    reason="no HAProxy: tests/deps.sh check")
@pytest.mark.parametrize("kind", ["apache-proxy", "lighttpd"])
def test_haproxy_with_the_block_of_operations_delays_no_event(make_stack,
                                                              kind):
    st = make_stack()
    web = st.front(kind)
    text = haproxy_block(web)
    plain, n = re.subn(r"^\toption http-no-delay\n", "", text, flags=re.M)
    assert n == 1
    with haproxy(st, text) as addr:
        took = typical_delay(st, addr)
    with haproxy(st, plain) as addr:
        without = typical_delay(st, addr)
    direct = typical_delay(st, web.addr)
    print("an event takes %.1f ms, %.1f ms by HAProxy, %.1f ms without "
          "http-no-delay" % (direct * 1e3, took * 1e3, without * 1e3))
    assert took < without / 2


# ---------------------------------------------------------------- threats

def test_what_threats_and_reliability_call_a_test_is_one():
    tests = ROOT / "tests"
    sources = "\n".join(p.read_text() for d in ("system", "unit")
                        for p in (tests / d).rglob("test_*"))
    text = (ROOT / "docs" / "THREATS.md").read_text()
    names = set(re.findall(r"`((?:test|fuzz)_\w+(?:\.\w+)?)`", text))
    assert len(names) > 40
    assert [n for n in names if not (
        list(tests.rglob(n)) or list(tests.rglob(n + ".c")) or
        re.search(r"def %s\(" % n, sources))] == []

    listed = subprocess.run([tests / "fault" / "walcast-harness", "list"],
                            check=True, capture_output=True, text=True)
    scenarios = [line.split()[0] for line in listed.stdout.splitlines()
                 if line.strip()]
    # Of RELIABILITY the tables of promises and findings.
    text += (ROOT / "docs" / "RELIABILITY.md").read_text()
    told = set(re.findall(r"`((?:hostile|pubd|http|fastcgi|nth|web|power|log|"
                          r"link|clock|wal|answers|forged)-[a-z*-]+)`", text))
    assert len(told) > 30
    assert [t for t in told if not fnmatch.filter(scenarios, t)] == []


@pytest.mark.parametrize("kind", ["apache-proxy", "lighttpd"])
def test_headers_of_a_visitor_set_nothing_of_ours(make_stack, kind):
    st = make_stack(metrics=False)
    web = st.front(kind, cap=1)
    forged = {"WALCAST_MAX_STREAMS": "0", "WALCAST-MAX-STREAMS": "0",
              "WALCAST_LOCATION": "x", "WALCAST-LOCATION": "x",
              "REMOTE_ADDR": "192.0.2.1", "X-Forwarded-For": "192.0.2.1"}
    with web.admit({"channel": "a"}):
        with web.stream({"channel": "a"}, headers=forged) as s:
            e = s.next()
            assert e.type == "control.close" and "overload" in e.data


# ---------------------------------------------------------------- the rest of it

@pytest.mark.parametrize("kind", ["apache-proxy", "lighttpd"])
def test_the_lines_of_the_readme_stream_through_the_web_server(make_stack,
                                                               monkeypatch,
                                                               kind):
    text = block({"apache-proxy": "apache"}.get(kind, kind), "sse.fcgi")
    monkeypatch.setattr(KINDS[kind], "shipped",
                        lambda front, *files: front.adapt(text))
    st = make_stack(metrics=False)
    web = st.front(kind, cap=1)
    with web.admit({"channel": "orders"}) as s:
        id = st.publish("orders", "x")
        assert s.data().id == str(id)
        with web.stream({"channel": "orders"}) as other:
            assert other.next().type == "control.close"
    assert web.get("/index.html")[0] == 200


def test_the_commands_of_the_readme_publish(make_stack):
    st = make_stack(workers=0, metrics=False)
    text = block("sh", "walcast publish")
    done = subprocess.run(["sh", "-ec", text], timeout=30, text=True,
                          capture_output=True, env=dict(
                              os.environ, WALCAST_CONF=str(st.conf),
                              PATH="%s:%s" % (st.bin, os.environ["PATH"])))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[0] == "1"
    assert newest(st) == ("log", "message", "3")


# ------------------------------------------------- names of files and functions

def source_text():
    """All files that names may come from, and what is in them."""
    names = [str(p.relative_to(ROOT)) for top in
             ("lib", "fcgi", "pubd", "sql", "apache", "lighttpd", "tests")
             for p in (ROOT / top).rglob("*") if p.is_file()]
    return names, "\n".join(
        (ROOT / n).read_text(errors="replace") for n in names
        if n.endswith((".c", ".h", ".def", ".sql", ".py", ".conf")))


def test_what_the_architecture_names_is_there():
    names, text = source_text()
    foreign = {"foo_private.h", "uthash.h", "sqlite3.h", "json.h",
               "fcgiapp.h", "curl.h", "jwt.h"}
    files = foreign | {n.rsplit("/", 1)[-1] for n in names} | {
        n.rsplit("/", 1)[-1].removesuffix(".c") for n in names}
    said = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    for code in re.findall(r"`([^`\n]+)`", said):
        for file in re.findall(r"[\w/]+\.(?:[ch]|def|py)\b", code):
            assert file.rsplit("/", 1)[-1] in files, file
            assert "/" not in file or file in names, file
        if re.fullmatch(r"\w+_\w+", code):
            assert code in files or code in text, code
