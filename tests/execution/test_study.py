"""The search itself: what it proposes, and what it makes of the runs that there were."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import (
    Json,
    MetricPoint,
    MetricSummary,
    Param,
    Reason,
    ReasonKind,
    Run,
    RunKind,
    RunStatus,
)
from jupyter_mlops.core.spaces import Point, parse_grid
from jupyter_mlops.execution.plan import SAMPLERS, SweepPlan

optuna = pytest.importorskip("optuna")

from jupyter_mlops.execution.study import Study  # noqa: E402 - it needs Optuna

SPACE = ("x=uniform(-5,5)", "n=int(0,8,2)", "kind=a,b,None", "layers=[64],[64,32]", "same=1,1.0,True")


def plan(sampler: str = "random", **changes: Any) -> SweepPlan:
    found = SweepPlan(
        notebook="/n.ipynb",
        cwd="/",
        grid=SPACE,
        space=parse_grid(SPACE),
        trials=20,
        sampler=sampler,
        seed=3,
        metric="loss",
        maximize=False,
    )
    return msgspec.structs.replace(found, **changes)


def run(
    point: Point, loss: float | None = None, status: RunStatus = RunStatus.FINISHED, reason: Reason | None = None
) -> Run:
    metrics = () if loss is None else (MetricSummary(key="loss", value=loss, timestamp=0, step=2, count=3),)
    return Run(
        run_id=new_id(),
        experiment_id="e",
        name="r",
        kind=RunKind.NOTEBOOK,
        user="u",
        created=0,
        start_time=0,
        status=status,
        reason=reason,
        params=tuple(Param(name, value, str(value)) for name, value in point.items()),
        metrics=metrics,
    )


def trials(study: Study, folder: Path) -> list[Any]:
    path = folder / "study.log"
    study.save(path)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    found: list[Any] = optuna.load_study(study_name="sweep", storage=storage).trials
    return found


@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - {"cmaes"}))
def test_proposals_are_in_the_space_with_the_types_it_was_written_with(sampler: str) -> None:
    study = Study(plan(sampler))
    seen: list[Json] = []
    for _ in range(12):
        run_id = new_id()
        point = study.ask(run_id)
        assert list(point) == ["x", "n", "kind", "layers", "same"]
        assert all(axis.has(point[axis.name]) for axis in plan().space)
        assert type(point["x"]) is float
        assert type(point["n"]) is int
        seen.append(point["same"])
        study.tell(msgspec.structs.replace(run(point, loss=float(point["x"]) ** 2), run_id=run_id))
    assert {repr(value) for value in seen} == {"1", "1.0", "True"}


def test_the_same_seed_proposes_the_same_and_goes_on_with_other_points(tmp_path: Path) -> None:
    first, second = Study(plan()), Study(plan())
    points = [first.ask(new_id()) for _ in range(5)]
    assert [second.ask(new_id()) for _ in range(5)] == points
    resumed = Study(plan(), past=[(run(point, loss=1.0), ()) for point in points])
    assert resumed.ask(new_id()) not in points


def test_what_earlier_runs_were_is_known_again(tmp_path: Path) -> None:
    point: Point = {"x": 0.1, "n": 4, "kind": None, "layers": [64, 32], "same": True}
    curve = [MetricPoint(0, 0, 3.0), MetricPoint(1, 0, 2.0), MetricPoint(1, 5, 9.0)]
    stopped = Reason(kind=ReasonKind.STOPPED, message="loss is NaN at step 2")
    past: list[tuple[Run, Sequence[MetricPoint]]] = [
        (run(point, 0.5), curve),
        (run(point, 0.7, RunStatus.KILLED, stopped), curve),
        (run(point, None), ()),
        (run(point, 0.1, RunStatus.FAILED, Reason(kind=ReasonKind.CELL_ERROR, message="")), ()),
        (run(point, 0.1, RunStatus.KILLED, Reason(kind=ReasonKind.CANCELLED, message="")), ()),
        (run(point, 0.1, RunStatus.FAILED, Reason(kind=ReasonKind.RUNNER_LOST, message="")), ()),
        (run({**point, "x": 7.0}, 0.1), ()),
        (run({**point, "n": 3}, 0.1), ()),
        (run({**point, "kind": "c"}, 0.1), ()),
        (run({"x": 0.1}, 0.1), ()),
    ]
    found = trials(Study(plan(), pruner="median", past=past), tmp_path)
    assert [trial.state.name for trial in found] == ["COMPLETE", "PRUNED", "FAIL", "FAIL"]
    assert [trial.user_attrs["run_id"] for trial in found] == [old.run_id for old, _ in past[:4]]
    assert found[0].value == 0.5
    assert found[0].intermediate_values == {0: 3.0, 1: 2.0}
    assert found[0].params == {"x": 0.1, "n": 4, "kind": None, "layers": "[64, 32]", "same": "true"}


def test_a_run_is_hopeless_beside_better_ones_at_the_same_step(tmp_path: Path) -> None:
    point: Point = {"x": 0.1, "n": 4, "kind": "a", "layers": [64], "same": 1}
    past = [(run(point, 1.0), [MetricPoint(step, 0, 1.0 - step / 5) for step in range(3)]) for _ in range(5)]
    study = Study(plan(), pruner="median", past=past)
    good, bad = new_id(), new_id()
    for run_id in (good, bad):
        study.ask(run_id)
    study.report(good, [MetricPoint(0, 0, 0.5)])
    study.report(bad, [MetricPoint(0, 0, 0.9), MetricPoint(-1, 0, 9.0)])
    assert study.last_step(bad) == 0
    assert not study.is_hopeless(good)
    assert not study.is_hopeless(bad)
    study.report(bad, [MetricPoint(2, 0, 0.95)])
    assert study.is_hopeless(bad)
    # What has not ended is not stored.
    assert len(trials(study, tmp_path)) == 5


def test_the_level_of_optunas_log_is_left_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    try:
        study = Study(plan("tpe"))
        run_id = new_id()
        study.tell(msgspec.structs.replace(run(study.ask(run_id), 1.0), run_id=run_id))
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    finally:
        optuna.logging.set_verbosity(optuna.logging.INFO)
    assert capfd.readouterr().err == ""
