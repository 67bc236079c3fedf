"""A rehearsal of a run's record: all that a process does for the first time when it writes one, done beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from io import BytesIO

from sqlalchemy.engine import Connection

from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import (
    Batch,
    Metric,
    NewRun,
    Param,
    Progress,
    RunChange,
    RunKind,
    RunStatus,
    StreamPosition,
    Tag,
)
from jupyter_mlops.store.blobs import BlobStore
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.objects import Objects
from jupyter_mlops.tracker.embedded import EmbeddedTracker, OpenStore


class _Unkept:
    """Objects that nobody will read, and their writer."""

    url = "nowhere:"

    def create(self, key: str) -> _Unkept:  # noqa: ARG002
        return self

    def write(self, piece: bytes) -> None: ...

    def finish(self) -> None: ...

    def discard(self) -> None: ...

    def sync(self, keys: list[str]) -> None: ...

    def read(self, key: str, start: int, stop: int) -> Iterator[bytes]:  # noqa: ARG002
        raise FileNotFoundError(key)

    def remove(self, key: str) -> None: ...

    def listing(self) -> Iterator[tuple[str, int]]:
        return iter(())

    def link(self, key: str, seconds: int) -> None: ...


class _UnkeptBlobs(BlobStore):
    """Not in a folder for the time being: a worker that is killed meanwhile shall leave nothing."""

    def elsewhere(self, location: str) -> Objects:  # noqa: ARG002
        return _Unkept()


class _EmptyStore(OpenStore):
    @cached_property
    def blobs(self) -> BlobStore:
        return _UnkeptBlobs(self.database, self.artifacts_url)


class _OneTransaction(Database):
    """A database all of whose transactions are parts of one, which somebody else ends."""

    def __init__(self, database: Database, connection: Connection) -> None:
        self.__dict__.update(database.__dict__)
        self._connection = connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        yield self._connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        yield self._connection


def rehearse(tracker: EmbeddedTracker) -> None:
    """Record runs as runners do, in a store that is empty and vanishes; that of ``tracker``, which is on SQLite, is
    neither written to nor waited for.

    Ready for ``tracker`` is then what is made when it is needed first: the statements, which a database compiles once,
    and the checks of arguments.
    """
    with tracker.database.blank() as connection:
        store = _EmptyStore(_OneTransaction(tracker.database, connection), "")
        try:
            view = EmbeddedTracker(store, tracker.principal, is_view=True)
            experiment = view.experiments.ensure("rehearsal")
            # Of a statement for one row, and for several, each is compiled by itself.
            for rows in (1, 2):
                _record(view, experiment.experiment_id, rows)
        finally:
            store.writer.close()


def _record(tracker: EmbeddedTracker, experiment_id: str, rows: int) -> None:
    run_id, stream = new_id(), new_id()
    names = [str(number) for number in range(rows)]
    batch = Batch(params=tuple(Param(name, 0, "0") for name in names), tags=tuple(Tag(name, "") for name in names))
    tracker.runs.create(NewRun(run_id=run_id, experiment_id=experiment_id, kind=RunKind.NOTEBOOK, batch=batch))
    tracker.runs.watermark(stream)
    files = {name: BytesIO(f"{run_id} {name}".encode()) for name in names}
    tracker.artifacts.put_files(run_id, files, StreamPosition(stream, 1))
    batch = Batch(metrics=tuple(Metric(name, 0.0, 0) for name in names))
    done = RunChange(status=RunStatus.FINISHED, progress=Progress(done=1, total=1))
    tracker.runs.log_and_change(run_id, batch, done, StreamPosition(stream, 2))
    tracker.runs.children(run_id)
    tracker.runs.get(run_id)
