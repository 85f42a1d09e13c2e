#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a command of which all processes stand still now and then, as on a machine that is busy elsewhere.

usage: tests/system/standstill.py [--mean SECONDS] [--longest SECONDS] [--seed N] COMMAND...

What took less than a moment must not be relied on: a test that wants to do something before a time, a tool that reads
twice what a daemon changes in between. Every --mean seconds (6), by chance, the command, its children and the daemons
it left behind stop together: mostly for a few hundred milliseconds, two times in five for one to --longest seconds
(2.5). Clocks go on, and so does the rest of the machine. What its own parent had stopped stays stopped. Exit status:
the command's; the last line on stderr says how often it stood still. Example, half an hour:

    tests/system/standstill.py scripts/test --no-setup --suite crash --suite system
"""
import argparse
import ctypes
import os
import random
import signal
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36


def processes():
    """Of the machine. ret: {pid: (state, parent)}."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
        except OSError:
            continue
        found[int(name)] = (state.decode(), int(parent))
    return found


def descendants(pid):
    """ret: {pid: state} of what `pid` started, and what that started."""
    all_of_them, mine, more = processes(), {}, [pid]
    while more:
        more = [child for child, (_, parent) in all_of_them.items() if parent in more]
        mine.update((child, all_of_them[child][0]) for child in more)
    return mine


def tell(pid, what):
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        pass


def stop_all():
    """Parents before children, until none is new. ret: those that were stopped here."""
    stopped, seen = [], set()
    while True:
        new = {pid: state for pid, state in descendants(os.getpid()).items() if pid not in seen}
        if not new:
            return stopped
        for pid, state in new.items():
            seen.add(pid)
            if state not in "TtZX":
                tell(pid, signal.SIGSTOP)
                stopped.append(pid)


def reap(child):
    """Daemons that ended are ours to bury. ret: exit status of the command, None while it runs."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == child:
            return os.waitstatus_to_exitcode(status)
        if pid == 0:
            return None


def main():
    parser = argparse.ArgumentParser(usage=__doc__.partition("usage: ")[2].partition("\n")[0],
                                     description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mean", type=float, default=6)
    parser.add_argument("--longest", type=float, default=2.5)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if not options.command or options.mean <= 0 or options.longest < 1:
        parser.error("COMMAND is wanted; SECONDS are more than 0, the longest 1 or more")
    seed = options.seed if options.seed is not None else random.SystemRandom().getrandbits(32)
    chance = random.Random(seed)
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        sys.exit(f"standstill: prctl(PR_SET_CHILD_SUBREAPER): {os.strerror(ctypes.get_errno())}")
    try:
        child = subprocess.Popen(options.command).pid
    except OSError as error:
        sys.exit(f"standstill: {options.command[0]}: {error.strerror}")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda what, _: tell(child, what))
    count, total, status = 0, 0.0, None
    due = time.monotonic() + chance.expovariate(1 / options.mean)
    while (status := reap(child)) is None:
        time.sleep(min(0.05, max(0, due - time.monotonic())))
        if time.monotonic() < due:
            continue
        began = time.monotonic()
        stopped = stop_all()
        time.sleep(chance.uniform(0.05, 0.4) if chance.random() < 0.6 else chance.uniform(1, options.longest))
        for pid in reversed(stopped):
            tell(pid, signal.SIGCONT)
        count, total = count + 1, total + time.monotonic() - began
        due = time.monotonic() + chance.expovariate(1 / options.mean)
    print(f"standstill: stood still {count} times, {total:.1f} s in all, --seed {seed}", file=sys.stderr, flush=True)
    sys.exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
