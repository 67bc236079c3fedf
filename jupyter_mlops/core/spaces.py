"""The space of a sweep: axes as written on a command line, and the points they span.

::

    lr=0.01,0.1              a list; what is a number reads as one
    depth=3:9:2              3, 5, 7, 9: start:stop[:step], both ends included
    lr=log(1e-4,1e-1,4)      0.0001, 0.001, 0.01, 0.1: n values at equal ratios
    name="a,b",'3:9'         quoted values are text
    layers=[64],[64,32]      lists and dicts as JSON or Python writes them
    lr=uniform(0,1)          any number between two, for samples and searches; loguniform(1e-4,1e-1): by magnitude
    depth=int(3,9)           any whole number between two; int(32,512,32): in steps
    kind=choice(rf,svm)      the same as kind=rf,svm
"""

from __future__ import annotations

import math
import random
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

import msgspec

from jupyter_mlops.core.arguments import checked_call
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.parameter_types import fits
from jupyter_mlops.core.parameters import Declared, resolve_text, type_of
from jupyter_mlops.core.records import Json
from jupyter_mlops.core.values import check_key, short

MOST_POINTS = 10_000
"""Of a sweep, and values of one axis."""

Point = dict[str, Json]


class Interval(msgspec.Struct, frozen=True):
    """All numbers from ``low`` to ``high``, both included."""

    low: float
    high: float
    log: bool = False
    """Each order of magnitude is as likely as another."""
    step: int | None = None
    """Whole numbers only, so far apart."""

    def __str__(self) -> str:
        """As it is written on a command line."""
        if self.step is not None:
            return f"int({self.low:.0f},{self.high:.0f}{'' if self.step == 1 else f',{self.step}'})"
        return f"{'loguniform' if self.log else 'uniform'}({self.low!r},{self.high!r})"

    @property
    def size(self) -> float:
        """How many numbers there are; infinite unless they are whole."""
        return math.inf if self.step is None else (self.high - self.low) // self.step + 1

    def draw(self, generator: random.Random) -> float:
        """One of them, at random."""
        if self.step is not None:
            return int(self.low) + self.step * generator.randrange(int(self.size))
        if self.log:
            drawn = math.exp(generator.uniform(math.log(self.low), math.log(self.high)))
        else:
            drawn = generator.uniform(self.low, self.high)
        return min(max(drawn, self.low), self.high)


@checked_call
def uniform(low: float, high: float) -> Interval:
    """Any number from ``low`` to ``high``; ``InvalidValue`` unless they are finite and ``low`` is less."""
    return _interval(float(low), float(high), "uniform")


@checked_call
def loguniform(low: float, high: float) -> Interval:
    """Any number from ``low`` to ``high``, each order of magnitude as likely as another; both are positive."""
    if low <= 0:
        raise InvalidValue(f"loguniform: {low} is not positive; its numbers have a logarithm")
    return msgspec.structs.replace(_interval(float(low), float(high), "loguniform"), log=True)


@checked_call
def integer(low: int, high: int, step: int = 1) -> Interval:
    """Any whole number from ``low`` to ``high``, both included when ``step`` allows it."""
    for value in (low, high, step):
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _LARGEST:
            raise InvalidValue(f"int: {value!r} is no whole number from -2**53 to 2**53")
    if step < 1:
        raise InvalidValue(f"int: a step of {step} does not lead from {low} to {high}")
    found = _interval(low, high, "int")
    return msgspec.structs.replace(found, step=step, high=low + (high - low) // step * step)


def choice(*values: Json) -> tuple[Json, ...]:
    """One of ``values``."""
    return values


def _interval(low: float, high: float, what: str) -> Interval:
    if not (math.isfinite(low) and math.isfinite(high) and math.isfinite(high - low) and low < high):
        raise InvalidValue(f"{what}: there is nothing between {low} and {high}; give the lesser number first")
    return Interval(low, high)


class Axis(msgspec.Struct, frozen=True):
    """A parameter and the distinct values it takes, in the order written; or the numbers that it may take."""

    name: str
    values: tuple[Json, ...] | Interval

    def has(self, value: Json) -> bool:
        """Whether the value is one of them."""
        if not isinstance(self.values, Interval):
            return any(repr(value) == repr(other) for other in self.values)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not self.values.low <= value <= self.values.high
        ):
            return False
        return self.values.step is None or (value - self.values.low) % self.values.step == 0

    @property
    def examples(self) -> tuple[Json, ...]:
        """Values that tell whether a parameter takes all of them."""
        if not isinstance(self.values, Interval):
            return self.values
        ends = (self.values.low, self.values.high)
        return tuple(int(value) for value in ends) if self.values.step is not None else ends

    @property
    def size(self) -> float:
        """How many values there are."""
        return self.values.size if isinstance(self.values, Interval) else len(self.values)


