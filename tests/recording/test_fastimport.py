"""What start-up leaves out is needless, and leaves nothing behind."""

from __future__ import annotations

import gc
import importlib
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from jupyter_mlops.recording.fastimport import uncollected


class Circle:
    def __init__(self) -> None:
        self.itself = self


def test_nothing_is_collected_inside_and_all_garbage_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with uncollected():
        assert not gc.isenabled()
        importlib.import_module("colorsys")
        made = weakref.ref(Circle())
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    assert made() is not None
    gc.collect()
    assert made() is None


def test_garbage_stays_young_where_nothing_was_imported() -> None:
    with uncollected():
        made = weakref.ref(Circle())
    gc.collect(0)
    assert made() is None


def test_what_the_process_has_decided_about_collections_stays() -> None:
    gc.disable()
    gc.freeze()
    try:
        with pytest.raises(ZeroDivisionError), uncollected():
            raise ZeroDivisionError
        assert not gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.enable()


def test_notebooks_are_validated_without_the_packages_that_check_formats() -> None:
    code = """
import sys
from jupyter_mlops.recording.fastimport import _FORMATS, skip_format_checks
skip_format_checks()
import nbformat
nbformat.validate(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell('1')]))
try:
    nbformat.validate({'cells': [{'cell_type': 'code'}], 'metadata': {}, 'nbformat': 4, 'nbformat_minor': 5})
except nbformat.ValidationError as error:
    print(error.message)
print([name for name in _FORMATS if sys.modules.get(name) is not None])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    message, imported = ended.stdout.splitlines()[0], ended.stdout.splitlines()[-1]
    assert "required property" in message
    assert imported == "[]"


def test_a_runner_does_not_load_the_engines_of_others(tmp_path: Path) -> None:
    metadata = tmp_path / "other-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[papermill.engine]\nother = other_engine:Engine\n")
    (tmp_path / "other_engine.py").write_text("raise SystemExit('the engine of others was loaded')")
    code = """
import sys
from jupyter_mlops.recording.fastimport import import_runner
import_runner()
import entrypoints
assert "other" in {found.name for found in entrypoints.get_group_all("papermill.engine")}
assert "papermill.engines" in sys.modules
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
