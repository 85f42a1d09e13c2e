# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL server for tests: initdb in a temporary folder, on a unix socket only, as an
unprivileged user. Nothing of a server that may run on this machine is touched.

    with Postgres() as server:
        url = server.database("orders")      # an empty database; for usher-control's `database =`

Where there is no PostgreSQL, Postgres() raises Missing, and a test says SKIP.
"""
import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
import urllib.parse


class Missing(Exception):
    pass


def binaries():
    """ret: the folder of initdb and postgres, of the newest version there is."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"),
                   key=lambda path: int(path.parts[-3]))
    if not found:
        raise Missing("PostgreSQL's server is not installed (scripts/setup)")
    return found[-1].parent


def unprivileged():
    """ret: what a command begins with, and the user it then runs as."""
    if os.geteuid() != 0:
        return [], os.geteuid()
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"], user.pw_uid
    raise Missing("neither a user postgres nor nobody")


# Some machines let only root write to /dev/null, and initdb needs it: another one, in a namespace of its own.
OWN_NULL = ('mount -t tmpfs none "$0" && mknod -m 666 "$0/null" c 1 3 && mount --bind "$0/null" /dev/null && '
            'exec "$@"')


class Postgres:
    def __init__(self, settings=()):
        self.folder = None
        self.process = None
        self.settings = settings
        self.bin = binaries()
        self.become, uid = unprivileged()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="usher-pg-"))
        if self.become and not os.stat("/dev/null").st_mode & stat.S_IWOTH:
            (self.folder / "null").mkdir()
            self.become = ["unshare", "-m", "sh", "-c", OWN_NULL, str(self.folder / "null"), *self.become]
        try:
            os.chown(self.folder, uid, -1)
            # usher-control gives up root's right to go where it likes; its name is not to be guessed.
            self.folder.chmod(0o711)
            # fsync matters when the machine fails, which no test does; kill -9 is survived without.
            self.must(self.bin / "initdb", "--pgdata", self.folder / "data", "--username", "usher", "--auth", "trust",
                      "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync")
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def must(self, *command):
        done = subprocess.run([*self.become, *map(str, command)], cwd="/", stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]}: {done.stdout}")
        return done.stdout

    def start(self):
        settings = ["listen_addresses=", f"unix_socket_directories={self.folder}", "fsync=off",
                    "shared_buffers=64MB", "max_connections=60", *self.settings]
        command = [*self.become, str(self.bin / "postgres"), "-D", str(self.folder / "data")]
        for setting in settings:
            command += ["-c", setting]
        self.log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(command, cwd="/", stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        end = time.monotonic() + 60
        while True:
            try:
                return self.sql("SELECT 1")
            except RuntimeError as error:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError((self.folder / "log").read_text()) from error
                time.sleep(0.1)

    def sql(self, text, database="postgres"):
        """ret: what psql says, a row a line, columns with | between."""
        return self.must(self.bin / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-U",
                         "usher", "-d", database, "-c", text).strip()

    @contextlib.contextmanager
    def locked(self, database, table, mode="ACCESS EXCLUSIVE"):
        """Nobody else reads or writes the table meanwhile; in mode EXCLUSIVE reading goes on."""
        command = [self.bin / "psql", "-X", "-q", "-A", "-t", "-h", self.folder, "-U", "usher", "-d", database]
        holder = subprocess.Popen([*self.become, *map(str, command)], cwd="/", stdin=subprocess.PIPE, text=True,
                                  stdout=subprocess.PIPE)
        try:
            holder.stdin.write(f"BEGIN; LOCK TABLE {table} IN {mode} MODE; SELECT 'locked';\n")
            holder.stdin.flush()
            assert holder.stdout.readline() == "locked\n"
            yield
        finally:
            holder.stdin.close()
            holder.wait()

    def url(self, database="postgres"):
        return f"postgresql:///{database}?host={urllib.parse.quote(str(self.folder), safe='')}&user=usher"

    def database(self, name):
        """Makes an empty database. ret: its connection string."""
        self.sql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def kill(self):
        """kill -9 of the whole server: it and each of its processes."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in [self.process.pid, *map(int, children)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.process = None
        self.log.close()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
        if self.process is not None:
            self.process = None
            self.log.close()

    def close(self):
        self.stop()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
