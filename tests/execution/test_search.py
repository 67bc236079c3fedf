"""``jupyter mlops sweep`` with a search, rules and a budget: points that depend on how earlier runs ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlops.core.records import Run, RunStatus
from jupyter_mlops.tracker.protocol import Tracker
from tests.waiting import until

optuna = pytest.importorskip("optuna")

LOG = "import jupyter_mlops as mlops\n"
PARABOLA = LOG + "mlops.log_metric('loss', (x - 3) ** 2 + (0 if kind == 'b' else 5))"
PARAMETERS = "x: float = 0.0\nn: int = 0\nkind: str = 'a'"


BEGIN = """
from pathlib import Path
begun = 1 + len(list(Path().glob("begun-*")))
Path(f"begun-{begun}").touch()
"""
"""Which run of the sweep it is, one after another."""


def values(runs: list[Run] | tuple[Run, ...], name: str) -> list[Any]:
    return [next(param.value for param in run.params if param.key == name) for run in runs]


def study_of(tracker: Tracker, run_id: str, folder: Path) -> Any:
    path = folder / "study.log"
    path.write_bytes(b"".join(tracker.artifacts.open(run_id, "study.log")))
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    return optuna.load_study(study_name="sweep", storage=storage)


@pytest.mark.slow
def test_a_search_finds_the_best_point_and_goes_on_where_it_was(
    mlops: Any, notebook: Callable[..., Path], tracker: Tracker, tmp_path: Path
) -> None:
    path = notebook(PARABOLA, "if n == 3 and x > 9.5: raise ValueError(x)", parameters=PARAMETERS)
    space = ["-g", "x=uniform(-10,10)", "-g", "kind=a,b"]
    found = mlops.json(
        "sweep", str(path), *space, "--optimize", "minimize:loss", "--trials", "16", "--seed", "1", "-j2"
    )
    parent = tracker.runs.get(found["sweep"]["run_id"])
    children = list(tracker.runs.children(parent.run_id))
    assert len(children) == 16
    assert {child.status for child in children} == {RunStatus.FINISHED}
    assert all(-10 <= x <= 10 for x in values(children, "x"))
    assert set(values(children, "kind")) == {"a", "b"}
    losses = [child.metrics[0].value for child in children]
    assert found["best"]["run_id"] == children[losses.index(min(losses))].run_id
    # After ten points at random, those that it knows to be good.
    assert sum(losses[10:]) / 6 < sum(losses[:10]) / 10
    study = study_of(tracker, parent.run_id, tmp_path)
    assert study.direction.name == "MINIMIZE"
    assert {trial.user_attrs["run_id"]: trial.value for trial in study.trials} == {
        child.run_id: child.metrics[0].value for child in children
    }
    # All points are there.
    assert "0 of 16 points to run" in (mlops("sweep", "--resume", parent.name) and mlops.errors)


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_with_what_it_knew(
    mlops: Any, notebook: Callable[..., Path], tracker: Tracker, tmp_path: Path
) -> None:
    switch = tmp_path / "go-on"
    path = notebook(
        BEGIN,
        LOG + "mlops.log_metric('auc', x)",
        f"import time\nwhile begun == 3 and not Path({str(switch)!r}).exists(): time.sleep(0.01)",
        parameters=PARAMETERS,
    )
    options = [
        "-g",
        "x=uniform(0,1)",
        "--optimize",
        "auc",
        "--trials",
        "5",
        "--sampler",
        "random",
        "--seed",
        "4",
        "-j1",
        # Each point is to count itself.
        "--engine",
        "local",
    ]
    process = mlops.start("sweep", str(path), *options)
    until(lambda: len(list(path.parent.glob("begun-*"))) == 3, "the beginning of the third point")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    switch.touch()
    (parent,) = [run for run in tracker.runs.search().items if run.parent_run_id is None]
    resumed = mlops.json("sweep", "--resume", parent.name, "--engine", "local")
    assert resumed["sweep"]["status"] == "FINISHED"
    finished = [run for run in tracker.runs.children(parent.run_id) if run.status is RunStatus.FINISHED]
    assert len(set(values(finished, "x"))) == 5
    study = study_of(tracker, parent.run_id, tmp_path)
    # Two at a time, which may begin in another order than they were proposed in.
    assert sorted(trial.user_attrs["run_id"] for trial in study.trials) == sorted(run.run_id for run in finished)


@pytest.mark.slow
def test_rules_stop_what_is_broken_or_shows_no_progress_and_the_reason_is_told(
    mlops: Any, notebook: Callable[..., Path]
) -> None:
    path = notebook(
        LOG + "mlops.log_metric('loss', {1: float('nan'), 2: 1e9, 3: 0.5, 4: 0.1}[n], step=7)",
        "import time\nwhile n < 4: time.sleep(0.01)",
        parameters=PARAMETERS,
    )
    rules = ["--stop", "nan", "--stop", "loss>1000", "--stop", "idle:2s"]
    found = mlops.json("sweep", str(path), "-g", "n=1:4", *rules, "-j2")
    assert found["sweep"]["status"] == "FINISHED"
    assert found["sweep"]["progress"] == {"done": 4, "total": 4}
    assert [run["status"] for run in found["runs"]] == ["KILLED"] * 3 + ["FINISHED"]
    assert [run["reason"]["kind"] for run in found["runs"][:3]] == ["stopped"] * 3
    assert [run["reason"]["message"] for run in found["runs"][:3]] == [
        "loss is NaN at step 7",
        "loss is 1e+09 at step 7, above 1000",
        "no cell ended and no metric was logged for 2.00 s",
    ]
    assert all(run["reason"]["cell"] == 3 for run in found["runs"][:3])
    assert "stopped in cell 4: loss is NaN at step 7" in mlops.errors
    assert "3 stopped" in mlops.errors
    shown = mlops("runs", "show", found["runs"][0]["name"])
    assert "loss is NaN at step 7" in shown
    # What was stopped is decided about.
    assert "0 of 4 points to run" in (mlops("sweep", "--resume", found["sweep"]["name"]) and mlops.errors)


@pytest.mark.slow
def test_a_pruner_stops_what_is_worse_than_the_others_at_the_same_step(
    mlops: Any, notebook: Callable[..., Path], tracker: Tracker, tmp_path: Path
) -> None:
    path = notebook(
        BEGIN,
        LOG + "for step in range(3): mlops.log_metric('auc', x if begun < 6 else -1, step=step)",
        "import time\nwhile begun == 6: time.sleep(0.01)",
        parameters=PARAMETERS,
    )
    search = ["-g", "x=uniform(0,1)", "--optimize", "auc", "--trials", "7", "--stop", "median", "-j1"]
    # Each point is to count itself.
    found = mlops.json("sweep", str(path), *search, "--engine", "local")
    assert found["sweep"]["status"] == "FINISHED"
    pruned = found["runs"][5]
    assert [run["run_id"] for run in found["runs"] if run["status"] != "FINISHED"] == [pruned["run_id"]]
    assert pruned["reason"]["kind"] == "stopped"
    assert pruned["reason"]["message"] == "auc is -1 at step 2: hopeless beside the other runs (median pruner)"
    study = study_of(tracker, found["sweep"]["run_id"], tmp_path)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 5 + ["PRUNED", "COMPLETE"]
    # Also what ended between two looks is complete.
    assert all(list(trial.intermediate_values) == [0, 1, 2] for trial in study.trials)


@pytest.mark.slow
def test_when_the_budget_is_used_up_nothing_more_begins_and_a_resume_goes_on(
    mlops: Any, notebook: Callable[..., Path]
) -> None:
    path = notebook("import time\ntime.sleep(0.3)", parameters=PARAMETERS)
    found = mlops.json("sweep", str(path), "-g", "n=1:40", "--budget", "0.2s", "-j1")
    assert found["sweep"]["status"] == "FINISHED"
    assert found["sweep"]["progress"] == {"done": 1, "total": 40}
    assert "The budget of 0.20 s is used up: 39 of 40 points were not begun." in mlops.errors
    resumed = mlops.json("sweep", "--resume", found["sweep"]["name"], "-j1")
    assert resumed["sweep"]["progress"] == {"done": 2, "total": 40}


def test_a_sample_of_an_interval(mlops: Any, notebook: Callable[..., Path]) -> None:
    path = notebook("assert 1e-4 <= x <= 1e-1", parameters=PARAMETERS)
    found = mlops.json("sweep", str(path), "-g", "x=loguniform(1e-4,1e-1)", "--sample", "2", "--seed", "3")
    assert [run["status"] for run in found["runs"]] == ["FINISHED"] * 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-g x=uniform(0,1)", "is no list of values; draw points with a sample or search with optimize"),
        ("-g n=uniform(0,1) --optimize auc", "parameter 'n' is declared as int"),
        ("-g x=0,1 --optimize maximise:auc", "expected maximize:METRIC or minimize:METRIC"),
        ("-g x=0,1 --optimize auc --metric auc", "give it once"),
        ("-g x=0,1 --optimize auc --minimize", "give it once"),
        ("-g x=0,1 --optimize auc --trials 3", "3 of a space of 2 points would repeat some"),
        ("-g x=0,1 --optimize auc --trials 2 --sample 2", "a search chooses its own points"),
        ("-g x=0,1 --trials 3", "trials: it belongs to a search"),
        ("-g x=0,1 --sampler gp", "sampler: it belongs to a search"),
        ("-g x=0,1 --stop nonsense", "rules are nan, nan:METRIC"),
        ("-g x=0,1 --stop median", "it compares runs by the metric that is optimized"),
        ("-g x=uniform(0,1) --optimize auc --stop median --stop halving", "choose one of them"),
        ("-g x=0,1 --budget soon", "'soon' is no length of time"),
        ("-g x=uniform(0,1) --optimize auc -p x=1", "'x' is given twice"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_recorded(
    mlops: Any, notebook: Callable[..., Path], tracker: Tracker, words: str, message: str
) -> None:
    path = notebook("1", parameters=PARAMETERS)
    mlops("sweep", str(path), *words.split(), status=2)
    assert message in mlops.errors
    assert tracker.runs.search().items == ()
