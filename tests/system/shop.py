# SPDX-License-Identifier: Apache-2.0
"""A whole shop for system tests: usherd, usher-sandbox and usher-control on free ports, in one folder.

    with Shop(build) as shop:
        answer = shop.get("/v1/events")
        answer = shop.post("/v1/events/7/holds", {"seats": ["A-1"]})     with an Idempotency-Key of its own
        shop.control.kill()                                              kill -9
        shop.control.start()

`database` is "sqlite" or a postgresql:// address. `sets` are settings of usher-control (section.key=value).
Parts that are not wanted are left out: Shop(build, box=False, sandbox=False).

USHER_CONTROL_BUILD names another build folder, from which the programs of control/ are taken: one with
sanitizers (docs/testing.md). What a sanitizer says of a program fails the test.
"""
import atexit
import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid

import usher_box


class Answer:
    """status, headers (http.client's), body as bytes, json() of it."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """Of a problem document; None otherwise."""
        if self.headers.get("Content-Type") != "application/problem+json":
            return None
        return self.json()["code"]

    def __repr__(self):
        return f"{self.status} {self.body[:600]!r}"


def program(build, path):
    """A program of the build; one of control/ comes from USHER_CONTROL_BUILD if that has it."""
    other = os.environ.get("USHER_CONTROL_BUILD")
    if other and str(path).startswith("control/") and os.path.exists(os.path.join(other, path)):
        return os.path.abspath(os.path.join(other, path))
    return os.path.abspath(os.path.join(str(build), path))


# A leak is looked for by ptrace, which our programs forbid; so is the program that names functions.
os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=0:symbolize=0")
os.environ.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:symbolize=0")


def sanitizer_says(text):
    """What a sanitizer wrote into a log; None: nothing."""
    for word in ("ERROR: AddressSanitizer", ": runtime error: "):
        if word in text:
            at = max(0, text.index(word) - 200)
            return text[at:at + 4000]
    return None


def until(good, seconds=60):
    """ret: what good() says, once that is something."""
    end = time.monotonic() + seconds
    while True:
        got = good()
        if got:
            return got
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


class Process:
    """A program that says {"event":"ready","port":N} on stderr. `port` stays the same over restarts."""

    all = []

    def __init__(self, name, folder, command):
        """command: called with the port (0 at first), gives the command line."""
        self.name, self.command, self.port, self.process = name, command, 0, None
        self.log_path = os.path.join(folder, name + ".log")
        Process.all.append(self)

    def start(self, seconds=30):
        begin = os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(self.port), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for line in self.log(begin):
                if line.get("event") == "ready":
                    self.port = int(line["port"])
                    return self
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise RuntimeError(f"{self.name} is not ready: {self.text(begin)[-3000:]}")

    def text(self, begin=0):
        with open(self.log_path, "rb") as log:
            log.seek(begin)
            return log.read().decode(errors="replace")

    def log(self, begin=0):
        """The lines of its log that are whole JSON objects."""
        for line in self.text(begin).splitlines():
            if line.startswith("{"):
                try:
                    yield json.loads(line)
                except ValueError:
                    pass

    def running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, number=signal.SIGTERM, seconds=60):
        """ret: its exit status; negative: the signal that ended it."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = "did not stop"
        self.process = None
        said = sanitizer_says(self.text())
        assert said is None, f"{self.name}: {said}"
        return status

    def kill(self):
        """kill -9"""
        return self.stop(signal.SIGKILL)

    def restart(self):
        self.stop()
        return self.start()


class Shop:
    def __init__(self, build, database="sqlite", sets=(), box=True, sandbox=True, box_sets=(), sandbox_options=(),
                 start=True):
        build = os.path.abspath(build)
        self.build = build
        self.folder = tempfile.mkdtemp(prefix="usher-shop-")
        self.state = os.path.join(self.folder, "control")
        self.database = database
        self.sets = list(sets)
        self.usherd = usher_box.Box(build, sets=box_sets) if box else None
        self.sandbox = None
        if sandbox:
            self.sandbox = Process("sandbox", self.folder, lambda port: [
                os.path.join(build, "sim/sandbox/usher-sandbox"), "--db", os.path.join(self.folder, "sandbox.db"),
                "--listen", f"127.0.0.1:{port}", *sandbox_options])
        self.control = Process("control", self.folder, self.control_command)
        atexit.register(self.close)
        if start:
            self.start()

    def secret(self, name, text):
        """Writes a secret file. ret: its path."""
        path = os.path.join(self.folder, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        return path

    def settings(self, port):
        sets = ["control.state_dir=" + self.state, f"http.port={port}", "control.drain_ms=2000"]
        if self.database.startswith("postgres"):
            sets.append("database.connection=" + self.database)
        if self.usherd:
            sets += ["usherd.socket=" + self.usherd.control_path,
                     "usherd.journal_dir=" + os.path.join(self.usherd.state, "journal")]
        else:
            sets += ["usherd.socket=" + os.path.join(self.folder, "no.sock"),
                     "usherd.journal_dir=" + os.path.join(self.folder, "no-journal")]
        return sets + [s.format(sandbox=self.sandbox.port if self.sandbox else 0, folder=self.folder)
                       for s in self.sets]

    def control_command(self, port):
        command = [program(self.build, "control/daemon/usher-control")]
        for item in self.settings(port):
            command += ["--set", item]
        return command

    def start(self):
        if self.usherd:
            self.usherd.start()
        if self.sandbox:
            self.sandbox.start()
        self.control.start()
        if self.usherd:
            self.wait_ready()
        return self

    def wait_ready(self, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            answer = self.get("/readyz")
            if answer.status == 200:
                return
            time.sleep(0.05)
        raise RuntimeError(f"not ready: {answer}")

    def kill_usherd(self):
        self.usherd.stop(signal.SIGKILL)

    def restart_usherd(self):
        self.usherd.stop(signal.SIGKILL)
        self.usherd.start()

    # ---- requests ----

    def connect(self, timeout=60):
        return http.client.HTTPConnection("127.0.0.1", self.control.port, timeout=timeout)

    def request(self, method, path, body=None, headers=None, timeout=60, connection=None):
        """body: an object becomes JSON; bytes and text are sent as they are."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        own = connection is None
        connection = connection or self.connect(timeout)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            if own:
                connection.close()

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def delete(self, path, **more):
        return self.request("DELETE", path, **more)

    def post(self, path, body=None, key=None, headers=None, **more):
        """key: the Idempotency-Key; a new one if not given, none if empty."""
        headers = dict(headers or {})
        if key != "":
            headers["Idempotency-Key"] = key or str(uuid.uuid4())
        return self.request("POST", path, body if body is not None else {}, headers, **more)

    def patch(self, path, body, **more):
        return self.request("PATCH", path, body, **more)

    # ---- end ----

    def close(self):
        atexit.unregister(self.close)
        for process in (self.control, self.sandbox):
            if process:
                process.kill()
        if self.usherd:
            self.usherd.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
