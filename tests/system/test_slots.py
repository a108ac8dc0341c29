# SPDX-License-Identifier: MIT
"""Slots: streams can never take the site's pages down, and whoever had to wait
comes in.  Apache has Debian's untouched MPM figures (150 threads) here."""

import json
import pathlib
import signal
import socket

import pytest

from harness import DEBIAN_MPM, wait_until
from loadlib import (Page, Publishers, Subscribers, audit, say, size,
                     slot_locks, whole)


def take_all(web, n, channel="c0"):
    """n streams that were let in."""
    return [web.admit({"channel": channel}) for _ in range(n)]


def refused(web, channel="c0"):
    """What a visitor past the cap is told: control.close."""
    with web.stream({"channel": channel}) as s:
        assert s.status == 200
        assert s.headers["content-type"].startswith("text/event-stream")
        e = s.next()
        assert e.type == "control.close", e
        assert s.parser.retry > 0
        s.end()             # and the response ends as it should
        assert s.complete
        return e


def test_1000_clients_come_to_an_untouched_apache_and_its_pages_go_on(
        make_stack):
    """Shipped cap (100), Debian's 150 threads: pages answer within a second
    throughout; who is let in has everything; the others are told softly and
    come in as slots are given back."""
    st = make_stack(config={"retry_ms": 1000, "heartbeat_ms": 1000})
    web = st.front("apache-proxy")
    assert "MaxRequestWorkers       150" in \
        pathlib.Path(DEBIAN_MPM).read_text()
    events = size(2000, 20000)
    # "earliest": whoever comes late still has the whole log to get.
    query = "channel=c0&last_event_id=earliest"
    with Page(web, "/index.html", "page") as static, \
            Page(web, "/cgi-bin/page.cgi", "cgi page") as cgi, \
            Subscribers(st, web, 1000, "--until-id", events, "--close-done",
                        query=query, ready=100, max_time=240) as subs:
        subs.ready()
        # All are there, and all slots are taken, while this is published.
        with Publishers(st, events, "--rate", 400) as p:
            p.result()
        r = subs.result()
    whole(r, 1000, events)
    say(clients=1000, events=events, elapsed_s=r["elapsed_s"],
        told_overload=r["control"]["close"].get("overload", 0),
        http=r["http"], pages=len(static.seen), cgi_pages=len(cgi.seen),
        slowest_page_s=static.slowest, slowest_cgi_s=cgi.slowest)
    assert set(r["http"]) == {"200"} and r["ends_cut"] == 0
    assert set(r["control"]["close"]) == {"overload"}
    assert r["control"]["close"]["overload"] >= 900
    assert r["control"]["open"] == 1000     # none was let in twice
    assert len(static.seen) > 100 and len(cgi.seen) > 100
    assert static.slowest < 1 and cgi.slowest < 1
    audit(st)


def test_streams_that_stay_do_not_starve_the_pages(make_stack):
    """As many as want to, for as long as they want to, with churn."""
    st = make_stack(config={"retry_ms": 1000})
    web = st.front("apache-proxy")
    with Page(web, "/index.html", "page") as static, \
            Page(web, "/cgi-bin/page.cgi", "cgi page") as cgi, \
            Subscribers(st, web, 1000, "--churn", 5, "--seconds", 3600,
                        ready=100, max_time=size(15, 120)) as subs:
        subs.ready()
        with Publishers(st, size(2000, 20000), "--rate", 200) as p:
            p.result()
        subs.stop()
        r = subs.result(good=False)
    say(events=r["events"], opened=r["streams_opened"],
        overload=r["control"]["close"], slowest_page_s=static.slowest,
        slowest_cgi_s=cgi.slowest)
    assert r["violations"] == 0 and r["failed_streams"] == 0, r
    assert r["streams_opened"] > 100    # others came in as some left
    assert static.slowest < 1 and cgi.slowest < 1


@pytest.mark.parametrize("kind", ["lighttpd", "apache-proxy"])
def test_the_cap_holds_over_all_workers_and_is_exact(make_stack, kind):
    st = make_stack(workers=2, metrics=False)
    web = st.front(kind, cap=20)
    streams = take_all(web, 20)
    assert refused(web).json["reason"] == "overload"
    streams.pop().close()
    streams.append(web.admit({"channel": "c0"}))    # comes in
    assert refused(web).json["reason"] == "overload"
    for s in streams:
        s.close()
    # Writing finds that they left; heartbeats do (1 s).
    wait_until(lambda: not slot_locks(st), 20, "all slots to be given back")
    # Whichever worker had a slot, the other one can take it now.
    for w in st.workers[1:]:
        assert w.stop() == 0
    for s in take_all(web, 20):
        s.close()


