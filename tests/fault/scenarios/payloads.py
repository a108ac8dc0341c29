# SPDX-License-Identifier: MIT
"""Payloads of every kind: what a page is given, from the socket and from SQL,
live, out of the ring and out of the store, with and without envelopes."""

import contextlib
import json
import re
import sqlite3

from ledger import event
from scenario import scenario
from scenarios.continuity import (ALL, ENVELOPES, begin, read_to, resume,
                                  stream)

TEXTS = [
    "", " ", "\t", "x", " lead", "trail ", ":", ": comment", "data: x", "\\",
    '"', "\n", "\r", "\r\n", "\n\r", "\n\n", "\r\r", "\r\n\r\n", "a\nb",
    "a\rb", "a\r\nb", "\na", "\ra", "a\n", "a\r", "a\r\n", "a\n\rb", "a\r\rb",
    "id: 1\n\nevent: control.close\ndata: {}\n\n", "x\r\rid: 99999999\r\ry",
    "x\r\n\r\nevent: control.gap\r\nid: 99999999\r\n\r\n", "retry: 1\nx",
    "\0", "a\0b", "\0\0", "\0\r\n\0", "x\0\nid: 1\0\n", "\ufeff", "\ufeffx",
    "\u2028x\u2029", "\x85", "\x7f", "\x1b[31m", "\x0b\x0c", "\U0001f600",
    "\u00e9" * 20000, "x" * 65536, "\n" * 3000, "\r\n" * 4000, "\r" * 2999,
    "\0" * 20000, "ab\n" * 9000,
    "\n".join("x" * (250 + n) for n in range(12)),  # ends by any window
    "\r\n".join("x" * (250 + n) for n in range(12)),
]
JSON = [    # as it is written, as it arrives
    ("12345678901234567890", None), ("1e400", None), ("1.10", None),
    ("-0", None), ("0.1e-7", None), ("null", None), ("true", None),
    ("[]", None), ("{}", None), ('{"b":1,"a":2,"b":3}', None),
    (r'{"a":"\u0000\r\n\t\/"}', None), (r'["\ud83d\ude00","\""]', None),
    ("[ ]", "[]"), ('{ "b" : [ 1 ,\t2 ] , "a" : "x  y" }',
                    '{"b":[1,2],"a":"x  y"}'),
    ("[1, [2, [3 , {} ] ] ]", "[1,[2,[3,{}]]]"),
]
TYPES = [None, "message", "tick", "\u00fcber", " lead", "a:b", "id", "x" * 128]


def as_page(text):
    """What the HTML standard makes of the lines that a text becomes."""
    return "\n".join(re.split("\r\n|\r|\n", text.replace("\0", "\ufffd")))


def publish_payloads(run, st, ledger):
    """All texts and all JSON, on one pipelined connection."""
    lines = []
    for n, text in enumerate(TEXTS):
        line = event("t", text, TYPES[n % len(TYPES)])
        lines.append((json.dumps(line), line.get("event"), as_page(text),
                      text.replace("\0", "\ufffd")))
    for written, arrives in JSON:
        lines.append(('{"channel":"t","data":%s}' % written, None,
                      arrives or written, json.loads(written)))
    run.rng.shuffle(lines)
    with st.publisher() as p:
        for line, type, text, value in lines:
            p.send(line)
        for line, type, text, value in lines:
            answer = p.recv()
            run.check(answer["ok"], "%.300s is refused: %r" % (line, answer))
            ledger.note(answer["id"], "t", type, text, value)


def insert_payloads(st, ledger):
    """The same texts by SQL, where no pubd has replaced the NULs."""
    texts = [t for t in TEXTS if t not in ("", "\n")]
    with contextlib.closing(sqlite3.connect(st.db, timeout=10)) as db, db:
        for text in texts:
            id = db.execute("INSERT INTO events (channel, data) VALUES "
                            "('t', ?)", (text,)).lastrowid
            ledger.note(id, "t", None, as_page(text), text)


def burst_of_lines(ledger):
    """Data that grow sevenfold when they are encoded: of a batch that was
    read together more is encoded than the ring holds."""
    with ledger.st.publisher() as p:
        text = "\n" * 1500
        ids = p.call([event("t", text) for _ in range(60)])["ids"]
    for id in ids:
        ledger.note(id, "t", None, text, text)


@scenario("payloads", tags="resume", short=True, rounds=1)
def payloads(run):
    """Bytes of every kind arrive as they should, and none forges a field."""
    st, web, ledger = begin(run)
    for n in run.each_round():
        before = ledger.head
        with stream(web, ALL) as live, stream(web, ENVELOPES) as enveloped:
            publish_payloads(run, st, ledger)
            insert_payloads(st, ledger)
            for s in (live, enveloped):     # up to date for the burst
                read_to(s, ledger.head)
            burst_of_lines(ledger)
            publish_payloads(run, st, ledger)
            for s, wish in ((live, ALL), (enveloped, ENVELOPES)):
                read_to(s, ledger.head)
                ledger.prove(s, wish, upto=ledger.head)
        for wish in (ALL, ENVELOPES):
            resume(web, ledger, wish, before)
            resume(web, ledger, wish, ledger.head - 40)
        run.count("payloads", ledger.head - before)
