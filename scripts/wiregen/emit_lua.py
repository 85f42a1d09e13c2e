# SPDX-License-Identifier: Apache-2.0
"""The Wireshark dissector: tables in front of the code of usher.lua.in."""
from . import contract as contracts
from .table import TableError, field_bytes, split_type
from .template import fill

STRUCTS = ("request", "reply", "extension_header", "leg", "booking", "room_entry", "room_open", "room_draw",
           "room_status")
# Fields that read better in hexadecimal: magic numbers, masks and opaque words.
HEX = {"magic", "hold", "mask", "cookie", "tag", "nonce"}


def quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def entry(field: dict) -> str:
    base, count = split_type(field["type"])
    parts = [f"at = {field['at']}", f"bytes = {field_bytes(field)}", f"name = {quote(field['name'])}"]
    if count:
        # Words of an array are shown as they stand.
        shown = "address" if (base, count, field["name"]) == ("u8", 16, "address") else "bytes"
        parts.append(f'type = "{shown}"')
    else:
        parts += [f"type = {quote(base)}", f"base = base.{'HEX' if field['name'] in HEX else 'DEC'}"]
    if "enum" in field:
        parts.append(f"enum = {quote(field['enum'])}")
    return "{" + ", ".join(parts) + f", doc = {quote(field['doc'])}}},"


def emit_constants(wire: dict) -> str:
    """Those a Lua number holds exactly, which leaves out the magic numbers of files."""
    return "\n".join(f"\t{name} = {value}," for name, value in wire["constants"].items() if value < 1 << 53)


def emit_enums(wire: dict) -> str:
    lines = []
    for enum in wire["enum"]:
        lines.append(f"\t{enum['name']} = {{")
        lines += [f"\t\t[{value['value']}] = {quote(value['name'])}," for value in enum["values"]]
        lines.append("\t},")
    return "\n".join(lines)


def check_shared(wire: dict) -> None:
    """Requests and replies share filter names, so a shared name must mean one type."""
    seen: dict[str, tuple] = {}
    for name in ("request", "reply"):
        for field in contracts.find(wire, "struct", name)["fields"]:
            kind = (field["type"], field.get("enum"))
            if seen.setdefault(field["name"], kind) != kind:
                raise TableError(f"lua: {field['name']} has two types")


def emit_structs(wire: dict) -> str:
    check_shared(wire)
    lines = []
    for name in STRUCTS:
        struct = contracts.find(wire, "struct", name)
        lines.append(f"\t{name} = {{bytes = {struct['size']}, fields = {{")
        lines += [f"\t\t{entry(field)}" for field in struct["fields"]]
        lines.append("\t}},")
    return "\n".join(lines)


def emit_value(body: dict) -> list:
    lines, shift = [], 0
    for part in body["value"]:
        lines.append(f"\t\t\t{{name = {quote(part['name'])}, shift = {shift}, bits = {part['bits']}, "
                     f'type = "u32", base = base.DEC, doc = {quote(part["doc"])}}},')
        shift += part["bits"]
    return lines


def emit_bodies(wire: dict, contract: dict) -> str:
    lines = []
    for value in contracts.find(wire, "enum", "extension")["values"]:
        body = contract["bodies"][value["name"]]
        lines.append(f"\t[{value['value']}] = {{name = {quote(value['name'])}, direction = {quote(value['in'])},")
        lines.append(f"\t\tprefix = {quote('usher.' + value['name'].lower() + '.')}, "
                     f"bytes = {contracts.fixed_bytes(body)},")
        if "value = 0." in value["doc"]:
            lines.append("\t\tvalue_is_zero = true,")
        if "repeat" in body:
            lines.append(f"\t\trepeats = {quote(body['repeat'])},")
        lines += ["\t\tvalue = {", *emit_value(body), "\t\t},"]
        lines += ["\t\tfields = {", *(f"\t\t\t{entry(field)}" for field in body["fields"]), "\t\t}},"]
    return "\n".join(lines)


def emit_uses(wire: dict, contract: dict) -> str:
    lines = []
    for name, value in contracts.names_of(wire, "op").items():
        operation = contract["operations"][name]
        fields = [*contract["envelope"], *operation["uses"], *operation["optional"]]
        lines.append(f"\t[{value}] = {{" + ", ".join(f"{field} = true" for field in fields) + "},")
    return "\n".join(lines)


def emit(wire: dict) -> str:
    contract = contracts.load(wire)
    return fill("usher.lua.in", {
        "UDP_PORT": lambda: str(wire["protocol"]["udp_port"]),
        "CONSTANTS": lambda: emit_constants(wire),
        "ENUMS": lambda: emit_enums(wire),
        "STRUCTS": lambda: emit_structs(wire),
        "BODIES": lambda: emit_bodies(wire, contract),
        "USES": lambda: emit_uses(wire, contract),
    })
