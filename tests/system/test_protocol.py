# SPDX-License-Identifier: MIT
"""pubd's socket: every line of the protocol as a publisher sees it."""

import json
import sqlite3
import time

import pytest

from harness import wait_until
from pub import Closed

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def pub(stack):
    with stack.publisher() as p:
        yield p


def rows(stack, sql, *args):
    db = sqlite3.connect("file:%s?mode=ro" % stack.db, uri=True, timeout=10)
    try:
        return db.execute(sql, args).fetchall()
    finally:
        db.close()


def stored(stack, id):
    return rows(stack, "SELECT channel, event, data, key, trace FROM events "
                "WHERE id = ?", id)[0]


def refused(answer, *codes):
    assert answer["ok"] is False, answer
    assert answer["error"] in codes, answer
    assert isinstance(answer["message"], str) and answer["message"], answer
    return answer


# ---------------------------------------------------------------- what is accepted

def test_an_event_is_answered_with_its_id(pub, stack, channel):
    line = '{"channel":"%s","event":"created","data":{"n":1}}' % channel
    answer = pub.call(line)
    assert answer == {"ok": True, "id": answer["id"]}
    assert stored(stack, answer["id"])[:3] == (channel, "created", '{"n":1}')


def test_text_is_stored_as_text_and_the_ref_comes_back(pub, stack, channel):
    answer = pub.call('{"channel":"%s","data":"text\\nwith lines",'
                      '"key":"o-17","ref":"a"}' % channel)
    assert answer == {"ok": True, "id": answer["id"], "ref": "a"}
    assert stored(stack, answer["id"])[1:4] == (
        "message", "text\nwith lines", "o-17")


def test_a_key_seen_before_returns_the_first_id(pub, channel):
    first = pub.call({"channel": channel, "data": "x", "key": "o-17"})
    again = pub.call({"channel": channel, "data": "again", "key": "o-17"})
    assert again == {"ok": True, "id": first["id"], "duplicate": True}
    next_id = pub.publish(channel, "y")
    assert next_id == first["id"] + 1, "a duplicate takes no id"


def test_the_same_key_on_another_channel_is_another_event(pub, channel):
    first = pub.call({"channel": channel, "data": 1, "key": "k"})
    other = pub.call({"channel": channel + ".2", "data": 1, "key": "k"})
    assert other["ok"] and other["id"] == first["id"] + 1
    assert "duplicate" not in other


def test_a_key_twice_in_one_batch_is_one_event(pub, channel):
    pub.send(*[{"channel": channel, "data": n, "key": "once", "ref": str(n)}
               for n in range(20)])
    answers = [pub.recv() for _ in range(20)]
    assert {a["id"] for a in answers} == {answers[0]["id"]}
    assert "duplicate" not in answers[0]
    assert all(a["duplicate"] is True for a in answers[1:])
    assert [a["ref"] for a in answers] == [str(n) for n in range(20)]


def test_an_array_is_one_transaction_with_an_id_for_each(pub, channel):
    a = pub.call('[{"channel":"%s","data":1},{"channel":"%s.b","data":2}]'
                 % (channel, channel))
    assert a == {"ok": True, "ids": [a["ids"][0], a["ids"][0] + 1]}


@pytest.mark.parametrize("bad", [
    {"channel": "with space", "data": 1}, {"channel": "c"},
    {"channel": "c", "event": "control.open", "data": 1}, 17, "text", None,
    {"channel": "c", "data": "x" * 65537}])
def test_an_array_with_one_bad_event_stores_none(pub, stack, channel, bad):
    head = stack.head()
    refused(pub.call([{"channel": channel, "data": 1}, bad]), "bad_channel",
            "bad_request", "bad_event", "too_large")
    assert stack.head() == head
    assert pub.publish(channel, 2) == head + 1, "and takes no id"


def test_an_empty_array_is_a_bad_request(pub):
    refused(pub.call("[]"), "bad_request")


