"""What users may log, and how the rest is refused."""

from __future__ import annotations

import enum
import math
import struct
from array import array
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlops.core import values
from jupyter_mlops.core.batches import check_batch
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Batch, Dataset, Input, Metric, Param, Tag


class Colour(enum.Enum):
    RED = "red"
    BOTH = ("red", 1)


class Level(enum.IntEnum):
    HIGH = 3


class Opaque:
    def __str__(self) -> str:
        return "an opaque thing"


# --- params ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "plain", "text"),
    [
        (None, None, "None"),
        (True, True, "True"),
        (3, 3, "3"),
        (-(2**63), -(2**63), str(-(2**63))),
        (0.1, 0.1, "0.1"),
        (math.inf, math.inf, "inf"),
        ("", "", ""),
        ("two\nlines", "two\nlines", "two\nlines"),
        ([1, (2, "x")], [1, [2, "x"]], "[1, (2, 'x')]"),
        ({"a": {"b": None}}, {"a": {"b": None}}, "{'a': {'b': None}}"),
        (PurePosixPath("/data/x"), "/data/x", "/data/x"),
        (Colour.RED, "red", "Colour.RED"),
        (Colour.BOTH, ["red", 1], "Colour.BOTH"),
        (np.float64(0.1), 0.1, "0.1"),
        (np.float32(0.5), 0.5, "0.5"),
        (np.int64(3), 3, "3"),
        (np.bool_(True), True, "True"),
        (np.str_("x"), "x", "x"),
        (np.array([1, 2]), [1, 2], "[1 2]"),
        ([np.int64(1)], [1], str([np.int64(1)])),
        # What JSON cannot say is its text.
        (2**63, str(2**63), str(2**63)),
        ({1: 2}, "{1: 2}", "{1: 2}"),
        (b"x", "b'x'", "b'x'"),
        (Decimal("0.10"), "0.10", "0.10"),
        (Opaque(), "an opaque thing", "an opaque thing"),
        (int, "<class 'int'>", "<class 'int'>"),
        (np.float64, "<class 'numpy.float64'>", "<class 'numpy.float64'>"),
    ],
)
def test_param(value: object, plain: object, text: str) -> None:
    found = values.param("key", value)
    assert found == Param("key", plain, text)
    assert type(found.value) is type(plain)
    assert type(found.text) is str


def test_param_nan_stays_a_number() -> None:
    assert math.isnan(values.param("key", float("nan")).value)


def test_param_of_an_int_enumeration() -> None:
    found = values.param("key", Level.HIGH)
    assert found == Param("key", 3, str(Level.HIGH))
    assert type(found.value) is int


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("x" * 6001, r"parameter 'key'.*too long with 6001 characters; at most 6000"),
        (np.arange(9000), "a value of .* characters is too long"),
        (["x" * 6001], "too long"),
        ("a\0b", r"parameter 'key': the character '\\x00' at position 1"),
        ("\ud800", "cannot be stored"),
        (["\ud800"], "cannot be stored"),
        ({"a\0": 1}, "cannot be stored"),
    ],
)
def test_param_refused(value: object, says: str) -> None:
    with pytest.raises(InvalidValue, match=says):
        values.param("key", value)


def test_param_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidValue, match="nested deeper than 64"):
        values.param("key", loop)


def test_longest_param_is_accepted_whole() -> None:
    text = "é😀" * 3000
    assert values.param("key", text).text == text


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_json_values_stay_as_they_are(value: Any) -> None:
    found = values.param("key", value)
    # repr tells 1 from True and 1.0, and -0.0 from 0.0, and NaN is written alike.
    assert repr(found.value) == repr(value)
    assert repr(values.decode_json(values.encode_json(found.value))) == repr(value)
    assert repr(msgspec.msgpack.decode(msgspec.msgpack.encode(found.value))) == repr(value)


@given(
    st.one_of(json_values, st.binary(max_size=5), st.complex_numbers(), st.dates(), st.sets(st.integers(), max_size=3))
)
def test_any_value_is_accepted_as_its_text(value: Any) -> None:
    assert values.param("key", value).text == str(value)


# --- metrics ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, 0.5),
        (2, 2.0),
        (True, 1.0),
        (math.inf, math.inf),
        (np.float32(0.5), 0.5),
        (np.int8(3), 3.0),
        (np.bool_(False), 0.0),
        (np.array(1.5), 1.5),
        (np.array([[1.5]]), 1.5),
        (Decimal("1.5"), 1.5),
        (Fraction(1, 2), 0.5),
    ],
)
def test_metric(value: object, expected: float) -> None:
    found = values.metric("auc", value, step=3, timestamp=7)
    assert found == Metric("auc", expected, 7, 3)
    assert type(found.value) is float


