"""Jobs: runs and sweeps that were submitted to be done by a process of their own, kept as folders on this machine.

A job is known by the run that records it. Its folder holds what its worker needs (``job.json``, the notebook), who is
responsible for starting it (``server.json``), who does it (``worker.json``), what that process printed (``worker.log``)
and how it ended (``end.json``). Values of secret parameters are in none of these.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from jupyter_mlops.core.errors import NO_ROOM, Conflict, NotFound, StorageFull, Unavailable
from jupyter_mlops.core.ids import is_id
from jupyter_mlops.core.records import Json, Reason, Record, Runner, RunStatus
from jupyter_mlops.execution.engine import DEFAULT_ENGINE
from jupyter_mlops.execution.sweep import Place
from jupyter_mlops.recording.task import NotebookTask
from jupyter_mlops.tracker.location import make_private

S = TypeVar("S")

_NEW = ".new-"
_MAKING_SECONDS = 300.0
"""How long making a job may take; what is older was cut short."""


class SweepWork(Record, frozen=True, kw_only=True):
    """To run what the sweep of this job's run lacks."""

    place: Place
    engine: str = DEFAULT_ENGINE
    cluster: str | None = None
    """Where, for an engine that runs elsewhere."""
    jobs: int | None
    """Notebooks at once; None for as many as the cluster has room for."""


class Job(Record, frozen=True, kw_only=True):
    """What is to be done."""

    run_id: str
    name: str
    """The run's."""
    path: str
    """The notebook, as whoever submitted it knows it."""
    submitted: int
    """Milliseconds since the epoch."""
    submitted_by: str | None = None
    """Who used the owner's server; not verified."""
    task: NotebookTask | None = None
    """The run to be done, or else"""
    sweep: SweepWork | None = None
    """the sweep."""
    secrets: tuple[str, ...] = ()
    """Parameters whose values the worker is given when it starts, and which are written nowhere."""

    @property
    def slots(self) -> int:
        """Notebooks that it runs at once on this machine; one that runs them elsewhere counts as one."""
        return 1 if self.sweep is None or self.sweep.cluster is not None else self.sweep.jobs or 1


class End(Record, frozen=True, kw_only=True):
    """How a job ended."""

    status: RunStatus
    reason: Reason | None = None
    at: int


class JobFolder:
    """A job's files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_id = path.name
        self.notebook = path / "notebook"
        """The folder with the notebook's copy, under its own name."""
        self.log = path / "worker.log"
        self.lock = path / "worker.lock"
        """Held by the worker while it lives."""
        self.cancel_note = path / "cancel.json"
        self._job, self._server = path / "job.json", path / "server.json"
        self._worker, self._end = path / "worker.json", path / "end.json"

    def job(self) -> Job:
        """What is to be done; ``NotFound`` when there is no such job, or none that this version understands."""
        found = _read(self._job, Job)
        if found is None:
            raise NotFound(f"there is no job {self.run_id}")
        return found

    def save(self, job: Job) -> None:
        _write(self._job, job)

    def server(self) -> Runner | None:
        """The Jupyter server that is to start it and to see it through."""
        return _read(self._server, Runner)

    def claim(self, server: Runner) -> None:
        _write(self._server, server)

    def worker(self) -> Runner | None:
        """The process that does it, once that has begun."""
        return _read(self._worker, Runner)

    def begin(self, worker: Runner) -> None:
        _write(self._worker, worker)

    @property
    def has_ended(self) -> bool:
        return self._end.exists()

    def end(self) -> End | None:
        """How it ended; None before."""
        return _read(self._end, End)

    def finish(self, end: End) -> None:
        _write(self._end, end)

    def reset(self) -> None:
        """Make it one that has not begun."""
        for path in (self._worker, self.cancel_note, self._end):
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def new_folder(parent: Path, run_id: str) -> JobFolder:
    """A folder for a job in the making, which :func:`publish` makes one that is found.

    Raises
    ------
    Unavailable, StorageFull
        It cannot be made.
    """
    with writing(parent):
        make_private(parent)
        folder = JobFolder(parent / f"{_NEW}{run_id}")
        folder.path.mkdir(mode=0o700)
        folder.notebook.mkdir()
        return folder


def published(folder: JobFolder) -> JobFolder:
    """The folder as it is found once :func:`publish` was called."""
    return JobFolder(folder.path.with_name(folder.path.name.removeprefix(_NEW)))


def publish(folder: JobFolder) -> JobFolder:
    """Let the job be found."""
    found = published(folder)
    with writing(found.path):
        folder.path.rename(found.path)
    return found


def folders(parent: Path) -> list[JobFolder]:
    """The jobs there are, in the order of their ids, which is that of their time."""
    return [JobFolder(path) for path in sorted(parent.glob("*")) if is_id(path.name)]


def half_made(parent: Path) -> Iterator[tuple[str, JobFolder]]:
    """Jobs whose making was cut short some time ago, with the ids of their runs."""
    for path in parent.glob(f"{_NEW}*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _MAKING_SECONDS:
                yield path.name.removeprefix(_NEW), JobFolder(path)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write a job's files into one that says what it means."""
    try:
        yield
    except FileExistsError as error:
        raise Conflict(f"there is a job in {error.filename} already") from error
    except OSError as error:
        kind = StorageFull if error.errno in NO_ROOM else Unavailable
        raise kind(f"the job cannot be kept in {error.filename or path}: {error.strerror}") from error


def _read(path: Path, kind: type[S]) -> S | None:
    try:
        # Python's own codec, since msgspec's has no NaN.
        return msgspec.convert(json.loads(path.read_bytes()), kind)
    except (OSError, ValueError, msgspec.ValidationError):
        return None


def _write(path: Path, value: Json) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        partial.write_text(json.dumps(msgspec.to_builtins(value)), encoding="utf-8")
        partial.replace(path)
