# SPDX-License-Identifier: MIT
"""The command: what it runs, how it ends, and that nothing outlives it."""

import importlib.machinery
import importlib.util
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET

import pytest

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "system")]

import checker                                          # noqa: E402
from harness import Stack, alive, descendants, wait_until   # noqa: E402
from scenario import PROXIED, Scenario                  # noqa: E402
from worlds import World                                # noqa: E402

loader = importlib.machinery.SourceFileLoader("walcast_harness",
                                              str(HERE / "walcast-harness"))
command = importlib.util.module_from_spec(
    importlib.util.spec_from_loader(loader.name, loader))
loader.exec_module(command)


# ---------------------------------------------------------------- scenarios

def tiny(run):
    """Some events through the real servers."""
    st = run.stack()
    web = run.front(st)
    with run.traffic(st, web, subscribers=3, rate=200) as t:
        for _ in run.each_round():
            t.progress(run.rng.randrange(10, 20))
            run.count("looks")
        t.finish()


def lossy(run):
    """A history with an event that one subscriber did not get."""
    h = World(1).run()
    n = max(n for n, step in enumerate(h.subs[0].steps) if step[0] == "event")
    del h.subs[0].steps[n]
    run.judged(h, checker.judge(h))


def lucky(run):
    """Tells its chance."""
    run.note(drawn=run.rng.random())


def absent(run):
    """Cannot be done here."""
    run.skip("no such machine")


def broken(run):
    """Raises what is no verdict."""
    raise KeyError("a fault of the scenario")


def killed(run):
    """Its process dies."""
    os.kill(os.getpid(), signal.SIGKILL)


def hung(run):
    """Never ends, with an orphan in a session of its own."""
    script = "sleep 1000 & echo $! >%s" % os.environ["PID_FILE"]
    subprocess.Popen(["sh", "-c", script], start_new_session=True).wait()
    time.sleep(1000)


@pytest.fixture
def place():
    """A directory that the programs' user can reach, unlike tmp_path."""
    with tempfile.TemporaryDirectory(prefix="walcast-") as name:
        os.chmod(name, 0o755)
        yield pathlib.Path(name)


@pytest.fixture(autouse=True)
def ours(monkeypatch, place):
    """Only these scenarios are there; what is kept is kept here."""
    known = {fn.__name__: Scenario(fn.__name__, fn, "test " + fn.__name__,
                                   PROXIED, fn is tiny, fn is tiny, 2)
             for fn in (tiny, lossy, lucky, absent, broken, killed, hung)}
    monkeypatch.setattr(command, "scenarios", lambda: known)
    monkeypatch.setattr(tempfile, "tempdir", str(place))


def call(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["walcast-harness", *words])
    return command.main()


# ---------------------------------------------------------------- usage

@pytest.mark.parametrize("words, why", [
    (["run", "nothing"], "no scenario 'nothing'"),
    (["run-tag", "nothing"], "tagged nothing"),
    (["run-tag", "hung", "--short"], "short selection"),
    (["run", "tiny", "--front", "iis"], "no web server 'iis'"),
    (["run", "tiny", "--url", "http://localhost/"], "--socket"),
    (["run", "tiny", "--socket", "/x"], "--url"),
    (["run", "tiny", "--url", "http://localhost/", "--socket", "/x",
      "--front", "lighttpd"], "--front"),
    (["judge", "/nowhere"], "/nowhere")])
def test_what_cannot_be_run_is_said(monkeypatch, capsys, words, why):
    assert call(monkeypatch, *words) == 2
    assert why in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["run"], ["run", "tiny", "--rounds",
                                                 "0"], ["dance"]])
def test_bad_usage_is_2(monkeypatch, words):
    with pytest.raises(SystemExit) as e:
        call(monkeypatch, *words)
    assert e.value.code == 2


def test_without_the_programs_nothing_is_run(monkeypatch, capsys, place):
    monkeypatch.setattr(command, "BIN", place)
    assert call(monkeypatch, "run", "tiny") == 2
    assert "not built" in capsys.readouterr().err


def test_a_fault_of_the_harness_itself_is_no_verdict(monkeypatch, capsys):
    monkeypatch.setattr(command, "scenarios", lambda: 1 / 0)
    assert call(monkeypatch, "run", "tiny") == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_list_shows_each_scenario(monkeypatch, capsys):
    assert call(monkeypatch, "list") == 0
    out = capsys.readouterr().out
    assert "Some events through the real servers." in out
    assert "tags: hung test" in out and "short url" in out


# ---------------------------------------------------------------- runs

