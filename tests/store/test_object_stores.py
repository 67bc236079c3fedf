"""Artifacts in object stores: against what stands for each of them on one machine."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from jupyter_mlops.core.errors import IntegrityError, Unavailable
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.store import objects
from jupyter_mlops.store.blobs import BlobStore
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.objects import RemoteObjects, open_location
from jupyter_mlops.store.verify import damaged
from jupyter_mlops.tracker.connect import connect
from tests.store import object_stores
from tests.store.object_stores import Store
from tests.waiting import until

pytestmark = pytest.mark.slow

MIB = 1 << 20


@pytest.fixture(scope="module", params=sorted(object_stores.STORES))
def running(request: pytest.FixtureRequest) -> Iterator[Store]:
    with object_stores.STORES[request.param]() as store:
        yield store


@pytest.fixture
def store(running: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    object_stores.use(running, monkeypatch)
    return running


def test_objects_come_and_go(store: Store) -> None:
    place = open_location(store.location, new_id())
    content = {new_id(): os.urandom(size) for size in (0, 1, 1000, 12 * MIB)}
    for key, value in content.items():
        writer = place.create(key)
        for start in range(0, len(value), MIB):
            writer.write(value[start : start + MIB])
        writer.finish()
    place.sync(list(content))
    assert dict(place.listing()) == {key: len(value) for key, value in content.items()}
    for key, value in content.items():
        assert b"".join(place.read(key, 0, len(value) + 10)) == value
    large = max(content, key=lambda key: len(content[key]))
    for start, stop in ((0, 1), (MIB - 1, MIB + 1), (7 * MIB, 12 * MIB)):
        assert b"".join(place.read(large, start, stop)) == content[large][start:stop]
    if store.location.startswith("gs://"):
        # Its emulator takes no credentials, and so there are none to sign with.
        with pytest.raises(Unavailable, match="private key"):
            place.link(large, 60)
    else:
        link = place.link(large, 60)
        assert link is not None
        assert requests.get(link, timeout=30).content == content[large]
        assert requests.get(link.replace(large, new_id()), timeout=30).status_code != 200
    for _ in range(2):
        place.remove(large)
    assert large not in dict(place.listing())
    with pytest.raises(FileNotFoundError):
        next(place.read(large, 0, 1))
    # Another store in the same bucket sees none of them.
    assert dict(open_location(store.location, new_id()).listing()) == {}
    unfinished = place.create(new_id())
    unfinished.write(b"x" * 6 * MIB)
    unfinished.discard()
    until(lambda: len(dict(place.listing())) == len(content) - 1, "what was discarded is gone")


def test_an_object_is_not_written_over(store: Store) -> None:
    if store.location.startswith("gs"):
        pytest.skip("the emulator does not keep the condition that Google's store keeps")
    place, key = open_location(store.location, new_id()), new_id()
    for value in (b"first", b"other"):
        writer = place.create(key)
        writer.write(value)
        with contextlib.nullcontext() if value == b"first" else pytest.raises(Unavailable):
            writer.finish()
    assert b"".join(place.read(key, 0, 10)) == b"first"


def test_a_model_of_many_files_goes_there_and_back(store: Store, sqlite_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {python_function: {loader_module: x}}")
    for number in range(500):
        (folder / f"part-{number:03}").write_bytes(str(number).encode() * number)
    (folder / "weights").write_bytes(os.urandom(MIB) * 40)
    with connect(sqlite_url, artifacts=store.location) as tracker:
        run = tracker.runs.create(NewRun(experiment_id=tracker.experiments.ensure("x").experiment_id))
        tracker.artifacts.put_folder(run.run_id, folder, "model")
        tracker.models.register("churn", run.run_id, "model")
        tracker.models.download("churn", 1, tmp_path / "back")
    for path in folder.iterdir():
        assert (tmp_path / "back" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("kind", sorted(object_stores.STORES))
def test_a_gigabyte_goes_through_little_memory(monkeypatch: pytest.MonkeyPatch, sqlite_url: str, kind: str) -> None:
    import psutil

    size, piece = 1 << 30, os.urandom(MIB)

    class Gigabyte(io.RawIOBase):
        left = size

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            part = min(len(buffer), self.left, MIB)
            buffer[:part] = piece[:part]
            self.left -= part
            return part

    with object_stores.STORES[kind]() as store:
        # What stands for S3 reads all of an object for each part of it that is asked for, and what stands for Google's
        # storage copies all of one for each part that is added: of the usual size, some hundred times a gigabyte. So
        # does the end of an upload to the former take longer than its driver waits.
        monkeypatch.setattr(objects, "_AHEAD", 100 * MIB)
        drivers = {
            "FSSPEC_GS": json.dumps({"token": "anon", "block_size": 50 * MIB}),
            "FSSPEC_S3": json.dumps({"config_kwargs": {"read_timeout": 100}}),
        }
        object_stores.use(store, monkeypatch, **drivers)
        with connect(sqlite_url, artifacts=store.location) as tracker:
            run = tracker.runs.create(NewRun(experiment_id=tracker.experiments.ensure("x").experiment_id))
            before = psutil.Process().memory_info().rss
            put = tracker.artifacts.put(run.run_id, "large", io.BufferedReader(Gigabyte(), MIB))
            assert put.size == size
            pieces = 0
            for part in tracker.artifacts.open(run.run_id, "large"):
                assert part == piece
                pieces += 1
            assert pieces == size // MIB
            assert psutil.Process().memory_info().rss - before < 400 * MIB
            assert b"".join(tracker.artifacts.open(run.run_id, "large", start=size - 5)) == piece[-5:]


class Between:
    """A proxy in front of a store that can fail in its stead."""

    def __init__(self, store: Store) -> None:
        self.silent = False
        self.losing = False
        self.lost = 0
        self.brought = 0
        """Bytes that the store has answered."""
        self._store = store
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, contextlib.ExitStack() as opened:
            store: socket.socket | None = None
            while piece := client.recv(1 << 16):
                if self.silent:
                    continue
                if self.losing and piece.startswith((b"PUT ", b"POST ")):
                    self._lose(client, piece)
                    continue
                if store is None:
                    # Not before: some stores wait for who called until they say something.
                    store = opened.enter_context(socket.create_connection(("127.0.0.1", self._store.port)))
                    threading.Thread(target=self._answer, args=(store, client), daemon=True).start()
                store.sendall(piece)

    def _lose(self, client: socket.socket, head: bytes) -> None:
        """Take a request to its end, and say that it was done."""
        if b"100-continue" in head.lower():
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        fields = head.partition(b"\r\n\r\n")[0].lower()
        length = int(fields.partition(b"content-length:")[2].partition(b"\r\n")[0])
        left = length - len(head.partition(b"\r\n\r\n")[2])
        while left > 0:
            left -= len(client.recv(1 << 16))
        self.lost += 1
        client.sendall(self._store.took)

    def _answer(self, store: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := store.recv(1 << 16):
                self.brought += len(piece)
                client.sendall(piece)
            client.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def between(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    """On the way to the store, from here on."""
    proxy = Between(store)
    object_stores.use(store.by_way_of(proxy.port), monkeypatch)
    monkeypatch.setattr(objects, "ANSWER_SECONDS", 2.0)
    try:
        yield proxy
    finally:
        proxy.close()


def test_a_store_that_does_not_answer_is_given_up(store: Store, between: Between, sqlite_url: str) -> None:
    with connect(sqlite_url, artifacts=store.location) as tracker:
        run = tracker.runs.create(NewRun(experiment_id=tracker.experiments.ensure("x").experiment_id))
        tracker.artifacts.put(run.run_id, "before", io.BytesIO(b"x"))
        between.silent = True
        began = time.monotonic()
        for attempt in (
            lambda: tracker.artifacts.put(run.run_id, "meanwhile", io.BytesIO(b"y")),
            lambda: list(tracker.artifacts.open(run.run_id, "before")),
        ):
            refused(attempt, store)
        assert time.monotonic() - began < 60
        assert [file.path for file in tracker.artifacts.list(run.run_id, "")] == ["before"]
        between.silent = False
        tracker.artifacts.put(run.run_id, "meanwhile", io.BytesIO(b"y"))


def test_a_range_brings_little_more_than_was_asked_for(store: Store, between: Between) -> None:
    place, key, content = open_location(store.location, new_id()), new_id(), os.urandom(12 * MIB)
    writer = place.create(key)
    writer.write(content)
    writer.finish()
    for start, stop in ((0, 5), (6 * MIB, 8 * MIB)):
        before = between.brought
        assert b"".join(place.read(key, start, stop)) == content[start:stop]
        assert between.brought - before < 2 * (stop - start) + MIB


def refused(attempt: Callable[[], object], store: Store) -> None:
    with pytest.raises(Unavailable, match=store.location):
        attempt()


def test_a_store_that_loses_a_write_is_found_out(store: Store, between: Between, sqlite_url: str) -> None:
    with connect(sqlite_url, artifacts=store.location) as tracker:
        run = tracker.runs.create(NewRun(experiment_id=tracker.experiments.ensure("x").experiment_id))
        between.losing = True
        refused(lambda: tracker.artifacts.put(run.run_id, "lost", io.BytesIO(b"y")), store)
        assert tracker.artifacts.list(run.run_id, "") == ()
        assert between.lost
        between.losing = False
        tracker.artifacts.put(run.run_id, "lost", io.BytesIO(b"y"))
        assert b"".join(tracker.artifacts.open(run.run_id, "lost")) == b"y"


def test_what_a_store_lost_later_is_found(store: Store, database: Database, database_url: str) -> None:
    with connect(database_url, artifacts=store.location) as tracker:
        run = tracker.runs.create(NewRun(experiment_id=tracker.experiments.ensure("x").experiment_id))
        for name in ("kept", "gone"):
            tracker.artifacts.put(run.run_id, name, io.BytesIO(name.encode()))
        blobs = BlobStore(database, store.location)
        assert list(damaged(blobs)) == []
        assert isinstance(blobs.objects, RemoteObjects)
        [key] = [key for key, _ in blobs.objects.listing() if b"".join(blobs.objects.read(key, 0, 9)) == b"gone"]
        blobs.objects.remove(key)
        [found] = damaged(blobs)
        assert (found.key, found.places) == (key, (f"run {run.name}: gone",))
        with pytest.raises(IntegrityError):
            list(tracker.artifacts.open(run.run_id, "gone"))
