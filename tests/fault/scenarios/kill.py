# SPDX-License-Identifier: MIT
"""Processes that are killed, stopped, told to end, or told to begin anew,
while events go through them."""

import contextlib
import itertools
import multiprocessing
import os
import signal
import socket
import time

from clients import Event
from harness import accepted, alive, cmdline, wait_until
from loadlib import audit, rows
from scenario import FRONTS, scenario
from scenarios._parts import all_have, connections, heard, servers, steps

PARTS = ("pubd", "worker", "web")
PAIRS = [("pubd", "worker"), ("pubd", "web"), ("worker", "web")]


@contextlib.contextmanager
def load(run, st, web, **kw):
    """The traffic of all of these: enough that each fault meets some."""
    with run.traffic(st, web, **dict(dict(subscribers=10, rate=600),
                                     **kw)) as t:
        yield t
    run.count("connects", connections(t))
    audit(st)


def a_moment(run, t):
    """Publishers go on, until a moment that nobody chose."""
    t.progress(run.rng.randrange(1, 150))


def meanwhile(run, t):
    """The same between two faults; now and then until all streams are up to
    date, so that not all faults meet clients that still suffer from the one
    before."""
    a_moment(run, t)
    if run.rng.random() < 0.2:
        all_have(t)


# ---------------------------------------------------------------- kill -9

def pids(run, st, web, part):
    """The processes of a part; of the workers, one."""
    if part == "pubd":
        return [st.pubd.pid]
    if part == "web":
        return list(web.proc.tree())
    workers = run.workers(st, web)
    return [run.rng.choice(workers)] if workers else []


def kill_at_once(run, victims):
    """kill -9 of all of them before any can know of another's end."""
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    run.count("kills", len(victims))
    wait_until(lambda: not any(map(alive, victims)), what="their end")


def end_all(web):
    """As systemd ends a unit: again and again, since an orphan may just have
    started another process."""
    def none_left():
        for pid in web.proc.left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not web.proc.left()
    wait_until(none_left, 20, "the web server's end")
    web.kill()


def raise_again(run, st, web, parts):
    """Starts what was killed, in any order."""
    for part in run.rng.sample(parts, len(parts)):
        if part == "pubd":
            st.kill_pubd()      # takes note that it is gone
            st.start_pubd()
        elif part == "web":
            end_all(web)
            web.start()
        else:
            for n, w in enumerate(st.workers):
                if not w.running:
                    st.start_worker(n)


def threads(pid):
    try:
        return len(os.listdir("/proc/%d/task" % pid))
    except OSError:
        return 0


def children(web):
    """Apache's children that serve; of lighttpd, itself.  Those of mod_cgid
    and mod_fcgid have one thread: without one of these Apache restarts as a
    whole, and then may have neither (AH01243), whatever it serves."""
    if not web.kind.startswith("apache"):
        return [web.proc.pid]
    return wait_until(lambda: [
        p for p in sorted(web.proc.tree()) if p != web.proc.pid
        and "apache2" in cmdline(p) and threads(p) > 1], 20, "children")


@scenario("pubd-killed", tags="kill", fronts=FRONTS, short=True, rounds=10)
def pubd_killed(run):
    """kill -9 of pubd under load, started again at once."""
    st, web = servers(run)
    with load(run, st, web) as t:
        for _ in run.each_round():
            meanwhile(run, t)
            st.kill_pubd()
            run.count("kills")
            st.start_pubd()
        meanwhile(run, t)
        run.check(all(s.connects == 1 for s in t.subscribers),
                  "streams felt it that pubd was killed")


@scenario("worker-killed", tags="kill", fronts=FRONTS, short=True, rounds=10)
def worker_killed(run):
    """kill -9 of one worker after the other under load."""
    st, web = servers(run)
    with load(run, st, web) as t:
        for n in run.each_round():
            meanwhile(run, t)
            run.kill_worker(st, web, n)


