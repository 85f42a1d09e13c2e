#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""share/nginx/usher.conf, run by Debian's nginx in a folder of its own in front of usher-control: TLS, HTTP/2, the
micro-cache, odd framing and slow clients. test_http.py asks the same of usher-control alone.

usage: test_nginx.py BUILD-FOLDER
"""
import concurrent.futures
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import shop as shops  # noqa: E402
import usher_box  # noqa: E402

BUILD = sys.argv[1]
CONF = pathlib.Path(__file__).resolve().parents[2] / "share/nginx/usher.conf"
NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Front:
    """nginx before a shop (its own if none is given). `times` replaces time-outs, for tests that do not wait so long."""

    def __init__(self, times=(), shop=None):
        self.shop = shop or shops.Shop(BUILD, box=False, sandbox=False,
                               sets=["http.proxies=127.0.0.1", "http.origin=https://localhost", "log.level=debug"])
        folder = self.folder = pathlib.Path(self.shop.folder)
        self.port, plain = free_port(), free_port()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", folder / "tls.key", "-out", folder / "tls.crt", "-days", "2", "-subj",
                        "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
        text = CONF.read_text()
        for old, new in (("127.0.0.1:8080", f"127.0.0.1:{self.shop.control.port}"),
                         ("listen 80;", f"listen 127.0.0.1:{plain};"),
                         ("listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl"),
                         ("/etc/usher/", f"{folder}/"), ("/var/cache/nginx/usher", f"{folder}/cache"),
                         ("/var/log/nginx/", f"{folder}/"), *times):
            assert old in text, old
            text = text.replace(old, new)
        (folder / "usher.conf").write_text(text)
        temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n"
                            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;\n" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(
            f"{user}daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n"
            f"events {{ worker_connections 512; }}\nhttp {{\naccess_log {folder}/access.log;\n{temporary}include {folder}/usher.conf;\n}}\n")
        self.process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e",
                                         str(folder / "error.log")], stderr=subprocess.PIPE, text=True)
        self.context = ssl.create_default_context(cafile=str(folder / "tls.crt"))
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(self.process.stderr.read()) from None
                time.sleep(0.05)

    def get(self, path, headers=None, method="GET"):
        c = http.client.HTTPSConnection("localhost", self.port, context=self.context, timeout=60)
        try:
            c.request(method, path, headers=headers or {})
            answer = c.getresponse()
            return shops.Answer(answer.status, answer.headers, answer.read())
        finally:
            c.close()

    def dial(self, timeout=20):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        return self.context.wrap_socket(s, server_hostname="localhost")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()
        self.shop.close()


def read_all(s):
    data = b""
    try:
        while True:
            piece = s.recv(65536)
            if not piece:
                return data
            data += piece
    except (ConnectionResetError, ssl.SSLError, socket.timeout):
        return data


def test_answers_come_through_over_tls_and_http2():
    with Front() as front:
        answer = front.get("/healthz")
        assert answer.status == 200 and answer.json() == {"status": "alive"}, answer
        assert answer.headers["Strict-Transport-Security"] and answer.headers["X-Content-Type-Options"] == "nosniff"
        assert front.get("/nothing").code == "not_found"
        for version, good in (("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
            done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{front.port}", "-alpn", "h2", version,
                                   "-cipher", "ALL:@SECLEVEL=0"], input=b"", capture_output=True, timeout=20)
            assert (done.returncode == 0) == good, (version, done.stderr[-300:])
            if good:
                assert b"ALPN protocol: h2" in done.stdout


def test_what_is_public_is_fetched_once_and_given_while_usher_control_is_away():
    with Front() as front:
        seen = [front.get("/openapi.json") for _ in range(20)]
        assert {a.status for a in seen} == {200}
        assert [a.headers["X-Cache"] for a in seen] == ["MISS"] + ["HIT"] * 19
        asked = sum(line.get("route") == "/openapi.json" for line in front.shop.control.log())
        assert asked == 1, asked
        # What is not the same for all is not looked for there, and who comes with a key goes past it.
        for path in ("/healthz", "/v1/events/7", "/v1/events/7/queue/place", "/v1/orders"):
            assert front.get(path).headers["X-Cache"] is None, path
        assert front.get("/openapi.json", {"Authorization": "Bearer x"}).headers["X-Cache"] == "BYPASS"
        for path in ("/v1/search", "/v1/events", "/v1/events/7/queue", "/v1/events/7/availability", "/v1/maps/00"):
            assert front.get(path).headers["X-Cache"] == "MISS", path
        front.shop.control.kill()
        assert front.get("/openapi.json").status == 200
        assert front.get("/healthz").status == 502


def test_those_who_ask_for_what_is_theirs_do_not_wait_for_each_other():
    """The lock of the cache lets one request of an address go at a time; what is not kept must not meet it."""
    with Front() as front:
        for path in ("/v1/events/7/queue/place", "/v1/events/7", "/v1/orders"):
            took = []
            # Waiting in turn would take two seconds each time; a busy machine may, once.
            while len(took) < 5 and min(took, default=9) > 1.5:
                begun = time.monotonic()
                with concurrent.futures.ThreadPoolExecutor(32) as pool:
                    statuses = {a.status for a in pool.map(lambda _, path=path: front.get(path), range(32))}
                took.append(time.monotonic() - begun)
                assert statuses <= {401, 404, 503}, (path, statuses)
            assert min(took) <= 1.5, (path, took)


def test_logs_name_nobody_and_say_nothing_of_what_was_asked():
    with Front() as front:
        secrets = ["ada@usher.example", "c0de5ecret", "4242424242424242"]
        front.get(f"/v1/search?q={secrets[0]}")
        front.get(f"/v1/transfers/{secrets[1]}/accept", {"User-Agent": secrets[2], "Referer": f"https://x/{secrets[1]}"})
        # More than the limit of one address, and an answer that does not come: nginx has something to say of both.
        with front.dial() as c:
            c.sendall(f"GET /healthz?{secrets[1]} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 900 +
                      b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answers = read_all(c)
        seen = answers.count(b"HTTP/1.1 200"), answers.count(b"HTTP/1.1 429"), answers.count(b"HTTP/1.1 ")
        assert seen[0] >= 90 and seen[1] > 0, (seen, answers[-300:])
        front.shop.control.kill()
        time.sleep(1)
        assert front.get(f"/healthz?{secrets[1]}").status == 502
        with front.dial() as c:
            c.sendall(f"GET /{secrets[1]} HTTP/1.1\r\nHost: {secrets[1]}\r\nHost: b\r\n\r\n".encode())
            read_all(c)
        logs = {p.name: p.read_text() for p in front.folder.glob("*.log")}
        for name, text in logs.items():
            for secret in (*secrets, "127.0.0.1", "/healthz"):
                assert (name, secret) == ("control.log", "/healthz") or secret not in text, (name, secret, text[-1000:])
        lines = [json.loads(line) for line in logs["usher.log"].splitlines()]
        assert len(lines) > 200 and {"id", "method", "status", "seconds"} <= set(lines[0]), lines[:2]
        asked = front.shop.control.log()
        assert any(line.get("request") == lines[0]["id"] for line in asked), lines[0]


# Either nginx refuses it, or it reads it as one request and hands on that reading: what is hidden behind it must
# not come out as an answer of its own.
HIDDEN = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
ODD = [
    b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nContent-Length: 0\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: +%d\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length : %d\r\nContent-Length: 0\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nX: %d\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding:\x0bchunked\r\nX: %d\r\n\r\n0\r\n\r\n",
    b"GET /x HTTP/1.1\r\nHost: localhost\r\nHost: other\r\nX: %d\r\n\r\n",
    b"GET /x HTTP/1.1\r\nX: %d\r\n\r\n",
]


def test_odd_framing_hides_no_request():
    with Front() as front:
        for odd in ODD:
            with front.dial(4) as c:
                c.sendall(odd % len(HIDDEN) + HIDDEN)
                c.settimeout(1)
                answer = read_all(c)
            assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")), (odd, answer[:200])
            assert answer.count(b"HTTP/1.1 ") == 1, (odd, answer)
        assert not any(line.get("route") == "/healthz" for line in front.shop.control.log())
        assert front.get("/healthz").status == 200


def test_slow_heads_are_closed_and_others_are_served():
    with Front(times=[("client_header_timeout 10s", "client_header_timeout 1s")]) as front:
        slow = [front.dial() for _ in range(40)]
        for c in slow:
            c.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        begun = time.monotonic()
        assert front.get("/healthz").status == 200
        open_ones = set(slow)
        while open_ones and time.monotonic() - begun < 8:
            for c in list(open_ones):
                try:
                    c.settimeout(0.01)
                    c.sendall(b"a")
                    if c.recv(1000) == b"":
                        open_ones.discard(c)
                except socket.timeout:
                    pass
                except OSError:
                    open_ones.discard(c)
        for c in slow:
            c.close()
        assert not open_ones, f"{len(open_ones)} drip on after {time.monotonic() - begun:.1f} s"
        assert front.get("/healthz").status == 200


def main():
    if NGINX is None:
        print("1..0 # SKIP no nginx (scripts/setup)")
        return
    tap = usher_box.Tap()
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            tap.run(test)
    tap.end()


if __name__ == "__main__":
    main()
