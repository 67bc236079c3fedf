"""Searches: a parsed filter and ordering as parameterized SQL that finds ids, page by page.

A page token names the last thing given by its place in the ordering (*keyset* paging), so that what is added meanwhile
neither repeats nor hides others. Things without a value to order by come last, NaN just before them.

The best runs by a metric are read from the index of the metric summaries in its order. For that, a search whose first
key is a metric goes through three *segments*, one after the other: runs with a number, with NaN, without the metric.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.operators import custom_op

from jupyter_mlops.core.errors import InvalidValue, NotFound
from jupyter_mlops.core.filters import (
    Entity,
    FieldKind,
    Filter,
    Operator,
    OrderKey,
    parse_filter,
    parse_order_by,
    render_filter,
    render_order_key,
)
from jupyter_mlops.core.records import LARGEST_PAGE, Lifecycle, Page, View
from jupyter_mlops.core.values import short
from jupyter_mlops.store import schema, schema_logged, tokens
from jupyter_mlops.store.conditions import EXPERIMENTS, LOGGED, MODELS, RUNS, VERSIONS, Fields, condition
from jupyter_mlops.store.parameters import among
from jupyter_mlops.store.rows import fetch
from jupyter_mlops.store.shares import Reach, reached_experiment, reached_model, within

_run = schema.run.c
_metric = schema.metric.c
_experiment = schema.experiment.c
_logged = schema_logged.logged_model.c

_LONGEST_REMEMBERED = 1000
"""Characters of a query whose statements are kept for the next time."""
_MOST_MERGED = 200
"""Experiments whose best runs are read one by one and merged: the index has the best of an experiment, and for those of
several, databases would look at all that they have."""


class Query(msgspec.Struct, frozen=True):
    """What is asked; ``limit`` is the most things a page may hold."""

    filter: Filter
    order: tuple[OrderKey, ...]
    view: View
    limit: int
    page_token: str | None = None

    def __post_init__(self) -> None:
        if type(self.limit) is not int or not 1 <= self.limit <= LARGEST_PAGE:
            raise InvalidValue(f"limit: {short(self.limit)} is not possible; a page holds 1 to {LARGEST_PAGE} things")


def run_ids(connection: Connection, query: Query, experiment_ids: Sequence[str], reach: Reach | None) -> Page[str]:
    """The runs found in the experiments (in all when none is given) within ``reach`` (anywhere when None).

    Raises ``NotFound`` for an experiment that does not exist or is out of reach.
    """
    return _in_experiments(connection, RUNS, query, experiment_ids, reach)


def logged_model_ids(
    connection: Connection, query: Query, experiment_ids: Sequence[str], reach: Reach | None
) -> Page[str]:
    """As :func:`run_ids`, the logged models."""
    return _in_experiments(connection, LOGGED, query, experiment_ids, reach)


def _in_experiments(
    connection: Connection, fields: Fields, query: Query, experiment_ids: Sequence[str], reach: Reach | None
) -> Page[str]:
    known = reach is None and len(experiment_ids) == 1
    inside = experiment_ids if known else _experiments_to_search(connection, experiment_ids, reach)
    way = _way(connection, query.filter) if fields is RUNS else _Way.ANY
    bound: list[dict[str, Any]] = [{"experiment": inside[0]} if len(inside) == 1 else {"experiments": inside}]
    if fields is RUNS and way is not _Way.VALUE and 1 < len(inside) <= _MOST_MERGED and _is_by_metric(query.order):
        bound = [{"experiment": each} for each in inside]
    page = _page(connection, fields, query, bound, ",".join(sorted(experiment_ids)), way)
    if known and not page.items:
        # Whether the experiment exists matters only when nothing was found in it.
        _experiments_to_search(connection, experiment_ids, reach)
    return page


def experiment_ids(connection: Connection, query: Query, reach: Reach | None) -> Page[str]:
    """The experiments found within ``reach`` (anywhere when None)."""
    return _page(connection, EXPERIMENTS, query, [{} if reach is None else reach.experiments()])


def model_ids(connection: Connection, query: Query, reach: Reach | None) -> Page[str]:
    """The registered models found within ``reach`` (anywhere when None)."""
    return _page(connection, MODELS, query, [{} if reach is None else reach.models()])


def version_ids(connection: Connection, query: Query, reach: Reach | None) -> Page[str]:
    """The versions found of models within ``reach`` (of any when None)."""
    return _page(connection, VERSIONS, query, [{} if reach is None else reach.models()])


_EXPERIMENTS_GIVEN = sa.select(_experiment.id).where(among(_experiment.id, "ids"))


def _experiments_to_search(connection: Connection, given: Sequence[str], reach: Reach | None) -> Sequence[str]:
    query = within(_EXPERIMENTS_GIVEN if given else sa.select(_experiment.id), _experiment.id, reach)
    found = connection.execute(query, {"ids": given} if given else {}).scalars().all()
    unknown = set(given).difference(found)
    if unknown:
        raise NotFound(f"experiment {short(min(unknown))} does not exist")
    return found


class _Way(Enum):
    """How SQLite is to find runs: by what the filter asks of their attributes, by their order, or as it sees fit."""

    ANY = "any"
    VALUE = "value"
    ORDER = "order"


_INDEXED = {"name": _run.name, "parent_run_id": _run.parent_id, "status": _run.status}
"""The attributes of runs whose values have an index of their own."""
_FEW = 1_000
_UP_TO_FEW = {
    key: sa.select(sa.func.count()).select_from(
        sa.select(column).where(column == sa.bindparam("value")).limit(_FEW + 1).subquery()
    )
    for key, column in _INDEXED.items()
}


def _way(connection: Connection, filter: Filter) -> _Way:
    """By a value that few runs have; if many have it, the first of them are soon found in any order. PostgreSQL knows
    by its statistics; SQLite, which gathers none by itself, would take a million runs for ten."""
    way = _Way.ANY
    for comparison in filter if connection.dialect.name == "sqlite" else ():
        field, value = comparison.field, comparison.value
        if field.kind is FieldKind.ATTRIBUTE and field.key in _INDEXED and comparison.operator is Operator.EQ:
            [[(count,)]] = fetch(connection, [_UP_TO_FEW[field.key]], {"value": value})
            if count <= _FEW:
                return _Way.VALUE
            way = _Way.ORDER
    return way


class _Place(msgspec.Struct, array_like=True):
    """A row's place in the ordering: its segment, and the values and ranks of that segment's terms."""

    segment: int
    values: list[str | int | float | None]
    ranks: list[int]


def _page(
    connection: Connection,
    fields: Fields,
    query: Query,
    bound: Sequence[dict[str, Any]],
    scope: str = "",
    way: _Way = _Way.ANY,
) -> Page[str]:
    """One page of the things of ``fields`` found; ``bound`` gives the parameters that limit where to look, of the same
    names for each place."""
    texts = (render_filter(query.filter), tuple(map(render_order_key, query.order)))
    asked = "\n".join((fields.entity.value, query.view.value, scope, texts[0], *texts[1]))
    prepare = _listing if len(asked) <= _LONGEST_REMEMBERED else _listing.__wrapped__
    is_sqlite = connection.dialect.name == "sqlite"
    listing = prepare(fields.entity, *texts, query.view, frozenset(bound[0]), is_sqlite, way)
    place = None
    if query.page_token is not None:
        place = tokens.decode(asked, query.page_token, _Place)
        if not listing.has(place):
            raise InvalidValue(f"page_token {query.page_token[:60]!r} is none that was given: begin without a token")
    ids: list[str] = []
    last: _Place | None = None
    for number in range(0 if place is None else place.segment, len(listing.segments)):
        wanted = query.limit - len(ids)
        after = place if place is not None and number == place.segment else None
        values = {} if after is None else {f"place{i}": value for i, value in enumerate(after.values)}
        ranks = None if after is None else tuple(after.ranks)
        rows: list[tuple[Any, ...]] = []
        for each in bound:
            if len(rows) > wanted:
                # Of another experiment, only what comes before the last of these matters.
                values["bound"] = rows[wanted][1]
            statement = listing.statement(number, ranks, bounded=len(rows) > wanted)
            rows += fetch(connection, [statement], {**each, **values, "page": wanted + 1}, plan_anew=True)[0]
            if len(bound) > 1:
                rows = listing.ordered(number, rows)[: wanted + 1]
        if rows[:wanted]:
            ids.extend(row[0] for row in rows[:wanted])
            last = listing.place(number, rows[:wanted][-1])
        if len(rows) > wanted:
            assert last is not None
            return Page(items=tuple(ids), next_page_token=tokens.encode(asked, last))
    return Page(items=tuple(ids))


# Building a statement takes longer than finding the best hundred of many runs; whoever watches asks the same again and
# again. The texts are the key, since parsed filters would be equal that are not: 1 and true.
@lru_cache(maxsize=256)
def _listing(
    entity: Entity,
    filter: str,
    order_by: tuple[str, ...],
    view: View,
    bound: frozenset[str],
    is_sqlite: bool,
    way: _Way = _Way.ANY,
) -> _Listing:
    fields = next(fields for fields in (RUNS, EXPERIMENTS, MODELS, VERSIONS, LOGGED) if fields.entity == entity)
    order = parse_order_by(order_by, fields.entity)
    listing = _Listing(fields, parse_filter(filter, fields.entity), is_sqlite, way)
    if fields is RUNS:
        _add_run_segments(listing, order, view, "experiment" in bound)
    elif fields is LOGGED:
        where = [_inside(_logged.experiment_id, "experiment" in bound), *_lifecycle(view, _logged.lifecycle)]
        listing.add_segment(fields.source, where, order)
    elif fields is EXPERIMENTS:
        conditions = _lifecycle(view, _experiment.lifecycle)
        if "owners" in bound:
            conditions.append(reached_experiment(_experiment.id))
        listing.add_segment(fields.source, conditions, order)
    else:
        listing.add_segment(fields.source, [reached_model(bound)], order)
    return listing


def _inside(column: ColumnElement[str], single: bool) -> ColumnElement[bool]:
    """The condition that ``column``, an experiment's id, is the one, or one of those, that are bound."""
    return column == sa.bindparam("experiment") if single else among(column, "experiments")


