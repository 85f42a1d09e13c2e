#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What follows from a sale elsewhere: search knows the free seats and the longest run of them; who waited is told. With
the real usher-control, on SQLite and PostgreSQL.

usage: test_hints.py BUILD-FOLDER [sqlite|postgres]      with Debian's own Python (aiosmtpd)
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import postgres  # noqa: E402
import usher_box  # noqa: E402
from test_tickets import Person, Relay, make_event, open_shop, same, until  # noqa: E402

PLAN = {"version": 1, "name": "Small", "currency": "GBP", "limits": {"seats_per_user": 8, "hold_s": 600},
        "tiers": [{"name": "A", "price_minor": 1000}],
        "sections": [{"name": "S", "tier": "A", "rows": [{"label": "1", "seats": {"from": 1, "to": 7}}]},
                     {"name": "F", "tier": "A", "kind": "area", "capacity": 5}]}


def test_search_follows_sales(database):
    relay = Relay()
    with open_shop(relay, database) as s:
        _, operator = make_event(s, relay)
        ann = Person(s, relay, "ann@mail.example")
        venue = operator.post("/v1/admin/venues", {"name": "Small", "city": "Bath", "country": "GB",
                                                   "timezone": "Europe/London"})["venue"]
        event = operator.post("/v1/admin/events", {"name": "Tiny", "category": "rock", "performers": [],
                                                   "starts": "2031-01-01T19:00:00Z", "venue": venue, "plan": PLAN})["event"]
        operator.post(f"/v1/admin/events/{event}/publish")

        def found(k):
            return [i["event"] for i in s.get(f"/v1/search?city=Bath&together={k}").json()["items"]] == [event]

        def known():
            shown = s.get(f"/v1/events/{event}").json()
            return shown["free"], shown["together"]
        same((known(), found(7), found(8)), ((12, 7), True, False))
        # One in the middle of the row: 3 on each side, and the 5 places of the area.
        middle = ann.post(f"/v1/events/{event}/holds", {"seats": [[0, 3]]})
        until(lambda: known() == (11, 5), 5)
        same((found(5), found(6)), (True, False))
        # Of the area one place, wherever it is: the others are together all the same.
        place = ann.post(f"/v1/events/{event}/holds", {"area": {"section": 1, "count": 1}})
        until(lambda: known() == (10, 4), 5)
        same(s.delete(f"/v1/holds/{place['hold']}", headers=ann.head).status, 204)
        rest = [ann.post(f"/v1/events/{event}/holds", body) for body in (
            {"seats": [[0, 0], [0, 1], [0, 2]]}, {"seats": [[0, 4], [0, 5], [0, 6]]})]
        until(lambda: known() == (5, 5), 5)
        bob = Person(s, relay, "bob@mail.example")
        last = bob.buy(event, None, {"area": {"section": 1, "count": 5}})
        until(lambda: known() == (0, 0), 5)
        assert not found(1)
        # Away meanwhile: it is told after the start.
        s.control.kill()
        s.control.start()
        s.wait_ready()
        for hold in (*rest, middle):
            same(s.delete(f"/v1/holds/{hold['hold']}", headers=ann.head).status, 204)
        until(lambda: known() == (7, 7), 5)
        bob.post(f"/v1/orders/{last}/refunds")
        until(lambda: known() == (12, 7), 5)
        assert found(7)
    relay.controller.stop()


def test_who_waited_is_told(database):
    """Sold out, somebody waits, seats come back: the offer is mailed, can be paid, and is then no offer any more."""
    relay = Relay()
    with open_shop(relay, database) as s:
        _, operator = make_event(s, relay)
        ann, bob = Person(s, relay, "ann@mail.example"), Person(s, relay, "bob@mail.example")
        venue = operator.post("/v1/admin/venues", {"name": "Small", "city": "Bath", "country": "GB",
                                                   "timezone": "Europe/London"})["venue"]
        plan = {**PLAN, "sections": [{"name": "S", "tier": "A", "rows": [{"label": "1", "seats": {"from": 1, "to": 2}}]}]}
        event = operator.post("/v1/admin/events", {"name": "Tiny", "category": "rock", "performers": [],
                                                   "starts": "2031-01-01T19:00:00Z", "venue": venue, "plan": plan})["event"]
        operator.post(f"/v1/admin/events/{event}/publish")
        order = ann.buy(event, 2)
        until(lambda: s.post(f"/v1/events/{event}/holds", {"best": {"count": 1}}, headers=bob.head).code == "sold_out")
        entry = bob.post(f"/v1/events/{event}/waitlist", {"seats": 2})["entry"]
        ann.post(f"/v1/orders/{order}/refunds")
        offer = until(lambda: (a := bob.get(f"/v1/waitlist/{entry}").json())["state"] == "offered" and a)
        mail = until(lambda: relay.to("bob@mail.example", "Seats for you: Tiny"))[0].get_body(("plain",)).get_content()
        for word in ("S, row 1, seat 1", "S, row 1, seat 2", "Total 20.00 GBP", f"/v1/holds/{offer['hold']}",
                     offer["deadline"][:16].replace("T", " ") + " UTC"):
            assert word in mail, (word, mail)
        # A kill may repeat what was under way, not what is known to be out.
        until(lambda: bob.get("/v1/me/export").json()["mails_waiting"] == [])
        s.control.kill()
        s.control.start()
        s.wait_ready()
        payment = bob.post(f"/v1/holds/{offer['hold']}/payments")
        assert payment["amount"] == 2000, payment
        same(len(relay.to("bob@mail.example", "Seats for you")), 1)
    relay.controller.stop()


def main():
    tap = usher_box.Tap()
    wanted = sys.argv[2:] or ["sqlite", "postgres"]
    if "sqlite" in wanted:
        tap.run(test_search_follows_sales, "sqlite")
        tap.run(test_who_waited_is_told, "sqlite")
    if "postgres" in wanted:
        try:
            with postgres.Postgres() as server:
                os.chmod(server.folder, 0o755)
                tap.run(test_search_follows_sales, server.database("hints"))
                tap.run(test_who_waited_is_told, server.database("offers"))
        except postgres.Missing as why:
            tap.skip("PostgreSQL", why)
    tap.end()


if __name__ == "__main__":
    main()