def test_ping_tells_head_oldest_and_generation(pub, channel):
    id = pub.publish(channel, 1)
    answer = pub.call('{"op":"ping"}')
    assert answer["ok"] is True and answer["head"] == id
    assert 1 <= answer["oldest"] <= id
    assert isinstance(answer["generation"], str) and answer["generation"]
    assert pub.call({"op": "ping", "ref": "r"})["ref"] == "r"


def test_watch_tells_the_head_and_then_each_new_head(pub, stack, channel):
    first = pub.publish(channel, 1)
    with stack.publisher() as w:
        assert w.call('{"op":"watch","role":"worker"}') == {
            "ok": True, "head": first}
        second = pub.publish(channel, 2)
        assert w.recv() == {"head": second}


def test_watch_coalesces_but_always_reaches_the_newest_head(pub, stack,
                                                            channel):
    with stack.publisher() as w:
        w.call({"op": "watch", "role": "worker"})
        ids = pub.publish_many((channel, n) for n in range(2000))
        heads = []
        while not heads or heads[-1] < ids[-1]:
            heads.append(w.recv()["head"])
        assert heads == sorted(set(heads)), "each is newer than the last"


def test_answers_come_in_order_with_good_and_bad_lines_mixed(pub, channel):
    lines = []
    for n in range(600):
        good = {"channel": channel, "data": n, "ref": "r%d" % n}
        lines.append([good, dict(good, channel="!"), dict(good, event="")]
                     [n % 3])
    pub.send(*lines)
    answers = [pub.recv() for _ in lines]
    assert [a.get("ref") for a in answers] == ["r%d" % n for n in range(600)]
    ids = [a["id"] for a in answers[::3]]
    assert ids == list(range(ids[0], ids[0] + 200)), "dense"
    assert all(a["error"] == "bad_channel" for a in answers[1::3])
    assert all(a["error"] == "bad_event" for a in answers[2::3])


def test_ids_are_dense_over_many_publishers(stack, channel):
    pubs = [stack.publisher() for _ in range(20)]
    start = stack.head()
    for n in range(50):
        for p in pubs:
            p.send({"channel": channel, "data": n})
    ids = [p.recv()["id"] for _ in range(50) for p in pubs]
    assert sorted(ids) == list(range(start + 1, start + 1001))
    for i, p in enumerate(pubs):
        own = ids[i::20]
        assert own == sorted(own), "each sees its own in its order"
        p.close()


def test_what_is_acked_can_be_read_from_the_file(pub, stack, channel):
    for n in range(20):
        id = pub.publish(channel, "n%d" % n)
        assert stored(stack, id)[2] == "n%d" % n


@pytest.mark.parametrize("name", ["a", "A-Z_a.z:0/9-", "x" * 128])
def test_a_channel_of_the_allowed_letters_is_accepted(pub, name):
    assert pub.call({"channel": name, "data": 1})["ok"] is True


@pytest.mark.parametrize("name", ["created", "x" * 128, "größe", "a b:c",
                                  "system", "controls.x"])
def test_an_event_name_is_nearly_free(pub, stack, channel, name):
    id = pub.publish(channel, 1, event=name)
    assert stored(stack, id)[1] == name


def test_a_trace_is_kept(pub, stack, channel):
    id = pub.publish(channel, 1, trace=TRACE)
    assert stored(stack, id)[4] == TRACE


def test_a_key_of_128_is_accepted(pub, channel):
    assert pub.call({"channel": channel, "data": 1, "key": "k" * 128})["ok"]


# ---------------------------------------------------------------- data, verbatim

@pytest.mark.parametrize("written, kept", [
    ("12345678901234567890", None), ("1e400", None), ("1.10", None),
    ("-0", None), ("true", None), ("false", None), ("null", None),
    ("[]", None), ("{}", None), ('""', ""), ('"A\\u0042C"', "ABC"),
    ('"caf\\u00e9 \\ud83d\\ude00"', "caf\u00e9 \U0001f600"),
    ('"a\\u0000b"', "a\ufffdb"), ('"\\"\\\\\\/\\b\\f\\n\\r\\t"',
                                  '"\\/\b\f\n\r\t'),
    ('{"b":1,"a":{"z":[1.10,1e400,12345678901234567890],"y":null}}', None),
    ('{ "b" : 1 ,\t"a" : [ 1 , 2.50 ] }', '{"b":1,"a":[1,2.50]}'),
    ('{"s":"a  b\\u0041\\n","s":2}', None),
    ('["caf\u00e9 \U0001f600"]', None)])
