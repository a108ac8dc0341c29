# SPDX-License-Identifier: MIT
"""kill -9 and stops under load: what was acked is in the log once, and every
client has all of it once; nothing of a process stays when it has gone."""

import collections
import random
import signal
import time

import pytest

from harness import wait_until
from loadlib import (Publishers, Subscribers, audit, publish, rows, say, size,
                     slot_locks, whole)

CONFIG = {"retry_ms": 200, "heartbeat_ms": 500}


def acked(path):
    """{key: id} of pubload's file."""
    got = {}
    for line in path.read_text().splitlines():
        id, key = line.split()
        assert key not in got, "acked twice: " + line
        got[key] = int(id)
    return got


def progress(st, more):
    """Waits until that many more events are in the log."""
    start = rows(st, "SELECT coalesce(max(id), 0) FROM events")[0][0]
    wait_until(lambda: rows(st, "SELECT coalesce(max(id), 0) FROM events")
               [0][0] >= start + more, 60, "%d more events" % more)


def strike(st, web, what, n):
    """One kill -9, and its restart."""
    if what == "pubd":
        st.kill_pubd()
        st.start_pubd()
    elif what == "worker":
        st.kill_worker(n % len(st.workers), restart=True)
    else:
        web.kill()
        web.start()


def kill_rounds(st, web, rounds, events, rate, clients, max_time):
    """In each round all three are killed, at a time that nobody chose."""
    chance = random.Random(rounds)
    file = st.dir / "acked"
    killed = collections.Counter()
    with Subscribers(st, web, clients, "--retry-errors", "--until-id", events,
                     "--linger", 1, max_time=max_time) as subs:
        subs.ready()
        with Publishers(st, events, "--rate", rate, "--connections", 8,
                        "--pipeline", 8, "--keys", "run", "--retry-errors",
                        "--acked-file", file, max_time=max_time) as pub:
            for n in range(rounds):
                for what in chance.sample(["pubd", "worker", "web"], 3):
                    progress(st, chance.randrange(1, 200))
                    if not pub.running:
                        break
                    strike(st, web, what, n)
                    killed[what] += 1
            p = pub.result()
        s = subs.result()
    assert min(killed.values()) == rounds, \
        "the load was over before the kills: %r" % killed
    return p, s, acked(file)


@pytest.mark.parametrize("kind", ["lighttpd", "apache-proxy"])
def test_rounds_of_kill_9_under_load_lose_and_double_nothing(make_stack, kind):
    st = make_stack(config=CONFIG, workers=2, metrics=False)
    # Half of the threads may be held by streams that are about to end.
    web = st.front(kind, **({"mpm": "5000", "cap": 400}
                            if kind == "apache-proxy" else {}))
    rounds, rate, clients = size(4, 20), 1000, 60
    events = rounds * size(2500, 4000)
    p, s, keys = kill_rounds(st, web, rounds, events, rate, clients,
                             size(120, 600))
    stored = rows(st, "SELECT id, key FROM events ORDER BY id")
    say(front=kind, rounds=rounds, events=events, duplicates=p["duplicates"],
        connects=p["connects"], refused=p.get("errors"), http=s["http"],
        reconnects=s["reconnects"], cut=s["ends_cut"],
        close=s["control"]["close"])
    # The publishers: each event was acked, with one id.
    assert p["acked"] == events and len(keys) == events
    # The log: just what was acked, once, under the id that was told.
    assert len(stored) == events
    assert {k: i for i, k in stored} == keys
    assert [i for i, _ in stored] == list(range(1, events + 1))
    audit(st)
    # The clients: everything, once, in order; nobody is short.
    whole(s, clients, events)


def test_pubd_killed_between_commit_and_answer_stores_nothing_twice(
        make_stack):
    """Publishers as fast as they can: in some rounds a commit was durable and
    not yet answered, and the key of what is sent again finds it."""
    st = make_stack(config=CONFIG, metrics=False)
    web = st.front("lighttpd")
    rounds, events = size((8, 200000), (60, 1500000))
    st.configure(retain_events=0)
    st.restart_pubd()
    file = st.dir / "acked"
    with Subscribers(st, web, 10, "--no-reconnect", "--until-id", events,
                     "--coalesce-ms", 20, max_time=240) as subs:
        subs.ready()
        with Publishers(st, events, "--connections", 16, "--pipeline", 32,
                        "--keys", "k", "--acked-file", file,
                        max_time=240) as pub:
            for _ in range(rounds):
                progress(st, 3000)
                if not pub.running:
                    break
                st.kill_pubd()
                st.start_pubd()
            p = pub.result()
        whole(subs.result(), 10, events)
    say(events=events, connects=p["connects"], duplicates=p["duplicates"])
    stored = rows(st, "SELECT id, key FROM events")
    assert {k: i for i, k in stored} == acked(file)
    assert len(stored) == events
    audit(st)


