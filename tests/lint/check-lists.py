#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Enums that stay in step with words and metrics are lists of X(MEMBER, word).
This shows that they cannot get out of step: a member added to one of them does
not compile before it has all that it needs; and when two members of each
change places, every word and every metric still is the right one.

Usage: check-lists.py BUILD_DIR     (what holds the generated headers)
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]

# The list, the header that has it, and the file that a new member breaks.
LISTS = [
    ("FRONTENDS", "frontend.h", "worker_metrics.c"),
    ("FRAME_GAPS", "frame.h", "worker_metrics.c"),
    ("FRAME_REASONS", "frame.h", "worker_metrics.c"),
    ("STREAM_END_LIST", "stream.h", "worker_metrics.c"),
    ("ADMIT_REJECT_LIST", "admit.h", "worker_metrics.c"),
    ("ADMIT_REFUSE_LIST", "admit.h", "worker_metrics.c"),
    ("TOKEN_FAULTS", "token.h", "worker_metrics.c"),
    ("AUTHORIZER_RESULTS", "authorizer.h", "worker_metrics.c"),
    ("ACCEPTOR_REFUSAL_LIST", "acceptor.h", "acceptor_metrics.c"),
    ("BEACON_RESULT_LIST", "beacons.h", "beacons.c"),
    ("BEACON_FALLBACK_LIST", "beacon.h", "beacons.c"),
    ("PROTOCOL_ERRORS", "protocol.h", "requests.c"),
    ("CONN_SPARED", "conn.h", "pubd_metrics.c"),
    ("TRACE_KINDS", "otlp.h", "otlp.c"),
    ("ACCESS_KINDS", "access.h", "access_parse.c"),
    ("CHECK_METRIC_LIST", "cli_check.h", "cli_check.c"),
]

# Unit tests that know the right word for each member.
JUDGES = ["worker_metrics", "request_log", "frame", "beacons", "protocol",
          "request", "conn", "otlp", "cli_check", "access"]


def find(root, name):
    """Where a source file of this name lies."""
    found = [p for top in ("fcgi", "pubd", "lib")
             for p in (root / top).rglob(name)]
    assert len(found) == 1, "%s: %r" % (name, found)
    return found[0]


def members(text, name):
    """The members of a list, each as it is written."""
    body = re.search(r"#define %s\(X\)((?:.*\\\n)*.*\n)" % name, text)
    return body, re.findall(r"X\(\w+, [^)]*\)", body.group(1))


def with_one_more(text, name):
    """The header with a member more."""
    body, found = members(text, name)
    more = " X(NEW_MEMBER, " + found[-1].split(", ")[1]
    return text.replace(body.group(1), body.group(1).replace(
        found[-1], found[-1] + more, 1), 1)


def with_two_swapped(text, name):
    """The header with the first two members in each other's place."""
    body, (a, b, *_) = members(text, name)
    mixed = body.group(1).replace(a, "X()", 1).replace(b, a, 1)
    return text.replace(body.group(1), mixed.replace("X()", b, 1))


def flat(into):
    """Copies of all headers in one directory, where none finds another beside
    it that is not the copy."""
    for top in ("fcgi", "pubd", "lib"):
        for p in (ROOT / top).rglob("*"):
            if p.suffix in (".h", ".def"):
                shutil.copy(p, into)


def compiles(source, headers, build):
    """Whether a file compiles with these headers; and what the compiler says."""
    done = subprocess.run(
        [*os.environ.get("CC", "cc").split(), "-std=c11", "-D_GNU_SOURCE",
         '-DWALCAST_VERSION="0"', "-I" + headers, "-I%s/gen" % build,
         "-fsyntax-only", "-xc", "-"],
        cwd=ROOT, capture_output=True, text=True, input=source.read_text())
    return done.returncode == 0, done.stderr


def check_added(build):
    """A member without all that it needs is an error of the compiler."""
    bad = []
    for name, header, file in LISTS:
        with tempfile.TemporaryDirectory() as tmp:
            flat(tmp)
            source, there = find(ROOT, file), pathlib.Path(tmp, header)
            fine, said = compiles(source, tmp, build)
            if not fine:
                bad.append("%s does not compile as it is: %s" % (file, said))
            there.write_text(with_one_more(there.read_text(), name))
            fine, said = compiles(source, tmp, build)
            if fine:
                bad.append("%s: %s compiles with a member more" % (name, file))
            elif "NEW_MEMBER" not in said:
                bad.append("%s: %s says %s" % (name, file, said))
    return bad


def check_swapped():
    """Their order means nothing."""
    with tempfile.TemporaryDirectory() as tmp:
        tree = pathlib.Path(tmp, "tree")
        tree.mkdir()
        for name in ("Makefile", "lib", "fcgi", "pubd", "sql", "tests"):
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(
                ROOT / name, tree / name)
        for name, header, _ in LISTS:
            path = find(tree, header)
            path.write_text(with_two_swapped(path.read_text(), name))
        tests = ["build/tests/unit/test_" + j for j in JUDGES]
        done = subprocess.run(["make", "-s", *tests, "CFLAGS=-O0"], cwd=tree,
                              capture_output=True, text=True)
        if done.returncode != 0:
            return ["with members swapped: %s" % done.stderr]
        return ["with members swapped: %s" % r.stdout + r.stderr
                for r in (subprocess.run([str(tree / t)], cwd=tree, text=True,
                                         capture_output=True)
                          for t in tests) if r.returncode != 0]


def main():
    bad = check_added(sys.argv[1]) + check_swapped()
    for b in bad:
        print("check-lists:", b, file=sys.stderr)
    if bad:
        return 1
    print("check-lists: %d lists: a new member needs all its words, and their "
          "order means nothing" % len(LISTS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
