# SPDX-License-Identifier: MIT
"""What a worker writes to its log: a line for each thing that happens to a
stream, as JSON and as text, without what is private, and bounded."""

import json
import re
import signal

import pytest

from fcgi import Conn, request
from harness import ROOT, wait_until

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def lines(proc, event=None):
    """Its lines as objects, in order; of one event only if it is named."""
    text = proc.log.read_text(errors="replace")
    found = [json.loads(line) for line in text.splitlines()]
    return [o for o in found if event in (None, o.get("event"))]


def await_line(proc, event, **fields):
    """The first line of that event with these fields."""
    def found():
        for o in lines(proc, event):
            if all(o.get(k) == v for k, v in fields.items()):
                return o
        return None
    return wait_until(found, what="a line %s %r" % (event, fields))


class Client:
    """A stream, and the id that its header says."""

    def __init__(self, st, query="channel=a", **more):
        self.conn = Conn(st.sse_sock, request(query=query, **more))
        head = self.conn.record()[2].partition(b"\r\n\r\n")[0].decode()
        found = re.search(r"^X-SSE-Stream: (\S+)", head, re.M)
        self.id = found.group(1) if found else None

    def close(self):
        self.conn.close()


def test_the_manual_names_each_event_and_its_fields():
    manual = (ROOT / "docs/man/sse.fcgi.8").read_text()
    text = "".join(next((ROOT / "fcgi").rglob(name)).read_text()
                   for name in ("request_log.c", "stream_log.c", "worker.c"))
    calls = re.findall(r"LOG_EVENT\((.*?)\);", text, re.S)
    assert len(calls) == text.count("LOG_EVENT(")
    for call in calls:
        names = re.findall(r'"([a-z]+\.[a-z]+)"', call)
        fields = re.findall(r'(?:LOG_STR|LOG_INT|stream_log_number)\("(\w+)"', call)
        assert names and fields, call
        for word in names + fields:
            assert re.search(r"[ ,.]%s\b" % re.escape(word), manual), word


@pytest.fixture
def st(make_stack):
    return make_stack(config={"log_format": "json", "log_level": "debug",
                              "heartbeat_ms": 500}, metrics=False)


def test_a_stream_is_told_from_its_opening_to_its_end(st):
    c = Client(st, "channel=a&channel=b*&token=secret1",
               HTTP_TRACEPARENT=TRACE, SERVER_SOFTWARE="lighttpd/1.4.69",
               REMOTE_ADDR="192.0.2.7", HTTP_AUTHORIZATION="secret2",
               HTTP_COOKIE="secret3")
    opened = await_line(st.worker, "stream.open", stream=c.id)
    assert opened["remote"] == "192.0.2.7"
    assert opened["channel"] == "a,b*"
    assert opened["from"] == 0
    assert opened["front"] == "lighttpd"
    assert opened["trace"] == TRACE
    assert opened["level"] == "info"
    id = st.publish("a", "secret4")
    while b"secret4" not in c.conn.record()[2]:
        pass
    c.close()
    closed = await_line(st.worker, "stream.close", stream=c.id)
    assert closed["reason"] == "left"
    assert closed["position"] == id
    assert 0 <= closed["duration_ms"] < 60000
    assert "secret" not in st.worker.log.read_text()


def test_who_comes_back_is_told_with_its_result(st):
    ids = [st.publish("a", n) for n in range(3)]
    ok = Client(st, HTTP_LAST_EVENT_ID=str(ids[0]))
    line = await_line(st.worker, "stream.resume", stream=ok.id)
    assert (line["result"], line["resumed_from"]) == ("ok", ids[0])
    assert not lines(st.worker, "stream.open")
    gap = Client(st, HTTP_LAST_EVENT_ID="999999")
    line = await_line(st.worker, "stream.resume", stream=gap.id)
    assert (line["result"], line["resumed_from"]) == ("gap", 999999)
    line = await_line(st.worker, "stream.gap", stream=gap.id)
    assert line["code"] == "ahead"
    assert (line["requested"], line["lost"]) == (999999, 0)
    bad = Client(st, HTTP_LAST_EVENT_ID="secret")
    line = await_line(st.worker, "stream.gap", stream=bad.id)
    assert line["code"] == "invalid" and "requested" not in line
    assert "secret" not in st.worker.log.read_text()


def test_rejected_and_refused_are_told_with_the_reason(st):
    full = Client(st, WALCAST_MAX_STREAMS="0", SERVER_SOFTWARE="Apache/2.4")
    line = await_line(st.worker, "stream.reject", stream=full.id)
    assert line["reason"] == "slots" and line["front"] == "apache"
    assert line["channel"] == "a" and line["remote"] == "127.0.0.1"
    Client(st, "channel=b%20d")
    line = await_line(st.worker, "stream.refuse")
    assert line["status"] == 400 and line["remote"] == "127.0.0.1"


