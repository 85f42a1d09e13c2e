#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usher-control's HTTP from outside, with plain sockets where a client library is too well behaved.

usage: test_http.py BUILD-FOLDER [WORD]...      only tests whose names have one of the words
"""
import gzip
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import shop as shops  # noqa: E402
import usher_box  # noqa: E402

BUILD = sys.argv[1]
QUICK = ["http.head_ms=600", "http.body_ms=600", "http.idle_ms=1200", "http.send_ms=700", "http.connections=40"]


def shop(*sets, **more):
    return shops.Shop(BUILD, sets=sets, box=False, sandbox=False, **more)


def dial(shop, timeout=60):
    s = socket.create_connection(("127.0.0.1", shop.control.port), timeout=timeout)
    return s


def read_all(s):
    data = b""
    try:
        while True:
            piece = s.recv(65536)
            if not piece:
                return data
            data += piece
    except ConnectionResetError:
        return data + b"<reset>"


def same(a, b):
    assert a == b, f"{a!r} is not {b!r}"


def test_answers_healthz_with_security_headers():
    with shop() as s:
        answer = s.get("/healthz")
        same(answer.status, 200)
        same(answer.json(), {"status": "alive"})
        for name, value in {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
                            "Cache-Control": "no-store", "Referrer-Policy": "same-origin"}.items():
            same(answer.headers[name], value)
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert len(answer.headers["X-Request-Id"]) == 16
        same(s.get("/readyz").status, 503)


def test_answers_unknown_paths_and_methods_with_problems():
    with shop() as s:
        answer = s.get("/nothing")
        same((answer.status, answer.code), (404, "not_found"))
        same(answer.json()["instance"], "urn:usher:request:" + answer.headers["X-Request-Id"])
        answer = s.post("/healthz")
        same((answer.status, answer.code, answer.headers["Allow"]), (405, "method_not_allowed", "GET, HEAD"))
        for target in ("/%", "/%zz", "/a%00b", "/%ff", "/healthz?a=%c0%80", "/healthz?" + "a&" * 70):
            same((target, s.get(target).code), (target, "bad_target"))


def test_head_has_the_headers_of_get_and_no_body():
    with shop() as s:
        answer = s.request("HEAD", "/healthz")
        same((answer.status, answer.body, answer.headers["Content-Length"]), (200, b"", "18"))


def test_etag_answers_304():
    with shop() as s:
        tag = s.get("/healthz").headers["ETag"]
        for header in (tag, '"other", ' + tag, "*", tag[2:]):
            answer = s.get("/healthz", headers={"If-None-Match": header})
            same((header, answer.status, answer.body), (header, 304, b""))
        same(s.get("/healthz", headers={"If-None-Match": '"other"'}).status, 200)


def test_keeps_connections_and_answers_pipelined_requests_in_order():
    with shop() as s, dial(s) as c:
        c.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 50 +
                  b"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        data = read_all(c)
        same((data.count(b"HTTP/1.1 200"), data.count(b"HTTP/1.1 404")), (50, 1))
        assert data.rindex(b"HTTP/1.1 200") < data.index(b"HTTP/1.1 404")


def test_answers_a_client_that_shuts_its_writing_side():
    with shop() as s, dial(s) as c:
        c.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        c.shutdown(socket.SHUT_WR)
        assert read_all(c).startswith(b"HTTP/1.1 200")


def test_takes_requests_in_pieces_of_one_byte():
    with shop() as s, dial(s) as c:
        for byte in b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n":
            c.sendall(bytes([byte]))
            time.sleep(0.001)
        assert read_all(c).startswith(b"HTTP/1.1 200")


# What could be read in two ways, and the status it must get (docs/http.md).
ODD = [
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    (501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\nHost: a\n\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n"),
    (400, b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na"),
    (505, b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"),
    (505, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    (431, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 20000 + b"\r\n\r\n"),
    (431, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 200 + b"\r\n"),
    (413, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n"),
    (417, b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-maybe\r\nContent-Length: 1\r\n\r\na"),
    (400, b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
]


def test_refuses_odd_framing_once_and_closes():
    with shop() as s:
        for status, data in ODD:
            with dial(s) as c:
                # A request hidden behind the odd one must not be answered.
                c.sendall(data + b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
                answer = read_all(c)
                assert answer.startswith(b"HTTP/1.1 %d " % status), (data[:80], answer[:200])
                same((data[:80], answer.count(b"HTTP/1.1 ")), (data[:80], 1))
                body = json.loads(answer.split(b"\r\n\r\n", 1)[1])
                same(body["status"], status)
        same(s.get("/healthz").status, 200)


def test_late_heads_and_bodies_are_answered_408_however_they_drip():
    with shop(*QUICK) as s:
        for start in (b"GET / HTTP/1.1\r\nHost: a\r\nX: ",
                      b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"):
            begun = time.monotonic()
            with dial(s) as c:
                c.sendall(start)
                c.settimeout(0.05)
                answer = b""
                while time.monotonic() - begun < 5 and not answer:
                    try:
                        answer = c.recv(4096)
                    except socket.timeout:
                        c.sendall(b"a")
                took = time.monotonic() - begun
                assert answer.startswith(b"HTTP/1.1 408"), answer
                assert 0.5 < took < 2.5, took


def test_idle_connections_are_closed():
    with shop(*QUICK) as s, dial(s) as c:
        begun = time.monotonic()
        c.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_all(c).startswith(b"HTTP/1.1 200")
        assert 1 < time.monotonic() - begun < 4


def test_connections_beyond_the_limit_are_closed_and_others_go_on():
    with shop(*QUICK) as s:
        open_ones = [dial(s) for _ in range(40)]
        open_ones[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert open_ones[0].recv(100).startswith(b"HTTP/1.1 200")
        with dial(s) as more:
            same(read_all(more).replace(b"<reset>", b""), b"")
        for c in open_ones:
            c.close()
        time.sleep(0.2)
        same(s.get("/healthz").status, 200)


def test_a_crowd_leaves_descriptors_for_the_rest():
    """The limit of open files is raised if it may be; otherwise fewer connections are taken, and it says so."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for limit, warned in (("256:2000", True), ("256:12000", False)):
        if hard != resource.RLIM_INFINITY and hard < 12000:
            raise usher_box.Tap.Skip(f"the limit of open files is {hard}")
        with shop(start=False) as s:
            command = s.control.command
            s.control.command = lambda port: ["prlimit", "--nofile=" + limit, "--", *command(port)]
            s.control.start()
            warning = [line for line in s.control.log() if "limit of open files" in line["event"]]
            same((limit, [line["connections"] for line in warning]), (limit, ["1488"] if warned else []))
            with open(f"/proc/{s.control.process.pid}/limits") as file:
                soft = next(line.split()[3] for line in file if line.startswith("Max open files"))
            same((limit, soft), (limit, "2000" if warned else "10512"))
            same(s.get("/healthz").status, 200)


