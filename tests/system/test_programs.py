# SPDX-License-Identifier: MIT
"""What all programs have in common: their options and how they end, signals, and
HUP, which reads the configuration again."""

import os
import pathlib
import re
import signal
import subprocess

import pytest

from fcgi import Conn, request
from harness import ROOT, Stack, wait_until

DAEMONS = ["pubd", "sse.fcgi", "sse-metrics.fcgi"]
ALL = DAEMONS + ["walcast"]

OK, USAGE, CONFIG = 0, 64, 78


@pytest.fixture(scope="module")
def st():
    with Stack() as s:
        yield s.start()


def run(st, name, *args, **env):
    """With no web server around it, and no listening socket."""
    return subprocess.run([st.bin / name, *map(str, args)], timeout=20,
                          stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, env=st.environment(**env), cwd=st.dir)


# ---------------------------------------------------------------- options

@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("args", [
    ["stray"], ["--nonsense"], ["-x"], ["--config"], ["--", "stray"],
    ["--version=1"], ["--help=1"], [""]])
def test_a_wrong_command_line_is_64_and_says_what_there_is(st, name, args):
    done = run(st, name, *args)
    assert done.returncode == USAGE
    assert done.stdout == ""
    assert name in done.stderr
    assert "--help" in done.stderr or "walcast help" in done.stderr


@pytest.mark.parametrize("name", ALL)
def test_help_and_version_are_the_same_by_letter_and_by_name(st, name):
    version = run(st, name, "-V")
    assert (version.returncode, version.stderr) == (OK, "")
    assert re.fullmatch(re.escape(name) + r" \d+\.\d+\.\d+\n", version.stdout)
    assert run(st, name, "--version").stdout == version.stdout
    help = run(st, name, "-h")
    assert (help.returncode, help.stderr) == (OK, "")
    assert help.stdout.startswith("usage: %s " % name)
    assert run(st, name, "--help").stdout == help.stdout


@pytest.mark.parametrize("name", ALL)
def test_the_manual_has_each_option_of_the_help(st, name):
    page = next((ROOT / "docs" / "man").glob(name + ".[18]")).read_text()
    help = run(st, name, "--help").stdout
    longs = re.findall(r"(?:^|, |    )--([a-z]+)", help, re.M)
    letters = re.findall(r"^  -([A-Za-z])\b", help, re.M)
    assert "config" in longs
    for o in set(longs) | {"version", "help"}:
        assert re.search(r"^\.It .*Fl -%s\b" % o, page, re.M), o
    for o in set(letters) | {"V", "h"}:
        assert re.search(r"^\.It .*Fl %s\b" % o, page, re.M), o


@pytest.mark.parametrize("name", DAEMONS)
@pytest.mark.parametrize("option", ["-c", "--config", "environment"])
def test_a_bad_configuration_is_78_wherever_it_is_named(st, name, option):
    bad = st.dir / "bad.conf"
    st.write(bad, "# x\nnonsense = 1\n")
    for check in [[], ["-n"]]:
        if option == "environment":
            done = run(st, name, *check, WALCAST_CONF=bad)
        else:
            done = run(st, name, *check, option, bad)
        assert done.returncode == CONFIG
        assert "bad.conf:2: there is no key" in done.stderr
        assert done.stdout == ""


@pytest.mark.parametrize("name", DAEMONS)
def test_a_check_prints_all_keys_and_is_78_without_a_log(make_stack, name):
    st = make_stack(pubd=False, workers=0, metrics=False)
    # As its owner: root keeps out of other users' directories.
    good = st.spawn(name, [st.bin / name, "-n"])
    assert good.wait() == OK
    printed = re.findall(r"^(\w+) = ?", good.tail(), re.M)
    assert {"database", "log_level", "beacon", "otlp_endpoint"} <= set(printed)
    st.db.unlink()
    bad = st.spawn(name, [st.bin / name, "-n"])
    assert bad.wait() == CONFIG
    assert "there is no log at %s" % st.db in bad.tail()


