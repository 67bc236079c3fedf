"""Who uses models, their cards, who is told of them, and the seals of the record."""

from __future__ import annotations

import io
from typing import Any

import pytest

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.audit import written
from jupyter_mlops.core.checks import CheckResult, Verdict
from jupyter_mlops.core.errors import InvalidValue, NotFound, PermissionDenied
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Batch, Dataset, Input, Metric, NewRun, Param
from jupyter_mlops.core.webhooks import DeliveryState, Template
from jupyter_mlops.store.consumers import MOST_PURPOSES, MOST_REFERENCES
from jupyter_mlops.tracker.protocol import Tracker
from tests.contract.conftest import Opener

MLMODEL = b"flavors: {python_function: {loader_module: mlflow.sklearn}}"
ANN = Principal("ann", groups=frozenset({"growth"}), default_owner="group:growth")
BEN = Principal("ben", groups=frozenset({"growth"}), default_owner="group:growth")
EVE = Principal("eve")


def register(tracker: Tracker, name: str = "churn", batch: Batch | None = None) -> str:
    experiment = tracker.experiments.ensure("models")
    run = tracker.runs.create(
        NewRun(experiment_id=experiment.experiment_id, source="churn.ipynb", batch=batch or Batch())
    )
    tracker.artifacts.put(run.run_id, "model/MLmodel", io.BytesIO(MLMODEL))
    tracker.models.register(name, run.run_id, "model", description="who leaves")
    return run.run_id


# --- consumers -------------------------------------------------------------------------------------------------------


def test_loads_are_counted_by_who_loads_which_version_what_for(open_tracker: Opener) -> None:
    ann, eve = open_tracker(ANN), open_tracker(EVE)
    register(ann)
    for _ in range(3):
        eve.models.consume("churn", 1, reference="@production", purpose="scoring")
    eve.models.consume("churn", 1)
    ann.models.consume("churn", 1, purpose="report.ipynb")
    seen = {(each.user, each.reference, each.purpose): each.loads for each in ann.models.consumers("churn")}
    assert seen == {("eve", "@production", "scoring"): 3, ("eve", "", ""): 1, ("ann", "", "report.ipynb"): 1}
    # Who else uses the models of others is not told.
    assert {each.user for each in eve.models.consumers("churn")} == {"eve"}
    [first] = [each for each in ann.models.consumers("churn") if each.loads == 3]
    assert first.first <= first.last
    ann.models.delete_version("churn", 1)
    assert ann.models.consumers("churn") == ()


def test_of_one_who_says_each_time_something_else_the_last_is_kept(open_tracker: Opener) -> None:
    ann, eve = open_tracker(ANN), open_tracker(EVE)
    register(ann)
    ann.models.consume("churn", 1, purpose="report.ipynb")
    eve.models.consume("churn", 1, reference="@production", purpose="scoring")
    for number in range(2 * MOST_PURPOSES):
        eve.models.consume("churn", 1, purpose=f"client/{number}")
        eve.models.consume("churn", 1, purpose="nightly")
    seen = [(each.user, each.reference, each.purpose, each.loads) for each in ann.models.consumers("churn")]
    kept = {int(each[2][7:]): each for each in seen if each[2].startswith("client/")}
    assert len(kept) == MOST_PURPOSES - 1
    # Which of two goes that came in the same millisecond is not said.
    assert set(range(2 * MOST_PURPOSES - 10, 2 * MOST_PURPOSES)) <= kept.keys()
    assert not set(range(MOST_PURPOSES - 10)) & kept.keys()
    # What goes on is counted throughout; what is said with another alias, or by others, is not in its way.
    others = {("eve", "", "nightly", 2 * MOST_PURPOSES), ("eve", "@production", "scoring", 1)}
    assert set(seen) - set(kept.values()) == {*others, ("ann", "", "report.ipynb", 1)}


def test_of_one_who_says_each_time_another_alias_the_last_are_kept(open_tracker: Opener) -> None:
    ann, eve = open_tracker(ANN), open_tracker(EVE)
    register(ann)
    for number in range(MOST_REFERENCES + 5):
        eve.models.consume("churn", 1, reference=f"@a-{number}", purpose="scoring")
    seen = [each.reference for each in ann.models.consumers("churn")]
    assert len(seen) == MOST_REFERENCES
    assert f"@a-{MOST_REFERENCES + 4}" in seen
    assert "@a-0" not in seen


def test_a_load_is_noted_only_of_what_may_be_read(open_tracker: Opener) -> None:
    ann, eve = open_tracker(ANN), open_tracker(EVE)
    register(ann)
    with pytest.raises(NotFound):
        eve.models.consume("churn", 2)
    with pytest.raises(InvalidValue, match="@production"):
        eve.models.consume("churn", 1, reference="production")
    ann.models.restrict("churn", True)
    for call in (lambda: eve.models.consume("churn", 1), lambda: eve.models.consumers("churn")):
        with pytest.raises(NotFound):
            call()
    assert ann.models.consumers("churn") == ()