def test_a_scenario_runs_behind_both_web_servers(monkeypatch, capsys,
                                                 place):
    assert call(monkeypatch, "run", "tiny", "--format", "json") == 0
    told = capsys.readouterr()
    run = json.loads(told.out)
    assert [r["front"] for r in run["scenarios"]] == ["lighttpd",
                                                      "apache-proxy"]
    for r in run["scenarios"]:
        assert r["status"] == "passed" and r["rounds"] == 2
        assert r["counters"]["looks"] == 2
        assert r["deliveries"] == 3 * r["acked"] and r["acked"] >= 20
        assert r["latency"]["p50"] <= r["latency"]["p99"]
    assert "seed %d" % run["seed"] in told.err
    assert not list(place.iterdir())     # nothing is left of it


def test_a_deployment_of_others_is_tested_by_its_url(monkeypatch, capsys):
    with Stack() as st:
        st.start(workers=2, metrics=False)
        web = st.front("lighttpd")
        st.publish("c0", "not the harness's")
        assert call(monkeypatch, "run-all", "--format", "json", "--url",
                    web.url + "/sse.fcgi", "--socket", str(st.pubd_sock)) == 0
    results = {r["scenario"]: r
               for r in json.loads(capsys.readouterr().out)["scenarios"]}
    assert results["tiny"]["status"] == "passed"
    assert results["tiny"]["deliveries"] == 3 * results["tiny"]["acked"] > 0
    assert results["hung"]["status"] == "skipped"


def test_a_violation_is_1_and_its_history_can_be_judged_again(
        monkeypatch, capsys):
    assert call(monkeypatch, "run", "lossy", "--front", "lighttpd") == 1
    out = capsys.readouterr().out
    assert "FAILED  lossy" in out and "first violation: " in out
    (kept,) = re.findall("walcast-harness judge (.*)", out)
    assert call(monkeypatch, "judge", kept) == 1
    assert "position_beyond" in capsys.readouterr().out


def test_a_good_history_is_judged_good(monkeypatch, capsys, place):
    World(1).run().save(place / "h")
    assert call(monkeypatch, "judge", str(place / "h")) == 0
    assert "0 violations" in capsys.readouterr().out


def test_the_same_seed_has_the_same_chance(monkeypatch, capsys):
    def drawn(*words):
        call(monkeypatch, "run", "lucky", "--format", "json", *words)
        run = json.loads(capsys.readouterr().out)
        return run["seed"], [r["notes"]["drawn"] for r in run["scenarios"]]
    seed, first = drawn()
    assert drawn("--seed", str(seed)) == (seed, first)
    assert drawn("--seed", str(seed + 1))[1] != first
    assert first[0] != first[1]             # each web server has its own


def test_what_was_skipped_is_not_green(monkeypatch, capsys):
    assert call(monkeypatch, "run", "absent") == 2
    assert "skipped absent" in capsys.readouterr().out


def test_junit_goes_to_standard_output(monkeypatch, capsys):
    assert call(monkeypatch, "run-tag", "absent", "--format", "junit") == 2
    suite = ET.fromstring(capsys.readouterr().out)
    assert suite.get("skipped") == "2"


@pytest.mark.parametrize("name, why", [("broken", "KeyError"),
                                       ("killed", "SIGKILL")])
def test_what_comes_to_no_verdict_is_an_error(monkeypatch, capsys, name, why):
    assert call(monkeypatch, "run", name, "--front", "lighttpd") == 2
    out = capsys.readouterr().out
    assert "ERROR   " + name in out and why in out


def test_a_hung_scenario_ends_with_all_that_it_started(monkeypatch, capsys,
                                                       place):
    pids = place / "pid"
    monkeypatch.setenv("PID_FILE", str(pids))
    assert call(monkeypatch, "run", "hung", "--front", "lighttpd",
                "--timeout", "2") == 2
    assert "no end within 2 s" in capsys.readouterr().out
    orphan = int(pids.read_text())
    wait_until(lambda: not alive(orphan), 5, "the end of the orphan")


def test_keep_leaves_the_directory_of_what_failed(monkeypatch, capsys,
                                                  place):
    assert call(monkeypatch, "run", "broken", "--front", "lighttpd",
                "--keep") == 2
    (kept,) = map(pathlib.Path, re.findall("^kept: (.*)",
                                           capsys.readouterr().out, re.M))
    assert kept.parent == place and (kept / "broken-lighttpd").is_dir()


def test_who_is_terminated_leaves_nothing_running(place):
    """As `timeout` and continuous integration do it."""
    with subprocess.Popen(
            [HERE / "walcast-harness", "run", "pubd-killed", "--rounds", "100",
             "--front", "lighttpd"], stdout=subprocess.PIPE,
            env=dict(os.environ, TMPDIR=str(place))) as p:
        wait_until(lambda: list(place.glob("*/*/*/run/pubd.sock")), 20,
                   "the scenario to begin")
        below = descendants(p.pid)
        p.terminate()
        assert p.wait(20) == 2
    assert len(below) >= 3              # it, the scenario, pubd
    assert not [pid for pid, since in below.items() if alive(pid, since)]
    assert not list(place.iterdir())
