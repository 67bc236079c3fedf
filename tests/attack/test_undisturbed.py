"""What recording must leave as it is in a kernel: random numbers, warnings, logging, signals, plots, the end."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from machines import Machine

from tests.waiting import until

pytestmark = pytest.mark.slow

STATE = """
import atexit, json, logging, random, signal, sys, threading, warnings
def state():
    import numpy
    return {
        "random": random.random(), "numpy": numpy.random.rand(),
        "filters": [str(entry) for entry in warnings.filters],
        "showwarning": str(warnings.showwarning.__name__), "excepthook": str(sys.excepthook.__name__),
        "handlers": [str(handler) for handler in logging.getLogger().handlers],
        "level": logging.getLogger().level, "disabled": logging.root.manager.disable,
        "signals": {number.name: str(signal.getsignal(number)).split(" at ")[0] for number in signal.valid_signals()
                    if isinstance(number, signal.Signals)},
        "backend": sys.modules["matplotlib"].get_backend() if "matplotlib" in sys.modules else None,
        "profiled": (sys.gettrace(), sys.getprofile(), threading.gettrace()),
    }
import numpy
random.seed(7); numpy.random.seed(7)
before = state()
random.seed(7); numpy.random.seed(7)
"""
COMPARE = (
    "after = state()\ndifferent = {key for key in before if before[key] != after[key]}\nassert not different, different"
)
USE = """
import jupyter_mlops as mlops
mlops.autolog()
mlops.log_metric("a", 1)
mlops.log_param("p", 1)
mlops.log_text("text", "a.txt")
"""
LOG_ON = """
import pathlib
import jupyter_mlops as mlops
step = 0
try:
    while True:
        mlops.log_metric("a", step, step=step)
        step += 1
        if step == 1000:
            pathlib.Path("ready").touch()
except KeyboardInterrupt:
    print("interrupted")
"""


def test_the_state_of_a_kernel_is_left_alone(machine: Machine) -> None:
    machine.run("run", machine.notebook(STATE, USE, COMPARE))


def test_random_numbers_are_those_without_us(machine: Machine) -> None:
    draw = (
        "import json, random, numpy\n"
        "print(json.dumps([random.random() for _ in range(5)] + list(numpy.random.rand(5))))"
    )
    train = (
        "from sklearn.ensemble import RandomForestClassifier\nfrom sklearn.datasets import load_iris\n"
        "import numpy\nnumpy.random.seed(3)\nx, y = load_iris(return_X_y=True)\n"
        "print(json.dumps(RandomForestClassifier(5).fit(x, y).predict_proba(x[:60:7]).tolist()))"
    )
    seed = "import random, numpy\nrandom.seed(3)\nnumpy.random.seed(3)"
    plain = machine.notebook(seed, "pass", draw, train, name="plain")
    machine.start("-m", "papermill", plain, "out.ipynb").communicate(timeout=60)
    machine.run("run", machine.notebook(seed, USE, draw, train))
    ours = json.loads(machine.artifact("notebook/executed.ipynb"))
    theirs = json.loads((machine.work / "out.ipynb").read_text())
    assert len(printed(theirs)) == 2
    assert printed(ours) == printed(theirs)


def test_sigint_interrupts_a_cell_that_logs(machine: Machine) -> None:
    pid = "import os, pathlib\npathlib.Path('pid').write_text(str(os.getpid()))"
    runner = machine.mlops("run", machine.notebook(pid, LOG_ON, "mlops.log_param('steps', step)"))
    until((machine.work / "ready").exists, "the points")
    (kernel,) = (each for each in machine.processes() if str(each.pid) == (machine.work / "pid").read_text())
    kernel.send_signal(signal.SIGINT)
    assert runner.wait(60) == 0, runner.communicate()
    run = machine.the_run()
    (steps,) = (int(param["text"]) for param in run["params"])
    # The call that was interrupted may have been made.
    points = machine.points(run["run_id"], "a")
    assert len(points) - steps in (0, 1)
    assert points == [(step, float(step)) for step in range(len(points))]
    machine.assert_clean()


def test_what_a_script_does_at_its_end_comes_before_ours(machine: Machine) -> None:
    script = machine.work / "script.py"
    script.write_text(
        "import atexit, jupyter_mlops as mlops\nrun = mlops.start_run()\n"
        "atexit.register(lambda: mlops.log_metric('last', 1))\nmlops.log_metric('first', 1)\n"
    )
    process = machine.start(script)
    assert process.communicate(timeout=60) == ("", "")
    run = machine.the_run()
    assert run["status"] == "FINISHED"
    assert {metric["key"] for metric in run["metrics"]} == {"first", "last"}


def printed(notebook: dict[str, Any]) -> list[str]:
    return [
        "".join(output["text"])
        for cell in notebook["cells"]
        for output in cell["outputs"]
        if output["output_type"] == "stream"
    ]
