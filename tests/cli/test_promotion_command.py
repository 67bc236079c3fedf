from __future__ import annotations

import getpass
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_up_team import Mlops

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.pages import ServicePage
from jupyter_mlops.core.records import Batch, Metric, NewRun
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.protocol import Tracker


def document(text: str) -> Any:
    return json.loads(text)


@pytest.fixture
def ada(home: Path) -> Iterator[Tracker]:
    """A member of the group red, whose ``churn`` has three versions; the command line is an administrator's."""
    with connect(principal=Principal("ada", frozenset({"red"}))) as tracker:
        for number in range(3):
            experiment = tracker.experiments.ensure("training")
            run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))
            tracker.artifacts.put(run.run_id, "m/MLmodel", io.BytesIO(b"flavors: {python_function: {}}"))
            tracker.artifacts.put(run.run_id, "m/weights", io.BytesIO(str(number).encode()))
            tracker.models.register("churn", run.run_id, "m")
        yield tracker


@pytest.fixture
def unchecked(mlops: Mlops, ada: Tracker, tmp_path: Path) -> Tracker:
    (tmp_path / "policy.yaml").write_text("checks: []")
    mlops("policy", "set", "--group", "red", "--file", "policy.yaml", "--reason", "no worker here")
    return ada


def test_a_request_is_asked_read_approved_and_rolled_back(mlops: Mlops, unchecked: Tracker) -> None:
    for version in ("1", "2"):
        request = unchecked.promotions.request("churn", int(version), reason="better")
        listed = mlops("requests", "list").stdout
        assert request.request_id[:12] in listed
        assert "1 more must approve" in listed
        shown = mlops("requests", "show", request.request_id[:12]).stdout
        assert "asked by" in shown
        assert f"version {version}" in shown
        assert f"churn@production is version {version} now" in mlops("requests", "approve", request.request_id).stdout
    unchecked.models.consume("churn", 2, reference="@production", purpose="nightly scoring")
    unchecked.models.consume("churn", 2, reference="@next")
    back = mlops("requests", "rollback", "churn", "production", "--reason", "broken", "--yes")
    assert "churn@production is loaded by ada (nightly scoring)." in back.stderr
    assert "churn@production is version 1 now; it was version 2." in back.stdout
    assert (
        "no version before"
        in mlops(*("requests", "rollback", "churn", "production", "--reason", "x", "--yes"), code=1).stderr
    )
    history = mlops("models", "history", "churn", "production").stdout
    assert "rollback of" in history
    report = mlops("models", "history", "churn", "--report").stdout
    assert "## production: version 2" in report
    assert "approved" in report
    periods = document(mlops("models", "history", "churn", "--json").stdout)
    assert [period["move"]["version"] for period in periods] == [1, 2, 1]
    assert document(mlops("models", "history", "churn", "--at", "2020-01-01", "--json").stdout) == []
    assert "pointed at nothing then" in mlops("models", "history", "churn", "production", "--at", "2020-01-01").stderr
    assert "is no time" in mlops("models", "history", "churn", "--at", "noon", code=2).stderr


def test_what_is_said_of_a_request(mlops: Mlops, unchecked: Tracker) -> None:
    request = unchecked.promotions.request("churn", 1).request_id
    mlops("requests", "comment", request, "hm @bo")
    assert "asks for changes: say why" in mlops("requests", "changes", request, "--reason", "say why").stdout
    assert "1 more must approve" in mlops("requests", "refresh", request).stdout
    assert "is rejected" in mlops("requests", "reject", request, "--reason", "no").stdout
    assert "No open requests" in mlops("requests", "list").stderr
    assert "no request's id begins" in mlops("requests", "show", "zzz", code=2).stderr
    other = unchecked.promotions.request("churn", 2).request_id
    assert "is withdrawn" in mlops("requests", "withdraw", other).stdout
    assert len(document(mlops("requests", "list", "--all", "--json").stdout)) == 2


def test_what_waits_is_shown(mlops: Mlops, unchecked: Tracker) -> None:
    assert "Nothing waits for you" in mlops("requests", "waiting").stderr
    request = unchecked.promotions.request("churn", 1).request_id
    me = getpass.getuser()
    unchecked.promotions.comment(request, f"@{me} how does it look?")
    shown = mlops("requests", "waiting").stdout
    assert "1 more must approve" in shown
    assert f"{request[:12]} churn@production, ada mentions you: @{me} how does it look?" in shown
    found = document(mlops("requests", "waiting", "--json").stdout)
    assert [each["request_id"] for each in found["decide"]] == [request]
    mlops("requests", "approve", request)
    assert "Nothing waits for you" in mlops("requests", "waiting").stderr


