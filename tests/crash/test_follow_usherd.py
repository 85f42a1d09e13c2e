#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`usher journal follow` beside a usherd that is flooded, killed with -9 and started again: every
run once, in order, and in the end line for line what `usher journal cat` says.

Snapshots are taken in the same conditions, and starts begin at them.

usage: test_follow_usherd.py BUILD [--kills N] [--rate R]    (USH_SEED=N repeats a run)

Two followers read along. One lives through everything. The other is itself killed again and again
and goes on from `next` of its last whole line. A third question is how late an idle follower is.
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "system"))
from usher_box import Box, ON_SALE, Tap, venue_image  # noqa: E402

SETS = ("memory.prefault=no", "limits.log_blocks=1024", "journal.segment_mb=1")
options = None


def usher_path():
    return os.path.join(options.build, "tools", "usher")


class Follower:
    """A follower whose lines are kept, with the time each came."""

    def __init__(self, state, start=0):
        self.state, self.lines, self.arrived, self.next = state, [], [], start
        self.spawn()

    def spawn(self):
        self.process = subprocess.Popen(
            [usher_path(), "journal", "follow", "--json", "--from", str(self.next), self.state],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.thread = threading.Thread(target=self.read, args=(self.process.stdout,))
        self.thread.start()

    def read(self, pipe):
        for line in pipe:
            if not line.endswith("}\n"):
                return  # killed in the middle of a line: not taken
            run = json.loads(line)
            self.next = run["next"]
            self.arrived.append(time.monotonic())
            self.lines.append(run)

    def kill(self):
        self.process.kill()
        self.thread.join()
        self.process.wait()
        return self.process.stderr.read()

    def wait_for(self, sequence, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.next > sequence:
                return
            assert self.process.poll() is None, self.process.stderr.read()
            time.sleep(0.01)
        raise RuntimeError(f"the follower stands at {self.next}, not behind {sequence}")


def cat(state):
    """ret: the runs of `usher journal cat`, as follow would print them, and the last sequence."""
    done = subprocess.run([usher_path(), "journal", "cat", "--json", state], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 0, done.stderr
    runs = []
    for record in map(json.loads, done.stdout.splitlines()):
        if record["run_index"] == 0:
            runs.append([])
        runs[-1].append(record)
    return runs


def same(lines, runs):
    """Compares field by field. ret: None, or the first difference."""
    if len(lines) != len(runs):
        return f"{len(lines)} lines, {len(runs)} runs"
    for line, run in zip(lines, runs):
        first = run[0]
        seated = first["type"] in ("HOLD", "BLOCK", "UNBLOCK")
        want = {key: first[key] for key in (
            "sequence", "type", "event", "user", "hold", "state", "version", "request_id",
            "digest", "row", "mask", "deadline_ns")}
        want["next"] = run[-1]["sequence"] + 1
        want["amount"] = sum(r["amount"] for r in run)
        legs = [dict(sequence=r["sequence"], row=r["row"], mask=r["mask"], amount=r["amount"],
                     seats=bin(int(r["mask"], 16)).count("1")) for r in run] if seated else []
        want["legs"] = legs
        want["seats"] = sum(leg["seats"] for leg in legs)
        got = {key: value for key, value in line.items() if key not in ("epoch", "time_ns")}
        if got != want:
            return f"{got} is not {want}"
    return None


def load(box, folder, seconds, seed):
    image = os.path.join(folder, "venue.img")
    return subprocess.Popen(
        [usher_path(), "load", "--port", "vhost:" + box.port_path, "--no-huge", "--rate",
         str(options.rate), "--duration", str(seconds), "--event", "1", "--venue", image, "--mix",
         "uniform=48,hot=8,release=22,retry=12,multi=10", "--users", "20000",
         "--seats-per-request", "2", "--hold-ms", "2000", "--timeout", "250", "--retries", "400",
         "--seed", str(seed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_followers_see_all_once_over_kills():
    seed = int(os.environ.get("USH_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"# USH_SEED={seed}")
    dice = random.Random(seed)
    box = Box(options.build, sets=SETS)
    with tempfile.TemporaryDirectory(prefix="usher-follow-") as folder:
        image = os.path.join(folder, "venue.img")
        subprocess.run([usher_path(), "event", "compile", "-o", image,
                        os.path.join(HERE, "..", "..", "venues", "arena.json")], check=True,
                       stdout=subprocess.DEVNULL)
        box.start()
        subprocess.run([usher_path(), "event", "load", "--socket", box.control_path, "--event",
                        "1", "--on-sale", image], check=True, stdout=subprocess.DEVNULL)
        steady, mortal = Follower(box.state), Follower(box.state)
        flood = load(box, folder, 3600, seed)
        try:
            for _ in range(options.kills):
                time.sleep(dice.uniform(0.5, 1.5))
                errors = mortal.kill()
                assert errors == "", errors
                mortal.spawn()
                time.sleep(dice.uniform(0.2, 0.8))
                box.stop(9)
                box.start()
            time.sleep(1)
        finally:
            flood.kill()
            flood.wait()
        assert box.stop() == 0
        runs = cat(box.state)
        for follower in (steady, mortal):
            follower.wait_for(runs[-1][-1]["sequence"])
            errors = follower.kill()
            assert errors == "", errors
            wrong = same(follower.lines, runs)
            assert wrong is None, wrong
        types = {run[0]["type"] for run in runs}
        epochs = {line["epoch"] for line in steady.lines}
        legs = sum(len(run) > 1 for run in runs)
        print(f"# {len(runs)} runs, {legs} of several legs, {len(epochs)} epochs, "
              f"{runs[-1][-1]['sequence'] // 64 // 256 + 1} segments of 1 MiB")
        assert len(runs) > 200 * options.kills and legs > 50 and len(epochs) > options.kills
        assert {"OPEN", "HOLD", "RELEASE", "EXPIRE", "TICK", "RESUME", "CLOSE"} <= types, types
        ended = subprocess.run([usher_path(), "journal", "follow", "--json", "--until-end",
                                box.state], text=True, stdout=subprocess.PIPE, timeout=60)
        assert ended.returncode == 0
        wrong = same([json.loads(line) for line in ended.stdout.splitlines()], runs)
        assert wrong is None, wrong


def verify(state, *arguments):
    done = subprocess.run([usher_path(), "verify", "--json", *arguments, state], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    found = json.loads(done.stdout)
    assert done.returncode == 0 and found["sound"] is True, (done.stderr, found)
    return found


def snapshot(state):
    done = subprocess.run([usher_path(), "journal", "snapshot", "--json", state], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return json.loads(done.stdout)


def test_snapshots_under_load_shorten_each_start():
    """Taken beside a flood, then kill -9: the start begins at the snapshot; in the end the state is
    the one that all records make; a rotten one is passed over."""
    box = Box(options.build, sets=SETS)
    with tempfile.TemporaryDirectory(prefix="usher-follow-") as folder:
        image = os.path.join(folder, "venue.img")
        subprocess.run([usher_path(), "event", "compile", "-o", image,
                        os.path.join(HERE, "..", "..", "venues", "arena.json")], check=True,
                       stdout=subprocess.DEVNULL)
        box.start()
        subprocess.run([usher_path(), "event", "load", "--socket", box.control_path, "--event",
                        "1", "--on-sale", image], check=True, stdout=subprocess.DEVNULL)
        flood = load(box, folder, 3600, 1)
        try:
            for _ in range(3):
                taken, end = None, time.monotonic() + 60
                while taken is None or taken["records"] <= 50 and time.monotonic() < end:
                    time.sleep(1)
                    taken = snapshot(box.state)
                assert taken["written"] and taken["records"] > 50, taken
                box.stop(9)
                ready = box.start().events("ready")[-1]
                assert ready["from_sequence"] == taken["sequence"], (ready, taken)
                assert ready["records"] < taken["sequence"], ready
            beside = verify(box.state)
            assert beside["from"] == "snapshot", beside
        finally:
            flood.kill()
            flood.wait()
        assert box.stop() == 0
        sums = ("events", "seats", "free", "house", "held", "sold", "chain_broken")
        tail, whole = verify(box.state), verify(box.state, "--from-start")
        assert (tail["from"], whole["from"]) == ("snapshot", "start")
        assert [tail[key] for key in sums] == [whole[key] for key in sums], (tail, whole)
        assert whole["records"] > tail["records"] + 150, (tail, whole)
        journal = os.path.join(box.state, "journal")
        names = sorted(n for n in os.listdir(journal) if n.startswith("snap-"))
        assert len(names) == 2, names
        with open(os.path.join(journal, names[-1]), "r+b") as file:
            file.seek(5000)
            byte = file.read(1)
            file.seek(5000)
            file.write(bytes([byte[0] ^ 4]))
        ready = box.start().events("ready")[-1]
        assert ready["from_sequence"] == int(names[0][5:21], 16), (ready, names)
        assert names[-1] in box.events("snapshot_skipped")[-1]["why"]
        assert box.stop() == 0


def test_idle_follower_is_quick_and_cheap():
    box = Box(options.build, sets=SETS).start()
    control = box.control()
    assert control.load(1, venue_image()).status == "OK"
    follower = Follower(box.state)
    late = []
    for i in range(40):
        time.sleep(0.05)
        reply = control.call("EVENT_STATUS", event=1, arg=ON_SALE + i % 2)
        answered = time.monotonic()
        assert reply.status == "OK", reply.status
        follower.wait_for(reply.sequence)
        late.append(1e3 * (follower.arrived[-1] - answered))
    with open(f"/proc/{follower.process.pid}/stat") as file:
        words = file.read().rpartition(")")[2].split()
    before = int(words[11]) + int(words[12])
    time.sleep(2)
    with open(f"/proc/{follower.process.pid}/stat") as file:
        words = file.read().rpartition(")")[2].split()
    cpu = (int(words[11]) + int(words[12]) - before) / os.sysconf("SC_CLK_TCK") / 2
    follower.kill()
    print(f"# told after the reply: median {statistics.median(late):.1f} ms, max "
          f"{max(late):.1f} ms, n {len(late)}; idle {100 * cpu:.1f} % of a core")
    assert statistics.median(late) < 50 and cpu < 0.1
    assert box.stop() == 0


def main():
    global options
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--rate", type=int, default=2000)
    options = parser.parse_args()
    tap = Tap()
    tap.run(test_followers_see_all_once_over_kills)
    tap.run(test_snapshots_under_load_shorten_each_start)
    tap.run(test_idle_follower_is_quick_and_cheap)
    tap.end()


if __name__ == "__main__":
    main()
