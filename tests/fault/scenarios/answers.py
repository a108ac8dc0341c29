# SPDX-License-Identifier: MIT
"""What pubd answers, and what the log then holds: known to the last byte, and
the same whatever waits, is refused or is not read."""

import contextlib
import json
import select
import socket
import sqlite3
import threading
import time

from ledger import Ledger, event
from loadlib import rows
from scenario import scenario
from scenarios.continuity import SMALL

BAD_EVENTS = [
    ({"channel": "a b", "data": 1}, "bad_channel"),
    ({"channel": "", "data": 1}, "bad_channel"),
    ({"channel": "system.x", "data": 1}, "forbidden"),
    ({"channel": "a", "event": "control.open", "data": 1}, "bad_event"),
    ({"channel": "a", "event": "x\ny", "data": 1}, "bad_event"),
    ({"channel": "a"}, "bad_request"),
    ({"data": 1}, "bad_request"),
    ({"channel": "a", "data": 1, "key": ""}, "bad_request"),
    ({"channel": "a", "data": "x" * 65537}, "too_large"),
]
BAD_LINES = [("{", "bad_json"), ("[1", "bad_json"), ("7", "bad_request"),
             ("[]", "bad_request"), ("[7]", "bad_request"),
             ('{"op":"nonsense"}', "bad_request"), ("\x01", "bad_json"),
             ("", "bad_json"), (" \r", "bad_json")]


class Model:
    """pubd with one publisher: what it must answer, and what it must hold."""

    def __init__(self, rng, head=0):
        self.rng, self.head = rng, head
        self.rows = []              # (id, channel, key, data)
        self.keys = {}              # (channel, key): id

    def request(self):
        """(line, what the answer must say)."""
        kind = self.rng.choice([self.one, self.one, self.one, self.array,
                                self.array, self.bad_one, self.bad_array,
                                self.bad_line, self.ping])
        return kind()

    def event(self):
        e = {"channel": self.rng.choice("abc"), "data": self.rng.random()}
        if self.rng.random() < 0.6:     # few keys: most are duplicates
            e["key"] = "k%d" % self.rng.randrange(40)
        return e

    def store(self, e):
        """(id, is it a duplicate?)"""
        name = e["channel"], e.get("key")
        if name in self.keys:
            return self.keys[name], True
        self.head += 1
        self.rows.append((self.head, *name, json.dumps(e["data"])))
        if "key" in e:
            self.keys[name] = self.head
        return self.head, False

    def with_ref(self, e, want):
        if self.rng.random() < 0.5:
            want["ref"] = e["ref"] = self.rng.choice(
                ["r%d" % self.head, self.head, -1.5, "\u00e9\n", ""])
        return json.dumps(e), want

    def one(self):
        e = self.event()
        id, duplicate = self.store(e)
        want = {"ok": True, "id": id}
        if duplicate:
            want["duplicate"] = True
        return self.with_ref(e, want)

    def array(self):
        events = [self.event() for _ in range(self.rng.randrange(1, 9))]
        stored = [self.store(e) for e in events]
        want = {"ok": True, "ids": [id for id, _ in stored]}
        again = [i for i, (_, duplicate) in enumerate(stored) if duplicate]
        if again:
            want["duplicates"] = again
        return json.dumps(events), want

    def bad_one(self):
        e, error = self.rng.choice(BAD_EVENTS)
        return self.with_ref(dict(e), {"ok": False, "error": error})

    def bad_array(self):
        """All or none: those before the bad one are not stored either."""
        events = [self.event() for _ in range(self.rng.randrange(1, 9))]
        bad, error = self.rng.choice(BAD_EVENTS)
        at = self.rng.randrange(len(events) + 1)
        events.insert(at, bad)
        return json.dumps(events), {"ok": False, "error": error, "index": at}

    def bad_line(self):
        line, error = self.rng.choice(BAD_LINES)
        want = {"ok": False, "error": error}
        if line == "[7]":
            want["index"] = 0
        return line, want

    def ping(self):
        return '{"op":"ping"}', {"ok": True, "head": self.head, "oldest": 1}


def same_answer(got, want, final_head):
    """As it must be; a ping is answered after the commit of its batch, so its
    head may be a newer one."""
    if "head" in want:
        return got.get("ok") and want["head"] <= got["head"] <= final_head
    got.pop("message", None)
    return got == want


def judge_rows(run, st, model):
    """The log holds what was answered, and nothing else."""
    log = rows(st, "SELECT id, channel, key, data FROM events ORDER BY id")
    for got, want in zip(log, model.rows):
        if got != want:
            run.check(False, "the log has %r, not %r" % (got, want))
            return
    run.check(len(log) == len(model.rows), "the log has %d events, not %d: "
              "%r" % (len(log), len(model.rows), log[len(model.rows):][:3]))


