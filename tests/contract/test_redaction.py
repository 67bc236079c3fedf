"""What is secret is stored by nobody, also when it comes from one who talks to the tracker directly."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import pytest

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import (
    Batch,
    Dataset,
    Experiment,
    Input,
    NewRun,
    Param,
    Reason,
    ReasonKind,
    Run,
    RunChange,
    RunStatus,
    StreamPosition,
    Tag,
)
from jupyter_mlops.core.values import param
from jupyter_mlops.tracker.protocol import Tracker

Start = Callable[..., Run]

HIDDEN = "Zx81f0c2secret"
AT_HOST = f"https://ann:{HIDDEN}@host/data.csv"
BARE_AT_HOST = "https://ann:[redacted]@host/data.csv"
SECRETS = Batch(
    params=(
        Param("api_key", HIDDEN, HIDDEN),
        Param("db_password", None, HIDDEN),
        Param("database", AT_HOST, AT_HOST),
        Param("service", {"token": HIDDEN, "port": 80}, f"{{'token': '{HIDDEN}', 'port': 80}}"),
        # Said to be redacted is not enough.
        Param("smtp_pass", HIDDEN, HIDDEN, redacted=True),
    ),
    tags=(Tag("mlflow.source.git.repoURL", AT_HOST), Tag("team", "blue"), Tag("token", HIDDEN)),
    inputs=(Input(Dataset("train", "d1", "https", AT_HOST), "training", (Tag("from", AT_HOST),)),),
)
PLAIN = Batch(
    params=(
        Param("api_key", 7, "7"),
        Param("db_password", True, "True"),
        Param("max_tokens", "4096", "4096"),
        Param("password", "[redacted]", "[redacted]", redacted=True),
        Param("secret_weights", [0.5, 1], "[0.5 1. ]"),
        Param("tokenizer", "bert", "bert"),
        Param("url", "https://host/data?page=2", "https://host/data?page=2"),
    ),
    tags=(Tag("team", "blue"),),
    inputs=(Input(Dataset("train", "d1", "local", "train.csv")),),
)


def test_a_run_holds_no_secrets(tracker: Tracker, experiment: Experiment) -> None:
    new = NewRun(experiment_id=experiment.experiment_id, source=AT_HOST, batch=SECRETS)
    created = tracker.runs.create(new).run_id
    logged = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id)).run_id
    position = StreamPosition("redacted", 1)
    for place in (position, position, None):  # sent again, and said again
        tracker.runs.log(logged, SECRETS, place)
    reason = Reason(kind=ReasonKind.ERROR, message=f"refused by {AT_HOST}", source="exact", traceback=AT_HOST)
    tracker.runs.change(logged, RunChange(status=RunStatus.FAILED, reason=reason))
    for run in map(tracker.runs.get, (created, logged)):
        assert run.params == (
            Param("api_key", "[redacted]", "[redacted]", redacted=True),
            Param("database", BARE_AT_HOST, BARE_AT_HOST, redacted=True),
            Param("db_password", None, "[redacted]", redacted=True),
            Param("service", {"token": "[redacted]", "port": 80}, "{'token': '[redacted]', 'port': 80}", redacted=True),
            Param("smtp_pass", "[redacted]", "[redacted]", redacted=True),
        )
        expected = (Tag("mlflow.source.git.repoURL", BARE_AT_HOST), Tag("team", "blue"), Tag("token", "[redacted]"))
        assert run.tags == expected
        assert run.inputs[0].dataset.source == run.inputs[0].tags[0].value == BARE_AT_HOST
    assert tracker.runs.get(created).source == BARE_AT_HOST
    failed = tracker.runs.get(logged).reason
    assert failed is not None
    assert (failed.message, failed.source, failed.traceback) == (f"refused by {BARE_AT_HOST}", "exact", BARE_AT_HOST)


def test_what_is_no_secret_is_stored_as_it_is(tracker: Tracker, start: Start) -> None:
    for run in (start(PLAIN), start()):
        tracker.runs.log(run.run_id, PLAIN)
        found = tracker.runs.get(run.run_id)
        assert (found.params, found.tags, found.inputs) == (PLAIN.params, PLAIN.tags, PLAIN.inputs)


def test_no_refusal_shows_a_secret_parameter(tracker: Tracker, start: Start) -> None:
    run = start(Batch(params=(Param("database", "sqlite://", "sqlite://"),)))
    for batch in (
        Batch(params=(param("database", AT_HOST),)),
        Batch(params=(param("db_password", "first-secret"), param("db_password", "second-secret"))),
    ):
        with pytest.raises(InvalidValue, match="redacted") as refused:
            tracker.runs.log(run.run_id, batch)
        assert "-secret" not in refused.value.message
        assert HIDDEN not in refused.value.message


def test_tags_of_experiments_and_models_hold_no_secrets(tracker: Tracker) -> None:
    given, kept = {"repo": AT_HOST, "team": "blue"}, (Tag("repo", BARE_AT_HOST), Tag("team", "blue"))
    made = tracker.experiments.create("made", tags=given)
    changed = tracker.experiments.create("changed")
    tracker.experiments.set_tags(changed.experiment_id, given)
    assert {tracker.experiments.get(found.experiment_id).tags for found in (made, changed)} == {kept}
    tracker.models.create("made", tags=given)
    run = tracker.runs.create(NewRun(experiment_id=made.experiment_id))
    tracker.artifacts.put(run.run_id, "model/MLmodel", BytesIO(b"flavors: {sklearn: {}}\n"))
    version = tracker.models.register("changed", run.run_id, "model", tags=given).version
    tracker.models.set_tags("changed", given)
    assert tracker.models.get("made").tags == tracker.models.get("changed").tags == kept
    assert tracker.models.version("changed", version).tags == kept
