# SPDX-License-Identifier: MIT
"""The status page, and the stream of system.status that feeds it: through
every front end, and in Chromium while something goes on."""

import json
import os
import pathlib
import re
import signal
import subprocess
import threading

import pytest

import fcgi
from browser import CHROMIUM, Browser
from harness import FRONTS, ROOT, wait_until
from loadlib import Subscribers
from sse import Ended

PAGE = "/sse-metrics.fcgi"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
STATUS = {"channel": "system.status"}
MOST = 16       # STATUS_STREAM_MAX of fcgi/metrics/status_stream.h


# ---------------------------------------------------------------- the page

@pytest.mark.parametrize("kind", FRONTS)
def test_a_browser_gets_the_page_and_nobody_else(stack, fronts, kind):
    web = fronts(kind)
    status, headers, body = web.get(PAGE, headers=HTML)
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert body.startswith(b"<!doctype html>")
    for accept in ("*/*", "text/plain", "text/plain;version=0.0.4;q=0.5,*/*"):
        _, headers, _ = web.get(PAGE, headers={"Accept": accept})
        assert headers["content-type"].startswith("text/plain"), accept
    _, headers, _ = web.get(PAGE + "?format=html")
    assert headers["content-type"].startswith("text/html")


def test_the_policy_lets_only_the_page_s_own_script_run(stack, lighttpd):
    seen = set()
    for _ in range(3):
        _, headers, body = lighttpd.get(PAGE, headers=HTML)
        policy = dict(p.strip().split(" ", 1) for p in
                      headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["frame-ancestors"] == "'none'"
        assert policy["connect-src"] == "'self'"
        nonce = re.fullmatch(r"'nonce-([0-9a-f]{32})'",
                             policy["script-src"]).group(1)
        assert policy["style-src"] == policy["script-src"]
        text = body.decode()
        assert re.findall(r"<(?:script|style)[^>]*>", text) == [
            '<style nonce="%s">' % nonce, '<script nonce="%s">' % nonce]
        assert not re.search(r'\s(on\w+|style)="', text)
        assert not re.search(r"innerHTML|insertAdjacent|document\.write|eval\(",
                             text)
        seen.add(nonce)
    assert len(seen) == 3


def test_a_head_has_no_body(stack, lighttpd):
    for query in ("?format=html", "?format=json", "?channel=system.status"):
        status, _, body = lighttpd.get(PAGE + query, method="HEAD")
        assert (status, body) == (200, b"")


# ---------------------------------------------------------------- the stream

@pytest.mark.parametrize("kind", FRONTS)
def test_the_stream_brings_the_figures_once_a_second(stack, fronts, kind,
                                                     channel):
    web = fronts(kind)
    with web.stream(STATUS, path=PAGE) as s:
        assert s.headers["content-type"] == "text/event-stream"
        opened = s.open(20).json
        assert opened["resumed_from"] is None and opened["heartbeat_ms"] == 1000
        first = s.next(type="system.status").json
        head = stack.publish(channel, 1)
        while True:
            e = s.next(type="system.status")
            figures = {m["name"]: m["series"] for m in e.json["metrics"]}
            if figures["sse_log_head"][0]["value"] >= head:
                break
        assert e.id == "", "it is off the log"
        assert e.json["generated_ms"] > first["generated_ms"]
        assert e.json["stale"] is False and e.json["reasons"] == []
        assert {p["role"] for p in e.json["processes"]} >= {"pubd", "worker"}
        assert len(e.block) == 2, "one line of data"


def test_other_channels_are_not_there(stack, lighttpd):
    accept = {"Accept": "text/event-stream"}
    status, _, body = lighttpd.get(PAGE + "?channel=orders", headers=accept)
    assert status == 404 and b"sse.fcgi" in body
    status, _, _ = lighttpd.get(PAGE + "?channel=system.status",
                                headers={"Accept": "text/html"})
    assert status == 406


def test_the_public_worker_does_not_have_it(stack, lighttpd):
    """Who may see the figures is decided where the page is protected."""
    with lighttpd.stream(STATUS) as s:
        if s.status == 200:
            s.open()
            with pytest.raises(Exception):
                s.next(2.5, type="system.status")


def test_past_the_most_a_page_is_told_to_fetch(make_stack):
    st = make_stack(workers=0)
    web = st.front("lighttpd")
    held = [web.stream(STATUS, path=PAGE) for _ in range(MOST)]
    for s in held:
        s.open()
    status, headers, body = web.get(PAGE + "?channel=system.status",
                                    headers={"Accept": "text/event-stream"})
    assert status == 503 and "retry-after" in headers and b"fetch" in body
    assert web.get(PAGE + "?format=json")[0] == 200
    held.pop().close()

    def again():
        with web.stream(STATUS, path=PAGE) as s:
            return s.status == 200
    wait_until(again, 10, "the place of one who left", step=0.1)
    for s in held:
        s.close()


@pytest.mark.parametrize("kind", ["lighttpd", "apache-proxy"])
def test_a_client_that_leaves_is_noticed(make_stack, kind):
    st = make_stack(workers=0)
    web = st.front(kind)
    with web.stream(STATUS, path=PAGE) as s:
        s.open()
        before = st.metrics.fds()
    wait_until(lambda: st.metrics.fds() < before, 15, "the descriptor to go",
               step=0.05)


@pytest.mark.parametrize("kind", ["lighttpd", "apache-proxy", "apache-cgi"])
def test_told_to_end_it_says_so_in_the_stream(make_stack, kind):
    st = make_stack(workers=0)
    web = st.front(kind)
    with web.stream(STATUS, path=PAGE) as s:
        s.open()
        s.next(type="system.status")
        if kind == "apache-cgi":
            for pid in web.running("sse-metrics.fcgi"):
                os.kill(pid, signal.SIGTERM)
        else:
            st.metrics.send_signal(signal.SIGTERM)
        e = s.next(type="control.close")
        assert e.json["reason"] == "drain" and e.json["retry_ms"] > 0
        with pytest.raises(Ended):
            s.next()
        assert s.complete


def test_a_reader_that_stops_reading_skips_and_does_not_queue(make_stack):
    """Straight at the socket: what waits for it stays one tick."""
    st = make_stack(workers=0)
    raw = fcgi.request(PAGE, "channel=system.status", SCRIPT_NAME=PAGE)
    with fcgi.Conn(st.metrics_sock, raw) as slow, \
            fcgi.Conn(st.metrics_sock, raw) as quick:
        def ticks(conn, n):
            got = 0
            while got < n:
                type, _, content = conn.record()
                assert type == fcgi.STDOUT
                got += content.count(b"event: system.status\n")
        ticks(quick, 2)
        full = st.metrics.rss_kib()
        ticks(quick, 8)
        assert st.metrics.rss_kib() < full + 4096
        ticks(slow, 2)      # it goes on where it was


def test_nobody_looks_while_nobody_watches(make_stack):
    """The files are opened once a second for all streams, and else not."""
    st = make_stack(workers=0, config={"metrics": "off"})
    web = st.front("lighttpd")
    held = [web.stream(STATUS, path=PAGE) for _ in range(4)]
    first = []
    for s in held:
        s.open()
        first.append(s.next(type="system.status").json["generated_ms"])
    for n in range(3):
        at = {s.next(type="system.status").json["generated_ms"] for s in held}
        assert len(at) == 1, "one look for all"
    for s in held:
        s.close()

    def asleep():
        before = st.metrics.cpu_s(), switches(st.metrics.pid)
        threading.Event().wait(1.5)
        return (st.metrics.cpu_s(), switches(st.metrics.pid)) == before
    wait_until(asleep, 30, "a process that sleeps")


def switches(pid):
    text = pathlib.Path("/proc/%d/status" % pid).read_text()
    return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text,
                         re.M).group(1))


