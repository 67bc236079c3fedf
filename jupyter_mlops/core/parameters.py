"""The notebook's ``parameters`` cell: what it declares, and whether given values fit, before a kernel starts.

A type that is written down (``depth: int = 3`` or ``depth = 3  # type: int``) is strict. One that only shows in the
default is a kind: an int default also takes a float, None takes anything.
"""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from jupyter_mlops.core.errors import InvalidValue, ParameterTypeError, UnknownParameter
from jupyter_mlops.core.parameter_types import ANY, ParameterType, example, fits, parse_type, type_schema
from jupyter_mlops.core.records import Json, Param
from jupyter_mlops.core.redaction import is_secret_name
from jupyter_mlops.core.suggestions import closest
from jupyter_mlops.core.values import param, short


class Declared(msgspec.Struct, frozen=True, omit_defaults=True):
    """One parameter as the notebook declares it."""

    name: str
    type: str = ""
    """As written, such as ``int | None``; of an unannotated literal the name of its kind; empty when unknown."""
    strict: bool = False
    """The type was written down."""
    has_default: bool = False
    """``default`` is known, since the code gives it as a literal."""
    default: Json = None
    default_text: str = ""
    """The default's source code (the whole statement, where that is no plain assignment); empty when there is none."""
    help: str = ""
    """The comment behind it."""


def declared(source: str) -> tuple[Declared, ...] | None:
    """What a Python ``parameters`` cell declares, in its order; None when it is not Python that can be read.

    Lines of IPython magics are passed over. A name that is assigned in another way than ``name = value`` (in an ``if``,
    by a loop) is known without a type.
    """
    for text in _readings(source):
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        comments = _comments(text)
        found: dict[str, Declared] = {}
        for statement in tree.body:
            for parameter in _from_statement(statement, text, comments.get(statement.end_lineno or 0, "")):
                found[parameter.name] = parameter
        return tuple(found.values())
    return None


def from_inspection(parameters: Mapping[str, Mapping[str, str]]) -> tuple[Declared, ...]:
    """What ``papermill.inspect_notebook`` says, for languages that :func:`declared` cannot read: names, without types
    that could be checked."""
    return tuple(
        Declared(name, default_text=found.get("default", ""), help=found.get("help", ""))
        for name, found in parameters.items()
    )


def check(
    declared: Sequence[Declared] | None, given: Mapping[str, Json], *, allow_unknown: bool = False
) -> dict[str, Json]:
    """The given values, after each has been found to be declared and to fit. None declares nothing that could be
    checked, and passes everything.

    Raises
    ------
    UnknownParameter
        Names that the notebook does not declare (unless ``allow_unknown``).
    ParameterTypeError
        A value that does not fit its type.
    """
    if declared is None:
        return dict(given)
    by_name = {parameter.name: parameter for parameter in declared}
    unknown = [name for name in given if name not in by_name]
    if unknown and not allow_unknown:
        raise UnknownParameter(_unknown_message(unknown, list(by_name)))
    for name, value in given.items():
        parameter = by_name.get(name)
        if parameter is not None and not fits(value, type_of(parameter)):
            raise ParameterTypeError(_type_message(parameter, value))
    return dict(given)


def type_of(parameter: Declared) -> ParameterType:
    """The type that values are held to. A kind is wider than the type of its default: a number for an int, anything
    for None."""
    if not parameter.strict and parameter.type == "int":
        return ParameterType("float")
    if not parameter.type or (not parameter.strict and parameter.type == "None"):
        return ANY
    return parse_type(parameter.type)


def parse_value(text: str) -> Json:
    """The value of a text on the command line, by papermill's rule: True, False, None, an integer, a number, or the
    text itself."""
    constants: dict[str, Json] = {"True": True, "False": False, "None": None}
    if text in constants:
        return constants[text]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def resolve_text(parameter: Declared | None, text: str) -> Json:
    """The value of a text on the command line for a declared parameter.

    As :func:`parse_value`, except that a declared string keeps its text (``-p code 007``), a declared boolean also
    takes ``true`` and ``false``, and a declared list, tuple or dict is read as a literal of Python or JSON. What does
    not fit is left to :func:`check` to refuse.
    """
    if parameter is None:
        return parse_value(text)
    type_ = type_of(parameter)
    candidates = [parse_value(text), text]
    if text.lower() in ("true", "false"):
        candidates.insert(0, text.lower() == "true")
    if text.lstrip()[:1] in ("[", "{", "("):
        candidates.insert(0, _structure(text))
    if type_ is not ANY:
        for candidate in candidates:
            if fits(candidate, type_):
                return candidate
    return parse_value(text)


def json_schema(declared: Sequence[Declared] | None) -> dict[str, Any]:
    """A JSON Schema (2020-12) of the values that :func:`check` takes, for making a form.

    Secrets are ``writeOnly``; a default that JSON cannot say is, as its code, ``x-default``.
    """
    properties: dict[str, Any] = {}
    for parameter in declared or ():
        schema = type_schema(type_of(parameter))
        if parameter.help:
            schema["description"] = parameter.help
        if is_secret_name(parameter.name):
            schema["writeOnly"] = True
        if parameter.has_default and _is_standard_json(parameter.default):
            schema["default"] = parameter.default
        elif parameter.default_text:
            schema["x-default"] = parameter.default_text
        properties[parameter.name] = schema
    return {
        "type": "object",
        "properties": properties,
        "required": [p.name for p in declared or () if not p.default_text],
        "additionalProperties": declared is None,
    }


