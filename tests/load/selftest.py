#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Does the checker see what it must see?

A throw-away HTTP server sends streams with one fault each, and streams that
only look faulty; sseload has to tell them apart.  Usage:
selftest.py [folder of the load tools]
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

TOOLS = os.path.join(os.path.dirname(__file__), "..", "..", "build", "load")
HEAD = (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n")
CUT = object()      # the connection breaks here
END = object()      # the response ends here, as it should


def opened(pos, retry=10):
    return (b"retry: %d\nid: %d\nevent: control.open\n"
            b"data: {\"stream\":\"x\",\"head\":9}\n\n" % (retry, pos))


def event(n, data=b"{\"t\":1}"):
    return b"id: %d\ndata: %s\n\n" % (n, data)


def events(first, last):
    return b"".join(event(n) for n in range(first, last + 1))


def chunks(data, size):
    out = b""
    for at in range(0, len(data), size):
        part = data[at:at + size]
        out += b"%x\r\n%s\r\n" % (len(part), part)
    return out


class Server:
    """Answers request n of a path with the n-th list of its script."""

    def __init__(self, script, chunk=4096, head=HEAD):
        self.script, self.chunk, self.head = script, chunk, head
        self.last_ids = []
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                peer = self.sock.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,),
                             daemon=True).start()

    def serve(self, peer):
        with peer:
            request = b""
            while b"\r\n\r\n" not in request:
                more = peer.recv(4096)
                if not more:
                    return
                request += more
            last = None
            for line in request.split(b"\r\n"):
                if line.lower().startswith(b"last-event-id:"):
                    last = line.split(b":", 1)[1].strip().decode()
            with self.lock:
                turn = len(self.last_ids)
                self.last_ids.append(last)
            steps = self.script[min(turn, len(self.script) - 1)]
            try:
                self.play(peer, steps)
            except OSError:
                pass

    def play(self, peer, steps):
        if isinstance(steps, bytes):
            peer.sendall(steps)
            return
        peer.sendall(self.head)
        for step in steps:
            if step is CUT:
                return
            if step is END:
                peer.sendall(b"0\r\n\r\n")
                return
            peer.sendall(chunks(step, self.chunk))
        self.stop.wait(20)

    def close(self):
        self.stop.set()
        self.sock.close()


def sseload(server, *args):
    """Runs it to its end; its status, its JSON, its complaints."""
    cmd = [os.path.join(TOOLS, "sseload"), "--url",
           "http://127.0.0.1:%d/sse?channel=a" % server.port,
           "--max-time", "5"] + list(args)
    run = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         timeout=30, check=False)
    out = json.loads(run.stdout) if run.stdout else {}
    return run.returncode, out, run.stderr.decode()


class Case(unittest.TestCase):
    def play(self, script, *args, **options):
        server = Server(script, **options)
        self.addCleanup(server.close)
        self.server = server
        return sseload(server, *args)

    def faulty(self, key, script, *args, **options):
        rc, out, err = self.play(script, *args, **options)
        self.assertEqual(rc, 1, (out, err))
        self.assertGreaterEqual(out[key], 1, out)
        self.assertIn("stream 0", err)
        return out

    def sound(self, script, *args, **options):
        rc, out, err = self.play(script, *args, **options)
        self.assertEqual((rc, err), (0, ""), out)
        self.assertEqual(out["violations"], 0)
        return out


