# SPDX-License-Identifier: MIT
"""The bad link does what its conditions say, and the same for the same seed."""

import random

from link import CLEAR, QUEUE_S, Way


def sent(n=1000, every=0.001, seed=1, **conditions):
    """(packets as they arrived, (packet, time) pairs, counts) of n packets."""
    got = []
    way = Way(lambda p: got.append((int.from_bytes(p[:4], "big"), now)),
              random.Random(seed))
    way.now_is = dict(CLEAR, **conditions)
    now = 0.0
    for i in range(n):
        way.take(i.to_bytes(4, "big") + bytes(96), now)
        now += every
        way.deliver(now)
    while (due := way.due()) is not None:
        now = max(now, due)
        way.deliver(now)
    return [i for i, _ in got], got, way.counts


def test_a_clear_link_changes_nothing():
    order, _, counts = sent()
    assert order == list(range(1000))
    assert counts["given"] == counts["taken"] == 1000


def test_packets_are_lost_by_their_share():
    order, _, counts = sent(loss=0.2)
    assert order == sorted(order)
    assert len(order) == 1000 - counts["lost"]
    assert 150 < counts["lost"] < 250


def test_the_same_seed_makes_the_same_decisions():
    harm = dict(loss=0.1, duplicate=0.1, delay=0.05, jitter=0.04, reorder=0.1)
    assert sent(seed=3, **harm) == sent(seed=3, **harm)
    assert sent(seed=3, **harm)[0] != sent(seed=4, **harm)[0]


def test_a_delay_alone_keeps_the_order():
    order, got, _ = sent(delay=0.1)
    assert order == list(range(1000))
    assert all(0.1 <= at - i * 0.001 < 0.102 for i, at in got)


def test_jitter_and_reordering_let_packets_overtake():
    for harm in ({"delay": 0.02, "jitter": 0.01},
                 {"delay": 0.02, "reorder": 0.3}):
        order, _, _ = sent(**harm)
        assert order != sorted(order) == list(range(1000))


def test_packets_are_doubled_by_their_share():
    order, _, counts = sent(duplicate=0.3)
    assert len(order) == 1000 + counts["doubled"]
    assert 250 < counts["doubled"] < 350


def test_a_rate_holds_and_its_queue_is_bounded():
    # 1000 packets of 100 bytes within a second, over 50,000 bytes a second
    order, got, counts = sent(rate=50000)
    assert order == sorted(order)
    assert counts["overflowed"] == 1000 - len(order) > 200
    assert got[-1][1] <= 1.0 + QUEUE_S + 0.01
    assert len(order) * 100 / got[-1][1] < 51000


def test_nothing_passes_a_cut_link():
    order, _, counts = sent(cut=True)
    assert order == [] and counts["cut"] == 1000


def test_a_cut_takes_what_was_on_its_way():
    got = []
    way = Way(got.append, random.Random(1))
    way.now_is = dict(CLEAR, delay=1)
    way.take(b"x", 0)
    way.now_is = dict(CLEAR, cut=True)
    way.deliver(2)
    assert got == [] and way.due() is None
