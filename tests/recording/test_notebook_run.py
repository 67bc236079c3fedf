"""One notebook run that has everything, and what its record holds."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from jupyter_mlops.core.errors import Conflict, MissingDependency, NotebookError, ParameterTypeError, UnknownParameter
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.quotas import Quota
from jupyter_mlops.core.records import NewRun, Progress, Run, RunKind, RunStatus
from jupyter_mlops.recording.lost import close
from jupyter_mlops.recording.notebook import record_notebook
from jupyter_mlops.recording.outputs import MIME_TYPE
from jupyter_mlops.recording.recorder import RunFolder
from jupyter_mlops.recording.task import NotebookTask
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.protocol import Tracker
from tests.notebook_files import files_with, printed, write_notebook

pytestmark = pytest.mark.slow

SECRET = 'swordfish-"42"'

PARAMETERS = """\
lr: float = 0.1  # learning rate
depth = 3
api_key = ""
"""
LOG = f"""
from IPython.display import display
display({{{MIME_TYPE!r}: {{
    "params": {{"kind": "rf"}},
    "metrics": {{"loss": [{{"value": 2.5, "step": 0}}, {{"value": "NaN", "step": 1}}], "auc": 0.875}},
    "tags": {{"stage": "trial"}},
    "artifacts": {{"notes/a.txt": {{"text": "héllo"}}, "notes/b.csv": {{"file": "b.csv"}}}},
}}}}, raw=True)
"""


class Recorded(NamedTuple):
    run: Run
    notebook: Path
    source: bytes
    output: Path
    progress: list[Progress]
    printed: dict[str, str]


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def recorded(
    tracker: Tracker,
    task: Callable[..., NotebookTask],
    tmp_path_factory: pytest.TempPathFactory,
    executed: Callable[[Run], dict[str, Any]],
) -> Recorded:
    folder = tmp_path_factory.mktemp("project")
    (folder / "tracked.py").write_text("A = 1\n")
    (folder / ".gitignore").write_text("b.csv\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "begin")
    (folder / "tracked.py").write_text("A = 2\n")
    (folder / "untracked.py").write_text("B = 3\n")
    (folder / "b.csv").write_text("x\n1\n")
    notebook = write_notebook(
        folder / "work.ipynb",
        "import json, os, tracked, untracked\n"
        "print(json.dumps({'lr': lr, 'depth': depth, 'cwd': os.getcwd(), 'scratch': os.environ['MLOPS_RUN_DIR'],"
        " 'pid': os.getpid(), 'scratch exists': os.path.isdir(os.environ['MLOPS_RUN_DIR'])}))",
        "print(api_key)\napi_key",
        "import sys\nprint(api_key[:5], end='', flush=True)\nsys.stdout.flush()\nprint(api_key[5:])",
        LOG,
        "import scrapbook as sb\nsb.glue('scrap', 0.5)\nsb.glue('table', [1, 2])",
        parameters=PARAMETERS,
    )
    source = notebook.read_bytes()
    progress: list[Progress] = []
    output, link = folder / "out.ipynb", folder / "link.ipynb"
    link.symlink_to(output)
    run = record_notebook(
        tracker,
        task(notebook, parameters={"lr": 0.5, "api_key": SECRET}, output=str(link), tags={"team": "a"}),
        on_progress=progress.append,
    )
    first = printed(executed(run)).splitlines()[0]
    return Recorded(run, notebook, source, output, progress, json.loads(first))


def test_it_finishes(recorded: Recorded) -> None:
    run = recorded.run
    assert (run.status, run.reason, run.kind) == (RunStatus.FINISHED, None, RunKind.NOTEBOOK)
    assert run.end_time is not None
    assert run.end_time > run.start_time
    assert run.source == str(recorded.notebook)


def test_the_source_is_recorded_byte_for_byte_and_never_changed(recorded: Recorded, read: Callable[..., bytes]) -> None:
    assert recorded.notebook.read_bytes() == recorded.source
    assert read(recorded.run, "notebook/source.ipynb") == recorded.source


def test_parameters_are_recorded_with_the_defaults_of_the_others(recorded: Recorded) -> None:
    assert {param.key: param.value for param in recorded.run.params} == {
        "lr": 0.5,
        "depth": 3,
        "api_key": "[redacted]",
        "kind": "rf",
    }
    assert (recorded.printed["lr"], recorded.printed["depth"]) == (0.5, 3)


def test_it_ran_in_the_notebooks_folder_with_a_scratch_folder_of_its_own(recorded: Recorded) -> None:
    assert recorded.printed["cwd"] == str(recorded.notebook.parent)
    assert recorded.printed["scratch exists"] is True


def test_nothing_is_left_behind(recorded: Recorded, home: Path) -> None:
    assert not psutil.pid_exists(int(recorded.printed["pid"]))
    assert not Path(recorded.printed["scratch"]).exists()
    assert not (home / "runs" / recorded.run.run_id).exists()
    assert not (Path(tempfile.gettempdir()) / f"mlops-{recorded.run.run_id}").exists()


def test_progress_is_told_cell_by_cell(recorded: Recorded) -> None:
    assert [(step.done, step.total) for step in recorded.progress] == [(n, 7) for n in range(1, 8)]
    assert recorded.run.progress == Progress(done=7, total=7)


def test_each_cell_has_a_duration(recorded: Recorded, read: Callable[..., bytes]) -> None:
    cells = json.loads(read(recorded.run, "notebook/cells.json"))
    assert [cell["index"] for cell in cells] == list(range(7))
    assert all(cell["seconds"] > 0 and cell["status"] == "completed" for cell in cells)


def test_the_output_is_the_executed_notebook(recorded: Recorded, read: Callable[..., bytes]) -> None:
    assert recorded.output.with_name("link.ipynb").is_symlink()
    assert recorded.output.read_bytes().strip() == read(recorded.run, "notebook/executed.ipynb").strip()


def test_a_secret_is_nowhere_in_the_store_nor_in_the_output(recorded: Recorded, home: Path) -> None:
    assert files_with("learning rate", home, recorded.output)
    assert files_with(SECRET[:9], home, recorded.output) == []


def test_the_kernel_got_the_secret_all_the_same(recorded: Recorded, executed: Callable[..., Any]) -> None:
    assert printed(executed(recorded.run)).splitlines()[1:] == ["[redacted]", "[redacted]"]


def test_outputs_of_the_logging_type_are_recorded(
    recorded: Recorded, tracker: Tracker, read: Callable[..., bytes]
) -> None:
    run = recorded.run
    summaries = {metric.key: metric for metric in run.metrics}
    assert summaries["auc"].value == 0.875
    assert (summaries["loss"].count, summaries["loss"].max) == (2, 2.5)
    points = tracker.runs.history(run.run_id, "loss").items
    assert [(point.step, str(point.value)) for point in points] == [(0, "2.5"), (1, "nan")]
    assert {tag.key: tag.value for tag in run.tags}["stage"] == "trial"
    assert read(run, "notes/a.txt").decode() == "héllo"
    assert read(run, "notes/b.csv") == b"x\n1\n"


def test_scraps_are_recorded(recorded: Recorded, read: Callable[..., bytes]) -> None:
    assert {metric.key: metric.value for metric in recorded.run.metrics}["scrap"] == 0.5
    assert json.loads(read(recorded.run, "scraps/table.json")) == [1, 2]


def test_the_environment_is_locked(recorded: Recorded, read: Callable[..., bytes]) -> None:
    lines = read(recorded.run, "environment/requirements.txt").decode().splitlines()
    assert f"msgspec=={version('msgspec')}" in lines
    assert any(line.startswith("-e file://") and line.endswith("# jupyter_mlops") for line in lines)
    facts = json.loads(read(recorded.run, "environment/environment.json"))
    assert facts["machine"]["memory"] > 0
    assert facts["python"]["version"] == {tag.key: tag.value for tag in recorded.run.tags}["mlops.python"]


def test_the_state_of_the_code_is_recorded(recorded: Recorded, tracker: Tracker, read: Callable[..., bytes]) -> None:
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=recorded.notebook.parent, check=True, capture_output=True, text=True
    ).stdout.strip()
    tags = {tag.key: tag.value for tag in recorded.run.tags}
    assert (tags["mlops.git.commit"], tags["mlops.git.dirty"], tags["team"]) == (head, "true", "a")
    assert "+A = 2" in read(recorded.run, "environment/git.diff").decode()
    modules = [artifact.path for artifact in tracker.artifacts.walk(recorded.run.run_id, "environment/modules")]
    assert modules == ["environment/modules/untracked.py"]


def test_use_of_the_machine_is_recorded(recorded: Recorded) -> None:
    metrics = {metric.key: metric for metric in recorded.run.metrics}
    assert metrics["system/memory_mb"].max is not None
    assert metrics["system/memory_mb"].max > 10
    assert metrics["system/cpu_percent"].max is not None
    assert metrics["system/cpu_percent"].max > 0


def test_a_run_is_done_once(recorded: Recorded, tracker: Tracker, task: Callable[..., NotebookTask]) -> None:
    again = NotebookTask(
        run_id=recorded.run.run_id,
        experiment_id=recorded.run.experiment_id,
        tracking_url=task(recorded.notebook).tracking_url,
        notebook=str(recorded.notebook),
    )
    with pytest.raises(Conflict, match="was begun before; it is FINISHED"):
        record_notebook(tracker, again)
    assert tracker.runs.get(recorded.run.run_id).end_time == recorded.run.end_time


def test_a_scheduled_run_is_begun(tracker: Tracker, task: Callable[..., NotebookTask], tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "a.ipynb", "1", parameters="x = 1")
    work = task(notebook, parameters={"x": 2})
    tracker.runs.create(
        NewRun(run_id=work.run_id, experiment_id=work.experiment_id, kind=RunKind.NOTEBOOK, status=RunStatus.SCHEDULED)
    )
    run = record_notebook(tracker, work)
    assert run.status is RunStatus.FINISHED
    assert run.runner is not None
    assert run.runner.pid == os.getpid()
    assert [(param.key, param.value) for param in run.params] == [("x", 2)]


def test_runs_in_threads_and_beside_a_running_loop_do_not_disturb_each_other(record: Callable[..., Run]) -> None:
    runs: list[Run] = []

    def one() -> None:
        runs.append(record("print(6 * 7)"))

    async def both() -> None:
        thread = threading.Thread(target=one)
        thread.start()
        one()
        thread.join()

    asyncio.run(both())
    assert [run.status for run in runs] == [RunStatus.FINISHED] * 2


def test_a_parameter_too_long_for_a_table_is_a_file(record: Callable[..., Run], read: Callable[..., bytes]) -> None:
    values = list(range(3000))
    run = record("assert sum(xs) == 4498500", parameters="xs = [1]\ny = 2", given={"xs": values})
    assert (run.status, [param.key for param in run.params]) == (RunStatus.FINISHED, ["y"])
    assert json.loads(read(run, "parameters/xs.json")) == values


def test_a_flood_of_text_is_cut(
    record: Callable[..., Run], executed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_mlops.recording.output_limit.LARGEST_CELL", 1000)
    run = record("for n in range(500): print('x' * 9, flush=True)", "print('y')")
    text = printed(executed(run))
    assert text.count("x") == 900
    assert "beyond 1,000 characters was left out" in text
    assert text.endswith("y\n")


def test_a_lost_end_of_outputs_is_not_waited_for(
    record: Callable[..., Run], executed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel drops what it publishes faster than it can be sent, the end of a cell among it."""
    monkeypatch.setattr("jupyter_mlops.recording.asking._SILENCE_SECONDS", 0.1)
    losing = (
        "kernel = get_ipython().kernel\n"
        "publish = kernel._publish_status\n"
        "def lose(*_, **__): kernel._publish_status = publish\n"
        "kernel._publish_status = lose\n"
        "print('first')"
    )
    run = record(losing, "print('second')")
    assert run.status is RunStatus.FINISHED
    assert printed(executed(run)) == "first\nsecond\n"
    assert "outputs of cell 1 may be missing" in next(tag.value for tag in run.tags if tag.key == "mlops.notice")


