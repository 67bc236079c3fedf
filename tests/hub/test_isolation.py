"""Two groups and an outsider, over every route: nothing of the others is told or changed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import msgspec
import pytest
import requests

from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.checks import CheckResult, Verdict
from jupyter_mlops.core.errors import NotFound
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.policy import Policy
from jupyter_mlops.core.records import Batch, Dataset, Input, Metric, NewRun, Param, RunChange, StreamPosition, Tag
from jupyter_mlops.tracker.operations import (
    MODEL_ARCHIVE,
    OPERATIONS,
    PREFIX,
    RUN_CONTENT,
    UPLOAD_CONTENT,
    VERSION_CONTENT,
    Operation,
)
from jupyter_mlops.tracker.remote import RemoteTracker
from jupyter_mlops.tracker.remote.client import filled
from tests.hub import realhub
from tests.hub.realhub import LEAD, MEMBER, OTHER, OUTSIDER, authorization

pytestmark = pytest.mark.slow

SECRET = "xyzzy"
"""Is in everything of the red group's that somebody could be told, and in nothing that the others send."""
MODEL = "plain-name"
STREAM = "kernel-of-red"


class Things(NamedTuple):
    """What the red group has."""

    experiment_id: str
    run_id: str
    digest: str
    upload_id: str
    webhook_id: str
    request_id: str
    job_id: str
    logged_model_id: str
    token_id: str
    model: str = MODEL


@pytest.fixture(scope="module")
def tokens(hub: realhub.Hub) -> dict[str, str]:
    return {user: hub.token(user) for user in (MEMBER, LEAD, OTHER, OUTSIDER)}


@pytest.fixture(scope="module")
def trackers(hub: realhub.Hub, tokens: dict[str, str]) -> Iterator[dict[str, RemoteTracker]]:
    with ExitStack() as opened:
        yield {user: opened.enter_context(RemoteTracker(hub.service_url, token)) for user, token in tokens.items()}


@pytest.fixture(scope="module")
def things(trackers: dict[str, RemoteTracker]) -> Things:
    ann = trackers[MEMBER]
    experiment = ann.experiments.create(f"{SECRET} churn", tags={"about": SECRET})
    assert experiment.owner == "group:red"
    digest = new_id()
    batch = Batch(
        metrics=(Metric(f"{SECRET}_auc", 0.9, 1),),
        params=(Param("depth", SECRET, SECRET),),
        tags=(Tag("kind", SECRET),),
        inputs=(Input(Dataset(name=SECRET, digest=digest)),),
    )
    run = ann.runs.create(
        NewRun(experiment_id=experiment.experiment_id, name=f"{SECRET} run", source=f"{SECRET}.ipynb", batch=batch),
        position=StreamPosition(STREAM, 1),
    )
    ann.runs.comment(run.run_id, SECRET)
    ann.runs.create(NewRun(experiment_id=experiment.experiment_id, name=f"{SECRET} child", parent_run_id=run.run_id))
    logged = ann.logged_models.create(
        experiment.experiment_id, name=f"{SECRET}-model", run_id=run.run_id, tags={"about": SECRET}
    )
    ann.artifacts.put(run.run_id, "model/MLmodel", io.BytesIO(b"flavors: {python_function: {loader_module: xyzzy}}"))
    upload_id = new_id()
    ann.artifacts.put_part(run.run_id, upload_id, f"{SECRET}.bin", 0, io.BytesIO(b"begun"))
    ann.models.create(MODEL, description=SECRET, tags={"about": SECRET})
    ann.models.register(MODEL, run.run_id, "model", description=SECRET)
    ann.models.set_alias(MODEL, "staging", 1, reason=SECRET)
    request = ann.promotions.request(MODEL, 1, reason=SECRET)
    ann.promotions.comment(request.request_id, SECRET)
    trackers[LEAD].models.restrict(MODEL, True)
    hook = trackers[LEAD].webhooks.create(f"https://receiver.example/{SECRET}", model=MODEL)
    token = trackers[LEAD].access_tokens.create(SECRET, owner="group:red")
    made = (experiment.experiment_id, run.run_id, digest, upload_id, hook.webhook_id, request.request_id)
    return Things(*made, request.checks[0].job_id, logged.model_id, token.token_id)


