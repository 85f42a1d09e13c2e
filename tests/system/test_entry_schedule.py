#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A lobby follows its times by itself: opened, closed, drawn; killed, missed, done by hand before, by two processes, with
a clock that is set. A real usherd, usher-control with entry/ and a stand-in for people/; SQLite and PostgreSQL.

usage: test_entry_schedule.py BUILD [NAME-PART...]
"""
import concurrent.futures
import functools
import hashlib
import http.server
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_entry  # noqa: E402
from shop import Process, program  # noqa: E402
from test_entry import BUILD, EVENT, FREE, OPERATOR, PLAIN, QUEUE, Shop as AnyShop, database, recompute  # noqa: E402
from usher_box import Tap  # noqa: E402

ADMIN = f"/v1/admin/events/{EVENT}/queue"
BEACON = {"source": "test beacon", "round": 11}


def at(seconds):
    """A time of the API: `seconds` after 1970, whole."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


class Late(Exception):
    """The test itself came too late for what it wanted to do before a time: it has shown nothing, and is run again, SLOW times
    as slow. What usher does too late is none of this: it is waited for after its time."""


SLOW = 1  # the scale of all times that lie ahead


class Shop(AnyShop):
    """As in test_entry.py; opened later, with closes_at and opens_at in seconds from now, times SLOW."""

    def __init__(self, kind, sets=FREE, closes=None, opens=None, **more):
        super().__init__(sets=sets, database=database(kind), users=0)
        self.closes = self.opens = None
        if closes is not None:
            try:
                self.open(closes, opens, **more)
            except (Late, AssertionError):
                self.close()
                raise

    def open(self, closes, opens=None, status=200, **more):
        now = int(time.time())
        self.closes, self.opens = now + closes * SLOW, now + opens * SLOW if opens is not None else None
        times = {"closes_at": at(self.closes), **({"opens_at": at(self.opens)} if opens is not None else {})}
        try:
            return self.admin("open", status, users=1000, **{"beacon": {"source": "drand quicknet", "round": 4711}, **times, **more})
        finally:
            self.by(self.opens or self.closes)

    @staticmethod
    def by(when):
        """raises: Late if it is later than that."""
        if time.time() >= when:
            raise Late(f"{time.time() - when:.2f} s late")

    def standing(self):
        answer = self.until(lambda: (a := self.get(ADMIN, headers=self.who(1, OPERATOR))).status != 503 and a)
        assert answer.status == 200, answer
        return answer.json()

    def phase(self):
        """By usherd itself."""
        told = subprocess.run([os.path.join(BUILD, "tools/usher"), "room", "status", str(EVENT), "--json", "--socket",
                               self.usherd.control_path], capture_output=True, text=True, check=False)
        return json.loads(told.stdout)["phase"] if told.returncode == 0 else None

    def wait_phase(self, wanted, before, first=("LOBBY",), due=None):
        """Until it is `wanted`, which it is not before that time; until then one of `first`. due: when it can no longer come,
        whoever came too late. ret: how late it was."""
        end = before + 30
        while time.time() < end:
            phase = self.phase()
            now = time.time()
            if phase == wanted:
                assert now >= before, f"{wanted} {before - now:.2f} s too early"
                return now - before
            assert phase in first, phase
            if due:
                self.by(due)
            time.sleep(0.03)
        raise AssertionError(f"never {wanted}")

    def lines(self, who=None, word=""):
        lines = self.get("/test/audit").json()["lines"]
        return [line[3] for line in lines if (who is None or line[0] == who) and line[3].startswith(word)]

    def fill(self, count=20):
        tickets = {user: self.join(user).json() for user in range(1001, 1001 + count)}
        self.by(self.closes)
        assert all("ticket" in ticket for ticket in tickets.values()), tickets
        return tickets

    def root(self):
        return self.until(lambda: (a := self.get(QUEUE + "/draw")).status == 200 and a.json()["root"])

    def is_noted_once(self, word="close"):
        """Of the schedule, in the audit log, and it stays so."""
        self.until(lambda: self.lines("schedule", word))
        time.sleep(2.2)
        lines = self.lines("schedule", word)
        assert len(lines) == 1, lines
        return lines[0]

    def both_at_once(self, when):
        """usherd stands still over that time: all who have something to do have asked it when it goes on."""
        time.sleep(max(0, when - 0.2 - time.time()))
        self.usherd.process.send_signal(signal.SIGSTOP)
        time.sleep(1.8)
        self.usherd.process.send_signal(signal.SIGCONT)

    def second(self, name="second", sets=()):
        """Another usher-control on the same database and usherd."""
        state = os.path.join(self.folder, name)

        def command(port):
            items = [item for item in self.settings(port) if not item.startswith("control.state_dir")]
            if self.database == "sqlite":
                items.append(f"database.connection=sqlite:{self.state}/usher.db")
            command = [program(BUILD, "control/daemon/entry_shop")]
            for item in (*items, "control.state_dir=" + state, *sets):
                command += ["--set", item]
            return command
        return Process(name, self.folder, command).start()


