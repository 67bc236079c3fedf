"""What all parts of an import share: where from, where to, for whom, and what is told of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from jupyter_mlops.core import values
from jupyter_mlops.core.errors import Conflict, MLOpsError, QuotaExceeded, StorageFull, Unauthenticated
from jupyter_mlops.core.records import Artifact
from jupyter_mlops.interop.mlflow_source import Source, SourceFile
from jupyter_mlops.interop.report import Report
from jupyter_mlops.tracker.protocol import Tracker
from jupyter_mlops.tracker.replay import is_refusal

Told = Callable[[str, int, int], None]
"""Progress: what is being done, how much of it is done, and of how much."""

T = TypeVar("T")

_PIECE = 1 << 20
_TRIES = 3


class Transfer(msgspec.Struct, frozen=True):
    source: Source
    tracker: Tracker
    owner: str
    """Whose the experiments and models become."""
    verify: bool
    """Write nothing, and compare the bytes of all files."""
    report: Report
    told: Told

    @contextmanager
    def noted(self, kind: str, what: str) -> Iterator[None]:
        """What goes wrong with one thing is noted, and the others are gone on with; what goes wrong with all of them
        is raised."""
        try:
            yield
        except (QuotaExceeded, StorageFull, Unauthenticated):
            raise
        except MLOpsError as error:
            if not is_refusal(error):
                # Both answer to something else: it is the thing's own fault.
                self.source.probe()
                self.tracker.experiments.search(limit=1)
            self.report.problem(kind, what, error.message)

    def written(self, write: Callable[[], T], revive: Callable[[], object]) -> T:
        """What ``write`` gives. ``revive`` has what it writes to not be deleted: called before, and again where another
        import has deleted it meanwhile, as the source did."""
        for _ in range(_TRIES):
            revive()
            try:
                return write()
            except Conflict:
                continue
        revive()
        return write()

    def copy_files(self, location: str, run_id: str, folder: str, revive: Callable[[], None]) -> None:
        """Bring the files below an artifact location of the source to ``folder`` of a run.

        What is there with the same size is taken for the same, except where everything is compared. ``revive`` is
        called before something is written.
        """
        here = {file.path: file for file in self.tracker.artifacts.walk(run_id, folder)}
        files = self.source.files(location)
        self.report.found("files", len(files))
        for file in files:
            path = f"{folder}/{file.path}" if folder else file.path
            with self.noted("files", f"file {path!r} of run {run_id}"):
                values.artifact_path(path)
                self._copy_file(location, file, run_id, path, here.get(path), revive)

    def has_files(self, location: str, run_id: str, folder: str) -> bool:
        """Whether a folder of a run has just the files below an artifact location of the source, by their sizes."""
        there = {file.path: file.size for file in self.source.files(location)}
        start = len(folder) + 1
        here = {file.path[start:]: file.size for file in self.tracker.artifacts.walk(run_id, folder)}
        return there.keys() == here.keys() and all(size in (None, here[path]) for path, size in there.items())

    def compare_files(self, location: str, here: Mapping[str, Artifact], what: str, kind: str) -> None:
        """Note what files differ from those below an artifact location of the source: by their sizes, or by their bytes
        where everything is compared."""
        files = self.source.files(location)
        for file in files:
            self._compare_file(location, file, here.get(file.path), f"file {file.path!r} of {what}", kind)
        for path in here.keys() - {file.path for file in files}:
            self.report.problem(kind, f"file {path!r} of {what}", "is not in the source")

    def _compare_file(self, location: str, file: SourceFile, here: Artifact | None, what: str, kind: str) -> None:
        if here is None or file.size not in (None, here.size):
            self.report.problem(kind, what, "is not here" if here is None else f"has {here.size} bytes here")
        elif self.verify:
            with self.source.fetched(location, file.path) as fetched:
                if _digest(fetched) != here.digest:
                    self.report.problem(kind, what, "has other bytes here")

    def _copy_file(
        self, location: str, file: SourceFile, run_id: str, path: str, here: Artifact | None, revive: Callable[[], None]
    ) -> None:
        what = f"file {path!r} of run {run_id}"
        if self.verify:
            self._compare_file(location, file, here, what, "files")
        elif here is None or file.size not in (None, here.size):
            with self.source.fetched(location, file.path) as fetched:
                stored = self.written(partial(self.tracker.artifacts.put, run_id, path, fetched), revive)
                if _digest(fetched) != stored.digest:
                    self.report.problem("files", what, "was changed in the source while it was copied")
            self.report.copied("files", size=stored.size or 0)


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while piece := content.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
