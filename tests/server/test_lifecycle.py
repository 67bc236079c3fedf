"""What becomes of submitted runs when their server stops, dies or comes back; and a server without the extension."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.notebook_files import write_notebook
from tests.server.jupyter import JupyterServer
from tests.server.test_jobs import WAITS, ended, job, submit
from tests.waiting import processes_with, until

pytestmark = pytest.mark.slow


@pytest.fixture
def own(tmp_path: Path) -> Iterator[JupyterServer]:
    """A server of this test's own, that runs one notebook at a time; not started."""
    server = JupyterServer(tmp_path, "--MLOpsExtension.concurrent_runs=1")
    yield server
    if server.process is not None:
        server.end()


def started(server: JupyterServer, name: str, flag: Path) -> str:
    """The id of a run of a notebook that has done its first cell and waits for ``flag``."""
    write_notebook(server.work / f"{name}.ipynb", "pass", WAITS.format(path=str(flag)), "print('done')")
    run_id = str(submit(server, f"{name}.ipynb")["run_id"])
    until(lambda: job(server, run_id)["run"].get("progress"), "the first cell")
    return run_id


def test_a_stopped_server_ends_its_runs_and_the_next_goes_on_with_what_waited(own: JupyterServer) -> None:
    own.start()
    flag = own.folder / "flag"
    run_id = started(own, "stopped", flag)
    waiting = submit(own, "stopped.ipynb")["run_id"]
    own.end(signal.SIGTERM)
    assert not processes_with(run_id)
    flag.touch()
    own.start()
    stopped = job(own, run_id)
    assert (stopped["status"], stopped["reason"]["kind"]) == ("FAILED", "server stopped")
    assert stopped["run"]["progress"] == {"done": 2, "total": 3, "failed": 1}
    executed = own.ask("GET", f"mlops/api/v1/runs/{run_id}/content?path=notebook/executed.ipynb").json
    assert [cell["execution_count"] for cell in executed["cells"]] == [1, 2, None]
    assert ended(own, waiting)["status"] == "FINISHED"


def test_what_died_with_its_server_is_closed_by_the_next(own: JupyterServer) -> None:
    own.start()
    run_id = started(own, "died", own.folder / "never")
    [worker] = [one for one in processes_with(run_id) if "jupyter_mlops.execution.jobworker" in one.cmdline()]
    own.end(signal.SIGKILL)
    worker.kill()
    own.start()
    found = ended(own, run_id)
    assert (found["status"], found["reason"]["kind"]) == ("FAILED", "server stopped")
    until(lambda: not processes_with(run_id), "the end of the kernel")


def test_runs_go_on_without_their_server_where_that_is_wanted(own: JupyterServer) -> None:
    own.options = (
        *own.options,
        "--MLOpsExtension.end_runs_with_server=False",
        "--MLOpsExtension.activity_limit=0",
    )
    own.start()
    flag = own.folder / "flag"
    run_id = started(own, "goes-on", flag)
    assert "goes on" in job(own, run_id)["notice"]
    until(lambda: datetime.now(timezone.utc) - _last_activity(own) > timedelta(seconds=4), "nothing that counts")
    own.end(signal.SIGTERM)
    flag.touch()
    until(lambda: not processes_with(run_id), "the end of the run")
    own.start()
    assert ended(own, run_id)["status"] == "FINISHED"


def test_a_run_keeps_an_idle_culler_away(own: JupyterServer) -> None:
    own.start()
    started(own, "active", own.folder / "never")
    asked = _last_activity(own)
    until(lambda: _last_activity(own) - asked > timedelta(seconds=3), "activity of the run alone")


def test_a_server_without_the_extension_starts(own: JupyterServer) -> None:
    config = own.folder / "config" / "jupyter_server_config.d"
    config.mkdir(parents=True)
    disabled = {"ServerApp": {"jpserver_extensions": {"jupyter_mlops": False}}}
    (config / "jupyter_mlops.json").write_text(json.dumps(disabled))
    own.environment["JUPYTER_CONFIG_PATH"] = str(config.parent)
    own.start()
    assert own.ask("GET", "api/status").status == 200
    assert own.ask("GET", "mlops/server/v1/status").status == 404


def _last_activity(server: JupyterServer) -> datetime:
    # Asking for this does not count.
    return datetime.fromisoformat(server.ask("GET", "api/status").json["last_activity"].replace("Z", "+00:00"))
