"""Worker processes whose parent, template or store goes away at the wrong moment."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from jupyter_mlops.execution import local
from jupyter_mlops.execution.engine import NotebookTask
from jupyter_mlops.execution.fork.engine import ForkEngine, TemplateProcess, find_prefix
from jupyter_mlops.execution.fork.kernel import SOCKET, Template
from jupyter_mlops.execution.local import Workers, environment
from jupyter_mlops.execution.worker import find_template
from jupyter_mlops.recording.kernel import connection_folder
from jupyter_mlops.tracker.process import how_ended
from jupyter_mlops.tracker.protocol import Tracker
from tests.execution.test_fork_engine import Outcome, printed
from tests.ports import free_ports
from tests.waiting import DEADLINE, processes_with, until

linux = pytest.mark.skipif(sys.platform != "linux", reason="forking needs Linux")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (3, "exited with status 3"),
        (-signal.SIGKILL, "was killed by SIGKILL"),
        (-(signal.SIGRTMIN + 5), f"was killed by signal {signal.SIGRTMIN + 5}"),
    ],
)
def test_the_end_of_any_process_is_told(code: int, told: str) -> None:
    assert how_ended(code) == told


def test_a_worker_ends_with_a_parent_that_dies_in_the_middle_of_a_task() -> None:
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyter_mlops.execution.worker", str(writing)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[writing],
    )
    os.close(writing)
    try:
        printed, _ = process.communicate(b'{"run_id": "half of it', timeout=DEADLINE)
    finally:
        process.kill()
        process.wait()
        os.close(reading)
    assert printed == b""


def test_no_worker_is_left_when_the_store_is_away(
    notebook: Callable[..., Path], task: Callable[..., NotebookTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that do not end when they are asked to are killed, all of them."""
    monkeypatch.setattr(local, "CANCEL_SECONDS", 0.2)
    away = f"http://127.0.0.1:{free_ports(1)[0]}"
    with Workers(environment(2)) as workers:
        processes = []
        for _ in range(2):
            worker = workers.add()
            os.kill(worker.process.pid, signal.SIGSTOP)
            worker.start(msgspec.structs.replace(task(notebook("pass")), tracking_url=away))
            processes.append(worker.process)
    assert [process.returncode for process in processes] == [-signal.SIGKILL] * 2


@linux
def test_a_template_that_ends_before_it_has_told_is_none(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="mlops-") as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(Path(folder) / SOCKET))
        listener.listen()
        code = (
            "import sys; from pathlib import Path; from jupyter_mlops.execution.worker import find_template; "
            "print(find_template(Path(sys.argv[1])))"
        )
        asking = subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True)
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
        output, _ = asking.communicate(timeout=DEADLINE)
    assert (asking.returncode, output) == (0, "None\n")


LIMITED = """
import os
left = [getattr(os, "fo" "rk")]
def limited():
    if not left:
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return left.pop()()
setattr(os, "fo" "rk", limited)
"""
MEET = """
import time
from pathlib import Path
if waits:
    while not Path("met").exists():
        time.sleep(0.02)
else:
    Path("met").touch()
print("over")
"""


@linux
@pytest.mark.slow
def test_a_point_that_cannot_be_forked_disturbs_no_other(
    tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask]
) -> None:
    """The machine has room for one process more."""
    path = notebook(LIMITED, MEET, parameters="waits = False")
    tasks = [task(path, swept=("waits",), waits=waits) for waits in (True, False)]
    outcome = Outcome(ForkEngine().run(tasks, jobs=2))
    assert outcome.remarks[0].startswith("3 cells are executed once")
    assert [outcome.ended[item.run_id].status.value for item in tasks] == ["FINISHED"] * 2
    assert [printed(tracker, item.run_id) for item in tasks] == ["over\n"] * 2


