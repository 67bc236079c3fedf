"""The fluent API: MLflow's names and signatures, on a real store."""

from __future__ import annotations

import inspect
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import jupyter_mlops as mlops
from jupyter_mlops.core.errors import AlreadyExists, Conflict, FilterError, InvalidValue, NotFound
from jupyter_mlops.core.records import View
from jupyter_mlops.recording.session import Session, using

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")


OURS = (
    "data flush promote restore_run run_dir share unshare connect log_series log_model load_model autolog sweep choice "
    "integer loguniform uniform"
).split()
"""What MLflow does not have by this name and meaning: its models are logged by a module per framework."""

SHARED = sorted(name for name in mlops.__all__ if name[0].islower() and name not in OURS)

OTHER_DEFAULTS = {("search_runs", "output_format")}
"""pandas only where it is installed."""


@pytest.fixture(autouse=True)
def session(tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLOPS_ARTIFACTS_URL", raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "train.py", raising=False)
    with using(Session({"MLOPS_STRICT": "1"}, url=sqlite_url)) as session:
        yield session


def content(run: mlops.ActiveRun, path: str, session: Session) -> bytes:
    return b"".join(session.reader().artifacts.open(run.run_id, path))


def paths(run: mlops.ActiveRun, session: Session) -> set[str]:
    return {file.path for file in session.reader().artifacts.walk(run.run_id)}


class TestSignatures:
    @pytest.mark.parametrize("name", SHARED)
    def test_arguments_are_mlflows(self, name: str) -> None:
        """Each of our parameters is one of MLflow's with the same default, and positional ones stand where MLflow's
        do."""
        mlflow = pytest.importorskip("mlflow")
        theirs = inspect.signature(getattr(mlflow, name)).parameters
        ours = inspect.signature(getattr(mlops, name)).parameters
        positional = [key for key, value in ours.items() if value.kind is value.POSITIONAL_OR_KEYWORD]
        assert positional == list(theirs)[: len(positional)]
        added = {"register_model": {"description", "alias"}}.get(name, set())
        assert set(ours) - added <= set(theirs)
        for key in set(ours) - added:
            if (name, key) not in OTHER_DEFAULTS:
                assert ours[key].default == theirs[key].default, key

    def test_unknown_arguments_are_errors(self) -> None:
        with pytest.raises(TypeError, match="synchronise"):
            mlops.set_tag("a", "b", synchronise=True)  # type: ignore[call-arg]

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: mlops.log_metric("m", 1, model_id="m-1"), "model_id='m-1' cannot be kept: metrics belong to runs"),
            (lambda: mlops.log_metrics({"m": 1}, dataset="d"), "log_input.. says which data sets"),
            (lambda: mlops.log_input("x.csv", model="m"), "a run's inputs are data sets"),
            (lambda: mlops.create_experiment("e", "s3://bucket"), "in one place here, that of MLOPS_ARTIFACTS_URL"),
        ],
    )
    def test_what_only_mlflow_keeps_is_refused(self, call: Any, message: str) -> None:
        with mlops.start_run(), pytest.raises(InvalidValue, match=message):
            call()

    def test_mlflows_defaults_may_be_written(self) -> None:
        experiment_id = mlops.create_experiment("e", None, {"team": "a"})
        with mlops.start_run(experiment_id=experiment_id, log_system_metrics=None) as run:
            mlops.log_metric("a", 1, model_id=None, dataset=None)
            mlops.log_metrics({"b": 1}, model_id=None, dataset=None)
        assert run.metrics == {"a": 1, "b": 1}
        assert mlops.get_experiment(experiment_id).tags == {"team": "a"}

    def test_every_name_is_there(self) -> None:
        for name in mlops.__all__:
            if name != "autolog":
                assert getattr(mlops, name) is not None
            assert name in dir(mlops)

    def test_an_unknown_name_is_an_attribute_error(self) -> None:
        with pytest.raises(AttributeError, match="log_metrik"):
            _ = mlops.log_metrik  # type: ignore[attr-defined]
        with pytest.raises(AttributeError, match=r"no attribute 'sklearn'; log_model\(\), load_model\(\)"):
            _ = mlops.sklearn  # type: ignore[attr-defined]


