"""How MLflow's messages are read and answered: protobuf's JSON, and the texts by which its clients know errors.

Integers are numbers on their way out, and numbers or strings on their way in; NaN and the infinities are strings.
A field that a message does not have is passed over, since newer clients send more.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import msgspec

from jupyter_mlops.core.errors import Conflict, InvalidValue, MLOpsError, NotFound

T = TypeVar("T")
M = TypeVar("M", bound="Message")

_LONGEST_SHOWN = 200
_PLACE = re.compile(r"(?s)(.*?)(?: - at `(?:key in )?\$(.*)`)?")
_LACKING = re.compile(r"Object missing required field `(\w+)`")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")


class Message(msgspec.Struct, kw_only=True, frozen=True):
    """Base of what is read. A field without a default is required, and an empty text in it counts as none."""


class Answer(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Base of what is answered: what has nothing to say is left out."""


class Empty(Message, frozen=True, kw_only=True):
    """A request without fields."""


class Told(NotFound):
    """What does not exist, in MLflow's words already."""


NOTHING = b"{}"


def read(body: bytes, kind: type[M], parts: Mapping[str, str] | None = None) -> M:
    """The message of a body; ``parts`` are the fields that the URL gives.

    Raises
    ------
    InvalidValue
        With the parameter's name, as MLflow says it.
    """
    if parts:
        return convert({**_fields(body), **parts}, kind)
    if not body:
        body = NOTHING
    try:
        message: M = _decoder(kind).decode(body)
        return _checked(message)
    except msgspec.ValidationError as error:
        return _read_again(body, kind, error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidValue(f"the body cannot be read: {error}") from error


def read_query(query: Mapping[str, Sequence[str]], kind: type[M]) -> M:
    """The message of a URL's query, in which all is text."""
    several = _several(kind)
    given: dict[str, Any] = {}
    for name, values in query.items():
        given[name] = list(values) if name in several else values[-1]
    return convert(given, kind)


def convert(given: Mapping[str, Any], kind: type[M]) -> M:
    """The message of fields as they came."""
    try:
        return _checked(msgspec.convert(dict(given), kind, strict=False))
    except (msgspec.ValidationError, RecursionError) as error:
        raise refusal(error, given) from error


def encode(answer: object) -> bytes:
    """An answer as JSON."""
    return NOTHING if answer is None else msgspec.json.encode(answer)


def number(value: float) -> float | str:
    """A number as JSON says it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def invalid(value: object, parameter: str, hint: str = "") -> InvalidValue:
    """The error for a value that a parameter cannot have."""
    try:
        shown = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        shown = f'"{type(value).__name__}"'
    if len(shown) > _LONGEST_SHOWN:
        shown = f"{shown[:_LONGEST_SHOWN]}..."
    return InvalidValue(f"Invalid value {shown} for parameter '{parameter}' supplied{f': {hint}' if hint else '.'}")


def missing(parameter: str) -> InvalidValue:
    """The error for a parameter that is needed."""
    return InvalidValue(
        f"Missing value for required parameter '{parameter}'. See the API docs for more information about request "
        "parameters."
    )


def limited(value: int, parameter: str, largest: int, smallest: int = 1) -> int:
    """A number of results, checked."""
    if not smallest <= value <= largest:
        raise invalid(value, parameter, f"It must be at least {smallest} and at most {largest}.")
    return value


@contextmanager
def named(thing: str) -> Iterator[None]:
    """Say of what is not there that ``thing`` is not found, as MLflow does."""
    try:
        yield
    except Told:
        raise
    except NotFound as error:
        raise Told(f"{thing} not found: {error.message}") from error


@contextmanager
def active(thing: str) -> Iterator[None]:
    """Say of what is deleted, and so cannot be written to, that ``thing`` is not active, as MLflow does."""
    try:
        yield
    except Conflict as error:
        if error.public:
            # Of the database, and not about the thing's state.
            raise
        raise InvalidValue(f"The {thing} must be in the 'active' state: {error.message}") from error


def refusal(error: Exception, given: object) -> MLOpsError:
    """What msgspec found wrong with ``given``, in MLflow's words."""
    if isinstance(error, RecursionError):
        return InvalidValue("the body cannot be read: it is nested too deeply")
    found = _PLACE.fullmatch(str(error))
    assert found is not None, "everything matches"
    text, path = found[1], (found[2] or "").lstrip(".")
    lacking = _LACKING.fullmatch(text)
    if lacking is not None:
        return missing(f"{path}.{lacking[1]}" if path else lacking[1])
    value = _at(given, path)
    if not path:
        return InvalidValue(f"the body cannot be read: {text}")
    if value is None:
        return missing(path)
    return invalid(value, path, f"{text}. Hint: Value was of type '{type(value).__name__}'.")


def _read_again(body: bytes, kind: type[M], error: Exception) -> M:
    """What was not as it should be: perhaps encoded twice, as old clients do; else the error."""
    try:
        given = msgspec.json.decode(body)
        if isinstance(given, str):
            given = msgspec.json.decode(given)
    except msgspec.DecodeError as malformed:
        # A number that no number can hold says where it is.
        place = _PLACE.fullmatch(str(error))
        what = f"Invalid value for parameter '{place[2].lstrip('.')}' supplied" if place and place[2] else "the body"
        raise InvalidValue(f"{what}: it cannot be read: {malformed}") from malformed
    except RecursionError as malformed:
        raise refusal(malformed, None) from malformed
    if not isinstance(given, dict):
        raise InvalidValue("the body cannot be read: it is no JSON object") from error
    # A field that is null is one that is not there.
    return convert({name: value for name, value in given.items() if value is not None}, kind)


def _fields(body: bytes) -> dict[str, Any]:
    try:
        given = msgspec.json.decode(body or NOTHING)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidValue(f"the body cannot be read: {error}") from error
    if not isinstance(given, dict):
        raise InvalidValue("the body cannot be read: it is no JSON object")
    return {name: value for name, value in given.items() if value is not None}


def _checked(message: M) -> M:
    for name in _required(type(message)):
        if getattr(message, name) == "":
            raise missing(name)
    return message


def _at(given: object, path: str) -> object:
    """What stands at a place such as ``metrics[0].value``."""
    for field, index in _STEP.findall(f".{path}"):
        try:
            given = given[field if field else int(index)]  # type: ignore[index]
        except (TypeError, KeyError, IndexError):
            return None
    return given


@cache
def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(kind, strict=False)


@cache
def _required(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(field.encode_name for field in msgspec.structs.fields(kind) if field.required and field.type is str)


@cache
def _several(kind: type[msgspec.Struct]) -> frozenset[str]:
    kinds = (msgspec.inspect.type_info(kind),)
    fields = kinds[0].fields  # type: ignore[attr-defined]
    return frozenset(
        field.encode_name
        for field in fields
        if isinstance(field.type, msgspec.inspect.VarTupleType | msgspec.inspect.ListType)
    )
