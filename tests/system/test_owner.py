# SPDX-License-Identifier: MIT
"""Links in a directory that others may write, and root in it."""

import os
import re
import shutil
import sqlite3
import subprocess

import pytest

from harness import ROOT, RUN_AS, Proc

needs_root = pytest.mark.skipif(RUN_AS is None,
                                reason="root alone has what others want")


@pytest.fixture
def prize(tmp_path):
    """A file of root's that somebody else would like to have."""
    path = tmp_path / "cron"
    path.write_text("root's own\n")
    path.chmod(0o600)
    yield path
    s = path.stat()
    assert (s.st_uid, s.st_gid, s.st_mode & 0o777) == (0, 0, 0o600)
    assert path.read_text() == "root's own\n"


def as_root(st, program, *args):
    return subprocess.run([str(st.bin / program), *args], cwd="/",
                          env=st.environment(), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=30)


def put_link(st, name, prize):
    for suffix in ("", "-wal", "-shm"):
        path = st.var / (name + suffix)
        if path.exists():
            path.unlink()
    os.symlink(prize, st.var / name)
    os.lchown(st.var / name, RUN_AS.pw_uid, RUN_AS.pw_gid)


@needs_root
@pytest.mark.parametrize("program,args", [
    ("walcast", ["init", "--mode", "open"]), ("walcast", ["trim", "--keep", "1"]),
    ("walcast", ["audit"]), ("walcast", ["status"]), ("pubd", []),
    ("pubd", ["-n"]), ("sse.fcgi", ["-n"]), ("sse.fcgi", []),
    ("sse-metrics.fcgi", [])])
@pytest.mark.parametrize("name", ["events.db", "status.db"])
def test_root_works_in_no_directory_of_others(make_stack, prize, program,
                                              args, name):
    st = make_stack(metrics=False)
    st.stop_pubd()
    put_link(st, name, prize)
    if program.endswith(".fcgi") and not args:
        args = ["--listen", str(st.run / "root.sock")]
    done = as_root(st, program, *args)
    assert not (st.run / "root.sock").exists()
    assert done.returncode != 0
    assert "root does not work on the log here" in done.stdout + done.stderr
    assert "runuser -u www-data" in done.stdout + done.stderr


@needs_root
def test_pubd_follows_no_link_that_a_publisher_left(make_stack, prize):
    """In open mode the group may make files: it can link to what pubd's
    user may write, and to nothing of it may pubd go."""
    st = make_stack(metrics=False)
    st.stop_pubd()
    mine = st.dir / "mine"
    shutil.copy(st.db, mine)
    os.chown(mine, RUN_AS.pw_uid, RUN_AS.pw_gid)
    before = mine.read_bytes()
    put_link(st, "events.db", mine)
    done = st.walcast("audit")
    assert done.returncode != 0 and b"is a link" in done.stderr
    pubd = Proc("pubd", [st.bin / "pubd"], st.dir / "again.log",
                env=st.environment())
    assert pubd.wait(20) != 0
    assert "is a link" in (st.dir / "again.log").read_text()
    assert mine.read_bytes() == before


@needs_root
def test_the_restore_of_the_manual_works_and_needs_no_root(make_stack):
    st = make_stack(metrics=False)
    st.publish("a", 1)
    backup = st.dir / "backup.db"
    with sqlite3.connect(st.db) as db:
        db.execute("VACUUM INTO ?", (str(backup),))
        before = db.execute("SELECT value FROM meta").fetchone()[0]
    st.publish("a", 2)
    st.stop_pubd()
    text = (ROOT / "docs/OPERATIONS.md").read_text()
    block = re.search(r"^Restore:\n\n```sh\n(.*?)^```", text, re.M | re.S)[1]
    lines = [x for x in block.splitlines() if "systemctl" not in x]
    script = "\n".join(lines).replace("/var/lib/walcast", str(st.var)) \
        .replace("/backup/events.db", str(backup)) \
        .replace("-u walcast", "-u " + RUN_AS.pw_name)
    assert str(backup) in script and str(st.var) in script
    env = dict(st.environment())
    env["PATH"] = "%s:%s" % (st.bin, os.environ["PATH"])
    done = subprocess.run(["sh", "-c", script], env=env, cwd="/",
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert st.db.stat().st_uid == RUN_AS.pw_uid
    st.restart_pubd()
    ping = st.publisher().call({"op": "ping"})
    assert ping["head"] == 1 and ping["generation"] != before