# ---------------------------------------------------------------- in Chromium

@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if "WALCAST_NO_BROWSER" in os.environ:
        pytest.skip("WALCAST_NO_BROWSER is set")
    assert CHROMIUM, "Chromium is needed: tests/deps.sh check"
    b = Browser(tmp_path_factory.mktemp("chromium"))
    yield b
    b.close()


WATCH = """(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation",
        (e) => violations.push(e.violatedDirective + " " + e.blockedURI));
})()"""

FIGURES = """(() => Object.fromEntries([...document.querySelectorAll(
    ".tile")].map((t) => [t.querySelector("h3").textContent,
    t.querySelector(".big span").textContent])))()"""

REQUESTS = "performance.getEntriesByType('resource').map((e) => e.name)"


def visit(browser, url, before=WATCH):
    target = browser.call("Target.createTarget", url="about:blank")
    session = browser.call("Target.attachToTarget", flatten=True,
                           targetId=target["targetId"])["sessionId"]
    from browser import Page
    page = Page(browser, session)
    browser.call("Page.enable", session)
    browser.call("Page.addScriptToEvaluateOnNewDocument", session,
                 source=before)
    browser.call("Page.navigate", session, url=url)
    page.until("document.querySelectorAll('.tile').length > 0")
    return page


def sentence(page):
    return page.eval("document.getElementById('sentence').textContent")


