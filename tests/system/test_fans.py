#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Verified fans from registration to their tier of the lobby, and a waiting room from its opening to a held seat: all of it
over HTTP, with the real usher-control. (test_entry.py has a stand-in for people/.)

usage: test_fans.py BUILD-FOLDER
"""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import usher_box  # noqa: E402
import shop as shops  # noqa: E402
from shop import until  # noqa: E402
from test_hooks import ROOT  # noqa: E402
from test_people import BUILD, DATABASE, Person, appoint, code_for, same  # noqa: E402


def open_shop():
    """ret: a shop with a waiting room's space, its operator, an event on sale."""
    s = shops.Shop(BUILD, database=DATABASE, sandbox=False, sets=["people.codes_file={folder}/codes"],
                   box_sets=("limits.room_users=1000", "limits.room_devices=64"))
    appoint(s, "operator", "op@example.org")
    operator = Person(s, "op@example.org").sign_in()
    venue = operator.post("/v1/admin/venues", {"name": "Hall", "city": "Oslo", "country": "NO",
                                               "timezone": "Europe/Oslo"}).json()["venue"]
    event = operator.post("/v1/admin/events", {
        "name": "Owls", "category": "rock", "performers": ["Owls"], "venue": venue, "starts": "2031-01-01T19:00:00Z",
        "plan": json.loads((ROOT / "venues/club.json").read_text())}).json()["event"]
    same(operator.post(f"/v1/admin/events/{event}/publish", {}).status, 200)
    return s, operator, event


def fan(s, mail, phone, event):
    person = Person(s, mail).sign_in()
    challenge = person.post("/v1/me/verify", {"phone": phone}, key="").json()["challenge"]
    same(person.post("/v1/me/verify/code", {"challenge": challenge, "code": code_for(s, phone)}, key="").status, 200)
    if event:
        same(person.post(f"/v1/events/{event}/fans", {}).status, 201)
    return person


def test_a_registered_fan_is_drawn_first():
    s, operator, event = open_shop()
    with s:
        queue = f"/v1/events/{event}/queue"
        same(operator.post("/v1/admin" + queue[3:], {"action": "open", "users": 100, "beacon": {
            "source": "drand", "round": 5}}).status, 200)
        mine = fan(s, "fan@example.org", "+4930111111", event)
        others = fan(s, "other@example.org", "+4930222222", event + 1)
        plain = Person(s, "plain@example.org").sign_in()
        people = [(plain, 2), (others, 2), (mine, 0)]
        tickets = []
        for number, (person, tier) in enumerate(people):
            joined = until(lambda person=person, number=number: (
                a := person.post(queue, {"device": f"{number + 1:016x}"}, key="")).status in (200, 201) and a.json())
            same(joined["tier"], tier)
            tickets.append(joined["ticket"])
        same(plain.post(f"/v1/events/{event}/holds", {"best": {"count": 1}}).code, "access_wanted")
        same(operator.post("/v1/admin" + queue[3:], {"action": "close"}).status, 200)
        same(operator.post("/v1/admin" + queue[3:], {"action": "draw", "value": "ab" * 32}).status, 200)
        proof = until(lambda: (a := s.get(
            queue + "/proof", headers=mine.headers(**{"Usher-Ticket": tickets[2]}))).status == 200 and a)
        same(proof.json()["number"], 0)
        same(operator.post("/v1/admin" + queue[3:], {"action": "rate", "per_minute": 6000}).status, 200)
        token = until(lambda: (a := mine.post(queue + "/exchange", {"ticket": tickets[2]}, key="")).status == 200 and a.json())
        held = s.post(f"/v1/events/{event}/holds", {"best": {"count": 1}},
                      headers=mine.headers(**{"Usher-Access": token["token"]}))
        same(held.status, 201)


def main():
    tap = usher_box.Tap()
    tap.run(test_a_registered_fan_is_drawn_first)
    tap.end()


if __name__ == "__main__":
    main()
