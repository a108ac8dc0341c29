# SPDX-License-Identifier: MIT
"""What a user may do on pubd's socket, by the uid that the kernel tells: how
much he may publish, who may report and watch as a worker does."""

import contextlib
import json
import os
import pwd
import subprocess
import time
import types

import pytest

from harness import RUN_AS, status_rows, wait_until
from pub import Publisher, acting_as

NOBODY = pwd.getpwnam("nobody")
OTHER = pwd.getpwnam("daemon")
needs_root = pytest.mark.skipif(not RUN_AS, reason="connects as other users")


def publisher(st, user=None):
    """A connection of this user: the kernel notes who connects."""
    if user is None:
        return st.publisher()
    with acting_as(user):
        return Publisher(st.pubd_sock)


@pytest.fixture
def open_stack(make_stack):
    def make(**config):
        return make_stack(config=dict({"socket_mode": "0666"}, **config),
                          workers=0, metrics=False)
    return make


def in_group(user):
    """The same in the group of the log, as with `walcast init --group`."""
    return types.SimpleNamespace(pw_uid=user.pw_uid, pw_gid=RUN_AS.pw_gid)


# ---------------------------------------------------------------- how much

def event(n=1, channel="a"):
    return {"channel": channel, "data": n}


def test_a_publisher_past_its_rate_is_told_when_to_come_back(make_stack):
    st = make_stack(config={"publish_rate": 50, "publish_burst": 100},
                    workers=0, metrics=False)
    with st.publisher() as pub:
        pub.send(*[event(n) for n in range(2000)])
        got = [pub.recv() for _ in range(2000)]
    stored = [a["id"] for a in got if a["ok"]]
    refused = [a for a in got if not a["ok"]]
    assert 100 <= len(stored) < 1000
    assert stored == list(range(1, len(stored) + 1))
    assert got[99]["ok"], "a whole burst comes through at once"
    assert {a["error"] for a in refused} == {"rate_limited"}
    assert all(1 <= a["retry_ms"] <= 21 for a in refused)
    assert str(os.geteuid()) in refused[0]["message"]
    assert st.head() == len(stored)


def test_whoever_waits_as_told_gets_in(make_stack):
    st = make_stack(config={"publish_rate": 20, "publish_burst": 1},
                    workers=0, metrics=False)
    with st.publisher() as pub:
        for n in range(5):
            answer = pub.call(event(n))
            while not answer["ok"]:
                time.sleep(answer["retry_ms"] / 1000)
                answer = pub.call(event(n))
            assert answer["id"] == n + 1


def test_answers_keep_their_order_and_arrays_count_their_events(make_stack):
    st = make_stack(config={"publish_rate": 1, "publish_burst": 10},
                    workers=0, metrics=False)
    with st.publisher() as pub:
        lines = [event(), [event()] * 11, [event()] * 9, event(),
                 {"op": "ping"}, {"channel": "a b", "data": 1}]
        pub.send(*[dict(x, ref=n) if isinstance(x, dict) else x
                   for n, x in enumerate(lines)])
        got = [pub.recv() for _ in lines]
    assert got[0]["id"] == 1 and got[0]["ref"] == 0
    assert got[1]["error"] == "too_large" and "retry_ms" not in got[1]
    assert "publish_burst" in got[1]["message"]
    assert got[2]["ids"] == list(range(2, 11))
    assert got[3]["error"] == "rate_limited" and got[3]["ref"] == 3
    assert got[4]["head"] == 10 and got[5]["error"] == "bad_channel"


def test_the_rate_is_of_the_user_and_changes_on_hup(make_stack):
    st = make_stack(config={"publish_rate": 1, "publish_burst": 2},
                    workers=0, metrics=False)
    with st.publisher() as one, st.publisher() as two:
        assert one.call(event())["ok"] and two.call(event())["ok"]
        assert one.call(event())["error"] == "rate_limited"
        assert two.call(event())["error"] == "rate_limited"
        st.configure(publish_rate=0)
        st.pubd.send_signal(1)
        wait_until(lambda: one.call(event())["ok"], what="the limit to go")
        for n in range(100):
            assert two.call(event(n))["ok"]
        st.configure(publish_rate=1, publish_burst=None)
        st.pubd.send_signal(1)
        wait_until(lambda: not one.call(event())["ok"], what="a limit")


