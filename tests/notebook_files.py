"""Writing notebooks, and reading what became of them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any


def write_notebook(
    path: Path, *cells: Any, parameters: str | None = None, kernel: str = "python3", language: str = "python"
) -> Path:
    """Write code cells, each a text or a pair of text and tags; ``parameters`` is the text of a parameters cell."""
    texts = [cell if isinstance(cell, tuple) else (cell, []) for cell in cells]
    if parameters is not None:
        texts.insert(0, (parameters, ["parameters"]))
    document = {
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "metadata": {"tags": list(tags)} if tags else {},
                "source": text.splitlines(keepends=True),
                "outputs": [],
                "execution_count": None,
            }
            for number, (text, tags) in enumerate(texts)
        ],
        "metadata": {
            "kernelspec": {"name": kernel, "display_name": kernel, "language": language},
            "language_info": {"name": language},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def files_with(text: str, *places: Path) -> list[str]:
    """The files in these places whose bytes hold ``text``. Another process reads them: SQLite loses its locks on a file
    that its own process closes."""
    found = subprocess.run(["grep", "-rlF", "--", text, *map(str, places)], capture_output=True, text=True, check=False)
    assert found.returncode in (0, 1), found.stderr
    return found.stdout.splitlines()


def printed(notebook: dict[str, Any]) -> str:
    """All that the cells printed."""
    return "".join(
        "".join(output["text"])
        for cell in notebook["cells"]
        for output in cell.get("outputs", ())
        if output["output_type"] == "stream"
    )
