"""Notebooks that do what notebooks should not: the runner survives, its memory is bounded, the record is true."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from machines import Machine

from tests.waiting import DEADLINE, until

pytestmark = pytest.mark.slow

SPOOL = (
    "import os, pathlib, shutil\nimport jupyter_mlops as mlops\nspool = pathlib.Path(os.environ['MLOPS_SPOOL_DIR'])\n"
)
POISON = """
import time
import msgspec
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.tracker import spoolfile as format
from jupyter_mlops.tracker.process import this_runner

victim = pathlib.Path("victim")
victim.write_text("not to be removed")

def poison(*payloads, header=None, stream=None):
    stream = stream or new_id()
    header = header or msgspec.msgpack.encode(format.Header(1, stream, "", time.time_ns(), "", this_runner()))
    content = format.MAGIC + b"".join(map(format.frame, (header, *payloads)))
    pathlib.Path(spool, stream + ".spool").write_bytes(content)

run_id = os.environ["MLOPS_RUN_ID"]
poison(b"\\x91" * 100_000 + b"\\xc0", b"\\x81\\xa4type\\x91", b"\\xc1")
for header in b"\\xc0", b"\\x91" * 100_000, b"\\xff", msgspec.msgpack.encode({"version": "one"}), b"\\x80":
    poison(header=header)
names = "", "..", str(victim.absolute())
poison(*(msgspec.msgpack.encode(format.PutArtifact(run_id, "stolen", name)) for name in names))
poison(msgspec.msgpack.encode({"type": "log", "run_id": run_id, "batch": {"metrics": [["a", 1.0, -5, 2**64 - 1]]}}))
poison(msgspec.msgpack.encode(format.Log("0" * 32, format.Batch())))
for file in list(spool.glob("*.spool")):
    with file.open("ab") as end:
        end.write(os.urandom(1000))
os.mkfifo(spool / "pipe.spool")
(spool / "folder.spool").mkdir()
(spool / "link.spool").symlink_to("/dev/zero")
"""
HOSTILE_OUTPUTS = """
from IPython.display import display
MIME = "application/vnd.jupyter-mlops.log+json"
for payload in (
    1, None, "text", [], {"metrics": 1}, {"metrics": {"a": {}}}, {"metrics": {"a": [{"value": 1, "step": 2**70}]}},
    {"metrics": {"a": 10**400}}, {"metrics": {"": 1}}, {"metrics": {"a\\0": 1}}, {"params": {"p": "x" * 100_000}},
    {"params": {"p\\0": 1}}, {"tags": {"t": {"a": 1}}}, {"artifacts": {"../up": {"text": "x"}}},
    {"artifacts": {"/root": {"text": "x"}}}, {"artifacts": {"a": {"text": 5}}}, {"artifacts": {"a": {"text": [1]}}},
    {"artifacts": {"a": {"base64": "%"}}}, {"artifacts": {"a": {"base64": 5}}}, {"artifacts": {"a": {"file": "\\0"}}},
    {"artifacts": {"a": {"file": "x" * 5000}}}, {"artifacts": {"a": {"file": "/dev/zero"}}}, {"other": {}},
):
    display({MIME: payload}, raw=True)
