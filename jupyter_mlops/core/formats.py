"""Times, durations, sizes, numbers and other people's text as people read them."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.values import short

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_NUMBER = r"(\d{1,9}(?:\.\d{1,6})?)"
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?([kMGTP]?)B?", re.ASCII | re.IGNORECASE)
_UNITS = ("", "k", "m", "g", "t", "p")
_LENGTH = re.compile(rf"{_NUMBER}|(?:{_NUMBER}d)?(?:{_NUMBER}h)?(?:{_NUMBER}m(?:in)?)?(?:{_NUMBER}s)?", re.ASCII)


def now() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def relative(at: int, *, reference: int) -> str:
    """How long before ``reference`` a moment was (both in milliseconds), such as ``3 h ago``; its local date when that
    is more than four weeks, or in the future."""
    seconds = (reference - at) / 1000
    if seconds < -1 or seconds >= 28 * _DAY:
        return datetime.fromtimestamp(at / 1000).strftime("%Y-%m-%d")
    if seconds < 1:
        return "now"
    for size, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago"


def moment(at: int) -> str:
    """A moment (milliseconds since the epoch) in local time, to the second."""
    return datetime.fromtimestamp(at / 1000).strftime("%Y-%m-%d %H:%M:%S")


def duration(milliseconds: float) -> str:
    """A length of time in its two greatest units: ``0.42 s``, ``12.3 s``, ``4 min 05 s``, ``2 h 10 min``."""
    seconds = max(milliseconds, 0) / 1000
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR:02d} h"


def parse_duration(text: str) -> float:
    """Seconds of a length of time as people write it: ``90s``, ``10m``, ``2h``, ``1h30m``, ``1d``, or plain seconds;
    ``InvalidValue`` when it is none, or nothing."""
    found = _LENGTH.fullmatch(text.strip())
    parts = found.groups("0") if found else ()
    seconds = sum(float(part) * unit for part, unit in zip(parts, (1, _DAY, _HOUR, _MINUTE, 1), strict=False))
    if seconds <= 0:
        raise InvalidValue(f"{short(text)} is no length of time; such are 90s, 10m, 2h and 1h30m")
    return seconds


def size(count: int) -> str:
    """A number of bytes: ``512 B``, ``1.5 MB`` (powers of 1000)."""
    if count < 1000:
        return f"{count} B"
    value, units = count / 1000, ["kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        del units[0]
    return f"{value:.3g} {units[0]}"


def parse_size(text: str) -> int:
    """Bytes as people write them: ``500MB``, ``1.5 TB`` (powers of 1000), or plain bytes; ``InvalidValue`` when it is
    none."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise InvalidValue(f"{short(text)} is no size; such are 500MB, 20GB and 1.5TB")
    return round(float(found[1]) * 1000.0 ** _UNITS.index(found[2].lower()))


def number(value: float) -> str:
    """A value by itself, to six significant digits."""
    return _one(value, "{:.6g}")


def shortened(values: Sequence[float | None], *, digits: int = 4) -> list[str]:
    """Values as they would be typed, long ones cut to ``digits`` significant digits, or more (all, if need be) where
    different values would read the same. ``None`` is empty."""
    different = {value for value in values if value is not None}
    for attempt in range(digits, 18):
        texts = {value: _typed(value, attempt) for value in different}
        if len(set(texts.values())) == len(different):
            break
    return ["" if value is None else texts[value] for value in values]


def _typed(value: float, digits: int) -> str:
    exact = repr(value)
    return exact if isinstance(value, int) or len(exact) <= digits + 3 else f"{value:.{digits}g}"


def numbers(values: Sequence[float | None], *, digits: int = 4) -> list[str]:
    """A column of values, formatted alike so that they can be compared by eye.

    Whole numbers stay whole. Others get the decimals that the smallest needs for ``digits`` significant digits, more
    (up to ten)
    where different values would read the same, and an exponent where decimals would grow too long. ``None`` is empty.
    """
    present = {value for value in values if value is not None and math.isfinite(value)}
    for attempt in range(digits, 11):
        form = _form(present, attempt)
        if len({form.format(value) for value in present}) == len(present):
            break
    return ["" if value is None else _one(value, form) for value in values]


def _form(values: set[float], digits: int) -> str:
    largest = max((abs(value) for value in values), default=0.0)
    if all(value == int(value) for value in values) and largest < 1e12:
        return "{:.0f}"
    # A value far below the largest shows its first digit at least, rather than making all others long.
    smallest = max(min(abs(value) for value in values if value), largest * 1e-3)
    if largest >= 1e9 or largest < 1e-4:
        return f"{{:.{digits - 1}e}}"
    return f"{{:.{max(digits - 1 - math.floor(math.log10(smallest)), 0)}f}}"


def _one(value: float, form: str) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return form.format(value)


_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], *, width: int = 24) -> str:
    """A curve in one line of at most ``width`` bars, each the mean of its stretch of ``values``; NaN is a dot."""
    if len(values) > width:
        edges = [round(i * len(values) / width) for i in range(width + 1)]
        values = [_mean(values[start:stop]) for start, stop in pairwise(edges)]
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    return "".join(_bar(value, low, high) for value in values)


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return math.nan
    # Divided first: the sum of large floats may not be a float. What that rounds stays within the values.
    mean = math.fsum(value / 2 / len(finite) for value in finite) * 2
    return min(max(mean, min(finite)), max(finite))


def _bar(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return "·"
    if math.isinf(value):
        return _BARS[-1] if value > 0 else _BARS[0]
    if high == low:
        return _BARS[3]
    if math.isinf(high - low):
        value, low, high = value / 2, low / 2, high / 2
    place = (value - low) / (high - low)
    return _BARS[min(int(place * len(_BARS)), len(_BARS) - 1)]


# C0 and C1 controls, DEL, line and paragraph separators, bidirectional overrides, lone surrogates: whatever moves the
# cursor, sets colours, reorders text, or cannot be encoded.
def abridged(text: str, longest: int) -> str:
    """The text itself, or as much of it as has ``longest`` characters with an ellipsis at its end."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, *, lines: bool = False) -> str:
    """``text`` with every character that a terminal would obey shown as an escape instead.

    With ``lines``, newlines and tabs stay. Names, parameters, notebook outputs and messages come from anywhere; shown
    raw, an escape sequence in one could rewrite the screen or the clipboard.
    """
    return _UNPRINTABLE.sub(lambda match: _escaped(match[0], lines), text)


def _escaped(character: str, lines: bool) -> str:
    if lines and character in "\n\t":
        return character
    return character.encode("unicode_escape").decode("ascii")
