# SPDX-License-Identifier: MIT
"""The whole river in a temporary directory: pubd, workers, metrics, and real
web servers with the configuration files that are shipped.

    with Stack(config={"heartbeat_ms": 200}) as st:
        st.start()                          # init, pubd, one worker, metrics
        web = st.front("apache-proxy")      # or any other of FRONTS
        s = web.stream({"channel": "orders"})
        st.publish("orders", {"n": 1})

Everything listens on loopback ports that the kernel chose or on sockets in the
directory.  Readiness is found by probing, never by sleeping for a fixed time.
close() stops all in reverse order and fails if any process is left.

As root the programs run as www-data (RUN_AS) and the web servers start as root
and serve as www-data, as on a real host; otherwise all runs as the caller.
"""

import ctypes
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time

from pub import Publisher
from sse import Ended, Source, Stream, Timeout

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("WALCAST_BIN", ROOT / "build" / "bin"))
FRONTS = ["lighttpd", "apache-proxy", "apache-fcgid", "apache-cgi"]
PROGRAMS = ["pubd", "sse.fcgi", "sse-metrics.fcgi", "walcast"]
APACHE_MODULES = "/usr/lib/apache2/modules"
DEBIAN_MPM = "/etc/apache2/mods-available/mpm_event.conf"
MIME_TYPES = "/etc/mime.types"
START_S = 20       # deadlines; generous, since nothing waits them out
STOP_S = 20

# Orphans of a server that was killed come to us and not to init, so that they
# are found (PR_SET_CHILD_SUBREAPER).
ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)


def _run_as():
    if os.geteuid() != 0:
        return None
    return pwd.getpwnam("www-data")


RUN_AS = _run_as()


class Failed(AssertionError):
    """A part did not start, stop or answer as it should."""


# ---------------------------------------------------------------- small things

def status_rows(st, columns, where="", args=()):
    """Rows of status.db; none before pubd has made its tables, for which
    there is a moment between the file and its first commit."""
    db = sqlite3.connect("file:%s?mode=ro" % st.db.with_name("status.db"),
                         uri=True, timeout=10)
    try:
        return db.execute("SELECT %s FROM status %s" % (columns, where),
                          args).fetchall()
    except sqlite3.OperationalError as e:
        if "no such table" not in str(e):
            raise
        return []
    finally:
        db.close()


def wait_until(true, timeout=10, what="a condition", step=0.005):
    """Calls true() until it returns something; returns that."""
    deadline = time.monotonic() + timeout
    while True:
        got = true()
        if got:
            return got
        if time.monotonic() > deadline:
            raise Failed("waited %g s for %s" % (timeout, what))
        time.sleep(step)
        step = min(step * 1.5, 0.1)


def free_port():
    """A port that was free a moment ago; starters retry when it is lost."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def can_connect(addr):
    family = socket.AF_INET if isinstance(addr, tuple) else socket.AF_UNIX
    with socket.socket(family) as s:
        s.settimeout(1)
        try:
            s.connect(addr if isinstance(addr, tuple) else str(addr))
        except OSError:
            return False
        return True


def _stat(pid):
    """(state, ppid, start time) or None."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            tail = f.read().rpartition(")")[2].split()
        return tail[0], int(tail[1]), tail[19]
    except (OSError, IndexError):
        return None


def children():
    """{ppid: [pid]} of the whole machine."""
    tree = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            st = _stat(int(name))
            if st:
                tree.setdefault(st[1], []).append(int(name))
    return tree


def descendants(pid):
    """{pid: start time} of a process and all below it."""
    tree, out, todo = children(), {}, [pid]
    while todo:
        p = todo.pop()
        st = _stat(p)
        if st and st[0] != "Z":
            out[p] = st[2]
        todo += tree.get(p, [])
    return out


def session(sid):
    """{pid: start time} of a session, also of those whose parent is gone."""
    out = {}
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.getsid(int(name)) == sid:
                st = _stat(int(name))
                if st and st[0] != "Z":
                    out[int(name)] = st[2]
        except OSError:
            pass
    return out


def alive(pid, started=None):
    st = _stat(pid)
    if st and st[0] == "Z" and st[1] == os.getpid():
        try:
            os.waitpid(pid, os.WNOHANG)
        except OSError:
            pass
    return bool(st) and st[0] not in "ZX" and started in (None, st[2])


