# SPDX-License-Identifier: Apache-2.0
"""Encoded examples: tests/vectors/wire.json for any language, wire_vectors.h for C.

A vector names every field of its struct. 64-bit fields are hex strings, since a JSON number may
lose bits above 2^53; byte arrays are hex strings without prefix; smaller fields are numbers.
"""
import hashlib
import json
import struct as packing

from . import contract as contracts
from .table import SIZES, TableError, split_type

PACK = {"u8": "<B", "u16": "<H", "u32": "<I", "u64": "<Q"}

# Values the examples share; times are around 2027-01-15 08:00 UTC. Each vector stands alone.
TIME_NS = 1_800_000_000_000_000_000
SECOND_NS = 1_000_000_000
DEADLINE_NS = TIME_NS + 600 * SECOND_NS
HOLD_A = 0xA1B2C3000100002A
HOLD_B = 0x5D6E7F000200002B
HOLD_C = 0x0F1E2D000100002C
# Key of the digest that EVENT records name an image by.
CHANNEL_KEY = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
IMAGE_KEY = (0x7573686572696D67, 0x6469676573743031)
# Where the journal of the examples starts: the second segment of 256 MiB.
FIRST = (256 << 20) // 64
BOX = 0x8C3A51D2E4F60719
ROOM_SEED = bytes(range(32))
IMAGE_LABELS = b'{"sections":["Stalls"],"rows":["A","B"]}'


def crc32c(data: bytes, crc: int = 0) -> int:
    """CRC-32C (Castagnoli) continued from `crc`, bit by bit."""
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def rotate(word: int, bits: int) -> int:
    return (word << bits | word >> 64 - bits) & (1 << 64) - 1


def siphash(key: tuple[int, int], data: bytes) -> int:
    """SipHash-2-4 (Aumasson and Bernstein, 2012)."""
    mask = (1 << 64) - 1
    state = [key[i & 1] ^ word for i, word in enumerate(
        (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573))]

    def rounds(count: int) -> None:
        a, b, c, d = state
        for _ in range(count):
            a, c = a + b & mask, c + d & mask
            b, d = rotate(b, 13) ^ a, rotate(d, 16) ^ c
            a = rotate(a, 32)
            c, a = c + b & mask, a + d & mask
            b, d = rotate(b, 17) ^ c, rotate(d, 21) ^ a
            c = rotate(c, 32)
        state[:] = a, b, c, d

    tail = data[len(data) & ~7:].ljust(7, b"\0") + bytes([len(data) & 0xFF])
    for (word,) in packing.iter_unpack("<Q", data[:len(data) & ~7] + tail):
        state[3] ^= word
        rounds(2)
        state[0] ^= word
    state[2] ^= 0xFF
    rounds(4)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


class Encoder:
    """Builds vectors from the wire table and the contract."""

    def __init__(self, wire: dict):
        self.structs = {struct["name"]: struct for struct in wire["struct"]}
        self.enums = {enum["name"]: contracts.names_of(wire, enum["name"]) for enum in wire["enum"]}
        self.constants = wire["constants"]
        self.bodies = contracts.load(wire)["bodies"]

    def number(self, field: dict, value) -> int:
        """The value of a field given as a number or as a name of its enum."""
        return self.enums[field["enum"]][value] if isinstance(value, str) else value

    def pack_field(self, field: dict, value) -> bytes:
        base, count = split_type(field["type"])
        if base == "u8" and count:
            if len(value) != count:
                raise TableError(f"vector: {field['name']} has {len(value)} bytes of {count}")
            return bytes(value)
        values = value if count else [self.number(field, value)]
        return b"".join(packing.pack(PACK[base], v) for v in values)

    def complete(self, name: str, fields: dict) -> dict:
        """All fields of struct `name` in order, those not given zero."""
        known = self.structs[name]["fields"]
        if unknown := set(fields) - {field["name"] for field in known}:
            raise TableError(f"vector: {name} has no {unknown}")
        result = {}
        for field in known:
            base, count = split_type(field["type"])
            zero = bytes(count) if base == "u8" and count else [0] * count if count else 0
            value = fields.get(field["name"], zero)
            result[field["name"]] = value if count else self.number(field, value)
        return result

    def pack(self, name: str, fields: dict) -> bytes:
        fields = self.complete(name, fields)
        return b"".join(self.pack_field(f, fields[f["name"]]) for f in self.structs[name]["fields"])

    def pack_extension(self, extension: dict) -> bytes:
        """Header and body; `extension` has type, value, and fields, legs, bookings, structs, masks, text or zeros."""
        body = self.bodies[extension["type"]]
        data = b"".join(self.pack_field(f, extension["fields"][f["name"]]) for f in body["fields"])
        data += b"".join(self.pack("leg", leg) for leg in extension.get("legs", []))
        data += b"".join(self.pack("booking", entry) for entry in extension.get("bookings", []))
        data += b"".join(self.pack(body["repeat"], entry) for entry in extension.get("structs", []))
        data += b"".join(packing.pack("<Q", mask) for mask in extension.get("masks", []))
        data += extension.get("text", "").encode() + bytes(extension.get("zeros", 0))
        data += bytes(-len(data) % 8)
        header = {"type": extension["type"], "size": 8 + len(data), "value": extension["value"]}
        return self.pack("extension_header", header) + data

    def message(self, name: str, struct: str, extensions: list, /, **fields) -> dict:
        tail = b"".join(self.pack_extension(extension) for extension in extensions)
        size = self.constants[f"{struct.upper()}_BYTES"] + len(tail)
        given = {
            "magic": self.constants[f"{struct.upper()}_MAGIC"],
            "version": self.constants["VERSION"],
            "size": size,
            "extension_count": len(extensions),
        }
        full = self.complete(struct, given | fields)
        return {"name": name, "struct": struct, "fields": full, "extensions": extensions,
                "bytes": self.pack(struct, full) + tail}

    def plain(self, name: str, struct: str, /, **fields) -> dict:
        full = self.complete(struct, fields)
        return {"name": name, "struct": struct, "fields": full, "extensions": [],
                "bytes": self.pack(struct, full)}


# ---------------------------------------------------------------------------------------------
# Extensions


def legs(*pairs: tuple[int, int]) -> dict:
    return {"type": "LEGS", "value": len(pairs), "legs": [{"row": r, "mask": m} for r, m in pairs]}


def giving(*pairs: tuple[int, int]) -> dict:
    return legs(*pairs) | {"type": "GIVE"}


def pad(zeros: int) -> dict:
    return {"type": "PAD", "value": 0, "zeros": zeros}


def channel(number: int, key_number: int, user: int, event: int) -> dict:
    """Tag: SipHash-2-4 under the channel's key of user, event, channel."""
    data = user.to_bytes(8, "little") + event.to_bytes(4, "little") + number.to_bytes(4, "little")
    key = tuple(int.from_bytes(CHANNEL_KEY[i:i + 8], "little") for i in (0, 8))
    return {"type": "CHANNEL", "value": number | key_number << 8, "fields": {"tag": siphash(key, data)}}


def rows(first: int, *masks: int) -> dict:
    return {"type": "ROWS", "value": first, "masks": list(masks)}


def bookings(*entries: dict) -> dict:
    return {"type": "BOOKINGS", "value": len(entries), "bookings": list(entries)}


def structs(kind: str, *entries: dict) -> dict:
    return {"type": kind, "value": len(entries), "structs": list(entries)}


def text(content: str) -> dict:
    return {"type": "TEXT", "value": len(content.encode()), "text": content}


def carried() -> list:
    """Every extension that is carried and not used in this version, but MAC."""
    address = bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 7])
    return [
        {"type": "CLIENT", "value": 0, "fields": {"address": address}},
        {"type": "TOKEN", "value": 2 | 5 << 8 | 1 << 16,
         "fields": {"user": 7, "expiry_ns": TIME_NS + 300 * SECOND_NS, "tag": 0x1122334455667788}},
        {"type": "WORK", "value": 18, "fields": {"challenge_time_ns": TIME_NS, "nonce": 0xBEEF0042}},
        {"type": "TICKET", "value": 1 | 5 << 8, "fields": {"number": 9_999_999, "tag": 0x8877665544332211}},
    ]


