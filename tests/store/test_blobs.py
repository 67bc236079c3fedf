from __future__ import annotations

import hashlib
import io
import random
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
import sqlalchemy as sa

from jupyter_mlops.core.errors import Conflict, IntegrityError, InvalidValue, Unavailable
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.store import migrate, schema
from jupyter_mlops.store.blobs import GRACE_MS, RENEW_MS, SMALL, Blob, BlobStore, Upload, now_ms
from jupyter_mlops.store.collect import collect
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.objects import PIECE


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/mlops.db")
    migrate.ensure_current(database, upgrade=False)
    yield database
    database.close()


@pytest.fixture(params=["folder", "fsspec"])
def blobs(database: Database, tmp_path: Path, request: pytest.FixtureRequest) -> BlobStore:
    return BlobStore(database, f"{tmp_path}/artifacts" if request.param == "folder" else f"memory://{new_id()}")


@pytest.fixture
def folder_blobs(database: Database, tmp_path: Path) -> BlobStore:
    return BlobStore(database, f"{tmp_path}/artifacts")


HOLDER = "h" * 32


def put(blobs: BlobStore, *contents: bytes, source: BinaryIO | None = None, holder: str | None = HOLDER) -> list[Blob]:
    """Store contents, and what ``source`` has, and refer to each, as a tracker does."""
    with blobs.upload() as upload:
        added = [upload.add(io.BytesIO(content)) for content in contents]
        if source is not None:
            added.append(upload.add(source))
        with upload.transaction() as connection:
            found = upload.keep(connection)
            for blob in found.values():
                refer(connection, blob, holder)
    return [found[blob.digest] for blob in added]


def refer(connection: sa.Connection, blob: Blob, holder: str | None = HOLDER) -> None:
    row = {"holder": holder, "path": new_id(), "blob_id": blob.id, "created": 0}
    connection.execute(schema.artifact.insert(), row)


def forget(blobs: BlobStore) -> None:
    """Remove every reference."""
    with blobs.database.write() as connection:
        connection.execute(schema.artifact.delete())


def rows(blobs: BlobStore, table: sa.Table) -> int:
    with blobs.database.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def read(blobs: BlobStore, blob: Blob, start: int = 0, stop: int | None = None) -> bytes:
    return b"".join(blobs.read(blob, "the thing", start, stop))


def object_path(blobs: BlobStore, blob: Blob) -> Path:
    return next(Path(blobs.objects.url).glob(f"*/{blob.id}"))


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 17])
def test_bytes_come_back_as_they_went_in(blobs: BlobStore, size: int) -> None:
    content = random.Random(size).randbytes(size)
    [blob] = put(blobs, content)
    assert (blob.size, blob.digest) == (size, hashlib.sha256(content).hexdigest())
    assert read(blobs, blob) == content


def test_a_range_is_a_slice(blobs: BlobStore) -> None:
    content = bytes(range(256)) * 10
    [blob] = put(blobs, content)
    for start, stop in [(0, None), (0, 0), (5, 9), (2559, 2560), (2559, 9999), (2560, None), (9999, None), (7, 3)]:
        assert read(blobs, blob, start, stop) == content[start:stop]


@pytest.mark.parametrize(("start", "stop"), [(-1, None), (0, -1)])
def test_a_negative_range_is_refused(blobs: BlobStore, start: int, stop: int | None) -> None:
    [blob] = put(blobs, b"abc")
    with pytest.raises(InvalidValue, match="range"):
        read(blobs, blob, start, stop)


def test_the_same_content_is_stored_once(blobs: BlobStore) -> None:
    first, twin, other = put(blobs, b"same", b"same", b"other")
    [again] = put(blobs, b"same")
    assert first == twin == again != other
    assert sorted(key for key, _ in blobs.objects.listing()) == sorted([first.id, other.id])
    assert rows(blobs, schema.blob) == 2


