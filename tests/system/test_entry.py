#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The waiting room over HTTP: a real usherd, and usher-control with entry/ and a stand-in for people/. Access JWTs
are read with PyJWT where it is there. On SQLite and on PostgreSQL.

usage: test_entry.py BUILD [NAME-PART...]
"""
import hashlib
import http.server
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from postgres import Missing, Postgres  # noqa: E402
from shop import Shop as AnyShop, program  # noqa: E402
from usher_box import Tap  # noqa: E402
from usher_client import Client, ControlPort, EventStatus, Row, Status, Venue, siphash  # noqa: E402

BUILD = os.path.abspath(sys.argv[1])
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EVENT, PLAIN = 7, 8
BUYER, OPERATOR = 1, 3
QUEUE = f"/v1/events/{EVENT}/queue"
HALL = Venue(sections=[[Row(0xffffffff)] * 40], prices=(2500,), user_seats_max=10)
FREE = ("entry.address_a_minute=0", "entry.account_a_minute=0", "entry.address_accounts=0")
server = None


class Shop(AnyShop):
    def __init__(self, sets=FREE, database="sqlite", users=1000, **opened):
        super().__init__(BUILD, sandbox=False, start=False, sets=(*sets, "http.origin=http://shop.example"), database=database,
                         box_sets=("limits.room_users=20000", "limits.room_devices=1024"))
        self.usherd.start()
        self.client = Client(ControlPort(self.usherd.control_path))
        for event in (EVENT, PLAIN):
            assert self.client.event_load(event, HALL.image()).status == Status.OK
            assert self.client.event_status(event, EventStatus.ON_SALE).status == Status.OK
        self.control.start()
        self.wait_ready()
        if users:
            self.opened = self.admin("open", users=users, beacon={"source": "drand quicknet", "round": 4711}, **opened)

    def control_command(self, port):
        return [program(BUILD, "control/daemon/entry_shop"), *super().control_command(port)[1:]]

    def who(self, user, role=BUYER, verified=0):
        return {"X-Test-User": str(user), "X-Test-Role": str(role), "X-Test-Verified": str(verified)}

    def admin(self, action, status=200, event=EVENT, **more):
        answer = self.post(f"/v1/admin/events/{event}/queue", {"action": action, **more}, headers=self.who(1, OPERATOR))
        assert answer.status == status, answer
        return answer.json()

    def join(self, user, verified=0, headers=(), **body):
        return self.post(QUEUE, body, key="", headers={**self.who(user, verified=verified), **dict(headers)})

    def exchange(self, user, ticket):
        return self.post(QUEUE + "/exchange", {"ticket": ticket}, key="", headers=self.who(user))

    def place(self, user, ticket):
        return self.get(QUEUE + "/place", headers={**self.who(user), "Usher-Ticket": ticket})

    def hold(self, user, token=None, event=EVENT, role=BUYER):
        headers = self.who(user, role)
        if token:
            headers["Usher-Access"] = token
        return self.post(f"/v1/events/{event}/holds", {}, key="", headers=headers)

    def until(self, condition, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = condition()
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError("it did not come to that")

    def token(self, user, ticket):
        return self.until(lambda: (a := self.exchange(user, ticket)).status == 200 and a.json())


def database(kind):
    global server
    if kind == "sqlite":
        return "sqlite"
    if server is None:
        try:
            server = Postgres()
            server.start()
            # usher-control has no privileges, also where the test is root.
            os.chmod(server.folder, 0o755)
        except Missing as why:
            raise Tap.Skip(str(why))
    return server.database("entry_" + uuid.uuid4().hex[:8])


def test_life(kind):
    """Lobby, closing, calling, exchange, hold; each phase answered for; the operator's actions in the audit log."""
    with Shop(database=database(kind), cap=6000) as shop:
        first = shop.join(101)
        assert first.status == 201 and not first.json()["repeat"], first
        again = shop.join(101)
        assert again.status == 200 and again.json() == {**first.json(), "repeat": True}, again
        assert shop.join(112, verified=2).json()["tier"] == 0 and first.json()["tier"] == 2
        ticket = first.json()["ticket"]
        assert shop.place(101, ticket).json() == {"called": False, "phase": "LOBBY"}
        assert shop.exchange(101, ticket).code == "wrong_phase"
        assert shop.get(QUEUE + "/place", headers=shop.who(101)).code == "bad_ticket_text"
        assert shop.place(103, ticket).code == "bad_ticket"
        assert shop.get(QUEUE + "/place").status == 401
        assert shop.admin("close")["places"] == 2
        late = shop.join(104)
        assert late.json()["tier"] == 7, late
        assert shop.admin("rate", per_minute=3000) and shop.admin("pause") and shop.admin("resume")
        assert shop.admin("rate", status=422)["code"] == "bad_queue_action"
        assert shop.admin("dance", status=422)["code"] == "bad_queue_action"
        assert shop.admin("open", status=409, users=5, beacon={"source": "x"})["code"] == "wrong_phase"
        assert shop.post(f"/v1/admin/events/{EVENT}/queue", {"action": "pause"}, headers=shop.who(5)).status == 403
        assert shop.get("/test/audit").json()["count"] == 5
        assert shop.join(105, device="XYZ").code == "bad_join"


