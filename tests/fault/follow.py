# SPDX-License-Identifier: MIT
"""One subscriber, followed over all its connections.

The events that it wants are a sorted list of ids (_Log.wanted of checker.py);
`next` is the first of them that it has not been given and was not told to be
lost.  Every step of the record must agree with that: an event is the next one,
a position passes nothing, a gap tells just what is gone.

After a violation it goes on as if that had been right, so that one fault is
told once.
"""

import bisect
import re

REPLACED = ("ahead", "generation")  # codes of a gap into another log
REASONS = frozenset(("drain", "max_age", "lagging", "overload", "auth_expired",
                     "revoked"))
ID_MAX = (1 << 63) - 1
AROUND = 5                          # steps of a context, before and behind


def wanted_by(wants, channel):
    """Whether who asked for `wants` is to be given an event of channel."""
    return wants is None or any(
        channel.startswith(w[:-1]) if w.endswith("*") else channel == w
        for w in wants)


def span(ids):
    """Some sorted ids in a few words."""
    if len(ids) == 1:
        return "id %d" % ids[0]
    if ids[-1] - ids[0] == len(ids) - 1:
        return "ids %d to %d (%d of them)" % (ids[0], ids[-1], len(ids))
    return "%d ids, %s%s" % (len(ids), ", ".join(map(str, ids[:5])),
                             " ... %d" % ids[-1] if len(ids) > 5 else "")


def id_of(sent):
    """The id that a client sent, or None: nothing, or no id."""
    text = str(sent)
    if not re.fullmatch("[0-9]{1,19}", text) or int(text) > ID_MAX:
        return None
    return int(text)


def whole(*numbers):
    return all(isinstance(n, int) and not isinstance(n, bool)
               for n in numbers)


