"""Large files by a signed link to the object store: for who is allowed to read them, and compared all the same."""

from __future__ import annotations

import io
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import fsspec
import pytest
import requests

from jupyter_mlops.core.errors import IntegrityError, NotFound, Unavailable
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.service import content
from jupyter_mlops.service.content import SMALLEST_LINKED
from jupyter_mlops.store.objects import FolderObjects
from jupyter_mlops.tracker.remote import RemoteTracker
from jupyter_mlops.tracker.remote.links import LINKS_HEADER, Links
from tests.service.inprocess import Running, running
from tests.store import object_stores

CONTENT = os.urandom(SMALLEST_LINKED)
DOCS = Path(__file__).parents[2] / "docs" / "object-stores.md"


class Site(NamedTuple):
    service: Running
    token: str
    run_id: str
    store: object_stores.Store

    def get(self, path: str, **headers: str) -> requests.Response:
        url = f"{self.service.url}/api/v1/runs/{self.run_id}/content"
        given = {"Authorization": f"token {self.token}", **headers}
        return requests.get(url, params={"path": path}, headers=given, allow_redirects=False, timeout=30)


def run_with_a_large_file(tracker: RemoteTracker) -> str:
    experiment = tracker.experiments.ensure("linked")
    run_id: str = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id)).run_id
    tracker.artifacts.put(run_id, "large.bin", io.BytesIO(CONTENT))
    return run_id


@contextmanager
def site(
    sqlite_url: str, folder: Path, store: object_stores.Store, monkeypatch: pytest.MonkeyPatch, link_seconds: int
) -> Iterator[Site]:
    # As the docs say, so that links are signed in the form that buckets of today take.
    signing = re.search(r"^FSSPEC_S3='(.*)'$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert signing is not None
    object_stores.use(store, monkeypatch, FSSPEC_S3=signing[1])
    with running(sqlite_url, store.location, folder, link_seconds=link_seconds) as service:
        token = service.token("ann")
        with RemoteTracker(service.url, token) as tracker:
            run = run_with_a_large_file(tracker)
            tracker.artifacts.put(run, "small.bin", io.BytesIO(b"small"))
        yield Site(service, token, run, store)


GRANTED = {"s3": "X-Amz-Expires=60", "abfs": "sp=r"}
"""What a link says that it is for."""


@pytest.fixture(scope="module", params=["azure", "s3"])
def store(request: pytest.FixtureRequest) -> Iterator[object_stores.Store]:
    with object_stores.STORES[request.param]() as store:
        yield store


@pytest.mark.slow
def test_a_link_is_for_who_may_read_and_asks_for_it(
    sqlite_url: str, tmp_path: Path, store: object_stores.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site(sqlite_url, tmp_path, store, monkeypatch, link_seconds=60) as here:
        led = here.get("large.bin", **{LINKS_HEADER: "follow"})
        assert (led.status_code, led.content, led.headers["Cache-Control"]) == (307, b"", "no-store")
        link = led.headers["Location"]
        assert re.match(rf"http://127\.0\.0\.1:{store.port}(/\w+)?/team/artifacts/", link)
        assert GRANTED[store.location.partition(":")[0]] in re.split("[?&]", link)
        # The link itself is the permission.
        assert requests.get(link, timeout=30).content == CONTENT
        # Browsers, other clients, parts and small files: by the service.
        for path, headers, status in (
            ("large.bin", {}, 200),
            ("small.bin", {LINKS_HEADER: "follow"}, 200),
            ("large.bin", {LINKS_HEADER: "follow", "Range": "bytes=0-9"}, 206),
            ("no.bin", {LINKS_HEADER: "follow"}, 404),
        ):
            assert here.get(path, **headers).status_code == status
        foreign = {LINKS_HEADER: "follow", "Authorization": f"token {here.service.token('ben')}"}
        assert here.get("large.bin", **foreign).status_code == 404
        with RemoteTracker(here.service.url, here.token) as tracker:
            assert tracker.artifacts.download(here.run_id, "large.bin", tmp_path).read_bytes() == CONTENT
            assert b"".join(tracker.artifacts.open(here.run_id, "large.bin", start=5, stop=9)) == CONTENT[5:9]
            # Other bytes in the store are noticed, wherever they come from.
            bucket, _ = fsspec.core.url_to_fs(store.location, skip_instance_cache=True)
            (key,) = [path for path, each in bucket.find("team", detail=True).items() if each["size"] == len(CONTENT)]
            bucket.pipe_file(key, CONTENT[::-1])
            with pytest.raises(IntegrityError, match="what came is not what was stored"):
                tracker.artifacts.download(here.run_id, "large.bin", tmp_path)
            # What is gone there is asked of the service, which says so.
            bucket.rm_file(key)
            with pytest.raises(IntegrityError, match="its bytes are missing"):
                tracker.artifacts.download(here.run_id, "large.bin", tmp_path)
            with pytest.raises(NotFound):
                tracker.artifacts.download(here.run_id, "no.bin", tmp_path)


@pytest.mark.slow
def test_nobody_is_led_away_unless_it_is_allowed(
    sqlite_url: str, tmp_path: Path, store: object_stores.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site(sqlite_url, tmp_path, store, monkeypatch, link_seconds=0) as here:
        answer = here.get("large.bin", **{LINKS_HEADER: "follow"})
        assert (answer.status_code, answer.content) == (200, CONTENT)


def test_a_folder_has_no_links(sqlite_url: str, tmp_path: Path) -> None:
    with running(sqlite_url, tmp_path / "artifacts", tmp_path, link_seconds=60) as service:
        token = service.token("ann")
        with RemoteTracker(service.url, token) as tracker:
            run = run_with_a_large_file(tracker)
            assert b"".join(tracker.artifacts.open(run, "large.bin")) == CONTENT


@pytest.mark.parametrize(("pause", "then"), [(600.0, 200), (0.0, 307)])
def test_a_store_that_could_not_sign_is_asked_again_after_a_while(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pause: float, then: int
) -> None:
    asked: list[str] = []

    def link(_: FolderObjects, key: str, seconds: int) -> str:
        asked.append(key)
        if len(asked) == 1:
            raise Unavailable("the store is away")
        return "http://127.0.0.1:1/object"

    monkeypatch.setattr(FolderObjects, "link", link)
    monkeypatch.setattr(content, "PAUSE_SECONDS", pause)
    with running(sqlite_url, tmp_path / "artifacts", tmp_path, link_seconds=60) as service:
        token = service.token("ann")
        with RemoteTracker(service.url, token) as tracker:
            run = run_with_a_large_file(tracker)
        url = f"{service.url}/api/v1/runs/{run}/content?path=large.bin"
        headers = {"Authorization": f"token {token}", LINKS_HEADER: "follow"}
        answers = [requests.get(url, headers=headers, allow_redirects=False, timeout=30) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, then]
    assert len(asked) == (1 if pause else 2)


@pytest.mark.parametrize("link", ["file:///etc/passwd", "ftp://store/object", "http://[", "/object", "http://plain/x"])
def test_what_is_no_link_is_not_followed(link: str) -> None:
    links = Links("https")
    assert links.follow(link) is None
    assert not links.usable


def test_a_store_that_is_not_reached_is_given_up_and_hears_no_token() -> None:
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def refuse() -> None:
            connection, _ = listening.accept()
            with connection:
                heard.append(connection.recv(1 << 16))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        links = Links("http")
        assert links.follow(f"http://127.0.0.1:{listening.getsockname()[1]}/object?signature=x") is None
        thread.join()
    assert not links.usable
    assert b"authorization" not in heard[0].lower()
    links.close()
