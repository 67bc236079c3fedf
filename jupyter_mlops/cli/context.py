"""The store a command works on: opened once, on first use, and closed when the command ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from jupyter_mlops.tracker.protocol import Tracker


class Connection:
    """What ``--url`` and ``--artifacts`` say. Commands get it with :func:`click.pass_obj`."""

    def __init__(self, url: str | None = None, artifacts: str | None = None) -> None:
        self.url = url
        self.artifacts = artifacts
        self._tracker: Tracker | None = None

    @property
    def tracker(self) -> Tracker:
        """The open tracker. The first use also marks runs whose runner is gone, and says so on standard error."""
        if self._tracker is None:
            from jupyter_mlops.recording.lost import recover

            self._tracker = self.connect()
            for run in recover(self._tracker):
                click.echo(
                    f"Run {run.name} ({run.run_id[:12]}) was lost with its runner and is marked failed.", err=True
                )
        return self._tracker

    def connect(self) -> Tracker:
        """A tracker of the caller's own, to close; nothing is recovered."""
        from jupyter_mlops.tracker.connect import connect

        return connect(self.url, artifacts=self.artifacts)

    def close(self) -> None:
        if self._tracker is not None:
            self._tracker.close()
            self._tracker = None
