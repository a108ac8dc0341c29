# SPDX-License-Identifier: MIT
"""What is said of the innocent is true: figures of invented histories, and of
loads and servers that are there."""

import pathlib
import socket
import sys
import threading
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "system")]

import innocent                                         # noqa: E402
import loads                                            # noqa: E402
from history import Ack, History                        # noqa: E402
from innocent import (Innocents, Load, Prober, figures, fresh_publisher,  # noqa: E402,E501
                      hostile, latencies, new_stream, quantile, too_slow)


def history(n=200, step=0.02, ack=0.001, came=0.002, stall=()):
    """n events, `step` apart; stall: numbers of those that take a second."""
    h = History()
    sub = h.subscriber("s0", ["innocent"])
    for i in range(n):
        at, late = i * step, 1.0 if i in stall else 0.0
        h.acks.append(Ack("k%d" % i, "innocent", "h", i + 1, False, at,
                          at + ack + late, "p"))
        sub.steps.append(("event", at + came + late, i + 1, "k%d" % i, "h"))
    return h


@pytest.mark.parametrize("values, q, is_", [
    ([], 0.5, None), ([3], 0.99, 3), ([3, 1, 2], 0.5, 2),
    (list(range(100)), 0.99, 99), (list(range(1000)), 0.99, 990)])
def test_a_quantile_is_one_of_the_values(values, q, is_):
    assert quantile(values, q) == is_


def test_figures_of_a_steady_publisher_are_its_own():
    h = history()
    seen = latencies(h, 0, 4)
    assert len(seen["ack"]) == len(seen["delivery"]) == 200
    assert figures(seen["ack"]) == {"p50": 1.0, "p99": 1.0}
    assert figures(seen["delivery"]) == {"p50": 2.0, "p99": 2.0}


def test_a_window_has_the_events_sent_in_it_only():
    h = history(stall=range(100, 110))
    assert figures(latencies(h, 0, 1.99)["ack"])["p99"] == 1.0
    assert figures(latencies(h, 1.99, 4)["ack"])["p99"] == 1001.0
    assert latencies(h, 100, 200) == {"ack": [], "delivery": []}


def test_an_event_that_never_came_counts_as_late():
    h = history(n=10)
    del h.subs[0].steps[3]
    assert latencies(h, 0, 4)["delivery"].count(None) == 1
    assert figures([0.001, None])["p99"] == innocent.NEVER_S * 1000


def test_a_ratio_is_judged_and_the_floor_spares_noise():
    calm = {"ack": {"p50": 1.0, "p99": 40.0}}
    assert not too_slow(calm, {"ack": {"p50": 14.0, "p99": 149.0}})
    assert not too_slow(calm, {"ack": {"p50": 1.0, "p99": 199.0}})
    said = too_slow(calm, {"ack": {"p50": 1.0, "p99": 201.0}})
    assert len(said) == 1 and said[0].startswith("ack p99 is 201 ms, 40 ms")
    assert too_slow(calm, {"ack": {"p50": 16.0, "p99": 1.0}})
    assert too_slow(calm, {"ack": {"p50": 4.0}}, factor=3,
                    floor_ms={"p50": 2})
    assert too_slow({}, {"open": {"p99": 151.0}})


class FakeRun:
    def __init__(self):
        self.said, self.figures = [], {}

    def check(self, true, message):
        if not true:
            self.said.append(message)

    def note(self, **figures):
        self.figures.update(figures)


class FakeTraffic:
    def __init__(self, h):
        self.history = h


def judged(h, windows):
    run = FakeRun()
    who = Innocents(run, None, None, FakeTraffic(h), {})
    who.windows = windows
    who.judge(innocent.FACTOR, None)
    return run


WINDOWS = {"calm": (0, 2), "beside": (2, 4)}


def test_all_windows_are_told_and_a_slow_one_is_a_violation():
    assert judged(history(), WINDOWS).said == []
    run = judged(history(stall=range(110, 120)), WINDOWS)
    assert sorted(run.figures) == ["ack_beside", "ack_calm",
                                   "delivery_beside", "delivery_calm"]
    assert [w.split(" is")[0] for w in run.said] == [
        "beside: ack p99", "beside: delivery p99"]


def test_a_window_without_an_ack_is_a_violation():
    run = judged(history(n=50), WINDOWS)
    assert run.said == ["nothing was acked in the window 'beside'"]


# ---------------------------------------------------------------- what asks

def served(listener, answer):
    """Answers each connection's first bytes, or never (None)."""
    held = []

    def work():
        while True:
            try:
                s = listener.accept()[0]
            except OSError:
                return
            held.append(s)
            if answer is not None and s.recv(65536):
                s.sendall(answer)
                if b"close" in answer:
                    s.close()
    threading.Thread(target=work, daemon=True).start()


@pytest.mark.parametrize("answer, ok", [
    (b'{"ok":true,"head":1}\n', True), (b'{"ok":false}\n', False),
    (None, False)])
def test_a_fresh_publisher_is_answered_or_is_not(tmp_path, answer, ok):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "s"))
        s.listen()
        served(s, answer)
        assert (fresh_publisher(tmp_path / "s", 0.3) is not None) is ok
    assert fresh_publisher(tmp_path / "none", 0.3) is None


@pytest.mark.parametrize("answer, ok", [
    (b"HTTP/1.1 200 OK\r\n\r\nevent: control.open\n\n", True),
    (b"HTTP/1.1 200 OK\r\n\r\nevent: control.close\n\n", False),
    (b"HTTP/1.1 503 no\r\nConnection: close\r\n\r\n", False), (None, False)])
def test_a_new_stream_is_open_or_is_not(answer, ok):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        served(s, answer)
        assert (new_stream(s.getsockname(), "/", "127.0.0.9", 0.3)
                is not None) is ok


def test_a_prober_tells_when_it_asked():
    p = Prober(lambda: 1.5, 0.001)
    p.start()
    began = time.monotonic()
    while len(p.between(began, began + 60)) < 3:
        time.sleep(0.001)
    p.stop()
    p.join(10)
    assert not p.is_alive() and p.between(began + 60, began + 70) == []


# ---------------------------------------------------------------- loads

class Counts(dict):
    def count(self, key, n):
        self[key] = self.get(key, 0) + n


def test_a_load_is_there_until_it_is_stopped_and_says_what_it_did(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))
        s.listen(64)
        run = Counts()
        with hostile(run, "unfinished-lines", uid=0, path=path, n=5,
                     size=4095, refill=True):
            conns = [s.accept()[0] for _ in range(5)]
            assert all(b"\n" not in c.recv(65536) for c in conns)
            conns.pop().close()
            conns.append(s.accept()[0])
            assert len(conns[-1].recv(65536)) == 4095
        assert run == {"opened": 6, "closed_by_peer": 1}
        assert all(c.recv(1) == b"" for c in conns)


def test_a_load_that_breaks_is_told(tmp_path):
    with pytest.raises(innocent.Failed, match="the load pings ended"):
        with hostile(Counts(), "pings", uid=0, nonsense=1):
            pass


def test_every_load_ends_when_its_time_is_over(monkeypatch):
    monkeypatch.setattr(loads, "LIMIT_S", 0)
    assert not loads.Until().on()


def test_a_load_is_a_process_of_its_own(tmp_path):
    load = Load("watchers", {"path": tmp_path / "none", "n": 3}, 0)
    load.ready()
    assert load.stop() == {"watchers": 0}
    assert load.popen.returncode == 0
