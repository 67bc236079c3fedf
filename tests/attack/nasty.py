"""Values that nobody means to pass, and everybody does one day."""

from __future__ import annotations

import base64
import enum
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.core.records import RunStatus, Tag


class Text(str):
    """A string of a class of its own."""


class Whole(int):
    """An integer of a class of its own."""


class Color(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    ONE = 1


class Mean:
    """Every question about it is answered with an error of its own."""

    def _refuse(self, *_: object) -> Any:
        raise ZeroDivisionError("asked too much")

    __repr__ = __str__ = __float__ = __int__ = __index__ = __bool__ = __hash__ = __eq__ = __len__ = __iter__ = _refuse
    __getitem__ = __fspath__ = __bytes__ = __complex__ = __contains__ = __lt__ = _refuse


class MeanText(str):
    """A string that cannot be shown."""

    def _refuse(self, *_: object) -> Any:
        raise ZeroDivisionError("asked too much")

    __repr__ = __str__ = __iter__ = __format__ = _refuse  # type: ignore[assignment]


class Liar:
    """Not what its conversions say."""

    def __index__(self) -> int:
        return 10**40

    def __float__(self) -> float:
        raise ValueError("no")

    def item(self) -> Any:
        return self

    def tolist(self) -> Any:
        return self


@dataclass
class Point:
    x: int = 1


def _cycle() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


def _dict_cycle() -> dict[str, Any]:
    loop: dict[str, Any] = {}
    loop["again"] = loop
    return loop


def _deep(levels: int = 5000) -> list[Any]:
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested


TEXTS: dict[str, Any] = {
    "empty": "",
    "blank": "  ",
    "nul": "a\0b",
    "surrogate": "a\ud800b",
    "long": "x" * 10_000_000,
    "newline": "a\nb",
    "ansi": "\x1b[31mred\x1b[0m",
    "rtl": "abc\u202edef",
    "composed": "caf\u00e9",
    "decomposed": "cafe\u0301",
    "emoji": "\U0001f600",
    "windows path": "C:\\temp\\x",
    "parent": "../../etc/passwd",
    "absolute": "/etc/passwd",
    "many parts": "/".join("a" * 5000),
    "quote": 'it\'s "x" `y`; DROP TABLE run; --',
    "percent": "%s %d %n %00 {0} {x}",
    "digits": "9" * 5000,
    "no base64": "AAAA" * 20,
    "base64": base64.urlsafe_b64encode(b"\x93" * 60).decode(),
    "text class": Text("fine"),
    "text enum": RunStatus.RUNNING,
    "mean text": MeanText("shy"),
}
OTHERS: dict[str, Any] = {
    "None": None,
    "True": True,
    "False": False,
    "zero": 0,
    "minus one": -1,
    "int": 7,
    "int64 max": 2**63 - 1,
    "beyond int64": 2**63,
    "huge int": 10**5000,
    "negative huge": -(10**400),
    "float": 1.5,
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "-0.0": -0.0,
    "complex": 1j,
    "bytes": b"bytes\xff",
    "bytearray": bytearray(b"x"),
    "Decimal": Decimal("1.10"),
    "Decimal sNaN": Decimal("sNaN"),
    "Fraction": Fraction(1, 3),
    "int class": Whole(3),
    "enum": Color.RED,
    "int enum": Level.ONE,
    "empty list": [],
    "list": ["a"],
    "list of None": [None],
    "empty dict": {},
    "dict": {"a": "b"},
    "dict of ints": {1: 2, "x": 3},
    "dict of nul": {"k\0": "v"},
    "dict of surrogate": {"k": "\ud800"},
    "dict of many": {"k": "x" * 200_000},
    "set": {1},
    "tuple": ("a", 1),
    "cycle": _cycle(),
    "dict cycle": _dict_cycle(),
    "deep": _deep(),
    "dataclass": Point(),
    "class": int,
    "function": len,
    "object": object(),
    "mean": Mean(),
    "list of mean": [Mean()],
    "dict of mean": {"a": Mean()},
    "liar": Liar(),
    "path": Path("/nonexistent/x"),
    "nul path": Path("a\0b"),
    "tag": Tag("a", "b"),
    "range": range(3),
}


def _of_libraries() -> dict[str, Any]:
    import numpy as np
    import pandas as pd

    return {
        "np.float32": np.float32(0.1),
        "np.int64": np.int64(5),
        "np.bool": np.True_,
        "np.str": np.str_("fine"),
        "np.array": np.arange(3),
        "np.array of one": np.array([[2.5]]),
        "np.empty": np.array([]),
        "np.object": np.array([None, Mean()], dtype=object),
        "np.datetime": np.datetime64("2024-01-01"),
        "pd.NA": pd.NA,
        "pd.NaT": pd.NaT,
        "pd.Series": pd.Series([1, 2]),
        "pd.DataFrame": pd.DataFrame({"a": [1]}),
        "pd.Timestamp": pd.Timestamp("2024-01-01"),
    }


VALUES: dict[str, Any] = {**TEXTS, **OTHERS, **_of_libraries()}


def problem(call: Callable[[], object]) -> str:
    """What is wrong with how ``call`` ends: nothing when it succeeds (""), or refuses its input ("refused")."""
    try:
        call()
    except MLOpsError as error:
        if error.http_status >= 500:
            return f"{type(error).__name__}: {error.message}"
        return "refused" if len(error.message) < 5000 else f"a message of {len(error.message)} characters"
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        return f"{type(error).__name__} at {_where(error)}"
    return ""


def _where(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "jupyter_mlops" in frame.filename]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "?"
