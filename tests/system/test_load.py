# SPDX-License-Identifier: MIT
"""Many clients at once: everyone has everything once and in order, whoever
reconnects, stalls, idles or comes from far behind."""

import pytest

from conftest import needs
from harness import free_port, wait_until
from loadlib import Sampler, Subscribers, audit, publish, say, size, whole
from test_sql import insert

CHURN = ("--churn", 5)
# Thousands of records for each client: one system call for each would be most
# of what the machine does.
BULK = ("--coalesce-ms", 20)


def fan_out(st, web, clients, events, *args, rate=0, churn=CHURN, rounds=1,
            max_time=120):
    """`events` events in `rounds` bursts to all clients, with churn."""
    total = events * rounds
    with Subscribers(st, web, clients, "--until-id", total, "--linger", 0.2,
                     *churn, *BULK, *args, max_time=max_time) as subs:
        subs.ready()
        for _ in range(rounds):
            publish(st, events, "--rate", rate, "--connections", 4,
                    "--pipeline", 64, "--size", 200, max_time=max_time)
        r = subs.result()
    whole(r, clients, total)
    say(front=web.kind, clients=clients, events=total,
        reconnects=r["reconnects"], churned=r["churned"],
        deliveries_per_s=r["deliveries_per_s"], active_s=r["active_s"],
        close=r["control"]["close"])
    return r


# ---------------------------------------------------------------- fan-out

def test_500_clients_of_lighttpd_have_5000_saturated_events_once_in_order(
        make_stack):
    st = make_stack(metrics=False)
    web = st.front("lighttpd")
    # One burst takes about a second: more of them, so that many reconnect.
    r = fan_out(st, web, 500, 5000, rounds=size(3, 20), max_time=300)
    assert r["churned"] > 20
    audit(st)


def test_clients_that_reconnect_all_the_time_miss_nothing_through_lighttpd(
        make_stack):
    """Half of them each second, by RST, over a ring that holds little."""
    st = make_stack(config={"ring_bytes": 65536}, workers=2, metrics=False)
    r = fan_out(st, st.front("lighttpd"), 300, size(8000, 100000), rate=3000,
                churn=("--churn", 50, "--churn-rst"), max_time=240)
    assert r["churned"] > 200


def test_1000_clients_of_apache_have_every_event_once_in_order(make_stack):
    st = make_stack(metrics=False)
    web = st.front("apache-proxy", mpm="5000", cap=1100)
    r = fan_out(st, web, 1000, 5000, rounds=size(1, 10), max_time=300)
    assert r["churned"] > 20


def test_50_clients_of_mod_fcgid_have_every_event_once_in_order(make_stack):
    st = make_stack(workers=0, metrics=False)
    web = st.front("apache-fcgid")
    # Slow enough for some to reconnect.
    r = fan_out(st, web, 50, size(5000, 50000), rate=1000, max_time=200)
    assert r["churned"] > 5


def test_5_clients_of_plain_cgi_have_every_event_once_in_order(make_stack):
    st = make_stack(workers=0, metrics=False)
    web = st.front("apache-cgi")
    r = fan_out(st, web, 5, size(5000, 50000), rate=1000,
                churn=("--churn", 40), max_time=200)
    assert r["churned"] > 2


# ---------------------------------------------------------------- stalled

def slow_run(st, web, clients, stalled, events, payload, stall_s, rate):
    """Publishes at a rate; some clients do not read for a while."""
    after = st.head()
    args = ["--rcvbuf", 65536]
    if stalled:
        args += ["--stall", "%d:%g:10" % (stalled, stall_s)]
    with Subscribers(st, web, clients, "--until-id", after + events,
                     "--latency", "t", *BULK, *args, max_time=240) as subs:
        subs.ready()
        before = st.worker.rss_kib()
        with Sampler(st.worker.rss_kib) as rss:
            publish(st, events, "--rate", rate, "--stamp", "--size", payload,
                    "--pipeline", 32, max_time=240)
            r = subs.result()
    whole(r, clients, events)
    latency = r.get("latency_fast_us") or r["latency_us"]
    say(clients=clients, stalled=stalled, events=events, fast_latency=latency,
        rss_before_kib=before, rss_most_kib=max(rss.seen))
    return max(rss.seen) - before


def test_200_of_500_clients_that_stop_reading_cost_no_memory_and_no_event(
        make_stack):
    """30,000 events at 4,000/s, 8 s of no reading; the ring has 4 MiB."""
    st = make_stack(config={"ring_bytes": 4194304}, metrics=False)
    web = st.front("lighttpd")
    clients, stalled = 500, 200
    events, payload, stall_s, rate = 30000, 200, 8, 4000
    # The ring fills up in this one, so that the next one cannot hide in it.
    slow_run(st, web, clients, 0, events, payload, stall_s, rate)
    grown = slow_run(st, web, clients, stalled, events, payload, stall_s, rate)
    say(grown_kib=grown)
    assert grown < 16 * 1024


