#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usherd killed with -9 at random moments under a running `usher load`, again and again: nothing
acknowledged is lost, no seat is sold twice, and in the end everything asked is answered.

usage: test_kill_usherd.py BUILD [--kills N] [--rate R]    (USH_SEED=N repeats a run)

After each kill, before the restart, `usher verify` audits the state directory against the
acknowledgements of the load and of a buyer who confirms holds through the control port. One kill
in seven falls into the start itself. The moments are the seed's; what runs in them is not.
"""
import argparse
import collections
import json
import os
import random
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "system"))
from usher_box import Box, OP, STATUS, remove_boxes  # noqa: E402

ACK = struct.Struct("<QQQQQIIHBBIQ")
ACK_MAGIC = 0x314B434148535355
EVENT = 1
HOLD_MS = 15000
MIX = "uniform=48,hot=8,release=22,retry=12,multi=10"
# Small enough for quick starts on a small machine, and segments that end during the run.
SETS = ("memory.prefault=no", "limits.holds=131072", "limits.users=65536",
        "limits.answers=524288", "limits.rows=16384", "limits.log_blocks=1024",
        "journal.segment_mb=4")

count = failed = 0


def check(name, fine, note=""):
    global count, failed
    count += 1
    failed += not fine
    print(f"{'ok' if fine else 'not ok'} {count} - {name}" + (f"\n# {note}" if not fine else ""),
          flush=True)
    return fine


def say(text):
    print("# " + text, flush=True)


def usher(*arguments, timeout=120):
    return subprocess.run([USHER, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=timeout)


class Acks:
    """An acknowledgement file that another process writes: new entries since the last look."""

    def __init__(self, path):
        self.path, self.at = path, ACK.size

    def new(self):
        if not os.path.exists(self.path):
            return []
        with open(self.path, "rb") as file:
            file.seek(self.at)
            data = file.read()
        data = data[:len(data) - len(data) % ACK.size]
        self.at += len(data)
        return list(ACK.iter_unpack(data))


class Buyer:
    """Confirms some holds through the control port and keeps what was acknowledged."""

    def __init__(self, path, load_acks, dice):
        self.path, self.load_acks, self.dice = path, load_acks, dice
        self.holds = collections.deque(maxlen=64)
        self.sold = []
        with open(path, "wb") as file:
            file.write(ACK.pack(ACK_MAGIC, *[0] * 11))

    def buy(self, control):
        self.holds.extend((e[1], e[2]) for e in self.load_acks.new() if e[8] == OP["RESERVE"])
        if not self.holds:
            return
        at = self.dice.randrange(len(self.holds))
        user, hold = self.holds[at]
        del self.holds[at]
        reply = control.call("CONFIRM", event=EVENT, user=user, hold=hold)
        if reply.status != "OK":
            return
        self.sold.append((user, hold))
        with open(self.path, "ab") as file:
            file.write(ACK.pack(0, user, hold, reply.sequence, 0, EVENT, 0, 0, OP["CONFIRM"],
                                STATUS.index("OK"), 0, reply.amount))


class Load:
    """`usher load` in the background."""

    def __init__(self, box, folder, rate, seed):
        self.rate = rate
        self.ack_path = os.path.join(folder, "load.acks")
        self.json_path = os.path.join(folder, "load.json")
        self.log_path = os.path.join(folder, "load.log")
        command = [USHER, "load", "--port", "vhost:" + box.port_path, "--no-huge", "--rate",
                   str(rate), "--duration", "86400", "--event", str(EVENT), "--venue",
                   os.path.join(folder, "venue.img"), "--mix", MIX, "--users", "20000",
                   "--seats-per-request", "2", "--hot-rows", "8", "--hold-ms", str(HOLD_MS),
                   "--timeout", "250", "--retries", "400", "--seed", str(seed), "--ack-file",
                   self.ack_path, "--json", self.json_path, "--progress", "json"]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def lines(self):
        with open(self.log_path, errors="replace") as log:
            return [line for line in log.read().splitlines()]

    def progress(self):
        """The last second's figures, and when they were written."""
        found = {}
        for line in self.lines():
            if line.startswith("{") and line.endswith("}"):
                found = json.loads(line)
        return found

    def alive(self):
        return self.process.poll() is None

    def stop(self):
        """ret: exit status and figures."""
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(60)
        with open(self.json_path) as file:
            return status, json.load(file)

    def remove(self):
        if self.alive():
            self.process.kill()
            self.process.wait()


