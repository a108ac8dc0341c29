# SPDX-License-Identifier: MIT
"""What a power loss leaves: a trace of all that programs asked of their disk
(shim/power.c), and a disk that keeps or drops what was not synced.

The disk promises what POSIX does and no more.  What was written before a sync
that returned is there.  Of the rest, each sector, each file's size and each
name in the directory is as it was at some moment since then: they are chosen
apart from each other, so writes are kept in any order, or in part.  A name is
kept for sure when the directory was synced.  Beyond that a sector may be torn
anywhere, and a disk that is not `honest` forgets that it was ever synced.
"""

import bisect
import json
import mmap
import os
import re
import struct
import typing

OPENED, CREATED, WRITTEN, TRUNCATED, SYNCED, REMOVED, SENT = range(1, 8)

HEADER = struct.Struct("=QQq")          # capacity, next, die_in
RECORD = struct.Struct("=QIIQQQ")       # bytes, kind, pid, ino, at, used
FIRST = 64                              # where the first record lies

# What becomes of what was not synced:
MODES = ("none",        # all of it is lost
         "all",         # nothing is: as after kill -9
         "prefix",      # each file as it was at some moment
         "random",      # each sector as it was at some moment
         "later",       # the later writes arrived, the earlier ones did not
         "torn")        # random, and sectors are torn


class Op(typing.NamedTuple):
    place: int          # in the trace
    kind: int
    pid: int
    ino: int            # of the file, or of the socket; 0: the directory
    at: int             # offset, or new size
    data: memoryview    # what was written or sent, or a name

    @property
    def name(self):
        return bytes(self.data).decode()


class Trace:
    """The file that the programs under test share."""

    def __init__(self, path, capacity=1 << 30):
        self.path = path
        with open(path, "wb+") as f:
            f.truncate(capacity)
            os.fchmod(f.fileno(), 0o666)
            self._map = mmap.mmap(f.fileno(), capacity)
        self._map[:HEADER.size] = HEADER.pack(capacity, FIRST, 0)

    def restart(self):
        """Forgets all records.  No program may be running."""
        self._map[FIRST:self.position] = bytes(self.position - FIRST)
        struct.pack_into("=Q", self._map, 8, FIRST)

    @property
    def position(self):
        """Where the next record will lie."""
        return HEADER.unpack_from(self._map)[1]

    def die_in(self, n):
        """kill -9 of the program that comes to the n-th sync from now."""
        struct.pack_into("=q", self._map, 16, n)

    def ops(self):
        """All records so far, in order."""
        raw = memoryview(self._map[:self.position])
        found, place = [], FIRST
        while place < len(raw):
            size, kind, pid, ino, at, used = RECORD.unpack_from(raw, place)
            if size == 0:       # killed before it could say how long it is
                place += 8
                continue
            if kind:
                start = place + RECORD.size
                found.append(Op(place, kind, pid, ino, at,
                                raw[start:start + used]))
            place += size
        return found

    def close(self):
        self._map.close()


# ---------------------------------------------------------------- the disk

class File:
    """Its bytes when last synced, and what was done since."""

    def __init__(self, content=b""):
        self.durable = bytearray(content)
        self.since = []         # (offset, bytes); (size, None): truncated

    def do(self, at, data):
        self.since.append((at, data))

    def sync(self):
        apply(self.durable, self.since)
        self.since = []


def apply(content, ops):
    for at, data in ops:
        if data is None:
            _resize(content, at)
            continue
        if at > len(content):
            _resize(content, at)
        content[at:at + len(data)] = data


def _resize(content, size):
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))