@given(st.floats(), st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**63 - 1))
def test_metric_keeps_every_bit(value: float, step: int, timestamp: int) -> None:
    found = values.metric("auc", value, step=step, timestamp=timestamp)
    assert struct.pack("d", found.value) == struct.pack("d", value)
    assert (found.step, found.timestamp) == (step, timestamp)
    check_batch(Batch(metrics=(found,)))


def test_metric_time_is_now_in_milliseconds() -> None:
    assert 1.6e12 < values.metric("auc", 1).timestamp < 1e14


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("0.5", r"metric 'auc': '0.5' \(str\) is not a number; write float\('0.5'\)"),
        ("high", r"metric 'auc': 'high' \(str\) is not a number$"),
        (None, "None .NoneType. is not a number"),
        (1j, "complex"),
        (np.complex128(1), "complex"),
        ([1.0], "list"),
        (np.arange(2), "not a single number"),
        (10**400, "beyond the range"),
        (Opaque(), "is not a number"),
        (float, "is not a number"),
    ],
)
def test_metric_refused(value: object, says: str) -> None:
    with pytest.raises(InvalidValue, match=says):
        values.metric("auc", value)


@pytest.mark.parametrize("step", [np.int32(4), 4.0, np.float64(4), 4])
def test_step_may_be_any_integer(step: object) -> None:
    found = values.metric("auc", 1, step=step)
    assert found.step == 4
    assert type(found.step) is int


@pytest.mark.parametrize("step", [True, 1.5, "1", None, 2**63, -(2**63) - 1, math.nan, math.inf, np.bool_(True)])
def test_step_refused(step: object) -> None:
    with pytest.raises(InvalidValue, match="metric 'auc': step"):
        values.metric("auc", 1, step=step)


@pytest.mark.parametrize("timestamp", [-1, 2**63, "now"])
def test_timestamp_refused(timestamp: object) -> None:
    with pytest.raises(InvalidValue, match="metric 'auc': timestamp"):
        values.metric("auc", 1, timestamp=timestamp)


# --- names -----------------------------------------------------------------------------------------------------------

ACCEPTED_KEYS = ["a", "a b", "val/loss", "a.b", "a..b", ".hidden", "a:b-c_d", "clé 👍", "x" * 250, "@", "(a)"]
REFUSED_KEYS = [
    "",
    " ",
    "x" * 251,
    "a\nb",
    "a\0",
    "\x7f",
    "\ud800",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/./b",
    None,
    3,
]


@pytest.mark.parametrize("key", ACCEPTED_KEYS)
def test_key_accepted(key: str) -> None:
    assert values.param(key, 1).key == values.metric(key, 1).key == values.tag(key, 1).key == key


@pytest.mark.parametrize("key", REFUSED_KEYS)
def test_key_refused(key: Any) -> None:
    for make, what in ((values.param, "parameter"), (values.metric, "metric"), (values.tag, "tag")):
        with pytest.raises(InvalidValue, match=f"{what} key"):
            make(key, 1)


def test_mlflow_accepts_no_key_that_is_refused_here() -> None:
    # Except for names of blanks only, which nobody could see.
    validation = pytest.importorskip("mlflow.utils.validation")
    for key in REFUSED_KEYS:
        if isinstance(key, str) and key.strip() and len(key) <= 250:
            with pytest.raises(Exception, match="Invalid value"):
                validation._validate_metric_name(key)


@pytest.mark.parametrize(
    ("check", "accepted", "refused"),
    [
        (values.run_name, ["a/b: c", "x" * 250], ["", "x" * 251, "a\nb", None]),
        (values.experiment_name, ["/Shared/churn", "x" * 500], ["", "\t", "x" * 501, 5]),
        (values.model_name, ["churn model", "a.b"], ["", "a/b", "a:b", ".", "..", "x" * 251]),
        (
            values.alias_name,
            ["production", "über-1", "x" * 255],
            ["", "a b", "@x", "latest", "LATEST", "v1", "V12", "x" * 256],
        ),
        (
            values.artifact_path,
            ["a", "a/b.txt", "é/😀"],
            ["", "/a", "a/", "a//b", "../a", "a/..", "a\0", "a\\b", "x/" * 600 + "x"],
        ),
        (values.comment_text, ["hi\nthere"], ["", " \n", "a\0", "x" * 20_001, None]),
        (values.description, ["", "two\nlines"], ["a\0", "x" * 100_001, None]),
    ],
)
def test_names(check: Any, accepted: list[str], refused: list[object]) -> None:
    for text in accepted:
        assert check(text) == text
    for wrong in refused:
        with pytest.raises(InvalidValue):
            check(wrong)


