#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The end of usher-control while requests are under way that nobody can wait for: the database is locked, usherd stands
still. Best with a build with sanitizers: USHER_CONTROL_BUILD (docs/testing.md).

usage: test_end.py BUILD-FOLDER [WORD]...      only tests whose names have one of the words
"""
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import shop as shops  # noqa: E402
import usher_box  # noqa: E402

BUILD = sys.argv[1]
ROOT = pathlib.Path(__file__).resolve().parents[2]


def same(a, b):
    assert a == b, f"{a!r} is not {b!r}"


def sign_in(s, mail):
    """ret: the headers of a browser that has signed in."""
    challenge = s.post("/v1/sign-in", {"mail": mail}, key="").json()["challenge"]
    with open(os.path.join(s.folder, "codes")) as file:
        code = [c["code"] for c in map(json.loads, file) if c["to"] == mail][-1]
    answer = s.post("/v1/sign-in/code", {"challenge": challenge, "code": code}, key="")
    return {"Cookie": answer.headers["Set-Cookie"].partition(";")[0], "X-CSRF-Token": answer.json()["csrf"]}


class Scene:
    """A shop with an event on sale, an operator and a buyer who has a hold and an order's worth of everything to ask."""

    def __init__(self):
        self.s = s = shops.Shop(BUILD, start=False)
        s.sandbox.start()
        s.usherd.start()
        s.sets += ["payments.url=http://127.0.0.1:{sandbox}", "payments.key_file=" + s.secret("sk", "sk_test_usher"),
                   "payments.public_key=pk_test_usher", "payments.buyer_refunds=yes", "people.codes_file={folder}/codes",
                   "payments.webhook_secret_file=" + s.secret("wh", "whsec_usher"), "mail.relay=smtp://127.0.0.1:1",
                   "mail.from=tickets@shop.example", "control.drain_ms=0"]
        s.control.start()
        s.wait_ready()
        subprocess.run(s.control_command(0) + ["account", "operator", "op@shop.example"], check=True, capture_output=True)
        self.operator, self.buyer = sign_in(s, "op@shop.example"), sign_in(s, "ada@example.org")
        venue = self.post("/v1/admin/venues", {"name": "V", "city": "London", "country": "GB", "timezone": "Europe/London"},
                          self.operator)["venue"]
        plan = json.loads((ROOT / "venues/theatre.json").read_text())
        self.event = self.post("/v1/admin/events", {"name": "E", "category": "rock", "venue": venue, "plan": plan,
                                                    "starts": "2039-01-01T19:30:00Z"}, self.operator)["event"]
        self.post(f"/v1/admin/events/{self.event}/publish", {}, self.operator)
        self.hold = self.post(f"/v1/events/{self.event}/holds", {"best": {"count": 1}}, self.buyer)["hold"]

    def post(self, path, body, who):
        answer = self.s.post(path, body, headers=who)
        assert answer.status < 300, (path, answer)
        return answer.json()

    def requests(self):
        """One of each kind: method, path, body, who."""
        e, h, buyer, operator = self.event, self.hold, self.buyer, self.operator
        return [("POST", f"/v1/holds/{h}/payments", {}, buyer), ("POST", f"/v1/orders/{h}/refunds", {}, buyer),
                ("POST", f"/v1/orders/{h}/transfers", {}, buyer), ("PATCH", f"/v1/holds/{h}", {"extend_s": 60}, buyer),
                ("POST", f"/v1/events/{e}/holds", {"best": {"count": 1}}, buyer), ("GET", f"/v1/holds/{h}", None, buyer),
                ("DELETE", f"/v1/holds/{h}", None, buyer), ("POST", f"/v1/events/{e}/waitlist", {"seats": 1}, buyer),
                ("GET", "/v1/orders", None, buyer), ("GET", f"/v1/orders/{h}/tickets", None, buyer),
                ("GET", "/v1/me/export", None, buyer), ("PATCH", "/v1/me", {"name": "Ada"}, buyer),
                ("GET", f"/v1/payments/{h[:9]}", None, buyer), ("GET", "/v1/search?q=e&facets=1", None, {}),
                ("GET", f"/v1/events/{e}/map", None, {}), ("GET", f"/v1/events/{e}/changes", None, {}),
                ("GET", f"/v1/gate/revocations?event={e}", None, {}), ("GET", f"/v1/events/{e}/queue", None, {}),
                ("POST", f"/v1/events/{e}/queue", {}, buyer), ("GET", f"/v1/events/{e}/queue/place", None, buyer),
                ("POST", f"/v1/admin/events/{e}/queue", {"action": "pause"}, operator),
                ("POST", f"/v1/admin/events/{e}/codes", {"channel": 1, "count": 2}, operator),
                ("POST", f"/v1/admin/events/{e}/status", {"status": "pause"}, operator),
                ("PATCH", f"/v1/admin/events/{e}", {"name": "F"}, operator), ("GET", "/v1/admin/audit", None, operator),
                ("POST", "/v1/admin/ticket-keys", {"after_s": 5}, operator), ("GET", "/v1/admin/keys", None, operator),
                ("POST", f"/v1/admin/events/{e}/refund-all", {}, operator), ("GET", "/v1/admin/disputes", None, operator),
                ("GET", "/v1/admin/reconciliation", None, operator), ("GET", "/v1/hooks", None, operator),
                ("POST", "/v1/hooks", {"url": "https://example.org/", "kinds": ["order.sold"]}, operator),
                ("POST", "/v1/sign-in", {"mail": "b@example.org"}, {}), ("GET", "/v1/performers?q=a", None, {})]

    def ask_all(self, rounds):
        """Asks everything, each on its own thread; what comes of it is not waited for."""
        for number, (method, path, body, who) in enumerate(self.requests() * rounds):
            threading.Thread(target=self.try_request, daemon=True, args=(
                method, path, body, {**who, "Idempotency-Key": f"end-{number}"})).start()

    def try_request(self, method, path, body, headers):
        try:
            self.s.request(method, path, body, headers, timeout=20)
        except (OSError, shops.http.client.HTTPException):
            pass


