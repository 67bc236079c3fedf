"""Logged models: rows and records. Who writes to one locks its run first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.logged_model import LoggedModel, LoggedModelStatus, ModelMetric, ModelRole, ModelUse
from jupyter_mlops.core.records import Lifecycle, Param, Tag
from jupyter_mlops.core.values import decode_json
from jupyter_mlops.store import schema, schema_logged
from jupyter_mlops.store.metrics import bits_value, float_bits
from jupyter_mlops.store.parameters import among
from jupyter_mlops.store.rows import fetch
from jupyter_mlops.store.shares import Reach, reached_experiment, reached_model
from jupyter_mlops.store.upsert import Upsert

_model = schema_logged.logged_model.c
_param = schema_logged.logged_model_param
_tag = schema_logged.logged_model_tag
_metric = schema_logged.logged_model_metric
_use = schema_logged.run_model
_version = schema.model_version.c
_run = schema.run.c


class Place(msgspec.Struct, frozen=True):
    """What is needed to act on a logged model."""

    id: str
    run_id: str
    path: str
    own_run: bool
    deleted: bool


def _upserts(insert: Any) -> dict[str, Any]:
    tag, metric, use = insert(_tag), insert(_metric), insert(_use)
    new, old = metric.excluded, _metric.c
    later = sa.or_(
        new.step > old.step,
        sa.and_(
            new.step == old.step,
            sa.or_(
                new.timestamp > old.timestamp,
                sa.and_(
                    new.timestamp == old.timestamp,
                    new.value.is_not(None),
                    sa.or_(old.value.is_(None), new.value >= old.value),
                ),
            ),
        ),
    )
    keys = ["model_id", "key", "run_id", "dataset_name", "dataset_digest"]
    return {
        "param": insert(_param).on_conflict_do_nothing(),
        "tag": tag.on_conflict_do_update(index_elements=["model_id", "key"], set_={"value": tag.excluded.value}),
        "metric": metric.on_conflict_do_update(
            index_elements=keys, set_={name: new[name] for name in ("bits", "value", "step", "timestamp")}, where=later
        ),
        "use": use.on_conflict_do_update(
            index_elements=["run_id", "model_id", "role"], set_={"step": use.excluded.step}
        ),
    }


_UPSERT = Upsert(_upserts)

_USES = (
    sa.select(_use.c.run_id, _use.c.model_id, _use.c.role, _use.c.step)
    .join(schema_logged.logged_model, _model.id == _use.c.model_id)
    .where(among(_use.c.run_id, "run_ids"), _model.lifecycle == Lifecycle.ACTIVE.value)
    .order_by(_model.created, _model.id)
)
_USES_REACHED = _USES.join(schema.run, _run.id == _use.c.run_id).where(reached_experiment(_run.experiment_id))


def insert(connection: Connection, model: LoggedModel, params: Sequence[Mapping[str, Any]]) -> None:
    row = {
        "id": model.model_id,
        "run_id": model.run_id,
        "experiment_id": model.experiment_id,
        "name": model.name,
        "path": model.path,
        "own_run": model.own_run,
        "origin": model.origin,
        "model_type": model.model_type,
        "status": model.status.value,
        "lifecycle": Lifecycle.ACTIVE.value,
        "created": model.created,
        "updated": model.updated,
    }
    connection.execute(schema_logged.logged_model.insert(), row)
    add_params(connection, params)
    set_tags(connection, model.model_id, model.tags)


def places(connection: Connection, model_ids: Sequence[str]) -> dict[str, Place]:
    """Where those of the models are that exist, deleted ones too."""
    columns = (_model.id, _model.run_id, _model.path, _model.own_run, _model.lifecycle)
    rows = connection.execute(sa.select(*columns).where(among(_model.id, "ids", model_ids)))
    return {row[0]: Place(row[0], row[1], row[2], row[3], row[4] == Lifecycle.DELETED.value) for row in rows}


def at(connection: Connection, run_id: str, path: str) -> str | None:
    """The id of the model whose folder ``path`` of the run is."""
    query = sa.select(_model.id).where(
        _model.run_id == run_id, _model.path == path, _model.lifecycle == Lifecycle.ACTIVE.value
    )
    return connection.execute(query.order_by(_model.created.desc()).limit(1)).scalar()


def load(connection: Connection, model_ids: Sequence[str], reach: Reach | None) -> list[LoggedModel]:
    """The models of ``model_ids``, in that order, without those that do not exist; with the versions registered from
    them that are within ``reach``."""
    bound = {"ids": list(model_ids)}
    models: dict[str, Any] = {} if reach is None else reach.models()
    params: dict[str, list[Param]] = defaultdict(list)
    for row in connection.execute(_of(_param).order_by(_param.c.key), bound):
        params[row.model_id].append(Param(row.key, decode_json(row.value_json), row.text, bool(row.redacted)))
    tags: dict[str, list[Tag]] = defaultdict(list)
    for row in connection.execute(_of(_tag).order_by(_tag.c.key), bound):
        tags[row.model_id].append(Tag(row.key, row.value))
    metrics: dict[str, list[ModelMetric]] = defaultdict(list)
    for row in connection.execute(_of(_metric).order_by(_metric.c.key, _metric.c.timestamp, _metric.c.step), bound):
        point = ModelMetric(
            key=row.key,
            value=bits_value(row.bits),
            timestamp=row.timestamp,
            step=row.step,
            run_id=row.run_id,
            dataset_name=row.dataset_name,
            dataset_digest=row.dataset_digest,
        )
        metrics[row.model_id].append(point)
    registered = (
        sa.select(_version.logged_model_id, schema.model.c.name, _version.version)
        .join(schema.model, schema.model.c.id == _version.model_id)
        .where(among(_version.logged_model_id, "ids"), reached_model(frozenset(models)))
        .order_by(_version.created, _version.id)
    )
    versions: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for model_id, name, number in connection.execute(registered, {**bound, **models}):
        versions[model_id].append((name, number))
    found = {
        row.id: LoggedModel(
            model_id=row.id,
            name=row.name,
            experiment_id=row.experiment_id,
            run_id=row.run_id,
            path=row.path,
            own_run=bool(row.own_run),
            origin=row.origin,
            model_type=row.model_type,
            status=LoggedModelStatus(row.status),
            created=row.created,
            updated=row.updated,
            params=tuple(params.get(row.id, ())),
            metrics=tuple(metrics.get(row.id, ())),
            tags=tuple(tags.get(row.id, ())),
            versions=tuple(versions.get(row.id, ())),
        )
        for row in connection.execute(sa.select(schema_logged.logged_model).where(among(_model.id, "ids")), bound)
    }
    return [found[model_id] for model_id in model_ids if model_id in found]


def update(connection: Connection, model_id: str, now: int, **changes: str) -> None:
    """Note that the model was changed, and change its ``status`` or ``lifecycle``."""
    statement = schema_logged.logged_model.update().where(_model.id == model_id)
    connection.execute(statement.values(updated=now, **changes))


def add_params(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add parameters; those that are there stay as they are."""
    if rows:
        connection.execute(_UPSERT.on(connection)["param"], rows)


