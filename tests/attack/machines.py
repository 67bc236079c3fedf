"""A machine of its own for each test: home, temporary folder, notebooks and commands, and all processes it started."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

import psutil

from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.protocol import Tracker
from tests.history import points
from tests.notebook_files import write_notebook
from tests.waiting import DEADLINE, until


class Machine:
    """``work`` is where notebooks and commands are, ``home`` the store's folder, ``tmp`` that of temporary files."""

    def __init__(self) -> None:
        # Short, because the paths of sockets are; not pytest's own.
        self.root = Path(tempfile.mkdtemp(prefix="m-"))
        self.home, self.tmp, self.work = self.root / "home", self.root / "tmp", self.root / "work"
        self.tmp.mkdir()
        self.work.mkdir()
        self.mark = uuid.uuid4().hex
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("MLOPS_")}
        self.environment |= {"MLOPS_HOME": str(self.home), "TMPDIR": str(self.tmp), "MACHINE": self.mark}

    def notebook(self, *cells: str, parameters: str | None = None, kernel: str = "python3", name: str = "work") -> str:
        return str(write_notebook(self.work / f"{name}.ipynb", *cells, parameters=parameters, kernel=kernel))

    def kernel(self, name: str, *command: str) -> None:
        """Install a kernel."""
        folder = self.root / "jupyter" / "kernels" / name
        folder.mkdir(parents=True)
        spec = {"argv": command, "display_name": name, "language": "python"}
        (folder / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
        self.environment["JUPYTER_PATH"] = str(self.root / "jupyter")

    def start(self, *command: str | Path, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=self.work,
            env=self.environment,
            text=True,
            start_new_session=True,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
        )

    def mlops(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        return self.start("-m", "jupyter_mlops", *words, **options)

    def run(self, *words: str, status: int | None = 0) -> tuple[str, str]:
        """What a command wrote to standard output and error; ``status`` None accepts every exit status."""
        process = self.mlops(*words)
        output, errors = process.communicate(timeout=DEADLINE)
        assert status is None or process.returncode == status, f"{words}: {process.returncode}\n{output}\n{errors}"
        assert "Traceback (most recent call last)" not in errors, errors
        return output, errors

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "--json")[0])

    def runs(self) -> list[dict[str, Any]]:
        """All runs, the oldest first."""
        return sorted(self.json("runs", "list", "--children"), key=lambda run: run["run_id"])

    def the_run(self) -> dict[str, Any]:
        (run,) = self.runs()
        return run

    def tracker(self) -> Tracker:
        url = self.environment.get("MLOPS_TRACKING_URL") or f"sqlite:///{self.home}/mlops.db"
        return connect(url)

    def artifact(self, path: str) -> bytes:
        """A file of the latest run."""
        with self.tracker() as tracker:
            return b"".join(tracker.artifacts.open(self.runs()[-1]["run_id"], path))

    def points(self, run_id: str, key: str) -> list[tuple[int, float]]:
        """The steps and values of a metric, in order."""
        with self.tracker() as tracker:
            return points(tracker, run_id, key)

    def processes(self) -> list[psutil.Process]:
        """What was started on this machine and lives."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("MACHINE") == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return [process for process in found if process.pid != os.getpid()]

    def left(self) -> list[str]:
        """What lies in the folders of running things."""
        folders = (self.home / "runs", self.home / "spool", self.tmp)
        return [str(path.relative_to(self.root)) for folder in folders if folder.is_dir() for path in folder.iterdir()]

    def assert_clean(self) -> None:
        until(lambda: not self.processes(), "the end of all processes")
        left = self.left()
        assert left == [], f"{left} was left"

    def close(self) -> None:
        for process in self.processes():
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.Error:
                continue
        shutil.rmtree(self.root, ignore_errors=True)
