"""What nobody means well: each route by bodies and queries made to break it, and values that are easily changed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
import requests
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient

from jupyter_mlops.service.mlflow.handler import Route
from jupyter_mlops.service.mlflow.table import PROXIED, ROUTES
from tests.service.inprocess import Running

Ask = Callable[..., requests.Response]

QUICKLY = settings(
    max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)
THOROUGHLY = settings(QUICKLY, max_examples=60)

TEXTS = (
    *(
        "",
        " ",
        "x",
        "0",
        "-1",
        "1",
        "NaN",
        "1e400",
        "9223372036854775808",
        "true",
        "null",
        "{}",
        "²",
        "1_0",
        "%",
        "%00",
    ),
    *("\0", "\ud800", "💥", "\u202e", "a" * 251, "a" * 9000, "..", "../..", "a/../b", "//", "C:\\x", "red/churn"),
    *("models:/x/1", "models:/m-x", "runs:/x/y", "mlflow-artifacts:/x", "file:///etc", "s3://b/k", "http://[::1"),
    *("a = 'b'", "params.a = '", "metrics.a > 1e999", "tags.`\0` = 'x'", "run_id IN ()", "name ILIKE '\\'", "a DESC"),
    *("mlflow.runName", "mlflow.parentRunId", "mlflow.log-model.history", "password", "Production", "FINISHED"),
)
NUMBERS = (0, -1, 2, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**400, 1.5, -0.0, 1e308, 5e-324)
RAW = (b"", b"{", b"null", b"1", b'"x"', b'"{"', b"[]", b"\xff", b'{"a": NaN}', b'"\\ud800"')
DEEP = (b"[" * 5000, b'{"a":' * 5000, b'{"tags":' + b"[" * 5000)


@pytest.fixture
def ask(tracking: Running) -> Ask:
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {tracking.token('ann')}"

    def ask(method: str, path: str, body: bytes | None = None, **more: Any) -> requests.Response:
        # What is refused before it has come whole ends its connection.
        headers = {"Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return session.request(method, f"{tracking.url}/{path}", data=body, headers=headers, timeout=30, **more)

    return ask


@pytest.fixture
def known(client: MlflowClient) -> dict[str, str]:
    """What there is, by the fields that name it."""
    run = client.create_run(client.create_experiment("known"))
    client.log_param(run.info.run_id, "a", "1")
    client.log_metric(run.info.run_id, "a", 1.0)
    client.create_registered_model("known")
    client.create_model_version("known", "s3://bucket/model")
    model = client.create_logged_model(run.info.experiment_id, "m", source_run_id=run.info.run_id)
    return {
        "run_id": run.info.run_id,
        "run_uuid": run.info.run_id,
        "experiment_id": run.info.experiment_id,
        "model_id": model.model_id,
        "name": "known",
        "version": "1",
    }


def anything(kind: msgspec.inspect.Type) -> st.SearchStrategy[Any]:
    """Values for a field: of its kind, but hostile, or of another kind."""
    inner: st.SearchStrategy[Any] = st.nothing()
    if isinstance(kind, msgspec.inspect.StructType):
        inner = st.fixed_dictionaries({}, optional={field.encode_name: anything(field.type) for field in kind.fields})
    elif isinstance(kind, msgspec.inspect.VarTupleType):
        inner = st.lists(anything(kind.item_type), max_size=3)
    elif isinstance(kind, msgspec.inspect.UnionType):
        inner = st.one_of([anything(each) for each in kind.types])
    return inner | st.sampled_from(TEXTS) | st.sampled_from(NUMBERS) | st.none() | st.just([]) | st.just({})


def path_of(route: Route, known: dict[str, str]) -> str:
    root = "api/2.0/mlflow-artifacts/" if route in PROXIED else "api/2.0/mlflow/"
    return root + route.path.replace("{model_id}", known["model_id"]).replace("{tag_key}", "%00")


def require_told(answer: requests.Response, sent: object) -> None:
    """That it went well, or is refused in MLflow's form."""
    assert answer.status_code < 500, (sent, answer.text)
    if answer.status_code >= 400:
        told = answer.headers.get("Content-Type"), answer.text
        assert told[0] == "application/json", (sent, answer.status_code, told)
        assert set(answer.json()) == {"error_code", "message"}, (sent, told)


@pytest.mark.parametrize("route", [*ROUTES, *PROXIED], ids=lambda route: f"{route.method} {route.path}")
def test_no_message_makes_the_service_fail(ask: Ask, known: dict[str, str], route: Route) -> None:
    fields = msgspec.inspect.type_info(route.message).fields  # type: ignore[attr-defined]
    values = {field.encode_name: anything(field.type) | st.just(known.get(field.encode_name, "x")) for field in fields}

    @QUICKLY
    @given(message=st.fixed_dictionaries({}, optional=values))
    @example(message={name: known.get(name, "x") for name in values})
    def check(message: dict[str, Any]) -> None:
        if route.method == "GET":
            query = [
                (name, (each if isinstance(each, str) else json.dumps(each)).encode(errors="surrogatepass"))
                for name, value in message.items()
                for each in (value if isinstance(value, list) else [value])
            ]
            require_told(ask("GET", path_of(route, known), params=query), query)
        else:
            require_told(ask(route.method, path_of(route, known), json.dumps(message).encode()), message)

    check()


