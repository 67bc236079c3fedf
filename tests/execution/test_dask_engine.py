"""Points on the workers of a real Dask cluster, recorded by a real service: what travels, what is lost and found."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from distributed import Client, get_worker
from distributed.security import Security

from jupyter_mlops._version import __version__
from jupyter_mlops.core.errors import InvalidValue, NotFound, Unavailable
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Reason, ReasonKind, Run, RunStatus
from jupyter_mlops.execution.dask import engine, host, parcel
from jupyter_mlops.execution.dask.cluster import find_cluster
from jupyter_mlops.execution.dask.engine import DaskEngine
from jupyter_mlops.execution.dask.parcel import Point
from jupyter_mlops.execution.dask.requirements import Requirements
from jupyter_mlops.execution.engine import NotebookTask, Remark, TaskEvent
from jupyter_mlops.execution.plan import POINT_TAG
from jupyter_mlops.execution.worker import decode, encode
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.protocol import Tracker
from tests.execution.conftest import Command
from tests.execution.dask_cluster import DaskCluster, dask_cluster
from tests.ports import free_ports
from tests.service.process import Process, serving
from tests.waiting import processes_with, until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="forking needs Linux")]

PATIENCE = 3.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dask")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Process]:
    (folder / "service").mkdir()
    with serving(f"sqlite:///{folder}/service.db", folder / "artifacts", folder / "service") as process:
        yield process


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[DaskCluster]:
    with dask_cluster(folder, workers=2) as started:
        yield started


@pytest.fixture
def tracker(service: Process, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tracker]:
    """The service, as only who submits may use it: workers have no token of their own."""
    monkeypatch.setenv("MLOPS_TRACKING_URL", service.url)
    monkeypatch.setenv("MLOPS_TRACKING_TOKEN", service.token)
    with connect() as opened:
        yield opened


def printed(tracker: Tracker, run_id: str) -> list[str]:
    executed = json.loads(b"".join(tracker.artifacts.open(run_id, "notebook/executed.ipynb")))
    outputs = [output for cell in executed["cells"] for output in cell["outputs"]]
    return "".join("".join(output.get("text", "")) for output in outputs).splitlines()


def ended(events: Iterator[TaskEvent | Remark]) -> dict[str, TaskEvent]:
    found: dict[str, TaskEvent] = {}
    for event in events:
        if isinstance(event, TaskEvent) and event.status.ended:
            assert event.run_id not in found
            found[event.run_id] = event
    return found


def test_points_are_run_with_what_travels(
    cluster: DaskCluster,
    tracker: Tracker,
    notebook: Callable[..., Path],
    task: Callable[..., NotebookTask],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = notebook(
        f"import os\nimport helping\nopen({str(tmp_path / 'count')!r}, 'a').write('.') and None\nprint('prepared', k)",
        "import jupyter_mlops as mlops\nmlops.log_metric('double', helping.double(x))\nmlops.log_text('t', f'{x}.txt')",
        "print(x, os.path.exists('work.ipynb'), os.environ.get('MLOPS_TRACKING_TOKEN'))",
        parameters="x = 0\nk = 1\npassword = ''",
    )
    (path.parent / "helping").mkdir()
    (path.parent / "helping" / "__init__.py").write_text("from helping.deep import double")
    (path.parent / "helping" / "deep.py").write_text("def double(x):\n    return 2 * x")
    # The workers are on this machine, and would see that they share its files.
    monkeypatch.setattr(parcel, "this_machine", lambda: "elsewhere")
    monkeypatch.setattr(parcel, "_mark", lambda path: (1, 2, 3))
    tasks = [task(path, swept=("x",), x=x, k=4, password="hunter22") for x in range(4)]
    events = list(DaskEngine(cluster=cluster.address).run(tasks, jobs=4))

    remarks = [event.text for event in events if isinstance(event, Remark)]
    assert remarks == ["3 cells are executed once, points part at cell 4: line 2: 'mlops' logs to one run"]
    assert (tmp_path / "count").read_text() == ".."
    states = [(event.run_id, event.status) for event in events if isinstance(event, TaskEvent)]
    for x, item in enumerate(tasks):
        assert states.count((item.run_id, RunStatus.FINISHED)) == 1
        assert (item.run_id, RunStatus.RUNNING) in states
        run = tracker.runs.get(item.run_id)
        assert {metric.key: metric.value for metric in run.metrics}["double"] == 2 * x
        assert printed(tracker, item.run_id) == ["prepared 4", f"{x} False None"]
        assert b"".join(tracker.artifacts.open(item.run_id, f"{x}.txt")) == b"t"
        assert "password" in {param.key for param in run.params if param.redacted}


def actions(tracker: Tracker) -> Counter[str]:
    return Counter(entry.action for entry in tracker.audit(limit=1000))


def test_the_token_of_a_sweep_ends_with_it(
    cluster: DaskCluster,
    tracker: Tracker,
    notebook: Callable[..., Path],
    task: Callable[..., NotebookTask],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = actions(tracker)
    ended(DaskEngine(cluster=cluster.address).run([task(notebook("x", parameters="x = 0"))], jobs=1))
    new = actions(tracker) - before
    assert (new["token.issue"], new["token.revoke"]) == (1, 1)
    (port,) = free_ports(1)
    monkeypatch.setattr("jupyter_mlops.execution.dask.cluster._CONNECT_SECONDS", 0.5)
    with pytest.raises(Unavailable, match="no Dask scheduler answers"):
        ended(DaskEngine(cluster=f"tcp://127.0.0.1:{port}").run([task(notebook("x", parameters="x = 0"))], jobs=1))
    new = actions(tracker) - before
    assert (new["token.issue"], new["token.revoke"]) == (2, 2)


def lie(other: str) -> None:
    """Have a worker tell of points what is not so."""

    def perform(key: str, document: bytes) -> bytes:
        worker, run_id = get_worker(), decode(document, Point).run_id
        over = encode(TaskEvent(run_id=other, status=RunStatus.FINISHED))
        for told in ("nothing", {"event": "{"}, {"event": over.decode()}, {"event": 7}):
            worker.log_event(key, told)
        return b"{" if run_id == other else over

    host._honest, host.perform = host.perform, perform  # type: ignore[attr-defined]


def tell_the_truth() -> None:
    host.perform = host._honest  # type: ignore[attr-defined]


def test_a_worker_that_lies_harms_no_other_point(
    cluster: DaskCluster,
    tracker: Tracker,
    notebook: Callable[..., Path],
    task: Callable[..., NotebookTask],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = notebook("x", parameters="x = 0")
    one, other = (task(path, swept=("x",), x=x) for x in range(2))
    monkeypatch.setattr(engine, "CANCEL_SECONDS", 0.1)
    with Client(cluster.address, set_as_default=False) as client:
        client.run(lie, other.run_id)
        try:
            found = ended(DaskEngine(cluster=cluster.address, patience=0.1).run([one, other], jobs=2))
        finally:
            client.run(tell_the_truth)
    assert [found[each.run_id].status for each in (one, other)] == [RunStatus.FAILED] * 2
    for each in (one, other):
        reason = tracker.runs.get(each.run_id).reason
        assert reason is not None
        assert reason.kind is ReasonKind.RUNNER_LOST
        assert "no end of the point" in reason.message


def fill(folder: str | None) -> None:
    """Have a worker find no room in the folder for temporary files."""
    import resource
    import tempfile

    tempfile.tempdir = folder
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (most if folder is None else 0, most))


def test_a_worker_without_room_says_so_and_leaves_nothing(
    cluster: DaskCluster,
    notebook: Callable[..., Path],
    task: Callable[..., NotebookTask],
    tmp_path: Path,
) -> None:
    (tmp_path / "full").mkdir()
    item = task(notebook("x", parameters="x = 0"))
    with Client(cluster.address, set_as_default=False) as client:
        client.run(fill, str(tmp_path / "full"))
        try:
            with pytest.raises(InvalidValue, match="cannot make ready: File too large"):
                ended(DaskEngine(cluster=cluster.address).run([item], jobs=1))
        finally:
            client.run(fill, None)
    assert list((tmp_path / "full").iterdir()) == []


def test_nobody_else_enters_a_cluster_of_this_machine() -> None:
    """Whoever does has it run any code as the user whose it is."""
    with find_cluster("local:1", 1) as cluster, cluster.connect() as client:
        address = client.scheduler.address
        assert client.submit(abs, -3).result(30) == 3
        stranger = Security.temporary()
        for url, security in ((address, stranger), (address.replace("tls://", "tcp://"), None)):
            with pytest.raises(OSError, match=r"TLS certificate does not match|Timed out|reset by peer"):
                Client(url, security=security, timeout=0.5, set_as_default=False)


def test_what_differs_is_said_and_nothing_is_run(
    cluster: DaskCluster,
    tracker: Tracker,
    notebook: Callable[..., Path],
    task: Callable[..., NotebookTask],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = notebook("print(x)", parameters="x = 0")
    here = Requirements(mlops=__version__, python="3.9.1", packages={"ipykernel": "1.0", "not-there": "2.0"})
    monkeypatch.setattr(parcel, "requirements", lambda kernel, modules: here)
    item = task(path, swept=("x",), x=1)
    with pytest.raises(InvalidValue) as refused:
        ended(DaskEngine(cluster=cluster.address).run([item], jobs=1))
    message = refused.value.message
    assert "cannot run this notebook" in message
    assert f"Python {sys.version.split()[0]} (here 3.9.1)" in message
    assert "not-there is missing (here 2.0)" in message
    assert "ipykernel" in message
    monkeypatch.setattr(parcel, "this_machine", lambda: "elsewhere")
    with connect("sqlite:///" + str(path.parent / "own.db")) as own:
        item = NotebookTask(
            run_id=new_id(),
            experiment_id=own.experiments.ensure("e").experiment_id,
            tracking_url=own.url,
            notebook=str(path),
        )
        with pytest.raises(InvalidValue, match="the store is a file"):
            ended(DaskEngine(cluster=cluster.address).run([item], jobs=1))
    with pytest.raises(NotFound):
        tracker.runs.get(item.run_id)


def test_cancelling_and_stopping_reach_the_workers(
    cluster: DaskCluster, tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask]
) -> None:
    path = notebook("import time\ntime.sleep(600 if x else 0)", parameters="x = 0")
    stopped, cancelled = (task(path, swept=("x",), x=x) for x in (1, 2))
    why = Reason(kind=ReasonKind.STOPPED, message="hopeless")
    asked: dict[str, Reason] = {}
    events = DaskEngine(cluster=cluster.address).run([stopped, cancelled], jobs=2, stops=lambda: asked)
    seen: list[str] = []
    for event in events:
        if isinstance(event, TaskEvent):
            seen.append(event.run_id)
            if {stopped.run_id, cancelled.run_id} <= {*seen}:
                asked[stopped.run_id] = why
            if event.status.ended:
                assert (event.run_id, event.status, event.reason and event.reason.message) == (
                    stopped.run_id,
                    RunStatus.KILLED,
                    "hopeless",
                )
                break
    events.close()
    run = tracker.runs.get(cancelled.run_id)
    assert (run.status, run.reason and run.reason.kind) == (RunStatus.KILLED, ReasonKind.CANCELLED)


def test_a_point_whose_worker_is_killed_is_run_again(
    cluster: DaskCluster, tracker: Tracker, notebook: Callable[..., Path], mlops: Command, tmp_path: Path
) -> None:
    """By the command, as anybody would: each point ends once, and has one run that finished."""
    lock, first = tmp_path / "lock", tmp_path / "first"
    path = notebook(
        f"import os, time\nif x == 1 and not os.path.exists({str(lock)!r}):\n"
        f"    open({str(first)!r}, 'w').write(str(os.getppid()))\n    time.sleep(600)",
        parameters="x = 0",
    )
    going = mlops.start(
        "sweep", str(path), "-g", "x=0,1,2", "--engine", "dask", "--cluster", cluster.address, "--retries", "1"
    )
    until(lambda: first.exists() and first.read_text(), "the point begins")
    lock.touch()
    (victim,) = (worker for worker in cluster.workers if worker.pid in ancestors(int(first.read_text())))
    victim.kill()
    cluster.add_worker()
    _, told = going.communicate(timeout=120)
    assert going.returncode == 0, told
    (parent,) = tracker.runs.search([tracker.experiments.ensure("work").experiment_id], "kind = 'sweep'").items
    runs = tracker.runs.children(parent.run_id)
    assert sorted((point(run), run.status) for run in runs) == [
        ("0", RunStatus.FINISHED),
        ("1", RunStatus.FAILED),
        ("1", RunStatus.FINISHED),
        ("2", RunStatus.FINISHED),
    ]
    assert {run.reason.kind for run in runs if run.reason} == {ReasonKind.RUNNER_LOST}


def forget_sweeps() -> None:
    """What a new process in a worker's place does not know."""
    for each in host._hosts.values():
        each.leave()
    host._hosts.clear()


