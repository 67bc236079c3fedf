"""Who may do what: every method of the tracker, tried by everyone on the things of a group."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import pytest

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.checks import CheckResult, Verdict
from jupyter_mlops.core.credentials import token_digest
from jupyter_mlops.core.errors import (
    AlreadyExists,
    Conflict,
    InvalidValue,
    MLOpsError,
    NameTaken,
    NotFound,
    PermissionDenied,
)
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.logged_model import ModelRole, ModelUse
from jupyter_mlops.core.policy import Policy
from jupyter_mlops.core.quotas import Quota
from jupyter_mlops.core.records import (
    Batch,
    Dataset,
    Experiment,
    Input,
    Metric,
    NewRun,
    Role,
    Run,
    RunChange,
    Share,
    StreamPosition,
    Tag,
    View,
)
from jupyter_mlops.core.retention import Retention
from jupyter_mlops.tracker.embedded import EmbeddedTracker
from jupyter_mlops.tracker.operations import NOUNS, OPERATIONS
from jupyter_mlops.tracker.protocol import Tracker
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.contract.conftest import Opener

NO_DOORS = {"close", "page", "artifacts.check_location", *(noun for noun in NOUNS if noun)}
"""Of the tracker itself: what reads and writes nothing."""


def methods() -> Iterator[str]:
    for noun, kind in NOUNS.items():
        for name in vars(kind):
            method = f"{noun}.{name}".lstrip(".")
            if not name.startswith("_") and method not in NO_DOORS:
                yield method


# --- who -------------------------------------------------------------------------------------------------------------


class Level(IntEnum):
    """What somebody may do with an experiment and what is in it, or with a registered model."""

    UNSEEN = 0
    SEES = 1
    WRITES = 2
    OWNS = 3
    DECIDES = 4
    PROMOTES = 5
    ADMINISTERS = 6
    NOBODY = 7


class Actor(NamedTuple):
    principal: Principal
    level: Level
    on_models: Level
    """On a restricted one: shares are of experiments."""


RED, BLUE, CREW = frozenset({"red"}), frozenset({"blue"}), frozenset({"crew", "blue"})
ACTORS = {
    "a member": Actor(Principal("ada", RED), Level.DECIDES, Level.DECIDES),
    "a member's notebook": Actor(Principal("ada", RED, decides=False), Level.OWNS, Level.OWNS),
    "a lead": Actor(Principal("lee", RED, Scope.PROMOTE), Level.PROMOTES, Level.PROMOTES),
    "a lead's notebook": Actor(Principal("lee", RED, Scope.PROMOTE, decides=False), Level.OWNS, Level.OWNS),
    "a member who reads": Actor(Principal("ann", RED, Scope.READ), Level.SEES, Level.SEES),
    "a token for the group": Actor(
        Principal("ci", scope=Scope.NONE, group_scopes=(("red", Scope.WRITE),)), Level.DECIDES, Level.DECIDES
    ),
    "a token that reads the group's": Actor(
        Principal("ci", BLUE, group_scopes=(("red", Scope.READ),)), Level.SEES, Level.SEES
    ),
    "one it is shared with to read": Actor(Principal("bo", BLUE), Level.SEES, Level.UNSEEN),
    "a group it is shared with to write": Actor(Principal("cy", CREW), Level.WRITES, Level.UNSEEN),
    "that group's reading token": Actor(Principal("cy", CREW, Scope.READ), Level.SEES, Level.UNSEEN),
    "another group": Actor(Principal("eve", BLUE), Level.UNSEEN, Level.UNSEEN),
    "another user": Actor(Principal("joe"), Level.UNSEEN, Level.UNSEEN),
    "a user called like the group": Actor(Principal("group:red"), Level.UNSEEN, Level.UNSEEN),
    "a member without scopes": Actor(Principal("ada", RED, Scope.NONE), Level.UNSEEN, Level.UNSEEN),
    "an administrator": Actor(Principal("boss", scope=Scope.ADMIN), Level.ADMINISTERS, Level.ADMINISTERS),
}


# --- what ------------------------------------------------------------------------------------------------------------


class Thing(msgspec.Struct, frozen=True):
    """Everything there is, once, with names found nowhere else."""

    experiment_id: str
    experiment: str
    run_id: str
    run: str
    child_id: str
    model: str
    digest: str
    stream: str
    request_id: str
    """Asks for what is protected."""
    job_id: str
    """A check of that request."""
    webhook: str
    logged_model: str
    access_token: str

    @classmethod
    def unknown(cls) -> Thing:
        """One that does not exist."""
        ids = [new_id() for _ in range(13)]
        names = [f"n{id}" for id in ids]
        named = (ids[0], names[1], ids[2], names[3], ids[4], names[5], names[6], names[7])
        return cls(*named, *ids[8:])


MLMODEL = b"flavors: {python_function: {}}"


def make(admin: Tracker, member: Tracker) -> Thing:
    """A thing of the group red, shared with bo to read and with the group crew to write; its model is restricted."""
    return make_model(admin, member, make_runs(admin, member))


def make_runs(admin: Tracker, member: Tracker) -> Thing:
    """One without a model."""
    thing = Thing.unknown()
    experiment = admin.experiments.create(thing.experiment, owner="group:red", tags={"team": thing.experiment})
    admin.experiments.share(experiment.experiment_id, to_user="bo")
    admin.experiments.share(experiment.experiment_id, to_group="crew", role="write")
    run = add_run(admin, experiment, thing.run, thing.digest)
    member.runs.log(run.run_id, Batch(tags=(Tag("a", "b"),)), StreamPosition(thing.stream, 7))
    admin.runs.comment(run.run_id, "hm")
    logged = admin.logged_models.create(experiment.experiment_id, name="model", run_id=run.run_id, tags={"a": "b"})
    admin.artifacts.put(run.run_id, "model/MLmodel", io.BytesIO(MLMODEL))
    child = admin.runs.create(NewRun(experiment_id=experiment.experiment_id, parent_run_id=run.run_id))
    return msgspec.structs.replace(
        thing,
        experiment_id=experiment.experiment_id,
        run_id=run.run_id,
        child_id=child.run_id,
        logged_model=logged.model_id,
    )


def make_model(admin: Tracker, member: Tracker, thing: Thing) -> Thing:
    """The thing with a new model, and a new token."""
    model = f"n{new_id()}"
    admin.models.register(model, thing.run_id, "model", tags={"a": "b"})
    admin.models.set_alias(model, "prod", 1)
    request = admin.promotions.request(model, 1)
    everyone = dict.fromkeys(actor.principal.name for actor in ACTORS.values())
    member.promotions.comment(request.request_id, " ".join(f"@{name}" for name in everyone))
    admin.models.restrict(model, True)
    return msgspec.structs.replace(
        thing,
        model=model,
        request_id=request.request_id,
        job_id=request.checks[0].job_id,
        webhook=admin.webhooks.create("https://receiver.example/", model=model).webhook_id,
        access_token=admin.access_tokens.create(f"n{new_id()}", owner="group:red").token_id,
    )


def add_run(tracker: Tracker, experiment: Experiment, name: str, digest: str = "d") -> Run:
    batch = Batch(
        metrics=(Metric("auc", 0.9, 1),), inputs=(Input(Dataset("data", digest, "file", "/home/ada/x.csv", "{}")),)
    )
    return tracker.runs.create(NewRun(experiment_id=experiment.experiment_id, name=name, batch=batch))


def own(tracker: Tracker) -> str:
    """An owner whom the caller may give things: they themselves, or the group that they may write for."""
    return tracker.principal.name if tracker.principal.scope >= Scope.WRITE else "group:red"


def own_run_with_model(tracker: Tracker) -> str:
    experiment = tracker.experiments.create(f"own {new_id()}", owner=own(tracker))
    run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))
    tracker.artifacts.put(run.run_id, "model/MLmodel", io.BytesIO(MLMODEL))
    return run.run_id


def with_issued_token(tracker: Tracker) -> Tracker:
    """What a token shows that the caller has the store issue."""
    token = tracker.issue_token().token
    if not isinstance(tracker, EmbeddedTracker):
        return cast("Tracker", RemoteTracker(tracker.url, token))
    principal = tracker.principal_of_issued(token_digest(token))
    assert principal is not None
    return tracker.acting_for(principal)


# --- how -------------------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """One method: what it needs, and how it is called. A listing says whether it shows the thing."""

    needs: Level
    call: Callable[[Tracker, Thing, Path], object]
    lists: bool = False
    of_model: bool = False
    unseen: type[MLOpsError] = NotFound
    """What those get who do not see the thing."""
    refused: type[MLOpsError] = PermissionDenied
    allowed: type[MLOpsError] | None = None
    spoils: bool = False
    """Whether what is allowed leaves a thing that others cannot be tried on."""


def case(needs: Level, call: Callable[[Tracker, Thing, Path], object], **more: Any) -> Case:
    return Case(needs, call, **more)


def model(needs: Level, call: Callable[[Tracker, Thing, Path], object], **more: Any) -> Case:
    return Case(needs, call, of_model=True, **more)


def test_what_decides_is_declared() -> None:
    deciding = {id for id, each in CASES.items() if each.needs in (Level.DECIDES, Level.PROMOTES)}
    assert deciding | DECIDED_BY_ADMINISTRATORS == {each.id for each in OPERATIONS if each.decides}


def listing(found: Callable[[Tracker, Thing], bool], needs: Level = Level.SEES, **more: Any) -> Case:
    return Case(needs, lambda t, it, _: found(t, it), lists=True, **more)


def names(things: Any) -> set[str]:
    return {thing.name for thing in things}


def ids(runs: Any) -> set[str]:
    return {run.run_id for run in runs}


SEES, WRITES, OWNS, DECIDES = Level.SEES, Level.WRITES, Level.OWNS, Level.DECIDES
PROMOTES, ADMINISTERS = Level.PROMOTES, Level.ADMINISTERS
RESULT = CheckResult(name="loads", verdict=Verdict.PASSED, summary="it loads")
CASES: dict[str, Case] = {
    # Creating for an owner tells nothing about what that owner has.
    "experiments.create": case(
        OWNS,
        lambda t, it, _: t.experiments.create(it.experiment, owner="group:red"),
        unseen=PermissionDenied,
        allowed=AlreadyExists,
    ),
    "experiments.ensure": case(
        OWNS, lambda t, it, _: t.experiments.ensure(it.experiment, owner="group:red"), unseen=PermissionDenied
    ),
    "experiments.get": case(SEES, lambda t, it, _: t.experiments.get(it.experiment_id)),
    "experiments.find": case(SEES, lambda t, it, _: t.experiments.find(it.experiment)),
    "experiments.search": listing(
        lambda t, it: (
            it.experiment in names(t.experiments.search().items)
            or it.experiment in names(t.experiments.search(f"name = '{it.experiment}'").items)
            or it.experiment in names(t.experiments.search(f"tags.team = '{it.experiment}'", view=View.ALL).items)
        )
    ),
    "experiments.rename": case(
        OWNS, lambda t, it, _: t.experiments.rename(it.experiment_id, f"new {it.experiment}"), spoils=True
    ),
    "experiments.set_tags": case(OWNS, lambda t, it, _: t.experiments.set_tags(it.experiment_id, {"a": "b"})),
    "experiments.delete_tag": case(OWNS, lambda t, it, _: t.experiments.delete_tag(it.experiment_id, "team")),
    "experiments.delete": case(OWNS, lambda t, it, _: t.experiments.delete(it.experiment_id), spoils=True),
    "experiments.restore": case(OWNS, lambda t, it, _: t.experiments.restore(it.experiment_id)),
    "experiments.share": case(DECIDES, lambda t, it, _: t.experiments.share(it.experiment_id, to_user="joe")),
    "experiments.unshare": case(DECIDES, lambda t, it, _: t.experiments.unshare(it.experiment_id, to_user="bo")),
    "experiments.shares": case(SEES, lambda t, it, _: t.experiments.shares(it.experiment_id)),
    "experiments.transfer": case(
        DECIDES, lambda t, it, _: t.experiments.transfer(it.experiment_id, "joe"), spoils=True
    ),
    "runs.create": case(WRITES, lambda t, it, _: t.runs.create(NewRun(experiment_id=it.experiment_id))),
    "runs.get": case(SEES, lambda t, it, _: t.runs.get(it.run_id)),
    "runs.resolve": case(SEES, lambda t, it, _: [t.runs.resolve(it.run), t.runs.resolve(it.run_id[:-1])]),
    "runs.search": listing(
        lambda t, it: (
            it.run_id in ids(t.runs.search().items)
            or it.run_id in ids(t.runs.search((), "metrics.auc > 0", ["metrics.auc DESC"]).items)
            or it.child_id in ids(t.runs.search((), f"attributes.parent_run_id = '{it.run_id}'").items)
            or it.run_id in ids(t.runs.search((), f"datasets.digest = '{it.digest}'", view=View.ALL).items)
            or it.run_id in ids(t.runs.search((), f"attributes.experiment_id = '{it.experiment_id}'").items)
        )
    ),
    "runs.log": case(WRITES, lambda t, it, _: t.runs.log(it.run_id, Batch(tags=(Tag("c", "d"),)))),
    "runs.change": case(WRITES, lambda t, it, _: t.runs.change(it.run_id, RunChange(name="x")), spoils=True),
    "runs.heartbeat": case(WRITES, lambda t, it, _: t.runs.heartbeat(it.run_id)),
    "runs.delete_tag": case(WRITES, lambda t, it, _: t.runs.delete_tag(it.run_id, "a")),
    "runs.delete": case(OWNS, lambda t, it, _: t.runs.delete(it.run_id), spoils=True),
    "runs.restore": case(OWNS, lambda t, it, _: t.runs.restore(it.run_id)),
    "runs.history": case(SEES, lambda t, it, _: t.runs.history(it.run_id, "auc")),
    "runs.sampled": case(SEES, lambda t, it, _: t.runs.sampled(it.run_id, "auc", 10)),
    "runs.watermark": listing(lambda t, it: t.runs.watermark(it.stream) > 0, Level.ADMINISTERS),
    "runs.comment": case(WRITES, lambda t, it, _: t.runs.comment(it.run_id, "oh")),
    "runs.comments": case(SEES, lambda t, it, _: t.runs.comments(it.run_id)),
    # Somebody else made it.
    "runs.active": listing(lambda t, it: it.run_id in ids(t.runs.active()), Level.NOBODY),
    "runs.children": case(SEES, lambda t, it, _: t.runs.children(it.run_id)),
    "artifacts.put": case(WRITES, lambda t, it, _: t.artifacts.put(it.run_id, "f", io.BytesIO(b"x"))),
    "artifacts.put_folder": case(WRITES, lambda t, it, folder: t.artifacts.put_folder(it.run_id, folder, "folder")),
    "artifacts.put_part": case(
        WRITES, lambda t, it, _: t.artifacts.put_part(it.run_id, new_id(), "f", 0, io.BytesIO(b"x"))
    ),
    "artifacts.parts": case(WRITES, lambda t, it, _: t.artifacts.parts(it.run_id, new_id())),
    "artifacts.commit": case(WRITES, lambda t, it, _: t.artifacts.commit(it.run_id, new_id(), {})),
    "artifacts.abandon": case(WRITES, lambda t, it, _: t.artifacts.abandon(it.run_id, new_id())),
    "artifacts.list": case(SEES, lambda t, it, _: t.artifacts.list(it.run_id)),
    "artifacts.walk": case(SEES, lambda t, it, _: t.artifacts.walk(it.run_id)),
    "artifacts.stat": case(SEES, lambda t, it, _: t.artifacts.stat(it.run_id, "model/MLmodel")),
    "artifacts.open": case(SEES, lambda t, it, _: b"".join(t.artifacts.open(it.run_id, "model/MLmodel"))),
    "artifacts.download": case(SEES, lambda t, it, folder: t.artifacts.download(it.run_id, "model", folder / new_id())),
    "artifacts.delete": case(WRITES, lambda t, it, _: t.artifacts.delete(it.run_id, "model"), spoils=True),
    "models.create": model(
        SEES, lambda t, it, _: t.models.create(it.model, owner=own(t)), unseen=NameTaken, allowed=AlreadyExists
    ),
    "models.get": model(SEES, lambda t, it, _: t.models.get(it.model)),
    "models.search": listing(
        lambda t, it: (
            it.model in names(t.models.search().items)
            or it.model in names(t.models.search(f"name = '{it.model}'").items)
        ),
        of_model=True,
    ),
    "models.update": model(OWNS, lambda t, it, _: t.models.update(it.model, description="x")),
    "models.set_tags": model(OWNS, lambda t, it, _: t.models.set_tags(it.model, {"a": "b"}, version=1)),
    "models.delete_tag": model(OWNS, lambda t, it, _: t.models.delete_tag(it.model, "a", version=1)),
    "models.delete": model(
        OWNS, lambda t, it, _: [t.models.delete_alias(it.model, "prod"), t.models.delete(it.model)], spoils=True
    ),
    "models.restrict": model(DECIDES, lambda t, it, _: t.models.restrict(it.model, False), spoils=True),
    "models.transfer": model(DECIDES, lambda t, it, _: t.models.transfer(it.model, "group:blue"), spoils=True),
    "models.register": model(
        OWNS, lambda t, it, _: t.models.register(it.model, own_run_with_model(t), "model"), unseen=NameTaken
    ),
    "models.version": model(SEES, lambda t, it, _: t.models.version(it.model, 1)),
    "models.resolve": model(
        SEES, lambda t, it, _: [t.models.resolve(it.model, text) for text in ("1", "@prod", "latest")]
    ),
    "models.versions": listing(
        lambda t, it: (
            it.model in {version.model for version in t.models.versions().items}
            or it.model in {version.model for version in t.models.versions(f"run_id = '{it.run_id}'").items}
        ),
        of_model=True,
    ),
    "models.update_version": model(OWNS, lambda t, it, _: t.models.update_version(it.model, 1, description="x")),
    "models.delete_version": model(
        OWNS,
        lambda t, it, _: [t.models.delete_alias(it.model, "prod"), t.models.delete_version(it.model, 1)],
        spoils=True,
    ),
    "models.files": model(SEES, lambda t, it, _: t.models.files(it.model, 1)),
    "models.stat": model(SEES, lambda t, it, _: t.models.stat(it.model, 1, "MLmodel")),
    "models.open": model(SEES, lambda t, it, _: b"".join(t.models.open(it.model, 1, "MLmodel"))),
    "models.download": model(SEES, lambda t, it, folder: t.models.download(it.model, 1, folder / new_id())),
    "models.set_alias": model(OWNS, lambda t, it, _: t.models.set_alias(it.model, "next", 1)),
    "models.delete_alias": model(OWNS, lambda t, it, _: t.models.delete_alias(it.model, "prod"), spoils=True),
    "models.alias_history": model(SEES, lambda t, it, _: t.models.alias_history(it.model)),
    "promotions.request": model(OWNS, lambda t, it, _: t.promotions.request(it.model, 1, alias="champion")),
    "promotions.refresh": model(OWNS, lambda t, it, _: t.promotions.refresh(it.request_id)),
    "promotions.comment": model(OWNS, lambda t, it, _: t.promotions.comment(it.request_id, "hm")),
    # Of those, who has asked.
    "promotions.withdraw": model(ADMINISTERS, lambda t, it, _: t.promotions.withdraw(it.request_id), spoils=True),
    "promotions.get": model(SEES, lambda t, it, _: t.promotions.get(it.request_id)),
    "promotions.search": listing(
        lambda t, it: (
            it.request_id in {each.request_id for each in t.promotions.search().items}
            or it.request_id in {each.request_id for each in t.promotions.search(model=it.model, state="open").items}
        ),
        of_model=True,
    ),
    "promotions.waiting": listing(
        lambda t, it: it.request_id in {each.request_id for each in t.promotions.waiting().mentions}, of_model=True
    ),
    "promotions.evidence": model(SEES, lambda t, it, _: t.promotions.evidence(it.request_id)),
    "promotions.standing": model(SEES, lambda t, it, _: t.promotions.standing(it.model)),
    "promotions.history": model(SEES, lambda t, it, _: t.promotions.history(it.model)),
    "promotions.approve": model(PROMOTES, lambda t, it, _: t.promotions.approve(it.request_id), spoils=True),
    "promotions.reject": model(PROMOTES, lambda t, it, _: t.promotions.reject(it.request_id, reason="no"), spoils=True),
    "promotions.request_changes": model(
        PROMOTES, lambda t, it, _: t.promotions.request_changes(it.request_id, reason="hm"), spoils=True
    ),
    "promotions.rollback": model(
        PROMOTES, lambda t, it, _: t.promotions.rollback(it.model, "production", reason="bad"), allowed=Conflict
    ),
    "promotions.override": model(
        ADMINISTERS,
        lambda t, it, _: t.promotions.override(it.model, "production", version=1, reason="now"),
        spoils=True,
    ),
    "policies.get": model(SEES, lambda t, it, _: t.policies.get(model=it.model)),
    "policies.set": model(PROMOTES, lambda t, it, _: t.policies.set(Policy(approvals=2), model=it.model), spoils=True),
    "policies.history": model(SEES, lambda t, it, _: t.policies.history(model=it.model)),
    "checks.claim": model(ADMINISTERS, lambda t, it, _: t.checks.claim(), unseen=PermissionDenied),
    # Nobody has claimed it.
    "checks.renew": model(ADMINISTERS, lambda t, it, _: t.checks.renew(it.job_id, "x"), allowed=Conflict),
    "checks.report": model(ADMINISTERS, lambda t, it, _: t.checks.report(it.job_id, "x", RESULT), allowed=Conflict),
    "checks.self_report": model(OWNS, lambda t, it, _: t.checks.self_report(it.request_id, RESULT)),
    "models.consume": model(SEES, lambda t, it, _: t.models.consume(it.model, 1)),
    "models.consumers": model(SEES, lambda t, it, _: t.models.consumers(it.model)),
    "models.card": model(SEES, lambda t, it, _: t.models.card(it.model, 1)),
    "models.set_card": model(OWNS, lambda t, it, _: t.models.set_card(it.model, 1, "x")),
    "webhooks.create": model(DECIDES, lambda t, it, _: t.webhooks.create("https://x.example/", model=it.model)),
    "webhooks.list": listing(
        lambda t, it: it.webhook in {each.webhook_id for each in t.webhooks.list()}, OWNS, of_model=True
    ),
    "webhooks.delete": model(DECIDES, lambda t, it, _: t.webhooks.delete(it.webhook), spoils=True),
    "webhooks.deliveries": model(OWNS, lambda t, it, _: t.webhooks.deliveries(it.webhook)),
    "models.refer": model(OWNS, lambda t, it, _: t.models.refer(it.model, "s3://bucket/model")),
    "logged_models.create": case(WRITES, lambda t, it, _: t.logged_models.create(it.experiment_id)),
    "logged_models.get": case(SEES, lambda t, it, _: t.logged_models.get(it.logged_model)),
    "logged_models.search": listing(
        lambda t, it: it.logged_model in {each.model_id for each in t.logged_models.search().items}
    ),
    "logged_models.finish": case(WRITES, lambda t, it, _: t.logged_models.finish(it.logged_model, "READY")),
    "logged_models.log_params": case(WRITES, lambda t, it, _: t.logged_models.log_params(it.logged_model, [])),
    "logged_models.set_tags": case(WRITES, lambda t, it, _: t.logged_models.set_tags(it.logged_model, {"c": "d"})),
    "logged_models.delete_tag": case(WRITES, lambda t, it, _: t.logged_models.delete_tag(it.logged_model, "a")),
    "logged_models.delete": case(WRITES, lambda t, it, _: t.logged_models.delete(it.logged_model), spoils=True),
    "logged_models.use": case(
        WRITES,
        lambda t, it, _: t.logged_models.use(
            it.run_id, [ModelUse(run_id=it.run_id, model_id=it.logged_model, role=ModelRole.INPUT)]
        ),
    ),
    "logged_models.uses": listing(lambda t, it: bool(t.logged_models.uses([it.run_id]))),
    "quotas.standing": model(SEES, lambda t, _, __: t.quotas.standing("group:red")),
    "quotas.rules": case(ADMINISTERS, lambda t, _, __: t.quotas.rules(), unseen=PermissionDenied),
    "quotas.set": case(ADMINISTERS, lambda t, it, _: t.quotas.set(it.experiment, Quota()), unseen=PermissionDenied),
    "quotas.recount": case(ADMINISTERS, lambda t, _, __: t.quotas.recount(), unseen=PermissionDenied),
    "retention.rules": listing(
        lambda t, _: "group:red" in {rule.subject for rule in t.retention.rules()}, of_model=True
    ),
    "retention.set": case(
        ADMINISTERS, lambda t, it, _: t.retention.set(it.experiment, Retention(days=1)), unseen=PermissionDenied
    ),
    "retention.preview": model(SEES, lambda t, _, __: t.retention.preview("group:red")),
    "retention.apply": case(ADMINISTERS, lambda t, _, __: t.retention.apply(), unseen=PermissionDenied),
    "datasets.search": listing(lambda t, it: bool(t.datasets.search([it.experiment_id]))),
    "datasets.uses": listing(lambda t, it: bool(t.datasets.uses(it.digest))),
    "compare": case(SEES, lambda t, it, _: t.compare([it.run_id, it.child_id])),
    "compare_notebooks": case(SEES, lambda t, it, _: t.compare_notebooks(it.run_id, it.child_id), allowed=InvalidValue),
    "audit": listing(
        lambda t, it: bool({each.target for each in t.audit(limit=5000)} & {it.experiment_id, it.run_id, it.model}),
        Level.ADMINISTERS,
    ),
    "audit_head": case(Level.ADMINISTERS, lambda t, _, __: t.audit_head(), unseen=PermissionDenied),
    "audit_verify": case(Level.ADMINISTERS, lambda t, _, __: t.audit_verify(), unseen=PermissionDenied),
    # An administrator's token shows what is theirs: it never administers.
    "issue_token": listing(
        lambda t, it: (
            it.experiment in names(with_issued_token(t).experiments.search().items) or t.principal.scope is Scope.ADMIN
        )
    ),
    "revoke_token": listing(
        lambda t, it: (
            it.experiment in names(t.experiments.search().items) and t.revoke_token(t.issue_token().token) is None
        )
    ),
    "audit_export": case(Level.ADMINISTERS, lambda t, _, __: t.audit_export(), unseen=PermissionDenied),
    "people.offboard": case(
        ADMINISTERS,
        lambda t, _, __: t.people.offboard("group:red", "group:blue", dry_run=True),
        unseen=PermissionDenied,
    ),
    "people.rename": case(
        ADMINISTERS, lambda t, _, __: t.people.rename("group:red", "group:rouge", dry_run=True), unseen=PermissionDenied
    ),
    "access_tokens.create": case(
        DECIDES, lambda t, _, __: t.access_tokens.create("ci", owner="group:red"), unseen=PermissionDenied
    ),
    "access_tokens.list": listing(
        lambda t, it: it.access_token in {each.token_id for each in t.access_tokens.list()}, OWNS, of_model=True
    ),
    "access_tokens.revoke": model(DECIDES, lambda t, it, _: t.access_tokens.revoke(it.access_token), spoils=True),
    "gc": case(Level.ADMINISTERS, lambda t, _, __: t.gc(dry_run=True), unseen=PermissionDenied),
}
NEEDED_OF_TOKEN = {
    **{operation.id: operation.scope for operation in OPERATIONS},
    **dict.fromkeys(("artifacts.put", "artifacts.put_folder", "artifacts.put_part"), Scope.WRITE),
    **dict.fromkeys(("artifacts.open", "artifacts.download", "models.open", "models.download"), Scope.READ),
}
"""What a service asks of a credential, by method."""
DECIDED_BY_ADMINISTRATORS = {
    "promotions.override",
    "checks.claim",
    "checks.renew",
    "checks.report",
    "quotas.set",
    "retention.set",
    "people.offboard",
    "people.rename",
}
FOR_WHO_OWNS_SOMETHING = {"models.create", "models.register"}
"""Methods for which one must have something of one's own, or be able to."""


