#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""People over HTTP: codes, sessions, keys, limits, export and deletion, on both databases; and that no log names anybody.

usage: test_people.py BUILD-FOLDER [WORD]...      only tests whose names have one of the words
"""
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import postgres  # noqa: E402
import shop as shops  # noqa: E402
import usher_box  # noqa: E402

BUILD = sys.argv[1]
DATABASE = "sqlite"


def same(a, b):
    assert a == b, f"{a!r} is not {b!r}"


class Person:
    """A browser: a cookie, and the token that writes need."""

    def __init__(self, shop, mail):
        self.shop, self.mail, self.cookie, self.csrf = shop, mail, None, None

    def sign_in(self):
        challenge = self.shop.post("/v1/sign-in", {"mail": self.mail}, key="")
        same(challenge.status, 202)
        answer = self.shop.post("/v1/sign-in/code", {
            "challenge": challenge.json()["challenge"], "code": code_for(self.shop, self.mail)}, key="",
            headers={"Cookie": self.cookie} if self.cookie else None)
        same(answer.status, 200)
        self.cookie = answer.headers["Set-Cookie"].partition(";")[0]
        self.csrf = answer.json()["csrf"]
        self.account = answer.json()["account"]
        return self

    def headers(self, **more):
        return {"Cookie": self.cookie, "X-CSRF-Token": self.csrf, **more}

    def get(self, path):
        return self.shop.get(path, headers=self.headers())

    def post(self, path, body, **more):
        return self.shop.post(path, body, headers=self.headers(), **more)

    def delete(self, path):
        return self.shop.delete(path, headers=self.headers())


def code_for(shop, target):
    """The newest code that was sent there."""
    with open(os.path.join(shop.folder, "codes")) as file:
        codes = [json.loads(line) for line in file]
    return [c["code"] for c in codes if c["to"] == target][-1]


def open_shop(*sets):
    return shops.Shop(BUILD, database=DATABASE, box=False, sandbox=False,
                      sets=["people.codes_file={folder}/codes", *sets])


def appoint(shop, role, mail):
    command = shop.control_command(0) + ["account", role, mail]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    same(done.returncode, 0)
    return json.loads(done.stdout.splitlines()[-1])


def test_a_code_makes_a_session_once():
    with open_shop() as s:
        first = s.post("/v1/sign-in", {"mail": "Anna@Example.org"}, key="")
        same(first.status, 202)
        code = code_for(s, "anna@example.org")
        body = {"challenge": first.json()["challenge"], "code": code}
        wrong = dict(body, code="%06d" % ((int(code) + 1) % 1000000))
        same(s.post("/v1/sign-in/code", wrong, key="").code, "code_wrong")
        answer = s.post("/v1/sign-in/code", body, key="")
        same(answer.status, 200)
        same(answer.json()["role"], "buyer")
        cookie = answer.headers["Set-Cookie"]
        for word in ("HttpOnly", "SameSite=Lax", "Path=/"):
            assert word in cookie, cookie
        again = s.post("/v1/sign-in/code", body, key="")
        same((again.status, again.code), (401, "code_wrong"))
        me = s.get("/v1/me", headers={"Cookie": cookie.partition(";")[0]})
        same(me.json()["mail"], "anna@example.org")
        same(me.json()["csrf"], answer.json()["csrf"])
        same(me.json()["verified"], ["mail"])
        same(s.get("/v1/me").code, "sign_in")
        s.control.kill()
        s.control.start()
        same(s.get("/v1/me", headers={"Cookie": cookie.partition(";")[0]}).status, 200)


def test_five_tries_a_code_and_five_codes_an_hour():
    with open_shop() as s:
        first = s.post("/v1/sign-in", {"mail": "b@example.org"}, key="").json()["challenge"]
        code = code_for(s, "b@example.org")
        wrong = "%06d" % ((int(code) + 1) % 1000000)
        for _ in range(5):
            same(s.post("/v1/sign-in/code", {"challenge": first, "code": wrong}, key="").code, "code_wrong")
        same(s.post("/v1/sign-in/code", {"challenge": first, "code": code}, key="").code, "code_wrong")
        for _ in range(4):
            same(s.post("/v1/sign-in", {"mail": "b@example.org"}, key="").status, 202)
        refused = s.post("/v1/sign-in", {"mail": "B@example.org"}, key="")
        same((refused.status, refused.code), (429, "rate_limited"))
        assert int(refused.headers["Retry-After"]) > 0
        same(s.post("/v1/sign-in", {"mail": "c@example.org"}, key="").status, 202)
        for bad in ("", "nobody", "a@b\r\nBcc: x@y.org", None, 7, ["a@b.org"]):
            same(s.post("/v1/sign-in", {"mail": bad}, key="").status, 422)


def test_codes_and_sessions_end_with_time():
    with open_shop() as s:
        challenge = s.post("/v1/sign-in", {"mail": "d@example.org"}, key="").json()["challenge"]
        body = {"challenge": challenge, "code": code_for(s, "d@example.org")}
        person = Person(s, "e@example.org").sign_in()
        appoint(s, "operator", "op@example.org")
        operator = Person(s, "op@example.org").sign_in()
        s.sets.append("control.clock_shift_s=601")
        s.control.restart()
        same(s.post("/v1/sign-in/code", body, key="").code, "code_wrong")
        same(person.get("/v1/me").status, 200)
        s.sets[-1] = f"control.clock_shift_s={13 * 3600}"
        s.control.restart()
        same(operator.get("/v1/me").status, 401)
        same(person.get("/v1/me").status, 200)
        s.sets[-1] = f"control.clock_shift_s={91 * 86400}"
        s.control.restart()
        answer = person.get("/v1/me")
        same(answer.status, 401)
        assert "Max-Age=0" in answer.headers["Set-Cookie"], answer.headers


def test_writes_with_a_cookie_need_our_pages():
    with open_shop() as s:
        person = Person(s, "f@example.org").sign_in()
        body = json.dumps({"name": "F"})
        kind = {"Content-Type": "application/json"}
        same(s.request("PATCH", "/v1/me", body, {"Cookie": person.cookie, **kind}).code, "csrf")
        same(s.request("PATCH", "/v1/me", body, person.headers(Origin="https://evil.example", **kind)).code, "csrf")
        same(s.request("PATCH", "/v1/me", body, {
            **person.headers(**kind), "Sec-Fetch-Site": "cross-site"}).code, "csrf")
        other = Person(s, "g@example.org").sign_in()
        same(s.request("PATCH", "/v1/me", body, {
            "Cookie": person.cookie, "X-CSRF-Token": other.csrf, **kind}).code, "csrf")
        same(s.request("PATCH", "/v1/me", body, person.headers(**kind)).json()["name"], "F")
        before = person.cookie
        person.sign_in()
        same(s.get("/v1/me", headers={"Cookie": before}).status, 401)
        same(person.delete("/v1/session").status, 204)
        same(person.get("/v1/me").status, 401)


def test_roles_and_keys():
    with open_shop() as s:
        appoint(s, "operator", "op@example.org")
        operator = Person(s, "op@example.org").sign_in()
        buyer = Person(s, "h@example.org").sign_in()
        same(buyer.post("/v1/admin/accounts", {"mail": "i@example.org", "role": "operator"}).code, "forbidden")
        same(buyer.post("/v1/admin/keys", {"name": "x", "scope": "read"}, key="").code, "forbidden")
        same(operator.post("/v1/admin/accounts", {"mail": "p@example.org", "role": "king"}).status, 422)
        same(operator.post("/v1/admin/accounts", {"mail": "p@example.org", "role": "promoter"}).status, 201)
        promoter = Person(s, "p@example.org").sign_in()
        same(promoter.get("/v1/me").json()["role"], "promoter")
        write = promoter.post("/v1/admin/keys", {"name": "till", "scope": "write"}, key="").json()
        read = promoter.post("/v1/admin/keys", {"name": "board", "scope": "read", "role": "service"}, key="").json()
        bearer = {"Authorization": "Bearer " + write["key"]}
        same(s.get("/v1/me", headers=bearer).json()["account"], promoter.account)
        look = {"Authorization": "Bearer " + read["key"]}
        same(s.get("/v1/me", headers=look).json()["role"], "service")
        same(s.request("PATCH", "/v1/me", {"name": "x"}, look).code, "scope")
        same(s.request("PATCH", "/v1/me", {"name": "x"}, bearer).status, 200)
        for bad in (write["key"][:-1], write["key"] + "0", "uk_x_y", "uk_", "uk_" + "a" * 500):
            same(s.get("/v1/me", headers={"Authorization": "Bearer " + bad}).code, "key_unknown")
        same({i["name"] for i in s.get("/v1/admin/keys", headers=bearer).json()["items"]}, {"till", "board"})
        same(s.delete("/v1/admin/keys/" + write["prefix"], headers=buyer.headers()).status, 403)
        same(operator.delete("/v1/admin/keys/" + write["prefix"]).status, 204)
        same(operator.delete("/v1/admin/keys/" + write["prefix"]).status, 404)
        same(s.get("/v1/me", headers=bearer).code, "key_unknown")
        lines = operator.get("/v1/admin/audit").json()["items"]
        same([line["action"] for line in lines],
             ["account.appoint", "account.appoint", "key.make", "key.make", "key.revoke"])
        check_chain(lines)
        same(operator.get(f"/v1/admin/audit?after={lines[2]['number']}").json()["items"], lines[3:])
        same(promoter.get("/v1/admin/audit").code, "forbidden")


ROLES = ["none", "buyer", "promoter", "operator", "service"]


def check_chain(lines):
    before = ""
    for line in lines:
        text = "|".join([before, str(line["number"]), str(line["time_us"]), line["account"][2:],
                         str(ROLES.index(line["role"])), line["action"], line["object"], line["text"]])
        before = hashlib.sha256(text.encode()).hexdigest()
        same(line["hash"], before)


def test_a_fan_has_a_telephone_that_nobody_else_has():
    with open_shop() as s:
        first, second = (Person(s, m).sign_in() for m in ("j@example.org", "k@example.org"))
        same(first.post("/v1/events/7/fans", {}).code, "not_verified")
        for person, status in ((first, 200), (second, 409)):
            challenge = person.post("/v1/me/verify", {"phone": "+4930123456"}, key="").json()["challenge"]
            answer = person.post("/v1/me/verify/code", {
                "challenge": challenge, "code": code_for(s, "+4930123456")}, key="")
            same(answer.status, status)
        same(first.get("/v1/me").json()["verified"], ["mail", "phone"])
        same(first.post("/v1/events/7/fans", {}).status, 201)
        same(first.post("/v1/events/7/fans", {}).status, 201)
        same(second.post("/v1/events/7/fans", {}).code, "not_verified")
        # A code of one account is nothing to another.
        challenge = first.post("/v1/me/verify", {"phone": "+4930999999"}, key="").json()["challenge"]
        same(second.post("/v1/me/verify/code", {
            "challenge": challenge, "code": code_for(s, "+4930999999")}, key="").code, "code_wrong")


def test_text_messages_go_to_the_provider():
    got = []

    class Provider(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.headers["Authorization"], json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    s = open_shop(f"people.sms_url=http://127.0.0.1:{server.server_port}/send")
    with s:
        person = Person(s, "l@example.org").sign_in()
        s.sets[0] = "people.sms_key_file=" + s.secret("sms", "sms-secret")
        s.control.restart()
        challenge = person.post("/v1/me/verify", {"phone": "+4930555555"}, key="").json()["challenge"]
        for _ in range(100):
            if got:
                break
            threading.Event().wait(0.05)
        same(got[0][0], "Bearer sms-secret")
        same(got[0][1]["to"], "+4930555555")
        answer = person.post("/v1/me/verify/code", {
            "challenge": challenge, "code": got[0][1]["text"].split()[-1]}, key="")
        same(answer.json()["phone"], "+4930555555")
    server.shutdown()


def test_export_and_deletion_leave_nobody():
    with open_shop() as s:
        person = Person(s, "m@example.org").sign_in()
        s.request("PATCH", "/v1/me", {"name": "Maria Muster"}, person.headers())
        challenge = person.post("/v1/me/verify", {"phone": "+4930424242"}, key="").json()["challenge"]
        same(person.post("/v1/me/verify/code", {"challenge": challenge, "code": code_for(s, "+4930424242")},
                         key="").status, 200)
        data = person.get("/v1/me/export")
        same(data.json()["phone"], "+4930424242")
        assert "attachment" in data.headers["Content-Disposition"]
        same((data.json()["mail"], data.json()["name"]), ("m@example.org", "Maria Muster"))
        same(len(data.json()["sessions"]), 1)
        same(person.delete("/v1/me").status, 204)
        same(person.get("/v1/me").status, 401)
        again = Person(s, "m@example.org").sign_in()
        assert again.account != person.account
        same(again.get("/v1/me").json()["name"], "")
        if DATABASE == "sqlite":
            s.control.stop()
            with open(os.path.join(s.state, "usher.db"), "rb") as file:
                text = file.read()
            assert b"Maria" not in text and b"4930424242" not in text


def test_limits_are_by_client_behind_the_proxy():
    with open_shop("http.proxies=127.0.0.1", "people.requests_per_min=60") as s:
        def ask(address):
            return s.get("/v1/me", headers={"X-Forwarded-For": address})
        answers = [ask("192.0.2.7") for _ in range(20)]
        same(answers[0].status, 401)
        same((answers[-1].status, answers[-1].code), (429, "rate_limited"))
        assert int(answers[-1].headers["Retry-After"]) >= 1
        same(ask("192.0.2.8").status, 401)
        same(s.get("/healthz").status, 200)


def test_logs_name_nobody():
    with open_shop("log.level=debug") as s:
        person = Person(s, "nina.secret@example.org").sign_in()
        s.request("PATCH", "/v1/me", {"name": "Nina Geheim"}, person.headers())
        person.post("/v1/me/verify", {"phone": "+4930777777"}, key="")
        appoint(s, "operator", "op@example.org")
        operator = Person(s, "op@example.org").sign_in()
        key = operator.post("/v1/admin/keys", {"name": "k", "scope": "write"}, key="").json()["key"]
        s.get("/v1/me", headers={"Authorization": "Bearer " + key})
        person.delete("/v1/me")
        s.control.stop()
        log = s.control.text()
        assert '"event":"ready"' in log
        for secret in ("nina", "Geheim", "4930777777", code_for(s, "nina.secret@example.org"),
                       code_for(s, "+4930777777"), person.cookie.split("=")[1], person.csrf, key.split("_")[2]):
            assert secret not in log, f"the log has {secret}"


def test_settings_that_would_leak_are_refused():
    s = shops.Shop(BUILD, box=False, sandbox=False, start=False)
    for origin in ("https://tickets.example", "http://localhost.example", "http://127.0.0.1.example"):
        s.sets = ["people.codes_file={folder}/codes", "http.origin=" + origin]
        done = subprocess.run(s.control_command(0), capture_output=True, text=True, timeout=60)
        same(done.returncode, 1)
        assert "codes_file is for tests" in done.stderr, done.stderr
    s.sets = []
    os.makedirs(s.state, mode=0o700, exist_ok=True)
    with open(os.path.join(s.state, "people.secret"), "wb") as file:
        file.write(b"x" * 32)
    os.chmod(file.name, 0o644)
    done = subprocess.run(s.control_command(0), capture_output=True, text=True, timeout=60)
    same(done.returncode, 1)
    assert "chmod 600" in done.stderr, done.stderr
    os.chmod(file.name, 0o600)
    login = ["mail.relay=smtp://127.0.0.1:1", "mail.from=a@b.example", "mail.user=me",
             "mail.password_file=" + s.secret("password", "secret")]
    for sets, mode, why in ((login, 0o644, "chmod 600"), (login[:3], 0o600, "mail.password_file is not set"),
                            ([*login, "mail.require_tls=maybe"], 0o600, "mail.require_tls is yes or no"),
                            ([*login, "mail.ca_file=" + s.secret("ca", "no certificate")], 0o600, "no certificates in PEM")):
        os.chmod(os.path.join(s.folder, "password"), mode)
        s.sets = sets
        done = subprocess.run(s.control_command(0), capture_output=True, text=True, timeout=60)
        same(done.returncode, 1)
        assert why in done.stderr, (why, done.stderr)
    s.close()


TESTS = [test_a_code_makes_a_session_once, test_five_tries_a_code_and_five_codes_an_hour,
         test_codes_and_sessions_end_with_time, test_writes_with_a_cookie_need_our_pages, test_roles_and_keys,
         test_a_fan_has_a_telephone_that_nobody_else_has, test_text_messages_go_to_the_provider,
         test_export_and_deletion_leave_nobody, test_limits_are_by_client_behind_the_proxy, test_logs_name_nobody,
         test_settings_that_would_leak_are_refused]


def main():
    global DATABASE
    tap = usher_box.Tap()
    wanted = sys.argv[2:]
    for kind in ("sqlite", "postgres"):
        server = None
        if kind == "postgres":
            try:
                server = postgres.Postgres()
            except postgres.Missing as why:
                tap.skip("PostgreSQL", why)
                continue
        for number, test in enumerate(TESTS):
            name = f"{test.__name__}_{kind}"
            if wanted and not any(word in name for word in wanted):
                continue
            DATABASE = server.database(f"people{number}") if server else "sqlite"
            test.__name__ = name
            tap.run(test)
            test.__name__ = name[:-len(kind) - 1]
        if server:
            server.close()
    tap.end()


if __name__ == "__main__":
    main()
