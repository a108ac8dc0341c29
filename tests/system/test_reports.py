# SPDX-License-Identifier: MIT
"""What workers report to pubd, as it stands in status.db: exact after a
graceful stop, whole after pubd was away."""

import json
import signal
import socket
import sqlite3
import subprocess

import pytest

from fcgi import Conn, request
from harness import RUN_AS, status_rows, wait_until


def rows(st, where=""):
    """{name: (counters, gauges)} of status.db."""
    return {name: (json.loads(counters), json.loads(gauges))
            for name, counters, gauges in status_rows(
                st, "name, counters, gauges", where)}


def totals(st):
    return rows(st)["totals"][0]


def stop(st):
    """Stops the worker; what all that have ended have counted."""
    st.worker.send_signal(signal.SIGTERM)
    assert st.worker.wait() == 0
    wait_until(lambda: totals(st).get("streams_opened"),
               what="its counters to join the totals")
    return totals(st)


def live(st, role="worker"):
    """Counters and gauges of the one process of this role."""
    found = [v for k, v in rows(st, "WHERE folded_ms IS NULL").items()
             if k.startswith(role + "-")]
    return found[0] if len(found) == 1 else None


def stream(st, query="channel=a", **more):
    c = Conn(st.sse_sock, request(query=query, **more))
    c.record()
    return c


def read_until(c, data):
    got = b""
    while data not in got:
        got += c.record()[2]
    return got


def count(counters, name):
    """All buckets of a histogram."""
    return sum(v for k, v in counters.items()
               if k.startswith(name + ".") and k != name + ".sum")


def test_the_figures_are_exact_after_a_graceful_stop(make_stack):
    st = make_stack(config={"heartbeat_ms": 60000}, metrics=False)
    first = st.publish("a", "before")
    fronts = ["Apache/2.4", "lighttpd/1.4", "nginx/1.22", "Caddy"]
    clients = [stream(st, SERVER_SOFTWARE=f) for f in fronts]
    for n in range(20):
        st.publish("a", "event %d" % n)
    for c in clients:
        read_until(c, b"event 19")
    ok = stream(st, HTTP_LAST_EVENT_ID=str(first))
    gap = stream(st, HTTP_LAST_EVENT_ID="99999")
    read_until(ok, b"event 19")
    read_until(gap, b"event 19")
    stream(st, "channel=b%20d", HTTP_LAST_EVENT_ID="5")
    stream(st, WALCAST_MAX_STREAMS="0", HTTP_LAST_EVENT_ID="5")
    clients[0].close()
    wait_until(lambda: st.worker.fds() and live(st)
               and live(st)[0].get("closed_left") == 1, what="it to be seen")
    n = stop(st)
    assert n["streams_opened"] == 6
    assert n["closed_left"] == 1 and n["closed_drain"] == 5
    assert n["events_sent"] == 4 * 20 + 20 + 21
    # Of the four that were there before; the others' are older than them.
    assert count(n, "delivery") == 4 * 20
    assert count(n, "wake") <= 21 and n["wake.sum"] > 0
    assert n["reconnects"] == 4
    assert (n["resumes_ok"], n["resumes_gap"], n["resumes_failed"]) \
        == (1, 1, 2)
    assert n["mismatch_ahead"] == 1 and n["gaps_ahead"] == 1
    assert n["rejected_slots"] == 1 and n["refused_400"] == 1
    assert n["front_opened_apache"] == n["front_closed_apache"] == 1
    assert n["front_opened_other"] == n["front_closed_other"] == 3
    assert n["front_rejected_other"] == 1
    assert "duplicates" not in n and "store_errors" not in n


def test_counters_and_gauges_of_a_running_worker(make_stack):
    st = make_stack(config={"heartbeat_ms": 200}, metrics=False)
    held = [stream(st, SERVER_SOFTWARE="lighttpd/1", WALCAST_MAX_STREAMS="5")
            for _ in range(2)]
    wait_until(lambda: live(st) and live(st)[1].get("streams_held") == 2,
               what="a report")
    n, g = live(st)
    assert g["front_open_lighttpd"] == 2
    assert (g["front_slots_free"], g["front_slots_limit"]) == (3, 5)
    assert g["opened_60s"] == g["asked_60s"] == 2
    assert g["stream_bytes"] / 2 < 300
    assert g["fds_used"] == st.worker.fds()
    assert g["rss_bytes"] > 1000000 and g["fds_limit"] > 100
    wait_until(lambda: live(st)[0].get("heartbeats_sent", 0) >= 2,
               what="heartbeats")
    for c in held:
        c.close()


