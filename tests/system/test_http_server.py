#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The HTTP server over tests/system/http_probe.c: routes, bodies, gzip, streams, TLS, and idempotency keys over
SQLite and PostgreSQL.

usage: test_http_server.py BUILD-FOLDER [WORD]...      only tests whose names have one of the words
"""
import gzip
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import postgres  # noqa: E402
import shop as shops  # noqa: E402
import usher_box  # noqa: E402

BUILD = sys.argv[1]


def same(a, b):
    assert a == b, f"{a!r} is not {b!r}"


class Probe(shops.Shop):
    """http_probe with the request helpers of a Shop."""

    def __init__(self, database=None, tls=(), few_files=False):
        self.folder = tempfile.mkdtemp(prefix="usher-http-")
        self.usherd = self.sandbox = None
        self.database = database or "sqlite:" + os.path.join(self.folder, "probe.db")
        self.tls, self.few_files = tls, few_files
        self.control = shops.Process("probe", self.folder, lambda _: [
            *(["prlimit", "--nofile=64:64", "--"] if self.few_files else []),
            shops.program(BUILD, "control/daemon/http_probe"), self.database, *self.tls])
        shops.atexit.register(self.close)
        self.control.start()

    def count(self):
        return self.get("/counters").json()["count"]

    def counters(self):
        return self.get("/counters").json()


def test_parameters_are_decoded_and_numbers_have_one_spelling():
    with Probe() as p:
        answer = p.get("/echo/%C3%A4%2Fx/r/%20s?q=a+b%26c&q=2", headers={"Cookie": "a=1; c=%41; d=2"}).json()
        same(answer, {"a": "ä/x", "b": "r/ s", "q": "a b&c", "cookie": "%41", "client": "127.0.0.1"})
        for path, status in (("/big/0", 200), ("/big/01", 404), ("/big/-1", 404), ("/big/104857601", 404),
                             ("/big/99999999999999999999999", 404), ("/big/", 404), ("/echo//x", 404),
                             ("/echo/a", 404), ("/echo/a/", 404), ("/pic/12.png", 200), ("/pic/12", 404),
                             ("/pic/.png", 404), ("/pic/12.png/", 404), ("/" + "a/" * 40, 404)):
            same((path, p.get(path).status), (path, status))
        same(p.get("/pic/12.png").json(), {"n": 12})


def test_the_client_is_the_last_address_before_our_proxies():
    with Probe() as p:
        for header, client in (("1.2.3.4", "1.2.3.4"), ("9.9.9.9, 1.2.3.4", "1.2.3.4"),
                               ("9.9.9.9, 1.2.3.4, 127.0.0.1", "1.2.3.4"), ("2001:db8::1", "2001:db8::1"),
                               ("nonsense", "127.0.0.1"), ("1.2.3.4, nonsense", "127.0.0.1"), ("", "127.0.0.1")):
            same((header, p.get("/echo/a/b", headers={"X-Forwarded-For": header}).json()["client"]),
                 (header, client))


def test_bodies_must_be_what_the_route_takes():
    with Probe() as p:
        for body, kind, status, code in ((b"{", "application/json", 400, "bad_json"),
                                         (b"[]", "application/json", 400, "bad_json"),
                                         (b'{"a":1,"a":2}', "application/json", 400, "bad_json"),
                                         (b'{"a":"\xff"}', "application/json", 400, "bad_json"),
                                         (b"[" * 900, "application/json", 400, "bad_json"),
                                         (b"{}", "text/plain", 415, "unsupported_media_type"),
                                         (b"{}", "application/jsonx", 415, "unsupported_media_type"),
                                         (b'{"a":"' + b"a" * 2000 + b'"}', "application/json", 413, "body_too_large"),
                                         (b"{}", "Application/JSON; charset=utf-8", 201, None)):
            answer = p.post("/count", body, headers={"Content-Type": kind})
            same((body[:20], answer.status, answer.code), (body[:20], status, code))
        same(p.count(), 1)


def test_chunked_bodies_are_put_together():
    with Probe() as p:
        with socket.create_connection(("127.0.0.1", p.control.port), timeout=30) as c:
            c.sendall(b"POST /raw HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
            assert c.recv(100).startswith(b"HTTP/1.1 100 ")
            for piece in (b"1\r\n", b"a\r\n", b"A\r\n0123456789\r", b"\n0\r", b"\n\r\n"):
                c.sendall(piece)
                time.sleep(0.02)
            answer = c.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"\r\n\r\na0123456789"), answer


def test_100_continue_is_said_to_those_who_expect_it_and_to_nobody_else():
    """Whoever did not ask for it may take it for the answer: a proxy does. It depends on the header Expect alone."""
    with Probe() as p:
        for target, head, wanted in (("/raw", "Expect: 100-continue\r\n", b"HTTP/1.1 100 "),
                                     ("/raw", "Expect: 100-Continue\r\n", b"HTTP/1.1 100 "),
                                     ("/raw?x=100-continue", "", None), ("/raw", "X-Note: 100-continue\r\n", None)):
            with socket.create_connection(("127.0.0.1", p.control.port), timeout=30) as c:
                c.sendall(f"POST {target} HTTP/1.1\r\nHost: a\r\n{head}Content-Length: 3\r\n\r\n".encode())
                c.settimeout(5 if wanted else 0.3)
                try:
                    said = c.recv(100)
                except TimeoutError:
                    said = None
                assert said == wanted or (said or b"").startswith(wanted or b"?"), (target, head, said)
                c.settimeout(5)
                c.sendall(b"abc")
                same(c.recv(4096)[:12], b"HTTP/1.1 200")


def test_text_is_packed_for_those_who_take_it():
    with Probe() as p:
        plain = p.get("/big/100000")
        same((plain.headers["Content-Encoding"], plain.headers["Vary"]), (None, "Accept-Encoding"))
        for accept, packed in (("gzip", True), ("br, gzip;q=0.5", True), ("gzip;q=0", False), ("br", False),
                               ("xgzip", False)):
            answer = p.get("/big/100000", headers={"Accept-Encoding": accept})
            same((accept, answer.headers["Content-Encoding"] == "gzip"), (accept, packed))
            if packed:
                same(gzip.decompress(answer.body), plain.body)
                assert len(answer.body) < 60000
            same(answer.headers["ETag"], plain.headers["ETag"])
        same(p.get("/big/10", headers={"Accept-Encoding": "gzip"}).headers["Content-Encoding"], None)


def test_large_answers_arrive_whole():
    with Probe() as p:
        same(len(p.get("/big/20000000").body), 20000000)


def test_a_reader_that_takes_nothing_of_a_large_answer_is_closed_and_counted():
    with Probe() as p, socket.socket() as c:
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.connect(("127.0.0.1", p.control.port))
        c.sendall(b"GET /big/50000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        end = time.monotonic() + 60
        while p.counters()["slow_readers"] == 0 and time.monotonic() < end:
            time.sleep(0.1)
        same(p.counters()["slow_readers"], 1)


def test_streams_send_events_and_tell_when_their_client_goes():
    with Probe() as p:
        with socket.create_connection(("127.0.0.1", p.control.port), timeout=30) as c:
            c.sendall(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
            data = b""
            while data.count(b"\n\n") < 2:
                data += c.recv(4096)
            head, body = data.split(b"\r\n\r\n", 1)
            assert b"Content-Type: text/event-stream" in head and b"X-Accel-Buffering: no" in head
            same(body, b"id: 7\nevent: hello\ndata: xxxxx\n\nevent: hello\ndata: xxxxx\n\n")
            same(p.counters()["streams_open"], 1)
        end = time.monotonic() + 60
        while p.counters()["closed_streams"] == 0 and time.monotonic() < end:
            time.sleep(0.05)
        same((p.counters()["closed_streams"], p.counters()["streams_open"]), (1, 0))


def test_a_stream_that_is_too_slow_is_closed():
    with Probe() as p, socket.create_connection(("127.0.0.1", p.control.port), timeout=30) as c:
        c.sendall(b"GET /events?bytes=200000 HTTP/1.1\r\nHost: a\r\n\r\n")
        while c.recv(65536):
            pass
        counters = p.counters()
        same((counters["streams_too_slow"], counters["closed_streams"], counters["streams_open"]), (1, 1, 0))


def test_without_descriptors_it_waits_instead_of_trying_for_ever():
    with Probe(few_files=True) as p:
        open_ones = [socket.create_connection(("127.0.0.1", p.control.port), timeout=30) for _ in range(100)]
        time.sleep(1)
        with open(f"/proc/{p.control.process.pid}/stat") as file:
            ticks = sum(int(word) for word in file.read().split()[13:15])
        assert ticks < 60, ticks
        assert len(p.control.text()) < 10000, p.control.text()[-1000:]
        for c in open_ones:
            c.close()
        time.sleep(0.3)
        counters = p.counters()
        assert 2 <= counters["accept_pauses"] <= 20, counters


def test_more_than_requests_max_meet_503_with_retry_after():
    with Probe() as p:
        connections = []
        for _ in range(55):
            c = p.connect()
            c.request("POST", "/hook", b'{"late":700}', {"Content-Type": "application/json"})
            connections.append(c)
        answers = [c.getresponse() for c in connections]
        same(sorted({a.status for a in answers}), [201, 503])
        busy = [a for a in answers if a.status == 503]
        same(len(busy), 5)
        same(busy[0].headers["Retry-After"], "1")
        for c in connections:
            c.close()


# ---- idempotency keys ----

DATABASES = []


def with_databases(test):
    def run(kind):
        if kind == "sqlite":
            with Probe() as p:
                return test(p)
        try:
            server = postgres.Postgres()
        except postgres.Missing as reason:
            raise usher_box.Tap.Skip(str(reason))
        with server:
            with Probe(server.database("probe")) as p:
                return test(p)
    run.__name__ = test.__name__
    DATABASES.append(run)
    return run


@with_databases
def keys_replay_the_first_answer(p):
    first = p.post("/count", {"a": 1}, key="k1")
    again = p.post("/count", {"a": 1}, key="k1")
    same((first.status, first.json()), (201, {"count": 1, "key": "yes"}))
    same((again.status, again.body, again.headers["Content-Type"]), (201, first.body, "application/json"))
    same((first.headers["Idempotent-Replayed"], again.headers["Idempotent-Replayed"]), (None, "true"))
    # Bound to the account, the path with its query, and the body.
    same(p.post("/count", {"a": 1}, key="k1", headers={"X-Account": "u_2"}).json()["count"], 2)
    for path, body in (("/count", {"a": 2}), ("/count?x=1", {"a": 1})):
        answer = p.post(path, body, key="k1")
        same((answer.status, answer.code), (422, "idempotency_mismatch"))
    same(p.count(), 2)
    # A failure is replayed as well, but not what says that nothing was done.
    for status, runs in ((402, 1), (409, 1), (500, 1), (400, 2), (429, 2), (503, 2)):
        before = p.count()
        for _ in range(2):
            same(p.post("/count", {"status": status}, key=f"s{status}").status, status)
        same((status, p.count() - before), (status, runs))


@with_databases
def keys_are_wanted_and_well_formed(p):
    same(p.post("/hook", {}, key="").json(), {"count": 1, "key": "no"})
    same(p.post("/count", {}, key="").code, "idempotency_key")
    for key in ("a" * 256, "a b", "\u00e4"):
        same(p.post("/count", {}, key=key).code, "idempotency_key")
    same(p.post("/count", {}, key="a" * 255).status, 201)


@with_databases
def keys_meet_409_while_the_first_is_under_way(p):
    answers = []
    first = threading.Thread(target=lambda: answers.append(p.post("/count", {"late": 1000}, key="k")))
    first.start()
    time.sleep(0.4)
    answer = p.post("/count", {"late": 1000}, key="k")
    same((answer.status, answer.code, answer.headers["Retry-After"]), (409, "idempotency_running", "1"))
    first.join()
    same(answers[0].status, 201)
    same(p.post("/count", {"late": 1000}, key="k").body, answers[0].body)
    same(p.count(), 1)


@with_databases
def keys_of_a_killed_process(p):
    """Answers outlive kill -9; a key without an answer runs again with SQLite, at once."""
    first = p.post("/count", {}, key="done")
    c = p.connect()
    c.request("POST", "/count", b'{"late":5000}', {"Content-Type": "application/json", "Idempotency-Key": "cut"})
    time.sleep(0.4)
    p.control.kill()
    p.control.start()
    same(p.post("/count", {}, key="done").body, first.body)
    same(p.count(), 0)
    again = p.post("/count", b'{"late":5000}', key="cut",
                   headers={"Content-Type": "application/json"}) if p.database.startswith("sqlite") else None
    if again:
        same((again.status, p.count()), (201, 1))
    else:
        same(p.post("/count", b'{"late":5000}', key="cut", headers={"Content-Type": "application/json"}).code,
             "idempotency_running")


@with_databases
def keys_race_and_one_runs(p):
    """Twenty at once under one key: one runs, the others meet 409 or its answer."""
    answers = []

    def ask():
        answers.append(p.post("/count", {"late": 100}, key="race"))
    threads = [threading.Thread(target=ask) for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    same(p.count(), 1)
    same({a.status for a in answers} - {201, 409}, set())
    assert sum(a.status == 201 for a in answers) >= 1


def test_a_key_that_is_found_at_the_end_runs_no_handler():
    """The database is slow, and the server ends meanwhile: what handlers need has closed when the key comes back."""
    import sqlite3
    with Probe() as p:
        db = sqlite3.connect(p.database.split(":", 1)[1], isolation_level=None, check_same_thread=False)
        db.execute("BEGIN IMMEDIATE")
        c = p.connect()
        c.request("POST", "/count", b"{}", {"Content-Type": "application/json", "Idempotency-Key": "k"})
        time.sleep(0.3)
        ending = threading.Timer(0.5, lambda: db.execute("ROLLBACK"))
        ending.start()
        same(p.control.stop(), 0)
        ending.join()
        p.control.start()
        same(p.post("/count", {}, key="k").json()["count"], 1)


def test_a_key_that_was_forgotten_numbers_another_request_anew():
    """What a module remembers by that number, as refunds are, must not be found by another request's key."""
    import sqlite3
    with Probe() as p:
        def number(path, body, account="u_1"):
            with sqlite3.connect(p.database.split(":", 1)[1]) as db:
                db.execute("DELETE FROM http_keys")
            db.close()
            return p.post(path, body, key="k", headers={"X-Account": account}).headers["X-Key-Number"]
        first = number("/count", {"a": 1})
        same(number("/count", {"a": 1}), first)
        others = [number("/count?b=1", {"a": 1}), number("/count", {"a": 2}), number("/count", {"a": 1}, "u_2")]
        same(len({first, *others}), 4)


