# SPDX-License-Identifier: MIT
"""Health is what publishers find, not that a timer runs."""

import json
import os
import socket
import time

from harness import RUN_AS, wait_until


def ready(web):
    status, _, body = web.get("/sse-metrics.fcgi/readyz")
    return status, json.loads(body)


def check(st):
    done = st.walcast("status", "--check")
    return done.returncode, done.stdout.decode()


def test_a_pubd_whose_socket_is_gone_is_not_ready_while_it_beats(make_stack):
    st = make_stack()
    web = st.front("lighttpd")
    wait_until(lambda: ready(web)[0] == 200, 20, "readyz 200")
    assert check(st)[0] == 0
    st.pubd_sock.unlink()
    status, body = wait_until(
        lambda: ready(web) if ready(web)[0] == 503 else None, 30,
        "readyz 503", step=0.1)
    assert "does not answer on its socket" in body["reasons"][0]["reason"]
    code, words = wait_until(
        lambda: check(st) if check(st)[0] == 2 else None, 30, "critical")
    assert "answered no ping" in words
    assert "age=" in words and "pubd was seen" not in words, "it beats"
    st.restart_pubd()
    wait_until(lambda: ready(web)[0] == 200 and check(st)[0] == 0, 30,
               "health again")


def test_a_socket_that_nobody_accepts_on_is_no_answer(make_stack):
    """Somebody put his own socket into the place of ours."""
    st = make_stack(workers=0, metrics=False)
    st.pubd_sock.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(st.pubd_sock))
        other.listen(16)
        if RUN_AS:
            os.chown(st.pubd_sock, RUN_AS.pw_uid, RUN_AS.pw_gid)
        wait_until(lambda: check(st)[0] == 2, 30, "critical", step=0.1)


def test_the_watchdog_is_fed_only_while_publishers_are_heard(make_stack):
    st = make_stack(workers=0, metrics=False)
    st.stop_pubd()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        path = st.dir / "notify"
        manager.bind(str(path))
        os.chmod(path, 0o777)
        manager.settimeout(10)
        st.start_pubd(NOTIFY_SOCKET=str(path), WATCHDOG_USEC="1000000")
        fed = 0
        while fed < 8:
            fed += manager.recv(100) == b"WATCHDOG=1"
        st.pubd_sock.unlink()
        manager.settimeout(4)
        deadline = time.monotonic() + 30
        try:
            while time.monotonic() < deadline:
                manager.recv(100)
            raise AssertionError("it is fed although nobody is heard")
        except TimeoutError:
            pass
        assert st.pubd.running


def test_the_own_ping_is_no_publisher(make_stack):
    """It is neither counted nor kept."""
    st = make_stack(workers=0, metrics=False)

    def pubd():
        doc = json.loads(st.walcast("status", "--json").stdout)
        return next((p for p in doc["processes"] if p["role"] == "pubd"), None)

    wait_until(lambda: pubd() and pubd()["gauges"].get("ping_age_ms", 0) > 0,
               20, "a ping")
    first = pubd()
    wait_until(lambda: pubd()["seen_ms"] > first["seen_ms"] + 2500, 20, "some more")
    row = pubd()
    assert row["gauges"]["ping_age_ms"] < 5000
    assert row["gauges"]["connections"] == 0
    assert row["counters"].get("connections_total", 0) <= 1, "the harness's"
