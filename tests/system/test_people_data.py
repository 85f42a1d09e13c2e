#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What is kept about a buyer: the export has all of it, and after the deletion nothing leads to the person, in the whole
database, while the books keep what they need. Through the real shop: bought, refunded, given away, waited for, mailed.

usage: test_people_data.py BUILD-FOLDER [sqlite|postgres]      with Debian's own Python (aiosmtpd)
"""
import os
import pathlib
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import postgres  # noqa: E402
import usher_box  # noqa: E402
from test_tickets import Person, Relay, make_event, open_shop, same, until  # noqa: E402

# Also in capitals: addresses are kept in lower case, names as they are given.
ADDRESS, NAME, OTHER = "anna.auskunft@mail.example", "Anna Q. Auskunft", "bob.bleibt@mail.example"
TRACES = ("anna.auskunft", "Auskunft", "anna-chose-this-key", "Anna Q.")
OTHERS = 400


def grep(s, server, name):
    """ret: which traces of the person are in the database's files (SQLite) or its dump (PostgreSQL), and where."""
    if server is None:
        texts = {path.name: path.read_bytes() for path in pathlib.Path(s.state).iterdir() if path.is_file()}
        assert "usher.db" in texts, texts.keys()
    else:
        texts = {"dump": server.must(server.bin / "pg_dump", "-h", server.folder, "-U", "usher", name).encode()}
        assert b"people_accounts" in texts["dump"]
    return sorted({(where, trace) for where, text in texts.items() for trace in TRACES
                   if trace.lower().encode() in text.lower()})


def rows(s, server, name, sql):
    if server is not None:
        return [line.split("|") for line in server.sql(sql, name).splitlines()]
    with sqlite3.connect(f"file:{s.state}/usher.db?mode=ro", uri=True) as db:
        return [[str(value) for value in row] for row in db.execute(sql)]


def make_small_event(operator):
    plan = {"version": 1, "name": "Booth", "currency": "EUR", "limits": {"hold_s": 600, "seats_per_user": 4},
            "tiers": [{"name": "only", "price_minor": 500}], "sections": [{"name": "Booth", "kind": "seats", "rows": [
                {"label": "A", "seats": [{"from": 1, "to": 1}], "tier": "only"}]}]}
    venue = operator.post("/v1/admin/venues", {"name": "Booth", "city": "London", "country": "GB", "timezone": "Europe/London"})
    starts = time.strftime("%Y-%m-%dT19:30:00Z", time.gmtime(time.time() + 40 * 86400))
    event = operator.post("/v1/admin/events", {"name": "Reading", "category": "talk", "performers": ["Ada"],
                                               "starts": starts, "venue": venue["venue"], "plan": plan})["event"]
    operator.post(f"/v1/admin/events/{event}/publish")
    return event


def live(s, relay, ann, bob, event, small):
    """Everything that leaves something behind. ret: orders: the refunded one, the one given away, the one kept."""
    s.patch("/v1/me", {"name": NAME}, headers=ann.head)
    refunded, given, kept = (ann.buy(event, 2) for _ in range(3))
    until(lambda: ann.get(f"/v1/orders/{refunded}").status == 200)
    ann.post(f"/v1/orders/{refunded}/refunds")
    until(lambda: ann.get(f"/v1/orders/{refunded}").json()["state"] == "refunded")
    offer = ann.post(f"/v1/orders/{given}/transfers")
    bob.post(f"/v1/transfers/{offer['code']}/accept")
    # The other event has one seat, which Bob holds.
    bob.post(f"/v1/events/{small}/holds", {"best": {"count": 1}})
    same(s.post(f"/v1/events/{small}/waitlist", {"seats": 1}, headers=ann.head, key="anna-chose-this-key").status, 201)
    until(lambda: len(ann.get("/v1/me/export").json()["tickets"]) == 4)
    until(lambda: len(relay.to(ADDRESS, "tickets")) == 3 and len(relay.to(ADDRESS, "Refunded")) == 1)
    until(lambda: ann.get("/v1/me/export").json()["mails_waiting"] == [])
    return refunded, given, kept


