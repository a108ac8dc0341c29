# SPDX-License-Identifier: MIT
"""The ledger sees each way in which a stream can be wrong, and nothing in one
that is right."""

import json
import pathlib
import sys
import types

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).parent),
                str(pathlib.Path(__file__).parents[1] / "system")]

from ledger import Ledger, Wish         # noqa: E402
from sse import Parser                  # noqa: E402

GAP = {"code": "expired", "requested": 2, "oldest": 5, "newest": 9, "lost": 2}


def opened(id, resumed=None, head=9):
    return "id: %s\nevent: control.open\ndata: %s\n\n" % (
        id, json.dumps({"resumed_from": resumed, "head": head}))


def event(id, type="message"):
    line = "" if type == "message" else "event: %s\n" % type
    return "id: %d\n%sdata: e%d\n\n" % (id, line, id)


def heartbeat(id):
    return ": hb\nid: %d\n\n" % id


def told(gap=GAP, id=4, **more):
    return "id: %s\nevent: control.gap\ndata: %s\n\n" % (
        id, json.dumps(dict(gap, **more)))


def judge(text, wish, **kw):
    """The kind of the first violation; None: there is none.  Ids 1 to 9, the
    even ones on channel b, the others on a; 3, 6 and 9 are of type tick."""
    run = types.SimpleNamespace(violations=[], acked=0, deliveries=0)
    ledger = Ledger(run, None)
    for id in range(1, 10):
        ledger.note(id, "ab"[id % 2 == 0], "tick" if id % 3 == 0 else None,
                    "e%d" % id, "e%d" % id)
    stream = types.SimpleNamespace(parser=Parser())
    stream.parser.feed(text.encode())
    good = ledger.prove(stream, wish, **kw)
    assert good == (not run.violations)
    return run.violations[0].kind if run.violations else None


ALL, A = Wish(["*"]), Wish(["a"])
TICKS = Wish(["a*"], ["tick"])


@pytest.mark.parametrize("text, wish, more", [
    (opened(6) + event(7) + event(8) + event(9, "tick"), ALL, {"upto": 9}),
    (opened(6, 6) + event(7), A, {"position": 6}),
    (opened(2, 2) + event(3, "tick") + heartbeat(4), A, {"position": 2}),
    (opened(0) + heartbeat(2) + event(3, "tick") + heartbeat(8), TICKS, {}),
    (opened(2, 2) + told() + event(5), A, {"position": 2, "gaps": [GAP]}),
    (opened(9) + "retry: 5\nevent: control.close\ndata: {}\n\n", ALL, {}),
])
def test_a_stream_that_is_right_is_proved(text, wish, more):
    assert judge(text, wish, **more) is None


@pytest.mark.parametrize("kind, text, wish, more", [
    ("missing", opened(6) + event(8), ALL, {}),
    ("missing", opened(6), ALL, {"gaps": [GAP]}),
    ("short", opened(6) + event(7), ALL, {"upto": 9}),
    ("duplicate_delivery", opened(6) + event(7) + event(7), ALL, {}),
    ("duplicate_delivery", opened(7, 7) + event(7), ALL, {"position": 7}),
    ("duplicate_delivery", opened(6) + event(7) + event(8) + event(7), ALL,
     {}),
    ("foreign", opened(6) + event(7) + event(8), A, {}),
    ("foreign", opened(9) + event(10), ALL, {}),
    ("corrupt", opened(6) + event(7).replace("e7", "e8"), ALL, {}),
    ("corrupt", opened(8) + event(9), ALL, {}),
    ("corrupt", opened(6) + event(7).replace("data", "id: 8\ndata"), ALL, {}),
    ("corrupt", opened(6) + "id: x\ndata: e7\n\n", ALL, {}),
    ("corrupt", opened(6) + "data: e7\n\n", ALL, {}),
    ("corrupt", opened(6) + "id: 9\nevent: control.close\ndata: {}\n\n", ALL,
     {}),
    ("position_beyond", opened(6) + heartbeat(7), ALL, {}),
    ("position_beyond", opened(6) + heartbeat(7), A, {}),
    ("position_beyond", opened(10), ALL, {}),
    ("position_back", opened(6) + event(7) + heartbeat(6), ALL, {}),
    ("resumed_wrong", opened(6, 5), ALL, {"position": 6}),
    ("resumed_wrong", opened(7, 6), ALL, {"position": 6}),
    ("resumed_wrong", opened(6, 6), ALL, {}),
    ("false_gap", opened(2, 2) + told() + event(5), A, {"position": 2}),
    ("false_gap", opened(2, 2) + told(lost=3), A,
     {"position": 2, "gaps": [GAP]}),
    ("false_gap", opened(2, 2) + told(id=5), A,
     {"position": 2, "gaps": [GAP]}),
    ("no_open", event(7), ALL, {}),
    ("no_open", "", ALL, {}),
])
def test_a_stream_that_is_wrong_is_seen(kind, text, wish, more):
    assert judge(text, wish, **more) == kind


def test_an_envelope_proves_the_id_before():
    wish = Wish(["b"], envelope=1)
    data = {"id": 4, "channel": "b", "event": "message", "prev": 2,
            "data": "e4", "ts": 1, "trace": None}
    text = opened(2) + "id: 4\ndata: %s\n\n"
    assert judge(text % json.dumps(data), wish) is None
    assert judge(text % json.dumps(dict(data, prev=3)), wish) == "corrupt"


def test_ids_that_are_not_dense_are_seen():
    run = types.SimpleNamespace(violations=[], acked=0, deliveries=0)
    ledger = Ledger(run, None)
    ledger.note(1, "a", None, "x", "x")
    ledger.note(3, "a", None, "x", "x")
    assert [v.kind for v in run.violations] == ["ids_not_dense"]
