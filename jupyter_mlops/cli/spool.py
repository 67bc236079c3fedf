"""``jupyter mlops spool``: what was logged on this machine and is not stored yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.options import json_option
from jupyter_mlops.cli.terminal import emit_json, note
from jupyter_mlops.core.errors import Unavailable
from jupyter_mlops.core.formats import printable

if TYPE_CHECKING:
    from jupyter_mlops.tracker.undelivered import Refused, Undelivered


@click.group()
def spool() -> None:
    """What was logged on this machine and is not stored yet, because the service or the database was away."""


@spool.command()
@json_option
@click.pass_obj
def status(connection: Connection, *, as_json: bool) -> None:
    """Say what waits to be stored, and what was refused. Works while the store is away."""
    from jupyter_mlops.tracker.undelivered import held, undelivered

    away = None
    try:
        with connection.connect() as tracker:
            found = undelivered(tracker)
    except Unavailable as error:
        found, away = held(connection.database_url), error.message
    if as_json:
        emit_json({"waiting": found.waiting, "refused": found.refused, "damaged": found.damaged, "away": away})
        return
    if away is not None:
        note(away)
    _show(found, sure=away is None)


@spool.command()
@json_option
@click.pass_obj
def flush(connection: Connection, *, as_json: bool) -> None:
    """Store what waits, now. Processes that log do it by themselves, every second, for as long as they run."""
    from jupyter_mlops.tracker.undelivered import undelivered

    # Opening the tracker stores what ended processes left; see `jupyter_mlops.recording.lost`.
    tracker = connection.tracker
    found = undelivered(tracker)
    if as_json:
        emit_json(found)
        return
    _show(found, sure=True)


def _show(found: Undelivered, *, sure: bool) -> None:
    if not found.waiting:
        click.echo("Nothing waits to be stored.")
    else:
        entries = "1 entry waits" if found.waiting == 1 else f"{found.waiting:,} entries wait"
        click.echo(f"{entries} to be stored{'' if sure else '; some of them may be stored already'}.")
    for path in found.damaged:
        click.echo(printable(f"The end of {path} could not be read."))
    if found.refused:
        show_refused(found.refused)


def show_refused(refused: list[Refused]) -> None:
    from jupyter_mlops.cli.tables import Column, cells, show
    from jupyter_mlops.core import formats

    click.echo()
    show(
        [
            Column(header="refused", cells=cells([formats.moment(each.at) for each in refused])),
            Column(header="what", cells=cells([each.entry for each in refused]), rank=2),
            Column(header="run", cells=cells([(each.run_id or "")[:12] for each in refused], "dim"), rank=1),
            Column(header="why", cells=cells([each.error for each in refused], "bad"), least=24),
        ],
        [f"Kept in {path}" for path in dict.fromkeys(each.file for each in refused)]
        + ["A line each, as JSON, with what was logged. Delete a file when it is of no use any more."],
    )