WITHHELD = {
    "a request": (
        "kernel, kept = get_ipython().kernel, []\n"
        "dispatch = kernel.dispatch_shell\n"
        "async def withhold(message, **options):\n"
        "    kept.append((message, options))\n"
        "    if len(kept) > 1:\n"
        "        kernel.dispatch_shell = dispatch\n"
        "        for message, options in kept: await dispatch(message, **options)\n"
        "kernel.dispatch_shell = withhold"
    ),
    "a reply": (
        "stream, kept = get_ipython().kernel.shell_stream, []\n"
        "send = stream.send_multipart\n"
        "def withhold(message):\n"
        "    kept.append(message)\n"
        "    if len(kept) > 1:\n"
        "        stream.send_multipart = send\n"
        "        for message in kept: send(message)\n"
        "stream.send_multipart = withhold"
    ),
}
"""What has a kernel find one message only when the next one comes."""


@pytest.mark.parametrize("what", WITHHELD)
def test_what_lies_unnoticed_is_asked_for(
    record: Callable[..., Run], executed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr("jupyter_mlops.recording.asking._SILENCE_SECONDS", 0.1)
    run = record("print('first')", WITHHELD[what], "print('second')")
    assert run.status is RunStatus.FINISHED
    assert printed(executed(run)) == "first\nsecond\n"
    assert "mlops.notice" not in [tag.key for tag in run.tags]


SHOWING = "for n in range(20): display({'text/html': 'x' * 3000}, raw=True)"


def test_a_flood_of_displays_is_cut(
    record: Callable[..., Run], executed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_mlops.recording.output_limit.LARGEST_CELL", 20_500)
    logging_too = "display({'application/vnd.jupyter-mlops.log+json': {'metrics': {'m': 1}}}, raw=True)"
    again = "from IPython.display import clear_output\nclear_output(wait=True)\ndisplay({'text/html': 'z'}, raw=True)"
    cleared = SHOWING.replace("): ", "):\n    clear_output(wait=True)\n    ")
    failing = f"{SHOWING}\n{logging_too}\nprint('no more')\nraise ValueError('e' * 200_000)"
    run = record(f"{SHOWING}\n{again}", f"from IPython.display import clear_output\n{cleared}", failing)
    assert [metric.count for metric in run.metrics if metric.key == "m"] == [1]
    first, second, third = (cell["outputs"] for cell in executed(run)["cells"])
    assert [output["data"] for output in first] == [{"text/html": ["z"]}]
    assert ["".join(output["data"]["text/html"]) for output in second] == ["x" * 3000]
    assert [output["output_type"] for output in third] == ["display_data"] * 5 + ["stream", "error"]
    assert "beyond 20,500 characters was left out" in "".join(third[5]["text"])
    assert len(third[6]["evalue"]) < 60_000
    assert len("".join(third[6]["traceback"])) < 60_000


def test_what_all_cells_together_put_out_is_cut(
    record: Callable[..., Run], executed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_mlops.recording.output_limit.LARGEST_NOTEBOOK", 100_000)
    updating = (
        "shown = display({'text/plain': 'a'}, raw=True, display_id=True)\n"
        "for size in (10, 90_000): shown.update({'text/plain': 'y' * size}, raw=True)"
    )
    run = record(updating, SHOWING, SHOWING, "print('p' * 50_000)", "print('end')")
    assert run.status is RunStatus.FINISHED
    notebook = executed(run)
    assert len(json.dumps(notebook)) < 200_000
    first, second, third, fourth, fifth = (cell["outputs"] for cell in notebook["cells"])
    assert "".join(first[0]["data"]["text/plain"]) == "y" * 90_000
    kinds = [output["output_type"] for output in second]
    assert kinds == ["display_data"] * 2 + ["stream"]
    for outputs in (second, third, fifth):
        assert "put out more than 100,000 characters" in "".join(outputs[-1]["text"])
    assert 0 < "".join(fourth[0]["text"]).count("p") < 2000


def test_much_that_is_printed_in_pieces_becomes_few_outputs(
    record: Callable[..., Run], executed: Callable[..., Any]
) -> None:
    writing = "import sys\nfor n in range(20_000):\n    sys.stdout.write(f'{n}\\n')\n    sys.stdout.flush()\nn"
    run = record(writing, "print('y')")
    notebook = executed(run)
    # ZeroMQ in the kernel drops what a busy machine does not fetch in time.
    numbers = [int(line) for line in printed(notebook).splitlines()[:-1]]
    assert numbers == sorted(set(numbers))
    outputs = notebook["cells"][0]["outputs"]
    assert len(outputs) < 1_100
    assert outputs[-1]["output_type"] == "execute_result"


def test_a_copy_that_cannot_be_written_meanwhile_does_not_end_the_run(
    record: Callable[..., Run], executed: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = "import os, pathlib\npathlib.Path(os.environ['MLOPS_RUN_DIR'], '..', 'executed.ipynb').mkdir()"
    with caplog.at_level(logging.WARNING, logger="jupyter_mlops"):
        run = record(in_the_way, "print('y')")
    assert run.status is RunStatus.FINISHED
    assert printed(executed(run)) == "y\n"
    assert ["cannot be written" in record.message for record in caplog.records] == [True]


def test_a_full_quota_takes_neither_a_runs_values_nor_its_end(
    record: Callable[..., Run], tracker: Tracker, executed: Callable[..., Any], home: Path
) -> None:
    """Files wait for room; what needs none does not wait for them."""
    owner = tracker.experiments.find("tests").owner
    tracker.quotas.set(owner, Quota(bytes=0))
    try:
        run = record("import jupyter_mlops as mlops\nmlops.log_metric('loss', 0.5)\nprint('done')")
        assert (run.status, run.reason) == (RunStatus.FINISHED, None)
        assert [(metric.key, metric.value) for metric in run.metrics if metric.key == "loss"] == [("loss", 0.5)]
        assert tracker.artifacts.walk(run.run_id) == ()
        # As the next command finds it.
        assert close(tracker, run).status is RunStatus.FINISHED
    finally:
        tracker.quotas.set(owner, None)
    assert close(tracker, run).status is RunStatus.FINISHED
    assert printed(executed(run)) == "done\n"
    assert not (home / "runs" / run.run_id).exists()


def test_the_home_folder_is_for_its_owner_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's folder may be the first thing in it."""
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "data" / "home"))
    folder = RunFolder(new_id())
    folder.create()
    assert folder.scratch.is_dir()
    assert [path.stat().st_mode & 0o077 for path in (tmp_path / "data" / "home", folder.path)] == [0, 0]
    with pytest.raises(Conflict, match="being done already"):
        folder.create()


def test_without_the_driver_of_its_files_place_no_run_begins(
    task: Callable[..., NotebookTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    # Another test may have loaded it.
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    write_notebook(tmp_path / "work.ipynb", "1")
    with connect(f"sqlite:///{tmp_path}/mlops.db", artifacts="s3://bucket") as tracker:
        wanted = task(tmp_path / "work.ipynb", artifacts_url="s3://bucket")
        with pytest.raises(MissingDependency, match="pip install s3fs"):
            record_notebook(tracker, wanted)
        assert tracker.runs.search().items == ()
    assert not RunFolder(wanted.run_id).path.exists()


def test_bad_tasks_are_refused_before_anything_is_recorded(
    tracker: Tracker, task: Callable[..., NotebookTask], tmp_path: Path
) -> None:
    notebook = write_notebook(tmp_path / "a.ipynb", "1", parameters="depth: int = 3")
    bad = tmp_path / "b.ipynb"
    bad.write_text("no json")
    untagged = write_notebook(tmp_path / "c.ipynb", "1")
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(link)
    count = len(tracker.runs.search().items)
    for work, error, match in [
        (task(notebook, parameters={"dpeth": 1}), UnknownParameter, "depth"),
        (task(notebook, parameters={"depth": "deep"}), ParameterTypeError, "depth"),
        (task(untagged, parameters={"x": 1}), UnknownParameter, "parameters"),
        (task(notebook, kernel_name="fortran"), NotebookError, r"no kernel 'fortran'.*python3"),
        (task(notebook, cwd=str(tmp_path / "nowhere")), NotebookError, "nowhere"),
        (task(notebook, output=str(notebook)), NotebookError, "the notebook itself"),
        (task(notebook, output=str(tmp_path / "no" / "o.ipynb")), NotebookError, "folder of the output"),
        (task(notebook, output=str(pipe)), NotebookError, "is no file; without an output"),
        (task(notebook, output=str(link)), NotebookError, "is no file; without an output"),
        (task(pipe), NotebookError, "is a pipe or a device; name a notebook file"),
        (task(bad), NotebookError, "not a notebook"),
        (task(tmp_path / "missing.ipynb"), NotebookError, "there is no notebook"),
    ]:
        with pytest.raises(error, match=match):
            record_notebook(tracker, work)
    assert len(tracker.runs.search().items) == count
