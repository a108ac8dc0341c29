# SPDX-License-Identifier: MIT
"""Who may publish, report and watch, by the rules of access.conf: the kernel
says which uid, gid and supplementary groups a publisher has."""

import contextlib
import json
import time
import types

import pytest

from harness import BIN, RUN_AS, status_rows, wait_until
from pub import Closed, Publisher, acting_as

pytestmark = pytest.mark.skipif(not RUN_AS, reason="connects as other users")

OURS = RUN_AS.pw_uid if RUN_AS else -1
WATCH = {"op": "watch", "role": "worker"}
REPORT = {"op": "report", "name": "worker-1-1", "role": "worker", "pid": 1,
          "version": "x", "started_ms": 1, "head": 0, "cursor": 0,
          "streams": 0, "counters": {"events_sent": 5}, "gauges": {}}


def connect(st, uid, gid=65534, groups=()):
    """A connection of this user: the kernel notes who connects."""
    user = types.SimpleNamespace(pw_uid=uid, pw_gid=gid)
    with acting_as(user, groups):
        return Publisher(st.pubd_sock)


def event(channel, n=1, **more):
    return dict({"channel": channel, "data": n}, **more)


def head(st):
    with st.publisher() as pub:
        return pub.call({"op": "ping"})["head"]


def refused(answer, error="forbidden"):
    assert answer["ok"] is False and answer["error"] == error, answer
    return answer


@pytest.fixture
def ruled(make_stack):
    """A pubd whose socket anybody reaches, with these rules."""
    def make(text, **config):
        st = make_stack(workers=0, metrics=False, pubd=False)
        rules(st, text)
        st.configure(access=st.dir / "access.conf", socket_mode="0666",
                     **config)
        st.start_pubd()
        return st
    return make


def rules(st, text):
    path = st.dir / "access.conf"
    path.write_text(text)
    path.chmod(0o644)


def hup(st, text):
    """New rules; pubd has read them when this returns."""
    rules(st, text)
    n = len(told(st))
    st.pubd.send_signal(1)
    wait_until(lambda: len(told(st)) > n, what="the rules to be read")


def told(st):
    return [l for l in st.pubd.log.read_text().splitlines()
            if "access rules" in l]


# -------------------------------------------------------------------- rights

def test_only_what_a_line_allows_is_stored(ruled):
    st = ruled("uid 1001 publish orders.* news\nuid 1003 report\n")
    with connect(st, 1001) as pub, connect(st, 1002) as other, \
            connect(st, 1003) as reporter, connect(st, 0) as root:
        assert pub.call(event("orders.new"))["id"] == 1
        assert pub.call(event("news"))["id"] == 2
        for channel in ("orders", "news.x", "private"):
            answer = refused(pub.call(event(channel, ref=channel)))
            assert channel in answer["message"] and "1001" in answer["message"]
            assert "walcast access --as uid=1001 publish " + channel \
                in answer["message"]
            assert answer["ref"] == channel and "index" not in answer
        for who in (other, reporter, root):
            refused(who.call(event("news")))
        assert other.call({"op": "ping"})["head"] == 2, "ping is open"
        # Refused ones do not end the connection, and keep their order.
        pub.send(event("a", ref=1), event("news", ref=2), event("b", ref=3))
        assert [pub.recv()["ok"] for _ in range(3)] == [False, True, False]
    assert head(st) == 3


def test_groups_count_the_first_and_the_others(ruled):
    st = ruled("gid 2001 publish a\ngid 2002 2003 publish b.*\n")
    cases = [(dict(gid=2001), True, False),
             (dict(gid=2009, groups=[2001]), True, False),
             (dict(gid=2009, groups=[5, 6, 7, 2003]), False, True),
             (dict(gid=2001, groups=[2002]), True, True),
             (dict(gid=2009, groups=list(range(3000, 3100))), False, False),
             (dict(gid=2009, groups=[*range(3000, 3500), 2001]), True, False),
             (dict(gid=2009), False, False)]
    for who, a, b in cases:
        with connect(st, 1001, **who) as pub:
            assert pub.call(event("a"))["ok"] is a, who
            assert pub.call(event("b.c"))["ok"] is b, who


