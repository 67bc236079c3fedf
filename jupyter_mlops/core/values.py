"""What users may log: checks that name the field, the value and the rule, and give back records.

Nothing is cut, rounded or replaced to make it fit: a value is accepted as it is or refused with
:class:`~jupyter_mlops.core.errors.InvalidValue`. Lengths are counted in characters (Unicode code points).
"""

from __future__ import annotations

import json
import operator
import re
import sys
import time
from array import array
from collections.abc import Callable
from enum import Enum
from pathlib import PurePath
from typing import Any, Literal

import msgspec

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Dataset, Json, Metric, Param, Series, Tag

LONGEST_KEY = 250
LONGEST_PARAM = 6000
LONGEST_TAG = 8000
LONGEST_EXPERIMENT_TAG = 20_000
LONGEST_REGISTRY_TAG = 100_000
LONGEST_EXPERIMENT_NAME = 500
LONGEST_ALIAS = 255
LONGEST_COMMENT = 20_000
LONGEST_DESCRIPTION = 100_000
LONGEST_ARTIFACT_PATH = 1000
LONGEST_FILE_NAME = 255
"""Bytes in UTF-8, as file systems count them."""
LONGEST_DATASET_NAME = 500
LONGEST_DATASET_DIGEST = 128
LONGEST_DATASET_SOURCE = 65_535
LONGEST_DATASET_SCHEMA = 1_048_575
LONGEST_DATASET_PROFILE = 16_777_215
LONGEST_INPUT_CONTEXT = 500
LONGEST_RUN_SOURCE = 10_000
LONGEST_HIDDEN_STATE = 100_000
LONGEST_REASON = 1_000_000
_LONGEST_NUMERAL = 25
"""Characters of the longest number that is taken for one."""
DEEPEST_JSON = 64
"""Levels of lists and dicts inside each other."""

SMALLEST_INT, LARGEST_INT = -(2**63), 2**63 - 1
LATEST_TIME = 253_402_300_799_999
"""The end of the year 9999, beyond which calendars of programs do not reach; milliseconds since the epoch."""

# Control characters, line and paragraph separators, and lone surrogates, which are no text at all.
_NOT_IN_NAMES = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NOT_IN_TEXT = re.compile("[\0\ud800-\udfff]")


# --- what a run logs -------------------------------------------------------------------------------------------------


def param(key: str, value: object) -> Param:
    """A parameter from any Python value.

    The text is ``str(value)``, as MLflow's. The typed value is the value itself where JSON has it, a number or a list
    for scalars and arrays of NumPy and its like, the member's value of an enumeration, and otherwise the text.
    """
    key = check_key(key, "parameter")
    what = f"parameter {key!r}"
    text = _text_of(value, what)
    plain: Json
    try:
        plain = _plain(value, what)
    except _NotJson:
        plain = text
    return checked_param(Param(key, plain, text))


def param_of_text(key: str, text: str) -> Param:
    """A parameter of which only MLflow's text is known: typed where the text is just what the value would be written
    as."""
    typed: Json = text
    if len(text) <= _LONGEST_NUMERAL and text[-1:].isalnum() and text.isascii():
        if text in ("True", "False"):
            typed = text == "True"
        else:
            for kind in (int, float):
                try:
                    number = kind(text)
                except ValueError:
                    continue
                if str(number) == text and abs(number) <= LARGEST_INT:
                    typed = number
                    break
    return checked_param(Param(check_key(key, "parameter"), typed, text))


def metric(key: str, value: object, *, step: object = 0, timestamp: object = None) -> Metric:
    """A point of a metric from any real number or one-element array. NaN and infinities are values like others.

    ``step`` is any 64-bit integer; ``timestamp`` is in milliseconds since the epoch and defaults to now.
    """
    key = check_key(key, "metric")
    what = f"metric {key!r}"
    when = time.time_ns() // 1_000_000 if timestamp is None else integer(timestamp, f"{what}: timestamp", smallest=0)
    return Metric(key, real_number(value, what), when, integer(step, f"{what}: step"))


