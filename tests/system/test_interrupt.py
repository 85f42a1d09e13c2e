#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A signal in the middle of a script ends it and all that it started, and leaves no file. The demo
has a test of its own.

usage: test_interrupt.py BUILD-FOLDER
"""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = os.path.abspath(sys.argv[1])
# (name, command; FOLDER is where it works, programs it needs, what is running before the signal)
SCRIPTS = (
    ("models", ["tests/models/run", "payment"], ("spin", "gcc"), "pan"),
    ("bench", ["scripts/bench", "--build", BUILD, "--work", "FOLDER", "--only", "events", "--events",
               "200", "--rounds", "50"],
     ("dpdk-testpmd", "redis-check-rdb", "redis-benchmark", "taskset"), "usherd"),
)

count = failed = 0


def check(name, why):
    global count, failed
    count += 1
    failed += bool(why)
    print(f"{'not ok' if why else 'ok'} {count} - {name}", flush=True)
    if why:
        print(f"# {why}", flush=True)


def processes(folder):
    """ret: {process id: name} of those whose command line or folder is in `folder`."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if folder in words or os.readlink(entry / "cwd").startswith(folder):
                found[int(entry.name)] = (entry / "comm").read_text().strip()
        except OSError:
            continue
    return found


def interrupt(command, name, number):
    """ret: what is wrong."""
    with tempfile.TemporaryDirectory(prefix="u-", dir="/var/tmp") as folder:
        script = subprocess.Popen([folder if word == "FOLDER" else word for word in command], cwd=ROOT,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, env={**os.environ, "TMPDIR": folder})
        end = time.monotonic() + 60
        while name not in processes(folder).values():
            if script.poll() is not None or time.monotonic() > end:
                script.kill()
                return f"{name} does not run: {script.communicate()[0].decode()[-300:]}"
            time.sleep(0.02)
        script.send_signal(number)
        try:
            output = script.communicate(timeout=60)[0].decode()
        except subprocess.TimeoutExpired:
            script.kill()
            return "it goes on for half a minute"
        # What it has ended may take a moment to be gone on a busy machine.
        end = time.monotonic() + 60
        while (left := processes(folder)) and time.monotonic() < end:
            time.sleep(0.02)
        files = os.listdir(folder)
        for process in left:
            os.kill(process, signal.SIGKILL)
        if script.returncode != 128 + number:
            return f"status {script.returncode}: {output[-300:]}"
        if left or files:
            return f"left behind: {left} {files}"
        return "Traceback" in output and output[-300:]


for what, words, needs, program in SCRIPTS:
    missing = [need for need in needs if shutil.which(need) is None]
    for number in (signal.SIGINT, signal.SIGTERM):
        if missing:
            count += 1
            print(f"ok {count} - {what} # SKIP no {missing[0]}")
        else:
            check(f"{what} {signal.Signals(number).name}", interrupt(words, program, number))
print(f"1..{count}")
sys.exit(failed != 0)
