# SPDX-License-Identifier: MIT
"""GET /sse.fcgi: every line of what a client can ask and see, through lighttpd;
the same core through each front end is in test_fronts.py."""

import json
import signal
import time

import pytest

from harness import wait_until


def ids(events):
    return [int(e.id) for e in events]


def datas(events):
    return [e.data for e in events]


# ---------------------------------------------------------------- the first bytes

def test_the_first_block_is_retry_id_event_data(stack, lighttpd, channel):
    with lighttpd.stream({"channel": channel}) as s:
        s.open()
        lines = s.parser.blocks[0]
        assert [l.split(":")[0] for l in lines] == [
            "retry", "id", "event", "data"], lines
        assert s.raw.startswith(b"retry: ")
        assert lines[1] == "id: %d" % stack.head()
        assert lines[2] == "event: control.open"


def test_control_open_tells_who_where_and_when(stack, lighttpd, channel):
    id = stack.publish(channel, "x")
    with lighttpd.stream({"channel": channel}, last_id=id) as s:
        e = s.open()
        ping = stack.pub.call({"op": "ping"})
        o = e.json
        assert o["stream"] == s.headers["x-sse-stream"]
        assert o["generation"] == ping["generation"]
        assert o["head"] == ping["head"] and o["oldest"] == ping["oldest"]
        assert o["resumed_from"] == id
        assert o["heartbeat_ms"] == stack.config["heartbeat_ms"]
        assert abs(o["server_time_ms"] / 1000 - time.time()) < 30
        assert e.id == str(id) == s.last_id


def test_a_stream_without_an_id_starts_at_the_head(stack, lighttpd, channel):
    stack.publish(channel, "before")
    with lighttpd.stream({"channel": channel}) as s:
        e = s.open()
        assert int(e.id) == stack.head() == e.json["head"]
        id = stack.publish(channel, "after")
        e = s.data()
        assert (e.type, e.data, e.id) == ("message", "after", str(id))


def test_each_stream_has_a_name_of_its_own(lighttpd, channel):
    names = set()
    for _ in range(10):
        with lighttpd.stream({"channel": channel}) as s:
            names.add(s.open().json["stream"])
    assert len(names) == 10


def test_retry_jitters_by_a_quarter_either_way(stack, lighttpd, channel):
    seen = []
    for _ in range(40):
        with lighttpd.stream({"channel": channel}) as s:
            s.open()
            seen.append(s.parser.retry)
    base = stack.config["retry_ms"]
    assert min(seen) >= base * 0.75 and max(seen) <= base * 1.25, seen
    assert len(set(seen)) > 5, seen


def test_the_response_says_that_nothing_may_hold_it_back(lighttpd, channel):
    with lighttpd.stream({"channel": channel}) as s:
        assert s.status == 200
        assert s.headers["content-type"].split(";")[0] == "text/event-stream"
        assert s.headers["cache-control"] == "no-store, no-cache, no-transform"
        assert s.headers["x-accel-buffering"] == "no"
        assert s.headers["x-content-type-options"] == "nosniff"
        assert s.headers["x-sse-stream"]
        assert "content-encoding" not in s.headers


# ---------------------------------------------------------------- events

def test_an_event_is_id_event_data(stack, lighttpd, channel):
    with lighttpd.stream({"channel": channel}) as s:
        s.open()
        a = stack.publish(channel, {"n": 1}, event="created")
        b = stack.publish(channel, "plain")
        assert s.data().block == ["id: %d" % a, "event: created",
                                  'data: {"n": 1}'.replace(": 1", ":1")]
        assert s.data().block == ["id: %d" % b, "data: plain"]


@pytest.mark.parametrize("text, seen", [
    ("one\ntwo", None), ("one\r\ntwo", "one\ntwo"), ("one\rtwo", "one\ntwo"),
    ("\nlead", None), ("trail\n", None), ("a\n\nb", None), ("", None),
    (" space", None), ("  two", None), (":colon", None), ("\ttab", None),
    ("a\0b", "a\ufffdb"), ("id: 9\n\nevent: control.close\ndata: forged", None),
    ("x\r\rdata: y\r\n\r\nid: 1", "x\n\ndata: y\n\nid: 1"),
    ("\u2028\u0085\x0b\x0c", None), ("\ufeffbom", None), ("é😀", None)])
