"""``jupyter mlops runs``: list, show, compare, annotate, delete. What each prints is in a module of its own."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import click

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.options import (
    ExperimentName,
    RunName,
    assignments,
    find_deleted,
    find_experiment,
    given_text,
    json_option,
    limit_option,
    paged,
)
from jupyter_mlops.cli.outcome import reference
from jupyter_mlops.cli.terminal import console, emit_json, json_text, note
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.formats import printable
from jupyter_mlops.core.records import Batch, Run, RunChange, Tag, View
from jupyter_mlops.recording.entities import NOTES_TAG

FIRST_STEP = "No runs yet. Record a notebook with: jupyter mlops run NOTEBOOK.ipynb"

run_argument = click.argument("run", type=RunName())
some_runs = click.argument("runs", nargs=-1, required=True, type=RunName(), metavar="RUN...")
experiment_option = click.option(
    "--experiment", "-e", multiple=True, type=ExperimentName(), metavar="NAME", help="Only runs of it; repeatable."
)


@click.group()
def runs() -> None:
    """Recorded executions. RUN is a name, or a unique prefix of an id."""


@runs.command("list")
@click.argument("filter", default="")
@experiment_option
@click.option(
    "--order-by", multiple=True, metavar="KEY", help="Such as 'metrics.auc DESC' or 'start_time'; repeatable."
)
@click.option("--children", "-c", is_flag=True, help="Show the runs of sweeps, indented under them.")
@click.option("--deleted", is_flag=True, help="Show the deleted ones.")
@limit_option(30)
@json_option
@click.pass_obj
def list_(
    connection: Connection,
    *,
    filter: str,
    experiment: tuple[str, ...],
    order_by: tuple[str, ...],
    children: bool,
    deleted: bool,
    limit: int,
    as_json: bool,
) -> None:
    """List runs, newest first, with the parameters that tell them apart and their metrics.

    FILTER is MLflow's: "metrics.auc > 0.8 and params.kind = 'rf'", "status = 'FAILED'", "tags.team ILIKE '%growth%'".

    The runs of a sweep are folded into one line, which counts them and has the values of the best, unless a filter or
    an order is given. What these name is always shown.
    """
    from jupyter_mlops.cli import runtable

    tracker = connection.tracker
    ids = [find_experiment(tracker, name).experiment_id for name in experiment]
    view = View.DELETED if deleted else View.ACTIVE
    found = paged(lambda token: tracker.runs.search(ids, filter, order_by, view=view, page_token=token))
    if as_json or filter or order_by or deleted:
        lines = runtable.flat(list(islice(found, limit)))
        more = next(found, None) is not None
    else:
        lines, more = runtable.folded(tracker, found, limit, unfold=children)
    if as_json:
        emit_json([line.run for line in lines])
    elif lines:
        experiments = {id: tracker.experiments.get(id).name for id in {line.run.experiment_id for line in lines}}
        runtable.show(lines, experiments, runtable.asked_for(filter, order_by))
    else:
        note("No such run." if filter or deleted or experiment else FIRST_STEP)
    if more:
        note(f"There are more than {limit}: raise --limit to see them.")


@runs.command()
@run_argument
@json_option
@click.pass_obj
def show(connection: Connection, *, run: str, as_json: bool) -> None:
    """Show all that is recorded of RUN."""
    from jupyter_mlops.cli import runpage

    page = runpage.collect(connection.tracker, connection.tracker.runs.resolve(run))
    if as_json:
        emit_json(page)
    else:
        runpage.show(page)


@runs.command()
@run_argument
@click.argument("metric")
@json_option
@click.pass_obj
def history(connection: Connection, *, run: str, metric: str, as_json: bool) -> None:
    """Print every point that RUN logged of METRIC, as logged: step, time, value."""
    from jupyter_mlops.core.errors import NotFound

    tracker = connection.tracker
    found = tracker.runs.resolve(run)
    keys = [summary.key for summary in found.metrics]
    if metric not in keys:
        has = f"it has {', '.join(sorted(keys))}" if keys else "it has none"
        raise NotFound(f"the run {found.name} logged no metric {metric!r}; {has}")
    points = paged(lambda token: tracker.runs.history(found.run_id, metric, page_token=token))
    if as_json:
        emit_json([{"step": point.step, "timestamp": point.timestamp, "value": point.value} for point in points])
        return
    from jupyter_mlops.core import formats

    for point in points:
        click.echo(f"{point.step}\t{formats.moment(point.timestamp)}\t{point.value!r}")


@runs.command()
@some_runs
@json_option
@click.pass_obj
def compare(connection: Connection, *, runs: tuple[str, ...], as_json: bool) -> None:
    """Show what differs between runs, side by side, and what is the same in all of them.

    A sweep stands for its runs. Installed packages are compared where every run recorded them.
    """
    from jupyter_mlops.cli import comparison

    tracker = connection.tracker
    found = comparison.expanded(tracker, [tracker.runs.resolve(run) for run in runs])
    if len(found) < 2:
        raise click.UsageError("Comparing takes two runs or more, or a sweep.")
    compared = tracker.compare([run.run_id for run in found])
    if as_json:
        emit_json(compared.as_document())
    else:
        comparison.show(compared)


@runs.command()
@run_argument
@click.option("--source", is_flag=True, help="The exact source instead of the executed copy.")
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Save the notebook as this file.")
@click.option("--diff", "other", type=RunName(), metavar="RUN2", help="Show how the sources of RUN2's cells differ.")
@json_option
@click.pass_obj
def notebook(
    connection: Connection, *, run: str, source: bool, output: Path | None, other: str | None, as_json: bool
) -> None:
    """Print the notebook that RUN executed, with its outputs, as text."""
    from jupyter_mlops.cli import notebookprint

    tracker = connection.tracker
    found = tracker.runs.resolve(run)
    document = notebookprint.fetch(tracker, found, source=source)
    if output is not None:
        output.write_bytes(document)
        if as_json:
            emit_json({"run_id": found.run_id, "local_path": str(output)})
        else:
            click.echo(printable(str(output)))
        return
    parsed = notebookprint.parsed(document, found.name)
    if other is None:
        if as_json:
            emit_json(parsed)
        else:
            notebookprint.show(parsed)
        return
    from jupyter_mlops.cli import notebookdiff

    second = tracker.runs.resolve(other)
    changes = notebookdiff.operations(
        parsed, notebookprint.parsed(notebookprint.fetch(tracker, second, source=source), second.name)
    )
    if as_json:
        emit_json({"before": found.run_id, "after": second.run_id, "changes": changes})
    elif changes:
        to = console()
        click.secho(printable(f"- {found.name}\n+ {second.name}", lines=True), bold=True)
        click.echo(notebookdiff.as_text(parsed, changes, colour=to.is_terminal and not to.no_color), nl=False)
    else:
        click.echo(printable(f"The cells of {found.name} and {second.name} have the same sources."))


@runs.command()
@click.argument("filter", default="")
@experiment_option
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
@json_option
@click.pass_obj
def export(
    connection: Connection, *, filter: str, experiment: tuple[str, ...], output: Path | None, as_json: bool
) -> None:
    """Write all runs that match FILTER as CSV: one line a run, a column for each parameter, metric and tag."""
    from jupyter_mlops.cli.csvexport import as_csv

    tracker = connection.tracker
    ids = [find_experiment(tracker, name).experiment_id for name in experiment]
    found = list(paged(lambda token: tracker.runs.search(ids, filter, page_token=token)))
    text = json_text(found) if as_json else as_csv(found)
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")


@runs.command()
@some_runs
@json_option
@click.pass_obj
def delete(connection: Connection, *, runs: tuple[str, ...], as_json: bool) -> None:
    """Mark runs deleted, with their children; `restore` brings them back until `jupyter mlops gc`."""
    tracker = connection.tracker
    found = [tracker.runs.resolve(run) for run in runs]
    for run in found:
        tracker.runs.delete(run.run_id)
    _report(connection, found, "Deleted {name}. To bring it back: jupyter mlops runs restore {reference}", as_json)


@runs.command()
@some_runs
@json_option
@click.pass_obj
def restore(connection: Connection, *, runs: tuple[str, ...], as_json: bool) -> None:
    """Bring back deleted runs, with the children that were deleted with them."""
    tracker = connection.tracker
    found = [find_deleted(tracker, run) for run in runs]
    for run in found:
        tracker.runs.restore(run.run_id)
    _report(connection, found, "Restored {name}.", as_json)


@runs.command()
@run_argument
@click.argument("name")
@json_option
@click.pass_obj
def rename(connection: Connection, *, run: str, name: str, as_json: bool) -> None:
    """Give RUN another NAME."""
    found = connection.tracker.runs.resolve(run)
    connection.tracker.runs.change(found.run_id, RunChange(name=name))
    _report(connection, [found], f"{{name}} is now {name.replace('{', '{{').replace('}', '}}')}.", as_json)


@runs.command()
@run_argument
@click.argument("tags", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--remove", multiple=True, metavar="KEY", help="Take this tag off; repeatable.")
@json_option
@click.pass_obj
def tag(connection: Connection, *, run: str, tags: tuple[str, ...], remove: tuple[str, ...], as_json: bool) -> None:
    """Set tags of RUN, or take them off."""
    if not tags and not remove:
        raise click.UsageError("Nothing to do: give KEY=VALUE or --remove KEY.")
    batch = Batch(tags=tuple(Tag(key, value) for key, value in assignments(tags, "the tag").items()))
    found = connection.tracker.runs.resolve(run)
    if batch.tags:
        connection.tracker.runs.log(found.run_id, batch)
    for key in remove:
        connection.tracker.runs.delete_tag(found.run_id, key)
    _report(connection, [found], "Tagged {name}.", as_json)


@runs.command("note")
@run_argument
@click.argument("text", required=False)
@json_option
@click.pass_obj
def note_(connection: Connection, *, run: str, text: str | None, as_json: bool) -> None:
    """Set the notes of RUN to TEXT (Markdown; "-" reads it from standard input); without TEXT, print them."""
    tracker = connection.tracker
    found = tracker.runs.resolve(run)
    if text is None:
        notes = next((tag.value for tag in found.tags if tag.key == NOTES_TAG), "")
        if as_json:
            emit_json({"run_id": found.run_id, "notes": notes})
        else:
            click.echo(printable(notes, lines=True))
        return
    if text == "-":
        text = given_text(text).rstrip("\n")
    tracker.runs.log(found.run_id, Batch(tags=(Tag(NOTES_TAG, text),)))
    _report(connection, [found], "Noted on {name}.", as_json)


@runs.command()
@run_argument
@click.argument("text")
@json_option
@click.pass_obj
def comment(connection: Connection, *, run: str, text: str, as_json: bool) -> None:
    """Add a comment to RUN, under your name."""
    if not text.strip():
        raise InvalidValue("the comment is empty; give it some text")
    found = connection.tracker.runs.resolve(run)
    made = connection.tracker.runs.comment(found.run_id, text)
    if as_json:
        emit_json(made)
    else:
        click.echo(printable(f"Commented on {found.name}."))


def _report(connection: Connection, changed: list[Run], sentence: str, as_json: bool) -> None:
    if as_json:
        emit_json([connection.tracker.runs.get(run.run_id) for run in changed])
        return
    for run in changed:
        click.echo(printable(sentence.format(name=run.name, reference=reference(run))))
