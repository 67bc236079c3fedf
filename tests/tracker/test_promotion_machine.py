"""No sequence of calls moves a protected alias without a satisfied policy; an alias points at exactly one version."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.checks import CheckResult, Verdict
from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.core.policy import DAY_MS, CheckRule, Policy
from jupyter_mlops.core.promotion import Promotion, PromotionKind, PromotionState, ReviewVerdict
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.store import migrate
from jupyter_mlops.store.database import Database
from jupyter_mlops.tracker.embedded import EmbeddedTracker, OpenStore

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

    @rule(name=admins, policy=st.none() | policies, of_model=st.booleans())
    def set_policy(self, name: str, policy: Policy | None, of_model: bool) -> None:
        target = {"model": "churn"} if of_model else {"owner": "group:red"}
        self.attempt(lambda: self.people[name].policies.set(policy, **target))

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
                self.is_satisfied(period.promotion)
        self.moves = len(periods)
        last = {period.move.alias: period.move.version for period in periods}
        pointing = self.pointing()
        assert pointing == {alias: version for alias, version in last.items() if version is not None}
        for alias, version in pointing.items():
            assert self.tracker.models.resolve("churn", f"@{alias}").version == version
        for name, principal in PEOPLE.items():
            if principal.scope < Scope.ADMIN:
                assert self.people[name].policies.get(model="churn").policy is not None

    def is_satisfied(self, request: Promotion) -> None:
        """By the policy it was made under, told anew."""
        policy = request.policy
        assert request.state is PromotionState.PROMOTED
        assert self.seen[request.request_id] < request.expires
        last = {review.user: review for review in request.reviews if review.round == request.round}
        agreed = {user for user, review in last.items() if review.verdict is ReviewVerdict.APPROVED}
        assert all(review.verdict is ReviewVerdict.APPROVED for review in last.values())
        assert request.requester not in agreed
        assert agreed <= {"bo", "cy", "boss"}
        if not policy.author_may_approve:
            assert not agreed & set(request.authors)
        assert policy.automatic or len(agreed) >= policy.approvals
        for needed in policy.checks:
            results = [
                each.result
                for each in request.checks
                if each.rule == needed and each.round == request.round and each.result is not None
            ]
            assert [each.verdict for each in results if not each.self_reported and each.reported_by == "boss"] == [
                Verdict.PASSED
            ]

    def teardown(self) -> None:
        if hasattr(self, "tracker"):
            self.tracker.close()
            shutil.rmtree(self.folder)


TestPromotions = Promotions.TestCase
# The same stories each time, so that a change fails for what it changed.
TestPromotions.settings = settings(
    derandomize=True, max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
