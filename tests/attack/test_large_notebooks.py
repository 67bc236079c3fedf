"""A notebook of 100,000 cells, and 100 MB of outputs: run, submitted, and never several times that in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from machines import Machine
from test_chaos_notebooks import greatest_until_the_end

from tests.server.jupyter import JupyterServer
from tests.waiting import until

pytestmark = pytest.mark.slow

CELLS, OUTPUTS, OUTPUT = 100_000, 100, 1_000_000
SECONDS = 200.0
"""For so many cells; a quiet machine takes a sixth of it."""
SHOWING = f"for _ in range(25): display({{'text/html': 'x' * {OUTPUT}}}, raw=True)"


def large(path: Path) -> Path:
    """A notebook that shows 100 MB as it is saved, and says that it is done before its many cells."""
    saved = {"output_type": "stream", "name": "stdout", "text": "y" * OUTPUT}

    def code(number: int, source: str, outputs: list[Any]) -> dict[str, Any]:
        cell = {"cell_type": "code", "id": f"c{number}", "metadata": {}, "source": source}
        return cell | {"outputs": outputs, "execution_count": None}

    cells = [code(0, "print('here')\nimport sys\nsys.exit()", [])]
    cells += [code(number, "1 / 0", [saved]) for number in range(1, OUTPUTS + 1)]
    cells += [code(number, f"x = {number}", []) for number in range(OUTPUTS + 1, CELLS)]
    kernel = {"name": "python3", "display_name": "Python", "language": "python"}
    path.write_text(
        json.dumps({"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5})
    )
    return path


def test_much_is_shown(machine: Machine) -> None:
    runner = machine.mlops("run", machine.notebook(*[SHOWING] * 4, "print('at the end')", "1 / 0"))
    assert greatest_until_the_end(runner) < 400_000_000
    assert machine.the_run()["status"] == "FAILED", runner.communicate()
    content = machine.artifact("notebook/executed.ipynb")
    assert 50_000_000 < len(content) < 70_000_000
    cells = [cell["outputs"] for cell in json.loads(content)["cells"]]
    assert [len(outputs) for outputs in cells] == [25, 25, 14, 1, 1, 1]
    for outputs in cells[2:4]:
        assert "put out more than 64,000,000 characters" in "".join(outputs[-1]["text"])
    assert cells[-1][0]["ename"] == "ZeroDivisionError"


def test_many_cells_and_saved_outputs_are_run(machine: Machine) -> None:
    path = large(machine.work / "large.ipynb")
    with (machine.root / "said").open("w") as said:
        runner = machine.mlops("run", str(path), stdout=said, stderr=said)
        assert greatest_until_the_end(runner, SECONDS) < 800_000_000
    assert runner.returncode == 0
    assert machine.the_run()["status"] == "FINISHED"
    content = machine.artifact("notebook/executed.ipynb")
    assert len(content) < 60_000_000
    assert len(json.loads(content)["cells"]) == CELLS
    assert machine.artifact("notebook/source.ipynb") == path.read_bytes()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[JupyterServer]:
    running = JupyterServer(tmp_path)
    running.start()
    yield running
    running.end()


def test_many_cells_and_saved_outputs_are_submitted(server: JupyterServer) -> None:
    large(server.work / "large.ipynb")
    with (server.work / "larger.ipynb").open("wb") as file:
        file.truncate((128 << 20) + 1)
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss

    def ask(method: str, path: str, status: int, body: Any = None) -> Any:
        answer = server.ask(method, f"mlops/server/v1/{path}", body)
        assert answer.status == status, answer.content
        return answer.json

    refused = ask("POST", "runs", 400, {"path": "larger.ipynb"})
    assert "134,217,729 bytes" in refused["message"]
    run_id = ask("POST", "runs", 200, {"path": "large.ipynb"})["run_id"]
    found = until(
        lambda: (job := ask("GET", f"jobs/{run_id}", 200)).get("ended") and job, "the end of the run", SECONDS
    )
    assert found["status"] == "FINISHED"
    peak = next(
        int(line.split()[1]) << 10
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    assert peak - before < 500_000_000
