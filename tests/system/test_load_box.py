#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`usher load --pack` against a real usherd: several requests a datagram over UDP sockets on a veth pair and over a
DPDK port, also while the box is killed. Everything is asked and answered, and the journal holds every promise.

usage: test_load_box.py BUILD-DIR [NAME-PART]...   (root; makes and removes its own namespaces)
"""
import json
import os
import signal
import subprocess
import sys
import time

from usher_box import ON_SALE, OUR4, OUR6, Box, run, run_on_wire, sums_agree, venue_image

BUILD = sys.argv[1] if len(sys.argv) > 1 else "build"
USHER = os.path.join(BUILD, "tools", "usher")
MIX = "uniform=55,hot=5,release=20,retry=5,multi=5,query=3,status=5,double=2"
bench = None


class Sale:
    """An event of 64 rows on sale, and what is asked of it."""

    def __init__(self, device=None):
        bench.offload("off")
        self.box = Box(BUILD, device, (), bench.a if device else None).start()
        control = self.box.control()
        assert control.load(1, venue_image(rows=64, seats=64)).status == "OK"
        assert control.call("EVENT_STATUS", event=1, arg=ON_SALE).status == "OK"
        control.close()
        self.acks, self.json = (os.path.join(self.box.directory, name) for name in ("acks", "json"))

    def load(self, *where):
        """Starts the generator; finish() waits for it."""
        command = [*where, "--users", "5000", "--hold-ms", "5000", "--mix", MIX, "--timeout", "400", "--ack-file",
                   self.acks, "--json", self.json, "--progress", "none"]
        with open(os.path.join(self.box.directory, "load.log"), "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def finish(self):
        """ret: the figures, in which everything asked is answered once; and the box's counters."""
        status = self.process.wait(120)
        with open(os.path.join(self.box.directory, "load.log"), errors="replace") as log:
            assert status == 0, log.read()
        with open(self.json) as file:
            got = json.load(file)
        assert got["asked"] == got["answered"] > 0 and got["lost"] == got["double_granted"] == 0, got
        assert got["unexpected"] == 0 and got["repeats"]["changed"] == 0, got
        assert min(got["granted"], got["released"], got["read"], got["ack_entries"]) > 100, got
        control = self.box.control()
        counters = control.stats()
        control.close()
        assert sums_agree(counters), counters
        return got, counters

    def verify(self, got):
        assert self.box.stop() == 0
        found = json.loads(run(USHER, "verify", "--json", "--acks", self.acks, self.box.state).stdout)
        assert found["sound"] and found["double_sold"] == 0, found
        assert os.path.getsize(self.acks) == 64 * (1 + got["ack_entries"])
        # The audit can fail: a hold that nobody was told of is missed.
        with open(self.acks, "r+b") as file:
            file.seek(64 + 16)
            file.write(b"\xff" * 8)
        assert run(USHER, "verify", "--acks", self.acks, self.box.state, check=False).returncode == 1
        self.box.remove()


def check_packets(got, counters, pack):
    """Datagrams are few both ways, and the box has counted the requests, not the datagrams."""
    asked = got["asked"] + got["resent"] + got["doubled"]
    assert got["pack"] == pack and got["packets"]["sent"] <= asked / 5, got
    assert got["packets"]["received"] < asked / 2, got
    answers = sum(n for name, n in counters.items() if name.startswith(("usher_status_", "usher_drop_REPEAT")))
    assert answers >= got["asked"], (answers, got)


def test_sockets(address):
    sale = Sale("af_packet:ush0")
    to = f"[{address}]:7447" if ":" in address else f"{address}:7447"
    sale.load("ip", "netns", "exec", bench.b, USHER, "load", "--udp", to, "--rate", "20k", "--requests", "40k",
              "--pack", "16")
    got, counters = sale.finish()
    assert got["asked"] == 40000, got
    check_packets(got, counters, 16)
    sale.verify(got)


def test_dpdk_port():
    sale = Sale()
    sale.load(USHER, "load", "--port", "vhost:" + sale.box.port_path, "--no-huge", "--rate", "40k", "--requests",
              "60k", "--pack", "22")
    got, counters = sale.finish()
    assert got["asked"] == 60000 and got["packets"]["bad"] == 0, got
    check_packets(got, counters, 22)
    sale.verify(got)


def test_killed():
    """Whole datagrams are lost with the box; each of their requests is asked again."""
    sale = Sale()
    sale.load(USHER, "load", "--port", "vhost:" + sale.box.port_path, "--no-huge", "--rate", "10k", "--requests",
              "50k", "--pack", "16", "--retries", "100")
    control, end = sale.box.control(), time.monotonic() + 60
    while control.stats()["usher_port_public_rx_packed"] < 500:
        assert time.monotonic() < end, control.stats()
        time.sleep(0.05)
    control.close()
    assert sale.box.stop(signal.SIGKILL) == -signal.SIGKILL
    sale.box.start()
    got, _ = sale.finish()
    assert got["asked"] == 50000 and got["resent"] > 16 and got["outages"] > 0, got
    sale.verify(got)


def test_peer_that_takes_nothing():
    """Replies that were put together and that nobody fetches are dropped, each of them counted."""
    sale = Sale()
    vdev = f"net_virtio_user0,path={sale.box.port_path},queues=1,in_order=1,mrg_rxbuf=0,queue_size=64"
    peer = [os.path.join(BUILD, "tests/bench/bench-peer"), "--mode", "refuse", "--refuse-event", "1", "--ms", "30000",
            "--window", "16384", "--row-seats", "64", "--rows", "64", "--pack", "22", "--", "-l", "1", "--no-pci",
            "--no-telemetry", "--no-huge", "-m", "256", "--file-prefix", f"peer{os.getpid()}", "--vdev", vdev]
    process = subprocess.Popen(peer, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    control = sale.box.control()
    try:
        end = time.monotonic() + 60
        # Asked faster than fetched, and stopped at some moment: the ring is seldom empty then.
        while control.stats()["usher_drop_TX_FULL"] == 0:
            assert time.monotonic() < end and process.poll() is None, control.stats()
            process.send_signal(signal.SIGSTOP)
            time.sleep(1)
            process.send_signal(signal.SIGCONT)
            time.sleep(0.2)
    finally:
        process.kill()
        process.wait()
    time.sleep(1)
    counters = control.stats()
    assert sums_agree(counters), counters
    assert counters["usher_port_public_tx_packed"] > 100 and counters["usher_port_public_rx_packed"] > 100, counters
    # Whole datagrams went: more replies than frames.
    assert counters["usher_drop_TX_FULL"] > 2 * counters["usher_port_public_tx_dropped"] > 0, counters
    control.close()
    assert sale.box.stop() == 0
    sale.box.remove()


run_on_wire(globals(), [(test_sockets, OUR4), (test_sockets, OUR6), test_dpdk_port, test_killed,
                        test_peer_that_takes_nothing])
