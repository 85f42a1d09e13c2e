#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Buys and refunds while each of three processes is killed with -9 at every step, and compares the
provider's books with the seats at the end.

usage: saga.py BUILD [--short] [--jobs N] [--only TEXT] [--seed N] [--keep]

A kill point is a step of a payment or refund (about to be written, written, about to ask, answered)
times the process that is killed there (usherd, the provider, the payments of usher-control) times
what else goes wrong: nothing, an answer that is late, one that is lost after it was carried out, an
error that is kept under the key, with or without an effect. Webhooks come twice throughout.

The payments stop themselves (SIGSTOP) at the step, so that each kill strikes where it is meant to.
Whoever was killed is started again, and the purchase goes on. The end is judged by what usherd and
the provider say alone, by user; the payments' own tables are not asked.

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
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/system"))
from usher_box import Box, ON_SALE, venue_image  # noqa: E402
from usher_client import Client, ControlPort, HoldState, Op, Status  # noqa: E402

EVENT, CANCELLED_EVENT, PRICE = 1, 2, 2500
OVER = ("sold", "failed", "returned")
WAIT_S = 20

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
}
BACK = ["look.asking", "look.answered", "begin.saving", "begin.saved", "begin.asking", "begin.answered",
        "money.saving", "money.saved", "money.asking", "money.answered", "end.saving", "end.saved",
        "end.asking", "end.answered", "done.saving", "done.saved"]
BACK_STEPS = {
    "whole": BACK, "some": BACK, "cancelled": BACK,
    "refused": ["undo.saving", "undo.saved", "undo.asking", "undo.answered", "failed.saving", "failed.saved"],
}
VICTIMS = ("payments", "usherd", "provider")
CARDS = {"paid": "pm_card_visa", "declined": "pm_card_visa_chargeDeclined", "late": "pm_card_visa",
         "gone": "pm_card_visa", "abandoned": "pm_card_threeDSecure2Required"}
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
    def __init__(self, build, folder, webhook_port):
        self.port = free_port()
        self.log = open(folder / "provider.log", "ab")
        self.command = [build / "sim/sandbox/usher-sandbox", "--db", folder / "books.db", "--listen",
                        f"127.0.0.1:{self.port}", "--webhook", f"http://127.0.0.1:{webhook_port}/", "--retry-ms", "50"]
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

    def kill(self):
        self.process.kill()
        self.process.wait()


class Payments:
    """The payments' process: commands and answers are lines."""

    def __init__(self, build, folder, socket_path, provider_port, port):
        self.command = [build / "control/payments/saga-payer", f"sqlite:{folder}/payments.db", socket_path,
                        f"http://127.0.0.1:{provider_port}"]
        self.environment = {**os.environ, "PAYER_PORT": str(port)}
        self.log = open(folder / "payments.log", "ab")
        self.tag = 0
        self.process = None
        self.start()

    def start(self):
        self.answers, self.rest = {}, b""
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.log, env=self.environment)
        os.set_blocking(self.process.stdout.fileno(), False)
        if not self.until(lambda: "ready" in self.answers, WAIT_S):
            raise RuntimeError("the payments do not start")

    def read(self, seconds):
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        if not ready:
            return
        data = os.read(self.process.stdout.fileno(), 65536)
        if not data:
            time.sleep(min(seconds, 0.01))
        self.rest += data
        *lines, self.rest = self.rest.split(b"\n")
        for line in lines:
            answer = json.loads(line)
            self.answers[answer.get("tag", answer.get("event"))] = answer

    def until(self, done, seconds):
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end or self.stopped():
                return done()
            self.read(0.005)
        return True

    def stopped(self):
        return state_of(self.process) == "T"

    def send(self, **command):
        self.tag += 1
        self.process.stdin.write(json.dumps({**command, "tag": self.tag}).encode() + b"\n")
        self.process.stdin.flush()
        return self.tag

    def ask(self, seconds=0.5, **command):
        """ret: the answer; None: stopped, or none so far."""
        tag = self.send(**command)
        self.until(lambda: tag in self.answers, seconds)
        return self.answers.pop(tag, None)

    def kill(self):
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except OSError:
                pass


