"""``jupyter mlops access-token``: tokens for CI, kept in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.options import confirm, json_option, yes_option
from jupyter_mlops.cli.terminal import emit_json, note
from jupyter_mlops.core.accesstokens import DEFAULT_DAYS, LONGEST_DAYS, AccessToken
from jupyter_mlops.core.formats import printable

if TYPE_CHECKING:
    from jupyter_mlops.cli.tables import Cell


@click.group(name="access-token")
def access_token() -> None:
    """Tokens for what is no person (CI, a job elsewhere), with or without a hub. Making and revoking one needs a token
    that decides (see `jupyter mlops token`, or the hub's page), not that of a notebook server."""


@access_token.command()
@click.argument("name")
@click.option(
    "--owner", metavar="NAME", help="On whose things it works: group:NAME, or you. Default: as of new things."
)
@click.option(
    "--scope", type=click.Choice(["read", "write"]), default="write", show_default=True, help="What it may do there."
)
@click.option(
    "--days",
    type=click.IntRange(1, LONGEST_DAYS),
    default=DEFAULT_DAYS,
    show_default=True,
    help="How long it counts.",
)
@json_option
@click.pass_obj
def create(connection: Connection, name: str, *, owner: str | None, scope: str, days: int, as_json: bool) -> None:
    """Make a token and print it, this once. NAME says what it is for."""
    made = connection.tracker.access_tokens.create(name, owner=owner, scope=scope, days=days)
    if as_json:
        emit_json(made)
        return
    from jupyter_mlops.core import formats

    click.echo(made.secret)
    note(
        f"Shown only now. It counts until {formats.moment(made.expires)}, for the things of {printable(made.owner)}; "
        "clients look for it in MLOPS_TRACKING_TOKEN."
    )


@access_token.command(name="list")
@click.option("--owner", metavar="NAME", help="Only those on the things of this user, or of group:NAME.")
@json_option
@click.pass_obj
def list_(connection: Connection, *, owner: str | None, as_json: bool) -> None:
    """List the tokens on your things and those of your groups."""
    from jupyter_mlops.core import formats

    found = connection.tracker.access_tokens.list(owner)
    if as_json:
        emit_json(found)
        return
    if not found:
        note("There are no access tokens.")
        return
    from jupyter_mlops.cli.tables import Column, cells, show

    used = ["never" if each.last_used is None else formats.moment(each.last_used) for each in found]
    show(
        [
            Column(header="id", cells=cells([each.token_id for each in found])),
            Column(header="name", cells=cells([each.name for each in found], "bold")),
            Column(header="owner", cells=cells([each.owner for each in found])),
            Column(header="scope", cells=cells([each.scope for each in found])),
            Column(header="made by", cells=cells([each.user for each in found]), rank=1),
            Column(header="last used", cells=cells(used), rank=2),
            Column(header="expires", cells=[_expiry(each) for each in found]),
        ]
    )


@access_token.command()
@click.argument("token")
@yes_option
@json_option
@click.pass_obj
def revoke(connection: Connection, token: str, *, yes: bool, as_json: bool) -> None:
    """Revoke the token with this id. It counts no more from the next request on."""
    confirm(f"Revoke the access token {token}?", yes)
    connection.tracker.access_tokens.revoke(token)
    if as_json:
        emit_json({"revoked": token})
    else:
        click.echo(printable(f"Revoked access token {token}."))


def _expiry(token: AccessToken) -> Cell:
    from jupyter_mlops.cli.tables import Cell
    from jupyter_mlops.core import formats

    return Cell(formats.moment(token.expires), "bad" if token.expires <= formats.now() else "")
