"""The checks that run notebooks: a validation notebook, and the candidate's own once more."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlops.checks.check import Subject
from jupyter_mlops.checks.checkout import check_out, is_named
from jupyter_mlops.checks.sandbox import Limits, Sandbox
from jupyter_mlops.checks.worker import perform
from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.checks import TOKEN_PREFIX, CheckJob, CheckResult, Verdict
from jupyter_mlops.core.credentials import new_token, token_digest
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import ModelVersion, Run, RunStatus
from jupyter_mlops.recording.notebook import record_notebook
from jupyter_mlops.recording.task import NotebookTask
from jupyter_mlops.tracker.download import save_file
from jupyter_mlops.tracker.protocol import Tracker
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.checks.conftest import MODEL, Registry
from tests.notebook_files import write_notebook
from tests.service.inprocess import running

pytestmark = pytest.mark.slow

Examine = Callable[..., CheckResult]
Record = Callable[..., Run]

LOG = "import jupyter_mlops as mlops\n"


@pytest.fixture
def record(tracker: Tracker, tmp_path: Path, sqlite_url: str) -> Record:
    """Run and record a notebook."""

    def run(*cells: str, parameters: str | None = None, given: dict[str, Any] | None = None) -> Run:
        folder = tmp_path / "notebooks"
        folder.mkdir(exist_ok=True)
        task = NotebookTask(
            run_id=new_id(),
            experiment_id=tracker.experiments.ensure("notebooks").experiment_id,
            tracking_url=sqlite_url,
            notebook=str(write_notebook(folder / "work.ipynb", *cells, parameters=parameters)),
            parameters=given or {},
        )
        return record_notebook(tracker, task)

    return run


# --- validation notebooks --------------------------------------------------------------------------------------------

VALIDATE = """
if candidate:
    rows = [[25.0, 1.0], [45.0, 4.0]]
    import pandas
    table = pandas.DataFrame(rows, columns=["age", "spent"])
    mlops.log_metric("check/agrees", (mlops.load_model(candidate).predict(table) == [0, 1]).all())
    mlops.log_metric("check/known champion", bool(champion) == with_champion)
    mlops.log_text("seen", "notes/seen.txt")
    for step in range(3):
        mlops.log_metric("latency", step / 10, step=step)