def test_a_worker_that_does_not_know_the_sweep_is_told_again(
    cluster: DaskCluster, tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask]
) -> None:
    path = notebook("x", parameters="x = 0")
    tasks = [task(path, swept=("x",), x=x) for x in range(4)]
    found: dict[str, TaskEvent] = {}
    with Client(cluster.address, set_as_default=False) as client:
        for event in DaskEngine(cluster=cluster.address).run(tasks, jobs=1):
            if isinstance(event, TaskEvent) and event.status.ended:
                found[event.run_id] = event
                if len(found) == 2:
                    client.run(forget_sweeps)
    assert {event.status for event in found.values()} == {RunStatus.FINISHED}
    assert len(found) == 4


_SUBMIT = """
import sys
from jupyter_mlops.execution.dask.engine import DaskEngine
from jupyter_mlops.execution.engine import NotebookTask
from jupyter_mlops.execution.worker import decode
task = decode(sys.stdin.buffer.readline(), NotebookTask)
list(DaskEngine(cluster=sys.argv[1], patience=float(sys.argv[2])).run([task], jobs=1))
"""


def test_nothing_is_left_of_a_submitter_that_is_gone(
    cluster: DaskCluster, tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask]
) -> None:
    path = notebook("import time\ntime.sleep(600 if x else 0)", parameters="x = 0")
    item = task(path, swept=("x",), x=1)
    submitter = subprocess.Popen([sys.executable, "-c", _SUBMIT, cluster.address, str(PATIENCE)], stdin=subprocess.PIPE)
    assert submitter.stdin is not None
    submitter.stdin.write(encode(item))
    submitter.stdin.close()
    until(lambda: begun(tracker, item), "the point begins")
    submitter.kill()
    submitter.wait()
    run = until(lambda: begun(tracker, item, over=True), "the point ends")
    assert (run.status, run.reason and run.reason.kind) == (RunStatus.FAILED, ReasonKind.RUNNER_LOST)
    assert processes_with(item.run_id) == []


