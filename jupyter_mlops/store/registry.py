"""Registered models, their versions and aliases: rows and records.

Whoever changes something of a model locks the model first (``find(..., lock=True)``), so that what is checked about its
versions and aliases holds until the transaction ends.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.errors import Conflict
from jupyter_mlops.core.records import Alias, AliasMove, ModelVersion, RegisteredModel, Tag
from jupyter_mlops.core.values import LONGEST_KEY, short
from jupyter_mlops.store import schema, usage
from jupyter_mlops.store.artifacts import File, delete_files
from jupyter_mlops.store.parameters import among
from jupyter_mlops.store.upsert import insert_of

_model = schema.model.c
_version = schema.model_version.c
_alias = schema.alias.c
_move = schema.alias_move.c
_artifact = schema.artifact.c
_input = schema.run_input.c
_used = schema.version_input.c
_VERSION_TAGS = schema.version_tag
_MODEL_TAGS = schema.model_tag

LARGEST_VERSION = 2**31 - 1


class Model(msgspec.Struct, frozen=True):
    """What is needed to act on a model."""

    id: str
    name: str
    owner: str
    restricted: bool


# --- models ----------------------------------------------------------------------------------------------------------


def find(connection: Connection, name: str, *, lock: bool = False) -> Model | None:
    """The model of that name; ``lock`` keeps other transactions from changing anything of it until this one ends."""
    query = sa.select(_model.id, _model.name, _model.owner, _model.restricted).where(_model.name == name)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).one_or_none()
    return None if row is None else Model(*row)


def name_of(connection: Connection, model_id: str) -> str | None:
    """The name of a model; None when there is none any more."""
    return connection.execute(sa.select(_model.name).where(_model.id == model_id)).scalar()


def insert(connection: Connection, model_id: str, new: RegisteredModel) -> bool:
    """Insert a model with its tags; False, and nothing is written, when the name is taken."""
    row = {
        "id": model_id,
        "name": new.name,
        "owner": new.owner,
        "description": new.description,
        "created": new.created,
        "updated": new.updated,
        "last_version": 0,
        "restricted": new.restricted,
    }
    insert = insert_of(connection)(schema.model)
    if connection.execute(insert.on_conflict_do_nothing().returning(_model.id), row).first() is None:
        return False
    set_tags(connection, model_id, new.tags)
    return True


def load(connection: Connection, ids: Sequence[str]) -> list[RegisteredModel]:
    """The models of ``ids``, in that order, without those that do not exist."""
    query = sa.select(schema.model).where(among(_model.id, "ids", ids))
    latest = (
        sa.select(_version.model_id, sa.func.max(_version.version))
        .where(among(_version.model_id, "ids", ids))
        .group_by(_version.model_id)
    )
    aliases = (
        sa.select(_alias.model_id, _alias.alias, _version.version)
        .join(schema.model_version, _version.id == _alias.version_id)
        .where(among(_alias.model_id, "ids", ids))
    )
    tags = _tags(connection, _MODEL_TAGS, "model_id", ids)
    newest = {row[0]: row[1] for row in connection.execute(latest)}
    pointing: dict[str, list[Alias]] = defaultdict(list)
    for model_id, alias, version in connection.execute(aliases):
        pointing[model_id].append(Alias(alias, version))
    models = {
        row.id: RegisteredModel(
            name=row.name,
            owner=row.owner,
            restricted=row.restricted,
            description=row.description,
            created=row.created,
            updated=row.updated,
            tags=tags.get(row.id, ()),
            aliases=tuple(sorted(pointing.get(row.id, ()), key=lambda alias: alias.alias)),
            latest_version=newest.get(row.id),
        )
        for row in connection.execute(query)
    }
    return [models[id] for id in ids if id in models]


def update(connection: Connection, model_id: str, now: int, **changes: str | bool) -> None:
    """Note that the model was changed, and change its ``name`` (not taken by another), ``description``, ``owner`` or
    ``restricted``."""
    connection.execute(schema.model.update().where(_model.id == model_id).values(updated=now, **changes))


def set_tags(connection: Connection, model_id: str, tags: Iterable[Tag]) -> None:
    _set_tags(connection, _MODEL_TAGS, "model_id", model_id, tags)


def delete_tag(connection: Connection, model_id: str, key: str) -> bool:
    """Remove a tag; False when there is none."""
    tag = _MODEL_TAGS.c
    return connection.execute(_MODEL_TAGS.delete().where(tag.model_id == model_id, tag.key == key)).rowcount > 0


def delete(connection: Connection, model_id: str) -> None:
    """Delete a model that no alias is left of, with its versions and their files."""
    versions = sa.select(_version.id).where(_version.model_id == model_id)
    connection.execute(schema.artifact.delete().where(_artifact.holder.in_(versions)))
    connection.execute(schema.model.delete().where(_model.id == model_id))
    usage.forget(connection, [model_id])


# --- versions --------------------------------------------------------------------------------------------------------


def version_digest(files: Iterable[File]) -> str:
    """SHA-256 over the sorted (path, file digest) pairs, each as ``path NUL digest NUL``."""
    digest = hashlib.sha256()
    for path, content in sorted((file.path, file.blob.digest) for file in files):
        digest.update(f"{path}\0{content}\0".encode())
    return digest.hexdigest()


def insert_version(
    connection: Connection,
    model_id: str,
    version_id: str,
    new: ModelVersion,
    files: Sequence[File],
    *,
    inputs_of: str | None = None,
    copy_of: str | None = None,
    number: int | None = None,
) -> int:
    """Insert a version with its tags, its files and the data sets of the run ``inputs_of`` or of the version
    ``copy_of``; returns its number, which is ``number`` or else the model's next one.

    Raises ``Conflict`` when a number from ``number`` on, or the last one there is, was given before.

    ``files`` must be held fast by a lock on who has them already, or their bytes might be collected.
    """
    claim = schema.model.update().where(_model.id == model_id)
    if number is None:
        claim = claim.where(_model.last_version < LARGEST_VERSION)
        claim = claim.values(last_version=_model.last_version + 1, updated=new.created)
    else:
        claim = claim.where(_model.last_version < number).values(last_version=number, updated=new.created)
    given: int | None = connection.execute(claim.returning(_model.last_version)).scalar_one_or_none()
    if given is None:
        wanted = LARGEST_VERSION if number is None else number
        raise Conflict(
            f"registered model {short(new.model, LONGEST_KEY)} cannot have a new version {wanted}: it was given that "
            "number, or a higher one, before, and numbers are never used again"
        )
    row = {
        "id": version_id,
        "model_id": model_id,
        "version": given,
        "description": new.description,
        "created_by": new.user,
        "created": new.created,
        "updated": new.updated,
        "run_id": new.run_id,
        "source": new.source,
        "digest": new.digest,
        "size": new.size,
        "safe": new.safe,
        "flavors_json": msgspec.json.encode(new.flavors).decode(),
        "logged_model_id": new.logged_model_id,
    }
    connection.execute(schema.model_version.insert(), row)
    _set_tags(connection, _VERSION_TAGS, "version_id", version_id, new.tags)
    rows = [
        {"holder": version_id, "path": file.path, "blob_id": file.blob.id, "created": new.created} for file in files
    ]
    if rows:
        connection.execute(schema.artifact.insert(), rows)
    table, of = (_input, _input.run_id == inputs_of) if copy_of is None else (_used, _used.version_id == copy_of)
    names = ("dataset_id", "context", "told_json")
    used = sa.select(sa.literal(version_id), *(table[name] for name in names)).where(of)
    connection.execute(schema.version_input.insert().from_select(["version_id", *names], used))
    return given


def find_version(connection: Connection, model_id: str, version: int | None) -> str | None:
    """The id of a version of the model; the latest for None."""
    query = sa.select(_version.id).where(_version.model_id == model_id)
    if version is None:
        query = query.order_by(_version.version.desc()).limit(1)
    else:
        query = query.where(_version.version == version)
    return connection.execute(query).scalar()


def load_versions(connection: Connection, ids: Sequence[str]) -> list[ModelVersion]:
    """The versions of ``ids``, in that order, without those that do not exist."""
    query = (
        sa.select(schema.model_version, _model.name.label("model"))
        .join(schema.model, _model.id == _version.model_id)
        .where(among(_version.id, "ids", ids))
    )
    tags = _tags(connection, _VERSION_TAGS, "version_id", ids)
    aliases: dict[str, list[str]] = defaultdict(list)
    for version_id, alias in connection.execute(
        sa.select(_alias.version_id, _alias.alias).where(among(_alias.version_id, "ids", ids))
    ):
        aliases[version_id].append(alias)
    versions = {
        row.id: ModelVersion(
            model=row.model,
            version=row.version,
            description=row.description,
            user=row.created_by,
            created=row.created,
            updated=row.updated,
            run_id=row.run_id,
            source=row.source,
            digest=row.digest,
            size=row.size,
            safe=row.safe,
            flavors=msgspec.json.decode(row.flavors_json, type=tuple[str, ...]),
            logged_model_id=row.logged_model_id,
            tags=tags.get(row.id, ()),
            aliases=tuple(sorted(aliases.get(row.id, ()))),
        )
        for row in connection.execute(query)
    }
    return [versions[id] for id in ids if id in versions]


def update_version(connection: Connection, version_id: str, now: int, **changes: str) -> None:
    """Note that the version was changed, and change its ``description``."""
    connection.execute(schema.model_version.update().where(_version.id == version_id).values(updated=now, **changes))


def set_version_tags(connection: Connection, version_id: str, tags: Iterable[Tag]) -> None:
    _set_tags(connection, _VERSION_TAGS, "version_id", version_id, tags)


def delete_version_tag(connection: Connection, version_id: str, key: str) -> bool:
    """Remove a tag; False when there is none."""
    tag = _VERSION_TAGS.c
    statement = _VERSION_TAGS.delete().where(tag.version_id == version_id, tag.key == key)
    return connection.execute(statement).rowcount > 0


def delete_version(connection: Connection, version_id: str) -> None:
    """Delete a version that no alias points at, with its files."""
    delete_files(connection, version_id)
    connection.execute(schema.model_version.delete().where(_version.id == version_id))


def authors_of(connection: Connection, version: ModelVersion) -> tuple[str, ...]:
    """Who made the run that a version came from; where that is gone, who registered the version."""
    run = schema.run.c
    row = connection.execute(sa.select(run.created_by, run.submitted_by).where(run.id == version.run_id)).one_or_none()
    if row is None:
        return (version.user,)
    # Of what has no bytes here, the run is what whoever made the version says.
    names = row if version.digest else (version.user, *row)
    return tuple(dict.fromkeys(name for name in names if name))


# --- aliases ---------------------------------------------------------------------------------------------------------


def aliases(connection: Connection, model_id: str, version_id: str | None = None) -> list[str]:
    """The aliases of a model, or those that point at one of its versions."""
    query = sa.select(_alias.alias).where(_alias.model_id == model_id)
    if version_id is not None:
        query = query.where(_alias.version_id == version_id)
    return sorted(connection.execute(query).scalars())


def alias_target(connection: Connection, model_id: str, alias: str) -> tuple[str, int] | None:
    """The id and the number of the version that ``alias`` points at."""
    query = (
        sa.select(_version.id, _version.version)
        .join(schema.alias, _alias.version_id == _version.id)
        .where(_alias.model_id == model_id, _alias.alias == alias)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else (row[0], row[1])


def deleted_called(connection: Connection, name: str) -> list[str]:
    """The ids of models that are deleted, and had aliases when they were called ``name``; oldest first."""
    query = sa.select(_move.model_id, sa.func.min(_move.id)).where(
        _move.model == name, _move.model_id.not_in(sa.select(_model.id))
    )
    rows = connection.execute(query.group_by(_move.model_id).order_by(sa.func.min(_move.id)))
    return [row[0] for row in rows]


def aliases_of(connection: Connection, model_ids: Iterable[str]) -> dict[tuple[str, str], int]:
    """The numbers of the versions that aliases point at, by the model's id and the alias."""
    query = (
        sa.select(_alias.model_id, _alias.alias, _version.version)
        .join(schema.model_version, _version.id == _alias.version_id)
        .where(among(_alias.model_id, "ids", tuple(model_ids)))
    )
    return {(row[0], row[1]): row[2] for row in connection.execute(query)}


