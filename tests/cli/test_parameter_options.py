"""``-p`` in both spellings, files and YAML: what a command line says about parameters."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from jupyter_mlops.cli.parameters import Given, ParametersCommand, parameter_options
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.parameters import declared
from jupyter_mlops.core.records import Json

DECLARED = declared('lr: float = 0.1\ndepth = 3\ncode: str = "a"\nwhen = None\n')


def resolve(*words: str) -> dict[str, Json]:
    """The parameters that a command gets from ``words``."""
    seen: list[dict[str, Json]] = []

    @click.command(cls=ParametersCommand)
    @click.argument("notebook")
    @parameter_options
    @click.option("--flag", is_flag=True)
    def command(notebook: str, given: Given, flag: bool) -> None:
        assert notebook == "n.ipynb"
        seen.append(given.resolve(DECLARED))

    result = CliRunner().invoke(command, list(words), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return seen[0]


@pytest.mark.parametrize(
    "words",
    [
        ("n.ipynb", "-p", "lr", "0.5", "-p", "depth", "7"),
        ("n.ipynb", "-p", "lr=0.5", "-p", "depth=7"),
        ("-p", "lr", "0.5", "-p", "depth=7", "n.ipynb"),
        ("-p", "lr=0.5", "n.ipynb", "-p", "depth", "7"),
        ("-plr=0.5", "--parameters=depth=7", "n.ipynb"),
        ("--parameters", "lr", "0.5", "--parameters", "depth=7", "n.ipynb", "--flag"),
        ("-p", "lr=0.5", "-p", "depth=7", "--", "n.ipynb"),
    ],
)
def test_both_spellings_and_any_order(words: tuple[str, ...]) -> None:
    assert resolve(*words) == {"lr": 0.5, "depth": 7}


def test_values_that_look_like_options_or_assignments() -> None:
    assert resolve("n.ipynb", "-p", "lr", "-0.5", "-p", "depth=-3", "-p", "code", "-p") == {
        "lr": -0.5,
        "depth": -3,
        "code": "-p",
    }
    assert resolve("n.ipynb", "-p", "code", "a=b", "-p", "when=x=y=") == {"code": "a=b", "when": "x=y="}
    assert resolve("n.ipynb", "-p", "code=", "-p", "when", "") == {"code": "", "when": ""}


def test_declared_types_decide_and_raw_stays_text() -> None:
    assert resolve("n.ipynb", "-p", "code=007") == {"code": "007"}
    assert resolve("n.ipynb", "-p", "when=007") == {"when": 7}
    assert resolve("n.ipynb", "-r", "when", "007") == {"when": "007"}
    assert resolve("n.ipynb", "-r", "when=007") == {"when": "007"}


def test_files_and_yaml_and_who_wins(tmp_path: Path) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text("lr: 1.5\ndepth: 1\nwhen: 2024-01-31\n")
    assert resolve("n.ipynb", "-f", str(file)) == {"lr": 1.5, "depth": 1, "when": "2024-01-31"}
    assert resolve("n.ipynb", "-p", "depth=3", "-y", "{depth: 2, lr: .inf}", "-f", str(file)) == {
        "lr": float("inf"),
        "depth": 3,
        "when": "2024-01-31",
    }
    assert resolve("n.ipynb", "-y", "when: {<<: {b: 1}, b: 2}") == {"when": {"b": 2}}
    json_file = tmp_path / "parameters.json"
    json_file.write_text('{"depth": 4, "when": {"a": [1, null]}}')
    assert resolve("n.ipynb", "-f", str(json_file)) == {"depth": 4, "when": {"a": [1, None]}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-p", "lr=1", "-p", "lr", "2"), "'lr' is given 2 times with -p"),
        (("-y", "[1, 2]"), "-y must be a mapping of names to values"),
        (("-y", "{a: [}"), "-y is no YAML"),
        (("-y", "{lr: 1, depth: 2, lr: 3}"), "-y is no YAML: 'lr' is there twice (line 1, column 19)"),
        (("-y", "{a: {b: 1, b: 2}}"), "'b' is there twice"),
        (("-y", "{!!str [a]: 1}"), "-y is no YAML"),
        (("-y", "{a: !!set {1}}"), "-y: parameter 'a': {1} (set) is no parameter value"),
    ],
)
def test_what_cannot_be_accepted_is_named(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        resolve("n.ipynb", *words)
    assert message in raised.value.message


def test_a_name_without_value_is_a_usage_error() -> None:
    with pytest.raises(click.UsageError):
        resolve("n.ipynb", "-p", "lr")
