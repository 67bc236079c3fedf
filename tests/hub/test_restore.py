"""The drill: what a hub's service has is dumped in use, restored to another hub, and found there, each file."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_mlops.core.errors import NotFound
from jupyter_mlops.core.records import Batch, Metric, NewRun, Run
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.hub import realhub
from tests.hub.realhub import ADMIN, MEMBER, OUTSIDER

pytestmark = pytest.mark.slow


def mlops(url: str, artifacts: Path, home: Path, *words: str) -> str:
    """What a command prints for the store at ``url``."""
    command = [sys.executable, "-m", "jupyter_mlops", "--url", url, "--artifacts", str(artifacts), *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLOPS_")}
    done = subprocess.run(
        command, env=environment | {"MLOPS_HOME": str(home)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_scratch_hub_has_all_that_was_there(hub: realhub.Hub, postgres_url: str, tmp_path: Path) -> None:
    here, home = f"sqlite:///{hub.folder / 'mlops.db'}", tmp_path / "home"
    with RemoteTracker(hub.direct_url, hub.token(MEMBER)) as ann:
        experiment = ann.experiments.ensure("drill")
        run = ann.runs.create(
            NewRun(experiment_id=experiment.experiment_id, batch=Batch(metrics=(Metric("m", 1.0, 1),)))
        )
        ann.artifacts.put(run.run_id, "m/MLmodel", io.BytesIO(b"flavors: {python_function: {}}"))
        ann.artifacts.put(run.run_id, "large.bin", io.BytesIO(os.urandom(3 << 20)))
        ann.models.register("drilled", run.run_id, "m")
        ann.models.set_alias("drilled", "staging", 1)
    with RemoteTracker(hub.direct_url, hub.token(ADMIN)) as admin:
        head = admin.audit_head()
        files = {(each.run_id, file.path): file for each in runs(admin) for file in admin.artifacts.walk(each.run_id)}

    mlops(here, hub.folder / "artifacts", home, "db", "dump", str(tmp_path / "backup"))
    scratch = tmp_path / "scratch"
    shutil.copytree(hub.folder / "artifacts", scratch / "artifacts")
    mlops(postgres_url, scratch / "artifacts", home, "db", "load", str(tmp_path / "backup"))
    mlops(postgres_url, scratch / "artifacts", home, "artifacts", "verify")

    with realhub.running(scratch, postgres_url) as restored:
        with RemoteTracker(restored.direct_url, restored.token(ADMIN)) as admin:
            assert {
                (each.run_id, file.path): file for each in runs(admin) for file in admin.artifacts.walk(each.run_id)
            } == files
            for (run_id, path), file in files.items():
                # A whole read is compared with its digest.
                assert sum(map(len, admin.artifacts.open(run_id, path))) == file.size
            assert admin.audit_verify(f"mlops-audit {head.position} sha256:{head.digest} at {head.at}").intact
        with RemoteTracker(restored.direct_url, restored.token(MEMBER)) as ann:
            assert ann.runs.get(run.run_id).metrics[0].value == 1.0
            assert [move.version for move in ann.models.alias_history("drilled", "staging")] == [1]
            assert ann.runs.create(NewRun(experiment_id=experiment.experiment_id)).user == MEMBER
        with RemoteTracker(restored.direct_url, restored.token(OUTSIDER)) as dan, pytest.raises(NotFound):
            dan.runs.get(run.run_id)


def runs(tracker: RemoteTracker) -> list[Run]:
    """All of them."""
    found: list[Run] = []
    token = None
    while True:
        page = tracker.runs.search((), page_token=token)
        found += page.items
        token = page.next_page_token
        if token is None:
            return found
