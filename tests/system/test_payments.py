#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Payments over HTTP: usherd, the sandbox, and orders/ with payments/ (payments-shop).

usage: test_payments.py BUILD [NAME-PART...]
"""
import hashlib
import hmac
import http.client
import itertools
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/system"), str(ROOT / "tests/saga")]
import postgres  # noqa: E402
from saga import PRICE, Provider, free_port  # noqa: E402
from usher_box import Box, ON_SALE, Tap, venue_image  # noqa: E402
from usher_client import Client, ControlPort, HoldState, Op  # noqa: E402

BUILD = pathlib.Path(sys.argv[1]).resolve()
EVENT = 1
DATABASE = None  # or a connection string, a new one for each shop
OPERATOR = {"X-Test-Role": "3"}
SIX = ("payment_intent.created", "payment_intent.requires_action", "payment_intent.amount_capturable_updated",
       "payment_intent.succeeded", "payment_intent.payment_failed", "payment_intent.canceled")


class Shop:
    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="usher-payments-")
        folder = pathlib.Path(self.folder.name)
        self.box = Box(str(BUILD), sets=("memory.prefault=no", "limits.rows=4096")).start()
        self.client = Client(ControlPort(self.box.control_path))
        self.client.event_load(EVENT, venue_image(rows=64, seats=64, price=PRICE))
        self.client.event_status(EVENT, ON_SALE)
        self.port = free_port()
        # Nobody listens there: this test sends the webhooks itself.
        self.provider = Provider(BUILD, folder, free_port())
        self.log = folder / "shop.log"
        self.command = [BUILD / "control/payments/payments-shop", self.box.state + "/journal", self.box.control_path,
                        DATABASE or f"sqlite:{folder}/shop.db", f"http://127.0.0.1:{self.provider.port}", str(self.port)]
        self.keys, self.seat, self.user = 0, 0, 100
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stderr=log, stdin=subprocess.DEVNULL)
        end = time.monotonic() + 15
        while True:
            try:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
                self.connection.connect()
                return
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise RuntimeError(self.log.read_text()[-2000:])
                time.sleep(0.02)

    def ask(self, method, path, body=None, user=None, headers=(), raw=None):
        self.keys += 1
        head = {"X-Test-User": str(user or self.user), **dict(headers)}
        if raw is None and method == "POST":
            head["Idempotency-Key"] = f"k{self.keys}"
            head["Content-Type"] = "application/json"
            raw = json.dumps(body or {})
        self.connection.request(method, path, raw, head)
        answer = self.connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text.startswith(b"{") else text

    def hold(self, seats=2):
        self.user += 1
        row, at = divmod(self.seat, 64)
        if at + seats > 64:
            row, at = row + 1, 0
        self.seat = row * 64 + at + seats
        return self.client.reserve(EVENT, self.user, [(row, ((1 << seats) - 1) << at)], hold_ms=3600000), row, at

    def pay(self, hold, **more):
        """Begins; the read model may be a moment behind."""
        end = time.monotonic() + 5
        while True:
            status, body = self.ask("POST", f"/v1/holds/{hold}/payments", more)
            if status != 404 or time.monotonic() > end:
                return status, body
            time.sleep(0.01)

    def confirm(self, payment, card="pm_card_visa"):
        secret = payment["client_secret"]
        form = urllib.parse.urlencode({"client_secret": secret, "payment_method": card})
        return self.provider.raw("POST", f"/v1/payment_intents/{secret.split('_secret')[0]}/confirm", form,
                                 key="pk_test_usher")

    def webhook(self, kind, intent, number, secret="whsec_usher", at=None):
        body = json.dumps({"id": f"evt_{number}", "type": kind, "created": 1,
                           "data": {"object": {"id": intent, "object": "payment_intent"}}})
        at = at or int(time.time())
        mac = hmac.new(secret.encode(), f"{at}.{body}".encode(), hashlib.sha256).hexdigest()
        return self.ask("POST", "/v1/provider/webhooks", raw=body,
                        headers={"Stripe-Signature": f"t={at},v1={mac}"})

    def until(self, payment, states, seconds=8):
        end = time.monotonic() + seconds
        while True:
            status, body = self.ask("GET", f"/v1/payments/{payment}")
            if status == 200 and body["state"] in states or time.monotonic() > end:
                return body
            time.sleep(0.01)

    def end(self):
        self.process.terminate()
        status = self.process.wait(15)
        self.provider.kill()
        self.box.remove()
        text = self.log.read_text()
        self.folder.cleanup()
        assert status == 0, (status, text[-2000:])
        return text


def intent_of(payment):
    return payment["client_secret"].split("_secret")[0]


def test_bought_and_refunded():
    s = Shop()
    held, row, at = s.hold(3)
    status, begun = s.pay(held.hold, version=1)
    assert status == 201 and begun["state"] == "wait" and begun["amount"] == 3 * PRICE, begun
    assert s.pay(held.hold, version=1)[1]["id"] == begun["id"], "the same version: the same payment"
    assert s.ask("GET", f"/v1/payments/{begun['id']}", user=1)[0] == 404
    assert s.confirm(begun)[0] == 200
    assert s.webhook(SIX[2], intent_of(begun), 1)[0] == 200
    sold = s.until(begun["id"], ["sold"])
    assert sold["state"] == "sold" and sold["order"] == str(held.hold) and "client_secret" not in sold, sold
    assert s.client.call(Op.QUERY_HOLD, event=EVENT, user=s.user, hold=held.hold).state == HoldState.SOLD
    end = time.monotonic() + 5
    while True:
        status, part = s.ask("POST", f"/v1/orders/{held.hold}/refunds", {"seats": [[row, at]]})
        if status == 201 or time.monotonic() > end:
            break
        time.sleep(0.05)
    assert status == 201 and part["amount"] == PRICE and part["state"] == "done", part
    # At once: the read model may not have heard of the first yet.
    status, rest = s.ask("POST", f"/v1/orders/{held.hold}/refunds")
    assert status == 201 and rest["id"] != part["id"] and rest["amount"] == 2 * PRICE, rest
    books = s.provider.raw("GET", "/_sandbox/books")[1]
    assert books["consistent"] and books["totals"]["eur"]["refunded"] == 3 * PRICE, books["totals"]
    status, report = s.ask("GET", "/v1/admin/reconciliation", headers=OPERATOR)
    assert status == 200 and report["sound"] and report["captured"] == report["refunded"] == 3 * PRICE, report
    tool = [ROOT / "scripts/reconcile", "--url", f"http://127.0.0.1:{s.port}", "--header", "X-Test-User: 1", "--header",
            "X-Test-Role: 3"]
    assert subprocess.run(tool, capture_output=True, check=True).stdout.endswith(b"sound\n")
    # Money that moved behind our back is found.
    secret = urllib.parse.urlencode({"amount": 700, "currency": "eur", "confirm": "true", "payment_method": "pm_card_visa"})
    assert s.provider.raw("POST", "/v1/payment_intents", secret)[0] == 200
    report = s.ask("GET", "/v1/admin/reconciliation", headers=OPERATOR)[1]
    assert not report["sound"] and [f["kind"] for f in report["findings"]] == ["not_ours"], report
    done = subprocess.run(tool, capture_output=True)
    assert done.returncode == 1 and b"not_ours" in done.stdout, done
    s.provider.kill()
    assert subprocess.run(tool, capture_output=True).returncode == 2
    s.end()


def test_declined_then_paid():
    s = Shop()
    held, _, _ = s.hold()
    begun = s.pay(held.hold)[1]
    assert s.confirm(begun, "pm_card_visa_chargeDeclined")[0] == 402
    s.webhook(SIX[4], intent_of(begun), 1)
    failed = s.until(begun["id"], ["failed"])
    assert (failed["state"], failed["reason"]) == ("failed", "declined"), failed
    look = s.client.call(Op.QUERY_HOLD, event=EVENT, user=s.user, hold=held.hold)
    assert look.state == HoldState.HELD and look.hold_version == 3
    status, again = s.pay(held.hold, version=3)
    assert status == 201 and again["id"] != begun["id"], again
    assert s.confirm(again)[0] == 200
    s.webhook(SIX[3], intent_of(again), 2)
    assert s.until(again["id"], ["sold"])["state"] == "sold"
    status, changed = s.pay(held.hold, version=4)
    assert status == 409 and changed["code"] == "hold_changed", changed
    s.end()


def test_given_up():
    s = Shop()
    held, _, _ = s.hold()
    begun = s.pay(held.hold)[1]
    assert s.ask("POST", f"/v1/payments/{begun['id']}/cancel")[0] == 202
    failed = s.until(begun["id"], ["failed"])
    assert (failed["state"], failed["reason"]) == ("failed", "cancelled_by_buyer"), failed
    assert s.confirm(begun)[0] == 400
    s.end()


def test_refused():
    s = Shop()
    held, _, _ = s.hold()
    begun = s.pay(held.hold)[1]
    for status, body in (s.webhook(SIX[0], "pi_1", 1, secret="whsec_other"),
                         s.webhook(SIX[0], "pi_1", 1, at=int(time.time()) - 400),
                         s.ask("POST", "/v1/provider/webhooks", raw="{}")):
        assert status == 400 and body["code"] == "signature", body
    status, body = s.ask("POST", f"/v1/holds/{held.hold}/payments", {"card": "4242 4242 4242 4242"})
    assert status == 400 and body["code"] == "card_number", body
    assert s.ask("POST", f"/v1/holds/{held.hold}/payments", user=1)[0] == 404
    assert s.ask("POST", f"/v1/holds/{held.hold}/payments", {"version": 0})[0] == 400
    assert s.ask("POST", f"/v1/admin/events/{EVENT}/refund-all")[0] == 403
    assert s.ask("GET", "/v1/admin/disputes", headers=OPERATOR)[1]["items"] == []
    text = s.end()
    for secret in ("4242", "sk_test", "whsec", begun["client_secret"]):
        assert secret not in text, secret


# Goal: in whatever order webhooks come, and however often, a paid purchase is sold once.
def test_webhooks_in_every_order():
    s = Shop()
    draw, number, sold = random.Random(7), 0, []
    for order in itertools.permutations(SIX):
        held, _, _ = s.hold(1)
        begun = s.pay(held.hold)[1]
        intent, moment = intent_of(begun), draw.randrange(len(order))
        kinds = list(order) + draw.choices(order, k=2)
        for index, kind in enumerate(kinds):
            if index == moment:
                assert s.confirm(begun)[0] == 200
            assert s.webhook(kind, intent, f"{number}_{SIX.index(kind)}")[0] == 200
        number += 1
        sold.append((begun["id"], held.hold, s.user))
    for payment, hold, user in sold:
        s.user = user
        body = s.until(payment, ["sold", "failed", "returned"])
        assert body["state"] == "sold", body
        assert s.client.call(Op.QUERY_HOLD, event=EVENT, user=user, hold=hold).state == HoldState.SOLD
    books = s.provider.raw("GET", "/_sandbox/books")[1]
    assert books["consistent"] and books["totals"]["eur"]["captured"] == 720 * PRICE, books["totals"]
    s.end()


def test_killed_between():
    s = Shop()
    held, _, _ = s.hold()
    begun = s.pay(held.hold)[1]
    s.process.send_signal(signal.SIGKILL)
    s.process.wait()
    assert s.confirm(begun)[0] == 200
    s.start()
    assert s.until(begun["id"], ["sold"])["state"] == "sold"
    s.end()


# Goal: the same on PostgreSQL, but for the many orders of webhooks.
def test_postgres():
    global DATABASE
    try:
        with postgres.Postgres() as server:
            for number, test in enumerate((test_bought_and_refunded, test_declined_then_paid, test_given_up,
                                           test_refused, test_killed_between)):
                DATABASE = server.database(f"shop{number}")
                test()
    except postgres.Missing as reason:
        raise Tap.Skip(reason)
    finally:
        DATABASE = None


def main():
    tap = Tap()
    for name, test in list(globals().items()):
        if name.startswith("test_") and (len(sys.argv) < 3 or any(part in name for part in sys.argv[2:])):
            tap.run(test)
    tap.end()


if __name__ == "__main__":
    main()
