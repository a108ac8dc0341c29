# SPDX-License-Identifier: MIT
"""sse-metrics.fcgi under faults: all that it answers, once, over FastCGI
itself."""

import contextlib
import json
import signal
import sqlite3
import time

from fcgi import END, STDIN, STDOUT, Conn, record, request
from harness import Failed, wait_until
from sweep import Subject


class MetricsSubject(Subject):
    """sse-metrics.fcgi: each answer is whole, or says what is missing, or
    does not come."""

    name = "metrics"
    config = {"heartbeat_ms": 1000, "beacon": "on", "beacon_rate": 0,
              "log_rate": 0}
    HTML = "text/html,application/xhtml+xml,*/*;q=0.8"

    def prepare(self):
        self.st.start(workers=1, metrics=False)
        self.socket = self.st.run / "subject.sock"
        for n in range(20):
            self.st.publish("a", n)
        self.counters = {}      # as told when nothing had failed
        wait_until(self.counted, 10, "the events in the counters")

    def counted(self):
        db = sqlite3.connect("file:%s?mode=ro" % self.st.db.with_name(
            "status.db"), uri=True, timeout=10)
        with contextlib.closing(db):
            return any('"events_published":20' in counters for counters, in
                       db.execute("SELECT counters FROM status"))

    # -- a trial

    def attempt(self, t):
        self.socket.unlink(missing_ok=True)
        t.start(self.st.bin / "sse-metrics.fcgi", "--listen", self.socket)
        if t.reachable(self.socket):
            self.work(t)
            if t.passes or t.fault.nth % 2:
                t.recover()
                self.goes_on(t)
        t.stop(signal.SIGTERM)
        t.recover()

    def work(self, t):
        self.scrape(t)
        for query, accept in (("format=json", "*/*"), ("", self.HTML),
                              ("format=openmetrics", "*/*")):
            self.ask(t, "", query, accept)
        for path in ("/readyz", "/healthz"):
            self.ask(t, path)
        head, _ = self.answer(t, self.request("/nothing"))
        t.must(head and b"404" in head, "/nothing: %r" % head)
        self.beacon(t)
        self.stream(t)

    def scrape(self, t):
        """Counters that are told never go back."""
        text = self.ask(t, "")
        told = dict(line.rsplit(" ", 1) for line in (text or "").splitlines()
                    if line and line[0] != "#")
        told = {name: float(value) for name, value in told.items()
                if "_total" in name}
        if t.control.fired == 0:
            t.check(len(told) > 50, "too few counters: %r" % told)
            self.counters = told
        back = {name: (self.counters[name], value) for name, value in
                told.items() if value < self.counters.get(name, 0)}
        t.check(not back, "counters went back: %r" % back)

    def goes_on(self, t):
        """It answers again, and holds no descriptor more."""
        deadline = time.monotonic() + 10
        while t.running and self.ask(t, "/healthz") is None:
            if time.monotonic() > deadline:
                raise Failed("it does not answer any more")
            time.sleep(0.02)
        self.same_descriptors(t)

    def request(self, path, query="", accept="*/*", **more):
        return request("/sse-metrics.fcgi" + path, query,
                       SCRIPT_NAME="/sse-metrics.fcgi", HTTP_ACCEPT=accept,
                       **more)

    def ask(self, t, path, query="", accept="*/*"):
        """The body of an answer with 200; None for others, and for none."""
        head, body = self.answer(t, self.request(path, query, accept))
        t.must(body, "%s %s: %r" % (path, query, head))
        if head is None or b"Status: " in head and b" 200 " not in head:
            return None
        if b"json" in head:
            json.loads(body)
        t.check(body.endswith(b"\n"), "%s %s is cut: %r" % (
            path, query, body[-100:]))
        return body.decode()

    def answer(self, t, raw):
        """(head, body) of an answer that came to its end; else Nones."""
        try:
            with Conn(self.socket, raw) as c:
                got = c.ended(0.2 if t.lasts else 5)
        except TimeoutError:
            t.check(t.lasts, "no answer to %.60r" % raw)
            return None, None
        except OSError:
            return None, None
        if not got or got[-1][0] != END:
            return None, None
        head, _, body = b"".join(r[2] for r in got if r[0] == STDOUT
                                 ).partition(b"\r\n\r\n")
        allowed = (b"404", b"503", b"400", b"204", b"403", b"429")
        t.check(b"Status: " not in head or b"Status: 200" in head or
                any(b"Status: " + s in head for s in allowed),
                "answered by %r" % head)
        return head, body

    def beacon(self, t):
        body = b'{"gaps":1,"lag_ms":[1,2,3]}'
        raw = self.request("/beacon", method="POST", HTTP_HOST="x",
                           HTTP_ORIGIN="http://x", CONTENT_TYPE="text/plain")
        head, _ = self.answer(t, raw[:-8] + record(STDIN, body)
                              + record(STDIN))
        t.must(head and b"204" in head, "beacon: %r" % head)

    def stream(self, t):
        """The status page's stream: its first event, then we leave."""
        try:
            with Conn(self.socket, self.request(
                    "", "channel=system.status", "text/event-stream")) as c:
                got = b""
                while b"data: {" not in got:
                    got += c.record(0.2 if t.lasts else 5)[2]
        except TimeoutError:
            t.check(t.lasts, "the status stream is silent: %r" % got[-200:])
        except (EOFError, OSError):
            pass
