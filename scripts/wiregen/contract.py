# SPDX-License-Identifier: Apache-2.0
"""What each operation uses and answers, and the bodies of extensions; checked against the table."""
import pathlib
import tomllib

from .table import TableError, field_bytes

PATH = pathlib.Path(__file__).with_name("contract.toml")


def names_of(wire: dict, enum: str) -> dict[str, int]:
    """{name: value} of an enum of the wire table."""
    return {value["name"]: value["value"] for value in find(wire, "enum", enum)["values"]}


def find(wire: dict, kind: str, name: str) -> dict:
    """The entry `name` of wire[kind]."""
    for entry in wire[kind]:
        if entry["name"] == name:
            return entry
    raise TableError(f"no {kind} {name}")


def fixed_bytes(body: dict) -> int:
    """Bytes of header and fixed fields."""
    return 8 + sum(field_bytes(field) for field in body.get("fields", []))


def require(known, names, where: str) -> None:
    for name in names:
        if name not in known:
            raise TableError(f"contract: {where}: unknown {name}")


def check_operation(wire: dict, contract: dict, operation: dict) -> None:
    where = operation["name"]
    fields = [field["name"] for field in find(wire, "struct", "request")["fields"]]
    require(fields, operation.setdefault("uses", {}), where)
    require(fields, operation.setdefault("optional", []), where)
    require(contract["bodies"], operation["extensions"], where)
    require(names_of(wire, "status"), [answer["status"] for answer in operation["answers"]], where)
    values = find(wire, "enum", "op")["values"]
    operation["doc"], operation["privileged"] = next(
        (value["doc"], value["class"] == "privileged") for value in values if value["name"] == where
    )
    if operation["privileged"] and "Control port only." not in operation["doc"]:
        raise TableError(f"contract: {where}: privileged, but its text does not say so")


def check_body(body: dict) -> None:
    at = 8
    for field in body.setdefault("fields", []):
        if field["at"] != at:
            raise TableError(f"contract: {body['extension']}.{field['name']}: at {field['at']}, expected {at}")
        at += field_bytes(field)
    if at % 8 or sum(part["bits"] for part in body.setdefault("value", [])) not in (0, 32):
        raise TableError(f"contract: {body['extension']}: body is not whole words")


def load(wire: dict) -> dict:
    """Returns the checked contract; `bodies` maps extension names, `operations` operation names."""
    with open(PATH, "rb") as file:
        contract = tomllib.load(file)
    contract["bodies"] = {body["extension"]: body for body in contract["body"]}
    contract["operations"] = {operation["name"]: operation for operation in contract["operation"]}
    for body in contract["body"]:
        check_body(body)
    if list(contract["bodies"]) != list(names_of(wire, "extension")):
        raise TableError("contract: bodies and the extension enum differ")
    if list(contract["operations"]) != list(names_of(wire, "op")):
        raise TableError("contract: operations and the op enum differ")
    require(contract["bodies"], contract["carried"], "carried")
    for operation in contract["operation"]:
        check_operation(wire, contract, operation)
    return contract
