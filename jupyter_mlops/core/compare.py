"""What tells runs apart."""

from __future__ import annotations

from collections.abc import Sequence

from jupyter_mlops.core.records import Run

SYSTEM_METRICS = "system/"
"""What metrics that the recorder itself logs begin with."""


def differing_params(runs: Sequence[Run]) -> list[str]:
    """Parameters that tell the runs apart, in the order first logged; all of them where there is one run only."""
    values: dict[str, set[str | None]] = {}
    for run in runs:
        for param in run.params:
            values.setdefault(param.key, set()).add(param.text)
    for run in runs:
        for key in values.keys() - {param.key for param in run.params}:
            values[key].add(None)
    return [key for key, texts in values.items() if len(texts) > 1 or len(runs) == 1]


def metric_keys(runs: Sequence[Run]) -> list[str]:
    """Metrics of the runs, those that most have first; the system's own left out."""
    counts: dict[str, int] = {}
    for run in runs:
        for metric in run.metrics:
            if not metric.key.startswith(SYSTEM_METRICS):
                counts[metric.key] = counts.get(metric.key, 0) + 1
    return sorted(counts, key=lambda key: -counts[key])