def series(key: str, values: object, *, steps: object = None, timestamps: object = None) -> Series:
    """Points of a metric from sequences or one-dimensional arrays of equal length, in the order given.

    ``steps`` are 0, 1, 2... when absent, ``timestamps`` all now.
    """
    key = check_key(key, "metric")
    what = f"series {key!r}"
    numbers = _array("d", values, f"{what}: values")
    count = len(numbers)
    if not count:
        raise InvalidValue(f"{what}: there are no values")
    counted = array("q", range(count)) if steps is None else _array("q", steps, f"{what}: steps")
    now = array("q", [time.time_ns() // 1_000_000]) * count
    when = now if timestamps is None else _array("q", timestamps, f"{what}: timestamps")
    if not len(counted) == len(when) == count:
        raise InvalidValue(f"{what}: {count} values have {len(counted)} steps and {len(when)} timestamps")
    if min(when) < 0:
        raise InvalidValue(f"{what}: a timestamp is 0 or later, not {min(when)}")
    if sys.byteorder == "big":
        for each in (numbers, counted, when):
            each.byteswap()
    return Series(key, counted.tobytes(), when.tobytes(), numbers.tobytes())


def tag(key: str, value: object, *, longest: int = LONGEST_TAG) -> Tag:
    """A tag; the value is ``str(value)``."""
    key = check_key(key, "tag")
    what = f"tag {key!r}: value"
    return Tag(key, check_text(_text_of(value, what), what, longest))


def appended(key: str, items: str, item: str) -> Tag:
    """The tag of ``items``, a JSON array or nothing, with ``item``, a JSON text, at its end; what is in it already is
    not added again. The other items stay as they are written."""
    what = f"tag {key!r}"
    try:
        found = msgspec.json.decode(items or "[]", type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidValue(f"{what} holds no list that something could be added to: delete it first") from error
    added = msgspec.Raw(item.encode())
    kept = items if added in found else msgspec.json.encode([*found, added]).decode()
    return tag(key, kept)


def dataset(dataset: Dataset) -> Dataset:
    """The data set, checked, its values of plain types."""
    name = check_name(dataset.name, "data set: name", LONGEST_DATASET_NAME)
    what = f"data set {name!r}"
    schema, profile, rows = dataset.schema, dataset.profile, dataset.rows
    return Dataset(
        name=name,
        digest=check_name(dataset.digest, f"{what}: digest", LONGEST_DATASET_DIGEST),
        source_type=check_text(dataset.source_type, f"{what}: source type", LONGEST_KEY),
        source=check_text(dataset.source, f"{what}: source", LONGEST_DATASET_SOURCE),
        schema=None if schema is None else check_text(schema, f"{what}: schema", LONGEST_DATASET_SCHEMA),
        profile=None if profile is None else check_text(profile, f"{what}: profile", LONGEST_DATASET_PROFILE),
        rows=None if rows is None else integer(rows, f"{what}: number of rows", smallest=0),
    )


def encode_json(value: Json) -> str:
    """JSON text of a parameter's value. NaN and infinities are written ``NaN`` and ``Infinity``, as Python's own codec
    does, so that :func:`decode_json` gives back the same value."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def decode_json(text: str) -> Json:
    """The value that :func:`encode_json` wrote."""
    return json.loads(text)


# --- names -----------------------------------------------------------------------------------------------------------


def check_name(name: object, what: str, longest: int) -> str:
    """The name of a ``what``, checked: a string of 1 to ``longest`` characters, not blank, no control characters."""
    if not isinstance(name, str):
        raise InvalidValue(f"{what}: expected a string, found {short(name)} ({type(name).__name__})")
    if type(name) is not str:
        name = str.__str__(name)
    if not name.strip():
        raise InvalidValue(f"{what}: it is empty; 1 to {longest} characters are needed")
    if len(name) > longest:
        raise InvalidValue(f"{what} {short(name)}: {len(name)} characters are too long; at most {longest} are accepted")
    unusable = _NOT_IN_NAMES.search(name)
    if unusable:
        raise InvalidValue(f"{what} {short(name)}: the character {unusable[0]!r} is not accepted in names")
    return name


def check_key(key: object, what: str) -> str:
    """The key of a ``what`` (parameter, metric, tag), checked: 1 to 250 characters, no control characters, and, since
    keys are paths to some tools, no empty, ``.`` or ``..`` part between slashes."""
    name = check_name(key, f"{what} key", LONGEST_KEY)
    if not _KEY_IS_SIMPLE(name):
        _check_parts(name, f"{what} key")
    return name


def run_name(name: object) -> str:
    """The name, checked: 1 to 250 characters, no control characters."""
    return check_name(name, "run name", LONGEST_KEY)


def experiment_name(name: object) -> str:
    """The name, checked: 1 to 500 characters, no control characters."""
    return check_name(name, "experiment name", LONGEST_EXPERIMENT_NAME)


def model_name(name: object) -> str:
    """The name, checked: 1 to 250 characters, no control characters, no ``/`` and no ``:``, not ``.`` or ``..``."""
    checked = check_name(name, "model name", LONGEST_KEY)
    if "/" in checked or ":" in checked or checked in (".", ".."):
        raise InvalidValue(f"model name {short(checked)}: a name has no '/' and no ':', and is not '.' or '..'")
    return checked


def alias_name(name: object) -> str:
    """The alias, checked: 1 to 255 letters, digits, ``_`` and ``-``; ``latest`` and ``v1``, ``v2``... are reserved."""
    checked = check_name(name, "alias", LONGEST_ALIAS)
    if not re.fullmatch(r"[\w-]+", checked):
        raise InvalidValue(f"alias {short(checked)}: only letters, digits, '_' and '-' are possible")
    if checked.lower() == "latest" or re.fullmatch(r"[vV]\d+", checked):
        raise InvalidValue(
            f"alias {checked!r} is reserved: it would read as a version; choose a word such as 'champion'"
        )
    return checked


def artifact_path(path: object) -> str:
    """The path, checked: relative POSIX, at most 1000 characters, no empty, ``.`` or ``..`` part, no control
    characters, no backslash (another system's ``/``), and no part that is too long for the name of a file."""
    checked = check_name(path, "artifact path", LONGEST_ARTIFACT_PATH)
    _check_parts(checked, "artifact path")
    if "\\" in checked:
        raise InvalidValue(f"artifact path {short(checked)}: folders are separated by '/', and '\\' is not accepted")
    for part in checked.split("/"):
        if len(part.encode()) > LONGEST_FILE_NAME:
            raise InvalidValue(
                f"artifact path {short(checked)}: the part {short(part)} has {len(part.encode())} bytes; a file's name "
                f"has at most {LONGEST_FILE_NAME}"
            )
    return checked


def input_context(text: object) -> str:
    """What a data set is used for, checked: at most 500 characters."""
    return check_text(text, "context", LONGEST_INPUT_CONTEXT)


def comment_text(text: object) -> str:
    """The comment, checked: 1 to 20,000 characters, not blank."""
    checked = check_text(text, "comment", LONGEST_COMMENT)
    if not checked.strip():
        raise InvalidValue("comment: an empty comment says nothing")
    return checked


def description(text: object) -> str:
    """The description of a model or a version, checked: at most 100,000 characters."""
    return check_text(text, "description", LONGEST_DESCRIPTION)


def reason(text: object) -> str:
    """Why something was decided, checked: at most 20,000 characters."""
    return check_text(text, "reason", LONGEST_COMMENT)


def check_text(text: object, what: str, longest: int) -> str:
    """The text, checked: at most ``longest`` characters, none that no database takes (NUL, lone surrogates). Errors do
    not show a text, which may hold secrets."""
    if not isinstance(text, str):
        raise InvalidValue(f"{what}: expected a string, found {short(text)} ({type(text).__name__})")
    if type(text) is not str:
        text = str.__str__(text)
    if len(text) > longest:
        raise InvalidValue(f"{what}: {len(text)} characters are too long; at most {longest} are accepted")
    unusable = _NOT_IN_TEXT.search(text)
    if unusable:
        raise InvalidValue(f"{what}: the character {unusable[0]!r} at position {unusable.start()} cannot be stored")
    return text


# --- for people ------------------------------------------------------------------------------------------------------


def short(value: object, longest: int = 80) -> str:
    """``repr(value)``, shortened for the middle of a message; what cannot be shown is named by its class."""
    try:
        text = repr(value[: longest + 1] if type(value) is str else value)
    except Exception:  # noqa: BLE001 - the message is about another mistake
        return f"<{type(value).__name__}>"
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


# --- rules -----------------------------------------------------------------------------------------------------------

# Most keys have no dot or slash; those need no look at their parts.
_KEY_IS_SIMPLE: Callable[[str], object] = re.compile(r"[^./]+").fullmatch


def _check_parts(path: str, what: str) -> None:
    for part in path.split("/"):
        if part in ("", ".", ".."):
            problem = "an empty part" if not part else f"a part {part!r}"
            raise InvalidValue(f"{what} {short(path)}: {problem} is not accepted; write it like 'folder/name'")


def checked_param(param: Param) -> Param:
    """The parameter, its key and text checked. Errors do not show the value, which may be a secret."""
    what = f"parameter {param.key!r}"
    if type(param.text) is not str:
        raise InvalidValue(f"{what}: its text is a string, not a value of type {type(param.text).__name__}")
    if len(param.text) > LONGEST_PARAM:
        raise InvalidValue(
            f"{what}: it is too long with {len(param.text)} characters; at most {LONGEST_PARAM} are accepted. "
            "Log it as an artifact instead (log_text, log_dict)"
        )
    check_text(param.text, what, LONGEST_PARAM)
    # The text of an array is abbreviated by its library, and a caller of the API may send any pair.
    if isinstance(param.value, list | dict | str):
        size = len(param.value) if isinstance(param.value, str) else len(_text_of(param.value, what))
        if size > LONGEST_PARAM:
            raise InvalidValue(
                f"{what}: a value of {size} characters is too long; at most {LONGEST_PARAM} are accepted. "
                "Log it as an artifact instead (log_text, log_dict)"
            )
    return param


def _text_of(value: object, what: str) -> str:
    """``str(value)``, whatever its class thinks of that."""
    if type(value) is str:
        return value
    try:
        return str(value)
    except Exception as error:
        raise InvalidValue(f"{what}: {short(value)} cannot be turned into text: {type(error).__name__}") from error


def integer(value: object, what: str, smallest: int = SMALLEST_INT) -> int:
    """The number, checked: a 64-bit integer from ``smallest`` on, of any type that is one without rounding."""
    number: int | None = None
    if type(value) is int:
        number = value
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    elif not _is_truth_value(value) and hasattr(value, "__index__"):
        try:
            number = operator.index(value)
        except Exception:  # noqa: BLE001 - whatever its class says, it gives no integer
            number = None
    if number is None:
        raise InvalidValue(f"{what}: {short(value)} ({type(value).__name__}) is not an integer")
    if not smallest <= number <= LARGEST_INT:
        raise InvalidValue(f"{what}: {short(number)} is out of range; {smallest} to {LARGEST_INT} are accepted")
    return number


def _is_truth_value(value: object) -> bool:
    # NumPy's own is an integer to operator.index before NumPy 2.3.
    return isinstance(value, bool) or getattr(getattr(value, "dtype", None), "kind", None) == "b"


def _array(code: Literal["d", "q"], given: Any, what: str) -> array[Any]:
    """The numbers of a sequence or an array, as an array of the standard library's; nothing is cut or rounded."""
    try:
        view = memoryview(given)
    except Exception:  # noqa: BLE001 - whatever its class says, it has no buffer
        view = None
    if view is not None and view.ndim == 1 and view.format in (code, f"<{code}", "l" if code == "q" else code):
        return array(code, view.tobytes())
    if isinstance(given, str | bytes) or not hasattr(given, "__iter__"):
        raise InvalidValue(f"{what}: {short(given)} ({type(given).__name__}) is no sequence of numbers")
    convert = real_number if code == "d" else integer
    try:
        items = list(given)
    except Exception as error:
        raise InvalidValue(f"{what}: {type(given).__name__} cannot be read: {type(error).__name__}") from error
    return array(code, [convert(value, f"{what}[{index}]") for index, value in enumerate(items)])


def real_number(value: Any, what: str) -> float:
    """The number, checked: any real number or one-element array."""
    if type(value) is float:
        return value
    number = value
    item = getattr(value, "item", None)
    if callable(item) and not isinstance(value, type):
        try:
            number = item()
        except Exception as error:
            raise InvalidValue(f"{what}: {short(value)} is not a single number; log one element of it") from error
    if isinstance(number, str | bytes | complex) or not hasattr(type(number), "__float__"):
        hint = f"; write float({short(number)})" if isinstance(number, str) and _reads_asreal_number(number) else ""
        raise InvalidValue(f"{what}: {short(number)} ({type(number).__name__}) is not a number{hint}")
    try:
        return float(number)
    except OverflowError:
        raise InvalidValue(f"{what}: {short(number)} is beyond the range of double precision") from None
    except Exception as error:
        raise InvalidValue(f"{what}: {short(value)} ({type(value).__name__}) is not a number") from error


def _reads_asreal_number(text: str) -> bool:
    try:
        float(text)
    except Exception:  # noqa: BLE001 - whatever its class says, it is no number
        return False
    return True


class _NotJson(Exception):
    """JSON has no such value."""


def _plain(value: Any, what: str, depth: int = 0) -> Json:
    """``value`` in JSON's types, integers of 64 bits; :class:`_NotJson` where it has none."""
    result: Json
    to_list = getattr(value, "tolist", None)
    if depth > DEEPEST_JSON:
        raise InvalidValue(f"{what}: lists and dicts are nested deeper than {DEEPEST_JSON} levels")
    if value is None or isinstance(value, bool):
        result = value
    elif isinstance(value, Enum):
        result = _plain(value.value, what, depth + 1)
    elif isinstance(value, str | PurePath):
        result = str.__str__(value) if isinstance(value, str) else str(value)
        check_text(result, what, max(LONGEST_PARAM, len(result)))
    elif isinstance(value, int) and SMALLEST_INT <= value <= LARGEST_INT:
        result = int(value)
    elif isinstance(value, float):
        result = float(value)
    elif isinstance(value, list | tuple):
        result = [_plain(item, what, depth + 1) for item in value]
    elif isinstance(value, dict) and all(type(key) is str for key in value):
        result = {_plain(key, what): _plain(item, what, depth + 1) for key, item in value.items()}
    elif callable(to_list) and not isinstance(value, type):
        result = _plain(_listed(to_list), what, depth + 1)
    else:
        raise _NotJson
    return result


def _listed(to_list: Callable[[], object]) -> object:
    try:
        return to_list()
    except Exception:  # noqa: BLE001 - whatever its class says, it gives no list
        raise _NotJson from None
