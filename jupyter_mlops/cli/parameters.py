"""How parameters are given: papermill's options, and ``-p NAME=VALUE`` beside its ``-p NAME VALUE``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click
import msgspec

from jupyter_mlops.cli.options import given_text
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.parameters import Declared, resolve_text
from jupyter_mlops.core.records import Json
from jupyter_mlops.core.values import DEEPEST_JSON, short

_PAIRS = ("-p", "--parameters", "-r", "--parameters_raw")
"""Options that take two words, or one with an equals sign."""
_MOST_VALUES = 100_000
_ASSIGNMENT = re.compile(r"(?P<name>[^=]+)=(?P<value>.*)", re.DOTALL)


class ParametersCommand(click.Command):
    """A command on which ``-p NAME=VALUE`` means ``-p NAME VALUE``: a parameter's name holds no equals sign."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _in_two_words(args))


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a command line, before the notebook has said what types they have."""

    typed: Sequence[tuple[str, str]] = ()
    raw: Sequence[tuple[str, str]] = ()
    yaml: Sequence[str] = ()
    files: Sequence[Path] = ()

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.resolve(None))

    def texts(self) -> dict[str, Json]:
        """The values where no notebook says their types: all of ``-p`` and ``-r`` is text."""
        return Given(raw=[*self.typed, *self.raw], yaml=self.yaml, files=self.files).resolve(None)

    def resolve(self, declared: Sequence[Declared] | None) -> dict[str, Json]:
        """Values by name. As with papermill, ``-y`` wins over ``-f``, ``-p`` over both, and ``-r`` over all.

        Raises
        ------
        InvalidValue
            A file or text that is no mapping, or one name twice among the ``-p`` or ``-r``.
        """
        by_name = {parameter.name: parameter for parameter in declared or ()}
        values: dict[str, Json] = {}
        for path in self.files:
            values.update(_mapping(given_text(path), f"the parameters file {path}"))
        for text in self.yaml:
            values.update(_mapping(text, "-y"))
        for name, text in _once(self.typed, "-p"):
            values[name] = resolve_text(by_name.get(name), text)
        values.update(_once(self.raw, "-r"))
        return values


def parameter_options(function: Callable[..., None]) -> Callable[..., None]:
    """Papermill's options for parameters, by papermill's names; the command gets them as ``given``."""

    @click.option(
        "--parameters",
        "-p",
        nargs=2,
        multiple=True,
        metavar="NAME VALUE",
        help="A parameter; NAME=VALUE is possible too. Repeatable.",
    )
    @click.option(
        "--parameters_raw", "-r", nargs=2, multiple=True, metavar="NAME VALUE", help="A parameter read as a string."
    )
    @click.option("--parameters_yaml", "-y", multiple=True, metavar="YAML", help="Parameters as a YAML mapping.")
    @click.option(
        "--parameters_file",
        "-f",
        multiple=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="PATH",
        help="A YAML or JSON file with parameters.",
    )
    @wraps(function)
    def command(
        *args: Any,
        parameters: Sequence[tuple[str, str]],
        parameters_raw: Sequence[tuple[str, str]],
        parameters_yaml: Sequence[str],
        parameters_file: Sequence[Path],
        **others: Any,
    ) -> None:
        given = Given(typed=parameters, raw=parameters_raw, yaml=parameters_yaml, files=parameters_file)
        function(*args, given=given, **others)

    return command


def _in_two_words(args: Sequence[str]) -> list[str]:
    result: list[str] = []
    words = iter(args)
    for word in words:
        option, name, value = _split(word)
        if word == "--":
            result.extend([word, *words])
        elif name is not None and value is not None:
            result.extend([option, name, value])
        elif word in _PAIRS:
            result.append(word)
            pair = next(words, None)
            found = _ASSIGNMENT.fullmatch(pair) if pair is not None else None
            if found is not None:
                result.extend([found["name"], found["value"]])
            elif pair is not None:
                # The value may look like an option: it belongs to this one.
                result.extend([pair, *([value] if (value := next(words, None)) is not None else [])])
        else:
            result.append(word)
    return result


def _split(word: str) -> tuple[str, str | None, str | None]:
    """``-pNAME=VALUE`` and ``--parameters=NAME=VALUE`` in their parts."""
    for option in _PAIRS:
        prefix = f"{option}=" if option.startswith("--") else option
        rest = word.removeprefix(prefix) if word.startswith(prefix) else ""
        found = _ASSIGNMENT.fullmatch(rest)
        if found is not None:
            return option, found["name"], found["value"]
    return word, None, None


def _once(pairs: Sequence[tuple[str, str]], option: str) -> Sequence[tuple[str, str]]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise InvalidValue(f"the parameter {name!r} is given {names.count(name)} times with {option}; give it once")
    return pairs


def _mapping(text: str, where: str) -> dict[str, Json]:
    import yaml

    try:
        found = yaml.load(text, Loader=_loader())
    except (RecursionError, ValueError) as error:
        what = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise InvalidValue(f"{where} cannot be read: {what}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
        raise InvalidValue(f"{where} is no YAML: {getattr(error, 'problem', None) or error}{place}") from error
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise InvalidValue(f"{where} must be a mapping of names to values, such as {{depth: 3}}")
    left = iter(range(_MOST_VALUES))
    return {name: _json(value, f"{where}: parameter {name!r}", left) for name, value in found.items()}


def _loader() -> Any:
    """YAML without dates, as papermill's: ``day: 2024-01-31`` is a string. A name that is given twice is an error,
    where others take the last one."""
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012 - declared so by its base
            first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            # What `<<` brings may be given anew.
            names: set[str] = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                    continue
                if key.value in names:
                    told = f"{short(key.value)} is there twice"
                    raise yaml.constructor.ConstructorError(None, None, told, key.start_mark)
                names.add(key.value)
            return super().construct_mapping(node, deep)

    return Loader


def _json(value: object, what: str, left: Iterator[int], depth: int = 0) -> Json:
    """YAML knows sets and bytes, parameters do not. And a few lines of it can stand, by aliases, for more values than
    any memory holds, or for endless ones: as many are taken as there are ``left``."""
    if next(left, None) is None or depth > DEEPEST_JSON:
        raise InvalidValue(
            f"{what}: too much; all parameters together are at most {_MOST_VALUES} values, in lists and mappings of at "
            f"most {DEEPEST_JSON} levels"
        )
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [_json(item, what, left, depth + 1) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _json(item, what, left, depth + 1) for key, item in value.items()}
    raise InvalidValue(
        f"{what}: {short(value)} ({type(value).__name__}) is no parameter value; quote it to make it a string"
    )
