"""Bad files: notebooks, parameters, spools, ``MLmodel`` files and databases that nobody wrote in good faith."""

from __future__ import annotations

import copy
import io
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from nasty import problem

from jupyter_mlops.cli.main import root
from jupyter_mlops.core.errors import InvalidValue, MLOpsError, Unavailable
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Batch, NewRun, Runner, Tag
from jupyter_mlops.core.spaces import parse_grid
from jupyter_mlops.recording.model_formats import load_model
from jupyter_mlops.tracker import spoolfile
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.process import this_runner
from jupyter_mlops.tracker.protocol import Tracker
from jupyter_mlops.tracker.replay import Replayer

ANCHORS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
"""Two kilobytes of YAML, in which ``*i`` stands for 400 million values."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MLOPS_TRACKING_URL", "MLOPS_ARTIFACTS_URL", "MLOPS_EXPERIMENT", "MLOPS_RUN_ID", "MLOPS_STRICT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tracker(place: Path, sqlite_url: str) -> Iterator[Tracker]:
    with connect(sqlite_url) as opened:
        yield opened


@pytest.fixture
def run(tracker: Tracker) -> str:
    experiment = tracker.experiments.create("e")
    return tracker.runs.create(NewRun(experiment_id=experiment.experiment_id)).run_id


def refused(*words: str) -> str:
    """What a command says when it does not do what it was asked for."""
    result = CliRunner().invoke(root, list(words))
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (1, 2)
    assert "Error: " in result.output
    assert len(result.output) < 5000
    return result.output


# --- notebooks -------------------------------------------------------------------------------------------------------

NOTEBOOK: dict[str, Any] = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"name": "none", "display_name": "x", "language": "python"}, "language_info": {}},
    "cells": [
        {
            "id": "a",
            "cell_type": "code",
            "metadata": {"tags": ["parameters"]},
            "source": "x = 1\ny = 'a'",
            "outputs": [],
            "execution_count": None,
        }
    ],
}
ODD: list[Any] = [None, 5, -1, 4.5, "x", [], [1, None], {}, {"a": 1}, True]
PLACES: list[tuple[str | int, ...]] = [
    ("nbformat",),
    ("nbformat_minor",),
    ("metadata",),
    ("metadata", "kernelspec"),
    ("metadata", "kernelspec", "name"),
    ("metadata", "language_info"),
    ("metadata", "language_info", "name"),
    ("cells",),
    ("cells", 0),
    ("cells", 0, "cell_type"),
    ("cells", 0, "metadata"),
    ("cells", 0, "metadata", "tags"),
    ("cells", 0, "source"),
    ("cells", 0, "outputs"),
]


def damaged() -> Iterator[bytes]:
    whole = json.dumps(NOTEBOOK).encode()
    yield from (b"", b"5", b"null", b"[]", b"\xff\xfe\0", whole[:-20], b"[" * 100_000, b'{"nbformat": NaN}')
    yield b'{"nbformat": ' + b"9" * 5000 + b"}"
    for path in PLACES:
        for value in ODD:
            document = copy.deepcopy(NOTEBOOK)
            holder: Any = document
            for step in path[:-1]:
                holder = holder[step]
            holder[path[-1]] = value
            yield json.dumps(document).encode()
    for source in ("x = = (((", "x = 1\0", "x = '\ud800'", f"x = {'(' * 5000}", f"x = {'9' * 5000}", "x = 9**9**9**9"):
        document = copy.deepcopy(NOTEBOOK)
        document["cells"][0]["source"] = source
        yield json.dumps(document).encode()


def test_damaged_notebooks_are_refused(place: Path) -> None:
    for content in damaged():
        (place / "n.ipynb").write_bytes(content)
        # Where nothing is wrong with it, there is no such kernel.
        refused("run", "n.ipynb", "-k", "no-such-kernel")


def test_a_notebook_is_not_executed_by_who_reads_it(place: Path) -> None:
    document = copy.deepcopy(NOTEBOOK)
    document["cells"][0]["source"] = f"x = open({str(place / 'trace')!r}, 'w')\ny = __import__('os').mkdir('trace')"
    (place / "n.ipynb").write_text(json.dumps(document))
    refused("run", "n.ipynb", "-k", "no-such-kernel", "-p", "x", "__import__('os').mkdir('trace')")
    assert not (place / "trace").exists()


# --- parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        ANCHORS + "x: *i",
        "x: &a [*a]",
        "x: " + "[" * 1000 + "]" * 1000,
        "x: " + "[" * 100_000,
        "x: " + "9" * 5000,
        "x: !!python/object/apply:os.mkdir [trace]",
        "x: !!binary ====",
        "x: !!set {a}",
        "x: *nothing",
        "- 1",
        "1: 2",
        "? [1]\n: 2",
        "\tx: 1",
        "x: 'a\0'",
        "--- 1\n--- 2",
    ],
    ids=range(15),
)
def test_parameters_that_are_none_are_refused(place: Path, text: str) -> None:
    (place / "n.ipynb").write_text(json.dumps(NOTEBOOK))
    (place / "p.yaml").write_text(text)
    start = time.process_time()
    assert "no-such-kernel" not in refused("run", "n.ipynb", "-k", "no-such-kernel", "-f", "p.yaml")
    assert "no-such-kernel" not in refused("run", "n.ipynb", "-k", "no-such-kernel", "-y", text)
    assert time.process_time() - start < 20
    assert not (place / "trace").exists()


@pytest.mark.parametrize(
    "grid",
    ["x", "x=", "=1", "x=1:2:0", "x=2:1:1", "x=0:1:1e-9", "x=1:100000000:1", "x=1:1e300:2", f"x={'1,' * 100_000}1"],
    ids=range(9),
)
def test_grids_that_are_none_are_refused(grid: str) -> None:
    with pytest.raises(InvalidValue) as refusal:
        parse_grid([grid])
    assert len(refusal.value.message) < 1000


# --- spools ----------------------------------------------------------------------------------------------------------

GONE = Runner(host=this_runner().host, boot_id=this_runner().boot_id, pid=999_999, started=1.0)


def header(stream: str, **others: Any) -> dict[str, Any]:
    known = {"version": 1, "stream": stream, "session": "s", "created": 1, "target": "", "writer": GONE}
    return known | others


def write_spool(folder: Path, stream: str, head: object, *entries: object) -> Path:
    frames = [spoolfile.frame(msgspec.msgpack.encode(each)) for each in (head, *entries)]
    path = folder / f"{stream}.spool"
    path.write_bytes(b"jupyter-mlops spool\n" + b"".join(frames))
    return path


def tagged(run: str, key: str) -> spoolfile.Log:
    return spoolfile.Log(run, Batch(tags=(Tag(key, "x"),)))


def keys(tracker: Tracker, run: str) -> set[str]:
    return {tag.key for tag in tracker.runs.get(run).tags}


@pytest.mark.parametrize("elsewhere", ["absolute", "relative", "another's", "link"])
def test_a_spool_stores_and_removes_only_its_own_files(place: Path, tracker: Tracker, run: str, elsewhere: str) -> None:
    folder, secret, stream = place / "spools", place / "secret", new_id()
    folder.mkdir()
    secret.write_text("secret")
    (folder / "other.1.file").write_text("secret")
    (folder / f"{stream}.1.file").symlink_to(secret)
    names = {"absolute": str(secret), "relative": "../secret", "another's": "other.1.file", "link": f"{stream}.1.file"}
    write_spool(folder, stream, header(stream), spoolfile.PutArtifact(run, "a", names[elsewhere]), tagged(run, "after"))
    assert Replayer(folder).run(tracker).refused == 1
    assert tracker.artifacts.walk(run) == ()
    assert keys(tracker, run) == {"after"}
    assert secret.read_text() == (folder / "other.1.file").read_text() == "secret"


@pytest.mark.parametrize(
    "head",
    [
        [1],
        {},
        {"version": "x"},
        {"version": 1},
        header("*"),
        header("../../x"),
        header("a\0"),
        header("0" * 32),
        header("", writer={"host": GONE.host, "boot_id": GONE.boot_id, "pid": -1, "started": 1.0}),
        header("", writer=None),
    ],
    ids=str,
)
def test_a_header_that_is_none_stops_nobody(place: Path, tracker: Tracker, run: str, head: Any) -> None:
    folder, good, bad = place / "spools", new_id(), new_id()
    folder.mkdir()
    if isinstance(head, dict) and head.get("stream") == "":
        head = {**head, "stream": bad}
    write_spool(folder, good, header(good, created=2), tagged(run, "good"))
    write_spool(folder, bad, head, tagged(run, "bad"))
    (folder / "other.1.file").write_text("x")
    assert problem(lambda: Replayer(folder).run(tracker)) == ""
    assert "good" in keys(tracker, run)
    assert (folder / "other.1.file").exists()


@pytest.mark.parametrize("kind", ["pipe", "folder", "link"])
def test_what_is_no_file_is_said_and_stops_nobody(place: Path, tracker: Tracker, run: str, kind: str) -> None:
    folder, stream = place / "spools", new_id()
    folder.mkdir()
    odd = folder / f"{new_id()}.spool"
    {"pipe": os.mkfifo, "folder": os.mkdir, "link": lambda path: path.symlink_to("/etc/passwd")}[kind](odd)
    write_spool(folder, stream, header(stream), tagged(run, "good"))
    with pytest.raises(Unavailable, match=odd.name):
        Replayer(folder).run(tracker)
    assert keys(tracker, run) == {"good"}


def test_entries_that_are_none_go_to_the_dead_letters(place: Path, tracker: Tracker, run: str) -> None:
    folder, stream = place / "spools", new_id()
    folder.mkdir()
    entries: list[Any] = [
        5,
        {"type": "nothing"},
        {"type": "log", "run_id": 5},
        {"type": "log", "run_id": "no id", "batch": {}},
        {"type": "log", "run_id": run, "batch": {"metrics": [["m", "x", 1]]}},
        {"type": "log", "run_id": run, "batch": {"tags": [{"key": "a\0", "value": "b"}]}},
        {"type": "change", "run_id": run, "change": {"end_time": -5}},
        {"type": "change", "run_id": run, "change": {"runner": {"host": "", "boot_id": "", "pid": -5, "started": 1.0}}},
        {"type": "create", "new": {"experiment_id": "", "run_id": "x"}, "experiment": "a\0b"},
        {"type": "create", "new": {"experiment_id": "", "run_id": new_id()}, "experiment": ""},
        {"type": "put", "run_id": run, "path": "../x", "file": "a\0"},
    ]
    write_spool(folder, stream, header(stream), *entries, tagged(run, "last"))
    replayed = Replayer(folder).run(tracker)
    assert (replayed.applied, replayed.refused) == (1, len(entries))
    assert keys(tracker, run) == {"last"}


# --- models ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        ANCHORS + "flavors: *i",
        ANCHORS + "flavors: {sklearn: {serialization_format: *i, code: *i}}",
        ANCHORS + "flavors: {sklearn: {serialization_format: skops, pickled_model: MLmodel, skops_trusted_types: *i}}",
        "flavors: " + "{a: " * 5000,
        "flavors: {a: {x: " + "9" * 5000 + "}}",
        "flavors: {a: {x: 9999-99-99}}",
        "flavors: !!python/object/apply:os.mkdir [trace]",
        "flavors: {? [1] : {}}",
        "flavors: []",
        "5",
        "\0",
        "",
    ],
    ids=range(12),
)
def test_an_mlmodel_that_is_none_is_refused(place: Path, tracker: Tracker, run: str, content: str) -> None:
    tracker.artifacts.put(run, "m/MLmodel", io.BytesIO(content.encode()))
    start = time.process_time()
    with pytest.raises(InvalidValue, match="MLmodel"):
        tracker.models.register("m", run, "m")
    (place / "m").mkdir()
    (place / "m" / "MLmodel").write_text(content)
    with pytest.raises(InvalidValue, match="MLmodel"):
        load_model(place / "m")
    assert time.process_time() - start < 20
    assert tracker.models.search().items == ()
    assert not (place / "trace").exists()


@pytest.mark.parametrize("data", ["../../etc/passwd", "/etc/passwd", "../m/model.skops", "model.skops/../../x"])
def test_a_model_names_only_files_of_its_own(tracker: Tracker, run: str, data: str) -> None:
    native = f"sklearn: {{serialization_format: skops, pickled_model: {data}}}"
    content = f"flavors: {{{native}, python_function: {{loader_module: mlflow.sklearn}}}}"
    tracker.artifacts.put(run, "m/MLmodel", io.BytesIO(content.encode()))
    assert not tracker.models.register("m", run, "m").safe


@pytest.mark.parametrize("kind", ["a file", "a full folder", "a link to nowhere", "too long", "no folder's"])
def test_a_version_is_downloaded_into_a_folder_of_its_own(place: Path, tracker: Tracker, run: str, kind: str) -> None:
    tracker.artifacts.put(run, "m/MLmodel", io.BytesIO(b"flavors: {sklearn: {}}"))
    tracker.models.register("m", run, "m")
    (place / "file").write_text("x")
    (place / "full").mkdir()
    (place / "full" / "x").write_text("x")
    (place / "link").symlink_to(place / "nowhere")
    there = {"a file": "file", "a full folder": "full", "a link to nowhere": "link", "too long": "x" * 300}
    target = Path("/dev/null/x") if kind == "no folder's" else place / there[kind]
    before = sorted(place.rglob("*"))
    with pytest.raises(InvalidValue):
        tracker.models.download("m", 1, target)
    assert sorted(place.rglob("*")) == before


# --- databases -------------------------------------------------------------------------------------------------------


def damage(path: Path, kind: str) -> None:
    if kind in ("another's", "another's with our names", "another's migrations"):
        table = {"another's": "experiments", "another's with our names": "run"}.get(kind, "alembic_version")
        with sqlite3.connect(path) as connection:
            connection.execute(f"CREATE TABLE {table} (version_num)")
        connection.close()
    elif kind == "a folder":
        path.mkdir()
    else:
        connect(f"sqlite:///{path}").close()
        whole = path.read_bytes()
        path.write_bytes({"junk": b"junk" * 100, "cut": whole[: len(whole) // 2], "a header": whole[:100]}[kind])


@pytest.mark.parametrize(
    "kind", ["junk", "cut", "a header", "a folder", "another's", "another's with our names", "another's migrations"]
)
def test_a_database_that_is_none_of_ours_is_left_alone(place: Path, kind: str) -> None:
    path = place / "mlops.db"
    damage(path, kind)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(MLOpsError):
        connect(f"sqlite:///{path}").close()
    assert (path.read_bytes() if path.is_file() else b"") == before or kind.startswith("another's")
    if kind.startswith("another's"):
        with sqlite3.connect(path) as connection:
            assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)
        connection.close()


@pytest.mark.parametrize(
    "url",
    ["", "x", "://", "sqlite://", "sqlite:///", "sqlite:///%00", "file:x", "mysql://x", "postgresql://u:secret@[::1/x"],
)
def test_a_url_that_is_none_is_refused_without_its_password(place: Path, url: str) -> None:
    with pytest.raises(InvalidValue) as refusal:
        connect(url or " ")
    assert "secret" not in refusal.value.message
