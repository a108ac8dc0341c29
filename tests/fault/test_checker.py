# SPDX-License-Identifier: MIT
"""The checker passes histories that are right and catches each kind of wrong
one: a right history is changed in one place, and must be judged wrong."""

import copy
import functools
import os
import pathlib
import pickle
import random
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).parent)]

import checker                                          # noqa: E402
from checker import KINDS, judge                        # noqa: E402
from history import Ack, History, LogRow, payload_hash  # noqa: E402
from worlds import World                                # noqa: E402

SEEDS = range(int(os.environ.get("WALCAST_SEEDS", "20")))
OPEN = {"generation": "g", "head": 4, "oldest": 1, "resumed_from": None}


# ---------------------------------------------------------------- right ones

@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("gaps", [False, True])
def test_right_histories_pass(gaps, replace):
    told = 0
    for seed in SEEDS:
        h = World(seed, gaps, replace).run()
        verdict = judge(h, allow_gaps=gaps)
        assert verdict.ok, verdict.violations[0]
        told += verdict.gaps
    assert told > 0 or not gaps


def test_a_saved_history_is_judged_alike(tmp_path):
    h = World(7, gaps=True, replace=True).run()
    h.refused["busy"] += 3
    h.save(tmp_path / "h")
    again = History.load(tmp_path / "h")
    assert judge(again, allow_gaps=True).ok
    for name in ("acks", "unknown", "refused", "log", "head", "generations",
                 "oldest_retained", "channels"):
        assert getattr(again, name) == getattr(h, name), name
    assert [s.steps for s in again.subs] == [s.steps for s in h.subs]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '["ack",1]', "no JSON",
                                  '["history",99,1,1,[]]',
                                  '["history",1,1,1,[]]\n["step","dance",1]'])
def test_what_is_no_history_is_refused(tmp_path, text):
    (tmp_path / "h").write_text(text)
    with pytest.raises(ValueError):
        History.load(tmp_path / "h")


def log_of(channels):
    return [LogRow(n, c, "k%d" % n, payload_hash("%d" % n))
            for n, c in enumerate(channels, 1)]


def small(wants=None, steps=(), channels="abab", oldest=1):
    """A history of four acked events and one subscriber."""
    h = History()
    rows = log_of(channels)
    h.acks = [Ack(r.key, r.channel, r.hash, r.id, False, 10.0 + r.id,
                  10.5 + r.id, "p") for r in rows]
    h.log = [r for r in rows if r.id >= oldest]
    h.oldest_retained, h.head, h.generations = oldest, len(rows), ["g"]
    h.subscriber("s", wants).steps = [
        (s[0], 20.0 + n, *s[1:]) for n, s in enumerate(steps)]
    return h


def event(n):
    return ("event", n, "k%d" % n, payload_hash("%d" % n))


def opened(at, resumed=None, **more):
    return ("open", at, dict(OPEN, resumed_from=resumed, **more))


def gap(position, requested, oldest, lost, code="expired", newest=4):
    return ("gap", position, {"requested": requested, "oldest": oldest,
                              "newest": newest, "lost": lost, "code": code})


WHOLE = [("connect", None), opened(0, head=0), event(1), event(2), event(3),
         event(4)]


def kinds(h, **how):
    return set(judge(h, **how).kinds)


def test_the_small_history_is_right():
    verdict = judge(small(steps=WHOLE))
    assert verdict.ok and verdict.acked == verdict.deliveries == 4
    assert verdict.latency["ack_p50"] == 500.0
    assert verdict.latency["max"] == 11000.0    # event 1: sent 11, came 22


def test_a_key_that_was_sent_again_is_one_event():
    h = small(steps=WHOLE)
    h.acks.append(h.acks[1]._replace(duplicate=True, sent_at=30.0,
                                     acked_at=31.0))
    assert judge(h).ok and judge(h).acked == 4


def test_what_had_no_answer_may_be_there_or_not():
    h = small(steps=WHOLE)
    lost = h.acks.pop(1)
    h.unknown = {lost.key: (lost.channel, lost.hash), "other": ("a", "0")}
    assert judge(h).ok


def test_an_event_that_is_gone_and_was_never_acked_is_known_by_its_key():
    h = small(steps=WHOLE, oldest=4)
    lost = h.acks.pop(1)
    assert kinds(h) == {"foreign", "missing"}
    h.unknown = {lost.key: (lost.channel, lost.hash)}
    assert judge(h).ok


