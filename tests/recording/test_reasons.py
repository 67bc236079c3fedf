"""How runs end otherwise than well, and what their records say."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from jupyter_mlops.core.errors import Conflict, Unavailable
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.quotas import Quota
from jupyter_mlops.core.records import NewRun, ReasonKind, Run, RunChange, RunStatus, Tag
from jupyter_mlops.recording import recorder as recording
from jupyter_mlops.recording.kernel import Kernel, kill_orphan, oom_kills
from jupyter_mlops.recording.notebook import record_notebook
from jupyter_mlops.recording.recorder import Recorder, RunFolder
from jupyter_mlops.recording.task import NotebookTask
from jupyter_mlops.store import schema
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.embedded import EmbeddedTracker
from jupyter_mlops.tracker.process import start_time
from jupyter_mlops.tracker.protocol import Tracker
from tests.notebook_files import files_with, printed, write_notebook
from tests.ports import free_ports
from tests.waiting import processes_with, until

RUNNER = """
import sys, msgspec
from jupyter_mlops.recording.notebook import record_notebook
from jupyter_mlops.recording.task import NotebookTask
from jupyter_mlops.tracker.connect import connect
task = msgspec.json.decode(sys.argv[1], type=NotebookTask)
with connect() as tracker:
    print(record_notebook(tracker, task).status.value)
"""
BUSY = """
import os, subprocess, sys, time
import jupyter_mlops as mlops
print("begun", flush=True)
for step in range(3):
    mlops.log_metric("loss", 1.0 / (step + 1), step=step)
child = "import os, time; os.setsid(); open('grandchild', 'w').write(str(os.getpid())); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", child])
while not os.path.exists("grandchild") or not open("grandchild").read():
    time.sleep(0.01)
open("kernel.tmp", "w").write(str(os.getpid()))
os.rename("kernel.tmp", "kernel")
while True:
    time.sleep(0.05)
