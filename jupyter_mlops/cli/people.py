"""``jupyter mlops people``: what an administrator does here when somebody leaves or is renamed in the hub."""

from __future__ import annotations

import click

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.options import confirm, json_option, yes_option
from jupyter_mlops.cli.terminal import emit_json, note
from jupyter_mlops.core.formats import printable
from jupyter_mlops.core.people import Handover

dry_run_option = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


@click.group()
def people() -> None:
    """Users and groups that leave, or that the hub renames or removes. For administrators; a group is group:NAME."""


@people.command()
@click.argument("owner", metavar="NAME")
@click.option("--to", required=True, metavar="NAME", help="Who takes over: group:NAME, or a user.")
@dry_run_option
@yes_option
@json_option
@click.pass_obj
def offboard(connection: Connection, owner: str, *, to: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Hand over what a user or a group has: experiments with their runs, and models. A person's webhooks and access
    tokens end, and so do shares with them; open requests that need them are closed. The record of who did what stays.

    Schedules and submitted runs are in the user's own server: stop it in the hub.
    """
    tracker = connection.tracker
    if not dry_run and not yes:
        planned = tracker.people.offboard(owner, to, dry_run=True)
        confirm(
            f"This gives {to} what {owner} has: {_counted(planned.experiments, 'experiment')} with "
            f"{_counted(planned.runs, 'run')}, {_counted(planned.models, 'model')}. Go ahead?",
            yes,
        )
    _show(tracker.people.offboard(owner, to, dry_run=dry_run), as_json, "handed over")


@people.command()
@click.argument("owner", metavar="NAME")
@click.argument("to", metavar="NEW_NAME")
@dry_run_option
@yes_option
@json_option
@click.pass_obj
def rename(connection: Connection, owner: str, *, to: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Follow a new name that the hub gave to a user or a group. Open requests that name the user are closed, so that
    nobody counts twice under two names; the record of who did what keeps the name of its time."""
    tracker = connection.tracker
    if not dry_run and not yes:
        confirm(f"This makes {to} of {owner}, everywhere but in the permanent record. Go ahead?", yes)
    _show(tracker.people.rename(owner, to, dry_run=dry_run), as_json, "changed")


def _show(done: Handover, as_json: bool, word: str) -> None:
    if as_json:
        emit_json(done)
        return
    counts = {
        "experiment": done.experiments,
        "run": done.runs,
        "model": done.models,
        "webhook": done.webhooks,
        "share": done.shares,
        "policy": done.policies,
        "request": done.requests,
        "access token": done.tokens,
    }
    told = ", ".join(_counted(number, what) for what, number in counts.items() if number)
    if not told:
        note(printable(f"Nothing here is of {done.owner} or names them."))
        return
    tense = "would be" if done.dry_run else "were"
    click.echo(printable(f"{done.owner} to {done.to}: {told} {tense} {word}."))
    for each in done.new_names:
        note(printable(f"The experiment {each.before} is called {each.after} there."))


def _counted(number: int, what: str) -> str:
    if number == 1:
        return f"1 {what}"
    return f"{number} {what[:-1]}ies" if what.endswith("y") else f"{number} {what}s"