def test_of_too_many_groups_the_first_counts_and_it_is_told(ruled):
    st = ruled("gid 2001 publish a\ngid 2002 publish b\n")
    for _ in range(2):
        with connect(st, 1001, gid=2001,
                     groups=[2002, *range(5000, 9200)]) as pub:
            assert pub.call(event("a"))["ok"]
            refused(pub.call(event("b")))
    assert st.pubd.log.read_text().count("more than 4096 groups") == 1
    with connect(st, 1001, groups=[2002, *range(5000, 9094)]) as pub:
        assert pub.call(event("b"))["ok"], "4095 and that of the process"


def test_one_user_with_and_without_a_group_is_two(ruled):
    """What is known of one must not be believed of the other."""
    st = ruled("gid 2001 publish a\n")
    with connect(st, 1001, groups=[2001]) as member, \
            connect(st, 1001) as stranger:
        for _ in range(3):
            assert member.call(event("a"))["ok"]
            refused(stranger.call(event("a")))


def test_an_array_is_stored_all_or_not_at_all(ruled):
    st = ruled("uid 1001 publish a b\n")
    with connect(st, 1001) as pub:
        for lines, index in (([event("a"), event("b"), event("c")], 2),
                             ([event("c"), event("a")], 0),
                             ([event("a")] * 500 + [event("x")], 500)):
            answer = refused(pub.call(lines))
            assert answer["index"] == index
            assert lines[index]["channel"] in answer["message"]
        assert head(st) == 0
        assert pub.call([event("a"), event("b")])["ids"] == [1, 2]


def test_a_long_channel_is_told_whole(ruled):
    st = ruled("uid 1001 publish a\n")
    with connect(st, 1001) as pub:
        answer = refused(pub.call(event("c" * 128)))
        assert "c" * 128 in answer["message"]
        assert answer["message"].endswith("publish CHANNEL`")


def test_own_channels_stay_closed_to_a_line_for_all(ruled):
    st = ruled("uid 1001 publish *\n")
    with connect(st, 1001) as pub:
        for channel in ("system.revoke", "control.x"):
            refused(pub.call(event(channel)))
        assert pub.call(event("systems"))["id"] == 1


def test_without_access_all_who_reach_the_socket_publish(make_stack):
    st = make_stack(config={"socket_mode": "0666"}, workers=0, metrics=False)
    with connect(st, 1001) as pub:
        assert pub.call(event("anything"))["id"] == 1
        assert pub.call({"op": "watch"})["ok"]
    st.pubd.send_signal(1)
    wait_until(lambda: "read again" in st.pubd.tail(), what="HUP")
    assert st.pubd.log.read_text().count("access is not set") == 1


def test_what_is_odd_in_the_rules_is_told_with_its_line(ruled):
    st = ruled("uid 1001 publish a\n")
    hup(st, "uid 1001 publish a\n\nuser read user.$user.*\n")
    wait_until(lambda: "access.conf:3: " in st.pubd.log.read_text(),
               what="the warning")
    assert "$user_label" in st.pubd.log.read_text()


def test_the_log_says_who_was_refused_and_by_which_lines(ruled):
    st = ruled("# a comment\nuid 1001 publish orders.*\n"
               "gid 2001 publish news\nanyone read *\n", log_format="json")
    with connect(st, 1001) as pub:
        refused(pub.call(event("news", "secret-payload")))

    def line():
        return [x for x in map(json.loads, st.pubd.log.read_text()
                               .splitlines())
                if x.get("event") == "publisher.error"]
    wait_until(line, what="the line")
    said = line()[0]
    assert said["uid"] == 1001 and said["channel"] == "news"
    assert said["error"] == "forbidden"
    assert said["lines"] == \
        "2 is for other channels; 3 is for another gid"
    assert "secret-payload" not in st.pubd.log.read_text()


# --------------------------------------------------------------------- rates

def stored(answers):
    return sum(a["ok"] for a in answers)


def send(pub, channel, n):
    pub.send(*[event(channel, k) for k in range(n)])
    return [pub.recv() for _ in range(n)]


def test_a_line_bounds_each_of_its_users_by_himself(ruled):
    st = ruled("uid 1001 1002 publish a rate=1/s burst=20\n"
               "uid 1001 publish b\n")
    with connect(st, 1001) as one, connect(st, 1001) as again, \
            connect(st, 1002) as two:
        began = time.monotonic()
        got = send(one, "a", 100) + send(again, "a", 100)
        assert 20 <= stored(got) <= 21 + (time.monotonic() - began)
        late = [a for a in got if not a["ok"]]
        assert {a["error"] for a in late} == {"rate_limited"}
        assert all(0 < a["retry_ms"] <= 1001 for a in late)
        assert "rate=" in late[0]["message"] and "1001" in late[0]["message"]
        assert stored(send(two, "a", 20)) == 20, "his bucket is his own"
        assert stored(send(one, "b", 100)) == 100, "a line without a rate"


