# SPDX-License-Identifier: MIT
"""Streams in pages that may not do all that a page may: frames with sandbox,
cookies blocked, service workers before them; in Chromium and in Firefox."""

import json
import os
import re
import urllib.parse

import pytest

from browser import Browser
from firefox import FIREFOX, Firefox
from harness import ROOT
from webclient import DIST, REAL, page_url

pytestmark = pytest.mark.skipif(
    "WALCAST_NO_BROWSER" in os.environ, reason="WALCAST_NO_BROWSER is set")
no_firefox = pytest.mark.skipif(
    not FIREFOX, reason="no Firefox: tests/deps.sh check")

# A frame without an origin of its own takes its scripts from elsewhere.
CORS = """
$HTTP["url"] =~ "\\.js$" {
	setenv.add-response-header = ( "Access-Control-Allow-Origin" => "*" )
}
"""
NO_COOKIES = {"profile": {"default_content_setting_values": {"cookies": 2}}}


@pytest.fixture
def guarded(make_stack):
    """guarded(**query) -> the address of a page with a shared stream of five
    events."""
    st = make_stack(config={"allow_origin": "*"}, metrics=False)
    web = st.front("lighttpd", extra=CORS)
    for f in [*DIST.glob("*.js"), REAL / "guarded.html"]:
        web.put(f.name, f.read_text())
    for n in range(5):
        st.publish("a", n)
    return lambda **query: "%s/guarded.html?%s" % (
        web.url, urllib.parse.urlencode(query))


def is_served(seen):
    return len(seen["ids"]) >= 5 and seen["ticks"] >= 20


def judge(seen):
    assert seen["ids"] == [1, 2, 3, 4, 5], seen
    assert seen["state"] == "open" and seen["transport"] == "fetch", seen
    assert seen["wrong"] == []


@pytest.mark.parametrize("query, prefs", [
    ({"framed": 1}, {}), ({}, NO_COOKIES), ({"framed": 1}, NO_COOKIES)],
    ids=["sandbox", "no-cookies", "both"])
def test_a_shared_stream_in_a_guarded_page_of_chromium_is_its_own(
        guarded, tmp_path, query, prefs):
    profile = tmp_path / "profile" / "Default"
    profile.mkdir(parents=True)
    (profile / "Preferences").write_text(json.dumps(prefs))
    browser = Browser(tmp_path)
    try:
        page = browser.page(guarded(**query))
        page.until("seen.ids.length >= 5 && seen.ticks >= 20",
                   show="JSON.stringify(seen)")
        judge(page.eval("seen"))
    finally:
        browser.close()


@no_firefox
@pytest.mark.parametrize("query, prefs", [
    ({"framed": 1}, {}), ({}, {"network.cookie.cookieBehavior": 2})],
    ids=["sandbox", "no-cookies"])
def test_a_shared_stream_in_a_guarded_page_of_firefox_is_its_own(
        guarded, tmp_path, query, prefs):
    firefox = Firefox(tmp_path, **prefs)
    try:
        firefox.visit(guarded(report=firefox.report_url, **query))
        judge(firefox.until(is_served))
    finally:
        firefox.close()


# ---------------------------------------------------------------- service workers

WORKER = """
self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (e) => e.waitUntil(clients.claim()));
self.addEventListener('fetch', (e) => {
%s
	e.respondWith(fetch(e.request));
});
"""


def lines_of(readme):
    """What is to stand first in the handler."""
    return re.search(r"^```js\n(// first in the service worker.*?)^```$",
                     (ROOT / readme).read_text(), re.S | re.M).group(1)


@pytest.fixture
def worked(make_stack, tmp_path):
    """worked(lines) -> (stack, browser, web): a site with a service worker,
    in whose handler these lines stand first."""
    st = make_stack(listen="fd0", metrics=False)
    web = st.front("lighttpd")
    browser = Browser(tmp_path)

    def open_site(lines):
        web.put("sw.js", WORKER % lines)
        web.put("page.html", (ROOT / "tests" / "system" / "eventsource.html"
                              ).read_text())
        page = browser.page(web.url + "/index.html")
        page.until("document.readyState === 'complete'")
        page.eval("navigator.serviceWorker.register('/sw.js')"
                  ".then(() => navigator.serviceWorker.ready).then(() => 1)")
        page.until("navigator.serviceWorker.controller !== null")
        return st, browser, web

    yield open_site
    browser.close()


def over_a_cut(st, page, cut, opened, ids):
    """The worker's stream is `cut`: its process is killed, or told to end.  Ids that were sent: one, five while the page is cut off, one."""
    page.until(opened % 1)
    sent = [st.publish("a", 0)]
    page.until(ids + ".length === 1")
    st.kill_worker(0) if cut == "killed" else st.stop_worker(0)
    sent += [st.publish("a", n) for n in range(5)]
    st.start_worker(0)
    page.until(opened % 2)
    sent.append(st.publish("a", 6))
    page.until("%s.includes(%d)" % (ids, sent[-1]))
    return sent


def native(web, browser):
    page = browser.page(web.url + "/page.html?channel=a")
    page.until("typeof seen === 'object'")
    assert page.eval("navigator.serviceWorker.controller !== null")
    return page


@pytest.mark.parametrize("cut", ["killed", "stopped"])
@pytest.mark.parametrize("readme", ["README.md", "client/README.md"])
def test_a_service_worker_with_the_lines_of_the_readme_costs_no_event(
        worked, readme, cut):
    st, browser, web = worked(lines_of(readme))
    page = native(web, browser)
    sent = over_a_cut(st, page, cut, "seen.opens >= %d", "seen.ids")
    assert page.eval("seen.ids") == sent


def test_a_service_worker_without_the_lines_loses_them(worked):
    """Not a promise but Chromium's fault, of which the documents warn."""
    st, browser, web = worked("")
    page = native(web, browser)
    sent = over_a_cut(st, page, "stopped", "seen.opens >= %d", "seen.ids")
    got = page.eval("seen.ids")
    print("Chromium's EventSource has %r of %r" % (got, sent))
    assert got == [sent[0], sent[-1]], "mended there? then tell the READMEs"


@pytest.mark.parametrize("cut", ["killed", "stopped"])
@pytest.mark.parametrize("transport", ["auto", "eventsource"])
def test_the_client_loses_nothing_by_a_service_worker(worked, transport, cut):
    st, browser, web = worked("")
    page = browser.page(page_url(web, transport=transport))
    page.until("typeof ids === 'function'")
    assert page.eval("navigator.serviceWorker.controller !== null")
    sent = over_a_cut(st, page, cut, "log.filter(({ on }) => on === 'open')"
                      ".length >= %d", "ids()")
    assert page.eval("ids()") == sent