def test_rows_without_a_key_are_known_by_their_content():
    h = small(steps=WHOLE)
    h.log = [r._replace(key=None) for r in h.log]
    h.acks = []
    assert judge(h).ok


def test_a_deployment_whose_log_cannot_be_read_is_judged_by_the_acks():
    h = small(["a"], [("connect", None), opened(0, head=0), event(1), event(3),
                      ("position", 99)])
    h.log = h.oldest_retained = h.head = None
    h.generations = []
    assert judge(h).ok
    del h.subs[0].steps[2]
    assert kinds(h) == {"missing"}


def test_a_gap_is_right_only_where_it_may_be():
    h = small(steps=[("connect", 1), opened(1, 1, oldest=3),
                     gap(2, 1, 3, 1), event(3), event(4)], oldest=3)
    verdict = judge(h, allow_gaps=True)
    assert verdict.ok and verdict.gaps == 1 and verdict.lost == 1
    assert kinds(h) == {"unexpected_gap"}


def test_a_web_server_may_be_unavailable_when_that_is_meant():
    steps = [("connect", None), ("status", 503), ("end", "clean"), *WHOLE]
    assert judge(small(steps=steps)).ok
    assert kinds(small(steps=steps), statuses=()) == {"bad_status"}


def test_what_came_behind_the_last_ack_is_not_waited_for():
    h = small(steps=WHOLE[:-1])
    assert kinds(h) == {"short"}
    late = h.acks.pop()
    h.unknown = {late.key: (late.channel, late.hash)}
    assert judge(h).ok


# ---------------------------------------------------------------- wrong ones

def wrong(steps, wants=None, **how):
    return small(wants, steps, **how)


def stored(change):
    h = small(steps=WHOLE)
    change(h)
    return h


def set_ack(n, **fields):
    def change(h):
        h.acks[n] = h.acks[n]._replace(**fields)
    return change


def set_row(n, **fields):
    def change(h):
        h.log[n] = h.log[n]._replace(**fields)
    return change


