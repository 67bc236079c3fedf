"""The plugin for The Littlest JupyterHub, called as its installer and its hub do; and a real hub of what it says."""

from __future__ import annotations

import getpass
import inspect
import json
import os
import pwd
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pluggy
import psutil
import pytest
import requests
import yaml
from packaging.requirements import Requirement
from traitlets.config import Config

from jupyter_mlops import __version__
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.hub import configuration, tljh
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.hub import realhub

HOOKS = {
    "tljh_extra_user_conda_packages": [],
    "tljh_extra_user_conda_channels": [],
    "tljh_extra_user_pip_packages": [],
    "tljh_extra_hub_pip_packages": [],
    "tljh_extra_apt_packages": [],
    "tljh_custom_jupyterhub_config": ["c"],
    "tljh_config_post_install": ["config"],
    "tljh_post_install": [],
    "tljh_new_user_create": ["username"],
}
"""Of The Littlest JupyterHub 2, with what they are given."""


@pytest.fixture
def hooks() -> Any:
    """What its installer makes of the entry points."""
    manager = pluggy.PluginManager("tljh")
    manager.load_setuptools_entrypoints("tljh")
    return manager.hook


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where it is installed, with services that would disturb nobody."""
    monkeypatch.setenv("TLJH_INSTALL_PREFIX", str(tmp_path))
    configure(tmp_path, user=getpass.getuser(), home=str(tmp_path / "home"))
    return tmp_path


def configure(prefix: Path, **settings: object) -> None:
    """What ``tljh-config set services.mlops.NAME VALUE`` writes."""
    (prefix / "config").mkdir(exist_ok=True)
    (prefix / "config" / "config.yaml").write_text(yaml.safe_dump({"services": {"mlops": settings}}))


def of_littlest() -> Config:
    """What its configuration has set when it calls plugins."""
    c = Config()
    c.JupyterHub.base_url = "/"
    c.JupyterHub.services = [{"name": "cull-idle", "admin": True, "command": ["true"]}]
    c.SystemdSpawner.mem_limit = None
    c.UserCreatingSpawner.user_groups = {}
    return c


def test_its_hooks_are_those_that_are_called() -> None:
    ours = {name: function for name, function in inspect.getmembers(tljh, inspect.isfunction) if name[:5] == "tljh_"}
    assert len(ours) == 3
    for name, function in ours.items():
        assert list(inspect.signature(function).parameters) == HOOKS[name]
        assert function.tljh_impl  # type: ignore[attr-defined]


def test_both_environments_get_the_package(hooks: Any) -> None:
    (hub,), (user,) = hooks.tljh_extra_hub_pip_packages()[0], hooks.tljh_extra_user_pip_packages()[0]
    assert Requirement(hub).extras == {"hub"}
    assert Requirement(user).extras == {"models"}
    assert Requirement(hub).url == Requirement(user).url


@pytest.mark.parametrize(
    ("noted", "required"),
    [
        pytest.param(None, "jupyter-mlops[hub]==9.1", id="index"),
        pytest.param(
            {"url": "https://git.example.org/mlops.git", "vcs_info": {"vcs": "git", "commit_id": "5eed"}},
            "jupyter-mlops[hub] @ git+https://git.example.org/mlops.git@5eed",
            id="commit",
        ),
        pytest.param(
            {"url": "file:///srv/jupyter_mlops-9.1-py3-none-any.whl", "archive_info": {"hashes": {}}},
            "jupyter-mlops[hub] @ file:///srv/jupyter_mlops-9.1-py3-none-any.whl",
            id="wheel",
        ),
        pytest.param(
            {"url": "file:///srv/jupyter-mlops", "dir_info": {}},
            "jupyter-mlops[hub] @ file:///srv/jupyter-mlops",
            id="folder",
        ),
    ],
)
def test_the_other_environment_gets_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noted: dict[str, object] | None, required: str
) -> None:
    """As pip has noted where this one came from."""
    installed = tmp_path / "jupyter_mlops-9.1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: jupyter-mlops\nVersion: 9.1\n")
    if noted is not None:
        (installed / "direct_url.json").write_text(json.dumps(noted))
    monkeypatch.syspath_prepend(tmp_path)
    assert tljh.requirement("hub") == required
    Requirement(required)


def test_its_hub_has_the_service(hooks: Any, prefix: Path) -> None:
    c = of_littlest()
    hooks.tljh_custom_jupyterhub_config(c=c)
    culler, service = c.JupyterHub.services
    assert culler["name"] == "cull-idle"
    assert service["user"] == getpass.getuser()
    assert service["cwd"] == service["environment"]["MLOPS_HOME"] == str(prefix / "home")
    assert stat.S_IMODE((prefix / "home").stat().st_mode) == 0o700
    assert c.Spawner.environment["MLOPS_TRACKING_URL"] == f"{configuration.URL}/services/mlops"
    # Once more, as at each start of the hub.
    again = of_littlest()
    hooks.tljh_custom_jupyterhub_config(c=again)
    assert again == c


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes users, as the hub of The Littlest JupyterHub is")
def test_the_user_it_makes_can_do_nothing_else(tmp_path: Path) -> None:
    """Made for real, in a system of files of its own."""
    (tmp_path / "etc").mkdir()
    for name in ("passwd", "group", "shadow", "gshadow"):
        (tmp_path / "etc" / name).touch()
    program, *words = tljh.user_command(tljh.Settings())
    subprocess.run([program, "--prefix", str(tmp_path), *words], check=True, capture_output=True)
    name, _, _, _, _, home, shell = (tmp_path / "etc" / "passwd").read_text().strip().split(":")
    assert (name, home, shell) == ("mlops", "/var/lib/jupyter-mlops", "/usr/sbin/nologin")
    assert (tmp_path / "etc" / "shadow").read_text().startswith("mlops:!:")
    assert not (tmp_path / "var").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder to somebody else")
def test_its_folder_is_that_users(hooks: Any, prefix: Path) -> None:
    configure(prefix, user="nobody", home=str(prefix / "of-nobody"))
    hooks.tljh_custom_jupyterhub_config(c=of_littlest())
    made = (prefix / "of-nobody").stat()
    assert (made.st_uid, stat.S_IMODE(made.st_mode)) == (pwd.getpwnam("nobody").pw_uid, 0o700)


def test_what_the_administrator_chose_is_taken(hooks: Any, prefix: Path) -> None:
    configure(
        prefix,
        user=getpass.getuser(),
        home=str(prefix / "home"),
        db_url="postgresql://mlops@db/mlops",
        artifacts_url="s3://team-mlops/artifacts",
        url="http://127.0.0.1:10999",
        mlflow=False,
    )
    c = of_littlest()
    hooks.tljh_custom_jupyterhub_config(c=c)
    service = c.JupyterHub.services[1]
    assert service["url"] == "http://127.0.0.1:10999"
    assert service["environment"]["MLOPS_TRACKING_URL"] == "postgresql://mlops@db/mlops"
    assert service["environment"]["MLOPS_ARTIFACTS_URL"] == "s3://team-mlops/artifacts"
    assert list(c.Spawner.environment) == ["MLOPS_TRACKING_URL"]


def test_a_slip_of_the_pen_is_said(hooks: Any, prefix: Path) -> None:
    configure(prefix, databse="postgresql://mlops@db/mlops")
    with pytest.raises(InvalidValue, match=r"services\.mlops in .*config\.yaml.*databse"):
        hooks.tljh_custom_jupyterhub_config(c=of_littlest())


_AS_LITTLEST_DOES = """
import getpass, os, pluggy, yaml
from pathlib import Path
prefix = Path("{folder}", "tljh")
(prefix / "config").mkdir(parents=True)
chosen = {{"url": "http://127.0.0.1:10380", "home": "{folder}/service", "user": getpass.getuser()}}
(prefix / "config" / "config.yaml").write_text(yaml.safe_dump({{"services": {{"mlops": chosen}}}}))
os.environ["TLJH_INSTALL_PREFIX"] = str(prefix)
c.JupyterHub.services = []
plugins = pluggy.PluginManager("tljh")
plugins.load_setuptools_entrypoints("tljh")
plugins.hook.tljh_custom_jupyterhub_config(c=c)
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[realhub.Hub]:
    folder = tmp_path_factory.mktemp("tljh")
    first = _AS_LITTLEST_DOES.format(folder=folder)
    with realhub.running(folder, f"sqlite:///{folder / 'unused.db'}", environment=None, first=first) as hub:
        yield hub


@pytest.mark.slow
def test_a_real_hub_of_it_serves(hub: realhub.Hub) -> None:
    """A user records through it; the store is in the folder of the service's own user; nothing lacks."""
    assert requests.get(f"{hub.service_url}/ready", timeout=30).json() == {"status": "ready"}
    with RemoteTracker(hub.direct_url, hub.token(realhub.MEMBER)) as tracker:
        experiment = tracker.experiments.ensure("littlest")
        run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))
        assert tracker.runs.get(run.run_id).user == realhub.MEMBER
    service = psutil.Process(hub.service_process())
    assert service.cwd() == str(hub.folder / "service")
    assert service.username() == getpass.getuser()
    assert not (hub.folder / "unused.db").exists()
    assert "they lack" not in hub.log
    assert __version__ in requests.get(f"{hub.service_url}/api/v1/openapi.json", timeout=30).text