def test_every_method_has_a_case() -> None:
    assert set(CASES) == set(methods())


def writes_something(principal: Principal) -> bool:
    return max(principal.scope_on(principal.name), principal.scope_on("group:red")) >= Scope.WRITE


def outcome(call: Callable[[], object]) -> object:
    """What a call answers; of an error its class."""
    try:
        return call()
    except MLOpsError as error:
        return type(error)


@pytest.mark.parametrize("who", ACTORS)
def test_everyone_may_do_what_is_theirs_and_nothing_else(
    who: str, tracker: Tracker, open_tracker: Opener, tmp_path: Path
) -> None:
    actor = ACTORS[who]
    maker, asking = open_tracker(Principal("max", RED)), open_tracker(actor.principal)
    thing = make(tracker, maker)
    (tmp_path / "file").write_text("x")
    tracker.retention.set("group:red", Retention(days=30_000))
    wrong: list[str] = []
    used, with_used_model = make_runs(tracker, maker), make(tracker, maker)
    for method, tried in CASES.items():
        level = actor.on_models if tried.of_model else actor.level
        if method in FOR_WHO_OWNS_SOMETHING and not writes_something(actor.principal):
            continue
        # What is allowed may change it.
        allowed = level >= tried.needs and not tried.lists
        target = thing if not allowed else with_used_model if tried.of_model else used
        found = outcome(lambda tried=tried, target=target: tried.call(asking, target, tmp_path))
        if isinstance(asking, RemoteTracker) and actor.principal.widest < NEEDED_OF_TOKEN[method]:
            # A service asks first what the token is for, before it looks for anything.
            expected: object = PermissionDenied
        elif tried.lists:
            expected = level >= tried.needs
        elif level >= tried.needs:
            expected = tried.allowed
            found = found if isinstance(found, type) else None
        else:
            expected = tried.unseen if level is Level.UNSEEN else tried.refused
        if found != expected:
            wrong.append(f"{method}: {found}, not {expected}")
        if allowed and tried.spoils:
            if tried.of_model:
                with_used_model = make_model(tracker, maker, with_used_model)
            else:
                used = make_runs(tracker, maker)
    assert wrong == []
    assert tracker.runs.get(thing.run_id).name == thing.run
    assert tracker.experiments.get(thing.experiment_id).name == thing.experiment