class Broken(io.BytesIO):
    """A source that fails after its first piece."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            raise OSError("the disk was pulled out")
        return super().read(size)


def test_an_upload_that_fails_leaves_nothing(blobs: BlobStore) -> None:
    with pytest.raises(OSError, match="pulled out"):
        put(blobs, b"whole", source=Broken(b"broken"))
    with pytest.raises(Conflict):
        put(blobs, b"whole", holder=None)
    assert list(blobs.objects.listing()) == []
    assert rows(blobs, schema.blob) == 0


def test_a_changed_object_is_noticed(folder_blobs: BlobStore) -> None:
    content = bytes(2 * PIECE)
    [blob] = put(folder_blobs, content)
    path = object_path(folder_blobs, blob)
    path.write_bytes(content[:-1] + b"!")
    with pytest.raises(IntegrityError, match=r"the thing.*do not match"):
        read(folder_blobs, blob)
    path.write_bytes(content[:-1])
    with pytest.raises(IntegrityError, match="the thing"):
        read(folder_blobs, blob, PIECE)
    path.unlink()
    with pytest.raises(IntegrityError, match=r"the thing.*missing"):
        read(folder_blobs, blob)


def test_no_piece_of_a_small_changed_object_is_given(folder_blobs: BlobStore) -> None:
    [blob] = put(folder_blobs, b"right")
    object_path(folder_blobs, blob).write_bytes(b"wrong")
    pieces = folder_blobs.read(blob, "the thing")
    with pytest.raises(IntegrityError):
        next(pieces)


def test_a_missing_object_is_noticed_in_any_location(blobs: BlobStore) -> None:
    [blob] = put(blobs, b"abc")
    blobs.objects.remove(blob.id)
    blobs.objects.remove(blob.id)
    with pytest.raises(IntegrityError, match="missing"):
        read(blobs, blob)


def test_stores_that_share_a_location_do_not_see_each_other(tmp_path: Path) -> None:
    stores = []
    for name in "ab":
        database = Database(f"sqlite:///{tmp_path}/{name}.db")
        migrate.ensure_current(database, upgrade=False)
        stores.append(BlobStore(database, f"{tmp_path}/artifacts"))
    kept = [put(store, b"same")[0] for store in stores]
    assert kept[0].id != kept[1].id
    collect(stores[0].database, stores[0], now_ms(), grace_ms=-1)
    assert [read(store, blob) for store, blob in zip(stores, kept, strict=True)] == [b"same", b"same"]
    assert BlobStore(stores[0].database, f"{tmp_path}/artifacts").objects.url == stores[0].objects.url
    for store in stores:
        store.database.close()


def test_other_files_in_the_location_are_left_alone(folder_blobs: BlobStore) -> None:
    [blob] = put(folder_blobs, b"abc")
    shard = object_path(folder_blobs, blob).parent
    strangers = [shard / "notes.txt", shard.parent / "README", shard / ("f" * 32)]
    for stranger in strangers:
        stranger.write_text("mine")
    collect(folder_blobs.database, folder_blobs, now_ms(), grace_ms=-1)
    assert all(stranger.exists() for stranger in strangers)


def test_a_location_that_cannot_be_used_is_named(database: Database, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="nosuchscheme"):
        BlobStore(database, "nosuchscheme://somewhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="file"):
        put(BlobStore(database, f"{tmp_path}/file"), b"abc")


# --- collection and uploads at the same time -------------------------------------------------------------------------


def test_collection_frees_what_nothing_refers_to(blobs: BlobStore) -> None:
    kept, dropped = put(blobs, b"kept", b"dropped!")
    with blobs.database.write() as connection:
        connection.execute(schema.artifact.delete().where(schema.artifact.c.blob_id == dropped.id))
    collected = collect(blobs.database, blobs, now_ms())
    assert (collected.blobs, collected.bytes) == (1, 8)
    assert list(blobs.objects.listing()) == [(kept.id, 4)]
    assert collect(blobs.database, blobs, now_ms()).blobs == 0


def test_content_that_comes_back_after_a_collection_is_stored_anew(blobs: BlobStore) -> None:
    [before] = put(blobs, b"content")
    with blobs.upload() as upload:
        upload.add(io.BytesIO(b"content"))
        forget(blobs)
        collect(blobs.database, blobs, now_ms())
        with upload.transaction() as connection:
            [after] = upload.keep(connection).values()
            refer(connection, after)
    # A late second delete of the old object cannot hit the new one.
    blobs.objects.remove(before.id)
    assert after.id != before.id
    assert read(blobs, after) == b"content"


def test_it_is_stored_anew_at_the_end_of_a_long_upload_too(timed: BlobStore, clock: Clock) -> None:
    put(timed, b"content")
    with timed.upload() as upload:
        upload.add(io.BytesIO(b"content"))
        forget(timed)
        assert collect(timed.database, timed, clock()).blobs == 1
        clock.ahead += RENEW_MS
        blob = finish(upload)
    assert read(timed, blob) == b"content"


@pytest.mark.parametrize(("size", "objects"), [(SMALL, 1), (SMALL + 1, 2)], ids=["small", "larger"])
def test_small_content_that_was_stored_of_late_is_not_written_again(blobs: BlobStore, size: int, objects: int) -> None:
    [before] = put(blobs, bytes(size))
    with blobs.upload() as upload:
        blob = upload.add(io.BytesIO(bytes(size)))
        assert (blob.digest, blob.size) == (before.digest, size)
        assert len(list(blobs.objects.listing())) == objects
        with upload.transaction() as connection:
            assert upload.keep(connection) == {before.digest: before}
            refer(connection, before)
    assert list(blobs.objects.listing()) == [(before.id, size)]


def test_an_upload_in_flight_is_left_alone(blobs: BlobStore) -> None:
    with blobs.upload() as upload:
        upload.add(io.BytesIO(b"content"))
        assert collect(blobs.database, blobs, now_ms()).blobs == 0
        with upload.transaction() as connection:
            [blob] = upload.keep(connection).values()
            refer(connection, blob)
    assert read(blobs, blob) == b"content"


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.ahead = 0

    def __call__(self) -> int:
        return now_ms() + self.ahead


class Slow(io.BytesIO):
    """A source before each piece of which time passes."""

    def __init__(self, content: bytes, clock: Clock, pause: int) -> None:
        super().__init__(content)
        self.clock = clock
        self.pause = pause

    def read(self, size: int | None = -1) -> bytes:
        self.clock.ahead += self.pause
        return super().read(size)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(database: Database, tmp_path: Path, clock: Clock) -> BlobStore:
    return BlobStore(database, f"{tmp_path}/artifacts", clock)


def finish(upload: Upload) -> Blob:
    with upload.transaction() as connection:
        [blob] = upload.keep(connection).values()
        refer(connection, blob)
    return blob


def test_a_long_upload_holds_leases(timed: BlobStore, clock: Clock) -> None:
    content = bytes(20 * PIECE)
    with timed.upload() as upload:
        upload.add(Slow(content, clock, RENEW_MS))
        assert rows(timed, schema.upload) == 1
        assert clock.ahead > GRACE_MS
        assert collect(timed.database, timed, clock()).blobs == 0
        blob = finish(upload)
    assert rows(timed, schema.upload) == 0
    assert read(timed, blob) == content


@pytest.mark.parametrize("pause", [0, RENEW_MS], ids=["without a lease", "with a lease"])
def test_an_upload_that_was_suspended_fails_and_keeps_nothing(timed: BlobStore, clock: Clock, pause: int) -> None:
    with timed.upload() as upload:
        upload.add(Slow(b"content", clock, pause))
        assert rows(timed, schema.upload) == (1 if pause else 0)
        clock.ahead += 2 * GRACE_MS
        assert collect(timed.database, timed, clock()).blobs == 1
        with pytest.raises(Unavailable, match="suspended"):
            finish(upload)
    assert rows(timed, schema.blob) == 0
    assert list(timed.objects.listing()) == []


def test_an_upload_suspended_between_two_pieces_fails(timed: BlobStore, clock: Clock) -> None:
    with pytest.raises(Unavailable, match="suspended"):
        put(timed, source=Slow(b"content", clock, 2 * GRACE_MS))
    assert list(timed.objects.listing()) == []


def test_a_lease_that_ran_out_is_renewed_when_nobody_collected(timed: BlobStore, clock: Clock) -> None:
    with timed.upload() as upload:
        upload.add(Slow(b"content", clock, RENEW_MS))
        clock.ahead += 2 * GRACE_MS
        blob = finish(upload)
    assert read(timed, blob) == b"content"


KILLED = """
import io, os, signal, sys
from jupyter_mlops.store.blobs import BlobStore
from jupyter_mlops.store.database import Database

