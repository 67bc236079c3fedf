from __future__ import annotations

import io
import os
import threading
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_mlops.core.errors import Conflict, InvalidValue, NotFound
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Artifact, NewRun, Run, StreamPosition
from jupyter_mlops.tracker.protocol import Tracker
from tests.together import together


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
    experiment = tracker.experiments.ensure("artifacts")
    return tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))


def put(tracker: Tracker, run: Run, path: str, content: bytes = b"content") -> Artifact:
    return tracker.artifacts.put(run.run_id, path, io.BytesIO(content))


def read(tracker: Tracker, run: Run, path: str, **range: int) -> bytes:
    return b"".join(tracker.artifacts.open(run.run_id, path, **range))


def paths(tracker: Tracker, run: Run, path: str = "") -> list[str]:
    return [artifact.path for artifact in tracker.artifacts.walk(run.run_id, path)]


def make_tree(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- put and read ----------------------------------------------------------------------------------------------------


def test_a_file_comes_back_as_it_was(tracker: Tracker, run: Run, folder: Path) -> None:
    artifact = put(tracker, run, "notebook/source.ipynb", b"{}")
    assert (artifact.path, artifact.size, artifact.is_folder) == ("notebook/source.ipynb", 2, False)
    assert artifact.digest == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert artifact.created is not None
    assert read(tracker, run, "notebook/source.ipynb") == b"{}"
    (folder / "local.txt").write_bytes(b"from a path")
    tracker.artifacts.put(run.run_id, "copy.txt", folder / "local.txt")
    assert read(tracker, run, "copy.txt") == b"from a path"
    assert read(tracker, run, "copy.txt", start=5, stop=8) == b"a p"


def test_putting_again_replaces(tracker: Tracker, run: Run) -> None:
    put(tracker, run, "a.txt", b"old")
    put(tracker, run, "a.txt", b"new")
    assert read(tracker, run, "a.txt") == b"new"
    assert paths(tracker, run) == ["a.txt"]


def test_runs_do_not_share_paths(tracker: Tracker, run: Run) -> None:
    other = new_run(tracker)
    put(tracker, run, "a.txt", b"one")
    put(tracker, other, "a.txt", b"two")
    tracker.artifacts.delete(other.run_id, "a.txt")
    assert read(tracker, run, "a.txt") == b"one"


def test_a_position_is_applied_once(tracker: Tracker, run: Run) -> None:
    stream = new_id()
    put_at = tracker.artifacts.put
    first = put_at(run.run_id, "a.txt", io.BytesIO(b"one"), StreamPosition(stream, 1))
    again = put_at(run.run_id, "a.txt", io.BytesIO(b"not this"), StreamPosition(stream, 1))
    assert again == first
    put_at(run.run_id, "a.txt", io.BytesIO(b"two"), StreamPosition(stream, 2))
    put_at(run.run_id, "b.txt", io.BytesIO(b"late"), StreamPosition(stream, 1))
    assert paths(tracker, run) == ["a.txt"]
    assert read(tracker, run, "a.txt") == b"two"
    assert tracker.runs.watermark(stream) == 2


def test_a_put_that_fails_leaves_what_was_there(tracker: Tracker, run: Run) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell():
                raise OSError("the disk was pulled out")
            return super().read(size)

    put(tracker, run, "a.txt", b"old")
    with pytest.raises(OSError, match="pulled out"):
        tracker.artifacts.put(run.run_id, "a.txt", Broken(b"half"), StreamPosition("stream", 1))
    assert read(tracker, run, "a.txt") == b"old"
    assert tracker.runs.watermark("stream") == 0


@pytest.mark.parametrize("make", [lambda p: p / "none", lambda p: p, lambda p: io.StringIO("text"), lambda p: 5])
def test_what_cannot_be_read_is_refused(tracker: Tracker, run: Run, folder: Path, make) -> None:
    with pytest.raises(InvalidValue):
        tracker.artifacts.put(run.run_id, "a.txt", make(folder))


def test_a_pipe_is_refused_and_not_waited_for(tracker: Tracker, run: Run, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(InvalidValue, match="no regular file"):
        tracker.artifacts.put(run.run_id, "a.txt", folder / "pipe")


# --- paths -----------------------------------------------------------------------------------------------------------

HOSTILE = [
    "",
    ".",
    "..",
    "../x",
    "a/../../x",
    "a/..",
    "/etc/passwd",
    "//x",
    "a//b",
    "a/",
    "./a",
    "a/./b",
    "a\0b",
    "a\nb",
    "a\\..\\b",
    "..\\x",
    "x" * 256,
    "é" * 128,
    "a/" * 500 + "a",
    "\ud800",
]


@pytest.mark.parametrize("path", HOSTILE)
def test_a_hostile_path_is_refused_everywhere(tracker: Tracker, run: Run, folder: Path, path: str) -> None:
    with pytest.raises(InvalidValue):
        put(tracker, run, path)
    with pytest.raises(InvalidValue):
        read(tracker, run, path)
    with pytest.raises(InvalidValue):
        tracker.artifacts.delete(run.run_id, path)
    if path:  # which elsewhere is the folder of the run
        with pytest.raises(InvalidValue):
            tracker.artifacts.list(run.run_id, path)
        with pytest.raises(InvalidValue):
            tracker.artifacts.walk(run.run_id, path)
        with pytest.raises(InvalidValue):
            tracker.artifacts.put_folder(run.run_id, folder, path)
        with pytest.raises(InvalidValue):
            tracker.artifacts.download(run.run_id, path, folder / "out")
    assert paths(tracker, run) == []


@pytest.mark.parametrize(
    "path", ["x" * 255, "é" * 127, "résumé/图.png", "a b/c'd\"e.txt", "-rf", "%2e%2e/x", "...", "a/..b/c", "😀", "~/x"]
)
def test_an_unusual_path_is_a_path(tracker: Tracker, run: Run, folder: Path, path: str) -> None:
    put(tracker, run, path, path.encode())
    assert read(tracker, run, path) == path.encode()
    place = tracker.artifacts.download(run.run_id, path, folder / "out")
    assert place == folder / "out" / path
    assert tree(folder / "out") == {path: path.encode()}


@pytest.mark.parametrize("path", [" a", "a ", "a+b", "a%20b", "a&b=c", "ü", "a;b", "?", "#"])
def test_a_path_is_kept_to_the_letter(tracker: Tracker, run: Run, path: str) -> None:
    put(tracker, run, path)
    assert paths(tracker, run) == [path]
    assert b"".join(tracker.artifacts.open(run.run_id, path))


ODD_PATHS = st.text(st.characters(codec=None), max_size=12) | st.lists(
    st.sampled_from(["a", "..", ".", "", "b c", "\\", "\0"])
).map("/".join)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=ODD_PATHS)
def test_a_path_is_kept_as_it_is_or_refused(tracker: Tracker, run: Run, folder: Path, path: str) -> None:
    destination = folder / new_id()
    try:
        put(tracker, run, path)
    except InvalidValue:
        return
    place = tracker.artifacts.download(run.run_id, path, destination)
    assert place.resolve().is_relative_to(destination.resolve())
    assert place.relative_to(destination).as_posix() == path
    assert paths(tracker, run) == [path]
    tracker.artifacts.delete(run.run_id, path)


@pytest.mark.parametrize(("first", "second"), [("a", "a/b"), ("a/b", "a"), ("a/b/c/d", "a/b"), ("a/b", "a/b/c/d")])
def test_a_path_is_a_file_or_a_folder(tracker: Tracker, run: Run, first: str, second: str) -> None:
    put(tracker, run, first)
    with pytest.raises(InvalidValue, match=r"is a (file|folder)"):
        put(tracker, run, second)
    assert paths(tracker, run) == [first]
    for neighbour in ("a.b", "a-b", "A", "ab/c", "a0"):
        put(tracker, run, neighbour)
    assert len(paths(tracker, run)) == 6


def test_a_folder_cannot_bring_a_file_where_there_is_a_folder(tracker: Tracker, run: Run, folder: Path) -> None:
    put(tracker, run, "model/data/weights")
    make_tree(folder, {"data": b"a file", "other": b"fine"})
    with pytest.raises(InvalidValue, match="'model/data' is a folder"):
        tracker.artifacts.put_folder(run.run_id, folder, "model")
    put(tracker, run, "plain")
    with pytest.raises(InvalidValue, match="'plain' is a file"):
        tracker.artifacts.put_folder(run.run_id, folder, "plain")
    assert paths(tracker, run) == ["model/data/weights", "plain"]


@pytest.mark.at_once
def test_two_at_once_cannot_make_a_file_a_folder(tracker: Tracker) -> None:
    for _ in range(10):
        run = new_run(tracker)
        outcomes = together(partial(put, tracker, run, "a"), partial(put, tracker, run, "a/b"))
        stored = [outcome.path for outcome in outcomes if isinstance(outcome, Artifact)]
        assert [type(outcome) for outcome in outcomes if not isinstance(outcome, Artifact)] == [InvalidValue]
        assert paths(tracker, run) == stored


# --- folders ---------------------------------------------------------------------------------------------------------


def test_a_folder_goes_in_and_out(tracker: Tracker, run: Run, folder: Path) -> None:
    files = {"MLmodel": b"flavors: {}", "data/w.bin": bytes(1000), "data/deep/er/x": b"", "same": b"flavors: {}"}
    source = make_tree(folder / "source", files)
    (source / "empty").mkdir()
    (source / "link").symlink_to("/etc/passwd")
    (source / "loop").symlink_to(source, target_is_directory=True)
    stored = tracker.artifacts.put_folder(run.run_id, source, "model")
    assert [artifact.path for artifact in stored] == sorted(f"model/{name}" for name in files)
    assert stored == tracker.artifacts.walk(run.run_id)
    assert tracker.artifacts.download(run.run_id, "model", folder / "out") == folder / "out" / "model"
    assert tree(folder / "out" / "model") == files
    assert tracker.artifacts.download(run.run_id, "", folder / "all") == folder / "all"
    assert tree(folder / "all" / "model") == files
    tracker.artifacts.put_folder(run.run_id, source)
    assert len(paths(tracker, run)) == 8


def test_a_folder_that_cannot_be_stored_whole_is_not_stored(tracker: Tracker, run: Run, folder: Path) -> None:
    make_tree(folder / "odd", {"a": b"1", "b\nc": b"2"})
    with pytest.raises(InvalidValue, match="b"):
        tracker.artifacts.put_folder(run.run_id, folder / "odd")
    for none in (folder / "none", folder / "odd" / "a"):
        with pytest.raises(InvalidValue, match="folder"):
            tracker.artifacts.put_folder(run.run_id, none)
    assert paths(tracker, run) == []
    (folder / "empty").mkdir()
    assert tracker.artifacts.put_folder(run.run_id, folder / "empty") == ()


@pytest.mark.at_once
def test_a_folder_becomes_visible_at_once(tracker: Tracker, run: Run, folder: Path) -> None:
    make_tree(folder, {f"{number:03}": b"x" * number for number in range(100)})
    counts: set[int] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            counts.add(len(tracker.artifacts.walk(run.run_id)))

    thread = threading.Thread(target=look)
    thread.start()
    tracker.artifacts.put_folder(run.run_id, folder)
    done.set()
    thread.join()
    assert counts <= {0, 100}
    assert len(paths(tracker, run)) == 100


def test_a_listing_shows_files_and_folders_by_name(tracker: Tracker, run: Run) -> None:
    for path in ("b/x", "b/y/z", "a", "b.txt", "c/d"):
        put(tracker, run, path, path.encode())
    listed = tracker.artifacts.list(run.run_id)
    assert [(artifact.path, artifact.is_folder, artifact.size) for artifact in listed] == [
        ("a", False, 1),
        ("b", True, None),
        ("b.txt", False, 5),
        ("c", True, None),
    ]
    assert [artifact.path for artifact in tracker.artifacts.list(run.run_id, "b")] == ["b/x", "b/y"]
    assert tracker.artifacts.list(run.run_id, "a") == ()
    assert tracker.artifacts.list(run.run_id, "none") == ()
    assert paths(tracker, run, "b") == ["b/x", "b/y/z"]
    assert paths(tracker, run, "a") == ["a"]
    assert paths(tracker, run, "none") == []


def test_deleting_a_file_or_a_folder(tracker: Tracker, run: Run) -> None:
    for path in ("b/x", "b/y/z", "b.txt", "B/x"):
        put(tracker, run, path)
    tracker.artifacts.delete(run.run_id, "b")
    assert paths(tracker, run) == ["B/x", "b.txt"]
    with pytest.raises(NotFound, match="'b'"):
        tracker.artifacts.delete(run.run_id, "b")
    put(tracker, run, "b", b"now a file")


# --- download --------------------------------------------------------------------------------------------------------


def test_a_download_replaces_and_leaves_other_files_alone(tracker: Tracker, run: Run, folder: Path) -> None:
    put(tracker, run, "f/a", b"new")
    put(tracker, run, "f/d/b", b"b")
    make_tree(folder, {"f/a": b"old", "f/mine": b"mine"})
    tracker.artifacts.download(run.run_id, "f", folder)
    assert tree(folder) == {"f/a": b"new", "f/d/b": b"b", "f/mine": b"mine"}
    tracker.artifacts.download(run.run_id, "f/a", folder)
    assert tree(folder) == {"f/a": b"new", "f/d/b": b"b", "f/mine": b"mine"}


def test_a_download_does_not_leave_its_destination(tracker: Tracker, run: Run, folder: Path) -> None:
    put(tracker, run, "f/d/a", b"new")
    outside = make_tree(folder / "outside", {"d/a": b"mine"})
    for link in ("f", "f/d"):
        destination = folder / link.replace("/", "-")
        (destination / link).parent.mkdir(parents=True)
        (destination / link).symlink_to(outside if link == "f" else outside / "d", target_is_directory=True)
        for path in ("f/d/a", "f/d", "f", ""):
            with pytest.raises(InvalidValue, match="symbolic link"):
                tracker.artifacts.download(run.run_id, path, destination)
    assert tree(outside) == {"d/a": b"mine"}


def test_a_download_that_cannot_be_written_says_where(tracker: Tracker, run: Run, folder: Path) -> None:
    put(tracker, run, "f/a", b"new")
    (folder / "f").write_text("a file")
    for path in ("f/a", "f", ""):
        with pytest.raises(InvalidValue, match=str(folder)):
            tracker.artifacts.download(run.run_id, path, folder)
    assert tree(folder) == {"f": b"a file"}


def test_a_run_without_files_is_an_empty_folder(tracker: Tracker, run: Run, folder: Path) -> None:
    assert tracker.artifacts.download(run.run_id, "", folder / "out") == folder / "out"
    assert tree(folder / "out") == {}


# --- runs and their states -------------------------------------------------------------------------------------------


def test_what_is_not_there_is_not_found(tracker: Tracker, run: Run, folder: Path) -> None:
    put(tracker, run, "folder/file")
    for path in ("none", "folder/none", "folder"):
        with pytest.raises(NotFound, match=path):
            read(tracker, run, path)
    with pytest.raises(NotFound, match="none"):
        tracker.artifacts.download(run.run_id, "none", folder)
    unknown = new_id()
    for call in (
        lambda: tracker.artifacts.put(unknown, "a", io.BytesIO()),
        lambda: tracker.artifacts.put_folder(unknown, folder),
        lambda: tracker.artifacts.list(unknown),
        lambda: tracker.artifacts.walk(unknown),
        lambda: tracker.artifacts.open(unknown, "a"),
        lambda: tracker.artifacts.download(unknown, "", folder),
        lambda: tracker.artifacts.delete(unknown, "a"),
    ):
        with pytest.raises(NotFound, match=unknown):
            call()


def test_a_deleted_run_can_be_read_and_not_changed(tracker: Tracker, run: Run, folder: Path) -> None:
    put(tracker, run, "a", b"kept")
    tracker.runs.delete(run.run_id)
    assert read(tracker, run, "a") == b"kept"
    with pytest.raises(Conflict, match="deleted"):
        put(tracker, run, "b")
    with pytest.raises(Conflict, match="deleted"):
        tracker.artifacts.put_folder(run.run_id, folder)
    with pytest.raises(Conflict, match="deleted"):
        tracker.artifacts.delete(run.run_id, "a")
    tracker.runs.restore(run.run_id)
    put(tracker, run, "b")
    assert paths(tracker, run) == ["a", "b"]


@pytest.mark.at_once
def test_many_threads_put_into_one_run(tracker: Tracker, run: Run) -> None:
    def work(number: int) -> None:
        for index in range(8):
            put(tracker, run, f"{number}/{index}", f"content {index}".encode())

    assert together(*(partial(work, number) for number in range(5))) == [None] * 5
    assert len(paths(tracker, run)) == 40
    assert {read(tracker, run, f"{number}/3") for number in range(5)} == {b"content 3"}


@pytest.mark.at_once
def test_folders_of_the_same_contents_in_other_orders_do_not_block_each_other(tracker: Tracker, folder: Path) -> None:
    folders = [
        make_tree(folder / str(flip), {f"{number:02}": bytes([number ^ flip]) for number in range(32)})
        for flip in (0, 31)
    ]
    runs = [new_run(tracker) for _ in folders]
    calls = (
        partial(tracker.artifacts.put_folder, run.run_id, folder) for run, folder in zip(runs, folders, strict=True)
    )
    assert [len(outcome) for outcome in together(*calls)] == [32, 32]