class Between:
    """Stands between usher-control and usherd's control port, and kills usher-control at a message: before it goes to usherd,
    after usherd has done it and before it is told, or a moment after it is told."""

    def __init__(self, folder, real):
        self.path, self.real = os.path.join(folder, "between"), real
        self.mode, self.left, self.kill, self.killed = "", set(), None, threading.Event()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(self.path)
        # usher-control has no privileges, also where the test is root.
        os.chmod(self.path, 0o777)
        self.socket.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.pass_on, args=(client,), daemon=True).start()

    def pass_on(self, client):
        usherd = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        cookie, mode = None, ""
        try:
            usherd.connect(self.real)
            while True:
                for ready in select.select([client, usherd], [], [])[0]:
                    message = ready.recv(1 << 17)
                    if not message:
                        return
                    if ready is client and message[3] == 74 and message[56] in self.left:
                        self.left.discard(message[56])
                        cookie, mode = message[48:56], self.mode
                        if mode == "before":
                            self.kill()
                            self.killed.set()
                            return
                    elif ready is usherd and cookie is not None and message[16:24] == cookie:
                        cookie = None
                        if mode == "told":
                            client.send(message)
                            time.sleep(random.uniform(0, 0.01))
                        self.kill()
                        self.killed.set()
                        return
                    (usherd if ready is client else client).send(message)
        except OSError:
            pass
        finally:
            client.close()
            usherd.close()

    def close(self):
        self.socket.close()


def test_closes_by_itself(kind):
    """Not before its time; root published and audited; by hand afterwards it is a repeat; what comes next is said."""
    with Shop(kind, closes=4) as shop:
        tickets = shop.fill()
        stands = shop.standing()
        shop.by(shop.closes)
        assert (stands["phase"], stands["closes_at"], stands["closed_at"], stands["root"]) == ("LOBBY", at(shop.closes), None, None)
        assert stands["next"] == {"action": "close", "by": "schedule", "at": at(shop.closes), "why": None, "detail": None}, stands
        early = shop.post(ADMIN, {"action": "close"}, headers=shop.who(1, OPERATOR))
        shop.by(shop.closes)
        assert (early.status, early.code) == (409, "too_early"), early
        late = shop.wait_phase("DRAW", shop.closes)
        print(f"# closed {late:.2f} s after its time", flush=True)
        assert late < 20, late  # a busy machine; half a second on a quiet one
        root = shop.root()
        assert shop.is_noted_once() == "close root " + root
        said = [line for line in shop.control.log() if line["event"] == "done by the schedule"]
        assert len(said) == 1 and said[0]["actor"] == "schedule" and said[0]["root"] == root and said[0]["room"] == str(EVENT), said
        by_hand = shop.admin("close")
        assert by_hand["repeat"] and by_hand["root"] == root
        stands = shop.standing()
        assert (stands["phase"], stands["root"], stands["places"]) == ("DRAW", root, 20), stands
        assert stands["closed_at"] >= stands["closes_at"] and stands["drawn_at"] is None
        assert (stands["next"]["action"], stands["next"]["by"], stands["next"]["why"]) == ("draw", "operator", "beacon_unknown")
        assert shop.join(5000).json()["tier"] == 7 and len(tickets) == 20
        assert shop.admin("draw", value="5eed" * 16)["root"] == root
        stands = shop.standing()
        assert stands["phase"] == "SERVING" and stands["drawn_at"] and stands["next"]["action"] is None, stands
        assert shop.get(ADMIN, headers=shop.who(5)).status == 403 and shop.get(ADMIN).status == 401
        plain = shop.get(f"/v1/admin/events/{PLAIN}/queue", headers=shop.who(1, OPERATOR)).json()
        assert (plain["phase"], plain["next"]["action"], plain["next"]["by"]) == ("NONE", "open", "operator"), plain
        assert shop.get("/v1/admin/events/999/queue", headers=shop.who(1, OPERATOR)).code == "unknown_event"