def serving(**more):
    """A shop whose lobby was closed empty: it serves in order of arrival."""
    shop = Shop(**more)
    shop.admin("close")
    return shop


def test_exchange_and_hold():
    with serving() as shop:
        ticket = shop.join(201).json()["ticket"]
        token = shop.token(201, ticket)
        repeat = shop.exchange(201, ticket).json()
        assert repeat["token"] == token["token"] and repeat["repeat"] and not token["repeat"]
        assert shop.until(lambda: shop.place(201, ticket).json()["called"])
        assert shop.exchange(202, ticket).code == "bad_ticket"
        assert shop.hold(201, token["token"]).status == 201
        for user, given, reason in ((201, None, "missing"), (202, token["token"], "user"), (201, "x.y.z", "malformed"),
                                    (201, token["token"][:-3] + "AAA", "malformed")):
            answer = shop.hold(user, given)
            assert answer.status == 403 and answer.code == "access_wanted", answer
            assert answer.json()["reason"] == reason or reason == "malformed", answer
        assert shop.hold(201, None, role=OPERATOR).status == 201
        shop.until(lambda: shop.hold(201, None, PLAIN).status == 201)
        try:
            import jwt
        except ImportError:
            return
        keys = jwt.PyJWKSet.from_dict(shop.get("/.well-known/jwks.json").json())
        header = jwt.get_unverified_header(token["token"])
        key = next(k for k in keys.keys if k.key_id == header["kid"])
        claims = jwt.decode(token["token"], key.key, algorithms=["EdDSA"], audience="usher")
        assert claims["user"] == "201" and claims["event"] == EVENT
        assert 290 <= claims["exp"] - claims["iat"] <= 310 and 280 <= claims["exp"] - time.time() <= 301, claims


def test_token_expires_and_keys_rotate():
    """Half an hour later, by its clock, the token is expired; a new key is public before it signs; after a
    restart twenty minutes later the new one signs, and the old one is gone."""
    with serving() as shop:
        ticket = shop.join(201).json()["ticket"]
        token = shop.token(201, ticket)["token"]
        made = shop.post("/v1/admin/access-keys", {}, headers=shop.who(1, OPERATOR))
        assert made.status == 201 and made.json()["signs_in_s"] == 600, made
        kids = [k["kid"] for k in shop.get("/.well-known/jwks.json").json()["keys"]]
        assert len(kids) == 2 and kids[1] == made.json()["kid"], kids
        folder = os.path.join(shop.state, "access-keys")
        assert os.stat(folder).st_mode & 0o777 == 0o700
        assert all(os.stat(os.path.join(folder, f)).st_mode & 0o777 == 0o600 for f in os.listdir(folder))
        shop.sets.append("control.clock_shift_s=270")
        shop.control.restart()
        shop.until(lambda: shop.hold(201, token).status == 201)
        shop.sets[-1] = "control.clock_shift_s=400"
        shop.control.restart()
        answer = shop.until(lambda: (a := shop.hold(201, token)).status != 503 and a)
        assert answer.status == 403 and answer.json()["reason"] == "expired", answer
        shop.sets[-1] = "control.clock_shift_s=700"
        shop.control.restart()
        second = shop.token(201, ticket)["token"]
        assert second.split(".")[0] != token.split(".")[0]
        os.chmod(os.path.join(folder, os.listdir(folder)[0]), 0o644)
        shop.control.stop()
        try:
            shop.control.start()
        except RuntimeError as error:
            assert "chmod 600" in str(error), error
        else:
            raise AssertionError("it starts with a key that others can read")


