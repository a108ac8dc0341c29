# SPDX-License-Identifier: MIT
"""Judges a history (history.py) by what the protocol promises, and by nothing
else: it imports no code of the programs and does not ask them.

    verdict = judge(history, allow_gaps=True)
    verdict.ok, verdict.violations[0].message

The log and the acks are judged here, each subscriber in follow.py.  What an id
stands for is known from the log, from the acks where retention has passed, and,
of events that were never acked and are gone, from what subscribers were given.

A log that was replaced during the traffic is another one with ids of its own:
history.generations has one entry for each.  Of those before the last nothing
can be read any more; there the order, the density and the contents of what was
delivered are judged.
"""

import collections
import math
import typing

from follow import REPLACED, Follower, span, wanted_by
from history import LogRow

# What a web server answers while nobody is behind it.  Walcast itself has no
# status but 200 for a request that is right.
UNAVAILABLE = frozenset((500, 502, 503, 504))
MOST = 20       # violations that are kept, of a kind and of a subscriber

KINDS = {
    "lost_ack": "acked, and not in the log",
    "ack_mismatch": "the acked id has another event in the log",
    "ack_order": "acked before another was sent, and has the greater id",
    "doubled_in_log": "one key has two ids",
    "id_reused": "one id stands for two events",
    "ids_not_dense": "an id between the oldest and the head is not there",
    "duplicate_delivery": "an event came twice",
    "out_of_order": "an event came behind one with a greater id",
    "missing": "an event was passed over in silence",
    "corrupt": "the content is not what was published",
    "foreign": "an event that is not in the log or was not asked for",
    "false_gap": "control.gap with untrue numbers, or without a loss",
    "unexpected_gap": "a true control.gap where nothing may be lost",
    "position_beyond": "an id passes an event that was not delivered",
    "position_back": "an id before one that was given already",
    "resumed_wrong": "the stream does not go on where the client asked",
    "false_open": "control.open with untrue numbers",
    "no_open": "a stream that does not begin with one control.open",
    "bad_close": "control.close that is malformed, or not the last",
    "bad_status": "a status that ends an EventSource for good",
    "short": "a subscriber never came to the head",
    "bad_history": "the record contradicts itself: a fault of the harness",
}


class Violation(typing.NamedTuple):
    kind: str
    message: str
    context: str = ""       # the record around it, a line each


class Verdict:
    """violations  of the log, of acks, of subscribers; the first say most
    kinds       {kind: how many there were, also those that are not kept}
    acked       events; deliveries: events that came to subscribers
    gaps, lost  control.gap that were told; ids that they said are lost
    latency     ms: from sending to delivery p50 p90 p99 max, and to the ack
                ack_p50 ack_p90 ack_p99 ack_max
    """

    def __init__(self):
        self.violations = []
        self.kinds = collections.Counter()
        self.acked = self.deliveries = self.gaps = self.lost = 0
        self.latency = {}

    @property
    def ok(self):
        return not self.kinds


def judge(history, log=None, *, allow_gaps=False, retained_from=None,
          statuses=UNAVAILABLE):
    """The whole judgement.

    log            rows; else history.log; None of both: not known
    allow_gaps     retention may pass what subscribers have not had
    retained_from  the oldest id that the log must have; else the history's
    statuses       other than 200 that a web server may give
    """
    return _Case(history, history.log if log is None else log, allow_gaps,
                 retained_from, statuses).judged()


