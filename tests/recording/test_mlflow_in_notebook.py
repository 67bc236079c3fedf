"""Notebooks that say ``import mlflow``, in real kernels: what they log is in the notebook's own run and no other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import NewRun, Run, RunKind, RunStatus
from jupyter_mlops.recording.notebook import record_notebook
from jupyter_mlops.recording.task import NotebookTask
from jupyter_mlops.service.mlflow.beside import Beside
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.protocol import Tracker
from tests.notebook_files import printed, write_notebook
from tests.service.inprocess import running

pytestmark = pytest.mark.slow

CODE = """
import os
import mlflow
mlflow.set_experiment("another one")
with mlflow.start_run(run_name="baseline", tags={"team": "red"}) as first:
    mlflow.log_param("depth", 3)
    mlflow.log_metrics({"auc": 0.5}, step=7)
    mlflow.log_text("hello", "notes/hello.txt")
    with mlflow.start_run(nested=True, run_name="inner"):
        mlflow.log_metric("auc", 0.25)
assert first.info.run_id == os.environ["MLOPS_RUN_ID"]
"""
LATER = """
with mlflow.start_run(run_name="later"):
    mlflow.log_metric("auc", 0.75)
try:
    with mlflow.start_run(run_name="broken"):
        raise ValueError("on purpose")
except ValueError:
    pass
mlflow.start_run(run_name="left open")
mlflow.log_metric("auc", 1.0)
print("read back:", mlflow.artifacts.load_text(f"runs:/{first.info.run_id}/notes/hello.txt"))
print("found:", len(mlflow.search_runs(search_all_experiments=True, filter_string="metrics.auc > 0")))
print("status:", mlflow.get_run(first.info.run_id).info.status)
"""


@pytest.fixture(autouse=True)
def _no_other_tracking(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "MLFLOW_TRACKING_URI",
        "MLFLOW_REGISTRY_URI",
        "MLFLOW_TRACKING_TOKEN",
        "MLFLOW_RUN_ID",
        "MLFLOW_EXPERIMENT_NAME",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["sqlite", "service"])
def store(
    request: pytest.FixtureRequest, home: Path, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Tracker]:
    """An embedded store, or one behind a service."""
    if request.param == "sqlite":
        with connect(sqlite_url, artifacts=tmp_path / "artifacts") as tracker:
            yield tracker
        return
    (tmp_path / "service").mkdir()
    with running(sqlite_url, tmp_path / "artifacts", tmp_path / "service") as service:
        monkeypatch.setenv("MLOPS_TRACKING_TOKEN", service.token("ann"))
        with connect(service.url) as tracker:
            yield tracker


def run_notebook(store: Tracker, tmp_path: Path, *cells: str, **fields: Any) -> Run:
    path = write_notebook(tmp_path / "with mlflow.ipynb", *cells)
    experiment = store.experiments.ensure("notebooks")
    task = NotebookTask(
        run_id=new_id(), experiment_id=experiment.experiment_id, tracking_url=store.url, notebook=str(path), **fields
    )
    return record_notebook(store, task)


def executed(store: Tracker, run: Run) -> str:
    return printed(json.loads(b"".join(store.artifacts.open(run.run_id, "notebook/executed.ipynb"))))


def test_it_is_one_record(store: Tracker, tmp_path: Path) -> None:
    run = run_notebook(store, tmp_path, CODE, LATER)
    assert run.reason is None
    assert (run.status, run.name, run.kind) == (RunStatus.FINISHED, "baseline", RunKind.NOTEBOOK)
    assert store.experiments.get(run.experiment_id).name == "notebooks"
    assert {param.key: param.text for param in run.params} == {"depth": "3"}
    assert [(m.value, m.step) for m in run.metrics if m.key == "auc"] == [(0.5, 7)]
    tags = {tag.key: tag.value for tag in run.tags}
    assert tags["team"] == "red"
    assert not {"mlflow.source.name", "mlflow.user"} & set(tags), "the notebook run knows that better"
    assert b"".join(store.artifacts.open(run.run_id, "notes/hello.txt")) == b"hello"
    children = {child.name: child for child in store.runs.children(run.run_id)}
    assert {name: child.status.value for name, child in children.items()} == {
        "inner": "FINISHED",
        "later": "FINISHED",
        "broken": "FAILED",
        "left open": "FINISHED",
    }
    assert {child.source for child in children.values()} == {run.source}
    assert {store.experiments.get(child.experiment_id).name for child in children.values()} == {"another one"}
    assert len(store.runs.search().items) == 5
    out = executed(store, run)
    assert "read back: hello" in out
    assert "found: 4" in out
    assert "status: RUNNING" in out
    assert "View run" not in out, "there are no pages of MLflow to be viewed"


def test_without_an_experiment_all_is_in_that_of_the_notebook(store: Tracker, tmp_path: Path) -> None:
    code = """
    import mlflow
    for number in range(3):
        with mlflow.start_run(run_name=f"run {number}"):
            mlflow.log_metric("n", number)
    print("best:", mlflow.search_runs(order_by=["metrics.n DESC"]).iloc[0]["metrics.n"])
    """
    run = run_notebook(store, tmp_path, code.replace("\n    ", "\n"), name="chosen")
    assert (run.status, run.name) == (RunStatus.FINISHED, "chosen"), "a name that was chosen stays"
    assert {tag.value for tag in run.tags if tag.key == "mlops.run_name"} == {"run 0"}
    assert {child.name for child in store.runs.children(run.run_id)} == {"run 1", "run 2"}
    assert {found.experiment_id for found in store.runs.search().items} == {run.experiment_id}
    assert {experiment.name for experiment in store.experiments.search().items} == {"notebooks"}
    assert "best: 2.0" in executed(store, run)


MODEL = """
import mlflow
import mlflow.sklearn
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
X, y = load_iris(return_X_y=True)
mlflow.sklearn.autolog(log_datasets=False)
LogisticRegression(max_iter=200).fit(X, y)
LogisticRegression(max_iter=100).fit(X, y)
mlflow.sklearn.autolog(disable=True)
with mlflow.start_run(run_name="by hand") as run:
    fitted = LogisticRegression(max_iter=50).fit(X, y)
    logged = mlflow.sklearn.log_model(fitted, name="forest", pip_requirements=["scikit-learn"])
    registered = mlflow.register_model(logged.model_uri, "iris")
