#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every test file is run by some test of the build: one that is not registered passes for ever.

usage: test_registered.py BUILD-FOLDER

A file of tests/system, tests/style or tests/saga counts if a test's command names it; one in C if a source of its name
belongs to a program that a test starts or is given. What only a condition of meson leaves out is found like that.
"""
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(sys.argv[1]).resolve()
C_FOLDERS = ("unit", "property", "crash", "explore")
# Why it needs no test of its own.
EXCEPTIONS = {}


def introspect(what):
    return json.loads(subprocess.run(["meson", "introspect", what, str(BUILD)], check=True, stdout=subprocess.PIPE,
                                     text=True).stdout)


def missing(files, tests, targets):
    """ret: those of files that no test runs."""
    words = {pathlib.Path(word).resolve() for test in tests for word in test["cmd"] if "/" in word}
    sources = set()
    for target in targets:
        if any(pathlib.Path(name).resolve() in words for name in target["filename"]):
            for group in target["target_sources"]:
                sources |= {pathlib.Path(name).resolve() for name in group.get("sources", [])}
    return [file for file in files if file not in words and file not in sources]


def main():
    tests, targets = introspect("--tests"), introspect("--targets")
    files = [file for folder in ("system", "style") for file in sorted((ROOT / "tests" / folder).glob("test_*.py"))]
    files += [file for folder in C_FOLDERS for file in sorted((ROOT / "tests" / folder).glob("test_*.c"))]
    lost = [file.relative_to(ROOT) for file in missing(files, tests, targets)]
    lost = [str(file) for file in lost if str(file) not in EXCEPTIONS]
    print("TAP version 13")
    print(("not ok" if lost else "ok") + " 1 - each test file is run by a test")
    for file in lost:
        print(f"# {file} is run by no test of this build")
    # One that nobody runs must be seen.
    found = missing([ROOT / "tests/system/test_nobody_runs_me.py", *files], tests, targets)
    seen = ROOT / "tests/system/test_nobody_runs_me.py" in found
    print(("ok" if seen else "not ok") + " 2 - the search finds what it should")
    print("1..2")
    return bool(lost) or not seen


if __name__ == "__main__":
    sys.exit(main())