class TestImports:
    def modules(self, code: str) -> set[str]:
        text = f"{code}; import sys; print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    def test_importing_the_package_imports_nothing_else(self) -> None:
        new = self.modules("import jupyter_mlops") - self.modules("import __future__, importlib, typing")
        assert new == {"jupyter_mlops", "jupyter_mlops._version"}

    def test_the_fluent_api_needs_neither_database_nor_notebooks(self) -> None:
        new = self.modules("import jupyter_mlops as m; m.log_metric, m.log_figure, m.search_runs, m.log_input, m.data")
        for heavy in ("sqlalchemy", "pandas", "numpy", "nbformat", "papermill", "mlflow", "rich", "asyncio"):
            assert heavy not in new


class TestRuns:
    def test_a_run_as_in_mlflow(self) -> None:
        mlops.set_experiment("churn")
        with mlops.start_run(run_name="first", tags={"team": "a"}, description="a note") as run:
            assert mlops.active_run() is run
            assert mlops.log_param("lr", 0.1) == 0.1
            mlops.log_params({"depth": 3, "kind": "rf", "flag": True, "none": None})
            for step in range(3):
                mlops.log_metric("loss", 1 / (step + 1), step=step)
            mlops.log_metrics({"auc": 0.9, "f1": 0.8}, step=2)
            mlops.set_tag("stage", 1)
        assert mlops.active_run() is None
        assert mlops.last_active_run() is run
        found = mlops.get_run(run.info.run_id)
        assert found.info.status == "FINISHED"
        assert found.info.run_name == "first"
        assert found.data.params == {"lr": "0.1", "depth": "3", "kind": "rf", "flag": "True", "none": "None"}
        assert found.params == {"lr": 0.1, "depth": 3, "kind": "rf", "flag": True, "none": None}
        assert found.data.metrics == {"loss": 1 / 3, "auc": 0.9, "f1": 0.8}
        assert found.data.tags == {
            "mlflow.runName": "first",
            "mlflow.user": found.record.user,
            "mlflow.source.name": str(Path("train.py").absolute()),
            "team": "a",
            "mlflow.note.content": "a note",
            "stage": "1",
        }
        assert mlops.get_experiment(found.info.experiment_id).name == "churn"

    def test_logging_begins_a_run(self) -> None:
        mlops.log_metric("x", 1)
        run = mlops.active_run()
        assert run is not None
        assert run.data.metrics == {"x": 1.0}
        mlops.end_run("KILLED")
        assert mlops.get_run(run.run_id).status == "KILLED"

    def test_another_run_is_logged_to_by_id(self) -> None:
        with mlops.start_run() as other:
            pass
        with mlops.start_run():
            mlops.log_metric("x", 1, run_id=other.run_id)
            mlops.log_params({"a": 1}, run_id=other.run_id)
            mlops.log_text("t", "t.txt", run_id=other.run_id)
        assert other.data.metrics == {"x": 1.0}
        assert other.data.params == {"a": "1"}

    def test_active_run_looks_at_the_store(self) -> None:
        with mlops.start_run(run_name="n") as run:
            assert run.info.run_id == run.run_id
            assert run.info.status == "RUNNING"
            assert run.info.artifact_uri == f"runs:/{run.run_id}"
            assert run.run_id in repr(run)
            mlops.log_metric("x", 1, synchronous=True)
            assert run.metrics == {"x": 1.0}

    def test_children_are_found_as_in_mlflow(self) -> None:
        with mlops.start_run() as parent, mlops.start_run(nested=True, run_name="inner") as child:
            pass
        found = mlops.search_runs(
            filter_string=f"tags.mlflow.parentRunId = '{parent.run_id}' and tags.mlflow.runName = 'inner'",
            output_format="list",
        )
        assert [run.run_id for run in found] == [child.run_id]
        assert found[0].data.tags["mlflow.parentRunId"] == parent.run_id
        assert "mlflow.parentRunId" not in mlops.get_run(parent.run_id).data.tags

    def test_mlflows_tags_set_what_they_name(self) -> None:
        with mlops.start_run(tags={"mlflow.runName": "one", "mlflow.source.name": "train.py", "x": "1"}) as run:
            assert run.name == "one"
            mlops.set_tags({"mlflow.runName": "two", "x": "2"})
            assert (run.name, run.info.run_name, run.data.tags["mlflow.runName"]) == ("two", "two", "two")
            with pytest.raises(InvalidValue, match="parent is given when it begins"):
                mlops.set_tag("mlflow.parentRunId", run.run_id)
        assert (run.record.name, run.record.source, run.tags["x"]) == ("two", "train.py", "2")
        with mlops.start_run(tags={"mlflow.parentRunId": run.run_id}) as child:
            pass
        assert child.record.parent_run_id == run.run_id
        found = mlops.search_runs(filter_string="tags.mlflow.runName = 'two'", output_format="list")
        assert [each.run_id for each in found] == [run.run_id]

    def test_use_of_the_machine_is_logged_when_asked_for(self) -> None:
        with mlops.start_run(log_system_metrics=True) as run:
            pass
        assert run.metrics["system/memory_mb"] > 1
        assert "system/cpu_percent" in run.metrics
        with mlops.start_run() as other:
            pass
        assert other.metrics == {}

    def test_parents(self) -> None:
        with mlops.start_run() as parent, mlops.start_run(nested=True) as child:
            pass
        with mlops.start_run(parent_run_id=parent.run_id) as later:
            pass
        for run in (child, later):
            found = mlops.get_parent_run(run.run_id)
            assert found is not None
            assert found.run_id == parent.run_id
        assert mlops.get_parent_run(parent.run_id) is None

    def test_deleting_and_restoring(self) -> None:
        with mlops.start_run() as run:
            pass
        mlops.delete_run(run.run_id)
        assert mlops.get_run(run.run_id).info.lifecycle_stage == "deleted"
        assert mlops.search_runs(output_format="list") == []
        mlops.restore_run(run.run_id)
        assert len(mlops.search_runs(output_format="list")) == 1

    def test_tags_are_removed(self) -> None:
        with mlops.start_run() as run:
            mlops.set_tags({"a": 1, "b": 2})
            mlops.delete_tag("a")
            assert run.tags == {"b": "2"}
            with pytest.raises(NotFound):
                mlops.delete_tag("a")

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: mlops.log_metric("loss", "0.5"), r"float\('0.5'\)"),  # type: ignore[arg-type]
            (lambda: mlops.log_metric("loss", None), "loss"),  # type: ignore[arg-type]
            (lambda: mlops.log_metric("", 1.0), "empty"),
            (lambda: mlops.log_metric("loss", 1.0, step=1.5), "step"),  # type: ignore[arg-type]
            (lambda: mlops.log_metric("loss", 1.0, run_id="x"), "run_id"),
            (lambda: mlops.log_metrics({"a": 1, "b": "x"}), "'b'"),  # type: ignore[dict-item]
            (lambda: mlops.log_metrics([1]), "dict"),  # type: ignore[arg-type]
            (lambda: mlops.log_param("p", "x" * 6001), "too long"),
            (lambda: mlops.set_tag("t\0", "x"), "tag"),
            (lambda: mlops.log_text(5, "a.txt"), "string"),  # type: ignore[arg-type]
            (lambda: mlops.log_text("x", "../a.txt"), "artifact path"),
            (lambda: mlops.log_artifact("/no/such/file"), "/no/such/file"),
            (lambda: mlops.log_figure("x", "a.png"), "figure"),
            (lambda: mlops.log_input(5), "int"),
            (lambda: mlops.end_run("DONE"), "DONE"),
            (mlops.set_experiment, "either"),
            (lambda: mlops.search_runs(output_format="json"), "json"),
            (lambda: mlops.search_runs(run_view_type=9), "9"),
        ],
    )
    def test_mistakes_are_raised_where_they_are_made(self, call: Any, message: str) -> None:
        with mlops.start_run() as run:
            with pytest.raises(InvalidValue, match=message):
                call()
            assert run.metrics == {}

    def test_special_numbers(self) -> None:
        with mlops.start_run() as run:
            mlops.log_metrics({"nan": math.nan, "inf": -math.inf, "np": np.float32(0.5), "big": 2**60})
            found = run.metrics
        assert math.isnan(found.pop("nan"))
        assert found == {"inf": -math.inf, "np": 0.5, "big": float(2**60)}


