# SPDX-License-Identifier: Apache-2.0
"""Fills the @PLACEHOLDERS@ of a template; a name that is missing or never used is an error."""
import pathlib
import re

from .table import TableError

PATTERN = re.compile(r"@([A-Z][A-Z0-9_]*(?::[A-Za-z0-9_]+)?)@")


def fill(name: str, make: dict) -> str:
    """The template `name` with @KEY@ replaced by make[KEY]() and @KEY:arg@ by make[KEY](arg)."""
    used = set()

    def replace(match: re.Match) -> str:
        key, _, argument = match[1].partition(":")
        if key not in make:
            raise TableError(f"{name}: unknown placeholder @{match[1]}@")
        used.add(key)
        return make[key](argument) if argument else make[key]()

    text = pathlib.Path(__file__).with_name(name).read_text(encoding="utf-8")
    text = PATTERN.sub(replace, text)
    if unused := set(make) - used:
        raise TableError(f"{name}: placeholders never used: {sorted(unused)}")
    return text
