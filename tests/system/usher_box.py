# SPDX-License-Identifier: Apache-2.0
"""What system tests share: the wire in Python, network namespaces, and usherd under test.

Written from docs/protocol.md, not from the C code, so that the two check each other.
"""
import array
import atexit
import ctypes
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

REQUEST = struct.Struct("<HBBHBBIIQQQHHIQQ")
REPLY = struct.Struct("<HBBHBBIIQQQQQIBBH")
REQUEST_MAGIC, REPLY_MAGIC, VERSION = 0x5155, 0x5255, 1
OP = dict(STATUS=1, RESERVE=2, RELEASE=3, QUERY_HOLD=4, QUERY_SECTION=5, EVENT_LOAD=64,
          EVENT_STATUS=65, CONFIRM=66, BLOCK=67, UNBLOCK=68, STATS=69, EXTEND=6, SWAP=9, PAY_BEGIN=70,
          PAY_END=71, REFUND_BEGIN=72, TRANSFER=73, PAY_LATE=79, REFUND_END=76)
STATUS = ["OK", "TAKEN", "TAKEN_NOW", "LIMIT", "SOLD_OUT", "NOT_ON_SALE", "UNKNOWN_EVENT",
          "NO_SUCH_SEAT", "NO_HOLD", "WRONG_STATE", "EXPIRED", "RETRY", "BUSY", "MISMATCH", "STALE",
          "NOT_PERMITTED", "BAD_VERSION", "BAD_OP", "BAD_REQUEST", "EVENT_EXISTS", "BAD_IMAGE",
          "CHANGED"]
ON_SALE = 2
UDP_PORT = 7447
OUR4, PEER4 = "10.77.0.1", "10.77.0.2"
OUR6, PEER6 = "fd77::1", "fd77::2"


def request(op, event=0, request_id=0, user=0, hold=0, mask=0, row=0, section=0, hold_ms=0,
            cookie=0, arg=0, extra=b"", extensions=0):
    return REQUEST.pack(REQUEST_MAGIC, VERSION, OP[op], REQUEST.size + len(extra), extensions, 0,
                        event, request_id, user, hold, mask, row, section, hold_ms, cookie,
                        arg) + extra


class Reply:
    """One reply; .status is its name, .text the TEXT extension or None."""

    def __init__(self, data):
        (self.magic, self.version, self.op, self.size, self.extensions, status, self.event,
         self.request_id, self.cookie, self.hold, self.deadline_ns, self.sequence, self.amount,
         self.detail, self.state, r0, self.hold_version) = REPLY.unpack_from(data)
        assert self.magic == REPLY_MAGIC and self.size == len(data) and r0 == 0, data.hex()
        self.status = STATUS[status]
        self.text = None
        at = REPLY.size
        for _ in range(self.extensions):
            kind, _, size, value = struct.unpack_from("<BBHI", data, at)
            if kind == 17:
                self.text = data[at + 8:at + 8 + value].decode()
            at += size
        assert at == len(data)


def crc32c(data):
    table = crc32c.table
    if not table:
        for i in range(256):
            c = i
            for _ in range(8):
                c = (c >> 1) ^ 0x82f63b78 if c & 1 else c >> 1
            table.append(c)
    crc = 0xffffffff
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ (crc >> 8)
    return crc ^ 0xffffffff


crc32c.table = []


def venue_image(rows=4, seats=32, price=2500):
    """A one-section venue of `rows` rows, as docs/protocol.md lays it out; of several prices, row by row in turn."""
    prices = price if isinstance(price, tuple) else (price,)
    body = b"".join(struct.pack("<II", one, 0) for one in prices) + struct.pack("<II", 0, rows)
    for row in range(rows):
        body += struct.pack("<QQ3QQQ4BHH", (1 << seats) - 1, 0, 0, 0, 0, 0, 0, row % len(prices), 0, 0, 0, 0, 0)

    def head(crc):
        return struct.pack("<QIIQIIIIQIII4s64sII", 0x314e455648535355, 2, crc, 136 + len(body), len(prices), 1,
                           rows, rows * seats, 0, 600000, 3600000, 4000, b"EUR\0", b"test", 0, 0)

    return head(crc32c(head(0) + body)) + body


