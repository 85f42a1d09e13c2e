#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who sends webhooks, and for whom: two usher-controls on one database, promoters that are none any more; and what is
told once in turns: sold out, available. On both databases.

usage: test_hooks_turns.py BUILD-FOLDER [WORD]...      only tests whose names have one of the words
"""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_hooks  # noqa: E402
from shop import Process, program  # noqa: E402
from test_hooks import BUILD, Hearer, Shop, until  # noqa: E402
from test_people import Person, appoint, same  # noqa: E402


def another(s):
    """A second usher-control on the same database and the same usherd, with a folder of its own."""
    state = os.path.join(s.folder, "second")

    def command(port):
        command = [program(BUILD, "control/daemon/usher-control")]
        sets = [item for item in s.settings(port) if not item.startswith("control.state_dir")]
        if s.database == "sqlite":
            sets.append(f"database.connection=sqlite:{s.state}/usher.db")
        for item in [*sets, "control.state_dir=" + state]:
            command += ["--set", item]
        return command
    return Process("second", s.folder, command).start()


def test_two_daemons_tell_once_and_the_other_takes_over():
    with Shop() as s:
        hearer = Hearer()
        hook = s.hook(s.operator, hearer.url)["hook"]
        second = another(s)
        try:
            orders = [s.sell(s.event) for _ in range(20)]
            until(lambda: len(hearer.heard) >= 20)
            time.sleep(2.5)
            same([b["order"] for b in hearer.bodies()], orders)
            same((hearer.most, hearer.numbers()), (1, sorted(set(hearer.numbers()))))
            # Killed with a delivery under way: that one comes again, from the other, and no other.
            hearer.script = ["hang"]
            orders += [s.sell(s.event) for _ in range(5)]
            until(lambda: len(hearer.heard) == 21)
            s.control.kill()
            killed = time.monotonic()
            until(lambda: len(hearer.heard) >= 26, 40)
            took = hearer.heard[21][2] - killed
            print(f"# the other told after {took:.1f} s", flush=True)
            assert took < 14, took
            hearer.let_go.set()
            told = [b["order"] for b in hearer.bodies()]
            same(told, orders[:21] + orders[20:])
            # Back again it is the other that waits.
            s.control.start()
            orders += [s.sell(s.event) for _ in range(10)]
            until(lambda: len(hearer.heard) >= 36)
            time.sleep(2.5)
            same([b["order"] for b in hearer.bodies()], orders[:21] + orders[20:])
            until(lambda: s.hook_state(hook)["number"] >= hearer.numbers()[-1])
        finally:
            second.kill()
            hearer.close()


def audit(s):
    lines, after = [], 0
    while True:
        page = s.operator.get(f"/v1/admin/audit?after={after}").json()
        lines += page["items"]
        if page["next"] is None:
            return lines
        after = page["next"]


def disabled(s, hook):
    """Waits until it is. ret: its line in the listing."""
    until(lambda: s.hook_state(hook)["state"] == "disabled")
    return s.hook_state(hook)


def test_who_is_no_promoter_any_more_is_told_nothing():
    """Demoted: nothing more is sent, the listing says why, the audit log has it; appointed again, a replay tells all.
    Deleted: the endpoint is gone with the account."""
    with Shop() as s:
        hearer = Hearer()
        hook = s.hook(s.promoter, hearer.url)["hook"]
        s.sell(s.own)
        until(lambda: len(hearer.heard) == 1)
        same(s.operator.post("/v1/admin/accounts", {"role": "buyer", "mail": "pro@example.org"}).status, 201)
        missed = s.sell(s.own)
        found = disabled(s, hook)
        same((found["reason"], bool(found["disabled_us"])), ("owner", True))
        time.sleep(2)
        same(len(hearer.heard), 1)
        same([line["object"] for line in audit(s) if line["action"] == "hook.disable"], [hook])
        same(s.operator.post(f"/v1/hooks/{hook}/replay", {"from": 1}).code, "hook_owner")
        appoint(s, "promoter", "pro@example.org")
        same(s.operator.post(f"/v1/hooks/{hook}/replay", {"from": hearer.numbers()[0] + 1}).status, 200)
        until(lambda: missed in [b["order"] for b in hearer.bodies()])
        found = s.hook_state(hook)
        same((found["state"], "reason" in found), ("active", False))
        s.promoter = Person(s, "pro@example.org").sign_in()
        same(s.promoter.delete("/v1/me").status, 204)
        heard = len(hearer.heard)
        s.sell(s.own)
        same(s.operator.get("/v1/hooks").json()["items"], [])
        time.sleep(2)
        same(len(hearer.heard), heard)
        hearer.close()


def test_who_is_no_operator_any_more_is_told_nothing():
    with Shop() as s:
        hearer, other = Hearer(), Hearer()
        appoint(s, "operator", "other@example.org")
        hook = s.hook(Person(s, "other@example.org").sign_in(), hearer.url)["hook"]
        stays = s.hook(s.operator, other.url)["hook"]
        s.sell(s.event)
        until(lambda: len(hearer.heard) == 1 and len(other.heard) == 1)
        same(s.operator.post("/v1/admin/accounts", {"role": "promoter", "mail": "other@example.org"}).status, 201)
        s.sell(s.event)
        same(disabled(s, hook)["reason"], "owner")
        until(lambda: len(other.heard) == 2)
        same((len(hearer.heard), s.hook_state(stays)["state"]), (1, "active"))
        # A month later it is gone.
        s.control.stop()
        s.sets.append(f"control.clock_shift_s={31 * 86400}")
        s.control.start()
        s.operator = Person(s, "op@example.org").sign_in()
        until(lambda: [h["hook"] for h in s.operator.get("/v1/hooks").json()["items"]] == [stays])
        hearer.close()
        other.close()


SMALL = {"version": 1, "name": "Snug", "currency": "GBP", "tiers": [{"name": "All", "price_minor": 1000}],
         "sections": [{"name": "Stalls", "tier": "All", "rows": [
             {"label": "A", "seats": {"from": 1, "to": 4}, "blocked": ["4"]}]}]}


def test_sold_out_and_available_are_told_in_turns_once():
    """A hold of the last seat is no sale; selling it is; a refund ends it. The same after kill -9, a replay, and with
    a house seat, which is not on sale. By journal sequence, between the changes that made it so."""
    with Shop() as s:
        small = s.on_sale(s.operator, s.venue, SMALL)
        hearer = Hearer()
        hook = s.hook(s.operator, hearer.url, kinds=["order.sold", "order.refunded", "event.sold_out", "event.available"])
        hook = hook["hook"]
        orders = [s.sell(small), s.sell(small)]
        last = s.client.reserve_best(small, 500, 1)
        until(lambda: len(hearer.heard) == 2)
        time.sleep(1.5)
        same([b["kind"] for b in hearer.bodies()], ["order.sold"] * 2)
        hearer.script = [500]
        s.client.confirm(small, 500, last.hold)
        until(lambda: len(hearer.heard) == 3)
        s.control.kill()
        # usherd goes on: refunded, sold again, while nobody follows.
        order = int(orders[0])
        begun = s.client.refund_begin(small, 101, order, s.client.query_hold(small, 101, order).hold_version)
        s.client.refund_end(small, 101, order, begun.hold_version, True)
        again = s.sell(small)
        s.control.start()
        want = [("order.sold", orders[0]), ("order.sold", orders[1]), ("order.sold", str(last.hold)), ("event.sold_out", None),
                ("order.refunded", orders[0]), ("event.available", None), ("order.sold", again), ("event.sold_out", None)]

        def told():
            return [(b["kind"], b["order"]) for b in hearer.bodies()]
        until(lambda: len(hearer.heard) == 9, 30)
        same(told()[:2] + told()[3:], want)
        bodies = hearer.bodies()[:2] + hearer.bodies()[3:]
        same([b["data"] for b in bodies if b["order"] is None],
             [{"seats": 4, "sold": 3}, {"seats": 4, "sold": 2}, {"seats": 4, "sold": 3}])
        same([b["number"] for b in bodies], sorted({b["number"] for b in bodies}))
        same([bodies[i]["sequence"] for i in (3, 5, 7)], [bodies[i]["sequence"] for i in (2, 4, 6)])
        same({b["event"] for b in bodies}, {small})
        # The same numbers again from the journal alone, and by a replay.
        s.control.stop()
        command = s.control_command(0) + ["orders", "rebuild"]
        same(subprocess.run(command, capture_output=True, timeout=60).returncode, 0)
        s.control.start()
        until(lambda: s.get("/readyz").status == 200)
        time.sleep(2)
        same(len(hearer.heard), 9)
        same(s.operator.post(f"/v1/hooks/{hook}/replay", {"from": bodies[2]["number"]}).status, 200)
        until(lambda: len(hearer.heard) == 15)
        same(hearer.bodies()[9:], bodies[2:])
        hearer.close()


TESTS = [test_sold_out_and_available_are_told_in_turns_once, test_two_daemons_tell_once_and_the_other_takes_over, test_who_is_no_promoter_any_more_is_told_nothing,
         test_who_is_no_operator_any_more_is_told_nothing]


if __name__ == "__main__":
    test_hooks.main(TESTS)
