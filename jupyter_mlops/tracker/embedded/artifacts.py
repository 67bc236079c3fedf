"""Files of runs: who may, then bytes into the artifact location, then rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from sqlalchemy.engine import Connection

from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.errors import Conflict, IntegrityError, InvalidValue, NotFound, Unavailable
from jupyter_mlops.core.ids import is_id
from jupyter_mlops.core.quotas import quota_of
from jupyter_mlops.core.records import Artifact, Lifecycle, Part, StreamPosition
from jupyter_mlops.core.run_fields import check_position
from jupyter_mlops.core.values import LARGEST_INT, artifact_path, short
from jupyter_mlops.store import artifacts, events, staging, streams, usage
from jupyter_mlops.store.artifacts import File
from jupyter_mlops.store.blobs import Blob, Upload
from jupyter_mlops.store.objects import require_usable
from jupyter_mlops.store.runs import Facts
from jupyter_mlops.tracker.download import save_file, save_folder
from jupyter_mlops.tracker.embedded._context import Context, run_changed
from jupyter_mlops.tracker.embedded.receiving import Found, Receiving, received
from jupyter_mlops.tracker.embedded.room import Room
from jupyter_mlops.tracker.upload import opened, regular_files


@checked
class EmbeddedArtifacts:
    """See :class:`jupyter_mlops.tracker.files.Artifacts`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def check_location(self) -> None:
        require_usable(self._context.store.artifacts_url)

    def put(self, run_id: str, path: str, source: BinaryIO | Path, position: StreamPosition | None = None) -> Artifact:
        receiving = self.receive(run_id, path, position)
        if position is not None:
            user = self._context.stream_user
            with self._context.read() as connection:
                if streams.watermark(connection, position.stream, user) >= position.number:
                    return self._applied(connection, run_id, path)
        with opened(source) as file:
            return received(receiving, file)

    def receive(self, run_id: str, path: str, position: StreamPosition | None = None) -> Receiving[Artifact]:
        """A :meth:`put` whose bytes are brought."""
        artifact_path(path)
        check_position(position)
        user = self._context.stream_user
        with self._context.read() as connection:
            room = self._room(connection, run_id, [path])

        def keep(upload: Upload, content: Blob) -> Artifact:
            with upload.transaction() as connection:
                if not streams.claim(connection, position, user, self._context.clock()):
                    return self._applied(connection, run_id, path)
                artifacts.lock_run(connection, run_id)
                blobs = upload.keep(connection)
                return self._write(connection, run_id, {path: blobs[content.digest]})[0]

        return Receiving(self._context.blobs, keep, room)

    def put_folder(self, run_id: str, folder: Path, path: str = "") -> tuple[Artifact, ...]:
        prefix = f"{artifact_path(path)}/" if path else ""
        with self._context.read() as connection:
            self._require_writable(connection, run_id)
        return self.put_files(run_id, {prefix + name: source for name, source in regular_files(folder)})

    def put_files(
        self, run_id: str, files: Mapping[str, BinaryIO | Path], position: StreamPosition | None = None
    ) -> tuple[Artifact, ...]:
        """See :class:`jupyter_mlops.tracker.files.PutsTogether`."""
        for path in files:
            artifact_path(path)
        check_position(position)
        user = self._context.stream_user
        with self._context.read() as connection:
            if position is not None and streams.watermark(connection, position.stream, user) >= position.number:
                self._require_writable(connection, run_id)
                return tuple(self._applied(connection, run_id, path) for path in files)
            room = self._room(connection, run_id, list(files))
        with closing(room), self._context.blobs.upload() as upload:
            digests: dict[str, str] = {}
            total = 0
            for path, source in files.items():
                with opened(source, follow=False) as file:
                    blob = upload.add(file)
                digests[path] = blob.digest
                total += blob.size
                room.take(total, blob.size)
            room.close()
            with upload.transaction() as connection:
                if not streams.claim(connection, position, user, self._context.clock()):
                    return tuple(self._applied(connection, run_id, path) for path in files)
                artifacts.lock_run(connection, run_id)
                blobs = upload.keep(connection)
                return self._write(connection, run_id, {path: blobs[digest] for path, digest in digests.items()})

    def put_part(
        self, run_id: str, upload_id: str, path: str, offset: int, source: BinaryIO | Path, total: int = 0
    ) -> Part:
        receiving = self.receive_part(run_id, upload_id, path, offset, total)
        with opened(source) as file:
            return received(receiving, file)

    def receive_part(self, run_id: str, upload_id: str, path: str, offset: int, total: int = 0) -> Receiving[Part]:
        """A :meth:`put_part` whose bytes are brought."""
        artifact_path(path)
        if offset < 0:
            raise InvalidValue(f"offset: a part begins at byte 0 or later, not at {offset}")
        if not 0 <= total <= LARGEST_INT:
            raise InvalidValue(f"total: a file has 0 to {LARGEST_INT} bytes, not {total}")
        holder = self._holder(run_id, upload_id)
        with self._context.read() as connection:
            staged = staging.parts(connection, holder)
            before = staged.get(path, [])
            paths = [*staged, path]
            room = self._room(connection, run_id, paths)
            staging.check_offset(before, path, offset)
            counted = staging.counted(connection, holder)
        # Of what is sent again, because its answer did not come, there is no more than before.
        again = sum(part.blob.size for part in before if staging.record(part).offset == offset)
        others = sum(map(staging.reached, staged.values())) - again
        room.take(0, total)
        declared = sum(staging.reached(file) for name, file in staged.items() if name != path) + total

        # What nothing bounds would be anybody's invention, counted with what there is.
        bounded = declared if room.limited else 0

        def keep(upload: Upload, content: Blob) -> Part:
            with upload.transaction() as connection:
                now = self._context.clock()
                run = self._require_writable(connection, run_id)
                staging.hold(connection, holder, run.experiment_id, now)
                blobs = upload.keep(connection)
                more = staging.add(connection, holder, path, offset, blobs[content.digest], now, declared=bounded)
                added = usage.Charge([usage.Growth(run.experiment_id, run.owner, bytes=more)])
                added.require_room(connection, artifacts.bytes_of(connection, run_id, paths))
                return Part(path=path, offset=offset, size=content.size, digest=content.digest)

        return Receiving(self._context.blobs, keep, room, offset, lambda size: max(others + size, declared) - counted)

    def parts(self, run_id: str, upload_id: str) -> tuple[Part, ...]:
        holder = self._holder(run_id, upload_id)
        with self._context.read() as connection:
            self._require_writable(connection, run_id)
            files = staging.parts(connection, holder)
        return tuple(staging.record(part) for path in sorted(files) for part in files[path])

    def commit(
        self, run_id: str, upload_id: str, files: Mapping[str, str], position: StreamPosition | None = None
    ) -> tuple[Artifact, ...]:
        check_position(position)
        for path in files:
            artifact_path(path)
        holder = self._holder(run_id, upload_id)
        with self._context.read() as connection:
            experiment_id = self._require_writable(connection, run_id).experiment_id
            staged = staging.parts(connection, holder)
        # Whoever sends a long commit again, because its answer did not come, must not have all of it done twice.
        once = self._context.store.alone(holder, f"the commit of upload {upload_id}")
        with once, self._context.blobs.upload() as upload:
            for path, digest in files.items():
                content = staged.get(path, ())
                if len(content) > 1:
                    with self._unless_over(holder, upload_id):
                        whole = upload.add_pieces(self._joined(content, run_id))
                    _require_digest(path, whole, digest)
            with upload.transaction() as connection:
                there: dict[str, Artifact] = {}
                new: dict[str, Blob] = {}
                if streams.claim(connection, position, self._context.stream_user, self._context.clock()):
                    artifacts.lock_run(connection, run_id)
                    staging.hold(connection, holder, experiment_id, self._context.clock())
                    staged = staging.parts(connection, holder)
                    blobs = upload.keep(connection)
                    for path, digest in files.items():
                        content = staged.get(path, ())
                        if len(content) == 1:
                            new[path] = content[0].blob
                            _require_digest(path, new[path], digest)
                        elif content and digest in blobs:
                            new[path] = blobs[digest]
                        else:
                            there[path] = self._committed(connection, run_id, path, digest)
                else:
                    there = {path: self._applied(connection, run_id, path) for path in files}
                # Its bytes count as the files' from here on, no longer as the upload's.
                staging.drop(connection, holder)
                there |= {file.path: file for file in self._write(connection, run_id, new)}
        self._free(staged, new)
        return tuple(there[path] for path in sorted(there))

    def join(self, run_id: str, upload_id: str, path: str, parts: Sequence[tuple[str, str]]) -> Artifact:
        """Store the files of an upload, one after the other, as one file of the run; ``parts`` gives their names, each
        whole in one part, with the SHA-256 (hex) of each. The upload is over then. For a service that is sent parts
        before it can know where in the file they begin."""
        artifact_path(path)
        holder = self._holder(run_id, upload_id)
        with self._context.read() as connection:
            staged = staging.parts(connection, holder)
            counted = staging.counted(connection, holder)
            room = self._room(connection, run_id, [path])
        content: list[File] = []
        for name, digest in parts:
            found = staged.get(name, [])
            if len(found) != 1:
                raise Conflict(f"the upload has no part {name!r}: send it, or begin another upload")
            _require_digest(name, found[0].blob, digest)
            content.append(found[0])
        with closing(room):
            size = staging.reached(content)
            room.take(size - counted, size)
        once = self._context.store.alone(holder, f"the end of upload {upload_id}")
        with once, self._context.blobs.upload() as upload:
            with self._unless_over(holder, upload_id):
                whole = upload.add_pieces(self._joined(content, run_id))
            with upload.transaction() as connection:
                artifacts.lock_run(connection, run_id)
                staging.hold(
                    connection, holder, self._require_writable(connection, run_id).experiment_id, self._context.clock()
                )
                blobs = upload.keep(connection)
                staging.drop(connection, holder)
                (stored,) = self._write(connection, run_id, {path: blobs[whole.digest]})
        self._free(staged, {path: blobs[whole.digest]})
        return stored

    def abandon(self, run_id: str, upload_id: str) -> None:
        holder = self._holder(run_id, upload_id)
        with self._context.write() as connection:
            run = self._require_writable(connection, run_id)
            staging.hold(connection, holder, run.experiment_id, self._context.clock())
            staged = staging.parts(connection, holder)
            staging.drop(connection, holder)
        self._free(staged, {})

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

    def found(self, run_id: str, path: str) -> Found:
        file = self._file(run_id, path)
        return Found(file.record(), partial(self._read, run_id, file), partial(self._context.blobs.link, file.blob))

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
            gone = artifacts.walk_files(connection, run_id, path)
            if not artifacts.delete_files(connection, run_id, path):
                raise _missing(run_id, path)
            now = self._context.clock()
            events.add_events(connection, run_changed(run_id, run, now))
            events.add_audit(connection, self._context.principal.name, "artifact.delete", run_id, now, {"path": path})
            less = sum(file.blob.size for file in gone)
            usage.charge(connection, [usage.Growth(run.experiment_id, bytes=-less)])

    def _holder(self, run_id: str, upload_id: str) -> str:
        if not is_id(upload_id):
            raise InvalidValue(f"upload_id: {short(upload_id)} is no id: 32 hex digits, made by whoever uploads")
        return staging.holder_of(upload_id, run_id, self._context.principal.name)

    def _joined(self, content: Sequence[File], run_id: str) -> Iterator[bytes]:
        for part in content:
            yield from self._read(run_id, part)

    @contextmanager
    def _unless_over(self, holder: str, upload_id: str) -> Iterator[None]:
        """For reading parts. They are gone when another service that was asked for the same has done it meanwhile."""
        try:
            yield
        except IntegrityError:
            with self._context.read() as connection:
                if staging.parts(connection, holder):
                    raise
            raise Unavailable(f"upload {upload_id} was ended meanwhile; ask again") from None

    def _free(self, staged: Mapping[str, Sequence[File]], kept: Mapping[str, Blob]) -> None:
        """Remove the bytes of parts that have become no files by themselves: an upload whose bytes no longer count for
        its owner shall take no room."""
        files = {blob.id for blob in kept.values()}
        if parts := [part.blob.id for file in staged.values() for part in file if part.blob.id not in files]:
            from jupyter_mlops.store import collect

            collect.free(self._context.database, self._context.blobs, parts)

    def _committed(self, connection: Connection, run_id: str, path: str, digest: str) -> Artifact:
        """The file as the run has it, when a commit that is sent again finds none of its parts."""
        file = artifacts.get_file(connection, run_id, path)
        if file is None or file.blob.digest != digest:
            raise Conflict(f"the upload has no bytes for {path!r}: none came, or none for a day; upload again")
        return file.record()

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
        put = artifacts.put_files(connection, run_id, files, now)
        if put.files:
            events.add_events(connection, run_changed(run_id, run, now))
            more = sum(blob.size for blob in files.values()) - put.replaced
            usage.charge(connection, [usage.Growth(run.experiment_id, run.owner, bytes=more)])
        return put.files

    def _room(self, connection: Connection, run_id: str, paths: Sequence[str]) -> Room:
        """Of a run that may be written to; ``paths`` are those of its files that are replaced."""
        run = self._require_writable(connection, run_id)
        quota = quota_of(run.owner, usage.quotas(connection))[1]
        used = 0
        if quota.bytes is not None:
            used = usage.of_owners(connection, [run.owner])[run.owner].bytes
            used -= artifacts.bytes_of(connection, run_id, paths)
        return Room(self._context.store.arriving, run.owner, quota, used)

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


def _require_digest(path: str, content: Blob, digest: str) -> None:
    if content.digest != digest:
        raise InvalidValue(
            f"{path!r}: the {content.size} bytes that came have the SHA-256 {content.digest}, not {digest[:64]!r}: "
            "some are missing, or they were changed meanwhile; upload again"
        )


def _missing(run_id: str, path: str, why: str | None = None) -> NotFound:
    return NotFound(f"run {run_id!r} has no artifact {path!r}" + (f": {why}" if why else ""))
