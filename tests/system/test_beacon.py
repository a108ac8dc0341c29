# SPDX-License-Identifier: MIT
"""POST /sse-metrics.fcgi/beacon: what browsers say of their streams."""

import http.client
import json
import os
import signal
import socket
import struct

import pytest

import fcgi
from browser import CHROMIUM, Browser
from fcgi import BEGIN, END, PARAMS, STDIN, STDOUT, Conn, record
from harness import Stack, wait_until

PATH = "/sse-metrics.fcgi/beacon"
FASTCGI = ["lighttpd", "apache-proxy", "apache-fcgid"]
RESULTS = ["accepted", "sampled", "origin", "too_large", "malformed", "type",
           "rate"]
COUNTS = ["reconnects", "gaps", "duplicates", "missing", "buffered"]


ON = {"beacon": "on", "beacon_rate": 0}


@pytest.fixture(scope="module")
def st():
    """For what is not counted exactly: reports lag behind by a second."""
    with Stack(config=dict(ON, request_timeout_ms=2000,
                           allow_origin="https://app.example")) as s:
        yield s.start()


@pytest.fixture(scope="module")
def served(st):
    """served("lighttpd") -> the one of that kind on this module's stack."""
    made = {}

    def get(kind):
        if kind not in made:
            made[kind] = st.front(kind)
        return made[kind]
    return get


def send(web, body, method="POST", origin="own", type="application/json",
         **headers):
    """One request; returns (status, headers, body).  An origin of None is no
    header, "own" the server's."""
    h = {k.replace("_", "-"): v for k, v in headers.items()}
    if type is not None:
        h["Content-Type"] = type
    if origin is not None:
        h["Origin"] = web.url if origin == "own" else origin
    c = http.client.HTTPConnection(*web.addr, timeout=20)
    try:
        c.request(method, PATH, body=body, headers=h)
        r = c.getresponse()
        return r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()
    finally:
        c.close()


def post(web, value, **kw):
    return send(web, json.dumps(value), **kw)[0]


class Figures:
    """The beacons' series, as differences to when this was made: on a stack
    where no report of before is under way."""

    def __init__(self, st, web):
        self.st, self.web = st, web
        wait_until(self.are_known, 20, "the first report")
        self.base = self.now()

    def are_known(self):
        return "sse_browser_gaps_total" in self.st.gauges(self.web)

    def now(self):
        g = self.st.gauges(self.web)
        out = {r: g['sse_beacons_total{result="%s"}' % r] for r in RESULTS}
        out.update({c: g["sse_browser_%s_total" % c] for c in COUNTS})
        for h in ("first_event", "lag"):
            name = "sse_browser_%s_seconds" % h
            out[h] = g[name + "_count"]
            out[h + "_s"] = round(g[name + "_sum"], 6)
        return out

    def grown(self):
        now = self.now()
        return {k: round(now[k] - v, 6) for k, v in self.base.items()
                if now[k] != v}

    def become(self, **want):
        """Reports come once a second; then it is these and no others."""
        wait_until(lambda: self.grown() == want, 20,
                   "%r, not %r" % (want, self.grown()))


# ---------------------------------------------------------------- in each front

@pytest.mark.parametrize("kind", FASTCGI)
def test_a_beacon_is_counted_exactly(make_stack, kind):
    st = make_stack(config=ON, workers=0)
    web = st.front(kind)
    figures = Figures(st, web)
    status, headers, body = send(web, json.dumps({
        "first_event_ms": 120.5, "lag_ms": [1, 2.25, 90000], "reconnects": 1,
        "gaps": 2, "duplicates": 3, "missing": 4, "buffered": True,
        "fallback": "fetch", "visible_ms": 1e9, "more": ["of", "it"]}))
    assert (status, body) == (204, b"")
    assert headers["cache-control"] == "no-store"
    assert post(web, {"gaps": 5}, type="text/plain;charset=UTF-8") == 204
    figures.become(accepted=2, first_event=1, first_event_s=0.1205, lag=3,
                   lag_s=90.00325, reconnects=1, gaps=7, duplicates=3,
                   missing=4, buffered=1)


