# SPDX-License-Identifier: MIT
"""What a real Prometheus has, against what independent clients counted; and
that nothing it sampled ever goes back, whatever is killed."""

import random
import time

import pytest

from harness import wait_until
from loadlib import Publishers, Subscribers, publish, say, size, whole
from prom import Prometheus, families, promtool

# What only some set-ups have, and this one does.
CONFIG = {"heartbeat_ms": 500, "retry_ms": 200, "metrics_channels": "c0",
          "beacon": "on"}


def both(st):
    """The same workers behind both servers, which take all at once."""
    return {"lighttpd": st.front("lighttpd", cap=5000),
            "apache": st.front("apache-proxy", cap=5000, mpm="5000")}


@pytest.mark.parametrize("through", ["lighttpd", "apache"])
def test_prometheus_has_what_an_independent_client_counted(make_stack,
                                                           through):
    st = make_stack(config=CONFIG, workers=2)
    fronts = both(st)
    web = fronts[through]
    clients, events, resumes, gaps = 100, size(3000, 20000), 7, 3
    with Prometheus(st, fronts) as prom:
        with Subscribers(st, web, clients, "--until-id", events, "--linger",
                         0.2, "--no-reconnect", max_time=120) as subs:
            subs.ready()
            prom.until("sse_streams_open", clients)
            publish(st, events, "--rate", 2000)
            r = subs.result()
        whole(r, clients, events)
        prom.until("sse_streams_open", 0)
        prom.until("sse_events_sent_total", r["events"])
        # Clients that come back: with an id that is there, or is not.
        st.configure(retain_events=100)
        st.restart_pubd()
        wait_until(lambda: st.oldest() > events - 200, 30, "retention")
        oldest = st.oldest()
        for n in range(resumes):
            with web.stream({"channel": "c0"}, last_id=str(events - n)) as s:
                s.open()
        for n in range(gaps):
            with web.stream({"channel": "c0"}, last_id="1") as s:
                s.open()
                gap = s.next()
                assert gap.type == "control.gap", gap
        with web.stream({"channel": "c0"}, last_id="nonsense") as s:
            s.open()
        opened = clients + resumes + gaps + 1
        prom.until("sse_streams_opened_total", opened)
        prom.until("sum by (job) (sse_streams_closed_total)", opened)
        prom.until('sse_resumes_total{result="ok"}', resumes)
        prom.until('sse_resumes_total{result="gap"}', gaps + 1)
        prom.until('sse_gaps_total{code="expired"}', gaps)
        prom.until('sse_last_event_id_mismatch_total{code="invalid"}', 1)
        prom.until("sse_reconnects_total", resumes + gaps + 1)
        prom.until("sse_events_published_total", events)
        prom.until('sse_channel_events_published_total{channel="c0"}', events)
        prom.until("sse_log_head", events)
        prom.until("sse_log_oldest", oldest)
        # Replayed events are counted as sent, and not as delivered late.
        delivered = clients * events
        prom.until("sse_delivery_latency_seconds_count", delivered)
        prom.until('sse_delivery_latency_seconds_bucket{le="+Inf"}', delivered)
        assert prom.value("sse_events_sent_total") >= delivered
        assert prom.value("sse_publish_latency_seconds_count") == events
        prom.until("sse_duplicate_deliveries_total", 0)
        prom.until("sse_id_gaps_total", 0)
        front = 'sse_front_streams_opened_total{front="%s"}' % (
            "apache" if through == "apache" else "lighttpd")
        prom.until(front, opened)
        missing = expected_names() - prom.names()
        assert not missing, "never seen: %s" % sorted(missing)
        say(through=through, delivered=delivered, opened=opened,
            p99_ms=1000 * prom.query("histogram_quantile(0.99, sse_delivery_"
                                     "latency_seconds_bucket)")[0][1])


def expected_names():
    """Every series name of the catalogue."""
    names = set()
    for name, (type, _) in families().items():
        if type == "HISTOGRAM":
            names |= {name + s for s in ("_bucket", "_sum", "_count")}
        else:
            names.add(name)
    return names


@pytest.mark.parametrize("kind", ["lighttpd", "apache-proxy", "apache-fcgid",
                                  "apache-cgi"])
def test_promtool_accepts_the_exposition(stack, fronts, kind):
    web = fronts(kind)
    with web.stream({"channel": "a"}) as s:
        s.open()
        status, _, body = web.get("/sse-metrics.fcgi")
    assert status == 200
    done = promtool("check", "metrics", input=body)
    assert done.returncode == 0 and not done.stdout.strip(), done.stdout


# ---------------------------------------------------------------- kill -9

