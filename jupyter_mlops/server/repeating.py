"""How a recorded run was begun, as the request that would begin it again: for a form that is filled with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from jupyter_mlops.core.errors import InvalidValue, NotFound
from jupyter_mlops.core.records import Json, Run, RunKind
from jupyter_mlops.execution.plan import SweepPlan, read_plan
from jupyter_mlops.recording.entities import NOTES_TAG
from jupyter_mlops.recording.repeat import place
from jupyter_mlops.server.operations import Intent
from jupyter_mlops.tracker.protocol import Tracker


def intent_of(tracker: Tracker, run: Run, path_of: Callable[[str], str | None]) -> Intent:
    """What ``run`` was begun with, without secrets, whose values are not recorded.

    Parameters
    ----------
    path_of
        Gives the path, in the file browser, of a file of this machine; None for one that is not shown there.

    Raises
    ------
    InvalidValue
        It is no run of a notebook, or a sweep without its plan.
    NotFound
        Its notebook is not among the server's files.
    """
    if run.kind not in (RunKind.NOTEBOOK, RunKind.SWEEP) or not run.source:
        raise InvalidValue(f"{run.name} is no run of a notebook file, which could be run again from here")
    path = path_of(run.source)
    if path is None:
        raise NotFound(f"the notebook of {run.name}, {run.source}, is not among the files of this server")
    experiment = tracker.experiments.get(run.experiment_id)
    notes = {tag.key: tag.value for tag in run.tags if tag.key == NOTES_TAG}
    intent = Intent(path=path, experiment=experiment.name, owner=experiment.owner, tags=notes)
    if run.kind is RunKind.SWEEP:
        return _swept(intent, read_plan(tracker, run))
    parameters: Mapping[str, Json] = {param.key: param.value for param in run.params if not param.redacted}
    kernel, _ = place(tracker, run)
    return msgspec.structs.replace(intent, parameters=parameters, kernel=kernel)


def _swept(intent: Intent, plan: SweepPlan) -> Intent:
    return msgspec.structs.replace(
        intent,
        parameters=plan.fixed,
        grid=plan.grid,
        sample=plan.sample,
        seed=plan.seed,
        stop=plan.stop,
        retries=plan.retries,
        budget=None if plan.budget is None else f"{plan.budget:.3f}".rstrip("0").rstrip(".") + "s",
        **_goal(plan),
        kernel=plan.kernel_name,
        execution_timeout=plan.execution_timeout,
    )


def _goal(plan: SweepPlan) -> dict[str, Any]:
    """What the runs are compared by."""
    if plan.trials is None:
        return {"metric": plan.metric, "maximize": plan.maximize}
    direction = "maximize" if plan.maximize else "minimize"
    return {"optimize": f"{direction}:{plan.metric}", "trials": plan.trials, "sampler": plan.sampler}
