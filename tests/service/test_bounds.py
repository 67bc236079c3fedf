"""What the description says of lengths and ranges is what the service keeps to: the last value that it allows is not
refused for itself, the next one is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import pytest
import requests

from jupyter_mlops.service.bounds import BOUNDS
from jupyter_mlops.service.description import document
from tests.service.described import Described, known_to

DESCRIPTION = json.loads(document())
REFUSED = ("too long", "out of range", "is empty", "is not accepted")

Schema = dict[str, Any]


class Request(NamedTuple):
    """What may be sent, where, and how: as the query's ``params`` or as ``json``."""

    id: str
    method: str
    path: str
    part: str
    fields: Mapping[str, Schema]
    needed: frozenset[str]


def described_requests() -> Iterator[Request]:
    for path, methods in DESCRIPTION["paths"].items():
        for method, operation in methods.items():
            query = [each for each in operation.get("parameters", ()) if each["in"] == "query"]
            fields = {each["name"]: each["schema"] for each in query}
            needed = frozenset(each["name"] for each in query if each["required"])
            yield Request(operation["operationId"], method, path, "params", fields, needed)
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            fields, needed = body.get("properties", {}), frozenset(body.get("required", ()))
            yield Request(operation["operationId"], method, path, "json", fields, needed)


REQUESTS = tuple(described_requests())


def largest(schema: Schema, beyond: int) -> Any:
    """The greatest value that is allowed, or one by so much greater; None where there is none."""
    for kind in schema.get("anyOf", [schema]):
        if "maximum" in kind:
            return kind["maximum"] + beyond
        if "maxLength" in kind:
            # No part of it is too long for the name of a file.
            length = kind["maxLength"] + beyond
            return "".join("/" if at % 256 == 255 and at + 1 < length else "x" for at in range(length))
    return None


def usual(schema: Schema) -> Any:
    if schema.get("type") == "string":
        return "x"
    return 1 if schema.get("type") == "integer" else None


BOUND = [(request, name) for request in REQUESTS for name, schema in request.fields.items() if largest(schema, 0)]


@pytest.fixture(scope="module")
def everything(described: Described) -> Mapping[str, str]:
    return known_to(described)


@pytest.mark.parametrize(("request_", "name"), BOUND, ids=[f"{request.id}-{name}" for request, name in BOUND])
def test_the_largest_value_is_allowed_and_the_next_is_not(
    described: Described, everything: Mapping[str, str], request_: Request, name: str
) -> None:
    url = described.url + request_.path.format_map(everything)
    given = {needed: usual(request_.fields[needed]) for needed in request_.needed}
    for beyond in (0, 1):
        sent: Any = {request_.part: {**given, name: largest(request_.fields[name], beyond)}}
        headers = {"Authorization": f"token {described.token}"}
        answer = requests.request(request_.method, url, headers=headers, timeout=60, **sent)
        if beyond:
            assert answer.status_code == 400, answer.text
        elif answer.status_code == 400:
            assert not any(words in answer.text for words in REFUSED), answer.text


def test_each_bound_is_one_of_something_that_there_is() -> None:
    names = {f"{request.id}.{name}" for request in REQUESTS for name in request.fields}
    schemas = DESCRIPTION["components"]["schemas"]
    names |= {f"{component}.{name}" for component in schemas for name in schemas[component].get("properties", ())}
    names |= {
        f"{operation['operationId']}.{parameter['name']}"
        for methods in DESCRIPTION["paths"].values()
        for operation in methods.values()
        for parameter in operation.get("parameters", ())
    }
    for pattern, _ in BOUNDS:
        assert any(fnmatchcase(name, pattern) for name in names), pattern
