"""``jupyter mlops sweep``: children under one parent, failures that stop nobody, and resuming."""

from __future__ import annotations

import json
import os
import signal
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from jupyter_mlops.core.errors import NotFound
from jupyter_mlops.core.records import NewRun, ReasonKind, Run, RunKind, RunStatus
from jupyter_mlops.execution.sweep import Sweep
from jupyter_mlops.recording.heartbeat import beating
from jupyter_mlops.tracker.process import this_runner
from jupyter_mlops.tracker.protocol import Tracker
from tests.execution.conftest import LONGEST_COMMAND, Command
from tests.service.inprocess import running
from tests.waiting import processes_with, until

WORK = "import jupyter_mlops as mlops\nmlops.log_metric('score', x * 10 + y)"
PARAMETERS = "x: float = 0\ny: int = 0\nkind = 'a'"


def points(runs: list[Run]) -> list[tuple[Any, Any]]:
    values = [{param.key: param.value for param in run.params} for run in runs]
    return sorted((found["x"], found["y"]) for found in values)


def parent_of(tracker: Tracker) -> Run:
    (found,) = [run for run in tracker.runs.search().items if run.kind is RunKind.SWEEP]
    return found


@pytest.mark.slow
def test_a_sweep_from_the_command_line_to_the_record(
    mlops: Any, notebook: Callable[..., Path], tracker: Tracker
) -> None:
    path = notebook(WORK, parameters=PARAMETERS, name="surface")
    before = path.read_bytes()
    grid = ["--grid", "x=0.5,1.5", "--grid", "y=1:3:2"]
    output = mlops("sweep", str(path), *grid, "-p", "kind=b", "--metric", "score", "--name", "plane", "--jobs", "2")

    parent = tracker.runs.resolve("plane")
    children = list(tracker.runs.children(parent.run_id))
    assert parent.status is RunStatus.FINISHED
    assert parent.kind is RunKind.SWEEP
    assert parent.progress is not None
    assert (parent.progress.done, parent.progress.total, parent.progress.failed) == (4, 4, 0)
    assert points(children) == [(0.5, 1), (0.5, 3), (1.5, 1), (1.5, 3)]
    assert {child.status for child in children} == {RunStatus.FINISHED}
    assert {param.value for child in children for param in child.params if param.key == "kind"} == {"b"}
    assert sorted(child.name for child in children) == ["plane-1", "plane-2", "plane-3", "plane-4"]
    assert {child.source for child in children} == {str(path)}
    assert {child.experiment_id for child in children} == {parent.experiment_id}
    assert tracker.experiments.get(parent.experiment_id).name == "surface"
    assert path.read_bytes() == before
    # The best by the metric comes first in the table, and is on record.
    best = {tag.key: tag.value for tag in parent.tags}["mlops.sweep.best"]
    assert {param.key: param.value for param in tracker.runs.get(best).params}["x"] == 1.5
    table = [line.split()[0] for line in output.splitlines() if "plane-" in line and "jupyter" not in line]
    assert table == ["plane-4", "plane-3", "plane-2", "plane-1"]
    # Plain lines, since nobody looks: one an end, with the best so far.
    ends = [line for line in mlops.errors.splitlines() if line.startswith("plane-")]
    assert len(ends) == 4
    assert "4 of 4 done, best score 18 (plane-4)" in ends[-1]
    assert "\x1b" not in output + mlops.errors


@pytest.mark.slow
def test_a_failed_point_is_shown_and_stops_nobody_and_is_resumed(
    mlops: Any, notebook: Callable[..., Path], tracker: Tracker, tmp_path: Path
) -> None:
    switch = tmp_path / "works"
    path = notebook(
        f"from pathlib import Path\nif y == 2:\n    assert Path({str(switch)!r}).exists(), 'not yet'",
        WORK,
        parameters=PARAMETERS,
    )
    found = mlops.json("sweep", str(path), "--grid", "y=1,2,3", "--metric", "score", "--minimize", "-j", "1", status=1)
    assert found["sweep"]["status"] == "FAILED"
    assert found["sweep"]["reason"]["message"] == "1 of 3 points failed: cell error in cell 3 (1)"
    assert [run["status"] for run in found["runs"]] == ["FINISHED", "FAILED", "FINISHED"]
    assert found["best"]["run_id"] == found["runs"][0]["run_id"]
    name = found["sweep"]["name"]
    assert f"✗ {name}-2" in mlops.errors
    assert "cell error in cell 3 (In [3]): AssertionError: not yet" in mlops.errors
    assert "→    3 │     assert" in mlops.errors

    # The notebook has changed since; the sweep goes on with the one it began with.
    path.write_text("no notebook any more")
    switch.touch()
    resumed = mlops.json("sweep", "--resume", name)
    assert resumed["sweep"]["run_id"] == found["sweep"]["run_id"]
    assert resumed["sweep"]["status"] == "FINISHED"
    assert "reason" not in resumed["sweep"]
    assert resumed["sweep"]["progress"] == {"done": 3, "total": 3}
    assert [run["status"] for run in resumed["runs"]] == ["FINISHED"] * 3
    assert [run["run_id"] for run in resumed["runs"][::2]] == [run["run_id"] for run in found["runs"][::2]]
    assert resumed["runs"][1]["name"] == f"{name}-2.2"


