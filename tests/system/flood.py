# SPDX-License-Identifier: MIT
"""Floods pubd's socket from a process of its own, until it is killed.

    flood.py SOCKET pings N      N connections that send pings as fast as they
                                 are answered
    flood.py SOCKET watchers N   N connections that watch and never read
    flood.py SOCKET publishers N N that publish twice a second; who is closed
                                 comes again
    flood.py SOCKET arrays N     N that send long arrays which are refused
    flood.py SOCKET reports N    N that watch and report ten times a second

Prints a line once all are connected.
"""

import json
import os
import resource
import selectors
import socket
import sys
import time


def report(i):
    return json.dumps({
        "op": "report", "name": "flood-%d-%d" % (os.getpid(), i),
        "role": "worker", "pid": os.getpid(), "version": "x",
        "started_ms": int(time.time() * 1000), "head": 0, "cursor": 0,
        "streams": 0, "counters": {}, "gauges": {}, "error_ms": 0,
        "error": ""}).encode() + b"\n"


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(path)
    return s


def pings(socks, chunk=b'{"op":"ping"}\n' * 2000):
    sel = selectors.DefaultSelector()
    for s in socks:
        s.setblocking(False)
        sel.register(s, selectors.EVENT_READ | selectors.EVENT_WRITE)
    sent = dict.fromkeys(socks, 0)
    while True:
        for key, mask in sel.select():
            s = key.fileobj
            try:
                if mask & selectors.EVENT_READ and not s.recv(1 << 18):
                    sel.unregister(s)
                    continue
                if mask & selectors.EVENT_WRITE:
                    sent[s] += s.send(chunk[sent[s]:])
                    sent[s] %= len(chunk)
            except BlockingIOError:
                pass


def reports(socks):
    lines = [report(i) for i in range(len(socks))]
    for s in socks:
        s.sendall(b'{"op":"watch","wake":false}\n')
    while True:
        due = time.monotonic() + 0.1
        for s, line in zip(socks, lines):
            s.sendall(line)
        time.sleep(max(0, due - time.monotonic()))


def arrays(socks):
    """Like pings; the line is 260 KB long."""
    event = b'{"channel":"hostile","data":1}'
    pings(socks, b"[" + b",".join([event] * 8500) + b",1]\n")


def publishers(path, n):
    line = b'{"channel":"hostile","data":1}\n'
    socks = [None] * n
    up = False
    while True:
        due = time.monotonic() + 0.5
        for i, s in enumerate(socks):
            try:
                if s is None:
                    s = socks[i] = connect(path)
                    s.settimeout(5)
                s.sendall(line)
                if not s.recv(65536):
                    raise OSError
            except OSError:
                if s:
                    s.close()
                socks[i] = None
        if not up:
            print("up", flush=True)
        up = True
        time.sleep(max(0, due - time.monotonic()))


def main(path, what, n):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if what == "publishers":
        publishers(path, int(n))
    socks = [connect(path) for _ in range(int(n))]
    if what == "watchers":
        for s in socks:
            s.sendall(b'{"op":"watch"}\n')
        for s in socks:
            s.recv(65536)
    print("up", flush=True)
    if what == "watchers":
        while True:
            time.sleep(60)
    {"pings": pings, "arrays": arrays, "reports": reports}[what](socks)


if __name__ == "__main__":
    main(*sys.argv[1:])
