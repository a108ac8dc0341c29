# SPDX-License-Identifier: MIT
"""What a user may do on pubd's socket who may publish and no more."""

import contextlib
import json
import pwd
import time

from harness import RUN_AS, status_rows, wait_until
from pub import Publisher, acting_as
from scenario import scenario
from scenarios.continuity import SMALL

RATE, BURST = 100, 200
REPORT = {"op": "report", "name": "worker-1-1", "role": "worker", "pid": 1,
          "version": "x", "started_ms": 1, "head": 0, "cursor": 0,
          "streams": 0, "counters": {}, "gauges": {}}
WATCH = {"op": "watch", "role": "worker"}


def counted(st):
    """{name: counters} of status.db."""
    return {name: json.loads(counters)
            for name, counters in status_rows(st, "name, counters")}


def flood(run, st, user):
    """He sends what he can; others publish as ever."""
    with acting_as(user):
        greedy = Publisher(st.pubd_sock)
    with greedy, st.publisher() as good:
        began = time.monotonic()
        greedy.send(*[{"channel": "flood", "data": n} for n in range(3000)])
        for n in range(20):
            run.check(good.call({"channel": "a", "data": n})["ok"],
                      "another publisher was refused")
        got = [greedy.recv(30) for _ in range(3000)]
        took = time.monotonic() - began
        stored = sum(a["ok"] for a in got)
        run.count("refused", len(got) - stored)
        run.check(stored <= BURST + RATE * (took + 1),
                  "%d events in %.1f s of a user who may publish %d a "
                  "second" % (stored, took, RATE))
        run.check(all(a["ok"] or a["error"] == "rate_limited"
                      and a["retry_ms"] > 0 for a in got),
                  "a refusal that says not when to come back")


def pretend(run, st, user):
    """He says that he is a worker."""
    with acting_as(user):
        pub = Publisher(st.pubd_sock)
    with pub:
        for line in (WATCH, dict(WATCH, role="metrics")):
            run.check(pub.call(line).get("error") == "forbidden",
                      "a publisher watches as a process of ours")
        run.check(pub.call({"op": "watch"})["ok"],
                  "a publisher may not listen")
        pub.send(dict(REPORT, name="worker-2-1",
                      counters={"events_sent": 7}), {"op": "reset_counters", "ref": "reset"})
        answer = pub.recv()
        if answer.get("ref") == "reset":
            run.check(False, "a publisher reports")
        else:
            answer = pub.recv()
        run.check(answer.get("error") == "forbidden",
                  "a publisher resets the counters")


def listen(run, st, user):
    """He has many connections that only listen."""
    with contextlib.ExitStack() as held:
        answers = []
        for _ in range(70):
            with acting_as(user):
                pub = held.enter_context(Publisher(st.pubd_sock))
            answers.append(pub.call({"op": "watch"}))
        run.check(sum(a["ok"] for a in answers) == 64
                  and answers[-1].get("error") == "busy",
                  "%d connections of one publisher listen" % sum(
                      a["ok"] for a in answers))
        with st.publisher() as pub:
            run.check(pub.call({"op": "watch"})["ok"], "and nobody else may")


def spoil(run, st):
    """A process of ours reports what cannot be."""
    with st.publisher() as pub:
        pub.call(WATCH)
        for name in ("events_sent", "bytes_sent", "delivery.sum"):
            # A report that is taken has no answer: the ping's comes first.
            pub.send(dict(REPORT, counters={name: 2 ** 53}),
                     {"op": "ping", "ref": name})
            refused = pub.recv().get("error") == "bad_request"
            run.check(refused, "2^53 of %s were believed" % name)
            if refused:
                pub.recv()
        run.check("worker-1-1" not in counted(st), "and were counted")


@scenario("publisher-pretends", tags="security publish", fronts=("lighttpd",),
          short=True, rounds=1)
def publisher_pretends(run):
    """A user who may publish floods the log, and says that he is a worker;
    a worker reports nonsense: each is refused, nobody else is."""
    if not RUN_AS:
        run.skip("only root can connect as other users")
    user = pwd.getpwnam("nobody")
    st = run.stack(config=dict(SMALL, publish_rate=RATE, publish_burst=BURST,
                               socket_mode="0666"), workers=0)
    for _ in run.each_round():
        flood(run, st, user)
        pretend(run, st, user)
        listen(run, st, user)
        wait_until(lambda: "totals" in counted(st), what="the table")
        run.check("worker-2-1" not in counted(st),
                  "what a publisher reported is counted")
        spoil(run, st)
