"""Who leaves, and who gets another name: everything that names them follows, or nothing does."""

from __future__ import annotations

import hashlib
import io
import json

import pytest

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.errors import Conflict, InvalidValue, NotFound, PermissionDenied
from jupyter_mlops.core.people import Handover, NewName
from jupyter_mlops.core.policy import Policy
from jupyter_mlops.core.promotion import PromotionState
from jupyter_mlops.core.quotas import Quota
from jupyter_mlops.core.records import Batch, NewRun, StreamPosition, Tag, View
from jupyter_mlops.tracker.protocol import Tracker
from tests.contract.conftest import Opener

RED = frozenset({"red"})


@pytest.fixture
def ann(open_tracker: Opener) -> Tracker:
    return open_tracker(Principal("ann", RED, default_owner="ann"))


@pytest.fixture
def bob(open_tracker: Opener) -> Tracker:
    return open_tracker(Principal("bob", RED, Scope.PROMOTE))


def new_run(tracker: Tracker, experiment: str, owner: str | None = None) -> str:
    made = tracker.experiments.ensure(experiment, owner=owner)
    run = tracker.runs.create(NewRun(experiment_id=made.experiment_id))
    tracker.artifacts.put(run.run_id, "m/MLmodel", io.BytesIO(b"flavors: {python_function: {}}"))
    return run.run_id


def actions(tracker: Tracker) -> list[str]:
    return [entry.action for entry in tracker.audit(limit=100)]


def test_what_somebody_had_becomes_the_groups(tracker: Tracker, ann: Tracker, bob: Tracker) -> None:
    mine = new_run(ann, "churn")
    new_run(bob, "churn", "group:red")
    ann.experiments.delete(ann.experiments.create("old", owner="ann").experiment_id)
    bob.experiments.share(bob.experiments.create("his", owner="bob").experiment_id, to_user="ann")
    ann.models.register("model", mine, "m")
    ann.models.set_alias("model", "production", 1)
    ann.webhooks.create("mailto:ann@example.org", owner="ann")
    token = ann.access_tokens.create("nightly", owner="ann")

    planned = tracker.people.offboard("ann", "group:red", dry_run=True)
    assert ann.runs.get(mine).experiment_id == ann.experiments.find("churn").experiment_id
    assert ann.experiments.find("churn").owner == "ann"
    assert "people.offboard" not in actions(tracker)

    done = tracker.people.offboard("ann", "group:red")
    assert planned.dry_run
    assert (done.experiments, done.runs, done.models, done.webhooks, done.shares, done.tokens) == (2, 1, 1, 1, 1, 1)
    assert done.new_names == (NewName(bob.runs.get(mine).experiment_id, "churn", "churn (ann)"),)
    assert {each.name for each in bob.experiments.search("", view=View.ALL).items} == {
        *("churn", "churn (ann)", "old", "his")
    }
    assert bob.runs.get(mine).user == "ann"
    model = bob.models.get("model")
    assert (model.owner, model.aliases[0].version) == ("group:red", 1)
    # What was nobody's to decide is now protected as the group's models are.
    with pytest.raises(PermissionDenied, match="protected"):
        bob.models.delete_alias("model", "production")
    assert tracker.webhooks.list() == ()
    assert token.token_id not in {each.token_id for each in tracker.access_tokens.list()}
    assert bob.experiments.shares(bob.experiments.find("his").experiment_id) == ()
    told = actions(tracker)
    assert told[0] == "people.offboard"
    assert (told.count("experiment.transfer"), told.count("model.transfer")) == (2, 1)
    assert tracker.audit_verify().intact
    assert tracker.people.offboard("ann", "group:red") == Handover(owner="ann", to="group:red")


def test_a_group_that_ends_leaves_no_alias_open(tracker: Tracker, bob: Tracker, open_tracker: Opener) -> None:
    run = new_run(bob, "churn", "group:red")
    bob.models.register("model", run, "m")
    tracker.policies.set(Policy(protected=("live",), approvals=2, approvers=("group:red", "zoe")), owner="group:red")
    bob.webhooks.create("https://deploy.example.org/", owner="group:red")
    done = tracker.people.offboard("group:red", "zoe")
    assert (done.experiments, done.models, done.webhooks, done.policies) == (1, 1, 1, 1)
    zoe = open_tracker(Principal("zoe"))
    kept = zoe.policies.get(model="model").policy
    assert kept is not None
    assert (kept.protected, kept.approvals, kept.approvers) == (("live",), 2, ("zoe",))
    with pytest.raises(NotFound):
        bob.runs.get(run)
    assert zoe.runs.get(run).run_id == run


