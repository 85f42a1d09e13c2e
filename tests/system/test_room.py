#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Waiting rooms from outside, with a client and a draw written from the documents alone: a real usherd
behind a veth pair, UDP, the control port, the command line, kill -9 in the middle.

usage: test_room.py BUILD-DIR [NAME-PART]...   (root; makes and removes its own namespaces)
"""
import hashlib
import json
import os
import signal
import struct
import sys
import threading
import time

import usher_client as uc
from usher_box import OUR4, Box, run, run_on_wire, sums_agree
from usher_client import Client, ControlPort, EventStatus, Op, RoomAction, Phase, Row, Status, TicketFault, UdpPort, Venue

BUILD = sys.argv[1] if len(sys.argv) > 1 else "build"
EVENT = 7
SECOND = 10**9
bench = None
HALL = Venue(sections=[[Row(0xffffffff)] * 40], prices=(2500,), user_seats_max=10)
SEED = bytes(range(100, 132))
BEACON = bytes(range(7, 39))
TOKEN_KEY, GATEWAY_KEY = bytes(range(16)), bytes(range(32, 48))
ADMISSION = f"""token 5 {TOKEN_KEY.hex()}
gateway 3 1 {GATEWAY_KEY.hex()}
policy 1 source=600000/10000 hold=600000/10000 user=6000/100
event {EVENT} 1
"""


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def u32(value):
    return struct.pack("<I", value)


def seed_hash(seed, event=EVENT):
    return sha(b"usher/draw/seed1", u32(event), seed)


def root_of(leaves):
    """RFC 6962."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else sha(b"")
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return sha(b"\1", root_of(leaves[:k]), root_of(leaves[k:]))


