#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Disputes that are lost: what becomes of the seats, also of a payment or refund that is under way then.

usage: test_disputes.py BUILD [NAME-PART...]
"""
import concurrent.futures
import json
import pathlib
import signal
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/system"), str(ROOT / "tests/saga")]
import postgres  # noqa: E402
import test_payments as payments  # noqa: E402
from saga import PRICE  # noqa: E402
from test_payments import EVENT, OPERATOR, intent_of  # noqa: E402
from usher_box import Tap  # noqa: E402
from usher_client import HoldState, Op, Status  # noqa: E402

POLICY = f"/v1/admin/events/{EVENT}/dispute-policy"


class Shop(payments.Shop):
    open = []

    def __init__(self):
        Shop.open.append(self)
        super().__init__()

    def end(self):
        Shop.open.remove(self)
        return super().end()

    def policy(self, lost):
        assert self.ask("POST", POLICY, {"lost": lost}, headers=OPERATOR) == (200, {"event": str(EVENT), "lost": lost})

    def begun(self, seats=2):
        """ret: the hold, its user, the payment, which was confirmed."""
        held, _, _ = self.hold(seats)
        status, payment = self.pay(held.hold, version=1)
        assert status == 201 and payment["state"] == "wait", (status, payment)
        return held, self.user, payment

    def bought(self, seats=2):
        held, user, payment = self.begun(seats)
        assert self.confirm(payment)[0] == 200
        self.webhook(payments.SIX[2], intent_of(payment), f"b{held.hold}")
        assert self.until(payment["id"], ["sold"], 30)["state"] == "sold"
        # The read model is a moment behind.
        end = time.monotonic() + 60
        while self.ask("GET", f"/v1/orders/{held.hold}", user=user)[0] != 200 and time.monotonic() < end:
            time.sleep(0.01)
        return held, user, intent_of(payment)

    def disputed(self, intent, end, number):
        """Opened and ended at the provider; each webhook comes twice."""
        opened = self.provider.raw("POST", "/_sandbox/disputes", json.dumps({"payment_intent": intent}))[1]
        for at, status in enumerate(("needs_response", end)):
            if status == end:
                assert self.provider.raw("POST", f"/_sandbox/disputes/{opened['id']}",
                                         json.dumps({"status": end}))[0] == 200
            kind = "charge.dispute.created" if at == 0 else "charge.dispute.closed"
            for again in range(2):
                assert self.webhook(kind, intent, f"{number}{at}{again}", about={**opened, "status": status})[0] == 200
        return opened

    def state(self, held, user):
        """ret: the name of the hold's state, or of the status it is refused with: their numbers are the same."""
        reply = self.client.call(Op.QUERY_HOLD, event=EVENT, user=user, hold=held.hold)
        return HoldState(reply.state).name if reply.status == Status.OK else Status(reply.status).name

    def reaches(self, held, user, state, seconds=60):
        end = time.monotonic() + seconds
        while self.state(held, user) != state and time.monotonic() < end:
            time.sleep(0.02)
        return self.state(held, user) == state

    def usherd_away(self):
        self.box.stop(signal.SIGKILL)

    def usherd_back(self):
        count = len(self.box.events("ready"))
        self.box.start(wait=False)
        self.box.wait_event("ready", count=count + 1)
        self.client = payments.Client(payments.ControlPort(self.box.control_path))

    def gone_behind(self, held, user):
        """The hold is ended behind the shop's back, and another has the seats before it is asked for; usherd was away."""
        self.process.send_signal(signal.SIGSTOP)
        self.usherd_back()
        look = self.client.call(Op.QUERY_HOLD, event=EVENT, user=user, hold=held.hold)
        self.client.pay_end(EVENT, user, held.hold, look.hold_version, False)
        self.client.release(EVENT, user, held.hold, request_id=99)
        row, at = divmod(self.seat - 2, 64)
        self.client.reserve(EVENT, user + 500000, [(row, 1 << at)], hold_ms=3600000)
        self.process.send_signal(signal.SIGCONT)

    def money(self):
        """ret: what was captured and what was refunded, in all."""
        books = self.provider.raw("GET", "/_sandbox/books")[1]
        assert books["consistent"], books
        totals = books["totals"]["eur"]
        return totals["captured"], totals.get("refunded", 0)

    def report(self, payments_made):
        """Once nothing is under way."""
        end = time.monotonic() + 60
        while True:
            status, report = self.ask("GET", "/v1/admin/reconciliation", headers=OPERATOR)
            if status == 200 and report["under_way"] == 0 or time.monotonic() > end:
                break
            time.sleep(0.02)
        assert status == 200 and report["sound"] and report["under_way"] == 0, report
        assert report["payments"] == payments_made, report
        return report

    def refunding(self, hold, user, pool, body=None, headers=()):
        """A request of its own that waits for its refund. ret: a future of (status, body)."""
        self.keys += 1
        key = f"k{self.keys}"

        def once():
            other = payments.http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            other.request("POST", f"/v1/orders/{hold}/refunds", json.dumps(body or {}), {
                "X-Test-User": str(user), "Content-Type": "application/json", "Idempotency-Key": key,
                **dict(headers)})
            answer = other.getresponse()
            return answer.status, json.loads(answer.read())
        return pool.submit(once)


