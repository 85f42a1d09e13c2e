#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Proves docs/protocol.md complete: an encoder built from its tables alone makes every vector.

Nothing here knows an offset, a size or a number; all are read from the Markdown. What an encoder
needs beyond tables (CRC-32C, magic, size) is what the document's prose says.
"""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DOCUMENT = ROOT / "docs/protocol.md"
VECTORS = ROOT / "tests/vectors/wire.json"
PAIRS = {"block_whole": "block_header", "venue_image": "venue_header"}


def crc32c(data: bytes) -> int:
    """As the document defines it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


# ---------------------------------------------------------------------------------------------
# The document


def read_tables(text: str) -> dict[str, list[list[dict]]]:
    """Tables under each heading, as lists of rows by column."""
    result: dict[str, list[list[dict]]] = {}
    heading, columns, rows = "", None, []
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        if not line.startswith("|"):
            columns = None
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if columns is None:
            columns, rows = cells, []
            result.setdefault(heading, []).append(rows)
        elif set("".join(cells)) != {"-"}:
            rows.append(dict(zip(columns, cells, strict=True)))
    return result


class Document:
    """Structures, enums, constants, extension bodies and operations of the document."""

    def __init__(self, text: str):
        self.structs: dict[str, list[dict]] = {}
        self.sizes: dict[str, int] = {}
        self.enums: dict[str, dict[str, int]] = {}
        self.bodies: dict[str, list[dict]] = {}
        self.uses: dict[str, set[str]] = {}
        self.answers: dict[str, set[str]] = {}
        self.constants: dict[str, int] = {}
        for heading, tables in read_tables(text).items():
            self.take(heading, tables)
        self.blocks = ["".join(re.findall(r" ((?: ?[0-9a-f]{2})+)", block)).replace(" ", "")
                       for block in re.findall(r"```\n(.*?)```", text, re.DOTALL)]

    def take(self, heading: str, tables: list[list[dict]]) -> None:
        if match := re.fullmatch(r"Structure `(\w+)` \((\d+) bytes\)", heading):
            self.structs[match[1]], self.sizes[match[1]] = tables[0], int(match[2])
        elif match := re.fullmatch(r"Enum `(\w+)` \(\w+\)", heading):
            self.enums[match[1]] = {row["name"]: int(row["value"]) for row in tables[0]}
        elif match := re.match(r"Extension `(\w+)`", heading):
            self.bodies[match[1]] = tables[-1]
        elif heading == "Constants":
            self.constants = {row["name"]: int(row["value"], 0) for row in tables[0]}
        elif "request field" in tables[0][0]:
            self.uses[heading] = {row["request field"] for row in tables[0]}
            self.answers[heading] = {row["status"] for row in tables[1]}


# ---------------------------------------------------------------------------------------------
# The encoder


def to_bytes(kind: str, value) -> bytes:
    """One field: a number, a hex string, or a list of them."""
    match = re.fullmatch(r"u(\d+)(?:\[(\d+)\])?", kind)
    width, count = int(match[1]) // 8, int(match[2] or 0)
    if count and width == 1:
        data = bytes.fromhex(value)
        if len(data) != count:
            raise ValueError(f"{len(data)} bytes for {kind}")
        return data
    values = value if count else [value]
    return b"".join(int(str(v), 0).to_bytes(width, "little") for v in values)


def encode_struct(document: Document, name: str, fields: dict) -> bytes:
    out = bytearray(document.sizes[name])
    rows = document.structs[name]
    if [row["field"] for row in rows] != list(fields):
        raise ValueError(f"{name}: fields differ from the document's")
    for row in rows:
        data = to_bytes(row["type"], fields[row["field"]])
        if len(data) != int(row["bytes"]):
            raise ValueError(f"{name}.{row['field']}: the document says {row['bytes']} bytes")
        out[int(row["offset"]):int(row["offset"]) + len(data)] = data
    return bytes(out)


def encode_leg(document: Document, leg: dict) -> bytes:
    rows = document.structs["leg"]
    return encode_struct(document, "leg", {row["field"]: leg.get(row["field"], 0) for row in rows})


