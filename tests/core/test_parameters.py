"""The parameters cell: what it declares, and what fits."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlops.core.errors import ParameterTypeError, UnknownParameter
from jupyter_mlops.core.parameters import (
    Declared,
    check,
    declared,
    from_inspection,
    json_schema,
    parse_value,
    resolve_text,
)


def only(source: str) -> Declared:
    found = declared(source)
    assert found is not None
    (parameter,) = found
    return parameter


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1", Declared("x", "int", False, True, 1, "1")),
        ("x = -1.5  # share", Declared("x", "float", False, True, -1.5, "-1.5", "share")),
        ("x = 'a'", Declared("x", "str", False, True, "a", "'a'")),
        ("x = None", Declared("x", "None", False, True, None, "None")),
        ("x = (1, 2)", Declared("x", "tuple", False, True, [1, 2], "(1, 2)")),
        ("x: int = 1 # how deep", Declared("x", "int", True, True, 1, "1", "how deep")),
        ("x: 'int | None' = None", Declared("x", "'int | None'", True, True, None, "None")),
        ("x = 1  # type: int how deep", Declared("x", "int", True, True, 1, "1", "how deep")),
        ("x = []  # type: dict[str, int] | None", Declared("x", "dict[str, int] | None", True, True, [], "[]")),
        ("x = 1  # type: ignore", Declared("x", "int", False, True, 1, "1")),
        ("x: int", Declared("x", "int", True)),
        ("x = f(3)", Declared("x", default_text="f(3)")),
        ("x = {1, 2}", Declared("x", default_text="{1, 2}")),
        (
            "x = [\n  1,  # one\n  2,\n]  # all",
            Declared("x", "list", False, True, [1, 2], "[\n  1,  # one\n  2,\n]", "all"),
        ),
        ("if y:\n    x = 1", Declared("x", default_text="if y:\n    x = 1")),
        ("x = 1\nx = 'a'", Declared("x", "str", False, True, "a", "'a'")),
        ("%matplotlib inline\nx = 1  # one\n!ls", Declared("x", "int", False, True, 1, "1", "one")),
        ("%%time\nx = 1", Declared("x", "int", False, True, 1, "1")),
        ("x = '''\n%not magic\n'''", Declared("x", "str", False, True, "\n%not magic\n", "'''\n%not magic\n'''")),
        ("x = 1\r\nimport os\r\ndef f(): y = 2\r\n", Declared("x", "int", False, True, 1, "1")),
        ("größe = 'é'  # naïve", Declared("größe", "str", False, True, "é", "'é'", "naïve")),
        ("x = float('-inf')", Declared("x", "float", False, True, -math.inf, "float('-inf')")),
    ],
)
def test_declared(source: str, expected: Declared) -> None:
    assert only(source) == expected


def test_nan_default_is_a_float() -> None:
    parameter = only("x = float('nan')")
    assert parameter.type == "float"
    assert math.isnan(parameter.default)


def test_order_and_several_names() -> None:
    found = declared("b = 1\na = c = 2\nd, (e, *f) = 1, (2, 3)\nfor g in []: pass\nwith open(x) as h: pass")
    assert [parameter.name for parameter in found or ()] == list("bacdefgh")


@pytest.mark.parametrize("source", ["x = ((", "%%bash\nls", "%%R\nx <- 1", "x = 1\0", "(" * 300 + ")" * 300 + "="])
def test_unreadable_cells_declare_nothing_that_could_be_checked(source: str) -> None:
    assert declared(source) is None
    assert check(None, {"anything": 1}) == {"anything": 1}


def test_empty_cell_declares_no_parameter() -> None:
    assert declared("# nothing\n") == ()
    with pytest.raises(UnknownParameter, match="declares none"):
        check((), {"x": 1})


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["x", "=", "1", ":", "int", "#", "\n", "%", "'", "(", "[", " "]), max_size=15).map(
        "".join
    )
)
def test_any_cell_is_read_or_passed_over(source: str) -> None:
    found = declared(source)
    assert found is None or all(isinstance(parameter, Declared) for parameter in found)


ANY_JSON: list[Any] = [None, True, 1, 1.5, math.nan, "1", "", [], [1], [1.5], ["a"], [1, "a"], {}, {"a": 1}, {"a": "b"}]


@pytest.mark.parametrize(
    ("source", "fitting"),
    [
        # Written down: strict.
        ("x: int = 1", [1]),
        ("x = 1 # type: int", [1]),
        ("x: float = 1", [1, 1.5, math.nan]),
        ("x: bool = True", [True]),
        ("x: str = ''", ["1", ""]),
        ("x: None = None", [None]),
        ("x: int | None = 1", [None, 1]),
        ("x: Optional[float] = None", [None, 1, 1.5, math.nan]),
        ("x: typing.Union[int, str] = 1", [1, "1", ""]),
        ("x: list = []", [[], [1], [1.5], ["a"], [1, "a"]]),
        ("x: list[int] = []", [[], [1]]),
        ("x: List[float] = []", [[], [1], [1.5]]),
        ("x: Sequence[int | str] = []", [[], [1], ["a"], [1, "a"]]),
        ("x: tuple[int, str] = (1, 'a')", [[1, "a"]]),
        ("x: tuple[int, ...] = ()", [[], [1]]),
        ("x: dict = {}", [{}, {"a": 1}, {"a": "b"}]),
        ("x: dict[str, int] = {}", [{}, {"a": 1}]),
        ("x: Literal['1', 1] = 1", [1, "1"]),
        ("x: Annotated[int, 'deep'] = 1", [1]),
        ("x: pathlib.Path = Path('.')", ["1", ""]),
        ("x: Any = 1", ANY_JSON),
        ("x: np.ndarray = 1", ANY_JSON),
        ("x: 'int' = 1", [1]),
        # Shown by the default: a kind.
        ("x = 1", [1, 1.5, math.nan]),
        ("x = 1.5", [1, 1.5, math.nan]),
        ("x = float('nan')", [1, 1.5, math.nan]),
        ("x = True", [True]),
        ("x = ''", ["1", ""]),
        ("x = [1]", [[], [1], [1.5], ["a"], [1, "a"]]),
        ("x = {}", [{}, {"a": 1}, {"a": "b"}]),
        ("x = None", ANY_JSON),
        ("x = f()", ANY_JSON),
    ],
)
def test_what_fits(source: str, fitting: list[Any]) -> None:
    parameters = declared(source)
    for value in ANY_JSON:
        if any(repr(value) == repr(other) for other in fitting):
            assert repr(check(parameters, {"x": value})) == repr({"x": value})
        else:
            with pytest.raises(ParameterTypeError, match="parameter 'x'"):
                check(parameters, {"x": value})


def test_type_error_says_what_is_wrong_and_what_is_right() -> None:
    parameters = declared("depth: int = 7\nkind: Literal['a', 'b'] = f()\nn = 1")
    with pytest.raises(ParameterTypeError) as caught:
        check(parameters, {"depth": "7"})
    assert caught.value.message == (
        "parameter 'depth' is declared as int, but the value given is '7' (str); right would be, for example, 7"
    )
    for written, right in (("1e-3", "1.0e-3"), ("-2E5", "-2.0e+5")):
        with pytest.raises(ParameterTypeError) as caught:
            check(declared("lr = 0.1"), {"lr": written})
        assert caught.value.message.endswith(f"To YAML, {written} is a text, and {right} a number")
        assert yaml.safe_load(f"[{written}, {right}]") == [written, float(written)]
    with pytest.raises(ParameterTypeError, match="right would be, for example, 'a'"):
        check(parameters, {"kind": "c"})
    with pytest.raises(ParameterTypeError, match="'n' has a default of the kind int"):
        check(parameters, {"n": True})


def test_unknown_names() -> None:
    parameters = declared("learning_rate = 0.1\ndepth = 3")
    with pytest.raises(UnknownParameter) as caught:
        check(parameters, {"learnign_rate": 1, "zzz": 2, "depth": 4})
    assert caught.value.message == (
        "unknown parameters 'learnign_rate' (did you mean 'learning_rate'?), 'zzz': "
        "the notebook has learning_rate, depth"
    )
    assert check(parameters, {"zzz": 2}, allow_unknown=True) == {"zzz": 2}
    with pytest.raises(ParameterTypeError):
        check(parameters, {"zzz": 2, "depth": "x"}, allow_unknown=True)


def test_other_languages_are_known_by_name() -> None:
    found = from_inspection({"n": {"name": "n", "inferred_type_name": "None", "default": "1L", "help": "count"}})
    assert found == (Declared("n", default_text="1L", help="count"),)
    assert check(found, {"n": "anything"}) == {"n": "anything"}
    with pytest.raises(UnknownParameter, match=r"unknown parameter 'nn'.*: the notebook has n$"):
        check(found, {"nn": 1})


@pytest.mark.parametrize(
    "text", ["True", "False", "None", "3", "-3", "1_000", "1e3", ".5", "nan", "inf", "true", "a b", "", "0x1", " 5 "]
)
def test_texts_read_as_papermill_reads_them(text: str) -> None:
    cli = pytest.importorskip("papermill.cli")
    expected = cli._resolve_type(text)
    assert repr(parse_value(text)) == repr(resolve_text(None, text)) == repr(expected)


@pytest.mark.parametrize(
    ("source", "text", "value"),
    [
        ("x: str", "007", "007"),
        ("x = ''", "None", "None"),
        ("x = ''", "True", "True"),
        ("x: str | None", "None", None),
        ("x: int | str", "5", 5),
        ("x: int", "5", 5),
        ("x: int", "5.5", 5.5),
        ("x: float", "1e-3", 0.001),
        ("x: bool", "true", True),
        ("x = False", "FALSE", False),
        ("x: int", "true", "true"),
        ("x: list[int]", "[1, 2]", [1, 2]),
        ("x = {}", '{"a": null}', {"a": None}),
        ("x = {}", "{'a': None}", {"a": None}),
        ("x: list[int]", "[1, 'a']", "[1, 'a']"),
        ("x: list[int]", "[1,", "[1,"),
        ("x = ''", "[1]", "[1]"),
        ("x = None", "[1]", "[1]"),
        ("x = None", "5", 5),
        ("x: Literal['1', '2']", "1", "1"),
        ("x: Literal[1, 2]", "1", 1),
    ],
)
def test_texts_read_as_the_declared_type(source: str, text: str, value: Any) -> None:
    assert repr(resolve_text(only(source), text)) == repr(value)


@given(
    st.text(max_size=20),
    st.sampled_from(["int", "float", "bool", "str", "list[int]", "dict", "int | None", "Literal['a']", "Any"]),
)
def test_any_text_reads_as_something(text: str, annotation: str) -> None:
    parameter = only(f"x: {annotation}")
    found = resolve_text(parameter, text)
    assert annotation != "str" or found == text


def test_json_schema() -> None:
    parameters = declared(
        "lr: float = 0.1  # step\nn = 3\nopt: int | None = None\nkind: Literal['a', 'b'] = 'a'\nxs: list[int] = []\n"
        "pair: tuple[int, str] = (1, 'a')\nd: dict[str, float] = {}\nreq: str\nnan = float('nan')\nany = f()\n"
        "api_key = ''"
    )
    assert json_schema(parameters) == {
        "type": "object",
        "properties": {
            "lr": {"type": "number", "description": "step", "default": 0.1},
            "n": {"type": "number", "default": 3},
            "opt": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
            "kind": {"enum": ["a", "b"], "default": "a"},
            "xs": {"type": "array", "items": {"type": "integer"}, "default": []},
            "pair": {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"type": "string"}],
                "minItems": 2,
                "maxItems": 2,
                "default": [1, "a"],
            },
            "d": {"type": "object", "additionalProperties": {"type": "number"}, "default": {}},
            "req": {"type": "string"},
            "nan": {"type": "number", "x-default": "float('nan')"},
            "any": {"x-default": "f()"},
            "api_key": {"type": "string", "writeOnly": True, "default": ""},
        },
        "required": ["req"],
        "additionalProperties": False,
    }
    assert json_schema(None)["additionalProperties"] is True