# --- cards -----------------------------------------------------------------------------------------------------------


def test_a_card_is_drafted_from_the_record_as_far_as_the_reader_may_see_it(open_tracker: Opener) -> None:
    ann, eve = open_tracker(ANN), open_tracker(EVE)
    batch = Batch(
        metrics=(Metric("auc", 0.912, 1),),
        params=(Param("depth", 3, "3"),),
        inputs=(Input(Dataset("march", "d1", rows=7), "training"),),
    )
    run_id = register(ann, batch=batch)
    card = ann.models.card("churn", 1)
    assert card.edited_by is None
    for text in (
        "# churn version 1",
        "who leaves",
        "| depth | 3 |",
        "| auc | 0.912 |",
        "| march | training | d1 | 7 |",
    ):
        assert text in card.text
    assert run_id in card.text
    hidden = eve.models.card("churn", 1).text
    assert "who leaves" in hidden
    assert not [secret for secret in ("depth", "0.912", "churn.ipynb") if secret in hidden]


def test_a_card_is_edited_and_drafted_again(open_tracker: Opener) -> None:
    ann, eve = open_tracker(ANN), open_tracker(EVE)
    register(ann)
    draft = ann.models.card("churn", 1)
    with pytest.raises(PermissionDenied):
        eve.models.set_card("churn", 1, "mine")
    card = ann.models.set_card("churn", 1, "# Churn\n\nNot for minors.\n")
    assert (card.text, card.edited_by) == ("# Churn\n\nNot for minors.\n", "ann")
    assert eve.models.card("churn", 1) == card
    assert ann.models.set_card("churn", 1, "") == draft
    assert [entry.action for entry in ann.audit() if entry.action == "card.edit"] == ["card.edit"] * 2


def test_texts_of_a_run_are_no_markup_of_its_card(open_tracker: Opener) -> None:
    ann = open_tracker(ANN)
    register(ann, batch=Batch(params=(Param("a|b", "x", "<img src=x> [y](z)\n# h"),)))
    text = ann.models.card("churn", 1).text
    assert r"a\|b" in text
    assert "<img" not in text.replace(r"\<img", "")
    assert "\n# h" not in text


# --- webhooks --------------------------------------------------------------------------------------------------------


def test_a_webhook_is_created_listed_and_deleted(open_tracker: Opener) -> None:
    ann, ben = open_tracker(ANN), open_tracker(BEN)
    register(ann)
    url = "https://hooks.slack.com/services/T0/B0/password?x=1"
    made = ann.webhooks.create(url, model="churn", events=["alias.*", "alias.*"], template="slack")
    assert (made.url, made.owner, made.events, made.template) == (url, "group:growth", ("alias.*",), Template.SLACK)
    assert made.secret is not None
    assert made.secret.startswith("whsec_")
    [seen] = ben.webhooks.list()
    assert (seen.webhook_id, seen.secret, seen.url) == (made.webhook_id, None, "https://hooks.slack.com/…")
    assert "password" not in str([entry.detail for entry in ann.audit()])
    ann.models.set_alias("churn", "staging", 1, reason="best")
    [waiting] = ben.webhooks.deliveries(made.webhook_id)
    assert (waiting.kind, waiting.model, waiting.state) == ("alias.moved", "churn", DeliveryState.WAITING)
    ben.webhooks.delete(made.webhook_id)
    assert ann.webhooks.list() == ()
    with pytest.raises(NotFound):
        ann.webhooks.deliveries(made.webhook_id)


def test_webhooks_are_their_owners(open_tracker: Opener) -> None:
    ann, eve = open_tracker(ANN), open_tracker(EVE)
    register(ann)
    made = ann.webhooks.create("https://receiver.example/", owner="group:growth")
    own = eve.webhooks.create("https://eve.example/")
    assert [each.webhook_id for each in eve.webhooks.list()] == [own.webhook_id]
    assert eve.webhooks.list("group:growth") == ()
    with pytest.raises(PermissionDenied):
        eve.webhooks.create("https://eve.example/", model="churn")
    with pytest.raises(PermissionDenied):
        eve.webhooks.create("https://eve.example/", owner="group:growth")
    for call in (eve.webhooks.delete, eve.webhooks.deliveries):
        with pytest.raises(NotFound):
            call(made.webhook_id)
    ann.models.set_alias("churn", "staging", 1)
    assert eve.webhooks.deliveries(own.webhook_id) == ()


def test_the_token_of_a_notebooks_server_sends_nothing_of_a_group_elsewhere(open_tracker: Opener) -> None:
    kernel = open_tracker(Principal("ann", groups=frozenset({"growth"}), decides=False))
    register(open_tracker(ANN))
    for named in ({"model": "churn"}, {"owner": "group:growth"}):
        with pytest.raises(PermissionDenied, match="decides nothing"):
            kernel.webhooks.create("https://receiver.example/", **named)
    made = open_tracker(ANN).webhooks.create("https://receiver.example/", model="churn")
    with pytest.raises(PermissionDenied, match="decides nothing"):
        kernel.webhooks.delete(made.webhook_id)


