"""What an engine is: something that runs many notebook tasks and says how each ended.

Engines are found by the entry point group ``jupyter_mlops.engines``: the entry point's name is what ``--engine`` takes,
its object is a class that is constructed without arguments and implements :class:`Engine`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from importlib.metadata import entry_points
from typing import Protocol

import msgspec

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Progress, Reason, RunStatus
from jupyter_mlops.recording.task import NotebookTask

__all__ = ["Engine", "NotebookTask", "TaskEvent", "load_engine"]

GROUP = "jupyter_mlops.engines"


class TaskEvent(msgspec.Struct, frozen=True, kw_only=True):
    """News of one task: it started, a cell finished, or (when ``status`` has ended) it is over."""

    run_id: str
    status: RunStatus
    progress: Progress | None = None
    reason: Reason | None = None


class Engine(Protocol):
    def run(self, tasks: Sequence[NotebookTask], *, jobs: int) -> Generator[TaskEvent, None, None]:
        """Run the tasks, at most ``jobs`` at once, and yield news until each is over.

        Exactly one event with an ended status is yielded for each task, whatever happens to its process; a task that
        ends never disturbs another. Closing the generator cancels what is running (the runs end KILLED) and starts
        nothing more; no process is left behind.
        """


def load_engine(name: str) -> Engine:
    """The installed engine called ``name``; ``InvalidValue``, listing those installed, when there is none."""
    installed = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in installed:
        raise InvalidValue(f"no engine {name!r} is installed; installed: {', '.join(sorted(installed))}")
    engine: Engine = installed[name].load()()
    return engine
