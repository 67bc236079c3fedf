"""``jupyter mlops audit``: who did what, and whether that record still is what it was."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

import click

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.options import given_text, json_option, limit_option
from jupyter_mlops.cli.terminal import emit_json, note
from jupyter_mlops.core.formats import printable

_EXPORTED = 1000
"""Entries that are asked for at once."""


@click.group(invoke_without_command=True)
@limit_option(50)
@click.option("--before", type=click.IntRange(min=1), metavar="NUMBER", help="Only entries with a smaller number.")
@json_option
@click.pass_context
def audit(ctx: click.Context, *, limit: int, before: int | None, as_json: bool) -> None:
    """Who did what, newest first; `head` and `verify` for whether that record still is what it was."""
    if ctx.invoked_subcommand is not None:
        return
    connection: Connection = ctx.obj
    import msgspec

    entries = connection.tracker.audit(limit=limit, before=before)
    if as_json:
        emit_json(entries)
        return
    if not entries:
        note("Nothing is on record.")
        return
    from jupyter_mlops.cli.tables import Column, cells, show
    from jupyter_mlops.core import formats

    details = ["" if e.detail is None else msgspec.json.encode(e.detail).decode() for e in entries]
    show(
        [
            Column(header="number", cells=cells([str(e.number) for e in entries], "dim"), right=True, rank=3),
            Column(header="when", cells=cells([formats.moment(e.at) for e in entries])),
            Column(header="by", cells=cells([e.user for e in entries]), least=12, rank=1),
            Column(header="action", cells=cells([e.action for e in entries], "bold")),
            Column(header="on", cells=cells([e.target for e in entries]), least=20, rank=2),
            Column(header="detail", cells=cells(details, "dim"), least=24, rank=4),
        ]
    )


@audit.command()
@json_option
@click.pass_obj
def head(connection: Connection, *, as_json: bool) -> None:
    """Seal the record (what was done by whom, and each move of an alias) and print the digest of all of it.

    Keep the line outside the database: appended to a file, in a ticket, in a repository. `verify` takes it back.
    """
    from jupyter_mlops.core.audit import written

    found = connection.tracker.audit_head()
    if as_json:
        emit_json(found)
    else:
        click.echo(written(found))


@audit.command()
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="POSITION", help="Only what was sealed later.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Default: standard output."
)
@click.pass_obj
def export(connection: Connection, *, after: int, output: Path | None) -> None:
    """Seal the record and write all of it with its seals, one JSON object a line, oldest first.

    Each `digest` covers the line and all before it, so that a copy shows by itself that nothing was left out (docs:
    webhooks and the sealed record). Where a copy ends, `--after` goes on.
    """
    import msgspec

    tracker = connection.tracker
    head = tracker.audit_head()
    with output.open("wb") if output is not None else nullcontext(sys.stdout.buffer) as file:
        while after < head.position:
            page = tracker.audit_export(after=after, limit=min(_EXPORTED, head.position - after))
            if not page:
                break
            file.writelines(msgspec.json.encode(each) + b"\n" for each in page)
            after = page[-1].position
        file.flush()
    if output is not None:
        note(f"The record is in {output}, up to position {after}.")


@audit.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@json_option
@click.pass_context
def verify(ctx: click.Context, *, file: Path | None, as_json: bool) -> None:
    """Compare the record with its seals, and with the heads that FILE has (- for standard input), one a line.

    Says where it breaks, and then ends with exit code 1. Without heads from outside, whoever can write to the database
    can also make up all seals anew.
    """
    connection: Connection = ctx.obj
    verdict = connection.tracker.audit_verify("" if file is None else given_text(file))
    if as_json:
        emit_json(verdict)
    else:
        for problem in verdict.problems:
            click.echo(printable(problem))
        if verdict.intact:
            click.echo(f"The record is what was sealed: {verdict.head.position} entries.")
        if verdict.unsealed:
            note(f"No seal covers {verdict.unsealed} entries yet; `jupyter mlops audit head` seals them.")
    if not verdict.intact:
        ctx.exit(1)
