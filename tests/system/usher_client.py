# SPDX-License-Identifier: Apache-2.0
"""A client of Usher, written from docs/protocol.md alone, so that the document is tested, too.

Public ports over UDP (UdpPort), the control port (ControlPort), every operation (Client), every
extension, every field of a reply, and a refusal class for each status.
"""
import array
import dataclasses
import enum
import os
import random
import select
import socket
import struct
import time

REQUEST_MAGIC, REPLY_MAGIC, VERSION = 0x5155, 0x5255, 1
BASE_BYTES, PAYLOAD_BYTES_MAX, CONTROL_BYTES_MAX = 64, 1408, 32768
EXTENSION_COUNT_MAX, LEG_COUNT_MAX, ROW_SEATS_MAX = 8, 8, 64
REQUEST_WINDOW, REFUSALS_REMEMBERED = 64, 8
UDP_PORT = 7447

_REQUEST = struct.Struct("<HBBHBBIIQQQHHIQQ")
_REPLY = struct.Struct("<HBBHBBIIQQQQQIBBH")
_HEADER = struct.Struct("<BBHI")
_LEG = struct.Struct("<HHIQ")
_BOOKING = struct.Struct("<QQQQIHHBBB5x")
assert _REQUEST.size == _REPLY.size == BASE_BYTES and _HEADER.size == 8 and _LEG.size == 16

Op = enum.IntEnum("Op", dict(STATUS=1, RESERVE=2, RELEASE=3, QUERY_HOLD=4, QUERY_SECTION=5,
                             EXTEND=6, RESERVE_BEST=7, RESERVE_AREA=8, SWAP=9, WAIT_LIST=13,
                             JOIN=10, EXCHANGE=11, POSITION=12,
                             EVENT_LOAD=64, EVENT_STATUS=65, CONFIRM=66, BLOCK=67,
                             UNBLOCK=68, STATS=69, KEY_ROTATE=75, PAY_BEGIN=70, PAY_END=71, REFUND_BEGIN=72,
                             TRANSFER=73, REFUND_END=76, CHANNEL_KEY=78, PAY_LATE=79, EVENT_CHANGE=80, BOOKINGS=81,
                             ROOM_CONTROL=74, ROOM_SHOW=82, ROOM_PLACES=83))
CONTROL_OPS = [op for op in Op if op >= 64]
_STATUS = (
    "OK TAKEN TAKEN_NOW LIMIT SOLD_OUT NOT_ON_SALE UNKNOWN_EVENT NO_SUCH_SEAT NO_HOLD WRONG_STATE "
    "EXPIRED RETRY BUSY MISMATCH STALE NOT_PERMITTED BAD_VERSION BAD_OP BAD_REQUEST EVENT_EXISTS "
    "BAD_IMAGE CHANGED")
Status = enum.IntEnum("Status", dict(
    {name: value for value, name in enumerate(_STATUS.split())}, CONTENDED=32, NONE=33, RATE=34, TOKEN=35, MAC=36,
    PROOF_OF_WORK=37, COOL_DOWN=40, ORPHAN=41,
    CHANNEL=43, HOLD_BUDGET=44, NOT_SOLD_OUT=45, ON_LIST=46, NOT_ON_LIST=47, WRONG_STATUS=48,
    IMAGE_DIFFERS=49,
    WAITING=38, NO_ROOM=60, TICKET=61, ROOM_PHASE=62, ROOM_FULL=63))
DONE = {Status.CONTENDED, Status.NONE, Status.OK, Status.TAKEN, Status.TAKEN_NOW, Status.LIMIT,
        Status.WRONG_STATE, Status.EXPIRED}
AGAIN = {Status.RETRY, Status.BUSY}
Fault = enum.IntEnum("Fault", ("NONE RESERVED EXTENSION LEG_EMPTY LEG_TWICE LEG_COUNT REQUEST_ID "
                               "USER HOLD_TIME UNUSED SECTION ARGUMENT CHANNEL"), start=0)
EventStatus = enum.IntEnum("EventStatus", "NONE DRAFT ON_SALE PAUSED SOLD_OUT COMPLETED CANCELLED",
                           start=0)
HoldState = enum.IntEnum("HoldState", "FREE NEW HELD BUSY SOLD RELEASED EXPIRED PAYING "
                         "REFUNDING REFUNDED", start=0)
Extension = enum.IntEnum("Extension", dict(LEGS=1, CLIENT=2, TOKEN=3, MAC=4, PAD=5, WORK=6,
                                           TICKET=7, CHANNEL=8, GIVE=9, DEVICE=12,
                                           ROWS=16, TEXT=17, SEATS=18, BOOKINGS=19,
                                           ROOM=24, PLACES=25, ROOM_OPEN=26, ROOM_DRAW=27))