class Faults(Case):
    def test_a_doubled_id_is_a_duplicate(self):
        out = self.faulty("duplicates", [[opened(0) + events(1, 3) + event(3)
                                          + events(4, 9)]],
                          "--dense", "--until-id", "9")
        self.assertEqual((out["duplicates"], out["gaps"],
                          out["out_of_order"]), (1, 0, 0))

    def test_a_duplicate_far_back_is_one_on_a_dense_stream(self):
        out = self.faulty("duplicates", [[opened(0) + events(1, 90) + event(3)
                                          + events(91, 99)]],
                          "--dense", "--until-id", "99")
        self.assertEqual((out["duplicates"], out["violations"]), (1, 1))

    def test_a_duplicate_after_a_reconnect_is_one(self):
        out = self.faulty("duplicates",
                          [[opened(0) + events(1, 5), CUT],
                           [opened(5) + events(5, 9)]],
                          "--dense", "--until-id", "9")
        self.assertEqual(self.server.last_ids, [None, "5"])
        self.assertEqual(out["violations"], 1)

    def test_a_skipped_id_is_a_gap(self):
        out = self.faulty("gaps", [[opened(0) + events(1, 3)
                                    + events(6, 9)]],
                          "--dense", "--until-id", "9")
        self.assertEqual((out["missing_ids"], out["violations"]), (2, 1))

    def test_a_skipped_id_after_a_reconnect_is_a_gap(self):
        self.faulty("gaps", [[opened(0) + events(1, 5), CUT],
                             [opened(5) + events(7, 9)]],
                    "--dense", "--until-id", "9")

    def test_the_first_event_must_follow_the_open_position(self):
        self.faulty("gaps", [[opened(40) + events(42, 49)]],
                    "--dense", "--until-id", "49")

    def test_the_first_event_must_follow_the_id_given(self):
        self.faulty("position_skips", [[opened(40) + events(41, 49)]],
                    "--dense", "--until-id", "49", "--last-id", "39")

    def test_swapped_ids_are_out_of_order(self):
        out = self.faulty("out_of_order",
                          [[opened(0) + events(1, 3) + event(5) + event(4)
                            + events(6, 9)]], "--until-id", "9")
        self.assertEqual((out["duplicates"], out["violations"]), (0, 1))

    def test_swapped_ids_are_a_gap_too_when_dense(self):
        out = self.faulty("out_of_order",
                          [[opened(0) + events(1, 3) + event(5) + event(4)
                            + events(6, 9)]], "--dense", "--until-id", "9")
        self.assertEqual((out["gaps"], out["violations"]), (1, 2))

    def test_a_position_beyond_an_event_to_come_is_a_fault(self):
        self.faulty("position_beyond",
                    [[opened(0) + event(2) + b": hb\nid: 7\n\n" + event(5)
                      + event(9)]], "--until-id", "9")

    def test_a_position_past_unseen_ids_is_a_fault_when_dense(self):
        self.faulty("position_skips",
                    [[opened(0) + event(1) + b": hb\nid: 7\n\n"
                      + events(8, 9)]], "--dense", "--until-id", "9")

    def test_a_position_that_goes_back_is_a_fault(self):
        self.faulty("position_behind",
                    [[opened(0) + events(1, 5) + b": hb\nid: 4\n\n"
                      + events(6, 9)]], "--until-id", "9")

    def test_an_open_that_goes_back_without_a_gap_is_a_fault(self):
        self.faulty("position_behind",
                    [[opened(0) + events(1, 5), CUT],
                     [opened(3) + events(6, 9)]], "--until-id", "9")

    def test_a_truncated_stream_is_short(self):
        rc, out, _ = self.play([[opened(0) + events(1, 3) + b"id: 4\ndata: x",
                                 CUT]], "--no-reconnect", "--until-id", "9")
        self.assertEqual(rc, 1)
        self.assertEqual((out["short_streams"], out["events"],
                          out["ends_cut"], out["ends_clean"]), (1, 3, 1, 0))

    def test_a_stream_that_stays_away_is_short(self):
        rc, out, _ = self.play([[opened(0) + events(1, 3)]], "--until-id",
                               "9", "--max-time", "0.3")
        self.assertEqual((rc, out["short_streams"]), (1, 1))

    def test_an_event_without_id_is_a_fault(self):
        self.faulty("no_id", [[opened(0) + events(1, 3) + b"data: x\n\n"
                               + events(4, 9)]], "--until-id", "9")

    def test_a_foreign_id_is_a_fault(self):
        self.faulty("bad_id", [[opened(0) + b"id: 1x\ndata: x\n\n"
                                + events(2, 9)]], "--until-id", "9")

    def test_an_event_before_control_open_is_a_fault(self):
        self.faulty("no_open", [[event(1) + opened(1) + events(2, 9)]],
                    "--until-id", "9")

    def test_a_bad_chunk_is_a_fault(self):
        head = HEAD + b"3\r\n: x\r\nzz\r\n"
        self.faulty("framing", [head, head], "--until-id", "9",
                    "--max-time", "1")

    def test_a_gap_in_the_data_number_is_a_fault(self):
        body = b"".join(event(n, b"{\"t\":1,\"s\":%d}" % (n + (n > 4)))
                        for n in range(1, 10))
        self.faulty("seq_errors", [[opened(0) + body]], "--until-id", "9",
                    "--seq")

    def test_control_gap_is_a_violation_unless_allowed(self):
        gap = (b"id: 99\nevent: control.gap\ndata: {\"requested\":5,"
               b"\"oldest\":100,\"newest\":120,\"lost\":94,"
               b"\"code\":\"expired\"}\n\n")
        script = [[opened(5) + gap + events(100, 120)]]
        args = ("--dense", "--until-id", "120", "--last-id", "5")
        self.faulty("control_gaps", script, *args)
        out = self.sound(script, "--allow-gaps", *args)
        self.assertEqual((out["control"]["gap_lost"],
                          out["control"]["gap_codes"]),
                         (94, {"expired": 1}))

    def test_a_status_other_than_200_is_final(self):
        rc, out, _ = self.play([b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n"
                                b"\r\n"], "--until-id", "9")
        self.assertEqual((rc, out["http"], out["connects"],
                          out["failed_streams"]), (1, {"503": 1}, 1, 1))

    def test_another_type_is_final(self):
        rc, out, _ = self.play([b"HTTP/1.1 200 OK\r\nContent-Type: text/html"
                                b"\r\nContent-Length: 0\r\n\r\n"],
                               "--until-id", "9")
        self.assertEqual((rc, out["bad_type"]), (1, 1))

    def test_a_usage_error_is_status_2(self):
        run = subprocess.run([os.path.join(TOOLS, "sseload"), "--nonsense"],
                             stderr=subprocess.DEVNULL, check=False)
        self.assertEqual(run.returncode, 2)


