# SPDX-License-Identifier: MIT
"""What was seen of one traffic: plain data, for the checker to judge later.

Publishers append to acks, unknown and refused, each subscriber to its own
steps; list.append and a dict's store are all that threads do here, so nothing
is locked.  Times are seconds of one monotonic clock.  The log is added when
all is over (History.log and the three figures beside it).

save() and load() keep a history as JSON lines, so that one that fails can be
judged again: `walcast-harness judge FILE`.
"""

import collections
import hashlib
import json
import typing

FORMAT = 1      # of the saved file
STEPS = ("connect", "open", "event", "gap", "position", "close", "end",
           "status")


def payload_hash(data):
    """16 hexadecimal digits that stand for an event's data text."""
    if isinstance(data, str):
        data = data.encode()
    return hashlib.sha256(data).hexdigest()[:16]


class Ack(typing.NamedTuple):
    """An answer that said: this event is stored, under this id."""
    key: str
    channel: str
    hash: str
    id: int
    duplicate: bool     # the answer said that the key was stored before
    sent_at: float      # when it was sent (for the last time)
    acked_at: float
    publisher: str


class LogRow(typing.NamedTuple):
    """A row of the log, as it is after the traffic."""
    id: int
    channel: str
    key: str
    hash: str


class SubscriberRecord:
    """What one subscriber saw, over all its connections.

    steps, in the order in which they came:
        ("connect", at, last id that was sent, or None)
        ("open", at, id of the block or None, data)     control.open
        ("event", at, id, key, hash)
        ("gap", at, id of the block, data)              control.gap
        ("position", at, id)    a heartbeat, or any other id without an event
        ("close", at, data)                             control.close
        ("end", at, "clean" | "cut" | "reset")
        ("status", at, code)                            other than 200
    """

    def __init__(self, name, wants=None):
        self.name = name
        self.wants = wants          # channels, prefixes end in "*"; None: all
        self.started_after = None   # where the first stream began, once known
        self.steps = []


class History:
    """One traffic."""

    def __init__(self):
        self.acks = []              # [Ack]
        self.unknown = {}           # key: (channel, hash); never answered
        self.refused = collections.Counter()    # error code: answers
        self.subs = []              # [SubscriberRecord]
        self.log = []               # [LogRow], what is retained at the end
        self.oldest_retained = None     # head + 1 when nothing is
        self.head = None
        self.generations = []       # of the log, in order; usually one

    @property
    def channels(self):
        """{subscriber: what it asked for}."""
        return {s.name: s.wants for s in self.subs}

    def subscriber(self, name, wants=None):
        """A new subscriber's record."""
        sub = SubscriberRecord(name, wants)
        self.subs.append(sub)
        return sub

    def save(self, path):
        """Writes it as JSON lines; see load()."""
        with open(path, "w", encoding="utf-8") as f:
            for line in self._lines():
                f.write(json.dumps(line, ensure_ascii=False,
                                   separators=(",", ":")) + "\n")

    def _lines(self):
        yield ["history", FORMAT, self.oldest_retained, self.head,
               self.generations]
        yield ["refused", dict(self.refused)]
        for key, (channel, digest) in self.unknown.items():
            yield ["unknown", key, channel, digest]
        for ack in self.acks:
            yield ["ack", *ack]
        for row in self.log:
            yield ["log", *row]
        for sub in self.subs:
            yield ["subscriber", sub.name, sub.wants, sub.started_after]
            for step in sub.steps:
                yield ["step", *step]

    @classmethod
    def load(cls, path):
        """Reads what save() wrote; ValueError when it is something else."""
        history = cls()
        with open(path, encoding="utf-8") as f:
            for n, line in enumerate(f, 1):
                try:
                    history._take(n, *json.loads(line))
                except (TypeError, ValueError, IndexError) as e:
                    raise ValueError("%s:%d: %s" % (path, n, e)) from None
        if history.head is None:
            raise ValueError("%s: no history" % path)
        return history

    def _take(self, n, kind, *rest):
        if (kind == "history") != (n == 1):
            raise ValueError("a history begins with its first line only")
        if kind == "history":
            version, self.oldest_retained, self.head, self.generations = rest
            if version != FORMAT:
                raise ValueError("format %r, not %d" % (version, FORMAT))
        elif kind == "refused":
            self.refused.update(rest[0])
        elif kind == "unknown":
            self.unknown[rest[0]] = (rest[1], rest[2])
        elif kind == "ack":
            self.acks.append(Ack(*rest))
        elif kind == "log":
            self.log.append(LogRow(*rest))
        elif kind == "subscriber":
            self.subscriber(rest[0], rest[1]).started_after = rest[2]
        elif kind == "step" and rest[0] in STEPS:
            self.subs[-1].steps.append(tuple(rest))
        else:
            raise ValueError("unknown line %r" % kind)
