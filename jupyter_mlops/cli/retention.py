"""``jupyter mlops retention``: how long runs are kept, and what that comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.options import confirm, json_option, yes_option
from jupyter_mlops.cli.quota import named, subject_argument
from jupyter_mlops.cli.terminal import emit_json, note
from jupyter_mlops.core import formats
from jupyter_mlops.core.formats import printable
from jupyter_mlops.core.retention import LONGEST_DAYS, MOST_KEPT, Retention, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_mlops.core.retention import Expiry
    from jupyter_mlops.tracker.protocol import Tracker

SHOWN = 50
"""Runs that are listed for people; ``--json`` has up to 1000."""
_DAYS = click.IntRange(1, LONGEST_DAYS)


@click.group(invoke_without_command=True)
@click.option("--dry-run", is_flag=True, help="Only say which runs would be deleted, and why: yours, and your groups'.")
@click.option("--owner", metavar="OWNER", help="With --dry-run: those of a user, or of group:NAME.")
@yes_option
@json_option
@click.pass_context
def retention(context: click.Context, *, dry_run: bool, owner: str | None, yes: bool, as_json: bool) -> None:
    """Delete the runs that the rules no longer keep; for administrators. A service does it once a day. They can be
    restored until they are collected (`gc`). Kept are runs that promoted models descend from, runs tagged mlops.keep,
    and the parents of what is kept."""
    if context.invoked_subcommand is not None:
        return
    if owner is not None and not dry_run:
        raise click.UsageError("--owner goes with --dry-run: the rules are applied for all.")
    tracker = context.obj.tracker
    if not dry_run and not yes:
        confirm(f"{_told(whole(_previewing(tracker)), 'Would delete')} Go ahead?", yes)
    found = whole(_previewing(tracker, owner) if dry_run else lambda token: tracker.retention.apply(page_token=token))
    if as_json:
        emit_json(found)
        return
    _show(found)
    click.echo(_told(found, "Would delete" if dry_run else "Deleted"))


@retention.command("list")
@json_option
@click.pass_obj
def list_(connection: Connection, *, as_json: bool) -> None:
    """List the rules that concern you; for administrators all."""
    found = connection.tracker.retention.rules()
    if as_json:
        emit_json(found)
        return
    if not found:
        note("No rule was set: runs are kept until somebody deletes them.")
        return
    from jupyter_mlops.cli.tables import Column, cells, show

    show(
        [
            Column(header="owner", cells=cells([named(each.subject) for each in found], "bold")),
            Column(header="rule", cells=cells([_sentence(each.retention) for each in found])),
            Column(header="set by", cells=cells([each.user for each in found]), rank=1),
            Column(header="when", cells=cells([formats.moment(each.at) for each in found], "dim"), rank=2),
        ]
    )


@retention.command("set")
@subject_argument
@click.option("--days", type=_DAYS, metavar="N", help="Delete runs N days after their end.")
@click.option("--failed-days", type=_DAYS, metavar="N", help="Those that failed or were killed after N days.")
@click.option("--keep-best", type=click.IntRange(1, MOST_KEPT), default=None, metavar="N", help="Keep so many of each "
              "experiment for ever: the best by --metric.")  # fmt: skip
@click.option("--metric", default="", metavar="NAME", help="By which runs are the best.")
@click.option("--minimize", is_flag=True, help="The least value is the best.")
@json_option
@click.pass_obj
def set_(
    connection: Connection,
    *,
    owner: str,
    days: int | None,
    failed_days: int | None,
    keep_best: int | None,
    metric: str,
    minimize: bool,
    as_json: bool,
) -> None:
    """Give OWNER a rule in place of the one they have: a user, group:NAME, or all that have none of their own: '*' for
    users, 'group:*' for groups. Look at what it comes to with `jupyter mlops retention --dry-run`."""
    given = Retention(days=days, failed_days=failed_days, keep_best=keep_best or 0, metric=metric, minimize=minimize)
    connection.tracker.retention.set(owner, given)
    if as_json:
        emit_json({"subject": owner, "retention": given})
    else:
        click.echo(printable(f"Of {named(owner)}: {_sentence(given)}."))


@retention.command()
@subject_argument
@json_option
@click.pass_obj
def remove(connection: Connection, *, owner: str, as_json: bool) -> None:
    """Take the rule of OWNER back: the one for all users, or all groups, counts then."""
    connection.tracker.retention.set(owner, None)
    if as_json:
        emit_json({"subject": owner, "retention": None})
    else:
        click.echo(printable(f"{named(owner)} has no rule of its own any more."))


def _previewing(tracker: Tracker, owner: str | None = None) -> Callable[[str | None], Expiry]:
    return lambda token: tracker.retention.preview(owner, page_token=token)


def _show(found: Expiry) -> None:
    if not found.listed:
        return
    from jupyter_mlops.cli.tables import SHORT_ID, Column, cells, show

    listed = found.listed[:SHOWN]
    more = found.runs - len(listed)
    show(
        [
            Column(header="run", cells=cells([each.name for each in listed], "bold"), least=16),
            Column(header="id", cells=cells([each.run_id[:SHORT_ID] for each in listed], "dim"), rank=1),
            Column(header="owner", cells=cells([each.owner for each in listed])),
            Column(header="why", cells=cells([each.why for each in listed]), least=24),
        ],
        [f"{more:,} more are not shown; --json lists 1000."] if more else [],
    )


def _told(found: Expiry, verb: str) -> str:
    owners = ", ".join(f"{count:,} of {owner}" for owner, count in found.by_owner.items())
    spared = f" {found.spared:,} past their time are kept." if found.spared else ""
    runs = "run" if found.runs == 1 else "runs"
    return printable(f"{verb} {found.runs:,} {runs}{f' ({owners})' if owners else ''}.{spared}")


def _sentence(rule: Retention) -> str:
    parts = []
    if rule.days is not None:
        parts.append(f"runs are deleted {rule.days} days after their end")
    if rule.failed_days is not None:
        parts.append(f"those that failed or were killed after {rule.failed_days} days")
    if rule.keep_best:
        least = "least" if rule.minimize else "greatest"
        parts.append(f"the {rule.keep_best} with the {least} {rule.metric} of each experiment are kept")
    return "; ".join(parts)