def test_what_waits_for_room_in_the_batch_is_charged_once(make_stack):
    st = make_stack(config={"publish_rate": 1, "publish_burst": 18000},
                    workers=0, metrics=False)
    line = json.dumps([event()] * 6000, separators=(",", ":"))
    with contextlib.ExitStack() as held:
        pubs = [held.enter_context(st.publisher()) for _ in range(3)]
        for pub in pubs:
            assert pub.call({"op": "ping"})["ok"]
        st.pubd.pause()
        for pub in pubs:
            pub.send(line)
        st.pubd.resume()
        # One fits into a batch: the others are offered once more.
        assert [len(pub.recv(60).get("ids", [])) for pub in pubs] \
            == [6000] * 3
        assert pubs[0].call(event())["error"] == "rate_limited"


@needs_root
def test_others_publish_while_one_is_limited(open_stack):
    st = open_stack(publish_rate=100)
    with publisher(st, NOBODY) as greedy, publisher(st, OTHER) as good:
        greedy.send(*[event(n, "greedy") for n in range(1000)])
        assert good.call(event(0, "good"))["ok"]
        got = [greedy.recv() for _ in range(1000)]
        assert sum(a["ok"] for a in got) < 500
        for n in range(50):
            assert good.call(event(n, "good"))["ok"]


def ids(done):
    return [int(x) for x in done.stdout.split()]


def test_walcast_publish_waits_as_it_is_told(make_stack):
    st = make_stack(config={"publish_rate": 200, "publish_burst": 20},
                    workers=0, metrics=False)
    done = st.walcast("publish", "-c", "a", "--lines",
                      input="".join("%d\n" % n for n in range(300)),
                      check=True)
    assert ids(done) == list(range(1, 301))
    assert done.stderr == b""
    st.configure(publish_rate=2, publish_burst=1)
    st.restart_pubd()
    for n in range(3):
        assert ids(st.walcast("publish", "-c", "a", "x", check=True)) \
            == [301 + n]


def test_walcast_publish_gives_up_when_nothing_comes_through(make_stack):
    st = make_stack(config={"publish_rate": 1, "publish_burst": 3},
                    workers=0, metrics=False)
    with st.publisher() as pub:
        for _ in range(3):
            assert pub.call(event())["ok"]
    done = st.walcast("publish", "-c", "a", "--lines", "--timeout", "1",
                      input="1\n2\n3\n4\n5\n")
    assert done.returncode == 1
    assert b"rate_limited" in done.stderr
    assert b"events are stored" in done.stderr
    assert st.head() == 3 + len(ids(done)) < 8


# ---------------------------------------------------------------- who reports

REPORT = {"op": "report", "name": "worker-1-1", "role": "worker", "pid": 1,
          "version": "x", "started_ms": 1, "head": 0, "cursor": 0,
          "streams": 0, "counters": {"events_sent": 5}, "gauges": {}}
SPAN = {"op": "span", "name": "dispatch", "trace": "00-%s-%s-01" % (
    "4b" * 16, "a7" * 8), "channel": "a", "type": "t"}
WATCH = {"op": "watch", "role": "worker"}


def counters(st, name):
    """What the row of this name has counted; {} when there is none."""
    found = status_rows(st, "counters", "WHERE name = ?", (name,))
    return json.loads(found[0][0]) if found else {}


def pubd_row(st):
    """(counters, gauges) of pubd."""
    found = status_rows(st, "counters, gauges",
                        "WHERE role = 'pubd' AND folded_ms IS NULL")
    return [json.loads(x) for x in found[0]] if found else [{}, {}]


