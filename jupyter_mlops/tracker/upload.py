"""Reading the files that are to be stored."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.values import short


@contextmanager
def opened(source: BinaryIO | Path, *, follow: bool = True) -> Iterator[BinaryIO]:
    """A file to read: ``source`` itself, or the regular file at that place, symbolic links followed or not.
    ``InvalidValue`` when it is none."""
    if not isinstance(source, Path):
        if isinstance(source, io.TextIOBase) or not hasattr(source, "read"):
            raise InvalidValue(
                f"an artifact is read from a path or a file opened in binary mode, not {type(source).__name__}"
            )
        yield source
        return
    if "\0" in str(source):
        raise InvalidValue(f"{short(str(source))} has a NUL character, which no path has")
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        file = os.fdopen(os.open(source, flags), "rb", buffering=0)
    except OSError as error:
        raise InvalidValue(f"{source} cannot be read: {error.strerror}") from error
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise InvalidValue(f"{source} is no regular file")
        yield file


def regular_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The regular files below ``folder``, each with its POSIX path relative to it."""
    if not folder.is_dir():
        raise InvalidValue(f"{folder} is no folder" if folder.exists() else f"there is no folder {folder}")
    pending = [folder]
    while pending:
        try:
            entries = sorted(os.scandir(pending.pop()), key=lambda entry: entry.name)
        except OSError as error:
            raise InvalidValue(f"{error.filename} cannot be read: {error.strerror}") from error
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                pending.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                path = Path(entry.path)
                yield path.relative_to(folder).as_posix(), path
