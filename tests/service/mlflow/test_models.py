"""Models through MLflow's client: logged, registered, loaded back; stages; files in parts."""

from __future__ import annotations

import os
from pathlib import Path

import mlflow
import numpy as np
import pytest
import requests
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus
from mlflow.exceptions import MlflowException
from sklearn.linear_model import LogisticRegression

from jupyter_mlops.core.policy import Policy
from jupyter_mlops.core.quotas import Quota
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.service.inprocess import Running

X = np.array([[0.0, 1.0], [1.0, 0.0], [0.2, 0.8], [0.9, 0.1]])
Y = np.array([0, 1, 0, 1])


@pytest.fixture(autouse=True)
def _tracked(tracking: Running) -> None:
    mlflow.set_tracking_uri(tracking.url)
    mlflow.set_registry_uri(tracking.url)
    mlflow.set_experiment("churn")


@pytest.fixture
def external(client: MlflowClient) -> str:
    """A registered model with four versions, of what is elsewhere."""
    client.create_registered_model("outside")
    for _ in range(4):
        client.create_model_version("outside", "s3://bucket/model", "run-1")
    return "outside"


def test_a_model_is_logged_registered_and_loaded_back(client: MlflowClient, tracking: Running) -> None:
    with mlflow.start_run() as made:
        fitted = LogisticRegression().fit(X, Y)
        info = mlflow.sklearn.log_model(
            fitted, name="model", input_example=X, registered_model_name="churn", pip_requirements=[]
        )
        mlflow.log_metric("accuracy", 0.75, model_id=info.model_id)
    logged = client.get_logged_model(info.model_id)
    assert logged.status == LoggedModelStatus.READY
    assert [(metric.key, metric.value) for metric in logged.metrics] == [("accuracy", 0.75)]
    assert logged.tags["mlflow.modelVersions"] == '[{"name": "churn", "version": 1}]'
    assert [output.model_id for output in client.get_run(made.info.run_id).outputs.model_outputs] == [info.model_id]
    assert client.get_model_version("churn", "1").source == f"models:/{info.model_id}"
    client.set_registered_model_alias("churn", "champion", "1")
    expected = fitted.predict(X).tolist()
    for uri in ("models:/churn@champion", "models:/churn/1", info.model_uri, f"runs:/{made.info.run_id}/model"):
        assert mlflow.pyfunc.load_model(uri).predict(X).tolist() == expected, uri
    assert info.signature is not None
    # It is the same model to everybody else: a folder of the run, and a version with its bytes.
    with RemoteTracker(tracking.url, tracking.token("ann")) as tracker:
        assert "MLmodel" in [file.path.rpartition("/")[2] for file in tracker.artifacts.list(made.info.run_id, "model")]
        version = tracker.models.version("churn", 1)
        assert (version.run_id, f"m-{version.logged_model_id}") == (made.info.run_id, info.model_id)
        assert "sklearn" in version.flavors


