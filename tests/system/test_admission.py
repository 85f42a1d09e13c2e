#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Admission from outside, with a client written from docs/admission.md: a real usherd behind a veth pair
with `admission.mode=sw`; every verdict, rotation of keys, restart, and that the counters add up.

usage: test_admission.py BUILD-DIR [NAME-PART]...   (root; makes and removes its own namespaces)
"""
import json
import os
import signal
import struct
import sys
import time

import usher_client as uc
from usher_box import OUR4, OUR6, Box, run, run_on_wire, sums_agree
from usher_client import Client, ControlPort, EventStatus, Op, Row, Status, UdpPort, Venue

BUILD = sys.argv[1] if len(sys.argv) > 1 else "build"
OPEN, HARD, TIGHT = 7, 8, 9
SECOND = 10**9
TOKEN_KEYS = {5: bytes(range(16)), 6: bytes(range(16, 32))}
GATEWAY, GATEWAY_KEYS = 3, {1: bytes(range(32, 48)), 2: bytes(range(48, 64))}
SALT, BITS = 0x5a17, 12
VERDICTS = dict(MAC_MISSING=10, MAC_KEY=11, MAC_TIME=12, MAC_FORGED=13, TOKEN_MISSING=17, TOKEN_KEY=18,
                TOKEN_EVENT=19, TOKEN_USER=20, TOKEN_EXPIRED=21, TOKEN_FORGED=22, SOURCE_RATE=23, WORK_MISSING=24,
                WORK_LOW=25, WORK_TIME=26, WORK_WRONG=27, USER_RATE=28)
FILE = """# event 7: wide limits; 8: proof of work; 9: the default limits
{keys}
policy 1 source=60000/1000 user=60000/1000
policy 2 source=60000/1000 user=60000/1000 work={bits} salt={salt:x}
event 7 1
event 8 2
"""
HALL = Venue(sections=[[Row(0xffffffff)] * 8], prices=(2500,), user_seats_max=60)
bench = None


def token(event, user, key_id=5, tier=0, expiry_ns=None, key=None):
    """Section 7.3."""
    expiry_ns = expiry_ns or time.time_ns() + 300 * SECOND
    blank = uc.token(tier, key_id, event, user, expiry_ns, 0)
    return blank[:24] + struct.pack("<Q", uc.siphash(key or TOKEN_KEYS[key_id], blank[:24]))


def work(event, user, request_id, bits=BITS, claimed=None, time_ns=None, solve=True):
    """Section 7.5."""
    time_ns = time_ns or time.time_ns()
    key, nonce = struct.pack("<QQ", user, SALT), 0
    head = struct.pack("<IIQ", event, request_id, time_ns)
    while (uc.siphash(key, head + struct.pack("<Q", nonce)) >> (64 - bits) == 0) != solve:
        nonce += 1
    return uc.work(bits if claimed is None else claimed, time_ns, nonce)


def signed(op, extensions=(), gateway=GATEWAY, key_id=1, time_ns=None, key=None, **fields):
    """Sections 6 and 7.1: a whole message, MAC last."""
    time_ns = time_ns or time.time_ns()
    message = uc.encode(op, extensions=[*extensions, uc.mac(gateway, key_id, time_ns, 0)], **fields)
    return message[:-8] + struct.pack("<Q", uc.siphash(key or GATEWAY_KEYS[key_id], message[:-8]))


class Sale:
    def __init__(self, keys=None, more=""):
        bench.offload("off")
        self.box = Box(BUILD, "af_packet:ush0", ("admission.mode=sw", "limits.admit_sources=4096",
                                                 "limits.admit_users=4096"), bench.a)
        os.makedirs(self.box.state, mode=0o700)
        self.file = os.path.join(self.box.state, "admission")
        self.write(keys or {5: TOKEN_KEYS[5]}, {1: GATEWAY_KEYS[1]}, more)
        self.box.start()
        self.port = UdpPort(bench.udp(OUR4))
        self.open_control()
        self.cookie = self.sent = 0
        for event in (OPEN, HARD, TIGHT):
            self.control.event_load(event, HALL.image())
            self.control.event_status(event, EventStatus.ON_SALE)

    def open_control(self):
        self.control = Client(ControlPort(self.box.control_path))

    def write(self, tokens, gateways, more=""):
        lines = [f"token {i} {k.hex()}" for i, k in tokens.items()]
        lines += [f"gateway {GATEWAY} {i} {k.hex()}" for i, k in gateways.items()]
        with open(self.file, "w") as file:
            os.chmod(self.file, 0o600)
            file.write(FILE.format(keys="\n".join(lines), bits=BITS, salt=SALT) + more)

    def say(self, message):
        """One message, as it is; its reply must be no longer."""
        self.cookie += 1
        reply = self.port.exchange(message, None)
        assert reply.size <= len(message)
        return reply

    def verdict(self, name, message, status):
        before = self.counter(f"usher_verdict_{name}")
        reply = self.say(message)
        assert reply.status == status and reply.detail & 255 == VERDICTS[name], (name, reply)
        assert self.counter(f"usher_verdict_{name}") >= before + 1
        return reply

    def counter(self, name):
        return self.control.stats()[name]

    def reserve(self, event, user, request_id, row, mask, extensions=None, client=None, **how):
        if extensions is None:
            extensions = [token(event, user)]
        if client:
            extensions = [*extensions, uc.client_address(client)]
        return signed(Op.RESERVE, extensions, event=event, user=user, request_id=request_id, row=row, mask=mask, **how)

    def rotate(self):
        """BUSY until every loop has made a turn since the last one."""
        end = time.monotonic() + 60
        while True:
            reply = self.control.call(Op.KEY_ROTATE)
            if reply.status != Status.BUSY or time.monotonic() > end:
                return reply
            time.sleep(0.01)

    def end(self):
        counters = self.control.stats()
        assert sums_agree(counters)
        judged = sum(v for k, v in counters.items() if k.startswith("usher_verdict_"))
        assert judged == counters["usher_rx_packets"], (judged, counters["usher_rx_packets"])
        self.port.close()
        self.control.close()
        assert self.box.stop() == 0


def test_admission_sells_to_who_may():
    """Goal: a whole life with MAC and token; then what needs no token."""
    s = Sale()
    held = s.say(s.reserve(OPEN, 5, 1, 0, 0x3))
    assert held.status == Status.OK and held.amount == 5000, held
    assert s.say(s.reserve(OPEN, 5, 1, 0, 0x3)).detail == 1
    on_hold = dict(event=OPEN, user=5, hold=held.hold)
    assert s.say(signed(Op.QUERY_HOLD, **on_hold)).status == Status.OK
    assert s.say(signed(Op.EXTEND, request_id=2, **on_hold)).status == Status.OK
    assert s.say(signed(Op.RELEASE, request_id=3, **on_hold)).status == Status.OK
    assert s.say(uc.encode(Op.STATUS)).status == Status.OK
    assert s.say(uc.encode(Op.STATUS, event=999)).status == Status.UNKNOWN_EVENT
    # Behind admission the other checks are as they were.
    assert s.say(signed(Op.RESERVE, [token(OPEN, 5)], event=OPEN, user=5, request_id=4)).status == Status.BAD_REQUEST
    s.end()


def test_admission_names_each_verdict():
    """Goal: each fault of MAC, token and work has its verdict, status and counter; nothing is sold."""
    s = Sale()
    now = time.time_ns
    good = dict(event=OPEN, user=5, request_id=1, row=0, mask=1)
    mac = Status.MAC
    s.verdict("MAC_MISSING", uc.encode(Op.RESERVE, extensions=[token(OPEN, 5)], **good), mac)
    s.verdict("MAC_KEY", s.reserve(OPEN, 5, 1, 0, 1, gateway=4, key=GATEWAY_KEYS[1]), mac)
    s.verdict("MAC_KEY", s.reserve(OPEN, 5, 1, 0, 1, key_id=2), mac)
    s.verdict("MAC_TIME", s.reserve(OPEN, 5, 1, 0, 1, time_ns=now() - 6 * SECOND), mac)
    s.verdict("MAC_TIME", s.reserve(OPEN, 5, 1, 0, 1, time_ns=now() + 7 * SECOND), mac)
    s.verdict("MAC_FORGED", s.reserve(OPEN, 5, 1, 0, 1, key=bytes(16)), mac)
    changed = bytearray(s.reserve(OPEN, 5, 1, 0, 1))
    changed[32] ^= 2
    s.verdict("MAC_FORGED", bytes(changed), mac)
    for name, extensions in (("MISSING", []), ("KEY", [token(OPEN, 5, 6)]), ("EVENT", [token(HARD, 5)]),
                             ("USER", [token(OPEN, 6)]), ("EXPIRED", [token(OPEN, 5, expiry_ns=now())]),
                             ("FORGED", [token(OPEN, 5, key=bytes(16))])):
        s.verdict("TOKEN_" + name, s.reserve(OPEN, 5, 1, 0, 1, extensions), Status.TOKEN)
    hard = [token(HARD, 5)]
    told = s.verdict("WORK_MISSING", s.reserve(HARD, 5, 1, 0, 1, hard), Status.PROOF_OF_WORK)
    assert told.detail >> 8 == BITS and told.amount == SALT and abs(told.deadline_ns - now()) < 2 * SECOND
    for name, how in (("LOW", dict(claimed=BITS - 1)), ("TIME", dict(time_ns=now() - 61 * SECOND)),
                      ("WRONG", dict(solve=False))):
        s.verdict("WORK_" + name, s.reserve(HARD, 5, 1, 0, 1, [*hard, work(HARD, 5, 1, **how)]), Status.PROOF_OF_WORK)
    # Of another request it is no proof.
    s.verdict("WORK_WRONG", s.reserve(HARD, 5, 2, 0, 1, [*hard, work(HARD, 5, 1)]), Status.PROOF_OF_WORK)
    assert s.say(s.reserve(HARD, 5, 1, 0, 1, [*hard, work(HARD, 5, 1)])).status == Status.OK
    assert s.counter(f"usher_event_{OPEN}_free") == HALL.seat_count
    s.end()


def test_admission_limits_rates():
    """Goal: 5 attempts a minute of a user, 10 requests a second of a client's address, behind one gateway."""
    s = Sale()
    for request_id in range(1, 6):
        assert s.say(s.reserve(TIGHT, 1, request_id, 0, 1 << request_id)).status == Status.OK
    again = s.say(s.reserve(TIGHT, 1, 5, 0, 1 << 5))
    assert again.status == Status.OK and again.detail == 1, again
    told = s.verdict("USER_RATE", s.reserve(TIGHT, 1, 6, 0, 1 << 6), Status.RATE)
    assert 8 * SECOND < told.deadline_ns - time.time_ns() <= 12 * SECOND
    statuses = [s.say(s.reserve(TIGHT, 100 + i, 1, 1, 1 << i, client="198.51.100.7")).status for i in range(20)]
    # Over the 10 at once come those that the time of the test brings.
    assert 10 <= statuses.count(Status.OK) < 20 and statuses.count(Status.RATE) == 20 - statuses.count(Status.OK)
    for i in range(20):
        client = f"2001:db8:0:{i}::1" if i % 2 else f"198.51.100.{100 + i}"
        assert s.say(s.reserve(TIGHT, 200 + i, 1, 2, 1 << i, client=client)).status == Status.OK
    other = [s.say(s.reserve(TIGHT, 300 + i, 1, 3, 1 << i, client=f"2001:db8::{i}")).status for i in range(20)]
    assert other.count(Status.RATE) > 0, "a /64 is one address"
    # CLIENT without a MAC is not believed: the packet's own address is limited, whatever it says.
    looks = [s.say(uc.encode(Op.STATUS, event=TIGHT, extensions=[uc.client_address(f"192.0.2.{i}")])).status
             for i in range(40)]
    assert looks.count(Status.RATE) > 0
    # Who has a hold is served all the same.
    assert s.say(signed(Op.QUERY_HOLD, event=TIGHT, user=1, hold=again.hold)).status == Status.OK
    s.end()


