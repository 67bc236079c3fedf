"""``mlops.sweep`` and ``%mlops sweep``: sweeps from Python."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

import jupyter_mlops as mlops
from jupyter_mlops.core.errors import InvalidValue, NotebookError, ParameterTypeError, QuotaExceeded
from jupyter_mlops.core.quotas import Quota
from jupyter_mlops.core.records import RunStatus
from jupyter_mlops.recording.session import Session, using

np = pytest.importorskip("numpy")
pytest.importorskip("optuna")

SCORE = "import jupyter_mlops as mlops\nmlops.log_metric('auc', 1 - (x - 1) ** 2)"
PARAMETERS = "x: float = 0.0\nn: int = 0\nkind: str = 'a'"


@pytest.fixture(autouse=True)
def session(home: Path) -> Iterator[Session]:
    with using(Session({"MLOPS_STRICT": "1"}, url=f"sqlite:///{home}/mlops.db")) as session:
        yield session


@pytest.mark.slow
def test_a_search_from_python(notebook: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = notebook(SCORE, "assert kind == 'b'", parameters=PARAMETERS)
    mlops.set_experiment("curves")
    space = {"x": mlops.uniform(-2, 2), "n": mlops.integer(1, 3)}
    found = mlops.sweep(path, space, parameters={"kind": "b"}, optimize="auc", trials=3, seed=1, name="up", jobs=2)
    assert found.run.status == "FINISHED"
    assert [run.name for run in found.runs] == ["up-1", "up-2", "up-3"]
    assert all(-2 <= run.params["x"] <= 2 and run.params["n"] in (1, 2, 3) for run in found.runs)
    assert found.best is not None
    assert found.best.metrics["auc"] == max(run.metrics["auc"] for run in found.runs)
    assert mlops.get_parent_run(found.best.run_id).name == "up"  # type: ignore[union-attr]
    assert {run.name for run in mlops.search_runs(output_format="list")} >= {"up", "up-1"}
    assert repr(found) == f"<SweepResult up: FINISHED, 3 runs, best {found.best.name}>"
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert "executed once" in lines[0]
    assert lines[-1].endswith(f"3 of 3 done, best auc {found.best.metrics['auc']:.6g} ({found.best.name})")


@pytest.mark.slow
def test_a_grid_of_what_python_has_and_a_failure(
    notebook: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = notebook("assert n < 2", SCORE, parameters=PARAMETERS)
    space = {"n": range(1, 3), "x": np.linspace(0, 1, 2)}
    found = mlops.sweep(path, space, metric="auc", report=None)
    assert capsys.readouterr().out == ""
    assert [(run.params["n"], run.params["x"], run.status) for run in found.runs] == [
        (1, 0.0, "FINISHED"),
        (1, 1.0, "FINISHED"),
        (2, 0.0, "FAILED"),
        (2, 1.0, "FAILED"),
    ]
    assert found.run.status == "FAILED"
    assert found.run.tags["mlops.sweep.grid"] == "n=1,2 x=0.0,1.0"
    assert found.best is not None
    assert found.best.params["x"] == 1.0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda path: mlops.sweep(path, {"x": 1}), InvalidValue, "what is the same at all points belongs to param"),
        (lambda path: mlops.sweep(path, {"kind": "ab"}), InvalidValue, "expected a list of values"),
        (lambda path: mlops.sweep(path, {}), InvalidValue, "give at least one axis"),
        (lambda path: mlops.sweep(path, {"n": [0.5]}), ParameterTypeError, "'n' is declared as int"),
        (lambda path: mlops.sweep(path, {"x": [1]}, jobs=0), InvalidValue, "jobs: 0 is too small"),
        (lambda path: mlops.sweep(path, {"x": [1]}, stop="nan"), InvalidValue, r"such as \['nan'\]"),
        (lambda path: mlops.sweep(path, {"x": [1]}, retries=-1), InvalidValue, "retries: -1 are not possible"),
        (lambda path: mlops.sweep(path, {"x": [1]}, engine="dask"), InvalidValue, "needs a cluster"),
        (lambda path: mlops.sweep(path, {"x": [1]}, cluster="local:2"), InvalidValue, "'fork' takes none"),
        (lambda path: mlops.sweep(path, {"x": [1]}, seed=1), InvalidValue, "seed: it makes a sample or a search"),
        (lambda path: mlops.sweep(path, {"x": [1]}, optimize="auc", sampler="best"), InvalidValue, "there are tpe"),
        (lambda path: mlops.sweep(path.with_name("no.ipynb"), {"x": [1]}), NotebookError, "no.ipynb"),
    ],
    ids=["scalar", "text", "empty", "type", "jobs", "stop", "retries", "dask", "cluster", "seed", "sampler", "path"],
)
def test_what_cannot_be_done_is_refused_before_anything_is_recorded(
    notebook: Callable[..., Path], call: Callable[[Path], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(notebook("1", parameters=PARAMETERS))
    assert mlops.search_runs(output_format="list", search_all_experiments=True) == []


@pytest.mark.slow
def test_the_magic_sweeps_and_shows_the_best_first(
    notebook: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = notebook(SCORE, "assert kind == '7'", parameters=PARAMETERS)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    InteractiveShell.clear_instance()
    shell: Any = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}), colors="nocolor")
    try:
        shell.run_cell("%load_ext jupyter_mlops").raise_error()
        with capture_output() as captured:
            shell.run_cell(f"%mlops sweep {path} -g x=-1,1 -p kind 7 --metric auc --name line").raise_error()
        (table,) = captured.outputs
        names = [line.split()[0] for line in table.data["text/plain"].splitlines()[2:4]]
        assert names == ["line-2", "line-1"]
        assert "2 of 2 done, best auc 1 (line-2)" in captured.stdout
        with capture_output() as captured:
            refused = shell.run_cell(f"%mlops sweep {path} -g x=uniform(0,1)")
        assert "draw points with a sample or search with optimize" in str(refused.error_in_exec)
    finally:
        InteractiveShell.clear_instance()


def test_a_sweep_that_finds_no_room_leaves_no_open_run(notebook: Callable[..., Path], session: Session) -> None:
    session.reader().quotas.set("*", Quota(bytes=1))
    with pytest.raises(QuotaExceeded):
        mlops.sweep(notebook(SCORE, parameters=PARAMETERS), {"x": [1.0, 2.0]}, name="full")
    (run,) = session.reader().runs.search().items
    assert (run.name, run.status) == ("full", RunStatus.FAILED)
    assert run.reason is not None
    assert "it could not be recorded" in run.reason.message
