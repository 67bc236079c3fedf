"""How the notebooks of two runs differ: their sources, by nbdime, which knows cells."""

from __future__ import annotations

import io
from typing import Any

from jupyter_mlops.cli.notebookprint import Notebook, joined
from jupyter_mlops.cli.terminal import output_text
from jupyter_mlops.core.errors import MissingDependency


def operations(before: Notebook, after: Notebook) -> list[Any]:
    """What turns the cells' sources of ``before`` into those of ``after``, in nbdime's diff format; empty when they are
    equal. Outputs are left out: comparing them takes seconds where the sources take milliseconds."""
    try:
        from nbdime import diff_notebooks
    except ModuleNotFoundError as error:
        raise MissingDependency(f"comparing notebooks needs {error.name}: pip install 'jupyter-mlops[diff]'") from error
    return list(diff_notebooks(_sources(before), _sources(after)))


def as_text(before: Notebook, changes: list[Any], *, colour: bool) -> str:
    """``changes`` for people, ``-`` and ``+`` before lines."""
    from nbdime.prettyprint import PrettyPrintConfig, pretty_print_diff

    out = io.StringIO()
    config = PrettyPrintConfig(out=out, use_git=False, use_diff=False, use_color=colour)
    pretty_print_diff(_sources(before), changes, "", config)
    return out.getvalue()


def _sources(notebook: Notebook) -> Notebook:
    """The notebook's cells with nothing but their type and source, every control character made visible."""
    from nbformat import from_dict

    cells = [
        {
            "cell_type": cell.get("cell_type", "code"),
            "metadata": {},
            "source": output_text(joined(cell.get("source", ""))),
            **({"outputs": [], "execution_count": None} if cell.get("cell_type") == "code" else {}),
        }
        for cell in notebook["cells"]
    ]
    document: Notebook = from_dict({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells})
    return document
