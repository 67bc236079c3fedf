"""The remote tracker's large files: cut connections, killed senders, little memory, no room."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import urllib3

from jupyter_mlops.core.errors import QuotaExceeded, StorageFull, Unavailable
from jupyter_mlops.core.quotas import Quota
from jupyter_mlops.core.records import NewRun, StreamPosition
from jupyter_mlops.tracker.remote import RemoteTracker, upload
from tests.service.inprocess import Running
from tests.service.process import Process, serving

PART = 1 << 18
CONTENT = random.Random(1).randbytes(10 * PART + 1000)


class Line:
    """A line to a service that can be cut: it is, each time that ``cut_after`` bytes more have been sent to it."""

    def __init__(self, url: str, cut_after: int) -> None:
        target = urlsplit(url)
        self._target = target.hostname, target.port
        self._cut_after = cut_after
        self.sent = 0
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)  # type: ignore[arg-type]
                threading.Thread(target=self._send, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _send(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError), client, server:
            while data := client.recv(1 << 14):
                server.sendall(data)
                self.sent += len(data)
                if self._cut_after and self.sent > (self.cuts + 1) * self._cut_after:
                    self.cuts += 1
                    for end in (client, server):
                        end.shutdown(socket.SHUT_RDWR)
                    return

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 14):
                client.sendall(data)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(autouse=True)
def _small_parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "slow" not in request.keywords:
        monkeypatch.setattr(upload, "PART", PART)
        monkeypatch.setattr("jupyter_mlops.tracker.remote.files.PART", PART)


def new_run(tracker: RemoteTracker) -> str:
    experiment = tracker.experiments.ensure("transfer")
    return str(tracker.runs.create(NewRun(experiment_id=experiment.experiment_id)).run_id)


def read(tracker: RemoteTracker, run_id: str, path: str) -> bytes:
    return b"".join(tracker.artifacts.open(run_id, path))


def test_an_upload_goes_on_after_cuts(service: Running) -> None:
    line = Line(service.url, cut_after=3 * PART + 5000)
    with RemoteTracker(line.url, service.token("ann")) as tracker:
        run_id = new_run(tracker)
        stored = tracker.artifacts.put(run_id, "a", io.BytesIO(CONTENT))
        assert stored.digest == hashlib.sha256(CONTENT).hexdigest()
        assert read(tracker, run_id, "a") == CONTENT
    assert line.cuts >= 3
    # At each cut, no more than a part was sent again.
    assert line.sent < len(CONTENT) + (line.cuts + 1) * PART
    line.close()


class Stopping(io.BytesIO):
    """A source whose reader is stopped in the middle."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > 7 * PART:
            raise KeyboardInterrupt
        return super().read(size)


def test_who_was_stopped_goes_on_where_they_were(service: Running) -> None:
    line = Line(service.url, cut_after=0)
    position = StreamPosition("stream", 1)
    with RemoteTracker(line.url, service.token("ann")) as tracker:
        run_id = new_run(tracker)
        with pytest.raises(KeyboardInterrupt):
            tracker.artifacts.put(run_id, "a", Stopping(CONTENT), position)
        assert tracker.artifacts.walk(run_id) == ()
        before = line.sent
    with RemoteTracker(line.url, service.token("ann")) as tracker:
        tracker.artifacts.put(run_id, "a", io.BytesIO(CONTENT), position)
        assert read(tracker, run_id, "a") == CONTENT
        assert line.sent - before < 5 * PART
        # What was applied is not sent again.
        before = line.sent
        tracker.artifacts.put(run_id, "a", io.BytesIO(CONTENT[::-1]), position)
        assert line.sent - before < PART
        assert read(tracker, run_id, "a") == CONTENT
    line.close()


def test_a_file_that_changed_meanwhile_is_sent_anew(service: Running) -> None:
    position = StreamPosition("stream", 1)
    with RemoteTracker(service.url, service.token("ann")) as tracker:
        run_id = new_run(tracker)
        with pytest.raises(KeyboardInterrupt):
            tracker.artifacts.put(run_id, "a", Stopping(CONTENT), position)
        other = CONTENT[:PART] + CONTENT[::-1]
        with pytest.raises(Unavailable, match="changed"):
            tracker.artifacts.put(run_id, "a", io.BytesIO(other), position)
        tracker.artifacts.put(run_id, "a", io.BytesIO(other), position)
        assert read(tracker, run_id, "a") == other


def test_an_error_of_the_source_is_raised_as_it_is_and_nothing_stays(service: Running, tmp_path: Path) -> None:
    class Broken(Stopping):
        def read(self, size: int | None = -1) -> bytes:
            try:
                return super().read(size)
            except KeyboardInterrupt:
                raise OSError("the disk was pulled out") from None

    with RemoteTracker(service.url, service.token("ann")) as tracker:
        run_id = new_run(tracker)
        with pytest.raises(OSError, match="pulled out"):
            tracker.artifacts.put(run_id, "a", Broken(CONTENT))
        assert tracker.artifacts.walk(run_id) == ()
    with RemoteTracker(service.url, service.token("root", scope="admin")) as tracker:
        tracker.gc()
    assert [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()] == []


# --- in a process of its own -----------------------------------------------------------------------------------------


