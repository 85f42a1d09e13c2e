#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The catalogue through a real HTTP server, on SQLite and on PostgreSQL, with a real usherd behind it.

usage: test_catalogue.py BUILD-FOLDER
"""
import datetime
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import uuid

import usher_box
from postgres import Missing, Postgres
from shop import Answer, Shop, program

import http.client

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(sys.argv[1]).resolve()
SERVER = program(BUILD, "control/catalogue/catalogue_server")
TEST = program(BUILD, "control/catalogue/test_catalogue")
CLUB = json.loads((ROOT / "venues/club.json").read_text())
VENUE = {"name": "The Blue Lantern", "city": "London", "country": "GB", "timezone": "Europe/London"}
HEAD = "external,name,category,starts,venue_name,venue_city,venue_country,venue_timezone,performers,price_min,currency"

count = failed = 0


def check(name, good, why=""):
    global count, failed
    count += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {count} - {name}", flush=True)
    if not good:
        for line in str(why).splitlines()[-30:] or ["?"]:
            print(f"# {line[:600]}", flush=True)


def at(seconds):
    """ret: RFC 3339, that many seconds from now."""
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


DAY = 86400


class Server:
    def __init__(self, database, socket):
        self.command = [SERVER, database, socket]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.port = int(self.process.stdout.readline())

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(20)

    def ask(self, method, path, body=None, who=None, kind="application/json"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {}
        if body is not None:
            headers["Content-Type"] = kind
            body = body if isinstance(body, (bytes, str)) else json.dumps(body)
        if method == "POST":
            headers["Idempotency-Key"] = str(uuid.uuid4())
        if who:
            headers["X-Test-Who"] = who
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        out = Answer(answer.status, answer.headers, answer.read())
        connection.close()
        return out

    def names(self, **query):
        answer = self.ask("GET", "/v1/search?" + urllib.parse.urlencode(query))
        return [item["name"] for item in answer.json()["items"]] if answer.status == 200 else answer


def test_venues(server):
    answer = server.ask("POST", "/v1/admin/venues", VENUE, "promoter:7")
    venue = answer.json()["venue"]
    again = server.ask("POST", "/v1/admin/venues", VENUE, "promoter:7").json()["venue"]
    check("a venue is made, and is the same when it is made again", answer.status == 201 and again == venue, answer)
    got = server.ask("GET", f"/v1/venues/{venue}")
    check("a venue is shown", got.status == 200 and got.json()["city"] == "London", got)
    check("venues are listed", server.ask("GET", "/v1/venues").json()["items"][0]["venue"] == venue)
    wrong = server.ask("POST", "/v1/admin/venues", {**VENUE, "country": "Britain"}, "promoter:7")
    check("a wrong country is said", wrong.status == 422 and wrong.code == "invalid"
          and wrong.json()["member"] == "country", wrong)
    check("nobody, and a stranger, may not", server.ask("POST", "/v1/admin/venues", VENUE).status == 401)
    check("there is no venue 999", server.ask("GET", "/v1/venues/999").code == "not_found")
    return venue


def test_events(server, venue):
    event = {"name": "Night of Lanterns", "category": "jazz", "starts": at(30 * DAY), "venue": venue,
             "performers": ["Ella Ångström"], "external": "e1", "plan": CLUB, "fee_fixed": 150, "fee_ppm": 50000}
    made = server.ask("POST", "/v1/admin/events", event, "promoter:7")
    number = made.json().get("event")
    check("an event is made with its plan, which says prices and currency", made.status == 201
          and made.json()["currency"] == "GBP" and made.json()["price_min"] == 1850
          and len(made.json()["plan"]) == 64 and made.json()["status"] == "draft", made)
    check("a draft is seen by its promoter alone", [
        server.ask("GET", f"/v1/events/{number}", who=who).status for who in (None, "promoter:8", "promoter:7", "operator")
    ] == [404, 404, 200, 200])
    check("a draft is not found", server.names(q="lanterns") == [])
    again = server.ask("POST", "/v1/admin/events", event, "promoter:7")
    check("the promoter's own name is taken once", again.status == 409 and again.code == "event_exists", again)
    wrongs = [({"starts": "soon"}, "starts"), ({"name": ""}, "name"), ({"nmae": "x"}, "nmae"), ({"venue": 999}, "venue"),
              ({"price_min": -1}, "price_min"), ({"image": "http://x"}, "image"), ({"category": "A B"}, "category"),
              ({"performers": [1]}, "performers"), ({"doors": at(40 * DAY)}, "doors")]
    said = [(server.ask("POST", "/v1/admin/events", {**event, "external": "", **wrong}, "promoter:7"), member)
            for wrong, member in wrongs]
    check("each wrong member is named", all(answer.status == 422 and answer.json().get("member") == member
                                            for answer, member in said), said)
    bad = server.ask("POST", "/v1/admin/events", {**event, "external": "", "plan": {"version": 1}}, "promoter:7")
    check("a bad plan is refused with the compiler's words", bad.status == 422 and bad.code == "bad_plan"
          and ":" in bad.json()["detail"], bad)
    changed = server.ask("PATCH", f"/v1/admin/events/{number}", {"name": "Night of Many Lanterns"}, "promoter:7")
    check("an event is changed", changed.status == 200 and changed.json()["name"] == "Night of Many Lanterns", changed)
    strange = server.ask("PATCH", f"/v1/admin/events/{number}", {"name": "Mine"}, "promoter:8")
    check("not by another promoter", strange.status == 404, strange)
    return number


def test_publish(server, box, number):
    box.stop()
    away = server.ask("POST", f"/v1/admin/events/{number}/publish", {}, "promoter:7")
    check("usherd away: 503, and nothing is published", away.status == 503 and away.code == "not_ready"
          and server.names(q="lanterns") == [], away)
    box.start()
    end = time.monotonic() + 60
    done = away
    while done.status == 503 and time.monotonic() < end:
        time.sleep(0.3)
        done = server.ask("POST", f"/v1/admin/events/{number}/publish", {}, "promoter:7")
    check("published: usherd has it, it is on sale", done.status == 200 and done.json()["status"] == "on_sale", done)
    check("its hint of seats together comes from the plan", done.json().get("together", 0) > 4
          and done.json().get("free", 0) > 500, done)
    check("it is found by a prefix", server.names(q="lanter") == ["Night of Many Lanterns"], server.names(q="lanter"))
    check("by a performer without marks", server.names(q="angstrom") == ["Night of Many Lanterns"])
    again = server.ask("POST", f"/v1/admin/events/{number}/publish", {}, "promoter:7")
    check("published again: the same", again.status == 200 and again.json() == done.json(), again)
    plan = server.ask("PATCH", f"/v1/admin/events/{number}", {"plan": CLUB}, "promoter:7")
    check("its plan stays", plan.status == 409 and plan.code == "event_published", plan)


def status(server, number, **body):
    return server.ask("POST", f"/v1/admin/events/{number}/status", body, "promoter:7")


def test_status(server, number):
    check("paused", status(server, number, status="pause").json().get("status") == "paused")
    check("opened", status(server, number, status="open").json().get("status") == "on_sale")
    before = server.ask("GET", f"/v1/events/{number}").json()["starts"]
    moved = status(server, number, status="postpone", starts=at(60 * DAY), refund_until=at(10 * DAY))
    check("postponed: the first date and the refund window are kept", moved.status == 200
          and moved.json()["postponed"]["from"] == before and "refund_until" in moved.json()["postponed"], moved)
    check("search follows", server.names(q="lanterns", to=at(40 * DAY)) == []
          and len(server.names(q="lanterns", to=at(70 * DAY))) == 1)
    check("an unknown status", status(server, number, status="explode").code == "invalid")
    gone = status(server, number, status="cancel")
    check("cancelled, and out of the search", gone.json().get("status") == "cancelled" and server.names(q="lanterns") == [],
          gone)
    back = status(server, number, status="open")
    check("cancelled is for ever", back.status == 409 and back.code == "event_state", back)


def wait_status(server, number, wanted, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = server.ask("GET", f"/v1/events/{number}", who="operator").json()
        if answer.get("status") == wanted:
            return True
        time.sleep(0.1)
    return False


def test_windows(server, venue):
    event = {"name": "Short sale", "category": "jazz", "starts": at(30 * DAY), "venue": venue, "plan": CLUB,
             "sale_from": at(4), "sale_until": at(8)}
    number = server.ask("POST", "/v1/admin/events", event, "promoter:7").json()["event"]
    done = server.ask("POST", f"/v1/admin/events/{number}/publish", {}, "promoter:7")
    check("published before its sale: announced", done.json().get("status") == "announced", done)
    check("the clock opens the sale", wait_status(server, number, "on_sale"))
    check("the clock ends it", wait_status(server, number, "paused"))
    late = status(server, number, status="open")
    check("it is not opened again by hand", late.code == "event_state", late)
    longer = server.ask("PATCH", f"/v1/admin/events/{number}", {"sale_until": at(DAY)}, "promoter:7")
    opened = status(server, number, status="open")
    check("but after a longer window", longer.status == 200 and opened.json().get("status") == "on_sale", opened)


def test_import(server):
    rows = [HEAD] + [f'i{i},"Concert, no. {i}",folk,{at((i + 1) * DAY)},Barn,Bergen,NO,Europe/Oslo,Band {i % 3};Other,'
                     f'{i * 100},NOK' for i in range(450)]
    text = "\r\n".join(rows) + "\r\n"
    done = server.ask("POST", "/v1/admin/import?publish=1", text, "promoter:9", "text/csv")
    check("450 events come in by CSV", done.status == 200 and done.json()["events"] == 450, done)
    page = server.ask("GET", "/v1/search?city=bergen&limit=100&facets=1").json()
    check("they are found, with facets", len(page["items"]) == 100
          and page["facets"]["category"] == [{"value": "folk", "count": 450}], page["facets"])
    seen, after = [], ""
    while after is not None:
        page = server.ask("GET", f"/v1/events?city=Bergen&sort=-price&limit=100&after={after}" if after else
                          "/v1/events?city=Bergen&sort=-price&limit=100").json()
        seen += [item["price_min"] for item in page["items"]]
        after = page["next"]
    check("pages give each once, in order", seen == sorted(range(0, 45000, 100), reverse=True), seen[:10])
    again = server.ask("POST", "/v1/admin/import", text, "promoter:9", "text/csv")
    total = len(server.ask("GET", "/v1/events?city=Bergen&performer=Band+1&limit=100").json()["items"])
    check("imported again, they are the same events", again.status == 200 and total == 100, (again, total))
    found = server.ask("GET", "/v1/search?city=Bergen&facets=1&limit=1").json()["facets"]["category"][0]["count"]
    check("and no more of them", found == 450, found)
    bad = server.ask("POST", "/v1/admin/import", HEAD + "\nx,,folk,never,B,C,NO,T,,,\n", "promoter:9", "text/csv")
    check("a bad one: nothing is taken, each fault with its line", bad.status == 422 and bad.code == "import_errors"
          and bad.json()["errors"][0]["line"] == 2, bad)
    js = server.ask("POST", "/v1/admin/import", {"events": [{"external": "j", "name": "J", "category": "folk",
                    "starts": at(DAY), "venue": {**VENUE, "city": "Leeds"}, "performers": ["P"]}]}, "promoter:9")
    check("JSON, too; unpublished unless asked for", js.status == 200 and server.names(city="leeds") == [], js)
    check("no other type", server.ask("POST", "/v1/admin/import", "x", "promoter:9", "text/plain").status == 415)
    people = server.ask("GET", "/v1/performers?q=band").json()
    check("performers are listed by their first letters", len(people["items"]) == 3, people)


def test_queries(server):
    wrong = ["q=a&sort=best", "from=yesterday", "price_min=a", "limit=1000", "together=65", "after=x", "facets=2"]
    said = [server.ask("GET", "/v1/search?" + query) for query in wrong]
    check("each wrong query is refused", all(a.status == 400 and a.code == "bad_query" for a in said), said)
    odd = ['"', "*", "NEAR(a b)", "a AND", "' OR 1=1 --", "a:b", "\u0000x", "& | !", "(", "zc12", "é" * 300]
    said = [server.ask("GET", "/v1/search?" + urllib.parse.urlencode({"q": word})) for word in odd]
    check("odd words are only words", all(a.status in (200, 400) for a in said)
          and sum(a.status == 200 for a in said) >= len(odd) - 1, said)
    far = {"external": "far", "name": "Clock of the Long Now", "category": "talk", "starts": "9999-12-31T20:00:00Z",
           "venue": {"name": "Cave", "city": "Ely", "country": "US", "timezone": "UTC"}}
    done = server.ask("POST", "/v1/admin/import?publish=1", {"events": [far]}, "promoter:9")
    check("what has no date yet, so the last one, is found", done.status == 200
          and server.names(q="long now") == [far["name"]], (done, server.names(q="long now")))
    everything = server.names(q="concert")
    check("a search may end with the last year there is", everything != []
          and server.names(q="concert", to="9999-12-31T23:59:59Z") == everything
          and server.names(q="long now", to="9999-12-31T23:59:59Z") == [far["name"]]
          and server.names(q="long now", to=at(400 * DAY)) == [], server.names(q="concert", to="9999-12-31T23:59:59Z"))
    cached = server.ask("GET", "/v1/search?q=concert")
    check("an answer may be kept for two seconds", cached.headers["Cache-Control"] == "public, max-age=2", cached.headers)


def test_restart(server):
    before = server.names(q="concert no 7")
    server.stop(signal.SIGKILL)
    server.start()
    check("kill -9: what was answered is there", before != [] and server.names(q="concert no 7") == before, before)


def run_all(name, database):
    print(f"# {name}", flush=True)
    box = usher_box.Box(str(BUILD))
    box.start()
    server = Server(database, box.control_path)
    try:
        venue = test_venues(server)
        number = test_events(server, venue)
        test_publish(server, box, number)
        test_status(server, number)
        test_windows(server, venue)
        test_import(server)
        test_queries(server)
        test_restart(server)
        check("it ends in order", server.stop() == 0)
    finally:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)
        box.remove()


def sign_in(shop):
    """ret: headers of a promoter's API key, made as an operator of the machine would."""
    command = [*map(str, shop.control_command(0)), "account", "promoter", "p@example.org"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
    challenge = shop.post("/v1/sign-in", {"mail": "p@example.org"}, key="").json()["challenge"]
    code = json.loads((pathlib.Path(shop.folder) / "codes").read_text().splitlines()[-1])["code"]
    entered = shop.post("/v1/sign-in/code", {"challenge": challenge, "code": code}, key="")
    cookie = {"Cookie": entered.headers["Set-Cookie"].partition(";")[0], "X-CSRF-Token": entered.json()["csrf"]}
    key = shop.post("/v1/admin/keys", {"name": "till", "scope": "write"}, key="", headers=cookie).json()["key"]
    return {"Authorization": "Bearer " + key}


def run_daemon(name, database):
    """The same in usher-control: with its filter of system calls, its people, its idempotency keys."""
    with Shop(BUILD, database=database, sandbox=False, sets=["people.codes_file={folder}/codes"]) as shop:
        key = sign_in(shop)
        check(f"usher-control, {name}: nobody makes a venue", shop.post("/v1/admin/venues", VENUE).status == 401)
        venue = shop.post("/v1/admin/venues", VENUE, headers=key).json()["venue"]
        event = {"name": "Lanterns", "category": "jazz", "starts": at(30 * DAY), "venue": venue, "plan": CLUB}
        made = shop.post("/v1/admin/events", event, key="once", headers=key)
        again = shop.post("/v1/admin/events", event, key="once", headers=key)
        check(f"usher-control, {name}: an event is made once for a key", made.status == 201
              and again.json() == made.json(), (made, again))
        path = f"/v1/admin/events/{made.json()['event']}"
        done = shop.post(path + "/publish", {}, headers=key)
        check(f"usher-control, {name}: published and on sale", done.status == 200 and done.json()["status"] == "on_sale",
              done)
        found = shop.get("/v1/search?q=lant&facets=1")
        check(f"usher-control, {name}: found", [item["name"] for item in found.json()["items"]] == ["Lanterns"], found)
        description = shop.get("/openapi.json").json()
        check(f"usher-control, {name}: described", "/v1/search" in description["paths"])
        shop.control.kill()
        shop.control.start()
        check(f"usher-control, {name}: found after kill -9", shop.get("/v1/search?q=lant").json()["items"] != [])


def main():
    global count
    print("TAP version 13")
    with tempfile.TemporaryDirectory() as folder:
        run_all("SQLite", f"sqlite:{folder}/shop.db")
    run_daemon("SQLite", "sqlite")
    try:
        server = Postgres()
    except Missing as why:
        count += 1
        print(f"ok {count} - PostgreSQL # SKIP {why}")
        server = None
    if server is not None:
        with server:
            done = subprocess.run([TEST, server.database("unit")], stdout=subprocess.PIPE, text=True, timeout=120)
            check("the unit tests on PostgreSQL", done.returncode == 0, done.stdout)
            run_all("PostgreSQL", server.database("shop"))
            run_daemon("PostgreSQL", server.database("daemon"))
    print(f"1..{count}")
    return failed != 0


sys.exit(main())