def test_data_is_kept_as_it_was_written(pub, stack, channel, written, kept):
    answer = pub.call('{"channel":"%s","data":%s}' % (channel, written))
    assert answer["ok"] is True, answer
    assert stored(stack, answer["id"])[2] == (
        written if kept is None else kept)


def test_data_of_just_the_most_is_accepted_and_one_more_is_not(pub, channel):
    assert pub.call({"channel": channel, "data": "x" * 65536})["ok"] is True
    refused(pub.call({"channel": channel, "data": "x" * 65537}), "too_large")
    assert pub.call({"channel": channel, "data": ["x" * 65532]})["ok"] is True
    refused(pub.call({"channel": channel, "data": ["x" * 65533]}),
            "too_large")


# ---------------------------------------------------------------- what is refused

@pytest.mark.parametrize("line", [
    b"not JSON", b"{", b'{"channel":"a","data":1', b'{"channel":"a" "data":1}',
    b'{"channel":"a","data":01}', b"{'channel':'a','data':1}", b"\xff\xfe",
    b'{"channel":"a","data":"\xff"}', b'{"channel":"a","data":"\xc0\x80"}',
    b'{"channel":"a","data":1}}', b'{"channel":"a","data":1} x',
    b'{"channel":"a","data":NaN}', b'{"channel":"a","data":"a\tb"}',
    b"[" * 5000 + b"]" * 5000])
def test_what_is_not_json_is_told_and_the_connection_stays_usable(
        pub, channel, line):
    refused(pub.call(line), "bad_json", "bad_request")
    assert pub.publish(channel, "after") > 0


def test_text_that_is_not_json_is_called_bad_json(pub):
    refused(pub.call("not JSON"), "bad_json")


@pytest.mark.parametrize("line", [
    '"text"', "17", "null", "{}", '{"channel":"a"}',
    '{"channel":"a","data":1,"key":""}', '{"channel":"a","data":1,"key":7}',
    '{"channel":"a","data":1,"key":"%s"}' % ("k" * 129),
    '{"channel":"a","data":1,"trace":"nonsense"}', '{"op":"nonsense"}',
    '{"op":7}'])
def test_what_is_not_a_request_is_a_bad_request(pub, line):
    refused(pub.call(line), "bad_request", "bad_channel")
    assert pub.call({"op": "ping"})["ok"] is True


@pytest.mark.parametrize("name", ["", "with space", "x" * 129, "é", "a\nb",
                                  "a*", "*", "a,b", "a\0b", 7, None, ["a"]])
def test_a_bad_channel_is_refused(pub, name):
    refused(pub.call({"channel": name, "data": 1}), "bad_channel",
            "bad_request")


@pytest.mark.parametrize("name", ["system.x", "control.x"])
def test_no_publisher_has_a_channel_of_ours(pub, name):
    refused(pub.call({"channel": name, "data": 1}), "bad_channel",
            "forbidden")


@pytest.mark.parametrize("name", ["", "x" * 129, "a\nb", "a\rb", "a\0b",
                                  "\x7f", "control.open", "control.",
                                  "system.heartbeat", 7])
def test_a_bad_event_name_is_refused(pub, name):
    refused(pub.call({"channel": "a", "event": name, "data": 1}),
            "bad_event", "bad_request")


def test_a_refusal_carries_the_ref(pub):
    assert pub.call({"channel": "!", "data": 1, "ref": "x9"})["ref"] == "x9"


