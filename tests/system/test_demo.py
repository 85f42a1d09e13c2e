#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scripts/demo from the outside: what it prints, what it leaves behind, and whether it can fail.

usage: test_demo.py BUILD
"""
import copy
import glob
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from usher_box import Tap

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DEMO, REPORT = ROOT / "scripts/demo", ROOT / "scripts/report-demo"
BUILD = sys.argv[1]
NUMBERS = ("asked", "answered", "granted", "refused", "lost", "double_sold", "requests_per_s",
           "p50_us", "p99_us", "p999_us", "recovery_ms")
# What a sound run leaves for the report; each test of a fault changes one thing.
SOUND = {
    "load.json": {
        "asked": 100, "answered": 100, "granted": 40, "granted_seats": 41, "released": 10,
        "read": 5, "refused_total": 45, "refused": {"TAKEN": 45}, "lost": 0, "unanswered": 0,
        "unsent": 0, "double_granted": 0, "repeats": {"asked": 1, "forgotten": 0, "changed": 0},
        "malformed": {"sent": 3, "answered": 2, "accepted": 0}, "requests_per_s": 10.5,
        "seconds": 9.5, "rate": 10, "p50_us": 1.5, "p99_us": 2.5, "p999_us": 3.5, "max_us": 4.5,
        "latency": {"granted": {"p50_us": 1, "p99_us": 2, "p999_us": 3, "max_us": 4}},
        "before_outage": {"p50_us": 1, "p99_us": 2, "p999_us": 3, "max_us": 4}, "outages": 1},
    "verify.json": {"seats": 100, "free": 50, "house": 10, "held": 10, "sold": 30, "lost": 0,
                    "double_sold": 0, "acks_checked": 80, "sound": True, "problem": ""},
    "confirm.json": {"live": 30, "asked": 30, "confirmed": 30, "refused": {}},
    "run.json": {"users": 9, "kill_after_s": 2, "kill_to_ready_ms": 7, "usherd_status": 0,
                 "load_status": 0, "ready": {"recovery_ms": 5, "records": 6, "loops": 1,
                                             "journal": "inline", "hugepages": "no"}},
}


def report(files):
    """ret: exit status, figures, what it complained about."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            pathlib.Path(folder, name).write_text(json.dumps(content))
        out = pathlib.Path(folder, "out")
        done = subprocess.run([REPORT, "--json", out, folder], capture_output=True, text=True,
                              timeout=30)
        return done.returncode, json.loads(out.read_text()), done.stderr


# Goal: a report that can say no. Method: a sound run passes; each fault alone does not.
def test_report_finds_each_fault():
    status, figures, complaints = report(SOUND)
    assert (status, complaints) == (0, ""), complaints
    assert figures["lost"] == figures["double_sold"] == 0 and figures["refused"] == 45
    for path, value, figure in (
            ("load.json/lost", 1, "lost"), ("load.json/unanswered", 1, "lost"),
            ("verify.json/lost", 1, "lost"), ("verify.json/double_sold", 1, "double_sold"),
            ("load.json/double_granted", 1, "double_sold"), ("verify.json/sound", False, None),
            ("load.json/read", 6, None), ("load.json/asked", 101, None),
            ("verify.json/acks_checked", 79, None), ("verify.json/free", 49, None),
            ("load.json/repeats/changed", 1, None), ("load.json/malformed/accepted", 1, None),
            ("load.json/outages", 0, None), ("run.json/usherd_status", 134, None),
            ("run.json/load_status", 1, None)):
        files = copy.deepcopy(SOUND)
        *keys, last = path.split("/")
        place = files
        for key in keys:
            # The name of a file has no slash, so the first key is whole.
            place = place[key]
        place[last] = value
        status, figures, complaints = report(files)
        assert status == 1 and complaints, path
        assert not figures["sound"], path
        assert figure is None or figures[figure] == 1, path


def demo(*options):
    return subprocess.Popen([DEMO, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, start_new_session=True,
                            env={**os.environ, "USH_BUILD": BUILD},
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def leftovers():
    return set(glob.glob("/var/tmp/usher-demo.*"))


# Goal: the sale survives, and stdout is one line that a machine can read.
def test_demo_short_ends_with_figures():
    before = leftovers()
    process = demo("--short", "--json")
    out, progress = process.communicate(timeout=240)
    assert process.returncode == 0, progress[-3000:]
    assert out.count("\n") == 1 and out.endswith("\n"), out
    figures = json.loads(out)
    for name in NUMBERS:
        assert isinstance(figures[name], (int, float)) and not isinstance(figures[name], bool), name
    assert figures["lost"] == figures["double_sold"] == 0
    assert figures["asked"] == figures["answered"] > 1_500_000
    assert figures["granted"] > 90_000 and figures["confirmed"] == 20_000
    assert "kill -9 usherd" in progress
    assert leftovers() <= before
    print(f"# {out}", end="")


# Goal: a signal ends it and everything it started.
def test_demo_interrupted_cleans_up(number):
    before = leftovers()
    process = demo("--short")
    seen = ""
    # In the middle of the sale: after the second line of progress.
    while seen.count("answered") < 2:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    assert len(leftovers() - before) == 1
    started = time.monotonic()
    os.killpg(process.pid, number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number, process.returncode
    print(f"# ended after {time.monotonic() - started:.1f} s")
    assert leftovers() <= before
    assert subprocess.run(["pgrep", "-g", str(process.pid)], stdout=subprocess.DEVNULL).returncode == 1


# Goal: a wrong command line is said to be one.
def test_demo_refuses_nonsense():
    for options in (("--nonsense",), ("--rate", "x"), ("--rate",), ("--requests", "5")):
        process = demo(*options)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 2 and "--help" in said, (options, said)


def main():
    tap = Tap()
    for test, *arguments in ((test_report_finds_each_fault,), (test_demo_refuses_nonsense,),
                             (test_demo_interrupted_cleans_up, signal.SIGINT),
                             (test_demo_interrupted_cleans_up, signal.SIGTERM),
                             (test_demo_short_ends_with_figures,)):
        tap.run(test, *arguments)
    tap.end()


if __name__ == "__main__":
    main()
