"""Asked to stop, at every moment and in every way: the run ends KILLED with its partial notebook, nothing stays."""

from __future__ import annotations

import os
import signal
import subprocess
import textwrap

import pytest
from machines import Machine

from tests.waiting import until

pytestmark = pytest.mark.slow

READY = "import pathlib, time\npathlib.Path('ready').touch()\n"
STUBBORN = """
import signal
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
import subprocess
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
print("before")
import pathlib, time
pathlib.Path("ready").touch()
while True:
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        pass
"""
BUSY = READY + "sum(range(10**12))"


def stopped(machine: Machine, runner: subprocess.Popen[str], *numbers: int) -> tuple[int, dict]:
    until(lambda: (machine.work / "ready").exists() or runner.poll() is not None, "the cell")
    for number in numbers:
        runner.send_signal(number)
    runner.communicate(timeout=60)
    machine.assert_clean()
    return runner.returncode, machine.the_run()


@pytest.mark.parametrize(
    ("cell", "number", "status"),
    [(STUBBORN, signal.SIGHUP, 129), (BUSY, signal.SIGINT, 130), (STUBBORN, signal.SIGTERM, 143)],
)
def test_a_signal_cancels_a_run(machine: Machine, cell: str, number: signal.Signals, status: int) -> None:
    runner = machine.mlops("run", machine.notebook("print('first')", cell))
    ended, run = stopped(machine, runner, number)
    assert ended == status
    assert (run["status"], run["reason"]["message"], run["reason"]["cell"]) == (
        "KILLED",
        f"cancelled by {number.name}",
        1,
    )
    assert "first" in machine.run("runs", "notebook", run["run_id"])[0]


def test_who_presses_ctrl_c_twice_has_a_cancelled_run_too(machine: Machine) -> None:
    runner = machine.mlops("run", machine.notebook(STUBBORN))
    ended, run = stopped(machine, runner, signal.SIGINT, signal.SIGINT)
    assert ended == 130
    assert (run["status"], run["reason"]["kind"]) == ("KILLED", "cancelled")


def test_papermill_is_cancelled_by_sigterm(machine: Machine) -> None:
    runner = machine.start("-m", "papermill", "--engine", "mlops", machine.notebook(STUBBORN), "out.ipynb")
    ended, run = stopped(machine, runner, signal.SIGTERM)
    assert ended == 1
    assert (run["status"], run["reason"]["kind"]) == ("KILLED", "cancelled")


def test_ignored_signals_stay_ignored(machine: Machine) -> None:
    def as_nohup() -> None:
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)

    waiting = READY + "while not pathlib.Path('go').exists():\n    time.sleep(0.01)"
    runner = machine.mlops("run", machine.notebook(waiting), preexec_fn=as_nohup)
    until((machine.work / "ready").exists, "the cell")
    for number in (signal.SIGHUP, signal.SIGINT):
        runner.send_signal(number)
    (machine.work / "go").touch()
    assert runner.wait(60) == 0
    assert machine.the_run()["status"] == "FINISHED"


def test_who_stops_reading_ends_no_run(machine: Machine) -> None:
    reading, writing = os.pipe()
    notebook = machine.notebook("1", "2", "assert x < 2", parameters="x = 1")
    sweep = machine.mlops("sweep", notebook, "--grid", "x=1,2", stdout=writing, stderr=writing)
    os.close(writing)
    os.close(reading)
    assert sweep.wait(60) == 1
    assert sorted(run["status"] for run in machine.runs()) == ["FAILED", "FAILED", "FINISHED"]
    assert "runner lost" not in {run.get("reason", {}).get("kind") for run in machine.runs()}


STARTING = """
    import os, signal, sys
    from jupyter_client.manager import KernelManager
    from jupyter_mlops.cli.main import main
    start = KernelManager.start_kernel
    def signalled(manager, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        print("a process for", manager.kernel_name, file=sys.stderr)
        start(manager, **options)
        print("has become it", file=sys.stderr)
    KernelManager.start_kernel = signalled
    main()
"""


def test_a_signal_in_the_middle_of_a_start_comes_after_it(machine: Machine) -> None:
    """A child that was forked and has not become the kernel yet would not be found by its run."""
    machine.kernel("slow", "env", "-u", "JPY_PARENT_PID", "sleep", "600")
    runner = machine.start("-c", textwrap.dedent(STARTING), "run", machine.notebook("1", kernel="slow"))
    _, errors = runner.communicate(timeout=60)
    assert (runner.returncode, errors.split("\n")[:2]) == (143, ["a process for slow", "has become it"])
    machine.assert_clean()


def test_a_signal_while_the_kernel_starts_leaves_nothing(machine: Machine) -> None:
    machine.kernel("slow", "env", "-u", "JPY_PARENT_PID", "sleep", "600")
    runner = machine.mlops("run", machine.notebook("1", kernel="slow"))
    # Not at any file: Python itself makes one there for a moment, to see whether it can.
    until(lambda: list(machine.tmp.glob("mlops-*")), "the kernel's start")
    runner.terminate()
    runner.communicate(timeout=60)
    assert runner.returncode == 143
    assert {run["status"] for run in machine.runs()} <= {"KILLED"}
    machine.assert_clean()