# --- tags, data sets, batches ----------------------------------------------------------------------------------------


def test_tag_is_text() -> None:
    assert values.tag("k", 5) == Tag("k", "5")
    assert values.tag("k", "x" * 8000).value == "x" * 8000
    with pytest.raises(InvalidValue, match=r"tag 'k': value.*8001"):
        values.tag("k", "x" * 8001)
    with pytest.raises(InvalidValue, match="cannot be stored"):
        values.tag("k", "\0")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 501),
        ("digest", ""),
        ("digest", "a\nb"),
        ("source", "a\0"),
        ("schema", "x" * 1_048_576),
        ("profile", "\ud800"),
        ("rows", -1),
        ("rows", 2**63),
    ],
)
def test_data_set_refused(field: str, value: object) -> None:
    good = Dataset("churn", "abc", rows=5)
    assert values.dataset(good) == good
    bad = msgspec.structs.replace(good, **{field: value})
    with pytest.raises(InvalidValue, match="data set"):
        values.dataset(bad)
    with pytest.raises(InvalidValue, match="data set"):
        check_batch(Batch(inputs=(Input(bad),)))


def batch(**items: Any) -> Batch:
    return Batch(**items)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (batch(metrics=(Metric("a", 1, 0),)), None),
        (batch(metrics=(Metric("a", "1", 0),)), "is not a number"),  # type: ignore[arg-type]
        (batch(metrics=(Metric("a", 1.0, -1),)), "timestamp"),
        (batch(metrics=(Metric("a", 1.0, 0, 2**63),)), "step"),
        (batch(metrics=(Metric("a", 1.0, 0, True),)), "step"),
        (batch(metrics=(Metric("..", 1.0, 0),)), "metric key"),
        (batch(params=(Param("a", 1, "1"), Param("a", 2, "2"))), "given twice, as '1' and as '2'"),
        (batch(params=(Param("a", 1, "x" * 6001),)), "too long"),
        (batch(params=(Param("a", ["x" * 6001], "x"),)), "too long"),
        (batch(params=(Param("a", object(), "x"),)), "no JSON value"),
        (batch(params=(Param("a", 2**64, "x"),)), "out of range"),
        (batch(params=(Param("a", "\0", "x"),)), "cannot be stored"),
        (batch(tags=(Tag("a", "x" * 8001),)), "too long"),
        (batch(tags=(Tag("", "x"),)), "tag key"),
        (batch(inputs=(Input(Dataset("a", "b"), context="\0"),)), "context"),
    ],
)
def test_batch_refused(wrong: Batch, says: str | None) -> None:
    with pytest.raises(InvalidValue, match=says):
        check_batch(wrong)


def test_batch_accepted() -> None:
    check_batch(
        Batch(
            metrics=(Metric("a", math.nan, 0, -5), Metric("a", -0.0, 2**62)),
            params=(Param("p", [1, None], "[1, None]"), Param("p", [1, None], "[1, None]")),
            tags=(Tag("t", ""),),
            inputs=(Input(Dataset("d", "x", schema="{}"), "training", (Tag("k", "v"),)),),
        )
    )


def test_series_from_lists_and_arrays_are_the_same() -> None:
    plain = values.series("loss", [1, 0.5], steps=[3, 4], timestamps=[5, 6])
    assert plain == values.series("loss", np.array([1.0, 0.5]), steps=np.array([3, 4]), timestamps=array("q", [5, 6]))
    assert plain == values.series("loss", np.array([1.0, 0.5], dtype="f4"), steps=(3, 4), timestamps=[5, 6])
    assert plain == values.series("loss", np.array([1.0, 9.0, 0.5])[::2], steps=[3, 4], timestamps=[5, 6])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"values": []}, "there are no values"),
        ({"values": [1.0], "steps": [1, 2]}, "1 values have 2 steps"),
        ({"values": ["a"]}, r"values\[0\]"),
        ({"values": "12"}, "no sequence"),
        ({"values": 3.0}, "no sequence"),
        ({"values": [1.0], "steps": [1.5]}, r"steps\[0\]"),
        ({"values": [1.0], "steps": [2**63]}, r"steps\[0\]"),
        ({"values": [1.0], "timestamps": [-1]}, "timestamp is 0 or later"),
    ],
)
def test_a_series_that_is_none_is_refused_by_name(given: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidValue, match=told):
        values.series("loss", **given)
