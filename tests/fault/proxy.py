# SPDX-License-Identifier: MIT
"""A proxy that harms what passes through it as networks and proxies do: it
cuts at any byte, holds back, swallows answers, says things twice.

    with Proxy(web.addr, lambda: CutAfter(rng.randrange(5000))) as p:
        socket.create_connection(p.addr)

What is done to a connection is its Harm, which sees the bytes of both ways
and does no I/O.  One thread serves all connections.  Each way takes LIMIT bytes
and then reads no more, so that who is slow stays slow behind the proxy.

A client that ends its side has left: both sides are closed.  When a target
ends its side, all that it sent is passed on first.
"""

import os
import queue
import selectors
import socket
import threading

from wire import LINGER_0

LIMIT = 1 << 18     # bytes that wait in one way of a connection
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


# ---------------------------------------------------------------- harms

class Cut(Exception):
    """Raised by a Harm: `rest` is passed on, then both sides end."""

    def __init__(self, rest=b"", reset=False):
        super().__init__()
        self.rest, self.reset = rest, reset


class Again(Exception):
    """Raised by a Harm: the target is asked anew, by `sent`."""

    def __init__(self, sent):
        super().__init__()
        self.sent = sent


class Harm:
    """What is done to one connection; this one does nothing.  up() is given
    what the client sent, down() what the target sent; what they return is
    passed on."""

    def up(self, raw):
        return raw

    def down(self, raw):
        return raw


class CutAfter(Harm):
    """Ends the connection when `n` bytes have come down."""

    def __init__(self, n, reset=False):
        self.left, self.reset = n, reset

    def down(self, raw):
        if len(raw) >= self.left:
            raise Cut(raw[:self.left], self.reset)
        self.left -= len(raw)
        return raw


class CutInRecord(Harm):
    """Ends a FastCGI connection inside the record from the target that comes
    after `n` whole ones.  at(length) says after how many of its bytes."""

    HEADER = 8

    def __init__(self, n, at, reset=False):
        self.left, self.at, self.reset = n, at, reset
        self._held = b""

    def _length(self, at):
        """Of the record that begins there, header and padding included; None
        when it is not wholly there."""
        head = self._held[at:at + self.HEADER]
        if len(head) < self.HEADER:
            return None
        length = self.HEADER + int.from_bytes(head[4:6], "big") + head[6]
        return length if len(self._held) - at >= length else None

    def down(self, raw):
        self._held += raw
        done = 0
        while (length := self._length(done)) is not None:
            if self.left == 0:
                raise Cut(self._held[:done + self.at(length)], self.reset)
            self.left -= 1
            done += length
        whole, self._held = self._held[:done], self._held[done:]
        return whole


class AskTwice(Harm):
    """A proxy that sends a request again: the first answer is swallowed, and
    when `n` bytes of it have come its connection is dropped; what the client
    sent until then goes out on another one.  `then` is what is done to that.
    """

    def __init__(self, n, then=None):
        self.left, self.then, self._sent = n, then or Harm(), b""

    def up(self, raw):
        if self.left > 0:
            self._sent += raw
        return raw

    def down(self, raw):
        if self.left <= 0:
            return self.then.down(raw)
        self.left -= len(raw)
        if self.left > 0:
            return b""
        raise Again(self._sent)


# ---------------------------------------------------------------- the proxy

class _Link:
    """A client, its target, and what waits to be written to each."""

    def __init__(self, proxy, client):
        self.proxy, self.harm = proxy, proxy.harm()
        self.client, self.target = client, None
        self.waiting = {client: bytearray()}
        self.ending = self.reset = False    # nothing more is read
        self._aim()

    def _aim(self, first=b""):
        """Connects to the target (anew)."""
        if self.target:
            self.proxy.forget(self.target)
            del self.waiting[self.target]
            self.target.close()
        self.target = self.proxy.connect()
        self.waiting[self.target] = bytearray(first)
        self.watch()

    def watch(self):
        """Says what can be done for it now."""
        for sock, peer, held in ((self.client, self.target, False),
                                 (self.target, self.client, self.proxy.held)):
            reads = not (self.ending or held) \
                and len(self.waiting[peer]) < LIMIT
            self.proxy.watch(sock, self, (READ if reads else 0)
                             | (WRITE if self.waiting[sock] else 0))

    def ready(self, sock, events):
        if events & WRITE:
            sent = sock.send(self.waiting[sock])
            del self.waiting[sock][:sent]
        if events & READ and not self.ending and sock in self.waiting:
            self._read(sock)
        if self.ending and not self.waiting[self.client]:
            self.proxy.end(self)
        else:
            self.watch()

    def _read(self, sock):
        down = sock is self.target
        raw = sock.recv(1 << 16)
        if not raw:
            self.ending = True
            if not down:        # it has left and takes nothing more
                self.waiting[sock].clear()
            return
        try:
            raw = self.harm.down(raw) if down else self.harm.up(raw)
        except Again as again:
            self.proxy.repeats += 1
            self._aim(again.sent)
            return
        except Cut as cut:
            self.proxy.cuts += 1
            self.ending, self.reset, raw = True, cut.reset, cut.rest
        self.waiting[self.client if down else self.target] += raw

    def close(self):
        for sock in self.waiting:
            self.proxy.forget(sock)
            if self.reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
            sock.close()


