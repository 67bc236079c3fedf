"""What ``jupyter mlops doctor`` says of kernels: each is asked by starting its own Python."""

from __future__ import annotations

import json
import sys
import venv
from pathlib import Path

import pytest

from jupyter_mlops._version import __version__
from jupyter_mlops.cli import kernels
from jupyter_mlops.core.findings import State


@pytest.fixture
def specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    return tmp_path / "kernels"


def install(specs: Path, name: str, *argv: str, **env: str) -> None:
    (specs / name).mkdir(parents=True)
    spec = {"argv": [*argv, "-f", "{connection_file}"], "display_name": name, "language": "any", "env": env}
    (specs / name / "kernel.json").write_text(json.dumps(spec))


def test_versions_that_differ_are_told_with_what_to_type(specs: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    venv.create(other, symlinks=True)
    (packages,) = other.glob("lib/python*/site-packages")
    python = str(other / "bin" / "python")
    install(specs, "mine", sys.executable, "-m", "ipykernel_launcher")
    install(specs, "bare", "python3", "-m", "ipykernel_launcher")
    install(specs, "without", python)
    install(specs, "gone", "/nowhere/bin/python3")
    install(specs, "r", "/usr/bin/R")
    found = {each.what: each for each in kernels.examined()}
    assert "kernel r" not in found
    for name in ("kernel mine", "kernel bare"):
        assert (found[name].state, found[name].advice) == (State.GOOD, "")
    assert found["kernel gone"].state is State.DOUBTFUL
    assert "/nowhere/bin/python3 cannot be started" in found["kernel gone"].told
    assert "has no jupyter-mlops: its runs are recorded from outside" in found["kernel without"].told

    installed = packages / "jupyter_mlops-0.0.7.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: jupyter-mlops\nVersion: 0.0.7\n")
    (differs,) = [each for each in kernels.examined() if each.what == "kernel without"]
    assert differs.state is State.DOUBTFUL
    assert differs.told == f"{python} has jupyter-mlops 0.0.7, and this is {__version__}"
    assert differs.advice == f"{python} -m pip install jupyter-mlops=={__version__}"


def test_a_kernel_is_asked_in_its_own_environment(specs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variables of its specification, and without what lies in this folder."""
    for folder, version in (("path", "5.0"), ("here", "6.0")):
        installed = tmp_path / folder / f"jupyter_mlops-{version}.dist-info"
        installed.mkdir(parents=True)
        (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: jupyter-mlops\nVersion: {version}\n")
    monkeypatch.chdir(tmp_path / "here")
    install(specs, "its-path", sys.executable, PYTHONPATH=str(tmp_path / "path"))
    (found,) = [each for each in kernels.examined() if each.what == "kernel its-path"]
    assert f"{sys.executable} has jupyter-mlops 5.0" in found.told
