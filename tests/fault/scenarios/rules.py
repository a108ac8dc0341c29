# SPDX-License-Identifier: MIT
"""What a user may do on pubd's socket who may publish and no more."""

import contextlib
import json
import pwd
import time
import types

from fcgi import STDOUT, Conn, request
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


# ------------------------------------------------------- the rules of access

SHOP, CHAT, GROUP = 61001, 61002, 62001
RULES = """uid %d %d publish shop.* rate=1/s burst=%d
uid %d %d publish few rate=1/s burst=5
gid %d publish group.*
uid %d report
""" % (SHOP, CHAT, BURST, SHOP, CHAT, GROUP, SHOP)


def event(channel):
    return {"channel": channel, "data": 1}


def peer(st, uid, groups=()):
    """A publisher with this uid and these supplementary groups."""
    with acting_as(types.SimpleNamespace(pw_uid=uid, pw_gid=65534), groups):
        return Publisher(st.pubd_sock)


def write_rules(st, text):
    path = st.dir / "access.conf"
    path.write_text(text)
    path.chmod(0o644)


def new_rules(st, text):
    """pubd has read them when this returns."""
    def said():
        return st.pubd.log.read_text().count("access rules read again")
    before = said()
    write_rules(st, text)
    st.pubd.send_signal(1)
    wait_until(lambda: said() > before, what="the rules to be read")


def only_what_is_allowed(run, st):
    with peer(st, SHOP) as pub, peer(st, SHOP, [5, GROUP]) as member:
        for line in (event("group.a"), event("shop"), event("x"),
                     [event("shop.a"), event("x")],
                     [event("x"), event("shop.a")]):
            run.check(pub.call(line).get("error") == "forbidden",
                      "%r was taken of a user whom no line allows it" % line)
        run.check(member.call(event("group.a")).get("ok"),
                  "a supplementary group does not count")
        run.check(pub.call(event("shop.a")).get("ok"),
                  "what a line allows was refused")


