# SPDX-License-Identifier: MIT
"""The scenarios by name, and what each says of itself.

    @scenario("pubd-killed", tags="kill", short=True)
    def pubd_killed(run):
        \"\"\"kill -9 of pubd under load, started again at once.\"\"\"
"""

import importlib
import pathlib

FRONTS = ("lighttpd", "apache-proxy", "apache-fcgid", "apache-cgi")
PROXIED = FRONTS[:2]    # workers of their own stand behind these


class Scenario:
    """name    as on the command line
    tags    set of words, see README.md
    fronts  the web servers it can run behind
    url     whether it can run against a foreign deployment
    short   whether it belongs to the selection of `make check`
    rounds  how many it does unless told
    """

    def __init__(self, name, fn, tags, fronts, url, short, rounds):
        self.name, self.fn = name, fn
        self.tags, self.fronts = set(tags.split()), tuple(fronts)
        self.url, self.short, self.rounds = url, short, rounds

    @property
    def doc(self):
        """What it does: the first paragraph."""
        first = (self.fn.__doc__ or "").strip().partition("\n\n")[0]
        return " ".join(first.split())


_known = {}


def scenario(name, *, tags, fronts=PROXIED, url=False, short=False, rounds=3):
    """Registers a function that takes a run.Run."""
    def take(fn):
        if name in _known:
            raise ValueError("two scenarios are called " + name)
        made = Scenario(name, fn, tags, fronts, url, short, rounds)
        if not made.doc:
            raise ValueError("scenario %s does not say what it does" % name)
        _known[name] = made
        return fn
    return take


def all_scenarios():
    """{name: Scenario} of every module in scenarios/."""
    for file in sorted((pathlib.Path(__file__).parent / "scenarios")
                       .glob("[a-z]*.py")):
        importlib.import_module("scenarios." + file.stem)
    return dict(_known)