def test_status_object():
    """The same as `usher room status --json`; small, cacheable, 304; 404 without a room; wrk's figure."""
    with serving() as shop:
        for user in range(300, 320):
            shop.join(user)
        shop.admin("pause")
        time.sleep(2.2)
        answer = shop.get(QUEUE)
        assert answer.status == 200 and answer.headers["Cache-Control"] == "public, max-age=1", answer
        assert answer.headers["Content-Type"] == "application/json" and len(answer.body) < 1000
        told = subprocess.run([os.path.join(BUILD, "tools/usher"), "room", "status", str(EVENT), "--json", "--socket",
                               shop.usherd.control_path], capture_output=True, text=True, check=True)
        theirs, ours = json.loads(told.stdout), answer.json()
        assert ours.pop("closes_at") is None
        assert ours.pop("join") == {} and ours.pop("version") <= theirs.pop("version")
        # These two move with the time, and ours are up to a second old.
        for moving in ("rate", "wait_ms"):
            assert isinstance(ours.pop(moving), int) and isinstance(theirs.pop(moving), int)
        assert ours == theirs, (ours, theirs)
        def again():
            tag = shop.get(QUEUE).headers["ETag"]
            same = shop.get(QUEUE, headers={"If-None-Match": tag})
            return tag if tag.startswith('"') and (same.status, same.body) == (304, b"") else None
        tag = shop.until(again, 3)
        shop.admin("resume")
        shop.until(lambda: shop.get(QUEUE, headers={"If-None-Match": tag}).status == 200)
        assert shop.get(f"/v1/events/{PLAIN}/queue").code == "no_room"
        assert shop.get("/v1/events/999/queue").code == "unknown_event"
        assert shop.get("/v1/events/70000/queue").status == 404
        if shutil.which("wrk"):
            done = subprocess.run(["wrk", "-t1", "-c64", "-d3", f"http://127.0.0.1:{shop.control.port}{QUEUE}"],
                                  capture_output=True, text=True, check=True)
            print("# wrk: " + re.search(r"Requests/sec: *(\S+)", done.stdout)[1] + " status objects a second", flush=True)
            assert "Non-2xx" not in done.stdout
        shop.kill_usherd()
        assert shop.get(QUEUE).status == 200
        shop.until(lambda: shop.get(QUEUE).status == 503)
        shop.usherd.start()
        shop.until(lambda: shop.get(QUEUE).status == 200)


def draw_of_the_page():
    """docs/draw.md's own Python."""
    with open(os.path.join(ROOT, "docs/draw.md"), encoding="utf-8") as page:
        names = {}
        exec(re.search(r"```python\n(.*?)```", page.read(), re.S)[1], names)  # pylint: disable=exec-used
        return names["permutation"]


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def recompute(draw):
    """From the public document alone: checks the seed. ret: the number of (tier, index)."""
    event, seed, root = draw["event"].to_bytes(4, "little"), bytes.fromhex(draw["seed"]), bytes.fromhex(draw["root"])
    value = bytes.fromhex(draw["beacon"]["value"])
    assert sha(b"usher/draw/seed1", event, seed).hex() == draw["seed_hash"]
    key = sha(b"usher/draw/key.1", event, seed, root, *(n.to_bytes(4, "little") for n in draw["tiers"]),
              bytes([len(value)]), value)
    permutation, orders, first = draw_of_the_page(), [], 0
    for tier, count in enumerate(draw["tiers"]):
        orders.append((first, permutation(key, tier, count)) if count else None)
        first += count
    return lambda tier, index: orders[tier][0] + orders[tier][1](index)


