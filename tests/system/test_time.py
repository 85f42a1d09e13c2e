#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The hold budget and the cool-down from outside: a real usherd behind a veth pair, a venue file, UDP,
kill -9, a snapshot.

usage: test_time.py BUILD-DIR [NAME-PART]...   (root; makes and removes its own namespaces)
"""
import json
import os
import signal
import sys
import tempfile
import time

import usher_client as uc
from usher_box import OUR4, Box, run, run_on_wire, sums_agree
from usher_client import Client, ControlPort, EventStatus, Row, Status, UdpPort, Venue

BUILD = sys.argv[1] if len(sys.argv) > 1 else "build"
EVENT = 7
bench = None


def usher(*command, check=True):
    return run(os.path.join(BUILD, "tools/usher"), *command, check=check)


class Sale:
    def __init__(self, image):
        bench.offload("off")
        self.box = Box(BUILD, "af_packet:ush0", (), bench.a)
        self.box.start()
        self.udp = Client(UdpPort(bench.udp(OUR4)))
        self.control = Client(ControlPort(self.box.control_path))
        self.control.event_load(EVENT, image)
        self.control.event_status(EVENT, EventStatus.ON_SALE)

    def kill(self):
        self.control.close()
        assert self.box.stop(signal.SIGKILL) == -signal.SIGKILL

    def start(self):
        self.box.start()
        self.control = Client(ControlPort(self.box.control_path))

    def refused(self, status, call, *args, **more):
        try:
            call(EVENT, *args, **more)
        except uc.Refused as refusal:
            assert refusal.reply.status == status, refusal
            return refusal.reply.detail
        raise AssertionError(f"{args} went through")

    def left(self, user):
        return self.refused(Status.HOLD_BUDGET, self.udp.reserve, user, [(2, 0xff)], hold_ms=3_600_000)

    def end(self):
        assert sums_agree(self.control.stats())
        self.udp.close()
        self.control.close()
        assert self.box.stop() == 0
        for words in (("verify", "--json"), ("verify", "--json", "--from-start")):
            verdict = usher(*words, self.box.state, check=False)
            assert verdict.returncode == 0, verdict.stdout


def hall(budget, pause_ms):
    return Venue(sections=[[Row(0xff), Row(0xff), Row(0xff)]], user_seats_max=60, hold_budget_s=budget,
                 cool_down_ms=pause_ms).image()


def test_budget_survives_kill():
    """Goal: what a user has used is known after kill -9 at each step, and from a snapshot."""
    s = Sale(hall(10_000, 0))
    a = s.udp.reserve(EVENT, 5, [(0, 0xf)], hold_ms=1_000_000)
    assert s.left(5) == 6_000
    s.kill()
    s.start()
    assert s.left(5) == 6_000 and s.left(6) == 10_000
    assert s.refused(Status.HOLD_BUDGET, s.udp.extend, 5, a.hold, 3_600_000) == 6_000
    s.udp.give_back(EVENT, 5, a.hold, [(0, 0x3)])
    kept = s.left(5)
    assert 7_800 < kept < 8_000, kept
    s.kill()
    assert usher("journal", "snapshot", s.box.state).returncode == 0
    s.start()
    assert s.left(5) == kept
    s.control.confirm(EVENT, 5, a.hold)
    sold = s.left(5)
    assert 9_600 < sold < 10_000, sold
    s.kill()
    s.start()
    assert s.left(5) == sold
    s.end()


def test_cool_down_survives_kill():
    """Goal: the pause goes on through a restart, and ends."""
    s = Sale(hall(0, 2_000))
    a = s.udp.reserve(EVENT, 5, [(0, 0x1)])
    s.udp.release(EVENT, 5, a.hold)
    begun = time.monotonic()
    assert 0 < s.refused(Status.COOL_DOWN, s.udp.reserve, 5, [(1, 0x1)]) <= 2_000
    assert 0 < s.refused(Status.COOL_DOWN, s.udp.reserve_best, 5, 2) <= 2_000
    s.udp.reserve(EVENT, 6, [(0, 0x1)])
    s.kill()
    s.start()
    if time.monotonic() - begun < 1.5:
        assert 0 < s.refused(Status.COOL_DOWN, s.udp.reserve, 5, [(1, 0x1)]) <= 2_000
    time.sleep(max(0.0, 2.05 - (time.monotonic() - begun)))
    s.udp.reserve(EVENT, 5, [(1, 0x1)])
    s.end()


def test_limits_of_a_venue_file():
    """Goal: the keys of a venue file are what the box does; the journal shows the records."""
    plan = {"version": 1, "name": "hall", "currency": "EUR",
            "limits": {"hold_s": 60, "hold_budget_s": 120, "cool_down_s": 600},
            "tiers": [{"name": "all", "price_minor": 1000}],
            "sections": [{"name": "A", "tier": "all", "rows": [{"label": "1", "seats": ["1", "2", "3"]}]}]}
    with tempfile.TemporaryDirectory() as folder:
        path, image = os.path.join(folder, "hall.json"), os.path.join(folder, "hall.ushv")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(plan, file)
        shown = usher("event", "show", path).stdout
        assert "120 seat-seconds" in shown and "600 s" in shown, shown
        usher("event", "compile", path, "-o", image)
        with open(image, "rb") as file:
            s = Sale(file.read())
    held = s.udp.reserve(EVENT, 5, [(0, 0x3)])
    assert s.refused(Status.HOLD_BUDGET, s.udp.reserve, 5, [(0, 0x4)]) == 0
    s.udp.release(EVENT, 5, held.hold)
    assert 0 < s.refused(Status.COOL_DOWN, s.udp.reserve, 5, [(0, 0x4)]) <= 600_000
    s.end()
    assert usher("journal", "cat", s.box.state).stdout.count("USER_TIME") == 2


TESTS = [test_budget_survives_kill, test_cool_down_survives_kill, test_limits_of_a_venue_file]


if __name__ == "__main__":
    run_on_wire(globals(), TESTS)
