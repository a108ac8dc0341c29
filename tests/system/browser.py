# SPDX-License-Identifier: MIT
"""Chromium over its own debugging pipe: no driver, nothing to download.

The DevTools protocol is JSON objects, each ended by a NUL, on descriptors 3
(to the browser) and 4 (from it).  One Browser, any number of pages.
"""

import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import time

from harness import Failed, wait_until

CHROMIUM = next((p for p in map(shutil.which, (
    "chromium", "chromium-browser", "google-chrome")) if p), None)


class Browser:
    """A headless Chromium with a profile of its own in `dir`."""

    def __init__(self, dir):
        self.dir = pathlib.Path(dir)
        self.log = self.dir / "chromium.log"
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        # Away from 3 and 4, so that neither is overwritten before it is used.
        theirs = [os.dup(to_browser), os.dup(from_browser)]
        high = [self._above(fd) for fd in theirs]
        for fd in (to_browser, from_browser, *theirs):
            os.close(fd)

        def descriptors():
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        env = dict(os.environ, HOME=str(self.dir))
        with open(self.log, "wb") as log:
            self.p = subprocess.Popen(
                [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu",
                 "--disable-dev-shm-usage", "--no-first-run",
                 "--disable-extensions", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync",
                 "--password-store=basic", "--remote-debugging-pipe",
                 "--user-data-dir=%s" % (self.dir / "profile"),
                 "about:blank"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env,
                pass_fds=(3, 4), preexec_fn=descriptors,
                start_new_session=True)
        for fd in high:
            os.close(fd)
        self._serial = 0
        self._buf = b""

    @staticmethod
    def _above(fd):
        import fcntl
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)

    def call(self, method, session=None, timeout=60, **params):
        """One command; returns its result."""
        self._serial += 1
        message = {"id": self._serial, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + timeout
        while True:
            answer = self._read(deadline, method)
            if answer.get("id") == self._serial:
                break
        if "error" in answer:
            raise Failed("%s: %s" % (method, answer["error"]))
        return answer["result"]

    def _read(self, deadline, what):
        while b"\0" not in self._buf:
            left = max(deadline - time.monotonic(), 0)
            raw = b""
            if select.select([self._in], [], [], left)[0]:
                raw = os.read(self._in, 1 << 20)
            if not raw:
                raise Failed("no answer to %s from Chromium\n%s" % (
                    what, self.log.read_text(errors="replace")[-2000:]))
            self._buf += raw
        one, _, self._buf = self._buf.partition(b"\0")
        return json.loads(one)

    def page(self, url):
        """Opens a page in a tab of its own."""
        target = self.call("Target.createTarget", url="about:blank")
        session = self.call("Target.attachToTarget", flatten=True,
                            targetId=target["targetId"])["sessionId"]
        page = Page(self, session)
        self.call("Page.navigate", session, url=url)
        return page

    def close(self):
        try:
            self.call("Browser.close", timeout=10)
        except (Failed, OSError):
            pass
        try:
            self.p.wait(10)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.p.wait(10)
        os.close(self._in)
        os.close(self._out)


class Page:
    def __init__(self, browser, session):
        self.browser, self.session = browser, session

    def eval(self, expression):
        """The value of a JavaScript expression (a promise is awaited)."""
        r = self.browser.call("Runtime.evaluate", self.session,
                              expression=expression, returnByValue=True,
                              awaitPromise=True)
        if "exceptionDetails" in r:
            raise Failed("%s: %s" % (expression, r["exceptionDetails"]))
        return r["result"].get("value")

    def until(self, expression, timeout=30, show="document.title"):
        """Waits until the expression is true; returns its value."""
        def true():
            try:
                return self.eval(expression)
            except Failed:
                return None     # not loaded yet
        try:
            return wait_until(true, timeout, expression, step=0.02)
        except Failed as e:
            raise Failed("%s; the page: %s" % (e, self.eval(show))) from None
