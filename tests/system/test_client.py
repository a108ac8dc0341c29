# SPDX-License-Identifier: MIT
"""The JavaScript client against the real servers, in Node and in Chromium."""

import os
import random
import shutil

import pytest

from browser import Browser
from harness import ROOT, wait_until
from loadlib import Publishers, publish, rows, say, size
from test_kill import strike
from webclient import (Chromium, Consumer, Page, Server, Way, begin_stream,
                       page_url, refuse, withholding)

FRONTS = ["lighttpd", "apache-proxy"]
CONFIG = {"retry_ms": 100, "heartbeat_ms": 500}
no_browser = pytest.mark.skipif(
    "WALCAST_NO_BROWSER" in os.environ, reason="WALCAST_NO_BROWSER is set")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    b = Chromium(tmp_path_factory.mktemp("chromium"))
    yield b
    b.close()


@pytest.fixture
def browser(tmp_path):
    b = Browser(tmp_path)
    yield b
    b.close()


def send(st, n, channel="a"):
    """Publishes n events; returns the id of the last one."""
    return st.pub.publish_many([(channel, i) for i in range(n)])[-1]


def logged(st, id):
    """Waits until the log has come so far."""
    wait_until(lambda: rows(st, "SELECT max(id) >= ? FROM events", id)[0][0],
               60, "event %d in the log" % id)


def once_in_order(log, last, first=1):
    """Every event once, in order: by handler, which is all that counts."""
    ids = log.until_id(last, 60)
    assert ids == list(range(first, last + 1)), log.alarms()


# ---------------------------------------------------------------- kill -9