def test_nothing_is_lost_while_pubd_is_away(make_stack):
    st = make_stack(metrics=False)
    first = stream(st)
    wait_until(lambda: live(st) and live(st)[1].get("streams_held") == 1,
               what="a report")
    st.kill_pubd()
    second = stream(st)
    second.close()
    st.start_pubd()
    st.publish("a", "again")
    read_until(first, b"again")
    wait_until(lambda: live(st) and live(st)[0].get("events_sent") == 1
               and live(st)[0]["streams_opened"] == 2, 20,
               "one report to hold all")
    n = stop(st)
    assert n["streams_opened"] == 2 and n["events_sent"] == 1


def test_a_short_cgi_stream_is_counted_too(make_stack):
    st = make_stack(metrics=False)
    st.publish("a", "one")
    env = st.environment(GATEWAY_INTERFACE="CGI/1.1", REQUEST_METHOD="GET",
                         QUERY_STRING="channel=a&last_event_id=earliest",
                         REQUEST_URI="/sse.fcgi", SERVER_SOFTWARE="Apache/2")
    user = dict(user=RUN_AS.pw_uid, group=RUN_AS.pw_gid,
                extra_groups=[]) if RUN_AS else {}
    p = subprocess.Popen([st.bin / "sse.fcgi"], env=env,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, **user)
    got = b""
    while b"data: one" not in got:
        more = p.stdout.read1(4096)
        assert more, "it ended: %r" % got
        got += more
    p.terminate()
    assert b"control.close" in p.stdout.read()
    assert p.wait(20) == 0
    n = wait_until(lambda: totals(st).get("streams_opened") and totals(st),
                   what="its counters")
    assert n["front_opened_cgi"] == n["front_closed_cgi"] == 1
    assert n["events_sent"] == 1 and n["closed_drain"] == 1
    assert "reconnects" not in n, "who asks for the beginning begins"


def test_with_metrics_off_nothing_is_reported_or_timed(make_stack):
    st = make_stack(config={"metrics": "off", "log_format": "json"},
                    metrics=False)
    c = stream(st)
    st.publish("a", "one")
    read_until(c, b"one")
    st.worker.send_signal(signal.SIGTERM)
    assert st.worker.wait() == 0
    assert [k for k in rows(st) if k.startswith("worker-")] == []


@pytest.mark.parametrize("trace, spans", [("01", True), ("00", False)])
def test_a_sampled_event_is_reported_as_a_span(make_stack, trace, spans):
    """To a pubd that traces: the test's own, so that its lines are seen."""
    st = make_stack(metrics=False)
    st.stop_pubd()
    listener = socket.socket(socket.AF_UNIX)
    if st.pubd_sock.exists():
        st.pubd_sock.unlink()
    listener.bind(str(st.pubd_sock))
    st.pubd_sock.chmod(0o777)
    listener.listen(8)
    listener.settimeout(20)
    c = stream(st)
    conn, _ = listener.accept()
    conn.settimeout(20)
    file = conn.makefile("rb")
    watch = json.loads(file.readline())
    assert watch == {"op": "watch", "role": "worker", "timing": True}
    conn.sendall(b'{"ok":true,"head":0,"trace":true}\n')
    traceparent = "00-%s-00f067aa0ba902b7-%s" % ("4b" * 16, trace)
    seen = []

    def line():
        seen.append(json.loads(file.readline()))
        return seen[-1]
    # It has read our answer a second after its first report at the latest.
    for _ in range(2):
        while line()["op"] != "report":
            pass
    db = sqlite3.connect(st.db)
    with db:
        db.execute("INSERT INTO events (channel, event, data, trace) "
                   "VALUES ('a', 'made', '123456', ?)", (traceparent,))
    db.close()
    read_until(c, b"123456")
    n = len(seen)
    while line()["op"] != "report":
        pass
    got = [x for x in seen[n:] if x["op"] == "span"]
    if not spans:
        assert got == []
    else:
        span, = got
        assert span["name"] == "dispatch" and span["trace"] == traceparent
        assert span["channel"] == "a" and span["type"] == "made"
        assert span["id"] == 1 and span["bytes"] == 6
        assert span["streams"] == 1
        assert 1.5e15 < span["start_us"] <= span["end_us"]
    conn.close()
    listener.close()
    c.close()


def test_only_workers_are_woken_by_commits(make_stack):
    """sse-metrics.fcgi has a connection, too, but for its reports only."""
    st = make_stack(workers=2, metrics=True)

    def reported():
        return len(rows(st, "WHERE role IN ('worker', 'metrics') "
                            "AND folded_ms IS NULL")) == 3
    wait_until(reported, what="the reports of all")
    # Who has reported has said before whether it wants to be woken.
    (since,), = status_rows(st, "max(seen_ms)")

    def told():
        return rows(st, "WHERE role = 'pubd' AND seen_ms > %d" % since)
    (_, gauges), = wait_until(told, what="pubd's next row").values()
    assert gauges["watchers"] == 2 and gauges["connections"] == 3
