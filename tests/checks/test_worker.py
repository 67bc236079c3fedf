"""The worker's loop: on the store's own queue, and on one that does what is rare."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from jupyter_mlops.checks.sandbox import Limits
from jupyter_mlops.checks.worker import Worker
from jupyter_mlops.core.checks import CheckJob, CheckResult, Verdict
from jupyter_mlops.core.errors import Conflict, InvalidValue, Unavailable
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.policy import CheckRule, Policy
from jupyter_mlops.core.promotion import PromotionState
from jupyter_mlops.core.records import ModelVersion
from jupyter_mlops.tracker.protocol import Tracker
from tests.checks.conftest import MODEL, Registry
from tests.waiting import until

pytestmark = pytest.mark.slow


class Queue:
    """Jobs by their checks; ``lost`` are those that nobody holds any more."""

    def __init__(self, *jobs: CheckJob) -> None:
        self.waiting = list(jobs)
        self.results: dict[str, CheckResult] = {}
        self.renewals = 0
        self.lost: set[str] = set()
        self.away = 0
        """How many calls find it unavailable from now on."""

    def claim(self, names: Sequence[str] = (), *, token_digest: str | None = None) -> CheckJob | None:
        self._answer()
        job = next((job for job in self.waiting if job.name in names), None)
        if job is not None:
            self.waiting.remove(job)
        return job

    def renew(self, job_id: str, claim: str) -> None:
        self.renewals += 1
        self._require_held(job_id, claim)

    def report(self, job_id: str, claim: str, result: CheckResult) -> None:
        self._answer()
        self._require_held(job_id, claim)
        self.results[job_id] = result

    def _answer(self) -> None:
        if self.away > 0:
            self.away -= 1
            raise Unavailable("the queue is away")

    def _require_held(self, job_id: str, claim: str) -> None:
        if job_id in self.lost or claim != f"claim of {job_id}":
            raise Conflict("it was claimed again")


def job(version: ModelVersion, name: str, **settings: Any) -> CheckJob:
    id = new_id()
    return CheckJob(
        job_id=id,
        claim=f"claim of {id}",
        request_id=new_id(),
        model=MODEL,
        version=version.version,
        alias="production",
        name=name,
        settings=settings,
    )


@pytest.fixture
def version(registry: Registry, linear: Any) -> ModelVersion:
    return registry.version(linear, metrics={"auc": 0.9})


@pytest.fixture
def endless(registry: Registry) -> Callable[[], ModelVersion]:
    """A version that takes for ever to predict."""

    def slow(model_input: list[float]) -> list[float]:
        import os
        import time

        # Not while it is saved, which tries it too.
        if "mlops-check" in os.environ.get("TMPDIR", ""):
            time.sleep(600)
        return model_input

    return lambda: registry.version(slow, [1.0])


def test_jobs_are_done_until_there_is_none(tracker: Tracker, version: ModelVersion) -> None:
    good, bad, foreign = (
        job(version, "metric", metric="auc", at_least=0.8),
        job(version, "metric", metric="auc", at_least=0.95),
        job(version, "of somebody else"),
    )
    queue = Queue(foreign, good, bad)
    told: list[tuple[str, Verdict]] = []
    Worker(tracker, jobs=queue).run(once=True, on_result=lambda job, result: told.append((job.job_id, result.verdict)))
    assert told == [(good.job_id, Verdict.PASSED), (bad.job_id, Verdict.FAILED)]
    assert {id: result.verdict for id, result in queue.results.items()} == dict(told)
    assert queue.waiting == [foreign]


def test_what_a_request_waits_for_is_done(tracker: Tracker, version: ModelVersion) -> None:
    rule = CheckRule(name="metric", settings={"metric": "auc", "at_least": 0.8})
    tracker.policies.set(Policy(automatic=True, checks=(rule,)), model=MODEL)
    request = tracker.promotions.request(MODEL, version.version)
    assert request.state is PromotionState.OPEN
    Worker(tracker).run(once=True)
    done = tracker.promotions.get(request.request_id)
    assert done.state is PromotionState.PROMOTED
    assert tracker.models.resolve(MODEL, "@production").version == version.version


def test_only_some_checks_are_done_when_asked_so(tracker: Tracker, version: ModelVersion) -> None:
    queue = Queue(job(version, "format"), job(version, "metric", metric="auc", at_least=0.8))
    Worker(tracker, jobs=queue, names=["metric"]).run(once=True)
    assert [job.name for job in queue.waiting] == ["format"]
    with pytest.raises(InvalidValue, match="did you mean 'metric'"):
        Worker(tracker, jobs=queue, names=["metrics"])


def test_a_queue_that_is_away_is_asked_again(tracker: Tracker, version: ModelVersion) -> None:
    queue = Queue(job(version, "metric", metric="auc", at_least=0.8))
    worker = Worker(tracker, jobs=queue)
    (waiting,) = queue.waiting
    original = queue.claim

    def claim(*arguments: Any, **named: Any) -> CheckJob | None:
        found = original(*arguments, **named)
        # The answer to the report is lost twice.
        queue.away = 2
        return found

    queue.claim = claim  # type: ignore[method-assign]
    assert worker.step() is not None
    assert queue.results[waiting.job_id].verdict is Verdict.PASSED


def test_a_result_that_cannot_be_stored_is_an_error(tracker: Tracker, version: ModelVersion) -> None:
    waiting = job(version, "metric", metric="auc", at_least=0.8)
    queue = Queue(waiting)
    original = queue.report

    def report(job_id: str, claim: str, result: CheckResult) -> None:
        if result.detail is not None:
            raise InvalidValue("the detail is too large")
        original(job_id, claim, result)

    queue.report = report  # type: ignore[method-assign]
    Worker(tracker, jobs=queue).run(once=True)
    result = queue.results[waiting.job_id]
    assert (result.verdict, result.summary) == (
        Verdict.ERROR,
        "the result (passed) cannot be stored: the detail is too large",
    )


def test_a_lease_is_renewed_while_the_check_goes_on(tracker: Tracker, endless: Callable[[], ModelVersion]) -> None:
    waiting = job(endless(), "loads")
    queue = Queue(waiting)
    Worker(tracker, jobs=queue, limits=Limits(seconds=4), lease_seconds=0.3).run(once=True)
    assert queue.renewals > 3
    assert queue.results[waiting.job_id].summary == "it took longer than 4 s"


def test_what_was_lost_is_ended_and_not_reported(tracker: Tracker, endless: Callable[[], ModelVersion]) -> None:
    waiting = job(endless(), "loads")
    queue = Queue(waiting)
    worker = Worker(tracker, jobs=queue, limits=Limits(seconds=600), lease_seconds=0.3)
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(worker.step()))
    began = time.monotonic()
    thread.start()
    until(lambda: queue.renewals > 1, "the lease was renewed")
    queue.lost.add(waiting.job_id)
    thread.join(60)
    assert not thread.is_alive()
    assert time.monotonic() - began < 120
    assert done == [(waiting, None)]
    assert queue.results == {}


def test_a_stopped_worker_ends_with_the_job_that_it_does(tracker: Tracker, version: ModelVersion) -> None:
    queue = Queue(*(job(version, "metric", metric="auc", at_least=0.8) for _ in range(3)))
    worker = Worker(tracker, jobs=queue)
    worker.run(on_result=lambda job, result: worker.stop())
    assert (len(queue.results), len(queue.waiting)) == (1, 2)


def test_what_foreign_code_says_is_made_harmless(tracker: Tracker, registry: Registry) -> None:
    def loud(model_input: list[float]) -> list[float]:
        import os

        if "mlops-check" in os.environ.get("TMPDIR", ""):
            print("\x1b[2J\x00hello")
            raise ValueError("\x1b]0;evil\x07\x00" + "x" * 5000)
        return model_input

    waiting = job(registry.version(loud, [1.0]), "loads")
    queue = Queue(waiting)
    Worker(tracker, jobs=queue).run(once=True)
    result = queue.results[waiting.job_id]
    assert result.verdict is Verdict.FAILED
    assert len(result.summary) <= 1000
    for text in (result.summary, result.log):
        assert not set("\x1b\x07\x00") & set(text)
    assert "hello" in result.log
    assert msgspec.json.decode(msgspec.json.encode(result), type=CheckResult) == result


def test_the_isolation_of_this_machine_is_that_of_its_results(tracker: Tracker, version: ModelVersion) -> None:
    queue = Queue(job(version, "loads", example=False))
    worker = Worker(tracker, jobs=queue)
    worker.run(once=True)
    (result,) = queue.results.values()
    isolation = worker.isolation()
    assert result.detail["isolation"] == {"confined": isolation.is_confined, "missing": list(isolation.missing)}
