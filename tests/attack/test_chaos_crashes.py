"""Processes killed by SIGKILL at every stage: the next command puts things right, and what was acknowledged is kept."""

from __future__ import annotations

import os
import signal

import pytest
from machines import Machine

from tests.waiting import until

pytestmark = pytest.mark.slow

WAIT = "import pathlib, time\npathlib.Path('ready').touch()\ntime.sleep(600)"
GRANDCHILD = "import subprocess\nchild = subprocess.Popen(['sleep', '600'], start_new_session=True)"


def killed(process: object) -> None:
    process.kill()  # type: ignore[attr-defined]
    process.communicate()  # type: ignore[attr-defined]


def test_a_runner_killed_before_its_run_began_leaves_nothing(machine: Machine) -> None:
    # A kernel that does not watch its parent, unlike ipykernel.
    machine.kernel("lonely", "env", "-u", "JPY_PARENT_PID", "sleep", "600")
    runner = machine.mlops("run", machine.notebook("1", kernel="lonely"))
    # Not at any file: Python itself makes one there for a moment, to see whether it can.
    until(lambda: list(machine.home.glob("runs/*/owner")) and list(machine.tmp.glob("mlops-*")), "the start")
    os.kill(runner.pid, signal.SIGSTOP)
    if (machine.home / "mlops.db").exists():
        pytest.skip("this machine opens a store faster than it starts a process")
    killed(runner)
    assert machine.runs() == []
    machine.assert_clean()


@pytest.mark.parametrize("how", [("-m", "jupyter_mlops", "run"), ("-m", "papermill", "--engine", "mlops")])
def test_a_runner_killed_in_a_cell_is_lost(machine: Machine, how: tuple[str, ...]) -> None:
    logs = "import jupyter_mlops as mlops\nfor step in range(500):\n    mlops.log_metric('loss', step / 7, step=step)"
    notebook = machine.notebook(logs, GRANDCHILD, WAIT)
    runner = machine.start(*how, notebook, *(["out.ipynb"] if "papermill" in how else []))
    until((machine.work / "ready").exists, "the last cell")
    killed(runner)
    run = machine.the_run()
    assert (run["status"], run["reason"]["kind"]) == ("FAILED", "runner lost")
    assert machine.points(run["run_id"], "loss") == [(step, step / 7) for step in range(500)]
    assert "mlops.log_metric" in machine.run("runs", "notebook", run["run_id"])[0]
    machine.assert_clean()


def test_a_runner_killed_while_its_kernel_ends(machine: Machine) -> None:
    ending = "import atexit, pathlib, time\natexit.register(lambda: (pathlib.Path('ready').touch(), time.sleep(600)))"
    runner = machine.mlops("run", machine.notebook("import jupyter_mlops as mlops\nmlops.log_metric('a', 1)", ending))
    until((machine.work / "ready").exists, "the kernel's end")
    killed(runner)
    run = machine.the_run()
    assert (run["status"], run["metrics"][0]["value"]) == ("FAILED", 1.0)
    machine.assert_clean()


def test_a_dead_kernel_takes_what_it_started_with_it(machine: Machine) -> None:
    notebook = machine.notebook(GRANDCHILD, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "1")
    machine.run("run", notebook, status=1)
    run = machine.the_run()
    assert (run["reason"]["kind"], run["reason"]["cell"]) == ("kernel died", 1)
    machine.assert_clean()


def test_a_killed_sweep_leaves_nothing_and_is_resumed(machine: Machine) -> None:
    wait = "import pathlib, time\nwhile not pathlib.Path('go').exists():\n    time.sleep(0.01)"
    notebook = machine.notebook("import pathlib\npathlib.Path(f'ready{x}').touch()", wait, parameters="x = 0")
    sweep = machine.mlops("sweep", notebook, "--grid", "x=1,2,3", "--jobs", "2")
    until(lambda: all((machine.work / f"ready{x}").exists() for x in (1, 2)), "two cells")
    killed(sweep)
    until(lambda: not machine.processes(), "the end of the workers")
    parent, *children = machine.runs()
    assert (parent["status"], parent["reason"]["kind"]) == ("FAILED", "runner lost")
    assert {child["status"] for child in children} == {"KILLED"}
    machine.assert_clean()
    (machine.work / "go").touch()
    machine.run("sweep", "--resume", parent["run_id"])
    assert sorted(run["status"] for run in machine.runs()) == ["FINISHED"] * 4 + ["KILLED"] * 2
    machine.assert_clean()


def test_all_that_a_killed_script_had_logged_is_kept_in_order(machine: Machine) -> None:
    script = machine.work / "script.py"
    script.write_text(
        "import os, jupyter_mlops as mlops\n"
        "mlops.start_run()\n"
        "step = 0\n"
        "while True:\n"
        "    mlops.log_metric('loss', step / 3, step=step)\n"
        "    step += 1\n"
        "    os.write(1, b'.')\n"
    )
    output = machine.work / "acknowledged"
    with output.open("wb") as file:
        process = machine.start(script, stdout=file)
    until(lambda: output.stat().st_size > 20_000, "20,000 points")
    killed(process)
    # Three at once: what the script left is stored once all the same.
    readers = [machine.mlops("runs", "list") for _ in range(3)]
    assert [reader.wait(60) for reader in readers] == [0, 0, 0]
    run = machine.the_run()
    points = machine.points(run["run_id"], "loss")
    assert (run["status"], run["reason"]["kind"]) == ("FAILED", "runner lost")
    assert points == [(step, step / 3) for step in range(len(points))]
    # The last call may have been made and not yet counted.
    assert len(points) - output.stat().st_size in (0, 1)
    machine.assert_clean()


LOG_ON = """
import pathlib
import jupyter_mlops as mlops
mlops.start_run()
step = 0
while not pathlib.Path("enough").exists():
    for _ in range(1000):
        mlops.log_metric("loss", step, step=step)
        step += 1
mlops.log_param("steps", step)
mlops.end_run()
"""
REPLAY = """
import pathlib, sys
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.replay import Replayer
with connect() as tracker:
    replayer = Replayer(pathlib.Path(sys.argv[1]))
    print("ready", flush=True)
    while True:
        replayer.run(tracker)
"""


def test_replaying_processes_that_are_killed_store_each_entry_once(machine: Machine) -> None:
    script, replay = machine.work / "script.py", machine.work / "replay.py"
    script.write_text(LOG_ON)
    replay.write_text(REPLAY)
    machine.run("runs", "list")
    writer = machine.start(script)
    for _ in range(4):
        replayers = [machine.start(replay, machine.home / "spool") for _ in range(2)]
        for replayer in replayers:
            assert replayer.stdout is not None
            line = replayer.stdout.readline()
            assert line == "ready\n", replayer.communicate()
        for replayer in replayers:
            killed(replayer)
    (machine.work / "enough").touch()
    assert writer.wait(60) == 0, writer.communicate()
    run = machine.the_run()
    steps = int(run["params"][0]["text"])
    assert machine.points(run["run_id"], "loss") == [(step, float(step)) for step in range(steps)]
    machine.assert_clean()