@scenario("web-child-killed", tags="kill", fronts=FRONTS, rounds=10)
def web_child_killed(run):
    """kill -9 of a child of the web server (of lighttpd, all there is)."""
    st, web = servers(run)
    with load(run, st, web) as t:
        for _ in run.each_round():
            meanwhile(run, t)
            kill_at_once(run, [run.rng.choice(children(web))])
            if not alive(web.proc.pid):
                raise_again(run, st, web, ["web"])


@scenario("web-parent-killed", tags="kill", fronts=FRONTS, rounds=10)
def web_parent_killed(run):
    """kill -9 of the web server's first process, under load.

    What it leaves goes on for a while, and is ended as systemd would."""
    st, web = servers(run)
    with load(run, st, web) as t:
        for _ in run.each_round():
            meanwhile(run, t)
            web.proc.kill()
            run.count("kills")
            a_moment(run, t)
            raise_again(run, st, web, ["web"])


@scenario("pairs-killed", tags="kill", fronts=FRONTS, short=True, rounds=6)
def pairs_killed(run):
    """kill -9 of two of pubd, worker and web server at the same instant."""
    st, web = servers(run)
    with load(run, st, web) as t:
        for n in run.each_round():
            pair = PAIRS[n % len(PAIRS)]
            meanwhile(run, t)
            kill_at_once(run, [p for part in pair
                               for p in pids(run, st, web, part)])
            raise_again(run, st, web, pair)


@scenario("all-killed", tags="kill", fronts=FRONTS, short=True, rounds=5)
def all_killed(run):
    """kill -9 of pubd, all workers and the web server at the same instant."""
    st, web = servers(run)
    with load(run, st, web) as t:
        for _ in run.each_round():
            meanwhile(run, t)
            kill_at_once(run, [st.pubd.pid, *run.workers(st, web),
                               *web.proc.tree()])
            raise_again(run, st, web, PARTS)


# ---------------------------------------------------------------- restarts

def untold(t):
    """Streams that ended without control.close, so far."""
    return sum(step[0] == "end" and before[0] != "close"
               for sub in t.history.subs
               for before, step in itertools.pairwise(list(sub.steps)))


def told_since(t, moment):
    """Times of each control.close since then, and the reasons."""
    closes = [step for sub in t.history.subs for step in steps(sub, "close")
              if step[1] >= moment]
    return (sorted(at for _, at, _ in closes),
            {data["reason"] for _, _, data in closes})


@scenario("worker-restart", tags="restart", short=True, rounds=6)
def worker_restart(run):
    """TERM of one worker after the other under load, and its restart."""
    st, web = servers(run)
    with load(run, st, web) as t:
        for n in run.each_round():
            meanwhile(run, t)
            status = st.stop_worker(n % 2)
            run.count("restarts")
            run.check(status == 0, "a worker ended with %d" % status)
            st.start_worker(n % 2)
        meanwhile(run, t)
        run.check(untold(t) == 0, "%d streams ended without control.close"
                  % untold(t))


@scenario("pubd-restart", tags="restart", fronts=FRONTS, short=True, rounds=6)
def pubd_restart(run):
    """TERM of pubd under load, and its restart; streams do not feel it."""
    st, web = servers(run)
    with load(run, st, web) as t:
        for _ in run.each_round():
            meanwhile(run, t)
            status = st.stop_pubd()
            run.count("restarts")
            run.check(status == 0, "pubd ended with %d" % status)
            st.start_pubd()
        meanwhile(run, t)
        run.check(connections(t) == len(t.subscribers),
                  "streams felt it that pubd was restarted")


@scenario("server-restart", tags="restart reconnect", fronts=FRONTS)
def server_restart(run):
    """The web server is stopped and started under load."""
    st, web = servers(run)
    with load(run, st, web) as t:
        for _ in run.each_round():
            meanwhile(run, t)
            web.stop()
            run.count("restarts")
            a_moment(run, t)
            web.start()


