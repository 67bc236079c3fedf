"""Kernels that know nothing of this project: other languages, environments without it, and ones that do not start."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlops.core.errors import NotebookError
from jupyter_mlops.core.records import ReasonKind, Run, RunStatus
from jupyter_mlops.recording.notebook import record_notebook
from jupyter_mlops.recording.outputs import MIME_TYPE
from jupyter_mlops.recording.task import NotebookTask
from jupyter_mlops.tracker.protocol import Tracker
from tests.notebook_files import printed, write_notebook

pytestmark = pytest.mark.slow

ECHO = Path(__file__).with_name("echo_kernel.py")
WITHOUT = (
    "import sys; sys.modules['jupyter_mlops'] = None; from ipykernel.kernelapp import launch_new_instance as f; f()"
)
KERNELS = {
    "bash": (["-m", "bash_kernel", "-f", "{connection_file}"], "bash"),
    "echo": ([str(ECHO), "-f", "{connection_file}"], "echo"),
    "other-environment": (["-c", WITHOUT, "-f", "{connection_file}"], "python"),
    "broken": (["-c", "raise SystemExit('no such library here')", "{connection_file}"], "python"),
}


@pytest.fixture(scope="module", autouse=True)
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("jupyter")
    for name, (arguments, language) in KERNELS.items():
        (folder / "kernels" / name).mkdir(parents=True)
        spec = {"argv": [sys.executable, *arguments], "display_name": name, "language": language}
        (folder / "kernels" / name / "kernel.json").write_text(json.dumps(spec))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder))
        yield


def test_bash_runs_with_parameters_and_is_recorded_from_outside(
    record: Callable[..., Run], executed: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="jupyter_mlops"):
        run = record(
            'echo "$greeting, $((count + 1))"; pwd',
            parameters="greeting=hi\ncount=1",
            given={"greeting": "good day", "count": 41},
            kernel="bash",
            language="bash",
        )
    assert (run.status, run.reason) == (RunStatus.FINISHED, None)
    assert printed(executed(run)).splitlines() == ["good day, 42", str(Path(run.source).parent)]
    assert {param.key: param.value for param in run.params} == {"greeting": "good day", "count": 41}
    tags = {tag.key: tag.value for tag in run.tags}
    assert tags["mlops.kernel"] == "bash"
    assert "recorded from outside" in tags["mlops.notice"]
    assert [record.message for record in caplog.records] == [tags["mlops.notice"]]
    assert {metric.key for metric in run.metrics} >= {"system/memory_mb"}


def test_a_failing_cell_of_bash_says_its_exit_status(record: Callable[..., Run]) -> None:
    run = record("exit_with() { return 3; }; exit_with", kernel="bash", language="bash")
    assert run.status is RunStatus.FAILED
    assert run.reason is not None
    assert (run.reason.kind, run.reason.message, run.reason.cell) == (ReasonKind.CELL_ERROR, "3", 0)


def test_any_language_logs_by_displaying(record: Callable[..., Run], read: Callable[..., bytes]) -> None:
    good = {"metrics": {"auc": 0.75}, "artifacts": {"a.bin": {"base64": "AAEC"}}}
    bad = {"metrics": {"loss": "high", "f1": 0.5}, "tgas": {}}
    run = record(
        f"{MIME_TYPE}\n{json.dumps(good)}", f"{MIME_TYPE}\n{json.dumps(bad)}", "plain", kernel="echo", language="echo"
    )
    assert run.status is RunStatus.FINISHED
    values = {metric.key: metric.value for metric in run.metrics}
    assert (values["auc"], values["f1"], "loss" in values) == (0.75, 0.5, False)
    assert read(run, "a.bin") == b"\x00\x01\x02"
    notice = {tag.key: tag.value for tag in run.tags}["mlops.notice"]
    assert "'tgas'" in notice
    assert "metric 'loss'" in notice


def test_parameters_in_a_language_papermill_does_not_write_are_refused(
    tracker: Tracker, task: Callable[..., NotebookTask], tmp_path: Path
) -> None:
    notebook = write_notebook(tmp_path / "a.ipynb", "x", parameters="p", kernel="echo", language="echo")
    with pytest.raises(NotebookError, match="parameters cannot be passed"):
        record_notebook(tracker, task(notebook, parameters={"p": 1}))


def test_a_python_environment_without_this_package(
    record: Callable[..., Run], executed: Callable[..., Any], read: Callable[..., bytes]
) -> None:
    run = record("print(x)", parameters="x = 1", given={"x": 2}, kernel="other-environment")
    assert run.status is RunStatus.FINISHED
    assert printed(executed(run)) == "2\n"
    notice = {tag.key: tag.value for tag in run.tags}["mlops.notice"]
    assert f"no jupyter_mlops in {sys.prefix}" in notice
    assert "ipykernel==" in read(run, "environment/requirements.txt").decode()


def test_old_notebooks_kernel_python_is_jupyters_own(record: Callable[..., Run]) -> None:
    assert record("1", kernel="python").status is RunStatus.FINISHED


def test_a_kernel_that_does_not_start_says_why(record: Callable[..., Run]) -> None:
    run = record("1", kernel="broken")
    assert run.status is RunStatus.FAILED
    assert run.reason is not None
    assert run.reason.kind is ReasonKind.KERNEL_DIED
    assert "no such library here" in (run.reason.traceback or "")