class Sound(Case):
    def test_dense_events_in_order_are(self):
        out = self.sound([[opened(0) + events(1, 500)]], "--dense",
                         "--until-id", "500", "--streams", "20")
        self.assertEqual((out["events"], out["events_min"],
                          out["control"]["open"]), (10000, 500, 20))

    def test_positions_are_no_events(self):
        body = (opened(0) + b": hb\nid: 0\n\n" + events(1, 5)
                + b": hb\nid: 5\n\nid: 5\nevent: system.heartbeat\n"
                b"data: {}\n\n" + events(6, 9))
        out = self.sound([[body]], "--dense", "--until-id", "9")
        self.assertEqual((out["events"], out["heartbeats"]), (9, 3))

    def test_a_position_between_sparse_events_moves_the_last_id(self):
        self.sound([[opened(0) + event(3) + b": hb\nid: 7\n\n", CUT],
                    [opened(7) + event(9)]], "--until-id", "9")
        self.assertEqual(self.server.last_ids, [None, "7"])

    def test_an_id_is_committed_by_the_blank_line_only(self):
        self.sound([[opened(0) + event(1) + b"id: 5\n: no blank line", CUT],
                    [opened(1) + events(2, 9)]], "--dense", "--until-id",
                   "9")
        self.assertEqual(self.server.last_ids, [None, "1"])

    def test_a_block_cut_off_is_no_event(self):
        out = self.sound([[opened(0) + event(1) + b"id: 2\ndata: x\n", CUT],
                          [opened(1) + events(2, 9)]], "--dense",
                         "--until-id", "9")
        self.assertEqual((out["reconnects"], out["ends_cut"]), (1, 1))

    def test_a_clean_end_resumes_too(self):
        out = self.sound([[opened(0) + events(1, 4), END],
                          [opened(4) + events(5, 9)]], "--dense",
                         "--until-id", "9")
        self.assertEqual((out["ends_clean"], out["ends_cut"]), (1, 0))

    def test_a_position_before_the_first_event_is_resumed_from(self):
        self.sound([[opened(40), CUT], [opened(40) + events(41, 49)]],
                   "--dense", "--until-id", "49")
        self.assertEqual(self.server.last_ids, [None, "40"])

    def test_an_id_with_nul_is_ignored(self):
        self.sound([[opened(0) + event(1) + b"id: 9\0\n\n", CUT],
                    [opened(1) + events(2, 9)]], "--until-id", "9")
        self.assertEqual(self.server.last_ids, [None, "1"])

    def test_control_close_is_counted_by_reason(self):
        close = (b"retry: 1\nevent: control.close\ndata: {\"reason\":"
                 b"\"drain\",\"retry_ms\":1}\n\n")
        out = self.sound([[opened(0) + events(1, 4) + close, END],
                          [opened(4) + events(5, 9)]], "--dense",
                         "--until-id", "9")
        self.assertEqual(out["control"]["close"], {"drain": 1})

    def test_a_log_that_began_anew_is_no_duplicate(self):
        gap = (b"id: 0\nevent: control.gap\ndata: {\"requested\":5,"
               b"\"oldest\":1,\"newest\":3,\"lost\":0,"
               b"\"code\":\"generation\"}\n\n")
        self.sound([[opened(0) + events(1, 5), CUT],
                    [opened(5) + gap + events(1, 3)]], "--dense",
                   "--until-events", "8", "--allow-gaps")

    def test_streams_without_integer_ids_resume_by_text(self):
        one = b"".join(b"id: 17:%d\ndata: {\"s\":%d}\n\n" % (n, n)
                       for n in range(1, 5))
        two = b"".join(b"id: 17:%d\ndata: {\"s\":%d}\n\n" % (n, n)
                       for n in range(5, 9))
        out = self.sound([[b": hi\n\n" + one, CUT], [two]], "--ids", "none",
                         "--seq", "--until-events", "8", "--retry-ms", "1")
        self.assertEqual(self.server.last_ids, [None, "17:4"])
        self.assertEqual(out["events"], 8)

    def test_dropped_streams_resume_where_they_were(self):
        class Log(Server):
            def play(self, peer, steps):
                with self.lock:
                    last = int(self.last_ids[-1] or 0)
                peer.sendall(self.head + chunks(opened(last), 100))
                for n in range(last + 1, 400):
                    peer.sendall(chunks(event(n), 7))
                    if self.stop.wait(0.002):
                        return
                self.stop.wait(20)
        server = Log([[]])
        self.addCleanup(server.close)
        rc, out, err = sseload(server, "--dense", "--until-id", "399",
                               "--churn", "1000", "--churn-rst", "--last-id",
                               "0")
        self.assertEqual((rc, err, out["events"]), (0, "", 399))
        self.assertGreater(out["churned"], 2)

    def test_a_stalled_stream_gets_everything_later(self):
        out = self.sound([[opened(0) + events(1, 3000)]], "--dense",
                         "--until-id", "3000", "--streams", "4", "--stall",
                         "2:0.3:10", "--read-bytes", "1000", "--latency",
                         "t")
        self.assertEqual(out["latency_stalled_us"]["count"], 6000)
        self.assertGreater(out["active_s"], 0.25)


