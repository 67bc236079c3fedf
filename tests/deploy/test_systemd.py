"""The unit of systemd: what systemd says of it, and its command line run for real with what the docs tell to write."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import click
import pytest
import requests
from click.testing import CliRunner

from jupyter_mlops.cli.main import root
from jupyter_mlops.tracker.location import TRACKING_TOKEN, TRACKING_URL
from tests.ports import free_ports

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "systemd" / "jupyter-mlops.service"
WORKER = UNIT.with_name("jupyter-mlops-worker.service")
PAGE = (ROOT / "docs" / "deploy-systemd.md").read_text(encoding="utf-8")
PROGRAM = "/opt/jupyter-mlops/venv/bin/jupyter-mlops"


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def service(path: Path = UNIT) -> dict[str, str]:
    """The unit's own section; of settings that stand there several times, the last."""
    unit = ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(path.read_text(encoding="utf-8"))
    return dict(unit["Service"])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
@pytest.mark.parametrize(("unit", "most"), [(UNIT, 2.0), (WORKER, 4.5)], ids=["service", "worker"])
def test_systemd_has_nothing_to_say(tmp_path: Path, unit: Path, most: float) -> None:
    """Names and values are known; the exposure, of 0 (none) to 10, is low."""
    copy = tmp_path / unit.name
    here = shutil.which("true")
    assert here is not None
    copy.write_text(unit.read_text(encoding="utf-8").replace(PROGRAM, here), encoding="utf-8")
    verified = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    assert [line for line in verified.stderr.splitlines() if unit.name in line] == []
    secure = ["systemd-analyze", "security", "--offline=yes", f"--threshold={most * 10:.0f}", copy]
    examined = subprocess.run(secure, capture_output=True, text=True, check=False)
    assert examined.returncode == 0, examined.stdout[-2000:]


def test_the_paths_of_the_docs_are_those_of_the_unit() -> None:
    written = service()
    for path in ("/etc/jupyter-mlops/environment", "/etc/jupyter-mlops/service.py", "/var/lib/jupyter-mlops"):
        assert path in PAGE
        assert path in "\n".join(written.values())
    assert PROGRAM in PAGE
    assert "deploy/systemd/jupyter-mlops.service" in PAGE
    assert f"/var/lib/{written['StateDirectory']}" == written["WorkingDirectory"]


def test_the_worker_has_what_the_docs_tell_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    written = service(WORKER)
    assert written["EnvironmentFile"] in PAGE
    assert WORKER.name in PAGE
    assert dict(line.split("=", 1) for line in block("sh").split()).keys() == {TRACKING_URL, TRACKING_TOKEN}
    monkeypatch.setattr(click.Command, "invoke", lambda self, context: None)
    program, *words = written["ExecStart"].split()
    assert program == PROGRAM
    assert CliRunner().invoke(root, words).exit_code == 0


@pytest.mark.slow
def test_its_command_serves_with_what_the_docs_tell_to_write(tmp_path: Path) -> None:
    """With no more than the files of the docs, and stopped as systemd stops it."""
    written = service()
    (port,) = free_ports(1)
    places = {
        "/etc/jupyter-mlops": str(tmp_path),
        "/var/lib/jupyter-mlops": str(tmp_path / "state"),
        PROGRAM: str(Path(sys.executable).with_name("jupyter-mlops")),
        "http://127.0.0.1:10380": f"http://127.0.0.1:{port}",
        "postgresql://mlops:PASSWORD@HOST/mlops": f"sqlite:///{tmp_path}/state/mlops.db",
        "=SECRET": f"={'5e' * 32}",
    }

    def here(text: str) -> str:
        for place, ours in places.items():
            text = text.replace(place, ours)
        return text

    (tmp_path / "state").mkdir()
    (tmp_path / "service.py").write_text(block("python"), encoding="utf-8")
    given = dict(line.split("=", 1) for line in here(block("ini")).split())
    name, _, value = here(written["Environment"]).partition("=")
    command = here(written["ExecStart"]).split()
    with subprocess.Popen(
        command,
        cwd=here(written["WorkingDirectory"]),
        env={"PATH": os.environ["PATH"], name: value, **given},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"jupyter-mlops is ready at http://127.0.0.1:{port}/services/mlops/\n"
            ready = requests.get(f"http://127.0.0.1:{port}/services/mlops/ready", timeout=30)
            assert ready.json() == {"status": "ready"}
            process.send_signal(signal.SIGTERM)
            assert process.wait(int(written["TimeoutStopSec"])) == 0
        finally:
            process.kill()
