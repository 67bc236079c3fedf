"""A run as a folder of files: how what was recorded in an enclosed process's own store comes into the shared one.

Whoever reads such a folder takes it for what it is, the word of foreign code: it is decoded by type, its files are
regular ones, and the shared store checks each value as it checks those of any caller.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.parameters import recordable
from jupyter_mlops.core.records import Batch, Json, MetricPoint, NewRun, Run, RunChange, Tag
from jupyter_mlops.core.values import series
from jupyter_mlops.tracker.protocol import Tracker

_RECORD, _FILES = "run.msgpack", "files"
_LARGEST_RECORD = 256 << 20
_SERIES_AT_ONCE = 100


class _Copy(msgspec.Struct, frozen=True):
    """A run with the points of its metrics, by key."""

    run: Run
    histories: dict[str, tuple[MetricPoint, ...]]


def write_run(tracker: Tracker, run: Run, folder: Path) -> None:
    """Write ``run`` and its files into ``folder``, which is made."""
    folder.mkdir()
    histories = {metric.key: _points(tracker, run, metric.key) for metric in run.metrics}
    (folder / _RECORD).write_bytes(msgspec.msgpack.encode(_Copy(run, histories)))
    tracker.artifacts.download(run.run_id, "", folder / _FILES)


def _points(tracker: Tracker, run: Run, key: str) -> tuple[MetricPoint, ...]:
    points: list[MetricPoint] = []
    token: str | None = None
    while True:
        page = tracker.runs.history(run.run_id, key, page_token=token)
        points += page.items
        token = page.next_page_token
        if token is None:
            return tuple(points)


def read_run(
    tracker: Tracker,
    folder: Path,
    *,
    experiment_id: str,
    source: str,
    tags: Mapping[str, str],
    parameters: Mapping[str, Json],
) -> Run:
    """Record the run of ``folder``, which :func:`write_run` has written, in an experiment; gives the new run.

    Parameters
    ----------
    source
        What was executed, as users know it.
    tags
        Further tags; they take the place of the run's own.
    parameters
        Values that take the place of the run's own, where what an enclosed process was given means nothing elsewhere.

    Raises
    ------
    InvalidValue
        The folder holds no run, or one that cannot be recorded.
    """
    files = folder / _FILES
    for place in (folder, files):
        if not place.is_dir() or place.is_symlink():
            raise InvalidValue("the enclosed process left no run")
    copy = _read(folder / _RECORD)
    run = copy.run
    if not run.status.ended:
        raise InvalidValue("the enclosed process left a run that has not ended")
    given, _ = recordable({param.key: parameters[param.key] for param in run.params if param.key in parameters})
    replaced = {param.key: param for param in given}
    kept = [tag for tag in run.tags if tag.key not in tags]
    made = tracker.runs.create(
        NewRun(
            experiment_id=experiment_id,
            kind=run.kind,
            name=run.name,
            start_time=run.start_time,
            source=source,
            hidden_state=run.hidden_state,
            batch=Batch(
                params=tuple(replaced.get(param.key, param) for param in run.params),
                tags=(*kept, *(Tag(key, value) for key, value in tags.items())),
                inputs=run.inputs,
            ),
        )
    )
    found = [
        series(key, [p.value for p in points], steps=[p.step for p in points], timestamps=[p.timestamp for p in points])
        for key, points in copy.histories.items()
        if points
    ]
    for start in range(0, len(found), _SERIES_AT_ONCE):
        tracker.runs.log(made.run_id, Batch(series=tuple(found[start : start + _SERIES_AT_ONCE])))
    tracker.artifacts.put_folder(made.run_id, files)
    change = RunChange(status=run.status, reason=run.reason, end_time=run.end_time, progress=run.progress)
    return tracker.runs.change(made.run_id, change)


def _read(path: Path) -> _Copy:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise InvalidValue(f"the enclosed process left no run: {error.strerror}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_RECORD:
            raise InvalidValue("the enclosed process left no run, or one that is too large")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return msgspec.msgpack.decode(file.read(), type=_Copy)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidValue(f"the enclosed process left what is no run: {error}") from error
    finally:
        os.close(descriptor)
