#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Wireshark dissector against the encoded examples.

Every message of tests/vectors/wire.json travels over IPv4 and IPv6 in a capture file; tshark must
show every field with the value the vector names, and complain about nothing. Then broken messages:
tshark must complain about the right thing. Needs tshark; exits 77 (skipped) without it.
"""
import ipaddress
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SCRIPT = ROOT / "tools/wireshark/usher.lua"
PORT = 7447
CLIENT_PORT = 40_000
OTHER_PORT = 50_123
ADDRESSES = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
VERSION = 1
# Complaints of Wireshark's group "malformed", for which it adds an entry of its own.
MALFORMED = {"magic", "size", "extension"}
EXTENSION = {"LEGS": 1, "CLIENT": 2, "TOKEN": 3, "MAC": 4, "PAD": 5, "WORK": 6, "TICKET": 7, "CHANNEL": 8,
             "GIVE": 9, "ROWS": 16, "TEXT": 17, "SEATS": 18,
             "BOOKINGS": 19, "DEVICE": 12, "ROOM": 24, "PLACES": 25, "ROOM_OPEN": 26, "ROOM_DRAW": 27}
# How the header's value divides: (name, shift, bits).
VALUE_PARTS = {
    "TOKEN": [("tier", 0, 8), ("key_id", 8, 8), ("event", 16, 16)],
    "TICKET": [("tier", 0, 8), ("key_id", 8, 24)],
    "MAC": [("gateway_id", 0, 16), ("key_id", 16, 16)],
    "WORK": [("difficulty", 0, 32)],
    "CHANNEL": [("channel", 0, 8), ("key_number", 8, 24)],
}


# ---------------------------------------------------------------------------------------------
# Capture file


def checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(family: int, ports: tuple[int, int], payload: bytes) -> bytes:
    """An Ethernet frame with good checksums."""
    source, target = (ipaddress.ip_address(text).packed for text in ADDRESSES[family])
    udp = struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload
    pseudo = source + target + struct.pack(">IHBB", len(udp), 0, 0, 17)
    udp = udp[:6] + struct.pack(">H", checksum(pseudo + udp) or 0xFFFF) + udp[8:]
    if family == 4:
        head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, source, target)
        head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
    else:
        head = struct.pack(">IHBB16s16s", 6 << 28, len(udp), 17, 64, source, target)
    ether = bytes(range(2, 14)) + struct.pack(">H", 0x0800 if family == 4 else 0x86DD)
    return ether + head + udp


def write_capture(path: pathlib.Path, frames: list[bytes], most: int = 65_535) -> None:
    """most: bytes of each frame that are captured."""
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1))
        for index, data in enumerate(frames):
            kept = data[:most]
            file.write(struct.pack("<IIII", 1_800_000_000 + index, 0, len(kept), len(data)) + kept)


# ---------------------------------------------------------------------------------------------
# tshark


def run_tshark(path: pathlib.Path, *options: str) -> str:
    command = ["tshark", "-r", str(path), "-X", f"lua_script:{SCRIPT}", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or "Lua:" in done.stderr:
        raise SystemExit(f"not ok - tshark # {done.stderr.strip()}")
    return done.stdout


def read_value(name: str, show: str, value: str):
    """The value of a shown field: text, bytes, address or number. `value` is its bytes in hex."""
    if name == "usher.text":
        # An XML attribute would turn the line feeds of `show` into spaces.
        return bytes.fromhex(value).decode()
    if name == "usher.pad":
        return bytes.fromhex(show.replace(":", ""))
    if name.endswith(".address"):
        return ipaddress.ip_address(show).packed
    if ":" in show:
        return bytes.fromhex(show.replace(":", ""))
    return int(show, 0)


class Shown:
    """What tshark shows of one packet, or of one message of several in it."""

    def __init__(self, packet: xml.etree.ElementTree.Element):
        self.fields: list[tuple] = []
        self.experts: set[str] = set()
        self.decoded = False
        self.place = int(packet.get("pos", 0)), int(packet.get("size", 0))
        self.messages = [Shown(proto) for proto in packet.findall("proto") if proto.get("name") == "usher"
                         ] if packet.tag == "packet" else []
        for proto in packet.iter("proto"):
            self.decoded |= proto.get("name") == "usher"
            if proto.get("name") == "_ws.malformed":
                self.experts.add("malformed")
        for field in packet.iter("field"):
            name = field.get("name", "")
            if name.startswith("usher.expert."):
                self.experts.add(name.removeprefix("usher.expert."))
            elif name == "_ws.lua.error":
                self.experts.add(name)
            elif name.startswith("usher."):
                self.fields.append((name, read_value(name, field.get("show"), field.get("value"))))


def decode(path: pathlib.Path) -> list[Shown]:
    root = xml.etree.ElementTree.fromstring(run_tshark(path, "-T", "pdml"))
    return [Shown(packet) for packet in root.iter("packet")]


# ---------------------------------------------------------------------------------------------
# What a vector should look like


def number(value) -> int:
    return int(value, 16) if isinstance(value, str) else value


def array(value):
    """A field that may be one of bytes (digits) or words (a list), shown as bytes."""
    if isinstance(value, list):
        return struct.pack(f"<{len(value)}I", *value)
    return bytes.fromhex(value) if isinstance(value, str) and not value.startswith("0x") else number(value)


def expected_extension(extension: dict, size: int) -> list[tuple]:
    kind, value = extension["type"], extension["value"]
    prefix = f"usher.{kind.lower()}."
    result = [("usher.extension.type", EXTENSION[kind]), ("usher.extension.reserved0", 0),
              ("usher.extension.size", size), ("usher.extension.value", value)]
    result += [(prefix + name, value >> shift & (1 << bits) - 1) for name, shift, bits in VALUE_PARTS.get(kind, [])]
    for name, field in extension.get("fields", {}).items():
        result.append((prefix + name, bytes.fromhex(field) if name == "address" else number(field)))
    for leg in extension.get("legs", []):
        result += [("usher.leg.row", leg["row"]), ("usher.leg.reserved0", 0), ("usher.leg.reserved1", 0),
                   ("usher.leg.mask", number(leg["mask"]))]
    for entry in extension.get("bookings", []):
        result += [("usher.booking." + name, number(field)) for name, field in entry.items()]
    struct_of = {"ROOM": "room_status", "PLACES": "room_entry", "ROOM_OPEN": "room_open", "ROOM_DRAW": "room_draw"}
    for entry in extension.get("structs", []):
        result += [(f"usher.{struct_of[kind]}.{name}", array(field)) for name, field in entry.items()]
    result += [("usher.rows.mask", number(mask)) for mask in extension.get("masks", [])]
    if extension.get("text"):
        result.append(("usher.text", extension["text"]))
    if extension.get("zeros"):
        result.append(("usher.pad", bytes(extension["zeros"])))
    return result


def expected_fields(vector: dict) -> list[tuple]:
    result = [(f"usher.{name}", number(value)) for name, value in vector["fields"].items()]
    data = bytes.fromhex(vector["hex"])
    if vector["fields"]["version"] != VERSION:
        return result
    at = 64
    for extension in vector["extensions"]:
        size = struct.unpack_from("<H", data, at + 2)[0]
        result += expected_extension(extension, size)
        at += size
    return result


# ---------------------------------------------------------------------------------------------
# Tests


class Report:
    """Prints one line a check."""

    def __init__(self):
        self.failed = False

    def check(self, name: str, got, wanted) -> None:
        if got == wanted:
            print(f"ok - {name}")
            return
        self.failed = True
        print(f"not ok - {name} # got {got!r}, wanted {wanted!r}")


def differences(got: list[tuple], wanted: list[tuple]) -> list[tuple]:
    if len(got) != len(wanted):
        return [("count", len(got), len(wanted)), *(set(got) ^ set(wanted))]
    return [(g, w) for g, w in zip(got, wanted) if g != w]


def test_dissector_shows_every_field(report: Report, folder: pathlib.Path, vectors: list[dict]) -> None:
    """Goal: each field of each message has the right name and value. Method: compare in order."""
    cases = []
    for vector in vectors:
        ports = (CLIENT_PORT, PORT) if vector["struct"] == "request" else (PORT, CLIENT_PORT)
        for family in ADDRESSES:
            cases.append((f"{vector['name']} over IPv{family}", vector, frame(family, ports, bytes.fromhex(vector["hex"]))))
        cases.append((f"{vector['name']} on another port", vector,
                      frame(4, (CLIENT_PORT, OTHER_PORT), bytes.fromhex(vector["hex"]))))
    path = folder / "vectors.pcap"
    write_capture(path, [data for _, _, data in cases])
    shown = decode(path)
    report.check("every packet is shown", len(shown), len(cases))
    for (name, vector, _), packet in zip(cases, shown):
        report.check(name, differences(packet.fields, expected_fields(vector)), [])
        bad = {"version"} if vector["fields"]["version"] != VERSION else set()
        report.check(f"{name}: no complaint" if not bad else f"{name}: other version", packet.experts, bad)


def broken_messages(by_name: dict[str, bytes]) -> list[tuple]:
    """(name, payload, complaints): each broken in one place."""
    request, reply = by_name["reserve_request_one_row"], by_name["reserve_reply_ok"]
    two, padded = by_name["reserve_request_two_rows"], by_name["release_request_padded"]
    page, full = by_name["query_section_reply"], by_name["reserve_request_all_extensions"]

    def patch(data: bytes, at: int, *values: int) -> bytes:
        return data[:at] + bytes(values) + data[at + len(values):]

    def grow(data: bytes, tail: bytes, count: int) -> bytes:
        return patch(data + tail, 4, *struct.pack("<HB", len(data + tail), count))

    pad, mac = bytes([5, 0, 8, 0, 0, 0, 0, 0]), full[-24:]
    return [
        ("bad magic", patch(request, 0, 0x56), {"magic"}),
        ("empty datagram", b"", set()),
        ("one byte", b"U", {"magic"}),
        ("shorter than a request", request[:40], {"size"}),
        ("size field too small", patch(request, 4, 56), {"size"}),
        ("size field too large", patch(request, 4, 72), {"size"}),
        ("longer than a datagram may be", grow(request, patch(pad, 2, *struct.pack("<H", 1400)) + bytes(1392), 1),
         {"size"}),
        ("reserved byte of a request", patch(request, 7, 1), {"reserved"}),
        ("reserved byte of a reply", patch(reply, 61, 1), {"reserved"}),
        ("reserved byte of an extension", patch(two, 65, 1), {"reserved"}),
        ("reserved word of a leg", patch(two, 76, 1), {"reserved"}),
        ("unknown operation", patch(request, 3, 200), {"unknown"}),
        ("unknown status", patch(reply, 7, 99), {"unknown"}),
        ("unknown hold state", patch(reply, 60, 99), {"unknown"}),
        ("unknown extension", patch(padded, 64, 99), {"unknown"}),
        ("field the operation does not use", patch(request, 24, 1), {"unused"}),
        ("extension of size 0", patch(padded, 66, 0), {"extension"}),
        ("extension of size 12", patch(padded, 66, 12), {"extension"}),
        ("extension past the end", patch(padded, 66, 16), {"extension"}),
        ("extension missing", patch(request, 6, 1), {"extension"}),
        ("extension not counted", patch(padded, 6, 0), {"extension"}),
        ("extension twice", grow(request, pad + pad, 2), {"extension"}),
        ("nine extensions", grow(request, b"".join(patch(pad, 0, 20 + i) for i in range(9)), 9),
         {"extension", "unknown"}),
        ("MAC is not last", grow(request, mac + pad, 2), {"extension"}),
        ("reply extension in a request", grow(request, patch(pad, 0, 16), 1), {"extension"}),
        ("request extension in a reply", grow(reply, pad, 1), {"extension"}),
        ("wrong number of legs", patch(two, 68, 2), {"extension"}),
        ("leg without a seat", patch(two, 80, 0), {"extension"}),
        ("text longer than its extension", patch(by_name["event_load_reply_bad_image"], 68, 200), {"extension"}),
        ("client with a value", patch(full, 64 + 24 + 4, 1), {"extension"}),
        ("token of the wrong size", grow(request, bytes([3, 0, 16, 0]) + bytes(12), 1), {"extension"}),
        ("good page", page, set()),
    ]


def test_dissector_names_what_is_wrong(report: Report, folder: pathlib.Path, by_name: dict[str, bytes]) -> None:
    """Goal: a broken message is flagged for what is broken. Method: break good ones in one place."""
    cases = broken_messages(by_name)
    path = folder / "broken.pcap"
    write_capture(path, [frame(4, (CLIENT_PORT, PORT), payload) for _, payload, _ in cases])
    for (name, _, complaints), packet in zip(cases, decode(path)):
        wanted = complaints | ({"malformed"} if complaints & MALFORMED else set())
        report.check(f"broken: {name}", packet.experts, wanted)


def cut_vector(vector: dict) -> list[dict]:
    """The messages of a datagram of several, as vectors."""
    data, at, parts = vector["hex"], 0, []
    for part in vector["parts"]:
        end = at + 2 * part["fields"]["size"]
        parts.append(part | {"hex": data[at:end]})
        at = end
    return parts


def check_messages(report: Report, name: str, packet: Shown, headers: int, wanted: list[dict]) -> None:
    report.check(f"{name}: messages", len(packet.messages), len(wanted))
    at = headers
    for index, (message, vector) in enumerate(zip(packet.messages, wanted)):
        size = len(vector["hex"]) // 2
        report.check(f"{name}, message {index}", differences(message.fields, expected_fields(vector)), [])
        report.check(f"{name}, message {index}: its bytes", message.place, (at, size))
        at += size
    report.check(f"{name}: no complaint", packet.experts, set())


def test_dissector_cuts_datagrams(report: Report, folder: pathlib.Path, datagrams: list[dict],
                                  vectors: list[dict]) -> None:
    """Goal: each of several messages is shown as if it were alone. Method: field by field, with its place."""
    small = [v for v in vectors if v["struct"] == "request" and len(v["hex"]) == 128
             and v["fields"]["version"] == VERSION]
    names = ("query_section_reply", "best_reply_ok", "status_reply_box")
    sets = [(d["name"], cut_vector(d)) for d in datagrams] + [
        ("22 requests", (small * 22)[:22]), ("two requests", small[:2]),
        ("replies of all sizes", [v for v in vectors if v["name"] in names] * 2)]
    cases = []
    for name, parts in sets:
        ports = (CLIENT_PORT, PORT) if parts[0]["struct"] == "request" else (PORT, CLIENT_PORT)
        payload = bytes.fromhex("".join(part["hex"] for part in parts))
        for family, headers in ((4, 42), (6, 62)):
            cases.append((f"{name} over IPv{family}", frame(family, ports, payload), headers, parts))
        cases.append((f"{name} on another port", frame(4, (CLIENT_PORT, OTHER_PORT), payload), 42, parts))
    path = folder / "packed.pcap"
    write_capture(path, [data for _, data, _, _ in cases])
    shown = decode(path)
    report.check("every datagram is shown", len(shown), len(cases))
    for (name, _, headers, parts), packet in zip(cases, shown):
        check_messages(report, name, packet, headers, parts)


def test_dissector_leaves_bad_cuts_whole(report: Report, folder: pathlib.Path, by_name: dict[str, bytes]) -> None:
    """Goal: a payload that does not cut cleanly is one malformed message. Method: cuts wrong in one way each."""
    one, padded = by_name["reserve_request_one_row"], by_name["query_section_request"]
    reply, status = by_name["reserve_reply_ok"], by_name["status_request_box"]

    def sized(data: bytes, size: int) -> bytes:
        return data[:4] + struct.pack("<H", size) + data[6:]

    magic = b"\0\0" + status[2:]
    cases = [(f"{size} bytes behind the last", one + status + status[:size], "size") for size in (1, 8, 63)]
    cases += [(f"a size of {size}", one + sized(status, size) + padded, "size") for size in (0, 8, 63, 72, 65_535)]
    cases += [("another magic in the second", one + magic, "size"),
              ("another magic in the last", one + status + magic, "size"),
              ("a reply behind a request", one + reply, "size"),
              ("a request behind a reply", reply + one, "size"),
              ("no magic at first", magic + one, "magic"),
              ("first size too small", sized(one, 56) + status, "size"),
              ("first size too large", sized(one, 1_000) + status, "size"),
              ("23 requests", one * 23, "size")]
    path = folder / "cuts.pcap"
    frames = [frame(family, (CLIENT_PORT, PORT), payload) for _, payload, _ in cases for family in (4, 6)]
    frames += [frame(4, (CLIENT_PORT, OTHER_PORT), payload) for _, payload, _ in cases]
    write_capture(path, frames)
    shown = decode(path)
    for index, (name, payload, complaint) in enumerate(cases):
        for packet in shown[2 * index:2 * index + 2]:
            report.check(f"cut: {name}: one", [message.place[1] for message in packet.messages], [len(payload)])
            # Whether an extension is missing, too, depends on the size that it says.
            report.check(f"cut: {name}", packet.experts - {"extension"}, {complaint, "malformed"})
        report.check(f"cut: {name} elsewhere", shown[2 * len(cases) + index].decoded, False)


def test_dissector_of_datagrams_in_part(report: Report, folder: pathlib.Path, datagrams: list[dict]) -> None:
    """Goal: what was captured of a datagram is shown, without complaint. Method: captures that end anywhere."""
    requests = next(d for d in datagrams if d["name"] == "packed_requests")
    payload = bytes.fromhex(requests["hex"])
    path = folder / "part.pcap"
    # Messages begin at 0, 64 and 168; how far a header has to be there is 6 bytes.
    for captured, messages in ((70, 2), (69, 1), (128, 2), (140, 2), (168, 2), (174, 3), (231, 3), (232, 3)):
        write_capture(path, [frame(4, (CLIENT_PORT, PORT), payload)], 42 + captured)
        packet = decode(path)[0]
        report.check(f"{captured} bytes captured: messages", len(packet.messages), messages)
        report.check(f"{captured} bytes captured: no complaint", packet.experts, set())


def test_dissector_leaves_others_alone(report: Report, folder: pathlib.Path, by_name: dict[str, bytes]) -> None:
    """Goal: the guess by magic takes no foreign traffic. Method: almost right messages elsewhere."""
    request = by_name["reserve_request_one_row"]
    cases = [("no magic", bytes(64)), ("size field does not fit", request + bytes(8)), ("short", request[:63])]
    path = folder / "foreign.pcap"
    write_capture(path, [frame(4, (CLIENT_PORT, OTHER_PORT), payload) for _, payload in cases])
    for (name, _), packet in zip(cases, decode(path)):
        report.check(f"foreign: {name}", packet.decoded, False)


INFO = {
    "status_request_box": "STATUS event 0",
    "status_reply_event": "STATUS OK ON_SALE free 18244 id 5",
    "reserve_request_one_row": "RESERVE event 1 user 7 row 3 mask 0x30 id 9",
    "reserve_request_two_rows": "RESERVE event 1 user 7 row 3 mask 0xc000000000000000 and 1 more id 10",
    "reserve_request_extremes": "RESERVE event 65535 user 18446744073709551614 row 65534"
                                " mask 0xffffffffffffffff id 4294967295",
    "reserve_request_other_version": "Request of version 9",
    "reserve_reply_ok": "RESERVE OK hold 0xa1b2c3000100002a id 9",
    "reserve_reply_ok_repeat": "RESERVE OK repeat hold 0xa1b2c3000100002a id 9",
    "reserve_reply_taken_now": "RESERVE TAKEN_NOW leg 1 mask 0x2 id 9",
    "reserve_reply_bad_request": "RESERVE BAD_REQUEST LEG_TWICE id 9",
    "query_section_reply": "QUERY_SECTION OK next 4 4 rows",
    "event_status_request": "EVENT_STATUS event 1 ON_SALE id 2",
    "bookings_request": "BOOKINGS event 1",
    "bad_op_reply": "op 200 BAD_OP id 15",
}


def test_dissector_info_column(report: Report, folder: pathlib.Path, by_name: dict[str, bytes]) -> None:
    """Goal: the packet list reads as a conversation. Method: compare a few lines."""
    path = folder / "info.pcap"
    write_capture(path, [frame(6, (CLIENT_PORT, PORT), by_name[name]) for name in INFO])
    lines = run_tshark(path, "-T", "fields", "-e", "_ws.col.Protocol", "-e", "_ws.col.Info").splitlines()
    for name, line in zip(INFO, lines):
        report.check(f"info: {name}", line, f"USHER\t{INFO[name]}")
    several = {
        "packed_requests": "3 requests: 1 RESERVE, 1 QUERY_SECTION, 1 STATUS",
        "packed_replies": "3 replies: 1 STATUS OK, 1 QUERY_SECTION OK, 1 RESERVE OK",
        "reserve_reply_ok status_reply_event reserve_reply_ok reserve_reply_taken_now":
            "4 replies: 2 RESERVE OK, 1 STATUS OK, 1 RESERVE TAKEN_NOW",
        "reserve_request_one_row reserve_request_other_version": "2 requests: 1 RESERVE, 1 of version 9",
        " ".join(5 * ["status_request_box"] + ["stats_request", "release_request", "query_hold_request",
                                               "confirm_request", "reserve_request_one_row"]):
            "10 requests: 5 STATUS, 1 STATS, 1 RELEASE, 1 QUERY_HOLD, 2 more",
    }
    write_capture(path, [frame(6, (CLIENT_PORT, PORT), b"".join(by_name[name] for name in names.split()))
                         for names in several])
    lines = run_tshark(path, "-T", "fields", "-e", "_ws.col.Info").splitlines()
    report.check("infos of several", lines, list(several.values()))


def test_dissector_filters(report: Report, folder: pathlib.Path, vectors: list[dict]) -> None:
    """Goal: filter names derive from field names. Method: count packets a filter leaves."""
    accepted = sum(v["struct"] == "reply" and v["fields"]["op"] == 2 and v["fields"]["status"] == 0 for v in vectors)
    filters = {"usher.op == 2 && usher.status == 0": accepted, "usher.mask == 0x30 && usher.row == 3": 3,
               "usher.leg.mask == 0x30": 2, "usher.user == 18446744073709551614": 1,
               "usher.client.address == ::ffff:192.0.2.7": 2}
    for text, count in filters.items():
        lines = run_tshark(folder / "vectors.pcap", "-Y", text, "-T", "fields", "-e", "frame.number")
        # Each vector is there over IPv4, over IPv6 and on another port.
        report.check(f"filter: {text}", len(lines.splitlines()), 3 * count)


def main() -> int:
    if not shutil.which("tshark"):
        print("ok - dissector # SKIP tshark is not installed")
        return 77
    with open(ROOT / "tests/vectors/wire.json", encoding="utf-8") as file:
        known = json.load(file)["vectors"]
    vectors = [v for v in known if v["struct"] in ("request", "reply")]
    datagrams = [v for v in known if v["struct"] == "datagram"]
    by_name = {vector["name"]: bytes.fromhex(vector["hex"]) for vector in vectors + datagrams}
    report = Report()
    with tempfile.TemporaryDirectory(prefix="usher-dissector-") as name:
        folder = pathlib.Path(name)
        test_dissector_shows_every_field(report, folder, vectors)
        test_dissector_names_what_is_wrong(report, folder, by_name)
        test_dissector_cuts_datagrams(report, folder, datagrams, vectors)
        test_dissector_leaves_bad_cuts_whole(report, folder, by_name)
        test_dissector_of_datagrams_in_part(report, folder, datagrams)
        test_dissector_leaves_others_alone(report, folder, by_name)
        test_dissector_info_column(report, folder, by_name)
        test_dissector_filters(report, folder, vectors)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
