# SPDX-License-Identifier: MIT
"""The access file from the command line: `walcast access`, `walcast doctor`,
and `-n` of the programs that read it."""

import os
import subprocess

import pytest

from harness import RUN_AS

RULES = """\
# who
anyone read news public.*
user read user.$user user.$user_label.*
group staff read staff.*
env TENANT read tenant.$value_label.*
token read,publish orders.*
app read app.*
uid 12345 publish logs.* rate=5/s
gid 23456 publish,revoke *
uid 12346 report
"""
GROUPS = "staff: alice\n"


@pytest.fixture
def rules(stack):
    """Writes the two files; returns the environment that names them."""
    made = []

    def write(text=RULES, groups=GROUPS, mode=0o644):
        env = {}
        for name, what in (("access", text), ("groups", groups)):
            path = os.path.join(str(stack.dir), "%s-cli.conf" % name)
            made.append(path)
            with open(path, "w", encoding="utf-8") as f:
                f.write(what)
            os.chmod(path, mode)
            env["WALCAST_" + name.upper()] = path
        return env

    yield write
    for path in made:
        if os.path.exists(path):
            os.unlink(path)


def ask(stack, env, *args):
    done = stack.walcast("access", *args, env=env)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("args, line", [
    (["read", "news"], 2), (["read", "public.x"], 2),
    (["read", "public.*"], 2),
    (["--as", "user=alice", "read", "user.alice"], 3),
    (["--as", "user=bob,user=alice", "read", "staff.x"], 4),
    (["--as", "env:TENANT=a.b", "read", "tenant.a%2Eb.x"], 5),
    (["--as", "token=orders.1", "publish", "orders.1"], 6),
    (["--as", "app=*", "read", "app.7"], 7),
    (["--as", "uid=12345", "publish", "logs.a"], 8),
    (["--as", "gid=23456", "publish", "anything"], 9),
    (["--as", "gid=23456", "revoke"], 9),
    (["-a", "uid=12346", "report"], 10)])
def test_it_names_the_line_that_allows(stack, rules, args, line):
    code, out, err = ask(stack, rules(), *args)
    assert code == 0, out + err
    text = RULES.splitlines()[line - 1]
    assert out.endswith(": allowed by line %d: %s\n" % (line, text)), out


@pytest.mark.parametrize("args, why", [
    (["read", "user.alice"], "needs a user, and there is none: line 3"),
    (["--as", "user=bob", "read", "staff.x"],
     "is for a group that this user is not in: line 4"),
    (["read", "tenant.x.y"], "needs a variable that is not set: line 5"),
    (["--as", "token=orders.1", "read", "orders.2"],
     "is for a token that allows it: line 6"),
    (["read", "app.1"], "asks the application: line 7"),
    (["--as", "uid=12345", "publish", "other"],
     "is for other channels: line 8"),
    (["--as", "uid=12345", "report"], "is for another uid: line 10"),
    (["read", "public*"], "covers only a part of the prefix: line 2")])
def test_of_each_line_that_does_not_it_says_why(stack, rules, args, why):
    code, out, _ = ask(stack, rules(), *args)
    assert code == 1
    assert ": not allowed" in out.splitlines()[0]
    assert "  " + why in out
    lines = len(RULES.splitlines()) - 1
    assert out.count("\n") == 1 + lines, "each line once"


def test_one_that_is_refused_decides_the_exit(stack, rules):
    code, out, _ = ask(stack, rules(), "read", "news", "secret", "public.1")
    assert code == 1
    assert "news: allowed by line 2" in out
    assert "secret: not allowed" in out
    assert "public.1: allowed by line 2" in out


def test_root_needs_no_line_to_report_and_revoke(stack, rules):
    env = rules()
    for op in ("report", "revoke"):
        assert ask(stack, env, "--as", "uid=0", op)[0] == 0
        assert ask(stack, env, "--as", "uid=1", op)[0] == 1
    assert ask(stack, env, "--as", "uid=0", "publish", "x")[0] == 1


def test_reserved_channels_are_nobodys(stack, rules):
    code, out, _ = ask(stack, rules(), "--as", "gid=23456", "publish",
                       "system.revoke")
    assert code == 1
    assert "nobody's" in out