"""
PARAMETERS = "candidate = ''\nchampion = ''\nwith_champion = True\nstrict = False"


def test_a_validation_notebook_is_a_recorded_run(
    tracker: Tracker, registry: Registry, examine: Examine, record: Record, linear: Any, table: tuple[Any, Any]
) -> None:
    champion, candidate = (registry.version(linear, table[0].head(2)) for _ in range(2))
    validation = record(LOG + VALIDATE, parameters=PARAMETERS)

    result = examine("notebook", candidate, champion, run=validation.run_id)

    assert result.verdict is Verdict.PASSED, result
    assert result.summary == "the notebook ended without error, and agrees, known champion passed"
    run = tracker.runs.get(result.detail["found"]["run_id"])
    assert run.status is RunStatus.FINISHED
    assert {p.key: p.value for p in run.params} == {
        "candidate": f"models:/{MODEL}/2",
        "champion": f"models:/{MODEL}/1",
        "with_champion": True,
        "strict": False,
    }
    assert tracker.experiments.get(run.experiment_id).name == f"{MODEL} checks"
    assert {tag.key: tag.value for tag in run.tags}["mlops.check.model"] == f"models:/{MODEL}/2"
    assert [point.value for point in tracker.runs.history(run.run_id, "latency").items] == [0.0, 0.1, 0.2]
    files = {file.path for file in tracker.artifacts.walk(run.run_id)}
    assert {"notes/seen.txt", "notebook/source.ipynb", "notebook/executed.ipynb"} <= files
    assert run.source == validation.source

    alone = examine("notebook", candidate, run=validation.run_id, parameters={"with_champion": False})
    assert alone.verdict is Verdict.PASSED, alone


def test_an_error_or_a_failed_check_fails_it(
    tracker: Tracker, registry: Registry, examine: Examine, record: Record, linear: Any, table: tuple[Any, Any]
) -> None:
    candidate = registry.version(linear, table[0].head(2))
    checks = record(
        LOG + "mlops.log_metric('check/slices', not candidate)\nmlops.log_metric('check/size', 1)",
        parameters="candidate = ''",
    )
    result = examine("notebook", candidate, run=checks.run_id)
    assert (result.verdict, result.summary) == (Verdict.FAILED, "the notebook says that slices did not pass")
    assert result.detail["found"]["checks"] == {"slices": False, "size": True}

    breaks = record("if candidate:\n    raise ValueError('too slow')", parameters="candidate = ''")
    result = examine("notebook", candidate, run=breaks.run_id)
    assert result.verdict is Verdict.FAILED
    assert "ValueError: too slow" in result.summary
    assert tracker.runs.get(result.detail["found"]["run_id"]).status is RunStatus.FAILED

    endless = record("import time\nif candidate:\n    time.sleep(600)", parameters="candidate = ''")
    result = examine("notebook", candidate, run=endless.run_id, limits=Limits(seconds=6))
    assert (result.verdict, result.summary) == (Verdict.FAILED, "it took longer than 6 s")


def test_whose_and_which_notebook_it_is_can_be_asked_for(
    tracker: Tracker, registry: Registry, examine: Examine, record: Record, linear: Any
) -> None:
    candidate = registry.version(linear)
    validation = record("candidate", parameters="candidate = ''")
    own = examine("notebook", candidate, run=validation.run_id, other_owner=True)
    assert own.verdict is Verdict.FAILED
    assert "who is the candidate's author too" in own.summary

    content = b"".join(tracker.artifacts.open(validation.run_id, "notebook/source.ipynb"))
    digest = hashlib.sha256(content).hexdigest()
    assert examine("notebook", candidate, run=validation.run_id, digest=digest).verdict is Verdict.PASSED
    changed = examine("notebook", candidate, run=validation.run_id, digest="0" * 64)
    assert (changed.verdict, "is not the one with the digest" in changed.summary) == (Verdict.ERROR, True)

    deaf = record("1", parameters="model = ''")
    result = examine("notebook", candidate, run=deaf.run_id)
    assert (result.verdict, "no parameter 'candidate'" in result.summary) == (Verdict.ERROR, True)
    assert examine("notebook", candidate, run=new_id()).verdict is Verdict.ERROR


def test_a_notebook_cannot_reach_the_store_or_the_workers_secrets(
    registry: Registry,
    examine: Examine,
    record: Record,
    linear: Any,
    tmp_path: Path,
    sqlite_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLOPS_TRACKING_URL", sqlite_url)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "s3cr3t")
    database = sqlite_url.removeprefix("sqlite:///")
    spy = record(
        LOG + "import os\nif candidate:\n"
        "    text = '\\n'.join(f'{n}={v}' for n, v in os.environ.items())\n"
        f"    mlops.log_metric('check/no secrets', 's3cr3t' not in text and {database!r} not in text)\n"
        "    try:\n"
        f"        open({database!r}, 'rb').close()\n"
        "        mlops.log_metric('check/no database', 0)\n"
        "    except OSError:\n"
        "        mlops.log_metric('check/no database', 1)\n",
        parameters="candidate = ''",
    )
    result = examine("notebook", registry.version(linear), run=spy.run_id)
    assert result.detail["found"]["checks"] == {"no secrets": True, "no database": True}


# --- reproduces ------------------------------------------------------------------------------------------------------

TRAIN = """
import {module} as settings
from sklearn.linear_model import LogisticRegression
import pandas
rows = pandas.DataFrame({{"age": [20.0, 30.0, 40.0, 50.0], "spent": [1.0, 2.0, 3.0, 4.0]}})
mlops.log_metric("score", settings.SCORE * factor)
mlops.log_model(LogisticRegression().fit(rows, [0, 0, 1, 1]), input_example=rows)
"""


@pytest.fixture
def trained(tracker: Tracker, record: Record, tmp_path: Path) -> Callable[[str], ModelVersion]:
    """A version of a notebook that imports a module beside it, whose text is given."""

    def train(module: str) -> ModelVersion:
        (tmp_path / "notebooks").mkdir(exist_ok=True)
        (tmp_path / "notebooks" / "beside.py").write_text(module)
        run = record(LOG + TRAIN.format(module="beside"), parameters="factor = 1.0", given={"factor": 2.0})
        assert run.status is RunStatus.FINISHED, run.reason
        return tracker.models.register(MODEL, run.run_id, "model")

    return train


def test_what_is_recorded_is_enough_to_reproduce_it(
    tracker: Tracker, trained: Callable[[str], ModelVersion], examine: Examine, tmp_path: Path
) -> None:
    version = trained("SCORE = 0.25")
    (tmp_path / "notebooks" / "beside.py").unlink()

    result = examine("reproduces", version)

    assert result.verdict is Verdict.PASSED, result
    assert result.summary.startswith("equal: of 1 metrics 1 equal; packages are the same, code is the same")
    again = tracker.runs.get(result.detail["found"]["again"])
    assert {p.key: p.value for p in again.params} == {"factor": 2.0}
    assert version.run_id in {tag.value for tag in again.tags if tag.key == "mlops.rerun.of"}
    assert json.loads(json.dumps(result.detail)) == result.detail


def test_what_differs_or_does_not_run_any_more_fails(
    trained: Callable[[str], ModelVersion], examine: Examine, registry: Registry, linear: Any, tmp_path: Path
) -> None:
    random = trained("import os\nSCORE = 1 + os.urandom(1)[0] / 1e6 + os.getpid() / 1e9")
    assert examine("reproduces", random).summary.startswith("different: of 1 metrics 1 different (score was 2")
    near = examine("reproduces", random, tolerance=0.01)
    assert (near.verdict, near.summary.split(":")[0]) == (Verdict.PASSED, "within tolerance")

    (tmp_path / "data").touch()
    gone = examine("reproduces", trained(f"open({str(tmp_path / 'data')!r}).close()\nSCORE = 1"))
    assert gone.verdict is Verdict.FAILED
    assert "it could not be run again" in gone.summary

    result = examine("reproduces", registry.version(linear))
    assert (result.verdict, "comes from no recorded notebook" in result.summary) == (Verdict.FAILED, True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository in the folder of the notebooks, which keeps one module."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (folder / "kept.py").write_text("SCORE = 0.25")
    identity = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
    for words in (("init", "-q"), ("add", "kept.py"), (*identity, "commit", "-qm", "one")):
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)
    return folder


def test_of_a_run_in_a_repository_it_says_what_was_not_there(
    tracker: Tracker, trained: Callable[[str], ModelVersion], record: Record, examine: Examine, repository: Path
) -> None:
    version = trained("SCORE = 0.25")
    assert version.run_id is not None
    commit = next(tag.value for tag in tracker.runs.get(version.run_id).tags if tag.key == "mlops.git.commit")
    result = examine("reproduces", version)
    assert result.verdict is Verdict.PASSED, result
    assert (
        f"code is the same as far as the run keeps it (commit {commit[:12]} was not checked out)" in result.summary
    ), result.summary

    run = record(LOG + TRAIN.format(module="kept"), parameters="factor = 1.0", given={"factor": 2.0})
    assert run.status is RunStatus.FINISHED, run.reason
    result = examine("reproduces", tracker.models.register(MODEL, run.run_id, "model"))
    assert result.verdict is Verdict.ERROR
    assert f"in a git repository at commit {commit[:12]}, which was not checked out" in result.summary
    assert "no remote" in result.summary


def test_the_commit_is_fetched_from_a_repository_that_was_named(
    record: Record, examine: Examine, registry: Registry, tracker: Tracker, repository: Path, tmp_path: Path
) -> None:
    server = tmp_path / "server" / "churn.git"
    server.parent.mkdir()
    for words in (
        ("clone", "-q", "--bare", str(repository), str(server)),
        ("-C", str(repository), "remote", "add", "origin", str(server)),
    ):
        subprocess.run(["git", *words], check=True, capture_output=True)
    # Neither what is not committed is in the repository, nor a module that git does not keep.
    (repository / "kept.py").write_text("import loose\nSCORE = 0.25 + loose.MORE")
    (repository / "loose.py").write_text("MORE = 0.5")
    run = record(LOG + TRAIN.format(module="kept"), parameters="factor = 1.0", given={"factor": 2.0})
    assert run.status is RunStatus.FINISHED, run.reason
    version = tracker.models.register(MODEL, run.run_id, "model")
    result = examine("reproduces", version, repositories=(str(server.parent),))
    assert result.verdict is Verdict.PASSED, result
    assert "code is the same," in result.summary
    other = examine("reproduces", version, repositories=(f"{server.parent}/other", "/server"))
    assert other.verdict is Verdict.ERROR
    assert f"without --repository for {server}" in other.summary
    server.rename(tmp_path / "gone")
    lost = examine("reproduces", version, repositories=(str(server),))
    assert lost.verdict is Verdict.ERROR
    assert "git fetch" in lost.summary


@pytest.mark.parametrize(
    ("remote", "places", "named"),
    [
        ("https://git/team/a.git", ("https://git/team",), True),
        ("https://git/team/a.git", ("https://git/team/",), True),
        ("https://git/team/a.git", ("https://git/team/a.git",), True),
        ("https://git/team2/a.git", ("https://git/team",), False),
        ("https://git/team/../other", ("https://git/team",), False),
        ("https://git/team/a\n", ("https://git/team",), False),
        ("ext::sh -c id", (), False),
        ("--upload-pack=id", ("https://git",), False),
    ],
)
def test_which_repositories_are_named(remote: str, places: tuple[str, ...], named: bool) -> None:
    assert is_named(remote, places) is named


def test_a_repository_with_links_writes_nowhere_else(tmp_path: Path) -> None:
    """Neither its patch nor its modules follow a link that it holds."""
    source, outside, folder = tmp_path / "source", tmp_path / "outside", tmp_path / "folder"
    for each in (source, outside, folder):
        each.mkdir()
    (source / "link").symlink_to(outside)
    identity = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
    for words in (("init", "-q"), ("add", "link"), (*identity, "commit", "-qm", "one")):
        subprocess.run(["git", *words], cwd=source, check=True, capture_output=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=source, check=True, capture_output=True, text=True).stdout
    patch = b"diff --git a/link/x b/link/x\nnew file mode 100644\n--- /dev/null\n+++ b/link/x\n@@ -0,0 +1 @@\n+x\n"
    with pytest.raises(InvalidValue, match="git apply"):
        check_out(str(source), commit.strip(), patch, folder)
    assert (folder / "link").is_symlink()
    with pytest.raises(InvalidValue, match="symbolic link"):
        save_file(folder, "link/module.py", lambda: iter([b"x"]))
    assert list(outside.iterdir()) == []


def test_a_notebook_reads_from_the_service_with_the_jobs_token(
    tracker: Tracker,
    record: Record,
    registry: Registry,
    linear: Any,
    tmp_path: Path,
    sqlite_url: str,
) -> None:
    asks = record(
        LOG + "if tracking_url:\n    with mlops.connect(tracking_url) as service:\n"
        "        mlops.log_param('who', service.principal.name)\n"
        "        mlops.log_metric('check/version', service.models.get('churn').latest_version == 1)",
        parameters="candidate = ''\ntracking_url = ''",
    )
    version = registry.version(linear)
    token = new_token(TOKEN_PREFIX)
    principal = Principal("check:1", group_scopes=(("red", Scope.READ),), decides=False)
    find = {token_digest(token): principal}.get
    with (
        running(sqlite_url, tmp_path / "artifacts", tmp_path, find_job=find) as service,
        RemoteTracker(service.url, service.token(tracker.principal.name, scope="admin")) as remote,
        Sandbox() as sandbox,
    ):
        job = CheckJob(
            job_id=new_id(),
            request_id=new_id(),
            model=MODEL,
            version=version.version,
            alias="production",
            name="notebook",
            settings={"run": asks.run_id},
        )
        result = perform(Subject(remote, job, sandbox, token))  # type: ignore[arg-type]
    assert result.verdict is Verdict.PASSED, result
    run = tracker.runs.get(result.detail["found"]["run_id"])
    assert {p.key: p.value for p in run.params}["who"] == "check:1"
