"""The API as other programs see it: plain HTTP and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import urllib3

from jupyter_mlops.core.access import Scope
from jupyter_mlops.service.app import routes
from jupyter_mlops.service.handlers import ApiHandler
from tests.service.inprocess import Running


class Browser:
    """Plain requests with one token, or none."""

    def __init__(self, service: Running, token: str | None) -> None:
        self._url = service.url
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._pool = urllib3.PoolManager(retries=False)

    def send(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        sent = {**self._headers, **(headers or {})}
        if body is not None and not isinstance(body, bytes):
            body, sent = json.dumps(body).encode(), {"Content-Type": "application/json", **sent}
        return self._pool.request(method, f"{self._url}/{path}", body=body, headers=sent, redirect=False)

    def api(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.send(method, f"api/v1/{path}", body)
        assert answer.status < 300, answer.data
        return answer.json() if answer.data else None


@pytest.fixture
def ada(service: Running) -> Browser:
    return Browser(service, service.token("ada"))


@pytest.fixture
def run_id(ada: Browser) -> str:
    experiment = ada.api("POST", "experiments", {"name": "churn"})
    return str(ada.api("POST", "runs", {"new": {"experiment_id": experiment["experiment_id"]}})["run_id"])


def test_the_main_job_in_json(ada: Browser, run_id: str) -> None:
    metrics = [{"key": "auc", "value": value, "timestamp": 1, "step": step} for step, value in enumerate([0.5, 0.9])]
    ada.api(
        "POST", f"runs/{run_id}/log", {"batch": {"metrics": metrics, "params": [{"key": "d", "value": 3, "text": "3"}]}}
    )
    ada.api("PATCH", f"runs/{run_id}", {"change": {"status": "FINISHED"}})
    found = ada.api("POST", "search/runs", {"filter": "metrics.auc > 0.8 and params.d = '3'"})["items"]
    assert [run["run_id"] for run in found] == [run_id]
    assert found[0]["status"] == "FINISHED"
    assert ada.api("GET", f"runs/{run_id}/history?key=auc")["items"] == [[0, 1, 0.5], [1, 1, 0.9]]


def test_numbers_that_json_lacks_have_words(ada: Browser, run_id: str) -> None:
    words = ["NaN", "Infinity", "-Infinity"]
    metrics = [{"key": "m", "value": word, "timestamp": 1, "step": step} for step, word in enumerate(words)]
    ada.api("POST", f"runs/{run_id}/log", {"batch": {"metrics": metrics}})
    assert [point[2] for point in ada.api("GET", f"runs/{run_id}/history?key=m")["items"]] == words
    assert ada.api("GET", f"runs/{run_id}")["metrics"][0]["value"] == "-Infinity"


def test_they_have_them_in_metrics_of_logged_models_too_and_nowhere_else(ada: Browser, run_id: str) -> None:
    experiment = ada.api("GET", f"runs/{run_id}")["experiment_id"]
    logged = {"experiment_id": experiment, "name": "m", "run_id": run_id}
    model = ada.api("POST", "logged-models", logged)["model_id"]
    # What looks like a metric and is a parameter's own JSON.
    like_one = {"metrics": [{"key": "m", "value": "NaN"}]}
    batch = {
        "params": [{"key": "p", "value": like_one, "text": "p"}],
        "model_points": [{"model_id": model, "metric": {"key": "m", "value": "Infinity", "timestamp": 1}}],
    }
    ada.api("POST", f"runs/{run_id}/log", {"batch": batch})
    assert ada.api("GET", f"logged-models/{model}")["metrics"][0]["value"] == "Infinity"
    assert ada.api("GET", f"runs/{run_id}")["params"][0]["value"] == like_one


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "missing required field"),
        (b"{", "body cannot be read"),
        (b"[]", "Expected `object`"),
        (b'{"batch": {"metrics": [{"key": "m", "value": NaN, "timestamp": 1}]}}', "body cannot be read"),
        (b'{"batch": {"metrics": [{"key": "m", "value": 1e999, "timestamp": 1}]}}', "body cannot be read"),
        (b'{"batch": {"metrics": [{"key": "m", "value": 1, "timestamp": 1, "step": 1.5}]}}', "step"),
        (b'{"batch": {"metrics": [{"key": "m", "value": 1, "timestamp": 1, "stpe": 1}]}}', "no field 'stpe'"),
        (b'{"batch": {"metric": []}}', "no field 'metric'"),
        (b'{"batch": {}, "extra": 1}', "extra"),
        (b'{"batch": {"tags": [{"key": "a\\u0000", "value": ""}]}}', "not accepted in names"),
        (b'{"batch": ' + b"[" * 100_000, "body cannot be read"),
        (b'{"batch": {"params": [{"key": "\xff"}]}}', "body cannot be read"),
    ],
)
def test_a_bad_body_is_refused_in_a_sentence(ada: Browser, run_id: str, body: bytes, told: str) -> None:
    answer = ada.send("POST", f"api/v1/runs/{run_id}/log", body, {"Content-Type": "application/json"})
    assert answer.status == 400, answer.data
    assert told in answer.json()["message"]
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("query", "told"),
    [("", "missing required field"), ("key=a&key=b", "more than once"), ("key=a&limit=x", "limit"), ("key=a&x=1", "x")],
)
def test_a_bad_query_is_refused_in_a_sentence(ada: Browser, run_id: str, query: str, told: str) -> None:
    answer = ada.send("GET", f"api/v1/runs/{run_id}/history?{query}")
    assert answer.status == 400
    assert told in answer.json()["message"]


def test_forms_of_other_sites_are_not_read(ada: Browser) -> None:
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain"):
        answer = ada.send("POST", "api/v1/experiments", b'{"name": "churn"}', {"Content-Type": kind})
        assert answer.status == 400


def test_a_misspelt_field_of_one_of_many_points_is_found(ada: Browser) -> None:
    experiment = ada.api("POST", "experiments", {"name": "many"})["experiment_id"]
    run = ada.api("POST", "runs", {"new": {"experiment_id": experiment}})["run_id"]
    points = [{"key": "m", "value": step / 2, "timestamp": 1, "step": step} for step in range(5000)]
    points[57]["stpe"] = points[57].pop("step")
    refused = ada.send("POST", f"api/v1/runs/{run}/log", {"batch": {"metrics": points}})
    assert refused.status == 400
    assert "no field 'stpe' - at `$.batch.metrics[57]`" in refused.json()["message"]
    points[57]["step"] = points[57].pop("stpe")
    points[58]["value"] = "NaN"
    ada.api("POST", f"runs/{run}/log", {"batch": {"metrics": points}})
    history = ada.api("GET", f"runs/{run}/history?key=m")["items"]
    assert [value for _, _, value in history] == [point["value"] for point in points]


def test_who_is_unknown_is_told_so_and_nothing_else(service: Running) -> None:
    for token in (None, "mlops_guessed"):
        stranger = Browser(service, token)
        answer = stranger.send("GET", "api/v1/runs/active")
        assert answer.status == 401
        assert answer.json()["error_code"] == "UNAUTHENTICATED"
        assert stranger.send("GET", "health").status == 200
        assert stranger.send("GET", "ready").status == 200
        assert stranger.send("GET", "metrics").status == 401


def test_a_token_does_no_more_than_its_scope(service: Running, ada: Browser, run_id: str) -> None:
    reader = Browser(service, service.token("ada", scope="read"))
    assert reader.send("GET", f"api/v1/runs/{run_id}").status == 200
    for method, path, body in (
        ("POST", "experiments", {"name": "x"}),
        ("DELETE", f"runs/{run_id}", None),
        ("POST", "gc", {}),
    ):
        assert reader.send(method, f"api/v1/{path}", body).status == 403
    assert ada.send("POST", "api/v1/gc", {}).status == 403


def test_unknown_urls_and_methods(ada: Browser) -> None:
    assert ada.send("GET", "api/v1/nothing").json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    assert ada.send("GET", "api/v1/nothing").status == 404
    answer = ada.send("PUT", "api/v1/experiments", {})
    assert answer.status == 405
    assert answer.json()["message"] == "this URL is for POST, not for 'PUT'"
    assert answer.headers["Allow"] == "POST"
    assert ada.send("TRACE", "api/v1/runs/x/content").headers["Allow"] == "GET, HEAD, PUT"


def test_every_route_declares_what_it_needs() -> None:
    class Nobody:
        handler_class = object

    class Empty:
        identity = Nobody()

    for pattern, handler, arguments in routes(Empty(), "/"):  # type: ignore[arg-type]
        assert issubclass(handler, ApiHandler), pattern
        methods = {name for name in ("get", "put", "post", "patch", "delete") if name in dir_of(handler)}
        operations = arguments.get("operations", {}) | arguments.get("routes", {})
        declared = dict(handler.scopes) or {method: each.scope for method, each in operations.items()}
        if handler.__name__ in ("UnknownHandler", "OtherHandler"):
            assert not methods
        elif not operations:
            assert {method.upper() for method in methods} == set(declared), pattern
        assert all(isinstance(scope, Scope) for scope in declared.values())
        public = {method for method, scope in declared.items() if scope is Scope.NONE}
        open_to_all = ("HealthHandler", "ReadyHandler", "DescriptionHandler", "InfoHandler", "VersionHandler")
        assert not public or handler.__name__ in open_to_all, pattern


def dir_of(handler: type) -> set[str]:
    """What the handler's own classes define."""
    return {name for cls in handler.__mro__ if cls.__module__.startswith("jupyter_mlops") for name in vars(cls)}


def test_prometheus_is_told_how_the_service_does(service: Running, ada: Browser, run_id: str) -> None:
    text = Browser(service, service.token("prometheus", scope="read")).send("GET", "metrics").data.decode()
    assert 'mlops_requests_total{operation="runs.create",status="200"} 1.0' in text
    assert "mlops_committed_calls_total 1.0" in text