def test_a_renamed_user_is_who_they_were(tracker: Tracker, ann: Tracker, bob: Tracker, open_tracker: Opener) -> None:
    run = new_run(ann, "churn")
    ann.runs.log(run, Batch(tags=(Tag("a", "1"),)), StreamPosition("kernel", 1))
    ann.runs.comment(run, "mine")
    shared = bob.experiments.create("his", owner="bob").experiment_id
    bob.experiments.share(shared, to_user="ann", role="write")
    bob.experiments.share(shared, to_user="anna")
    token = ann.access_tokens.create("nightly", owner="ann")
    tracker.quotas.set("ann", Quota(runs=7))
    done = tracker.people.rename("ann", "anna")
    assert (done.experiments, done.runs, done.shares, done.tokens) == (1, 1, 1, 1)
    anna = open_tracker(Principal("anna"))
    assert [(rule.subject, rule.quota.runs) for rule in tracker.quotas.rules()] == [("anna", 7)]
    assert [each.run_id for each in anna.runs.active()] == [run]
    # What her notebook has not sent yet arrives, and what it has sent is known.
    assert anna.runs.watermark("kernel") == 1
    anna.runs.log(run, Batch(tags=(Tag("a", "2"),)), StreamPosition("kernel", 2))
    assert anna.runs.comments(run)[0].user == "anna"
    assert anna.runs.create(NewRun(experiment_id=shared)).user == "anna"
    assert [share.to_user for share in bob.experiments.shares(shared)] == ["anna"]
    assert [(each.owner, each.user) for each in anna.access_tokens.list()] == [("anna", "anna")]
    assert token.owner == "ann"
    with pytest.raises(NotFound):
        ann.runs.get(run)
    assert tracker.audit_verify().intact


def test_nobody_approves_under_another_name(tracker: Tracker, bob: Tracker, open_tracker: Opener) -> None:
    run = new_run(bob, "churn", "group:red")
    bob.models.register("model", run, "m")
    tracker.policies.set(Policy(checks=()), model="model")
    asked = bob.promotions.request("model", 1)
    done = tracker.people.rename("bob", "robert")
    assert done.requests == 1
    closed = tracker.promotions.get(asked.request_id)
    assert closed.state is PromotionState.SUPERSEDED
    assert "bob is robert now" in closed.outcome
    robert = open_tracker(Principal("robert", RED, Scope.PROMOTE))
    with pytest.raises(Conflict, match="superseded"):
        robert.promotions.approve(asked.request_id)
    # Asked for by somebody else, it is still what he made.
    again = open_tracker(Principal("eve", RED)).promotions.request("model", 1)
    with pytest.raises(PermissionDenied):
        robert.promotions.approve(again.request_id)
    assert tracker.audit_verify().intact


def test_a_groups_policy_goes_with_its_new_name(tracker: Tracker, bob: Tracker, open_tracker: Opener) -> None:
    run = new_run(bob, "churn", "group:red")
    bob.models.register("model", run, "m")
    tracker.policies.set(Policy(checks=(), approvers=("group:red",)), owner="group:red")
    asked = bob.promotions.request("model", 1)
    tracker.people.rename("group:red", "group:rouge")
    assert tracker.promotions.get(asked.request_id).state is PromotionState.SUPERSEDED
    lead = open_tracker(Principal("lee", frozenset({"rouge"}), Scope.PROMOTE))
    assert lead.policies.get(model="model").policy == Policy(checks=(), approvers=("group:rouge",))
    again = open_tracker(Principal("bob", frozenset({"rouge"}))).promotions.request("model", 1)
    assert lead.promotions.approve(again.request_id).state is PromotionState.PROMOTED