def accepted(path):
    """How many connections to a Unix socket are open on its side."""
    with open("/proc/net/unix") as f:
        rows = [line.split() for line in f][1:]
    # Num RefCount Protocol Flags Type St Inode Path; 03: connected
    return sum(r[5] == "03" and r[7:] == [str(path)] for r in rows)


def cmdline(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            return f.read().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def smaps_kib(pid, key="Pss"):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        for line in f:
            if line.startswith(key + ":"):
                return int(line.split()[1])
    return 0


# ---------------------------------------------------------------- one process

class Proc:
    """One program that was started, with all that it starts."""

    def __init__(self, name, argv, log, env=None, stdin=None, cwd=None,
                 limits=None, run_as=RUN_AS):
        self.name, self.argv, self.log = name, [str(a) for a in argv], log
        self.seen = {}
        self._out = open(log, "ab")
        if RUN_AS:
            os.chown(log, RUN_AS.pw_uid, RUN_AS.pw_gid)
        user = dict(user=run_as.pw_uid, group=run_as.pw_gid,
                    extra_groups=[]) if run_as else {}
        self.popen = subprocess.Popen(
            self.argv, stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=self._out, stderr=self._out, env=env, cwd=cwd,
            start_new_session=True, preexec_fn=limits, **user)

    @property
    def pid(self):
        return self.popen.pid

    @property
    def running(self):
        return self.popen.poll() is None

    def tree(self):
        """{pid: start time} of it and its descendants, now."""
        now = descendants(self.pid) if self.running else {}
        now.update(session(self.pid))
        self.seen.update(now)
        return now

    def rss_kib(self):
        """Resident memory in KiB."""
        with open("/proc/%d/status" % self.pid) as f:
            for line in f:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
        return 0

    def pss_kib(self):
        """Memory of it and its descendants, shared pages shared out."""
        return sum(smaps_kib(p) for p in self.tree())

    def fds(self):
        """How many descriptors it has open; not those of a moment, as when
        it reads its own figures from /proc."""
        def now():
            return len(os.listdir("/proc/%d/fd" % self.pid))
        least = now()
        for _ in range(2):
            time.sleep(0.001)
            least = min(least, now())
        return least

    def fd_targets(self):
        out = []
        for fd in os.listdir("/proc/%d/fd" % self.pid):
            try:
                out.append(os.readlink("/proc/%d/fd/%s" % (self.pid, fd)))
            except OSError:
                pass
        return out

    def cpu_s(self):
        """Processor seconds used by it so far, user and system."""
        with open("/proc/%d/stat" % self.pid) as f:
            tail = f.read().rpartition(")")[2].split()
        return (int(tail[11]) + int(tail[12])) / os.sysconf("SC_CLK_TCK")

    def send_signal(self, sig):
        if self.running:
            self.popen.send_signal(sig)

    def pause(self):
        self.send_signal(signal.SIGSTOP)

    def resume(self):
        self.send_signal(signal.SIGCONT)

    def wait(self, timeout=STOP_S):
        """Exit status; negative: the signal that ended it."""
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            if self.leak_check_hangs():
                self.kill_all()
                return 0
            raise Failed("%s (pid %d) did not end in %g s\n%s\n%s" % (
                self.name, self.pid, timeout, self.where(),
                self.tail())) from None

    def leak_check_hangs(self):
        """
        LeakSanitizer looks at the memory of a process that has ended its work
        from a clone of it, by ptrace; on some kernels the clone then waits for
        ever for a stop that is not told (about 1 in 100 ends).  All that is
        lost is that one leak check, and it is said.
        """
        try:
            status = pathlib.Path("/proc/%d/status" % self.pid).read_text()
            tracer = int(re.search(r"^TracerPid:\s*(\d+)", status, re.M)[1])
            same = tracer and os.path.samefile("/proc/%d/exe" % tracer,
                                               "/proc/%d/exe" % self.pid)
        except (OSError, TypeError):
            return False
        if same:
            print("%s (pid %d): the sanitizer's leak check hung, not judged"
                  % (self.name, self.pid))
        return bool(same)

    def where(self):
        """Where each of its threads stands in the kernel: why it hangs."""
        out = []
        for task in sorted(pathlib.Path("/proc/%d/task" % self.pid).glob("*")):
            for name in ("comm", "wchan", "syscall", "stack"):
                try:
                    text = (task / name).read_text(errors="replace").strip()
                except OSError as e:
                    text = e.strerror
                out.append("%s %s: %s" % (task.name, name, text))
        return "\n".join(out)

    def kill(self):
        """kill -9 of this process alone; what it started lives on."""
        self.tree()
        if self.running:
            self.popen.kill()
        self.popen.wait(STOP_S)

    def kill_all(self):
        """kill -9 of it and all that it started, all at once."""
        self.tree()
        for pid, started in self.seen.items():
            if alive(pid, started):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        self.popen.wait(STOP_S)
        self.gone()

    def stop(self, sig=signal.SIGTERM, timeout=STOP_S):
        """Asks it to end, waits for it and all that it started."""
        self.tree()
        if self.running:
            self.popen.send_signal(signal.SIGCONT)
            self.popen.send_signal(sig)
        try:
            code = self.wait(timeout)
            self.gone(timeout)
            return code
        except Failed:
            self.kill_all()
            raise
        finally:
            self._out.close()

    def gone(self, timeout=STOP_S):
        wait_until(lambda: not self.left(), timeout,
                   "the end of %s: %r" % (self.name, self.left()))

    def left(self):
        self.tree()
        return {p: cmdline(p) for p, t in self.seen.items() if alive(p, t)}

    def tail(self, n=4000):
        try:
            raw = pathlib.Path(self.log).read_bytes()[-n:]
        except OSError:
            raw = b""
        return "--- %s: %s\n%s" % (self.name, self.log,
                                   raw.decode("utf-8", "replace"))


# ---------------------------------------------------------------- web servers

class Front:
    """A web server with one of the shipped configurations.

    cap        replaces the shipped WALCAST_MAX_STREAMS
    share      the same of WALCAST_ADDRESS_SHARE; "shipped": as it is
    subst      more (from, to) pairs, applied to the shipped text; each `from`
               must occur
    extra      configuration lines put into the server (or vhost) after ours
    """

    kind = None

    def __init__(self, stack, name, cap=None, subst=(), extra="", share=100,
                 **opts):
        self.stack, self.name, self.opts = stack, name, opts
        self.cap, self.subst, self.extra = cap, list(subst), extra
        self.share = share
        self.dir = stack.dir / name
        self.docroot = self.dir / "htdocs"
        self.log = self.dir / "log"
        self.port = None
        self.proc = None
        stack.mkdir(self.dir)
        stack.mkdir(self.docroot)
        stack.mkdir(self.docroot / "cgi-bin")
        self.put("index.html", "<!doctype html><title>page</title>page\n")
        self.put("cgi-bin/page.cgi", "#!/bin/sh\nprintf 'Content-Type: "
                 "text/plain\\n\\ncgi page\\n'\n", 0o755)

    # -- what a test asks

    @property
    def addr(self):
        return ("127.0.0.1", self.port)

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self.port

    def stream(self, params=None, **kw):
        """Opens a stream through this server; see sse.Stream."""
        return Stream(self.addr, kw.pop("path", "/sse.fcgi"), params, **kw)

    def admit(self, params=None, timeout=30, **kw):
        """A stream that has been let in: one that is told "overload" comes
        again, as a browser would.  control.open has been taken."""
        deadline = time.monotonic() + timeout
        while True:
            s = self.stream(params, **kw)
            e = s.next(timeout)
            if e.type == "control.open":
                return s
            s.close()
            if time.monotonic() > deadline:
                raise Failed("not let in within %g s: %r" % (timeout, e))
            time.sleep(0.05)

    def source(self, params=None, **kw):
        """A client that reconnects; see sse.Source."""
        return Source(self.addr, params=params, **kw)

    def get(self, path, headers=None, timeout=10, method="GET"):
        """Fetches a page: (status, headers, body)."""
        h = {"Accept": "*/*", "Connection": "close"}
        h.update(headers or {})
        with Stream(self.addr, path, headers=h, timeout=timeout,
                    method=method) as s:
            return s.status, s.headers, s.body(timeout)

    def put(self, name, text, mode=0o644):
        """Puts a file below the document root."""
        self.stack.write(self.docroot / name, text, mode)

    # -- life

    def configuration(self):
        raise NotImplementedError

    def argv(self):
        raise NotImplementedError

    def shipped(self, *names):
        """The text of shipped files with this directory's paths."""
        text = "".join((ROOT / n).read_text() + "\n" for n in names)
        return self.adapt(text)

    def adapt(self, text):
        st = self.stack
        pairs = [("/usr/lib/walcast", st.bin), ("/run/walcast", st.run),
                 ("/usr/share/walcast/apache", ROOT / "apache"),
                 ("/run/lighttpd", self.dir),
                 ("/etc/walcast/walcast.conf", st.conf)]
        for old, new in pairs:
            text = text.replace(old, str(new))
        # All clients of a test have one address, if it does not say more.
        if self.share != "shipped":
            text = re.sub(r'(WALCAST_ADDRESS_SHARE(?:" =>)? "?)\d+',
                          r"\g<1>%d" % self.share, text)
        if self.cap is not None:
            text, n = re.subn(r'(WALCAST_MAX_STREAMS(?:" =>)? "?)\d+',
                              r"\g<1>%d" % self.cap, text)
            assert n > 0, "no cap in the shipped text"
        for old, new in self.subst:
            assert old in text, "%r is not in the shipped text" % old
            text = text.replace(old, new)
        return text

    def start(self):
        """Starts it on a new port, or on its old one after a stop."""
        fixed = self.port is not None
        for attempt in range(5):
            if not fixed:
                self.port = free_port()
            self.stack.write(self.dir / "server.conf", self.configuration())
            self.proc = Proc(self.name, self.argv(), self.log,
                             env=self.environment(), run_as=None,
                             limits=self.opts.get("limits"))
            try:
                self.ready()
                return self
            except Failed:
                lost = "in use" in self.proc.tail() or \
                    "could not bind" in self.proc.tail()
                self.proc.kill_all()
                if not lost or attempt == 4:
                    raise
        return self

    def environment(self):
        env = dict(PATH=os.environ["PATH"], LANG="C")
        for k in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            if k in os.environ:
                env[k] = os.environ[k]
        return env

    def ready(self):
        def probe():
            if not self.proc.running:
                raise Failed("%s ended while starting\n%s" % (
                    self.name, self.logs()))
            try:
                return self.get("/index.html", timeout=2)[0] == 200
            except (OSError, Ended, Timeout):
                return False
        try:
            wait_until(probe, START_S, self.name)
        except Failed as e:
            raise Failed("%s\n%s" % (e, self.logs())) from None

    def stop(self, sig=signal.SIGTERM):
        if self.proc:
            self.proc.stop(sig)

    def kill(self):
        """kill -9 of the server and all its processes."""
        self.proc.kill_all()

    def restart(self):
        self.stop()
        return self.start()

    def reload(self):
        self.proc.send_signal(signal.SIGUSR1)

    def running(self, program):
        """Pids of `program` below this server (bin-path, fcgid, CGI)."""
        return [p for p in (self.proc.tree() if self.proc else {})
                if any(a.endswith("/" + program)
                       for a in cmdline(p).split(" ")[:2])]

    def logs(self):
        return self.proc.tail() if self.proc else ""


class Lighttpd(Front):
    kind = "lighttpd"
    files = ["lighttpd/walcast.conf"]

    def configuration(self):
        text = """\
server.document-root = "%(root)s"
server.bind = "127.0.0.1"
server.port = %(port)d
server.modules = ( "mod_access", "mod_cgi", "mod_deflate", "mod_alias" )
server.breakagelog = "%(log)s"
server.upload-dirs = ( "%(dir)s" )
server.pid-file = "%(dir)s/pid"
index-file.names = ( "index.html" )
mimetype.assign = ( ".html" => "text/html", ".js" => "text/javascript" )
deflate.mimetypes = ( "text/", "application/javascript" )
deflate.allowed-encodings = ( "gzip", "deflate" )
deflate.cache-dir = ""
cgi.assign = ( ".cgi" => "" )
""" % dict(root=self.docroot, port=self.port, dir=self.dir, log=self.log)
        if RUN_AS:
            text += ('server.username = "www-data"\n'
                     'server.groupname = "www-data"\n')
        return text + self.shipped(*self.files) + self.extra

    def argv(self):
        return ["lighttpd", "-D", "-f", self.dir / "server.conf"]

    def reload(self):
        self.proc.send_signal(signal.SIGUSR1)


class LighttpdBin(Lighttpd):
    kind = "lighttpd-bin"
    files = ["lighttpd/walcast-binpath.conf"]


class Apache(Front):
    """opts: h2=True (HTTP/2 in clear text), gzip=True (a site that compresses
    all text), mpm="5000" (apache/mpm-5000-streams.conf); otherwise the MPM has
    Debian's untouched figures.  cgi="cgi": mod_cgi and not mod_cgid.
    server="...": lines at server level."""

    modules = ["mpm_event", "authz_core", "authz_host", "dir", "mime", "env",
               "alias", "setenvif", "reqtimeout", "cgid", "asis"]
    more_modules = []
    vhost_files = []
    server_files = []

    def adapt(self, text):
        # As both files say.
        if self.opts.get("mpm") == "5000":
            text = text.replace(" max=24 acquire=1", " max=255 acquire=1")
        return super().adapt(text)

    def configuration(self):
        modules = self.modules + self.more_modules
        if self.opts.get("cgi"):
            modules = [m for m in modules if m != "cgid"] + [self.opts["cgi"]]
        if self.opts.get("h2"):
            modules = modules + ["http2"]
        if self.opts.get("gzip"):
            modules = modules + ["filter", "deflate"]
        load = "".join("LoadModule %s_module %s/mod_%s.so\n" % (
            m, APACHE_MODULES, m) for m in modules)
        v = dict(dir=self.dir, root=self.docroot, port=self.port, load=load,
                 log=self.log, mime=MIME_TYPES,
                 user="User www-data\nGroup www-data" if RUN_AS else "",
                 mpm=("Include " + DEBIAN_MPM
                      if self.opts.get("mpm") != "5000"
                      else self.shipped("apache/mpm-5000-streams.conf")),
                 server=self.opts.get("server", "") + "\n" + "".join(
                     self.shipped(f) for f in self.server_files),
                 vhost="".join(self.shipped(f) for f in self.vhost_files),
                 level=self.opts.get("loglevel", "warn"),
                 h2="Protocols h2c http/1.1" if self.opts.get("h2") else "",
                 gzip="SetOutputFilter DEFLATE" if self.opts.get("gzip")
                 else "", extra=self.extra)
        return """\
ServerRoot "%(dir)s"
ServerName localhost
Listen 127.0.0.1:%(port)d
%(user)s
%(load)s
%(mpm)s
DefaultRuntimeDir "%(dir)s"
PidFile "%(dir)s/pid"
Mutex "file:%(dir)s" default
ErrorLog "%(log)s"
LogLevel %(level)s
TypesConfig %(mime)s
Timeout 300
KeepAlive On
MaxKeepAliveRequests 100
KeepAliveTimeout 5
<IfModule cgid_module>
	ScriptSock "%(dir)s/cgisock"
</IfModule>
<IfModule fcgid_module>
	FcgidIPCDir "%(dir)s/fcgidsock"
	FcgidProcessTableFile "%(dir)s/fcgid_shm"
	AddHandler fcgid-script .fcgi
</IfModule>
<Directory />
	AllowOverride None
	Require all denied
</Directory>
<Directory "%(root)s">
	Require all granted
	Options +ExecCGI
	AddHandler cgi-script .cgi
</Directory>
%(h2)s
%(server)s
<VirtualHost 127.0.0.1:%(port)d>
	ServerName localhost
	DocumentRoot "%(root)s"
	%(gzip)s
%(vhost)s
%(extra)s
</VirtualHost>
""" % v

    def argv(self):
        self.stack.mkdir(self.dir / "fcgidsock")
        return ["/usr/sbin/apache2", "-d", self.dir, "-f",
                self.dir / "server.conf", "-DFOREGROUND"]

    def environment(self):
        env = Front.environment(self)
        env.update(APACHE_RUN_DIR=str(self.dir), APACHE_LOG_DIR=str(self.dir))
        return env


class ApacheProxy(Apache):
    kind = "apache-proxy"
    more_modules = ["proxy", "proxy_fcgi"]
    vhost_files = ["apache/walcast-proxy.conf"]


class ApacheFcgid(Apache):
    kind = "apache-fcgid"
    more_modules = ["fcgid"]
    server_files = ["apache/walcast-fcgid.conf"]


class ApacheCgi(Apache):
    # mod_fcgid is loaded too: with its AddHandler our files must win.
    kind = "apache-cgi"
    more_modules = ["fcgid"]
    vhost_files = ["apache/walcast-cgi.conf"]


class Nginx(Front):
    """The block of docs/nginx.md."""

    kind = "nginx"

    def configuration(self):
        text = (ROOT / "docs" / "nginx.md").read_text()
        block = re.search(r"```nginx\n(.*?)```", text, re.S).group(1)
        return """\
%(user)s
daemon off;
pid %(dir)s/pid;
error_log %(log)s warn;
events { worker_connections 768; }
http {
	access_log off;
	types { text/html html; }
	client_body_temp_path %(dir)s/body;
	fastcgi_temp_path %(dir)s/fastcgi;
	proxy_temp_path %(dir)s/proxy;
	uwsgi_temp_path %(dir)s/uwsgi;
	scgi_temp_path %(dir)s/scgi;
	gzip on;
	gzip_types text/plain text/event-stream;
	server {
		listen 127.0.0.1:%(port)d;
		root %(root)s;
%(block)s
%(extra)s
	}
}
""" % dict(dir=self.dir, log=self.log, port=self.port, root=self.docroot,
           block=self.adapt(block), extra=self.extra,
           user="user www-data;" if RUN_AS else "")

    def argv(self):
        return ["/usr/sbin/nginx", "-p", self.dir, "-e", self.log, "-c",
                self.dir / "server.conf"]

    def reload(self):
        self.proc.send_signal(signal.SIGHUP)


KINDS = {c.kind: c for c in (Lighttpd, LighttpdBin, ApacheProxy, ApacheFcgid,
                             ApacheCgi, Nginx)}


# ---------------------------------------------------------------- the stack

class Stack:
    """pubd, workers, metrics and any number of fronts over one log.

    config    keys of walcast.conf; what is not given is small and fast
    mode      of `walcast init`: "open" or "strict"
    """

    # A web server learns from writing that a browser has left: with a quick
    # heartbeat the streams of one test are gone when the next one starts.
    DEFAULTS = {"heartbeat_ms": 1000, "retry_ms": 200, "ring_bytes": 4194304,
                "drain_ms": 500, "log_level": "info"}

    def __init__(self, config=None, mode="open", dir=None, keep=False):
        base = dir or os.environ.get("WALCAST_TEST_TMP")
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="walcast-", dir=base))
        self.dir.chmod(0o755)
        self.keep = keep or bool(os.environ.get("WALCAST_TEST_KEEP"))
        self.run = self.mkdir(self.dir / "run")
        self.var = self.mkdir(self.dir / "var", make=False)
        self.conf = self.dir / "walcast.conf"
        self.db = self.var / "events.db"
        self.pubd_sock = self.run / "pubd.sock"
        self.sse_sock = self.run / "sse.sock"
        self.metrics_sock = self.run / "metrics.sock"
        self.mode = mode
        self.config = dict(self.DEFAULTS)
        self.config.update(config or {})
        self.bin = self._binaries()
        self.pubd = self.metrics = None
        self.workers = []
        self.fronts = []
        self._procs = []
        self._pub = None
        self._listener = None
        self._serial = 0
        self._worker_listen = "path"
        self.write_conf()

    # -- files

    def mkdir(self, path, make=True):
        if make:
            path.mkdir(exist_ok=True)
            if RUN_AS:
                os.chown(path, RUN_AS.pw_uid, RUN_AS.pw_gid)
        return path

    def write(self, path, text, mode=0o644):
        tmp = path.with_name(path.name + ".new")
        tmp.write_bytes(text if isinstance(text, bytes) else text.encode())
        tmp.chmod(mode)
        if RUN_AS:
            os.chown(tmp, RUN_AS.pw_uid, RUN_AS.pw_gid)
        tmp.rename(path)

    def write_conf(self):
        keys = dict(database=self.db, socket=self.pubd_sock)
        keys.update(self.config)
        self.write(self.conf, "".join("%s = %s\n" % kv for kv in keys.items()
                                      if kv[1] is not None))

    def configure(self, **keys):
        """Changes walcast.conf; programs see it when they (re)start and on
        HUP, but for keys that need a restart.  None takes a key out."""
        self.config.update(keys)
        self.write_conf()

    def _binaries(self):
        """The directory of the programs, where RUN_AS can reach it."""
        if RUN_AS and not os.stat("/dev/shm").st_mode & 0o002:
            raise Failed("/dev/shm is for root only, workers need it: "
                         "chmod 1777 /dev/shm (tests/deps.sh check does it)")
        missing = [p for p in PROGRAMS if not (BIN / p).exists()]
        if missing:
            raise Failed("not built: %s in %s" % (", ".join(missing), BIN))
        if not RUN_AS or all(p.stat().st_mode & 0o001
                             for p in [BIN, *BIN.resolve().parents]):
            return BIN.resolve()
        copy = self.mkdir(self.dir / "bin")
        for p in PROGRAMS:
            shutil.copy2(BIN / p, copy / p)
        return copy

    def environment(self, **more):
        env = {k: v for k, v in os.environ.items()
               if not k.startswith("WALCAST_")}
        env.update(WALCAST_CONF=str(self.conf), LANG="C.UTF-8",
                   HOME=str(self.dir))
        env.update({k: str(v) for k, v in more.items()})
        return env

    # -- programs

    def spawn(self, name, argv, **kw):
        self._serial += 1
        log = self.dir / ("%s-%d.log" % (name, self._serial))
        env = self.environment(**kw.pop("env", {}))
        p = Proc(name, argv, log, env=env, cwd=str(self.dir), **kw)
        self._procs.append(p)
        return p

    def walcast(self, *args, input=None, timeout=30, check=None, env=None):
        """Runs the command-line tool; returns CompletedProcess (bytes out).
        check=True: must exit with 0."""
        user = dict(user=RUN_AS.pw_uid, group=RUN_AS.pw_gid,
                    extra_groups=[]) if RUN_AS else {}
        if isinstance(input, str):
            input = input.encode()
        done = subprocess.run(
            [str(self.bin / "walcast"), *map(str, args)], input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.dir,
            env=self.environment(**(env or {})), timeout=timeout, **user)
        if check and done.returncode != 0:
            raise Failed("walcast %s: exit %d\n%s%s" % (
                " ".join(map(str, args)), done.returncode,
                done.stdout.decode(errors="replace"),
                done.stderr.decode(errors="replace")))
        return done

    def init(self):
        """Creates the log."""
        self.mkdir(self.var)
        self.walcast("init", "--mode", self.mode, check=True)
        return self

    def start(self, workers=1, metrics=True, pubd=True, listen="path"):
        """Creates the log if need be and starts all but a web server.

        listen   "path": each start is `sse.fcgi --listen PATH` (one worker)
                 "fd0":  the workers share one listening socket on fd 0, which
                         stays while workers come and go
        """
        if not self.db.exists():
            self.init()
        if workers > 1:
            listen = "fd0"
        self._worker_listen = listen
        if pubd:
            self.start_pubd()
        for _ in range(workers):
            self.start_worker()
        if metrics:
            self.start_metrics()
        return self

    def start_pubd(self, **env):
        self.pubd = self.spawn("pubd", [self.bin / "pubd"], env=env)
        self.await_socket(self.pubd, self.pubd_sock)
        return self.pubd

    def restart_pubd(self):
        if self.pubd and self.pubd.running:
            self.stop_pubd()
        return self.start_pubd()

    def kill_pubd(self):
        """kill -9; what a publisher of ours had open is gone too."""
        self.pubd.kill()
        self._drop_pub()

    def stop_pubd(self):
        code = self.pubd.stop()
        self._drop_pub()
        return code

    def listener(self):
        """A listening socket for workers on fd 0."""
        if not self._listener:
            s = socket.socket(socket.AF_UNIX)
            if self.sse_sock.exists():
                self.sse_sock.unlink()
            s.bind(str(self.sse_sock))
            s.listen(4096)
            self.sse_sock.chmod(0o660)
            if RUN_AS:
                os.chown(self.sse_sock, RUN_AS.pw_uid, RUN_AS.pw_gid)
            self._listener = s
        return self._listener

    def start_worker(self, index=None, **env):
        """Starts a worker; index: in place of that one, which has ended."""
        argv = [self.bin / "sse.fcgi"]
        stdin = None
        if self._worker_listen == "fd0":
            stdin = self.listener()
        else:
            argv += ["--listen", self.sse_sock]
        p = self.spawn("sse.fcgi", argv, stdin=stdin, env=env)
        if index is None:
            self.workers.append(p)
        else:
            self.workers[index] = p
        self.await_socket(p, self.sse_sock)
        return p

    @property
    def worker(self):
        return self.workers[0]

    def kill_worker(self, index=0, restart=False):
        self.workers[index].kill()
        if restart:
            self.start_worker(index)

    def stop_worker(self, index=0, sig=signal.SIGTERM, timeout=STOP_S):
        return self.workers[index].stop(sig, timeout)

    def restart_worker(self, index=0):
        self.stop_worker(index)
        return self.start_worker(index)

    def start_metrics(self, **env):
        self.metrics = self.spawn("sse-metrics.fcgi", [
            self.bin / "sse-metrics.fcgi", "--listen", self.metrics_sock],
            env=env)
        self.await_socket(self.metrics, self.metrics_sock)
        return self.metrics

    def await_socket(self, proc, path):
        def probe():
            if not proc.running:
                raise Failed("%s ended with %s while starting\n%s" % (
                    proc.name, proc.popen.returncode, proc.tail()))
            return can_connect(path)
        try:
            wait_until(probe, START_S, "%s at %s" % (proc.name, path))
        except Failed as e:
            raise Failed("%s\n%s" % (e, proc.tail())) from None

    def front(self, kind, **opts):
        """Starts a web server of KINDS; see Front for the options."""
        name = "%s-%d" % (kind, len(self.fronts) + 1)
        f = KINDS[kind](self, name, **opts)
        self.fronts.append(f)
        return f.start()

    # -- publishing

    def publisher(self, timeout=10):
        return Publisher(self.pubd_sock, timeout)

    @property
    def pub(self):
        """A publisher that stays connected."""
        if self._pub is None:
            self._pub = self.publisher()
        return self._pub

    def _drop_pub(self):
        if self._pub:
            self._pub.close()
            self._pub = None

    def publish(self, channel, data, **more):
        """Publishes one event; returns its id once acked."""
        return self.pub.publish(channel, data, **more)

    def head(self):
        return self.pub.call({"op": "ping"})["head"]

    def oldest(self):
        return self.pub.call({"op": "ping"})["oldest"]

    # -- looking

    def streams(self):
        """Connections that the workers hold for streams, by descriptors: an
        upper bound, since each has some of its own (see idle_fds)."""
        return sum(w.fds() for w in self.workers if w.running)

    def idle_fds(self):
        """Descriptors of each worker without a stream: waits until the last
        connection, that of await_socket included, has been closed, and each
        has its own to pubd."""
        wait_until(lambda: not accepted(self.sse_sock), 10, "idle workers")
        if self.pubd and self.pubd.running:
            wait_until(lambda: accepted(self.pubd_sock) >= len(self.workers),
                       10, "workers to watch pubd")
        return [w.fds() for w in self.workers]

    def metrics_text(self, front):
        status, _, body = front.get("/sse-metrics.fcgi")
        assert status == 200, (status, body)
        return body.decode()

    def gauges(self, front):
        """{name or name{labels}: value} of the metrics page."""
        out = {}
        for line in self.metrics_text(front).splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                out[name] = float(value)
        return out

    def logs(self, n=1500):
        return "\n".join(p.tail(n) for p in self._procs + [
            f.proc for f in self.fronts if f.proc and f.proc.running])

    # -- the end

    def close(self):
        """Stops all, newest first; fails if something did not stop or if a
        process is left.  A sanitizer's report in a log is a failure too."""
        wrong = []
        self._drop_pub()
        for part in reversed(self.fronts):
            self._attempt(wrong, part.stop)
        for p in reversed(self._procs):
            if p.running:
                self._attempt(wrong, p.stop)
        if self._listener:
            self._listener.close()
        for p in self._procs + [f.proc for f in self.fronts if f.proc]:
            for pid, line in p.left().items():
                wrong.append("left over from %s: %d %s" % (p.name, pid, line))
                os.kill(pid, signal.SIGKILL)
        for log in self.dir.rglob("*log"):
            self._sanitizer(log, wrong)
        if wrong:
            wrong.append(self.logs())
        if not self.keep:
            shutil.rmtree(self.dir, ignore_errors=True)
        if wrong:
            raise Failed("\n".join(wrong))

    @staticmethod
    def _attempt(wrong, stop):
        try:
            stop()
        except (Failed, OSError) as e:
            wrong.append(str(e))

    @staticmethod
    def _sanitizer(log, wrong):
        text = log.read_bytes().decode("utf-8", "replace") \
            if log.is_file() else ""
        for mark in ("ERROR: AddressSanitizer", "runtime error:",
                     "ERROR: LeakSanitizer", "stack smashing",
                     "Assertion `"):
            if mark in text:
                at = max(text.index(mark) - 200, 0)
                wrong.append("%s in %s:\n%s" % (mark, log,
                                                text[at:at + 6000]))

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            # The test's own failure is the one to show.
            print(self.logs())
            try:
                self.close()
            except Failed as e:
                print("while closing:", e)
            return
        self.close()