def test_no_payload_can_forge_a_field(stack, lighttpd, channel, text, seen):
    with lighttpd.stream({"channel": channel}) as s:
        s.open()
        id = stack.publish(channel, text)
        after = stack.publish(channel, "after")
        if text:
            e = s.data()
            assert (e.type, e.id) == ("message", str(id))
            assert e.data == (text if seen is None else seen)
        e = s.data()
        if e.id == str(id):     # an empty text may be an event or be none
            assert e.data == ""
            e = s.data()
        assert (e.data, e.id) == ("after", str(after))


@pytest.mark.parametrize("name", ["a b", "ü", "id", "a:b", ":x", " y"])
def test_an_event_name_arrives_as_it_was(stack, lighttpd, channel, name):
    with lighttpd.stream({"channel": channel}) as s:
        s.open()
        stack.publish(channel, 1, event=name)
        assert s.data().type == name


def test_numbers_arrive_as_they_were_written(stack, lighttpd, channel):
    line = '{"channel":"%s","data":[12345678901234567890, 1e400, 1.10]}'
    with lighttpd.stream({"channel": channel}) as s:
        s.open()
        assert stack.pub.call(line % channel)["ok"]
        assert s.data().data == "[12345678901234567890,1e400,1.10]"


def test_a_big_event_arrives_whole(stack, lighttpd, channel):
    text = "".join(chr(97 + n % 26) for n in range(65536))
    with lighttpd.stream({"channel": channel}) as s:
        s.open()
        stack.publish(channel, text)
        lines = "\n" * 20000
        stack.publish(channel, lines)
        assert s.data().data == text
        assert s.data().data == lines


def test_a_burst_arrives_once_and_in_order(stack, lighttpd, channel):
    with lighttpd.stream({"channel": channel}) as s:
        s.open()
        sent = stack.pub.publish_many((channel, n) for n in range(5000))
        got = s.take(5000, timeout=30)
        assert ids(got) == sent
        assert datas(got) == [str(n) for n in range(5000)]
        assert s.silent(0.1) == []


def test_other_channels_are_not_seen(stack, lighttpd, channel):
    with lighttpd.stream({"channel": channel}) as s:
        s.open()
        stack.publish(channel + "x", 1)
        stack.publish(channel[:-1], 1)
        stack.publish(channel + ".sub", 1)
        stack.publish(channel, "mine")
        assert s.data().data == "mine"


# ---------------------------------------------------------------- channels

def test_several_channels_are_one_stream_in_id_order(stack, lighttpd,
                                                     channel):
    names = [channel + str(n) for n in range(5)]
    with lighttpd.stream({"channel": names}) as s:
        s.open()
        sent = [stack.publish(names[n % 5], n) for n in range(20)]
        assert ids(s.take(20)) == sent


def test_a_star_is_a_prefix(stack, lighttpd, channel):
    with lighttpd.stream({"channel": channel + ".*"}) as s:
        s.open()
        stack.publish(channel, "no")
        a = stack.publish(channel + ".x", "yes")
        stack.publish(channel + "x", "no")
        b = stack.publish(channel + ".y.z", "yes")
        assert ids(s.take(2)) == [a, b]


def test_an_event_that_two_names_match_comes_once(stack, lighttpd, channel):
    with lighttpd.stream({"channel": [channel, channel + "*", channel]}) as s:
        s.open()
        sent = [stack.publish(channel, n) for n in range(3)]
        assert ids(s.take(3)) == sent
        assert s.silent(0.1) == []


def test_channels_may_stand_in_the_path(stack, lighttpd, channel):
    path = "/sse.fcgi/%s,%s.b*" % (channel, channel)
    with lighttpd.stream(path=path) as s:
        s.open()
        a = stack.publish(channel, 1)
        b = stack.publish(channel + ".b1", 1)
        stack.publish(channel + ".c", 1)
        c = stack.publish(channel, 2)
        assert ids(s.take(3)) == [a, b, c]


def test_a_channel_may_be_percent_encoded(stack, lighttpd, channel):
    name = channel + ":a/b"
    q = "?channel=" + "".join("%%%02X" % ord(c) for c in name)
    with lighttpd.stream(path="/sse.fcgi" + q) as s:
        s.open()
        stack.publish(name, "x")
        assert s.data().data == "x"


def test_sixty_four_channels_are_taken_and_one_more_is_refused(
        stack, lighttpd, channel):
    names = [channel + str(n) for n in range(64)]
    with lighttpd.stream({"channel": names}) as s:
        s.open()
        stack.publish(names[63], "last")
        assert s.data().data == "last"
    with lighttpd.stream({"channel": names + ["more"]}) as s:
        problem(s, 400)


# ---------------------------------------------------------------- positions

SYNONYMS = ["Last-Event-ID", "last_event_id", "lastEventId",
            "evs_last_event_id"]


