# SPDX-License-Identifier: MIT
"""Fixtures.  A stack is made once for each module that asks and is shared; what
a test changes (a killed worker, another configuration) it does on its own one.
"""

import os
import shutil
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import harness  # noqa: E402
from harness import FRONTS, Stack  # noqa: E402


@pytest.hookimpl(tryfirst=True, hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """On failure the logs of every stack that the test used are printed."""
    outcome = yield
    report = outcome.get_result()
    if report.when != "call" or not report.failed:
        return
    for value in getattr(item, "funcargs", {}).values():
        stack = getattr(value, "stack", value)
        if isinstance(stack, Stack):
            report.sections.append(("logs of %s" % stack.dir, stack.logs()))


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left():
    """No process of ours outlives the tests."""
    yield
    mine = harness.descendants(os.getpid())
    mine.pop(os.getpid(), None)
    left = {p: harness.cmdline(p) for p in mine}
    left = {p: c for p, c in left.items() if c}
    assert not left, left


@pytest.fixture
def make_stack():
    """Stacks of a test's own: make_stack(config={...}) -> Stack, started."""
    made = []

    def make(config=None, mode="open", **start):
        st = Stack(config=config, mode=mode)
        made.append(st)
        return st.start(**start)

    yield make
    wrong = []
    for st in reversed(made):
        try:
            st.close()
        except harness.Failed as e:
            wrong.append(str(e))
    assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="session")
def stack(nothing_is_left):
    """pubd, a worker and metrics with the defaults of the harness."""
    with Stack() as st:
        yield st.start()


@pytest.fixture(scope="session")
def fronts(stack):
    """fronts("apache-proxy") -> the one of that kind on the shared stack.
    Options make another one: fronts("apache-proxy", h2=True)."""
    made = {}

    def get(kind, **opts):
        key = (kind, tuple(sorted(opts.items())))
        if key not in made:
            made[key] = stack.front(kind, **opts)
        return made[key]

    return get


@pytest.fixture(params=FRONTS)
def web(request, fronts):
    """Each front end in turn."""
    return fronts(request.param)


@pytest.fixture
def lighttpd(fronts):
    return fronts("lighttpd")


@pytest.fixture
def channel(request):
    """A channel name that no other test has."""
    channel.n = getattr(channel, "n", 0) + 1
    return "t%d.%s" % (channel.n, request.node.originalname[:40])


def needs(program):
    return pytest.mark.skipif(shutil.which(program) is None,
                              reason="%s is not installed" % program)
