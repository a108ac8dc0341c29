# SPDX-License-Identifier: MIT
"""A real EventSource: Chromium on a page that the web server serves."""

import os

import pytest

from browser import CHROMIUM, Browser
from harness import ROOT, Failed

pytestmark = pytest.mark.skipif(
    "WALCAST_NO_BROWSER" in os.environ, reason="WALCAST_NO_BROWSER is set")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    assert CHROMIUM, "Chromium is needed: tests/deps.sh check"
    b = Browser(tmp_path_factory.mktemp("chromium"))
    yield b
    b.close()


@pytest.fixture
def visit(browser):
    """visit(front, query) -> the test page, opened there."""
    html = (ROOT / "tests" / "system" / "eventsource.html").read_text()

    def open_page(front, query):
        front.put("page.html", html)
        page = browser.page(front.url + "/page.html" + query)
        page.until("typeof seen === 'object'")
        return page

    return open_page


def until(page, expression, timeout=30):
    page.until(expression, timeout, show="JSON.stringify(seen)")
    return page.eval("seen")


@pytest.mark.parametrize("kind", ["lighttpd", "apache-proxy"])
def test_a_browser_is_cut_off_and_resumes_with_nothing_missing(
        make_stack, visit, kind):
    st = make_stack(workers=2, metrics=False)
    web = st.front(kind)
    page = visit(web, "?channel=a")
    until(page, "seen.controls.includes('control.open')")
    sent = [st.publish("a", "first %d" % n) for n in range(10)]
    until(page, "seen.ids.length === 10")
    for n in range(2):          # one of the two holds the stream
        st.kill_worker(n, restart=True)
    sent += [st.publish("a", "second %d" % n) for n in range(10)]
    until(page, "seen.ids.length >= 20 && seen.opens >= 2")
    st.restart_pubd()
    sent += [st.publish("a", "third %d" % n) for n in range(10)]
    web.restart()               # and the web server itself
    sent += [st.publish("a", "fourth %d" % n) for n in range(10)]
    seen = until(page, "seen.ids.length >= 40")
    assert seen["ids"] == sent
    assert seen["data"] == ["%s %d" % (w, n) for w in (
        "first", "second", "third", "fourth") for n in range(10)]
    assert seen["opens"] >= 3 and seen["errors"] >= 2 and not seen["closed"]
    assert seen["gaps"] == []
    page.eval("source.close()")


def test_a_browser_that_is_turned_away_comes_in_later(make_stack, visit):
    st = make_stack(config={"max_streams": 1, "heartbeat_ms": 200},
                    metrics=False)
    web = st.front("lighttpd")
    with web.stream({"channel": "a"}) as held:
        held.open()
        page = visit(web, "?channel=a")
        until(page, "seen.controls.filter("
              "(n) => n === 'control.close').length >= 2")
    for n in range(100):
        st.publish("a", "x%d" % n)
        try:
            seen = until(page, "seen.ids.length > 0", 0.3)
            break
        except Failed:
            pass
    assert seen["ids"] and not seen["closed"]
    page.eval("source.close()")


# ---------------------------------------------------------------- two origins

COOKIE = """
<Location "/sse.fcgi">
	<If "%{REQUEST_METHOD} != 'OPTIONS' && %{HTTP_COOKIE} !~ /who=me/">
		Require all denied
	</If>
</Location>
"""

SOURCE = """(() => {
	document.cookie = 'who=me';
	window.seen = { ids: [], opens: 0, closed: false };
	window.source = new EventSource('%s', { withCredentials: %s });
	source.onopen = () => seen.opens++;
	source.onmessage = (e) => seen.ids.push(Number(e.lastEventId));
	source.onerror = () => seen.closed = source.readyState === 2;
})()"""

FETCH = """fetch('%s', { credentials: 'include', headers: {
	'Last-Event-ID': '%d', Authorization: 'Bearer x', tracestate: 'a=b',
	'Cache-Control': 'no-cache', 'X-Requested-With': 'XMLHttpRequest',
	traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
} }).then((r) => [r.status, r.headers.get('x-sse-stream').length,
    r.body.cancel()]).catch((e) => String(e))"""


@pytest.fixture
def two_origins(make_stack, browser):
    """(stack, where the stream is, a page elsewhere): cookies are demanded."""
    st = make_stack(metrics=False)
    site = st.front("lighttpd")
    streams = st.front("apache-proxy", extra=COOKIE)

    def open_page(allow):
        st.configure(allow_origin=allow.format(site.url))
        st.restart_worker()
        page = browser.page(site.url + "/index.html")
        page.until("document.body.textContent.includes('page')")
        return page

    return st, streams.url + "/sse.fcgi?channel=a", open_page


@pytest.mark.parametrize("allow", ["{0}", "https://a.example, {0}"])
def test_a_page_of_a_listed_origin_streams_with_its_cookies(two_origins,
                                                            allow):
    st, url, open_page = two_origins
    page = open_page(allow)
    page.eval(SOURCE % (url, "true"))
    until(page, "seen.opens === 1 || seen.closed")
    sent = [st.publish("a", n) for n in range(3)]
    until(page, "seen.ids.length === 3 || seen.closed")
    st.kill_worker(0, restart=True)
    sent += [st.publish("a", n) for n in range(3)]
    seen = until(page, "seen.ids.length >= 6 || seen.closed")
    assert seen["ids"] == sent and not seen["closed"]
    page.eval("source.close()")
    assert page.eval(FETCH % (url, sent[2]))[:2] == [200, 16]
    # What a page must be able to read, or it cannot tell what is wrong.
    assert page.eval("fetch('%s?channel=%%20', { credentials: 'include' })"
                     ".then((r) => r.json()).then((j) => j.status)"
                     ".catch(String)" % url.partition("?")[0]) == 400


@pytest.mark.parametrize("allow, withcookies", [
    ("*", "true"), ("https://a.example", "true"),
    ("https://a.example", "false")])
def test_a_page_of_no_listed_origin_gets_nothing_with_cookies(
        two_origins, allow, withcookies):
    st, url, open_page = two_origins
    page = open_page(allow)
    page.eval(SOURCE % (url, withcookies))
    seen = until(page, "seen.opens > 0 || seen.closed")
    assert seen["closed"] and seen["opens"] == 0
    assert "Failed to fetch" in page.eval(FETCH % (url, 1))
