#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whatever comes has one outcome, and it is counted under its name: every kind of rubbish, class by
class, over af_packet and AF_XDP on a veth pair and from a capture file. After each class exactly the
expected counter rose by the number sent, nothing else changed, and no reply outgrew its request.

usage: test_bad_input.py BUILD-DIR [NAME-PART]...   (root; makes and removes its own namespaces)
"""
import os
import random
import socket
import struct
import sys
import time

import usher_client as uc
from usher_box import OUR4, OUR6, Box, Tap, run, run_on_wire, sums_agree
from usher_client import Client, ControlPort, EventStatus, Op, Row, Status, UdpPort, Venue

BUILD = sys.argv[1] if len(sys.argv) > 1 else "build"
SEED = int(os.environ.get("USH_SEED", "1"))
EVENT, ROWS = 3, 4
# Nobody answers for these: the peer's kernel must not take part.
THEIR_MAC, OTHER_MAC = bytes.fromhex("020000000002"), bytes.fromhex("020000000003")
THEIR4, THEIR6 = socket.inet_aton("10.77.0.99"), socket.inet_pton(socket.AF_INET6, "fd77::99")
BOX4, BOX6 = socket.inet_aton(OUR4), socket.inet_pton(socket.AF_INET6, OUR6)
PCAP_MAC = bytes.fromhex("020000000001")
# Linux names that Python's socket module lacks.
SO_RCVBUFFORCE, SOL_PACKET, PACKET_IGNORE_OUTGOING = 33, 263, 23
bench = None


# ---------------------------------------------------------------------------------------------
# Frames, right unless told otherwise


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def arp(mac, operation=1, target=BOX4, hardware=1, protocol=0x800, sizes=(6, 4), to=b"\xff" * 6):
    return to + THEIR_MAC + struct.pack(">HHHBBH", 0x806, hardware, protocol, *sizes, operation) + (
        THEIR_MAC + THEIR4 + bytes(6) + target)


def ip4(mac, body, protocol=17, source=THEIR4, target=BOX4, version=4, options=b"", length=None,
        fragment=0x4000, wrong_sum=0, ihl=None):
    ihl = (20 + len(options)) // 4 if ihl is None else ihl
    length = 20 + len(options) + len(body) if length is None else length
    head = struct.pack(">BBHHHBBH4s4s", version << 4 | ihl, 0, length, 7, fragment, 64, protocol, 0,
                       source, target) + options
    head = head[:10] + struct.pack(">H", checksum(head) ^ wrong_sum) + head[12:]
    return mac + THEIR_MAC + b"\x08\x00" + head + body


def ip6(mac, body, protocol=17, source=THEIR6, target=BOX6, version=6, length=None, hops=64):
    length = len(body) if length is None else length
    head = struct.pack(">IHBB16s16s", version << 28, length, protocol, hops, source, target)
    return mac + THEIR_MAC + b"\x86\xdd" + head + body


def pseudo(family, source, target, protocol, length):
    if family == 4:
        return source + target + struct.pack(">HH", protocol, length)
    return source + target + struct.pack(">IHBB", length, 0, 0, protocol)


def udp(family, payload, source=None, target=None, source_port=5555, port=uc.UDP_PORT, length=None,
        wrong_sum=0, no_sum=False):
    source = source or (THEIR4 if family == 4 else THEIR6)
    target = target or (BOX4 if family == 4 else BOX6)
    head = struct.pack(">HHHH", source_port, port, 8 + len(payload) if length is None else length, 0)
    total = checksum(pseudo(family, source, target, 17, 8 + len(payload)) + head + payload) or 0xffff
    total = (total ^ wrong_sum) or 0xffff
    return head[:6] + struct.pack(">H", 0 if no_sum else total) + payload


def datagram(mac, payload, family=4, **fields):
    return (ip4 if family == 4 else ip6)(mac, udp(family, payload, **fields))


def icmp(family, kind, body, code=0, wrong_sum=0, target=None):
    data = struct.pack(">BBH", kind, code, 0) + body
    prefix = b"" if family == 4 else pseudo(6, THEIR6, target or BOX6, 58, len(data))
    return data[:2] + struct.pack(">H", checksum(prefix + data) ^ wrong_sum) + data[4:]


def solicitation(mac, target=BOX6, **fields):
    hops = fields.pop("hops", 255)
    body = bytes(4) + target + b"\x01\x01" + THEIR_MAC
    return ip6(mac, icmp(6, 135, body, **fields), protocol=58, hops=hops)


# ---------------------------------------------------------------------------------------------
# Classes: (name, frames, counter that rises by one for each)


def classes_of_frames(mac, chance):
    good = uc.encode(Op.STATUS, event=EVENT)
    frame = datagram(mac, good)
    n = 20
    yield "another type", [mac + THEIR_MAC + struct.pack(">H", t) + good for t in (
        0x0000, 0x0600, 0x0801, 0x88cc, 0x8847, 0x86dc, 0xffff)], "drop_ETHER_TYPE"
    yield "another MAC", [OTHER_MAC + frame[6:]] * n, "drop_NOT_OURS"
    yield "another address", [ip4(mac, udp(4, good, target=a), target=a) for a in (
        socket.inet_aton(x) for x in ("10.77.0.3", "10.77.0.255", "255.255.255.255", "224.0.0.1", "0.0.0.0"))
        ], "drop_NOT_OURS"
    yield "another IPv6 address", [ip6(mac, udp(6, good, target=a), target=a) for a in (
        socket.inet_pton(socket.AF_INET6, x) for x in ("fd77::3", "::", "::1", "fe80::1"))], "drop_NOT_OURS"
    yield "ARP replies and others", [
        arp(mac, operation=2), arp(mac, operation=2, to=mac), arp(mac, operation=9), arp(mac, target=THEIR4),
        arp(mac, hardware=6), arp(mac, protocol=0x86dd), arp(mac, sizes=(8, 4)), arp(mac, sizes=(6, 16)),
        ], "drop_ARP_OTHER"
    yield "ARP cut short", [arp(mac)[:size] for size in range(14, 42)], "drop_FRAME_SHORT"
    yield "ARP requests", [arp(mac)] * 3 + [arp(mac, to=mac)] * 3, "answer_ARP"
    yield "IPv4 version", [ip4(mac, udp(4, good), version=v) for v in (0, 5, 6, 15)], "drop_IP_HEADER"
    yield "IPv6 version", [ip6(mac, udp(6, good), version=v) for v in (0, 4, 5, 15)], "drop_IP_HEADER"
    yield "IPv4 header length", [ip4(mac, udp(4, good), ihl=i) for i in range(5)], "drop_IP_HEADER"
    yield "IPv4 total length", [ip4(mac, udp(4, good), length=i) for i in (0, 1, 19, 27)], None
    yield "IPv4 longer than its frame", [
        ip4(mac, udp(4, good), length=i) for i in (93, 100, 1500, 65535)], "drop_IP_HEADER"
    yield "IPv6 longer than its frame", [
        ip6(mac, udp(6, good), length=i) for i in (73, 100, 1460, 65535)], "drop_IP_HEADER"
    yield "IPv4 checksum", [ip4(mac, udp(4, good), wrong_sum=1 << i) for i in range(16)], "drop_IP_CHECKSUM"
    yield "IPv4 options", [ip4(mac, udp(4, good), options=bytes([1]) * 4 * i) for i in range(1, 11)], "drop_IP_OPTIONS"
    yield "IPv6 extension headers", [
        ip6(mac, struct.pack(">BB6x", 17, 0) + udp(6, good), protocol=p) for p in (0, 43, 60)], "drop_IP_OPTIONS"
    yield "other protocols", [ip4(mac, udp(4, good), protocol=p) for p in (0, 2, 6, 47, 58, 132, 255)
                              ], "drop_IP_PROTOCOL"
    yield "other IPv6 protocols", [ip6(mac, udp(6, good), protocol=p) for p in (1, 6, 47, 59, 132)
                                   ], "drop_IP_PROTOCOL"
    sources = [socket.inet_aton(x) for x in ("224.0.0.1", "239.255.1.1", "255.255.255.255", "0.0.0.0",
                                             "127.0.0.1", "127.255.0.9")] + [BOX4]
    yield "IPv4 source", [ip4(mac, udp(4, good, source=s), source=s) for s in sources], "drop_IP_SOURCE"
    sources = [socket.inet_pton(socket.AF_INET6, x) for x in ("ff02::1", "::", "::1")] + [BOX6]
    yield "IPv6 source", [ip6(mac, udp(6, good, source=s), source=s) for s in sources], "drop_IP_SOURCE"
    echo = struct.pack(">HH", 1, 2) + b"are you there"
    yield "echo requests", [ip4(mac, icmp(4, 8, echo + bytes(i)), protocol=1) for i in (0, 1, 500, 1400)
                            ] + [ip6(mac, icmp(6, 128, echo), protocol=58)], "answer_ECHO"
    yield "ICMP checksum", [ip4(mac, icmp(4, 8, echo, wrong_sum=1 << i), protocol=1) for i in range(16)] + [
        ip6(mac, icmp(6, 128, echo, wrong_sum=1), protocol=58), solicitation(mac, wrong_sum=256)], "drop_ICMP_CHECKSUM"
    yield "other ICMP", [ip4(mac, icmp(4, k, echo), protocol=1) for k in (0, 3, 5, 11, 13, 255)] + [
        ip6(mac, icmp(6, k, echo), protocol=58) for k in (1, 2, 129, 133, 134, 136, 255)], "drop_ICMP_OTHER"
    yield "solicitations for others", [solicitation(mac, target=THEIR6), solicitation(mac, hops=64),
                                       solicitation(mac, code=1)], "drop_ICMP_OTHER"
    yield "solicitations", [solicitation(mac)] * 4, "answer_NEIGHBOUR"
    yield "UDP length", [datagram(mac, good, family=f, length=i) for f in (4, 6) for i in (0, 7, 73, 100, 65535)
                         ], "drop_UDP_LENGTH"
    yield "UDP checksum", [datagram(mac, good, family=f, wrong_sum=1 << i) for f in (4, 6) for i in range(16)
                           ], "drop_UDP_CHECKSUM"
    yield "IPv6 without a checksum", [datagram(mac, good, family=6, no_sum=True)] * n, "drop_UDP_CHECKSUM"
    yield "IPv4 without a checksum", [datagram(mac, good, no_sum=True)] * n, "status_OK"
    yield "wrong port", [datagram(mac, good, family=f, port=p) for f in (4, 6) for p in (0, 7446, 7448, 53, 65535)
                         ], "drop_UDP_PORT"
    yield "source port 0", [datagram(mac, good, family=f, source_port=0) for f in (4, 6)] * 5, "drop_UDP_PORT"
    yield "cut within the headers", [frame[:size] for size in range(14, 34)], "drop_FRAME_SHORT"
    yield "cut after the IP header", [frame[:size] for size in range(34, len(frame))], "drop_IP_HEADER"
    yield "bytes after the datagram", [frame + chance.randbytes(size) for size in (1, 4, 18, 100, 1300)], "status_OK"
    yield "random frames", [chance.randbytes(size) for size in range(14, 1501, 7)], None
    yield "random after our MAC", [mac + chance.randbytes(size) for size in range(8, 1495, 9)], None
    yield "random after the type", [
        mac + THEIR_MAC + chance.choice((b"\x08\x00", b"\x86\xdd", b"\x08\x06")) + chance.randbytes(size)
        for size in range(0, 1500, 7)], None


def fragments(mac):
    good = uc.encode(Op.STATUS, event=EVENT)
    yield "fragments", [ip4(mac, udp(4, good), fragment=f) for f in (0x2000, 0x2001, 1, 0xb9, 0x1fff)
                        ], "drop_IP_FRAGMENT"
    yield "tagged", [mac + THEIR_MAC + b"\x81\0\0\1" + datagram(mac, good)[12:]] * 5, "drop_ETHER_TYPE"


def classes_of_payloads(mac, chance):
    def each(payloads):
        return [datagram(mac, p, family=6 if i % 3 == 2 else 4) for i, p in enumerate(payloads)]

    status = uc.encode(Op.STATUS, event=EVENT)
    pad = uc.pad(0)
    reserve = dict(event=EVENT, user=1, request_id=1, mask=1)
    yield "random, short", each(chance.randbytes(i) for i in range(64)), "drop_PAYLOAD_SHORT"
    yield "random", each(chance.randbytes(i) for i in range(64, 1409, 7)), "drop_MAGIC"
    yield "random, long", [datagram(mac, chance.randbytes(i)) for i in range(1409, 1473)], "drop_MAGIC"
    yield "oversized", [datagram(mac, status + bytes(i)) for i in range(1345, 1409)], "drop_PAYLOAD_LONG"
    yield "cut requests", each(status[:i] for i in range(64)), "drop_PAYLOAD_SHORT"
    yield "too long a request", each([uc.encode(Op.STATUS, extensions=[uc.pad(i)]) for i in (168, 170, 172)]
                                     ), "drop_PAYLOAD_LONG"
    yield "replies", each([struct.pack("<H", uc.REPLY_MAGIC) + status[2:]] * 9), "drop_MAGIC"
    yield "size field", each(uc.encode(Op.STATUS, size=i) for i in (0, 1, 63, 65, 72, 1408, 65535)), "drop_SIZE"
    yield "bytes after the request", each(status + bytes(i) for i in range(1, 60)), "drop_SIZE"
    yield "versions", each(uc.encode(Op.RESERVE, version=v, **reserve) for v in range(256) if v != 1
                           ), "status_BAD_VERSION"
    yield "operations", each(uc.encode(op) for op in set(range(256)) - set(Op)), "status_BAD_OP"
    yield "privileged", each(uc.encode(op, event=EVENT) for op in uc.CONTROL_OPS), "status_NOT_PERMITTED"
    yield "seat twice", each(uc.encode(Op.RESERVE, extensions=[uc.legs(pairs)], **reserve) for pairs in (
        [(0, 1)], [(0, 2)], [(1, 1), (1, 1)], [(1, 1), (2, 1), (3, 1), (1, 2)])), "status_BAD_REQUEST"
    yield "seats out of range", each(uc.encode(Op.RESERVE, **dict(reserve, row=row, mask=mask)) for row, mask in (
        (ROWS, 1), (65535, 1), (0, 1 << 63), (0, 1 << 40 | 1), (3, 2**64 - 1))), "status_NO_SUCH_SEAT"
    yield "unknown events", each(uc.encode(Op.RESERVE, **dict(reserve, event=e)) for e in (
        0, 1, 65535, 65536, 2**31, 2**32 - 1)), "status_UNKNOWN_EVENT"
    yield "unknown extensions", each(uc.encode(Op.STATUS, extensions=[uc.extension(t, 0)])
                                     for t in set(range(256)) - {2, 3, 4, 5, 6, 7}), "status_BAD_REQUEST"
    yield "nine extensions", each(uc.encode(Op.STATUS, extensions=[uc.extension(t, 0) for t in types])
                                  for types in ([5] * 9, range(5, 14), range(9))), "status_BAD_REQUEST"
    yield "extension loops", each(uc.encode(Op.STATUS, extensions=[uc.extension(5, 0, bytes(b), size=s)], count=c)
                                  for b in (0, 8, 64, 1000) for s in (0, 1, 4, 7, 12, 65528, 65535)
                                  for c in (1, 8, 9, 255)), "status_BAD_REQUEST"
    yield "extensions not counted", each(uc.encode(Op.STATUS, extensions=[pad] * k, count=c) for k, c in (
        (0, 1), (1, 0), (1, 2), (8, 255), (0, 255))), "status_BAD_REQUEST"
    yield "reserved byte", each(uc.encode(Op.STATUS, reserved=i) for i in range(1, 256)), "status_BAD_REQUEST"
    yield "unused fields", each(uc.encode(Op.STATUS, **{f: 1}) for f in (
        "user", "hold", "mask", "row", "section", "hold_ms", "arg")), "status_BAD_REQUEST"
    yield "sections", each(uc.encode(Op.QUERY_SECTION, event=EVENT, section=s, row=r, extensions=[uc.pad(4)])
                           for s, r in ((1, 0), (65535, 0), (0, ROWS), (0, 65535))), "status_BAD_REQUEST"
    yield "ten bits wrong", each(flip(status, chance, 10) for _ in range(300)), None
    yield "a bit wrong", each(status[:i // 8] + bytes([status[i // 8] ^ 1 << i % 8]) + status[i // 8 + 1:]
                              for i in range(512)), None


def flip(data, chance, count):
    data = bytearray(data)
    for _ in range(count):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


# ---------------------------------------------------------------------------------------------
# What is counted


OUTCOMES = ("usher_status_", "usher_answer_", "usher_drop_")
# What must not change by rubbish: anything else of the box that tells of a decision or a record.
STILL = ("usher_records", "usher_expired", "usher_repeated", "usher_waiting", "usher_journal_writes",
         "usher_journal_reserved_sequence", "usher_journal_durable_sequence", "usher_journal_blocks",
         f"usher_event_{EVENT}_")


def rises(before, after):
    """Outcomes that rose, without the common prefix."""
    return {k[len("usher_"):]: after[k] - before[k] for k in after
            if k.startswith(OUTCOMES) and after[k] != before[k]}


def check_still(before, after):
    moved = [k for k in after if k.startswith(STILL) and after[k] != before[k]]
    assert not moved, moved


def payload_of(frame):
    """UDP payload of a frame with UDP, else None."""
    if len(frame) < 62:
        return None
    if frame[12:14] == b"\x08\x00" and frame[23] == 17:
        return frame[42:14 + struct.unpack_from(">H", frame, 16)[0]]
    if frame[12:14] == b"\x86\xdd" and frame[20] == 17:
        return frame[62:]
    return None


class Feed:
    """Frames to a box, and what comes back."""

    def __init__(self, device):
        bench.offload("off")
        # The peer's kernel says nothing of its own.
        run("ip", "netns", "exec", bench.b, "sysctl", "-qw", "net.ipv6.conf.ush1.disable_ipv6=1")
        self.box = Box(BUILD, f"{device}:ush0", ["port.public.checksum_rx=verify"], bench.a)
        try:
            self.box.start()
        except RuntimeError as error:
            if device == "af_xdp" and "net_af_xdp" in str(error):
                raise Tap.Skip("no AF_XDP here") from error
            raise
        self.mac = bench.mac(bench.a, "ush0")
        run("ip", "-n", bench.b, "neigh", "replace", OUR4, "lladdr",
            ":".join(f"{b:02x}" for b in self.mac), "dev", "ush1", "nud", "permanent")
        self.control = Client(ControlPort(self.box.control_path))
        self.raw = bench.raw()
        self.raw.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        self.raw.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.udp = Client(UdpPort(bench.udp(OUR4)))
        open_event(self.control)
        # What the kernels still had to say about the new link.
        time.sleep(0.3)

    def replies(self, count):
        """Frames from the box; waits for `count`, and a little for one more."""
        got = []
        self.raw.settimeout(1)
        try:
            while True:
                data = self.raw.recv(65536)
                if data[:6] == THEIR_MAC and data[6:12] == self.mac:
                    got.append(data)
                if len(got) >= count:
                    self.raw.settimeout(0.005)
        except socket.timeout:
            return got

    def run_class(self, name, frames, counter):
        before = self.control.stats()
        for at in range(0, len(frames), 50):
            for data in frames[at:at + 50]:
                self.raw.send(data)
            time.sleep(0.005)
        end = time.monotonic() + 60
        while True:
            after = self.control.stats()
            come = after["usher_rx_packets"] - before["usher_rx_packets"]
            if come >= len(frames) or time.monotonic() > end:
                break
            time.sleep(0.01)
        rose = rises(before, after)
        assert come == len(frames), f"{name}: {come} of {len(frames)} came, {rose}"
        if counter is None:
            print(f"# {name}: {rose}")
        else:
            assert rose == {counter: len(frames)}, f"{name}: {rose}, wanted {counter} {len(frames)}"
        assert sums_agree(after), name
        check_still(before, after)
        answered = sum(v for k, v in rose.items() if not k.startswith("drop_"))
        replies = self.replies(answered)
        assert len(replies) == answered, f"{name}: {len(replies)} replies, {answered} counted"
        self.check_sizes(name, frames, replies)
        reply = self.udp.call(Op.STATUS)
        assert reply.status == Status.OK, name

    @staticmethod
    def check_sizes(name, frames, replies):
        asked = {}
        for data in frames:
            payload = payload_of(data)
            if payload is not None and len(payload) >= 64:
                key = payload[12:16] + payload[48:56]
                asked[key] = max(asked.get(key, 0), len(payload))
        longest = max(map(len, frames))
        for data in replies:
            assert len(data) <= max(longest, 60), f"{name}: {len(data)} bytes"
            payload = payload_of(data)
            if payload is not None:
                reply = uc.decode(payload)
                key = struct.pack("<IQ", reply.request_id, reply.cookie)
                assert len(payload) <= asked[key], f"{name}: longer than its request"

    def end(self):
        counters = self.control.stats()
        self.control.close()
        self.udp.close()
        self.raw.close()
        assert sums_agree(counters)
        assert self.box.stop() == 0
        verdict = run(os.path.join(BUILD, "tools/usher"), "verify", self.box.state, check=False)
        assert verdict.returncode == 0, verdict.stdout


def open_event(control):
    control.event_load(EVENT, Venue([[Row((1 << 40) - 1)] * ROWS]).image())
    control.event_status(EVENT, EventStatus.ON_SALE)


# ---------------------------------------------------------------------------------------------
# Tests


# Goal: each class of broken frame is counted under its reason.
def test_frames(device):
    print(f"# USH_SEED={SEED}")
    feed = Feed(device)
    for name, frames, counter in classes_of_frames(feed.mac, random.Random(SEED)):
        feed.run_class(name, frames, counter)
    if device != "af_packet":
        # af_packet's kernel keeps fragments back and takes tags off.
        for name, frames, counter in fragments(feed.mac):
            feed.run_class(name, frames, counter)
    feed.end()


# Goal: each class of broken payload is counted under its reason, and refused in no more bytes.
def test_payloads(device):
    print(f"# USH_SEED={SEED}")
    feed = Feed(device)
    for name, frames, counter in classes_of_payloads(feed.mac, random.Random(SEED)):
        feed.run_class(name, frames, counter)
    feed.end()


# Goal: the same from a capture, where frames can be shorter and longer than a kernel sends.
def test_capture():
    print(f"# USH_SEED={SEED}")
    chance = random.Random(SEED)
    classes = [*classes_of_frames(PCAP_MAC, chance), *fragments(PCAP_MAC),
               *classes_of_payloads(PCAP_MAC, chance),
               ("runts", [chance.randbytes(i) for i in range(1, 14)], "drop_FRAME_SHORT"),
               ("runts with our MAC", [PCAP_MAC + bytes(i) for i in range(8)], "drop_FRAME_SHORT")]
    frames = [data for _, of_class, _ in classes for data in of_class]
    box = Box(BUILD, None, ["port.public.mac=02:00:00:00:00:01"])
    box.start()
    control = Client(ControlPort(box.control_path))
    open_event(control)
    control.close()
    assert box.stop() == 0
    given, got = os.path.join(box.directory, "in.pcap"), os.path.join(box.directory, "out.pcap")
    with open(given, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for i, data in enumerate(frames):
            f.write(struct.pack("<IIII", 1, i, len(data), len(data)) + data)
    box.command += ["--set", f"port.public.device=pcap:rx={given},tx={got}"]
    box.start()
    control = Client(ControlPort(box.control_path))
    end = time.monotonic() + 60
    while (counters := control.stats())["usher_rx_packets"] < len(frames) and time.monotonic() < end:
        time.sleep(0.05)
    control.close()
    assert counters["usher_rx_packets"] == len(frames)
    assert sums_agree(counters)
    least = {}
    for _, of_class, counter in classes:
        least[counter] = least.get(counter, 0) + len(of_class)
    free = least.pop(None)
    for counter, count in least.items():
        assert count <= counters["usher_" + counter] <= count + free, (counter, count, counters["usher_" + counter])
    assert box.stop() == 0
    verdict = run(os.path.join(BUILD, "tools/usher"), "verify", box.state, check=False)
    assert verdict.returncode == 0, verdict.stdout


if __name__ == "__main__":
    run_on_wire(globals(), [(test_frames, "af_packet"), (test_frames, "af_xdp"), (test_payloads, "af_packet"),
                            (test_payloads, "af_xdp"), test_capture])
