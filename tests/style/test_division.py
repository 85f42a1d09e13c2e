#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Does the packet path divide?

usage: test_division.py COMPILER LIBRARY...

Disassembles the stage libraries (x86-64) and looks for division instructions outside the functions
that rules.DIVISION_ALLOWED names. Prints TAP. A function with a division in it is compiled first
and must be found. Skips where there is no objdump or the instruction set is another one.
"""
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import rules  # noqa: E402

EXAMPLE = "unsigned f(unsigned a, unsigned b);\nunsigned f(unsigned a, unsigned b)\n" \
    "{\n\treturn a / b;\n}\nunsigned g(unsigned a);\nunsigned g(unsigned a)\n" \
    "{\n\treturn a / 10;\n}\n"


def divisions(path):
    """Names of functions in an object or library that divide."""
    done = subprocess.run(["objdump", "-d", "--no-show-raw-insn", path],
                          capture_output=True, text=True, check=True)
    found, function = set(), "?"
    for line in done.stdout.split("\n"):
        match = re.match(r"[0-9a-f]+ <([\w.]+)>:", line)
        if match:
            # The compiler's own splits: f.part.0, f.cold, f.constprop.1.
            function = match.group(1).split(".")[0]
        elif re.search(r"\t(i?div[bwlq]?|v?div[sp][sd])\s", line):
            found.add(function)
    return found


def test_finds_example(compiler):
    with tempfile.TemporaryDirectory() as folder:
        source, out = pathlib.Path(folder, "example.c"), pathlib.Path(folder, "example.o")
        source.write_text(EXAMPLE, encoding="utf-8")
        subprocess.run([*compiler.split(), "-O2", "-c", str(source), "-o", str(out)], check=True)
        return divisions(str(out)) == {"f"}


def main():
    compiler, libraries = sys.argv[1], sys.argv[2:]
    print("TAP version 13")
    if shutil.which("objdump") is None or platform.machine() != "x86_64":
        print("1..0 # SKIP needs objdump and x86-64")
        return 0
    print("1..%d" % (len(libraries) + 1))
    good = test_finds_example(compiler)
    print("%s 1 - a division by a variable is found, one by a constant is none"
          % ("ok" if good else "not ok"))
    for number, library in enumerate(libraries, 2):
        found = divisions(library)
        bad = sorted(found - set(rules.DIVISION_ALLOWED))
        good = good and not bad
        print("%s %d - %s divides nowhere on the packet path" % (
            "not ok" if bad else "ok", number, pathlib.Path(library).name))
        for name in bad:
            print("# %s divides: make the divisor a constant or a power of two, or name the "
                  "function in DIVISION_ALLOWED of tests/style/rules.py with the reason" % name)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
