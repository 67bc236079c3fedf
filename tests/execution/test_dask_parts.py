"""What the Dask engine decides before there is a cluster: what travels, what has to be equal, which one is meant."""

from __future__ import annotations

import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from jupyter_mlops._version import __version__
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.execution.dask import host as hosts
from jupyter_mlops.execution.dask import parcel, sources
from jupyter_mlops.execution.dask.cluster import check_cluster
from jupyter_mlops.execution.dask.host import Host
from jupyter_mlops.execution.dask.parcel import Parcel, Point, pack
from jupyter_mlops.execution.dask.requirements import Requirements, difference, requirements
from jupyter_mlops.execution.dask.sources import find_imports
from jupyter_mlops.execution.engine import NotebookTask, load_engine
from jupyter_mlops.execution.fork.engine import find_prefix
from jupyter_mlops.execution.fork.prefix import Prefix
from tests.notebook_files import write_notebook
from tests.waiting import until


def test_modules_beside_the_notebook_travel_with_all_that_they_import(tmp_path: Path) -> None:
    (tmp_path / "near.py").write_text("def f():\n    from further import g\n    return g")
    (tmp_path / "further.py").write_text("import near, numpy as np")
    (tmp_path / "unused.py").write_text("")
    package = tmp_path / "pack" / "__pycache__"
    package.mkdir(parents=True)
    (package / "x.pyc").write_text("")
    (tmp_path / "pack" / "__init__.py").write_text("import pandas")
    (tmp_path / "pack" / "data.json").write_text("{}")
    found = find_imports(["%matplotlib inline\nimport os, near", "if True:\n    from pack.part import x"], tmp_path)
    assert sorted(found.files) == ["further.py", "near.py", "pack/__init__.py", "pack/data.json"]
    assert found.files["pack/data.json"] == b"{}"
    assert found.installed == ("numpy", "pandas")


def test_modules_that_are_too_large_do_not_travel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "near.py").write_text("#" * 100)
    monkeypatch.setattr(sources, "LARGEST_BYTES", 99)
    with pytest.raises(InvalidValue, match="install them on the workers"):
        find_imports(["import near"], tmp_path)


def test_what_is_too_large_is_not_even_read(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").touch()
    with (tmp_path / "pack" / "data.bin").open("wb") as file:
        file.truncate(200 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidValue, match="200 MiB or more"):
            find_imports(["import pack"], tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_what_differs_is_told_and_what_does_not_count_is_not() -> None:
    here = requirements("python3", ["msgspec", "not_installed_anywhere"])
    assert here.mlops == __version__
    assert here.packages.keys() == {"ipykernel", "msgspec"}
    assert difference(here, "python3") is None
    patch = sys.version_info.micro + 1
    other = msgspec.structs.replace(here, python=f"{sys.version_info.major}.{sys.version_info.minor}.{patch}")
    assert difference(other, "python3") is None
    wanted = Requirements(mlops="0.0.1", python="2.7.18", packages={"msgspec": "0.1", "nowhere": "1"})
    told = difference(wanted, "python3")
    assert told is not None
    assert told.split(", ") == [
        f"jupyter-mlops {__version__} (here 0.0.1)",
        f"Python {here.python} (here 2.7.18)",
        f"msgspec {here.packages['msgspec']} (here 0.1)",
        "nowhere is missing (here 1)",
    ]
    told = difference(wanted, "no-such-kernel")
    assert told is not None
    assert "there is no kernel 'no-such-kernel'" in told


def task_of(notebook: Path) -> NotebookTask:
    return NotebookTask(
        run_id="r",
        experiment_id="e",
        tracking_url="sqlite:///mlops.db",
        notebook=str(notebook),
        parameters={"x": float("nan"), "k": 10**30, "password": "hunter22"},
        swept=("x",),
        tags={"a": "b"},
    )


def test_notebooks_run_in_their_folder_where_it_is_seen_and_in_one_of_their_own_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = write_notebook(tmp_path / "work.ipynb", "import near", parameters="x = 0\nk = 1")
    (tmp_path / "near.py").write_text("")
    sent = msgspec.msgpack.encode(pack(task_of(notebook), patience=1.0))
    for machine, edited, in_place in (("here", False, True), ("there", False, True), ("there", True, False)):
        monkeypatch.setattr(parcel, "this_machine", lambda machine=machine: machine)
        found = msgspec.structs.replace(msgspec.msgpack.decode(sent, type=Parcel), machine="here")
        folder = tmp_path / f"{machine}-{edited}"
        folder.mkdir()
        if edited:
            (tmp_path / "near.py").write_text("changed")
        unpacked = found.unpack(folder)
        assert Path(unpacked.notebook).read_bytes() == notebook.read_bytes()
        assert unpacked.cwd is not None
        assert (Path(unpacked.cwd) == tmp_path) is in_place
        assert (Path(unpacked.cwd) / "near.py").exists()
        # A file is a store for processes of its own machine.
        assert (found.refusal() is None) is (machine == "here")


def test_a_point_holds_what_is_its_own_and_no_secret(tmp_path: Path) -> None:
    task = task_of(write_notebook(tmp_path / "work.ipynb", parameters="x = 0"))
    point = Point.of(task)
    assert "hunter22" not in repr(point)
    whole = point.task(msgspec.structs.replace(task, run_id="other", parameters={**task.parameters, "x": 0}))
    assert (whole.run_id, whole.tags, whole.parameters.keys()) == ("r", {"a": "b"}, task.parameters.keys())
    assert whole.parameters["x"] != 0


@pytest.mark.parametrize(
    "text",
    ["local:", "local:0", "local:-1", "local:two", "gateway:hub", "gateway:", "host", "ftp://h:1", "tcp://h:x", ""],
)
def test_what_names_no_cluster_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="cluster"):
        check_cluster(text)
    with pytest.raises(InvalidValue, match="cluster"):
        load_engine("dask", text)


@pytest.mark.parametrize("text", ["local:2", "tcp://host:8786", "tls://host:8786", "host:8786", "gateway:https://h/g"])
def test_what_names_one_is_taken(text: str) -> None:
    check_cluster(text)


def test_engines_take_a_cluster_or_none() -> None:
    with pytest.raises(InvalidValue, match="needs a cluster"):
        load_engine("dask")
    with pytest.raises(InvalidValue, match="takes none"):
        load_engine("fork", "local:2")


@pytest.mark.slow
def test_who_leaves_before_the_first_cells_begin_does_not_wait_for_them(
    task: Callable[..., NotebookTask], notebook: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    begins, goes_on = threading.Event(), threading.Event()

    def late(common: NotebookTask) -> Prefix:
        begins.set()
        assert goes_on.wait(60)
        return find_prefix(common)

    monkeypatch.setattr(hosts, "find_prefix", late)
    path = notebook("import time\ntime.sleep(600)", "print(x)", parameters="x = 0")
    host = Host(pack(task(path, swept=("x",), x=1), patience=60.0), None, 1, lambda *_: None)
    leaving = threading.Thread(target=host.leave)
    try:
        assert begins.wait(60)
        leaving.start()
        until(lambda: host.is_over, "the host to be left")
        goes_on.set()
        leaving.join(60)
        assert not leaving.is_alive()
    finally:
        host._template.end()
        leaving.join()