def number(text):
    return float(text.replace(",", "")) if re.match(r"[\d.,]+$", text) else None


def shown(page, tile):
    return number(page.eval(FIGURES)[tile]) or 0


@pytest.mark.parametrize("kind", ["lighttpd", "apache-proxy"])
def test_the_page_follows_a_load_and_fetches_nothing_else(make_stack, browser,
                                                          kind):
    st = make_stack(workers=2, config={"heartbeat_ms": 300})
    web = st.front(kind, cap=100)
    page = visit(browser, web.url + PAGE)
    page.until("document.getElementById('sentence').textContent === "
               "'All is well.'", show="document.body.innerText")
    with Subscribers(st, web, 40, "--seconds", 3600, max_time=120) as subs:
        subs.ready()
        wait_until(lambda: shown(page, "Streams open") == 40, 20, "40 streams")
        stop = threading.Event()

        def publish():
            with st.publisher() as pub:
                while not stop.wait(0.01):
                    pub.publish("c0", {"n": 1})
        thread = threading.Thread(target=publish)
        thread.start()
        try:
            wait_until(lambda: shown(page, "Events in") > 5 and
                       shown(page, "Deliveries") > 100 and
                       shown(page, "Delivery, p99") > 0, 30, "figures")
            before = page.eval(FIGURES)
            wait_until(lambda: page.eval(FIGURES) != before, 10, "movement")
        finally:
            stop.set()
            thread.join()
    wait_until(lambda: shown(page, "Streams open") == 0, 20, "none open")
    assert page.eval("document.getElementById('link-text').textContent") == \
        "live, by its own stream"
    label = page.eval("document.querySelector('#chart-latency svg')"
                      ".getAttribute('aria-label')")
    assert re.search(r"highest [\d.]+ (µs|ms|s)\.", label), label
    rows = page.eval("[...document.querySelectorAll('#processes tr')]"
                     ".map((r) => r.cells[0].textContent)")
    assert sorted(rows) == ["metrics", "pubd", "worker", "worker"]
    assert page.eval("violations") == []
    asked = page.eval(REQUESTS)
    assert all(a.startswith(web.url + PAGE + "?") for a in asked), asked
    page.eval("window.close()")


def test_the_page_says_that_pubd_is_silent_and_since_when(make_stack, browser):
    st = make_stack()
    web = st.front("lighttpd")
    page = visit(browser, web.url + PAGE)
    page.until("document.getElementById('sentence').textContent === "
               "'All is well.'")
    st.kill_pubd()
    page.until("/^pubd is silent since \\d\\d:\\d\\d:\\d\\d\\.$/.test("
               "document.getElementById('sentence').textContent)", 40)
    page.until("/heartbeat is \\d+ s old/.test(document.getElementById("
               "'detail').textContent)")
    assert page.eval("document.title").startswith("✕")
    st.start_pubd()
    page.until("document.getElementById('sentence').textContent === "
               "'All is well.'", 40)
    page.eval("window.close()")


