"""Checks of a candidate: the job of a check, its result, and what a policy may say of the checks that come with this
package.

A check says of a candidate that it *passed* or *failed*; ``error`` means that it could not be found out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum

import msgspec

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Json, Record, Run
from jupyter_mlops.core.suggestions import did_you_mean
from jupyter_mlops.core.values import short

LEASE_SECONDS = 60.0
"""How long a worker that claimed a job may be silent before the job is another's to claim."""
JOB_PREFIX = "check:"
"""What the name of a job's own principal begins with; the job's id follows."""
CHECK_METRICS = "check/"
"""What the metrics begin with by which a notebook says of something that it passed (1) or not (0)."""
LONGEST_SUMMARY = 1000
LONGEST_LOG = 100_000
"""Characters of a log that are kept: its end."""


class Verdict(str, Enum):
    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    """The check itself could not be done, so that nothing is known of the candidate."""


class CheckJob(Record, frozen=True, kw_only=True):
    """One check to be done for one request."""

    job_id: str
    request_id: str
    model: str
    version: int
    """The candidate."""
    alias: str
    champion: int | None = None
    """The version that the alias pointed at when the request was made; None when at none."""
    name: str
    """Of the check, as the policy names it."""
    settings: dict[str, Json] = msgspec.field(default_factory=dict)
    attempt: int = 1
    """How often it has been claimed, this time included."""
    claim: str = ""
    """What shows that the job is the worker's: told to who claims it and to nobody else, another one each time."""


class CheckResult(Record, frozen=True, kw_only=True):
    """How a check came out."""

    name: str
    verdict: Verdict
    summary: str
    """One sentence for a reviewer."""
    detail: Json = None
    log: str = ""
    """What the candidate's code printed, or its end."""
    reported_by: str = ""
    self_reported: bool = False
    """Reported by the requester's or author's own server, so that the policy does not count it."""
    started: int = 0
    ended: int = 0
    """Milliseconds since the epoch."""


# --- what a policy may say of each -----------------------------------------------------------------------------------


class CheckSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the settings of checks."""


class FormatSettings(CheckSettings, frozen=True, kw_only=True):
    """``format`` has none: the model can be loaded without running code that came with it."""


class ProvenanceSettings(CheckSettings, frozen=True, kw_only=True):
    """``provenance``: what must be on record of the candidate's run."""

    git: bool = True
    """A commit, and what differed from it."""
    no_hidden_state: bool = True
    """The result depends on nothing that is not in the record."""
    datasets: bool = True
    """At least one data set, with its digest."""


class MetricSettings(CheckSettings, frozen=True, kw_only=True):
    """``metric``: a bound, or not worse than the champion, or both."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    tolerance: float | None = None
    """By how much it may be worse than the champion's, in the metric's own unit; None compares with no champion."""
    lower_is_better: bool = False

    def __post_init__(self) -> None:
        limits = (self.at_least, self.at_most, self.tolerance)
        if all(limit is None for limit in limits):
            raise ValueError("give at_least or at_most, or tolerance to compare with the champion")
        if any(limit is not None and math.isnan(limit) for limit in limits):
            raise ValueError("a limit that is no number is none")
        if self.tolerance is not None and self.tolerance < 0:
            raise ValueError("tolerance is by how much it may be worse: 0 or more")


class LoadsSettings(CheckSettings, frozen=True, kw_only=True):
    """``loads``: it loads, predicts its recorded example, and takes and gives what the champion does."""

    example: bool = True
    """Whether a model without a recorded example fails."""
    compatible: bool = True
    """Whether its signature must be compatible with the champion's."""


class NotebookSettings(CheckSettings, frozen=True, kw_only=True):
    """``notebook``: a validation notebook, run on the candidate and the champion."""

    run: str
    """The id of a recorded notebook run, whose source notebook it is."""
    digest: str | None = None
    """SHA-256 of the notebook, hex: another one is refused."""
    parameters: dict[str, Json] = {}
    """Further parameters by name."""
    other_owner: bool = False
    """Whether it must be of somebody else than the candidate's author."""


class ReproducesSettings(CheckSettings, frozen=True, kw_only=True):
    """``reproduces``: the candidate's notebook, run again, gives the same metrics."""

    tolerance: float = 0.0
    """By how much a metric may differ, relative to the recorded one."""
    metrics: tuple[str, ...] = ()
    """Which must agree; all that were recorded when empty."""

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < math.inf:
            raise ValueError("tolerance is a share of the recorded value: 0 or more")


SETTINGS: dict[str, type[CheckSettings]] = {
    "format": FormatSettings,
    "provenance": ProvenanceSettings,
    "metric": MetricSettings,
    "loads": LoadsSettings,
    "notebook": NotebookSettings,
    "reproduces": ReproducesSettings,
}
"""The checks that come with this package, cheapest first, which is the order they are done in; those of others, found
by entry point, come after them."""


def check_settings(name: str, settings: Mapping[str, Json]) -> CheckSettings | None:
    """The settings of a check, typed; None for a check of others, which judges its settings itself.

    Raises
    ------
    InvalidValue
        A setting is unknown, of another type, or makes no sense.
    """
    kind = SETTINGS.get(name)
    if kind is None:
        return None
    known = kind.__struct_fields__
    for key in settings:
        if key not in known:
            possible = f"; it has {', '.join(known)}" if known else "; it has none"
            raise InvalidValue(f"check {name!r} has no setting {short(key)}{did_you_mean(str(key), known) or possible}")
    try:
        return msgspec.convert(dict(settings), kind)
    except msgspec.ValidationError as error:
        raise InvalidValue(f"check {name!r}: {error}") from error


def cost(name: str) -> int:
    """The place of a check in the order in which checks are done: cheaper ones first."""
    order = list(SETTINGS)
    return order.index(name) if name in SETTINGS else len(order)


# --- the token of a job ----------------------------------------------------------------------------------------------

TOKEN_PREFIX = "mlops_check_"
"""What the token of a job begins with, so that it is not looked for elsewhere."""


# --- checks that a notebook logs -------------------------------------------------------------------------------------


def logged_checks(run: Run) -> dict[str, bool]:
    """Whether what a notebook checked passed, by name: of the metrics ``check/NAME``. Each point must be 1; one that is
    less, or NaN, has not passed, whatever was logged after it."""
    return {
        metric.key[len(CHECK_METRICS) :]: metric.min is not None and metric.min >= 1 and not math.isnan(metric.value)
        for metric in run.metrics
        if metric.key.startswith(CHECK_METRICS)
    }
