"""A real service as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SERVE = """
import resource, sys
from pathlib import Path
from tests.service.inprocess import running

database_url, artifacts, folder, largest_file = sys.argv[1:]
with running(database_url, Path(artifacts), Path(folder)) as service:
    if int(largest_file):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest_file), resource.RLIM_INFINITY))
    print(service.url, service.token("ann"), flush=True)
    sys.stdin.read()
"""


class Process:
    """``url`` and ``token`` (of the user ``ann``) of a service; ``process`` is its own."""

    def __init__(self, process: subprocess.Popen[str], url: str, token: str) -> None:
        self.process = process
        self.url = url
        self.token = token

    def peak(self) -> int:
        """The most memory it has had since it started, bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM"))


@contextmanager
def serving(database_url: str, artifacts: Path, folder: Path, *, largest_file: int = 0) -> Iterator[Process]:
    """A service over the store, until the block ends; ``folder`` is for its files. A file of ``largest_file`` bytes
    finds no more room there, if that is not 0."""
    command = [sys.executable, "-c", _SERVE, database_url, str(artifacts), str(folder), str(largest_file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url, token = process.stdout.readline().split()
            yield Process(process, url, token)
        finally:
            # The end of its standard input.
            process.communicate(timeout=60)
