#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bodies and requests of chance against every route of the real usher-control: it must answer, never with 500, and
live. First by nobody; then, on both databases, by a buyer, a promoter, an operator and a service's key, in a shop with
usherd and the provider, with bodies that the description makes and that are then bent; after a tour in which every route
succeeds once (http_tour.py). Seeds: USH_SEED repeats a run, USH_STEPS says how many requests (default 1500).

usage: test_http_fuzz.py BUILD-FOLDER
"""
import json
import os
import random
import re
import subprocess
import sys
import urllib.parse
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import postgres  # noqa: E402
import shop as shops  # noqa: E402
import usher_box  # noqa: E402
from http_tour import Tour  # noqa: E402

BUILD = sys.argv[1]
SEED = int(os.environ.get("USH_SEED", random.SystemRandom().randrange(1 << 32)))
STEPS = int(os.environ.get("USH_STEPS", 1500))
WORDS = ["", "a", "7", "0", "-1", "null", "A-1", "\u0000", "\ud83c\udfab", "'; DROP TABLE x; --", "%s%n", "../..", "a" * 300,
         "1e999", "9223372036854775808", "x@y.z", "+491701234567", "2026-11-28T00:00:00Z", "4242424242424242"]
NUMBERS = [0, 1, -1, 7, 255, 65536, 2**31, 2**32, 2**53, 2**63 - 1, -2**63, 1.5, 1e300]


def value(chance, names, depth=0):
    kind = chance.randrange(9 if depth < 4 else 5)
    if kind < 2:
        return chance.choice(WORDS)
    if kind == 2:
        return chance.choice(NUMBERS)
    if kind == 3:
        return chance.choice([True, False, None])
    if kind < 6:
        return "".join(chr(chance.choice([chance.randrange(1, 128), chance.randrange(160, 0xd800)]))
                       for _ in range(chance.randrange(20)))
    if kind == 6:
        return [value(chance, names, depth + 1) for _ in range(chance.randrange(5))]
    return {chance.choice(names): value(chance, names, depth + 1) for _ in range(chance.randrange(6))}


def mutate(chance, data):
    data = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(data) + 1)
        what = chance.randrange(4)
        if what == 0:
            data[at:at + chance.randrange(8)] = b""
        elif what == 1:
            data[at:at] = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 8)))
        elif what == 2 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        else:
            data[at:at] = data[:chance.randrange(40)]
    return bytes(data)


def names_of(description):
    """Names of members and parameters, from the description: what a module looks for."""
    found = set()

    def walk(node):
        if isinstance(node, dict):
            if isinstance(node.get("properties"), dict):
                found.update(node["properties"])
            for item in node.values():
                walk(item)
        elif isinstance(node, list):
            for item in node:
                walk(item)
    walk(description)
    return sorted(found) + ["x"]


def test_nothing_is_answered_with_500_and_it_lives():
    print(f"# USH_SEED={SEED}", flush=True)
    chance = random.Random(SEED)
    with shops.Shop(BUILD, box=False, sandbox=False) as shop:
        names = names_of(shop.get("/openapi.json").json())
        done = subprocess.run(shop.control_command(0) + ["--print-routes"], capture_output=True, text=True, timeout=60,
                              check=True)
        routes = [line.split()[:2] for line in done.stdout.splitlines()]
        seen = {}
        for step in range(STEPS):
            method, template = chance.choice(routes)
            if template.endswith("/changes"):
                continue
            path = re.sub(r"\{[^}]+\}", lambda _: chance.choice(["7", "0", "x", "%20", "18446744073709551615",
                                                                  "%F0%9F%8E%AB", "a" * 200]), template)
            if chance.random() < 0.3:
                path += "?" + "&".join(f"{chance.choice(names)}={chance.choice(['', '7', '-1', 'x', '%27', '9' * 30])}"
                                       for _ in range(3))
            body = None
            if method not in ("GET", "DELETE"):
                body = json.dumps({chance.choice(names): value(chance, names) for _ in range(4)},
                                  allow_nan=True).encode("utf-8", "replace")
                if chance.random() < 0.4:
                    body = mutate(chance, body)
            headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.UUID(int=chance.getrandbits(128)))}
            for name in ("Cookie", "Authorization", "X-CSRF-Token", "If-None-Match", "Accept-Encoding"):
                if chance.random() < 0.1:
                    headers[name] = chance.choice(["session=x", "Bearer uk_a_b", "Bearer", "gzip;q=", "x" * 900, "="])
            try:
                answer = shop.request(method, path, body, headers)
            except ConnectionError as error:
                raise AssertionError(f"step {step}: {method} {path} {body!r} {headers}: {error}, status {shop.control.process.poll()}; "
                                     f"{shop.control.text()[-800:]}") from None
            seen[answer.status] = seen.get(answer.status, 0) + 1
            assert answer.status != 500, (step, method, path, body, answer)
            assert shop.control.running(), (step, method, path, body)
            if answer.status >= 400:
                assert answer.code, (step, method, path, answer)
        print(f"# answers by status: {dict(sorted(seen.items()))}")
        assert len(seen) >= 4, seen
        text = shop.control.text()
        # Nothing that was sent is in the log.
        assert "4242424242424242" not in text and "x@y.z" not in text
        assert shop.control.stop() == 0


# ---- with accounts ----

# Routes that need not succeed, and why.
NEVER = {}
# Not asked by chance: a stream has no end, and after the others there is nothing left to try.
ONCE = {("GET", "/v1/events/{event}/changes"), ("POST", "/v1/admin/events/{event}/refund-all"), ("DELETE", "/v1/me"),
        ("DELETE", "/v1/session")}

SECRETS = ("fuzz-buyer", "fuzz-friend", "fuzz-other", "fuzz-promoter", "fuzz-operator", "fuzz-marker", "Fuzz Person", "4930112233", "4242424242424242")
STRINGS = {"mail": "fuzz-marker@mail.example", "phone": "+4930112233", "url": "https://hooks.example/fuzz-marker",
           "image": "https://img.example/a.png", "country": "GB", "timezone": "Europe/London", "currency": "EUR",
           "name": "Fuzz Person", "city": "London", "device": "0123456789abcdef", "scope": "write", "role": "buyer"}


def resolve(schema, description):
    while "$ref" in schema:
        at = description
        for part in schema["$ref"][2:].split("/"):
            at = at[part]
        schema = at
    return schema


def valid(chance, schema, description, things, name="", depth=0):
    """A value as the schema wants it; members that may be left out are, half of the time."""
    schema = resolve(schema, description)
    for word in ("oneOf", "anyOf", "allOf"):
        if word in schema:
            parts = [valid(chance, part, description, things, name, depth + 1)
                     for part in (schema[word] if word == "allOf" else [chance.choice(schema[word])])]
            if all(isinstance(part, dict) for part in parts):
                return {key: item for part in parts for key, item in part.items()}
            return parts[0]
    if "enum" in schema:
        return chance.choice(schema["enum"])
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if kind == "object":
        return {key: valid(chance, item, description, things, key, depth + 1)
                for key, item in schema.get("properties", {}).items()
                if key in schema.get("required", ()) or chance.random() < (0.5 if depth < 4 else 0)}
    if kind == "array":
        least = schema.get("minItems", 0)
        return [valid(chance, schema.get("items", {}), description, things, name, depth + 1)
                for _ in range(chance.randrange(least, max(least, min(schema.get("maxItems", 3), 3)) + 1))]
    if kind == "boolean":
        return chance.random() < 0.5
    if kind in ("integer", "number"):
        if name in things:
            return int(things[name]) if things[name].isdigit() else 7
        low = schema.get("minimum", 0)
        return chance.randint(low, min(schema.get("maximum", low + 9), low + 9))
    if schema.get("format") == "date-time" or name in ("starts", "ends", "doors", "sale_from", "sale_until", "refund_until"):
        return "2031-0%d-02T19:30:00Z" % chance.randrange(1, 10)
    return things.get(name) or STRINGS.get(name) or chance.choice(["word", "A-1", "Ünïcode 🎫"])


def bend(chance, body, names, depth=0):
    """One thing of a valid body is no longer so: the type, a member gone or too much, too big, too deep."""
    if isinstance(body, dict) and body and depth < 4 and chance.random() < 0.6:
        key = chance.choice(list(body))
        return {**body, key: bend(chance, body[key], names, depth + 1)}
    if isinstance(body, list) and body and depth < 4 and chance.random() < 0.6:
        at = chance.randrange(len(body))
        return body[:at] + [bend(chance, body[at], names, depth + 1)] + body[at + 1:]
    what = chance.randrange(7)
    if what == 0 and isinstance(body, dict) and body:
        gone = chance.choice(list(body))
        return {key: item for key, item in body.items() if key != gone}
    if what == 1 and isinstance(body, dict):
        return {**body, chance.choice(names): value(chance, names)}
    if what == 2:
        return "fuzz-marker" * chance.choice([30, 900, 9000])
    if what == 3:
        return [body] * chance.choice([2, 30, 600])
    if what == 4:
        return chance.choice(NUMBERS)
    return value(chance, names)


def spell(chance, body):
    """JSON, and now and then none: cut, bent by bits, no UTF-8, too deep, too big, a member twice."""
    text = json.dumps(body, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    what = chance.randrange(50)
    if what == 0:
        return text[:chance.randrange(len(text) + 1)]
    if what == 1:
        return mutate(chance, text)
    if what == 2:
        return text.replace(b'"', b'"\xff\xc0\xaf', 2)
    if what == 3:
        deep = chance.choice([50, 3000, 60000])
        return chance.choice([b"[" * deep, b'{"a":' * deep, b'{"name":' + b"[" * deep + b"]" * deep + b"}"])
    if what == 4:
        return b'{"name":"' + b"x" * chance.choice([5000, 70000, 3000000]) + b'"}'
    if what == 5 and text.startswith(b"{") and len(text) > 2:
        return text[:-1] + b"," + text[1:]
    if what == 6:
        return chance.choice([b"", b"null", b"[]", b"\xef\xbb\xbf{}", b"NaN", b'{"a":1e9999}', b'{"\\u0000":1}', b'"\\ud800"'])
    return text


class Person:
    """An account, signed in by the code that the shop writes down for tests."""

    def __init__(self, shop, mail):
        self.shop, self.mail = shop, mail
        self.sign_in()

    def sign_in(self):
        challenge = self.shop.post("/v1/sign-in", {"mail": self.mail}, key="")
        assert challenge.status == 202, challenge
        with open(os.path.join(self.shop.folder, "codes")) as file:
            code = [c["code"] for c in map(json.loads, file) if c["to"] == self.mail][-1]
        answer = self.shop.post("/v1/sign-in/code", {"challenge": challenge.json()["challenge"], "code": code}, key="")
        assert answer.status == 200, answer
        self.head = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0], "X-CSRF-Token": answer.json()["csrf"]}

    def must(self, path, body):
        answer = self.shop.post(path, body, headers=self.head)
        assert answer.status < 300, (path, answer)
        return answer.json()


def open_signed_shop(database):
    """ret: the shop, accounts by role, names of things that are there."""
    shop = shops.Shop(BUILD, database=database, start=False, box_sets=("limits.room_users=1000", "limits.room_devices=64"))
    shop.sandbox.start()
    shop.usherd.start()
    shop.sets += ["people.codes_file={folder}/codes", "people.requests_per_min=1000000", "log.level=debug",
                  "payments.url=http://127.0.0.1:{sandbox}", "payments.key_file=" + shop.secret("sk", "sk_test_usher"),
                  "payments.public_key=pk_test_usher", "payments.buyer_refunds=yes",
                  "payments.webhook_secret_file=" + shop.secret("wh", "whsec_usher")]
    shop.control.start()
    shop.wait_ready()
    for role in ("promoter", "operator"):
        subprocess.run(shop.control_command(0) + ["account", role, f"fuzz-{role}@mail.example"], check=True,
                       capture_output=True)
    people = {role: Person(shop, f"fuzz-{role}@mail.example") for role in ("buyer", "promoter", "operator")}
    things = make_things(people["promoter"], people["buyer"])
    key = people["promoter"].must("/v1/admin/keys", {"name": "till", "scope": "write", "role": "service"})
    people["service"] = type("Key", (), {"head": {"Authorization": "Bearer " + key["key"]}})
    return shop, people, things


def make_things(promoter, buyer):
    venue = promoter.must("/v1/admin/venues", {"name": "Hall", "city": "London", "country": "GB",
                                               "timezone": "Europe/London"})["venue"]
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../venues/theatre.json")) as file:
        plan = json.load(file)
    event = promoter.must("/v1/admin/events", {"name": "Show", "category": "rock", "performers": ["Ada"], "venue": venue,
                                               "starts": "2031-01-02T19:30:00Z", "plan": plan})["event"]
    promoter.must(f"/v1/admin/events/{event}/publish", {})
    hold = buyer.must(f"/v1/events/{event}/holds", {"best": {"count": 2}})["hold"]
    payment = buyer.must(f"/v1/holds/{hold}/payments", {})["id"]
    return {"venue": str(venue), "event": str(event), "hold": hold, "order": hold, "payment": payment}


def ask(chance, shop, head, method, template, description, things, names):
    """One request. ret: what was asked, and the answer."""
    operation = description["paths"].get(template, {}).get(method.lower(), {})
    path = re.sub(r"\{([^}]+)\}", lambda found: chance.choice(
        [things.get(found[1], "7")] * 6 + ["0", "x", "%20", "18446744073709551615", "a" * 200]), template)
    for parameter in operation.get("parameters", ()):
        parameter = resolve(parameter, description)
        if parameter.get("in") == "header" and parameter["name"] in things and chance.random() < 0.8:
            head = {**head, parameter["name"]: things[parameter["name"]]}
        if parameter.get("in") == "query" and chance.random() < 0.4:
            good = valid(chance, parameter.get("schema", {}), description, things, parameter["name"])
            text = str(good if chance.random() < 0.6 else chance.choice(WORDS + NUMBERS))
            path += ("&" if "?" in path else "?") + parameter["name"] + "=" + urllib.parse.quote(text.encode("utf-8", "surrogatepass"))
    content = resolve(operation.get("requestBody", {}), description).get("content", {})
    body, headers = None, {**head, "Idempotency-Key": str(uuid.UUID(int=chance.getrandbits(128)))}
    if method not in ("GET", "DELETE"):
        kind = chance.choice(list(content) or ["application/json"])
        body = valid(chance, content.get(kind, {}).get("schema", {}), description, things)
        if kind == "application/json":
            body = spell(chance, bend(chance, body, names) if chance.random() < 0.5 else body)
        else:
            body = mutate(chance, b"external,name,category,starts,venue_name\n1,Fuzz Person,rock,2031-01-02T19:30:00Z,Hall\n")
        headers["Content-Type"] = kind if chance.random() < 0.95 else "text/plain"
    return (method, path, body[:300] if body else body), shop.request(method, path, body, headers)


def judge(asked, template, answer, description):
    """What holds for every answer: its status is described, it is no 5xx but 503, a problem has a stable code."""
    described = description["paths"][template][asked[0].lower()]["responses"]
    assert str(answer.status) in described and (answer.status < 500 or answer.status == 503), (asked, answer)
    if answer.status < 400:
        return None
    assert answer.code and re.fullmatch(r"[a-z][a-z0-9_]{2,40}", answer.code), (asked, answer)
    return answer.code


def test_accounts_of_each_role_send_what_the_description_says_bent(kind):
    for program in ("dataplane/port/usherd", "sim/sandbox/usher-sandbox"):
        if not os.path.exists(os.path.join(BUILD, program)):
            raise usher_box.Tap.Skip(f"{program} is not in this build")
    print(f"# USH_SEED={SEED}", flush=True)
    chance = random.Random(SEED)
    shop, people, things = open_signed_shop(SERVER.database("fuzz") if kind == "postgres" else "sqlite")
    with shop:
        description = shop.get("/openapi.json").json()
        names = names_of(description)
        done = subprocess.run(shop.control_command(0) + ["--print-routes"], capture_output=True, text=True, timeout=60,
                              check=True)
        routes = [line.replace("*}", "}").split()[:2] for line in done.stdout.splitlines()]
        routes = [tuple(route) for route in routes]
        tour = Tour(shop, people, things, lambda asked, template, answer: judge(asked, template, answer, description))
        tour.all()
        good, by_chance, seen, codes, denied = tour.good, set(), {}, {}, set()
        missing = set(routes) - good - set(NEVER)
        assert not missing, f"never answered with success: {sorted(missing)}: http_tour.py, or NEVER with a reason"
        assert not good & set(NEVER) and set(NEVER) <= set(routes), "NEVER has a route that succeeds, or is none"
        print(f"# the tour: {len(good)} of {len(routes)} routes", flush=True)
        routes = [route for route in routes if route not in ONCE]
        for step in range(STEPS):
            method, template = routes[step % len(routes)] if step < 6 * len(routes) else chance.choice(routes)
            role = chance.choice(list(people))
            # Who may not do it was told so; now and then again, mostly somebody else.
            if (role, template) in denied and chance.random() < 0.8:
                role = chance.choice([other for other in people if (other, template) not in denied] or [role])
            head = people[role].head
            here = {**things, **tour.queued} if "/queue" in template else things
            asked, answer = ask(chance, shop, head, method, template, description, here, names)
            assert shop.control.running() and shop.usherd.process.poll() is None, (step, role, asked)
            code = judge((*asked, role, step), template, answer, description)
            seen[answer.status] = seen.get(answer.status, 0) + 1
            if answer.status < 400:
                by_chance.add((method, template))
            if code == "forbidden":
                denied.add((role, template))
            codes[role, code] = codes.get((role, code), 0) + 1
        assert shop.get("/readyz").status == 200
        if os.environ.get("USH_CODES"):
            print("#", sorted(codes.items(), key=lambda item: -item[1]))
        print(f"# answers by status: {dict(sorted(seen.items()))}; {len(by_chance)} of {len(routes)} routes did something")
        log = shop.control.text().lower()
        assert '"event":"ready"' in log
        assert len(by_chance) >= min(40, STEPS // 20), f"only these did something by chance: {sorted(by_chance)}"
        for secret in SECRETS:
            assert secret.lower() not in log, f"the log has {secret}"
        assert shop.control.stop() == 0


SERVER = None  # of PostgreSQL


def main():
    global SERVER
    tap = usher_box.Tap()
    tap.run(test_nothing_is_answered_with_500_and_it_lives)
    tap.run(test_accounts_of_each_role_send_what_the_description_says_bent, "sqlite")
    try:
        with postgres.Postgres() as SERVER:
            tap.run(test_accounts_of_each_role_send_what_the_description_says_bent, "postgres")
    except postgres.Missing as why:
        tap.skip("PostgreSQL", why)
    tap.end()


main()
