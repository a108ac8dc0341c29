# SPDX-License-Identifier: MIT
"""Failing the n-th call of a kind, for n = 1, 2, ... until none is left.

A trial is one life of a program under the shims (shim/nth.c, shim/vfs.c): it
is started, worked with, told to stop, and judged.  A fault says which call
fails and how.  What is done in a life is the business of a subject
(subjectpubd.py, subjectworker.py, subjectmetrics.py); here is what all share:

- it goes on, or exits by itself with a status and a reason in its log;
- in the end it stops in time when told to, and holds no descriptor more;
- no sanitizer has anything to say, that of leaks included (WALCAST_BIN with
  programs that were built with one).

One exception is not ours to mend: libfcgi asserts that malloc succeeds.  A
worker asks for room before each request, so that it takes an allocation that
fails inside libfcgi after a larger one succeeded; then that worker is gone,
and what its clients must find is judged all the same.
"""

import collections
import mmap
import os
import pathlib
import re
import shutil
import struct
import threading
import time

import shims
from harness import RUN_AS, Failed, Proc, Stack, can_connect

EVER = (1 << 64) - 1
SHORT = 0xffff          # as an error: half of the bytes are moved
LASTING_STRIDE = 5      # of n, for what does not fail once only
WRONG_MAX = 20          # then there is enough to look into
START_S = STOP_S = 20   # deadlines; nothing waits them out

OURS = re.compile(r"lib(nth|vfs|asan)\.so")     # frames between

Fault = collections.namedtuple("Fault", "site nth times error", defaults=(
    0, 1, 0))


def describe(fault):
    """A fault in words."""
    return "%s call %d%s%s" % (
        fault.site, fault.nth, " and all after it" if fault.times == EVER
        else "", " is cut short" if fault.error == SHORT
        else " fails with %s" % (os.strerror(fault.error) if fault.error
                                 else "the usual error"))


class Control:
    """The file by which a shim is told, and tells; see shim/control.h."""

    TOLD = struct.Struct("<IIQQ16s")
    FIRED, N_SITES, SEEN = 40, 48, 56
    SITES, SITE = 48, struct.Struct("<16sQ")
    STACK, BYTES = 56 + 48 * 24, 56 + 48 * 24 + 2048

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(self.BYTES))
        if RUN_AS:
            os.chown(path, RUN_AS.pw_uid, RUN_AS.pw_gid)
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), self.BYTES)

    def load(self, fault):
        """For the next trial: counts from the program's start on."""
        self.map[:] = bytes(self.BYTES)
        self.TOLD.pack_into(self.map, 0, 1, fault.error, fault.nth,
                            fault.times, fault.site.encode())

    def disarm(self):
        self.map[:4] = bytes(4)

    @property
    def seen(self):
        """{site: calls} of all sites that the shims know."""
        n, = struct.unpack_from("<Q", self.map, self.N_SITES)
        rows = (self.SITE.unpack_from(self.map, self.SEEN + i * self.SITE.size)
                for i in range(n))
        return {name.rstrip(b"\0").decode(): calls for name, calls in rows}

    @property
    def fired(self):
        return struct.unpack_from("<Q", self.map, self.FIRED)[0]

    @property
    def stack(self):
        """Objects and offsets of the last call that failed, inside out."""
        frames = self.map[self.STACK:].partition(b"\0")[0].decode().split()
        return [f for f in frames if not OURS.search(f)]

    def close(self):
        self.map.close()


# ---------------------------------------------------------------- one trial

