"""What a notebook's outputs say to the record: logging by MIME type from any language, and scrapbook's scraps."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from jupyter_mlops.core import values
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Batch, Metric, Param, Tag

MIME_TYPE = "application/vnd.jupyter-mlops.log+json"
"""An output of this type logs: ``{"params": {name: value}, "metrics": {name: number or [{"value": number, "step": int,
"timestamp": ms}]}, "tags": {name: text}, "artifacts": {path: {"text": ...} or {"base64": ...} or {"file": path}}}``.
All keys are optional. Numbers that JSON lacks are written ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``; a ``file`` is
relative to the kernel's working directory. A kernel may also send the JSON as text."""

_SCRAP_PREFIX = "application/scrapbook.scrap."
_PAPERMILL_RECORD = "application/papermill.record+json"
_SHOWN = {"image/png": "png", "image/jpeg": "jpg", "image/svg+xml": "svg", "text/html": "html", "text/plain": "txt"}
_NAMED_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Logged(msgspec.Struct):
    """What an output logs. ``problems`` are sentences about what in it could not be understood."""

    metrics: list[Metric] = []
    params: list[Param] = []
    tags: list[Tag] = []
    artifacts: dict[str, bytes | Path] = {}
    problems: list[str] = []

    @property
    def batch(self) -> Batch:
        return Batch(metrics=tuple(self.metrics), params=tuple(self.params), tags=tuple(self.tags))

    def __bool__(self) -> bool:
        return bool(self.metrics or self.params or self.tags or self.artifacts or self.problems)


def read_output(output: Mapping[str, Any], cwd: Path) -> Logged:
    """What one output of a cell logs; an empty :class:`Logged` for all ordinary outputs."""
    logged = Logged()
    data = output.get("data") or {}
    for mime, payload in data.items():
        if mime == MIME_TYPE:
            _read_log(payload, cwd, logged)
        elif mime.startswith(_SCRAP_PREFIX):
            _read_scrap(payload, logged)
        elif mime == _PAPERMILL_RECORD and isinstance(payload, dict):
            for name, value in payload.items():
                _record(str(name), value, logged)
    shown = (output.get("metadata") or {}).get("scrapbook")
    if isinstance(shown, dict) and shown.get("display") and not shown.get("data"):
        _read_display(str(shown.get("name")), data, logged)
    return logged


def _read_log(payload: Any, cwd: Path, logged: Logged) -> None:
    known = ("params", "metrics", "tags", "artifacts")
    if isinstance(payload, str):
        try:
            payload = json.loads(payload)
        except ValueError as error:
            logged.problems.append(f"an output of type {MIME_TYPE} is text that is not JSON: {error}")
            return
    if not isinstance(payload, dict) or not all(isinstance(part, dict) for part in payload.values()):
        logged.problems.append(f"an output of type {MIME_TYPE} is not an object of objects")
        return
    if strange := [key for key in payload if key not in known]:
        logged.problems.append(f"an output of type {MIME_TYPE} has {strange[0]!r}; known are {', '.join(known)}")
    for name, value in payload.get("params", {}).items():
        with _collecting(logged):
            logged.params.append(values.param(name, value))
    for name, value in payload.get("metrics", {}).items():
        for point in value if isinstance(value, list) else [{"value": value}]:
            with _collecting(logged):
                logged.metrics.append(_point(name, point))
    for name, value in payload.get("tags", {}).items():
        with _collecting(logged):
            logged.tags.append(values.tag(name, value))
    for path, content in payload.get("artifacts", {}).items():
        with _collecting(logged):
            logged.artifacts[values.artifact_path(path)] = _content(path, content, cwd)


def _point(name: str, point: Any) -> Metric:
    if not isinstance(point, dict) or "value" not in point:
        raise InvalidValue(f"metric {name!r}: a point is {{'value': number, 'step': int}}, not {values.short(point)}")
    value = point["value"]
    if isinstance(value, str):
        value = _NAMED_NUMBERS.get(value, value)
    return values.metric(name, value, step=point.get("step", 0), timestamp=point.get("timestamp"))


def _content(path: str, content: Any, cwd: Path) -> bytes | Path:
    if not isinstance(content, dict) or len(content) != 1:
        raise InvalidValue(f"artifact {path!r}: give one of 'text', 'base64' and 'file'")
    ((how, value),) = content.items()
    if how == "text":
        return _joined(value).encode()
    if how == "base64":
        return _decode(path, value)
    if how == "file":
        file = cwd / str(value)
        try:
            if file.is_file():
                return file
        except OSError as error:
            raise InvalidValue(f"artifact {path!r}: {values.short(str(file))}: {error.strerror}") from None
        raise InvalidValue(f"artifact {path!r}: there is no file {values.short(str(file))}")
    raise InvalidValue(f"artifact {path!r}: {how!r} is unknown; give one of 'text', 'base64' and 'file'")


def _joined(text: Any) -> str:
    """Text as outputs have it: whole, or as a list of lines."""
    if isinstance(text, str):
        return text
    if isinstance(text, list) and all(isinstance(line, str) for line in text):
        return "".join(text)
    raise InvalidValue(f"{values.short(text)} is neither text nor a list of lines")


def _decode(path: str, text: Any) -> bytes:
    try:
        # Lines are usual; anything else Python would skip without a word.
        return base64.b64decode("".join(_joined(text).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidValue(f"artifact {path!r}: this is not base64 ({error})") from None


def _read_scrap(payload: Any, logged: Logged) -> None:
    if not (isinstance(payload, dict) and isinstance(payload.get("name"), str) and "data" in payload):
        return
    name, data = payload["name"], payload["data"]
    if payload.get("encoder") == "pandas":
        with _collecting(logged):
            path = values.artifact_path(f"scraps/{name}.parquet")
            logged.artifacts[path] = _decode(path, data)
    else:
        _record(name, data, logged)


def _record(name: str, value: Any, logged: Logged) -> None:
    """A scrap: a number is a metric, short text and truth values are tags, the rest is a file."""
    with _collecting(logged):
        if isinstance(value, int | float) and not isinstance(value, bool):
            logged.metrics.append(values.metric(name, value))
        elif isinstance(value, bool) or (isinstance(value, str) and len(value) <= values.LONGEST_TAG):
            logged.tags.append(values.tag(name, value))
        else:
            content = json.dumps(value, ensure_ascii=False, indent=1).encode()
            logged.artifacts[values.artifact_path(f"scraps/{name}.json")] = content


def _read_display(name: str, data: Mapping[str, Any], logged: Logged) -> None:
    for mime, suffix in _SHOWN.items():
        if mime in data:
            with _collecting(logged):
                path = values.artifact_path(f"scraps/{name}.{suffix}")
                text = _joined(data[mime])
                logged.artifacts[path] = _decode(path, text) if suffix in ("png", "jpg") else text.encode()
            return


@contextmanager
def _collecting(logged: Logged) -> Iterator[None]:
    """What is wrong with one value becomes a problem, and leaves the others of the output alone."""
    try:
        yield
    except InvalidValue as error:
        logged.problems.append(error.message)
    except UnicodeEncodeError as error:
        logged.problems.append(f"{values.short(error.object)} holds halves of characters")
