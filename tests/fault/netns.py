# SPDX-License-Identifier: MIT
"""Two network namespaces of our own, one for web servers and one for clients,
and between them a link that can be harmed while it is in use.

    with Network(seed) as net:
        with net.servers.entered():
            web = run.front(st)
        with net.clients.entered():
            ...                         # threads that start here stay here
        net.harm(loss=0.05, delay=0.04, jitter=0.02)
        net.harm(cut=True)              # a partition: packets vanish
        net.clear()

The link is a process that carries packets between two TUN devices (link.py),
or, with kind="veth", a pair whose carrier can be taken: net.down(), net.up().

A namespace belongs to a thread: what a thread starts or opens while it is in
one stays in it, sockets too.  Unix sockets know no namespaces, so publishers
and workers see nothing of all this.

Web servers listen on 127.0.0.1 as everywhere else.  The clients have no
loopback of their own, but a route to that address over the link, and both
devices may carry it (route_localnet).  So no configuration is changed.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 0x0001, 0x1000
NAMESPACE = "/proc/thread-self/ns/net"
SERVERS, CLIENTS = "10.97.0.1", "10.97.0.2"
ANSWER_S = 10

_libc = ctypes.CDLL(None, use_errno=True)


class Unavailable(Exception):
    """This machine or user cannot have it; says why."""


def _call(result, what):
    if result != 0:
        raise Unavailable("%s: %s" % (what, os.strerror(ctypes.get_errno())))


class Namespace:
    """A network namespace, there for as long as it is open."""

    def __init__(self):
        before = os.open(NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call(_libc.unshare(CLONE_NEWNET), "no network namespace")
            self._fd = os.open(NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
            _call(_libc.setns(before, CLONE_NEWNET), "cannot go back")
        finally:
            os.close(before)

    @property
    def path(self):
        """A name that other programs can open."""
        return "/proc/%d/fd/%d" % (os.getpid(), self._fd)

    @contextlib.contextmanager
    def entered(self):
        """This thread is in it, and what it starts."""
        before = os.open(NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        _call(_libc.setns(self._fd, CLONE_NEWNET), "cannot enter")
        try:
            yield self
        finally:
            _call(_libc.setns(before, CLONE_NEWNET), "cannot go back")
            os.close(before)

    def ip(self, command):
        with self.entered():
            done = subprocess.run(["ip", *command.split()], text=True,
                                  stderr=subprocess.PIPE)
        if done.returncode != 0:
            raise Unavailable("ip %s: %s" % (command, done.stderr.strip()))

    def sysctl(self, name, value):
        """A figure of the kernel's that each namespace has for itself."""
        with self.entered():
            pathlib.Path("/proc/sys/net/ipv4", name).write_text(str(value))

    def address(self, device, own, other):
        """Brings a device up, with an address and the way to the other."""
        self.ip("addr add %s peer %s dev %s" % (own, other, device))
        self.ip("link set %s up" % device)
        self.sysctl("conf/%s/route_localnet" % device, 1)

    def tun(self, device):
        """Descriptor of a new device; packets are read from it and written
        to it whole."""
        with self.entered():
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
            fcntl.ioctl(fd, TUNSETIFF, struct.pack(
                "16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
        return fd

    def close(self):
        os.close(self._fd)


class Network:
    """The two namespaces and the link.  kind: "tun" or "veth"."""

    DEVICE = "walcast0"

    def __init__(self, seed=0, kind="tun"):
        if os.geteuid() != 0:
            raise Unavailable("only root may have network namespaces")
        if not shutil.which("ip"):
            raise Unavailable("there is no ip program (iproute2)")
        self._exit = contextlib.ExitStack()
        self._link = None
        with self._exit:
            self.servers, self.clients = self._namespace(), self._namespace()
            self.servers.ip("link set lo up")
            try:
                self._tun(seed) if kind == "tun" else self._veth()
            except OSError as e:
                raise Unavailable("no %s device: %s" % (kind, e)) from None
            self.servers.address(self.DEVICE, SERVERS, CLIENTS)
            self.clients.address(self.DEVICE, CLIENTS, SERVERS)
            self._route()
            self._exit = self._exit.pop_all()

    def _namespace(self):
        return self._exit.enter_context(contextlib.closing(Namespace()))

    def _route(self):
        self.clients.ip("route replace 127.0.0.1/32 dev %s src %s" % (
            self.DEVICE, CLIENTS))

    def _tun(self, seed):
        fds = [n.tun(self.DEVICE) for n in (self.servers, self.clients)]
        self._link = subprocess.Popen(
            [sys.executable, pathlib.Path(__file__).with_name("link.py"),
             *map(str, fds), str(seed)], pass_fds=fds, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for fd in fds:
            os.close(fd)
        self._exit.callback(self._end_link)

    def _end_link(self):
        self._link.stdin.close()
        try:
            self._link.wait(ANSWER_S)
        except subprocess.TimeoutExpired:
            self._link.kill()
            self._link.wait()
        self._link.stdout.close()

    def _veth(self):
        """The pair is made among the servers, and one end given away."""
        self.servers.ip("link add name %s type veth peer name other" %
                        self.DEVICE)
        self.servers.ip("link set other netns %s name %s" % (
            self.clients.path, self.DEVICE))

    # -- what happens to it

    def harm(self, way="both", **conditions):
        """These conditions hold from now on and no others; see link.CLEAR.
        Returns the counts of each way so far."""
        self._link.stdin.write(json.dumps(dict(conditions, way=way)) + "\n")
        self._link.stdin.flush()
        return json.loads(self._link.stdout.readline())

    def clear(self):
        return self.harm()

    def down(self):
        """Takes the servers' end down: the clients' has no carrier."""
        self.servers.ip("link set %s down" % self.DEVICE)

    def up(self):
        self.servers.ip("link set %s up" % self.DEVICE)

    def close(self):
        self._exit.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
