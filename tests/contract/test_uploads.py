"""Uploads in parts: private until they are committed, gone on with after an interruption, collected when abandoned."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.errors import Conflict, InvalidValue, NotFound, PermissionDenied
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Artifact, Collected, NewRun, Part, Run, StreamPosition
from jupyter_mlops.tracker.protocol import Tracker
from tests.together import together

Opener = Callable[..., Tracker]


@pytest.fixture
def run(tracker: Tracker) -> Run:
    return new_run(tracker)


def new_run(tracker: Tracker) -> Run:
    experiment = tracker.experiments.ensure("uploads")
    return tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def send(tracker: Tracker, run: Run, upload: str, path: str, *parts: bytes) -> dict[str, str]:
    """Send a file; gives what a commit says of it."""
    offset = 0
    for part in parts:
        tracker.artifacts.put_part(run.run_id, upload, path, offset, io.BytesIO(part))
        offset += len(part)
    return {path: sha256(b"".join(parts))}


def read(tracker: Tracker, run: Run, path: str, **range: int) -> bytes:
    return b"".join(tracker.artifacts.open(run.run_id, path, **range))


def test_parts_become_files_when_they_are_committed(tracker: Tracker, run: Run) -> None:
    upload = new_id()
    files = send(tracker, run, upload, "model/weights", b"one ", b"two ", b"three")
    files |= send(tracker, run, upload, "model/MLmodel", b"whole") | send(tracker, run, upload, "empty", b"")
    assert tracker.artifacts.walk(run.run_id) == ()
    assert tracker.artifacts.parts(run.run_id, upload) == (
        Part(path="empty", offset=0, size=0, digest=sha256(b"")),
        Part(path="model/MLmodel", offset=0, size=5, digest=sha256(b"whole")),
        Part(path="model/weights", offset=0, size=4, digest=sha256(b"one ")),
        Part(path="model/weights", offset=4, size=4, digest=sha256(b"two ")),
        Part(path="model/weights", offset=8, size=5, digest=sha256(b"three")),
    )
    stored = tracker.artifacts.commit(run.run_id, upload, files)
    assert stored == tracker.artifacts.walk(run.run_id)
    assert {file.path: file.digest for file in stored} == files
    assert read(tracker, run, "model/weights") == b"one two three"
    assert read(tracker, run, "model/weights", start=2, stop=9) == b"e two t"
    assert tracker.artifacts.parts(run.run_id, upload) == ()
    # Nor are the three parts of one file there any more, which was put together.
    assert tracker.gc() == Collected()


def test_the_same_part_and_the_same_commit_again_are_harmless(tracker: Tracker, run: Run) -> None:
    upload = new_id()
    files = send(tracker, run, upload, "a", b"one ", b"two")
    for _ in range(2):
        again = tracker.artifacts.put_part(run.run_id, upload, "a", 4, io.BytesIO(b"two"))
        assert again == Part(path="a", offset=4, size=3, digest=sha256(b"two"))
    stored = tracker.artifacts.commit(run.run_id, upload, files)
    assert tracker.artifacts.commit(run.run_id, upload, files) == stored
    assert read(tracker, run, "a") == b"one two"


@pytest.mark.parametrize(("offset", "content"), [(4, b"x"), (8, b"x"), (0, b"other"), (3, b"two"), (1, b"n")])
def test_a_part_that_does_not_fit_is_refused_with_the_place_that_does(
    tracker: Tracker, run: Run, offset: int, content: bytes
) -> None:
    upload = new_id()
    files = send(tracker, run, upload, "a", b"one", b"two2")
    if offset == 3:
        content = b"TWO2"
    with pytest.raises(Conflict, match="at byte 7"):
        tracker.artifacts.put_part(run.run_id, upload, "a", offset, io.BytesIO(content))
    tracker.artifacts.commit(run.run_id, upload, files)
    assert read(tracker, run, "a") == b"onetwo2"


def test_what_is_not_all_there_is_not_committed(tracker: Tracker, run: Run) -> None:
    upload = new_id()
    send(tracker, run, upload, "a", b"one ", b"two ")
    send(tracker, run, upload, "b", b"whole")
    files = {"a": sha256(b"one two three"), "b": sha256(b"whole")}
    position = StreamPosition("stream", 1)
    with pytest.raises(InvalidValue, match="'a': the 8 bytes"):
        tracker.artifacts.commit(run.run_id, upload, files, position)
    with pytest.raises(InvalidValue, match="'b': the 5 bytes"):
        tracker.artifacts.commit(run.run_id, upload, {"b": sha256(b"other")}, position)
    with pytest.raises(Conflict, match="no bytes for 'c'"):
        tracker.artifacts.commit(run.run_id, upload, {"b": sha256(b"whole"), "c": sha256(b"")}, position)
    assert tracker.artifacts.walk(run.run_id) == ()
    tracker.artifacts.put_part(run.run_id, upload, "a", 8, io.BytesIO(b"three"))
    tracker.artifacts.commit(run.run_id, upload, files, position)
    assert [file.path for file in tracker.artifacts.walk(run.run_id)] == ["a", "b"]


def test_a_digest_alone_gives_no_bytes_of_others(tracker: Tracker, run: Run) -> None:
    secret = b"stored by someone else"
    tracker.artifacts.put(new_run(tracker).run_id, "secret", io.BytesIO(secret))
    for sent in ([], [b"x"], [b"x", b"y"]):
        upload = new_id()
        send(tracker, run, upload, "mine", *sent)
        with pytest.raises((Conflict, InvalidValue)):
            tracker.artifacts.commit(run.run_id, upload, {"mine": sha256(secret)})
    assert tracker.artifacts.walk(run.run_id) == ()


def test_a_commit_at_a_position_is_applied_once(tracker: Tracker, run: Run) -> None:
    position = StreamPosition("stream", 1)
    first, second = new_id(), new_id()
    tracker.artifacts.commit(run.run_id, first, send(tracker, run, first, "a", b"one"), position)
    late = tracker.artifacts.commit(run.run_id, second, send(tracker, run, second, "a", b"late"), position)
    assert late == tracker.artifacts.walk(run.run_id)
    assert read(tracker, run, "a") == b"one"
    assert tracker.artifacts.parts(run.run_id, second) == ()


def test_a_commit_that_clashes_with_the_run_stores_nothing(tracker: Tracker, run: Run) -> None:
    tracker.artifacts.put(run.run_id, "a/b", io.BytesIO(b"kept"))
    upload = new_id()
    files = send(tracker, run, upload, "a", b"x", b"y") | send(tracker, run, upload, "c", b"z")
    with pytest.raises(InvalidValue, match="'a' is a folder"):
        tracker.artifacts.commit(run.run_id, upload, files)
    assert [file.path for file in tracker.artifacts.walk(run.run_id)] == ["a/b"]


def test_an_upload_is_only_its_makers(open_tracker: Opener) -> None:
    ann, ben = (open_tracker(Principal(name, frozenset({"churn"}))) for name in ("ann", "ben"))
    experiment = ann.experiments.create("shared", owner="group:churn")
    run = ann.runs.create(NewRun(experiment_id=experiment.experiment_id))
    upload = new_id()
    files = send(ann, run, upload, "a", b"one ", b"two")
    assert ben.artifacts.parts(run.run_id, upload) == ()
    with pytest.raises(Conflict, match="no bytes"):
        ben.artifacts.commit(run.run_id, upload, files)
    with pytest.raises(Conflict, match="at byte 0"):
        ben.artifacts.put_part(run.run_id, upload, "a", 7, io.BytesIO(b"!"))
    ben.artifacts.abandon(run.run_id, upload)
    # Nor does it lead into another run.
    other = ann.runs.create(NewRun(experiment_id=experiment.experiment_id))
    assert ann.artifacts.parts(other.run_id, upload) == ()
    ann.artifacts.commit(run.run_id, upload, files)
    assert read(ben, run, "a") == b"one two"


def test_who_may_not_write_to_a_run_may_not_upload(open_tracker: Opener) -> None:
    ann = open_tracker(Principal("ann"))
    reader, stranger = open_tracker(Principal("ann", scope=Scope.READ)), open_tracker(Principal("eve"))
    run, upload = new_run(ann), new_id()
    files = send(ann, run, upload, "a", b"x")
    for other, error in ((reader, PermissionDenied), (stranger, NotFound)):
        for call in (
            partial(send, other, run, upload, "a", b"x"),
            partial(other.artifacts.parts, run.run_id, upload),
            partial(other.artifacts.commit, run.run_id, upload, files),
            partial(other.artifacts.abandon, run.run_id, upload),
        ):
            with pytest.raises(error):
                call()
    ann.runs.delete(run.run_id)
    with pytest.raises(Conflict, match="deleted"):
        ann.artifacts.commit(run.run_id, upload, files)


@pytest.mark.parametrize("path", ["", "..", "a/../b", "/a", "a\0", "a" * 256])
def test_hostile_paths_are_refused(tracker: Tracker, run: Run, path: str) -> None:
    with pytest.raises(InvalidValue):
        send(tracker, run, new_id(), path, b"x")
    with pytest.raises(InvalidValue):
        tracker.artifacts.commit(run.run_id, new_id(), {path: sha256(b"x")})


@pytest.mark.parametrize("upload", ["", "x", "..", "A" * 32, "1" * 31])
def test_what_is_no_id_is_no_upload(tracker: Tracker, run: Run, upload: str) -> None:
    with pytest.raises((InvalidValue, NotFound)):
        send(tracker, run, upload, "a", b"x")
    with pytest.raises(InvalidValue):
        tracker.artifacts.put_part(run.run_id, new_id(), "a", -1, io.BytesIO(b"x"))


def test_nothing_is_left_to_collect_of_an_upload_that_is_over(tracker: Tracker, run: Run) -> None:
    tracker.artifacts.put(run.run_id, "there", io.BytesIO(b"one "))
    upload = new_id()
    send(tracker, run, upload, "a", b"one ", b"two")
    assert tracker.gc() == Collected()
    for _ in range(2):
        tracker.artifacts.abandon(run.run_id, upload)
    assert tracker.gc() == Collected()
    # What it had in common with files is theirs.
    assert read(tracker, run, "there") == b"one "
    upload = new_id()
    files = send(tracker, run, upload, "a", b"one ", b"two") | send(tracker, run, upload, "b", b"whole")
    send(tracker, run, upload, "not wanted", b"three")
    tracker.artifacts.commit(run.run_id, upload, files)
    assert tracker.gc() == Collected()
    assert {path: read(tracker, run, path) for path in ("there", "a", "b")} == {
        "there": b"one ",
        "a": b"one two",
        "b": b"whole",
    }


@pytest.mark.at_once
def test_the_same_part_at_once(tracker: Tracker, run: Run) -> None:
    for _ in range(5):
        upload = new_id()
        outcomes = together(*(partial(send, tracker, run, upload, "a", b"one ", b"two") for _ in range(4)))
        assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
        assert len(tracker.artifacts.parts(run.run_id, upload)) == 2
        [stored] = tracker.artifacts.commit(run.run_id, upload, outcomes[0])
        assert stored.digest == sha256(b"one two")


@pytest.mark.at_once
def test_uploads_and_collections_at_once(tracker: Tracker) -> None:
    def upload_one(seed: int) -> Artifact:
        run, upload = new_run(tracker), new_id()
        files = send(tracker, run, upload, "same", b"of all, ", b"in parts")
        files |= send(tracker, run, upload, "own", f"{seed} ".encode(), b"in parts")
        tracker.artifacts.commit(run.run_id, upload, files)
        assert read(tracker, run, "own") == f"{seed} in parts".encode()
        assert read(tracker, run, "same") == b"of all, in parts"
        return tracker.artifacts.stat(run.run_id, "same")

    def collect() -> int:
        return sum(tracker.gc().blobs for _ in range(10))

    *stored, first, second = together(*(partial(upload_one, seed) for seed in range(4)), collect, collect)
    assert {file.digest for file in stored} == {sha256(b"of all, in parts")}
    assert isinstance(first, int)
    assert isinstance(second, int)


def test_a_large_file_of_a_stream_and_one_in_a_folder(tracker: Tracker, run: Run, tmp_path: Path) -> None:
    """Larger than what the remote tracker sends in one request."""
    content = b"0123456789abcdef" * (5 << 17) * 4  # 40 MiB
    tracker.artifacts.put(run.run_id, "stream", io.BytesIO(content), StreamPosition("stream", 1))
    (tmp_path / "large").write_bytes(content[1:])
    (tmp_path / "small").write_bytes(b"x")
    tracker.artifacts.put_folder(run.run_id, tmp_path, "folder")
    assert {file.path: file.digest for file in tracker.artifacts.walk(run.run_id)} == {
        "stream": sha256(content),
        "folder/large": sha256(content[1:]),
        "folder/small": sha256(b"x"),
    }
    assert read(tracker, run, "stream", start=(32 << 20) - 3, stop=(32 << 20) + 3) == b"def012"
    again = tracker.artifacts.put(run.run_id, "stream", io.BytesIO(bytes(40 << 20)), StreamPosition("stream", 1))
    assert again.digest == sha256(content)
