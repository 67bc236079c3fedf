"""A run as a folder of files, written by whoever: what is no run is refused, and nothing outside of it is read."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jupyter_mlops.checks.runcopy import read_run, write_run
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import (
    Batch,
    Dataset,
    Input,
    Metric,
    NewRun,
    Param,
    Reason,
    ReasonKind,
    Run,
    RunChange,
    RunKind,
    RunStatus,
    Tag,
)
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.protocol import Tracker


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A run of another store, as a folder."""
    with connect(f"sqlite:///{tmp_path}/other.db", artifacts=tmp_path / "other") as other:
        points = [Metric("loss", value, 10 + step, step) for step, value in enumerate([1.0, math.nan, -0.0])]
        made = other.runs.create(
            NewRun(
                experiment_id=other.experiments.ensure("e").experiment_id,
                kind=RunKind.NOTEBOOK,
                name="copied",
                hidden_state="cells",
                batch=Batch(
                    metrics=(*points, Metric("check/a", 1.0, 1)),
                    params=(Param("candidate", "/tmp/x", "/tmp/x"), Param("depth", 3, "3")),
                    tags=(Tag("team", "red"), Tag("mlops.check.model", "forged")),
                    inputs=(Input(Dataset("rows", "d1"), "training"),),
                ),
            )
        )
        (tmp_path / "file").write_bytes(b"content")
        other.artifacts.put(made.run_id, "notes/a.txt", tmp_path / "file")
        reason = Reason(kind=ReasonKind.CELL_ERROR, message="ValueError", cell=2)
        run = other.runs.change(made.run_id, RunChange(status=RunStatus.FAILED, reason=reason))
        write_run(other, run, tmp_path / "copy")
    return tmp_path / "copy"


def taken(tracker: Tracker, copy: Path) -> Run:
    return read_run(
        tracker,
        copy,
        experiment_id=tracker.experiments.ensure("checks").experiment_id,
        source="validate.ipynb",
        tags={"mlops.check.model": "models:/churn/3"},
        parameters={"candidate": "models:/churn/3"},
    )


def test_a_run_comes_over_as_it_was(tracker: Tracker, copy: Path) -> None:
    run = taken(tracker, copy)
    assert (run.name, run.kind, run.status, run.source, run.hidden_state) == (
        "copied",
        RunKind.NOTEBOOK,
        RunStatus.FAILED,
        "validate.ipynb",
        "cells",
    )
    assert run.reason == Reason(kind=ReasonKind.CELL_ERROR, message="ValueError", cell=2)
    assert {p.key: p.value for p in run.params} == {"candidate": "models:/churn/3", "depth": 3}
    assert {t.key: t.value for t in run.tags} == {"team": "red", "mlops.check.model": "models:/churn/3"}
    assert run.inputs == (Input(Dataset("rows", "d1"), "training"),)
    points = tracker.runs.history(run.run_id, "loss").items
    assert [(p.step, p.timestamp, repr(p.value)) for p in points] == [(0, 10, "1.0"), (1, 11, "nan"), (2, 12, "-0.0")]
    assert b"".join(tracker.artifacts.open(run.run_id, "notes/a.txt")) == b"content"


def test_links_lead_nowhere(tracker: Tracker, copy: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cr3t")
    (copy / "files" / "link.txt").symlink_to(tmp_path / "secret")
    (copy / "files" / "folder").symlink_to(tmp_path)
    run = taken(tracker, copy)
    assert [file.path for file in tracker.artifacts.walk(run.run_id)] == ["notes/a.txt"]


def replaced(path: Path, make: Any) -> None:
    path.rename(path.with_name("aside"))
    make(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda copy: replaced(copy, lambda path: path.symlink_to("aside")),
        lambda copy: replaced(copy / "files", lambda path: path.symlink_to("/etc")),
        lambda copy: replaced(copy / "files", Path.touch),
        lambda copy: replaced(copy / "run.msgpack", lambda path: path.symlink_to("aside")),
        lambda copy: replaced(copy / "run.msgpack", os.mkfifo),
        lambda copy: replaced(copy / "run.msgpack", Path.mkdir),
        lambda copy: (copy / "run.msgpack").unlink(),
        lambda copy: (copy / "run.msgpack").write_bytes(b"\x93" * 5000),
        lambda copy: (copy / "run.msgpack").write_bytes(
            msgspec.msgpack.encode({"run": {"run_id": 1}, "histories": {}})
        ),
        lambda copy: os.truncate(copy / "run.msgpack", 1 << 40),
    ],
    ids=["whole", "folder link", "file", "link", "fifo", "folder", "absent", "nonsense", "other record", "endless"],
)
def test_what_is_no_run_is_refused(tracker: Tracker, copy: Path, damage: Any) -> None:
    damage(copy)
    with pytest.raises(InvalidValue, match="the enclosed process left"):
        taken(tracker, copy)
    assert tracker.runs.search([tracker.experiments.ensure("checks").experiment_id]).items == ()


def test_values_are_checked_as_anybodys(tracker: Tracker, copy: Path) -> None:
    path = copy / "run.msgpack"
    document = msgspec.msgpack.decode(path.read_bytes())
    for field, value in (("name", "a\x1bb"), ("status", "RUNNING"), ("tags", [{"key": "", "value": "x"}])):
        path.write_bytes(msgspec.msgpack.encode({**document, "run": {**document["run"], field: value}}))
        with pytest.raises(InvalidValue):
            taken(tracker, copy)
    assert tracker.runs.search([tracker.experiments.ensure("checks").experiment_id]).items == ()
