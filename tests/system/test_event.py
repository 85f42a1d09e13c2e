#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`usher event` from the outside: files in, exit statuses and bytes on the control socket out.

usage: test_event.py PATH-OF-USHER

The box is a thread that takes control messages, keeps them and answers as told; what it received is
compared with the layouts of docs/protocol.md.
"""
import json
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
REQUEST = struct.Struct("<HBBHBBIIQQQHHIQQ")
REPLY = struct.Struct("<HBBHBBIIQQQQQIBBH")
STATUS, EVENT_LOAD, EVENT_STATUS, BLOCK, UNBLOCK = 1, 64, 65, 67, 68
OK, TAKEN, BAD_IMAGE = 0, 1, 20
USHER = sys.argv[1] if len(sys.argv) > 1 else "usher"


class Box(threading.Thread):
    """Answers each request with the next status of `statuses`, then OK."""

    def __init__(self, path, statuses=(), text=b"", silent=False, stale_first=False):
        super().__init__(daemon=True)
        self.statuses, self.text = list(statuses), text
        self.silent, self.stale_first = silent, stale_first
        self.requests, self.files = [], []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(path)
        self.socket.listen()
        self.start()

    def run(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            with peer:
                self.serve(peer)

    def serve(self, peer):
        while True:
            data, fds, _, _ = socket.recv_fds(peer, 32768, 4)
            for fd in fds:
                with os.fdopen(fd, "rb") as file:
                    file.seek(0)
                    self.files.append(file.read())
            if not data or self.silent:
                return
            self.requests.append(data)
            fields = REQUEST.unpack_from(data)
            status = self.statuses.pop(0) if self.statuses else OK
            text = b""
            if status != OK and self.text:
                padded = self.text + b"\0" * (-len(self.text) % 8)
                text = struct.pack("<BBHI", 17, 0, 8 + len(padded), len(self.text)) + padded
            reply = REPLY.pack(0x5255, 1, fields[2], 64 + len(text), bool(text), status,
                               fields[6], fields[7], fields[14], 0, 0, 0, 99, 2, 0, 0, 0) + text
            if self.stale_first:
                peer.send(reply[:16] + struct.pack("<Q", fields[14] ^ 1) + reply[24:])
            peer.send(reply)

    def close(self):
        """The thread must have left accept() before its descriptor's number is used again: it would
        take, and answer, the connections of the next box."""
        self.socket.shutdown(socket.SHUT_RDWR)
        self.join(timeout=10)
        assert not self.is_alive(), "a box does not end"
        self.socket.close()


def venue(name):
    return str(ROOT / "venues" / name)


class Event(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.socket = os.path.join(self.directory.name, "control.sock")

    def box(self, **how):
        box = Box(self.socket, **how)
        self.addCleanup(box.close)
        return box

    def event(self, *words, status=0):
        done = subprocess.run([USHER, "event", *words], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "USHER_SOCKET": self.socket}, check=False)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def test_check_says_valid_or_where_not(self):
        done = self.event("check", venue("club.json"), venue("theatre.json"), venue("arena.json"))
        self.assertEqual(len(done.stdout.splitlines()), 3)
        self.assertIn("100000 places", done.stdout)
        bad = os.path.join(self.directory.name, "bad.json")
        with open(bad, "w", encoding="utf-8") as file:
            file.write('{"name": "V",\n "currency": "EUR",\n "tiers": [],\n "sections": []}')
        done = self.event("check", bad, venue("club.json"), status=1)
        self.assertIn(f"{bad}:3:11: ", done.stderr)
        self.assertIn("club.json: valid", done.stdout)

    def test_bad_command_lines_are_2(self):
        for words in ([], ["fly"], ["check"], ["show", "a", "b"], ["compile", venue("club.json")],
                      ["check", "--json", "x"], ["load", venue("club.json")],
                      ["load", "--event", "0", "x"], ["load", "--event", "65536", "x"],
                      ["status", "--event", "1", "sold_out"], ["block", "--event", "1", "A/1/1"],
                      ["check", "--price", "A", "x"], ["check", "--price", "A=x", "x"],
                      ["check", "--nonsense", "x"]):
            self.event(*words, status=2)

    def test_help_is_0_and_names_every_action(self):
        text = self.event("--help").stdout
        for action in ("check", "compile", "show", "load", "status", "block", "unblock"):
            self.assertIn(f"  {action} ", text)
            self.assertEqual(self.event(action, "--help").stdout, text)

    def test_compile_then_show_image(self):
        image = os.path.join(self.directory.name, "club.ven")
        self.event("compile", venue("club.json"), "-o", image)
        with open(image, "rb") as file:
            self.assertEqual(file.read(8), b"USSHVEN1")
        self.assertEqual(os.listdir(self.directory.name), ["club.ven"])
        self.assertEqual(self.event("show", image).stdout,
                         self.event("show", venue("club.json")).stdout)
        shown = json.loads(self.event("show", "--json", image).stdout)
        self.assertEqual(shown["totals"]["seats"], 672)
        self.assertEqual(shown["sections"][0]["kind"], "area")
        rows = self.event("show", "--rows", image).stdout
        self.assertRegex(rows, r"Booth A +6  1 \.\. 6")
        self.event("compile", venue("club.json"), "-o", "/nonexistent/x", status=1)

    def test_pretix_plan_needs_prices_and_warns(self):
        plan = venue("pretix-sample.json")
        self.assertIn("--currency", self.event("check", plan, status=1).stderr)
        done = self.event("check", plan, "--currency", "EUR", "--price", "Front=4500", status=1)
        self.assertIn("category 'Rear' has no price", done.stderr)
        done = self.event("show", plan, "--currency", "EUR", "--price", "Front=4500",
                          "--price-default", "2500")
        self.assertRegex(done.stdout, r"Front +45\.00 EUR")
        self.assertRegex(done.stdout, r"Rear +25\.00 EUR")
        self.assertIn("warning: ", done.stderr)
        done = self.event("show", "-q", plan, "--currency", "EUR", "--price-default", "1")
        self.assertEqual(done.stderr, "")

    def test_load_passes_the_image_and_opens_the_sale(self):
        box = self.box()
        done = self.event("load", "--event", "7", "--on-sale", venue("club.json"))
        self.assertIn("event 7 is loaded: The Blue Lantern, 672 places", done.stdout)
        self.assertIn("event 7 is on_sale", done.stdout)
        self.assertEqual([REQUEST.unpack_from(r)[2] for r in box.requests],
                         [EVENT_LOAD, EVENT_STATUS])
        self.assertEqual(box.files[0][:8], b"USSHVEN1")
        self.assertEqual(struct.unpack_from("<Q", box.files[0], 16)[0], len(box.files[0]))
        load, status = (REQUEST.unpack_from(r) for r in box.requests)
        self.assertEqual((load[0], load[1], load[3], load[6], load[15]), (0x5155, 1, 64, 7, 0))
        self.assertEqual((status[6], status[15]), (7, 2))

    def test_refusal_is_1_with_the_reason(self):
        self.box(statuses=[BAD_IMAGE], text=b"venue image: a row without seats")
        done = self.event("load", "--event", "7", "--on-sale", venue("club.json"), status=1)
        self.assertIn("BAD_IMAGE", done.stderr)
        self.assertIn("venue image: a row without seats", done.stderr)

    def test_status_asks_and_sets(self):
        box = self.box(stale_first=True)
        self.assertEqual(self.event("status", "--event", "3").stdout,
                         "event 3 is on_sale, 99 seats free\n")
        self.event("status", "--event", "3", "paused")
        self.assertEqual(REQUEST.unpack_from(box.requests[0])[2], STATUS)
        self.assertEqual(REQUEST.unpack_from(box.requests[1])[15], 3)

    def test_block_sends_rows_by_eight(self):
        box = self.box()
        seats = [f"101/{row}/{seat}" for row in range(1, 11) for seat in (2, 4)]
        self.event("block", "--event", "1", "--venue", venue("arena.json"), *seats)
        legs = []
        for data in box.requests:
            fields = REQUEST.unpack_from(data)
            self.assertEqual((fields[2], fields[3]), (BLOCK, len(data)))
            legs.append((fields[11], fields[10]))
            if fields[4]:
                kind, zero, size, count = struct.unpack_from("<BBHI", data, 64)
                self.assertEqual((kind, zero, size, len(data)), (1, 0, 8 + 16 * count, 64 + size))
                for i in range(count):
                    row, zero16, zero32, mask = struct.unpack_from("<HHIQ", data, 72 + 16 * i)
                    self.assertEqual((zero16, zero32), (0, 0))
                    legs.append((row, mask))
        self.assertEqual(legs, [(row, 0b1010) for row in range(10)])
        self.assertEqual(len(box.requests), 2)
        self.event("unblock", "--event", "1", "--venue", venue("club.json"), "Floor/65", "Floor/1")
        self.assertEqual(REQUEST.unpack_from(box.requests[2])[2], UNBLOCK)

    def test_block_refuses_unknown_and_repeated_seats(self):
        box = self.box(statuses=[OK, TAKEN])
        club = venue("club.json")
        done = self.event("block", "--event", "1", "--venue", club, "Floor/501", status=1)
        self.assertIn("'Floor/NUMBER', 1 to 500", done.stderr)
        done = self.event("block", "--event", "1", "--venue", club, "Floor/1", "Floor/1", status=1)
        self.assertIn("named twice", done.stderr)
        self.assertEqual(box.requests, [])
        seats = [f"Tables/Table {n}/1" for n in range(1, 10)]
        done = self.event("block", "--event", "1", "--venue", club, *seats, status=1)
        self.assertIn("TAKEN", done.stderr)
        self.assertIn("first 8 of 9 row blocks were changed before", done.stderr)

    def test_no_box_says_how_to_mend(self):
        done = self.event("status", "--event", "1", status=1)
        self.assertIn("is usherd running?", done.stderr)
        self.box(silent=True)
        done = self.event("status", "--event", "1", status=1)
        self.assertIn("usherd closed the connection", done.stderr)
        done = self.event("status", "--event", "1", "--socket", "/" + "x" * 200, status=1)
        self.assertIn("at most 107 bytes", done.stderr)

    def test_generator_makes_any_size(self):
        out = os.path.join(self.directory.name, "custom.json")
        subprocess.run([str(ROOT / "scripts/gen-venues"), "custom", "--seats", "12345",
                        "--row-length", "70", "--out", out, "--area", "65"], check=True,
                       capture_output=True)
        self.assertIn("valid: Custom venue, 12410 places", self.event("check", out).stdout)
        subprocess.run([str(ROOT / "scripts/gen-venues"), "--check"], check=True)

    def test_example_of_the_document_is_valid(self):
        text = (ROOT / "docs/venue.md").read_text(encoding="utf-8")
        example = re.search(r"```json\n(\{.*?\n\})\n```", text, re.DOTALL).group(1)
        path = os.path.join(self.directory.name, "example.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write(example)
        done = self.event("check", path)
        for fact in re.findall(r"([0-9,]+) places, ([0-9]+) sections, ([0-9]+) row blocks", text):
            self.assertIn(f"{fact[0]} places, {fact[1]} sections, {fact[2]} row blocks", done.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
