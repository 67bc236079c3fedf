"""Whoever changes requests past the tracker is found out by ``audit verify``, which says where."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.audit import written
from jupyter_mlops.core.checks import CheckResult, Verdict
from jupyter_mlops.core.policy import CheckRule, Policy
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.store import events, requestseals, schema
from jupyter_mlops.store import schema_promotion as tables
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.embedded import EmbeddedTracker

RED = frozenset({"red"})
TWO_CHECKS = Policy(approvals=2, checks=(CheckRule(name="loads"), CheckRule(name="format")))


class Story:
    """A group's model with one promoted version, one request that is open, and one of each other end."""

    def __init__(self, boss: EmbeddedTracker) -> None:
        self.boss = boss
        ada = boss.acting_for(Principal("ada", RED))
        bo = boss.acting_for(Principal("bo", RED, Scope.PROMOTE))
        boss.policies.set(TWO_CHECKS, owner="group:red")
        for number in range(4):
            run = ada.runs.create(NewRun(experiment_id=ada.experiments.ensure("training").experiment_id))
            ada.artifacts.put(run.run_id, "m/MLmodel", io.BytesIO(b"flavors: {python_function: {}}"))
            ada.artifacts.put(run.run_id, "m/weights", io.BytesIO(str(number).encode()))
            ada.models.register("churn", run.run_id, "m")
        self.closed = ada.promotions.request("churn", 1, reason="first").request_id
        bo.promotions.approve(self.closed)
        boss.acting_for(Principal("cy", RED, Scope.PROMOTE)).promotions.approve(self.closed)
        while (job := boss.checks.claim()) is not None:
            boss.checks.report(
                job.job_id, job.claim, CheckResult(name=job.name, verdict=Verdict.PASSED, summary="fine")
            )
        assert boss.promotions.get(self.closed).state.value == "promoted"
        bo.promotions.comment(self.closed, "well done")
        bo.promotions.reject(ada.promotions.request("churn", 2).request_id, reason="no")
        ada.promotions.request("churn", 3, alias="champion")
        ada.models.delete_version("churn", 3)
        boss.promotions.override("churn", "champion", version=2, reason="now")
        ada.promotions.withdraw(ada.promotions.request("churn", 4).request_id)
        self.open = ada.promotions.request("churn", 4).request_id
        ada.promotions.refresh(self.open)
        bo.promotions.approve(self.open)
        job = boss.checks.claim()
        assert job is not None
        self.failed = job.job_id
        boss.checks.report(job.job_id, job.claim, CheckResult(name=job.name, verdict=Verdict.FAILED, summary="bad"))
        ada.checks.self_report(self.open, CheckResult(name="loads", verdict=Verdict.PASSED, summary="here"))
        self.head = written(boss.audit_head())

    def problems(self) -> tuple[str, ...]:
        return self.boss.audit_verify(self.head).problems

    def change(self, statement: Any) -> None:
        with self.boss.database.write() as connection:
            assert connection.execute(statement).rowcount != 0


@pytest.fixture
def story(database_url: str, tmp_path: Path) -> Iterator[Story]:
    with connect(database_url, artifacts=tmp_path, principal=Principal("boss", scope=Scope.ADMIN)) as boss:
        assert isinstance(boss, EmbeddedTracker)
        yield Story(boss)


def test_a_record_that_was_left_alone_is_intact(story: Story) -> None:
    assert story.problems() == ()
    bo = story.boss.acting_for(Principal("dee", RED, Scope.PROMOTE))
    bo.promotions.comment(story.open, "hm")
    bo.promotions.comment(story.closed, "still well done")
    bo.promotions.reject(story.open, reason="bad")
    assert story.problems() == ()


def _promotion(id: str, **values: Any) -> Any:
    return tables.promotion.update().where(tables.promotion.c.id == id).values(**values)


