# SPDX-License-Identifier: Apache-2.0
"""A walk over every route of usher-control that ends well: test_http_fuzz.py begins with it, so that its requests of
chance are made in a shop that has orders, tickets, hooks, a waiting room; and so that no route is tried in vain.

    tour = Tour(shop, people, things, judge)
    tour.all()          everything; an answer that is no success is a failed assertion
    tour.good           {(method, template)} that succeeded
    tour.things         a valid value by the name of a parameter or member; of a room: tour.queued
"""
import hashlib
import hmac
import http.client
import json
import re
import time
import urllib.parse

ROOM = {"users": 50, "beacon": {"source": "test", "round": 1}}
SMALL = {"version": 1, "name": "Closet", "currency": "EUR", "limits": {"hold_s": 600, "seats_per_user": 4},
         "tiers": [{"name": "One", "price_minor": 900}],
         "sections": [{"name": "Row", "kind": "seats", "tier": "One", "rows": [{"label": "A", "seats": {"from": 1, "to": 2}}]}]}


class Tour:
    def __init__(self, shop, people, things, judge):
        self.shop, self.people, self.things, self.judge, self.good = shop, people, things, judge, set()

    def go(self, role, method, template, body=None, headers=None, wait=False, raw=False, **named):
        """One request, with what `things` and `named` have for the parameters; again for a while if it is not there
        yet (wait: statuses, or a function of the answer that is true at last). ret: its JSON, or its bytes."""
        path = re.sub(r"\{([^}]+)\}", lambda found: urllib.parse.quote(str({**self.things, **named}[found[1]])), template)
        path += "".join("?" + name[1:] + "=" + str(value) for name, value in named.items() if name.startswith("_"))
        head = {**(self.people[role].head if role else {}), **(headers or {})}
        end = time.monotonic() + 60
        while True:
            call = {"POST": lambda: self.shop.post(path, body, headers=head)}.get(
                method, lambda: self.shop.request(method, path, body, head))
            answer = call()
            self.judge((method, path, body), template, answer)
            again = answer.status in (503, *(wait if isinstance(wait, tuple) else ()))
            if callable(wait):
                again = again or answer.status == 404 or (answer.status < 400 and not wait(answer.json()))
            if not again or time.monotonic() > end:
                break
            time.sleep(0.1)
        assert answer.status < 400, (role, method, path, body, answer)
        self.good.add((method, template))
        return answer.json() if not raw and answer.headers.get("Content-Type", "").startswith("application/json") and answer.body else answer

    def get(self, role, template, **more):
        return self.go(role, "GET", template, **more)

    def post(self, role, template, body=None, **more):
        return self.go(role, "POST", template, body if body is not None else {}, **more)

    def code_for(self, to):
        with open(self.shop.folder + "/codes", encoding="utf-8") as file:
            return [c["code"] for c in map(json.loads, file) if c["to"] == to][-1]

    def all(self):
        for part in (self.everybody, self.selves, self.catalogue, self.buying, self.sold_out, self.hooks, self.room, self.office,
                     self.stream, self.provider, self.leaving):
            part()
        self.people.pop("friend", None)
        self.people.pop("other", None)

    # ---- parts ----

    def everybody(self):
        for template in ("/healthz", "/readyz", "/openapi.json", "/.well-known/jwks.json", "/v1/gate/keys", "/v1/gate/revocations",
                         "/v1/events", "/v1/search", "/v1/events/{event}", "/v1/venues", "/v1/venues/{venue}", "/v1/performers",
                         "/v1/events/{event}/availability"):
            self.get(None, template, **({"_event": self.things["event"]} if template.endswith("revocations") else {}))
        moved = self.get(None, "/v1/events/{event}/map", wait=(404,), raw=True)
        self.things["hash"] = moved.headers["Location"].rsplit("/", 1)[1]
        self.get(None, "/v1/maps/{hash}", wait=(404,))

    def session(self, name, mail):
        challenge = self.post(None, "/v1/sign-in", {"mail": mail})["challenge"]
        template = "/v1/sign-in/code"
        answer = self.shop.post(template, {"challenge": challenge, "code": self.code_for(mail)}, key="")
        self.judge(("POST", template, None), template, answer)
        assert answer.status == 200, answer
        self.good.add(("POST", template))
        self.people[name] = type("Session", (), {"head": {"Cookie": answer.headers["Set-Cookie"].partition(";")[0],
                                                          "X-CSRF-Token": answer.json()["csrf"]}})

    def selves(self):
        self.session("friend", "fuzz-friend@mail.example")
        self.session("other", "fuzz-other@mail.example")
        self.get("buyer", "/v1/me")
        self.go("buyer", "PATCH", "/v1/me", json.dumps({"name": "Fuzz Person"}), {"Content-Type": "application/json"})
        self.get("buyer", "/v1/me/export")
        challenge = self.post("buyer", "/v1/me/verify", {"phone": "+4930112233"})["challenge"]
        self.post("buyer", "/v1/me/verify/code", {"challenge": challenge, "code": self.code_for("+4930112233")})
        self.post("buyer", "/v1/events/{event}/fans")

    def make_event(self, plan, **more):
        event = self.post("promoter", "/v1/admin/events", {
            "name": "Tour", "category": "rock", "performers": ["Ada"], "venue": int(self.things["venue"]),
            "starts": "2031-01-02T19:30:00Z", "plan": plan, **more})["event"]
        self.post("promoter", "/v1/admin/events/{event}/publish", event=event)
        return str(event)

    def catalogue(self):
        venue = self.post("promoter", "/v1/admin/venues", {"name": "Hut", "city": "London", "country": "GB",
                                                           "timezone": "Europe/London"})["venue"]
        self.get(None, "/v1/venues/{venue}", venue=venue)
        self.small = self.make_event(SMALL)
        self.go("promoter", "PATCH", "/v1/admin/events/{event}", json.dumps({"description": "word"}),
                {"Content-Type": "application/json"}, event=self.small)
        self.post("promoter", "/v1/admin/events/{event}/status", {"status": "pause"}, event=self.small)
        self.post("promoter", "/v1/admin/events/{event}/status", {"status": "open"}, event=self.small)
        self.post("promoter", "/v1/admin/import", {"events": []})
        self.post("promoter", "/v1/admin/events/{event}/codes", {"channel": 2, "count": 1})

    def hold(self, role="buyer", event=None, count=1):
        return self.post(role, "/v1/events/{event}/holds", {"best": {"count": count}}, event=event or self.things["event"],
                         wait=(404,))["hold"]

    def pay(self, role, hold):
        return self.post(role, "/v1/holds/{hold}/payments", hold=hold, wait=(404,))

    def buy(self):
        hold = self.hold()
        payment = self.pay("buyer", hold)
        secret = payment["client_secret"]
        provider = http.client.HTTPConnection("127.0.0.1", self.shop.sandbox.port, timeout=60)
        provider.request("POST", f"/v1/payment_intents/{secret.partition('_secret')[0]}/confirm",
                         urllib.parse.urlencode({"client_secret": secret, "payment_method": "pm_card_visa"}),
                         {"Authorization": "Bearer pk_test_usher", "Content-Type": "application/x-www-form-urlencoded"})
        assert provider.getresponse().status == 200
        self.get("buyer", "/v1/payments/{payment}", payment=payment["id"], wait=lambda body: body["state"] == "sold")
        self.get("buyer", "/v1/orders/{order}", order=hold, wait=(404,))
        return hold, payment["id"], secret.partition("_secret")[0]

    def buying(self):
        hold = self.hold(count=2)
        seats = self.get("buyer", "/v1/holds/{hold}", hold=hold, wait=(404,))["seats"]
        self.go("buyer", "PATCH", "/v1/holds/{hold}", json.dumps({"release": seats[:1]}), {"Content-Type": "application/json"}, hold=hold)
        self.go("buyer", "DELETE", "/v1/holds/{hold}", hold=hold)
        payment = self.pay("buyer", self.hold())["id"]
        self.post("buyer", "/v1/payments/{payment}/cancel", payment=payment)
        given, _, self.intent = self.buy()
        code = self.post("buyer", "/v1/orders/{order}/transfers", order=given)["code"]
        self.post("friend", "/v1/transfers/{code}/accept", code=code)
        order, payment, _ = self.buy()
        self.things.update(order=order, payment=payment)
        self.get("buyer", "/v1/orders")
        tickets = self.get("buyer", "/v1/orders/{order}/tickets", wait=lambda body: body["items"])["items"]
        self.things["ticket"] = re.sub(r".*/|[.]png$", "", tickets[0]["png"])
        for template in ("/v1/orders/{order}/tickets.html", "/v1/orders/{order}/receipt", "/v1/orders/{order}/receipt.html",
                         "/v1/tickets/{ticket}.png"):
            self.get("buyer", template)
        refunded, _, _ = self.buy()
        self.post("buyer", "/v1/orders/{order}/refunds", order=refunded)
        self.things["hold"] = self.hold()

    def sold_out(self):
        self.hold("friend", self.small, 2)
        entry = self.post("buyer", "/v1/events/{event}/waitlist", {"seats": 1}, event=self.small, wait=(409,))["entry"]
        other = self.post("other", "/v1/events/{event}/waitlist", {"seats": 1}, event=self.small)["entry"]
        self.get("buyer", "/v1/waitlist/{entry}", entry=entry, wait=(404,))
        self.go("other", "DELETE", "/v1/waitlist/{entry}", entry=other, wait=(404,))
        self.things["entry"] = entry

    def hooks(self):
        hooks = [self.post("promoter", "/v1/hooks", {"url": "https://hooks.example/x", "kinds": ["order.sold"]})["hook"] for _ in "ab"]
        self.get("promoter", "/v1/hooks")
        self.get("promoter", "/v1/hooks/{hook}/deliveries", hook=hooks[0])
        self.post("promoter", "/v1/hooks/{hook}/replay", {"from": 1}, hook=hooks[0])
        self.post("promoter", "/v1/hooks/{hook}/secret", hook=hooks[0])
        self.go("promoter", "DELETE", "/v1/hooks/{hook}", hook=hooks[1])
        self.things["hook"] = hooks[0]

    def room(self):
        event = self.make_event(SMALL)
        room = "/v1/events/{event}/queue"
        control = lambda action, **more: self.post("operator", "/v1/admin/events/{event}/queue", {"action": action, **more}, event=event)
        control("open", **ROOM)
        self.get("operator", "/v1/admin/events/{event}/queue", event=event)
        ticket = self.post("buyer", room, event=event)["ticket"]
        head = {"Usher-Ticket": ticket}
        self.get(None, room, event=event, wait=(404,))
        self.get("buyer", room + "/place", event=event, headers=head)
        control("close")
        self.get(None, room + "/draw", event=event, wait=(404, 409))
        self.get("buyer", room + "/proof", event=event, headers=head, wait=(404, 409))
        control("draw", value="5eed" * 16)
        self.post("buyer", room + "/exchange", {"ticket": ticket}, event=event, wait=(409, 429))
        self.queued = {"event": event, "ticket": ticket, "Usher-Ticket": ticket}

    def office(self):
        prefix = self.post("promoter", "/v1/admin/keys", {"name": "gate", "scope": "read"})["prefix"]
        self.get("promoter", "/v1/admin/keys")
        self.go("promoter", "DELETE", "/v1/admin/keys/{prefix}", prefix=prefix)
        self.post("operator", "/v1/admin/accounts", {"mail": "fuzz-buyer2@mail.example", "role": "buyer"})
        self.get("operator", "/v1/admin/audit")
        self.get("operator", "/v1/admin/disputes")
        self.get("operator", "/v1/admin/reconciliation", wait=(404, 409))
        self.get("operator", "/v1/admin/events/{event}/dispute-policy")
        self.post("operator", "/v1/admin/events/{event}/dispute-policy", {"lost": "keep"})
        self.post("operator", "/v1/admin/access-keys")
        self.post("operator", "/v1/admin/ticket-keys", {"after_s": 0})
        self.post("operator", "/v1/admin/ticket-keys/{key}/retire", key="1")

    def stream(self):
        """It has no end: its head, and its first bytes."""
        template = "/v1/events/{event}/changes"
        connection = self.shop.connect()
        connection.request("GET", template.replace("{event}", self.things["event"]))
        answer = connection.getresponse()
        assert answer.status == 200 and answer.read(1), answer.status
        connection.close()
        self.good.add(("GET", template))

    def provider(self):
        body = json.dumps({"id": "evt_tour", "type": "payment_intent.succeeded", "created": 1,
                           "data": {"object": {"id": self.intent, "object": "payment_intent"}}})
        now = int(time.time())
        mac = hmac.new(b"whsec_usher", f"{now}.{body}".encode(), hashlib.sha256).hexdigest()
        self.post(None, "/v1/provider/webhooks", body, headers={"Stripe-Signature": f"t={now},v1={mac}",
                                                                "Content-Type": "application/json"})

    def leaving(self):
        self.go("operator", "POST", "/v1/admin/events/{event}/refund-all", {}, event=self.small)
        self.go("other", "DELETE", "/v1/session")
        self.session("other", "fuzz-other@mail.example")
        self.go("other", "DELETE", "/v1/me")
