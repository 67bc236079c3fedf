"""``jupyter mlops experiments``: list, rename, delete, restore, share, hand over."""

from __future__ import annotations

from itertools import islice

import click

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.options import FC, ExperimentName, find_experiment, json_option, limit_option, paged
from jupyter_mlops.cli.terminal import emit_json, note
from jupyter_mlops.core.formats import printable
from jupyter_mlops.core.records import Experiment, Role, Share, View


@click.group()
def experiments() -> None:
    """Named sets of runs."""


@experiments.command("list")
@click.argument("filter", default="")
@click.option("--order-by", multiple=True, metavar="KEY", help="Such as 'name' or 'creation_time DESC'; repeatable.")
@click.option("--deleted", is_flag=True, help="Show the deleted ones.")
@limit_option(100)
@json_option
@click.pass_obj
def list_(
    connection: Connection, *, filter: str, order_by: tuple[str, ...], deleted: bool, limit: int, as_json: bool
) -> None:
    """List experiments, newest first.

    FILTER is MLflow's: "name LIKE 'churn%'", "tags.team = 'growth'".
    """
    view = View.DELETED if deleted else View.ACTIVE
    search = connection.tracker.experiments.search
    everything = paged(lambda token: search(filter, order_by, view=view, page_token=token))
    found = list(islice(everything, limit))
    if as_json:
        emit_json(found)
    elif found:
        _show(found)
    elif deleted or filter:
        note("No such experiment.")
    else:
        note("No experiments yet. Record a notebook with: jupyter mlops run NOTEBOOK.ipynb")
    if next(everything, None) is not None:
        note(f"There are more than {limit}: raise --limit to see them.")


def _show(found: list[Experiment]) -> None:
    from jupyter_mlops.cli.tables import Column, cells, show
    from jupyter_mlops.core import formats

    now = formats.now()
    last = [formats.relative(e.last_run, reference=now) if e.last_run is not None else "" for e in found]
    show(
        [
            Column(header="name", cells=cells([e.name for e in found], "bold"), least=24),
            Column(header="runs", cells=cells([str(e.runs) for e in found]), right=True),
            Column(header="last run", cells=cells(last), rank=1),
            Column(header="owner", cells=cells([e.owner for e in found]), rank=2),
            Column(header="created", cells=cells([formats.relative(e.created, reference=now) for e in found]), rank=3),
            Column(
                header="tags",
                cells=cells([", ".join(f"{t.key}={t.value}" for t in e.tags) for e in found], "dim"),
                least=16,
                rank=4,
            ),
        ]
    )


@experiments.command()
@click.argument("experiment", type=ExperimentName())
@click.argument("name")
@json_option
@click.pass_obj
def rename(connection: Connection, *, experiment: str, name: str, as_json: bool) -> None:
    """Give EXPERIMENT (a name or an id) another NAME."""
    found = find_experiment(connection.tracker, experiment)
    connection.tracker.experiments.rename(found.experiment_id, name)
    _report(connection, found, f"{found.name} is now {name}.", as_json)


@experiments.command()
@click.argument("experiment", type=ExperimentName())
@json_option
@click.pass_obj
def delete(connection: Connection, *, experiment: str, as_json: bool) -> None:
    """Mark EXPERIMENT and its runs deleted; `restore` brings them back until `jupyter mlops gc`."""
    found = find_experiment(connection.tracker, experiment)
    connection.tracker.experiments.delete(found.experiment_id)
    undo = f"jupyter mlops experiments restore {found.name}"
    _report(connection, found, f"Deleted {found.name}. To bring it back: {undo}", as_json)


@experiments.command()
@click.argument("experiment", type=ExperimentName())
@json_option
@click.pass_obj
def restore(connection: Connection, *, experiment: str, as_json: bool) -> None:
    """Bring back a deleted EXPERIMENT, with the runs that were deleted with it."""
    found = find_experiment(connection.tracker, experiment)
    connection.tracker.experiments.restore(found.experiment_id)
    _report(connection, found, f"Restored {found.name}.", as_json)


def _target_options(command: FC) -> FC:
    """Who a share is for: exactly one of these."""
    for option in (
        click.option("--to-everyone", is_flag=True, help="Everyone who may read at all."),
        click.option("--to-group", metavar="GROUP", help="The members of a group."),
        click.option("--to-user", metavar="USER", help="A user."),
    ):
        command = option(command)
    return command


@experiments.command()
@click.argument("experiment", type=ExperimentName())
@_target_options
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.READ.value,
    show_default=True,
    metavar="ROLE",
    help="`read` lets them see it; `write` also lets them create runs in it and log to them.",
)
@json_option
@click.pass_obj
def share(
    connection: Connection,
    *,
    experiment: str,
    to_user: str | None,
    to_group: str | None,
    to_everyone: bool,
    role: str,
    as_json: bool,
) -> None:
    """Open EXPERIMENT, with all that is in it, to a user, a group or everyone; once more changes the role.

    Renaming, deleting and sharing it stay its owner's.
    """
    found = find_experiment(connection.tracker, experiment)
    connection.tracker.experiments.share(
        found.experiment_id, to_user=to_user, to_group=to_group, to_everyone=to_everyone, role=role
    )
    _report_shares(connection, found, as_json)


@experiments.command()
@click.argument("experiment", type=ExperimentName())
@_target_options
@json_option
@click.pass_obj
def unshare(
    connection: Connection,
    *,
    experiment: str,
    to_user: str | None,
    to_group: str | None,
    to_everyone: bool,
    as_json: bool,
) -> None:
    """Take a share of EXPERIMENT back."""
    found = find_experiment(connection.tracker, experiment)
    connection.tracker.experiments.unshare(
        found.experiment_id, to_user=to_user, to_group=to_group, to_everyone=to_everyone
    )
    _report_shares(connection, found, as_json)


@experiments.command()
@click.argument("experiment", type=ExperimentName())
@json_option
@click.pass_obj
def shares(connection: Connection, *, experiment: str, as_json: bool) -> None:
    """With whom EXPERIMENT is shared."""
    _report_shares(connection, find_experiment(connection.tracker, experiment), as_json)


@experiments.command()
@click.argument("experiment", type=ExperimentName())
@click.argument("owner")
@json_option
@click.pass_obj
def transfer(connection: Connection, *, experiment: str, owner: str, as_json: bool) -> None:
    """Hand EXPERIMENT over to OWNER: a user's name, or group:NAME."""
    found = find_experiment(connection.tracker, experiment)
    connection.tracker.experiments.transfer(found.experiment_id, owner)
    # Who gave it away may see it no more.
    if as_json:
        emit_json({"experiment_id": found.experiment_id, "owner": owner})
    else:
        click.echo(printable(f"{found.name} now belongs to {owner}."))


def _report_shares(connection: Connection, experiment: Experiment, as_json: bool) -> None:
    found = connection.tracker.experiments.shares(experiment.experiment_id)
    if as_json:
        emit_json(found)
        return
    click.echo(printable(f"{experiment.name} belongs to {experiment.owner}; shared with {_told(found) or 'nobody'}."))


def _told(shares: tuple[Share, ...]) -> str:
    whom = [s.to_user or (f"group:{s.to_group}" if s.to_group else "everyone") for s in shares]
    return ", ".join(f"{who} ({share.role.value})" for who, share in zip(whom, shares, strict=True))


def _report(connection: Connection, changed: Experiment, sentence: str, as_json: bool) -> None:
    if as_json:
        emit_json(connection.tracker.experiments.get(changed.experiment_id))
    else:
        click.echo(printable(sentence))
