"""What is sent to each worker once, before the points: everything that these have in common."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec

from jupyter_mlops.core.records import Json
from jupyter_mlops.execution.dask.requirements import Requirements, difference, requirements
from jupyter_mlops.execution.dask.sources import find_imports
from jupyter_mlops.execution.worker import decode, encode
from jupyter_mlops.recording.source import read_source
from jupyter_mlops.recording.task import NotebookTask
from jupyter_mlops.tracker.location import absolute
from jupyter_mlops.tracker.process import boot_id

_SOURCES = "sources"


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """All that the points of one sweep have in common."""

    common: bytes
    """One of the tasks, as a line of JSON; what differs among them comes with each."""
    kernel: str
    notebook: bytes
    modules: dict[str, bytes]
    """Those beside the notebook that it imports, by their path in its folder."""
    marks: dict[str, tuple[int, int, int]]
    """By the paths of the notebook and of these modules, by what they are known on another machine that sees the same
    file system: number, size and time."""
    wanted: Requirements
    machine: str
    patience: float
    """Seconds after which a worker that hears nothing of who drives the sweep ends what it does."""

    @property
    def task(self) -> NotebookTask:
        return decode(self.common, NotebookTask)

    def refusal(self) -> str | None:
        """Why this machine cannot run the notebook as the one that it comes from; None when it can."""
        url = self.task.tracking_url
        if url.startswith("sqlite:") and this_machine() != self.machine:
            return "it is another machine, and the store is a file: track to a service, or to PostgreSQL"
        return difference(self.wanted, self.kernel)

    def unpack(self, folder: Path) -> NotebookTask:
        """Write what travels into ``folder``; gives the task as it is here."""
        task = self.task
        notebook = folder / Path(task.notebook).name
        notebook.write_bytes(self.notebook)
        cwd = folder / _SOURCES
        if self._sees_the_same_files():
            cwd = _folder_of(task)
        else:
            for name, content in self.modules.items():
                path = cwd / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            cwd.mkdir(exist_ok=True)
        return msgspec.structs.replace(task, notebook=str(notebook), cwd=str(cwd), cancel_note=None)

    def _sees_the_same_files(self) -> bool:
        if this_machine() == self.machine:
            return True
        return bool(self.marks) and all(_mark(Path(path)) == mark for path, mark in self.marks.items())


def pack(task: NotebookTask, *, patience: float) -> Parcel:
    """What ``task`` has in common with the others of its sweep, to be sent.

    Raises
    ------
    NotebookError
        It is no notebook, or its kernel is not installed here.
    InvalidValue
        Its modules are too large to travel.
    """
    source = read_source(task.notebook)
    folder = _folder_of(task)
    kernel = task.kernel_name or source.kernel
    imports = find_imports(source.cells, folder)
    here = [Path(task.source or task.notebook), *(folder / name for name in imports.files)]
    marks = {str(path): mark for path in here if (mark := _mark(path)) is not None}
    common = msgspec.structs.replace(task, tracking_url=absolute(task.tracking_url))
    return Parcel(
        common=encode(common),
        kernel=kernel,
        notebook=source.content,
        modules=imports.files,
        marks=marks,
        wanted=requirements(kernel, imports.installed),
        machine=this_machine(),
        patience=patience,
    )


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """What is the task's own."""

    run_id: str
    name: str | None
    parameters: dict[str, Json]
    tags: dict[str, str]

    @classmethod
    def of(cls, task: NotebookTask) -> Point:
        swept = {name: value for name, value in task.parameters.items() if name in task.swept}
        return cls(run_id=task.run_id, name=task.name, parameters=swept, tags=task.tags)

    def task(self, common: NotebookTask) -> NotebookTask:
        return msgspec.structs.replace(
            common,
            run_id=self.run_id,
            name=self.name,
            parameters={**common.parameters, **self.parameters},
            tags=self.tags,
        )


def this_machine() -> str:
    """What tells this machine, since its last start, from others."""
    return f"{socket.gethostname()} {boot_id()}"


def _folder_of(task: NotebookTask) -> Path:
    return Path(task.cwd) if task.cwd is not None else Path(task.notebook).parent


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
