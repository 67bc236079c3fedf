"""Two replicas of the service, each a process, over one PostgreSQL: what is decided at once has one winner."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.checks import CheckJob, CheckResult, Verdict
from jupyter_mlops.core.errors import Conflict, MLOpsError, PermissionDenied
from jupyter_mlops.core.policy import CheckRule, Policy
from jupyter_mlops.core.promotion import Promotion, PromotionState
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.service.inprocess import Running
from tests.service.process import serving
from tests.together import together

RED = frozenset({"red"})
BOSS = Principal("boss", scope=Scope.ADMIN)
ROUNDS = 4
FINE = CheckResult(name="loads", verdict=Verdict.PASSED, summary="fine")


class Replicas:
    """Two processes; callers are at one of them each."""

    def __init__(self, stack: ExitStack, url: str, folder: Path) -> None:
        self._stack = stack
        processes = [stack.enter_context(serving(url, folder / "artifacts", folder)) for _ in range(2)]
        self._services = [Running(each.url, folder / "tokens.json") for each in processes]
        self.boss = self.at(0, BOSS)
        self.ada, self.ann = (self.at(n, Principal(name, RED)) for n, name in enumerate(("ada", "ann")))
        self.bo, self.cy = (self.at(n, Principal(name, RED, Scope.PROMOTE)) for n, name in enumerate(("bo", "cy")))
        self.versions = 0

    def at(self, replica: int, principal: Principal) -> RemoteTracker:
        service = self._services[replica]
        return self._stack.enter_context(RemoteTracker(service.url, service.token_of(principal)))

    def version(self) -> int:
        run = self.ada.runs.create(NewRun(experiment_id=self.ada.experiments.ensure("training").experiment_id))
        self.ada.artifacts.put(run.run_id, "m/MLmodel", io.BytesIO(b"flavors: {python_function: {}}"))
        return self.ada.models.register("churn", run.run_id, "m").version

    def production(self) -> int | None:
        return {alias.alias: alias.version for alias in self.ann.models.get("churn").aliases}.get("production")


@pytest.fixture
def replicas(postgres_url: str, tmp_path: Path) -> Iterator[Replicas]:
    with ExitStack() as stack:
        yield Replicas(stack, postgres_url, tmp_path)


def test_two_replicas_decide_as_one(replicas: Replicas) -> None:
    boss, ada, ann, bo, cy = replicas.boss, replicas.ada, replicas.ann, replicas.bo, replicas.cy
    other_boss = replicas.at(1, BOSS)
    checked, unchecked = Policy(), Policy(checks=())
    replicas.version()
    boss.policies.set(unchecked, owner="group:red")
    moves = 0
    for _ in range(ROUNDS):
        # Two requests for one alias are approved.
        first, second = (each.promotions.request("churn", replicas.version()).request_id for each in (ada, ann))
        answers = together(lambda: bo.promotions.approve(first), lambda: cy.promotions.approve(second))  # noqa: B023
        (won,) = [each for each in answers if isinstance(each, Promotion)]
        (lost,) = [each for each in answers if isinstance(each, MLOpsError)]
        assert isinstance(lost, Conflict)
        assert "must be refreshed" in lost.message
        assert (replicas.production(), won.state) == (won.version, PromotionState.PROMOTED)
        moves += 1
        assert len(ann.promotions.history("churn", "production")) == moves
        for each in (first, second):
            if ada.promotions.get(each).state is PromotionState.OPEN:
                boss.promotions.reject(each, reason="late")

        # An approval, and a policy that asks for two.
        request = ada.promotions.request("churn", replicas.version()).request_id
        stricter = msgspec.structs.replace(unchecked, approvals=2)
        together(lambda: bo.promotions.approve(request), lambda: other_boss.policies.set(stricter, owner="group:red"))  # noqa: B023
        state = ann.promotions.get(request)
        if state.state is PromotionState.OPEN:
            assert state.missing == ("1 more must approve",)
            boss.promotions.reject(request, reason="next")
        else:
            moves += 1
        assert len(ann.promotions.history("churn", "production")) == moves

        # The last check and the approval, both of which may complete it; and of two workers, one has the job.
        boss.policies.set(checked, owner="group:red")
        request = ada.promotions.request("churn", replicas.version()).request_id
        claimed = together(boss.checks.claim, other_boss.checks.claim)
        (job,) = [each for each in claimed if isinstance(each, CheckJob)]
        answers = together(
            lambda: other_boss.checks.report(job.job_id, job.claim, FINE),  # noqa: B023
            lambda: boss.checks.report(job.job_id, job.claim, FINE),  # noqa: B023
            lambda: bo.promotions.approve(request),  # noqa: B023
        )
        assert [isinstance(each, Conflict) for each in answers[:2]].count(True) == 1
        assert isinstance(answers[2], Promotion)
        moves += 1
        assert ann.promotions.get(request).state is PromotionState.PROMOTED
        assert len(ann.promotions.history("churn", "production")) == moves
        boss.policies.set(unchecked, owner="group:red")
    assert other_boss.audit_verify().intact


def test_a_job_that_both_replicas_offer_is_claimed_once(replicas: Replicas) -> None:
    boss, other = replicas.boss, replicas.at(1, BOSS)
    rules = tuple(CheckRule(name="metric", settings={"metric": f"m{number}", "at_least": 0}) for number in range(12))
    boss.policies.set(Policy(checks=rules), owner="group:red")
    replicas.ada.promotions.request("churn", replicas.version())
    jobs: list[str] = []
    while claimed := [each for each in together(*[boss.checks.claim, other.checks.claim] * 2) if each is not None]:
        assert not [each for each in claimed if isinstance(each, PermissionDenied)]
        jobs += [each.job_id for each in claimed if isinstance(each, CheckJob)]
    assert len(jobs) == len(set(jobs)) == len(rules)