def mac() -> dict:
    return {"type": "MAC", "value": 17 | 3 << 16, "fields": {"time_ns": TIME_NS, "tag": 0xCAFEF00DD15EA5E5}}


# ---------------------------------------------------------------------------------------------
# Messages


def status_vectors(e: Encoder) -> list:
    ask = {"op": "STATUS", "request_id": 5, "cookie": 0x51}
    return [
        e.message("status_request_box", "request", [], op="STATUS", cookie=1),
        e.message("status_reply_box", "reply", [], op="STATUS", cookie=1),
        e.message("status_request_event", "request", [], event=1, **ask),
        e.message("status_reply_event", "reply", [], event=1, amount=18_244, detail=2, sequence=70_001, **ask),
        e.message("status_reply_event_sold_out", "reply", [], event=1, detail=4, sequence=90_113, **ask),
        e.message("status_reply_unknown_event", "reply", [], event=2, status="UNKNOWN_EVENT", **ask),
    ]


def seats(*pairs: tuple[int, int]) -> dict:
    return legs(*pairs) | {"type": "SEATS"}


def best_vectors(e: Encoder) -> list:
    ask = {"op": "RESERVE_BEST", "event": 1, "request_id": 31, "cookie": 0xBE57}
    area = {"op": "RESERVE_AREA", "event": 1, "request_id": 32, "cookie": 0xA4EA}
    held = {"hold": HOLD_B, "deadline_ns": DEADLINE_NS, "state": "HELD"}
    return [
        e.message("best_request", "request", [pad(16)], user=7, arg=4, **ask),
        e.message("best_request_filters", "request", [pad(32)], user=7, section=2, hold_ms=60_000,
                  arg=4 | 1 << 16 | 7 << 24 | 1 << 32 | 1 << 40, **ask),
        e.message("best_reply_ok", "reply", [seats((12, 0x3C0))], amount=10_000, sequence=70_020,
                  **held, **ask),
        e.message("best_reply_none", "reply", [], status="NONE", **ask),
        e.message("best_reply_contended", "reply", [], status="CONTENDED", **ask),
        e.message("area_request", "request", [pad(32)], user=7, section=1, arg=6, **area),
        e.message("area_request_accessible", "request", [pad(16)], user=7, section=1,
                  arg=2 | 1 << 32, **area),
        e.message("area_reply_none", "reply", [], status="NONE", **area),
        e.message("area_reply_ok", "reply", [seats((0, 0xF << 60), (1, 0x3))], amount=12_000,
                  sequence=70_023, **held, **area),
    ]


def key_of(data: bytes) -> tuple:
    return tuple(int.from_bytes(data[i:i + 8], "little") for i in (0, 8))


def solve(user: int, salt: int, event: int, request_id: int, time_ns: int, bits: int) -> int:
    """The first nonce that proves work, see docs/admission.md."""
    head = event.to_bytes(4, "little") + request_id.to_bytes(4, "little") + time_ns.to_bytes(8, "little")
    nonce = 0
    while siphash((user, salt), head + nonce.to_bytes(8, "little")) >> (64 - bits):
        nonce += 1
    return nonce


def admitted(e: Encoder) -> dict:
    """A request with all that admission may ask for: token key 0 to 15, gateway key 16 to 31, salt 0x5a17."""
    event, user, request_id, bits = 1, 7, 14, 8
    token = {"type": "TOKEN", "value": 2 | 5 << 8 | event << 16,
             "fields": {"user": user, "expiry_ns": TIME_NS + 300 * SECOND_NS, "tag": 0}}
    nonce = solve(user, 0x5A17, event, request_id, TIME_NS, bits)
    work = {"type": "WORK", "value": bits, "fields": {"challenge_time_ns": TIME_NS, "nonce": nonce}}
    tag = {"type": "MAC", "value": 17 | 3 << 16, "fields": {"time_ns": TIME_NS, "tag": 0}}
    client = carried()[0]

    def encode() -> dict:
        return e.message("reserve_request_admitted", "request", [token, work, client, tag], op="RESERVE",
                         event=event, user=user, request_id=request_id, row=3, mask=0x30, cookie=0xC0FFF3)

    token["fields"]["tag"] = siphash(key_of(bytes(range(16))), bytes(encode()["bytes"])[64:88])
    tag["fields"]["tag"] = siphash(key_of(bytes(range(16, 32))), bytes(encode()["bytes"])[:-8])
    return encode()


def reserve_requests(e: Encoder) -> list:
    ask = {"op": "RESERVE", "event": 1, "user": 7}
    wide = [(row, 1 << row) for row in range(4, 11)]
    return [
        e.message("reserve_request_one_row", "request", [],
                  request_id=9, row=3, mask=0x30, cookie=0xC0FFEE, **ask),
        e.message("reserve_request_two_rows", "request", [legs((4, 0x3))],
                  request_id=10, row=3, mask=0xC000000000000000, hold_ms=120_000, cookie=0xC0FFEF, **ask),
        e.message("reserve_request_eight_rows", "request", [legs(*wide)],
                  request_id=11, row=3, mask=0x1, cookie=0xC0FFF0, **ask),
        e.message("reserve_request_all_extensions", "request",
                  [legs((4, 0x3)), *carried(), pad(16), mac()],
                  request_id=12, row=3, mask=0x8, cookie=0xC0FFF1, **ask),
        e.message("reserve_request_extremes", "request", [], op="RESERVE", event=65535,
                  request_id=0xFFFFFFFF, user=0xFFFFFFFFFFFFFFFE, row=0xFFFE, mask=0xFFFFFFFFFFFFFFFF,
                  hold_ms=3_600_000, cookie=0xFEDCBA9876543210),
        e.message("reserve_request_other_version", "request", [],
                  version=9, request_id=13, row=3, mask=0x30, cookie=0xC0FFF2, **ask),
        admitted(e),
    ]


def reserve_replies(e: Encoder) -> list:
    asked = {"op": "RESERVE", "event": 1, "request_id": 9, "cookie": 0xC0FFEE}
    held = {"hold": HOLD_A, "deadline_ns": DEADLINE_NS, "sequence": 70_017, "amount": 9_000, "state": "HELD"}

    def refused(status: str, **fields) -> dict:
        name = f"reserve_reply_{status.lower()}"
        return e.message(name, "reply", [], status=status, **asked, **fields)

    return [
        e.message("reserve_reply_ok", "reply", [], **asked, **held),
        e.message("reserve_reply_ok_repeat", "reply", [], detail=1, **asked, **held),
        refused("TAKEN", hold=0x20, detail=0),
        refused("TAKEN_NOW", hold=0x2, detail=1),
        refused("LIMIT", detail=8),
        refused("SOLD_OUT"),
        refused("NOT_ON_SALE", detail=3),
        refused("UNKNOWN_EVENT"),
        refused("NO_SUCH_SEAT", detail=1),
        refused("ORPHAN", hold=0x8, detail=1),
        refused("COOL_DOWN", detail=41_500),
        refused("HOLD_BUDGET", detail=1_190),
        refused("RATE", detail=28, deadline_ns=TIME_NS + 12 * SECOND_NS),
        refused("TOKEN", detail=21),
        refused("MAC", detail=13),
        refused("PROOF_OF_WORK", detail=24 | 18 << 8, amount=0x5A17, deadline_ns=TIME_NS),
        refused("RETRY"),
        refused("BUSY"),
        refused("MISMATCH"),
        refused("STALE"),
        refused("BAD_REQUEST", detail=4),
        refused("BAD_VERSION", detail=1),
        e.message("reserve_reply_extremes", "reply", [], op="RESERVE", event=0xFFFE, request_id=0xFEFDFCFB,
                  cookie=0x0123456789ABCDEF, hold=0xFEDCBA9876543210, deadline_ns=0x1112131415161718,
                  sequence=0x2122232425262728, amount=0x3132333435363738, detail=0x41424344, state="HELD"),
    ]


