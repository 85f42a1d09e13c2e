#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pictures of QR codes say what was put in: zbarimg, which shares no code with us, reads them.

usage: test_tickets_qr.py DRAW      (the program of tests/unit/tickets_draw.c)
"""
import re
import struct
import subprocess
import sys
import tempfile
import zlib

DRAW = sys.argv[1]


def draw(*args):
    return subprocess.run([DRAW, *args], check=True, capture_output=True).stdout


def decode(picture, ending):
    with tempfile.NamedTemporaryFile(suffix=ending) as file:
        file.write(picture)
        file.flush()
        out = subprocess.run(["zbarimg", "-q", "--raw", "-Sdisable", "-Sqrcode.enable", file.name],
                             capture_output=True, check=True).stdout
    return out.decode().removesuffix("\n")


def chunks(png):
    """ret: [(type, data)]; the checksums are right."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, found = 8, []
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at:at + 8])
        data = png[at + 8:at + 8 + size]
        assert struct.unpack(">I", png[at + 8 + size:at + 12 + size])[0] == zlib.crc32(kind + data)
        found.append((kind, data))
        at += 12 + size
    return found


def svg_to_pbm(svg, scale):
    """The runs of the second path, drawn anew."""
    side = int(re.search(r'viewBox="0 0 (\d+) ', svg)[1])
    rows = [["0"] * side for _ in range(side)]
    for x, y, width, back in re.findall(r"M(\d+) (\d+)h(\d+)v1H(\d+)z", svg.split("<path")[2]):
        assert x == back
        rows[int(y)][int(x):int(x) + int(width)] = "1" * int(width)
    lines = ["".join(c * scale for c in row) for row in rows for _ in range(scale)]
    return f"P1\n{side * scale} {side * scale}\n".encode() + "\n".join(lines).encode()


def test_code_is_read_back_from_png():
    for row in range(0, 4000, 97):
        code = draw("code", str(row)).decode()
        assert len(code) == 134 and code.startswith("USHER:"), code
        png = draw("png", code, str(2 + row % 7))
        assert decode(png, ".png") == code, row


def test_code_is_read_back_from_svg():
    code = draw("code", "12").decode()
    assert decode(svg_to_pbm(draw("svg", code).decode(), 5), ".pbm") == code


def test_png_is_well_formed_and_small():
    png = draw("png", draw("code", "1").decode(), "8")
    (head, ihdr), (body, idat), (end, iend) = chunks(png)
    assert (head, body, end, iend) == (b"IHDR", b"IDAT", b"IEND", b"")
    width, height, depth, colour = struct.unpack(">IIBB", ihdr[:10])
    # Version 6 has 41 modules: alphanumeric mode was used.
    assert width == height == (41 + 8) * 8 and (depth, colour) == (1, 0)
    assert len(zlib.decompress(idat)) == height * (1 + (width + 7) // 8)
    assert len(png) < 2500, len(png)


def test_too_long_or_too_big_is_refused():
    assert subprocess.run([DRAW, "png", "A" * 5000, "2"], check=False).returncode == 1
    assert subprocess.run([DRAW, "png", "A", "33"], check=False).returncode == 1


TESTS = [test_code_is_read_back_from_png, test_code_is_read_back_from_svg,
         test_png_is_well_formed_and_small, test_too_long_or_too_big_is_refused]

if __name__ == "__main__":
    failed = 0
    for number, test in enumerate(TESTS, 1):
        try:
            test()
            print(f"ok {number} - {test.__name__}", flush=True)
        except Exception as error:  # pylint: disable=broad-except
            failed += 1
            print(f"not ok {number} - {test.__name__}\n# {error!r}", flush=True)
    print(f"1..{len(TESTS)}")
    sys.exit(failed != 0)
