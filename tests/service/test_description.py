"""The description is true: what it says may be sent is answered as it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from jupyter_mlops.service.description import document
from jupyter_mlops.tracker.operations import OPERATIONS, Operation
from tests.service.described import Described

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
)


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_answers_are_as_described(described: Described, known: Mapping[str, str], operation: Operation) -> None:
    cases = described.schema[f"/{operation.path}"][operation.method].as_strategy()
    headers = {"Authorization": f"token {described.token}"}

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=cases, found=st.booleans())
    def check(case: Any, found: bool) -> None:
        if found:
            case.path_parameters.update({name: known[name] for name in case.path_parameters})
        case.call_and_validate(headers=headers, checks=CHECKS)

    check()


def test_what_only_requests_have_takes_no_unknown_field() -> None:
    schemas = json.loads(document())["components"]["schemas"]
    closed = {name for name, schema in schemas.items() if schema.get("additionalProperties") is False}
    assert {"NewRun", "Batch", "Metric", "ModelPoint", "RunChange", "StreamPosition"} <= closed
    assert not {"Run", "Tag", "Param", "Policy", "Problem", "Happening"} & closed


def test_every_operation_is_described() -> None:
    text = document().decode()
    for operation in OPERATIONS:
        assert f'"operationId":"{operation.id}"' in text
