"""The tracker's noun for the files of runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from jupyter_mlops.core.records import Artifact, Part, StreamPosition


@runtime_checkable
class PutsTogether(Protocol):
    """What stores several files as cheaply as one."""

    def put_files(
        self, run_id: str, files: Mapping[str, BinaryIO | Path], position: StreamPosition | None = None
    ) -> tuple[Artifact, ...]:
        """Store files, those given by their place regular ones (symbolic links are refused), by the paths that they are
        to have, visible together."""


class Artifacts(Protocol):
    """Files of runs. Paths are logical: relative POSIX, no empty, ``.`` or ``..`` part, no NUL; they never touch the
    file system. An upload is streamed while hashing, stored once per content, and visible only when whole."""

    def check_location(self) -> None:
        """See that this process could store files, as far as that shows without trying: ``MissingDependency`` says what
        to install when the location's driver is not there, ``InvalidValue`` which folder cannot be written to."""

    def put(self, run_id: str, path: str, source: BinaryIO | Path, position: StreamPosition | None = None) -> Artifact:
        """Store a file under ``path``, replacing what was there."""

    def put_folder(self, run_id: str, folder: Path, path: str = "") -> tuple[Artifact, ...]:
        """Store all regular files below ``folder`` (symbolic links are not followed), visible together."""

    def put_part(
        self, run_id: str, upload_id: str, path: str, offset: int, source: BinaryIO | Path, total: int = 0
    ) -> Part:
        """Bring the bytes from ``offset`` on of a file of the upload ``upload_id``, an id that the caller has made
        (:func:`jupyter_mlops.core.ids.new_id`). Only who made it sees an upload; it is kept for a day after its last
        part.

        ``total`` is how many bytes the file will have, where the caller knows: they count for a quota from then on, and
        not only as they come, so that a file that will find no room is refused at once.

        The same part again is harmless. ``Conflict`` when the part does not follow what is there; the message says
        which byte is the next."""

    def parts(self, run_id: str, upload_id: str) -> tuple[Part, ...]:
        """What is there of an upload, by path and offset; empty for one that nothing was sent of."""

    def commit(
        self, run_id: str, upload_id: str, files: Mapping[str, str], position: StreamPosition | None = None
    ) -> tuple[Artifact, ...]:
        """Store the files of an upload, visible together; ``files`` gives their paths and the SHA-256 (hex) of each.
        The upload is over then, and what it has of other files is dropped.

        A commit that was done may be sent again; ``Unavailable`` while it goes on. ``InvalidValue`` when a file's bytes
        are others than ``files`` says, ``Conflict`` when there are none; the upload can be gone on with."""

    def abandon(self, run_id: str, upload_id: str) -> None:
        """Drop what is there of an upload; harmless when nothing is."""

    def list(self, run_id: str, path: str = "") -> tuple[Artifact, ...]:
        """The files and folders directly in ``path``, by name; empty when there is no such folder."""

    def walk(self, run_id: str, path: str = "") -> tuple[Artifact, ...]:
        """All files below ``path`` (or the file itself), by path."""

    def stat(self, run_id: str, path: str) -> Artifact:
        """The file at ``path``; ``NotFound`` when there is none."""

    def open(self, run_id: str, path: str, *, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes of a file in pieces, ``[start, stop)``. A whole read is verified: ``IntegrityError`` at the end
        when the digest does not match."""

    def download(self, run_id: str, path: str, destination: Path) -> Path:
        """Write a file or a folder below ``destination`` and return its place there; verified by digest, visible only
        when whole."""

    def delete(self, run_id: str, path: str) -> None:
        """Remove a file or a folder from the run; ``NotFound`` when there is none."""
