"""Executed notebooks of forked kernels next to papermill's, over notebooks of every kind."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from nbformat.v4 import new_notebook

from jupyter_mlops.execution.engine import NotebookTask, Remark
from jupyter_mlops.execution.fork.engine import ForkEngine
from jupyter_mlops.tracker.protocol import Tracker
from tests.execution.fork_corpus import CORPUS, cells

# What differs between any two runs of papermill: names of cells' files, addresses, process ids.
_VARYING = re.compile(r"ipykernel_\d+|0x[0-9a-f]+|[0-9a-f]{32}")
FRESH: set[str] = set()
"""Of these notebooks, the points are given fresh kernels."""


def _cell(cell: Any) -> Any:
    """A cell but for times. Text that was printed in one go may come in several parts."""
    outputs: list[Any] = []
    for output in cell.get("outputs", []):
        if output["output_type"] != "stream":
            outputs.append(output)
        elif outputs and outputs[-1]["output_type"] == "stream" and outputs[-1]["name"] == output["name"]:
            outputs[-1]["text"] += "".join(output["text"])
        else:
            outputs.append({**output, "text": "".join(output["text"])})
    metadata = dict(cell["metadata"])
    status = metadata.pop("papermill", {}).get("status")
    metadata.pop("execution", None)
    source, count = "".join(cell["source"]), cell.get("execution_count")
    return json.loads(_VARYING.sub("-", json.dumps([cell["cell_type"], source, count, metadata, status, outputs])))


def _comparable(notebook: Any) -> Any:
    marks = "papermill-error-cell-tag"
    cells = [_cell(cell) for cell in notebook["cells"] if marks not in cell["metadata"].get("tags", ())]
    metadata = {key: value for key, value in notebook["metadata"].items() if key != "papermill"}
    return cells, json.loads(_VARYING.sub("-", json.dumps(metadata)))


@pytest.mark.slow
@pytest.mark.parametrize("name", CORPUS)
def test_forked_kernels_give_what_fresh_ones_give(
    name: str,
    tracker: Tracker,
    task: Callable[..., NotebookTask],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Kernels that see it do not take what is written to file descriptors.
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    folders = [tmp_path / "ours", tmp_path / "theirs"]
    for folder in folders:
        folder.mkdir()
        nbformat.write(new_notebook(cells=CORPUS[name], metadata={"kernelspec": kernelspec}), folder / "n.ipynb")
    tasks = [task(folders[0] / "n.ipynb", swept=("x",), x=x) for x in (7, 8)]
    remarks = [event.text for event in ForkEngine().run(tasks, jobs=1) if isinstance(event, Remark)]
    assert len(remarks) == 1
    assert ("fresh kernel" in remarks[0]) == (name in FRESH), remarks
    ours = json.loads(b"".join(tracker.artifacts.open(tasks[0].run_id, "notebook/executed.ipynb")))
    left = {path.name: path.read_text(encoding="utf-8") for path in folders[0].iterdir()}

    for x in (7, 8):
        with contextlib.suppress(papermill.PapermillExecutionError):
            papermill.execute_notebook(
                folders[1] / "n.ipynb", tmp_path / f"{x}.ipynb", {"x": x}, cwd=folders[1], progress_bar=False
            )
    theirs = json.loads((tmp_path / "7.ipynb").read_text(encoding="utf-8"))
    assert _comparable(ours) == _comparable(theirs)
    files = {path.name: path.read_text(encoding="utf-8") for path in folders[1].iterdir()}
    assert left == files


@pytest.mark.slow
def test_halves_of_characters_hold_nothing_up(
    tracker: Tracker, task: Callable[..., NotebookTask], tmp_path: Path
) -> None:
    """A fresh kernel says in their place how it failed to say them."""
    sources = [
        "half = '\\ud83d'\nprint('shared', half)",
        "from IPython.display import display\ntry:\n    display({'text/plain': half}, raw=True)\n"
        "except UnicodeEncodeError:\n    print('told')",
        "x\nprint('point', half, flush=True)",
        "try:\n    display({'text/plain': half}, raw=True)\nexcept UnicodeEncodeError:\n    print('told')",
        "raise ValueError(half)",
    ]
    notebook = new_notebook(cells=cells(*sources), metadata={"kernelspec": {"name": "python3", "display_name": "P"}})
    nbformat.write(notebook, tmp_path / "n.ipynb")
    tasks = [task(tmp_path / "n.ipynb", swept=("x",), x=x) for x in (7, 8)]
    remarks = [event.text for event in ForkEngine().run(tasks, jobs=1) if isinstance(event, Remark)]
    assert "fresh kernel" not in "".join(remarks), remarks
    for each in tasks:
        executed = json.loads(b"".join(tracker.artifacts.open(each.run_id, "notebook/executed.ipynb")))
        *shown, failed = [cell["outputs"] for cell in executed["cells"] if cell["outputs"]]
        printed = ["".join(output["text"]) for outputs in shown for output in outputs if "text" in output]
        assert printed == ["shared ?\n", "told\n", "point ?\n", "told\n"]
        assert [(output["ename"], output["evalue"]) for output in failed] == [("ValueError", "?")]
        assert tracker.runs.get(each.run_id).reason.message == "ValueError: ?"  # type: ignore[union-attr]
