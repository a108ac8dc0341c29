# SPDX-License-Identifier: MIT
"""Spans of events whose publisher is traced, at a collector."""

import http.server
import json
import threading

import pytest

from harness import wait_until

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
TRACE = "00-%s-%s-01" % (TRACE_ID, PARENT)
NOT_SAMPLED = TRACE[:-1] + "0"


class Collector:
    """Takes what a real one takes and keeps it."""

    def __init__(self):
        self.spans = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                for r in json.loads(body)["resourceSpans"]:
                    for s in r["scopeSpans"]:
                        outer.spans += s["spans"]
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d/v1/traces" % self.http.server_port
        self.thread = threading.Thread(target=self.http.serve_forever)
        self.thread.start()

    def of(self, name):
        return [s for s in self.spans if s["name"] == name]

    def close(self):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def collector():
    c = Collector()
    yield c
    c.close()


def attributes(span):
    return {a["key"]: next(iter(a["value"].values()))
            for a in span["attributes"]}


def test_a_publish_has_a_span_with_its_commit_within(make_stack, collector):
    st = make_stack(config={"otlp_endpoint": collector.url}, workers=0,
                    metrics=False)
    st.publish("a", 1)
    st.publish("a", 2, trace=NOT_SAMPLED)
    id = st.publish("a", "12345", trace=TRACE, event="created")
    wait_until(lambda: len(collector.spans) >= 2, 20, "the spans")
    accept, = collector.of("accept")
    commit, = collector.of("commit")
    assert accept["traceId"] == commit["traceId"] == TRACE_ID
    assert accept["parentSpanId"] == PARENT
    assert commit["parentSpanId"] == accept["spanId"] != commit["spanId"]
    times = [int(x) for x in (
        accept["startTimeUnixNano"], commit["startTimeUnixNano"],
        commit["endTimeUnixNano"], accept["endTimeUnixNano"])]
    assert times == sorted(times) and times[0] > 1.7e18
    had = attributes(accept)
    assert had["messaging.destination.name"] == "a"
    assert had["walcast.event.type"] == "created"
    assert str(had["messaging.message.body.size"]) == "5"
    assert str(had["messaging.message.id"]) == str(id)
    assert "12345" not in json.dumps(collector.spans)


def test_a_worker_is_asked_for_spans_and_they_are_passed_on(make_stack,
                                                            collector):
    st = make_stack(config={"otlp_endpoint": collector.url}, workers=0,
                    metrics=False)
    span = {"op": "span", "name": "dispatch", "trace": TRACE,
            "start_us": 1767225600000000, "end_us": 1767225600000500,
            "id": 7, "channel": "a", "type": "b", "bytes": 10, "streams": 3}
    with st.publisher() as p:
        assert p.call(span)["error"] == "bad_request", "it does not watch"
        answer = p.call({"op": "watch", "role": "worker", "timing": True})
        assert answer == {"ok": True, "head": 0, "trace": True}
        p.send(span, dict(span, trace=NOT_SAMPLED))
        assert p.call(dict(span, id="x"))["error"] == "bad_request"
        wait_until(lambda: collector.of("dispatch"), 20, "the span")
        told, = collector.of("dispatch")
        assert told["startTimeUnixNano"] == "1767225600000000000"
        assert told["endTimeUnixNano"] == "1767225600000500000"
        assert told["parentSpanId"] == PARENT
        assert str(attributes(told)["walcast.streams"]) == "3"
    with st.publisher() as p:
        assert "trace" not in p.call({"op": "watch"}), "only with timing"


def test_without_an_endpoint_nobody_is_asked(make_stack):
    st = make_stack(workers=0, metrics=False)
    with st.publisher() as p:
        assert "trace" not in p.call({"op": "watch", "timing": True})


def test_a_collector_that_is_not_there_stops_nobody(make_stack, collector):
    url = collector.url
    collector.http.server_close()
    st = make_stack(config={"otlp_endpoint": url}, workers=0, metrics=False)
    ids = st.pub.publish_many(
        ({"channel": "a", "data": n, "trace": TRACE} for n in range(3000)))
    assert ids == list(range(1, 3001))
