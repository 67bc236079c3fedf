"""Sweeps by forked kernels against a sweep with papermill, with the same number of processes, run in full beside it.

The notebooks have a part that all points share (the prefix) and one that depends on the parameter (the suffix). The
peer is papermill in a pool of processes that have imported it, each of which executes one point after another; and
ploomber-engine in the same pool, which executes notebooks without a kernel process.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measure import Comparison, Timing
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.execution.dask.engine import DaskEngine
from jupyter_mlops.execution.engine import NotebookTask, Remark
from jupyter_mlops.execution.fork.engine import ForkEngine
from jupyter_mlops.recording.fastimport import import_runner
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.protocol import Tracker

PROCESSES = 2
_IN_MEMORY = Path("/dev/shm")
"""Where Linux keeps files that are on no disk: what the file system of a disk takes, and what the rest does."""
_PREPARE = (
    "import time\nbegan = time.process_time()",
    "import numpy as np\nimport pandas as pd\nfrom sklearn.linear_model import LogisticRegression",
    "frame = pd.DataFrame(np.random.default_rng(0).normal(size=(20_000, 8)))\n"
    "while time.process_time() - began < {prefix}:\n    frame.sort_values(0)",
)
_FIT = "began = time.process_time()\nwhile time.process_time() - began < {suffix}:\n    point * point\nprint(point)"


def compare(quick: bool) -> Iterator[Comparison]:
    """All comparisons of this suite; ``quick`` shrinks them to see that they run."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        # ploomber-engine would tell its makers of each run.
        os.environ |= {"MLOPS_HOME": str(folder / "home"), "PLOOMBER_STATS_ENABLED": "false"}
        with connect() as tracker:
            _read_libraries()
            yield from _prefix_heavy(tracker, folder, 8 if quick else 50, prefix=0.5 if quick else 2.0)
            yield _suffix_heavy(tracker, folder, 2 if quick else 4, suffix=0.5 if quick else 30.0)
            yield _overhead(tracker, folder, "on disk", 5 if quick else 250)
            yield _many(tracker, folder, 20 if quick else 1000)
            yield _on_dask(tracker, folder, 6 if quick else 40, suffix=0.2 if quick else 1.0)
    if _IN_MEMORY.is_dir():
        with tempfile.TemporaryDirectory(dir=_IN_MEMORY) as text:
            os.environ["MLOPS_HOME"] = str(Path(text) / "home")
            with connect() as tracker:
                yield _overhead(tracker, Path(text), "in memory", 5 if quick else 250)


def _read_libraries() -> None:
    """Have what both sides import in the memory of the machine, so that who comes first does not wait for its disk."""
    subprocess.run([sys.executable, "-c", f"{_PREPARE[1]}\nimport papermill, ipykernel.kernelapp"], check=True)


def _prefix_heavy(tracker: Tracker, folder: Path, points: int, *, prefix: float) -> Iterator[Comparison]:
    for at_top, where in ((False, "below"), (True, "above")):
        notebook = _notebook(folder, prefix=prefix, suffix=0.03, at_top=at_top)
        ours = [_forked(tracker, notebook, points)]
        peers: list[tuple[str, Callable[[Path, int], None]]] = [("papermill", _papermill)]
        if not at_top:
            peers.append(("ploomber-engine", _ploomber))
        theirs = {}
        for name, execute in peers:
            theirs[name] = _pooled(execute, notebook, points)
            # Peers take a minute or more, in which the machine may become slower or faster.
            ours.append(_forked(tracker, notebook, points))
        whole, after = map(list, zip(*ours, strict=True))
        for name, whole_peer in theirs.items():
            what = f"{points} points, prefix {prefix:g} s, suffix 30 ms, parameters {where} the prefix"
            goals = (">= 12x", ">= 28x") if name == "papermill" else ("", "")
            yield Comparison(f"{what}, the prefix counted", "a sweep", whole, [whole_peer] * len(whole), goals[0], name)
            each = Timing(whole_peer.wall / points, whole_peer.cpu / points)
            yield Comparison(f"{what}, behind the prefix", "a point", after, [each] * len(after), goals[1], name)


def _suffix_heavy(tracker: Tracker, folder: Path, points: int, *, suffix: float) -> Comparison:
    notebook = _notebook(folder, prefix=0.0, suffix=suffix, at_top=True)
    ours, _ = _forked(tracker, notebook, points)
    theirs = _pooled(_papermill, notebook, points)
    return Comparison(f"{points} points, suffix {suffix:g} s", "a sweep", [ours], [theirs], ">= 1x", "papermill")


def _overhead(tracker: Tracker, folder: Path, place: str, points: int) -> Comparison:
    """What a point takes, without its suffix, in five parts of a sweep that has begun: for how fast the processors are
    changes with what else the machine does."""
    notebook = _notebook(folder, prefix=0.0, suffix=0.03, at_top=False)
    begun, part = 2 * PROCESSES, points // 5
    marks: list[Timing] = []
    ended = 0
    # Their processes are asked what they have spent while they are there.
    for event in ForkEngine().run(_tasks(tracker, notebook, begun + 5 * part + PROCESSES), jobs=PROCESSES):
        if not isinstance(event, Remark) and event.status.ended:
            ended += 1
            if (ended - begun) % part == 0 and len(marks) < 6:
                marks.append(Timing(time.perf_counter(), _spent_so_far()))
    spans = [(after.wall - before.wall, after.cpu - before.cpu) for before, after in itertools.pairwise(marks)]
    return Comparison(
        f"a forked kernel and its record, but for the suffix; files {place}",
        "a point",
        [Timing(wall * PROCESSES / part - 0.03, cpu / part - 0.03) for wall, cpu in spans],
        [Timing(0.06, 0.06)] * len(spans),
        ">= 1x of CPU",
        "60 ms",
    )


