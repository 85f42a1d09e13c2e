#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usherd on disks that are full, read-only, another box's, damaged, or that fail while it runs.

usage: test_bad_disks.py BUILD [NAME-PART...]    (root, for loop devices and mounts)

A start that is refused says what is wrong, where, and how to mend it, exits 1 and changes no byte
of the state directory. A disk that fails under a running usherd ends it with 3 and loses nothing
that was acknowledged. Messages are printed as they stand.
"""
import atexit
import fcntl
import hashlib
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from usher_box import Box, ON_SALE, OP, STATUS, Tap, run, venue_image  # noqa: E402

BUILD = sys.argv[1]
USHER = os.path.join(BUILD, "tools", "usher")
ACK = struct.Struct("<QQQQQIIHBBIQ")
ACK_MAGIC = 0x314B434148535355
BLOCK = 4096
SEGMENT = 1 << 20
SLOTS = 64
EVENT = 1
# Each cut of test_power_cut takes some 1,500 answers, which an event keeps until it is over.
SETS = ("memory.prefault=no", "journal.segment_mb=1", "journal.spares=1", "limits.rows=4096", "limits.answers=262144")
# <linux/loop.h>, <linux/ext4.h>
LOOP_SET_STATUS64, LOOP_GET_STATUS64, LOOP_SIZE_LIMIT_AT = 0x4C04, 0x4C05, 32
EXT4_IOC_SHUTDOWN, SHUTDOWN_NO_FLUSH = 0x8004587D, 2


def say(text):
    print("# " + text, flush=True)


def wait_for(what, condition, seconds=30):
    """ret: what `condition` returned, and how long that took."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        found = condition()
        if found:
            return found, time.monotonic() - begun
        time.sleep(0.02)
    raise RuntimeError(f"{what}: not within {seconds} s")


# ---- disks -------------------------------------------------------------------------------------

class Disk:
    """An ext4 of its own on a loop device."""

    disks = []

    def __init__(self, megabytes):
        self.directory = tempfile.mkdtemp(prefix="usher-disk-")
        self.image = os.path.join(self.directory, "image")
        self.mountpoint = os.path.join(self.directory, "mounted")
        self.ballast = os.path.join(self.mountpoint, "ballast")
        self.loop = None
        Disk.disks.append(self)
        # Tests beside this one copy what is mounted (`ip netns exec`), and a copy keeps a file system alive, shut
        # down or not. Below a shared mount their copies go when ours goes.
        run("mount", "--bind", self.directory, self.directory)
        run("mount", "--make-shared", self.directory)
        os.mkdir(self.mountpoint)
        with open(self.image, "wb") as file:
            file.truncate(megabytes << 20)
        run("mkfs.ext4", "-q", "-F", "-m", "0", self.image)
        made = run("losetup", "-f", "--show", self.image, check=False)
        if made.returncode != 0:
            raise Tap.Skip("no loop devices here: " + made.stdout)
        self.loop = made.stdout.strip()
        self.mount()

    def mount(self, *options):
        run("mount", *options, self.loop, self.mountpoint)

    def unmount(self):
        """The kernel lets go of a dead process's io_uring, and of its files, a moment after it."""
        for _ in range(250):
            if run("umount", self.mountpoint, check=False).returncode == 0:
                return
            time.sleep(0.02)

    def fill(self, leave=0):
        """Takes all space but `leave` bytes."""
        with open(self.ballast, "ab", buffering=0) as file:
            for size in (1 << 20, 65536, BLOCK):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    pass
            os.fsync(file.fileno())
            if leave:
                file.truncate(file.seek(0, os.SEEK_END) - leave)

    def free(self):
        os.unlink(self.ballast)

    def limit(self, size):
        """Everything behind the first `size` bytes of the device is gone; 0: all is back."""
        with open(self.loop, "rb") as device:
            info = bytearray(232)
            fcntl.ioctl(device, LOOP_GET_STATUS64, info)
            struct.pack_into("<Q", info, LOOP_SIZE_LIMIT_AT, size)
            fcntl.ioctl(device, LOOP_SET_STATUS64, bytes(info))

    def shut_down(self):
        """The file system refuses everything until it is mounted anew."""
        fd = os.open(self.mountpoint, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("<I", SHUTDOWN_NO_FLUSH))
        finally:
            os.close(fd)

    def remove(self):
        for box in list(Box.boxes):
            if box.state.startswith(self.mountpoint):
                box.remove()
        if self.loop:
            self.unmount()
            run("losetup", "-d", self.loop, check=False)
        run("umount", "-l", self.directory, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)
        Disk.disks.remove(self)


