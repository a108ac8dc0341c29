# SPDX-License-Identifier: MIT
"""Power losses: after each of many moments the real programs open what a disk
may have kept (power.py, powerlab.py)."""

from power import MODES, Disk, Loss
from powerlab import Lab, record, record_kills, record_recovery, traced
from scenario import scenario


def choose(run, moments, n, modes=MODES):
    """n moments in their order, [(op, kind, mode)]: as many of each kind, and
    of these as many of each mode."""
    kinds = sorted(moments)
    pairs = [(k, m) for m in modes for k in kinds]
    return sorted((run.rng.choice(moments[kind]), kind, mode) for kind, mode
                  in (pairs[i % len(pairs)] for i in range(n)))


def images(run, rec, points, honest=True):
    """What is left of the log after each of them: (point, what, image)."""
    disk, done = Disk(honest, rec.image), 0
    for point, kind, mode in points:
        for op in rec.ops[done:point]:
            disk.do(op)
        done = point
        sector = run.rng.choice([512, 4096])
        run.count("losses")
        run.count("losses in " + kind)
        yield (point, "power loss before op %d of %d (%s), unsynced sectors "
               "of %d: %s" % (point, len(rec.ops), kind, sector, mode),
               disk.after(Loss(mode, sector, run.rng)))


def losses(run, rec, points, honest=True):
    """Judges a loss at each of the points: yields (what, Outcome)."""
    lab = Lab(run)
    for point, what, image in images(run, rec, points, honest):
        out = lab.judge(rec, point, image)
        run.count("status.db made anew", out.status_renewed)
        yield what, out


def nothing_lost(run, what, out):
    """What holds at synchronous=full."""
    run.count("acked events lost", out.lost)
    run.check(out.good, "%s: %s" % (what, out.say()))
    run.check(not out.renewed, "%s: the log's generation is another one, "
              "although nothing is lost" % what)


def size(run, short, full):
    return short if run.short else full


@scenario("power-loss-full", tags="storage power", fronts=("lighttpd",),
          short=True, rounds=1)
def power_loss_full(run):
    """Power losses at synchronous=full: nothing that was said is untrue."""
    rec = record(run, "full", size(run, 2000, 6000), size(run, 2, 6))
    points = choose(run, rec.moments, size(run, 48, 336))
    for what, out in losses(run, rec, points):
        nothing_lost(run, what, out)


@scenario("power-loss-after-kill", tags="storage power kill",
          fronts=("lighttpd",), short=True, rounds=1)
def power_loss_after_kill(run):
    """Power losses after kill -9 of all between a write and its sync."""
    kills = size(run, 4, 20)
    rec = record_kills(run, kills)
    points = choose(run, {"restart": rec.moments["restart"]}, 4 * kills,
                    modes=("none", "random"))
    for what, out in losses(run, rec, points):
        nothing_lost(run, what, out)


@scenario("power-loss-twice", tags="storage power", fronts=("lighttpd",),
          rounds=1)
def power_loss_twice(run):
    """The power fails again while the programs recover, and soon after."""
    rec = record(run, "full", size(run, 600, 1500), 1)
    del rec.moments["creation"]
    first = images(run, rec, choose(run, rec.moments, size(run, 6, 42)))
    st, lab = traced(run, "full"), Lab(run)
    for point, what, image in first:
        again = record_recovery(run, st, rec, point, image)
        points = choose(run, again.moments, 2)
        for point, then, image in images(run, again, points):
            nothing_lost(run, "%s; then %s" % (what, then),
                         lab.judge(again, point, image))


@scenario("power-loss-normal", tags="storage power", fronts=("lighttpd",),
          short=True, rounds=1)
def power_loss_normal(run):
    """synchronous=normal loses what was acked, as it says, and no more."""
    rec = record(run, "normal", size(run, 1000, 3000), 0)
    del rec.moments["creation"]
    lossy = lost = 0
    points = choose(run, rec.moments, size(run, 12, 60))
    for what, out in losses(run, rec, points):
        run.check(not out.wrong, "%s: %s" % (what, out.say()))
        lost += out.lost
        lossy += out.lost > 0
        run.count("told by a new generation", out.renewed)
    run.note(losses_with_lost_events=lossy, acked_events_lost=lost)
    # The proof that a loss would be found at full.
    run.check(lost, "no acked event was lost at normal: the disk is too kind")


@scenario("power-loss-lying-disk", tags="storage power", fronts=("lighttpd",),
          short=True, rounds=1)
def power_loss_lying_disk(run):
    """A disk that forgets syncs, as at synchronous=off: damage is found."""
    rec = record(run, "full", 1500, 0)
    del rec.moments["creation"]
    lost = damaged = 0
    points = choose(run, rec.moments, size(run, 6, 24),
                    modes=("random", "later", "torn"))
    for _, out in losses(run, rec, points, honest=False):
        lost += out.lost
        damaged += bool(out.wrong)
    run.note(acked_events_lost=lost, damaged=damaged)
    # Again a proof: that damage would be found where syncs hold.
    run.check(damaged, "a disk that forgets syncs damaged nothing: it is too "
              "kind")
