"""``jupyter mlops models``: the registry."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jupyter_mlops.cli.aliashistory import history
from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.model_cards import card, consumers
from jupyter_mlops.cli.options import ModelName, RunName, confirm, json_option, limit_option, paged, quoted, yes_option
from jupyter_mlops.cli.terminal import emit_json, note
from jupyter_mlops.core.errors import InvalidValue, MLOpsError
from jupyter_mlops.core.formats import printable
from jupyter_mlops.core.records import ModelVersion, RegisteredModel

if TYPE_CHECKING:
    from jupyter_mlops.core.records import Run
    from jupyter_mlops.tracker.protocol import Tracker

_REFERENCE = re.compile(r"(?:models:/)?(?P<name>[^/:@]+)(?:/(?P<version>[^/:@]+)|(?P<alias>@[^/:@]+))?")


@click.group()
def models() -> None:
    """Registered models, their versions and aliases."""


@models.command("list")
@click.argument("filter", default="")
@limit_option(100)
@json_option
@click.pass_obj
def list_(connection: Connection, *, filter: str, limit: int, as_json: bool) -> None:
    """List registered models. FILTER is MLflow's: "name LIKE 'churn%'", "tags.team = 'growth'"."""
    found = list(islice(paged(lambda token: connection.tracker.models.search(filter, page_token=token)), limit + 1))
    shown = found[:limit]
    if as_json:
        emit_json(shown)
    elif shown:
        _show_models(shown)
    else:
        note("No such model." if filter else "No models yet. Register one with: jupyter mlops models register RUN NAME")
    if len(found) > limit:
        note(f"There are more than {limit}: raise --limit to see them.")


def _show_models(found: list[RegisteredModel]) -> None:
    from jupyter_mlops.cli.tables import Column, cells, show
    from jupyter_mlops.core import formats

    now = formats.now()
    aliases = [", ".join(f"@{alias.alias} → {alias.version}" for alias in model.aliases) for model in found]
    latest = [str(model.latest_version) if model.latest_version is not None else "" for model in found]
    updated = [formats.relative(model.updated, reference=now) for model in found]
    show(
        [
            Column(header="name", cells=cells([model.name for model in found], "bold"), least=24),
            Column(header="latest", cells=cells(latest), right=True),
            Column(header="aliases", cells=cells(aliases, "good"), least=20, rank=1),
            Column(header="updated", cells=cells(updated), rank=2),
            Column(header="owner", cells=cells([model.owner for model in found]), rank=3),
            Column(header="description", cells=cells([m.description for m in found], "dim"), least=20, rank=4),
        ]
    )


@models.command()
@click.argument("model", type=ModelName())
@json_option
@click.pass_obj
def show(connection: Connection, *, model: str, as_json: bool) -> None:
    """Show MODEL: its versions, where each came from, and what the aliases point at. With NAME/VERSION or NAME@ALIAS,
    show that version and its files."""
    tracker = connection.tracker
    name, reference = parsed(model)
    if reference is not None:
        version = tracker.models.resolve(name, reference)
        _show_version(tracker, version, as_json)
        return
    found = tracker.models.get(name)
    versions = list(
        paged(
            lambda token: tracker.models.versions(f"name = {quoted(name)}", ["version_number DESC"], page_token=token)
        )
    )
    if as_json:
        emit_json({"model": found, "versions": versions})
    else:
        _show_model(tracker, found, versions)


def _show_model(tracker: Tracker, found: RegisteredModel, versions: list[ModelVersion]) -> None:
    from jupyter_mlops.cli.tables import Cell, Column, cells, show
    from jupyter_mlops.core import formats

    now = formats.now()
    click.secho(printable(found.name), bold=True)
    if found.description:
        click.echo(printable(found.description, lines=True))
    for tag in found.tags:
        click.echo(printable(f"{tag.key}: {tag.value}"))
    if not versions:
        note(f"It has no versions. Register one with: jupyter mlops models register RUN {found.name}")
        return
    click.echo()
    show(
        [
            Column(header="version", cells=cells([str(v.version) for v in versions], "bold"), right=True),
            Column(
                header="aliases", cells=cells([" ".join(f"@{a}" for a in v.aliases) for v in versions], "good"), rank=1
            ),
            Column(header="run", cells=cells([_run_name(tracker, v) for v in versions]), least=20, rank=2),
            Column(header="by", cells=cells([v.user for v in versions]), rank=5),
            Column(
                header="registered", cells=cells([formats.relative(v.created, reference=now) for v in versions]), rank=3
            ),
            Column(header="size", cells=cells([formats.size(v.size) for v in versions]), right=True, rank=6),
            Column(header="flavours", cells=cells([_flavors(v) for v in versions]), least=12, rank=7),
            Column(
                header="loads",
                cells=[Cell("safely", "good") if v.safe else Cell("runs its code", "warning") for v in versions],
                rank=4,
            ),
            Column(header="description", cells=cells([v.description for v in versions], "dim"), least=20, rank=8),
        ]
    )