SECOND = sa.select(schema.model_version.c.id).where(schema.model_version.c.version == 2).scalar_subquery()
TAMPERING: dict[str, tuple[Callable[[Story], Any], str]] = {
    "another reason": (lambda it: _promotion(it.closed, reason="because"), "what was asked for was changed"),
    "another version": (lambda it: _promotion(it.closed, version=2), "what was asked for was changed"),
    "another policy": (lambda it: _promotion(it.open, policy_json="{}"), "what was asked for was changed"),
    "a longer life": (lambda it: _promotion(it.open, expires=2**50), "what was asked for was changed"),
    "another requester": (lambda it: _promotion(it.open, requester="eve"), "what was asked for was changed"),
    "opened again": (lambda it: _promotion(it.closed, state="open", closed=None), "its state, its reviews"),
    "closed by another": (lambda it: _promotion(it.closed, closed_by="eve"), "its state, its reviews"),
    "closed past the service": (lambda it: _promotion(it.open, state="withdrawn"), "its state, its reviews"),
    "another champion": (lambda it: _promotion(it.open, champion=None), "its state, its reviews"),
    "another result": (
        lambda it: (
            tables.check_job.update()
            .where(tables.check_job.c.id == it.failed)
            .values(result_json=sa.func.replace(tables.check_job.c.result_json, "failed", "passed"))
        ),
        "what its checks found out was changed",
    ),
    "a check that is not asked for any more": (
        lambda it: tables.check_job.delete().where(
            tables.check_job.c.promotion_id == it.open, tables.check_job.c.result_json.is_(None)
        ),
        "its state, its reviews or its checks",
    ),
    "an approval more": (
        lambda it: tables.promotion_review.insert().values(
            promotion_id=it.open, reviewer="cy", owners_json="[]", verdict="approved", reason="", at=1, round=2
        ),
        "its state, its reviews or its checks",
    ),
    "an alias that was moved": (
        lambda it: schema.alias.update().where(schema.alias.c.alias == "production").values(version_id=SECOND),
        "churn@production points at version 2; its last move on record says version 1",
    ),
}


@pytest.mark.parametrize("how", TAMPERING)
def test_what_was_changed_past_the_service_is_found(story: Story, how: str) -> None:
    statement, told = TAMPERING[how]
    story.change(statement(story))
    (problem,) = story.problems()
    assert told in problem
    assert (story.closed in problem) or (story.open in problem) or "churn@production" in problem


def _gone(connection: Connection, request_id: str) -> None:
    for table in (tables.check_job, tables.promotion_comment, tables.promotion_review):
        connection.execute(table.delete().where(table.c.promotion_id == request_id))
    connection.execute(tables.promotion.delete().where(tables.promotion.c.id == request_id))


def test_a_request_that_was_removed_or_added_is_found(story: Story) -> None:
    with story.boss.database.write() as connection:
        row = dict(connection.execute(sa.select(tables.promotion)).mappings().first() or {})
        connection.execute(tables.promotion.insert(), row | {"id": "f" * 32})
        _gone(connection, story.open)
    found = story.problems()
    assert f"request {'f' * 32} is not on record: it was added past the service" in found
    assert any(f"request {story.open}, which entry" in each and "is gone" in each for each in found)


def test_an_entry_that_is_made_up_for_a_change_contradicts_those_before(story: Story) -> None:
    def made_up(request_id: str, job_id: str | None, statement: Any) -> tuple[str, ...]:
        with story.boss.database.write() as connection:
            connection.execute(statement)
            sealed = requestseals.entry(connection, request_id, job_id)
            detail = {"request_id": request_id, **sealed}
            events.add_audit(connection, "bo", "promotion.reviewed", "churn", 1, detail)
        story.boss.audit_head()
        return story.problems()

    def told(text: str, found: tuple[str, ...]) -> list[str]:
        return [each for each in found if text in each]

    closed = made_up(story.closed, None, _promotion(story.closed, outcome="it was in order"))
    assert told("was closed by entry", closed)
    asked = made_up(story.open, None, _promotion(story.open, reason="other"))
    assert told("asks for something else than before", asked)
    result = made_up(story.open, story.failed, TAMPERING["another result"][0](story))
    assert told("has another result of check", result)
