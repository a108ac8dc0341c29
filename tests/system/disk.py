# SPDX-License-Identifier: MIT
"""The disk under a stack, and what can be done to it: a log on a small tmpfs
that fills up, files that are moved, cut or overwritten beneath all that have
them open, and other programs that use the log with SQLite."""

import contextlib
import ctypes
import errno
import os
import pathlib
import shutil
import sqlite3
import subprocess
import tempfile

from harness import RUN_AS, Stack

MS_REMOUNT = 32
MNT_DETACH = 2
PAGE = 4096
SIDES = ("-wal", "-shm")


# ---------------------------------------------------------------- mounts

def mount_tmpfs(path, size, flags=0):
    """Why it cannot be done, or None."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"walcast-test", bytes(path), b"tmpfs", flags,
                  b"mode=0750,size=%d" % size) != 0:
        return os.strerror(ctypes.get_errno())
    if RUN_AS:
        os.chown(path, RUN_AS.pw_uid, RUN_AS.pw_gid)
    return None


def unmount(path):
    ctypes.CDLL(None).umount2(bytes(path), MNT_DETACH)


def cannot_mount():
    """Why a tmpfs cannot be mounted here, or None."""
    with tempfile.TemporaryDirectory() as d:
        refused = mount_tmpfs(pathlib.Path(d), 1 << 20)
        if not refused:
            unmount(pathlib.Path(d))
    return refused


class Ballast:
    """A file that takes all the room there is in a directory."""

    def __init__(self, dir):
        self.path = dir / "ballast"

    def fill(self):
        """Leaves no byte."""
        with open(self.path, "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"x" * PAGE)
            except OSError as e:
                assert e.errno == errno.ENOSPC, e

    def free(self):
        self.path.unlink()


class SmallDisk(Stack):
    """The log lies in a tmpfs of its own."""

    BYTES = 16 << 20

    def mount(self):
        self.mkdir(self.var)
        self.ballast = Ballast(self.var)
        return mount_tmpfs(self.var, self.BYTES)

    def init(self):
        if not os.path.ismount(self.var):
            refused = self.mount()
            assert refused is None, refused
        return super().init()

    def enlarge(self, size):
        """What an administrator does when the log alone fills its disk."""
        assert mount_tmpfs(self.var, size, MS_REMOUNT) is None

    def fill(self):
        self.ballast.fill()

    def free(self):
        self.ballast.free()

    def close(self):
        try:
            super().close()
        finally:
            unmount(self.var)
            if not self.keep:
                shutil.rmtree(self.dir, ignore_errors=True)


class SmallStatusDisk(Stack):
    """status.db lies in a tmpfs of its own, the log does not."""

    BYTES = 1 << 20

    def init(self):
        super().init()
        self.small = self.mkdir(self.dir / "small")
        refused = mount_tmpfs(self.small, self.BYTES)
        assert refused is None, refused
        self.ballast = Ballast(self.small)
        self.bound = []
        for suffix in ("", "-wal", "-shm"):     # no links: none is followed
            real, here = (d / ("status.db" + suffix)
                          for d in (self.small, self.var))
            for path in (real, here):
                path.touch(0o660)
                own(path)
            subprocess.run(["mount", "--bind", real, here], check=True)
            self.bound.append(here)
        return self

    def close(self):
        try:
            super().close()
        finally:
            for here in self.bound:
                unmount(here)
            unmount(self.small)
            if not self.keep:
                shutil.rmtree(self.dir, ignore_errors=True)


# ---------------------------------------------------------------- files

def beside(st, suffix):
    return st.db.with_name(st.db.name + suffix)


def delete_sides(st, suffixes=SIDES):
    """Deletes -wal and -shm under all that have them open."""
    for suffix in suffixes:
        with contextlib.suppress(FileNotFoundError):
            beside(st, suffix).unlink()


def remove_log(st, keep=None):
    """Moves the log away (or deletes it) under all that have it open."""
    if keep:
        st.db.rename(keep)
    else:
        st.db.unlink()
    delete_sides(st)


def own(path, mode=0o660):
    """Makes a file one of the programs'."""
    if RUN_AS:
        os.chown(path, RUN_AS.pw_uid, RUN_AS.pw_gid)
    os.chmod(path, mode)


def put_in_place(st, source, new_generation=True):
    """Restores a log as the manual says (Backup and restore)."""
    restored = st.var / "restored.db"
    shutil.copyfile(source, restored)
    if new_generation:
        with contextlib.closing(sqlite3.connect(restored)) as db, db:
            db.execute("UPDATE meta SET value = lower(hex(randomblob(16))) "
                       "WHERE name = 'generation'")
    own(restored)
    st.db.unlink(missing_ok=True)
    delete_sides(st)
    restored.rename(st.db)
    st.walcast("init", "--mode", st.mode, check=True)


def overwrite(st, pages, rng):
    """Pages of the log (numbered from 0) become noise; -wal is untouched."""
    with open(st.db, "r+b", buffering=0) as f:
        for page in pages:
            os.pwrite(f.fileno(), rng.randbytes(PAGE), page * PAGE)


def pages_of(st):
    return st.db.stat().st_size // PAGE


# ---------------------------------------------------------------- programs

@contextlib.contextmanager
def program(st, timeout=10):
    """Another program's connection to the log, in autocommit."""
    with contextlib.closing(sqlite3.connect(
            str(st.db), timeout=timeout, isolation_level=None,
            check_same_thread=False)) as db:
        yield db


def to_file(st):
    """All of the log goes from -wal to its file."""
    with program(st) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def generation(st):
    with program(st) as db:
        return db.execute("SELECT value FROM meta WHERE name = "
                          "'generation'").fetchone()[0]
