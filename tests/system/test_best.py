#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Best available and general admission from outside, with a client written from the document: a real
usherd behind a veth pair, UDP and the control port.

usage: test_best.py BUILD-DIR [NAME-PART]...   (root; makes and removes its own namespaces)
"""
import json
import os
import signal
import sys

import usher_client as uc
from usher_box import OUR4, Box, run, run_on_wire, sums_agree
from usher_client import (Client, ControlPort, EventStatus, Fault, HoldState, Op, Row, Status,
                          UdpPort, Venue)

BUILD = sys.argv[1] if len(sys.argv) > 1 else "build"
EVENT = 7
bench = None

# Two rows of ten, a row of twenty in two blocks with one wheelchair place, an area of 100.
HALL = Venue(
    sections=[[Row(0x3ff), Row(0x3ff), Row(0x3ff, accessible=1, companion=2), Row(0x3ff, flags=2)],
              [Row((1 << 64) - 1, flags=1, tiers={1: (1 << 64) - 1}),
               Row((1 << 36) - 1, flags=1, tiers={1: (1 << 36) - 1})]],
    prices=(2500, 1000), user_seats_max=60)


class Sale:
    def __init__(self, venue=HALL):
        bench.offload("off")
        self.box = Box(BUILD, "af_packet:ush0", (), bench.a)
        self.box.start()
        self.udp = Client(UdpPort(bench.udp(OUR4)))
        self.control = Client(ControlPort(self.box.control_path))
        self.control.event_load(EVENT, venue.image())
        self.control.event_status(EVENT, EventStatus.ON_SALE)

    def restart(self):
        self.control.close()
        assert self.box.stop(signal.SIGKILL) == -signal.SIGKILL
        self.box.start()
        self.control = Client(ControlPort(self.box.control_path))

    def end(self):
        assert sums_agree(self.control.stats())
        self.udp.close()
        self.control.close()
        assert self.box.stop() == 0
        verdict = run(os.path.join(BUILD, "tools/usher"), "verify", "--json", self.box.state, check=False)
        assert verdict.returncode == 0, verdict.stdout


def seats_of(reply):
    return {(row, bit) for row, mask in reply.seats or () for bit in range(64) if mask >> bit & 1}


def test_best_over_udp():
    """Goal: the reply names free seats, priced right, and is no longer than its request."""
    s = Sale()
    taken = set()
    for user in range(1, 5):
        reply = s.udp.reserve_best(EVENT, user, 4, legs=2)
        seats = seats_of(reply)
        assert len(seats) == 4 and not seats & taken and reply.amount == 4 * 2500, reply
        assert reply.size <= 64 + 8 + 32 and reply.state == HoldState.HELD
        taken |= seats
        again = s.udp.reserve_best(EVENT, user, 4, legs=2, request_id=1)
        assert again.seats == reply.seats and again.hold == reply.hold and again.detail == 1
        narrow = s.udp.reserve_best(EVENT, user, 4, legs=0, request_id=1)
        assert narrow.seats is None and narrow.hold == reply.hold
    s.restart()
    for user in range(1, 5):
        again = s.control.reserve_best(EVENT, user, 4, request_id=1)
        assert seats_of(again) <= taken and len(seats_of(again)) == 4
    free = s.udp.query_section(EVENT, 0)
    assert sum(bin(mask).count("1") for mask in free.values()) == 40 - len(taken)
    s.end()


def test_best_refusals():
    """Goal: each refusal by its name; nothing is changed by it."""
    s = Sale()

    def status(arg, legs=1, **fields):
        return s.udp.call(Op.RESERVE_BEST, event=EVENT, user=99, request_id=s.udp.next_id(99, EVENT), arg=arg,
                          extensions=[uc.pad(2 * legs)] if legs else [], **fields)
    assert status(21).status == Status.NONE
    assert status(12).status == Status.NONE, "the row of twenty has no eleven beside the place"
    assert status(61).status == Status.LIMIT and status(61).detail == 60
    assert status(1, legs=0).detail == Fault.EXTENSION
    assert status(0).detail == Fault.ARGUMENT
    assert status(1 | 9 << 16 | 2 << 24).detail == Fault.ARGUMENT
    assert status(1 | 1 << 24, section=1).detail == Fault.SECTION
    assert status(2 | 1 << 32 | 1 << 40).status == Status.OK
    assert status(2 | 1 << 32 | 1 << 40).status == Status.NONE
    s.control.event_status(EVENT, EventStatus.PAUSED)
    assert status(1).status == Status.NOT_ON_SALE
    s.end()


def test_area_beside_seats():
    """Goal: an area gives all its places and no more; seats are not touched."""
    s = Sale()
    given = set()
    for user in range(1, 5):
        reply = s.udp.reserve_area(EVENT, user, 1, 25, legs=3)
        places = seats_of(reply)
        assert len(places) == 25 and not places & given and reply.amount == 25 * 1000
        assert all(row in (4, 5) for row, _ in places)
        given |= places
    last = s.udp.call(Op.RESERVE_AREA, event=EVENT, user=9, request_id=1, section=1, arg=1,
                      extensions=[uc.pad(2)])
    assert last.status == Status.NONE
    s.udp.release(EVENT, 2, s.udp.reserve_area(EVENT, 2, 1, 25, legs=3, request_id=1).hold)
    assert seats_of(s.udp.reserve_area(EVENT, 10, 1, 25, legs=8)) <= given
    assert s.udp.query_section(EVENT, 0) == dict.fromkeys(range(4), 0x3ff)
    s.end()


def test_orphan_of_exact_seats():
    """Goal: an event may refuse exact seats that leave a single one."""
    s = Sale(Venue([[Row(0x3ff)]], best=1 << 5))
    reply = s.udp.call(Op.RESERVE, event=EVENT, user=1, request_id=1, row=0, mask=2)
    assert reply.status == Status.ORPHAN and reply.hold == 1
    assert s.udp.reserve(EVENT, 1, [(0, 3)], request_id=1).state == HoldState.HELD
    s.end()


def test_command_line():
    """Goal: `usher client best` and `area` print the seats."""
    s = Sale()
    usher = [os.path.join(BUILD, "tools/usher"), "client", "--socket", s.box.control_path]
    out = json.loads(run(*usher, "best", "--event", "7", "--user", "5", "--id", "1", "--seats", "3",
                         "--json").stdout)
    assert out["status"] == "OK" and len(out["seats"]) == 1
    out = json.loads(run(*usher, "area", "--event", "7", "--user", "5", "--id", "2", "--seats", "3",
                         "--section", "1", "--json").stdout)
    assert out["status"] == "OK" and out["amount"] == 3000
    s.end()


TESTS = [test_best_over_udp, test_best_refusals, test_area_beside_seats, test_orphan_of_exact_seats,
         test_command_line]


if __name__ == "__main__":
    run_on_wire(globals(), TESTS)
