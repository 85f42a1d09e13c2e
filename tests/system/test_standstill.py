#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The tool that makes a command stand still: children and daemons stop together, what was stopped stays so, exit
statuses come through.

usage: test_standstill.py
"""
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from standstill import descendants  # noqa: E402
from usher_box import Tap  # noqa: E402

TOOL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "standstill.py")
# Notes the ends of all gaps of over 0.9 s in which it did not run, for 8 s.
WATCH = """
import sys, time
last, end = time.monotonic(), time.monotonic() + 8
with open(sys.argv[1], "a") as file:
    while last < end:
        time.sleep(0.01)
        now = time.monotonic()
        if now - last > 0.9:
            print(now, file=file, flush=True)
        last = now
"""


def stand(*arguments):
    return subprocess.run([sys.executable, TOOL, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False, timeout=120)


def test_child_and_daemon_stop_together():
    with tempfile.TemporaryDirectory() as folder:
        child, daemon = (os.path.join(folder, name) for name in ("child", "daemon"))
        # The daemon is nobody's child when its parent has ended.
        command = f"(setsid '{sys.executable}' -c '{WATCH}' {daemon} &); exec '{sys.executable}' -c '{WATCH}' {child}"
        done = stand("--mean", "0.5", "--seed", "4", "sh", "-c", command)
        assert done.returncode == 0, done
        count = int(re.fullmatch(r"standstill: stood still (\d+) times, [\d.]+ s in all, --seed 4\n", done.stderr)[1])
        with open(child, encoding="utf-8") as file:
            gaps = [float(line) for line in file]
        with open(daemon, encoding="utf-8") as file:
            also = [float(line) for line in file]
        assert gaps and count >= 1, (gaps, count)
        # A busy machine has gaps of its own, and the two do not begin in the same moment.
        assert any(abs(gap - other) < 0.5 for gap in gaps for other in also), (gaps, also)


def test_what_was_stopped_stays_so():
    with tempfile.TemporaryDirectory() as folder:
        told = os.path.join(folder, "told")
        command = f"(echo on >{told}) & kill -STOP $$; echo never"
        began = time.monotonic()
        tool = subprocess.Popen([sys.executable, TOOL, "--mean", "0.2", "--longest", "1", "sh", "-c", command],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(4)
        assert tool.poll() is None and os.path.exists(told), time.monotonic() - began
        # What it began before may be a zombie of it, since it buries nobody.
        (child, state), = ((child, state) for child, state in descendants(tool.pid).items() if state != "Z")
        assert state == "T", state
        os.kill(child, signal.SIGCONT)
        out, _ = tool.communicate(timeout=60)
        assert tool.returncode == 0 and out == "never\n", out


def test_statuses_come_through():
    assert stand("sh", "-c", "exit 7").returncode == 7
    assert stand("sh", "-c", "kill -9 $$").returncode == 137
    none = stand("/no/such/program")
    assert none.returncode == 1 and "No such file" in none.stderr, none
    assert stand().returncode == 2
    assert stand("--longest", "0.5", "true").returncode == 2


def main():
    tap = Tap()
    tap.run(test_child_and_daemon_stop_together)
    tap.run(test_what_was_stopped_stays_so)
    tap.run(test_statuses_come_through)
    tap.end()


if __name__ == "__main__":
    main()
