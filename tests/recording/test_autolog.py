"""Autologging of real training, with both frameworks imported for real."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Run, RunStatus
from jupyter_mlops.recording.autolog import AutologWarning, autolog
from jupyter_mlops.recording.models import load_model
from jupyter_mlops.recording.session import Session, current

pytest.importorskip("sklearn")
pytest.importorskip("mlflow")


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """This process's session, recording into a store of the test's own; no hook is left behind."""
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    session = current()
    session.use_tracker(f"sqlite:///{tmp_path}/home/mlops.db")
    yield session
    autolog(disable=True)
    while session.active is not None:
        session.end_run()
    session.flush()


@pytest.fixture(scope="module")
def data():
    from sklearn.datasets import load_iris

    return load_iris(return_X_y=True, as_frame=True)


def runs_of(session: Session) -> list[Run]:
    """Oldest first."""
    return list(reversed(session.reader().runs.search().items))


def params(run: Run) -> dict[str, str]:
    return {param.key: param.text for param in run.params}


def metrics(run: Run) -> dict[str, float]:
    return {metric.key: metric.value for metric in run.metrics}


class TestScikitLearn:
    def test_a_fit_is_a_run(self, session: Session, data) -> None:
        from sklearn.linear_model import LogisticRegression

        autolog()
        model = LogisticRegression(C=0.5, max_iter=200).fit(*data)
        (run,) = runs_of(session)
        assert run.status is RunStatus.FINISHED
        assert params(run)["C"] == "0.5"
        assert params(run)["max_iter"] == "200"
        assert metrics(run)["training_score"] == model.score(*data)
        assert {"training_accuracy_score", "training_f1_score", "training_log_loss", "training_roc_auc"} <= set(
            metrics(run)
        )
        assert {tag.key: tag.value for tag in run.tags}["estimator_name"] == "LogisticRegression"
        loaded = load_model(f"runs:/{run.run_id}/model")
        assert loaded.metadata.signature is not None
        assert (loaded.predict(data[0]) == model.predict(data[0])).all()

    @pytest.mark.parametrize("wanted", [True, False])
    def test_signatures_are_logged_unless_switched_off(self, session: Session, data, wanted: bool) -> None:
        from sklearn.linear_model import LogisticRegression

        autolog(log_model_signatures=wanted)
        LogisticRegression().fit(*data)
        (run,) = runs_of(session)
        assert (load_model(f"runs:/{run.run_id}/model").metadata.signature is not None) is wanted

    def test_the_active_run_takes_the_first_fit_and_children_the_rest(self, session: Session, data) -> None:
        from sklearn.linear_model import LogisticRegression

        autolog(log_models=False)
        with session.start_run(name="mine") as mine:
            LogisticRegression(C=1.0, max_iter=300).fit(*data)
            LogisticRegression(C=2.0, max_iter=300).fit(*data)
        first, second = runs_of(session)
        assert (first.run_id, params(first)["C"]) == (mine.run_id, "1.0")
        assert (second.parent_run_id, params(second)["C"]) == (mine.run_id, "2.0")

    @pytest.mark.slow
    def test_a_search_is_one_run_with_its_best(self, session: Session, data) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        autolog(log_models=False)
        pipeline = make_pipeline(StandardScaler(), LogisticRegression())
        search = GridSearchCV(pipeline, {"logisticregression__C": [0.1, 1.0]}, cv=3, n_jobs=2).fit(*data)
        (run,) = runs_of(session)
        assert params(run)["best_logisticregression__C"] == str(search.best_params_["logisticregression__C"])
        assert metrics(run)["best_cv_score"] == search.best_score_
        table = b"".join(session.reader().artifacts.open(run.run_id, "cv_results.csv")).decode()
        assert len(table.splitlines()) == 3
        assert "mean_test_score" in table.splitlines()[0]

    def test_cross_validation_and_preprocessing_are_no_runs(self, session: Session, data) -> None:
        from sklearn.model_selection import cross_val_score
        from sklearn.preprocessing import StandardScaler
        from sklearn.tree import DecisionTreeClassifier

        autolog(log_models=False)
        cross_val_score(DecisionTreeClassifier(), *data, cv=3)
        StandardScaler().fit(data[0])
        assert runs_of(session) == []

    def test_regression_and_clustering(self, session: Session, data) -> None:
        from sklearn.cluster import KMeans
        from sklearn.linear_model import LinearRegression

        autolog(log_models=False)
        LinearRegression().fit(data[0], data[0].iloc[:, 0])
        KMeans(2, random_state=0).fit(data[0])
        regression, clustering = runs_of(session)
        assert metrics(regression)["training_r2_score"] == pytest.approx(1.0)
        assert params(clustering)["n_clusters"] == "2"

    def test_a_fit_that_fails_is_a_failed_run(self, session: Session, data) -> None:
        from sklearn.linear_model import LogisticRegression

        autolog()
        with pytest.raises(ValueError, match="negative_C"):
            LogisticRegression(penalty="negative_C").fit(data[0], data[1])
        (run,) = runs_of(session)
        assert run.status is RunStatus.FAILED
        assert run.reason is not None
        assert "negative_C" in run.reason.message

    def test_classes_defined_later_are_watched_and_can_still_be_pickled(self, session: Session, data) -> None:
        import cloudpickle
        from sklearn.base import BaseEstimator, ClassifierMixin
        from sklearn.linear_model import LogisticRegression

        autolog(log_models=False)

        class Constant(ClassifierMixin, BaseEstimator):
            def __init__(self, answer=0):
                self.answer = answer

            def fit(self, X, y):
                """Learn nothing."""
                self.classes_ = sorted(set(y))
                LogisticRegression(max_iter=300).fit(X, y)
                return self

            def predict(self, X):
                return [self.answer] * len(X)

        assert Constant.fit.__doc__ == "Learn nothing."
        Constant(answer=1).fit(*data)
        (run,) = runs_of(session)
        assert params(run) == {"answer": "1"}
        assert cloudpickle.loads(cloudpickle.dumps(Constant(answer=2))).answer == 2

    def test_disabling_takes_everything_out(self, session: Session, data) -> None:
        from sklearn.base import BaseEstimator
        from sklearn.linear_model import LogisticRegression

        before = LogisticRegression.__dict__["fit"]
        autolog()
        assert LogisticRegression.__dict__["fit"] is not before
        autolog(log_models=False)
        autolog(disable=True)
        assert LogisticRegression.__dict__["fit"] is before
        assert "__init_subclass__" not in BaseEstimator.__dict__
        LogisticRegression(max_iter=300).fit(*data)
        assert runs_of(session) == []

    def test_trouble_is_warned_of_once_and_training_goes_on(self, session: Session, data) -> None:
        from sklearn.tree import DecisionTreeClassifier

        class Odd(DecisionTreeClassifier):
            def score(self, X, y, sample_weight=None):
                raise RuntimeError("no score today")

        autolog(log_models=False)
        with pytest.warns(AutologWarning, match="training metrics not logged: no score today"):
            assert Odd(max_depth=1).fit(*data).get_depth() == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error", AutologWarning)
            Odd(max_depth=2).fit(*data)
        assert [params(run)["max_depth"] for run in runs_of(session)] == ["1", "2"]


class TestPyTorch:
    @pytest.fixture
    def torch(self):
        return pytest.importorskip("torch")

    def train(self, torch, optimizer, model, steps: int) -> list[float]:
        losses = []
        for _ in range(steps):
            loss = (model(torch.ones(2, 3)) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    def test_optimizer_and_loss(self, session: Session, torch) -> None:
        autolog(log_every_n_step=2)
        model = torch.nn.Linear(3, 1)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        with session.start_run() as run:
            losses = self.train(torch, optimizer, model, 5)
        tracker = session.reader()
        logged = params(tracker.runs.get(run.run_id))
        assert (logged["optimizer_name"], logged["optimizer_lr"]) == ("Adam", "0.05")
        history = tracker.runs.history(run.run_id, "loss").items
        assert [(point.step, point.value) for point in history] == [(1, losses[0]), (3, losses[2]), (5, losses[4])]
        assert tracker.runs.history(run.run_id, "learning_rate").items[0].value == 0.05

    def test_two_optimizers_are_told_apart(self, session: Session, torch) -> None:
        autolog(log_every_n_step=1)
        first, second = torch.nn.Linear(3, 1), torch.nn.Linear(3, 1)
        with session.start_run() as run:
            self.train(torch, torch.optim.SGD(first.parameters(), lr=0.1), first, 1)
            self.train(torch, torch.optim.Adam(second.parameters(), lr=0.2), second, 1)
        found = session.reader().runs.get(run.run_id)
        assert (params(found)["optimizer_name"], params(found)["optimizer_2_name"]) == ("SGD", "Adam")
        assert {"loss", "loss_2", "learning_rate", "learning_rate_2"} == set(metrics(found))

    def test_a_scaled_loss_is_logged_unscaled(self, session: Session, torch) -> None:
        autolog(log_every_n_step=1)
        model = torch.nn.Linear(3, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        with session.start_run() as run:
            loss = (model(torch.ones(2, 3)) ** 2).mean()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
        assert metrics(session.reader().runs.get(run.run_id))["loss"] == loss.item()

    def test_disabling_takes_everything_out(self, session: Session, torch) -> None:
        before = torch.Tensor.backward, torch.amp.GradScaler.scale
        autolog()
        assert torch.Tensor.backward is not before[0]
        autolog(disable=True)
        assert (torch.Tensor.backward, torch.amp.GradScaler.scale) == before
        model = torch.nn.Linear(3, 1)
        self.train(torch, torch.optim.SGD(model.parameters(), lr=0.1), model, 2)
        assert runs_of(session) == []


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "2"])
def test_options_are_checked(n: object) -> None:
    with pytest.raises(InvalidValue, match="log_every_n_step"):
        autolog(log_every_n_step=n)  # type: ignore[arg-type]


def test_data_sets_are_not_logged_and_that_is_said() -> None:
    with pytest.raises(InvalidValue, match="say which a run uses by log_input"):
        autolog(log_datasets=True)


@pytest.mark.slow
def test_frameworks_may_be_imported_later(tmp_path: Path) -> None:
    """In a process of its own, where nothing has been imported; switching off before the import works, too."""
    pytest.importorskip("torch")
    code = """
import sys
from jupyter_mlops.recording.autolog import autolog
autolog(log_models=False)
assert not {"sklearn", "torch", "mlflow"} & set(sys.modules)
from sklearn.dummy import DummyClassifier
import sklearn.base
assert sklearn.base.__spec__.loader is sklearn.base.__loader__
DummyClassifier().fit([[0], [1]], [0, 1])
autolog(disable=True)
import torch
model = torch.nn.Linear(1, 1)
model(torch.ones(1, 1)).sum().backward()
torch.optim.SGD(model.parameters(), lr=0.1).step()
from jupyter_mlops.recording.session import current
(run,) = current().reader().runs.search().items
assert {metric.key for metric in run.metrics} > {"training_score"}, run
"""
    environ = {**os.environ, "MLOPS_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
