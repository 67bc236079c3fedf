"""Jobs of jupyter-scheduler, recorded as runs by our execution manager."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlops.tracker.remote import RemoteTracker
from tests.notebook_files import write_notebook
from tests.server.jupyter import TOKEN, JupyterServer
from tests.waiting import until

pytestmark = pytest.mark.slow
MANAGER = "jupyter_mlops.server.scheduler.RecordingExecutionManager"


@pytest.fixture(scope="module")
def scheduling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    folder = tmp_path_factory.mktemp("scheduling")
    configured = folder / "config" / "jupyter_server_config.d"
    configured.mkdir(parents=True)
    extensions = {"ServerApp": {"jpserver_extensions": {"jupyter_scheduler": True}}}
    (configured / "scheduler.json").write_text(json.dumps(extensions))
    server = JupyterServer(folder, f"--Scheduler.execution_manager_class={MANAGER}")
    server.start()
    yield server
    server.end()


def scheduled(server: JupyterServer, path: Path, **parameters: str) -> str:
    """The id of a job that was started."""
    asked = {
        "name": path.stem,
        "input_uri": path.name,
        "runtime_environment_name": "python3",
        "output_formats": ["ipynb"],
        "parameters": parameters,
    }
    answer = server.ask("POST", "scheduler/jobs", asked)
    assert answer.status == 200, answer.content
    return str(answer.json["job_id"])


def done(server: JupyterServer, job_id: str) -> Any:
    """The job once it has ended."""
    ended = ("COMPLETED", "FAILED")
    path = f"scheduler/jobs/{job_id}"
    return until(lambda: (found := server.ask("GET", path).json)["status"] in ended and found, f"the end of {path}")


def test_a_scheduled_notebook_becomes_a_run(scheduling: JupyterServer) -> None:
    cell = "import jupyter_mlops as mlops\nmlops.log_metric('auc', depth / 10)\nassert depth < 9, 'too deep'"
    path = write_notebook(scheduling.work / "nightly.ipynb", cell, parameters="depth: int = 3")
    jobs = [scheduled(scheduling, path, depth=depth) for depth in ("7", "9", "deep")]
    job, failed, refused = (done(scheduling, job_id) for job_id in jobs)
    assert job["status"] == "COMPLETED", (job, scheduling.log)
    assert failed["status"] == "FAILED"
    assert "too deep" in failed["status_message"]
    assert "declared as int" in refused["status_message"]
    with RemoteTracker(f"{scheduling.url}/mlops", TOKEN) as tracker:
        runs = tracker.runs.search([tracker.experiments.find("nightly").experiment_id]).items
        by_job = {tag.value: run for run in runs for tag in run.tags if tag.key == "jupyter_scheduler.job"}
        assert by_job.keys() == {job["job_id"], failed["job_id"]}
        run = by_job[job["job_id"]]
        assert (run.status.value, run.source, run.params[0].value) == ("FINISHED", "nightly.ipynb", 7)
        assert [metric.value for metric in run.metrics if metric.key == "auc"] == [0.7]
        assert by_job[failed["job_id"]].status.value == "FAILED"
