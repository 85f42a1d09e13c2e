#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random moments, on a real disk with io_uring: is everything acknowledged still there?

usage: test_kill.py CHILD [COUNT] [SEED] [DIRECTORY]

CHILD is the program crash_child. It is killed COUNT times (50), some milliseconds after it was
started (also while it recovers) or in full service, and started again on the same directory. After
each kill the journal is replayed and audited, and every reply that had left is looked up. Prints
TAP; USH_SEED repeats a run's choices, though not the kernel's.
"""
import json
import os
import pathlib
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ENTRY = 128


def read_until(pipe, deadline, entries):
    """Collects what the child says until `deadline`. ret: False once it has closed the pipe."""
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return True
        ready, _, _ = select.select([pipe], [], [], left)
        if ready:
            data = os.read(pipe.fileno(), 1 << 16)
            if not data:
                return False
            entries += data


def one_life(child, place, number, seconds, serving, signal_number):
    """Runs the child for `seconds`, counted from its first answer if `serving`, and ends it.
    ret: (exit status, what it acknowledged, stderr)."""
    with open(place / "stderr", "w+b") as errors:
        process = subprocess.Popen(
            [child, "run", str(place / "journal"), str(number), str(place / "acks")],
            stdout=subprocess.PIPE, stderr=errors, bufsize=0)
        entries = bytearray()
        if serving:
            select.select([process.stdout], [], [], 30)
        if read_until(process.stdout, time.monotonic() + seconds, entries):
            process.send_signal(signal_number)
            while read_until(process.stdout, time.monotonic() + 30, entries):
                pass
        status = process.wait(30)
        process.stdout.close()
        errors.seek(0)
        # An entry that the kill cut short was not acknowledged.
        del entries[len(entries) - len(entries) % ENTRY:]
        return status, entries, errors.read().decode(errors="replace").strip()


def check(child, place):
    """ret: (what the replay found, None) or (None, why not)."""
    done = subprocess.run([child, "check", str(place / "journal"), str(place / "acks")],
                          capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        return None, "check ended with %d: %s" % (done.returncode, done.stderr.strip())
    return json.loads(done.stdout), None


def torture(child, place, count, chance):
    """Yields None for each kill survived, or what went wrong and stops; last, the sums."""
    sums = {"kills": 0, "while_starting": 0, "torn_tails": 0}
    for number in range(1, count + 1):
        serving = chance.random() < 0.7
        seconds = chance.uniform(0, 0.25)
        status, entries, errors = one_life(child, place, number, seconds, serving, signal.SIGKILL)
        with open(place / "acks", "ab") as acks:
            acks.write(entries)
        if status != -signal.SIGKILL:
            yield "the child ended by itself with %d: %s" % (status, errors)
            return
        sums["kills"] += 1
        sums["while_starting"] += not entries
        if not (place / "journal" / "box").exists():
            yield None
            continue
        found, why = check(child, place)
        if why is not None:
            yield "after kill %d: %s" % (number, why)
            return
        sums["torn_tails"] += found["torn_blocks"] != 0
        sums.update(found)
        yield None
    yield sums


def main():
    child = os.path.abspath(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 50
    seed = int(sys.argv[3] if len(sys.argv) > 3 else os.environ.get("USH_SEED", "1"))
    place = pathlib.Path(tempfile.mkdtemp(
        prefix="usher-kill-", dir=sys.argv[4] if len(sys.argv) > 4 else None))
    chance = random.Random(seed)
    print("TAP version 13\n# USH_SEED=%d" % seed)
    failed, number = False, 0
    for result in torture(child, place, count, chance):
        if isinstance(result, dict):
            print("# " + json.dumps(result))
            continue
        number += 1
        print("%s %d - kill" % ("ok" if result is None else "not ok", number))
        if result is not None:
            print("# %s\n# kept: %s" % (result, place))
            failed = True
    if not failed:
        number += 1
        status, entries, errors = one_life(child, place, count + 1, 0.5, True, signal.SIGTERM)
        with open(place / "acks", "ab") as acks:
            acks.write(entries)
        found, why = check(child, place)
        failed = status != 0 or found is None or not found["clean"]
        print("%s %d - a clean end" % ("not ok" if failed else "ok", number))
        if failed:
            print("# status %d: %s %s %s\n# kept: %s" % (status, errors, why, found, place))
    print("1..%d" % number)
    if not failed:
        shutil.rmtree(place)
    return failed


if __name__ == "__main__":
    sys.exit(main())
