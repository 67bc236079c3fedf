"""Reading notebooks of all ages, and files that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlops.core.errors import NotebookError
from jupyter_mlops.recording.source import executable, parse_source, read_source
from tests.notebook_files import write_notebook

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


@pytest.mark.parametrize("name", ["format-3.ipynb", "format-4.0.ipynb"])
def test_old_formats_can_be_executed(name: str) -> None:
    source = read_source(NOTEBOOKS / name)
    assert source.content == (NOTEBOOKS / name).read_bytes()
    assert (source.kernel, source.language) == ("python3", "python")
    notebook = executable(source, {})
    assert [cell.source for cell in notebook.cells if cell.cell_type == "code"][-1] == "print(a + b)"
    assert all(cell.id for cell in notebook.cells)


def test_the_parameters_cell_is_read(tmp_path: Path) -> None:
    source = read_source(write_notebook(tmp_path / "a.ipynb", "1", parameters="x: int = 1\ny = 'a'"))
    assert [known.name for known in source.declared or ()] == ["x", "y"]
    notebook = executable(source, {"x": 2})
    assert notebook.cells[1].source == "# Parameters\nx = 2\n"
    assert notebook.cells[1].metadata.tags == ["injected-parameters"]


def test_another_languages_parameters_are_not_known(tmp_path: Path) -> None:
    source = read_source(write_notebook(tmp_path / "a.ipynb", "1", parameters="x <- 1", kernel="ir", language="R"))
    assert (source.kernel, source.language, source.declared) == ("ir", "R", None)
    assert "x = 2" in executable(source, {"x": 2}).cells[1].source


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not in UTF-8"),
        ('{"nbformat": 4, "cells": []}'.encode("utf-16"), "not in UTF-8"),
        (b'\xef\xbb\xbf{"nbformat": 4, "cells": []}', "a byte order mark; save it without"),
        (b"print(1)", "not JSON"),
        (b"[1]", "no 'nbformat'"),
        (b'{"cells": []}', "no 'nbformat'"),
        (b'{"nbformat": 4}', "'cells' is not a list"),
        (b'{"nbformat": 4, "cells": [1]}', "'cells' is not a list"),
        (b'{"nbformat": 9, "cells": []}', "notebook format 9"),
        (b'{"nbformat": 3}', "cannot be brought to format 4"),
    ],
)
def test_what_is_no_notebook_is_refused(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "a.ipynb").write_bytes(content)
    with pytest.raises(NotebookError, match=match):
        read_source(tmp_path / "a.ipynb")


def test_what_is_nested_too_deeply_is_refused_before_a_kernel_starts(tmp_path: Path) -> None:
    nested = "[" * 900 + "]" * 900
    document = f'{{"cells": [], "metadata": {{"x": {nested}}}, "nbformat": 4, "nbformat_minor": 5}}'
    (tmp_path / "a.ipynb").write_text(document)
    source = read_source(tmp_path / "a.ipynb")
    with pytest.raises(NotebookError, match="nested too deeply"):
        executable(source, {})


def test_places_without_a_notebook_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotebookError, match="there is no notebook"):
        read_source(tmp_path / "a.ipynb")
    with pytest.raises(NotebookError, match="is a folder"):
        read_source(tmp_path)
    with pytest.raises(NotebookError, match=r"no notebook is called 'a\\x00b'"):
        read_source("a\0b")


@pytest.mark.parametrize("metadata", [{}, {"kernelspec": None}, {"language_info": {}}])
def test_missing_metadata_mean_python(tmp_path: Path, metadata: dict[str, Any]) -> None:
    document = {"cells": [], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "a.ipynb").write_text(json.dumps(document))
    source = read_source(tmp_path / "a.ipynb")
    assert (source.kernel, source.language, source.declared) == ("python3", "python", ())


CELL: dict[str, Any] = {
    "cell_type": "code",
    "id": "a",
    "metadata": {"tags": ["parameters"]},
    "source": "x = 1",
    "outputs": [],
    "execution_count": None,
}
NOTEBOOK: dict[str, Any] = {"cells": [CELL], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


@pytest.mark.parametrize(
    "document",
    [
        {**NOTEBOOK, "cells": [CELL, {**CELL, "id": "b", "metadata": {"tags": None}}]},
        {**NOTEBOOK, "cells": [{**CELL, "metadata": None}]},
        {**NOTEBOOK, "cells": [{key: value for key, value in CELL.items() if key != "metadata"}]},
        {**NOTEBOOK, "cells": [{key: value for key, value in CELL.items() if key != "outputs"}]},
        {**NOTEBOOK, "cells": [{**CELL, "cell_type": 5}]},
        {**NOTEBOOK, "cells": [CELL, {"cell_type": "markdown", "metadata": {}, "source": "", "attachments": None}]},
        {**NOTEBOOK, "metadata": None},
        {**NOTEBOOK, "metadata": {"papermill": None}},
        {**NOTEBOOK, "nbformat_minor": "5"},
        {key: value for key, value in NOTEBOOK.items() if key != "nbformat_minor"},
    ],
    ids=str,
)
def test_what_lacks_what_the_format_demands_is_told_as_that(document: dict[str, Any]) -> None:
    source = parse_source(json.dumps(document).encode(), "odd.ipynb")
    with pytest.raises(NotebookError, match=r"'odd\.ipynb' is not a notebook of format 4"):
        executable(source, {"x": 2})
