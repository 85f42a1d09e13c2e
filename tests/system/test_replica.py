#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Other usher-controls on the database of the first: replicas that only read, and a second one that sells. What they say
of tickets must be what gates know. With the real usher-control, on SQLite and PostgreSQL.

usage: test_replica.py BUILD-FOLDER [sqlite|postgres]      with Debian's own Python (aiosmtpd)
"""
import atexit
import os
import re
import shutil
import sys
import time
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import postgres  # noqa: E402
import shop as shops  # noqa: E402
import usher_box  # noqa: E402
from test_tickets import BUILD, Person, Relay, make_event, open_shop, same, until  # noqa: E402

BOUND_MS = 2000


class Other:
    """Another usher-control on the shop's database, with a state folder of its own."""

    def __init__(self, s, name, *sets):
        self.s, self.state = s, os.path.join(s.folder, name)
        os.makedirs(self.state, mode=0o700, exist_ok=True)

        def command(port):
            mine = [i for i in s.settings(port) if not i.startswith("control.state_dir")]
            if s.database == "sqlite":
                mine.append(f"database.connection=sqlite:{s.state}/usher.db")
            command = [shops.program(BUILD, "control/daemon/usher-control")]
            for item in [*mine, "control.state_dir=" + self.state, *sets]:
                command += ["--set", item]
            return command
        self.process = shops.Process(name, s.folder, command)
        atexit.register(self.process.kill)
        self.process.start()

    def ask(self, path, person=None, method="GET", body=None):
        port, self.s.control.port = self.s.control.port, self.process.port
        try:
            return self.s.request(method, path, (body or {}) if method == "POST" else None,
                                  headers={**(person.head if person else {}), "Idempotency-Key": str(uuid.uuid4())})
        finally:
            self.s.control.port = port


def test_replica_without_keys_serves_the_rest(database):
    relay = Relay()
    with open_shop(relay, database) as s:
        event, _ = make_event(s, relay)
        ann = Person(s, relay, "ann@mail.example")
        order = ann.buy(event, 2)
        replicas = [Other(s, f"replica{i}", "control.read_only=yes") for i in range(2)]
        for replica in replicas:
            for path in (f"/v1/events/{event}", f"/v1/events/{event}/availability", "/v1/search?q=fish", "/v1/events",
                         f"/v1/orders/{order}", f"/v1/orders/{order}/receipt", "/v1/me", "/readyz"):
                answer = until(lambda: (a := replica.ask(path, ann)).status == 200 and a)
                same(answer.status, 200)
            same(replica.ask("/v1/search?q=fish").json()["items"][0]["event"], event)
            # What it would sign or what gates would learn from it is not its own to say.
            for path in (f"/v1/orders/{order}/tickets", f"/v1/orders/{order}/tickets.html", "/v1/gate/keys",
                         f"/v1/gate/revocations?event={event}", "/.well-known/jwks.json"):
                same((path, replica.ask(path, ann).code), (path, "not_ready"))
            for path in (f"/v1/events/{event}/holds", f"/v1/orders/{order}/refunds", "/v1/sign-in"):
                answer = replica.ask(path, ann, "POST")
                assert answer.status in (404, 405, 503), (path, answer)
            assert not os.path.exists(replica.state + "/ticket-keys.json")
        worst = 0
        for _ in range(5):
            began, more = time.monotonic(), ann.buy(event, 1)
            for replica in replicas:
                until(lambda: replica.ask(f"/v1/orders/{more}", ann).status == 200)
            worst = max(worst, time.monotonic() - began)
        time.sleep(1)
        lags = [int(r.ask(f"/v1/events/{event}/availability").headers["Usher-Lag-Ms"]) for r in replicas]
        print(f"# a purchase was on both replicas {worst * 1000:.0f} ms after it began; they said {lags} ms", flush=True)
        assert max(lags) <= BOUND_MS, lags
        s.control.kill()
        time.sleep(2.5)
        answer = replicas[0].ask(f"/v1/events/{event}/availability")
        same(answer.status, 200)
        assert int(answer.headers["Usher-Lag-Ms"]) > BOUND_MS
        for replica in replicas:
            same(replica.process.stop(), 0)
    relay.controller.stop()