def _show_version(tracker: Tracker, version: ModelVersion, as_json: bool) -> None:
    files = tracker.models.files(version.model, version.version)
    if as_json:
        emit_json({"version": version, "files": files})
        return
    from jupyter_mlops.cli import tables
    from jupyter_mlops.cli.artifacts import show as show_files
    from jupyter_mlops.core import formats

    facts = {
        "aliases": " ".join(f"@{alias}" for alias in version.aliases),
        "run": _run_name(tracker, version),
        "source": version.source,
        "by": version.user,
        "registered": formats.moment(version.created),
        "flavours": _flavors(version),
        "loading": "safe" if version.safe else "runs code that came with it",
        "sha256": version.digest,
        "size": formats.size(version.size),
        "description": version.description,
        **{tag.key: tag.value for tag in version.tags},
    }
    click.secho(printable(f"{version.model} version {version.version}"), bold=True)
    tables.show_pairs({key: value for key, value in facts.items() if value})
    click.echo()
    show_files(files)


def _run_name(tracker: Tracker, version: ModelVersion) -> str:
    """The run a version came from; its id alone when that was removed for good."""
    from jupyter_mlops.core.errors import NotFound

    if version.run_id is None:
        return ""
    try:
        return tracker.runs.get(version.run_id).name
    except NotFound:
        return f"{version.run_id[:12]} (removed)"


def _flavors(version: ModelVersion) -> str:
    return ", ".join(flavor for flavor in version.flavors if flavor != "python_function") or ", ".join(version.flavors)


@models.command()
@click.argument("model", type=ModelName())
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@json_option
@click.pass_obj
def get(connection: Connection, *, model: str, folder: Path | None, as_json: bool) -> None:
    """Fetch the files of a version, verified by digest, into FOLDER: a new or empty one (default: NAME-VERSION here).

    MODEL is NAME (its latest version), NAME/VERSION, NAME@ALIAS, or any of these as MLflow's models:/... URI.
    """
    name, reference = parsed(model)
    registry = connection.tracker.models
    version = registry.resolve(name, reference or "latest")
    place = registry.download(version.model, version.version, folder or Path(f"{version.model}-{version.version}"))
    alias = reference if reference is not None and reference.startswith("@") else ""
    try:
        registry.consume(version.model, version.version, reference=alias, purpose="jupyter mlops models get")
    except MLOpsError as error:
        note(f"That {version.model} is used here could not be noted: {error.message}")
    if as_json:
        emit_json({"version": version, "local_path": str(place)})
    else:
        click.echo(printable(str(place)))


@models.command()
@click.argument("run", type=RunName(), metavar="RUN[:PATH]")
@click.argument("name", type=ModelName())
@click.option("--alias", metavar="ALIAS", help="Point this alias at the new version.")
@click.option("--description", default="", metavar="TEXT", help="What is to be known of this version.")
@click.option("--reason", default="", metavar="TEXT", help="Why the alias moves; kept in its history.")
@json_option
@click.pass_obj
def register(
    connection: Connection, *, run: str, name: str, alias: str | None, description: str, reason: str, as_json: bool
) -> None:
    """Make a version of the model NAME from the model that RUN logged, at PATH when it logged several."""
    tracker = connection.tracker
    text, colon, path = run.partition(":")
    found = tracker.runs.resolve(text)
    if not colon:
        path = _only_model(tracker, found)
    version = tracker.models.register(name, found.run_id, path.strip("/"), description=description)
    if alias is not None:
        tracker.models.set_alias(name, alias, version.version, reason=reason)
        version = tracker.models.version(name, version.version)
    if as_json:
        emit_json(version)
        return
    click.echo(printable(f"Registered {name} version {version.version} from {found.name}:{path}."))
    if alias is not None:
        click.echo(printable(f"{name}@{alias} is now version {version.version}."))


