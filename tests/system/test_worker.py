# SPDX-License-Identifier: MIT
"""sse.fcgi without a web server: records as they are, peers that misbehave, and
the plain CGI form."""

import os
import re
import signal
import socket
import struct
import subprocess
import time

import pytest

import fcgi
from fcgi import (ABORT, BEGIN, END, PARAMS, STDIN, STDOUT, Conn,
                  record, request)
from harness import RUN_AS, Stack, wait_until
from sse import Parser


@pytest.fixture(scope="module")
def st():
    with Stack(config={"heartbeat_ms": 1000, "request_timeout_ms": 1000}) as s:
        yield s.start(metrics=False)


def connect(st, query, **more):
    return Conn(st.sse_sock, request(query=query, **more))


def first(conn):
    """The first STDOUT record as (head, parser)."""
    type, id, content = conn.record()
    assert type == STDOUT, (type, content)
    head, sep, body = content.partition(b"\r\n\r\n")
    assert sep, content
    p = Parser()
    p.feed(body)
    return head.decode(), p


def good(st, channel="good"):
    """A good client is answered at once."""
    started = time.monotonic()
    with connect(st, "channel=" + channel) as c:
        _, p = first(c)
        assert p.events[0].type == "control.open"
        assert time.monotonic() - started < 2
        id = st.publish(channel, "x")
        while not any(e.id == str(id) and e.data == "x" for e in p.events):
            p.feed(c.record()[2])


def test_headers_and_first_bytes_are_one_record(st, channel):
    with connect(st, "channel=" + channel) as c:
        head, p = first(c)
        assert p.events and p.events[0].type == "control.open"
        assert "Content-Type: text/event-stream" in head
        assert re.search(r"^X-SSE-Stream: \S+", head, re.M)


def test_what_is_due_together_is_one_record(st, channel):
    ids = [st.publish(channel, n) for n in range(40)]
    with connect(st, "channel=%s&last_event_id=%d" % (channel,
                                                      ids[0] - 1)) as c:
        _, p = first(c)
        records = 0
        while len(p.events) < 41:
            type, _, content = c.record()
            assert type == STDOUT
            p.feed(content)
            records += 1
        assert records <= 5, "40 events that were there already"


def test_a_stream_ends_with_empty_stdout_end_request_close(make_stack):
    st = make_stack(config={"drain_ms": 100}, metrics=False)
    with connect(st, "channel=a") as c:
        first(c)
        st.worker.send_signal(signal.SIGTERM)
        got = c.ended()
    assert "control.close" in got[0][2].decode()
    assert got[-2] == (STDOUT, 1, b"")
    type, id, content = got[-1]
    assert (type, id, len(content)) == (END, 1, 8)
    assert content[4] == 0, "FCGI_REQUEST_COMPLETE"


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS"])
def test_an_answer_that_ends_is_ended_in_form(st, channel, method):
    with connect(st, "channel=" + channel, method=method) as c:
        got = c.ended()
    assert [r[0] for r in got][-1] == END
    assert any(r[0] == STDOUT and r[2] for r in got)


def test_a_request_with_another_id_is_served_or_refused(st):
    with Conn(st.sse_sock, request(query="channel=a", id=7)) as c:
        try:
            type, id, content = c.record()
            assert id == 7 or type == END
        except (EOFError, ConnectionError):
            pass
    good(st)


def test_a_request_cut_into_bytes_is_read_as_one(st, channel):
    with Conn(st.sse_sock) as c:
        for byte in request(query="channel=" + channel):
            c.send(bytes([byte]))
        _, p = first(c)
        assert p.events[0].type == "control.open"


def test_params_over_several_records_are_one_request(st, channel):
    raw = fcgi.params(query="channel=" + channel)
    with Conn(st.sse_sock, record(BEGIN, struct.pack("!HB5x", 1, 0))) as c:
        for n in range(0, len(raw), 7):
            c.send(record(PARAMS, raw[n:n + 7], pad=3))
        c.send(record(PARAMS) + record(STDIN))
        _, p = first(c)
        assert p.events[0].type == "control.open"


def test_a_body_is_read_and_refused_in_form(st, channel):
    raw = request(query="channel=" + channel, method="POST",
                  CONTENT_LENGTH="5")
    raw = raw[:-8] + record(STDIN, b"hello") + record(STDIN)
    with Conn(st.sse_sock, raw) as c:
        got = c.ended()
    assert b"405" in got[0][2] and got[-1][0] == END


def test_half_requests_by_the_hundred_are_not_felt(st):
    whole = request(query="channel=a")
    base = st.idle_fds()[0]
    conns = [Conn(st.sse_sock, whole[:n % len(whole)]) for n in range(300)]
    for _ in range(5):
        good(st)
    # They have a deadline (1 s here); nothing of ours waits for it.
    for c in conns:
        try:
            c.ended(timeout=20)
        except ConnectionError:
            pass
        c.close()
    wait_until(lambda: st.worker.fds() <= base, 20, "300 half requests to go")
    good(st)


