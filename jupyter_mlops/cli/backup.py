"""A database in one file, whether two hold the same; whether the files that it names are what they were, and where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.options import json_option
from jupyter_mlops.cli.progress import Display
from jupyter_mlops.cli.terminal import emit_json, unread
from jupyter_mlops.core.errors import InvalidValue, NotFound
from jupyter_mlops.core.formats import printable

if TYPE_CHECKING:
    from jupyter_mlops.store.contents import TableContents
    from jupyter_mlops.store.verify import Damage


class _Counting(Display):
    """What was done so far, on a terminal."""

    def __init__(self, tell: Callable[[int], str]) -> None:
        super().__init__()
        self._tell = tell
        self._done = 0

    def columns(self) -> list[str]:
        return ["{task.fields[told]}"]

    def __enter__(self) -> _Counting:
        super().__enter__()
        if self.bars is not None:
            self._task = self.bars.add_task("", total=None, told="")
        return self

    def __call__(self, more: int) -> None:
        self._done += more
        if self.bars is not None:
            with unread():
                self.bars.update(self._task, told=self._tell(self._done))


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
@click.pass_obj
def dump(connection: Connection, *, file: Path, as_json: bool) -> None:
    """Write the whole database to FILE, while it is in use: one state of it, all rows, in a form that SQLite and
    PostgreSQL can both be filled from. Only you can read the file, and it appears whole.

    The files of runs and versions are not in it. Copy their folder or bucket after the dump: what the dump refers to
    stays there until `jupyter mlops gc`.
    """
    from jupyter_mlops.core import formats
    from jupyter_mlops.store import backup

    _require_database(connection)
    with connection.database() as database, _Counting(_rows_done) as counting:
        trailer = backup.dump(database, file, formats.now(), counting)
        url = database.url
    if as_json:
        emit_json({"file": str(file), "database": url, "bytes": file.stat().st_size, **_described(trailer.tables)})
    else:
        size = formats.size(file.stat().st_size)
        click.echo(printable(f"{url} is in {file} ({size}), with {_rows(trailer.tables)}."))


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@click.pass_obj
def load(connection: Connection, *, file: Path, as_json: bool) -> None:
    """Fill an empty database with FILE, which `jupyter mlops db dump` has written: wholly, or not at all. What is there
    then is compared with what was dumped. A dump of an older version is brought to this one's schema.

    The files are expected where they were; `jupyter mlops --artifacts LOCATION db load` says where they are now.
    """
    from jupyter_mlops.store import backup
    from jupyter_mlops.tracker.connect import artifacts_location
    from jupyter_mlops.tracker.location import absolute

    artifacts = None if connection.artifacts is None else absolute(connection.artifacts)
    with connection.database() as database, _Counting(_rows_done) as counting:
        trailer = backup.load(database, file, counting, artifacts_url=artifacts)
        url, place = database.url, artifacts_location(database, None)
    if as_json:
        emit_json({"file": str(file), "database": url, "artifacts": place, **_described(trailer.tables)})
    else:
        click.echo(printable(f"{url} has {_rows(trailer.tables)} from {file}. Its files are expected in {place}."))


@click.command()
@json_option
@click.pass_obj
def digest(connection: Connection, *, as_json: bool) -> None:
    """Say in one digest what the database holds: two with the same digest hold the same rows, whichever of SQLite and
    PostgreSQL they are. With --json, also by table."""
    from jupyter_mlops.store import contents

    _require_database(connection)
    with connection.database() as database, database.read() as reading:
        found = contents.contents(reading)
        url = database.url
    if as_json:
        emit_json({"database": url, **_described(found)})
    else:
        click.echo(printable(f"{contents.digest(found)}  {url}, {_rows(found)}"))


@click.command()
@json_option
@click.pass_context
def verify(context: click.Context, *, as_json: bool) -> None:
    """Read all stored files once, and compare each with the digest it was stored with. What is gone or was changed is
    listed with the runs and versions that have it; then the exit code is 1."""
    from jupyter_mlops.core import formats
    from jupyter_mlops.store.blobs import BlobStore
    from jupyter_mlops.store.verify import damaged
    from jupyter_mlops.tracker.connect import artifacts_location

    connection: Connection = context.obj
    _require_database(connection)
    read: list[int] = []
    with connection.database() as database, _Counting(formats.size) as counting:

        def on_read(size: int) -> None:
            read.append(size)
            counting(size)

        blobs = BlobStore(database, artifacts_location(database, connection.artifacts))
        found = list(damaged(blobs, on_read))
        place = blobs.objects.url
    if as_json:
        emit_json({"artifacts": place, "files": len(read), "bytes": sum(read), "damaged": found})
    else:
        _list_damage(found)
        verdict = f"{len(found)} are damaged" if found else "all are what was stored"
        click.echo(printable(f"{len(read)} files ({formats.size(sum(read))}) in {place}: {verdict}."))
    if found:
        context.exit(1)


@click.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--skip-damaged", is_flag=True, help="Move although FROM has lost some; otherwise it stays the location.")
@json_option
@click.pass_context
def migrate(context: click.Context, *, source: str, target: str, skip_damaged: bool, as_json: bool) -> None:
    """Move all files of the store FROM a location TO another one, while it is used: folders, or URLs such as
    s3://bucket/prefix. Each file is copied and compared with its digest; then TO is where all that have the store open
    read and write. FROM keeps its copies. Killed, it goes on where it was when it is started again.

    Before: whatever opens the store (the service, without one each Jupyter server) needs the driver and the credentials
    of TO. After: change MLOPS_ARTIFACTS_URL, or artifacts_url, where they name FROM.
    """
    from jupyter_mlops.core import formats
    from jupyter_mlops.store.blobs import BlobStore, total_size
    from jupyter_mlops.store.moving import move
    from jupyter_mlops.tracker.connect import artifacts_location, new_location

    connection: Connection = context.obj
    _require_database(connection)
    wanted = new_location(target)
    with connection.database() as database:
        place = artifacts_location(database, source)
        if wanted.rstrip("/") == place.rstrip("/"):
            raise InvalidValue(f"the files are in {place} already")
        with database.read() as reading:
            total = formats.size(total_size(reading))
        with _Counting(lambda done: f"{formats.size(done)} of {total}") as counting:
            moved = move(BlobStore(database, place), wanted, skip_damaged=skip_damaged, on_moved=counting)
    if as_json:
        emit_json({"from": source, "to": wanted, **msgspec.structs.asdict(moved)})
    else:
        _list_damage(moved.damaged)
        count = f"{moved.objects} files ({formats.size(moved.bytes)})"
        verdict = "which is the store's location now" if moved.settled else f"but the store stays in {source}"
        click.echo(printable(f"{count} of {source} are in {wanted}, {verdict}."))
    if not moved.settled:
        context.exit(1)


def _list_damage(found: Sequence[Damage]) -> None:
    from jupyter_mlops.core import formats

    for each in found:
        where = "".join(f"\n  {printable(use)}" for use in each.places)
        click.echo(f"{each.digest[:16]} ({formats.size(each.size)}): {printable(each.why)}{where}")


def _rows_done(rows: int) -> str:
    return f"{rows:,} rows"


def _require_database(connection: Connection) -> None:
    if not connection.database_exists:
        raise NotFound(f"there is no database {connection.database_url} yet: the first command that records makes it")


def _rows(tables: dict[str, TableContents]) -> str:
    return f"{sum(table.rows for table in tables.values()):,} rows"


def _described(tables: dict[str, TableContents]) -> dict[str, object]:
    from jupyter_mlops.store.contents import digest

    return {"rows": sum(table.rows for table in tables.values()), "digest": digest(tables), "tables": tables}
