"""What a search names, as columns and conditions of SQL."""

from __future__ import annotations

import operator as operators
from collections.abc import Callable
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from jupyter_mlops.core.filters import Comparison, Entity, Field, FieldKind, Operator
from jupyter_mlops.store import schema, schema_logged
from jupyter_mlops.store.parameters import among

_run = schema.run.c
_experiment = schema.experiment.c


class Fields(msgspec.Struct, frozen=True):
    """Where the fields of a kind of thing are kept."""

    entity: Entity
    source: sa.FromClause
    id: sa.Column[str]
    attributes: dict[str, sa.Column[Any]]
    tags: sa.Table
    """Its first column refers to ``id``."""
    order: tuple[tuple[sa.Column[Any], bool], ...]
    """The default ordering, which also decides ties: columns, and whether descending."""
    metrics: sa.Table = schema.metric
    params: sa.Table = schema.param

    def table(self, kind: FieldKind) -> sa.Table:
        """Where values with a key are kept; the first column is the owner's id."""
        return {FieldKind.METRIC: self.metrics, FieldKind.PARAM: self.params, FieldKind.TAG: self.tags}[kind]


RUNS = Fields(
    entity=Entity.RUN,
    source=schema.run,
    id=_run.id,
    attributes={
        "run_id": _run.id,
        "experiment_id": _run.experiment_id,
        "name": _run.name,
        "status": _run.status,
        "kind": _run.kind,
        "user": _run.created_by,
        "source": _run.source,
        "parent_run_id": _run.parent_id,
        "start_time": _run.start_time,
        "end_time": _run.end_time,
    },
    tags=schema.tag,
    order=((_run.start_time, True), (_run.id, True)),
)
EXPERIMENTS = Fields(
    entity=Entity.EXPERIMENT,
    source=schema.experiment,
    id=_experiment.id,
    attributes={
        "experiment_id": _experiment.id,
        "name": _experiment.name,
        "owner": _experiment.owner,
        "created": _experiment.created,
        "updated": _experiment.updated,
    },
    tags=schema.experiment_tag,
    order=((_experiment.created, True), (_experiment.id, True)),
)
_model, _version = schema.model.c, schema.model_version.c
MODELS = Fields(
    entity=Entity.MODEL,
    source=schema.model,
    id=_model.id,
    attributes={"name": _model.name, "owner": _model.owner, "created": _model.created, "updated": _model.updated},
    tags=schema.model_tag,
    order=((_model.name, False), (_model.id, False)),
)
VERSIONS = Fields(
    entity=Entity.VERSION,
    source=schema.model_version.join(schema.model, _model.id == _version.model_id),
    id=_version.id,
    attributes={
        "model": _model.name,
        "version": _version.version,
        "run_id": _version.run_id,
        "source": _version.source,
        "digest": _version.digest,
        "user": _version.created_by,
        "created": _version.created,
        "updated": _version.updated,
    },
    tags=schema.version_tag,
    order=((_version.created, True), (_version.id, True)),
)

_logged = schema_logged.logged_model.c
LOGGED = Fields(
    entity=Entity.LOGGED,
    source=schema_logged.logged_model,
    id=_logged.id,
    attributes={
        "model_id": _logged.id,
        "name": _logged.name,
        "experiment_id": _logged.experiment_id,
        "run_id": _logged.run_id,
        "model_type": _logged.model_type,
        "status": _logged.status,
        "created": _logged.created,
        "updated": _logged.updated,
    },
    tags=schema_logged.logged_model_tag,
    order=((_logged.created, True), (_logged.id, True)),
    metrics=schema_logged.logged_model_metric,
    params=schema_logged.logged_model_param,
)


