"""What an administrator watches the service by: its metrics, the dashboard over them, and the ids of requests."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.engine import make_url

from jupyter_mlops.core.errors import NotFound, Unavailable
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.server.spoolmetrics import SpoolMetrics
from jupyter_mlops.service.requestlog import CURRENT, DETAIL, JsonFormatter
from jupyter_mlops.tracker.remote import RemoteTracker
from tests import postgres
from tests.hub.standalone import started, token
from tests.ports import free_ports
from tests.service.inprocess import Running, running
from tests.service.test_api import Browser
from tests.waiting import until

DASHBOARD = Path(__file__).parents[2] / "etc/grafana/jupyter-mlops.json"
PAGE = Path(__file__).parents[2] / "docs/monitoring.md"
_METRIC = re.compile(r"\bmlops_\w+")


def samples(text: str) -> dict[str, list[dict[str, str]]]:
    """The labels of each sample, by its name."""
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(dict(sample.labels))
    return found


def scraped(service: Running, *, scope: str = "admin", groups: tuple[str, ...] = ()) -> str:
    return Browser(service, service.token("prometheus", *groups, scope=scope)).send("GET", "metrics").data.decode()


def spool_samples() -> dict[str, list[dict[str, str]]]:
    return {sample.name: [sample.labels] for family in SpoolMetrics().collect() for sample in family.samples}


@pytest.fixture
def watched(service: Running, tmp_path: Path) -> Running:
    """A service over what a member of the group red and somebody else stored."""
    for user, groups in (("ada", ("red",)), ("bob", ())):
        with RemoteTracker(service.url, service.token(user, *groups)) as tracker:
            run = tracker.runs.create(NewRun(experiment_id=tracker.experiments.create("churn").experiment_id))
            (tmp_path / "file").write_bytes(b"x" * 1000 + user.encode())
            tracker.artifacts.put(run.run_id, "a", tmp_path / "file")
    return service


def test_the_dashboard_shows_what_there_is(watched: Running) -> None:
    there = samples(scraped(watched)) | spool_samples()
    dashboard = json.loads(DASHBOARD.read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"]) > 10
    for expression in asked:
        names = _METRIC.findall(expression)
        assert names, expression
        assert [name for name in names if name not in there] == [], expression
        labels = {label for name in names for each in there[name] for label in each} | {"job", "instance", "le"}
        grouped = re.findall(r"by \(([^)]*)\)", expression) + re.findall(r"(\w+)=~", expression)
        assert {word.strip() for group in grouped for word in group.split(",")} <= labels, expression


def test_each_metric_is_on_the_page(watched: Running) -> None:
    page = PAGE.read_text()
    names = {family.name for family in text_string_to_metric_families(scraped(watched))}
    # The client library's own, of when each counter began.
    names = {name for name in names if not name.endswith("_created")} | {"mlops_spool_bytes"}
    documented = set(re.findall(r"^\| `(mlops_\w+)`", page, re.MULTILINE))
    assert {name.removesuffix("_total") for name in documented} == names


def test_storage_is_told_to_those_who_may_see_whose_it_is(watched: Running) -> None:
    told = scraped(watched)
    assert 'mlops_stored_bytes{owner="group:red"} 1003.0' in told
    assert 'mlops_stored_bytes{owner="users"} 1003.0' in told
    assert "mlops_stored_bytes{" not in scraped(watched, scope="read")
    member = scraped(watched, scope="read", groups=("red",))
    assert 'owner="group:red"' in member
    assert 'owner="users"' not in member


def test_a_commit_is_counted_by_its_calls(service: Running) -> None:
    with RemoteTracker(service.url, service.token("ada")) as tracker:
        run = tracker.runs.create(NewRun(experiment_id=tracker.experiments.create("churn").experiment_id))
        tracker.runs.heartbeat(run.run_id)
    told = scraped(service)
    calls = float(re.search(r"^mlops_commit_calls_sum (\S+)$", told, re.MULTILINE)[1])  # type: ignore[index]
    commits = float(re.search(r'^mlops_commit_calls_bucket\{le="\+Inf"\} (\S+)$', told, re.MULTILINE)[1])  # type: ignore[index]
    assert calls >= commits >= 1
    assert f"mlops_committed_calls_total {calls}" in told
    assert 'mlops_active_runs{status="RUNNING"} 1.0' in told


# --- ids of requests -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["0190f8c2a1b34c5d8e9f001122334455", "req-1.2_3"])
def test_a_caller_may_say_the_id(service: Running, given: str) -> None:
    answer = Browser(service, service.token("ada")).send("GET", "api/v1/runs/none", headers={"X-Request-Id": given})
    assert answer.headers["X-Request-Id"] == answer.json()["request_id"] == given


@pytest.mark.parametrize("given", ["short", "x" * 65, "with space 123", "a\tb-c-d-e-f", "-starts-badly", "äöüäöüäöü"])
def test_what_is_no_id_is_replaced(service: Running, given: str) -> None:
    headers = {"X-Request-Id": given.encode().decode("latin-1")}
    answer = Browser(service, service.token("ada")).send("GET", "api/v1/runs/none", headers=headers)
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-Id"])
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]


def test_errors_name_the_request_that_the_log_tells_of(service: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "jupyter_mlops.service")
    with RemoteTracker(service.url, service.token("ada")) as tracker, pytest.raises(NotFound) as caught:
        tracker.runs.get("0" * 32)
    told = caught.value.request_id
    assert str(caught.value) == f"{caught.value.message} (request id: {told})"

    def lines() -> list[logging.LogRecord]:
        return [each for each in caplog.records if getattr(each, DETAIL, {}).get("request_id") == told]

    # It is written when the answer was sent.
    (line,) = until(lines, "a line about the request")
    written = json.loads(JsonFormatter().format(line))
    assert (written["status"], written["operation"], written["user"]) == (404, "runs.get", "ada")
    assert written["path"] == f"/api/v1/runs/{'0' * 32}"


def test_callers_learn_nothing_of_the_database_that_is_away(
    postgres_server: postgres.Server, postgres_store_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = make_url(postgres_store_url)
    with running(postgres_store_url, tmp_path / "artifacts", tmp_path) as service:
        stranger, ada = Browser(service, None), Browser(service, service.token("ada"))
        new = {"new": {"experiment_id": new_id()}}
        postgres_server.allow_connections(postgres_store_url, False)
        answers = [
            stranger.send("GET", "ready"),
            ada.send("GET", "api/v1/runs/active"),
            ada.send("POST", "api/v1/runs", new),
            ada.send("GET", "api/2.0/mlflow/experiments/search"),
        ]
        postgres_server.allow_connections(postgres_store_url, True)
    for answer in answers:
        assert answer.status == 503
        assert answer.json()["message"] == "the store does not answer; try again", answer.data
        assert str(place.database) not in answer.data.decode()
    # The log, which is for whoever runs it, tells more.
    assert str(place.database) in caplog.text


def test_an_id_is_known_where_nothing_answers() -> None:
    with RemoteTracker(f"http://127.0.0.1:{free_ports(1)[0]}", "t") as tracker, pytest.raises(Unavailable) as caught:
        tracker.runs.get("0" * 32)
    assert re.fullmatch(r"[0-9a-f]{32}", caught.value.request_id)


def test_mlflows_clients_are_told_it_too(service: Running) -> None:
    path, given = "api/2.0/mlflow/runs/get?run_id=none", "0195a0c1-mlflow"
    answer = Browser(service, service.token("ada")).send("GET", path, headers={"X-Request-Id": given})
    assert (answer.status, answer.headers["X-Request-Id"]) == (404, given)


def test_a_line_of_the_log_is_one_object() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("jupyter_mlops.store", logging.ERROR, __file__, 1, "it %s", ("fai\nled",), info)
    before = CURRENT.set("req-12345")
    try:
        line = JsonFormatter().format(record)
    finally:
        CURRENT.reset(before)
    assert "\n" not in line
    written = json.loads(line)
    assert (written["message"], written["request_id"], written["level"]) == ("it fai\nled", "req-12345", "ERROR")
    assert written["traceback"].endswith("second")


@pytest.mark.slow
def test_a_service_that_is_told_so_logs_in_json(sqlite_url: str, tmp_path: Path) -> None:
    credential = token(tmp_path, "ann")
    with started(tmp_path, "--db", sqlite_url, "--tokens", "tokens.json", "--log-json") as running:
        with RemoteTracker(running.url, credential) as tracker, pytest.raises(NotFound) as caught:
            tracker.runs.get("0" * 32)

        def lines() -> list[dict[str, object]]:
            return [json.loads(line) for line in (tmp_path / "service.log").read_text().splitlines()]

        until(lambda: any(line.get("request_id") == caught.value.request_id for line in lines()), "a line about it")
        (line,) = [line for line in lines() if line.get("request_id") == caught.value.request_id]
    assert (line["level"], line["status"], line["user"]) == ("INFO", 404, "ann")
