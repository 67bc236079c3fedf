"""Files of runs and of model versions: logical paths, each referring to a blob. ``holder`` is the id of either.

A path that is a file cannot also be a folder of one holder. Whoever writes takes a lock on the holder first
(:func:`lock_run`), so that two writers cannot make it so together.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Mapping, Set
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Artifact
from jupyter_mlops.store import schema
from jupyter_mlops.store.blobs import Blob
from jupyter_mlops.store.parameters import among
from jupyter_mlops.store.upsert import Upsert

_artifact = schema.artifact


def _upsert(insert: Any) -> Any:
    statement = insert(_artifact)
    return statement.on_conflict_do_update(
        index_elements=["holder", "path"],
        set_={"blob_id": statement.excluded.blob_id, "created": statement.excluded.created},
    )


_LOCK_RUN = sa.select(schema.run.c.id).where(schema.run.c.id == sa.bindparam("run")).with_for_update(key_share=True)
_NEAR = (
    sa.select(_artifact.c.path, schema.blob.c.size)
    .join(schema.blob, schema.blob.c.id == _artifact.c.blob_id)
    .where(
        _artifact.c.holder == sa.bindparam("holder"),
        sa.or_(
            among(_artifact.c.path, "paths"),
            sa.func.substr(_artifact.c.path, 1, sa.bindparam("length", type_=sa.Integer))
            == sa.bindparam("folder", type_=sa.String),
        ),
    )
)
"""What a holder has at some paths, and below a folder."""
_UPSERT = Upsert(_upsert)


class File(msgspec.Struct, frozen=True):
    """A file and where its bytes are."""

    path: str
    blob: Blob
    created: int

    def record(self) -> Artifact:
        return Artifact(path=self.path, size=self.blob.size, digest=self.blob.digest, created=self.created)


def lock_run(connection: Connection, run_id: str) -> None:
    """Let no other transaction change the files of the run until this one ends. Logging to the run goes on."""
    # On SQLite nobody else writes meanwhile.
    if connection.dialect.name != "sqlite":
        connection.execute(_LOCK_RUN, {"run": run_id})


def get_file(connection: Connection, holder: str, path: str) -> File | None:
    row = connection.execute(_files(holder).where(_artifact.c.path == path)).one_or_none()
    return None if row is None else _file(row)


def walk_files(connection: Connection, holder: str, path: str = "") -> tuple[File, ...]:
    """All files below ``path``, or the file itself, by path; all of the holder's for an empty path."""
    query = _files(holder)
    if path:
        query = query.where(sa.or_(_artifact.c.path == path, _below(path)))
    return tuple(sorted((_file(row) for row in connection.execute(query)), key=lambda file: file.path))


def list_files(connection: Connection, holder: str, path: str = "") -> tuple[Artifact, ...]:
    """The files and folders directly in ``path``, by name; none when it is no folder."""
    query = _files(holder)
    if path:
        query = query.where(_below(path))
    start = len(path) + 1 if path else 0
    found: dict[str, Artifact] = {}
    for row in connection.execute(query):
        name, slash, _ = row.path[start:].partition("/")
        found[name] = Artifact(path=row.path[:start] + name, is_folder=True) if slash else _file(row).record()
    return tuple(found[name] for name in sorted(found))


class Put(msgspec.Struct, frozen=True):
    """What :func:`put_files` did."""

    files: tuple[Artifact, ...]
    """By path."""
    replaced: int
    """How many bytes the files had that were there under the same paths."""


def put_files(connection: Connection, holder: str, files: Mapping[str, Blob], now: int) -> Put:
    """Store rows for the files, by path, replacing those of the same path.

    Raises
    ------
    InvalidValue
        A path is a file here and a folder there.
    """
    if not files:
        return Put((), 0)
    folders = _folders_of(files)
    common = posixpath.commonpath(files)
    folder = f"{common}/" if common else ""
    near = {"holder": holder, "paths": [*files, *folders], "folder": folder, "length": len(folder)}
    there = {row.path: row.size for row in connection.execute(_NEAR, near)}
    _check_layout(files.keys(), folders, there.keys())
    refer(connection, holder, files, now)
    stored = tuple(File(path, files[path], now).record() for path in sorted(files))
    return Put(stored, sum(there.get(path, 0) for path in files))


def refer(connection: Connection, holder: str, files: Mapping[str, Blob], now: int) -> None:
    """Have ``holder`` refer to the blobs, each under its path, instead of what it has under the same one."""
    rows = [{"holder": holder, "path": path, "blob_id": blob.id, "created": now} for path, blob in files.items()]
    connection.execute(_UPSERT.on(connection), rows)


def bytes_of(connection: Connection, holder: str, paths: Collection[str]) -> int:
    """How many bytes the files at the paths have that are there."""
    query = sa.select(sa.func.coalesce(sa.func.sum(schema.blob.c.size), 0)).select_from(_artifact)
    query = query.join(schema.blob, schema.blob.c.id == _artifact.c.blob_id).where(_artifact.c.holder == holder)
    return int(connection.execute(query.where(among(_artifact.c.path, "paths", list(paths)))).scalar_one())


def delete_files(connection: Connection, holder: str, path: str = "") -> int:
    """Remove the file or the folder ``path``, or all files of the holder; returns how many files that were."""
    statement = _artifact.delete().where(_artifact.c.holder == holder)
    if path:
        statement = statement.where(sa.or_(_artifact.c.path == path, _below(path)))
    return connection.execute(statement).rowcount


def _files(holder: str) -> sa.Select[Any]:
    blob = schema.blob
    columns = (_artifact.c.path, _artifact.c.created, blob.c.id, blob.c.digest, blob.c.size)
    return sa.select(*columns).join(blob, blob.c.id == _artifact.c.blob_id).where(_artifact.c.holder == holder)


def _file(row: Any) -> File:
    return File(row.path, Blob(row.id, row.digest, row.size), row.created)


def _below(path: str) -> sa.ColumnElement[bool]:
    # Not LIKE, which ignores case on SQLite; not a range, whose order a collation of PostgreSQL decides.
    folder = f"{path}/"
    return sa.func.substr(_artifact.c.path, 1, len(folder)) == folder


def _check_layout(paths: Set[str], folders: Set[str], there: Set[str]) -> None:
    """Refuse ``paths``, which are in ``folders``, when a file among them is a folder of another or of what the holder
    has ``there``, or the reverse."""
    clash = folders & (paths | there)
    if clash:
        raise InvalidValue(f"artifact path {min(clash)!r} is a file, so nothing can be stored below it")
    clash = _folders_of(there) & paths
    if clash:
        raise InvalidValue(f"artifact path {min(clash)!r} is a folder, so no file can be stored under that name")


def _folders_of(paths: Iterable[str]) -> set[str]:
    folders: set[str] = set()
    for path in paths:
        folder = posixpath.dirname(path)
        while folder and folder not in folders:
            folders.add(folder)
            folder = posixpath.dirname(folder)
    return folders