def encode_body(document: Document, extension: dict) -> bytes:
    out = b""
    for row in document.bodies[extension["type"]]:
        if int(row["offset"]) != document.sizes["extension_header"] + len(out):
            raise ValueError(f"{extension['type']}.{row['field']}: the document's offset is wrong")
        if row["type"] == "leg[]":
            out += b"".join(encode_leg(document, leg) for leg in extension["legs"])
        elif row["type"] == "booking[]":
            out += b"".join(encode_struct(document, "booking", entry) for entry in extension["bookings"])
        elif row["type"].startswith("room_"):
            name = row["type"].removesuffix("[]")
            out += b"".join(encode_struct(document, name, entry) for entry in extension["structs"])
        elif row["type"] == "u64[]":
            out += b"".join(to_bytes("u64", mask) for mask in extension["masks"])
        elif row["type"] == "u8[]":
            out += extension.get("text", "").encode() + bytes(extension.get("zeros", 0))
        else:
            out += to_bytes(row["type"], extension["fields"][row["field"]])
    return out + bytes(-len(out) % 8)


def encode_extension(document: Document, extension: dict) -> bytes:
    body = encode_body(document, extension)
    header = {"type": document.enums["extension"][extension["type"]], "reserved0": 0,
              "size": document.sizes["extension_header"] + len(body), "value": extension["value"]}
    return encode_struct(document, "extension_header", header) + body


def encode(document: Document, vector: dict) -> bytes:
    if "parts" in vector:
        return b"".join(bytes.fromhex(part["hex"]) if part["struct"] == "bytes"
                        else encode(document, part) for part in vector["parts"])
    data = encode_struct(document, vector["struct"], vector["fields"])
    return data + b"".join(encode_extension(document, extension) for extension in vector.get("extensions", []))


# ---------------------------------------------------------------------------------------------
# Tests


class Report:
    """Prints one line a check."""

    def __init__(self):
        self.failed = False

    def check(self, name: str, good: bool, why: str = "") -> None:
        print(f"ok - {name}" if good else f"not ok - {name} # {why}")
        self.failed |= not good


def test_document_encodes_every_vector(report: Report, document: Document, vectors: list[dict]) -> None:
    """Goal: the tables alone suffice. Method: encode, compare."""
    for vector in vectors:
        try:
            got = encode(document, vector).hex()
        except (KeyError, ValueError, OverflowError) as error:
            got = repr(error)
        report.check(f"encode {vector['name']}", got == vector["hex"], f"got {got}")


def test_document_rules_hold_for_messages(report: Report, document: Document, vectors: list[dict]) -> None:
    """Goal: prose and examples agree. Method: magic, version, size, count, zero fields, statuses."""
    op_of = {value: name for name, value in document.enums["op"].items()}
    status_of = {value: name for name, value in document.enums["status"].items()}
    envelope = {"magic", "version", "op", "size", "extension_count", "cookie"}
    for vector in vectors:
        if vector["struct"] not in ("request", "reply"):
            continue
        fields, kind = vector["fields"], vector["struct"]
        name = op_of.get(fields["op"])
        if (name or "request") not in document.uses and kind == "request":
            report.check(f"rules of {vector['name']}", False, f"no section for op {fields['op']}")
            continue
        good = fields["magic"] == document.constants[f"{kind.upper()}_MAGIC"]
        good &= fields["size"] == len(vector["hex"]) // 2 and fields["size"] % 8 == 0
        good &= fields["size"] <= document.constants["PAYLOAD_BYTES_MAX"]
        good &= fields["extension_count"] == len(vector["extensions"]) <= document.constants["EXTENSION_COUNT_MAX"]
        good &= fields["version"] == document.constants["VERSION"] or vector["name"].endswith("other_version")
        if kind == "request":
            used = {field for field, value in fields.items() if int(str(value), 0) != 0}
            good &= used <= envelope | document.uses[name]
        else:
            good &= name is None or status_of[fields["status"]] in document.answers[name]
        report.check(f"rules of {vector['name']}", good, json.dumps(fields))


def test_datagrams_of_several(report: Report, document: Document, by_name: dict[str, dict]) -> None:
    """Goal: the rules of several messages in a datagram. Method: cut by size; each part is what it is alone."""
    for name, kind in (("packed_requests", "request"), ("packed_replies", "reply")):
        data = bytes.fromhex(by_name[name]["hex"])
        at, alone = 0, {vector["hex"] for vector in by_name.values() if vector["struct"] == kind}
        for part in by_name[name]["parts"]:
            size = int.from_bytes(data[at + 4:at + 6], "little")
            good = size == part["fields"]["size"] and data[at:at + size].hex() in alone
            report.check(f"{name} at {at}", good, f"size {size}")
            at += size
        report.check(f"{name} is filled", at == len(data) <= document.constants["PAYLOAD_BYTES_MAX"], str(at))
    sizes = [len(by_name[name]["hex"]) for name in ("packed_requests", "packed_replies")]
    report.check("packed replies are no longer than their requests", sizes[1] <= sizes[0], str(sizes))


