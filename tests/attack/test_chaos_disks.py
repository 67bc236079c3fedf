"""A disk without room: errors are sentences, the run goes on, and with room again all works."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import Machine

from jupyter_mlops.tracker.connect import connect
from tests.waiting import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can mount a small disk"),
]

WAIT = (
    "import pathlib, time\npathlib.Path('ready').touch()\nwhile not pathlib.Path('go').exists():\n    time.sleep(0.01)"
)


FLOOD = "import jupyter_mlops as mlops\nfor step in range(1000):\n    mlops.log_metric('loss', step, step=step)"
OTHER = "import jupyter_mlops as mlops\nfor step in range(1000):\n    mlops.log_metric('other', step, step=step)"


@pytest.fixture
def small(machine: Machine) -> Iterator[Path]:
    """A disk of 8 MB, where the machine's home is."""
    machine.home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", machine.home]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        yield machine.home
    finally:
        for process in machine.processes():
            process.kill()
        subprocess.run(["umount", "-l", machine.home], check=True)


def fill(folder: Path) -> Path:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 256):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return filler


def test_a_run_whose_disk_fills_up(machine: Machine, small: Path) -> None:
    log = "import jupyter_mlops as mlops\nmlops.log_metric('before', 1)"
    flood = (
        f"{FLOOD}\nimport subprocess, sys\nsubprocess.run([sys.executable, '-Wignore', '-c', {OTHER!r}], check=True)"
    )
    runner = machine.mlops("run", machine.notebook(log, WAIT, flood, "print('at the end')"), "--output", "out.ipynb")
    until((machine.work / "ready").exists, "the cell")
    with connect(f"sqlite:///{small}/mlops.db") as tracker:
        run_id = tracker.runs.active()[0].run_id
        until(lambda: tracker.runs.get(run_id).metrics, "the first point")
    filler = fill(small)
    (machine.work / "go").touch()
    _, errors = runner.communicate(timeout=60)
    assert "Traceback" not in errors
    assert "No space left on device" in errors or "disk is full" in errors
    # The notebook itself ran to its end.
    assert "at the end" in (machine.work / "out.ipynb").read_text()
    # Reading works, or says why not.
    _, errors = machine.run("runs", "list", status=None)
    assert "space" in errors or "full" in errors or "disk" in errors

    filler.unlink()
    run = machine.the_run()
    assert run["status"] == "FINISHED"
    assert [step for step, _ in machine.points(run_id, "before")] == [0]
    steps = [step for step, _ in machine.points(run_id, "loss")]
    assert steps == list(range(len(steps)))
    # All that any process lost is counted; the runner's own samples of usage are among it.
    told = {tag["key"]: tag["value"] for tag in run["tags"]}
    assert 2000 - len(steps) <= int(told["mlops.dropped"]) <= 2000 - len(steps) + 50
    assert "found no room on the disk and are lost" in told["mlops.notice"]
    if "the executed notebook could not be stored" not in told["mlops.notice"]:
        assert "at the end" in machine.artifact("notebook/executed.ipynb").decode()
    machine.run("run", machine.notebook("1", name="next"))
    machine.assert_clean()


def test_a_disk_that_is_full_before_the_first_point(machine: Machine, small: Path) -> None:
    runner = machine.mlops("run", machine.notebook(WAIT, FLOOD, "print('at the end')"))
    until((machine.work / "ready").exists, "the cell")
    filler = fill(small)
    (machine.work / "go").touch()
    runner.communicate(timeout=60)
    filler.unlink()
    told = {tag["key"]: tag["value"] for tag in machine.the_run()["tags"]}
    assert int(told["mlops.dropped"]) >= 1000 - len(machine.points(machine.the_run()["run_id"], "loss"))
    machine.assert_clean()


def test_a_store_on_another_disk_gets_the_executed_notebook(machine: Machine, small: Path) -> None:
    machine.environment["MLOPS_TRACKING_URL"] = f"sqlite:///{machine.root}/elsewhere.db"
    machine.environment["MLOPS_ARTIFACTS_URL"] = str(machine.root / "artifacts")
    runner = machine.mlops("run", machine.notebook(WAIT, FLOOD, "print('at the end')"))
    until((machine.work / "ready").exists, "the cell")
    filler = fill(small)
    (machine.work / "go").touch()
    _, errors = runner.communicate(timeout=60)
    assert runner.returncode == 0, errors
    run = machine.the_run()
    assert run["status"] == "FINISHED"
    told = {tag["key"]: tag["value"] for tag in run["tags"]}
    assert "found no room on the disk and are lost" in told["mlops.notice"]
    assert int(told["mlops.dropped"]) >= 1000 - len(machine.points(run["run_id"], "loss"))
    shown, _ = machine.run("runs", "notebook", run["run_id"], status=None)
    assert "at the end" in shown, (errors, told, machine.json("artifacts", "list", run["run_id"]))
    filler.unlink()
    machine.run("runs", "list")
    machine.assert_clean()


def test_a_command_without_any_room_leaves_nothing(machine: Machine, small: Path) -> None:
    machine.run("experiments", "list")
    filler = fill(small)
    _, errors = machine.run("run", machine.notebook("1"), status=1)
    assert "No space left on device" in errors
    filler.unlink()
    assert machine.runs() == []
    machine.assert_clean()


@pytest.mark.usefixtures("small")
def test_a_file_too_large_for_the_disk_is_counted(machine: Machine) -> None:
    large = "import jupyter_mlops as mlops\nwith open('large', 'wb') as file:\n    file.write(bytes(20_000_000))"
    machine.run("run", machine.notebook(large, "mlops.log_artifact('large')", "mlops.log_metric('after', 1)"))
    run = machine.the_run()
    assert {"key": "mlops.dropped", "value": "1"} in run["tags"]
    assert [value for _, value in machine.points(run["run_id"], "after")] == [1.0]
    paths = [file["path"] for file in machine.json("artifacts", "list", run["run_id"])]
    assert "large" not in paths
    machine.assert_clean()
