"""What of a notebook is executed once for all points of a sweep, and how."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from jupyter_mlops.core.errors import NotebookError
from jupyter_mlops.core.reasons import cell_name
from jupyter_mlops.core.records import Json
from jupyter_mlops.execution.fork.analysis import INJECTED, Cell, fork_point
from jupyter_mlops.recording.kernel import kernel_spec
from jupyter_mlops.recording.source import Source, executable, read_source

_LAUNCHERS = (["-m", "ipykernel_launcher"], ["-m", "ipykernel"])
_BEGIN = (
    "import sys; root = sys.argv.pop(1); sys.path[0] = root; "
    "from jupyter_mlops.execution.fork.template import main; sys.path.remove(root); main()"
)
"""The kernel's Python may have no jupyter_mlops, or another one: it takes ours for a moment."""


_ROOT = str(Path(__file__).parents[3])
"""Where our package is found."""


class Unfit(Exception):
    """Why points of a sweep get fresh kernels."""


class Prefix:
    """The cells of a notebook that are executed once, before the points of a sweep part.

    Raises
    ------
    Unfit
        There can be none.
    """

    def __init__(
        self, source: Source, *, fixed: Mapping[str, Json], swept: Collection[str], kernel_name: str | None
    ) -> None:
        if sys.platform != "linux":
            raise Unfit("forking needs Linux")
        if source.parameters_cell is None:
            raise Unfit("the notebook has no cell tagged parameters")
        self.command, self.options, self.variables = _command(kernel_name or source.kernel)
        # Their values do not matter: they are no part of what is executed.
        everything = executable(source, {**fixed, **dict.fromkeys(swept)}, kernel=kernel_name)
        shared = executable(source, fixed, kernel=kernel_name)
        cells = [
            Cell(cell.source, cell.cell_type == "code", tuple(cell.metadata.get("tags", ())))
            for cell in everything.cells
        ]
        self.point = fork_point(cells, swept)
        injected = next(index for index, cell in enumerate(cells) if INJECTED in cell.tags)
        own = next((cell.source for cell in shared.cells if INJECTED in cell.metadata.get("tags", ())), "# Parameters")
        self.work: dict[str, Any] = {
            "cells": [
                (index, own if index == injected else cell.source, "raises-exception" in cell.tags)
                for index, cell in enumerate(cells[: self.point.index])
                if cell.runs
            ],
            "injected": injected,
            "swept": list(swept),
        }
        """What the template is told to do."""
        self._begins = [cell.source.strip() for cell in cells[self.point.index :][:1]]

    def told(self) -> str:
        """Where the points part, and why."""
        count = len(self.work["cells"])
        if not self._begins:
            return f"all {count} cells are executed once: {self.point.why}"
        cells = "1 cell is" if count == 1 else f"{count or 'no'} cells are"
        return f"{cells} executed once, points part at {cell_name(self.point.index)}: {self.point.why}"


def explain(path: Path, *, fixed: Mapping[str, Json], swept: Collection[str], kernel_name: str | None) -> str:
    """Where the points of a sweep would part and why, or why they would get fresh kernels."""
    try:
        prefix = Prefix(read_source(path), fixed=fixed, swept=swept, kernel_name=kernel_name)
    except Unfit as why:
        return f"each point gets a fresh kernel: {why}"
    return prefix.told()


def _command(kernel: str) -> tuple[list[str], list[str], dict[str, str]]:
    """What starts the template instead of the kernel ``kernel``: the command before the template's own arguments, what
    follows them, and the environment."""
    try:
        spec = kernel_spec(kernel)
    except NotebookError as error:
        raise Unfit(error.message) from error
    argv = list(spec.argv)
    for launcher in _LAUNCHERS:
        for place in range(1, len(argv) - 1):
            if argv[place : place + 2] == launcher:
                options = argv[place + 2 :]
                if "-f" in options:
                    at = options.index("-f")
                    options = options[:at] + options[at + 2 :]
                if not any("{" in option for option in options):
                    # As Jupyter's kernel manager has it.
                    python = sys.executable if re.fullmatch(r"python[\d.]*", argv[0]) else argv[0]
                    return [python, *argv[1:place], "-c", _BEGIN, _ROOT], options, dict(spec.env)
    raise Unfit(f"the kernel {kernel!r} is not started like ipykernel")
