# SPDX-License-Identifier: MIT
"""The proxy does to connections what it is told to, and nothing else."""

import contextlib
import pathlib
import random
import socket
import sys
import threading

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "system")]

from proxy import (LIMIT, Again, AskTwice, Cut, CutAfter,  # noqa: E402
                   CutInRecord, Proxy)


def record(length, padding=0):
    """A STDOUT record."""
    return bytes([1, 6, 0, 1]) + length.to_bytes(2, "big") \
        + bytes([padding, 0]) + b"c" * length + b"p" * padding


def passed(harm, raw, rng):
    """What a harm lets down of bytes that come in pieces; whether it cut."""
    out = b""
    while raw:
        piece = raw[:rng.randrange(1, 40)]
        raw = raw[len(piece):]
        try:
            out += harm.down(piece)
        except Cut as cut:
            return out + cut.rest, True
    return out, False


# ---------------------------------------------------------------- harms

@pytest.mark.parametrize("seed", range(20))
def test_a_connection_is_cut_after_just_so_many_bytes(seed):
    rng = random.Random(seed)
    raw, n = rng.randbytes(500), rng.randrange(1, 501)
    assert passed(CutAfter(n), raw, rng) == (raw[:n], True)


@pytest.mark.parametrize("seed", range(50))
def test_a_record_is_cut_inside(seed):
    rng = random.Random(seed)
    records = [record(rng.randrange(100), rng.randrange(8)) for _ in range(9)]
    n = rng.randrange(9)
    at = rng.randrange(1, len(records[n]))
    lengths = []

    def where(length):
        lengths.append(length)
        return at
    got = passed(CutInRecord(n, where), b"".join(records), rng)
    assert lengths == [len(records[n])]
    assert got == (b"".join(records[:n]) + records[n][:at], True)


def test_records_that_are_not_cut_pass_whole():
    raw = b"".join(record(n) for n in (0, 5, 70))
    assert passed(CutInRecord(3, None), raw, random.Random(1)) == (raw, False)


def test_a_request_is_asked_again_with_all_that_was_sent():
    harm = AskTwice(10, CutAfter(3))
    assert harm.up(b"first ") == b"first "
    assert harm.down(b"12345") == b""
    assert harm.up(b"second") == b"second"
    with pytest.raises(Again) as again:
        harm.down(b"67890")
    assert again.value.sent == b"first second"
    with pytest.raises(Cut) as cut:     # of the answer that counts
        harm.down(b"12345")
    assert cut.value.rest == b"123"


# ---------------------------------------------------------------- the proxy

@contextlib.contextmanager
def target(serve):
    """A server; serve(n, sock) has the n-th connection, in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def accept():
            n = 0
            with contextlib.suppress(OSError):
                while True:
                    sock = listener.accept()[0]
                    threading.Thread(target=serve, args=(n, sock),
                                     daemon=True).start()
                    n += 1
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)


def echo(n, sock):
    with sock, contextlib.suppress(OSError):
        while raw := sock.recv(1 << 16):
            sock.sendall(raw)


def connect(proxy):
    return socket.create_connection(proxy.addr, timeout=10)


def read_all(sock):
    out = b""
    while raw := sock.recv(1 << 16):
        out += raw
    return out


def test_bytes_pass_unchanged_also_more_than_it_holds():
    raw = random.Random(1).randbytes(8 * LIMIT)
    with target(echo) as addr, Proxy(addr) as proxy, connect(proxy) as s:
        writer = threading.Thread(target=s.sendall, args=(raw,))
        writer.start()
        got = b""
        while len(got) < len(raw):
            got += s.recv(1 << 16)
        writer.join()
        assert got == raw and proxy.links == 1


def test_what_a_target_sent_before_its_end_arrives():
    def answer(n, sock):
        with sock:
            sock.sendall(b"x" * 100000)
    with target(answer) as addr, Proxy(addr) as proxy, connect(proxy) as s:
        assert len(read_all(s)) == 100000


def test_a_target_learns_that_its_client_has_left():
    left = threading.Event()

    def wait(n, sock):
        with sock, contextlib.suppress(OSError):
            sock.recv(1)
        left.set()
    with target(wait) as addr, Proxy(addr) as proxy:
        connect(proxy).close()
        assert left.wait(10)


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_ends_both_sides(reset):
    with target(echo) as addr, \
            Proxy(addr, lambda: CutAfter(3, reset)) as proxy, \
            connect(proxy) as s:
        s.sendall(b"12345")
        assert s.recv(3) == b"123"
        if reset:
            with pytest.raises(ConnectionResetError):
                s.recv(1)
        else:
            assert s.recv(1) == b""
        assert proxy.cuts == 1


def test_what_is_held_comes_later_or_never():
    with target(echo) as addr, Proxy(addr) as proxy, \
            connect(proxy) as kept, connect(proxy) as lost:
        proxy.hold()
        for s in (kept, lost):
            s.sendall(b"held")
            s.settimeout(0.1)
            with pytest.raises(TimeoutError):
                s.recv(1)
            s.settimeout(10)
        lost.close()
        proxy.hold(False)
        assert kept.recv(10) == b"held"
        proxy.hold()
        proxy.cut()
        assert kept.recv(10) == b""


def test_a_request_goes_out_twice_and_one_answer_comes_back():
    def answer(n, sock):
        with sock:
            if sock.recv(10) == b"question":
                sock.sendall(b"answer %d" % n)
    with target(answer) as addr, Proxy(addr, lambda: AskTwice(4)) as proxy, \
            connect(proxy) as s:
        s.sendall(b"question")
        assert read_all(s) == b"answer 1"
        assert proxy.repeats == 1


def test_a_client_whose_target_is_away_is_let_go(tmp_path):
    with Proxy(tmp_path / "nobody") as proxy, connect(proxy) as s:
        assert s.recv(1) == b""
