# SPDX-License-Identifier: MIT
"""Streams in pages that may not do all that a page may: frames with sandbox,
cookies blocked, service workers before them; in Chromium and in Firefox."""

import json
import os
import pathlib
import urllib.parse

import pytest

from browser import Browser
from firefox import FIREFOX, Firefox
from webclient import DIST, REAL

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
