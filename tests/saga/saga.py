#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Buys and refunds over HTTP while each of three daemons is killed with -9 at every step, and compares the
provider's books with orders and seats at the end.

usage: saga.py BUILD [--short] [--jobs N] [--only TEXT] [--seed N] [--keep]

A kill point is a step of a payment or refund (about to be written, written, about to ask, answered)
times the daemon that is killed there (usherd, the provider, usher-control) times
what else goes wrong: nothing, an answer that is late, one that is lost after it was carried out, an
error that is kept under the key, with or without an effect. Webhooks come twice throughout.

usher-control stops itself (SIGSTOP) at the step, so that each kill strikes where it is meant to.
Whoever was killed is started again, and the purchase goes on. What was charged and sold is judged by
what usherd and the provider say alone; then orders are compared with the journal, and the payments'
own tables with the provider's books.

The last line is JSON. Exit status: 0: the last four are 0 and each point was reached; 1; 2 usage.
"""
import argparse
import concurrent.futures
import faulthandler
import http.client
import json
import os
import pathlib
import random
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/system"))
import shop as shops  # noqa: E402
from usher_box import Box  # noqa: E402
from usher_client import Client, ControlPort, HoldState, Op  # noqa: E402

# Of a venue image that other tests load; of each seat here.
PRICE, FEE = 2500, 50
OPERATOR, BUYERS = "operator@shop.example", 4
OVER = ("sold", "failed", "returned")
WAIT_S = 20
# A world in which so much went wrong is not worth more time.
GIVE_UP = 4

# Which way a purchase goes, and the steps that only this way has.
PAY_STEPS = {
    "paid": ["begin.asking", "begin.answered", "create.saving", "create.saved", "create.asking",
             "create.answered", "wait.saving", "wait.saved", "wait.asking", "wait.answered",
             "capture.saving", "capture.saved", "capture.asking", "capture.answered", "sell.saving",
             "sell.saved", "sell.asking", "sell.answered", "sold.saving", "sold.saved"],
    "declined": ["close.saving", "close.saved", "close.asking", "close.answered", "fail.saving",
                 "fail.saved", "fail.asking", "fail.answered", "failed.saving", "failed.saved"],
    "abandoned": ["close.saving", "close.asking", "close.answered", "fail.asking", "failed.saving"],
    "late": ["late.saving", "late.saved", "late.asking", "late.answered", "sold.saving", "sold.saved"],
    "gone": ["late.asking", "late.answered", "return.saving", "return.saved", "return.asking",
             "return.answered", "returned.saving", "returned.saved"],
    # A dispute is lost at the very point, before the payment is sold: the seats are given back, or kept.
    "lost-early": ["sell.saving", "sell.saved", "sell.asking", "sell.answered", "sold.saving",
                   "sold.saved"],
    "kept": ["sell.saving", "sell.asking", "sold.saved"],
}
BACK = ["look.asking", "look.answered", "begin.saving", "begin.saved", "begin.asking", "begin.answered",
        "money.saving", "money.saved", "money.asking", "money.answered", "end.saving", "end.saved",
        "end.asking", "end.answered", "done.saving", "done.saved"]
BACK_STEPS = {
    "whole": BACK, "some": BACK, "cancelled": BACK,
    "refused": ["undo.saving", "undo.saved", "undo.asking", "undo.answered", "failed.saving", "failed.saved"],
    # A dispute is lost: the seats are given back, and the provider is not asked for the money.
    "lost": [step for step in BACK if step != "money.answered"],
}
VICTIMS = ("control", "usherd", "provider")
CARDS = {"paid": "pm_card_visa", "declined": "pm_card_visa_chargeDeclined", "late": "pm_card_visa",
         "gone": "pm_card_visa", "lost-early": "pm_card_visa", "kept": "pm_card_visa",
         "abandoned": "pm_card_threeDSecure2Required"}
FAULTS = (None, {"kind": "delay", "ms": 150}, {"kind": "drop", "when": "after", "ms": 20},
          {"kind": "error", "when": "after", "status": 500}, {"kind": "error", "when": "before", "status": 500},
          {"kind": "drop", "when": "before", "ms": 5}, {"kind": "drop", "when": "after", "ms": 600},
          {"kind": "rate_limit"})


def scenarios():
    """(way, kill point, victim), all of them."""
    for ways, kind in ((PAY_STEPS, "pay"), (BACK_STEPS, "back")):
        for way, steps in ways.items():
            for step in steps:
                for victim in VICTIMS:
                    yield way, f"{kind}.{step}", victim


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def state_of(process):
    try:
        with open(f"/proc/{process.pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


class Provider:
    def __init__(self, build, folder, webhook_port, webhook_path="/"):
        self.port = free_port()
        self.log = open(folder / "provider.log", "ab")
        self.command = [build / "sim/sandbox/usher-sandbox", "--db", folder / "books.db", "--listen",
                        f"127.0.0.1:{self.port}", "--webhook", f"http://127.0.0.1:{webhook_port}{webhook_path}", "--retry-ms", "50"]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stderr=self.log)
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            try:
                if self.raw("GET", "/_sandbox/health")[0] == 200:
                    self.raw("POST", "/_sandbox/webhooks", json.dumps({"duplicate": 1}))
                    return
            except OSError:
                time.sleep(0.005)
        raise RuntimeError("the provider does not start")

    def raw(self, method, path, body=None, key="sk_test_usher"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {key}"})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text.startswith(b"{") else text
        finally:
            connection.close()

    def patient(self, *arguments, **more):
        end = time.monotonic() + WAIT_S
        while True:
            try:
                return self.raw(*arguments, **more)
            except (OSError, http.client.HTTPException):
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def fault(self, fault, path):
        self.patient("DELETE", "/_sandbox/faults")
        if fault:
            self.patient("POST", "/_sandbox/faults", json.dumps({**fault, "method": "POST", "path": path}))

    def lose(self, intent):
        """A dispute of the payment is opened and lost."""
        dispute = self.patient("POST", "/_sandbox/disputes", json.dumps({"payment_intent": intent}))[1]["id"]
        self.patient("POST", f"/_sandbox/disputes/{dispute}", json.dumps({"status": "lost"}))

    def kill(self):
        self.process.kill()
        self.process.wait()


class Relay:
    """Takes the mails with the codes of signing in."""

    def __init__(self):
        # Debian's own Python has it; who only wants the provider needs it not.
        from aiosmtpd.controller import Controller  # pylint: disable=import-outside-toplevel
        self.codes = {}
        self.controller = Controller(self, hostname="127.0.0.1", port=free_port())
        self.controller.start()
        self.port = self.controller.port

    async def handle_DATA(self, _server, _session, envelope):  # pylint: disable=invalid-name
        found = re.search(rb"\b\d{6}\b", envelope.content.partition(b"\r\n\r\n")[2])
        if found:
            self.codes[envelope.rcpt_tos[0]] = found[0].decode()
        return "250 taken"


class Control:
    """usher-control, whole: what is asked goes over HTTP."""

    def __init__(self, build, folder, box, provider, relay, port):
        self.program = build / "control/daemon/usher-control"
        self.stop_at = ""
        self.heads = {}
        secrets = {"sk": "sk_test_usher", "wh": "whsec_usher"}
        for name, text in secrets.items():
            with open(os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                file.write(text)
        self.sets = [
            f"control.state_dir={folder}/control", "control.drain_ms=100", f"http.port={port}",
            f"usherd.socket={box.control_path}", f"usherd.journal_dir={box.state}/journal",
            f"payments.url=http://127.0.0.1:{provider}", f"payments.key_file={folder}/sk", "payments.public_key=pk_test_usher",
            f"payments.webhook_secret_file={folder}/wh", "payments.buyer_refunds=yes", "payments.pay_ms=1500",
            "payments.poll_ms=200", "payments.back_off_ms=10", "payments.timeout_ms=500", "payments.refunds=8",
            f"mail.relay=smtp://127.0.0.1:{relay.port}", "mail.from=tickets@shop.example", "mail.retry_ms=100"]
        self.relay = relay
        self.process = shops.Process("control", str(folder), lambda port: self.command())
        self.port = port
        self.start()

    def command(self, *more):
        sets = self.sets + ([f"payments.test_stop_at={self.stop_at}"] if self.stop_at else [])
        return [self.program, *(word for item in sets for word in ("--set", item)), *more]

    def start(self):
        self.process.start(WAIT_S)

    def arm(self, point):
        """Starts it anew, to stop at the point once."""
        self.kill()
        self.stop_at = point
        self.start()
        self.stop_at = ""

    def stopped(self):
        return state_of(self.process.process) == "T"

    def go_on(self):
        self.process.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()

    def ask(self, method, path, body=None, who="", key="", seconds=1.0):
        """ret: (status, object); None: it is stopped, away, or gave no answer in time."""
        head = dict(self.heads.get(who, {}))
        if method == "POST":
            body = json.dumps(body or {})
            head["Content-Type"] = "application/json"
        if key:
            head["Idempotency-Key"] = key
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        end = time.monotonic() + seconds
        try:
            if self.stopped():
                return None
            connection.request(method, path, body, head)
            while not select.select([connection.sock], [], [], 0.005)[0]:
                if self.stopped() or time.monotonic() > end:
                    return None
            answer = connection.getresponse()
            text = answer.read()
            self.cookie = answer.headers.get("Set-Cookie")
            return answer.status, json.loads(text) if text.startswith(b"{") else text
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def must(self, *arguments, good=(200, 201, 202), **more):
        end = time.monotonic() + WAIT_S
        while True:
            got = self.ask(*arguments, **more)
            if got is not None and got[0] in good:
                return got[1]
            if time.monotonic() > end:
                raise RuntimeError(f"{arguments}: {got}")
            time.sleep(0.02)

    def sign_in(self, mail):
        self.relay.codes.pop(mail, None)
        challenge = self.must("POST", "/v1/sign-in", {"mail": mail})["challenge"]
        end = time.monotonic() + WAIT_S
        while mail not in self.relay.codes:
            if time.monotonic() > end:
                raise RuntimeError(f"no code for {mail}")
            time.sleep(0.005)
        found = self.must("POST", "/v1/sign-in/code", {"challenge": challenge, "code": self.relay.codes[mail]})
        self.heads[mail] = {"Cookie": self.cookie.partition(";")[0], "X-CSRF-Token": found["csrf"]}
        return found

    def account(self, role, mail):
        subprocess.run(self.command("account", role, mail), check=True, capture_output=True)
        self.sign_in(mail)


class Purchase:
    """What one buyer wants, told apart from others by its seats."""

    def __init__(self, number, buyer, event, seats):
        self.number, self.buyer, self.event, self.seats = number, buyer, event, seats
        self.hold = self.payment = None
        self.tries = 0
        self.lost = False  # the payer's bank took the money back, and the seats go

    def key(self, what):
        """The same until an answer says that it was asked too early."""
        return f"{what}-{self.number}-{self.tries}"

    def legs(self):
        rows = {}
        for row, bit in self.seats:
            rows[row] = rows.get(row, 0) | 1 << bit
        return list(rows.items())


class World:
    def __init__(self, build, folder, number, draw):
        self.draw, self.number = draw, number
        self.box = Box(str(build), sets=("memory.prefault=no", "limits.rows=4096", "cores.idle=sleep")).start()
        port = free_port()
        self.provider = Provider(build, folder, port, "/v1/provider/webhooks")
        self.relay = Relay()
        self.control = Control(build, folder, self.box, self.provider.port, self.relay, port)
        self.client = Client(ControlPort(self.box.control_path))
        self.kills = self.refunds = self.made = 0
        self.purchases, self.stuck, self.missed = [], [], []
        self.control.account("operator", OPERATOR)
        self.event, self.cancelled_event, self.disputed_event = (self.make_event(build, folder) for _ in range(3))
        self.at = {self.event: 0, self.cancelled_event: 0, self.disputed_event: 0}
        self.control.must("POST", f"/v1/admin/events/{self.disputed_event}/dispute-policy", {"lost": "release"},
                          who=OPERATOR, key="policy")
        self.buyers = [self.make_buyer(f"buyer{i}@shop.example") for i in range(BUYERS)]

    # ---- the shop ----

    def make_event(self, build, folder):
        plan = folder / "plan.json"
        subprocess.run([ROOT / "scripts/gen-venues", "custom", "--seats", "16384", "--row-length", "64", "--out", plan],
                       check=True, stdout=subprocess.DEVNULL)
        plan = json.loads(plan.read_text())
        plan["limits"]["seats_per_user"] = 60000
        venue = self.control.must("POST", "/v1/admin/venues", {
            "name": "Hall", "city": "Hamburg", "country": "DE", "timezone": "Europe/Berlin"}, who=OPERATOR,
            key=f"venue-{time.monotonic()}")["venue"]
        starts = time.strftime("%Y-%m-%dT19:30:00Z", time.gmtime(time.time() + 40 * 86400))
        event = self.control.must("POST", "/v1/admin/events", {
            "name": "Saga", "category": "rock", "performers": ["Ada"], "starts": starts, "venue": venue, "plan": plan,
            "fee_fixed": FEE}, who=OPERATOR, key=f"event-{time.monotonic()}")["event"]
        self.control.must("POST", f"/v1/admin/events/{event}/publish", who=OPERATOR, key=f"publish-{event}")
        return int(event)

    def make_buyer(self, mail):
        """ret: (address, number at usherd)."""
        self.control.sign_in(mail)
        one = self.new_purchase(self.event, mail, 2)
        while one.hold is None:
            self.hold(one)
        user = self.client.bookings(self.event)[one.hold][0].user
        self.control.must("DELETE", f"/v1/holds/{one.hold}", who=mail, good=(204,))
        self.purchases.remove(one)
        return mail, user

    # ---- killing ----

    def arm(self, point, victim, there=None):
        """there: called at the point, before the victim is killed."""
        self.point, self.victim, self.struck, self.there = point, victim, False, there
        self.control.arm(point)

    def strike(self):
        """If usher-control stands at the point: kills the victim, and starts it again."""
        if self.struck or not self.control.stopped():
            return
        self.struck = True
        self.kills += 1
        if self.there is not None:
            self.there()
        if self.victim == "control":
            self.control.kill()
            self.control.start()
            return
        if self.victim == "provider":
            self.provider.kill()
        else:
            self.box.stop(signal.SIGKILL)
        # The other side is away while usher-control goes on, for a moment.
        self.control.go_on()
        if self.draw.random() < 0.5:
            time.sleep(self.draw.uniform(0, 0.05))
        if self.victim == "provider":
            self.provider.start()
        else:
            count = len(self.box.events("ready"))
            self.box.start(wait=False)
            self.box.wait_event("ready", count=count + 1)
            self.client = Client(ControlPort(self.box.control_path))

    def finish(self, once, done):
        """Asks `once` until done(answer); strikes meanwhile. ret: the answer or None."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            answer = once()
            self.strike()
            if answer is not None and done(answer):
                since = time.monotonic()
                # The last steps may come after what is asked about is over.
                while not self.struck and time.monotonic() < min(end, since + 1):
                    time.sleep(0.005)
                    self.strike()
                return answer
            time.sleep(0.005)
        return None

    # ---- buying ----

    def new_purchase(self, event, mail, count):
        """Of seats that nobody had: two in a row of 60, so that all are alike."""
        at, seats = self.at[event], []
        for _ in range(count):
            seats.append(divmod(at, 60))
            at += 1
        self.at[event] = at
        self.made += 1
        one = Purchase(self.number * 1000000 + self.made, mail, event, seats)
        self.purchases.append(one)
        return one

    def hold(self, one, life_s=3000):
        got = self.control.ask("POST", f"/v1/events/{one.event}/holds",
                               {"seats": [list(seat) for seat in one.seats], "life_s": life_s},
                               who=one.buyer, key=one.key("hold"))
        if got is not None and got[0] == 201:
            one.hold = int(got[1]["hold"])
        elif got is not None and got[0] not in (409, 429, 503):
            raise RuntimeError(f"a hold of free seats: {got}")

    def begin(self, one):
        """ret: what the payment is like now; None: not known."""
        if one.payment is not None:
            got = self.control.ask("GET", f"/v1/payments/{one.payment}", who=one.buyer)
        else:
            got = self.control.ask("POST", f"/v1/holds/{one.hold}/payments", {"version": 1}, who=one.buyer, key=one.key("pay"))
            if got is not None and got[0] == 404:
                # The read model follows the box; it has not come to this hold yet.
                one.tries += 1
            if got is not None and got[0] == 409 and got[1]["code"] == "hold_changed":
                return {"state": "failed"}
        if got is None or got[0] not in (200, 201):
            return None
        one.payment = got[1]["id"]
        return got[1]

    def confirm(self, answer, card):
        """What the buyer's page does, until the provider has taken it."""
        intent = answer["client_secret"].partition("_secret_")[0]
        form = urllib.parse.urlencode({"client_secret": answer["client_secret"], "payment_method": card})
        while True:
            self.strike()
            try:
                self.provider.raw("POST", f"/v1/payment_intents/{intent}/confirm", form, key="pk_test_usher")
                return intent
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)

    def end_hold(self, one, user, gone):
        """The hold is over behind the payment's back; its seats go to another if they are to be gone."""
        look = self.client.call(Op.QUERY_HOLD, event=one.event, user=user, hold=one.hold)
        time.sleep(max(0, look.deadline_ns / 1e9 - time.time()) + 0.02)
        self.client.pay_end(one.event, user, one.hold, look.hold_version, False)
        if gone:
            self.client.reserve(one.event, user + 500000, one.legs()[:1], hold_ms=3000000, request_id=len(self.purchases))

    def buy(self, way, event, count):
        """ret: the payment at its end, and the purchase."""
        late = way in ("late", "gone")
        mail, user = self.buyers[len(self.purchases) % BUYERS]
        one = self.new_purchase(event, mail, count)
        one.lost = way == "lost-early"
        intent = None
        if way in ("lost-early", "kept"):
            self.there = lambda: self.provider.lose(intent)

        def once():
            nonlocal intent
            if one.hold is None:
                self.hold(one, 1 if late else 3000)
                return None
            answer = self.begin(one)
            if answer is None or intent is not None or answer["state"] != "wait":
                return answer
            if late:
                self.end_hold(one, user, way == "gone")
            intent = self.confirm(answer, CARDS[way])
            return answer

        answer = self.finish(once, lambda answer: answer["state"] in OVER)
        if answer is None:
            self.stuck.append((way, self.point, self.victim))
        return answer, one, intent

    # ---- refunding ----

    def refund_all(self, one):
        if self.control.ask("POST", f"/v1/admin/events/{one.event}/refund-all", who=OPERATOR, key=one.key("all")) is None:
            return None
        return self.released(one)

    def released(self, one):
        """ret: whether usherd has nothing sold to the purchase any more."""
        seats = set(one.seats)
        for legs in self.client.bookings(one.event).values():
            if any((leg.row, bit) in seats for leg in legs for bit in bits(leg.mask)):
                return {"state": "busy"}
        return {"state": "done"}

    def refund(self, way, answer, one, intent):
        if way == "refused":
            self.provider.patient("POST", "/_sandbox/disputes", json.dumps({"payment_intent": intent}))
        body = {"seats": [list(one.seats[0])]} if way == "some" else {}

        def once():
            got = self.control.ask("POST", f"/v1/orders/{answer['order']}/refunds", body, who=one.buyer, key=one.key("refund"))
            if got is None or got[0] == 503:
                return None
            if got[0] == 404:
                one.tries += 1
                return None
            return {"state": "failed"} if got[0] == 409 and got[1]["code"] == "refund_not_allowed" else got[1]

        self.refunds += 1
        if way == "lost":
            one.lost = True
            self.provider.lose(intent)
        asks = {"cancelled": lambda: self.refund_all(one), "lost": lambda: self.released(one)}
        end = self.finish(asks.get(way, once),
                          lambda answer: answer.get("state") in ("done", "failed"))
        if end is None or end["state"] != ("failed" if way == "refused" else "done"):
            self.stuck.append((way, self.point, self.victim, end))

    def run(self, way, point, victim, fault):
        back = point.startswith("back")
        path = "/v1/refunds" if back or "return" in point else \
            "/v1/payment_intents/*/cancel" if "close" in point else \
            "/v1/payment_intents/*/capture" if point.split(".")[1] in ("wait", "capture", "sell") else "/v1/payment_intents"
        event = {"cancelled": self.cancelled_event, "lost": self.disputed_event,
                 "lost-early": self.disputed_event}.get(way, self.event)
        if not back:
            self.provider.fault(fault, path)
            self.arm(point, victim)
            _, one, _ = self.buy(way, event, 2)
            if way == "lost-early" and self.finish(lambda: self.released(one), lambda got: got["state"] == "done") is None:
                self.stuck.append((way, point, victim, "not released"))
        else:
            self.point, self.victim, self.struck = point, victim, True
            if way == "cancelled":
                # Refunded as soon as it is sold, but for the first one.
                self.provider.fault(fault, path)
                self.arm(point, victim)
            for _ in range(5):
                answer, one, intent = self.buy("paid", event, 4)
                # On a machine that stands still longer than pay_ms nobody pays in time: there is no way back from that.
                if answer is None or answer.get("reason") != "pay_by":
                    break
            if answer is None or answer["state"] != "sold":
                self.stuck.append((way, "before", answer))
                return False
            if way != "cancelled":
                self.provider.fault(fault, path)
                self.arm(point, victim)
            self.refund(way, answer, one, intent)
        if self.control.stopped():
            self.control.go_on()
        self.provider.fault(None, "")
        return self.struck

    # ---- the end ----

    def bookings(self):
        """[(event, hold, its legs)] of all that is held or sold."""
        return [(event, hold, legs) for event in self.at
                for hold, legs in self.client.bookings(event).items()]

    def settle(self):
        """Until nothing is under way at usherd and the provider. ret: how many hang."""
        end = time.monotonic() + WAIT_S
        while True:
            hanging = sum(legs[0].state in (HoldState.PAYING, HoldState.REFUNDING) for _, _, legs in self.bookings())
            books = self.provider.patient("GET", "/_sandbox/books")[1]
            hanging += sum(intent["status"] == "requires_capture" for intent in books["payment_intents"])
            if hanging == 0 or time.monotonic() > end:
                return hanging, books
            time.sleep(0.05)

    def orders_differ(self):
        """Orders against the journal, and usher-control's books against the provider's."""
        report = self.control.must("GET", "/v1/admin/reconciliation", who=OPERATOR)
        if not report["sound"]:
            self.stuck.append(("reconciliation", report))
        check = subprocess.run(self.control.command("orders", "check"), capture_output=True, text=True, check=False)
        if check.returncode != 0:
            self.stuck.append(("orders check", check.stdout[-500:], check.stderr[-500:]))

    def judge(self):
        hanging, books = self.settle()
        self.orders_differ()
        of_seat = {(one.event, *seat): one for one in self.purchases for seat in one.seats}
        of_hold = {str(one.hold): one for one in self.purchases}
        sold, net, captures = {}, {}, {}
        for event, _, legs in self.bookings():
            if legs[0].state != HoldState.SOLD:
                continue
            one = of_seat[(event, legs[0].row, next(bits(legs[0].mask)))]
            sold[one] = sold.get(one, 0) + sum(leg.amount + FEE * leg.mask.bit_count() for leg in legs)
        for intent in books["payment_intents"]:
            one = of_hold[intent["metadata"]["usher_hold"]]
            moved = sum({"captured": 1, "refunded": -1, "refund_failed": 1}.get(line["kind"], 0) * line["amount"]
                        for line in books["ledger"] if line["payment_intent"] == intent["id"])
            net[one] = net.get(one, 0) + moved - (intent["amount_received"] if one.lost and moved > 0 else 0)
            captures[one] = captures.get(one, 0) + (moved > 0)
        all_of_them = set(net) | set(sold)
        return {
            "kill_points": self.kills, "purchases": len(self.purchases), "refunds": self.refunds,
            "charged_not_sold": sum(net.get(one, 0) > sold.get(one, 0) for one in all_of_them),
            "sold_not_charged": sum(sold.get(one, 0) > net.get(one, 0) for one in all_of_them),
            "double_charged": sum(count > 1 for count in captures.values()) + (not books["consistent"]),
            "lost": hanging + len(self.stuck),
        }

    def close(self):
        self.control.kill()
        self.provider.kill()
        self.relay.controller.stop()
        self.box.remove()


