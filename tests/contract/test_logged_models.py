"""Logged models: what runs logged as models, before anybody registers one."""

from __future__ import annotations

import io

import pytest

from jupyter_mlops.core import values
from jupyter_mlops.core.errors import AlreadyExists, InvalidValue, NotFound
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.logged_model import LoggedModelStatus, ModelRole, ModelUse
from jupyter_mlops.core.records import Batch, Metric, ModelPoint, NewRun, Run, View
from jupyter_mlops.tracker.protocol import Tracker

MLMODEL = b"flavors:\n  sklearn:\n    serialization_format: skops\n"


@pytest.fixture
def run(tracker: Tracker) -> Run:
    experiment = tracker.experiments.create("churn")
    return tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))


def measured(model_id: str, value: float, timestamp: int = 1, dataset: str = "") -> Batch:
    return Batch(model_points=(ModelPoint(model_id, Metric("auc", value, timestamp, 0), dataset),))


def test_a_model_is_a_folder_of_its_run(tracker: Tracker, run: Run) -> None:
    model = tracker.logged_models.create(
        run.experiment_id,
        name="forest",
        run_id=run.run_id,
        model_type="classifier",
        params=[values.param("depth", 3)],
        tags={"team": "red"},
    )
    assert (model.path, model.status, model.own_run) == ("forest", LoggedModelStatus.PENDING, False)
    tracker.artifacts.put(run.run_id, "forest/MLmodel", io.BytesIO(MLMODEL))
    done = tracker.logged_models.finish(model.model_id, "READY")
    assert done.status is LoggedModelStatus.READY
    version = tracker.models.register("churn", run.run_id, "forest")
    assert version.logged_model_id == model.model_id
    found = tracker.logged_models.get(model.model_id)
    assert found.versions == (("churn", 1),)
    assert [(param.key, param.value) for param in found.params] == [("depth", 3)]
    assert [tag.key for tag in found.tags] == ["team"]
    assert tracker.logged_models.uses([run.run_id]) == (
        ModelUse(run_id=run.run_id, model_id=model.model_id, role=ModelRole.OUTPUT),
    )


def test_a_name_that_is_taken_in_the_run_gets_a_folder_of_its_own(tracker: Tracker, run: Run) -> None:
    tracker.artifacts.put(run.run_id, "notes/a.txt", io.BytesIO(b"x"))
    paths = [
        tracker.logged_models.create(run.experiment_id, name=name, run_id=run.run_id).path
        for name in ("model", "model", "notes")
    ]
    assert paths[0] == "model"
    assert len(set(paths)) == 3
    assert all(path.startswith(("model-", "notes-")) for path in paths[1:])


@pytest.mark.parametrize("own", [True, False])
def test_one_of_a_given_id_is_made_once(tracker: Tracker, run: Run, own: bool) -> None:
    model_id, of_run = new_id(), None if own else run.run_id
    made = [
        tracker.logged_models.create(run.experiment_id, name=name, run_id=of_run, model_id=model_id)
        for name in ("forest", "another name")
    ]
    assert made[0] == made[1]
    assert (made[0].model_id, made[0].name, made[0].own_run) == (model_id, "forest", own)
    assert len(tracker.runs.search().items) == (2 if own else 1)
    other = tracker.runs.create(NewRun(experiment_id=run.experiment_id))
    with pytest.raises(AlreadyExists, match="is taken"):
        tracker.logged_models.create(run.experiment_id, run_id=other.run_id, model_id=model_id)
    with pytest.raises(InvalidValue, match="32 hex digits"):
        tracker.logged_models.create(run.experiment_id, run_id=run.run_id, model_id="m-1")
    tracker.logged_models.delete(model_id)
    if not own:
        with pytest.raises(AlreadyExists, match="is taken"):
            tracker.logged_models.create(run.experiment_id, run_id=run.run_id, model_id=model_id)


def test_without_a_run_one_is_made_and_goes_with_the_model(tracker: Tracker, run: Run) -> None:
    model = tracker.logged_models.create(run.experiment_id, name="alone")
    assert model.own_run
    assert tracker.runs.get(model.run_id).name == "alone"
    tracker.logged_models.delete(model.model_id)
    with pytest.raises(NotFound):
        tracker.logged_models.get(model.model_id)
    found = tracker.runs.search([run.experiment_id], view=View.DELETED).items
    assert [each.run_id for each in found] == [model.run_id]