class Follower:
    """case    checker._Case: the logs, and what is allowed
    found   [(step, kind, message)] when follow() has returned
    gaps    how many were told, lost: ids that they said are gone
    """

    def __init__(self, case, sub):
        self.case, self.wants, self.steps = case, sub.wants, sub.steps
        self.found = []
        self.gaps = self.lost = 0
        self.n = 0              # the step that is looked at
        self.begun = False      # it has a place in some log
        self.told = None        # the last id: what a reconnect sends
        self._disconnected(None)
        self._enter(case.logs[-1])

    def _disconnected(self, asked):
        """Nothing is known of the next connection, but what it will ask."""
        self.asked = asked
        self.opened = self.closed = False
        self.gap_due = None     # why a control.gap must come now
        self._no_bounds()

    def _no_bounds(self):
        self.oldest = self.newest = 0       # as the stream said last

    def _enter(self, log):
        """Another log: it has no place there yet."""
        self.log = log
        self.wanted = log.wanted(self.wants)
        self.next = 0
        self.high = None        # the greatest id that it was given
        self.missed = {}        # id: the step at which it was passed over
        self.passed = set()     # ids for which that was told already
        self.entered = self.n
        self._seen = None
        self._no_bounds()

    def violate(self, kind, message, n=None):
        self.found.append((self.n if n is None else n, kind, message))

    def follow(self):
        while self.n < len(self.steps):
            self.n = self._undisturbed(self.n)
            if self.n < len(self.steps):
                kind, _, *rest = self.steps[self.n]
                self.TAKE[kind](self, *rest)
                self.n += 1
        self._tell_missed()
        self._judge_end()

    def _undisturbed(self, n):
        """Passes over events that are the very next ones: nearly all are.
        Returns the first step that is anything else."""
        if not self.opened or self.closed or self.gap_due:
            return n
        steps, wanted, rows = self.steps, self.wanted, self.log.rows
        i, end, last = self.next, len(wanted), len(steps)
        while n < last and i < end:
            step = steps[n]
            if step[0] != "event" or step[2] != wanted[i]:
                break
            row = rows.get(step[2])
            if row is None or row[3] != step[4] or row[2] != step[3]:
                break
            i += 1
            n += 1
        if i > self.next:
            self.next = i
            self.high = self.told = wanted[i - 1]
        return n

    def around(self, n):
        """The steps around one, for people."""
        lines = []
        for m in range(max(n - AROUND, 0),
                       min(n + AROUND + 1, len(self.steps))):
            kind, at, *rest = self.steps[m]
            lines.append("%s#%d %+.3f %s %s" % (
                "> " if m == n else "  ", m, at - self.case.start, kind,
                " ".join(map(str, rest))))
        return "\n".join(lines)

    # -- events

    def _event(self, id, key, digest):
        self._expect_stream("an event")
        self.told = id
        if not self._belongs(id):
            return
        self._judge_content(id, key, digest)
        if id in self.missed:
            self.violate("out_of_order", "id %d came behind %d" % (
                id, self.high))
            del self.missed[id]
        elif id in self.passed:
            self.passed.remove(id)      # was told already
        elif self.high is not None and id <= self.high:
            self._late(id)
        else:
            self._pass(id - 1, self._miss)
            self.next += 1
            self.high = id

    def _belongs(self, id):
        row = self.log.rows.get(id)
        if row is None:
            self.violate("foreign", "id %d is not in the log" % id)
        elif not wanted_by(self.wants, row.channel):
            self.violate("foreign", "id %d is of channel %r, asked for was %s"
                         % (id, row.channel, self.wants))
        else:
            return True
        return False

    def _judge_content(self, id, key, digest):
        row = self.log.rows[id]
        if row.hash != digest or row.key not in (None, key):
            self.violate("corrupt", "id %d is key %r, hash %s, and came as "
                         "key %r, hash %s" % (id, row.key, row.hash, key,
                                              digest))

    def _late(self, id):
        """An id that is behind: was it here before?"""
        if self._seen is None:
            self._seen = {}
            for n in range(self.entered, len(self.steps)):
                if self.steps[n][0] == "event":
                    self._seen.setdefault(self.steps[n][2], n)
        if self._seen[id] < self.n:
            self.violate("duplicate_delivery", "id %d came before, as step #%d"
                         % (id, self._seen[id]))
        else:
            self.violate("out_of_order", "id %d came when the stream was at %d"
                         % (id, self.high))

    def _pass(self, upto, tell=None):
        """All that is wanted up to an id is behind now; tell() is given what
        was not delivered of it."""
        i = bisect.bisect_right(self.wanted, upto, self.next)
        if i > self.next:
            if tell:
                tell(self.wanted[self.next:i])
            self.next = i

    def _miss(self, ids):
        """It may still come, in the wrong place; else see _tell_missed."""
        self.missed.update(dict.fromkeys(ids, self.n))

    def _tell_missed(self):
        steps = {}
        for id, n in self.missed.items():
            steps.setdefault(n, []).append(id)
        for n, ids in steps.items():
            self.violate("missing", "%s passed over in silence" % span(ids), n)
        self.missed = {}

    def _expect_stream(self, what):
        """Anything but control.open comes behind it."""
        if not self.opened:
            self.violate("no_open", "%s came before control.open" % what)
            self.opened = True
        if self.closed:
            self.violate("bad_close", "%s came behind control.close" % what)
            self.closed = False
        if self.gap_due and what != "control.gap":
            self.violate("missing", "%s came, and no control.gap: %s" % (
                what, self.gap_due))
            self.gap_due = None

    # -- places

    def _position(self, id):
        self._expect_stream("a position")
        self._go_to(id, "position")
        self.told = id

    def _go_to(self, id, what):
        """All that is wanted up to an id was delivered, says the stream."""
        if self.high is not None and id < self.high:
            self.violate("position_back", "%s %d, when the stream was at %d" %
                         (what, id, self.high))
            return
        if self.log.head is not None and id > self.log.head:
            self.violate("position_beyond", "%s %d, but the head of the log "
                         "is %d" % (what, id, self.log.head))

        def beyond(ids):
            self.violate("position_beyond", "%s %d passes %s" % (
                what, id, span(ids)))
            self.passed.update(ids)
        self._pass(id, beyond)
        self.high = id

    def _begin(self, id):
        """The first place in this log."""
        self.begun = True
        self.high = self.told = id
        self.next = bisect.bisect_right(self.wanted, id)
        if self.log.head is not None and id > self.log.head:
            self.violate("position_beyond", "the stream begins behind %d, but "
                         "the head of the log is %d" % (id, self.log.head))

    def _move(self, log):
        """The stream is of another log from here on."""
        if log is not self.log:
            self._tell_missed()
            self._enter(log)

    def _bounds(self, kind, data):
        """Are the ends of the log, as a control event has them, true?"""
        oldest, log = data.get("oldest"), self.log
        newest = data.get("newest" if kind == "false_gap" else "head")
        wrong = None
        if not whole(oldest, newest):
            wrong = "a number is missing"
        elif not 1 <= oldest <= newest + 1:
            wrong = "no log is from %d to %d" % (oldest, newest)
        elif log.head is not None and newest > log.head:
            wrong = "the log never was past %d" % log.head
        elif log.oldest is not None and oldest > log.oldest:
            wrong = "all is there from %d on" % log.oldest
        elif oldest < self.oldest or newest < self.newest:
            wrong = "the stream said oldest %d, head %d before" % (
                self.oldest, self.newest)
        if wrong:
            self.violate(kind, "%s: %s" % (wrong, data))
        else:
            self.oldest, self.newest = oldest, newest
        return not wrong

    # -- the life of a connection

    def _connect(self, last):
        self._disconnected(last)
        if self.begun and str(last) != str(self.told):
            self.violate("bad_history", "the client sent %r, and had %r" % (
                last, self.told))

    def _open(self, position, data):
        if self.opened:
            self.violate("no_open", "control.open came twice")
        self.opened = True
        before = self.log
        self._move(self.case.log_after(self.log, self.steps, self.n))
        self._judge_generation(data, before)
        if not self._bounds("false_open", data):
            return
        asked = id_of(self.asked)
        if not self._resumes(asked, position, data.get("resumed_from")):
            self.violate("resumed_wrong", "asked for %r, it was told position "
                         "%r: %s" % (self.asked, position, data))
        if position is None:
            self.gap_due = "control.open has no id"
            return
        if position < self.oldest - 1:
            self.gap_due = "the oldest is %d" % self.oldest
        if self.high is None:
            self._begin(position)
        self.told = position

    def _judge_generation(self, data, before):
        logs = self.case.logs
        if data.get("generation") != self.log.generation:
            self.violate("false_open", "generation %r, known are %s" % (
                data.get("generation"), self.case.generations))
        elif self.begun and logs.index(self.log) < logs.index(before):
            self.violate("false_open", "generation %r was replaced by %r" % (
                self.log.generation, before.generation))

    def _resumes(self, asked, position, resumed):
        """Does control.open say what follows from what was asked?"""
        if self.asked in (None, ""):        # live, or last=
            return resumed is None and position is not None and \
                position <= self.newest
        if self.asked == "earliest":
            return resumed is None and position == self.oldest - 1
        if position is None:                # ahead, generation, invalid
            return resumed is None or resumed == asked
        if asked == 0 and resumed is None and not self.begun:
            return position == self.oldest - 1      # asked for in the query
        return position == resumed == asked

    def _close(self, data):
        if self.closed:
            self.violate("bad_close", "control.close came twice")
        self.closed = True
        retry = data.get("retry_ms")
        if data.get("reason") not in REASONS or not whole(retry) or retry < 0:
            self.violate("bad_close", "%s" % data)

    def _end(self, how):
        self._disconnected(None)

    def _status(self, code):
        if code not in self.case.statuses:
            self.violate("bad_status", "the answer was %d" % code)

    def _judge_end(self):
        last = len(self.steps) - 1
        if not self.begun:
            self.violate("short", "it was never let in", last)
        elif self.log is not self.case.logs[-1]:
            self.violate("short", "it never came to the log of generation %s"
                         % self.case.generations[-1], last)
        else:
            self._pass(self.case.until, lambda ids: self.violate(
                "short", "%s never came; it ended at %d" % (
                    span(ids), self.high), last))

    # -- gaps

    def _gap(self, position, data):
        self._expect_stream("control.gap")
        due, self.gap_due = self.gap_due, None
        self.gaps += 1
        was_at = self.high
        if not due and whole(data.get("requested")):
            self._pass(data["requested"], self._miss)
        self._move(self.case.log_after(self.log, self.steps, self.n))
        take = self.GAPS.get(data.get("code"))
        if take is None or not whole(position, data.get("lost")):
            self.violate("false_gap", "position %r, %s" % (position, data))
        elif self._bounds("false_gap", data):
            self.lost += data["lost"]
            take(self, position, data, due, was_at)
        if position is not None:
            self.told = position

    def _says(self, position, data, due_position, **due):
        """Does a gap say what it should?"""
        wrong = ["%s %s" % x for x in due.items() if data.get(x[0]) != x[1]]
        if position != due_position:
            wrong.append("id %d" % due_position)
        if wrong:
            self.violate("false_gap", "it should say %s: id %d, %s" % (
                ", ".join(wrong), position, data))
        return not wrong

    def _expired(self, position, data, due, was_at):
        """Retention has passed: what is behind `requested` is gone."""
        before, requested = self.oldest - 1, data.get("requested")
        asked = id_of(self.asked) if due else requested
        if not whole(asked):
            self.violate("false_gap", "nothing was asked for: %s" % data)
            asked = before
        if not due:
            self._judge_cursor(asked, was_at, data)
        if self._says(position, data, before, requested=asked,
                      lost=before - asked) and before <= asked:
            self.violate("false_gap", "nothing is lost: %s" % data)
        if not self.case.allow_gaps:
            self.violate("unexpected_gap", "%s" % data)
        self._pass(before)
        self._go_to(position, "control.gap to")

    def _judge_cursor(self, asked, was_at, data):
        """In the middle of a stream its cursor stands for what was asked: at
        what it gave last, or past that at something that is not wanted."""
        if was_at is not None and (not whole(asked) or asked < was_at or
                                   self.wants is None and asked != was_at):
            self.violate("false_gap", "the stream was at %d: %s" % (
                was_at, data))

    def _invalid(self, position, data, due, was_at):
        """What was sent is no id: it goes on live."""
        self._says(position, data, self.newest, lost=0, requested=self.asked)
        if not due or id_of(self.asked) is not None:
            self.violate("false_gap", "it asked for %r: %s" % (
                self.asked, data))
        if self.high is None:
            self._begin(position)
        else:
            self._go_to(position, "control.gap to")

    def _replaced(self, position, data, due, was_at):
        """It goes on with the oldest event of another log."""
        before, requested = self.oldest - 1, data.get("requested")
        if due:
            asked = id_of(self.asked)
            requested = self.asked if asked is None else asked
        else:
            self._judge_cursor(requested, was_at, data)
        self._says(position, data, before, lost=before, requested=requested)
        if data["code"] == "ahead" and not (
                whole(requested) and requested > self.newest):
            self.violate("false_gap", "the log has reached %r: %s" % (
                requested, data))
        if self.high is None:
            self._begin(position)
            return
        # Its place was given to it by this very log.
        self.violate("false_gap", "no other log than %s: %s" % (
            self.log.generation, data))
        self._go_to(position, "control.gap to")

    GAPS = {"expired": _expired, "invalid": _invalid, "ahead": _replaced,
            "generation": _replaced}
    TAKE = {"connect": _connect, "open": _open, "event": _event, "gap": _gap,
            "position": _position, "close": _close, "end": _end,
            "status": _status}