def parse_axis(text: str, declared: Sequence[Declared] | None = None) -> Axis:
    """Read one axis, ``NAME=VALUES``. Values read as on the command line (:func:`resolve_text`), with the declared type
    where it is known: of a string parameter every value is text.

    Raises
    ------
    InvalidValue
        The text is no axis; the message says which value is wrong.
    """
    name, equals, written = text.partition("=")
    name = name.strip()
    if not equals or not name:
        raise InvalidValue(f"grid {short(text)}: expected NAME=VALUES, such as lr=0.01,0.1 or depth=3:9:2")
    check_key(name, "parameter")
    parameter = next((known for known in declared or () if known.name == name), None)
    interval = _interval_of(written, f"grid {short(text)}")
    if interval is not None:
        return Axis(name, interval)
    found = _CHOICE.fullmatch(written)
    if found:
        written = found[1]
    values: list[Json] = []
    for number, item in enumerate(_split(written, text), 1):
        values.extend(_item_values(item.strip(), parameter, f"grid {short(text)}: value {number}"))
        _check_size(len(values), f"grid {short(text)}")
    _check_distinct(values, f"grid {short(text)}")
    return Axis(name, tuple(values))


def make_axis(name: str, values: Iterable[Json] | Interval) -> Axis:
    """An axis of values that are there, as :func:`parse_axis` makes it of text."""
    check_key(name, "parameter")
    if isinstance(values, Interval):
        return Axis(name, values)
    found = tuple(values)
    if not found:
        raise InvalidValue(f"the space of {name!r} is empty; give at least one value")
    _check_size(len(found), f"the space of {name!r}")
    _check_distinct(found, f"the space of {name!r}")
    return Axis(name, found)


def axis_text(axis: Axis) -> str:
    """The axis as it is written on a command line."""
    if isinstance(axis.values, Interval):
        return f"{axis.name}={axis.values}"
    return f"{axis.name}={','.join(_written(value) for value in axis.values)}"


def _written(value: Json) -> str:
    if not isinstance(value, str):
        return repr(value)
    plain = re.fullmatch(r"[\w./+-]+", value) and isinstance(resolve_text(None, value), str)
    return value if plain else f"'{value}'" if "'" not in value else f'"{value}"'


def _check_distinct(values: Sequence[Json], what: str) -> None:
    seen: set[str] = set()
    for value in values:
        if repr(value) in seen:
            raise InvalidValue(f"{what}: the value {short(value)} is there twice")
        seen.add(repr(value))


def parse_grid(texts: Sequence[str], declared: Sequence[Declared] | None = None) -> tuple[Axis, ...]:
    """Read several axes (:func:`parse_axis`) of different parameters."""
    axes: dict[str, Axis] = {}
    for text in texts:
        axis = parse_axis(text, declared)
        if axis.name in axes:
            raise InvalidValue(f"grid: {axis.name!r} is there twice; list all its values in one place, after commas")
        axes[axis.name] = axis
    return tuple(axes.values())


def count(axes: Sequence[Axis]) -> int:
    """How many points the axes span; ``InvalidValue`` when a number may be any of an interval."""
    return math.prod(len(values) for _, values in _listed(axes))


def _listed(axes: Sequence[Axis]) -> list[tuple[str, tuple[Json, ...]]]:
    """Names and values of axes that all are lists."""
    found = []
    for axis in axes:
        if isinstance(axis.values, Interval):
            raise InvalidValue(
                f"grid: {axis.name}={axis.values} is no list of values; draw points with a sample or search with "
                "optimize, or list values (start:stop:step, log(start,stop,n))"
            )
        found.append((axis.name, axis.values))
    return found


