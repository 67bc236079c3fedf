"""Arguments of the wrong type are refused by name, by the type hints of what is called.

:func:`checked` wraps the public methods of a class, so that a method can rely on its own annotations: whoever calls may
be a notebook that passes what it has, or a service that passes what it was sent. What a value means (a name, a range)
stays the business of :mod:`jupyter_mlops.core.values`.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Batch
from jupyter_mlops.core.values import LARGEST_INT, SMALLEST_INT, short

Check = Callable[[Any, str], Any]
"""Takes a value and what it is called; gives the value, as exactly the type asked for, or raises ``InvalidValue``."""

C = TypeVar("C", bound=type)


def checked(cls: C) -> C:
    """The class, with public methods that refuse arguments of the wrong type before they begin.

    Strings and numbers of classes of their own (``numpy.str_``, members of an ``IntEnum``) become plain ones; records
    are checked in all their fields, except batches, which :func:`jupyter_mlops.core.values.check_batch` knows better.
    """
    for name, method in list(vars(cls).items()):
        if isinstance(method, types.FunctionType) and not name.startswith("_"):
            setattr(cls, name, _checked_method(method))
    return cls


def _checked_method(method: Callable[..., Any]) -> Callable[..., Any]:
    # Type hints are evaluated at the first call: doing it at import would make that slow.
    @functools.cache
    def checks() -> tuple[dict[str, Check], tuple[str, ...]]:
        hints = typing.get_type_hints(method)
        hints.pop("return", None)
        positional = [p.name for p in signature(method).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        return {name: _check_of(hint) for name, hint in hints.items()}, tuple(positional[1:])

    @functools.wraps(method)
    def call(self: Any, /, *args: Any, **named: Any) -> Any:
        by_name, positional = checks()
        # Too many arguments or unknown names are left to Python's own TypeError.
        given = [by_name[n](value, n) for n, value in zip(positional, args)] + list(args[len(positional) :])  # noqa: B905
        for name, value in named.items():
            if name in by_name:
                named[name] = by_name[name](value, name)
        return method(self, *given, **named)

    return call


@functools.cache
def _check_of(hint: Any) -> Check:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        others = [each for each in typing.get_args(hint) if each is not types.NoneType]
        # Of several types, the method itself tells them apart.
        check = _check_of(others[0]) if len(others) == 1 else _anything
        return _optional(check) if len(others) < len(typing.get_args(hint)) else check
    origin = typing.get_origin(hint) or hint
    if origin in _PLAIN:
        return _PLAIN[origin]
    if isinstance(origin, type) and issubclass(origin, Enum):
        return _member_of(origin)
    if isinstance(origin, type) and issubclass(origin, msgspec.Struct):
        return _record(origin)
    return _anything


def _refused(value: Any, what: str, expected: str) -> InvalidValue:
    return InvalidValue(f"{what}: expected {expected}, found {short(value)} ({type(value).__name__})")


def _anything(value: Any, _what: str) -> Any:
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise _refused(value, what, "a string")
    return value if type(value) is str else str.__str__(value)


def _integer(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _refused(value, what, "an integer")
    number = value if type(value) is int else int.__index__(value)
    if not SMALLEST_INT <= number <= LARGEST_INT:
        raise InvalidValue(f"{what}: {short(number)} is beyond the range of 64-bit integers")
    return number


def _number(value: Any, what: str) -> int | float:
    if isinstance(value, float):
        return value if type(value) is float else float.__float__(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return _integer(value, what)
    raise _refused(value, what, "a number")


def _truth(value: Any, what: str) -> bool:
    if type(value) is not bool:
        raise _refused(value, what, "True or False")
    return value


def _path(value: Any, what: str) -> Path:
    if not isinstance(value, Path):
        raise _refused(value, what, "a pathlib.Path")
    if "\0" in str(value):
        raise InvalidValue(f"{what}: {short(str(value))} has a NUL character, which no path has")
    return value


def _mapping(value: Any, what: str) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise _refused(value, what, "a mapping of strings to strings, such as {'team': 'growth'}")
    return {_text(key, f"{what}: a key"): _text(item, f"{what}[{short(key)}]") for key, item in value.items()}


def _sequence(value: Any, what: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        hint = f", such as [{short(value)}]" if isinstance(value, str) else ""
        raise _refused(value, what, f"a list of strings{hint}")
    return tuple(_text(item, f"{what}[{index}]") for index, item in enumerate(value))


_PLAIN: dict[Any, Check] = {
    str: _text,
    int: _integer,
    float: _number,
    bool: _truth,
    Path: _path,
    Mapping: _mapping,
    Sequence: _sequence,
}


def _optional(check: Check) -> Check:
    return lambda value, what: None if value is None else check(value, what)


def _member_of(kind: type[Enum]) -> Check:
    def check(value: Any, what: str) -> Any:
        if not isinstance(value, kind):
            raise _refused(value, what, f"one of {', '.join(map(str, kind))}")
        return value

    return check


def _record(kind: type[msgspec.Struct]) -> Check:
    @functools.cache
    def fields() -> list[tuple[str, Check]]:
        hints = typing.get_type_hints(kind)
        return [(name, _check_of(hints[name])) for name in kind.__struct_fields__]

    def check(value: Any, what: str) -> Any:
        if type(value) is not kind:
            raise _refused(value, what, f"a record {kind.__name__}")
        if kind is Batch:
            return value
        changed = {}
        for name, check_field in fields():
            present = getattr(value, name)
            plain = check_field(present, f"{what}.{name}")
            if plain is not present:
                changed[name] = plain
        return msgspec.structs.replace(value, **changed) if changed else value

    return check