def test_forbidden_and_unknown_look_alike(tracker: Tracker, open_tracker: Opener, tmp_path: Path) -> None:
    thing, unknown = make(tracker, open_tracker(Principal("max", RED))), Thing.unknown()
    stranger = open_tracker(ACTORS["another group"].principal)

    def told(tried: Case, about: Thing) -> str:
        with pytest.raises(NotFound) as caught:
            tried.call(stranger, about, tmp_path)
        text = caught.value.message
        for field in about.__struct_fields__:
            text = text.replace(getattr(about, field), field)
        return text

    alike = [
        tried
        for method, tried in CASES.items()
        if not tried.lists
        and tried.unseen is NotFound
        # Of what the credential is not for, a service says no more than that.
        and (not isinstance(stranger, RemoteTracker) or NEEDED_OF_TOKEN[method] <= stranger.principal.widest)
    ]
    assert len(alike) > 40
    for tried in alike:
        assert told(tried, thing) == told(tried, unknown)


# --- sharing ---------------------------------------------------------------------------------------------------------

Sharer = Callable[..., tuple[Tracker, Experiment, Run]]


@pytest.fixture
def ada(open_tracker: Opener) -> Tracker:
    return open_tracker(Principal("ada"))


@pytest.fixture
def bo(open_tracker: Opener) -> Tracker:
    return open_tracker(Principal("bo", BLUE))


