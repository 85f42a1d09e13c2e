#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""wrk against a shop of 200 events: the room's status object, a search and the snapshot of free seats, from
usher-control itself and through nginx with the shipped configuration (TLS, micro-cache). For scripts/bench.

usage: web.py BUILD-FOLDER SECONDS [EVENTS]

usherd, usher-control and nginx have CPU 0, wrk has CPU 1, where there are two. The limits of nginx (50 requests a second
of one address) are raised: they are what a flood meets, not what is measured. The last line is JSON.
"""
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/system"))
import shop as shops  # noqa: E402
import test_nginx  # noqa: E402

CONNECTIONS = 64
UNITS = {"us": 1, "ms": 1000, "s": 1000000, "m": 60000000}


def scripts_shop():
    loader = importlib.machinery.SourceFileLoader("scripts_shop", str(ROOT / "scripts/shop"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("scripts_shop", loader))
    loader.exec_module(module)
    return module


def open_shop(build, events):
    """ret: a shop with a room, and the paths that are asked for, by name."""
    making = scripts_shop()
    shop = shops.Shop(build, sandbox=False, start=False, box_sets=("limits.room_users=20000", "limits.room_devices=1024"),
                      sets=["http.proxies=127.0.0.1", "people.codes_file={folder}/codes", "people.requests_per_min=1000000"])
    shop.start()
    subprocess.run(shop.control_command(0) + ["account", "operator", "op@shop.example"], check=True, capture_output=True)
    operator = making.sign_in(making.Api(shop.control.port), pathlib.Path(shop.folder), "op@shop.example")
    making.fill(operator, events, 1)
    found = operator.ask("GET", "/v1/search?limit=20&facets=1")
    event = found["items"][0]["event"]
    operator.ask("POST", f"/v1/admin/events/{event}/queue", {
        "action": "open", "users": 1000, "beacon": {"source": "drand quicknet", "round": 4711}})
    return shop, {"status": f"/v1/events/{event}/queue", "search": "/v1/search?words=electric&limit=20&facets=1",
                  "free_seats": f"/v1/events/{event}/availability"}


def wrk(url, seconds, cpu):
    """ret: answers a second, p50 and p99 in ms, bytes an answer."""
    pin = ["taskset", "-c", cpu] if cpu else []
    done = subprocess.run([*pin, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", url], capture_output=True,
                          text=True, check=True)
    assert "Non-2xx" not in done.stdout and "Socket errors" not in done.stdout, done.stdout
    rate = float(re.search(r"Requests/sec: *(\S+)", done.stdout)[1])

    def at(percent):
        number, unit = re.search(rf"^ *{percent}% +([0-9.]+)(us|ms|s|m)$", done.stdout, re.M).groups()
        return float(number) * UNITS[unit] / 1000
    return rate, at(50), at(99)


def main():
    build, seconds = sys.argv[1], sys.argv[2]
    two = (os.cpu_count() or 1) > 1
    if two:
        os.sched_setaffinity(0, {0})
    figures = {}
    shop, paths = open_shop(build, int(sys.argv[3]) if len(sys.argv) > 3 else 200)
    with test_nginx.Front(shop=shop, times=(("rate=50r/s", "rate=1000000r/s"), ("burst=100", "burst=1000000"))) as front:
        for name, path in paths.items():
            for way, base in (("direct", f"http://127.0.0.1:{shop.control.port}"), ("nginx", f"https://localhost:{front.port}")):
                answer = shop.get(path) if way == "direct" else front.get(path)
                assert answer.status == 200, (name, way, answer)
                rate, p50, p99 = wrk(base + path, seconds, "1" if two else "")
                figures |= {f"{name}_{way}_per_s": rate, f"{name}_{way}_p50_ms": p50, f"{name}_{way}_p99_ms": p99}
                print(f"{name:<12} {way:<7} {rate:>9,.0f}/s  p50 {p50:7.2f} ms  p99 {p99:7.2f} ms  {len(answer.body)} bytes",
                      file=sys.stderr, flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
