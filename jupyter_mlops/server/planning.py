"""What would come of a run or sweep, for whoever is about to submit one: how many runs, and what is wrong where. The
rules are those of :mod:`.submission`; here all that breaks one is found, not the first only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.core.parameters import check
from jupyter_mlops.core.spaces import Axis, count, parse_grid, points
from jupyter_mlops.execution.plan import DEFAULT_TRIALS, check_axis
from jupyter_mlops.recording.kernel import kernel_spec
from jupyter_mlops.recording.source import Source, parse_source
from jupyter_mlops.server.documents import Document
from jupyter_mlops.server.operations import FieldProblem, Intent, Plan
from jupyter_mlops.server.submission import check_at_least_one, check_engine, check_timeout, sweep_request

AXIS = "parameters."
"""What a parameter's name follows where a field is named."""


def plan_of(document: Document, asked: Intent, limit: int, ends_with_server: bool) -> Plan:
    """What would come of ``asked``.

    Parameters
    ----------
    limit
        The most notebooks at once.
    ends_with_server
        See :class:`Plan`.

    Raises
    ------
    NotebookError
        It is no notebook.
    """
    source = parse_source(document.content, document.path)
    found: list[FieldProblem] = []
    with _noted(found, "kernel"):
        kernel_spec(asked.kernel or source.kernel)
    with _noted(found, "execution_timeout"):
        check_timeout(asked.execution_timeout)
    for name, value in asked.parameters.items():
        with _noted(found, AXIS + name):
            check(source.declared, {name: value})
    runs = _size(source, document, asked, found)
    at_once = min(asked.jobs or limit, limit, runs or limit) if asked.grid else 1
    if asked.cluster is not None:
        at_once = min(asked.jobs or runs or 1, runs or 1)
    return Plan(runs=runs, at_once=at_once, ends_with_server=ends_with_server, problems=tuple(found))


def _size(source: Source, document: Document, asked: Intent, found: list[FieldProblem]) -> int | None:
    """How many runs there would be; None when the space cannot be read."""
    if not asked.grid:
        return 1
    axes: list[Axis] = []
    for text in asked.grid:
        with _noted(found, AXIS + text.partition("=")[0].strip()):
            (axis,) = parse_grid([text], source.declared)
            check_axis(source.declared, axis, {*asked.parameters, *(other.name for other in axes)})
            axes.append(axis)
    for name, number in (("sample", asked.sample), ("jobs", asked.jobs)):
        with _noted(found, name):
            check_at_least_one(name, number)
    if len(axes) < len(asked.grid):
        return None
    with _noted(found, "engine" if asked.cluster is None else "cluster"):
        check_engine(asked)
    for field, check_field in sweep_request(document, asked).checks(axes).items():
        with _noted(found, field):
            check_field()
    if asked.optimize is not None:
        return DEFAULT_TRIALS if asked.trials is None else asked.trials
    with _noted(found, "grid" if asked.sample is None else "sample"):
        points(axes, asked.sample, asked.seed)
        return count(axes) if asked.sample is None else asked.sample
    return None


@contextmanager
def _noted(found: list[FieldProblem], field: str) -> Iterator[None]:
    try:
        yield
    except MLOpsError as error:
        found.append(FieldProblem(field=field, message=error.message))