class TestExperiments:
    def test_made_found_tagged_and_deleted(self) -> None:
        experiment_id = mlops.create_experiment("one", tags={"a": 1})
        with pytest.raises(AlreadyExists):
            mlops.create_experiment("one")
        experiment = mlops.set_experiment(experiment_id=experiment_id)
        mlops.set_experiment_tag("b", 2)
        found = mlops.get_experiment_by_name("one")
        assert found is not None
        assert (found.experiment_id, found.tags) == (experiment.experiment_id, {"a": "1", "b": "2"})
        assert mlops.start_run().experiment_id == experiment_id
        mlops.end_run()
        assert mlops.get_experiment_by_name("other") is None
        mlops.delete_experiment(experiment_id)
        assert mlops.get_experiment(experiment_id).lifecycle_stage == "deleted"
        with pytest.raises(Conflict, match="deleted"):
            mlops.set_experiment(experiment_id=experiment_id)

    def test_shared(self) -> None:
        experiment_id = mlops.create_experiment("one")
        experiments = mlops.connect(mlops.get_tracking_uri()).experiments
        mlops.share("one", to_user="bo")
        mlops.share(experiment_id, to_group="red", role="write")
        mlops.share(mlops.get_experiment(experiment_id), to_everyone=True)
        found = [(s.to_user, s.to_group, s.to_everyone, s.role.value) for s in experiments.shares(experiment_id)]
        assert found == [(None, None, True, "read"), (None, "red", False, "write"), ("bo", None, False, "read")]
        mlops.unshare("one", to_group="red")
        mlops.unshare("one", to_everyone=True)
        assert [share.to_user for share in experiments.shares(experiment_id)] == ["bo"]
        with pytest.raises(NotFound, match="no experiment 'two'"):
            mlops.share("two", to_everyone=True)
        with pytest.raises(InvalidValue, match="role"):
            mlops.share("one", to_user="bo", role="own")
        assert mlops.get_experiment(experiment_id).owner == mlops.connect().principal.name

    def test_search(self) -> None:
        for name in ("a-1", "a-2", "b"):
            mlops.create_experiment(name)
        assert {e.name for e in mlops.search_experiments(filter_string="name LIKE 'a-%'")} == {"a-1", "a-2"}
        assert len(mlops.search_experiments(max_results=1)) == 1


