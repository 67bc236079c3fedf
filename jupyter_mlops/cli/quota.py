"""``jupyter mlops quota``: how much there may be, and how much there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.options import json_option
from jupyter_mlops.cli.terminal import emit_json, note
from jupyter_mlops.core import formats
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.formats import printable
from jupyter_mlops.core.quotas import EVERY_GROUP, EVERY_USER, NEARLY, Quota

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_mlops.cli.tables import Cell
    from jupyter_mlops.core.quotas import Standing


class Size(click.ParamType[int]):
    """Bytes, such as ``20GB``."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return formats.parse_size(value)
        except InvalidValue as error:
            self.fail(error.message, param, ctx)


subject_argument = click.argument("owner", metavar="OWNER")
_COUNT = click.IntRange(0, 2**63 - 1)


@click.group(invoke_without_command=True)
@click.option("--owner", metavar="OWNER", help="Of a user, or of group:NAME, instead of you and your groups.")
@click.option("--all", "everyone", is_flag=True, help="Of all that have something; for administrators.")
@json_option
@click.pass_context
def quota(context: click.Context, *, owner: str | None, everyone: bool, as_json: bool) -> None:
    """How much you and your groups may have, and how much there is. What was deleted counts until it is collected."""
    if context.invoked_subcommand is not None:
        return
    found = context.obj.tracker.quotas.standing(owner, everyone=everyone)
    if as_json:
        emit_json(found)
        return
    if not found:
        note("Nobody has anything yet.")
        return
    _show(found)


@quota.command("set")
@subject_argument
@click.option("--bytes", "size", type=Size(), metavar="SIZE", help="Of files of runs and model versions: 500GB.")
@click.option("--runs", type=_COUNT, metavar="N", help="Runs.")
@click.option("--points", type=_COUNT, metavar="N", help="Metric points.")
@click.option("--file-bytes", type=Size(), metavar="SIZE", help="Of one file of a run: 20GB.")
@click.option("--running", type=_COUNT, metavar="N", help="Runs at once; submitted ones wait for their turn.")
@json_option
@click.pass_obj
def set_(
    connection: Connection,
    *,
    owner: str,
    size: int | None,
    runs: int | None,
    points: int | None,
    file_bytes: int | None,
    running: int | None,
    as_json: bool,
) -> None:
    """Give OWNER a quota in place of the one they have: a user, group:NAME, or all that have none of their own: '*' for
    users, 'group:*' for groups. What is not named has no limit; with nothing named, OWNER has none, whatever others
    have. Nothing is deleted when there is more already."""
    given = Quota(bytes=size, runs=runs, points=points, file_bytes=file_bytes, running=running)
    connection.tracker.quotas.set(owner, given)
    if as_json:
        emit_json({"subject": owner, "quota": given})
    else:
        click.echo(printable(f"{named(owner)} may have {_sentence(given)}."))


@quota.command()
@subject_argument
@json_option
@click.pass_obj
def remove(connection: Connection, *, owner: str, as_json: bool) -> None:
    """Take the quota of OWNER back: the one for all users, or all groups, counts then."""
    connection.tracker.quotas.set(owner, None)
    if as_json:
        emit_json({"subject": owner, "quota": None})
    else:
        click.echo(printable(f"{named(owner)} has no quota of its own any more."))


@quota.command("list")
@json_option
@click.pass_obj
def list_(connection: Connection, *, as_json: bool) -> None:
    """List the quotas that were set."""
    found = connection.tracker.quotas.rules()
    if as_json:
        emit_json(found)
        return
    if not found:
        note("No quota was set: everybody may have as much as there is room for.")
        return
    from jupyter_mlops.cli.tables import Column, cells, show

    given = [each.quota for each in found]
    show(
        [
            Column(header="owner", cells=cells([named(each.subject) for each in found], "bold")),
            Column(header="files", cells=cells([_size(each.bytes) for each in given]), right=True),
            Column(header="runs", cells=cells([_count(each.runs) for each in given]), right=True),
            Column(header="points", cells=cells([_count(each.points) for each in given]), right=True),
            Column(header="at once", cells=cells([_count(each.running) for each in given]), right=True, rank=1),
            Column(header="one file", cells=cells([_size(each.file_bytes) for each in given]), right=True, rank=1),
            Column(header="set by", cells=cells([each.user for each in found]), rank=2),
            Column(header="when", cells=cells([formats.moment(each.at) for each in found], "dim"), rank=3),
        ]
    )


@quota.command()
@json_option
@click.pass_obj
def recount(connection: Connection, *, as_json: bool) -> None:
    """Count again what everybody has. Counters change with what they count, so this finds nothing, unless rows were
    changed by other means."""
    wrong = connection.tracker.quotas.recount()
    if as_json:
        emit_json({"corrected": wrong})
    else:
        click.echo(f"Counted; {wrong} {'counter was' if wrong == 1 else 'counters were'} wrong.")


def _show(found: Sequence[Standing]) -> None:
    from jupyter_mlops.cli.tables import Column, cells, show

    show(
        [
            Column(header="owner", cells=cells([each.owner for each in found], "bold")),
            Column(header="files", cells=[_used(each, "bytes") for each in found], right=True),
            Column(header="runs", cells=[_used(each, "runs") for each in found], right=True),
            Column(header="at once", cells=[_used(each, "running") for each in found], right=True, rank=2),
            Column(header="metric points", cells=[_used(each, "points") for each in found], right=True, rank=1),
        ],
        [f"{warning}." for each in found for warning in each.warnings],
    )


def _used(standing: Standing, name: str) -> Cell:
    from jupyter_mlops.cli.tables import Cell

    used, limit = getattr(standing.usage, name), getattr(standing.quota, name)
    told = formats.size(used) if name == "bytes" else f"{used:,}"
    if limit is None:
        return Cell(told)
    style = "bad" if used >= limit else "warning" if used >= NEARLY * limit else ""
    return Cell(f"{told} of {formats.size(limit) if name == 'bytes' else f'{limit:,}'}", style)


def _sentence(given: Quota) -> str:
    parts = [
        "" if given.bytes is None else f"{formats.size(given.bytes)} of files",
        "" if given.runs is None else f"{given.runs:,} runs",
        "" if given.points is None else f"{given.points:,} metric points",
        "" if given.file_bytes is None else f"{formats.size(given.file_bytes)} in one file",
        "" if given.running is None else f"{given.running:,} runs at once",
    ]
    return ", ".join(filter(None, parts)) or "as much as there is room for"


def named(subject: str) -> str:
    return {EVERY_USER: "every user", EVERY_GROUP: "every group"}.get(subject, subject)


def _size(limit: int | None) -> str:
    return "" if limit is None else formats.size(limit)


def _count(limit: int | None) -> str:
    return "" if limit is None else f"{limit:,}"
