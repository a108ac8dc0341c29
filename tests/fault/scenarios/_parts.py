# SPDX-License-Identifier: MIT
"""What the scenarios of several files share."""

from harness import Stack, wait_until

CONFIG = {"retry_ms": 200, "heartbeat_ms": 500}


def servers(run, cls=Stack, **config):
    """A stack and the web server before it."""
    st = run.stack(config=dict(CONFIG, **config), cls=cls)
    return st, run.front(st)


def connections(t):
    """How often the subscribers have connected so far."""
    return sum(s.connects for s in t.subscribers)


def steps(sub, kind):
    """What a subscriber has noted of a kind so far."""
    return [step for step in list(sub.steps) if step[0] == kind]


def heard(t):
    """How much each subscriber has noted so far."""
    return [len(sub.steps) for sub in t.history.subs]


def all_have(t, subscribers=None, timeout=60):
    """Waits until subscribers (all of them) have what has been acked."""
    head, who = t.head(), subscribers or t.subscribers
    wait_until(lambda: all(s.position >= head for s in who), timeout,
               "the head %d at %d subscribers" % (head, len(who)))
