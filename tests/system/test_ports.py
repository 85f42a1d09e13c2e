#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usherd on real ports: af_packet, AF_XDP, pcap, vhost-user and memif, with plain sockets as peers.

usage: test_ports.py BUILD-DIR [NAME-PART]...   (root; makes and removes its own namespaces)
"""
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

from usher_box import (Box, OUR4, OUR6, PEER4, Reply, Tap, REQUEST, UDP_PORT, ON_SALE, request,
                       run, run_on_wire, sums_agree, venue_image)

BUILD = sys.argv[1] if len(sys.argv) > 1 else "build"
TESTPMD = shutil.which("dpdk-testpmd")
bench = None


def ask(s, tries=5, **fields):
    """Sends a STATUS (or another request) over UDP and gives its reply."""
    data = request(fields.pop("op", "STATUS"), **fields)
    for _ in range(tries):
        s.send(data)
        try:
            return Reply(s.recv(2048))
        except (socket.timeout, ConnectionRefusedError):
            continue
    raise RuntimeError("no reply")


def check_speaks(v4=True, v6=True):
    """ARP or neighbour discovery, ping, and the protocol."""
    for address, wanted in ((OUR4, v4), (OUR6, v6)):
        if not wanted:
            continue
        with bench.udp(address) as s:
            assert ask(s, cookie=99).cookie == 99
            assert ask(s, event=7).status == "UNKNOWN_EVENT"
        assert bench.ping(address), f"ping {address}"
        assert bench.ping(address, "-s", "1400"), f"large ping {address}"
    neighbours = run("ip", "-n", bench.b, "neigh").stdout
    assert (OUR4 in neighbours) >= v4 and (OUR6 in neighbours) >= v6, neighbours


def finish(box):
    """Counters add up, and usherd ends well."""
    control = box.control()
    counters = control.stats()
    control.close()
    assert sums_agree(counters), counters
    assert box.stop() == 0
    assert box.events("drained")[-1]["replies_not_sent"] == 0
    return counters


# Goal: the protocol over a kernel interface whose sender leaves checksums unfinished.
# Method: veth with offload on, checksum_rx=partial.
def test_af_packet_partial_checksums():
    bench.offload("on")
    box = Box(BUILD, "af_packet:ush0", ["port.public.checksum_rx=partial"], bench.a).start()
    check_speaks()
    counters = finish(box)
    assert counters["usher_answer_ARP"] >= 1 and counters["usher_answer_NEIGHBOUR"] >= 1
    assert counters["usher_answer_ECHO"] >= 8
    assert counters["usher_op_STATUS"] >= 4


# Goal: verify means verify. Method: offload on is refused by name, offload off is answered.
def test_af_packet_verified_checksums():
    box = Box(BUILD, "af_packet:ush0", ["port.public.checksum_rx=verify"], bench.a).start()
    bench.offload("on")
    with bench.udp(OUR4) as s:
        s.settimeout(0.3)
        try:
            ask(s, tries=2)
            raise RuntimeError("an unfinished checksum was accepted")
        except RuntimeError as error:
            assert "no reply" in str(error), error
    bench.offload("off")
    check_speaks()
    assert finish(box)["usher_drop_UDP_CHECKSUM"] >= 2


# Goal: two loops, each with a queue, spinning or yielding; the journal in a thread.
def test_af_packet_two_loops(idle):
    if os.cpu_count() < 2:
        raise Tap.Skip("one CPU")
    box = Box(BUILD, "af_packet:ush0",
              ["cores.loops=0,1", f"cores.idle={idle}", "cores.journal=thread"], bench.a).start()
    bench.offload("off")
    check_speaks()
    for _ in range(40):
        with bench.udp(OUR4) as s:
            ask(s)
    counters = finish(box)
    assert counters["usher_loops"] == 2


# Goal: AF_XDP on veth.
def test_af_xdp():
    bench.offload("off")
    box = Box(BUILD, "af_xdp:ush0", [], bench.a)
    try:
        box.start()
    except RuntimeError as error:
        if "net_af_xdp" in str(error) and "ready" not in str(error)[-200:]:
            raise Tap.Skip("no AF_XDP here: " + str(error)[-300:].replace("\n", " ")) from error
        raise
    check_speaks()
    finish(box)
    bench.offload("on")
    box = Box(BUILD, "af_xdp:ush0", ["port.public.checksum_rx=partial"], bench.a).start()
    check_speaks()
    finish(box)


class Bridge:
    """dpdk-testpmd that carries frames between a virtual device and the peer's interface. Without a
    terminal it ends at once unless it is given a --stats-period."""

    def __init__(self, vdev, prefix):
        if TESTPMD is None:
            raise Tap.Skip("no dpdk-testpmd")
        self.log = open(os.path.join("/tmp", f"usher-bridge-{os.getpid()}"), "w+")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", bench.a, TESTPMD, "--no-huge", "-m", "128", "--no-pci",
             "--file-prefix", prefix, "--lcores", "0@(0-1),1@1", "--vdev", vdev,
             "--vdev", "net_af_packet9,iface=ush0", "--", "--forward-mode=io",
             "--stats-period", "3600", "--total-num-mbufs=8192", "--no-mlockall"],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        time.sleep(1.5)
        if self.process.poll() is not None:
            self.log.seek(0)
            raise RuntimeError("testpmd ended: " + self.log.read()[-1500:])

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait(20)
        self.log.close()
        os.unlink(self.log.name)


# Goal: the default transport, and peers that come and go, by request and by kill -9.
def test_vhost():
    bench.offload("off")
    box = Box(BUILD, None, [], None).start()
    for end in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        bridge = Bridge(f"net_virtio_user0,path={box.port_path},queues=1", "ushbridge")
        try:
            check_speaks()
        finally:
            bridge.end(end)
    assert box.process.poll() is None
    assert len(box.events("link_up")) >= 3
    finish(box)
    assert not os.path.exists(box.port_path)


# Goal: a stale socket left by kill -9 does not keep a restart from starting.
def test_vhost_after_kill():
    bench.offload("off")
    box = Box(BUILD, None, [], None).start()
    assert box.stop(signal.SIGKILL) == -9
    assert os.path.exists(box.port_path)
    box.start()
    bridge = Bridge(f"net_virtio_user0,path={box.port_path},queues=1", "ushbridge")
    try:
        check_speaks()
    finally:
        bridge.end()
    finish(box)


# Goal: memif with a peer that stays; its leaving is documented as dangerous and not tried.
def test_memif():
    bench.offload("off")
    box = Box(BUILD, "memif:{run}/memif.sock", [], None).start()
    bridge = Bridge(f"net_memif0,role=client,socket-abstract=no,socket={box.run}/memif.sock",
                    "ushbridge")
    try:
        check_speaks()
        counters = finish(box)
    finally:
        bridge.end(signal.SIGKILL)
    assert counters["usher_op_STATUS"] >= 4


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


OUR_MAC, PEER_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")


def frame(payload, mac=OUR_MAC, source_port=5000, fragment=0x4000):
    """A request in a frame, built here. fragment: flags and offset of the IPv4 header."""
    source, target = socket.inet_aton(PEER4), socket.inet_aton(OUR4)
    udp = struct.pack(">HHHH", source_port, UDP_PORT, 8 + len(payload), 0) + payload
    udp = udp[:6] + struct.pack(">H", checksum(
        source + target + struct.pack(">HH", 17, len(udp)) + udp) or 0xffff) + udp[8:]
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, fragment, 64, 17, 0) + source + target
    ip = ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:]
    return mac + PEER_MAC + b"\x08\x00" + ip + udp


def pcap_read(path):
    with open(path, "rb") as f:
        data = f.read()
    at, frames = 24, []
    while at + 16 <= len(data):
        size = struct.unpack_from("<I", data, at + 8)[0]
        frames.append(data[at + 16:at + 16 + size])
        at += 16 + size
    return frames


# Goal: a capture replayed through usherd gives the replies in a capture, checksums right.
def test_pcap():
    frames = [frame(request("STATUS", cookie=i), source_port=1000 + i) for i in range(300)]
    # One of each: not ours, cut short, wrong checksum. And fragments, which only captures show us:
    # af_packet's driver has the kernel reassemble them.
    frames += [frame(b"x" * 64, mac=PEER_MAC), frame(b"x" * 64)[:30], frame(b"x" * 64)[:-1] + b"y",
               frame(request("STATUS"), fragment=0x2000), frame(b"x" * 64, fragment=0x00b9)]
    box = Box(BUILD, None, ["port.public.mac=02:00:00:00:00:01"])
    os.makedirs(box.run, exist_ok=True)
    given, got = os.path.join(box.directory, "in.pcap"), os.path.join(box.directory, "out.pcap")
    with open(given, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for i, data in enumerate(frames):
            f.write(struct.pack("<IIII", 1, i, len(data), len(data)) + data)
    box.command += ["--set", f"port.public.device=pcap:rx={given},tx={got}"]
    box.start()
    control = box.control()
    end = time.monotonic() + 60
    while control.stats()["usher_rx_packets"] < len(frames) and time.monotonic() < end:
        time.sleep(0.05)
    control.close()
    counters = finish(box)
    assert counters["usher_rx_packets"] == len(frames)
    assert counters["usher_drop_NOT_OURS"] == counters["usher_drop_UDP_CHECKSUM"] == 1
    assert counters["usher_drop_FRAME_SHORT"] == 1 and counters["usher_drop_IP_FRAGMENT"] == 2
    replies = pcap_read(got)
    assert len(replies) == 300
    for i, data in enumerate(replies):
        assert data[:6] == PEER_MAC and data[6:12] == OUR_MAC
        assert checksum(data[14:34]) == 0
        assert checksum(data[26:34] + struct.pack(">HH", 17, len(data) - 34) + data[34:]) == 0
        assert struct.unpack(">HH", data[34:38]) == (UDP_PORT, 1000 + i)
        assert Reply(data[42:]).cookie == i


# Goal: huge pages, where this machine lets us have some for a moment.
def test_hugepages():
    path = "/proc/sys/vm/nr_hugepages"
    with open(path) as f:
        before = f.read().strip()
    bench.offload("off")
    try:
        run("sh", "-c", f"echo 512 > {path}", check=False)
        with open(path) as f:
            if int(f.read()) < 512:
                raise Tap.Skip("no huge pages to be had")
        box = Box(BUILD, "af_packet:ush0", ["memory.hugepages=yes"], bench.a).start()
        assert box.events("ready")[-1]["hugepages"] == "yes"
        check_speaks()
        finish(box)
        # What was used is given back, also after kill -9.
        box = Box(BUILD, "af_packet:ush0", ["memory.hugepages=auto"], bench.a).start()
        assert box.events("ready")[-1]["hugepages"] == "yes"
        box.stop(signal.SIGKILL)
        time.sleep(0.3)
        with open("/proc/meminfo") as f:
            assert int(re.search(r"HugePages_Free:\s+(\d+)", f.read()).group(1)) == 512
    finally:
        run("sh", "-c", f"echo {before} > {path}", check=False)


# Goal: whatever bytes come, each frame has one outcome. Method: random frames and payloads of 1 to
# 1,500 bytes, oversized and fragmented datagrams, in between good requests.
def test_random_frames():
    seed = int(os.environ.get("USH_SEED", "1"))
    print(f"# USH_SEED={seed}")
    chance = random.Random(seed)
    bench.offload("off")
    box = Box(BUILD, "af_packet:ush0", [], bench.a).start()
    mac = bench.mac(bench.a, "ush0")
    with bench.raw() as raw, bench.udp(OUR4) as s:
        assert ask(s).status == "OK"
        for i in range(2000):
            data = chance.randbytes(chance.randint(1, 1500))
            if i % 4 == 0:
                data = frame(data[:1400], mac=mac)
            elif i % 4 == 1:
                good = bytearray(frame(request("STATUS"), mac=mac))
                good[chance.randrange(12, len(good))] = chance.randrange(256)
                data = bytes(good)
            elif i % 4 == 2 and len(data) > 14:
                data = mac + PEER_MAC + chance.choice(
                    (b"\x08\x00", b"\x86\xdd", b"\x08\x06")) + data[14:]
            if len(data) >= 14:
                raw.send(data)
            if i % 50 == 0:
                time.sleep(0.005)
        s.send(request("STATUS", extra=bytes(1472 - REQUEST.size)))
        assert ask(s).status == "OK"
    counters = finish(box)
    assert counters["usher_drop_PAYLOAD_LONG"] >= 1


def open_event(box, event=1, rows=16, seats=64):
    control = box.control()
    reply = control.load(event, venue_image(rows, seats - 1))
    assert reply.status == "OK", (reply.status, reply.text)
    assert control.call("EVENT_STATUS", event=event, arg=ON_SALE).status == "OK"
    return control


# Goal: what was answered OK survives SIGTERM under load, kill -9, and both again.
# Method: reservations without pause; a signal in their midst; each hold answered is looked up after
# the restart.
def test_answers_survive(number):
    bench.offload("off")
    box = Box(BUILD, "af_packet:ush0", [], bench.a).start()
    open_event(box).close()
    granted, wanted, signalled = {}, 0, False
    with bench.udp(OUR4) as s:
        assert ask(s).status == "OK"
        s.setblocking(False)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if wanted < 16 * 63:
                s.send(request("RESERVE", event=1, request_id=1, user=wanted + 1,
                               mask=1 << wanted % 63, row=wanted // 63, cookie=wanted + 1))
                wanted += 1
            if len(granted) >= 200 and not signalled:
                box.process.send_signal(number)
                signalled = True
            try:
                reply = Reply(s.recv(2048))
            except (BlockingIOError, ConnectionRefusedError):
                if box.process.poll() is not None:
                    break
                continue
            assert reply.status == "OK", reply.status
            assert reply.cookie not in granted
            granted[reply.cookie] = reply.hold
    status = box.stop()
    assert status == (0 if number == signal.SIGTERM else -number), status
    assert signalled and 200 <= len(granted) <= wanted, (len(granted), wanted)
    print(f"# {len(granted)} of {wanted} answered before the end")
    box.start()
    ready = box.events("ready")[-1]
    assert ready["clean"] == ("yes" if number == signal.SIGTERM else "no"), ready
    # Live holds got the outage back.
    assert box.events("resume")[-1]["live_holds"] >= len(granted)
    with bench.udp(OUR4) as s:
        for user, hold in granted.items():
            reply = ask(s, op="QUERY_HOLD", event=1, user=user, hold=hold)
            assert reply.status == "OK" and reply.hold == hold, (user, reply.status)
    counters = finish(box)
    assert counters["usher_event_1_free"] <= 16 * 63 - len(granted)


# Goal: one loop with two ports sends each reply out of the port its request came by, also when it
# waited for the disk through turns of the other. Method: reservations from a capture and from a
# socket at the same time.
def test_two_ports():
    bench.offload("off")
    box = Box(BUILD, "af_packet:ush0", [], bench.a).start()
    open_event(box).close()
    assert box.stop() == 0
    given, got = os.path.join(box.directory, "in.pcap"), os.path.join(box.directory, "out.pcap")
    with open(given, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for i in range(500):
            data = frame(request("RESERVE", event=1, request_id=1, user=1000 + i, row=i // 63,
                                 mask=1 << i % 63, cookie=1000 + i))
            f.write(struct.pack("<IIII", 1, i, len(data), len(data)) + data)
    box.command += ["--set", "port.second.mac=02:00:00:00:00:01",
                    "--set", f"port.second.device=pcap:rx={given},tx={got}"]
    box.start()
    with bench.udp(OUR4) as s:
        for i in range(300):
            seat = 500 + i
            reply = ask(s, op="RESERVE", event=1, request_id=1, user=1 + i, row=seat // 63,
                        mask=1 << seat % 63, cookie=i)
            assert reply.status == "OK" and reply.cookie == i
    finish(box)
    replies = [Reply(data[42:]) for data in pcap_read(got)]
    assert sorted(r.cookie for r in replies) == list(range(1000, 1500))
    assert all(r.status == "OK" for r in replies)


# Goal: the control port under bad manners. Method: a stranger, a flood of clients, messages of wrong
# size, no descriptor, a bad image, a client that leaves before its answer.
def test_control_port():
    box = Box(BUILD, None, ["control.mode=0666", "control.clients=8"]).start()
    os.chmod(box.directory, 0o755)
    stranger = subprocess.run(
        [sys.executable, "-c",
         "import os,socket,sys; os.setgid(65534); os.setuid(65534);"
         "s=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET); s.settimeout(5);"
         "s.connect(sys.argv[1]); sys.exit(0 if s.recv(10)==b'' else 1)", box.control_path],
        cwd="/", check=False)
    assert stranger.returncode == 0
    clients = [box.control() for _ in range(8)]
    assert all(c.call("STATUS").status == "OK" for c in clients)
    ninth = box.control()
    assert ninth.socket.recv(10) == b""
    for bad in (b"x", b"x" * 64, b"x" * 40000):
        clients[0].socket.send(bad)
        assert clients[0].socket.recv(100) == b""
        clients[0] = box.control()
    c = clients[0]
    assert c.call("EVENT_LOAD", event=1).status == "BAD_IMAGE"
    image = venue_image()
    reply = c.load(1, image[:-1] + b"\1")
    assert reply.status == "BAD_IMAGE" and "checksum" in reply.text, reply.text
    with open("/dev/null") as null:
        assert c.call("EVENT_LOAD", fd=null.fileno(), event=1).status == "BAD_IMAGE"
    assert c.load(0, image).status == "BAD_IMAGE"
    assert c.load(1, image).status == "OK"
    assert c.load(1, image).status == "OK"
    assert c.load(1, venue_image(rows=5)).status == "EVENT_EXISTS"
    clients[1].socket.send(request("EVENT_STATUS", event=1, arg=ON_SALE))
    clients[1].close()
    for _ in range(400):
        c.socket.send(request("STATUS", event=1))
        clients[2].socket.send(request("EVENT_STATUS", event=1, arg=ON_SALE))
        if _ % 100 == 99:
            for _ in range(100):
                assert Reply(c.socket.recv(1000)).status == "OK"
                assert Reply(clients[2].socket.recv(1000)).status == "OK"
    # 300 requests without reading: at most 256 are taken at a time, none is lost.
    for i in range(300):
        clients[3].socket.send(request("STATUS", cookie=i))
    assert [Reply(clients[3].socket.recv(1000)).cookie for _ in range(300)] == list(range(300))
    for client in clients:
        client.close()
    counters = finish(box)
    assert counters["usher_control_malformed"] == 3
    assert counters["usher_event_1_seats"] == 128
    assert counters["usher_control_refused"] == 2
    names = os.listdir(os.path.join(box.state, "events"))
    assert not [n for n in names if n.endswith(".new")], names


# Goal: what is wrong at the start is said, with the exit status of the manual.
def test_refuses_to_start():
    usherd = os.path.join(BUILD, "dataplane/port/usherd")
    box = Box(BUILD, None, []).start()
    conf = os.path.join(box.directory, "bad.conf")
    for text, why in (("[cores]\nloops = x\n", "bad.conf:2"), ("[cores]\n\nidl = spin\n", "bad.conf:3"),
                      ("[what]\na = b\n", "unknown section"), ("[port]\ndevice=x\n", "no name"),
                      ("[port a]\nipv4=10.0.0.1\n", "device is missing"),
                      ("[port a]\ndevice=nonsense\n", "allowed are a PCI address"),
                      ("[log]\nlevel=info\nlevel=debug\n", "bad.conf:3: level is set twice"),
                      ("[limits]\nacks = 1000\n", "powers of two"),
                      ("loops\n", "bad.conf:1"), ("[cores]\nloops=99\n", "CPU 99")):
        with open(conf, "w") as f:
            f.write(text)
        result = run(usherd, "--config", conf, "--check-config", check=False)
        assert result.returncode == 2 and why in result.stdout, result.stdout
    printed = run(usherd, "--print-config").stdout
    with open(conf, "w") as f:
        f.write(printed)
    assert run(usherd, "--config", conf, "--print-config").stdout == printed
    assert run(usherd, "--nonsense", check=False).returncode == 2
    assert run(usherd, "left", "over", check=False).returncode == 2
    second = run(usherd, "--run-dir", box.run, "--state-dir", box.directory + "/other", check=False)
    assert second.returncode == 1 and "another usherd" in second.stdout, second.stdout
    second = run(usherd, "--run-dir", box.directory + "/run2", "--state-dir", box.state, "--set",
                 "memory.hugepages=no", "--set", "log.format=json", check=False)
    assert second.returncode == 1 and "start_failed" in second.stdout, second.stdout
    result = run(usherd, "--run-dir", box.directory + "/run3", "--state-dir", box.directory + "/s3",
                 "--set", "port.public.device=af_packet:nosuch0", check=False)
    assert result.returncode == 1 and "start_failed" in result.stdout, result.stdout
    assert box.stop() == 0


if __name__ == "__main__":
    run_on_wire(globals(), [
        test_refuses_to_start, test_af_packet_partial_checksums, test_af_packet_verified_checksums,
        (test_af_packet_two_loops, "sleep"), (test_af_packet_two_loops, "yield"), test_af_xdp, test_pcap,
        test_vhost, test_vhost_after_kill, test_memif, test_hugepages, test_random_frames, test_two_ports,
        test_control_port, (test_answers_survive, signal.SIGTERM), (test_answers_survive, signal.SIGKILL)])