@no_browser
@pytest.mark.parametrize("kind", FRONTS)
def test_ten_thousand_events_and_kill_9_of_all_servers(make_stack, chromium,
                                                       kind):
    st = make_stack(config=CONFIG, metrics=False)
    web = st.front(kind)
    rounds = size(2, 10)
    chance = random.Random(rounds)
    part = 10000 // (3 * rounds) + 1
    logs = [Consumer(st, web.url + "/sse.fcgi", channels="c0"),
            chromium.tab(web, "kill " + kind, channels="c0")]
    for log in logs:
        log.until_open()
    done = 0
    for n in range(rounds):
        for what in chance.sample(["pubd", "worker", "web"], 3):
            with Publishers(st, part, "--rate", 3000, "--connections", 4,
                            "--pipeline", 8, "--keys", "%d-%s" % (n, what),
                            "--retry-errors", max_time=60) as pub:
                logged(st, done + chance.randrange(1, part // 2))
                strike(st, web, what, n)
                assert pub.result()["acked"] == part
            done += part
        for log in logs:        # a client that is away cannot be cut off
            log.until_open(2 + n)
    for log in logs:
        once_in_order(log, done)
        say(front=kind, client=log.name, streams=len(log.opens()))
        # Nothing was lost, so nothing may have been reported as lost.
        assert log.of("gap", "cannotResume", "outOfOrder") == []
        assert len(log.opens()) > rounds


def test_a_consumer_that_is_killed_goes_on_where_its_file_says(make_stack):
    st = make_stack(config=CONFIG, metrics=False)
    web = st.front("lighttpd")
    options = {"file": str(st.dir / "position.json")}
    url = web.url + "/sse.fcgi"
    seen, last = [], 0
    for how in ("stop", "kill", "stop", "stop"):
        log = Consumer(st, url, **options)
        log.until_open()
        before = last
        last = send(st, 200)
        ids = log.until_id(last)
        # A crash may repeat what was handled, and nothing is ever left out.
        assert ids == list(range(ids[0], last + 1))
        assert ids[0] <= before + 1
        if seen and seen[-1] == "stop":
            assert ids[0] == before + 1, "repeated after a clean stop"
        getattr(log, how)()
        seen.append(how)
    assert log.of("resumeAttempt")[0]["lastEventId"] != ""


# ---------------------------------------------------------------- pages

def gone_and_back(st, tab, away, back, reason):
    """away(), some events, back(): they come, by a new stream, and the old one
    was closed for this reason."""
    streams = len(tab.opens())
    away()
    missed = send(st, 10)
    back()
    tab.until_id(missed)
    assert len(tab.opens()) > streams
    assert tab.of("close")[-1]["reason"] == reason


@no_browser
def test_a_page_survives_the_loss_of_the_network_and_the_page_cache(
        make_stack, chromium):
    st = make_stack(config=CONFIG, metrics=False)
    web = st.front("lighttpd")

    def offline(value):
        (way.darken if value else way.lighten)()
        chromium.call("offline", context="network", value=value)

    with Way(web) as way:
        tab = chromium.tab(way, "network")
        tab.until_open()
        tab.until_id(send(st, 10))
        # The browser knows: it does not wait for a silence.
        gone_and_back(st, tab, lambda: offline(True), lambda: offline(False),
                      "online")
        assert tab.of("livenessFailure") == []
        # Nobody knows; the way is free again for whoever comes anew.
        gone_and_back(st, tab, way.darken, way.lighten, "timeout")
        gone_and_back(st, tab,
                      lambda: tab.call("goto", url=way.url + "/index.html"),
                      lambda: tab.call("back"), "pagehide")
        assert tab.of("pageshow")[-1]["persisted"], "it was loaded anew"
        once_in_order(tab, send(st, 10))
        assert tab.alarms() == []


@no_browser
def test_a_page_that_is_frozen_goes_on_where_it_was(make_stack, browser):
    """Through the debugging pipe: playwright keeps each tab visible, and what
    is visible does not freeze."""
    st = make_stack(config=CONFIG, metrics=False)
    web = st.front("lighttpd")
    page = browser.page(page_url(web))
    page.until("globalThis.log?.length > 0")
    tab = Page(page.eval)

    def become(state):
        browser.call("Page.setWebLifecycleState", page.session, state=state)

    tab.until_open()
    tab.until_id(send(st, 10))
    for _ in range(3):
        gone_and_back(st, tab, lambda: become("frozen"),
                      lambda: become("active"), "freeze")
    once_in_order(tab, send(st, 10))
    assert tab.alarms() == []


@no_browser
def test_the_demo_page_proves_that_nothing_is_missing(make_stack, chromium):
    st = make_stack(config=CONFIG, metrics=False)
    web = st.front("lighttpd")
    web.put("demo.html", (ROOT / "tests/demo/index.html").read_text())
    send(st, 20)
    tab = chromium.tab(web, "demo")     # puts the client there, too
    tab.call("goto", url=web.url + "/demo.html")

    def shows(id):
        return tab.eval("document.getElementById('%s').textContent" % id)

    # It begins with the newest ten.
    wait_until(lambda: shows("received") == "10", 20, "ten events")
    last = [send(st, 30, c) for c in "bc"][-1]
    st.kill_worker(restart=True)
    last = st.publish("b", "<b>bold</b>", event="created")
    wait_until(lambda: shows("position") == str(last), 20, "the last event")
    assert shows("received") == "71"
    assert int(shows("reconnects")) >= 1
    assert [shows(i) for i in ("gaps", "duplicates", "disorder")] == ["0"] * 3
    assert shows("state") == "live"
    assert "b created" in shows("events") and "<b>bold" in shows("events")


@no_browser
def test_a_page_that_is_loaded_anew_goes_on_after_what_it_handled(make_stack,
                                                                  chromium):
    st = make_stack(config=CONFIG, metrics=False)
    web = st.front("lighttpd")
    tab = chromium.tab(web, "reload", storage="session")
    tab.until_open()
    last = send(st, 20)
    once_in_order(tab, last)
    for _ in range(3):
        tab.call("goto", url=web.url + "/index.html")
        first, last = last + 1, send(st, 20)
        tab.load(page_url(web, storage="session"))
        once_in_order(tab, last, first)
        assert tab.alarms() == []


def leader_of(tabs):
    found = [t for t in tabs if t.eval("isLeader()")]
    return found[0] if len(found) == 1 else None


def streams_open(st, web):
    return st.gauges(web).get("sse_streams_open")


@no_browser
def test_three_tabs_share_a_stream_and_lose_nothing_with_their_leaders(
        make_stack, chromium):
    st = make_stack(config=CONFIG)
    web = st.front("lighttpd")

    def join(**options):
        tab = chromium.tab(web, "shared", shared=True, **options)
        tab.until_open()
        return tab

    tabs = [join() for _ in range(3)]
    wait_until(lambda: streams_open(st, web) == 1, 20, "one stream")
    last = send(st, 20)
    for n in range(10):
        leader = wait_until(lambda: leader_of(tabs), 20, "a leader")
        with Publishers(st, 60, "--rate", 400, channel="a",
                        max_time=30) as pub:
            logged(st, last + 10)
            leader.call("crash" if n % 3 == 2 else "close")
            tabs.remove(leader)
            # Every other one wants what was before it came, too.
            tabs.append(join(**({"lastEventId": "earliest"} if n % 2 else {})))
            assert pub.result()["acked"] == 60
        last += 60
        for tab in tabs:        # one that has just come may not get an event
            tab.until(lambda t: t.eval("stream.lastEventId >= %d" % last),
                      what="position %d" % last)
    last = send(st, 5)
    for tab in tabs:
        ids = tab.until_id(last)
        assert ids == list(range(ids[0], last + 1)), tab.name
        assert tab.of("cannotResume", "outOfOrder", "gap") == []
        assert tab.eval("stream.stats().transport") == "shared"
    assert any(tab.ids()[0] == 1 for tab in tabs)
    wait_until(lambda: streams_open(st, web) == 1, 20, "one stream")


# ---------------------------------------------------------------- resuming

def paused(st, web, policies):
    """Consumers that have handled events 1 to 10 and stopped:
    [function that starts the next one]."""
    def make(policy):
        options = dict(policy, file=str(st.dir / ("at-" + "-".join(
            policy.values()))))
        return lambda: Consumer(st, web.url + "/sse.fcgi", **options)

    starts = [make(p) for p in policies]
    logs = [start() for start in starts]
    for log in logs:
        log.until_open()
    last = send(st, 10)
    for log in logs:
        once_in_order(log, last)
        log.stop()
    return starts


POLICIES = [{"cannotResume": "continue"}, {"cannotResume": "start_fresh"},
            {"cannotResume": "close"},
            {"cannotResume": "callback", "answer": "start_fresh"},
            {"cannotResume": "callback", "answer": "close"}]


def follows_policy(st, log, policy, newest, oldest):
    """What comes after the gap; log is from a consumer that was told."""
    chosen = policy.get("answer", policy["cannotResume"])
    assert log.of("cannotResume")[0]["policy"] == policy["cannotResume"]
    if chosen == "close":
        end = log.until(lambda c: [e for e in c.of("close")
                                   if not e["willReconnect"]])[0]
        assert end["reason"] == "cannot_resume" and log.ids() == []
    elif chosen == "start_fresh":
        log.until_open(2)
        assert log.opens()[1]["resumed_from"] is None
    else:
        assert log.until_id(newest) == list(range(oldest, newest + 1))


def told_alike(st, starts, policies, newest, oldest, expected):
    """Starts the consumers; each is told `expected` once, and does as its
    policy says; events published then come to those that go on."""
    logs = [start() for start in starts]
    for log, policy in zip(logs, policies):
        log.until(lambda c: c.of("cannotResume"), what="cannotResume")
        follows_policy(st, log, policy, newest, oldest)
    last = send(st, 3)
    for log, policy in zip(logs, policies):
        chosen = policy.get("answer", policy["cannotResume"])
        if chosen != "close":
            first = oldest if chosen == "continue" else newest + 1
            once_in_order(log, last, first)
        told = log.of("cannotResume")
        assert len(told) == 1 and expected.items() <= told[0].items(), told
        gap = log.of("gap")
        assert len(gap) == 1 and gap[0]["source"] == "server"
        assert {k: gap[0][k] for k in expected if k != "generation"} == \
            {k: v for k, v in expected.items() if k != "generation"}


def test_retention_passed_it_and_each_policy_knows_what_is_lost(make_stack):
    st = make_stack(config=CONFIG, metrics=False)
    web = st.front("lighttpd")
    starts = paused(st, web, POLICIES)
    assert send(st, 90) == 100
    st.walcast("trim", "--keep", "20", check=True)
    assert st.oldest() == 81
    told_alike(st, starts, POLICIES, 100, 81, {
        "code": "expired", "requested": 10, "oldest": 81, "newest": 100,
        "lost": 70, "generation": generation(st)})


def generation(st):
    return st.pub.call({"op": "ping"})["generation"]


def test_a_log_made_anew_is_told_from_the_old_one(make_stack):
    st = make_stack(config=CONFIG, metrics=False)
    web = st.front("lighttpd")
    starts = paused(st, web, POLICIES)
    old = generation(st)
    st.stop_worker()
    st.stop_pubd()
    shutil.rmtree(st.var)
    st.init()
    st.start_pubd()
    st.start_worker(0)
    assert generation(st) != old
    # More events than the consumers know: by the id alone nothing is wrong.
    assert send(st, 30) == 30
    told_alike(st, starts, POLICIES, 30, 1, {
        "code": "generation", "requested": 10, "oldest": 1, "newest": 30,
        "lost": 0, "generation": generation(st)})


@pytest.mark.parametrize("kind", FRONTS)
def test_a_hundred_quiet_reconnects_raise_no_alarm(make_stack, kind):
    st = make_stack(config=CONFIG, metrics=False)
    web = st.front(kind)
    url = web.url + "/sse.fcgi"
    send(st, 50, "b")
    log = Consumer(st, url, channels=["a", "b"], restarts=100)
    log.until_open(101)
    # The same at a position that is all that was ever in the log.
    other = Consumer(st, url, channels=["a", "b"], lastEventId="50",
                     restarts=100)
    st.walcast("trim", "--keep", "0", check=True)
    other.until_open(101)
    last = send(st, 5)
    for c in (log, other):
        once_in_order(c, last, 51)
        assert c.alarms() == [] and c.of("livenessFailure") == []
        assert len(c.opens()) == 101


def test_a_quiet_channel_does_not_fall_behind_what_is_retained(make_stack):
    st = make_stack(config=CONFIG, metrics=False)
    web = st.front("lighttpd")
    log = Consumer(st, web.url + "/sse.fcgi")
    log.until_open()
    other = send(st, 100, "b")
    log.until(lambda c: [e for e in c.of("heartbeat") if e["id"] == str(other)],
              what="a heartbeat that says %d" % other)
    st.walcast("trim", "--keep", "0", check=True)
    st.kill_worker(restart=True)
    log.until_open(2)
    once_in_order(log, send(st, 5), other + 1)
    assert log.alarms() == []


# ---------------------------------------------------------------- withheld

def test_an_event_that_the_way_swallows_is_noticed_and_fetched(make_stack):
    st = make_stack(config=CONFIG, metrics=False)
    web = st.front("lighttpd")
    with withholding(web, lambda id, times: id == 7 and times == 0) as proxy:
        log = Consumer(st, proxy.url)
        log.until_open()
        once_in_order(log, send(st, 20))
        gap, = log.of("gap")
        assert {k: gap[k] for k in ("source", "channel", "after", "prev", "id",
                                    "action")} == {
            "source": "prev", "channel": "a", "after": 6, "prev": 7,
            "id": "8", "action": "resume"}
        assert log.of("duplicate", "outOfOrder", "cannotResume") == []
        log.stop()


def test_of_several_channels_only_what_was_withheld_comes_late(make_stack):
    st = make_stack(config=CONFIG, metrics=False)
    web = st.front("lighttpd")
    with withholding(web, lambda id, times: id == 7 and times == 0) as proxy:
        log = Consumer(st, proxy.url, channels=["a", "b"])
        log.until_open()
        for n in range(10):
            last = [send(st, 1, c) for c in "ab"][-1]
        log.until_id(last)
        # 7 is on a: 8, on b, proves nothing; 9 does.
        assert log.ids() == [1, 2, 3, 4, 5, 6, 8, 7, *range(9, 21)]
        assert [e["id"] for e in log.of("event") if e.get("recovered")] == [7]
        assert len(log.of("gap")) == 1
        assert log.of("duplicate", "outOfOrder", "cannotResume") == []
        log.stop()


def test_what_never_comes_is_given_up_and_told(make_stack):
    st = make_stack(config=CONFIG, metrics=False)
    web = st.front("lighttpd")
    with withholding(web, lambda id, times: id == 7) as proxy:
        log = Consumer(st, proxy.url)
        log.until_open()
        last = send(st, 20)
        assert log.until_id(last) == [i for i in range(1, 21) if i != 7]
        assert [g["action"] for g in log.of("gap")] == [
            "resume", "resume", "give_up"]
        log.stop()


# ---------------------------------------------------------------- answers

def closed(log):
    return log.until(lambda c: [e for e in c.of("close")
                                if not e["willReconnect"]])[0]


def test_204_ends_it_and_401_is_asked_again_only_with_another_token(
        make_stack):
    st = make_stack(workers=0, pubd=False, metrics=False)
    with Server(lambda h, n: refuse(h, 204)) as none, \
            Server(lambda h, n: refuse(h, 401)) as shut, \
            Server(lambda h, n: refuse(h, 401)) as keyed:
        logs = [Consumer(st, none.url), Consumer(st, shut.url),
                Consumer(st, keyed.url, tokens=["old", "new", "newer"])]
        ends = [closed(log) for log in logs]
        assert [e["reason"] for e in ends] == ["no_content", "status",
                                               "status"]
        assert [e.get("status") for e in ends[1:]] == [401, 401]
        assert logs[0].of("error") == []
        assert len(none.requests) == len(shut.requests) == 1
        assert [h.get("authorization", h.get("Authorization"))
                for _, _, h in keyed.requests] == ["Bearer old", "Bearer new"]
        for log in logs:
            log.stop()


def test_503_with_retry_after_is_waited_out(make_stack):
    st = make_stack(workers=0, pubd=False, metrics=False)

    def answer(handler, n):
        refuse(handler, *((503,) if n == 0 else (204,)), Retry_After="1")

    with Server(answer) as web:
        log = Consumer(st, web.url)
        assert closed(log)["reason"] == "no_content"
        assert log.of("retry")[0]["retryIn"] >= 1000
        assert web.requests[1][0] - web.requests[0][0] >= 0.99
        log.stop()


def test_the_server_s_retry_is_the_least_that_is_waited(make_stack):
    st = make_stack(config={"retry_ms": 400}, metrics=False)
    web = st.front("lighttpd")

    def answer(handler, n):
        if n == 2:
            refuse(handler, 204)
            return
        begin_stream(handler)
        handler.wfile.write(b"retry: 600\n\n: and the end\n\n")

    with Server(answer) as other:
        quick = {"initialDelayMs": 1, "maxDelayMs": 1}
        log = Consumer(st, other.url, retry=quick)
        real = Consumer(st, web.url + "/sse.fcgi", retry=quick)
        assert closed(log)["reason"] == "no_content"
        assert all(e["retryIn"] >= 600 for e in log.of("retry"))
        at = [t for t, _, _ in other.requests]
        assert min(b - a for a, b in zip(at, at[1:])) >= 0.59
        real.until_open()
        st.kill_worker(restart=True)
        real.until_open(2)
        # With a quarter of jitter either way.
        assert real.of("retry")[0]["retryIn"] >= 300
        log.stop()


# ---------------------------------------------------------------- memory

def test_memory_does_not_grow_with_events(make_stack):
    st = make_stack(config={"retain_events": 0, "retain_age_s": 0},
                    metrics=False)
    web = st.front("lighttpd")
    first, last = 200000, size(400000, 1000000)
    publish(st, last, "--connections", 16, "--pipeline", 64, "--size", 20,
            max_time=120)
    log = Consumer(st, web.url + "/sse.fcgi", channels="c0", gc=True,
                   lastEventId="earliest", weighAt=[first, last])
    log.until(lambda c: len(c.of("weight")) == 2, size(60, 300),
              "%d events" % last)
    before, after = [e["heap"] for e in log.of("weight")]
    end = log.stop()
    say(events=end["events"], before=before, after=after)
    assert end["events"] == last and end["duplicates"] == 0
    # An id alone, kept for each event, would be more than this.
    assert after - before < 1 << 20
