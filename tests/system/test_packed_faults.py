#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Datagrams of several messages in bad times, against a real usherd behind a veth pair: a disk that stands still,
more of them than there are buffers, random ones, a stop among them, kill -9.

usage: test_packed_faults.py BUILD-DIR [NAME-PART]...   (root, loop devices; makes and removes its own namespaces)
"""
import collections
import fcntl
import os
import select
import signal
import struct
import sys
import time

import test_bad_disks as disks
import test_packed as packed
import usher_client as uc
from test_packed import EVENT, MOST, ROWS, SEED, statuses
from usher_box import OUR4, OUR6, run_on_wire, sums_agree
from usher_client import Op, Status, UdpPort

BUILD = sys.argv[1] if len(sys.argv) > 1 else "build"
# <linux/fs.h>
FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
bench = None


def begin(*arguments, **more):
    packed.bench = bench
    return packed.Sale(*arguments, **more)


# ---------------------------------------------------------------------------------------------
# Disks and ends


def test_refusal_does_not_wait():
    """Goal: a refusal leaves at once although an OK of the same datagram is not durable yet. Method: a disk that stands
    still: its file system is frozen for a while."""
    disk = disks.Disk(64)
    s = begin(state=os.path.join(disk.mountpoint, "state"))
    folder = os.open(disk.mountpoint, os.O_RDONLY)
    for number, port in enumerate(s.ports):
        mine = [s.reserve(10 * (number + 1) + i, number, 1 << i) for i in range(4)]
        bad = [s.message(Op.RESERVE, event=99, user=1, request_id=1, mask=1), s.message(200), s.reserve(3, ROWS, 1)]
        ask = [mine[0], bad[0], mine[1], bad[1], mine[2], bad[2], mine[3]]
        os.sync()
        fcntl.ioctl(folder, FIFREEZE, 0)
        try:
            begun = time.monotonic()
            port.send_packed(ask)
            early = []
            while (reply := port.receive(0.5)) is not None:
                early.append(reply)
            frozen = time.monotonic() - begun
        finally:
            fcntl.ioctl(folder, FITHAW, 0)
        late = [port.receive(5) for _ in mine]
        assert sorted(map(uc.key_of_reply, early)) == sorted(map(uc.key_of, bad)), statuses(early)
        assert [r and r.status for r in late] == [Status.OK] * 4, late
        assert sorted(map(uc.key_of_reply, late)) == sorted(map(uc.key_of, mine))
        print(f"# {statuses(early)} within {frozen - 0.5:.3f} s, OKs {port.grouped[-3:]} to a datagram")
        assert frozen < 0.9, frozen
    os.close(folder)
    s.end()
    s.box.remove()
    disk.remove()


def test_more_than_there_are_buffers():
    """Goal: a flood while the disk stands still harms nothing that follows. Method: replies wait in buffers, more
    than there are; afterwards each is asked again, and done once."""
    disk = disks.Disk(64)
    s = begin(sets=["memory.mbufs=2048"], state=os.path.join(disk.mountpoint, "state"))
    folder = os.open(disk.mountpoint, os.O_RDONLY)
    sets = [[s.message(Op.RESERVE_BEST, event=EVENT, user=s.user(), request_id=1, arg=3, extensions=[uc.pad(2)])
             for _ in range(16)] for _ in range(300)]
    assert s.port.exchange(s.message(Op.STATUS)).status == Status.OK
    os.sync()
    fcntl.ioctl(folder, FIFREEZE, 0)
    try:
        for ask in sets:
            s.port.send_packed(ask)
            time.sleep(0.001)
        time.sleep(0.5)
        waiting = s.control.stats()["usher_waiting"]
    finally:
        fcntl.ioctl(folder, FITHAW, 0)
    told = collections.Counter()
    while (reply := s.port.receive(1.0)) is not None:
        told[reply.name] += 1
    counters = s.control.stats()
    assert sums_agree(counters), counters
    print(f"# {waiting} waited, replies {dict(told)}, TX_FULL {counters['usher_drop_TX_FULL']}")
    assert waiting > 1000 and set(told) <= {"OK", "BUSY"} and told["OK"] > 100, told
    holds, taken = set(), set()
    for ask in sets:
        for message in ask:
            reply = s.port6.exchange(message)
            assert reply.status == Status.OK, reply
            holds.add(reply.hold)
            taken |= {(row, bit) for row, mask in reply.seats for bit in range(64) if mask >> bit & 1}
    assert (len(holds), len(taken)) == (16 * 300, 3 * 16 * 300)
    os.close(folder)
    s.end()
    s.box.remove()
    disk.remove()


def test_stop_under_way(device):
    """Goal: usherd ends well amid datagrams of several, and what was told before holds after it. Method: SIGTERM."""
    s = begin(device)
    told = {}
    for round_number in range(3):
        ask = [[s.reserve(s.user(), 100 * round_number + i, 1 << j) for j in range(MOST)] for i in range(90)]
        for part in ask:
            s.port.send_packed(part)
        s.restart(signal.SIGTERM)
        of = {uc.key_of(message): message for part in ask for message in part}
        while (reply := s.port.receive(0.3)) is not None:
            if reply.status == Status.OK:
                told[of[uc.key_of_reply(reply)]] = reply
        messages = list(told)
        for at in range(0, len(messages), MOST):
            part = messages[at:at + MOST]
            for message, reply in zip(part, s.port6.exchange_packed(part)):
                assert (reply.status, reply.hold, reply.detail) == (Status.OK, told[message].hold, 1), reply
    print(f"# {len(told)} of {3 * 90 * MOST} were answered")
    assert len(told) > MOST
    s.end()


def test_killed(device):
    """Goal: sales outlive kill -9. Method: the same ids have the same answers before and after."""
    s = begin(device)
    told = {}
    for turn in range(30):
        port = s.ports[turn % 2]
        ask = [s.reserve(1000 * turn + i + 1, 12 * turn + i // 2, 1 << 20 * (i % 2)) for i in range(MOST)]
        for message, reply in zip(ask, port.exchange_packed(ask)):
            assert reply.status == Status.OK and reply.detail == 0
            told[message] = reply
    # These may be done or not.
    open_ = [s.reserve(10**6 + i, 399, 1 << i) for i in range(MOST)]
    s.port.send_packed(open_)
    s.restart(signal.SIGKILL)
    s.ports = [UdpPort(bench.udp(address), wait_s=2.0) for address in (OUR4, OUR6)]
    messages = list(told)
    s.chance.shuffle(messages)
    for at in range(0, len(messages), MOST):
        part = messages[at:at + MOST]
        for message, reply in zip(part, s.ports[at // MOST % 2].exchange_packed(part)):
            first = told[message]
            assert reply.status == Status.OK and reply.detail == 1, reply
            assert (reply.hold, reply.sequence) == (first.hold, first.sequence), (reply, first)
    assert statuses(s.ports[0].exchange_packed(open_)) == ["OK"] * MOST
    free = s.control.query_section(EVENT, 0)
    assert sum(64 - mask.bit_count() for mask in free.values()) == len(told) + MOST
    s.end()


# ---------------------------------------------------------------------------------------------
# Chance


def mutate(chance, payload):
    """A datagram of several, hurt or not."""
    data = bytearray(payload)
    for _ in range(chance.choice((0, 0, 1, 1, 2, 5))):
        kind, at = chance.randrange(7), chance.randrange(max(len(data), 1))
        if not data:
            break
        if kind == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data += chance.randbytes(chance.randrange(1, 80))
        elif kind == 3 and len(data) > 64:
            at = at // 64 * 64
            data[at + 4:at + 6] = struct.pack("<H", chance.choice((0, 8, 63, 64, 72, 128, 192, 1408, 65535)))
        elif kind == 4:
            del data[at:at + chance.randrange(1, 130)]
        elif kind == 5:
            data[at:at] = data[at // 64 * 64:at // 64 * 64 + 64 * chance.randrange(3)]
        else:
            data[at // 64 * 64 + chance.randrange(8):at // 64 * 64 + 8] = b""
    return bytes(data[:1450])


def drain(udp, wait=0.0):
    """Datagrams that wait at a socket."""
    got = []
    while select.select([udp], [], [], wait)[0]:
        got.append(udp.recv(65536))
    return got


def test_fuzz(device):
    """Goal: no datagram does harm, or is answered in more bytes. Method: messages, cuts and faults from a seed."""
    print(f"# USH_SEED={SEED}")
    s = begin(device)
    chance = s.chance
    udps = [bench.udp(address) for address in (OUR4, OUR6, OUR4)]
    sent, got, groups = [0] * 3, [0] * 3, collections.Counter()

    def take(wait):
        for i, udp in enumerate(udps):
            for data in drain(udp, wait):
                got[i] += len(data)
                assert len(data) <= uc.PAYLOAD_BYTES_MAX
                groups[len(uc.decode_several(data))] += 1
            assert got[i] <= sent[i], f"{got[i]} bytes to {sent[i]}"

    others = [lambda: s.message(Op.RESERVE, event=EVENT, user=chance.randrange(1, 40), row=chance.randrange(ROWS + 2),
                                request_id=chance.randrange(1, 90), mask=1 << chance.randrange(64)),
              lambda: s.message(Op.RELEASE, event=EVENT, user=chance.randrange(1, 40), hold=chance.getrandbits(64) | 1,
                                request_id=chance.randrange(1, 90)),
              lambda: s.message(Op.QUERY_SECTION, event=EVENT, section=0, row=chance.randrange(ROWS), extensions=[
                  uc.pad(chance.randrange(100))]),
              lambda: s.message(Op.RESERVE_BEST, event=EVENT, user=chance.randrange(1, 40), arg=chance.randrange(1, 9),
                                request_id=chance.randrange(1, 90), extensions=[uc.pad(2 * chance.randrange(1, 9))]),
              lambda: s.message(chance.randrange(256), event=chance.choice((EVENT, 0, 99)), user=1, request_id=1)]
    for turn in range(4000):
        ask, room = [], uc.PAYLOAD_BYTES_MAX
        for _ in range(chance.randrange(1, 24)):
            message = chance.choice(others)()
            if len(message) > room:
                break
            ask.append(message)
            room -= len(message)
        index = turn % 3
        payload = mutate(chance, b"".join(ask))
        udps[index].send(payload)
        sent[index] += len(payload)
        take(0)
        if turn % 50 == 49:
            assert s.port.exchange(s.message(Op.STATUS, event=EVENT)).status == Status.OK
            # What the other loop has under way is between two counters.
            disks.wait_for(f"sums at turn {turn}", lambda: sums_agree(s.control.stats()), 5)
    take(0.3)
    for udp in udps:
        udp.close()
    print(f"# {sum(sent)} bytes; {sum(got)} bytes back, replies to a datagram: {sorted(groups.items())}")
    assert sum(groups.values()) > 500 and max(groups) > 5
    counters = s.end()
    assert counters["usher_drop_SIZE"] > 100 and counters["usher_status_OK"] > 1000


TESTS = (test_stop_under_way, test_killed, test_fuzz)


if __name__ == "__main__":
    run_on_wire(globals(), [
        test_refusal_does_not_wait, test_more_than_there_are_buffers,
        *((test, device) for device in packed.DEVICES for test in TESTS), (test_fuzz, "two_loops")])
