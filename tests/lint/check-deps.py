#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The house's rules, which docs/ARCHITECTURE.md states and this enforces:

- each source file lies in a room of the table there, and includes headers of
  its own room and of those that the table allows, nothing else;
- no module depends on itself by a circle;
- a third-party header is included by the one file that wraps it;
- a header compiles alone; a private one stays in its room;
- no static function, structure or enumeration has its name in two files, so
  that a backtrace and a search need no explanation.

Prints what breaks a rule; exit status 1.
"""

import collections
import concurrent.futures
import graphlib
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ARCHITECTURE = ROOT / "docs/ARCHITECTURE.md"
GENERATED = {"sql_text.h", "page_text.h"}

# What fcgi/ itself may hold: the programs, and what knows every room.
AT_THE_TOP = re.compile(r"main_\w+\.c|worker\.[ch]|worker_metrics\.[ch]")

WRAPPED = {
    r"sqlite3\.h": {"lib/store/db_private.h", "lib/store/db_vfs.c"},
    r"json-c/.*|json\.h": {"lib/json.c"},
    r"uthash\.h": {"lib/hashtable.h"},
    r"curl/.*": {"pubd/exporter.c"},
    r"fcgiapp\.h|fcgi_stdio\.h": {"fcgi/gateway/fcgx.c"},
}

problems = []


def say(text, *args):
    problems.append(text % args)


class Source:
    """One file, and what it includes."""

    def __init__(self, path):
        self.path = path.relative_to(ROOT)
        self.name = path.name
        self.room = str(self.path.parent)
        self.text = path.read_text()
        self.includes = re.findall(r'^#include "([^"]+)"$', self.text, re.M)

    @property
    def module(self):
        """Of which it is a part: foo of foo.c, foo.h and foo_private.h, and
        of any other file that includes foo_private.h."""
        for inc in self.includes:
            if inc.endswith("_private.h"):
                return inc.removesuffix("_private.h")
        return re.sub(r"(_private)?\.(c|h|def)$", "", self.name)


def rooms():
    """{room: {room that it may include: modules, or None for all}}, of the
    table in ARCHITECTURE."""
    table = {}
    text = ARCHITECTURE.read_text()
    for line in text[text.index("\n| room |"):].partition("\n\n")[0] \
            .splitlines():
        m = re.match(r"\| `([a-z/]+)/` \|.*\|([^|]*)\|$", line)
        if not m:
            continue
        allowed = {}
        for room, only in re.findall(r"`([a-z/]+)/`(?: \(([^)]*)\))?",
                                     m.group(2)):
            allowed[room] = set(re.findall(r"`(\w+)`", only)) or None
        table[m.group(1)] = allowed
    return table


def check_places(sources, table):
    """Each file is in a room; fcgi/ itself is no room for the rest."""
    where = {}
    for s in sources:
        if s.room not in table:
            say("%s: %s/ is no room of %s", s.path, s.room,
                ARCHITECTURE.relative_to(ROOT))
        if s.room == "fcgi" and not AT_THE_TOP.fullmatch(s.name):
            say("%s: fcgi/ itself holds the programs, the worker and its "
                "metrics only", s.path)
        if s.name in where:
            say("%s has the name of %s", s.path, where[s.name])
        where[s.name] = s.path


def check_arrows(sources, table):
    """What is included is there, and may be."""
    headers = {s.name: s for s in sources}
    for s in sources:
        for inc in set(s.includes) - GENERATED:
            if inc not in headers:
                say("%s includes %s, which is nowhere", s.path, inc)
                continue
            other = headers[inc]
            if other.room == s.room:
                continue
            if inc.endswith("_private.h"):
                say("%s includes %s, which is private to %s/", s.path, inc,
                    other.room)
            allowed = table.get(s.room, {})
            if other.room not in allowed:
                say("%s includes %s: there is no arrow from %s/ to %s/",
                    s.path, inc, s.room, other.room)
            elif allowed[other.room] and other.module not in allowed[
                    other.room]:
                say("%s includes %s: of %s/ it may include %s only", s.path,
                    inc, other.room, ", ".join(sorted(allowed[other.room])))


def check_circles(sources):
    """Of modules, whatever their rooms."""
    headers = {s.name: s for s in sources}
    graph = collections.defaultdict(set)
    for s in sources:
        for inc in set(s.includes) - GENERATED:
            if inc in headers and headers[inc].module != s.module:
                graph[s.module].add(headers[inc].module)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as e:
        say("circle: %s", " -> ".join(reversed(e.args[1])))


def check_wrappers(sources):
    """A library is known to the file that wraps it."""
    for s in sources:
        for inc in re.findall(r"^#include <([^>]+)>", s.text, re.M):
            for pattern, only in WRAPPED.items():
                if re.fullmatch(pattern, inc) and str(s.path) not in only:
                    say("%s includes <%s>: only %s may", s.path, inc,
                        ", ".join(sorted(only)))


def reaches(table, room):
    """Directories with the headers that a room may see."""
    return [room, *table.get(room, {})]


def compiles_alone(source, table):
    """What is missing for it, or nothing."""
    flags = ["-I" + r for r in reaches(table, source.room)]
    done = subprocess.run(
        [*os.environ.get("CC", "cc").split(), "-std=c11", "-D_GNU_SOURCE",
         *flags, "-fsyntax-only", "-xc", "-"], cwd=ROOT, text=True,
        capture_output=True, input='#include "%s"\n' % source.path)
    return done.returncode != 0


def check_headers(sources, table):
    """Each compiles alone, with its room's arrows for include paths."""
    headers = [s for s in sources if s.name.endswith(".h")]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for s, bad in zip(headers, pool.map(
                lambda s: compiles_alone(s, table), headers)):
            if bad:
                say("%s does not compile alone", s.path)