def test_params_stay_and_tags_change(tracker: Tracker, run: Run) -> None:
    model_id = tracker.logged_models.create(run.experiment_id, run_id=run.run_id).model_id
    tracker.logged_models.log_params(model_id, [values.param("a", 1)])
    tracker.logged_models.log_params(model_id, [values.param("a", 1), values.param("b", "x")])
    with pytest.raises(InvalidValue, match="already"):
        tracker.logged_models.log_params(model_id, [values.param("c", 1), values.param("a", 2)])
    tracker.logged_models.set_tags(model_id, {"one": "1", "two": "2"})
    tracker.logged_models.set_tags(model_id, {"one": "3"})
    tracker.logged_models.delete_tag(model_id, "two")
    with pytest.raises(NotFound):
        tracker.logged_models.delete_tag(model_id, "two")
    model = tracker.logged_models.get(model_id)
    assert {param.key: param.text for param in model.params} == {"a": "1", "b": "x"}
    assert {tag.key: tag.value for tag in model.tags} == {"one": "3"}


def test_metrics_come_with_what_a_run_logs_and_the_latest_counts(tracker: Tracker, run: Run) -> None:
    model_id = tracker.logged_models.create(run.experiment_id, run_id=run.run_id).model_id
    tracker.runs.log(run.run_id, measured(model_id, 0.5, 2, "train"))
    tracker.runs.log(run.run_id, measured(model_id, 0.4, 1, "train"))
    tracker.runs.log(run.run_id, measured(model_id, float("nan"), 3, "test"))
    found = tracker.logged_models.get(model_id).metrics
    assert {each.dataset_name: (repr(each.value), each.timestamp) for each in found} == {
        "train": ("0.5", 2),
        "test": ("nan", 3),
    }
    unknown = Batch(metrics=(Metric("auc", 1.0, 1),), model_points=measured(new_id(), 1.0).model_points)
    with pytest.raises(NotFound):
        tracker.runs.log(run.run_id, unknown)
    assert tracker.runs.get(run.run_id).metrics == ()


def test_models_are_found(tracker: Tracker, run: Run) -> None:
    made = []
    for number in range(4):
        model = tracker.logged_models.create(
            run.experiment_id, name=f"model{number}", run_id=run.run_id, params=[values.param("n", number)]
        )
        made.append(model.model_id)
        tracker.runs.log(run.run_id, measured(model.model_id, number / 10, 1, "even" if number % 2 == 0 else "odd"))

    def found(filter: str = "", *order: str) -> list[int]:
        page = tracker.logged_models.search([run.experiment_id], filter, order)
        return [made.index(model.model_id) for model in page.items]

    assert found() == [3, 2, 1, 0]
    assert found("name = 'model2'") == [2]
    assert found("params.n >= 2") == [3, 2]
    assert found("metrics.auc < 0.15") == [1, 0]
    assert found("datasets.name = 'odd'", "metrics.auc ASC") == [1, 3]
    assert found("", "metrics.auc ASC") == [0, 1, 2, 3]
    page = tracker.logged_models.search([run.experiment_id], order_by=["metrics.auc DESC"], limit=3)
    rest = tracker.logged_models.search(
        [run.experiment_id], order_by=["metrics.auc DESC"], limit=3, page_token=page.next_page_token
    )
    assert [made.index(model.model_id) for model in (*page.items, *rest.items)] == [3, 2, 1, 0]
    assert rest.next_page_token is None


def test_a_version_may_refer_to_what_is_elsewhere(tracker: Tracker, run: Run) -> None:
    tracker.models.create("outside")
    version = tracker.models.refer("outside", "s3://user:secret-password@bucket/model", run_id="run-7", tags={"a": "b"})
    assert (version.version, version.run_id, version.safe, version.digest) == (1, "run-7", False, "")
    assert "secret-password" not in tracker.models.version("outside", 1).source
    assert tracker.models.files("outside", 1) == ()
    with pytest.raises(NotFound):
        tracker.models.refer("nothing", "s3://bucket/model")


def test_a_copy_of_a_version_shares_its_files(tracker: Tracker, run: Run) -> None:
    tracker.artifacts.put(run.run_id, "model/MLmodel", io.BytesIO(MLMODEL))
    first = tracker.models.register("churn", run.run_id, "model")
    tracker.models.create("copies")
    copy = tracker.models.refer("copies", "models:/churn/1")
    assert (copy.digest, copy.safe, copy.run_id) == (first.digest, first.safe, run.run_id)
    assert b"".join(tracker.models.open("copies", 1, "MLmodel")) == MLMODEL
    with pytest.raises(InvalidValue, match="comes from run"):
        tracker.models.refer("copies", "models:/churn/1", run_id=new_id())
