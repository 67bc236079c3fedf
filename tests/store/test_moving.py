"""Files move to another place while they are used: nothing is lost, also when the move or its users are in between."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from jupyter_mlops.cli.main import root
from jupyter_mlops.core.errors import Conflict, IntegrityError, MLOpsError
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.store import schema, settings
from jupyter_mlops.store.blobs import Blob, BlobStore
from jupyter_mlops.store.collect import collect
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.moving import move
from jupyter_mlops.store.verify import damaged
from jupyter_mlops.tracker.connect import artifacts_location, connect
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.service import process
from tests.store import object_stores
from tests.waiting import until


@pytest.fixture
def blobs(database: Database, tmp_path: Path) -> BlobStore:
    return BlobStore(database, artifacts_location(database, tmp_path / "from"))


def put(blobs: BlobStore, *contents: bytes) -> list[Blob]:
    with blobs.upload() as upload:
        added = [upload.add(io.BytesIO(content)) for content in contents]
        with upload.transaction() as connection:
            found = upload.keep(connection)
            rows = [{"holder": "h" * 32, "path": new_id(), "blob_id": blob.id, "created": 0} for blob in found.values()]
            connection.execute(schema.artifact.insert(), rows)
    return [found[blob.digest] for blob in added]


def read(blobs: BlobStore, blob: Blob) -> bytes:
    return b"".join(blobs.read(blob, "the thing"))


def opened(database: Database) -> BlobStore:
    """As who opens the store now."""
    return BlobStore(database, artifacts_location(database, None))


def test_the_same_place_by_another_name_loses_nothing_more(blobs: BlobStore, tmp_path: Path) -> None:
    whole, hurt = put(blobs, b"whole", b"hurt")
    (path,) = tmp_path.glob(f"from/*/*/{hurt.id}")
    path.write_bytes(b"hurd")
    (tmp_path / "again").symlink_to(tmp_path / "from")
    moved = move(blobs, str(tmp_path / "again"))
    assert (moved.settled, [each.key for each in moved.damaged]) == (False, [hurt.id])
    # What is left of it may be what somebody mends it with.
    assert path.read_bytes() == b"hurd"
    assert read(blobs, whole) == b"whole"


@pytest.mark.parametrize("kind", ["folder", "fsspec"])
def test_who_has_it_open_follows(blobs: BlobStore, tmp_path: Path, kind: str) -> None:
    """With what came before the move and after it, and nothing is removed from where it was."""
    before = put(blobs, b"one", b"", b"three" * 1_000_000)
    other = opened(blobs.database)
    target = f"{tmp_path}/to" if kind == "folder" else f"memory://{new_id()}"
    told: list[int] = []
    moved = move(other, target, on_moved=told.append)
    assert (moved.settled, moved.objects, moved.bytes, moved.damaged) == (True, 3, 5_000_003, ())
    assert sorted(told) == [0, 3, 5_000_000]
    shutil.move(tmp_path / "from", tmp_path / "kept")
    after = put(blobs, b"after")
    for each in (blobs, other, opened(blobs.database)):
        assert [read(each, blob) for blob in before] == [b"one", b"", b"three" * 1_000_000]
        assert read(each, after[0]) == b"after"
    assert len(list((tmp_path / "kept").glob("*/*/*"))) == 3
    assert list(damaged(opened(blobs.database))) == []


def test_an_upload_that_was_on_its_way_arrives(blobs: BlobStore, tmp_path: Path) -> None:
    """Its bytes are in the old place when the new one is settled, and in the new one once it is kept."""
    with blobs.upload() as upload:
        blob = upload.add(io.BytesIO(b"on its way"))
        assert move(opened(blobs.database), f"{tmp_path}/to").objects == 0
        with upload.transaction() as connection:
            upload.keep(connection)
    assert list(dict(blobs.elsewhere(f"{tmp_path}/from").listing())) == []
    shutil.rmtree(tmp_path / "from")
    assert read(opened(blobs.database), blob) == b"on its way"


def test_while_others_write_nothing_is_lost(blobs: BlobStore, tmp_path: Path) -> None:
    """Several writers, each with the store open since before; what was acknowledged is in the new place, whole."""
    put(blobs, *(os.urandom(20_000) for _ in range(100)))
    stopping = threading.Event()
    kept: list[tuple[Blob, bytes]] = []
    failures: list[MLOpsError] = []

    def write() -> None:
        own = opened(blobs.database)
        try:
            while not stopping.is_set():
                content = os.urandom(1000)
                kept.append((put(own, content)[0], content))
        except MLOpsError as error:
            failures.append(error)

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        until(lambda: len(kept) > 5, "the writers write")
        moved = move(opened(blobs.database), f"{tmp_path}/to")
        count = len(kept)
        until(lambda: len(kept) > count + 5, "the writers go on")
    finally:
        stopping.set()
        for writer in writers:
            writer.join()
    assert failures == []
    assert moved.settled
    shutil.rmtree(tmp_path / "from")
    new = opened(blobs.database)
    assert new.objects.url.startswith(f"{tmp_path}/to")
    assert all(read(new, blob) == content for blob, content in kept)
    assert list(damaged(new)) == []


def test_what_is_collected_meanwhile_is_gone(blobs: BlobStore, tmp_path: Path) -> None:
    """Also when who collects had the store open since before the move."""
    put(blobs, b"kept")
    with blobs.database.write() as connection:
        connection.execute(schema.artifact.delete())
    move(opened(blobs.database), f"{tmp_path}/to")
    collect(blobs.database, blobs, 0, grace_ms=0)
    assert dict(opened(blobs.database).objects.listing()) == {}


def test_damage_stops_it_unless_it_is_to_be_left(blobs: BlobStore, tmp_path: Path) -> None:
    lost, changed, good = put(blobs, b"lost", b"changed", b"good")
    place = Path(blobs.objects.url)
    next(place.glob(f"*/{lost.id}")).unlink()
    next(place.glob(f"*/{changed.id}")).write_bytes(b"another")
    moved = move(blobs, f"{tmp_path}/to")
    assert not moved.settled
    assert {each.key for each in moved.damaged} == {lost.id, changed.id}
    assert opened(blobs.database).objects.url == blobs.objects.url
    assert move(blobs, f"{tmp_path}/to", skip_damaged=True).settled
    new = opened(blobs.database)
    assert set(dict(new.objects.listing())) == {good.id}
    with pytest.raises(IntegrityError):
        read(new, lost)


def test_two_moves_at_once_have_one_winner(blobs: BlobStore, tmp_path: Path) -> None:
    put(blobs, b"it")
    other = opened(blobs.database)
    assert move(blobs, f"{tmp_path}/to").settled
    with pytest.raises(Conflict, match="moved by somebody else"):
        move(other, f"{tmp_path}/elsewhere")
    with blobs.database.read() as connection:
        assert settings.get(connection, settings.ARTIFACTS_URL) == f"{tmp_path}/to"


_MOVE = """
import sys
from jupyter_mlops.store.blobs import BlobStore
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.moving import move
from jupyter_mlops.tracker.connect import artifacts_location

