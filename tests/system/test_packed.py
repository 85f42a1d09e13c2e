#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Several messages in a datagram, against a real usherd behind a veth pair: each is decided, counted and answered as if
it had come alone, whatever stands beside it; what does not cut cleanly is dropped whole, under one reason.

usage: test_packed.py BUILD-DIR [NAME-PART]...   (root; makes and removes its own namespaces)
"""
import collections
import os
import random
import signal
import socket
import struct
import sys
import time

import test_admission as admission
import test_bad_disks as disks
import test_bad_input as rubbish
import test_capture as capture
import test_dissector as dissector
import test_filter as hardware
import usher_client as uc
from usher_box import OUR4, OUR6, Box, Tap, run, run_on_wire, sums_agree
from usher_client import Client, ControlPort, EventStatus, Fault, HoldState, Op, RoomAction, Row, Status, UdpPort, Venue

BUILD = sys.argv[1] if len(sys.argv) > 1 else "build"
SEED = int(os.environ.get("USH_SEED", "1"))
EVENT, ROOM_EVENT = 7, 8
MOST = uc.PAYLOAD_BYTES_MAX // uc.BASE_BYTES
FULL = (1 << 64) - 1
ROWS = 400
# Why payloads are dropped.
DROPS = ("drop_PAYLOAD_SHORT", "drop_PAYLOAD_LONG", "drop_MAGIC", "drop_SIZE", "drop_DUPLICATE_PENDING", "drop_TX_FULL",
         "drop_SHUTDOWN", "drop_REFUSE_RATE")
HALL = Venue(sections=[[Row(FULL)] * ROWS], prices=(2500,), user_seats_max=60)
bench = None


def rises(before, after):
    """Outcomes of messages that rose; what the peer's kernel says of itself at any time is left out."""
    rose = rubbish.rises(before, after)
    return {name: count for name, count in rose.items() if name.startswith("status_") or name in DROPS}


class Sale:
    """A box on the veth pair with an event on sale, a client on each of its addresses."""

    def __init__(self, device="af_packet", sets=(), state=None):
        bench.offload("off")
        if device == "two_loops":
            device, sets = "af_packet", ["cores.loops=0,1", *sets]
        self.box = Box(BUILD, f"{device}:ush0", ["port.public.checksum_rx=verify", *sets], bench.a, state=state)
        try:
            self.box.start()
        except RuntimeError as error:
            if device == "af_xdp" and "net_af_xdp" in str(error):
                raise Tap.Skip("no AF_XDP here") from error
            raise
        # Patient, so that nothing is sent twice only because the machine is busy.
        self.ports = [UdpPort(bench.udp(address), wait_s=2.0) for address in (OUR4, OUR6)]
        self.port, self.port6 = self.ports
        self.control = Client(ControlPort(self.box.control_path))
        self.control.event_load(EVENT, HALL.image())
        self.control.event_status(EVENT, EventStatus.ON_SALE)
        self.chance = random.Random(SEED)
        self.cookie, self.users = 0, 10**9

    def message(self, op, **fields):
        self.cookie += 1
        return uc.encode(op, **{"cookie": self.cookie, **fields})

    def reserve(self, user, row, mask, request_id=1, **more):
        return self.message(Op.RESERVE, event=EVENT, user=user, request_id=request_id, row=row, mask=mask, **more)

    def restart(self, number):
        self.control.close()
        status = self.box.stop(number)
        assert status == (0 if number == signal.SIGTERM else -number), status
        self.box.start()
        self.control = Client(ControlPort(self.box.control_path))

    def rises(self, before, after=None):
        return rises(before, after or self.control.stats())

    def user(self):
        """A user that nobody was."""
        self.users += 1
        return self.users

    def decided(self, port, message):
        """The reply to a message alone, asked until it is no RETRY."""
        for _ in range(200):
            reply = port.exchange(message)
            if reply.status != Status.RETRY:
                return reply
            time.sleep(0.005)
        raise AssertionError("RETRY for ever")

    def end(self):
        counters = self.control.stats()
        assert sums_agree(counters), counters
        for port in self.ports:
            assert port.ignored <= port.resent, (port.ignored, port.resent)
            port.close()
        self.control.close()
        assert self.box.stop() == 0
        verdict = run(os.path.join(BUILD, "tools/usher"), "verify", self.box.state, check=False)
        assert verdict.returncode == 0, verdict.stdout
        return counters


def statuses(replies):
    return [uc.name_of(Status, reply.status) for reply in replies]


# ---------------------------------------------------------------------------------------------
# The client, without a box


def reply_to(message, status=Status.OK, tail=()):
    op, event, request_id, cookie = uc.key_of(message)
    return uc._REPLY.pack(uc.REPLY_MAGIC, 1, op, uc.BASE_BYTES + sum(map(len, tail)), len(tail), status, event,
                          request_id, cookie, 0, 0, 0, 0, 0, 0, 0, 0) + b"".join(tail)


def expect_violation(word, call, *arguments):
    try:
        call(*arguments)
    except uc.Violation as violation:
        assert word in str(violation), violation
        return
    raise AssertionError(f"no violation: {word}")