def test_readers_that_take_nothing_are_closed_and_cost_bounded_memory():
    """Asks for more than the sockets hold, and reads nothing."""
    with shop(*QUICK) as s, dial(s) as c:
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.settimeout(0.5)
        ask = b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n" * 1000
        sent = 0
        try:
            while sent < 200 << 20:
                sent += c.send(ask)
        except (TimeoutError, socket.timeout, ConnectionError):
            pass
        with open(f"/proc/{s.control.process.pid}/status") as status:
            rss = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
        # A sanitizer keeps what was freed for a while.
        assert rss < (200000 if os.environ.get("USHER_CONTROL_BUILD") else 60000), rss
        time.sleep(1.6)
        with open(f"/proc/{s.control.process.pid}/net/tcp") as table:
            mine = "%04X" % c.getsockname()[1]
            assert not any(f":{mine} 01" in line for line in table if f":{s.control.port:04X} " in line.split()[1] + " ")
        same(s.get("/healthz").status, 200)


def test_ends_at_sigterm_with_status_0():
    with shop() as s:
        with dial(s) as idle:
            same(s.control.stop(signal.SIGTERM), 0)
            same(read_all(idle), b"")


def test_no_thread_keeps_privileges_once_it_serves():
    with shop() as s:
        folder = f"/proc/{s.control.process.pid}/task"
        threads = os.listdir(folder)
        assert len(threads) > 1, threads
        for thread in threads:
            with open(f"{folder}/{thread}/status") as file:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
            for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                same((thread, name, int(status[name], 16)), (thread, name, 0))
            same((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
        if os.geteuid() == 0:
            same(int(status["CapBnd"], 16), 0)
        same(s.get("/healthz").status, 200)


def test_wrong_settings_are_refused_by_name():
    program = shops.program(BUILD, "control/daemon/usher-control")
    for arguments, status, words in [
            (["--set", "http.prot=1"], 2, "there is no setting prot in [http]"),
            (["--set", "http.port=65536"], 1, "http.port wants a number"),
            (["--set", "http.address=localhost"], 1, "no numeric address"),
            (["--set", "log.level=loud"], 1, "log.level"),
            (["--config", "/nonexistent"], 2, "cannot open"), (["x"], 2, "means nothing")]:
        done = subprocess.run([program, "--set", "control.state_dir=/tmp/usher-none", *arguments],
                              capture_output=True, text=True, timeout=60)
        same((arguments, done.returncode), (arguments, status))
        assert words in done.stderr, done.stderr


def test_the_configuration_reads_back_as_itself():
    program = shops.program(BUILD, "control/daemon/usher-control")
    with shop(start=False) as s:
        path = os.path.join(s.folder, "control.ini")
        first = subprocess.run([program, "--print-config", "--set", "http.port=1234"], capture_output=True,
                               text=True, check=True).stdout
        with open(path, "w") as file:
            file.write(first)
        same(subprocess.run([program, "--config", path, "--print-config"], capture_output=True, text=True,
                            check=True).stdout, first)


def main():
    tap = usher_box.Tap()
    for name, test in list(globals().items()):
        if name.startswith("test_") and (not sys.argv[2:] or any(word in name for word in sys.argv[2:])):
            tap.run(test)
    tap.end()


main()
