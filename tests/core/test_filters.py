"""The search grammar: what it takes, how it refuses, and that it means what MLflow means."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlops.core.errors import FilterError
from jupyter_mlops.core.filter_names import ATTRIBUTES, DATASET_KEYS
from jupyter_mlops.core.filters import (
    LONGEST_PATTERN,
    MOST_KEYS,
    Comparison,
    Entity,
    Field,
    FieldKind,
    Operator,
    OrderKey,
    parse_filter,
    parse_order_by,
    render_filter,
    render_order_key,
)

METRIC, PARAM, TAG, ATTRIBUTE, DATASET = FieldKind


@pytest.mark.parametrize(
    ("text", "kind", "key", "operator", "value"),
    [
        ("metrics.auc > 0.8", METRIC, "auc", ">", 0.8),
        ("metric.auc>=-1e-3", METRIC, "auc", ">=", -0.001),
        ("metrics.auc < .5", METRIC, "auc", "<", 0.5),
        ("metrics.a.b != 1", METRIC, "a.b", "!=", 1.0),
        ("metrics.val/loss-1 < 1", METRIC, "val/loss-1", "<", 1.0),
        ("metrics.`a b` = 1", METRIC, "a b", "=", 1.0),
        ('`metrics`."a b" = 1', METRIC, "a b", "=", 1.0),
        ("metrics.👍 > 1", METRIC, "👍", ">", 1.0),
        ("metrics.auc IS NULL", METRIC, "auc", "IS NULL", None),
        ("params.kind = 'rf'", PARAM, "kind", "=", "rf"),
        ('parameter.kind = "rf"', PARAM, "kind", "=", "rf"),
        ("param.kind like 'r%'", PARAM, "kind", "LIKE", "r%"),
        ("parameters.kind is  not NULL", PARAM, "kind", "IS NOT NULL", None),
        ("params.kind in ('a', \"b\")", PARAM, "kind", "IN", ("a", "b")),
        ("params.depth > 5", PARAM, "depth", ">", 5.0),
        ("params.depth = '5'", PARAM, "depth", "=", "5"),
        ("params.flag = TRUE", PARAM, "flag", "=", True),
        ("params.flag != false", PARAM, "flag", "!=", False),
        ("tags.mlflow.user ILIKE '%Y%'", ATTRIBUTE, "user", "ILIKE", "%Y%"),
        ("tags.`mlflow.parentRunId` = 'p'", ATTRIBUTE, "parent_run_id", "=", "p"),
        ("tags.mlflow.note.content ILIKE '%Y%'", TAG, "mlflow.note.content", "ILIKE", "%Y%"),
        ("tag.`a``b` = 'it''s'", TAG, "a`b", "=", "it's"),
        ("tags.x = ''", TAG, "x", "=", ""),
        ("status = 'RUNNING'", ATTRIBUTE, "status", "=", "RUNNING"),
        ("run.status not in ('FAILED')", ATTRIBUTE, "status", "NOT IN", ("FAILED",)),
        ("attr.user_id = 'me'", ATTRIBUTE, "user", "=", "me"),
        ("`run name` = 'x'", ATTRIBUTE, "name", "=", "x"),
        ("attributes.run_name = 'x'", ATTRIBUTE, "name", "=", "x"),
        ("Created > 5", ATTRIBUTE, "start_time", ">", 5),
        ("start_time > 1.5", ATTRIBUTE, "start_time", ">", 1.5),
        ("end_time is null", ATTRIBUTE, "end_time", "IS NULL", None),
        ("run_id IN ('a','b')", ATTRIBUTE, "run_id", "IN", ("a", "b")),
        ("dataset.digest = 'd'", DATASET, "digest", "=", "d"),
        ("datasets.context != 'train'", DATASET, "context", "!=", "train"),
    ],
)
def test_comparison_on_runs(text: str, kind: FieldKind, key: str, operator: str, value: object) -> None:
    (found,) = parse_filter(f"  {text} ", Entity.RUN)
    assert found == Comparison(Field(kind, key), Operator(operator), value)  # type: ignore[arg-type]
    assert type(found.value) is type(value)


@pytest.mark.parametrize(
    ("entity", "text", "key", "value"),
    [
        (Entity.EXPERIMENT, "attribute.creation_time > 5", "created", 5),
        (Entity.EXPERIMENT, "last_update_time > 5", "updated", 5),
        (Entity.MODEL, "name > 5 ", None, None),
        (Entity.MODEL, "last_updated_timestamp > 5", "updated", 5),
        (Entity.VERSION, "version_number > '5'", "version", 5),
        (Entity.VERSION, "creation_timestamp > 5", "created", 5),
    ],
)
def test_numbers_of_other_things(entity: Entity, text: str, key: str | None, value: object) -> None:
    if key is None:
        with pytest.raises(FilterError, match="is a string"):
            parse_filter(text, entity)
    else:
        assert parse_filter(text, entity) == (Comparison(Field(ATTRIBUTE, key), Operator.GT, value),)  # type: ignore[arg-type]


def test_joined_by_and_in_any_case() -> None:
    found = parse_filter("metrics.a > 1 and params.b='x' AND tags.c != 'y'\n", Entity.RUN)
    assert [comparison.field.key for comparison in found] == ["a", "b", "c"]


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_empty_filter_passes_everything(text: str) -> None:
    assert parse_filter(text, Entity.RUN) == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("statos = 'x'", "did you mean 'status'.*character 1:"),
        ("Metrics.auc > 1", "did you mean 'metrics'"),
        ("artifact_uri = 'x'", "has no attribute 'artifact_uri'"),
        ("auc > 0.5", "a metric is written metrics.auc"),
        ("status = 'RUNING'", "did you mean 'RUNNING'.*character 10:"),
        ("status IN ('FINISHED', 'DONE')", "never 'DONE'"),
        ("metrics.a > 1 OR metrics.b > 1", "no.* OR|OR is not.*character 15:"),
        ("metrics.a > 1 AND", "expected a comparison after AND .at the end"),
        ("AND metrics.a > 1", "no attribute 'AND'"),
        ("metrics.a > 1 metrics.b > 1", "expected AND or the end, found 'metrics.b'"),
        ("(metrics.a > 1)", "parentheses"),
        ("metrics.a == 1", "write '='"),
        ("metrics.a <> 1", "write '!='"),
        ("metrics.a >> 1", "'>>' is not an operator"),
        ("metrics.a", "expected an operator.*found the end"),
        ("metrics.a > ", "expected a value.*found the end"),
        ("metrics.a > '1'", "is a number"),
        ("metrics.a > high", "'high' is neither a number nor quoted"),
        ("metrics.a LIKE '1'", "LIKE compares strings"),
        ("metrics.a > 1e999", "beyond the range of double"),
        ("metrics.a > 99999999999999999999", "beyond the range of 64-bit"),
        ("metrics.a > 0x10", "'0x10' is neither"),
        ("metrics. > 1", "the key after 'metrics.' is missing"),
        ("metrics.`` > 1", "the key after 'metrics.' is missing"),
        ("tags.`x = 'y'", "the quote ` is never closed"),
        ("tags.x = 'y", "the quote ' is never closed"),
        ("tags.x = y", "'y' is neither"),
        ("tags.x = 5", "is a string: put the value in quotes"),
        ("tags.x > '5'", "> cannot compare strings"),
        ("params.x > '5'", "a number without quotes compares by value"),
        ("params.x > true", "> cannot compare with a boolean"),
        ("params.x LIKE 5", "LIKE cannot compare with a number"),
        ("tags.x IN 'a'", "expected a list"),
        ("tags.x IN ()", "expected a quoted string in the list"),
        ("tags.x IN ('a' 'b')", "expected ',' or '\\)'"),
        ("tags.x IN (1)", "expected a quoted string in the list"),
        ("tags.x NOT LIKE 'a'", "only IN can follow NOT"),
        ("tags.x IS 'a'", "expected NULL or NOT NULL"),
        ("status IS NULL", "never NULL"),
        ("datasets.name IS NULL", "never NULL"),
        ("datasets.nam = 'x'", "did you mean 'name'"),
        ("5 < metrics.a", "no attribute '5'"),
        ("tags.x = 'a\0b'", "cannot be part"),
        ("tags.x = '\ud800'", "cannot be part"),
    ],
)
def test_refused_with_a_reason(text: str, says: str) -> None:
    with pytest.raises(FilterError, match=says):
        parse_filter(text, Entity.RUN)


def test_runs_have_what_other_things_lack() -> None:
    with pytest.raises(FilterError, match=r"no kind of field of a model version: attributes\., tags\."):
        parse_filter("metrics.a > 1", Entity.VERSION)
    with pytest.raises(FilterError, match="an experiment has no attribute 'run_id'"):
        parse_filter("run_id = 'x'", Entity.EXPERIMENT)


def test_bounds() -> None:
    with pytest.raises(FilterError, match="more than 100 comparisons"):
        parse_filter(" AND ".join(["tags.x = 'y'"] * 101), Entity.RUN)
    with pytest.raises(FilterError, match="more than 10000 items"):
        parse_filter(f"run_id IN ({','.join(['1'.join(chr(39) * 2)] * 10_001)})", Entity.RUN)
    with pytest.raises(FilterError, match="too long"):
        parse_filter("x" * 500_001, Entity.RUN)


@pytest.mark.parametrize(
    ("clause", "field", "descending"),
    [
        ("metrics.auc DESC", Field(METRIC, "auc"), True),
        ("metrics.`a b` asc", Field(METRIC, "a b"), False),
        ("params.x", Field(PARAM, "x"), False),
        ("tags.`desc` desc", Field(TAG, "desc"), True),
        ("start_time", Field(ATTRIBUTE, "start_time"), False),
        (" attribute.Created  Desc ", Field(ATTRIBUTE, "start_time"), True),
    ],
)
def test_order_by(clause: str, field: Field, descending: bool) -> None:
    assert parse_order_by([clause], Entity.RUN) == (OrderKey(field, descending),)


def test_order_by_takes_the_first_of_equal_keys() -> None:
    found = parse_order_by(["Created DESC", "metrics.a", "start_time"], Entity.RUN)
    assert found == (OrderKey(Field(ATTRIBUTE, "start_time"), True), OrderKey(Field(METRIC, "a")))


@pytest.mark.parametrize(
    ("clause", "says"),
    [
        ("", "expected a field"),
        ("metrics.auc descending", "expected ASC, DESC or the end"),
        ("metrics.auc DESC metrics.b", "each key is a clause"),
        ("metrics.auc, metrics.b", "expected ASC, DESC or the end, found ','"),
        ("datasets.name", "data sets cannot be ordered by"),
        ("start_tme", "did you mean 'start_time'"),
    ],
)
def test_order_by_refused(clause: str, says: str) -> None:
    with pytest.raises(FilterError, match=says):
        parse_order_by([clause], Entity.RUN)


def test_no_more_is_asked_of_a_database_than_it_takes() -> None:
    """SQLite refuses more, which would be an error of the service."""
    assert len(parse_order_by([f"params.p{number}" for number in range(MOST_KEYS)], Entity.RUN)) == MOST_KEYS
    with pytest.raises(FilterError, match=r"order_by: 51 clauses are too many; at most 50 are accepted"):
        parse_order_by([f"params.p{number}" for number in range(MOST_KEYS + 1)], Entity.RUN)
    parse_filter(f"tags.a LIKE '{'x' * LONGEST_PATTERN}'", Entity.RUN)
    with pytest.raises(FilterError, match=r"a pattern has at most 10000 characters \(at character 14:"):
        parse_filter(f"tags.a ILIKE '{'x' * (LONGEST_PATTERN + 1)}'", Entity.RUN)


def test_order_by_is_no_single_string() -> None:
    with pytest.raises(FilterError, match="list of clauses"):
        parse_order_by("metrics.auc DESC", Entity.RUN)


def test_only_runs_are_ordered_by_tags() -> None:
    with pytest.raises(FilterError, match="experiments cannot be ordered by tags"):
        parse_order_by(["tags.x"], Entity.EXPERIMENT)


# --- any filter ------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
keys = texts.filter(bool)
numbers = st.floats(allow_nan=False, allow_infinity=False)
int64 = st.integers(-(2**63) + 1, 2**63 - 1)

TEXTUAL = [Operator.EQ, Operator.NE, Operator.LIKE, Operator.ILIKE]
LISTS = [Operator.IN, Operator.NOT_IN]
NUMERIC = [Operator.EQ, Operator.NE, Operator.GT, Operator.GE, Operator.LT, Operator.LE]
NULLS = [Operator.IS_NULL, Operator.IS_NOT_NULL]


def compared(
    fields: st.SearchStrategy[Field], *ways: tuple[list[Operator], st.SearchStrategy[object]]
) -> st.SearchStrategy[Comparison]:
    return st.one_of(*(st.builds(Comparison, fields, st.sampled_from(operators), values) for operators, values in ways))


textual = ((TEXTUAL, texts), (LISTS, st.lists(texts, min_size=1, max_size=4).map(tuple)))
nulls = (NULLS, st.none())
attributes = ATTRIBUTES[Entity.RUN]
comparisons = st.one_of(
    compared(st.builds(Field, st.just(METRIC), keys), (NUMERIC, numbers), nulls),
    compared(
        st.builds(Field, st.just(PARAM), keys),
        *textual,
        (NUMERIC, numbers),
        ([Operator.EQ, Operator.NE], st.booleans()),
        nulls,
    ),
    compared(st.builds(Field, st.just(TAG), keys), *textual, nulls),
    compared(st.builds(Field, st.just(DATASET), st.sampled_from(DATASET_KEYS)), *textual),
    compared(
        st.sampled_from([Field(ATTRIBUTE, a.name) for a in attributes if not a.number and not a.choices]), *textual
    ),
    compared(st.sampled_from([Field(ATTRIBUTE, a.name) for a in attributes if a.number]), (NUMERIC, int64 | numbers)),
    compared(st.sampled_from([Field(ATTRIBUTE, a.name) for a in attributes if a.nullable]), nulls),
)


@given(st.lists(comparisons, max_size=5).map(tuple))
def test_what_is_rendered_parses_to_the_same(filter: tuple[Comparison, ...]) -> None:
    again = parse_filter(render_filter(filter), Entity.RUN)
    assert again == filter
    assert [type(c.value) for c in again] == [type(c.value) for c in filter]
    assert [math.copysign(1, c.value) for c in again if type(c.value) is float] == [
        math.copysign(1, c.value) for c in filter if type(c.value) is float
    ]


@given(st.builds(OrderKey, st.builds(Field, st.sampled_from([METRIC, PARAM, TAG]), keys), st.booleans()))
def test_what_is_rendered_orders_the_same(key: OrderKey) -> None:
    assert parse_order_by([render_order_key(key)], Entity.RUN) == (key,)


pieces = st.sampled_from(
    "metrics. params. tags. datasets. attributes. status name auc ` ' \" ( ) , = != > >= < LIKE IN NOT IS NULL AND OR "
    "1 -5 .5 1e9 true 'x' \"y\" `z` ; . \\ %".split()
) | st.text(max_size=3)


@given(st.lists(pieces, max_size=8).map(" ".join) | st.lists(pieces, max_size=8).map("".join), st.sampled_from(Entity))
def test_garbage_raises_nothing_but_a_filter_error(text: str, entity: Entity) -> None:
    with contextlib.suppress(FilterError):
        parse_filter(text, entity)
    with contextlib.suppress(FilterError):
        parse_order_by([text], entity)


# --- against MLflow --------------------------------------------------------------------------------------------------

# The underscores keep MLflow's SQL tokenizer from seeing keywords.
plain_keys = st.from_regex(r"_[a-z0-9_]{0,8}(\._[a-z0-9_]{0,4})?", fullmatch=True)
quoted_keys = st.from_regex(r"[a-zA-Z0-9_./:-]( ?[a-zA-Z0-9_./:-]){0,8}", fullmatch=True)
plain_texts = st.from_regex(r"[A-Za-z0-9_%.:/ -]{0,12}", fullmatch=True)
prefixes = {
    METRIC: ["metrics", "metric"],
    PARAM: ["params", "param", "parameters", "parameter"],
    TAG: ["tags", "tag"],
    ATTRIBUTE: ["attributes", "attribute", "attr", "run"],
    DATASET: ["datasets", "dataset"],
}
mlflow_kinds = {"metric": METRIC, "parameter": PARAM, "tag": TAG, "attribute": ATTRIBUTE, "dataset": DATASET}


@st.composite
def mlflow_clauses(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(FieldKind))
    space = draw(st.sampled_from([" ", "  "]))
    if kind is ATTRIBUTE:
        key = draw(
            st.sampled_from(["run_id", "run_name", "user_id", "`run name`", "start_time", "end_time", "created"])
        )
        left = draw(st.sampled_from(["", *(f"{prefix}." for prefix in prefixes[kind])])) + key
    elif kind is DATASET:
        left = f"{draw(st.sampled_from(prefixes[kind]))}.{draw(st.sampled_from(DATASET_KEYS))}"
    else:
        key = draw(plain_keys | quoted_keys.map(lambda key: f"`{key}`") | quoted_keys.map(lambda key: f'"{key}"'))
        left = f"{draw(st.sampled_from(prefixes[kind]))}.{key}"
    if kind is METRIC or left.rpartition(".")[2] in ("start_time", "end_time", "created"):
        number = draw(st.integers(-(10**12), 10**12).map(str) | st.sampled_from(["0.5", ".25", "-1e-3", "1.5e10"]))
        return f"{left}{space}{draw(st.sampled_from(NUMERIC)).value}{space}{number}"
    if kind in (PARAM, TAG) and draw(st.booleans()):
        return f"{left}{space}{draw(st.sampled_from(['IS NULL', 'is null', 'IS NOT NULL', 'is not null']))}"
    if kind is DATASET or left.endswith("run_id"):
        items = draw(st.lists(plain_texts, min_size=1, max_size=3))
        if draw(st.booleans()):
            return f"{left} {draw(st.sampled_from(['IN', 'in', 'NOT IN']))} ({', '.join(map(repr, items))})"
    quote = draw(st.sampled_from("'\""))
    operator = draw(st.sampled_from(["=", "!=", "LIKE", "like", "ILIKE", "ilike"]))
    return f"{left} {operator} {quote}{draw(plain_texts)}{quote}"


@pytest.fixture(scope="module")
def mlflow_search() -> Any:
    return pytest.importorskip("mlflow.utils.search_utils").SearchUtils


@given(clauses=st.lists(mlflow_clauses(), min_size=1, max_size=4), joint=st.sampled_from([" AND ", " and "]))
def test_means_what_mlflow_means(mlflow_search: Any, clauses: list[str], joint: str) -> None:
    text = joint.join(clauses)
    ours = parse_filter(text, Entity.RUN)
    theirs = mlflow_search.parse_search_filter(text)
    assert len(ours) == len(theirs)
    names = {"name": "run_name", "user": "user_id"}
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.field.kind is mlflow_kinds[other["type"]]
        key = mlflow_search.translate_key_alias(other["key"])
        assert (names.get(mine.field.key, mine.field.key) if mine.field.kind is ATTRIBUTE else mine.field.key) == key
        assert mine.operator.value == other["comparator"].upper()
        expected = other["value"]
        assert mine.value == (float(expected) if mine.field.kind is METRIC else expected)


@given(
    kind=st.sampled_from([METRIC, PARAM, TAG]),
    key=plain_keys | quoted_keys.map(lambda key: f"`{key}`"),
    direction=st.sampled_from(["", " ASC", " desc", " DESC"]),
)
def test_orders_as_mlflow_orders(mlflow_search: Any, kind: FieldKind, key: str, direction: str) -> None:
    clause = f"{kind.value}.{key}{direction}"
    (found,) = parse_order_by([clause], Entity.RUN)
    other_kind, other_key, ascending = mlflow_search.parse_order_by_for_search_runs(clause)
    assert (found.field.kind, found.field.key, not found.descending) == (mlflow_kinds[other_kind], other_key, ascending)
