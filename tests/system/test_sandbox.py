#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usher-sandbox from outside: Stripe's own client drives it (tests/stripe), and what that client cannot
say is said with raw requests: malformed forms, kill -9, scripts of failures, the end of the process.

usage: test_sandbox.py BUILD-FOLDER
"""
import base64
import hashlib
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(sys.argv[1]).resolve()
SANDBOX = BUILD / "sim/sandbox/usher-sandbox"
KEY = "sk_test_usher"

count = failed = 0


def check(name, good, why=""):
    global count, failed
    count += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {count} - {name}", flush=True)
    if not good:
        for line in str(why).splitlines()[-60:] or ["?"]:
            print(f"# {line}", flush=True)


def skip(name, why):
    global count
    count += 1
    print(f"ok {count} - {name} # SKIP {why}", flush=True)


class Sandbox:
    """One process over the database in `folder`."""

    def __init__(self, folder, *options):
        self.log_path = pathlib.Path(folder, f"log-{time.monotonic_ns()}")
        self.log = open(self.log_path, "w+b")
        command = [SANDBOX, "--db", pathlib.Path(folder, "books.db"), "--listen", "127.0.0.1:0", *options]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=self.log)
        self.port = None
        end = time.monotonic() + 60
        while self.port is None:
            for line in self.log_path.read_text().splitlines():
                if '"event":"ready"' in line and line.endswith("}"):
                    self.port = json.loads(line)["port"]
            if self.port is None and (self.process.poll() is not None or time.monotonic() > end):
                raise RuntimeError(self.log_path.read_text())
            time.sleep(0.01)

    def raw(self, method, path, body=None, headers=None, key=KEY):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = dict(headers or {})
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text.startswith(b"{") else text
        finally:
            connection.close()

    def post(self, path, form, key=None):
        return self.raw("POST", path, urllib.parse.urlencode(form),
                        {"Idempotency-Key": key} if key else None)

    def control(self, method, path, body=None):
        status, answer = self.raw(method, "/_sandbox/" + path, json.dumps(body) if body is not None else None)
        assert status == 200, (status, answer)
        return answer

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        status = self.process.wait(timeout=60)
        self.log.close()
        return status


PAY = {"amount": 1000, "currency": "eur", "confirm": "true", "payment_method": "pm_card_visa"}


def stripe_client(folder):
    name = "Stripe's own client: every test of tests/stripe"
    source = ROOT / "tests/stripe"
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        skip(name, "no node or no npm")
        return
    place = BUILD / "stripe"
    digest = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()
    stamp = place / "installed"
    if not stamp.exists() or stamp.read_text() != digest:
        place.mkdir(exist_ok=True)
        for file in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(source / file, place)
        done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund",
                               "--prefer-offline"], cwd=place, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=500)
        if done.returncode != 0:
            check(name, False, "npm ci: " + done.stdout + done.stderr)
            return
        stamp.write_text(digest)
    shutil.copy(source / "client.test.mjs", place)
    box = Sandbox(folder, "--retry-ms", "100", "--refund-delay-s", "2")
    done = subprocess.run(["node", "--test", "--test-reporter=tap", "client.test.mjs"], cwd=place,
                          env={**os.environ, "SANDBOX_PORT": str(box.port)}, capture_output=True,
                          text=True, timeout=120)
    passed = sum(line.lstrip().startswith("ok ") for line in done.stdout.splitlines())
    check(f"{name} ({passed} passed)", done.returncode == 0 and passed >= 20, done.stdout + done.stderr)
    check("it ends at SIGTERM with status 0", box.stop() == 0)


def malformed(folder):
    box = Sandbox(folder)
    for name, body in [("a percent sign alone", "amount=%"), ("a NUL", "amount=%00"),
                       ("a bracket that does not close", "metadata[a=1"), ("a bracket too many", "metadata[a]]=1"),
                       ("a name within a text", "amount=1&amount[a]=1"), ("no name", "=1"),
                       ("no UTF-8", "description=%ff"), ("too deep", "a" + "[b]" * 20 + "=1"),
                       ("too many", "&".join(f"a{i}=1" for i in range(600))),
                       ("a list for metadata", "amount=100&currency=eur&metadata[]=1")]:
        status, answer = box.raw("POST", "/v1/payment_intents", body)
        check(f"malformed: {name}: 400", status == 400 and "error" in answer, (status, answer))
    status, _ = box.raw("POST", "/v1/payment_intents", "a=" + "x" * 300000)
    check("a body that is too long: 413", status == 413, status)
    status, _ = box.raw("GET", "/v1/payment_intents", key=None)
    check("without a key: 401", status == 401, status)
    basic = base64.b64encode(f"{KEY}:".encode()).decode()
    status, _ = box.raw("GET", "/v1/payment_intents", headers={"Authorization": f"Basic {basic}"}, key=None)
    check("the key as a user's name: 200", status == 200, status)
    made = box.post("/v1/payment_intents", {**PAY, "confirm": "false"})[1]
    path = f"/v1/payment_intents/{made['id']}"
    status, _ = box.raw("GET", f"{path}?client_secret=wrong", key="pk_test_usher")
    check("the publishable key without the intent's secret: 401", status == 401, status)
    secret = urllib.parse.urlencode({"client_secret": made["client_secret"]})
    status, answer = box.raw("POST", path + "/confirm", secret, key="pk_test_usher")
    check("the publishable key with it may confirm", status == 200 and answer["status"] == "succeeded", answer)
    status, _ = box.raw("POST", path + "/cancel", secret, key="pk_test_usher")
    check("and nothing else", status == 401, status)
    log = box.log_path.read_text()
    box.stop()
    check("the log has requests, and neither keys nor secrets",
          '"event":"request"' in log and KEY not in log and made["client_secret"] not in log, log)


def killed(folder, rounds=5, seed=None):
    """Payments under keys while the process is killed: in the end each key charged once or not at all."""
    seed = int(os.environ.get("USH_SEED", seed or random.randrange(1 << 32)))
    print(f"# USH_SEED={seed}", flush=True)
    draw = random.Random(seed)
    answered, number, wrong = {}, 0, []
    for _ in range(rounds):
        box = Sandbox(folder)
        killer = threading.Timer(draw.uniform(0.0, 0.2), box.process.kill)
        try:
            while True:
                key = f"hold-{number}"
                status, answer = box.post("/v1/payment_intents", {**PAY, "metadata[key]": key}, key)
                if status == 200:
                    answered[key] = answer["id"]
                    if killer.ident is None:
                        killer.start()
                number += 1
        except (OSError, http.client.HTTPException):
            pass
        if killer.ident is None:
            killer.start()
        killer.join()
        box.process.wait(timeout=60)
        box.log.close()
        box = Sandbox(folder)
        # The outcome of the last is unknown: the same request under the same key finds it out.
        key = f"hold-{number}"
        status, answer = box.post("/v1/payment_intents", {**PAY, "metadata[key]": key}, key)
        answered[key] = answer["id"]
        number += 1
        box.stop(signal.SIGKILL)
    box = Sandbox(folder)
    books = box.control("GET", "books")
    by_key = {}
    for intent in books["payment_intents"]:
        by_key.setdefault(intent["metadata"]["key"], []).append(intent["id"])
    wrong += [key for key, ids in by_key.items() if len(ids) > 1]
    wrong += [key for key, one in answered.items() if by_key.get(key) != [one]]
    check(f"kill -9, {2 * rounds} times over {len(answered)} payments: none lost, none twice, books consistent",
          not wrong and books["consistent"] and len(answered) > rounds, (wrong, books["disagreements"]))
    box.stop()


def faults(folder):
    script = pathlib.Path(folder, "faults.json")
    script.write_text(json.dumps([
        {"kind": "error", "when": "before", "status": 503, "method": "POST", "path": "/v1/refunds", "skip": 1,
         "times": 2}]))
    box = Sandbox(folder, "--faults", str(script))
    seen = [box.post("/v1/refunds", {"payment_intent": "pi_none"})[0] for _ in range(2)]
    box.stop(signal.SIGKILL)
    box = Sandbox(folder)
    seen += [box.post("/v1/refunds", {"payment_intent": "pi_none"})[0] for _ in range(2)]
    check("a script of failures goes on where it was after kill -9", seen == [400, 503, 503, 400], seen)
    for bad in ({"kind": "fire"}, {"kind": "drop", "ms": -1}, {"kind": "drop", "colour": 1}, [], "x", {}):
        status, answer = box.raw("POST", "/_sandbox/faults", json.dumps(bad))
        check(f"no fault: {bad}: {'200' if bad == [] else '400'}", status == (200 if bad == [] else 400), answer)
    check("faults are taken away", box.raw("DELETE", "/_sandbox/faults")[1] == {"faults": []})
    box.control("POST", "faults", {"kind": "delay", "when": "after", "ms": 600})
    late = []
    waiting = threading.Thread(target=lambda: late.append(box.post("/v1/payment_intents", PAY)))
    waiting.start()
    time.sleep(0.2)
    status = box.stop()
    waiting.join()
    check("SIGTERM waits for an answer under way", status == 0 and late and late[0][0] == 200, (status, late))


def starts(folder):
    def started(*options):
        return subprocess.run([SANDBOX, *options], capture_output=True, text=True, timeout=60)

    done = started("--help")
    check("--help", done.returncode == 0 and "usage:" in done.stdout and not done.stderr, done)
    for name, options in [("no database", []), ("an unknown option", ["--dance"]), ("a stray word", ["x"]),
                          ("a port out of range", ["--db", "x", "--listen", "127.0.0.1:65536"]),
                          ("https webhooks", ["--db", "x", "--webhook", "https://127.0.0.1/"])]:
        done = started(*options)
        check(f"{name}: status 2", done.returncode == 2 and "usher-sandbox" in done.stderr and not done.stdout, done)
    junk = pathlib.Path(folder, "junk.db")
    junk.write_text("this is no database, it is a text " * 100)
    done = started("--db", str(junk), "--listen", "127.0.0.1:0")
    check("a file that is no database: status 1, and it is named",
          done.returncode == 1 and "junk.db" in done.stderr, done)
    box = Sandbox(folder)
    done = started("--db", str(pathlib.Path(folder, "books.db")), "--listen", "127.0.0.1:0")
    check("a database in use: status 1", done.returncode == 1, done)
    done = started("--db", str(pathlib.Path(folder, "other.db")), "--listen", f"127.0.0.1:{box.port}")
    check("a port in use: status 1", done.returncode == 1 and "listen" in done.stderr, done)
    box.stop()


def main():
    for part in (starts, malformed, faults, killed, stripe_client):
        with tempfile.TemporaryDirectory(prefix="usher-sandbox-") as folder:
            part(folder)
    print(f"1..{count}")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
