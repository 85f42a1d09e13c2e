#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tickets from the sale to the gate: bought through the real shop, mailed through a real SMTP server, read by zbarimg,
let in by usher gate, given away, refunded; usher-control killed in between. On SQLite and on PostgreSQL.

usage: test_tickets.py BUILD-FOLDER [sqlite|postgres]      with Debian's own Python (aiosmtpd)
"""
import email
import email.policy
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

from aiosmtpd.controller import Controller

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import postgres  # noqa: E402
import shop as shops  # noqa: E402
from shop import until  # noqa: E402
import usher_box  # noqa: E402

BUILD = os.path.abspath(sys.argv[1])
ROOT = pathlib.Path(__file__).resolve().parents[2]


def same(a, b):
    assert a == b, f"{a!r} is not {b!r}"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Relay:
    def __init__(self):
        self.mails = []
        self.controller = Controller(self, hostname="127.0.0.1", port=free_port())
        self.controller.start()
        self.port = self.controller.port

    async def handle_DATA(self, _server, _session, envelope):  # pylint: disable=invalid-name
        self.mails.append((envelope.rcpt_tos[0], email.message_from_bytes(envelope.content, policy=email.policy.default)))
        return "250 taken"

    def to(self, address, subject):
        return [mail for rcpt, mail in self.mails if rcpt == address and subject in mail["Subject"]]


class Person:
    def __init__(self, shop, relay, mail):
        self.shop, self.mail, self.head = shop, mail, {}
        before = len(relay.to(mail, "code"))
        challenge = shop.post("/v1/sign-in", {"mail": mail}, key="").json()["challenge"]
        letter = until(lambda: relay.to(mail, "code")[before:])[0]
        code = re.search(r"\b\d{6}\b", letter.get_body(("plain",)).get_content())[0]
        answer = shop.post("/v1/sign-in/code", {"challenge": challenge, "code": code}, key="")
        same(answer.status, 200)
        self.head = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0], "X-CSRF-Token": answer.json()["csrf"]}

    def get(self, path):
        return self.shop.get(path, headers=self.head)

    def post(self, path, body=None):
        answer = self.shop.post(path, body or {}, headers=self.head)
        assert answer.status < 300, (path, answer)
        return answer.json()

    def buy(self, event, count, seats=None):
        hold = self.post(f"/v1/events/{event}/holds", seats or {"best": {"count": count}})
        payment = self.post(f"/v1/holds/{hold['hold']}/payments")
        intent = payment["client_secret"].partition("_secret_")[0]
        done = subprocess.run(["curl", "-sf", "-u", "pk_test_usher:", "-d", "client_secret=" + payment["client_secret"], "-d",
                               "payment_method=pm_card_visa",
                               f"http://127.0.0.1:{self.shop.sandbox.port}/v1/payment_intents/{intent}/confirm"],
                              capture_output=True, check=True)
        assert done.stdout
        until(lambda: self.get(f"/v1/payments/{payment['id']}").json()["state"] == "sold")
        return hold["hold"]


def open_shop(relay, database, buyer_refunds="yes"):
    s = shops.Shop(BUILD, database=database, start=False)
    s.sandbox.start()
    s.usherd.start()
    s.sets += ["payments.url=http://127.0.0.1:{sandbox}", "payments.key_file=" + s.secret("sk", "sk_test_usher"),
               "payments.public_key=pk_test_usher", "payments.buyer_refunds=" + buyer_refunds, "payments.poll_ms=200",
               "payments.webhook_secret_file=" + s.secret("wh", "whsec_usher"),
               f"mail.relay=smtp://127.0.0.1:{relay.port}", "mail.from=tickets@shop.example", "mail.retry_ms=100"]
    s.control.start()
    s.wait_ready()
    return s


def make_event(s, relay):
    subprocess.run(s.control_command(0) + ["account", "operator", "op@shop.example"], check=True, capture_output=True)
    operator = Person(s, relay, "op@shop.example")
    venue = operator.post("/v1/admin/venues", {"name": "Blue, <Lantern>", "city": "London", "country": "GB",
                                               "timezone": "Europe/London"})["venue"]
    starts = time.strftime("%Y-%m-%dT19:30:00Z", time.gmtime(time.time() + 40 * 86400))
    event = operator.post("/v1/admin/events", {
        "name": "Fish & Chips", "category": "rock", "performers": ["Ada"], "starts": starts, "venue": venue,
        "plan": json.loads((ROOT / "venues/theatre.json").read_text())})["event"]
    operator.post(f"/v1/admin/events/{event}/publish")
    return event, operator


def decode(png, folder):
    path = os.path.join(folder, "code.png")
    with open(path, "wb") as file:
        file.write(png)
    done = subprocess.run(["zbarimg", "--quiet", "--raw", path], capture_output=True, text=True, check=True)
    return done.stdout.strip()


class Gate:
    def __init__(self, shop, event, folder):
        self.shop, self.event, self.folder = shop, event, folder

    def verdict(self, code, log):
        for name, path in (("keys", "/v1/gate/keys"), ("dead", f"/v1/gate/revocations?event={self.event}")):
            answer = self.shop.get(path)
            same(answer.status, 200)
            with open(os.path.join(self.folder, name), "wb") as file:
                file.write(answer.body)
        done = subprocess.run([
            os.path.join(BUILD, "tools/usher"), "gate", "verify", "--event", str(self.event), "--keys",
            os.path.join(self.folder, "keys"), "--revocations", os.path.join(self.folder, "dead"), "--log",
            os.path.join(self.folder, log), "--json", code], capture_output=True, text=True)
        assert done.stdout, done.stderr
        return json.loads(done.stdout.splitlines()[-1])["verdict"]


def test_from_sale_to_gate(database):
    relay = Relay()
    with open_shop(relay, database) as s, tempfile.TemporaryDirectory() as folder:
        event, operator = make_event(s, relay)
        gate = Gate(s, event, folder)
        same(s.patch(f"/v1/admin/events/{event}", {"description": "Fresh.", "fee_fixed": 100}, headers=operator.head).status, 200)
        same(s.request("POST", "/v1/admin/import", b"external,name,category,starts,venue_name,venue_city,venue_country,"
                       b"venue_timezone\nx1,Talk,jazz,2031-05-01T20:00:00Z,Barn,London,GB,Europe/London\n",
                       {**operator.head, "Content-Type": "text/csv", "Idempotency-Key": "i"}).status, 200)
        audit = [(a["action"], a["object"], a["text"]) for a in operator.get("/v1/admin/audit").json()["items"]]
        for line in (("event.change", f"event {event}", "description fee_fixed"), ("events.import", "", "1 events")):
            assert line in audit, audit
        assert {"venue.put", "event.make", "event.publish"} <= {a for a, _, _ in audit}, audit
        ann, bob = Person(s, relay, "ann@mail.example"), Person(s, relay, "bob@mail.example")
        order = ann.buy(event, 2)
        mail = until(lambda: relay.to("ann@mail.example", "tickets"))[0]
        same(mail["Subject"], "Your tickets: Fish & Chips")
        listed = ann.get(f"/v1/orders/{order}/tickets").json()["items"]
        same(len(listed), 2)
        pictures = [p.get_content() for p in mail.walk() if p.get_content_type() == "image/png"]
        same(sorted(decode(p, folder) for p in pictures), sorted(t["code"] for t in listed))
        calendar = [p.get_content() for p in mail.walk() if p.get_content_type() == "text/calendar"][0]
        assert "SUMMARY:Fish & Chips" in calendar and "LOCATION:Blue\\, <Lantern>\\, London" in calendar, calendar
        text = mail.get_body(("plain",)).get_content()
        assert all(t["label"] in text for t in listed) and "row" in listed[0]["label"], (text, listed)
        same(decode(ann.get(listed[0]["png"]).body, folder), listed[0]["code"])
        page = ann.get(f"/v1/orders/{order}/tickets.html")
        assert b"Fish &amp; Chips" in page.body and b"Blue, &lt;Lantern&gt;" in page.body and b"<Lantern>" not in page.body
        for path in (f"/v1/orders/{order}/tickets", f"/v1/orders/{order}/tickets.html", listed[0]["png"]):
            same((bob.get(path).code, s.get(path).code, operator.get(path).status), ("ticket_not_found", "sign_in", 200))
        receipt = ann.get(f"/v1/orders/{order}/receipt").json()
        bill = ann.get(f"/v1/orders/{order}").json()
        same([receipt[n] for n in ("amount", "fee", "total", "currency", "refunds", "paid")],
             [bill["amount"], bill["fee"], bill["total"], bill["currency"], [], bill["total"]])
        same([i["label"] for i in receipt["items"]], [t["label"] for t in listed])
        same(sum(i["price"] + i["fee"] for i in receipt["items"]), bill["total"])
        assert f"{bill['total'] / 100:.2f} {bill['currency']}" in text and f"/v1/orders/{order}/receipt.html" in text, text
        for path in ("receipt", "receipt.html"):
            path = f"/v1/orders/{order}/{path}"
            same((bob.get(path).code, s.get(path).code, operator.get(path).status), ("order_not_found", "sign_in", 200))
        same([gate.verdict(listed[0]["code"], "door"), gate.verdict(listed[0]["code"], "door")], ["VALID", "DUPLICATE"])
        # Killed: nothing is issued or mailed twice.
        s.control.kill()
        s.control.start()
        s.wait_ready()
        same([t["code"] for t in ann.get(f"/v1/orders/{order}/tickets").json()["items"]], [t["code"] for t in listed])
        offer = ann.post(f"/v1/orders/{order}/transfers")
        bob.post(f"/v1/transfers/{offer['code']}/accept")
        theirs = until(lambda: bob.get(f"/v1/orders/{order}/tickets").status == 200 and bob.get(
            f"/v1/orders/{order}/tickets").json()["items"])
        same([t["serial"] for t in theirs], [2, 2])
        until(lambda: relay.to("bob@mail.example", "tickets"))
        # Who paid keeps the receipt; what it cost is no business of whom it was given to.
        same((ann.get(f"/v1/orders/{order}/receipt").json(), bob.get(f"/v1/orders/{order}/receipt").code),
             (receipt, "order_not_found"))
        given = until(lambda: relay.to("bob@mail.example", "tickets"))[0].get_body(("plain",)).get_content()
        assert "Total" not in given and "receipt" not in given, given
        same(gate.verdict(listed[1]["code"], "door2"), "REVOKED")
        same(gate.verdict(theirs[1]["code"], "door2"), "VALID")
        same(ann.get(listed[0]["png"]).code, "ticket_not_found")
        bob.post(f"/v1/orders/{order}/refunds")
        until(lambda: bob.get(f"/v1/orders/{order}/tickets").code == "ticket_not_found")
        same(gate.verdict(theirs[0]["code"], "door3"), "REVOKED")
        told = until(lambda: relay.to("ann@mail.example", "Refunded"))[0].get_body(("plain",)).get_content()
        assert f"{bill['total'] / 100:.2f} {bill['currency']} for 2" in told and "Paid after this: 0.00" in told, told
        receipt = ann.get(f"/v1/orders/{order}/receipt").json()
        same([(r["amount"], r["seats"]) for r in receipt["refunds"]] + [receipt["paid"]], [(bill["total"], 2), 0])
        same({i["state"] for i in receipt["items"]}, {"refunded"})
        page = ann.get(f"/v1/orders/{order}/receipt.html")
        assert b"Fish &amp; Chips" in page.body and f"-{bill['total'] / 100:.2f}".encode() in page.body, page
        # Sold again, the seats have new serials and the old codes stay dead.
        again = ann.buy(event, 2)
        fresh = until(lambda: ann.get(f"/v1/orders/{again}/tickets").status == 200 and ann.get(
            f"/v1/orders/{again}/tickets").json()["items"])
        same({tuple(t["seat"]) for t in fresh}, {tuple(t["seat"]) for t in listed})
        same([t["serial"] for t in fresh], [3, 3])
        same(gate.verdict(theirs[0]["code"], "door4"), "REVOKED")
        same(gate.verdict(fresh[0]["code"], "door4"), "VALID")
        made = operator.post("/v1/admin/ticket-keys", {"after_s": 0})
        same(made["key"], 2)
        third = ann.buy(event, 1)
        newest = until(lambda: ann.get(f"/v1/orders/{third}/tickets").status == 200 and ann.get(
            f"/v1/orders/{third}/tickets").json()["items"])
        same([gate.verdict(newest[0]["code"], "door5"), gate.verdict(fresh[1]["code"], "door5")], ["VALID", "VALID"])
        # A key that somebody else may have is retired: what it signed is refused, and is signed anew when asked for.
        fourth, fifth = fresh[0]["code"], fresh[1]["code"]
        operator.post("/v1/admin/ticket-keys/1/retire")
        same([gate.verdict(fourth, "door6"), gate.verdict(fifth, "door6")], ["RETIRED_KEY", "RETIRED_KEY"])
        anew = ann.get(f"/v1/orders/{again}/tickets").json()["items"]
        same([gate.verdict(anew[0]["code"], "door7"), gate.verdict(newest[0]["code"], "door7")], ["VALID", "VALID"])
        refused = [s.post(f"/v1/admin/ticket-keys/{key}/retire", {}, headers=operator.head) for key in (2, 9)]
        same([(one.status, one.code) for one in refused], [(409, "last_key"), (404, "not_found")])
        actions = [(a["object"], a["text"]) for a in operator.get("/v1/admin/audit").json()["items"]
                   if a["action"] == "ticket-keys"]
        same(actions, [("2", "a new key"), ("1", "retired")])
        same(len(relay.to("ann@mail.example", "tickets")), 3)
        kept = ann.get("/v1/me/export").json()["orders"]["orders"]
        same({o["order"] for o in kept}, {again, third})
        same(len(relay.to("bob@mail.example", "tickets")), 1)
        for secret in ("ann@", "bob@", listed[0]["code"]):
            assert secret not in s.control.text(), secret
    relay.controller.stop()


def test_postponed_may_be_refunded_for_a_while():
    relay = Relay()
    with open_shop(relay, "sqlite", "no") as s:
        event, operator = make_event(s, relay)
        ann = Person(s, relay, "ann@mail.example")
        order = ann.buy(event, 2)
        refused = s.post(f"/v1/orders/{order}/refunds", {}, headers=ann.head)
        same((refused.status, refused.code), (403, "refund_not_allowed"))
        late = time.strftime("%Y-%m-%dT19:30:00Z", time.gmtime(time.time() + 80 * 86400))
        window = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400))
        operator.post(f"/v1/admin/events/{event}/status", {"status": "postpone", "starts": late, "refund_until": window})
        same(s.get(f"/v1/events/{event}").json()["starts"], late)
        seat = until(lambda: ann.get(f"/v1/orders/{order}/tickets").json().get("items"))[0]["seat"]
        paid = ann.get(f"/v1/orders/{order}").json()["total"]
        ann.post(f"/v1/orders/{order}/refunds", {"seats": [seat]})
        until(lambda: len(ann.get(f"/v1/orders/{order}/tickets").json().get("items", [])) == 1)
        s.sets.append(f"control.clock_shift_s={2 * 86400}")
        s.control.restart()
        s.wait_ready()
        same(s.post(f"/v1/orders/{order}/refunds", {}, headers=ann.head).code, "refund_not_allowed")
        # Cancelled: everybody gets the rest back, whoever asks, and again when it is asked again.
        s.sets.pop()
        s.control.restart()
        s.wait_ready()
        operator.post(f"/v1/admin/events/{event}/status", {"status": "cancel"})
        for _ in range(2):
            operator.post(f"/v1/admin/events/{event}/refund-all")
        until(lambda: ann.get(f"/v1/orders/{order}").json()["state"] == "refunded")
        same(ann.get(f"/v1/orders/{order}").json()["refunded"], paid)
    relay.controller.stop()


def main():
    tap = usher_box.Tap()
    wanted = sys.argv[2:] or ["sqlite", "postgres"]
    if "sqlite" in wanted:
        tap.run(test_from_sale_to_gate, "sqlite")
        tap.run(test_postponed_may_be_refunded_for_a_while)
    if "postgres" in wanted:
        try:
            with postgres.Postgres() as server:
                os.chmod(server.folder, 0o755)
                tap.run(test_from_sale_to_gate, server.database("tickets"))
        except postgres.Missing as why:
            tap.skip("PostgreSQL", why)
    tap.end()


if __name__ == "__main__":
    main()