def condition(
    fields: Fields,
    comparison: Comparison,
    owner: sa.Column[str],
    is_sqlite: bool,
    seen: Callable[[ColumnElement[Any]], ColumnElement[Any]] | None = None,
) -> ColumnElement[bool]:
    """The condition of ``comparison`` on a thing whose id is in the column ``owner``; ``seen`` makes of an attribute's
    column what is compared."""
    field, operator = comparison.field, comparison.operator
    if field.kind is FieldKind.ATTRIBUTE:
        column = fields.attributes[field.key]
        return _compare(column if seen is None else seen(column), comparison, is_sqlite)
    if field.kind is FieldKind.DATASET:
        return (_measured_on if fields is LOGGED else _dataset_condition)(comparison, owner, is_sqlite)
    table = fields.table(field.kind).alias()
    present = sa.exists().where(next(iter(table.c)) == owner, table.c.key == field.key)
    if operator is Operator.IS_NULL:
        return ~present
    if operator is Operator.IS_NOT_NULL:
        return present
    return present.where(_compare(_compared_column(table, field, comparison.value), comparison, is_sqlite))


def _dataset_condition(comparison: Comparison, owner: sa.Column[str], is_sqlite: bool) -> ColumnElement[bool]:
    used, dataset = schema.run_input.c, schema.dataset.c
    columns = {"name": dataset.name, "digest": dataset.digest, "context": used.context}
    return sa.exists().where(
        used.run_id == owner,
        dataset.id == used.dataset_id,
        _compare(columns[comparison.field.key], comparison, is_sqlite),
    )


def _measured_on(comparison: Comparison, owner: sa.Column[str], is_sqlite: bool) -> ColumnElement[bool]:
    """Whether a logged model was measured on such a data set; what for is not known."""
    metric = schema_logged.logged_model_metric.c
    columns = {"name": metric.dataset_name, "digest": metric.dataset_digest, "context": sa.null()}
    return sa.exists().where(metric.model_id == owner, _compare(columns[comparison.field.key], comparison, is_sqlite))


def _compare(column: ColumnElement[Any], comparison: Comparison, is_sqlite: bool) -> ColumnElement[bool]:
    operator, value = comparison.operator, comparison.value
    if operator in (Operator.IS_NULL, Operator.IS_NOT_NULL):
        return column.is_(None) if operator is Operator.IS_NULL else column.is_not(None)
    if isinstance(value, tuple):
        listed = among(column, "items", value)
        return listed if operator is Operator.IN else ~listed
    if operator in (Operator.LIKE, Operator.ILIKE):
        return _like(column, str(value), operator is Operator.LIKE, is_sqlite)
    if isinstance(value, bool):
        # Among booleans, to differ from the one is to be the other; what is no boolean is neither.
        return column == ("true" if value is (operator is Operator.EQ) else "false")
    number = isinstance(value, float) and isinstance(column.type, sa.Integer)
    # A number that is no integer is compared as such also with a column of integers.
    compared: ColumnElement[bool] = _COMPARE[operator](column, sa.literal(value, sa.Double) if number else value)
    if operator is Operator.NE and comparison.field.kind is FieldKind.METRIC:
        # NaN, which is kept as NULL, differs from every number.
        return sa.or_(compared, column.is_(None))
    return compared


def _like(column: ColumnElement[Any], pattern: str, cased: bool, is_sqlite: bool) -> ColumnElement[bool]:
    if is_sqlite:
        # SQLite's LIKE takes no notice of case, its GLOB does; its lower() knows ASCII only.
        if cased:
            return column.op("GLOB", is_comparison=True)(_glob(pattern))
        return sa.func.mlops_lower(column).op("GLOB", is_comparison=True)(_glob(pattern.lower()))
    return column.like(pattern, escape="") if cased else column.ilike(pattern, escape="")


_COMPARE: dict[Operator, Callable[[Any, Any], Any]] = {
    Operator.EQ: operators.eq,
    Operator.NE: operators.ne,
    Operator.GT: operators.gt,
    Operator.GE: operators.ge,
    Operator.LT: operators.lt,
    Operator.LE: operators.le,
}


def _compared_column(table: sa.FromClause, field: Field, value: object) -> ColumnElement[Any]:
    columns = table.c
    if field.kind is not FieldKind.PARAM:
        return columns.value
    if isinstance(value, bool):
        return columns.value_json
    return columns.number if isinstance(value, int | float) else columns.text


def _glob(pattern: str) -> str:
    """A LIKE pattern as one of SQLite's GLOB, which takes notice of case."""
    return "".join({"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}.get(c, c) for c in pattern)
