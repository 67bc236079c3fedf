"""Searches: a parsed filter and ordering as parameterized SQL that finds ids, page by page.

A page token names the last thing given by its place in the ordering (*keyset* paging), so that what is added meanwhile
neither repeats nor hides others. Things without a value to order by come last, NaN just before them.

The best runs by a metric are read from the index of the metric summaries in its order. For that, a search whose first
key is a metric goes through three *segments*, one after the other: runs with a number, with NaN, without the metric.
"""

from __future__ import annotations

import operator as operators
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from jupyter_mlops.core.errors import InvalidValue, NotFound
from jupyter_mlops.core.filters import (
    Comparison,
    Entity,
    Field,
    FieldKind,
    Filter,
    Operator,
    OrderKey,
    render_filter,
    render_order_key,
)
from jupyter_mlops.core.records import LARGEST_PAGE, Lifecycle, Page, View
from jupyter_mlops.store import schema, tokens
from jupyter_mlops.store.parameters import among

_run = schema.run.c
_metric = schema.metric.c
_experiment = schema.experiment.c


class Query(msgspec.Struct, frozen=True):
    """What is asked; ``limit`` is the most things a page may hold."""

    filter: Filter
    order: tuple[OrderKey, ...]
    view: View
    limit: int
    page_token: str | None = None

    def __post_init__(self) -> None:
        if type(self.limit) is not int or not 1 <= self.limit <= LARGEST_PAGE:
            raise InvalidValue(f"limit: {self.limit!r} is not possible; a page holds 1 to {LARGEST_PAGE} things")


class _Entity(msgspec.Struct, frozen=True):
    """Where the fields of a kind of thing are kept."""

    entity: Entity
    source: sa.FromClause
    id: sa.Column[str]
    attributes: dict[str, sa.Column[Any]]
    tags: sa.Table
    """Its first column refers to ``id``."""
    order: tuple[tuple[sa.Column[Any], bool], ...]
    """The default ordering, which also decides ties: columns, and whether descending."""