@pytest.fixture
def template(
    notebook: Callable[..., Path], task: Callable[..., NotebookTask]
) -> Iterator[tuple[Path, int, NotebookTask]]:
    """A template's folder and process, and a task that goes on from it."""
    item = task(notebook("data = 1", "print(x)", parameters="x = 0"), swept=("x",), x=1)
    with tempfile.TemporaryDirectory(prefix="mlops-fork-") as folder, TemplateProcess(Path(folder)) as process:
        process.start(item, find_prefix(item), environment(1))
        process.await_ready()
        yield Path(folder), Template(Path(folder)).about.template, item


CHILDREN = """
import signal, subprocess, sys
from jupyter_mlops.execution.fork.safety import children, has_children
assert not has_children()
for number in (signal.SIG_DFL, signal.SIG_IGN):
    signal.signal(signal.SIGCHLD, number)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert has_children() and children() == [process.pid]
    process.communicate(b"over")
    assert not has_children() and children() == []
"""


@linux
def test_whether_there_are_children_is_known() -> None:
    command = [sys.executable, "-c", CHILDREN]
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr


def started(template: Template, item: NotebookTask, folder: Path) -> Any:
    """A kernel that was forked for the task."""
    return template.starter(item)(
        "python3", cwd=folder, environment={}, run_id=item.run_id, log=folder / "log", companions=()
    )


@linux
@pytest.mark.slow
@pytest.mark.parametrize("cut", [False, True])
def test_what_is_printed_is_told_while_the_cell_goes_on(
    template: tuple[Path, int, NotebookTask], tmp_path: Path, cut: bool
) -> None:
    """Also what is written to the descriptor, of which a character may come in two parts."""
    folder, _, item = template
    kernel = started(Template(folder), item, tmp_path)
    go = tmp_path / "go"
    said = f"import os\nn = os.write(1, {chr(0x20AC).encode()[:2]!r})" if cut else "print('now')"
    rest = f"n = os.write(1, {chr(0x20AC).encode()[2:]!r})\n" if cut else ""
    wait = f"import time\nfrom pathlib import Path\nwhile not Path({str(go)!r}).exists():\n    time.sleep(0.02)\n"

    async def heard() -> None:
        client = kernel.client()
        request = client.execute(f"{said}\n{rest}{wait}")
        while (message := await client.iopub_channel.get_msg(timeout=DEADLINE))["msg_type"] != "stream":
            assert message["parent_header"]["msg_id"] == request
        assert message["content"] == {"name": "stdout", "text": "\N{EURO SIGN}" if cut else "now\n"}
        go.touch()
        reply = await client.shell_channel.get_msg(timeout=DEADLINE)
        assert (reply["content"]["status"], reply["parent_header"]["msg_id"]) == ("ok", request)

    try:
        asyncio.run(heard())
        kernel.ask_to_end(kernel.client(), idle=True)
        assert kernel.process.wait(DEADLINE) == 0
    finally:
        kernel.kill()
        kernel.end()
    assert isinstance(json.loads(kernel.modules), list)
    assert processes_with(item.run_id) == []


@linux
@pytest.mark.slow
def test_a_child_and_who_asked_for_it_may_end_at_once(template: tuple[Path, int, NotebookTask], tmp_path: Path) -> None:
    folder, pid, item = template
    known = Template(folder)
    sockets = lambda: sum(each.fd >= 0 for each in psutil.Process(pid).net_connections("unix"))  # noqa: E731
    kernel = started(known, item, tmp_path)
    try:
        before = sockets()
        with socket.socket(socket.AF_UNIX) as silent:
            # While it waits for what this one asks, it does nothing else.
            silent.connect(str(folder / SOCKET))
            until(lambda: sockets() > before, "the template's waiting")
            os.kill(kernel.pid, signal.SIGKILL)
            until(lambda: psutil.Process(kernel.pid).status() == psutil.STATUS_ZOMBIE, "the end of the child")
            kernel.process._connection.close()
        until(lambda: sockets() < before, "the template's taking note of it")
        assert find_template(folder) is not None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(kernel.pid, signal.SIGKILL)
        kernel._clean_up()
        assert processes_with(item.run_id) == []
        assert not connection_folder(item.run_id).exists()
