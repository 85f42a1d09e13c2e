#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""share/nginx/usher.conf, run by Debian's nginx in a folder of its own in front of usher-control: TLS, HTTP/2, the
micro-cache, odd framing and slow clients. test_http.py asks the same of usher-control alone.

usage: test_nginx.py BUILD-FOLDER
"""
import http.client
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
    """nginx before a shop. `times` replaces time-outs, for tests that do not wait so long."""

    def __init__(self, times=()):
        self.shop = shops.Shop(BUILD, box=False, sandbox=False,
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
                         ("/etc/usher/", f"{folder}/"), ("/var/cache/nginx/usher", f"{folder}/cache"), *times):
            assert old in text, old
            text = text.replace(old, new)
        (folder / "usher.conf").write_text(text)
        temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n"
                            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;\n" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(
            f"{user}daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n"
            f"events {{ worker_connections 512; }}\nhttp {{\naccess_log off;\n{temporary}include {folder}/usher.conf;\n}}\n")
        self.process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e",
                                         str(folder / "error.log")], stderr=subprocess.PIPE, text=True)
        self.context = ssl.create_default_context(cafile=str(folder / "tls.crt"))
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(self.process.stderr.read()) from None
                time.sleep(0.05)

    def get(self, path, headers=None, method="GET"):
        c = http.client.HTTPSConnection("localhost", self.port, context=self.context, timeout=10)
        try:
            c.request(method, path, headers=headers or {})
            answer = c.getresponse()
            return shops.Answer(answer.status, answer.headers, answer.read())
        finally:
            c.close()

    def dial(self, timeout=8):
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
        # no-store is not kept, and a session goes past the cache.
        assert front.get("/healthz").headers["X-Cache"] is None
        assert front.get("/openapi.json", {"Cookie": "session=x"}).headers["X-Cache"] == "BYPASS"
        front.shop.control.kill()
        assert front.get("/openapi.json").status == 200
        assert front.get("/healthz").status == 502


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


main()
