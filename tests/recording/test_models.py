"""Models: logged by one process, registered, loaded by another."""

from __future__ import annotations

import inspect
import os
import pickle
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from jupyter_mlops.core.errors import IntegrityError, InvalidValue, NotFound, UnsafeModel
from jupyter_mlops.core.model_safety import is_trusted_type, unsafe_reason
from jupyter_mlops.core.records import Artifact
from jupyter_mlops.recording import model_formats
from jupyter_mlops.recording.autolog import autolog
from jupyter_mlops.recording.model_cache import ModelCache
from jupyter_mlops.recording.model_formats import UnsafeModelWarning, flavor_of
from jupyter_mlops.recording.models import load_model, log_model, register_model
from jupyter_mlops.recording.session import Session, current
from jupyter_mlops.tracker.download import content_digest

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")
pytest.importorskip("mlflow")


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """This process's session, recording into a store of the test's own, in an empty working directory."""
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLOPS_STRICT", "1")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    session = current()
    session.use_tracker(f"sqlite:///{tmp_path}/home/mlops.db")
    yield session
    while session.active is not None:
        session.end_run()
    session.flush()


@pytest.fixture(scope="module")
def data():
    from sklearn.datasets import load_iris

    return load_iris(return_X_y=True, as_frame=True)


@pytest.fixture(scope="module")
def forest(data):
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(5, random_state=0).fit(*data)


def double(model_input):
    return model_input * 2


class TestScikitLearn:
    def test_is_saved_safely_with_signature_and_example(self, session: Session, forest, data, recwarn) -> None:
        X, _ = data
        logged = log_model(forest, input_example=X.head(3))
        assert logged.safe
        assert (logged.flavor, logged.serialization) == ("sklearn", "skops")
        assert [column["name"] for column in logged.signature["inputs"]] == list(X.columns)
        assert logged.model_uri == f"runs:/{logged.run_id}/model"
        files = {file.path for file in session.reader().artifacts.walk(logged.run_id)}
        assert {"model/MLmodel", "model/model.skops", "model/input_example.json"} <= files
        assert not [w for w in recwarn if issubclass(w.category, UserWarning)]

    def test_predicts_the_same_after_loading(self, session: Session, forest, data) -> None:
        X, _ = data
        logged = log_model(forest, input_example=X.head(3))
        assert (load_model(logged.model_uri).predict(X) == forest.predict(X)).all()
        native = load_model(logged.model_uri, flavor="sklearn")
        assert type(native) is type(forest)
        assert (native.predict_proba(X) == forest.predict_proba(X)).all()

    def test_input_is_checked_against_the_signature(self, session: Session, forest, data) -> None:
        X, _ = data
        logged = log_model(forest, input_example=X.head(3))
        with pytest.raises(Exception, match="petal length"):
            load_model(logged.model_uri).predict(X.drop(columns="petal length (cm)"))

    def test_what_is_not_of_scikit_learn_is_pickled_and_said_so(self, session: Session, data) -> None:
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer

        X, y = data
        model = make_pipeline(FunctionTransformer(double), KNeighborsClassifier()).fit(X, y)
        with pytest.warns(UnsafeModelWarning, match=r"test_models\.double, which is not part of scikit-learn"):
            logged = log_model(model)
        assert logged.serialization == "cloudpickle"
        assert logged.unsafe == "it is saved by cloudpickle"
        with pytest.warns(UnsafeModelWarning, match="it is saved by cloudpickle"):
            loaded = load_model(logged.model_uri)
        assert (loaded.predict(X) == model.predict(X)).all()
        with pytest.raises(UnsafeModel, match="it is saved by cloudpickle"):
            load_model(logged.model_uri, allow_unsafe=False)
        with pytest.raises(InvalidValue, match="skops cannot save this model"):
            log_model(model, serialization="skops")

    def test_a_model_that_cannot_predict_is_loaded_by_its_flavour(self, session: Session, data) -> None:
        from sklearn.preprocessing import StandardScaler

        X, _ = data
        logged = log_model(StandardScaler().fit(X), name="scaler")
        with pytest.raises(InvalidValue, match="no predict function; it can be loaded with flavor='sklearn'"):
            load_model(logged.model_uri)
        assert load_model(logged.model_uri, flavor="sklearn").transform(X).shape == X.shape


