from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")

from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.protocol import Tracker
from tests.interop.history import History, server


@pytest.fixture(autouse=True)
def _tracking_nowhere() -> Iterator[None]:
    """MLflow's client is one a process: what comes after these tests finds it as it was."""
    import mlflow

    yield
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    mlflow.set_registry_uri(None)  # type: ignore[arg-type]
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session", params=["folder", "database", "server"])
def history(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """A history in a source of each kind; only read by tests."""
    folder = tmp_path_factory.mktemp("mlflow")
    if request.param == "folder":
        yield History(f"file://{folder}/mlruns", folder)
    elif request.param == "database":
        yield History(f"sqlite:///{folder}/mlflow.db", folder, points=2500)
    else:
        with server(folder) as url:
            yield History(url, folder, points=2500)


@pytest.fixture(scope="session")
def in_database(tmp_path_factory: pytest.TempPathFactory) -> History:
    folder = tmp_path_factory.mktemp("database")
    return History(f"sqlite:///{folder}/mlflow.db", folder, points=2500)


@pytest.fixture
def tracker(sqlite_url: str, tmp_path: Path) -> Iterator[Tracker]:
    with connect(sqlite_url, artifacts=tmp_path / "artifacts") as opened:
        yield opened