@atexit.register
def remove_disks():
    for disk in list(Disk.disks):
        disk.remove()


# ---- states ------------------------------------------------------------------------------------

class Acks:
    """An acknowledgement file that we write."""

    def __init__(self, path):
        self.path = path
        with open(path, "wb") as file:
            file.write(ACK.pack(ACK_MAGIC, *[0] * 11))

    def add(self, op, user, request_id, mask, row, reply):
        with open(self.path, "ab") as file:
            file.write(ACK.pack(0, user, reply.hold, reply.sequence, mask, EVENT, request_id, row,
                                OP[op], STATUS.index("OK"), op == "RESERVE", reply.amount))


def sell(control, acks, first_user, count):
    """`count` holds one after the other, so a block for each; all but the last 40 given back."""
    for user in range(first_user, first_user + count):
        seat = user % 120
        row, mask = seat // 32, 1 << seat % 32
        held = control.call("RESERVE", event=EVENT, user=user, request_id=1, row=row, mask=mask)
        assert held.status == "OK", held.status
        acks.add("RESERVE", user, 1, mask, row, held)
        if user < first_user + count - 40:
            done = control.call("RELEASE", event=EVENT, user=user, request_id=2, hold=held.hold)
            assert done.status == "OK", done.status
            acks.add("RELEASE", user, 2, 0, 0, done)


