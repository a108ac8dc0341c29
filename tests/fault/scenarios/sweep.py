# SPDX-License-Identifier: MIT
"""The n-th call fails, for every n: calls of the C library, methods of
SQLite's file system, allocations; in pubd, in a worker, in sse-metrics.fcgi.

A run takes some n of each fault, spread from a chosen one on; the long version
(WALCAST_SOAK=1) takes all of them until nothing fires.
"""

import errno

from scenario import scenario
from subjectmetrics import MetricsSubject
from subjectpubd import PubdSubject
from subjectworker import WorkerSubject
from sweep import EVER, SHORT, Sweep

ONCE, BOTH = (1,), (1, EVER)
EIO, ENOSPC = errno.EIO, errno.ENOSPC

# (site, errors, how many fail)
FILES = [
    ("pwrite", (EIO, ENOSPC), BOTH), ("pwrite", (SHORT,), BOTH),
    ("pread", (EIO,), BOTH), ("pread", (SHORT,), ONCE),
    ("fsync", (EIO, ENOSPC), BOTH),
    ("ftruncate", (EIO, ENOSPC), BOTH),
    ("open", (errno.EMFILE, errno.EACCES, EIO), BOTH),
    ("mmap", (errno.ENOMEM,), BOTH),
    ("stat", (EIO, errno.EACCES), BOTH),
    # Once: SQLite itself tries for up to 10 s to have a lock.
    ("fcntl", (errno.ENOLCK, errno.EAGAIN), ONCE),
    ("write", (EIO, SHORT), BOTH),
]
METHODS = [
    ("vfs-open", (0,), BOTH), ("vfs-read", (0,), BOTH),
    ("vfs-write", (0,), BOTH), ("vfs-tear", (0,), BOTH),
    ("vfs-sync", (0,), BOTH), ("vfs-truncate", (0,), BOTH),
    ("vfs-size", (0,), BOTH), ("vfs-lock", (0,), BOTH),
    ("vfs-shm-map", (0,), BOTH), ("vfs-shm-lock", (0,), BOTH),
    ("vfs-access", (0,), BOTH), ("vfs-path", (0,), BOTH),
]
SOCKETS = [
    ("accept", (errno.EMFILE,), BOTH), ("accept", (errno.ECONNABORTED,), ONCE),
    ("socket", (errno.EMFILE,), BOTH), ("connect", (errno.EAGAIN,), BOTH),
    ("send", (errno.ENOBUFS, errno.ECONNRESET, errno.EINTR), ONCE),
    ("send", (SHORT,), BOTH),
    ("recv", (errno.ENOMEM, errno.EINTR), ONCE), ("recv", (SHORT,), BOTH),
    ("read", (EIO, errno.EINTR), ONCE), ("read", (SHORT,), ONCE),
    ("epoll_create", (errno.EMFILE,), BOTH),
    ("epoll_ctl", (errno.ENOMEM, ENOSPC), ONCE),
    ("epoll_wait", (errno.EINTR,), ONCE),
    ("signalfd", (errno.EMFILE,), BOTH),
]
MEMORY = [("malloc", (0,), BOTH)]


def sweep(run, subject, plan, samples, short):
    """Runs the plan with so many n of each fault; fewer in a short run, all
    of them in a long one."""
    s = Sweep(subject, plan, run.rng, None if run.soak else
              short if run.short else samples).run()
    for explanation in s.wrong:
        run.check(False, explanation)
    for row in s.table.values():
        run.count("faults", row["faults"])
        run.count("trials", row["trials"])
    run.note(**{site: told(row) for site, row in s.table.items()})
    run.check(sum(row["faults"] for row in s.table.values()) > 0,
              "no call has failed: nothing was tried")


def told(row):
    """A site's row in words."""
    return "%d calls, %d lives: %s" % (
        row["calls"], row["trials"], ", ".join(
            "%d %s" % (n, outcome) for outcome, n in sorted(row.items())
            if outcome not in ("calls", "trials", "faults")))


@scenario("nth-io-pubd", tags="storage", fronts=("lighttpd",), short=True)
def nth_io_pubd(run):
    """The n-th write, fsync, open, mmap ... of pubd fails, for every n."""
    sweep(run, PubdSubject, FILES + METHODS + SOCKETS, samples=5, short=1)


@scenario("nth-io-worker", tags="storage", fronts=("lighttpd",), short=True)
def nth_io_worker(run):
    """The n-th call of a worker for a file or a socket fails, for every n."""
    sweep(run, WorkerSubject, FILES + METHODS + SOCKETS, samples=5, short=1)


@scenario("nth-io-metrics", tags="storage", fronts=("lighttpd",))
def nth_io_metrics(run):
    """The n-th call of sse-metrics.fcgi for a file or a socket fails."""
    sweep(run, MetricsSubject, FILES + METHODS + SOCKETS, samples=5, short=1)


@scenario("nth-malloc-pubd", tags="memory", fronts=("lighttpd",), short=True)
def nth_malloc_pubd(run):
    """The n-th allocation of pubd fails, for every n."""
    sweep(run, PubdSubject, MEMORY, samples=100, short=25)


@scenario("nth-malloc-worker", tags="memory", fronts=("lighttpd",), short=True)
def nth_malloc_worker(run):
    """The n-th allocation of a worker fails, for every n."""
    sweep(run, WorkerSubject, MEMORY, samples=100, short=25)


@scenario("nth-malloc-metrics", tags="memory", fronts=("lighttpd",))
def nth_malloc_metrics(run):
    """The n-th allocation of sse-metrics.fcgi fails, for every n."""
    sweep(run, MetricsSubject, MEMORY, samples=100, short=25)
