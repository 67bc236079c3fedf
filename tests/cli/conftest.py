"""A store of its own for each test, a made-up team's work in it, and a way to call the command line."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from made_up_team import HOSTILE, Mlops, Team, notebook

from jupyter_mlops.cli.main import root
from jupyter_mlops.core.records import Dataset, Input, Progress, Reason, ReasonKind, Run, RunKind, RunStatus
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.protocol import Tracker


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store that commands use without being told."""
    for name in ("MLOPS_TRACKING_URL", "MLOPS_ARTIFACTS_URL", "MLOPS_EXPERIMENT", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "home"
    monkeypatch.setenv("MLOPS_HOME", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def mlops() -> Mlops:
    """Call the command line in this process and expect an exit code."""

    def call(*words: str, code: int = 0, input: str | None = None) -> Result:
        result = CliRunner().invoke(root, words, input=input, prog_name="jupyter mlops")
        assert result.exit_code == code, result.output
        return result

    return call


@pytest.fixture
def team(home: Path, tmp_path: Path, work_done_before: tuple[Path, dict[str, Run]]) -> Iterator[Team]:
    """Runs of two experiments: two notebook runs, a failed one, a hostile one, a sweep with three children."""
    done, runs = work_done_before
    shutil.copytree(done, home)
    with connect() as tracker:
        yield Team(tracker, tmp_path, minute=len(runs), runs=dict(runs))


@pytest.fixture(scope="session")
def work_done_before(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Run]]:
    """A store with the team's runs, made once and copied for each test, and the runs by name."""
    folder = tmp_path_factory.mktemp("team")
    with connect(f"sqlite:///{folder}/mlops.db") as tracker:
        runs = record_team(tracker, tmp_path_factory.mktemp("upload")).runs
    return folder, runs


def record_team(tracker: Tracker, uploads: Path) -> Team:
    made = Team(tracker, uploads)
    churn = Dataset("churn-march", "abc123", "local", "churn.csv", rows=5000)
    for name, rate, auc in (("calm-heron-7", 0.1, [0.5, 0.7, 0.91]), ("brave-otter-418", 0.01, [0.5, 0.8, 0.97])):
        run = made.run(
            name,
            params={"lr": rate, "kind": "rf", "seed": 42},
            metrics={"auc": auc, "rows": [5000.0]},
            tags={"team": "growth", "mlops.git.commit": "1234abcd", "mlops.git.dirty": "true"},
            inputs=(Input(churn, "training"),),
        )
        made.file(run, "notebook/source.ipynb", notebook(0.5))
        made.file(run, "notebook/executed.ipynb", notebook(rate))
        made.file(run, "figures/roc.png", b"png")
        made.model(run, "model")
    made.run(
        "sad-newt-1",
        status=RunStatus.FAILED,
        params={"lr": 1e-6, "kind": "rf", "seed": 42},
        reason=Reason(
            kind=ReasonKind.CELL_ERROR,
            message="ValueError: too small",
            cell=2,
            source="fit()",
            traceback="Traceback (most recent call last)\nCell In[2], line 1\nValueError: too small",
        ),
    )
    made.run("evil\u202egnp", experiment="odd", params={"word": HOSTILE}, hidden_state="cell 3 was edited after it ran")
    made.run("odd-values", experiment="odd", metrics={"nan": [math.nan], "inf": [math.inf, -math.inf]})
    sweep = made.run(
        "grid-search", kind=RunKind.SWEEP, status=RunStatus.FAILED, progress=Progress(done=3, total=3, failed=1)
    )
    for depth in (3, 5, 7):
        failed = depth == 7
        made.run(
            f"depth-{depth}",
            parent=sweep,
            status=RunStatus.FAILED if failed else RunStatus.FINISHED,
            params={"depth": depth},
            metrics={} if failed else {"auc": [0.8 + depth / 100]},
        )
    return made
