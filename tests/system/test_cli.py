# SPDX-License-Identifier: MIT
"""The command line: what it prints and how it exits."""

import json
import os
import pathlib
import re
import sqlite3

import pytest

from harness import wait_until


def out(done):
    return done.stdout.decode()


def test_publish_prints_the_id_and_exits_0(stack, channel):
    head = stack.head()
    done = stack.walcast("publish", "-c", channel, "-e", "created", '{"n":1}')
    assert done.returncode == 0, done.stderr
    assert out(done).strip() == str(head + 1)


def test_what_was_published_is_seen(stack, lighttpd, channel):
    with lighttpd.stream({"channel": channel}) as s:
        s.open()
        stack.walcast("publish", "-c", channel, "-e", "created", '{"n":1}',
                      check=True)
        e = s.data()
        assert (e.type, e.json) == ("created", {"n": 1})


def test_publish_lines_is_an_event_for_each_line(stack, lighttpd, channel):
    with lighttpd.stream({"channel": channel}) as s:
        s.open()
        done = stack.walcast("publish", "-c", channel, "--lines",
                             input="one\ntwo\n{\"n\":3}\n", check=True)
        assert [e.data for e in s.take(3)] == ["one", "two", '{"n":3}']
        assert len(out(done).split()) in (1, 3)


def test_publish_many_lines_is_whole(stack, lighttpd, channel):
    with lighttpd.stream({"channel": channel}) as s:
        s.open()
        stack.walcast("publish", "-c", channel, "--lines", check=True,
                      input="".join("l%d\n" % n for n in range(5000)))
        assert [e.data for e in s.take(5000, timeout=30)] == [
            "l%d" % n for n in range(5000)]


@pytest.mark.parametrize("args", [
    ["-c", "bad channel", "x"], ["-c", "a", "-e", "control.open", "x"],
    ["x"], ["-c", "a", "y" * 70000]])
def test_what_is_refused_exits_with_another_status(stack, args):
    done = stack.walcast("publish", *args)
    assert done.returncode != 0
    assert done.stderr, "and says why"


def test_publish_without_pubd_fails(make_stack):
    st = make_stack(pubd=False, workers=0, metrics=False)
    done = st.walcast("publish", "-c", "a", "x")
    assert done.returncode != 0 and done.stderr


def test_an_unknown_command_exits_with_another_status(stack):
    for args in (["nonsense"], [], ["publish", "--nonsense"]):
        done = stack.walcast(*args)
        assert done.returncode not in (0, -11, -6), args
        assert done.stderr


def test_init_makes_a_log_that_pubd_takes(make_stack):
    for mode, directory, file in (("open", 0o2770, 0o660),
                                  ("strict", 0o2750, 0o640)):
        st = make_stack(mode=mode, workers=0, metrics=False)
        assert os.stat(st.var).st_mode & 0o7777 == directory
        assert os.stat(st.db).st_mode & 0o777 == file
        assert st.publish("a", 1) == 1


def test_init_does_not_destroy_a_log(make_stack):
    st = make_stack(workers=0, metrics=False)
    st.publish("a", 1)
    before = st.pub.call({"op": "ping"})
    st.walcast("init")
    assert st.pub.call({"op": "ping"}) == before


def test_status_tells_head_and_processes(stack, channel):
    stack.publish(channel, 1)

    def told():
        done = stack.walcast("status", check=True)
        return str(stack.head()) in out(done) and "pubd" in out(done)
    wait_until(told, 15, "status")


def test_channels_lists_them(stack, channel):
    id = stack.publish(channel, 1)
    text = out(stack.walcast("channels", check=True))
    line, = [l for l in text.splitlines() if channel in l.split()]
    assert str(id) in line.split()


def test_tail_shows_what_is_after_a_position(stack, channel):
    ids = [stack.publish(channel, "n%d" % n, event="e") for n in range(5)]
    done = stack.walcast("tail", "-c", channel, "--from", ids[1], check=True)
    lines = out(done).splitlines()
    assert len(lines) == 3
    for id, n, line in zip(ids[2:], (2, 3, 4), lines):
        assert str(id) in line and "n%d" % n in line and channel in line


def test_tail_as_json_is_one_object_a_line(stack, channel):
    ids = [stack.publish(channel, {"n": n}, event="e") for n in range(3)]
    done = stack.walcast("tail", "--json", "-n", 2, "-c", channel, check=True)
    got = [json.loads(l) for l in out(done).splitlines()]
    assert [e["id"] for e in got] == ids[1:]
    assert [(e["channel"], e["event"], e["data"]) for e in got] == [
        (channel, "e", {"n": n}) for n in (1, 2)]


@pytest.mark.parametrize("with_pubd", [True, False])
def test_tail_follows_the_log(make_stack, with_pubd):
    """From a position, then live, until it is ended."""
    st = make_stack(workers=0, metrics=False)
    st.publish("a", "before")
    p = st.spawn("walcast", [st.bin / "walcast", "tail", "-f", "-c", "a",
                             "--from", "earliest"])
    wait_until(lambda: "before" in p.tail(), 10)
    if with_pubd:
        st.publish("a", "live")
    else:
        st.stop_pubd()
        db = sqlite3.connect(st.db, isolation_level=None, timeout=5)
        db.execute("INSERT INTO events(channel, data) VALUES ('a', 'live')")
        db.close()
    wait_until(lambda: "live" in p.tail(), 10)
    assert p.running
    p.stop()


