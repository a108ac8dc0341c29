# SPDX-License-Identifier: MIT
"""The JavaScript client (client/) as a program in Node and as pages in
Chromium, and servers that are not what they should be.

What the handlers were told is a log of dicts, {"on": "event", "id": 7} and so
on (tests/client/real/record.js).
"""

import collections
import http.client
import http.server
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
import urllib.parse

from browser import CHROMIUM
from harness import ROOT, Failed, alive, descendants, wait_until

TESTS = ROOT / "tests" / "client"
REAL = TESTS / "real"
DIST = ROOT / "client" / "dist"
NODE = shutil.which("node") or "node"


def install():
    """playwright-core, as the lock file says, unless it is there."""
    if not (TESTS / "node_modules" / "playwright-core").exists():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"],
                       cwd=TESTS, check=True, timeout=120)


class Log:
    """What handlers were told, in order."""

    name = "client"

    def lines(self):
        raise NotImplementedError

    def of(self, *names):
        return [e for e in self.lines() if e["on"] in names]

    def ids(self):
        return [e["id"] for e in self.of("event")]

    def until(self, true, timeout=30, what="a condition"):
        """Waits until true(self) is; then tells what it was."""
        try:
            return wait_until(lambda: true(self), timeout, what)
        except Failed as e:
            tail = "\n".join(map(json.dumps, self.lines()[-40:]))
            raise Failed("%s of %s; its log:\n%s" % (
                e, self.name, tail)) from None

    def until_id(self, id, timeout=30):
        self.until(lambda log: id in log.ids()[-3:], timeout,
                   "event %d" % id)
        return self.ids()

    def until_open(self, n=1):
        """Waits for the n-th answer; its control.open has come."""
        self.until(lambda log: len(log.opens()) >= n, 30, "stream %d" % n)
        return self.opens()[n - 1]

    def opens(self):
        return [e["data"] for e in self.of("control")
                if e["type"] == "control.open"]

    def alarms(self):
        return self.of("gap", "cannotResume", "duplicate", "outOfOrder")


class Consumer(Log):
    """consumer.mjs; options are those of connect() and a few of its own.

    kill() and stop() end it; another one with the same `file` goes on."""

    def __init__(self, stack, url, gc=False, **options):
        self.proc = stack.spawn(
            "consumer", [NODE, *(["--expose-gc"] if gc else []),
                         REAL / "consumer.mjs", url, complete(options)],
            run_as=None)
        self._read, self._lines, self._rest = 0, [], b""

    def lines(self):
        with open(self.proc.log, "rb") as f:
            f.seek(self._read)
            raw = f.read()
        self._read += len(raw)
        *whole, self._rest = (self._rest + raw).split(b"\n")
        for line in whole:
            if not line.startswith(b"{"):
                raise Failed("the consumer says\n" + self.proc.tail())
            self._lines.append(json.loads(line))
        return self._lines

    def kill(self):
        self.proc.kill()

    def stop(self):
        assert self.proc.stop() == 0, self.proc.tail()
        return self.lines()[-1]


class Chromium:
    """browser.mjs, and through it pages on the client."""

    def __init__(self, dir):
        assert CHROMIUM, "Chromium is needed: tests/deps.sh check"
        install()
        self.err = open(pathlib.Path(dir) / "browser.err", "w+b")
        self.popen = subprocess.Popen(
            [NODE, str(REAL / "browser.mjs")], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.err, start_new_session=True,
            env=dict(os.environ, CHROMIUM=CHROMIUM, TMPDIR=str(dir)))
        self._buf = b""
        self._tabs = 0

    def call(self, op, timeout=60, **args):
        self.popen.stdin.write(json.dumps(dict(args, op=op)).encode() + b"\n")
        self.popen.stdin.flush()
        fd = self.popen.stdout.fileno()
        deadline = time.monotonic() + timeout
        while b"\n" not in self._buf:
            left = max(deadline - time.monotonic(), 0)
            raw = os.read(fd, 1 << 20) if select.select(
                [fd], [], [], left)[0] else b""
            if not raw:
                raise Failed("no answer to %s: %s" % (op, self.errors()))
            self._buf += raw
        line, _, self._buf = self._buf.partition(b"\n")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed("%s %r: %s" % (op, args, answer["error"]))
        return answer.get("value")

    def errors(self):
        self.err.seek(0)
        return self.err.read()[-2000:].decode("utf-8", "replace")

    def tab(self, web, context, **options):
        """A page on the client, opened through this web server."""
        self._tabs += 1
        tab = Tab(self, "tab%d" % self._tabs, context)
        self.call("open", tab=tab.name, context=context,
                  url=page_url(web, **options))
        return tab

    def close(self):
        tree = descendants(self.popen.pid)
        self.popen.stdin.close()
        try:
            self.popen.wait(20)
        finally:
            for pid, started in tree.items():
                if alive(pid, started):
                    os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not any(alive(*p) for p in tree.items()),
                       20, "the end of Chromium")
        self.popen.stdout.close()
        self.err.close()


