"""Progress on standard error: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING

from jupyter_mlops.cli.outcome import print_failed_child
from jupyter_mlops.cli.terminal import console, unread
from jupyter_mlops.core import formats
from jupyter_mlops.core.formats import printable
from jupyter_mlops.core.records import Progress, Run, RunStatus

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from jupyter_mlops.execution.plan import SweepPlan
    from jupyter_mlops.execution.sweep import Standing


class Display(ABC):
    """A context with bars while it lasts, when standard error is a terminal."""

    def __init__(self) -> None:
        self.console = console(stderr=True)
        self.bars: Bars | None = None

    @abstractmethod
    def columns(self) -> list[str]:
        """What stands right of the bar, in rich's notation."""

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            from rich.progress import BarColumn, SpinnerColumn, TextColumn
            from rich.progress import Progress as Bars

            texts = [TextColumn(text, markup=False) for text in self.columns()]
            self.bars = Bars(SpinnerColumn(), BarColumn(bar_width=32), *texts, console=self.console, transient=True)
            self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.bars is not None:
            with unread():
                self.bars.stop()


class NotebookProgress(Display):
    """The cells of one notebook."""

    def __init__(self, notebook: str) -> None:
        super().__init__()
        self._notebook = printable(notebook)
        self._began = time.monotonic()

    def columns(self) -> list[str]:
        return ["{task.description}", "{task.fields[cells]}"]

    def __enter__(self) -> NotebookProgress:
        super().__enter__()
        if self.bars is not None:
            self._task = self.bars.add_task(self._notebook, total=None, cells="starting the kernel")
        return self

    def __call__(self, progress: Progress) -> None:
        with unread():
            self._show(progress)

    def _show(self, progress: Progress) -> None:
        if self.bars is not None:
            self.bars.update(
                self._task,
                total=progress.total,
                completed=progress.done,
                cells=f"cell {min(progress.done + 1, progress.total)} of {progress.total}",
            )
        else:
            passed = formats.duration((time.monotonic() - self._began) * 1000)
            self.console.print(f"{self._notebook}: {progress.done} of {progress.total} cells, {passed}", soft_wrap=True)


class SweepProgress(Display):
    """The points of a sweep: done, failed, best so far, time left. Failures are printed as they happen."""

    def __init__(self, plan: SweepPlan, *, todo: int) -> None:
        super().__init__()
        self._plan = plan
        self._todo = todo
        self._ended = 0
        self._began = time.monotonic()

    def columns(self) -> list[str]:
        return ["{task.fields[told]}"]

    def __enter__(self) -> SweepProgress:
        super().__enter__()
        if self.bars is not None:
            total = self._plan.total
            self._task = self.bars.add_task("", total=1.0, told=f"{total - self._todo} of {total} done")
        return self

    def __call__(self, standing: Standing, child: Run | None) -> None:
        if child is not None:
            self._ended += 1
        with unread():
            self._show(standing, child)

    def _show(self, standing: Standing, child: Run | None) -> None:
        if self.bars is not None:
            self.bars.update(self._task, completed=standing.fraction, told=self._told(standing))
        elif child is not None:
            line = f"{printable(child.name)} {child.status.value.lower()}: {self._told(standing)}"
            self.console.print(line, soft_wrap=True)
        if child is not None and child.status is not RunStatus.FINISHED:
            print_failed_child(self.console, child, self._plan.swept)

    def _told(self, standing: Standing) -> str:
        words = [standing.told(self._plan.metric)]
        left = self._todo - self._ended
        if left and self._ended:
            seconds = (time.monotonic() - self._began) / self._ended * left
            words.append(f"about {seconds:.0f} s left" if seconds < 60 else f"about {seconds / 60:.0f} min left")
        return ", ".join(words)