def check_export(data, refunded, given, kept):
    same((data["mail"], data["name"]), (ADDRESS, NAME))
    text = str(data)
    for secret in ("_secret_", "4242", "pm_card", "client_secret", "csrf"):
        assert secret not in text, secret
    payments = data["payments"]["payments"]
    same([p["state"] for p in payments], ["sold"] * 3)
    same([p["hold"] for p in payments], [refunded, given, kept])
    assert all(p["provider_id"].startswith("pi_") and p["amount"] > 0 for p in payments), payments
    (back,) = data["payments"]["refunds"]
    same((back["order"], back["state"]), (refunded, "done"))
    assert back["provider_id"].startswith("re_") and back["amount"] > 0, back
    same({o["order"] for o in data["orders"]["orders"]}, {refunded, kept})
    (transfer,) = data["orders"]["transfers"]
    same((transfer["order"], transfer["state"], transfer["you"]), (given, "accepted", "gave"))
    same({t["order"] for t in data["tickets"]}, {refunded, kept})
    same(sorted(t["valid"] for t in data["tickets"]), [False, False, True, True])
    assert all(t["serial"] >= 1 and t["ticket"].count("-") == 3 for t in data["tickets"])
    same([w["seats"] for w in data["orders"]["waitlists"]], [1])
    same([m["subject"] for m in data["mails_waiting"]], ["Your code"] * 2)


def test_export_has_all_and_deletion_leaves_none(_kind):
    server, name = SERVER, "data"
    relay = Relay()
    with open_shop(relay, server.url(name) if server else "sqlite") as s:
        event, operator = make_event(s, relay)
        # People around them, so that pages of the database are split and written again.
        for i in range(OTHERS // 2):
            s.post("/v1/sign-in", {"mail": f"someone{i}@mail.example"}, key="")
        ann, bob = Person(s, relay, ADDRESS), Person(s, relay, OTHER)
        refunded, given, kept = live(s, relay, ann, bob, event, make_small_event(operator))
        # Mails that nobody takes stay in the outbox.
        relay.controller.stop()
        for i in range(2):
            same(s.post("/v1/sign-in", {"mail": ADDRESS}, key="").status, 202)
        for i in range(OTHERS // 2, OTHERS):
            s.post("/v1/sign-in", {"mail": f"someone{i}@mail.example"}, key="")
        export = ann.get("/v1/me/export")
        same(export.status, 200)
        check_export(export.json(), refunded, given, kept)
        account = export.json()["account"][2:]
        theirs = bob.get("/v1/me/export").json()
        same([(t["order"], t["you"]) for t in theirs["orders"]["transfers"]], [(given, "took")])
        same({t["serial"] for t in theirs["tickets"]}, {2})
        assert ADDRESS not in str(theirs) and NAME not in str(theirs)
        assert grep(s, server, name), "this test would see nothing"
        books = "SELECT id, owner, amount, intent FROM payments_attempts ORDER BY id"
        before = rows(s, server, name, books)
        same(s.delete("/v1/me", headers=ann.head).status, 204)
        # The database's log is cut by the deletion's own commit, or by the next if somebody was reading.
        if grep(s, server, name):
            time.sleep(0.3)
        same(grep(s, server, name), [])
        same(ann.get("/v1/me").status, 401)
        # The books are as they were, with a number for a name.
        same(rows(s, server, name, books), before)
        same({row[1] for row in before}, {account})
        same(rows(s, server, name, f"SELECT COUNT(*) FROM orders_holds WHERE \"user\" = {account} AND sold_us > 0"), [["2"]])
        same(rows(s, server, name, "SELECT COUNT(*) FROM payments_attempts WHERE secret <> ''"), [["0"]])
        same(rows(s, server, name, f"SELECT COUNT(*) FROM mail_outbox WHERE recipient = 'someone{OTHERS - 1}@mail.example'"),
             [["1"]])
        # Nobody else lost anything; a new account of that address is another person.
        same(bob.get("/v1/me").json()["mail"], OTHER)
        s.control.kill()
        same(grep(s, server, name), [])
        s.control.start()
        s.wait_ready()
        time.sleep(1)
        same(grep(s, server, name), [])
        checked = subprocess.run(s.control_command(0) + ["orders", "check"], capture_output=True, text=True, timeout=60)
        assert '"differences":0' in checked.stdout, (checked.stdout, checked.stderr[-500:])
        log = s.control.text().lower()
        assert not [trace for trace in TRACES if trace.lower() in log]


SERVER = None  # of PostgreSQL


def main():
    global SERVER
    tap = usher_box.Tap()
    wanted = sys.argv[2:] or ["sqlite", "postgres"]
    if "sqlite" in wanted:
        tap.run(test_export_has_all_and_deletion_leaves_none, "sqlite")
    if "postgres" in wanted:
        try:
            with postgres.Postgres() as server:
                os.chmod(server.folder, 0o755)
                server.database("data")
                SERVER = server
                tap.run(test_export_has_all_and_deletion_leaves_none, "postgres")
        except postgres.Missing as why:
            tap.skip("PostgreSQL", why)
    tap.end()


if __name__ == "__main__":
    main()
