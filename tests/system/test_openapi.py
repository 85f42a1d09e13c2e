#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The description at /openapi.json against the real server: the same routes both ways, keys where they are
wanted, and answers that are as their schema says.

usage: test_openapi.py BUILD-FOLDER
"""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import shop as shops  # noqa: E402
import usher_box  # noqa: E402

BUILD = sys.argv[1]
KINDS = {"object": dict, "array": list, "string": str, "boolean": bool, "number": (int, float), "integer": int}


def errors(schema, value, description, where="$"):
    """As much of JSON Schema as api.json uses. Yields what is wrong."""
    if "$ref" in schema:
        at = description
        for part in schema["$ref"][2:].split("/"):
            at = at[part]
        yield from errors(at, value, description, where)
        return
    if value is None and schema.get("nullable"):
        return
    for part in schema.get("allOf", ()):
        yield from errors(part, value, description, where)
    for word in ("oneOf", "anyOf"):
        if word in schema:
            good = sum(not list(errors(part, value, description, where)) for part in schema[word])
            if good == 0 or (word == "oneOf" and good > 1):
                yield f"{where}: {good} of {word} fit"
    kind = schema.get("type")
    if kind and (not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind != "boolean")):
        yield f"{where}: {value!r} is no {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is none of {schema['enum']}"
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{where}: {value!r} does not match {schema['pattern']}"
    if isinstance(value, (int, float)):
        if value < schema.get("minimum", value) or value > schema.get("maximum", value):
            yield f"{where}: {value} is out of range"
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from errors(schema.get("items", {}), item, description, f"{where}[{i}]")
    if isinstance(value, dict):
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{where}.{name} is missing"
        for name, item in value.items():
            if name in schema.get("properties", {}):
                yield from errors(schema["properties"][name], item, description, f"{where}.{name}")
            elif schema.get("additionalProperties") is False:
                yield f"{where}.{name} is not described"
            elif isinstance(schema.get("additionalProperties"), dict):
                yield from errors(schema["additionalProperties"], item, description, f"{where}.{name}")


def check(description, method, template, answer):
    """Is an answer as described?"""
    operation = description["paths"][template][method.lower()]
    response = operation["responses"].get(str(answer.status))
    assert response, f"{method} {template}: status {answer.status} is not described: {answer}"
    content = response.get("content", {})
    kind = (answer.headers["Content-Type"] or "").split(";")[0]
    if not content:
        return
    assert kind in content, f"{method} {template}: {answer.status} has type {kind}, described: {list(content)}"
    if kind.endswith("json") and "schema" in content[kind]:
        wrong = list(errors(content[kind]["schema"], answer.json(), description))
        assert not wrong, f"{method} {template}: {answer.status}: {wrong}"


def test_the_checker_finds_what_is_wrong():
    schema = {"type": "object", "required": ["a"], "additionalProperties": False,
              "properties": {"a": {"type": "integer", "minimum": 1}, "b": {"type": "array", "items": {"enum": ["x"]}}}}
    for value, count in (({"a": 1}, 0), ({"a": 1, "b": ["x"]}, 0), ({}, 1), ({"a": 0}, 1), ({"a": "1"}, 1),
                         ({"a": True}, 1), ({"a": 1, "b": ["y", "x"]}, 1), ({"a": 1, "c": 1}, 1), ([], 1)):
        found = list(errors(schema, value, {}))
        assert len(found) == count, (value, found)


def routes(shop):
    done = subprocess.run(shop.control_command(0) + ["--print-routes"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = {}
    for line in done.stdout.splitlines():
        method, path, key = line.split()
        found[method, path.replace("*}", "}")] = key == "key"
    return found


def test_routes_and_description_are_the_same_both_ways():
    with shops.Shop(BUILD, box=False, sandbox=False) as shop:
        description = shop.get("/openapi.json").json()
        described = {(method.upper(), path) for path, item in description["paths"].items() for method in item
                     if method != "parameters"}
        real = routes(shop)
        assert len(real) >= 3
        assert not described - set(real), f"described, not served: {sorted(described - set(real))}"
        for (method, path), key in real.items():
            if key and (method, path) in described:
                named = [p.get("name") for p in description["paths"][path][method.lower()].get("parameters", [])]
                assert "Idempotency-Key" in named, f"{method} {path} wants Idempotency-Key and does not say so"
        missing = sorted(" ".join(route) for route in set(real) - described)
        if missing:
            # Modules whose api.json is still to be written: named, and not passed over in silence.
            raise usher_box.Tap.Skip(f"{len(missing)} of {len(real)} routes are not described: {', '.join(missing)}")


def test_answers_are_as_described():
    """Without an account and a sale: each GET, with 7 for each parameter; each other one with an empty body."""
    with shops.Shop(BUILD, box=False, sandbox=False) as shop:
        description = shop.get("/openapi.json").json()
        assert shop.get("/openapi.json").headers["Cache-Control"].startswith("public")
        streams = ("changes",)
        for method, template in routes(shop):
            if template.endswith(streams) or method.lower() not in description["paths"].get(template, {}):
                continue
            path = re.sub(r"\{[a-z_]+\}", "7", template)
            if method == "GET":
                answer = shop.get(path)
            elif method == "POST":
                answer = shop.post(path, {})
            else:
                answer = shop.request(method, path, {} if method == "PATCH" else None)
            assert answer.status != 500, (method, path, answer)
            check(description, method, template, answer)


def main():
    tap = usher_box.Tap()
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            tap.run(test)
    tap.end()


if __name__ == "__main__":
    main()
