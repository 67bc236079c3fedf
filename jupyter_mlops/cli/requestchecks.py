"""``jupyter mlops requests check`` and ``report``: what one found out about a candidate oneself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.options import json_option
from jupyter_mlops.cli.terminal import emit_json, note
from jupyter_mlops.core.formats import printable

if TYPE_CHECKING:
    from jupyter_mlops.core.checks import CheckResult
    from jupyter_mlops.core.promotion import Promotion

NOT_COUNTED = "Self-reported: reviewers see it as that, and the policy counts what a worker finds out."


@click.command()
@click.argument("request")
@click.option("--check", "-c", "names", multiple=True, metavar="NAME", help="Only this check; repeatable.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="The longest that a check's process may take.",
)
@json_option
@click.pass_obj
def check(connection: Connection, *, request: str, names: tuple[str, ...], timeout: float, as_json: bool) -> None:
    """Do the checks of REQUEST here, with your own permissions, and report what comes out as self-reported.

    Ends with exit code 1 unless all passed: so one finds out before a worker does.
    """
    from jupyter_mlops.checks.sandbox import Limits
    from jupyter_mlops.checks.selfcheck import check_here
    from jupyter_mlops.cli.promotion import resolved
    from jupyter_mlops.core.checks import Verdict

    tracker = connection.tracker
    found: list[CheckResult] = []
    asked = tracker.promotions.get(resolved(tracker, request))
    for result in check_here(tracker, asked, names, Limits(seconds=timeout)):
        found.append(result)
        if not as_json:
            click.echo(printable(f"{result.name}: {result.verdict.value}, {result.summary}"))
    if as_json:
        emit_json(found)
    note(NOT_COUNTED if found else "The request has no check to pass that can be done here.")
    if not all(result.verdict is Verdict.PASSED for result in found):
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("request")
@click.argument("name", metavar="CHECK")
@click.option("--passed", "verdict", flag_value="passed", help="The candidate passed.")
@click.option("--failed", "verdict", flag_value="failed", help="It failed.")
@click.option("--error", "verdict", flag_value="error", help="It could not be found out.")
@click.option("--summary", required=True, metavar="TEXT", help="One sentence for reviewers.")
@click.option(
    "--log", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A text whose end is kept with it."
)
@json_option
@click.pass_obj
def report(
    connection: Connection,
    *,
    request: str,
    name: str,
    verdict: str | None,
    summary: str,
    log: Path | None,
    as_json: bool,
) -> None:
    """Report what came out of CHECK for REQUEST, a check of the policy or any of your own, as self-reported."""
    from jupyter_mlops.cli.promotion import resolved
    from jupyter_mlops.core.checks import LONGEST_LOG, CheckResult, Verdict
    from jupyter_mlops.core.formats import now

    if verdict is None:
        raise click.UsageError("Give --passed, --failed or --error.")
    tracker = connection.tracker
    request_id = resolved(tracker, request)
    text = (
        "" if log is None else printable(log.read_text(encoding="utf-8", errors="replace"), lines=True)[-LONGEST_LOG:]
    )
    at = now()
    result = CheckResult(name=name, verdict=Verdict(verdict), summary=summary, log=text, started=at, ended=at)
    tracker.checks.self_report(request_id, result)
    done: Promotion = tracker.promotions.get(request_id)
    if as_json:
        emit_json(done)
    else:
        click.echo(printable(f"{name}: {verdict}, {summary}"))
        note(NOT_COUNTED)
