"""The package is taken away: JupyterLab, running or started anew, works as before, and the data stays where it was."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from jupyter_mlops.core.records import NewRun
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.server.jupyter import TOKEN, JupyterServer

pytest.importorskip("jupyterlab", reason="jupyterlab is not installed")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def environment(folder: Path) -> str:
    """The Python of an environment with all that the running one has, by links, but for this package."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    own, prefix = Path(sysconfig.get_path("purelib")), Path(sys.prefix)
    linked = [
        *own.iterdir(),
        *(prefix / "share" / "jupyter").iterdir(),
        *(prefix / "etc" / "jupyter").glob("*.d/*.json"),
    ]
    for each in linked:
        # What enables jupyter-collaboration stays out, which by itself has a traceback to tell when it stops.
        if "jupyter_mlops" not in each.name and each.name != "jupyter_collaboration.json":
            place = folder / each.relative_to(prefix)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(each)
    return str(folder / "bin" / "python")


def works(server: JupyterServer) -> None:
    """JupyterLab's page comes, a file is saved, a kernel starts and computes."""
    page = server.ask("GET", "lab")
    assert (page.status, b"jupyter-config-data" in page.content) == (200, True)
    saved = server.ask("PUT", "api/contents/a.txt", {"type": "file", "format": "text", "content": "a"})
    assert saved.status in (200, 201)
    kernel = f"api/kernels/{server.ask('POST', 'api/kernels', {'name': 'python3'}).json['id']}"
    channels = server.listen(f"{kernel}/channels")
    header = {
        "msg_id": "1",
        "msg_type": "execute_request",
        "session": "1",
        "username": "",
        "version": "5.3",
        "date": "",
    }
    asked = {
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": {"code": "print(6 * 7)", "silent": False},
    }
    channels.send(json.dumps({**asked, "channel": "shell", "buffers": []}))
    while json.loads(channels.recv())["content"].get("text") != "42\n":
        pass
    channels.close()
    assert server.ask("DELETE", kernel).status == 204


def test_jupyterlab_works_and_the_data_stays(tmp_path: Path) -> None:
    python = environment(tmp_path / "environment")

    def pip(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([python, "-m", "pip", *arguments], capture_output=True, text=True, check=False)

    installed = pip("install", "--no-deps", str(ROOT))
    if installed.returncode != 0:
        pytest.skip(f"the package cannot be built here: {installed.stderr[-300:]}")
    server = JupyterServer(tmp_path, JUPYTER_CONFIG_PATH="")
    server.command = (python, "-m", "jupyterlab")
    server.start()
    try:
        with RemoteTracker(f"{server.url}/mlops", TOKEN) as tracker:
            kept = tracker.runs.create(NewRun(experiment_id=tracker.experiments.ensure("kept").experiment_id))
        removed = pip("uninstall", "--yes", "jupyter-mlops")
        assert "Successfully uninstalled jupyter-mlops" in removed.stdout, removed.stderr
        assert not list((tmp_path / "environment").rglob("*jupyter_mlops*"))
        works(server)
        server.end()
        before = len(server.log)
        server.start()
        works(server)
        assert server.ask("GET", "mlops/server/v1/status").status == 404
        server.end()
    finally:
        if server.process is not None:
            server.end()
    assert "Traceback" not in server.log
    assert "[E " not in server.log
    assert "jupyter_mlops" not in server.log[before:]
    with connect(f"sqlite:///{server.home / 'mlops.db'}") as store:
        assert store.runs.get(kept.run_id) == kept
