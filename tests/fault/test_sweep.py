# SPDX-License-Identifier: MIT
"""The shims fail the call that they are told to, and a sweep sees what is
wrong with a program that does not bear it."""

import errno
import os
import pathlib
import random
import subprocess
import sys

import pytest

sys.path[:0] = [os.path.dirname(__file__),
                os.path.join(os.path.dirname(__file__), "..", "system")]

from shims import shim                  # noqa: E402
from subjectpubd import PubdSubject     # noqa: E402
from sweep import EVER, Control, Fault, Sweep, Trial     # noqa: E402

pytestmark = pytest.mark.skipif(not shim("nth").exists(),
                                reason="make fault-shims")


def under(tmp_path, fault, *argv):
    """Runs a program under a fault: (what it printed, Control)."""
    control = Control(tmp_path / "control")
    control.load(fault)
    done = subprocess.run(argv, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60,
                          env=dict(os.environ, LD_PRELOAD="%s:%s" % (
                              shim("nth"), shim("vfs")),
                              WALCAST_FAULT_CONTROL=str(control.path)))
    return done.stdout.decode(errors="replace"), control


def test_the_nth_call_fails_and_no_other(tmp_path):
    lines = "import os; r, w = os.pipe()\n" \
        "for n in range(1, 6):\n" \
        "    try: os.fsync(1); print(n, 'ok')\n" \
        "    except OSError as e: print(n, e.errno)\n"
    none, control = under(tmp_path, Fault("send", 1), sys.executable, "-c",
                          "import os\n" + lines)
    assert control.fired == 0 and control.seen["fsync"] == 5
    real = [line.split()[1] for line in none.splitlines()]
    for times, want in ((1, {3}), (2, {3, 4}), (EVER, {3, 4, 5})):
        text, control = under(tmp_path, Fault("fsync", 3, times,
                                              errno.ENOSPC),
                              sys.executable, "-c", lines)
        got = [line.split()[1] for line in text.splitlines()]
        assert got == [str(errno.ENOSPC) if n in want else real[n - 1]
                       for n in range(1, 6)]
        assert control.fired == len(want)


def test_a_child_neither_counts_nor_fails(tmp_path):
    text, control = under(
        tmp_path, Fault("fsync", 1, EVER, errno.ENOSPC), sys.executable, "-c",
        "import os\n"
        "pid = os.fork()\n"
        "try: os.fsync(os.open('/', os.O_RDONLY)); said = 'ok'\n"
        "except OSError as e: said = e.errno\n"
        "os.write(1, b'%s\\n' % str(said).encode())\n"
        "pid and os.waitpid(pid, 0)\n")
    assert sorted(text.split()) == [str(errno.ENOSPC), "ok"]
    assert control.fired == control.seen["fsync"] == 1


def test_a_method_of_the_file_system_fails(tmp_path):
    text, control = under(
        tmp_path, Fault("vfs-write", 2), sys.executable, "-c",
        "import sqlite3\n"
        "try: sqlite3.connect(%r).execute('CREATE TABLE t(a)')\n"
        "except sqlite3.Error as e: print(e)\n" % str(tmp_path / "x.db"))
    assert "disk I/O error" in text and control.fired == 1
    assert any("libsqlite3" in frame for frame in control.stack)


class Liar(PubdSubject):
    """A pubd whose acks are not true."""

    def judge_events(self, t, c, rows):
        super().judge_events(t, c, rows[:-1])


def test_a_wrong_ack_is_seen():
    subject = Liar()
    try:
        t = subject.trial(Fault("malloc"))
    finally:
        subject.close()
    assert any("not in the log" in p for p in t.problems), t.problems


class Crashing(PubdSubject):
    """A program that dies."""

    def attempt(self, t):
        t.start(pathlib.Path("/bin/sh"), "-c", "kill -SEGV $$")
        t.wait()


def test_a_crash_is_seen():
    subject = Crashing()
    try:
        t = subject.trial(Fault("malloc"))
    finally:
        subject.close()
    assert "signal 11 ended it" in t.problems, t.problems


def test_a_sweep_takes_every_n_until_nothing_fires():
    class Counting:
        tried = []

        def trial(self, fault):
            t = Trial.__new__(Trial)
            t.fault, t.problems, t.code, t.notes = fault, [], 0, {}
            t.libfcgi = False
            t.control = type("C", (), dict(
                fired=int(0 < fault.nth <= 7), stack=[], seen={"open": 7}))
            self.tried.append(fault.nth)
            return t

        def close(self):
            pass

    s = Sweep(Counting, [("open", (0,), (1,))], random.Random(1), jobs=1)
    s.run()
    assert Counting.tried == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert s.table["open"]["faults"] == 7 and not s.wrong
