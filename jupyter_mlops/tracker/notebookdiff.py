"""How the code of two notebooks differs, cell by cell, by nbdime, in a process of its own.

Whose notebooks are compared is not who waits for it: a notebook can be made so that comparing it takes hours. So it is
done in a process that has little time and memory, and what was compared once is remembered. Run as a program, this
module is that process.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import logging
import subprocess
import sys
import threading
from functools import lru_cache
from typing import Any

import msgspec

from jupyter_mlops.core.errors import MissingDependency, Unavailable
from jupyter_mlops.core.promotion import NotebookChanges

logger = logging.getLogger("jupyter_mlops.notebookdiff")

Notebook = dict[str, Any]
"""A notebook document, format 4, as JSON gives it."""

LARGEST_SOURCES = 512 << 10
"""Bytes of the code of one notebook that is compared."""
MOST_CELLS = 1000
CPU_SECONDS = 10
SECONDS = 30.0
MEMORY = 2 << 30
"""Bytes of address space."""
LONGEST_TEXT = 200_000
_AT_ONCE = threading.Semaphore(2)
_PATIENCE_SECONDS = 5.0


class _Cell(msgspec.Struct):
    cell_type: str
    source: str | list[str] = ""


class _Document(msgspec.Struct):
    cells: list[_Cell]


class _Pair(msgspec.Struct):
    before: Notebook
    after: Notebook


class _Compared(msgspec.Struct, frozen=True):
    diff: list[Any] | None
    """None where nbdime is not installed."""
    text: str


def sources(document: bytes) -> Notebook | None:
    """The cells of a notebook with nothing but their type and their code; None for what is no notebook of format 4."""
    try:
        found = msgspec.json.decode(document, type=_Document)
    except msgspec.DecodeError:
        return None
    return of_cells(
        [
            (cell.cell_type, cell.source if isinstance(cell.source, str) else "".join(cell.source))
            for cell in found.cells
        ]
    )


def of_cells(cells: list[tuple[str, str]]) -> Notebook:
    """A notebook of cells, each a type and a source."""
    return {
        "nbformat": 4,
        "nbformat_minor": 4,
        "metadata": {},
        "cells": [
            {
                "cell_type": kind,
                "metadata": {},
                "source": source,
                **({"outputs": [], "execution_count": None} if kind == "code" else {}),
            }
            for kind, source in cells
        ],
    }


def operations(before: Notebook, after: Notebook) -> list[Any]:
    """What turns ``before`` into ``after``, in nbdime's diff format; empty when they are equal. Of notebooks with
    outputs it takes seconds where the sources take milliseconds."""
    try:
        from nbdime import diff_notebooks
    except ModuleNotFoundError as error:
        raise MissingDependency(f"comparing notebooks needs {error.name}: pip install 'jupyter-mlops[diff]'") from error
    from nbformat import from_dict

    return list(diff_notebooks(from_dict(before), from_dict(after)))


def as_text(before: Notebook, changes: list[Any], *, colour: bool) -> str:
    """``changes`` for people, ``-`` and ``+`` before lines."""
    from nbdime.prettyprint import PrettyPrintConfig, pretty_print_diff
    from nbformat import from_dict

    out = io.StringIO()
    config = PrettyPrintConfig(out=out, use_git=False, use_diff=False, use_color=colour)
    pretty_print_diff(from_dict(before), changes, "", config)
    return out.getvalue()


def compared(before: Notebook, after: Notebook) -> tuple[str, NotebookChanges]:
    """How ``before`` becomes ``after``, for people and for programs; a sentence in place of what takes too much."""
    for notebook in (before, after):
        size, cells = sum(len(cell["source"]) for cell in notebook["cells"]), len(notebook["cells"])
        if size > LARGEST_SOURCES or cells > MOST_CELLS:
            return "", NotebookChanges(
                note=f"a notebook of {cells} cells with {size} characters of code is too large to be compared here: "
                f"{MOST_CELLS} cells and {LARGEST_SOURCES} characters at most"
            )
    if before == after:
        return "", NotebookChanges(base=before, diff=[], note="the code of the notebooks is the same")
    try:
        found = _in_a_process(msgspec.json.encode(_Pair(before, after)))
    except Unavailable as error:
        return "", NotebookChanges(base=before, note=error.message)
    if found is None:
        return "", NotebookChanges(base=before, note="comparing the notebooks took too much time or memory")
    if found.diff is None:
        note = "nbdime is not installed where this was compared (pip install 'jupyter-mlops[diff]')"
        return found.text, NotebookChanges(base=before, note=note)
    return found.text, NotebookChanges(base=before, diff=found.diff)


@lru_cache(maxsize=16)
def _in_a_process(pair: bytes) -> _Compared | None:
    """What came out; None when it took too much."""
    if not _AT_ONCE.acquire(timeout=_PATIENCE_SECONDS):
        raise Unavailable("other notebooks are being compared; ask again")
    try:
        command = [sys.executable, "-m", "jupyter_mlops.tracker.notebookdiff"]
        done = subprocess.run(command, input=pair, capture_output=True, timeout=SECONDS, check=True)
        return msgspec.json.decode(done.stdout, type=_Compared)
    except (subprocess.SubprocessError, OSError, msgspec.DecodeError):
        logger.warning("two notebooks could not be compared", exc_info=True)
        return None
    finally:
        _AT_ONCE.release()


def _unified(before: Notebook, after: Notebook) -> str:
    return "\n".join(difflib.unified_diff(_lines(before), _lines(after), "champion", "candidate", lineterm=""))


def _lines(notebook: Notebook) -> list[str]:
    cells = notebook["cells"]
    return [line for cell in cells for line in (f"# %% [{cell['cell_type']}]", *cell["source"].splitlines(), "")]


def main() -> None:
    """Compare the notebooks that standard input has, within limits, and write what differs to standard output."""
    with contextlib.suppress(ImportError):  # Windows has no such limits, and the time-out there is
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    pair = msgspec.json.decode(sys.stdin.buffer.read(), type=_Pair)
    try:
        diff = operations(pair.before, pair.after)
        text = as_text(pair.before, diff, colour=False)
    except MissingDependency:
        diff, text = None, _unified(pair.before, pair.after)
    sys.stdout.buffer.write(msgspec.json.encode(_Compared(diff, text[:LONGEST_TEXT])))


if __name__ == "__main__":
    main()
