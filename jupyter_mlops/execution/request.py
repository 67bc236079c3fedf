"""A sweep as people ask for it, the same from the command line, from Python and from a magic; made a plan of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.formats import parse_duration
from jupyter_mlops.core.parameters import Declared, check
from jupyter_mlops.core.records import Json
from jupyter_mlops.core.rules import parse_rules
from jupyter_mlops.core.spaces import Axis, axis_text, parse_grid, points
from jupyter_mlops.core.values import check_key, short
from jupyter_mlops.execution.plan import (
    DEFAULT_SAMPLER,
    DEFAULT_TRIALS,
    SweepPlan,
    check_axis,
    check_search,
    without_secrets,
)
from jupyter_mlops.recording.kernel import kernel_spec
from jupyter_mlops.recording.source import Source

MOST_RETRIES = 100
_FOR_SEARCH = "it belongs to a search; say what to optimize"
_DIRECTIONS = ("maximize", "minimize")


class SweepRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. Where a field has the name of one of :class:`SweepPlan`, it means the same."""

    notebook: str
    space: Sequence[str | Axis]
    """Axes, also as :func:`jupyter_mlops.core.spaces.parse_axis` reads them."""
    sample: int | None = None
    """Draw so many points of the space instead of running all."""
    seed: int | None = None
    """Makes a sample, or the sampler of a search, repeatable."""
    optimize: str | None = None
    """Search the space by a metric, ``maximize:auc`` or ``minimize:loss``; without a direction, maximize."""
    trials: int | None = None
    sampler: str | None = None
    metric: str | None = None
    maximize: bool | None = None
    """None means True."""
    stop: Sequence[str] = ()
    retries: int = 0
    budget: str | None = None
    """A length of time such as ``2h``."""
    kernel: str | None = None
    cwd: str
    execution_timeout: float | None = None
    tags: dict[str, str] = {}
    submitted_by: str | None = None

    def plan(self, source: Source, parameters: dict[str, Json]) -> tuple[SweepPlan, dict[str, Json]]:
        """The plan, with the values of ``parameters`` at all points, and apart from it those that are secret.

        Raises
        ------
        InvalidValue, UnknownParameter, ParameterTypeError
            It cannot be done as asked; the message says what is wrong.
        MissingDependency
            It is a search, and Optuna is not installed.
        """
        kernel_spec(self.kernel or source.kernel)
        axes = self._axes(source.declared, parameters)
        for check_field in self.checks(axes).values():
            check_field()
        metric, maximize = self._goal()
        fixed, secrets = without_secrets(check(source.declared, parameters))
        plan = SweepPlan(
            notebook=self.notebook,
            grid=tuple(axis if isinstance(axis, str) else axis_text(axis) for axis in self.space),
            points=() if self.optimize is not None else tuple(points(axes, self.sample, self.seed)),
            space=axes if self.optimize is not None else (),
            trials=None if self.optimize is None else self._trials,
            sampler=self._sampler,
            stop=tuple(self.stop),
            retries=self.retries,
            budget=None if self.budget is None else parse_duration(self.budget),
            fixed=fixed,
            secrets=tuple(secrets),
            sample=self.sample,
            seed=self.seed,
            kernel_name=self.kernel,
            cwd=self.cwd,
            execution_timeout=self.execution_timeout,
            tags=self.tags,
            metric=metric,
            maximize=maximize,
            submitted_by=self.submitted_by,
        )
        return plan, secrets

    def checks(self, axes: Sequence[Axis]) -> Mapping[str, Callable[[], object]]:
        """What is to be checked besides the axes themselves, by field: each raises what is wrong with that."""
        return {
            "optimize": self._goal,
            "trials": lambda: self._check_trials(axes),
            "sampler": self._check_sampler,
            "sample": self._check_sample,
            "seed": self._check_seed,
            "stop": lambda: parse_rules(self.stop, optimizes=self.optimize is not None),
            "retries": self._check_retries,
            "budget": lambda: None if self.budget is None else parse_duration(self.budget),
        }

    @property
    def _trials(self) -> int:
        return DEFAULT_TRIALS if self.trials is None else self.trials

    @property
    def _sampler(self) -> str:
        return self.sampler or DEFAULT_SAMPLER

    def _goal(self) -> tuple[str | None, bool]:
        """The metric that runs are compared by, and whether a greater one is better."""
        if self.optimize is None:
            return self.metric, self.maximize is not False
        direction, colon, metric = self.optimize.partition(":")
        if not colon:
            direction, metric = _DIRECTIONS[0], self.optimize
        if direction not in _DIRECTIONS or not metric:
            raise InvalidValue(f"optimize {short(self.optimize)}: expected maximize:METRIC or minimize:METRIC")
        if self.metric is not None or self.maximize is not None:
            raise InvalidValue("metric: optimize says by what runs are compared, and in which direction; give it once")
        return check_key(metric, "metric"), direction == _DIRECTIONS[0]

    def _axes(self, declared: Sequence[Declared] | None, parameters: dict[str, Json]) -> tuple[Axis, ...]:
        if not self.space:
            raise InvalidValue("grid: give at least one axis, such as lr=0.01,0.1; for a single run, run the notebook")
        axes: list[Axis] = []
        for given in self.space:
            axis = parse_grid([given], declared)[0] if isinstance(given, str) else given
            if any(axis.name == other.name for other in axes):
                raise InvalidValue(f"grid: {axis.name!r} is there twice; list all its values in one place")
            check_axis(declared, axis, parameters.keys())
            axes.append(axis)
        return tuple(axes)

    def _check_trials(self, axes: Sequence[Axis]) -> None:
        if self.optimize is not None:
            check_search(axes, self._trials, self._sampler)
        elif self.trials is not None:
            raise InvalidValue(f"trials: {_FOR_SEARCH}")

    def _check_sampler(self) -> None:
        if self.optimize is None and self.sampler is not None:
            raise InvalidValue(f"sampler: {_FOR_SEARCH}")

    def _check_sample(self) -> None:
        if self.optimize is not None and self.sample is not None:
            raise InvalidValue("sample: a search chooses its own points; say how many with trials")

    def _check_retries(self) -> None:
        if not 0 <= self.retries <= MOST_RETRIES:
            raise InvalidValue(f"retries: {self.retries} are not possible; from 0 to {MOST_RETRIES} are")

    def _check_seed(self) -> None:
        if self.seed is not None and self.sample is None and self.optimize is None:
            raise InvalidValue("seed: it makes a sample or a search repeatable; without one it does nothing")
