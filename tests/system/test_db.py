#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The control plane's database where a machine is needed: a disk that is full, and a PostgreSQL server on
which the unit tests run again and which is killed in the middle of transactions.

usage: test_db.py BUILD-FOLDER      (a full disk needs root: it mounts a small one in its own namespace)
"""
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from postgres import Missing, Postgres
from shop import program

BUILD = pathlib.Path(sys.argv[1]).resolve()
TEST = program(BUILD, "control/db/test_db")

count = failed = 0


def check(name, good, why=""):
    global count, failed
    count += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {count} - {name}", flush=True)
    if not good:
        for line in str(why).splitlines()[-40:] or ["?"]:
            print(f"# {line}", flush=True)


def skip(name, why):
    global count
    count += 1
    print(f"ok {count} - {name} # SKIP {why}", flush=True)


def test_full_disk(folder):
    """Fills 3 MB; reads go on; after a file on it went, writes work again."""
    if os.geteuid() != 0:
        return skip("full disk", "needs root")
    script = ('mount -t tmpfs -o size=3m none "$1" && head -c 1200000 /dev/zero >"$1/ballast" && '
              '(while ! [ -e "$1/go" ]; do sleep 0.05; done; rm "$1/ballast"; echo) | '
              '"$0" fill "sqlite:$1/full.db"')
    # The program tells that the disk is full before it waits; the marker fits, as it is empty.
    process = subprocess.Popen(["unshare", "-m", "sh", "-c", script.replace("sleep 0.05", "sleep 0.05; "
                               '[ $(df --output=avail "$1" | tail -1) -lt 64 ] && sleep 2 && : >"$1/go"'),
                                str(TEST), str(folder)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    out = process.communicate(timeout=60)[0]
    lines = out.splitlines()
    check("a full disk is said, and nothing of the failed job stays",
          len(lines) == 3 and lines[0].startswith("full -12 after ") and lines[1] == "count 0 1", out)
    return check("with room again, writing goes on", lines[-1:] == ["again 0 1"], out)


class Steps:
    """test_db steps: one job that waits in the middle of its transaction."""

    def __init__(self, url):
        self.process = subprocess.Popen([TEST, "steps", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def line(self):
        return self.process.stdout.readline().split()

    def go(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def end(self):
        self.process.stdin.close()
        rest = self.process.stdout.read()
        self.process.wait(30)
        return rest.splitlines()


def test_backend_killed(server):
    steps = Steps(server.database("backend"))
    words = steps.line()
    os.kill(int(words[3]), signal.SIGKILL)
    time.sleep(0.3)
    steps.go()
    again = steps.line()
    steps.go()
    out = steps.end()
    check("the server's process killed within a job: the job runs again, once",
          again[:2] == ["attempt", "2"] and out == ["result 0 attempts 2", "count 0 2"], (words, again, out))


def test_server_killed(server):
    steps = Steps(server.database("server"))
    steps.line()
    server.kill()
    steps.go()
    time.sleep(0.5)
    server.start()
    words = steps.line()
    while words[-1:] == ["-5"]:
        words = steps.line()
    steps.go()
    out = steps.end()
    check("the server killed within a job and started again: the job runs again",
          out[-2:-1] == [f"result 0 attempts {words[1]}"] and out[-1:] == ["count 0 2"], (words, out))


def test_server_gone(server):
    steps = Steps(server.database("gone"))
    steps.line()
    server.kill()
    steps.go()
    started = time.monotonic()
    out = steps.end()
    check("the server stays away: the job fails within 30 s, and nothing hangs",
          out[:1] == ["result -3 attempts 1"] and time.monotonic() - started < 60, out)
    server.start()
    check("what it began is not there", server.sql("SELECT COUNT(*) FROM test_things", "gone") == "0")


def test_lost_within_commit(server):
    """A trigger that ends its own server process when the transaction commits."""
    url = server.database("commit")
    Steps(url).end()
    server.sql("CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
               " PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;"
               "CREATE CONSTRAINT TRIGGER die AFTER INSERT ON test_things DEFERRABLE INITIALLY DEFERRED"
               " FOR EACH ROW EXECUTE FUNCTION die()", "commit")
    steps = Steps(url)
    steps.line()
    steps.go()
    out = steps.end()
    check("lost within the commit: said to be unknown, and not run again", out == ["result -20 attempts 1", "count 0 0"],
          out)


def test_postgres():
    try:
        server = Postgres()
    except Missing as why:
        return skip("PostgreSQL", why)
    with server:
        done = subprocess.run([TEST, server.database("unit")], stdout=subprocess.PIPE, text=True, timeout=300)
        for line in done.stdout.splitlines():
            if line.startswith(("ok ", "not ok ")):
                check("on PostgreSQL: " + line.partition(" - ")[2], line.startswith("ok"), done.stdout)
        check("on PostgreSQL: all of it", done.returncode == 0, done.stdout)
        test_backend_killed(server)
        test_lost_within_commit(server)
        test_server_killed(server)
        return test_server_gone(server)


def main():
    print("TAP version 13")
    with tempfile.TemporaryDirectory() as folder:
        test_full_disk(pathlib.Path(folder))
    test_postgres()
    print(f"1..{count}")
    return failed != 0


sys.exit(main())