def over_a_port(st):
    """lighttpd and a worker that talk TCP, where a write may be taken in part:
    a Unix socket takes a record whole or not at all."""
    port = free_port()
    p = st.spawn("sse.fcgi", [st.bin / "sse.fcgi", "--listen",
                              "127.0.0.1:%d" % port])
    st.await_socket(p, ("127.0.0.1", port))
    return st.front("lighttpd", subst=[(
        '"socket"       => "%s"' % st.sse_sock,
        '"host" => "127.0.0.1", "port" => %d' % port)])


@pytest.mark.parametrize("kind", ["lighttpd", "lighttpd over a port"])
def test_large_events_reach_clients_that_rest_and_read_to_the_byte(
        make_stack, kind):
    """Clients that are live fall behind in the middle of a record."""
    st = make_stack(metrics=False)
    web = over_a_port(st) if "port" in kind else st.front(kind)
    streams = [web.stream({"channel": "c0"}, rcvbuf=4096) for _ in range(4)]
    for s in streams:
        s.open()
    texts = []
    for round in range(size(2, 10)):
        more = [("%d.%d/" % (round, n)) * (3000 + 7 * n) for n in range(500)]
        for text in more:
            st.publish("c0", text)
        texts += more
        for s in streams[round % 2:]:
            # The first one rests for two rounds.
            while len(s.parser.events) < len(texts):
                assert s.pump(20)
                s.raw = b""     # not needed, and copied each time
    for s in streams:
        while len(s.parser.events) < len(texts):
            assert s.pump(20)
            s.raw = b""
        assert [int(e.id) for e in s.parser.events] == \
            list(range(1, len(texts) + 1))
        assert [e.data for e in s.parser.events] == texts
        s.close()


# ---------------------------------------------------------------- far behind

def test_a_client_resumes_from_very_far_behind_and_goes_on_live(make_stack):
    n = 1000000
    st = make_stack(config={"retain_events": 0}, metrics=False)
    publish(st, n, "--array", 1000, "--pipeline", 4, "--size", 200,
            max_time=120)
    live = 2000
    web = st.front("lighttpd")
    with Subscribers(st, web, 3, "--last-id", 0, "--until-id", n + live,
                     max_time=120) as subs:
        subs.ready()
        publish(st, live, "--rate", 2000)
        r = subs.result()
    whole(r, 3, n + live)
    say(events=n + live, active_s=r["active_s"],
        per_s=r["deliveries_per_s"])


def test_many_clients_far_behind_are_served_beside_those_that_are_live(
        make_stack):
    n = size(20000, 100000)
    st = make_stack(config={"ring_bytes": 1048576}, metrics=False)
    web = st.front("lighttpd")
    publish(st, n, "--array", 500, "--pipeline", 4, max_time=60)
    live = 2000
    with Subscribers(st, web, 50, "--until-id", n + live, max_time=120) \
            as current:
        current.ready()
        with Subscribers(st, web, 50, "--last-id", 0, "--until-id", n + live,
                         *BULK, max_time=120) as behind:
            publish(st, live, "--rate", 1000)
            whole(behind.result(), 50, n + live)
        whole(current.result(), 50, live)


# ---------------------------------------------------------------- SQL

@needs("php")
@pytest.mark.parametrize("kind", ["lighttpd", "apache-proxy"])
def test_php_inserts_without_pubd_reach_every_client(make_stack, kind):
    st = make_stack(pubd=False, workers=2, metrics=False)
    web = st.front(kind)
    with Subscribers(st, web, 50, "--until-id", 5, "--linger", 0.2,
                     max_time=60) as subs:
        subs.ready()
        ids = [insert(st, "php", "c0", "message", "n%d" % n)
               for n in range(5)]
        whole(subs.result(), 50, 5)
    assert ids == [1, 2, 3, 4, 5]


# ---------------------------------------------------------------- idle

def test_8000_idle_streams_cost_the_worker_less_than_a_kib_each(make_stack):
    """Through lighttpd as shipped; afterwards no descriptor is left."""
    import resource
    n = 8000
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 17000:
        pytest.skip("lighttpd needs 17,000 descriptors for 8,000 streams")
    st = make_stack(config={"heartbeat_ms": 15000, "retry_ms": 3000},
                    metrics=False)
    web = st.front("lighttpd")
    fds = st.idle_fds()[0]
    with Subscribers(st, web, 10, "--until-id", 100) as subs:
        subs.ready()        # what is made once is there
        publish(st, 100)
        subs.result()
    gone(st, fds)
    before = st.worker.pss_kib()
    head = st.head()
    with Subscribers(st, web, n, "--until-id", head + 1, max_time=120) as subs:
        subs.ready(90)
        idle = st.worker.pss_kib()
        assert st.worker.fds() >= fds + n
        publish(st, 1)
        whole(subs.result(), n, 1)
    gone(st, fds)
    say(streams=n, worker_bytes_each=(idle - before) * 1024 / n,
        fds_before=fds, fds_after=st.worker.fds())
    assert (idle - before) * 1024 / n < 1024


def gone(st, fds):
    """Writing finds those who left: publish until none is left."""
    def left():
        st.publish("c0", "is anyone there?")
        return st.worker.fds() <= fds
    wait_until(left, 60, "the streams to be gone")