def key_vectors(e: Encoder) -> list:
    ask = {"op": "KEY_ROTATE", "cookie": 0xC0FFF4}
    why = "/var/lib/usher/admission: line 3: allowed: event ID POLICY(0-15)"
    return [
        e.message("key_rotate_request", "request", [], **ask),
        e.message("key_rotate_request_padded", "request", [pad(8)], **ask),
        e.message("key_rotate_reply_ok", "reply", [], detail=5, **ask),
        e.message("key_rotate_reply_refused", "reply", [text(why)], status="BAD_REQUEST", detail=11, **ask),
    ]


def release_vectors(e: Encoder) -> list:
    ask = {"op": "RELEASE", "event": 1, "request_id": 14, "hold": HOLD_A, "cookie": 0xC0FFF3}
    return [
        e.message("release_request", "request", [], user=7, **ask),
        e.message("release_request_padded", "request", [pad(0)], user=7, **ask),
        e.message("release_reply_ok", "reply", [], sequence=70_020, state="RELEASED", **ask),
        e.message("release_reply_no_hold", "reply", [], status="NO_HOLD", **ask),
        e.message("release_reply_wrong_state", "reply", [], status="WRONG_STATE", state="SOLD", **ask),
        e.message("release_reply_expired", "reply", [], status="EXPIRED", state="EXPIRED", **ask),
    ]


def query_vectors(e: Encoder) -> list:
    look = {"op": "QUERY_HOLD", "event": 1, "request_id": 6, "hold": HOLD_B, "cookie": 0x61}
    page = {"op": "QUERY_SECTION", "event": 1, "cookie": 0x71}
    masks = (0xFFFFFFFF, 0xFFFFFFCF, 0, 0x8000000000000001)
    return [
        e.message("query_hold_request", "request", [], user=8, **look),
        e.message("query_hold_request_plain", "request", [], op="QUERY_HOLD", event=1, user=8, hold=HOLD_C),
        e.message("query_hold_reply_held", "reply", [],
                  deadline_ns=DEADLINE_NS, sequence=70_021, amount=4_500, state="HELD", **look),
        e.message("query_hold_reply_sold", "reply", [],
                  deadline_ns=DEADLINE_NS, sequence=70_030, amount=4_500, state="SOLD", **look),
        # Room for four rows: 64 + 8 + 4 x 8 = 104 = 64 + 8 + 32.
        e.message("query_section_request", "request", [pad(32)], section=2, **page),
        e.message("query_section_reply", "reply", [rows(40, *masks)], sequence=70_033, amount=6, detail=4, **page),
        e.message("query_section_request_next", "request", [pad(16)], section=2, row=4, **page),
        e.message("query_section_reply_last", "reply", [rows(44, 0x7, 0)], sequence=70_034, amount=6, **page),
    ]


def wait_vectors(e: Encoder) -> list:
    ask = {"op": "WAIT_LIST", "event": 1, "request_id": 17, "cookie": 0x62}
    return [
        e.message("wait_request_join", "request", [], user=19, arg=2 | 1 << 16 | 1 << 24, **ask),
        e.message("wait_request_any", "request", [], user=19, arg=8, **ask),
        e.message("wait_request_leave", "request", [], user=19, arg=1 << 32, **ask),
        e.message("wait_request_look", "request", [], user=19, arg=2 << 32, **ask),
        e.message("wait_reply_place", "reply", [], sequence=70_040, amount=12, **ask),
        e.message("wait_reply_offer", "reply", [], sequence=70_041, hold=HOLD_B, state="HELD", hold_version=1,
                  deadline_ns=DEADLINE_NS, amount=9_000, **ask),
        e.message("wait_reply_not_sold_out", "reply", [], status="NOT_SOLD_OUT", **ask),
        e.message("wait_reply_on_list", "reply", [], status="ON_LIST", sequence=70_040, amount=12, **ask),
        e.message("wait_reply_not_on_list", "reply", [], status="NOT_ON_LIST", **ask),
    ]


def event_vectors(e: Encoder) -> list:
    load = {"op": "EVENT_LOAD", "event": 1, "cookie": 0x81}
    change = {"op": "EVENT_CHANGE", "event": 1, "cookie": 0x82}
    sell = {"op": "EVENT_STATUS", "event": 1, "request_id": 2, "cookie": 0x91}
    return [
        e.message("event_load_request", "request", [], **load),
        e.message("event_load_request_numbered", "request", [], request_id=1, **load),
        e.message("event_load_reply_ok", "reply", [], sequence=70_003, amount=20_000, **load),
        e.message("event_load_reply_exists", "reply", [], status="EVENT_EXISTS", sequence=70_040, amount=20_000,
                  detail=1, **load),
        e.message("event_load_reply_bad_image", "reply", [text("row 7: a house seat does not exist")],
                  status="BAD_IMAGE", **load),
        e.message("event_change_request", "request", [], request_id=3, **change),
        e.message("event_change_request_plain", "request", [], **change),
        e.message("event_change_reply_ok", "reply", [], request_id=3, sequence=70_041, amount=20_480,
                  hold_version=1, **change),
        e.message("event_change_reply_differs", "reply", [text("row block 7 is not as it was (its seats)")],
                  request_id=3, status="IMAGE_DIFFERS", detail=7, **change),
        e.message("event_status_request", "request", [], arg=2, **sell),
        e.message("event_status_request_pause", "request", [], arg=3, **sell),
        e.message("event_status_reply_ok", "reply", [], sequence=70_004, detail=2, **sell),
        e.message("event_status_reply_wrong_status", "reply", [], status="WRONG_STATUS", detail=6, **sell),
        e.message("event_status_reply_not_permitted", "reply", [], status="NOT_PERMITTED", **sell),
    ]


def confirm_vectors(e: Encoder) -> list:
    ask = {"op": "CONFIRM", "event": 1, "hold": HOLD_B, "cookie": 0xA1}
    return [
        e.message("confirm_request", "request", [], user=8, **ask),
        e.message("confirm_request_numbered", "request", [], user=8, request_id=3, **ask),
        e.message("confirm_reply_ok", "reply", [],
                  deadline_ns=DEADLINE_NS, sequence=70_030, amount=4_500, state="SOLD", **ask),
        e.message("confirm_reply_ok_repeat", "reply", [],
                  deadline_ns=DEADLINE_NS, sequence=70_030, amount=4_500, detail=1, state="SOLD", **ask),
    ]


