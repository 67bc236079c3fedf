"""What the contract cannot see: the bytes on disk, and several principals on one store."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.errors import (
    AlreadyExists,
    IntegrityError,
    InvalidValue,
    NotFound,
    PermissionDenied,
    TooLarge,
    Unavailable,
)
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.quotas import Quota
from jupyter_mlops.core.records import Collected, NewRun, Run
from jupyter_mlops.store import collect
from jupyter_mlops.store.blobs import BlobStore
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.embedded import EmbeddedTracker
from jupyter_mlops.tracker.protocol import Tracker

Opener = Callable[..., Tracker]


@pytest.fixture
def open_tracker(sqlite_url: str, tmp_path: Path) -> Iterator[Opener]:
    with ExitStack() as opened:

        def open_one(principal: Principal | None = None) -> Tracker:
            return opened.enter_context(connect(sqlite_url, artifacts=tmp_path / "store", principal=principal))

        yield open_one


@pytest.fixture
def tracker(open_tracker: Opener) -> Tracker:
    return open_tracker()


def new_run(tracker: Tracker, experiment: str = "churn") -> Run:
    return tracker.runs.create(NewRun(experiment_id=tracker.experiments.ensure(experiment).experiment_id))


def log_model(tracker: Tracker, run: Run) -> None:
    mlmodel = b"flavors: {python_function: {}}"
    for path, content in {"model/MLmodel": mlmodel, "model/weights": b"weights", "model/z": b"z"}.items():
        tracker.artifacts.put(run.run_id, path, io.BytesIO(content))


def damage(store: Path, content: bytes) -> None:
    """Flip a bit of the object that holds ``content``."""
    [path] = [path for path in store.rglob("*") if path.is_file() and path.read_bytes() == content]
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def test_damaged_bytes_are_never_given_away(tracker: Tracker, tmp_path: Path) -> None:
    run = new_run(tracker)
    log_model(tracker, run)
    tracker.models.register("churn", run.run_id, "model")
    damage(tmp_path / "store", b"weights")
    out = tmp_path / "out"
    for path in ("model/weights", "model"):
        with pytest.raises(IntegrityError, match=f"'model/weights' of run {run.run_id}"):
            tracker.artifacts.download(run.run_id, path, out)
    with pytest.raises(IntegrityError, match="'weights' of version 1 of registered model 'churn'"):
        tracker.models.download("churn", 1, out / "version")
    with pytest.raises(IntegrityError, match="'model/weights'"):
        b"".join(tracker.artifacts.open(run.run_id, "model/weights"))
    assert [path for path in out.rglob("*") if path.is_file() or path.name.startswith(".")] == []


def test_a_damaged_description_is_not_registered(tracker: Tracker, tmp_path: Path) -> None:
    run = new_run(tracker)
    log_model(tracker, run)
    damage(tmp_path / "store", b"flavors: {python_function: {}}")
    with pytest.raises(IntegrityError, match="model/MLmodel"):
        tracker.models.register("churn", run.run_id, "model")


def test_paths_never_reach_the_file_system(tracker: Tracker, tmp_path: Path) -> None:
    run = new_run(tracker)
    tracker.artifacts.put(run.run_id, "secret-name/passwd", io.BytesIO(b"content"))
    assert "secret-name" not in " ".join(str(path) for path in (tmp_path / "store").rglob("*"))


def test_artifacts_are_for_those_who_own_the_run(open_tracker: Opener, tmp_path: Path) -> None:
    ann, bob = open_tracker(Principal("ann")), open_tracker(Principal("bob"))
    run = new_run(ann)
    log_model(ann, run)
    for call in (
        lambda: bob.artifacts.put(run.run_id, "a", io.BytesIO(b"")),
        lambda: bob.artifacts.put_folder(run.run_id, tmp_path),
        lambda: bob.artifacts.list(run.run_id),
        lambda: bob.artifacts.walk(run.run_id),
        lambda: bob.artifacts.open(run.run_id, "model/MLmodel"),
        lambda: bob.artifacts.download(run.run_id, "", tmp_path / "out"),
        lambda: bob.artifacts.delete(run.run_id, "model"),
        lambda: bob.models.register("churn", run.run_id, "model"),
    ):
        with pytest.raises(NotFound, match=run.run_id):
            call()
    reader = open_tracker(Principal("ann", scope=Scope.READ))
    assert len(reader.artifacts.walk(run.run_id)) == 3
    with pytest.raises(PermissionDenied, match="write"):
        reader.artifacts.delete(run.run_id, "model")


def test_models_are_read_by_all_and_changed_by_their_owners(open_tracker: Opener, tmp_path: Path) -> None:
    ann, bob = open_tracker(Principal("ann", frozenset({"crm"}))), open_tracker(Principal("bob"))
    run = new_run(ann)
    log_model(ann, run)
    ann.models.create("churn", owner="group:crm")
    ann.models.register("churn", run.run_id, "model")
    assert bob.models.get("churn").owner == "group:crm"
    assert [model.name for model in bob.models.search().items] == ["churn"]
    assert [version.version for version in bob.models.versions().items] == [1]
    assert bob.models.resolve("churn", "latest").version == 1
    bob.models.download("churn", 1, tmp_path / "out")
    own = new_run(bob, "own")
    log_model(bob, own)
    for call in (
        lambda: bob.models.update("churn", description="mine"),
        lambda: bob.models.set_tags("churn", {"a": "b"}),
        lambda: bob.models.delete_tag("churn", "a", version=1),
        lambda: bob.models.delete("churn"),
        lambda: bob.models.register("churn", own.run_id, "model"),
        lambda: bob.models.update_version("churn", 1, description="mine"),
        lambda: bob.models.delete_version("churn", 1),
        lambda: bob.models.set_alias("churn", "production", 1),
        lambda: bob.models.delete_alias("churn", "production"),
        lambda: bob.models.create("other", owner="group:crm"),
    ):
        with pytest.raises(PermissionDenied, match="group:crm"):
            call()
    with pytest.raises(AlreadyExists, match="churn"):
        bob.models.create("churn")
    cat = open_tracker(Principal("cat", frozenset({"crm"})))
    cat.models.set_alias("churn", "next", 1, reason="ours")
    nobody = open_tracker(Principal("ann", frozenset({"crm"}), scope=Scope.NONE))
    assert nobody.models.search().items == nobody.models.versions().items == ()
    with pytest.raises(NotFound):
        nobody.models.get("churn")


def test_a_model_belongs_to_the_owner_of_the_run_that_it_came_from(open_tracker: Opener) -> None:
    ann = open_tracker(Principal("ann", frozenset({"crm"})))
    experiment = ann.experiments.create("churn", owner="group:crm")
    run = ann.runs.create(NewRun(experiment_id=experiment.experiment_id))
    log_model(ann, run)
    ann.models.register("churn", run.run_id, "model")
    assert ann.models.get("churn").owner == "group:crm"


def test_a_collection_takes_many_short_transactions(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "_AT_ONCE", 3)
    for number in range(10):
        tracker.artifacts.put(new_run(tracker).run_id, "a", io.BytesIO(str(number).encode()))
    tracker.experiments.delete(tracker.experiments.find("churn").experiment_id)
    expected = Collected(experiments=1, runs=10, blobs=10, bytes=10)
    assert tracker.gc(dry_run=True) == expected
    assert tracker.gc() == expected


def test_a_folder_of_files_is_one_write_transaction(tracker: Tracker, tmp_path: Path) -> None:
    run = new_run(tracker)
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(100):
        (folder / str(number)).write_text(str(number))
    tracker.artifacts.put(run.run_id, "a", io.BytesIO(b"opens the store"))
    said: list[str] = []
    engine = tracker._context.database.engine  # type: ignore[attr-defined]

    def listen(connection: sa.Connection) -> None:
        driver: Any = connection.connection.driver_connection
        driver.set_trace_callback(said.append)

    sa.event.listen(engine, "begin", listen, insert=True)
    tracker.artifacts.put_folder(run.run_id, folder)
    assert said.count("BEGIN IMMEDIATE") == 1
    assert said.count("COMMIT") >= 1


def test_parts_make_no_file_that_is_too_large(tracker: Tracker) -> None:
    assert isinstance(tracker, EmbeddedTracker)
    run = new_run(tracker)
    tracker.quotas.set(tracker.experiments.get(run.experiment_id).owner, Quota(file_bytes=100))
    upload, digest = new_id(), hashlib.sha256(bytes(60)).hexdigest()
    for name in ("1", "2"):
        tracker.artifacts.put_part(run.run_id, upload, name, 0, io.BytesIO(bytes(60)))
    with pytest.raises(TooLarge, match="at most 100 B"):
        tracker.artifacts.join(run.run_id, upload, "whole", [("1", digest), ("2", digest)])
    tracker.artifacts.join(run.run_id, upload, "whole", [("1", digest)])
    assert [file.size for file in tracker.artifacts.walk(run.run_id)] == [60]


def test_a_commit_that_another_service_has_done_meanwhile(
    open_tracker: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does when a proxy gave up on the first, and had it sent to another replica."""
    first, second = open_tracker(), open_tracker()
    run, upload = new_run(first), new_id()
    for offset, content in ((0, b"one "), (4, b"two")):
        first.artifacts.put_part(run.run_id, upload, "a", offset, io.BytesIO(content))
    files = {"a": hashlib.sha256(b"one two").hexdigest()}
    read, stored = BlobStore.read, []

    def late(*arguments: Any) -> Iterator[bytes]:
        monkeypatch.undo()
        stored.append(first.artifacts.commit(run.run_id, upload, files))
        return read(*arguments)

    monkeypatch.setattr(BlobStore, "read", late)
    with pytest.raises(Unavailable, match="ask again"):
        second.artifacts.commit(run.run_id, upload, files)
    assert [second.artifacts.commit(run.run_id, upload, files)] == stored
    assert b"".join(second.artifacts.open(run.run_id, "a")) == b"one two"
    assert first.gc() == Collected()