def test_keys_are_forgotten_after_a_day():
    with Probe() as p:
        p.post("/count", {}, key="old")
        p.control.stop()
        path = p.database.split(":", 1)[1]
        import sqlite3
        with sqlite3.connect(path) as db:
            db.execute("UPDATE http_keys SET begun_us = begun_us - 86400000001")
            rows = [(f"a{i}", f"k{i}", b"", "x", 1, 200, "", b"") for i in range(1200)]
            db.executemany("INSERT INTO http_keys(account, name, print, life, begun_us, status, type, body)"
                           " VALUES(?,?,?,?,?,?,?,?)", rows)
        db.close()
        p.control.start()
        p.post("/count", {}, key="new")
        end = time.monotonic() + 60
        left = None
        while time.monotonic() < end and left != 1:
            time.sleep(0.2)
            db = sqlite3.connect(path)
            left = db.execute("SELECT COUNT(*) FROM http_keys").fetchone()[0]
            db.close()
        same(left, 1)


# ---- TLS ----

def certificate(folder, mode=0o600):
    key, crt = os.path.join(folder, "key.pem"), os.path.join(folder, "crt.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", key, "-out", crt, "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    os.chmod(key, mode)
    return crt, key


def s_client(port, *options):
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options], input=b"",
                          capture_output=True, timeout=20)
    return done.returncode, done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")