HEAD = WHOLE[:2]
TABLE = [       # (kind, a history that has this fault)
    ("lost_ack", stored(lambda h: h.acks.append(
        Ack("k5", "a", "0", 5, False, 30.0, 31.0, "p")))),
    ("lost_ack", stored(lambda h: h.log.pop())),
    ("ack_mismatch", stored(set_ack(1, id=3))),
    ("ack_mismatch", stored(set_ack(1, hash="0" * 16))),
    ("ack_mismatch", stored(set_ack(1, channel="c"))),
    ("ack_order", stored(set_ack(3, sent_at=1.0, acked_at=2.0))),
    ("doubled_in_log", stored(set_row(2, key="k1", channel="a"))),
    ("doubled_in_log", stored(lambda h: h.acks.append(
        h.acks[0]._replace(id=2)))),
    ("id_reused", stored(set_row(1, id=1))),
    ("id_reused", stored(set_ack(1, id=1))),
    ("ids_not_dense", stored(lambda h: h.log.pop(1))),
    ("ids_not_dense", stored(lambda h: h.log.pop(0))),
    ("ids_not_dense", stored(lambda h: setattr(h, "head", 5))),
    ("corrupt", stored(lambda h: h.unknown.update(k2=("b", "0" * 16)))),
    ("duplicate_delivery", wrong(WHOLE[:4] + WHOLE[3:])),
    ("duplicate_delivery", wrong(WHOLE[:4] + [
        ("end", "cut"), ("connect", "2"), opened(2, 2), event(2), event(3),
        event(4)])),
    ("out_of_order", wrong(HEAD + [event(1), event(3), event(2), event(4)])),
    ("out_of_order", wrong([("connect", None), opened(2), event(2), event(3),
                            event(4)])),
    ("missing", wrong(HEAD + [event(1), event(3), event(4)])),
    ("missing", wrong([("connect", 1), opened(1, 1, oldest=3), event(3),
                       event(4)], oldest=3)),
    ("missing", wrong([("connect", 1), opened(1, 1, oldest=3),
                       ("position", 2)], ["none"], oldest=3)),
    ("missing", wrong([("connect", "abc"), opened(None), event(4)])),
    ("corrupt", wrong(WHOLE[:5] + [("event", 4, "k4", "0" * 16)])),
    ("corrupt", wrong(WHOLE[:5] + [("event", 4, "k3", payload_hash("4"))])),
    ("foreign", wrong(WHOLE + [event(5)])),
    ("foreign", wrong(WHOLE, ["a"])),
    ("false_gap", wrong(WHOLE[:4] + [gap(2, 2, 3, 0), event(3), event(4)],
                        oldest=3)),
    ("false_gap", wrong(WHOLE[:3] + [gap(2, 1, 3, 1), event(3), event(4)])),
    ("false_gap", wrong(WHOLE[:3] + [gap(2, 0, 3, 2), event(3), event(4)],
                        oldest=3)),
    ("false_gap", wrong(WHOLE[:3] + [gap(2, 1, 3, 1, newest=5), event(3),
                                     event(4)], oldest=3)),
    ("false_gap", wrong(WHOLE[:3] + [gap(2, 1, 3, 1, code="lost"), event(3),
                                     event(4)], oldest=3)),
    ("false_gap", wrong([("connect", 9), opened(None, 9),
                         gap(0, 9, 1, 1, "ahead"), *WHOLE[2:]])),
    ("false_gap", wrong([("connect", 3), opened(None, 3),
                         gap(0, 3, 1, 0, "ahead"), *WHOLE[2:]])),
    ("false_gap", wrong(WHOLE + [gap(0, 4, 1, 0, "generation"), *WHOLE[2:]])),
    ("false_gap", wrong(WHOLE[:2] + [gap(4, None, 1, 0, "invalid")])),
    ("unexpected_gap", wrong(WHOLE[:3] + [gap(2, 1, 3, 1), event(3), event(4)],
                             oldest=3)),
    ("position_beyond", wrong(HEAD + [("position", 1), *WHOLE[2:]])),
    ("position_beyond", wrong(WHOLE + [("position", 5)])),
    ("position_beyond", wrong(WHOLE[:2] + [gap(3, 0, 3, 2), event(4)],
                              oldest=3)),
    ("position_back", wrong(WHOLE + [("position", 3)])),
    ("resumed_wrong", wrong([("connect", "1"), opened(2, 1), *WHOLE[4:]])),
    ("resumed_wrong", wrong([("connect", "1"), opened(1, 2), *WHOLE[3:]])),
    ("resumed_wrong", wrong([("connect", None), opened(0, 0), *WHOLE[2:]])),
    ("resumed_wrong", wrong([("connect", "earliest"), opened(1),
                             *WHOLE[3:]])),
    ("resumed_wrong", wrong([("connect", None), opened(None), *WHOLE[2:]])),
    ("false_open", wrong([("connect", None), opened(0, head=5), *WHOLE[2:]])),
    ("false_open", wrong([("connect", None), opened(0, oldest=2),
                          *WHOLE[2:]])),
    ("false_open", wrong([("connect", None), opened(0, oldest=None),
                          *WHOLE[2:]])),
    ("false_open", wrong([("connect", None), opened(0, generation="x"),
                          *WHOLE[2:]])),
    ("no_open", wrong([("connect", None), *WHOLE[2:]])),
    ("no_open", wrong([*WHOLE[:2], *WHOLE[1:]])),
    ("no_open", wrong([*WHOLE[:4], ("end", "cut"), *WHOLE[4:]])),
    ("bad_close", wrong(WHOLE + [("close", {"reason": "mood",
                                            "retry_ms": 1})])),
    ("bad_close", wrong(WHOLE + [("close", {"reason": "drain"})])),
    ("bad_close", wrong(WHOLE[:5] + [("close", {
        "reason": "drain", "retry_ms": 1}), event(4)])),
    ("bad_status", wrong(WHOLE + [("end", "clean"), ("connect", "4"),
                                  ("status", 404)])),
    ("short", wrong(WHOLE[:5])),
    ("short", wrong([])),
    ("bad_history", wrong(WHOLE + [("end", "cut"), ("connect", "3")])),
    ("bad_history", wrong(WHOLE + [("end", "cut"), ("connect", None)])),
]


@pytest.mark.parametrize("n", range(len(TABLE)),
                         ids=lambda n: "%s-%d" % (TABLE[n][0], n))
def test_each_kind_of_wrong_is_caught(n):
    kind, h = TABLE[n]
    verdict = judge(h, allow_gaps=kind != "unexpected_gap")
    assert kind in verdict.kinds, verdict.kinds
    told = [v for v in verdict.violations if v.kind == kind]
    assert told and told[0].message
    if h.subs[0].steps and kind != "ids_not_dense":
        assert "> " in told[0].context or "log" in told[0].context


