# SPDX-License-Identifier: MIT
"""What was published, and the proof that a stream tells just that.

The checker judges traffic that takes its course.  Here nobody else publishes,
so that streams which end anywhere, and payloads of any kind, are proved block
by block: between two ids that a stream tells lies no event that it wants.

    ledger = Ledger(run, st)
    ledger.publish([event("a.b", "text")])
    wish = Wish(["a.*"])
    with web.stream(wish.params, last_id=7) as s:
        s.take(3)
        ledger.prove(s, wish, position=7)
"""

import bisect
import json
import threading
import typing

from checker import Violation

SHOWN = 4       # blocks before the wrong one that a violation shows


class Event(typing.NamedTuple):
    """An event of the log."""
    id: int
    channel: str
    type: str
    text: str       # what a page is given as its data
    value: object   # what an envelope holds as its data
    prev: int       # the id before it on its channel


class Wish:
    """What a stream asks for: channels or prefixes (a* at the end), types.
    more: other parameters of the query."""

    def __init__(self, channels, types=(), **more):
        self.channels, self.types = list(channels), list(types)
        self.envelope = "envelope" in more
        self.params = dict({"channel": self.channels}, **more)
        if self.types:
            self.params["events"] = ",".join(self.types)

    def wants(self, e):
        return (not self.types or e.type in self.types) and any(
            e.channel.startswith(c[:-1]) if c.endswith("*") else
            c == e.channel for c in self.channels)

    def __str__(self):
        return "&".join("%s=%s" % (name, ",".join(v) if isinstance(v, list)
                                   else v)
                        for name, v in self.params.items())


def event(channel, text, type=None):
    """An event to publish; its data is a string of one line."""
    e = {"channel": channel, "data": text}
    return dict(e, event=type) if type else e


class Ledger:
    """The events of one log."""

    def __init__(self, run, st):
        self.run, self.st = run, st
        self.events = []
        self._newest = {}       # by channel
        self._wanted = {}       # by wish: events looked at, ids, events
        self._lock = threading.Lock()

    @property
    def head(self):
        return self.events[-1].id if self.events else 0

    def publish(self, events):
        """Publishes objects whose data are one line of text; returns ids."""
        with self.st.publisher() as p:
            ids = p.publish_many(events)
        for id, e in zip(ids, events):
            self.note(id, e["channel"], e.get("event"), e["data"], e["data"])
        return ids

    def note(self, id, channel, type, text, value):
        """Takes down what was stored; ids are dense."""
        with self._lock:
            if self.events and id != self.head + 1:
                self.violate("ids_not_dense", "the event after %d has id %d"
                             % (self.head, id))
            self.events.append(Event(id, channel, type or "message", text,
                                     value, self._newest.get(channel, 0)))
            self._newest[channel] = id
            self.run.acked += 1

    def trimmed(self, oldest):
        """Everything before this id is gone."""
        self._newest = {c: id for c, id in self._newest.items()
                        if id >= oldest}

    def wanted(self, wish):
        """(ids, events) that a stream of this wish is to have."""
        done, ids, events = self._wanted.get(wish, (0, [], []))
        with self._lock:
            new = self.events[done:]
        for e in new:
            if wish.wants(e):
                ids.append(e.id)
                events.append(e)
        self._wanted[wish] = done + len(new), ids, events
        return ids, events

    def after(self, wish, position):
        """Those after a position."""
        ids, events = self.wanted(wish)
        return events[bisect.bisect_right(ids, position):]

    def prove(self, stream, wish, position=None, upto=None, gaps=()):
        """Judges all blocks that a stream has had.

        position  the id that it came with; None: it came without one
        upto      it must have had all that it wants up to this id
        gaps      the data of each control.gap that it must have been told
        """
        proof = _Proof(self, wish, position, list(gaps))
        seen = []
        for lines in stream.parser.blocks:
            seen.append(lines)
            try:
                proof.block(lines)
            except (LookupError, TypeError, ValueError) as e:
                proof.is_wrong("corrupt", "no block of ours: %r", e)
            if proof.wrong:
                break
        else:
            proof.end(upto)
        self.run.deliveries += proof.n_events
        for kind, what in proof.wrong[:1]:
            self.violate(kind, "a stream of %s from %s: %s" % (
                wish, position, what), "\n\n".join(
                    "\n".join(b)[:400] for b in seen[-SHOWN:]))
        return not proof.wrong

    def violate(self, kind, message, context=""):
        self.run.violations.append(Violation(kind, message, context))