"""


@pytest.fixture
def runner(task: Callable[..., NotebookTask], tmp_path: Path) -> Any:
    """Starts a process that runs a busy notebook; gives it once the last cell is busy, with its task."""

    def start() -> tuple[subprocess.Popen[str], NotebookTask]:
        import msgspec

        work = task(write_notebook(tmp_path / "busy.ipynb", "print('before')", BUSY))
        process = subprocess.Popen(
            [sys.executable, "-c", RUNNER, msgspec.json.encode(work).decode()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        until((tmp_path / "kernel").exists, "the start of the busy cell")
        return process, work

    return start


@pytest.mark.slow
def test_an_error_in_a_cell(record: Callable[..., Run], executed: Callable[..., Any]) -> None:
    run = record("x = 1", "def f():\n    return 1 / 0\nf()", "print('not reached')")
    assert run.status is RunStatus.FAILED
    assert run.reason is not None
    assert (run.reason.kind, run.reason.cell) == (ReasonKind.CELL_ERROR, 1)
    assert run.reason.message == "ZeroDivisionError: division by zero"
    assert run.reason.source == "def f():\n    return 1 / 0\nf()"
    assert run.reason.traceback is not None
    assert "\x1b" not in run.reason.traceback
    assert "return 1 / 0" in run.reason.traceback
    assert run.progress is not None
    assert (run.progress.done, run.progress.failed) == (2, 1)
    assert "not reached" not in printed(executed(run))


@pytest.mark.slow
def test_a_secret_in_an_error_is_redacted(record: Callable[..., Run], home: Path) -> None:
    run = record("raise ValueError('bad ' + token)", parameters="token = ''", given={"token": "swordfish99"})
    assert run.reason is not None
    assert run.reason.message == "ValueError: bad [redacted]"
    assert files_with("swordfish99", home) == []


@pytest.mark.slow
@pytest.mark.parametrize("code", ["import sys\nsys.exit()", "import sys\nsys.exit(0)"])
def test_leaving_early_is_no_failure(record: Callable[..., Run], code: str) -> None:
    run = record(code, "1 / 0")
    assert (run.status, run.reason) == (RunStatus.FINISHED, None)


@pytest.mark.slow
def test_an_expected_error_is_no_failure(record: Callable[..., Run], executed: Callable[..., Any]) -> None:
    run = record(("1 / 0", ["raises-exception"]), "print('reached')")
    assert (run.status, run.reason) == (RunStatus.FINISHED, None)
    assert printed(executed(run)) == "reached\n"


@pytest.mark.slow
def test_a_kernel_that_dies(record: Callable[..., Run], executed: Callable[..., Any]) -> None:
    run = record("print('before', flush=True)", "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")
    assert run.status is RunStatus.FAILED
    assert run.reason is not None
    assert (run.reason.kind, run.reason.cell) == (ReasonKind.KERNEL_DIED, 1)
    assert "SIGSEGV" in run.reason.message
    assert printed(executed(run)) == "before\n"


@pytest.mark.slow
def test_a_kernel_that_leaves(record: Callable[..., Run]) -> None:
    run = record("import os\nos._exit(3)")
    assert run.reason is not None
    assert (run.reason.kind, run.reason.message) == (ReasonKind.KERNEL_DIED, "the kernel died with exit code 3")


@pytest.mark.slow
def test_text_that_no_database_takes(record: Callable[..., Run]) -> None:
    run = record("print('half \\udc80, nul \\0')\nraise ValueError('half \\udc80, nul \\0, end')")
    assert run.status is RunStatus.FAILED
    assert run.reason is not None
    assert run.reason.message.startswith("ValueError: half")
    assert run.reason.message.endswith("\N{REPLACEMENT CHARACTER}, end")


@pytest.mark.slow
def test_memory_that_runs_out(record: Callable[..., Run]) -> None:
    run = record("x = bytearray(1 << 60)")
    assert run.status is RunStatus.FAILED
    assert run.reason is not None
    assert (run.reason.kind, run.reason.cell) == (ReasonKind.OUT_OF_MEMORY, 0)


@pytest.mark.slow
def test_a_cell_that_takes_too_long(record: Callable[..., Run], read: Callable[..., bytes]) -> None:
    run = record("x = 1", "import time\nwhile True: time.sleep(0.01)", execution_timeout=0.5)
    assert run.status is RunStatus.FAILED
    assert run.reason is not None
    assert (run.reason.kind, run.reason.cell) == (ReasonKind.TIMEOUT, 1)
    assert "0.5 s" in run.reason.message
    assert [cell["status"] for cell in json.loads(read(run, "notebook/cells.json"))] == ["completed", "failed"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_cancelling_ends_everything_and_keeps_what_was_done(
    runner: Any, tracker: Tracker, executed: Callable[..., Any], tmp_path: Path, number: signal.Signals, home: Path
) -> None:
    process, work = runner()
    pids = [int((tmp_path / name).read_text()) for name in ("kernel", "grandchild")]
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert output == "KILLED\n", errors
    assert not [pid for pid in pids if start_time(pid) is not None]
    run = tracker.runs.get(work.run_id)
    assert run.status is RunStatus.KILLED
    assert run.reason is not None
    assert (run.reason.kind, run.reason.cell) == (ReasonKind.CANCELLED, 1)
    assert number.name in run.reason.message
    assert printed(executed(run)) == "before\nbegun\n"
    assert not (home / "runs" / run.run_id).exists()


class Deaf:
    """A companion whose address cannot be had."""

    environment: Mapping[str, str] = {}
    may_have_begun_runs = False

    def open(self, tracker: Tracker) -> None:
        raise OSError("the address is in use")

    def close(self) -> None:
        pass


def test_a_run_whose_companion_cannot_begin_has_failed(
    tracker: Tracker, task: Callable[..., NotebookTask], tmp_path: Path, home: Path
) -> None:
    kernels = []

    def start(name: str, **options: Any) -> Kernel:
        kernels.append(Kernel(name, **{**options, "companions": [Deaf()]}))
        return kernels[-1]

    write_notebook(tmp_path / "work.ipynb", "1")
    run = record_notebook(tracker, task(tmp_path / "work.ipynb"), start=start)
    assert run == tracker.runs.get(run.run_id)
    assert run.status is RunStatus.FAILED
    assert run.reason is not None
    assert (run.reason.kind, run.reason.message) == (ReasonKind.ERROR, "OSError: the address is in use")
    assert [kernel.is_alive() for kernel in kernels] == [False]
    assert not (home / "runs" / run.run_id).exists()


def test_a_run_whose_source_finds_no_room_has_failed_where_that_is_an_error(
    task: Callable[..., NotebookTask], tmp_path: Path
) -> None:
    # A store of its own, which is smaller than the largest file.
    with connect(f"sqlite:///{tmp_path}/mlops.db") as own:
        path = tmp_path / "work.ipynb"
        write_notebook(path, f"'{'x' * (3 << 20)}'")
        experiment = own.experiments.ensure("tests").experiment_id
        work = msgspec.structs.replace(task(path), experiment_id=experiment, tracking_url=own.url)
        limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20)){RUNNER}"
        done = subprocess.run(
            [sys.executable, "-c", limited, msgspec.json.encode(work).decode()],
            env={**os.environ, "MLOPS_HOME": str(tmp_path), "MLOPS_STRICT": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert "StorageFull" in done.stderr
        run = own.runs.get(work.run_id)
    assert run.status is RunStatus.FAILED
    assert run.reason is not None
    assert run.reason.message.startswith("StorageFull: no room left for the spool")
    assert not (tmp_path / "runs" / run.run_id).exists()
    assert processes_with(f"MLOPS_RUN_ID={run.run_id}") == []


@pytest.mark.slow
def test_a_killed_runner_is_found_by_the_next_command(
    runner: Any, tracker: Tracker, executed: Callable[..., Any], tmp_path: Path, home: Path
) -> None:
    from jupyter_mlops.recording.lost import recover

    process, work = runner()
    kernel, grandchild = (int((tmp_path / name).read_text()) for name in ("kernel", "grandchild"))
    process.kill()
    process.communicate(timeout=60)
    # Whoever looks after it may know more of its end.
    assert recover(tracker, but={work.run_id}) == []
    assert tracker.runs.get(work.run_id).status is RunStatus.RUNNING
    assert [run.run_id for run in recover(tracker)] == [work.run_id]
    assert [start_time(kernel), start_time(grandchild)] == [None, None]
    run = tracker.runs.get(work.run_id)
    assert run.status is RunStatus.FAILED
    assert run.reason is not None
    assert run.reason.kind is ReasonKind.RUNNER_LOST
    assert printed(executed(run)).startswith("before\n")
    assert [point.step for point in tracker.runs.history(run.run_id, "loss").items] == [0, 1, 2]
    assert {artifact.path for artifact in tracker.artifacts.walk(run.run_id)} >= {"notebook/source.ipynb"}
    assert not (home / "runs" / run.run_id).exists()
    assert recover(tracker) == []


@pytest.mark.slow
def test_a_killed_runner_is_found_at_a_full_quota_too(
    runner: Any, tracker: Tracker, executed: Callable[..., Any], home: Path
) -> None:
    from jupyter_mlops.recording.lost import recover

    owner = tracker.experiments.find("tests").owner
    process, work = runner()
    tracker.quotas.set(owner, Quota(bytes=0))
    try:
        process.kill()
        process.communicate(timeout=60)
        assert [run.run_id for run in recover(tracker)] == [work.run_id]
        assert tracker.runs.get(work.run_id).status is RunStatus.FAILED
        assert recover(tracker) == []
    finally:
        tracker.quotas.set(owner, None)
    assert recover(tracker) == []
    assert tracker.runs.get(work.run_id).status is RunStatus.FAILED
    assert printed(executed(tracker.runs.get(work.run_id))).startswith("before\n")
    assert not (home / "runs" / work.run_id).exists()


def test_what_a_killed_runner_left_is_kept_when_the_tracker_is_closed_meanwhile(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a server that ends while it recovers."""
    from jupyter_mlops.recording import lost

    experiment = tracker.experiments.ensure("tests")
    run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))
    with connect(tracker.url) as closing:
        put = closing.artifacts.put

        def closed(*arguments: Any) -> Any:
            closing.close()
            return put(*arguments)

        monkeypatch.setattr(closing.artifacts, "put", closed)
        with RunFolder(run.run_id) as folder:
            folder.executed.write_bytes(b"{}")
            with pytest.raises(Conflict, match="closed"):
                lost.close(closing, run)
            assert folder.executed.exists()
            assert lost.close(tracker, run).status is RunStatus.FAILED
            assert not folder.path.exists()
    assert [each.path for each in tracker.artifacts.walk(run.run_id)] == ["notebook/executed.ipynb"]


