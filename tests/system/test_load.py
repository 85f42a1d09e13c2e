#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Do `usher load` and `usher client` tell the truth? They run against a box of a hundred lines
that lies on demand.

usage: test_load.py PATH-OF-USHER
"""
import collections
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


PAYLOAD_MAX = 1408


def cut(data):
    """The messages of a datagram by their sizes; what these do not fill is one, whatever it is."""
    parts, at = [], 0
    while at < len(data) <= PAYLOAD_MAX:
        magic, size = struct.unpack_from("<HxxH", data, at) if len(data) - at >= 64 else (0, 0)
        if magic != 0x5155 or size < 64 or size > len(data) - at:
            return [data]
        parts.append(data[at:at + size])
        at += size
    return parts or [data]


class Box(threading.Thread):
    """A toy appliance: 40 rows of 20 seats, one section, one event.

    It answers a datagram of several requests by one of several replies. `lose`: datagrams that do not
    arrive; `gather`: answers of several datagrams leave in one, also to who sent no such.
    """

    def __init__(self, drop=0.0, duplicate=0.0, busy=0.0, sell_twice=False, forgetful=False,
                 lax=False, deaf=False, lose=0.0, gather=False):
        super().__init__(daemon=True)
        self.drop, self.duplicate, self.busy = drop, duplicate, busy
        self.lose, self.gather = lose, gather
        # Requests a datagram, and bytes of the longest that had several.
        self.packs, self.longest = [], 0
        # Cookies of what came and of what was lost, a datagram each.
        self.came, self.lost = [], []
        self.waiting = {}
        self.sell_twice, self.forgetful, self.lax, self.deaf = sell_twice, forgetful, lax, deaf
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.rows = [0] * ROWS
        self.holds, self.answers = {}, {}
        self.random = random.Random(1)
        self.granted = 0
        self.running = True

    def run(self):
        self.socket.settimeout(0.005 if self.gather else 0.1)
        while self.running:
            try:
                data, peer = self.socket.recvfrom(2048)
            except socket.timeout:
                self.give_waiting()
                continue
            self.take(data, peer)

    def take(self, data, peer):
        parts = cut(data)
        self.packs.append(len(parts))
        if len(parts) > 1:
            self.longest = max(self.longest, len(data))
        cookies = [REQUEST.unpack_from(part)[14] if len(part) >= 64 else None for part in parts]
        if self.random.random() < self.lose:
            self.lost.append(cookies)
            return
        self.came.append(cookies)
        for part in parts:
            answer = None if self.deaf else self.answer(part)
            if answer is None or self.random.random() < self.drop:
                continue
            for _ in range(2 if self.random.random() < self.duplicate else 1):
                self.give(answer, peer, len(parts) > 1 or self.gather)
        if not self.gather:
            self.give_waiting()

    def give(self, answer, peer, packed):
        before = self.waiting.get(peer, b"")
        if packed and len(before) + len(answer) <= PAYLOAD_MAX:
            self.waiting[peer] = before + answer
            return
        if before:
            self.socket.sendto(self.waiting.pop(peer), peer)
        if packed:
            self.waiting[peer] = answer
        else:
            self.socket.sendto(answer, peer)

    def give_waiting(self):
        for peer, answers in self.waiting.items():
            self.socket.sendto(answers, peer)
        self.waiting = {}

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
    check("an outage costs time, not requests", got["answered"] == got["asked"] >= 1500 and
          got["asked"] + got["unsent"] >= 2000 and got["lost"] == 0 and got["max_us"] > 500e3, got)
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


def test_packed(folder):
    box, acks = started(), os.path.join(folder, "packed.acks")
    got = load(box, "--rate", "16k", "--requests", "8000", "--pack", "8", "--users", "5000", "--ack-file", acks,
               "--timeout", "2000", "--mix", "uniform=70,hot=5,release=10,status=5,retry=5,double=5")
    check("packed: asked is answered", got["asked"] == got["answered"] == 8000 and not (
        got["lost"] or got["double_granted"] or got["unexpected"] or got["repeats"]["changed"]), got)
    # The second copy of the last request may be on its way still.
    end = time.monotonic() + 10
    while len(box.packs) < got["packets"]["sent"] and time.monotonic() < end:
        time.sleep(0.01)
    check("packed: a datagram has up to 8", max(box.packs) == 8 and got["pack"] == 8, max(box.packs))
    check("packed: datagrams are a fifth of the requests", got["packets"]["sent"] == len(box.packs) <= 1600 and
          got["packets"]["received"] <= 1600, (got["packets"], len(box.packs)))
    with open(acks, "rb") as file:
        entries = list(ACK.iter_unpack(file.read()))
    check("packed: one entry a change", got["granted"] == box.granted and
          len(entries) - 1 == got["granted"] + got["released"] == got["ack_entries"], got)
    came = collections.Counter(cookie for pack in box.came for cookie in pack if not cookie >> 62)
    check("packed: both copies of a request come", len(came) == 8000 and got["doubled"] > 200 and
          sum(came.values()) == 8000 + got["doubled"] + got["resent"], (len(came), sum(came.values()), got))
    box = started()
    got = load(box, "--rate", "8k", "--requests", "2000", "--pack", "22", "--timeout", "2000", "--mix",
               "uniform=25,query=25,multi=50")
    check("packed: long requests keep to 1,408 bytes", got["answered"] == 2000 and not got["unexpected"] and
          max(box.packs) > 2 and 1000 < box.longest <= PAYLOAD_MAX, (box.longest, got))
    box = started()
    got = load(box, "--rate", "0", "--window", "4", "--pack", "16", "--mix", "sweep=1", "--timeout", "2000")
    check("packed: a window smaller than a datagram does not stand still", got["granted_seats"] == ROWS * WIDTH and
          got["packets"]["sent"] <= ROWS * WIDTH / 4 + 10, got)
    got = load(started(), "--rate", "100", "--requests", "50", "--pack", "22", "--timeout", "2000")
    check("packed: few requests wait for 1 ms, not for more of them", got["answered"] == 50 and
          1000 <= got["p50_us"] < 50e3 and got["packets"]["sent"] >= 20, got)


def test_packed_faults():
    box = started(gather=True)
    got = load(box, "--rate", "4k", "--requests", "2000", "--flows", "1", "--timeout", "2000")
    check("replies come packed to who asks one by one", got["asked"] == got["answered"] == 2000 and
          not (got["unexpected"] or got["lost"] or got["resent"]) and max(box.packs) == 1 and
          got["packets"]["received"] < got["packets"]["sent"] / 4, got)
    box = started(lose=0.3)
    got = load(box, "--rate", "8k", "--requests", "2000", "--pack", "8", "--wait", "20", "--timeout", "500")
    lost = collections.Counter(sum(box.lost, []))
    came = collections.Counter(sum(box.came, []))
    check("packed: whole datagrams are lost", max(map(len, box.lost)) == 8 and sum(lost.values()) > 300, lost)
    check("packed: each request of a lost datagram is asked again", set(lost) <= set(came) and
          got["answered"] == 2000 and got["lost"] == 0 and
          got["resent"] >= sum(n for cookie, n in lost.items() if not cookie >> 62), got)
    got = load(started(lose=0.5), "--rate", "8k", "--requests", "800", "--pack", "8", "--wait", "20", "--retries",
               "0", "--timeout", "500", expect=1)
    check("packed: without retries each is lost", got["lost"] > 100 and got["lost"] + got["answered"] == 800, got)
    got = load(started(busy=0.5, duplicate=0.2, drop=0.1), "--rate", "4k", "--requests", "1000", "--pack", "8")
    check("packed: BUSY, RETRY, duplicates and lost answers are one request's each", got["answered"] == 1000 and
          got["told_to_wait"] > 300 and got["duplicates"] > 50 and got["resent"] > 300 and not got["unexpected"] and
          not {"BUSY", "RETRY"} & set(got["refused"]), got)
    box = started()
    got = load(box, "--rate", "16k", "--requests", "4000", "--pack", "8", "--timeout", "2000", "--mix",
               "uniform=80,malformed=20")
    check("packed: malformed are as they were", got["malformed"]["sent"] > 600 and got["malformed"]["accepted"] == 0 and
          0 < got["malformed"]["answered"] < got["malformed"]["sent"] and
          got["asked"] + got["malformed"]["sent"] == 4000 and got["answered"] == got["asked"], got)
    check("packed: malformed go alone", max(box.packs) == 8 and
          not any(cookie >> 63 for pack in box.came if len(pack) > 1 for cookie in pack) and
          sum(len(pack) == 1 and bool((pack[0] or 0) >> 63) for pack in box.came) > 400, collections.Counter(box.packs))


def pcap(folder, image, *options):
    """ret: the payloads of what is written, their times in ns, and the figures."""
    path, payloads, times, at = os.path.join(folder, "load.pcap"), [], [], 24
    done = subprocess.run([usher, "load", "--write-pcap", path, "--venue", image, "--json", "-", "--seed", "5",
                           "--requests", "500", *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True, timeout=60)
    with open(path, "rb") as file:
        data = file.read()
    while at < len(data):
        seconds, ns, size, _ = struct.unpack_from("<4I", data, at)
        frame = data[at + 16:at + 16 + size]
        # Ethernet, IPv4 without options, UDP; the lengths agree where frames are not broken on purpose.
        if "malformed" not in " ".join(options):
            total, udp = struct.unpack_from(">H", frame, 16)[0], struct.unpack_from(">H", frame, 38)[0]
            assert size == total + 14 == udp + 34, (size, total, udp)
        payloads.append(frame[42:])
        times.append(seconds * 10**9 + ns)
        at += 16 + size
    return payloads, times, json.loads(done.stdout)


def test_packed_pcap(folder):
    image = os.path.join(folder, "venue.img")
    club = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../venues/club.json")
    subprocess.run([usher, "event", "compile", club, "-o", image], check=True, stdout=subprocess.DEVNULL)
    for rate, mix in (("1M", "uniform=1"), ("5k", "uniform=70,multi=20,query=5,double=5"), ("100", "uniform=1")):
        single, due, _ = pcap(folder, image, "--rate", rate, "--mix", mix)
        packed, times, got = pcap(folder, image, "--rate", rate, "--mix", mix, "--pack", "8")
        parts = [cut(payload) for payload in packed]
        check(f"pcap at {rate}: the same requests in the same order", sum(parts, []) == single, len(packed))
        check(f"pcap at {rate}: datagrams are counted", got["packets"]["sent"] == len(packed) and
              got["asked"] == 500 and max(map(len, packed)) <= PAYLOAD_MAX)
        most = max(map(len, parts))
        # At 5k the sixth is due when the first has waited for 1 ms; second copies come on top.
        check(f"pcap at {rate}: packed as far as due", most in {"1M": [8], "5k": [5, 6, 7, 8], "100": [1]}[rate],
              most)
        at, fine = 0, times == sorted(times)
        for part, left in zip(parts, times):
            fine = fine and due[at] <= left <= due[at] + 10**6 and due[at + len(part) - 1] <= left
            at += len(part)
        check(f"pcap at {rate}: each leaves when the last is due, or 1 ms after the first", fine, (due, times))
    packed, _, got = pcap(folder, image, "--pack", "8", "--mix", "uniform=50,malformed=50")
    check("pcap: malformed are alone", sum(len(cut(payload)) for payload in packed) == 500 and
          got["malformed"]["sent"] + got["asked"] == 500 and
          not any(REQUEST.unpack_from(part)[14] >> 63 for payload in packed if len(cut(payload)) > 1
                  for part in cut(payload)))


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
                ["--pack", "0"], ["--pack", "23"], ["--pack", "abc"], ["--pack"], ["stray"]):
        done = subprocess.run([usher, "load", *bad], stderr=subprocess.PIPE, text=True)
        check(f"usage error: {' '.join(bad)}", done.returncode == 2 and done.stderr, done.stderr)
        if len(bad) == 2 and bad[0] == "--pack":
            check("it says which and why", "--pack" in done.stderr and bad[1] in done.stderr and
                  ("1 to 22" in done.stderr or "not a number" in done.stderr), done.stderr)
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
with tempfile.TemporaryDirectory() as temporary:
    test_packed(temporary)
    test_packed_pcap(temporary)
test_packed_faults()
test_client()
test_usage()
print(f"1..{count}")
sys.exit(failed != 0)