def test_missed_while_down(kind):
    """usher-control, or usherd, or both are down at its time: closed at the start."""
    for what in ("control", "usherd", "both"):
        with Shop(kind, closes=3) as shop:
            shop.fill(5)
            if what != "usherd":
                shop.control.kill()
            if what != "control":
                shop.kill_usherd()
            shop.by(shop.closes)
            time.sleep(max(0, shop.closes + 1.5 - time.time()))
            if what != "control":
                shop.usherd.start()
            assert what == "usherd" or shop.phase() == "LOBBY"
            if what != "usherd":
                shop.control.start()
            shop.wait_phase("DRAW", shop.closes)
            assert shop.is_noted_once() == "close root " + shop.root()


def test_killed_at_any_moment(kind):
    """kill -9 of usher-control again and again around its time, of usherd once; and one that is killed while usherd stands
    still with its message: closed once, noted once, never early."""
    chance = random.Random(4711)
    with Shop(kind, closes=4) as shop:
        shop.fill()
        kills = 0
        while time.time() < shop.closes + 4:
            time.sleep(chance.uniform(0.05, 0.6) if time.time() > shop.closes - 1 else 0.5)
            phase = shop.phase()
            assert phase == "LOBBY" or time.time() >= shop.closes, phase
            shop.control.kill()
            kills += 1
            if kills % 5 == 3:
                shop.restart_usherd()
            shop.control.start()
        shop.wait_phase("DRAW", shop.closes, ("LOBBY", None))
        assert shop.is_noted_once().split(" (")[0] == "close root " + shop.root()
        print(f"# {kills} kills", flush=True)
    with Shop(kind, closes=2) as shop:
        shop.fill()
        time.sleep(max(0, shop.closes - 0.3 - time.time()))
        # Its answer to ROOM_SHOW, then CLOSE: whichever of them it stands still with.
        shop.usherd.process.send_signal(signal.SIGSTOP)
        shop.by(shop.closes)
        time.sleep(2)
        shop.control.kill()
        shop.usherd.process.send_signal(signal.SIGCONT)
        time.sleep(0.3)
        shop.control.start()
        shop.wait_phase("DRAW", shop.closes)
        assert shop.is_noted_once().split(" (")[0] == "close root " + shop.root()