def test_what_is_too_long_is_not_repeated(ask: Ask, known: dict[str, str]) -> None:
    long = "x" * 100_000
    of_run = {"experiment_id": long, "source_run_id": known["run_id"], "name": "m"}
    for answer in (
        ask("GET", "api/2.0/mlflow/registered-models/alias", params={"name": "known", "alias": long[:9000]}),
        ask("DELETE", "api/2.0/mlflow/registered-models/alias", json.dumps({"name": "known", "alias": long}).encode()),
        ask("POST", "api/2.0/mlflow/logged-models", json.dumps(of_run).encode()),
    ):
        require_told(answer, "")
        assert len(answer.json()["message"]) < 1000


def test_no_bytes_make_the_service_fail(ask: Ask, known: dict[str, str]) -> None:
    for route in (*ROUTES, *PROXIED):
        for raw in (*RAW, *DEEP):
            require_told(ask(route.method, path_of(route, known), raw), (route.path, raw[:20]))


def test_no_path_makes_the_service_fail(ask: Ask, known: dict[str, str]) -> None:
    run = f"{known['experiment_id']}/{known['run_id']}/artifacts"
    roots = (run, f"{known['experiment_id']}/models/{known['model_id']}/artifacts", "registered-models/known/1", "x")
    for text in TEXTS:
        # Of dots alone, the client would make another path.
        path = quote(text.encode(errors="surrogatepass"), safe="") + "_"
        for root in roots:
            for method, body in (("GET", None), ("PUT", b"x"), ("DELETE", None)):
                require_told(ask(method, f"api/2.0/mlflow-artifacts/artifacts/{root}/{path}", body), (method, text))
        for action in ("create", "complete", "abort"):
            message = {"path": text, "num_parts": 1, "upload_id": text, "parts": [{"part_number": 1, "etag": text}]}
            sent = json.dumps(message).encode()
            require_told(ask("POST", f"api/2.0/mlflow-artifacts/mpu/{action}/{run}/{path}", sent), (action, text))
        named = {"name": "known", "version": "1", "run_id": known["run_id"], "path": text.encode(errors="ignore")}
        for place in ("get-artifact", "model-versions/get-artifact"):
            require_told(ask("GET", place, params=named), (place, text))


def test_texts_are_kept_exactly_or_refused(ask: Ask, known: dict[str, str]) -> None:
    def get() -> dict[str, Any]:
        answer = ask("GET", "api/2.0/mlflow/runs/get", params={"run_id": known["run_id"]}).json()
        found: dict[str, Any] = answer["run"]["data"]
        return found

    @THOROUGHLY
    @given(key=st.text(max_size=20), value=st.text(max_size=60))
    @example(key="lr", value="1e400")
    @example(key="lr ", value=" 0.10 ")
    @example(key="e\u0301", value="\u00e9")
    def check(key: str, value: str) -> None:
        body = json.dumps({"run_id": known["run_id"], "key": key, "value": value}).encode()
        for route, list_name in (("set-tag", "tags"), ("log-parameter", "params")):
            before = get().get(list_name, [])
            answer = ask("POST", f"api/2.0/mlflow/runs/{route}", body)
            after = get().get(list_name, [])
            if answer.status_code == 200:
                assert {"key": key, "value": value} in after
            else:
                assert after == before, "what is refused changes nothing"

    check()


def test_numbers_are_kept_exactly_or_refused(ask: Ask, known: dict[str, str]) -> None:
    integers = st.integers(-(2**64), 2**64)

    @THOROUGHLY
    @given(value=st.floats(), step=integers, timestamp=integers)
    @example(value=-0.0, step=-(2**63), timestamp=2**53 + 1)
    @example(value=math.nan, step=2**63 - 1, timestamp=0)
    @example(value=5e-324, step=2**63, timestamp=1)
    def check(value: float, step: int, timestamp: int) -> None:
        def history() -> list[tuple[str, str, str]]:
            asked = {"run_id": known["run_id"], "metric_key": "m"}
            found = ask("GET", "api/2.0/mlflow/metrics/get-history", params=asked).json().get("metrics", [])
            return [(repr(point["value"]), repr(point["step"]), repr(point["timestamp"])) for point in found]

        before = history()
        told = value if math.isfinite(value) else {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
        point = {"key": "m", "value": told, "step": step, "timestamp": timestamp}
        answer = ask(
            "POST", "api/2.0/mlflow/runs/log-metric", json.dumps({"run_id": known["run_id"], **point}).encode()
        )
        if answer.status_code == 200:
            assert (repr(told), repr(step), repr(timestamp)) in history()
        else:
            assert history() == before

    check()


def test_files_of_what_is_kept_elsewhere_are_not_here(ask: Ask, known: dict[str, str]) -> None:
    answer = ask("GET", "model-versions/get-artifact", params={"name": "known", "version": "1", "path": "MLmodel"})
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert "s3://bucket/model" in answer.json()["message"]
