"""``jupyter mlops run`` and ``rerun`` as a user types them."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlops.core.quotas import Quota
from jupyter_mlops.core.records import ReasonKind, RunStatus
from jupyter_mlops.tracker.protocol import Tracker
from tests.service.inprocess import running
from tests.waiting import processes_with, until

pytestmark = pytest.mark.slow

LOG = "import jupyter_mlops as mlops\nmlops.log_metric('area', width * height)"
PARAMETERS = "width: float = 2.0\nheight = 3"


def test_a_run_from_the_command_line_to_the_record(
    mlops: Any, notebook: Callable[..., Path], tracker: Tracker, tmp_path: Path
) -> None:
    path = notebook("print(width)", LOG, parameters=PARAMETERS, name="shapes")
    before = path.read_bytes()
    tracker.quotas.set(tracker.principal.name, Quota(runs=1))
    output = mlops(
        "run",
        str(path),
        "-p",
        "width",
        "0.5",
        "-p",
        "height=4",
        "--name",
        "small",
        "--tag",
        "team=a",
        "--output",
        "out.ipynb",
    )

    assert "uses 100 % of its quota for runs: 1 of 1" in mlops.errors
    run = tracker.runs.resolve("small")
    assert run.status is RunStatus.FINISHED
    assert {param.key: param.value for param in run.params} == {"width": 0.5, "height": 4}
    assert {metric.key: metric.value for metric in run.metrics if not metric.key.startswith("system/")} == {"area": 2.0}
    assert "a" in {tag.value for tag in run.tags if tag.key == "team"}
    assert tracker.experiments.get(run.experiment_id).name == "shapes"
    assert run.source == str(path)
    assert path.read_bytes() == before
    executed = json.loads((tmp_path / "out.ipynb").read_text())
    assert "".join("".join(cell["outputs"][0]["text"]) for cell in executed["cells"] if cell["outputs"]) == "0.5\n"
    # The block at the end says what it is called, where it lies, what came out and what to type next.
    for text in ("finished", "small", run.run_id, "shapes", "area 2", str(tmp_path / "out.ipynb")):
        assert text in output
    for line in output.partition("Next:")[2].strip().splitlines():
        if "VALUE" not in line:
            mlops(*line.split()[2:])
    mlops("run", str(path), status=1)
    assert "for runs is 1, of which 1 are used: there is no room for this" in mlops.errors


def test_progress_is_plain_lines_without_a_terminal(mlops: Any, notebook: Callable[..., Path]) -> None:
    found = mlops.json("run", str(notebook("x = 1", "x = 2")))
    assert found["status"] == "FINISHED"
    assert "work.ipynb: 2 of 2 cells" in mlops.errors
    assert "\x1b" not in mlops.errors


def test_a_failed_run_shows_the_cell_and_the_traceback(
    mlops: Any, notebook: Callable[..., Path], tracker: Tracker
) -> None:
    path = notebook("x = 0", "y = 1\ny / x\nprint('not reached')", parameters="z = 1")
    output = mlops("run", str(path), status=1)
    assert "✗ failed" in output
    assert "cell error in cell 3 (In [3]): ZeroDivisionError: division by zero" in output
    assert "     1 │ y = 1\n→    2 │ y / x\n     3 │ print('not reached')\n" in output
    assert "Traceback (most recent call last)" in output
    assert "\x1b" not in output
    run = tracker.runs.search().items[0]
    assert run.status is RunStatus.FAILED
    assert run.name in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-p", "widht", "3"], "did you mean 'width'"),
        (["-p", "width=wide"], "parameter 'width' is declared as float"),
        (["-k", "no-such-kernel"], "no-such-kernel"),
        (["--tag", "team"], "'team' is not of the form KEY=VALUE"),
        (["--execution-timeout", "0"], "execution-timeout"),
    ],
)
def test_what_cannot_be_accepted_leaves_no_trace(
    mlops: Any, notebook: Callable[..., Path], tracker: Tracker, words: list[str], message: str
) -> None:
    mlops("run", str(notebook(LOG, parameters=PARAMETERS)), *words, status=2)
    assert message in mlops.errors
    assert tracker.runs.search().items == ()
    assert tracker.experiments.search().items == ()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a\tb.ipynb", r"'a\tb': the character '\t' is not accepted in names; without another, it is called as"),
        (" .ipynb", "name one, or rename the notebook"),
        ("a\udcff.ipynb", "is not in UTF-8, and no record can name it; rename it"),
    ],
    ids=["tab", "blank", "bytes"],
)
def test_a_notebook_whose_name_no_experiment_can_have_says_what_helps(
    mlops: Any, notebook: Callable[..., Path], tmp_path: Path, name: str, message: str
) -> None:
    odd = notebook(LOG).rename(tmp_path / name)
    mlops("run", str(odd), status=2)
    assert message in mlops.errors


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_being_stopped_keeps_what_was_done(
    mlops: Any,
    notebook: Callable[..., Path],
    tracker: Tracker,
    number: signal.Signals,
    status: int,
) -> None:
    path = notebook("print('kept')", "open('begun', 'w').close()\nimport time\nwhile True: time.sleep(0.01)")
    process = mlops.start("run", str(path))
    until((path.parent / "begun").exists, "the notebook's beginning")
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)

    assert process.returncode == status
    assert "■ killed" in output
    run = tracker.runs.search().items[0]
    assert run.status is RunStatus.KILLED
    assert run.reason is not None
    assert run.reason.kind is ReasonKind.CANCELLED
    assert b"kept" in b"".join(tracker.artifacts.open(run.run_id, "notebook/executed.ipynb"))
    assert processes_with(run.run_id) == []


def test_rerun_takes_the_recorded_notebook_and_parameters(
    mlops: Any, notebook: Callable[..., Path], tracker: Tracker
) -> None:
    path = notebook("import os\nprint(os.getcwd())", LOG, parameters=PARAMETERS, name="shapes")
    first = mlops.json("run", str(path), "-p", "width=5", "--experiment", "geometry")
    path.write_text("no notebook any more")
    again = mlops.json("rerun", first["name"], "-p", "height", "7", "--name", "taller")

    assert again["name"] == "taller"
    assert again["experiment_id"] == first["experiment_id"]
    assert {param["key"]: param["value"] for param in again["params"]} == {"width": 5, "height": 7}
    assert {tag["key"]: tag["value"] for tag in again["tags"]}["mlops.rerun.of"] == first["run_id"]
    assert again["source"] == str(path)
    assert f"rerun of    {first['run_id']}" in mlops("runs", "show", "taller")
    # It ran where the original was, and keeps the source exactly.
    executed = b"".join(tracker.artifacts.open(again["run_id"], "notebook/executed.ipynb"))
    assert str(path.parent).encode() in executed
    sources = [b"".join(tracker.artifacts.open(run["run_id"], "notebook/source.ipynb")) for run in (first, again)]
    assert sources[0] == sources[1]


def test_rerun_when_the_folder_is_gone(mlops: Any, notebook: Callable[..., Path]) -> None:
    path = notebook(LOG, parameters=PARAMETERS)
    first = mlops.json("run", str(path))
    path.unlink()
    path.parent.rmdir()
    assert mlops.json("rerun", first["run_id"][:12])["status"] == "FINISHED"


def test_rerun_asks_for_secrets(mlops: Any, notebook: Callable[..., Path]) -> None:
    path = notebook("assert api_key == 'open-sesame-1'", parameters="api_key = ''\ndepth = 1")
    first = mlops.json("run", str(path), "-p", "api_key", "open-sesame-1", "-p", "depth=2")
    mlops("rerun", first["name"], status=2)
    assert "-p api_key VALUE" in mlops.errors
    again = mlops.json("rerun", first["name"], "-p", "api_key=open-sesame-1")
    assert {param["key"]: param["value"] for param in again["params"]}["depth"] == 2


def test_rerun_has_every_value_that_the_run_had(mlops: Any, notebook: Callable[..., Path], tmp_path: Path) -> None:
    """Also those that a param cannot hold: too long, and beyond 64 bits."""
    path = notebook("print(len(text), seed)", parameters="text = 'short'\nseed: int = 1\nwords = ['a']")
    (tmp_path / "given.json").write_text(json.dumps({"text": "x" * 7000, "words": ["y" * 6000]}))
    first = mlops.json("run", str(path), "-f", str(tmp_path / "given.json"), "-p", "seed", str(10**25))
    again = mlops.json("rerun", first["name"])
    assert f"7000 {10**25}" in mlops("runs", "notebook", again["name"])
    other = mlops.json("rerun", again["name"], "-p", "text", "new")
    assert f"3 {10**25}" in mlops("runs", "notebook", other["name"])


def test_rerun_asks_for_secrets_in_long_values(mlops: Any, notebook: Callable[..., Path], tmp_path: Path) -> None:
    path = notebook("print(len(settings))", parameters="settings = {}")
    given = {"settings": {"api_key": "open-sesame-1", "text": "x" * 7000}}
    (tmp_path / "given.json").write_text(json.dumps(given))
    first = mlops.json("run", str(path), "-f", str(tmp_path / "given.json"))
    mlops("rerun", first["name"], status=2)
    assert "-p settings VALUE" in mlops.errors


def test_rerun_is_where_and_by_what_the_run_was(
    mlops: Any, notebook: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    own = tmp_path / "jupyter"
    (own / "kernels" / "own").mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Own", "language": "python", "env": {"WHO": "own kernel"}}
    (own / "kernels" / "own" / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(own))
    path = notebook("import os\nprint(os.getcwd(), os.environ.get('WHO'))")
    first = mlops.json("run", str(path), "--cwd", str(elsewhere), "-k", "own")
    again = mlops.json("rerun", first["name"])
    assert f"{elsewhere} own kernel" in mlops("runs", "notebook", again["name"])
    elsewhere.rmdir()
    last = mlops.json("rerun", first["name"], "-k", "python3")
    assert f"{path.parent} None" in mlops("runs", "notebook", last["name"])


def test_what_cannot_be_run_again_is_named(mlops: Any) -> None:
    mlops("rerun", "nobody-knows-it", status=1)
    assert "nobody-knows-it" in mlops.errors


def test_a_store_named_relative_to_the_shell_is_the_kernels_too(
    mlops: Any, notebook: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel runs in the notebook's folder, not in the shell's."""
    mlops.cwd = tmp_path / "shell"
    mlops.cwd.mkdir()
    path = notebook(
        "import jupyter_mlops as mlops\nmlops.log_text('kept', 'note.txt')\nmlops.log_metric('auc', 0.5)",
        "(run,) = mlops.search_runs(filter_string='metrics.auc > 0', output_format='list')\nprint(run.info.run_id)",
    )
    monkeypatch.setenv("MLOPS_HOME", "home")
    monkeypatch.setenv("MLOPS_ARTIFACTS_URL", "files")
    mlops("--url", "sqlite:///here.db", "run", str(path))
    assert {"here.db", "files", "home"} <= {entry.name for entry in mlops.cwd.iterdir()}
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_rerun_is_recorded_where_the_run_is_also_when_another_owner_has_such_an_experiment(
    mlops: Any, notebook: Callable[..., Path], tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(sqlite_url, tmp_path / "artifacts", tmp_path) as service:
        monkeypatch.setenv("MLOPS_TRACKING_URL", service.url)
        monkeypatch.setenv("MLOPS_TRACKING_TOKEN", service.token("ada", "growth", "sales"))
        first = mlops.json("run", str(notebook(LOG, parameters=PARAMETERS)), "--experiment", "growth/churn")
        again = mlops.json("rerun", first["name"])
        assert again["experiment_id"] == first["experiment_id"]
        assert [each["owner"] for each in mlops.json("experiments", "list")] == ["group:growth"]
        elsewhere = mlops.json("rerun", first["name"], "--experiment", "churn")
        assert elsewhere["experiment_id"] != first["experiment_id"]


def test_rerun_takes_no_file_of_the_notebook_for_a_parameter(mlops: Any, notebook: Callable[..., Path]) -> None:
    cells = (
        "import jupyter_mlops as mlops",
        "open('weights.npz', 'wb').write(bytes(range(256)))",
        "mlops.log_artifact('weights.npz', 'parameters')",
        "mlops.log_text('no JSON', 'parameters/notes.json')",
        "mlops.log_text('1', 'parameters/deep/depth.json')",
    )
    first = mlops.json("run", str(notebook(*cells, parameters="depth = 3")), "-p", "depth=4")
    again = mlops.json("rerun", first["name"])
    assert {param["key"]: param["value"] for param in again["params"]} == {"depth": 4}


def test_rerun_asks_for_a_long_value_that_the_notebook_wrote_over(
    mlops: Any, notebook: Callable[..., Path], tmp_path: Path
) -> None:
    cells = ("import jupyter_mlops as mlops\nmlops.log_text('no JSON', 'parameters/text.json')",)
    path = notebook(*cells, parameters="text = 'short'")
    (tmp_path / "given.json").write_text(json.dumps({"text": "x" * 7000}))
    first = mlops.json("run", str(path), "-f", str(tmp_path / "given.json"))
    mlops("rerun", first["name"], status=2)
    assert "-p text VALUE" in mlops.errors
