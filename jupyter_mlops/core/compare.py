"""What tells runs apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeVar

import msgspec

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Json, Run

SYSTEM_METRICS = "system/"
"""What metrics that the recorder itself logs begin with."""
SYSTEM_TAGS = ("mlops.", "mlflow.")
"""What tags begin with that are not the user's own."""
RECORDED_TAGS = {"mlops.kernel": "kernel", "mlops.python": "python", "mlops.git.commit": "commit"}
"""Tags by which the recorder says where a run ran, and their rows."""

T = TypeVar("T")

Group = Literal["params", "metrics", "inputs", "tags", "run", "packages"]


class Evidence(msgspec.Struct, frozen=True):
    """What the files of a run say of it."""

    notebook: str | None = None
    """SHA-256 of its source notebook."""
    packages: Mapping[str, str] = {}
    """Versions (or origins) of the installed packages by name; empty when none were recorded."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One property of all compared runs, in their order."""

    group: Group
    name: str
    values: tuple[Json, ...]
    """None where a run has none."""
    texts: tuple[str | None, ...]
    """What they are compared by: a parameter's identity is its text, and NaN is not equal to itself."""

    @property
    def differs(self) -> bool:
        """Not the same in all runs; having none is different from any value."""
        return len(set(self.texts)) > 1


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Runs side by side. Rows are by group in the order of :data:`Group`; params, inputs and tags in the order first
    logged, metrics those first that most runs have. A row that no run has a value for is left out."""

    runs: tuple[Run, ...]
    rows: tuple[Row, ...]

    def of(self, group: Group) -> list[Row]:
        """The rows of one group."""
        return [row for row in self.rows if row.group == group]

    def as_document(self) -> dict[str, Json]:
        """``same`` and ``differs`` by ``group.name``; the values of ``differs`` are in the order of ``runs``."""
        return {
            "runs": self.runs,
            "same": {f"{row.group}.{row.name}": row.values[0] for row in self.rows if not row.differs},
            "differs": {f"{row.group}.{row.name}": row.values for row in self.rows if row.differs},
        }


def compare(runs: Sequence[Run], evidence: Sequence[Evidence] | None = None) -> Comparison:
    """Put runs side by side.

    Parameters
    ----------
    runs
        At least one, each once.
    evidence
        What the files of each run say, in the order of ``runs``; what is only in the files is not compared without.

    Raises
    ------
    InvalidValue
        There is no run, or one is there twice.
    """
    if not runs:
        raise InvalidValue("compare: at least one run is needed")
    seen: set[str] = set()
    for run in runs:
        if run.run_id in seen:
            raise InvalidValue(f"compare: the run {run.name} ({run.run_id}) is there twice")
        seen.add(run.run_id)
    files = evidence or [Evidence()] * len(runs)
    params = [{param.key: param for param in run.params} for run in runs]
    metrics = [{metric.key: metric.value for metric in run.metrics} for run in runs]
    every_tag = [{tag.key: tag.value for tag in run.tags} for run in runs]
    own_tags = [{key: tags[key] for key in tags if not key.startswith(SYSTEM_TAGS)} for tags in every_tag]
    inputs = [_digests(run) for run in runs]
    packages = [of_run.packages for of_run in files]
    rows = [
        *(
            Row(
                group="params",
                name=key,
                values=tuple(None if param is None else param.value for param in found),
                texts=tuple(None if param is None else param.text for param in found),
            )
            for key, found in _columns(params)
        ),
        *(_row("metrics", key, (of_run.get(key) for of_run in metrics)) for key in metric_keys(runs)),
        *(_row("inputs", key, digests) for key, digests in _columns(inputs)),
        *(_row("tags", key, values) for key, values in _columns(own_tags)),
        _row("run", "status", (run.status.value for run in runs)),
        _row("run", "seconds", ((run.end_time - run.start_time) / 1000 if run.end_time else None for run in runs)),
        _row("run", "source", (run.source or None for run in runs)),
        _row("run", "notebook", (of_run.notebook for of_run in files)),
        *(_row("run", name, (tags.get(key) for tags in every_tag)) for key, name in RECORDED_TAGS.items()),
        _row("run", "user", (run.user for run in runs)),
        # A run that recorded no packages tells nothing about which it had.
        *(_row("packages", name, found) for name, found in sorted(_columns(packages)) if all(packages)),
    ]
    return Comparison(runs=tuple(runs), rows=tuple(row for row in rows if any(text is not None for text in row.texts)))


def differing_params(runs: Sequence[Run]) -> list[str]:
    """Parameters that tell the runs apart, in the order first logged; all of them where there is one run only."""
    found = _columns([{param.key: param.text for param in run.params} for run in runs])
    return [key for key, texts in found if len(set(texts)) > 1 or len(runs) == 1]


def metric_keys(runs: Sequence[Run]) -> list[str]:
    """Metrics of the runs, those that most have first; the system's own left out."""
    counts: dict[str, int] = {}
    for run in runs:
        for metric in run.metrics:
            if not metric.key.startswith(SYSTEM_METRICS):
                counts[metric.key] = counts.get(metric.key, 0) + 1
    return sorted(counts, key=lambda key: -counts[key])


def _columns(found: Sequence[Mapping[str, T]]) -> list[tuple[str, list[T | None]]]:
    """Each key of any of the mappings, in the order first met, with its value in each."""
    keys = dict.fromkeys(key for mapping in found for key in mapping)
    return [(key, [mapping.get(key) for mapping in found]) for key in keys]


def _row(group: Group, name: str, values: Iterable[str | float | None]) -> Row:
    found = tuple(values)
    texts = tuple(value if value is None or isinstance(value, str) else repr(value) for value in found)
    return Row(group=group, name=name, values=found, texts=texts)


def _digests(run: Run) -> dict[str, str]:
    """The digests of the data sets a run used, by context and name (``training: churn``)."""
    found: dict[str, str] = {}
    for item in run.inputs:
        key = f"{item.context}: {item.dataset.name}" if item.context else item.dataset.name
        found[key] = f"{found[key]}, {item.dataset.digest}" if key in found else item.dataset.digest
    return found
