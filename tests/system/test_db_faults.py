#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The real usher-control while its database fails it: the disk is full, the file is damaged, PostgreSQL is killed with -9
amid purchases. Refusals are clean, nothing is paid twice or lost, and it goes on by itself. (test_db.py asks the same of
the layer alone, test_end.py has a locked file.)

usage: test_db_faults.py BUILD-FOLDER      with Debian's own Python (aiosmtpd); as root, for the full disk
"""
import os
import subprocess
import sys
import threading
import time
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import postgres  # noqa: E402
import usher_box  # noqa: E402
from test_tickets import Person, Relay, make_event, open_shop, same, until  # noqa: E402


def books_are_right(s, operator, sold):
    until(lambda: s.get("/v1/admin/reconciliation", headers=operator.head).json().get("under_way") == 0, 30)
    report = until(lambda: (r := operator.get("/v1/admin/reconciliation").json()).get("orders") == sold and r, 30)
    same((report["findings"], report["payments"]), ([], sold))
    done = subprocess.run(s.control_command(0) + ["orders", "check"], capture_output=True, text=True)
    same((done.returncode, '"differences":0' in done.stdout), (0, True))


def test_full_disk():
    """On a file system of 6 MB, which is then filled to its last block."""
    relay = Relay()
    with open_shop(relay, "sqlite") as s:
        s.control.stop()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m,mode=0700", "none", s.state], check=True)
        try:
            s.control.start()
            s.wait_ready()
            event, operator = make_event(s, relay)
            ann = Person(s, relay, "ann@mail.example")
            first = ann.buy(event, 1)
            until(lambda: ann.get(f"/v1/orders/{first}").status == 200)
            ballast = os.open(s.state + "/ballast", os.O_WRONLY | os.O_CREAT)
            try:
                while True:
                    os.write(ballast, bytes(4096))
            except OSError:
                os.close(ballast)
            key = str(uuid.uuid4())
            for _ in range(30):
                refused = s.post(f"/v1/events/{event}/holds", {"best": {"count": 1}}, key=key, headers=ann.head)
                if refused.status == 503:
                    break
                key = str(uuid.uuid4())
            same(refused.status, 503)
            # Reading goes on.
            for path in ("/v1/me", f"/v1/orders/{first}", f"/v1/events/{event}", f"/v1/events/{event}/availability"):
                same(ann.get(path).status, 200)
            os.unlink(s.state + "/ballast")
            same(s.post(f"/v1/events/{event}/holds", {"best": {"count": 1}}, key=key, headers=ann.head).status, 201)
            ann.buy(event, 1)
            books_are_right(s, operator, 2)
            same(s.control.stop(), 0)
        finally:
            s.control.kill()
            subprocess.run(["umount", s.state], check=True)
    relay.controller.stop()


def test_damaged_file():
    relay = Relay()
    with open_shop(relay, "sqlite") as s:
        event, _ = make_event(s, relay)
        Person(s, relay, "ann@mail.example").buy(event, 1)
        s.control.stop()
        path = s.state + "/usher.db"
        size = os.path.getsize(path)
        with open(path, "r+b") as file:
            for page in range(2, size // 4096, 3):
                file.seek(page * 4096)
                file.write(b"\xff" * 4096)
        done = subprocess.run(s.control_command(0), capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and "malformed: restore it from a backup" in done.stderr, done
        # Without a word of its own: seats go on being sold by usherd, which does not know that file.
        assert os.path.getsize(path) == size
    relay.controller.stop()


def test_tables_behind_a_hold():
    """A hold that the tables do not show yet is not denied: whoever asks for it is told to ask again."""
    relay = Relay()
    try:
        server = postgres.Postgres()
    except postgres.Missing as why:
        raise usher_box.Tap.Skip(why) from why
    with server, open_shop(relay, server.database("shop")) as s:
        event, operator = make_event(s, relay)
        ann, bob = (Person(s, relay, f"{name}@mail.example") for name in ("ann", "bob"))
        key = str(uuid.uuid4())
        with server.locked("shop", "orders_holds", "EXCLUSIVE"):
            made = s.post(f"/v1/events/{event}/holds", {"best": {"count": 1}}, key=str(uuid.uuid4()), headers=ann.head)
            same(made.status, 201)
            hold = made.json()["hold"]
            for _ in range(2):
                asked = s.post(f"/v1/holds/{hold}/payments", {}, key=key, headers=ann.head)
                same((asked.status, asked.code), (503, "busy"))
                asked = ann.get(f"/v1/holds/{hold}")
                same((asked.status, asked.code), (503, "not_ready"))
                # Who made nothing has nothing that could be missing.
                same(bob.get(f"/v1/holds/{hold}").status, 404)
        paying = until(lambda: (a := s.post(f"/v1/holds/{hold}/payments", {}, key=key, headers=ann.head)).status == 201 and a)
        same(paying.json()["hold"], hold)
        same(until(lambda: (a := ann.get("/v1/holds/12345")).status != 503 and a).status, 404)
        same(s.post("/v1/holds/12345/payments", {}, key=str(uuid.uuid4()), headers=bob.head).status, 404)
        same(s.control.stop(), 0)
    relay.controller.stop()


class Buyer(threading.Thread):
    """Buys seat after seat as a patient page does: each POST is sent again under its key until it is answered. With
    the last it waits for the fourth kill: there is something under way at each."""

    kills = 0

    def __init__(self, s, relay, event, number, count):
        super().__init__()
        self.s, self.event, self.count, self.sold, self.said = s, event, count, 0, None
        self.person = Person(s, relay, f"buyer{number}@mail.example")

    def must(self, method, path, body=None):
        key, end = str(uuid.uuid4()), time.monotonic() + 90
        while True:
            try:
                answer = self.s.request(method, path, body, {**self.person.head, "Idempotency-Key": key})
                if answer.status < 300:
                    return answer.json()
                wait = answer.status in (503, 500, 429) or answer.code == "idempotency_running"
                assert wait or (method == "GET" and answer.status == 404), (path, answer)
            except OSError as why:
                answer = why
            assert time.monotonic() < end, (path, answer)
            time.sleep(0.2)

    def run(self):
        try:
            for number in range(self.count):
                until(lambda: self.kills >= number - 1, 90)
                hold = self.must("POST", f"/v1/events/{self.event}/holds", {"best": {"count": 1}})
                payment = self.must("POST", f"/v1/holds/{hold['hold']}/payments", {"version": 1})
                secret = payment["client_secret"]
                subprocess.run(["curl", "-sf", "-u", "pk_test_usher:", "-d", "client_secret=" + secret, "-d",
                                "payment_method=pm_card_visa", f"http://127.0.0.1:{self.s.sandbox.port}/v1/payment_intents/"
                                f"{secret.partition('_secret_')[0]}/confirm"], capture_output=True, check=True)
                until(lambda: self.must("GET", f"/v1/payments/{payment['id']}")["state"] == "sold", 90)
                self.sold += 1
        except BaseException as why:  # told by the test
            self.said = why


def test_postgresql_killed_amid_purchases():
    relay = Relay()
    try:
        server = postgres.Postgres()
    except postgres.Missing as why:
        raise usher_box.Tap.Skip(why) from why
    with server, open_shop(relay, server.database("shop")) as s:
        os.chmod(server.folder, 0o755)
        event, operator = make_event(s, relay)
        buyers = [Buyer(s, relay, event, i, 6) for i in range(3)]
        for buyer in buyers:
            buyer.start()
        for _ in range(4):
            time.sleep(0.7)
            server.kill()
            Buyer.kills += 1
            time.sleep(0.5)
            server.start()
        for buyer in buyers:
            buyer.join()
            assert buyer.said is None, buyer.said
        sold = sum(b.sold for b in buyers)
        print(f"# {sold} sold", flush=True)
        same(sold, 18)
        books_are_right(s, operator, sold)
        same(s.control.stop(), 0)
    relay.controller.stop()


def main():
    tap = usher_box.Tap()
    if os.geteuid() == 0:
        tap.run(test_full_disk)
    else:
        tap.skip("test_full_disk", "needs root")
    tap.run(test_damaged_file)
    tap.run(test_tables_behind_a_hold)
    tap.run(test_postgresql_killed_amid_purchases)
    tap.end()


if __name__ == "__main__":
    main()