def test_a_share_is_put_changed_and_taken_back(ada: Tracker, bo: Tracker) -> None:
    experiment = ada.experiments.create("churn")
    key = experiment.experiment_id
    run = add_run(ada, experiment, "r")
    for target in ({"to_user": "bo"}, {"to_group": "blue"}, {"to_everyone": True}):
        ada.experiments.share(key, **target)  # type: ignore[arg-type]
        assert bo.runs.search([key]).items == (run,)
        assert bo.runs.search().items == (run,)
        with pytest.raises(PermissionDenied, match="'ada', who shared it for reading only"):
            bo.runs.log(run.run_id, Batch(tags=(Tag("a", "b"),)))
        ada.experiments.share(key, **target, role=Role.WRITE)  # type: ignore[arg-type]
        bo.runs.log(run.run_id, Batch(tags=(Tag("a", "b"),)))
        run = ada.runs.get(run.run_id)
        ada.experiments.share(key, **target, role="read")  # type: ignore[arg-type]
        (share,) = ada.experiments.shares(key)
        assert (share.role, share.user) == (Role.READ, "ada")
        ada.experiments.unshare(key, **target)  # type: ignore[arg-type]
        assert ada.experiments.shares(key) == ()
        assert bo.runs.search().items == ()
        with pytest.raises(NotFound):
            bo.runs.get(run.run_id)
        with pytest.raises(NotFound, match="not shared"):
            ada.experiments.unshare(key, **target)  # type: ignore[arg-type]
    assert [entry.action for entry in ada.audit(limit=2)] == ["experiment.unshare", "experiment.share"]