def locked(path, seconds):
    """Somebody else writes the database for so long."""
    def hold():
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        ready.set()
        time.sleep(seconds)
        db.execute("ROLLBACK")
        db.close()
    ready = threading.Event()
    thread = threading.Thread(target=hold)
    thread.start()
    ready.wait()
    return thread


def ends_well(s):
    """Its own end, and nothing of a module that has closed is used."""
    same(s.control.stop(signal.SIGTERM), 0)
    assert '"event":"stopped"' in s.control.text(), s.control.text()[-2000:]


def test_ends_while_the_database_is_locked():
    scene = Scene()
    with scene.s as s:
        thread = locked(os.path.join(s.state, "usher.db"), 1.2)
        scene.ask_all(1)
        time.sleep(0.5)
        ends_well(s)
        thread.join()


def test_ends_while_usherd_stands_still():
    scene = Scene()
    with scene.s as s:
        s.usherd.process.send_signal(signal.SIGSTOP)
        scene.ask_all(1)
        time.sleep(0.7)
        try:
            ends_well(s)
        finally:
            s.usherd.process.send_signal(signal.SIGCONT)


def test_ends_at_any_moment_under_load():
    scene = Scene()
    with scene.s as s:
        for pause in (0.0, 0.005, 0.02, 0.05, 0.1, 0.2):
            scene.ask_all(2)
            time.sleep(pause)
            ends_well(s)
            s.control.start()
            s.wait_ready()


def test_a_key_under_way_at_one_process_is_not_run_by_another():
    """Two processes on one SQLite file; and one that was killed takes its own keys up again at once."""
    scene = Scene()
    with scene.s as s:
        made = s.post("/v1/admin/keys", {"name": "two", "scope": "write"}, key="", headers=scene.operator)
        bearer = {"Authorization": "Bearer " + made.json()["key"], "Idempotency-Key": "one"}
        s.sets.append("database.connection=sqlite:" + os.path.join(s.state, "usher.db"))
        elsewhere = "control.state_dir=" + os.path.join(s.folder, "control2")
        second = shops.Process("control2", s.folder, lambda port: [
            elsewhere if word.startswith("control.state_dir=") else word for word in s.control_command(port)])
        second.start()
        path, body = f"/v1/admin/events/{scene.event}/status", {"status": "pause"}
        s.usherd.process.send_signal(signal.SIGSTOP)
        try:
            threading.Thread(target=lambda: scene.try_request("POST", path, body, bearer), daemon=True).start()
            time.sleep(0.7)
            first_port, s.control.port = s.control.port, second.port
            other = s.request("POST", path, body, bearer, timeout=5)
            same((other.status, other.code), (409, "idempotency_running"))
            s.control.port = first_port
            s.control.kill()
        finally:
            s.usherd.process.send_signal(signal.SIGCONT)
        s.control.start()
        s.wait_ready()
        same(s.request("POST", path, body, bearer).status, 200)
        second.stop()


def main():
    tap = usher_box.Tap()
    for name, test in list(globals().items()):
        if name.startswith("test_") and (not sys.argv[2:] or any(word in name for word in sys.argv[2:])):
            tap.run(test)
    tap.end()


main()