def test_every_kind_has_a_wrong_history():
    assert {kind for kind, _ in TABLE} == set(KINDS)


def test_the_context_is_what_is_around_the_violation():
    h = wrong(WHOLE[:3] + WHOLE[4:])
    (violation,) = judge(h).violations
    assert "id 2 passed over in silence" in violation.message
    assert "subscriber s" in violation.message
    marked = [line for line in violation.context.splitlines()
              if line.startswith("> ")]
    assert len(marked) == 1 and "event 3 k3" in marked[0]


def test_one_fault_is_told_once():
    h = wrong(HEAD + [event(1), ("position", 2), *WHOLE[3:]])
    assert dict(judge(h).kinds) == {"position_beyond": 1}


def test_a_flood_of_violations_is_counted_and_cut():
    h = small(channels="a" * 5000)
    verdict = judge(h)
    assert dict(verdict.kinds) == {"short": 1}
    h.log = []
    verdict = judge(h)
    assert verdict.kinds["lost_ack"] == 5000
    assert len(verdict.violations) <= 3 * checker.MOST


# ---------------------------------------------------------------- by chance

def anywhere(h, s, n):
    return True


def known(h, s, n):
    """Not of a log that is gone, where nobody else may know of the event."""
    return len(h.generations) == 1 or s.steps[n][3] in {r.key for r in h.log}


def goes_on(h, s, n):
    """The stream tells more behind this step."""
    return n + 1 < len(s.steps) and s.steps[n + 1][0] in ("event", "position",
                                                          "gap")


def due(h, s, n):
    """A gap that had to follow control.open."""
    kind, _, position, data = s.steps[n - 1][:4] if \
        s.steps[n - 1][0] == "open" else ("", 0, 0, {})
    return kind == "open" and (position is None or
                               position < data["oldest"] - 1)


def not_live(h, s, n):
    """Without an id, a stream may begin anywhere: it could be last=."""
    _, _, position, data = s.steps[n]
    return data["resumed_from"] is not None or position != data["head"]


def felt(h, s, n):
    """Without this gap, something is missing."""
    return goes_on(h, s, n) and (due(h, s, n) or s.wants is None)


def with_bounds(h, s, n):
    """The gap of an id that is none has no use for the oldest one."""
    return s.steps[n][3]["code"] != "invalid"


def by_number(h, s, n):
    """`requested` can be told: that of a filtered stream's cursor cannot."""
    return due(h, s, n) or s.wants is None or \
        s.steps[n][3]["code"] == "expired"


def step(kind, change, where=anywhere):
    """A change that replaces a step by those that change(step) gives."""
    def edit(h, rng):
        found = [(s, n) for s in h.subs for n, it in enumerate(s.steps)
                 if it[0] == kind and where(h, s, n)]
        if not found:
            return False
        s, n = rng.choice(found)
        made = change(copy.deepcopy(s.steps[n]))
        same = made == [s.steps[n]]
        s.steps[n:n + 1] = made
        return not same
    return edit


def plus(x, by):
    return x + by if isinstance(x, int) else x


def moved(by):
    """The id of a step, if it has one."""
    return lambda s: [(*s[:2], plus(s[2], by), *s[3:])]


def field(name, change):
    """A member of the data of a control event."""
    def changed(s):
        s[-1][name] = change(s[-1][name])
        return [s]
    return changed


def shifted(name, by):
    return field(name, lambda x: plus(x, by))


def swap(h, rng):
    pairs = [(s, n) for s in h.subs for n in range(len(s.steps) - 1)
             if s.steps[n][0] == s.steps[n + 1][0] == "event"]
    s, n = rng.choice(pairs)
    s.steps[n:n + 2] = reversed(s.steps[n:n + 2])
    return True