class Bytes(Case):
    """The same stream, cut everywhere."""

    BODY = ("\ufeffretry: 10\nid: 0\nevent: control.open\ndata: {}\n\n"
            ": größer\r\n"
            "id: 1\r\ndata: {\"a\":\"ü€𝄞\"}\r\n\r\n"
            "id:2\revent:näher\rdata: one\rdata:  two\rdata\rdata:\r\r"
            "id: 3\ndata:x:y\nnonsense: 1\nretry: 5x\n\n"
            "event: message\nid: 4\ndata\n\n"
            "data: forged\rid: 99\revent: control.close\n"
            "id: 5\n\n").encode()
    WANT = [("0", "control.open", "{}"), ("1", None, "{\"a\":\"ü€𝄞\"}"),
            ("2", "näher", "one\n two\n\n"), ("3", None, "x:y"),
            ("4", "message", ""), ("5", "control.close", "forged")]

    def blocks(self, chunk, read_bytes, tail=b"", count=5):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "dump")
            self.sound([[self.BODY + tail]], "--until-position", "5",
                       "--dump", path, "--read-bytes", str(read_bytes),
                       chunk=chunk)
            with open(path, encoding="utf-8", newline="") as f:
                rows = [json.loads(line) for line in f]
        return [(r.get("id"), r.get("event"), r.get("data")) for r in rows]

    def test_any_chunk_size_gives_the_same_blocks(self):
        for size in list(range(1, 40)) + [len(self.BODY) - 1, 4096]:
            with self.subTest(size=size):
                self.assertEqual(self.blocks(size, 262144), self.WANT)

    def test_any_read_size_gives_the_same_blocks(self):
        for size in range(1, 24):
            with self.subTest(size=size):
                self.assertEqual(self.blocks(17, size), self.WANT)

    def test_counting_does_not_depend_on_where_bytes_break(self):
        body = opened(0) + b"".join(
            event(n, b"{\"t\":1,\"s\":%d,\"p\":\"\xe2\x82\xac\"}" % n)
            for n in range(1, 40))
        for read in (1, 2, 3, 5, 7, 11, 64, 1000):
            for chunk in (1, 3, 13, 5000):
                with self.subTest(read=read, chunk=chunk):
                    out = self.sound([[body]], "--dense", "--until-id", "39",
                                     "--latency", "t", "--seq",
                                     "--read-bytes", str(read), chunk=chunk)
                    self.assertEqual(out["latency_us"]["count"], 39)

    def test_a_body_without_chunks_is_read_too(self):
        head = b"HTTP/1.1 200 OK\r\ncontent-type:text/event-stream\r\n\r\n"
        self.sound([head + opened(0) + events(1, 9)], "--dense",
                   "--until-id", "9")


