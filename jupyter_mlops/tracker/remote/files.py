"""Bytes of a service: files of runs and of model versions, streamed and verified."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import urllib3

from jupyter_mlops.core.arguments import checked_call
from jupyter_mlops.core.errors import IntegrityError, MLOpsError, NotFound, QuotaExceeded
from jupyter_mlops.core.records import Artifact, Part, StreamPosition
from jupyter_mlops.core.run_fields import check_position
from jupyter_mlops.core.values import artifact_path
from jupyter_mlops.tracker.download import require_empty, require_whole, save_file, save_folder
from jupyter_mlops.tracker.operations import RUN_CONTENT, UPLOAD_CONTENT, VERSION_CONTENT, operation
from jupyter_mlops.tracker.remote.client import Client, filled
from jupyter_mlops.tracker.remote.nouns import Noun
from jupyter_mlops.tracker.remote.upload import PART, Upload, parts_of, put_bytes
from jupyter_mlops.tracker.upload import opened, regular_files

PIECE = 1 << 20
_WATERMARK = operation("runs.watermark")


def read(client: Client, path: str, query: Mapping[str, Any], what: str) -> Iterator[bytes]:
    """The bytes that the service has at ``path``, in pieces; a whole file is compared with its digest at the end."""
    answer, digest = client.fetch(path, query)
    told = answer.headers.get("Content-Length", "")
    size = int(told) if told.isascii() and told.isdigit() else -1

    def pieces() -> Iterator[bytes]:
        seen, length = hashlib.sha256(), 0
        try:
            for piece in answer.stream(PIECE):
                seen.update(piece)
                length += len(piece)
                yield piece
        except urllib3.exceptions.HTTPError as error:
            raise client.unavailable(error) from error
        finally:
            # A connection on which bytes are still to come is of no more use.
            answer.close()
        if (digest is not None and seen.hexdigest() != digest) or (size >= 0 and length != size):
            raise IntegrityError(f"{what}: what came is not what was stored")

    return pieces()


class RemoteArtifacts(Noun):
    """See :class:`jupyter_mlops.tracker.files.Artifacts`."""

    noun = "artifacts"

    def check_location(self) -> None:
        """The service stores the files, and looks after where."""

    @checked_call
    def put(self, run_id: str, path: str, source: BinaryIO | Path, position: StreamPosition | None = None) -> Artifact:
        artifact_path(path)
        check_position(position)
        with opened(source) as file:
            parts = parts_of(file)
            first = next(parts)
            if len(first) < PART:
                return self._put_small(run_id, path, first, position)
            if position is not None and self._client.call(_WATERMARK, {"stream": position.stream}) >= position.number:
                return self._applied(run_id, path)
            total = os.fstat(file.fileno()).st_size if isinstance(source, Path) else 0
            with self._uploading(run_id, position) as upload:
                upload.add(path, chain([first], parts), total)
                return upload.commit()[0]

    @checked_call
    def put_folder(self, run_id: str, folder: Path, path: str = "") -> tuple[Artifact, ...]:
        prefix = f"{artifact_path(path)}/" if path else ""
        sources = {artifact_path(prefix + name): source for name, source in regular_files(folder)}
        with self._uploading(run_id) as upload:
            for name, source in sources.items():
                with opened(source, follow=False) as file:
                    upload.add(name, parts_of(file), os.fstat(file.fileno()).st_size)
            return upload.commit()

    @checked_call
    def put_part(
        self, run_id: str, upload_id: str, path: str, offset: int, source: BinaryIO | Path, total: int = 0
    ) -> Part:
        artifact_path(path)
        with opened(source) as file:
            content = file.read()
        url = filled(UPLOAD_CONTENT, run_id=run_id, upload_id=upload_id)
        answer = put_bytes(self._client, url, {"path": path, "offset": offset, "total": total}, content)
        return self._client.read(answer, Part)

    @checked_call
    def open(self, run_id: str, path: str, *, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        artifact_path(path)
        query = {"path": path, "start": start, "stop": stop}
        return read(self._client, filled(RUN_CONTENT, run_id=run_id), query, f"artifact {path!r} of run {run_id}")

    @checked_call
    def download(self, run_id: str, path: str, destination: Path) -> Path:
        if path:
            artifact_path(path)
        files = self.walk(run_id, path)
        if [file.path for file in files] == [path]:
            return save_file(destination, path, lambda: self.open(run_id, path))
        if path and not files:
            raise NotFound(f"run {run_id!r} has no artifact {path!r}")
        start = len(path) + 1 if path else 0
        openers = {file.path[start:]: lambda file=file: self.open(run_id, file.path) for file in files}
        return save_folder(destination, path, openers)

    def _put_small(self, run_id: str, path: str, content: bytes, position: StreamPosition | None) -> Artifact:
        query: dict[str, Any] = {"path": path}
        if position is not None:
            query |= {"stream": position.stream, "number": position.number}
        answer = put_bytes(self._client, filled(RUN_CONTENT, run_id=run_id), query, content)
        return self._client.read(answer, Artifact)

    def _applied(self, run_id: str, path: str) -> Artifact:
        """What a put that was applied before has left."""
        try:
            return self.stat(run_id, path)  # type: ignore[no-any-return]
        except NotFound:
            return Artifact(path=path)

    @contextmanager
    def _uploading(self, run_id: str, position: StreamPosition | None = None) -> Iterator[Upload]:
        upload = Upload(self._client, run_id, position)
        try:
            yield upload
        except QuotaExceeded:
            # Until there is room for it, what has come of it shall take none from others.
            with suppress(MLOpsError):
                upload.drop()
            raise
        except BaseException:
            # What made it fail is being raised; without this, its parts are dropped after a day.
            with suppress(MLOpsError):
                upload.abandon()
            raise


class RemoteModels(Noun):
    """See :class:`jupyter_mlops.tracker.protocol.Models`."""

    noun = "models"

    @checked_call
    def open(self, name: str, version: int, path: str, *, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        artifact_path(path)
        query = {"path": path, "start": start, "stop": stop}
        return read(
            self._client, filled(VERSION_CONTENT, name=name, version=version), query, f"file {path!r} of model {name!r}"
        )

    @checked_call
    def download(self, name: str, version: int, destination: Path) -> Path:
        files = self.files(name, version)
        require_whole(self.version(name, version), files)
        require_empty(destination)
        openers = {file.path: lambda file=file: self._whole(name, version, file) for file in files}
        return save_folder(destination, "", openers)

    def _whole(self, name: str, version: int, file: Artifact) -> Iterator[bytes]:
        # With its digest, which was compared: the service need not compare those of all files again.
        query = {"path": file.path, "digest": file.digest}
        place = filled(VERSION_CONTENT, name=name, version=version)
        return read(self._client, place, query, f"file {file.path!r} of model {name!r}")