class _Proof:
    """One stream, block by block.  wrong: [(kind, sentence)]."""

    def __init__(self, ledger, wish, position, gaps):
        self.wish, self.came_with, self.gaps = wish, position, gaps
        self.ids, self.events = ledger.wanted(wish)
        self.at = None          # the last id that was told
        self.next = 0           # in ids: the first one after it
        self.n_events = 0
        self.wrong = []

    def is_wrong(self, kind, sentence, *values):
        self.wrong.append((kind, sentence % values))

    def block(self, lines):
        fields = {}
        for line in lines:
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value[value[:1] == " ":])
        type = fields.get("event", ["message"])[-1]
        data = "\n".join(fields["data"]) if "data" in fields else None
        if len(fields.get("id", ())) > 1 or len(fields.get("event", ())) > 1:
            self.is_wrong("corrupt", "a block with two ids or types")
        elif type == "control.open":
            self.opened(fields, json.loads(data))
        elif type == "control.gap":
            self.gap(fields.get("id", [None])[0], json.loads(data))
        elif type == "control.close":
            if "id" in fields:
                self.is_wrong("corrupt", "control.close with an id")
        elif data is None or type == "system.heartbeat":
            if "id" in fields:
                self.moved(int(fields["id"][0]))
        elif "id" not in fields:
            self.is_wrong("corrupt", "an event without an id")
        else:
            self.event(int(fields["id"][0]), type, data)

    def opened(self, fields, data):
        told = data["resumed_from"]
        if told != self.came_with:
            self.is_wrong("resumed_wrong", "control.open says that it was "
                          "resumed from %r", told)
        if "id" not in fields:
            return              # control.gap follows, with a position
        id = int(fields["id"][0])
        if self.came_with is not None and id != self.came_with:
            self.is_wrong("resumed_wrong", "control.open has id %d", id)
        if id > data["head"]:
            self.is_wrong("position_beyond", "control.open has id %d, and the "
                          "head is %d", id, data["head"])
        self.jump(id)

    def jump(self, id):
        self.at, self.next = id, bisect.bisect_right(self.ids, id)

    def gap(self, id, data):
        if not self.gaps:
            self.is_wrong("false_gap", "a gap that is none: %r", data)
            return
        expected = self.gaps.pop(0)
        position = data["newest"] if expected["code"] == "invalid" \
            else expected["oldest"] - 1
        if data != expected or id != str(position):
            self.is_wrong("false_gap", "the gap %r with id %s should be %r "
                          "with id %d", data, id, expected, position)
        self.jump(position)

    def moved(self, id):
        """A position without an event."""
        if id < self.at:
            self.is_wrong("position_back", "the position goes from %d back "
                          "to %d", self.at, id)
        elif self.next < len(self.ids) and self.ids[self.next] <= id:
            self.is_wrong("position_beyond", "the position %d is told before "
                          "event %d", id, self.ids[self.next])
        self.at = id

    def event(self, id, type, data):
        self.n_events += 1
        if self.at is None:
            self.is_wrong("no_open", "event %d before a position", id)
        elif id <= self.at:
            self.is_wrong("duplicate_delivery", "event %d comes after id %d",
                          id, self.at)
        elif self.next == len(self.ids) or id < self.ids[self.next]:
            self.is_wrong("foreign", "event %d was not asked for", id)
        elif id > self.ids[self.next]:
            self.is_wrong("missing", "event %d comes, %d has not", id,
                          self.ids[self.next])
        else:
            self.compare(self.events[self.next], type, data)
            self.at, self.next = id, self.next + 1

    def compare(self, e, type, data):
        if self.wish.envelope:
            got = {k: v for k, v in json.loads(data).items()
                   if k not in ("ts", "trace")}
            want = {"id": e.id, "channel": e.channel, "event": e.type,
                    "prev": e.prev, "data": e.value}
        else:
            got, want = data, e.text
        if type != e.type or got != want:
            self.is_wrong("corrupt", "event %d is %s %.200r, not %s %.200r",
                          e.id, type, got, e.type, want)

    def end(self, upto):
        if self.at is None:
            self.is_wrong("no_open", "no control.open")
        elif upto is not None and self.next < len(self.ids) and \
                self.ids[self.next] <= upto:
            self.is_wrong("short", "event %d has not come",
                          self.ids[self.next])
        elif self.gaps:
            self.is_wrong("missing", "the gap %r was not told", self.gaps[0])
