"""A model whose pickle touches files goes through every check, and nothing is touched outside of the sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlops.checks.sandbox import Sandbox
from jupyter_mlops.core.checks import SETTINGS, CheckResult, Verdict
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.recording.notebook import record_notebook
from jupyter_mlops.recording.task import NotebookTask
from jupyter_mlops.tracker.protocol import Tracker
from tests.checks.conftest import IN_THE_SANDBOX, Registry, forbidden
from tests.checks.test_sandbox import ROOT, SURROUNDINGS
from tests.notebook_files import write_notebook

pytestmark = pytest.mark.slow


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is found in the folders of sandboxes when they end: proof that the hostile code ran there."""
    found: list[str] = []
    leave = Sandbox.__exit__

    def look(self: Sandbox, *arguments: Any) -> None:
        found.extend(path.name for path in self.work.rglob("*"))
        leave(self, *arguments)

    monkeypatch.setattr(Sandbox, "__exit__", look)
    return found


@pytest.fixture
def validation(tracker: Tracker, tmp_path: Path, sqlite_url: str) -> str:
    """The id of a recorded run of a notebook that loads the candidate it is given."""
    load = "import jupyter_mlops as mlops\nif candidate:\n    model = mlops.load_model(candidate, flavor='sklearn')"
    task = NotebookTask(
        run_id=new_id(),
        experiment_id=tracker.experiments.ensure("validation").experiment_id,
        tracking_url=sqlite_url,
        notebook=str(write_notebook(tmp_path / "validate.ipynb", load, parameters="candidate = ''")),
    )
    return record_notebook(tracker, task).run_id


def untouched(tmp_path: Path) -> bool:
    return not [place for place in forbidden(tmp_path) if place.exists()]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_hostile_model_touches_nothing_outside_of_the_sandbox(
    name: str,
    registry: Registry,
    examine: Callable[..., CheckResult],
    hostile: Any,
    linear: Any,
    table: tuple[Any, Any],
    validation: str,
    seen: list[str],
    tmp_path: Path,
) -> None:
    champion = registry.version(linear, table[0].head(3), metrics={"auc": 0.9})
    version = registry.version(hostile, table[0].head(3), serialization="pickle", metrics={"auc": 0.9})
    assert untouched(tmp_path), "the test itself must not load it"
    settings: dict[str, dict[str, Any]] = {
        "metric": {"metric": "auc", "tolerance": 0.0},
        "notebook": {"run": validation},
        "loads": {},
    }

    result = examine(name, version, champion, **settings.get(name, {}))

    assert untouched(tmp_path)
    if name in ("loads", "notebook"):
        # It ran, and could do what it wanted, there.
        assert result.verdict is Verdict.PASSED, result
        assert IN_THE_SANDBOX in seen
    else:
        assert IN_THE_SANDBOX not in seen


def test_a_hostile_model_that_claims_to_be_safe_is_not_loaded(
    registry: Registry,
    examine: Callable[..., CheckResult],
    hostile: Any,
    table: tuple[Any, Any],
    seen: list[str],
    tmp_path: Path,
) -> None:
    import yaml

    def claim(folder: Path) -> None:
        mlmodel = yaml.safe_load((folder / "MLmodel").read_text())
        mlmodel["flavors"]["sklearn"]["serialization_format"] = "skops"
        (folder / "MLmodel").write_text(yaml.safe_dump(mlmodel))

    version = registry.version(hostile, serialization="pickle", tamper=claim)
    for name in ("format", "loads"):
        result = examine(name, version, **({"example": False} if name == "loads" else {}))
        assert result.verdict is Verdict.FAILED, result
    assert untouched(tmp_path)
    assert IN_THE_SANDBOX not in seen


@pytest.mark.parametrize("where", [where for where in SURROUNDINGS if where != "as it is"])
def test_it_touches_nothing_wherever_the_worker_runs(where: str, tmp_path: Path) -> None:
    for place in (tmp_path, *tmp_path.parents):
        if place == Path(tempfile.gettempdir()):
            break
        place.chmod(0o755)
    folder = tmp_path / "work"
    folder.mkdir()
    folder.chmod(0o777)
    ended = subprocess.run(
        [*SURROUNDINGS[where], "-m", "tests.checks.examine_hostile", str(folder)],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "MLOPS_HOME": str(folder / "home"),
            "HOME": str(folder),
            "LOGNAME": "worker",
        },
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr.decode()
    answer = json.loads(ended.stdout)
    assert answer["there"] == []
    assert untouched(tmp_path)
    assert {name: result["verdict"] for name, result in answer["results"].items()} == {
        "loads": "passed",
        "notebook": "passed",
    }, answer