def money_vectors(e: Encoder) -> list:
    extend = {"op": "EXTEND", "event": 1, "request_id": 15, "hold": HOLD_A, "cookie": 0xC1}
    swap = {"op": "SWAP", "event": 1, "request_id": 17, "hold": HOLD_A, "cookie": 0xC7}
    begin = {"op": "PAY_BEGIN", "event": 1, "hold": HOLD_A, "cookie": 0xC2}
    late = {"op": "PAY_LATE", "event": 1, "hold": HOLD_A, "cookie": 0xC8}
    end = {"op": "PAY_END", "event": 1, "hold": HOLD_A, "cookie": 0xC3}
    refund = {"op": "REFUND_BEGIN", "event": 1, "hold": HOLD_A, "cookie": 0xC4}
    give = {"op": "TRANSFER", "event": 1, "hold": HOLD_A, "cookie": 0xC6}
    back = {"op": "REFUND_END", "event": 1, "hold": HOLD_A, "cookie": 0xC5}
    return [
        e.message("extend_request", "request", [], user=7, hold_ms=300_000, **extend),
        e.message("extend_request_default", "request", [], user=7, **extend),
        e.message("extend_reply_wrong_state", "reply", [], status="WRONG_STATE", state="SOLD", **extend),
        e.message("extend_reply_ok", "reply", [], sequence=70_040, amount=9_000, state="HELD", hold_version=2,
                  deadline_ns=DEADLINE_NS, **extend),
        e.message("swap_request", "request", [giving((0, 0x30))], user=7, row=1, mask=0xC0, **swap),
        e.message("swap_request_two_rows", "request", [legs((2, 0x3)), giving((0, 0x10), (1, 0x20))], user=7, row=1,
                  mask=0xC0, **swap),
        e.message("swap_reply_changed", "reply", [], status="CHANGED", sequence=70_040, amount=9_000, state="HELD",
                  hold_version=2, deadline_ns=DEADLINE_NS, **swap),
        e.message("swap_reply_ok", "reply", [], sequence=70_046, amount=9_000, state="HELD", hold_version=3,
                  deadline_ns=DEADLINE_NS, **swap),
        e.message("pay_begin_request", "request", [], user=7, section=2, arg=9_000, hold_ms=300_000, **begin),
        e.message("pay_begin_request_again", "request", [], user=7, section=4, arg=4_500, hold_ms=900_000, **begin),
        e.message("pay_begin_reply_ok", "reply", [], sequence=70_041, amount=9_000, state="PAYING", hold_version=3,
                  detail=1, deadline_ns=DEADLINE_NS, **begin),
        e.message("pay_begin_reply_changed", "reply", [], status="CHANGED", sequence=70_041, amount=4_500,
                  state="HELD", hold_version=4, deadline_ns=DEADLINE_NS, **begin),
        e.message("pay_end_request", "request", [], user=7, section=3, arg=1, **end),
        e.message("pay_end_request_failed", "request", [], user=7, section=3, arg=2, **end),
        e.message("pay_end_reply_failed", "reply", [], sequence=70_042, amount=9_000, state="HELD", hold_version=4,
                  deadline_ns=DEADLINE_NS, **end),
        e.message("pay_end_reply_ok", "reply", [], sequence=70_042, amount=9_000, state="SOLD", hold_version=4,
                  deadline_ns=DEADLINE_NS, **end),
        e.message("pay_late_request", "request", [], user=7, row=1, mask=0xC0, arg=9_000, **late),
        e.message("pay_late_request_channel", "request", [legs((2, 0x3))], user=7, section=2, row=1, mask=0xC0,
                  arg=18_000, **late),
        e.message("pay_late_reply_taken", "reply", [], status="TAKEN", **late | {"hold": 0x40}),
        e.message("pay_late_reply_ok", "reply", [], sequence=70_047, amount=9_000, state="SOLD", hold_version=1,
                  deadline_ns=DEADLINE_NS, **late | {"hold": HOLD_B}),
        e.message("refund_begin_request", "request", [], user=7, section=4, row=0, mask=0x10, **refund),
        e.message("refund_begin_request_all", "request", [], user=7, section=4, **refund),
        e.message("refund_begin_reply_changed", "reply", [], status="CHANGED", sequence=70_043, amount=9_000,
                  state="REFUNDING", hold_version=5, deadline_ns=DEADLINE_NS, **refund),
        e.message("refund_begin_reply_ok", "reply", [], sequence=70_043, amount=4_500, state="REFUNDING",
                  hold_version=5, deadline_ns=DEADLINE_NS, **refund),
        e.message("transfer_request", "request", [], user=7, section=6, arg=77, **give),
        e.message("transfer_request_other", "request", [], user=77, section=7, arg=7, **give),
        e.message("transfer_reply_ok", "reply", [], sequence=70_045, amount=4_500, state="SOLD", hold_version=7,
                  deadline_ns=DEADLINE_NS, **give),
        e.message("transfer_reply_limit", "reply", [], status="LIMIT", detail=8, **give),
        e.message("refund_end_request", "request", [], user=7, section=5, arg=1, row=0, mask=0x10, **back),
        e.message("refund_end_request_failed", "request", [], user=7, section=5, arg=2, **back),
        e.message("refund_end_reply_no_hold", "reply", [], status="NO_HOLD", **back),
        e.message("refund_end_reply_ok", "reply", [], sequence=70_044, amount=4_500, state="SOLD", hold_version=6,
                  deadline_ns=DEADLINE_NS, **back),
    ]


def house_vectors(e: Encoder) -> list:
    block = {"op": "BLOCK", "event": 1, "cookie": 0xB1}
    unblock = {"op": "UNBLOCK", "event": 1, "cookie": 0xB2}
    return [
        e.message("block_request", "request", [], row=1, mask=0xF, **block),
        e.message("block_request_two_rows", "request", [legs((2, 0xF0))], row=1, mask=0xF, **block),
        e.message("block_reply_ok", "reply", [], sequence=70_006, **block),
        e.message("block_reply_taken", "reply", [], status="TAKEN", hold=0x10, detail=1, **block),
        e.message("block_request_channel", "request", [], row=0, mask=0x6, arg=2, **block),
        e.message("channel_key_request", "request", [], op="CHANNEL_KEY", event=1, section=2, cookie=0xB3),
        e.message("channel_key_request_new", "request", [], op="CHANNEL_KEY", event=1, section=2, arg=1, cookie=0xB4),
        e.message("channel_key_reply_ok", "reply", [text(CHANNEL_KEY.hex())], op="CHANNEL_KEY", event=1, detail=1,
                  cookie=0xB3),
        e.message("channel_key_reply_unknown_event", "reply", [], op="CHANNEL_KEY", event=1, status="UNKNOWN_EVENT",
                  cookie=0xB4),
        e.message("reserve_request_channel", "request", [channel(2, 1, 7, 1)], op="RESERVE", event=1, request_id=16,
                  user=7, row=0, mask=0x6, cookie=0xB5),
        e.message("reserve_reply_channel", "reply", [], op="RESERVE", event=1, request_id=16, status="CHANNEL",
                  cookie=0xB5),
        e.message("unblock_request", "request", [], row=1, mask=0x3, **unblock),
        e.message("unblock_request_two_rows", "request", [legs((2, 0x30))], row=1, mask=0xC, **unblock),
        e.message("unblock_reply_ok", "reply", [], sequence=70_008, **unblock),
        e.message("unblock_reply_no_such_seat", "reply", [], status="NO_SUCH_SEAT", detail=1, **unblock),
    ]


def bookings_vectors(e: Encoder) -> list:
    ask = {"op": "BOOKINGS", "event": 1, "cookie": 0xB6}
    paid = {"user": 7, "deadline_ns": DEADLINE_NS, "state": "SOLD", "version": 4}
    two = [dict(paid, hold=HOLD_A, mask=0x30, amount=9_000, row=0, leg=0, legs=2),
           dict(paid, hold=HOLD_A, mask=0x30, amount=9_000, row=1, leg=1, legs=2)]
    one = dict(hold=HOLD_B, user=8, mask=0x1, deadline_ns=DEADLINE_NS, amount=4_500, row=0, version=1,
               state="PAYING", leg=0, legs=1)
    return [
        e.message("bookings_request", "request", [], arg=1 << 32, **ask),
        e.message("bookings_request_next", "request", [], arg=1_024 | 1 << 32, **ask),
        e.message("bookings_reply", "reply", [bookings(*two, one)], sequence=70_050, amount=2, detail=1_024, **ask),
        e.message("bookings_reply_last", "reply", [], sequence=70_051, **ask),
    ]


def room_open() -> dict:
    source = b"drand quicknet"
    return {"seed_hash": hashlib.sha256(b"usher/draw/seed1" + (1).to_bytes(4, "little") + ROOM_SEED).digest(),
            "round": 4_711, "users": 1_000_000, "device_users": 4, "slow_places": 1_000, "cap": 6_000,
            "source_bytes": len(source), "source": source.ljust(128, b"\0")}


def room_draw() -> dict:
    return {"seed": ROOM_SEED, "root": hashlib.sha256(b"root").digest(), "beacon": bytes(range(32)).ljust(64, b"\0"),
            "beacon_bytes": 32}


