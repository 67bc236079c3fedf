"""Files of runs: who may, then bytes into the artifact location, then rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sqlalchemy.engine import Connection

from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.errors import Conflict, NotFound
from jupyter_mlops.core.records import Artifact, Lifecycle, StreamPosition
from jupyter_mlops.core.run_fields import check_position
from jupyter_mlops.core.values import artifact_path
from jupyter_mlops.store import artifacts, events, streams
from jupyter_mlops.store.artifacts import File
from jupyter_mlops.store.blobs import Blob
from jupyter_mlops.store.objects import require_driver
from jupyter_mlops.store.runs import Facts
from jupyter_mlops.tracker.download import save_file, save_folder
from jupyter_mlops.tracker.embedded._context import Context, run_changed
from jupyter_mlops.tracker.upload import opened, regular_files


@checked
class EmbeddedArtifacts:
    """See :class:`jupyter_mlops.tracker.protocol.Artifacts`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def check_location(self) -> None:
        require_driver(self._context.store.artifacts_url)

    def put(self, run_id: str, path: str, source: BinaryIO | Path, position: StreamPosition | None = None) -> Artifact:
        artifact_path(path)
        check_position(position)
        user = self._context.stream_user
        with self._context.read() as connection:
            self._require_writable(connection, run_id)
            if position is not None and streams.watermark(connection, position.stream, user) >= position.number:
                return self._applied(connection, run_id, path)
        with opened(source) as file, self._context.blobs.upload() as upload:
            content = upload.add(file)
            with upload.transaction() as connection:
                if not streams.claim(connection, position, user, self._context.clock()):
                    return self._applied(connection, run_id, path)
                artifacts.lock_run(connection, run_id)
                blobs = upload.keep(connection)
                return self._write(connection, run_id, {path: blobs[content.digest]})[0]

    def put_folder(self, run_id: str, folder: Path, path: str = "") -> tuple[Artifact, ...]:
        prefix = f"{artifact_path(path)}/" if path else ""
        with self._context.read() as connection:
            self._require_writable(connection, run_id)
        sources = {artifact_path(prefix + name): source for name, source in regular_files(folder)}
        with self._context.blobs.upload() as upload:
            digests: dict[str, str] = {}
            for name, source in sources.items():
                with opened(source, follow=False) as file:
                    digests[name] = upload.add(file).digest
            with upload.transaction() as connection:
                artifacts.lock_run(connection, run_id)
                blobs = upload.keep(connection)
                return self._write(connection, run_id, {name: blobs[digest] for name, digest in digests.items()})

    def list(self, run_id: str, path: str = "") -> tuple[Artifact, ...]:
        with self._reading(run_id, path) as connection:
            return artifacts.list_files(connection, run_id, path)

    def walk(self, run_id: str, path: str = "") -> tuple[Artifact, ...]:
        with self._reading(run_id, path) as connection:
            return tuple(file.record() for file in artifacts.walk_files(connection, run_id, path))

    def stat(self, run_id: str, path: str) -> Artifact:
        return self._file(run_id, path).record()

    def open(self, run_id: str, path: str, *, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        return self._read(run_id, self._file(run_id, path), start, stop)

    def download(self, run_id: str, path: str, destination: Path) -> Path:
        with self._reading(run_id, path) as connection:
            files = artifacts.walk_files(connection, run_id, path)
        if [file.path for file in files] == [path]:
            return save_file(destination, path, lambda: self._read(run_id, files[0]))
        if path and not files:
            raise _missing(run_id, path)
        start = len(path) + 1 if path else 0
        openers = {file.path[start:]: lambda file=file: self._read(run_id, file) for file in files}
        return save_folder(destination, path, openers)

    def delete(self, run_id: str, path: str) -> None:
        artifact_path(path)
        with self._context.write() as connection:
            run = self._require_writable(connection, run_id)
            artifacts.lock_run(connection, run_id)
            if not artifacts.delete_files(connection, run_id, path):
                raise _missing(run_id, path)
            now = self._context.clock()
            events.add_events(connection, run_changed(run_id, run, now))
            events.add_audit(connection, self._context.principal.name, "artifact.delete", run_id, now, {"path": path})

    def _file(self, run_id: str, path: str) -> File:
        artifact_path(path)
        with self._reading(run_id, path) as connection:
            file = artifacts.get_file(connection, run_id, path)
            if file is None:
                below = artifacts.walk_files(connection, run_id, path)
                raise _missing(run_id, path, "it is a folder, not a file" if below else None)
        return file

    def _write(self, connection: Connection, run_id: str, files: Mapping[str, Blob]) -> tuple[Artifact, ...]:
        run = self._require_writable(connection, run_id)
        now = self._context.clock()
        written = artifacts.put_files(connection, run_id, files, now)
        if written:
            events.add_events(connection, run_changed(run_id, run, now))
        return written

    def _applied(self, connection: Connection, run_id: str, path: str) -> Artifact:
        """What a put that was applied before has left."""
        file = artifacts.get_file(connection, run_id, path)
        return Artifact(path=path) if file is None else file.record()

    def _read(self, run_id: str, file: File, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        return self._context.blobs.read(file.blob, f"artifact {file.path!r} of run {run_id}", start, stop)

    @contextmanager
    def _reading(self, run_id: str, path: str) -> Iterator[Connection]:
        if path:
            artifact_path(path)
        with self._context.read() as connection:
            self._context.run_allowed(connection, run_id, Scope.READ)
            yield connection

    def _require_writable(self, connection: Connection, run_id: str) -> Facts:
        run = self._context.run_allowed(connection, run_id, Scope.WRITE)
        if run.lifecycle is Lifecycle.DELETED:
            raise Conflict(f"run {run_id} is deleted; restore it to change its artifacts")
        return run


def _missing(run_id: str, path: str, why: str | None = None) -> NotFound:
    return NotFound(f"run {run_id!r} has no artifact {path!r}" + (f": {why}" if why else ""))
