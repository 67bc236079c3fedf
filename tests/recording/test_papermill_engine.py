"""``papermill --engine mlops``: papermill's rules and results, and a record."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from traitlets import TraitError

from jupyter_mlops.core.errors import ParameterTypeError
from jupyter_mlops.core.records import ReasonKind, Run, RunStatus
from jupyter_mlops.tracker.protocol import Tracker
from tests.notebook_files import files_with, printed, write_notebook
from tests.waiting import processes_with

pytestmark = pytest.mark.slow


@pytest.fixture
def papermill(home: Path) -> Callable[..., Any]:
    import papermill

    def execute(source: Path, output: Path, engine: str | None = "mlops", **options: Any) -> Any:
        return papermill.execute_notebook(str(source), str(output), engine_name=engine, progress_bar=False, **options)

    return execute


def only_run(tracker: Tracker, experiment: str) -> Run:
    found = tracker.experiments.find(experiment)
    (run,) = tracker.runs.search([found.experiment_id]).items
    return run


def timeless(path: Path) -> Any:
    """The notebook without what differs from one execution to the next."""
    text = path.read_text()
    text = re.sub(r'"\d{4}-\d\d-\d\dT[\d:.]+(\+00:00|Z)"', '"TIME"', text)
    text = re.sub(r'("duration": )[\d.]+', r"\1 0", text)
    text = re.sub(r'("output_path": )"[^"]*"', r'\1 ""', text)
    return re.sub(r'"id": "[0-9a-f]{8}"', '"id": ""', text)


def test_the_command_gives_papermills_result_and_a_record(home: Path, tracker: Tracker, tmp_path: Path) -> None:
    source = write_notebook(
        tmp_path / "same.ipynb",
        "print('x is', x)",
        "import os\nprint(os.getcwd())\nfrom IPython.display import HTML\nHTML('<b>x</b>')",
        parameters="x = 1",
    )
    content = source.read_bytes()
    started = tmp_path / "elsewhere"
    started.mkdir()
    for engine, output in ([], "plain.ipynb"), (["--engine", "mlops"], "recorded.ipynb"):
        done = subprocess.run(
            [sys.executable, "-m", "papermill", *engine, "../same.ipynb", f"../{output}", "-p", "x", "7"],
            cwd=started,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert timeless(tmp_path / "recorded.ipynb") == timeless(tmp_path / "plain.ipynb")
    assert source.read_bytes() == content
    run = only_run(tracker, "same")
    assert (run.status, run.source) == (RunStatus.FINISHED, str(source))
    assert [(param.key, param.value) for param in run.params] == [("x", 7)]
    assert b"".join(tracker.artifacts.open(run.run_id, "notebook/source.ipynb")) == content
    notebook = json.loads(b"".join(tracker.artifacts.open(run.run_id, "notebook/executed.ipynb")))
    assert printed(notebook) == f"x is 7\n{started}\n"


def test_names_unknown_to_the_notebook_warn(
    papermill: Callable[..., Any], tracker: Tracker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_notebook(tmp_path / "unknown.ipynb", "print(y)")
    with caplog.at_level(logging.WARNING, logger="papermill"):
        papermill(source, tmp_path / "out.ipynb", parameters={"y": 5})
    assert "Passed unknown parameter: y" in caplog.text
    assert "does not contain a cell with tag 'parameters'" in caplog.text
    notebook = json.loads((tmp_path / "out.ipynb").read_text())
    assert notebook["cells"][0]["metadata"]["tags"] == ["injected-parameters"]
    assert only_run(tracker, "unknown").status is RunStatus.FINISHED


def test_a_wrong_type_is_refused_before_a_kernel_starts(
    papermill: Callable[..., Any], tracker: Tracker, tmp_path: Path
) -> None:
    source = write_notebook(tmp_path / "wrong.ipynb", "print(y)", parameters="y: int = 1")
    count = len(tracker.runs.search().items)
    with pytest.raises(ParameterTypeError, match="'y'"):
        papermill(source, tmp_path / "out.ipynb", parameters={"y": "many"})
    assert len(tracker.runs.search().items) == count


@pytest.mark.parametrize(
    ("name", "cell"),
    [("missing", "print(1)"), ("removed", "import shutil\nshutil.rmtree('gone')\nprint('done')")],
)
def test_an_output_that_cannot_be_written_ends_the_run(
    papermill: Callable[..., Any],
    tracker: Tracker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    cell: str,
) -> None:
    """There is no folder for it, or it goes away while the notebook runs."""
    monkeypatch.chdir(tmp_path)
    if name == "removed":
        Path("gone").mkdir()
    source = write_notebook(tmp_path / f"{name}.ipynb", cell, "print('never')")
    with pytest.raises(FileNotFoundError, match="gone"):
        papermill(source, tmp_path / "gone" / "out.ipynb")
    run = only_run(tracker, name)
    assert run.status is RunStatus.FAILED
    assert run.reason is not None
    assert "gone doesn't exist" in run.reason.message
    executed = json.loads(b"".join(tracker.artifacts.open(run.run_id, "notebook/executed.ipynb")))
    assert printed(executed) == ("done\n" if name == "removed" else "")
    assert processes_with(run.run_id) == []


def test_a_failure_is_papermills_and_recorded(papermill: Callable[..., Any], tracker: Tracker, tmp_path: Path) -> None:
    from papermill.exceptions import PapermillExecutionError

    source = write_notebook(tmp_path / "fails.ipynb", "1 / 0", "print('not reached')")
    with pytest.raises(PapermillExecutionError, match="ZeroDivisionError"):
        papermill(source, tmp_path / "out.ipynb")
    run = only_run(tracker, "fails")
    assert run.status is RunStatus.FAILED
    assert run.reason is not None
    assert (run.reason.kind, run.reason.cell) == (ReasonKind.CELL_ERROR, 0)
    assert "papermill-error-cell-tag" in (tmp_path / "out.ipynb").read_text()


def test_an_expected_error_fails_as_papermill_has_it(
    papermill: Callable[..., Any], tracker: Tracker, tmp_path: Path
) -> None:
    from papermill.exceptions import PapermillExecutionError

    source = write_notebook(tmp_path / "expected.ipynb", ("1 / 0", ["raises-exception"]), "print('reached')")
    with pytest.raises(PapermillExecutionError):
        papermill(source, tmp_path / "out.ipynb")
    assert only_run(tracker, "expected").status is RunStatus.FAILED
    assert "reached" in (tmp_path / "out.ipynb").read_text()


def test_a_dead_kernel_is_papermills_error_and_recorded(
    papermill: Callable[..., Any], tracker: Tracker, tmp_path: Path
) -> None:
    from nbclient.exceptions import DeadKernelError

    source = write_notebook(tmp_path / "dies.ipynb", "import os\nos._exit(1)")
    with pytest.raises(DeadKernelError):
        papermill(source, tmp_path / "out.ipynb")
    run = only_run(tracker, "dies")
    assert run.reason is not None
    assert run.reason.kind is ReasonKind.KERNEL_DIED
    # Papermill leaves it as the engine wrote it: like any notebook, by nbformat.
    text = (tmp_path / "out.ipynb").read_text()
    assert text == nbformat.writes(nbformat.reads(text, as_version=4))


def test_the_output_is_a_notebook_at_any_time(papermill: Callable[..., Any], tmp_path: Path) -> None:
    output = tmp_path / "out.ipynb"
    look = (
        f"import nbformat\nseen = nbformat.read({str(output)!r}, as_version=4)\nnbformat.validate(seen)\n"
        "print([cell.metadata.papermill.status for cell in seen.cells], seen.cells[0].outputs[0].text)"
    )
    executed = papermill(write_notebook(tmp_path / "looks.ipynb", "print('grün')", look, "1"), output)
    assert printed(executed) == "grün\n['completed', 'running', 'pending'] grün\n\n"


def test_secrets_are_in_no_file(
    papermill: Callable[..., Any], tracker: Tracker, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_EXPERIMENT", "named")
    source = write_notebook(
        tmp_path / "secret.ipynb", "print(password)\nassert len(password) == 10", parameters="password = ''"
    )
    papermill(source, tmp_path / "out.ipynb", parameters={"password": "swordfish1"})
    assert files_with("swordfish1", home, tmp_path) == []
    assert only_run(tracker, "named").status is RunStatus.FINISHED


CHARACTERS = """\
import sys
def spell(stream, text):
    for character in text:
        stream.write(character)
        stream.flush()