def room_vectors(e: Encoder) -> list:
    join = {"op": "JOIN", "event": 1, "user": 21, "cookie": 0xF1}
    trade = {"op": "EXCHANGE", "event": 1, "user": 21, "cookie": 0xF2}
    look = {"op": "POSITION", "event": 1, "user": 21, "cookie": 0xF3}
    ask = {"op": "ROOM_CONTROL", "event": 1, "cookie": 0xF4}
    show = {"op": "ROOM_SHOW", "event": 1, "cookie": 0xF5}
    page = {"op": "ROOM_PLACES", "event": 1, "cookie": 0xF6}
    ticket = {"type": "TICKET", "value": 2 | 1 << 8, "fields": {"number": 77, "tag": 0x8877665544332211}}
    device = {"type": "DEVICE", "value": 0, "fields": {"fingerprint": 0xD0D1D2D3D4D5D6D7}}
    ticket_reply = {"hold": 0x8877665544332211, "amount": 77, "sequence": 70_060}
    standing = {"serving": 1_200, "end": 1_000_000, "exchanged": 900, "wait_ns": 10_000_000, "counts": [0, 0, 999_990, 0, 0, 0, 0, 10],
                "rate": 6_000, "cap": 6_000, "seats_free": 20_000, "phase": "SERVING", "limit": "CAP", "key_id": 1,
                "event_status": "ON_SALE"}
    return [
        e.message("join_request", "request", [device], arg=2, **join),
        e.message("join_request_plain", "request", [], request_id=1, **join),
        e.message("join_reply_ok", "reply", [], detail=2 | 1 << 8, **ticket_reply, **{k: v for k, v in join.items() if k != "user"}),
        e.message("join_reply_repeat", "reply", [], detail=2 | 1 << 8 | 1 << 16, **ticket_reply, **{k: v for k, v in join.items() if k != "user"}),
        e.message("join_reply_full", "reply", [], op="JOIN", event=1, status="ROOM_FULL", detail=1_000_000),
        e.message("exchange_request", "request", [ticket], **trade),
        e.message("exchange_request_numbered", "request", [ticket], request_id=2, **trade),
        e.message("exchange_reply_ok", "reply", [], op="EXCHANGE", event=1, cookie=0xF2, hold=0x1122334455667788, sequence=70_061,
                  deadline_ns=TIME_NS + 300 * SECOND_NS, detail=2 | 5 << 8 | 1 << 16),
        e.message("exchange_reply_waiting", "reply", [], op="EXCHANGE", event=1, cookie=0xF2, status="WAITING", amount=1_024,
                  deadline_ns=TIME_NS + 600 * SECOND_NS),
        e.message("exchange_reply_ticket", "reply", [], op="EXCHANGE", event=1, cookie=0xF2, status="TICKET", detail=3),
        e.message("position_request", "request", [ticket], **look),
        e.message("position_request_numbered", "request", [ticket], request_id=3, **look),
        e.message("position_reply_waiting", "reply", [], op="POSITION", event=1, cookie=0xF3, status="WAITING", amount=12,
                  deadline_ns=TIME_NS + SECOND_NS),
        e.message("position_reply_phase", "reply", [], op="POSITION", event=1, cookie=0xF3, status="ROOM_PHASE", detail=1),
        e.message("position_reply_none", "reply", [], op="POSITION", event=1, cookie=0xF3, status="NO_ROOM"),
        e.message("room_control_request_open", "request", [structs("ROOM_OPEN", room_open())], arg=1, **ask),
        e.message("room_control_request_draw", "request", [structs("ROOM_DRAW", room_draw())], arg=3, **ask),
        e.message("room_control_request_set", "request", [], arg=4 | 1 << 8 | 1 << 9 | 6_000 << 32, **ask),
        e.message("room_control_reply_ok", "reply", [], sequence=70_062, **ask),
        e.message("room_control_reply_closed", "reply", [], sequence=70_063, amount=999_990, detail=2, **ask),
        e.message("room_show_request", "request", [], **show),
        e.message("room_show_request_numbered", "request", [], request_id=4, **show),
        e.message("room_show_reply", "reply", [structs("ROOM", standing), structs("ROOM_OPEN", room_open())],
                  sequence=70_064, **show),
        e.message("room_show_reply_drawn", "reply", [structs("ROOM", standing), structs("ROOM_OPEN", room_open()),
                                                     structs("ROOM_DRAW", room_draw())], sequence=70_065, **show),
        e.message("room_places_request", "request", [], **page),
        e.message("room_places_request_next", "request", [], arg=512, **page),
        e.message("room_places_reply", "reply", [structs("PLACES", {"user": 21, "number": 77, "tier": 2},
                                                         {"user": 22, "number": 3, "tier": 7})],
                  sequence=70_066, amount=2, detail=512, **page),
        e.message("room_places_reply_last", "reply", [], sequence=70_067, **page),
    ]


def other_vectors(e: Encoder) -> list:
    counters = "usher_status_OK 120345\nusher_drop_MAGIC 2\n"
    return [
        e.message("stats_request", "request", [], op="STATS", cookie=0xD1),
        e.message("stats_request_numbered", "request", [], op="STATS", request_id=4, cookie=0xD2),
        e.message("stats_reply", "reply", [text(counters)], op="STATS", cookie=0xD1),
        e.message("stats_reply_empty", "reply", [text("")], op="STATS", request_id=4, cookie=0xD2),
        e.message("bad_op_reply", "reply", [], op=200, status="BAD_OP", request_id=15, cookie=0xE1),
    ]


# ---------------------------------------------------------------------------------------------
# Journal


def digest(request: dict) -> int:
    """CRC-32C, started with op, of hold to hold_ms and the legs."""
    data = request["bytes"]
    count = sum(len(x.get("legs", [])) for x in request["extensions"])
    # WAIT_LIST: of arg, too.
    return crc32c(data[24:48] + data[72:72 + 16 * count] + (data[56:64] if data[3] == 13 else b""), data[3])


def pieces(name: str, kind: str, content: bytes) -> list:
    """A struct in bytes 16 to 63 of the records of a run."""
    names = ("user", "hold", "mask", "request_id", "digest", "row", "version", "amount", "deadline_ns")
    count = len(content) // 48
    return [(name if count == 1 else f"{name}_{i}",
             {"type": kind, "event": 1, "run_index": i, "run_count": count,
              **dict(zip(names, packing.unpack_from("<QQQIIHHIQ", content, 48 * i)))}) for i in range(count)]


