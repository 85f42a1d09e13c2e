#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The power fails under a usherd that sells: its file system is shut down at a random moment.

usage: test_power_cut.py BUILD [CUTS]    (root, for loop devices; 4 cuts, 50 for the whole test)
       USH_SEED=N repeats the moments, not what runs in them

An ext4 of its own on a loop device, `usher load` with an acknowledgement file, and each time one of
the three ways in which ext4 can be shut down: with a flush of everything, with a flush of its log, or
with none. One cut in five falls into the start. usherd must end by itself with 3 (1 or 3 in a start).
After the remount `usher verify --acks` audits the journal, usherd is started again and goes on. In
the end everything that was asked is answered.
"""
import fcntl
import json
import os
import random
import shutil
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
import test_bad_disks as bad  # noqa: E402
from usher_box import Tap  # noqa: E402

CUTS_DEFAULT = 4
# <linux/ext4.h>: flush everything; flush the log; flush nothing.
WAYS = {0: "default", 1: "logflush", 2: "nologflush"}
DISK_MIB = 384


def missing():
    """ret: what this machine lacks, or None."""
    if os.geteuid() != 0:
        return "root"
    for program in ("mkfs.ext4", "losetup", "mount", "umount"):
        if shutil.which(program) is None:
            return program
    return None


def shut_down(disk, way):
    fd = os.open(disk.mountpoint, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, bad.EXT4_IOC_SHUTDOWN, struct.pack("<I", way))
    except OSError as error:
        raise Tap.Skip(f"this kernel's ext4 cannot be shut down: {error}") from error
    finally:
        os.close(fd)


def remount(disk):
    """As after a boot: ext4 replays its own log."""
    disk.unmount()
    disk.mount()


def audit(box, load):
    # The load writes its file's first entry with its first flush, a second after its start.
    acks = [load.acks] if os.path.getsize(load.acks) >= bad.ACK.size else []
    return bad.verified(box.state, *acks)


def cut(disk, box, load, dice, starting, sums):
    """One cut, from a running (or just started) usherd to a sound journal on a fresh mount."""
    way = dice.choice(sorted(WAYS))
    time.sleep(dice.uniform(0, 0.3 if starting else 0.6))
    shut_down(disk, way)
    try:
        status = box.process.wait(60)
    except bad.subprocess.TimeoutExpired:
        raise AssertionError("usherd goes on without its disk") from None
    assert status in ((1, 3) if starting else (3,)), f"exit status {status} after {WAYS[way]}"
    assert load.process.poll() is None, "the load is gone"
    remount(disk)
    found = audit(box, load)
    sums["cuts"] += 1
    sums["in_start"] += starting
    sums[WAYS[way]] += 1
    sums["torn_blocks"] += found["torn_blocks"]
    sums["acks"] = found.get("acks_checked", 0)
    sums["records"] = found["records"]


def serve_again(box, load):
    count = len(box.events("ready"))
    at = load.progress()["answered"]
    box.start(wait=False)
    box.wait_event("ready", seconds=60, count=count + 1)
    bad.wait_for("sales go on", lambda: load.progress()["answered"] > at + 100, 60)


def settle(load):
    """Two fresh seconds of the load in which all is quick: what was asked before has its answer."""
    end, quiet, before = time.monotonic() + 60, 0, load.progress()
    while quiet < 2:
        assert time.monotonic() < end, f"the load does not become quiet: {before}"
        time.sleep(0.1)
        now = load.progress()
        if now != before:
            quiet = quiet + 1 if now["up"] and now["max_us"] < 250e3 else 0
            before = now


def test_power_cuts_lose_nothing():
    seed = int(os.environ.get("USH_SEED") or random.SystemRandom().randrange(1 << 32))
    dice = random.Random(seed)
    bad.say(f"USH_SEED={seed}")
    sums = {"cuts": 0, "in_start": 0, "torn_blocks": 0, "acks": 0, "records": 0,
            **{name: 0 for name in WAYS.values()}}
    disk = bad.Disk(DISK_MIB)
    box, load = bad.selling_box(disk)
    for number in range(1, CUTS + 1):
        starting = number > 1 and dice.random() < 0.2
        if starting:
            box.start(wait=False)
        elif number > 1:
            serve_again(box, load)
        cut(disk, box, load, dice, starting, sums)
        if number % 10 == 0:
            bad.say(f"{number} cuts: {json.dumps(sums)}")
    serve_again(box, load)
    settle(load)
    got = load.stop()
    assert box.stop() == 0
    found = bad.verified(box.state, load.acks)
    assert found["clean_shutdown"] == 1 and found["acks_checked"] == got["ack_entries"], found
    assert found["acks_checked"] > 0, found
    sums.update(acks=found["acks_checked"], records=found["records"])
    bad.say(json.dumps({**sums, "answered": got["answered"]}))
    disk.remove()


def main():
    global CUTS
    CUTS = int(sys.argv[2]) if len(sys.argv) > 2 else CUTS_DEFAULT
    lacking = missing()
    if lacking:
        print(f"1..0 # SKIP needs {lacking}")
        return
    tap = Tap()
    tap.run(test_power_cuts_lose_nothing)
    bad.remove_loads()
    bad.remove_disks()
    tap.end()


if __name__ == "__main__":
    main()
