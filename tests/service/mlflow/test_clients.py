"""MLflow's clients as they are: the one installed here, and each that ``MLOPS_TEST_MLFLOW`` names an interpreter of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlops.core.records import RunStatus
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.service.inprocess import Running

SCRIPT = Path(__file__).with_name("client_script.py")
INTERPRETERS = [sys.executable, *filter(None, os.environ.get("MLOPS_TEST_MLFLOW", "").split(os.pathsep))]
"""Of environments with ``mlflow`` and ``scikit-learn``, separated as in PATH."""


@pytest.mark.slow
@pytest.mark.parametrize("interpreter", INTERPRETERS, ids=[f"mlflow{number}" for number in range(len(INTERPRETERS))])
def test_a_client_does_all_it_can(tracking: Running, tmp_path: Path, interpreter: str) -> None:
    told = _done(tracking, tmp_path, interpreter)
    assert told["warnings"] == []
    with RemoteTracker(tracking.url, tracking.token("ann")) as tracker:
        run = tracker.runs.get(told["run_id"])
        assert (run.name, run.user, run.status) == ("first", "ann", RunStatus.FINISHED)
        assert {param.key: param.value for param in run.params} == {"lr": 0.1, "depth": 3}
        assert [point.step for point in tracker.runs.history(run.run_id, "loss").items] == list(range(1200))
        assert [used.dataset.name for used in run.inputs] == ["points"]
        assert [each.name for each in tracker.runs.children(run.run_id)] == ["inner"]
        logged = {param.key: param.text for param in tracker.runs.get(told["autologged"]).params}
        assert logged["C"] == "2.0"
        assert {alias.alias: alias.version for alias in tracker.models.get("churn").aliases} == {"champion": 2}
        assert [version.run_id for version in tracker.models.versions("name = 'churn'").items] == [run.run_id] * 2
        assert "sklearn" in tracker.models.version("churn", 1).flavors


def _done(tracking: Running, folder: Path, interpreter: str) -> dict[str, Any]:
    """What the script tells that an interpreter's client has made."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "MLOPS_", "PYTHON"))}
    environment = {
        **kept,
        "MLFLOW_TRACKING_URI": tracking.url,
        "MLFLOW_TRACKING_TOKEN": tracking.token("ann"),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    done = subprocess.run(
        [interpreter, str(SCRIPT)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