def _is_by_metric(order: Sequence[OrderKey]) -> bool:
    return bool(order) and order[0].field.kind is FieldKind.METRIC


def _unindexed(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The column, by whose indexes SQLite does not look."""
    return sa.UnaryExpression(column, operator=custom_op("+"), type_=column.type)


def _add_run_segments(listing: _Listing, order: Sequence[OrderKey], view: View, single: bool) -> None:
    def placed(column: ColumnElement[str]) -> ColumnElement[str]:
        return _unindexed(column) if listing.way is _Way.VALUE else column

    def inside(column: sa.Column[str]) -> ColumnElement[bool]:
        return _inside(placed(column), single)

    active = _lifecycle(view, placed(_run.lifecycle))
    first = order[0].field if order else None
    if first is None or first.kind is not FieldKind.METRIC:
        listing.add_segment(schema.run, [inside(_run.experiment_id), *active], order)
        return
    summary = sa.join(schema.metric, schema.run, _run.id == _metric.run_id)
    here = [inside(_metric.experiment_id), _metric.key == first.key, *active]
    lacking = ~sa.exists().where(_metric.run_id == _run.id, _metric.key == first.key).correlate(schema.run)
    best = _Term(_metric.value, order[0].descending, text=False)
    listing.add_segment(summary, [*here, _metric.value.is_not(None)], order[1:], best, _metric.run_id)
    listing.add_segment(summary, [*here, _metric.value.is_(None)], order[1:], None, _metric.run_id)
    listing.add_segment(schema.run, [inside(_run.experiment_id), *active, lacking], order[1:])


def _lifecycle(view: View, column: ColumnElement[str]) -> list[ColumnElement[bool]]:
    if view is View.ALL:
        return []
    return [column == (Lifecycle.ACTIVE if view is View.ACTIVE else Lifecycle.DELETED).value]


class _Term(msgspec.Struct):
    """One expression to order by. ``rank`` is 0 where there is a value, and orders what has none, ascending."""

    value: ColumnElement[Any]
    descending: bool
    text: bool
    rank: ColumnElement[int] | None = None

    def fits(self, value: object, rank: int) -> bool:
        """Whether a row may have these."""
        if rank != 0:
            return value is None and self.rank is not None and 0 < rank <= 2
        return value is not None and isinstance(value, str) == self.text and tokens.is_storable(value)


class _Segment(msgspec.Struct):
    source: sa.FromClause
    conditions: list[ColumnElement[bool]]
    terms: list[_Term]


class _Listing:
    """The statements of one filter and ordering. Parameters: those of the conditions, ``page`` (rows at most), and the
    values of the place to begin after, ``place0``, ``place1``..."""

    def __init__(self, fields: Fields, filter: Filter, is_sqlite: bool, way: _Way) -> None:
        self.fields = fields
        self.filter = filter
        self.is_sqlite = is_sqlite
        self.way = way
        self.segments: list[_Segment] = []
        self._statements: dict[tuple[int, tuple[int, ...] | None, bool], sa.Select[Any]] = {}

    def add_segment(
        self,
        source: sa.FromClause,
        conditions: Sequence[ColumnElement[bool]],
        order: Sequence[OrderKey],
        first: _Term | None = None,
        id_column: sa.Column[str] | None = None,
    ) -> None:
        """Add the things of ``source`` for which ``conditions`` and the filter hold, ordered by ``first``, ``order``
        and what decides ties.

        ``id_column`` is where their id is read from first, if not from their own table.
        """
        owner = self.fields.id if id_column is None else id_column
        seen = _unindexed if self.way is _Way.ORDER else None
        filtered = [condition(self.fields, comparison, owner, self.is_sqlite, seen) for comparison in self.filter]
        segment = _Segment(source, [*conditions, *filtered], [] if first is None else [first])
        for key in order:
            self._add_terms(segment, key)
        ordered = {id(term.value) for term in segment.terms}
        segment.terms += [
            _Term(column, descending, isinstance(column.type, sa.String))
            for column, descending in self.fields.order
            if id(column) not in ordered
        ]
        self.segments.append(segment)

    def statement(self, number: int, after: tuple[int, ...] | None, *, bounded: bool = False) -> sa.Select[Any]:
        """The statement of a segment, from its beginning or after a place with the ranks ``after``; if ``bounded``, up
        to the value ``bound`` of the first term, or a little further."""
        known = self._statements.get((number, after, bounded))
        if known is not None:
            return known
        segment = self.segments[number]
        columns: list[ColumnElement[Any]] = [self.fields.id]
        ordering: list[ColumnElement[Any]] = []
        for term in segment.terms:
            columns.append(term.value)
            if term.rank is not None:
                columns.append(term.rank)
                ordering.append(term.rank)
            ordering.append(term.value.desc() if term.descending else term.value)
        conditions = segment.conditions if after is None else [*segment.conditions, *_after(segment.terms, after)]
        first = segment.terms[0]
        if bounded and first.rank is None:
            bound = sa.bindparam("bound", type_=first.value.type)
            conditions = [*conditions, first.value >= bound if first.descending else first.value <= bound]
        statement = sa.select(*columns).select_from(segment.source).where(*conditions).order_by(*ordering)
        made = statement.limit(sa.bindparam("page", type_=sa.Integer))
        self._statements[number, after, bounded] = made
        return made

    def place(self, number: int, row: tuple[Any, ...]) -> _Place:
        """The place of a row of :meth:`statement`."""
        place = _Place(number, [], [])
        columns = iter(row[1:])
        for term in self.segments[number].terms:
            place.values.append(next(columns))
            place.ranks.append(0 if term.rank is None else next(columns))
        return place

    def ordered(self, number: int, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Rows of :meth:`statement`, asked for of several experiments, in its order."""
        columns, at = [], 1
        for term in self.segments[number].terms:
            columns += [(at, term.descending)] if term.rank is None else [(at + 1, False), (at, term.descending)]
            at += 1 if term.rank is None else 2
        # By what counts least first: what is sorted stays so among equals.
        for at, descending in reversed(columns):
            rows = sorted(rows, key=_value_at(at), reverse=descending)
        return rows

    def has(self, place: _Place) -> bool:
        """Whether ``place`` can be one of this ordering."""
        if not 0 <= place.segment < len(self.segments):
            return False
        terms = self.segments[place.segment].terms
        return len(place.values) == len(place.ranks) == len(terms) and all(
            term.fits(value, rank) for term, value, rank in zip(terms, place.values, place.ranks, strict=True)
        )

    def _add_terms(self, segment: _Segment, key: OrderKey) -> None:
        field, descending = key.field, key.descending
        if field.kind is FieldKind.ATTRIBUTE:
            column = self.fields.attributes[field.key]
            text = isinstance(column.type, sa.String)
            rank = sa.case((column.is_(None), 1), else_=0) if column.nullable else None
            segment.terms.append(_Term(self._sortable(column), descending, text, rank))
            return
        table = self.fields.table(field.kind).alias()
        owner, columns = next(iter(table.c)), table.c
        if field.kind is FieldKind.METRIC and self.fields is LOGGED:
            # A model has a metric for each data set: the one that was measured last counts.
            last = (columns.timestamp.desc(), columns.step.desc(), columns.run_id, columns.dataset_name)
            value = sa.select(columns.value).where(owner == self.fields.id, columns.key == field.key)
            found = value.order_by(*last).limit(1).scalar_subquery()
            segment.terms.append(_Term(found, descending, False, sa.case((found.is_(None), 1), else_=0)))
            return
        segment.source = sa.outerjoin(segment.source, table, sa.and_(owner == self.fields.id, columns.key == field.key))
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


def _value_at(at: int) -> Callable[[tuple[Any, ...]], tuple[bool, Any]]:
    """A key to sort rows by; where there is no value, a rank that counts more has decided."""
    return lambda row: (row[at] is not None, row[at])


def _after(terms: Sequence[_Term], ranks: tuple[int, ...]) -> list[ColumnElement[bool]]:
    """Conditions for what comes after a place with these ranks, whose values are parameters."""
    places = [sa.bindparam(f"place{i}", type_=term.value.type) for i, term in enumerate(terms)]
    after: ColumnElement[bool] = sa.false()
    for term, place, rank in reversed(list(zip(terms, places, ranks, strict=True))):
        if rank > 0:
            assert term.rank is not None
            beyond, same = term.rank > rank, term.rank == rank
        else:
            beyond = term.value < place if term.descending else term.value > place
            same = term.value == place
            if term.rank is not None:
                beyond = sa.or_(beyond, term.rank > 0)
        after = sa.or_(beyond, sa.and_(same, after))
    first = terms[0]
    if first.rank is None:
        # Says the same again, in a form that lets an index scan begin at the place.
        return [first.value <= places[0] if first.descending else first.value >= places[0], after]
    return [after]
