#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""usher-control's clock is wrong, by ten minutes or an hour, against usherd, the provider and the gates: what was bought
is paid once and has its tickets, what is refunded is refunded, and what goes by clocks says so instead of failing oddly.

usage: test_clock.py BUILD-FOLDER      with Debian's own Python (aiosmtpd)
"""
import calendar
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import usher_box  # noqa: E402
from test_tickets import Gate, Person, Relay, make_event, open_shop, same, until  # noqa: E402


def seconds_to(text):
    """From now, by this machine's clock, to a time of the API."""
    whole = time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")
    return calendar.timegm(whole) - time.time()


def test_wrong_clock(shift_s):
    relay = Relay()
    with open_shop(relay, "sqlite") as s, tempfile.TemporaryDirectory() as folder:
        event, operator = make_event(s, relay)
        before = Person(s, relay, "before@mail.example")
        early = before.buy(event, 1)
        s.sets.append(f"control.clock_shift_s={shift_s}")
        s.control.restart()
        s.wait_ready()
        # Who was signed in still is, and sees what was bought.
        until(lambda: before.get(f"/v1/orders/{early}").json().get("state") == "sold")
        ann, bob = Person(s, relay, "ann@mail.example"), Person(s, relay, "bob@mail.example")
        # A hold lives by usherd's clock. What is left of it is told as it is.
        hold = ann.post(f"/v1/events/{event}/holds", {"best": {"count": 1}})
        left = seconds_to(hold["deadline"])
        assert 60 < left <= 900, (left, hold)
        same(s.delete(f"/v1/holds/{hold['hold']}", headers=ann.head).status, 204)
        order = ann.buy(event, 2)
        # The provider's word is too old (or too new) to be believed, and is not needed.
        until(lambda: ann.get(f"/v1/orders/{order}").json().get("state") == "sold")
        offer = ann.post(f"/v1/orders/{order}/transfers")
        bob.post(f"/v1/transfers/{offer['code']}/accept")
        theirs = until(lambda: (a := bob.get(f"/v1/orders/{order}/tickets")).status == 200 and a.json()["items"])
        gate = Gate(s, event, folder)
        same(gate.verdict(theirs[0]["code"], "door"), "VALID")
        bob.post(f"/v1/orders/{order}/refunds")
        until(lambda: bob.get(f"/v1/orders/{order}").json().get("state") == "refunded")
        until(lambda: bob.get(f"/v1/orders/{order}/tickets").code == "ticket_not_found")
        same(gate.verdict(theirs[1]["code"], "door"), "REVOKED")
        report = operator.get("/v1/admin/reconciliation").json()
        same((report["findings"], report["under_way"]), ([], 0))
        # Put right again: nothing was done twice, and all of it is still there.
        s.sets.pop()
        s.control.restart()
        s.wait_ready()
        until(lambda: bob.get(f"/v1/orders/{order}").json().get("state") == "refunded")
        again = ann.buy(event, 1)
        until(lambda: ann.get(f"/v1/orders/{again}").json().get("state") == "sold")
        same(operator.get("/v1/admin/reconciliation").json()["findings"], [])
    relay.controller.stop()


def main():
    tap = usher_box.Tap()
    for shift_s in (600, -600, 3600, -3600):
        tap.run(test_wrong_clock, shift_s)
    tap.end()


if __name__ == "__main__":
    main()