def check_arguments(sources):
    """A web server may make a program's arguments out of a visitor's URL."""
    for s in sources:
        if s.room == "fcgi" and s.name.startswith("main_") and \
                "cgi_arguments(argc)" not in s.text:
            say("%s reads its arguments without cgi_arguments()", s.path)


def check_clock(sources):
    """clock.c alone asks for the time, so that tests need not sleep."""
    for s in sources:
        if s.name.endswith(".c") and s.name != "clock.c" and re.search(
                r"\b(clock_gettime|gettimeofday|time) ?\(", s.text):
            say("%s asks the kernel for the time: only lib/clock.c may",
                s.path)


def defined_names(text):
    """Static functions, structures and enumerations that a file defines."""
    yield from re.findall(r"^static[^\n;=(]*\n(\w+)\([^;{]*?\)\n\{", text,
                          re.M)
    yield from re.findall(r"^(?:static )?((?:struct|enum|union) \w+) \{", text,
                          re.M)


def check_names(sources):
    """A name stands in one file."""
    where = collections.defaultdict(list)
    for s in sources:
        for name in defined_names(s.text):
            where[name].append(str(s.path))
    for name, files in sorted(where.items()):
        if len(files) > 1:
            say("%s is defined in %s: give it its module's prefix", name,
                ", ".join(files))


def main():
    sources = [Source(p) for top in ("lib", "fcgi", "pubd")
               for p in sorted((ROOT / top).rglob("*"))
               if p.suffix in (".c", ".h", ".def")]
    table = rooms()
    check_places(sources, table)
    check_arrows(sources, table)
    check_circles(sources)
    check_wrappers(sources)
    check_headers(sources, table)
    check_arguments(sources)
    check_clock(sources)
    check_names(sources)
    for p in problems:
        print("check-deps:", p, file=sys.stderr)
    if problems:
        return 1
    print("check-deps: %d files in %d rooms: arrows, circles, wrappers, "
          "headers and names are in order" % (len(sources), len(table)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
