# SPDX-License-Identifier: MIT
"""/sse-metrics.fcgi: figures, health, readiness."""

import json
import os
import re
import subprocess
import sys

import pytest

from harness import FRONTS, wait_until

sys.path.append(os.path.join(os.path.dirname(__file__), "..", "fault"))
from shims import shim                  # noqa: E402
from sweep import Control, Fault        # noqa: E402

PAGE = "/sse-metrics.fcgi"
CHROME = ("text/html,application/xhtml+xml,application/xml;q=0.9,"
          "image/avif,*/*;q=0.8")
PROMETHEUS = ("application/openmetrics-text;version=1.0.0,"
              "application/openmetrics-text;version=0.0.1;q=0.75,"
              "text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
TYPES = {"text": "text/plain; version=0.0.4; charset=utf-8",
         "open": "application/openmetrics-text; version=1.0.0; charset=utf-8",
         "json": "application/json",
         "html": "text/html; charset=utf-8"}


def test_metrics_are_prometheus_text(stack, lighttpd):
    status, headers, body = lighttpd.get("/sse-metrics.fcgi")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    sample = re.compile(
        r'sse_[a-z0-9_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? '
        r'[-+0-9.eE]+(Inf|NaN)?$')
    lines = body.decode().splitlines()
    assert any(l.startswith("# TYPE sse_") for l in lines)
    for l in lines:
        assert not l or l.startswith("#") or sample.match(l), l


def test_the_head_is_among_the_gauges(stack, lighttpd, channel):
    id = stack.publish(channel, 1)

    def told():
        return float(id) in stack.gauges(lighttpd).values()
    wait_until(told, 15, "the head in the metrics")


def test_streams_are_counted(make_stack):
    st = make_stack(config={"heartbeat_ms": 300})
    web = st.front("lighttpd")

    def streams():
        g = st.gauges(web)
        return sum(v for k, v in g.items() if re.match(
            r"sse_streams(_open|_active|_current)?(\{|$)", k))
    held = [web.stream({"channel": "a"}) for _ in range(7)]
    for s in held:
        s.open()
    wait_until(lambda: streams() == 7, 20, "7 streams in the metrics")
    for s in held:
        s.close()
    wait_until(lambda: streams() == 0, 20, "no streams in the metrics")


def test_healthz_is_200(stack, lighttpd):
    assert lighttpd.get("/sse-metrics.fcgi/healthz")[0] == 200


def test_readyz_is_200_and_503_with_the_reason_once_pubd_is_gone(make_stack):
    st = make_stack(workers=0)
    web = st.front("lighttpd")

    def ready():
        status, _, body = web.get("/sse-metrics.fcgi/readyz")
        return status, body.decode()
    wait_until(lambda: ready()[0] == 200, 20, "readyz 200")
    st.kill_pubd()
    wait_until(lambda: ready()[0] == 503, 40, "readyz 503", step=0.1)
    assert "pubd" in ready()[1]
    assert web.get("/sse-metrics.fcgi/healthz")[0] == 200, "alive all the same"
    st.start_pubd()
    wait_until(lambda: ready()[0] == 200, 40, "readyz 200 again", step=0.1)


def test_readyz_is_503_without_a_store(make_stack):
    st = make_stack(workers=0)
    web = st.front("lighttpd")
    wait_until(lambda: web.get("/sse-metrics.fcgi/readyz")[0] == 200, 20)
    st.stop_pubd()
    st.var.rename(st.var.with_name("var.away"))
    status, _, body = web.get("/sse-metrics.fcgi/readyz")
    assert status == 503 and body


@pytest.mark.parametrize("kind", FRONTS)
def test_metrics_are_not_for_others(stack, fronts, kind):
    """The shipped restriction is there: a page that is not local is refused.
    Checked by turning "local" into an address that we are not."""
    subst = {"lighttpd": [("^(127\\.|::1$|::ffff:127\\.)", "^192\\.0\\.2\\.")]}
    opts = dict(subst=subst.get(kind, [("Require local",
                                        "Require ip 192.0.2.0/24")]))
    web = stack.front(kind, **opts)
    assert web.get("/sse-metrics.fcgi")[0] == 403
    assert web.get("/sse-metrics.fcgi/readyz")[0] == 403
    with web.stream({"channel": "a"}) as s:
        s.open()
    web.stop()


# ---------------------------------------------------------------- the forms

@pytest.mark.parametrize("kind", FRONTS)
def test_who_asks_gets_the_form_that_it_reads(stack, fronts, kind):
    web = fronts(kind)
    for query, accept, form in [
            ("", "*/*", "text"), ("", None, "text"), ("", CHROME, "html"),
            ("", PROMETHEUS, "open"), ("", "application/json", "json"),
            ("?format=json", CHROME, "json"),
            ("?format=html", "*/*", "html"),
            ("?format=openmetrics", "*/*", "open"),
            ("?format=prometheus", CHROME, "text")]:
        status, headers, body = web.get(PAGE + query,
                                        headers={"Accept": accept})
        assert (status, headers["content-type"]) == (200, TYPES[form]), (
            query, accept)
        assert headers["cache-control"] == "no-store"
        if form == "open":
            assert body.endswith(b"\n# EOF\n")
        elif form == "json":
            assert json.loads(body)["stale"] is False
    status, _, body = web.get(PAGE + "?format=xml")
    assert status == 400 and b"openmetrics" in body


def samples(text):
    """{series: value} of an exposition."""
    return {name: float(value) for name, _, value in (
        line.rpartition(" ") for line in text.splitlines()
        if line and not line.startswith("#"))}


def test_all_forms_have_the_same_series(make_stack):
    """One source: what one form has, with its labels, all have."""
    st = make_stack(config={"metrics_channels": "a"})
    web = st.front("lighttpd")
    with web.stream({"channel": "a"}) as s:
        s.open()
        st.publish("a", 1)
        s.data()
        wait_until(lambda: st.gauges(web).get("sse_events_sent_total") == 1,
                   10, "the event")
        text, opened, page = (web.get(PAGE + "?format=" + f)[2].decode()
                              for f in ("prometheus", "openmetrics", "json"))
    names = set(samples(text))
    assert len(names) > 200
    assert set(samples(opened)) == names
    of_json = set()
    for m in json.loads(page)["metrics"]:
        for series in m["series"]:
            labels = ",".join('%s="%s"' % kv for kv in
                              series["labels"].items())
            plain = "{%s}" % labels if labels else ""
            if m["type"] == "histogram":
                of_json |= {m["name"] + "_sum", m["name"] + "_count"}
                of_json |= {m["name"] + "_bucket" for _ in series["buckets"]}
            else:
                of_json.add(m["name"] + plain)
    assert of_json == {re.sub(r"_bucket\{.*", "_bucket", n) for n in names}


def test_with_pubd_killed_the_forms_say_so(make_stack):
    st = make_stack(workers=0)
    web = st.front("lighttpd")
    st.publish("a", 1)
    wait_until(lambda: st.gauges(web).get("sse_events_published_total") == 1,
               10, "the event")
    st.kill_pubd()

    def silent():
        doc = json.loads(web.get(PAGE + "?format=json")[2])
        return doc if doc["stale"] else None
    doc = wait_until(silent, 40, "the lease to end", step=0.1)
    assert doc["pubd"]["alive"] is False and doc["pubd"]["age_ms"] > 0
    assert [r["part"] for r in doc["reasons"]] == ["pubd"]
    gauges = st.gauges(web)
    assert gauges['sse_process_up{role="pubd"}'] == 0
    assert gauges["sse_heartbeat_age_seconds"] > 1
    assert gauges["sse_events_published_total"] == 1
    assert "sse_log_bytes" not in gauges, "nobody knows"


def test_errors_are_listed_newest_first(make_stack):
    st = make_stack(workers=0)
    web = st.front("lighttpd")
    with st.publisher() as pub:
        pub.call({"op": "watch", "role": "worker"})
        for n in range(3):
            pub.send({"op": "report", "name": "worker-1-1", "role": "worker",
                      "pid": 1, "version": "x", "started_ms": 1, "head": 0,
                      "cursor": 0, "streams": 0, "counters": {}, "gauges": {},
                      "error_ms": 1000 + n, "error": "error %d" % n})

            def told():
                doc = json.loads(web.get(PAGE + "?format=json")[2])
                mine = [e for e in doc["errors"] if e["name"] == "worker-1-1"]
                return mine if len(mine) == n + 1 else None
            mine = wait_until(told, 10, "error %d" % n)
        assert mine[0] == {"ts_ms": 1002, "name": "worker-1-1",
                           "text": "error 2"}


@pytest.mark.skipif(not shim("nth").exists(), reason="make fault-shims")
def test_asking_for_figures_syncs_no_file(make_stack):
    """The shim counts the calls that sync, and makes none of them fail."""
    st = make_stack(workers=0)
    web = st.front("lighttpd")
    st.publish("a", 1)
    st.metrics.stop()
    control = Control(st.dir / "control")
    control.load(Fault("fsync", 0))
    st.start_metrics(LD_PRELOAD=shim("nth"),
                     WALCAST_FAULT_CONTROL=control.path)
    for path in ["", "/readyz", "?format=json", "/healthz"] * 5:
        assert web.get(PAGE + path)[0] == 200
    seen = control.seen
    control.close()
    assert seen["open"] > 20, "the shim is not there"
    assert seen["fsync"] == 0


# ---------------------------------------------------------------- of itself

def test_it_reports_itself_and_its_counters_outlive_it(make_stack):
    st = make_stack(workers=0)
    web = st.front("lighttpd")
    asked = 0

    def figure(name):
        nonlocal asked
        asked += 1
        return st.gauges(web).get(name)
    wait_until(lambda: figure('sse_process_up{role="metrics"}') == 1, 10, "up")
    assert figure('sse_resident_memory_bytes{role="metrics"}') > 1e6
    assert figure("sse_fds_used") > 3
    st.metrics.stop()
    st.start_metrics()
    before = asked
    assert figure("sse_scrapes_total") == before, "to the last one"
    wait_until(lambda: figure("sse_scrapes_total") > before, 10,
               "those of the new process")
    st.metrics.stop()
    st.start_metrics()
    before = asked
    assert figure("sse_scrapes_total") == before


def test_metrics_off_is_off(make_stack):
    st = make_stack(workers=0, config={"metrics": "off"})
    web = st.front("lighttpd")

    def heard():
        processes = json.loads(web.get(PAGE + "?format=json")[2])["processes"]
        assert [p["role"] for p in processes] in ([], ["pubd"])
        return processes and processes[0]["seen_ms"]
    first = wait_until(heard, 10, "pubd")
    wait_until(lambda: heard() > first + 2000, 20, "two more heartbeats")


def test_the_catalogue_is_printed_for_the_docs(stack):
    out = subprocess.run([stack.bin / "sse-metrics.fcgi", "--catalogue"],
                         stdout=subprocess.PIPE, check=True).stdout.decode()
    rows = [[c.strip() for c in line.strip("|\n").split(" | ")]
            for line in out.splitlines()[2:]]
    names = [r[0].strip("` ") for r in rows]
    assert len(names) == len(set(names)) > 80
    assert "sse_delivery_latency_seconds" in names