def test_what_a_program_opens_never_becomes_its_standard_error(make_stack):
    st = make_stack(pubd=False, workers=0, metrics=False)
    for name, args, sock in [
            ("pubd", [], st.pubd_sock),
            ("sse.fcgi", ["--listen", st.sse_sock], st.sse_sock),
            ("sse-metrics.fcgi", ["--listen", st.metrics_sock],
             st.metrics_sock)]:
        p = st.spawn(name, ["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-',
                            st.bin / name, *args])
        st.await_socket(p, sock)
        for fd in range(3):
            path = pathlib.Path("/proc/%d/fd/%d" % (p.pid, fd))
            assert str(path.readlink()) == "/dev/null", (name, fd)


# ---------------------------------------------------------------- signals

@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT,
                                 signal.SIGUSR1])
def test_a_program_that_is_told_to_end_ends_in_order(make_stack, sig):
    st = make_stack(config={"drain_ms": 100})
    for proc, path in [(st.metrics, st.metrics_sock),
                       (st.worker, st.sse_sock), (st.pubd, st.pubd_sock)]:
        proc.send_signal(sig)
        assert proc.wait() == OK, proc.tail()
        assert not path.exists(), proc.name


@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_broken_pipe_ends_nobody(st, daemon):
    proc = dict(zip(DAEMONS, [st.pubd, st.worker, st.metrics]))[daemon]
    proc.send_signal(signal.SIGPIPE)
    status = pathlib.Path("/proc/%d/status" % proc.pid).read_text()
    ignored = int(re.search(r"^SigIgn:\s*(\w+)", status, re.M).group(1), 16)
    assert ignored & (1 << (signal.SIGPIPE - 1))
    assert proc.running


# ---------------------------------------------------------------- HUP

def hup(proc, line="configuration read again"):
    """Returns what it has logged since."""
    size = proc.log.stat().st_size
    proc.send_signal(signal.SIGHUP)

    def said():
        with open(proc.log, "rb") as f:
            f.seek(size)
            text = f.read().decode(errors="replace")
        return text if line in text else None
    return wait_until(said, 20, "%s to say %r" % (proc.name, line))


def daemons(st):
    return dict(zip(DAEMONS, [st.pubd, st.worker, st.metrics]))


def stream(st, query="channel=a", **more):
    conn = Conn(st.sse_sock, request(query=query, **more))
    return conn, conn.record()[2].decode(errors="replace")


def test_hup_changes_the_log_of_each_program(make_stack):
    st = make_stack(config={"log_level": "error"})
    for proc in daemons(st).values():
        proc.send_signal(signal.SIGHUP)     # at error nothing is said of it
    open_before, _ = stream(st)
    st.configure(log_level="info", log_format="json")
    for proc in daemons(st).values():
        said = hup(proc)
        assert said.count("\n") == 1 and said.startswith("{"), said
    conn, _ = stream(st)
    wait_until(lambda: "stream.open" in st.worker.tail(), 10, "a line")
    assert st.worker.tail().count("stream.open") == 1   # not of the first one
    # Streams stay open, and go on.
    st.publish("a", "x")
    for c in [open_before, conn]:
        while b"data: x" not in c.record()[2]:
            pass
        c.close()
    st.configure(log_level="error", log_format="text")
    for proc in daemons(st).values():
        size = proc.log.stat().st_size
        proc.send_signal(signal.SIGHUP)
        if proc is st.worker:
            stream(st)[0].close()
        st.publish("a", "y")
        assert proc.log.stat().st_size == size


@pytest.mark.parametrize("name", DAEMONS)
def test_hup_does_not_end_a_program_that_only_starts(st, name):
    """As from a service manager that reloads right after a start."""
    fifo = st.dir / ("late-%s.conf" % name)
    os.mkfifo(fifo)
    proc = subprocess.Popen([st.bin / name, "-c", fifo], cwd=st.dir, text=True,
                            stderr=subprocess.PIPE, env=st.environment())
    with open(fifo, "w") as conf:       # it has come to its configuration
        proc.send_signal(signal.SIGHUP)
        conf.write("nonsense = 1\n")
    _, said = proc.communicate(timeout=20)
    assert proc.returncode == CONFIG and "nonsense" in said