def story(e: Encoder, by_name: dict) -> list:
    """(vector name, record fields): an epoch small enough for one block."""
    hold_c = {"event": 1, "user": 9, "hold": HOLD_C, "deadline_ns": TIME_NS + SECOND_NS}
    two_rows = {"event": 1, "user": 7, "request_id": 10,
                "digest": digest(by_name["reserve_request_two_rows"])}
    image = by_name["venue_image"]["bytes"]
    return [
        ("record_open", {"type": "OPEN", "user": 3, "hold": FIRST - 1, "mask": 2, "deadline_ns": TIME_NS}),
        ("record_resume", {"type": "RESUME", "deadline_ns": TIME_NS + 1, "mask": 2 * SECOND_NS}),
        ("record_event", {"type": "EVENT", "state": 1, "event": 1, "hold": siphash(IMAGE_KEY, image), "mask": 62, "amount": 2}),
        ("record_event_status", {"type": "EVENT_STATUS", "state": 2, "event": 1, "mask": 1}),
        ("record_block", {"type": "BLOCK", "event": 1, "row": 1, "mask": 0xF}),
        ("record_block_channel", {"type": "BLOCK", "state": 2, "event": 1, "row": 1, "mask": 0xF0}),
        ("record_channel", {"type": "CHANNEL", "state": 2, "event": 1, "amount": 1}),
        ("record_unblock", {"type": "UNBLOCK", "event": 1, "row": 1, "mask": 0x3}),
        ("record_hold_first", {"type": "HOLD", "run_count": 2, "state": 2, "row": 0, "version": 1,
                               "hold": HOLD_A, "mask": 0x30, "amount": 9_000, "deadline_ns": DEADLINE_NS, **two_rows}),
        ("record_hold_second", {"type": "HOLD", "run_index": 1, "run_count": 2, "state": 2, "row": 1,
                                "version": 1, "hold": 0x2D, "mask": 0x30, "amount": 9_000,
                                "deadline_ns": DEADLINE_NS, **two_rows}),
        ("record_release", {"type": "RELEASE", "run_count": 3, "state": 5, "event": 1, "user": 7, "hold": HOLD_A, "version": 2,
                            "row": 0, "mask": 0x30, "amount": 9_000, "deadline_ns": DEADLINE_NS, "request_id": 14, "digest": digest(by_name["release_request"])}),
        ("record_keep", {"type": "KEEP", "run_index": 1, "run_count": 3, "state": 1, "event": 1, "user": 7, "hold": HOLD_A,
                         "version": 2, "row": 1, "mask": 0x30}),
        ("record_user_time", {"type": "USER_TIME", "run_index": 2, "run_count": 3, "event": 1, "user": 7,
                              "amount": 1_210, "deadline_ns": DEADLINE_NS}),
        ("record_hold_single", {"type": "HOLD", "state": 2, "event": 1, "user": 8, "hold": HOLD_B, "row": 0,
                                "version": 1, "mask": 0x1, "amount": 4_500, "request_id": 1,
                                "digest": 0x01020304, "deadline_ns": DEADLINE_NS}),
        ("record_wait_join", {"type": "WAIT_JOIN", "event": 1, "user": 19, "mask": 2, "row": 1, "amount": 1,
                              "request_id": 17, "digest": digest(by_name["wait_request_join"])}),
        ("record_wait_leave", {"type": "WAIT_LEAVE", "state": 1, "event": 1, "user": 20, "request_id": 3, "digest": 0x0506070B}),
        ("record_wait_turn", {"type": "WAIT_TURN", "state": 1, "event": 1}),
        ("record_offer", {"type": "OFFER", "state": 2, "event": 1, "user": 19, "hold": HOLD_A, "row": 1, "version": 1,
                          "mask": 0x30, "amount": 9_000, "request_id": 17,
                          "digest": digest(by_name["wait_request_join"]), "deadline_ns": DEADLINE_NS}),
        ("record_wait_open", {"type": "WAIT_OPEN", "event": 1, "row": 1, "mask": 0xC0}),
        ("record_confirm", {"type": "CONFIRM", "state": 4, "event": 1, "user": 8, "hold": HOLD_B, "version": 2,
                            "row": 0, "mask": 0x1, "amount": 4_500, "deadline_ns": DEADLINE_NS}),
        ("record_transfer", {"type": "TRANSFER", "state": 4, "event": 1, "user": 8, "hold": HOLD_B, "version": 3,
                             "row": 0, "mask": 18, "amount": 4_500, "deadline_ns": DEADLINE_NS}),
        ("record_refund_begin", {"type": "REFUND_BEGIN", "state": 8, "event": 1, "user": 18, "hold": HOLD_B,
                                 "version": 4, "row": 0, "mask": 0x1, "amount": 4_500, "deadline_ns": DEADLINE_NS}),
        ("record_refund_end", {"type": "REFUND_END", "state": 9, "event": 1, "user": 18, "hold": HOLD_B,
                               "version": 5, "row": 0, "mask": 0x1, "amount": 0, "deadline_ns": DEADLINE_NS}),
        *pieces("record_room_open", "ROOM_OPEN", e.pack("room_open", e.complete("room_open", room_open()))),
        ("record_room_join", {"type": "ROOM_JOIN", "state": 2, "event": 1, "user": 21, "hold": 0xD0D1D2D3D4D5D6D7, "amount": 77,
                              "deadline_ns": TIME_NS + 3}),
        *pieces("record_room_close", "ROOM_CLOSE", e.pack("room_close", e.complete("room_close", {
            "counts": [0, 0, 999_990, 0, 0, 0, 0], "time_ns": TIME_NS + 4}))),
        *pieces("record_room_draw", "ROOM_DRAW", e.pack("room_draw", e.complete("room_draw", room_draw()))),
        ("record_room_serve", {"type": "ROOM_SERVE", "event": 1, "mask": 1_200, "deadline_ns": TIME_NS + 5}),
        ("record_room_exchange", {"type": "ROOM_EXCHANGE", "state": 2, "event": 1, "user": 21, "amount": 77, "mask": 1_199,
                                  "deadline_ns": TIME_NS + 300 * SECOND_NS}),
        ("record_room_set", {"type": "ROOM_SET", "state": 1, "event": 1, "amount": 6_000, "deadline_ns": TIME_NS + 6}),
        ("record_room_key", {"type": "ROOM_KEY", "state": 2, "event": 1, "deadline_ns": TIME_NS + 7}),
        ("record_late", {"type": "LATE", "state": 4, "event": 1, "user": 7, "hold": HOLD_B + (1 << 24), "row": 0,
                         "version": 1, "mask": 0x1, "amount": 4_500, "deadline_ns": TIME_NS + 2,
                         "request_id": HOLD_A & 0xFFFFFFFF, "digest": HOLD_A >> 32}),
        ("record_hold_short", {"type": "HOLD", "state": 2, "row": 0, "version": 1, "mask": 0x6, "amount": 9_000,
                               "request_id": 1, "digest": 0x05060708, **hold_c}),
        ("record_extend", {"type": "EXTEND", "state": 2, "row": 0, "version": 2, "mask": 0x6, "amount": 9_000,
                           "request_id": 2, "digest": 0x05060709, **hold_c}),
        ("record_cut", {"type": "CUT", "state": 2, "row": 0, "version": 3, "mask": 0x4, "amount": 4_500,
                        "request_id": 3, "digest": 0x0506070A, **hold_c}),
        ("record_swap", {"type": "SWAP", "run_count": 2, "state": 5, "row": 0, "version": 4, "mask": 0x4, "amount": 0,
                         "request_id": 4, "digest": 0x0506070B, **hold_c}),
        ("record_swap_taken", {"type": "SWAP", "run_index": 1, "run_count": 2, "state": 2, "row": 0, "version": 4,
                               "mask": 0x2, "amount": 4_500, "request_id": 4, "digest": 0x0506070B,
                               **hold_c | {"hold": HOLD_C & 0xFFFFFF}}),
        ("record_pay_begin", {"type": "PAY_BEGIN", "state": 7, "row": 1, "version": 5,
                              "mask": TIME_NS + 300 * SECOND_NS, "amount": 4_500, **hold_c}),
        ("record_pay_end", {"type": "PAY_END", "state": 2, "row": 0, "version": 6, "mask": 0x2,
                            "amount": 4_500, **hold_c}),
        ("record_event_change", {"type": "EVENT_CHANGE", "event": 1, "user": siphash(IMAGE_KEY, image),
                                 "hold": 0x1234567890ABCDEF, "mask": 94, "amount": 3, "version": 1, "row": 1,
                                 "request_id": 3}),
        ("record_hold_priced", {"type": "HOLD", "run_count": 2, "state": 2, "event": 1, "user": 21, "hold": HOLD_B + (2 << 24),
                                "row": 2, "version": 1, "mask": 0x1, "amount": 5_000, "request_id": 1,
                                "digest": 0x0506070C, "deadline_ns": DEADLINE_NS}),
        ("record_prices", {"type": "PRICES", "run_index": 1, "run_count": 2, "event": 1, "user": 21, "row": 1}),
        ("record_tick", {"type": "TICK", "deadline_ns": TIME_NS + SECOND_NS}),
        ("record_expire", {"type": "EXPIRE", "state": 6, "row": 0, "version": 7, "mask": 0x2, "amount": 4_500,
                           **hold_c}),
        ("record_close", {"type": "CLOSE", "deadline_ns": TIME_NS + 3 * SECOND_NS}),
    ]


def join(name: str, struct: str, parts: list) -> dict:
    """A file, block or datagram made of parts; `fields` is empty, the parts carry them."""
    return {"name": name, "struct": struct, "fields": {}, "extensions": [], "parts": parts,
            "bytes": b"".join(part["bytes"] for part in parts)}


