"""Whether a notebook that was run again gave the same: its metrics side by side, and what else differs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import Enum

from jupyter_mlops.core.compare import SYSTEM_METRICS, Comparison, Row
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.formats import number
from jupyter_mlops.core.records import Record, Run
from jupyter_mlops.core.suggestions import did_you_mean


class Agreement(str, Enum):
    """How near two results are."""

    EQUAL = "equal"
    TOLERATED = "within tolerance"
    DIFFERENT = "different"


_WORST = (Agreement.DIFFERENT, Agreement.TOLERATED, Agreement.EQUAL)


class MetricAgreement(Record, frozen=True, kw_only=True):
    """One metric's latest value, as recorded and as it came out again; None when it did not."""

    key: str
    recorded: float
    again: float | None
    agreement: Agreement


class Difference(Record, frozen=True, kw_only=True):
    """Something of what the runs ran with; None where a run had none."""

    name: str
    recorded: str | None
    again: str | None


class Surroundings(Record, frozen=True, kw_only=True):
    """What differs between the runs beside their results; None where not both runs recorded it."""

    packages: tuple[Difference, ...] | None = None
    """Installed packages, and ``python`` itself."""
    code: tuple[Difference, ...] | None = None
    """The notebook, the commit, what differed from it, and imported modules outside of git."""
    data: tuple[Difference, ...] | None = None
    """Digests of the data sets that were logged as inputs."""
    absent_commit: str | None = None
    """The commit of the recorded run, where it was run again without a working tree: from the notebook and the modules
    that its record keeps, and nothing else of the repository. Then ``code`` is about those."""

    def __str__(self) -> str:
        """``packages differ, code is the same, no data set was recorded``."""
        parts = []
        for name, verb, found, unknown in (
            ("packages", ("differ", "are the same"), self.packages, "no packages were recorded"),
            ("code", ("differs", "is the same"), self.code, "no code was recorded"),
            ("data", ("differ", "are the same"), self.data, "no data set was recorded"),
        ):
            parts.append(unknown if found is None else f"{name} {verb[0] if found else verb[1]}")
        if self.absent_commit is not None and self.code is not None:
            parts[1] += f" as far as the run keeps it (commit {self.absent_commit[:12]} was not checked out)"
        return ", ".join(parts)


class Reproduction(Record, frozen=True, kw_only=True):
    """A run and its repetition."""

    run_id: str
    again: str
    """The id of the repetition."""
    agreement: Agreement
    """The least of what the metrics show."""
    tolerance: float
    """By how much a metric may differ, relative to the recorded value."""
    metrics: tuple[MetricAgreement, ...]
    surroundings: Surroundings

    @property
    def reproduced(self) -> bool:
        return self.agreement is not Agreement.DIFFERENT

    @property
    def summary(self) -> str:
        """One sentence."""
        counts = [(level, [m for m in self.metrics if m.agreement is level]) for level in _WORST]
        told = ", ".join(f"{len(found)} {level.value}" for level, found in counts if found)
        worst = next((m for m in self.metrics if m.agreement is self.agreement), None)
        example = ""
        if worst is not None and self.agreement is not Agreement.EQUAL:
            came = "did not come out again" if worst.again is None else f"came out as {number(worst.again)}"
            example = f" ({worst.key} was {number(worst.recorded)}, {came})"
        return f"{self.agreement.value}: of {len(self.metrics)} metrics {told}{example}; {self.surroundings}"


def comparable_metrics(run: Run, only: Sequence[str] = ()) -> tuple[str, ...]:
    """The metrics of ``run`` that its repetition is judged by: those of ``only``, or all that the notebook logged.

    Raises
    ------
    InvalidValue
        There are none, or ``only`` names one that was not logged.
    """
    own = [metric.key for metric in run.metrics if not metric.key.startswith(SYSTEM_METRICS)]
    if not own:
        raise InvalidValue(f"{run.name} logged no metric, so there is nothing that could agree")
    for key in only:
        if key not in own:
            raise InvalidValue(f"{run.name} logged no metric {key!r}{did_you_mean(key, own)}")
    return tuple(only) or tuple(own)


def judge(
    comparison: Comparison,
    *,
    tolerance: float = 0.0,
    only: Sequence[str] = (),
    code: Sequence[Difference] = (),
) -> Reproduction:
    """The judgement on the second of two compared runs as a repetition of the first.

    Parameters
    ----------
    comparison
        Of the two, the recorded one first.
    tolerance
        By how much a metric may differ, relative to the recorded value.
    only
        The metrics that count; all of the recorded run when empty.
    code
        What differs in the code beside the notebook and the commit.

    Raises
    ------
    InvalidValue
        See :func:`comparable_metrics`.
    """
    recorded, again = comparison.runs
    values = {metric.key: metric.value for metric in again.metrics}
    before = {metric.key: metric.value for metric in recorded.metrics}
    metrics = tuple(
        MetricAgreement(
            key=key,
            recorded=before[key],
            again=values.get(key),
            agreement=agreement(before[key], values.get(key), tolerance),
        )
        for key in comparable_metrics(recorded, only)
    )
    found = {metric.agreement for metric in metrics}
    return Reproduction(
        run_id=recorded.run_id,
        again=again.run_id,
        agreement=next(level for level in _WORST if level in found),
        tolerance=tolerance,
        metrics=metrics,
        surroundings=_surroundings(comparison, code),
    )


def absent_commit(comparison: Comparison) -> str | None:
    """The commit of the first of two compared runs, when the second was made in no repository."""
    commit = next((row for row in comparison.of("run") if row.name == "commit"), None)
    return None if commit is None or commit.texts[1] is not None else commit.texts[0]


def _surroundings(comparison: Comparison, code: Sequence[Difference]) -> Surroundings:
    packages, inputs = comparison.of("packages"), comparison.of("inputs")
    of_run = {row.name: row for row in comparison.of("run")}
    absent = absent_commit(comparison)
    ran = [of_run[name] for name in ("notebook", *(("commit",) if absent is None else ())) if name in of_run]
    return Surroundings(
        packages=_differing([*(of_run[name] for name in ("python",) if name in of_run), *packages])
        if packages
        else None,
        code=(*_differing(ran), *code) if "notebook" in of_run else None,
        data=_differing(inputs) if inputs else None,
        absent_commit=absent,
    )


def agreement(recorded: float, again: float | None, tolerance: float) -> Agreement:
    """How near ``again`` is to ``recorded``. NaN agrees with NaN, an infinity with itself, neither with anything
    else."""
    if again is None:
        return Agreement.DIFFERENT
    if recorded == again or (math.isnan(recorded) and math.isnan(again)):
        return Agreement.EQUAL
    near = math.isfinite(recorded) and abs(again - recorded) <= tolerance * abs(recorded)
    return Agreement.TOLERATED if near else Agreement.DIFFERENT


def _differing(rows: Iterable[Row]) -> tuple[Difference, ...]:
    return tuple(Difference(name=row.name, recorded=row.texts[0], again=row.texts[1]) for row in rows if row.differs)
