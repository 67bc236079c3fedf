"""Looking after the store: ``jupyter mlops db`` and ``gc``."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from jupyter_mlops.cli.backup import digest, dump, load
from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.options import confirm, json_option, yes_option
from jupyter_mlops.cli.terminal import emit_json, note
from jupyter_mlops.core.formats import printable
from jupyter_mlops.core.retention import all_collected

if TYPE_CHECKING:
    from jupyter_mlops.core.records import Collected

_FACTS = {
    "needed_schema": "needed schema",
    "journal_mode": "journal mode",
    "network_file_system": "network file system",
    "waiting": "logged, not stored yet",
    "refused": "logged, but refused",
    "damaged": "damaged spools",
}
"""What people read for the keys of ``--json``."""
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


@click.group()
def db() -> None:
    """The database."""


for _command in (dump, load, digest):
    db.add_command(_command)


@db.command()
@json_option
@click.pass_obj
def status(connection: Connection, *, as_json: bool) -> None:
    """Say where the database is, whether its schema fits this version, and what was logged on this machine but is not
    stored: entries that wait, and those that the store refused. Changes nothing."""
    facts = _facts(connection)
    if facts["schema"] == facts["needed_schema"]:
        from jupyter_mlops.tracker.undelivered import undelivered

        with connection.connect() as tracker:
            lacking = undelivered(tracker)
        facts |= {"waiting": lacking.waiting, "refused": lacking.refused, "damaged": lacking.damaged}
    if as_json:
        emit_json(facts)
        return
    from jupyter_mlops.cli.tables import show_pairs

    counted = {key: len(value) if isinstance(value, list) else value for key, value in facts.items()}
    show_pairs({_FACTS.get(key, key): str(value) for key, value in counted.items() if value is not None})
    if facts.get("refused"):
        from jupyter_mlops.cli.spool import show_refused

        show_refused(facts["refused"])
    for path in facts.get("damaged", ()):
        note(f"\nThe end of {path} could not be read; what stands before it is stored. Delete it when it is of no use.")


@db.command()
@json_option
@click.pass_obj
def upgrade(connection: Connection, *, as_json: bool) -> None:
    """Bring the database to the schema of this version, or make a new one. An SQLite file is copied beside itself
    first. An embedded store does this by itself; a shared one waits for this command."""
    from jupyter_mlops.store import migrate

    before = _facts(connection)["schema"]
    if connection.database_exists:
        with connection.database() as database:
            migrate.upgrade(database)
    else:
        connection.connect().close()
    after = _facts(connection)
    if as_json:
        emit_json({"before": before, **after})
    elif before == after["schema"]:
        click.echo(printable(f"{after['database']} has schema {before} already."))
    else:
        change = f"now has schema {after['schema']}" + (f"; it had {before}" if before is not None else "")
        click.echo(printable(f"{after['database']} {change}."))


def _facts(connection: Connection) -> dict[str, Any]:
    from jupyter_mlops.store import migrate
    from jupyter_mlops.tracker.connect import artifacts_location

    facts: dict[str, Any] = {"database": None, "state": None, "schema": None, "needed_schema": migrate.HEAD}
    if not connection.database_exists:
        return facts | {
            "database": connection.database_url,
            "state": "none yet: the first command that records makes it",
        }
    with connection.database() as database:
        found = migrate.current(database)
        facts |= {"database": database.url, "schema": found}
        if found is None:
            facts["state"] = "empty: the first command that records fills it"
        elif found == migrate.HEAD:
            facts["state"] = "up to date"
            facts["artifacts"] = artifacts_location(database, connection.artifacts)
        elif found < migrate.HEAD:
            facts["state"] = "older than this version: run `jupyter mlops db upgrade`"
        else:
            facts["state"] = "newer than this version: upgrade the package"
        if database.is_sqlite:
            facts["journal_mode"] = database.journal_mode
            facts["network_file_system"] = database.network
    return facts


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option(
    "--older-than",
    default="0s",
    show_default=True,
    metavar="AGE",
    help="Only what was deleted longer ago: a number with s, min, h, d or w, such as 30d.",
)
@yes_option
@json_option
@click.pass_obj
def gc(connection: Connection, *, dry_run: bool, older_than: str, yes: bool, as_json: bool) -> None:
    """Remove deleted runs and experiments for good, and free the bytes that nothing refers to. Files of a registered
    version are never among them."""
    age = _age(older_than)
    tracker = connection.tracker
    if not dry_run and not yes:
        confirm(f"{_collected(tracker.gc(older_than_seconds=age, dry_run=True), 'Would remove')} Go ahead?", yes)
    collected = all_collected(partial(tracker.gc, older_than_seconds=age, dry_run=dry_run))
    if as_json:
        emit_json({"experiments": 0, "runs": 0, "blobs": 0, "bytes": 0} | _as_dict(collected))
    else:
        click.echo(_collected(collected, "Would remove" if dry_run else "Removed"))


def _as_dict(collected: Collected) -> dict[str, int]:
    return {
        "experiments": collected.experiments,
        "runs": collected.runs,
        "blobs": collected.blobs,
        "bytes": collected.bytes,
    }


def _collected(collected: Collected, verb: str) -> str:
    from jupyter_mlops.core import formats

    return (
        f"{verb} {collected.experiments} experiments, {collected.runs} runs and {collected.blobs} stored files "
        f"({formats.size(collected.bytes)})."
    )


def _age(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|min|h|d|w)", text)
    if match is None:
        raise click.BadParameter(
            f"{text!r} is no age; say it like 90s, 15min, 12h, 30d or 4w.", param_hint="--older-than"
        )
    return float(match[1]) * _SECONDS[match[2]]