def percentiles(seconds, prefix=""):
    """{p50, p90, p99, max} in ms."""
    values = sorted(seconds)
    if not values:
        return {}
    out = {"%sp%d" % (prefix, p): round(
        values[min(len(values) * p // 100, len(values) - 1)] * 1000, 3)
        for p in (50, 90, 99)}
    out[prefix + "max"] = round(values[-1] * 1000, 3)
    return out


class _Log:
    """One log, as far as it is known."""

    def __init__(self, generation, rows=(), oldest=None, head=None):
        self.generation = generation
        self.rows = {row.id: row for row in rows}
        self.oldest, self.head = oldest, head   # None: not known
        self._wanted = {}

    def wanted(self, wants):
        """The ids of the events for such a subscriber, sorted."""
        at = None if wants is None else tuple(wants)
        if at not in self._wanted:
            self._wanted[at] = self._select(wants)
        return self._wanted[at]

    def _select(self, wants):
        if wants is None:       # ids are dense
            last = max(self.rows, default=0) if self.head is None \
                else self.head
            return range(1, last + 1)
        channels = {row.channel for row in self.rows.values()}
        taken = {c for c in channels if wanted_by(wants, c)}
        return sorted(id for id, row in self.rows.items()
                      if row.channel in taken)


class _Case:
    """What all that are judged have in common, and the log and the acks."""

    def __init__(self, history, log, allow_gaps, retained_from, statuses):
        self.history, self.rows = history, log
        self.allow_gaps, self.statuses = allow_gaps, statuses
        self.verdict = Verdict()
        self.start = self._started()
        self.oldest = history.oldest_retained if retained_from is None \
            else retained_from
        self.published = {a.key: (a.channel, a.hash) for a in history.acks}
        self.published.update(history.unknown)
        self.generations = history.generations or self._seen_generations()
        # An ack is known to be of the last log when the event was sent after
        # somebody had seen that log.
        since = self._first_seen(self.generations[-1]) \
            if len(self.generations) > 1 else -math.inf
        self.acks = [a for a in history.acks if a.sent_at >= since]
        self.until = max((a.id for a in self.acks), default=history.head or 0)
        self.logs = [_Log(g) for g in self.generations[:-1]]
        self.logs.append(self._last_log())

    def judged(self):
        if self.rows is not None:
            self._judge_rows()
            self._judge_unanswered()
        self._judge_acks()
        self._judge_order()
        self._learn()
        for sub in self.history.subs:
            self._judge_subscriber(sub)
        self._measure()
        return self.verdict

    def violate(self, kind, message, context=""):
        assert kind in KINDS, kind
        self.verdict.kinds[kind] += 1
        if self.verdict.kinds[kind] <= MOST:
            self.verdict.violations.append(Violation(kind, message, context))

    def _judge_subscriber(self, sub):
        follower = Follower(self, sub)
        follower.follow()
        v = self.verdict
        v.deliveries += sum(step[0] == "event" for step in sub.steps)
        v.gaps += follower.gaps
        v.lost += follower.lost
        v.kinds.update(kind for _, kind, _ in follower.found)
        v.violations += [
            Violation(kind, "subscriber %s: %s" % (sub.name, message),
                      follower.around(n))
            for n, kind, message in sorted(follower.found)[:MOST]]

    def _measure(self):
        acks = self.history.acks
        self.verdict.acked = len({a.key for a in acks})
        sent = {a.key: a.sent_at for a in acks if not a.duplicate}
        self.verdict.latency = percentiles(
            step[1] - sent[step[3]] for sub in self.history.subs
            for step in sub.steps if step[0] == "event" and step[3] in sent)
        self.verdict.latency.update(percentiles(
            (a.acked_at - a.sent_at for a in acks), "ack_"))

    # -- what is known

    def _started(self):
        times = [sub.steps[0][1] for sub in self.history.subs if sub.steps]
        times += [a.sent_at for a in self.history.acks[:1]]
        return min(times, default=0)

    def _opens(self):
        return (step for sub in self.history.subs for step in sub.steps
                if step[0] == "open")

    def _seen_generations(self):
        first = min(self._opens(), key=lambda step: step[1], default=None)
        return [first[3].get("generation") if first else None]

    def _first_seen(self, generation):
        return min((step[1] for step in self._opens()
                    if step[3].get("generation") == generation),
                   default=math.inf)

    def _last_log(self):
        """Its rows, and from the acks those that retention has passed."""
        log = _Log(self.generations[-1])
        if self.rows is not None:
            log = _Log(self.generations[-1], self.rows, self.oldest,
                       self.history.head)
        for a in self.acks:
            if self.rows is None or a.id < self.oldest:
                log.rows.setdefault(a.id, LogRow(a.id, a.channel, a.key,
                                                 a.hash))
        return log

    def _learn(self):
        """Events that can be read nowhere any more: they were sent, and came
        to a subscriber under an id and with a key that nothing else has."""
        last = self.logs[-1]
        taken = {log: set() for log in self.logs}
        taken[last].update(a.key for a in self.acks)
        for sub in self.history.subs:
            for (_, _, id, key, _), log in self._unknown_events(sub):
                gone = log is not last or self.rows is None or id < self.oldest
                if gone and id not in log.rows and key in self.published \
                        and key not in taken[log]:
                    taken[log].add(key)
                    log.rows[id] = LogRow(id, self.published[key][0], key,
                                          self.published[key][1])

    def _unknown_events(self, sub):
        """(event step, its log) of those whose row is not known."""
        log = self.logs[-1]
        for n, step in enumerate(sub.steps):
            if step[0] == "event":
                if step[2] not in log.rows:
                    yield step, log
            elif len(self.logs) > 1 and step[0] in ("open", "gap"):
                log = self.log_after(log, sub.steps, n)

    def log_after(self, log, steps, n):
        """The log that a stream is of behind an open or a gap."""
        kind, data = steps[n][0], steps[n][3]
        if kind == "open":      # it names its log
            return next((other for other in self.logs
                         if other.generation == data.get("generation")), log)
        opening = steps[n - 1][0] == "open" and steps[n - 1][2] is None
        if data.get("code") in REPLACED and not opening:
            n = self.logs.index(log) + 1
            return self.logs[min(n, len(self.logs) - 1)]
        return log

    # -- the log

    def _judge_rows(self):
        """From the oldest to the head each id once, each key once."""
        before, keys = self.oldest - 1, {}
        for row in self.rows:
            if row.id <= before:
                self.violate("id_reused", "the log has id %d behind %d" % (
                    row.id, before), self._around_row(row.id))
            elif row.id != before + 1:
                self.violate("ids_not_dense", "not in the log: %s" % span(
                    range(before + 1, row.id)), self._around_row(row.id))
            before = max(before, row.id)
            first = keys.setdefault((row.channel, row.key), row.id)
            if row.key is not None and first != row.id:
                self.violate("doubled_in_log", "key %r is in the log as %d "
                             "and as %d" % (row.key, first, row.id),
                             self._around_row(row.id))
        if before != self.history.head:
            self.violate("ids_not_dense", "the log ends at %d, its head is %d"
                         % (before, self.history.head))

    def _judge_unanswered(self):
        """What had no answer may be in the log, but only as it was sent."""
        for row in self.rows:
            sent = self.history.unknown.get(row.key)
            if sent and tuple(sent) != (row.channel, row.hash):
                self.violate("corrupt", "%r was sent as %s, and is in the log "
                             "as %s" % (row.key, sent, tuple(row)),
                             self._around_row(row.id))

    def _around_row(self, id):
        rows = self.logs[-1].rows
        return "\n".join("%slog %s" % ("> " if n == id else "  ",
                                       tuple(rows[n]) if n in rows else n)
                         for n in range(id - 3, id + 3))

    # -- acks

    def _judge_acks(self):
        by_id, by_key = {}, {}
        rows = self.logs[-1].rows
        for n, a in enumerate(self.acks):
            other = by_id.setdefault(a.id, a)
            if other.key != a.key:
                self.violate("id_reused", "id %d was acked for %r and for %r"
                             % (a.id, other.key, a.key), self._around_ack(n))
            first = by_key.setdefault((a.channel, a.key), a.id)
            if first != a.id and (self.oldest is None or
                                  min(first, a.id) >= self.oldest):
                self.violate("doubled_in_log", "%r was acked as %d and as %d"
                             % (a.key, first, a.id), self._around_ack(n))
            if self.rows is not None and a.id >= self.oldest:
                self._judge_ack(n, a, rows.get(a.id))

    def _judge_ack(self, n, a, row):
        what = "%r of publisher %s was acked as id %d" % (a.key, a.publisher,
                                                          a.id)
        if row is None:
            self.violate("lost_ack", "%s, which is not in the log (%d to %d)"
                         % (what, self.oldest, self.history.head),
                         self._around_ack(n))
        elif (row.channel, row.key, row.hash) != (a.channel, a.key, a.hash):
            self.violate("ack_mismatch", "%s, which in the log is %s" % (
                what, tuple(row)), self._around_ack(n))

    def _judge_order(self):
        """Who was acked before another was sent has the smaller id."""
        acks = [a for a in self.acks if not a.duplicate]
        acked = sorted(acks, key=lambda a: a.acked_at)
        newest, n = None, 0
        for a in sorted(acks, key=lambda a: a.sent_at):
            while acked[n].acked_at < a.sent_at:
                if newest is None or acked[n].id > newest.id:
                    newest = acked[n]
                n += 1
            if newest and newest.id > a.id:
                self.violate("ack_order", "%r was acked as id %d before %r was "
                             "sent, which got id %d" % (
                                 newest.key, newest.id, a.key, a.id),
                             self._around_ack(self.acks.index(a)))
                return          # the others follow from it

    def _around_ack(self, n):
        first = max(n - 3, 0)
        return "\n".join(
            "%s%+.3f ack %s id %d of publisher %s, sent %+.3f%s" % (
                "> " if m == n else "  ", a.acked_at - self.start, a.key, a.id,
                a.publisher, a.sent_at - self.start,
                ", a duplicate" if a.duplicate else "")
            for m, a in enumerate(self.acks[first:n + 4], first))
