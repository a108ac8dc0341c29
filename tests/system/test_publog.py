# SPDX-License-Identifier: MIT
"""What pubd logs: one JSON object a line, found by its event, without what
people publish, and not more than log_rate lets through."""

import json
import os
import pathlib
import sqlite3
import time

import pytest

from harness import wait_until

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
JSON_LOG = {"log_format": "json", "log_level": "info"}


def lines(st):
    text = pathlib.Path(st.pubd.log).read_text()
    return [json.loads(l) for l in text.splitlines()]


def events(st, name):
    return [l for l in lines(st) if l.get("event") == name]


def awaited(st, name, n=1, timeout=20):
    wait_until(lambda: len(events(st, name)) >= n, timeout,
               "%s in the log of pubd" % name)
    return events(st, name)


@pytest.fixture
def logged(make_stack):
    def make(**config):
        return make_stack(config=dict(JSON_LOG, **config), workers=0,
                          metrics=False)
    return make


def test_the_first_and_the_last_line_say_what_and_where(logged):
    st = logged()
    started, = awaited(st, "pubd.start")
    assert started["level"] == "info" and started["program"] == "pubd"
    assert started["pid"] == st.pubd.pid
    assert started["socket"] == str(st.pubd_sock)
    assert started["database"] == str(st.db)
    assert started["head"] == 0 and started["version"]
    assert started["generation"] == st.pub.call({"op": "ping"})["generation"]
    st.publish("a", 1)
    log = st.pubd.log
    st.stop_pubd()
    last = [json.loads(l) for l in pathlib.Path(log).read_text().splitlines()
            if '"pubd.stop"' in l]
    assert last[0]["head"] == 1 and last[0]["connections"] >= 1


def test_publishers_come_and_go_at_the_level_debug(logged):
    st = logged(log_level="debug")
    with st.publisher() as p:
        p.publish("a", 1)
        came = awaited(st, "publisher.connect")[-1]
        assert (came["pid"], came["uid"]) == (os.getpid(), os.geteuid())
    gone, = wait_until(
        lambda: [l for l in events(st, "publisher.disconnect")
                 if l["conn"] == came["conn"]], 20, "the end in the log")
    assert gone["pid"] == os.getpid()
    quiet = logged()
    with quiet.publisher() as p:
        p.publish("a", 1)
    assert events(quiet, "publisher.connect") == []


def test_an_error_names_code_and_channel_and_nothing_that_was_sent(logged):
    st = logged(log_level="debug")
    with st.publisher() as p:
        p.call({"channel": "a", "data": "PAYLOAD", "key": "KEY" * 100})
        p.call({"channel": "not this one", "data": "PAYLOAD"})
        p.send("PAYLOAD")
        p.recv()
        p.publish("a", "PAYLOAD", key="KEY")
    told = awaited(st, "publisher.error", 3)
    assert [(l["error"], l.get("channel")) for l in told] == [
        ("bad_request", "a"), ("bad_channel", None), ("bad_json", None)]
    assert len({l["conn"] for l in told}) == 1
    text = pathlib.Path(st.pubd.log).read_text()
    assert "PAYLOAD" not in text and "KEY" not in text


def test_an_event_with_a_trace_has_a_line(logged):
    st = logged()
    st.publish("a", 1)
    id = st.publish("a", "12345", trace=TRACE, event="created")
    line, = awaited(st, "event.accepted")
    assert (line["id"], line["channel"], line["type"], line["trace"],
            line["bytes"]) == (id, "a", "created", TRACE, 5)
    all_of_them = logged(log_level="debug")
    all_of_them.publish("a", 1)
    line, = awaited(all_of_them, "event.accepted")
    assert line["level"] == "debug" and "trace" not in line


def test_lines_that_a_publisher_causes_are_limited(logged):
    st = logged(log_rate=5)
    begun = time.monotonic()
    with st.publisher() as p:
        for _ in range(10):
            p.send(*["bad"] * 200)
            for _ in range(200):
                p.recv()
        took = time.monotonic() - begun
        assert len(events(st, "publisher.error")) <= 5 * (took + 2)

        def told():
            p.call("bad")
            return [l for l in lines(st) if "left out" in l.get("msg", "")]
        wait_until(told, 10, "the number of lines that were left out")
    st.configure(log_rate=0)
    st.restart_pubd()
    with st.publisher() as p:
        p.send(*["bad"] * 200)
        for _ in range(200):
            p.recv()
    assert len(events(st, "publisher.error")) == 200


def test_the_log_goes_away_and_comes_back(logged):
    st = logged()
    st.publish("a", 1)
    away = st.db.with_name("away.db")
    st.db.rename(away)
    line = awaited(st, "log.away")[0]
    assert line["database"] == str(st.db) and line["why"] == "moved"
    with st.publisher() as p:
        assert p.call({"channel": "a", "data": 1})["error"] == "unavailable"
    assert awaited(st, "commit.failed")[0]["events"] == 1
    away.rename(st.db)
    back = awaited(st, "log.back")[-1]
    assert back["head"] == 1 and back["level"] == "info"


def test_a_locked_log_is_told_and_counted(logged):
    st = logged(lock_timeout_ms=300)
    st.publish("a", 1)
    other = sqlite3.connect(st.db, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with st.publisher() as p:
        assert p.call({"channel": "a", "data": 1})["error"] == "busy"
    assert awaited(st, "commit.waits")[0]["events"] == 1
    assert awaited(st, "commit.failed")[0]["why"] == "busy"
    other.execute("ROLLBACK")
    other.close()
    st.publish("a", 2)


def test_retention_is_told_once_a_minute(logged):
    st = logged(retain_events=100)
    for _ in range(4):
        st.pub.publish_many(("a", n) for n in range(1200))
    wait_until(lambda: st.oldest() > 3000, 30, "retention")
    line, = events(st, "retention.trim")
    assert line["events"] > 0 and line["oldest"] > 1


def test_a_reader_that_blocks_checkpoints_is_told(logged):
    st = logged(retain_bytes=0)
    st.publish("a", 1)
    reader = sqlite3.connect("file:%s?mode=ro" % st.db, uri=True,
                             isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM events").fetchall()
    for _ in range(20):
        st.pub.publish_many((("a", "x" * 60000) for n in range(50)), window=100)
    line, = awaited(st, "checkpoint.blocked")
    assert line["pages"] > 10000 and line["level"] == "warning"
    reader.close()
