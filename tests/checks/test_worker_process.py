"""``jupyter mlops worker`` and a service, each a process of its own: requests are checked, and a killed worker's job is
done by another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from jupyter_mlops.core.checks import Verdict
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.policy import CheckRule, Policy
from jupyter_mlops.core.promotion import Promotion, PromotionState
from jupyter_mlops.recording.notebook import record_notebook
from jupyter_mlops.recording.task import NotebookTask
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.checks.conftest import MODEL, Registry, forbidden
from tests.hub import standalone
from tests.notebook_files import write_notebook
from tests.waiting import lives, until

pytestmark = pytest.mark.slow

VALIDATE = """
import jupyter_mlops as mlops
if candidate:
    mlops.load_model(candidate, flavor="sklearn")
    with mlops.connect(tracking_url) as service:
        mlops.log_metric("check/knows itself", service.principal.name.startswith("check:"))
        mlops.log_metric("check/reads the model", service.models.get("churn").latest_version > 0)
        request = service.promotions.search(state="open").items[0]
        refused = 0
        for decide in (service.promotions.approve, service.promotions.withdraw, service.promotions.refresh):
            try:
                decide(request.request_id)
            except Exception:
                refused += 1
        mlops.log_metric("check/decides nothing", refused == 3)
"""


class Team:
    """A service over a store of its own, and who works with it; ``churn`` is the group red's."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.ada = self.as_user("ada", "--groups", "red")
        self.bo = self.as_user("bo", "--groups", "red", "--scopes", "promote")
        self.boss = self.as_user("boss", "--scopes", "admin")
        self.registry = Registry(self.ada, folder / "models")  # type: ignore[arg-type]
        self.workers: list[subprocess.Popen[str]] = []

    def as_user(self, *words: str) -> RemoteTracker:
        return RemoteTracker(self.url, standalone.token(self.folder, *words))

    def ask(self, version: Any, *rules: CheckRule) -> Promotion:
        self.boss.policies.set(Policy(checks=rules), model=MODEL)
        return self.ada.promotions.request(MODEL, version.version, reason="better")

    def work(self, *options: str) -> subprocess.Popen[str]:
        """Start a worker."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("MLOPS_", "JUPYTERHUB_"))}
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_mlops", "worker", "--json", *options],
            env={
                **own,
                "MLOPS_HOME": str(self.folder / "worker"),
                "MLOPS_TRACKING_URL": self.url,
                "MLOPS_TRACKING_TOKEN": standalone.token(self.folder, "worker", "--scopes", "admin"),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.workers.append(process)
        return process

    def verdicts(self, request: Promotion) -> dict[str, Verdict | None]:
        checks = self.ada.promotions.get(request.request_id).checks
        return {each.rule.name: each.result and each.result.verdict for each in checks}


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Team]:
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    (tmp_path / "models").mkdir()
    standalone.token(tmp_path, "nobody", "--scopes", "read")
    database = f"sqlite:///{tmp_path}/mlops.db"
    with standalone.started(tmp_path, "--tokens", str(tmp_path / "tokens.json"), "--db", database) as service:
        team = Team(tmp_path, service.url)
        yield team
        for worker in team.workers:
            worker.kill()
            worker.communicate()


def test_a_hostile_candidate_is_checked_approved_and_touches_nothing(
    team: Team, hostile: Any, table: tuple[Any, Any], tmp_path: Path
) -> None:
    task = NotebookTask(
        run_id=new_id(),
        experiment_id=team.bo.experiments.ensure("validation", owner="group:red").experiment_id,
        tracking_url=team.url,
        notebook=str(write_notebook(tmp_path / "v.ipynb", VALIDATE, parameters="candidate = ''\ntracking_url = ''")),
    )
    validation = record_notebook(team.bo, task)  # type: ignore[arg-type]
    version = team.registry.version(hostile, table[0].head(3), serialization="pickle", metrics={"auc": 0.9})
    request = team.ask(
        version,
        CheckRule(name="loads"),
        CheckRule(name="metric", settings={"metric": "auc", "at_least": 0.8}),
        CheckRule(name="notebook", settings={"run": validation.run_id, "other_owner": True}),
    )
    assert set(team.verdicts(request).values()) == {None}

    output, errors = team.work("--once").communicate(timeout=200)

    told = [json.loads(line) for line in output.splitlines()]
    # The cheapest first.
    assert [(each["job"]["name"], each["result"]["verdict"]) for each in told] == [
        ("metric", "passed"),
        ("loads", "passed"),
        ("notebook", "passed"),
    ], output + errors
    if os.geteuid() == 0 and Path(sys.base_prefix).is_relative_to("/root"):
        assert "Missing of the isolation: user: " in errors
    assert set(team.verdicts(request).values()) == {Verdict.PASSED}
    evidence = told[2]["result"]["detail"]["found"]["run_id"]
    assert team.bo.experiments.get(team.bo.runs.get(evidence).experiment_id).owner == "group:red"
    assert team.bo.promotions.approve(request.request_id).state is PromotionState.PROMOTED
    assert not [place for place in forbidden(tmp_path) if place.exists()]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the temporary files of what is started."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def slow(model_input: list[float]) -> list[float]:
    import os
    import time

    # Not while it is saved, which tries it too.
    if "mlops-check" in os.environ.get("TMPDIR", ""):
        time.sleep(600)
    return model_input


def enclosed_by(worker: subprocess.Popen[str], folder: Path) -> list[psutil.Process]:
    """The processes that a worker has enclosed, once it has claimed a job and the candidate's code runs."""

    def found() -> list[psutil.Process]:
        try:
            supervisors = psutil.Process(worker.pid).children()
            inner = [each for one in supervisors for each in one.children()]
            # Before that, it tries for moments what the machine allows.
            runs = _claimed(folder) and any(time.time() - each.create_time() > 1 for each in inner)
        except psutil.NoSuchProcess:
            return []
        return [*supervisors, *inner] if runs else []

    return until(found, "the candidate's code ran")


