from __future__ import annotations

import inspect

from jupyter_mlops.tracker.operations import NOUNS, OPERATIONS

STREAMS = {"put", "put_folder", "put_part", "open", "download"}
"""Bytes go ways of their own."""
LOCAL = {"check_location"}
"""What only who stores by themselves needs to know."""


def test_every_method_of_the_protocol_is_an_operation() -> None:
    methods = {
        f"{noun}.{name}"
        for noun, kind in NOUNS.items()
        for name, value in vars(kind).items()
        if noun and inspect.isfunction(value) and not name.startswith("_") and name not in STREAMS | LOCAL
    }
    assert {operation.id for operation in OPERATIONS} == methods | {
        "compare",
        "compare_notebooks",
        "audit",
        "audit_head",
        "audit_verify",
        "audit_export",
        "issue_token",
        "revoke_token",
        "gc",
    }


def test_no_two_operations_are_called_alike() -> None:
    assert len({(operation.method, operation.path) for operation in OPERATIONS}) == len(OPERATIONS)


def test_what_a_path_names_is_a_parameter() -> None:
    for operation in OPERATIONS:
        assert set(operation.in_path) <= operation.signature.parameters.keys(), operation.id
