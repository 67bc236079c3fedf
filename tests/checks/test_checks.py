"""Each check, on candidates that pass and on such that do not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from jupyter_mlops.checks.sandbox import Limits
from jupyter_mlops.checks.worker import MOST_ATTEMPTS
from jupyter_mlops.core.checks import CheckResult, Verdict
from jupyter_mlops.core.model_safety import MLMODEL
from jupyter_mlops.core.records import Dataset, Input, Tag
from jupyter_mlops.tracker.policyfile import read_policy
from tests.checks.conftest import Registry

pytestmark = pytest.mark.slow

Examine = Callable[..., CheckResult]


# --- metric ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "settings", "verdict", "told"),
    [
        (0.9, {"at_least": 0.8}, "passed", "auc is 0.9, as at least 0.8 is asked for"),
        (0.7, {"at_least": 0.8}, "failed", "auc is 0.7, but at least 0.8 is asked for"),
        (0.7, {"at_most": 0.8}, "passed", "as at most 0.8"),
        (0.9, {"at_least": 0.5, "at_most": 0.8}, "failed", "but at most 0.8"),
        (float("nan"), {"at_least": 0.5}, "failed", "auc is NaN"),
        (float("nan"), {"tolerance": 1.0}, "failed", "the champion (version 1) has 0.85"),
        (
            0.84,
            {"tolerance": 0.02},
            "passed",
            "not worse than the 0.85 of the champion (version 1), by no more than 0.02",
        ),
        (0.83, {"tolerance": 0.02}, "passed", "not worse"),
        (0.82, {"tolerance": 0.02}, "failed", "it may not be worse, by no more than 0.02"),
        (0.85, {"tolerance": 0.0}, "passed", "not worse than the 0.85"),
        (0.95, {"tolerance": 0.0, "lower_is_better": True}, "failed", "may not be worse"),
        (0.80, {"tolerance": 0.0, "lower_is_better": True}, "passed", "not worse"),
    ],
)
def test_metric(
    registry: Registry,
    examine: Examine,
    linear: Any,
    value: float,
    settings: dict[str, Any],
    verdict: str,
    told: str,
) -> None:
    champion = registry.version(linear, metrics={"auc": 0.85})
    result = examine("metric", registry.version(linear, metrics={"auc": value}), champion, metric="auc", **settings)
    assert (result.verdict.value, told in result.summary) == (verdict, True), result.summary


def test_metric_without_a_champion_or_without_the_metric(registry: Registry, examine: Examine, linear: Any) -> None:
    good = registry.version(linear, metrics={"auc": 0.9})
    bare = registry.version(linear)
    first = examine("metric", good, metric="auc", tolerance=0.0)
    assert first.verdict is Verdict.PASSED
    assert "nothing has the alias 'production'" in first.summary
    assert examine("metric", bare, good, metric="auc", tolerance=0.0).verdict is Verdict.FAILED
    behind = examine("metric", good, bare, metric="auc", tolerance=0.0)
    assert behind.verdict is Verdict.FAILED
    assert "has no such metric" in behind.summary


def test_settings_that_make_no_sense_are_an_error(registry: Registry, examine: Examine, linear: Any) -> None:
    version = registry.version(linear, metrics={"auc": 0.9})
    for settings, told in (
        ({"metric": "auc"}, "give at_least or at_most, or tolerance"),
        ({"metric": "auc", "at_leest": 1}, "did you mean 'at_least'"),
        ({"metric": "auc", "at_least": "high"}, "Expected `float | null`, got `str`"),
    ):
        result = examine("metric", version, **settings)
        assert (result.verdict, told in result.summary) == (Verdict.ERROR, True), result.summary
    assert examine("metrik", version).summary == "no check 'metrik' is installed here; did you mean 'metric'?"


# --- loads -----------------------------------------------------------------------------------------------------------


def test_loads_predicts_the_recorded_example(
    registry: Registry, examine: Examine, linear: Any, table: tuple[Any, Any]
) -> None:
    result = examine("loads", registry.version(linear, table[0].head(3)))
    assert result.verdict is Verdict.PASSED, result
    assert result.summary == "it loads and predicts its example; there is no champion to be compatible with"
    assert result.detail["found"]["shape"] == [3]
    assert set(result.detail["isolation"]) == {"confined", "missing"}
    assert 0 < result.started <= result.ended


def test_loads_fails_without_an_example_unless_none_is_asked_for(
    registry: Registry, examine: Examine, linear: Any
) -> None:
    version = registry.version(linear)
    assert "no recorded example" in examine("loads", version).summary
    assert examine("loads", version, example=False).summary.startswith("it loads; ")


def test_loads_fails_where_the_model_does(
    registry: Registry, examine: Examine, linear: Any, table: tuple[Any, Any]
) -> None:
    def cut(folder: Path) -> None:
        file = next(folder.glob("model.*"))
        file.write_bytes(file.read_bytes()[:100])

    result = examine("loads", registry.version(linear, table[0].head(3), tamper=cut))
    assert result.verdict is Verdict.FAILED
    assert "no skops file" in result.summary or "cannot be loaded" in result.summary


def test_loads_compares_signatures_with_the_champion(
    registry: Registry, examine: Examine, linear: Any, table: tuple[Any, Any]
) -> None:
    from sklearn.linear_model import LogisticRegression

    rows, answers = table
    champion = registry.version(linear, rows.head(3))
    same = examine("loads", registry.version(linear, rows.head(2)), champion)
    assert same.summary.endswith("its signature is compatible with that of the champion (version 1)")
    wider = rows.assign(income=1.0)
    needs_more = registry.version(LogisticRegression().fit(wider, answers), wider.head(3))
    result = examine("loads", needs_more, champion)
    assert result.verdict is Verdict.FAILED
    assert "it needs the input 'income'" in result.summary
    assert examine("loads", needs_more, champion, compatible=False).verdict is Verdict.PASSED


def test_what_the_worker_lacks_says_nothing_of_the_candidate(
    registry: Registry, examine: Examine, linear: Any, table: tuple[Any, Any]
) -> None:
    def other_loader(folder: Path) -> None:
        mlmodel = yaml.safe_load((folder / MLMODEL).read_text())
        mlmodel["flavors"]["python_function"]["loader_module"] = "a_package_that_nobody_has"
        (folder / MLMODEL).write_text(yaml.safe_dump(mlmodel))

    result = examine("loads", registry.version(linear, table[0].head(3), tamper=other_loader))
    assert result.verdict is Verdict.ERROR
    assert "not installed here" in result.summary


def test_limits_are_told(registry: Registry, examine: Examine, table: tuple[Any, Any]) -> None:
    def slow(model_input: list[float]) -> list[float]:
        import os
        import time

        # Not while it is saved, which tries it too.
        if "mlops-check" in os.environ.get("TMPDIR", ""):
            time.sleep(600)
        return model_input

    version = registry.version(slow, [1.0])
    result = examine("loads", version, limits=Limits(seconds=5))
    assert (result.verdict, result.summary) == (Verdict.FAILED, "it took longer than 5 s")


# --- format and provenance -------------------------------------------------------------------------------------------


def test_format_takes_what_runs_no_code(registry: Registry, examine: Examine, linear: Any) -> None:
    assert examine("format", registry.version(linear)).verdict is Verdict.PASSED
    pickled = examine("format", registry.version(linear, serialization="pickle"))
    assert pickled.verdict is Verdict.FAILED
    assert "saved by pickle" in pickled.summary


def test_format_does_not_believe_the_mlmodel_file(registry: Registry, examine: Examine, linear: Any) -> None:
    def claim(folder: Path) -> None:
        mlmodel = yaml.safe_load((folder / MLMODEL).read_text())
        mlmodel["flavors"]["sklearn"]["serialization_format"] = "skops"
        (folder / MLMODEL).write_text(yaml.safe_dump(mlmodel))

    result = examine("format", registry.version(linear, serialization="pickle", tamper=claim))
    assert result.verdict is Verdict.FAILED
    assert "no skops file" in result.summary


GIT = (Tag("mlops.git.commit", "abc"), Tag("mlops.git.dirty", "false"))
DATA = (Input(Dataset("rows", "d1")),)


@pytest.mark.parametrize(
    ("recorded", "settings", "missing"),
    [
        ({"tags": GIT, "inputs": DATA}, {}, None),
        ({"inputs": DATA}, {}, "it records no git commit"),
        ({"inputs": DATA}, {"git": False}, None),
        ({"tags": (GIT[0], Tag("mlops.git.dirty", "true")), "inputs": DATA}, {}, "too large to be recorded"),
        ({"tags": GIT}, {}, "it logged no data set"),
        ({"tags": GIT}, {"datasets": False}, None),
        ({"tags": GIT, "inputs": DATA, "hidden_state": "cells ran out of order"}, {}, "cells ran out of order"),
        ({"tags": GIT, "inputs": DATA, "hidden_state": "cells"}, {"no_hidden_state": False}, None),
    ],
)
def test_provenance(
    registry: Registry,
    examine: Examine,
    linear: Any,
    recorded: dict[str, Any],
    settings: dict[str, Any],
    missing: str | None,
) -> None:
    result = examine("provenance", registry.version(linear, **recorded), **settings)
    assert result.verdict is (Verdict.PASSED if missing is None else Verdict.FAILED), result.summary
    assert missing is None or missing in result.summary


# --- whatever goes wrong ---------------------------------------------------------------------------------------------


def test_what_ended_its_workers_again_and_again_is_not_begun_again(
    registry: Registry, examine: Examine, linear: Any
) -> None:
    result = examine("loads", registry.version(linear), attempt=MOST_ATTEMPTS + 1)
    assert (result.verdict, result.summary) == (
        Verdict.ERROR,
        "it was begun 3 times, and no worker came to its end",
    )


def test_checks_of_others_are_found_by_entry_point(
    registry: Registry, examine: Examine, linear: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "packages"
    metadata = packages / "house_rules-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: house-rules\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(
        "[jupyter_mlops.checks]\nhouse = house_rules:House\nbroken = house_rules:Broken\nloads = house_rules:House\n"
    )
    (packages / "house_rules.py").write_text(
        "from jupyter_mlops.checks.check import failed, passed\n"
        "class House:\n"
        "    def __call__(self, subject):\n"
        "        good = subject.candidate.version == subject.job.settings['wanted']\n"
        "        return (passed if good else failed)('by the house rules', {'size': subject.candidate.size})\n"
        "class Broken:\n"
        "    def __call__(self, subject):\n"
        "        raise RuntimeError('oops')\n"
    )
    monkeypatch.syspath_prepend(str(packages))
    version = registry.version(linear)
    assert examine("house", version, wanted=1).verdict is Verdict.PASSED
    assert examine("house", version, wanted=2).verdict is Verdict.FAILED
    assert examine("broken", version).summary == "RuntimeError: oops"
    # What comes with the package cannot be replaced.
    assert "by the house rules" not in examine("loads", version, example=False).summary


def test_the_policy_in_the_docs_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "checks.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert [rule.name for rule in read_policy(block).checks] == ["format", "metric", "loads", "notebook"]