def unanswered(pub):
    """Nothing has been said to what was sent before."""
    return pub.call({"op": "ping", "ref": "p"}).get("ref") == "p"


@needs_root
def test_a_publisher_may_neither_report_nor_watch_as_a_worker(open_stack):
    st = open_stack()
    with publisher(st, NOBODY) as pub:
        for role in ["worker", "cgi", "metrics"]:
            answer = pub.call(dict(WATCH, role=role, timing=True))
            assert answer["error"] == "forbidden"
            assert "report_users" in answer["message"]
            assert str(NOBODY.pw_uid) in answer["message"]
        assert pub.call({"op": "watch"}) == {"ok": True, "head": 0}
        for line in (REPORT, SPAN):
            assert pub.call(line)["error"] == "forbidden"
        assert st.publish("a", 1) == 1
        assert pub.recv() == {"head": 1}, "it hears of commits all the same"
    assert counters(st, "worker-1-1") == {}
    wait_until(lambda: pubd_row(st)[0].get("reports_forbidden") == 5,
               what="them to be counted")
    assert pubd_row(st)[1]["reports_forbidden_uid"] == NOBODY.pw_uid


@needs_root
def test_users_that_are_named_may_report_for_as_long_as_they_are(open_stack):
    st = open_stack(report_users="daemon, 12345")
    with publisher(st, OTHER) as named, publisher(st, NOBODY) as late:
        assert named.call(WATCH)["ok"]
        named.send(REPORT)
        assert unanswered(named)
        assert counters(st, "worker-1-1") == {"events_sent": 5}
        assert late.call(WATCH)["error"] == "forbidden"
        st.configure(report_users="nobody")
        st.pubd.send_signal(1)
        wait_until(lambda: late.call(WATCH)["ok"], what="the new rule")
        assert named.call(REPORT)["error"] == "forbidden"
        late.send(dict(REPORT, name="worker-2-1"))
        assert unanswered(late)


