"""Who asks too often is told when to ask again, and what asks by our client is answered then."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import urllib3

from jupyter_mlops.core.errors import QuotaExceeded, TooLarge, TooManyRequests
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.service import rates
from jupyter_mlops.service.rates import BURST_SECONDS, Rates
from jupyter_mlops.tracker.remote import RemoteTracker
from jupyter_mlops.tracker.remote import client as remote
from jupyter_mlops.tracker.replay import is_refusal
from tests.service.inprocess import running


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def allowed(rates: Rates, caller: str, most: int = 1000) -> int:
    """How many requests in a row are answered."""
    return next((count for count in range(most) if rates.wait(caller)), most)


def test_a_caller_gets_what_time_is_worth() -> None:
    clock = Clock()
    rates = Rates(5.0, clock)
    assert allowed(rates, "ada") == 5 * BURST_SECONDS
    assert rates.wait("ada") == pytest.approx(0.2)
    assert allowed(rates, "bo") == 5 * BURST_SECONDS
    clock.now += 0.1
    assert rates.wait("ada") == pytest.approx(0.1)
    clock.now += 0.1
    assert rates.wait("ada") == 0
    clock.now += 2
    assert allowed(rates, "ada") == 10
    clock.now += 3600
    assert allowed(rates, "ada") == 5 * BURST_SECONDS


def test_a_rate_below_one_a_second_lets_something_through() -> None:
    clock = Clock()
    rates = Rates(0.01, clock)
    assert (rates.wait("ada"), rates.wait("ada")) == (0, pytest.approx(100))
    clock.now += 100
    assert rates.wait("ada") == 0


def test_no_rate_is_no_limit() -> None:
    assert allowed(Rates(0.0, Clock()), "ada") == 1000


def test_callers_of_whom_nothing_is_to_be_known_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_MOST_CALLERS", 10)
    clock = Clock()
    limited = Rates(1.0, clock)
    allowed(limited, "ada")
    for number in range(100):
        limited.wait(str(number))
        clock.now += 0.5
    assert len(limited._buckets) <= 10


def test_who_asks_too_often_is_told_when_to_ask_again(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(sqlite_url, tmp_path / "artifacts", tmp_path, requests_per_second=2.0) as service:
        token = service.token("ada")
        pool, headers = urllib3.PoolManager(retries=False), {"Authorization": f"token {token}"}
        with RemoteTracker(service.url, token) as ada, RemoteTracker(service.url, service.token("bo")) as bo:
            experiment = ada.experiments.create("churn")
            url = f"{service.url}/api/v1/experiments/{experiment.experiment_id}"
            answers = [pool.request("GET", url, headers=headers) for _ in range(40)]
            refused = answers[-1]
            assert [answer.status for answer in answers[:19]] == [200] * 19
            assert (refused.status, refused.json()["error_code"]) == (429, "REQUEST_LIMIT_EXCEEDED")
            assert refused.json()["message"].startswith("'ada' asks more than 2 times a second: ask again after")
            assert refused.headers["Retry-After"] == "1"
            spoken = pool.request(
                "GET", f"{service.url}/api/2.0/mlflow/experiments/get?experiment_id=0", headers=headers
            )
            assert (spoken.status, spoken.json()["error_code"]) == (429, "REQUEST_LIMIT_EXCEEDED")
            # Those who asked little are not held up, nor what is not asked for by anybody.
            assert bo.experiments.ensure("mine").owner == "bo"
            assert pool.request("GET", f"{service.url}/health").status == 200
            # A write that is no part of a stream is sent again too: it was refused before anything was done.
            began = time.monotonic()
            made = [ada.runs.create(NewRun(experiment_id=experiment.experiment_id)) for _ in range(3)]
            assert time.monotonic() - began > 0.4
            assert {run.run_id for run in ada.runs.search([experiment.experiment_id]).items} == {
                run.run_id for run in made
            }
            monkeypatch.setattr(remote, "PATIENCE_SECONDS", 0.0)

            def ask_and_ask() -> None:
                for _ in range(20):
                    ada.runs.active()

            with pytest.raises(TooManyRequests, match="asks more than 2 times"):
                ask_and_ask()


@pytest.mark.parametrize(
    ("error", "refusal"),
    [(TooManyRequests("x"), False), (QuotaExceeded("x"), False), (TooLarge("x"), True)],
    ids=lambda value: type(value).__name__,
)
def test_what_comes_too_soon_or_finds_no_room_stays_in_the_spool(error: TooManyRequests, refusal: bool) -> None:
    assert is_refusal(error) is refusal
