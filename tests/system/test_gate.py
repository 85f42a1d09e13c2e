#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usher gate verify, as a door uses it: verdicts, ages, scans from standard input, kill -9, two doors.

usage: test_gate.py USHER DRAW      (the program of tests/unit/tickets_draw.c)
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

USHER, DRAW = sys.argv[1:3]


def draw(*args):
    return subprocess.run([DRAW, *args], check=True, capture_output=True).stdout.decode()


def code(row):
    return draw("code", str(row))


class Door:
    """A folder with the files of a gate."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        (self.folder / "keys").write_text(draw("keys"))
        self.list_made(time.time())

    def list_made(self, at):
        (self.folder / "list.new").write_text(draw("list", str(int(at * 1e6))))
        (self.folder / "list.new").rename(self.folder / "list")

    def command(self, *args, log="log", event="7"):
        return [USHER, "gate", "verify", "--event", event, "--keys", str(self.folder / "keys"), "--revocations",
                str(self.folder / "list"), "--log", str(self.folder / log), *args]

    def ask(self, *args, **options):
        done = subprocess.run(self.command(*args, **options), capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr


def test_verdicts_and_statuses(door):
    assert door.ask(code(1))[0] == 0
    status, out, _ = door.ask(code(1), code(2))
    assert status == 1 and out.splitlines()[0].startswith("DUPLICATE"), out
    assert out.splitlines()[1].startswith("VALID"), out
    for text, event, verdict in ((code(5), "7", "REVOKED"), (code(3), "7", "VALID"), ("x", "7", "MALFORMED"),
                                 (code(4)[:-1] + "/", "7", None)):
        out = door.ask("--json", text, event=event)[1]
        said = json.loads(out)
        assert verdict is None or said["verdict"] == verdict, said
        assert verdict is not None or said["verdict"] in ("BAD_SIGNATURE", "MALFORMED"), said
    assert door.ask(code(1), event="8")[0] == 1


def test_usage_is_told(door):
    assert door.ask()[0] == 2
    assert door.ask("--follow", code(1))[0] == 2
    assert door.ask("--max-age", "x", code(1))[0] == 2
    assert door.ask(code(1), event="0")[0] == 2


def test_age_of_the_list_is_said(door):
    door.list_made(time.time() - 7200)
    out = door.ask(code(10))[1]
    assert out.startswith("VALID") and "TOO OLD" in out and " 720" in out, out
    out = door.ask("--json", "--max-age", "9000", code(11))[1]
    assert json.loads(out)["revocations_too_old"] is False
    assert 7200 <= json.loads(out)["revocations_age_s"] < 7260
    status, out, _ = door.ask("--strict", code(12))
    assert status == 1 and out.startswith("STALE"), out


def test_damaged_files_are_refused(door):
    text = (door.folder / "list").read_text()
    (door.folder / "list").write_text(text.replace("5 5 2", "5 5 1"))
    status, _, error = door.ask(code(1))
    assert status == 1 and "signature" in error, error


def test_follow_takes_over_a_new_list(door):
    with subprocess.Popen(door.command("--follow"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, bufsize=1) as gate:
        def scan(text):
            gate.stdin.write(text + "\n")
            gate.stdin.flush()
            return gate.stdout.readline()

        assert scan(code(20)).startswith("VALID")
        assert scan(code(20) + "\r").startswith("DUPLICATE")
        assert scan("A" * 10000).startswith("MALFORMED")
        assert scan(code(5)).startswith("REVOKED")
        good = (door.folder / "list").read_text()
        (door.folder / "list").write_text("usher-revocations 1\n")
        assert scan(code(21)).startswith("VALID")
        assert "not taken over" in gate.stderr.readline()
        (door.folder / "list").write_text(good)
        door.list_made(time.time() + 1)
        assert scan(code(5)).startswith("REVOKED")
        gate.stdin.close()
        assert gate.wait() == 0


def test_killed_door_remembers_whom_it_let_in(door):
    """Whatever VALID was read before kill -9 is a DUPLICATE after it."""
    codes = [code(row) for row in range(100, 160)]
    admitted = []
    for turn in range(3):
        with subprocess.Popen(door.command("--follow"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True, bufsize=1) as gate:
            for text in codes[turn * 20:turn * 20 + 10]:
                gate.stdin.write(text + "\n")
                gate.stdin.flush()
                assert gate.stdout.readline().startswith("VALID")
                admitted.append(text)
            gate.kill()
    with open(door.folder / "log", "a", encoding="ascii") as log:
        log.write("1764301330000000 VALID 7 1")
    status, out, _ = door.ask(*admitted)
    assert status == 1 and all(line.startswith("DUPLICATE") for line in out.splitlines()), out
    assert len(out.splitlines()) == 30


def test_logs_of_two_doors_are_compared(door):
    door.ask(code(30), code(31), log="a")
    door.ask(code(31), code(32), log="b")
    done = subprocess.run([USHER, "gate", "compare", str(door.folder / "a"), str(door.folder / "b")],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "row 31 bit 5" in done.stdout, done.stdout
    assert done.stdout.splitlines()[-1] == "4 let in, 1 of them into a seat that was taken"
    done = subprocess.run([USHER, "gate", "compare", str(door.folder / "a")], capture_output=True, check=False)
    assert done.returncode == 0


def test_log_that_cannot_be_written_lets_nobody_in(door):
    os.mkdir(door.folder / "log")
    status, out, error = door.ask(code(40))
    assert status == 1 and out == "" and "log" in error, (out, error)


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    failed = 0
    for number, test in enumerate(TESTS, 1):
        with tempfile.TemporaryDirectory(prefix="usher-gate-") as place:
            try:
                test(Door(place))
                print(f"ok {number} - {test.__name__}", flush=True)
            except Exception as error:  # pylint: disable=broad-except
                failed += 1
                print(f"not ok {number} - {test.__name__}\n# {error!r}", flush=True)
    print(f"1..{len(TESTS)}")
    sys.exit(failed != 0)