class Disk:
    """One directory and its files; `image` is what it has, on the platter."""

    def __init__(self, honest=True, image=None):
        self.honest = honest
        # As last synced: {name: File}.
        self.names = {n: File(raw) for n, raw in (image or {}).items()}
        self.since = []         # (name, File or None)
        self._by_ino = {}

    def do(self, op):
        if op.kind == CREATED:
            self._by_ino[op.ino] = made = File()
            self.since.append((op.name, made))
        elif op.kind == OPENED and op.ino not in self._by_ino:
            self._by_ino[op.ino] = self._named(self.since)[op.name]
        elif op.kind == REMOVED:
            self.since.append((op.name, None))
        elif op.kind == WRITTEN:
            self._by_ino[op.ino].do(op.at, op.data)
        elif op.kind == TRUNCATED:
            self._by_ino[op.ino].do(op.at, None)
        elif op.kind == SYNCED and self.honest:
            self._sync(op.ino)

    def _sync(self, ino):
        if ino:
            self._by_ino[ino].sync()
            return
        self.names = self._named(self.since)
        self.since = []

    def _named(self, since):
        names = dict(self.names)
        for name, file in since:
            if file is None:
                names.pop(name, None)
            else:
                names[name] = file
        return names

    def after(self, loss):
        """{name: bytes}: what is found after this loss."""
        return {name: loss.content(file)
                for name, file in self._named(loss.names(self.since)).items()}


class Loss:
    """What one power loss takes of what was not synced."""

    def __init__(self, mode, sector, rng):
        self.mode, self.sector, self.rng = mode, sector, rng

    def names(self, since):
        """Those of the changes of names that are kept."""
        if self.mode in ("none", "all"):
            return since if self.mode == "all" else []
        kept = {name: self.rng.random() < 0.5 for name, _ in since}
        return [(name, file) for name, file in since if kept[name]]

    def content(self, file):
        n = len(file.since)
        upto = {"none": 0, "all": n, "prefix": self.rng.randrange(n + 1)}
        if self.mode in upto:
            content = bytearray(file.durable)
            apply(content, file.since[:upto[self.mode]])
            return bytes(content)
        return self._by_sector(file)

    def _by_sector(self, file):
        sectors, sizes = versions(file, self.sector)
        content = bytearray(file.durable)
        for number, held in sectors.items():
            start = number * self.sector
            if start + self.sector > len(content):
                _resize(content, start + self.sector)
            content[start:start + self.sector] = self._choose(
                held, len(file.since))
        _resize(content, self.rng.choice(sizes))
        return bytes(content)

    def _choose(self, held, n):
        """held: [(number of the write, bytes)], the durable one first."""
        if self.mode == "later":
            last, newest = held[-1]
            return newest if last >= n // 2 else held[0][1]
        chosen = self.rng.choice(held)[1]
        if self.mode == "torn" and self.rng.random() < 0.5:
            cut = self.rng.randrange(self.sector)
            chosen = chosen[:cut] + self.rng.choice(held)[1][cut:]
        return chosen