def test_a_run_that_waits_for_room_is_heard_of(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a service would end it as lost, while it goes on."""
    assert isinstance(tracker, EmbeddedTracker)
    monkeypatch.setattr(recording, "HEARTBEAT_SECONDS", 0.01)
    experiment = tracker.experiments.create("full", owner="group:full")
    run_id = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id)).run_id
    tracker.quotas.set("group:full", Quota(bytes=0))
    folder = RunFolder(run_id)
    folder.create()
    recorder = Recorder(tracker, run_id, folder)
    recorder.put("a", b"x")
    recorder.start(None)
    before = heard(tracker, run_id)
    try:
        until(lambda: heard(tracker, run_id) > before, "a heartbeat")
    finally:
        assert recorder.finish(RunChange(status=RunStatus.FINISHED)).status is RunStatus.FINISHED
        folder.remove()


def heard(tracker: EmbeddedTracker, run_id: str) -> int:
    """When the run's runner was heard of."""
    with tracker.database.read() as connection:
        return int(connection.execute(sa.select(schema.run.c.heartbeat).where(schema.run.c.id == run_id)).scalar_one())


def test_only_the_process_that_was_started_is_killed() -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    started = start_time(sleeper.pid)
    assert started is not None
    run_id = "0" * 32
    straggler = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], env={**os.environ, "MLOPS_RUN_ID": run_id}
    )
    assert not kill_orphan(sleeper.pid, started - 100, run_id)
    assert sleeper.poll() is None
    assert straggler.wait(10) == -signal.SIGKILL
    assert kill_orphan(sleeper.pid, started, "0" * 32)
    assert sleeper.wait(10) == -signal.SIGKILL


