"""``mlops/server/v1/openapi.json``: the extension's own requests in the words of OpenAPI 3.1."""

from __future__ import annotations

import functools
import re
from typing import Any

import msgspec

from jupyter_mlops._version import __version__
from jupyter_mlops.server.operations import ENDPOINTS, Endpoint
from jupyter_mlops.tracker import wire

_REF = "#/components/schemas/{name}"


@functools.lru_cache(maxsize=2)
def document(url: str = ".") -> bytes:
    """The description, as JSON, of the requests at ``url``, as :func:`jupyter_mlops.service.description.document`."""
    types = [kind for endpoint in ENDPOINTS for kind in (endpoint.request, endpoint.answer)]
    schemas, components = msgspec.json.schema_components([*types, wire.Problem], ref_template=_REF)
    by_type = dict(zip(types, schemas, strict=False))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        described = _described(endpoint, by_type[endpoint.answer], components[endpoint.request.__name__])
        paths.setdefault(f"/{endpoint.path}", {})[endpoint.method.lower()] = described
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "jupyter-mlops in a Jupyter server", "version": __version__},
            "servers": [{"url": url}],
            "security": [{"token": []}],
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            },
        }
    )


def _described(endpoint: Endpoint, answer: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", endpoint.path)
    ]
    described: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "x-scope": endpoint.scope.name.lower(),
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done.", "content": {wire.JSON: {"schema": answer}}},
            "default": {
                "description": "Why not, and what would be right.",
                "content": {wire.JSON: {"schema": {"$ref": _REF.format(name="Problem")}}},
            },
        },
    }
    required = request.get("required", [])
    if endpoint.has_body:
        content = {wire.JSON: {"schema": {"$ref": _REF.format(name=endpoint.request.__name__)}}}
        described["requestBody"] = {"required": bool(required), "content": content}
    else:
        parameters += [
            {"name": name, "in": "query", "required": name in required, "schema": schema}
            for name, schema in request["properties"].items()
        ]
    return described
