# SPDX-License-Identifier: MIT
"""The disk that loses its power: what it must keep, and all it may do."""

import itertools
import json
import random
import struct

import pytest

from power import (CREATED, MODES, REMOVED, SENT, SYNCED, TRUNCATED, WRITTEN,
                   Disk, File, Loss, Moments, Op, Said, versions)

DIRECTORY = 0


def ops(*steps):
    """Op of each (kind, inode, at, data)."""
    return [Op(8 * n, kind, 1, ino, at, memoryview(data))
            for n, (kind, ino, at, data) in enumerate(steps)]


def disk(*steps, **kw):
    d = Disk(**kw)
    for op in ops(*steps):
        d.do(op)
    return d


def loss(mode, seed=1, sector=512):
    return Loss(mode, sector, random.Random(seed))


def found(d, mode, tries=200):
    """All that such losses leave of the file a; None: it is not there."""
    return {d.after(loss(mode, seed)).get("a") for seed in range(tries)}


MADE = [(CREATED, 7, 0, b"a"), (SYNCED, DIRECTORY, 0, b"")]
OLD, NEW = b"o" * 1024, b"n" * 1024


@pytest.mark.parametrize("mode", MODES)
def test_what_was_synced_is_kept(mode):
    d = disk(*MADE, (WRITTEN, 7, 0, OLD), (SYNCED, 7, 0, b""))
    assert found(d, mode) == {OLD}


def test_what_was_not_synced_may_be_lost_or_kept():
    d = disk(*MADE, (WRITTEN, 7, 0, OLD), (SYNCED, 7, 0, b""),
             (WRITTEN, 7, 0, NEW))
    assert found(d, "none") == {OLD}
    assert found(d, "all") == {NEW}
    assert found(d, "prefix") == {OLD, NEW}


def test_each_sector_is_kept_or_lost_for_itself():
    d = disk(*MADE, (WRITTEN, 7, 0, OLD), (SYNCED, 7, 0, b""),
             (WRITTEN, 7, 0, NEW))
    halves = (b"o" * 512, b"n" * 512)
    assert found(d, "random") == {a + b for a, b in
                                  itertools.product(halves, halves)}


def test_later_writes_may_arrive_without_earlier_ones():
    d = disk(*MADE, (WRITTEN, 7, 0, OLD), (SYNCED, 7, 0, b""),
             (WRITTEN, 7, 0, b"1" * 512), (WRITTEN, 7, 512, b"2" * 512))
    assert found(d, "later") == {b"o" * 512 + b"2" * 512}


def test_a_torn_sector_is_cut_anywhere():
    d = disk(*MADE, (WRITTEN, 7, 0, b"o" * 512), (SYNCED, 7, 0, b""),
             (WRITTEN, 7, 0, b"n" * 512))
    cuts = {len(c) - len(c.lstrip(b"n")) for c in found(d, "torn", 2000)}
    assert len(cuts) > 100


def test_a_file_may_have_grown_without_its_bytes():
    d = disk(*MADE, (WRITTEN, 7, 0, NEW))
    seen = found(d, "random")
    assert {len(c) for c in seen} == {0, 1024}
    assert bytes(1024) in seen and NEW in seen


def test_a_truncation_may_be_lost_and_what_it_cut_is_never_seen_again():
    d = disk(*MADE, (WRITTEN, 7, 0, OLD), (SYNCED, 7, 0, b""),
             (TRUNCATED, 7, 512, b""))
    assert found(d, "none") == {OLD}
    assert found(d, "all") == {OLD[:512]}
    sectors, sizes = versions(d.names["a"], 512)
    assert sizes == [1024, 512] and sectors[1][-1][1] == bytes(512)


def test_a_write_across_sectors_changes_no_other_byte():
    f = File(b"o" * 1536)
    f.do(500, b"n" * 600)
    sectors, _ = versions(f, 512)
    whole = b"".join(sectors[n][-1][1] for n in range(3))
    f.sync()
    assert whole == f.durable == b"o" * 500 + b"n" * 600 + b"o" * 436


def test_a_name_needs_its_directory_synced():
    made = disk((CREATED, 7, 0, b"a"), (WRITTEN, 7, 0, NEW),
                (SYNCED, 7, 0, b""))
    assert found(made, "none") == {None}
    assert found(made, "random") == {None, NEW}
    gone = disk(*MADE, (WRITTEN, 7, 0, NEW), (SYNCED, 7, 0, b""),
                (REMOVED, 0, 0, b"a"))
    assert found(gone, "none") == {NEW}
    assert found(gone, "random") == {None, NEW}


def test_a_lying_disk_forgets_its_syncs():
    d = disk(*MADE, (WRITTEN, 7, 0, OLD), (SYNCED, 7, 0, b""), honest=False)
    assert found(d, "none") == {None}


def test_a_disk_begins_with_what_it_had():
    d = disk((1, 9, 0, b"a"), (WRITTEN, 9, 0, NEW), image={"a": OLD})
    assert found(d, "none") == {OLD} and found(d, "all") == {NEW}


@pytest.mark.parametrize("mode", MODES)
def test_the_same_seed_takes_the_same(mode):
    d = disk(*MADE, *((WRITTEN, 7, 100 * n, bytes([n]) * 700)
                      for n in range(50)))
    assert d.after(loss(mode, 5)) == d.after(loss(mode, 5))


def sent(text, ino=20):
    return (SENT, ino, 0, text)


def fcgi(text):
    return struct.pack("!BBHHBB", 1, 6, 1, len(text), 3, 0) + text + b"xyz"


def test_what_was_said_is_read_from_pieces():
    line = json.dumps({"ok": True, "ids": [4, 5]}).encode() + b"\n"
    event = fcgi(b"id: 1") + fcgi(b"2\ndata: id: 99\n\n")
    said = Said(ops(sent(line[:9]), sent(line[9:]), sent(event[:7], 21),
                    sent(event[7:], 21), sent(b'{"head":8}\n'),
                    sent(b'{"op":"report","head":77}\n', 22)))
    assert said.acked(1) == set() and said.acked(2) == {4, 5}
    assert [said.upto(n) for n in range(6)] == [0, 0, 5, 5, 12, 12]


def test_what_was_said_before_counts():
    said = Said([], {1, 2}, 9)
    assert said.acked(0) == {1, 2} and said.upto(0) == 9


def test_moments_are_told_apart():
    steps = ops((CREATED, 7, 0, b"events.db"), (CREATED, 8, 0, b"status.db"),
                (CREATED, 9, 0, b"events.db-wal"), (WRITTEN, 9, 0, b"x"),
                (WRITTEN, 9, 32, b"x"), (SYNCED, 9, 0, b""),
                (WRITTEN, 7, 0, b"x"), (WRITTEN, 8, 0, b"x"),
                sent(b'{"ok":true,"id":1}\n'), sent(b'{"head":1}\n'))
    of = Moments(steps, steps[3].place, [steps[5].place], Said(steps)).of
    assert of == {"creation": [0, 1, 2, 3], "reset": [4], "commit": [5],
                  "checkpoint": [7], "status": [8], "answer": [9],
                  "restart": [9], "any": list(range(3, 10))}
