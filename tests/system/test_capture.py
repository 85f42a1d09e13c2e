#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Captures, both ways: a generated one replayed by tcpreplay and by net_pcap, and a live one decoded
by tshark with the dissector.

usage: test_capture.py BUILD-DIR [NAME-PART]...   (root, tcpreplay, tshark, dumpcap)
"""
import collections
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

import test_dissector as dissector
import usher_client as uc
from usher_box import OUR4, OUR6, Box, Tap, run, run_on_wire, sums_agree
from usher_client import Client, ControlPort, EventStatus, Op, Row, Status, UdpPort, Venue

BUILD = sys.argv[1] if len(sys.argv) > 1 else "build"
USHER = os.path.join(BUILD, "tools/usher")
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
EVENT, PCAP_MAC = 1, "02:00:00:00:00:01"
REQUESTS, PROBE = 4000, 0x70726f62
# Linux names that Python's socket module lacks.
SO_RCVBUFFORCE, SOL_PACKET, PACKET_IGNORE_OUTGOING = 33, 263, 23
CHANGES = (Op.RESERVE, Op.RELEASE)
bench = None


def need(*programs):
    for name in programs:
        if not shutil.which(name):
            raise Tap.Skip(f"no {name}")


# ---------------------------------------------------------------------------------------------
# Capture files


def pcap_read(path):
    """Frames of a classic capture file, micro- or nanoseconds."""
    data = pathlib.Path(path).read_bytes()
    assert struct.unpack_from("<I", data)[0] in (0xa1b2c3d4, 0xa1b23c4d), data[:4].hex()
    at, frames = 24, []
    while at < len(data):
        size, whole = struct.unpack_from("<II", data, at + 8)
        assert size == whole
        frames.append(data[at + 16:at + 16 + size])
        at += 16 + size
    return frames


def payload_of(frame):
    """UDP payload of a frame, None of others."""
    if frame[12:14] == b"\x08\x00" and len(frame) >= 42 and frame[14] == 0x45 and frame[23] == 17:
        return frame[42:14 + struct.unpack_from(">H", frame, 16)[0]]
    if frame[12:14] == b"\x86\xdd" and len(frame) >= 62 and frame[20] == 17:
        return frame[62:54 + struct.unpack_from(">H", frame, 18)[0]]
    return None


class Asked:
    """A request as it was captured."""

    def __init__(self, data):
        (self.magic, self.version, self.op, self.size, self.extension_count, _, self.event,
         self.request_id, self.user, self.hold, self.mask, self.row, self.section, self.hold_ms,
         self.cookie, self.arg) = uc._REQUEST.unpack_from(data)
        self.data = data

    @property
    def leg_count(self):
        if self.extension_count and self.data[64] == uc.Extension.LEGS:
            return 1 + struct.unpack_from("<I", self.data, 68)[0]
        return 1


def requests_of(frames):
    """Requests that begin as one should, by cookie. Copies of one request share it."""
    asked = {}
    for frame in frames:
        data = payload_of(frame)
        if data is not None and len(data) >= 64 and data[:3] == b"\x55\x51\x01":
            asked.setdefault(Asked(data).cookie, Asked(data))
    return asked


def acknowledgements(asked, replies):
    """An acknowledgement file, as docs/protocol.md lays it out."""
    entry = struct.Struct("<QQQQQIIHBBIQ")
    assert entry.size == 64
    out = [entry.pack(0x314b434148535355, *[0] * 11)]
    for reply in replies:
        if reply.status == Status.OK and reply.op in CHANGES and reply.detail == 0:
            request = asked[reply.cookie]
            legs = request.op == Op.RESERVE
            out.append(entry.pack(
                0, request.user, reply.hold, reply.sequence, request.mask if legs else 0, request.event,
                request.request_id, request.row if legs else 0, request.op, reply.status,
                request.leg_count if legs else 0, reply.amount))
    return b"".join(out)


def journal(box):
    """Count of records by type, and of holds."""
    counts, holds = collections.Counter(), 0
    for line in run(USHER, "journal", "cat", "--json", box.state).stdout.splitlines():
        record = json.loads(line)
        counts[record["type"]] += 1
        holds += record["type"] == "HOLD" and record["run_index"] == 0
    return counts, holds


# ---------------------------------------------------------------------------------------------
# A generated capture


def write_flood(box, mac, mix):
    image, pcap = os.path.join(box.directory, "venue.img"), os.path.join(box.directory, "flood.pcap")
    run(USHER, "event", "compile", str(ROOT / "venues/theatre.json"), "-o", image)
    result = run(USHER, "load", "--write-pcap", pcap, "--requests", str(REQUESTS), "--rate", "20k",
                 "--venue", image, "--event", str(EVENT), "--peer-mac", mac, "--users", "900", "--mix", mix)
    assert os.path.getsize(pcap) > REQUESTS * 64, result.stdout
    return image, pcap


def open_sale(box, image):
    control = Client(ControlPort(box.control_path))
    with open(image, "rb") as file:
        control.event_load(EVENT, file.fileno())
    control.event_status(EVENT, EventStatus.ON_SALE)
    return control


def check_sale(box, frames, replies):
    """What was granted is what the journal says; nothing acknowledged is lost, nothing sold twice."""
    asked = requests_of(frames)
    granted = {r.hold for r in replies if r.status == Status.OK and r.op == Op.RESERVE}
    fresh = [r for r in replies if r.status == Status.OK and r.op == Op.RESERVE and r.detail == 0]
    assert len(fresh) == len(granted) > 100, (len(fresh), len(granted))
    counts, holds = journal(box)
    assert holds == len(granted), (holds, len(granted))
    stat = json.loads(run(USHER, "journal", "stat", "--json", box.state).stdout)
    assert all(stat[kind] == count for kind, count in counts.items() if kind in stat), (stat, counts)
    assert stat["HOLD"] == counts["HOLD"] >= holds
    acks = os.path.join(box.directory, "acks")
    pathlib.Path(acks).write_bytes(acknowledgements(asked, replies))
    verdict = run(USHER, "verify", "--acks", acks, box.state, check=False)
    assert verdict.returncode == 0, verdict.stdout
    # A file that claims more than the box said is found out.
    forged = bytearray(pathlib.Path(acks).read_bytes()[:128])
    forged[80] ^= 1
    pathlib.Path(acks).write_bytes(forged)
    assert run(USHER, "verify", "--acks", acks, box.state, check=False).returncode == 1
    return len(granted)


def received_replies(raw):
    """All that is there to be read, and what comes within 0.3 s."""
    raw.settimeout(0.3)
    replies = []
    try:
        while True:
            data = payload_of(raw.recv(65536))
            if data and data[:2] == b"\x55\x52":
                replies.append(uc.decode(data))
    except socket.timeout:
        raw.close()
        return replies


MIX = "uniform=55,hot=15,multi=10,retry=10,double=5,status=5"


# Goal: any packet generator can replay our traffic. Method: tcpreplay onto the veth, checksums
# verified; all of it is answered or counted, and the grants are what the journal has.
def test_tcpreplay():
    need("tcpreplay")
    bench.offload("off")
    box = Box(BUILD, "af_packet:ush0", ["port.public.checksum_rx=verify"], bench.a).start()
    mac = ":".join(f"{b:02x}" for b in bench.mac(bench.a, "ush0"))
    image, pcap = write_flood(box, mac, MIX + ",malformed=10")
    control = open_sale(box, image)
    frames = pcap_read(pcap)
    # The kernel beside af_packet waits for the rest of a fragment.
    coming = [f for f in frames if f[12:14] != b"\x08\x00" or not struct.unpack_from(">H", f, 20)[0] & 0x3fff]
    before = control.stats()
    raw = bench.raw()
    raw.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    raw.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    run("ip", "netns", "exec", bench.b, "tcpreplay", "-q", "-i", "ush1", "--pps", "4000", pcap)
    end = time.monotonic() + 60
    while True:
        counters = control.stats()
        rise = {k: counters[k] - before[k] for k in counters if k in before}
        if rise["usher_rx_packets"] >= len(coming) or time.monotonic() > end:
            break
        time.sleep(0.05)
    replies = received_replies(raw)
    counters = control.stats()
    control.close()
    rise = {k: counters[k] - before[k] for k in counters if k in before}
    assert sums_agree(counters)
    statuses = collections.Counter(uc.name_of(Status, r.status) for r in replies)
    # Others may be heard on the link: address resolution of the peer's kernel.
    assert rise["usher_rx_packets"] >= len(coming), (rise["usher_rx_packets"], len(coming), len(frames))
    for status in Status:
        assert rise["usher_status_" + status.name] == statuses[status.name], (
            status.name, rise["usher_status_" + status.name], statuses)
    dropped = {k: v for k, v in rise.items() if k.startswith("usher_drop_") and v}
    print(f"# {len(coming)} of {len(frames)} frames: {dict(statuses)}, {dropped}")
    assert sum(dropped.values()) + len(replies) >= len(coming)
    assert box.stop() == 0
    print(f"# {check_sale(box, frames, replies)} holds")


# Goal: a capture file as the device. Method: as above, replies from the file; one to each request.
def test_net_pcap():
    need("tshark")
    box = Box(BUILD, None, [f"port.public.mac={PCAP_MAC}"]).start()
    image, pcap = write_flood(box, PCAP_MAC, MIX)
    open_sale(box, image).close()
    assert box.stop() == 0
    got = os.path.join(box.directory, "replies.pcap")
    box.command += ["--set", f"port.public.device=pcap:rx={pcap},tx={got}"]
    box.start()
    frames = pcap_read(pcap)
    control = Client(ControlPort(box.control_path))
    end = time.monotonic() + 60
    while control.stats()["usher_rx_packets"] < len(frames) and time.monotonic() < end:
        time.sleep(0.05)
    counters = control.stats()
    control.close()
    assert sums_agree(counters) and counters["usher_rx_packets"] == len(frames)
    assert box.stop() == 0
    replies = [uc.decode(payload_of(frame)) for frame in pcap_read(got)]
    wanted = collections.Counter(Asked(payload_of(frame)).cookie for frame in frames)
    assert collections.Counter(r.cookie for r in replies) == wanted, "one reply to each request"
    shown = dissector.run_tshark(pathlib.Path(got), "-T", "fields", "-e", "usher.cookie", "-e", "usher.op", "-e",
                                 "usher.status", "-e", "_ws.expert", "-e", "_ws.malformed", "-E", "separator=,")
    told = [tuple(int(x, 0) if x else None for x in line.split(",")) for line in shown.splitlines()]
    assert told == [(r.cookie, r.op, r.status, None, None) for r in replies]
    print(f"# {len(frames)} frames, {check_sale(box, frames, replies)} holds")


# ---------------------------------------------------------------------------------------------
# A live capture


class Live:
    """dumpcap on the peer's interface, from when it has seen a first exchange."""

    def __init__(self, box):
        self.path = os.path.join(box.directory, "live.pcap")
        self.log_path = self.path + ".log"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", bench.b, "dumpcap", "-i", "ush1", "-P", "-B", "16", "-w", self.path, "-f",
                 f"udp port {uc.UDP_PORT}"], stderr=log, stdout=log)
        end = time.monotonic() + 60
        probe = Client(UdpPort(bench.udp(OUR4)))
        while "Packets: " not in self.log():
            assert self.process.poll() is None and time.monotonic() < end, self.log()
            probe.call(Op.STATUS, request_id=PROBE)
            time.sleep(0.05)
        probe.close()

    def log(self):
        return pathlib.Path(self.log_path).read_text()

    def stop(self):
        time.sleep(0.5)
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)
        text = self.log()
        assert re.search(r"dropped on interface 'ush1': \d+/0 ", text), text
        return pcap_read(self.path)