def test_the_widest_share_counts_and_others_shares_are_not_shown(ada: Tracker, bo: Tracker) -> None:
    experiment = ada.experiments.create("churn")
    ada.experiments.share(experiment.experiment_id, to_everyone=True)
    ada.experiments.share(experiment.experiment_id, to_group="blue", role="write")
    ada.experiments.share(experiment.experiment_id, to_user="cy", role="write")
    assert bo.runs.create(NewRun(experiment_id=experiment.experiment_id)).user == "bo"

    def targets(shares: tuple[Share, ...]) -> set[object]:
        return {share.to_user or share.to_group or share.to_everyone for share in shares}

    assert targets(ada.experiments.shares(experiment.experiment_id)) == {True, "blue", "cy"}
    assert targets(bo.experiments.shares(experiment.experiment_id)) == {True, "blue"}


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"to_user": "bo", "to_everyone": True},
        {"to_user": "bo", "to_group": "blue"},
        {"to_user": ""},
        {"to_user": "bo", "role": "admin"},
    ],
)
def test_a_share_that_is_none_is_refused(ada: Tracker, arguments: dict[str, Any]) -> None:
    experiment = ada.experiments.create("churn")
    with pytest.raises(InvalidValue):
        ada.experiments.share(experiment.experiment_id, **arguments)
    assert ada.experiments.shares(experiment.experiment_id) == ()


