#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Do the systemd units of docs/OPERATIONS.md say what the package's say, apart
from names, paths and users?  Exits with 1 and the differences when not."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAIRS = {"walcast": "walcast-pubd", "walcast-sse": "walcast-sse",
         "walcast-metrics": "walcast-metrics"}
SITE = {"Description", "Documentation", "After", "Wants", "Requires",
        "ExecStart", "User", "Group", "RuntimeDirectory", "ReadWritePaths",
        "RuntimeDirectoryMode", "RuntimeDirectoryPreserve", "StandardInput",
        "StandardOutput", "StandardError", "WantedBy"}
MUST = {"StartLimitIntervalSec", "MemoryHigh", "MemoryMax", "NoNewPrivileges",
        "ProtectSystem", "SystemCallFilter", "CapabilityBoundingSet"}


def settings(text):
    """{(section, "Key=value")} but those of SITE."""
    section, out = None, set()
    for line in text.splitlines():
        if line.startswith("["):
            section = line
        elif re.match(r"[A-Z]\w+=", line) and line.split("=")[0] not in SITE:
            out.add((section, line))
    return out


def shown():
    """{path: text} of the blocks in OPERATIONS.md that are files."""
    text = (ROOT / "docs" / "OPERATIONS.md").read_text()
    return dict(re.findall(
        r"```ini\n# /etc/systemd/system/(\S+?):?(?: [^\n]*)?\n(.*?)```", text,
        re.S))


def main():
    blocks, bad = shown(), []
    for theirs, ours in PAIRS.items():
        package = settings(
            (ROOT / "debian" / (theirs + ".service")).read_text())
        by_hand = settings(blocks.get(ours + ".service", "")) \
            | settings(blocks.get("walcast-.service.d/10-sandbox.conf", ""))
        bad += ["%s.service: only the package's has %s" % (ours, line)
                for _, line in sorted(package - by_hand)]
        bad += ["%s.service: only that of OPERATIONS.md has %s" % (ours, line)
                for _, line in sorted(by_hand - package)]
        missing = MUST - {line.split("=")[0] for _, line in package}
        bad += ["%s.service has no %s" % (theirs, k) for k in sorted(missing)]
    for line in bad:
        print("check-units:", line, file=sys.stderr)
    if not bad:
        print("check-units: %d units agree" % len(PAIRS))
    return bool(bad)


sys.exit(main())