class Control:
    """A client of the control port."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(10)
        self.socket.connect(path)

    def call(self, op, fd=None, **fields):
        data = request(op, **fields)
        ancillary = []
        if fd is not None:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        self.socket.sendmsg([data], ancillary)
        return Reply(self.socket.recv(65536))

    def load(self, event, image):
        fd = os.memfd_create("venue")
        try:
            os.write(fd, image)
            return self.call("EVENT_LOAD", fd=fd, event=event)
        finally:
            os.close(fd)

    def stats(self):
        counters, at = {}, 0
        while True:
            reply = self.call("STATS", arg=at)
            assert reply.status == "OK"
            for line in reply.text.splitlines():
                name, value = line.split(" ")
                assert name not in counters, name
                counters[name] = int(value)
            at = reply.detail
            if at == 0:
                return counters

    def close(self):
        self.socket.close()


def sums_agree(counters):
    """Every packet and message received counts under exactly one outcome."""
    left = counters["usher_rx_packets"] + counters["usher_control_messages"]
    right = sum(v for k, v in counters.items()
                if k.startswith(("usher_status_", "usher_answer_", "usher_drop_")))
    return left == right


def run(*command, check=True):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if check and result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {result.stdout}")
    return result


class Bench:
    """Two namespaces and a veth pair: `a` is for usherd, `b` for its peers. Always removed."""

    def __init__(self):
        self.a, self.b = f"ush{os.getpid()}a", f"ush{os.getpid()}b"
        self.libc = ctypes.CDLL(None, use_errno=True)
        atexit.register(self.close)
        for n in (self.a, self.b):
            run("ip", "netns", "add", n)
            run("ip", "-n", n, "link", "set", "lo", "up")
        self.wire()

    def wire(self):
        """A fresh veth pair with peer addresses, as after a boot."""
        run("ip", "-n", self.a, "link", "del", "ush0", check=False)
        run("ip", "link", "add", "ush0", "netns", self.a, "type", "veth", "peer", "name", "ush1",
            "netns", self.b)
        # The kernel must not answer for the address that usherd makes from the same MAC.
        run("ip", "netns", "exec", self.a, "sysctl", "-qw", "net.ipv6.conf.ush0.disable_ipv6=1")
        run("ip", "-n", self.a, "link", "set", "ush0", "up")
        run("ip", "-n", self.b, "link", "set", "ush1", "up")
        run("ip", "-n", self.b, "addr", "add", PEER4 + "/24", "dev", "ush1")
        run("ip", "-n", self.b, "addr", "add", PEER6 + "/64", "dev", "ush1", "nodad")

    def offload(self, state):
        """Whether the peer's kernel leaves checksums for a device that is not there."""
        run("ip", "netns", "exec", self.b, "ethtool", "-K", "ush1", "tx", state)

    def inside(self, namespace, function):
        """Calls `function` in a namespace; sockets made there stay there."""
        with open("/proc/thread-self/ns/net") as back, \
                open(f"/run/netns/{namespace}") as there:
            if self.libc.setns(there.fileno(), 0) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                return function()
            finally:
                self.libc.setns(back.fileno(), 0)

    def udp(self, address, port=UDP_PORT):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def make():
            s = socket.socket(family, socket.SOCK_DGRAM)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            s.settimeout(2)
            s.connect((address, port))
            return s
        return self.inside(self.b, make)

    def raw(self):
        def make():
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            s.bind(("ush1", 0))
            s.settimeout(2)
            return s
        return self.inside(self.b, make)

    def mac(self, namespace, interface):
        link = json.loads(run("ip", "-n", namespace, "-j", "link", "show", interface).stdout)
        return bytes.fromhex(link[0]["address"].replace(":", ""))

    def ping(self, address, *options):
        return run("ip", "netns", "exec", self.b, "ping", "-c", "2", "-i", "0.2", "-W", "2",
                   *options, address, check=False).returncode == 0

    def close(self):
        for n in (self.a, self.b):
            run("ip", "netns", "del", n, check=False)


