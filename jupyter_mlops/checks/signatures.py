"""Whether a model can take the place of another, by the signatures in their ``MLmodel`` files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from jupyter_mlops.core.values import short


def incompatibilities(candidate: Mapping[str, Any], champion: Mapping[str, Any]) -> list[str]:
    """What of a caller that works with the ``champion`` would not work with the ``candidate``, a few words each. Both
    are contents of ``MLmodel`` files. Where the champion promises nothing, nothing can break.

    A candidate may take more optional columns, and give more columns; what it requires the champion must take too.
    """
    wanted, found = champion.get("signature"), candidate.get("signature")
    if not isinstance(wanted, Mapping):
        return []
    if not isinstance(found, Mapping):
        return ["it has no signature"]
    problems = []
    try:
        old, new = _schema(wanted, "inputs"), _schema(found, "inputs")
        problems += _inputs(old, new)
        problems += _outputs(_schema(wanted, "outputs"), _schema(found, "outputs"))
        problems += _parameters(_schema(wanted, "params"), _schema(found, "params"))
    except (msgspec.DecodeError, TypeError, AttributeError, KeyError) as error:
        return [f"a signature cannot be read ({short(str(error), 100)})"]
    return problems


Field = Mapping[str, Any]
"""One entry of a schema, as MLflow writes it."""


def _schema(signature: Mapping[str, Any], part: str) -> list[Field]:
    text = signature.get(part)
    return [] if text is None else msgspec.json.decode(text, type=list[dict[str, Any]])


def _inputs(old: list[Field], new: list[Field]) -> list[str]:
    if not old:
        return []
    if not new:
        return ["it says nothing of its inputs"]
    before, after = _named(old), _named(new)
    problems = []
    for name, field in after.items():
        if name not in before:
            if field.get("required", True):
                problems.append(f"it needs the input {name!r}")
        elif not _takes(field, before[name]):
            problems.append(f"the input {name!r} is {_words(field)}, not {_words(before[name])}")
        elif field.get("required", True) and not before[name].get("required", True):
            problems.append(f"the input {name!r} may not be left out any more")
    # What a model does not know of, it ignores; tensors and unnamed columns go by their place.
    if any("name" not in field for field in old) and len(old) != len(new):
        problems.append(f"it takes {len(new)} inputs, not {len(old)}")
    return problems


def _outputs(old: list[Field], new: list[Field]) -> list[str]:
    if not old:
        return []
    before, after = _named(old), _named(new)
    problems = []
    for name, field in before.items():
        if name not in after:
            problems.append(f"it does not give {name!r}" if "name" in field else "it gives fewer outputs")
        elif not _takes(field, after[name]):
            problems.append(f"the output {name!r} is {_words(after[name])}, not {_words(field)}")
    return problems


def _parameters(old: list[Field], new: list[Field]) -> list[str]:
    before, after = _named(old), _named(new)
    problems = []
    for name, field in before.items():
        if name not in after:
            problems.append(f"it takes no parameter {name!r}")
        elif after[name].get("type") != field.get("type") or after[name].get("shape") != field.get("shape"):
            problems.append(f"the parameter {name!r} is of another type")
    return problems


def _named(fields: list[Field]) -> dict[str, Field]:
    """By name, or by place where they have none."""
    return {str(field.get("name", number)): field for number, field in enumerate(fields)}


def _takes(wide: Field, narrow: Field) -> bool:
    """Whether all that is ``narrow`` is ``wide`` too: of the same type, with any size where a dimension is open."""
    if wide.get("type") != "tensor" or narrow.get("type") != "tensor":
        return _type(wide) == _type(narrow)
    kind, shape = _tensor(wide)
    other_kind, other_shape = _tensor(narrow)
    return (kind, len(shape)) == (other_kind, len(other_shape)) and all(
        size in (-1, other) for size, other in zip(shape, other_shape, strict=True)
    )


def _tensor(field: Field) -> tuple[str, list[int]]:
    return field["tensor-spec"]["dtype"], list(field["tensor-spec"]["shape"])


def _type(field: Field) -> dict[str, Any]:
    return {key: value for key, value in field.items() if key not in ("name", "required")}


def _words(field: Field) -> str:
    if field.get("type") == "tensor":
        kind, shape = _tensor(field)
        return f"a tensor of {kind} {shape}"
    return str(field.get("type"))
