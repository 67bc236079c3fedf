"""Taking a magic's line apart."""

from __future__ import annotations

import keyword
import shlex
from collections.abc import Sequence
from typing import Any, NoReturn

from IPython.core.error import UsageError
from IPython.core.magic_arguments import MagicArgumentParser

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.parameters import Declared, resolve_text
from jupyter_mlops.core.records import Json

_OPENING, _CLOSING, _QUOTES = "([{", ")]}", "\"'"


class Arguments(MagicArgumentParser):  # type: ignore[misc]  # IPython has no types
    """The arguments of one command; a mistake is one line that names the command."""

    def __init__(self, command: str) -> None:
        super().__init__(prog=f"%mlops {command}", add_help=False)
        self.allow_abbrev = False
        self.command = command

    def parse(self, line: str) -> Any:
        return self.parse_words(split(line))

    def parse_words(self, words: list[str]) -> Any:
        return self.parse_args(words)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.command}: {message} (%mlops help tells more)")


def split(line: str) -> list[str]:
    """Words as a shell has them."""
    try:
        return shlex.split(line)
    except ValueError as error:
        raise InvalidValue(f"{line!r}: {str(error).lower()}") from None


def expressions(line: str) -> list[tuple[str, str]]:
    """``auc f1 loss=log(a, b)`` as (name, expression) pairs; spaces inside brackets and quotes do not end one."""
    pairs = []
    for word in _python_words(line):
        name, equals, expression = word.partition("=")
        if not equals:
            name, expression = word, word
        if not name.strip() or not expression.strip() or expression.startswith("="):
            raise InvalidValue(f"{word!r} is neither a variable nor NAME=EXPRESSION")
        pairs.append((name.strip("\"'"), expression))
    return pairs


def _python_words(line: str) -> list[str]:
    words, word, depth, quote, escaped = [], "", 0, "", False
    for character in line:
        if quote:
            quote = "" if character == quote and not escaped else quote
            escaped = character == "\\" and not escaped
        elif character in _QUOTES:
            quote = character
        elif character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth -= 1
        if character.isspace() and not quote and depth <= 0:
            words.append(word)
            word = ""
        else:
            word += character
    if quote or depth > 0:
        raise InvalidValue(f"{line!r}: a quote or bracket is not closed")
    return [each for each in [*words, word] if each]


def parameters(words: list[str], declared: Sequence[Declared] | None = None) -> tuple[dict[str, Json], list[str]]:
    """The values of ``-p NAME VALUE`` and ``-p NAME=VALUE``, of the types that are ``declared``, and the words that are
    none of them."""
    by_name = {parameter.name: parameter for parameter in declared or ()}
    found: dict[str, Json] = {}
    others = []
    rest = iter(words)
    for word in rest:
        if word not in ("-p", "--parameters"):
            others.append(word)
            continue
        name, equals, text = next(rest, "").partition("=")
        if not equals:
            given = next(rest, None)
            if given is None:
                raise InvalidValue(f"{word} {name}: a value is missing; give {word} NAME VALUE")
            text = given
        if not name.isidentifier() or keyword.iskeyword(name):
            raise InvalidValue(f"{word}: {name!r} cannot be the name of a variable")
        if name in found:
            raise InvalidValue(f"{word}: {name} is given twice")
        found[name] = resolve_text(by_name.get(name), text)
    return found, others