def test_what_one_found_out_oneself_is_shown_as_that(mlops: Mlops, ada: Tracker, tmp_path: Path) -> None:
    run_id = ada.models.version("churn", 2).run_id
    assert run_id is not None
    ada.runs.log(run_id, Batch(metrics=(Metric("auc", 0.9, 1),)))
    (tmp_path / "policy.yaml").write_text("checks: [provenance, {metric: {metric: auc, at_least: 0.8}}]")
    mlops("policy", "set", "--group", "red", "--file", "policy.yaml", "--reason", "measured")
    request = ada.promotions.request("churn", 2).request_id
    done = mlops("requests", "check", request, "--check", "metric")
    assert done.stdout.startswith("metric: passed, ")
    assert "Self-reported" in done.stderr
    assert [each["verdict"] for each in document(mlops("requests", "check", request, "--json", code=1).stdout)] == [
        *("failed", "passed")
    ]
    assert "has no check 'loads' to pass" in mlops("requests", "check", request, "-c", "loads", code=2).stderr
    (tmp_path / "log.txt").write_text("slices: 12")
    words = ("requests", "report", request[:12], "fairness", "--summary", "even", "--log", "log.txt")
    assert "Give --passed" in mlops(*words, code=2).stderr
    assert "fairness: passed, even" in mlops(*words, "--passed").stdout
    shown = mlops("requests", "show", request).stdout
    assert f"check fairness: passed, even (self-reported by {getpass.getuser()})" in shown
    assert "missing: the check 'metric' is not done yet" in shown
    (log,) = [
        each.result.log for each in ada.promotions.get(request).checks if each.rule.name == "fairness" and each.result
    ]
    assert log == "slices: 12"
    # What a worker finds out counts.
    mlops("worker", "--once")
    shown = mlops("requests", "show", request).stdout
    assert "missing: the check 'metric'" not in shown
    mlops("requests", "withdraw", request)
    assert "nothing to check any more" in mlops("requests", "check", request, code=1).stderr


def test_promote_asks_or_moves(mlops: Mlops, unchecked: Tracker) -> None:
    asked = mlops("promote", "churn", "latest", "--reason", "better")
    assert "is open" in asked.stdout
    assert "churn@next is version 3 now." in mlops("promote", "churn", "3", "--alias", "next").stdout
    assert "protected" in mlops("models", "alias", "churn", "production", "3", code=1).stderr


def test_an_override(mlops: Mlops, unchecked: Tracker) -> None:
    words = ("requests", "override", "churn", "production")
    assert "version 3 now" in mlops(*words, "3", "--reason", "outage", "--yes").stdout
    assert "is gone; it was version 3" in mlops(*words, "--remove", "--reason", "outage", "--yes").stdout
    mlops(*words, "--reason", "x", "--yes", code=2)
    mlops(*words, "1", "--reason", "x", code=1)


def test_policies(mlops: Mlops, ada: Tracker, tmp_path: Path) -> None:
    shown = mlops("policy", "show", "churn")
    assert "the default, since none was set for group:red" in shown.stderr
    (tmp_path / "same.yaml").write_text(shown.stdout)
    assert mlops("policy", "check", "same.yaml").stdout == shown.stdout
    (tmp_path / "bad.yaml").write_text("approvals: 0\n")
    assert "line 1: approvals: 0 is out of range" in mlops("policy", "check", "bad.yaml", code=2).stderr
    (tmp_path / "two.yaml").write_text("approvals: 2\nchecks: [fairness]\n")
    assert "'fairness' does not come with" in mlops("policy", "check", "two.yaml").stderr
    assert "the model's own" in mlops("policy", "set", "churn", "-f", "two.yaml", "--reason", "careful").stderr
    assert "fairness" in mlops("policy", "history", "churn").stdout
    assert "the default" in mlops("policy", "set", "churn", "--remove").stderr
    mlops("policy", "set", "churn", code=2)
    mlops("policy", "show", code=2)


def test_who_has_no_token_for_deciding_is_told_where(mlops: Mlops, unchecked: Tracker, tmp_path: Path) -> None:
    from tests.service.inprocess import running

    request = unchecked.promotions.request("churn", 1).request_id
    store = unchecked.url
    page = ServicePage(url="https://hub.example/services/mlops/", protected=True)
    with running(store, tmp_path / "home" / "artifacts", tmp_path, page=page) as service:
        token = service.token_of(Principal("bo", frozenset({"red"}), Scope.PROMOTE, decides=False))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLOPS_TRACKING_TOKEN", token)
            refused = mlops("--url", service.url, "requests", "approve", request, code=1)
            shown = mlops("--url", service.url, "requests", "show", request)
            asked = mlops("--url", service.url, "promote", "churn", "2", "--alias", "champion")
    assert refused.stderr.rstrip().endswith(f": {page.of_request(request)}")
    assert page.of_request(request) in shown.stdout
    assert asked.stdout.splitlines()[-1].startswith("https://hub.example/services/mlops/requests/")
