"""``jupyter mlops spool``, with a service that goes away and comes back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from jupyter_mlops.cli.main import root
from jupyter_mlops.core.records import Batch, NewRun, Tag
from jupyter_mlops.tracker.location import home
from jupyter_mlops.tracker.remote import RemoteTracker
from jupyter_mlops.tracker.spool import SpoolWriter
from jupyter_mlops.tracker.spoolfile import Log, target_of
from tests.service.inprocess import running


def spool(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(root, ["spool", *arguments])
    return result.exit_code, result.output


def test_what_waits_is_told_while_the_service_is_away_and_stored_when_it_is_back(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    with running(sqlite_url, tmp_path / "artifacts", tmp_path) as service:
        token = service.token("ada")
        url, port = service.url, int(service.url.rpartition(":")[2])
        monkeypatch.setenv("MLOPS_TRACKING_URL", url)
        monkeypatch.setenv("MLOPS_TRACKING_TOKEN", token)
        with RemoteTracker(url, token) as tracker:
            experiment = tracker.experiments.ensure("churn")
            run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))
        assert spool("status") == (0, "Nothing waits to be stored.\n")
    writer = SpoolWriter(home() / "spool", target=target_of(url))
    for number in range(3):
        writer.append(Log(run.run_id, Batch(tags=(Tag("number", str(number)),))))
    writer.close()
    code, output = spool("status")
    assert code == 0
    assert "does not answer" in output
    assert "3 entries wait to be stored; some of them may be stored already." in output
    assert json.loads(CliRunner().invoke(root, ["spool", "status", "--json"]).stdout)["waiting"] == 3
    code, output = spool("flush")
    assert code == 1
    assert "does not answer" in output
    with running(sqlite_url, tmp_path / "artifacts", tmp_path, port=port) as service:
        assert spool("status") == (0, "3 entries wait to be stored.\n")
        assert spool("flush") == (0, "Nothing waits to be stored.\n")
        with RemoteTracker(service.url, token) as tracker:
            assert tracker.runs.get(run.run_id).tags == (Tag("number", "2"),)