def test_runs_that_somebody_made_in_a_shared_experiment_are_theirs_while_it_is_shared(
    ada: Tracker, bo: Tracker
) -> None:
    experiment = ada.experiments.create("churn")
    ada.experiments.share(experiment.experiment_id, to_user="bo", role="write")
    run = add_run(bo, experiment, "r")
    assert bo.runs.active() == (run,)
    assert ada.runs.active() == ()
    with pytest.raises(PermissionDenied):
        bo.runs.delete(run.run_id)
    ada.experiments.unshare(experiment.experiment_id, to_user="bo")
    assert bo.runs.active() == ()
    with pytest.raises(NotFound):
        bo.runs.heartbeat(run.run_id)


def test_a_parent_that_is_not_shared_stays_hidden(ada: Tracker, bo: Tracker) -> None:
    hidden, shared = ada.experiments.create("hidden"), ada.experiments.create("shared")
    ada.experiments.share(shared.experiment_id, to_user="bo", role="write")
    parent = add_run(ada, hidden, "parent")
    child = ada.runs.create(NewRun(experiment_id=shared.experiment_id, parent_run_id=parent.run_id))
    assert bo.runs.get(child.run_id) == child
    for call in (
        lambda: bo.runs.get(parent.run_id),
        lambda: bo.runs.children(parent.run_id),
        lambda: bo.runs.create(NewRun(experiment_id=shared.experiment_id, parent_run_id=parent.run_id)),
    ):
        with pytest.raises(NotFound, match=parent.run_id):
            call()
    mine = add_run(bo, bo.experiments.create("mine", owner="bo"), "mine")
    sibling = ada.runs.create(NewRun(experiment_id=hidden.experiment_id, parent_run_id=child.run_id))
    own = bo.runs.create(NewRun(experiment_id=mine.experiment_id, parent_run_id=child.run_id))
    assert bo.runs.children(child.run_id) == (own,)
    assert ada.runs.children(child.run_id) == (sibling,)
    # A deletion takes only what belongs to who deletes.
    ada.runs.delete(child.run_id)
    assert bo.runs.search([mine.experiment_id]).items == (own, mine)
    assert ada.runs.search([hidden.experiment_id]).items == (parent,)


