"""The engine that forks: when it does not, and what happens when a point, a worker or the template ends badly."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Reason, ReasonKind, RunStatus
from jupyter_mlops.execution.engine import DEFAULT_ENGINE, NotebookTask, Remark, TaskEvent, load_engine
from jupyter_mlops.execution.fork.engine import EqualForkEngine, ForkEngine, TemplateProcess, find_prefix
from jupyter_mlops.execution.fork.kernel import Template
from jupyter_mlops.execution.local import environment
from jupyter_mlops.execution.worker import Trackers, perform
from jupyter_mlops.recording import kernel
from jupyter_mlops.recording.kernel import kill_stragglers
from jupyter_mlops.tracker.protocol import Tracker
from tests.execution.conftest import Command
from tests.waiting import descendants, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forking needs Linux")


class Outcome:
    """What an engine told."""

    def __init__(self, events: Iterator[TaskEvent | Remark]) -> None:
        self.remarks: list[str] = []
        self.ended: dict[str, TaskEvent] = {}
        for event in events:
            if isinstance(event, Remark):
                self.remarks.append(event.text)
            elif event.status.ended:
                assert event.run_id not in self.ended
                self.ended[event.run_id] = event

    def reason(self, item: NotebookTask) -> Reason:
        return _reason(self.ended, item)


def printed(tracker: Tracker, run_id: str) -> str:
    executed = json.loads(b"".join(tracker.artifacts.open(run_id, "notebook/executed.ipynb")))
    return "".join("".join(output.get("text", "")) for cell in executed["cells"] for output in cell["outputs"])


def templates() -> list[psutil.Process]:
    """The processes that kernels are forked off, and these kernels."""
    return descendants("fork.template")


def test_it_is_the_default_and_checks_its_arguments() -> None:
    assert isinstance(load_engine(DEFAULT_ENGINE), ForkEngine)
    assert list(ForkEngine().run([], jobs=3)) == []
    with pytest.raises(InvalidValue, match="at least 1, not 0"):
        ForkEngine().run([], jobs=0)


@pytest.mark.slow
def test_what_comes_before_is_executed_once(
    tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask], tmp_path: Path
) -> None:
    path = notebook(
        f"open({str(tmp_path / 'count')!r}, 'a').write('.') and None\ndata = list(range(k))\nprint('prepared', k)",
        "import os\nprint(x, sum(data), os.environ['MLOPS_RUN_ID'])",
        "data.append(x)\nprint(len(data))",
        "import jupyter_mlops as mlops\nmlops.log_metric('double', 2 * x)\nprint(mlops.run_dir().is_dir())",
        parameters="x = 0\nk = 1",
    )
    tasks = [task(path, swept=("x",), x=x, k=4) for x in range(4)]
    outcome = Outcome(ForkEngine().run(tasks, jobs=2))

    assert outcome.remarks == ["3 cells are executed once, points part at cell 4: line 2: it has 'x'"]
    assert {event.status for event in outcome.ended.values()} == {RunStatus.FINISHED}
    assert (tmp_path / "count").read_text() == "."
    for x, item in enumerate(tasks):
        assert printed(tracker, item.run_id).splitlines() == ["prepared 4", f"{x} 6 {item.run_id}", "5", "True"]
        run = tracker.runs.get(item.run_id)
        assert {metric.key: metric.value for metric in run.metrics}["double"] == 2 * x
        assert {param.key: param.value for param in run.params} == {"x": x, "k": 4}
        assert {artifact.path for artifact in tracker.artifacts.walk(item.run_id)} >= {
            "environment/environment.json",
            "environment/requirements.txt",
            "notebook/cells.json",
            "notebook/executed.ipynb",
            "notebook/source.ipynb",
        }
    assert templates() == []


FLOOD = """
import os, sys, threading
from IPython.display import display
shown = display({"text/plain": "0"}, raw=True, display_id=True)
def work(name):
    for n in range(4000):
        sys.stdout.write(f"{name} {n}\\n")
        sys.stdout.flush()
threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
for thread in threads:
    thread.start()
for n in range(4000):
    shown.update({"text/plain": str(n + x)}, raw=True)
