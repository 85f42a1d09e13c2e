#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Messages that control/mail builds are read by Python's email package: what was put in comes out.

usage: test_mail_mime.py DRAW      (the program of tests/unit/mail_draw.c)
"""
import email
import email.policy
import json
import random
import re
import subprocess
import sys

DRAW = sys.argv[1]
PLAIN = {"from": "tickets@shop.example", "to": "ann@mail.example", "subject": "Your tickets",
         "message_id": "abc@shop.example", "date_us": 1764301330000000, "seed": "k1", "text": "Hello,\nhere.\n",
         "parts": []}
PNG = {"type": "image/png", "id": "t1@shop.example", "fill": 1500}
ICS = {"type": "text/calendar; charset=utf-8; method=PUBLISH", "name": "event.ics", "data": "BEGIN:VCALENDAR\r\n"}


def draw(**changes):
    return subprocess.run([DRAW], input=json.dumps({**PLAIN, **changes}).encode(), check=True,
                          capture_output=True).stdout


def read(raw):
    """ret: the message; every line is short, ASCII and ends with CRLF, and nothing is defective."""
    assert raw.endswith(b"\r\n") and raw.count(b"\n") == raw.count(b"\r\n") == raw.count(b"\r"), raw
    assert all(len(line) <= 78 for line in raw.split(b"\r\n")), raw
    assert raw.isascii()
    message = email.message_from_bytes(raw, policy=email.policy.default)
    for part in message.walk():
        assert not part.defects, part.defects
        for value in part.values():
            assert not getattr(value, "defects", ()), value.defects
    return message


def content(part):
    return part.get_content().replace("\r\n", "\n")


def test_text_alone():
    message = read(draw())
    assert message["subject"] == "Your tickets" and message["to"] == "ann@mail.example"
    assert message["message-id"] == "<abc@shop.example>" and message["auto-submitted"] == "auto-generated"
    assert message["date"].datetime.timestamp() == 1764301330
    assert message.get_content_type() == "text/plain"
    assert content(message) == PLAIN["text"]


def test_all_parts_nest_as_rfc_2387_wants():
    message = read(draw(html="<img src=\"cid:t1@shop.example\">", parts=[ICS, PNG]))
    tree = [part.get_content_type() for part in message.walk()]
    assert tree == ["multipart/mixed", "multipart/alternative", "text/plain", "multipart/related", "text/html",
                    "image/png", "text/calendar"], tree
    parts = list(message.walk())
    assert parts[3].get_param("type") == "text/html"
    assert parts[5]["content-id"] == "<t1@shop.example>" and parts[5].get_content_disposition() == "inline"
    assert parts[5].get_content() == bytes(i * 7 & 255 for i in range(1500))
    assert parts[6].get_filename() == "event.ics" and parts[6].get_content().startswith("BEGIN:VCALENDAR")
    assert parts[6].get_param("method") == "PUBLISH"
    assert content(message.get_body(("html",))) == "<img src=\"cid:t1@shop.example\">"


def test_other_letters_come_back():
    subject = "Ваши билеты — Zürich 東京ドーム 🎫 " * 3
    subject = subject.strip()
    text = "Grüße\n\n.\nFrom here\n" + "x" * 300 + "\ntrailing \t\nend=\n" + "東京" * 60 + "\n"
    message = read(draw(subject=subject, text=text, from_name="Müller \"& Söhne\""))
    assert message["subject"] == subject
    assert content(message) == text
    assert message["from"].addresses[0].display_name == "Müller \"& Söhne\""
    assert message["from"].addresses[0].addr_spec == "tickets@shop.example"
    for name in ("Usher, Inc.", "a \"b\" c", "back\\slash", "=?utf-8?q?x?="):
        assert read(draw(from_name=name))["from"].addresses[0].display_name == name, name
    for name in ("=?utf-8?B?QQ==?=", " begins and ends ", "y" * 200):
        assert read(draw(subject=name))["subject"] == name, name


def test_any_text_comes_back():
    chance = random.Random(5)
    for _ in range(60):
        letters = "ab =.\tFé東🎫\n" if chance.random() < 0.5 else "abcdefgh \n"
        text = "".join(chance.choice(letters) for _ in range(chance.randrange(400))) + "x\n"
        assert content(read(draw(text=text))) == text, text


def test_injection_into_heads_is_refused():
    bad = [{"subject": "a\r\nBcc: eve@x.example"}, {"subject": "a\nb"}, {"subject": "a\rb"}, {"subject": ""},
           {"subject": "x" * 201}, {"to": "a@b.example\r\nBcc: c@d.example"}, {"to": "a@b.example, c@d.example"},
           {"to": "<a@b.example>"}, {"to": "a b@c.example"}, {"to": "@x.example"}, {"to": "a@"}, {"to": "a"},
           {"to": "a..b@x.example"}, {"to": ".a@x.example"}, {"to": "a@x..example"}, {"to": "é@x.example"},
           {"to": "a@" + "x" * 254}, {"to": "a@-x.example"}, {"from_name": "a\nb"}, {"message_id": "a>\r\nX: y"},
           {"from": "a@b@c d"}, {"date_us": -1},
           {"parts": [{**ICS, "name": "a\"; b"}]}, {"parts": [{**ICS, "name": "a\nb"}]},
           {"parts": [{**ICS, "type": "text/x\r\nX: y"}]}, {"parts": [{**ICS, "type": "text"}]},
           {"parts": [{**PNG, "id": "a>\n"}], "html": "x"}, {"parts": [PNG]}]
    for changes in bad:
        out = draw(**changes)
        assert out == b"refused -1", (changes, out[:200])


def test_too_big_is_refused():
    out = draw(parts=[{"type": "image/png", "name": "a.png", "fill": 7 << 20}])
    assert out == b"refused -12", out[:100]
    assert draw(parts=[{**ICS, "name": f"a{i}"} for i in range(65)]) == b"refused -12"


def test_boundary_is_in_no_part():
    message = read(draw(html="--=_ " * 30, text="--=_0000.a\n" * 3, parts=[ICS]))
    marks = re.findall(rb'boundary="([^"]+)"', draw(html="x", parts=[ICS]))
    assert len(set(marks)) == 2 and all(mark.startswith(b"=_") for mark in marks)
    assert content(message.get_body(("plain",))) == ("--=_0000.a\n" * 3)[:-1]


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    failed = 0
    for number, test in enumerate(TESTS, 1):
        try:
            test()
            print(f"ok {number} - {test.__name__}", flush=True)
        except Exception as error:  # pylint: disable=broad-except
            failed += 1
            print(f"not ok {number} - {test.__name__}\n# {str(error)[:2000]!r}", flush=True)
    print(f"1..{len(TESTS)}")
    sys.exit(failed != 0)