_RUNS = _Entity(
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
_EXPERIMENTS = _Entity(
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
_MODELS = _Entity(
    entity=Entity.MODEL,
    source=schema.model,
    id=_model.id,
    attributes={"name": _model.name, "owner": _model.owner, "created": _model.created, "updated": _model.updated},
    tags=schema.model_tag,
    order=((_model.name, False), (_model.id, False)),
)
_VERSIONS = _Entity(
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


def run_ids(
    connection: Connection, query: Query, experiment_ids: Sequence[str], owners: Sequence[str] | None
) -> Page[str]:
    """The runs found in the experiments (in all when none is given) that belong to ``owners`` (to anyone when None).

    Raises ``NotFound`` for an experiment that does not exist or belongs to others.
    """
    listing = _Listing(connection, _RUNS, query)
    inside = _experiments_to_search(connection, experiment_ids, owners)
    if len(inside) == 1:
        scope = [_run.experiment_id == inside[0], _metric.experiment_id == inside[0]]
    else:
        scope = [among(column, "experiments", inside) for column in (_run.experiment_id, _metric.experiment_id)]
    conditions = _lifecycle(query.view, _run.lifecycle)
    first = query.order[0] if query.order else None
    if first is None or first.field.kind is not FieldKind.METRIC:
        segments = [listing.segment(schema.run, [scope[0], *conditions], query.order)]
    else:
        summary = sa.join(schema.metric, schema.run, _run.id == _metric.run_id)
        here = [scope[1], _metric.key == first.field.key, *conditions]
        lacking = ~sa.exists().where(_metric.run_id == _run.id, _metric.key == first.field.key).correlate(schema.run)
        best = _Term(_metric.value, first.descending, text=False)
        rest = query.order[1:]
        segments = [
            listing.segment(summary, [*here, _metric.value.is_not(None)], rest, best, _metric.run_id),
            listing.segment(summary, [*here, _metric.value.is_(None)], rest, None, _metric.run_id),
            listing.segment(schema.run, [scope[0], *conditions, lacking], rest),
        ]
    return listing.page(segments, ",".join(sorted(experiment_ids)))


def experiment_ids(connection: Connection, query: Query, owners: Sequence[str] | None) -> Page[str]:
    """The experiments found that belong to ``owners`` (to anyone when None)."""
    listing = _Listing(connection, _EXPERIMENTS, query)
    conditions = _lifecycle(query.view, _experiment.lifecycle)
    if owners is not None:
        conditions.append(among(_experiment.owner, "owners", owners))
    return listing.page([listing.segment(schema.experiment, conditions, query.order)])


def model_ids(connection: Connection, query: Query) -> Page[str]:
    """The registered models found."""
    listing = _Listing(connection, _MODELS, query)
    return listing.page([listing.segment(_MODELS.source, [], query.order)])


def version_ids(connection: Connection, query: Query) -> Page[str]:
    """The model versions found."""
    listing = _Listing(connection, _VERSIONS, query)
    return listing.page([listing.segment(_VERSIONS.source, [], query.order)])


def _experiments_to_search(connection: Connection, given: Sequence[str], owners: Sequence[str] | None) -> Sequence[str]:
    query = sa.select(_experiment.id)
    if given:
        query = query.where(among(_experiment.id, "ids", given))
    if owners is not None:
        query = query.where(among(_experiment.owner, "owners", owners))
    found = connection.execute(query).scalars().all()
    unknown = set(given).difference(found)
    if unknown:
        raise NotFound(f"experiment {min(unknown)} does not exist")
    return found


def _lifecycle(view: View, column: sa.Column[str]) -> list[ColumnElement[bool]]:
    if view is View.ALL:
        return []
    return [column == (Lifecycle.ACTIVE if view is View.ACTIVE else Lifecycle.DELETED).value]


class _Term(msgspec.Struct):
    """One expression to order by. ``rank`` is 0 where there is a value, and orders what has none, ascending."""

    value: ColumnElement[Any]
    descending: bool
    text: bool
    rank: ColumnElement[int] | None = None


class _Segment(msgspec.Struct):
    source: sa.FromClause
    conditions: list[ColumnElement[bool]]
    terms: list[_Term]


class _Place(msgspec.Struct, array_like=True):
    """A row's place in the ordering: its segment, and the values and ranks of that segment's terms."""

    segment: int
    values: list[str | int | float | None]
    ranks: list[int]


class _Listing:
    """Builds and reads the pages of one query."""

    def __init__(self, connection: Connection, entity: _Entity, query: Query) -> None:
        self.connection = connection
        self.entity = entity
        self.query = query
        self.is_sqlite = connection.dialect.name == "sqlite"

    # --- ordering and paging ---

    def segment(
        self,
        source: sa.FromClause,
        conditions: Sequence[ColumnElement[bool]],
        order: Sequence[OrderKey],
        first: _Term | None = None,
        id_column: sa.Column[str] | None = None,
    ) -> _Segment:
        """Things of ``source`` for which ``conditions`` and the filter hold, ordered by ``first``, then ``order``.

        ``id_column`` is where their id is read from first, if not from their own table.
        """
        owner = self.entity.id if id_column is None else id_column
        chosen = [*conditions, *(self._condition(comparison, owner) for comparison in self.query.filter)]
        segment = _Segment(source, chosen, [] if first is None else [first])
        for key in order:
            self._add_terms(segment, key)
        ordered = {id(term.value) for term in segment.terms}
        segment.terms += [
            _Term(column, descending, isinstance(column.type, sa.String))
            for column, descending in self.entity.order
            if id(column) not in ordered
        ]
        return segment

    def page(self, segments: Sequence[_Segment], scope: str = "") -> Page[str]:
        query = self.query
        asked = "\n".join(
            (
                self.entity.entity.value,
                query.view.value,
                scope,
                render_filter(query.filter),
                *map(render_order_key, query.order),
            )
        )
        place = None if query.page_token is None else self._checked_place(segments, asked, query.page_token)
        ids: list[str] = []
        last: _Place | None = None
        for number, segment in enumerate(segments):
            if place is not None and number < place.segment:
                continue
            after = place if place is not None and number == place.segment else None
            wanted = query.limit - len(ids)
            rows = self.connection.execute(self._select(segment, after).limit(wanted + 1)).all()
            if rows[:wanted]:
                ids.extend(row[0] for row in rows[:wanted])
                last = _place(number, segment, rows[:wanted][-1])
            if len(rows) > wanted:
                assert last is not None
                return Page(items=tuple(ids), next_page_token=tokens.encode(asked, last))
        return Page(items=tuple(ids))

    def _select(self, segment: _Segment, after: _Place | None) -> sa.Select[Any]:
        columns: list[ColumnElement[Any]] = [self.entity.id]
        ordering: list[ColumnElement[Any]] = []
        for term in segment.terms:
            columns.append(term.value)
            if term.rank is not None:
                columns.append(term.rank)
                ordering.append(term.rank)
            ordering.append(term.value.desc() if term.descending else term.value)
        conditions = segment.conditions if after is None else [*segment.conditions, *_after(segment.terms, after)]
        return sa.select(*columns).select_from(segment.source).where(*conditions).order_by(*ordering)

    def _checked_place(self, segments: Sequence[_Segment], asked: str, token: str) -> _Place:
        place = tokens.decode(asked, token, _Place)
        if 0 <= place.segment < len(segments):
            terms = segments[place.segment].terms
            if len(place.values) == len(place.ranks) == len(terms) and all(
                tokens.is_storable(value) and _fits(value, rank, term)
                for value, rank, term in zip(place.values, place.ranks, terms, strict=True)
            ):
                return place
        raise InvalidValue(f"page_token {token[:60]!r} is none that was given: begin without a token")

    def _add_terms(self, segment: _Segment, key: OrderKey) -> None:
        field, descending = key.field, key.descending
        if field.kind is FieldKind.ATTRIBUTE:
            column = self.entity.attributes[field.key]
            text = isinstance(column.type, sa.String)
            rank = sa.case((column.is_(None), 1), else_=0) if column.nullable else None
            segment.terms.append(_Term(self._sortable(column), descending, text, rank))
            return
        table = {FieldKind.METRIC: schema.metric, FieldKind.PARAM: schema.param, FieldKind.TAG: self.entity.tags}[
            field.kind
        ].alias()
        owner, columns = next(iter(table.c)), table.c
        segment.source = sa.outerjoin(segment.source, table, sa.and_(owner == self.entity.id, columns.key == field.key))
        if field.kind is FieldKind.METRIC:
            rank = sa.case((owner.is_(None), 2), (columns.value.is_(None), 1), else_=0)
            segment.terms.append(_Term(columns.value, descending, False, rank))
            return
        if field.kind is FieldKind.PARAM:
            # Numbers come before texts, and in the order of numbers.
            rank = sa.case((columns.number.is_(None), 1), else_=0)
            segment.terms.append(_Term(columns.number, descending, False, rank))
        column = columns.text if field.kind is FieldKind.PARAM else columns.value
        rank = sa.case((owner.is_(None), 1), else_=0)
        segment.terms.append(_Term(self._sortable(column), descending, True, rank))

    def _sortable(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Texts in the order of their code points, whatever the database's language; ids need no such care."""
        if self.is_sqlite or not isinstance(column.type, sa.Text):
            return column
        return column.collate("C")

    # --- filtering ---

    def _condition(self, comparison: Comparison, owner: sa.Column[str]) -> ColumnElement[bool]:
        field, operator = comparison.field, comparison.operator
        if field.kind is FieldKind.ATTRIBUTE:
            return self._compare(self.entity.attributes[field.key], comparison)
        if field.kind is FieldKind.DATASET:
            return self._dataset_condition(comparison, owner)
        table = {FieldKind.METRIC: schema.metric, FieldKind.PARAM: schema.param, FieldKind.TAG: self.entity.tags}[
            field.kind
        ].alias()
        present = sa.exists().where(next(iter(table.c)) == owner, table.c.key == field.key)
        if operator is Operator.IS_NULL:
            return ~present
        if operator is Operator.IS_NOT_NULL:
            return present
        return present.where(self._compare(_compared_column(table, field, comparison.value), comparison))

    def _dataset_condition(self, comparison: Comparison, owner: sa.Column[str]) -> ColumnElement[bool]:
        used, dataset = schema.run_input.c, schema.dataset.c
        columns = {"name": dataset.name, "digest": dataset.digest, "context": used.context}
        return sa.exists().where(
            used.run_id == owner,
            dataset.id == used.dataset_id,
            self._compare(columns[comparison.field.key], comparison),
        )

    def _compare(self, column: ColumnElement[Any], comparison: Comparison) -> ColumnElement[bool]:
        operator, value = comparison.operator, comparison.value
        if operator in (Operator.IS_NULL, Operator.IS_NOT_NULL):
            return column.is_(None) if operator is Operator.IS_NULL else column.is_not(None)
        if isinstance(value, tuple):
            listed = among(column, "items", value)
            return listed if operator is Operator.IN else ~listed
        if operator in (Operator.LIKE, Operator.ILIKE):
            return self._like(column, str(value), operator is Operator.LIKE)
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

    def _like(self, column: ColumnElement[Any], pattern: str, cased: bool) -> ColumnElement[bool]:
        if self.is_sqlite:
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


def _fits(value: object, rank: int, term: _Term) -> bool:
    if rank != 0:
        return value is None and term.rank is not None and 0 < rank <= 2
    return value is not None and isinstance(value, str) == term.text


def _place(number: int, segment: _Segment, row: sa.Row[Any]) -> _Place:
    place = _Place(number, [], [])
    columns = iter(row[1:])
    for term in segment.terms:
        place.values.append(next(columns))
        place.ranks.append(0 if term.rank is None else next(columns))
    return place


def _after(terms: Sequence[_Term], place: _Place) -> list[ColumnElement[bool]]:
    """Conditions for what comes after ``place``."""
    after: ColumnElement[bool] = sa.false()
    for term, value, rank in reversed(list(zip(terms, place.values, place.ranks, strict=True))):
        if rank > 0:
            assert term.rank is not None
            beyond, same = term.rank > rank, term.rank == rank
        else:
            beyond = term.value < value if term.descending else term.value > value
            same = term.value == value
            if term.rank is not None:
                beyond = sa.or_(beyond, term.rank > 0)
        after = sa.or_(beyond, sa.and_(same, after))
    first = terms[0]
    if first.rank is None:
        # Says the same again, in a form that lets an index scan begin at the place.
        value = place.values[0]
        return [first.value <= value if first.descending else first.value >= value, after]
    return [after]