def test_the_systems_out_of_memory_kills_are_counted(tmp_path: Path) -> None:
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (cgroups / "user.slice").mkdir(parents=True)
    assert oom_kills(proc, cgroups) == 0
    (proc / "vmstat").write_text("nr_free_pages 7\noom_kill 5\n")
    assert oom_kills(proc, cgroups) == 5
    (proc / "self" / "cgroup").write_text("0::/user.slice\n")
    (cgroups / "user.slice" / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    assert oom_kills(proc, cgroups) == 2


def test_a_notebook_that_removes_its_folder_and_dies_ends_its_run(record: Callable[..., Run]) -> None:
    run = record(
        "import os, shutil\n"
        "import jupyter_mlops as mlops\n"
        "shutil.rmtree(os.path.dirname(os.environ['MLOPS_RUN_DIR']))\n"
        "os._exit(3)"
    )
    assert run.status is RunStatus.FAILED
    assert run.reason is not None
    assert run.reason.kind is ReasonKind.KERNEL_DIED
    assert "exit code 3" in run.reason.message


@pytest.mark.parametrize("strict", ["0", "1"])
def test_a_damaged_spool_ends_the_run_all_the_same(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch, strict: str
) -> None:
    """Where failures are raised, that comes after the end is recorded."""
    monkeypatch.setenv("MLOPS_STRICT", strict)
    run_id = tracker.runs.create(NewRun(experiment_id=tracker.experiments.ensure("tests").experiment_id)).run_id
    with RunFolder(run_id) as folder:
        recorder = Recorder(tracker, run_id, folder)
        shutil.rmtree(folder.spool)
        folder.spool.touch()
        with pytest.raises(Unavailable, match="cannot write the spool") if strict == "1" else nullcontext():
            recorder.finish(RunChange(status=RunStatus.FINISHED))
        assert not folder.path.exists()
    assert tracker.runs.get(run_id).status is RunStatus.FINISHED


def test_a_store_that_is_away_ends_no_recording_also_where_failures_are_raised(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLOPS_STRICT", "1")
    monkeypatch.setattr(recording, "_TICK_SECONDS", 0.02)
    run_id = new_id()
    with connect(f"http://127.0.0.1:{free_ports(1)[0]}") as away, RunFolder(run_id) as folder:
        recorder = Recorder(away, run_id, folder)
        recorder.log(tags=[Tag("a", "b")])
        recorder.start(None)
        try:
            until(lambda: f"recording run {run_id}" in caplog.text, "the warning")
            assert [thread.name for thread in threading.enumerate()].count("mlops-recorder") == 1
        finally:
            with pytest.raises(Unavailable):
                recorder.finish(RunChange(status=RunStatus.FINISHED))
