#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every request for memory that usherd and usher make at their start fails in turn.

usage: test_start_memory.py BUILD FAIL-LIBRARY

usherd is started with the first failing, then the second, and so on until a start needs no more.
Each must end by itself with a message that names what could not be had and exit status 1, never by
a signal; or, for what OPTIONAL lists, serve all the same. After them all the state directory serves.
`usher verify` and `usher event compile` the same.

What is left out, because our code cannot answer for it: what EAL takes inside rte_eal_init (it panics
or returns an error by itself), and what liburing, OpenSSL, inih, jansson and libc take for themselves.
"""
import collections
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
from usher_box import Box, ON_SALE, Tap, run, venue_image  # noqa: E402

BUILD, LIBRARY = sys.argv[1], sys.argv[2]
USHERD = os.path.join(BUILD, "dataplane", "port", "usherd")
USHER = os.path.join(BUILD, "tools", "usher")
VENUE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "venues", "club.json")
SETS = ("memory.prefault=background", "memory.hugepages=auto", "journal.segment_mb=1",
        "journal.spares=1", "limits.holds=4096", "limits.users=4096", "limits.answers=4096",
        "limits.rows=4096", "limits.acks=1024", "limits.log_blocks=64")
# Without these a start goes on, and why that is right.
OPTIONAL = {
    "huge_free_bytes": "no huge pages are seen; ordinary ones serve",
    "log_redirect": "DPDK's lines keep DPDK's form",
    "ush_memory_map": "no huge pages; ordinary ones serve",
    "prefault_start": "pages come as they are touched",
    "ush_port_pool_make": "the other kind of pool serves",
    "fill_zero": "of a spare that housekeeping makes: said as journal_trouble, tried again",
    "reader_start": "replay reads by itself",
}
CALLS_MAX = 400
WORDS = ("memory", "cannot", "thread", "room", "buffers", "open")


def place(log, program):
    """ret: (name of the call that failed, function it was in), or None if none did."""
    if not os.path.exists(log):
        return None
    with open(log) as file:
        name, offset = file.read().split()
    os.unlink(log)
    # -i: the innermost function first; what was inlined counts as itself.
    where = run("addr2line", "-f", "-i", "-e", program, offset).stdout.split("\n")
    return name, where[0], os.path.basename(where[1]).split(" ")[0]


def ready_or_end(box, before):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if len(box.events("ready")) > before:
            return "ready"
        if box.process.poll() is not None:
            return box.process.returncode
        time.sleep(0.01)
    return "hangs"


def one_start(number, state, folder):
    """ret: place of the failure (or None), what became of it, the words it said."""
    log = os.path.join(folder, f"failed-{number}")
    box = Box(BUILD, state=state, sets=SETS)
    box.command = ["env", f"LD_PRELOAD={LIBRARY}", f"USH_FAIL_AT={number}", f"USH_FAIL_LOG={log}",
                   *box.command, "--", "--no-telemetry"]
    box.start(wait=False)
    became = ready_or_end(box, 0)
    status = box.stop(signal.SIGTERM) if became == "ready" else became
    with open(box.log_path, errors="replace") as file:
        said = file.read()
    why = [e["why"] for e in box.events("start_failed")]
    box.remove()
    return place(log, USHERD), became, status, why[-1] if why else "", said


def judge(found, became, status, why, said):
    """ret: None, or what is wrong."""
    name, function, where = found
    what = f"{name} in {function} ({where})"
    if became == "ready":
        if function not in OPTIONAL:
            return f"{what} failed, and the start went on"
        return None if status == 0 else f"{what}: stop ended with {status}"
    if became != 1:
        return f"{what}: ended with {became}: {said[-300:]}"
    if not any(word in why for word in WORDS) or "out of memory" in why[:14]:
        return f"{what}: says only: {why!r} {said[-200:]}"
    return None


def test_usherd_start():
    folder = tempfile.mkdtemp(prefix="usher-memory-")
    wrong, outcomes = [], collections.Counter()
    try:
        number = 0
        while number < CALLS_MAX:
            number += 1
            state = os.path.join(folder, f"state-{number}")
            found, became, status, why, said = one_start(number, state, folder)
            shutil.rmtree(state, ignore_errors=True)
            if found is None:
                assert became == "ready", f"without a failure: {became} {said[-300:]}"
                break
            bad = judge(found, became, status, why, said)
            outcomes["served" if became == "ready" else "refused"] += 1
            if bad:
                wrong.append(bad)
            elif became != "ready":
                print(f"# {found[0]} in {found[1]} ({found[2]}): {why}")
        assert number > 10, number
        print(f"# {number - 1} requests for memory: {dict(outcomes)}", flush=True)
        for bad in wrong:
            print("# " + bad.replace("\n", "\n# "))
        assert not wrong, f"{len(wrong)} of {number - 1} end badly"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_usherd_restart():
    """The same with a journal that has an event in it; what the refused starts leave behind still
    starts."""
    folder = tempfile.mkdtemp(prefix="usher-memory-")
    state = os.path.join(folder, "state")
    wrong, number = [], 0
    try:
        box = Box(BUILD, state=state, sets=SETS).start()
        control = box.control()
        assert control.load(1, venue_image()).status == "OK"
        assert control.call("EVENT_STATUS", event=1, arg=ON_SALE).status == "OK"
        control.close()
        assert box.stop() == 0
        box.remove()
        while number < CALLS_MAX:
            number += 1
            found, became, status, why, said = one_start(number, state, folder)
            if found is None:
                assert became == "ready", f"without a failure: {became} {said[-300:]}"
                break
            bad = judge(found, became, status, why, said)
            if bad:
                wrong.append(bad)
        for bad in wrong:
            print("# " + bad.replace("\n", "\n# "))
        assert not wrong and number > 10, f"{len(wrong)} of {number - 1} end badly"
        print(f"# {number - 1} requests for memory", flush=True)
        done = run(USHER, "verify", "--json", state, check=False)
        assert done.returncode == 0, done.stdout
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def each_failure(folder, *arguments):
    """Runs `usher` with each request for memory failing. ret: how many, what went wrong."""
    wrong = []
    normal = run(USHER, *arguments).stdout
    for number in range(1, CALLS_MAX):
        log = os.path.join(folder, f"tool-{number}")
        done = subprocess.run(
            [USHER, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "LD_PRELOAD": LIBRARY, "USH_FAIL_AT": str(number),
                 "USH_FAIL_LOG": log})
        found = place(log, USHER)
        if found is None:
            assert done.returncode == 0, done.stderr
            return number - 1, wrong
        if done.returncode == 0 and done.stdout == normal:
            continue  # it went another way, to the same end
        if done.returncode not in (1, 2) or not (done.stderr.strip() or done.stdout.strip()):
            wrong.append(f"{found}: ended with {done.returncode}: {done.stderr[-200:]!r}")
    return CALLS_MAX, ["no end"]


def test_usher_commands():
    folder = tempfile.mkdtemp(prefix="usher-memory-")
    state = os.path.join(folder, "state")
    try:
        box = Box(BUILD, state=state, sets=SETS).start()
        control = box.control()
        assert control.load(1, venue_image()).status == "OK"
        control.close()
        assert box.stop() == 0
        box.remove()
        problems = []
        for arguments in (("event", "compile", VENUE, "-o", os.path.join(folder, "image")),
                          ("verify", state)):
            count, wrong = each_failure(folder, *arguments)
            print(f"# usher {arguments[0]}: {count} requests for memory")
            assert count > 1
            problems += wrong
        for bad in problems:
            print("# " + bad)
        assert not problems, f"{len(problems)} end badly"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    if shutil.which("addr2line") is None:
        print("1..0 # SKIP needs addr2line")
        return
    tap = Tap()
    for test in (test_usherd_start, test_usherd_restart, test_usher_commands):
        tap.run(test)
    tap.end()


if __name__ == "__main__":
    main()
