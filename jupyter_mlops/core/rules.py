"""Rules by which a sweep stops a run that is broken or hopeless, as they are written.

::

    nan               the latest value of any metric is NaN or infinite
    nan:loss          that of this metric is
    loss>100          the latest value is above; auc<0.5: below
    idle:10m          no cell ended and no metric was logged for so long
    median            the best value so far of the optimized metric is worse than the others' median at this step
    halving           not among the best quarter that go on to the next rung (asynchronous successive halving)
    hyperband         the same in several brackets
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

import msgspec

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.formats import number, parse_duration
from jupyter_mlops.core.records import MetricSummary
from jupyter_mlops.core.values import check_key, short

PRUNERS = ("median", "halving", "hyperband")
"""Compare a run with the others of its sweep, by Optuna."""

_BOUND = re.compile(r"(?P<metric>[^<>]+)(?P<sign>[<>])(?P<bound>[^<>=]+)")


class NotFinite(msgspec.Struct, frozen=True):
    """A metric's latest value (any metric's when None) is NaN or infinite."""

    metric: str | None = None


class Bound(msgspec.Struct, frozen=True):
    """A metric's latest value is beyond ``bound``."""

    metric: str
    bound: float
    above: bool


class Idle(msgspec.Struct, frozen=True):
    """Nothing came for so many seconds."""

    seconds: float


class Pruner(msgspec.Struct, frozen=True):
    """By comparison with other runs; ``name`` is one of :data:`PRUNERS`."""

    name: str


Rule = NotFinite | Bound | Idle | Pruner


def parse_rule(text: str) -> Rule:
    """Read a rule; ``InvalidValue``, saying what rules there are, when it is none."""
    text = text.strip()
    kind, colon, rest = text.partition(":")
    if text in PRUNERS:
        return Pruner(text)
    if kind == "nan" and (rest or not colon):
        return NotFinite(check_key(rest, "metric") if rest else None)
    if kind == "idle" and rest:
        return Idle(parse_duration(rest))
    found = _BOUND.fullmatch(text)
    if found:
        try:
            bound = float(found["bound"])
        except ValueError:
            bound = math.nan
        if not math.isnan(bound):
            return Bound(check_key(found["metric"].strip(), "metric"), bound, found["sign"] == ">")
    raise InvalidValue(
        f"stop {short(text)}: this is no rule; rules are nan, nan:METRIC, METRIC>NUMBER, METRIC<NUMBER, idle:10m and, "
        f"when a metric is optimized, {', '.join(PRUNERS)}"
    )


def parse_rules(texts: Sequence[str], *, optimizes: bool) -> tuple[Rule, ...]:
    """Read the rules of a sweep.

    Raises
    ------
    InvalidValue
        One is none; there are two pruners, or one where no metric is optimized.
    """
    rules = tuple(parse_rule(text) for text in texts)
    pruners = [rule.name for rule in rules if isinstance(rule, Pruner)]
    if pruners and not optimizes:
        raise InvalidValue(
            f"stop {pruners[0]}: it compares runs by the metric that is optimized; say which with optimize"
        )
    if len(pruners) > 1:
        raise InvalidValue(f"stop: {' and '.join(pruners)} are too many; choose one of them")
    return rules


def broken(rule: NotFinite | Bound, metrics: Iterable[MetricSummary]) -> str | None:
    """What in the latest values of a run's metrics breaks the rule; None when nothing does."""
    for metric in metrics:
        if rule.metric not in (None, metric.key):
            continue
        told = f"{metric.key} is {number(metric.value)} at step {metric.step}"
        if isinstance(rule, NotFinite):
            if not math.isfinite(metric.value):
                return told
        elif (metric.value > rule.bound) if rule.above else (metric.value < rule.bound):
            return f"{told}, {'above' if rule.above else 'below'} {number(rule.bound)}"
    return None