def test_a_traced_event_is_told_of_when_it_is_dispatched(st):
    clients = [Client(st), Client(st), Client(st, "channel=b")]
    st.publish("a", "plain")
    id = st.publish("a", "12345", event="made", trace=TRACE)
    line = await_line(st.worker, "event.dispatch")
    assert line["id"] == id and line["trace"] == TRACE
    assert line["channel"] == "a" and line["type"] == "made"
    assert line["streams"] == 2 and line["bytes"] == 5
    assert line["level"] == "debug"
    assert len(lines(st.worker, "event.dispatch")) == 1
    for c in clients:
        c.close()


def test_start_and_stop_are_told(st):
    c = Client(st)
    start = await_line(st.worker, "worker.start")
    assert start["listen"] == str(st.sse_sock)
    assert start["head"] == 0 and len(start["generation"]) == 32
    st.worker.send_signal(signal.SIGTERM)
    assert st.worker.wait() == 0
    events = [o.get("event") for o in lines(st.worker)]
    assert events[-3:] == ["worker.drain", "stream.close", "worker.stop"]
    close, = lines(st.worker, "stream.close")
    assert close["reason"] == "drain" and close["stream"] == c.id


def test_a_slow_stream_is_told_of(make_stack):
    st = make_stack(config={"log_format": "json"}, metrics=False)
    slow = Client(st)
    with st.publisher() as p:
        for _ in range(40):
            p.publish("a", "x" * 60000)
        st.publish("b", 1)
        line = wait_until(
            lambda: next(iter(lines(st.worker, "stream.lagging")), None), 30,
            "a line about the slow stream")
    assert line["stream"] == slow.id
    assert line["behind_ms"] >= 5000 and line["lag"] > 0
    other, beats = Client(st, "channel=c"), 0
    while beats < 3:  # a second each
        beats += other.conn.record()[2].count(b": hb")
    assert len(lines(st.worker, "stream.lagging")) == 1


def test_lines_that_a_client_drives_are_bounded(make_stack):
    st = make_stack(config={"log_format": "json", "log_rate": 5},
                    metrics=False)
    for n in range(200):
        Client(st, "channel=b%20d").close()
    c = Client(st)
    await_line(st.worker, "stream.open", stream=c.id)
    n = len(lines(st.worker, "stream.refuse"))
    # 5 in each second that it took, and it took no minute
    assert 5 <= n <= 150, "200 were refused"


def test_the_text_form_says_the_same(make_stack):
    st = make_stack(config={"log_format": "text"}, metrics=False)
    c = Client(st, "channel=a", HTTP_LAST_EVENT_ID="0")
    wait_until(lambda: "stream.resume" in st.worker.log.read_text(),
               what="the line")
    assert re.search(r"^sse\.fcgi\[\d+\]: stream\.resume stream=%s "
                     r"remote=127\.0\.0\.1 channel=a from=0 resumed_from=0 "
                     r"result=ok front=other$" % c.id,
                     st.worker.log.read_text(), re.M)


ACCESS_LOG = {
    "apache-proxy": 'LogFormat "%%h %%m %%U %%{X-SSE-Stream}o" walcast\n'
                    'CustomLog "%s" walcast\n',
    "lighttpd": 'server.modules += ( "mod_accesslog" )\n'
                'accesslog.format = "%%h %%m %%U %%{X-SSE-Stream}o"\n'
                'accesslog.filename = "%s"\n',
}


@pytest.mark.parametrize("kind", sorted(ACCESS_LOG))
def test_the_access_log_can_be_joined(make_stack, kind):
    st = make_stack(config={"log_format": "json", "heartbeat_ms": 200},
                    metrics=False)
    folder = st.mkdir(st.dir / "access")
    log = folder / "access.log"
    web = st.front(kind, extra=ACCESS_LOG[kind] % log)
    with web.stream({"channel": "a", "token": "secret"}) as s:
        id = s.open().json["stream"]
    closed = await_line(st.worker, "stream.close", stream=id)
    assert closed["reason"] == "left"

    def logged():
        return log.exists() and id in log.read_text() and log.read_text()
    if kind == "lighttpd":
        web.stop()  # it writes what it has kept
    text = wait_until(logged, 20, "the access log")
    assert "127.0.0.1 GET /sse.fcgi %s\n" % id in text
    assert "secret" not in text
    front = await_line(st.worker, "stream.open", stream=id)["front"]
    assert front == kind.partition("-")[0]