class Page(Log):
    """eval(expression) gives a value of the page."""

    name = "page"

    def __init__(self, eval):
        self._lines = []
        self.eval = eval

    def lines(self):
        """All so far; only what is new comes over."""
        self._lines += self.eval("log.slice(%d)" % len(self._lines))
        return self._lines


class Tab(Page):
    def __init__(self, browser, name, context):
        super().__init__(lambda e: self.call("eval", expression=e))
        self.browser, self.name, self.context = browser, name, context

    def call(self, op, **args):
        return self.browser.call(op, tab=self.name, **args)

    def load(self, url):
        """Another page, with a log of its own."""
        self.call("goto", url=url)
        self._lines = []


def complete(options):
    """Options of connect(), and those that all have here."""
    return json.dumps(dict({"channels": "a", "retry": {
        "initialDelayMs": 20, "maxDelayMs": 300}}, **options))


def page_url(web, **options):
    """Where client.html is, with these options."""
    for f in [*DIST.glob("*.js"), REAL / "record.js", REAL / "client.html"]:
        web.put(f.name, f.read_text())
    return "%s/client.html?%s" % (web.url,
                                  urllib.parse.quote(complete(options)))


# ---------------------------------------------------------------- other servers

class Server:
    """An HTTP server whose answers a test chooses: answer(handler, n) is called
    for request n, from 0; `requests` are (time, path, headers)."""

    def __init__(self, answer):
        self.requests = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                n = len(outer.requests)
                outer.requests.append((time.monotonic(), self.path,
                                       dict(self.headers.items())))
                try:
                    answer(self, n)
                except OSError:
                    pass        # it has left

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever,
                                       kwargs={"poll_interval": 0.05})

    @property
    def url(self):
        return "http://127.0.0.1:%d/sse.fcgi" % self.http.server_port

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join(10)


class Way:
    """A TCP relay to `web`: a way through the network.  While `dark`, what is
    sent vanishes and nobody is told.  Connections of before are dead then; who
    sends something on one is told so, as by a router that has forgotten it."""

    def __init__(self, web):
        self.web, self.dark = web, False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lost, self.open = set(), set()
        self.thread = threading.Thread(target=self._accept)

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self.port

    def put(self, name, text):
        self.web.put(name, text)

    def darken(self):
        self.lost |= self.open
        self.dark = True

    def lighten(self):
        self.dark = False

    def _accept(self):
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            far = socket.create_connection(self.web.addr)
            self.open |= {near, far}
            if self.dark:
                self.lost |= {near, far}
            for pair in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._relay, args=pair,
                                 daemon=True).start()

    def _relay(self, source, sink, is_browser):
        try:
            while raw := source.recv(65536):
                if source not in self.lost:
                    sink.sendall(raw)
                elif is_browser and not self.dark:
                    self._reset(source)
                    return
            if source not in self.lost:
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    @staticmethod
    def _reset(s):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                     struct.pack("ii", 1, 0))
        s.close()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)
        for s in self.open:
            s.close()


def refuse(handler, status, **headers):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()


def begin_stream(handler):
    """The head of an answer that ends with its connection."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.end_headers()


def withholding(web, is_dropped):
    """A proxy before `web` that leaves out the blocks of which it is told
    is_dropped(id, times it was seen before)."""
    seen = collections.Counter()

    def relay(handler, n):
        with_body = http.client.HTTPConnection(*web.addr, timeout=60)
        headers = {k: v for k, v in handler.headers.items()
                   if k.lower() in ("accept", "last-event-id")}
        with_body.request("GET", handler.path, headers=headers)
        answer = with_body.getresponse()
        begin_stream(handler)
        block = b""
        try:
            for line in answer:
                block += line
                if line != b"\n":
                    continue
                id = number_of(block)
                seen[id] += 1
                if id is None or not is_dropped(id, seen[id] - 1):
                    handler.wfile.write(block)
                block = b""
        finally:
            with_body.close()

    return Server(relay)


def number_of(block):
    """The id of an event; None of a block that is none."""
    if b"data: {\"id\":" not in block:
        return None
    return int(block.partition(b"id: ")[2].partition(b"\n")[0])
