# SPDX-License-Identifier: Apache-2.0
"""docs/api/openapi.yaml says what the conductor answers: its table of routes, and real answers."""
import pathlib
import subprocess

import pytest
import yaml

from conftest import HOLDFAST, wait_until
from test_conductor import Conductors

DOCUMENT = yaml.safe_load((pathlib.Path(__file__).parents[2] / "docs/api/openapi.yaml").read_text(
    encoding="utf-8"))
TYPES = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list,
         "object": dict}


def resolve(node):
    while "$ref" in node:
        found = DOCUMENT
        for part in node["$ref"].split("/")[1:]:
            found = found[part]
        node = found
    return node


def problems(value, schema, place):
    """What in the value is not as the schema says; also a field that it does not have."""
    schema = resolve(schema)
    if value is None:
        return [] if schema.get("nullable") else [f"{place} is null"]
    if not isinstance(value, TYPES[schema["type"]]) or \
            isinstance(value, bool) != (schema["type"] == "boolean"):
        return [f"{place} is no {schema['type']}: {value!r}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{place} is none of its values: {value!r}"]
    found = []
    for i, item in enumerate(value if schema["type"] == "array" else []):
        found += problems(item, schema["items"], f"{place}[{i}]")
    if schema["type"] == "object" and "properties" in schema:
        found += [f"{place} lacks {key}" for key in schema["required"] if key not in value]
        for key, item in value.items():
            known = schema["properties"].get(key)
            found += problems(item, known, f"{place}.{key}") if known else []
    return found


def test_the_document_has_each_route_of_the_table_and_no_other():
    lines = subprocess.run([HOLDFAST, "dev", "routes"], check=True, text=True,
                           capture_output=True).stdout.splitlines()
    table = {tuple(line.split(" ", 3)) for line in lines}
    documented = {(method.upper(), path, entry["x-role"], entry["summary"])
                  for path, methods in DOCUMENT["paths"].items()
                  for method, entry in methods.items()}
    assert table == documented
    for path, methods in DOCUMENT["paths"].items():
        for entry in methods.values():
            assert (entry["x-role"] == "open") == (entry.get("security") == [])
            named = {p["name"] for p in entry.get("parameters", []) if p["in"] == "path"}
            assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}


def test_a_validator_that_finds_nothing_wrong_would_be_none():
    schema = {"$ref": "#/components/schemas/Finding"}
    good = {"check": "x", "severity": "info", "accepted": False, "shard": None, "server": None,
            "problem": "p", "advice": "a"}
    assert problems(good, schema, "x") == []
    for change in ({"severity": "bad"}, {"accepted": 1}, {"check": None}, {"problem": 5}):
        assert problems({**good, **change}, schema, "x"), change
    assert problems({}, schema, "x")


@pytest.fixture
def conductors(lab):
    found = Conductors(lab)
    found.start("west-a")
    yield found
    found.stop()


def test_real_answers_are_as_the_document_says(conductors):
    lab = conductors.lab
    lab.cli("switchover", "--to", "east", "--yes")
    run = lab.json("run", "list")[0]["run"]
    primary = f"/servers/{lab.address('s0-east-1')}/primary"
    wait_until(lambda: conductors.ask("west-a", primary)[0] == 200, 5, "it is primary")
    wait_until(lambda: conductors.ask("west-a", "/v1/readiness")[0] == 200, 10, "a judgement")
    values = {"{id}": run, "{server}": lab.address("s0-east-1")}
    for path, methods in DOCUMENT["paths"].items():
        real = path
        for part, value in values.items():
            real = real.replace(part, value)
        for role in ("viewer", None) if "get" in methods else ():
            code, told = conductors.ask("west-a", real, role=role)
            answers = methods["get"]["responses"]
            answer = resolve(answers.get(str(code)) or answers["default"])
            if "application/json" in answer["content"]:
                schema = answer["content"]["application/json"]["schema"]
                assert problems(told, schema, path) == [], (code, told)
            assert code == (401 if not role and methods["get"]["x-role"] != "open" else
                            503 if path.endswith("/replica") else 200)
