#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The life of a hold from outside, by docs/protocol.md alone: more time, fewer seats, payment,
refund; with kill -9 between the steps.

usage: test_life.py BUILD [NAME-PART...]
"""
import json
import os
import signal
import struct
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from usher_box import Box, ON_SALE, Tap, run, venue_image  # noqa: E402
from usher_client import Client, ControlPort, HoldState, Op, Status  # noqa: E402

BUILD = sys.argv[1]
USHER = os.path.join(BUILD, "tools", "usher")
EVENT, PRICE = 1, 2500
ACK = struct.Struct("<QQQQQIIHBBIQ")
ACK_MAGIC = 0x314B434148535355


class Witness:
    """A port that writes down what was acknowledged."""

    CHANGES = (Op.RESERVE, Op.RELEASE, Op.EXTEND, Op.CONFIRM, Op.PAY_BEGIN, Op.PAY_END,
               Op.REFUND_BEGIN, Op.REFUND_END, Op.TRANSFER)

    def __init__(self, port, sale):
        self.port, self.sale = port, sale

    def __getattr__(self, name):
        return getattr(self.port, name)

    def exchange(self, data, fd=None):
        reply = self.port.exchange(data, fd)
        user = struct.unpack_from("<Q", data, 16)[0]
        # A repeat may rest on a later record, such as that of a restart.
        change = (reply.hold, reply.hold_version or reply.sequence)
        if reply.status == Status.OK and reply.op in self.CHANGES and \
                change not in self.sale.changes:
            self.sale.changes.add(change)
            self.sale.acked += 1
            mask, row = struct.unpack_from("<QH", data, 32)
            # LEGS, where there is one, comes first.
            legs = 1 + (struct.unpack_from("<I", data, 68)[0] if data[64:65] == b"\1" else 0)
            with open(self.sale.acks, "ab") as file:
                file.write(ACK.pack(0, user, reply.hold, reply.sequence, mask, EVENT,
                                    reply.request_id, row, reply.op, reply.status, legs,
                                    reply.amount))
        return reply


class Sale:
    """A box with an event on sale, and a client of its control port."""

    def __init__(self):
        self.acked, self.changes = 0, set()
        self.acks = tempfile.NamedTemporaryFile(prefix="usher-acks-").name
        with open(self.acks, "wb") as file:
            file.write(ACK.pack(ACK_MAGIC, *[0] * 11))
        self.box = Box(BUILD, sets=("memory.prefault=no", "limits.rows=4096")).start()
        self.client = self.connect()
        image = venue_image()
        self.client.event_load(EVENT, image)
        self.client.event_status(EVENT, ON_SALE)

    def connect(self):
        return Client(Witness(ControlPort(self.box.control_path), self))

    def kill(self):
        """Power is cut: what was answered must be there."""
        assert self.box.stop(signal.SIGKILL) == -signal.SIGKILL
        count = len(self.box.events("ready"))
        self.box.start(wait=False)
        self.box.wait_event("ready", count=count + 1)
        self.client = self.connect()

    def reserve(self, user, seats, **more):
        return self.client.reserve(EVENT, user, seats, **more)

    def look(self, user, hold):
        return self.client.call(Op.QUERY_HOLD, event=EVENT, user=user, hold=hold)

    def free(self):
        return self.client.call(Op.STATUS, event=EVENT).amount

    def end(self, witnessed=True):
        assert self.box.stop() == 0
        done = run(USHER, "verify", "--json", "--acks", self.acks, self.box.state, check=False)
        found = json.loads(done.stdout)
        assert done.returncode == 0 and found["sound"] and found["double_sold"] == 0, found
        assert found["acks_checked"] == self.acked and bool(self.acked) == witnessed, found
        self.box.remove()
        os.unlink(self.acks)


def test_paid():
    s = Sale()
    before = s.free()
    held = s.reserve(7, [(0, 0b111), (1, 0b1)])
    assert held.hold_version == 1 and held.amount == 4 * PRICE
    paying = s.client.pay_begin(EVENT, 7, held.hold, 1, held.amount)
    assert (paying.state, paying.hold_version, paying.detail) == (HoldState.PAYING, 2, 1)
    s.kill()
    assert s.look(7, held.hold).state == HoldState.PAYING
    again = s.client.pay_begin(EVENT, 7, held.hold, 1, held.amount)
    assert again.hold_version == 2 and again.detail == 1
    failed = s.client.pay_end(EVENT, 7, held.hold, 2, False)
    assert (failed.state, failed.hold_version) == (HoldState.HELD, 3)
    second = s.client.pay_begin(EVENT, 7, held.hold, 3, held.amount)
    assert second.detail == 2
    s.kill()
    sold = s.client.pay_end(EVENT, 7, held.hold, 4, True)
    assert (sold.state, sold.hold_version) == (HoldState.SOLD, 5)
    s.kill()
    assert s.client.pay_end(EVENT, 7, held.hold, 4, True).hold_version == 5
    assert s.free() == before - 4
    s.end()


def test_versions_and_amounts():
    s = Sale()
    held = s.reserve(7, [(0, 0b11)])
    for version, amount in ((2, 2 * PRICE), (1, 2 * PRICE - 1), (0, 2 * PRICE)):
        reply = s.client.call(Op.PAY_BEGIN, event=EVENT, user=7, hold=held.hold, section=version,
                              arg=amount, hold_ms=1000)
        assert reply.status == Status.CHANGED and reply.hold_version == 1
        assert reply.amount == 2 * PRICE
    for pay_ms in (0, 900_001):
        reply = s.client.call(Op.PAY_BEGIN, event=EVENT, user=7, hold=held.hold, section=1,
                              arg=2 * PRICE, hold_ms=pay_ms)
        assert reply.status == Status.BAD_REQUEST
    for attempt in range(1, 11):
        begun = s.client.pay_begin(EVENT, 7, held.hold, 2 * attempt - 1, 2 * PRICE)
        assert begun.detail == attempt
        s.client.pay_end(EVENT, 7, held.hold, 2 * attempt, False)
    reply = s.client.call(Op.PAY_BEGIN, event=EVENT, user=7, hold=held.hold, section=21,
                          arg=2 * PRICE, hold_ms=1000)
    assert reply.status == Status.WRONG_STATE and reply.state == HoldState.HELD
    s.end()


# Goal: nobody is thrown out while paying; a payment that fails too late ends the hold.
def test_deadline_while_paying():
    s = Sale()
    before = s.free()
    held = s.reserve(7, [(0, 0b11)], hold_ms=300)
    other = s.reserve(8, [(0, 0b1100)], hold_ms=300)
    for user, hold in ((7, held.hold), (8, other.hold)):
        s.client.pay_begin(EVENT, user, hold, 1, 2 * PRICE)
    time.sleep(0.8)
    assert s.look(7, held.hold).state == HoldState.PAYING
    assert s.free() == before - 4
    assert s.client.pay_end(EVENT, 7, held.hold, 2, True).state == HoldState.SOLD
    assert s.client.pay_end(EVENT, 8, other.hold, 2, False).state == HoldState.EXPIRED
    assert s.look(8, other.hold).status == Status.NO_HOLD
    assert s.free() == before - 2
    s.kill()
    assert s.free() == before - 2
    s.end()


def test_extend_and_give_back():
    s = Sale()
    before = s.free()
    held = s.reserve(7, [(0, 0b111), (1, 0b11)], hold_ms=2000)
    longer = s.client.extend(EVENT, 7, held.hold, hold_ms=60_000)
    assert longer.deadline_ns > held.deadline_ns + 50_000_000_000 and longer.hold_version == 2
    reply = s.client.call(Op.EXTEND, event=EVENT, user=7, hold=held.hold, hold_ms=120_000,
                          request_id=900)
    assert reply.status == Status.WRONG_STATE and reply.state == HoldState.HELD
    less = s.client.give_back(EVENT, 7, held.hold, [(0, 0b101), (1, 0b10)], request_id=901)
    assert (less.state, less.amount, less.hold_version) == (HoldState.HELD, 2 * PRICE, 3)
    assert s.free() == before - 2
    s.kill()
    again = s.client.give_back(EVENT, 7, held.hold, [(0, 0b101), (1, 0b10)], request_id=901)
    assert again.detail == 1 and again.amount == 2 * PRICE
    reply = s.client.call(Op.RELEASE, event=EVENT, user=7, hold=held.hold, request_id=902, row=0,
                          mask=0b1)
    assert reply.status == Status.CHANGED
    assert s.free() == before - 2
    taken = s.reserve(8, [(0, 0b101)])
    assert taken.status == Status.OK
    last = s.client.give_back(EVENT, 7, held.hold, [(0, 0b10), (1, 0b1)], request_id=903)
    assert last.state == HoldState.RELEASED
    assert s.look(7, held.hold).status == Status.NO_HOLD
    s.end()


def test_refunded_by_seat():
    s = Sale()
    before = s.free()
    held = s.reserve(7, [(0, 0b111), (1, 0b1)])
    s.client.confirm(EVENT, 7, held.hold)
    part = s.client.refund_begin(EVENT, 7, held.hold, 2, [(0, 0b10), (1, 0b1)])
    assert (part.state, part.amount) == (HoldState.REFUNDING, 2 * PRICE)
    assert s.free() == before - 4, "not before the provider said so"
    s.kill()
    other = s.client.call(Op.REFUND_END, event=EVENT, user=7, hold=held.hold, section=3, arg=1,
                          row=0, mask=0b1)
    assert other.status == Status.CHANGED
    done = s.client.refund_end(EVENT, 7, held.hold, 3, True, [(0, 0b10), (1, 0b1)])
    assert (done.state, done.amount, done.hold_version) == (HoldState.SOLD, 2 * PRICE, 4)
    assert s.free() == before - 2
    s.client.refund_begin(EVENT, 7, held.hold, 4)
    failed = s.client.refund_end(EVENT, 7, held.hold, 5, False, [(0, 0b101)])
    assert (failed.state, failed.hold_version) == (HoldState.SOLD, 6)
    s.client.refund_begin(EVENT, 7, held.hold, 6)
    s.kill()
    last = s.client.refund_end(EVENT, 7, held.hold, 7, True, [(0, 0b101)])
    assert last.state == HoldState.REFUNDED
    assert s.free() == before
    assert s.look(7, held.hold).status == Status.NO_HOLD
    s.kill()
    assert s.free() == before
    assert s.reserve(9, [(0, 0b111), (1, 0b1)]).status == Status.OK
    s.end()


def test_transferred():
    s = Sale()
    held = s.reserve(7, [(0, 0b111)])
    s.client.confirm(EVENT, 7, held.hold)
    for wrong in (0, 7):
        assert s.client.call(Op.TRANSFER, event=EVENT, user=7, hold=held.hold, section=2,
                             arg=wrong).status == Status.BAD_REQUEST
    for _ in range(2):
        given = s.client.call(Op.TRANSFER, event=EVENT, user=7, hold=held.hold, section=2, arg=8)
        assert (given.status, given.state, given.hold_version) == (Status.OK, HoldState.SOLD, 3)
    assert s.look(7, held.hold).status == Status.NO_HOLD
    assert s.look(8, held.hold).hold_version == 3
    s.kill()
    assert s.look(7, held.hold).status == Status.NO_HOLD
    assert s.look(8, held.hold).state == HoldState.SOLD
    s.client.refund_begin(EVENT, 8, held.hold, 3)
    assert s.client.refund_end(EVENT, 8, held.hold, 4, True, [(0, 0b111)]).state == HoldState.REFUNDED
    s.end()


# Goal: a cancelled event takes no holds and no payments, and stays cancelled.
def test_cancelled():
    s = Sale()
    sold, held, paying = (s.reserve(user, [(0, 1 << user)]) for user in (1, 2, 3))
    s.client.confirm(EVENT, 1, sold.hold)
    s.client.pay_begin(EVENT, 3, paying.hold, 1, PRICE)
    s.client.event_status(EVENT, 6)
    for reply in (s.client.call(Op.RESERVE, event=EVENT, user=4, request_id=1, row=0, mask=16),
                  s.client.call(Op.PAY_BEGIN, event=EVENT, user=2, hold=held.hold, section=1,
                                arg=PRICE, hold_ms=1000),
                  s.client.call(Op.EVENT_STATUS, event=EVENT, arg=ON_SALE)):
        assert reply.status == Status.NOT_ON_SALE and reply.detail == 6, reply
    s.kill()
    assert s.client.call(Op.STATUS, event=EVENT).detail == 6
    assert s.client.pay_end(EVENT, 3, paying.hold, 2, True).state == HoldState.SOLD
    for user, hold, version in ((1, sold.hold, 2), (3, paying.hold, 3)):
        s.client.refund_begin(EVENT, user, hold, version)
        done = s.client.refund_end(EVENT, user, hold, version + 1, True, [(0, 1 << user)])
        assert done.state == HoldState.REFUNDED
    s.end()


# Goal: the tool says the same.
def test_tool():
    s = Sale()

    def usher(*words):
        done = run(USHER, "client", "--socket", s.box.control_path, "--json", *words, check=False)
        return json.loads(done.stdout)

    held = usher("reserve", "-e", "1", "-u", "7", "-i", "1", "-r", "0", "-m", "0x3")
    about = ("-e", "1", "-u", "7", "-h", held["hold"])
    assert held["version"] == 1
    assert usher("extend", *about, "-i", "2", "--hold-ms", "900000")["status"] == "OK"
    begun = usher("pay-begin", *about, "--version", "2", "--amount", "5000", "--hold-ms", "60000")
    assert begun["state"] == "PAYING" and begun["version"] == 3, begun
    assert usher("pay-end", *about, "--version", "3", "--outcome", "succeeded")["state"] == "SOLD"
    assert usher("refund-begin", *about, "--version", "4", "-r", "0", "-m", "1")["amount"] == 2500
    end = usher("refund-end", *about, "--version", "5", "-r", "0", "-m", "1", "--outcome",
                "succeeded")
    assert end["state"] == "SOLD" and end["amount"] == 2500, end
    s.acked = 0
    s.end(witnessed=False)


def main():
    tap = Tap()
    wanted = sys.argv[2:]
    for test in (test_paid, test_versions_and_amounts, test_deadline_while_paying,
                 test_extend_and_give_back, test_refunded_by_seat, test_transferred,
                 test_cancelled, test_tool):
        if not wanted or any(part in test.__name__ for part in wanted):
            tap.run(test)
    tap.end()


if __name__ == "__main__":
    main()
