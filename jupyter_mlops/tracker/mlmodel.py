"""Reading an ``MLmodel`` file, whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.model_safety import MLMODEL, flavors_of
from jupyter_mlops.core.values import short

LARGEST_MLMODEL = 4 << 20
"""Bytes."""
_MOST_VALUES = 200_000


def parse_mlmodel(content: bytes, source: str) -> Mapping[str, Any]:
    """The mapping that an ``MLmodel`` file holds.

    Raises
    ------
    InvalidValue
        It cannot be read, or names no flavour; the message begins with ``source``.
    """
    import yaml

    if len(content) > LARGEST_MLMODEL:
        raise InvalidValue(f"{source}: its {MLMODEL} file has {len(content)} bytes, more than a description has")
    try:
        # Not the faster loader in C: deep nesting overflows its stack, which ends the process.
        parsed = yaml.load(content, yaml.SafeLoader)
    # What it raises for a value that does not fit its own tag is not written down.
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidValue(f"{source}: its {MLMODEL} file cannot be read: {short(str(error), 200)}") from error
    if not isinstance(parsed, Mapping):
        raise InvalidValue(f"{source}: its {MLMODEL} file is not a mapping")
    if not flavors_of(parsed):
        raise InvalidValue(f"{source}: its {MLMODEL} file names no flavour, so nothing could load it")
    _check_size(parsed, source)
    return parsed


def _check_size(parsed: object, source: str) -> None:
    """A few lines of YAML can stand, by aliases, for more values than any memory holds, or for endless ones."""
    pending, count = [parsed], 0
    while pending:
        value = pending.pop()
        count += 1
        if count > _MOST_VALUES:
            raise InvalidValue(f"{source}: its {MLMODEL} file stands for more than {_MOST_VALUES} values")
        if isinstance(value, Mapping):
            pending.extend(value.values())
        elif isinstance(value, list | tuple | set):
            pending.extend(value)
