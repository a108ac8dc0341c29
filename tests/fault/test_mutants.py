# SPDX-License-Identifier: MIT
"""The patches of mutants/ are fit to be tried.  `make mutants` takes its time
and is not run at each change: what rots is told here."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent / "system")]

from scenario import all_scenarios      # noqa: E402

# Not by its name: the harness has a run.py of its own.
spec = importlib.util.spec_from_file_location("mutants_run",
                                              HERE / "mutants" / "run.py")
mutants = importlib.util.module_from_spec(spec)
spec.loader.exec_module(mutants)

PATCHES = sorted((HERE / "mutants").glob("*.patch"))


@pytest.mark.parametrize("path", PATCHES, ids=lambda p: p.stem)
def test_a_patch_says_all_and_applies(path):
    mutant = mutants.Mutant(path)
    known = all_scenarios()
    assert mutant.promise in range(1, 7)
    for c in mutant.catchers:
        assert c.scenario in known and known[c.scenario].short
        assert "lighttpd" in known[c.scenario].fronts
    done = subprocess.run(
        ["patch", "-p1", "-s", "--fuzz=2", "--dry-run", "-i", path],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout


def test_every_promise_is_broken_by_some():
    promises = {mutants.Mutant(p).promise for p in PATCHES}
    assert promises == set(range(1, 7))


def test_the_table_has_every_mutant():
    text = (HERE / "mutants" / "README.md").read_text()
    assert mutants.table([mutants.Mutant(p) for p in PATCHES]) in text
