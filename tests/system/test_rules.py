# SPDX-License-Identifier: MIT
"""What a user may do on pubd's socket, by the uid that the kernel tells: how
much he may publish, who may report and watch as a worker does."""

import contextlib
import os
import pwd
import time

import pytest

from harness import RUN_AS, wait_until
from pub import Publisher

NOBODY = pwd.getpwnam("nobody")
OTHER = pwd.getpwnam("daemon")
needs_root = pytest.mark.skipif(not RUN_AS, reason="connects as other users")


@contextlib.contextmanager
def effective(user):
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def publisher(st, user=None):
    """A connection of this user: the kernel notes who connects."""
    if user is None:
        return st.publisher()
    with effective(user):
        return Publisher(st.pubd_sock)


@pytest.fixture
def open_stack(make_stack):
    def make(**config):
        return make_stack(config=dict({"socket_mode": "0666"}, **config),
                          workers=0, metrics=False)
    return make


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
