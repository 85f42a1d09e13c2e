#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Webhooks of a real shop: signed, in order, again after failures, replays and kill -9; nobody is told another's
sales, and nothing personal. On both databases.

usage: test_hooks.py BUILD-FOLDER [WORD]...      only tests whose names have one of the words
"""
import datetime
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import postgres  # noqa: E402
import shop as shops  # noqa: E402
import usher_box  # noqa: E402
from test_people import Person, appoint, same  # noqa: E402
from usher_client import Client, ControlPort, Op, Status  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = sys.argv[1]
DATABASE = "sqlite"


def until(good, seconds=60):
    end = time.monotonic() + seconds
    while not good():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


class Hearer:
    """An integrator: keeps what it is sent. `script`: what to answer first: statuses, or "hang"."""

    def __init__(self, script=()):
        self.heard, self.script, self.let_go = [], list(script), threading.Event()
        self.now, self.most = 0, 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                outer.now += 1
                outer.most = max(outer.most, outer.now)
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = outer.script.pop(0) if outer.script else 200
                outer.heard.append((self.headers, body, time.monotonic(), status))
                if status == "hang":
                    outer.let_go.wait(30)
                    status = 200
                outer.now -= 1
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/told?by=usher"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def bodies(self):
        return [json.loads(body) for _, body, _, _ in self.heard]

    def numbers(self, kind=None):
        return [b["number"] for b in self.bodies() if kind in (None, b["kind"])]

    def close(self):
        self.let_go.set()
        self.server.shutdown()
        self.server.server_close()


def is_signed(heard, secret):
    """As docs/hooks.md tells integrators to check."""
    headers, body = heard[:2]
    parts = [part.split("=", 1) for part in headers["Usher-Signature"].split(",")]
    (stamp,) = [value for name, value in parts if name == "t"]
    assert abs(int(stamp) - time.time()) < 300, stamp
    want = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return any(hmac.compare_digest(want, value) for name, value in parts if name == "v1")


class Shop(shops.Shop):
    """With an operator, a promoter, and an event on sale of each; `sell` sells a seat."""

    def __init__(self):
        super().__init__(BUILD, database=DATABASE, sandbox=False,
                         sets=["people.codes_file={folder}/codes", "hooks.allow_private=yes"])
        self.client = Client(ControlPort(self.usherd.control_path))
        appoint(self, "operator", "op@example.org")
        appoint(self, "promoter", "pro@example.org")
        self.operator = Person(self, "op@example.org").sign_in()
        self.promoter = Person(self, "pro@example.org").sign_in()
        self.user = 100
        venue = self.operator.post("/v1/admin/venues", {"name": "Hall", "city": "Oslo", "country": "NO",
                                                        "timezone": "Europe/Oslo"}).json()["venue"]
        self.venue = venue
        self.event = self.on_sale(self.operator, venue)
        self.own = self.on_sale(self.promoter, venue)

    def on_sale(self, who, venue, plan=None):
        starts = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=40)
        plan = plan or json.loads((ROOT / "venues/club.json").read_text())
        made = who.post("/v1/admin/events", {
            "name": "Owls", "category": "rock", "performers": ["Owls"], "venue": venue, "plan": plan,
            "starts": starts.strftime("%Y-%m-%dT%H:%M:%SZ")})
        same(made.status, 201)
        event = made.json()["event"]
        answer = who.post(f"/v1/admin/events/{event}/publish", {})
        assert answer.status < 300, answer
        # Its own change of status is told to nobody who comes later: the tables are past it, not only the map of seats.
        until(lambda: b'"on_sale"' in self.get(f"/v1/events/{event}/availability").body)
        held = self.client.reserve_best(event, 99, 1)
        assert held.status == Status.OK, held
        until(lambda: self.operator.get(f"/v1/holds/{held.hold}").status == 200)
        assert self.client.release(event, 99, held.hold).status == Status.OK
        return event

    def sell(self, event):
        """ret: the order, as hooks name it."""
        self.user += 1
        held = self.client.reserve_best(event, self.user, 1)
        assert held.status == Status.OK, held
        assert self.client.confirm(event, self.user, held.hold).status == Status.OK
        return str(held.hold)

    def hook(self, who, url, **more):
        answer = who.post("/v1/hooks", {"url": url, **more})
        same(answer.status, 201)
        return answer.json()

    def hook_state(self, hook):
        (found,) = [h for h in self.operator.get("/v1/hooks").json()["items"] if h["hook"] == hook]
        return found


def test_sales_are_told_signed_and_in_order():
    with Shop() as s:
        hearer = Hearer()
        hook = s.hook(s.operator, hearer.url)
        orders = [s.sell(s.event) for _ in range(5)]
        until(lambda: len(hearer.heard) >= 5)
        sold = hearer.bodies()
        same([b["order"] for b in sold], orders)
        same({b["kind"] for b in sold}, {"order.sold"})
        same(hearer.numbers(), sorted(set(hearer.numbers())))
        same(hearer.most, 1)
        for heard in hearer.heard:
            assert is_signed(heard, hook["secret"])
            assert not is_signed(heard, "whsec_other")
            same(heard[0]["Content-Type"], "application/json")
        same(set(sold[0]), {"number", "sequence", "kind", "event", "order", "at", "data"})
        same((sold[0]["event"], sold[0]["data"]["currency"]), (s.event, "GBP"))
        assert "user" not in json.dumps(sold) and "secret" not in s.operator.get("/v1/hooks").body.decode()
        until(lambda: s.hook_state(hook["hook"])["number"] >= sold[-1]["number"])
        told = s.operator.get(f"/v1/hooks/{hook['hook']}/deliveries").json()["items"]
        same([(d["number"], d["status"], d["attempts"]) for d in told], [(b["number"], 200, 1) for b in sold])
        assert all(d["done_us"] and not d["due_us"] for d in told), told
        # The rest of an order's life; the numbers of those who have it are nobody's but ours.
        order = int(orders[0])
        moved = s.client.patient(Op.TRANSFER, event=s.event, user=101, hold=order, section=2, arg=987654321)
        begun = s.client.refund_begin(s.event, 987654321, order, moved.hold_version)
        s.client.refund_end(s.event, 987654321, order, begun.hold_version, True)
        same(s.operator.post(f"/v1/admin/events/{s.event}/status", {"status": "pause"}).status, 200)
        until(lambda: len(hearer.heard) >= 8)
        moved, refunded, paused = hearer.bodies()[5:8]
        same((moved["kind"], moved["order"], moved["data"]), ("order.transferred", orders[0], {}))
        same((refunded["kind"], refunded["order"], refunded["data"]["left"]), ("order.refunded", orders[0], 0))
        same((paused["kind"], paused["order"], paused["data"]), ("event.status", None, {"status": "paused"}))
        same(hearer.numbers(), sorted(hearer.numbers()))
        assert b"987654321" not in b"".join(body for _, body, _, _ in hearer.heard)
        hearer.close()


def test_a_promoter_is_told_of_its_own_events_alone():
    with Shop() as s:
        theirs, everything = Hearer(), Hearer()
        hook = s.hook(s.promoter, theirs.url, kinds=["order.sold"])
        s.hook(s.operator, everything.url)
        s.sell(s.event)
        own = s.sell(s.own)
        s.sell(s.event)
        until(lambda: len(everything.heard) == 3 and len(theirs.heard) == 1)
        time.sleep(1.5)
        same([(b["event"], b["order"]) for b in theirs.bodies()], [(s.own, own)])
        same([h["hook"] for h in s.promoter.get("/v1/hooks").json()["items"]], [hook["hook"]])
        same(len(s.operator.get("/v1/hooks").json()["items"]), 2)
        other = [h["hook"] for h in s.operator.get("/v1/hooks").json()["items"] if h["hook"] != hook["hook"]][0]
        for answer in (s.promoter.get(f"/v1/hooks/{other}/deliveries"), s.promoter.delete(f"/v1/hooks/{other}"),
                       s.promoter.post(f"/v1/hooks/{other}/replay", {"from": 1}),
                       s.promoter.post(f"/v1/hooks/{other}/secret", {})):
            same((answer.status, answer.code), (404, "not_found"))
        same(s.get("/v1/hooks").status, 401)
        buyer = Person(s, "buyer@example.org").sign_in()
        same(buyer.post("/v1/hooks", {"url": theirs.url}).code, "forbidden")
        for url in ("ftp://x/", "https://", "https://u:p@x/", "https://x/\r\nA: b", "x", 7, None, "https://x/" + "y" * 1024):
            same(s.promoter.post("/v1/hooks", {"url": url}).code, "invalid")
        for kinds in ([], ["order.lost"], [1], "order.sold"):
            same(s.promoter.post("/v1/hooks", {"url": theirs.url, "kinds": kinds}).code, "invalid")
        for number in (0, -1, "1", None, 10 ** 9):
            same(s.promoter.post(f"/v1/hooks/{hook['hook']}/replay", {"from": number}).code, "invalid")
        for _ in range(19):
            s.hook(s.promoter, theirs.url)
        same(s.promoter.post("/v1/hooks", {"url": theirs.url}).code, "hook_limit")
        same(s.promoter.delete(f"/v1/hooks/{hook['hook']}").status, 204)
        same(s.promoter.delete(f"/v1/hooks/{hook['hook']}").status, 404)
        theirs.close()
        everything.close()


def test_failures_wait_and_keep_the_order():
    with Shop() as s:
        hearer = Hearer([500, 302, 404])
        hook = s.hook(s.operator, hearer.url)["hook"]
        s.sell(s.event)
        s.sell(s.event)
        until(lambda: len(hearer.heard) == 5, 30)
        first, second = hearer.numbers()[0], hearer.numbers()[-1]
        same(hearer.numbers(), [first] * 4 + [second])
        assert second > first
        times = [t for _, _, t, _ in hearer.heard]
        # From 1 s, doubling, a quarter more or less.
        for gap, want in zip([b - a for a, b in zip(times, times[1:])], (1, 2, 4)):
            assert want * 0.74 <= gap < want * 1.26 + 2, (gap, want)
        until(lambda: s.hook_state(hook)["number"] >= second)
        same((s.hook_state(hook)["failures"], s.hook_state(hook)["failing_us"]), (0, None))
        told = s.operator.get(f"/v1/hooks/{hook}/deliveries").json()["items"]
        same([d["attempts"] for d in told], [4, 1])
        hearer.close()


def test_killed_it_tells_again_with_the_same_number():
    with Shop() as s:
        hearer = Hearer([200, "hang"])
        hook = s.hook(s.operator, hearer.url)
        for _ in range(3):
            s.sell(s.event)
        until(lambda: len(hearer.heard) == 2)
        s.control.kill()
        hearer.let_go.set()
        s.control.start()
        until(lambda: len(hearer.heard) == 4)
        numbers = hearer.numbers()
        same(numbers[1], numbers[2])
        same(sorted(set(numbers)), numbers[:1] + numbers[2:])
        assert all(is_signed(heard, hook["secret"]) for heard in hearer.heard)
        hearer.close()


def test_replay_and_two_secrets():
    with Shop() as s:
        hearer = Hearer()
        made = s.hook(s.operator, hearer.url)
        hook, secret = made["hook"], made["secret"]
        for _ in range(3):
            s.sell(s.event)
        until(lambda: len(hearer.heard) == 3)
        until(lambda: s.hook_state(hook)["number"] >= hearer.numbers()[2])
        first = hearer.numbers()
        new = s.operator.post(f"/v1/hooks/{hook}/secret", {}).json()["secret"]
        assert new != secret
        same(s.operator.post(f"/v1/hooks/{hook}/replay", {"from": first[1]}).status, 200)
        until(lambda: len(hearer.heard) == 5)
        same(hearer.numbers()[3:], first[1:])
        for heard in hearer.heard[3:]:
            assert is_signed(heard, secret) and is_signed(heard, new)
        same(hearer.heard[3][1], hearer.heard[1][1])
        until(lambda: s.hook_state(hook)["number"] >= first[2])
        same(s.operator.get(f"/v1/hooks/{hook}/deliveries").json()["items"][-1]["attempts"], 2)
        text = s.control.text()
        assert secret not in text and new not in text and hearer.url not in text
        hearer.close()


def test_disabled_after_three_days_until_replayed():
    with Shop() as s:
        hearer = Hearer([503] * 2)
        made = s.hook(s.operator, hearer.url)
        s.operator.post(f"/v1/hooks/{made['hook']}/secret", {})
        s.sell(s.event)
        until(lambda: s.hook_state(made["hook"])["failures"] == 1)
        same((s.hook_state(made["hook"])["state"], "reason" in s.hook_state(made["hook"])), ("active", False))
        s.control.stop()
        s.sets.append(f"control.clock_shift_s={3 * 86400 + 60}")
        s.control.start()
        s.operator = Person(s, "op@example.org").sign_in()
        until(lambda: s.hook_state(made["hook"])["state"] == "disabled")
        assert s.hook_state(made["hook"])["disabled_us"]
        same(s.hook_state(made["hook"])["reason"], "failing")
        same(len(hearer.heard), 2)
        number = hearer.numbers()[0]
        # Its first secret is over.
        assert ",v1=" in hearer.heard[0][0]["Usher-Signature"].replace(",v1=", "", 1)
        same(hearer.heard[1][0]["Usher-Signature"].count("v1="), 1)
        time.sleep(3)
        same(len(hearer.heard), 2)
        same(s.operator.post(f"/v1/hooks/{made['hook']}/replay", {"from": number}).status, 200)
        until(lambda: len(hearer.heard) == 3)
        until(lambda: s.hook_state(made["hook"])["state"] == "active" and s.hook_state(made["hook"])["failures"] == 0)
        s.control.stop()
        s.sets[-1] = f"control.clock_shift_s={34 * 86400}"
        s.control.start()
        s.operator = Person(s, "op@example.org").sign_in()
        until(lambda: s.operator.get(f"/v1/hooks/{made['hook']}/deliveries").json()["items"] == [])
        hearer.close()


def test_addresses_that_are_not_public_are_refused():
    with Shop() as s:
        hearer = Hearer()
        hook = s.hook(s.operator, hearer.url)["hook"]
        s.control.stop()
        s.sets.remove("hooks.allow_private=yes")
        s.control.start()
        same(s.operator.post("/v1/hooks", {"url": hearer.url}).code, "invalid")
        s.sell(s.event)
        until(lambda: s.hook_state(hook)["failures"] >= 1)
        same(hearer.heard, [])
        s.control.stop()
        s.sets = ["hooks.allow_private=yes", "http.origin=https://shop.example"]
        try:
            s.control.start()
            raise AssertionError("it started")
        except RuntimeError as why:
            assert "hooks.allow_private" in str(why), why
        hearer.close()


TESTS = [test_sales_are_told_signed_and_in_order, test_a_promoter_is_told_of_its_own_events_alone,
         test_failures_wait_and_keep_the_order, test_killed_it_tells_again_with_the_same_number,
         test_replay_and_two_secrets, test_disabled_after_three_days_until_replayed,
         test_addresses_that_are_not_public_are_refused]


def main(tests):
    global DATABASE
    tap = usher_box.Tap()
    wanted = sys.argv[2:]
    for kind in ("sqlite", "postgres"):
        server = None
        if kind == "postgres":
            try:
                server = postgres.Postgres()
            except postgres.Missing as why:
                tap.skip("PostgreSQL", why)
                continue
        for number, test in enumerate(tests):
            name = f"{test.__name__}_{kind}"
            if wanted and not any(word in name for word in wanted):
                continue
            DATABASE = server.database(f"hooks{number}") if server else "sqlite"
            test.__name__ = name
            tap.run(test)
            test.__name__ = name[:-len(kind) - 1]
        if server:
            server.close()
    tap.end()


if __name__ == "__main__":
    main(TESTS)
