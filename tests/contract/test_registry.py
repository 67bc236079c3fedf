from __future__ import annotations

import io
import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_mlops.core.errors import AlreadyExists, Conflict, FilterError, InvalidValue, NotFound
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Alias, ModelVersion, NewRun, Run, Tag
from jupyter_mlops.tracker.protocol import Tracker
from tests.together import together

SKOPS = b"""
flavors:
  python_function: {loader_module: mlflow.sklearn, model_path: model.skops}
  sklearn: {pickled_model: model.skops, serialization_format: skops, sklearn_version: 1.7.0}
utc_time_created: '2026-01-02 03:04:05.678901'
"""
PICKLE = SKOPS.replace(b"skops", b"cloudpickle")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder."""
    path = tmp_path / "folder"
    path.mkdir()
    return path


@pytest.fixture
def run(tracker: Tracker) -> Run:
    return new_run(tracker)


def new_run(tracker: Tracker) -> Run:
    experiment = tracker.experiments.ensure("models")
    return tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))


def log_model(tracker: Tracker, run: Run, path: str = "model", mlmodel: bytes = SKOPS, weights: bytes = b"w") -> None:
    prefix = f"{path}/" if path else ""
    for name, content in {"MLmodel": mlmodel, "model.skops": weights, "data/extra": b"x"}.items():
        tracker.artifacts.put(run.run_id, prefix + name, io.BytesIO(content))


def registered(tracker: Tracker, name: str = "churn", count: int = 1) -> list[ModelVersion]:
    versions = []
    for number in range(count):
        run = new_run(tracker)
        log_model(tracker, run, weights=f"weights {number}".encode())
        versions.append(tracker.models.register(name, run.run_id, "model"))
    return versions


# --- models ----------------------------------------------------------------------------------------------------------


def test_a_model_is_created_changed_and_deleted(tracker: Tracker) -> None:
    models = tracker.models
    created = models.create("churn", description="who leaves", tags={"team": "crm", "a": "b"})
    assert created == models.get("churn")
    assert created.owner == tracker.principal.name
    assert created.tags == (Tag("a", "b"), Tag("team", "crm"))
    assert (created.aliases, created.latest_version) == ((), None)
    changed = models.update("churn", description="who stays")
    assert (changed.name, changed.description) == ("churn", "who stays")
    assert changed.updated >= created.updated
    assert models.update("churn", new_name="Kündigung 😀").name == "Kündigung 😀"
    with pytest.raises(NotFound, match="churn"):
        models.get("churn")
    assert models.update("Kündigung 😀", new_name="Kündigung 😀", description="").description == ""
    models.delete("Kündigung 😀")
    with pytest.raises(NotFound):
        models.get("Kündigung 😀")
    with pytest.raises(NotFound):
        models.delete("Kündigung 😀")


@pytest.mark.at_once
def test_a_name_is_taken_once(tracker: Tracker) -> None:
    tracker.models.create("churn")
    tracker.models.create("Churn")
    with pytest.raises(AlreadyExists, match="churn"):
        tracker.models.create("churn")
    with pytest.raises(AlreadyExists, match="Churn"):
        tracker.models.update("churn", new_name="Churn")
    outcomes = together(*(partial(tracker.models.create, "new") for _ in range(4)))
    assert sum(isinstance(outcome, AlreadyExists) for outcome in outcomes) == 3


@pytest.mark.parametrize("name", ["", " ", "a/b", "a:b", "..", "x" * 251, "a\0b", "a\nb", None, 7])
def test_a_name_that_cannot_be_one_is_refused(tracker: Tracker, run: Run, name: Any) -> None:
    log_model(tracker, run)
    with pytest.raises(InvalidValue, match="name"):
        tracker.models.create(name)
    with pytest.raises(InvalidValue, match="name"):
        tracker.models.register(name, run.run_id, "model")
    tracker.models.create("x" * 250)
    with pytest.raises(InvalidValue, match="name"):
        tracker.models.update("x" * 250, new_name="a/b")


def test_tags_are_set_replaced_and_deleted(tracker: Tracker) -> None:
    [version] = registered(tracker)
    for number in (None, version.version):
        tracker.models.set_tags("churn", {"a": "1", "b": "2"}, version=number)
        tracker.models.set_tags("churn", {"a": "3", "long": "x" * 100_000}, version=number)
        tracker.models.delete_tag("churn", "b", version=number)
        with pytest.raises(NotFound, match="'b'"):
            tracker.models.delete_tag("churn", "b", version=number)
        with pytest.raises(InvalidValue, match="tag"):
            tracker.models.set_tags("churn", {"fine": "1", "": "2"}, version=number)
        record = tracker.models.get("churn") if number is None else tracker.models.version("churn", number)
        assert record.tags == (Tag("a", "3"), Tag("long", "x" * 100_000))


# --- registering -----------------------------------------------------------------------------------------------------


def test_a_version_has_the_bytes_and_the_lineage_of_its_run(tracker: Tracker, run: Run, folder: Path) -> None:
    log_model(tracker, run)
    tracker.artifacts.put(run.run_id, "model2/other", io.BytesIO(b"not of the model"))
    version = tracker.models.register("churn", run.run_id, "model", description="first", tags={"k": "v"})
    assert version == tracker.models.version("churn", 1)
    assert (version.model, version.version, version.run_id) == ("churn", 1, run.run_id)
    assert version.source == f"runs:/{run.run_id}/model"
    assert version.flavors == ("python_function", "sklearn")
    assert version.safe
    assert version.user == tracker.principal.name
    assert version.size == len(SKOPS) + 2
    assert (version.description, version.tags, version.aliases) == ("first", (Tag("k", "v"),), ())
    files = tracker.models.files("churn", 1)
    assert [file.path for file in files] == ["MLmodel", "data/extra", "model.skops"]
    assert b"".join(tracker.models.open("churn", 1, "MLmodel", start=1, stop=8)) == b"flavors"
    place = tracker.models.download("churn", 1, folder / "out")
    assert (place / "MLmodel").read_bytes() == SKOPS
    assert (place / "data" / "extra").read_bytes() == b"x"
    assert tracker.models.get("churn").latest_version == 1


def test_a_version_outlives_its_run(tracker: Tracker, run: Run) -> None:
    log_model(tracker, run, weights=b"precious")
    tracker.models.register("churn", run.run_id, "model")
    log_model(tracker, run, weights=b"overwritten")
    tracker.artifacts.delete(run.run_id, "model")
    tracker.runs.delete(run.run_id)
    tracker.gc()
    with pytest.raises(NotFound):
        tracker.runs.get(run.run_id)
    assert b"".join(tracker.models.open("churn", 1, "model.skops")) == b"precious"
    assert tracker.models.version("churn", 1).run_id == run.run_id


def test_equal_bytes_have_equal_digests(tracker: Tracker, run: Run) -> None:
    for path in ("a", "b/c"):
        log_model(tracker, run, path)
    log_model(tracker, run, "other", weights=b"W")
    digests = [tracker.models.register("churn", run.run_id, path).digest for path in ("a", "b/c", "other")]
    assert digests[0] == digests[1] != digests[2]


def test_the_root_of_a_run_can_be_a_model(tracker: Tracker, run: Run) -> None:
    log_model(tracker, run, "")
    version = tracker.models.register("churn", run.run_id, "")
    assert len(tracker.models.files("churn", version.version)) == 3


def test_a_pickled_model_is_not_safe(tracker: Tracker, run: Run) -> None:
    log_model(tracker, run, mlmodel=PICKLE)
    assert not tracker.models.register("churn", run.run_id, "model").safe


def test_a_folder_without_a_model_is_refused_and_models_are_named(tracker: Tracker, run: Run) -> None:
    tracker.artifacts.put(run.run_id, "notes/a.txt", io.BytesIO(b"x"))
    with pytest.raises(InvalidValue, match="no model at all"):
        tracker.models.register("churn", run.run_id, "notes")
    log_model(tracker, run, "models/best")
    for path in ("notes", "none", "models", "models/best/MLmodel", ""):
        with pytest.raises(InvalidValue, match="'models/best'"):
            tracker.models.register("churn", run.run_id, path)
    with pytest.raises(InvalidValue, match="artifact path"):
        tracker.models.register("churn", run.run_id, "../models")
    with pytest.raises(NotFound):
        tracker.models.register("churn", new_id(), "model")
    tracker.runs.delete(run.run_id)
    with pytest.raises(Conflict, match="deleted"):
        tracker.models.register("churn", run.run_id, "models/best")
    with pytest.raises(NotFound):
        tracker.models.get("churn")


@pytest.mark.parametrize(
    "mlmodel",
    [
        b"",
        b"just text",
        b"[1, 2]",
        b"flavors: {}",
        b"flavors: 5",
        b"flavors: [unclosed",
        b"\xff\xfe\x00",
        b"flavors: !!python/object/apply:os.system ['true']",
        b"a: !!timestamp nonsense",
        b"a: !!bool nonsense",
        b"a: !!int ''",
        b"{[]: 1}",
        b"[" * 100_000,
        b"#" * (5 << 20),
    ],
    ids=lambda content: repr(content[:30]),
)
def test_an_mlmodel_file_that_is_none_is_refused(tracker: Tracker, run: Run, mlmodel: bytes) -> None:
    log_model(tracker, run, mlmodel=mlmodel)
    with pytest.raises(InvalidValue, match="MLmodel"):
        tracker.models.register("churn", run.run_id, "model")


YAML = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "flavors",
                    "sklearn",
                    "pytorch",
                    "onnx",
                    "python_function",
                    "loader_module",
                    "code",
                    "data",
                    "model_data",
                    "pickled_model",
                    "serialization_format",
                    "skops_trusted_types",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flavors=st.dictionaries(st.sampled_from(["sklearn", "pytorch", "onnx", "python_function"]), YAML, min_size=1))
def test_a_crafted_mlmodel_file_is_judged_or_refused(tracker: Tracker, run: Run, flavors: dict[str, Any]) -> None:
    import yaml

    log_model(tracker, run, mlmodel=yaml.safe_dump({"flavors": flavors}).encode())
    try:
        version = tracker.models.register("churn", run.run_id, "model")
    except InvalidValue:
        return
    assert version.flavors == tuple(sorted(flavors))


def test_numbers_count_up_and_are_never_used_again(tracker: Tracker) -> None:
    versions = registered(tracker, count=3)
    assert [version.version for version in versions] == [1, 2, 3]
    tracker.models.delete_version("churn", 3)
    assert tracker.models.get("churn").latest_version == 2
    assert tracker.models.resolve("churn", "latest").version == 2
    assert registered(tracker)[0].version == 4
    with pytest.raises(NotFound, match="version 3"):
        tracker.models.version("churn", 3)
    with pytest.raises(NotFound, match="version 3"):
        tracker.models.files("churn", 3)


def test_a_number_may_be_given_once_and_only_upwards(tracker: Tracker, run: Run) -> None:
    log_model(tracker, run)
    assert tracker.models.register("churn", run.run_id, "model", version=3).version == 3
    assert tracker.models.register("churn", run.run_id, "model").version == 4
    for number in (1, 3, 4):
        with pytest.raises(Conflict, match=f"cannot have a new version {number}"):
            tracker.models.register("churn", run.run_id, "model", version=number)
    tracker.models.delete_version("churn", 4)
    with pytest.raises(Conflict, match="never used again"):
        tracker.models.register("churn", run.run_id, "model", version=4)
    for number in (0, -1, 2**31):
        with pytest.raises(InvalidValue, match="is out of range"):
            tracker.models.register("churn", run.run_id, "model", version=number)
    assert sorted(version.version for version in tracker.models.versions().items) == [3]
    assert tracker.models.register("churn", run.run_id, "model", version=2**31 - 1).version == 2**31 - 1
    with pytest.raises(Conflict, match="never used again"):
        tracker.models.register("churn", run.run_id, "model")


@pytest.mark.at_once
def test_registering_at_once_gives_distinct_numbers(tracker: Tracker) -> None:
    runs = [new_run(tracker) for _ in range(6)]
    for run in runs:
        log_model(tracker, run)
    outcomes = together(*(partial(tracker.models.register, "churn", run.run_id, "model") for run in runs))
    assert sorted(outcome.version for outcome in outcomes) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("version", [0, -1, 2, 2**31, 2**63 - 1])
def test_a_version_that_is_none_is_not_found(tracker: Tracker, version: int, folder: Path) -> None:
    registered(tracker)
    models = tracker.models
    for call in (
        lambda: models.version("churn", version),
        lambda: models.update_version("churn", version, description="x"),
        lambda: models.delete_version("churn", version),
        lambda: models.set_alias("churn", "a", version),
        lambda: models.set_tags("churn", {"a": "b"}, version=version),
        lambda: models.open("churn", version, "MLmodel"),
        lambda: models.download("churn", version, folder / "out"),
    ):
        with pytest.raises(NotFound, match=str(version)):
            call()


@pytest.mark.parametrize("version", ["1", 1.0, True, None, 2**70])
def test_a_version_is_a_whole_number(tracker: Tracker, version: Any) -> None:
    registered(tracker)
    with pytest.raises(InvalidValue, match=r"version: .*integer"):
        tracker.models.version("churn", version)


def test_a_version_is_described_and_deleted(tracker: Tracker) -> None:
    registered(tracker)
    assert tracker.models.update_version("churn", 1, description="better").description == "better"
    assert tracker.models.version("churn", 1).description == "better"
    tracker.models.delete_version("churn", 1)
    with pytest.raises(NotFound):
        tracker.models.delete_version("churn", 1)
    with pytest.raises(NotFound, match="no version"):
        tracker.models.resolve("churn", "latest")


def test_what_is_not_in_a_version_is_not_found(tracker: Tracker, folder: Path) -> None:
    registered(tracker)
    for path in ("none", "data"):
        with pytest.raises(NotFound, match=path):
            tracker.models.open("churn", 1, path)
    with pytest.raises(InvalidValue, match="artifact path"):
        tracker.models.open("churn", 1, "../MLmodel")
    (folder / "mine").write_text("mine")
    with pytest.raises(InvalidValue, match="not empty"):
        tracker.models.download("churn", 1, folder)
    assert [path.name for path in folder.iterdir()] == ["mine"]
    (folder / "empty").mkdir()
    tracker.models.download("churn", 1, folder / "empty")
    assert (folder / "empty" / "data" / "extra").exists()


# --- aliases ---------------------------------------------------------------------------------------------------------


def test_an_alias_points_at_one_version_and_its_moves_are_kept(tracker: Tracker) -> None:
    registered(tracker, count=3)
    models = tracker.models
    assert models.set_alias("churn", "production", 1, reason="first") == Alias("production", 1)
    models.set_alias("churn", "production", 2, reason="better auc")
    models.set_alias("churn", "production", 2, reason="again")
    models.set_alias("churn", "challenger", 3)
    assert models.get("churn").aliases == (Alias("challenger", 3), Alias("production", 2))
    assert [models.version("churn", number).aliases for number in (1, 2, 3)] == [(), ("production",), ("challenger",)]
    models.delete_alias("churn", "production", reason="leaks")
    with pytest.raises(NotFound, match="production"):
        models.delete_alias("churn", "production")
    moves = models.alias_history("churn", "production")
    assert [(move.version, move.replaced, move.reason) for move in moves] == [
        (1, None, "first"),
        (2, 1, "better auc"),
        (None, 2, "leaks"),
    ]
    assert {(move.model, move.alias, move.user) for move in moves} == {("churn", "production", tracker.principal.name)}
    assert [move.alias for move in models.alias_history("churn")] == ["production"] * 2 + ["challenger", "production"]
    actions = [entry.action for entry in tracker.audit() if entry.action.startswith("alias")]
    assert actions == ["alias.delete", "alias.set", "alias.set", "alias.set"]


def test_history_follows_a_renamed_model(tracker: Tracker) -> None:
    registered(tracker)
    tracker.models.set_alias("churn", "production", 1)
    tracker.models.update("churn", new_name="leavers")
    tracker.models.delete_alias("leavers", "production")
    assert [move.model for move in tracker.models.alias_history("leavers")] == ["churn", "leavers"]


@pytest.mark.parametrize("alias", ["", "latest", "Latest", "v1", "V22", "a b", "a/b", "@a", "x" * 256, "a\n", None])
def test_an_alias_that_cannot_be_one_is_refused(tracker: Tracker, alias: Any) -> None:
    registered(tracker)
    with pytest.raises(InvalidValue, match="alias"):
        tracker.models.set_alias("churn", alias, 1)


def test_what_an_alias_points_at_stays(tracker: Tracker) -> None:
    registered(tracker, count=2)
    tracker.models.set_alias("churn", "production", 1)
    with pytest.raises(Conflict, match="production"):
        tracker.models.delete_version("churn", 1)
    with pytest.raises(Conflict, match="production"):
        tracker.models.delete("churn")
    assert len(tracker.models.files("churn", 1)) == 3
    tracker.models.set_alias("churn", "production", 2)
    tracker.models.delete_version("churn", 1)
    tracker.models.delete_alias("churn", "production")
    tracker.models.delete("churn")


def test_references_resolve(tracker: Tracker) -> None:
    registered(tracker, count=2)
    tracker.models.set_alias("churn", "production", 1)
    for reference, number in {"1": 1, "2": 2, "@production": 1, "latest": 2}.items():
        assert tracker.models.resolve("churn", reference).version == number
    for reference in ("3", "@none", "0"):
        with pytest.raises(NotFound):
            tracker.models.resolve("churn", reference)
    for reference in ("production", "", "-1", "1.0", "²", "Latest"):
        with pytest.raises(InvalidValue, match="@production"):
            tracker.models.resolve("churn", reference)
    with pytest.raises(NotFound, match="none"):
        tracker.models.resolve("none", "latest")


@pytest.mark.at_once
def test_moves_at_once_leave_one_history(tracker: Tracker) -> None:
    registered(tracker, count=4)
    outcomes = together(*(partial(tracker.models.set_alias, "churn", "production", number) for number in (1, 2, 3, 4)))
    assert all(isinstance(outcome, Alias) for outcome in outcomes)
    moves = tracker.models.alias_history("churn", "production")
    assert [move.replaced for move in moves] == [None] + [move.version for move in moves[:-1]]
    assert sorted(move.version for move in moves if move.version) == [1, 2, 3, 4]
    assert tracker.models.get("churn").aliases == (Alias("production", moves[-1].version or 0),)


@pytest.mark.at_once
def test_an_alias_never_points_at_a_version_deleted_at_once(tracker: Tracker) -> None:
    for number in range(1, 7):
        registered(tracker)
        alias, deleted = together(
            partial(tracker.models.set_alias, "churn", "production", number),
            partial(tracker.models.delete_version, "churn", number),
        )
        assert isinstance(alias, Alias) == isinstance(deleted, Conflict)
        for target in tracker.models.get("churn").aliases:
            assert tracker.models.version("churn", target.version).aliases == ("production",)


# --- search ----------------------------------------------------------------------------------------------------------


def test_models_are_found(tracker: Tracker) -> None:
    for name, team in {"churn": "crm", "fraud": "risk", "churn-eu": "crm"}.items():
        tracker.models.create(name, tags={"team": team})

    def names(*query: Any, **more: Any) -> list[str]:
        return [model.name for model in tracker.models.search(*query, **more).items]

    assert names() == ["churn", "churn-eu", "fraud"]
    assert names("name LIKE 'churn%'") == ["churn", "churn-eu"]
    assert names("name ILIKE 'CHURN%' AND tags.team = 'crm'", ["name DESC"]) == ["churn-eu", "churn"]
    assert names("name = 'nothing'") == []
    with pytest.raises(FilterError):
        names("metrics.auc > 1")
    first = tracker.models.search(limit=2)
    assert [model.name for model in first.items] == ["churn", "churn-eu"]
    rest = tracker.models.search(limit=2, page_token=first.next_page_token)
    assert ([model.name for model in rest.items], rest.next_page_token) == (["fraud"], None)


def test_versions_are_found(tracker: Tracker) -> None:
    versions = registered(tracker, count=3) + registered(tracker, "fraud")
    tracker.models.set_tags("churn", {"stage": "good"}, version=2)

    def found(filter: str, *order_by: str) -> list[tuple[str, int]]:
        return [(version.model, version.version) for version in tracker.models.versions(filter, order_by).items]

    assert found("name = 'churn'", "version_number ASC") == [("churn", 1), ("churn", 2), ("churn", 3)]
    assert found(f"run_id = '{versions[1].run_id}'") == [("churn", 2)]
    assert found("tags.stage = 'good'") == [("churn", 2)]
    assert found("version_number > 1 AND name = 'churn'", "version_number DESC") == [("churn", 3), ("churn", 2)]
    assert len(found("")) == 4
    tokens, seen = None, []
    while True:
        page = tracker.models.versions(order_by=["name", "version_number"], limit=1, page_token=tokens)
        seen += [(version.model, version.version) for version in page.items]
        if page.next_page_token is None:
            break
        tokens = page.next_page_token
    assert seen == [("churn", 1), ("churn", 2), ("churn", 3), ("fraud", 1)]


def test_uses_of_a_data_set_name_the_versions(tracker: Tracker) -> None:
    from jupyter_mlops.core.records import Batch, Dataset, Input

    [version] = registered(tracker)
    assert version.run_id is not None
    dataset = Dataset(name="iris", digest=f"{random.Random(0).getrandbits(64):x}")
    tracker.runs.log(version.run_id, Batch(inputs=(Input(dataset, "training"),)))
    [use] = tracker.datasets.uses(dataset.digest)
    assert (use.run_id, use.versions) == (version.run_id, (("churn", 1),))
