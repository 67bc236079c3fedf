"""No sequence of calls moves a protected alias without a satisfied policy; an alias points at exactly one version."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from jupyter_mlops.core import promotion as rule_of_requests
from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.checks import CheckResult, Verdict
from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.core.policy import DAY_MS, CheckRule, Policy
from jupyter_mlops.core.promotion import Promotion, PromotionKind, PromotionState, ReviewVerdict
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.store import migrate
from jupyter_mlops.store.database import Database
from jupyter_mlops.tracker.embedded import EmbeddedTracker, OpenStore, deciding, permits
from jupyter_mlops.tracker.embedded import aliases as embedded_aliases

RED = frozenset({"red"})
PEOPLE = {
    "ada": Principal("ada", RED),
    "bo": Principal("bo", RED, Scope.PROMOTE),
    "cy": Principal("cy", RED, Scope.PROMOTE),
    "bo's notebook": Principal("bo", RED, Scope.PROMOTE, decides=False),
    "a service of bo": Principal("service:ci", RED, Scope.PROMOTE, acts_for="bo"),
    "eve": Principal("eve", frozenset({"blue"}), Scope.PROMOTE),
    "boss": Principal("boss", scope=Scope.ADMIN),
}
DECIDERS = {"bo", "cy", "boss"}
who = st.sampled_from(sorted(PEOPLE))
# Those by whom something happens come more often.
askers = st.sampled_from([*sorted(PEOPLE), "ada", "ada", "ada"])
leads = st.sampled_from([*sorted(PEOPLE), "bo", "cy", "cy", "cy"])
admins = st.sampled_from([*sorted(PEOPLE), *["boss"] * 6])
aliases = st.sampled_from(["production", "champion"])
versions = st.integers(1, 4)
numbers = st.integers(0, 3)
policies = st.builds(
    Policy,
    protected=st.sampled_from([("production", "champion"), ("champion", "other", "production")]),
    approvals=st.integers(1, 2),
    approvers=st.sampled_from([(), ("cy",), ("bo", "cy"), ("group:red",)]),
    author_may_approve=st.booleans(),
    checks=st.sampled_from([(), (CheckRule(name="loads"),), (CheckRule(name="format"), CheckRule(name="loads"))]),
    automatic=st.booleans(),
    lifetime_days=st.integers(1, 5),
)


class Promotions(RuleBasedStateMachine):
    """The group's model ``churn``; bo trained version 3, ada the others."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.now = 1_700_000_000_000
        # The latest that any clock showed since a request was made, or made anew.
        self.seen: dict[str, int] = {}
        database = Database(f"sqlite:///{self.folder / 'mlops.db'}")
        migrate.ensure_current(database, upgrade=False)
        store = OpenStore(database, str(self.folder / "artifacts"), lambda: self.now)
        self.tracker = EmbeddedTracker(store, PEOPLE["boss"])
        self.people = {name: self.tracker.acting_for(principal) for name, principal in PEOPLE.items()}
        for author in ("ada", "ada", "bo", "ada"):
            owner = self.people[author]
            experiment = owner.experiments.ensure("training", owner="group:red")
            run = owner.runs.create(NewRun(experiment_id=experiment.experiment_id))
            owner.artifacts.put(run.run_id, "model/MLmodel", io.BytesIO(b"flavors: {python_function: {}}"))
            owner.models.register("churn", run.run_id, "model")
        self.tracker.policies.set(Policy(checks=()), owner="group:red")
        self.moves = 0

    def attempt(self, call: Callable[[], object]) -> object:
        try:
            return call()
        except MLOpsError:
            return None

    def requests(self) -> list[Promotion]:
        return list(self.tracker.promotions.search(limit=1000).items)

    def picked(self, number: int) -> str:
        found = [each for each in self.requests() if each.kind is PromotionKind.REQUEST]
        return found[number % len(found)].request_id if found else "0" * 32

    def pointing(self) -> dict[str, int]:
        return {alias.alias: alias.version for alias in self.tracker.models.get("churn").aliases}

    @rule(name=askers, version=versions, alias=aliases)
    def ask(self, name: str, version: int, alias: str) -> None:
        made = self.attempt(lambda: self.people[name].promotions.request("churn", version, alias=alias))
        if isinstance(made, Promotion):
            self.seen.setdefault(made.request_id, self.now)

    @rule(name=leads, number=numbers)
    def approve(self, name: str, number: int) -> None:
        self.attempt(lambda: self.people[name].promotions.approve(self.picked(number)))

    @rule(name=who, number=numbers, verdict=st.sampled_from(["reject", "changes", "withdraw", "refresh", "comment"]))
    def say(self, name: str, number: int, verdict: str) -> None:
        door, request = self.people[name].promotions, self.picked(number)
        calls: dict[str, Callable[[], object]] = {
            "reject": lambda: door.reject(request, reason="no"),
            "changes": lambda: door.request_changes(request, reason="hm"),
            "withdraw": lambda: door.withdraw(request),
            "refresh": lambda: door.refresh(request),
            "comment": lambda: door.comment(request, "hm"),
        }
        if self.attempt(calls[verdict]) is not None and verdict == "refresh":
            self.seen[request] = self.now

    @rule(name=admins, verdict=st.sampled_from([*Verdict, Verdict.PASSED, Verdict.PASSED]))
    def check(self, name: str, verdict: Verdict) -> None:
        worker = self.people[name]
        job = self.attempt(worker.checks.claim)
        if job is not None:
            result = CheckResult(name=job.name, verdict=verdict, summary="x")  # type: ignore[attr-defined]
            self.attempt(lambda: worker.checks.report(job.job_id, job.claim, result))  # type: ignore[attr-defined]

    @rule(name=who, number=numbers)
    def report_oneself(self, name: str, number: int) -> None:
        result = CheckResult(name="loads", verdict=Verdict.PASSED, summary="x")
        self.attempt(lambda: self.people[name].checks.self_report(self.picked(number), result))

    @rule(name=st.one_of(admins, leads), policy=st.none() | policies, of_model=st.booleans())
    def set_policy(self, name: str, policy: Policy | None, of_model: bool) -> None:
        target = {"model": "churn"} if of_model else {"owner": "group:red"}
        before = self.tracker.policies.get(**target).policy
        done = self.attempt(lambda: self.people[name].policies.set(policy, **target))
        after = self.tracker.policies.get(**target).policy
        assert before is not None
        assert after is not None
        if done is None:
            assert after == before
        elif name != "boss":
            assert name in DECIDERS | {"a service of bo"}
            self.demands_no_less(before, after)

    def demands_no_less(self, before: Policy, after: Policy) -> None:
        """Told anew: what everybody but an administrator may make of a policy."""
        assert set(after.protected) >= set(before.protected)
        assert (0 if after.automatic else after.approvals) >= (0 if before.automatic else before.approvals)
        if before.approvers:
            assert after.approvers
            assert set(after.approvers) <= set(before.approvers)
        assert before.author_may_approve or not after.author_may_approve
        assert all(check in after.checks for check in before.checks)
        assert after.lifetime_days <= before.lifetime_days

    @rule(weak=policies, strict=policies, version=versions, alias=aliases)
    def change_the_policy_of_what_is_open(self, weak: Policy, strict: Policy, version: int, alias: str) -> None:
        """The ways of a request that the other rules seldom go to their end: it is made under one policy, and judged
        when another is in force."""
        self.attempt(lambda: self.tracker.policies.set(strict, model="churn"))
        self.ask("ada", version, alias)
        self.attempt(lambda: self.tracker.policies.set(weak, model="churn"))
        self.complete()

    @rule(versions=st.tuples(versions, versions), alias=aliases)
    def ask_for_two(self, versions: tuple[int, int], alias: str) -> None:
        """Of two requests for one alias, that of the second was made before the first is promoted."""
        self.ask("ada", versions[0], alias)
        self.ask("a service of bo", versions[1], alias)
        self.complete()

    def complete(self) -> None:
        """All that are open get what may complete them."""
        for request in reversed([each for each in self.requests() if each.state is PromotionState.OPEN]):
            for name in ("bo", "cy"):
                self.attempt(lambda name=name, id=request.request_id: self.people[name].promotions.approve(id))
            for _ in range(2):
                self.check("boss", Verdict.PASSED)

    @rule(name=who, alias=aliases, version=versions, how=st.sampled_from(["set", "delete", "rename", "give", "drop"]))
    def go_round(self, name: str, alias: str, version: int, how: str) -> None:
        door = self.people[name].models
        # A name by which nothing was promoted may become free, and an administrator may free any: that ends the story.
        calls: dict[str, Callable[[], object]] = {
            "set": lambda: door.set_alias("churn", alias, version),
            "delete": lambda: door.delete_alias("churn", alias),
            "rename": lambda: door.update("churn", new_name="other"),
            "give": lambda: door.transfer("churn", name),
            "drop": lambda: door.delete_version("churn", version),
        }
        if how in ("set", "delete", "drop") or (name != "boss" and self.moves):
            before = self.pointing()
            done = self.attempt(calls[how])
            # Setting an alias to what it is set to already changes nothing, and may be asked for.
            assert done is None or how == "drop" or (how == "set" and before.get(alias) == version)
            assert self.pointing() == before

    @rule(name=who, alias=aliases)
    def roll_back(self, name: str, alias: str) -> None:
        if self.attempt(lambda: self.people[name].promotions.rollback("churn", alias, reason="bad")):
            assert name in DECIDERS | {"a service of bo"}

    @rule(name=who, alias=aliases, version=st.none() | versions)
    def override(self, name: str, alias: str, version: int | None) -> None:
        if self.attempt(lambda: self.people[name].promotions.override("churn", alias, version=version, reason="now")):
            assert name == "boss"

    @rule(days=st.integers(-20, 20))
    def turn_the_clock(self, days: int) -> None:
        self.now += days * DAY_MS
        self.seen = {request: max(latest, self.now) for request, latest in self.seen.items()}
        # As a service does.
        self.tracker.end_requests()

    @invariant()
    def every_move_has_its_grounds(self) -> None:
        if not hasattr(self, "tracker"):
            return
        periods = self.tracker.promotions.history("churn")
        for period in periods[self.moves :]:
            assert period.promotion is not None, period.move
            if period.promotion.kind is PromotionKind.REQUEST:
                # Nobody saw another state of the alias when they agreed.
                assert period.promotion.champion == period.move.replaced
                now = self.tracker.policies.get(model="churn").policy
                assert now is not None
                for policy in (period.promotion.policy, now):
                    self.is_satisfied(period.promotion, policy)
        self.moves = len(periods)
        last = {period.move.alias: period.move.version for period in periods}
        pointing = self.pointing()
        assert pointing == {alias: version for alias, version in last.items() if version is not None}
        for alias, version in pointing.items():
            assert self.tracker.models.resolve("churn", f"@{alias}").version == version
        for name, principal in PEOPLE.items():
            if principal.scope < Scope.ADMIN:
                assert self.people[name].policies.get(model="churn").policy is not None

    def is_satisfied(self, request: Promotion, policy: Policy) -> None:
        """Whether the request meets a policy, told anew."""
        assert request.state is PromotionState.PROMOTED
        assert self.seen[request.request_id] < request.expires
        last = {review.user: review for review in request.reviews if review.round == request.round}
        agreed = {user for user, review in last.items() if review.verdict is ReviewVerdict.APPROVED}
        assert all(review.verdict is ReviewVerdict.APPROVED for review in last.values())
        assert request.requester not in agreed
        assert agreed <= {"bo", "cy", "boss"}
        if not policy.author_may_approve:
            agreed -= set(request.authors)
        if policy.approvers:
            agreed = {user for user in agreed if user in policy.approvers or "group:red" in policy.approvers}
        assert policy.automatic or len(agreed) >= policy.approvals
        for needed in policy.checks:
            results = [
                each.result
                for each in request.checks
                if each.rule == needed and each.round == request.round and each.result is not None
            ]
            counted = [each for each in results if not each.self_reported and each.reported_by == "boss"]
            assert [each.verdict for each in counted] == [Verdict.PASSED]

    def teardown(self) -> None:
        if hasattr(self, "tracker"):
            self.tracker.close()
            shutil.rmtree(self.folder)


