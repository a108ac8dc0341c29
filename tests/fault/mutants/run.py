#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Proves that the harness can fail: builds Walcast with one deliberate break
after the other and expects that the scenario named in each patch finds it.

    tests/fault/mutants/run.py            all; writes the table of README.md
    tests/fault/mutants/run.py NAME ...   some
    tests/fault/mutants/run.py --list

A patch begins with lines of its own:

    Promise: 3                      of docs/RELIABILITY.md
    Breaks: what is wrong with it
    Unseen: why neither the compiler nor a good day shows it
    Caught-by: SCENARIO=KIND [rounds=N]     a kind of violation; any number
                                            (KIND|KIND: whichever comes first)

Exit status 0: the sources are green and all mutants were caught by each of
their scenarios; 1: one was not, or no longer applies; 2: it cannot be tried.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
HARNESS = HERE.parent / "walcast-harness"
SOURCES = ["Makefile", "lib", "fcgi", "pubd", "sql"]    # of the programs
BUILD = ["programs", "fault-shims"]
README = HERE / "README.md"
MARKS = "<!-- table: from here", "<!-- table: to here -->"


class Broken(Exception):
    """It cannot be tried at all."""


class Catcher:
    """A scenario that is to find a mutant, and what it is to say."""

    def __init__(self, text):
        m = re.fullmatch(r"([\w-]+)=([\w|]+)(?: rounds=(\d+))?", text.strip())
        if not m:
            raise Broken("not a catcher: %r" % text)
        self.scenario, self.kind, self.rounds = m.groups()

    @property
    def args(self):
        """How the scenario is run."""
        more = ("--rounds", self.rounds) if self.rounds else ()
        return (self.scenario, *more)


class Mutant:
    """One patch."""

    def __init__(self, path):
        self.path, self.name = path, path.stem
        head, _, self.diff = path.read_text().partition("\n--- ")
        fields = {}
        for name, value in re.findall(r"^([A-Z][\w-]+): (.*(?:\n .*)*)", head,
                                      re.M):
            fields.setdefault(name, []).append(" ".join(value.split()))
        try:
            self.promise = int(fields["Promise"][0])
            self.breaks, self.unseen = fields["Breaks"][0], fields["Unseen"][0]
            self.catchers = [Catcher(c) for c in fields["Caught-by"]]
        except KeyError as e:
            raise Broken("%s does not say %s" % (path.name, e)) from None


# ---------------------------------------------------------------- building

def command(*args, cwd, **kw):
    """Runs a program; its output, or Broken."""
    done = subprocess.run([str(a) for a in args], cwd=cwd, timeout=600,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, text=True,
                          errors="replace", **kw)
    if done.returncode != 0:
        raise Broken("%s in %s: exit %d\n%s" % (
            " ".join(map(str, args)), cwd, done.returncode,
            done.stdout[-3000:]))
    return done.stdout


def make(tree):
    """Builds a tree.  Returns the compiler's warnings."""
    out = command("make", "-j2", *BUILD, cwd=tree)
    return [line for line in out.splitlines() if "warning:" in line]


def copy_sources(tree):
    """The sources as they are now, with what builds the shims."""
    for name in SOURCES:
        here = ROOT / name
        (shutil.copytree if here.is_dir() else shutil.copy2)(here, tree / name)
    fault = tree / "tests" / "fault"
    fault.mkdir(parents=True)
    shutil.copy2(HERE.parent / "build.mk", fault)
    shutil.copytree(HERE.parent / "shim", fault / "shim")


def build_mutant(base, tree, mutant):
    """A copy of the built sources with the patch, built again."""
    shutil.copytree(base, tree)
    try:
        command("patch", "-p1", "-s", "--fuzz=2", "--no-backup-if-mismatch",
                "-i", mutant.path, cwd=tree)
    except Broken as e:
        raise Broken("%s does not fit the sources any more, refresh it: %s" % (
            mutant.path.name, e)) from None
    return make(tree)


# ---------------------------------------------------------------- trying

