"""What an engine is: something that runs many notebook tasks and says how each ended.

Engines are found by the entry point group ``jupyter_mlops.engines``: the entry point's name is what ``--engine`` takes,
its object is a class that is constructed without arguments, or with ``cluster`` where it takes that, and implements
:class:`Engine`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import suppress
from importlib.metadata import entry_points
from inspect import signature
from typing import Protocol

import msgspec

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Progress, Reason, Record, RunStatus
from jupyter_mlops.recording.task import NotebookTask

__all__ = [
    "DEFAULT_ENGINE",
    "Engine",
    "InstalledEngine",
    "NotebookTask",
    "Remark",
    "Stops",
    "TaskEvent",
    "installed_engines",
    "load_engine",
    "no_stops",
]

GROUP = "jupyter_mlops.engines"
DEFAULT_ENGINE = "fork"


class TaskEvent(msgspec.Struct, frozen=True, kw_only=True):
    """News of one task: it started, a cell finished, or (when ``status`` has ended) it is over."""

    run_id: str
    status: RunStatus
    progress: Progress | None = None
    reason: Reason | None = None


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """One line for people about how the engine goes about it, such as why it does not take its quickest way."""

    text: str


Stops = Callable[[], Mapping[str, Reason]]
"""Says which tasks in progress are to be stopped now, by their runs, and why. It answers at once; the same task may be
named again until it has ended, and one that has ended may still be named."""
STOPS_SECONDS = 1.0
"""How often an engine asks for :data:`Stops` while tasks are in progress."""


def no_stops() -> Mapping[str, Reason]:
    """Nothing is to be stopped."""
    return {}


class Engine(Protocol):
    @property
    def usual_jobs(self) -> int | None:
        """Tasks at once when nobody says how many; None for as many as it finds room for."""

    def run(
        self, tasks: Iterable[NotebookTask], *, jobs: int, stops: Stops = no_stops
    ) -> Generator[TaskEvent | Remark, None, None]:
        """Run the tasks, at most ``jobs`` at once, and yield news until each is over.

        Exactly one event with an ended status is yielded for each task, whatever happens to its process; a task that
        ends never disturbs another. Closing the generator cancels what is running (the runs end KILLED) and starts
        nothing more; no process is left behind.

        ``tasks`` may depend on how earlier ones end: the next one is taken only when it can start at once, and after
        every event yielded so far has been handled. Where they end is final; then they are not asked again. An error
        that they raise ends the run like closing it, and is passed on.

        A task named by ``stops`` is cancelled; its run ends KILLED with the reason that is given there, unless it ended
        in another way first.
        """


class InstalledEngine(Record, frozen=True, kw_only=True):
    """An engine to choose."""

    name: str
    needs_cluster: bool
    """A sweep that names it must name a cluster, too."""


def installed_engines() -> tuple[InstalledEngine, ...]:
    """Those that can be loaded, the default first, then by name. What one needs besides, such as a package, is told by
    :func:`load_engine`."""
    found = []
    for entry in entry_points(group=GROUP):
        # One that is broken is no choice; whoever asks for it by name is told why.
        with suppress(ImportError, AttributeError):
            found.append(InstalledEngine(name=entry.name, needs_cluster=_needs_cluster(entry.load())))
    return tuple(sorted(found, key=lambda engine: (engine.name != DEFAULT_ENGINE, engine.name)))


def load_engine(name: str, cluster: str | None = None) -> Engine:
    """The installed engine called ``name``, on ``cluster`` where it is one that needs such.

    Raises
    ------
    InvalidValue
        There is no such engine, and the message lists those installed; or it needs a cluster that is not given, or
        takes none, or cannot be on this one.
    MissingDependency
        What it needs is not installed.
    """
    installed = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in installed:
        raise InvalidValue(f"no engine {name!r} is installed; installed: {', '.join(sorted(installed))}")
    found = installed[name].load()
    needs_cluster = _needs_cluster(found)
    if needs_cluster and cluster is None:
        raise InvalidValue(f"the engine {name!r} needs a cluster: say which one")
    if not needs_cluster and cluster is not None:
        raise InvalidValue(f"cluster: the engine {name!r} takes none, it runs on this machine")
    engine: Engine = found(cluster=cluster) if needs_cluster else found()
    return engine


def _needs_cluster(engine: Callable[..., object]) -> bool:
    return "cluster" in signature(engine).parameters
