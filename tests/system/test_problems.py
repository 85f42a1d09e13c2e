#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each code that control/ answers a problem with is in control/http/problem.c, and each there is answered.

usage: test_problems.py
"""
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(os.path.dirname(os.path.abspath(__file__))).parents[1]
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import usher_box  # noqa: E402

CALL = re.compile(r'\bush_http_problem\s*\(\s*[\w>.-]+\s*,\s*([^,]+?)\s*,\s*("?)([a-z0-9_]+)\2', re.S)
ROW = re.compile(r'\{\s*"([a-z0-9_]+)",\s*"([^"]+)"\s*\}')


def answered(text):
    """Codes written at the call itself. Those that come out of a table of a module are not seen."""
    return {code for _, quote, code in CALL.findall(text) if quote}


def rows():
    text = (ROOT / "control/http/problem.c").read_text()
    return ROW.findall(text[text.index("problems[]"):])


def test_the_reader_finds_codes():
    found = answered('ush_http_problem(request, 404, "a_b", NULL, "x");\n'
                     'ush_http_problem(\n\tcall->request, status,\n\t"c", more, "y %s", code);'
                     'ush_http_problem(r, 400, code, NULL, "z")')
    assert found == {"a_b", "c"}, found


def test_every_code_has_a_title():
    known = {code for code, _ in rows()}
    assert len(known) > 10
    for path in sorted((ROOT / "control").rglob("*.c")):
        missing = answered(path.read_text()) - known
        assert not missing, f"{path.relative_to(ROOT)}: {sorted(missing)} must get a row in control/http/problem.c"


def test_codes_are_listed_once_with_titles_of_their_own():
    codes = [code for code, _ in rows()]
    assert len(codes) == len(set(codes)), sorted(c for c in codes if codes.count(c) > 1)
    everything = "".join(p.read_text() for p in (ROOT / "control").rglob("*.c") if p.name != "problem.c")
    unused = [code for code in codes if f'"{code}"' not in everything]
    # Refusals of the framing name themselves.
    assert not unused, f"nothing answers with {unused}"


def main():
    tap = usher_box.Tap()
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            tap.run(test)
    tap.end()


main()
