# SPDX-License-Identifier: MIT
"""What is in a request and in a row that we did not write: read as its sender
means it, told where it is too much, and never more than that."""

import json
import socket
import sqlite3
import subprocess

from harness import RUN_AS, can_connect, free_port
from scenario import PROXIED, scenario

LISTED = "https://app.example"
ILL_FORMED = [b"caf\xe9", b"\xe2\x82\n\xff", b"\xf0\x9f\x98\x80\xf0\x9f",
              b"\xed\xa0\x80", b"x" * 255 + b"\xe9\n", b"\xe9" * 3000]
FIELDS = "".join("X-%d: y\r\n" % n for n in range(300))


def position(run, st, web):
    """A polyfill leaves the first id in the URL and adds its own."""
    sent = [st.publish("p", n) for n in range(10)]
    for query, after in [
            ("last_event_id={2}&lastEventId={7}", 7),
            ("lastEventId={7}&last_event_id={2}", 7),
            ("last_event_id=earliest&evs_last_event_id={8}", 8),
            ("last-event-id={5}&last_event_id=abc", 5)]:
        path = "/sse.fcgi?channel=p&" + query.format(*sent)
        with web.admit(path=path) as s:
            got = s.next(10)
            run.check(got.id == str(sent[after] + 1),
                      "%s began with %r" % (path, got))


def origins(run, st, web):
    """Cookies only from an origin that is written out."""
    for allow, origin, told in [(LISTED, LISTED, (LISTED, "true")),
                                (LISTED, "https://evil.example", (None, None)),
                                (LISTED, "null", (None, None)),
                                ("*", LISTED, ("*", None))]:
        st.configure(allow_origin=allow)
        st.restart_worker()
        for method, query in [("GET", "channel=p"), ("OPTIONS", "channel=p"),
                              ("GET", "channel=%20")]:
            with web.stream(path="/sse.fcgi?" + query, method=method,
                            headers={"Origin": origin}) as s:
                got = tuple(s.headers.get("access-control-allow-" + name)
                            for name in ("origin", "credentials"))
                run.check(got == told, "%s, %s %s of %s was told %r" % (
                    allow, method, query, origin, got))
    st.configure(allow_origin=None)
    st.restart_worker()


def encodings(run, st, web):
    """Rows in Latin-1 and worse, live and replayed, as a browser reads them."""
    with sqlite3.connect(st.db, isolation_level=None, timeout=10) as db:
        for raw in ILL_FORMED:
            db.execute("INSERT INTO events(channel, event, data) VALUES "
                       "('l', CAST(x'74e9' AS TEXT), CAST(? AS TEXT))",
                       (raw,))
    db.close()
    for envelope in "01":
        with web.admit({"channel": "l", "envelope": envelope},
                       last_id="earliest") as s:
            for raw in ILL_FORMED:
                got = s.next(10)
                data = json.loads(got.data)["data"] if envelope == "1" \
                    else got.data
                run.check((got.type, data) == (
                    "t\ufffd", raw.decode("utf-8", "replace")),
                    "%r came as %r" % (raw[:40], got))
            try:
                s.raw.decode("utf-8")
            except UnicodeDecodeError as e:
                run.check(False, "a strict decoder says: %s" % e)


def fields(run, st, web):
    """More header fields than are taken: an answer, not a closed connection."""
    with socket.create_connection(web.addr, 10) as c:
        c.sendall(("GET /sse.fcgi?channel=p HTTP/1.1\r\nHost: x\r\n%s"
                   "Connection: close\r\n\r\n" % FIELDS).encode())
        got = c.recv(4096).split(b"\r\n")[0]
    # Apache has a limit of its own.
    own = b" 400 " in got and web.kind.startswith("apache")
    run.check(b" 431 " in got or own, "300 fields were answered %r" % got)


def arguments(run, st, web):
    """A web server makes a CGI program's arguments out of the URL."""
    address = "127.0.0.1:%d" % free_port()
    user = dict(user=RUN_AS.pw_uid, group=RUN_AS.pw_gid, extra_groups=[]) \
        if RUN_AS else {}
    for program, status in ("sse-metrics.fcgi", b"200"), ("sse.fcgi", b"400"):
        for argv in [["--listen", address], ["-c", "/etc/passwd"], ["-V"],
                     ["--nonsense"]]:
            env = st.environment(
                GATEWAY_INTERFACE="CGI/1.1", REQUEST_METHOD="GET",
                QUERY_STRING="+".join(argv), SCRIPT_NAME="/" + program)
            p = subprocess.Popen([str(st.bin / program), *argv], env=env,
                                 cwd=st.dir, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL, **user)
            try:
                out = p.communicate(timeout=5)[0]
            except subprocess.TimeoutExpired:
                out = b"nothing; it %s" % (
                    b"listens" if can_connect(
                        ("127.0.0.1", int(address[10:]))) else b"runs")
            finally:
                p.kill()
                p.wait()
            run.check(out.startswith(b"Status: " + status),
                      "%s %s said %r" % (program, argv, out[:80]))


@scenario("requests-and-rows", tags="security", fronts=PROXIED, short=True,
          rounds=1)
def requests_and_rows(run):
    """Several positions, other origins, Latin-1, too many header fields, and
    arguments out of a URL."""
    st = run.stack(config={"heartbeat_ms": 500, "reject": "soft"}, workers=1)
    web = run.front(st)
    for _ in run.each_round():
        for part in position, origins, encodings, fields, arguments:
            part(run, st, web)
            run.count("parts")