def test_a_killed_pubd_is_not_felt_by_streams(make_stack):
    st = make_stack(config=CONFIG, metrics=False)
    web = st.front("lighttpd")
    with Subscribers(st, web, 20, "--until-id", 2000, "--no-reconnect",
                     max_time=60) as subs:
        subs.ready()
        for n in range(4):
            publish(st, 500, "--keys", "r%d" % n)
            st.kill_pubd()
            st.start_pubd()
        whole(subs.result(), 20, 2000)


def test_a_web_server_killed_with_500_streams_leaves_none_in_the_worker(
        make_stack):
    st = make_stack(config={"heartbeat_ms": 15000}, metrics=False)
    web = st.front("lighttpd", cap=500)
    fds = st.idle_fds()[0]
    for n in range(size(2, 10)):
        with Subscribers(st, web, 500, "--seconds", 3600, max_time=60) as subs:
            subs.ready()
            assert st.worker.fds() >= fds + 500
            web.kill()
            # At once: not at the next heartbeat, nor with the next event.
            wait_until(lambda: st.worker.fds() <= fds, 10, "500 streams")
            assert not slot_locks(st)
        web.start()
    with Subscribers(st, web, 500, "--until-id", 1, max_time=60) as subs:
        subs.ready()            # and 500 may come again
        st.publish("c0", "x")
        whole(subs.result(), 500, 1)


# ---------------------------------------------------------------- stops

@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_pubd_answers_what_it_has_read_before_it_stops(make_stack, sig):
    st = make_stack(workers=0, metrics=False)
    with Publishers(st, 20000, "--keys", "k", "--pipeline", 64, "--acked-file",
                    st.dir / "acked", max_time=60) as pub:
        for _ in range(3):
            progress(st, 500)
            if pub.running:
                assert st.pubd.stop(sig) == 0
                assert not st.pubd_sock.exists()
                st.start_pubd()
        p = pub.result()
    say(sent_again=p["connects"] - 1, duplicates=p["duplicates"])
    # Answered means answered: nothing was stored without its answer.
    assert p["duplicates"] == 0
    assert rows(st, "SELECT count(*), max(id) FROM events") == [(20000, 20000)]


@pytest.mark.parametrize("kind", ["lighttpd", "lighttpd-bin", "apache-proxy",
                                  "apache-fcgid", "apache-cgi"])
def test_every_stop_under_load_leaves_no_process_and_no_lock(make_stack, kind):
    """close() of the harness fails for a process that is left."""
    st = make_stack(workers=0 if kind in ("lighttpd-bin", "apache-fcgid",
                                          "apache-cgi") else 2)
    web = st.front(kind)
    with Subscribers(st, web, 5, "--seconds", 3600, "--retry-errors",
                     max_time=60) as subs, \
            Publishers(st, 100000, "--rate", 2000, "--keys", "k",
                       max_time=60) as pub:
        subs.ready()
        progress(st, 200)
        web.stop()
        for p in [*st.workers, st.metrics, st.pubd]:
            assert p.stop() == 0, p.tail()
        pub.stop()
        subs.stop()
        assert subs.result(good=False)["violations"] == 0
    assert slot_locks(st) == []
    assert web.proc.left() == {}
    audit(st)


def test_a_worker_that_stops_tells_its_streams_and_spreads_their_end(
        make_stack):
    st = make_stack(config={"drain_ms": 1000, "retry_ms": 500}, workers=2,
                    metrics=False)
    web = st.front("lighttpd")
    n = size(4000, 20000)
    with Subscribers(st, web, 200, "--until-id", n, "--linger", 0.2,
                     max_time=90) as subs:
        subs.ready()
        with Publishers(st, n, "--rate", 1500, max_time=90) as pub:
            for i in range(2):
                progress(st, 300)
                assert st.stop_worker(i) == 0
                st.start_worker(i)
            pub.result()
        r = subs.result()
    whole(r, 200, n)
    assert r["ends_cut"] == 0 and r["control"]["close"]["drain"] >= 200, r


def test_a_worker_told_to_stop_does_not_wait_for_a_client_that_stalls(
        make_stack):
    st = make_stack(config={"drain_ms": 300}, metrics=False)
    web = st.front("lighttpd")
    with Subscribers(st, web, 20, "--stall", "10:30:1", "--rcvbuf", 4096,
                     "--seconds", 3600, max_time=60) as subs:
        subs.ready()
        publish(st, 1000, "--size", 20000, "--pipeline", 16)
        started = time.monotonic()
        assert st.stop_worker() == 0
        say(stopped_after_s=time.monotonic() - started)
        subs.stop()