def test_audit_is_content_with_a_whole_log(make_stack):
    st = make_stack(workers=0, metrics=False)
    for n in range(50):
        st.publish("a%d" % (n % 3), n)
    done = st.walcast("audit")
    assert done.returncode == 0, done.stdout + done.stderr


def test_audit_finds_a_hole(make_stack):
    st = make_stack(workers=0, metrics=False)
    for n in range(50):
        st.publish("a%d" % (n % 3), n)
    db = sqlite3.connect(st.db, isolation_level=None, timeout=5)
    db.execute("DELETE FROM events WHERE id = 20")
    db.close()
    done = st.walcast("audit")
    assert done.returncode == 1
    assert "20" in out(done) + done.stderr.decode()


def pauses(proc):
    """How often a process has given the processor away by itself."""
    text = pathlib.Path("/proc/%d/status" % proc.pid).read_text()
    return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text,
                         re.M)[1])


def test_audit_waits_for_whoever_has_the_log_locked(make_stack):
    """As the first one to open it after a crash does."""
    st = make_stack(workers=0, metrics=False, pubd=False)
    db = sqlite3.connect(st.db, isolation_level=None, timeout=5)
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    db.execute("BEGIN IMMEDIATE")
    p = st.spawn("audit", [st.bin / "walcast", "audit"])

    def has_tried_again():
        assert p.running, p.tail()
        return pauses(p) > 20
    wait_until(has_tried_again)
    db.close()
    assert p.wait() == 0, p.tail()


@pytest.mark.parametrize("args", [["--before", 41], ["--keep", 10]])
def test_trim_takes_the_oldest_away(make_stack, args):
    st = make_stack(workers=0, metrics=False)
    for n in range(50):
        st.publish("a", n)
    st.walcast("trim", *args, check=True)
    ping = st.pub.call({"op": "ping"})
    assert (ping["oldest"], ping["head"]) == (41, 50)
    assert st.walcast("audit").returncode == 0
    assert st.publish("a", "next") == 51


def test_a_bad_configuration_exits_78_with_file_and_line(make_stack):
    st = make_stack(workers=0, metrics=False, pubd=False)
    st.write(st.dir / "bad.conf", "# fine\nheartbeat_ms = soon\n")
    done = st.walcast("status", env={"WALCAST_CONF": st.dir / "bad.conf"})
    assert done.returncode == 78
    assert b"bad.conf:2" in done.stderr and b"heartbeat_ms" in done.stderr


def test_doctor_is_content_with_a_good_stack(stack):
    done = stack.walcast("doctor")
    assert done.returncode == 0, done.stdout + done.stderr


# A terminal would obey these: C0, DEL, C1, and what turns the direction.
HIDDEN = [c for c in [*range(1, 32), *range(0x7f, 0xa0), 0x61c, 0x200e, 0x200f,
                      *range(0x202a, 0x202f), *range(0x2066, 0x206a)]]


def test_what_a_terminal_obeys_is_shown_and_not_sent_to_it(make_stack):
    st = make_stack(workers=0, metrics=False)
    text = "".join("a%cb" % c for c in HIDDEN) + "\u05d0\u200d\U0001f600é"
    st.publish("a", text)
    st.publish("a", {"k": text})
    st.publish("a", text, event="tick\u202eevil")
    with sqlite3.connect(st.db, timeout=5) as db:
        db.execute("INSERT INTO events(channel, data) VALUES "
                   "('a', CAST(x'1b9b41c29b5be280ae' AS TEXT))")
    plain = st.walcast("tail", check=True).stdout
    rows = st.walcast("tail", "--json", check=True).stdout
    for out, allowed in (plain, "\t\n"), (rows, "\n"):
        shown = out.decode("utf-8")     # strictly
        assert not [c for c in HIDDEN if chr(c) in shown
                    and chr(c) not in allowed]
        assert "\u05d0\u200d\U0001f600é" in shown
    assert "tick\\u202eevil" in plain.decode()
    assert "\\x1b\\x9bA\\x9b[\\u202e" in plain.decode()
    got = [json.loads(line) for line in rows.splitlines()]
    assert [g["data"] for g in got] == [text, {"k": text}, text,
                                        "\x1b\ufffdA\x9b[\u202e"]
    assert got[2]["event"] == "tick\u202eevil"
    # Who may write to the files may put anything into them.
    with sqlite3.connect(st.db, timeout=5) as db:
        db.execute("INSERT INTO channels VALUES ('x' || char(0x202e, 0x9b), "
                   "4)")
    out = st.walcast("channels", "--json", check=True).stdout
    assert b"x\\u202e\\u009b" in out and "\u202e" not in out.decode()
