"""The service is away while a script logs through it: the script does not notice, and all arrives once, in order."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from machines import Machine

from jupyter_mlops.core.records import RunStatus
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.history import points
from tests.hub.realhub import free_ports
from tests.hub.standalone import Started, started, token
from tests.waiting import DEADLINE, until

pytestmark = pytest.mark.slow

POINTS = 100_000
SLOWEST_SECONDS = 0.001
SCRIPT = f"""
import json, pathlib, time
import jupyter_mlops as mlops

def wait_for(name):
    while not pathlib.Path(name).exists():
        time.sleep(0.01)

run = mlops.start_run()
mlops.log_metric("loss", 0.0, step=0)
mlops.flush()
pathlib.Path("run").write_text(run.info.run_id)
wait_for("away")
took = []
for step in range(1, {POINTS}):
    before = time.perf_counter()
    mlops.log_metric("loss", step / 7, step=step)
    took.append(time.perf_counter() - before)
pathlib.Path("logged.part").write_text(json.dumps(took))
pathlib.Path("logged.part").rename("logged")
wait_for("back")
mlops.end_run()
"""


class Absence:
    """A service that goes away and comes back, and a script that logs through it."""

    def __init__(self, machine: Machine, folder: Path, running: ExitStack) -> None:
        self.machine = machine
        self._folder = folder
        self._running = running
        self._port = str(free_ports(1)[0])
        self.token = token(folder, "ann")
        self.service = self.start()
        machine.environment |= {"MLOPS_TRACKING_URL": self.service.url, "MLOPS_TRACKING_TOKEN": self.token}
        (machine.work / "script.py").write_text(SCRIPT)
        self.errors = machine.root / "errors"
        self.script = machine.start("script.py", stderr=self._running.enter_context(self.errors.open("w")))
        self.run_id = self.told("run").read_text()

    def start(self) -> Started:
        arguments = ["--port", self._port, "--tokens", "tokens.json"]
        return self._running.enter_context(started(self._folder, *arguments))

    def told(self, name: str) -> Path:
        """A file of the script, once it is there."""
        path = self.machine.work / name

        def ended_or_told() -> bool:
            assert self.script.poll() is None, self.errors.read_text()
            return path.exists() and path.stat().st_size > 0

        until(ended_or_told, name)
        return path

    def tell(self, name: str) -> None:
        (self.machine.work / name).touch()

    def warned(self) -> int:
        return self.errors.read_text().count("StorageWarning")

    def log_all(self) -> None:
        """Have the script log, and check what that took it."""
        self.tell("away")
        took = json.loads(self.told("logged").read_text())
        assert len(took) == POINTS - 1
        assert statistics.median(took) < SLOWEST_SECONDS

    def check_all_is_there(self, status: RunStatus) -> None:
        with RemoteTracker(self.service.url, self.token) as tracker:
            run = tracker.runs.get(self.run_id)
            assert run.status is status
            (metric,) = (metric for metric in run.metrics if metric.key == "loss")
            assert metric.count == POINTS
            assert points(tracker, self.run_id, "loss") == [(step, step / 7) for step in range(POINTS)]


@pytest.fixture
def absence(machine: Machine, tmp_path: Path) -> Iterator[Absence]:
    with ExitStack() as running:
        yield Absence(machine, tmp_path, running)


def test_a_script_goes_on_while_the_service_is_down(absence: Absence) -> None:
    absence.service.process.terminate()
    absence.service.process.wait(DEADLINE)
    absence.log_all()
    until(absence.warned, "the warning")
    absence.service = absence.start()
    absence.tell("back")
    assert absence.script.wait(DEADLINE) == 0
    assert absence.warned() == 1
    absence.check_all_is_there(RunStatus.FINISHED)
    absence.machine.assert_clean()


def test_what_a_killed_script_had_logged_is_delivered_by_the_next_command(absence: Absence) -> None:
    absence.service.process.terminate()
    absence.service.process.wait(DEADLINE)
    absence.log_all()
    absence.script.kill()
    absence.script.wait()
    waiting = absence.machine.json("spool", "status")
    assert waiting["away"]
    assert waiting["waiting"] >= POINTS - 1
    absence.service = absence.start()
    assert absence.machine.json("spool", "flush")["waiting"] == 0
    absence.check_all_is_there(RunStatus.FAILED)
    absence.machine.assert_clean()


def test_a_script_goes_on_while_the_service_hangs(absence: Absence) -> None:
    """It takes connections and answers nothing."""
    serving = until(absence.service.serving, "a serving process")
    serving.suspend()
    absence.log_all()
    serving.resume()
    absence.tell("back")
    assert absence.script.wait(DEADLINE) == 0
    assert absence.warned() == 0
    absence.check_all_is_there(RunStatus.FINISHED)
    absence.machine.assert_clean()