def patient(box):
    """A client of the control port that bears a machine which forgets a thread for seconds."""
    control = box.control()
    control.socket.settimeout(60)
    return control


def read_stats(box):
    control = patient(box)
    try:
        return control.stats()
    finally:
        control.close()


def wait_traffic(box, seconds=60):
    """Waits for the load's packets. ret: the time they were seen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if read_stats(box)["usher_rx_packets"] > 0:
            return time.monotonic()
        time.sleep(0.01)
    raise RuntimeError("the load does not come back: " + box.log_path)


def verify(box, *acks):
    # The load writes its file's first entry with its first flush, a second after its start.
    written = [path for path in acks if os.path.getsize(path) >= ACK.size]
    done = usher("verify", "--json", *[a for path in written for a in ("--acks", path)],
                 box.state)
    found = json.loads(done.stdout) if done.stdout else {}
    fine = (done.returncode == 0 and found.get("sound") is True and found["lost"] == 0 and
            found["double_sold"] == 0 and found["contradictions"] == 0)
    return fine, found, f"status {done.returncode}: {done.stderr} {found}"


class Torment:
    """What the kills measured."""

    def __init__(self):
        self.recovery_ms, self.start_ms, self.outage_ms, self.write_ms = [], [], [], []
        self.torn = self.in_start = self.verified = self.acks = 0

    def report(self):
        def line(name, values):
            if values:
                say(f"{name}: median {statistics.median(values):.0f}, max {max(values):.0f}, "
                    f"n {len(values)}")
        line("recovery_ms", self.recovery_ms)
        line("start_ms, spawn to ready", self.start_ms)
        line("outage_ms, kill -9 to the first packet taken again (verify included)",
             self.outage_ms)
        line("slowest durable write of a life, ms", self.write_ms)
        say(f"kills within a start: {self.in_start}; torn blocks dropped: {self.torn}")


def serve_until_killed(box, dice, buyer, torment, away):
    """One life of usherd, from its start to a moment of the dice. in: away: since when nobody has
    served, or None. ret: the same, after this one was killed."""
    spawned, before = time.monotonic(), len(box.events("ready"))
    box.start(wait=False)
    if away is not None and dice.random() < 1 / 7:
        time.sleep(dice.uniform(0, 0.35))
        torment.in_start += 1
    else:
        # One more than before: a start that was killed may have come as far as this line.
        ready = box.wait_event("ready", seconds=60, count=before + 1)
        torment.start_ms.append(1e3 * (time.monotonic() - spawned))
        torment.recovery_ms.append(ready["recovery_ms"])
        torment.torn += ready["torn_blocks"]
        taken = wait_traffic(box)
        if away is not None:
            torment.outage_ms.append(1e3 * (taken - away))
        away = None
        end = time.monotonic() + dice.uniform(0, 0.8)
        control = patient(box)
        while time.monotonic() < end:
            buyer.buy(control)
            time.sleep(min(0.03, max(0, end - time.monotonic())))
        torment.write_ms.append(control.stats()["usher_journal_write_ns_max"] / 1e6)
        control.close()
    box.process.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    box.process.wait()
    return away or killed


def kill_again_and_again(box, load, buyer, dice, kills, torment):
    """ret: None, or what went wrong."""
    away = None
    for i in range(kills):
        away = serve_until_killed(box, dice, buyer, torment, away)
        fine, found, note = verify(box, load.ack_path, buyer.path)
        if not fine:
            return f"after kill {i + 1}: {note}"
        if not load.alive():
            return f"after kill {i + 1} the load was gone: {load.lines()[-3:]}"
        torment.verified += 1
        torment.acks = found["acks_checked"]
        if (i + 1) % 10 == 0:
            say(f"{i + 1} kills: {found['records']} records, {found['acks_checked']} acks, "
                f"{found['held']} seats held, {found['sold']} sold, "
                f"recovery {torment.recovery_ms[-1]} ms")
    return None


def start(box):
    """ret: the ready line of this start, not of an earlier one that nobody waited for."""
    before = len(box.events("ready"))
    box.start(wait=False)
    return box.wait_event("ready", seconds=60, count=before + 1)


def settle(box, load):
    """Serves until the load has nothing old under way any more and is no longer behind its schedule: what came up while
    the box was down, much on a slow machine. As long as it gets on, and a minute longer."""
    start(box)
    wait_traffic(box)
    end = time.monotonic() + 60
    quiet, least, before = 0, None, None
    while quiet < 2 and time.monotonic() < end:
        time.sleep(0.2)
        now = load.progress()
        if not now or now == before:
            continue
        before = now
        if least is None or now["backlog"] < least:
            least, end = now["backlog"], time.monotonic() + 60
        quiet = quiet + 1 if now["max_us"] < 250e3 and now["up"] and now["backlog"] < load.rate else 0
    return quiet == 2


# ---- hold states -------------------------------------------------------------------------------

def read_holds(state):
    """ret: hold -> [user, state, deadline_ns, amount], by the journal's records alone."""
    holds, live_deadline = {}, 0
    process = subprocess.Popen([USHER, "journal", "cat", "--json", state], text=True,
                               stdout=subprocess.PIPE)
    with process.stdout as lines:
        for line in lines:
            r = json.loads(line)
            kind = r["type"]
            if r["run_index"] != 0:
                continue
            if kind == "HOLD":
                # Deadlines are kept less the credit given so far, which is then added to all.
                holds[r["hold"]] = [r["user"], "HELD", r["deadline_ns"] - live_deadline, None]
            elif kind == "RESUME":
                live_deadline += int(r["mask"], 16)
            elif kind in ("RELEASE", "EXPIRE", "CONFIRM"):
                hold = holds[r["hold"]]
                hold[1] = {"RELEASE": "RELEASED", "EXPIRE": "EXPIRED", "CONFIRM": "SOLD"}[kind]
                hold[3] = hold[2] + live_deadline
    process.wait()
    for hold in holds.values():
        if hold[1] == "HELD":
            hold[3] = hold[2] + live_deadline
    return holds, process.returncode


