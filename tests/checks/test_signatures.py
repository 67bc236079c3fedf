"""Which models can take the place of which."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jupyter_mlops.checks.signatures import incompatibilities

AGE = {"name": "age", "type": "double", "required": True}
SPENT = {"name": "spent", "type": "long", "required": True}
NOTE = {"name": "note", "type": "string", "required": False}
NEEDED_NOTE = {**NOTE, "required": True}
SCORE = {"name": "score", "type": "double", "required": True}
LONG_SCORE = {**SCORE, "type": "long"}


def tensor(dtype: str, *shape: int, **more: Any) -> dict[str, Any]:
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": list(shape)}, **more}


def mlmodel(inputs: Any = None, outputs: Any = None, params: Any = None) -> dict[str, Any]:
    parts = {"inputs": inputs, "outputs": outputs, "params": params}
    return {"signature": {name: None if part is None else json.dumps(part) for name, part in parts.items()}}


@pytest.mark.parametrize(
    ("candidate", "champion", "problems"),
    [
        (mlmodel([AGE]), mlmodel([AGE]), []),
        # Where nothing was promised, nothing can break.
        ({}, {}, []),
        (mlmodel([AGE]), {}, []),
        ({}, mlmodel([AGE]), ["it has no signature"]),
        (mlmodel(), mlmodel([AGE]), ["it says nothing of its inputs"]),
        # It may take less, and more that can be left out.
        (mlmodel([AGE]), mlmodel([AGE, SPENT]), []),
        (mlmodel([AGE, NOTE]), mlmodel([AGE]), []),
        (mlmodel([AGE, SPENT]), mlmodel([AGE]), ["it needs the input 'spent'"]),
        (
            mlmodel([AGE, {**NOTE, "required": True}]),
            mlmodel([AGE, NOTE]),
            ["the input 'note' may not be left out any more"],
        ),
        (mlmodel([{**AGE, "type": "string"}]), mlmodel([AGE]), ["the input 'age' is string, not double"]),
        # It may give more, not less.
        (mlmodel([AGE], [SCORE, NOTE]), mlmodel([AGE], [SCORE]), []),
        (mlmodel([AGE], [NOTE]), mlmodel([AGE], [SCORE]), ["it does not give 'score'"]),
        (
            mlmodel([AGE], [{**SCORE, "type": "long"}]),
            mlmodel([AGE], [SCORE]),
            ["the output 'score' is long, not double"],
        ),
        # Without names, by place.
        (mlmodel([{"type": "double"}] * 2), mlmodel([{"type": "double"}] * 3), ["it takes 2 inputs, not 3"]),
        (mlmodel([tensor("float64", -1, 3)]), mlmodel([tensor("float64", -1, 3)]), []),
        (mlmodel([tensor("float64", -1, 3)]), mlmodel([tensor("float64", 2, 3)]), []),
        (
            mlmodel([tensor("float64", 2, 3)]),
            mlmodel([tensor("float64", -1, 3)]),
            ["the input '0' is a tensor of float64 [2, 3], not a tensor of float64 [-1, 3]"],
        ),
        (mlmodel([AGE], [tensor("long", 2)]), mlmodel([AGE], [tensor("long", -1)]), []),
        (
            mlmodel([tensor("float32", -1, 4)]),
            mlmodel([tensor("float64", -1, 3)]),
            ["the input '0' is a tensor of float32 [-1, 4], not a tensor of float64 [-1, 3]"],
        ),
        (mlmodel([AGE], [{"type": "long"}]), mlmodel([AGE], [{"type": "long"}] * 2), ["it gives fewer outputs"]),
        (
            mlmodel([AGE], params=[]),
            mlmodel([AGE], params=[{"name": "depth", "type": "long", "default": 1, "shape": None}]),
            ["it takes no parameter 'depth'"],
        ),
    ],
)
def test_incompatibilities(candidate: dict[str, Any], champion: dict[str, Any], problems: list[str]) -> None:
    assert incompatibilities(candidate, champion) == problems


@pytest.mark.parametrize(
    "malformed",
    [{"inputs": "{"}, {"inputs": "[1]"}, {"inputs": 7}, {"inputs": '[{"type": "tensor"}]'}, {"inputs": "{}"}],
)
def test_a_signature_that_cannot_be_read_is_not_compatible(malformed: dict[str, Any]) -> None:
    (problem,) = incompatibilities({"signature": malformed}, mlmodel([tensor("float64", 1)]))
    assert problem.startswith("a signature cannot be read")
