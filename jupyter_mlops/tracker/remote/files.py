"""Bytes of a service: files of runs and of model versions, streamed and verified."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import urllib3

from jupyter_mlops.core.arguments import checked_call
from jupyter_mlops.core.errors import IntegrityError, NotFound
from jupyter_mlops.core.records import Artifact, StreamPosition
from jupyter_mlops.core.values import artifact_path
from jupyter_mlops.tracker.download import require_empty, save_file, save_folder
from jupyter_mlops.tracker.operations import RUN_CONTENT, VERSION_CONTENT
from jupyter_mlops.tracker.remote.client import Client, filled
from jupyter_mlops.tracker.remote.nouns import Noun
from jupyter_mlops.tracker.upload import opened

PIECE = 1 << 20
DIGEST_HEADER = "X-Content-SHA256"
"""With the whole of a file: its SHA-256, in hex."""


def read(client: Client, path: str, query: Mapping[str, Any], what: str) -> Iterator[bytes]:
    """The bytes that the service has at ``path``, in pieces; a whole file is compared with its digest at the end."""
    answer = client.send("GET", path, query, repeatable=True, stream=True)
    digest = answer.headers.get(DIGEST_HEADER)
    size = int(answer.headers.get("Content-Length", -1))

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
            answer.release_conn()
        if (digest is not None and seen.hexdigest() != digest) or (size >= 0 and length != size):
            raise IntegrityError(f"{what}: what came is not what was stored")

    return pieces()


class _Sending:
    """The pieces of a file on their way. What breaks reading it would be taken for a broken connection: it is kept."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            piece = self._file.read(PIECE)
        except Exception as error:
            self.failure = error
            raise
        if not piece:
            raise StopIteration
        return piece


class RemoteArtifacts(Noun):
    """See :class:`jupyter_mlops.tracker.protocol.Artifacts`."""

    noun = "artifacts"

    @checked_call
    def put(self, run_id: str, path: str, source: BinaryIO | Path, position: StreamPosition | None = None) -> Artifact:
        artifact_path(path)
        query: dict[str, Any] = {"path": path}
        if position is not None:
            query |= {"stream": position.stream, "number": position.number}
        with opened(source) as file:
            answer = self._client.send(
                "PUT", filled(RUN_CONTENT, run_id=run_id), query, file, repeatable=position is not None
            )
        return msgspec.msgpack.decode(answer.data, type=Artifact)

    @checked_call
    def open(self, run_id: str, path: str, *, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        query = {"path": path, "start": start, "stop": stop}
        return read(self._client, filled(RUN_CONTENT, run_id=run_id), query, f"artifact {path!r} of run {run_id}")

    @checked_call
    def download(self, run_id: str, path: str, destination: Path) -> Path:
        files = self.walk(run_id, path)
        if [file.path for file in files] == [path]:
            return save_file(destination, path, lambda: self.open(run_id, path))
        if path and not files:
            raise NotFound(f"run {run_id!r} has no artifact {path!r}")
        start = len(path) + 1 if path else 0
        openers = {file.path[start:]: lambda file=file: self.open(run_id, file.path) for file in files}
        return save_folder(destination, path, openers)


class RemoteModels(Noun):
    """See :class:`jupyter_mlops.tracker.protocol.Models`."""

    noun = "models"

    @checked_call
    def open(self, name: str, version: int, path: str, *, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        query = {"path": path, "start": start, "stop": stop}
        return read(
            self._client, filled(VERSION_CONTENT, name=name, version=version), query, f"file {path!r} of model {name!r}"
        )

    @checked_call
    def download(self, name: str, version: int, destination: Path) -> Path:
        files = self.files(name, version)
        require_empty(destination)
        openers = {file.path: lambda file=file: self.open(name, version, file.path) for file in files}
        return save_folder(destination, "", openers)
