"""Bad input in a notebook: every function of ``import jupyter_mlops`` refuses it where it is given, in a sentence."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nasty import VALUES, problem

import jupyter_mlops as mlops
from jupyter_mlops.recording import datasets, session
from jupyter_mlops.recording.session import Session

# Not called for a run, or classes whose instances are given, not made.
_NOT_ATTACKED = {"active_run", "last_active_run", "flush", "get_tracking_uri", "run_dir", "log_model"}
# A value that says no when asked whether it is true is told so by Python, where calls must cost microseconds.
_TRUTH_ONLY = {("log_metric", "synchronous"), ("log_metrics", "synchronous")}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The id of a run that is active."""
    for name in ("MLOPS_TRACKING_URL", "MLOPS_ARTIFACTS_URL", "MLOPS_EXPERIMENT", "MLOPS_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLOPS_STRICT", "1")
    monkeypatch.chdir(tmp_path)
    own = Session()
    monkeypatch.setattr(session, "_current", own)
    (tmp_path / "f.txt").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("x")
    yield mlops.start_run().run_id
    own.close()


def functions() -> dict[str, Callable[..., Any]]:
    named = {name: getattr(mlops, name) for name in mlops.__all__ if name not in _NOT_ATTACKED}
    found = {name: value for name, value in named.items() if inspect.isfunction(value)}
    return {**found, **{name: getattr(datasets, name) for name in ("from_file", "from_numpy", "from_pandas")}}


def good(run: str) -> dict[str, Callable[[], Any]]:
    import numpy as np
    import pandas as pd

    count = itertools.count()
    return {
        "run_id": lambda: run,
        "nested": lambda: True,
        "key": lambda: f"k{next(count)}",
        "name": lambda: f"n{next(count)}",
        "value": lambda: 1,
        "params": dict,
        "metrics": dict,
        "tags": dict,
        "status": lambda: "FINISHED",
        "experiment_id": lambda: "0" * 32,
        "experiment_name": lambda: "e",
        "dataset": lambda: np.arange(3),
        "features": lambda: np.arange(3),
        "df": lambda: pd.DataFrame({"a": [1]}),
        "path": lambda: "f.txt",
        "local_path": lambda: "f.txt",
        "local_dir": lambda: "folder",
        "dictionary": dict,
        "text": lambda: "x",
        "artifact_file": lambda: f"f{next(count)}.json",
        "artifact_path": lambda: f"p{next(count)}",
        "figure": lambda: None,
        "image": lambda: np.zeros((2, 2), dtype=np.uint8),
        "model_uri": lambda: f"runs:/{run}/m",
        "uri": lambda: "x",
        "url": lambda: "x",
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", functions())
def test_every_function_refuses_what_it_cannot_take(name: str, run: str) -> None:
    function = functions()[name]
    known = good(run)
    problems = []
    for argument in inspect.signature(function).parameters:
        for label, value in VALUES.items():
            given = {
                each.name: value
                if each.name == argument
                else known[each.name]()
                if each.name in known and each.default is each.empty
                else each.default
                for each in inspect.signature(function).parameters.values()
            }
            if name == "start_run":
                given["nested"] = value if argument == "nested" else True
            several = inspect.signature(function).parameters[argument].kind is inspect.Parameter.VAR_POSITIONAL
            found = problem(
                lambda given=given, several=several: function(*given.values()) if several else function(**given)
            )
            if found not in ("", "refused") and (name, argument) not in _TRUTH_ONLY and "NotSupported" not in found:
                problems.append(f"{name}({argument}={label}): {found}")
            while (active := mlops.active_run()) is not None and active.run_id != run:
                mlops.end_run()
            if active is None:
                mlops.start_run(run_id=run)
    mlops.autolog(disable=True)
    assert problems == []
    mlops.set_tag("still", "works")
    assert mlops.get_run(run).tags["still"] == "works"


def test_what_is_refused_is_not_left_to_be_refused_later(run: str) -> None:
    """A mistake that only the store would find could no longer be told to who made it."""
    for label, value in VALUES.items():
        for call in (
            lambda value=value: mlops.log_param("p", value),
            lambda value=value: mlops.log_metric("m", value),
            lambda value=value: mlops.log_metric("m", 1.0, step=value),
            lambda value=value: mlops.set_tag("t", value),
            lambda value=value: mlops.log_input("f.txt", context=value),
            lambda value=value: mlops.log_input("f.txt", tags={"a": value}),
        ):
            assert problem(call) in ("", "refused"), label
        # A parameter has one value in a run.
        with mlops.start_run(nested=True):
            assert problem(lambda value=value: mlops.log_param("p", value)) in ("", "refused"), label
    mlops.flush()
    assert list((Path.cwd() / "home").rglob("*.dead")) == []
