#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usher-onsale: the same seed is the same report, byte for byte; its sums hold; defences matter.

usage: test_onsale.py USHER_ONSALE
"""
import json
import subprocess
import sys

USERS = ["--users", "20000", "--seats", "1000"]
KEYS = ["users", "admitted", "sold", "unsold_without_reason", "over_admitted",
        "bot_share_undefended", "bot_share_defended", "rank_correlation"]
# Without it bots get at least so much more of the seats.
MATTER = {"token": 0.3, "draw": 0.05, "verified": 0.05, "device": 0.03}

failures = 0
count = 0


def onsale(*arguments: str) -> tuple[int, bytes, list]:
    done = subprocess.run([sys.argv[1], *arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=120,
                          check=False)
    return done.returncode, done.stdout, [json.loads(line) for line in done.stdout.splitlines()]


def check(name: str, good: bool, why: object) -> None:
    global failures, count
    count += 1
    failures += not good
    print(f"{'ok' if good else 'not ok'} {count} - {name}")
    if not good:
        print(f"# {str(why)[:1000]}")


def main() -> None:
    print("TAP version 13")
    arguments = [*USERS, "--seed", "3", "--table-users", "0"]
    status, report, lines = onsale(*arguments)
    again = onsale(*arguments)[1]
    check("the same seed is the same report, byte for byte", report == again, (report, again))
    run, bare, last = lines
    check("the last line says what it is to say", list(last) == KEYS, last)
    check("no check failed", status == 0 and run["violations"] == 0 and bare["violations"] == 0,
          (status, run["violations"], bare["violations"]))
    check("every seat is sold or has a reason", last["unsold_without_reason"] == 0, last)
    check("nobody is let in for a seat that is not there", last["over_admitted"] == 0, last)
    check("all is sold", last["sold"] == run["seats"], last)
    check("people get in by their numbers", last["rank_correlation"] > 0.99, last)
    check("coming early does not help", abs(run["arrival_correlation"]) < 0.05, run)
    check("nor without defences", bare["over_admitted"] == 0, bare["over_admitted"])
    check("what is forged is seen and refused", run["frames_forged"] > 1000 and
          run["forged_passed"] == 0, (run["frames_forged"], run["forged_passed"]))
    check("without defences bots take nearly all", last["bot_share_undefended"] > 0.9, last)
    check("with them they do not", last["bot_share_defended"] < 0.4, last)
    for name, more in MATTER.items():
        share = onsale(*USERS, "--seed", "3", "--without", name)[2][0]["bot_share"]
        check(f"without {name} bots get more", share > last["bot_share_defended"] + more,
              (share, last["bot_share_defended"]))
    other = onsale(*USERS, "--seed", "4", "--table-users", "0")[1]
    check("another seed is another report", other != report, other)
    for bad in (("--users", "1"), ("--users", "x"), ("--without", "hope"), ("more",),
                ("--seats", "26")):
        check("a mistake in the command line: " + " ".join(bad), onsale(*bad)[0] == 1, bad)
    print(f"1..{count}")
    sys.exit(failures != 0)


main()
