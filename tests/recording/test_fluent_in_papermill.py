"""The fluent API in real kernels: in a notebook run of ours, and in a kernel that nobody records."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlops.core.records import Run, RunKind, RunStatus
from jupyter_mlops.tracker.protocol import Tracker
from tests.notebook_files import write_notebook

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def notebook_run(record: Callable[..., Run]) -> Run:
    cells = [
        """
        import sys
        import jupyter_mlops as mlops
        mlops.log_metric("before", 1)
        with mlops.start_run(tags={"from": "code"}) as run:
            mlops.log_param("logged", [1, 2])
            for step in range(1000):
                mlops.log_metric("loss", 1 / (step + 1), step=step)
            mlops.log_text("hello", "notes/hello.txt")
            (mlops.run_dir() / "model.bin").write_bytes(b"weights")
            mlops.log_artifact(mlops.run_dir() / "model.bin")
        """,
        """
        for number in range(2):
            with mlops.start_run(run_name=f"child-{number}"):
                mlops.log_metric("number", number)
        print("sqlalchemy" in sys.modules)
        """,
        """
        found = mlops.search_runs(filter_string="metrics.number > 0", output_format="list")
        print([one.name for one in found], mlops.active_run().params["lr"])
        (mlops.run_dir() / "data.csv").write_text("x")
        mlops.log_input(mlops.run_dir() / "data.csv", "training")
        """,
        """
        mlops.log_metric("after", 1)
        """,
    ]
    return record(*(textwrap.dedent(cell) for cell in cells), parameters="lr = 0.1")


def test_what_is_logged_lands_in_the_notebook_run(notebook_run: Run, read: Callable[..., bytes]) -> None:
    assert (notebook_run.status, notebook_run.kind) == (RunStatus.FINISHED, RunKind.NOTEBOOK)
    metrics = {metric.key: metric for metric in notebook_run.metrics}
    assert (metrics["loss"].count, metrics["loss"].step) == (1000, 999)
    assert {"before", "after"} <= metrics.keys()
    assert {param.key: param.value for param in notebook_run.params} == {"lr": 0.1, "logged": [1, 2]}
    assert ("from", "code") in {(tag.key, tag.value) for tag in notebook_run.tags}
    assert read(notebook_run, "notes/hello.txt") == b"hello"
    assert read(notebook_run, "model.bin") == b"weights"
    assert [use.context for use in notebook_run.inputs] == ["training"]


def test_runs_begun_later_are_its_children(notebook_run: Run, tracker: Tracker) -> None:
    children = tracker.runs.children(notebook_run.run_id)
    assert [child.name for child in children] == ["child-0", "child-1"]
    assert {child.status for child in children} == {RunStatus.FINISHED}
    assert {child.experiment_id for child in children} == {notebook_run.experiment_id}


def test_logging_needs_no_database_and_reading_sees_what_was_logged(
    notebook_run: Run, executed: Callable[[Run], dict[str, Any]]
) -> None:
    cells = executed(notebook_run)["cells"]
    texts = ["".join(part for out in cell["outputs"] for part in out.get("text", ())) for cell in cells]
    assert "False\n" in texts
    assert "['child-1'] 0.1\n" in texts


def test_a_mistake_fails_the_cell_it_is_made_in(record: Callable[..., Run]) -> None:
    run = record("import jupyter_mlops as mlops", "mlops.log_metric('auc', 'high')")
    assert run.status is RunStatus.FAILED
    assert run.reason is not None
    assert run.reason.cell == 1
    assert "'auc'" in run.reason.message


def test_a_run_in_a_kernel_that_nobody_records(tracker: Tracker, home: Path, tmp_path: Path) -> None:
    """Under papermill's own engine, as in JupyterLab, the kernel delivers by itself, and ends the run when it ends."""
    import papermill

    code = """
        import jupyter_mlops as mlops
        mlops.set_experiment("live")
        mlops.start_run(run_name="in a kernel")
        mlops.log_metric("x", 1)
    """
    seen = """
        import time
        from jupyter_mlops import connect
        with connect() as other:
            deadline = time.monotonic() + 30
            while not (found := other.runs.search().items[0]).metrics and time.monotonic() < deadline:
                time.sleep(0.01)
        assert found.metrics and found.status.value == "RUNNING", found
    """
    notebook = write_notebook(tmp_path / "live.ipynb", textwrap.dedent(code), textwrap.dedent(seen))
    papermill.execute_notebook(str(notebook), str(tmp_path / "out.ipynb"), progress_bar=False)
    experiment = tracker.experiments.find("live").experiment_id
    (run,) = tracker.runs.search([experiment]).items
    assert (run.name, run.status, run.kind) == ("in a kernel", RunStatus.FINISHED, RunKind.SESSION)