class TestPyTorch:
    @pytest.fixture
    def network(self):
        torch = pytest.importorskip("torch")
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))

    def test_is_exported_in_evaluation_mode(self, session: Session, network) -> None:
        import torch

        network[0].eval()
        example = np.random.default_rng(0).random((4, 4), dtype="float32")
        logged = log_model(network, input_example=torch.tensor(example))
        assert (logged.flavor, logged.serialization, logged.unsafe) == ("pytorch", "pt2", None)
        assert [part.training for part in network] == [False, True, True]
        expected = network.eval()(torch.tensor(example)).detach().numpy()
        assert np.allclose(load_model(logged.model_uri).predict(example), expected)
        assert load_model(logged.model_uri, flavor="pytorch")(torch.tensor(example[:2])).shape == (2, 1)

    def test_without_an_example_it_is_pickled_and_said_so(self, session: Session, network) -> None:
        with pytest.warns(UnsafeModelWarning, match=r"torch\.export needs input_example"):
            logged = log_model(network)
        assert logged.unsafe == "it is saved by pickle"
        example = np.ones((1, 4), dtype="float32")
        with pytest.warns(UnsafeModelWarning):
            assert load_model(logged.model_uri).predict(example).shape == (1, 1)

    def test_what_cannot_be_exported_is_pickled_and_said_so(self, session: Session) -> None:
        torch = pytest.importorskip("torch")

        class Branching(torch.nn.Module):
            def forward(self, x):
                return x if x.sum() > 0 else -x

        example = np.ones((2, 4), dtype="float32")
        with pytest.warns(UnsafeModelWarning, match="pickle, which can run code"):
            logged = log_model(Branching(), input_example=example)
        assert not logged.safe
        with pytest.raises(InvalidValue, match=r"torch\.export cannot save this model"):
            log_model(Branching(), input_example=example, serialization="pt2")

    def test_one_row_of_example_is_warned_of(self, session: Session, network) -> None:
        with pytest.warns(UserWarning, match="one row at a time"):
            log_model(network, input_example=np.ones((1, 4), dtype="float32"))


class TestFunctions:
    def test_a_function_is_a_model(self, session: Session) -> None:
        example = pd.DataFrame({"a": [1.0, 2.0]})
        with warnings.catch_warnings(record=True) as told:
            logged = log_model(double, input_example=example)
        assert told == []
        assert logged.unsafe == "it is a Python function, kept as code"
        with pytest.warns(UnsafeModelWarning, match="kept as code"):
            assert load_model(logged.model_uri).predict(example)["a"].tolist() == [2.0, 4.0]

    def test_a_python_model_is_a_model(self, session: Session) -> None:
        import mlflow.pyfunc

        class Threshold(mlflow.pyfunc.PythonModel):
            def predict(self, context, model_input, params=None):
                return model_input["a"] > 1

        logged = log_model(Threshold(), input_example=pd.DataFrame({"a": [1.0, 2.0]}))
        with pytest.warns(UnsafeModelWarning):
            assert load_model(logged.model_uri).predict(pd.DataFrame({"a": [3.0]})).tolist() == [True]

    @pytest.mark.parametrize("thing", [{}, 3, object(), [1], None])
    def test_other_things_are_refused_by_type(self, thing: object) -> None:
        with pytest.raises(InvalidValue, match=f"save a builtins.{type(thing).__name__}"):
            flavor_of(thing)


def test_arguments_are_checked(session: Session, forest) -> None:
    for arguments, message in [
        ({"serialization": "zip"}, "'zip' is not one of the flavour 'sklearn': skops, cloudpickle, pickle"),
        ({"flavor": "nothing"}, "MLflow has no flavour 'nothing'"),
        ({"flavor": "exceptions"}, "is not a flavour"),
        ({"name": "../x"}, r"\.\."),
        ({"registered_model_name": "a/b"}, "a/b"),
        ({"flavor": "pyfunc", "serialization": "skops"}, "has one only"),
    ]:
        with pytest.raises(InvalidValue, match=message):
            log_model(forest, **arguments)


