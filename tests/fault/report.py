# SPDX-License-Identifier: MIT
"""What came of a run: for people, as JSON, as JUnit XML.

Pure: takes results and figures, gives text.  `about` is a dict of what is the
same for the whole run (seed, version, machine ...).
"""

import dataclasses
import json
import shlex
import xml.etree.ElementTree as ET

STATUSES = ("passed", "failed", "skipped", "error")
SHOWN = ("p50", "p99", "max")


@dataclasses.dataclass
class Result:
    """One scenario behind one web server.

    status      passed; failed: a promise was broken; skipped: it cannot be
                done here; error: it came to no verdict
    reason      a sentence, unless passed
    counters    what was done: {"kills": 3, ...}
    violations  dicts of kind, message and context, the first one first
    latency     ms: p50 p90 p99 max, ack_p50 ...
    notes       figures that the scenario adds
    history_file  the record that was judged, kept when it failed
    """

    scenario: str
    front: str
    status: str
    reason: str = ""
    rounds: int = 0
    counters: dict = dataclasses.field(default_factory=dict)
    acked: int = 0
    deliveries: int = 0
    violations: list = dataclasses.field(default_factory=list)
    latency: dict = dataclasses.field(default_factory=dict)
    notes: dict = dataclasses.field(default_factory=dict)
    seconds: float = 0
    history_file: str = None

    def __post_init__(self):
        if self.status not in STATUSES:
            raise ValueError("status %r" % self.status)


def exit_status(results):
    """0: something ran and all that ran is green; 1: a promise was broken;
    2: there was no verdict."""
    statuses = {r.status for r in results}
    if "failed" in statuses:
        return 1
    return 0 if "passed" in statuses and "error" not in statuses else 2


def _figure(x):
    if isinstance(x, float):
        return "%.3g" % x if x < 1000 else "%.0f" % x
    return str(x)


# ---------------------------------------------------------------- text

def line(r):
    """One result in one line."""
    words = ["%-7s" % (r.status if r.status in ("passed", "skipped")
                       else r.status.upper()),
             "%-28s %-12s" % (r.scenario, r.front)]
    if r.status == "skipped":
        return " ".join(words + [r.reason])
    figures = {"rounds": r.rounds, **r.counters, "acked": r.acked,
               "deliveries": r.deliveries, "violations": len(r.violations)}
    words += ["%s=%s" % (k, _figure(v)) for k, v in figures.items()]
    words += ["%s=%sms" % (p, _figure(r.latency[p])) for p in SHOWN
              if p in r.latency]
    words += ["%s=%s" % (k, _figure(v)) for k, v in r.notes.items()]
    return " ".join(words + ["%.1fs" % r.seconds])


def repeat(r, about):
    """The command line that does the same again."""
    words = ["walcast-harness", "run", r.scenario, "--front", r.front]
    if r.front == "url":
        words = words[:3]
    words += about.get("arguments", [])
    return " ".join(map(shlex.quote, words + ["--seed", str(about["seed"])]))


def details(r, about):
    """Why it is not green: the first violation with its context."""
    out = []
    if r.status == "error":
        out.append(r.reason.rstrip())
    if r.violations:
        first = r.violations[0]
        out.append("first violation: %s: %s" % (first["kind"],
                                                first["message"]))
        out += first["context"].splitlines()
    if len(r.violations) > 1:
        kinds = {}
        for v in r.violations:
            kinds[v["kind"]] = kinds.get(v["kind"], 0) + 1
        out.append("all: " + ", ".join("%d %s" % (n, k)
                                       for k, n in kinds.items()))
    if r.history_file:
        out.append("judge it again: walcast-harness judge %s" %
                   shlex.quote(r.history_file))
    out.append("repeat: " + repeat(r, about))
    return "\n".join("    " + text for block in out
                     for text in block.split("\n"))


def text(r, about):
    """All that a person is told of a result while the run goes on."""
    if r.status in ("passed", "skipped"):
        return line(r)
    return line(r) + "\n" + details(r, about)


def totals(results):
    """Sums over all results."""
    out = {s: sum(r.status == s for r in results) for s in STATUSES}
    for name in ("acked", "deliveries", "rounds", "seconds"):
        out[name] = sum(getattr(r, name) for r in results)
    out["seconds"] = round(out["seconds"], 3)
    out["violations"] = sum(len(r.violations) for r in results)
    counters = {}
    for r in results:
        for k, v in r.counters.items():
            counters[k] = counters.get(k, 0) + v
    out["counters"] = counters
    return out


def summary(results, about):
    """The last line for a person."""
    t = totals(results)
    words = ["%d %s" % (t[s], s) for s in STATUSES if t[s]] or ["nothing run"]
    words.append("%d events acked" % t["acked"])
    words.append("%d deliveries checked" % t["deliveries"])
    words += ["%d %s" % (n, k.replace("_", " "))
              for k, n in sorted(t["counters"].items()) if k == "kills"]
    words += ["%d violations" % t["violations"], "seed %s" % about["seed"]]
    return ", ".join(words)


# ---------------------------------------------------------------- JSON, JUnit

def as_json(results, about):
    """The whole run as one document."""
    return json.dumps(dict(about, scenarios=[dataclasses.asdict(r)
                                             for r in results],
                           totals=totals(results)), indent=1, default=str)


def _clean(s):
    """XML has no way to write most control characters."""
    return "".join(c if c in "\t\n\r" or 0x20 <= ord(c) < 0xd800
                   or 0xe000 <= ord(c) < 0xfffe or ord(c) > 0xffff
                   else "\N{REPLACEMENT CHARACTER}" for c in s)


def _case(suite, r, about):
    case = ET.SubElement(suite, "testcase", name=r.scenario,
                         classname="walcast.fault." + r.front,
                         time="%.3f" % r.seconds)
    if r.status == "skipped":
        ET.SubElement(case, "skipped", message=_clean(r.reason))
        return
    if r.status != "passed":
        tag = "failure" if r.status == "failed" else "error"
        kind = r.violations[0]["kind"] if r.violations else r.status
        node = ET.SubElement(case, tag, message=_clean(r.reason), type=kind)
        node.text = _clean(details(r, about))
    ET.SubElement(case, "system-out").text = _clean(line(r))


def as_junit(results, about):
    """A test suite as continuous integration reads it."""
    t = totals(results)
    suite = ET.Element(
        "testsuite", name="walcast-harness", tests=str(len(results)),
        failures=str(t["failed"]), errors=str(t["error"]),
        skipped=str(t["skipped"]), time="%.3f" % t["seconds"])
    properties = ET.SubElement(suite, "properties")
    for name, value in about.items():
        ET.SubElement(properties, "property", name=name,
                      value=_clean(str(value)))
    for r in results:
        _case(suite, r, about)
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True)


FORMATS = {"json": as_json, "junit": as_junit}