def test_admission_rotates_keys():
    """Goal: two keys live; the file says which, also after kill -9; a bad file changes nothing."""
    s = Sale()
    assert s.say(s.reserve(OPEN, 1, 1, 0, 1)).status == Status.OK
    s.write(TOKEN_KEYS, GATEWAY_KEYS)
    rotated = s.rotate()
    assert (rotated.status, rotated.detail) == (Status.OK, 4), rotated
    for user, key_id, gateway_key in ((2, 5, 1), (3, 6, 2)):
        reply = s.say(s.reserve(OPEN, user, 1, 0, 1 << user, [token(OPEN, user, key_id)], key_id=gateway_key))
        assert reply.status == Status.OK, reply
    s.write({6: TOKEN_KEYS[6]}, {2: GATEWAY_KEYS[2]}, "event 7 99\n")
    refused = s.rotate()
    assert refused.status == Status.BAD_REQUEST and "line " in refused.text, refused
    assert s.say(s.reserve(OPEN, 4, 1, 0, 1 << 4)).status == Status.OK
    s.write({6: TOKEN_KEYS[6]}, {2: GATEWAY_KEYS[2]})
    os.chmod(s.file, 0o640)
    assert s.rotate().status == Status.BAD_REQUEST
    os.chmod(s.file, 0o600)
    rotated = s.rotate()
    assert (rotated.status, rotated.detail) == (Status.OK, 2), rotated
    s.verdict("MAC_KEY", s.reserve(OPEN, 5, 1, 0, 1 << 5), Status.MAC)
    s.verdict("TOKEN_KEY", s.reserve(OPEN, 5, 1, 0, 1 << 5, key_id=2), Status.TOKEN)
    s.control.close()
    assert s.box.stop(signal.SIGKILL) == -signal.SIGKILL
    s.box.start()
    s.open_control()
    s.verdict("TOKEN_KEY", s.reserve(OPEN, 5, 1, 0, 1 << 5, key_id=2), Status.TOKEN)
    reply = s.say(s.reserve(OPEN, 5, 1, 0, 1 << 5, [token(OPEN, 5, 6)], key_id=2))
    assert reply.status == Status.OK, reply
    s.end()


