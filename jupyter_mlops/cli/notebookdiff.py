"""How the notebooks of two runs differ, for a terminal."""

from __future__ import annotations

from typing import Any

from jupyter_mlops.cli.notebookprint import Notebook, joined
from jupyter_mlops.cli.terminal import output_text
from jupyter_mlops.tracker import notebookdiff


def operations(before: Notebook, after: Notebook) -> list[Any]:
    """What turns the cells' sources of ``before`` into those of ``after``, in nbdime's diff format; empty when they are
    equal. ``MissingDependency`` without nbdime."""
    return notebookdiff.operations(_sources(before), _sources(after))


def as_text(before: Notebook, changes: list[Any], *, colour: bool) -> str:
    """``changes`` for people, ``-`` and ``+`` before lines."""
    return notebookdiff.as_text(_sources(before), changes, colour=colour)


def _sources(notebook: Notebook) -> Notebook:
    """The notebook's cells with nothing but their type and source, every control character made visible."""
    return notebookdiff.of_cells(
        [(cell.get("cell_type", "code"), output_text(joined(cell.get("source", "")))) for cell in notebook["cells"]]
    )
