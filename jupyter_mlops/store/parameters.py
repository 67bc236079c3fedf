"""One bound parameter for a list of any length: ``column IN`` it, on both databases.

A parameter an item would meet SQLite's limit on variables and give each length a statement of its own to compile.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.visitors import InternalTraversal


class _Strings(sa.types.TypeDecorator[Sequence[str]]):
    """A list of strings: a JSON text for SQLite, an array for PostgreSQL."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.ARRAY(sa.Text))
        return dialect.type_descriptor(sa.Text())

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> Any:
        items = list(value or ())
        return items if dialect.name == "postgresql" else json.dumps(items)


class _Among(ColumnElement[bool]):
    """``column`` is one of the strings bound to a name."""

    type = sa.Boolean()
    inherit_cache = True
    # Else SQLite's dialect would write `= 1` behind it, and SQLite would not use an index.
    _is_implicitly_boolean = True
    _traverse_internals = [  # noqa: RUF012 - SQLAlchemy declares it so
        ("column", InternalTraversal.dp_clauseelement),
        ("items", InternalTraversal.dp_clauseelement),
    ]

    def __init__(self, column: ColumnElement[str], items: ColumnElement[Any]) -> None:
        self.column = column
        self.items = items


@compiles(_Among, "sqlite")
def _sqlite_among(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, items = compiler.process(element.column, **options), compiler.process(element.items, **options)
    return f"({column} IN (SELECT value FROM json_each({items})))"


@compiles(_Among, "postgresql")
def _postgresql_among(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, items = compiler.process(element.column, **options), compiler.process(element.items, **options)
    return f"({column} = ANY ({items}))"


def among(column: ColumnElement[Any], name: str, values: Sequence[str] | None = None) -> ColumnElement[bool]:
    """The condition that ``column`` is one of the strings of the parameter ``name``, which is bound to ``values`` here
    or, when None, when the statement is executed."""
    bound = (
        sa.bindparam(name, type_=_Strings()) if values is None else sa.bindparam(name, values, _Strings(), unique=True)
    )
    return _Among(column, bound)


def driver_value(value: Any, dialect: str) -> Any:
    """A value for a parameter as the database's driver takes it: a list of strings as the text that
    :class:`_Strings` stands for, which PostgreSQL's driver would write much slower."""
    if not isinstance(value, list | tuple):
        return value
    if dialect == "sqlite":
        return json.dumps(value)
    quoted = (item.replace("\\", r"\\").replace('"', r"\"") for item in value)
    return '{"' + '","'.join(quoted) + '"}' if value else "{}"