def pair():
    """A client's port, and the socket of whoever plays the box."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    theirs.settimeout(5)
    return UdpPort(ours), theirs


def test_client_believes_nothing():
    """Goal: the client of these tests sees what the protocol rules out. Method: a box that is wrong in one way each."""
    ask = [uc.encode(Op.STATUS, event=e, cookie=e, extensions=[uc.pad(1)] * (e == 3)) for e in range(1, 5)]
    answers = [reply_to(message) for message in ask]
    port, box = pair()
    box.send(answers[0] + answers[1])
    expect_violation("size", port.receive, 0.5)
    # Whoever sends one alone gets one alone.
    port, box = pair()
    port.send(ask[0])
    box.send(answers[0] + answers[1])
    expect_violation("size", port.receive, 0.5)
    port, box = pair()
    port.send_packed(ask[:2])
    port.send(ask[2])
    box.send(answers[0] + answers[2])
    expect_violation("alone", port.receive, 0.5)
    port, box = pair()
    port.send_packed(ask)
    for bad in (answers[0] + answers[1][:-1], answers[0] + answers[1] + b"\0", answers[0] + ask[1], answers[0][:40]):
        box.send(bad)
        expect_violation("", port.receive, 0.5)
    port, box = pair()
    port.send_packed(ask[:2])
    box.send(b"".join(answers[:2]))
    assert [port.receive(0.5).event, port.receive(0.5).event] == [1, 2]
    box.send(answers[0])
    expect_violation("together", port.receive, 0.5)
    # However they come.
    port, box = pair()
    port.wait_s = 0.05
    box.send(answers[3])
    box.send(answers[1] + answers[0])
    box.send(answers[2])
    assert [reply.event for reply in port.exchange_packed(ask)] == [1, 2, 3, 4]
    assert box.recv(2000) == b"".join(ask) and port.grouped == [1, 2, 1] and port.ignored == port.resent == 0
    port, box = pair()
    port.wait_s = 0.05
    box.send(answers[3] + answers[1])
    try:
        port.exchange_packed(ask)
        raise AssertionError("two replies are missing")
    except uc.NoReply:
        assert box.recv(2000) == b"".join(ask) and box.recv(2000) == ask[0] + ask[2]


# ---------------------------------------------------------------------------------------------
# Decided and answered, each once


def test_many_reserves(device):
    """Goal: 22 in one datagram are 22 requests. Method: what they and their repeats are told, and the counters."""
    s = Sale(device)
    for number, port in enumerate(s.ports):
        ask = [s.reserve(1000 * (number + 1) + i, 10 * number + i // 4, 0x7 << 8 * (i % 4)) for i in range(MOST)]
        before = s.control.stats()
        replies = port.exchange_packed(ask)
        after = s.control.stats()
        assert statuses(replies) == ["OK"] * MOST, statuses(replies)
        assert all(r.detail == 0 and r.amount == 7500 and r.state == HoldState.HELD for r in replies)
        assert len({r.hold for r in replies}) == len({r.sequence for r in replies}) == MOST
        assert s.rises(before, after) == {"status_OK": MOST}
        kernel = sum(rubbish.rises(before, after).values()) - MOST
        assert after["usher_rx_packets"] - before["usher_rx_packets"] == MOST + kernel
        again = port.exchange_packed(ask)
        assert [(r.hold, r.sequence, r.detail) for r in again] == [(r.hold, r.sequence, 1) for r in replies]
        assert s.rises(after) == {"status_OK": MOST}
        # Alone it is the same request, too, and its reply comes alone.
        for message, first in zip(ask, replies):
            groups = len(port.grouped)
            reply = port.exchange(message)
            assert (reply.hold, reply.detail, port.grouped[groups:]) == (first.hold, 1, [1])
        assert s.control.stats()["usher_status_OK"] - before["usher_status_OK"] == 3 * MOST
        print(f"# replies came {port.grouped[:4]} to a datagram")
    free = s.control.query_section(EVENT, 0)
    assert sum(FULL.bit_count() - mask.bit_count() for mask in free.values()) == 2 * 3 * MOST
    s.end()


def test_order(device):
    """Goal: messages are taken in their order. Method: two users after one seat; one user after his own seat."""
    s = Sale(device)
    for number, port in enumerate(s.ports):
        # Who stands first has the seat; both ways round.
        users = [100 + 1000 * number + i for i in range(MOST)]
        ask = [s.reserve(user, number, 1 << i // 2) for i, user in enumerate(users)]
        first, second = statuses(port.exchange_packed(ask))[::2], statuses(port.exchange_packed(ask))[1::2]
        assert set(first) == {"OK"} and set(second) <= {"TAKEN", "TAKEN_NOW"}, (first, second)
    for turn in range(60):
        port, row, user = s.ports[turn % 2], 10 + turn, 5000 + turn
        held = s.decided(port, s.reserve(user, row, 1))
        more = [s.reserve(user + 100_000 * i, row, 2 << i) for i in range(1, s.chance.randrange(1, 18))]
        give = s.message(Op.RELEASE, event=EVENT, user=user, request_id=2, hold=held.hold)
        mine, others = s.reserve(user, row, 1, request_id=3), s.reserve(user + 200_000_000, row, 1)
        released, again, other, *rest = port.exchange_packed([give, mine, others, *more])
        assert released.status == Status.OK and released.state == HoldState.RELEASED, released
        assert again.status in (Status.OK, Status.RETRY), again
        assert other.status in (Status.OK, Status.TAKEN, Status.TAKEN_NOW), other
        assert set(statuses(rest)) <= {"OK"}, rest
        final = s.decided(port, mine)
        assert [final.status, other.status].count(Status.OK) == 1, (final, again, other)
        assert again.status == Status.RETRY or final.hold == again.hold
        assert s.control.query_section(EVENT, 0)[row] & 1 == 0
        # A release of what is not his, between two requests for one seat.
        user += 300_000_000
        one, none, two = port.exchange_packed([
            s.reserve(user, row, 1 << 40), s.message(Op.RELEASE, event=EVENT, user=user, request_id=2, hold=held.hold),
            s.reserve(user, row, 1 << 40, request_id=3)])
        assert one.status == Status.OK, one
        assert none.status in (Status.NO_HOLD, Status.RETRY), none
        assert two.status in (Status.TAKEN, Status.TAKEN_NOW, Status.RETRY), two
    s.end()


def test_one_id_twice(device):
    """Goal: a request and its copy in one datagram are done once. Method: two cookies; the copy may be silent."""
    s = Sale(device)
    for number, port in enumerate(s.ports):
        half = MOST // 2
        fields = [dict(user=100 * (number + 1) + i, row=number, mask=1 << i) for i in range(half)]
        before = s.control.stats()
        ask = [s.reserve(**one) for one in fields for _ in range(2)]
        port.send_packed(ask)
        got = {}
        while (reply := port.receive(1.0)) is not None:
            assert uc.key_of_reply(reply) not in got
            got[uc.key_of_reply(reply)] = reply
        rose = s.rises(before)
        silent = 0
        for i in range(half):
            first, copy = got[uc.key_of(ask[2 * i])], got.get(uc.key_of(ask[2 * i + 1]))
            assert first.status == Status.OK and first.detail == 0, first
            silent += copy is None
            assert copy is None or (copy.status, copy.hold, copy.detail) == (Status.OK, first.hold, 1), copy
            later = port.exchange(ask[2 * i + 1])
            assert (later.status, later.hold, later.detail) == (Status.OK, first.hold, 1), later
        assert rose == {"status_OK": MOST - silent, **({"drop_DUPLICATE_PENDING": silent} if silent else {})}, rose
        print(f"# {silent} of {half} copies were silent")
        # The same id for something else.
        mine, other = s.reserve(9000 + number, 50, 1 << number), s.reserve(9000 + number, 51, 1 << number)
        port.send_packed([mine, other])
        first = port.receive(2.0)
        while first is not None and uc.key_of_reply(first) != uc.key_of(mine):
            assert first.status in (Status.MISMATCH, Status.RETRY), first
            first = port.receive(2.0)
        assert first is not None and first.status == Status.OK, first
        while (late := port.receive(0.2)) is not None:
            assert late.status in (Status.MISMATCH, Status.RETRY), late
        assert port.exchange(other).status == Status.MISMATCH
        assert s.control.query_section(EVENT, 0)[51] == FULL
    s.end()


# ---------------------------------------------------------------------------------------------
# Operations and sizes


def reads(s, port):
    """Messages that change nothing, of many sizes; each says the same whenever it is asked."""
    section = dict(event=EVENT, section=0)
    hold = s.decided(port, s.reserve(77, 0, 1))
    s.control.room_control(ROOM_EVENT, RoomAction.OPEN, extensions=[uc.room_open(bytes(32), 1000)])
    joined = s.decided(port, s.message(Op.JOIN, event=ROOM_EVENT, user=5))
    made = [
        (Op.STATUS, {}), (Op.STATUS, dict(event=EVENT)), (Op.STATUS, dict(event=99)),
        (Op.QUERY_HOLD, dict(event=EVENT, user=77, hold=hold.hold)),
        (Op.QUERY_HOLD, dict(event=EVENT, user=78, hold=1)),
        (Op.WAIT_LIST, dict(event=EVENT, user=77, request_id=1, arg=2 << 32)),
        (Op.JOIN, dict(event=ROOM_EVENT, user=5)), (Op.JOIN, dict(event=EVENT, user=5)),
        (Op.POSITION, dict(event=ROOM_EVENT, user=5, extensions=[Client.ticket_of(joined)])),
        (Op.EVENT_STATUS, dict(event=EVENT, arg=2)), (Op.STATS, {}), (200, {}), (Op.STATUS, dict(version=9)),
        (Op.STATUS, dict(row=1)), (Op.STATUS, dict(count=3)),
        (Op.STATUS, dict(extensions=[uc.extension(99, 0)])),
        (Op.STATUS, dict(extensions=[uc.extension(5, 0, size=12)])),
    ]
    made += [(Op.QUERY_SECTION, dict(section, row=row, extensions=[uc.pad(rows)] if rows is not None else []))
             for row, rows in ((0, None), (0, 0), (3, 1), (0, 4), (100, 20), (7, 80), (0, 159), (ROWS - 2, 30))]
    made += [(Op.STATUS, dict(event=EVENT, extensions=[uc.pad(words)])) for words in (0, 3, 60)]
    return [lambda op=op, fields=fields: s.message(op, **fields) for op, fields in made]


def same(alone, packed):
    """Two replies to one request, but for the cookie."""
    return alone.data[:16] + alone.data[24:] == packed.data[:16] + packed.data[24:]


def test_mixed(device):
    """Goal: every operation and size beside every other. Method: random ones; a reply is that to the request alone."""
    s = Sale(device, ["limits.room_users=20000", "limits.room_devices=1024"])
    s.control.event_load(ROOM_EVENT, HALL.image())
    s.control.event_status(ROOM_EVENT, EventStatus.ON_SALE)
    kinds, counts, met = reads(s, s.port), collections.Counter(), collections.Counter()
    alone = [s.decided(s.port, make()) for make in kinds]
    before = s.control.stats()
    for turn in range(150):
        port, ask, of = s.ports[turn % 2], [], []
        while True:
            kind = s.chance.randrange(len(kinds))
            message = kinds[kind]()
            if sum(map(len, ask)) + len(message) > uc.PAYLOAD_BYTES_MAX:
                break
            ask.append(message)
            of.append(kind)
        for kind, reply in zip(of, port.exchange_packed(ask)):
            assert same(alone[kind], reply), (alone[kind], reply)
            counts["status_" + Status(reply.status).name] += 1
            met[reply.op, reply.size] += 1
    rose = s.rises(before)
    assert rose == counts, (rose, counts)
    print(f"# {sum(counts.values())} messages, replies by operation and size: {dict(met)}")
    assert (Op.QUERY_SECTION, 72 + 8 * 159) in met and met[Op.STATUS, 64] and len({size for _, size in met}) >= 6
    s.end()


def test_exact_sizes(device):
    """Goal: datagrams are filled to the last byte, and so are those of replies. Method: pages beside small ones."""
    s = Sale(device)

    def query(size):
        return s.message(Op.QUERY_SECTION, event=EVENT, section=0, extensions=[uc.pad((size - 72) // 8)])

    for port in s.ports:
        for sizes in ((1344, 64), (64, 1344), (704, 704), (64, 640, 704), (72, 1336), (1272, 72, 64), (64,) * 22,
                      (128,) * 11, (1280, 64, 64), (80,) * 17, (64, 64, 1280)):
            ask = [s.message(Op.STATUS, event=EVENT) if size == 64 else query(size) for size in sizes]
            assert [len(m) for m in ask] == list(sizes)
            replies = port.exchange_packed(ask)
            # A page has as many rows as its request has room for.
            got = [reply.size for reply in replies]
            assert got == [size if size != 72 else 64 for size in sizes], got
            assert statuses(replies) == ["OK"] * len(sizes)
            for size, reply in zip(sizes, replies):
                if size > 72:
                    assert reply.rows == (0, [FULL] * ((size - 72) // 8))
    # Replies that wait for the disk and are longer than a base message.
    for number, port in enumerate(s.ports):
        best = [s.message(Op.RESERVE_BEST, event=EVENT, user=s.user(), request_id=1, arg=3, extensions=[uc.pad(2)])
                for _ in range(16)]
        assert sum(map(len, best)) == uc.PAYLOAD_BYTES_MAX
        replies = port.exchange_packed(best)
        assert statuses(replies) == ["OK"] * 16 and sum(r.size for r in replies) == uc.PAYLOAD_BYTES_MAX
        taken = [(row, bit) for r in replies for row, mask in r.seats for bit in range(64) if mask >> bit & 1]
        assert len(set(taken)) == len(taken) == 16 * 3
        legs = [s.reserve(s.user(), 200 + i, 1 << number, extensions=[uc.legs([(300 + i, 1 << number)])])
                for i in range(16)]
        assert sum(map(len, legs)) == uc.PAYLOAD_BYTES_MAX
        replies = port.exchange_packed(legs)
        assert [(r.name, r.size, r.amount) for r in replies] == [("OK", 64, 5000)] * 16
    s.end()


def test_bad_part(device):
    """Goal: a fault of one message is that message's. Method: one wrong part at each place; the others are done."""
    s = Sale(device)
    wrong = [
        (dict(op=Op.RESERVE, version=9), Status.BAD_VERSION), (dict(op=Op.RESERVE, version=0), Status.BAD_VERSION),
        (dict(op=200), Status.BAD_OP), (dict(op=0), Status.BAD_OP),
        (dict(op=Op.CONFIRM, hold=1, user=1), Status.NOT_PERMITTED),
        (dict(op=Op.STATS), Status.NOT_PERMITTED), (dict(op=Op.RESERVE, reserved=1), Status.BAD_REQUEST),
        (dict(op=Op.RESERVE, count=1), Status.BAD_REQUEST), (dict(op=Op.RESERVE, count=255), Status.BAD_REQUEST),
        (dict(op=Op.RESERVE, mask=0), Status.BAD_REQUEST), (dict(op=Op.RESERVE, row=ROWS), Status.NO_SUCH_SEAT),
        (dict(op=Op.RESERVE, event=99), Status.UNKNOWN_EVENT), (dict(op=Op.RESERVE, request_id=0), Status.BAD_REQUEST),
        (dict(op=Op.RESERVE, extensions=[uc.extension(5, 0, size=1000)]), Status.BAD_REQUEST),
        (dict(op=Op.RESERVE, extensions=[uc.legs([(0, 1)] * 8)]), Status.BAD_REQUEST),
        # Its size is not a multiple of 8: bytes behind the base message that no extension accounts for.
        *((dict(op=Op.RESERVE, tail=tail), Status.BAD_REQUEST) for tail in (1, 4, 7, 8, 63)),
    ]
    user = 0
    for number, (how, status) in enumerate(wrong):
        for place in range(3):
            port = s.ports[(number + place) % 2]
            ask = []
            for i in range(4):
                user += 1
                fields = dict(event=EVENT, user=user, request_id=1, row=user // 60, mask=1 << user % 60)
                if i == place:
                    more = dict(how)
                    op, tail = more.pop("op"), more.pop("tail", 0)
                    fields = fields if op == Op.RESERVE else {}
                    size = dict(size=uc.BASE_BYTES + tail) if tail else {}
                    ask.append(s.message(op, **{**fields, **more, **size}) + bytes(tail))
                else:
                    ask.append(s.message(Op.RESERVE, **fields))
            before = s.control.stats()
            replies = port.exchange_packed(ask)
            wanted = ["OK"] * 4
            wanted[place] = status.name
            assert statuses(replies) == wanted, (how, place, statuses(replies))
            assert s.rises(before) == {"status_OK": 3, f"status_{status.name}": 1}, (how, place, s.rises(before))
            if status == Status.BAD_VERSION:
                assert replies[place].detail == replies[place].version == uc.VERSION
            if "tail" in how:
                assert replies[place].fault == Fault.EXTENSION
    s.end()


# ---------------------------------------------------------------------------------------------
# What is no datagram of several


def sized(message, size):
    return message[:4] + struct.pack("<H", size & 0xffff) + message[6:]


def bad_cuts(chance):
    """(name, payloads, counter that rises by one for each)."""
    status = uc.encode(Op.STATUS, event=rubbish.EVENT)
    seat = uc.encode(Op.RESERVE, event=rubbish.EVENT, user=1, request_id=1, mask=1)
    padded = uc.encode(Op.STATUS, extensions=[uc.pad(4)])
    yield "trailing bytes", [seat + status * k + bytes(i) for k in (1, 5) for i in range(1, 64)], "drop_SIZE"
    yield "trailing part of a request", [seat + status + status[:i] for i in range(1, 64)], "drop_SIZE"
    yield "size of a part", [seat + status * k + sized(status, i) + padded for k in (0, 1) for i in (
        0, 1, 8, 56, 63, 65, 72, 96, 127, 1408, 32768, 65535)], "drop_SIZE"
    yield "size of the last", [seat + padded + sized(status, i) for i in (
        0, 1, 63, 65, 72, 128, 1408, 65535)], "drop_SIZE"
    yield "a part shorter than a request", [sized(seat, i)[:i] + status for i in (8, 32, 56, 63)] + [
        seat + sized(status, i)[:i] + padded for i in (8, 32, 56, 63)] + [
        seat + status + sized(status, i)[:i] for i in (6, 8, 32, 56, 63)], "drop_SIZE"
    yield "size of the first", [sized(seat, i) + status for i in (0, 1, 8, 63, 65, 72, 127, 129, 65535)], "drop_SIZE"
    yield "magic of a part", [(seat * k + bytes([chance.randrange(256) & ~1]) + status[1:] + seat * (20 - k))
                              for k in range(1, 21)], "drop_SIZE"
    yield "a reply among requests", [seat + struct.pack("<H", uc.REPLY_MAGIC) + status[2:]] * 5, "drop_SIZE"
    yield "magic of the first", [b"\x54" + seat[1:] + status * k for k in range(1, 21)], "drop_MAGIC"
    yield "too long", [seat * 20 + uc.encode(Op.STATUS, extensions=[uc.pad(words)]) for words in range(8, 13)
                       ], "drop_PAYLOAD_LONG"
    yield "1,409 and 1,416 bytes", [seat * 22 + bytes(1), seat * 22 + bytes(8)] * 3, "drop_PAYLOAD_LONG"


def test_bad_cuts(device):
    """Goal: what does not add up is dropped whole, by one reason, and nothing of it is done. Method: class by class."""
    print(f"# USH_SEED={SEED}")
    rubbish.bench = bench
    feed = rubbish.Feed(device)
    chance = random.Random(SEED)
    for name, payloads, counter in bad_cuts(chance):
        for family in (4, 6):
            feed.run_class(f"{name}, IPv{family}", [rubbish.datagram(feed.mac, p, family=family) for p in payloads],
                           counter)
    good = [uc.encode(Op.STATUS, event=rubbish.EVENT, cookie=i) for i in range(MOST)]
    whole = [rubbish.datagram(feed.mac, b"".join(good[:k])) for k in (2, 11, 22)]
    feed.run_class("23 requests that add up", [rubbish.datagram(feed.mac, good[0] * 23)] * 3, "drop_PAYLOAD_LONG")
    feed.run_class("UDP checksum", [rubbish.datagram(feed.mac, b"".join(good[:k]), family=f, wrong_sum=1 << b)
                                    for f in (4, 6) for k in (2, 22) for b in range(16)], "drop_UDP_CHECKSUM")
    feed.run_class("a flipped bit", [frame[:at] + bytes([frame[at] ^ 4]) + frame[at + 1:] for frame in whole
                                     for at in range(50, len(frame), 31)], "drop_UDP_CHECKSUM")
    two = b"".join(good[:2])
    feed.run_class("IPv6 without a checksum", [rubbish.datagram(feed.mac, two, family=6, no_sum=True)] * 5,
                   "drop_UDP_CHECKSUM")
    feed.run_class("IPv4 checksum", [rubbish.ip4(feed.mac, rubbish.udp(4, two), wrong_sum=1 << b)
                                     for b in range(16)], "drop_IP_CHECKSUM")
    feed.run_class("UDP length", [rubbish.datagram(feed.mac, two, length=i) for i in (0, 7, 137, 200)],
                   "drop_UDP_LENGTH")
    feed.run_class("wrong port", [rubbish.datagram(feed.mac, two, port=9)] * 5, "drop_UDP_PORT")
    feed.run_class("one request and bytes behind the datagram", [
        rubbish.datagram(feed.mac, good[0]) + chance.randbytes(i) for i in (64, 100, 1300)], "status_OK")
    # Without a checksum under IPv4, and with bytes behind the datagram, they are as good as any.
    for frame in (rubbish.datagram(feed.mac, b"".join(good), no_sum=True), rubbish.datagram(feed.mac, two),
                  rubbish.datagram(feed.mac, two) + b"".join(good[:5]),
                  rubbish.datagram(feed.mac, b"".join(good), family=6),
                  rubbish.datagram(feed.mac, two, family=6) + good[3]):
        before = feed.control.stats()
        feed.raw.send(frame)
        wanted = MOST if len(frame) > 1400 else 2
        got = []
        feed.raw.settimeout(1)
        while sum(got) < wanted:
            data = feed.raw.recv(65536)
            if data[:6] == rubbish.THEIR_MAC:
                # The checksums of what was put together are right.
                got.append(len(uc.decode_several(data[check_sums(data)[1]:])))
        assert rubbish.rises(before, feed.control.stats()) == {"status_OK": wanted}, got
    feed.end()


# ---------------------------------------------------------------------------------------------
# Beside one another


def test_sockets_do_not_mix(device):
    """Goal: a reply goes to who asked, whoever else asks in the same moment. Method: six sockets, the same cookies."""
    s = Sale(device)
    ports = [UdpPort(bench.udp(address)) for address in (OUR4, OUR4, OUR4, OUR6, OUR6, OUR6)]
    asked = [{} for _ in ports]
    before = s.control.stats()
    for turn in range(40):
        for index, port in enumerate(ports):
            # What the box echoes tells whose it is: the request id.
            first = 10**6 * (index + 1)
            ask, count = [], 1 if index == 5 else s.chance.choice((1, 1, 2, 3, 22))
            for i in range(count):
                number = turn * MOST + i
                if (turn + i) % 3:
                    ask.append(uc.encode(Op.STATUS, event=EVENT, request_id=first + number, cookie=number))
                else:
                    ask.append(uc.encode(Op.RESERVE, event=EVENT, user=first + number, row=number % ROWS, cookie=number,
                                         request_id=first + number, mask=1 << 10 * index + number // ROWS))
            asked[index].update({uc.key_of(message): message for message in ask})
            port.send_packed(ask)
        time.sleep(0.002)
    total = 0
    for index, port in enumerate(ports):
        while asked[index]:
            reply = port.receive(2)
            assert reply is not None, f"socket {index}: {len(asked[index])} are missing"
            assert asked[index].pop(uc.key_of_reply(reply), None) is not None, f"socket {index}: {reply}"
            assert reply.status == Status.OK, reply
            total += 1
        assert port.receive(0.05) is None
        assert index != 5 or not port.packed
        port.close()
    assert s.rises(before) == {"status_OK": total}, (s.rises(before), total)
    print(f"# {total} messages")
    s.end()


def peers():
    """(MAC, family, address, port): any two differ in one thing at least."""
    addresses = {4: [socket.inet_aton(f"10.77.0.{i}") for i in (50, 51)],
                 6: [socket.inet_pton(socket.AF_INET6, a) for a in ("fd77::50", "fd77::51")]}
    return [(mac, family, address, port) for mac in (rubbish.THEIR_MAC, rubbish.OTHER_MAC) for family in (4, 6)
            for address in addresses[family] for port in (5000, 5001)]


def frame_of(peer, payload):
    mac, family, source, port = peer
    wrap = rubbish.ip4 if family == 4 else rubbish.ip6
    frame = wrap(rubbish.PCAP_MAC, rubbish.udp(family, payload, source=source, source_port=port), source=source)
    return frame[:6] + mac + frame[12:]


def check_sums(frame):
    """Lengths and checksums of a frame from the box. ret: its family, where its payload begins."""
    family, at = (4, 42) if frame[12:14] == b"\x08\x00" else (6, 62)
    length = struct.unpack_from(">H", frame, at - 4)[0]
    head = frame[26:34] if family == 4 else frame[22:54]
    sums = rubbish.pseudo(family, head[:len(head) // 2], head[len(head) // 2:], 17, length)
    assert frame[at - 2:at] != b"\0\0" and rubbish.checksum(sums + frame[at - 8:]) == 0, frame.hex()
    assert length == len(frame) - at + 8, frame.hex()
    if family == 4:
        assert rubbish.checksum(frame[14:34]) == 0, frame.hex()
        assert struct.unpack_from(">H", frame, 16)[0] == len(frame) - 14
    else:
        assert struct.unpack_from(">H", frame, 18)[0] == length
    return family, at


def test_peers_of_a_capture():
    """Goal: replies that leave together go to one peer, with good checksums. Method: bursts of a capture, peers that differ
    in one thing each; each frame of the other capture has replies to that peer only."""
    print(f"# USH_SEED={SEED}")
    chance, frames, asked = random.Random(SEED), [], {}
    for turn in range(600):
        peer = chance.choice(peers())
        parts = [uc.encode(Op.STATUS, event=EVENT, cookie=turn * MOST + i, extensions=[uc.pad(0)] * chance.randrange(2))
                 if chance.random() < .7 else
                 uc.encode(Op.RESERVE, event=EVENT, user=turn * MOST + i + 1, request_id=1, cookie=turn * MOST + i,
                           row=turn % ROWS, mask=1 << (turn // ROWS * 32 + i)) for i in range(chance.choice((1, 2, 5, 19)))]
        asked.update({uc.key_of(part): (peer, len(parts)) for part in parts})
        frames.append(frame_of(peer, b"".join(parts)))
    box = Box(BUILD, None, ["port.public.mac=02:00:00:00:00:01"])
    box.start()
    control = Client(ControlPort(box.control_path))
    control.event_load(EVENT, HALL.image())
    control.event_status(EVENT, EventStatus.ON_SALE)
    control.close()
    assert box.stop() == 0
    given, got = os.path.join(box.directory, "in.pcap"), os.path.join(box.directory, "out.pcap")
    dissector.write_capture(given, frames)
    box.command += ["--set", f"port.public.device=pcap:rx={given},tx={got}"]
    box.start()
    control = Client(ControlPort(box.control_path))
    _, waited = disks.wait_for("the capture", lambda: control.stats()["usher_rx_packets"] == len(asked))
    time.sleep(0.3)
    counters = control.stats()
    control.close()
    assert box.stop() == 0
    groups = collections.Counter()
    for frame in capture.pcap_read(got):
        family, at = check_sums(frame)
        peer = (frame[:6], family, frame[30:34] if family == 4 else frame[38:54], struct.unpack_from(">H", frame, at - 6)[0])
        replies = uc.decode_several(frame[at:])
        assert len(frame) - at <= uc.PAYLOAD_BYTES_MAX
        groups[len(replies)] += 1
        for reply in replies:
            wanted, together = asked.pop(uc.key_of_reply(reply))
            assert wanted == peer and reply.status == Status.OK, (wanted, peer, reply)
            assert together > 1 or len(replies) == 1, reply
    assert not asked, len(asked)
    assert sum(groups[n] for n in groups if n > 1) == counters["usher_port_public_tx_packed"]
    print(f"# replies to a frame: {sorted(groups.items())}; more than a datagram had: {max(groups) > 19}")
    assert max(groups) > 5


def test_admission_judges_each():
    """Goal: each message of a datagram has its own verdict, and each is counted. Method: good ones beside every kind of
    bad one, then datagrams that do not add up."""
    admission.bench = bench
    a = admission.Sale()
    past = time.time_ns() - admission.SECOND
    other_key = bytes(16)
    event = admission.OPEN
    cases = [
        ("MAC_FORGED", Status.MAC, dict(key=other_key)), ("MAC_KEY", Status.MAC, dict(key=other_key, key_id=9)),
        ("MAC_TIME", Status.MAC, dict(time_ns=past - 3600 * admission.SECOND)),
        ("TOKEN_MISSING", Status.TOKEN, dict(extensions=[])),
        ("TOKEN_FORGED", Status.TOKEN, dict(token=dict(key=other_key))),
        ("TOKEN_EXPIRED", Status.TOKEN, dict(token=dict(expiry_ns=past))),
        ("TOKEN_USER", Status.TOKEN, dict(token=dict(user=1))),
        ("TOKEN_EVENT", Status.TOKEN, dict(token=dict(event=9))),
    ]
    a.port.wait_s = 2.0
    user, cookie = 1000, 0
    for name, status, how in cases:
        for place in (0, 1, 5, 10):
            ask = []
            for i in range(11):
                user, cookie, more = user + 1, cookie + 1, dict(how) if i == place else {}
                of_token = {"event": event, "user": user, **more.pop("token", {})}
                extensions = more.pop("extensions", None)
                extensions = [admission.token(**of_token)] if extensions is None else extensions
                ask.append(a.reserve(event, user, 1, user % 8, 1 << user // 8 % 32, extensions, cookie=cookie, **more))
            before = a.control.stats()
            replies = a.port.exchange_packed(ask)
            after = a.control.stats()
            refused = replies.pop(place)
            assert (refused.status, refused.detail & 255) == (status, admission.VERDICTS[name]), (name, refused)
            # A hall this small is soon taken; that is a decision, too.
            assert {r.status for r in replies} <= {Status.OK, Status.TAKEN, Status.TAKEN_NOW}, (name, statuses(replies))
            verdicts = {k[len("usher_verdict_"):]: after[k] - before[k] for k in after
                        if k.startswith("usher_verdict_") and k != "usher_verdict_HOST" and after[k] != before[k]}
            assert verdicts == {"PASS": 10, name: 1}, (name, verdicts)
    for size in (1, 63):
        before = a.control.stats()
        a.port.socket.send(b"".join(ask) + bytes(size))
        assert a.port.receive(0.3) is None
        after = a.control.stats()
        assert after["usher_verdict_SIZE"] - before["usher_verdict_SIZE"] == 1
        assert rises(before, after) == {"drop_SIZE": 1}
    a.end()


def test_admission_limits_each():
    """Goal: a datagram of several costs what its messages cost. Method: more at once than a user has in a minute."""
    admission.bench = bench
    a = admission.Sale()
    a.port.wait_s = 2.0
    ask = [a.reserve(admission.TIGHT, 1, i, 0, 1 << i, cookie=i) for i in range(1, 10)]
    replies = a.port.exchange_packed(ask)
    limited = [i for i, reply in enumerate(replies) if reply.status == Status.RATE]
    # The others of a user whose request is being decided may be told RETRY.
    assert limited and min(limited) >= 5 and len(limited) >= 3, statuses(replies)
    assert replies[0].status == Status.OK, statuses(replies)
    assert {reply.status for reply in replies[:5]} <= {Status.OK, Status.RETRY}, statuses(replies)
    assert a.counter("usher_verdict_USER_RATE") == len(limited), limited
    a.end()


def test_filter_drops_them():
    """Goal: behind the filter in hardware only datagrams of one request pass. Method: admission.mode=hw-sim."""
    hardware.bench = bench
    hardware.need_filter()
    bench.wire()
    bench.offload("off")
    box = Box(BUILD, "af_packet:ush0", [*hardware.SMALL, "admission.mode=hw-sim"], bench.a)
    hardware.write_file(box, hardware.FILE)
    box.start()
    control = Client(ControlPort(box.control_path))
    before = None
    for address in (OUR4, OUR6):
        port = UdpPort(bench.udp(address))
        one = uc.encode(Op.STATUS, cookie=5)
        assert port.exchange(one).status == Status.OK
        time.sleep(0.1)
        before = control.stats()
        for count in (2, 3, 22):
            port.socket.send(one * count)
        port.socket.send(uc.encode(Op.STATUS, extensions=[uc.pad(100)]) + one)
        assert port.receive(0.5) is None
        after = control.stats()
        judged = after["usher_filter_verdict_SIZE"] - before["usher_filter_verdict_SIZE"]
        assert judged == 4, judged
        assert not rises(before, after)
        assert port.exchange(one).status == Status.OK and port.exchange(
            uc.encode(Op.STATUS, extensions=[uc.pad(160)])).status == Status.OK
        port.close()
    assert sums_agree(control.stats())
    control.close()
    assert box.stop() == 0


DEVICES = ("af_packet", "af_xdp")
TESTS = (test_many_reserves, test_order, test_one_id_twice, test_mixed, test_exact_sizes, test_bad_part, test_bad_cuts,
         test_sockets_do_not_mix)
TWO_LOOPS = (test_many_reserves, test_order, test_one_id_twice, test_sockets_do_not_mix)


if __name__ == "__main__":
    run_on_wire(globals(), [
        test_client_believes_nothing, *((test, device) for device in DEVICES for test in TESTS),
        *((test, "two_loops") for test in TWO_LOOPS), test_peers_of_a_capture, test_admission_judges_each, test_admission_limits_each,
        test_filter_drops_them])
