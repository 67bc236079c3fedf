"""``jupyter mlops policy``: what it takes to move a protected alias."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.options import ModelName, given_text, json_option
from jupyter_mlops.cli.terminal import emit_json, note
from jupyter_mlops.core.formats import printable

if TYPE_CHECKING:
    from jupyter_mlops.core.policy import PolicyVersion

POLICY = click.Path(path_type=Path, dir_okay=False, exists=True)

model_option = click.argument("name", required=False, type=ModelName())
group_option = click.option(
    "--group", metavar="GROUP", help="All models of this group that have no policy of their own."
)


@click.group()
def policy() -> None:
    """What it takes to move a protected alias: of a model, or of all models of a group."""


@policy.command()
@model_option
@group_option
@json_option
@click.pass_obj
def show(connection: Connection, *, name: str | None, group: str | None, as_json: bool) -> None:
    """Print the policy in force as YAML."""
    found = connection.tracker.policies.get(model=name, owner=_owner(name, group))
    if as_json:
        emit_json(found)
    else:
        _print(found)


@policy.command("set")
@model_option
@group_option
@click.option("--file", "-f", type=POLICY, metavar="FILE", help="The policy, as YAML.")
@click.option("--remove", is_flag=True, help="Take it back: that of the group counts then, or the default.")
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the history.")
@json_option
@click.pass_obj
def set_(
    connection: Connection,
    *,
    name: str | None,
    group: str | None,
    file: Path | None,
    remove: bool,
    reason: str,
    as_json: bool,
) -> None:
    """Put a policy into force. Demanding more needs the scope `promote`, demanding less `admin`."""
    from jupyter_mlops.tracker.policyfile import read_policy

    if (file is None) != remove:
        raise click.UsageError("Give either --file or --remove.")
    given = None if file is None else read_policy(given_text(file))
    owner = _owner(name, group)
    connection.tracker.policies.set(given, model=name, owner=owner, reason=reason)
    found = connection.tracker.policies.get(model=name, owner=owner)
    if as_json:
        emit_json(found)
    else:
        _print(found)


@policy.command()
@click.argument("file", type=POLICY)
@json_option
def check(*, file: Path, as_json: bool) -> None:
    """Say what is wrong with a policy in FILE, line by line; nothing is stored."""
    from jupyter_mlops.tracker.policyfile import policy_yaml, read_policy, unknown_checks

    found = read_policy(given_text(file))
    for name in unknown_checks(found):
        note(f"The check {name!r} does not come with jupyter-mlops: the worker needs it installed.")
    if as_json:
        emit_json(found)
    else:
        click.echo(printable(policy_yaml(found), lines=True), nl=False)


@policy.command()
@model_option
@group_option
@json_option
@click.pass_obj
def history(connection: Connection, *, name: str | None, group: str | None, as_json: bool) -> None:
    """Every policy that was set: when, by whom and why, oldest first."""
    found = connection.tracker.policies.history(model=name, owner=_owner(name, group))
    if as_json:
        emit_json(found)
        return
    if not found:
        note("None was ever set.")
        return
    from jupyter_mlops.cli.tables import Column, cells, show
    from jupyter_mlops.core import formats

    what = ["taken back" if each.policy is None else f"{each.policy.approvals_needed} approve" for each in found]
    checks = ["" if each.policy is None else ", ".join(rule.name for rule in each.policy.checks) for each in found]
    show(
        [
            Column(header="when", cells=cells([formats.moment(each.at or 0) for each in found])),
            Column(header="by", cells=cells([each.user or "" for each in found])),
            Column(header="policy", cells=cells(what)),
            Column(header="checks", cells=cells(checks), least=12, rank=1),
            Column(header="reason", cells=cells([each.reason for each in found], "dim"), least=20, rank=2),
        ]
    )


def _owner(name: str | None, group: str | None) -> str | None:
    if (name is None) == (group is None):
        raise click.UsageError("Give either the NAME of a model or --group.")
    return None if group is None else f"group:{group}"


def _print(found: PolicyVersion) -> None:
    from jupyter_mlops.core.policy import PolicySource
    from jupyter_mlops.tracker.policyfile import policy_yaml

    told = {
        PolicySource.MODEL: "the model's own",
        PolicySource.GROUP: f"that of {found.owner}",
        PolicySource.DEFAULT: f"the default, since none was set for {found.owner}",
        PolicySource.NONE: f"none: what belongs to {found.owner} is not protected",
    }
    note(f"The policy in force is {told[found.source]}.")
    if found.policy is not None:
        click.echo(printable(policy_yaml(found.policy), lines=True), nl=False)