class Source(io.RawIOBase):
    pieces = 3
    def read(self, size=-1):
        self.pieces -= 1
        if self.pieces < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return b"x" * 100

blobs = BlobStore(Database(sys.argv[1]), sys.argv[2])
with blobs.upload() as upload:
    upload.add(io.BytesIO(b"whole"))
    upload.add(Source())
"""


@pytest.mark.slow
def test_what_a_killed_upload_leaves_is_invisible_and_collected(folder_blobs: BlobStore, tmp_path: Path) -> None:
    [kept] = put(folder_blobs, b"kept")
    command = [sys.executable, "-c", KILLED, f"sqlite:///{tmp_path}/mlops.db", f"{tmp_path}/artifacts"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert rows(folder_blobs, schema.blob) == 1
    left = dict(folder_blobs.objects.listing())
    assert sorted(left.values()) == [4, 5, 300]
    assert collect(folder_blobs.database, folder_blobs, now_ms()).blobs == 0, "they are younger than the grace"
    collected = collect(folder_blobs.database, folder_blobs, now_ms(), grace_ms=-1)
    assert (collected.blobs, collected.bytes) == (2, 305)
    assert list(folder_blobs.objects.listing()) == [(kept.id, 4)]
    assert read(folder_blobs, kept) == b"kept"


# --- no room, and much of it -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_room_is_said_and_nothing_half_written_stays(tmp_path: Path) -> None:
    """In a process of its own, which may not write files beyond 1 MiB."""
    script = """
