#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Do `usher load` and `usher client` tell the truth? They run against a box of a hundred lines
that lies on demand.

usage: test_load.py PATH-OF-USHER
"""
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

REQUEST = struct.Struct("<HBBHBBIIQQQHHIQQ")
REPLY = struct.Struct("<HBBHBBIIQQQQQIBBH")
ACK = struct.Struct("<QQQQQIIHBBIQ")
RESERVE, RELEASE, QUERY_HOLD, QUERY_SECTION, STATUS = 2, 3, 4, 5, 1
OK, TAKEN, NO_HOLD, RETRY, BUSY, BAD_REQUEST = 0, 1, 8, 11, 12, 18
ROWS, WIDTH = 40, 20


class Box(threading.Thread):
    """A toy appliance: 40 rows of 20 seats, one section, one event."""

    def __init__(self, drop=0.0, duplicate=0.0, busy=0.0, sell_twice=False, forgetful=False,
                 lax=False, deaf=False):
        super().__init__(daemon=True)
        self.drop, self.duplicate, self.busy = drop, duplicate, busy
        self.sell_twice, self.forgetful, self.lax, self.deaf = sell_twice, forgetful, lax, deaf
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.rows = [0] * ROWS
        self.holds, self.answers = {}, {}
        self.random = random.Random(1)
        self.received = self.granted = 0
        self.running = True

    def run(self):
        self.socket.settimeout(0.1)
        while self.running:
            try:
                data, peer = self.socket.recvfrom(2048)
            except socket.timeout:
                continue
            self.received += 1
            answer = None if self.deaf else self.answer(data)
            if answer is None or self.random.random() < self.drop:
                continue
            self.socket.sendto(answer, peer)
            if self.random.random() < self.duplicate:
                self.socket.sendto(answer, peer)

    def answer(self, data):
        if len(data) < 64:
            return None
        (magic, version, op, size, extensions, reserved, event, request_id, user, hold, mask, row,
         section, hold_ms, cookie, arg) = REQUEST.unpack_from(data)
        if magic != 0x5155 or size != len(data):
            return None
        status, detail, amount, state, tail = OK, 0, 0, 0, b""
        deadline = 0
        bad = (version != 1 or reserved or op not in (1, 2, 3, 4, 5) or event != 1 or arg or
               (op == RESERVE and (section or hold or hold_ms == 0xffffffff or not user or
                                   not request_id or not mask or row >= ROWS or mask >> WIDTH)))
        legs = [(row, mask)]
        if op == RESERVE and extensions and not bad:
            kind, zero, length, count = struct.unpack_from("<BBHI", data.ljust(72, b"\0"), 64)
            if extensions == 1 and kind == 1 and not zero and length == size - 64 == 8 + 16 * count and 0 < count < 8:
                legs += [(leg[0], leg[3]) for leg in
                         struct.iter_unpack("<HHIQ", data[72:])]
                bad = len({leg[0] for leg in legs}) != len(legs) or not all(
                    r < ROWS and 0 < m < 1 << WIDTH for r, m in legs)
            else:
                bad = True
        if bad and not self.lax:
            status = BAD_REQUEST
        elif op == QUERY_SECTION:
            if section:
                status, detail = BAD_REQUEST, 10
            else:
                count = min((size - 64 - 8) // 8 if size > 72 else 0, ROWS - row, 16)
                masks = [~self.rows[r] & (1 << WIDTH) - 1 for r in range(row, row + count)]
                tail = struct.pack("<BBHI", 16, 0, 8 + 8 * count, row) + struct.pack(
                    f"<{count}Q", *masks)
                amount, detail = ROWS, (row + count) % ROWS
        elif op == RESERVE and row >= ROWS:
            status = 7
        elif op in (RESERVE, RELEASE):
            if self.random.random() < self.busy:
                status = self.random.choice((RETRY, BUSY))
            else:
                status, hold, deadline, state = self.change(op, user, request_id, hold, legs)
        return REPLY.pack(0x5255, 1, op, 64 + len(tail), bool(tail), status, event, request_id,
                          cookie, hold, deadline, 0, amount, detail, state, 0, 0) + tail

    def change(self, op, user, request_id, hold, legs):
        key = (user, request_id)
        if key in self.answers and not self.forgetful:
            return self.answers[key]
        if op == RELEASE:
            held = self.holds.pop(hold, None)
            for row, mask in held or []:
                self.rows[row] &= ~mask
            answer = (OK if held else NO_HOLD, hold, 0, 5)
        elif any(self.rows[row] & mask for row, mask in legs) and not self.sell_twice:
            answer = (TAKEN, 0, 0, 0)
        else:
            for row, mask in legs:
                self.rows[row] |= mask
            hold = self.random.getrandbits(64)
            self.holds[hold] = legs
            self.granted += 1
            answer = (OK, hold, time.time_ns() + 600 * 10**9, 2)
        self.answers[key] = answer
        return answer


count = failed = 0


def check(name, fine, note=""):
    global count, failed
    count += 1
    failed += not fine
    print(f"{'ok' if fine else 'not ok'} {count} - {name}" + (f"\n# {note}" if not fine else ""),
          flush=True)


def load(box, *options, expect=0):
    command = [usher, "load", "--udp", f"127.0.0.1:{box.port}", "--json", "-", "--progress",
               "none", "--wait", "2", "--timeout", "100", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=60)
    figures = json.loads(done.stdout) if done.stdout else {}
    check(f"exit status {expect}: {' '.join(options)}", done.returncode == expect,
          f"{done.returncode}: {done.stderr} {figures}")
    return figures


def started(**faults):
    box = Box(**faults)
    box.start()
    return box


def test_honest_box(folder):
    box, acks = started(), os.path.join(folder, "acks")
    got = load(box, "--rate", "3000", "--duration", "1", "--users", "500", "--ack-file", acks,
               "--mix", "uniform=50,hot=10,multi=10,release=10,query=5,status=5,retry=5,double=5")
    refused = sum(got["refused"].values())
    # A second is over when it is over: what a busy machine had no time to send is said to be unsent.
    check("asked is answered", got["asked"] == got["answered"] and got["asked"] <= 3000 and
          got["asked"] + got["unsent"] >= 3000 and got["asked"] >= 2000, got)
    check("answers add up", got["answered"] == got["granted"] + got["released"] + got["read"] +
          refused, got)
    check("grants are the box's", got["granted"] == box.granted, (got, box.granted))
    check("no fault is found", not (got["lost"] or got["double_granted"] or got["unexpected"] or
                                    got["repeats"]["changed"]), got)
    check("repeats were asked", got["repeats"]["asked"] > 50, got)
    with open(acks, "rb") as file:
        entries = list(ACK.iter_unpack(file.read()))
    check("first entry has the magic", entries[0][0] == 0x314B434148535355)
    check("one entry a change", len(entries) - 1 == got["granted"] + got["released"] ==
          got["ack_entries"], got)
    check("entries name holds", all(e[1] and e[2] and not e[0] for e in entries[1:]))
    load(started(), "--rate", "500", "--requests", "100", "--ack-file", acks, "--append")
    with open(acks, "rb") as file:
        more = list(ACK.iter_unpack(file.read()))
    check("append keeps and adds", more[:len(entries)] == entries and len(more) > len(entries))


def test_closed_loop_and_sweep():
    box = started()
    got = load(box, "--rate", "0", "--window", "8", "--mix", "sweep=1", "--seats-per-request", "3")
    check("sweep sells every seat once", got["granted_seats"] == ROWS * WIDTH == sum(
        row.bit_count() if hasattr(row, "bit_count") else bin(row).count("1")
        for row in box.rows) and not got["refused"], got)


def test_faults_are_found():
    got = load(started(drop=0.2), "--rate", "1000", "--requests", "1000")
    check("dropped answers are asked for again", got["resent"] > 100 and got["answered"] == 1000,
          got)
    got = load(started(drop=0.5), "--rate", "1000", "--requests", "300", "--retries", "0",
               expect=1)
    check("without retries they are lost", got["lost"] > 50 and
          got["lost"] + got["answered"] == 300, got)
    load(started(drop=0.5), "--rate", "1000", "--requests", "300", "--retries", "0",
         "--allow-loss")
    got = load(started(duplicate=0.3), "--rate", "1000", "--requests", "300")
    check("duplicates are counted", got["duplicates"] > 30 and got["resent"] == 0, got)
    got = load(started(busy=0.5), "--rate", "1000", "--requests", "300")
    check("BUSY and RETRY are waited for", got["told_to_wait"] > 100 and
          not {"BUSY", "RETRY"} & set(got["refused"]), got)
    got = load(started(sell_twice=True), "--rate", "2000", "--requests", "2000", "--mix",
               "hot=100", expect=1)
    check("double sale is found", got["double_granted"] > 100, got)
    got = load(started(forgetful=True), "--rate", "1000", "--requests", "500", "--mix",
               "uniform=80,retry=20", expect=1)
    check("a forgotten answer is found", got["repeats"]["changed"] > 0, got)


def test_malformed():
    box = started()
    got = load(box, "--rate", "1000", "--requests", "1000", "--mix", "uniform=50,malformed=50")
    check("malformed are refused or dropped", got["malformed"]["sent"] > 400 and
          0 < got["malformed"]["answered"] < got["malformed"]["sent"] and
          got["malformed"]["accepted"] == 0, got)
    check("malformed are not asked", got["asked"] + got["malformed"]["sent"] == 1000, got)
    got = load(started(lax=True), "--rate", "1000", "--requests", "500", "--mix",
               "uniform=50,malformed=50", expect=1)
    check("acceptance of malformed is found", got["malformed"]["accepted"] > 0, got)


def test_outage_and_signal():
    box = started()
    timer = threading.Timer(0.5, lambda: setattr(box, "deaf", True))
    back = threading.Timer(1.2, lambda: setattr(box, "deaf", False))
    timer.start()
    back.start()
    got = load(box, "--rate", "1000", "--duration", "2")
    check("an outage costs time, not requests", got["answered"] == 2000 and got["lost"] == 0 and
          got["max_us"] > 500e3, got)
    box = started()
    command = [usher, "load", "--udp", f"127.0.0.1:{box.port}", "--rate", "500", "--duration",
               "60", "--json", "-", "--progress", "json"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1.5)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    got = json.loads(out)
    check("SIGINT reports and exits 0", run.returncode == 0 and 300 < got["answered"] < 1000, err)
    check("progress is JSON lines", json.loads(err.splitlines()[0])["asked"] > 0, err)


def client(box, *arguments):
    return subprocess.run([usher, "client", "--udp", f"127.0.0.1:{box.port}", *arguments],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=20)


def test_client():
    box = started(drop=0.3)
    reserve = ("reserve", "-e", "1", "-u", "7", "-i", "1", "-r", "3", "-m", "0xf", "-l", "4:0x3",
               "--json")
    first, again = client(box, *reserve), client(box, *reserve)
    check("reserve is answered, and again the same", first.returncode == 0 and
          json.loads(first.stdout)["state"] == "HELD" and first.stdout == again.stdout,
          first.stderr + first.stdout + again.stdout)
    check("its seats are taken", box.rows[3] == 0xf and box.rows[4] == 0x3)
    other = client(box, "reserve", "-e", "1", "-u", "8", "-i", "1", "-r", "3", "-m", "0x8")
    check("a refusal is named and fails", other.returncode == 1 and "TAKEN" in other.stdout)
    section = client(box, "section", "-e", "1", "--json")
    pages = [json.loads(line)["free"] for line in section.stdout.splitlines()]
    check("a section comes page by page", section.returncode == 0 and len(pages) > 1 and
          sum(pages, [])[3] == hex(0xffff0) and len(sum(pages, [])) == ROWS, section.stdout)
    hold = json.loads(first.stdout)["hold"]
    back = client(box, "release", "-e", "1", "-u", "7", "-i", "2", "--hold", hold)
    check("release gives back", back.returncode == 0 and not any(box.rows), back.stdout)
    box.deaf = True
    silent = client(box, "status", "--timeout", "300")
    check("no answer fails and says so", silent.returncode == 1 and "usherd" in silent.stderr)
    for bad in (["reserve"], ["status", "-e", "x"], [], ["dance"], ["reserve", "-l", "4"]):
        check(f"usage error: client {' '.join(bad)}", client(box, *bad).returncode == 2)


def test_usage():
    for bad in (["--rate", "x"], ["--mix", "uniform"], ["--event", "0"], ["--nonsense"],
                ["--udp", "1.2.3.4:1", "--port", "vhost:/x"], ["--write-pcap", "/tmp/x"],
                ["stray"]):
        done = subprocess.run([usher, "load", *bad], stderr=subprocess.PIPE, text=True)
        check(f"usage error: {' '.join(bad)}", done.returncode == 2 and done.stderr, done.stderr)
    done = subprocess.run([usher, "load", "--udp", "127.0.0.1:9", "--wait", "0.3"],
                          stderr=subprocess.PIPE, text=True)
    check("nobody there: says so", done.returncode == 1 and "usherd" in done.stderr, done.stderr)


usher = sys.argv[1]
with tempfile.TemporaryDirectory() as temporary:
    test_honest_box(temporary)
test_closed_loop_and_sweep()
test_faults_are_found()
test_malformed()
test_outage_and_signal()
test_client()
test_usage()
print(f"1..{count}")
sys.exit(failed != 0)
