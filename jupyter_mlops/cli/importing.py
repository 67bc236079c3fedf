"""``jupyter mlops import``: bring here what others keep."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.options import json_option
from jupyter_mlops.cli.progress import Display
from jupyter_mlops.cli.terminal import emit_json, note, unread
from jupyter_mlops.core import formats
from jupyter_mlops.core.formats import printable

if TYPE_CHECKING:
    from jupyter_mlops.interop.report import Note, Report

_SHOWN = 20
"""Differences and remarks that are printed; --json has all."""
_LINE_SECONDS = 10.0
"""Between two lines of progress where nobody sees a bar."""


@click.group("import")
def import_() -> None:
    """Bring here what other tools keep."""


@import_.command()
@click.argument("source")
@click.option(
    "--owner",
    metavar="OWNER",
    help="Whose the experiments and models become: your name, or group:NAME. Default: as what you create.",
)
@click.option("--verify", is_flag=True, help="Copy nothing: compare every field, and every byte of files.")
@json_option
@click.pass_obj
@click.pass_context
def mlflow(
    ctx: click.Context, connection: Connection, *, source: str, owner: str | None, verify: bool, as_json: bool
) -> None:
    """Copy experiments, runs with their histories and files, models, versions and aliases from MLflow.

    SOURCE is the address of a tracking server (https://...), a folder such as mlruns, or the URL of a database
    (sqlite:///mlflow.db, postgresql://...). A server knows you by MLflow's own variables, such as
    MLFLOW_TRACKING_TOKEN.

    It may be stopped at any moment and run again: it goes on where it was, and nothing comes twice. At the end every
    field is compared with the source; the exit code is 1 when something differs.
    """
    from jupyter_mlops.interop.mlflow_import import import_from
    from jupyter_mlops.interop.mlflow_source import Source

    tracker = connection.tracker
    opened = Source(source)
    with ImportProgress() as progress:
        report = import_from(opened, tracker, owner=owner, verify=verify, told=progress)
    if as_json:
        emit_json(report)
    else:
        show(report, verify=verify)
    if report.problems:
        ctx.exit(1)


class ImportProgress(Display):
    """How far an import is."""

    def __init__(self) -> None:
        super().__init__()
        self._began = self._printed = time.monotonic()

    def columns(self) -> list[str]:
        return ["{task.fields[told]}"]

    def __enter__(self) -> ImportProgress:
        super().__enter__()
        if self.bars is not None:
            self._task = self.bars.add_task("", total=None, told="looking at the source")
        return self

    def __call__(self, what: str, done: int, total: int) -> None:
        passed = formats.duration((time.monotonic() - self._began) * 1000)
        told = f"{done} runs found" if not total else f"{done} of {total} {what}, {passed}"
        with unread():
            if self.bars is not None:
                self.bars.update(self._task, total=total or None, completed=done, told=told)
            elif time.monotonic() - self._printed >= _LINE_SECONDS:
                self._printed = time.monotonic()
                self.console.print(told, soft_wrap=True)


def show(report: Report, *, verify: bool) -> None:
    """Print what was copied, and what differs."""
    from jupyter_mlops.cli import tables

    counts = {kind: count for kind, count in report.counts.items() if count.found or count.differing}
    click.echo(printable(f"{report.source} -> {report.target}"))
    columns = [
        tables.Column(header="", cells=tables.cells(list(counts))),
        tables.Column(
            header="in the source", cells=tables.cells([f"{c.found:,}" for c in counts.values()]), right=True
        ),
        tables.Column(header="copied now", cells=tables.cells([f"{c.copied:,}" for c in counts.values()]), right=True),
        tables.Column(
            header="different here",
            cells=tables.cells([f"{c.differing:,}" if c.differing else "" for c in counts.values()], "bad"),
            right=True,
        ),
    ]
    tables.show(columns[:2] + columns[3:] if verify else columns)
    if report.bytes:
        note(f"\nFiles copied now: {formats.size(report.bytes)}.")
    _list("Kept in another form, or left alone", report.remarks)
    _list("Different here", report.problems)
    if not report.problems:
        note("\nEvery field here is as it is in the source" + (", and every byte." if verify else "."))


def _list(title: str, notes: list[Note]) -> None:
    if not notes:
        return
    lines = [f"  {each.what}: {each.why}" for each in notes[:_SHOWN]]
    more = [f"  and {len(notes) - _SHOWN} more; --json lists all"] if len(notes) > _SHOWN else []
    note("\n".join([f"\n{title}:", *lines, *more]))