def test_a_part_that_is_damaged_is_no_commit(tracker: Tracker, tmp_path: Path) -> None:
    run, upload = new_run(tracker), new_id()
    for offset, content in ((0, b"one "), (4, b"two")):
        tracker.artifacts.put_part(run.run_id, upload, "a", offset, io.BytesIO(content))
    for file in (tmp_path / "store").rglob("*"):
        if file.is_file() and file.read_bytes() == b"two":
            file.unlink()
    with pytest.raises(IntegrityError, match="missing"):
        tracker.artifacts.commit(run.run_id, upload, {"a": hashlib.sha256(b"one two").hexdigest()})
    assert len(tracker.artifacts.parts(run.run_id, upload)) == 2


def test_a_location_of_another_file_system(sqlite_url: str, tmp_path: Path) -> None:
    with connect(sqlite_url, artifacts=f"memory://{tmp_path.name}") as tracker:
        run = new_run(tracker)
        log_model(tracker, run)
        tracker.models.register("churn", run.run_id, "model")
        place = tracker.models.download("churn", 1, tmp_path / "out")
        assert (place / "weights").read_bytes() == b"weights"
        tracker.runs.delete(run.run_id)
        assert tracker.gc() == Collected(runs=1)
        tracker.models.delete("churn")
        assert tracker.gc().blobs == 3
    with pytest.raises(InvalidValue, match="nosuch"), connect(sqlite_url, artifacts="nosuch://x") as tracker:
        tracker.artifacts.put(new_run(tracker).run_id, "a", io.BytesIO(b""))
