"""``jupyter mlops webhooks``: who is told what happens to models."""

from __future__ import annotations

import click

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.options import confirm, json_option, limit_option, yes_option
from jupyter_mlops.cli.terminal import emit_json, note
from jupyter_mlops.core.formats import printable


@click.group()
def webhooks() -> None:
    """Webhooks: who is told what happens to models. The service sends the messages; see docs/webhooks.md."""


@webhooks.command()
@click.argument("url")
@click.option("--model", metavar="NAME", help="What happens to this model; else to all of an owner.")
@click.option("--owner", metavar="OWNER", help="A user, or group:NAME; you, when neither this nor --model is given.")
@click.option(
    "--event",
    "events",
    multiple=True,
    metavar="KIND",
    help="Only events of this kind, such as alias.moved or 'alias.*'; may be repeated. All, when it is not given.",
)
@click.option(
    "--template",
    type=click.Choice(["json", "slack", "teams"]),
    default="json",
    show_default=True,
    help="What a message looks like.",
)
@json_option
@click.pass_obj
def create(
    connection: Connection,
    *,
    url: str,
    model: str | None,
    owner: str | None,
    events: tuple[str, ...],
    template: str,
    as_json: bool,
) -> None:
    """Tell URL (https://..., http://... or mailto:ADDRESS) what happens, and print the secret that messages are signed
    with: this once."""
    made = connection.tracker.webhooks.create(url, model=model, owner=owner, events=events or ("*",), template=template)
    if as_json:
        emit_json(made)
        return
    click.echo(made.secret)
    note(f"Webhook {made.webhook_id}. The secret is shown only now: receivers verify messages with it.")


@webhooks.command(name="list")
@click.option("--owner", metavar="OWNER", help="Only those of a user, or of group:NAME.")
@json_option
@click.pass_obj
def list_(connection: Connection, *, owner: str | None, as_json: bool) -> None:
    """List webhooks."""
    found = connection.tracker.webhooks.list(owner)
    if as_json:
        emit_json(found)
        return
    if not found:
        note("There are no webhooks.")
        return
    from jupyter_mlops.cli.tables import Column, cells, show

    show(
        [
            Column(header="id", cells=cells([each.webhook_id for each in found])),
            Column(header="owner", cells=cells([each.owner for each in found], "bold")),
            Column(header="model", cells=cells([each.model or "all" for each in found])),
            Column(header="events", cells=cells([" ".join(each.events) for each in found]), rank=1),
            Column(header="form", cells=cells([each.template.value for each in found], "dim"), rank=2),
            Column(header="url", cells=cells([each.url for each in found]), least=20),
        ]
    )


@webhooks.command()
@click.argument("webhook")
@yes_option
@json_option
@click.pass_obj
def delete(connection: Connection, *, webhook: str, yes: bool, as_json: bool) -> None:
    """Delete the webhook with this id, with what it was still to be told."""
    confirm(f"Delete the webhook {webhook}, with what it was still to be told?", yes)
    connection.tracker.webhooks.delete(webhook)
    if as_json:
        emit_json({"deleted": webhook})
    else:
        click.echo(printable(f"Deleted webhook {webhook}."))


@webhooks.command()
@click.argument("webhook")
@limit_option(50)
@json_option
@click.pass_obj
def deliveries(connection: Connection, *, webhook: str, limit: int, as_json: bool) -> None:
    """What the webhook with this id was and is to be told, newest first."""
    found = connection.tracker.webhooks.deliveries(webhook, limit=min(limit, 50_000))
    if as_json:
        emit_json(found)
        return
    if not found:
        note("It was told nothing in the last 30 days.")
        return
    from jupyter_mlops.cli.tables import Cell, Column, cells, show
    from jupyter_mlops.core import formats

    kinds = {"delivered": "good", "failed": "bad"}
    states = [Cell(each.state.value, kinds.get(each.state.value, "")) for each in found]
    show(
        [
            Column(header="when", cells=cells([formats.moment(each.created) for each in found])),
            Column(header="event", cells=cells([each.kind for each in found], "bold")),
            Column(header="model", cells=cells([each.model for each in found])),
            Column(header="state", cells=states),
            Column(header="tries", cells=cells([str(each.attempts) for each in found]), right=True, rank=1),
            Column(header="answer", cells=cells([str(each.status or "") for each in found]), right=True, rank=2),
            Column(header="error", cells=cells([each.error for each in found], "dim"), least=24, rank=3),
        ]
    )