# Not mod_fcgid: a request that an old child has taken waits for ever for the
# old process manager, which may have ended already.
@scenario("graceful", tags="restart reconnect",
          fronts=("lighttpd", "apache-proxy", "apache-cgi"))
def graceful(run):
    """SIGUSR1 (apachectl graceful) under load: Apache keeps its streams."""
    st, web = servers(run)
    with load(run, st, web) as t:
        for _ in run.each_round():
            meanwhile(run, t)
            before, had = set(children(web)), connections(t)
            web.reload()
            run.count("restarts")
            if web.kind == "lighttpd":
                wait_until(lambda: connections(t) >= had + len(t.subscribers),
                           30, "streams to come back after SIGUSR1")
            else:
                wait_until(lambda: set(children(web)) - before, 30,
                           "Apache's new children")
            meanwhile(run, t)
        if web.kind != "lighttpd":
            run.check(connections(t) == len(t.subscribers),
                      "a graceful restart has cut streams")


def refused(run, t, st, size):
    """Publishes an event of this size; the error's name, None if it was
    taken."""
    run.count("probes")
    e = Event("probe-%d" % run.counters["probes"], t.channels[0], size)
    t.history.unknown[e.key] = (e.channel, e.hash)
    return st.pub.call(e.text()).get("error")


@scenario("reload", tags="restart", rounds=6)
def reload(run):
    """HUP of pubd, which takes its new configuration, and of workers."""
    st, web = servers(run)
    with load(run, st, web) as t:
        for n in run.each_round():
            meanwhile(run, t)
            limit, answer = [(1000, "too_large"), (65536, None)][n % 2]
            st.configure(max_data_bytes=limit)
            for p in [st.pubd, *st.workers]:
                p.send_signal(signal.SIGHUP)
            run.count("reloads")
            wait_until(lambda: refused(run, t, st, 5000) == answer, 10,
                       "pubd to take max_data_bytes = %d" % limit)
        meanwhile(run, t)
        run.check(connections(t) == len(t.subscribers),
                  "streams were cut by SIGHUP")
        run.check(all(p.running for p in [st.pubd, *st.workers]),
                  "SIGHUP has ended a process")


@scenario("drain", tags="restart", rounds=4)
def drain(run):
    """TERM of a worker: its streams are told so, and not all at once.

    It is the one of two that has more of 80 streams; the other takes them."""
    spread_s = 1.0
    st, web = servers(run, drain_ms=int(spread_s * 1000))
    with load(run, st, web, subscribers=80, rate=200) as t:
        for _ in run.each_round():
            a_moment(run, t)
            all_have(t)             # each has a stream
            most = max(range(2), key=lambda n: st.workers[n].fds())
            since = time.monotonic()
            status = st.stop_worker(most)
            run.count("drains")
            run.check(status == 0, "a worker ended with %d" % status)
            st.start_worker(most)
            wait_until(lambda: len(told_since(t, since)[0]) >= 30, 10,
                       "30 of some 40 streams to be told")
            at, reasons = told_since(t, since)
            run.check(reasons == {"drain"}, "told %r" % reasons)
            run.check(at[-1] - at[0] > spread_s / 4,
                      "told all at once: %r" % at)
        run.check(untold(t) == 0, "%d streams ended without control.close"
                  % untold(t))


# ---------------------------------------------------------------- SIGSTOP

@contextlib.contextmanager
def stopped(run, pid):
    """SIGSTOP and, in the end, SIGCONT."""
    os.kill(pid, signal.SIGSTOP)
    run.count("stops")
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def stop_pubd(run, st, web, t, seconds):
    """Nothing is acked; streams have their heartbeats."""
    with stopped(run, st.pubd.pid):
        had, until = heard(t), time.monotonic() + seconds
        wait_until(lambda: all(a > b for a, b in zip(heard(t), had)), 15,
                   "heartbeats while pubd is stopped")
        time.sleep(max(until - time.monotonic(), 0))


