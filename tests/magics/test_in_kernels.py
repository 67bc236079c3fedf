"""The magics in real kernels: what a front end sees, and how the notebook is found."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel

pytestmark = pytest.mark.slow

DEADLINE = 60.0


class Kernel:
    def __init__(self, client: Any) -> None:
        self.client = client

    def run(self, source: str, cell_id: str | None = None) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
        """The reply to executing a cell, and its outputs as (type, content)."""
        content = {"code": source, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        message = self.client.session.msg("execute_request", content, metadata={"cellId": cell_id} if cell_id else {})
        self.client.shell_channel.send(message)
        outputs = []
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            try:
                found = self.client.get_iopub_msg(timeout=1)
            except Empty:
                continue
            if found["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                continue
            if found["msg_type"] == "status" and found["content"]["execution_state"] == "idle":
                break
            if found["msg_type"] not in ("status", "execute_input"):
                outputs.append((found["msg_type"], found["content"]))
        return self.reply_to(message["header"]["msg_id"]), outputs

    def reply_to(self, message_id: str) -> dict[str, Any]:
        """A slow start leaves answers to other questions before it."""
        while True:
            found = self.client.get_shell_msg(timeout=DEADLINE)
            if found["parent_header"].get("msg_id") == message_id:
                return found["content"]


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    environ = {**os.environ, "MLOPS_HOME": str(tmp_path / "home"), "IPYTHONDIR": str(tmp_path / "ipython")}
    environ.pop("JPY_SESSION_NAME", None)
    manager, client = start_new_kernel(env=environ, cwd=str(tmp_path))
    try:
        yield Kernel(client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def printed(outputs: list[tuple[str, dict[str, Any]]]) -> str:
    return "".join(content["text"] for kind, content in outputs if kind == "stream")


def test_a_front_end_sees_what_it_always_saw(kernel: Kernel) -> None:
    assert kernel.run("%load_ext jupyter_mlops")[0]["status"] == "ok"
    cell = (
        "%%mlops run first -p lr 0.1\nfrom IPython.display import HTML, display\n"
        "print('training')\ndisplay(HTML('<i>x</i>'))\n%mlops log score=lr\nlr"
    )
    reply, outputs = kernel.run(cell)
    assert reply["status"] == "ok"
    assert [kind for kind, _ in outputs] == ["stream", "display_data", "stream", "execute_result", "stream"]
    assert outputs[4][1]["text"] == "run first: finished\n"
    assert outputs[3][1]["data"] == {"text/plain": "0.1"}
    assert outputs[3][1]["execution_count"] == reply["execution_count"] == 2

    reply, outputs = kernel.run("%%mlops run second\nlr = 1\nundefined")
    assert (reply["status"], reply["ename"]) == ("error", "NameError")
    assert [kind for kind, _ in outputs] == ["stream", "error"]

    reply, outputs = kernel.run("%mlops compare first nobody")
    assert (reply["status"], reply["ename"]) == ("error", "UsageError")
    assert printed(outputs).startswith("UsageError: no run is called 'nobody'")

    _, outputs = kernel.run("%mlops runs")
    assert "<table>" in outputs[0][1]["data"]["text/html"]
    _, outputs = kernel.run(
        "from jupyter_mlops.recording.session import current\n"
        "run = current().reader().runs.resolve('first')\n"
        "cells = __import__('json').loads(b''.join("
        "current().reader().artifacts.open(run.run_id, 'notebook/executed.ipynb')))['cells']\n"
        "print([output['output_type'] for output in cells[-1]['outputs']])"
    )
    assert printed(outputs) == "['stream', 'display_data', 'stream', 'execute_result']\n"


def test_figures_are_kept(kernel: Kernel) -> None:
    pytest.importorskip("matplotlib")
    kernel.run("%load_ext jupyter_mlops\n%matplotlib inline")
    reply, outputs = kernel.run("%%mlops run plot\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);")
    assert reply["status"] == "ok"
    assert [kind for kind, content in outputs if "image/png" in content.get("data", {})] == ["display_data"]
    _, outputs = kernel.run(
        "from jupyter_mlops.recording.session import current\n"
        "run = current().reader().runs.resolve('plot')\n"
        "print('image/png' in b''.join("
        "current().reader().artifacts.open(run.run_id, 'notebook/executed.ipynb')).decode())"
    )
    assert printed(outputs) == "True\n"


def test_tab_completes(kernel: Kernel) -> None:
    kernel.run("%load_ext jupyter_mlops")
    reply = kernel.reply_to(kernel.client.complete("%mlops reg", 10))
    assert reply["matches"] == ["register"]


class Server:
    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url, token

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"token {self.token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=DEADLINE) as reply:
            content = reply.read()
        return json.loads(content) if content else None


def until(answer: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        found = answer()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A real Jupyter server on a free port, with its files and its runtime folder below ``tmp_path``."""
    runtime, root, token = tmp_path / "runtime", tmp_path / "root", secrets.token_hex(16)
    root.mkdir()
    environ = {
        **os.environ,
        "JUPYTER_RUNTIME_DIR": str(runtime),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "MLOPS_HOME": str(tmp_path / "home"),
    }
    command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--port=0"]
    options = [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}", "--ServerApp.ip=127.0.0.1"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*command, *options], env=environ, stdout=log, stderr=log)
    try:
        info = until(lambda: next(iter(runtime.glob("jpserver-*.json")), None) if runtime.exists() else None)
        about = until(lambda: json.loads(info.read_text() or "null"))
        # It tells where it is before it listens there.
        until(lambda: listens(about["port"]))
        yield Server(about["url"], token)
    finally:
        process.terminate()
        process.wait(DEADLINE)


def test_the_server_says_which_notebook_it_is(server: Server, tmp_path: Path) -> None:
    """Also after a rename, which the environment variable does not follow."""
    path = tmp_path / "root" / "before.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("rate = 2", id="a")]), path)
    body = {"path": "before.ipynb", "name": "", "type": "notebook", "kernel": {"name": "python3"}}
    session = server.ask("POST", "api/sessions", body)
    path.rename(tmp_path / "root" / "after.ipynb")
    server.ask("PATCH", f"api/sessions/{session['id']}", {"path": "after.ipynb"})

    from jupyter_client.blocking.client import BlockingKernelClient

    client = BlockingKernelClient(connection_file=str(tmp_path / "runtime" / f"kernel-{session['kernel']['id']}.json"))
    client.load_connection_file()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=DEADLINE)
        kernel = Kernel(client)
        kernel.run("%load_ext jupyter_mlops")
        kernel.run("rate = 1", "a")
        os.utime(tmp_path / "root" / "after.ipynb", (4e9, 4e9))
        kernel.run("%%mlops run first\nrate * 2", "r")
        _, outputs = kernel.run(
            "from jupyter_mlops.recording.session import current\n"
            "run = current().reader().runs.resolve('first')\nprint(run.source, run.hidden_state, sep='|')"
        )
        # Whatever the server called it when it started the kernel.
        kernel.run("import os\nos.environ['JPY_SESSION_NAME'] = 'before.ipynb'")
        _, begun = kernel.run(
            "import jupyter_mlops as mlops\nwith mlops.start_run(run_name='second'):\n    pass\n"
            "print(current().reader().runs.resolve('second').source)"
        )
    finally:
        client.stop_channels()
    source, _, hidden = printed(outputs).strip().partition("|")
    assert source == str(tmp_path / "root" / "after.ipynb")
    assert printed(begun).strip() == source
    assert hidden == "may not be reproducible: In [2] edited since (rate)"