@pytest.mark.parametrize("name", SYNONYMS)
def test_a_stream_resumes_after_the_id(stack, lighttpd, channel, name):
    sent = [stack.publish(channel, n) for n in range(10)]
    params, headers = {"channel": channel}, {}
    if name == "Last-Event-ID":
        headers[name] = str(sent[3])
    else:
        params[name] = str(sent[3])
    with lighttpd.stream(params, headers=headers) as s:
        assert s.open().json["resumed_from"] == sent[3]
        assert ids(s.take(6)) == sent[4:]
        live = stack.publish(channel, "live")
        assert ids(s.take(1)) == [live], "replay meets live without a seam"


def test_the_header_wins_over_the_parameter(stack, lighttpd, channel):
    sent = [stack.publish(channel, n) for n in range(5)]
    with lighttpd.stream({"channel": channel, "last_event_id": sent[0]},
                         last_id=sent[3]) as s:
        s.open()
        assert ids(s.take(1)) == [sent[4]]


@pytest.mark.parametrize("query", [
    "last_event_id={2}&lastEventId={8}", "lastEventId={8}&last_event_id={2}",
    "last_event_id={2}&last_event_id={8}", "lastEventId={8}&lastEventId={2}",
    "last_event_id=earliest&lastEventId={8}", "Last-Event-ID={8}",
    "last_event_id=0&evs_last_event_id={8}&lastEventId=", "LASTEVENTID={8}",
    "last-event-id={8}&last_event_id=abc", "last_event_id=%zz&lastEventId={8}",
    "last_event_id=99999999999999999999&Last%2DEvent-Id={8}"])
@pytest.mark.parametrize("kind", ["lighttpd", "apache-proxy"])
def test_of_several_positions_in_the_query_the_furthest_counts(
        stack, fronts, channel, kind, query):
    """A polyfill leaves the id that the page began with in the URL."""
    sent = [stack.publish(channel, n) for n in range(10)]
    path = "/sse.fcgi?channel=%s&%s" % (channel, query.format(*sent))
    with fronts(kind).admit(path=path) as s:
        assert ids(s.take(1)) == [sent[9]]
        assert not any("control.gap" in l for b in s.parser.blocks for l in b)


def test_a_header_that_is_no_id_leaves_it_to_the_query(stack, lighttpd,
                                                       channel):
    sent = [stack.publish(channel, n) for n in range(5)]
    with lighttpd.stream({"channel": channel, "last_event_id": sent[3]},
                         last_id="abc") as s:
        assert s.open().json["resumed_from"] == sent[3]
        assert ids(s.take(1)) == [sent[4]]


def test_several_positions_of_which_none_is_one_are_a_gap(stack, lighttpd,
                                                          channel):
    stack.publish(channel, "x")
    with lighttpd.stream({"channel": channel, "last_event_id": "abc",
                          "lastEventId": "-1"}) as s:
        s.open()
        gap = s.next()
        assert (gap.type, gap.json["code"]) == ("control.gap", "invalid")
        assert gap.json["requested"] == "abc"


@pytest.mark.parametrize("start", ["earliest", "0"])
@pytest.mark.parametrize("name", SYNONYMS)
def test_earliest_begins_with_the_oldest_retained(stack, lighttpd, channel,
                                                  start, name):
    sent = [stack.publish(channel, n) for n in range(5)]
    params, headers = {"channel": channel}, {}
    if name == "Last-Event-ID":
        headers[name] = start
    else:
        params[name] = start
    with lighttpd.stream(params, headers=headers) as s:
        s.open()
        assert ids(s.take(5)) == sent
        assert not any("control.gap" in l for b in s.parser.blocks for l in b)


def test_resuming_at_the_head_is_live(stack, lighttpd, channel):
    stack.publish(channel, "old")
    with lighttpd.stream({"channel": channel}, last_id=stack.head()) as s:
        s.open()
        stack.publish(channel, "new")
        assert s.data().data == "new"


def test_a_replay_longer_than_the_ring_is_whole(make_stack):
    st = make_stack(config={"ring_bytes": 65536}, metrics=False)
    web = st.front("lighttpd")
    sent = st.pub.publish_many(("a", "x" * 100) for _ in range(5000))
    with web.stream({"channel": "a"}, last_id="earliest") as s:
        s.open()
        more = st.pub.publish_many(("a", "y" * 100) for _ in range(1000))
        assert ids(s.take(6000, timeout=30)) == sent + more