# Goal: when a dispute is lost, the seats are what the event's policy says: kept, or given back once and without a
# second refund of money that is gone already; an open or won one changes nothing.
def test_policies():
    s = Shop()
    assert s.ask("GET", POLICY)[0] == 403
    assert s.ask("GET", POLICY, headers=OPERATOR) == (200, {"event": str(EVENT), "lost": "keep"})
    kept = s.bought()
    s.disputed(kept[2], "lost", 1)
    assert s.ask("POST", POLICY, {"lost": "burn"}, headers=OPERATOR)[0] == 400
    assert s.ask("POST", POLICY, {"lost": "release"})[0] == 403
    s.policy("release")
    won, lost = s.bought(), s.bought()
    s.disputed(won[2], "won", 2)
    assert s.webhook("charge.dispute.closed", won[2], 29, about={
        "id": s.ask("GET", "/v1/admin/disputes", headers=OPERATOR)[1]["items"][0]["id"], "object": "dispute",
        "payment_intent": won[2], "amount": 1, "reason": "fraudulent", "status": "lost"})[0] == 200
    s.disputed(lost[2], "lost", 3)
    assert s.reaches(*lost[:2], "NO_HOLD"), s.state(*lost[:2])
    assert s.state(*kept[:2]) == s.state(*won[:2]) == "SOLD"
    items = s.ask("GET", "/v1/admin/disputes", headers=OPERATOR)[1]["items"]
    assert sorted(item["status"] for item in items) == ["lost", "lost", "won"], items
    assert s.money() == (3 * 2 * PRICE, 0)
    s.report(3)
    s.end()


# Goal: a dispute that is lost while its payment is captured and not sold yet is not forgotten.
# Method: usherd is away between; once with a restart of usher-control.
def test_lost_before_it_is_sold():
    s = Shop()
    for number, (lost, again) in enumerate((("release", False), ("release", True), ("keep", True))):
        s.policy(lost)
        held, user, payment = s.begun()
        s.usherd_away()
        assert s.confirm(payment)[0] == 200
        s.webhook(payments.SIX[2], intent_of(payment), f"a{number}")
        assert s.until(payment["id"], ["sell"])["state"] == "sell"
        s.disputed(intent_of(payment), "lost", f"d{number}")
        if again:
            s.process.send_signal(signal.SIGKILL)
            s.process.wait()
            s.start()
        s.usherd_back()
        assert s.until(payment["id"], ["sold"])["state"] == "sold"
        wanted = "NO_HOLD" if lost == "release" else "SOLD"
        assert s.reaches(held, user, wanted), (lost, again, s.state(held, user))
    assert s.money() == (3 * 2 * PRICE, 0)
    s.report(3)
    s.end()


# Goal: captured, too late for its seats, and the dispute lost before it was given back: it ends, said so, and without
# a refund of what the payer has already. While the dispute is open the provider is not asked in a hurry.
def test_lost_before_it_is_returned():
    s = Shop()
    s.policy("release")
    held, user, payment = s.begun()
    s.usherd_away()
    assert s.confirm(payment)[0] == 200
    s.webhook(payments.SIX[2], intent_of(payment), "a")
    assert s.until(payment["id"], ["sell"])["state"] == "sell"
    opened = s.provider.raw("POST", "/_sandbox/disputes", json.dumps({"payment_intent": intent_of(payment)}))[1]
    assert s.webhook("charge.dispute.created", intent_of(payment), "b", about=opened)[0] == 200
    s.gone_behind(held, user)
    assert s.until(payment["id"], ["return"])["state"] == "return"
    time.sleep(1)
    with open(s.log.parent / "provider.log") as log:
        asked = [json.loads(line) for line in log if '"/v1/refunds"' in line]
    tries = sum(one["method"] == "POST" for one in asked)
    assert 1 <= tries <= 12, tries
    assert s.provider.raw("POST", f"/_sandbox/disputes/{opened['id']}", json.dumps({"status": "lost"}))[0] == 200
    assert s.webhook("charge.dispute.closed", intent_of(payment), "c", about={**opened, "status": "lost"})[0] == 200
    ended = s.until(payment["id"], ["returned"])
    assert (ended["state"], ended["reason"]) == ("returned", "disputed"), ended
    assert s.money() == (2 * PRICE, 0)
    assert s.report(1)["refunded"] == 0
    s.end()


