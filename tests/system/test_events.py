#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The life of an event from outside, with a client written from the document: a real usherd behind a
veth pair, UDP, the control port, the command line, kill -9.

usage: test_events.py BUILD-DIR [NAME-PART]...   (root; makes and removes its own namespaces)
"""
import json
import os
import signal
import sys
import threading

import usher_client as uc
from usher_box import OUR4, Box, run, run_on_wire, sums_agree
from usher_client import Client, ControlPort, EventStatus, HoldState, Row, Status, UdpPort, Venue

BUILD = sys.argv[1] if len(sys.argv) > 1 else "build"
EVENT = 7
bench = None
FULL = (1 << 64) - 1
HALL = Venue(sections=[[Row(FULL)] * 8], prices=(2500, 4000), user_seats_max=64)


def usher(*command, check=True):
    return run(os.path.join(BUILD, "tools/usher"), *command, check=check)


class Sale:
    def __init__(self, venue=HALL, sets=()):
        bench.offload("off")
        self.box = Box(BUILD, "af_packet:ush0", sets, bench.a)
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

    def connect(self):
        return Client(ControlPort(self.box.control_path))

    def socket(self):
        return ("--socket", self.box.control_path)

    def sell(self, user, seats):
        held = self.udp.reserve(EVENT, user, seats)
        return self.control.confirm(EVENT, user, held.hold)

    def end(self):
        assert sums_agree(self.control.stats())
        self.udp.close()
        self.control.close()
        assert self.box.stop() == 0
        for words in (("verify", "--json"), ("verify", "--json", "--from-start")):
            verdict = usher(*words, self.box.state, check=False)
            assert verdict.returncode == 0, verdict.stdout


def test_statuses_go_where_they_may():
    """Goal: all pairs of statuses, by the table of docs/protocol.md; kept over kill -9."""
    S = EventStatus
    table = {S.DRAFT: {S.ON_SALE, S.PAUSED, S.CANCELLED},
             S.ON_SALE: {S.PAUSED, S.COMPLETED, S.CANCELLED},
             S.PAUSED: {S.ON_SALE, S.COMPLETED, S.CANCELLED},
             S.COMPLETED: {S.PAUSED, S.CANCELLED}, S.CANCELLED: set()}
    s = Sale()
    event, ends = 100, {}
    for start, may in table.items():
        for to in table:
            event += 1
            s.control.event_load(event, Venue([[Row(1)]]).image())
            if start == S.COMPLETED:
                s.control.event_status(event, S.ON_SALE)
            if start != S.DRAFT:
                s.control.event_status(event, start)
            reply = s.control.call(uc.Op.EVENT_STATUS, event=event, arg=to)
            if to in may or to == start:
                assert (reply.status, reply.detail) == (Status.OK, to), (start, to, reply)
                ends[event] = to
            else:
                assert (reply.status, reply.detail) == (Status.WRONG_STATUS, start), (start, to, reply)
                ends[event] = start
    s.restart()
    for event, status in ends.items():
        assert s.control.status(event).detail == status
    s.end()


def test_cancelled_event_lists_its_refunds():
    """Goal: what was sold is listed for refund, is there after kill -9, and goes as it is refunded."""
    s = Sale()
    sold = {}
    for user in range(1, 41):
        row = user % 8
        reply = s.sell(user, [(row, 1 << user)] + ([((row + 1) % 8, 1 << user)] if user % 3 == 0 else []))
        sold[reply.hold] = (user, reply.amount)
    held = s.udp.reserve(EVENT, 90, [(0, 1 << 63)])
    paying = s.udp.reserve(EVENT, 91, [(1, 1 << 63)])
    s.control.pay_begin(EVENT, 91, paying.hold, 1, paying.amount)
    assert len(s.control.bookings(EVENT)) == 42
    s.restart()
    shown = usher("event", "status", "--event", str(EVENT), "cancelled", *s.socket()).stdout
    assert "bookings" in shown
    pages = []
    listed = s.control.bookings(EVENT, refund=True, pages=pages)
    assert len(pages) > 1, "one page only"
    assert {h: (e[0].user, sum(x.amount for x in e)) for h, e in listed.items()
            if e[0].state == HoldState.SOLD} == sold
    assert [h for h, e in listed.items() if e[0].state == HoldState.PAYING] == [paying.hold]
    assert held.hold not in listed
    lines = [json.loads(line) for line in usher("event", "bookings", "--event", str(EVENT), "--refund", "--json",
                                                *s.socket()).stdout.splitlines()]
    assert {int(x["hold"], 16): (x["user"], x["amount"]) for x in lines if x["state"] == "SOLD"} == sold
    assert all(x["seat_count"] == sum(int(seats["mask"], 16).bit_count() for seats in x["seats"]) for x in lines)
    # The payment that was under way succeeds, and is to be refunded as well.
    s.control.pay_end(EVENT, 91, paying.hold, 2, True)
    while True:
        listed = s.control.bookings(EVENT, refund=True)
        if not listed:
            break
        for hold, entries in list(listed.items())[:20]:
            assert entries[0].state == HoldState.SOLD
            begun = s.control.refund_begin(EVENT, entries[0].user, hold, entries[0].version)
            s.control.refund_end(EVENT, entries[0].user, hold, begun.hold_version, True)
        s.restart()
    assert usher("event", "bookings", "--event", str(EVENT), "--refund", *s.socket()).stdout == ""
    assert usher("event", "bookings", "--event", "9", *s.socket(), check=False).returncode == 1
    s.end()


def test_list_while_the_sale_goes_on():
    """Goal: a list misses none of what was there when it began, and tells none twice, whatever changes
    meanwhile. Method: two loops; one client sells, gives back and hands on while another lists."""
    s = Sale(sets=["cores.loops=0,1"])
    there = {s.sell(user, [(user % 8, 1 << user // 8)]).hold for user in range(1, 201)}
    stop, failed = threading.Event(), []

    def trade():
        client, control = Client(UdpPort(bench.udp(OUR4))), s.connect()
        try:
            number = 0
            while not stop.is_set():
                number += 1
                user = 1000 + number
                held = client.reserve(EVENT, user, [(number % 8, 1 << 40 + number % 20)])
                if number % 2:
                    client.release(EVENT, user, held.hold)
                else:
                    sold = control.confirm(EVENT, user, held.hold)
                    moved = control.patient(uc.Op.TRANSFER, event=EVENT, user=user, hold=held.hold,
                                            section=sold.hold_version, arg=user + 100000)
                    back = control.refund_begin(EVENT, user + 100000, held.hold, moved.hold_version)
                    control.refund_end(EVENT, user + 100000, held.hold, back.hold_version, True)
        except Exception as error:  # pylint: disable=broad-except
            failed.append(error)
        finally:
            client.close()
            control.close()

    thread = threading.Thread(target=trade)
    thread.start()
    lists = 0
    try:
        for _ in range(20):
            listed = s.control.bookings(EVENT)
            assert there <= set(listed), "a booking is missing"
            lists += 1
    finally:
        stop.set()
        thread.join()
    print(f"# {lists} lists")
    assert not failed, failed
    s.end()


TESTS = [test_statuses_go_where_they_may, test_cancelled_event_lists_its_refunds,
         test_list_while_the_sale_goes_on]


if __name__ == "__main__":
    run_on_wire(globals(), TESTS)