@pytest.mark.parametrize("n, got", [(0, 0), (1, 1), (3, 3), (10, 5)])
def test_last_begins_with_the_newest_of_the_channel(stack, lighttpd, channel,
                                                    n, got):
    sent = []
    for i in range(5):
        sent.append(stack.publish(channel, i))
        stack.publish(channel + ".other", i)
    with lighttpd.stream({"channel": channel, "last": n}) as s:
        s.open()
        sent.append(stack.publish(channel, "live"))
        assert ids(s.take(got + 1)) == sent[5 - got:]


def test_last_is_for_those_that_come_without_an_id(stack, lighttpd, channel):
    sent = [stack.publish(channel, n) for n in range(5)]
    with lighttpd.stream({"channel": channel, "last": 1},
                         last_id=sent[1]) as s:
        s.open()
        assert ids(s.take(3)) == sent[2:]


def test_a_client_that_drops_before_its_first_event_resumes_right(
        stack, lighttpd, channel):
    with lighttpd.stream({"channel": channel}) as s:
        s.open()
        position = s.last_id
    sent = [stack.publish(channel, n) for n in range(3)]
    with lighttpd.stream({"channel": channel}, last_id=position) as s:
        s.open()
        assert ids(s.take(3)) == sent


def test_a_client_of_last_that_drops_at_once_still_gets_them(
        stack, lighttpd, channel):
    sent = [stack.publish(channel, n) for n in range(5)]
    with lighttpd.stream({"channel": channel, "last": 3}) as s:
        position = s.open().id
    with lighttpd.stream({"channel": channel, "last": 3},
                         last_id=position) as s:
        s.open()
        assert ids(s.take(3)) == sent[2:]


# ---------------------------------------------------------------- filters, forms

def test_only_the_event_types_asked_for_come(stack, lighttpd, channel):
    with lighttpd.stream({"channel": channel, "events": "a,b"}) as s:
        s.open()
        for name in ("a", "c", "b", "message", "ab"):
            stack.publish(channel, name, event=name)
        stack.publish(channel, "end", event="a")
        assert datas(s.take(3)) == ["a", "b", "end"]


def test_message_is_a_type_like_others(stack, lighttpd, channel):
    with lighttpd.stream({"channel": channel, "events": "message"}) as s:
        s.open()
        stack.publish(channel, "no", event="a")
        stack.publish(channel, "yes")
        assert s.data().data == "yes"


def test_an_envelope_tells_all_and_the_one_before(stack, lighttpd, channel):
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    other = channel + ".b"
    a1 = stack.publish(channel, {"n": 1.5}, event="e", trace=trace)
    b1 = stack.publish(other, "text")
    a2 = stack.publish(channel, "two\nlines")
    with lighttpd.stream({"channel": [channel, other], "envelope": 1,
                          "last_event_id": a1 - 1}) as s:
        s.open()
        got = s.take(3)
        x, y, z = (e.json for e in got)
        assert ids(got) == [a1, b1, a2]
        assert (got[0].type, got[1].type) == ("e", "message")
        assert x == {"id": a1, "channel": channel, "event": "e",
                     "ts": x["ts"], "trace": trace, "prev": x["prev"],
                     "data": {"n": 1.5}}
        assert abs(x["ts"] / 1000 - time.time()) < 60
        assert not x["prev"], "the first of its channel"
        assert y["data"] == "text" and y["channel"] == other
        assert z["data"] == "two\nlines" and z["prev"] == a1
        a3 = stack.publish(channel, [1])
        live = s.data().json
        assert (live["id"], live["prev"], live["data"]) == (a3, a2, [1])


def test_an_envelope_keeps_numbers_as_written(stack, lighttpd, channel):
    with lighttpd.stream({"channel": channel, "envelope": 1}) as s:
        s.open()
        stack.pub.call('{"channel":"%s","data":[1e400,1.10]}' % channel)
        assert '"data":[1e400,1.10]' in s.data().data


def test_padding_is_a_comment_of_two_kibibytes_first(lighttpd, channel):
    with lighttpd.stream({"channel": channel, "padding": 1}) as s:
        s.open()
        first = s.raw.split(b"\n")[0]
        assert first.startswith(b":") and len(first) >= 2040, len(first)


def test_the_generation_that_is_right_changes_nothing(stack, lighttpd,
                                                      channel):
    g = stack.pub.call({"op": "ping"})["generation"]
    sent = [stack.publish(channel, n) for n in range(3)]
    with lighttpd.stream({"channel": channel, "generation": g},
                         last_id=sent[0]) as s:
        s.open()
        assert ids(s.take(2)) == sent[1:]
        assert b"control.gap" not in s.raw