def test_a_line_past_the_bound_is_skipped_to_its_newline(pub, channel):
    huge = b'{"channel":"a","data":"' + b"x" * (3 << 20) + b'"}'
    pub.send({"channel": channel, "data": "before"}, huge,
             {"channel": channel, "data": "after"})
    before, huge, after = pub.recv(), pub.recv(), pub.recv()
    refused(huge, "too_large")
    assert after["id"] == before["id"] + 1


def test_a_line_without_an_end_does_not_stall_others(pub, stack, channel):
    with stack.publisher() as other:
        other.sock.sendall(b'{"channel":"a","data":"' + b"x" * 100000)
        assert pub.publish(channel, 1) > 0
        other.sock.sendall(b"x" * (2 << 20))
        assert pub.publish(channel, 2) > 0


def test_a_request_cut_into_bytes_is_read_as_one(pub, channel):
    for byte in pub.line({"channel": channel, "data": "cut"}):
        pub.sock.sendall(bytes([byte]))
    assert pub.recv()["ok"] is True


def test_an_empty_line_is_answered_and_does_no_harm(pub, channel):
    pub.sock.sendall(b"\n\r\n \t\n")
    pub.send({"channel": channel, "data": 1, "ref": "z"})
    for _ in range(3):
        assert "an empty line" in refused(pub.recv(), "bad_json")["message"]
    answer = pub.recv()
    assert answer["ok"] is True and answer["ref"] == "z"


def test_a_publisher_that_leaves_unanswered_costs_itself_only(stack, channel):
    for _ in range(50):
        with stack.publisher() as p:
            p.send(*[{"channel": channel, "data": n} for n in range(20)])
    assert stack.publish(channel, "still here") > 0


def test_what_was_read_before_the_publisher_shut_down_is_answered(
        stack, channel):
    import socket
    with stack.publisher() as p:
        p.send(*[{"channel": channel, "data": n} for n in range(100)])
        p.sock.shutdown(socket.SHUT_WR)
        assert all(p.recv()["ok"] for _ in range(100))
        with pytest.raises(Closed):
            p.recv()


# ---------------------------------------------------------------- on its own stack

