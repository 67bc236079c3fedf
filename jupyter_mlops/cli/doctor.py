"""``jupyter mlops doctor``: what of an installation does not work, and what to change."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jupyter_mlops._version import __version__
from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.options import json_option
from jupyter_mlops.cli.terminal import emit_json
from jupyter_mlops.core.findings import Finding, State, bad, doubtful, good

if TYPE_CHECKING:
    from rich.text import Text

_STYLES = {State.GOOD: "good", State.DOUBTFUL: "warning", State.BAD: "failing"}
_WORDS = {State.GOOD: "ok", State.DOUBTFUL: "warning", State.BAD: "problem"}


@click.command()
@json_option
@click.pass_context
def doctor(context: click.Context, *, as_json: bool) -> None:
    """Look at what is used here (the service, or the database and its files; what waits on this machine; JupyterLab's
    panel; the Python kernels) and say what does not work and what to change. Nothing is changed. The exit code is 1
    when there is a problem; warnings leave it 0."""
    found = list(_examine(context.obj))
    if as_json:
        emit_json(found)
    else:
        from jupyter_mlops.cli.terminal import console

        out = console()
        for each in found:
            out.print(_line(each), soft_wrap=True)
    if any(each.state is State.BAD for each in found):
        context.exit(1)


def _examine(connection: Connection) -> Iterator[Finding]:
    from jupyter_mlops.cli import kernels
    from jupyter_mlops.core.redaction import masked_url
    from jupyter_mlops.tracker import location

    url = connection.database_url
    if location.is_service(url):
        from jupyter_mlops.tracker.remote.diagnosis import examine_service

        yield from examine_service(url, location.token_for(url))
    elif not connection.database_exists:
        yield good("database", f"there is no {masked_url(url)} yet: the first command that records makes it")
    else:
        from jupyter_mlops.tracker.embedded.diagnosis import examine_store

        yield from examine_store(url, connection.artifacts)
    yield _spools(url)
    yield from _panel()
    yield from kernels.examined()


def _spools(url: str) -> Finding:
    from jupyter_mlops.tracker.undelivered import held

    lacking = held(url)
    if lacking.refused or lacking.damaged:
        count = len(lacking.refused) + len(lacking.damaged)
        return bad("spool", f"{count} entries that were logged here cannot be stored", "see jupyter mlops spool status")
    if lacking.waiting:
        told = f"{lacking.waiting} entries that were logged here wait to be stored"
        return doubtful("spool", told, "jupyter mlops spool flush stores them now")
    return good("spool", "nothing that was logged here waits to be stored")


def _panel() -> Iterator[Finding]:
    """Of the Jupyter of this Python, where there is one."""
    share, etc = Path(sys.prefix, "share", "jupyter"), Path(sys.prefix, "etc", "jupyter")
    if not (share / "lab").is_dir():
        return
    try:
        package = json.loads((share / "labextensions" / "jupyter-mlops" / "package.json").read_text(encoding="utf-8"))
        version = str(package["version"])
    except (OSError, ValueError, KeyError):
        advice = f"install it into this environment: {sys.executable} -m pip install jupyter-mlops"
        yield bad("panel", f"JupyterLab in {sys.prefix} has no panel of jupyter-mlops", advice)
        return
    enabled = (etc / "jupyter_server_config.d" / "jupyter_mlops.json").is_file()
    if not enabled:
        advice = "jupyter server extension enable jupyter_mlops.server"
        yield bad(
            "panel", "the extension of the Jupyter server is not enabled, without which the panel is empty", advice
        )
    elif _released(version) != _released(__version__):
        told = f"JupyterLab has the panel of {version}, and this is jupyter-mlops {__version__}"
        yield doubtful("panel", told, "install the package anew, restart the server, and reload the page")
    else:
        yield good("panel", f"JupyterLab has it, and the server's extension is enabled ({__version__})")


def _released(version: str) -> str:
    """The numbers of a version: npm and Python write what follows in different ways."""
    return version.partition("-")[0].partition(".dev")[0]


def _line(found: Finding) -> Text:
    from rich.text import Text

    from jupyter_mlops.core.formats import printable

    line = Text(f"{_WORDS[found.state]:<9}", style=_STYLES[found.state])
    line.append(f"{found.what:<16}", style="bold")
    line.append(printable(found.told))
    if found.advice:
        line.append(f"\n{'':25}{printable(found.advice)}", style="dim")
    return line