def grid(axes: Sequence[Axis]) -> Iterator[Point]:
    """All points, the last axis running fastest.

    Raises
    ------
    InvalidValue
        There are more than 10,000.
    """
    _check_size(count(axes), "grid")
    return (_point(axes, index) for index in range(count(axes)))


def sample(axes: Sequence[Axis], n: int, seed: int | None = None) -> Iterator[Point]:
    """``n`` different points, drawn without replacement, in the order drawn; the same ones for the same seed.

    Raises
    ------
    InvalidValue
        ``n`` is less than 1 or more than 10,000, or there are fewer points.
    """
    total = math.prod(axis.size for axis in axes)
    if n < 1:
        raise InvalidValue(f"sample: {n} points cannot be drawn; at least 1")
    _check_size(n, "sample")
    if n > total:
        raise InvalidValue(f"sample: {n} different points cannot be drawn from a grid of {total:.0f}")
    generator = random.Random(seed)
    if any(isinstance(axis.values, Interval) for axis in axes):
        return iter(_drawn(axes, n, generator))
    return (_point(axes, index) for index in _draw(count(axes), n, generator))


def points(axes: Sequence[Axis], n: int | None = None, seed: int | None = None) -> Iterator[Point]:
    """The points of a sweep: the whole :func:`grid`, or ``n`` of it (:func:`sample`)."""
    return grid(axes) if n is None else sample(axes, n, seed)


def _draw(total: int, n: int, generator: random.Random) -> list[int]:
    if total <= sys.maxsize:
        return generator.sample(range(total), n)
    drawn: dict[int, None] = {}
    while len(drawn) < n:
        drawn[generator.randrange(total)] = None
    return list(drawn)


def _drawn(axes: Sequence[Axis], n: int, generator: random.Random) -> list[Point]:
    """``n`` different points, each value drawn by itself."""
    found: dict[str, Point] = {}
    for _ in range(_MOST_DRAWS * n):
        point: Point = {
            axis.name: axis.values.draw(generator)
            if isinstance(axis.values, Interval)
            else axis.values[generator.randrange(len(axis.values))]
            for axis in axes
        }
        found[repr(point)] = point
        if len(found) == n:
            return list(found.values())
    raise InvalidValue(f"sample: {n} different points were not found in {_MOST_DRAWS * n} draws; draw fewer")


def _point(axes: Sequence[Axis], index: int) -> Point:
    reverse: list[tuple[str, Json]] = []
    for name, values in reversed(_listed(axes)):
        index, at = divmod(index, len(values))
        reverse.append((name, values[at]))
    return dict(reversed(reverse))


def _check_size(size: int, what: str) -> None:
    if size > MOST_POINTS:
        hint = "; take fewer values, or draw some points with a sample" if what != "sample" else ""
        raise InvalidValue(f"{what}: {size} points are too many; at most {MOST_POINTS} are possible{hint}")


# --- reading ---------------------------------------------------------------------------------------------------------

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*:\s*({_NUMBER})\s*(?::\s*({_NUMBER})\s*)?", re.ASCII)
_LOG = re.compile(rf"log\(\s*({_NUMBER})\s*,\s*({_NUMBER})\s*,\s*(\d{{1,9}})\s*\)", re.ASCII)
_INTERVAL = re.compile(rf"\s*(uniform|loguniform|int)\(\s*({_NUMBER}(?:\s*,\s*{_NUMBER})*)\s*\)\s*", re.ASCII)
_CHOICE = re.compile(r"\s*choice\(([^()]*)\)\s*")
_CALL = re.compile(r"(log|uniform|loguniform|int|choice)\(.*\)", re.DOTALL)
_ALONE = "with no other value beside it"
_FORMS = {
    "log": "log(start,stop,n)",
    "uniform": f"uniform(low,high) {_ALONE}",
    "loguniform": f"loguniform(low,high) {_ALONE}",
    "int": f"int(low,high,step) {_ALONE}",
    "choice": f"choice(a,b) {_ALONE}",
}
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_MOST_DRAWS = 100
"""For each point of a sample; nearly all points of a space take ten (coupon collector's problem)."""
_LARGEST = 2**53
"""Up to here, numbers with a fraction hold every whole one."""
_CLOSING = {"(": ")", "[": "]", "{": "}"}


