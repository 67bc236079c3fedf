"""Arguments of the wrong type are refused by name, by the type hints of what is called.

So a function can rely on its own annotations: whoever calls may be a notebook that passes what it has, or a service
that passes what it was sent. What a value means (a name, a range) stays the business of
:mod:`jupyter_mlops.core.values`.
"""

from __future__ import annotations

import functools
import operator
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Batch
from jupyter_mlops.core.values import LARGEST_INT, SMALLEST_INT, short

Check = Callable[[Any, str], Any]
"""Takes a value and what it is called; gives the value, as exactly the type asked for, or raises ``InvalidValue``."""

C = TypeVar("C", bound=type)
P = ParamSpec("P")
R = TypeVar("R")


def checked(cls: C) -> C:
    """The class, its public methods :func:`checked_call`."""
    for name, method in list(vars(cls).items()):
        if isinstance(method, types.FunctionType) and not name.startswith("_"):
            setattr(cls, name, checked_call(method))
    return cls


def checked_call(function: Callable[P, R]) -> Callable[P, R]:
    """The function, refusing arguments of the wrong type before it begins.

    Strings and integers of classes of their own (``numpy.str_``, ``numpy.int64``, members of an ``IntEnum``) become
    plain ones; records are checked in all their fields, except batches, which
    :func:`jupyter_mlops.core.batches.check_batch` knows better.
    """
    code = function.__code__
    positional: tuple[str, ...] = code.co_varnames[: code.co_argcount]

    # Type hints are evaluated at the first call: doing it at import would make that slow.
    @functools.cache
    def checks() -> Mapping[str, Check]:
        return argument_checks(function)

    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        by_name = checks()
        # Too many arguments and unknown names are left to Python's own TypeError.
        given = [by_name[name](value, name) for name, value in zip(positional, args, strict=False)]
        for name, value in named.items():
            if name in by_name:
                named[name] = by_name[name](value, name)
        return function(*given, *args[len(positional) :], **named)

    return call


def argument_checks(function: Callable[..., Any]) -> Mapping[str, Check]:
    """The check of each of the function's parameters, by name, as :func:`checked_call` makes them."""
    code = function.__code__
    parameters = {name: hint for name, hint in function.__annotations__.items() if name != "return"}
    hints = typing.get_type_hints(
        types.SimpleNamespace(__annotations__=parameters),
        globalns=function.__globals__,
    )
    positional = code.co_varnames[: code.co_argcount]
    return {name: _check_of(hints[name]) if name in hints else _anything for name in (*positional, *hints)}


@functools.cache
def _check_of(hint: Any) -> Check:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        others = [each for each in typing.get_args(hint) if each is not types.NoneType]
        check = _check_of(others[0]) if len(others) == 1 else _one_of(tuple(others))
        return _optional(check) if len(others) < len(typing.get_args(hint)) else check
    origin = typing.get_origin(hint) or hint
    if origin in (Mapping, Sequence):
        item = typing.get_args(hint)[-1]
        return _mapping_of(_check_of(item)) if origin is Mapping else _sequence_of(item)
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
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise _refused(value, what, "an integer")
    try:
        number = operator.index(value)
    except Exception as error:
        raise _refused(value, what, "an integer") from error
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


def _texts(value: Any, what: str) -> tuple[str, ...]:
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
}


def _sequence_of(kind: Any) -> Check:
    if kind is str:
        return _texts
    item = _check_of(kind)

    def check(value: Any, what: str) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise _refused(value, what, "a list")
        return tuple(item(each, f"{what}[{index}]") for index, each in enumerate(value))

    return check


def _mapping_of(item: Check) -> Check:
    def check(value: Any, what: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise _refused(value, what, "a mapping by names, such as {'team': 'growth'}")
        return {_text(key, f"{what}: a key"): item(each, f"{what}[{short(key)}]") for key, each in value.items()}

    return check


def _one_of(kinds: tuple[Any, ...]) -> Check:
    """Of several classes; where one of them is no class that tells its instances, the function has to do it."""
    if typing.BinaryIO in kinds:
        return _anything

    def check(value: Any, what: str) -> Any:
        for kind in kinds:
            if isinstance(value, kind):
                return _check_of(kind)(value, what)
        raise _refused(value, what, " or ".join(kind.__name__ for kind in kinds))

    return check


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
