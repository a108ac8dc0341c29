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
