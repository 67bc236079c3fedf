"""Reading a kernel's message of printed text piece by piece, however long it is."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator

LARGEST_PIECE = 1 << 20
"""Bytes of a message that are read at a time."""
_BEGINNING = re.compile(rb'\s*\{\s*"name"\s*:\s*"(stdout|stderr)"\s*,\s*"text"\s*:\s*"')
_END = re.compile(rb'"\s*\}\s*\Z')
_LONGEST_EDGE = 256
_LONGEST_ESCAPE = 12
"""Characters of a pair of surrogates, as JSON writes it."""


def read_printed(content: memoryview) -> tuple[str, Iterator[str]]:
    """The name of the stream and the text of a message's content, without ever holding the whole of a long one, which
    must give the name, then the text and nothing else; ``ValueError`` when it does not, which may be seen late."""
    if len(content) <= LARGEST_PIECE:
        whole = json.loads(bytes(content).decode("utf-8", "replace"))
        return whole["name"], iter((whole["text"],))
    beginning = _BEGINNING.match(content[:_LONGEST_EDGE])
    end = _END.search(content[-_LONGEST_EDGE:])
    if beginning is None or end is None:
        raise ValueError("not printed text, or not as usual")
    edge = max(0, len(content) - _LONGEST_EDGE)
    return beginning[1].decode(), _pieces(content[beginning.end() : edge + end.start()])


def _pieces(written: memoryview) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    for start in range(0, len(written), LARGEST_PIECE):
        is_last = start + LARGEST_PIECE >= len(written)
        rest += decoder.decode(written[start : start + LARGEST_PIECE], final=is_last)
        text, rest = _unescaped(rest, is_last=is_last)
        yield text


def _unescaped(written: str, *, is_last: bool) -> tuple[str, str]:
    """What JSON means by it, and what of its end may be a part of a character only."""
    for left in range(1 if is_last else _LONGEST_ESCAPE):
        stop = len(written) - left
        try:
            text: str = json.loads(f'"{written[:stop]}"')
        except ValueError:
            continue
        if is_last or not "\ud800" <= text[-1:] <= "\udbff":
            return text, written[stop:]
    raise ValueError("not a text in JSON")