spell(sys.stdout, "key " + password + "\\nend " + password[:5])
spell(sys.stderr, password + "!")
from IPython.display import clear_output
clear_output()
spell(sys.stdout, password + password[:5])
"""


def test_a_secret_printed_a_character_at_a_time_is_in_no_file(
    papermill: Callable[..., Any],
    tracker: Tracker,
    tmp_path: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLOPS_EXPERIMENT", "spelled")
    source = write_notebook(tmp_path / "secret.ipynb", CHARACTERS, parameters="password = ''")
    with (tmp_path / "out.txt").open("w") as out, (tmp_path / "err.txt").open("w") as err, caplog.at_level("INFO"):
        papermill(
            source,
            tmp_path / "out.ipynb",
            parameters={"password": "swordfish1"},
            stdout_file=out,
            stderr_file=err,
            log_output=True,
        )
    assert (tmp_path / "out.txt").read_text() == "key [redacted]\nend sword[redacted]sword"
    assert (tmp_path / "err.txt").read_text() == "[redacted]!"
    assert "swordfish1" not in "".join(record.getMessage() for record in caplog.records)
    assert printed(json.loads((tmp_path / "out.ipynb").read_text())) == "[redacted]sword"
    assert only_run(tracker, "spelled").status is RunStatus.FINISHED


def test_an_option_that_makes_no_sense_leaves_no_kernel_and_no_open_run(
    papermill: Callable[..., Any], tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_EXPERIMENT", "nonsense")
    source = write_notebook(tmp_path / "work.ipynb", "1")
    with pytest.raises(TraitError, match="iopub_timeout"):
        papermill(source, tmp_path / "out.ipynb", iopub_timeout="soon")
    run = only_run(tracker, "nonsense")
    assert run.status is RunStatus.FAILED
    assert run.reason is not None
    assert "iopub_timeout" in run.reason.message
    assert processes_with(run.run_id) == []
