"""``jupyter mlops worker``: does the checks of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.options import json_option

if TYPE_CHECKING:
    from jupyter_mlops.checks.isolation import Isolation
    from jupyter_mlops.core.checks import CheckJob, CheckResult


@click.command()
@click.option("--check", "-c", "names", multiple=True, metavar="NAME", help="Do only checks of this name; repeatable.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="The longest that a check's process may take.",
)
@click.option(
    "--memory",
    type=click.FloatRange(min=0.1),
    default=4.0,
    show_default=True,
    metavar="GIB",
    help="The most memory that it may have.",
)
@click.option(
    "--user",
    default="nobody",
    show_default=True,
    metavar="NAME",
    help="The operating-system user that it gets where the worker is root.",
)
@click.option(
    "--repository",
    "repositories",
    multiple=True,
    metavar="URL",
    help="A git repository, or what the URLs of several begin with, from which a run's commit may be fetched to run it "
    "again; repeatable.",
)
@click.option("--once", is_flag=True, help="End when there is no check to do.")
@json_option
@click.pass_obj
def worker(
    connection: Connection,
    *,
    names: tuple[str, ...],
    timeout: float,
    memory: float,
    user: str,
    repositories: tuple[str, ...],
    once: bool,
    as_json: bool,
) -> None:
    """Do the checks that requests for promotion wait for, until Ctrl-C or SIGTERM.

    What belongs to a candidate runs in a process of its own, which gets files and no credentials, and is isolated as
    far as this machine allows; what is missing is said at the start and with each result. With --json there is one
    JSON document a line for each result.
    """
    from jupyter_mlops.checks.sandbox import Limits
    from jupyter_mlops.checks.worker import Worker
    from jupyter_mlops.cli.interrupts import orderly

    with orderly(), connection.connect() as tracker:
        doing = Worker(
            tracker,
            names=names,
            limits=Limits(seconds=timeout, memory=round(memory * 2**30)),
            user=user,
            repositories=repositories,
        )
        _tell_isolation(doing.isolation())
        doing.run(once=once, on_result=lambda job, result: _tell(job, result, as_json))


def _tell_isolation(isolation: Isolation) -> None:
    from jupyter_mlops.cli.terminal import note

    if not isolation.is_confined:
        note("Not isolated: what belongs to candidates can do here what this worker's user can do.")
    for missing in isolation.missing:
        note(f"Missing of the isolation: {missing}.")


def _tell(job: CheckJob, result: CheckResult, as_json: bool) -> None:
    import msgspec

    from jupyter_mlops.cli.terminal import json_text, unread
    from jupyter_mlops.core import formats
    from jupyter_mlops.core.formats import printable

    with unread():
        if as_json:
            document = {"job": job, "result": result}
            click.echo(msgspec.json.format(json_text(document).encode(), indent=-1).decode())
        else:
            when = formats.moment(result.ended)
            click.echo(
                printable(f"{when}  {result.verdict.value}  {job.name} of {job.model} {job.version}: {result.summary}")
            )