def test_without_the_stream_the_page_fetches(make_stack, browser):
    """All streams are taken: 503, on which an EventSource gives up."""
    st = make_stack(workers=0)
    web = st.front("lighttpd")
    held = [web.stream(STATUS, path=PAGE) for _ in range(MOST)]
    for s in held:
        s.open()
    page = visit(browser, web.url + PAGE)
    page.until("document.getElementById('link-text').textContent === "
               "'fetched every 2 s'", 20)
    head = st.publish("a", 1)
    page.until("document.querySelector('#log dd').textContent === '%d'" % head)
    st.metrics.kill()
    page.until("/^There is no answer since/.test("
               "document.getElementById('sentence').textContent)", 30)
    for s in held:
        s.close()
    st.start_metrics()
    page.until("document.getElementById('sentence').textContent === "
               "'All is well.'", 40)
    page.eval("window.close()")


def test_what_processes_say_cannot_become_markup(make_stack, browser):
    st = make_stack(workers=0)
    web = st.front("lighttpd")
    evil = '<img src=x onerror="document.title=1"><b>&lt;'
    with st.publisher() as pub:
        pub.call({"op": "watch", "role": "worker"})
        pub.send({"op": "report", "name": "worker-1-1", "role": "worker",
                  "pid": 1, "version": evil, "started_ms": 1, "head": 0,
                  "cursor": 0, "streams": 0, "counters": {}, "gauges": {},
                  "error_ms": 1700000000000, "error": evil})
        page = visit(browser, web.url + PAGE)
        page.until("document.querySelectorAll('#errors tr').length > 0")
        assert page.eval("document.querySelector('#errors td:last-child')"
                         ".textContent") == evil
        assert page.eval("[...document.querySelectorAll('#processes td')]"
                         ".some((c) => c.textContent === %s)" %
                         json.dumps(evil))
        assert page.eval("document.querySelectorAll('main img, main b')"
                         ".length") == 0
        assert page.eval("violations") == []
        page.eval("window.close()")


AXE = ROOT / "tests" / "page" / "node_modules" / "axe-core" / "axe.min.js"

RULES = """axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a",
    "wcag21aa", "best-practice"]}).then((r) => r.violations.map((v) =>
    v.id + ": " + v.nodes.map((n) => n.html + " " + n.failureSummary)
    .join("; ")))"""


def test_axe_finds_nothing_light_dark_wide_or_small(make_stack, browser):
    """axe-core, from npm by its lock file, in the page's own document."""
    if not AXE.exists():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"],
                       cwd=AXE.parents[2], check=True, timeout=300)
    st = make_stack()
    web = st.front("lighttpd")
    with web.stream({"channel": "a"}) as s:
        s.open()
        st.publish("a", 1)
        s.data()
        page = visit(browser, web.url + PAGE, before=AXE.read_text())
        page.until("document.querySelectorAll('#processes tr').length > 2")
        for scheme in ("light", "dark"):
            browser.call("Emulation.setEmulatedMedia", page.session, features=[
                {"name": "prefers-color-scheme", "value": scheme},
                {"name": "prefers-reduced-motion", "value": "reduce"}])
            for width in (1280, 390):
                browser.call("Emulation.setDeviceMetricsOverride", page.session,
                             width=width, height=800, deviceScaleFactor=1,
                             mobile=width < 500)
                assert page.eval("document.documentElement.scrollWidth <= "
                                 "innerWidth"), "it fits %d" % width
                assert page.eval(RULES) == [], (scheme, width)
        st.kill_pubd()
        page.until("document.getElementById('state').dataset.level === 'bad'",
                   40)
        assert page.eval(RULES) == []
        page.eval("window.close()")