class Recording(Client):
    """Keeps what was said."""

    def __init__(self, port, said):
        super().__init__(port)
        self.said = said

    def call(self, op, fd=None, **fields):
        fields.setdefault("cookie", self.random.getrandbits(64))
        reply = super().call(op, fd, **fields)
        self.said.append((uc.encode(op, **fields), reply))
        return reply


def hold_session(udp, control):
    """Every operation, with every extension, and a fair choice of refusals."""
    extensions = [uc.client_address("192.0.2.7"), uc.token(1, 2, 3, 4, 5, 6), uc.work(5, 6, 7), uc.ticket(8, 9, 10, 11),
                  uc.pad(2), uc.mac(12, 13, 14, 15)]
    user = 1000 + len(udp.said)
    row = 1 if user == 1000 else 9
    udp.call(Op.STATUS)
    udp.call(Op.STATUS, event=EVENT, extensions=extensions)
    udp.call(Op.STATUS, event=999)
    held = udp.reserve(EVENT, user, [(row, 3), (row + 1, 1 << 63)])
    udp.call(Op.RESERVE, event=EVENT, user=user + 1, request_id=1, row=row, mask=6)
    udp.call(Op.RESERVE, event=EVENT, user=user + 1, request_id=2, row=999, mask=6)
    udp.call(Op.RESERVE, event=EVENT, user=user + 1, request_id=3, row=row, mask=(1 << 64) - 1)
    udp.call(Op.RESERVE, event=EVENT, user=user, request_id=1, row=row, mask=4)
    udp.query_hold(EVENT, user, held.hold)
    udp.call(Op.EXTEND, event=EVENT, user=user, request_id=5, hold=held.hold, hold_ms=900_000)
    udp.call(Op.EXTEND, event=EVENT, user=user, request_id=6, hold=5)
    udp.swap(EVENT, user, held.hold, [(row + 1, 1)], [(row, 1)], request_id=7)
    udp.swap(EVENT, user, held.hold, [(row + 1, 2), (row + 5, 2)], [(row, 2), (row + 1, 1)], request_id=8)
    best = udp.call(Op.RESERVE_BEST, event=EVENT, user=user + 2, request_id=1, arg=2,
                    extensions=[uc.pad(2)])
    udp.call(Op.RELEASE, event=EVENT, user=user + 2, request_id=2, hold=best.hold)
    udp.call(Op.RESERVE_AREA, event=EVENT, user=user + 2, request_id=3, arg=1,
             extensions=[uc.pad(2)])
    udp.call(Op.WAIT_LIST, event=EVENT, user=user + 2, request_id=4, arg=1)
    udp.call(Op.WAIT_LIST, event=EVENT, user=user + 2, request_id=5, arg=2 << 32)
    udp.call(Op.JOIN, event=EVENT, user=user, arg=2, extensions=[uc.device(77)])
    for op in (Op.EXCHANGE, Op.POSITION):
        udp.call(op, event=EVENT, user=user, extensions=[uc.ticket(1, 1, 5, 6)])
    control.call(Op.ROOM_SHOW, event=EVENT)
    udp.query_section(EVENT, 0, rows=5)
    udp.call(Op.QUERY_SECTION, event=EVENT, section=9)
    for op in uc.CONTROL_OPS:
        udp.call(op, event=0 if op in (Op.STATS, Op.KEY_ROTATE) else EVENT)
    control.confirm(EVENT, user, held.hold)
    control.call(Op.CONFIRM, event=EVENT, user=user, hold=5)
    udp.call(Op.RELEASE, event=EVENT, user=user, request_id=12, hold=held.hold)
    held = udp.reserve(EVENT, user, [(row + 2, 1)], request_id=13)
    udp.release(EVENT, user, held.hold, request_id=14)
    udp.call(Op.QUERY_HOLD, event=EVENT, user=user, hold=held.hold)
    control.block(EVENT, [(row + 3, 7), (row + 4, 1)])
    control.unblock(EVENT, [(row + 3, 1)])
    control.event_status(EVENT, EventStatus.PAUSED)
    udp.call(Op.RESERVE, event=EVENT, user=user, request_id=19, mask=1)
    control.event_status(EVENT, EventStatus.ON_SALE)
    control.stats()


