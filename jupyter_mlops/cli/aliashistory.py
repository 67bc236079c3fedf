"""``jupyter mlops models history``: what an alias pointed at, how that came, and on what evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.options import ModelName, json_option
from jupyter_mlops.cli.terminal import emit_json, note
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.formats import printable

if TYPE_CHECKING:
    from jupyter_mlops.core.promotion import AliasPeriod, Promotion


@click.command()
@click.argument("name", type=ModelName())
@click.argument("alias", required=False)
@click.option("--at", metavar="TIME", help="Only what held then: 2026-03-03, '2026-03-03 12:00', with +01:00 or local.")
@click.option(
    "--report", is_flag=True, help="Tell all of it, to be read and kept: who asked, who approved, the checks."
)
@click.option("--deleted", is_flag=True, help="Of models of that name that were deleted, although there is one now.")
@json_option
@click.pass_obj
def history(
    connection: Connection, *, name: str, alias: str | None, at: str | None, report: bool, deleted: bool, as_json: bool
) -> None:
    """Every move of ALIAS (of all aliases without it): when, who, why, and what it replaced.

    Of a model that was deleted, administrators and those to whom it belonged still learn it.
    """
    moment = None if at is None else _milliseconds(at)
    found = connection.tracker.promotions.history(name, alias, at=moment, deleted=deleted)
    if as_json:
        emit_json(found)
    elif not found and at is not None:
        note(f"{name}@{alias} pointed at nothing then." if alias else f"{name} had no alias then.")
    elif not found:
        note(f"No alias of {name} was ever set." if alias is None else f"{name}@{alias} was never set.")
    elif report:
        click.echo(printable("\n".join(_report(name, found)), lines=True))
    else:
        _show(found)


def _show(found: Sequence[AliasPeriod]) -> None:
    from jupyter_mlops.cli.tables import Cell, Column, cells, show
    from jupyter_mlops.core import formats

    moves = [period.move for period in found]
    now = [Cell(f"version {m.version}") if m.version is not None else Cell("deleted", "bad") for m in moves]
    before = [f"version {move.replaced}" if move.replaced is not None else "" for move in moves]
    show(
        [
            Column(header="when", cells=cells([formats.moment(move.at) for move in moves])),
            Column(header="alias", cells=cells([f"@{move.alias}" for move in moves], "good")),
            Column(header="now", cells=now),
            Column(header="before", cells=cells(before, "dim"), rank=1),
            Column(header="by", cells=cells([move.user for move in moves]), rank=2),
            Column(header="how", cells=cells([_how(period.promotion) for period in found]), rank=4),
            Column(header="reason", cells=cells([move.reason for move in moves]), least=20, rank=3),
        ]
    )


def _how(request: Promotion | None) -> str:
    if request is None:
        return ""
    agreed = [review.user for review in request.reviews if review.verdict.value == "approved"]
    return f"{request.kind.value} of {request.requester}" + (f", approved by {', '.join(agreed)}" if agreed else "")


def _report(name: str, found: Sequence[AliasPeriod]) -> Iterator[str]:
    """The history as Markdown."""
    from jupyter_mlops.core import formats

    yield f"# What the aliases of {name} pointed at"
    for period in found:
        move, request = period.move, period.promotion
        until = "now" if period.until is None else formats.moment(period.until)
        now = f"version {move.version}" if move.version is not None else "nothing"
        yield f"\n## {move.alias}: {now}, {formats.moment(move.at)} to {until}\n"
        yield f"- moved by {move.user}{f', before it was version {move.replaced}' if move.replaced else ''}"
        if move.reason:
            yield f"- reason: {move.reason}"
        if request is None:
            yield "- the alias was not protected"
            continue
        yield f"- {request.kind.value} {request.request_id} of {request.requester}, {formats.moment(request.created)}"
        if request.digest:
            yield f"- candidate: SHA-256 {request.digest}, run {request.run_id}, by {', '.join(request.authors)}"
        for check in request.checks:
            if check.result is not None:
                by = f"{check.result.reported_by}{', self-reported' if check.result.self_reported else ''}"
                yield f"- check {check.rule.name}: {check.result.verdict.value}, {check.result.summary} ({by})"
        for review in request.reviews:
            yield f"- {review.user}: {review.verdict.value}, {formats.moment(review.at)} {review.reason}".rstrip()
        for comment in request.comments:
            yield f"- {comment.user}, {formats.moment(comment.at)}: {comment.text}"


def _milliseconds(text: str) -> int:
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidValue(f"--at: {text!r} is no time; write 2026-03-03, or '2026-03-03 12:00'") from error
