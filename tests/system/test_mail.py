#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The outbox against a real SMTP server (aiosmtpd): what it takes is parsed; it fails by script, is away,
answers too late; the sender is killed with -9. On SQLite and on PostgreSQL.

usage: test_mail.py MAIL_BOX [WORD]...      only tests whose names have one of the words (MAIL_BOX: the program of tests/unit/mail_box.c), with Debian's own Python
"""
import contextlib
import email
import email.policy
import functools
import hashlib
import json
import logging
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import postgres  # noqa: E402  pylint: disable=wrong-import-position

MAIL_BOX = sys.argv[1]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Relay:
    """An SMTP server on a port of its own. `script`: what it answers to a message, one each; then 250."""

    def __init__(self, script=(), password=None, port=0, tls=None, certificate="good"):
        """tls: None, "smtps" or "starttls"."""
        self.mails = []
        self.envelopes = []
        self.in_tls = []
        self.tls = tls
        self.script = list(script)
        self.lock = threading.Lock()
        more = {}
        if password is not None:
            more = {"auth_required": True, "auth_require_tls": tls == "starttls", "authenticator": lambda *args: AuthResult(
                success=args[4].password == password.encode(), handled=False)}
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificates() / f"{certificate}.crt", certificates() / f"{certificate}.key")
            more |= {"ssl_context": context} if tls == "smtps" else {"tls_context": context, "require_starttls": True}
        # Before 1.4.4 it connects to the port that it was told, also when that is 0.
        self.controller = Controller(self, hostname="127.0.0.1", port=port or free_port(), **more)
        self.controller.start()
        self.port = self.controller.server.sockets[0].getsockname()[1]

    async def handle_MAIL(self, _server, session, envelope, address, _options):  # pylint: disable=invalid-name
        envelope.mail_from = address
        self.in_tls.append(self.tls == "smtps" or session.ssl is not None)
        return "250 go on"

    async def handle_DATA(self, _server, _session, envelope):  # pylint: disable=invalid-name
        with self.lock:
            answer = self.script.pop(0) if self.script else "250 taken"
            if callable(answer):
                answer = answer()
            if answer.startswith("250"):
                self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
                self.envelopes.append((envelope.mail_from, envelope.rcpt_tos))
        if "late" in answer:
            import asyncio  # pylint: disable=import-outside-toplevel
            await asyncio.sleep(3)
        return answer

    def close(self):
        self.controller.stop()


class Box:
    """folder: its state; those of one folder follow each other, and need not wait for their turn."""
    folder = None

    def __init__(self, connection, relay_port, *settings, scheme="smtp", folder=None):
        name = hashlib.sha256(connection.encode()).hexdigest()[:16] + (folder or "")
        state = pathlib.Path(Box.folder) / name
        state.mkdir(exist_ok=True)
        self.said = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [MAIL_BOX, connection, f"mail.relay={scheme}://127.0.0.1:{relay_port}", "mail.from=tickets@shop.example",
             "mail.from_name=Müller", "mail.retry_ms=50", f"control.state_dir={state}", *settings],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said, text=True, bufsize=1)
        assert self.process.stdout.readline() == "ready\n"

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        return self.process.stdout.readline().strip()

    def wait(self, want, seconds=60):
        """Until waiting, sent, refused, given up are as wanted."""
        end = time.monotonic() + seconds
        while (have := self.ask("count")) != want:
            assert time.monotonic() < end, (have, want)
            time.sleep(0.05)

    def why(self, seconds=20):
        """What it logged of the first mail that it could not hand over."""
        end = time.monotonic() + seconds
        while True:
            for line in os.pread(self.said.fileno(), 1 << 20, 0).decode().splitlines():
                if ("not sent yet" in line or "refused by the relay" in line) and line.endswith("}"):
                    return json.loads(line)["why"]
            assert time.monotonic() < end, "nothing was logged"
            time.sleep(0.05)

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(20) == 0

    def kill(self):
        self.process.kill()
        self.process.wait()


def test_mail_arrives_whole(connection):
    relay = Relay()
    box = Box(connection, relay.port)
    assert box.ask("put k1 ann@mail.example Ваши билеты") == "0"
    assert box.ask("put k1 ann@mail.example another") == "1"
    box.wait("0 1 0 0")
    assert box.ask("put k1 ann@mail.example another") == "1"
    box.wait("0 1 0 0")
    (mail,) = relay.mails
    assert relay.envelopes == [("tickets@shop.example", ["ann@mail.example"])]
    assert mail["subject"] == "Ваши билеты" and mail["to"] == "ann@mail.example"
    assert mail["from"].addresses[0].display_name == "Müller"
    assert mail["message-id"].endswith("@shop.example>") and len(mail["message-id"]) == 47
    assert abs(mail["date"].datetime.timestamp() - time.time()) < 60
    assert mail.get_body(("plain",)).get_content().splitlines() == ["Grüße", ".", "..", "From here"]
    assert "cid:qr@shop.example" in mail.get_body(("html",)).get_content()
    png = next(part for part in mail.walk() if part.get_content_type() == "image/png")
    assert png.get_content() == b"\x89PNG\0\r\n." and png["content-id"] == "<qr@shop.example>"
    assert next(mail.iter_attachments()).get_filename() == "event.ics"
    box.close()
    relay.close()


def test_what_may_be_in_no_mail_is_refused(connection):
    relay = Relay()
    box = Box(connection, relay.port)
    for bad in ("put k ann@mail.example,eve@x.example hi", "put k nobody hi", "put k <a@b.example> hi",
                "put k ann@mail.example hi\rBcc: eve@x.example"):
        assert box.ask(bad) == "-1", bad
    box.wait("0 0 0 0")
    box.close()
    relay.close()


def test_failures_for_now_are_tried_again_with_the_same_id(connection):
    seen = []
    relay = Relay(script=["451 later", "421 busy", "250 taken"])
    box = Box(connection, relay.port)
    box.ask("put k1 ann@mail.example hi")
    box.wait("0 1 0 0")
    assert not relay.script and len(relay.mails) == 1
    seen.append(relay.mails[0]["message-id"])
    box.close()
    relay.close()


def test_refused_for_ever_is_not_tried_again(connection):
    relay = Relay(script=["550 no such user"])
    box = Box(connection, relay.port)
    box.ask("put k1 ann@mail.example hi")
    box.ask("put k2 bob@mail.example hi")
    box.wait("0 1 1 0")
    time.sleep(0.3)
    assert len(relay.mails) == 1
    box.close()
    relay.close()


def test_late_answer_means_twice_with_one_id(connection):
    """The relay took it, but said so too late: at least once, and both copies have one Message-ID."""
    relay = Relay(script=["250 late"])
    box = Box(connection, relay.port, "mail.timeout_ms=500")
    box.ask("put k1 ann@mail.example hi")
    box.wait("0 1 0 0")
    assert len(relay.mails) == 2
    assert relay.mails[0]["message-id"] == relay.mails[1]["message-id"]
    box.close()
    relay.close()


def test_relay_that_is_away_comes_back(connection):
    relay = Relay()
    port = relay.port
    relay.close()
    box = Box(connection, port)
    for i in range(20):
        box.ask(f"put k{i} ann{i}@mail.example hi")
    time.sleep(0.3)
    assert box.ask("count") == "20 0 0 0"
    relay = Relay(port=port)
    box.wait("0 20 0 0")
    assert sorted(to[0] for _, to in relay.envelopes) == sorted(f"ann{i}@mail.example" for i in range(20))
    box.close()
    relay.close()


def test_wrong_password_waits_and_the_right_one_sends(connection):
    relay = Relay(password="right")
    box = Box(connection, relay.port, "mail.user=me", "mail.password_file=wrong")
    box.ask("put k1 ann@mail.example hi")
    time.sleep(0.5)
    assert box.ask("count") == "1 0 0 0"
    box.close()
    assert not relay.mails
    box = Box(connection, relay.port, "mail.user=me", "mail.password_file=right")
    box.wait("0 1 0 0")
    box.close()
    relay.close()


def test_killed_sender_loses_nothing(connection):
    """kill -9 at ten moments: every mail arrives; twice only those of the batch of 8 that was under way at a kill."""
    relay = Relay()
    box = Box(connection, relay.port)
    kills = 10
    for turn in range(kills):
        for i in range(10):
            assert box.ask(f"put t{turn}-{i} a{turn}-{i}@mail.example hi") == "0"
        time.sleep(0.013 * turn)
        box.kill()
        box = Box(connection, relay.port)
    box.wait("0 100 0 0", 60)
    got = [to[0] for _, to in relay.envelopes]
    assert len(set(got)) == 100, len(set(got))
    assert len(got) <= 100 + 8 * kills and max(map(got.count, got)) <= 1 + kills, len(got)
    ids = {}
    for mail, (_, to) in zip(relay.mails, relay.envelopes):
        ids.setdefault(to[0], set()).add(mail["message-id"])
    assert all(len(one) == 1 for one in ids.values())
    assert len(set.union(*ids.values())) == 100
    box.close()
    relay.close()


def test_two_senders_send_once_and_the_other_takes_over(connection):
    """Two on one database: each mail once, whoever put it. kill -9 of the one that sends: the other sends within
    12 s, and only what was under way comes twice. The one that was killed comes back and waits its turn."""
    relay = Relay()
    first = Box(connection, relay.port, folder="first")
    first.ask("put k0 a0@mail.example hi")
    first.wait("0 1 0 0")
    second = Box(connection, relay.port, folder="second")
    for i in range(1, 61):
        assert (first, second)[i % 2].ask(f"put k{i} a{i}@mail.example hi") == "0"
    second.wait("0 61 0 0")
    time.sleep(1)
    got = [to[0] for _, to in relay.envelopes]
    assert sorted(got) == sorted(f"a{i}@mail.example" for i in range(61)), len(got)
    for i in range(61, 81):
        second.ask(f"put k{i} a{i}@mail.example hi")
    first.kill()
    killed = time.monotonic()
    second.wait("0 81 0 0", 30)
    took = time.monotonic() - killed
    first = Box(connection, relay.port, folder="first")
    for i in range(81, 101):
        first.ask(f"put k{i} a{i}@mail.example hi")
    first.wait("0 101 0 0")
    got = [to[0] for _, to in relay.envelopes]
    assert len(set(got)) == 101 and len(got) <= 101 + 8 and max(map(got.count, got)) <= 2, len(got)
    print(f"# the other sent {took:.1f} s after the kill; {len(got) - 101} came twice", flush=True)
    assert took < 14, took
    first.close()
    second.close()
    relay.close()


def test_forgotten_address_is_gone(connection):
    relay = Relay()
    port = relay.port
    relay.close()
    box = Box(connection, port)
    box.ask("put k1 ann@mail.example hi")
    assert box.ask("forget ann@mail.example") == "0"
    box.wait("0 0 0 0")
    box.close()


# ---- TLS ----

def openssl(folder, *words):
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@functools.cache
def certificates():
    """ret: a folder with ca.crt, and good, wrong_name, expired (signed by it), stranger (by itself)."""
    folder = pathlib.Path(FOLDER)
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl(folder, "req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=test CA", "-days", "9")
    openssl(folder, "req", "-x509", *curve, "-keyout", "stranger.key", "-out", "stranger.crt", "-subj", "/CN=stranger",
            "-addext", "subjectAltName=IP:127.0.0.1", "-days", "9")
    for name, alternative, days in (("good", "IP:127.0.0.1", "9"), ("wrong_name", "DNS:other.example", "9"),
                                    ("expired", "IP:127.0.0.1", "-1")):
        (folder / "more").write_text("subjectAltName=" + alternative)
        openssl(folder, "req", *curve, "-keyout", name + ".key", "-out", name + ".csr", "-subj", "/CN=" + name)
        openssl(folder, "x509", "-req", "-in", name + ".csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", name + ".crt", "-days", days, "-extfile", "more")
    return folder


def trust():
    return f"mail.ca_file={certificates() / 'ca.crt'}"


def test_tls_by_smtps_and_starttls_with_a_login(connection):
    for tls in ("smtps", "starttls"):
        relay = Relay(tls=tls, password="right" if tls == "starttls" else None)
        box = Box(connection, relay.port, "mail.require_tls=yes", trust(), "mail.user=me",
                  "mail.password_file=right\n", scheme="smtps" if tls == "smtps" else "smtp")
        box.ask(f"put {tls} ann@mail.example hi")
        box.wait("0 1 0 0" if tls == "smtps" else "0 2 0 0")
        same = relay.envelopes == [("tickets@shop.example", ["ann@mail.example"])]
        assert same and relay.in_tls == [True], (relay.envelopes, relay.in_tls)
        box.close()
        relay.close()


def test_wrong_certificates_are_refused_and_the_mail_waits(connection):
    for tls in ("smtps", "starttls"):
        for certificate, why in (("stranger", "self-signed"), ("wrong_name", "name"), ("expired", "expired")):
            # Also where TLS is only tried: who offers it must prove who it is.
            for require in ("yes", "no"):
                relay = Relay(tls=tls, certificate=certificate)
                box = Box(connection, relay.port, "mail.require_tls=" + require, trust(),
                          scheme="smtps" if tls == "smtps" else "smtp")
                box.ask("forget ann@mail.example")
                box.ask(f"put {tls}-{certificate}-{require} ann@mail.example hi")
                said = box.why()
                assert why in said and "@" not in said, (tls, certificate, said)
                assert box.ask("count") == "1 0 0 0"
                assert not relay.mails and not relay.envelopes
                box.close()
                relay.close()
    # The system's certificates do not know our CA either.
    relay = Relay(tls="starttls")
    box = Box(connection, relay.port)
    box.ask("forget ann@mail.example")
    box.ask("put last ann@mail.example hi")
    assert "certificate" in box.why() and not relay.mails
    box.close()
    box = Box(connection, relay.port, trust())
    box.wait("0 1 0 0")
    box.close()
    relay.close()


def test_nothing_goes_in_the_clear_when_tls_is_required(connection):
    relay = Relay()
    box = Box(connection, relay.port, "mail.require_tls=yes", trust())
    box.ask("put k1 ann@mail.example hi")
    assert "SSL" in box.why() or "TLS" in box.why(), box.why()
    assert box.ask("count") == "1 0 0 0" and not relay.in_tls
    box.close()
    box = Box(connection, relay.port, "mail.require_tls=no")
    box.wait("0 1 0 0")
    assert relay.in_tls == [False]
    box.close()
    relay.close()


class NoTls:
    """A relay that offers STARTTLS and then refuses it for good. `heard`: what it was told."""

    def __init__(self):
        self.heard = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as file, contextlib.suppress(OSError):
                file.write(b"220 hi\r\n")
                file.flush()
                for line in iter(file.readline, b""):
                    self.heard.append(line.split()[0].upper())
                    file.write({b"EHLO": b"250-me\r\n250 STARTTLS\r\n", b"STARTTLS": b"554 not today\r\n"}.get(
                        self.heard[-1], b"250 fine\r\n"))
                    file.flush()


def test_tls_that_is_refused_for_good_ends_no_mail(connection):
    relay = NoTls()
    box = Box(connection, relay.port, "mail.require_tls=yes")
    box.ask("put k1 ann@mail.example hi")
    assert box.why()
    assert box.ask("count") == "1 0 0 0" and b"MAIL" not in relay.heard, relay.heard
    box.close()
    relay.listener.close()


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")
         and (len(sys.argv) < 3 or any(word in name for word in sys.argv[2:]))]
FOLDER = None  # of certificates


def run(kind, connections):
    """ret: how many failed; numbers go on."""
    failed = 0
    for test in TESTS:
        run.number += 1
        try:
            test(connections())
            print(f"ok {run.number} - {test.__name__}, {kind}", flush=True)
        except Exception as error:  # pylint: disable=broad-except
            failed += 1
            print(f"not ok {run.number} - {test.__name__}, {kind}\n# {error!r}", flush=True)
    return failed


run.number = 0


def main():
    global FOLDER
    # What aiosmtpd says of handshakes that clients gave up.
    logging.disable()
    with tempfile.TemporaryDirectory(prefix="usher-mail-") as folder, tempfile.TemporaryDirectory() as FOLDER:
        Box.folder = folder
        files = iter(range(1000))
        failed = run("SQLite", lambda: f"sqlite:{folder}/{next(files)}.db")
        try:
            with postgres.Postgres() as server:
                names = iter(range(1000))
                failed += run("PostgreSQL", lambda: server.database(f"mail{next(names)}"))
        except postgres.Missing as missing:
            run.number += 1
            print(f"ok {run.number} - PostgreSQL # SKIP {missing}")
    print(f"1..{run.number}")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
