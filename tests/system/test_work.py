#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Proofs of work: the code block of docs/admission.md, run by node, finds what `usher work solve` finds, and
Python's own SipHash says that it is one.

usage: test_work.py USHER
"""
import json
import pathlib
import random
import re
import shutil
import struct
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/system"))
import usher_client as uc  # noqa: E402

USHER = sys.argv[1]


def main():
    block = re.search(r"```js\n(.*?)```", (ROOT / "docs/admission.md").read_text(encoding="utf-8"), re.S)[1]
    chance = random.Random(1)
    cases = [dict(user=chance.getrandbits(64) | 1, salt=chance.getrandbits(64), event=chance.randint(1, 65535),
                  id=chance.getrandbits(32), bits=bits, time=chance.getrandbits(63) | 1) for bits in range(1, 13)]
    nonces = []
    for c in cases:
        done = subprocess.run([USHER, "work", "solve", "--user", str(c["user"]), "--salt", f"{c['salt']:x}", "--event",
                               str(c["event"]), "--id", str(c["id"]), "--bits", str(c["bits"]), "--time",
                               str(c["time"])], capture_output=True, text=True, check=True)
        kind, size, bits, time_ns, nonce = struct.unpack("<HHIQQ", bytes.fromhex(done.stdout.strip()))
        assert (kind, size, bits, time_ns) == (6, 24, c["bits"], c["time"]), done.stdout
        head = struct.pack("<IIQ", c["event"], c["id"], c["time"])
        key = struct.pack("<QQ", c["user"], c["salt"])
        tags = [uc.siphash(key, head + struct.pack("<Q", n)) >> (64 - bits) for n in range(nonce + 1)]
        assert tags[-1] == 0 and all(tags[:-1]), (c, nonce)
        nonces.append(nonce)
    print(f"ok - usher work solve finds the first nonce of {len(cases)}")
    node = shutil.which("node")
    if node is None:
        print("ok - the browser's solver # SKIP no node")
        return
    def two(value):
        return [value & 0xffffffff, value >> 32]
    calls = [[two(c["user"]), two(c["salt"]), c["event"], c["id"], two(c["time"]), c["bits"]] for c in cases]
    script = block + f"console.log(JSON.stringify({json.dumps(calls)}.map(c => solve(...c))));"
    done = subprocess.run([node, "-e", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == nonces, (done.stdout, nonces)
    print("ok - the browser's solver finds the same")


if __name__ == "__main__":
    main()
