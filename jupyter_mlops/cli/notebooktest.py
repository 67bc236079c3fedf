"""``jupyter mlops test``: a notebook as a test, for continuous integration."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import click

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.execution_options import How, execution_options, notebook_path
from jupyter_mlops.cli.interrupts import exit_code
from jupyter_mlops.cli.options import json_option
from jupyter_mlops.cli.parameters import Given, ParametersCommand, parameter_options
from jupyter_mlops.cli.runpage import CellTime, cell_times
from jupyter_mlops.cli.terminal import output_text
from jupyter_mlops.core.checks import logged_checks
from jupyter_mlops.core.formats import printable
from jupyter_mlops.core.parameters import check
from jupyter_mlops.core.reasons import cell_name, headline
from jupyter_mlops.core.records import RunStatus

if TYPE_CHECKING:
    from jupyter_mlops.core.records import Run


@click.command(name="test", cls=ParametersCommand)
@click.argument("notebook", type=notebook_path)
@click.option(
    "--junit",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the result as JUnit XML: a test case for each code cell, and for each check that the notebook logs.",
)
@parameter_options
@execution_options
@json_option
@click.pass_obj
def test(connection: Connection, *, notebook: Path, junit: Path | None, given: Given, how: How, as_json: bool) -> None:
    """Run NOTEBOOK as a test, and record it. It passes when it ends without error and logs no failed check.

    A notebook logs checks as metrics: mlops.log_metric("check/recall", recall > 0.8). The exit code is 0 when it
    passes, 1 when it does not, and 2 when it cannot be run as asked.
    """
    from jupyter_mlops.cli import outcome
    from jupyter_mlops.cli.execute import execute
    from jupyter_mlops.cli.terminal import console, emit_json
    from jupyter_mlops.recording.source import read_source

    source = read_source(notebook)
    experiment = how.experiment_for(notebook)
    run = execute(
        connection,
        how,
        experiment=experiment,
        notebook=str(notebook.absolute()),
        parameters=check(source.declared, given.resolve(source.declared)),
        cwd=None if how.cwd is None else str(how.cwd),
        output=None,
        tags=how.tags,
    )
    checks = logged_checks(run)
    failed = [name for name, passed in checks.items() if not passed]
    passed = run.status is RunStatus.FINISHED and not failed
    if junit is not None:
        junit.write_bytes(junit_xml(notebook.name, run, checks, cell_times(connection.tracker, run)))
    if as_json:
        emit_json({"passed": passed, "checks": checks, "run": run})
    else:
        outcome.show(run, experiment=experiment, output=None)
        to = console()
        to.print()
        for name, good in checks.items():
            to.print(f"{'✓' if good else '✗'} check {printable(name)}", style="good" if good else "bad", soft_wrap=True)
        to.print("passed" if passed else "failed", style="good" if passed else "bad")
    if not passed:
        raise click.exceptions.Exit(1 if run.status is RunStatus.FINISHED else exit_code(run))


def junit_xml(name: str, run: Run, checks: Mapping[str, bool], cells: Sequence[CellTime]) -> bytes:
    """The result as JUnit XML: one suite, a test case for each code cell that was reached, for each logged check, and
    one for an end that no cell tells. ``cells`` are counted as in the executed notebook, in which injected parameters
    are a cell."""
    suite = ElementTree.Element("testsuite", name=_writable(name))
    reason = run.reason
    reached = [cell for cell in cells if cell.type == "code"]
    for cell in reached:
        index = cell.index
        case = _case(suite, name, cell_name(index), cell.seconds)
        if reason is not None and reason.cell == index:
            _failure(case, headline(reason), reason.traceback or reason.message)
    if reason is not None and reason.cell not in [cell.index for cell in reached]:
        _failure(_case(suite, name, "run"), headline(reason), reason.traceback or reason.message)
    for check_name, passed in checks.items():
        case = _case(suite, name, f"check {check_name}")
        if not passed:
            _failure(case, f"check {check_name} failed", "")
    cases = suite.findall("testcase")
    took = ((run.end_time or run.start_time) - run.start_time) / 1000
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", "0")
    suite.set("skipped", "0")
    suite.set("time", f"{took:.3f}")
    document = ElementTree.Element("testsuites")
    document.append(suite)
    return bytes(ElementTree.tostring(document, encoding="utf-8", xml_declaration=True)) + b"\n"


def _case(suite: ElementTree.Element, notebook: str, name: str, seconds: float = 0.0) -> ElementTree.Element:
    return ElementTree.SubElement(
        suite, "testcase", classname=_writable(notebook), name=_writable(name), time=f"{seconds:.3f}"
    )


def _failure(case: ElementTree.Element, message: str, text: str) -> None:
    failure = ElementTree.SubElement(case, "failure", message=_writable(message))
    failure.text = _writable(text)


def _writable(text: str) -> str:
    """``text`` without the characters that XML cannot hold."""
    return re.sub("[\ufffe\uffff]", "\ufffd", printable(output_text(text), lines=True))