def only_so_much(run, st):
    """Each has his own bucket, and what was refused has cost nothing."""
    for uid in (SHOP, CHAT):
        with peer(st, uid) as pub:
            for _ in range(3):
                refused = pub.call([event("shop.a")] * (BURST // 2) +
                                   [event("few")] * 6)
                run.check(refused.get("error") == "too_large",
                          "more at once than a line allows was taken")
            began = time.monotonic()
            pub.send(*[event("shop.b") for _ in range(3 * BURST)])
            got = sum(pub.recv(30)["ok"] for _ in range(3 * BURST))
            run.check(BURST - 1 <= got
                      <= BURST + 1 + time.monotonic() - began,
                      "%d events of uid %d, who may send %d at once and one "
                      "a second" % (got, uid, BURST))


def rules_go(run, st):
    """HUP: what was allowed is not, on connections that are open."""
    with peer(st, SHOP, [GROUP]) as pub:
        run.check(pub.call(event("group.a")).get("ok"), "it was refused")
        run.check(pub.call(WATCH).get("ok"), "a line `report` does not count")
        new_rules(st, RULES.replace("group.*", "group.b")
                  .replace("uid %d report" % SHOP, ""))
        run.check(pub.call(event("group.a")).get("error") == "forbidden",
                  "it may still publish what the rules allow no more")
        pub.send(dict(REPORT, name="worker-3-1"), event("group.b"))
        run.check(pub.recv().get("error") == "forbidden",
                  "it may still report")
    with peer(st, CHAT + 1) as pub:
        run.check(pub.call({"op": "watch"}).get("error") == "forbidden",
                  "whom no line is for listens")
    new_rules(st, RULES)


@scenario("publisher-without-rights", tags="security publish",
          fronts=("lighttpd",), short=True, rounds=1)
def publisher_without_rights(run):
    """Publishers whom the rules of access allow some channels, and only so
    much: nothing else is stored, alone or in an array, and what the rules no
    longer allow ends with HUP."""
    if not RUN_AS:
        run.skip("only root can connect as other users")
    st = run.stack(config=dict(SMALL, socket_mode="0666"), workers=0,
                   pubd=False)
    st.configure(access=st.dir / "access.conf")
    write_rules(st, RULES)
    for _ in run.each_round():
        st.restart_pubd()
        only_what_is_allowed(run, st)
        only_so_much(run, st)
        rules_go(run, st)


# ------------------------------------------------------- readers by the rules

READERS = """anyone read news.*
user read mine.$user
user read box.$user_label.*
group staff read staff.*
env TENANT read tenant.$value
env SSL_CLIENT_S_DN_CN read device.$value
env ORG read of.$user
"""
GROUPS = "staff: alice\nothers: bob\n"
# Who asks, for what, and whether a line allows it.
ASKED = [
    ({}, "news.a", True), ({}, "news.*", True), ({}, "news", False),
    ({}, "newsx", False), ({}, "new*", False), ({}, "*", False),
    ({}, "system.revoke", False), ({}, "mine.", False),
    ({"REMOTE_USER": "alice"}, "mine.alice", True),
    ({"REMOTE_USER": "alice"}, "mine.alicex", False),
    ({"REMOTE_USER": "alice"}, "mine.*", False),
    ({"REMOTE_USER": "*"}, "mine.bob", False),
    ({"REMOTE_USER": "*"}, "mine.*", False),
    ({"REMOTE_USER": "a.b"}, "box.a%2Eb.x", True),
    ({"REMOTE_USER": "a.b"}, "box.a.b.x", False),
    ({"REMOTE_USER": "alice"}, "staff.a", True),
    ({"REMOTE_USER": "bob"}, "staff.a", False),
    ({"TENANT": "acme"}, "tenant.acme", True),
    ({"TENANT": "acme"}, "tenant.other", False),
    ({"HTTP_TENANT": "acme"}, "tenant.acme", False),
    ({"SSL_CLIENT_S_DN_CN": "d1"}, "device.d1", False),
    ({"SSL_CLIENT_S_DN_CN": "d1", "SSL_CLIENT_VERIFY": "SUCCESS"},
     "device.d1", True),
    ({"ORG": "bob", "REMOTE_USER": "alice"}, "of.alice", True),
    ({"ORG": "bob", "REMOTE_USER": "alice"}, "of.bob", False),
]


def status_of(st, who, channel):
    query = "channel=" + channel.replace("%", "%25")
    with Conn(st.sse_sock, request(query=query, **who)) as conn:
        type, _, content = conn.record()
        head = content.partition(b"\r\n\r\n")[0].decode()
        return head.partition("Status: ")[2][:3] if type == STDOUT else ""


def readers(run, st):
    for who, channel, allowed in ASKED:
        got = status_of(st, who, channel)
        run.check(got in ("403", "400") if not allowed else got == "200",
                  "%r asks for %s: %s" % (who, channel, got))


def broken_rules(run, st):
    """What is wrong in them changes nothing, and what clients choose is."""
    for text in ("anyone read *\nanyone reads x\n",
                 "env HTTP_COOKIE read *\nanyone read *\n",
                 "uid 1 read x\nanyone read *\n"):
        before = sum(w.log.read_text().count("stay as they were")
                     for w in st.workers)
        write_rules(st, text)
        for w in st.workers:
            w.send_signal(1)
        wait_until(lambda: status_of(st, {}, "secret") == "200" or sum(
            w.log.read_text().count("stay as they were")
            for w in st.workers) > before, what="a word on broken rules")
        run.check(status_of(st, {}, "secret") == "403",
                  "a file with a mistake is in force")
        run.check(status_of(st, {}, "news.a") == "200",
                  "a file with a mistake has ended the old rules")
    write_rules(st, READERS)


@scenario("rules-of-readers", tags="security", fronts=("lighttpd",),
          short=True, rounds=1)
def rules_of_readers(run):
    """Readers by name, group, variable and certificate ask for what a line
    allows them, and for what is near it; files with a mistake are read."""
    st = run.stack(config=SMALL, workers=0, pubd=False)
    st.configure(access=st.dir / "access.conf", groups=st.dir / "groups")
    write_rules(st, READERS)
    (st.dir / "groups").write_text(GROUPS)
    (st.dir / "groups").chmod(0o644)
    st.restart_pubd()
    st.start_worker()
    for _ in run.each_round():
        readers(run, st)
        broken_rules(run, st)