# ---------------------------------------------------------------- gaps

def gap(s, timeout=10):
    e = s.next(timeout)
    assert e.type == "control.gap", e
    return e, e.json


def test_another_generation_is_a_gap_and_goes_on_from_the_oldest(
        stack, lighttpd, channel):
    sent = [stack.publish(channel, n) for n in range(3)]
    with lighttpd.stream({"channel": channel, "generation": "another"},
                         last_id=sent[2]) as s:
        s.open()
        e, g = gap(s)
        ping = stack.pub.call({"op": "ping"})
        assert g["code"] == "generation" and g["requested"] == sent[2]
        assert g["oldest"] == ping["oldest"] and g["newest"] == ping["head"]
        assert int(e.id) == ping["oldest"] - 1
        assert ids(s.take(3)) == sent


def test_an_id_from_the_future_is_a_gap_and_goes_on_from_the_oldest(
        stack, lighttpd, channel):
    sent = [stack.publish(channel, n) for n in range(3)]
    beyond = stack.head() + 1000
    with lighttpd.stream({"channel": channel}, last_id=beyond) as s:
        s.open()
        e, g = gap(s)
        ping = stack.pub.call({"op": "ping"})
        assert g["code"] == "ahead" and g["requested"] == beyond
        assert g["oldest"] == ping["oldest"] and g["newest"] == ping["head"]
        assert int(e.id) == ping["oldest"] - 1
        assert ids(s.take(3)) == sent
        position = s.last_id
    with lighttpd.stream({"channel": channel}, last_id=position) as s:
        s.open()
        stack.publish(channel, "x")
        assert s.next().type == "message", "no second gap"


@pytest.mark.parametrize("bad", ["abc", "-1", "1.5", "1e3", "0x10",
                                 "99999999999999999999", "12 ", "1,2",
                                 "%00", "+5", "earliest!", "9" * 300])
def test_a_foreign_id_is_a_gap_and_never_a_4xx(stack, lighttpd, channel, bad):
    stack.publish(channel, "old")
    with lighttpd.stream({"channel": channel, "last_event_id": bad}) as s:
        assert s.status == 200
        s.open()
        e, g = gap(s)
        assert g["code"] in ("invalid", "ahead")
        if g["code"] == "invalid":
            assert int(e.id) == stack.head(), "goes on from the head"
            stack.publish(channel, "new")
            assert s.data().data == "new"


def test_a_malformed_header_is_told_as_invalid(stack, lighttpd, channel):
    with lighttpd.stream({"channel": channel}, last_id="foreign-7f") as s:
        s.open()
        e, g = gap(s)
        assert g["code"] == "invalid"
        assert g["newest"] == stack.head() == int(e.id)
        position = s.last_id
    with lighttpd.stream({"channel": channel}, last_id=position) as s:
        s.open()
        stack.publish(channel, "x")
        assert s.next().type == "message", "no second gap"


def test_what_retention_has_passed_is_told_with_its_number(make_stack):
    st = make_stack(config={"retain_events": 100}, metrics=False)
    web = st.front("lighttpd")
    st.pub.publish_many(("a", n) for n in range(1000))

    def settled():
        oldest = st.oldest()
        return oldest > 800 and oldest
    wait_until(settled, 30, "retention")
    with web.stream({"channel": "a"}, last_id=500) as s:
        s.open()
        e, g = gap(s)
        assert g["code"] == "expired" and g["requested"] == 500
        assert g["newest"] == 1000
        assert 800 < g["oldest"] <= 901
        assert g["lost"] == g["oldest"] - 501, "501 .. oldest - 1"
        assert int(e.id) == g["oldest"] - 1, "goes on from there"
        got = s.take(1000 - g["oldest"] + 1)
        assert ids(got) == list(range(g["oldest"], 1001))
        position = e.id
    with web.stream({"channel": "a"}, last_id=position) as s:
        s.open()
        assert s.next().type == "message", "no second gap"
    with web.stream({"channel": "a"}, last_id="earliest") as s:
        s.open()
        assert s.next().type == "message", "earliest is not a gap"


# ---------------------------------------------------------------- heartbeats

@pytest.fixture(scope="module")
def quick(request):
    """A stack that beats every 200 ms, with lighttpd before it."""
    from harness import Stack
    with Stack(config={"heartbeat_ms": 200}) as st:
        st.start(metrics=False)
        yield st.front("lighttpd")


