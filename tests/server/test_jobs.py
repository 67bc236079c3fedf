"""Submitted runs and sweeps: from a notebook in the server's file browser to a record, in processes of their own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlops.core.errors import Conflict, Unavailable
from jupyter_mlops.core.quotas import Quota
from jupyter_mlops.core.records import NewRun, RunKind, RunStatus
from jupyter_mlops.execution.queue import Queue
from jupyter_mlops.server.documents import Document
from jupyter_mlops.server.operations import ENDPOINTS, NewSweepJob
from jupyter_mlops.server.submission import Submitter
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.notebook_files import printed, write_notebook
from tests.server.jupyter import TOKEN, JupyterServer
from tests.waiting import processes_with, until

pytestmark = pytest.mark.slow

WAITS = "import pathlib, time\nwhile not pathlib.Path({path!r}).exists(): time.sleep(0.02)"
LOGS = "import jupyter_mlops as mlops\nmlops.log_metric('auc', depth / 10)\nprint('depth is', depth)"


@pytest.fixture
def tracker(server: JupyterServer) -> Iterator[RemoteTracker]:
    with RemoteTracker(f"{server.url}/mlops", TOKEN) as opened:
        yield opened


def submit(server: JupyterServer, path: str, status: int = 200, **more: Any) -> Any:
    answer = server.ask("POST", "mlops/server/v1/runs", {"path": path, **more})
    assert answer.status == status, answer.content
    return answer.json


def job(server: JupyterServer, run_id: str) -> Any:
    answer = server.ask("GET", f"mlops/server/v1/jobs/{run_id}")
    assert answer.status == 200, answer.content
    return answer.json


def ended(server: JupyterServer, run_id: str) -> Any:
    return until(lambda: (found := job(server, run_id)).get("ended") and found, f"the end of {run_id}")


def test_a_submitted_notebook_becomes_a_finished_run(server: JupyterServer, tracker: RemoteTracker) -> None:
    (server.work / "deep").mkdir(exist_ok=True)
    path = write_notebook(server.work / "deep" / "churn.ipynb", LOGS, parameters="depth: int = 3  # of the trees")
    before = path.read_bytes()
    submitted = submit(server, "deep/churn.ipynb", parameters={"depth": 7}, experiment="submitted")
    assert submitted["status"] == "SCHEDULED"
    assert submitted["run"]["status"] == "SCHEDULED"
    assert submitted["run"]["params"] == [{"key": "depth", "value": 7, "text": "7"}]
    assert "server stopped" in submitted["notice"]
    found = ended(server, submitted["run_id"])
    assert (found["status"], found["run"]["status"]) == ("FINISHED", "FINISHED")
    assert found["run"]["progress"] == {"done": 3, "total": 3}
    assert "notice" not in found
    run = tracker.runs.get(submitted["run_id"])
    assert {param.key: param.value for param in run.params} == {"depth": 7}
    assert [metric.value for metric in run.metrics if metric.key == "auc"] == [0.7]
    assert run.source == str(path)
    assert tracker.experiments.get(run.experiment_id).name == "submitted"
    executed = json.loads(b"".join(tracker.artifacts.open(run.run_id, "notebook/executed.ipynb")))
    assert printed(executed) == "depth is 7\n"
    assert b"".join(tracker.artifacts.open(run.run_id, "notebook/source.ipynb")) == before
    assert path.read_bytes() == before
    log = server.ask("GET", f"mlops/server/v1/jobs/{run.run_id}/log").json
    assert "churn.ipynb begins" in log["text"]
    assert "finished" in log["text"]
    rest = server.ask("GET", f"mlops/server/v1/jobs/{run.run_id}/log?start={log['end']}").json
    assert rest == {"text": "", "start": log["end"], "end": log["end"]}


def test_a_submitted_run_waits_while_its_owner_has_enough(server: JupyterServer, tracker: RemoteTracker) -> None:
    write_notebook(server.work / "later.ipynb", "x = 1")
    owner = server.ask("GET", "mlops/server/v1/status").json["owner"]
    tracker.quotas.set(owner, Quota(running=0))
    run_id = submit(server, "later.ipynb")["run_id"]
    until(lambda: "for runs at once is 0" in job(server, run_id)["notice"], "being held up")
    assert job(server, run_id)["status"] == "SCHEDULED"
    tracker.quotas.set(owner, Quota(runs=1))
    assert "uses" in server.ask("GET", "mlops/server/v1/status").json["warnings"][0]
    tracker.quotas.set(owner, None)
    assert ended(server, run_id)["status"] == "FINISHED"


def test_a_failed_run_tells_the_cell_and_can_be_done_again(server: JupyterServer, tracker: RemoteTracker) -> None:
    flag = server.folder / "repaired"
    write_notebook(
        server.work / "fails.ipynb", f"import pathlib\nassert pathlib.Path({str(flag)!r}).exists(), 'broken'"
    )
    first = ended(server, submit(server, "fails.ipynb")["run_id"])
    assert (first["status"], first["reason"]["kind"], first["reason"]["cell"]) == ("FAILED", "cell error", 0)
    flag.touch()
    (server.work / "fails.ipynb").unlink()
    again = server.ask("POST", f"mlops/server/v1/jobs/{first['run_id']}/retry").json
    assert ended(server, again["run_id"])["status"] == "FINISHED"
    tags = {tag.key: tag.value for tag in tracker.runs.get(again["run_id"]).tags}
    assert tags["mlops.rerun.of"] == first["run_id"]


def test_a_recorded_run_is_reproduced(server: JupyterServer, tracker: RemoteTracker) -> None:
    path = write_notebook(server.work / "again.ipynb", LOGS, parameters="depth: int = 3")
    first = ended(server, submit(server, "again.ipynb", parameters={"depth": 4}, experiment="again")["run_id"])
    # What was recorded counts, not what has become of the file.
    path.unlink()
    place = f"mlops/server/v1/runs/{first['run_id']}/reproduction"
    answer = server.ask("POST", place, {})
    assert answer.status == 200, answer.content
    again = answer.json["run_id"]
    assert ended(server, again)["status"] == "FINISHED"
    run = tracker.runs.get(again)
    assert {param.key: param.value for param in run.params} == {"depth": 4}
    assert {tag.key: tag.value for tag in run.tags}["mlops.rerun.of"] == first["run_id"]
    judged = server.ask("GET", f"{place}?again={again}&tolerance=0.5").json
    assert judged["agreement"] == "equal"
    assert judged["metrics"] == [{"key": "auc", "recorded": 0.4, "again": 0.4, "agreement": "equal"}]
    refused = server.ask("GET", f"{place}?again={first['run_id']}")
    assert refused.status == 400, refused.content
    write_notebook(server.work / "broken.ipynb", "1 / 0")
    other = ended(server, submit(server, "broken.ipynb")["run_id"])
    refused = server.ask("POST", f"mlops/server/v1/runs/{other['run_id']}/reproduction", {})
    assert (refused.status, "only what finished" in refused.json["message"]) == (400, True)


def test_a_sweep_runs_its_points_and_goes_on_where_it_failed(server: JupyterServer, tracker: RemoteTracker) -> None:
    flag = server.folder / "sweep-repaired"
    cell = f"import pathlib\nassert x < 3 or pathlib.Path({str(flag)!r}).exists()"
    write_notebook(server.work / "sweep.ipynb", cell, parameters="x = 1")
    asked = {"path": "sweep.ipynb", "grid": ["x=1,2,3"], "experiment": "swept"}
    answer = server.ask("POST", "mlops/server/v1/sweeps", asked)
    assert answer.status == 200, answer.content
    run_id = answer.json["run_id"]
    assert answer.json["is_sweep"]
    first = ended(server, run_id)
    assert first["status"] == "FAILED"
    assert first["run"]["progress"] == {"done": 3, "total": 3, "failed": 1}
    assert len(tracker.runs.children(run_id)) == 3
    flag.touch()
    assert server.ask("POST", f"mlops/server/v1/jobs/{run_id}/retry").status == 200
    assert ended(server, run_id)["status"] == "FINISHED"
    assert len(tracker.runs.children(run_id)) == 4
    assert server.ask("POST", f"mlops/server/v1/jobs/{run_id}/retry").status == 409


def test_no_more_run_at_once_than_allowed_and_any_can_be_cancelled(server: JupyterServer) -> None:
    flag = server.folder / "limit"
    write_notebook(server.work / "waits.ipynb", "pass", WAITS.format(path=str(flag)))
    jobs = [submit(server, "waits.ipynb")["run_id"] for _ in range(4)]
    until(lambda: [job(server, one)["status"] for one in jobs[:2]] == ["RUNNING"] * 2, "the start of two")
    assert [job(server, one).get("ahead", 0) for one in jobs[2:]] == [0, 1]
    status = server.ask("GET", "mlops/server/v1/status").json
    assert (status["working"], status["waiting"], status["limit"]) == (2, 2, 2)
    until(lambda: job(server, jobs[0])["run"].get("progress"), "progress of the first")
    for cancelled in (jobs[3], jobs[0]):
        assert server.ask("POST", f"mlops/server/v1/jobs/{cancelled}/cancel").status == 200
    assert {ended(server, one)["status"] for one in (jobs[3], jobs[0])} == {"KILLED"}
    reason = job(server, jobs[0])["reason"]
    assert reason["kind"] == "cancelled"
    assert reason["message"].startswith("cancelled by ")
    until(lambda: job(server, jobs[2])["status"] == "RUNNING", "the third's turn")
    flag.touch()
    assert [ended(server, one)["status"] for one in jobs[1:3]] == ["FINISHED"] * 2
    assert server.ask("POST", f"mlops/server/v1/jobs/{jobs[0]}/cancel").status == 409
    listed = [one["run_id"] for one in server.ask("GET", "mlops/server/v1/jobs?limit=4").json["jobs"]]
    assert listed == jobs[::-1]


def test_a_run_whose_worker_was_killed_is_closed_with_the_reason(server: JupyterServer) -> None:
    write_notebook(server.work / "lost.ipynb", "pass", WAITS.format(path=str(server.folder / "never")))
    run_id = submit(server, "lost.ipynb")["run_id"]
    until(lambda: job(server, run_id)["run"].get("progress", {}).get("total"), "the start of the cells")
    [worker] = [one for one in processes_with(run_id) if "jupyter_mlops.execution.jobworker" in one.cmdline()]
    worker.kill()
    found = ended(server, run_id)
    assert (found["status"], found["reason"]["kind"]) == ("FAILED", "runner lost")
    assert "SIGKILL" in found["reason"]["message"]
    until(lambda: not processes_with(run_id), "the end of the kernel")


def test_secret_parameters_are_written_nowhere_and_asked_for_again(server: JupyterServer) -> None:
    secret = "correct-horse-battery"
    write_notebook(server.work / "secret.ipynb", "assert len(api_token) == 21", parameters="api_token: str = ''")
    run_id = submit(server, "secret.ipynb", parameters={"api_token": secret})["run_id"]
    assert ended(server, run_id)["status"] == "FINISHED"
    found = [path for path in server.folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert found == []
    lacking = server.ask("POST", f"mlops/server/v1/jobs/{run_id}/retry")
    assert (lacking.status, "api_token" in lacking.json["message"]) == (400, True)
    given = server.ask("POST", f"mlops/server/v1/jobs/{run_id}/retry", {"parameters": {"api_token": secret}})
    assert ended(server, given.json["run_id"])["status"] == "FINISHED"


def test_a_notebooks_parameters_make_a_form(server: JupyterServer) -> None:
    parameters = "lr: float = 0.1  # step size\nkind: Literal['forest', 'linear'] = 'forest'"
    write_notebook(server.work / "form.ipynb", "pass", parameters=parameters)
    form = server.ask("GET", "mlops/server/v1/notebook?path=form.ipynb").json
    assert (form["kernel"], form["language"], form["is_shared"]) == ("python3", "python", False)
    assert (form["experiment"], form["has_parameters_cell"]) == ("form", True)
    assert form["parameters"]["properties"] == {
        "lr": {"type": "number", "description": "step size", "default": 0.1},
        "kind": {"enum": ["forest", "linear"], "default": "forest"},
    }
    engines = [(engine["name"], engine["needs_cluster"]) for engine in form["engines"]]
    assert engines == [("fork", False), ("dask", True), ("fork-equal", False), ("local", False)]
    write_notebook(server.work / "bare.ipynb", "pass")
    assert not server.ask("GET", "mlops/server/v1/notebook?path=bare.ipynb").json["has_parameters_cell"]


def test_a_notebook_that_is_called_as_no_experiment_can_be_is_asked_for_one(server: JupyterServer) -> None:
    write_notebook(server.work / "a\tb.ipynb", "pass")
    assert server.ask("GET", "mlops/server/v1/notebook?path=a%09b.ipynb").json["experiment"] == ""
    assert "name one, or rename the notebook" in submit(server, "a\tb.ipynb", 400)["message"]


def test_a_plan_tells_what_would_come_of_it_and_what_is_wrong_where(
    server: JupyterServer, tracker: RemoteTracker
) -> None:
    write_notebook(server.work / "plan.ipynb", "pass", parameters="lr: float = 0.1\ndepth = 3\napi_key = ''")

    def plan(**asked: Any) -> Any:
        answer = server.ask("POST", "mlops/server/v1/plan", {"path": "plan.ipynb", **asked})
        assert answer.status == 200, answer.content
        return answer.json

    assert plan(parameters={"lr": 1}) == {"runs": 1, "at_once": 1, "ends_with_server": True}
    assert plan(grid=["lr=log(1e-4,1e-1,20)", "depth=3:9:2"])["runs"] == 80
    assert plan(grid=["lr=0.1"])["at_once"] == 1
    sampled = plan(grid=["lr=log(1e-4,1e-1,20)", "depth=3:9:2"], sample=7, jobs=50)
    assert (sampled["runs"], sampled["at_once"]) == (7, 2)
    wrong = plan(
        parameters={"depth": "deep", "dept": 3},
        kernel="nope",
        execution_timeout=-1,
        jobs=0,
        sample=5,
        grid=["lr=0.1,,", "api_key=abcdef,ghijkl", "depth=1,2"],
    )
    assert wrong["runs"] is None
    assert [problem["field"] for problem in wrong["problems"]] == [
        *("kernel", "execution_timeout", "parameters.depth", "parameters.dept"),
        *("parameters.lr", "parameters.api_key", "parameters.depth", "jobs"),
    ]
    assert [problem["field"] for problem in plan(grid=["lr=1,2"], sample=3)["problems"]] == ["sample"]
    assert [problem["field"] for problem in plan(grid=["lr=0:1:0.001", "depth=1:99"])["problems"]] == ["grid"]
    search = {"grid": ["lr=loguniform(1e-4,1e-1)"], "optimize": "minimize:loss"}
    assert (plan(**search)["runs"], plan(**search, trials=5)["runs"]) == (20, 5)
    wrong = plan(**search | {"optimize": "least:loss"}, trials=0, sample=2, stop=["nope"], budget="soon")
    assert [problem["field"] for problem in wrong["problems"]] == ["optimize", "trials", "sample", "stop", "budget"]
    assert plan(grid=["depth=1:9"], engine="dask", cluster="local:4")["at_once"] == 9
    assert plan(grid=["depth=1:9"], engine="dask", cluster="local:4", jobs=5)["at_once"] == 5
    for how, field in (
        ({"engine": "dask"}, "engine"),
        ({"engine": "nope"}, "engine"),
        ({"cluster": "local:1"}, "cluster"),
        ({"engine": "dask", "cluster": "local:"}, "cluster"),
        ({"retries": -1}, "retries"),
    ):
        assert [problem["field"] for problem in plan(grid=["depth=1:9"], **how)["problems"]] == [field]
    idle = plan(grid=["lr=uniform(0,1)"], trials=3, sampler="gp", seed=1)
    assert [problem["field"] for problem in idle["problems"]] == ["trials", "sampler", "seed", "grid"]
    assert not [run for run in tracker.runs.search(limit=1000).items if "plan.ipynb" in (run.source or "")]


def test_how_a_run_was_begun_fills_a_form(server: JupyterServer, tracker: RemoteTracker) -> None:
    (server.work / "deep").mkdir(exist_ok=True)
    path = write_notebook(server.work / "deep" / "again.ipynb", "pass", parameters="depth: int = 3\napi_key = ''")

    def begun(run_id: str, status: int = 200) -> Any:
        answer = server.ask("GET", f"mlops/server/v1/runs/{run_id}/intent")
        assert answer.status == status, answer.content
        return answer.json

    how = {"experiment": "begun", "owner": "group:growth", "tags": {"mlflow.note.content": "a note"}}
    run = submit(server, "deep/again.ipynb", parameters={"depth": 7, "api_key": "correct-horse"}, **how)
    assert run["secrets"] == ["api_key"]
    assert ended(server, run["run_id"])["status"] == "FINISHED"
    assert begun(run["run_id"]) == {"path": "deep/again.ipynb", "parameters": {"depth": 7}, "kernel": "python3", **how}
    swept = {"grid": ["depth=1:9"], "sample": 2, "seed": 5, "metric": "auc", "maximize": False, "execution_timeout": 60}
    swept |= {"retries": 1}
    on_dask = {"engine": "dask", "cluster": "local:1"}
    sweep = server.ask("POST", "mlops/server/v1/sweeps", {"path": "deep/again.ipynb", **swept, **how, **on_dask}).json
    assert ended(server, sweep["run_id"])["status"] == "FINISHED"
    assert begun(sweep["run_id"]) == {"path": "deep/again.ipynb", **swept, **how}
    search = {"grid": ["depth=int(1,9)"], "optimize": "minimize:loss", "trials": 2, "sampler": "random", "seed": 5}
    searched = {**search, "stop": ["nan"], "budget": "3600s"}
    job = server.ask("POST", "mlops/server/v1/sweeps", {"path": "deep/again.ipynb", **searched, **how}).json
    assert ended(server, job["run_id"])["status"] == "FINISHED"
    assert len(tracker.runs.children(job["run_id"])) == 2
    assert begun(job["run_id"]) == {"path": "deep/again.ipynb", **searched, **how}
    assert "again.ipynb" in begun(tracker.runs.children(sweep["run_id"])[0].run_id)["path"]
    path.unlink()
    assert "is not among the files" in begun(run["run_id"], status=404)["message"]
    session = tracker.runs.create(NewRun(experiment_id=run["run"]["experiment_id"]))
    assert "is no run of a notebook" in begun(session.run_id, status=400)["message"]
    begun("0" * 32, status=404)


def test_a_run_goes_to_the_experiment_of_whom_is_said(server: JupyterServer, tracker: RemoteTracker) -> None:
    write_notebook(server.work / "owned.ipynb", "pass")
    run_id = submit(server, "owned.ipynb", experiment="owned", owner="group:growth")["run_id"]
    experiment = tracker.experiments.get(tracker.runs.get(run_id).experiment_id)
    assert (experiment.name, experiment.owner) == ("owned", "group:growth")
    assert ended(server, run_id)["status"] == "FINISHED"
    assert "owner" in submit(server, "owned.ipynb", status=400, owner="a\0b")["message"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("../outside.ipynb", 400),
        ("deep/../../outside.ipynb", 400),
        ("..%2foutside.ipynb", 404),
        ("/etc/passwd", 400),
        ("C:\\outside.ipynb", 400),
        ("nul\0.ipynb", 400),
        (".hidden.ipynb", 404),
        ("missing.ipynb", 404),
        ("folder.ipynb", 400),
        ("broken.ipynb", 400),
        ("", 400),
    ],
)
def test_paths_that_name_no_notebook_are_refused(server: JupyterServer, path: str, status: int) -> None:
    write_notebook(server.folder / "outside.ipynb", "pass")
    write_notebook(server.work / ".hidden.ipynb", "pass")
    (server.work / "folder.ipynb").mkdir(exist_ok=True)
    (server.work / "broken.ipynb").write_text("{}")
    problem = submit(server, path, status=status)
    assert str(server.folder) not in problem["message"]


@pytest.mark.parametrize(
    "asked",
    [
        {"parameters": {"dept": 1}},
        {"parameters": {"depth": "deep"}},
        {"parameters": {"depth": [[[]]]}},
        {"parameters": [1]},
        {"kernel": "../../bin/sh"},
        {"kernel": 5},
        {"experiment": "x" * 100_000},
        {"name": "a\0b"},
        {"tags": {"": "x"}},
        {"execution_timeout": -1},
        {"execution_timeout": "soon"},
        {"cwd": "/"},
    ],
)
def test_hostile_requests_are_refused_and_record_nothing(
    server: JupyterServer, tracker: RemoteTracker, asked: dict[str, Any]
) -> None:
    write_notebook(server.work / "typed.ipynb", "pass", parameters="depth: int = 3")
    before = {run.run_id for run in tracker.runs.search(limit=1000).items}
    problem = submit(server, "typed.ipynb", status=400, **asked)
    assert problem["error_code"] == "INVALID_PARAMETER_VALUE"
    assert {run.run_id for run in tracker.runs.search(limit=1000).items} == before


def test_ids_that_name_no_job_are_not_found(server: JupyterServer) -> None:
    for run_id in ("0" * 32, "%2e%2e%2f", "lock", "token", "x" * 1000):
        for method, rest in (("GET", ""), ("GET", "/log"), ("POST", "/cancel"), ("POST", "/retry")):
            answer = server.ask(method, f"mlops/server/v1/jobs/{run_id}{rest}")
            assert answer.status == 404, (run_id, rest, answer.content)


def test_each_endpoint_is_described_and_refuses_strangers(server: JupyterServer) -> None:
    description = server.ask("GET", "mlops/server/v1/openapi.json").json
    asked = [(path, method) for path, methods in description["paths"].items() for method in methods]
    assert len(asked) == len(ENDPOINTS)
    for path, method in asked:
        url = f"mlops/server/v1{path.replace('{run_id}', '0' * 32)}"
        assert server.ask(method.upper(), url, token=None).status in (401, 403), path
        assert server.ask("DELETE", url).status == 405, path


def test_records_of_other_machines_and_users_are_no_error_of_the_server(
    server: JupyterServer, tracker: RemoteTracker
) -> None:
    """A source and a folder that no file system has, and a plan that is none."""
    experiment = tracker.experiments.ensure("strange").experiment_id
    path = write_notebook(server.work / "strange.ipynb", "pass")
    far = NewRun(experiment_id=experiment, kind=RunKind.NOTEBOOK, source=f"/{'x' * 300}/work.ipynb")
    answer = server.ask("GET", f"mlops/server/v1/runs/{tracker.runs.create(far).run_id}/intent")
    assert (answer.status, "is not among the files" in answer.json["message"]) == (404, True)
    here = NewRun(experiment_id=experiment, kind=RunKind.NOTEBOOK, source=str(path))
    run_id = tracker.runs.create(here).run_id
    environment = {"cwd": f"/{'x' * 300}", "kernel": {"name": "python3"}}
    tracker.artifacts.put(run_id, "environment/environment.json", BytesIO(json.dumps(environment).encode()))
    answer = server.ask("GET", f"mlops/server/v1/runs/{run_id}/intent")
    assert (answer.status, answer.json["kernel"]) == (200, "python3")
    sweep = tracker.runs.create(NewRun(experiment_id=experiment, kind=RunKind.SWEEP, source=str(path)))
    for nonsense in (b"no JSON", b"{}", b"\xff", b"[" * 10_000):
        tracker.artifacts.put(sweep.run_id, "sweep.json", BytesIO(nonsense))
        answer = server.ask("GET", f"mlops/server/v1/runs/{sweep.run_id}/intent")
        assert (answer.status, "no plan" in answer.json["message"]) == (400, True), nonsense


def test_a_log_in_parts_has_whole_characters(server: JupyterServer) -> None:
    write_notebook(server.work / "log.ipynb", "pass")
    run_id = submit(server, "log.ipynb")["run_id"]
    assert ended(server, run_id)["status"] == "FINISHED"
    (log,) = server.home.glob(f"jobs/*/{run_id}/worker.log")
    text = "ü€😀" * 60_000
    # No character begins at the end of a part.
    log.write_bytes(b"x" + text.encode())

    def part(start: int) -> Any:
        return server.ask("GET", f"mlops/server/v1/jobs/{run_id}/log?start={start}").json

    found, start = "", 0
    while True:
        one = part(start)
        if one["end"] == start:
            break
        found, start = found + one["text"], one["end"]
    assert found == f"x{text}"
    log.write_bytes(b"\xe2\x82")
    # It may be that nothing more is written.
    assert part(0) == {"text": "\N{REPLACEMENT CHARACTER}", "start": 0, "end": 2}


def test_a_sweep_that_cannot_be_queued_again_stays_as_it_ended(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    content = write_notebook(tmp_path / "work.ipynb", "pass", parameters="x = 1").read_bytes()
    document = Document(path="work.ipynb", content=content, source="", cwd=str(tmp_path), is_shared=False)
    queue = Queue(tmp_path / "jobs", limit=1, environment=lambda: dict(os.environ))
    submitter = Submitter(queue, sqlite_url, 1)
    with connect(sqlite_url) as tracker:
        asked = NewSweepJob(path="work.ipynb", grid=("x=1,2",))
        run_id = submitter.sweep(tracker, document, asked, None).job.run_id
        queue.cancel(run_id, "ada")
        queue.step(tracker)
        assert tracker.runs.get(run_id).status is RunStatus.KILLED
        # Its files cannot be written.
        in_the_way = tmp_path / "jobs" / run_id / "server.json"
        in_the_way.unlink()
        in_the_way.mkdir()
        with pytest.raises(Unavailable):
            submitter.retry(tracker, run_id, {}, None)
        assert tracker.runs.get(run_id).status is RunStatus.KILLED
        in_the_way.rmdir()
        assert submitter.retry(tracker, run_id, {}, None).status is RunStatus.SCHEDULED
        assert tracker.runs.get(run_id).status is RunStatus.SCHEDULED
        with pytest.raises(Conflict):
            submitter.retry(tracker, run_id, {}, None)
