"""Small real notebooks, a store of each test's own, and the command line as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Json
from jupyter_mlops.execution.engine import NotebookTask
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.protocol import Tracker
from tests.notebook_files import write_notebook

LONGEST_COMMAND = 120.0
"""Seconds; far beyond what a command takes, so that a busy machine fails no test."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The embedded store's folder, for this process and those it starts."""
    folder = tmp_path / "home"
    monkeypatch.setenv("MLOPS_HOME", str(folder))
    for name in ("MLOPS_TRACKING_URL", "MLOPS_ARTIFACTS_URL", "MLOPS_EXPERIMENT", "MLOPS_RUN_ID", "MLOPS_STRICT"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def tracker(home: Path) -> Iterator[Tracker]:
    with connect() as opened:
        yield opened


@pytest.fixture
def notebook(tmp_path: Path) -> Callable[..., Path]:
    """Write a notebook of code cells; ``parameters`` is the text of its parameters cell."""

    def write(*cells: str, parameters: str | None = None, name: str = "work") -> Path:
        path = tmp_path / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        return write_notebook(path, *cells, parameters=parameters)

    return write


@pytest.fixture
def task(tracker: Tracker) -> Callable[..., NotebookTask]:
    """Make a task of a notebook with parameters, of which some are ``swept``."""
    experiment = tracker.experiments.ensure("engine")

    def make(notebook: Path, *, swept: tuple[str, ...] = (), **parameters: Json) -> NotebookTask:
        return NotebookTask(
            run_id=new_id(),
            experiment_id=experiment.experiment_id,
            tracking_url=tracker.url,
            notebook=str(notebook),
            parameters=parameters,
            swept=swept,
        )

    return make


class Command:
    """``jupyter mlops`` as a process of its own."""

    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_mlops", *words],
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def __call__(self, *words: str, status: int = 0) -> str:
        """Run a command, expect its exit status, and return its standard output."""
        process = self.start(*words)
        output, errors = process.communicate(timeout=LONGEST_COMMAND)
        assert process.returncode == status, f"{words}: status {process.returncode}\n{output}\n{errors}"
        self.errors = errors
        return output

    def json(self, *words: str, status: int = 0) -> Any:
        return json.loads(self(*words, "--json", status=status))


@pytest.fixture
def mlops(tmp_path: Path) -> Iterator[Command]:
    command = Command(tmp_path)
    yield command
    for process in command.started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
