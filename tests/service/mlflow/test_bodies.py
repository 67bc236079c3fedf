"""Bodies as they may come: refused with a sentence, or kept exactly; never a failure of the service."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests
from mlflow import MlflowClient

from jupyter_mlops.service.mlflow.table import PROXIED, ROUTES
from tests.service.inprocess import Running

Ask = Callable[..., requests.Response]


@pytest.fixture
def ask(tracking: Running) -> Ask:
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {tracking.token('ann')}"

    def ask(method: str, path: str, body: Any = None, *, raw: bytes | None = None, **more: Any) -> requests.Response:
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data is not None else {}
        return session.request(method, f"{tracking.url}/{path}", data=data, headers=headers, timeout=30, **more)

    return ask


@pytest.fixture
def run_id(client: MlflowClient) -> str:
    found: str = client.create_run("0").info.run_id
    return found


def test_the_same_under_each_prefix(ask: Ask, run_id: str) -> None:
    answers = [
        ask("GET", f"{prefix}/mlflow/runs/get", params={"run_id": run_id}).json()
        for prefix in ("api/2.0", "api/3.0", "ajax-api/2.0", "ajax-api/3.0")
    ]
    assert all(answer == answers[0] for answer in answers)
    assert ask("GET", "health").status_code == 200
    assert ask("GET", "version").text.count(".") == 2
    assert ask("GET", "api/3.0/mlflow/server-info").json()["workspaces_enabled"] is False


@pytest.mark.parametrize(
    ("field", "text", "told"),
    [
        ("value", b"NaN", "cannot be read"),
        ("value", b"1e400", "Invalid value"),
        ("value", b'"x"', "Invalid value \"x\" for parameter 'value' supplied"),
        ("step", b"1.5", "Invalid value 1.5 for parameter 'step' supplied"),
        ("step", b"9223372036854775808", "step"),
        ("timestamp", b"-1", "timestamp"),
        ("key", b"7", "Invalid value 7 for parameter 'key' supplied"),
        ("key", b'""', "Missing value for required parameter 'key'"),
        ("run_id", b"null", "Missing value for required parameter 'run_id'"),
    ],
)
def test_what_cannot_be_kept_is_refused(ask: Ask, run_id: str, field: str, text: bytes, told: str) -> None:
    fields = {"run_id": f'"{run_id}"'.encode(), "key": b'"m"', "value": b"1", "timestamp": b"1", "step": b"0"}
    fields[field] = text
    raw = b"{" + b",".join(f'"{name}":'.encode() + value for name, value in fields.items()) + b"}"
    answer = ask("POST", "api/2.0/mlflow/runs/log-metric", raw=raw)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error_code", "message"}
    assert told in answer.json()["message"]
    assert ask("GET", "api/2.0/mlflow/runs/get", params={"run_id": run_id}).json()["run"]["data"].get("metrics") is None


def test_what_is_said_otherwise_is_kept_exactly(ask: Ask, run_id: str) -> None:
    points = [("NaN", "NaN"), ("Infinity", "Infinity"), ("-Infinity", "-Infinity"), ("0.1", 0.1), (7, 7.0)]
    for step, (value, _) in enumerate(points):
        body = {"run_id": run_id, "key": "m", "value": value, "timestamp": str(2**53 + 1), "step": str(step)}
        assert ask("POST", "api/2.0/mlflow/runs/log-metric", body).status_code == 200
    history = ask("GET", "api/2.0/mlflow/metrics/get-history", params={"run_id": run_id, "metric_key": "m"}).json()
    assert [point["value"] for point in history["metrics"]] == [value for _, value in points]
    assert {point["timestamp"] for point in history["metrics"]} == {2**53 + 1}


def test_a_batch_is_kept_whole_or_not_at_all(ask: Ask, run_id: str) -> None:
    good = {"key": "m", "value": 1, "timestamp": 1}
    for wrong in (
        {"metrics": [good, {**good, "step": "x"}]},
        {"metrics": [good], "params": [{"key": "a" * 251, "value": ""}]},
        {"metrics": [good] * 1001},
        {"metrics": [good], "tags": [{"key": "t", "value": "x" * 8001}]},
        {"metrics": [good, {**good, "model_id": "m-0123"}]},
    ):
        assert ask("POST", "api/2.0/mlflow/runs/log-batch", {"run_id": run_id, **wrong}).status_code in (400, 404)
    data = ask("GET", "api/2.0/mlflow/runs/get", params={"run_id": run_id}).json()["run"]["data"]
    assert "metrics" not in data
    assert "params" not in data


def test_a_batch_that_is_refused_leaves_the_name(ask: Ask, run_id: str) -> None:
    def log(name: str, value: str) -> int:
        tags = [{"key": "mlflow.runName", "value": name}]
        body = {"run_id": run_id, "params": [{"key": "lr", "value": value}], "tags": tags}
        return ask("POST", "api/2.0/mlflow/runs/log-batch", body).status_code

    assert log("first", "0.1") == 200
    assert log("second", "0.2") == 400
    info = ask("GET", "api/2.0/mlflow/runs/get", params={"run_id": run_id}).json()["run"]["info"]
    assert info["run_name"] == "first"


def test_old_clients_encode_twice(ask: Ask, run_id: str) -> None:
    body = json.dumps({"run_uuid": run_id, "key": "t", "value": "v"})
    assert ask("POST", "api/2.0/mlflow/runs/set-tag", body).status_code == 200


def test_what_is_deleted_is_not_active(ask: Ask) -> None:
    body = {"experiment_id": ask("POST", "api/2.0/mlflow/experiments/create", {"name": "gone"}).json()["experiment_id"]}
    assert ask("POST", "api/2.0/mlflow/experiments/delete", body).status_code == 200
    for path, more in (
        ("runs/create", {}),
        ("experiments/update", {"new_name": "other"}),
        ("experiments/set-experiment-tag", {"key": "a", "value": "b"}),
    ):
        answer = ask("POST", f"api/2.0/mlflow/{path}", body | more)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), path
        assert f"The experiment {body['experiment_id']} must be in the 'active' state" in answer.json()["message"]


def test_models_of_clients_before_3_are_noted(ask: Ask, run_id: str) -> None:
    def log(model: Any) -> requests.Response:
        body = {"run_id": run_id, "model_json": model if isinstance(model, str) else json.dumps(model)}
        return ask("POST", "api/2.0/mlflow/runs/log-model", body)

    model = {
        "artifact_path": "m",
        "run_id": run_id,
        "utc_time_created": "2026-01-01",
        "model_uuid": "1",
        "signature": {},
    }
    for path in ("m", "n"):
        flavors = {"sklearn": {"code": None, "config": {"a": 1}}, "python_function": {"env": "x"}}
        assert log({**model, "artifact_path": path, "flavors": flavors}).status_code == 200
    tags = ask("GET", "api/2.0/mlflow/runs/get", params={"run_id": run_id}).json()["run"]["data"]["tags"]
    (history,) = [json.loads(tag["value"]) for tag in tags if tag["key"] == "mlflow.log-model.history"]
    assert [noted["artifact_path"] for noted in history] == ["m", "n"]
    assert history[0]["flavors"] == {"sklearn": {"code": None}, "python_function": {"env": "x"}}
    assert "signature" not in history[0]
    for wrong, told in (
        ("{", "Malformed model info"),
        (model, "missing mandatory fields: flavors"),
        ([], "model_json"),
        ({**model, "flavors": [1]}, "model_json"),
    ):
        answer = log(wrong)
        assert answer.status_code == 400
        assert told in answer.json()["message"]
    # Whoever sets the tag to something else keeps it.
    tag = {"run_id": run_id, "key": "mlflow.log-model.history", "value": "mine"}
    assert ask("POST", "api/2.0/mlflow/runs/set-tag", tag).status_code == 200
    refused = log({**model, "flavors": {}})
    assert (refused.status_code, "holds no list" in refused.json()["message"]) == (400, True)
    # Deeper than any model is: refused, and not a failure.
    assert log({**model, "flavors": {"x": json.loads("[" * 400 + "]" * 400)}}).status_code == 400


def test_a_small_file_is_the_body_of_a_request(ask: Ask, run_id: str, tracking: Running) -> None:
    path = "ajax-api/2.0/mlflow/upload-artifact"
    headers = {"Authorization": f"Bearer {tracking.token('ann')}"}

    def post(content: bytes, kind: str = "", **query: str) -> requests.Response:
        more = {"Content-Type": kind} if kind else {}
        return requests.post(
            f"{tracking.url}/{path}", params=query, data=content, headers={**headers, **more}, timeout=30
        )

    assert post(b"hello", run_uuid=run_id, path="a/b.txt").status_code == 200
    assert ask("GET", "get-artifact", params={"run_id": run_id, "path": "a/b.txt"}).content == b"hello"
    for query, content, told in (
        ({}, b"x", "run_uuid"),
        ({"run_uuid": run_id}, b"x", "path"),
        ({"run_uuid": run_id, "path": "../x"}, b"x", "Invalid path"),
        ({"run_uuid": run_id, "path": "x"}, b"", "data"),
        ({"run_uuid": run_id, "path": "x"}, b"x" * (10 << 20) + b"x", "too large"),
    ):
        answer = post(content, **query)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
        assert told in answer.json()["message"]
    assert post(b"x", "text/plain;charset=UTF-8", run_uuid=run_id, path="y").status_code == 400
    assert post(b"x", run_uuid="0" * 32, path="y").status_code == 404
    listed = ask("GET", "api/2.0/mlflow/artifacts/list", params={"run_id": run_id}).json()["files"]
    assert [file["path"] for file in listed] == ["a"]


def test_too_many_words_are_told_of_by_whom_they_are_for(ask: Ask) -> None:
    many = {"run_id": [f"id_{number}" for number in range(1000)], "metric_key": "m"}
    answer = ask("GET", "ajax-api/2.0/mlflow/metrics/get-history-bulk", params=many)
    assert answer.status_code == 400
    assert "cannot specify more than 100 run_ids" in answer.json()["message"]


def test_what_is_not_offered_says_so(ask: Ask) -> None:
    for method, path in (
        ("POST", "graphql"),
        ("POST", "v1/traces"),
        ("POST", "api/3.0/mlflow/traces/search"),
        ("POST", "ajax-api/2.0/mlflow/runs/create-promptlab-run"),
        ("GET", "api/3.0/mlflow/scorers/list"),
    ):
        answer = ask(method, path, {} if method == "POST" else None)
        assert (answer.status_code, answer.json()["error_code"]) == (501, "NOT_IMPLEMENTED"), path
    assert ask("GET", "api/2.0/mlflow/nothing/here").json()["error_code"] == "ENDPOINT_NOT_FOUND"


def test_a_form_of_another_site_is_refused(ask: Ask, run_id: str, tracking: Running) -> None:
    answer = requests.post(
        f"{tracking.url}/api/2.0/mlflow/runs/delete",
        data=json.dumps({"run_id": run_id}),
        headers={"Authorization": f"Bearer {tracking.token('ann')}", "Content-Type": "text/plain"},
        timeout=30,
    )
    assert answer.status_code == 400
    assert ask("GET", "api/2.0/mlflow/runs/get", params={"run_id": run_id}).status_code == 200


def test_nobody_is_answered_without_a_token(tracking: Running) -> None:
    for route in (*ROUTES, *PROXIED):
        path = "mlflow-artifacts" if route in PROXIED else "mlflow"
        url = f"{tracking.url}/api/2.0/{path}/{route.path}"
        answer = requests.request(route.method, url, timeout=30)
        assert answer.status_code == 401, route.path
        assert answer.json()["error_code"] == "UNAUTHENTICATED"


def test_paths_lead_nowhere_else(ask: Ask, run_id: str) -> None:
    for path in ("../x", "a/../../x", "/etc/passwd"):
        answer = ask("GET", "api/2.0/mlflow/artifacts/list", params={"run_id": run_id, "path": path})
        assert answer.json() == {"error_code": "INVALID_PARAMETER_VALUE", "message": "Invalid path"}
        assert answer.status_code == 400
    assert ask("GET", "api/2.0/mlflow-artifacts/artifacts", params={"path": "nowhere"}).json() == {}
    assert ask("GET", "api/2.0/mlflow-artifacts/artifacts/nowhere/at/all").status_code == 404
    assert ask("PUT", "api/2.0/mlflow-artifacts/artifacts/nowhere/at/all", raw=b"x").status_code == 404
