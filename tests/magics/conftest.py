from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from jupyter_mlops.recording.session import Session, current

Shell = Any
RunCell = Callable[..., Any]


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """This process's session, recording into a store of the test's own."""
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLOPS_STRICT", "1")
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    session = current()
    session.use_tracker(f"sqlite:///{tmp_path}/home/mlops.db")
    session.set_experiment("Default")
    yield session
    while session.active is not None:
        session.end_run()
    session.flush()


@pytest.fixture
def shell(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A real IPython shell with the extension loaded; it has not seen any other test."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}), colors="nocolor")
    shell.run_cell("%load_ext jupyter_mlops", store_history=True)
    yield shell
    InteractiveShell.clear_instance()


@pytest.fixture
def run_cell(shell: Shell) -> RunCell:
    """Execute a cell as a notebook would; raises what the cell raised unless ``fails``."""

    def run(source: str, *, cell_id: str | None = None, fails: bool = False) -> Any:
        result = shell.run_cell(source, store_history=True, cell_id=cell_id)
        if not fails:
            result.raise_error()
        return result

    return run
