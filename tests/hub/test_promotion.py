"""From a notebook's model to what a hub means by ``production``: everybody with what they really have there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from jupyter_mlops.core.errors import Conflict, PermissionDenied
from jupyter_mlops.core.policy import Policy
from jupyter_mlops.core.promotion import PromotionState
from jupyter_mlops.core.records import Batch, Metric, NewRun
from jupyter_mlops.recording import model_formats
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.hub import realhub
from tests.hub.realhub import ACCESS, ADMIN, LEAD, MEMBER, OUTSIDER

pytestmark = pytest.mark.slow

KERNEL = (ACCESS, "custom:mlops:read", "custom:mlops:write")


def add_version(scientist: RemoteTracker, name: str, folder: Path, c: float) -> int:
    data, target = load_iris(return_X_y=True)
    model = LogisticRegression(C=c, max_iter=1000).fit(data, target)
    model_formats.save_model(model, folder, input_example=data[:3])
    experiment = scientist.experiments.ensure("iris")
    assert experiment.owner == "group:red"
    batch = Batch(metrics=(Metric("accuracy", float(model.score(data, target)), 1),))
    run = scientist.runs.create(NewRun(experiment_id=experiment.experiment_id, batch=batch))
    scientist.artifacts.put_folder(run.run_id, folder, "model")
    return scientist.models.register(name, run.run_id, "model").version


def decide(hub: realhub.Hub, browser: requests.Session, path: str, body: dict[str, Any]) -> requests.Response:
    return browser.post(hub.api + path, json=body, timeout=60)


def test_a_model_is_asked_for_checked_approved_loaded_and_rolled_back(hub: realhub.Hub, tmp_path: Path) -> None:
    scientist = RemoteTracker(hub.service_url, hub.token(MEMBER, *KERNEL))
    lead_kernel = RemoteTracker(hub.service_url, hub.token(LEAD, *KERNEL))
    consumer = RemoteTracker(hub.service_url, hub.token(OUTSIDER, *KERNEL))
    lead = hub.log_in(LEAD)
    member = hub.log_in(MEMBER)
    with scientist, lead_kernel, consumer:
        for number, c in ((1, 0.01), (2, 1.0)):
            assert add_version(scientist, "iris", tmp_path / f"model{number}", c) == number
            with pytest.raises(PermissionDenied, match="protected"):
                scientist.models.set_alias("iris", "production", number)
            asked = scientist.promotions.request("iris", number, reason="better")
            assert asked.state is PromotionState.OPEN
            # Who asks does not decide, wherever they are; and a lead's kernel runs others' code.
            refused = decide(hub, member, f"promotions/{asked.request_id}/approve", {})
            assert refused.status_code == 403, refused.text
            with pytest.raises(PermissionDenied):
                lead_kernel.promotions.approve(asked.request_id)
            early = decide(hub, lead, f"promotions/{asked.request_id}/approve", {"reason": "fine"})
            assert early.status_code == 200, early.text
            assert early.json()["state"] == "open"
            realhub.do_checks(hub, tmp_path)
            # The last check closes the request.
            done = scientist.promotions.get(asked.request_id)
            assert (done.state, done.closed_by) == (PromotionState.PROMOTED, None), done.missing
            assert consumer.models.resolve("iris", "@production").version == number
        consumer.models.download("iris", 2, tmp_path / "loaded")
        assert (tmp_path / "loaded" / "MLmodel").is_file()
        before = scientist.promotions.history("iris", "production")[-1]
        assert before.promotion is not None
        assert (before.promotion.requester, [review.user for review in before.promotion.reviews]) == (MEMBER, [LEAD])
        for browser in (member, requests.Session()):
            refused = decide(
                hub, browser, "promotions/rollback", {"model": "iris", "alias": "production", "reason": "x"}
            )
            assert refused.status_code in (401, 403)
        back = decide(hub, lead, "promotions/rollback", {"model": "iris", "alias": "production", "reason": "worse"})
        assert back.status_code == 200, back.text
        assert consumer.models.resolve("iris", "@production").version == 1
        moves = [period.move.version for period in consumer.promotions.history("iris", "production")]
        assert moves == [1, 2, 1]


def test_whom_a_policys_groups_leave_is_asked_of_the_hub(hub: realhub.Hub, tmp_path: Path) -> None:
    """``red`` has ann, who asks, and bea; ``blue`` has cyn; the hub has no group ``gone``."""
    scientist = RemoteTracker(hub.service_url, hub.token(MEMBER, *KERNEL))
    admin = RemoteTracker(hub.service_url, hub.token(ADMIN, ACCESS, "custom:mlops:admin"))
    with scientist, admin:
        assert add_version(scientist, "asked", tmp_path / "model", 1.0) == 1
        for approvers, approvals in ((("group:gone",), 1), (("group:red",), 2)):
            admin.policies.set(Policy(checks=(), approvers=approvers, approvals=approvals), model="asked")
            assert "nobody could" in scientist.promotions.standing("asked", version=1).refused["request"]
            with pytest.raises(Conflict, match=r"nobody could approve this.*into the group"):
                scientist.promotions.request("asked", 1, reason="x")
        admin.policies.set(Policy(checks=(), approvers=("group:red", "group:gone")), model="asked")
        assert scientist.promotions.request("asked", 1, reason="x").state is PromotionState.OPEN