@pytest.mark.parametrize("args", [
    [], ["look", "news"], ["read"], ["report", "news"], ["read", "a b"],
    ["--as", "wizard", "read", "news"], ["--as", "user=", "read", "news"],
    ["--as", "env:=x", "read", "news"], ["--as", "gid=nosuch", "read", "x"],
    ["--as", "token=a b", "read", "news"], ["--as", "uid=nosuch", "report"]])
def test_what_is_not_understood_exits_with_64(stack, rules, args):
    code, out, err = ask(stack, rules(), *args)
    assert (code, out) == (64, "")
    assert err


def program(stack, name, env):
    user = dict(user=RUN_AS.pw_uid, group=RUN_AS.pw_gid,
                extra_groups=[]) if RUN_AS else {}
    return subprocess.run([str(stack.bin / name), "-n"], timeout=30,
                          env=stack.environment(**env), capture_output=True,
                          stdin=subprocess.DEVNULL, **user)


@pytest.mark.parametrize("text, groups, where", [
    ("anyone read news\nanyone reads news\n", GROUPS, "access-cli.conf:2: "),
    ("env HTTP_X read news\n", GROUPS, "access-cli.conf:1: "),
    (RULES, "staff: alice\nnothing\n", "groups-cli.conf:2: ")])
def test_a_mistake_is_told_with_its_file_and_line(stack, rules, text, groups,
                                                  where):
    env = rules(text, groups)
    for name in ("pubd", "sse.fcgi"):
        done = program(stack, name, env)
        assert done.returncode == 78, (name, done.stderr)
        assert where in done.stderr.decode()
    code, _, err = ask(stack, env, "read", "news")
    assert code == 78 and where in err
    done = stack.walcast("doctor", env=env)
    assert done.returncode == 1
    assert any(x.startswith("FAIL  access") and where in x
               for x in done.stdout.decode().splitlines())


def test_a_good_file_passes(stack, rules):
    env = rules()
    for name in ("pubd", "sse.fcgi"):
        done = program(stack, name, env)
        assert done.returncode == 0, (name, done.stderr)


def test_a_file_that_everybody_may_write_is_not_believed(stack, rules):
    env = rules(mode=0o666)
    for name in ("pubd", "sse.fcgi"):
        done = program(stack, name, env)
        assert done.returncode == 78 and b"chmod o-w" in done.stderr
    code, _, err = ask(stack, env, "read", "news")
    assert code == 78 and "chmod o-w" in err


def test_without_rules_there_is_nothing_to_ask(stack):
    code, out, err = ask(stack, {}, "read", "news")
    assert (code, out) == (78, "")
    assert "not set" in err


def doctor(stack, env):
    done = stack.walcast("doctor", env=env)
    return done.returncode, [x for x in done.stdout.decode().splitlines()
                             if x[6:].startswith(("access ", "token_keys "))]


def test_doctor_says_that_access_is_not_set(stack):
    code, lines = doctor(stack, {})
    assert code == 0
    assert len(lines) == 1 and "is not set" in lines[0]


def test_doctor_says_what_allows_nothing_or_too_much(stack, rules):
    env = rules("user read user.$user.*\ngroup ghosts read x\n"
                "token read *\napp read *\nanyone read system.x\n")
    code, lines = doctor(stack, env)
    text = "\n".join(lines)
    assert code == 0
    assert sum(x.startswith("warn") for x in lines) == 5, text
    for part in (":1: ", "$user_label", ":2: ", "group", ":5: ",
                 "token_keys is not set", "authorizer is not set"):
        assert part in text


def test_doctor_fails_on_keys_that_are_not_there(stack, rules):
    env = dict(rules(), WALCAST_TOKEN_KEYS="/nonexistent/keys")
    code, lines = doctor(stack, env)
    assert code == 1
    assert any(x.startswith("FAIL  token_keys") for x in lines), lines
    assert program(stack, "sse.fcgi", env).returncode == 78


def test_an_application_that_cannot_be_asked_fails_before_the_start(stack,
                                                                    rules):
    env = dict(rules(), WALCAST_AUTHORIZER="http://127.0.0.1:1/x")
    done = program(stack, "sse.fcgi", env)
    assert done.returncode == 78 and b"authorizer" in done.stderr
