#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The archive over a real usherd: closed segments are archived beside a sale that is killed with -9; the
whole history is then read, audited and put back from there.

usage: test_archive.py BUILD
"""
import glob
import json
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from usher_box import Box, Tap  # noqa: E402

BUILD = sys.argv[1]
USHER = os.path.join(BUILD, "tools", "usher")
SETS = ("memory.prefault=no", "limits.log_blocks=1024", "journal.segment_mb=1")
SUMS = ("events", "seats", "free", "house", "held", "sold", "records", "blocks", "epochs", "holds_granted",
        "holds_released", "holds_expired", "chain_checked", "chain_broken", "double_sold", "contradictions")


def usher(*arguments, status=0):
    done = subprocess.run([USHER, *arguments], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=120)
    assert done.returncode == status, (arguments, done.returncode, done.stdout, done.stderr)
    return done


def verify(state, *arguments):
    found = json.loads(usher("verify", "--json", "--from-start", *arguments, state).stdout)
    assert found["sound"] is True, found
    return {name: found[name] for name in SUMS}


def segments(state):
    return sorted(glob.glob(os.path.join(state, "journal", "seg-*.ush")),
                  key=lambda path: os.path.basename(path)[13:])


class Sale:
    """An arena on sale and a load that goes on over restarts."""

    def __init__(self, folder, rate=2000, sets=()):
        self.folder, self.acks = folder, os.path.join(folder, "sale.acks")
        self.image = os.path.join(folder, "venue.img")
        usher("event", "compile", "-o", self.image,
              os.path.join(HERE, "..", "..", "venues", "arena.json"))
        self.box = Box(BUILD, sets=SETS + sets).start()
        usher("event", "load", "--socket", self.box.control_path, "--event", "1", "--on-sale", self.image)
        self.load = subprocess.Popen(
            [USHER, "load", "--port", "vhost:" + self.box.port_path, "--no-huge", "--rate", str(rate),
             "--duration", "3600", "--event", "1", "--venue", self.image, "--mix",
             "uniform=48,hot=8,release=22,retry=12,multi=10", "--users", "20000",
             "--seats-per-request", "2", "--hold-ms", "2000", "--timeout", "250", "--retries", "400",
             "--seed", "1", "--ack-file", self.acks],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait_segments(self, count, seconds=60):
        end = time.monotonic() + seconds
        newest = lambda: int(os.path.basename(segments(self.box.state)[-1])[13:29], 16)  # noqa: E731
        wanted = newest() + 256 * count
        while newest() < wanted:
            assert time.monotonic() < end, "the sale makes no segments"
            time.sleep(0.05)

    def kill(self):
        self.box.stop(9)
        return self.box.start().events("ready")[-1]

    def end(self):
        self.load.terminate()
        self.load.wait(30)


def stats(box):
    control = box.control()
    try:
        return control.stats()
    finally:
        control.close()


def stat(state):
    return json.loads(usher("journal", "stat", "--json", "--segments", state).stdout)


def begins(state):
    return min(int(os.path.basename(path)[13:29], 16) for path in segments(state))


def wait_for(what, seconds=60):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.1)


def test_archive_beside_a_sale():
    with tempfile.TemporaryDirectory(prefix="usher-archive-") as folder:
        store = os.path.join(folder, "store")
        sale = Sale(folder)
        state = sale.box.state
        assert "mounted" in usher("journal", "archive", "--to", store, state, status=1).stderr
        os.mkdir(store)
        follower = subprocess.Popen([USHER, "journal", "archive", "--follow", "--json", "--to", store,
                                     state], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            sale.wait_segments(2)
            sale.kill()
            sale.wait_segments(1)
            wait_for(lambda: any(name.startswith("arc-00000002") for name in os.listdir(store)))
        finally:
            sale.end()
        assert sale.box.stop() == 0
        follower.terminate()
        out, errors = follower.communicate(timeout=60)
        assert follower.returncode == 0 and errors == "", errors
        pieces = [json.loads(line) for line in out.splitlines()][:-1]
        assert len(pieces) >= 3 and pieces[0]["first_sequence"] == 64, pieces
        assert {piece["epoch"] for piece in pieces} == {1, 2}, pieces
        assert all(a["end_sequence"] == b["first_sequence"] for a, b in zip(pieces, pieces[1:]))
        usher("journal", "archive", "--to", store, state)
        checked = json.loads(usher("journal", "archive", "--check", "--json", "--to", store,
                                   state).stdout.splitlines()[-1])
        print(f"# {checked['pieces']} pieces, {checked['bytes']} bytes in {checked['packed_bytes']}")
        assert checked["packed_bytes"] * 2 < checked["bytes"], checked

        whole = verify(state, "--acks", sale.acks)
        cat = usher("journal", "cat", "--json", state).stdout
        gone = [path for path in segments(state)
                if int(os.path.basename(path)[13:29], 16) * 64 < checked["archived_sequence"]]
        assert len(gone) < len(segments(state))
        for path in gone:
            os.rename(path, path + ".gone")
        assert "missing" in usher("verify", "--from-start", state, status=1).stdout
        assert verify(state, "--archive", store, "--acks", sale.acks) == whole
        assert usher("journal", "cat", "--json", "--archive", store, state).stdout == cat
        stat = json.loads(usher("journal", "stat", "--json", "--archive", store, state).stdout)
        assert stat["records"] == whole["records"], (stat, whole)
        follow = usher("journal", "follow", "--json", "--until-end", "--archive", store, state).stdout
        runs = sum(json.loads(line)["run_index"] == 0 for line in cat.splitlines())
        assert len(follow.splitlines()) == runs

        put = json.loads(usher("journal", "restore", "--json", "--from", store, state).stdout)
        assert put["segments"] == len(gone), (put, gone)
        assert verify(state, "--acks", sale.acks) == whole
        sale.box.start()
        assert "stop usherd" in usher("journal", "restore", "--from", store, state, status=1).stderr
        assert sale.box.stop() == 0

        # A piece that is lost is a gap, and a byte that rotted has a name.
        names = sorted(os.listdir(store))
        os.rename(os.path.join(store, names[1]), os.path.join(folder, "lost"))
        assert "gap" in usher("verify", "--archive", store, state, status=1).stdout
        os.rename(os.path.join(folder, "lost"), os.path.join(store, names[1]))
        with open(os.path.join(store, names[1]), "r+b") as file:
            file.seek(1000)
            byte = file.read(1)
            file.seek(1000)
            file.write(bytes([byte[0] ^ 1]))
        assert names[1] in usher("journal", "archive", "--check", "--to", store, state, status=1).stderr


def test_recycling_under_a_sale():
    """A sale, archived, with snapshots and a named reader, recycles its segments; killed with -9 on the way
    it starts behind the recycled ones, and in the end the archive has the whole history."""
    with tempfile.TemporaryDirectory(prefix="usher-archive-") as folder:
        store = os.path.join(folder, "store")
        os.mkdir(store)
        sale = Sale(folder, sets=("journal.recycle=archived", "journal.reuse=1"))
        state = sale.box.state
        archiver = subprocess.Popen([USHER, "journal", "archive", "--follow", "--to", store, state],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        reader = subprocess.Popen([USHER, "journal", "follow", "--name", "slow", state],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            sale.wait_segments(2)
            usher("journal", "snapshot", state)
            sale.wait_segments(1)
            usher("journal", "snapshot", state)
            wait_for(lambda: begins(state) > 1)
            began = begins(state)
            ready = sale.kill()
            assert ready["from_sequence"] > 64 * began, (ready, began)
            # A reader that stands still keeps everything from there on.
            reader.terminate()
            assert reader.communicate(timeout=60)[1] == "" and reader.returncode == 0
            for _ in range(2):
                sale.wait_segments(2)
                usher("journal", "snapshot", state)
            told = stat(state)
            slow = next(n for n in told["needed_by"] if n["who"] == "slow")["sequence"]
            kept = [s for s in told["segment_list"] if "slow" in s["needed_by"]]
            assert kept and all(s["end_sequence"] + 64 > slow for s in kept), told
            assert "open" in told["segment_list"][-1]["needed_by"], told
            assert begins(state) * 64 <= slow
            counters = stats(sale.box)
            assert 0 < counters["usher_journal_needed_sequence"] <= slow, counters
            usher("journal", "forget", "slow", state)
            usher("journal", "forget", "slow", state, status=1)
            wait_for(lambda: stats(sale.box)["usher_journal_recycled_segments"] > 1 and
                     begins(state) * 64 > slow)
            counters = stats(sale.box)
            ready = sale.kill()
            assert ready["from_sequence"] > slow, (ready, slow)
            sale.wait_segments(1)
        finally:
            sale.end()
            archiver.terminate()
        assert sale.box.stop() == 0
        assert archiver.communicate(timeout=60)[1] == "" and archiver.returncode == 0
        print(f"# {counters['usher_journal_recycled_segments']} segments used again, "
              f"{counters['usher_journal_removed_segments']} removed; the journal begins at block "
              f"{begins(state)}, {len(segments(state))} segments are left")
        usher("journal", "archive", "--to", store, state)
        assert "usher journal restore" in usher("verify", "--from-start", state, status=1).stdout
        tail = json.loads(usher("verify", "--json", state).stdout)
        whole = verify(state, "--archive", store, "--acks", sale.acks)
        assert tail["sound"] is True and tail["from"] == "snapshot"
        same = ("events", "seats", "free", "house", "held", "sold")
        assert [tail[name] for name in same] == [whole[name] for name in same], (tail, whole)
        first = int(usher("journal", "cat", "--count", "1", state).stdout.split()[0])
        assert first // 64 == begins(state), (first, begins(state))

        # Both snapshots rotten, the beginning recycled: refused, until the archive gives it back.
        for name in glob.glob(os.path.join(state, "journal", "snap-*.ush")):
            with open(name, "r+b") as file:
                file.seek(1000)
                byte = file.read(1)
                file.seek(1000)
                file.write(bytes([byte[0] ^ 1]))
        sale.box.start(wait=False)
        assert sale.box.process.wait(30) == 1
        assert "usher journal restore" in sale.box.events("start_failed")[-1]["why"]
        usher("journal", "restore", "--from", store, state)
        ready = sale.box.start().events("ready")[-1]
        assert ready["from_sequence"] == 0, ready
        assert sale.box.stop() == 0


def snapshots(state):
    return sorted(os.path.basename(path) for path in glob.glob(os.path.join(state, "journal", "snap-*.ush")))


def test_snapshots_by_themselves():
    """A companion writes one every 2 s and every 20,000 records, keeps three, and outlives usherd; starts
    after kill -9 read what came after the newest. With the newest rotten: the one before."""
    with tempfile.TemporaryDirectory(prefix="usher-archive-") as folder:
        sale = Sale(folder)
        state = sale.box.state
        companion = subprocess.Popen(
            [USHER, "journal", "snapshot", "--every", "2", "--records", "20000", "--keep", "3", "--json",
             state], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            seen = set()
            for _ in range(2):
                before = len(seen)
                wait_for(lambda: seen.update(snapshots(state)) or len(seen) >= before + 3)
                newest = int(snapshots(state)[-1][5:21], 16)
                ready = sale.kill()
                assert ready["from_sequence"] >= newest, (ready, newest)
        finally:
            sale.end()
        assert sale.box.stop() == 0
        wait_for(lambda: companion.poll() is None and len(snapshots(state)) == 3)
        companion.terminate()
        out, errors = companion.communicate(timeout=60)
        assert companion.returncode == 0 and errors == "", errors
        taken = [json.loads(line) for line in out.splitlines()]
        assert all(one["written"] for one in taken) and len(taken) >= 6, taken
        left = snapshots(state)
        assert len(left) == 3 and int(left[-1][5:21], 16) == taken[-1]["sequence"], (left, taken)
        tail, whole = json.loads(usher("verify", "--json", state).stdout), verify(state)
        assert tail["from_sequence"] == taken[-1]["sequence"]
        same = ("events", "seats", "free", "house", "held", "sold")
        assert [tail[name] for name in same] == [whole[name] for name in same], (tail, whole)
        with open(os.path.join(state, "journal", left[-1]), "r+b") as file:
            file.seek(1000)
            byte = file.read(1)
            file.seek(1000)
            file.write(bytes([byte[0] ^ 1]))
        ready = sale.box.start().events("ready")[-1]
        assert ready["from_sequence"] == int(left[-2][5:21], 16), (ready, left)
        assert left[-1] in sale.box.events("snapshot_skipped")[-1]["why"]
        assert sale.box.stop() == 0


def main():
    tap = Tap()
    tap.run(test_archive_beside_a_sale)
    tap.run(test_recycling_under_a_sale)
    tap.run(test_snapshots_by_themselves)
    tap.end()


if __name__ == "__main__":
    main()