HOSTILE = {
    "silence": b"",
    "nulls": b"\0" * 4096,
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "ones": b"\xff" * 70000,
    "version 2": record(BEGIN, b"\0\1\0\0\0\0\0\0", version=2),
    "id 0": request(id=0),
    "type 255": record(255, b"x" * 100),
    "params first": record(PARAMS, b"x" * 10),
    "begin twice": record(BEGIN, b"\0\1\0\0\0\0\0\0") * 2,
    "role authorizer": record(BEGIN, struct.pack("!HB5x", 2, 0))
    + record(PARAMS) + record(STDIN),
    "lengths past the end": record(BEGIN, b"\0\1\0\0\0\0\0\0")
    + record(PARAMS, b"\xff\xff\xff\xfe\xff\xff\xff\xfe" + b"x" * 20)
    + record(PARAMS) + record(STDIN),
    "two huge lengths": record(BEGIN, b"\0\1\0\0\0\0\0\0")
    + record(PARAMS, b"\xff\xff\xff\xff" * 2) + record(PARAMS)
    + record(STDIN),
    "a cut length": record(BEGIN, b"\0\1\0\0\0\0\0\0")
    + record(PARAMS, b"\x80\0") + record(PARAMS) + record(STDIN),
    "get values overflow": record(
        9, fcgi.pair("FCGI_MAX_CONNS", "") * 40, id=0),
    "params without end": record(BEGIN, b"\0\1\0\0\0\0\0\0")
    + record(PARAMS, b"\x01\x01ab" * 10000) * 4,
    "abort": request(query="channel=a") + record(ABORT),
    "abort first": record(BEGIN, b"\0\1\0\0\0\0\0\0") + record(ABORT),
    "no params": record(BEGIN, b"\0\1\0\0\0\0\0\0") + record(PARAMS)
    + record(STDIN),
    "after the request": request(query="channel=a") + b"\xff" * 1000,
    "two at once": request(query="channel=a", keep=1)
    + request(query="channel=b", id=2, keep=1),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_peer_costs_itself_only(st, name):
    pid = st.worker.pid
    with connect(st, "channel=bystander") as bystander:
        _, p = first(bystander)
        conns = []
        for _ in range(5):
            c = Conn(st.sse_sock)
            try:
                c.send(HOSTILE[name])
            except ConnectionError:
                pass
            conns.append(c)
        good(st)
        for c in conns:
            c.close()
        good(st)
        id = st.publish("bystander", "still")
        while not any(e.id == str(id) for e in p.events):
            p.feed(bystander.record()[2])
    assert st.worker.running and st.worker.pid == pid


def test_a_connection_that_is_reset_is_not_felt(st):
    for n in range(100):
        c = Conn(st.sse_sock, request(query="channel=a")[:n * 3])
        c.close()
    good(st)


def test_a_peer_that_never_reads_is_not_felt(st):
    with connect(st, "channel=slow") as slow:
        with connect(st, "channel=slow") as quick:
            _, p = first(quick)
            text = "x" * 10000
            sent = [st.publish("slow", text) for _ in range(500)]
            while len([e for e in p.events if e.data == text]) < 500:
                p.feed(quick.record()[2])
        good(st)
        # and when it reads at last it has all of it
        _, p = first(slow)
        while len([e for e in p.events if e.data == text]) < 500:
            p.feed(slow.record(timeout=20)[2])
        assert [int(e.id) for e in p.events if e.data == text] == sent


def test_descriptors_running_out_is_a_pause_and_not_an_end(make_stack):
    import resource
    st = Stack(config={"heartbeat_ms": 500})
    try:
        st.init()
        st.start_pubd()
        st._worker_listen = "path"
        p = st.spawn("sse.fcgi", [st.bin / "sse.fcgi", "--listen",
                                  st.sse_sock],
                     limits=lambda: resource.setrlimit(
                         resource.RLIMIT_NOFILE, (64, 64)))
        st.workers.append(p)
        st.await_socket(p, st.sse_sock)
        conns = [connect(st, "channel=a") for _ in range(100)]
        before = p.cpu_s()
        time.sleep(0.5)
        assert p.cpu_s() - before < 0.3, "it spins"
        for c in conns:
            c.close()
        wait_until(lambda: p.fds() < 30, 20, "the connections to go")
        good(st)
    finally:
        st.close()


def test_what_never_became_a_request_is_counted(make_stack):
    import resource
    st = make_stack(config={"request_timeout_ms": 500})
    web = st.front("lighttpd")
    size = request(query="channel=a")
    size = size[:-8] + record(STDIN, b"x" * 60000) * 2 + record(STDIN)
    fields = (record(BEGIN, struct.pack("!HB5x", 1, 0))
              + record(PARAMS, fcgi.pair("HTTP_X", "y") * 400)
              + record(PARAMS) + record(STDIN))
    narrow = st.sse_sock.with_name("narrow.sock")
    p = st.spawn("sse.fcgi", [st.bin / "sse.fcgi", "--listen", narrow],
                 limits=lambda: resource.setrlimit(
                     resource.RLIMIT_NOFILE, (64, 64)))
    st.workers.append(p)
    st.await_socket(p, narrow)

    def grows(series, path, n, raw):
        def now():
            return st.gauges(web).get(series, 0)
        before = now()
        held = [Conn(path, raw) for _ in range(n)]
        try:
            wait_until(lambda: now() > before, 10, series)
        finally:
            for c in held:
                c.close()

    unread = 'sse_requests_unread_total{reason="%s"}'
    grows(unread % "size", st.sse_sock, 1, size)
    grows(unread % "fields", st.sse_sock, 1, fields)
    grows(unread % "malformed", st.sse_sock, 1, HOSTILE["http"])
    grows("sse_request_timeouts_total", st.sse_sock, 1,
          request(query="channel=a")[:20])
    grows('sse_accept_pauses_total{role="worker"}', narrow, 100,
          request(query="channel=a"))


# ---------------------------------------------------------------- how it starts

def test_a_live_workers_socket_is_not_stolen(st):
    second = st.spawn("sse.fcgi", [st.bin / "sse.fcgi", "--listen",
                                   st.sse_sock])
    assert second.wait() != 0
    good(st)


def test_a_dead_workers_socket_is_replaced(make_stack):
    st = make_stack(metrics=False)
    st.kill_worker()
    assert st.sse_sock.exists()
    st.start_worker(0)
    good(st)


def test_it_listens_on_a_port_too(st):
    for _ in range(5):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        p = st.spawn("sse.fcgi", [st.bin / "sse.fcgi", "--listen",
                                  "127.0.0.1:%d" % port])

        def up():
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", port)) == 0
        try:
            wait_until(lambda: up() or not p.running, 20)
        finally:
            if p.running:
                assert up()
                p.stop()
                return
    raise AssertionError(p.tail())


def test_workers_share_the_load_of_one_socket(make_stack):
    st = make_stack(workers=2, metrics=False)
    base = st.idle_fds()
    conns = [connect(st, "channel=a") for _ in range(60)]
    for c in conns:
        first(c)
    more = [w.fds() - b for w, b in zip(st.workers, base)]
    assert sum(more) >= 60
    id = st.publish("a", "x")
    for c in conns:
        assert b"id: %d\n" % id in c.record()[2]
        c.close()


def test_plain_cgi_is_one_stream(st, channel):
    env = st.environment(
        GATEWAY_INTERFACE="CGI/1.1", REQUEST_METHOD="GET",
        SERVER_PROTOCOL="HTTP/1.1", QUERY_STRING="channel=" + channel,
        REQUEST_URI="/sse.fcgi?channel=" + channel, SCRIPT_NAME="/sse.fcgi",
        REMOTE_ADDR="127.0.0.1")
    user = dict(user=RUN_AS.pw_uid, group=RUN_AS.pw_gid, extra_groups=[]) \
        if RUN_AS else {}
    p = subprocess.Popen([str(st.bin / "sse.fcgi")], env=env, cwd=st.dir,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         **user)
    try:
        got = b""
        while b"control.open" not in got:
            more = os.read(p.stdout.fileno(), 65536)
            assert more, got
            got += more
        assert b"Content-Type: text/event-stream\r\n" in got
        id = st.publish(channel, "x")
        while b"id: %d\ndata: x\n" % id not in got:
            more = os.read(p.stdout.fileno(), 65536)
            assert more, got
            got += more
        p.stdout.close()        # the browser leaves
        st.publish(channel, "y")
        st.publish(channel, "z")
        p.wait(10)
    finally:
        p.kill()
        p.wait()


@pytest.mark.parametrize("conf", ["nonsense = 1\n", "heartbeat_ms = -5\n",
                                  "heartbeat_ms\n"])
def test_a_bad_configuration_is_told_and_exits_78(st, conf):
    st.write(st.dir / "bad.conf", "# x\n" + conf)
    p = st.spawn("sse.fcgi", [st.bin / "sse.fcgi", "--listen",
                              st.run / "bad.sock"],
                 env={"WALCAST_CONF": st.dir / "bad.conf"})
    assert p.wait() == 78
    assert "bad.conf:2" in p.tail()


def test_modes_that_lock_someone_out_are_refused_with_the_remedy(make_stack):
    """2770 with 0640: a reader's -wal would lock pubd out for ever."""
    st = make_stack(pubd=False, workers=0, metrics=False)
    os.chmod(st.db, 0o640)
    for argv in ([st.bin / "pubd"],
                 [st.bin / "sse.fcgi", "--listen", st.run / "x.sock"]):
        p = st.spawn(os.path.basename(argv[0]), argv)
        assert p.wait() != 0
        assert "chmod" in p.tail() or "init" in p.tail() \
            or "mode" in p.tail(), p.tail()
