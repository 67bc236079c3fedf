"""A process that is killed between a decision and the alias leaves neither: both are one transaction."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.policy import Policy
from jupyter_mlops.core.promotion import PromotionState
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.protocol import Tracker

# Approves a request, and is killed once a function of the store has done its work.
APPROVER = """
import importlib, os, signal, sys
from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.tracker.connect import connect

url, artifacts, request_id, module, function = sys.argv[1:]
store = importlib.import_module(f"jupyter_mlops.store.{module}")
real = getattr(store, function)

def killed(*args, **named):
    real(*args, **named)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(store, function, killed)
with connect(url, artifacts=artifacts, principal=Principal("bo", frozenset({"red"}), Scope.PROMOTE)) as tracker:
    tracker.promotions.approve(request_id)
"""


def requested(tracker: Tracker) -> str:
    tracker.policies.set(Policy(checks=()), owner="group:red")
    experiment = tracker.experiments.create("training", owner="group:red")
    run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))
    tracker.artifacts.put(run.run_id, "model/MLmodel", io.BytesIO(b"flavors: {python_function: {}}"))
    tracker.models.register("churn", run.run_id, "model")
    return tracker.promotions.request("churn", 1).request_id


@pytest.mark.parametrize(
    ("module", "function"), [("promotions", "add_review"), ("registry", "move_alias"), ("promotions", "close")]
)
def test_a_decision_and_its_alias_are_one(database_url: str, tmp_path: Path, module: str, function: str) -> None:
    boss = Principal("boss", scope=Scope.ADMIN)
    with connect(database_url, artifacts=tmp_path, principal=boss) as tracker:
        request = requested(tracker)
        before = tracker.promotions.get(request)
        command = [sys.executable, "-c", APPROVER, database_url, str(tmp_path), request, module, function]
        killed = subprocess.run(command, capture_output=True, text=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert tracker.promotions.get(request) == before
        assert tracker.models.get("churn").aliases == tracker.promotions.history("churn") == ()
        lead = Principal("bo", frozenset({"red"}), Scope.PROMOTE)
        with connect(database_url, artifacts=tmp_path, principal=lead) as again:
            assert again.promotions.approve(request).state is PromotionState.PROMOTED
        (alias,) = tracker.models.get("churn").aliases
        (period,) = tracker.promotions.history("churn")
        assert period.promotion is not None
        assert (alias.version, period.move.version, period.promotion.request_id) == (1, 1, request)
