"""Writing downloaded files: each is visible only when whole and verified, and none outside the chosen folder."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from jupyter_mlops.core.errors import NO_ROOM, IntegrityError, InvalidValue, NotFound, StorageFull
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Artifact, ModelVersion
from jupyter_mlops.core.values import short

Opener = Callable[[], Iterator[bytes]]
"""Gives the pieces of one file, and raises in the end when they are not what was stored."""


def content_digest(files: Sequence[Artifact]) -> str:
    """SHA-256 over the sorted (path, file digest) pairs, each as ``path NUL digest NUL``: that of a model version with
    these files."""
    digest = hashlib.sha256()
    for path, content in sorted((file.path, file.digest or "") for file in files):
        digest.update(f"{path}\0{content}\0".encode())
    return digest.hexdigest()


def require_whole(version: ModelVersion, files: Sequence[Artifact]) -> None:
    """Raise ``IntegrityError`` unless ``files`` are exactly those that the version was registered with, and
    ``NotFound`` when it is of what is not kept here."""
    if not version.digest and not files:
        raise NotFound(
            f"version {version.version} of model {version.model!r} has no files here: they are where its source says, "
            f"{short(version.source, 200)}"
        )
    if content_digest(files) != version.digest:
        raise IntegrityError(
            f"version {version.version} of model {version.model!r} has other files than it was registered with: its "
            f"SHA-256 is no longer {version.digest}"
        )


def require_empty(folder: Path) -> None:
    """Refuse a folder that holds something already, for files that belong together."""
    with _failures(folder):
        if folder.is_dir() and any(folder.iterdir()):
            raise InvalidValue(f"{folder} is not empty: a version is written into a folder of its own")


def save_file(root: Path, path: str, opened: Opener) -> Path:
    """Write the file as ``root / path``, replacing what is there; returns that place.

    Raises
    ------
    InvalidValue
        It cannot be written there: a folder of that name, no permission, a symbolic link that leads out of ``root``.
    StorageFull
        No room.
    """
    place = root / path
    part = place.with_name(f".{new_id()}.part")
    with _failures(place):
        _make_folder(root, place.parent)
        try:
            _write(part, opened)
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)
    return place


def save_folder(root: Path, path: str, files: Mapping[str, Opener]) -> Path:
    """Write files, given by their path relative to the folder, into the folder ``root / path`` (``root`` itself for an
    empty path); returns it. A folder that is not there yet appears whole; into one that is, each file appears whole,
    after all were verified. Raises as :func:`save_file` does.
    """
    place = root / path if path else root
    with _failures(place):
        exists = place.is_dir()
    # Beside the folder or in it: a rename must not cross file systems.
    part = (place if exists else place.parent) / f".{new_id()}.part"
    with _failures(place):
        _make_folder(root, place if exists or place == root else place.parent)
        part.mkdir()
        try:
            for name, opened in files.items():
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                _write(part / name, opened)
            if not exists:
                part.rename(place)
            for name in files if exists else ():
                _make_folder(root, (place / name).parent)
                (part / name).replace(place / name)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return place


def _write(path: Path, opened: Opener) -> None:
    with path.open("xb") as file:
        for piece in opened():
            file.write(piece)


def _make_folder(root: Path, folder: Path) -> None:
    if not folder.resolve().is_relative_to(root.resolve()):
        raise InvalidValue(f"{folder} leads out of {root} by a symbolic link; nothing is written there")
    folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def _failures(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise StorageFull(f"no room left to write {place}: {error.strerror}") from error
        raise InvalidValue(f"{place} cannot be written: {error.strerror or error}") from error