def packed_vectors(by_name: dict) -> list:
    """Several messages in a datagram: requests of two sizes, and replies to them in another order."""
    def together(name: str, *parts: str) -> dict:
        return join(name, "datagram", [by_name[part] for part in parts])

    return [
        together("packed_requests", "reserve_request_one_row", "query_section_request", "status_request_event"),
        together("packed_replies", "status_reply_event", "query_section_reply", "reserve_reply_ok"),
    ]


def raw(content: bytes) -> dict:
    return {"struct": "bytes", "fields": {"bytes": content}, "bytes": content}


def journal_vectors(e: Encoder, by_name: dict) -> list:
    """Records of each type, a whole block of them, its header and the box file."""
    first = FIRST
    records = []
    for place, (name, fields) in enumerate(story(e, by_name), start=1):
        records.append(e.plain(name, "record", **{"run_count": 1, "sequence": first + place} | fields))
    slots = e.constants["BLOCK_SLOTS"]
    pads = [e.plain(f"pad_{place}", "record", sequence=first + place, type="PAD", run_count=1)
            for place in range(len(records) + 1, slots)]
    records.append(pads[0] | {"name": "record_pad"})
    header = {"magic": e.constants["BLOCK_MAGIC"], "box": BOX & 0xFFFFFFFF, "epoch": 3, "sequence": first,
              "durable_lag": 1, "chain_lag": 2, "time_ns": TIME_NS + 4 * SECOND_NS,
              "chain": hashlib.sha256(bytes(32)).digest()[:24]}
    body = b"".join(part["bytes"] for part in records + pads[1:])
    header["crc"] = crc32c(e.pack("block_header", header) + body)
    head = e.plain("block_header", "block_header", **header)
    box = {"magic": e.constants["BOX_MAGIC"], "version": e.constants["JOURNAL_VERSION"], "epoch": 3, "box": BOX,
           "key0": 0x0706050403020100, "key1": 0x0F0E0D0C0B0A0908, "created_ns": TIME_NS - 86_400 * SECOND_NS,
           "segment_bytes": 256 << 20, "first_block": first // 64}
    box["crc"] = crc32c(e.pack("box_file", box)[:60])
    return [head, *records, e.plain("box_file", "box_file", **box),
            join("block_whole", "block", [head, *records, *pads[1:]])]


# ---------------------------------------------------------------------------------------------
# Files


def venue_vectors(e: Encoder) -> list:
    """A venue of one section, two rows of 32 and 30 seats, two tiers."""
    tiers = [e.plain("venue_tier_front", "venue_tier", price=4_500),
             e.plain("venue_tier_back", "venue_tier", price=2_500)]
    sections = [e.plain("venue_section", "venue_section", row_first=0, row_count=2)]
    seat_rows = [
        e.plain("venue_row_first", "venue_row", seats=0xFFFFFFFF, house=0x3, tier_mask=[0xFF000000, 0, 0],
                accessible=0x80000000, companion=0x40000000, tier=bytes([0, 1, 0, 0])),
        e.plain("venue_row_second", "venue_row", seats=0x3FFFFFFF, tier=bytes([1, 0, 0, 0]), flags=2),
    ]
    parts = tiers + sections + seat_rows
    tail = b"".join(part["bytes"] for part in parts) + IMAGE_LABELS
    header = {"magic": e.constants["VENUE_MAGIC"], "version": e.constants["VENUE_VERSION"],
              "file_bytes": 136 + len(tail), "tier_count": 2, "section_count": 1, "row_count": 2,
              "seat_count": 62, "label_bytes": len(IMAGE_LABELS), "hold_ms": 600_000,
              "hold_ms_max": 1_200_000, "hold_budget_s": 28_800, "cool_down_ms": 30_000,
              "user_seats_max": 8, "currency": b"EUR\0",
              "name": "Salle des fêtes".encode().ljust(64, b"\0")}
    header["crc"] = crc32c(e.pack("venue_header", header) + tail)
    head = e.plain("venue_header", "venue_header", **header)
    return [head, *parts, join("venue_image", "venue_image", [head, *parts, raw(IMAGE_LABELS)])]


def ack_vectors(e: Encoder) -> list:
    first = e.plain("ack_entry_first", "ack_entry", magic=e.constants["ACK_MAGIC"])
    entries = [
        e.plain("ack_entry_reserve", "ack_entry", user=7, hold=HOLD_A, sequence=4_194_312, event=1,
                request_id=10, row=0, mask=0x30, op="RESERVE", status="OK", leg_count=2, amount=18_000),
        e.plain("ack_entry_release", "ack_entry", user=7, hold=HOLD_A, sequence=4_194_313, event=1,
                request_id=14, op="RELEASE", status="OK", amount=18_000),
    ]
    return [first, *entries, join("ack_file", "ack_file", [first, *entries])]


def pattern_vectors(e: Encoder) -> list:
    """Structs of files with a different byte at every offset (of 251): no field can hide in another's place."""
    vectors = []
    for name in ("record", "block_header", "box_file", "venue_header", "venue_tier", "venue_section",
                 "venue_row", "ack_entry", "snapshot_header", "snapshot_section",
                 "archive_header", "reader_position", "state_total",
                 "state_event", "state_row", "state_hold", "state_user", "state_answer",
                 "state_channel", "state_wait", "room_close", "state_room", "state_room_place", "state_room_visit",
                 "state_device", "state_change"):
        fields = {}
        for field in e.structs[name]["fields"]:
            base, count = split_type(field["type"])
            size = SIZES[base]
            data = bytes((field["at"] + 1 + i) % 251 for i in range(size * (count or 1)))
            words = [int.from_bytes(data[at:at + size], "little") for at in range(0, len(data), size)]
            if not field["name"].startswith("reserved") and "enum" not in field:
                fields[field["name"]] = data if base == "u8" and count else words if count else words[0]
        vectors.append(e.plain(f"{name}_pattern", name, **fields))
    return vectors


# ---------------------------------------------------------------------------------------------
# The whole set


def check(wire: dict, contract: dict, vectors: list) -> None:
    """Nothing of the table may lack an example, and no example may break the contract."""
    op_of = {value: name for name, value in contracts.names_of(wire, "op").items()}
    seen: dict[tuple, int] = {}
    for vector in vectors:
        fields = vector["fields"]
        kinds = [("struct", vector["struct"])] + [("extension", x["type"]) for x in vector["extensions"]]
        if vector["struct"] in ("request", "reply"):
            kinds.append((vector["struct"], op_of.get(fields["op"])))
        if vector["struct"] == "reply":
            kinds.append(("status", fields["status"]))
        if vector["struct"] == "record":
            kinds.append(("record", fields["type"]))
        for kind in kinds:
            seen[kind] = seen.get(kind, 0) + 1
        if vector["struct"] == "request":
            operation = contract["operations"][op_of[fields["op"]]]
            allowed = {*contract["envelope"], *operation["uses"], *operation["optional"]}
            if wrong := [name for name in fields if fields[name] and name not in allowed]:
                raise TableError(f"vector {vector['name']}: {wrong} unused by {operation['name']}")
    inside = ("extension_header", "leg", "booking", "room_entry", "room_open", "room_draw", "room_status")
    wanted = [("struct", s["name"], 1) for s in wire["struct"] if s["name"] not in inside]
    wanted += [(kind, op, 2) for op in op_of.values() for kind in ("request", "reply")]
    wanted += [("extension", name, 1) for name in contracts.names_of(wire, "extension")]
    wanted += [("status", value, 1) for value in contracts.names_of(wire, "status").values()]
    wanted += [("record", value, 1) for value in contracts.names_of(wire, "record_type").values()]
    for kind, name, count in wanted:
        if seen.get((kind, name), 0) < count:
            raise TableError(f"vectors: fewer than {count} examples of {kind} {name}")
    if len({vector["name"] for vector in vectors}) != len(vectors):
        raise TableError("vectors: a name twice")


def build(wire: dict) -> list:
    """All vectors, in the order of the file."""
    encoder = Encoder(wire)
    vectors = []
    for make in (status_vectors, reserve_requests, reserve_replies, best_vectors, key_vectors, release_vectors, query_vectors,
                 wait_vectors, event_vectors, confirm_vectors, money_vectors, house_vectors, bookings_vectors,
                 room_vectors, other_vectors, venue_vectors):
        vectors += make(encoder)
    by_name = {vector["name"]: vector for vector in vectors}
    vectors += packed_vectors(by_name)
    vectors += journal_vectors(encoder, by_name)
    vectors += ack_vectors(encoder)
    vectors += pattern_vectors(encoder)
    check(wire, contracts.load(wire), vectors)
    return vectors


# ---------------------------------------------------------------------------------------------
# JSON


def json_fields(encoder: Encoder, fields_of: list, fields: dict) -> dict:
    types = {field["name"]: split_type(field["type"]) for field in fields_of}
    result = {}
    for name, value in fields.items():
        base, count = types[name]
        if base == "u8" and count:
            result[name] = value.hex()
        elif base == "u64":
            result[name] = [f"{v:#018x}" for v in value] if count else f"{value:#018x}"
        else:
            result[name] = value
    return result


def json_extension(encoder: Encoder, extension: dict) -> dict:
    result = {"type": extension["type"], "value": extension["value"]}
    if "fields" in extension:
        result["fields"] = json_fields(encoder, encoder.bodies[extension["type"]]["fields"], extension["fields"])
    if "legs" in extension:
        result["legs"] = [{"row": leg["row"], "mask": f"{leg['mask']:#018x}"} for leg in extension["legs"]]
    if "bookings" in extension:
        fields = encoder.structs["booking"]["fields"]
        result["bookings"] = [json_fields(encoder, fields, encoder.complete("booking", entry))
                              for entry in extension["bookings"]]
    if "structs" in extension:
        name = encoder.bodies[extension["type"]]["repeat"]
        result["structs"] = [json_fields(encoder, encoder.structs[name]["fields"], encoder.complete(name, entry))
                             for entry in extension["structs"]]
    if "masks" in extension:
        result["masks"] = [f"{mask:#018x}" for mask in extension["masks"]]
    return result | {key: extension[key] for key in ("text", "zeros") if key in extension}


def json_part(encoder: Encoder, part: dict) -> dict:
    if part["struct"] == "bytes":
        return {"struct": "bytes", "hex": part["bytes"].hex()}
    fields = json_fields(encoder, encoder.structs[part["struct"]]["fields"], part["fields"])
    result = {"struct": part["struct"], "fields": fields}
    if part["struct"] in ("request", "reply"):
        result["extensions"] = [json_extension(encoder, extension) for extension in part["extensions"]]
    return result


def json_vector(encoder: Encoder, vector: dict) -> str:
    struct = encoder.structs.get(vector["struct"], {"fields": []})
    entries = {
        "name": vector["name"],
        "struct": vector["struct"],
        "fields": json_fields(encoder, struct["fields"], vector["fields"]),
        "extensions": [json_extension(encoder, extension) for extension in vector["extensions"]],
    }
    lines = [f'  "{key}": {json.dumps(value, ensure_ascii=False)}' for key, value in entries.items()]
    if "parts" in vector:
        parts = [json.dumps(json_part(encoder, part), ensure_ascii=False) for part in vector["parts"]]
        lines.append('  "parts": [\n   ' + ",\n   ".join(parts) + "]")
    lines.append(f'  "hex": "{vector["bytes"].hex()}"')
    return " {\n" + ",\n".join(lines) + "\n }"


def emit(wire: dict) -> str:
    encoder = Encoder(wire)
    head = f'{{"protocol": "{wire["protocol"]["name"]}", "version": {wire["protocol"]["version"]},\n"vectors": [\n'
    return head + ",\n".join(json_vector(encoder, vector) for vector in build(wire)) + "\n]}\n"


# ---------------------------------------------------------------------------------------------
# C

C_HEAD = """\
/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encoded examples of every struct of the wire table, each with a function that assigns its fields.
 * Generated by scripts/gen-wire from dataplane/wire/wire.toml. Do not edit.
 *
 * Owns:  nothing; constants only.
 * Reads: nothing.
 * Never: included anywhere but in tests.
 */
#ifndef USH_WIRE_VECTORS_H
#define USH_WIRE_VECTORS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "wire/wire.h"

/* What a field that the assignments forgot is left with. */
#define WIRE_VECTOR_FILL 0xa5

struct wire_vector {
	const char *name;
	const uint8_t *bytes;
	size_t size;
	/* Writes `size` bytes by assigning every field of structs filled with WIRE_VECTOR_FILL. */
	void (*encode)(uint8_t *out);
};
"""
C_SUFFIX = {"u8": "u", "u16": "u", "u32": "u", "u64": "ull"}


def c_bytes(data: bytes, indent: str = "\t") -> str:
    lines = [data[at:at + 16] for at in range(0, len(data), 16)]
    return "\n".join(indent + " ".join(f"0x{byte:02x}," for byte in line) for line in lines)


def c_assign(target: str, field: dict, value) -> list:
    base, count = split_type(field["type"])
    if not count:
        return [f"{target} = {value:#x}{C_SUFFIX[base]};"]
    return [f"{target}[{i}] = {v:#x}{C_SUFFIX[base]};" for i, v in enumerate(value)]


def c_struct(encoder: Encoder, at: int, name: str, fields: dict) -> list:
    lines = [f"\tstruct ush_{name} {name}_{at};", f"\tmemset(&{name}_{at}, WIRE_VECTOR_FILL, sizeof({name}_{at}));"]
    for field in encoder.structs[name]["fields"]:
        lines += ["\t" + line for line in c_assign(f"{name}_{at}.{field['name']}", field, fields[field["name"]])]
    return lines + [f"\tmemcpy(out + {at}, &{name}_{at}, sizeof({name}_{at}));"]


def c_extension(encoder: Encoder, at: int, extension: dict) -> tuple[list, int]:
    """Lines that write the extension at `at`, and the offset behind it."""
    data = encoder.pack_extension(extension)
    header = {"type": encoder.enums["extension"][extension["type"]], "reserved0": 0, "size": len(data),
              "value": extension["value"]}
    lines = c_struct(encoder, at, "extension_header", header)
    if "legs" in extension:
        for index, leg in enumerate(extension["legs"]):
            lines += c_struct(encoder, at + 8 + 16 * index, "leg", encoder.complete("leg", leg))
    elif "bookings" in extension:
        for index, entry in enumerate(extension["bookings"]):
            lines += c_struct(encoder, at + 8 + 48 * index, "booking", encoder.complete("booking", entry))
    elif len(data) > 8:
        lines.append(f"\tstatic const uint8_t body_{at}[] = {{")
        lines += [c_bytes(data[8:], "\t\t"), "\t};", f"\tmemcpy(out + {at + 8}, body_{at}, sizeof(body_{at}));"]
    return lines, at + len(data)


def c_vector(encoder: Encoder, vector: dict) -> str:
    name = vector["name"]
    lines = [f"static const uint8_t wire_bytes_{name}[] = {{", c_bytes(vector["bytes"]), "};", ""]
    lines += [f"static void wire_encode_{name}(uint8_t *out)", "{"]
    lines += c_struct(encoder, 0, vector["struct"], vector["fields"])
    at = encoder.structs[vector["struct"]]["size"]
    for extension in vector["extensions"]:
        part, at = c_extension(encoder, at, extension)
        lines += part
    return "\n".join(lines + ["}"]) + "\n"


def emit_c_header(wire: dict) -> str:
    encoder = Encoder(wire)
    vectors = [vector for vector in build(wire) if "parts" not in vector]
    lines = [f"\t{{ \"{v['name']}\", wire_bytes_{v['name']}, sizeof(wire_bytes_{v['name']}), wire_encode_{v['name']} }},"
             for v in vectors]
    table = "static const struct wire_vector wire_vectors[] = {\n" + "\n".join(lines) + "\n};\n"
    end = "#endif /* USH_WIRE_VECTORS_H */\n"
    return "\n".join([C_HEAD, *(c_vector(encoder, vector) for vector in vectors), table, end])