def test_a_lock_held_too_long_is_busy_and_passes(make_stack):
    st = make_stack(config={"lock_timeout_ms": 200}, workers=0, metrics=False)
    st.publish("a", 1)
    db = sqlite3.connect(st.db, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    refused(st.pub.call({"channel": "a", "data": 2}), "busy")
    db.execute("ROLLBACK")
    assert st.publish("a", 3) == 2, "no id was lost by it"
    db.close()


def test_a_publisher_that_left_before_its_last_commit_leaves_nothing(
        make_stack):
    """One answer could not be written, the next belongs to a commit that is
    still to come: after that one the connection is closed all the same."""
    st = make_stack(workers=0, metrics=False)
    st.publish("a", 1)
    before = st.pubd.fds()
    lock = sqlite3.connect(str(st.db), isolation_level=None)
    for _ in range(10):
        lock.execute("BEGIN IMMEDIATE")
        with st.publisher() as p:
            p.send("no JSON", {"channel": "a", "data": "in a batch"})
        for _ in range(3):
            assert st.pub.call({"op": "ping"})["ok"]
        lock.execute("ROLLBACK")
    lock.close()
    wait_until(lambda: st.pubd.fds() <= before, 10, "10 connections to go")
    assert st.head() == 11


def test_term_answers_what_was_read(make_stack):
    st = make_stack(workers=0, metrics=False)
    with st.publisher() as p:
        p.send(*[{"channel": "a", "data": n} for n in range(5000)])
        p.recv()
        assert st.stop_pubd() == 0
        acked = 1
        try:
            while True:
                p.recv()
                acked += 1
        except (Closed, ConnectionResetError):
            pass
    (n,), = rows(st, "SELECT count(*) FROM events")
    assert n == acked, "each stored event was acked, each acked one stored"


def test_ids_go_on_after_a_restart_and_a_kill(make_stack):
    st = make_stack(workers=0, metrics=False)
    assert [st.publish("a", n) for n in range(3)] == [1, 2, 3]
    generation = st.pub.call({"op": "ping"})["generation"]
    st.stop_pubd()
    st.start_pubd()
    assert st.publish("a", 4) == 4
    st.kill_pubd()
    st.start_pubd()
    assert st.publish("a", 5) == 5
    assert st.pub.call({"op": "ping"})["generation"] == generation


def test_a_second_pubd_does_not_take_the_socket(make_stack):
    st = make_stack(workers=0, metrics=False)
    second = st.spawn("pubd", [st.bin / "pubd"])
    assert second.wait() != 0
    assert st.publish("a", 1) == 1


def test_retention_by_count_keeps_the_newest(make_stack):
    st = make_stack(config={"retain_events": 100}, workers=0, metrics=False)
    ids = st.pub.publish_many(("a", n) for n in range(1000))
    assert ids[-1] == 1000

    def trimmed():
        st.publish("b", 0)
        ping = st.pub.call({"op": "ping"})
        return ping["head"] - ping["oldest"] + 1 <= 110
    wait_until(trimmed, 30, "retention")
    (n,), = rows(st, "SELECT count(*) FROM events")
    assert 100 <= n <= 110


def test_a_key_may_be_used_again_once_its_event_is_gone(make_stack):
    st = make_stack(config={"retain_events": 10}, workers=0, metrics=False)
    first = st.publish("a", "x", key="k")

    def again():
        st.pub.publish_many(("b", n) for n in range(20))
        return st.publish("a", "y", key="k") != first
    wait_until(again, 30, "the key to be free")


def test_hup_rereads_the_configuration(make_stack):
    import signal
    st = make_stack(workers=0, metrics=False)
    st.configure(max_data_bytes=100)
    assert st.publish("a", "x" * 200) == 1
    st.pubd.send_signal(signal.SIGHUP)

    def smaller():
        a = st.pub.call({"channel": "a", "data": "x" * 200})
        return a.get("error") == "too_large"
    wait_until(smaller, 10, "the new bound")


def test_a_check_of_the_configuration_names_file_and_line(make_stack):
    st = make_stack(workers=0, metrics=False)
    ok = st.spawn("pubd", [st.bin / "pubd", "-n"])
    assert ok.wait() == 0
    st.write(st.dir / "bad.conf", "database = /tmp/x\nnonsense = 1\n")
    bad = st.spawn("pubd", [st.bin / "pubd", "-n", "-c", st.dir / "bad.conf"])
    assert bad.wait() == 78
    assert "bad.conf:2" in bad.tail() and "nonsense" in bad.tail()


def test_the_environment_overrides_a_key(make_stack):
    st = make_stack(workers=0, metrics=False, pubd=False)
    st.start_pubd(WALCAST_MAX_DATA_BYTES=10)
    refused(st.pub.call({"channel": "a", "data": "x" * 11}), "too_large")
    bad = st.spawn("pubd", [st.bin / "pubd", "-n"],
                   env={"WALCAST_HEARTBEAT_MS": "soon"})
    assert bad.wait() == 78
    assert "heartbeat_ms" in bad.tail().lower()


# ---------------------------------------------------------------- watching workers

def status(st):
    """{name: row} of the status table."""
    db = sqlite3.connect("file:%s?mode=ro" % st.db.with_name("status.db"),
                         uri=True, timeout=10)
    db.row_factory = sqlite3.Row
    try:
        return {r["name"]: dict(r, counters=json.loads(r["counters"]),
                                gauges=json.loads(r["gauges"]))
                for r in db.execute("SELECT * FROM status "
                                    "WHERE folded_ms IS NULL")}
    except sqlite3.OperationalError:
        return {}
    finally:
        db.close()


def counted(st, name):
    """A counter over all rows."""
    return sum(r["counters"].get(name, 0) for r in status(st).values())


def pubd_row(st):
    """pubd's row as it is written after now."""
    now = time.time() * 1000

    def fresh():
        return [r for r in status(st).values()
                if r["role"] == "pubd" and r["seen_ms"] > now]
    return wait_until(fresh, 20, "a heartbeat of pubd")[0]


def report(name="worker-1-1", **more):
    return dict({"op": "report", "name": name, "role": "worker", "pid": 1,
                 "version": "1", "started_ms": 1, "head": 1, "cursor": 1,
                 "streams": 0, "counters": {}, "gauges": {}}, **more)


def test_a_watcher_may_ask_when_commits_were(pub, stack, channel):
    head = pub.publish(channel, 1)
    with stack.publisher() as w:
        assert w.call({"op": "watch", "role": "worker", "timing": True}) == {
            "ok": True, "head": head}
        before = time.monotonic_ns() // 1000
        head = pub.publish(channel, 2)
        told = w.recv()
        assert told["head"] == head
        assert before <= told["at_us"] <= time.monotonic_ns() // 1000
        db = sqlite3.connect(stack.db, timeout=10)
        with db:
            db.execute("INSERT INTO events (channel, event, data) "
                       "VALUES (?, 'x', 'y')", (channel,))
        db.close()
        assert w.recv() == {"head": head + 1}, "nobody knows when that was"


def test_a_report_is_in_the_status_table_and_ends_with_its_process(make_stack):
    st = make_stack(workers=0, metrics=False)
    with st.publisher() as w:
        w.call({"op": "watch", "role": "worker"})
        w.send(report(streams=3, counters={"events_sent": 7, "unknown": 1},
                      gauges={"rss_bytes": 5}, error_ms=1767225600000,
                      error="disk \u0000 \"full\""))
        row = wait_until(lambda: status(st).get("worker-1-1"), 10, "the row")
        assert row["counters"] == {"events_sent": 7}
        assert row["gauges"] == {"rss_bytes": 5}
        assert (row["role"], row["streams"]) == ("worker", 3)
    wait_until(lambda: "worker-1-1" not in status(st), 10, "its end")
    assert counted(st, "events_sent") == 7
    assert pubd_row(st)["counters"]["reports_unknown"] == 1
    errors = sqlite3.connect(st.db.with_name("status.db"))
    assert ("worker-1-1", "disk \ufffd \"full\"") in errors.execute(
        "SELECT name, text FROM errors").fetchall()
    errors.close()


def test_a_malformed_report_is_refused_counted_and_not_stored(make_stack):
    st = make_stack(workers=0, metrics=False)
    bad = [report(role="totals"), report(role="pubd"), report(name="a" * 129),
           report(name=""), report(streams=-1), report(pid="1"),
           report(counters=[]), report(counters={"events_sent": -1}),
           report(counters={"events_sent": 2 ** 63}),
           report(counters={"events_sent": 1.5}),
           report(gauges={"rss_bytes": {}}), report(error_ms=1, error=7),
           report(counters={"x%d" % n: 1 for n in range(5000)})]
    with st.publisher() as w:
        refused(w.call(report()), "bad_request")  # it does not watch
        w.call({"op": "watch", "role": "worker"})
        for line in bad:
            refused(w.call(line), "bad_request")
        own = pubd_row(st)
        refused(w.call(report(name=own["name"])), "bad_request")
        assert set(status(st)) == {"totals", own["name"]}
        assert pubd_row(st)["counters"]["reports_refused"] == len(bad) + 2


def test_reports_that_come_too_fast_are_left_out(make_stack):
    st = make_stack(workers=0, metrics=False)
    with st.publisher() as w:
        w.call({"op": "watch", "role": "worker"})
        w.send(*[report(counters={"events_sent": n}) for n in range(100)])
        refused(w.recv(), "bad_request")
        assert w.call({"op": "ping"}), "and the connection goes on"


def test_what_pubd_counts_is_what_was_done(make_stack):
    st = make_stack(config={"metrics_channels": "a, b"}, workers=0,
                    metrics=False)
    with st.publisher() as p:
        for n in range(30):
            p.publish("a", n)
        p.publish("c", 1, key="k")
        assert p.call({"channel": "c", "data": 1, "key": "k"})["duplicate"]
        p.call([{"channel": "b", "data": 1}, {"channel": "b", "data": 2}])
        refused(p.call({"channel": "!", "data": 1}), "bad_channel")
        refused(p.call("x"), "bad_json")
        row = pubd_row(st)
        fds = st.pubd.fds()
    c, g = row["counters"], row["gauges"]
    assert c["events_published"] == 33 and c["publish_duplicates"] == 1
    assert c["publish_errors_bad_channel"] == c["publish_errors_bad_json"] == 1
    assert c["channel:a"] == 30 and c["channel:b"] == 2
    assert "channel:c" not in c

    def count(name):
        return sum(c.get("%s.%d" % (name, n), 0) for n in range(21))
    assert count("publish") == 33, "lines that were answered with ok"
    assert c["commits"] == count("commit") == count("batch") == 33
    assert c["batch.sum"] == 34, "events in them, duplicates too"
    assert count("fsync") >= 32, "the duplicate wrote nothing"
    # A sync may belong to no commit: opening the log and checkpoints make some.
    assert c["publish.sum"] >= c["commit.sum"] > 0 and c["fsync.sum"] > 0
    assert g["batch_events_max"] == 2
    assert c["connections_total"] >= g["connections"] == 1
    assert g["watchers"] == 0 and g["log_bytes"] > 0 and g["wal_bytes"] > 0
    assert g["disk_free_bytes"] > 0 and g["rss_bytes"] > 1 << 20
    assert 5 < g["fds_used"] < 30 and g["fds_limit"] > g["fds_used"]
    assert g["fds_used"] == fds


def test_no_count_is_lost_or_doubled_when_pubd_ends(make_stack):
    st = make_stack(workers=0, metrics=False)
    st.pub.publish_many(("a", n) for n in range(100))
    st.restart_pubd()  # right away: what no heartbeat has told counts, too
    assert counted(st, "events_published") == 100
    st.pub.publish_many(("a", n) for n in range(50))
    name = pubd_row(st)["name"]
    assert counted(st, "events_published") == 150
    st.kill_pubd()
    assert counted(st, "events_published") == 150
    st.start_pubd()
    st.publish("a", 1)
    assert pubd_row(st)["name"] != name
    assert counted(st, "events_published") == 151
    assert name not in status(st), "the killed one is not up"


def test_a_worker_that_outlives_pubd_counts_once(make_stack):
    st = make_stack(workers=0, metrics=False)

    def watching(n):
        p = st.publisher()
        p.call({"op": "watch", "role": "worker"})
        p.send(report(counters={"events_sent": n}))
        wait_until(lambda: counted(st, "events_sent") == n, 10,
                   "%d, not %d" % (n, counted(st, "events_sent")))
        return p
    p = watching(5)
    st.kill_pubd()
    p.close()
    assert counted(st, "events_sent") == 5
    st.start_pubd()
    p = watching(8)
    st.restart_pubd()
    p.close()
    assert counted(st, "events_sent") == 8
    watching(9).close()
    wait_until(lambda: "worker-1-1" not in status(st), 10, "its end")
    assert counted(st, "events_sent") == 9
    watching(9).close()


def test_with_metrics_off_only_the_heartbeat_is_left(make_stack):
    st = make_stack(config={"metrics": "off"}, workers=0, metrics=False)
    st.publish("a", 1)
    c = pubd_row(st)["counters"]
    assert c["events_published"] == 1
    assert "publish.sum" not in c and "fsync.sum" not in c


# ---------------------------------------------------------------- the rest

def test_an_ack_costs_no_more_than_a_commit(pub, channel):
    """Not a benchmark: a closed loop that waited for a timer would show."""
    start = time.monotonic()
    for n in range(200):
        pub.publish(channel, n)
    assert time.monotonic() - start < 10


def test_every_answer_is_one_line_of_json(pub, channel):
    pub.send({"channel": channel, "data": "a\nb", "ref": "r\n\"\\é"})
    line = pub.recv_line()
    assert json.loads(line)["ref"] == "r\n\"\\é"