mlflow.MlflowClient().set_registered_model_alias("iris", "champion", registered.version)
for uri in (logged.model_uri, f"runs:/{run.info.run_id}/forest", "models:/iris@champion"):
    assert (mlflow.pyfunc.load_model(uri).predict(X) == fitted.predict(X)).all(), uri
"""


def test_autologged_and_logged_models(store: Tracker, tmp_path: Path) -> None:
    run = run_notebook(store, tmp_path, MODEL)
    assert run.reason is None, run.reason
    assert {param.key: param.text for param in run.params}["max_iter"] == "200"
    assert "training_score" in {metric.key for metric in run.metrics}
    second, by_hand = store.runs.children(run.run_id)
    assert {param.key: param.text for param in second.params}["max_iter"] == "100"
    assert [child.status for child in (second, by_hand)] == [RunStatus.FINISHED] * 2
    models = {model.run_id: model for model in store.logged_models.search().items}
    assert {run_id: model.name for run_id, model in models.items()} == {
        run.run_id: "model",
        second.run_id: "model",
        by_hand.run_id: "forest",
    }
    version = store.models.resolve("iris", "@champion")
    assert (version.run_id, version.logged_model_id) == (by_hand.run_id, models[by_hand.run_id].model_id)
    assert len(store.runs.search().items) == 3


FRAMEWORKS = {
    "xgboost": """