def test_mlflow_leaves_no_trace(session: Session, forest, data, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tracking store in the working directory, no environment variable, no child process, no connection."""
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("saving a model must not do this")

    before = dict(os.environ)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    logged = log_model(forest, input_example=data[0].head(3))
    load_model(logged.model_uri).predict(data[0])
    assert list(Path().iterdir()) == []
    assert dict(os.environ) == before


class TestRegistry:
    def test_register_and_load_by_alias_and_version(self, session: Session, forest, data) -> None:
        logged = log_model(forest, input_example=data[0].head(3))
        version = register_model(logged.model_uri, "iris", alias="production", description="first", tags={"a": "b"})
        assert (version.model, version.version, version.aliases, version.safe) == ("iris", 1, ("production",), True)
        assert version.flavors == ("python_function", "sklearn")
        for uri in ("models:/iris@production", "models:/iris/1", "models:/iris/latest"):
            assert len(load_model(uri, allow_unsafe=False).predict(data[0])) == len(data[0])

    def test_registering_while_logging(self, session: Session, forest) -> None:
        logged = log_model(forest, name="models/best", registered_model_name="iris")
        assert logged.version is not None
        assert logged.version.source == f"runs:/{logged.run_id}/models/best"

    def test_a_run_is_named_by_its_name_too(self, session: Session, forest) -> None:
        with session.start_run(name="chosen"):
            log_model(forest)
        assert register_model("runs:/chosen/model", "iris").version == 1

    def test_a_version_survives_its_run(self, session: Session, forest, data) -> None:
        with session.start_run() as run:
            log_model(forest, registered_model_name="iris")
        tracker = session.reader()
        tracker.runs.delete(run.run_id)
        tracker.gc()
        assert len(load_model("models:/iris/1").predict(data[0])) == len(data[0])

    def test_a_load_is_noted_with_its_alias_also_when_nothing_is_downloaded(self, session: Session, forest) -> None:
        log_model(forest, registered_model_name="iris")
        models = session.reader().models
        models.set_alias("iris", "production", 1)
        for uri in ("models:/iris@production", "models:/iris@production", "models:/iris/1"):
            load_model(uri)
        assert {each.reference: each.loads for each in models.consumers("iris")} == {"@production": 2, "": 1}

    def test_other_files_than_were_registered_are_not_loaded(self, session: Session, forest, tmp_path: Path) -> None:
        """Somebody with access to the database and the files puts another model in the place of the registered."""
        log_model(forest, registered_model_name="iris")
        with session.start_run(nested=True) as run:
            log_model(forest, name="evil")
        session.flush()
        evil = "SELECT blob_id FROM artifact WHERE holder = ? AND path = 'evil/MLmodel'"
        registered = "holder = (SELECT id FROM model_version) AND path = 'MLmodel'"
        with sqlite3.connect(session.tracking_url.removeprefix("sqlite:///")) as database:
            database.execute(f"UPDATE artifact SET blob_id = ({evil}) WHERE {registered}", (run.run_id,))
        for load in (
            lambda: load_model("models:/iris/1"),
            lambda: session.reader().models.download("iris", 1, tmp_path / "got"),
        ):
            with pytest.raises(IntegrityError, match="other files"):
                load()

    @pytest.mark.parametrize(
        ("uri", "error", "message"),
        [
            ("models:/iris@nobody", NotFound, "nobody"),
            ("models:/iris/9", NotFound, "9"),
            ("models:/nothing/1", NotFound, "nothing"),
            ("models:/iris", InvalidValue, "names no version"),
            ("runs:/chosen/other", NotFound, "the run has models in 'model'"),
            ("runs:/chosen", InvalidValue, "runs:/RUN/PATH"),
            ("runs:/nobody/model", NotFound, "nobody"),
            ("https://example.org/model", NotFound, "models:/NAME@ALIAS"),
            ("no/such/folder", NotFound, "models:/NAME@ALIAS"),
        ],
    )
    def test_what_is_not_there_is_named(self, session: Session, forest, uri: str, error: type, message: str) -> None:
        with session.start_run(name="chosen"):
            log_model(forest, registered_model_name="iris")
        with pytest.raises(error, match=message):
            load_model(uri)

    @pytest.mark.slow
    def test_another_process_loads_it_by_name(self, session: Session, forest, data) -> None:
        log_model(forest, input_example=data[0].head(3), registered_model_name="iris")
        session.reader().models.set_alias("iris", "production", 1)
        code = (
            "import sys\n"
            "from sklearn.datasets import load_iris\n"
            "from jupyter_mlops.recording.models import load_model\n"
            "X, _ = load_iris(return_X_y=True, as_frame=True)\n"
            "print(load_model('models:/iris@production', allow_unsafe=False).predict(X).tolist())\n"
        )
        environ = {**os.environ, "MLOPS_TRACKING_URL": session.tracking_url}
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(forest.predict(data[0]).tolist())


class TestCrafted:
    """Model directories that were not written by us."""

    @pytest.fixture
    def folder(self, tmp_path: Path, forest) -> Path:
        folder = tmp_path / "crafted"
        model_formats.save_model(forest, folder)
        return folder

    def change(self, folder: Path, **settings: object) -> None:
        mlmodel = yaml.safe_load((folder / "MLmodel").read_text())
        mlmodel["flavors"]["sklearn"].update(settings)
        (folder / "MLmodel").write_text(yaml.safe_dump(mlmodel))

    def test_a_file_that_asks_to_trust_what_it_likes(self, folder: Path) -> None:
        self.change(folder, skops_trusted_types=["posix.system"])
        with pytest.raises(UnsafeModel, match=r"asks to trust posix\.system"):
            load_model(folder, allow_unsafe=False)

    def test_bytes_that_are_not_what_the_file_says(self, folder: Path) -> None:
        """The list of types is innocent, the content is not."""
        import skops.io
        from sklearn.preprocessing import FunctionTransformer

        (folder / "model.skops").write_bytes(skops.io.dumps(FunctionTransformer(double)))
        with pytest.raises(UnsafeModel, match=r"contains .*test_models\.double"):
            load_model(folder)

    def test_pickle_under_the_name_of_skops(self, folder: Path) -> None:
        (folder / "model.skops").write_bytes(pickle.dumps(_Bomb()))
        with pytest.raises((zipfile.BadZipFile, InvalidValue)):
            load_model(folder)
        assert not _Bomb.exploded

    def test_pickle_inside_an_exported_graph(self, tmp_path: Path) -> None:
        torch = pytest.importorskip("torch")
        folder = tmp_path / "graph"
        model_formats.save_model(torch.nn.Linear(2, 1), folder, input_example=np.ones((2, 2), dtype="float32"))
        with zipfile.ZipFile(folder / "data" / "model.pt2", "a") as archive:
            archive.writestr("model/data/constants/bomb", pickle.dumps(_Bomb()))
        with pytest.raises(InvalidValue, match="pickle"):
            load_model(folder)
        assert not _Bomb.exploded

    def test_not_a_model(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidValue, match="holds no MLmodel file"):
            load_model(tmp_path)
        (tmp_path / "MLmodel").write_text("- no\n- mapping\n")
        with pytest.raises(InvalidValue, match="not a mapping"):
            load_model(tmp_path)


class _Bomb:
    exploded = False

    def __reduce__(self):
        return (_explode, ())


def _explode() -> None:
    _Bomb.exploded = True


SKLEARN = {"pickled_model": "model.skops", "serialization_format": "skops"}
PYFUNC = {"loader_module": "mlflow.sklearn", "model_path": "model.skops"}
SAFETY = [
    ({"sklearn": SKLEARN, "python_function": PYFUNC}, None),
    ({"sklearn": {**SKLEARN, "skops_trusted_types": ["sklearn.tree._tree.Tree"]}}, None),
    ({"sklearn": {**SKLEARN, "skops_trusted_types": ["os.system"]}}, "asks to trust os.system"),
    ({"sklearn": {**SKLEARN, "skops_trusted_types": 3}}, "malformed"),
    ({"sklearn": {**SKLEARN, "pickled_model": ["model.skops"]}}, "missing"),
    ({"sklearn": {**SKLEARN, "serialization_format": "cloudpickle"}}, "cloudpickle"),
    ({"sklearn": {"pickled_model": "model.skops"}}, "pickle"),
    ({"sklearn": {**SKLEARN, "code": "code"}}, "Python files"),
    ({"sklearn": SKLEARN, "python_function": {**PYFUNC, "loader_module": "evil"}}, "loaded by 'evil'"),
    ({"sklearn": SKLEARN, "python_function": {**PYFUNC, "code": "code"}}, "Python files"),
    ({"sklearn": SKLEARN, "python_function": {**PYFUNC, "model_path": "other.skops"}}, "another file"),
    ({"sklearn": SKLEARN, "python_function": {**PYFUNC, "data": "other"}}, "another file"),
    ({"sklearn": SKLEARN, "pytorch": {}}, "several"),
    ({"pytorch": {"model_data": "data"}}, None),
    ({"pytorch": {"model_data": "pickled"}}, "pickle"),
    ({"onnx": {"data": "model.onnx"}}, None),
    ({"xgboost": {"data": "model.xgb"}}, "not known to be safe"),
    ({"python_function": {"loader_module": "mlflow.pyfunc.model"}}, "Python function"),
    ({"sklearn": "no mapping"}, "no flavours"),
    ({}, "kept as code"),
    (None, "no flavours"),
]


@pytest.mark.parametrize(("flavors", "reason"), SAFETY)
def test_safety_is_judged_from_the_file(flavors: object, reason: str | None) -> None:
    files = {"model.skops", "other.skops", "data/model.pt2", "pickled/model.pth", "pickled/model.pt2", "model.onnx"}
    found = unsafe_reason({"flavors": flavors}, files)
    assert found is None if reason is None else found is not None and reason in found


@pytest.mark.parametrize(
    ("name", "trusted"),
    [
        ("sklearn.tree._tree.Tree", True),
        ("sklearn.metrics._classification.balanced_accuracy_score", True),
        ("sklearn.neural_network._stochastic_optimizers.AdamOptimizer", True),
        ("sklearn.datasets._base.urlretrieve", False),
        ("sklearn.datasets._base.Bunch", False),
        ("sklearn.utils._testing.TempMemmap", False),
        ("sklearn.os.system", False),
        ("sklearn_evil.Tree", False),
        ("sklearn.tree._tree.Tree\n", False),
        ("builtins.eval", False),
    ],
)
def test_trusted_types(name: str, trusted: bool) -> None:
    assert is_trusted_type(name) is trusted


class TestCache:
    FILES = (
        Artifact(path="a", size=1, digest="ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
        Artifact(path="b/c", size=1, digest="3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"),
    )

    def download(self, place: Path) -> Path:
        (place / "deep" / "b").mkdir(parents=True)
        (place / "deep" / "a").write_text("a")
        (place / "deep" / "b" / "c").write_text("b")
        return place / "deep"

    def refuse(self, place: Path) -> Path:
        raise AssertionError("downloaded again")

    def test_the_second_time_nothing_is_downloaded(self, tmp_path: Path) -> None:
        cache = ModelCache(tmp_path / "cache")
        place = cache.get(self.FILES, self.download)
        assert place.name == content_digest(self.FILES)
        assert cache.get(self.FILES, self.refuse) == place
        assert [entry.name for entry in cache.root.iterdir()] == [place.name]

    @pytest.mark.parametrize("damage", ["changed", "missing", "added"])
    def test_what_is_damaged_is_downloaded_again(self, tmp_path: Path, damage: str) -> None:
        cache = ModelCache(tmp_path / "cache")
        place = cache.get(self.FILES, self.download)
        {
            "changed": lambda: (place / "a").write_text("x"),
            "missing": (place / "a").unlink,
            "added": lambda: (place / "evil.py").write_text("x"),
        }[damage]()
        assert cache.get(self.FILES, self.download) == place
        assert sorted(path.name for path in place.rglob("*")) == ["a", "b", "c"]
        assert (place / "a").read_text() == "a"

    def test_two_at_once_get_the_same(self, tmp_path: Path) -> None:
        cache = ModelCache(tmp_path / "cache")

        def while_another_does_it(place: Path) -> Path:
            cache.get(self.FILES, self.download)
            return self.download(place)

        place = cache.get(self.FILES, while_another_does_it)
        assert cache.get(self.FILES, self.refuse) == place

    def test_what_was_long_unused_goes(self, tmp_path: Path) -> None:
        cache = ModelCache(tmp_path / "cache")
        old = cache.root / "old"
        old.mkdir(parents=True)
        os.utime(old, (0, 0))
        cache.get(self.FILES, self.download)
        assert not old.exists()


@pytest.mark.parametrize("function", [log_model, register_model, load_model, autolog])
def test_the_docs_have_the_signatures(function: Callable[..., object]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    written = re.search(rf"`mlops\.{function.__name__}\(([^`]*)\)`", page)
    assert written is not None
    parameters = inspect.signature(function).parameters.values()
    shown = []
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        value = parameter.default
        text = f'"{value}"' if isinstance(value, str) else repr(value)
        shown.append(parameter.name if value is parameter.empty else f"{parameter.name}={text}")
    assert " ".join(written[1].split()) == ", ".join(shown)


def test_a_child_that_is_forked_while_a_model_is_saved_can_save_its_own() -> None:
    saving, saved = threading.Event(), threading.Event()

    def save() -> None:
        with model_formats._mlflow():
            saving.set()
            saved.wait(60)

    thread = threading.Thread(target=save, daemon=True)
    thread.start()
    assert saving.wait(60)
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        with model_formats._mlflow():
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    saved.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0