@pytest.mark.parametrize("kind", FASTCGI)
def test_what_is_wrong_moves_its_own_counter_only(make_stack, kind):
    st = make_stack(config=ON, workers=0)
    web = st.front(kind)
    figures = Figures(st, web)
    assert post(web, {}, origin="https://evil.example") == 403
    assert post(web, {}, origin="null") == 403
    assert post(web, {}, origin=None) == 403
    assert post(web, {}, origin=web.url + "0") == 403
    assert post(web, {}, type="text/html") == 415
    assert post(web, {}, type=None) == 415
    for text in ("", "{", "[]", '{"gaps":-1}', '{"gaps":1e999}',
                 '{"gaps":1,"lag_ms":[1,"x"]}', "{}" * 2, "\xff{}"):
        assert send(web, text.encode("latin-1"))[0] == 400, text
    assert send(web, b"{" + b" " * 4096)[0] == 413
    assert send(web, b"x" * 60000)[0] == 413
    status, headers, _ = send(web, None, method="GET", type=None)
    assert (status, headers["allow"]) == (405, "POST, OPTIONS")
    figures.become(origin=4, type=2, malformed=8, too_large=2)


@pytest.mark.parametrize("kind,size", [
    ("lighttpd", 70000), ("lighttpd", 3000000), ("apache-proxy", 70000),
    ("apache-proxy", 3000000), ("apache-fcgid", 70000)])
def test_a_body_without_measure_is_413(served, kind, size):
    """(mod_fcgid itself answers past FcgidMaxRequestLen, 128 KiB.)"""
    web = served(kind)
    with socket.create_connection(web.addr, timeout=20) as s:
        head = "POST %s HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\n" \
            "Content-Type: text/plain\r\nConnection: close\r\n" \
            "Content-Length: %d\r\n\r\n" % (PATH, size)
        try:
            s.sendall(head.encode() + b" " * size)
        except OSError:
            pass            # the answer came before the end of the body
        got = b""
        while b"\r\n" not in got:
            more = s.recv(4096)
            assert more, got
            got += more
    assert got.startswith(b"HTTP/1.1 413 "), got
    assert post(web, {}) == 204


@pytest.mark.parametrize("kind", FASTCGI)
def test_a_body_in_chunks_is_taken(served, kind):
    chunks = iter([b'{"gaps"', b":1}"])
    assert send(served(kind), chunks)[0] == 204


@pytest.mark.parametrize("kind", FASTCGI)
def test_an_origin_that_is_allowed_may_and_can_read_the_answer(served, kind):
    web = served(kind)
    status, headers, _ = send(web, "{}", origin="https://app.example")
    assert status == 204
    assert headers["access-control-allow-origin"] == "https://app.example"
    status, headers, _ = send(
        web, None, method="OPTIONS", type=None, origin="https://app.example",
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="content-type")
    assert status in (200, 204)
    assert headers["access-control-allow-origin"] == "https://app.example"
    assert "POST" in headers["access-control-allow-methods"]
    assert "content-type" in headers["access-control-allow-headers"].lower()
    _, headers, _ = send(web, None, method="OPTIONS", type=None,
                         origin="https://evil.example")
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("kind", FASTCGI)
def test_a_body_that_does_not_come_holds_up_nobody(served, kind):
    web = served(kind)
    slow = []
    for _ in range(10):
        s = socket.create_connection(web.addr, timeout=20)
        s.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\n"
                  b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{"
                  % PATH.encode())
        slow.append(s)
    for _ in range(5):
        assert post(web, {}) == 204
    slow[0].sendall(b"}")
    assert slow[0].recv(4096).startswith(b"HTTP/1.1 204 ")
    for s in slow:
        s.close()


def test_in_plain_cgi_it_says_that_it_needs_fastcgi(served):
    status, _, body = send(served("apache-cgi"), '{"gaps":1}')
    assert status == 404
    assert b"FastCGI" in body