def test_a_comment_heartbeat_carries_the_position(quick, channel):
    st = quick.stack
    with quick.stream({"channel": channel}) as s:
        s.open()
        assert s.comment(" hb") == [": hb", "id: %d" % st.head()]
        other = st.publish(channel + ".other", 1)

        def passed():
            s.pump(5)
            return s.last_id == str(other)
        wait_until(passed, 10, "a heartbeat with the new position")
        assert not s.parser.events, "a heartbeat is no event for a page"
        position = s.last_id
        mine = st.publish(channel, "mine")
    with quick.stream({"channel": channel}, last_id=position) as s:
        s.open()
        assert ids(s.take(1)) == [mine], "the position is valid to resume from"


def test_a_heartbeat_can_be_an_event(quick, channel):
    with quick.stream({"channel": channel, "heartbeat": "event"}) as s:
        assert s.open().json["heartbeat_ms"] == 200
        for _ in range(3):
            e = s.next()
            assert e.type == "system.heartbeat"
            assert isinstance(e.json, dict)
            assert int(e.id) == quick.stack.head()


def test_heartbeats_come_about_as_often_as_said(quick, channel):
    with quick.stream({"channel": channel, "heartbeat": "event"}) as s:
        s.open()
        first = s.next()
        last = [s.next() for _ in range(5)][-1]
        assert 0.5 < last.at - first.at < 5


def test_a_stream_of_events_needs_no_heartbeat_to_stay(quick, channel):
    with quick.stream({"channel": channel}) as s:
        s.open()
        sent = []
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            sent.append(quick.stack.publish(channel, len(sent)))
            assert ids(s.take(1)) == sent[-1:]


# ---------------------------------------------------------------- the end of a stream

def closing(s, reason, retry_ms=200, timeout=15):
    e = s.closed(timeout)
    assert e.json["reason"] == reason, e
    assert isinstance(e.json["retry_ms"], int)
    retry = [l for l in e.block if l.startswith("retry:")]
    assert retry, e.block
    assert s.end(10) == []
    assert s.complete or s.eof
    return e


def test_term_drains_and_the_client_resumes(make_stack):
    st = make_stack(config={"drain_ms": 400}, listen="fd0", metrics=False)
    web = st.front("lighttpd")
    streams = [web.stream({"channel": "a"}) for _ in range(20)]
    for s in streams:
        s.open()
    sent = [st.publish("a", n) for n in range(3)]
    for s in streams:
        assert ids(s.take(3)) == sent
    st.worker.send_signal(signal.SIGTERM)
    st.start_worker()
    retries = set()
    for s in streams:
        closing(s, "drain")
        retries.add(s.parser.retry)
        assert s.complete, "ended as HTTP says, not cut"
        s.close()
    assert len(retries) > 3, "so that the restart is no stampede"
    assert st.workers[0].wait() == 0
    sent.append(st.publish("a", "more"))
    with web.stream({"channel": "a"}, last_id=streams[0].last_id) as s:
        s.open()
        assert ids(s.take(1)) == sent[3:]


def test_a_stream_ends_at_its_age_and_resumes(make_stack):
    st = make_stack(config={"max_age_s": 1}, metrics=False)
    web = st.front("lighttpd")
    with web.stream({"channel": "a"}) as s:
        s.open()
        started = time.monotonic()
        id = st.publish("a", 1)
        assert ids(s.take(1)) == [id]
        closing(s, "max_age")
        assert 0.4 < time.monotonic() - started < 5
        assert s.last_id == str(id)


def test_past_the_total_a_stream_is_told_softly(make_stack):
    st = make_stack(config={"max_streams": 3}, metrics=False)
    web = st.front("lighttpd")
    held = [web.stream({"channel": "a"}) for _ in range(3)]
    for s in held:
        s.open()
    with web.stream({"channel": "a"}, last_id=0) as s:
        assert s.status == 200
        assert s.headers["content-type"].startswith("text/event-stream")
        closing(s, "overload")
        assert s.parser.retry is not None
    held.pop().close()

    def admitted():
        st.publish("a", 1)      # a client that left is found by writing
        s = web.stream({"channel": "a"})
        try:
            e = s.next()
            return e.type == "control.open" and not any(
                x.type == "control.close" for x in s.silent(0.05))
        finally:
            s.close()
    wait_until(admitted, 20, "the slot that was freed")
    for s in held:
        assert s.data().data == "1", "those that are in feel nothing"
        s.close()


def test_past_the_total_reject_hard_is_a_503(make_stack):
    st = make_stack(config={"max_streams": 1, "reject": "hard"},
                    metrics=False)
    web = st.front("lighttpd")
    with web.stream({"channel": "a"}) as held:
        held.open()
        with web.stream({"channel": "a"}) as s:
            problem(s, 503)
            assert int(s.headers["retry-after"]) >= 1