for thread in threads:
    thread.join()
written = os.write(1, ("\N{EURO SIGN}" * 50_000 + "\\n").encode())
"""


@pytest.mark.slow
def test_a_point_that_tells_more_than_is_taken_waits_and_loses_nothing(
    tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask]
) -> None:
    tasks = [task(notebook("data = 1", FLOOD, parameters="x = 0"), swept=("x",), x=x) for x in range(2)]
    outcome = Outcome(ForkEngine().run(tasks, jobs=2))
    assert ["executed once" in remark for remark in outcome.remarks] == [True]
    for x, item in enumerate(tasks):
        assert outcome.ended[item.run_id].status is RunStatus.FINISHED, outcome.reason(item)
        lines = printed(tracker, item.run_id).split("\n")
        assert lines.pop() == ""
        assert [line for line in lines if line[0] == "\N{EURO SIGN}"] == ["\N{EURO SIGN}" * 50_000]
        for name in "ab":
            assert [line for line in lines if line[0] == name] == [f"{name} {n}" for n in range(4000)]
        executed = json.loads(b"".join(tracker.artifacts.open(item.run_id, "notebook/executed.ipynb")))
        (shown,) = (output for output in executed["cells"][-1]["outputs"] if output["output_type"] == "display_data")
        assert "".join(shown["data"]["text/plain"]) == str(3999 + x)


@pytest.mark.slow
@pytest.mark.parametrize("decides", [False, True])
def test_the_next_point_begins_while_the_last_one_is_stored_unless_that_decides_about_it(
    notebook: Callable[..., Path], task: Callable[..., NotebookTask], tmp_path: Path, decides: bool
) -> None:
    told = tmp_path / "told"
    path = notebook(
        f"import os\nto = os.open({str(told)!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n"
        "os.write(to, b'+'), sum(range(500_000 + x)), os.write(to, b'-')\nos.close(to)",
        parameters="x = 0",
    )
    course: list[str] = []

    def asked() -> Iterator[NotebookTask]:
        for x in range(4):
            course.append(f"asked {x}")
            yield msgspec.structs.replace(task(path, swept=("x",), x=x), decides=decides)

    numbers: dict[str, int] = {}
    for event in ForkEngine().run(asked(), jobs=1):
        if isinstance(event, TaskEvent):
            number = numbers.setdefault(event.run_id, len(numbers))
            if event.status.ended:
                assert event.status is RunStatus.FINISHED
                course.append(f"ended {number}")
    # Notebooks at once are one in any case.
    assert told.read_text() == "+-" * 4
    waited = [course.index(f"asked {x + 1}") > course.index(f"ended {x}") for x in range(3)]
    # Not more of them are stored at once than there are workers.
    assert all(waited) if decides else not waited[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "why"),
    [
        (
            "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True, name='waits').start()",
            "waits",
        ),
        ("import socket\ns = socket.socket()", "a socket is open"),
        ("import sqlite3\ndb = sqlite3.connect(':memory:')", "a database is open"),
        ("file = open('written.txt', 'w')", "written.txt is open"),
        ("import subprocess, sys\np = subprocess.Popen(['sleep', '600'])", "a process that the cells started"),
        ("import asyncio\nt = asyncio.create_task(asyncio.sleep(600))", "an asynchronous task goes on"),
        ("raise ValueError('no data')", "cell 3 fails before the points part: ValueError: no data"),
        ("import os\nos._exit(3)", "has ended"),
        ("import reads", "cell 3 fails before the points part: AttributeError"),
        ("from binds import *", "cell 3 gives 'x' a value"),
    ],
    ids=["thread", "socket", "database", "file", "process", "task", "error", "exit", "hidden", "all-names"],
)
def test_where_forking_is_not_safe_kernels_are_fresh(
    code: str, why: str, tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask]
) -> None:
    path = notebook(code, "print(x)", parameters="x = 0")
    # What the analysis of names cannot see: the parameter is not there when it should not be read.
    (path.parent / "reads.py").write_text("import __main__\nprint(__main__.x)")
    (path.parent / "binds.py").write_text("x = 5")
    tasks = [task(path, swept=("x",), x=x) for x in (5,)]
    outcome = Outcome(ForkEngine().run(tasks, jobs=1))

    (remark,) = outcome.remarks
    assert remark.startswith("each point gets a fresh kernel: ")
    assert why in remark
    good = ("fails" not in why and "ended" not in why) or code == "import reads"
    assert outcome.ended[tasks[0].run_id].status is (RunStatus.FINISHED if good else RunStatus.FAILED)
    if good:
        assert "5\n" in printed(tracker, tasks[0].run_id)
    assert templates() == []


@pytest.mark.slow
def test_without_a_cell_of_parameters_kernels_are_fresh(
    tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask]
) -> None:
    item = task(notebook("1 + 1"))
    assert Outcome(ForkEngine().run([item], jobs=1)).remarks == [
        "each point gets a fresh kernel: the notebook has no cell tagged parameters"
    ]
    assert tracker.runs.get(item.run_id).status is RunStatus.FINISHED


ENDS = """
import os, signal, time
if how == "error":
    raise ValueError("too small")