def permutation(key, tier, n):
    """As docs/draw.md has it."""
    w = max((n - 1).bit_length(), 8)
    low, high = w // 2, w - w // 2
    tables = []
    for r in range(12):
        stream = b"".join(sha(b"usher/draw/perm1" + key + bytes([tier, r]) + u32(b))
                          for b in range((2 ** high + 15) // 16))
        tables.append([int.from_bytes(stream[2 * i:2 * i + 2], "little") for i in range(2 ** high)])

    def place(x):
        while True:
            L, H = x % 2 ** low, x >> low
            for r in range(0, 12, 2):
                H ^= tables[r][L] % 2 ** high
                L ^= tables[r + 1][H] % 2 ** low
            x = H << low | L
            if x < n:
                return x
    return place


class Draw:
    """From what is public: places, seed, beacon."""

    def __init__(self, places, seed=SEED, beacon=BEACON):
        self.counts = [1 + max((n for t, n in places if t == tier), default=-1) for tier in range(7)]
        leaves = [sha(b"\0", bytes([tier]), struct.pack("<Q", places.get((tier, n), 0)))
                  for tier in range(7) for n in range(self.counts[tier])]
        self.root = root_of(leaves)
        key = sha(b"usher/draw/key.1", u32(EVENT), seed, self.root, *map(u32, self.counts), bytes([len(beacon)]), beacon)
        self.orders = [permutation(key, tier, n) if n else None for tier, n in enumerate(self.counts)]

    def number(self, tier, index):
        if tier == 7:
            return sum(self.counts) + index
        return sum(self.counts[:tier]) + self.orders[tier](index)


class Sale:
    def __init__(self, admission=False, sets=(), status=EventStatus.ON_SALE):
        bench.offload("off")
        sets = ("limits.room_users=20000", "limits.room_devices=1024", *sets)
        if admission:
            sets += ("admission.mode=sw", "limits.admit_sources=4096", "limits.admit_users=4096")
        self.box = Box(BUILD, "af_packet:ush0", sets, bench.a)
        if admission:
            os.makedirs(self.box.state, mode=0o700)
            path = os.path.join(self.box.state, "admission")
            with open(path, "w") as file:
                os.chmod(path, 0o600)
                file.write(ADMISSION)
        self.box.start()
        self.udp = Client(UdpPort(bench.udp(OUR4)))
        self.control = Client(ControlPort(self.box.control_path))
        self.control.event_load(EVENT, HALL.image())
        self.control.event_status(EVENT, status)

    def restart(self):
        self.control.close()
        assert self.box.stop(signal.SIGKILL) == -signal.SIGKILL
        self.box.start()
        self.control = Client(ControlPort(self.box.control_path))

    def open(self, users=10000, **more):
        return self.control.room_control(EVENT, RoomAction.OPEN, extensions=[uc.room_open(
            seed_hash(SEED), users, source=b"drand quicknet", beacon_round=4711, **more)])

    def close(self):
        return self.control.room_control(EVENT, RoomAction.CLOSE)

    def draw(self, draw, seed=SEED):
        return self.control.room_control(EVENT, RoomAction.DRAW, extensions=[uc.room_draw(seed, draw.root, BEACON)])

    def refused(self, status, call, *args, **more):
        try:
            call(*args, **more)
        except uc.Refused as refusal:
            assert refusal.reply.status == status, refusal
            return refusal.reply
        raise AssertionError(f"{args} was not refused")

    def wait(self, condition, what, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, what
            time.sleep(0.05)

    def usher(self, *words, check=True):
        return run(os.path.join(BUILD, "tools/usher"), *words, check=check)

    def end(self):
        assert sums_agree(self.control.stats())
        self.udp.close()
        self.control.close()
        assert self.box.stop() == 0
        for words in (("verify", "--json"), ("verify", "--json", "--from-start")):
            verdict = self.usher(*words, self.box.state, check=False)
            assert verdict.returncode == 0, verdict.stdout


def place_of(reply):
    return reply.detail & 0xff, reply.amount


def test_room_life_of_an_on_sale():
    """Goal: lobby, close, draw, exchange; every number is the one that anybody can compute."""
    s = Sale()
    s.refused(Status.NO_ROOM, s.udp.join, EVENT, 1)
    s.open(cap=6000)
    s.refused(Status.ROOM_PHASE, s.open)
    joined = {user: s.udp.join(EVENT, user, tier=user % 3) for user in range(1, 151)}
    again = s.udp.join(EVENT, 5, tier=0)
    assert again.hold == joined[5].hold and again.detail == joined[5].detail | 1 << 16, again
    assert s.udp.position(EVENT, 5, again).status == Status.ROOM_PHASE
    assert s.control.room(EVENT).phase == Phase.LOBBY
    s.refused(Status.ROOM_PHASE, s.control.room_places, EVENT)
    closed = s.close()
    assert closed.amount == 150 and closed.detail == Phase.DRAW, closed
    late = {user: s.udp.join(EVENT, user) for user in range(200, 210)}
    assert [place_of(r) for r in late.values()] == [(7, i) for i in range(10)]
    places = s.control.room_places(EVENT)
    assert {place: user for place, user in places.items() if place[0] < 7} == {place_of(r): u for u, r in joined.items()}
    draw = Draw({p: u for p, u in places.items() if p[0] < 7})
    s.refused(Status.MISMATCH, s.draw, draw, seed=bytes(32))
    s.draw(draw)
    joined |= late
    number = {user: draw.number(*place_of(r)) for user, r in joined.items()}
    assert sorted(number.values()) == list(range(160))
    s.wait(lambda: s.control.room(EVENT).serving > 20, "nobody is called")
    by_number = sorted(joined, key=number.get)
    ends = s.control.room(EVENT).serving
    for user in by_number[:ends]:
        reply = s.udp.exchange(EVENT, user, joined[user])
        assert 290 * SECOND < reply.deadline_ns - time.time_ns() <= 301 * SECOND, reply
        assert s.udp.exchange(EVENT, user, joined[user]).deadline_ns == reply.deadline_ns
    s.control.room_set(EVENT, paused=True)
    time.sleep(0.3)
    room = s.control.room(EVENT)
    for user in by_number:
        reply = s.udp.position(EVENT, user, joined[user])
        if number[user] < room.serving:
            assert reply.status == Status.OK
        else:
            assert (reply.status, reply.amount) == (Status.WAITING, number[user] - room.serving + 1), (user, reply)
    assert room.exchanged == ends and room.paused and room.end == 160
    s.end()


def test_room_token_is_admitted():
    """Goal: with admission on, what EXCHANGE gives lets its user hold seats, and nobody else."""
    s = Sale(admission=True)

    def say(op, extensions=(), **fields):
        message = uc.encode(op, extensions=[*extensions, uc.mac(3, 1, time.time_ns(), 0)], event=EVENT, cookie=s.udp.random.getrandbits(64), **fields)
        message = message[:-8] + struct.pack("<Q", uc.siphash(GATEWAY_KEY, message[:-8]))
        return s.udp.port.exchange(message)

    s.open(cap=60000)
    s.close()
    assert s.udp.call(Op.JOIN, event=EVENT, user=5).status == Status.MAC
    joined = say(Op.JOIN, user=5)
    ticket = s.udp.ticket_of(joined)
    assert say(Op.RESERVE, user=5, request_id=1, mask=1).status == Status.TOKEN
    s.wait(lambda: say(Op.POSITION, [ticket], user=5).status == Status.OK, "not called")
    given = say(Op.EXCHANGE, [ticket], user=5)
    assert given.status == Status.OK and given.detail >> 8 & 255 == 5, given
    token = s.udp.token_of(given, 5)
    assert token[24:] == struct.pack("<Q", uc.siphash(TOKEN_KEY, token[:24]))
    assert say(Op.RESERVE, [s.udp.token_of(given, 6)], user=6, request_id=1, mask=1).status == Status.TOKEN
    held = say(Op.RESERVE, [token], user=5, request_id=1, mask=1)
    assert held.status == Status.OK, held
    s.end()


def test_room_survives_kill_while_joining():
    """Goal: kill -9 in the middle of joins: nobody loses an acknowledged place, none is given twice."""
    s = Sale()
    s.open()
    tickets, stop, lock = {}, threading.Event(), threading.Lock()

    def flood(first):
        client = Client(UdpPort(bench.udp(OUR4), attempts=40, wait_s=0.1))
        user = first
        while not stop.is_set():
            try:
                reply = client.join(EVENT, user, tier=user % 2)
            except (uc.NoReply, OSError):
                continue
            with lock:
                tickets[user] = reply
            user += 3
        client.close()

    threads = [threading.Thread(target=flood, args=(1 + i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        time.sleep(0.4)
        s.restart()
    time.sleep(0.4)
    stop.set()
    for thread in threads:
        thread.join()
    assert len(tickets) > 30, len(tickets)
    places = [place_of(r) for r in tickets.values()]
    assert len(set(places)) == len(places), "a place was given twice"
    for user, reply in tickets.items():
        again = s.udp.join(EVENT, user)
        assert (place_of(again), again.hold) == (place_of(reply), reply.hold), user
    s.close()
    listed = s.control.room_places(EVENT)
    assert all(listed[place_of(r)] == user for user, r in tickets.items())
    s.restart()
    assert s.control.room_places(EVENT) == listed
    s.end()


def test_room_survives_kill_while_serving():
    """Goal: serving never goes back, no exchange is forgotten or repeated, from journal and snapshot."""
    s = Sale()
    s.open(cap=3000)
    s.close()
    joined = {user: s.udp.join(EVENT, user) for user in range(1, 301)}
    given, served = {}, 0
    for how in ("journal", "snapshot", "journal"):
        for _ in range(25):
            for user in range(1 + len(given), 1 + s.control.room(EVENT).serving):
                given[user] = s.udp.exchange(EVENT, user, joined[user])
                assert given[user].amount == 0, "a token was given before"
            room = s.control.room(EVENT)
            assert room.serving >= served, "serving went back"
            served = room.serving
            time.sleep(0.02)
        if how == "snapshot":
            told = s.usher("journal", "snapshot", "--json", s.box.state, check=False)
            assert told.returncode == 0, told.stdout
        s.restart()
        room = s.control.room(EVENT)
        assert room.serving >= served and room.exchanged == len(given), (room, served, len(given))
        served = room.serving
        for user, reply in given.items():
            again = s.udp.exchange(EVENT, user, joined[user])
            assert (again.amount, again.deadline_ns) == (1, reply.deadline_ns), user
    assert len(given) > 50, len(given)
    s.end()


def test_room_tickets_and_devices():
    """Goal: faults of tickets are named; keys go round; users of one device beyond some are slow."""
    s = Sale()
    s.open(device_users=2, slow_places=3)
    joined = [s.udp.join(EVENT, 10 + i, fingerprint=0xd1) for i in range(4)]
    assert [place_of(r)[0] for r in joined] == [0, 0, 6, 6] and joined[3].detail >> 16 == 2
    assert place_of(s.udp.join(EVENT, 20, fingerprint=0xd2))[0] == 0
    look = s.udp.call(Op.POSITION, event=EVENT, user=10)
    assert (look.status, look.detail) == (Status.TICKET, TicketFault.MISSING)
    look = s.udp.position(EVENT, 11, joined[0])
    assert (look.status, look.detail) == (Status.TICKET, TicketFault.FORGED)
    assert s.control.room_control(EVENT, RoomAction.KEY).detail == 2
    assert s.udp.position(EVENT, 10, joined[0]).status == Status.ROOM_PHASE
    time.sleep(1.1)
    s.restart()
    assert s.control.room_control(EVENT, RoomAction.KEY).detail == 3
    look = s.udp.position(EVENT, 10, joined[0])
    assert (look.status, look.detail) == (Status.TICKET, TicketFault.KEY)
    assert s.udp.position(EVENT, 10, s.udp.join(EVENT, 10)).status == Status.ROOM_PHASE
    s.end()


def test_room_sold_out():
    """Goal: at sell-out everybody who asks is told, and may join the wait-list."""
    s = Sale()
    s.open()
    s.close()
    joined = s.udp.join(EVENT, 500)
    for row in range(40):
        for part in range(4):
            user = 1000 + 4 * row + part
            held = s.udp.reserve(EVENT, user, [(row, 0xff << 8 * part)])
            s.control.confirm(EVENT, user, held.hold)
    assert s.refused(Status.SOLD_OUT, s.udp.join, EVENT, 501).amount == 0
    s.refused(Status.SOLD_OUT, s.udp.exchange, EVENT, 500, joined)
    s.udp.wait_join(EVENT, 500, 1)
    assert s.udp.position(EVENT, 500, joined).amount == 1
    s.wait(lambda: s.control.room(EVENT).limit == uc.RoomLimit.SOLD_OUT, "the room does not say so")
    assert s.control.room(EVENT).event_status == EventStatus.SOLD_OUT
    s.end()


def test_room_by_command_line():
    """Goal: an operator's way, from the seed to the draw file that anybody can check."""
    s = Sale()
    folder = s.box.directory
    seed, places, out = (os.path.join(folder, name) for name in ("seed", "places", "draw.json"))
    room = ("room", "--socket", s.box.control_path)
    client = ("client", "--socket", s.box.control_path, "--json")
    opened = s.usher(*room, "open", str(EVENT), "--users", "1000", "--seed", seed, "--beacon", "drand quicknet", "--round", "9",
                     "--cap", "60000").stdout
    with open(seed) as file:
        secret = bytes.fromhex(file.read().strip())
    assert opened.split()[-1] == seed_hash(secret).hex() and os.stat(seed).st_mode & 0o777 == 0o600
    tickets = {}
    for user in range(1, 31):
        told = json.loads(s.usher(*client, "join", "--event", str(EVENT), "--user", str(user), "--tier", str(user % 2)).stdout)
        assert told["tier"] == user % 2 and not told["repeat"], told
        tickets[user] = told["ticket"]
    assert s.usher(*client, "position", "--event", str(EVENT), "--user", "1", "--ticket", tickets[1], check=False).returncode == 1
    closed = s.usher(*room, "close", str(EVENT), "--list", places).stdout
    s.usher(*room, "draw", str(EVENT), "--seed", seed, "--value", BEACON.hex(), "--list", places, "--out", out)
    listed = s.control.room_places(EVENT)
    draw = Draw(listed, seed=secret)
    assert draw.root.hex() in closed
    for user in (1, 30):
        checked = json.loads(s.usher("verify", "draw", "--json", "--list", places, "--user", str(user), out).stdout)
        place = next(p for p, u in listed.items() if u == user)
        assert checked["number"] == draw.number(*place) and checked["list_checked"], checked
    s.wait(lambda: s.control.room(EVENT).serving == 30, "not all are called")
    told = json.loads(s.usher(*client, "exchange", "--event", str(EVENT), "--user", "3", "--ticket", tickets[3]).stdout)
    assert len(told["token"]) == 64, told
    s.usher(*room, "rate", str(EVENT), "120")
    s.usher(*room, "pause", str(EVENT))
    status = json.loads(s.usher(*room, "status", str(EVENT), "--json").stdout)
    assert status["format"] == "usher-room-1" and status["phase"] == "SERVING" and status["paused"], status
    assert status["tiers"] == draw.counts and status["root"] == draw.root.hex() and status["exchanged"] == 1, status
    assert status["beacon"] == {"source": "drand quicknet", "round": 9, "value": BEACON.hex()}, status
    later = json.loads(s.usher(*room, "status", str(EVENT), "--json").stdout)
    assert later["version"] >= status["version"]
    s.usher(*room, "resume", str(EVENT))
    assert "key" in s.usher(*room, "key", str(EVENT)).stdout
    assert s.usher(*room, "close", str(EVENT), check=False).returncode == 1
    assert s.usher(*room, "rate", str(EVENT), "many", check=False).returncode == 2
    assert "joined" in s.usher(*room, "status", str(EVENT)).stdout
    s.end()


TESTS = [test_room_life_of_an_on_sale, test_room_token_is_admitted, test_room_survives_kill_while_joining,
         test_room_survives_kill_while_serving, test_room_tickets_and_devices, test_room_sold_out, test_room_by_command_line]


if __name__ == "__main__":
    run_on_wire(globals(), TESTS)
