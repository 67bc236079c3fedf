"""A version as one download, as a deployment asks for it."""

from __future__ import annotations

import hashlib
import http.client
import io
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import sqlalchemy as sa

from jupyter_mlops.core.records import NewRun
from jupyter_mlops.store import schema
from jupyter_mlops.store.database import Database
from jupyter_mlops.tracker.download import content_digest
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.service.inprocess import Running

MLMODEL = b"flavors: {python_function: {loader_module: x}}"
LONG = "deep/" * 40 + "é.txt"


class Site:
    """A service with versions of a model of ann's."""

    def __init__(self, service: Running, tracker: RemoteTracker, artifacts: Path) -> None:
        self.service = service
        self.tracker = tracker
        self.artifacts = artifacts

    def register(self, weights: bytes) -> None:
        experiment = self.tracker.experiments.ensure("models")
        run = self.tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))
        for path, content in {"MLmodel": MLMODEL, "weights": weights, LONG: b"x", "empty": b""}.items():
            self.tracker.artifacts.put(run.run_id, f"model/{path}", io.BytesIO(content))
        self.tracker.models.register("churn", run.run_id, "model")

    def ask(
        self, reference: str, method: str = "GET", *, user: str = "ann", more: str = "", **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        return self.send(f"archive?reference={quote(reference)}{more}", method, user=user, **headers)

    def send(
        self, path: str, method: str = "GET", *, user: str = "ann", **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        parts = urlsplit(self.service.url)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given["Authorization"] = f"token {self.service.token(user, scope='read')}"
        with closing(http.client.HTTPConnection(str(parts.hostname), int(parts.port or 0), timeout=60)) as connection:
            connection.request(method, f"/api/v1/models/churn/{path}", headers=given)
            answer = connection.getresponse()
            return answer, answer.read()


@pytest.fixture
def site(service: Running, tmp_path: Path) -> Iterator[Site]:
    with RemoteTracker(service.url, service.token("ann")) as tracker:
        site = Site(service, tracker, tmp_path / "artifacts")
        site.register(b"w" * 1000)
        tracker.models.set_alias("churn", "production", 1)
        yield site


def test_it_holds_the_files_and_is_the_same_each_time(site: Site) -> None:
    answer, content = site.ask("@production")
    assert answer.status == 200
    assert (answer.headers["X-Model-Version"], answer.headers["Content-Type"]) == ("1", "application/x-tar")
    assert int(answer.headers["Content-Length"]) == len(content)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        there = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
    assert there == {"MLmodel": MLMODEL, "weights": b"w" * 1000, LONG: b"x", "empty": b""}
    version, files = site.tracker.models.version("churn", 1), site.tracker.models.files("churn", 1)
    assert {file.path: file.digest for file in files} == {
        path: hashlib.sha256(content).hexdigest() for path, content in there.items()
    }
    assert answer.headers["X-Model-Digest"] == version.digest == content_digest(files)
    for reference in ("1", "latest", "@production"):
        assert site.ask(reference)[1] == content


def test_what_the_alias_still_points_at_is_not_sent_again(site: Site) -> None:
    etag = site.ask("@production")[0].headers["ETag"]
    answer, content = site.ask("@production", If_None_Match=etag)
    assert (answer.status, content, answer.headers["X-Model-Version"]) == (304, b"", "1")
    site.register(b"other")
    site.tracker.models.set_alias("churn", "production", 2)
    answer, content = site.ask("@production", If_None_Match=etag)
    assert (answer.status, answer.headers["X-Model-Version"]) == (200, "2")
    assert b"other" in content
    assert answer.headers["ETag"] != etag


def test_head_tells_what_get_would_send(site: Site) -> None:
    got, content = site.ask("1")
    answer, nothing = site.ask("1", "HEAD")
    assert (answer.status, nothing) == (200, b"")
    for name in ("ETag", "Content-Length", "X-Model-Digest", "X-Model-Version"):
        assert answer.headers[name] == got.headers[name]
    assert int(answer.headers["Content-Length"]) == len(content)


def test_who_downloads_is_a_consumer(site: Site) -> None:
    site.ask("@production", user="deployer", more="&consumer=scoring")
    site.ask("@production", user="deployer", more="&consumer=scoring")
    site.ask("1", user="deployer", User_Agent="curl/8")
    seen = {(each.user, each.reference, each.purpose, each.loads) for each in site.tracker.models.consumers("churn")}
    assert seen == {("deployer", "@production", "scoring", 2), ("deployer", "", "curl/8", 1)}


@pytest.mark.parametrize(("reference", "status"), [("@nobody", 404), ("7", 404), ("x", 400)])
def test_what_is_not_there_is_refused(site: Site, reference: str, status: int) -> None:
    assert site.ask(reference)[0].status == status


def test_a_restricted_model_is_not_there_for_others(site: Site) -> None:
    site.tracker.models.restrict("churn", True)
    assert site.ask("@production", user="eve")[0].status == 404
    assert site.ask("@production")[0].status == 200


def test_bytes_that_were_changed_do_not_arrive_whole(site: Site) -> None:
    [stored] = [file for file in site.artifacts.rglob("*") if file.is_file() and file.read_bytes() == b"w" * 1000]
    stored.write_bytes(b"w" * 999 + b"!")
    with pytest.raises(http.client.IncompleteRead):
        site.ask("@production")


def test_other_files_than_were_registered_are_not_sent(site: Site, sqlite_url: str) -> None:
    """Somebody with access to the database puts another whole file in the place of the registered."""
    content = "versions/1/content?path=weights"
    assert site.send(content)[1] == b"w" * 1000
    digest = hashlib.sha256(b"w" * 1000).hexdigest()
    database = Database(sqlite_url)
    with database.write() as connection:
        files = schema.artifact.c
        other = sa.select(files.blob_id).where(files.path == "MLmodel").scalar_subquery()
        changed = connection.execute(sa.update(schema.artifact).where(files.path == "weights").values(blob_id=other))
        assert changed.rowcount == 1
    database.close()
    for path in ("archive?reference=@production", content):
        answer, told = site.send(path)
        assert answer.status >= 500
        assert b"other files" in told
        assert answer.headers["ETag"] is None
    assert site.send(f"{content}&digest={digest}")[0].status == 404


def test_who_downloads_a_file_is_a_consumer_if_they_say_what_for(site: Site) -> None:
    assert site.send("versions/1/content?path=weights", user="ann")[0].status == 200
    assert site.send("versions/1/content?path=weights&consumer=edge", user="deployer")[0].status == 200
    assert [(each.user, each.version, each.purpose) for each in site.tracker.models.consumers("churn")] == [
        ("deployer", 1, "edge")
    ]