STREAM_CHANGES = {
    "event dropped": step("event", lambda s: [], known),
    "event doubled": step("event", lambda s: [s, s]),
    "events swapped": swap,
    "event's hash": step("event", lambda s: [(*s[:4], "0" * 16)]),
    "event's key": step("event", lambda s: [(*s[:3], "kx", s[4])]),
    "event's id +1": step("event", moved(1), known),
    "event's id -1": step("event", moved(-1), known),
    "event from nowhere": step("event", lambda s: [
        s, ("event", s[1], 10 ** 6, "kx", "0" * 16)]),
    "position far ahead": step("position", moved(10 ** 6), goes_on),
    "position far back": step("position", moved(-10 ** 6)),
    "open dropped": step("open", lambda s: [], goes_on),
    "open doubled": step("open", lambda s: [s, s]),
    "open's position +1": step("open", moved(1)),
    "open's position -1": step("open", moved(-1), not_live),
    "open's resumed_from": step("open", shifted("resumed_from", 1)),
    "open's oldest": step("open", shifted("oldest", 10 ** 6)),
    "open's generation": step("open", field("generation", lambda g: "x")),
    "gap dropped": step("gap", lambda s: [], felt),
    "gap doubled": step("gap", lambda s: [s, s]),
    "gap's position +1": step("gap", moved(1)),
    "gap's position -1": step("gap", moved(-1)),
    "gap's lost +1": step("gap", shifted("lost", 1)),
    "gap's lost -1": step("gap", shifted("lost", -1)),
    "gap's oldest +1": step("gap", shifted("oldest", 1), with_bounds),
    "gap's oldest -1": step("gap", shifted("oldest", -1), with_bounds),
    "gap's requested +1": step("gap", shifted("requested", 1), by_number),
    "gap's requested -1": step("gap", shifted("requested", -1)),
    "gap's code": step("gap", field("code", {
        "expired": "ahead", "invalid": "expired", "ahead": "invalid",
        "generation": "expired"}.get)),
    "close's reason": step("close", field("reason", lambda r: "mood")),
    "status": step("status", lambda s: [(*s[:2], 404)]),
}


def row(change):
    def edit(h, rng):
        n = rng.randrange(len(h.log)) if h.log else 0
        h.log[n:n + 1] = [made for r in h.log[n:n + 1] for made in change(r)]
        return bool(h.log)
    return edit


def ack(**change):
    def edit(h, rng):
        found = [n for n, a in enumerate(h.acks) if a.id > h.oldest_retained]
        if not found:
            return False
        n = rng.choice(found)
        h.acks[n] = h.acks[n]._replace(**{
            k: v(h.acks[n]) for k, v in change.items()})
        return True
    return edit


def stop_early(h, rng):
    """A subscriber's record ends before an event that it waited for."""
    last = max(a.id for a in h.acks)
    found = [(s, n) for s in h.subs for n, it in enumerate(s.steps)
             if it[0] == "event" and it[2] <= last]
    s, n = rng.choice(found)
    del s.steps[n:]
    return True


LOG_CHANGES = {
    "subscriber stops early": stop_early,
    "row dropped": row(lambda r: []),
    "row doubled": row(lambda r: [r, r]),
    "row's id": row(lambda r: [r._replace(id=r.id + 1)]),
    "ack's id +1": ack(id=lambda a: a.id + 1),
    "ack's id -1": ack(id=lambda a: a.id - 1),
    "ack's hash": ack(hash=lambda a: "0" * 16),
    "ack's key": ack(key=lambda a: "kx"),
    "open's head": step("open", shifted("head", 10 ** 6)),
    "gap's newest": step("gap", shifted("newest", 10 ** 6)),
    "position past the head": step("position", moved(10 ** 6)),
}


@functools.lru_cache(maxsize=None)
def frozen(*which):
    """A world's history, to be thawed for each change."""
    return pickle.dumps(World(*which).run(150))


def caught(name, change, worlds):
    """Does the judge find the change, in every one of these worlds?"""
    done = 0
    for seed, gaps, replace in worlds:
        h = pickle.loads(frozen(seed, gaps, replace))
        if change(h, random.Random(seed)):
            done += 1
            assert not judge(h, allow_gaps=gaps).ok, (name, seed, gaps,
                                                      replace)
    return done


@pytest.mark.parametrize("name", STREAM_CHANGES)
def test_a_change_of_what_a_stream_said_is_caught(name):
    assert caught(name, STREAM_CHANGES[name], [
        (seed, gaps, replace) for seed in SEEDS for gaps in (False, True)
        for replace in (False, True)]) >= 10


@pytest.mark.parametrize("name", LOG_CHANGES)
def test_a_change_of_what_was_acked_or_stored_is_caught(name):
    assert caught(name, LOG_CHANGES[name], [
        (seed, gaps, False) for seed in SEEDS
        for gaps in (False, True)]) >= 10
