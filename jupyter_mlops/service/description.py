"""``openapi.json``: the API in the words of OpenAPI 3.1, made from the declarations that route and validate."""

from __future__ import annotations

import functools
import re
from typing import Any

import msgspec

from jupyter_mlops._version import __version__
from jupyter_mlops.core.access import Principal
from jupyter_mlops.core.pages import ServicePage
from jupyter_mlops.core.records import Artifact, Happening, Part
from jupyter_mlops.service.bounds import bound
from jupyter_mlops.tracker import wire
from jupyter_mlops.tracker.operations import (
    MODEL_ARCHIVE,
    OPERATIONS,
    PAGE,
    PRINCIPAL,
    RUN_CONTENT,
    UPLOAD_CONTENT,
    VERSION_CONTENT,
    Operation,
)

_REF = "#/components/schemas/{name}"
_SPECIAL = {"enum": ["NaN", "Infinity", "-Infinity"]}
_ERRORS = {
    "400": "What was sent cannot be accepted; the message says what would be right.",
    "401": "Nobody knows who is asking.",
    "403": "The credential does not allow this.",
    "404": "No such thing, or not yours to see.",
    "409": "The thing is in a state that does not allow this.",
    "413": "More at once than is taken.",
    "416": "The file has none of the bytes in the range.",
    "429": "More requests than the caller may make; the header Retry-After says when to ask again.",
    "503": "The store does not answer now; the same request may succeed later.",
    "507": "No room left, or a quota is used up; nothing half written is visible.",
}

Schema = dict[str, Any]


@functools.lru_cache(maxsize=2)
def document(url: str = ".") -> bytes:
    """The description, as JSON, of the API at ``url``: a path from the host's root on, since few programs know what a
    relative one is relative to. By default, the API is where the description is."""
    # What happens is told by the WebSocket, for which OpenAPI has no words: it is among the schemas only.
    types: list[Any] = [Principal, ServicePage | None, Artifact, Part, wire.Problem, Happening]
    for operation in OPERATIONS:
        types += [operation.answer, *_parts(operation)]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    by_type = dict(zip(map(_key, types), schemas, strict=True))
    _allow_special_numbers(components)
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        path = paths.setdefault(f"/{operation.path}", {})
        path[operation.method.lower()] = _described(operation, by_type, components)
    paths[f"/{PRINCIPAL}"] = {"get": _plain("principal", "Who the caller is taken for.", by_type[_key(Principal)])}
    paths[f"/{PAGE}"] = {"get": _plain("page", "Where people see what is here.", by_type[_key(ServicePage | None)])}
    paths |= _content(by_type[_key(Artifact)], by_type[_key(Part)])
    _bind(paths, components)
    _close(paths, by_type[_key(Happening)], components)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "jupyter-mlops", "version": __version__},
            "servers": [{"url": url}],
            "security": [{"token": []}],
            "paths": paths,
            "components": {
                "schemas": components,
                "responses": _failures(),
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            },
        }
    )


def _key(kind: Any) -> str:
    return repr(kind)


def _parts(operation: Operation) -> list[type[msgspec.Struct]]:
    return [operation.path_fields, operation.body if operation.has_body else operation.query]


def _described(operation: Operation, schemas: dict[str, Schema], components: Schema) -> Schema:
    in_path, rest = (_resolved(schemas[_key(part)], components) for part in _parts(operation))
    described = _plain(
        operation.id,
        _first_sentence(operation),
        None if operation.answer is type(None) else schemas[_key(operation.answer)],
    )
    described["x-scope"] = operation.scope.name.lower()
    described["parameters"] = [
        *_parameters(in_path, "path"),
        *([] if operation.has_body else _parameters(rest, "query")),
    ]
    if operation.has_body:
        required = bool(rest.get("required"))
        described["requestBody"] = {"required": required, "content": {wire.JSON: {"schema": rest}}}
    return described


def _plain(id: str, summary: str, answer: Schema | None) -> Schema:
    good: Schema = {"description": "Done."}
    if answer is not None:
        good["content"] = {wire.JSON: {"schema": answer}}
    failures = {status: {"$ref": f"#/components/responses/error{status}"} for status in _ERRORS if status != "416"}
    return {
        "operationId": id,
        "summary": summary,
        "tags": [id.rpartition(".")[0] or "service"],
        "responses": {"204" if answer is None else "200": good, **failures},
    }


def _failures() -> Schema:
    content = {wire.JSON: {"schema": {"$ref": _REF.format(name="Problem")}}}
    return {f"error{status}": {"description": text, "content": content} for status, text in _ERRORS.items()}