def test_a_page_token_of_another_shows_nothing_more(ada: Tracker, bo: Tracker) -> None:
    experiment = ada.experiments.create("churn")
    for number in range(4):
        add_run(ada, experiment, str(number))
    first = ada.runs.search((), "", ["metrics.auc DESC"], limit=2)
    assert len(first.items) == 2
    assert first.next_page_token is not None
    assert bo.runs.search((), "", ["metrics.auc DESC"], limit=2, page_token=first.next_page_token).items == ()


def test_a_run_id_that_is_taken_elsewhere_tells_nothing_else(ada: Tracker, bo: Tracker) -> None:
    run = add_run(ada, ada.experiments.create("churn"), "secret")
    mine = bo.experiments.create("mine", owner="bo")
    with pytest.raises(AlreadyExists) as caught:
        bo.runs.create(NewRun(experiment_id=mine.experiment_id, run_id=run.run_id))
    assert caught.value.message == f"the run id {run.run_id} is taken: choose another"


def test_who_submitted_a_run_is_kept(ada: Tracker) -> None:
    experiment = ada.experiments.create("churn")
    run = ada.runs.create(NewRun(experiment_id=experiment.experiment_id, submitted_by="bo"))
    assert (run.user, run.submitted_by) == ("ada", "bo")
    assert ada.runs.search([experiment.experiment_id]).items[0].submitted_by == "bo"
    with pytest.raises(InvalidValue, match="user"):
        ada.runs.create(NewRun(experiment_id=experiment.experiment_id, submitted_by=" "))


# --- streams ---------------------------------------------------------------------------------------------------------


def test_nobody_spoils_the_stream_of_another(ada: Tracker, bo: Tracker) -> None:
    run = add_run(ada, ada.experiments.create("churn"), "r")
    mine = add_run(bo, bo.experiments.create("mine", owner="bo"), "mine")
    ada.runs.log(run.run_id, Batch(tags=(Tag("a", "1"),)), StreamPosition("s", 1))
    for call in (
        lambda: bo.runs.log(mine.run_id, Batch(tags=(Tag("a", "x"),)), StreamPosition("s", 99)),
        lambda: bo.artifacts.put(mine.run_id, "f", io.BytesIO(b"x"), StreamPosition("s", 99)),
    ):
        with pytest.raises(PermissionDenied, match="stream"):
            call()
    assert (ada.runs.watermark("s"), bo.runs.watermark("s")) == (1, 0)
    assert bo.runs.get(mine.run_id).tags == bo.artifacts.walk(mine.run_id) == ()
    ada.runs.log(run.run_id, Batch(tags=(Tag("a", "2"),)), StreamPosition("s", 2))
    assert ada.runs.get(run.run_id).tags == (Tag("a", "2"),)


# --- owners ----------------------------------------------------------------------------------------------------------


def test_things_belong_to_the_default_owner(open_tracker: Opener) -> None:
    single, several = open_tracker(Principal("ada", RED)), open_tracker(Principal("cy", CREW))
    chosen = open_tracker(Principal("cy", CREW, default_owner="group:crew"))
    assert single.experiments.create("churn").owner == "group:red"
    assert single.experiments.ensure("churn").owner == "group:red"
    assert several.experiments.ensure("churn").owner == "cy"
    assert chosen.experiments.ensure("churn").owner == "group:crew"
    assert chosen.experiments.find("churn").owner == "group:crew"
    assert several.experiments.find("churn").owner == "cy"
    assert [single.models.create("a").owner, several.models.create("b").owner] == ["group:red", "cy"]
    elsewhere = open_tracker(Principal("cy", CREW, default_owner="group:red"))
    with pytest.raises(PermissionDenied, match="group:red"):
        elsewhere.experiments.create("churn")


def test_a_group_before_a_name_is_its_owner(open_tracker: Opener) -> None:
    cy, joe = open_tracker(Principal("cy", CREW)), open_tracker(Principal("joe"))
    made = cy.experiments.create("crew/churn")
    assert (made.owner, made.name) == ("group:crew", "churn")
    assert cy.experiments.ensure("crew/churn") == cy.experiments.find("crew/churn") == made
    assert cy.experiments.find("churn") == made
    with pytest.raises(AlreadyExists, match=r"group:crew.*'churn'"):
        cy.experiments.create("crew/churn")
    with pytest.raises(NotFound):
        cy.experiments.find("blue/churn")
    with pytest.raises(InvalidValue):
        cy.experiments.create("crew/")
    assert cy.experiments.create("crew/churn", owner="cy").name == "crew/churn"
    plain = joe.experiments.ensure("crew/churn")
    assert (plain.owner, plain.name) == ("joe", "crew/churn")
    assert joe.experiments.find("crew/churn") == plain