@pytest.mark.parametrize("kind,line", [
    ("apache-proxy", 'SetEnv WALCAST_MAX_STREAMS 100'),
    ("lighttpd", '"WALCAST_MAX_STREAMS" => "')])
@pytest.mark.parametrize("value,cap", [("2 ", 2), ("2x", 20), ("-1", 20)])
def test_a_malformed_cap_is_no_open_door(make_stack, kind, line, value, cap):
    """White space does not count; what is no number is a safe cap, told."""
    st = make_stack(metrics=False)
    web = st.front(kind, cap=100, subst=[
        (line, line.rsplit(" ", 1)[0] + ' "%s"' % value)
        if kind == "apache-proxy" else
        (line + '100"', line + value + '"')])
    streams = take_all(web, cap)
    assert refused(web).json["reason"] == "overload"
    for s in streams:
        s.close()
    told = st.worker.log.read_text().count("which is no number")
    assert told == (0 if cap == 2 else 1)


def test_slots_of_a_killed_worker_are_free_at_once(make_stack):
    st = make_stack(workers=2, metrics=False)
    web = st.front("lighttpd", cap=20)
    for round in range(3):
        streams = take_all(web, 20)
        refused(web)
        for n in range(2):
            st.kill_worker(n, restart=True)
        for s in streams:
            s.end()
            s.close()
    for s in take_all(web, 20):
        s.close()


def test_slots_of_a_killed_web_server_are_given_back(make_stack):
    st = make_stack(metrics=False)
    web = st.front("apache-proxy", cap=50)
    streams = take_all(web, 50)
    web.kill()
    for s in streams:
        s.close()
    # The kernel tells the worker, with no event and no heartbeat needed.
    wait_until(lambda: not slot_locks(st), 10, "the slots")
    web.start()
    for s in take_all(web, 50):
        s.close()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT,
                                 signal.SIGKILL])
def test_no_lock_in_shared_memory_outlives_its_worker(make_stack, sig):
    st = make_stack(workers=2, metrics=False)
    web = st.front("lighttpd", cap=20)
    streams = take_all(web, 20)
    assert slot_locks(st)
    for w in st.workers:
        w.stop(sig)
    assert slot_locks(st) == []
    for s in streams:
        s.close()


def test_a_quiet_site_learns_of_slots_given_back_by_its_heartbeats(
        make_stack):
    """No event is published: the next visitor still comes in."""
    st = make_stack(config={"heartbeat_ms": 500}, metrics=False)
    web = st.front("apache-proxy", cap=10)
    for s in take_all(web, 10):
        s.close()
    with web.admit({"channel": "c0"}) as s:
        id = st.publish("c0", json.dumps({"n": 1}))
        assert s.data().id == str(id)


def test_pages_come_when_no_worker_answers(make_stack):
    """Debian's MPM, the shipped file: a stopped worker takes no more threads
    than Apache has to spare, and who is refused is told to come again."""
    st = make_stack(metrics=False)
    web = st.front("apache-proxy")
    st.worker.pause()
    waiting = []
    try:
        for _ in range(200):
            s = socket.create_connection(web.addr, timeout=5)
            s.sendall(b"GET /sse.fcgi?channel=a HTTP/1.1\r\n"
                      b"Host: localhost\r\n\r\n")
            waiting.append(s)
        for _ in range(10):
            assert web.get("/index.html", timeout=10)[0] == 200
        told = [s for s in waiting if says_overload(s)]
        assert len(told) > 200 - 6 * 25     # all beyond the threads
    finally:
        st.worker.resume()
        for s in waiting:
            s.close()
    assert web.admit({"channel": "a"}, timeout=20)


def says_overload(s):
    """Of what has come: a 200 stream that says so, and no 503."""
    s.settimeout(0.01)
    try:
        got = s.recv(4096)
    except TimeoutError:
        return False
    assert got.startswith(b"HTTP/1.1 200 "), got
    assert b"text/event-stream" in got and b"retry: 5000" in got, got
    return b'"reason":"overload"' in got


def test_a_worker_that_is_away_is_no_end_for_an_eventsource(make_stack):
    st = make_stack(metrics=False)
    web = st.front("apache-proxy")
    st.worker.stop()
    status, headers, body = web.get("/sse.fcgi?channel=a")[:3]
    assert status == 200
    assert b"event: control.close" in body