import mlflow
import xgboost
from sklearn.datasets import load_iris
X, y = load_iris(return_X_y=True, as_frame=True)
mlflow.xgboost.autolog(log_input_examples=True)
data = xgboost.DMatrix(X, label=y)
params = {"max_depth": 3, "objective": "multi:softprob", "num_class": 3, "eval_metric": "mlogloss"}
booster = xgboost.train(params, data, num_boost_round=5, evals=[(data, "train")], verbose_eval=False)
expected, given = booster.predict(data), X
""",
    "lightning": """
import lightning, mlflow, numpy, torch
from lightning.pytorch.utilities import disable_possible_user_warnings
disable_possible_user_warnings()
class Line(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
    def forward(self, x):
        return self.layer(x)
    def training_step(self, batch, _):
        loss = torch.nn.functional.mse_loss(self(batch[0]), batch[1])
        self.log("loss", loss, on_epoch=True, on_step=False)
        return loss
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.05)
x = torch.rand(64, 2)
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True)), batch_size=16)
mlflow.pytorch.autolog(log_every_n_epoch=1)
model = Line()
trainer = lightning.Trainer(
    max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(model, loader)
given = x.numpy()
expected = model(x).detach().numpy()
""",
}
READ_BACK = """
import numpy
(model,) = mlflow.search_logged_models(output_format="list")
loaded = mlflow.pyfunc.load_model(model.model_uri)
assert numpy.allclose(loaded.predict(given), expected)
print("signature:", loaded.metadata.signature is not None)
"""


# One with each store: what the two do differently, the tests above have seen.
@pytest.mark.parametrize(
    ("store", "framework", "params", "history", "points"),
    [
        ("sqlite", "xgboost", {"max_depth": "3", "num_boost_round": "5"}, "train-mlogloss", 5),
        ("service", "lightning", {"epochs": "3", "optimizer_name": "Adam", "lr": "0.05"}, "loss", 3),
    ],
    ids=["xgboost", "lightning"],
    indirect=["store"],
)
def test_frameworks_autolog(
    store: Tracker, tmp_path: Path, framework: str, params: dict[str, str], history: str, points: int
) -> None:
    run = run_notebook(store, tmp_path, FRAMEWORKS[framework], READ_BACK)
    assert run.reason is None, run.reason
    logged = {param.key: param.text for param in run.params}
    assert {key: logged.get(key) for key in params} == params
    assert len(store.runs.history(run.run_id, history).items) == points
    (model,) = store.logged_models.search().items
    assert (model.run_id, model.name) == (run.run_id, "model")
    assert "signature: True" in executed(store, run)
    assert len(store.runs.search().items) == 1


def test_papermills_own_command(home: Path, tmp_path: Path) -> None:
    source = write_notebook(tmp_path / "paper.ipynb", CODE)
    command = [sys.executable, "-m", "papermill", "--engine", "mlops", str(source), str(tmp_path / "out.ipynb")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with connect() as tracker:
        (run,) = tracker.runs.search([tracker.experiments.find("paper").experiment_id]).items
        assert (run.name, run.status) == ("baseline", RunStatus.FINISHED)
        assert [child.name for child in tracker.runs.children(run.run_id)] == ["inner"]


def test_a_notebook_that_fails_ends_what_it_left_open(store: Tracker, tmp_path: Path) -> None:
    code = "import mlflow, os, signal\nmlflow.start_run()\nmlflow.start_run(nested=True, run_name='open')\n"
    run = run_notebook(store, tmp_path, code, "os.kill(os.getpid(), signal.SIGKILL)")
    assert run.status is RunStatus.FAILED
    (child,) = store.runs.children(run.run_id)
    assert (child.name, child.status, child.end_time) == ("open", RunStatus.FAILED, run.end_time)


def test_another_server_that_was_chosen_is_left(
    tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://elsewhere.example.org")
    run = run_notebook(tracker, tmp_path, "import os\nprint(os.environ['MLFLOW_TRACKING_URI'])")
    assert executed(tracker, run) == "https://elsewhere.example.org\n"


# --- the address by itself -------------------------------------------------------------------------------------------


class Caller:
    """A client of the address that a kernel is given."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.url = environment["MLFLOW_TRACKING_URI"]
        self.token = environment["MLFLOW_TRACKING_TOKEN"]

    def post(self, path: str, token: str | None = None, **body: Any) -> Any:
        request = urllib.request.Request(
            f"{self.url}/api/2.0/mlflow/{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self.token if token is None else token}"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@pytest.fixture
def enclosing(tracker: Tracker) -> Run:
    experiment = tracker.experiments.ensure("enclosing")
    return tracker.runs.create(NewRun(experiment_id=experiment.experiment_id, kind=RunKind.NOTEBOOK, source="a.ipynb"))


@pytest.fixture
def caller(tracker: Tracker, enclosing: Run) -> Iterator[Caller]:
    beside = Beside(enclosing.run_id, named=False, tracking_url=tracker.url)
    beside.open(tracker)
    yield Caller(dict(beside.environment))
    beside.close()
    beside.close()


def test_of_many_that_begin_at_once_one_is_the_notebooks(tracker: Tracker, enclosing: Run, caller: Caller) -> None:
    together = threading.Barrier(8)

    def begin(number: int) -> str:
        together.wait()
        made = caller.post("runs/create", experiment_id="0", run_name=f"n{number}", start_time=1)
        return str(made["run"]["info"]["run_id"])

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(begin, range(8)))
    assert made.count(enclosing.run_id) == 1
    assert len(set(made)) == 8
    assert {child.run_id for child in tracker.runs.children(enclosing.run_id)} == set(made) - {enclosing.run_id}


def test_only_the_kernel_may_use_it(tracker: Tracker, caller: Caller) -> None:
    before = len(tracker.runs.search().items)
    for token in ("", "wrong", caller.token[:-1]):
        with pytest.raises(urllib.error.HTTPError) as refused:
            caller.post("runs/create", token, experiment_id="0")
        assert refused.value.code == 401
    for path in ("/api/v1/principal", "/metrics", "/api/v1/search/runs"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(caller.url.partition("/within")[0] + path)
        assert refused.value.code == 404, "nothing else is there"
    assert len(tracker.runs.search().items) == before


def test_ending_it_ends_nothing_and_renaming_renames(tracker: Tracker, enclosing: Run, caller: Caller) -> None:
    caller.post("runs/create", experiment_id="0", tags=[{"key": "mlflow.runName", "value": "by tag"}])
    assert tracker.runs.get(enclosing.run_id).name == "by tag"
    told = caller.post("runs/update", run_id=enclosing.run_id, status="FAILED", end_time=5, run_name="new")
    assert told["run_info"]["status"] == "RUNNING"
    found = tracker.runs.get(enclosing.run_id)
    assert (found.status, found.end_time, found.name) == (RunStatus.RUNNING, None, "new")
    child = caller.post("runs/create", experiment_id="0")["run"]["info"]["run_id"]
    caller.post("runs/update", run_id=child, status="FINISHED", end_time=9_999_999_999_999)
    assert tracker.runs.get(child).status is RunStatus.FINISHED


def test_nothing_is_told_where_no_port_can_be_had(enclosing: Run, tracker: Tracker, home: Path) -> None:
    code = (
        "import resource, sys\nfrom jupyter_mlops.service.mlflow.beside import Beside\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        f"beside = Beside({enclosing.run_id!r}, named=False, tracking_url='sqlite://')\n"
        "beside.close()\nassert not beside.environment"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no port of this machine can be had" in done.stderr


def test_proxies_are_not_asked(enclosing: Run, tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "example.org")
    beside = Beside(enclosing.run_id, named=False, tracking_url=tracker.url)
    beside.open(tracker)
    try:
        code = "import mlflow; print(mlflow.start_run().info.run_id); mlflow.end_run()"
        environment = {**os.environ, **beside.environment}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
        )
        assert done.stdout.strip() == enclosing.run_id, done.stderr
    finally:
        beside.close()
