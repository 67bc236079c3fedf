"""Records as bytes: JSON for people, browsers and other programs, MessagePack between trackers.

JSON has no word for NaN and the infinities: numbers that are one are written as the strings ``"NaN"``, ``"Infinity"``
and ``"-Infinity"``, and read as such where a metric's value stands. MessagePack has all numbers.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any, TypeVar

import msgspec

from jupyter_mlops.core import errors
from jupyter_mlops.core.errors import InvalidValue, MLOpsError
from jupyter_mlops.core.records import Metric, Record

JSON = "application/json"
MSGPACK = "application/msgpack"

T = TypeVar("T")

_packer = msgspec.msgpack.Encoder()
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Problem(Record, frozen=True, kw_only=True):
    """An error as it is answered: MLflow's ``error_code``, what is wrong and what would be right."""

    error_code: str
    message: str
    error: str
    """The class in :mod:`jupyter_mlops.core.errors`."""
    request_id: str = ""
    """Finds the request in the service's log."""


def problem(error: MLOpsError, request_id: str = "") -> Problem:
    """What to answer for ``error``."""
    message = error.public or error.message
    return Problem(error_code=error.error_code, message=message, error=type(error).__name__, request_id=request_id)


def raised(problem: Problem) -> MLOpsError:
    """The error that was answered, of its own class where this version knows it."""
    kind = getattr(errors, problem.error, None)
    if not (isinstance(kind, type) and issubclass(kind, MLOpsError)) or kind is errors.RunFailed:
        kind = MLOpsError
    error = kind(problem.message)
    error.request_id = problem.request_id
    return error


def encode(value: Any, content_type: str) -> bytes:
    """``value``, a record or several, as bytes; ``InvalidValue`` when something in it cannot be said."""
    try:
        if content_type == MSGPACK:
            return _packer.encode(value)
        encoded = msgspec.json.encode(value)
        # What has no word is written as null, which records have hardly ever.
        return encoded if b"null" not in encoded else msgspec.json.encode(_spelled(msgspec.to_builtins(value)))
    except (TypeError, OverflowError, UnicodeEncodeError, RecursionError) as error:
        raise InvalidValue(f"a value cannot be sent: {error}") from error


def decode(content: bytes, content_type: str, kind: type[T]) -> T:
    """What ``content`` says, as ``kind``.

    Raises
    ------
    InvalidValue
        It is not in the form that ``content_type`` names, or not a ``kind``; the message says where. In JSON, a field
        that the record does not have is refused too: it would be a misspelt one, silently ignored.
    """
    try:
        if content_type == MSGPACK:
            return msgspec.msgpack.decode(content, type=kind)
        given = msgspec.json.decode(content)
        try:
            found = msgspec.convert(given, kind)
        except msgspec.ValidationError:
            found = msgspec.convert(_restored(given, kind), kind)
        _refuse_unknown(given, found, "$")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidValue(f"the body cannot be read: {error}") from error
    return found


def _spelled(value: Any) -> Any:
    """``value`` with words for the numbers that JSON lacks."""
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _spelled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(item) for item in value]
    return value


def _restored(value: Any, kind: Any) -> Any:
    """``value``, from which a ``kind`` is to be made, with the numbers that were spelled as words where a metric's
    value stands: what only looks like one, in a parameter, is left as it is."""
    if kind is Metric:
        word = value.get("value") if isinstance(value, dict) else None
        return {**value, "value": _SPECIAL[word]} if isinstance(word, str) and word in _SPECIAL else value
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if not isinstance(value, dict):
            return value
        holding = {sent: hint for sent, _, hint in _fields(kind).nesting}
        return {name: _restored(item, holding[name]) if name in holding else item for name, item in value.items()}
    for part in filter(_holds_records, typing.get_args(kind)):
        # Of a field that may hold nothing, or several records.
        value = [_restored(item, part) for item in value] if isinstance(value, list) else _restored(value, part)
    return value


class _Fields(msgspec.Struct, frozen=True):
    """What a record's class knows: the names that are sent, and of those that may hold records the
    field's, and its type."""

    sent: frozenset[str]
    nesting: tuple[tuple[str, str, Any], ...]


@cache
def _fields(kind: type[msgspec.Struct]) -> _Fields:
    hints = typing.get_type_hints(kind)
    names = list(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))
    nesting = tuple((sent, field, hints[field]) for sent, field in names if _holds_records(hints[field]))
    return _Fields(frozenset(kind.__struct_encode_fields__), nesting)


def _holds_records(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return True
    return any(map(_holds_records, typing.get_args(hint)))


def _refuse_unknown(given: Any, found: Any, where: str) -> None:
    if isinstance(found, msgspec.Struct) and isinstance(given, dict):
        fields = _fields(type(found))
        if not fields.sent.issuperset(given):
            name = next(name for name in given if name not in fields.sent)
            raise InvalidValue(f"the body cannot be read: there is no field {name!r} - at `{where}`")
        for sent, field, _ in fields.nesting:
            if sent in given:
                _refuse_unknown(given[sent], getattr(found, field), f"{where}.{sent}")
    elif isinstance(found, tuple | list) and isinstance(given, list) and not _all_plain(given, found):
        for index, (item, record) in enumerate(zip(given, found, strict=True)):
            _refuse_unknown(item, record, f"{where}[{index}]")


def _all_plain(given: list[Any], found: Sequence[Any]) -> bool:
    """Whether these are records of one class that hold no others, and have no unknown fields: of thousands of points,
    none is looked at by itself."""
    kinds = set(map(type, found))
    kind = kinds.pop() if len(kinds) == 1 else object
    if not issubclass(kind, msgspec.Struct) or _fields(kind).nesting:
        return False
    return _fields(kind).sent.issuperset(chain.from_iterable(given))
