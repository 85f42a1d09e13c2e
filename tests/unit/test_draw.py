#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The draw once more, from docs/draw.md alone and with nothing but hashlib, beside `usher verify draw`.

usage: test_draw.py PATH-OF-USHER     the tests
       test_draw.py --write           makes tests/vectors/draw.json anew

The permutation is the code block of the document itself: what is written there is what runs here.
"""
import copy
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
from hashlib import sha256

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
VECTORS = ROOT / "tests/vectors/draw.json"
USHER = sys.argv[1] if len(sys.argv) > 1 else "usher"
TEXT = (ROOT / "docs/draw.md").read_text(encoding="utf-8")
DOCUMENT: dict = {}
exec(re.search(r"```python\n(.*?)```", TEXT, re.S)[1], DOCUMENT)  # noqa: S102 - our own page
permutation = DOCUMENT["permutation"]


def le(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def seed_hash(event: int, seed: bytes) -> bytes:
    return sha256(b"usher/draw/seed1" + le(event, 4) + seed).digest()


def leaf(tier: int, user: int) -> bytes:
    return sha256(b"\0" + le(tier, 1) + le(user, 8)).digest()


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def half(count: int) -> int:
    k = 1
    while k * 2 < count:
        k *= 2
    return k


def root(leaves: list[bytes]) -> bytes:
    """Recursive, as RFC 6962 has it."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = half(len(leaves))
    return node(root(leaves[:k]), root(leaves[k:]))


def path(leaves: list[bytes], at: int) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = half(len(leaves))
    if at < k:
        return path(leaves[:k], at) + [root(leaves[k:])]
    return path(leaves[k:], at - k) + [root(leaves[:k])]


def draw_key(event, seed, tree_root, counts, beacon) -> bytes:
    return sha256(b"usher/draw/key.1" + le(event, 4) + seed + tree_root +
                  b"".join(le(n, 4) for n in counts) + le(len(beacon), 1) + beacon).digest()


class Draw:
    """One draw: places[tier] is a list of users."""

    def __init__(self, event, seed, beacon, places):
        self.event, self.seed, self.beacon, self.places = event, seed, beacon, places
        self.counts = [len(users) for users in places]
        self.leaves = [leaf(t, user) for t, users in enumerate(places) for user in users]
        self.root = root(self.leaves)
        self.key = draw_key(event, seed, self.root, self.counts, beacon)

    def numbers(self) -> list[list[int]]:
        """numbers[tier][index]"""
        result, first = [], 0
        for tier, users in enumerate(self.places):
            p = permutation(self.key, tier, len(users)) if users else None
            result.append([first + p(i) for i in range(len(users))])
            first += len(users)
        return result

    def order(self) -> list[int]:
        users = [0] * len(self.leaves)
        for tier, numbers in enumerate(self.numbers()):
            for index, number in enumerate(numbers):
                users[number] = self.places[tier][index]
        return users

    def proof(self, tier: int, index: int) -> dict:
        at = sum(self.counts[:tier]) + index
        return {"user": f"{self.places[tier][index]:016x}", "tier": tier, "index": index,
                "path": [h.hex() for h in path(self.leaves, at)]}

    def users(self) -> list[str]:
        return [f"{user:016x}" for users in self.places for user in users]

    def file(self, users=True, proof=None) -> dict:
        out = {"format": "usher-draw-1", "event": self.event,
               "seed_hash": seed_hash(self.event, self.seed).hex(), "seed": self.seed.hex(),
               "root": self.root.hex(),
               "beacon": {"source": "a test", "round": 1, "value": self.beacon.hex()},
               "count": len(self.leaves), "tiers": self.counts}
        if users:
            out["users"] = self.users()
        if proof:
            out["proof"] = self.proof(*proof)
        return out


def some_users(counts, salt: int) -> list[list[int]]:
    """Users that look like nothing, from a hash; every 97th place void."""
    place, out = 0, []
    for count in counts:
        out.append([])
        for _ in range(count):
            user = int.from_bytes(sha256(b"user" + le(salt, 4) + le(place, 4)).digest()[:8], "little")
            out[-1].append(0 if place % 97 == 96 else user)
            place += 1
    return out


