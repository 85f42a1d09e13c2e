#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rows are added and prices changed while an event is sold, from outside: a real usherd behind a veth
pair, venue files, UDP, the control port, the command line, kill -9, snapshots.

usage: test_change.py BUILD-DIR [NAME-PART]...   (root; makes and removes its own namespaces)
"""
import json
import os
import shutil
import signal
import sys
import tempfile
import threading

import usher_client as uc
from usher_box import OUR4, Bench, Box, Tap, run, sums_agree
from usher_client import Client, ControlPort, EventStatus, HoldState, Op, Status, UdpPort

BUILD = sys.argv[1] if len(sys.argv) > 1 else "build"
EVENT = 7
ROW = 20
bench = None


def usher(*command, check=True):
    return run(os.path.join(BUILD, "tools/usher"), *command, check=check)


def plan(rows, low, high, **more):
    """A hall of rows of twenty seats, the last five of each in tier high; four rows a section."""
    sections = []
    for first in range(0, rows, 4):
        sections.append({"name": f"Block {first // 4}", "tier": "low", "rows": [
            {"label": f"{row}", "seats": {"from": 1, "to": ROW},
             "tiers": [{"tier": "high", "seats": [{"from": "16", "to": "20"}]}]}
            for row in range(first, min(rows, first + 4))]})
    return {"version": 1, "name": "hall", "currency": "EUR", "limits": {"seats_per_user": 100},
            "tiers": [{"name": "low", "price_minor": low}, {"name": "high", "price_minor": high}],
            "sections": sections, **more}


class Sale:
    def __init__(self, first, sets=()):
        bench.offload("off")
        self.folder = tempfile.mkdtemp(prefix="usher-change-")
        self.box = Box(BUILD, "af_packet:ush0", sets, bench.a)
        self.box.start()
        self.udp = Client(UdpPort(bench.udp(OUR4)))
        self.control = Client(ControlPort(self.box.control_path))
        self.usher("load", "--on-sale", self.write(first))

    def write(self, what):
        path = os.path.join(self.folder, "plan.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(what, file)
        return path

    def image(self, what):
        path = os.path.join(self.folder, "plan.ushv")
        usher("event", "compile", self.write(what), "-o", path)
        with open(path, "rb") as file:
            return file.read()

    def usher(self, action, *words, check=True):
        return usher("event", action, "--event", str(EVENT), "--socket", self.box.control_path, *words, check=check)

    def kill(self):
        self.control.close()
        assert self.box.stop(signal.SIGKILL) == -signal.SIGKILL

    def start(self):
        self.box.start()
        self.control = Client(ControlPort(self.box.control_path))

    def end(self):
        assert sums_agree(self.control.stats())
        self.udp.close()
        self.control.close()
        assert self.box.stop() == 0
        for words in (("verify", "--json"), ("verify", "--json", "--from-start")):
            verdict = usher(*words, self.box.state, check=False)
            assert verdict.returncode == 0, verdict.stdout
        shutil.rmtree(self.folder)


def test_command_line():
    """Goal: what a person types adds rows and changes prices, says so, and says what does not fit."""
    s = Sale(plan(4, 1000, 3000))
    old = s.udp.reserve(EVENT, 5, [(0, 1 | 1 << 15)])
    assert old.amount == 4000
    bigger = s.write(plan(6, 1500, 3000))
    said = s.usher("change", bigger).stdout
    assert "120 places now, change 1\n" in said and "low: 15.00 EUR" in said and "high: 30.00 EUR" in said, said
    assert "done before" in s.usher("change", bigger).stdout
    new = s.udp.reserve(EVENT, 6, [(5, 1 | 1 << 15)])
    assert new.amount == 4500
    assert s.udp.query_hold(EVENT, 5, old.hold).amount == 4000
    assert sorted(s.udp.query_section(EVENT, 1)) == [4, 5]
    for wrong, words in ((plan(3, 1500, 3000), "row block 3"), (plan(6, 1, 2, name="other"), "name"),
                         (plan(6, 1, 2, limits={"seats_per_user": 9}), "seats per user")):
        refused = s.usher("change", s.write(wrong), check=False)
        assert refused.returncode == 1 and "IMAGE_DIFFERS" in refused.stdout and words in refused.stdout, refused.stdout
    renamed = plan(6, 1500, 3000)
    renamed["sections"][0]["rows"][2]["label"] = "two"
    refused = s.usher("change", s.write(renamed), check=False)
    assert refused.returncode == 1 and "row block 2 is not as it was (its labels)" in refused.stdout, refused.stdout
    moved = plan(6, 1500, 3000)
    moved["sections"][1]["rows"][1]["blocked"] = ["3"]
    refused = s.usher("change", s.write(moved), check=False)
    assert refused.returncode == 1 and "row block 5" in refused.stdout, refused.stdout
    counters = s.control.stats()
    assert (counters[f"usher_event_{EVENT}_changes"], counters[f"usher_event_{EVENT}_prices"]) == (1, 1)
    assert counters[f"usher_event_{EVENT}_rows"] == 6 and counters[f"usher_event_{EVENT}_seats"] == 120
    cat = usher("journal", "cat", s.box.state).stdout
    assert cat.count(" EVENT_CHANGE ") == 1 and cat.count(" PRICES ") == 1, cat
    s.usher("status", "cancelled")
    refused = s.usher("change", s.write(plan(8, 1500, 3000)), check=False)
    assert refused.returncode == 1 and "WRONG_STATUS" in refused.stdout, refused.stdout
    refused = usher("event", "change", "--event", "99", "--socket", s.box.control_path, bigger, check=False)
    assert "UNKNOWN_EVENT" in refused.stdout, refused.stdout
    s.end()


def test_asked_twice():
    """Goal: by its request id a change is done once, also when another came between and after kill -9."""
    s = Sale(plan(4, 1000, 3000))
    one, two = s.image(plan(5, 1100, 3000)), s.image(plan(5, 1200, 3000))
    first = s.control.event_change(EVENT, one, 10)
    assert (first.status, first.detail, first.hold_version, first.amount) == (Status.OK, 0, 1, 5 * ROW)
    assert s.control.event_change(EVENT, two, 11).detail == 0
    for _ in range(2):
        again = s.control.event_change(EVENT, one, 10)
        assert (again.detail, again.sequence, again.hold_version) == (1, first.sequence, 1)
        refused = refusal(s.control.event_change, EVENT, two, 10)
        assert refused.status == Status.MISMATCH
        assert refusal(s.control.event_change, EVENT, one, 9).status == Status.STALE
        assert s.control.event_change(EVENT, two).detail == 1
        s.kill()
        s.start()
    assert s.udp.reserve(EVENT, 5, [(4, 1)]).amount == 1200
    assert s.control.call(Op.EVENT_CHANGE, event=EVENT).status == Status.BAD_IMAGE
    s.end()


def refusal(call, *args):
    try:
        call(*args)
    except uc.Refused as refused:
        return refused.reply
    raise AssertionError(f"{args} went through")


def sell(s, first_user, stop, held, amounts):
    """Reserves, confirms every third, gives every fifth back; keeps what it was told."""
    client = Client(UdpPort(bench.udp(OUR4)))
    control = Client(ControlPort(s.box.control_path))
    user = first_user
    turn = 0
    try:
        while not stop.is_set():
            turn += 1
            try:
                reply = client.reserve_best(EVENT, user, 2)
            except uc.Refused as refused:
                if refused.reply.status in (Status.NONE, Status.SOLD_OUT, Status.CONTENDED):
                    continue
                if refused.reply.status != Status.LIMIT:
                    raise
                user += 10
                continue
            held[reply.hold] = user
            amounts[reply.hold] = (reply.amount, reply.seats)
            if turn % 3 == 0:
                assert control.confirm(EVENT, user, reply.hold).amount == reply.amount
            elif turn % 5 == 0:
                client.release(EVENT, user, reply.hold)
                del held[reply.hold]
    finally:
        client.close()
        control.close()


def test_changed_under_load():
    """Goal: a sale runs while rows are added and prices change, with kill -9 in the middle and starts from
    journal and snapshot; each hold costs what was told, in whole and in part."""
    s = Sale(plan(4, 1000, 3000), sets=["cores.loops=0,1"])
    held, amounts, rows, low = {}, {}, 4, 1000
    for life in range(3):
        stop = threading.Event()
        failures = []

        def guarded(number):
            try:
                # Users of their own in each life: a new client begins with request id 1 again.
                sell(s, 100 + 10000 * life + number, stop, held, amounts)
            except Exception as error:  # noqa: BLE001 - whatever it is, the test fails
                failures.append(error)

        sellers = [threading.Thread(target=guarded, args=(number,)) for number in range(3)]
        for seller in sellers:
            seller.start()
        for step in range(4):
            rows, low = rows + 3, low + (100 if step % 2 else 0)
            reply = s.control.event_change(EVENT, s.image(plan(rows, low, 3000)))
            assert reply.detail == 0 and reply.amount == rows * ROW
        stop.set()
        for seller in sellers:
            seller.join()
        assert not failures, failures
        s.kill()
        if life == 1:
            assert usher("journal", "snapshot", s.box.state).returncode == 0
        s.start()
        told = {b.hold: b for entries in s.control.bookings(EVENT).values() for b in entries[:1]}
        for hold, user in held.items():
            assert hold in told and told[hold].user == user
        sums = {hold: sum(b.amount for b in entries) for hold, entries in s.control.bookings(EVENT).items()}
        for hold in held:
            assert sums[hold] == amounts[hold][0]
    prices = {amount for amount, _ in amounts.values()}
    assert len(prices) > 3, prices
    parts = 0
    for hold, entries in s.control.bookings(EVENT).items():
        booking = entries[0]
        if booking.state != HoldState.SOLD or bin(booking.mask).count("1") != 2 or booking.mask >> 15 != 0:
            continue
        one = booking.mask & -booking.mask
        begun = s.control.refund_begin(EVENT, booking.user, hold, booking.version, [(booking.row, one)])
        assert begun.amount * 2 == amounts[hold][0], (begun.amount, amounts[hold])
        s.control.refund_end(EVENT, booking.user, hold, begun.hold_version, True, [(booking.row, one)])
        parts += 1
        if parts == 20:
            break
    assert parts > 3
    s.kill()
    s.start()
    assert s.control.stats()[f"usher_event_{EVENT}_changes"] == 12
    print(f"# {len(amounts)} holds at {len(prices)} prices, {rows} rows, {parts} refunds of one seat")
    s.end()


def test_those_who_wait_come_first():
    """Goal: seats added while people wait are offered to them; what nobody waits for is on sale."""
    s = Sale(plan(1, 1000, 3000))
    sold = s.udp.reserve(EVENT, 5, [(0, (1 << ROW) - 1)])
    s.control.confirm(EVENT, 5, sold.hold)
    s.udp.wait_join(EVENT, 6, 4)
    s.control.event_change(EVENT, s.image(plan(2, 1000, 3500)))
    for _ in range(200):
        offers = [b for entries in s.control.bookings(EVENT).values() for b in entries if b.user == 6]
        if offers:
            break
    assert bin(offers[0].mask).count("1") == 4 and offers[0].row == 1
    for _ in range(200):
        if s.control.status(EVENT).amount == ROW - 4:
            break
    assert s.control.status(EVENT).amount == ROW - 4
    s.kill()
    s.start()
    assert s.control.confirm(EVENT, 6, offers[0].hold).amount == offers[0].amount
    s.end()


TESTS = [test_command_line, test_asked_twice, test_changed_under_load, test_those_who_wait_come_first]


def main():
    global bench
    if os.geteuid() != 0 or shutil.which("ip") is None:
        print("1..0 # SKIP needs root and iproute2")
        return
    bench = Bench()
    tap = Tap()
    wanted = sys.argv[2:]
    for test in TESTS:
        if not wanted or any(part in test.__name__ for part in wanted):
            bench.wire()
            tap.run(test)
    tap.end()


if __name__ == "__main__":
    main()