def _spent_so_far() -> float:
    """The processor time of this process, of those that it has started, and of those that these have waited for."""
    used = [each.cpu_times() for each in psutil.Process().children()]
    return time.process_time() + sum(t.user + t.system + t.children_user + t.children_system for t in used)


def _many(tracker: Tracker, folder: Path, points: int) -> Comparison:
    """Whether the last points take longer than the first ones, or more memory."""
    notebook = _notebook(folder, prefix=0.0, suffix=0.0, at_top=False)
    ends: list[float] = []
    memory: list[int] = []
    part = points // 5
    for event in ForkEngine().run(_tasks(tracker, notebook, points), jobs=PROCESSES):
        if not isinstance(event, Remark) and event.status.ended:
            ends.append(time.perf_counter())
            if len(ends) in (part, points - PROCESSES):
                memory.append(sum(_resident(child) for child in psutil.Process().children()))
    first, last = ((ends[stop - 1] - ends[start]) / (part - 1) for start, stop in ((0, part), (points - part, points)))
    return Comparison(
        f"{points:,} points: the last fifth, and the first",
        "a point",
        [Timing(last, last)],
        [Timing(first, first)],
        ">= 1x",
        "the first fifth",
        f"template and workers: {memory[0] / 1e6:.0f} MB after the first fifth, {memory[1] / 1e6:.0f} MB at the end",
    )


def _on_dask(tracker: Tracker, folder: Path, points: int, *, suffix: float) -> Comparison:
    """A cluster of as many workers as the engine on one machine has, on the same machine, from when the first of them
    has executed the prefix."""
    notebook = _notebook(folder, prefix=0.0, suffix=suffix, at_top=False)
    _, alone = _forked(tracker, notebook, points)
    left = points
    engine = DaskEngine(cluster=f"local:{PROCESSES}")
    for event in engine.run(_tasks(tracker, notebook, points), jobs=points):
        if isinstance(event, Remark):
            assert "executed once" in event.text, event.text
            began, cpu = time.perf_counter(), sum(_spent(child) for child in psutil.Process().children())
        elif event.status.ended:
            assert event.reason is None, event.reason
            left -= 1
            if not left:
                wall = time.perf_counter() - began
                # The cluster, before it ends.
                spent = sum(_spent(child) for child in psutil.Process().children()) - cpu
    shared = Timing(wall / points, spent / points)
    what = f"{points} points, suffix {suffix:g} s, behind the prefix, {PROCESSES} Dask workers"
    return Comparison(what, "a point", [shared], [alone], ">= 0.9x", "the engine fork")


def _spent(process: psutil.Process) -> float:
    """The CPU time of a process, and of all below it that have ended or not."""
    used = [each.cpu_times() for each in [process, *process.children(recursive=True)]]
    return sum(each.user + each.system + each.children_user + each.children_system for each in used)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _notebook(folder: Path, *, prefix: float, suffix: float, at_top: bool) -> Path:
    prepare = [_cell(code.format(prefix=prefix)) for code in _PREPARE] if prefix else [_cell("import time")]
    parameters = [_cell("point = 0", "parameters")]
    cells = [*(parameters + prepare if at_top else prepare + parameters), _cell(_FIT.format(suffix=suffix))]
    path = folder / "sweep.ipynb"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    document = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4}
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def _cell(source: str, *tags: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "metadata": {"tags": list(tags)},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


def _tasks(tracker: Tracker, notebook: Path, points: int) -> list[NotebookTask]:
    experiment = tracker.experiments.ensure("sweeps")
    return [
        NotebookTask(
            run_id=new_id(),
            experiment_id=experiment.experiment_id,
            tracking_url=tracker.url,
            notebook=str(notebook),
            parameters={"point": point},
            swept=("point",),
        )
        for point in range(points)
    ]


def _forked(tracker: Tracker, notebook: Path, points: int) -> tuple[Timing, Timing]:
    """The sweep, and a point behind the prefix (CPU time is not told apart there)."""
    tasks = _tasks(tracker, notebook, points)
    ready = began = time.perf_counter()
    cpu = _children()
    # As the command does.
    import_runner()
    for event in ForkEngine().run(tasks, jobs=PROCESSES):
        if isinstance(event, Remark):
            ready = time.perf_counter()
            assert "executed once" in event.text, event.text
        elif event.status.ended:
            assert event.reason is None, event.reason
    ended = time.perf_counter()
    spent = _children() - cpu
    return Timing(ended - began, spent), Timing((ended - ready) / points, spent / points)


def _pooled(execute: Callable[[Path, int], None], notebook: Path, points: int) -> Timing:
    began, cpu = time.perf_counter(), _children()
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        pool.starmap(execute, [(notebook, point) for point in range(points)], chunksize=1)
        pool.close()
        pool.join()
    return Timing(time.perf_counter() - began, _children() - cpu)


def _papermill(notebook: Path, point: int) -> None:
    import papermill

    output = notebook.with_name(f"out-{point}.ipynb")
    papermill.execute_notebook(notebook, output, {"point": point}, progress_bar=False, cwd=notebook.parent)


def _ploomber(notebook: Path, point: int) -> None:
    from ploomber_engine import execute_notebook

    output = notebook.with_name(f"out-{point}.ipynb")
    execute_notebook(notebook, output, parameters={"point": point}, progress_bar=False)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
