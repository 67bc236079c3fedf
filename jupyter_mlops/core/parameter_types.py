"""Type annotations as written in a ``parameters`` cell: which JSON values fit them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import msgspec

from jupyter_mlops.core.records import Json


class ParameterType(msgspec.Struct, frozen=True):
    """A type as far as it can be told from its text.

    ``name`` is ``int``, ``float``, ``bool``, ``str``, ``none``, ``list``, ``tuple``, ``dict``, ``union``,
    ``literal`` or ``any``; ``of`` holds the types inside (of a dict, that of the values), ``choices`` the values of a
    literal.
    """

    name: str
    of: tuple[ParameterType, ...] = ()
    choices: tuple[Json, ...] = ()


ANY = ParameterType("any")
NONE = ParameterType("none")

_SIMPLE: dict[str, str] = {
    "int": "int",
    "float": "float",
    "bool": "bool",
    "str": "str",
    # A path can only be given as its text.
    "Path": "str",
    "PurePath": "str",
    "PathLike": "str",
    "None": "none",
    "NoneType": "none",
    **dict.fromkeys(("list", "List", "Sequence", "MutableSequence", "Iterable", "Collection"), "list"),
    **dict.fromkeys(("tuple", "Tuple"), "tuple"),
    **dict.fromkeys(("dict", "Dict", "Mapping", "MutableMapping"), "dict"),
}
_TRANSPARENT = ("Annotated", "Final", "ClassVar")


def parse_type(text: str) -> ParameterType:
    """The type that an annotation's text says; ``any`` where it is none that can be checked."""
    try:
        return _from_node(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ANY


def _from_node(node: ast.expr) -> ParameterType:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return parse_type(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union(_from_node(node.left), _from_node(node.right))
    if isinstance(node, ast.Subscript):
        return _from_subscript(node)
    name = _name(node)
    return ParameterType(_SIMPLE[name]) if name in _SIMPLE else ANY


def _from_subscript(node: ast.Subscript) -> ParameterType:
    outer = _name(node.value)
    inner = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
    if outer == "Literal":
        return _literal(inner)
    if outer in ("Optional", "Union"):
        return _union(*(_from_node(item) for item in inner), *([NONE] if outer == "Optional" else []))
    if outer in _TRANSPARENT:
        return _from_node(inner[0])
    name = _SIMPLE.get(outer, "any")
    if name == "tuple" and not _is_ellipsis(inner[-1]):
        return ParameterType(name, tuple(_from_node(item) for item in inner))
    if name == "dict":
        return ParameterType(name, (_from_node(inner[-1]),))
    return ParameterType("list", (_from_node(inner[0]),)) if name in ("list", "tuple") else ParameterType(name)


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    return "None" if isinstance(node, ast.Constant) and node.value is None else ""


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is Ellipsis


def _literal(nodes: list[ast.expr]) -> ParameterType:
    choices = tuple(ast.literal_eval(node) for node in nodes)
    if all(choice is None or isinstance(choice, str | int | bool) for choice in choices):
        return ParameterType("literal", choices=choices)
    return ANY


def _union(*types: ParameterType) -> ParameterType:
    members: list[ParameterType] = []
    for member in types:
        members.extend(member.of if member.name == "union" else [member])
    return ANY if ANY in members else ParameterType("union", tuple(dict.fromkeys(members)))


_PYTHON: dict[str, tuple[type, ...]] = {
    "none": (type(None),),
    "bool": (bool,),
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "list": (list, tuple),
    "tuple": (list, tuple),
    "dict": (Mapping,),
}


def fits(value: Json, type_: ParameterType) -> bool:
    """Whether ``value`` is of the type. A float takes an int, as type checkers have it; a boolean is never a number."""
    if type_.name == "any":
        return True
    if type_.name == "union":
        return any(fits(value, member) for member in type_.of)
    if type_.name == "literal":
        # True == 1 in Python, but not to who reads the notebook.
        return any(value == choice and type(value) is type(choice) for choice in type_.choices)
    if not isinstance(value, _PYTHON[type_.name]) or (isinstance(value, bool) and type_.name != "bool"):
        return False
    items: list[Json] = []
    if type_.of and isinstance(value, Mapping | list | tuple):
        items.extend(value.values() if isinstance(value, Mapping) else value)
    if type_.name == "tuple" and type_.of:
        return len(items) == len(type_.of) and all(map(fits, items, type_.of))
    return all(fits(item, inner) for inner in type_.of for item in items)


_EXAMPLES: dict[str, Json] = {"int": 3, "float": 0.5, "bool": True, "str": "text", "list": [], "dict": {}}


def example(type_: ParameterType) -> Json:
    """A value of the type."""
    if type_.name == "literal":
        return type_.choices[0]
    if type_.name == "union":
        return example(type_.of[0])
    if type_.name == "tuple":
        return [example(inner) for inner in type_.of]
    if type_.name == "list" and type_.of:
        return [example(type_.of[0])]
    if type_.name == "dict" and type_.of:
        return {"key": example(type_.of[0])}
    return _EXAMPLES.get(type_.name)


_SCHEMAS = {
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "str": "string",
    "none": "null",
    "list": "array",
    "tuple": "array",
    "dict": "object",
}


def type_schema(type_: ParameterType) -> dict[str, Any]:
    """The type as a JSON Schema; an empty one for ``any``."""
    schema: dict[str, Any] = {}
    inner = [type_schema(member) for member in type_.of]
    if type_.name in _SCHEMAS:
        schema["type"] = _SCHEMAS[type_.name]
    if type_.name == "literal":
        schema["enum"] = list(type_.choices)
    elif type_.name == "union":
        schema["anyOf"] = inner
    elif type_.name == "tuple" and inner:
        schema.update(prefixItems=inner, minItems=len(inner), maxItems=len(inner))
    elif inner:
        schema["additionalProperties" if type_.name == "dict" else "items"] = inner[0]
    return schema