def test_hup_with_a_wrong_file_keeps_the_old_configuration(make_stack):
    st = make_stack(config={"default_channel": "a", "log_level": "info"})
    st.write(st.conf, st.conf.read_text().replace(
        "default_channel = a", "default_channel = b")
        + "log_rate = many\n")
    for name, proc in daemons(st).items():
        said = hup(proc, "keeping the old configuration: ")
        assert re.search(r"walcast\.conf:\d+: log_rate: \"many\"", said), name
        assert "read again" not in said
    conn, _ = stream(st, query="")
    st.publish("a", "x")
    while b"data: x" not in conn.record()[2]:
        pass
    conn.close()
    # And when the file is gone.
    st.conf.unlink()
    for proc in daemons(st).values():
        hup(proc, "keeping the old configuration: ")
        assert proc.running


def keys_of(name):
    """The keys that the manual says this program reads."""
    page = (ROOT / "docs" / "man" / (name + ".8")).read_text()
    part = re.search(r"(?:The keys that concern|These keys of)\n.*?[;.]\n",
                     page, re.S).group(0)
    return set(re.findall(r"^\.(?:Ic|Cm) (\w+)", part, re.M))


def keys_for_restart():
    page = (ROOT / "docs" / "man" / "walcast.conf.5").read_text()
    parts = re.split(r"^\.It Ic ", page, flags=re.M)[1:]
    return {p.split()[0] for p in parts if "\n.Pq restart\n" in p}


def test_hup_names_the_keys_that_need_a_restart_and_no_others(make_stack):
    st = make_stack()
    st.config.update(database=st.dir / "x.db", socket=st.dir / "x.sock")
    st.configure(socket_mode="0600", synchronous="normal", heartbeat_ms=900,
                 retry_ms=201, ring_bytes=70000, max_lag_events=9999,
                 max_lag_s=999, request_timeout_ms=9000, metrics="off",
                 otlp_endpoint="http://127.0.0.1:9/x", max_streams=3,
                 retain_events=77, beacon="on", tail_poll_ms=51,
                 access="/x/access.conf", groups="/x/groups",
                 token_keys="/x/keys", authorizer="fcgi:/x/sock:/x/a.php")
    assert keys_for_restart() <= set(st.config)
    for name, proc in daemons(st).items():
        for _ in range(2):      # as long as it is so
            said = hup(proc)
            named = re.findall(r"(\w+) has changed: restart (\S+) for it",
                               said)
            assert {n for _, n in named} == {name}
            assert {k for k, _ in named} == keys_for_restart() & keys_of(name)
    # Nor has any of it happened.
    st.publish("a", "x")
    assert re.search(r"retry: ?[12]\d\d\n", stream(st)[1])


def test_hup_lets_a_worker_take_what_it_reads_where_it_stands(make_stack):
    st = make_stack(config={"reject": "hard", "allow_origin": None})
    origin = {"HTTP_ORIGIN": "https://a.example"}

    def answer(query="channel=a", **params):
        conn, text = stream(st, query, **params)
        conn.close()
        return text

    assert "Access-Control-Allow-Origin" not in answer(**origin)
    assert "400" in answer(query="")[:40]
    st.configure(default_channel="a", allow_origin="https://a.example")
    hup(st.worker)
    assert "Access-Control-Allow-Origin: https://a.example" in answer(
        **origin)
    assert "text/event-stream" in answer(query="")
    st.configure(max_streams=1)
    hup(st.worker)

    def full():
        first, text = stream(st)
        if "text/event-stream" not in text:
            return None     # the one before has not been noticed
        second, text = stream(st)
        first.close()
        second.close()
        return text
    assert "503" in wait_until(full, 10, "the first stream")[:40]
    st.configure(reject="soft")
    hup(st.worker)
    assert "control.close" in wait_until(full, 10, "the first stream")