# ---------------------------------------------------------------- configuration

def test_it_is_off_until_it_is_switched_on(make_stack):
    st = make_stack(workers=0)
    web = st.front("lighttpd")
    assert post(web, {}) == 404
    st.configure(beacon="on")
    st.metrics.send_signal(signal.SIGHUP)
    wait_until(lambda: post(web, {}) == 204, 20, "beacons to be on")


def test_an_address_may_send_so_many_through_all_fronts(make_stack):
    st = make_stack(config={"beacon": "on", "beacon_rate": 3}, workers=0)
    webs = [st.front("lighttpd"), st.front("apache-proxy")]
    figures = Figures(st, webs[0])
    # Refused ones of another origin cost the visitor nothing.
    for web in webs:
        assert post(web, {}, origin="https://evil.example") == 403
    assert [post(webs[n % 2], {}) for n in range(3)] == [204] * 3
    for web in webs:
        status, headers, _ = send(web, "{}")
        assert status == 429
        assert 1 <= int(headers["retry-after"]) <= 20
    figures.become(accepted=3, origin=2, rate=2)


def test_a_share_is_left_out(make_stack):
    st = make_stack(config=dict(ON, beacon_sample=0), workers=0)
    web = st.front("lighttpd")
    figures = Figures(st, web)
    for _ in range(20):
        assert post(web, {"gaps": 1}) == 204
    figures.become(sampled=20)


def test_what_was_counted_outlives_the_process(make_stack):
    st = make_stack(config={"beacon": "on"}, workers=0)
    web = st.front("lighttpd")
    figures = Figures(st, web)
    assert post(web, {"gaps": 7}) == 204
    figures.become(accepted=1, gaps=7)
    st.metrics.kill()
    st.start_metrics()
    assert post(web, {"gaps": 1}) == 204
    figures.become(accepted=2, gaps=8)


# ---------------------------------------------------------------- hostile peers

def beacon_request(body, records=None, **more):
    """The bytes of a FastCGI request with a body."""
    env = dict(HTTP_ORIGIN="http://x", HTTP_HOST="x",
               CONTENT_TYPE="text/plain")
    env.update(more)
    raw = record(BEGIN, struct.pack("!HB5x", 1, 0)) \
        + record(PARAMS, fcgi.params(PATH, method="POST", **env)) \
        + record(PARAMS)
    for piece in records or [body]:
        raw += record(STDIN, piece) if piece else b""
    return raw + record(STDIN)


def status_of(conn):
    records = conn.ended()
    assert records[-1][0] == END, records
    return int(records[0][2].split(b" ")[1])


def test_a_body_may_come_in_any_pieces(st):
    body = b'{"gaps":1,"lag_ms":[1,2,3]}'
    pieces = [body[n:n + 1] for n in range(len(body))]
    with Conn(st.metrics_sock, beacon_request(None, pieces)) as c:
        assert status_of(c) == 204
    with Conn(st.metrics_sock) as c:
        for byte in beacon_request(body):
            c.send(bytes([byte]))
        assert status_of(c) == 204


@pytest.mark.parametrize("size,status", [(4096, 204), (4097, 413),
                                         (60000, 413)])
def test_the_bound_is_on_the_byte(st, size, status):
    body = b"{}" + b" " * (size - 2)
    with Conn(st.metrics_sock, beacon_request(body)) as c:
        assert status_of(c) == status


def test_a_stream_of_body_without_end_is_answered_and_cut(st):
    """In memory there is never more than one bounded request of it."""
    fds, rss = st.metrics.fds(), st.metrics.rss_kib()
    raw = beacon_request(b"")[:-8]
    with Conn(st.metrics_sock, raw) as c:
        sent = 0
        with pytest.raises(OSError):
            while sent < 100 << 20:
                c.send(record(STDIN, b"x" * 65535))
                sent += 65535
        assert sent < 3 << 20
        type, _, content = c.record()
        assert type == STDOUT and content.startswith(b"Status: 413 ")
    wait_until(lambda: st.metrics.fds() <= fds, 20, "the connection to go")
    assert st.metrics.rss_kib() - rss < 2048


