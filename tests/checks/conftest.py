"""A store with registered models: good ones, and one whose pickle does what it should not."""

from __future__ import annotations

import copy
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlops.checks.check import Subject
from jupyter_mlops.checks.sandbox import Limits, Sandbox
from jupyter_mlops.checks.worker import perform
from jupyter_mlops.core.checks import CheckJob, CheckResult
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Batch, Input, Metric, ModelVersion, NewRun, RunChange, RunStatus, Tag
from jupyter_mlops.recording import model_formats
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.protocol import Tracker

MODEL = "churn"
IN_THE_SANDBOX = "made-by-hostile-code"


@pytest.fixture
def tracker(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tracker]:
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    with connect(sqlite_url, artifacts=tmp_path / "artifacts") as opened:
        yield opened


class Registry:
    """Registers versions of ``churn``."""

    def __init__(self, tracker: Tracker, folder: Path) -> None:
        self._tracker = tracker
        self._folder = folder

    def version(
        self,
        model: Any,
        example: Any = None,
        *,
        metrics: dict[str, float] | None = None,
        inputs: tuple[Input, ...] = (),
        tags: tuple[Tag, ...] = (),
        hidden_state: str | None = None,
        tamper: Callable[[Path], object] = lambda folder: None,
        **options: Any,
    ) -> ModelVersion:
        folder = self._folder / new_id()
        model_formats.save_model(model, folder, input_example=example, **options)
        tamper(folder)
        experiment = self._tracker.experiments.ensure("training")
        points = tuple(Metric(key, value, 1) for key, value in (metrics or {}).items())
        batch = Batch(metrics=points, inputs=inputs, tags=tags)
        run = self._tracker.runs.create(
            NewRun(experiment_id=experiment.experiment_id, hidden_state=hidden_state, batch=batch)
        )
        self._tracker.artifacts.put_folder(run.run_id, folder, "model")
        self._tracker.runs.change(run.run_id, RunChange(status=RunStatus.FINISHED))
        return self._tracker.models.register(MODEL, run.run_id, "model")


@pytest.fixture
def registry(tracker: Tracker, tmp_path: Path) -> Registry:
    (tmp_path / "models").mkdir()
    return Registry(tracker, tmp_path / "models")


@pytest.fixture
def examine(tracker: Tracker) -> Callable[..., CheckResult]:
    """Do one check of a version, as a worker does it."""

    def do(
        name: str,
        version: ModelVersion,
        champion: ModelVersion | None = None,
        *,
        limits: Limits | None = None,
        attempt: int = 1,
        repositories: tuple[str, ...] = (),
        **settings: Any,
    ) -> CheckResult:
        job = CheckJob(
            job_id=new_id(),
            request_id=new_id(),
            model=MODEL,
            version=version.version,
            alias="production",
            champion=None if champion is None else champion.version,
            name=name,
            settings=settings,
            attempt=attempt,
        )
        with Sandbox(limits) as sandbox:
            return perform(Subject(tracker, job, sandbox, repositories=repositories))

    return do


@pytest.fixture(scope="session")
def table() -> tuple[Any, Any]:
    """A few rows to train on, with their answers."""
    pandas = pytest.importorskip("pandas")
    rows = pandas.DataFrame({"age": [20.0, 30.0, 40.0, 50.0] * 5, "spent": [1.0, 2.0, 3.0, 4.0] * 5})
    return rows, [0, 0, 1, 1] * 5


@pytest.fixture(scope="session")
def linear(table: tuple[Any, Any]) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression().fit(*table)


class Hostile:
    """Makes each of the files when it is unpickled."""

    def __init__(self, *files: Path | str) -> None:
        self._files = files

    def __reduce__(self) -> Any:
        command = "; ".join(f"touch {shlex.quote(str(file))}" for file in self._files)
        return os.system, (f"({command}) 2>/dev/null",)


@pytest.fixture
def hostile(linear: Any, tmp_path: Path) -> Any:
    return made_hostile(linear, tmp_path)


def made_hostile(model: Any, tmp_path: Path) -> Any:
    """The model as one whose pickle touches files in forbidden places, and one in its working folder."""
    made = copy.copy(model)
    made.payload = Hostile(*forbidden(tmp_path), IN_THE_SANDBOX)
    return made


def forbidden(tmp_path: Path) -> list[Path]:
    """Places that the worker itself could write to."""
    name = f"hostile-{os.getpid()}"
    return [
        tmp_path / name,
        Path("/tmp") / name,
        Path("/var/tmp") / name,
        Path("/dev/shm") / name,
        Path.home() / name,
        Path(sys.prefix) / name,
        Path(__file__).parent / name,
    ]