@pytest.mark.parametrize(
    "given",
    [
        {"url": "ftp://x.example/"},
        {"url": "https:///x"},
        {"url": "https://user:password@x.example/"},
        {"url": "http://x.example/a b"},
        {"url": "http://x.example:99999/"},
        {"url": "http://x.example/\r\nX: y"},
        {"url": "mailto:nobody"},
        {"url": "mailto:a@b.example?bcc=c@d.example"},
        {"url": "mailto:a@b.example", "template": "slack"},
        {"url": "https://x.example/", "events": []},
        {"url": "https://x.example/", "events": ["run.created"]},
        {"url": "https://x.example/", "events": ["alias"]},
        {"url": "https://x.example/", "template": "yaml"},
        {"url": "https://x.example/", "model": "churn", "owner": "ann"},
    ],
)
def test_what_is_no_webhook_is_refused(tracker: Tracker, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue) as refused:
        tracker.webhooks.create(**given)
    assert "password" not in refused.value.message.replace("a password does not", "")
    assert tracker.webhooks.list() == ()


def test_a_renamed_model_keeps_its_webhook_and_a_deleted_one_tells_so(tracker: Tracker) -> None:
    register(tracker)
    made = tracker.webhooks.create("https://receiver.example/", model="churn", events=["model.*"])
    tracker.models.update("churn", new_name="leavers")
    assert [each.model for each in tracker.webhooks.list()] == ["leavers"]
    tracker.models.delete("leavers")
    told = tracker.webhooks.deliveries(made.webhook_id)
    assert [(each.kind, each.model) for each in told] == [("model.deleted", "leavers"), ("model.changed", "leavers")]


def test_a_promotion_is_told_and_its_checks_are_on_the_card(open_tracker: Opener) -> None:
    red = frozenset({"red"})
    admin = open_tracker(Principal("boss", scope=Scope.ADMIN))
    ada = open_tracker(Principal("ada", red, default_owner="group:red"))
    bo = open_tracker(Principal("bo", red, Scope.PROMOTE))
    register(ada)
    hook = ada.webhooks.create("https://receiver.example/", model="churn", events=["promotion.*", "alias.*"])
    open_tracker(EVE).models.consume("churn", 1, reference="@production")
    request = ada.promotions.request("churn", 1, reason="better")
    bo.promotions.approve(request.request_id)
    job = admin.checks.claim()
    assert job is not None
    admin.checks.report(job.job_id, job.claim, CheckResult(name="loads", verdict=Verdict.PASSED, summary="it predicts"))
    told = [each.kind for each in reversed(ada.webhooks.deliveries(hook.webhook_id))]
    assert told[0] == "promotion.requested"
    assert "promotion.reviewed" in told
    assert told[-2:] == ["alias.moved", "promotion.promoted"]
    assert "| loads | passed | it predicts | boss |" in bo.models.card("churn", 1).text
    evidence = bo.promotions.evidence(request.request_id)
    assert [each.user for each in evidence.consumers] == ["eve"]
    assert evidence.candidate is not None
    assert evidence.candidate.card.startswith("# churn version 1")
    assert admin.audit_head().position > 0
    assert admin.audit_verify().intact


# --- the record ------------------------------------------------------------------------------------------------------


def test_the_record_is_sealed_and_compared_for_administrators(open_tracker: Opener) -> None:
    admin, ann = open_tracker(Principal("root", scope=Scope.ADMIN)), open_tracker(ANN)
    empty = admin.audit_head()
    assert empty.position == 0
    register(ann)
    ann.models.set_alias("churn", "staging", 1)
    before = admin.audit_verify()
    assert before.intact
    assert before.unsealed > 0
    head = admin.audit_head()
    assert head.position == before.unsealed
    ann.models.set_alias("churn", "canary", 1)
    later = admin.audit_head()
    assert later.position == head.position + 2
    verdict = admin.audit_verify("\n".join(written(each) for each in (empty, head, later)))
    assert (verdict.intact, verdict.unsealed, verdict.head.digest) == (True, 0, later.digest)
    other = written(head).replace(head.digest, "0" * 64)
    assert not admin.audit_verify(other).intact
    with pytest.raises(InvalidValue, match="line 1"):
        admin.audit_verify("something else")
    for call in (ann.audit_head, ann.audit_verify):
        with pytest.raises(PermissionDenied):
            call()


def test_an_unknown_webhook_is_not_found(tracker: Tracker) -> None:
    for id in (new_id(), "x"):
        with pytest.raises(NotFound):
            tracker.webhooks.delete(id)