def test_killed_at_each_message(kind):
    """kill -9 of usher-control at OPEN, CLOSE and DRAW, each before usherd has it, after it is done and after it is told: each
    is done once, not before its time, and noted once."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Beacon)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for mode in ("before", "after", "told"):
        Beacon.genesis = int(time.time()) - 1000
        sets = (*FREE, "entry.beacon_source=test beacon", f"entry.beacon_url=http://127.0.0.1:{server.server_port}/{{{{round}}}}",
                f"entry.beacon_genesis_s={Beacon.genesis}", "entry.beacon_period_s=1")
        with Shop(kind, sets) as shop:
            between = Between(shop.folder, shop.usherd.control_path)
            os.chmod(shop.folder, 0o755)
            between.kill, between.mode, between.left = shop.control.kill, mode, {1, 2, 3}
            shop.sets.append("usherd.socket=" + between.path)
            shop.control.restart()
            shop.wait_ready()
            drawn = int(time.time()) + 11 * SLOW
            shop.open(7, opens=3, beacon={"source": "test beacon", "round": drawn - Beacon.genesis + 1})
            root = None
            for wanted, when, first, due in (("LOBBY", shop.opens, (None,), shop.closes),
                                             ("DRAW", shop.closes, ("LOBBY",), drawn),
                                             ("SERVING", drawn, ("DRAW",), None)):
                assert between.killed.wait(60), (mode, wanted)
                between.killed.clear()
                assert time.time() >= when and (mode != "before" or shop.phase() == first[0])
                shop.control.start()
                shop.wait_phase(wanted, when, first, due)
                if wanted == "LOBBY":
                    shop.until(lambda: (a := shop.get(QUEUE)).status == 200 and a)
                    shop.fill(5)
                elif wanted == "DRAW":
                    shop.by(drawn)
                    root = shop.root()
            assert shop.is_noted_once("open").split(" (")[0] == f"open closes_at {at(shop.closes)}", shop.lines()
            assert shop.is_noted_once("close").split(" (")[0] == "close root " + root, shop.lines()
            assert shop.is_noted_once("draw").split(" ")[0] == "draw", shop.lines()
            stands = shop.standing()
            assert stands["opened_at"] and stands["closed_at"] and stands["drawn_at"] and stands["next"]["action"] is None, stands
            between.close()
    server.shutdown()


def test_done_by_hand_before(kind):
    """`usher room close` before its time: the schedule finds it done, does nothing and says so."""
    with Shop(kind, closes=4) as shop:
        shop.fill()
        subprocess.run([os.path.join(BUILD, "tools/usher"), "room", "close", str(EVENT), "--list",
                        os.path.join(shop.folder, "places"), "--socket", shop.usherd.control_path], check=True, capture_output=True)
        shop.by(shop.closes)
        root = shop.root()
        time.sleep(max(0, shop.closes - time.time()))
        assert shop.is_noted_once() == f"close root {root} (was done)"
        assert shop.standing()["root"] == root
    # An operator who is just as late: no line of the schedule.
    with Shop(kind, closes=2) as shop:
        shop.fill()
        shop.control.kill()
        shop.by(shop.closes)
        time.sleep(max(0, shop.closes + 0.5 - time.time()))
        shop.control.start()
        shop.until(lambda: (a := shop.post(ADMIN, {"action": "close"}, headers=shop.who(1, OPERATOR))).status == 200 and a)
        time.sleep(2.5)
        assert len(shop.lines(word="close root")) - len(shop.lines("schedule", "close root")) == 1, shop.lines()
        assert len(shop.lines("schedule", "close root")) <= 1


def test_nobody_came(kind):
    """An empty lobby closes, and serves."""
    with Shop(kind, closes=2) as shop:
        shop.wait_phase("SERVING", shop.closes)
        assert shop.is_noted_once() == "close"
        stands = shop.standing()
        assert stands["closed_at"] and stands["root"] is None and stands["next"]["action"] is None, stands


def test_opens_by_itself(kind):
    """Published before, opened at its time, closed at its time; killed in between; taken back; missed."""
    with Shop(kind) as shop:
        planned = shop.open(8, opens=4)
        assert planned["opens_at"] == at(shop.opens) and len(planned["seed_hash"]) == 64
        before = shop.until(lambda: (a := shop.get(QUEUE)).status == 404 and "opens_at" in a.json() and a or shop.by(shop.opens)).json()
        assert (before["code"], before["opens_at"], before["closes_at"]) == ("no_room", at(shop.opens), at(shop.closes)), before
        assert before["seed_hash"] == planned["seed_hash"] and before["beacon"]["round"] == 4711
        code, stands = shop.join(1).code, shop.standing()
        shop.by(shop.opens)
        assert code == "no_room"
        assert (stands["phase"], stands["next"]["action"], stands["next"]["by"], stands["next"]["at"]) == (
            "NONE", "open", "schedule", at(shop.opens)), stands
        planned_before = shop.post(ADMIN, {"action": "open", "users": 5, "beacon": {"source": "x"}}, headers=shop.who(1, OPERATOR))
        shop.control.kill()
        shop.by(shop.opens)
        assert (planned_before.status, planned_before.code) == (409, "planned"), planned_before
        shop.control.start()
        late = shop.wait_phase("LOBBY", shop.opens, (None,), shop.closes)
        assert late < 20, late
        assert shop.admin("unplan", status=409)["code"] == "no_plan"
        shop.until(lambda: (a := shop.get(QUEUE)).status == 200 and a)
        open_now = shop.get(QUEUE).json()
        assert open_now["seed_hash"] == planned["seed_hash"] and open_now["closes_at"] == at(shop.closes)
        shop.fill(5)
        shop.wait_phase("DRAW", shop.closes)
        shop.is_noted_once("open")
        assert shop.lines("schedule")[0] == f"open closes_at {at(shop.closes)}"
        assert shop.is_noted_once("close") == "close root " + shop.root()
        assert shop.open(50, opens=20, status=409)["code"] == "wrong_phase"
    with Shop(kind) as shop:
        shop.open(60, opens=50)
        shop.open(40, opens=2)
        unplanned = shop.post(ADMIN, {"action": "unplan"}, headers=shop.who(1, OPERATOR))
        shop.by(shop.opens)
        assert unplanned.status == 200 and unplanned.json()["action"] == "unplan", unplanned
        time.sleep(max(0, shop.opens + 2 - time.time()))
        assert shop.phase() is None
        assert shop.standing()["next"]["why"] == "not_planned"
        # Down from before its opening until after its closing.
        shop.open(3, opens=2)
        shop.control.kill()
        shop.by(shop.opens)
        time.sleep(max(0, shop.closes + 0.5 - time.time()))
        shop.control.start()
        assert shop.is_noted_once("open not done") == "open not done: missed"
        assert shop.phase() is None
        stands = shop.standing()
        assert (stands["next"]["by"], stands["next"]["why"]) == ("operator", "missed"), stands
        # By hand, with other times, it goes on.
        shop.open(2)
        shop.fill(3)
        shop.wait_phase("DRAW", shop.closes)
    with Shop(kind) as shop:
        now = int(time.time())
        plan = {"users": 5, "beacon": {"source": "x"}}
        assert shop.admin("open", status=422, opens_at=at(now - 5), **plan)["code"] == "bad_queue_action"
        assert shop.admin("open", status=422, opens_at=at(now + 50), closes_at=at(now + 50), **plan)["code"] == "bad_queue_action"
        assert shop.admin("open", status=422, opens_at="tomorrow", **plan)["code"] == "bad_queue_action"
        assert shop.admin("open", status=404, event=999, opens_at=at(now + 50), **plan)["code"] == "unknown_event"
        # Somebody opens another room meanwhile.
        shop.open(20, opens=2)
        subprocess.run([os.path.join(BUILD, "tools/usher"), "room", "open", str(EVENT), "--users", "5", "--seed",
                        os.path.join(shop.folder, "other"), "--beacon", "x", "--socket", shop.usherd.control_path],
                       check=True, capture_output=True)
        shop.by(shop.opens)
        assert shop.is_noted_once("open not done") == "open not done: another_room"
        assert shop.phase() == "LOBBY"


def test_several_processes(kind):
    """Two usher-controls on one database: done and noted once. A replica alone does nothing."""
    with Shop(kind) as shop:
        second = shop.second()
        try:
            shop.open(9, opens=2)
            shop.both_at_once(shop.opens)
            shop.wait_phase("LOBBY", shop.opens, (None,), shop.closes)
            shop.until(lambda: shop.get(QUEUE).status == 200)
            shop.fill(5)
            shop.both_at_once(shop.closes)
            shop.wait_phase("DRAW", shop.closes)
            shop.is_noted_once("open")
            assert shop.is_noted_once("close").split(" (")[0] == "close root " + shop.root()
        finally:
            second.kill()
    with Shop(kind, closes=2) as shop:
        shop.fill(5)
        shop.control.kill()
        shop.by(shop.closes)
        shutil.copytree(os.path.join(shop.state, "access-keys"), os.path.join(shop.folder, "replica", "access-keys"))
        replica = shop.second("replica", ("control.read_only=yes",))
        try:
            time.sleep(max(0, shop.closes + 3 - time.time()))
            assert shop.phase() == "LOBBY"
        finally:
            replica.kill()
        shop.control.start()
        shop.wait_phase("DRAW", shop.closes)


def test_clock_is_set():
    """An hour forward and back: not closed in between. A clock that was wrong at the start closes early once, and setting it
    right closes nothing again."""
    with Shop("sqlite", closes=9) as shop:
        shop.fill(5)
        time.sleep(1.5)
        shop.post("/test/clock", {"shift_s": 3600}, key="")
        shop.until(lambda: not shop.standing()["clock_steady"])
        time.sleep(4)
        phase = shop.phase()
        shop.by(shop.closes)
        assert phase == "LOBBY", phase
        shop.post("/test/clock", {"shift_s": 0}, key="")
        late = shop.wait_phase("DRAW", shop.closes)
        print(f"# closed {late:.1f} s after its time, the clock having been set", flush=True)
        assert shop.is_noted_once() == "close root " + shop.root()
        steps = [line["step_ms"] for line in shop.control.log() if "step_ms" in line]
        assert len(steps) == 2 and abs(int(steps[0]) - 3600000) < 2000 and abs(int(steps[1]) + 3600000) < 2000, steps
    with Shop("sqlite", closes=3600) as shop:
        shop.fill(5)
        shop.sets.append("control.clock_shift_s=3700")
        shop.control.restart()
        shop.until(lambda: shop.phase() == "DRAW")
        root = shop.root()
        shop.is_noted_once()
        shop.sets.pop()
        shop.control.restart()
        assert shop.is_noted_once() == "close root " + root
        assert shop.phase() == "DRAW"


class Beacon(http.server.BaseHTTPRequestHandler):
    """drand's interface: a round is there once its time has come; wrong on demand."""
    genesis, period, wrong, asked = 0, 1, 0, []

    def do_GET(self):
        number = int(self.path.rsplit("/", 1)[1])
        Beacon.asked.append((number, time.time()))
        if time.time() < Beacon.genesis + (number - 1) * Beacon.period:
            self.send_error(425)
            return
        signature = hashlib.sha512(b"round %d" % number).digest()[:48]
        randomness = hashlib.sha256(signature).hexdigest()
        if Beacon.wrong > 0:
            Beacon.wrong -= 1
            randomness = "00" * 32
        body = json.dumps({"round": number, "randomness": randomness, "signature": signature.hex()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_draws_by_itself(kind):
    """With a beacon that is set: drawn when its round has come, not before; a wrong answer is not taken; killed in
    between; a round that came before the closing is not drawn."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Beacon)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Beacon.genesis, Beacon.wrong, Beacon.asked = int(time.time()) - 1000, 1, []
    sets = (*FREE, "entry.beacon_source=test beacon", f"entry.beacon_url=http://127.0.0.1:{server.server_port}/public/{{{{round}}}}",
            f"entry.beacon_genesis_s={Beacon.genesis}", "entry.beacon_period_s=1")
    try:
        with Shop(kind, sets) as shop:
            now = int(time.time())
            drawn = now + 8 * SLOW
            number = drawn - Beacon.genesis + 1
            early = {"source": "test beacon", "round": number - 5 * SLOW}
            assert shop.open(4, status=422, beacon=early)["code"] == "bad_queue_action"
            shop.open(3, beacon={"source": "test beacon", "round": number})
            tickets = shop.fill()
            shop.wait_phase("DRAW", shop.closes, due=drawn)
            root = shop.root()
            shop.is_noted_once("close")
            stands = shop.standing()
            shop.by(drawn)
            assert (stands["next"]["by"], stands["next"]["at"]) == ("schedule", at(drawn)), stands
            shop.control.kill()
            shop.control.start()
            shop.wait_phase("SERVING", drawn, ("DRAW",))
            assert all(when >= drawn and asked == number for asked, when in Beacon.asked), Beacon.asked
            assert len(Beacon.asked) >= 2
            assert shop.is_noted_once("draw") == "draw root " + root
            draw = shop.until(lambda: (a := shop.get(QUEUE + "/draw")).status == 200 and "seed" in a.json() and a.json())
            value = hashlib.sha256(hashlib.sha512(b"round %d" % number).digest()[:48]).hexdigest()
            assert draw["beacon"]["value"] == value and draw["root"] == root
            number_of = recompute(draw)
            assert sorted(number_of(t["tier"], t["index"]) for t in tickets.values()) == list(range(20))
            assert shop.admin("draw", value=value)["repeat"]
            assert shop.standing()["next"]["action"] is None
        # usher-control is away from before the closing until after the round: the draw is void.
        with Shop(kind, sets) as shop:
            drawn = int(time.time()) + 3 * SLOW
            number = drawn - Beacon.genesis + 1
            shop.open(2, beacon={"source": "test beacon", "round": number})
            shop.fill(3)
            shop.control.kill()
            shop.by(shop.closes)
            time.sleep(max(0, drawn + 1 - time.time()))
            shop.control.start()
            shop.wait_phase("DRAW", shop.closes)
            assert shop.is_noted_once("draw not done") == "draw not done: late"
            assert (shop.standing()["next"]["by"], shop.standing()["next"]["why"]) == ("operator", "late")
            time.sleep(2)
            assert shop.phase() == "DRAW"
        for bad in (("entry.beacon_source=x",), ("entry.beacon_source=x", "entry.beacon_url=http://example.com/{{round}}",
                                                 "entry.beacon_genesis_s=1", "entry.beacon_period_s=3")):
            try:
                Shop(kind, (*FREE, *bad)).close()
            except RuntimeError as error:
                assert "beacon_" in str(error), error
            else:
                raise AssertionError(f"it starts with {bad}")
    finally:
        server.shutdown()


def in_time(test):
    """The test, run slower each time it was itself late."""
    @functools.wraps(test)
    def run(*arguments):
        global SLOW
        for SLOW in (1, 3, 9):
            try:
                return test(*arguments)
            except Late as late:
                print(f"# {test.__name__} was itself {late}: again, slower", flush=True)
        raise AssertionError("this machine is too slow for it")
    return run


def tests():
    """(function, arguments, name)."""
    for kind in ("sqlite", "postgres"):
        for test in (test_closes_by_itself, test_missed_while_down, test_killed_at_any_moment, test_killed_at_each_message,
                     test_done_by_hand_before, test_nobody_came, test_opens_by_itself, test_several_processes,
                     test_draws_by_itself):
            yield test, (kind,), f"{test.__name__}_{kind}"
    yield test_clock_is_set, (), test_clock_is_set.__name__


def at_once():
    """All of them wait for times to come: three processes at once, each with one test."""
    def one(name):
        return subprocess.run([sys.executable, __file__, sys.argv[1], name], stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    names = [name for _, _, name in tests()]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for number, (name, done) in enumerate(zip(names, pool.map(one, names)), 1):
            fine = done.returncode == 0 and "\nnot ok" not in "\n" + done.stdout
            failed += not fine
            skip = [line.partition("# SKIP")[2] for line in done.stdout.splitlines() if "# SKIP" in line]
            print(f"{'ok' if fine else 'not ok'} {number} - {name}" + (f" # SKIP{skip[0]}" if skip else ""), flush=True)
            if not fine:
                print("# " + done.stdout.replace("\n", "\n# "), flush=True)
    print(f"1..{len(names)}")
    sys.exit(failed != 0)


def main():
    wanted = sys.argv[2:]
    if not wanted:
        at_once()
    tap = Tap()
    for test, arguments, name in tests():
        if any(part in name for part in wanted):
            tap.run(in_time(test), *arguments)
    if test_entry.server:
        test_entry.server.close()
    print(f"1..{tap.count}")
    sys.exit(tap.failed != 0)


if __name__ == "__main__":
    main()
