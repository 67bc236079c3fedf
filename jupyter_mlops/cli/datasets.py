"""``jupyter mlops datasets``: which runs and model versions used a data set."""

from __future__ import annotations

import click

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.options import json_option
from jupyter_mlops.cli.terminal import emit_json, note
from jupyter_mlops.core.errors import NotFound


@click.group()
def datasets() -> None:
    """Data sets that runs logged as inputs."""


@datasets.command()
@click.argument("digest")
@json_option
@click.pass_obj
def uses(connection: Connection, *, digest: str, as_json: bool) -> None:
    """List the runs that used the data set with this DIGEST, and the model versions registered from them."""
    tracker = connection.tracker
    found = tracker.datasets.uses(digest)
    if as_json:
        emit_json(found)
        return
    if not found:
        note(f"Nothing used a data set with the digest {digest}. `jupyter mlops runs show RUN` shows a run's digests.")
        return
    from jupyter_mlops.cli.tables import SHORT_ID, Column, cells, show

    def name(run_id: str) -> str:
        try:
            return tracker.runs.get(run_id).name
        except NotFound:
            # Of its versions, this is still known.
            return ""

    versions = [", ".join(f"{model}/{version}" for model, version in use.versions) for use in found]
    show(
        [
            Column(header="run", cells=cells([use.run_id[:SHORT_ID] for use in found], "dim")),
            Column(header="name", cells=cells([name(use.run_id) for use in found], "bold"), least=20),
            Column(header="used for", cells=cells([use.context for use in found]), rank=2),
            Column(header="data set", cells=cells([use.dataset.name for use in found], "key"), least=16, rank=3),
            Column(header="registered as", cells=cells(versions), least=16, rank=1),
        ]
    )