def move_alias(connection: Connection, model_id: str, version_id: str | None, move: AliasMove) -> int:
    """Point ``move.alias`` at a version, or nowhere, and put the move on record; gives the number of the record."""
    row = {"model_id": model_id, "alias": move.alias}
    connection.execute(schema.alias.delete().where(_alias.model_id == model_id, _alias.alias == move.alias))
    if version_id is not None:
        connection.execute(schema.alias.insert(), row | {"version_id": version_id})
    record = {
        "model": move.model,
        "version": move.version,
        "replaced": move.replaced,
        "moved_by": move.user,
        "at": move.at,
        "reason": move.reason,
    }
    number: int = connection.execute(schema.alias_move.insert().returning(_move.id), row | record).scalar_one()
    return number


def alias_moves(connection: Connection, model_id: str, alias: str | None = None) -> tuple[AliasMove, ...]:
    """The moves of one alias, or of all, oldest first."""
    return tuple(move for _, move in numbered_moves(connection, model_id, alias))


def numbered_moves(connection: Connection, model_id: str, alias: str | None = None) -> list[tuple[int, AliasMove]]:
    """As :func:`alias_moves`, each with its number."""
    query = sa.select(schema.alias_move).where(_move.model_id == model_id)
    if alias is not None:
        query = query.where(_move.alias == alias)
    return [
        (
            row.id,
            AliasMove(
                model=row.model,
                alias=row.alias,
                version=row.version,
                replaced=row.replaced,
                user=row.moved_by,
                at=row.at,
                reason=row.reason,
            ),
        )
        for row in connection.execute(query.order_by(_move.id))
    ]


# --- tags ------------------------------------------------------------------------------------------------------------


def _tags(connection: Connection, table: sa.Table, holder: str, ids: Sequence[str]) -> dict[str, tuple[Tag, ...]]:
    query = sa.select(table.c[holder], table.c.key, table.c.value).where(among(table.c[holder], "ids", ids))
    found: dict[str, list[Tag]] = defaultdict(list)
    for id, key, value in connection.execute(query):
        found[id].append(Tag(key, value))
    return {id: tuple(sorted(tags, key=lambda tag: tag.key)) for id, tags in found.items()}


def _set_tags(connection: Connection, table: sa.Table, holder: str, id: str, tags: Iterable[Tag]) -> None:
    rows = [{holder: id, "key": tag.key, "value": tag.value} for tag in sorted(tags, key=lambda tag: tag.key)]
    if rows:
        insert = insert_of(connection)(table)
        upsert = insert.on_conflict_do_update(index_elements=[holder, "key"], set_={"value": insert.excluded.value})
        connection.execute(upsert, rows)