def _split(written: str, text: str) -> Iterator[str]:
    """The parts between commas that are in no quotes and no brackets."""
    start, open_brackets, quote = 0, "", ""
    for at, character in enumerate(written):
        if quote:
            quote = "" if character == quote and not (open_brackets and written[at - 1] == "\\") else quote
        elif character in "'\"" and (open_brackets or not written[start:at].strip()):
            quote = character
        elif character in _CLOSING:
            open_brackets += _CLOSING[character]
        elif open_brackets and character == open_brackets[-1]:
            open_brackets = open_brackets[:-1]
        elif character == "," and not open_brackets:
            yield written[start:at]
            start = at + 1
    if quote or open_brackets:
        missing = quote or open_brackets[-1]
        raise InvalidValue(f"grid {short(text)}: {missing} is missing at the end of {short(written[start:])}")
    yield written[start:]


def _interval_of(written: str, what: str) -> Interval | None:
    """The interval that is written; None when it is something else."""
    found = _INTERVAL.fullmatch(written)
    if not found:
        return None
    kind, texts = found[1], [text.strip() for text in found[2].split(",")]
    most = 3 if kind == "int" else 2
    if not 2 <= len(texts) <= most:
        raise InvalidValue(f"{what}: {kind}(low,high{',step' if most == 3 else ''}) has not {len(texts)} numbers")
    if kind != "int":
        return (uniform if kind == "uniform" else loguniform)(float(texts[0]), float(texts[1]))
    if not all(_INTEGER.fullmatch(text) for text in texts):
        raise InvalidValue(f"{what}: int(low,high,step) takes whole numbers; others are uniform(low,high)")
    return integer(*(int(text) for text in texts))


def _item_values(item: str, parameter: Declared | None, what: str) -> Sequence[Json]:
    if not item:
        raise InvalidValue(f"{what} is empty; an empty text is written ''")
    if item[0] in "'\"" and item[-1] == item[0] and len(item) > 1:
        return (item[1:-1],)
    is_text = parameter is not None and fits("", type_of(parameter)) and not fits(0, type_of(parameter))
    found = None if is_text else _RANGE.fullmatch(item)
    if found:
        return _range(found[1], found[2], found[3] or "1", f"{what}, {item}")
    found = None if is_text else _LOG.fullmatch(item)
    if found:
        return _log(float(found[1]), float(found[2]), int(found[3]), f"{what}, {item}")
    if item[0] in "[{" and not is_text:
        return (_structure(item, what),)
    found = None if is_text else _CALL.fullmatch(item)
    if found:
        raise InvalidValue(f"{what}, {short(item)}: this is not {_FORMS[found[1]]}; a text is written in quotes")
    return (resolve_text(parameter, item),)


def _range(start: str, stop: str, step: str, what: str) -> Sequence[Json]:
    # Decimals, so that 0.1:0.5:0.1 gives 0.3 and not 0.30000000000000004, and does not lose its end.
    first, last, width = Decimal(start), Decimal(stop), Decimal(step)
    if width == 0:
        raise InvalidValue(f"{what}: a step of 0 never gets from {start} to {stop}")
    if (last - first) / width < 0:
        raise InvalidValue(f"{what}: a step of {step} leads away from {stop}; ranges are start:stop:step")
    size = int((last - first) / width) + 1
    _check_size(size, what)
    whole = all(_INTEGER.fullmatch(part) for part in (start, stop, step))
    values = [first + index * width for index in range(size)]
    return [int(value) if whole else float(value) for value in values]


def _log(start: float, stop: float, size: int, what: str) -> Sequence[Json]:
    if start <= 0 or stop <= 0 or size < 2:
        raise InvalidValue(f"{what}: log(start,stop,n) needs two positive numbers and n of at least 2")
    _check_size(size, what)
    ratio = math.log(stop / start) / (size - 1)
    # Twelve digits hide what the logarithm leaves behind the last digit that anybody meant.
    between = [float(f"{start * math.exp(index * ratio):.12g}") for index in range(1, size - 1)]
    return [start, *between, stop]


def _structure(item: str, what: str) -> Json:
    value = resolve_text(Declared("", type="list | dict", strict=True), item)
    if isinstance(value, str):
        raise InvalidValue(f"{what}, {short(item)}: this is no list or dict as JSON or Python writes it")
    return value