if how == "exit":
    os._exit(4)
if how == "crash":
    os.kill(os.getpid(), signal.SIGSEGV)
while how == "wait":
    time.sleep(0.01)
"""


@pytest.mark.slow
def test_a_point_that_fails_disturbs_no_other_and_has_its_reason(
    tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask]
) -> None:
    path = notebook("data = 1", ENDS, "print('over', data)", parameters="how = ''")
    tasks = {how: task(path, swept=("how",), how=how) for how in ("error", "exit", "fine", "crash", "wait", "good")}
    given = [msgspec.structs.replace(item, execution_timeout=2.0) for item in tasks.values()]
    outcome = Outcome(ForkEngine().run(given, jobs=2))

    assert len(outcome.remarks) == 1
    assert len(outcome.ended) == len(tasks)
    for how in ("fine", "good"):
        assert outcome.ended[tasks[how].run_id].status is RunStatus.FINISHED
        assert printed(tracker, tasks[how].run_id) == "over 1\n"
    error = outcome.reason(tasks["error"])
    assert (error.kind, error.message, error.cell) == (ReasonKind.CELL_ERROR, "ValueError: too small", 3)
    ended = outcome.reason(tasks["exit"])
    assert (ended.kind, ended.message) == (ReasonKind.KERNEL_DIED, "the kernel died with exit code 4")
    crash = outcome.reason(tasks["crash"])
    assert crash.kind is ReasonKind.KERNEL_DIED
    assert "SIGSEGV" in crash.message
    assert outcome.reason(tasks["wait"]).kind is ReasonKind.TIMEOUT
    assert templates() == []


@pytest.mark.slow
def test_a_point_that_is_stopped_and_one_whose_worker_dies(
    tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask]
) -> None:
    path = notebook("data = 1", ENDS, parameters="how = ''")
    stopped, lost, good = (task(path, swept=("how",), how=how) for how in ("wait", "wait", ""))
    reason = Reason(kind=ReasonKind.STOPPED, message="hopeless")
    asked: dict[str, Reason] = {}
    ended: dict[str, TaskEvent] = {}
    for event in ForkEngine().run([stopped, lost, good], jobs=1, stops=lambda: asked):
        if isinstance(event, Remark):
            continue
        if event.status.ended:
            ended[event.run_id] = event
        elif event.progress is not None and event.progress.done == 3:
            if event.run_id == stopped.run_id:
                asked[stopped.run_id] = reason
            elif event.run_id == lost.run_id:
                runner = until(lambda: tracker.runs.get(lost.run_id).runner, "the run having a runner")
                os.kill(runner.pid, signal.SIGKILL)
                kernel = runner.kernel_pid
                assert kernel is not None
                until(lambda pid=kernel: not psutil.pid_exists(pid), "the kernel's end")
    assert ended[stopped.run_id].status is RunStatus.KILLED
    assert (_reason(ended, stopped).kind, _reason(ended, stopped).message) == (ReasonKind.STOPPED, "hopeless")
    assert ended[lost.run_id].status is RunStatus.FAILED
    assert _reason(ended, lost).kind is ReasonKind.RUNNER_LOST
    assert ended[good.run_id].status is RunStatus.FINISHED
    assert templates() == []


def _reason(ended: dict[str, TaskEvent], item: NotebookTask) -> Reason:
    reason = ended[item.run_id].reason
    assert reason is not None
    return reason


@pytest.mark.slow
def test_closing_ends_what_runs_as_killed(
    tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask]
) -> None:
    path = notebook("data = 1", ENDS, parameters="how = ''")
    going, waiting = (task(path, swept=("how",), how="wait") for _ in range(2))
    events = ForkEngine().run([going, waiting], jobs=1)
    for event in events:
        if isinstance(event, TaskEvent) and event.progress is not None and event.progress.done == 3:
            break
    events.close()

    ended = tracker.runs.get(going.run_id)
    assert ended.status is RunStatus.KILLED
    assert ended.reason is not None
    assert ended.reason.kind is ReasonKind.CANCELLED
    assert tracker.runs.search(filter=f"attributes.run_id = '{waiting.run_id}'").items == ()
    assert templates() == []


@pytest.mark.slow
def test_when_the_template_dies_the_other_points_get_fresh_kernels(
    tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask]
) -> None:
    path = notebook("data = 1", ENDS, "print('over', data)", parameters="how = ''")
    going, later = task(path, swept=("how",), how="wait"), task(path, swept=("how",), how="")
    ended: dict[str, TaskEvent] = {}
    killed = False
    for event in ForkEngine().run([going, later], jobs=1):
        if isinstance(event, Remark):
            continue
        if event.status.ended:
            ended[event.run_id] = event
        elif not killed and event.run_id == going.run_id and event.progress is not None and event.progress.done == 3:
            template, *_kernels = templates()
            template.kill()
            killed = True
    assert ended[going.run_id].status is RunStatus.FAILED
    assert _reason(ended, going).kind is ReasonKind.KERNEL_DIED
    assert ended[later.run_id].status is RunStatus.FINISHED
    assert printed(tracker, later.run_id) == "over 1\n"


LEAVES = """
import subprocess, sys
if leaves:
    print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True).pid)