def test_others_with_a_copy_of_the_keys_say_the_same(database):
    relay = Relay()
    with open_shop(relay, database) as s:
        event, operator = make_event(s, relay)
        ann = Person(s, relay, "ann@mail.example")
        order = ann.buy(event, 2)
        listed = until(lambda: (a := s.get(f"/v1/orders/{order}/tickets", headers=ann.head)).status == 200 and a).body
        # One that sells, too, without the file: it makes no key 1 of its own, and issues no tickets.
        second = Other(s, "second")
        same(second.ask(f"/v1/orders/{order}/tickets", ann).code, "not_ready")
        same(second.ask("/v1/gate/keys").code, "not_ready")
        assert not os.path.exists(second.state + "/ticket-keys.json")
        assert any("no tickets from here" in line.get("event", "") for line in second.process.log())
        same(second.process.stop(), 0)
        shutil.rmtree(second.state)
        for name in ("second", "replica"):
            os.makedirs(f"{s.folder}/{name}", mode=0o700, exist_ok=True)
            shutil.copy2(s.state + "/ticket-keys.json", f"{s.folder}/{name}/ticket-keys.json")
            shutil.copy2(s.state + "/people.secret", f"{s.folder}/{name}/people.secret")
            shutil.copytree(s.state + "/access-keys", f"{s.folder}/{name}/access-keys", dirs_exist_ok=True)
        second = Other(s, "second")
        # A code that was asked for at the one is taken at the other, and what it sells is sold.
        started = s.post("/v1/sign-in", {"mail": "bob@mail.example"}, key="").json()["challenge"]
        mail = until(lambda: relay.to("bob@mail.example", "code"))[0].get_body(("plain",)).get_content()
        code = re.search(r"\b\d{6}\b", mail)[0]
        same(second.ask("/v1/sign-in/code", None, "POST", {"challenge": started, "code": code}).status, 200)
        same(second.ask(f"/v1/events/{event}/holds", ann, "POST", {"best": {"count": 1}}).status, 201)
        for other in (second, Other(s, "replica", "control.read_only=yes")):
            same(other.ask(f"/v1/orders/{order}/tickets", ann).body, listed)
            same(other.ask("/v1/me", ann).json()["csrf"], ann.head["X-CSRF-Token"])
            for path in ("/v1/gate/keys", "/.well-known/jwks.json"):
                same(other.ask(path).body, s.get(path).body)
            same(other.process.stop(), 0)
        # A new key is in the audit log; a folder whose key of that number is another's signs nothing.
        same(operator.post("/v1/admin/ticket-keys", {"after_s": 0})["key"], 2)
        assert any(line["action"] == "ticket-keys" for line in operator.get("/v1/admin/audit").json()["items"])
        shutil.rmtree(f"{s.folder}/second")
        with shops.Shop(BUILD, box=False, sandbox=False) as stranger:
            os.makedirs(f"{s.folder}/second", mode=0o700)
            shutil.copy2(stranger.state + "/ticket-keys.json", f"{s.folder}/second/ticket-keys.json")
        second = Other(s, "second")
        same(second.ask("/v1/gate/keys").code, "not_ready")
        same(second.process.stop(), 0)
        s.control.restart()
        s.wait_ready()
        same(len(s.get("/v1/gate/keys").json()["keys"]), 2)
    relay.controller.stop()


def main():
    tap = usher_box.Tap()
    wanted = sys.argv[2:] or ["sqlite", "postgres"]
    tests = (test_replica_without_keys_serves_the_rest, test_others_with_a_copy_of_the_keys_say_the_same)
    for test in tests if "sqlite" in wanted else ():
        tap.run(test, "sqlite")
    if "postgres" in wanted:
        try:
            with postgres.Postgres() as server:
                os.chmod(server.folder, 0o755)
                for i, test in enumerate(tests):
                    tap.run(test, server.database(f"replica{i}"))
        except postgres.Missing as why:
            tap.skip("PostgreSQL", why)
    tap.end()


if __name__ == "__main__":
    main()
