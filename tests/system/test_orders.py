#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds, orders, wait-lists, transfers and availability over HTTP against a real usherd; the read model killed
while it follows under load and compared with the journal; on SQLite and on PostgreSQL.

usage: test_orders.py BUILD [NAME-PART | -NAME-PART]...      - : not these
"""
import atexit
import base64
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from postgres import Missing, Postgres  # noqa: E402
from shop import Answer, Process, program  # noqa: E402
from usher_box import Box, ON_SALE, Tap  # noqa: E402
from usher_client import Client, ControlPort, HoldState, Refused, Row, Status, Venue  # noqa: E402

BUILD = os.path.abspath(sys.argv[1])
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = program(BUILD, "control/orders/orders_shop")
EVENT = 5
CANCELLED = 6  # of event_status
PRICES = (1000, 3333)
server = None


def database(folder, kind):
    """A fresh database. ret: its connection string."""
    global server
    if kind == "sqlite":
        return f"sqlite:{folder}/orders.db"
    if server is None:
        try:
            server = Postgres()
            server.start()
        except Missing as why:
            raise Tap.Skip(str(why))
        atexit.register(server.close)
    return server.database("orders_" + uuid.uuid4().hex[:8])


class Shop:
    """usherd, an event on sale, and usher-control's orders beside it."""

    def __init__(self, kind="sqlite", venue=None, box_sets=(), terms=None):
        self.folder = tempfile.mkdtemp(prefix="usher-orders-")
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        self.database = database(self.folder, kind)
        self.box = Box(BUILD, sets=box_sets).start()
        self.journal = os.path.join(self.box.state, "journal")
        self.venue = venue or Venue([[Row(0x3ff, tiers={1: 0x380}) for _ in range(6)],
                                     [Row((1 << 40) - 1, flags=1)]], prices=PRICES, user_seats_max=12)
        self.client = Client(ControlPort(self.box.control_path))
        assert self.client.event_load(EVENT, self.venue.image()).status == Status.OK
        self.process = Process("orders", self.folder, lambda port: [
            PROGRAM, self.journal, self.box.control_path, self.database, str(port)])
        self.process.start()
        atexit.register(self.close)
        assert self.client.event_status(EVENT, ON_SALE).status == Status.OK
        self.until(lambda: self.get(f"/v1/events/{EVENT}/availability").status == 200)

    def close(self):
        self.process.kill()
        self.box.remove()

    def request(self, method, path, body=None, user=7, role=None, key=None, port=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", port or self.process.port, timeout=60)
        headers = dict(headers or {})
        if user:
            headers["X-Test-User"] = str(user)
        if role:
            headers["X-Test-Role"] = str(role)
        if method == "POST":
            headers["Idempotency-Key"] = key or str(uuid.uuid4())
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.request("POST", path, body if body is not None else {}, **more)

    def hold(self, body, user=7, **more):
        return self.post(f"/v1/events/{EVENT}/holds", body, user=user, **more)

    def sell(self, user, body, seconds=10):
        """ret: the number of an order, in the model."""
        end = time.monotonic() + 10 + seconds
        answer = self.hold(body, user=user)
        # After a flood there may be too much under way for a moment: Retry-After says so.
        while answer.code == "busy" and time.monotonic() < end:
            time.sleep(int(answer.headers["Retry-After"]))
            answer = self.hold(body, user=user)
        assert answer.status == 201, answer
        hold = int(answer.json()["hold"])
        assert self.client.confirm(EVENT, user, hold).status == Status.OK
        self.until(lambda: self.get(f"/v1/orders/{hold}", user=user).status == 200, seconds)
        return hold

    @staticmethod
    def until(good, seconds=60):
        end = time.monotonic() + seconds
        while not good():
            assert time.monotonic() < end, "it did not come"
            time.sleep(0.02)

    def tool(self, what):
        out = subprocess.run([PROGRAM, what, self.journal, self.database], stdout=subprocess.PIPE, text=True,
                             timeout=300)
        return json.loads(out.stdout)

    def free(self):
        """{row: mask} by the snapshot."""
        body = self.get(f"/v1/events/{EVENT}/availability").json()
        masks = base64.b64decode(body["free"])
        assert len(masks) == 8 * body["row_count"]
        rows = {i: int.from_bytes(masks[8 * i:8 * i + 8], "little") for i in range(body["row_count"])}
        assert body["free_count"] == sum(bin(m).count("1") for m in rows.values())
        return rows, body

    def truth(self):
        rows = {}
        for section in range(len(self.venue.sections)):
            rows.update(self.client.query_section(EVENT, section))
        return rows


def test_life_of_a_hold(kind):
    """Made, looked at, prolonged, changed, dropped; nobody sees another's; a repeat is the same."""
    shop = Shop(kind)
    key = str(uuid.uuid4())
    made = shop.hold({"seats": [[0, 6], [0, 7], [1, 0]], "life_s": 60}, key=key)
    assert made.status == 201, made
    hold = made.json()
    assert hold["state"] == "held" and hold["amount"] == 1000 + 3333 + 1000 and hold["total"] == hold["amount"]
    assert hold["seats"] == [[0, 6], [0, 7], [1, 0]] and hold["currency"] == "EUR", hold
    again = shop.hold({"seats": [[0, 6], [0, 7], [1, 0]], "life_s": 60}, key=key)
    assert again.status == 201 and again.json()["hold"] == hold["hold"], again
    path = "/v1/holds/" + hold["hold"]
    assert shop.get(path).json()["hold"] == hold["hold"]
    assert shop.get(path, user=8).code == "hold_not_found"
    assert shop.get(path, user=None).status == 401
    for nobody in (f"/v1/events/{EVENT}/holds", f"/v1/events/{EVENT}/waitlist", "/v1/transfers/x/accept",
                   f"/v1/admin/events/{EVENT}/codes", "/v1/orders/1/transfers"):
        assert shop.post(nobody, {"seats": 1}, user=None).status == 401, nobody
    assert shop.get("/v1/orders?after=1", user=None).status == 401
    taken = shop.hold({"seats": [[0, 7]]}, user=8)
    assert taken.status == 409 and taken.code == "seats_taken", taken
    longer = shop.request("PATCH", path, {"extend_s": 600})
    assert longer.status == 200 and longer.json()["deadline"] > hold["deadline"], longer
    less = shop.request("PATCH", path, {"release": [[0, 7]]})
    assert less.status == 200 and less.json()["amount"] == 2000 and less.json()["version"] == 3, less
    swap = shop.request("PATCH", path, {"swap": {"give": [[1, 0]], "take": [[1, 9]]}})
    assert swap.status == 200 and swap.json()["seats"] == [[0, 6], [1, 9]], swap
    assert shop.request("DELETE", path, user=8).status == 404
    assert shop.request("DELETE", path).status == 204
    assert shop.request("DELETE", path).status == 204
    shop.until(lambda: shop.get(path).json()["state"] == "released")
    bad = shop.hold({"seats": [[0, 6], [0, 6]]})
    assert bad.status == 422 and bad.code == "bad_seats", bad
    assert shop.hold({"seats": [[0, 64]]}).status == 422
    assert shop.hold({"seats": [[0, 11]]}).code == "no_such_seat"
    assert shop.post("/v1/events/99/holds", {"seats": [[0, 1]]}).status == 404
    best = shop.hold({"best": {"count": 4, "together": True}}, user=9)
    assert best.status == 201 and len(best.json()["seats"]) == 4, best
    area = shop.hold({"area": {"section": 1, "count": 3}}, user=10)
    assert area.status == 201 and [s[0] for s in area.json()["seats"]] == [6, 6, 6], area
    over = shop.hold({"area": {"section": 1, "count": 10}}, user=10)
    assert over.code == "seat_limit" and over.json()["limit"] == 12, over
    assert shop.tool("check") == {"error": "success", "differences": 0, "message": ""}
    shop.close()


def test_orders_and_transfers(kind):
    shop = Shop(kind)
    first = shop.sell(7, {"seats": [[0, 0], [0, 9]]})
    second = shop.sell(7, {"seats": [[2, 3]]})
    listed = shop.get("/v1/orders").json()
    assert [o["order"] for o in listed["items"]] == [str(second), str(first)] and listed["next"] is None, listed
    order = shop.get(f"/v1/orders/{first}").json()
    assert [(i["row"], i["bit"], i["price"], i["state"]) for i in order["items"]] == \
        [(0, 0, 1000, "sold"), (0, 9, 3333, "sold")], order
    assert shop.get(f"/v1/orders/{first}", user=8).code == "order_not_found"
    assert shop.get(f"/v1/orders/{first}", user=1, role=3).status == 200
    offer = shop.post(f"/v1/orders/{first}/transfers")
    assert offer.status == 201, offer
    code = offer.json()["code"]
    assert shop.post(f"/v1/transfers/{code}/accept").code == "transfer_not_found"
    assert shop.post("/v1/transfers/00/accept", user=8).code == "transfer_not_found"
    newer = shop.post(f"/v1/orders/{first}/transfers").json()["code"]
    assert shop.post(f"/v1/transfers/{code}/accept", user=8).code == "transfer_over"
    given = shop.post(f"/v1/transfers/{newer}/accept", user=8)
    assert given.status == 200, given
    assert shop.post(f"/v1/transfers/{newer}/accept", user=8).status == 200
    assert shop.post(f"/v1/transfers/{newer}/accept", user=9).code == "transfer_over"
    assert shop.get(f"/v1/orders/{first}").status == 404
    assert shop.get(f"/v1/orders/{first}", user=8).json()["state"] == "sold"
    # A refund of one of two seats.
    reply = shop.client.query_hold(EVENT, 8, first)
    began = shop.client.refund_begin(EVENT, 8, first, reply.hold_version, [(0, 1 << 9)])
    assert began.status == Status.OK, began
    stale = shop.post(f"/v1/orders/{first}/transfers", user=8)
    shop.until(lambda: shop.get(f"/v1/orders/{first}", user=8).json()["state"] == "refunding")
    assert shop.post(f"/v1/orders/{first}/transfers", user=8).code == "hold_state"
    assert shop.client.refund_end(EVENT, 8, first, began.hold_version, True, [(0, 1 << 9)]).status == Status.OK
    shop.until(lambda: shop.get(f"/v1/orders/{first}", user=8).json()["refunded"] == 3333)
    order = shop.get(f"/v1/orders/{first}", user=8).json()
    assert order["amount"] == 1000 and [i["state"] for i in order["items"]] == ["sold", "refunded"], order
    if stale.status == 201:
        old = shop.post(f"/v1/transfers/{stale.json()['code']}/accept", user=9)
        assert old.code == "hold_changed", old
    assert shop.tool("check")["differences"] == 0
    shop.close()


def test_wait_list(kind):
    venue = Venue([[Row(0x3)]], prices=(500,), user_seats_max=4)
    shop = Shop(kind, venue)
    path = f"/v1/events/{EVENT}/waitlist"
    assert shop.post(path, {"seats": 1}, user=8).code == "not_sold_out"
    hold = shop.hold({"seats": [[0, 0], [0, 1]]}).json()["hold"]
    assert shop.post(path, {"seats": 9}, user=8).status == 422
    joined = shop.post(path, {"seats": 2}, user=8)
    assert joined.status == 201 and joined.json()["place"] == 1, joined
    entry = "/v1/waitlist/" + joined.json()["entry"]
    assert shop.post(path, {"seats": 2}, user=8).json()["entry"] == joined.json()["entry"]
    assert shop.get(entry, user=8).json()["state"] == "waiting"
    assert shop.get(entry, user=9).code == "not_on_waitlist"
    other = shop.post(path, {"seats": 1}, user=9).json()["entry"]
    assert shop.request("DELETE", "/v1/waitlist/" + other, user=9).status == 204
    assert shop.get("/v1/waitlist/" + other, user=9).status == 404
    assert shop.request("DELETE", "/v1/holds/" + hold).status == 204
    shop.until(lambda: shop.get(entry, user=8).json()["state"] == "offered")
    offer = shop.get(entry, user=8).json()
    assert shop.request("DELETE", entry, user=8).status == 409
    shop.until(lambda: shop.get("/v1/holds/" + offer["hold"], user=8).status == 200)
    assert shop.request("DELETE", "/v1/holds/" + offer["hold"], user=8).status == 204
    shop.until(lambda: shop.get(entry, user=8).status == 404)
    assert shop.tool("check")["differences"] == 0
    shop.close()


def test_presale_code(kind):
    shop = Shop(kind)
    assert shop.client.block(EVENT, [(3, 0x3)], channel_number=2).status == Status.OK
    path = f"/v1/admin/events/{EVENT}/codes"
    assert shop.post(path, {"channel": 2, "count": 1}).status == 403
    made = shop.post(path, {"channel": 2, "count": 2, "uses": 1}, user=1, role=3)
    assert made.status == 201 and len(made.json()["codes"]) == 2, made
    code, other = made.json()["codes"]
    kept = shop.hold({"seats": [[3, 0]]})
    assert kept.code == "seats_taken", kept
    assert shop.hold({"seats": [[3, 0]], "code": "NOTHING"}).code == "presale_code"
    key = str(uuid.uuid4())
    first = shop.hold({"seats": [[3, 0]], "code": code}, key=key)
    assert first.status == 201, first
    assert shop.hold({"seats": [[3, 0]], "code": code}, key=key).json()["hold"] == first.json()["hold"]
    assert shop.hold({"seats": [[3, 1]], "code": code}, user=8).code == "presale_code"
    # One that is refused is not used up, and can be used the moment the answer is there; so can that of a hold that
    # was dropped, as often as one likes.
    for _ in range(10):
        refused = shop.hold({"seats": [[3, 0]], "code": other}, user=8)
        assert refused.code == "seats_taken", refused
        held = shop.hold({"seats": [[3, 1]], "code": other}, user=8)
        assert held.status == 201, held
        assert shop.hold({"seats": [[3, 1]], "code": other}, user=9).code == "presale_code"
        gone = shop.request("DELETE", "/v1/holds/" + held.json()["hold"], user=8)
        assert gone.status == 204, gone
    # One that ended by its time gives it back in the transaction in which the model says so.
    key = str(uuid.uuid4())
    short = shop.hold({"seats": [[3, 1]], "code": other, "life_s": 2}, user=8, key=key)
    assert short.status == 201, short
    shop.until(lambda: shop.get("/v1/holds/" + short.json()["hold"], user=8).json()["state"] == "expired")
    last = shop.hold({"seats": [[3, 1]], "code": other}, user=8)
    assert last.status == 201, last
    # A repeat of the request whose hold ended gives nothing back once more; a rebuild neither.
    shop.hold({"seats": [[3, 1]], "code": other, "life_s": 2}, user=8, key=key)
    assert shop.hold({"seats": [[3, 1]], "code": other}, user=9).code == "presale_code"
    shop.process.kill()
    shop.process.start()
    # Sold, it is used up, for ever.
    assert shop.client.confirm(EVENT, 8, int(last.json()["hold"])).status == Status.OK
    shop.until(lambda: shop.get("/v1/holds/" + last.json()["hold"], user=8).json()["state"] == "sold")
    assert shop.tool("rebuild") is not None and shop.tool("check")["differences"] == 0
    assert shop.hold({"seats": [[3, 1]], "code": other}, user=9).code == "presale_code"
    shop.close()


def test_presale_code_counts_whatever_was_refused_before(kind):
    """A refusal that says 'nothing was done' (429, 503) gives the code back and frees the key. What is asked under that
    key again is counted like the first time."""
    venue = Venue([[Row(0x3ff) for _ in range(6)]], prices=PRICES, cool_down_ms=700)
    shop = Shop(kind, venue=venue)
    assert shop.client.block(EVENT, [(3, 0x7)], channel_number=2).status == Status.OK
    made = shop.post(f"/v1/admin/events/{EVENT}/codes", {"channel": 2, "count": 2, "uses": 1}, user=1, role=3)
    code, other = made.json()["codes"]
    key = str(uuid.uuid4())
    held = shop.hold({"seats": [[0, 0]]}).json()["hold"]
    assert shop.request("DELETE", "/v1/holds/" + held).status == 204
    refused = shop.hold({"seats": [[3, 0]], "code": code}, key=key)
    assert refused.code == "cool_down", refused
    time.sleep(1)
    held = shop.hold({"seats": [[3, 0]], "code": code}, key=key)
    assert held.status == 201, held
    again = shop.hold({"seats": [[3, 1]], "code": code}, user=8)
    assert again.code == "presale_code", "a code of one use makes a second hold"
    # usherd is away, so nothing was asked of it: the code is not used up by that.
    shop.box.stop(signal.SIGKILL)
    away = shop.hold({"seats": [[3, 2]], "code": other}, user=9)
    assert away.code == "seats_unavailable", away
    shop.box.start()
    end = time.monotonic() + 60
    while True:
        late = shop.hold({"seats": [[3, 2]], "code": other}, user=9)
        if late.status != 503 or time.monotonic() > end:
            break
        time.sleep(0.2)
    assert late.status == 201, late
    assert shop.hold({"seats": [[3, 2]], "code": other}, user=10).code == "presale_code"
    shop.close()


def test_what_is_past_is_purged(kind):
    """Codes, waits and request ids end; what may still be used stays."""
    import sqlite3
    shop = Shop(kind)
    shop.sell(7, {"seats": [[0, 0]]})
    shop.process.stop()
    day, now = 86400, int(time.time())
    at = [(now - days * day) * 1000000 for days in (401, 31, 1)]
    with sqlite3.connect(shop.database[7:]) as books:
        for i, when in enumerate(at):
            books.execute("INSERT INTO orders_codes VALUES (?, ?, 2, 1, 0, 0, ?)", (f"c{i}", EVENT, when))
            books.execute("INSERT INTO orders_waits VALUES (?, ?, ?, 1, 0, ?)", (f"w{i}", EVENT, 100 + i, when))
            books.execute("INSERT INTO orders_request_ids VALUES (?, ?, ?)", (100 + i, EVENT, when // 1000000 - 1767225600))
        books.execute("INSERT INTO orders_codes VALUES ('for ever', ?, 2, 1, 0, 0, 0)", (EVENT,))
    books.close()

    def left(table, column):
        with sqlite3.connect(shop.database[7:]) as books:
            rows = {row[0] for row in books.execute(f"SELECT {column} FROM {table}")}
        books.close()
        return rows
    shop.process.start()
    shop.until(lambda: left("orders_codes", "code") == {"c2", "for ever"})
    assert left("orders_waits", "entry") == {"w1", "w2"}, left("orders_waits", "entry")
    users = left("orders_request_ids", '"user"')
    assert 102 in users and 7 in users and not users & {100, 101}, users
    assert shop.hold({"seats": [[0, 1]]}).status == 201
    # A cancelled event takes no codes and nobody waits for it.
    assert shop.client.event_status(EVENT, CANCELLED).status == Status.OK
    shop.until(lambda: left("orders_events", "status") == {CANCELLED})
    shop.process.restart()
    shop.until(lambda: left("orders_codes", "code") | left("orders_waits", "entry") == set())
    shop.close()


class Watcher:
    """Server-sent events of an event."""

    def __init__(self, shop, after=None, port=None):
        self.socket = socket.create_connection(("127.0.0.1", port or shop.process.port))
        self.socket.settimeout(10)
        last = f"Last-Event-ID: {after}\r\n" if after is not None else ""
        self.socket.sendall(f"GET /v1/events/{EVENT}/changes HTTP/1.1\r\nHost: x\r\n{last}\r\n".encode())
        self.buffer = b""
        self.head = self.take(b"\r\n\r\n").decode()

    def take(self, end):
        while end not in self.buffer:
            data = self.socket.recv(65536)
            assert data, "closed"
            self.buffer += data
        part, _, self.buffer = self.buffer.partition(end)
        return part

    def event(self):
        """ret: (event, id, data)"""
        while True:
            fields = {}
            for line in self.take(b"\n\n").decode().replace("\r", "").split("\n"):
                name, _, value = line.partition(":")
                if name in ("event", "id", "data"):
                    fields[name] = value.strip()
            if "event" in fields:
                return fields["event"], fields.get("id"), json.loads(fields["data"])

    def seats(self):
        while True:
            event = self.event()
            if event[0] == "seats":
                return event

    def close(self):
        self.socket.close()


def test_availability(kind):
    """Snapshot and deltas are the truth; who comes back gets what it missed, or is told to reload."""
    shop = Shop(kind)
    shop.hold({"seats": [[0, 0], [2, 5]]})
    shop.until(lambda: shop.free()[0] == shop.truth())
    rows, snapshot = shop.free()
    moved = shop.get(f"/v1/events/{EVENT}/map")
    assert moved.status == 307, moved
    plan = shop.get(moved.headers["Location"])
    assert plan.status == 200 and "immutable" in plan.headers["Cache-Control"], plan.headers
    assert [t["price"] for t in plan.json()["tiers"]] == list(PRICES)
    assert [int(r["seats"], 16) for r in plan.json()["rows"]] == [r.seats for r in shop.venue.rows]
    assert shop.get("/v1/maps/" + "0" * 64).status == 404
    watcher = Watcher(shop, snapshot["sequence"])
    kind_, last, data = watcher.seats()
    assert data["from"] == snapshot["sequence"] == data["to"] and data["rows"] == [], data
    for user in range(20, 26):
        shop.hold({"best": {"count": 3}}, user=user)
    at = data["to"]
    end = time.monotonic() + 60
    while rows != shop.truth():
        assert time.monotonic() < end
        _, last, data = watcher.seats()
        # What is told twice is told the same; a gap would be a `from` that was not reached.
        assert int(data["from"]) <= int(at), (data, at)
        at = max(at, data["to"], key=int)
        rows.update((row, int(mask, 16)) for row, mask in data["rows"])
    watcher.close()
    shop.hold({"seats": [[5, 9]]}, user=30)
    shop.until(lambda: shop.free()[1]["sequence"] != last)
    back = Watcher(shop, last)
    _, _, data = back.seats()
    rows.update((row, int(mask, 16)) for row, mask in data["rows"])
    assert data["from"] == last and rows == shop.truth(), data
    shop.client.event_status(EVENT, 3)
    while True:
        event = back.event()
        if event[0] == "status" and event[2]["status"] == "paused":
            break
    back.close()
    wrong = Watcher(shop, 10 ** 15)
    assert wrong.event()[0] == "reload"
    wrong.close()
    # After kill -9 the same.
    shop.process.kill()
    shop.process.start()
    shop.until(lambda: shop.get(f"/v1/events/{EVENT}/availability").status == 200)
    assert shop.free()[0] == shop.truth()
    assert shop.get(moved.headers["Location"]).body == plan.body
    shop.close()


class Load(threading.Thread):
    """Random life of holds on the control port until told to stop."""

    def __init__(self, shop, first_user, seed):
        super().__init__(daemon=True)
        self.shop, self.chance, self.first = shop, random.Random(seed), first_user
        self.client = Client(ControlPort(shop.box.control_path))
        self.running, self.changes, self.holds = True, 0, {}

    def run(self):
        while self.running:
            try:
                self.step()
            except Refused:
                pass
            except OSError:
                # usherd was killed.
                return

    def step(self):
        user = self.first + self.chance.randrange(50)
        hold = self.holds.pop(user, None)
        self.changes += 1
        if hold is None:
            row = self.chance.randrange(len(self.shop.venue.rows))
            reply = self.client.reserve(EVENT, user, [(row, 3 << self.chance.randrange(30))], hold_ms=3000)
            if reply.status == Status.OK:
                self.holds[user] = reply.hold
            return
        what = self.chance.randrange(4)
        if what == 0:
            self.client.release(EVENT, user, hold)
        elif what == 1:
            reply = self.client.query_hold(EVENT, user, hold)
            if reply.status == Status.OK:
                paying = self.client.pay_begin(EVENT, user, hold, reply.hold_version, reply.amount)
                if paying.status == Status.OK:
                    self.client.pay_end(EVENT, user, hold, paying.hold_version, self.chance.random() < 0.7)
        elif what == 2:
            self.client.confirm(EVENT, user, hold)
            reply = self.client.query_hold(EVENT, user, hold)
            if reply.status == Status.OK and reply.state == HoldState.SOLD:
                began = self.client.refund_begin(EVENT, user, hold, reply.hold_version)
                if began.status == Status.OK:
                    self.client.refund_end(EVENT, user, hold, began.hold_version, self.chance.random() < 0.8)
        # Else it is left to expire.


def test_a_crowd_that_asks_for_the_map_stops_nobody(kind):
    """300 at once, of a hall of 18,000 seats with labels, which nobody has asked for yet: it is made once, and not by the
    connection that writes, for which holds and payments wait."""
    shop = Shop(kind)
    image = os.path.join(shop.folder, "arena.ushv")
    subprocess.run([os.path.join(BUILD, "tools/usher"), "event", "compile", os.path.join(ROOT, "venues/arena.json"),
                    "--output", image], check=True, capture_output=True)
    with open(image, "rb") as file:
        assert shop.client.event_load(EVENT + 1, file.read()).status == Status.OK
    path = f"/v1/events/{EVENT + 1}/map"
    shop.until(lambda: shop.get(f"/v1/events/{EVENT + 1}/availability").status == 200)
    answers, took = [], []

    def ask():
        began = time.monotonic()
        answers.append(shop.get(path))
        took.append(time.monotonic() - began)
    threads = [threading.Thread(target=ask) for _ in range(300)]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    assert shop.hold({"seats": [[0, 0]]}).status == 201
    held = time.monotonic() - began
    for thread in threads:
        thread.join()
    assert {(a.status, a.headers["Location"]) for a in answers} == {(307, answers[0].headers["Location"])}, answers[0]
    assert shop.get(answers[0].headers["Location"]).status == 200
    print(f"# a hold took {held * 1000:.0f} ms beside them, the slowest map {max(took) * 1000:.0f} ms", flush=True)
    # Made for each, it was 11 s on this machine.
    assert held < 2 and max(took) < 4, (held, max(took))
    shop.close()


def test_killed_while_following(kind):
    """kill -9 again and again under load, usherd too; then the tables are what the journal says, also after a
    rebuild."""
    venue = Venue([[Row((1 << 32) - 1) for _ in range(200)]], prices=(700,), user_seats_max=12)
    shop = Shop(kind, venue)
    loads = [Load(shop, 1000 * i, i) for i in range(1, 3)]
    for load in loads:
        load.start()
    chance = random.Random(3)
    for _ in range(8):
        time.sleep(0.15 + chance.random() / 2)
        shop.process.kill()
        shop.process.start()
    for load in loads:
        load.running = False
        load.join()
    changes = sum(load.changes for load in loads)
    shop.box.stop(signal.SIGKILL)
    shop.box.start()
    shop.client = Client(ControlPort(shop.box.control_path))
    time.sleep(4)
    shop.until(lambda: shop.free()[0] == shop.truth())
    checked = shop.tool("check")
    assert checked["differences"] == 0 and checked["error"] == "success", checked
    assert changes > 300, changes
    # A rebuild under a live follower.
    assert shop.tool("rebuild")["error"] == "success"
    shop.until(lambda: shop.tool("check")["differences"] == 0)
    shop.until(lambda: shop.hold({"seats": [[199, 30]]}, user=99999).status in (201, 409))
    checked = shop.tool("check")
    assert checked["differences"] == 0 and checked["error"] == "success", checked
    print(f"# {changes} changes, 8 kills of the follower", flush=True)
    shop.close()


def test_comparison_finds_a_change(kind):
    """The comparison is no rubber stamp: a table changed by hand is found."""
    import sqlite3
    shop = Shop(kind)
    shop.sell(7, {"seats": [[0, 0]]})
    assert shop.tool("check")["differences"] == 0
    shop.process.stop()
    for wrong in ("UPDATE orders_items SET price = price + 1", "UPDATE orders_rows SET free = free & -2 WHERE \"row\" = 4",
                  "UPDATE orders_holds SET fee = 1", "DELETE FROM changes WHERE number = 2",
                  "UPDATE orders_events SET sold = 9", "DELETE FROM orders_holds"):
        with sqlite3.connect(shop.database[7:]) as books:
            books.execute(wrong)
        books.close()
        found = shop.tool("check")
        assert found["differences"] > 0 and found["message"], (wrong, found)
        assert shop.tool("rebuild")["error"] == "success"
        assert shop.tool("check")["differences"] == 0, wrong
    shop.close()


def test_replica(kind):
    """A replica shows what the first process writes within its bound, says how old it is, and takes no orders."""
    shop = Shop(kind)
    replica = Process("replica", shop.folder, lambda port: [
        PROGRAM, shop.journal, "-", shop.database, str(port), "read-only"])
    replica.start()
    atexit.register(replica.kill)
    worst = 0
    for i in range(10):
        answer = shop.hold({"seats": [[i % 6, i]]}, user=40 + i)
        assert answer.status == 201, answer
        began = time.monotonic()
        wanted = answer.json()["sequence"]

        def seen():
            body = shop.get(f"/v1/events/{EVENT}/availability", port=replica.port)
            return body.status == 200 and int(body.json()["sequence"]) >= int(wanted)
        shop.until(seen)
        worst = max(worst, time.monotonic() - began)
    assert worst < 2, worst
    order = shop.sell(40, {"seats": [[5, 0]]})
    shop.until(lambda: shop.get(f"/v1/orders/{order}", user=40, port=replica.port).status == 200)
    time.sleep(1.5)
    lag = int(shop.get("/v1/orders", port=replica.port).headers["Usher-Lag-Ms"])
    assert lag <= 2000, lag
    assert shop.request("POST", f"/v1/events/{EVENT}/holds", {}, port=replica.port).status in (404, 405)
    shop.process.kill()
    time.sleep(2.5)
    late = int(shop.get("/v1/orders", port=replica.port).headers["Usher-Lag-Ms"])
    assert late > 2000, late
    print(f"# seen after {worst * 1000:.0f} ms at most; lag said {lag} ms, with the first process dead {late} ms",
          flush=True)
    replica.kill()
    shop.close()


def test_thousand_watchers(kind):
    """1,000 watchers at once all see a change within a second while 1,000 changes a second go on."""
    venue = Venue([[Row((1 << 32) - 1) for _ in range(200)]], prices=(700,), user_seats_max=400)
    shop = Shop(kind, venue)
    watchers = [Watcher(shop) for _ in range(1000)]
    load = Load(shop, 1000, 5)
    load.start()
    time.sleep(3)
    began = time.monotonic()
    answer = shop.hold({"seats": [[150, 31]]}, user=77)
    assert answer.status == 201, answer
    wanted = int(answer.json()["sequence"])
    worst = 0
    for watcher in watchers:
        while int(watcher.seats()[2]["to"]) < wanted:
            pass
        worst = max(worst, time.monotonic() - began)
    load.running = False
    load.join()
    # What the slowest saw includes the time in which this program read 1,000 streams one after another.
    print(f"# {load.changes / 3:.0f} changes a second; all 1,000 had it after {worst * 1000:.0f} ms", flush=True)
    assert worst < 3, worst
    for watcher in watchers:
        watcher.close()
    shop.until(lambda: shop.get("/v1/orders").status == 200)
    shop.close()


def test_fresh_at_ten_thousand_changes(kind):
    """While 10,000 changes a second are made, a watcher sees its own changes within a second: eight of ten, since a machine
    that others use stands still now and then."""
    venue = Venue([[Row((1 << 32) - 1) for _ in range(400)]], prices=(700,), user_seats_max=400)
    # Each accepted request is remembered until the event is over.
    shop = Shop(kind, venue, box_sets=["limits.answers=400000", "limits.holds=400000"])
    watcher = Watcher(shop)
    rate = os.environ.get("USH_CHANGES", "10500")
    load = subprocess.Popen([PROGRAM, "load", shop.box.control_path, str(EVENT), "399", rate, "8"], stdout=subprocess.PIPE,
                            text=True)
    time.sleep(2)
    ages = []
    for bit in range(10):
        while True:
            try:
                shop.client.reserve(EVENT, 77, [(399, 1 << bit)])
                break
            except Refused as why:
                assert "BUSY" in str(why).upper(), why
        began = time.monotonic()
        while True:
            rows = dict(map(tuple, watcher.seats()[2]["rows"]))
            if 399 in rows and not int(rows[399], 16) >> bit & 1:
                break
        ages.append(time.monotonic() - began)
    out = json.loads(load.communicate()[0])
    print(f"# {kind}: {out['changes'] / 8:.0f} changes a second; seen after {min(ages) * 1000:.0f} to "
          f"{max(ages) * 1000:.0f} ms", flush=True)
    began = time.monotonic()
    shop.until(lambda: shop.free()[0] == shop.truth(), 60)
    caught = time.monotonic() - began
    # Where others use the processors the tables of PostgreSQL come later; watchers do not wait for them.
    order = shop.sell(88, {"seats": [[399, 20]]}, 60)
    assert order and sorted(ages)[7] < 1 and max(ages) < 10, (ages, out)
    print(f"# tables up to date {time.monotonic() - began:.1f} s after the load (seats after {caught:.1f} s)",
          flush=True)
    assert shop.tool("check")["differences"] == 0
    watcher.close()
    shop.close()


def main():
    tap = Tap()
    wanted = [word for word in sys.argv[2:] if word[0] != "-"]
    unwanted = [word[1:] for word in sys.argv[2:] if word[0] == "-"]

    def chosen(name):
        return not any(part in name for part in unwanted) and (
            not wanted or any(part in name for part in wanted))

    for kind in ("sqlite", "postgres"):
        for test in (test_life_of_a_hold, test_orders_and_transfers, test_wait_list, test_presale_code,
                     test_presale_code_counts_whatever_was_refused_before,
                     test_availability,
                     test_a_crowd_that_asks_for_the_map_stops_nobody, test_killed_while_following, test_comparison_finds_a_change, test_what_is_past_is_purged, test_replica,
                     test_fresh_at_ten_thousand_changes):
            # They change tables by Python's sqlite3.
            if kind != "sqlite" and test in (test_comparison_finds_a_change, test_what_is_past_is_purged):
                continue
            if chosen(test.__name__ + "_" + kind):
                tap.run(test, kind)
    if chosen("test_thousand_watchers"):
        tap.run(test_thousand_watchers, "sqlite")
    print(f"1..{tap.count}")
    sys.exit(tap.failed != 0)


if __name__ == "__main__":
    main()
