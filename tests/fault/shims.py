# SPDX-License-Identifier: MIT
"""Where the shims of shim/ are: `make fault-shims` builds them beside the
programs.  WALCAST_SHIMS names another directory."""

import os
import pathlib

from harness import BIN

DIR = pathlib.Path(os.environ.get("WALCAST_SHIMS",
                                  BIN.resolve().parent / "fault"))


def shim(name):
    """The path of libNAME.so, which may not be there."""
    return DIR / ("lib%s.so" % name)


def needed(run, name):
    """Skips a scenario whose shim is not built."""
    if not shim(name).exists():
        run.skip("%s is not built: make fault-shims" % shim(name))