def test_a_version_outlives_its_run_and_is_read_by_colleagues(
    client: MlflowClient, tracking: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mlflow.start_run() as made:
        fitted = LogisticRegression().fit(X, Y)
        mlflow.sklearn.log_model(fitted, name="model", registered_model_name="shared", pip_requirements=[])
    client.delete_run(made.info.run_id)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", tracking.token("bob", scope="read"))
    assert mlflow.sklearn.load_model("models:/shared/1").predict(X).tolist() == fitted.predict(X).tolist()


def test_who_loads_with_the_client_is_a_consumer_once(
    client: MlflowClient, tracking: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mlflow.start_run():
        fitted = LogisticRegression().fit(X, Y)
        mlflow.sklearn.log_model(fitted, name="model", registered_model_name="used", pip_requirements=[])
    client.set_registered_model_alias("used", "live", "1")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", tracking.token("bob", scope="read"))
    mlflow.pyfunc.load_model("models:/used@live")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", tracking.token("cid", scope="read"))
    mlflow.pyfunc.load_model("models:/used/1")
    with RemoteTracker(tracking.url, tracking.token("ann")) as tracker:
        seen = {(each.user, each.reference, each.purpose) for each in tracker.models.consumers("used")}
    assert seen == {("bob", "@live", "mlflow"), ("cid", "", "mlflow")}


def test_autologging_of_scikit_learn_arrives(client: MlflowClient) -> None:
    mlflow.sklearn.autolog(log_models=True, extra_tags={"auto": "yes"})
    try:
        with mlflow.start_run() as made:
            LogisticRegression(C=2.0).fit(X, Y)
    finally:
        mlflow.sklearn.autolog(disable=True)
    run = client.get_run(made.info.run_id)
    assert run.data.params["C"] == "2.0"
    assert "training_accuracy_score" in run.data.metrics
    (output,) = run.outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    assert model.status == LoggedModelStatus.READY
    assert mlflow.models.get_model_info(model.model_uri).signature is not None


def test_stages_are_aliases(client: MlflowClient, external: str) -> None:
    client.transition_model_version_stage(external, "1", "Production")
    assert client.get_model_version_by_alias(external, "production").version == "1"
    moved = client.transition_model_version_stage(external, "2", "production", archive_existing_versions=True)
    assert moved.current_stage == "Production"
    assert client.get_model_version(external, "1").current_stage == "Archived"
    client.transition_model_version_stage(external, "3", "Staging")
    latest = {version.current_stage: version.version for version in client.get_latest_versions(external)}
    assert latest == {"Archived": "1", "Production": "2", "Staging": "3", "None": "4"}
    client.transition_model_version_stage(external, "2", "None")
    assert client.get_registered_model(external).aliases == {"staging": "3"}
    with pytest.raises(MlflowException, match="stage"):
        client.transition_model_version_stage(external, "2", "Nowhere")


def test_a_protected_alias_says_how_it_moves(client: MlflowClient, external: str, tracking: Running) -> None:
    with RemoteTracker(tracking.url, tracking.token("root", scope="admin")) as admin:
        admin.policies.set(Policy(), model=external)
    for move in (
        lambda: client.set_registered_model_alias(external, "production", "1"),
        lambda: client.transition_model_version_stage(external, "1", "Production"),
    ):
        with pytest.raises(MlflowException, match="jupyter mlops promote") as refused:
            move()
        assert refused.value.error_code == "PERMISSION_DENIED"
    assert client.get_registered_model(external).aliases == {}


def test_a_copy_has_the_files_of_what_it_is_a_copy_of(client: MlflowClient) -> None:
    with mlflow.start_run():
        fitted = LogisticRegression().fit(X, Y)
        mlflow.sklearn.log_model(fitted, name="model", registered_model_name="churn", pip_requirements=[])
    copy = client.copy_model_version("models:/churn/1", "copies")
    assert copy.source == "models:/churn/1"
    assert mlflow.sklearn.load_model("models:/copies/1").predict(X).tolist() == fitted.predict(X).tolist()


def test_large_files_go_up_in_parts(
    client: MlflowClient, tracking: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(12 << 20) + b"end"
    (tmp_path / "large.bin").write_bytes(content)
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "true")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", str(6 << 20))
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", str(5 << 20))
    run = client.create_run("0")
    client.log_artifact(run.info.run_id, str(tmp_path / "large.bin"), "data")
    with RemoteTracker(tracking.url, tracking.token("ann")) as tracker:
        assert b"".join(tracker.artifacts.open(run.info.run_id, "data/large.bin")) == content
    part = requests.get(
        f"{tracking.url}/api/2.0/mlflow-artifacts/artifacts/{run.info.experiment_id}/{run.info.run_id}/artifacts/data/large.bin",
        headers={"Authorization": f"Bearer {tracking.token('ann')}", "Range": "bytes=5-9"},
        timeout=30,
    )
    assert (part.status_code, part.content) == (206, content[5:10])


def test_parts_take_room_until_they_are_a_file_or_given_up(client: MlflowClient, tracking: Running) -> None:
    run = client.create_run("0")
    folder = f"{run.info.experiment_id}/{run.info.run_id}/artifacts"
    token = tracking.token("ann")

    def ask(action: str, **body: object) -> requests.Response:
        return requests.post(
            f"{tracking.url}/api/2.0/mlflow-artifacts/mpu/{action}/{folder}",
            json={"path": "large.bin", **body},
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
        )

    def begin() -> tuple[str, list[requests.Response]]:
        begun = ask("create", num_parts=2).json()
        return begun["upload_id"], [
            requests.put(part["url"], bytes(400), headers=part["headers"], timeout=30) for part in begun["credentials"]
        ]

    with RemoteTracker(tracking.url, tracking.token("boss", scope="admin")) as boss:
        boss.quotas.set("ann", Quota(bytes=1000))
        first, sent = begin()
        assert [each.status_code for each in sent] == [200, 200]
        _, refused = begin()
        assert [each.status_code for each in refused] == [507, 507]
        assert "the quota of 'ann' for files is 1 kB, of which 800 B are used" in refused[0].json()["message"]
        assert ask("abort", upload_id=first).status_code == 200
        third, sent = begin()
        etags = [each.headers["ETag"] for each in sent]
        parts = [{"part_number": number + 1, "etag": etag} for number, etag in enumerate(etags)]
        assert ask("complete", upload_id=third, parts=parts).status_code == 200
        (standing,) = boss.quotas.standing("ann")
        assert standing.usage.bytes == 800


def test_prompts_and_traces_are_not_offered(client: MlflowClient) -> None:
    with pytest.raises(MlflowException) as refused:
        mlflow.genai.register_prompt("greeting", "Hello {{name}}")
    assert refused.value.error_code == "NOT_IMPLEMENTED"
    with pytest.raises(MlflowException) as refused:
        client.search_traces(locations=["0"])
    assert refused.value.error_code == "NOT_IMPLEMENTED"
