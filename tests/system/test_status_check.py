# SPDX-License-Identifier: MIT
"""`walcast status --check`, as a monitoring system sees it."""

import os
import re

import pytest

from harness import wait_until

STATES = ["OK", "WARNING", "CRITICAL", "UNKNOWN"]


def check(st, *args, **kw):
    """(exit status, words, {figure: (value, warn, crit)}), after the form of
    the line was looked at."""
    done = st.walcast("status", "--check", *args, **kw)
    text = done.stdout.decode()
    m = re.fullmatch(r"WALCAST ([A-Z]+) - ([^|\n]+) \|([^|\n]*)\n", text)
    assert m, (text, done.stderr)
    assert done.returncode == STATES.index(m.group(1)), text
    figures = {}
    for item in m.group(3).split():
        one = re.fullmatch(r"(\w+)=(-?\d+)(ms|B|%)?(;(\d*:?);(\d*:?);0)?",
                           item)
        assert one, item
        figures[one.group(1)] = (int(one.group(2)), one.group(5),
                                 one.group(6))
    return done.returncode, m.group(2), figures


def until(st, code, *args, what="that status"):
    """Waits until it exits with this; returns words and figures."""
    last = []

    def there():
        last[:] = check(st, *args)
        return last[0] == code
    try:
        wait_until(there, 30, what, step=0.05)
    except AssertionError:
        raise AssertionError("%s: %r" % (what, last)) from None
    return last[1], last[2]


def test_all_is_well(make_stack):
    st = make_stack(workers=2, metrics=False)
    web = st.front("lighttpd", cap=100)
    with web.stream({"channel": "a"}) as s:
        s.open()
        for n in range(7):
            st.publish("a", n)
        wait_until(lambda: check(st)[2]["streams"][0] == 1, 15, "a stream")
        wait_until(lambda: check(st)[2]["workers"][0] == 2, 15, "two workers")
        words, figures = until(st, 0)
    assert "2 workers" in words and "1 streams" in words
    assert figures["head"][0] == figures["events"][0] == 7
    assert figures["age"][1:] == ("5000", "10000") and figures["age"][0] < 5000
    assert figures["lag"][1:] == ("10000", "")
    assert figures["disk"][1:] == (str(256 << 20) + ":", str(16 << 20) + ":")
    assert figures["fds"][1:] == ("80", "95") and figures["fds"][0] < 80
    assert figures["wal"][0] == os.stat(str(st.db) + "-wal").st_size
    assert figures["database"][0] == os.stat(st.db).st_size


@pytest.mark.parametrize("option, state", [
    (["--warn-workers", 999], 1), (["--crit-workers", 999], 2),
    (["--warn-disk", 1 << 40], 1), (["--crit-disk", 1 << 40], 2),
    (["--warn-workers", 999, "--crit-disk", 1 << 40], 2)])
def test_limits_are_held(stack, option, state):
    until(stack, state, *option)


def test_pubd_that_was_stopped_is_critical_at_once(make_stack):
    st = make_stack(workers=1, metrics=False)
    until(st, 0)
    st.stop_pubd()
    code, words, _ = check(st)
    assert code == 2 and "pubd does not run" in words


def test_pubd_that_hangs_is_told_by_its_age(make_stack):
    st = make_stack(workers=1, metrics=False)
    until(st, 0)
    st.pubd.pause()
    words, figures = until(st, 1, "--warn-age", 1, "--crit-age", 1000)
    assert "pubd was seen" in words and figures["age"][0] > 1000
    words, figures = until(st, 2)
    assert "restart it" in words and figures["age"][0] > 10000
    assert "workers" not in figures, "nobody keeps their leases"
    st.pubd.resume()
    until(st, 0)


def test_a_client_that_does_not_read_is_lag(make_stack):
    st = make_stack(workers=1, metrics=False)
    web = st.front("lighttpd", cap=100)
    with web.stream({"channel": "a"}) as s:
        s.open()
        for n in range(400):
            st.publish("a", "x" * 60000)
        words, figures = until(st, 2, "--crit-lag", 20)
        assert "events behind" in words and figures["lag"][0] > 20
        s.take(400, timeout=60)
        until(st, 0, "--crit-lag", 20)


def test_a_log_that_is_away_is_critical(make_stack):
    st = make_stack(workers=0, metrics=False, pubd=False)
    st.db.rename(st.db.with_name("away.db"))
    code, words, _ = check(st)
    assert code == 2 and "there is no log" in words


def test_who_may_not_look_does_not_know(make_stack):
    """A plugin whose user is not in the group is no reason to wake anybody."""
    st = make_stack(workers=0, metrics=False, pubd=False)
    mode = st.var.stat().st_mode & 0o7777
    st.var.chmod(0)
    try:
        code, words, _ = check(st)
        assert code == 3 and str(st.var) in words
    finally:
        st.var.chmod(mode)


@pytest.mark.parametrize("args", [
    ["--warn-lag", "many"], ["--warn-nothing", "1"], ["more"],
    ["--warn-lag"], ["--warn-disk", "9223372036854775807"]])
def test_a_wrong_command_line_is_unknown(stack, args):
    code, words, figures = check(stack, *args)
    assert code == 3 and "command line" in words and not figures
    done = stack.walcast("status", *args)
    assert done.returncode == 64 and not done.stdout


def test_a_bad_configuration_is_unknown(make_stack):
    st = make_stack(workers=0, metrics=False, pubd=False)
    st.write(st.dir / "bad.conf", "heartbeat_ms = soon\n")
    code, words, _ = check(st, env={"WALCAST_CONF": st.dir / "bad.conf"})
    assert code == 3 and "bad.conf:1" in words