class Trial:
    """One life of a program under a fault, and what was wrong with it."""

    def __init__(self, subject, fault):
        self.subject, self.fault = subject, fault
        self.st, self.control = subject.st, subject.control
        self.problems = []
        self.proc = self.code = None
        self.log = ""
        self.recovered = False
        self.told = False       # we asked it to end
        self.libfcgi = False    # it died by the hand of libfcgi
        self.notes = collections.Counter()

    def check(self, true, problem):
        if not true:
            self.problems.append(problem)

    def must(self, true, problem):
        """What has to be so as long as nothing fails."""
        self.check(true or self.control.fired, problem)

    @property
    def passes(self):
        """The fault is over by itself; what lasts is until recover()."""
        return self.fault.times == 1

    @property
    def lasts(self):
        """Calls may be failing now, for as long as we let them."""
        return not self.passes and not self.recovered

    # -- life of the program

    def start(self, *argv):
        self.control.load(self.fault)
        self.subject.log.write_bytes(b"")
        self.proc = Proc(argv[0].name, argv, self.subject.log,
                         env=self.st.environment(**self.subject.preload()),
                         cwd=str(self.st.dir))

    @property
    def running(self):
        return self.proc.running

    def reachable(self, path):
        """Waits until somebody listens at the path; False: it ended."""
        deadline = time.monotonic() + START_S
        while self.running:
            if can_connect(path):
                return True
            if time.monotonic() > deadline:
                self.check(False, "nobody listens after %g s" % START_S)
                return False
            time.sleep(0.002)
        return False

    def recover(self):
        """From now on nothing fails any more."""
        self.control.disarm()
        self.recovered = True

    def stop(self, signal):
        """Tells it to end, if it has not; waits for that."""
        if self.running:
            self.told = True
            self.proc.send_signal(signal)
        self.wait()

    def wait(self):
        """Its end: in time, by itself, with a reason."""
        try:
            self.code = self.proc.wait(STOP_S)
        except Failed:
            self.check(False, "it does not end")
            self.proc.kill_all()
            self.code = 0
        self.proc.stop()
        self.check(self.fault.site in self.control.seen,
                   "no shim knows this site")
        self.log = self.subject.log.read_text(errors="replace")
        self._judge_end(self.log)

    def _judge_end(self, log):
        for mark in ("AddressSanitizer", "LeakSanitizer", "runtime error:",
                     "stack smashing", "Assertion `"):
            at = log.find(mark)
            if at >= 0 and not self._is_libfcgis(log):
                self.check(False, "%s: see below" % mark)
        if self.code < 0 and self._is_libfcgis(log):
            self.libfcgi = True
        elif self.code < 0:
            self.check(False, "signal %d ended it" % -self.code)
        elif self.code > 0 and self.fault.site != "write":
            self.check(re.search(r"\]: (error|warning): ", log),
                       "it exits with %d and does not say why" % self.code)
        elif self.code == 0:
            self.check(self.told, "it ended with 0 without being told to")

    def _is_libfcgis(self, log):
        """libfcgi asserts that every malloc of its own succeeds: it says so
        itself, or the C library, which has no memory to say it for it."""
        stack = [f for f in self.control.stack if "libc.so" not in f]
        return self.fault.site == "malloc" and bool(stack) and \
            "libfcgi.so" in stack[0] and \
            re.search(r"fcgiapp\.c:\d+|Unexpected error\.", log)

    # -- what came of it

    @property
    def outcome(self):
        if not self.control.fired:
            return "none"
        if self.problems:
            return "wrong"
        if self.libfcgi:
            return "libfcgi"
        return "went on" if self.code == 0 else "exit %d" % self.code

    def explain(self):
        """The violation, with what is needed to repeat it."""
        return "%s, %s: %s\nat %s\n%s" % (
            self.subject.name, describe(self.fault),
            "; ".join(p[:400] for p in self.problems[:4]),
            symbols(self.control.stack),
            self.log[-4000:])


def symbols(stack):
    """Return addresses as the reader knows them, for our own programs."""
    return " <- ".join(pathlib.Path(frame).name for frame in stack[:12])


