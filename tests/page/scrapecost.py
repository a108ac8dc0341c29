#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What a scrape costs with many processes: milliseconds from request to end at
the socket of sse-metrics.fcgi, without a web server between.

Usage: tests/page/scrapecost.py [processes [scrapes]]
"""

import json
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "system"))

import fcgi  # noqa: E402
from harness import Stack, wait_until  # noqa: E402

PAGE = "/sse-metrics.fcgi"
HISTS = ("delivery", "wake")


def report(n):
    """A worker's, with every bucket in use."""
    counters = {"events_sent": 10 ** 9, "bytes_sent": 10 ** 12}
    for name in HISTS:
        counters.update({"%s.%d" % (name, i): 10 ** 6 for i in range(21)})
    for prefix, values in (("closed_", "drain left lagging"),
                           ("gaps_", "expired ahead"),
                           ("resumes_", "ok gap failed")):
        counters.update({prefix + v: 1000 for v in values.split()})
    return {"op": "report", "name": "worker-%d-1" % n, "role": "worker",
            "pid": n, "version": "1", "started_ms": 1, "head": 1, "cursor": 1,
            "streams": 10, "counters": counters,
            "gauges": {"rss_bytes": 10 ** 7, "ring_bytes": 10 ** 6,
                       "fds_used": 100, "lag_events_max": 3}}


def scrape(st, query):
    began = time.perf_counter()
    with fcgi.Conn(st.metrics_sock, fcgi.request(
            PAGE, query, SCRIPT_NAME=PAGE, HTTP_ACCEPT="*/*")) as c:
        body = b"".join(r[2] for r in c.ended() if r[0] == fcgi.STDOUT)
    return 1000 * (time.perf_counter() - began), body


def main(processes, scrapes):
    with Stack() as st:
        st.start(workers=0)
        held = [st.publisher() for _ in range(processes)]
        for n, pub in enumerate(held):
            pub.call({"op": "watch", "role": "worker"})
            pub.send(report(n))

        def all_there():
            body = scrape(st, "format=json")[1].partition(b"\r\n\r\n")[2]
            return len(json.loads(body)["processes"]) >= processes
        wait_until(all_there, 20, "%d processes" % processes)
        for query in ("format=prometheus", "format=openmetrics",
                      "format=json"):
            took = sorted(scrape(st, query)[0] for _ in range(scrapes))
            print("%-20s %d processes: p50 %.2f ms, p99 %.2f ms, %d bytes" % (
                query, processes, took[len(took) // 2],
                took[len(took) * 99 // 100], len(scrape(st, query)[1])))
        for pub in held:
            pub.close()


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:3]) if len(sys.argv) > 2
         else (int(sys.argv[1]) if len(sys.argv) > 1 else 20, 500))