@pytest.mark.parametrize("reject", ["soft", "hard"])
def test_an_address_has_its_own_limit(make_stack, reject):
    st = make_stack(config={"max_streams_per_address": 2, "reject": reject},
                    metrics=False)
    web = st.front("lighttpd")
    held = [web.stream({"channel": "a"}) for _ in range(2)]
    for s in held:
        s.open()
    with web.stream({"channel": "a"}) as s:
        if reject == "soft":
            closing(s, "overload")
        else:
            problem(s, 429)
            assert int(s.headers["retry-after"]) >= 1
    for s in held:
        s.close()


def test_the_cap_of_the_location_holds_over_all_workers(make_stack):
    st = make_stack(workers=2, metrics=False)
    web = st.front("lighttpd", cap=4)
    held = []
    refused = 0
    for _ in range(12):
        s = web.stream({"channel": "a"})
        e = s.next()
        if e.type == "control.open":
            more = s.silent(0.05)
            if not any(x.type == "control.close" for x in more):
                held.append(s)
                continue
            e = more[0]
        assert e.type == "control.close" and e.json["reason"] == "overload"
        refused += 1
        s.close()
    assert len(held) == 4 and refused == 8
    st.publish("a", "x")
    for s in held:
        assert s.data().data == "x"
        s.close()


# ---------------------------------------------------------------- refusals

def problem(s, status):
    assert s.status == status, (s.status, s.wire)
    assert s.headers["content-type"].split(";")[0] == \
        "application/problem+json"
    p = json.loads(s.body())
    assert p["status"] == status
    assert p["title"]
    return p


@pytest.mark.parametrize("params", [
    None, {"channel": ""}, {"channel": "a b"}, {"channel": "*a"},
    {"channel": "a*b"}, {"channel": "x" * 129}, {"channel": ["ok", "b!d"]},
    {"channel": "é"}])
def test_a_bad_channel_is_a_400(lighttpd, params):
    with lighttpd.stream(params) as s:
        problem(s, 400)


def test_a_nul_in_the_request_is_a_400(lighttpd):
    with lighttpd.stream({"channel": "a\0"}) as s:
        assert s.status == 400, "from lighttpd or from us"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_another_method_is_a_405_with_allow(lighttpd, channel, method):
    with lighttpd.stream({"channel": channel}, method=method,
                         body=b"abc") as s:
        problem(s, 405)
        allow = {m.strip() for m in s.headers["allow"].split(",")}
        assert allow == {"GET", "HEAD", "OPTIONS"}


def test_head_has_the_headers_of_a_get(lighttpd, channel):
    with lighttpd.stream({"channel": channel}, method="HEAD") as s:
        assert s.status == 200
        assert s.headers["content-type"].startswith("text/event-stream")
        assert "no-store" in s.headers["cache-control"]


@pytest.mark.parametrize("accept, status", [
    ("text/event-stream", 200), ("*/*", 200), ("text/*", 200), (None, 200),
    ("text/html, text/event-stream;q=0.5", 200), ("TEXT/Event-Stream", 200),
    ("application/json", 406), ("text/html", 406),
    ("text/event-stream;q=0", 406), ("*/*, text/event-stream;q=0", 406),
    ("application/json, */*;q=0.1", 200)])
def test_an_accept_without_event_stream_is_a_406(lighttpd, channel, accept,
                                                 status):
    with lighttpd.stream({"channel": channel},
                         headers={"Accept": accept}) as s:
        if status == 200:
            s.open()
        else:
            problem(s, 406)


def test_the_default_channel_is_taken_when_none_is_named(make_stack):
    st = make_stack(config={"default_channel": "news"}, metrics=False)
    web = st.front("lighttpd")
    with web.stream() as s:
        s.open()
        st.publish("other", "no")
        st.publish("news", "yes")
        assert s.data().data == "yes"


# ---------------------------------------------------------------- other origins

@pytest.fixture(scope="module")
def cors(request):
    from harness import Stack
    with Stack(config={"allow_origin":
                       "https://a.example https://b.example"}) as st:
        st.start(metrics=False)
        yield st.front("lighttpd")


@pytest.mark.parametrize("origin, allowed", [
    ("https://a.example", True), ("https://b.example", True),
    ("https://c.example", False), ("https://a.example.evil", False),
    ("http://a.example", False), ("null", False)])