def stop_one(run, st, web, t, seconds, pid):
    """Publishers go on."""
    with stopped(run, pid):
        until = time.monotonic() + seconds
        a_moment(run, t)
        time.sleep(max(until - time.monotonic(), 0))


def stop_publisher(run, st, web, t, seconds):
    """One stands still in the middle of a line."""
    with victim(run, st, t) as p:
        stop_one(run, st, web, t, seconds, p.pid)


@scenario("stopped", tags="stop", fronts=FRONTS, short=True, rounds=1)
def stopped_each(run):
    """SIGSTOP of each process for 30 s, then SIGCONT: nobody is cut off.

    pubd, a worker, a child and the parent of the web server, a publisher; 3 s
    in the short form, and from the second round on."""
    st, web = servers(run)
    with load(run, st, web, rate=200) as t:
        for n in run.each_round():
            seconds = 3 if run.short or n > 0 else 30
            stop_pubd(run, st, web, t, seconds)
            for pid in (run.rng.choice(run.workers(st, web)),
                        run.rng.choice(children(web)), web.proc.pid):
                stop_one(run, st, web, t, seconds, pid)
            stop_publisher(run, st, web, t, seconds)
            meanwhile(run, t)
        run.check(connections(t) == len(t.subscribers),
                  "streams did not outlast a stopped process")


# ---------------------------------------------------------------- publishers

def flood(path, name):
    """A publisher in a process of its own, 300 events a second; nearly each
    of its writes ends in the middle of a line."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        rest, n = b"", 0
        while True:
            while len(rest) < 100:
                n += 1
                rest += victim_event(name, n).text().encode() + b"\n"
            s.sendall(rest[:100])
            rest = rest[100:]
            with contextlib.suppress(BlockingIOError):
                s.recv(1 << 16, socket.MSG_DONTWAIT)
            time.sleep(0.003)       # its rate


def victim_event(name, n):
    return Event("%s-%d" % (name, n), "c0", 60)


@contextlib.contextmanager
def victim(run, st, t):
    """A publisher of its own process, killed in the end.  What it has stored
    must be its first events, whole and in order."""
    run.count("victims")
    name, after = "victim%d" % run.counters["victims"], st.head()
    spawn = multiprocessing.get_context("spawn")
    p = spawn.Process(target=flood, args=(str(st.pubd_sock), name))
    p.start()
    try:
        wait_until(lambda: stored(st, name, after), 30, "events of " + name)
        yield p
        had = accepted(st.pubd_sock)
    finally:
        p.kill()
        p.join()
    run.count("kills")
    wait_until(lambda: accepted(st.pubd_sock) < had, 10,
               "pubd to see that a publisher has gone")
    account(run, t, name, stored(st, name, after))


def stored(st, name, after):
    """Keys of a publisher in the log behind an id, in the order of ids."""
    return [key for key, in rows(
        st, "SELECT key FROM events WHERE id > ? AND key GLOB ? ORDER BY id",
        after, name + "-*")]


def account(run, t, name, keys):
    """Compares what is stored with what was sent; the checker then has what
    it needs to judge data and deliveries."""
    events = [victim_event(name, n + 1) for n in range(len(keys))]
    run.check(keys == [e.key for e in events],
              "of a publisher that was killed, not the first %d events are "
              "stored in order" % len(keys))
    run.count("events_of_victims", len(keys))
    for e in events:
        t.history.unknown[e.key] = (e.channel, e.hash)


@scenario("publisher-killed", tags="kill", short=True)
def publisher_killed(run):
    """kill -9 of a publisher in the middle of a line: its whole ones count."""
    st, web = servers(run)
    with load(run, st, web, rate=300) as t:
        for _ in run.each_round():
            with victim(run, st, t):
                a_moment(run, t)