def test_tls_is_1_2_and_later_with_forward_secrecy_and_aead_only():
    with tempfile.TemporaryDirectory() as folder:
        crt, key = certificate(folder)
        with Probe(tls=(crt, key)) as p:
            port = p.control.port
            for options, good in ((["-tls1_3"], True), (["-tls1_2"], True),
                                  (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], False),
                                  (["-tls1", "-cipher", "ALL:@SECLEVEL=0"], False),
                                  (["-tls1_2", "-cipher", "AES128-SHA:AES256-GCM-SHA384:@SECLEVEL=0"], False),
                                  (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"], False),
                                  (["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], True)):
                status, text = s_client(port, *options)
                same((options, status == 0), (options, good))
            _, text = s_client(port, "-tls1_2")
            assert re.search("Compression: NONE", text) and "Secure Renegotiation IS supported" in text
            context = ssl.create_default_context(cafile=crt)
            c = http.client.HTTPSConnection("localhost", port, context=context, timeout=60)
            for _ in range(3):
                c.request("GET", "/big/300000")
                answer = c.getresponse()
                same((answer.status, len(answer.read())), (200, 300000))
                same(answer.headers["Strict-Transport-Security"], "max-age=31536000")
            c.close()
            # Plain HTTP to the TLS port is no answer, and nothing breaks.
            with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
                plain.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                try:
                    assert b"HTTP/1.1 200" not in plain.recv(1000)
                except ConnectionResetError:
                    pass


def test_tls_clients_that_go_amid_a_handshake_leave_nothing():
    with tempfile.TemporaryDirectory() as folder:
        crt, key = certificate(folder)
        with Probe(tls=(crt, key)) as p:
            for cut in (0, 1, 5, 50):
                for _ in range(5):
                    with socket.create_connection(("127.0.0.1", p.control.port), timeout=30) as c:
                        c.sendall(b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03"[:cut] + b"\0" * max(0, cut - 11))
            context = ssl.create_default_context(cafile=crt)
            c = http.client.HTTPSConnection("localhost", p.control.port, context=context, timeout=60)
            time.sleep(0.3)
            c.request("GET", "/counters")
            same(json.loads(c.getresponse().read())["connections"], 1)
            c.close()


def test_tls_key_that_others_can_read_is_refused():
    with tempfile.TemporaryDirectory() as folder:
        crt, key = certificate(folder, 0o640)
        try:
            with Probe(tls=(crt, key)):
                raise AssertionError("it started")
        except RuntimeError as error:
            assert "chmod 600" in str(error), error


def main():
    tap = usher_box.Tap()
    wanted = sys.argv[2:]
    for name, test in list(globals().items()):
        if name.startswith("test_") and (not wanted or any(word in name for word in wanted)):
            tap.run(test)
    for test in DATABASES:
        for kind in ("sqlite", "postgres"):
            if not wanted or any(word in test.__name__ + "_" + kind for word in wanted):
                tap.run(test, kind)
    tap.end()


main()
