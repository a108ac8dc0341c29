#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A bad link: carries packets between two TUN devices, and on the way loses,
delays, doubles and reorders them, holds them to a rate, or carries nothing.

    link.py FD FD SEED      the devices, which were opened by the caller

Standard input takes a line of JSON for each change of the conditions:

    {"way": "both", "loss": 0.05, "delay": 0.04, "jitter": 0.02}

and standard output gives a line with the counts so far when it holds.  `way` is
"down" (from the first device to the second), "up" or "both".  It ends with its
input.  Every decision is drawn from SEED, packet by packet; when packets
arrive is up to the kernel, so two runs are alike and not the same.
"""

import heapq
import json
import os
import random
import select
import sys
import time

MTU = 1500
QUEUE_S = 0.25      # what waits for the rate for longer is dropped
TURN = 64           # packets read before the others have their turn
CLEAR = {"loss": 0.0,       # share of packets that vanish
         "delay": 0.0,      # seconds
         "jitter": 0.0,     # seconds either way; packets overtake each other
         "duplicate": 0.0,  # share of packets that arrive twice
         "reorder": 0.0,    # share of packets that are not delayed
         "rate": 0,         # bytes a second; 0: no limit
         "cut": False}      # nothing passes
COUNTS = ("taken", "lost", "cut", "doubled", "overflowed", "given")


class Way:
    """One direction.  Pure but for `give`, which is called with a packet."""

    def __init__(self, give, rng):
        self.give, self.rng = give, rng
        self.now_is = dict(CLEAR)
        self.counts = dict.fromkeys(COUNTS, 0)
        self._queue = []        # (due, serial, packet)
        self._serial = 0
        self._free_at = 0.0     # when the rate lets the next one pass

    def take(self, packet, now):
        self.counts["taken"] += 1
        if self.now_is["cut"]:
            self.counts["cut"] += 1
        elif self._chance("loss"):
            self.counts["lost"] += 1
        elif self.now_is["rate"] and self._free_at > now + QUEUE_S:
            self.counts["overflowed"] += 1
        else:
            self._put(packet, now)
            if self._chance("duplicate"):
                self.counts["doubled"] += 1
                self._put(packet, now)

    def _chance(self, of):
        return self.rng.random() < self.now_is[of]

    def _put(self, packet, now):
        self._serial += 1
        heapq.heappush(self._queue,
                       (self._due(len(packet), now), self._serial, packet))

    def _due(self, size, now):
        c = self.now_is
        if c["rate"]:
            self._free_at = max(self._free_at, now) + size / c["rate"]
            now = self._free_at
        if self._chance("reorder"):
            return now
        return now + c["delay"] + self.rng.uniform(-c["jitter"], c["jitter"])

    def due(self):
        """When the next packet is to be given; None: there is none."""
        return self._queue[0][0] if self._queue else None

    def deliver(self, now):
        while self._queue and self._queue[0][0] <= now:
            packet = heapq.heappop(self._queue)[2]
            if self.now_is["cut"]:      # it was still on its way
                self.counts["cut"] += 1
                continue
            self.counts["given"] += 1
            self.give(packet)


class Link:
    """Both directions, and the loop that serves them."""

    def __init__(self, fds, seed):
        for fd in fds:
            os.set_blocking(fd, False)
        a, b = fds
        self.ways = {"down": self._way(b, seed, 0), "up": self._way(a, seed, 1)}
        self.sources = {a: self.ways["down"], b: self.ways["up"]}
        self.commands = b""

    @staticmethod
    def _way(to, seed, n):
        def give(packet):
            try:
                os.write(to, packet)
            except OSError:
                pass    # the device is full or down: a packet may be lost
        return Way(give, random.Random("%s/%d" % (seed, n)))

    def run(self):
        while True:
            ready = select.select([0, *self.sources], [], [], self._wait())[0]
            now = time.monotonic()
            for fd in ready:
                if fd == 0:
                    if not self._command(os.read(0, 65536)):
                        return
                else:
                    self._read(fd, now)
            for way in self.ways.values():
                way.deliver(time.monotonic())

    def _wait(self):
        due = [w.due() for w in self.ways.values() if w.due() is not None]
        return max(min(due) - time.monotonic(), 0) if due else None

    def _read(self, fd, now):
        for _ in range(TURN):
            try:
                packet = os.read(fd, MTU + 64)
            except BlockingIOError:
                return
            self.sources[fd].take(packet, now)

    def _command(self, raw):
        *lines, self.commands = (self.commands + raw).split(b"\n")
        for line in lines:
            change = json.loads(line)
            way = change.pop("way")
            for name in self.ways if way == "both" else [way]:
                self.ways[name].now_is = dict(CLEAR, **change)
            print(json.dumps({n: w.counts for n, w in self.ways.items()}),
                  flush=True)
        return bool(raw)


if __name__ == "__main__":
    Link([int(sys.argv[1]), int(sys.argv[2])], sys.argv[3]).run()
