"""The plugin for The Littlest JupyterHub (entry point ``tljh``): what its installer installs, and what its hub has."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import msgspec
import pluggy
import yaml
from traitlets.config import Config

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.hub import configuration
from jupyter_mlops.tracker import location

PACKAGE = "jupyter-mlops"
PREFIX = "/opt/tljh"
"""Where The Littlest JupyterHub is, unless ``TLJH_INSTALL_PREFIX`` says otherwise."""

hookimpl = pluggy.HookimplMarker("tljh")


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``services.mlops`` of ``tljh-config``; see :func:`jupyter_mlops.hub.configuration.configure` for what is not
    told here."""

    db_url: str | None = None
    artifacts_url: str | None = None
    url: str = configuration.URL
    mlflow: bool = True
    user: str = "mlops"
    """The user of the system whom the service runs as; a system user is made when there is none of that name."""
    home: str = "/var/lib/jupyter-mlops"
    """That user's folder: the database and the files, unless they are elsewhere, the secret that signs logins, and the
    service's configuration file, if there is one."""


class _Commit(msgspec.Struct):
    vcs: str
    commit_id: str


class _Origin(msgspec.Struct):
    """What pip notes of a package that did not come from an index."""

    url: str
    vcs_info: _Commit | None = None


@hookimpl
def tljh_extra_hub_pip_packages() -> list[str]:
    return [requirement("hub")]


@hookimpl
def tljh_extra_user_pip_packages() -> list[str]:
    return [requirement("models")]


@hookimpl
def tljh_custom_jupyterhub_config(c: Config) -> None:
    """Have the hub run the service, as a user of its own.

    Raises
    ------
    InvalidValue
        ``services.mlops`` is not what it can be.
    """
    chosen = settings()
    _make_home(chosen)
    configuration.configure(
        c, url=chosen.url, db_url=chosen.db_url, artifacts_url=chosen.artifacts_url, mlflow=chosen.mlflow
    )
    service = next(each for each in c.JupyterHub.services if each["name"] == configuration.NAME)
    service.setdefault("user", chosen.user)
    # The hub's own folder is closed to others.
    service.setdefault("cwd", chosen.home)
    service.setdefault("environment", {}).setdefault(location.HOME, chosen.home)


def requirement(extra: str) -> str:
    """What pip needs to be told so that another environment gets the package that is installed here, with ``extra``:
    the same version, commit, file or folder."""
    installed = distribution(PACKAGE)
    noted = installed.read_text("direct_url.json")
    if noted is None:
        return f"{PACKAGE}[{extra}]=={installed.version}"
    origin = msgspec.json.decode(noted, type=_Origin)
    url = origin.url
    if origin.vcs_info is not None:
        url = f"{origin.vcs_info.vcs}+{url}@{origin.vcs_info.commit_id}"
    return f"{PACKAGE}[{extra}] @ {url}"


def settings() -> Settings:
    """What ``tljh-config set services.mlops.NAME VALUE`` has set."""
    path = Path(os.environ.get("TLJH_INSTALL_PREFIX", PREFIX)) / "config" / "config.yaml"
    written: Any = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
    given = ((written or {}).get("services") or {}).get(configuration.NAME) or {}
    try:
        return msgspec.convert(given, Settings)
    except msgspec.ValidationError as error:
        raise InvalidValue(f"services.{configuration.NAME} in {path}: {error}") from error


def user_command(chosen: Settings) -> list[str]:
    """What makes the system user."""
    options = ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin"]
    return ["useradd", *options, "--home-dir", chosen.home, chosen.user]


def _make_home(chosen: Settings) -> None:
    try:
        pwd.getpwnam(chosen.user)
    except KeyError:
        subprocess.run(user_command(chosen), check=True)
    home = Path(chosen.home)
    if not home.exists():
        home.mkdir(mode=0o700, parents=True)
        shutil.chown(home, chosen.user)
