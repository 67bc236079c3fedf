"""MLflow's own client on a hub: behind its proxy and prefix, with the tokens that it gives."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from jupyter_mlops.tracker.remote import RemoteTracker
from tests.hub import realhub
from tests.hub.realhub import MEMBER, OTHER, authorization

TRAIN = """
import hashlib, json, os, sys
import mlflow, numpy as np
from sklearn.linear_model import LogisticRegression
size = int(sys.argv[1])
def sha256(path):
    seen = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            seen.update(piece)
    return seen.hexdigest()
X, y = np.array([[0.0], [1.0], [0.1], [0.9]]), np.array([0, 1, 0, 1])
mlflow.set_experiment("mlflow on a hub")
with mlflow.start_run() as run:
    mlflow.log_params({"lr": 0.1}); mlflow.log_metric("auc", 0.9, step=3)
    written, block = hashlib.sha256(), os.urandom((1 << 20) - 8)
    with open("large.bin", "wb") as file:
        for number in range(size >> 20):
            piece = number.to_bytes(8, "big") + block
            file.write(piece)
            written.update(piece)
    mlflow.log_artifact("large.bin", "data")
    model = LogisticRegression().fit(X, y)
    info = mlflow.sklearn.log_model(model, name="model", registered_model_name=sys.argv[2], pip_requirements=[])
mlflow.MlflowClient().set_registered_model_alias(sys.argv[2], "candidate", 1)
loaded = mlflow.pyfunc.load_model(f"models:/{sys.argv[2]}@candidate")
assert loaded.predict(X).tolist() == model.predict(X).tolist()
there = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="data/large.bin", dst_path="down")
assert sha256(there) == written.hexdigest()
ids = {"run_id": run.info.run_id, "experiment_id": run.info.experiment_id, "model_id": info.model_id}
print(json.dumps({**ids, "sha256": written.hexdigest()}))
"""


def trained(hub: realhub.Hub, folder: Path, size: int, model: str, **more: str) -> dict[str, str]:
    """What a script with MLflow alone has made, with a token of the member's."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "MLOPS_"))},
        "MLFLOW_TRACKING_URI": hub.service_url,
        "MLFLOW_TRACKING_TOKEN": hub.token(MEMBER),
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(size), model],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, str] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def test_a_training_script_behind_the_proxy(hub: realhub.Hub, tmp_path: Path) -> None:
    made = trained(hub, tmp_path, 10 << 20, "mlflow-small")
    with RemoteTracker(hub.service_url, hub.token(MEMBER)) as tracker:
        run = tracker.runs.get(made["run_id"])
        assert (run.user, run.params[0].value, run.metrics[0].step) == (MEMBER, 0.1, 3)
        assert tracker.models.version("mlflow-small", 1).logged_model_id == made["model_id"].removeprefix("m-")
    # Another group's member knows nothing of it, by any of MLflow's ways.
    ids = made["experiment_id"], made["run_id"], made["model_id"]
    for path in (
        f"mlflow/runs/get?run_id={ids[1]}",
        f"mlflow/experiments/get?experiment_id={ids[0]}",
        f"mlflow/logged-models/{ids[2]}",
        f"mlflow/metrics/get-history?run_id={ids[1]}&metric_key=auc",
        f"mlflow/artifacts/list?run_id={ids[1]}",
        f"mlflow-artifacts/artifacts/{ids[0]}/{ids[1]}/artifacts/data/large.bin",
        f"mlflow-artifacts/artifacts/{ids[0]}/models/{ids[2]}/artifacts/MLmodel",
    ):
        url = f"{hub.service_url}/api/2.0/{path}"
        assert requests.get(url, headers=authorization(hub.token(OTHER)), timeout=30).status_code == 404, path


@pytest.mark.slow
def test_600_mb_pass_the_proxy_in_one_piece(hub: realhub.Hub, tmp_path: Path) -> None:
    """There and back, while the service keeps a few pieces in memory."""
    service = Path("/proc") / str(hub.service_process())
    (service / "clear_refs").write_text("5")  # what it had most begins anew
    before = resident(service, "VmRSS")
    made = trained(hub, tmp_path, 600 << 20, "mlflow-large")
    with RemoteTracker(hub.service_url, hub.token(MEMBER)) as tracker:
        (file,) = [each for each in tracker.artifacts.walk(made["run_id"]) if each.path == "data/large.bin"]
        assert (file.size, file.digest) == (600 << 20, made["sha256"])
    assert resident(service, "VmHWM") - before < 100 << 20


def resident(process: Path, what: str) -> int:
    """Bytes of memory that a process has, or had at most."""
    found = re.search(rf"^{what}:\s+(\d+) kB$", (process / "status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) << 10


@pytest.mark.slow
def test_large_files_pass_in_parts(hub: realhub.Hub, tmp_path: Path) -> None:
    parts = {"MINIMUM_FILE_SIZE": str(20 << 20), "CHUNK_SIZE": str(5 << 20)}
    more = {f"MLFLOW_MULTIPART_UPLOAD_{name}": value for name, value in parts.items()}
    made = trained(hub, tmp_path, 32 << 20, "mlflow-parts", MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD="true", **more)
    with RemoteTracker(hub.service_url, hub.token(MEMBER)) as tracker:
        (file,) = [each for each in tracker.artifacts.walk(made["run_id"]) if each.path == "data/large.bin"]
    assert file.digest == made["sha256"]


def test_kernels_are_told_where_to_track(hub: realhub.Hub, lead_server: dict[str, str]) -> None:
    assert lead_server["MLFLOW_TRACKING_URI"] == lead_server["MLOPS_TRACKING_URL"]
