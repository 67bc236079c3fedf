"""What Binder does with this repository, step by step, in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest
import requests
import yaml

from tests.hub.realhub import until
from tests.ports import free_ports

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "visitor"
BUILT = ("jupyter_mlops/labextension", "jupyter_mlops/service/page")


class Built:
    """The repository as Binder has it after the build, and the environment that commands run in."""

    def __init__(self, repository: Path, environment: Mapping[str, str]) -> None:
        self.repository = repository
        self.environment = environment

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.repository,
            env=self.environment,
            text=True,
            capture_output=True,
            check=False,
            timeout=1200,
        )
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("binder")
    repository, prefix, home = folder / "repository", folder / "environment", folder / "home"
    home.mkdir()
    repository.mkdir()
    # As a clone has it, and with the panel if it was built: that a clone can build it, the installation of what runs
    # these tests has shown.
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    built = [place for place in BUILT if (ROOT / place).is_dir()]
    archive = ["tar", "--create", "--file=-", *built, "--null", "--files-from=-"]
    content = subprocess.run(archive, cwd=ROOT, input=files, capture_output=True, check=True).stdout
    subprocess.run(["tar", "--extract"], cwd=repository, input=content, check=True)
    subprocess.run([sys.executable, "-m", "venv", str(prefix)], check=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "MLOPS", "VIRTUAL"))}
    environment = {
        **kept,
        "PATH": f"{prefix}/bin:/usr/bin:/bin",
        "HOME": str(home),
        "NB_PYTHON_PREFIX": str(prefix),
        "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR", str(Path.home() / ".cache" / "pip")),
        # Half of what is installed is never imported here.
        "PIP_NO_COMPILE": "1",
    }
    binder = Built(repository, environment)
    # conda is not everywhere; what it would install has the same names for pip.
    wanted = yaml.safe_load((repository / "binder" / "environment.yml").read_text())["dependencies"]
    binder.run("python", "-m", "pip", "install", "-q", *(name for name in wanted if not name.startswith("python=")))
    binder.run("binder/postBuild")
    return binder


@pytest.fixture(scope="module")
def server(built: Built) -> Iterator[str]:
    (port,) = free_ports(1)
    command = ["binder/start", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    process = subprocess.Popen(
        [*command, f"--IdentityProvider.token={TOKEN}"], cwd=built.repository, env=built.environment
    )
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: answers(f"{url}/api/status"), "the server answers", 120)
        yield url
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.wait(60)
        psutil.wait_procs(children, timeout=30)


def answers(url: str) -> bool:
    try:
        return get(url).ok
    except requests.ConnectionError:
        return False


def get(url: str) -> requests.Response:
    return requests.get(url, headers={"Authorization": f"token {TOKEN}"}, timeout=60)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_visitor_finds_the_panel_and_a_run(built: Built, server: str) -> None:
    listed = built.run("jupyter", "labextension", "list")
    assert "jupyter-mlops v" in listed
    assert get(f"{server}/lab").ok
    assert get(f"{server}/mlops/server/v1/status").json()["connected"]
    runs = requests.post(
        f"{server}/mlops/api/v1/search/runs", json={}, headers={"Authorization": f"token {TOKEN}"}, timeout=60
    ).json()["items"]
    assert [run["status"] for run in runs] == ["FINISHED"]
    workspace = get(f"{server}/lab/api/workspaces/default").json()
    assert workspace["data"]["layout-restorer:data"]["left"]["current"] == "jp-mlops-sidebar"


@pytest.mark.slow
def test_repo2docker_would_do_these_steps() -> None:
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    written = done.stdout + done.stderr
    assert done.returncode == 0, written
    assert "RUN ./binder/postBuild" in written
    assert "binder/environment.yml" in written
    assert 'R2D_ENTRYPOINT="${REPO_DIR}/binder/start"' in written


def test_the_workspace_opens_what_there_is() -> None:
    workspace = (ROOT / "binder" / "workspace.json").read_text()
    assert "examples/breast-cancer.ipynb" in workspace
    assert (ROOT / "examples" / "breast-cancer.ipynb").exists()
    widgets = (ROOT / "labextension" / "src" / "lab" / "widgets.tsx").read_text()
    assert "'jp-mlops-sidebar'" in widgets
