#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The hardware filter, simulated, in front of a real usherd (admission.mode=hw-sim): its verdicts are those of
admission in software on the same capture; inline on a veth pair; and what it says of itself.

usage: test_filter.py BUILD-DIR [NAME-PART]...   (root; makes and removes its own namespaces)
"""
import collections
import json
import os
import random
import shutil
import socket
import struct
import sys
import time

import test_bad_input as frames_of
import usher_client as uc
from test_admission import token
from usher_box import OUR4, Box, Tap, run, run_on_wire, sums_agree
from usher_client import Client, ControlPort, EventStatus, Op, Row, Status, UdpPort, Venue

BUILD = sys.argv[1] if len(sys.argv) > 1 else "build"
USHER = os.path.join(BUILD, "tools/usher")
MAC = bytes.fromhex("020000000001")
SALT, BITS, FRAMES = 0x5a17, 6, 1500
SECOND = 10**9
SMALL = ("limits.admit_sources=4096", "limits.admit_users=4096")
CHECKS = dict(MAC=1, EVENT=2, TOKEN=16, SOURCE=32, USER=128)
# Limits that the time of a test cannot fill up again: one a minute or less.
FILE = f"""token 5 {bytes(range(16)).hex()}
policy 1 source=1/150 hold=1/10 user=1/3
policy 2 source=none user=none work={BITS} salt={SALT:x}
event 7 1
event 8 2
checks event token source work user
"""
HALL = Venue(sections=[[Row(0xffffffffffffffff)] * 64], prices=(2500,), user_seats_max=60)
bench = None


def write_file(box, text):
    os.makedirs(box.state, mode=0o700, exist_ok=True)
    path = os.path.join(box.state, "admission")
    with open(path, "w") as file:
        os.chmod(path, 0o600)
        file.write(text)


def work(event, user, request_id, time_ns, solve=True):
    """Section 7.5 of docs/admission.md; two bits more than the policy demands, for a loop that is busy."""
    key, nonce = struct.pack("<QQ", user, SALT), 0
    head = struct.pack("<IIQ", event, request_id, time_ns)
    bits = BITS + 2 if solve else BITS
    while (uc.siphash(key, head + struct.pack("<Q", nonce)) >> (64 - bits) == 0) != solve:
        nonce += 1
    return uc.work(BITS + 2, time_ns, nonce)


def one_request(chance, now):
    """A request, good in most ways."""
    op = chance.choice([Op.RESERVE] * 5 + [Op.STATUS, Op.RELEASE, Op.QUERY_HOLD, Op.WAIT_LIST, 64, 200])
    event, user, request_id = chance.choice([7, 7, 8, 9, 0]), chance.randrange(1, 30), chance.randrange(1, 6)
    extensions = []
    if op == Op.RESERVE and chance.random() < .9:
        extensions.append(token(*chance.choice(
            [(event, user)] * 12 + [(event, user + 1), (event + 1, user), (event, user, 5, 0, now - SECOND),
                                    (event, user, 5, 0, None, bytes(16)), (event, user, 6, 0, None, bytes(16))])))
    if event == 8 and chance.random() < .9:
        extensions.append(work(event, user, request_id, now - chance.choice([0, 0, 0, 300 * SECOND]),
                               chance.random() < .8))
    data = uc.encode(op, event, request_id, user, hold=1 if op in (3, 4) else 0, row=chance.randrange(64),
                     mask=1 << chance.randrange(64), extensions=extensions)
    if chance.random() < .05:
        at = chance.randrange(8)
        data = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1:]
    if chance.random() < .05:
        data = data[:chance.randrange(len(data))]
    if chance.random() < .02:
        data += bytes(1409 - len(data) + chance.randrange(40))
    return data


def capture(path, chance):
    """Frames of all kinds, the addresses those of 20 hosts. ret: how many."""
    now, frames = time.time_ns(), []
    for _ in range(FRAMES):
        family = chance.choice([4, 4, 6])
        host = chance.randrange(20)
        source = socket.inet_aton(f"10.77.1.{host}") if family == 4 else socket.inet_pton(
            socket.AF_INET6, f"2001:db8:0:{host}::9")
        payload = one_request(chance, now)
        body = frames_of.udp(family, payload, source=source, length=chance.choice([None] * 40 + [9]))
        wrap = frames_of.ip4 if family == 4 else frames_of.ip6
        more = {}
        if chance.random() < .05:
            more = chance.choice([dict(version=7), dict(protocol=6), dict(length=3000)])
        elif family == 4 and chance.random() < .05:
            more = chance.choice([dict(wrong_sum=1), dict(fragment=0x2000), dict(options=bytes(4))])
        frames.append(wrap(MAC, body, source=source, **more))
    frames += [frames_of.arp(MAC)] * 5 + [frames_of.datagram(MAC, b"x" * 70, port=9)] * 5
    chance.shuffle(frames)
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for i, data in enumerate(frames):
            file.write(struct.pack("<IIII", 1, i, len(data), len(data)) + data)
    return len(frames)


def replay(state, given, count, mode):
    """The capture through a box of that mode, from the same state. ret: its counters."""
    box = Box(BUILD, None, [*SMALL, f"admission.mode={mode}", "port.public.mac=02:00:00:00:00:01",
                            f"port.public.device=pcap:rx={given},tx={given}.{mode}"])
    shutil.copytree(state, box.state, symlinks=True)
    os.chmod(box.state, 0o700)
    box.start()
    control = Client(ControlPort(box.control_path))
    wanted = "usher_filter_received" if mode == "hw-sim" else "usher_rx_packets"
    end = time.monotonic() + 60
    while control.stats()[wanted] < count and time.monotonic() < end:
        time.sleep(.05)
    time.sleep(.1)
    counters = control.stats()
    control.close()
    assert counters[wanted] == count, (counters[wanted], count)
    assert sums_agree(counters)
    assert box.stop() == 0
    return counters


def need_filter():
    """Skips where usherd was built without it."""
    box = Box(BUILD, "af_packet:ush0", [*SMALL, "admission.mode=hw-sim"], bench.a)
    write_file(box, FILE)
    box.start(wait=False)
    try:
        box.wait_event("ready")
    except RuntimeError as error:
        if "built without it" in str(error):
            raise Tap.Skip("usherd was built without the filter")
        raise
    assert box.stop() == 0


def test_filter_counts_what_software_counts():
    """Goal: one capture, two modes, the same verdicts. Method: frames of all kinds from a seed; what passes the
    filter is judged again by software, and passes."""
    need_filter()
    seed = int(os.environ.get("USH_SEED", "1"))
    print(f"# USH_SEED={seed}")
    first = Box(BUILD, None, [*SMALL, "admission.mode=sw", "port.public.mac=02:00:00:00:00:01"])
    write_file(first, FILE)
    first.start()
    control = Client(ControlPort(first.control_path))
    for event in (7, 8):
        control.event_load(event, HALL.image())
        control.event_status(event, EventStatus.ON_SALE)
    control.close()
    assert first.stop() == 0
    given = os.path.join(first.directory, "in.pcap")
    count = capture(given, random.Random(seed))
    sw, hw = (replay(first.state, given, count, mode) for mode in ("sw", "hw-sim"))
    names = [k[len("usher_verdict_"):] for k in sw if k.startswith("usher_verdict_")]
    verdicts = collections.Counter()
    for name in names:
        verdicts[name] = sw["usher_verdict_" + name]
    differ = {n: (c, hw["usher_filter_verdict_" + n]) for n, c in verdicts.items()
              if c != hw["usher_filter_verdict_" + n]}
    assert not differ, differ
    assert sum(verdicts.values()) == count
    met = [name for name in names if verdicts[name]]
    print(f"# {count} frames, {len(met)} verdicts: {dict(verdicts)}")
    assert set(met) >= {"PASS", "HOST", "HEADER", "PAYLOAD_SHORT", "MAGIC", "VERSION", "SIZE", "OP", "PRIVILEGED",
                        "PAYLOAD_LONG", "EVENT_UNKNOWN", "TOKEN_MISSING", "TOKEN_KEY", "TOKEN_EVENT", "TOKEN_USER",
                        "TOKEN_EXPIRED", "TOKEN_FORGED", "SOURCE_RATE", "WORK_MISSING", "WORK_TIME", "WORK_WRONG",
                        "USER_RATE"}
    assert hw["usher_filter_passed"] == verdicts["PASS"] + verdicts["HOST"] == hw["usher_rx_packets"]
    assert hw["usher_filter_discarded"] == count - hw["usher_filter_passed"]
    # The software behind says the same again, and sells the same.
    assert hw["usher_verdict_PASS"] == verdicts["PASS"] and hw["usher_verdict_HOST"] == verdicts["HOST"]
    assert hw["usher_op_RESERVE"] and hw["usher_status_OK"] == sw["usher_status_OK"]
    assert hw["usher_event_7_digest"] == sw["usher_event_7_digest"]


def test_filter_inline():
    """Goal: a sale through the filter on a real device; what it refuses gets no reply; keys change under it."""
    need_filter()
    bench.offload("off")
    box = Box(BUILD, "af_packet:ush0", [*SMALL, "admission.mode=hw-sim"], bench.a)
    write_file(box, FILE)
    box.start()
    port, control = UdpPort(bench.udp(OUR4)), Client(ControlPort(box.control_path))
    good = dict(event=7, user=5, row=0, mask=3)
    assert port.exchange(uc.encode(Op.STATUS)).status == Status.OK
    port.send(uc.encode(Op.RESERVE, request_id=1, extensions=[token(7, 5)], **good))
    assert port.receive(.3) is None, "the event is not known yet"
    control.event_load(7, HALL.image())
    control.event_status(7, EventStatus.ON_SALE)
    held = port.exchange(uc.encode(Op.RESERVE, request_id=1, extensions=[token(7, 5)], **good))
    assert held.status == Status.OK and held.amount == 5000
    again = port.exchange(uc.encode(Op.RESERVE, request_id=1, extensions=[token(7, 5)], **good))
    assert again.status == Status.OK and again.detail == 1 and again.hold == held.hold
    assert port.exchange(uc.encode(Op.QUERY_HOLD, event=7, user=5, hold=held.hold)).status == Status.OK
    new_key = bytes(range(50, 66))
    mine = [token(7, 5, 6, key=new_key)]
    port.send(uc.encode(Op.RESERVE, request_id=2, extensions=mine, **good))
    assert port.receive(.3) is None, "a token that it does not know gets no reply"
    write_file(box, FILE.replace("token 5", f"token 6 {new_key.hex()}\ntoken 5"))
    assert control.call(Op.KEY_ROTATE).status == Status.OK
    assert port.exchange(uc.encode(Op.RESERVE, request_id=2, extensions=mine, event=7, user=5, row=1,
                                   mask=1)).status == Status.OK
    time.sleep(.1)
    counters = control.stats()
    assert counters["usher_filter_verdict_EVENT_UNKNOWN"] == counters["usher_filter_verdict_TOKEN_KEY"] == 1
    assert counters["usher_filter_repeated"] >= 1 and counters["usher_verdict_TOKEN_KEY"] == 0
    assert counters["usher_rx_packets"] == counters["usher_filter_passed"]
    assert counters["usher_filter_received"] == counters["usher_filter_passed"] + 2
    assert counters["usher_filter_checks"] == 0xfe & ~0x0c
    top = run(USHER, "top", "--once", "--socket", box.control_path).stdout
    assert "hardware filter" in top and "verdict_TOKEN_KEY" in top, top
    shown = json.loads(run(USHER, "top", "--once", "--json", "--socket", box.control_path).stdout)
    assert shown["values"]["usher_filter_verdict_TOKEN_KEY"] == 1
    # Behind gateways the filter leaves addresses alone, and users where tokens are not checked.
    gateway = f"gateway 3 1 {bytes(range(16)).hex()}\n"
    for checks, made in (("mac event token source user", ("EVENT", "TOKEN", "USER")),
                         ("mac event source user", ("EVENT",))):
        write_file(box, FILE.replace("checks event token source work user", gateway + "checks " + checks))
        while control.call(Op.KEY_ROTATE).status == Status.BUSY:
            time.sleep(.01)
        port.send(b"anything")
        end = time.monotonic() + 60
        while control.stats()["usher_filter_checks"] != sum(CHECKS[c] for c in made):
            assert time.monotonic() < end, control.stats()["usher_filter_checks"]
            time.sleep(.02)
    port.close()
    control.close()
    assert box.stop() == 0


def test_filter_is_one():
    """Goal: what it cannot do is refused at the start, by name."""
    for sets, word in (([], "loops"), (["port.other.device=null", "port.other.udp_port=9"], "udp_port")):
        loops = ["cores.loops=0,1"] if word == "loops" else []
        box = Box(BUILD, "null", [*SMALL, "admission.mode=hw-sim", *loops, *sets])
        box.start(wait=False)
        assert box.process.wait(10) != 0
        with open(box.log_path) as log:
            assert word in log.read()


if __name__ == "__main__":
    run_on_wire(globals(), (test_filter_counts_what_software_counts, test_filter_inline, test_filter_is_one))
