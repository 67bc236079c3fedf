"""Writes the table of ``docs/security.md`` from the operations themselves: ``python docs/access_reference.py``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jupyter_mlops.core.access import Scope
from jupyter_mlops.tracker.operations import OPERATIONS, Operation

PAGE = Path(__file__).with_name("security.md")
MARK = "<!-- From here on written by docs/access_reference.py -->\n"


def updated(page: str) -> str:
    """The text of the page with a fresh table; what stands before the mark is kept."""
    written, mark, _ = page.partition(MARK)
    return f"{written.rstrip()}\n\n{mark or MARK}\n" + "\n".join(rows()) + "\n"


def rows() -> Iterator[str]:
    scopes = [scope for scope in Scope if scope is not Scope.NONE]
    yield "| | " + " | ".join(f"`{scope.name.lower()}`" for scope in scopes) + " |"
    yield "| --- |" + " --- |" * len(scopes)
    for noun in dict.fromkeys(operation.noun for operation in OPERATIONS):
        own = [operation for operation in OPERATIONS if operation.noun == noun]
        cells = [", ".join(named(each) for each in own if each.scope is scope) for scope in scopes]
        yield f"| {noun.replace('_', ' ') or 'in general'} | " + " | ".join(cells) + " |"


def named(operation: Operation) -> str:
    return f"**{operation.name}**" if operation.decides else operation.name


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
