#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usher-sim itself: the same seed is the same run, however many processes, and its exit statuses.

usage: test_sim.py USHER_SIM
"""
import json
import subprocess
import sys

failures = 0
count = 0


def sim(*arguments: str) -> tuple[int, dict]:
    done = subprocess.run([sys.argv[1], "--json", *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=False)
    lines = done.stdout.strip().splitlines()
    return done.returncode, json.loads(lines[-1]) if lines else {}


def check(name: str, good: bool, why: object) -> None:
    global failures, count
    count += 1
    failures += not good
    print(f"{'ok' if good else 'not ok'} {count} - {name}")
    if not good:
        print(f"# {why}")


def main() -> None:
    print("TAP version 13")
    _, whole = sim("--seed", "31", "--runs", "40")
    status, halves = sim("--seed", "31", "--runs", "40", "--jobs", "2")
    check("two processes make the same runs as one", status == 0 and
          whole["hash"] == halves["hash"] and whole["schedules"] == 40, (whole, halves))
    alone = sum(int(sim("--seed", str(31 + i), "--runs", "1")[1]["hash"], 16) for i in range(40))
    check("a run does not depend on those before it", f"{alone & (1 << 64) - 1:016x}" ==
          whole["hash"], (f"{alone:016x}", whole))
    _, other = sim("--seed", "32", "--runs", "40")
    check("another seed is another run", other["hash"] != whole["hash"], (other, whole))
    rare = [name for name, value in sim("--seed", "31", "--runs", "600")[1].items()
            if value == 0 and name not in ("violations", "seconds")]
    check("every fault and every outcome happens", not rare, rare)
    status, line = sim("--seed", "5", "--runs", "3", "--steps", "50", "--liveness")
    check("steps are what was asked for", status == 0 and line["steps"] <= 150, line)
    for arguments in (("--bogus",), ("--runs", "x"), ("--steps", "0"), ("more",),
                      ("--seeds", "/nowhere")):
        status, _ = sim(*arguments)
        check("a mistake in the command line: " + " ".join(arguments), status == 1, status)
    print(f"1..{count}")
    sys.exit(failures != 0)


main()
