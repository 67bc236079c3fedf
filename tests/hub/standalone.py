"""``jupyter mlops service`` with a file of tokens, as a process of its own."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
from click.testing import CliRunner

from jupyter_mlops.cli.main import root

COMMAND = [sys.executable, "-m", "jupyter_mlops", "service"]


class Started(NamedTuple):
    process: subprocess.Popen[str]
    url: str

    def serving(self) -> psutil.Process | None:
        """The process that answers now; None while there is none."""
        try:
            children = psutil.Process(self.process.pid).children()
            return next((each for each in children if each.status() != psutil.STATUS_ZOMBIE), None)
        except psutil.NoSuchProcess:
            return None


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[Started]:
    """A service on a free port, once it says that it is ready."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(("JUPYTERHUB_", "MLOPS_"))}
    with (folder / "service.log").open("w") as log:
        process = subprocess.Popen(
            [*COMMAND, "--port", "0", *arguments],
            cwd=folder,
            env={**own, "MLOPS_HOME": str(folder / "home")},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        ready = re.fullmatch(r"jupyter-mlops is ready at (http://(?:127\.0\.0\.1|localhost):\d+/\S*)\n", line)
        assert ready is not None, line + (folder / "service.log").read_text()
        yield Started(process, ready[1])
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def token(folder: Path, *arguments: str) -> str:
    ended = CliRunner().invoke(root, ["token", "create", "--file", str(folder / "tokens.json"), *arguments])
    assert ended.exit_code == 0, ended.output
    return ended.stdout.strip()