def merkle_check(leaf, at, count, path, root):
    """RFC 9162, 2.1.3.2."""
    last, node = count - 1, leaf
    for sibling in map(bytes.fromhex, path):
        assert last > 0
        if at & 1 or at == last:
            node = sha(b"\1", sibling, node)
            while at & 1 == 0 and at:
                at, last = at >> 1, last >> 1
        else:
            node = sha(b"\1", node, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and node.hex() == root


def is_proved(proof, draw, user):
    """By the proof's and the draw's documents alone."""
    own = proof["proof"]
    assert own["user"] == f"{user:016x}" and proof["root"] == draw["root"] and proof["count"] == draw["count"]
    leaf = sha(b"\0", bytes([own["tier"]]), user.to_bytes(8, "little"))
    assert leaf.hex() == proof["leaf"]
    at = sum(draw["tiers"][:own["tier"]]) + own["index"]
    return merkle_check(leaf, at, draw["count"], own["path"], draw["root"])


def test_draw(kind):
    """Published before anybody joins, closed not before its time, drawn, killed in between; anybody recomputes the
    draw and the own path, and what `usher verify draw` says of it is the same."""
    closes = int(time.time()) + 6
    closes_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(closes))
    with Shop(database=database(kind), closes_at=closes_at) as shop:
        def again(get):
            return shop.until(lambda: (a := get()).status != 503 and a)
        before = again(lambda: shop.get(QUEUE)).json()
        assert before["closes_at"] == closes_at and before["beacon"] == {"source": "drand quicknet", "round": 4711}
        assert "seed" not in before and len(before["seed_hash"]) == 64
        tickets = {}
        for user in range(1001, 1071):
            answer = shop.join(user, verified=2 if user % 7 == 0 else 0)
            assert answer.status == 201, answer
            tickets[user] = answer.json()
        assert again(lambda: shop.get(QUEUE + "/draw")).code == "wrong_phase"
        assert shop.admin("draw", status=409, value="00" * 32)["code"] == "wrong_phase"
        assert shop.admin("close", status=409)["code"] == "too_early"
        shop.control.kill()
        shop.control.start()
        shop.until(lambda: time.time() > closes + 0.2)
        closed = again(lambda: shop.post(f"/v1/admin/events/{EVENT}/queue", {"action": "close"}, headers=shop.who(1, OPERATOR)))
        assert closed.status == 200 and closed.json()["places"] == 70, closed
        root = closed.json()["root"]
        assert (again_closed := shop.admin("close"))["repeat"] and again_closed["root"] == root
        late = shop.join(2000).json()
        assert late["tier"] == 7
        shop.control.kill()
        shop.control.start()
        lobby = again(lambda: shop.get(QUEUE + "/draw")).json()
        assert (lobby["format"], lobby["root"], lobby["count"], "seed" in lobby) == ("usher-lobby-1", root, 70, False)
        # The root is that of everybody who was told a place.
        places = sorted((t["tier"], t["index"], user) for user, t in tickets.items())
        def tree(leaves):
            if len(leaves) == 1:
                return leaves[0]
            half = 1 << (len(leaves) - 1).bit_length() - 1
            return sha(b"\1", tree(leaves[:half]), tree(leaves[half:]))
        assert tree([sha(b"\0", bytes([tier]), user.to_bytes(8, "little")) for tier, _, user in places]).hex() == root

        def proof(user, ticket=None):
            headers = {**shop.who(user), "Usher-Ticket": ticket or tickets[user]["ticket"]}
            return again(lambda: shop.get(QUEUE + "/proof", headers=headers))
        early = proof(1010).json()
        assert early["number"] is None and is_proved(early, lobby, 1010)
        assert proof(1011, tickets[1010]["ticket"]).code == "bad_ticket"
        assert proof(2000, late["ticket"]).code == "no_draw"
        assert proof(1010, "x" * 24).code in ("bad_ticket_text", "bad_ticket", "no_draw")
        assert shop.get(QUEUE + "/proof").status == 401
        value = "5eed" * 16
        assert shop.admin("draw", status=422, value="5EED")["code"] == "bad_queue_action"
        assert shop.post(f"/v1/admin/events/{EVENT}/queue", {"action": "draw", "value": value}, headers=shop.who(5)).status == 403
        key = str(uuid.uuid4())
        def draw_it(value=value, key=None):
            return again(lambda: shop.post(f"/v1/admin/events/{EVENT}/queue", {"action": "draw", "value": value}, key=key,
                                           headers=shop.who(1, OPERATOR)))
        done = draw_it(key=key)
        assert done.status == 200 and done.json()["root"] == root and done.json()["places"] == 70, done
        assert draw_it(key=key).body == done.body
        assert draw_it().json()["repeat"] is True
        assert draw_it("00" * 32).code == "wrong_phase"
        shop.kill_usherd()
        shop.control.kill()
        shop.usherd.start()
        shop.control.start()
        draw = shop.until(lambda: (a := shop.get(QUEUE + "/draw")).status == 200 and a.json())
        assert (draw["format"], draw["root"], draw["beacon"]["value"]) == ("usher-draw-1", root, value)
        assert draw["seed_hash"] == before["seed_hash"]
        status = again(lambda: shop.get(QUEUE)).json()
        assert (status["seed"], status["root"], status["closes_at"]) == (draw["seed"], root, closes_at)
        number = recompute(draw)
        numbers = {}
        for user in tickets:
            own = proof(user).json()
            assert is_proved(own, draw, user), own
            numbers[user] = own["number"]
            assert own["number"] == number(own["proof"]["tier"], own["proof"]["index"]), own
            assert all(own[name] == draw[name] for name in draw)
        assert sorted(numbers.values()) == list(range(70)), numbers
        bad = json.loads(json.dumps(own))
        bad["proof"]["path"][0] = "00" * 32
        assert not is_proved(bad, draw, user)
        path = os.path.join(shop.folder, "draw.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**draw, "proof": own["proof"]}, file)
        told = subprocess.run([os.path.join(BUILD, "tools/usher"), "verify", "draw", "--user", str(user), path],
                              capture_output=True, text=True, check=False)
        assert told.returncode == 0 and str(numbers[user]) in told.stdout, told
        # Each action of the operator once: open, close and its repeat, draw and its repeats with other keys. The schedule may
        # have closed it before.
        assert len([line for line in shop.get("/test/audit").json()["lines"] if line[0] != "schedule"]) == 5


def test_rates():
    sets = ("entry.address_a_minute=0", "entry.account_a_minute=60", "entry.account_burst=3")
    with Shop(sets) as shop:
        answers = [shop.join(401) for _ in range(5)]
        assert [a.status for a in answers] == [201, 200, 200, 429, 429], answers
        assert answers[3].code == "rate_limited" and answers[3].headers["Retry-After"] == "1"
        assert shop.join(402).status == 201
    with Shop(("entry.address_a_minute=60", "entry.address_burst=2")) as shop:
        assert [shop.join(u).status for u in (1, 2, 3)] == [201, 201, 429]
        assert shop.get(QUEUE).status == 200


def test_proof_of_work():
    """What the 403 asks for, solved by the browser's solver where there is node; a solution of somebody else is none."""
    with Shop((*FREE, "entry.work_bits=8")) as shop:
        wanted = shop.join(501)
        assert wanted.status == 403 and wanted.code == "work_wanted", wanted
        work = wanted.json()["work"]
        assert shop.get(QUEUE).json()["join"]["work"] == {"bits": 8, "salt": work["salt"]}
        head = struct.pack("<IIQ", EVENT, work["request_id"], int(work["time_ns"]))
        key = struct.pack("<QQ", 501, work["salt"])
        nonce = next(n for n in range(1 << 20) if siphash(key, head + struct.pack("<Q", n)) >> 56 == 0)
        if shutil.which("node"):
            with open(os.path.join(ROOT, "docs/admission.md"), encoding="utf-8") as page:
                block = re.search(r"```js\n(.*?)```", page.read(), re.S)[1]
            two = [[n & 0xffffffff, n >> 32] for n in (501, work["salt"], int(work["time_ns"]))]
            call = json.dumps([two[0], two[1], EVENT, work["request_id"], two[2], 8])
            done = subprocess.run(["node", "-e", block + f"console.log(solve(...{call}))"], capture_output=True, text=True, check=True)
            assert int(done.stdout) == nonce
        solution = {"request_id": work["request_id"], "time_ns": work["time_ns"], "nonce": nonce}
        assert shop.join(502, work=solution).code == "work_wanted"
        assert shop.join(501, work={**solution, "time_ns": str(int(work["time_ns"]) - 61 * 10**9)}).code == "work_wanted"
        assert shop.join(501, work=solution).status == 201


class Captcha(http.server.BaseHTTPRequestHandler):
    """A siteverify provider: `good` passes, `away` hangs up, all else fails."""
    seen = []

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        Captcha.seen.append(form)
        if form["response"] == ["away"]:
            self.connection.close()
            return
        body = json.dumps({"success": form["response"] == ["good"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_captcha_and_slow_queue():
    """Failed, missing, and a device of many accounts: a later tier, and beyond device_users the box's slow one."""
    provider = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Captcha)
    threading.Thread(target=provider.serve_forever, daemon=True).start()
    sets = (*FREE, f"entry.captcha_url=http://127.0.0.1:{provider.server_port}/siteverify", "entry.captcha_provider=fake",
            "entry.captcha_site_key=public", "entry.captcha_secret_file={folder}/secret", "entry.device_accounts=2")
    shop = None
    try:
        shop = ShopWithSecret(sets, device_users=3)
        assert shop.join(601).code == "captcha_wanted"
        assert shop.get(QUEUE).json()["join"]["captcha"] == {"provider": "fake", "site_key": "public"}
        good = shop.join(601, captcha="good", device="00000000000000aa")
        assert good.status == 201 and good.json()["tier"] == 2, good
        assert Captcha.seen[-1] == {"secret": ["geheim"], "response": ["good"]}
        tiers = [shop.join(610 + i, captcha=None if i % 2 else "bad").json()["tier"] for i in range(6)]
        # The first three of the device that stands for them all, then the box's own tier.
        assert tiers == [5, 5, 5, 6, 6, 6], tiers
        assert shop.join(620, captcha="away", device="00000000000000ab").json()["tier"] == 2
        farm = [shop.join(630 + i, captcha="good", device="00000000000000bb").json()["tier"] for i in range(4)]
        assert farm == [2, 2, 6, 6], farm
    finally:
        if shop:
            shop.close()
        provider.shutdown()


class ShopWithSecret(Shop):
    def control_command(self, port):
        self.secret("secret", "geheim\n")
        return super().control_command(port)


def test_killed_while_joining(kind):
    """kill -9 of usher-control again and again while 8 threads join: who was told a place has it, once."""
    with Shop(database=database(kind), users=20000) as shop:
        told, stop, lock = {}, threading.Event(), threading.Lock()

        def crowd(base):
            user = base
            while not stop.is_set():
                user += 1
                while not stop.is_set():
                    try:
                        answer = shop.join(user)
                    except OSError:
                        time.sleep(0.01)
                        continue
                    except Exception:  # a half answer, as http.client has many names for
                        continue
                    if answer.status in (200, 201):
                        with lock:
                            told[user] = answer.json()
                        break

        threads = [threading.Thread(target=crowd, args=(10000 * (i + 1),)) for i in range(8)]
        for thread in threads:
            thread.start()
        kills = 6
        for _ in range(kills):
            time.sleep(0.4)
            shop.control.kill()
            shop.control.start()
        shop.kill_usherd()
        shop.usherd.start()
        time.sleep(0.6)
        stop.set()
        for thread in threads:
            thread.join()
        shop.wait_ready()
        places = set()
        for user, was in told.items():
            now = shop.until(lambda: (a := shop.join(user)).status == 200 and a).json()
            assert (now["tier"], now["index"]) == (was["tier"], was["index"]), (user, was, now)
            places.add((now["tier"], now["index"]))
        assert len(places) == len(told) > 50, (len(places), len(told))
        print(f"# {len(told)} joined, {kills} kills of usher-control and one of usherd", flush=True)


def main():
    tap = Tap()
    wanted = sys.argv[2:]
    for kind in ("sqlite", "postgres"):
        for test in (test_life, test_draw, test_killed_while_joining):
            if not wanted or any(part in test.__name__ + "_" + kind for part in wanted):
                tap.run(test, kind)
    for test in (test_exchange_and_hold, test_token_expires_and_keys_rotate, test_status_object, test_rates,
                 test_proof_of_work, test_captcha_and_slow_queue):
        if not wanted or any(part in test.__name__ for part in wanted):
            tap.run(test)
    if server:
        server.close()
    print(f"1..{tap.count}")
    sys.exit(tap.failed != 0)


if __name__ == "__main__":
    main()