class Subject:
    """A program, how it is worked with, and where; one trial at a time.

    name     of the subject
    config   keys of walcast.conf
    """

    name = None
    config = {}

    def __init__(self):
        self.st = Stack(config=self.config)
        self.log = self.st.dir / "subject.out"
        self.control = Control(self.st.dir / "control")
        self.shims = self._shims()
        self.fds = None         # descriptors at rest
        self.prepare()

    def _shims(self):
        """Where RUN_AS can read them."""
        to = self.st.mkdir(self.st.dir / "shims")
        for file in shims.DIR.glob("lib*.so"):
            shutil.copy2(file, to / file.name)
        if not (to / "libnth.so").exists():
            raise FileNotFoundError("no shims in %s: make fault-shims" %
                                    shims.DIR)
        return to

    def preload(self):
        """The environment in which the program is under the shims."""
        # Before a sanitizer's run time, so that its malloc is behind ours;
        # the last one is set up first, when nothing is counted yet.
        asan = os.environ.get("ASAN_OPTIONS", "").split(":")
        return {"LD_PRELOAD": "%s/libnth.so:%s/libvfs.so" % (
                    self.shims, self.shims),
                "WALCAST_FAULT_CONTROL": self.control.path,
                "ASAN_OPTIONS": ":".join(filter(None, asan + [
                    "verify_asan_link_order=0"]))}

    def prepare(self):
        """Once, before the first trial."""

    def same_descriptors(self, t):
        """It holds no descriptor more than it did without a fault."""
        if self.fds is None and not t.control.fired:
            self.fds = t.proc.fds()
        deadline = time.monotonic() + 5
        while self.fds is not None and t.running and t.proc.fds() > self.fds:
            if time.monotonic() > deadline:
                t.check(False, "descriptors: %r" % t.proc.fd_targets())
                return
            time.sleep(0.02)

    def attempt(self, trial):
        """Works with the program, stops it, judges."""
        raise NotImplementedError

    def trial(self, fault):
        t = Trial(self, fault)
        try:
            self.attempt(t)
        except Exception as e:      # a client's surprise is a finding
            t.check(False, "%s: %s" % (type(e).__name__, e))
        finally:
            if t.proc and t.proc.running:
                t.proc.kill_all()
        return t

    def close(self):
        self.control.close()
        self.st.close()


# ---------------------------------------------------------------- many

class Sweep:
    """Trials of some faults, and what came of them.

    plan     [(site, errors, times)]: each error is tried, one-off (1) or from
             the n-th call on (EVER)
    samples  so many n of each, spread over all that there are from a chosen
             one on; None: every n until nothing fires
    first    the n to begin with, where a sweep before this one ended
    """

    def __init__(self, make_subject, plan, rng, samples=None, jobs=2, first=1):
        self.make_subject, self.plan, self.first = make_subject, plan, first
        self.rng, self.samples, self.jobs = rng, samples, jobs
        self.lock = threading.Lock()
        self.table = {}         # site: Counter
        self.wrong = []
        self._calls = {}       # site: calls in a life without a fault
        self._ended = set()
        self._faults = self._all()

    def _all(self):
        for site, errors, times in self.plan:
            for error in errors:
                for many in times:
                    yield from self._of(site, error, many)

    def _of(self, site, error, times):
        """One site's faults.  What lasts is much the same wherever it
        begins, so that it is begun at fewer of them."""
        stride = 1 if times == 1 else LASTING_STRIDE
        if self.samples:
            stride = max(1, self._calls[site] // self.samples)
        n = self.first + self.rng.randrange(stride)
        while (site, error, times) not in self._ended and \
                (not self.samples or n <= self._calls[site]):
            yield Fault(site, n, times, error)
            n += stride

    def _next(self):
        with self.lock:
            if len(self.wrong) >= WRONG_MAX:
                return None
            return next(self._faults, None)

    def _note(self, trial):
        f = trial.fault
        with self.lock:
            if not trial.control.fired:
                self._ended.add((f.site, f.error, f.times))
            row = self.table.setdefault(f.site, collections.Counter())
            row["calls"] = self._calls[f.site]
            row["trials"] += 1
            row["faults"] += trial.control.fired
            row[trial.outcome] += 1
            if trial.control.stack:
                object, _, _ = trial.control.stack[0].rpartition("+")
                row["in " + os.path.basename(object)] += 1
            row.update(trial.notes)
            if trial.problems:
                self.wrong.append(trial.explain())

    def _try_without(self, subject):
        """A life without a fault is right, or no finding means anything."""
        t = subject.trial(Fault("malloc"))
        if t.problems or t.code != 0:
            raise Failed("without a fault: " + t.explain())
        with self.lock:
            for site, calls in t.control.seen.items():
                self._calls[site] = max(calls, self._calls.get(site, 0))

    def _work(self):
        subject = self.make_subject()
        try:
            self._try_without(subject)
            while True:
                fault = self._next()
                if fault is None:
                    return
                self._note(subject.trial(fault))
        finally:
            subject.close()

    def run(self):
        """With several subjects side by side, since most of a trial waits."""
        errors = []

        def work():
            try:
                self._work()
            except BaseException as e:      # told below
                errors.append(e)
        threads = [threading.Thread(target=work) for _ in range(self.jobs)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        if errors:
            raise errors[0]
        return self