def param_texts(connection: Connection, model_id: str) -> dict[str, str]:
    rows = connection.execute(sa.select(_param.c.key, _param.c.text).where(_param.c.model_id == model_id))
    return {row[0]: row[1] for row in rows}


def set_tags(connection: Connection, model_id: str, tags: Iterable[Tag]) -> None:
    rows = [{"model_id": model_id, "key": tag.key, "value": tag.value} for tag in tags]
    if rows:
        connection.execute(_UPSERT.on(connection)["tag"], rows)


def delete_tag(connection: Connection, model_id: str, key: str) -> bool:
    """Remove a tag; False when there is none."""
    statement = _tag.delete().where(_tag.c.model_id == model_id, _tag.c.key == key)
    return connection.execute(statement).rowcount > 0


def add_metrics(connection: Connection, points: Sequence[tuple[str, ModelMetric]]) -> None:
    """Add points to models, by their ids; the latest stays."""
    rows = [
        {
            "model_id": model_id,
            "key": point.key,
            "run_id": point.run_id,
            "dataset_name": point.dataset_name,
            "dataset_digest": point.dataset_digest,
            "bits": float_bits(point.value),
            "value": None if isnan(point.value) else point.value,
            "step": point.step,
            "timestamp": point.timestamp,
        }
        for model_id, point in points
    ]
    if rows:
        keys = ("model_id", "key", "run_id", "dataset_name", "dataset_digest")
        ordered = sorted(rows, key=lambda row: tuple(str(row[key]) for key in keys))
        connection.execute(_UPSERT.on(connection)["metric"], ordered)


def use(connection: Connection, uses: Iterable[ModelUse]) -> None:
    """Note that runs use models; once more changes the step."""
    rows = [
        {"run_id": each.run_id, "model_id": each.model_id, "role": each.role.value, "step": each.step} for each in uses
    ]
    if rows:
        connection.execute(_UPSERT.on(connection)["use"], rows)


def uses(connection: Connection, run_ids: Sequence[str], reach: Reach | None) -> list[ModelUse]:
    """Which models that are not deleted those of the runs use that are within ``reach`` (anywhere when None), in the
    order these were made."""
    if not run_ids:
        return []
    # Of each search by MLflow's clients, in which few runs use any.
    statement, bound = (_USES, {}) if reach is None else (_USES_REACHED, reach.experiments())
    [rows] = fetch(connection, [statement], {**bound, "run_ids": run_ids})
    return [ModelUse(run_id=row[0], model_id=row[1], role=ModelRole(row[2]), step=row[3]) for row in rows]


def _of(table: sa.Table) -> sa.Select[Any]:
    return sa.select(table).where(among(table.c.model_id, "ids"))
