"""Small real notebooks, a store of each module's own, and runs of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Run
from jupyter_mlops.recording.fastimport import skip_format_checks
from jupyter_mlops.recording.notebook import record_notebook
from jupyter_mlops.recording.task import NotebookTask
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.protocol import Tracker
from tests.notebook_files import write_notebook

skip_format_checks()
VARIABLES = ("MLOPS_TRACKING_URL", "MLOPS_ARTIFACTS_URL", "MLOPS_EXPERIMENT", "MLOPS_RUN_ID", "MLOPS_STRICT")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The embedded store's folder, for this process and those it starts."""
    with pytest.MonkeyPatch.context() as patch:
        for name in VARIABLES:
            patch.delenv(name, raising=False)
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("MLOPS_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def tracker(home: Path) -> Iterator[Tracker]:
    with connect() as opened:
        yield opened


@pytest.fixture(scope="module")
def task(tracker: Tracker, home: Path) -> Callable[..., NotebookTask]:
    """A task for a notebook file, in an experiment of the store."""
    experiment = tracker.experiments.ensure("tests")

    def make(notebook: Path, **fields: Any) -> NotebookTask:
        return NotebookTask(
            run_id=new_id(),
            experiment_id=experiment.experiment_id,
            tracking_url=f"sqlite:///{home / 'mlops.db'}",
            notebook=str(notebook),
            **fields,
        )

    return make


@pytest.fixture(scope="module")
def record(
    tracker: Tracker, task: Callable[..., NotebookTask], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Run]:
    """Write a notebook of these cells and run it."""

    def run(
        *cells: Any,
        parameters: str | None = None,
        given: dict[str, Any] | None = None,
        kernel: str = "python3",
        language: str = "python",
        **fields: Any,
    ) -> Run:
        path = tmp_path_factory.mktemp("work") / "work.ipynb"
        write_notebook(path, *cells, parameters=parameters, kernel=kernel, language=language)
        return record_notebook(tracker, task(path, parameters=given or {}, **fields))

    return run


@pytest.fixture(scope="module")
def read(tracker: Tracker) -> Callable[..., bytes]:
    def content(run: Run, path: str) -> bytes:
        return b"".join(tracker.artifacts.open(run.run_id, path))

    return content


@pytest.fixture(scope="module")
def executed(read: Callable[..., bytes]) -> Callable[[Run], dict[str, Any]]:
    """The executed notebook of a run."""
    return lambda run: json.loads(read(run, "notebook/executed.ipynb"))