SHAPES = [[0] * 7, [1, 0, 0, 0, 0, 0, 0], [2, 0, 0, 0, 0, 0, 1], [3, 5, 0, 7, 0, 0, 11],
          [0, 16, 17, 15, 0, 1, 0], [100, 0, 129, 0, 64, 65, 63], [600, 0, 0, 0, 0, 0, 0],
          [0, 0, 0, 0, 0, 0, 512]]


def examples() -> list[Draw]:
    return [Draw(7 + i, sha256(b"seed" + le(i, 4)).digest(), sha256(b"beacon" + le(i, 4)).digest()[:16 + i],
                 some_users(counts, i)) for i, counts in enumerate(SHAPES)]


def vectors() -> dict:
    out = {"draws": [], "large": []}
    for draw in examples():
        entry = draw.file()
        entry["key"] = draw.key.hex()
        entry["numbers"] = [n for numbers in draw.numbers() for n in numbers]
        entry["proofs"] = [draw.proof(t, i) for t, n in enumerate(draw.counts)
                           for i in sorted({0, n // 2, n - 1}) if 0 <= i < n]
        out["draws"].append(entry)
    for tier, count in enumerate([1_000_003, 2 ** 20, 2 ** 20 - 1, 2 ** 20 + 1, 10_000_000, 99_999_989]):
        key = sha256(b"large" + le(tier, 1)).digest()
        p = permutation(key, tier, count)
        at = sorted({0, 1, count // 3, count // 2, count - 2, count - 1})
        out["large"].append({"key": key.hex(), "tier": tier, "count": count, "index": at,
                             "permuted": [p(i) for i in at]})
    return out


def text_of(value: dict) -> str:
    text = json.dumps(value, indent=1)
    return re.sub(r"\[\s+([^\[\]{}]*?)\s+\]",
                  lambda m: "[" + re.sub(r"\s*\n\s*", " ", m[1]) + "]", text) + "\n"


class VerifyDraw(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        self.draw = examples()[3]

    def run_usher(self, file, *more):
        where = self.dir / "draw.json"
        where.write_text(file if isinstance(file, str) else json.dumps(file), encoding="utf-8")
        return subprocess.run([USHER, "verify", "draw", *more, str(where)], capture_output=True,
                              text=True, timeout=60)

    def assert_wrong(self, file, words, *more):
        done = self.run_usher(file, *more)
        self.assertEqual(done.returncode, 1, done)
        self.assertIn(words, done.stderr)
        self.assertEqual(done.stdout, "")

    def test_vectors_are_what_the_document_says(self):
        self.assertEqual(json.loads(VECTORS.read_text(encoding="utf-8")), vectors())

    def test_order_is_the_documents(self):
        for draw in examples():
            done = self.run_usher(draw.file(), "--order")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stdout.split(), [f"{u:016x}" for u in draw.order()])

    def test_key_and_numbers(self):
        for draw in examples()[1:]:
            numbers = draw.numbers()
            for tier, count in enumerate(draw.counts):
                for index in {0, count // 2, count - 1}:
                    if not 0 <= index < count or draw.places[tier][index] == 0:
                        continue
                    user = draw.places[tier][index]
                    for file in (draw.file(), draw.file(users=False, proof=(tier, index))):
                        done = self.run_usher(file, "--json", "--user", hex(user))
                        self.assertEqual(done.returncode, 0, done.stderr)
                        out = json.loads(done.stdout)
                        self.assertEqual(out["number"], numbers[tier][index])
                        self.assertEqual((out["tier"], out["index"]), (tier, index))
                        self.assertEqual(out["key"], draw.key.hex())
                        self.assertEqual(out["list_checked"], "users" in file)
                        self.assertEqual(out["proof_checked"], "proof" in file)

    def test_list_in_a_file_of_its_own(self):
        places = self.dir / "places"
        places.write_text("".join(u + "\n" for u in self.draw.users()), encoding="ascii")
        done = self.run_usher(self.draw.file(users=False), "--order", "--list", str(places))
        self.assertEqual(done.stdout.split(), [f"{u:016x}" for u in self.draw.order()])
        places.write_text(places.read_text()[:-1], encoding="ascii")
        self.assert_wrong(self.draw.file(users=False), "newline", "--list", str(places))
        places.write_text(places.read_text()[:-1] + "g\n", encoding="ascii")
        self.assert_wrong(self.draw.file(users=False), "line 26 of the list", "--list", str(places))

    def test_table_says_what_was_not_checked(self):
        done = self.run_usher(self.draw.file(users=False))
        self.assertEqual(done.returncode, 0)
        self.assertIn("NOT the list", done.stdout)
        self.assertNotIn("NOT", self.run_usher(self.draw.file()).stdout)

    def test_each_value_changed_is_found(self):
        good = self.draw.file(proof=(1, 2))
        self.assertEqual(self.run_usher(good).returncode, 0)

        def changed(text):
            return ("1" if text[0] == "0" else "0") + text[1:]

        for key, words in {"seed": "seed is not the one", "seed_hash": "seed is not the one",
                           "root": "list is not the one"}.items():
            self.assert_wrong({**good, key: changed(good[key])}, words)
        self.assert_wrong({**good, "event": 8}, "seed is not the one")
        file = copy.deepcopy(good)
        file["users"][3] = changed(file["users"][3])
        self.assert_wrong(file, "list is not the one")
        file = copy.deepcopy(good)
        file["users"][3:5] = reversed(file["users"][3:5])
        self.assert_wrong(file, "list is not the one")
        self.assert_wrong({**good, "tiers": [4, 4, 0, 7, 0, 0, 11]}, "list is not the one")
        for change in ({"index": 3}, {"tier": 0}, {"user": changed(good["proof"]["user"])},
                       {"path": good["proof"]["path"][:-1]}, {"path": good["proof"]["path"] + ["0" * 64]},
                       {"path": [changed(h) for h in good["proof"]["path"]]}):
            self.assert_wrong({**good, "proof": {**good["proof"], **change}}, "does not lead to the root")

    def test_nobody_twice(self):
        places = copy.deepcopy(self.draw.places)
        places[6][4] = places[0][1]
        self.assert_wrong(Draw(10, bytes(32), bytes(16), places).file(), "more than one place")

    def test_user_who_is_not_there(self):
        self.assert_wrong(self.draw.file(), "no place in the list", "--user", "77")
        self.assert_wrong(self.draw.file(users=False), "no proof of that user", "--user", "77")
        self.assert_wrong(self.draw.file(users=False), "needs the list", "--order")

    def test_file_that_is_none(self):
        good = self.draw.file(proof=(1, 2))
        for key in good:
            file = {k: v for k, v in good.items() if k != key}
            if key not in ("users", "proof"):
                self.assert_wrong(file, "draw: ")
        cases = {"unknown member 'usres'": {**good, "usres": []}, "'format'": {**good, "format": "x"},
                 "'seed'": {**good, "seed": good["seed"].upper()}, "add up to": {**good, "count": 27},
                 "'event'": {**good, "event": -1}, "list of 7": {**good, "tiers": [26]},
                 "'users'": {**good, "users": good["users"][1:]},
                 "a user of 'users'": {**good, "users": [4711] + good["users"][1:]},
                 "beyond the tier": {**good, "proof": {**good["proof"], "index": 5}},
                 "'value'": {**good, "beacon": {**good["beacon"], "value": "00" * 15}},
                 "'beacon'": {**good, "beacon": {**good["beacon"], "extra": 1}}}
        for words, file in cases.items():
            self.assert_wrong(file, words)
        self.assert_wrong("{", "line 1, column 1")
        self.assert_wrong('{"event": 1, "event": 1}', "duplicate")
        self.assert_wrong("[]", "no object")

    def test_exit_status_of_usage(self):
        for args in ([], ["--user", "x", "f"], ["--user", "0", "f"], ["--what", "f"], ["a", "b"]):
            done = subprocess.run([USHER, "verify", "draw", *args], capture_output=True, text=True)
            self.assertEqual(done.returncode, 2, done)
        done = subprocess.run([USHER, "verify", "draw", "--help"], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        done = subprocess.run([USHER, "verify", "draw", str(self.dir / "none")], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("No such file", done.stderr)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        VECTORS.write_text(text_of(vectors()), encoding="utf-8")
        sys.exit(0)
    unittest.main(argv=sys.argv[:1])