def sample(holds, dice, each):
    """Some holds of each state; of the held ones those with a while to live."""
    by_state = collections.defaultdict(list)
    newest = max((h[3] for h in holds.values() if h[1] == "HELD"), default=0)
    for number, hold in holds.items():
        if hold[1] != "HELD" or newest - hold[3] < HOLD_MS / 2 * 1e6:
            by_state[hold[1]].append(number)
    return {state: dice.sample(sorted(numbers), min(each, len(numbers)))
            for state, numbers in by_state.items()}


def hold_states(box, dice):
    """Compares answers of a running usherd with the journal. ret: how many, what differs."""
    chosen_from, status = read_holds(box.state)
    if status != 0:
        return 0, f"usher journal cat: status {status}"
    chosen = sample(chosen_from, dice, 25)
    if set(chosen) != {"HELD", "SOLD", "RELEASED", "EXPIRED"}:
        return 0, f"only {sorted(chosen)}"
    start(box)
    answers = {}
    # Those that end by themselves first.
    for number in [n for state in sorted(chosen, key="HELD".__ne__) for n in chosen[state]]:
        done = usher("client", "--socket", box.control_path, "hold", "--event", str(EVENT),
                     "--user", str(chosen_from[number][0]), "--hold", "0x" + number, "--json")
        answers[number] = json.loads(done.stdout), time.time_ns()
    holds, status = read_holds(box.state)
    for number, (answer, answered_ns) in answers.items():
        _, state, _, deadline_ns = holds[number]
        # With half its life left when it was chosen; a busy machine may take longer to ask.
        if chosen_from[number][1] == "HELD" and (state != "EXPIRED" or answered_ns < deadline_ns):
            state = "HELD"
        if state in ("HELD", "SOLD"):
            fine = (answer["status"] == "OK" and answer["state"] == state and
                    answer["deadline_ns"] == deadline_ns)
        else:
            fine = answer["status"] in ("NO_HOLD", "EXPIRED")
        if not fine:
            return len(answers), f"journal: {number} {holds[number]}; usherd: {answer}"
    return len(answers), None


# ---- the run -----------------------------------------------------------------------------------