def bits(mask):
    while mask:
        yield (mask & -mask).bit_length() - 1
        mask &= mask - 1


def work(build, number, jobs, options):
    if options.verbose:
        faulthandler.dump_traceback_later(25, repeat=True)
    draw = random.Random(options.seed * 1000 + number)
    todo = [one for one in scenarios() if options.only in " ".join(one)]
    if options.short:
        # Five of nine: one or two of the three at each step, in turn.
        todo = [one for index, one in enumerate(todo) if (index + options.seed - 1) % 9 % 2 == 0]
    rounds = 1 if options.short else len(FAULTS)
    with tempfile.TemporaryDirectory(prefix="usher-saga-") as folder:
        world = None
        try:
            world = World(build, pathlib.Path(folder), number + 1, draw)
            for turn in range(rounds):
                for index, (way, point, victim) in enumerate(todo):
                    if index % jobs == number:
                        fault = FAULTS[(index // jobs + index + turn) % len(FAULTS)]
                        begun = time.monotonic()
                        # On a busy machine a hold may be over before it is paid for: once more.
                        for _ in range(3):
                            if world.run(way, point, victim, fault):
                                break
                        else:
                            world.missed.append((way, point, victim))
                        if len(world.stuck) + len(world.missed) > GIVE_UP:
                            raise RuntimeError(f"nothing goes on: {world.stuck} {world.missed}")
                        if options.verbose:
                            print(f"# {time.monotonic() - begun:.2f} s {way} {point} {victim} {fault}",
                                  file=sys.stderr, flush=True)
            found = world.judge()
        except BaseException:
            # Threads and daemons of a world that was not made to its end must not keep this process.
            traceback.print_exc()
            os._exit(1)
        finally:
            if world is not None:
                world.close()
            if options.keep:
                os.system(f"cp -r {folder} /tmp/usher-saga-kept-{number}")
    return found, world.stuck, world.missed


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].splitlines()[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    print(f"# USH_SEED={options.seed}", file=sys.stderr)
    total, stuck, missed = {}, [], []
    with concurrent.futures.ProcessPoolExecutor(options.jobs) as pool:
        for found, stuck_here, missed_here in pool.map(
                work, [options.build.resolve()] * options.jobs, range(options.jobs),
                [options.jobs] * options.jobs, [options] * options.jobs):
            total = {name: total.get(name, 0) + value for name, value in found.items()}
            stuck += stuck_here
            missed += missed_here
    for one in stuck:
        print("stuck:", *one, file=sys.stderr)
    for one in missed:
        print("not reached:", *one, file=sys.stderr)
    print(json.dumps(total))
    wrong = sum(total[name] for name in ("charged_not_sold", "sold_not_charged", "double_charged", "lost"))
    sys.exit(1 if wrong or missed else 0)


if __name__ == "__main__":
    main()