"""


@pytest.mark.slow
def test_what_a_point_leaves_behind_ends_with_it_and_is_looked_for_only_then(
    tracker: Tracker,
    notebook: Callable[..., Path],
    task: Callable[..., NotebookTask],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_for: list[str] = []

    def look(run_id: str) -> None:
        looked_for.append(run_id)
        kill_stragglers(run_id)

    monkeypatch.setattr(kernel, "kill_stragglers", look)
    path = notebook("data = 1", LEAVES, parameters="leaves = False")
    tasks = [task(path, swept=("leaves",), leaves=leaves) for leaves in (True, False)]
    trackers = Trackers()
    with TemplateProcess(tmp_path) as process:
        process.start(tasks[0], find_prefix(tasks[0]), environment(1))
        process.await_ready()
        template = Template(tmp_path)
        for item in tasks:
            perform(item, trackers, lambda _: None, template=template)
            assert tracker.runs.get(item.run_id).status is RunStatus.FINISHED
            left = [int(pid) for pid in printed(tracker, item.run_id).split()]
            assert len(left) == (item is tasks[0])
            until(lambda left=left: not any(map(psutil.pid_exists, left)), "the end of what was left")
    trackers.close()
    assert looked_for == [tasks[0].run_id]


@pytest.mark.slow
def test_nothing_is_left_of_a_sweep_that_was_killed(mlops: Command, notebook: Callable[..., Path]) -> None:
    path = notebook("data = 1", "open(f'begun-{how}', 'w').close()", ENDS, parameters="how = ''")
    process = mlops.start("sweep", str(path), "--grid", "how=wait,wait2", "-j1")
    until((path.parent / "begun-wait").exists, "the beginning of the first point")
    everything = psutil.Process(process.pid).children(recursive=True)
    template, *_kernels = descendants("fork.template", process.pid)
    folder = Path(next(word for word in template.cmdline() if "mlops-fork-" in word))
    assert folder.is_dir()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: not any(each.is_running() for each in everything), "the end of all that it had started")
    until(lambda: not folder.exists(), "the template's folder being removed")


@pytest.mark.slow
def test_what_is_executed_once_ends_with_its_sweep(
    tracker: Tracker, mlops: Command, notebook: Callable[..., Path]
) -> None:
    shared = (
        "import pathlib, time\npathlib.Path('begun').touch()\nwhile not pathlib.Path('over').exists(): time.sleep(0.01)"
    )
    path = notebook(shared, "pathlib.Path('went-on').touch()", "x", parameters="x = 0")
    process = mlops.start("sweep", str(path), "--grid", "x=1,2", "-j1")
    until((path.parent / "begun").exists, "the beginning of the first cell")
    everything = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGINT)
    process.communicate()
    # A worker that was just being started notices it by itself.
    until(lambda: not any(each.is_running() for each in everything), "the end of all that it had started")
    (parent,) = tracker.runs.search().items
    assert parent.status is RunStatus.KILLED

    (path.parent / "begun").unlink()
    process = mlops.start("sweep", str(path), "--grid", "x=1,2", "-j1")
    until((path.parent / "begun").exists, "the beginning of the first cell")
    everything = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (path.parent / "over").touch()
    until(lambda: not any(each.is_running() for each in everything), "the end of all that it had started")
    assert not (path.parent / "went-on").exists()


@pytest.mark.slow
def test_what_is_not_seeded_differs_from_point_to_point(
    tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask]
) -> None:
    path = notebook(
        "import random\nimport numpy as np\ngenerator = np.random.default_rng()\nfixed = np.random.default_rng(1)\n"
        "own = random.Random()\nown_fixed = random.Random(1)\nreseeded = random.Random()\nreseeded.seed(2)\n"
        "random.random(), np.random.rand(), generator.random(), own.random()",
        "x\nprint(random.random(), np.random.rand(), generator.random(), own.random(),"
        " fixed.random(), own_fixed.random(), reseeded.random())",
        parameters="x = 0",
    )

    def drawn(engine: ForkEngine) -> list[list[str]]:
        tasks = [task(path, swept=("x",), x=x) for x in range(2)]
        assert len(Outcome(engine.run(tasks, jobs=1)).remarks) == 1
        return [printed(tracker, item.run_id).split() for item in tasks]

    first, second = drawn(ForkEngine())
    assert [one == other for one, other in zip(first, second, strict=True)] == [False] * 4 + [True] * 3
    equal, to_it = drawn(EqualForkEngine())
    assert equal == to_it
    assert equal[4:] == first[4:]


@pytest.mark.slow
def test_points_have_the_cores_that_are_theirs(
    tracker: Tracker,
    notebook: Callable[..., Path],
    task: Callable[..., NotebookTask],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    path = notebook(
        "import os\nimport numpy as np\nos.environ['NUMEXPR_NUM_THREADS'] = '5'\n"
        "square = np.ones((300, 300)) @ np.ones((300, 300))",
        "import threadpoolctl\nprint(x, os.environ['OMP_NUM_THREADS'], os.environ['NUMEXPR_NUM_THREADS'], "
        "{pool['num_threads'] for pool in threadpoolctl.threadpool_info()}, (square @ square).max())",
        parameters="x = 0",
    )
    item = task(path, swept=("x",), x=1)
    outcome = Outcome(ForkEngine().run([item], jobs=1))
    assert "executed once" in outcome.remarks[0]
    assert printed(tracker, item.run_id) == "1 3 5 {3} 27000000.0\n"


def test_explain_says_where_points_part(mlops: Command, notebook: Callable[..., Path]) -> None:
    path = notebook("import math", "print(x)", parameters="x = 0")
    said = mlops("sweep", str(path), "--grid", "x=1,2", "--explain")
    assert mlops.json("sweep", str(path), "--grid", "x=1,2", "--explain") == {"explanation": said.rstrip("\n")}
    assert said == "3 cells are executed once, points part at cell 4: line 1: it has 'x'\n"
    assert mlops.json("runs", "list") == []