@pytest.mark.slow
def test_kill_9_of_the_sweep_leaves_no_process_and_resume_completes_what_is_missing(
    mlops: Any, notebook: Callable[..., Path], tracker: Tracker, tmp_path: Path
) -> None:
    switch = tmp_path / "go-on"
    path = notebook(
        WORK,
        f"from pathlib import Path\nimport time\nwhile x == 2 and not Path({str(switch)!r}).exists(): time.sleep(0.01)",
        parameters=PARAMETERS,
    )
    process = mlops.start("sweep", str(path), "--grid", "x=1,2,3", "--jobs", "1")

    def second() -> Run | None:
        children = [run for run in tracker.runs.search().items if run.parent_run_id is not None]
        return next((run for run in children if run.name.endswith("-2") and run.runner is not None), None)

    going = until(second, "the beginning of the second point")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: not processes_with(going.run_id), "the end of the kernel")
    until(lambda: not processes_with(f"MLOPS_HOME={os.environ['MLOPS_HOME']}"), "the end of the worker")

    parent = parent_of(tracker)
    mlops("runs", "list")
    lost = tracker.runs.get(parent.run_id)
    assert lost.status is RunStatus.FAILED
    assert lost.reason is not None
    assert lost.reason.kind is ReasonKind.RUNNER_LOST
    first = [run.run_id for run in tracker.runs.children(parent.run_id) if run.status is RunStatus.FINISHED]
    assert len(first) == 1
    assert tracker.runs.get(going.run_id).status in (RunStatus.KILLED, RunStatus.FAILED)

    switch.touch()
    resumed = mlops.json("sweep", "--resume", parent.name, "--jobs", "2")
    assert resumed["sweep"]["status"] == "FINISHED"
    assert resumed["sweep"]["heartbeat"] > lost.heartbeat
    finished = [run for run in tracker.runs.children(parent.run_id) if run.status is RunStatus.FINISHED]
    assert points(finished) == [(1, 0), (2, 0), (3, 0)]
    assert first[0] in {run.run_id for run in finished}
    # Nothing is missing now, so nothing is run again.
    mlops("sweep", "--resume", parent.name)
    assert len(tracker.runs.children(parent.run_id)) == 4


@pytest.mark.slow
def test_of_two_resumes_at_once_one_is_refused(
    mlops: Any, notebook: Callable[..., Path], tracker: Tracker, tmp_path: Path
) -> None:
    switch = tmp_path / "go-on"
    wait = f"from pathlib import Path\nimport time\nwhile not Path({str(switch)!r}).exists(): time.sleep(0.01)"
    path = notebook(f"{wait}\nif x == 2 and Path('fail').exists(): raise ValueError(x)", parameters=PARAMETERS)
    (path.parent / "fail").touch()
    switch.touch()
    mlops("sweep", str(path), "--grid", "x=1,2", status=1)
    (path.parent / "fail").unlink()
    switch.unlink()
    parent = parent_of(tracker)
    both = [mlops.start("sweep", "--resume", parent.name) for _ in range(2)]
    refused = until(lambda: next((process for process in both if process.poll() is not None), None), "a refusal")
    _, errors = refused.communicate()
    assert refused.returncode == 1
    assert f"the sweep {parent.name} is" in errors
    assert "it can be resumed when that has ended" in errors
    (going,) = (process for process in both if process is not refused)
    # The lock goes with its process.
    os.kill(going.pid, signal.SIGKILL)
    going.wait()
    switch.touch()
    mlops("sweep", "--resume", parent.name)
    finished = [run for run in tracker.runs.children(parent.run_id) if run.status is RunStatus.FINISHED]
    assert points(finished) == [(1, 0), (2, 0)]