class Proxy(threading.Thread):
    """Stands before `target`, (host, port) or a path, from `with` on.

    harm     called for each connection; gives its Harm
    listen   path of a socket to make; else a port of the loopback is taken
    addr     where it listens
    links, cuts, repeats   how many connections came, were cut by their Harm,
                           were sent again
    """

    def __init__(self, target, harm=Harm, listen=None):
        super().__init__(name="proxy", daemon=True)
        self.target_addr, self.harm, self.held = target, harm, False
        self.links = self.cuts = self.repeats = 0
        self._open = set()
        self._orders = queue.SimpleQueue()
        self._bell, self._ring = socket.socketpair()
        self._sel = selectors.DefaultSelector()
        self._listener = self._listen(listen)
        self.addr = listen or self._listener.getsockname()
        self._over = False

    @staticmethod
    def _listen(path):
        s = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        s.bind(str(path) if path else ("127.0.0.1", 0))
        if path:
            os.chmod(path, 0o666)       # a web server has its own user
        s.listen(4096)
        s.setblocking(False)
        return s

    # -- from other threads

    def hold(self, held=True):
        """Takes nothing from targets any more; hold(False): all goes on."""
        self._order(lambda: self._hold(held))

    def cut(self, reset=False):
        """Ends all connections; what waits in them is lost."""
        self._order(lambda: self._cut(reset))

    def __enter__(self):
        self._sel.register(self._listener, READ)
        self._sel.register(self._ring, READ)
        self.start()
        return self

    def __exit__(self, *exc):
        self._order(self._stop)
        self.join(10)

    def _order(self, what):
        """Has it done by the thread, and waits for that."""
        done = threading.Event()
        self._orders.put((what, done))
        self._bell.send(b"!")
        if not done.wait(10):
            raise RuntimeError("the proxy does not answer")

    # -- the thread

    def run(self):
        while not self._over:
            for key, events in self._sel.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._ring:
                    self._obey()
                elif key.data in self._open:
                    self._serve(key.data, key.fileobj, events)
        for sock in (self._listener, self._bell, self._ring):
            sock.close()
        self._sel.close()

    def _accept(self):
        try:
            client = self._listener.accept()[0]
        except (BlockingIOError, ConnectionAbortedError):
            return
        client.setblocking(False)
        try:
            self._open.add(_Link(self, client))
            self.links += 1
        except OSError:         # nobody there: as a web server would, it ends
            client.close()

    def _serve(self, link, sock, events):
        if sock not in link.waiting:    # closed within this turn
            return
        try:
            link.ready(sock, events)
        except OSError as e:
            link.reset = isinstance(e, ConnectionResetError)
            self.end(link)

    def _obey(self):
        self._ring.recv(1)
        what, done = self._orders.get()
        what()
        done.set()

    def _hold(self, held):
        self.held = held
        for link in self._open:
            link.watch()

    def _cut(self, reset):
        for link in list(self._open):
            link.reset = reset
            self.end(link)

    def _stop(self):
        self._over = True
        self._cut(False)

    # -- for links

    def connect(self):
        """A connection to the target."""
        unix = not isinstance(self.target_addr, tuple)
        s = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        s.settimeout(5)
        try:
            s.connect(str(self.target_addr) if unix else self.target_addr)
        except OSError:
            s.close()
            raise
        s.setblocking(False)
        return s

    def watch(self, sock, link, events):
        known = sock in self._sel.get_map()
        if known and not events:
            self._sel.unregister(sock)
        elif known and self._sel.get_key(sock).events != events:
            self._sel.modify(sock, events, link)
        elif events and not known:
            self._sel.register(sock, events, link)

    def forget(self, sock):
        if sock in self._sel.get_map():
            self._sel.unregister(sock)

    def end(self, link):
        self._open.discard(link)
        link.close()
