#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What every command and script says about itself: --help on stdout with exit status 0 and nothing on
stderr; an option that does not exist, and numbers out of range, with status 2, nothing on stdout, and
words that name the program and what is wrong.

usage: test_help.py BUILD-FOLDER
"""
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(sys.argv[1])
USHER, USHERD = str(BUILD / "tools/usher"), str(BUILD / "dataplane/port/usherd")
SANDBOX = str(BUILD / "sim/sandbox/usher-sandbox")

COMMANDS = [
    [USHERD], *([[SANDBOX]] if os.path.exists(SANDBOX) else []), [USHER], [USHER, "client"], [USHER, "client", "reserve"], [USHER, "load"],
    [USHER, "top"], [USHER, "token"], [USHER, "token", "mint"], [USHER, "token", "check"],
    [USHER, "work"], [USHER, "work", "solve"], [USHER, "verify"], [USHER, "verify", "draw"], [USHER, "journal"], [USHER, "journal", "cat"],
    [USHER, "journal", "stat"], [USHER, "journal", "follow"], [USHER, "journal", "snapshot"],
    [USHER, "journal", "archive"], [USHER, "journal", "restore"], [USHER, "journal", "forget"],
    *[[USHER, "event", action] for action in (
        "check", "show", "compile", "load", "status", "block", "unblock", "channel-key")],
]
# Positional arguments that a script wants before it looks at its options.
WANTS = {"confirm-holds": ["socket", "acks", "confirmed"], "report-demo": ["."],
         "run-tests": ["sum", "/dev/null"]}
# (command, what the words must name). The ranges are those of docs/operations.md and --help.
WRONG = [
    ([USHER, "dance"], "dance"),
    ([USHER, "event"], "usher event"),
    ([USHER, "event", "dance"], "dance"),
    ([USHER, "event", "status", "--event", "0"], "1 to 65535"),
    ([USHER, "event", "status", "--event", "65536"], "1 to 65535"),
    ([USHER, "event", "channel-key", "--event", "1", "--channel", "16"], "1 to 15"),
    ([USHER, "event", "check", "--event", "1", "x"], "takes no --event"),
    ([USHER, "load", "--rate", "-1"], "--rate"),
    ([USHER, "load", "--users", "0"], "--users"),
    ([USHER, "load", "--flows", "4097"], "4096"),
    ([USHER, "load", "--pack", "23"], "1 to 22"),
    ([USHER, "load", "--duration", "1y"], "1y"),
    ([USHER, "client", "status", "--event", "-1"], "--event"),
    ([USHER, "client", "dance"], "usher client"),
    ([USHER, "journal", "cat", "--count", "x", "."], "count"),
    ([USHER, "journal", "cat"], "usage"),
    ([USHER, "journal", "archive", "--level", "20", "--to", ".", "."], "1 to 19"),
    ([USHER, "journal", "restore", "."], "--from"),
    ([USHER, "journal", "snapshot", "--keep", "1", "."], "2 to 32"),
    ([USHER, "journal", "snapshot", "--every", "0", "."], "1 to 86400"),
    ([USHER, "verify"], "usage"),
    ([USHER, "verify", "draw"], "usher verify draw"),
    ([USHER, "verify", "draw", "--user", "0", "x"], "--user"),
    ([USHER, "top", "stray"], "stray"),
    ([USHER, "token"], "usher token"),
    ([USHER, "token", "mint", "--event", "65536"], "1 to 65535"),
    ([USHER, "work", "solve", "--bits", "41"], "1 to 40"),
    ([USHERD, "--set", "port.public.udp_port=0"], "udp_port"),
    ([USHERD, "--set", "cores.nonsense=1"], "nonsense"),
    ([USHERD, "stray"], "stray"),
    (["scripts/gen-venues", "custom", "--seats", "0", "--row-length", "1", "--out", "x"], "--seats"),
    (["scripts/gen-venues", "custom", "--seats", "1", "--row-length", "1", "--area", "-1", "--out",
      "x"], "--area"),
    (["scripts/demo", "--rate", "x"], "--rate"),
    (["scripts/demo", "--rate", "0"], "seconds"),
    (["scripts/test", "--suite", "nonsense"], "--suite"),
]

count = failed = 0


def check(name, good, why=""):
    global count, failed
    count += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {count} - {name}", flush=True)
    if not good:
        print(f"# {why}", flush=True)


def run(command):
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60, env={**os.environ, "USHER_SOCKET": "/nonexistent/socket"})


def scripts():
    for path in sorted([*(ROOT / "scripts").iterdir(), ROOT / "tests/models/run",
                        ROOT / "tests/mutants/run"]):
        if path.is_file() and os.access(path, os.X_OK):
            yield [str(path.relative_to(ROOT))]


for words in [*COMMANDS, *scripts()]:
    called = " ".join(words).replace(str(BUILD) + "/", "")
    done = run([*words, "--help"])
    check(f"{called} --help",
          done.returncode == 0 and "usage" in done.stdout.lower() and done.stderr == "",
          f"status {done.returncode}, {done.stdout[:80]!r}, {done.stderr[:80]!r}")
    done = run([*words, *WANTS.get(words[0].rsplit("/", 1)[-1], []), "--no-such-option"])
    program = words[0].rsplit("/", 1)[-1]
    check(f"{called} --no-such-option",
          done.returncode == 2 and done.stdout == "" and "no-such-option" in done.stderr and
          program in done.stderr,
          f"status {done.returncode}, {done.stdout[:80]!r}, {done.stderr[:200]!r}")
for words, names in WRONG:
    done = run(words)
    check(" ".join(words).replace(str(BUILD) + "/", ""),
          done.returncode == 2 and done.stdout == "" and names in done.stderr,
          f"status {done.returncode}, {done.stdout[:80]!r}, {done.stderr[:200]!r}")
print(f"1..{count}")
sys.exit(failed != 0)