def test_the_users_of_a_group_share_its_bucket(ruled):
    st = ruled("gid 2001 publish a rate=1/s burst=10\n")
    with connect(st, 1001, groups=[2001]) as one, \
            connect(st, 1002, gid=2001) as two:
        began = time.monotonic()
        n = stored(send(one, "a", 10)) + stored(send(two, "a", 100))
        assert 10 <= n <= 11 + (time.monotonic() - began)


def test_of_several_lines_the_first_with_tokens_pays(ruled):
    st = ruled("uid 1001 publish a.* rate=1/s burst=10\n"
               "gid 2001 publish a.b rate=1/s burst=7\n")
    with connect(st, 1001, gid=2001) as pub:
        began = time.monotonic()
        n = stored(send(pub, "a.b", 100))
        assert 17 <= n <= 19 + 2 * (time.monotonic() - began)
        refused(pub.call([event("a.c")] * 10), "rate_limited")


def test_a_line_without_a_rate_is_free_wherever_it_stands(ruled):
    st = ruled("uid 1001 publish a rate=1/s burst=1\n"
               "gid 2001 publish *\n")
    with connect(st, 1001, gid=2001) as free, connect(st, 1001) as bound:
        assert stored(send(free, "a", 50)) == 50
        assert bound.call(event("a"))["ok"], "and nothing was taken"


def test_an_array_pays_for_all_of_its_events_at_once(ruled):
    st = ruled("uid 1001 publish a.* rate=1/s burst=10\n"
               "uid 1001 publish b rate=1/s burst=5\n"
               "uid 1001 publish free\n")
    with connect(st, 1001) as pub:
        answer = refused(pub.call([event("a.%d" % n) for n in range(11)]),
                         "too_large")
        assert "burst" in answer["message"] and "retry_ms" not in answer
        # Refused because of its second line: the first is not charged.
        mixed = [event("a.1")] * 8 + [event("b")] * 6
        refused(pub.call(mixed), "too_large")
        pub.send([event("a.1")] * 6 + [event("b")] * 5 +
                 [event("free")] * 100 + [event("a.2")] * 4)
        assert len(pub.recv()["ids"]) == 115
        for n in (5, 10):
            answer = refused(pub.call([event("a.%d" % n)] * n),
                             "rate_limited")
            assert 0 < answer["retry_ms"] <= n * 1000 + 1


def test_what_is_refused_costs_nothing(ruled):
    st = ruled("uid 1001 publish a rate=1/s burst=5\n")
    with connect(st, 1001) as pub:
        for _ in range(20):
            refused(pub.call([event("a")] * 4 + [event("x")]))
        assert len(pub.call([event("a")] * 5)["ids"]) == 5


def test_publish_rate_holds_besides(ruled):
    st = ruled("uid 1001 publish a\nuid 1002 publish a rate=1/s burst=100\n",
               publish_rate=1, publish_burst=10)
    for uid in (1001, 1002):
        with connect(st, uid) as pub:
            began = time.monotonic()
            got = send(pub, "a", 50)
            assert 10 <= stored(got) <= 11 + (time.monotonic() - began)
            assert "publish_rate" in got[-1]["message"]


def test_whoever_waits_as_told_gets_in(ruled):
    st = ruled("uid 1001 publish a rate=20/s burst=1\n")
    with connect(st, 1001) as pub:
        for n in range(5):
            answer = pub.call(event("a", n))
            while not answer["ok"]:
                time.sleep(answer["retry_ms"] / 1000)
                answer = pub.call(event("a", n))
            assert answer["id"] == n + 1


def test_others_publish_while_one_is_limited(ruled):
    st = ruled("uid 1001 publish a rate=1/s burst=1\nuid 1002 publish a\n")
    with connect(st, 1001) as greedy, connect(st, 1002) as good:
        greedy.send(*[event("a") for _ in range(2000)])
        assert stored(send(good, "a", 200)) == 200
        assert stored(greedy.recv() for _ in range(2000)) < 1000