class Box:
    """usherd under test, with a state and a run directory of its own."""

    boxes = []

    def __init__(self, build, device=None, sets=(), namespace=None, state=None, extra=()):
        self.directory = tempfile.mkdtemp(prefix="usher-")
        self.own_state = state is None
        self.state = state or os.path.join(self.directory, "state")
        self.run = os.path.join(self.directory, "run")
        self.log_path = os.path.join(self.directory, "log")
        self.control_path = os.path.join(self.run, "control.sock")
        self.port_path = os.path.join(self.run, "port0.sock")
        command = ["ip", "netns", "exec", namespace] if namespace else []
        command += [os.path.join(build, "dataplane/port/usherd"), "--state-dir", self.state,
                    "--run-dir", self.run]
        # Small enough for many boxes one after another on a small machine.
        for item in ("log.format=json", "journal.segment_mb=4", "limits.holds=65536",
                     "limits.users=65536", "limits.answers=65536", "limits.rows=65536",
                     "limits.acks=4096", "memory.hugepages=no", *sets):
            command += ["--set", item]
        if device:
            command += ["--set", "port.public.device=" + device.format(run=self.run)]
        self.command = command + list(extra)
        self.process = None
        Box.boxes.append(self)

    def start(self, wait=True):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        if wait:
            self.wait_event("ready")
        return self

    def events(self, name=None):
        lines = []
        with open(self.log_path, errors="replace") as log:
            for line in log:
                # The last one may be on its way to the file.
                if line.startswith("{") and line.endswith("}\n"):
                    lines.append(json.loads(line))
        return [e for e in lines if name is None or e["event"] == name]

    def wait_event(self, name, seconds=60, count=None):
        """Waits until the log has one more `name` than at the last start."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.events(name)
            if len(found) >= (count or 1) and (count or self.is_fresh(found[-1])):
                return found[-1]
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        with open(self.log_path, errors="replace") as log:
            raise RuntimeError(f"no '{name}' from usherd: {log.read()[-2000:]}")

    def is_fresh(self, event):
        fresh = event != getattr(self, "last_ready", None)
        if fresh:
            self.last_ready = event
        return fresh

    def control(self):
        return Control(self.control_path)

    def stop(self, number=signal.SIGTERM, seconds=60):
        """ret: the exit status."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = "did not stop"
        self.process = None
        return status

    def remove(self):
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)
        if self in Box.boxes:
            Box.boxes.remove(self)


@atexit.register
def remove_boxes():
    for box in list(Box.boxes):
        box.remove()


class Tap:
    """Runs test functions, prints TAP. A test fails by an exception; it skips by raising Skip."""

    class Skip(Exception):
        pass

    def __init__(self):
        self.count = self.failed = 0

    def run(self, function, *arguments):
        name = function.__name__
        if arguments:
            name += "_" + "_".join(str(a) for a in arguments)
        self.count += 1
        try:
            function(*arguments)
            print(f"ok {self.count} - {name}", flush=True)
        except Tap.Skip as reason:
            print(f"ok {self.count} - {name} # SKIP {reason}", flush=True)
        except Exception as error:  # a test may fail in any way
            self.failed += 1
            print(f"not ok {self.count} - {name}", flush=True)
            kind = type(error).__name__
            where = error.__traceback__
            while where.tb_next:
                where = where.tb_next
            print(f"# {kind} at line {where.tb_lineno} of {where.tb_frame.f_code.co_name}: "
                  + str(error).replace("\n", "\n# "), flush=True)
        finally:
            remove_boxes()

    def skip(self, name, why):
        """What cannot be run here, counted as one test. why: what is missing."""
        self.count += 1
        print(f"ok {self.count} - {name} # SKIP {why}", flush=True)

    def end(self):
        print(f"1..{self.count}")
        sys.exit(self.failed != 0)


def run_on_wire(module, cases):
    """The main program of a test file: runs its cases, each on a fresh veth pair, and ends.

    module: its globals(); `bench` is set there. cases: functions, or tuples of a function and its
    arguments. Words on the command line behind the build folder choose cases whose names have one of
    them.
    """
    if os.geteuid() != 0 or shutil.which("ip") is None:
        print("1..0 # SKIP needs root and iproute2")
        return
    module["bench"] = bench = Bench()
    tap = Tap()
    wanted = sys.argv[2:]
    for case in cases:
        test, *arguments = case if isinstance(case, tuple) else (case,)
        name = "_".join([test.__name__, *map(str, arguments)])
        if not wanted or any(part in name for part in wanted):
            # No neighbour of an earlier test is remembered.
            bench.wire()
            tap.run(test, *arguments)
    tap.end()


def on_signal(number, _frame):
    # Through atexit, so that namespaces and processes go.
    sys.exit(128 + number)


signal.signal(signal.SIGTERM, on_signal)
signal.signal(signal.SIGINT, on_signal)