def test_what_is_no_new_name_is_refused(tracker: Tracker) -> None:
    for owner, to in (
        ("ann", "group:red"),
        ("group:red", "ann"),
        ("ann", "ann"),
        ("", "x"),
        ("x", ""),
        ("x", "group:"),
        # A quota of hers would be everybody's, and everybody's would go with who leaves.
        ("ann", "*"),
        ("*", "ann"),
        ("group:red", "group:*"),
        ("ann", "service:ci"),
        ("ann", "token:nightly@red"),
        ("ann", "check:1"),
    ):
        with pytest.raises(InvalidValue):
            tracker.people.rename(owner, to)
    for owner, to in (("*", "ann"), ("ann", "group:*"), ("group:*", "group:red")):
        with pytest.raises(InvalidValue, match="nobody's name"):
            tracker.people.offboard(owner, to)


def test_all_or_nothing(tracker: Tracker, ann: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    run = new_run(ann, "churn")
    # The last thing that is done fails, wherever the store is.
    monkeypatch.setattr("jupyter_mlops.store.accesstokens.revoke_of", _broken)
    with pytest.raises(Exception, match=r".+"):
        tracker.people.offboard("ann", "group:red")
    assert ann.runs.get(run).run_id == run
    assert ann.experiments.find("churn").owner == "ann"
    assert "experiment.transfer" not in actions(tracker)


def _broken(*_: object) -> int:
    raise RuntimeError("the process is gone")


# --- access tokens ---------------------------------------------------------------------------------------------------


def test_a_token_reaches_its_owners_things_only(tracker: Tracker, bob: Tracker, open_tracker: Opener) -> None:
    run = new_run(bob, "churn", "group:red")
    made = bob.access_tokens.create("nightly", owner="group:red", scope="read", days=1)
    assert made.secret is not None
    assert made.secret.startswith("mlops_access_")
    (listed,) = bob.access_tokens.list()
    assert (listed.secret, listed.last_used, listed.user) == (None, None, "bob")
    ci = open_tracker(made.principal())
    assert ci.runs.get(run).run_id == run
    with pytest.raises(PermissionDenied):
        ci.runs.comment(run, "hello")
    assert ci.principal.name == "token:nightly@red"
    with pytest.raises(PermissionDenied):
        open_tracker(Principal("ann", RED, decides=False)).access_tokens.create("again", owner="group:red")
    bob.access_tokens.revoke(made.token_id)
    with pytest.raises(NotFound):
        bob.access_tokens.revoke(made.token_id)
    assert {"token.create", "token.revoke"} <= set(actions(tracker))
    assert made.secret not in json.dumps([str(entry) for entry in tracker.audit(limit=100)])


def test_a_token_for_a_person_has_none_of_their_groups(bob: Tracker) -> None:
    principal = bob.access_tokens.create("mine", owner="bob").principal()
    assert (principal.name, principal.groups, principal.decides) == ("bob", frozenset(), False)


def test_what_no_token_can_be_is_refused(bob: Tracker) -> None:
    for given in ({"scope": "promote"}, {"scope": ""}, {"days": 0}, {"days": 367}, {"name": ""}):
        with pytest.raises(InvalidValue):
            bob.access_tokens.create(**{"name": "ci", **given})  # type: ignore[arg-type]


# --- the record, elsewhere -------------------------------------------------------------------------------------------


def test_a_copy_of_the_record_shows_by_itself_that_it_is_whole(tracker: Tracker, bob: Tracker) -> None:
    bob.experiments.create('named "\\ é \U0001f600')
    run = new_run(bob, "churn", "group:red")
    bob.models.register("model", run, "m")
    bob.models.set_alias("model", "staging", 1, reason="tab\tand line\n\x7f\u2028")
    head = tracker.audit_head()
    exported = [*tracker.audit_export(limit=2), *tracker.audit_export(after=2)]
    assert [each.position for each in exported] == list(range(1, head.position + 1))
    assert {each.source for each in exported} >= {"audit", "alias_move"}
    digest = hashlib.sha256(b"jupyter-mlops audit").hexdigest()
    for each in exported:
        assert each.entry is not None
        pairs = [list(pair) for pair in each.entry.items()]
        entry = json.dumps(pairs, separators=(",", ":"), ensure_ascii=False)
        digest = hashlib.sha256(b"\0".join([digest.encode(), each.source.encode(), entry.encode()])).hexdigest()
        assert digest == each.digest
    assert digest == head.digest