class Master:
    """A state directory to be copied and damaged: two segments that ended with CLOSE, then one
    that ended with kill -9."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="usher-master-")
        atexit.register(shutil.rmtree, self.directory, ignore_errors=True)
        self.state = os.path.join(self.directory, "state")
        self.acks = Acks(os.path.join(self.directory, "acks"))
        self.old_box = os.path.join(self.directory, "old-box")
        box = Box(BUILD, state=self.state, sets=SETS).start()
        control = box.control()
        assert control.load(EVENT, venue_image()).status == "OK"
        assert control.call("EVENT_STATUS", event=EVENT, arg=ON_SALE).status == "OK"
        sell(control, self.acks, 1, 150)
        control.close()
        assert box.stop() == 0
        shutil.copy(os.path.join(self.state, "journal", "box"), self.old_box)
        box.start()
        control = box.control()
        sell(control, self.acks, 1000, 42)
        control.close()
        box.stop(signal.SIGKILL)
        box.remove()
        self.segments = [n for n in sorted(os.listdir(os.path.join(self.state, "journal")))
                         if n.startswith("seg-")]
        # The fourth is the one that would have been next.
        assert len(self.segments) == 4, self.segments

    def copy(self, where=None):
        where = where or tempfile.mkdtemp(prefix="copy-", dir=self.directory)
        return shutil.copytree(self.state, os.path.join(where, "state"))


def in_journal(state, name):
    return os.path.join(state, "journal", name)


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def fingerprints(state):
    """Every file and directory of a state directory: size and checksum."""
    found = {}
    for where, directories, files in os.walk(state):
        for name in directories:
            found[os.path.join(where, name)] = "directory"
        for name in files:
            with open(os.path.join(where, name), "rb") as file:
                data = file.read()
            found[os.path.join(where, name)] = (len(data), hashlib.sha256(data).hexdigest())
    return found


def differences(before, after):
    return {os.path.basename(n) for n in set(before) | set(after) if before.get(n) != after.get(n)}


def refused(state, *wanted, status=1, starts=2, sets=(), prepare=None, may_change=()):
    """Starts are refused, each with all of `wanted` in its words, and leave everything as it is.
    ret: the message."""
    why = ""
    for _ in range(starts):
        before = fingerprints(state)
        box = Box(BUILD, state=state, sets=(*SETS, *sets))
        if prepare:
            prepare(box)
        box.start(wait=False)
        got = box.process.wait(30)
        failed = box.events("start_failed")
        with open(box.log_path, errors="replace") as log:
            said = log.read()
        box.remove()
        assert got == status, f"exit status {got}: {said}"
        assert failed, said
        why = failed[-1]["why"]
        missing = [w for w in wanted if w.lower() not in why.lower()]
        assert not missing, f"{missing} is not in: {why}"
        changed = {name for name in differences(before, fingerprints(state))
                   if not name.startswith(tuple(may_change))}
        assert not changed, f"a refused start changed {changed}: {why}"
    say("start: " + why)
    return why


def audit(state, *wanted, acks=()):
    """`usher verify` and `usher journal cat|stat` say the same, and change nothing."""
    before = fingerprints(state)
    options = [o for path in acks for o in ("--acks", path)]
    verify = run(USHER, "verify", "--json", *options, state, check=False)
    assert verify.returncode == 1, verify.stdout
    problem = json.loads(verify.stdout)["problem"]
    said = [problem]
    for action in ("cat", "stat"):
        done = subprocess.run([USHER, "journal", action, state], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1, done.stderr
        said.append(done.stderr)
    for text in said:
        missing = [w for w in wanted if w not in text]
        assert not missing, f"{missing} is not in: {text}"
    assert not differences(before, fingerprints(state))


def verified(state, *acks):
    done = run(USHER, "verify", "--json", *[o for a in acks for o in ("--acks", a)], state,
               check=False)
    found = json.loads(done.stdout)
    assert done.returncode == 0 and found["sound"] and found["lost"] == 0 and \
        found["double_sold"] == 0, found
    return found


def serves(state, *acks, sets=()):
    """A start works, and everything acknowledged is there. ret: the ready line."""
    box = Box(BUILD, state=state, sets=(*SETS, *sets)).start()
    ready = box.events("ready")[-1]
    control = box.control()
    assert control.call("STATUS", event=EVENT).status in ("OK", "UNKNOWN_EVENT")
    control.close()
    assert box.stop() == 0
    verified(state, *acks)
    box.remove()
    return ready


# ---- at the start: room and permission ---------------------------------------------------------

# Goal: a disk with less room than a first start needs is named, whatever it is that fails.
def test_full_disk_at_first_start():
    disk = Disk(24)
    for leave in (0, BLOCK, 3 * BLOCK, 8 * BLOCK, 600 * 1024):
        state = os.path.join(disk.mountpoint, f"state{leave}")
        os.mkdir(state)
        disk.fill(leave)
        # What was made before the room ended stays: directories, the lock, the box file.
        refused(state, state, "no space left", "free space", starts=1,
                may_change=("events", "journal", "lock", "box", "ballast"))
        disk.free()
        serves(state)
    disk.remove()


# Goal: a restart that needs a new segment and has no room for it changes nothing.
def test_full_disk_at_restart():
    disk = Disk(24)
    state = master.copy(disk.mountpoint)
    disk.fill()
    # The segment that would have been next is a spare again, and that is all.
    refused(state, os.path.join(state, "journal"), "the box file", "no space left", "free space",
            may_change=(master.segments[3], "spare-"))
    for name in os.listdir(os.path.join(state, "journal")):
        if name.startswith("spare-"):
            os.unlink(in_journal(state, name))
    disk.free()
    disk.fill(leave=3 * BLOCK)
    refused(state, os.path.join(state, "journal"), "segment of 1 MiB", "no space left",
            "free space")
    disk.free()
    serves(state, master.acks.path)
    disk.remove()


def test_read_only_file_system():
    disk = Disk(24)
    state = master.copy(disk.mountpoint)
    disk.mount("-o", "remount,ro")
    refused(state, os.path.join(state, "journal"), "read-only", "writable")
    verified(state, master.acks.path)
    missing = os.path.join(disk.mountpoint, "none", "state")
    refused(missing, os.path.dirname(missing), "read-only", "--state-dir")
    disk.mount("-o", "remount,rw")
    serves(state, master.acks.path)
    disk.remove()


def as_nobody(box):
    """usherd as a user who owns its run directory and nothing else."""
    os.chmod(box.directory, 0o755)
    os.mkdir(box.run)
    os.chown(box.run, 65534, 65534)
    box.command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *box.command]


def test_no_permission():
    usherd = os.path.join(BUILD, "dataplane/port/usherd")
    tried = run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", usherd, "--version",
                check=False)
    if tried.returncode != 0:
        raise Tap.Skip("nobody may not run usherd here: " + tried.stdout)
    where = tempfile.mkdtemp(prefix="usher-owned-")
    try:
        os.chmod(where, 0o755)
        state = os.path.join(where, "state")
        refused(state, state, "ermission denied", "--state-dir", prepare=as_nobody)
        # Of another user, but open to all: could be changed under our feet.
        os.mkdir(state)
        os.chown(state, 65533, 65533)
        os.chmod(state, 0o777)
        refused(state, state, "must be a directory of ours", prepare=as_nobody)
        shutil.rmtree(state)
        # Ours, and not writable.
        state = master.copy(where)
        for at, directories, files in os.walk(state):
            for name in [".", *directories, *files]:
                os.chown(os.path.join(at, name), 65534, 65534)
        os.chmod(os.path.join(state, "journal"), 0o500)
        os.chmod(in_journal(state, "lock"), 0o400)
        refused(state, os.path.join(state, "journal"), "ermission denied", "writable",
                prepare=as_nobody)
    finally:
        shutil.rmtree(where, ignore_errors=True)


def test_state_locked_by_another():
    state = master.copy()
    first = Box(BUILD, state=state, sets=SETS).start()
    second = Box(BUILD, state=state, sets=SETS)
    begun = time.monotonic()
    assert second.start(wait=False).process.wait(30) == 1
    took = time.monotonic() - begun
    why = second.events("start_failed")[-1]["why"]
    say(f"start, after {took:.1f} s: {why}")
    assert "another usherd has it" in why and os.path.join(state, "journal") in why, why
    assert second.events("lock_wait") and 3 <= took < 10, took
    control = first.control()
    assert control.call("STATUS", event=EVENT).status == "OK"
    control.close()
    assert first.stop() == 0
    verified(state, master.acks.path)


def test_socket_paths():
    long = "/tmp/" + "x" * 110
    for option, value in (("control.socket", long), ("port.public.device", "vhost:" + long)):
        done = run(os.path.join(BUILD, "dataplane/port/usherd"), "--check-config", "--set",
                   f"{option}={value}", check=False)
        say("check: " + done.stdout.strip()[:250])
        assert done.returncode == 2 and "107" in done.stdout, done.stdout
    state = master.copy()
    # It comes last, when the new epoch has begun.
    why = refused(state, "cannot listen", "No such file", "make its directory",
                  sets=("control.socket=/nonexistent/usher/control.sock",), starts=1,
                  may_change=("box", "seg-", "spare-"))
    assert "/nonexistent/usher/control.sock" in why


# ---- at the start: damage ----------------------------------------------------------------------

# Goal: a byte that changed in a block known durable, in each segment, ends every start.
def test_corrupted_middle():
    for segment, block in ((0, 9), (0, 255), (1, 0), (2, 3)):
        state = master.copy()
        name = master.segments[segment]
        at = int(name.split("-")[2].split(".")[0], 16) + block
        flip(in_journal(state, name), block * BLOCK + 1000)
        words = (os.path.join(state, "journal"), name, f"block {at} ", f"offset {block * BLOCK}",
                 "checksum", "restore the file from a copy", "Nothing was changed")
        refused(state, *words)
        audit(state, *words, acks=(master.acks.path,))
        flip(in_journal(state, name), block * BLOCK + 1000)
        serves(state, master.acks.path)


def test_zeroed_middle():
    state = master.copy()
    with open(in_journal(state, master.segments[0]), "r+b") as file:
        file.seek(20 * BLOCK)
        file.write(bytes(BLOCK))
    words = (master.segments[0], "block 21 ", "never written", "restore the file from a copy")
    refused(state, *words)
    audit(state, *words)


def test_truncated_segment():
    for segment, size in ((2, 5 * BLOCK), (2, 0), (2, SEGMENT - 1), (0, 100 * BLOCK)):
        state = master.copy()
        name = master.segments[segment]
        os.truncate(in_journal(state, name), size)
        words = (os.path.join(state, "journal"), name, f"{size} bytes", str(SEGMENT),
                 "restore the file from a copy", "Nothing was changed")
        refused(state, *words)
        audit(state, *words)


# Goal: what was never acknowledged is dropped, and said.
def test_torn_tail():
    state = master.copy()
    stat = json.loads(run(USHER, "journal", "stat", "--json", state).stdout)
    name = master.segments[2]
    end = stat["end_sequence"] // SLOTS - int(name.split("-")[2].split(".")[0], 16)
    with open(in_journal(state, name), "r+b") as file:
        file.seek(end * BLOCK)
        file.write(os.urandom(3 * BLOCK - 77))
    stat = json.loads(run(USHER, "journal", "stat", "--json", state).stdout)
    assert stat["torn_blocks"] == 3, stat
    assert verified(state, master.acks.path)["torn_blocks"] == 3
    ready = serves(state, master.acks.path)
    say(f"ready: torn_blocks {ready['torn_blocks']}, clean {ready['clean']}")
    assert ready["torn_blocks"] == 3 and ready["clean"] == "no"
    # The next epoch has begun behind it: it is not looked at again.
    assert serves(state, master.acks.path)["torn_blocks"] == 0


# Goal: an acknowledgement file that is none, or is damaged, is named; half an entry at its end, which
# a killed client leaves, is ignored with a word.
def test_bad_acknowledgements():
    state = master.copy()
    with open(master.acks.path, "rb") as file:
        good = file.read()
    path = os.path.join(state, "acks")

    def verify(content):
        with open(path, "wb") as file:
            file.write(content)
        return subprocess.run([USHER, "verify", "--json", "--acks", path, state],
                              capture_output=True, text=True)

    for content, words in ((b"", "is no acknowledgement file"),
                           (bytes(64), "is no acknowledgement file"),
                           (good[:63], "is no acknowledgement file"),
                           (good[:40] + b"\1" + good[41:], "is no acknowledgement file"),
                           (good[:128] + good, "at byte 128"),
                           (good[:192] + b"\1" + good[193:], "at byte 192")):
        done = verify(content)
        problem = json.loads(done.stdout)["problem"]
        say("acks: " + problem)
        assert done.returncode == 1 and path in problem and words in problem, done.stdout
    # Entry 1 tells of a RESERVE: other seats, another row, another number of legs, user, hold, op.
    for at in (32, 48, 52, 8, 16, 50):
        done = verify(good[:64 + at] + bytes([good[64 + at] ^ 4]) + good[64 + at + 1:])
        found = json.loads(done.stdout)
        assert done.returncode == 1 and found["lost"] == 1, (at, found)
    # Of a BLOCK nothing can be looked up: that is said, not passed over.
    found = json.loads(verify(good[:64 + 50] + bytes([67]) + good[64 + 51:]).stdout)
    assert found["acks_unchecked"] == 1 and found["acks_checked"] == len(good) // 64 - 2, found
    assert found["unchecked"] == {"BLOCK": 1}, found
    # The last one is a hold that goes on: it costs what it was said to cost.
    found = json.loads(verify(good[:-8] + bytes([good[-8] ^ 4]) + good[-7:]).stdout)
    assert found["lost"] == 1, found
    done = verify(good[:-1])
    assert done.returncode == 0 and "cut entry" in done.stderr, done.stderr
    assert json.loads(done.stdout)["acks_checked"] == len(good) // 64 - 2, done.stdout


def test_missing_segment():
    for segment in range(3):
        state = master.copy()
        os.rename(in_journal(state, master.segments[segment]), state + "-aside")
        words = (os.path.join(state, "journal"), "missing", "put", "back")
        refused(state, *words)
        audit(state, *words)
        os.rename(state + "-aside", in_journal(state, master.segments[segment]))
        serves(state, master.acks.path)
    # All there is: the box file knows better.
    state = master.copy()
    for name in master.segments:
        os.unlink(in_journal(state, name))
    began = int(os.path.basename(master.segments[2])[13:29], 16)
    words = (os.path.join(state, "journal"), f"epoch 2 began at block {began}", "put", "back")
    refused(state, *words)
    audit(state, *words)
    # All of the newest epoch: as if its start had been cut short. The acknowledgements know better.
    state = master.copy()
    for name in master.segments[2:]:
        os.unlink(in_journal(state, name))
    done = run(USHER, "verify", "--json", "--acks", master.acks.path, state, check=False)
    found = json.loads(done.stdout)
    assert done.returncode == 1 and found["lost"] > 0, found
    assert "acknowledged but not in the journal" in found["problem"], found


# Goal: a journal and a box file that do not belong together.
def test_journal_of_another_box():
    other = tempfile.mkdtemp(prefix="usher-other-")
    try:
        box = Box(BUILD, state=os.path.join(other, "state"), sets=SETS).start()
        box.stop()
        box.start()
        box.stop()
        state = master.copy()
        shutil.copy(in_journal(box.state, "box"), in_journal(state, "box"))
        words = (os.path.join(state, "journal"), master.segments[0], "another box")
        refused(state, *words, "belongs")
        audit(state, *words)
        # One segment of another box among ours, under the name of the one it replaces.
        state = master.copy()
        words = (os.path.join(state, "journal"), master.segments[0], "another box")
        foreign = [n for n in os.listdir(in_journal(box.state, "")) if n.startswith("seg-00000001")]
        shutil.copy(in_journal(box.state, foreign[0]), in_journal(state, master.segments[0]))
        refused(state, *words, "belongs")
        audit(state, *words)
        box.remove()
    finally:
        shutil.rmtree(other, ignore_errors=True)


def test_box_file():
    state = master.copy()
    path = in_journal(state, "box")
    os.rename(path, state + "-aside")
    journal = os.path.join(state, "journal")
    refused(state, journal, "no box file", "restore `box` from a backup")
    done = run(USHER, "verify", state, check=False)
    assert done.returncode == 1 and journal in done.stdout, done.stdout
    shutil.copy(state + "-aside", path)
    for damage, word in ((lambda: flip(path, 20), "checksum"), (lambda: flip(path, 0), "magic"),
                         (lambda: os.truncate(path, 30), "short"),
                         (lambda: os.truncate(path, 0), "short")):
        damage()
        words = (journal, "box file is damaged", word, "restore `box` from a backup")
        refused(state, *words)
        audit(state, *words)
        shutil.copy(state + "-aside", path)
    shutil.copy(master.old_box, path)
    words = (journal, master.segments[3], "newer than the box file", "restore the newest")
    refused(state, *words)
    audit(state, *words)
    shutil.copy(state + "-aside", path)
    serves(state, master.acks.path)


def test_venue_images():
    state = master.copy()
    events = os.path.join(state, "events")
    image = os.path.join(events, os.listdir(events)[0])

    def audited(*words):
        done = run(USHER, "verify", "--json", state, check=False)
        problem = json.loads(done.stdout)["problem"]
        assert done.returncode == 1 and all(w in problem for w in words), problem

    def both(*words):
        refused(state, image, *words)
        audited(image, *words)

    os.rename(image, state + "-aside")
    both("the journal names this venue image", "backup")
    shutil.copy(state + "-aside", image)
    flip(image, 200)
    both("changed since it was loaded", "backup")
    shutil.copy(state + "-aside", image)
    os.truncate(image, 100)
    both("changed since it was loaded", "backup")
    os.truncate(image, 0)
    both("0 bytes", "backup")
    os.unlink(image)
    os.mkdir(image)
    both("backup")
    os.rmdir(image)
    shutil.copytree(events, state + "-events")
    shutil.rmtree(events)
    refused(state, image, "the journal names this venue image", starts=1, may_change=("events",))
    shutil.rmtree(events, ignore_errors=True)
    shutil.copytree(state + "-events", events)
    shutil.copy(state + "-aside", image)
    serves(state, master.acks.path)


# ---- while it runs -----------------------------------------------------------------------------

class Load:
    """`usher load` over vhost-user against a box, with an acknowledgement file."""

    loads = []

    def __init__(self, box, seconds=600):
        self.acks = os.path.join(box.directory, "load.acks")
        self.json = os.path.join(box.directory, "load.json")
        self.log = os.path.join(box.directory, "load.log")
        image = os.path.join(box.directory, "venue.img")
        with open(image, "wb") as file:
            file.write(venue_image(rows=64, seats=64))
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [USHER, "load", "--port", "vhost:" + box.port_path, "--no-huge", "--rate", "1500",
                 "--duration", str(seconds), "--venue", image, "--users", "5000", "--hold-ms",
                 "2000", "--mix", "uniform=70,release=30", "--timeout", "300", "--retries", "1000",
                 "--backoff", "20", "--ack-file", self.acks, "--json", self.json, "--progress",
                 "json"], stdout=log, stderr=log)
        Load.loads.append(self)

    def progress(self):
        with open(self.log) as log:
            lines = [line for line in log.read().splitlines() if line.startswith("{")
                     and line.endswith("}")]
        return json.loads(lines[-1]) if lines else {"answered": 0}

    def stop(self):
        """Everything asked is answered. ret: the figures."""
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(30)
        with open(self.json) as file:
            got = json.load(file)
        assert status == 0 and got["asked"] == got["answered"] > 0 and got["lost"] == 0 and \
            got["double_granted"] == 0, got
        return got

    def remove(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@atexit.register
def remove_loads():
    for load in Load.loads:
        load.remove()


def selling_box(disk):
    """A box on `disk` with an event on sale and a load that is being answered."""
    box = Box(BUILD, state=os.path.join(disk.mountpoint, "state"), sets=SETS).start()
    control = box.control()
    assert control.load(EVENT, venue_image(rows=64, seats=64)).status == "OK"
    assert control.call("EVENT_STATUS", event=EVENT, arg=ON_SALE).status == "OK"
    control.close()
    load = Load(box)
    wait_for("the load is answered", lambda: load.progress()["answered"] > 500)
    return box, load


def counters(box):
    control = box.control()
    control.socket.settimeout(60)
    try:
        return control.stats()
    finally:
        control.close()


def fill_until_busy(disk, box):
    disk.fill()
    _, took = wait_for("journal_trouble", lambda: box.events("journal_trouble"), 60)
    trouble = box.events("journal_trouble")[-1]["text"]
    say(f"journal_trouble: {trouble}")
    for word in (os.path.join(box.state, "journal"), "segment of 1 MiB", "no space left",
                 "free space"):
        assert word in trouble, trouble
    # Room is left: the present segment, and the next one for those who give back.
    before = counters(box)
    _, more = wait_for("BUSY", lambda: counters(box).get("usher_status_BUSY", 0) > 0, 120)
    after = counters(box)
    say(f"trouble {took:.1f} s after the disk was full, BUSY {more:.1f} s later, "
        f"{after['usher_status_OK'] - before['usher_status_OK']} requests OK in between")
    assert after["usher_journal_spare_segments"] == 0


# Goal: a disk that fills up stops sales with BUSY and nothing else; with space they go on.
def test_disk_full_while_running():
    disk = Disk(24)
    box, load = selling_box(disk)
    fill_until_busy(disk, box)
    control = box.control()
    assert control.call("STATUS").status == "OK"
    control.close()
    time.sleep(1.5)  # the load writes its acknowledgements each second
    verified(box.state, load.acks)
    disk.free()
    _, took = wait_for("journal_trouble_over", lambda: box.events("journal_trouble_over"))
    at = load.progress()["answered"]
    wait_for("sales go on", lambda: load.progress()["answered"] > at + 2000)
    got = load.stop()
    say(f"sales go on {took:.2f} s after space came back; told to wait {got['told_to_wait']} "
        f"times, longest wait {got['max_us'] / 1e6:.1f} s")
    assert got["told_to_wait"] > 0
    assert box.stop() == 0
    assert verified(box.state, load.acks)["clean_shutdown"] == 1
    disk.remove()


# Goal: a stop and a start while the disk is full: it ends, is refused, and serves when mended.
def test_disk_full_stop_and_restart():
    disk = Disk(24)
    box, load = selling_box(disk)
    fill_until_busy(disk, box)
    begun = time.monotonic()
    status = box.stop(seconds=30)
    drained = box.events("drained")[-1]
    say(f"stopped after {time.monotonic() - begun:.1f} s with status {status}, replies_not_sent "
        f"{drained['replies_not_sent']}")
    assert status == 0 and drained["replies_not_sent"] == 0, (status, drained)
    time.sleep(1.5)
    verified(box.state, load.acks)
    refused(box.state, os.path.join(box.state, "journal"), "no space left", "free space")
    disk.free()
    count = len(box.events("ready"))
    box.start(wait=False)
    box.wait_event("ready", count=count + 1)
    at = load.progress()["answered"]
    wait_for("sales go on", lambda: load.progress()["answered"] > at + 500)
    wait_for("nothing old is under way", lambda: load.progress().get("max_us", 1e9) < 1e6, 60)
    load.stop()
    assert box.stop() == 0
    verified(box.state, load.acks)
    disk.remove()


def fails(disk, fail, mend):
    """usherd ends at once with 3; restarts are refused until the disk is mended; nothing is lost."""
    box, load = selling_box(disk)
    begun = time.monotonic()
    fail()
    status = box.process.wait(60)
    took = time.monotonic() - begun
    with open(box.log_path, errors="replace") as log:
        last = [line for line in log.read().splitlines() if not line.startswith("{")][-1]
    say(f"status {status} after {took:.2f} s: {last}")
    assert status == 3 and took < 5, (status, took)
    for word in (os.path.join(box.state, "journal"), "Mend the disk", "nothing that was not durable"):
        assert word in last, last
    refusal = Box(BUILD, state=box.state, sets=SETS).start(wait=False)
    assert refusal.process.wait(30) in (1, 3)
    why = [e["why"] for e in refusal.events("start_failed")]
    say(f"a start on the broken disk: {why}")
    refusal.remove()
    mend()
    time.sleep(1.2)
    found = verified(box.state, load.acks)
    say(f"mended: {found['records']} records, {found['acks_checked']} acks, torn_blocks "
        f"{found['torn_blocks']}")
    count = len(box.events("ready"))
    box.start(wait=False)
    ready = box.wait_event("ready", count=count + 1)
    at = load.progress()["answered"]
    wait_for("sales go on", lambda: load.progress()["answered"] > at + 500)
    wait_for("nothing old is under way", lambda: load.progress().get("max_us", 1e9) < 1e6, 60)
    got = load.stop()
    say(f"recovery_ms {ready['recovery_ms']}; {got['asked']} asked, {got['answered']} answered, "
        f"longest wait {got['max_us'] / 1e6:.1f} s")
    assert box.stop() == 0
    verified(box.state, load.acks)
    disk.remove()


# Goal: writes that get EIO, for the device has lost all but its first MiB.
def test_device_shrinks():
    disk = Disk(24)

    def mend():
        disk.limit(0)
        disk.unmount()
        run("e2fsck", "-p", disk.loop, check=False)
        disk.mount()

    fails(disk, lambda: disk.limit(1 << 20), mend)


# Goal: writes that get EIO, for the file system has shut itself down.
def test_file_system_shuts_down():
    disk = Disk(24)

    def mend():
        disk.unmount()
        disk.mount()

    fails(disk, disk.shut_down, mend)


def main():
    global master
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None or shutil.which("losetup") is None:
        print("1..0 # SKIP needs root, mkfs.ext4 and losetup")
        return
    tap = Tap()
    master = Master()
    wanted = sys.argv[2:]
    for test in (test_full_disk_at_first_start, test_full_disk_at_restart,
                 test_read_only_file_system, test_no_permission, test_state_locked_by_another,
                 test_socket_paths, test_corrupted_middle, test_zeroed_middle,
                 test_truncated_segment, test_torn_tail, test_bad_acknowledgements,
                 test_missing_segment,
                 test_journal_of_another_box, test_box_file, test_venue_images,
                 test_disk_full_while_running, test_disk_full_stop_and_restart,
                 test_device_shrinks, test_file_system_shuts_down):
        if not wanted or any(part in test.__name__ for part in wanted):
            tap.run(test)
            remove_loads()
            remove_disks()
    tap.end()


if __name__ == "__main__":
    main()
