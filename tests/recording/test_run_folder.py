"""Who made a run's folder is known whatever the notebook does to that of its spools."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jupyter_mlops.core.ids import new_id
from jupyter_mlops.recording.recorder import RunFolder
from jupyter_mlops.tracker.losses import LossCounter, read_losses
from jupyter_mlops.tracker.process import this_runner


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path))
    return RunFolder(new_id())


def test_its_owner_is_known_without_its_spools(folder: RunFolder) -> None:
    assert folder.owner is None
    with folder:
        shutil.rmtree(folder.spool)
        assert folder.owner == this_runner()
        assert not folder.is_abandoned()
    assert not folder.path.exists()


def test_what_is_lost_is_counted_in_the_room_that_is_kept(folder: RunFolder) -> None:
    run_id = folder.path.name
    with folder:
        before = sum(path.stat().st_blocks for path in folder.path.rglob("*") if path.is_file())
        LossCounter(folder.losses, "").add({run_id: 2})
        folder.give_room()
        LossCounter(folder.losses, "").add({run_id: 3})
        after = sum(path.stat().st_blocks for path in folder.path.rglob("*") if path.is_file())
        found = read_losses(folder.losses)
        assert found is not None
        assert found.counts == {run_id: 5}
        assert folder.owner == this_runner()
        assert after < before