def test_a_sweep_of_another_host_is_left_to_it_while_it_gives_signs_of_life(
    mlops: Any, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = tracker.experiments.ensure("e")
    runner = msgspec.structs.replace(this_runner(), host="elsewhere")
    run = tracker.runs.create(
        NewRun(experiment_id=experiment.experiment_id, kind=RunKind.SWEEP, name="away", runner=runner)
    )
    before = run.heartbeat
    assert before is not None
    with beating(tracker, run.run_id):
        until(lambda: (tracker.runs.get(run.run_id).heartbeat or 0) > before, "a heartbeat")
    mlops("sweep", "--resume", "away", status=1)
    assert f"still going on (process {runner.pid} on elsewhere)" in mlops.errors
    monkeypatch.setattr("jupyter_mlops.execution.sweep.SILENT_SECONDS", 0)
    with pytest.raises(NotFound, match=r"sweep\.json"):  # that is, the plan would be read
        Sweep.load(tracker, run, secrets={})


@pytest.mark.slow
def test_ctrl_c_ends_children_and_parent_as_killed(mlops: Any, notebook: Callable[..., Path], tracker: Tracker) -> None:
    path = notebook("open(f'begun-{x}', 'w').close()\nimport time\nwhile True: time.sleep(0.01)", parameters=PARAMETERS)
    process = mlops.start("sweep", str(path), "--grid", "x=1,2,3", "--jobs", "2")
    until(lambda: all((path.parent / f"begun-{x}").exists() for x in (1, 2)), "the beginning of two points")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 130
    parent = parent_of(tracker)
    assert f"jupyter mlops sweep --resume {parent.name}" in errors
    assert parent.status is RunStatus.KILLED
    assert parent.reason is not None
    assert parent.reason.kind is ReasonKind.CANCELLED
    assert [child.status for child in tracker.runs.children(parent.run_id)] == [RunStatus.KILLED] * 2
    assert processes_with(f"MLOPS_HOME={os.environ['MLOPS_HOME']}") == []


@pytest.mark.slow
def test_secrets_are_not_kept_and_asked_for_again(
    mlops: Any, notebook: Callable[..., Path], tracker: Tracker, home: Path
) -> None:
    path = notebook("assert api_key == 'open-sesame-1' and depth != 2", parameters="api_key = ''\ndepth = 1")
    found = mlops.json("sweep", str(path), "--grid", "depth=1,2", "-p", "api_key=open-sesame-1", status=1)
    parent = tracker.runs.get(found["sweep"]["run_id"])
    assert [param.redacted for param in parent.params if param.key == "api_key"] == [True]
    for artifact in tracker.artifacts.walk(parent.run_id):
        content = b"".join(tracker.artifacts.open(parent.run_id, artifact.path))
        assert artifact.path.endswith(".ipynb") or b"open-sesame-1" not in content
    mlops("sweep", "--resume", parent.name, status=2)
    assert "-p api_key VALUE" in mlops.errors
    mlops("sweep", "--resume", parent.name, "-p", "depth=3", "-p", "api_key=open-sesame-1", status=2)
    assert "stay as they were when it began, also depth" in mlops.errors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--grid", "x=1,2", "--grid", "z=1"], "unknown parameter 'z'"),
        (["--grid", "y=1,two"], "parameter 'y' is declared as int"),
        (["--grid", "x=1,2", "-p", "y=two"], "parameter 'y' is declared as int"),
        (["--grid", "x=1,2", "-p", "x=2"], "'x' is given twice, as an axis and with one value"),
        (["--grid", "x=1", "-k", "no-such-kernel"], "there is no kernel 'no-such-kernel'"),
        (["--grid", "x=1", "--engine", "lokal"], "no engine 'lokal' is installed"),
        (["--grid", "x=1", "--engine", "dask", "--cluster", "local:none"], "after local: comes the number of workers"),
        (["--grid", "x=1", "--seed", "3"], "seed: it makes a sample or a search repeatable"),
        ([], "--grid NAME=VALUES"),
        (["--resume", "brave-otter-1"], "cannot be given with --resume"),
    ],
)
def test_what_cannot_be_accepted_is_refused_before_anything_is_recorded(
    mlops: Any, notebook: Callable[..., Path], tracker: Tracker, words: list[str], message: str
) -> None:
    path = notebook(WORK, parameters=PARAMETERS)
    mlops("sweep", str(path), *words, status=2)
    assert message in mlops.errors
    assert tracker.runs.search().items == ()
    assert tracker.experiments.search().items == ()