Phase = enum.IntEnum("Phase", "NONE LOBBY DRAW SERVING", start=0)
RoomAction = enum.IntEnum("RoomAction", "OPEN CLOSE DRAW SET KEY")
RoomLimit = enum.IntEnum("RoomLimit", "EVERYBODY PAUSED SOLD_OUT SEATS CAP LOAD", start=0)
TicketFault = enum.IntEnum("TicketFault", "MISSING KEY FORGED")
ROOM_NO_CAP = 0xffffffff
_ROOM_OPEN = struct.Struct("<32sQIIIIB7s128s")
_ROOM_DRAW = struct.Struct("<32s32s64sB15s")
_ROOM = struct.Struct("<QQQQ8IIIIIIBBBBB7x")
_PLACE = struct.Struct("<QIB3x")
assert (_ROOM_OPEN.size, _ROOM_DRAW.size, _ROOM.size, _PLACE.size) == (192, 144, 96, 16)


# ---------------------------------------------------------------------------------------------
# Requests


def extension(kind, value, body=b"", size=None):
    """Header and body; `size` only to tell a lie."""
    return _HEADER.pack(kind, 0, _HEADER.size + len(body) if size is None else size, value) + body


def giving(pairs):
    """Seats to be given up, as (row, mask)."""
    return extension(Extension.GIVE, len(pairs), b"".join(_LEG.pack(r, 0, 0, m) for r, m in pairs))


def legs(pairs):
    """Further legs, as (row, mask)."""
    return extension(Extension.LEGS, len(pairs), b"".join(_LEG.pack(r, 0, 0, m) for r, m in pairs))


def client_address(text):
    if ":" in text:
        packed = socket.inet_pton(socket.AF_INET6, text)
    else:
        packed = bytes(10) + b"\xff\xff" + socket.inet_aton(text)
    return extension(Extension.CLIENT, 0, packed)


def token(tier, key_id, event, user, expiry_ns, tag):
    return extension(Extension.TOKEN, tier | key_id << 8 | event << 16, struct.pack("<QQQ", user, expiry_ns, tag))


def mac(gateway_id, key_id, time_ns, tag):
    return extension(Extension.MAC, gateway_id | key_id << 16, struct.pack("<QQ", time_ns, tag))


def work(difficulty, challenge_time_ns, nonce):
    return extension(Extension.WORK, difficulty, struct.pack("<QQ", challenge_time_ns, nonce))


def ticket(tier, key_id, number, tag):
    return extension(Extension.TICKET, tier | key_id << 8, struct.pack("<QQ", number, tag))


def device(fingerprint):
    return extension(Extension.DEVICE, 0, struct.pack("<Q", fingerprint))


def room_open(seed_hash, users, device_users=0, slow_places=0, cap=ROOM_NO_CAP, source=b"", beacon_round=0, reserved=bytes(7)):
    return extension(Extension.ROOM_OPEN, 1, _ROOM_OPEN.pack(
        seed_hash, beacon_round, users, device_users, slow_places, cap, len(source), reserved, source))


def room_draw(seed, root, beacon, reserved=bytes(15)):
    return extension(Extension.ROOM_DRAW, 1, _ROOM_DRAW.pack(seed, root, beacon, len(beacon), reserved))