# The same stories each time, so that a change fails for what it changed.
SETTINGS = settings(
    derandomize=True, max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestPromotions = Promotions.TestCase
TestPromotions.settings = settings(SETTINGS, max_examples=20, stateful_step_count=20)


# --- whether the stories would show it -------------------------------------------------------------------------------


class Anything:
    """Equal to whatever it is compared with."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True


def _any_champion(promotion: Promotion, judged_by: list[Policy], current: object, now: int) -> tuple[str, ...]:
    return rule_of_requests.missing(promotion, judged_by, promotion.champion, now)


def _judged_by(chosen: Callable[[list[Policy]], list[Policy]]) -> Any:
    real = deciding.judging
    return lambda connection, requests: [chosen(each) for each in real(connection, requests)]


def _own_words_count(promotion: Promotion, rules: Any) -> Any:
    own = [each.result for each in promotion.checks if each.result is not None]
    return [rule_of_requests.CheckOutcome(rule, own[-1] if own else None) for rule in rules]


FAULTS: dict[str, list[tuple[object, str, Any]]] = {
    "a lead may weaken a policy": [(embedded_aliases, "require_no_weaker", lambda *_: ())],
    "only the policy in force counts": [(deciding, "judging", _judged_by(lambda both: both[-1:]))],
    "only the policy that it was made under counts": [(deciding, "judging", _judged_by(lambda both: both[:1]))],
    "what has moved since needs no refresh": [
        (deciding, "missing", _any_champion),
        (deciding, "pointed_at", lambda *_: Anything()),
    ],
    "authors and who asks may approve": [
        (rule_of_requests, "may_not_approve", lambda *_: None),
        (permits, "may_not_approve", lambda *_: None),
    ],
    "what is self-reported counts": [(rule_of_requests, "outcomes", _own_words_count)],
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_would_show(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, name, wrong in FAULTS[fault]:
        monkeypatch.setattr(place, name, wrong)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Promotions, settings=settings(SETTINGS, phases=(Phase.generate,)))