class FakePubd:
    """Answers as pubd would, but for what `spoil` does to an answer."""

    def __init__(self, folder, spoil=None, cut_every=0):
        self.path = os.path.join(folder, "pubd.sock")
        self.spoil, self.cut_every = spoil, cut_every
        self.log, self.keys, self.asked = [], {}, 0
        self.lock = threading.Lock()
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(self.path)
        self.sock.listen(16)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                peer = self.sock.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,),
                             daemon=True).start()

    def store(self, event):
        key = event.get("key")
        if key is not None and key in self.keys:
            return self.keys[key], True
        self.log.append(event)
        if key is not None:
            self.keys[key] = len(self.log)
        return len(self.log), False

    def answer(self, line):
        request = json.loads(line)
        if isinstance(request, list):
            return {"ok": True, "ids": [self.store(e)[0] for e in request]}
        n, doubled = self.store(request)
        out = {"ok": True, "id": n, "ref": request["ref"]}
        if doubled:
            out["duplicate"] = True
        return out

    def serve(self, peer):
        with peer, peer.makefile("rb") as lines:
            for line in lines:
                with self.lock:
                    self.asked += 1
                    asked = self.asked
                    out = self.answer(line)
                if self.cut_every and asked % self.cut_every == 0:
                    return      # committed, and never answered
                if self.spoil:
                    out = self.spoil(asked, out)
                text = json.dumps(out, separators=(",", ":")) + "\n"
                try:
                    peer.sendall(text.encode())
                except OSError:
                    return

    def close(self):
        self.sock.close()