def _only_model(tracker: Tracker, run: Run) -> str:
    """The folder of the one model that ``run`` logged."""
    names = [file.path for file in tracker.artifacts.walk(run.run_id)]
    folders = [path.rpartition("/")[0] for path in names if path.rpartition("/")[2] == "MLmodel"]
    if len(folders) == 1:
        return folders[0]
    if not folders:
        raise InvalidValue(f"the run {run.name} logged no model: none of its folders has an MLmodel file")
    choices = ", ".join(f"{run.name}:{folder}" for folder in folders)
    raise InvalidValue(f"the run {run.name} logged several models; say which: {choices}")


@models.command()
@click.argument("name", type=ModelName())
@click.argument("alias")
@click.argument("version", required=False)
@click.option("--delete", is_flag=True, help="Take the alias away.")
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the alias's history.")
@json_option
@click.pass_obj
def alias(
    connection: Connection, *, name: str, alias: str, version: str | None, delete: bool, reason: str, as_json: bool
) -> None:
    """Point ALIAS of the model NAME at VERSION (a number, or `latest`)."""
    if (version is None) != delete:
        raise click.UsageError("Give either VERSION or --delete.")
    registry = connection.tracker.models
    before = {a.alias: a.version for a in registry.get(name).aliases}.get(alias)
    if version is None:
        registry.delete_alias(name, alias, reason=reason)
        sentence = f"{name}@{alias} is gone; it was version {before}."
    else:
        target = registry.resolve(name, version)
        registry.set_alias(name, alias, target.version, reason=reason)
        was = f"; it was version {before}" if before is not None and before != target.version else ""
        sentence = f"{name}@{alias} is now version {target.version}{was}."
    if as_json:
        emit_json(registry.get(name))
    else:
        click.echo(printable(sentence))


models.add_command(history)


@models.command()
@click.argument("model", type=ModelName())
@yes_option
@json_option
@click.pass_obj
def delete(connection: Connection, *, model: str, yes: bool, as_json: bool) -> None:
    """Delete a version (NAME/VERSION), or a model with all of its versions (NAME), for good.

    What an alias points at is kept: move or delete the alias first.
    """
    registry = connection.tracker.models
    name, reference = parsed(model)
    if reference is None:
        registry.get(name)
        confirm(f"Delete the model {name} with all of its versions, for good?", yes)
        registry.delete(name)
        gone: dict[str, object] = {"model": name}
    else:
        version = registry.resolve(name, reference).version
        confirm(f"Delete version {version} of {name}, for good?", yes)
        registry.delete_version(name, version)
        gone = {"model": name, "version": version}
    if as_json:
        emit_json({"deleted": gone})
    else:
        click.echo(printable(f"Deleted {' version '.join(str(part) for part in gone.values())}."))


@models.command()
@click.argument("name", type=ModelName())
@click.argument("owner")
@json_option
@click.pass_obj
def transfer(connection: Connection, *, name: str, owner: str, as_json: bool) -> None:
    """Hand the model NAME over to OWNER: a user's name, or group:NAME."""
    connection.tracker.models.transfer(name, owner)
    # Who gave it away may see it no more.
    if as_json:
        emit_json({"name": name, "owner": owner})
    else:
        click.echo(printable(f"{name} now belongs to {owner}."))


@models.command()
@click.argument("name", type=ModelName())
@click.option("--off", is_flag=True, help="Show it to all again.")
@json_option
@click.pass_obj
def restrict(connection: Connection, *, name: str, off: bool, as_json: bool) -> None:
    """Show the model NAME, its versions and aliases to its owner only (the user, or the members of the group)."""
    model = connection.tracker.models.restrict(name, not off)
    if as_json:
        emit_json(model)
    else:
        click.echo(printable(f"{name} is for {'all who may read' if off else model.owner}."))


def parsed(text: str) -> tuple[str, str | None]:
    """A model's name and, when ``text`` names a version, the reference to it."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise InvalidValue(f"{text!r} names no model: use NAME, NAME/VERSION or NAME@ALIAS")
    return match["name"], match["version"] or match["alias"]


models.add_command(card)
models.add_command(consumers)