# Goal: a return that the provider refuses for good, with no dispute, is found by the reconciliation.
# Method: some of it was given back by hand at the provider, so all of it is more than there is.
def test_return_refused():
    s = Shop()
    held, user, payment = s.begun()
    s.usherd_away()
    assert s.confirm(payment)[0] == 200
    s.webhook(payments.SIX[2], intent_of(payment), "a")
    assert s.until(payment["id"], ["sell"])["state"] == "sell"
    form = payments.urllib.parse.urlencode({"payment_intent": intent_of(payment), "amount": 1})
    assert s.provider.raw("POST", "/v1/refunds", form)[0] == 200
    s.gone_behind(held, user)
    assert s.until(payment["id"], ["return"])["state"] == "return"
    end = time.monotonic() + 60
    while True:
        report = s.ask("GET", "/v1/admin/reconciliation", headers=OPERATOR)[1]
        if report["findings"] or time.monotonic() > end:
            break
        time.sleep(0.1)
    found = [(one["kind"], one["payment"], one["ours"]) for one in report["findings"]]
    assert found == [("return_refused", payment["id"], 2 * PRICE)] and not report["sound"], report
    s.end()


# Goal: a refund that is under way when the dispute is lost: the money does not go twice, and the seats are what the
# policy says, released once.
# Method: usherd, or the provider, is away until both the buyer's refund and the dispute's are there; ten times, for
# which of the two is first is chance.
def test_lost_during_a_refund():
    s = Shop()
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        for number in range(10):
            lost = "keep" if number % 5 == 4 else "release"
            s.policy(lost)
            held, user, intent = s.bought()
            if number % 2 == 0:
                s.usherd_away()
            else:
                s.provider.fault({"kind": "rate_limit", "times": 1000}, "/v1/refunds")
            asked = s.refunding(held.hold, user, pool)
            time.sleep(0.1)
            s.disputed(intent, "lost", f"d{number}")
            if number % 2 == 0:
                s.usherd_back()
            else:
                s.provider.fault(None, "")
            status, body = asked.result()
            assert status == 409 and body["code"] == "refund_not_allowed", (number, body)
            wanted = "NO_HOLD" if lost == "release" else "SOLD"
            assert s.reaches(held, user, wanted), (number, lost, s.state(held, user))
    assert s.money() == (10 * 2 * PRICE, 0)
    s.report(10)
    s.end()


# Goal: some of the seats were refunded when the dispute about the rest is lost: the rest is released, and no more.
def test_lost_after_a_part():
    s = Shop()
    s.policy("release")
    held, user, intent = s.bought(3)
    row, at = divmod(s.seat - 3, 64)
    s.user = user
    assert s.ask("POST", f"/v1/orders/{held.hold}/refunds", {"seats": [[row, at]]})[0] == 201
    s.disputed(intent, "lost", 1)
    assert s.reaches(held, user, "NO_HOLD")
    assert s.money() == (3 * PRICE, PRICE)
    assert s.report(1)["refunded"] == PRICE
    s.end()


# Goal: two refunds of the same seats, asked for apart, are not one at usherd and two at the provider.
# Method: usherd is away until an operator's refund of the whole event and the buyer's are both there.
def test_two_refunds_of_the_same():
    s = Shop()
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        sold = [s.bought() for _ in range(8)]
        # The answers of the first are lost: who would be the second has his before.
        s.provider.fault({"kind": "drop", "when": "after", "ms": 300, "times": 8}, "/v1/refunds")
        s.usherd_away()
        asked = [s.refunding(held.hold, user, pool) for held, user, _ in sold]
        time.sleep(0.3)
        named = [[list(divmod(i * 2, 64)), list(divmod(i * 2 + 1, 64))] for i in range(8)]
        asked += [s.refunding(one[0].hold, one[1], pool, {"seats": named[i]}) for i, one in enumerate(sold)]
        time.sleep(0.3)
        # Whoever pauses goes on at once, all together.
        s.process.send_signal(signal.SIGSTOP)
        time.sleep(2)
        s.usherd_back()
        s.process.send_signal(signal.SIGCONT)
        answers = [one.result() for one in asked]
        for held, user, _ in sold:
            assert s.reaches(held, user, "NO_HOLD"), s.state(held, user)
    assert sorted(status for status, _ in answers) == [201] * 8 + [409] * 8, answers
    assert s.money() == (8 * 2 * PRICE, 8 * 2 * PRICE)
    s.report(8)
    s.end()