def test_only_the_origins_named_are_allowed(cors, channel, origin, allowed):
    with cors.stream({"channel": channel}, headers={"Origin": origin}) as s:
        assert s.status == 200
        got = s.headers.get("access-control-allow-origin")
        assert got == (origin if allowed else None)
        assert s.headers.get("access-control-allow-credentials") == (
            "true" if allowed else None)
        assert "origin" in s.headers.get("vary", "").lower()


def test_a_preflight_is_answered(cors, channel):
    with cors.stream({"channel": channel}, method="OPTIONS", headers={
            "Origin": "https://a.example",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "last-event-id"}) as s:
        assert s.status in (200, 204)
        assert s.headers["access-control-allow-origin"] == "https://a.example"
        assert "GET" in s.headers["access-control-allow-methods"]
        assert s.headers["access-control-allow-credentials"] == "true"
        assert s.headers["vary"] == "Origin"
        sends = s.headers["access-control-allow-headers"].lower().split(", ")
        assert {"last-event-id", "cache-control", "authorization",
                "traceparent"} <= set(sends)
        assert s.body() == b""


def test_no_origin_is_allowed_by_default(lighttpd, channel):
    with lighttpd.stream({"channel": channel},
                         headers={"Origin": "https://a.example"}) as s:
        assert "access-control-allow-origin" not in s.headers


def test_a_star_allows_every_origin(make_stack):
    st = make_stack(config={"allow_origin": "*"}, metrics=False)
    web = st.front("lighttpd")
    with web.stream({"channel": "a"},
                    headers={"Origin": "https://x.example"}) as s:
        assert s.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in s.headers


# ---------------------------------------------------------------- over failures

def test_streams_stay_and_go_on_when_pubd_is_killed(make_stack):
    st = make_stack(metrics=False)
    web = st.front("lighttpd")
    with web.stream({"channel": "a"}) as s:
        s.open()
        for n in range(3):
            id = st.publish("a", n)
            assert ids(s.take(1)) == [id]
            st.kill_pubd()
            st.start_pubd()
        id = st.publish("a", "end")
        assert ids(s.take(1)) == [id]


def test_a_client_misses_nothing_over_killed_workers(make_stack):
    import threading
    st = make_stack(workers=2, metrics=False)
    web = st.front("lighttpd")
    with web.stream({"channel": "a"}) as s:
        start = s.open().id
    source = web.source({"channel": "a"})
    source.last_id = start
    done = threading.Event()

    def publish():
        with st.publisher() as p:
            for n in range(300):
                p.publish("a", n)
                done.wait(0.005)

    def kill():
        for n in range(6):
            done.wait(0.25)
            st.kill_worker(n % 2, restart=True)

    threads = [threading.Thread(target=f) for f in (publish, kill)]
    for t in threads:
        t.start()
    got = source.follow(lambda e: len(e) >= 300, timeout=30)
    done.set()
    for t in threads:
        t.join()
    assert datas(got) == [str(n) for n in range(300)]
    assert source.connects > 1, "it was cut off"
    assert source.controls and all(
        e.type in ("control.open", "control.close") for e in source.controls)


def test_a_client_that_left_leaves_nothing_behind(make_stack):
    st = make_stack(config={"heartbeat_ms": 200}, metrics=False)
    web = st.front("lighttpd")
    with web.stream({"channel": "a"}) as s:
        s.open()
    base = st.idle_fds()[0]
    streams = [web.stream({"channel": "a"}) for _ in range(50)]
    for s in streams:
        s.open()
    assert st.worker.fds() >= 50
    for n, s in enumerate(streams):
        s.close(reset=n % 2 == 0)
    wait_until(lambda: st.worker.fds() <= base, 15, "50 streams to go")


def test_the_rows_of_another_log_are_a_new_generation(make_stack):
    """The file is replaced by a new log while a stream is open."""
    import shutil
    st = make_stack(metrics=False)
    web = st.front("lighttpd")
    for n in range(5):
        st.publish("a", n)
    with web.stream({"channel": "a"}) as s:
        g = s.open().json["generation"]
        position = s.last_id
        st.stop_pubd()
        old = st.var.with_name("var.old")
        shutil.move(st.var, old)
        st.init()
        st.start_pubd()
        st.publish("a", "new log")
        e = s.next(30)
        assert e.type == "control.gap", e
        assert e.json["code"] == "generation"
        assert s.data().data == "new log"
    with web.stream({"channel": "a", "generation": g},
                    last_id=position) as s:
        assert s.open().json["generation"] != g
        e, why = gap(s)
        assert why["code"] in ("generation", "ahead")
        assert s.data().data == "new log"
