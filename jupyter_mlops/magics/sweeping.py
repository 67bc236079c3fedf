"""``%mlops sweep``, with the options of ``jupyter mlops sweep`` that a notebook needs."""

from __future__ import annotations

from pathlib import Path

from jupyter_mlops.execution.engine import DEFAULT_ENGINE
from jupyter_mlops.execution.fluent import run_request
from jupyter_mlops.execution.request import SweepRequest
from jupyter_mlops.execution.sweep import Sweep
from jupyter_mlops.magics.words import Arguments, parameters, split
from jupyter_mlops.recording.source import read_source


def sweep(rest: str) -> Sweep:
    """Do the sweep that the rest of the line describes, and wait for it."""
    arguments = Arguments("sweep")
    arguments.add_argument("notebook", type=Path)
    arguments.add_argument("--grid", "-g", action="append", default=[], metavar="NAME=VALUES")
    arguments.add_argument("--sample", type=int)
    arguments.add_argument("--optimize")
    arguments.add_argument("--trials", type=int)
    arguments.add_argument("--sampler")
    arguments.add_argument("--seed", type=int)
    arguments.add_argument("--metric", "-m")
    arguments.add_argument("--maximize", action="store_const", const=True)
    arguments.add_argument("--minimize", action="store_const", const=False, dest="maximize")
    arguments.add_argument("--stop", action="append", default=[])
    arguments.add_argument("--budget")
    arguments.add_argument("--jobs", "-j", type=int)
    arguments.add_argument("--engine", default=DEFAULT_ENGINE)
    arguments.add_argument("--cluster")
    arguments.add_argument("--retries", type=int, default=0)
    arguments.add_argument("--experiment", "-e")
    arguments.add_argument("--name", "-n")
    _, others = parameters(split(rest))
    given = arguments.parse_words(others)
    values, _ = parameters(split(rest), read_source(given.notebook).declared)
    asked = SweepRequest(
        notebook=str(given.notebook.absolute()),
        cwd=str(given.notebook.absolute().parent),
        space=given.grid,
        sample=given.sample,
        optimize=given.optimize,
        trials=given.trials,
        sampler=given.sampler,
        seed=given.seed,
        metric=given.metric,
        maximize=given.maximize,
        stop=given.stop,
        retries=given.retries,
        budget=given.budget,
    )
    return run_request(
        asked,
        values,
        jobs=given.jobs,
        engine=given.engine,
        cluster=given.cluster,
        experiment=given.experiment,
        name=given.name,
        report=print,
    )