# Goal: a refund that a job has read and that is over before the job's answer is heard does not begin again: what is
# kept of it stays.
# Method: the job that fetches what waits stands at a locked table, between its reading and its end.
def test_read_before_it_was_over():
    try:
        with postgres.Postgres() as server, concurrent.futures.ThreadPoolExecutor(4) as pool:
            payments.DATABASE = server.database("shop")
            s = Shop()
            held, user, _ = s.bought()
            s.usherd_away()
            asked = s.refunding(held.hold, user, pool)
            end = time.monotonic() + 60
            while server.sql("SELECT COUNT(*) FROM payments_refunds", "shop") == "0" and time.monotonic() < end:
                time.sleep(0.02)
            with server.locked("shop", "payments_attempts"):
                assert s.ask("POST", "/v1/admin/events/4242/refund-all", headers=OPERATOR)[0] == 202
                waits = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 'shop'"
                end = time.monotonic() + 60
                while server.sql(waits) == "0" and time.monotonic() < end:
                    time.sleep(0.02)
                assert server.sql(waits) == "1"
                s.usherd_back()
                assert asked.result()[0] == 201, asked.result()
            time.sleep(1)
            assert s.report(1)["refunded"] == 2 * PRICE
            s.end()
    except postgres.Missing as reason:
        raise Tap.Skip(reason)
    finally:
        payments.DATABASE = None


# Goal: what an operator or a cancelled event gives back finds its owner, if the order is transferred before it is
# looked at; what its buyer asked for does not take the seats of who has them now.
# Method: usherd is away when the refund is asked for, and the transfer is there first.
def test_transferred_before_it_is_looked_at():
    s = Shop()
    s.policy("release")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for number, who in enumerate(("operator", "dispute", "buyer", "event")):
            held, user, intent = s.bought()
            version = s.client.call(Op.QUERY_HOLD, event=EVENT, user=user, hold=held.hold).hold_version
            s.usherd_away()
            if who == "dispute":
                s.disputed(intent, "lost", f"d{number}")
            elif who == "event":
                assert s.ask("POST", f"/v1/admin/events/{EVENT}/refund-all", headers=OPERATOR)[0] == 202
            else:
                asked = s.refunding(held.hold, user, pool, headers=OPERATOR if who == "operator" else {})
            time.sleep(0.5)
            s.process.send_signal(signal.SIGSTOP)
            s.usherd_back()
            given = s.client.call(Op.TRANSFER, event=EVENT, user=user, hold=held.hold, section=version,
                                  arg=user + 900000)
            assert given.status == Status.OK, given
            s.process.send_signal(signal.SIGCONT)
            if who in ("operator", "buyer"):
                assert asked.result()[0] == (201 if who == "operator" else 409), (who, asked.result())
            wanted = "SOLD" if who == "buyer" else "NO_HOLD"
            assert s.reaches(held, user + 900000, wanted), (who, s.state(held, user + 900000))
            if who == "buyer":
                kept = held, user + 900000
        assert s.reaches(*kept, "NO_HOLD"), s.state(*kept)
    assert s.money() == (4 * 2 * PRICE, 3 * 2 * PRICE)
    assert s.report(4)["refunded"] == 3 * 2 * PRICE
    s.end()


def test_postgres():
    try:
        with postgres.Postgres() as server:
            for number, test in enumerate((test_policies, test_lost_before_it_is_sold, test_lost_before_it_is_returned,
                                           test_return_refused, test_lost_during_a_refund, test_lost_after_a_part,
                                           test_two_refunds_of_the_same,
                                           test_transferred_before_it_is_looked_at)):
                payments.DATABASE = server.database(f"shop{number}")
                test()
    except postgres.Missing as reason:
        raise Tap.Skip(reason)
    finally:
        payments.DATABASE = None


def main():
    tap = Tap()
    for name, test in list(globals().items()):
        if name.startswith("test_") and (len(sys.argv) < 3 or any(part in name for part in sys.argv[2:])):
            tap.run(test)
            # What a test that failed left behind.
            while Shop.open:
                shop = Shop.open.pop()
                shop.process.kill()
                shop.provider.kill()
                shop.box.remove()
    tap.end()


if __name__ == "__main__":
    main()