def test_an_unknown_user_is_told_with_its_line(make_stack):
    st = make_stack(workers=0, metrics=False)
    st.configure(report_users="no-such-user")
    done = subprocess.run([st.bin / "pubd", "-n", "-c", st.conf],
                          stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    line = 1 + st.conf.read_text().splitlines().index(
        "report_users = no-such-user")
    assert done.returncode == 78
    assert b'walcast.conf:%d: report_users: there is no user "no-such-user"' \
        % line in done.stderr


@needs_root
def test_connections_that_only_listen_are_few_for_each_user(open_stack):
    st = open_stack()
    with contextlib.ExitStack() as held:
        def watch(user):
            pub = held.enter_context(publisher(st, user))
            return pub, pub.call({"op": "watch"})
        first, answer = watch(NOBODY)
        assert answer["ok"]
        assert all(watch(NOBODY)[1]["ok"] for _ in range(63))
        pub, answer = watch(NOBODY)
        assert answer["error"] == "busy"
        assert pub.publish("a", 1) == 1, "it may publish"
        assert watch(OTHER)[1]["ok"]
        assert all(watch(None)[1]["ok"] for _ in range(70))
        first.close()
        wait_until(lambda: pub.call({"op": "watch"})["ok"], what="its place")


def test_one_report_of_nonsense_spoils_no_counter(make_stack):
    st = make_stack(workers=0, metrics=False)
    now = int(time.time() * 1000)
    with st.publisher() as pub:
        pub.call(WATCH)
        for counted in ({"events_sent": 2 ** 53}, {"bytes_sent": 2 ** 53},
                        {"streams_opened": 5, "delivery.3": 2 ** 40},
                        {"delivery.3": 1, "delivery.sum": 2 ** 53}):
            answer = pub.call(dict(REPORT, started_ms=now, counters=counted))
            assert answer["error"] == "bad_request"
            assert "has grown by more" in answer["message"]
            assert counters(st, "worker-1-1") == {}
        pub.send(dict(REPORT, started_ms=now))
        assert unanswered(pub)
        answer = pub.call(dict(REPORT, counters={"events_sent": 2 ** 50}))
        assert "events_sent" in answer["message"]
    assert counters(st, "worker-1-1") == {"events_sent": 5}
    wait_until(lambda: pubd_row(st)[0].get("reports_implausible") == 5,
               what="them to be counted")
    assert "report.implausible" in st.pubd.tail()


@needs_root
def test_the_counters_can_be_reset_by_the_owner(open_stack):
    st = open_stack()
    with st.publisher() as pub:
        pub.call(WATCH)
        pub.send(dict(REPORT, counters={"events_sent": 8 * 10 ** 12}))
        assert unanswered(pub)
    wait_until(lambda: counters(st, "totals").get("events_sent"),
               what="them to join the totals")
    with publisher(st, NOBODY) as pub:
        answer = pub.call({"op": "reset_counters"})
        assert answer["error"] == "forbidden"
    assert counters(st, "totals")["events_sent"] == 8 * 10 ** 12
    done = st.walcast("reset-counters", check=True)
    assert b"reset" in done.stdout
    assert counters(st, "totals") == {}
    assert "counters.reset" in st.pubd.tail()


@needs_root
def test_a_worker_of_another_user_streams_on_time_and_says_what_to_do(
        open_stack):
    st = open_stack()
    sockets = st.dir / "sockets"
    sockets.mkdir()
    os.chown(sockets, NOBODY.pw_uid, RUN_AS.pw_gid)
    p = st.spawn("sse.fcgi", [st.bin / "sse.fcgi", "--listen",
                              sockets / "sse"], run_as=in_group(NOBODY))
    wait_until(lambda: "report_users" in p.tail(), what="its warning")
    wait_until(lambda: pubd_row(st)[1].get("reports_forbidden_uid")
               == NOBODY.pw_uid, what="pubd to tell")
    assert pubd_row(st)[1]["watchers"] == 1, "it is woken"
    said = st.walcast("doctor").stdout.decode()
    warn, = [l for l in said.splitlines() if l.startswith("warn  reports")]
    assert "report_users = nobody" in warn
    # A pubd that knows better.
    st.configure(report_users="nobody")
    st.restart_pubd()
    wait_until(lambda: "takes reports of this process again" in p.tail(),
               what="it to go on")
    said = st.walcast("doctor").stdout.decode()
    assert "warn  reports" not in said and "nobody" in said


@needs_root
@pytest.mark.parametrize("kind", ["lighttpd-bin", "apache-fcgid",
                                  "apache-cgi"])
def test_workers_that_a_web_server_starts_report_once_they_are_named(
        make_stack, kind):
    """The log is one user's, the web server another one, as after
    `walcast init --mode open --group www-data`."""
    st = make_stack(workers=0, metrics=False, pubd=False)
    for path in [st.run, st.var, *st.var.iterdir()]:
        os.chown(path, OTHER.pw_uid, RUN_AS.pw_gid)
    st.var.chmod(0o2770)
    st.pubd = st.spawn("pubd", [st.bin / "pubd"], run_as=in_group(OTHER))
    st.await_socket(st.pubd, st.pubd_sock)

    def stream():
        web = st.front(kind)
        with web.stream({"channel": "a"}) as s:
            s.open()
            id = st.publish("a", 1)
            assert s.data().id == str(id)
            yield
        web.stop()

    for _ in stream():
        wait_until(lambda: pubd_row(st)[1].get("reports_forbidden_uid")
                   == RUN_AS.pw_uid, what="pubd to tell")
        said = st.walcast("doctor").stdout.decode()
        assert "`report_users = www-data`" in said, said
    assert "streams_opened" not in counters(st, "totals")
    st.configure(report_users="www-data")
    st.pubd.send_signal(1)
    for _ in stream():
        pass
    wait_until(lambda: counters(st, "totals").get("streams_opened"),
               what="the figures of the workers")