class Publisher(unittest.TestCase):
    def publish(self, *args, **options):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.pubd = FakePubd(folder.name, **options)
        self.addCleanup(self.pubd.close)
        self.acked = os.path.join(folder.name, "acked")
        run = subprocess.run(
            [os.path.join(TOOLS, "pubload"), "--socket", self.pubd.path,
             "--acked-file", self.acked, "--max-time", "5"] + list(args),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30,
            check=False)
        return run.returncode, json.loads(run.stdout)

    def test_every_event_is_acked_once(self):
        rc, out = self.publish("--events", "997", "--pipeline", "16",
                               "--connections", "3", "--channels", "6",
                               "--stamp", "--size", "100")
        self.assertEqual((rc, out["acked"], out["last_id"]), (0, 997, 997))
        with open(self.acked, encoding="ascii") as f:
            ids = sorted(int(line.split()[0]) for line in f)
        self.assertEqual(ids, list(range(1, 998)))
        for event_ in self.pubd.log:
            self.assertEqual(len(json.dumps(event_["data"],
                                            separators=(",", ":"))), 100)
        mine = [e["data"]["s"] for e in self.pubd.log
                if e["channel"] == "c4"]
        self.assertEqual(mine, list(range(len(mine))))

    def test_arrays_are_whole(self):
        rc, out = self.publish("--events", "105", "--array", "10",
                               "--pipeline", "4", "--channel", "a")
        self.assertEqual((rc, out["acked"], self.pubd.asked), (0, 105, 11))

    def test_what_was_cut_off_is_sent_again_by_key(self):
        rc, out = self.publish("--events", "500", "--pipeline", "8",
                               "--connections", "2", "--keys", "k",
                               cut_every=40)
        self.assertEqual((rc, out["acked"], out["unknown"]), (0, 500, 0))
        self.assertGreater(out["duplicates"], 5)
        self.assertEqual(len(self.pubd.log), 500)
        with open(self.acked, encoding="ascii") as f:
            acked = dict(reversed(line.split()) for line in f)
        self.assertEqual({k: int(v) for k, v in acked.items()},
                         self.pubd.keys)

    def test_without_keys_what_was_cut_off_stays_unknown(self):
        rc, out = self.publish("--events", "100", "--pipeline", "4",
                               cut_every=30)
        self.assertEqual(rc, 1)
        self.assertEqual(out["acked"] + out["unknown"], 100)
        self.assertGreater(out["unknown"], 0)

    def test_errors_are_counted_by_code(self):
        def spoil(asked, out):
            if asked % 10:
                return out
            return {"ok": False, "error": "busy", "message": "m",
                    "ref": out["ref"]}
        rc, out = self.publish("--events", "100", spoil=spoil)
        self.assertEqual((rc, out["errors"], out["refused"]),
                         (1, {"busy": 10}, 10))
        rc, out = self.publish("--events", "100", "--retry-errors", "--keys",
                               "k", spoil=spoil)
        self.assertEqual((rc, out["acked"], out["refused"]), (0, 100, 0))

    def test_a_wrong_ref_is_seen(self):
        def spoil(asked, out):
            return dict(out, ref="r7") if asked == 5 else out
        rc, out = self.publish("--events", "20", spoil=spoil)
        self.assertEqual((rc, out["nonsense"]), (1, 1))

    def test_an_id_that_goes_back_is_seen(self):
        def spoil(asked, out):
            return dict(out, id=2) if asked == 5 else out
        rc, out = self.publish("--events", "20", spoil=spoil)
        self.assertEqual((rc, out["disorder"]), (1, 1))

    def test_the_rate_is_kept(self):
        rc, out = self.publish("--events", "100", "--rate", "200")
        self.assertEqual(rc, 0)
        self.assertTrue(150 < out["acks_per_s"] < 210, out)


if __name__ == "__main__":
    if len(sys.argv) > 1 and os.path.isdir(sys.argv[1]):
        TOOLS = sys.argv.pop(1)
    unittest.main()