def on_moved(size):
    print(size, flush=True)
    sys.stdin.read()

database = Database(sys.argv[1])
move(BlobStore(database, artifacts_location(database, None)), sys.argv[2], on_moved=on_moved)
"""


def objects_in(folder: Path) -> list[Path]:
    """Those that are whole."""
    return [path for path in folder.glob("*/*/*") if path.suffix != ".part"]


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_killed_it_goes_on(blobs: BlobStore, tmp_path: Path) -> None:
    """The store stays where it was; begun again, the move finishes what was half there and leaves the rest alone."""
    source, target = tmp_path / "from", tmp_path / "to"
    contents = [os.urandom(1000 * number) for number in range(20)]
    stored = put(blobs, *contents)
    url = blobs.database.engine.url.render_as_string(hide_password=False)
    with subprocess.Popen(
        [sys.executable, "-c", _MOVE, url, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as moving:
        assert moving.stdout is not None
        assert moving.stdout.readline()
        until(lambda: len(objects_in(target)) == 20, "the objects are there")
        moving.send_signal(signal.SIGKILL)
    assert opened(blobs.database).objects.url.startswith(f"{source}")
    # As the last of them is when it is killed a moment before.
    last = next(target.glob(f"*/*/{stored[-1].id}"))
    last.unlink()
    last.with_suffix(".part").write_bytes(contents[-1][:7000])
    there = {path: path.stat().st_ino for path in objects_in(target)}

    words = ["--url", url, "artifacts", "migrate", str(source), str(target)]
    done = CliRunner().invoke(root, words)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"20 files (190 kB) of {source} are in {target}, which is the store's location now.\n"
    assert list(target.rglob("*.part")) == []
    assert {path: path.stat().st_ino for path in there} == there
    assert [read(opened(blobs.database), blob) for blob in stored] == contents
    again = CliRunner().invoke(root, words)
    assert again.exit_code == 2
    assert f"are in {target}, not in {source}" in again.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["azure", "s3"])
def test_a_service_that_runs_follows_to_an_object_store(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """From a folder while it is asked; afterwards the folder is not needed any more."""
    with object_stores.STORES[kind]() as store:
        object_stores.use(store, monkeypatch)
        connect(sqlite_url, artifacts=tmp_path / "from").close()
        database = Database(sqlite_url)
        with process.serving(sqlite_url, tmp_path / "from", tmp_path) as service, RemoteTracker(
            service.url, service.token
        ) as tracker:  # fmt: skip
            experiment = tracker.experiments.ensure("moved")
            run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id)).run_id
            tracker.artifacts.put(run, "before.bin", io.BytesIO(b"before" * 100_000))
            words = ["artifacts", "migrate", str(tmp_path / "from"), store.location]
            done = CliRunner().invoke(root, ["--url", sqlite_url, *words])
            assert done.exit_code == 0, done.output
            shutil.rmtree(tmp_path / "from")
            assert b"".join(tracker.artifacts.open(run, "before.bin")) == b"before" * 100_000
            tracker.artifacts.put(run, "after.bin", io.BytesIO(b"after"))
            assert b"".join(tracker.artifacts.open(run, "after.bin")) == b"after"
        assert list(damaged(opened(database))) == []
        database.close()