def siphash(key, data):
    """SipHash-2-4 of bytes under a key of 16 bytes."""
    mask = (1 << 64) - 1
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573]

    def turn(x, by):
        return (x << by | x >> 64 - by) & mask

    def rounds(count):
        for _ in range(count):
            v[0] = v[0] + v[1] & mask
            v[2] = v[2] + v[3] & mask
            v[1], v[3] = turn(v[1], 13) ^ v[0], turn(v[3], 16) ^ v[2]
            v[0] = turn(v[0], 32)
            v[2] = v[2] + v[1] & mask
            v[0] = v[0] + v[3] & mask
            v[1], v[3] = turn(v[1], 17) ^ v[2], turn(v[3], 21) ^ v[0]
            v[2] = turn(v[2], 32)

    tail = data[len(data) // 8 * 8:]
    blocks = data[:len(data) - len(tail)] + tail + bytes(7 - len(tail)) + bytes([len(data) & 255])
    for (word,) in struct.iter_unpack("<Q", blocks):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 255
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def channel(number, key_number, key, user, event):
    tag = siphash(key, struct.pack("<QII", user, event, number))
    return extension(Extension.CHANNEL, number | key_number << 8, struct.pack("<Q", tag))


def pad(rows):
    """Room for a page of so many rows: what the reply has beyond its base."""
    return extension(Extension.PAD, 0, bytes(8 * rows))


def encode(op, event=0, request_id=0, user=0, hold=0, mask=0, row=0, section=0, hold_ms=0, cookie=0,
           arg=0, extensions=(), magic=REQUEST_MAGIC, version=VERSION, size=None, count=None,
           reserved=0):
    """A request. The arguments after `extensions` are there to write wrong ones."""
    tail = b"".join(extensions)
    return _REQUEST.pack(magic, version, op, BASE_BYTES + len(tail) if size is None else size,
                         len(extensions) if count is None else count, reserved, event, request_id,
                         user, hold, mask, row, section, hold_ms, cookie, arg) + tail


# ---------------------------------------------------------------------------------------------
# Replies


@dataclasses.dataclass
class Booking:
    """One leg of a booking."""
    hold: int
    user: int
    mask: int
    deadline_ns: int
    amount: int
    row: int
    version: int
    state: int
    leg: int
    legs: int


@dataclasses.dataclass
class Room:
    """A waiting room as ROOM_SHOW tells it."""
    serving: int
    end: int
    exchanged: int
    wait_ns: int
    counts: list
    unsettled: int
    rate: int
    cap: int
    seats_free: int
    waiting: int
    phase: Phase
    paused: int
    limit: RoomLimit
    key_id: int
    event_status: EventStatus


class Violation(Exception):
    """The box sent what the protocol does not allow."""


class NoReply(Exception):
    """Undecided: it was done or not. Sending it again tells."""


class Refused(Exception):
    """A status that is not OK."""

    def __init__(self, reply):
        self.reply = reply
        super().__init__(f"{name_of(Op, reply.op)}: {name_of(Status, reply.status)}, detail {reply.detail}")

    done = property(lambda self: self.reply.done)


class Taken(Refused):
    leg = property(lambda self: self.reply.detail)
    in_the_way = property(lambda self: self.reply.hold)


class Limit(Refused):
    seats_max = property(lambda self: self.reply.detail)


class NotOnSale(Refused):
    event_status = property(lambda self: EventStatus(self.reply.detail))


class NoSuchSeat(Refused):
    leg = property(lambda self: self.reply.detail)


class WrongState(Refused):
    state = property(lambda self: self.reply.state)


class BadVersion(Refused):
    spoken = property(lambda self: self.reply.detail)


class BadRequest(Refused):
    fault = property(lambda self: Fault(self.reply.detail))


class BadImage(Refused):
    why = property(lambda self: self.reply.text)


REFUSAL = {Status.TAKEN: Taken, Status.LIMIT: Limit, Status.NOT_ON_SALE: NotOnSale,
           Status.NO_SUCH_SEAT: NoSuchSeat, Status.WRONG_STATE: WrongState,
           Status.BAD_VERSION: BadVersion, Status.BAD_REQUEST: BadRequest,
           Status.BAD_IMAGE: BadImage}
for _status, _base in [(s, Refused) for s in Status] + [(Status.TAKEN_NOW, Taken)]:
    if _status != Status.OK and (_status not in REFUSAL or _base is not Refused):
        REFUSAL[_status] = type("".join(p.capitalize() for p in _status.name.split("_")), (_base,), {})
globals().update({c.__name__: c for c in REFUSAL.values()})


def name_of(kind, value):
    """A number this client does not know stays a number."""
    try:
        return kind(value).name
    except ValueError:
        return str(value)


@dataclasses.dataclass
class Reply:
    """All fields of a reply, and its extensions as (type, value, body)."""
    magic: int
    version: int
    op: int
    size: int
    extension_count: int
    status: int
    event: int
    request_id: int
    cookie: int
    hold: int
    deadline_ns: int
    sequence: int
    amount: int
    detail: int
    state: int
    hold_version: int
    extensions: list
    data: bytes

    def body(self, kind):
        return next(((value, body) for k, value, body in self.extensions if k == kind), None)

    @property
    def rows(self):
        """(first row, masks), or None."""
        found = self.body(Extension.ROWS)
        return found and (found[0], list(struct.unpack(f"<{len(found[1]) // 8}Q", found[1])))

    @property
    def seats(self):
        """[(row, mask), ...] of SEATS, or None."""
        found = self.body(Extension.SEATS)
        return found and [(r, m) for r, _, _, m in _LEG.iter_unpack(found[1])]

    @property
    def bookings(self):
        """Entries of BOOKINGS; none without it."""
        found = self.body(Extension.BOOKINGS)
        return [Booking(*entry) for entry in _BOOKING.iter_unpack(found[1])] if found else []

    @property
    def room(self):
        found = self.body(Extension.ROOM)
        if not found:
            return None
        v = _ROOM.unpack(found[1])
        return Room(*v[:4], list(v[4:12]), *v[12:17], Phase(v[17]), v[18], RoomLimit(v[19]), v[20], EventStatus(v[21]))

    @property
    def places(self):
        """[(user, tier, number)] of PLACES; none without it."""
        found = self.body(Extension.PLACES)
        return [(user, tier, number) for user, number, tier in _PLACE.iter_unpack(found[1])] if found else []

    @property
    def text(self):
        found = self.body(Extension.TEXT)
        return found and found[1][:found[0]].decode()

    name = property(lambda self: name_of(Status, self.status))
    # An unknown status is a refusal that is done.
    done = property(lambda self: self.status in DONE or self.status not in list(Status))
    fault = property(lambda self: Fault(self.detail) if self.status == Status.BAD_REQUEST else None)

    def check(self):
        """Itself if OK; raises the refusal otherwise."""
        if self.status != Status.OK:
            raise REFUSAL.get(self.status, Refused)(self)
        return self


def decode(data):
    """Reads a reply strictly: raises Violation for what the protocol rules out."""
    def need(condition, what):
        if not condition:
            raise Violation(f"{what}: {data.hex()}")

    need(len(data) >= BASE_BYTES, "short")
    *fields, reserved0, hold_version = _REPLY.unpack_from(data)
    reply = Reply(*fields, hold_version, [], bytes(data))
    need(reply.magic == REPLY_MAGIC, "magic")
    need(reply.size == len(data), "size")
    need(reserved0 == 0, "reserved")
    need(reply.extension_count <= EXTENSION_COUNT_MAX, "extension count")
    at = BASE_BYTES
    for _ in range(reply.extension_count):
        need(at + 8 <= len(data), "extension outside")
        kind, zero, size, value = _HEADER.unpack_from(data, at)
        need(zero == 0 and size >= 8 and size % 8 == 0 and at + size <= len(data), "extension")
        need(reply.body(kind) is None, "extension twice")
        body = data[at + 8:at + size]
        if kind == Extension.TEXT:
            need(value <= len(body) < value + 8 and not any(body[value:]), "text")
        if kind == Extension.SEATS:
            need(0 < value <= LEG_COUNT_MAX and len(body) == 16 * value, "seats")
        if kind in (Extension.ROOM, Extension.PLACES, Extension.ROOM_OPEN, Extension.ROOM_DRAW):
            entry = {Extension.ROOM: _ROOM, Extension.PLACES: _PLACE, Extension.ROOM_OPEN: _ROOM_OPEN}.get(kind, _ROOM_DRAW).size
            need(0 < value and len(body) == entry * value and (kind == Extension.PLACES or value == 1), "room")
        if kind == Extension.BOOKINGS:
            need(0 < value and len(body) == _BOOKING.size * value, "bookings")
        need(kind not in list(Extension) or kind >= 16, "extension of requests")
        reply.extensions.append((kind, value, body))
        at += size
    need(at == len(data), "more than its extensions")
    return reply


def decode_several(data):
    """Reads the replies that fill a datagram, one or more."""
    replies, at = [], 0
    while not replies or at < len(data):
        size = struct.unpack_from("<H", data, at + 4)[0] if len(data) - at >= BASE_BYTES else 0
        # What does not cut cleanly is read whole, and is a violation by its size.
        size = size if BASE_BYTES <= size <= len(data) - at else len(data) - at
        replies.append(decode(data[at:at + size]))
        at += size
    return replies


def key_of(data):
    """What a reply repeats of a request: op, event, request_id, cookie."""
    return (data[3], *struct.unpack_from("<8xII", data), *struct.unpack_from("<48xQ", data))


def key_of_reply(reply):
    return reply.op, reply.event, reply.request_id, reply.cookie


# ---------------------------------------------------------------------------------------------
# Ports


class UdpPort:
    """A public port. `udp` is a connected socket: only the box's datagrams come."""

    def __init__(self, udp, attempts=6, wait_s=0.2):
        self.socket, self.attempts, self.wait_s = udp, attempts, wait_s
        self.ignored = self.resent = 0
        # Messages that went with others, by what their replies repeat, and replies that came with others.
        self.packed, self.waiting = {}, []
        # How many replies each datagram had since the first of several messages went; bytes of both ways.
        self.grouped, self.packed_bytes = [], 0
        udp.setblocking(False)

    def send(self, data):
        # A reply to a copy of it may still be on its way among others.
        if self.packed and len(data) >= BASE_BYTES and key_of(data) in self.packed:
            self.packed_bytes += len(data)
        self.socket.send(data)

    def send_packed(self, messages):
        """Several messages in one datagram; one message is sent as ever."""
        if len(messages) == 1:
            self.send(messages[0])
            return
        self.packed.update((key_of(message), message) for message in messages)
        self.packed_bytes += sum(map(len, messages))
        self.socket.send(b"".join(messages))

    def read(self, data):
        """The replies of a datagram. Several are a violation unless each is to a message that went with others."""
        if not self.packed:
            return [decode(data)]
        if len(data) > PAYLOAD_BYTES_MAX:
            raise Violation(f"a datagram of {len(data)} bytes")
        replies = decode_several(data)
        self.grouped.append(len(replies))
        self.packed_bytes -= sum(reply.size for reply in replies if key_of_reply(reply) in self.packed)
        if self.packed_bytes < 0:
            raise Violation("replies longer than their requests together")
        for reply in replies:
            if len(replies) > 1 and key_of_reply(reply) not in self.packed:
                raise Violation(f"a reply to a message that went alone, or to none, among others: {reply}")
        return replies

    def receive(self, seconds=2.0):
        """The next reply decoded, whatever it answers; None if none comes."""
        end = time.monotonic() + seconds
        while not self.waiting:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return None
            try:
                self.waiting = self.read(self.socket.recv(65536))
            except ConnectionRefusedError:
                continue
        return self.waiting.pop(0)

    def exchange_packed(self, messages):
        """The replies to messages that go in one datagram, in the order of the messages, however they come;
        sends what is still without a reply again."""
        wanted, replies = {key_of(message): message for message in messages}, {}
        assert len(wanted) == len(messages), "each needs a cookie of its own"
        wait = self.wait_s
        for attempt in range(self.attempts):
            missing = [message for key, message in wanted.items() if key not in replies]
            self.resent += len(missing) if attempt else 0
            try:
                self.send_packed(missing)
            except ConnectionRefusedError:
                pass
            end = time.monotonic() + wait * random.uniform(0.9, 1.1)
            while len(replies) < len(wanted) and time.monotonic() < end:
                reply = self.receive(end - time.monotonic())
                if reply is None:
                    break
                key = key_of_reply(reply)
                if key not in wanted or key in replies:
                    self.ignored += 1
                    continue
                if reply.size > len(wanted[key]):
                    raise Violation("a reply longer than its request")
                replies[key] = reply
            if len(replies) == len(wanted):
                return [replies[key] for key in wanted]
            wait = min(2 * wait, 2.0)
        raise NoReply(" ".join(message.hex() for key, message in wanted.items() if key not in replies))

    def exchange(self, data, fd=None):
        """The reply to a request; sends it again until it comes."""
        assert fd is None, "a file goes to the control port"
        wanted = key_of(data)
        wait = self.wait_s
        for attempt in range(self.attempts):
            self.resent += attempt != 0
            try:
                self.send(data)
            except ConnectionRefusedError:
                pass
            end = time.monotonic() + wait * random.uniform(0.9, 1.1)
            while time.monotonic() < end:
                reply = self.receive(end - time.monotonic())
                if reply is None:
                    break
                if key_of_reply(reply) == wanted:
                    if reply.size > len(data):
                        raise Violation("a reply longer than its request")
                    return reply
                self.ignored += 1
            wait = min(2 * wait, 2.0)
        raise NoReply(data.hex())

    def close(self):
        self.socket.close()


class ControlPort:
    """The control port."""

    def __init__(self, path, seconds=60):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(seconds)
        self.socket.connect(path)
        self.ignored = self.resent = 0

    def send(self, data, fd=None):
        rights = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        self.socket.sendmsg([data], rights)

    def receive(self):
        data = self.socket.recv(65536)
        if not data:
            raise NoReply("closed")
        if len(data) > CONTROL_BYTES_MAX:
            raise Violation("too long")
        return decode(data)

    def exchange(self, data, fd=None):
        self.send(data, fd)
        cookie = struct.unpack_from("<Q", data, 48)[0]
        while True:
            reply = self.receive()
            if reply.cookie == cookie and reply.op == data[3]:
                return reply
            self.ignored += 1

    def close(self):
        self.socket.close()


# ---------------------------------------------------------------------------------------------
# Client


class Client:
    """Every operation, on either port. `call` gives the reply whatever its status; the operations
    raise the refusal, and have patience with RETRY and BUSY."""

    def __init__(self, port, seed=None):
        self.port = port
        self.random = random.Random(seed)
        self.ids = {}

    def close(self):
        self.port.close()

    def next_id(self, user, event):
        self.ids[user, event] = self.ids.get((user, event), 0) + 1
        return self.ids[user, event]

    def call(self, op, fd=None, **fields):
        fields.setdefault("cookie", self.random.getrandbits(64))
        data = encode(op, **fields)
        reply = self.port.exchange(data, fd)
        if reply.version != VERSION:
            raise Violation(f"version {reply.version}")
        return reply

    def patient(self, op, fd=None, seconds=5, **fields):
        """The same request until it is decided."""
        retry, busy, end = 0.001, 0.01, time.monotonic() + seconds
        while True:
            reply = self.call(op, fd, **fields)
            if reply.status not in AGAIN or time.monotonic() > end:
                return reply.check()
            if reply.status == Status.RETRY:
                time.sleep(retry)
                retry = min(2 * retry, 0.1)
            else:
                time.sleep(self.random.uniform(0, busy))
                busy = min(2 * busy, 1)

    @staticmethod
    def spread(seats):
        """Legs [(row, mask), ...] as fields: the first is the base leg."""
        (row, mask), *further = seats
        return dict(row=row, mask=mask, extensions=[legs(further)] if further else [])

    def status(self, event=0):
        return self.patient(Op.STATUS, event=event)

    def reserve(self, event, user, seats, hold_ms=0, request_id=None, key=None):
        """key: (channel, key number, key) of a channel."""
        request_id = request_id or self.next_id(user, event)
        fields = self.spread(seats)
        if key is not None:
            fields["extensions"].append(channel(*key, user, event))
        return self.patient(Op.RESERVE, event=event, user=user, request_id=request_id,
                            hold_ms=hold_ms, **fields)

    def reserve_best(self, event, user, seats, tier=None, section=None, together=False, accessible=0,
                     companion=0, legs=8, hold_ms=0, request_id=None):
        request_id = request_id or self.next_id(user, event)
        flags = (section is not None) | (tier is not None) << 1 | together << 2
        arg = seats | (tier or 0) << 16 | flags << 24 | accessible << 32 | companion << 40
        return self.patient(Op.RESERVE_BEST, event=event, user=user, request_id=request_id, arg=arg,
                            section=section or 0, hold_ms=hold_ms,
                            extensions=[pad(2 * legs)] if legs else [])

    def reserve_area(self, event, user, section, places, accessible=0, legs=8, hold_ms=0, request_id=None):
        request_id = request_id or self.next_id(user, event)
        return self.patient(Op.RESERVE_AREA, event=event, user=user, request_id=request_id,
                            section=section, arg=places | accessible << 32, hold_ms=hold_ms,
                            extensions=[pad(2 * legs)] if legs else [])

    def wait_join(self, event, user, seats, tier=None, request_id=None):
        request_id = request_id or self.next_id(user, event)
        arg = seats | (tier or 0) << 16 | (tier is not None) << 24
        return self.patient(Op.WAIT_LIST, event=event, user=user, request_id=request_id, arg=arg)

    def wait_leave(self, event, user, request_id=None):
        request_id = request_id or self.next_id(user, event)
        return self.patient(Op.WAIT_LIST, event=event, user=user, request_id=request_id, arg=1 << 32)

    def wait_look(self, event, user):
        return self.patient(Op.WAIT_LIST, event=event, user=user, request_id=1, arg=2 << 32)

    def join(self, event, user, tier=0, fingerprint=0):
        """The reply carries a ticket: see `ticket_of`."""
        return self.patient(Op.JOIN, event=event, user=user, arg=tier, extensions=[device(fingerprint)] if fingerprint else [])

    @staticmethod
    def ticket_of(reply):
        """The TICKET extension of a reply to JOIN."""
        return ticket(reply.detail & 0xff, reply.detail >> 8 & 0xff, reply.amount, reply.hold)

    @staticmethod
    def token_of(reply, user):
        """The TOKEN extension of a reply to EXCHANGE."""
        return extension(Extension.TOKEN, reply.detail, struct.pack("<QQQ", user, reply.deadline_ns, reply.hold))

    def exchange(self, event, user, joined):
        return self.patient(Op.EXCHANGE, event=event, user=user, extensions=[self.ticket_of(joined)])

    def position(self, event, user, joined):
        return self.call(Op.POSITION, event=event, user=user, extensions=[self.ticket_of(joined)])

    def room_control(self, event, action, more=0, extensions=()):
        return self.patient(Op.ROOM_CONTROL, event=event, arg=action | more, extensions=list(extensions))

    def room_set(self, event, cap=None, paused=None):
        more = (cap is not None) << 8 | (cap or 0) << 32 | (paused is not None) << 9 | bool(paused) << 10
        return self.room_control(event, RoomAction.SET, more)

    def room(self, event):
        return self.patient(Op.ROOM_SHOW, event=event).room

    def room_places(self, event):
        """{(tier, number): user} of a closed lobby and those behind it."""
        found, at = {}, 0
        while True:
            reply = self.patient(Op.ROOM_PLACES, event=event, arg=at)
            if len(reply.places) != reply.amount:
                raise Violation("places")
            for user, tier, number in reply.places:
                if (tier, number) in found:
                    raise Violation(f"place {number} of tier {tier} twice")
                found[tier, number] = user
            at = reply.detail
            if at == 0:
                return found

    def release(self, event, user, hold, request_id=None):
        request_id = request_id or self.next_id(user, event)
        return self.patient(Op.RELEASE, event=event, user=user, request_id=request_id, hold=hold)

    def query_hold(self, event, user, hold):
        return self.patient(Op.QUERY_HOLD, event=event, user=user, hold=hold)

    def query_page(self, event, section, row=0, rows=0, key=None):
        extensions = [pad(rows)] if rows else []
        if key is not None:
            extensions.append(channel(*key, 0, event))
        return self.patient(Op.QUERY_SECTION, event=event, section=section, row=row, extensions=extensions)

    def query_section(self, event, section, rows=160, key=None):
        """Free seats of a section: {row of the event: mask}."""
        free, row = {}, 0
        while True:
            reply = self.query_page(event, section, row, rows, key)
            first, masks = reply.rows
            free.update((first + i, m) for i, m in enumerate(masks))
            if reply.detail == 0:
                if len(free) != reply.amount:
                    raise Violation(f"{len(free)} rows of {reply.amount}")
                return free
            if reply.detail != row + len(masks) or not masks:
                raise Violation(f"page from {row} with {len(masks)} rows goes on at {reply.detail}")
            row = reply.detail

    def event_load(self, event, image):
        """`image`: bytes of a venue image, or a file descriptor."""
        if isinstance(image, int):
            return self.patient(Op.EVENT_LOAD, fd=image, event=event)
        fd = os.memfd_create("venue")
        try:
            os.write(fd, image)
            return self.patient(Op.EVENT_LOAD, fd=fd, event=event)
        finally:
            os.close(fd)

    def event_change(self, event, image, request_id=0):
        """`image`: bytes of a venue image of the same event."""
        fd = os.memfd_create("venue")
        try:
            os.write(fd, image)
            return self.patient(Op.EVENT_CHANGE, fd=fd, event=event, request_id=request_id)
        finally:
            os.close(fd)

    def bookings(self, event, refund=False, pages=None):
        """{hold: [Booking, ...]} of an event, one entry a leg. pages: a list that gets their lengths."""
        found, at = {}, 0
        while True:
            reply = self.patient(Op.BOOKINGS, event=event, arg=at | refund << 32)
            holds = set()
            for entry in reply.bookings:
                holds.add(entry.hold)
                found.setdefault(entry.hold, []).append(entry)
            if len(holds) != reply.amount or any(len(found[h]) != found[h][0].legs for h in holds):
                raise Violation(f"a page of {reply.amount} holds has {len(holds)}, or one of them twice or in part")
            if pages is not None:
                pages.append(len(reply.bookings))
            at = reply.detail
            if at == 0:
                return found

    def event_status(self, event, status):
        return self.patient(Op.EVENT_STATUS, event=event, arg=status)

    def confirm(self, event, user, hold):
        return self.patient(Op.CONFIRM, event=event, user=user, hold=hold)

    def extend(self, event, user, hold, hold_ms=0, request_id=None):
        request_id = request_id or self.next_id(user, event)
        return self.patient(Op.EXTEND, event=event, user=user, request_id=request_id, hold=hold,
                            hold_ms=hold_ms)

    def give_back(self, event, user, hold, seats, request_id=None):
        """Some of a hold's seats."""
        request_id = request_id or self.next_id(user, event)
        return self.patient(Op.RELEASE, event=event, user=user, request_id=request_id, hold=hold,
                            **self.spread(seats))

    def swap(self, event, user, hold, take, give, request_id=None, key=None):
        """Other seats for some of a hold's."""
        request_id = request_id or self.next_id(user, event)
        fields = self.spread(take)
        fields["extensions"].append(giving(give))
        if key:
            fields["extensions"].append(channel(*key, user, event))
        return self.patient(Op.SWAP, event=event, user=user, request_id=request_id, hold=hold, **fields)

    def pay_begin(self, event, user, hold, version, amount, pay_ms=60000):
        return self.patient(Op.PAY_BEGIN, event=event, user=user, hold=hold, section=version,
                            arg=amount, hold_ms=pay_ms)

    def pay_end(self, event, user, hold, version, succeeded):
        return self.patient(Op.PAY_END, event=event, user=user, hold=hold, section=version,
                            arg=1 if succeeded else 2)

    def pay_late(self, event, user, hold, seats, amount, channel_number=0):
        return self.patient(Op.PAY_LATE, event=event, user=user, hold=hold, section=channel_number,
                            arg=amount, **self.spread(seats))

    def refund_begin(self, event, user, hold, version, seats=()):
        return self.patient(Op.REFUND_BEGIN, event=event, user=user, hold=hold, section=version,
                            **(self.spread(seats) if seats else {}))

    def refund_end(self, event, user, hold, version, succeeded, seats=()):
        return self.patient(Op.REFUND_END, event=event, user=user, hold=hold, section=version,
                            arg=1 if succeeded else 2, **(self.spread(seats) if seats else {}))

    def block(self, event, seats, channel_number=0):
        return self.patient(Op.BLOCK, event=event, arg=channel_number, **self.spread(seats))

    def unblock(self, event, seats, channel_number=0):
        return self.patient(Op.UNBLOCK, event=event, arg=channel_number, **self.spread(seats))

    def channel_key(self, event, number, new=False):
        """The key as `reserve` takes it."""
        reply = self.patient(Op.CHANNEL_KEY, event=event, section=number, arg=int(new))
        return number, reply.detail, bytes.fromhex(reply.text)

    def stats(self):
        """All counters; a page ends with a whole line."""
        counters, at = {}, 0
        while True:
            reply = self.patient(Op.STATS, arg=at)
            if reply.text and not reply.text.endswith("\n"):
                raise Violation("a line cut in two")
            for line in reply.text.splitlines():
                name, value = line.split(" ")
                counters[name] = int(value)
            at = reply.detail
            if at == 0:
                return counters


# ---------------------------------------------------------------------------------------------
# Venue images


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = _CRC[(crc ^ byte) & 255] ^ (crc >> 8)
    return crc ^ 0xffffffff


def _crc_entry(value):
    for _ in range(8):
        value = (value >> 1) ^ (0x82f63b78 if value & 1 else 0)
    return value


_CRC = [_crc_entry(i) for i in range(256)]
assert crc32c(b"123456789") == 0xe3069283
VENUE_MAGIC, VENUE_VERSION = 0x314e455648535355, 2
_VENUE_HEADER = struct.Struct("<QIIQIIIIQIIHH4s64sII")
_VENUE_ROW = struct.Struct("<QQ3QQQ4BHH")
assert _VENUE_HEADER.size == 136 and _VENUE_ROW.size == 64


@dataclasses.dataclass
class Row:
    """tiers: {tier: mask}; seats in none of them are of tier 0."""
    seats: int
    house: int = 0
    tiers: dict = dataclasses.field(default_factory=dict)
    accessible: int = 0
    companion: int = 0
    flags: int = 0


@dataclasses.dataclass
class Venue:
    """sections: lists of Row; rows number through them. prices: by tier."""
    sections: list
    prices: tuple = (2500,)
    hold_ms: int = 600_000
    hold_ms_max: int = 3_600_000
    user_seats_max: int = 8
    best: int = 0
    hold_budget_s: int = 0
    cool_down_ms: int = 0
    labels: bytes = b"{}"
    name: str = "test"

    @property
    def rows(self):
        return [row for section in self.sections for row in section]

    @property
    def seat_count(self):
        return sum(bin(row.seats).count("1") for row in self.rows)

    def price(self, seats):
        """Of [(row, mask), ...]."""
        total = 0
        for index, mask in seats:
            row = self.rows[index]
            for seat in (i for i in range(ROW_SEATS_MAX) if mask >> i & 1):
                tier = next((t for t, m in row.tiers.items() if m >> seat & 1), 0)
                total += self.prices[tier]
        return total

    def image(self):
        body = b"".join(struct.pack("<II", price, 0) for price in self.prices)
        first = 0
        for section in self.sections:
            body += struct.pack("<II", first, len(section))
            first += len(section)
        for number, section in enumerate(self.sections):
            for row in section:
                tiers = list(row.tiers) + [0] * (3 - len(row.tiers))
                masks = list(row.tiers.values()) + [0] * (3 - len(row.tiers))
                body += _VENUE_ROW.pack(row.seats, row.house, *masks, row.accessible, row.companion, 0, *tiers,
                                        number, row.flags)
        body += self.labels

        def head(crc):
            return _VENUE_HEADER.pack(
                VENUE_MAGIC, VENUE_VERSION, crc, _VENUE_HEADER.size + len(body), len(self.prices),
                len(self.sections), first, self.seat_count, len(self.labels), self.hold_ms,
                self.hold_ms_max, self.user_seats_max, self.best, b"EUR\0", self.name.encode(),
                self.hold_budget_s, self.cool_down_ms)

        return head(crc32c(head(0) + body)) + body
