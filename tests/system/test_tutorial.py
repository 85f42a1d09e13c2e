#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/tutorial.md does what it says: a shop opens, scripts/buy buys, gives away and refunds, and the commands that
are written out work one after another; the shop is killed and goes on with what it had.

usage: test_tutorial.py BUILD-FOLDER
"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import usher_box  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENV = {**os.environ, "USH_BUILD": str(pathlib.Path(sys.argv[1]).resolve())}


class Shop:
    """scripts/shop in a folder that stays."""

    def __init__(self, folder):
        self.folder = folder
        self.process = subprocess.Popen(
            [ROOT / "scripts/shop", "--port", "0", "--events", "2", "--keep", folder], env=ENV, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True)
        for line in self.process.stdout:
            if line.startswith("Ctrl-C"):
                return
        raise AssertionError(self.process.stderr.read()[-3000:])

    def close(self):
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0, self.process.returncode


def run(command, folder):
    return subprocess.run(command, cwd=folder, env=ENV, capture_output=True, text=True, timeout=120)


def test_buy_give_away_refund(folder):
    shop = Shop(folder)
    done = run([ROOT / "scripts/buy", folder], folder)
    assert done.returncode == 0, done.stderr[-2000:]
    out = json.loads(done.stdout.splitlines()[-1])
    assert (out["bought"], out["transferred"], out["refunded"]) == (2, 1, 1), out
    shop.close()


def test_by_hand_after_a_restart(folder):
    shop = Shop(folder)
    text = (ROOT / "docs/tutorial.md").read_text()
    commands = re.search(r"```sh\n(.*?)```", text, re.S)[1].replace("FOLDER", folder)
    done = run(["bash", "-euo", "pipefail", "-c", commands], folder)
    assert done.returncode == 0, done.stderr[-2000:]
    for state in ('"state":"sold"', '"refunded"'):
        assert state in done.stdout.replace(" ", ""), done.stdout[-3000:]
    shop.close()
    audit = run([ENV["USH_BUILD"] + "/tools/usher", "verify", folder + "/state"], folder)
    assert audit.returncode == 0, audit.stdout[-1000:] + audit.stderr[-1000:]


def test_a_shop_whose_program_was_killed_goes_on():
    """Section 4, with a shop that nobody thought of keeping."""
    page = (ROOT / "docs/tutorial.md").read_text().split("## 4.")[1]
    commands = re.findall(r"^    (.*)$", page, re.M)
    assert [c.split()[0] for c in commands] == [".", "kill", "scripts/shop", "build/tools/usher"], commands
    process = subprocess.Popen([ROOT / "scripts/shop", "--port", "0", "--events", "2"], env=ENV, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True)
    folder = None
    try:
        for line in process.stdout:
            if line.startswith("Logs:"):
                folder = line.split()[1].removesuffix("/*.log")
            if line.startswith("Ctrl-C"):
                break
        assert run([ROOT / "scripts/buy", folder], folder).returncode == 0
        killed = run(["bash", "-euc", "\n".join(commands[:2]).replace("FOLDER", folder)], folder)
        assert killed.returncode == 0, killed.stderr
        _, said = process.communicate(timeout=60)
        assert process.returncode == 1 and commands[2].replace("FOLDER", folder) in said, said[-2000:]
        shop = Shop(folder)
        assert run([ROOT / "scripts/buy", folder], folder).returncode == 0
        shop.close()
        audit = run(["bash", "-c", commands[3].replace("FOLDER", folder).replace("build", ENV["USH_BUILD"], 1)], folder)
        assert audit.returncode == 0 and re.search(r"verdict\s+sound", audit.stdout), audit.stdout[-1000:]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def test_ctrl_c_removes_a_shop_that_need_not_stay():
    before = set(pathlib.Path("/var/tmp").glob("usher-shop.*"))
    process = subprocess.Popen([ROOT / "scripts/shop", "--port", "0", "--events", "1"], env=ENV, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True, start_new_session=True)
    for line in process.stdout:
        if line.startswith("Ctrl-C"):
            break
    assert len(set(pathlib.Path("/var/tmp").glob("usher-shop.*")) - before) == 1
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0
    time.sleep(0.1)
    assert set(pathlib.Path("/var/tmp").glob("usher-shop.*")) <= before


def main():
    tap = usher_box.Tap()
    with tempfile.TemporaryDirectory(prefix="usher-tut-", dir="/var/tmp") as folder:
        tap.run(test_buy_give_away_refund, folder)
        tap.run(test_by_hand_after_a_restart, folder)
    tap.run(test_a_shop_whose_program_was_killed_goes_on)
    tap.run(test_ctrl_c_removes_a_shop_that_need_not_stay)
    tap.end()


if __name__ == "__main__":
    main()
