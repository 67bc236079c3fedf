"""Finding the notebook that a kernel executes, and reading how it stands on disk."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

from jupyter_mlops.recording.cells import NotebookCell, NotebookFile

_ANSWER_SECONDS = 0.5
"""How long the servers may take together, as a run begins meanwhile."""
_PAUSE_SECONDS = 60.0
"""How long none is asked after that was too short."""
_LARGEST_ANSWER = 10 << 20
_LARGEST_NOTEBOOK = 200 << 20


def find_notebook(shell: Any) -> Path | None:
    """The file of the notebook whose kernel this is; None when nobody knows.

    The user's own Jupyter server knows best, as it follows renames; VS Code tells its kernels; the environment variable
    ``JPY_SESSION_NAME`` is what the notebook was called when the kernel was started. A server that does not answer
    within half a second is not waited for, and not asked again for a minute.
    """
    connection = _connection_file()
    path = None if connection is None else _in_time(connection)
    if path is not None:
        return path
    for known in (shell.user_ns.get("__vsc_ipynb_file__"), os.environ.get("JPY_SESSION_NAME")):
        if isinstance(known, str) and known.endswith(".ipynb") and Path(known).is_file():
            return Path(known).absolute()
    return None


def read_notebook(path: Path) -> NotebookFile | None:
    """The code cells of a notebook file; None when it cannot be read as a notebook of format 4."""
    try:
        status = path.stat()
        if status.st_size > _LARGEST_NOTEBOOK:
            return None
        cells = tuple(
            NotebookCell(source=_text(cell["source"]), cell_id=cell.get("id"))
            for cell in json.loads(path.read_bytes())["cells"]
            if cell["cell_type"] == "code"
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return NotebookFile(path=str(path), saved=status.st_mtime, cells=cells)


def _text(source: Any) -> str:
    return source if isinstance(source, str) else "".join(source)


def _connection_file() -> Path | None:
    if "ipykernel" not in sys.modules:
        return None
    from ipykernel.connect import get_connection_file

    try:
        return Path(get_connection_file())
    except (RuntimeError, OSError):
        return None


_asked_from = 0.0
"""On the monotonic clock, when servers may be asked again."""


def _in_time(connection: Path) -> Path | None:
    """What the servers say, when they say it soon enough."""
    global _asked_from  # noqa: PLW0603 - how the servers of this process's user behave
    if time.monotonic() < _asked_from:
        return None
    answers: list[Path | None] = []
    thread = threading.Thread(target=lambda: answers.append(_ask_all(connection)), name="mlops-ask", daemon=True)
    began = time.monotonic()
    thread.start()
    thread.join(_ANSWER_SECONDS)
    # On a busy machine the thread may have given up by itself before this one goes on.
    if not answers or time.monotonic() - began >= _ANSWER_SECONDS:
        _asked_from = time.monotonic() + _PAUSE_SECONDS
    return answers[0] if answers else None


def _ask_all(connection: Path) -> Path | None:
    for server in _servers(connection.parent):
        path = _ask(server, connection.stem.removeprefix("kernel-"))
        if path is not None and path.is_file():
            return path
    return None


def _servers(runtime: Path) -> Iterator[Mapping[str, Any]]:
    """What the user's running servers write about themselves, the newest first."""
    for file in sorted(runtime.glob("jpserver-*.json"), key=lambda file: file.name, reverse=True):
        try:
            server = json.loads(file.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(server, dict) and all(isinstance(server.get(key), str) for key in ("url", "root_dir")):
            yield server


def _ask(server: Mapping[str, Any], kernel_id: str) -> Path | None:
    """The path of the kernel's notebook, if this server has a session for it."""
    from urllib.request import ProxyHandler, Request, build_opener

    # On a hub the server has no token of its own, and takes the user's.
    token = server.get("token") or os.environ.get("JUPYTERHUB_API_TOKEN", "")
    request = Request(f"{server['url'].rstrip('/')}/api/sessions", headers={"Authorization": f"token {token}"})
    if request.type not in ("http", "https"):
        return None
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=_ANSWER_SECONDS) as reply:
            sessions = json.loads(reply.read(_LARGEST_ANSWER))
        for session in sessions:
            if session["kernel"]["id"] == kernel_id:
                # Collaborative editing puts a drive before the path.
                return Path(server["root_dir"]) / str(session["path"]).removeprefix("RTC:")
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return None
    return None
