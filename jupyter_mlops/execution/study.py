"""A search for the best point of a space: Optuna proposes points, and hears how their runs ended.

The runs are the record. A study that goes on is made again of them: what they were given, what came of it and, when a
pruner compares them, their metric's history. For Optuna's own tools it is also stored beside the sweep when the sweep
ends, as ``study.log``, a journal.
"""

from __future__ import annotations

import json
import logging
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_mlops.core.records import Json, MetricPoint, ReasonKind, Run, RunStatus
from jupyter_mlops.core.spaces import Axis, Interval, Point
from jupyter_mlops.execution.plan import SweepPlan, was_stopped

with warnings.catch_warnings():
    # Optuna's progress bar looks for widgets; here it has none.
    warnings.filterwarnings("ignore", message="IProgress not found")
    import optuna
    from optuna.storages.journal import JournalFileBackend

STUDY = "study.log"
"""Where a sweep's artifacts have Optuna's journal of it."""
STUDY_NAME = "sweep"

_SAMPLERS = {
    "tpe": "TPESampler",
    "gp": "GPSampler",
    "cmaes": "CmaEsSampler",
    "qmc": "QMCSampler",
    "random": "RandomSampler",
}
_PRUNERS = {"median": "MedianPruner", "halving": "SuccessiveHalvingPruner", "hyperband": "HyperbandPruner"}

Histories = Mapping[str, Sequence[MetricPoint]]


