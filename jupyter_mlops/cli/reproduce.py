"""``jupyter mlops reproduce``: whether a recorded notebook gives the same once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.execution_options import How, execution_options
from jupyter_mlops.cli.interrupts import exit_code
from jupyter_mlops.cli.options import RunName, json_option
from jupyter_mlops.cli.parameters import Given, ParametersCommand, parameter_options
from jupyter_mlops.core.errors import RunFailed
from jupyter_mlops.core.records import RunStatus
from jupyter_mlops.core.reproduction import Agreement, Reproduction, comparable_metrics

if TYPE_CHECKING:
    from jupyter_mlops.core.records import Run

_SHOWN = 20
"""Lines of what differs, of each kind."""


@click.command(cls=ParametersCommand)
@click.argument("run", type=RunName())
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SHARE",
    help="By how much a metric may differ, relative to the recorded value: 0.01 is one percent. Default: not at all.",
)
@click.option("--metric", "-m", "metrics", multiple=True, metavar="KEY", help="Judge by this metric only; repeatable.")
@parameter_options
@execution_options
@json_option
@click.pass_obj
def reproduce(
    connection: Connection,
    *,
    run: str,
    tolerance: float,
    metrics: tuple[str, ...],
    given: Given,
    how: How,
    as_json: bool,
) -> None:
    """Run the notebook of RUN again as `rerun` does, and compare the metrics: equal, within tolerance, or different;
    and say whether packages, code or data differ.

    Parameters are for secrets, whose values were not recorded. The exit code is 1 when the metrics differ, or the
    notebook does not run any more.
    """
    from jupyter_mlops.cli import outcome
    from jupyter_mlops.cli.execute import execute, repetition
    from jupyter_mlops.cli.terminal import emit_json
    from jupyter_mlops.tracker.evidence import reproduction

    tracker = connection.tracker
    old = tracker.runs.resolve(run)
    if old.status is not RunStatus.FINISHED:
        raise RunFailed(f"{old.name} is {old.status.value}: only what finished can be reproduced", old.run_id)
    comparable_metrics(old, metrics)
    with repetition(connection, run, given, how) as task:
        new = execute(connection, how, **task)
    if new.status is not RunStatus.FINISHED:
        if as_json:
            emit_json({"run_id": old.run_id, "again": new.run_id, "agreement": None, "reason": new.reason})
        else:
            outcome.show(new, experiment=task["experiment"], output=None)
        raise click.exceptions.Exit(exit_code(new))
    found = reproduction(tracker, old.run_id, new.run_id, tolerance=tolerance, only=metrics)
    if as_json:
        emit_json(found)
    else:
        _show(old, new, found)
    if not found.reproduced:
        raise click.exceptions.Exit(1)


_STYLES = {Agreement.EQUAL: "good", Agreement.TOLERATED: "good", Agreement.DIFFERENT: "bad"}


def _show(old: Run, new: Run, found: Reproduction) -> None:
    from rich.text import Text

    from jupyter_mlops.cli.tables import Cell, Column, cells, show
    from jupyter_mlops.cli.terminal import console
    from jupyter_mlops.core import formats
    from jupyter_mlops.core.formats import printable

    to = console()
    headline = Text(found.agreement.value, style=_STYLES[found.agreement])
    headline.append(printable(f"  {old.name}, run again as {new.name} ({new.run_id[:12]})"))
    to.print(headline, soft_wrap=True)
    again = ["" if metric.again is None else formats.number(metric.again) for metric in found.metrics]
    show(
        [
            Column(header="metric", cells=cells([metric.key for metric in found.metrics], "bold"), least=16),
            Column(header="recorded", cells=cells([formats.number(m.recorded) for m in found.metrics]), right=True),
            Column(header="again", cells=cells(again), right=True),
            Column(
                header="",
                cells=[Cell(metric.agreement.value, _STYLES[metric.agreement]) for metric in found.metrics],
            ),
        ]
    )
    to.print(printable(f"\n{found.surroundings}", lines=True), soft_wrap=True)
    for kind in ("packages", "code", "data"):
        differences = getattr(found.surroundings, kind) or ()
        for one in differences[:_SHOWN]:
            was, now = one.recorded or "none", one.again or "none"
            to.print(printable(f"  {one.name}  {was[:40]} → {now[:40]}"), soft_wrap=True)
        if len(differences) > _SHOWN:
            to.print(f"  and {len(differences) - _SHOWN} more {kind}", soft_wrap=True)
