"""The store a command works on: opened once, on first use, and closed when the command ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_mlops.cli.terminal import note
from jupyter_mlops.core.errors import PermissionDenied, QuotaExceeded, StorageFull, Unavailable

if TYPE_CHECKING:
    from jupyter_mlops.store.database import Database
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
            try:
                for run in recover(self._tracker):
                    note(f"{run.name} ({run.run_id[:12]}) lost the process that ran it; it is {run.status.value} now.")
            except (PermissionDenied, QuotaExceeded, StorageFull, Unavailable) as error:
                # What is asked for may need no writing.
                note(f"What other processes left could not be stored: {error.message}")
        return self._tracker

    def connect(self) -> Tracker:
        """A tracker of the caller's own, to close; nothing is recovered."""
        from jupyter_mlops.tracker.connect import connect

        return connect(self.url, artifacts=self.artifacts)

    @property
    def database_url(self) -> str:
        from jupyter_mlops.tracker.location import default_url

        return self.url or default_url()

    @property
    def database_exists(self) -> bool:
        """Whether there is a database to open; a server's is taken to be there, an SQLite file is looked for."""
        kind, _, path = self.database_url.partition(":///")
        return kind != "sqlite" or Path(path).exists()

    @contextmanager
    def database(self) -> Iterator[Database]:
        """The database itself, whatever its schema: for looking after it."""
        from jupyter_mlops.store.database import Database

        with closing(Database(self.database_url)) as database:
            yield database

    def close(self) -> None:
        if self._tracker is not None:
            self._tracker.close()
            self._tracker = None
