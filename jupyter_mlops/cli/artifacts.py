"""``jupyter mlops artifacts``: list and fetch the files of a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from jupyter_mlops.cli.backup import migrate, verify
from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.options import RunName, json_option
from jupyter_mlops.cli.terminal import emit_json, note
from jupyter_mlops.core.errors import NotFound
from jupyter_mlops.core.formats import printable
from jupyter_mlops.core.records import Artifact


@click.group()
def artifacts() -> None:
    """The files of runs."""


artifacts.add_command(verify)
artifacts.add_command(migrate)


@artifacts.command("list")
@click.argument("run", type=RunName())
@click.argument("path", default="")
@click.option("--recursive", "-r", is_flag=True, help="All files below PATH, not only what is directly in it.")
@json_option
@click.pass_obj
def list_(connection: Connection, *, run: str, path: str, recursive: bool, as_json: bool) -> None:
    """List the files of RUN, in the folder PATH."""
    tracker = connection.tracker
    found = tracker.runs.resolve(run)
    files = (tracker.artifacts.walk if recursive else tracker.artifacts.list)(found.run_id, path.strip("/"))
    if path and not files:
        raise NotFound(f"the run {found.name} has no folder {path!r}; without a path, its files are listed")
    if as_json:
        emit_json(files)
    elif files:
        show(files)
    else:
        note(f"{found.name} has no files.")


def show(files: Sequence[Artifact]) -> None:
    """Print a listing of files and folders."""
    from jupyter_mlops.cli import tables
    from jupyter_mlops.core import formats

    now = formats.now()
    names = [tables.Cell(f"{f.path}/" if f.is_folder else f.path, "folder" if f.is_folder else "") for f in files]
    sizes = [formats.size(file.size) if file.size is not None else "" for file in files]
    stored = [formats.relative(file.created, reference=now) if file.created is not None else "" for file in files]
    tables.show(
        [
            tables.Column(header="path", cells=names, least=24),
            tables.Column(header="size", cells=tables.cells(sizes), right=True),
            tables.Column(header="stored", cells=tables.cells(stored), rank=1),
            tables.Column(header="sha256", cells=tables.cells([(f.digest or "")[:16] for f in files], "dim"), rank=2),
        ]
    )


@artifacts.command()
@click.argument("run", type=RunName())
@click.argument("path", default="")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, allow_dash=True),
    default=Path(),
    help='The folder to write below, made if need be (default: this one); "-" writes a file to standard output.',
)
@json_option
@click.pass_obj
def get(connection: Connection, *, run: str, path: str, output: Path, as_json: bool) -> None:
    """Fetch the file or folder PATH of RUN (all of its files without PATH), verified by digest."""
    tracker = connection.tracker
    found = tracker.runs.resolve(run)
    path = path.strip("/")
    if output == Path("-"):
        if not any(file.path == path for file in tracker.artifacts.walk(found.run_id, path)):
            raise NotFound(f"the run {found.name} has no file {path!r}; standard output takes one file")
        out = sys.stdout.buffer
        for piece in tracker.artifacts.open(found.run_id, path):
            out.write(piece)
        return
    output.mkdir(parents=True, exist_ok=True)
    place = tracker.artifacts.download(found.run_id, path, output)
    if as_json:
        emit_json({"run_id": found.run_id, "path": path, "local_path": str(place)})
    else:
        click.echo(printable(str(place)))