def no_counter_went_back(prom):
    """Nothing that is a counter has a sample below the one before it."""
    names = [n for n, (t, _) in families().items() if t == "COUNTER"] + [
        n + s for n, (t, _) in families().items() if t == "HISTOGRAM"
        for s in ("_bucket", "_sum", "_count")]
    back = []
    for name in names:
        back += prom.query("resets(%s[1h]) > 0" % name)
    return back


def test_no_counter_goes_back_over_50_kills(make_stack):
    """kill -9 of workers, pubd and metrics under load, each while Prometheus
    looks on; at the end every figure stands where the survivors say."""
    st = make_stack(config=dict(CONFIG, drain_ms=100), workers=3)
    fronts = both(st)
    chance = random.Random(50)
    kills = size(51, 200)
    with Prometheus(st, fronts) as prom:
        with Subscribers(st, fronts["lighttpd"], 30, "--retry-errors",
                         "--churn", 5, "--seconds", 3600,
                         max_time=600) as subs, \
                Publishers(st, 10 ** 6, "--rate", 500, "--keys", "k",
                           "--retry-errors", max_time=600) as pub:
            subs.ready()
            for n in range(kills):
                strike(st, chance.choice(["worker", "worker", "pubd",
                                          "metrics", "both"]), n)
                if n % 3 == 2:
                    prom.scraped()
            pub.stop()
            subs.stop()
            subs.result(good=False)
        prom.scraped()
        assert no_counter_went_back(prom) == []
        assert prom.value("sse_events_sent_total") > 0
        # The dead are forgotten; the living are all there.
        prom.until('sse_process_up{role="worker"}', 3, 40)
        prom.until('sse_process_up{role="pubd"}', 1, 40)
        prom.until("sse_streams_open", 0, 40)
        samples = prom.query("count_over_time(sse_events_sent_total[1h])")
        say(kills=kills, samples=min(v for _, v in samples))


def strike(st, what, n):
    i = n % len(st.workers)
    if what in ("worker", "both"):
        st.kill_worker(i)
    if what in ("pubd", "both"):
        st.kill_pubd()
        st.start_pubd()
    if what in ("worker", "both"):
        st.start_worker(i)
    if what == "metrics":
        st.metrics.kill()
        st.start_metrics()


def test_a_dead_worker_s_gauges_go_with_it(make_stack):
    """With pubd there at once; with pubd killed too, with the lease."""
    st = make_stack(config=CONFIG, workers=2)
    web = st.front("lighttpd", cap=100)
    held = [web.stream({"channel": "a"}) for _ in range(6)]
    for s in held:
        s.open()

    def figure(name):
        return st.gauges(web).get(name)
    wait_until(lambda: figure("sse_streams_open") == 6, 20, "6 streams")
    opened = figure("sse_streams_opened_total")
    for i in range(2):
        st.kill_worker(i)
    wait_until(lambda: figure("sse_streams_open") == 0, 5, "none open")
    assert figure('sse_process_up{role="worker"}') == 0
    assert figure("sse_streams_opened_total") == opened
    for i in range(2):
        st.start_worker(i)
    again = [web.stream({"channel": "a"}) for _ in range(4)]
    for s in again:
        s.open()
    wait_until(lambda: figure("sse_streams_open") == 4, 20, "4 streams")
    st.kill_pubd()
    for i in range(2):
        st.kill_worker(i)
    died = time.monotonic()
    wait_until(lambda: figure('sse_process_up{role="worker"}') == 0, 30,
               "the leases to end", step=0.1)
    lease_s = 10
    assert time.monotonic() - died < lease_s + 10
    assert figure("sse_streams_open") in (0, None)
    assert figure("sse_streams_opened_total") == opened + 4
    for s in held + again:
        s.close()


def test_counters_are_the_same_after_pubd_was_away(make_stack):
    """pubd killed, started, stopped, started: what was told once is neither
    lost nor doubled.  (A second is the most that a kill can hide.)"""
    st = make_stack(config=CONFIG, workers=2)
    web = st.front("lighttpd", cap=100)

    def figure(name):
        return st.gauges(web).get(name)

    def run(n):
        with web.stream({"channel": "a"}) as s:
            s.open()
            for i in range(n):
                st.publish("a", i)
                s.data()
    run(20)
    total = 20
    wait_until(lambda: figure("sse_events_sent_total") == total, 10, "20")
    wait_until(lambda: figure("sse_events_published_total") == total, 10,
               "20 published")
    for how in (st.kill_pubd, st.stop_pubd, st.kill_pubd):
        how()
        assert figure("sse_events_sent_total") == total, "while it is away"
        st.start_pubd()
        run(5)
        total += 5
        for name in ("sse_events_sent_total", "sse_events_published_total"):
            wait_until(lambda: figure(name) == total, 15,
                       "%d in %s" % (total, name))
        assert figure("sse_streams_opened_total") == (total - 20) // 5 + 1