def run_scenario(tree, args, seed):
    """(exit status, the scenario's result) with the programs of a tree."""
    env = dict(os.environ, WALCAST_BIN=str(tree / "build" / "bin"))
    done = subprocess.run(
        [sys.executable, "-B", HARNESS, "run", *args, "--front", "lighttpd",
         "--seed", str(seed), "--short", "--format", "json"],
        cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    try:
        return done.returncode, json.loads(done.stdout)["scenarios"][0]
    except (ValueError, LookupError):
        raise Broken("%s: exit %d\n%s" % (
            " ".join(args), done.returncode, done.stderr[-3000:])) from None


def is_green(base, args, seed):
    """Whether the sources as they are pass what is to find a mutant."""
    code, result = run_scenario(base, args, seed)
    say("green" if code == 0 else "NOT GREEN", "the sources", args,
        result["seconds"], "" if code == 0 else result["reason"][:600])
    return code == 0


def is_caught(tree, mutant, seed):
    """Whether each of its catchers says what it is to say."""
    good = True
    for c in mutant.catchers:
        code, result = run_scenario(tree, c.args, seed)
        kinds = [v["kind"] for v in result["violations"]]
        found = code == 1 and any(k in kinds for k in c.kind.split("|"))
        say("caught" if found else "SURVIVES" if code == 0 else "NOT CAUGHT",
            mutant.name, c.args, result["seconds"],
            "" if found else "%s, not %s: %s" % (
                ", ".join(dict.fromkeys(kinds)) or result["status"], c.kind,
                result["reason"][:600]))
        good = good and found
    return good


def say(verdict, name, args, seconds, more=""):
    print("%-10s %-28s %-20s %5.1fs %s" % (verdict, name, args[0], seconds,
                                           more), flush=True)


# ---------------------------------------------------------------- the table

def table(mutants):
    """Mutant and catcher, for the reader."""
    rows = ["| mutant | promise | what it breaks | caught by | as |",
            "|---|---|---|---|---|"]
    for m in sorted(mutants, key=lambda m: (m.promise, m.name)):
        rows.append("| [%s](%s) | %d | %s | %s | %s |" % (
            m.name, m.path.name, m.promise, m.breaks,
            ", ".join("`%s`" % c.scenario for c in m.catchers),
            ", ".join(dict.fromkeys(c.kind.replace("|", " or ")
                                    for c in m.catchers))))
    return "\n".join(rows)


def write_table(mutants):
    text = README.read_text()
    before, begin, rest = text.partition(MARKS[0])
    line, _, rest = rest.partition("\n")
    _, end, after = rest.partition(MARKS[1])
    if not end:
        raise Broken("%s has no marks for the table" % README)
    README.write_text("%s%s%s\n\n%s\n\n%s%s" % (
        before, begin, line, table(mutants), end, after))


# ---------------------------------------------------------------- the run

def chosen(names):
    known = {p.stem: p for p in sorted(HERE.glob("*.patch"))}
    wrong = [n for n in names if n not in known]
    if wrong:
        raise Broken("no mutant %s; --list shows them" % ", ".join(wrong))
    return [Mutant(known[n]) for n in names or known]


def try_one(base, mutant, seed):
    """Builds it and runs its catchers.  Whether it was caught."""
    tree = base.with_name(mutant.name)
    try:
        for warning in build_mutant(base, tree, mutant):
            print("%-10s %s: %s" % ("warning", mutant.name, warning))
        return is_caught(tree, mutant, seed)
    except Broken as e:
        print("%-10s %s" % ("BROKEN", e), flush=True)
        return False
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def try_all(mutants, args, dir):
    """The mutants that were not caught."""
    base = dir / "base"
    base.mkdir()
    copy_sources(base)
    make(base)
    checks = sorted({c.args for m in mutants for c in m.catchers})
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        if not all(list(pool.map(
                lambda check: is_green(base, check, args.seed), checks))):
            raise Broken("without a mutant not all is green")
        caught = pool.map(lambda m: try_one(base, m, args.seed), mutants)
        return [m for m, good in zip(mutants, caught) if not good]


def run(args):
    mutants = chosen(args.name)
    if args.list:
        for m in mutants:
            print("%-28s %d  %s" % (m.name, m.promise, m.breaks))
        return 0
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="walcast-mutants-") as dir:
        os.chmod(dir, 0o755)    # the servers may run as another user
        missed = try_all(mutants, args, pathlib.Path(dir))
    print("%d mutants, %d caught, %d not, %d s" % (
        len(mutants), len(mutants) - len(missed), len(missed),
        time.monotonic() - started))
    if missed:
        print("not: %s" % " ".join(m.name for m in missed))
    elif not args.name:
        write_table(mutants)
    return 1 if missed else 0


def main():
    p = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    p.add_argument("name", nargs="*", help="of a patch, without .patch")
    p.add_argument("--list", action="store_true", help="show them all")
    p.add_argument("--seed", type=int, default=1, help="for the scenarios")
    p.add_argument("--jobs", type=int, default=2, help="mutants at once (2)")
    try:
        return run(p.parse_args())
    except Broken as e:
        print("mutants: %s" % e, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