def test_points_keep_their_names_when_the_notebook_names_its_run(
    mlops: Any, notebook: Callable[..., Path], tracker: Tracker
) -> None:
    """As notebooks that were written for MLflow do: all would be called the same."""
    code = """
import jupyter_mlops as mlops
with mlops.start_run(run_name="training"):
    mlops.log_metric("m", depth)
    with mlops.start_run(nested=True, run_name="fold"):
        pass
mlops.set_tag("mlflow.runName", "training 2")
"""
    path = notebook(code, parameters="depth = 1")
    mlops("sweep", str(path), "--grid", "depth=1,2", "--name", "grown", "--metric", "m")
    for name in ("grown-1", "grown-2"):
        run = tracker.runs.resolve(name)
        assert {tag.key: tag.value for tag in run.tags}["mlops.run_name"] == "training 2"
        assert [child.name for child in tracker.runs.children(run.run_id)] == ["fold"]
    assert mlops.json("run", str(path), "--name", "chosen")["name"] == "chosen"
    assert mlops.json("run", str(path))["name"] == "training 2"


def test_the_best_runs_model_is_offered_to_be_registered(mlops: Any, notebook: Callable[..., Path]) -> None:
    code = """
import jupyter_mlops as mlops
mlops.log_text("flavors: {}", "model/MLmodel")
mlops.log_metric("m", depth)
"""
    path = notebook(code, parameters="depth = 1")
    output = mlops("sweep", str(path), "--grid", "depth=1,2", "--name", "grown", "--metric", "m")
    assert "jupyter mlops models register grown-2 NAME --alias production" in output


MEETS = """
import time
from pathlib import Path
import jupyter_mlops as mlops
mlops.log_metric("auc", x / 10)
Path(f"begun-{x}").touch()
while not Path(f"go-{x}").exists():
    time.sleep(0.02)
"""


@contextmanager
def slamming(port: int) -> Iterator[list[object]]:
    """Close every connection to the port at once; gives who came."""
    came: list[object] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            came.append(self.client_address)

    class Slamming(socketserver.TCPServer):
        allow_reuse_address = True

    with Slamming(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield came
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "fork"])
def test_a_sweep_goes_on_while_the_service_is_restarted(
    mlops: Command,
    notebook: Callable[..., Path],
    tmp_path: Path,
    sqlite_url: str,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
) -> None:
    """A point ends while it is away, and the next one is to begin."""
    path = notebook(MEETS, parameters="x = 0")
    with running(sqlite_url, tmp_path / "artifacts", tmp_path) as service:
        monkeypatch.setenv("MLOPS_TRACKING_URL", service.url)
        monkeypatch.setenv("MLOPS_TRACKING_TOKEN", service.token("ada"))
        sweep = mlops.start("sweep", str(path), "-g", "x=1,2", "-m", "auc", "-j", "1", "--engine", engine, "--json")
        until((path.parent / "begun-1").exists, "the beginning of the first point")
        port = urlsplit(service.url).port or 0
    with slamming(port) as slammed:
        (path.parent / "go-1").touch()
        (path.parent / "go-2").touch()
        until(lambda: not processes_with(f"MLOPS_RUN_DIR={tmp_path}"), "the end of the first kernel")
        before = len(slammed)
        until(lambda: len(slammed) > before + 4, "the service being asked again and again")
    with running(sqlite_url, tmp_path / "artifacts", tmp_path, port):
        output, errors = sweep.communicate(timeout=LONGEST_COMMAND)
    assert sweep.returncode == 0, errors
    found = json.loads(output)
    metrics = [{metric["key"]: metric["value"] for metric in run["metrics"]} for run in found["runs"]]
    assert [run["status"] for run in found["runs"]] == ["FINISHED"] * 2
    assert [logged["auc"] for logged in metrics] == [0.1, 0.2]
    assert found["sweep"]["status"] == "FINISHED"


@pytest.mark.slow
def test_a_sweep_is_interrupted_at_once_also_while_the_service_is_away(
    mlops: Command, notebook: Callable[..., Path], tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = notebook(MEETS, parameters="x = 0")
    with running(sqlite_url, tmp_path / "artifacts", tmp_path) as service:
        monkeypatch.setenv("MLOPS_TRACKING_URL", service.url)
        monkeypatch.setenv("MLOPS_TRACKING_TOKEN", service.token("ada"))
        sweep = mlops.start("sweep", str(path), "-g", "x=1,2", "-j", "1", "--engine", "local", "--name", "cut")
        until((path.parent / "begun-1").exists, "the beginning of the first point")
        port = urlsplit(service.url).port or 0
    sweep.send_signal(signal.SIGINT)
    _, errors = sweep.communicate(timeout=LONGEST_COMMAND)
    assert sweep.returncode == 130, errors
    assert "--resume cut" in errors
    with running(sqlite_url, tmp_path / "artifacts", tmp_path, port):
        runs = {run["name"]: run["status"] for run in mlops.json("runs", "list")}
    assert set(runs) == {"cut", "cut-1"}
    assert set(runs.values()) <= {"FAILED", "KILLED"}