def test_what_waits_for_room_in_the_batch_is_charged_once(ruled):
    st = ruled("gid 2001 publish a rate=1/s burst=18000\n")
    line = json.dumps([event("a")] * 6000, separators=(",", ":"))
    with contextlib.ExitStack() as held:
        pubs = [held.enter_context(connect(st, 1001, gid=2001))
                for _ in range(3)]
        for pub in pubs:
            assert pub.call({"op": "ping"})["ok"]
        st.pubd.pause()
        for pub in pubs:
            pub.send(line)
        st.pubd.resume()
        # One fits into a batch: the others are offered once more.
        assert [len(pub.recv(60).get("ids", [])) for pub in pubs] \
            == [6000] * 3
        refused(pubs[0].call([event("a")] * 6000), "rate_limited")


# ----------------------------------------------------------------------- HUP

def test_rights_come_and_go_with_hup(ruled):
    st = ruled("uid 1001 publish a\n")
    with connect(st, 1001) as one, connect(st, 1002) as two:
        assert one.call(event("a"))["ok"]
        refused(two.call(event("a")))
        hup(st, "uid 1002 publish a\n")
        refused(one.call(event("a")))
        assert two.call(event("a"))["ok"]


@pytest.mark.parametrize("broken", ["uid 1001 publish a\nnonsense\n", None,
                                    "writable"])
def test_a_broken_file_keeps_the_old_rules(ruled, broken):
    st = ruled("uid 1001 publish a\n")
    path = st.dir / "access.conf"
    with connect(st, 1001) as one, connect(st, 1002) as two:
        assert one.call(event("a"))["ok"]
        if broken is None:
            path.unlink()
        elif broken == "writable":
            rules(st, "uid 1002 publish a\n")
            path.chmod(0o666)
        else:
            rules(st, broken)
        st.pubd.send_signal(1)
        wait_until(lambda: "keeping the old access rules" in st.pubd.tail(),
                   what="the error")
        said = [l for l in told(st) if "keeping" in l][0]
        assert "access.conf" in said
        assert "access.conf:2" in said or broken in (None, "writable")
        assert one.call(event("a"))["ok"]
        refused(two.call(event("a")))
        hup(st, "uid 1002 publish a\n")
        assert two.call(event("a"))["ok"]
        refused(one.call(event("a")))


def test_a_bucket_outlives_hup_while_its_line_does(ruled):
    line = "uid 1001 publish a rate=1/s burst=20\n"
    st = ruled(line)
    with connect(st, 1001) as pub:
        began = time.monotonic()
        n = stored(send(pub, "a", 50))
        hup(st, "# moved\nuid 1002 publish b\n" + line)
        n += stored(send(pub, "a", 50))
        assert 20 <= n <= 21 + (time.monotonic() - began)
        hup(st, line.replace("20", "30"))
        assert stored(send(pub, "a", 50)) >= 30


# ------------------------------------------------------------ report and watch

def test_reports_are_taken_from_lines_that_say_so(ruled):
    st = ruled("uid 1001 report\ngid 2001 report\nuid 1002 publish *\n",
               report_users="1009")
    for who in (dict(uid=1001), dict(uid=1005, groups=[2001]),
                dict(uid=1009), dict(uid=0), dict(uid=OURS)):
        with connect(st, **who) as pub:
            assert pub.call(WATCH)["ok"], who
    for who in (dict(uid=1002), dict(uid=1005)):
        with connect(st, **who) as pub:
            answer = refused(pub.call(WATCH))
            assert "`uid ... report`" in answer["message"]
            refused(pub.call(REPORT))
    said = st.walcast("doctor").stdout.decode()
    assert "and whom a line `report` of %s" % (st.dir / "access.conf") in said


def test_only_those_whom_a_line_is_for_may_listen(ruled):
    st = ruled("uid 1001 publish a\ngid 2001 revoke\nuid 1003 report\n")
    for who, may in ((dict(uid=1001), True),
                     (dict(uid=1002, groups=[2001]), True),
                     (dict(uid=1003), True), (dict(uid=0), True),
                     (dict(uid=OURS), True), (dict(uid=1002), False)):
        with connect(st, **who) as pub:
            assert pub.call({"op": "watch"})["ok"] is may, who
            assert pub.call({"op": "ping"})["ok"], "ping is open"


