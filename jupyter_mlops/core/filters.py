"""MLflow's search grammar, parsed once into a small typed tree that the store turns into SQL.

::

    filter     := [comparison (AND comparison)*]
    comparison := field operator value
                | field [NOT] IN ( string (, string)* )
                | field IS [NOT] NULL
    field      := [prefix .] key          prefix: metrics, params, tags, attributes, datasets (and MLflow's variants)
    operator   := = | != | > | >= | < | <= | LIKE | ILIKE
    value      := 'string' | "string" | number | true | false
    key        := word | `any text` | "any text"

Keywords may be in any case; a quote inside a quoted text is written twice. Beyond MLflow: ``params.depth > 5`` and
``params.flag = true`` compare by the typed value (a quoted value compares MLflow's string of the parameter), ``IN``
works on every string, ``IS NULL`` also on metrics, and a bare key may hold ``-``, ``/`` and ``:``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from enum import Enum

import msgspec

from jupyter_mlops.core.errors import FilterError
from jupyter_mlops.core.filter_names import (
    ATTRIBUTES,
    DATASET_KEYS,
    KINDS,
    MLFLOW_TAGS,
    PREFIXES,
    Attribute,
    Entity,
    FieldKind,
    attribute_names,
    find_attribute,
)
from jupyter_mlops.core.suggestions import did_you_mean

__all__ = [
    "Comparison",
    "Entity",
    "Field",
    "FieldKind",
    "Filter",
    "Operator",
    "OrderKey",
    "parse_filter",
    "parse_order_by",
    "render_filter",
    "render_order_key",
]

LONGEST_FILTER = 500_000
MOST_COMPARISONS = 100
MOST_KEYS = 50
"""To order by; a database joins a table for each, and SQLite at most 64."""
LONGEST_PATTERN = 10_000
"""Characters; SQLite takes patterns of 50,000 bytes."""
LONGEST_LIST = 10_000


class Operator(str, Enum):
    EQ = "="
    NE = "!="
    GT = ">"
    GE = ">="
    LT = "<"
    LE = "<="
    LIKE = "LIKE"
    """``%`` stands for any text, ``_`` for one character; case counts."""
    ILIKE = "ILIKE"
    """As LIKE, whatever the case."""
    IN = "IN"
    NOT_IN = "NOT IN"
    IS_NULL = "IS NULL"
    IS_NOT_NULL = "IS NOT NULL"


_PATTERN_OPERATORS = (Operator.LIKE, Operator.ILIKE)
_TEXT_OPERATORS = (Operator.EQ, Operator.NE, *_PATTERN_OPERATORS, Operator.IN, Operator.NOT_IN)
_NUMBER_OPERATORS = (Operator.EQ, Operator.NE, Operator.GT, Operator.GE, Operator.LT, Operator.LE)
_LIST_OPERATORS = (Operator.IN, Operator.NOT_IN)
_NULL_OPERATORS = (Operator.IS_NULL, Operator.IS_NOT_NULL)


class Field(msgspec.Struct, frozen=True):
    """What is compared or ordered by. The key of an attribute is the field's name in the entity's record, whatever
    spelling was given."""

    kind: FieldKind
    key: str


Value = str | int | float | bool | tuple[str, ...] | None


class Comparison(msgspec.Struct, frozen=True):
    """One condition. By field and operator, ``value`` is

    - of a metric a float, of a number attribute an int or a float;
    - of a tag, a dataset or a string attribute a str;
    - of a param a str (compare its text), a float (compare its value where that is a number and no boolean), or a
      bool (compare its value where that is a boolean);
    - of IN and NOT IN a tuple of str; of IS NULL and IS NOT NULL None.

    A condition on what a run does not have is false, except IS NULL. On data sets it holds when it holds for any input.
    """

    field: Field
    operator: Operator
    value: Value


Filter = tuple[Comparison, ...]
"""All of them must hold."""


class OrderKey(msgspec.Struct, frozen=True):
    """One key to order by. Things without a value come last in both directions, NaN just before them."""

    field: Field
    descending: bool = False


def parse_filter(text: str, entity: Entity) -> Filter:
    """Parse a filter over things of ``entity``; an empty text is the empty filter, which everything passes.

    Raises
    ------
    FilterError
        The text is not in the grammar, or names or compares what ``entity`` does not have.
    """
    return _Parser(text, entity, "filter").filter()


def parse_order_by(clauses: Sequence[str], entity: Entity) -> tuple[OrderKey, ...]:
    """Parse clauses such as ``metrics.auc DESC`` (ascending unless it says so), most significant first.

    Raises
    ------
    FilterError
        A clause is not one key with an optional direction, or its key is nothing to order by.
    """
    if isinstance(clauses, str):
        raise FilterError(f"order_by is a list of clauses, such as [{_short(clauses)}], not a string")
    if len(clauses) > MOST_KEYS:
        raise FilterError(f"order_by: {len(clauses)} clauses are too many; at most {MOST_KEYS} are accepted")
    keys: dict[Field, OrderKey] = {}
    for clause in clauses:
        key = _Parser(clause, entity, "order_by").order_key()
        keys.setdefault(key.field, key)
    return tuple(keys.values())


def render_filter(filter: Filter) -> str:
    """The text of a filter, which parses to an equal one."""
    return " AND ".join(_render_comparison(comparison) for comparison in filter)


def render_order_key(key: OrderKey) -> str:
    """The clause of a key, which parses to an equal one."""
    return f"{_render_field(key.field)} {'DESC' if key.descending else 'ASC'}"


def _render_comparison(comparison: Comparison) -> str:
    left = f"{_render_field(comparison.field)} {comparison.operator.value}"
    value = comparison.value
    if value is None:
        return left
    if isinstance(value, tuple):
        return f"{left} ({', '.join(_quoted(item, _APOSTROPHE) for item in value)})"
    if isinstance(value, bool):
        return f"{left} {'true' if value else 'false'}"
    return f"{left} {_quoted(value, _APOSTROPHE) if isinstance(value, str) else repr(value)}"


def _render_field(field: Field) -> str:
    key = field.key if _BARE.fullmatch(field.key) else _quoted(field.key, "`")
    return f"{field.kind.value}.{key}"


def _quoted(text: str, quote: str) -> str:
    return quote + text.replace(quote, quote * 2) + quote


_APOSTROPHE = "'"
_SPACE = re.compile(r"\s*")
# Whatever cannot begin something else; so a bare key may hold dots, dashes, slashes, colons and letters of any script.
_BARE = re.compile(r"[^\s=!<>'\"`(),;]+")
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])", re.ASCII)
_OPERATOR = re.compile(r"[=!<>]+")
_LARGEST_INT = 2**63 - 1


class _Parser:
    """Reads one text from left to right; ``at`` is the index of the next character."""

    def __init__(self, text: str, entity: Entity, what: str) -> None:
        if not isinstance(text, str):
            raise FilterError(f"{what}: expected a string, found {type(text).__name__}")
        self.text = text
        self.entity = entity
        self.thing = f"{'an' if entity is Entity.EXPERIMENT else 'a'} {entity.value}"
        self.what = what
        self.at = 0
        if len(text) > LONGEST_FILTER:
            raise FilterError(f"{what}: {len(text)} characters are too long; at most {LONGEST_FILTER} are accepted")
        unusable = re.search("[\0\ud800-\udfff]", text)
        if unusable:
            raise self.error(f"{unusable[0]!r} cannot be part of a {what}", unusable.start())
        self.skip_space()

    # --- grammar ---

    def filter(self) -> Filter:
        comparisons: list[Comparison] = []
        while not self.done:
            if comparisons:
                self.expect_and()
            comparisons.append(self.comparison())
            if len(comparisons) > MOST_COMPARISONS:
                raise self.error(f"more than {MOST_COMPARISONS} comparisons", self.at)
        return tuple(comparisons)

    def order_key(self) -> OrderKey:
        start = self.at
        field = self.field()
        if field.kind is FieldKind.DATASET:
            raise self.error("data sets cannot be ordered by", start)
        if field.kind is FieldKind.TAG and self.entity is not Entity.RUN:
            raise self.error(f"{self.entity.value}s cannot be ordered by tags, only by attributes", start)
        descending = False
        if not self.done:
            descending = self.keyword("DESC")
            if not descending and not self.keyword("ASC"):
                raise self.error(f"expected ASC, DESC or the end, found {self.found()}", self.at)
        if not self.done:
            raise self.error(f"expected the end, found {self.found()}; each key is a clause of its own", self.at)
        return OrderKey(field, descending)

    def expect_and(self) -> None:
        start = self.at
        if self.keyword("OR"):
            raise self.error(
                "OR is not in the grammar: comparisons are joined by AND, alternatives are listed by IN", start
            )
        if not self.keyword("AND"):
            raise self.error(f"expected AND or the end, found {self.found()}", start)
        if self.done:
            raise self.error("expected a comparison after AND", self.at)

    def comparison(self) -> Comparison:
        start = self.at
        field = self.field()
        operator_at = self.at
        operator = self.operator()
        if operator in _NULL_OPERATORS:
            attribute = self.attribute(field)
            # Attributes that MLflow keeps as tags can be asked for like tags, also where every run has them.
            always = attribute is not None and not attribute.nullable and attribute.name not in MLFLOW_TAGS.values()
            if field.kind is FieldKind.DATASET or always:
                raise self.error(f"{_render_field(field)} always has a value and is never NULL", start)
            return Comparison(field, operator, None)
        value_at = self.at
        value: Value = self.list_of_strings() if operator in _LIST_OPERATORS else self.value()
        value = self.typed(field, operator, operator_at, value, value_at)
        if operator in _PATTERN_OPERATORS and len(str(value)) > LONGEST_PATTERN:
            raise self.error(f"a pattern has at most {LONGEST_PATTERN} characters", value_at)
        return Comparison(field, operator, value)

    def field(self) -> Field:
        start = self.at
        if self.text.startswith("(", start):
            raise self.error("comparisons cannot be put in parentheses: they are joined by AND alone", start)
        prefix, dot, key = "", "", self.quoted_or_none("`")
        if key is not None and self.text.startswith(".", self.at):
            prefix, dot, key = key, ".", None
            self.at += 1
        if key is None:
            key = self.quoted_or_none("`\"'") if dot else None
        if key is None:
            bare = _BARE.match(self.text, self.at)
            if bare is None:
                raise self.error(f"expected a field such as {self.example()}, found {self.found()}", self.at)
            self.at = bare.end()
            key = bare[0]
            if not dot:
                prefix, dot, rest = key.partition(".")
                if dot:
                    quoted = None if rest else self.quoted_or_none("`\"'")
                    key = rest if quoted is None else quoted
        self.skip_space()
        return self.resolve(prefix, dot, key, start)

    def operator(self) -> Operator:
        start = self.at
        symbols = _OPERATOR.match(self.text, start)
        if symbols:
            self.advance(symbols.end())
            if symbols[0] in ("==", "<>"):
                right = "=" if symbols[0] == "==" else "!="
                raise self.error(f"{symbols[0]!r} is not an operator; write {right!r}", start)
            if symbols[0] not in ("=", "!=", ">", ">=", "<", "<="):
                raise self.error(f"{symbols[0]!r} is not an operator; there are =, !=, >, >=, <, <=", start)
            return Operator(symbols[0])
        for operator in (*_PATTERN_OPERATORS, Operator.IN):
            if self.keyword(operator.value):
                return operator
        if self.keyword("NOT"):
            if self.keyword("IN"):
                return Operator.NOT_IN
            raise self.error("only IN can follow NOT", self.at)
        if self.keyword("IS"):
            negated = self.keyword("NOT")
            if self.keyword("NULL"):
                return Operator.IS_NOT_NULL if negated else Operator.IS_NULL
            raise self.error("expected NULL or NOT NULL after IS", self.at)
        raise self.error(
            f"expected an operator (=, !=, >, >=, <, <=, LIKE, ILIKE, IN, NOT IN, IS NULL, IS NOT NULL), "
            f"found {self.found()}",
            start,
        )

    def value(self) -> str | int | float | bool:
        start = self.at
        quoted = self.quoted_or_none("'\"")
        if quoted is not None:
            self.skip_space()
            return quoted
        number = _NUMBER.match(self.text, start)
        if number:
            self.advance(number.end())
            return self.number(number[0], start)
        if self.keyword("TRUE"):
            return True
        if self.keyword("FALSE"):
            return False
        bare = _BARE.match(self.text, start)
        if bare:
            raise self.error(
                f"{_short(bare[0])} is neither a number nor quoted; a string is written {bare[0][:40]!r}", start
            )
        raise self.error(f"expected a value (a number or a quoted string), found {self.found()}", start)

    def number(self, text: str, start: int) -> int | float:
        if text.lstrip("+-").isdigit():
            # Python refuses to convert very long digit strings, with an error of its own.
            if len(text) <= 20 and abs(int(text)) <= _LARGEST_INT:
                return int(text)
            raise self.error(f"{_short(text)} is beyond the range of 64-bit integers", start)
        value = float(text)
        if math.isinf(value):
            raise self.error(f"{_short(text)} is beyond the range of double precision", start)
        return value

    def list_of_strings(self) -> tuple[str, ...]:
        if not self.symbol("("):
            raise self.error(f"expected a list such as ('a', 'b'), found {self.found()}", self.at)
        items: list[str] = []
        while True:
            item = self.quoted_or_none("'\"")
            if item is None:
                raise self.error(f"expected a quoted string in the list, found {self.found()}", self.at)
            items.append(item)
            if len(items) > LONGEST_LIST:
                raise self.error(f"more than {LONGEST_LIST} items in the list", self.at)
            self.skip_space()
            if self.symbol(")"):
                return tuple(items)
            if not self.symbol(","):
                raise self.error(f"expected ',' or ')', found {self.found()}", self.at)

    # --- what names and values mean ---

    def resolve(self, prefix: str, dot: str, key: str, start: int) -> Field:
        kind = PREFIXES.get(prefix) if dot else FieldKind.ATTRIBUTE
        kinds = KINDS[self.entity]
        if kind not in kinds:
            spelled = ", ".join(f"{known.value}." for known in kinds)
            hint = did_you_mean(prefix, [name for name, known in PREFIXES.items() if known in kinds])
            raise self.error(f"{_short(prefix + dot)} is no kind of field of {self.thing}: {spelled}{hint}", start)
        if kind is FieldKind.ATTRIBUTE:
            attribute = find_attribute(self.entity, key)
            if attribute is None:
                known = ", ".join(attribute.name for attribute in ATTRIBUTES[self.entity])
                hint = did_you_mean(key, attribute_names(self.entity))
                if not hint and not dot and FieldKind.METRIC in kinds and len(key) <= 60:
                    hint = f"; a metric is written metrics.{key}, a parameter params.{key}"
                raise self.error(f"{self.thing} has no attribute {_short(key)} (it has {known}){hint}", start)
            return Field(kind, attribute.name)
        if not key:
            raise self.error(f"the key after {_short(prefix + dot)} is missing", start)
        if kind is FieldKind.DATASET and key not in DATASET_KEYS:
            hint = did_you_mean(key, DATASET_KEYS)
            raise self.error(f"data sets have {', '.join(DATASET_KEYS)}, but no {_short(key)}{hint}", start)
        if kind is FieldKind.TAG and self.entity is Entity.RUN and key in MLFLOW_TAGS:
            return Field(FieldKind.ATTRIBUTE, MLFLOW_TAGS[key])
        return Field(kind, key)

    def attribute(self, field: Field) -> Attribute | None:
        return find_attribute(self.entity, field.key) if field.kind is FieldKind.ATTRIBUTE else None

    def typed(self, field: Field, operator: Operator, operator_at: int, value: Value, value_at: int) -> Value:
        """``value`` as the field's type, or an error where field, operator and value do not go together."""
        name = _render_field(field)
        attribute = self.attribute(field)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if field.kind is FieldKind.METRIC or (attribute is not None and attribute.number):
            # Versions are numbers to us and strings to MLflow's clients.
            if attribute is not None and isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,18}", value, re.ASCII):
                value, is_number = int(value), True
            if operator not in _NUMBER_OPERATORS:
                raise self.error(f"{name} is a number: {operator.value} compares strings", operator_at)
            if not is_number:
                raise self.error(f"{name} is a number: compare it with one, without quotes", value_at)
            assert isinstance(value, int | float)
            return value if attribute is not None else float(value)
        if field.kind is FieldKind.PARAM and not isinstance(value, str | tuple):
            assert isinstance(value, int | float)
            if operator not in (_NUMBER_OPERATORS if is_number else (Operator.EQ, Operator.NE)):
                what = "a number" if is_number else "a boolean"
                raise self.error(f"{operator.value} cannot compare with {what}", operator_at)
            return float(value) if is_number else value
        if not isinstance(value, str | tuple):
            raise self.error(f"{name} is a string: put the value in quotes", value_at)
        if operator not in _TEXT_OPERATORS:
            hint = "; a number without quotes compares by value" if field.kind is FieldKind.PARAM else ""
            raise self.error(f"{operator.value} cannot compare strings{hint}", operator_at)
        if attribute is not None and attribute.choices and operator not in _PATTERN_OPERATORS:
            for item in value if isinstance(value, tuple) else (value,):
                if item not in attribute.choices:
                    known = ", ".join(map(repr, attribute.choices))
                    hint = did_you_mean(item, attribute.choices)
                    raise self.error(f"{attribute.name} is never {_short(item)}, but one of {known}{hint}", value_at)
        return value

    # --- characters ---

    @property
    def done(self) -> bool:
        return self.at >= len(self.text)

    def skip_space(self) -> None:
        match = _SPACE.match(self.text, self.at)
        assert match is not None
        self.at = match.end()

    def advance(self, end: int) -> None:
        self.at = end
        self.skip_space()

    def keyword(self, word: str) -> bool:
        end = self.at + len(word)
        if self.text[self.at : end].upper() != word or (_BARE.match(self.text, end) is not None):
            return False
        self.advance(end)
        return True

    def symbol(self, character: str) -> bool:
        if not self.text.startswith(character, self.at):
            return False
        self.advance(self.at + 1)
        return True

    def quoted_or_none(self, quotes: str) -> str | None:
        """The text in quotes that begins here, with one of ``quotes``; None when none does."""
        quote = self.text[self.at : self.at + 1]
        if not quote or quote not in quotes:
            return None
        match = _QUOTED.match(self.text, self.at)
        if match is None:
            raise self.error(f"the quote {quote} is never closed", self.at)
        self.at = match.end()
        return match[0][1:-1].replace(quote * 2, quote)

    def found(self) -> str:
        if self.done:
            return "the end"
        word = _BARE.match(self.text, self.at)
        return _short(word[0] if word else self.text[self.at])

    def example(self) -> str:
        return "metrics.auc or attributes.status" if self.entity is Entity.RUN else "name or tags.team"

    def error(self, problem: str, at: int) -> FilterError:
        where = "at the end" if at >= len(self.text) else f"at character {at + 1}"
        before = self.text[max(0, at - 30) : at]
        after = self.text[at : at + 30]
        return FilterError(f"{self.what}: {problem} ({where}: {(before + '→' + after)!r})")


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