class Study:
    """The search that a plan describes.

    Parameters
    ----------
    plan
        Of a sweep that searches.
    pruner
        One of :data:`jupyter_mlops.core.rules.PRUNERS`; None when runs are not compared while they go on.
    past
        Earlier runs of the sweep that have ended, in their order, with the points of their metric.
    """

    def __init__(
        self, plan: SweepPlan, *, pruner: str | None = None, past: Iterable[tuple[Run, Sequence[MetricPoint]]] = ()
    ) -> None:
        self._plan = plan
        self._choices = {
            axis.name: _Choices(axis.values) for axis in plan.space if not isinstance(axis.values, Interval)
        }
        self._distributions = {axis.name: self._distribution(axis) for axis in plan.space}
        self._trials: dict[str, optuna.Trial] = {}
        self._last_steps: dict[str, int] = {}
        trials = [trial for run, history in past for trial in self._recorded(run, history)]
        # The same seed again would propose the same points again.
        seed = None if plan.seed is None else plan.seed + len(trials)
        with _quiet():
            self._study = optuna.create_study(
                study_name=STUDY_NAME,
                direction="maximize" if plan.maximize else "minimize",
                sampler=self._sampler(plan.sampler, seed),
                pruner=self._pruner(pruner),
            )
            self._study.add_trials(trials)

    def ask(self, run_id: str) -> Point:
        """The point that the run is to try next."""
        with _quiet():
            trial = self._study.ask(self._distributions)
        trial.set_user_attr("run_id", run_id)
        self._trials[run_id] = trial
        return {name: self._value(name, value) for name, value in trial.params.items()}

    def report(self, run_id: str, points: Sequence[MetricPoint]) -> None:
        """Note later points of the metric in a run."""
        trial = self._trials[run_id]
        for point in points:
            if point.step > self._last_steps.get(run_id, -1):
                trial.report(point.value, point.step)
                self._last_steps[run_id] = point.step

    def last_step(self, run_id: str) -> int:
        """The step of the last point that was noted; -1 before the first."""
        return self._last_steps.get(run_id, -1)

    def is_hopeless(self, run_id: str) -> bool:
        """Whether the pruner would end the run, by what was reported."""
        with _quiet():
            return bool(self._trials[run_id].should_prune())

    def tell(self, run: Run) -> None:
        """Note how a run ended."""
        trial = self._trials.pop(run.run_id)
        state, value = self._outcome(run)
        with _quiet():
            self._study.tell(trial, value, state=state)

    def save(self, path: Path) -> None:
        """Write the trials that have ended to a file that ``JournalStorage(JournalFileBackend(path))`` opens."""
        backend = JournalFileBackend(str(path))
        with _quiet():
            optuna.create_study(
                study_name=STUDY_NAME,
                storage=optuna.storages.JournalStorage(backend),
                direction=self._study.direction,
            ).add_trials([trial for trial in self._study.get_trials(deepcopy=False) if trial.state.is_finished()])

    def _recorded(self, run: Run, history: Sequence[MetricPoint]) -> Iterator[optuna.trial.FrozenTrial]:
        """What an earlier run was for the study; nothing when it was cancelled or has parameters outside the space."""
        if not run.status.ended or (run.reason is not None and run.reason.kind in _UNDECIDED):
            return
        given = {param.key: param.value for param in run.params}
        if not all(axis.name in given and axis.has(given[axis.name]) for axis in self._plan.space):
            return
        params = {axis.name: self._key(axis.name, given[axis.name]) for axis in self._plan.space}
        state, value = self._outcome(run)
        reported: dict[int, float] = {}
        for point in history:
            reported.setdefault(point.step, point.value)
        yield optuna.trial.create_trial(
            state=state,
            value=value,
            params=params,
            distributions=self._distributions,
            user_attrs={"run_id": run.run_id},
            intermediate_values=reported,
        )

    def _outcome(self, run: Run) -> tuple[optuna.trial.TrialState, float | None]:
        states = optuna.trial.TrialState
        value = next((metric.value for metric in run.metrics if metric.key == self._plan.metric), math.nan)
        if run.status is RunStatus.FINISHED and not math.isnan(value):
            return states.COMPLETE, value
        if was_stopped(run):
            return states.PRUNED, None
        return states.FAIL, None

    def _distribution(self, axis: Axis) -> optuna.distributions.BaseDistribution:
        distributions, values = optuna.distributions, axis.values
        if not isinstance(values, Interval):
            return distributions.CategoricalDistribution(tuple(self._choices[axis.name].keys.values()))
        if values.step is not None:
            return distributions.IntDistribution(int(values.low), int(values.high), step=values.step)
        return distributions.FloatDistribution(values.low, values.high, log=values.log)

    def _key(self, name: str, value: Json) -> Any:
        """What stands for a value in the study."""
        return self._choices[name].keys[repr(value)] if name in self._choices else value

    def _value(self, name: str, proposed: Any) -> Json:
        if name in self._choices:
            return self._choices[name].values[proposed]
        value: Json = proposed
        return value

    def _sampler(self, name: str, seed: int | None) -> optuna.samplers.BaseSampler:
        # Points are proposed while others are in progress; without this, the same ones again and again.
        options = {"constant_liar": True} if name == "tpe" else {}
        sampler: optuna.samplers.BaseSampler = getattr(optuna.samplers, _SAMPLERS[name])(seed=seed, **options)
        return sampler

    def _pruner(self, name: str | None) -> optuna.pruners.BasePruner:
        if name is None:
            return optuna.pruners.NopPruner()
        pruner: optuna.pruners.BasePruner = getattr(optuna.pruners, _PRUNERS[name])()
        return pruner


_UNDECIDED = (ReasonKind.CANCELLED, ReasonKind.RUNNER_LOST, ReasonKind.SERVER_STOPPED)
"""Reasons of runs that say nothing about their point."""


class _Choices:
    """The values of a list, by what stands for each in the study: itself, or its JSON where Optuna keeps none such."""

    def __init__(self, values: Sequence[Json]) -> None:
        plain = all(value is None or isinstance(value, bool | int | float | str) for value in values)
        # 1, 1.0 and True are different values here, and the same there.
        themselves = plain and len(set(values)) == len(values)
        self.keys = {repr(value): value if themselves else json.dumps(value) for value in values}
        self.values = {self.keys[repr(value)]: value for value in values}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's remarks on itself; its level is the process's, so it is put back."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