def versions(file, sector):
    """What each sector that was touched since the sync has held, and all sizes
    that the file has had: ({number: [(write, bytes)]}, [size])."""
    held, sizes = {}, [len(file.durable)]

    def of(number):
        if number not in held:
            first = bytes(file.durable[number * sector:(number + 1) * sector])
            held[number] = [(-1, first.ljust(sector, b"\0"))]
        return held[number]

    for n, (at, data) in enumerate(file.since):
        if data is None:
            _cut(of, held, n, at, sizes[-1], sector)
            sizes.append(at)
            continue
        end = at + len(data)
        for number in range(at // sector, -(-end // sector)):
            was, start = of(number), number * sector
            low, high = max(at, start), min(end, start + sector)
            before = was[-1][1]
            was.append((n, before[:low - start] + data[low - at:high - at]
                        + before[high - start:]))
        sizes.append(max(sizes[-1], end))
    return held, sizes


def _cut(of, held, n, size, old, sector):
    """A truncation: what lay behind is zero when the file grows again."""
    for number in range(size // sector, -(-old // sector)):
        was = of(number)
        keep = max(size - number * sector, 0)
        was.append((n, was[-1][1][:keep].ljust(sector, b"\0")))


# ---------------------------------------------------------------- the sockets

ID_LINE = re.compile(rb"^id: (\d+)$", re.M)
STDOUT = 6              # of FastCGI


class Said:
    """What programs said on their sockets, by where in the trace.

    acks    [(op, [ids])]   stored: one answer, an array's ids together
    told    [(op, id)]      any id: acked, rung, sent to a browser
    """

    def __init__(self, ops, acked=(), told=0):
        """acked, told: what was said before."""
        self.acks, self.told = [(-1, [id]) for id in acked], [(-1, told)]
        self._rest = {}         # by socket: what is not a whole line yet
        self._records = {}      # by socket: what is not a whole record yet
        for n, op in enumerate(ops):
            if op.kind == SENT and op.data:
                self._take(n, (op.pid, op.ino), bytes(op.data))

    def upto(self, point):
        """The highest id that was told before this op."""
        return max(id for n, id in self.told if n < point)

    def acked(self, point):
        """All ids that were acked before this op."""
        return {id for n, ids in self.acks if n < point for id in ids}

    def _take(self, n, socket, data):
        fcgi = socket in self._records or \
            socket not in self._rest and data[:1] == b"\x01"
        if fcgi:
            data = self._unwrap(socket, data)
        *lines, rest = (self._rest.get(socket, b"") + data).split(b"\n")
        self._rest[socket] = rest
        if fcgi:
            for id in ID_LINE.findall(b"\n".join(lines)):
                self.told.append((n, int(id)))
            return
        for line in lines:
            self._line(n, json.loads(line))

    def _unwrap(self, socket, data):
        """The content of FastCGI's records."""
        raw, content = self._records.get(socket, b"") + data, b""
        while len(raw) >= 8:
            _, kind, _, size, pad, _ = struct.unpack("!BBHHBB", raw[:8])
            if len(raw) < 8 + size + pad:
                break
            if kind == STDOUT:
                content += raw[8:8 + size]
            raw = raw[8 + size + pad:]
        self._records[socket] = raw
        return content

    def _line(self, n, line):
        if "op" in line:        # a worker's to pubd
            return
        if line.get("ok") and ("id" in line or "ids" in line):
            ids = line["ids"] if "ids" in line else [line["id"]]
            self.acks.append((n, ids))
            self.told.append((n, max(ids)))
        elif "head" in line:
            self.told.append((n, line["head"]))


# ---------------------------------------------------------------- moments

class Moments:
    """When the power may fail, by what happens then: of[kind] is a list of
    ops, just before which it does.

    born      place in the trace at which the log had been made; afterwards
              the first op behind it
    restarts  places at which nobody had the log open
    said      what was said: a moment of `restart` is when an id is told that
              was not told before the restart
    """

    KINDS = ("creation", "commit", "checkpoint", "reset", "answer", "restart",
             "status", "any")

    def __init__(self, ops, born, restarts, said):
        self.ops, self.said = ops, said
        self.names = {op.ino: op.name for op in ops
                      if op.kind in (CREATED, OPENED)}
        self.born = self._first(born)
        found = {kind: [] for kind in self.KINDS}
        found["creation"] = range(self.born + 1)
        found["any"] = range(self.born, len(ops))
        for n in range(self.born, len(ops)):
            kind = self._kind(ops[n])
            if kind:
                found[kind].append(n + 1)
        found["restart"] = [n for place in restarts
                            for n in self._first_words(self._first(place))]
        self.of = {kind: [n for n in of if n < len(ops)]
                   for kind, of in found.items() if of}

    def _first(self, place):
        return bisect.bisect_left(self.ops, place, key=lambda op: op.place)

    def _kind(self, op):
        if op.kind == SENT:
            return "answer" if b'"ok":true' in bytes(op.data) else None
        name = self.names.get(op.ino)
        if op.kind == WRITTEN and name == "status.db":
            return "status"
        if op.kind == WRITTEN and name == "events.db":
            return "checkpoint"
        if op.kind == WRITTEN and name == "events.db-wal":
            return "commit" if op.at else "reset"
        return None

    def _first_words(self, start):
        before = self.said.upto(start)
        return [n + 1 for n, id in self.said.told
                if n >= start and id > before][:1]