import io, resource, sys
from jupyter_mlops.core.errors import StorageFull
from jupyter_mlops.store import migrate
from jupyter_mlops.store.blobs import BlobStore
from jupyter_mlops.store.database import Database

database = Database(sys.argv[1])
migrate.ensure_current(database, upgrade=False)
blobs = BlobStore(database, sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    with blobs.upload() as upload:
        upload.add(io.BytesIO(b"small"))
        upload.add(io.BytesIO(bytes(3 << 20)))
except StorageFull as error:
    assert "no room left" in str(error), error
    assert list(blobs.objects.listing()) == []
    print("full")
"""
    command = [sys.executable, "-c", script, f"sqlite:///{tmp_path}/mlops.db", f"{tmp_path}/artifacts"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("full\n", 0), done.stderr


@pytest.mark.slow
def test_a_large_file_is_streamed(folder_blobs: BlobStore) -> None:
    size = 200 << 20

    class Zeros(io.RawIOBase):
        left = size

        def read(self, wanted: int = -1) -> bytes:
            piece = bytes(min(self.left, wanted))
            self.left -= len(piece)
            return piece

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with folder_blobs.upload() as upload:
        blob = upload.add(Zeros())
        with upload.transaction() as connection:
            upload.keep(connection)
    assert sum(len(piece) for piece in folder_blobs.read(blob, "zeros")) == size
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert grown < 50 << 20


def test_many_threads_store_the_same_content_once(folder_blobs: BlobStore) -> None:
    contents = [f"content {number}".encode() for number in range(10)]
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for content in random.Random(number).sample(contents, len(contents)):
                put(folder_blobs, content, holder=f"{number:032x}")
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert rows(folder_blobs, schema.blob) == len(contents)
    assert len(list(folder_blobs.objects.listing())) == len(contents)
    assert rows(folder_blobs, schema.artifact) == 6 * len(contents)