def arguments(operation: Operation, things: Things) -> dict[str, Any]:
    """Good values for all that the operation needs, aimed at what the red group has."""
    known: dict[str, Any] = {
        "experiment_id": things.experiment_id,
        "run_id": things.run_id,
        "digest": things.digest,
        "upload_id": things.upload_id,
        "webhook_id": things.webhook_id,
        "request_id": things.request_id,
        "model": things.model,
        "reason": "taken over",
        "policy": Policy(),
        "result": CheckResult(name="loads", verdict=Verdict.PASSED, summary="fine"),
        "url": "https://receiver.example/",
        "files": {"a": "0" * 64},
        "alias": "staging",
        "batch": Batch(tags=(Tag("a", "b"),)),
        "description": "taken over",
        "change": RunChange(name="taken over"),
        "key": "about" if operation.noun != "runs" else f"{SECRET}_auc",
        "limit": 100,
        "model_id": things.logged_model_id,
        "params": [],
        "status": "FAILED",
        "uses": [],
        "source": "s3://bucket/model",
        "experiment_ids": [things.experiment_id],
        "new": NewRun(experiment_id=things.experiment_id),
        "owner": "group:blue",
        "claim": "0" * 32,
        "to": "group:blue",
        "token": "mlops_issued_guessed",
        "token_id": things.token_id,
        "job_id": things.job_id,
        "other": things.run_id,
        "path": "model/MLmodel",
        "reference": "@staging",
        "quota": {"runs": 0},
        "retention": {"days": 1},
        "restricted": False,
        "run_ids": [things.run_id],
        "stream": STREAM,
        "subject": "group:red",
        "tags": {"a": "b"},
        "text": things.run_id[:12] if operation.name == "resolve" else "hello",
        "to_everyone": True,
        "version": 1,
        "width": 10,
    }
    if operation.noun == "models":
        known["name"] = things.model
    elif operation.name in ("create", "ensure", "rename"):
        known["name"] = f"own {operation.id} {new_id()}"
    else:
        known["name"] = "churn"
    found = {}
    for name, parameter in operation.signature.parameters.items():
        if name in known and (parameter.default is parameter.empty or name in ("to_everyone", "limit")):
            found[name] = known[name]
        else:
            assert parameter.default is not parameter.empty, f"say what to send as {name!r} of {operation.id}"
    return found


def call(hub: realhub.Hub, token: str, operation: Operation, given: dict[str, Any]) -> requests.Response:
    path = filled(operation.path, **{name: given.pop(name) for name in operation.in_path})
    url, headers = f"{hub.service_url}/{PREFIX}{path}", authorization(token)
    if operation.has_body:
        headers["Content-Type"] = "application/json"
        content = msgspec.json.encode(given)
        return requests.request(operation.method, url, data=content, headers=headers, timeout=30)
    return requests.request(operation.method, url, params=given, headers=headers, timeout=30)


def without(things: Things, answer: requests.Response) -> dict[str, str]:
    """The error that was answered, without what was asked for."""
    told: dict[str, str] = answer.json()
    del told["request_id"]
    for word in sorted(things, key=len, reverse=True):
        told["message"] = told["message"].replace(word, "")
    return told


def state(ann: RemoteTracker, things: Things) -> str:
    """All that the red group sees of its things."""
    return json.dumps(
        msgspec.to_builtins(
            [
                ann.experiments.get(things.experiment_id),
                ann.experiments.shares(things.experiment_id),
                ann.runs.get(things.run_id),
                ann.runs.comments(things.run_id),
                ann.runs.children(things.run_id),
                ann.artifacts.walk(things.run_id),
                ann.artifacts.parts(things.run_id, things.upload_id),
                ann.models.get(MODEL),
                ann.models.version(MODEL, 1),
                ann.models.alias_history(MODEL),
                ann.models.consumers(MODEL),
                ann.models.card(MODEL, 1),
                ann.webhooks.list("group:red"),
                ann.access_tokens.list("group:red"),
                ann.logged_models.get(things.logged_model_id),
                ann.promotions.get(things.request_id),
                ann.policies.history(model=MODEL),
                ann.webhooks.deliveries(things.webhook_id),
            ]
        )
    )


