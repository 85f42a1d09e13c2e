# SPDX-License-Identifier: Apache-2.0
"""Checks the wire table: offsets gap-free and natural, numbers unique, enums known.

An error in the table stops the generator; nothing is guessed.
"""
import re

SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}


class TableError(Exception):
    """The table contradicts itself."""


def split_type(text: str) -> tuple[str, int]:
    """('u8', 4) for 'u8[4]', ('u32', 0) for 'u32'."""
    match = re.fullmatch(r"(u8|u16|u32|u64)(?:\[(\d+)\])?", text)
    if not match:
        raise TableError(f"unknown type {text!r}")
    return match[1], int(match[2] or 0)


def field_bytes(field: dict) -> int:
    base, count = split_type(field["type"])
    return SIZES[base] * (count or 1)


def check_struct(struct: dict, enums: set[str]) -> None:
    at = 0
    names = set()
    for field in struct["fields"]:
        where = f"{struct['name']}.{field['name']}"
        base, _ = split_type(field["type"])
        if field["at"] != at:
            raise TableError(f"{where}: at {field['at']}, expected {at}")
        if at % SIZES[base]:
            raise TableError(f"{where}: offset {at} is not natural for {base}")
        if field["name"] in names:
            raise TableError(f"{where}: twice")
        if "enum" in field and field["enum"] not in enums:
            raise TableError(f"{where}: unknown enum {field['enum']}")
        names.add(field["name"])
        at += field_bytes(field)
    if at != struct["size"]:
        raise TableError(f"{struct['name']}: fields fill {at} bytes of {struct['size']}")


def check_enum(enum: dict) -> None:
    seen: dict[int, str] = {}
    for value in enum["values"] + enum.get("budget", []):
        if value["value"] in seen:
            raise TableError(f"{enum['name']}: {value['name']} and {seen[value['value']]} are both {value['value']}")
        if value["value"] >= 1 << (8 * SIZES[enum["type"]]):
            raise TableError(f"{enum['name']}.{value['name']}: too large")
        seen[value["value"]] = value["name"]


def load(wire: dict) -> dict:
    """Returns the checked table."""
    enums = {enum["name"] for enum in wire["enum"]}
    for enum in wire["enum"]:
        check_enum(enum)
    for struct in wire["struct"]:
        check_struct(struct, enums)
    for const in wire["const"]:
        if const["value"] >= 1 << (8 * SIZES[const["type"]]):
            raise TableError(f"{const['name']}: does not fit {const['type']}")
    wire["constants"] = {const["name"]: const["value"] for const in wire["const"]}
    return wire
