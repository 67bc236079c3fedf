"""Who may drive a sweep."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_mlops.core.errors import Conflict
from jupyter_mlops.core.records import NewRun, Run
from jupyter_mlops.execution.claim import Claim
from jupyter_mlops.tracker.protocol import Tracker

ELSEWHERE = """
import sys
from jupyter_mlops.core.errors import Conflict
from jupyter_mlops.execution.claim import Claim
from jupyter_mlops.tracker.connect import connect

with connect() as tracker:
    try:
        Claim(tracker.runs.get(sys.argv[1]))
    except Conflict:
        print("refused")
    else:
        print("granted")
"""


def elsewhere(run: Run) -> str:
    """What another process hears that claims the sweep."""
    command = [sys.executable, "-c", ELSEWHERE, run.run_id]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


@pytest.fixture
def runs(tracker: Tracker) -> tuple[Run, Run]:
    new = NewRun(experiment_id=tracker.experiments.ensure("claimed").experiment_id)
    return tracker.runs.create(new), tracker.runs.create(new)


def test_who_lets_one_sweep_go_keeps_the_others(runs: tuple[Run, Run], home: Path) -> None:
    first, second = runs
    one, other = Claim(first), Claim(second)
    assert [elsewhere(first), elsewhere(second)] == ["refused", "refused"]
    one.release()
    assert [elsewhere(first), elsewhere(second)] == ["granted", "refused"]
    other.release()
    assert elsewhere(second) == "granted"
    assert (home / "sweeps.lock").read_bytes() == b""


def test_a_sweep_is_claimed_once_in_one_process_too(runs: tuple[Run, Run]) -> None:
    first, second = runs
    claim = Claim(first)
    with pytest.raises(Conflict, match=rf"the sweep {first.name} is being run by"):
        Claim(first)
    other = Claim(second)
    claim.release()
    Claim(first).release()
    assert elsewhere(second) == "refused"
    other.release()