def test_a_scheduler_that_restarts_costs_no_more_than_what_went_on(
    cluster: DaskCluster,
    tracker: Tracker,
    notebook: Callable[..., Path],
    task: Callable[..., NotebookTask],
    tmp_path: Path,
) -> None:
    """The last of the tests here: workers end with their scheduler."""
    lock = tmp_path / "lock"
    waits = f"import os, time\nwhile x and not os.path.exists({str(lock)!r}):\n    time.sleep(0.1)"
    path = notebook(waits, parameters="x = 0")
    lost, then = task(path, swept=("x",), x=1), task(path, swept=("x",), x=2)
    outcome: dict[str, TaskEvent] = {}
    restarted = False
    for event in DaskEngine(cluster=cluster.address, patience=PATIENCE).run([lost, then], jobs=1):
        if isinstance(event, TaskEvent) and event.status.ended:
            outcome[event.run_id] = event
        elif isinstance(event, TaskEvent) and not restarted:
            restarted = True
            cluster.scheduler.kill()
            cluster.scheduler.wait()
            until(lambda: all(worker.poll() is not None for worker in cluster.workers), "the workers end")
            lock.touch()
            cluster.start_scheduler()
            cluster.add_workers(1)
    assert {run_id: event.status for run_id, event in outcome.items()} == {
        lost.run_id: RunStatus.FAILED,
        then.run_id: RunStatus.FINISHED,
    }
    reason = outcome[lost.run_id].reason
    assert reason is not None
    assert reason.kind is ReasonKind.RUNNER_LOST


def begun(tracker: Tracker, item: NotebookTask, *, over: bool = False) -> Run | None:
    try:
        run = tracker.runs.get(item.run_id)
    except NotFound:
        return None
    return run if run.status.ended or (not over and run.progress is not None) else None


def point(run: Run) -> str:
    return next(tag.value for tag in run.tags if tag.key == POINT_TAG)


def ancestors(pid: int) -> set[int]:
    return {pid, *(parent.pid for parent in psutil.Process(pid).parents())}
