"""``metric``: a metric of the candidate's run against a bound, and against the champion's."""

from __future__ import annotations

import math

from jupyter_mlops.checks.check import Finding, Subject, failed, passed
from jupyter_mlops.core.checks import MetricSettings
from jupyter_mlops.core.formats import number
from jupyter_mlops.core.records import Json, ModelVersion


class MetricCheck:
    """The value is the latest that the run logged."""

    def __call__(self, subject: Subject) -> Finding:
        settings = subject.settings(MetricSettings)
        value = _value(subject, subject.candidate, settings.metric)
        if value is None:
            return failed(f"the run of version {subject.job.version} has no metric {settings.metric!r}")
        detail: dict[str, Json] = {"metric": settings.metric, "value": number(value)}
        told = [f"{settings.metric} is {number(value)}"]
        good = True
        for limit, holds, words in (
            (settings.at_least, settings.at_least is None or value >= settings.at_least, "at least"),
            (settings.at_most, settings.at_most is None or value <= settings.at_most, "at most"),
        ):
            if limit is not None:
                told.append(f"{'as' if holds else 'but'} {words} {number(limit)} is asked for")
                good = good and holds
        if settings.tolerance is not None:
            fits, words = _against_champion(subject, settings, value, detail)
            told.append(words)
            good = good and fits
        return (passed if good else failed)(", ".join(told), detail)


def _against_champion(
    subject: Subject, settings: MetricSettings, value: float, detail: dict[str, Json]
) -> tuple[bool, str]:
    """Whether the candidate is not worse than the champion, and how that is said."""
    assert settings.tolerance is not None
    if subject.champion is None:
        return True, f"and nothing has the alias {subject.job.alias!r} to be compared with"
    best = _value(subject, subject.champion, settings.metric)
    name = f"the champion (version {subject.champion.version})"
    if best is None:
        return False, f"but {name} has no such metric to be compared with"
    detail["champion"] = number(best)
    worse = value - best if settings.lower_is_better else best - value
    # Not the opposite comparison, by which NaN would be good enough. 0.85 - 0.83 is a little more than 0.02.
    fits = worse <= settings.tolerance or math.isclose(worse, settings.tolerance, rel_tol=1e-9) or value == best
    allowed = f", by no more than {number(settings.tolerance)}" if settings.tolerance else ""
    if fits:
        return True, f"and not worse than the {number(best)} of {name}{allowed}"
    return False, f"but {name} has {number(best)}, and it may not be worse{allowed}"


def _value(subject: Subject, version: ModelVersion, key: str) -> float | None:
    run = subject.run_of(version)
    if run is None:
        return None
    return next((metric.value for metric in run.metrics if metric.key == key), None)
