# SPDX-License-Identifier: MIT
"""Invented histories that are right: a log, publishers and subscribers that
follow the protocol, step by step and by chance, with times that are made up.
For the tests of the checker.
"""

import random

from history import Ack, History, LogRow, payload_hash

CHANNELS = ("a", "a.b", "b")
WANTS = (None, ["a"], ["a*"], ["a", "b"], ["none"])
STARTS = (None, None, "earliest", 0, "id", "junk", 1 << 40)


class World:
    """gaps   retention passes what subscribers have not had
    replace   the log is replaced once, in the middle
    """

    def __init__(self, seed, gaps=False, replace=False, subscribers=5):
        self.rng = random.Random(seed)
        self.history = History()
        self.gaps, self.replace = gaps, replace
        self.now = 100.0
        self.made = 0
        self._new_log()
        self.publish(5)
        self.clients = [Client(self, n) for n in range(subscribers)]

    def _new_log(self):
        self.rows, self.oldest = [], 1
        self.generation = "g%d" % len(self.history.generations)
        self.history.generations.append(self.generation)

    @property
    def head(self):
        return self.rows[-1].id if self.rows else 0

    def tick(self):
        self.now += self.rng.random() / 100
        return self.now

    # -- what happens

    def run(self, turns=300):
        """All of it; returns the history, complete."""
        for turn in range(turns):
            if self.replace and turn == turns // 2:
                self._replaced()
            if self.rng.random() < 0.3:
                self.publish(self.rng.randrange(1, 4))
            if self.gaps and self.rng.random() < 0.03:
                self._trim()
            self.rng.choice(self.clients).turn()
        for c in self.clients:
            c.finish()
        h = self.history
        h.log = [r for r in self.rows if r.id >= self.oldest]
        h.oldest_retained, h.head = self.oldest, self.head
        return h

    def publish(self, n):
        """Events of all fates; the last of them is acked."""
        for k in range(n):
            self.made += 1
            key = "k%d" % self.made
            row = LogRow(self.head + 1, self.rng.choice(CHANNELS), key,
                         payload_hash("data of " + key))
            fate = 1 if k == n - 1 else self.rng.random()
            if fate < 0.1:      # neither stored nor answered
                self.history.unknown[key] = row[1], row[3]
                continue
            self.rows.append(row)
            if fate < 0.2:      # stored, and never answered
                self.history.unknown[key] = row[1], row[3]
            else:
                self._ack(row, self.rng.random() < 0.1)

    def _ack(self, row, duplicate):
        sent = self.tick()
        self.history.acks.append(Ack(row.key, row.channel, row.hash, row.id,
                                     duplicate, sent, self.tick(), "p0"))

    def _trim(self):
        self.oldest = min(self.oldest + self.rng.randrange(1, 12),
                          self.head + 1)

    def _replaced(self):
        self._new_log()
        self.publish(3)
        for c in self.clients:
            c.log_is_another = True


class Client:
    """A subscriber, and the stream as the protocol has it."""

    def __init__(self, world, n):
        self.world, self.rng = world, world.rng
        self.record = world.history.subscriber("s%d" % n,
                                               WANTS[n % len(WANTS)])
        self.sent = self.rng.choice(STARTS)
        if self.sent == "id":
            self.sent = self.rng.randrange(1, world.head + 1)
        self.told = self.sent
        self.at = None          # the stream's cursor
        self.open = False
        self.log_is_another = False

    def note(self, kind, *rest):
        self.record.steps.append((kind, self.world.tick(), *rest))

    def turn(self):
        if not self.open:
            self._connect()
        elif self.log_is_another or self.at < self.world.oldest - 1:
            self._gap_in_stream()
        else:
            self.rng.choice((self._event, self._event, self._event, self._event,
                             self._event, self._heartbeat, self._leave))()

    def finish(self):
        """Comes to the head, and leaves."""
        while not self.open or self.log_is_another or \
                self.at < self.world.oldest - 1:
            self._connect() if not self.open else self._gap_in_stream()
        while self._event():
            pass
        self._heartbeat(all_of_it=True)
        self.note("end", "cut")

    # -- a connection

    def _connect(self):
        self.note("connect", self.told)
        fate = self.rng.random()
        if fate < 0.1:
            self.note("status", 503)
        elif fate < 0.2:
            self.note("close", {"reason": "overload", "retry_ms": 300})
        elif fate < 0.25:
            pass
        else:
            self.open = True
            self._opened()
            return
        self.note("end", "clean")

    def _opened(self):
        """control.open, and control.gap where one is due."""
        w, asked = self.world, self.told
        if self.log_is_another and self.at is not None:
            self._opens_without("generation", asked, w.oldest - 1)
        elif asked is None:
            self._opens(w.head, None)
        elif asked == "earliest":
            self._opens(w.oldest - 1, None)
        elif asked == "junk":
            self._opens_without("invalid", asked, w.head)
        elif asked > w.head:
            self._opens_without("ahead", asked, w.oldest - 1)
        else:
            self._opens(asked, asked)
            if asked < w.oldest - 1:
                self._gap("expired", asked, w.oldest - 1,
                          w.oldest - 1 - asked)
        if self.open:
            self.log_is_another = False

    def _opens(self, position, resumed):
        self._control_open(position, resumed)
        self.told = self.at = position

    def _control_open(self, position, resumed):
        w = self.world
        self.note("open", position, {
            "generation": w.generation, "head": w.head, "oldest": w.oldest,
            "resumed_from": resumed})

    def _opens_without(self, code, asked, position):
        self._control_open(None, asked if code == "ahead" else None)
        if self.rng.random() < 0.2:     # cut before it was told
            self.open = False
            self.note("end", "cut")
            return
        self._gap(code, asked, position, 0 if code == "invalid" else position)

    def _gap(self, code, requested, position, lost):
        w = self.world
        self.note("gap", position, {
            "requested": requested, "oldest": w.oldest, "newest": w.head,
            "lost": lost, "code": code})
        self.told = self.at = position

    def _gap_in_stream(self):
        before = self.world.oldest - 1
        if self.log_is_another:
            self._gap("generation", self.at, before, before)
            self.log_is_another = False
        else:
            self._gap("expired", self.at, before, before - self.at)

    # -- what a stream gives

    def _next(self):
        return next((r for r in self.world.rows
                     if r.id > self.at and self._wants(r.channel)), None)

    def _wants(self, channel):
        wants = self.record.wants
        return wants is None or channel in wants or \
            wants == ["a*"] and channel[0] == "a"

    def _event(self):
        row = self._next()
        if row:
            self.note("event", row.id, row.key, row.hash)
            self.told = self.at = row.id
        return row

    def _heartbeat(self, all_of_it=False):
        row = self._next()
        last = row.id - 1 if row else self.world.head
        self.at = last if all_of_it else self.rng.randrange(self.at, last + 1)
        self.note("position", self.at)
        self.told = self.at

    def _leave(self):
        if self.rng.random() < 0.5:
            self.note("close", {"reason": "drain", "retry_ms": 250})
        self.note("end", self.rng.choice(("clean", "cut", "reset")))
        self.open = False