@pytest.mark.parametrize("user", [OTHER, OUTSIDER])
def test_nothing_leaks_and_nothing_changes(
    hub: realhub.Hub, tokens: dict[str, str], trackers: dict[str, RemoteTracker], things: Things, user: str
) -> None:
    before = state(trackers[MEMBER], things)
    # Theirs to do: it makes something of their own, or looks through what they may see.
    theirs = {"experiments.create", "experiments.ensure", "webhooks.create", "audit", "issue_token", "gc"}
    for operation in OPERATIONS:
        answer = call(hub, tokens[user], operation, arguments(operation, things))
        told = f"{operation.id}: {answer.status_code} {answer.text}"
        assert answer.status_code < 500, told
        assert SECRET not in answer.text, told
        if operation.in_path and operation.id != "runs.watermark":
            # Unknown and forbidden look alike; what the token is not for at all is said before anything is looked for.
            assert answer.status_code == (403 if operation.scope > Scope.WRITE else 404), told
            made_up = Things(*(new_id() for _ in Things._fields))
            unknown = call(hub, tokens[user], operation, arguments(operation, made_up))
            assert without(made_up, unknown) == without(things, answer)
        elif operation.id not in theirs and answer.status_code == 200:
            assert things.run_id not in answer.text, told
            assert things.experiment_id not in answer.text, told
    assert state(trackers[MEMBER], things) == before


@pytest.mark.parametrize("user", [OTHER, OUTSIDER])
def test_no_search_and_no_file_tells(
    hub: realhub.Hub, tokens: dict[str, str], trackers: dict[str, RemoteTracker], things: Things, user: str
) -> None:
    tracker = trackers[user]
    with pytest.raises(NotFound):
        tracker.runs.search((things.experiment_id,))
    for filter in (f"attributes.run_id = '{things.run_id}'", f"params.depth = '{SECRET}'", f"tags.kind = '{SECRET}'"):
        assert tracker.runs.search((), filter).items == ()
    assert tracker.experiments.search(f"name LIKE '%{SECRET}%'").items == ()
    assert tracker.models.search(f"name = '{MODEL}'").items == ()
    assert tracker.models.versions(f"run_id = '{things.run_id}'").items == ()
    assert tracker.datasets.uses(things.digest) == ()
    mine = tracker.experiments.ensure("mine")
    for path in (
        filled(RUN_CONTENT, run_id=things.run_id),
        filled(UPLOAD_CONTENT, run_id=things.run_id, upload_id=things.upload_id),
        filled(VERSION_CONTENT, name=MODEL, version=1),
        filled(MODEL_ARCHIVE, name=MODEL),
    ):
        url = f"{hub.service_url}/{PREFIX}{path}"
        for method in ("GET", "HEAD", "PUT"):
            answer = requests.request(
                method,
                url,
                params={"path": "model/MLmodel", "offset": "0", "reference": "1"},
                data=b"x" if method == "PUT" else None,
                headers=authorization(tokens[user]),
                timeout=30,
            )
            assert answer.status_code in (404, 405), (method, path, answer.status_code)
            assert SECRET not in answer.text
    # Another's run is no parent, and another's files make no version.
    child = NewRun(experiment_id=mine.experiment_id, parent_run_id=things.run_id)
    answer = call(hub, tokens[user], _operation("runs.create"), {"new": child})
    assert answer.status_code == 404, answer.text
    given = {"name": f"own-{user}", "run_id": things.run_id, "path": "model"}
    assert call(hub, tokens[user], _operation("models.register"), given).status_code == 404


def test_a_taken_name_is_all_that_a_taken_name_tells(hub: realhub.Hub, tokens: dict[str, str], things: Things) -> None:
    answer = call(hub, tokens[OUTSIDER], _operation("models.create"), {"name": MODEL})
    assert answer.status_code == 409, answer.text
    assert "red" not in answer.text
    assert SECRET not in answer.text


def test_members_see_it_at_once(trackers: dict[str, RemoteTracker], things: Things) -> None:
    assert trackers[LEAD].runs.get(things.run_id).name == f"{SECRET} run"
    assert trackers[LEAD].experiments.find(f"red/{SECRET} churn").experiment_id == things.experiment_id


def _operation(id: str) -> Operation:
    (found,) = [operation for operation in OPERATIONS if operation.id == id]
    return found
