"""Where things are on this machine: environment variables and the user's Jupyter data directory. Light to import."""

from __future__ import annotations

import os
import sys
from itertools import chain, takewhile
from pathlib import Path
from urllib.parse import urlsplit

TRACKING_URL = "MLOPS_TRACKING_URL"
ARTIFACTS_URL = "MLOPS_ARTIFACTS_URL"
TRACKING_TOKEN = "MLOPS_TRACKING_TOKEN"
MLFLOW_URI = "MLFLOW_TRACKING_URI"
MLFLOW_TOKEN = "MLFLOW_TRACKING_TOKEN"
TRACKING_TOKEN_FILE = "MLOPS_TRACKING_TOKEN_FILE"
HOME = "MLOPS_HOME"

DATABASE_FILE = "mlops.db"
ARTIFACTS_FOLDER = "artifacts"


def home() -> Path:
    """The folder of the embedded store: ``MLOPS_HOME``, else ``mlops`` in the user's Jupyter data directory."""
    chosen = os.environ.get(HOME)
    return Path(chosen).expanduser().absolute() if chosen else jupyter_data_folder() / "mlops"


def make_private(folder: Path) -> None:
    """Make ``folder``, and those above it that do not exist yet, for their owner only; ``OSError`` when it fails."""
    missing = takewhile(lambda path: not path.exists(), chain([folder], folder.parents))
    for path in reversed(list(missing)):
        path.mkdir(mode=0o700, exist_ok=True)


def jupyter_data_folder() -> Path:
    """``JUPYTER_DATA_DIR``, else what ``jupyter_core`` says; worked out here where that is simple."""
    chosen = os.environ.get("JUPYTER_DATA_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform.startswith("linux") and "JUPYTER_PLATFORM_DIRS" not in os.environ:
        shared = os.environ.get("XDG_DATA_HOME")
        return (Path(shared) if shared else Path.home() / ".local" / "share") / "jupyter"
    from jupyter_core.paths import jupyter_data_dir

    return Path(jupyter_data_dir())


def default_url() -> str:
    """``MLOPS_TRACKING_URL``, else the SQLite file of the embedded store."""
    return os.environ.get(TRACKING_URL) or f"sqlite:///{home() / DATABASE_FILE}"


def is_service(url: str) -> bool:
    """Whether the URL is one of a service, and not of a database."""
    return url.startswith(("http://", "https://"))


def token_for(url: str) -> str | None:
    """The token to show the service at ``url`` now: ``MLOPS_TRACKING_TOKEN``; else, for the service that
    ``MLOPS_TRACKING_URL`` names and no other, what the file ``MLOPS_TRACKING_TOKEN_FILE`` holds, or in a server of a
    JupyterHub the token that the hub gave it."""
    chosen = os.environ.get(TRACKING_TOKEN)
    if chosen:
        return chosen
    given = os.environ.get(TRACKING_URL, "")
    if not given or _origin(url) != _origin(given):
        return None
    file = os.environ.get(TRACKING_TOKEN_FILE)
    if file:
        try:
            return Path(file).read_text(encoding="ascii").strip() or None
        except (OSError, UnicodeDecodeError):
            return None
    return os.environ.get("JUPYTERHUB_API_TOKEN")


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def absolute(place: str) -> str:
    """A folder, or the URL of a SQLite file, that means the same in every working directory; other URLs as they are."""
    scheme, separator, path = place.partition("://")
    if not separator:
        return str(Path(place).expanduser().absolute())
    if scheme == "sqlite" and path.startswith("/") and not path.startswith("//"):
        return f"sqlite:///{Path(path[1:]).absolute()}"
    return place