def test_reply_is_never_longer(report: Report, by_name: dict[str, dict]) -> None:
    """Goal: the padding rule's arithmetic. Method: compare a page with its request."""
    for request, reply in (("query_section_request", "query_section_reply"),
                           ("query_section_request_next", "query_section_reply_last")):
        sizes = by_name[request]["fields"]["size"], by_name[reply]["fields"]["size"]
        report.check(f"{reply} is as long as its request", sizes[0] == sizes[1], str(sizes))


def test_checksums_follow_the_rules(report: Report, document: Document, by_name: dict[str, dict]) -> None:
    """Goal: each validity rule with a CRC can be followed. Method: compute, compare; flip a bit."""
    report.check("CRC-32C check value", crc32c(b"123456789") == 0xE3069283)
    box = bytes.fromhex(by_name["box_file"]["hex"])
    report.check("box file crc", crc32c(box[:60]) == by_name["box_file"]["fields"]["crc"])
    for whole, head in PAIRS.items():
        data = bytearray(bytes.fromhex(by_name[whole]["hex"]))
        at = next(int(row["offset"]) for row in document.structs[head] if row["field"] == "crc")
        data[at:at + 4] = bytes(4)
        wanted = by_name[head]["fields"]["crc"]
        report.check(f"{whole} crc", crc32c(bytes(data)) == wanted)
        data[-1] ^= 1
        report.check(f"{whole} crc sees a flipped bit", crc32c(bytes(data)) != wanted)


KEEP = 23
USER_TIME = 27
PRICES = 35


def test_block_is_valid(report: Report, document: Document, by_name: dict[str, dict]) -> None:
    """Goal: a whole block obeys the rules of slots and runs. Method: walk it."""
    parts = [part["fields"] for part in by_name["block_whole"]["parts"]]
    header, records = parts[0], parts[1:]
    first = int(header["sequence"], 0)
    report.check("block size", len(by_name["block_whole"]["hex"]) // 2 == document.constants["BLOCK_BYTES"])
    report.check("block magic and place", header["magic"] == document.constants["BLOCK_MAGIC"] and first % 64 == 0)
    places = [int(record["sequence"], 0) for record in records]
    report.check("record sequences", places == list(range(first + 1, first + 64)))
    at, whole = 0, True
    while at < len(records):
        run = records[at:at + records[at]["run_count"]]
        whole &= [record["run_index"] for record in run] == list(range(records[at]["run_count"]))
        while len(run) > 1 and run[-1]["type"] in (KEEP, USER_TIME, PRICES):
            whole &= (run[-1]["event"], run[-1]["run_count"]) == (run[0]["event"], run[0]["run_count"])
            at += 1
            run.pop()
        whole &= len({(record["type"], record["event"], record["run_count"]) for record in run}) == 1
        at += len(run)
    report.check("runs are whole", whole)


def test_examples_in_the_document(report: Report, document: Document, by_name: dict[str, dict]) -> None:
    """Goal: the hex in the document is that of the vectors. Method: each block is one of them."""
    known = {vector["hex"] for vector in by_name.values()}
    strange = [block for block in document.blocks if block not in known]
    report.check(f"{len(document.blocks)} examples are vectors", not strange and len(document.blocks) >= 22, str(strange))
    report.check("every operation has its section", set(document.uses) == set(document.enums["op"]),
                 str(set(document.enums["op"]) ^ set(document.uses)))


def main() -> int:
    document = Document(DOCUMENT.read_text(encoding="utf-8"))
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))["vectors"]
    by_name = {vector["name"]: vector for vector in vectors}
    report = Report()
    test_document_encodes_every_vector(report, document, vectors)
    test_document_rules_hold_for_messages(report, document, vectors)
    test_datagrams_of_several(report, document, by_name)
    test_reply_is_never_longer(report, by_name)
    test_checksums_follow_the_rules(report, document, by_name)
    test_block_is_valid(report, document, by_name)
    test_examples_in_the_document(report, document, by_name)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
