"""Secrets planted wherever they usually are; afterwards everything that was written or said is searched for them."""

from __future__ import annotations

import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from machines import Machine

pytestmark = pytest.mark.slow

PARAMETERS = "api_key = ''\ndb_password: str = 'none'\nlr = 0.1"
ECHO = """
import os, sys
import jupyter_mlops as mlops
mlops.log_metric("a", lr)
mlops.set_tag("note", os.environ["SERVICE_TOKEN"])
print("key", api_key, repr(db_password), os.environ["SERVICE_TOKEN"])
sys.stderr.write("Authorization: Bearer " + api_key + "\\n")
from IPython.display import HTML, display
display(HTML(f"<b>{api_key}</b>"))
logged = {"tags": {"note2": api_key}, "params": {"note3": {"in": [db_password]}, "secret_word": api_key}}
display({"application/vnd.jupyter-mlops.log+json": logged}, raw=True)
api_key
"""
FAIL = "def connect(key):\n    raise ValueError(f'refused {key}')\nconnect(api_key + ' ' + db_password)"


@contextmanager
def command_lines(machine: Machine) -> Iterator[dict[int, str]]:
    """The command lines of all processes of the machine while the block lasts."""
    seen: dict[int, str] = {}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            for process in machine.processes():
                try:
                    seen[process.pid] = "\n".join(process.cmdline())
                except psutil.Error:
                    continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_no_secret_is_written_or_said(machine: Machine) -> None:
    secrets = {name: f"Zx{uuid.uuid4().hex}" for name in ("given", "file", "variable", "remote", "database")}
    machine.environment["SERVICE_TOKEN"] = secrets["variable"]
    git = (
        "git init -q . && git remote add origin https://ann:{}@host.invalid/x.git && git -c user.name=a -c user.email=b"
    )
    git += " commit -q --allow-empty -m x && mkdir ../outside && mv .git ../outside/git"
    subprocess.run(git.format(secrets["remote"]), shell=True, check=True, cwd=machine.work)
    (machine.work / ".git").write_text("gitdir: ../outside/git\n")
    parameters = machine.root / "outside" / "parameters.yaml"
    parameters.write_text(f"db_password: {secrets['file']}\napi_key: {secrets['given']}\n")
    notebook = machine.notebook(ECHO, FAIL, parameters=PARAMETERS)
    said: list[str] = []

    def say(*words: str, status: int = 0) -> str:
        output, errors = machine.run(*words, status=status)
        said.append(output + errors)
        return errors

    with command_lines(machine) as lines:
        say("run", notebook, "-f", str(parameters), "--output", "out.ipynb", status=1)
        first = machine.the_run()["run_id"]
        assert {"api_key", "db_password"} <= set(say("rerun", first, status=2).split())
        say("sweep", notebook, "--grid", "lr=1,2", "-f", str(parameters), status=1)
        (sweep,) = (run["run_id"] for run in machine.runs() if run["kind"] == "sweep")
        assert {"api_key", "db_password"} <= set(say("sweep", "--resume", sweep, status=2).split())
        papermill = machine.start(
            "-m", "papermill", "--engine", "mlops", "work.ipynb", "pm.ipynb", "-f", str(parameters)
        )
        said += papermill.communicate(timeout=60)
        assert papermill.returncode == 1
        for url, status, part in (
            ("postgresql://ann:{}@127.0.0.1:1/d", 1, "127.0.0.1:1/d"),
            ("postgresql://127.0.0.1:1/d?password={}", 1, "127.0.0.1:1/d"),
            ("http://ann:{}@h/", 2, "MLOPS_TRACKING_TOKEN"),
        ):
            machine.environment["MLOPS_TRACKING_URL"] = url.format(secrets["database"])
            assert part in say("runs", "list", status=status)
            del machine.environment["MLOPS_TRACKING_URL"]
        for words in (
            ("runs", "show", first),
            ("runs", "show", first, "--json"),
            ("runs", "notebook", first),
            ("audit",),
        ):
            say(*words)
    assert len(lines) > 8
    for name, secret in secrets.items():
        assert secret not in "\n".join(said), name
        assert secret not in "\n".join(lines.values()), name
        search = ["grep", "-rlaF", secret, machine.home, machine.work, machine.tmp]
        assert subprocess.run(search, check=False, capture_output=True).stdout == b"", name
    shown = (machine.work / "out.ipynb").read_text()
    assert "refused [redacted]" in shown
    assert "[redacted]" in machine.run("runs", "show", first)[0]