def test_the_job_of_a_killed_worker_is_done_by_another_after_its_lease(
    team: Team, tmp_path: Path, temporary: Path
) -> None:
    request = team.ask(team.registry.version(slow, [1.0]), CheckRule(name="loads"))
    first = team.work()
    left = enclosed_by(first, tmp_path)
    first.kill()
    first.wait()
    until(lambda: not any(map(lives, left)), "what the killed worker had enclosed ended too")
    assert list(temporary.iterdir()) == []
    assert team.boss.checks.claim(["loads"]) is None, "the lease is not over yet"
    assert team.verdicts(request) == {"loads": None}

    # A minute later.
    _change(tmp_path, "UPDATE check_job SET lease_until = lease_until - 60000")
    output, errors = team.work("--once", "--timeout", "5").communicate(timeout=200)

    (told,) = [json.loads(line) for line in output.splitlines()]
    assert (told["job"]["attempt"], told["result"]["summary"]) == (2, "it took longer than 5 s"), errors
    assert team.verdicts(request) == {"loads": Verdict.FAILED}


def test_a_worker_that_is_asked_to_end_leaves_nothing(team: Team, tmp_path: Path, temporary: Path) -> None:
    request = team.ask(team.registry.version(slow, [1.0]), CheckRule(name="loads"))
    worker = team.work()
    left = enclosed_by(worker, tmp_path)
    worker.terminate()
    output, errors = worker.communicate(timeout=60)
    assert (worker.returncode, output) == (143, ""), errors
    assert "Traceback" not in errors
    assert not any(map(lives, left))
    assert list(temporary.iterdir()) == []
    assert team.verdicts(request) == {"loads": None}


def test_a_worker_needs_a_token_that_may_claim(team: Team) -> None:
    own = {**os.environ, "MLOPS_TRACKING_URL": team.url, "MLOPS_HOME": str(team.folder / "worker")}
    token = standalone.token(team.folder, "mallory", "--groups", "red", "--scopes", "promote")
    ended = subprocess.run(
        [sys.executable, "-m", "jupyter_mlops", "worker", "--once"],
        env={**own, "MLOPS_TRACKING_TOKEN": token},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "scope 'admin'" in ended.stderr


def _claimed(folder: Path) -> bool:
    return _change(folder, "UPDATE check_job SET state = state WHERE state = 'claimed'") > 0


def _change(folder: Path, statement: str) -> int:
    engine = sa.create_engine(f"sqlite:///{folder}/mlops.db")
    with engine.begin() as connection:
        changed = connection.execute(sa.text(statement)).rowcount
    engine.dispose()
    return changed
