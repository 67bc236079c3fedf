"""What an examination of a store or a service comes to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum

from jupyter_mlops.core.quotas import Standing
from jupyter_mlops.core.records import Record

SKEW_SECONDS = 30
"""By how much two clocks may differ."""


class State(str, Enum):
    GOOD = "good"
    DOUBTFUL = "doubtful"
    """It works, and may not for long, or not for everybody."""
    BAD = "bad"


class Finding(Record, frozen=True, kw_only=True):
    """One thing that was looked at."""

    what: str
    state: State
    told: str
    """What was found, one sentence."""
    advice: str = ""
    """What to change; empty where all is well."""


def good(what: str, told: str) -> Finding:
    return Finding(what=what, state=State.GOOD, told=told)


def doubtful(what: str, told: str, advice: str) -> Finding:
    return Finding(what=what, state=State.DOUBTFUL, told=told, advice=advice)


def bad(what: str, told: str, advice: str) -> Finding:
    return Finding(what=what, state=State.BAD, told=told, advice=advice)


def room(standings: Iterable[Standing]) -> Iterator[Finding]:
    """About quotas that are nearly used up."""
    advice = "delete what is not needed, or give more: jupyter mlops quota"
    for each in standings:
        yield from (doubtful("quota", warning, advice) for warning in each.warnings)


def clocks(skew: float, other: str) -> Finding:
    """About the clock of this machine, which is ``skew`` seconds ahead of that of ``other``."""
    if abs(skew) <= SKEW_SECONDS:
        return good("clock", f"this machine and {other} agree")
    told = f"this machine is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} {other}"
    return doubtful("clock", told, "have both synchronise their clocks: times of runs come from both")