def test_who_may_listen_no_more_is_closed_on_hup(ruled):
    st = ruled("uid 1001 1002 1003 publish a\n")
    with connect(st, 1001) as pub, connect(st, 1002) as other, \
            connect(st, 1003) as silent, connect(st, 0) as root:
        for who in (pub, other, root):
            assert who.call({"op": "watch"})["ok"]
        hup(st, "uid 1002 publish a\n")
        with pytest.raises((Closed, ConnectionError)):
            pub.recv()
        assert other.call(event("a"))["ok"]
        assert other.recv() == {"head": 1} and root.recv() == {"head": 1}
        refused(silent.call(event("a")))


def reported(st):
    return [json.loads(c).get("events_sent")
            for c, in status_rows(st, "counters",
                                  "WHERE name = 'worker-1-1'")]


def test_a_watcher_whose_right_is_gone_is_refused_at_its_next_report(ruled):
    st = ruled("uid 1001 report\n")
    with connect(st, 1001) as pub:
        assert pub.call(WATCH)["ok"]
        pub.send(REPORT)
        wait_until(lambda: reported(st) == [5], what="its report")
        hup(st, "uid 1002 report\n")
        with connect(st, 0) as root:
            assert root.call({"op": "watch"})["ok"]
            revoked = {"op": "revoke", "user": "x"}
            assert root.call(revoked)["id"] == 1
            assert root.recv() == {"head": 1}
        # The first that it hears: it was not told of the commit.
        refused(pub.call(dict(REPORT, counters={"events_sent": 6})))
        assert reported(st) == [5]
        refused(pub.call(WATCH))
        hup(st, "uid 1001 report\n")
        assert pub.call(WATCH)["ok"]
        pub.send(dict(REPORT, counters={"events_sent": 6}))
        wait_until(lambda: reported(st) == [6], what="its report")


# -------------------------------------------------------------------- revoke

def test_only_the_owner_root_and_whom_a_line_lets_revoke(ruled):
    st = ruled("uid 1001 revoke\ngid 2001 publish,revoke a\n"
               "uid 1002 publish *\nuid 1003 report\n")
    line = {"op": "revoke", "user": "alice"}
    for who in (dict(uid=1002), dict(uid=1003), dict(uid=1009)):
        with connect(st, **who) as pub:
            answer = refused(pub.call(line))
            assert "revoke" in answer["message"]
            refused(pub.call(event("system.revoke")))
    assert head(st) == 0
    may = (dict(uid=1001), dict(uid=1009, groups=[2001]), dict(uid=0),
           dict(uid=OURS))
    for n, who in enumerate(may):
        with connect(st, **who) as pub:
            assert pub.call(line)["id"] == n + 1
    with connect(st, 1001) as pub:
        hup(st, "uid 1002 revoke\n")
        refused(pub.call(line))


# ------------------------------------------------------------------- walcast

def test_walcast_publish_says_what_to_do_and_waits_as_it_is_told(ruled):
    st = ruled("uid %d publish a\nuid %d publish b rate=50/s burst=5\n"
               % (OURS, OURS))
    assert st.walcast("publish", "-c", "a", "1").stdout == b"1\n"
    done = st.walcast("publish", "-c", "private", "1")
    assert done.returncode == 1 and done.stdout == b""
    assert b"walcast access --as uid=%d publish private" % OURS \
        in done.stderr
    for channel, code in (("private", 1), ("a", 0)):
        said = st.walcast("access", "--as", "uid=%d" % OURS, "publish",
                          channel)
        assert said.returncode == code, said.stdout + said.stderr
    done = st.walcast("publish", "-c", "b", "--lines",
                      input="".join("%d\n" % n for n in range(20)))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 20


# --------------------------------------------------------------------- memory

@pytest.mark.skipif("asan" in str(BIN), reason="its memory is its own")
def test_connections_of_one_user_share_what_is_known_of_him(ruled):
    """A thousand connections with many groups do not cost a thousand lists."""
    st = ruled("gid 2001 publish a.*\n")
    groups = [*range(5000, 7000), 2001]
    with contextlib.ExitStack() as held:
        for n in range(20):
            pub = held.enter_context(connect(st, 1001, groups=groups))
            assert pub.call(event("a.%d" % n))["ok"]
        before = st.pubd.rss_kib()
        for n in range(400):
            pub = held.enter_context(connect(st, 1001, groups=groups))
            assert pub.call(event("a.%d" % n))["ok"]
        # 400 lists of 2001 groups would be 6 MiB.
        assert st.pubd.rss_kib() - before < 2000
