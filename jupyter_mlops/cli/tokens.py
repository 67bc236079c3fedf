"""``jupyter mlops token``: the tokens of a service without a hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from jupyter_mlops.cli.options import confirm, json_option, yes_option
from jupyter_mlops.cli.terminal import emit_json, note

if TYPE_CHECKING:
    from jupyter_mlops.cli.tables import Cell
    from jupyter_mlops.service.tokens import Grant

SHOWN = 12
"""Characters of a token's hash by which it is listed and revoked."""

file_option = click.option(
    "--file",
    "-f",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The file of tokens. It holds hashes, not the tokens themselves.",
)


@click.group()
def token() -> None:
    """Tokens for a service without a hub. A running service notices changes of its file at once."""


@token.command()
@click.argument("user")
@file_option
@click.option("--groups", default="", metavar="A,B", help="The groups that the user belongs to.")
@click.option(
    "--scopes",
    type=click.Choice(["read", "write", "promote", "admin"]),
    default="write",
    show_default=True,
    help="What the token allows at most; each includes those before it.",
)
@click.option(
    "--acts-for", metavar="PERSON", help="Who answers for USER where that is no person (CI): they count as asking."
)
@click.option("--expires", metavar="TIME", help="How long it counts, such as 12h or 90d. Default: until it is revoked.")
@json_option
def create(
    user: str, *, file: Path, groups: str, scopes: str, acts_for: str | None, expires: str | None, as_json: bool
) -> None:
    """Make a token with which USER is known, and print it: this once, since the file has its hash only. The file is
    made when there is none."""
    from jupyter_mlops.core import formats
    from jupyter_mlops.core.credentials import token_digest
    from jupyter_mlops.service.tokens import Grant, create_token

    names = tuple(dict.fromkeys(name.strip() for name in groups.split(",") if name.strip()))
    now = formats.now()
    until = None if expires is None else now + round(formats.parse_duration(expires) * 1000)
    grant = Grant(user=user, groups=names, scope=scopes, acts_for=acts_for, created=now, expires=until)
    made = create_token(file, grant)
    if as_json:
        emit_json({"token": made, **_as_dict(token_digest(made), grant)})
        return
    click.echo(made)
    counts = "" if until is None else f" It counts until {formats.moment(until)}."
    note(f"Shown only now.{counts} It lets whoever has it act as {user}; clients look for it in MLOPS_TRACKING_TOKEN.")


@token.command(name="list")
@file_option
@json_option
def list_(*, file: Path, as_json: bool) -> None:
    """List the tokens of a file, by the beginning of their hash."""
    from jupyter_mlops.core import formats
    from jupyter_mlops.service.tokens import read_grants

    grants = sorted(read_grants(file).items(), key=lambda item: item[1].created)
    if as_json:
        emit_json([_as_dict(name, grant) for name, grant in grants])
        return
    if not grants:
        note("There are no tokens.")
        return
    from jupyter_mlops.cli.tables import Column, cells, show

    show(
        [
            Column(header="id", cells=cells([name[:SHOWN] for name, _ in grants])),
            Column(header="user", cells=cells([grant.user for _, grant in grants], "bold")),
            Column(header="groups", cells=cells([", ".join(grant.groups) for _, grant in grants])),
            Column(header="scope", cells=cells([grant.scope for _, grant in grants])),
            Column(header="created", cells=cells([formats.moment(grant.created) for _, grant in grants]), rank=1),
            Column(header="expires", cells=[_expiry(grant) for _, grant in grants]),
        ]
    )


@token.command()
@click.argument("ids", nargs=-1)
@file_option
@click.option("--user", metavar="USER", help="All tokens of this user.")
@yes_option
@json_option
def revoke(ids: tuple[str, ...], *, file: Path, user: str | None, yes: bool, as_json: bool) -> None:
    """Revoke the tokens whose hashes begin with IDS (as `token list` shows them), or all of a user. They count no more
    from the next request on."""
    from jupyter_mlops.service.tokens import find_tokens, revoke_tokens

    found = find_tokens(file, ids, user)
    if not yes:
        told = ", ".join(f"{name[:SHOWN]} ({grant.user})" for name, grant in found.items())
        confirm(f"This revokes {told}. Go ahead?", yes)
    revoke_tokens(file, found)
    if as_json:
        emit_json([_as_dict(name, grant) for name, grant in found.items()])
    else:
        click.echo(f"Revoked {len(found)} token{'' if len(found) == 1 else 's'}.")


def _expiry(grant: Grant) -> Cell:
    from jupyter_mlops.cli.tables import Cell
    from jupyter_mlops.core import formats

    if grant.expires is None:
        return Cell("")
    expired = grant.expires <= formats.now()
    return Cell(formats.moment(grant.expires), "bad" if expired else "")


def _as_dict(name: str, grant: Grant) -> dict[str, object]:
    return {
        "id": name[:SHOWN],
        "user": grant.user,
        "groups": grant.groups,
        "scope": grant.scope,
        "created": grant.created,
        "expires": grant.expires,
    }
