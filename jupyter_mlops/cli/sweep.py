"""``jupyter mlops sweep``: one notebook over a space of parameters, as children of one parent run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from jupyter_mlops.cli import outcome, tables
from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.execution_options import How, execution_options, notebook_path
from jupyter_mlops.cli.interrupts import orderly
from jupyter_mlops.cli.options import RunName, json_option
from jupyter_mlops.cli.parameters import Given, ParametersCommand, parameter_options
from jupyter_mlops.cli.progress import SweepProgress
from jupyter_mlops.cli.tables import Column, cells
from jupyter_mlops.cli.terminal import console, emit_json, note
from jupyter_mlops.core import formats
from jupyter_mlops.core.compare import metric_keys
from jupyter_mlops.core.formats import printable
from jupyter_mlops.core.model_safety import MLMODEL
from jupyter_mlops.core.records import Run, RunStatus
from jupyter_mlops.execution.engine import DEFAULT_ENGINE, Engine, load_engine
from jupyter_mlops.execution.fork import prefix
from jupyter_mlops.execution.plan import DEFAULT_TRIALS, SAMPLERS, SweepPlan, ranked
from jupyter_mlops.execution.request import SweepRequest
from jupyter_mlops.execution.sweep import Place, Sweep
from jupyter_mlops.recording.source import read_source

MOST_SHOWN = 10
"""How many of the best runs are shown at the end."""
BESIDE_RESUME = frozenset(
    "resume jobs engine cluster as_json parameters parameters_raw parameters_yaml parameters_file".split()
)
"""What may be said with --resume: the parameters are for secrets."""


@click.command(cls=ParametersCommand)
@click.argument("notebook", type=notebook_path, required=False)
@click.option(
    "--grid",
    "-g",
    multiple=True,
    metavar="NAME=VALUES",
    help="Values of one parameter: a list (lr=0.01,0.1), a range with both ends (depth=3:9:2) or equal ratios "
    "(lr=log(1e-4,1e-1,4)). Repeatable: every combination is a point. For --sample and --optimize also intervals: "
    "uniform(0,1), loguniform(1e-4,1e-1), int(3,9).",
)
@click.option("--sample", type=click.IntRange(min=1), metavar="N", help="Take N of the combinations, at random.")
@click.option(
    "--optimize",
    metavar="GOAL",
    help="Search for the best point by a metric, maximize:auc or minimize:loss, instead of running every one.",
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Points that --optimize tries.  [default: {DEFAULT_TRIALS}]",
)
@click.option("--sampler", type=click.Choice(list(SAMPLERS)), help="How --optimize proposes points.  [default: tpe]")
@click.option("--seed", type=int, metavar="N", help="Makes --sample and --sampler repeatable.")
@parameter_options
@click.option("--metric", "-m", metavar="NAME", help="What runs are compared by, while going on and at the end.")
@click.option("--maximize/--minimize", default=None, help="Whether a greater metric is better.  [default: maximize]")
@click.option(
    "--stop",
    multiple=True,
    metavar="RULE",
    help="Stop a run whose metric is NaN or infinite (nan, nan:loss) or out of bounds ('loss>100'), that shows no sign "
    "of progress (idle:10m), or that --optimize finds hopeless (median, halving, hyperband). Repeatable.",
)
@click.option("--budget", metavar="TIME", help="Begin no further point after this time, such as 2h or 30m.")
@click.option(
    "--jobs",
    "-j",
    type=click.IntRange(min=1),
    metavar="N",
    help="Notebooks at once. Default: one a core; on a cluster, one a thread.",
)
@click.option("--engine", default=DEFAULT_ENGINE, show_default=True, metavar="NAME", help="What runs the notebooks.")
@click.option("--cluster", metavar="CLUSTER", help="For --engine dask: ADDRESS of a scheduler, gateway:URL or local:N.")
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Run a point again whose worker or machine was lost, so often.",
)
@click.option(
    "--explain", is_flag=True, help="Run nothing: say which cells all points share, and why they part where they do."
)
@click.option("--resume", type=RunName(), metavar="SWEEP", help="Run what this sweep lacks: missing and failed points.")
@execution_options
@json_option
@click.pass_context
def sweep(
    ctx: click.Context,
    *,
    notebook: Path | None,
    grid: tuple[str, ...],
    sample: int | None,
    optimize: str | None,
    trials: int | None,
    sampler: str | None,
    seed: int | None,
    given: Given,
    metric: str | None,
    maximize: bool | None,
    stop: tuple[str, ...],
    budget: str | None,
    jobs: int | None,
    engine: str,
    cluster: str | None,
    retries: int,
    explain: bool,
    resume: str | None,
    how: How,
    as_json: bool,
) -> None:
    """Run NOTEBOOK at every point of a space of parameters. The runs are recorded as children of one.

    \b
      jupyter mlops sweep churn.ipynb --grid lr=0.01,0.1 --grid depth=3:9:2 --metric auc
      jupyter mlops sweep churn.ipynb --grid "lr=loguniform(1e-4,1e-1)" --optimize maximize:auc --trials 50
      jupyter mlops sweep --resume brave-otter-418

    A point that fails is shown and does not stop the rest. -p gives a parameter the same value at all points.
    """
    connection: Connection = ctx.obj
    chosen = load_engine(engine, cluster)
    if resume is not None:
        _refuse_beside_resume(ctx)
        parent = connection.tracker.runs.resolve(resume)
        going = Sweep.load(connection.tracker, parent, secrets=given.texts())
    elif notebook is None:
        raise click.UsageError("Give a NOTEBOOK, or --resume SWEEP.")
    elif not grid:
        raise click.UsageError("Give at least one --grid NAME=VALUES (for a single run: jupyter mlops run).")
    else:
        source = read_source(notebook)
        asked = SweepRequest(
            notebook=str(notebook.absolute()),
            space=grid,
            sample=sample,
            seed=seed,
            optimize=optimize,
            trials=trials,
            sampler=sampler,
            metric=metric,
            maximize=maximize,
            stop=stop,
            retries=retries,
            budget=budget,
            kernel=how.kernel,
            cwd=str(how.cwd or notebook.absolute().parent),
            execution_timeout=how.execution_timeout,
            tags=how.tags,
        )
        plan, secrets = asked.plan(source, given.resolve(source.declared))
        if explain:
            fixed = {**plan.fixed, **secrets}
            told = prefix.explain(notebook, fixed=fixed, swept=plan.swept, kernel_name=how.kernel)
            if as_json:
                emit_json({"explanation": told})
            else:
                click.echo(told)
            return
        experiment = connection.tracker.experiments.ensure(how.experiment_for(notebook))
        going = Sweep.begin(connection.tracker, experiment.experiment_id, plan, secrets=secrets, name=how.name)
    _execute(going, chosen, connection, jobs or chosen.usual_jobs)
    if as_json:
        emit_json({"sweep": going.run, "best": going.standing.best, "runs": going.children()})
    else:
        _show(going)
        outcome.remind_of_quotas(connection.tracker)
    if going.run.status is not RunStatus.FINISHED:
        raise click.exceptions.Exit(1)


def _execute(going: Sweep, engine: Engine, connection: Connection, jobs: int | None) -> None:
    place = Place(tracking_url=connection.database_url, artifacts_url=connection.artifacts)
    todo = going.missing
    note(f"{going.run.name}: {todo} of {going.plan.total} points to run" + (f", {jobs} at once" if jobs else ""))
    with orderly():
        try:
            with SweepProgress(going.plan, todo=todo) as on_event:
                going.execute(engine, place, jobs=jobs, on_event=on_event, on_remark=note)
        except KeyboardInterrupt:
            note(f"Stopped. To run the rest: jupyter mlops sweep --resume {outcome.reference(going.run)}")
            raise


def _refuse_beside_resume(ctx: click.Context) -> None:
    """A sweep is resumed as it was begun: refuse options that would have no effect."""
    for option in ctx.command.params:
        given = option.name and ctx.get_parameter_source(option.name) is click.core.ParameterSource.COMMANDLINE
        if given and option.name not in BESIDE_RESUME:
            raise click.UsageError(
                f"{option.get_error_hint(ctx)} cannot be given with --resume: the sweep goes on as it was begun."
            )


def _show(going: Sweep) -> None:
    to = console()
    headline = tables.text(tables.status(going.run))
    headline.append(f"  {printable(going.run.name)}", style="bold")
    to.print()
    to.print(headline, soft_wrap=True)
    plan = going.plan
    children = going.children()
    best = ranked(children, plan)
    if plan.metric is not None and not best:
        logged = ", ".join(metric_keys(children)) or "none"
        note(f"No run logged the metric {plan.metric!r}; logged were: {logged}")
    shown = best or [child for child in children if child.status is RunStatus.FINISHED]
    if shown:
        to.print()
        _show_table(shown[:MOST_SHOWN], plan)
        if len(shown) > MOST_SHOWN:
            note(f"\nThe best {MOST_SHOWN} of {len(shown)} finished runs; all: jupyter mlops runs list --children")
    to.print("\nNext:")
    for command in _next(going, shown):
        to.print(f"  {command}", soft_wrap=True)


def _show_table(runs: Sequence[Run], plan: SweepPlan) -> None:
    swept = list(plan.swept)
    metrics = sorted(metric_keys(runs), key=lambda key: key != plan.metric)
    now = formats.now()
    tables.show(
        [
            Column(header="name", cells=cells([run.name for run in runs], "bold")),
            *tables.param_columns(runs, swept, rank=1),
            *tables.metric_columns(runs, metrics, rank=2),
            Column(header="took", cells=cells([tables.elapsed(run, now) for run in runs]), right=True, rank=40),
        ]
    )


def _next(going: Sweep, shown: Sequence[Run]) -> Iterator[str]:
    if going.missing:
        yield f"jupyter mlops sweep --resume {outcome.reference(going.run)}"
    if shown:
        yield f"jupyter mlops runs show {outcome.reference(shown[0])}"
    if len(shown) > 1:
        yield f"jupyter mlops runs compare {' '.join(outcome.reference(run) for run in shown[:3])}"
    if shown and any(file.path.endswith(f"/{MLMODEL}") for file in going.tracker.artifacts.walk(shown[0].run_id)):
        yield f"jupyter mlops models register {outcome.reference(shown[0])} NAME --alias production"