def test_what_finds_no_room_takes_none_from_others(service: Running, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(CONTENT)
    position = StreamPosition("stream", 1)
    with (
        RemoteTracker(service.url, service.token("ann")) as ann,
        RemoteTracker(service.url, service.token("boss", scope="admin")) as boss,
    ):
        boss.quotas.set("ann", Quota(bytes=8 * PART))
        run_id = new_run(ann)
        # Of one its length is known, of the other it shows.
        for source in (tmp_path / "large", io.BytesIO(CONTENT)):
            with pytest.raises(QuotaExceeded):
                ann.artifacts.put(run_id, "large", source, position)
            (standing,) = boss.quotas.standing("ann")
            assert standing.usage.bytes == 0
        boss.quotas.set("ann", Quota(bytes=len(CONTENT)))
        assert ann.artifacts.put(run_id, "large", tmp_path / "large", position).size == len(CONTENT)


def put_one_body(service: Process, run_id: str, path: str, pieces: Iterable[bytes]) -> urllib3.BaseHTTPResponse:
    """The answer to a file that is sent in one request, however large."""
    url = f"{service.url}/api/v1/runs/{run_id}/content?path={path}"
    headers = {"Authorization": f"token {service.token}", "Accept": "application/json"}
    return urllib3.request("PUT", url, body=pieces, headers=headers, timeout=60, retries=False)


@pytest.mark.slow
def test_memory_is_bounded(sqlite_url: str, tmp_path: Path) -> None:
    size = 200 << 20
    with (
        serving(sqlite_url, tmp_path / "artifacts", tmp_path) as service,
        RemoteTracker(service.url, service.token) as tracker,
    ):
        run_id = new_run(tracker)
        tracker.artifacts.put(run_id, "warm", io.BytesIO(b"x"))
        before = service.peak()
        answer = put_one_body(service, run_id, "one", (bytes(1 << 20) for _ in range(size >> 20)))
        assert answer.status == 200
        with (tmp_path / "large").open("wb") as file:
            file.truncate(size)
        stored = tracker.artifacts.put(run_id, "parts", tmp_path / "large")
        assert (stored.size, stored.digest) == (size, answer.json()["digest"])
        assert sum(len(piece) for piece in tracker.artifacts.open(run_id, "parts")) == size
        assert service.peak() - before < 64 << 20


@pytest.mark.slow
def test_a_file_that_finds_no_room(sqlite_url: str, tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts"
    with (
        serving(sqlite_url, artifacts, tmp_path, largest_file=4 << 20) as service,
        RemoteTracker(service.url, service.token) as tracker,
    ):
        run_id = new_run(tracker)
        answer = put_one_body(service, run_id, "a", (bytes(1 << 20) for _ in range(20)))
        assert (answer.status, answer.json()["error"]) == (507, "StorageFull")
        assert str(artifacts) not in answer.json()["message"]
        with pytest.raises(StorageFull, match="no room for files"):
            tracker.artifacts.put(run_id, "a", io.BytesIO(bytes(40 << 20)))
        (tmp_path / "folder").mkdir()
        for name, size in (("small", 10), ("too large", 5 << 20)):
            (tmp_path / "folder" / name).write_bytes(bytes(size))
        with pytest.raises(StorageFull):
            tracker.artifacts.put_folder(run_id, tmp_path / "folder")
        assert tracker.artifacts.walk(run_id) == ()
        tracker.artifacts.put(run_id, "a", io.BytesIO(b"small"))
        assert read(tracker, run_id, "a") == b"small"
    left = [path for path in artifacts.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in left) == len(b"small")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 12)):
            pass
    return filler


@pytest.mark.slow
def test_a_full_disk(small_disk: Path, sqlite_url: str, tmp_path: Path) -> None:
    """On which the database is, too."""
    database = small_disk / "mlops.db"
    shutil.copyfile(sqlite_url.removeprefix("sqlite:///"), database)
    artifacts = small_disk / "artifacts"
    with (
        serving(f"sqlite:///{database}", artifacts, tmp_path) as service,
        RemoteTracker(service.url, service.token) as tracker,
    ):
        run_id = new_run(tracker)
        tracker.artifacts.put(run_id, "kept", io.BytesIO(b"kept"))
        answer = put_one_body(service, run_id, "large", (bytes(1 << 20) for _ in range(30)))
        assert (answer.status, answer.json()["error"]) == (507, "StorageFull")
        filler = fill(small_disk)
        for content in (b"", b"x", bytes(3 << 20)):
            with pytest.raises(StorageFull):
                tracker.artifacts.put(run_id, "large", io.BytesIO(content))
        assert read(tracker, run_id, "kept") == b"kept"
        filler.unlink()
        assert [file.path for file in tracker.artifacts.walk(run_id)] == ["kept"]
        # Whether its row was committed is known to the database alone: an empty object may wait for a collection.
        sizes = [path.stat().st_size for path in artifacts.rglob("*") if path.is_file()]
        assert sum(sizes) == len(b"kept")
        tracker.artifacts.put(run_id, "large", io.BytesIO(bytes(3 << 20)))
        assert read(tracker, run_id, "large") == bytes(3 << 20)
