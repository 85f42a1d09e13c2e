#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Wait-lists from outside, with a client written from the document: a real usherd behind a veth
pair, UDP, the control port, the command line, kill -9 between the steps.

usage: test_waitlist.py BUILD-DIR [NAME-PART]...   (root; makes and removes its own namespaces)
"""
import json
import os
import signal
import sys
import time

import usher_client as uc
from usher_box import OUR4, Box, run, run_on_wire, sums_agree
from usher_client import Client, ControlPort, EventStatus, HoldState, Row, Status, UdpPort, Venue

BUILD = sys.argv[1] if len(sys.argv) > 1 else "build"
EVENT = 7
bench = None
HALL = Venue(sections=[[Row(0xff), Row(0xff, tiers={1: 0xff})]], prices=(2500, 1000), user_seats_max=10)


def usher(*command, check=True):
    return run(os.path.join(BUILD, "tools/usher"), *command, check=check)


class Sale:
    """Both rows are held by users 1 and 2."""

    def __init__(self, hold_ms=600_000):
        bench.offload("off")
        self.box = Box(BUILD, "af_packet:ush0", (), bench.a)
        self.box.start()
        self.udp = Client(UdpPort(bench.udp(OUR4)))
        self.control = Client(ControlPort(self.box.control_path))
        HALL.hold_ms = hold_ms
        self.control.event_load(EVENT, HALL.image())
        self.control.event_status(EVENT, EventStatus.ON_SALE)
        self.holds = [self.udp.reserve(EVENT, 1, [(0, 0xff)], hold_ms=600_000).hold,
                      self.udp.reserve(EVENT, 2, [(1, 0xff)], hold_ms=600_000).hold]

    def restart(self):
        self.control.close()
        assert self.box.stop(signal.SIGKILL) == -signal.SIGKILL
        self.box.start()
        self.control = Client(ControlPort(self.box.control_path))

    def give(self, row, mask):
        self.udp.give_back(EVENT, row + 1, self.holds[row], [(row, mask)])

    def refused(self, status, call, *args):
        try:
            call(*args)
        except uc.Refused as refusal:
            assert refusal.reply.status == status, refusal
            return refusal.reply
        raise AssertionError(f"{args} was not refused")

    def offered(self, user, within=5.0):
        """The user's offer, once there is one."""
        end = time.monotonic() + within
        while True:
            reply = self.udp.wait_look(EVENT, user)
            if reply.hold != 0:
                return reply
            assert time.monotonic() < end, f"{user} has no offer: place {reply.amount}"
            time.sleep(0.02)

    def end(self):
        assert sums_agree(self.control.stats())
        self.udp.close()
        self.control.close()
        assert self.box.stop() == 0
        for words in (("verify", "--json"), ("verify", "--json", "--from-start")):
            verdict = usher(*words, self.box.state, check=False)
            assert verdict.returncode == 0, verdict.stdout


def test_waitlist_is_served_in_order():
    """Goal: seats given back go to those who wait, in order, and the public never has them."""
    s = Sale()
    s.refused(Status.NOT_ON_LIST, s.udp.wait_look, EVENT, 11)
    assert [s.udp.wait_join(EVENT, user, seats).amount for user, seats in ((11, 1), (12, 2), (13, 1))] == [1, 2, 3]
    assert s.refused(Status.ON_LIST, s.udp.wait_join, EVENT, 12, 1).amount == 2
    s.give(0, 0x1)
    offer = s.offered(11)
    assert offer.state == HoldState.HELD and offer.amount == 2500 and offer.deadline_ns != 0
    s.give(0, 0x2)
    s.refused(Status.TAKEN, s.udp.reserve, EVENT, 20, [(0, 0x2)])
    assert s.udp.query_section(EVENT, 0) == {0: 0, 1: 0}
    assert s.udp.wait_look(EVENT, 12).hold == 0 and s.udp.wait_look(EVENT, 13).hold == 0
    s.give(1, 0x1)
    assert s.offered(12).amount == 3500
    s.udp.release(EVENT, 11, offer.hold)
    assert s.offered(13).amount == 2500
    s.refused(Status.NOT_ON_LIST, s.udp.wait_look, EVENT, 11)
    assert s.control.confirm(EVENT, 13, s.offered(13).hold).state == HoldState.SOLD
    s.refused(Status.NOT_ON_LIST, s.udp.wait_look, EVENT, 13)
    s.end()