class TestSearchRuns:
    @pytest.fixture
    def three(self) -> list[str]:
        ids = []
        for number in range(3):
            with mlops.start_run(run_name=f"run-{number}") as run:
                mlops.log_metric("auc", number / 10)
                mlops.log_param("depth", number)
                if number:
                    mlops.set_tag("kept", "yes")
            ids.append(run.run_id)
        return ids

    def test_a_frame_like_mlflows(self, three: list[str]) -> None:
        frame = mlops.search_runs(order_by=["metrics.auc DESC"])
        assert list(frame.columns) == [
            "run_id",
            "experiment_id",
            "status",
            "artifact_uri",
            "start_time",
            "end_time",
            "metrics.auc",
            "params.depth",
            "tags.mlflow.runName",
            "tags.mlflow.user",
            "tags.mlflow.source.name",
            "tags.kept",
        ]
        assert list(frame["run_id"]) == three[::-1]
        assert list(frame["params.depth"]) == ["2", "1", "0"]
        assert frame["tags.kept"][2] is None
        assert str(frame["metrics.auc"].dtype) == "float64"
        assert str(frame["start_time"].dt.tz) == "UTC"

    def test_no_runs_make_an_empty_frame(self) -> None:
        frame = mlops.search_runs()
        assert len(frame) == 0
        assert "run_id" in frame.columns

    def test_filters_views_and_limits(self, three: list[str]) -> None:
        found = mlops.search_runs(filter_string="metrics.auc > 0.05 and params.depth = '1'", output_format="list")
        assert [run.run_id for run in found] == [three[1]]
        assert len(mlops.search_runs(max_results=2)) == 2
        mlops.delete_run(three[0])
        assert [run.run_id for run in mlops.search_runs(run_view_type=2, output_format="list")] == [three[0]]
        assert len(mlops.search_runs(run_view_type=View.ALL)) == 3
        with pytest.raises(FilterError):
            mlops.search_runs(filter_string="metrics.auc >")

    def test_a_warning_points_at_the_callers_line(self) -> None:
        with pytest.warns(UserWarning, match="no experiment 'nowhere'") as caught:
            mlops.search_runs(experiment_names=["nowhere"])
        assert caught[0].filename == __file__

    def test_where_to_search(self, three: list[str]) -> None:
        mlops.set_experiment("empty")
        assert len(mlops.search_runs()) == 0
        assert len(mlops.search_runs(search_all_experiments=True)) == 3
        assert len(mlops.search_runs(experiment_names=["Default"])) == 3
        with pytest.warns(UserWarning, match="nowhere"):
            assert len(mlops.search_runs(experiment_names=["nowhere"])) == 0
        with pytest.raises(InvalidValue, match="not both"):
            mlops.search_runs(["x"], experiment_names=["y"])

    def test_without_pandas_a_list(self, three: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        assert [run.name for run in mlops.search_runs()] == ["run-2", "run-1", "run-0"]


class TestFiles:
    def test_artifacts(self, session: Session, tmp_path: Path) -> None:
        folder = tmp_path / "out"
        (folder / "deep").mkdir(parents=True)
        (folder / "a.txt").write_text("a")
        (folder / "deep" / "b.txt").write_text("b")
        (folder / "link.txt").symlink_to(folder / "a.txt")
        with mlops.start_run() as run:
            mlops.log_artifact(folder / "a.txt")
            mlops.log_artifact(str(folder / "a.txt"), "sub/")
            mlops.log_artifact(folder)
            mlops.log_artifacts(folder, "all")
            (folder / "a.txt").write_text("changed afterwards")
        assert paths(run, session) == {
            "a.txt",
            "sub/a.txt",
            "out/a.txt",
            "out/deep/b.txt",
            "all/a.txt",
            "all/deep/b.txt",
        }
        assert content(run, "all/a.txt", session) == b"a"

    def test_the_last_one_wins(self, session: Session) -> None:
        with mlops.start_run() as run:
            mlops.log_text("one", "a.txt")
            mlops.log_text("two \N{SNOWMAN}", "a.txt")
        assert content(run, "a.txt", session).decode() == "two \N{SNOWMAN}"

    def test_dicts(self, session: Session, tmp_path: Path) -> None:
        value = {"a": [1, 2], "ü": None}
        with mlops.start_run() as run:
            mlops.log_dict(value, "a.json")
            mlops.log_dict(value, "a.yaml")
            mlops.log_dict({"path": tmp_path}, "b")
        assert json.loads(content(run, "a.json", session)) == value
        assert yaml.safe_load(content(run, "a.yaml", session)) == value
        assert json.loads(content(run, "b", session)) == {"path": str(tmp_path)}

    def test_matplotlib_figures(self, session: Session) -> None:
        matplotlib = pytest.importorskip("matplotlib")
        matplotlib.use("agg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots()
        axes.plot([1, 2])
        with mlops.start_run() as run:
            mlops.log_figure(figure, "figures/a.png")
            mlops.log_figure(figure, "figures/a.svg", save_kwargs={"transparent": True})
            with pytest.raises(InvalidValue, match="'xyz'"):
                mlops.log_figure(figure, "a.xyz")
            with pytest.raises(InvalidValue, match=r"\.figure"):
                mlops.log_figure(axes, "a.png")
        pyplot.close(figure)
        assert content(run, "figures/a.png", session).startswith(b"\x89PNG")
        assert b"<svg" in content(run, "figures/a.svg", session)

    def test_images(self, session: Session) -> None:
        pytest.importorskip("PIL")
        with mlops.start_run() as run:
            mlops.log_image(np.zeros((4, 5)), "gray.png")
            mlops.log_image(np.full((4, 5, 3), 200, dtype=np.uint8), "color.jpg")
            for image in (np.full((4, 5), 2.0), np.zeros((2, 2, 7)), [[1]]):
                with pytest.raises(InvalidValue, match="log_image"):
                    mlops.log_image(image, "a.png")
            with pytest.raises(InvalidValue, match=r"a\.txt"):
                mlops.log_image(np.zeros((4, 5)), "a.txt")
            with pytest.raises(InvalidValue, match="cannot be written"):
                mlops.log_image(np.zeros((4, 5, 4)), "a.jpg")
            mlops.log_image(np.zeros((4, 5)), key="digits/seven", step=3, timestamp=1000)
            for options in ({}, {"artifact_file": "a.png", "key": "a"}, {"artifact_file": "a.png", "step": 1}):
                with pytest.raises(InvalidValue, match="log_image"):
                    mlops.log_image(np.zeros((4, 5)), **options)
        assert paths(run, session) == {"gray.png", "color.jpg", "images/digits/seven/3-1000.png"}

    def test_places(self) -> None:
        with mlops.start_run() as run:
            assert mlops.get_artifact_uri() == f"runs:/{run.run_id}"
            assert mlops.get_artifact_uri("model") == f"runs:/{run.run_id}/model"
            folder = mlops.run_dir()
        assert folder.is_dir()
        folder.rmdir()

    def test_the_tracking_uri_shows_no_password(self, session: Session) -> None:
        assert mlops.get_tracking_uri().startswith("sqlite:///")
        mlops.set_tracking_uri("postgresql://ann:hunter2@db/x")
        assert "hunter2" not in mlops.get_tracking_uri()


class TestInputs:
    def the_input(self, data: Any, **options: Any) -> Any:
        with mlops.start_run(nested=True) as run:
            mlops.log_input(data, **options)
        (use,) = run.inputs
        return use

    def test_a_frame(self, session: Session) -> None:
        frame = pd.DataFrame({"x": [1, 2, 3], "y": [1.5, None, 2.0], "s": ["a", "b", None]})
        use = self.the_input(frame, context="training", tags={"split": "a"})
        assert (use.context, use.tags[0].value, use.dataset.rows) == ("training", "a", 3)
        assert json.loads(use.dataset.schema)["mlflow_colspec"] == [
            {"type": "long", "name": "x", "required": True},
            {"type": "double", "name": "y", "required": False},
            {"type": "string", "name": "s", "required": False},
        ]
        assert session.reader().datasets.uses(use.dataset.digest)[0].context == "training"

    def test_a_digest_is_that_of_the_content(self) -> None:
        frame = pd.DataFrame({"x": range(20_000), "s": [str(n) for n in range(20_000)]})
        same, last = frame.copy(), frame.copy()
        last.loc[19_999, "s"] = "changed"
        digests = [mlops.data.from_pandas(data).digest for data in (frame, same, last, frame[["s", "x"]], frame[::-1])]
        assert digests[0] == digests[1]
        assert len(set(digests)) == 4

    def test_arrays(self) -> None:
        array = np.arange(6.0).reshape(3, 2)
        one = mlops.data.from_numpy(array, name="n", source="https://ann:secret@host/x.npy")
        assert (one.name, one.rows, one.source_type) == ("n", 3, "https")
        assert "secret" not in one.source
        assert one.digest != mlops.data.from_numpy(array.T).digest
        assert one.digest == mlops.data.from_numpy(np.asfortranarray(array)).digest
        assert one.digest != mlops.data.from_numpy(array, targets=np.zeros(3)).digest
        assert mlops.data.from_numpy({"a": array}).rows == 3
        with pytest.raises(InvalidValue, match="list"):
            mlops.data.from_numpy([1, 2])

    def test_files_and_folders(self, tmp_path: Path) -> None:
        folder = tmp_path / "data"
        folder.mkdir()
        (folder / "a.csv").write_text("x\n1\n")
        use = self.the_input(folder / "a.csv")
        assert (use.dataset.name, use.dataset.source) == ("a.csv", str(folder / "a.csv"))
        before = mlops.data.from_file(folder).digest
        (folder / "a.csv").rename(folder / "b.csv")
        assert mlops.data.from_file(folder).digest != before
        with pytest.raises(InvalidValue, match=r"none\.csv"):
            mlops.log_input(folder / "none.csv")
        with pytest.raises(InvalidValue, match="digest="):
            mlops.log_input("s3://bucket/x.parquet")
        assert mlops.data.from_file("s3://bucket/x.parquet", digest="abc").source_type == "s3"

    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_mlflows_data_sets(self) -> None:
        mlflow_data = pytest.importorskip("mlflow.data")
        theirs = mlflow_data.from_pandas(pd.DataFrame({"a": [1, 2]}), source="x.csv", name="n")
        use = self.the_input(theirs)
        assert (use.dataset.name, use.dataset.digest, use.dataset.rows) == ("n", theirs.digest, 2)
        assert json.loads(use.dataset.schema) == json.loads(theirs.to_dict()["schema"])

    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_the_schema_is_mlflows(self) -> None:
        mlflow_data = pytest.importorskip("mlflow.data")
        frame = pd.DataFrame(
            {
                "i": np.array([1, 2], dtype="int32"),
                "l": [1, 2],
                "f": np.array([1, 2], dtype="float32"),
                "d": [1.0, 2.0],
                "b": [True, False],
                "s": ["a", "b"],
                "t": pd.to_datetime(["2020-01-01", "2020-01-02"]),
                "raw": [b"a", b"b"],
            }
        )
        theirs = json.loads(mlflow_data.from_pandas(frame, source="x.csv").to_dict()["schema"])
        assert json.loads(mlops.data.from_pandas(frame).schema or "") == theirs

    @pytest.mark.parametrize(
        ("frame", "options", "message"),
        [
            (pd.DataFrame([[1, 2]], columns=["a", "a"]), {}, "'a'"),
            (pd.DataFrame({"a": [[1], [2]]}), {}, "digest="),
            (pd.DataFrame({"a": [1]}), {"targets": "b"}, "'b'"),
        ],
    )
    def test_what_cannot_be_described_is_said(self, frame: Any, options: dict[str, Any], message: str) -> None:
        with pytest.raises(InvalidValue, match=message):
            mlops.data.from_pandas(frame, **options)


def test_every_name_is_described() -> None:
    page = (Path(__file__).parents[2] / "docs" / "python-api.md").read_text(encoding="utf-8")
    assert [name for name in mlops.__all__ if name not in page and name != "__version__"] == []


def test_a_pipe_is_no_data_set(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in tmp_path / "pipe", Path("/dev/zero"):
        with pytest.raises(InvalidValue, match="is a pipe or a device"):
            mlops.data.from_file(path)