def burst(run, st, model, n=500):
    """So many requests at once, then so many answers."""
    requests = [model.request() for _ in range(n)]
    with st.publisher() as p:
        p.send(*[line for line, _ in requests])
        for i, (line, want) in enumerate(requests):
            got = p.recv()
            if not same_answer(dict(got), want, model.head):
                run.check(False, "answer %d, of %.300s: %r, not %r" % (
                    i, line, got, want))
                return
    run.count("answers", n)
    judge_rows(run, st, model)


@scenario("publish-answers", tags="publish", fronts=("lighttpd",), short=True,
          rounds=4)
def publish_answers(run):
    """Pipelined keys, arrays, errors, pings: answers are in order and true."""
    st = run.stack(config=SMALL, workers=0)
    model = Model(run.rng)
    for n in run.each_round():
        burst(run, st, model)
        if n % 2:
            st.kill_pubd()
            st.start_pubd()


@contextlib.contextmanager
def locked(st):
    """Another program has the log locked."""
    db = sqlite3.connect(st.db, timeout=10, isolation_level=None)
    with contextlib.closing(db):
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")


def answers_while_locked(st, requests, hold_s):
    """Sends, has the log locked for so long, and gives the answers."""
    with st.publisher() as p:
        with locked(st):
            p.send(*[line for line, _ in requests])
            time.sleep(hold_s)      # it is the time that is under test
        return [p.recv() for _ in requests]


@scenario("publish-locked", tags="publish storage", fronts=("lighttpd",),
          short=True, rounds=2)
def publish_locked(run):
    """A lock that passes delays; one that stays is `busy`, nothing stored."""
    timeout_s = 1.5
    st = run.stack(config=dict(SMALL, lock_timeout_ms=int(timeout_s * 1000)),
                   workers=0)
    model = Model(run.rng)
    for n in run.each_round():
        burst(run, st, model, 50)
        requests = [model.one() for _ in range(20)]
        for got, (line, want) in zip(
                answers_while_locked(st, requests, 0.1), requests):
            run.check(got == want, "after a short lock %s has %r, not %r" % (
                line, got, want))
        refused = [(json.dumps(event("c", "while locked")), None)] * 20
        for got in answers_while_locked(st, refused, timeout_s + 0.7):
            run.check(not got["ok"] and got["error"] == "busy",
                      "while the log is locked the answer is %r" % got)
            run.count("refused")
        burst(run, st, model, 50)       # which judges the rows, too


class Deaf(threading.Thread):
    """A publisher that sends on and on, and reads no answer until the end of
    the `with`.  Each of its lines has an error for an answer, and nothing to
    commit."""

    LINE = b"[]\n"

    def __init__(self, st, lines):
        super().__init__(daemon=True)
        self.sock = st.publisher().sock
        self.sock.settimeout(0.5)       # without room for so long: it stands
        self.left = self.LINE * lines
        self.stands = threading.Event()

    def run(self):
        with contextlib.suppress(TimeoutError):
            while self.left:
                self.left = self.left[self.sock.send(self.left[:65536]):]
        self.stands.set()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.join(30)

    def hears(self):
        """Sends what is left, reads all answers, and gives their number."""
        answers, last = 0, b""
        while True:
            can = select.select([self.sock], [self.sock] if self.left else [],
                                [], 10)
            if not any(can):
                return answers
            if can[1]:
                self.left = self.left[self.sock.send(self.left[:4096]):]
                if not self.left:
                    self.sock.shutdown(socket.SHUT_WR)
            if can[0]:
                last = self.sock.recv(1 << 18)
                answers += last.count(b"\n")
            if can[0] and not last:
                return answers


@scenario("answers-unread", tags="publish slow", fronts=("lighttpd",),
          short=True, rounds=1)
def answers_unread(run):
    """Answers wait for who reads none, at no cost to others, and all come."""
    st = run.stack(config=SMALL, workers=0)
    ledger = Ledger(run, st)
    for n in run.each_round():
        before = st.pubd.rss_kib()
        with Deaf(st, 300000) as deaf:
            while not deaf.stands.is_set():
                try:
                    ledger.publish([event("c", "x")])
                except OSError as e:
                    run.check(False, "another publisher is not answered: %s"
                              % e)
                    return
        grown = st.pubd.rss_kib() - before
        run.note(rss_grown_kib=grown)
        run.check(grown < 8 * 1024, "pubd has grown by %d KiB for answers "
                  "that nobody reads" % grown)
        answers = deaf.hears()
        run.check(answers == 300000, "300000 lines have %d answers" % answers)
        run.count("answers", answers)
