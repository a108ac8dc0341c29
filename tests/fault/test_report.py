# SPDX-License-Identifier: MIT
"""The reports say what the results are, and machines can read them."""

import json
import pathlib
import sys
import xml.etree.ElementTree as ET

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).parent)]

import report                                           # noqa: E402
from report import Result                               # noqa: E402

ABOUT = {"seed": 7, "version": "0.1.0", "machine": "Linux 6, 2 processors",
         "started": "2026-01-01T00:00:00Z", "arguments": ["--rounds", "2"]}
LATENCY = {"p50": 1.25, "p90": 2.0, "p99": 30.5, "max": 31.0}
BROKEN = [{"kind": "missing", "message": "subscriber s1: id 4 <passed> over",
           "context": "  #1 +0.1 event 3\n> #2 +0.2 event 5"},
          {"kind": "short", "message": "s2", "context": ""},
          {"kind": "missing", "message": "s3", "context": ""}]


def green():
    return Result("pubd-killed", "lighttpd", "passed", rounds=2,
                  counters={"kills": 2, "cuts": 1}, acked=100, deliveries=1000,
                  latency=LATENCY, notes={"back_s": 0.25}, seconds=1.5)


def failed():
    return Result("drop", "apache-proxy", "failed", "id 4 is missing",
                  rounds=1, counters={"kills": 1}, acked=10, deliveries=20,
                  violations=BROKEN, seconds=2.0, history_file="/x/h 1.jsonl")


def skipped():
    return Result("netns", "lighttpd", "skipped", "not root")


def error():
    return Result("hung", "lighttpd", "error", "no end\nwithin \x1b[1m 5 s")


ALL = [green(), failed(), skipped(), error()]


@pytest.mark.parametrize("results, code", [
    ([green()], 0), ([green(), skipped()], 0), ([skipped()], 2), ([], 2),
    ([green(), error()], 2), ([green(), error(), failed()], 1)])
def test_only_what_ran_and_kept_all_promises_is_green(results, code):
    assert report.exit_status(results) == code


def test_a_status_must_be_one_that_is_known():
    with pytest.raises(ValueError):
        Result("x", "y", "green")


def test_a_line_has_the_figures():
    words = report.line(green()).split()
    assert words[:3] == ["passed", "pubd-killed", "lighttpd"]
    for word in ("rounds=2", "kills=2", "cuts=1", "acked=100",
                 "deliveries=1000", "violations=0", "p50=1.25ms",
                 "p99=30.5ms", "back_s=0.25", "1.5s"):
        assert word in words
    assert report.text(green(), ABOUT) == report.line(green())


def test_what_was_skipped_says_why():
    assert report.text(skipped(), ABOUT).endswith("not root")
    assert report.line(skipped()).startswith("skipped")


def test_a_failure_shows_its_first_violation_and_how_to_repeat():
    text = report.text(failed(), ABOUT)
    assert text.startswith("FAILED")
    assert "first violation: missing: subscriber s1: id 4 <passed> over" in text
    assert "> #2 +0.2 event 5" in text
    assert "all: 2 missing, 1 short" in text
    assert "walcast-harness judge '/x/h 1.jsonl'" in text
    assert "walcast-harness run drop --front apache-proxy --rounds 2 " \
        "--seed 7" in text


def test_an_error_shows_its_reason():
    text = report.text(error(), ABOUT)
    assert text.startswith("ERROR") and "no end" in text


def test_a_foreign_deployment_is_repeated_by_its_url():
    r = failed()
    r.front = "url"
    assert "--front" not in report.repeat(r, ABOUT)


def test_the_summary_adds_up():
    text = report.summary(ALL, ABOUT)
    for part in ("1 passed", "1 failed", "1 skipped", "1 error",
                 "110 events acked", "1020 deliveries checked", "3 kills",
                 "3 violations", "seed 7"):
        assert part in text
    assert report.summary([], ABOUT).startswith("nothing run")


def test_the_json_has_everything():
    document = json.loads(report.as_json(ALL, ABOUT))
    assert {k: document[k] for k in ABOUT} == ABOUT
    first, second = document["scenarios"][:2]
    assert first["scenario"] == "pubd-killed" and first["front"] == "lighttpd"
    assert first["latency"] == LATENCY and first["notes"] == {"back_s": 0.25}
    assert second["violations"] == BROKEN
    assert second["history_file"] == "/x/h 1.jsonl"
    assert [r["status"] for r in document["scenarios"]] == [
        "passed", "failed", "skipped", "error"]
    assert document["totals"] == {
        "passed": 1, "failed": 1, "skipped": 1, "error": 1, "acked": 110,
        "deliveries": 1020, "rounds": 3, "seconds": 3.5, "violations": 3,
        "counters": {"kills": 3, "cuts": 1}}


def test_the_junit_file_can_be_read_back():
    suite = ET.fromstring(report.as_junit(ALL, ABOUT))
    assert suite.tag == "testsuite"
    assert {k: suite.get(k) for k in ("tests", "failures", "errors",
                                      "skipped")} == {
        "tests": "4", "failures": "1", "errors": "1", "skipped": "1"}
    assert {p.get("name"): p.get("value")
            for p in suite.iter("property")}["seed"] == "7"
    cases = {c.get("name"): c for c in suite.iter("testcase")}
    assert cases["pubd-killed"].get("classname") == "walcast.fault.lighttpd"
    assert cases["pubd-killed"].get("time") == "1.500"
    failure = cases["drop"].find("failure")
    assert failure.get("type") == "missing"
    assert "id 4 <passed> over" in failure.text
    assert cases["netns"].find("skipped").get("message") == "not root"
    assert "within \N{REPLACEMENT CHARACTER}[1m 5 s" in \
        cases["hung"].find("error").get("message")