def _content(artifact: Schema, part_record: Schema) -> dict[str, Schema]:
    path = _query("path", {"type": "string"}, required=True)
    part = [_query(name, {"type": "integer", "minimum": 0}) for name in ("start", "stop")]
    part.append(_query("digest", {"type": "string", "pattern": "^[0-9a-f]{64}$"}))
    octets = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}

    def parameters(template: str) -> list[Schema]:
        return [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"{(\w+)}", template)
        ]

    def download(id: str, template: str) -> Schema:
        described = _plain(id, "The bytes of a file, whole or a part.", None)
        described["responses"]["200"] = {"description": "The bytes.", "content": octets}
        del described["responses"]["204"]
        described["responses"]["206"] = described["responses"]["200"]
        described["responses"]["304"] = {"description": "The bytes are those of the ETag that was sent."}
        described["responses"]["416"] = {"$ref": "#/components/responses/error416"}
        return {**described, "parameters": [*parameters(template), path, *part]}

    upload = _plain("artifacts.put", "Store a file under a path, replacing what was there.", artifact)
    upload["parameters"] = [*parameters(RUN_CONTENT), path]
    upload["requestBody"] = {"required": True, "content": octets}
    part_of = _plain("artifacts.put_part", "Bring bytes of a file of an upload, which a commit stores.", part_record)
    offset = _query("offset", {"type": "integer", "minimum": 0}, required=True)
    total = _query("total", {"type": "integer", "minimum": 0, "description": "Bytes of the whole file."})
    part_of["parameters"] = [*parameters(UPLOAD_CONTENT), path, offset, total]
    part_of["requestBody"] = upload["requestBody"]
    whole = _plain("models.archive", "All files of a version as a tar archive.", None)
    whole["responses"]["200"] = {
        "description": "The archive.",
        "content": {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}},
    }
    del whole["responses"]["204"]
    whole["responses"]["304"] = {"description": "The reference names the version of the ETag that was sent."}
    reference = _query("reference", {"type": "string", "description": "A number, @ALIAS or latest."}, required=True)
    consumer = _query("consumer", {"type": "string", "description": "What loads it, for those who change it."})
    whole["parameters"] = [*parameters(MODEL_ARCHIVE), reference, consumer]
    one_file = download("models.open", VERSION_CONTENT)
    one_file["parameters"].append(consumer)
    return {
        f"/{MODEL_ARCHIVE}": {"get": whole},
        f"/{RUN_CONTENT}": {"get": download("artifacts.open", RUN_CONTENT), "put": upload},
        f"/{UPLOAD_CONTENT}": {"put": part_of},
        f"/{VERSION_CONTENT}": {"get": one_file},
    }


def _query(name: str, schema: Schema, *, required: bool = False) -> Schema:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _parameters(fields: Schema, where: str) -> list[Schema]:
    required = set(fields.get("required", ()))
    return [
        {"name": name, "in": where, "required": where == "path" or name in required, "schema": schema}
        for name, schema in fields["properties"].items()
    ]


def _resolved(schema: Schema, components: Schema) -> Schema:
    """The schema itself instead of a reference to it, which is taken out."""
    name = schema["$ref"].rpartition("/")[2]
    found: Schema = components.pop(name)
    return found


def _first_sentence(operation: Operation) -> str:
    text = " ".join((operation.function.__doc__ or "").split())
    plain = re.sub(r":\w+:`~?([^`]+)`|``([^`]+)``", lambda match: match[1] or match[2], text)
    return re.split(r"(?<=[.;])\s", plain, maxsplit=1)[0].rstrip(";") if plain else f"{operation.name} {operation.noun}"


def _close(paths: dict[str, Schema], happening: Schema, components: Schema) -> None:
    """What only requests have takes no unknown field. Answers may get further ones, which clients pass over."""
    asked: set[str] = set()
    told: set[str] = set()
    _reach(happening, components, told)
    for described in (operation for path in paths.values() for operation in path.values()):
        _reach(described.get("requestBody"), components, asked)
        _reach(described["responses"], components, told)
    for name in asked - told:
        if components[name].get("type") == "object":
            components[name]["additionalProperties"] = False


def _bind(paths: dict[str, Schema], components: Schema) -> None:
    """Say what parameters and fields keep to."""
    for described in (operation for path in paths.values() for operation in path.values()):
        id = described["operationId"]
        for parameter in described.get("parameters", ()):
            parameter["schema"] = bound(f"{id}.{parameter['name']}", parameter["schema"])
        body = described.get("requestBody", {}).get("content", {}).get(wire.JSON, {}).get("schema", {})
        _bind_fields(id, body)
    for name, component in components.items():
        _bind_fields(name, component)


def _bind_fields(name: str, schema: Schema) -> None:
    fields = schema.get("properties", {})
    for field, found in fields.items():
        fields[field] = bound(f"{name}.{field}", found)


def _reach(schema: Any, components: Schema, found: set[str]) -> None:
    """Add the names of the components that are in ``schema``, or in one of those."""
    if isinstance(schema, dict):
        name = str(schema.get("$ref", "")).removeprefix(_REF.format(name=""))
        if name in components and name not in found:
            found.add(name)
            _reach(components[name], components, found)
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        _reach(inner, components, found)


def _allow_special_numbers(components: Schema) -> None:
    """JSON has no word for what a metric may be; see :mod:`..tracker.wire`."""
    for name in ("Metric", "MetricSummary", "ModelMetric"):
        fields = components[name]["properties"]
        fields["value"] = {"anyOf": [fields["value"], _SPECIAL]}
    for name in ("min", "max"):
        components["MetricSummary"]["properties"][name]["anyOf"].append(_SPECIAL)
    point = components["MetricPoint"]["prefixItems"]
    point[2] = {"anyOf": [point[2], _SPECIAL]}
