# SPDX-License-Identifier: MIT
"""What a visitor reads whom an application that speaks FastCGI decides about."""

import os
import re
import socket
import threading

import fcgi
from harness import RUN_AS
from scenario import scenario
from scenarios.continuity import SMALL
from scenarios.readers import asks, write

ALLOWS = b"X-Walcast-Channels: app.*\r\n"
END = fcgi.record(fcgi.END, bytes(8))
# By cookie; whoever is not here is refused.
ANSWERS = {
    b"s=alice": ALLOWS,
    b"s=never": ALLOWS + b"X-Walcast-Max-Age: 0\r\n",
    b"s=500": b"Status: 500 No\r\n" + ALLOWS,
    b"s=302": b"Status: 302 Login\r\n" + ALLOWS,
    b"s=odd": ALLOWS + b"X-Walcast-Max-Age: soon\r\n",
    b"s=none": b"Content-type: text/html\r\n",
}


class Application:
    def __init__(self, path):
        self.answers = dict(ANSWERS)
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(str(path))
        os.chmod(path, 0o666)
        self.sock.listen(64)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                peer, _ = self.sock.accept()
            except OSError:
                return
            with peer:
                raw = b""
                while not raw.endswith(fcgi.record(fcgi.STDIN)):
                    raw += peer.recv(65536)
                who = re.search(rb"HTTP_COOKIE(s=\w+)HTTP|HTTP_COOKIE"
                                rb"(s=\w+?)[^\w]", raw)
                said = self.answers.get(
                    who and (who[1] or who[2]), b"Status: 403 No\r\n")
                peer.sendall(fcgi.record(fcgi.STDOUT, said + b"\r\n") + END)


@scenario("reader-of-an-application", tags="security", fronts=("lighttpd",),
          short=True, rounds=1)
def reader_of_an_application(run):
    """The application allows, refuses and talks nonsense: nobody is let in by
    what was said of another, by an answer that has ended, or by none."""
    st = run.stack(config=dict(SMALL), workers=0, pubd=False)
    write(st, "access.conf", "app read app.*\nuid 0 %d publish *\n" % (
        RUN_AS.pw_uid if RUN_AS else 0))
    path = st.dir / "app.sock"
    app = Application(path)
    st.configure(access=st.dir / "access.conf",
                 authorizer="fcgi:%s:/x.php" % path)
    for _ in run.each_round():
        st.restart_pubd()
        st.start_worker(0 if st.workers else None)
        app.answers = dict(ANSWERS)

        def ask(want, who, what, channel="app.x"):
            cookie = {"HTTP_COOKIE": "s=" + who} if who else {}
            asks(run, st, want, "channel=" + channel, what, **cookie)

        ask(200, "alice", "who may")
        ask(403, "bob", "another's cookie")
        ask(403, None, "no cookie")
        ask(403, "none", "an answer without channels")
        for who in ("500", "302", "odd"):
            ask("overload", who, "an answer that is none")
        ask(200, "never", "who may, this once")
        del app.answers[b"s=never"]
        ask(403, "never", "an answer that has ended")
        st.stop_worker()
    app.sock.close()
