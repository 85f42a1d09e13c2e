# SPDX-License-Identifier: Apache-2.0
"""The protocol document: prose of protocol.md.in, tables and examples from here."""
from . import contract as contracts
from . import emit_vectors
from .table import TableError, field_bytes
from .template import fill

# Columns of an enum beyond value, name and meaning: key, heading.
EXTRA = {
    "op": [("class", "port")],
    "status": [("done", "done")],
    "extension": [("in", "in")],
}


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def table(head: list[str], rows: list[list]) -> str:
    lines = [head, ["-"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell(str(c)) for c in line) + " |" for line in lines)


def show(field: dict, value) -> str:
    """A field's value for a reader: hex where digits carry no quantity."""
    return f"{value:#x}" if field["name"] in ("hold", "mask", "cookie") else str(value)


class Markdown:
    """Makes the replacements of the template."""

    def __init__(self, wire: dict):
        self.wire = wire
        self.contract = contracts.load(wire)
        self.vectors = {vector["name"]: vector for vector in emit_vectors.build(wire)}

    def constant(self, name: str) -> str:
        if name not in self.wire["constants"]:
            raise TableError(f"protocol.md.in: unknown constant {name}")
        value = self.wire["constants"][name]
        return f"{value:#x}" if name.endswith("MAGIC") else f"{value:,}"

    def constants(self) -> str:
        rows = []
        for const in self.wire["const"]:
            digits = {"u8": 2, "u16": 4, "u32": 8, "u64": 16}[const["type"]]
            value = f"0x{const['value']:0{digits}x}" if const["name"].endswith("MAGIC") else const["value"]
            rows.append([const["name"], const["type"], value, const.get("unit", ""), const["doc"]])
        return table(["name", "type", "value", "unit", "meaning"], rows)

    def enum(self, name: str) -> str:
        enum = contracts.find(self.wire, "enum", name)
        extra = EXTRA.get(name, [])
        rows = []
        for value in enum["values"]:
            cells = {key: str(value[key]) for key, _ in extra}
            if name == "op":
                cells["class"] = "control" if value["class"] == "privileged" else "both"
            if name == "status":
                cells["done"] = "yes" if value["done"] else "no"
            rows.append([value["value"], value["name"], *cells.values(), value["doc"]])
        head = table(["value", "name", *(heading for _, heading in extra), "meaning"], rows)
        return f"### Enum `{name}` ({enum['type']})\n\n{enum['doc']}\n\n{head}"

    def struct(self, name: str) -> str:
        struct = contracts.find(self.wire, "struct", name)
        rows = []
        for field in struct["fields"]:
            text = field["doc"] + (f" Enum {field['enum']}." if "enum" in field else "")
            rows.append([field["at"], field_bytes(field), field["type"], field["name"], field.get("unit", ""), text])
        head = table(["offset", "bytes", "type", "field", "unit", "meaning"], rows)
        return f"### Structure `{name}` ({struct['size']} bytes)\n\n{struct['doc']}\n\n{head}"

    def body(self, value: dict) -> str:
        """One extension: its text, the parts of `value`, its bytes."""
        body = self.contract["bodies"][value["name"]]
        lines = [f"#### Extension `{value['name']}` (type {value['value']}, in {value['in']})", "", value["doc"], ""]
        if body["value"]:
            rows, shift = [], 0
            for part in body["value"]:
                rows.append([f"{shift} to {shift + part['bits'] - 1}", part["name"], part["doc"]])
                shift += part["bits"]
            lines += [table(["bits of value", "name", "meaning"], rows), ""]
        rows = [[f["at"], field_bytes(f), f["type"], f["name"], f.get("unit", ""), f["doc"]] for f in body["fields"]]
        repeat = {
            "leg": ["16 x value", "leg[]", "legs", "", "Structure leg, `value` times."],
            "booking": ["48 x value", "booking[]", "bookings", "", "Structure booking, `value` times."],
            "room_entry": ["16 x value", "room_entry[]", "places", "", "Structure room_entry, `value` times."],
            "room_open": [192, "room_open", "opened", "", "Structure room_open."],
            "room_draw": [144, "room_draw", "drawn", "", "Structure room_draw."],
            "room_status": [96, "room_status", "room", "", "Structure room_status."],
            "u64": ["8 x rows", "u64[]", "masks", "", "One mask a row, to the end of the extension."],
            "zero": ["any", "u8[]", "zeros", "bytes", "Zero bytes, none or a multiple of 8."],
            "text": ["value", "u8[]", "text", "bytes", "UTF-8, no final zero; then 0 to 7 zero bytes up to a multiple of 8."],
        }
        if "repeat" in body:
            rows.append([contracts.fixed_bytes(body), *repeat[body["repeat"]]])
        lines.append(table(["offset", "bytes", "type", "field", "unit", "meaning"], rows))
        return "\n".join(lines)

    def bodies(self) -> str:
        return "\n\n".join(self.body(value) for value in contracts.find(self.wire, "enum", "extension")["values"])

    def example(self, name: str) -> str:
        """A vector in words and in hex."""
        if name not in self.vectors:
            raise TableError(f"protocol.md.in: unknown example {name}")
        vector = self.vectors[name]
        struct = contracts.find(self.wire, "struct", vector["struct"])
        words = []
        for field in struct["fields"]:
            value = vector["fields"][field["name"]]
            if not value or field["name"] in ("magic", "version", "size", "extension_count"):
                continue
            names = {v: k for k, v in contracts.names_of(self.wire, field["enum"]).items()} if "enum" in field else {}
            words.append(f"{field['name']} {names.get(value) or show(field, value)}")
        words += [f"extension {extension['type']}" for extension in vector["extensions"]]
        data = vector["bytes"]
        lines = [f"{at:04x}  {data[at:at + 8].hex(' ')}  {data[at + 8:at + 16].hex(' ')}".rstrip()
                 for at in range(0, len(data), 16)]
        kind = vector["struct"].capitalize()
        return f"{kind} `{name}`, {len(data)} bytes: {', '.join(words)}.\n\n```\n" + "\n".join(lines) + "\n```"

    def answers(self, operation: dict) -> str:
        docs = {v["name"]: v for v in contracts.find(self.wire, "enum", "status")["values"]}
        answers = list(operation["answers"])
        named = {answer["status"] for answer in answers}
        more = self.contract["window"] if operation.get("window") else []
        more = more + (self.contract["privileged"] if operation["privileged"] else []) + self.contract["common"]
        answers += [answer for answer in more if answer["status"] not in named]
        rows = [[a["status"], "yes" if docs[a["status"]]["done"] else "no", a["reply"] or docs[a["status"]]["doc"]]
                for a in answers]
        return table(["status", "done", "reply"], rows)

    def operation(self, name: str) -> str:
        """Fields, statuses and examples of one operation."""
        operation = self.contract["operations"][name]
        rows = [[field, text] for field, text in operation["uses"].items()]
        rows += [[field, "0, or any value: echoed, not remembered."] for field in operation["optional"]]
        fields = table(["request field", "use"], rows)
        known = [field["name"] for field in contracts.find(self.wire, "struct", "request")["fields"]]
        used = {*self.contract["envelope"], *operation["uses"], *operation["optional"]}
        zero = ", ".join(f"`{field}`" for field in known if field not in used and not field.startswith("reserved"))
        lines = [fields, "", f"Zero: {zero}."]
        if operation["extensions"]:
            lines += ["", "Extensions: " + ", ".join(operation["extensions"]) + ", and those any request may carry."]
        lines += ["", self.answers(operation)]
        for example in operation["examples"]:
            lines += ["", self.example(example)]
        return "\n".join(lines)

    def rows_max(self) -> str:
        """Rows that fit the longest reply of a public port: header of ROWS, then a mask a row."""
        constants = self.wire["constants"]
        return str((constants["PAYLOAD_BYTES_MAX"] - constants["REPLY_BYTES"] - 8) // 8)

    def carried(self) -> str:
        return ", ".join(self.contract["carried"])

    def budget(self) -> str:
        rows = [[enum["name"], value["value"], value["name"]]
                for enum in self.wire["enum"] for value in enum.get("budget", [])]
        return table(["enum", "value", "name"], rows)


def emit(wire: dict) -> str:
    md = Markdown(wire)
    return fill("protocol.md.in", {
        "UDP_PORT": lambda: str(wire["protocol"]["udp_port"]),
        "C": md.constant,
        "CONSTANTS": md.constants,
        "ENUM": md.enum,
        "STRUCT": md.struct,
        "BODIES": md.bodies,
        "OPERATION": md.operation,
        "EXAMPLE": md.example,
        "ROWS_MAX": md.rows_max,
        "CARRIED": md.carried,
        "BUDGET": md.budget,
    })