class World:
    def __init__(self, build, folder, number, draw):
        self.draw, self.folder = draw, folder
        self.user, self.seat = number * 1000000, 0
        port = free_port()
        self.box = Box(str(build), sets=("memory.prefault=no", "limits.rows=4096", "cores.idle=sleep")).start()
        self.provider = Provider(build, folder, port)
        self.payments = Payments(build, folder, self.box.control_path, self.provider.port, port)
        self.client = Client(ControlPort(self.box.control_path))
        for event in (EVENT, CANCELLED_EVENT):
            self.client.event_load(event, venue_image(rows=256, seats=64, price=PRICE))
            self.client.event_status(event, ON_SALE)
        self.kills = self.purchases = self.refunds = 0
        self.users, self.stuck, self.missed = {}, [], []

    # ---- killing ----

    def arm(self, point, victim):
        self.point, self.victim, self.struck = point, victim, False
        self.payments.ask(do="stop_at", at=point, seconds=2)

    def strike(self):
        """If the payments stand at the point: kills the victim, and starts it again."""
        if self.struck or not self.payments.stopped():
            return
        self.struck = True
        self.kills += 1
        if self.victim == "payments":
            self.payments.kill()
            self.payments.start()
            return
        if self.victim == "provider":
            self.provider.kill()
        else:
            self.box.stop(signal.SIGKILL)
        # The other side is away while the payments go on, for a moment.
        self.payments.process.send_signal(signal.SIGCONT)
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
            if answer is not None and answer.get("result") == 0 and done(answer):
                since = time.monotonic()
                # The last steps may come after what is asked about is over.
                while not self.struck and time.monotonic() < min(end, since + 1):
                    time.sleep(0.005)
                    self.strike()
                return answer
            time.sleep(0.005)
        return None

    # ---- buying ----

    def hold(self, event, seats, hold_ms):
        self.user += 1
        legs = []
        while seats > 0:
            row, at = divmod(self.seat, 60)
            take = min(seats, 2)
            legs.append([row, ((1 << take) - 1) << at])
            self.seat += 2 if at + 2 <= 58 else 60 - at
            seats -= take
        held = self.client.reserve(event, self.user, [tuple(leg) for leg in merge(legs)], hold_ms=hold_ms)
        self.users[self.user] = {"hold": held.hold, "amount": held.amount}
        return held, merge(legs)

    def confirm(self, answer, card):
        """What the buyer's page does, until the provider has taken it."""
        path = f"/v1/payment_intents/{answer['intent']}"
        form = urllib.parse.urlencode({"client_secret": answer["secret"], "payment_method": card})
        while True:
            self.strike()
            try:
                return self.provider.raw("POST", path + "/confirm", form, key="pk_test_usher")
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)

    def end_hold(self, held, legs):
        """The hold is over behind the payment's back; its seats go to another if legs are given."""
        look = self.client.call(Op.QUERY_HOLD, event=EVENT, user=self.user, hold=held.hold)
        time.sleep(max(0, held.deadline_ns / 1e9 - time.time()) + 0.02)
        self.client.pay_end(EVENT, self.user, held.hold, look.hold_version, False)
        if legs:
            self.client.reserve(EVENT, self.user + 500000, [tuple(leg) for leg in legs[:1]], hold_ms=3600000)

    def buy(self, way, event=EVENT, seats=2):
        """ret: the payment at its end."""
        late = way in ("late", "gone")
        held, legs = self.hold(event, seats, 400 if late else 3600000)
        begin = dict(do="begin", event=event, user=self.user, hold=signed(held.hold), version=1, amount=held.amount, legs=legs)
        confirmed = False

        def once():
            nonlocal confirmed
            answer = self.payments.ask(**begin)
            if answer is None or answer.get("result") != 0 or confirmed or answer["step"] != "wait":
                return answer
            if late:
                self.end_hold(held, legs if way == "gone" else None)
            self.confirm(answer, CARDS[way])
            confirmed = True
            return answer

        self.purchases += 1
        answer = self.finish(once, lambda answer: answer["step"] in OVER)
        if answer is None:
            self.stuck.append((way, self.point, self.victim))
        return answer, held, legs

    # ---- refunding ----

    def refund(self, way, answer, legs):
        hold = answer["hold"]
        if way == "refused":
            self.provider.patient("POST", "/_sandbox/disputes", json.dumps({"payment_intent": answer["intent"]}))
        if way == "cancelled":
            ask = dict(do="refund_event", event=CANCELLED_EVENT)
            # What it does is seen at usherd: there is nothing sold any more.
            done = lambda _: self.payments.ask(do="busy", seconds=2) and \
                not any(b.user == self.user for found in self.client.bookings(CANCELLED_EVENT).values() for b in found)
        else:
            some = [[legs[0][0], legs[0][1] & -legs[0][1]]] if way == "some" else []
            ask = dict(do="refund", key=f"r-{hold}-{way}", hold=hold, user=self.user, legs=some)
            done = lambda answer: answer["step"] in ("done", "failed")
        self.refunds += 1
        end = self.finish(lambda: self.payments.ask(**ask), done)
        if end is None or (way in ("whole", "some") and end["step"] != "done"):
            self.stuck.append((way, self.point, self.victim, end))

    def run(self, way, point, victim, fault):
        back = point.startswith("back")
        path = "/v1/refunds" if back or "return" in point else \
            "/v1/payment_intents/*/cancel" if "close" in point else \
            "/v1/payment_intents/*/capture" if point.split(".")[1] in ("wait", "capture", "sell") else "/v1/payment_intents"
        if not back:
            self.provider.fault(fault, path)
            self.arm(point, victim)
            self.buy(way)
        else:
            self.point, self.victim, self.struck = point, victim, True
            if way == "cancelled":
                # Refunded as soon as it is sold, but for the first one.
                self.provider.fault(fault, path)
                self.arm(point, victim)
            answer, _, legs = self.buy("paid", CANCELLED_EVENT if way == "cancelled" else EVENT, 4)
            if answer is None or answer["step"] != "sold":
                self.stuck.append((way, "before", answer))
                return False
            if way != "cancelled":
                self.provider.fault(fault, path)
                self.arm(point, victim)
            self.refund(way, answer, legs)
        if self.payments.stopped():
            self.payments.process.send_signal(signal.SIGCONT)
        self.provider.fault(None, "")
        return self.struck

    # ---- the end ----

    def judge(self):
        end = time.monotonic() + WAIT_S
        while (self.payments.ask(do="busy", seconds=2) or {}).get("busy") != 0 and time.monotonic() < end:
            time.sleep(0.05)
        sold, hanging = {}, 0
        for event in (EVENT, CANCELLED_EVENT):
            for legs in self.client.bookings(event).values():
                if legs[0].state == HoldState.SOLD:
                    # Of a fee of 100 for each purchase, 50 go back with some of the seats.
                    amount = sum(leg.amount for leg in legs)
                    fee = 100 if amount == self.users[legs[0].user]["amount"] else 50
                    sold[legs[0].user] = sold.get(legs[0].user, 0) + amount + fee
                hanging += legs[0].state in (HoldState.PAYING, HoldState.REFUNDING)
        books = self.provider.patient("GET", "/_sandbox/books")[1]
        user_of = {str(one["hold"]): user for user, one in self.users.items()}
        net, captures = {}, {}
        for intent in books["payment_intents"]:
            user = user_of[intent["metadata"]["usher_hold"]]
            hanging += intent["status"] == "requires_capture"
            moved = sum({"captured": 1, "refunded": -1, "refund_failed": 1}.get(line["kind"], 0) * line["amount"]
                        for line in books["ledger"] if line["payment_intent"] == intent["id"])
            net[user] = net.get(user, 0) + moved
            captures[user] = captures.get(user, 0) + (moved > 0)
        users = set(net) | set(sold)
        result = {
            "charged_not_sold": sum(net.get(u, 0) > sold.get(u, 0) for u in users),
            "sold_not_charged": sum(sold.get(u, 0) > net.get(u, 0) for u in users),
            "double_charged": sum(count > 1 for count in captures.values()) + (not books["consistent"]),
            "lost": hanging + len(self.stuck),
        }
        return {"kill_points": self.kills, "purchases": self.purchases, "refunds": self.refunds, **result}

    def close(self):
        self.payments.kill()
        self.provider.kill()
        self.box.remove()


def signed(hold):
    """As JSON's integers take it."""
    return hold - (1 << 64) if hold >> 63 else hold


def merge(legs):
    rows = {}
    for row, mask in legs:
        rows[row] = rows.get(row, 0) | mask
    return [[row, mask] for row, mask in rows.items()]


def work(build, number, jobs, options):
    if options.verbose:
        faulthandler.dump_traceback_later(25, repeat=True)
    draw = random.Random(options.seed * 1000 + number)
    todo = [one for one in scenarios() if options.only in " ".join(one)]
    if options.short:
        # Two of the three at each step, in turn.
        todo = [one for index, one in enumerate(todo) if index % 3 != index // 3 % 3]
    rounds = 1 if options.short else len(FAULTS)
    with tempfile.TemporaryDirectory(prefix="usher-saga-") as folder:
        world = World(build, pathlib.Path(folder), number + 1, draw)
        try:
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
                        if options.verbose:
                            print(f"# {time.monotonic() - begun:.2f} s {way} {point} {victim} {fault}",
                                  file=sys.stderr, flush=True)
            found = world.judge()
        finally:
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
