#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bodies and requests of chance against every route of the real usher-control: it must answer, never with 500, and
live. Seeds: USH_SEED repeats a run, USH_STEPS says how many requests (default 1500).

usage: test_http_fuzz.py BUILD-FOLDER
"""
import json
import os
import random
import re
import subprocess
import sys
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import shop as shops  # noqa: E402
import usher_box  # noqa: E402

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
        done = subprocess.run(shop.control_command(0) + ["--print-routes"], capture_output=True, text=True, timeout=30,
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


def main():
    tap = usher_box.Tap()
    tap.run(test_nothing_is_answered_with_500_and_it_lives)
    tap.end()


main()