def test_admission_by_command_line():
    """Goal: usher token and usher work make what the box takes, and name what is wrong."""
    s = Sale()

    def usher(*words, check=True):
        return run(os.path.join(BUILD, "tools/usher"), *words, check=check).stdout.strip()

    keys = ("--keys", s.file, "--event", str(HARD), "--user", "9")
    minted = usher("token", "mint", *keys)
    assert usher("token", "check", *keys, minted) == "PASS"
    assert usher("token", "check", "--keys", s.file, "--event", "7", "--user", "9", minted, check=False) == "TOKEN_EVENT"
    assert usher("token", "check", "--keys", s.file, "--event", "8", "--user", "8", minted, check=False) == "TOKEN_USER"
    assert usher("token", "check", *keys, minted[:-1] + ("0" if minted[-1] != "0" else "1"), check=False) == "TOKEN_FORGED"
    assert usher("token", "check", *keys, usher("token", "mint", *keys, "--seconds", "0"), check=False) == "TOKEN_EXPIRED"
    solved = usher("work", "solve", "--event", str(HARD), "--user", "9", "--id", "1", "--bits", str(BITS),
                   "--salt", f"{SALT:x}")
    reply = s.say(s.reserve(HARD, 9, 1, 0, 1, [bytes.fromhex(minted), bytes.fromhex(solved)]))
    assert reply.status == Status.OK, reply
    rotated = json.loads(usher("client", "--socket", s.box.control_path, "rotate", "--json"))
    assert rotated["status"] == "OK" and rotated["detail"] == 2, rotated
    s.end()


TESTS = [test_admission_sells_to_who_may, test_admission_names_each_verdict, test_admission_limits_rates,
         test_admission_rotates_keys, test_admission_by_command_line]


if __name__ == "__main__":
    run_on_wire(globals(), TESTS)