def check_load(load, kills):
    status, got = load.stop()
    say(f"load: {got['asked']} asked, {got['answered']} answered, {got['granted']} granted, "
        f"{got['released']} released, {got['resent']} sent again, {got['outages']} outages, "
        f"refused {got['refused']}, repeats {got['repeats']}, p50 {got['p50_us'] / 1e3:.1f} ms, "
        f"longest wait for an answer {got['max_us'] / 1e3:.0f} ms")
    note = (got, load.lines()[-5:])
    check("everything asked is answered",
          got["asked"] == got["answered"] > 0 and got["lost"] == got["unanswered"] == 0, note)
    check("load finds no fault of its own", status == 0 and got["double_granted"] == 0 and
          got["repeats"]["changed"] == 0 and got["unexpected"] == 0 and
          got["packets"]["bad"] == 0, note)
    check("the mix was asked for", got["granted"] > 100 and got["released"] > 100 and
          got["repeats"]["asked"] > 100 and got["outages"] > 0, note)
    return got


def torture(folder, options, seed):
    dice = random.Random(seed)
    torment = Torment()
    box, load = Box(options.build, sets=SETS), None
    try:
        image = os.path.join(folder, "venue.img")
        venue = os.path.join(HERE, "..", "..", "venues", "arena.json")
        made = usher("event", "compile", venue, "-o", image)
        box.start()
        loaded = usher("event", "load", "--socket", box.control_path, "--event", str(EVENT),
                       "--on-sale", image)
        if not check("an event is on sale", made.returncode == 0 and loaded.returncode == 0,
                     made.stderr + loaded.stderr):
            return
        box.stop(signal.SIGKILL)
        load = Load(box, folder, options.rate, seed)
        buyer = Buyer(os.path.join(folder, "buyer.acks"), Acks(load.ack_path), dice)
        with open(load.ack_path, "ab"):
            pass
        begun = time.monotonic()
        wrong = kill_again_and_again(box, load, buyer, dice, options.kills, torment)
        seconds = time.monotonic() - begun
        check(f"verify is sound after each of {options.kills} kills", wrong is None, wrong)
        say(f"{torment.verified} kills verified in {seconds:.0f} s, the last one against "
            f"{torment.acks} acknowledgements, {len(buyer.sold)} of them sales")
        if wrong is not None:
            return
        check("all old requests were answered at last", settle(box, load), load.progress())
        got = check_load(load, options.kills)
        fine, found, note = verify(box, load.ack_path, buyer.path)
        check("verify is sound beside the running usherd", fine, note)
        check("usherd stops cleanly", box.stop() == 0)
        fine, found, note = verify(box, load.ack_path, buyer.path)
        check("verify is sound in the end, and knows every acknowledgement", fine and
              found["acks_checked"] == got["ack_entries"] + len(buyer.sold) and
              found["clean_shutdown"] == 1, note)
        asked, wrong = hold_states(box, dice)
        check(f"states of {asked} holds are the journal's", wrong is None, wrong)
        torment.report()
    finally:
        if load is not None:
            load.remove()
    box.remove()


def restart_at_once(options, starts=10):
    """A restart needs no pause: usherd is started while the kernel still takes the old one apart."""
    box = Box(options.build, sets=SETS)
    try:
        box.start()
        took, wrong = [], None
        for _ in range(starts):
            old, begun = box.process, time.monotonic()
            old.send_signal(signal.SIGKILL)
            try:
                box.start()
            except RuntimeError as error:
                wrong = str(error)
                old.wait()
                break
            took.append(1e3 * (time.monotonic() - begun))
            old.wait()
        check(f"{starts} restarts at once after kill -9 all serve", wrong is None, wrong)
        if took:
            say(f"kill -9 to ready at once: median {statistics.median(took):.0f} ms, max "
                f"{max(took):.0f} ms; {len(box.events('lock_wait'))} of {starts} waited for a lock")
        check("verify is sound after them", verify(box)[0])
    finally:
        box.remove()


def main():
    global USHER
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--rate", type=int, default=1000)
    options = parser.parse_args()
    USHER = os.path.join(options.build, "tools", "usher")
    seed = int(os.environ.get("USH_SEED") or random.SystemRandom().randrange(1 << 32))
    print("TAP version 13")
    say(f"seed {seed}: USH_SEED={seed} {' '.join(sys.argv)}")
    try:
        with tempfile.TemporaryDirectory(prefix="usher-kill-") as folder:
            torture(folder, options, seed)
        restart_at_once(options)
    except Exception as error:  # whatever it was, it is a failure with a name
        for box in Box.boxes:
            with open(box.log_path, errors="replace") as log:
                for line in log.read().splitlines()[-8:]:
                    say(line)
        check("the run itself", False, f"{type(error).__name__}: {error}".replace("\n", "\n# "))
    finally:
        remove_boxes()
    print(f"1..{count}")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