scrap = "application/scrapbook.scrap.json+json"
display({scrap: {"name": "../../up", "data": [1]}}, raw=True)
display({"text/plain": "x"}, metadata={"scrapbook": 5}, raw=True)
display({MIME: {"metrics": {"good": 1}, "artifacts": {"good.txt": {"text": ["a", "b"]}}}}, raw=True)
"""


@pytest.fixture
def busy() -> Iterator[int]:
    """A processor that others keep busy."""
    place = min(os.sched_getaffinity(0))
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    for loop in loops:
        psutil.Process(loop.pid).cpu_affinity([place])
    yield place
    for loop in loops:
        loop.kill()
        loop.wait()


def metrics(run: dict[str, Any]) -> dict[str, float]:
    return {metric["key"]: metric["value"] for metric in run["metrics"] if not metric["key"].startswith("system")}


@pytest.mark.parametrize("what", ["spool", "spool.parent"])
def test_a_notebook_that_removes_its_spool(machine: Machine, what: str) -> None:
    # At once: file by file, others would come meanwhile.
    remove = f"gone = {what}.rename(pathlib.Path.cwd() / 'gone')\nshutil.rmtree(gone)"
    machine.run("run", machine.notebook(SPOOL, remove, "print('at the end')"))
    run = machine.the_run()
    assert run["status"] == "FINISHED"
    assert "at the end" in machine.run("runs", "notebook", run["run_id"])[0]
    machine.assert_clean()


def test_a_notebook_that_poisons_its_spool(machine: Machine) -> None:
    machine.run("run", machine.notebook("1", name="innocent"))
    notebook = machine.notebook(SPOOL + "mlops.log_metric('before', 1)", POISON, "mlops.log_metric('after', 2)")
    _, told = machine.run("run", notebook, status=None)
    innocent, run = machine.runs()
    assert innocent["status"] == "FINISHED"
    assert run["status"] == "FINISHED", told
    assert metrics(run)["before"] == 1
    assert (machine.work / "victim").read_text() == "not to be removed"
    machine.run("run", machine.notebook("1", name="next"))
    assert not machine.processes()


def test_outputs_that_log_nonsense(machine: Machine) -> None:
    machine.run("run", machine.notebook(HOSTILE_OUTPUTS, "1"))
    run = machine.the_run()
    assert (run["status"], metrics(run)) == ("FINISHED", {"good": 1.0})
    assert {"good.txt"} == {file["path"] for file in machine.json("artifacts", "list", run["run_id"])} - {
        "environment",
        "notebook",
        "scraps",
    }


def test_outputs_without_end(machine: Machine) -> None:
    """Much printed, a display updated in a loop, a large picture carried through many cells."""
    printing = "for _ in range(1500):\n    print('x' * 100_000)"
    updating = (
        "from IPython.display import display\nshown = display({'text/plain': '0'}, raw=True, display_id=True)\n"
        "for number in range(5001):\n    shown.update({'text/plain': str(number)}, raw=True)"
    )
    picture = "import base64, os\ndisplay({'image/png': base64.b64encode(os.urandom(15_000_000)).decode()}, raw=True)"
    runner = machine.mlops("run", machine.notebook(printing, updating, picture, *["1"] * 20))
    assert greatest_until_the_end(runner) < 1_000_000_000
    assert (runner.returncode, machine.the_run()["status"]) == (0, "FINISHED"), runner.communicate()
    executed = json.loads(machine.artifact("notebook/executed.ipynb"))
    (shown,) = (output for output in executed["cells"][1]["outputs"] if output["output_type"] == "display_data")
    assert "".join(shown["data"]["text/plain"]) == "5000"
    assert "was left out" in "".join(executed["cells"][0]["outputs"][-1]["text"])


def test_printing_faster_than_it_can_be_recorded(machine: Machine, busy: int) -> None:
    flood = "for _ in range(800):\n    print('x' * 1_000_000, flush=True)"
    runner = machine.mlops("run", machine.notebook(flood, "print('at the end')"))
    psutil.Process(runner.pid).cpu_affinity([busy])
    assert greatest_until_the_end(runner) < 500_000_000
    assert (runner.returncode, machine.the_run()["status"]) == (0, "FINISHED"), runner.communicate()
    first, second = json.loads(machine.artifact("notebook/executed.ipynb"))["cells"]
    text = "".join("".join(output["text"]) for output in first["outputs"])
    assert text.count("x") <= 32_000_000
    assert "left out]" in text
    assert "at the end" in "".join(second["outputs"][0]["text"])


def test_a_notebook_that_changes_the_session(machine: Machine) -> None:
    """How texts are shown, the variables of the run, the source file, forked children, closed outputs."""
    source = machine.notebook(
        SPOOL + "mlops.log_metric('a', 0)\n"
        "get_ipython().display_formatter.formatters['text/plain'].for_type(str, lambda s, p, c: p.text('x'))",
        "for name in [name for name in os.environ if name.startswith('MLOPS_')]:\n    os.environ[name] = 'bogus'\n"
        "mlops.log_metric('a', 1, step=1)",
        "child = os.fork()\nif not child:\n    mlops.log_metric('child', 1)\n    os._exit(0)\nos.waitpid(child, 0)",
        "pathlib.Path('work.ipynb').write_text('{}')\nos.close(1)\nos.close(2)",
        "mlops.log_metric('b', 2)",
    )
    machine.run("run", source)
    run = machine.the_run()
    assert (run["status"], metrics(run)) == ("FINISHED", {"a": 1.0, "child": 1.0, "b": 2.0})
    assert json.loads(machine.artifact("notebook/source.ipynb"))["cells"]
    machine.assert_clean()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("/nonexistent/kernel", "{connection_file}"), "cannot be started"),
        (("/bin/sh", "-c", "echo last words >&2; exit 7"), "the kernel died with exit code 7"),
    ],
)
def test_a_kernel_that_does_not_start(machine: Machine, command: tuple[str, ...], message: str) -> None:
    machine.kernel("broken", *command)
    output, errors = machine.run("run", machine.notebook("1", kernel="broken"), status=None)
    assert message in output + errors
    assert {run["status"] for run in machine.runs()} <= {"FAILED"}
    machine.assert_clean()


def test_a_kernel_that_runs_out_of_memory(machine: Machine) -> None:
    hog = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\nx = [bytes(1 << 28)] * 2\n"
    machine.run("run", machine.notebook(hog + "x = [bytearray(1 << 28) for _ in range(100)]"), status=1)
    assert machine.the_run()["reason"]["kind"] == "out of memory"
    machine.assert_clean()


def greatest_until_the_end(process: subprocess.Popen[str], seconds: float = DEADLINE) -> int:
    """Wait for the end of a process; how many bytes of memory it had at the most."""
    greatest = 0

    def ended() -> bool:
        nonlocal greatest
        greatest = max(greatest, resident(process.pid))
        return process.poll() is not None

    until(ended, "the end", seconds)
    return greatest


def resident(pid: int) -> int:
    """Bytes of memory that a process has; 0 when it is gone."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
