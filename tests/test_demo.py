"""The demo and the example notebook: what a newcomer runs first works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_mlops.core.records import RunKind, RunStatus
from jupyter_mlops.tracker.connect import connect

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "breast-cancer.ipynb"

pytestmark = pytest.mark.slow


def value(metrics: object, key: str) -> float:
    (found,) = [metric.value for metric in metrics if metric.key == key]  # type: ignore[attr-defined]
    return float(found)


def test_the_demo_does_the_main_job(tmp_path: Path) -> None:
    home = tmp_path / "home"
    before = EXAMPLE.read_bytes()
    ended = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py"), str(home)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert EXAMPLE.read_bytes() == before

    with connect(f"sqlite:///{home / 'mlops.db'}") as tracker:
        runs = tracker.runs.search().items
        notebooks = [run for run in runs if run.kind is RunKind.NOTEBOOK]
        (sweep,) = [run for run in runs if run.kind is RunKind.SWEEP]
        assert {run.status for run in runs} == {RunStatus.FINISHED}
        assert len([run for run in notebooks if run.parent_run_id == sweep.run_id]) == 12
        assert len(notebooks) == 13
        best = min(notebooks, key=lambda run: value(run.metrics, "valid_loss"))
        version = tracker.models.resolve("breast-cancer", "@production")
        assert version.run_id == best.run_id
        assert version.safe
        (single,) = [run for run in notebooks if run.parent_run_id is None]
        assert tracker.runs.history(single.run_id, "valid_loss", limit=100).items[-1].step == 39
        assert "figures/training.png" in {file.path for file in tracker.artifacts.walk(single.run_id)}
        assert [used.dataset.rows for used in single.inputs] == [569]
    # Five predictions from a fresh process, nearly all of them right.
    told = re.findall(r"^tumour +\d+: (\w+) +\(in truth (\w+)\)$", ended.stdout, re.MULTILINE)
    assert len(told) == 5
    assert sum(predicted == truth for predicted, truth in told) >= 4
    assert str(home) in ended.stdout
    assert best.name in ended.stdout.partition("Next:")[2]


def test_the_example_runs_under_plain_papermill_too(tmp_path: Path) -> None:
    home = tmp_path / "home"
    ended = subprocess.run(
        [sys.executable, "-m", "papermill", str(EXAMPLE), str(tmp_path / "out.ipynb"), "-p", "epochs", "3"],
        env={**os.environ, "MLOPS_HOME": str(home)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    with connect(f"sqlite:///{home / 'mlops.db'}") as tracker:
        (run,) = tracker.runs.search().items
        assert run.kind is RunKind.SESSION
        assert run.status is RunStatus.FINISHED
        assert value(run.metrics, "auc") > 0.9
        assert len(tracker.runs.history(run.run_id, "train_loss", limit=100).items) == 3
