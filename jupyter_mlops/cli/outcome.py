"""How runs that this command did are shown when they end: what came out, or which cell failed and how."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from jupyter_mlops.cli import tables
from jupyter_mlops.cli.terminal import console, note, output_text
from jupyter_mlops.core import formats
from jupyter_mlops.core.compare import metric_keys
from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.core.formats import printable
from jupyter_mlops.core.reasons import failing_line, headline
from jupyter_mlops.core.records import Reason, Run, RunStatus
from jupyter_mlops.tracker.limits import quota_warnings

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from jupyter_mlops.tracker.protocol import Tracker

MOST_METRICS = 12
"""How many metrics are shown at the end of a run; `runs show` has all."""
SHORT_SOURCE_LINES = 7
"""Lines of a failing cell shown where many may fail."""


def show(run: Run, *, experiment: str, output: str | None) -> None:
    """Print the end of a run: one block, and what to type next."""
    to = console()
    if run.reason is not None:
        for line in failure(run.reason):
            to.print(line, soft_wrap=True)
        to.print()
    headline = tables.text(tables.status(run))
    headline.append(f"  {printable(run.name)}", style="bold")
    to.print(headline, soft_wrap=True)
    rows = [
        ("id", run.run_id),
        ("experiment", experiment),
        ("took", tables.elapsed(run, formats.now())),
        ("metrics", _metrics(run)),
        ("notebook", output or f"jupyter mlops runs notebook {reference(run)} --output executed.ipynb"),
    ]
    for label, text in rows:
        if text:
            to.print(_row(label, text), soft_wrap=True)
    to.print("\nNext:")
    for command in _next(run):
        to.print(f"  {command}", soft_wrap=True)


def remind_of_quotas(tracker: Tracker) -> None:
    """Say which quotas of the user and their groups are nearly used up."""
    # The run is over and stored: that nothing can be said of quotas now is no failure of it.
    with contextlib.suppress(MLOpsError):
        for warning in quota_warnings(tracker):
            note(f"\n{warning}; `jupyter mlops quota` says more.")


def failure(reason: Reason, *, short: bool = False) -> Iterator[Text]:
    """The lines that tell a failure: what happened, the cell with the failing line marked, the traceback."""
    from rich.text import Text

    told = printable(output_text(headline(reason)), lines=True)
    yield Text(told.partition("\n")[0] if short else told, style="bad")
    if reason.source is not None:
        yield Text()
        yield from _source(reason, short)
    if reason.traceback is not None and not short:
        yield Text()
        yield Text(printable(output_text(reason.traceback).rstrip(), lines=True))


def reference(run: Run) -> str:
    """What to type to name a run: its name where it is a plain word, else the beginning of its id."""
    return run.name if shlex.quote(run.name) == run.name else run.run_id[: tables.SHORT_ID]


def _source(reason: Reason, short: bool) -> Iterator[Text]:
    from rich.text import Text

    lines = printable(reason.source or "", lines=True).rstrip().split("\n")
    marked = failing_line(reason)
    first, last = 1, len(lines)
    if short and last > SHORT_SOURCE_LINES:
        middle = min(max(marked or last, 1), last)
        first = max(1, min(middle - SHORT_SOURCE_LINES // 2, last - SHORT_SOURCE_LINES + 1))
        last = first + SHORT_SOURCE_LINES - 1
    for number in range(first, last + 1):
        is_marked = number == marked
        yield Text(
            f"{'→' if is_marked else ' '} {number:>4} │ {lines[number - 1]}".rstrip(),
            style="failing" if is_marked else "",
        )


def _metrics(run: Run) -> str:
    keys = metric_keys([run])
    values = {metric.key: formats.number(metric.value) for metric in run.metrics}
    more = f" and {len(keys) - MOST_METRICS} more" if len(keys) > MOST_METRICS else ""
    return "  ".join(f"{key} {values[key]}" for key in keys[:MOST_METRICS]) + more


def _row(label: str, text: str) -> Text:
    from rich.text import Text

    return Text.assemble((f"  {label:<11} ", "dim"), printable(text))


def _next(run: Run) -> Iterator[str]:
    name = reference(run)
    if run.status is RunStatus.FINISHED:
        yield f"jupyter mlops runs show {name}"
        yield "jupyter mlops runs list"
        yield f"jupyter mlops rerun {name}{' -p NAME VALUE' if run.params else ''}"
    else:
        yield f"jupyter mlops runs notebook {name}"
        yield f"jupyter mlops rerun {name}"


def print_failed_child(to: Console, run: Run, swept: Sequence[str]) -> None:
    """One child of a sweep that did not finish, with the parameters that tell it from others: short, since there may be
    many."""
    from rich.text import Text

    values = "  ".join(f"{param.key}={param.text}" for param in run.params if param.key in swept)
    to.print(Text(f"✗ {printable(run.name)}  {printable(values)}", style="bad"), soft_wrap=True)
    if run.reason is not None:
        for line in failure(run.reason, short=True):
            to.print(Text("  ") + line if line else line, soft_wrap=True)