def test_a_name_means_the_own_before_the_shared(ada: Tracker, bo: Tracker) -> None:
    theirs = ada.experiments.create("churn")
    ada.experiments.share(theirs.experiment_id, to_user="bo")
    assert bo.experiments.find("churn") == theirs
    mine = bo.experiments.create("churn", owner="bo")
    assert bo.experiments.find("churn") == mine
    ours = bo.experiments.ensure("churn")
    assert (ours.owner, bo.experiments.find("churn")) == ("group:blue", ours)


def test_an_experiment_is_handed_over(ada: Tracker, bo: Tracker) -> None:
    experiment = ada.experiments.create("churn")
    run = add_run(ada, experiment, "r")
    ada.experiments.share(experiment.experiment_id, to_user="cy")
    ada.experiments.transfer(experiment.experiment_id, "group:blue")
    with pytest.raises(NotFound):
        ada.runs.get(run.run_id)
    assert bo.runs.get(run.run_id) == run
    assert bo.experiments.get(experiment.experiment_id).owner == "group:blue"
    assert [share.to_user for share in bo.experiments.shares(experiment.experiment_id)] == ["cy"]
    entry = ada.audit(limit=1)[0]
    assert (entry.action, entry.detail) == (
        "experiment.transfer",
        {"name": "churn", "from": "ada", "to": "group:blue"},
    )
    bo.experiments.create("mine", owner="bo")
    other = ada.experiments.create("mine")
    with pytest.raises(NameTaken, match="rename"):
        ada.experiments.transfer(other.experiment_id, "bo")
    for owner in ("", "group:", "group: "):
        with pytest.raises(InvalidValue):
            ada.experiments.transfer(other.experiment_id, owner)
    assert ada.experiments.get(other.experiment_id).owner == "ada"


# --- registered models -----------------------------------------------------------------------------------------------


def register(tracker: Tracker, run: Run, name: str) -> None:
    tracker.artifacts.put(run.run_id, "model/MLmodel", io.BytesIO(MLMODEL))
    tracker.models.register(name, run.run_id, "model")


def test_an_open_model_does_not_tell_where_a_private_run_has_its_data(ada: Tracker, bo: Tracker) -> None:
    run = add_run(ada, ada.experiments.create("churn"), "r", "d1")
    register(ada, run, "churn")
    [seen] = bo.datasets.uses("d1")
    assert (seen.dataset, seen.versions) == (Dataset("data", "d1"), (("churn", 1),))
    ada.runs.delete(run.run_id)
    [own] = ada.datasets.uses("d1")
    assert own.dataset == Dataset("data", "d1", "file", "/home/ada/x.csv", "{}")
    assert bo.datasets.uses("d1") == (seen,)


def test_a_model_is_open_until_it_is_restricted(ada: Tracker, bo: Tracker) -> None:
    run = add_run(ada, ada.experiments.create("churn"), "r", "d1")
    register(ada, run, "churn")
    assert bo.models.get("churn").restricted is False
    assert bo.models.resolve("churn", "latest").run_id == run.run_id
    with pytest.raises(PermissionDenied):
        bo.models.restrict("churn", True)
    with pytest.raises(NotFound):
        bo.artifacts.list(run.run_id)
    assert ada.models.restrict("churn", True).restricted is True
    assert ada.models.get("churn").restricted is True
    assert bo.models.search().items == bo.models.versions().items == ()
    with pytest.raises(NameTaken) as caught:
        bo.models.create("churn")
    assert caught.value.message == "the name 'churn' is taken: choose another name"
    bo.models.create("mine", owner="bo")
    with pytest.raises(NameTaken):
        bo.models.update("mine", new_name="churn")
    ada.models.restrict("churn", False)
    assert [each.name for each in bo.models.search().items] == ["churn", "mine"]


def test_a_model_is_handed_over(ada: Tracker, bo: Tracker) -> None:
    ada.models.create("churn")
    ada.models.restrict("churn", True)
    ada.models.transfer("churn", "group:blue")
    with pytest.raises(NotFound):
        ada.models.get("churn")
    assert bo.models.get("churn").owner == "group:blue"
    assert ada.audit(limit=1)[0].detail == {"from": "ada", "to": "group:blue"}


def test_a_model_is_registered_from_a_shared_run(ada: Tracker, bo: Tracker) -> None:
    experiment = ada.experiments.create("churn")
    run = add_run(ada, experiment, "r", "d1")
    register(ada, run, "theirs")
    ada.models.restrict("theirs", True)
    with pytest.raises(NotFound, match=run.run_id):
        bo.models.register("mine", run.run_id, "model")
    ada.experiments.share(experiment.experiment_id, to_everyone=True)
    bo.models.register("mine", run.run_id, "model")
    assert bo.models.get("mine").owner == "group:blue"
    with pytest.raises(NameTaken):
        bo.models.register("theirs", run.run_id, "model")
    assert [use.versions for use in bo.datasets.uses("d1")] == [(("mine", 1),)]
    assert [use.versions for use in ada.datasets.uses("d1")] == [(("mine", 1), ("theirs", 1))]
    # Without the run, who sees a version sees what it came from, and who does not, does not.
    ada.runs.delete(run.run_id)
    assert [use.versions for use in bo.datasets.uses("d1")] == [(("mine", 1),)]
    assert [use.versions for use in ada.datasets.uses("d1")] == [(("mine", 1),), (("theirs", 1),)]
    bo.models.restrict("mine", True)
    assert [use.versions for use in ada.datasets.uses("d1")] == [(("theirs", 1),)]
