"""Notebooks on a GPU, where there is one with PyTorch beside it: what is recorded of it, and forking before its use."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from jupyter_mlops.core.records import RunStatus
from jupyter_mlops.core.run_files import ENVIRONMENT
from jupyter_mlops.execution.engine import NotebookTask, Remark
from jupyter_mlops.execution.fork.engine import ForkEngine
from jupyter_mlops.execution.local import LocalEngine
from jupyter_mlops.tracker.protocol import Tracker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path("/dev/nvidiactl").exists() or find_spec("torch") is None or find_spec("pynvml") is None,
        reason="no NVIDIA GPU, or no torch and nvidia-ml-py",
    ),
]

BUSY = """
import time, torch
kept = torch.zeros(1 << 28, device="cuda")
square = torch.rand(4096, 4096, device="cuda")
end = time.monotonic() + 9
while time.monotonic() < end:
    (square @ square).sum().item()
"""
PREPARE = "import torch\ndata = torch.arange(1000, dtype=torch.float32)"
IN_USE = "each point gets a fresh kernel: CUDA is initialised when the points part"
USE = "print(x, (data.to('cuda') * x).sum().item(), torch.cuda.is_initialized())"


def swept(
    tracker: Tracker, task: Callable[..., NotebookTask], path: Path, variable: str = "x"
) -> tuple[list[str], list[str]]:
    """The remarks of a sweep of two points, and what each printed."""
    tasks = [task(path, swept=(variable,), **{variable: value}) for value in (1, 2)]
    events = list(ForkEngine().run(tasks, jobs=2))
    runs = [tracker.runs.get(each.run_id) for each in tasks]
    assert [run.reason for run in runs] == [None, None]
    printed = []
    for run in runs:
        cells = json.loads(b"".join(tracker.artifacts.open(run.run_id, "notebook/executed.ipynb")))["cells"]
        printed.append("".join(cells[-1]["outputs"][0]["text"]).strip())
    return [event.text for event in events if isinstance(event, Remark)], printed


def test_what_a_notebook_uses_of_a_gpu_is_recorded(
    tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask]
) -> None:
    item = task(notebook(BUSY))
    list(LocalEngine().run([item], jobs=1))
    run = tracker.runs.get(item.run_id)
    assert (run.status, run.reason) == (RunStatus.FINISHED, None)
    histories = {
        key: [point.value for point in tracker.runs.history(item.run_id, f"system/gpu_0_{key}").items]
        for key in ("percent", "memory_mb")
    }
    assert max(histories["percent"]) > 50
    # 1 GiB and what CUDA takes for itself; a container may be told of no process.
    assert max(histories["memory_mb"]) == 0 or max(histories["memory_mb"]) > 1_000
    environment = json.loads(b"".join(tracker.artifacts.open(item.run_id, ENVIRONMENT)))
    (gpu, *_) = environment["gpus"] if "gpus" in environment else environment["machine"]["gpus"]
    assert gpu["memory"] > 1 << 30


def test_points_that_use_the_gpu_are_forked_before_it(
    tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask]
) -> None:
    remarks, printed = swept(tracker, task, notebook(PREPARE, USE, parameters="x = 0"))
    assert printed == ["1 499500.0 True", "2 999000.0 True"]
    (remark,) = remarks
    assert "executed once" in remark


def test_a_gpu_in_use_before_the_points_part_gives_each_a_fresh_kernel(
    tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask]
) -> None:
    remarks, printed = swept(tracker, task, notebook(f"{PREPARE}.to('cuda')", USE, parameters="x = 0"))
    assert printed == ["1 499500.0 True", "2 999000.0 True"]
    assert remarks == [IN_USE]


def test_asking_whether_there_is_a_gpu_is_its_use(
    tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask]
) -> None:
    ask = "device = 'cuda' if torch.cuda.is_available() else 'cpu'"
    remarks, printed = swept(tracker, task, notebook(f"{PREPARE}\n{ask}", USE, parameters="x = 0"))
    assert printed == ["1 499500.0 True", "2 999000.0 True"]
    assert remarks == [IN_USE]
