# SPDX-License-Identifier: MIT
"""Firefox without a driver: it opens one page, and the page reports by POST to
a server of the test."""

import http.server
import json
import os
import pathlib
import shutil
import threading

from harness import Failed, Proc, wait_until

FIREFOX = next((p for p in map(shutil.which, ("firefox-esr", "firefox"))
                if p), None)

# Nothing but the page: no first run, no updates, no look for the network.
PREFS = {
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "app.update.enabled": False,
    "app.normandy.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "http://127.0.0.1:9/",
}


class Firefox:
    """A headless Firefox with a profile of its own in `dir`; `said` is the last
    report of its page."""

    def __init__(self, dir, **prefs):
        self.dir = pathlib.Path(dir)
        self.profile = self.dir / "firefox"
        self.profile.mkdir()
        (self.profile / "user.js").write_text("".join(
            "user_pref(%s, %s);\n" % (json.dumps(k), json.dumps(v))
            for k, v in dict(PREFS, **prefs).items()))
        self.said = None
        self.proc = None
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                size = int(self.headers["Content-Length"])
                outer.said = json.loads(self.rfile.read(size))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever,
                                       kwargs={"poll_interval": 0.05})
        self.thread.start()

    @property
    def report_url(self):
        return "http://127.0.0.1:%d/" % self.http.server_port

    def visit(self, url):
        env = dict(os.environ, HOME=str(self.dir), MOZ_HEADLESS="1")
        self.proc = Proc("firefox", [
            FIREFOX, "--headless", "--no-remote", "--profile", self.profile,
            url], self.dir / "firefox.log", env=env, run_as=None)

    def until(self, true, timeout=60):
        try:
            return wait_until(lambda: self.said and true(self.said) and
                              self.said, timeout, "a report of Firefox")
        except Failed as e:
            raise Failed("%s; it said %r\n%s" % (
                e, self.said, self.proc.tail())) from None

    def close(self):
        if self.proc:
            self.proc.kill_all()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join(10)