def check_shown(shown, data, reply):
    """One shown packet against the bytes that our client read or wrote."""
    fields = dict(shown.fields)
    message = reply if reply is not None else Asked(data)
    names = ("magic version op size extension_count event request_id cookie hold "
             + ("status deadline_ns sequence amount detail state" if reply is not None
                else "user mask row section hold_ms arg")).split()
    for name in names:
        assert fields["usher." + name] == getattr(message, name), (name, fields, message)
    assert not shown.experts, (shown.experts, fields)
    if reply is not None and reply.text is not None:
        assert fields["usher.text"] == reply.text
    if reply is not None and reply.rows is not None:
        assert [v for k, v in shown.fields if k == "usher.rows.mask"] == reply.rows[1]


# Goal: tshark reads a real conversation: each message with its operation, status and every base
# field, no complaint. Method: dumpcap on the link; what went over the control port, in frames of ours.
def test_live():
    need("tshark", "dumpcap")
    bench.offload("off")
    box = Box(BUILD, "af_packet:ush0", [], bench.a).start()
    venue = Venue([[Row((1 << 64) - 1)] * 30, [Row(7)]], user_seats_max=20)
    on_wire, on_socket = [], []
    control = Recording(ControlPort(box.control_path), on_socket)
    control.event_load(EVENT, venue.image())
    control.call(Op.EVENT_LOAD, event=2)
    control.call(Op.EVENT_CHANGE, event=2)
    control.event_status(EVENT, EventStatus.ON_SALE)
    live = Live(box)
    for address in (OUR4, OUR6):
        udp = Recording(UdpPort(bench.udp(address)), on_wire)
        hold_session(udp, control)
        assert udp.port.resent == 0
        udp.close()
    control.close()
    frames = live.stop()
    messages = [part for request, reply in on_wire for part in ((request, None), (reply.data, reply))]
    shown = dissector.decode(pathlib.Path(live.path))
    assert len(shown) == len(frames)
    probes = sum(struct.unpack_from("<I", payload_of(frame), 12)[0] == PROBE for frame in frames)
    shown, frames = shown[probes:], frames[probes:]
    assert [payload_of(frame) for frame in frames] == [data for data, _ in messages], "not all was captured"
    for packet, (data, reply) in zip(shown, messages):
        check_shown(packet, data, reply)
    # Long replies of the control port (STATS) are no datagrams: left out.
    path = pathlib.Path(box.directory) / "control.pcap"
    messages = [part for request, reply in on_socket for part in ((request, None), (reply.data, reply))
                if len(part[0]) <= uc.PAYLOAD_BYTES_MAX]
    dissector.write_capture(path, [
        dissector.frame(4, (40000, uc.UDP_PORT) if reply is None else (uc.UDP_PORT, 40000), data)
        for data, reply in messages])
    for packet, (data, reply) in zip(dissector.decode(path), messages):
        check_shown(packet, data, reply)
    ops = {(reply.op, reply.status) for _, reply in on_wire + on_socket}
    assert {op for op, _ in ops} == set(Op)
    print(f"# {len(on_wire)} exchanges on the wire, {len(on_socket)} on the socket, {len(ops)} kinds")
    assert box.stop() == 0


if __name__ == "__main__":
    run_on_wire(globals(), [test_tcpreplay, test_net_pcap, test_live])