def test_waitlist_by_tier_passes_nobody():
    """Goal: who waits for one tier does not stand in the way of another's; a lapsed offer is the next one's."""
    s = Sale(hold_ms=1500)
    s.udp.wait_join(EVENT, 11, 1, 0)
    s.udp.wait_join(EVENT, 12, 1, 1)
    s.udp.wait_join(EVENT, 13, 1)
    s.give(1, 0x1)
    assert s.offered(12).amount == 1000
    assert s.udp.wait_look(EVENT, 11).hold == 0 and s.udp.wait_look(EVENT, 13).hold == 0
    s.give(0, 0x1)
    first = s.offered(11)
    assert first.amount == 2500
    # Both lapse; one of the two seats is for 13, and the other is everybody's.
    assert s.offered(13).amount in (1000, 2500)
    end = time.monotonic() + 60
    while sum(bin(mask).count("1") for mask in s.udp.query_section(EVENT, 0).values()) < 1:
        assert time.monotonic() < end
        time.sleep(0.05)
    s.refused(Status.NOT_SOLD_OUT, s.udp.wait_join, EVENT, 14, 1)
    s.end()


def test_waitlist_survives_kill():
    """Goal: the list, what is set aside and what was offered are known after kill -9 at each step."""
    s = Sale()
    joined = s.udp.wait_join(EVENT, 11, 2, request_id=1)
    s.restart()
    again = s.udp.wait_join(EVENT, 11, 2, request_id=1)
    assert again.detail == 1 and again.amount == 1 and again.sequence == joined.sequence
    s.udp.wait_join(EVENT, 12, 1)
    s.give(0, 0x1)
    s.restart()
    assert s.udp.query_section(EVENT, 0) == {0: 0, 1: 0}
    s.refused(Status.TAKEN, s.udp.reserve, EVENT, 20, [(0, 0x1)])
    assert s.udp.wait_look(EVENT, 12).amount == 2
    s.give(0, 0x2)
    offer = s.offered(11)
    s.restart()
    assert s.udp.wait_join(EVENT, 11, 2, request_id=1).hold == offer.hold
    assert s.udp.query_hold(EVENT, 11, offer.hold).amount == 5000
    made = usher("journal", "snapshot", "--json", s.box.state, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    s.restart()
    assert s.udp.wait_look(EVENT, 11).hold == offer.hold
    assert s.udp.wait_look(EVENT, 12).amount == 1
    s.udp.release(EVENT, 11, offer.hold, request_id=2)
    s.restart()
    assert s.offered(12).amount == 2500
    s.control.event_status(EVENT, EventStatus.CANCELLED)
    assert s.refused(Status.NOT_ON_SALE, s.udp.wait_look, EVENT, 13).detail == EventStatus.CANCELLED
    s.restart()
    s.end()


def test_waitlist_by_command_line():
    """Goal: usher client joins, looks and leaves; the journal tells of it as JSON."""
    s = Sale()
    socket = ("--socket", s.box.control_path)

    def client(*words, code=0):
        done = usher("client", *socket, "wait", "--json", "-e", str(EVENT), *words, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout)

    assert client("-u", "11", "-i", "1", "-n", "1")["amount"] == 1
    assert client("-u", "12", "-i", "1", "-n", "2", "--tier", "1")["amount"] == 2
    assert client("-u", "12", "-i", "2", "--look")["amount"] == 2
    assert client("-u", "12", "-i", "2", "--leave")["status"] == "OK"
    assert client("-u", "12", "-i", "3", "--look", code=1)["status"] == "NOT_ON_LIST"
    s.give(0, 0x1)
    offer = s.offered(11)
    assert client("-u", "11", "-i", "9", "--look")["hold"] == hex(offer.hold)
    lines = [json.loads(line) for line in usher("journal", "follow", "--json", "--until-end", s.box.state)
             .stdout.splitlines()]
    types = [line["type"] for line in lines]
    assert types.count("WAIT_JOIN") == 2 and types.count("WAIT_LEAVE") == 1, types
    told = next(line for line in lines if line["type"] == "OFFER")
    assert told["user"] == 11 and int(told["hold"], 16) == offer.hold and told["seats"] == 1, told
    assert s.control.stats()["usher_wait_offers"] == 1
    s.end()


TESTS = [test_waitlist_is_served_in_order, test_waitlist_by_tier_passes_nobody, test_waitlist_survives_kill,
         test_waitlist_by_command_line]


if __name__ == "__main__":
    run_on_wire(globals(), TESTS)