def recordable(values: Mapping[str, Json]) -> tuple[list[Param], list[str]]:
    """The parameters that a record takes, and the names of those that are too long for it."""
    params, large = [], []
    for name, value in values.items():
        try:
            params.append(param(name, value))
        except InvalidValue:
            large.append(name)
    return params, large


def _is_standard_json(value: Json) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


# --- messages --------------------------------------------------------------------------------------------------------

_TEXT_TO_YAML = re.compile(r"([+-]?[0-9]+)[eE]([+-]?)([0-9]+)")
"""Numbers to everybody else."""


def _unknown_message(unknown: list[str], known: list[str]) -> str:
    hints = [
        f"{name!r} (did you mean {close!r}?)" if (close := closest(name, known)) else repr(name) for name in unknown
    ]
    if known:
        has = f"the notebook has {', '.join(known)}"
    else:
        has = "the notebook declares none; tag the cell that sets the defaults with 'parameters'"
    return f"unknown parameter{'s' * (len(unknown) > 1)} {', '.join(hints)}: {has}"


def _type_message(parameter: Declared, value: Json) -> str:
    type_ = type_of(parameter)
    usable = parameter.has_default and fits(parameter.default, type_) and parameter.default is not None
    right = parameter.default if usable else example(type_)
    how = "is declared as" if parameter.strict else "has a default of the kind"
    message = (
        f"parameter {parameter.name!r} {how} {parameter.type}, but the value given is {short(value)} "
        f"({type(value).__name__}); right would be, for example, {short(right)}"
    )
    written = _TEXT_TO_YAML.fullmatch(value) if isinstance(value, str) and fits(1.5, type_) else None
    if written is not None:
        message += f". To YAML, {value} is a text, and {written[1]}.0e{written[2] or '+'}{written[3]} a number"
    return message


# --- reading the cell ------------------------------------------------------------------------------------------------

_MAGIC = re.compile(r"^(?P<indent>\s*)(?:[%!?].*|[\w.]+\?{1,2}\s*)$")
_MAGIC_VALUE = re.compile(r"^(?P<left>\s*[A-Za-z_]\w*\s*=\s*)[%!].*$")
_TYPE_COMMENT = re.compile(r"type:\s*(?P<type>[\w.]+(?:\[[^#]*\])?(?:\s*\|\s*[\w.]+(?:\[[^#]*\])?)*)\s*(?P<help>.*)")


def _readings(source: str) -> Iterator[str]:
    """The texts that may be the Python of a cell."""
    yield source
    # Only now, since a line inside a string may look like a magic.
    cell_magic = re.match(r"\s*%%(\w*)", source)
    if cell_magic is None or cell_magic[1] in ("time", "timeit", "capture", "prun"):
        lines = source.split("\n")
        yield "\n".join(_MAGIC.sub(r"\g<indent>pass", _MAGIC_VALUE.sub(r"\g<left>...", line)) for line in lines)


def _comments(source: str) -> dict[int, str]:
    """Comments of source that parses, without the ``#``, by their line."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("#").strip() for token in tokens if token.type == tokenize.COMMENT}


def _from_statement(statement: ast.stmt, source: str, comment: str) -> list[Declared]:
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        written = ast.get_source_segment(source, statement.annotation) or ast.unparse(statement.annotation)
        return [_declare(statement.target.id, statement.value, source, written, _split_comment(comment)[1])]
    if isinstance(statement, ast.Assign) and all(isinstance(target, ast.Name) for target in statement.targets):
        written, help_text = _split_comment(comment)
        names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
        return [_declare(name, statement.value, source, written, help_text) for name in names]
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return []
    text = ast.get_source_segment(source, statement) or ""
    return [
        Declared(node.id, default_text=text)
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]


def _split_comment(comment: str) -> tuple[str, str]:
    """Type and help of a comment."""
    match = _TYPE_COMMENT.fullmatch(comment)
    if match is None:
        return "", comment
    if match["type"].startswith("ignore"):
        return "", ""
    return match["type"], match["help"]


def _declare(name: str, value: ast.expr | None, source: str, written: str, help_text: str) -> Declared:
    default, has_default = _literal(value)
    text = "" if value is None else ast.get_source_segment(source, value) or ast.unparse(value)
    inferred = ""
    if has_default and not written:
        inferred = "None" if default is None else type(default).__name__
    return Declared(
        name=name,
        type=written or inferred,
        strict=bool(written),
        has_default=has_default,
        default=list(default) if isinstance(default, tuple) else default,
        default_text=text,
        help=help_text,
    )


def _literal(node: ast.expr | None) -> tuple[Json, bool]:
    """The value of a literal that JSON can say (and ``float("nan")``), and whether it is one."""
    if node is None:
        return None, False
    sign = 1.0
    inner = node
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        sign, inner = -1.0, node.operand
    if (
        isinstance(inner, ast.Call)
        and isinstance(inner.func, ast.Name)
        and inner.func.id == "float"
        and len(inner.args) == 1
        and isinstance(inner.args[0], ast.Constant)
        and isinstance(inner.args[0].value, str | int | float)
    ):
        number = parse_value(str(inner.args[0].value))
        return (sign * number, True) if isinstance(number, int | float) else (None, False)
    try:
        value = ast.literal_eval(node)
        json.dumps(value)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None, False
    return value, True


def _structure(text: str) -> Json:
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        pass
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
