"""``jupyter mlops models consumers`` and ``card``: who uses versions, and what is to be known of them."""

from __future__ import annotations

import click

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.options import ModelName, given_text, json_option
from jupyter_mlops.cli.terminal import emit_json, note
from jupyter_mlops.core.formats import printable


@click.command()
@click.argument("name", type=ModelName())
@json_option
@click.pass_obj
def consumers(connection: Connection, *, name: str, as_json: bool) -> None:
    """Who loads which version of the model NAME, by which alias and what for, the last first.

    Of models of others only your own loads are shown.
    """
    found = connection.tracker.models.consumers(name)
    if as_json:
        emit_json(found)
        return
    if not found:
        note(f"Nobody has loaded {name}, as far as is known.")
        return
    from jupyter_mlops.cli.tables import Column, cells, show
    from jupyter_mlops.core import formats

    show(
        [
            Column(header="version", cells=cells([str(each.version) for each in found]), right=True),
            Column(header="by alias", cells=cells([each.reference for each in found], "good")),
            Column(header="user", cells=cells([each.user for each in found], "bold")),
            Column(header="last", cells=cells([formats.moment(each.last) for each in found])),
            Column(header="loads", cells=cells([str(each.loads) for each in found]), right=True, rank=1),
            Column(header="first", cells=cells([formats.moment(each.first) for each in found], "dim"), rank=3),
            Column(header="what for", cells=cells([each.purpose for each in found], "dim"), least=16, rank=2),
        ]
    )


@click.command()
@click.argument("model", type=ModelName())
@click.option(
    "--set",
    "source",
    metavar="FILE",
    help="Write what is in this Markdown file (- for standard input) as the card; an empty file brings the draft back.",
)
@json_option
@click.pass_obj
def card(connection: Connection, *, model: str, source: str | None, as_json: bool) -> None:
    """Print the model card of a version: what was written, else a draft from the record.

    MODEL is NAME (its latest version), NAME/VERSION or NAME@ALIAS.
    """
    from jupyter_mlops.cli.models import parsed

    name, reference = parsed(model)
    registry = connection.tracker.models
    version = registry.resolve(name, reference or "latest")
    if source is not None:
        found = registry.set_card(version.model, version.version, given_text(source))
    else:
        found = registry.card(version.model, version.version)
    if as_json:
        emit_json(found)
    else:
        click.echo(printable(found.text, lines=True), nl=not found.text.endswith("\n"))
