"""Downloaded models, kept by the digest of their content, so that loading one again reads only the disk.

An entry is verified against the digests of its files whenever it is used, appears whole by one rename, and may be
shared by any number of processes.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from jupyter_mlops.core.errors import Unavailable
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Artifact
from jupyter_mlops.tracker.download import content_digest
from jupyter_mlops.tracker.location import make_private

KEPT_SECONDS = 30 * 24 * 3600.0
"""An entry that was not used for so long is removed."""


class ModelCache:
    """A folder of models. Each file of an entry is what its digest says, whenever :meth:`get` has returned it.

    Parameters
    ----------
    root
        The folder; created when first needed, readable by its owner only.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, files: Sequence[Artifact], download: Callable[[Path], Path]) -> Path:
        """The folder that holds ``files`` (paths relative to the model). If it is not there, or not intact,
        ``download`` gets them: it is given a folder to make, and returns the one in it (or itself) that holds them.

        Raises
        ------
        Unavailable
            The cache cannot be written.
        """
        place = self.root / content_digest(files)
        if _is_intact(place, files):
            place.touch()
            return place
        part = self.root / f".{new_id()}"
        try:
            make_private(self.root)
            downloaded = download(part)
            self._discard(place)
            try:
                downloaded.rename(place)
            except OSError:
                # Another process was faster: then its entry is as good as this one.
                if not _is_intact(place, files):
                    raise
            self._remove_old()
        except OSError as error:
            raise Unavailable(f"the model cannot be kept in {self.root}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return place

    def _discard(self, place: Path) -> None:
        """Remove an entry, out of sight first so that nobody finds half of it."""
        old = self.root / f".{new_id()}"
        try:
            place.rename(old)
        except FileNotFoundError:
            return
        shutil.rmtree(old, ignore_errors=True)

    def _remove_old(self) -> None:
        oldest = time.time() - KEPT_SECONDS
        for entry in self.root.iterdir():
            try:
                if entry.stat().st_mtime < oldest:
                    self._discard(entry)
            except FileNotFoundError:
                continue


def _is_intact(place: Path, files: Sequence[Artifact]) -> bool:
    try:
        there = {path.relative_to(place).as_posix() for path in place.rglob("*") if not path.is_dir()}
        return there == {file.path for file in files} and all(
            _file_digest(place / file.path) == file.digest for file in files
        )
    except OSError:
        return False


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(1 << 20):
            digest.update(piece)
        return digest.hexdigest()
