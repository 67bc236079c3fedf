"""``jupyter mlops reproduce`` and ``jupyter mlops test`` as a user types them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from jupyter_mlops.tracker.protocol import Tracker
from tests.notebook_files import write_notebook

pytestmark = pytest.mark.slow

LOG = "import jupyter_mlops as mlops\n"


def recorded(mlops: Any, notebook: Path, *words: str) -> str:
    """The id of a run of the notebook."""
    return str(mlops.json("run", str(notebook), *words)["run_id"])


def test_what_gives_the_same_is_equal(mlops: Any, notebook: Callable[..., Path], tracker: Tracker) -> None:
    path = notebook(LOG + "mlops.log_metric('area', width * 2)", parameters="width = 2.5")
    run_id = recorded(mlops, path, "-p", "width", "4.0")
    path.write_text("this is no notebook any more")

    found = mlops.json("reproduce", run_id)

    assert found["agreement"] == "equal"
    assert [(m["key"], m["recorded"], m["again"], m["agreement"]) for m in found["metrics"]] == [
        ("area", 8.0, 8.0, "equal")
    ]
    # Nothing was logged as an input, so that nothing is known of the data.
    assert (found["surroundings"]["packages"], found["surroundings"]["code"]) == ([], [])
    assert found["surroundings"].get("data") is None
    again = tracker.runs.get(found["again"])
    assert run_id in {tag.value for tag in again.tags if tag.key == "mlops.rerun.of"}
    assert "equal" in mlops("reproduce", run_id)


def test_tolerance_decides_between_near_and_different(
    mlops: Any, notebook: Callable[..., Path], tmp_path: Path
) -> None:
    value = tmp_path / "value"
    value.write_text("10")
    path = notebook(LOG + f"mlops.log_metric('v', float(open({str(value)!r}).read()))\nmlops.log_metric('w', 1)")
    run_id = recorded(mlops, path)
    value.write_text("10.5")

    assert mlops.json("reproduce", run_id, status=1)["agreement"] == "different"
    assert mlops.json("reproduce", run_id, "--tolerance", "0.01", status=1)["agreement"] == "different"
    assert mlops.json("reproduce", run_id, "--tolerance", "0.06")["agreement"] == "within tolerance"
    assert mlops.json("reproduce", run_id, "--metric", "w")["agreement"] == "equal"
    shown = mlops("reproduce", run_id, status=1)
    assert "different" in shown
    assert "10.5" in shown


def test_changed_code_beside_the_notebook_and_changed_data_are_named(mlops: Any, notebook: Callable[..., Path]) -> None:
    path = notebook(
        LOG + "import factor, pandas\nrows = pandas.read_csv('rows.csv')\n"
        "mlops.log_input(mlops.data.from_pandas(rows, name='rows'), 'training')\n"
        "mlops.log_metric('v', factor.FACTOR * len(rows))",
        name="beside",
    )
    module, rows = path.with_name("factor.py"), path.with_name("rows.csv")
    module.write_text("FACTOR = 2\n")
    rows.write_text("a,b\n1,2\n")
    run_id = recorded(mlops, path)
    assert mlops.json("reproduce", run_id)["surroundings"]["data"] == []
    module.write_text("FACTOR = 3\n")
    rows.write_text("a,b\n1,3\n")

    found = mlops.json("reproduce", run_id, status=1)["surroundings"]

    assert [one["name"] for one in found["code"]] == ["environment/modules/factor.py"]
    assert [one["name"] for one in found["data"]] == ["training: rows"]
    assert "packages are the same, code differs, data differ" in mlops("reproduce", run_id, status=1)


def test_what_does_not_run_any_more_or_has_nothing_to_compare_says_so(
    mlops: Any, notebook: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "here").touch()
    path = notebook(LOG + f"open({str(tmp_path / 'here')!r}).close()\nmlops.log_metric('v', 1)")
    run_id = recorded(mlops, path)
    (tmp_path / "here").unlink()
    answer = mlops.json("reproduce", run_id, status=1)
    assert answer["agreement"] is None
    assert "FileNotFoundError" in answer["reason"]["message"]

    silent = recorded(mlops, notebook("1 + 1", name="silent"))
    mlops("reproduce", silent, status=2)
    assert "logged no metric" in mlops.errors
    mlops("reproduce", run_id, "--metric", "u", status=2)
    assert "logged no metric 'u'" in mlops.errors


def cases(file: Path) -> dict[str, str | None]:
    """The test cases of a JUnit file with the message of their failure."""
    suite = ElementTree.parse(file).getroot().find("testsuite")
    assert suite is not None
    found = {}
    for case in suite.findall("testcase"):
        failure = case.find("failure")
        found[str(case.get("name"))] = None if failure is None else str(failure.get("message"))
    assert suite.get("tests") == str(len(found))
    assert suite.get("failures") == str(sum(message is not None for message in found.values()))
    return found


def test_a_notebook_passes_as_a_test(mlops: Any, notebook: Callable[..., Path], tmp_path: Path) -> None:
    path = notebook(LOG + "mlops.log_metric('check/wide', width > 1)", "print('ok')", parameters="width = 2")
    junit = tmp_path / "junit.xml"
    answer = mlops.json("test", str(path), "--junit", str(junit), "-p", "width", "5")
    assert answer["passed"] is True
    assert answer["checks"] == {"wide": True}
    found = cases(junit)
    assert "check wide" in found
    assert set(found.values()) == {None}
    assert "✓ check wide" in mlops("test", str(path))


def test_an_error_in_a_cell_fails_it(mlops: Any, notebook: Callable[..., Path], tmp_path: Path) -> None:
    path = notebook("1", "raise ValueError('too \\x1b[31msmall\\ufffe <&>')", "2")
    junit = tmp_path / "junit.xml"
    assert mlops.json("test", str(path), "--junit", str(junit), status=1)["passed"] is False
    found = cases(junit)
    assert list(found) == ["cell 1", "cell 2"]
    assert found["cell 1"] is None
    assert "ValueError: too" in (found["cell 2"] or "")


def test_a_check_that_failed_once_fails_it(mlops: Any, notebook: Callable[..., Path], tmp_path: Path) -> None:
    path = notebook(
        LOG
        + "for step, good in enumerate([True, False, True]):\n    mlops.log_metric('check/slices', good, step=step)\n"
        "mlops.log_metric('check/known', float('nan'))\nmlops.log_metric('check/fine', 1)"
    )
    junit = tmp_path / "junit.xml"
    answer = mlops.json("test", str(path), "--junit", str(junit), status=1)
    assert answer["checks"] == {"slices": False, "known": False, "fine": True}
    found = cases(junit)
    assert (found["check slices"], found["check fine"]) == ("check slices failed", None)
    assert "✗ check known" in mlops("test", str(path), status=1)


def test_a_kernel_that_dies_fails_it(mlops: Any, notebook: Callable[..., Path], tmp_path: Path) -> None:
    path = notebook("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    junit = tmp_path / "junit.xml"
    mlops("test", str(path), "--junit", str(junit), status=1)
    assert [message for message in cases(junit).values() if message and "kernel died" in message]


def test_what_is_no_notebook_or_has_no_such_parameter_is_refused(mlops: Any, tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text("no")
    mlops("test", str(tmp_path / "a.ipynb"), status=2)
    write_notebook(tmp_path / "b.ipynb", "1")
    mlops("test", str(tmp_path / "b.ipynb"), "-p", "x", "1", status=2)
    assert "'x'" in mlops.errors
