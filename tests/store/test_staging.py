from __future__ import annotations

import io
from pathlib import Path

import pytest

from jupyter_mlops.core.errors import Conflict, InvalidValue
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Collected
from jupyter_mlops.store import staging
from jupyter_mlops.store.blobs import BlobStore, now_ms
from jupyter_mlops.store.collect import collect, preview
from jupyter_mlops.store.database import Database


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.ahead = 0

    def __call__(self) -> int:
        return now_ms() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def blobs(database: Database, tmp_path: Path, clock: Clock) -> BlobStore:
    return BlobStore(database, f"{tmp_path}/artifacts", clock)


def add(blobs: BlobStore, holder: str, offset: int, content: bytes) -> None:
    with blobs.upload() as upload:
        digest = upload.add(io.BytesIO(content)).digest
        with upload.transaction() as connection:
            staging.hold(connection, holder, new_id(), blobs.clock())
            blob = upload.keep(connection)[digest]
            staging.add(connection, holder, "a", offset, blob, blobs.clock())


def reached(blobs: BlobStore, holder: str) -> int:
    with blobs.database.read() as connection:
        return staging.reached(staging.parts(connection, holder).get("a", []))


def test_an_upload_is_kept_for_a_day_after_its_last_part(blobs: BlobStore, clock: Clock) -> None:
    holder, other = new_id(), new_id()
    add(blobs, other, 0, b"of another, longer ago")
    clock.ahead = staging.LEASE_MS // 2
    add(blobs, holder, 0, b"first ")
    clock.ahead += staging.LEASE_MS - 10_000
    add(blobs, holder, 6, b"second")
    assert preview(blobs.database, blobs, clock()) == Collected(blobs=1, bytes=22)
    assert collect(blobs.database, blobs, clock()) == Collected(blobs=1, bytes=22)
    assert (reached(blobs, holder), reached(blobs, other)) == (12, 0)
    clock.ahead += staging.LEASE_MS + 10_000
    assert preview(blobs.database, blobs, clock()) == Collected(blobs=2, bytes=12)
    assert collect(blobs.database, blobs, clock()) == Collected(blobs=2, bytes=12)
    assert list(blobs.objects.listing()) == []
    # Whoever goes on with it is told that it begins anew.
    with pytest.raises(Conflict, match="at byte 0"):
        add(blobs, holder, 12, b"third")
    assert list(blobs.objects.listing()) == []


def test_an_upload_whose_lease_ran_out_is_gone_on_with_when_nobody_collected(blobs: BlobStore, clock: Clock) -> None:
    holder = new_id()
    add(blobs, holder, 0, b"first ")
    clock.ahead = 2 * staging.LEASE_MS
    add(blobs, holder, 6, b"second")
    assert collect(blobs.database, blobs, clock()) == Collected()
    assert reached(blobs, holder) == 12


def test_bytes_that_a_part_shares_with_another_stay(blobs: BlobStore) -> None:
    first, second = new_id(), new_id()
    for holder in (first, second):
        add(blobs, holder, 0, b"the same")
    assert len(list(blobs.objects.listing())) == 1
    with blobs.database.write() as connection:
        staging.drop(connection, first)
    assert collect(blobs.database, blobs, blobs.clock()) == Collected()
    assert reached(blobs, second) == 8


def test_a_file_has_so_many_parts_and_no_more(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "MOST_PARTS", 3)
    holder = new_id()
    for offset in range(3):
        add(blobs, holder, offset, b"x")
    with pytest.raises(InvalidValue, match="larger"):
        add(blobs, holder, 3, b"x")
    add(blobs, holder, 2, b"x")