def test_length_headers_that_lie_are_not_believed(st):
    for length in ("0", "-1", "999999999999999999999", "x"):
        with Conn(st.metrics_sock, beacon_request(
                b"{}", CONTENT_LENGTH=length)) as c:
            assert status_of(c) == 204


def test_bodies_that_stop_halfway_go_with_their_deadline(st):
    fds = st.metrics.fds()
    whole = beacon_request(b'{"gaps":1}')
    conns = [Conn(st.metrics_sock, whole[:len(whole) - 1 - n % 20])
             for n in range(100)]
    with Conn(st.metrics_sock, whole) as c:
        assert status_of(c) == 204
    for c in conns:
        assert c.ended(timeout=20) == []
        c.close()
    wait_until(lambda: st.metrics.fds() <= fds, 20, "100 half beacons to go")


def test_nothing_of_a_beacon_is_logged(st, served):
    mark = "Zaubertrank"
    web = served("lighttpd")
    for body in ('{"fallback":"%s"}' % mark, '{"%s":1}' % mark,
                 '{"buffered":"%s"}' % mark, mark):
        send(web, body)
        send(web, body, origin="https://%s.example" % mark)
        send(web, body, type="x/" + mark)
    with Conn(st.metrics_sock, beacon_request(
            None, [mark.encode() * 5000] * 2)) as c:
        assert status_of(c) == 413
    assert mark not in st.metrics.tail(1 << 20)
    assert mark not in st.metrics_text(web)
    assert mark not in st.pubd.tail(1 << 20)


# ---------------------------------------------------------------- a real browser

@pytest.mark.skipif("WALCAST_NO_BROWSER" in os.environ,
                    reason="WALCAST_NO_BROWSER is set")
def test_a_browser_sends_them(make_stack, tmp_path):
    assert CHROMIUM, "Chromium is needed: tests/deps.sh check"
    st = make_stack(config=ON, workers=0)
    web = st.front("apache-proxy")
    other = st.front("lighttpd")    # another port: another origin
    figures = Figures(st, web)
    browser = Browser(tmp_path)
    try:
        page = browser.page(web.url + "/index.html")
        page.until("document.readyState === 'complete'")
        assert page.eval("navigator.sendBeacon('%s', '{\"gaps\":1}')" % PATH)
        assert page.eval(
            "navigator.sendBeacon('%s', new Blob(['{\"missing\":2}'], "
            "{type: 'application/json'}))" % PATH)
        page.eval("fetch('%s', {method: 'POST', keepalive: true, headers: "
                  "{'Content-Type': 'application/json'}, "
                  "body: '{\"reconnects\":3}'})"
                  ".then((r) => { window.status_ = r.status; }), 0" % PATH)
        page.until("window.status_ === 204")
        page.eval("navigator.sendBeacon('%s', '{\"gaps\":9}')"
                  % (other.url + PATH))
        figures.become(accepted=3, gaps=1, missing=2, reconnects=3, origin=1)
    finally:
        browser.close()


@pytest.mark.skipif("WALCAST_NO_BROWSER" in os.environ,
                    reason="WALCAST_NO_BROWSER is set")
def test_a_browser_sends_them_to_another_origin_that_lists_its_own(
        make_stack, tmp_path):
    """sendBeacon always brings cookies, which a preflight must allow."""
    st = make_stack(config=ON, workers=0, metrics=False)
    web, site = st.front("apache-proxy"), st.front("lighttpd")
    st.configure(allow_origin=site.url)
    st.start_metrics()
    figures = Figures(st, web)
    browser = Browser(tmp_path)
    try:
        page = browser.page(site.url + "/index.html")
        page.until("document.body.textContent.includes('page')")
        assert page.eval(
            "navigator.sendBeacon('%s', new Blob(['{\"missing\":2}'], "
            "{type: 'application/json'}))" % (web.url + PATH))
        figures.become(accepted=1, missing=2)
    finally:
        browser.close()
