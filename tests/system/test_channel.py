#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Channels from outside, with a client written from the document: a real usherd behind a veth pair,
UDP, the control port, the command line, kill -9.

usage: test_channel.py BUILD-DIR [NAME-PART]...   (root; makes and removes its own namespaces)
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
EVENT, FAN = 7, 3
bench = None
HALL = Venue(sections=[[Row(0xff), Row(0xff), Row(0xff)]], prices=(2500,), user_seats_max=60)


def usher(*command, check=True):
    return run(os.path.join(BUILD, "tools/usher"), *command, check=check)


class Sale:
    def __init__(self):
        bench.offload("off")
        self.box = Box(BUILD, "af_packet:ush0", (), bench.a)
        self.box.start()
        self.udp = Client(UdpPort(bench.udp(OUR4)))
        self.control = Client(ControlPort(self.box.control_path))
        self.control.event_load(EVENT, HALL.image())
        self.control.event_status(EVENT, EventStatus.ON_SALE)

    def restart(self):
        self.control.close()
        assert self.box.stop(signal.SIGKILL) == -signal.SIGKILL
        self.box.start()
        self.control = Client(ControlPort(self.box.control_path))

    def refused(self, status, user, seats, key=None):
        try:
            self.udp.reserve(EVENT, user, seats, key=key)
        except uc.Refused as refusal:
            assert refusal.reply.status == status, refusal
            return refusal.reply
        raise AssertionError(f"{seats} were given to {user}")

    def end(self):
        assert sums_agree(self.control.stats())
        self.udp.close()
        self.control.close()
        assert self.box.stop() == 0
        for words in (("verify", "--json"), ("verify", "--json", "--from-start")):
            verdict = usher(*words, self.box.state, check=False)
            assert verdict.returncode == 0, verdict.stdout


def test_channel_sells_to_its_key():
    """Goal: only the key buys, the others are told TAKEN; each sees what they may buy."""
    s = Sale()
    s.control.block(EVENT, [(0, 0x0f), (1, 0xff)], FAN)
    key = s.control.channel_key(EVENT, FAN)
    assert s.refused(Status.TAKEN, 5, [(0, 0x3)]).hold == 0x3
    assert s.udp.query_section(EVENT, 0) == {0: 0xf0, 1: 0, 2: 0xff}
    assert s.udp.query_section(EVENT, 0, key=key) == {0: 0xff, 1: 0xff, 2: 0xff}
    mixed = s.udp.reserve(EVENT, 5, [(0, 0x18), (1, 0x1)], key=key)
    assert mixed.amount == 3 * 2500 and mixed.state == HoldState.HELD
    s.refused(Status.CHANNEL, 5, [(0, 0x1)], key=(FAN, key[1] + 1, key[2]))
    s.refused(Status.CHANNEL, 5, [(0, 0x1)], key=(FAN, key[1], bytes(16)))
    s.refused(Status.TAKEN, 5, [(0, 0x1)], key=s.control.channel_key(EVENT, FAN + 1))
    s.end()


def test_channel_survives_kill():
    """Goal: channels, keys and where seats come back to are known after kill -9 at each step."""
    s = Sale()
    s.control.block(EVENT, [(0, 0x0f)], FAN)
    old = s.control.channel_key(EVENT, FAN)
    key = s.control.channel_key(EVENT, FAN, new=True)
    assert key[1] == old[1] + 1 and key[2] != old[2]
    s.restart()
    assert s.control.channel_key(EVENT, FAN) == key
    s.refused(Status.CHANNEL, 5, [(0, 0x1)], key=old)
    hold = s.udp.reserve(EVENT, 5, [(0, 0x7)], key=key)
    s.restart()
    assert s.udp.query_hold(EVENT, 5, hold.hold).state == HoldState.HELD
    s.udp.give_back(EVENT, 5, hold.hold, [(0, 0x1)])
    s.restart()
    s.refused(Status.TAKEN, 6, [(0, 0x1)])
    assert s.udp.reserve(EVENT, 6, [(0, 0x1)], hold_ms=1000, key=key).state == HoldState.HELD
    s.udp.release(EVENT, 5, hold.hold)
    time.sleep(1.2)
    s.restart()
    assert s.udp.query_section(EVENT, 0)[0] == 0xf0
    assert s.udp.query_section(EVENT, 0, key=key)[0] == 0xff
    s.control.unblock(EVENT, [(0, 0xff)], FAN)
    s.restart()
    assert s.udp.reserve(EVENT, 7, [(0, 0xff)]).amount == 8 * 2500
    s.end()


def test_channel_from_a_snapshot():
    """Goal: a snapshot holds channels, keys and what of them is free."""
    s = Sale()
    s.control.block(EVENT, [(0, 0x0f)], FAN)
    key = s.control.channel_key(EVENT, FAN, new=True)
    s.udp.reserve(EVENT, 5, [(0, 0x1)], key=key)
    s.restart()
    made = usher("journal", "snapshot", "--json", s.box.state, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    s.restart()
    assert s.control.channel_key(EVENT, FAN) == key
    assert s.udp.query_section(EVENT, 0)[0] == 0xf0
    assert s.udp.query_section(EVENT, 0, key=key)[0] == 0xfe
    s.end()


def test_channel_by_command_line():
    """Goal: usher event and usher client do it all, and say what is wrong."""
    s = Sale()
    socket = ("--socket", s.box.control_path)
    s.control.block(EVENT, [(2, 0x3)], FAN)
    told = usher("event", "channel-key", "--event", str(EVENT), "--channel", str(FAN), *socket).stdout.strip()
    bought = json.loads(usher("client", *socket, "reserve", "--json", "-e", str(EVENT), "-u", "5", "-i", "1",
                              "-r", "2", "-m", "0x3", "--channel", str(FAN), "--key", told).stdout)
    assert bought["status"] == "OK", bought
    again = usher("event", "channel-key", "--event", str(EVENT), "--channel", str(FAN), "--new", *socket)
    assert again.stdout.split(":")[0] == "1" and again.stdout.strip() != told
    refused = usher("client", *socket, "reserve", "--json", "-e", str(EVENT), "-u", "5", "-i", "2", "-r", "2",
                    "-m", "0x3", "--channel", str(FAN), "--key", told, check=False)
    assert refused.returncode == 1 and json.loads(refused.stdout)["status"] == "CHANNEL"
    shown = json.loads(usher("client", *socket, "section", "--json", "-e", str(EVENT), "-s", "0", "--channel",
                             str(FAN), "--key", again.stdout.strip()).stdout)
    assert shown["free"] == ["0xff", "0xff", "0xfc"], shown
    for wrong in (("--key", told), ("--channel", "16"), ("--channel", "3", "--key", "1:abc")):
        assert usher("client", *socket, "reserve", "-e", "7", "-u", "5", "-i", "3", "-r", "2", "-m", "1", *wrong,
                     check=False).returncode == 2
    s.end()


TESTS = [test_channel_sells_to_its_key, test_channel_survives_kill, test_channel_from_a_snapshot,
         test_channel_by_command_line]


if __name__ == "__main__":
    run_on_wire(globals(), TESTS)
