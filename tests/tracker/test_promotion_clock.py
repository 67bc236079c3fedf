"""A request lives as long as it was given, whatever the clock does."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.checks import LEASE_SECONDS, CheckResult, Verdict
from jupyter_mlops.core.errors import Conflict
from jupyter_mlops.core.policy import DAY_MS, Policy
from jupyter_mlops.core.promotion import PromotionState
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.store.database import Database
from jupyter_mlops.tracker.embedded import EmbeddedTracker, OpenStore

RED = frozenset({"red"})


class House:
    """A group's model with two versions, and a clock that stands."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.now = 1_700_000_000_000
        store = OpenStore(database, str(folder), lambda: self.now)
        self.boss = EmbeddedTracker(store, Principal("boss", scope=Scope.ADMIN))
        self.ada = self.boss.acting_for(Principal("ada", RED))
        self.bo = self.boss.acting_for(Principal("bo", RED, Scope.PROMOTE))
        for number in range(2):
            experiment = self.ada.experiments.ensure("training")
            run = self.ada.runs.create(NewRun(experiment_id=experiment.experiment_id))
            self.ada.artifacts.put(run.run_id, "m/MLmodel", io.BytesIO(b"flavors: {python_function: {}}"))
            self.ada.artifacts.put(run.run_id, "m/weights", io.BytesIO(str(number).encode()))
            self.ada.models.register("churn", run.run_id, "m")


@pytest.fixture
def house(database: Database, tmp_path: Path) -> House:
    return House(database, tmp_path)


def test_a_clock_that_is_set_back_revives_nothing(house: House) -> None:
    house.boss.policies.set(Policy(checks=(), lifetime_days=2), owner="group:red")
    request = house.ada.promotions.request("churn", 1)
    house.now += 2 * DAY_MS - 1
    assert house.ada.promotions.get(request.request_id).state is PromotionState.OPEN
    house.now += 1
    assert house.ada.promotions.get(request.request_id).state is PromotionState.EXPIRED
    with pytest.raises(Conflict, match="is expired"):
        house.bo.promotions.approve(request.request_id)
    # Anything that is written about any request says how late it is.
    other = house.ada.promotions.request("churn", 2)
    house.now -= 2 * DAY_MS
    assert house.ada.promotions.get(request.request_id).state is PromotionState.EXPIRED
    with pytest.raises(Conflict, match="is expired"):
        house.bo.promotions.approve(request.request_id)
    assert house.ada.promotions.get(other.request_id).expires == other.created + 2 * DAY_MS
    assert house.ada.models.get("churn").aliases == ()


@pytest.mark.parametrize("how", ["get", "search", "evidence", "approve", "comment"])
def test_what_was_seen_as_expired_stays_so_when_the_clock_is_set_back(house: House, how: str) -> None:
    house.boss.policies.set(Policy(checks=(), lifetime_days=2), owner="group:red")
    request = house.ada.promotions.request("churn", 1).request_id
    house.now += 2 * DAY_MS
    promotions = house.bo.promotions
    seen = {
        "get": lambda: promotions.get(request).state,
        "search": lambda: promotions.search().items[0].state,
        "evidence": lambda: promotions.evidence(request).promotion.state,
        "approve": lambda: _refused(lambda: promotions.approve(request)),
        "comment": lambda: promotions.comment(request, "too late?").state,
    }
    assert seen[how]() is PromotionState.EXPIRED
    house.now -= 2 * DAY_MS
    assert promotions.get(request).state is PromotionState.EXPIRED
    with pytest.raises(Conflict, match="is expired"):
        promotions.approve(request)
    assert house.ada.models.get("churn").aliases == ()


def _refused(call: Callable[[], object]) -> PromotionState:
    with pytest.raises(Conflict, match="is expired"):
        call()
    return PromotionState.EXPIRED


def test_a_service_writes_down_what_has_expired(house: House) -> None:
    house.boss.policies.set(Policy(checks=(), lifetime_days=1), owner="group:red")
    request = house.ada.promotions.request("churn", 1)
    assert house.boss.end_requests() == 0
    house.now += DAY_MS
    assert house.boss.end_requests() == 1
    assert house.boss.end_requests() == 0
    house.now -= 10 * DAY_MS
    ended = house.ada.promotions.get(request.request_id)
    assert (ended.state, ended.closed_by) == (PromotionState.EXPIRED, None)
    assert house.boss.audit(limit=1)[0].action == "promotion.expired"


def test_a_refreshed_request_lives_no_longer(house: House) -> None:
    request = house.ada.promotions.request("churn", 1)
    house.now += DAY_MS
    assert house.ada.promotions.refresh(request.request_id).expires == request.expires


def test_what_a_silent_worker_had_claimed_is_anothers(house: House) -> None:
    house.ada.promotions.request("churn", 1)
    other = house.boss.acting_for(Principal("other", scope=Scope.ADMIN))
    digest = "a" * 64
    first = house.boss.checks.claim(token_digest=digest)
    assert first is not None
    principal = house.boss.principal_of_check(digest)
    assert principal is not None
    assert (principal.name, principal.decides) == (f"check:{first.job_id}", False)
    assert principal.scope_on("group:red") == Scope.READ
    house.now += round(LEASE_SECONDS * 1000) - 1
    assert other.checks.claim() is None
    house.boss.checks.renew(first.job_id, first.claim)
    house.now += round(LEASE_SECONDS * 1000)
    assert house.boss.principal_of_check(digest) is None
    second = other.checks.claim()
    assert second is not None
    assert (second.job_id, second.attempt) == (first.job_id, 2)
    result = CheckResult(name="loads", verdict=Verdict.PASSED, summary="late")
    with pytest.raises(Conflict, match="not this worker's"):
        house.boss.checks.report(first.job_id, first.claim, result)
    other.checks.report(second.job_id, second.claim, result)


def test_of_two_workers_with_one_token_the_late_one_is_refused(house: House) -> None:
    house.ada.promotions.request("churn", 1)
    first = house.boss.checks.claim()
    house.now += round(LEASE_SECONDS * 1000)
    second = house.boss.checks.claim()
    assert first is not None
    assert second is not None
    assert (first.job_id, first.claim != second.claim) == (second.job_id, True)
    late = CheckResult(name="loads", verdict=Verdict.PASSED, summary="late")
    for call in (
        lambda: house.boss.checks.renew(first.job_id, first.claim),
        lambda: house.boss.checks.report(first.job_id, first.claim, late),
    ):
        with pytest.raises(Conflict, match="not this worker's"):
            call()
    house.boss.checks.report(
        second.job_id, second.claim, CheckResult(name="loads", verdict=Verdict.FAILED, summary="x")
    )
    (check,) = house.boss.promotions.get(house.boss.promotions.search().items[0].request_id).checks
    assert check.result is not None
    assert check.result.verdict is Verdict.FAILED
