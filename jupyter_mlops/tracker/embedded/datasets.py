"""Data sets: who used which."""

from __future__ import annotations

from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.records import DatasetUse
from jupyter_mlops.store import runs
from jupyter_mlops.tracker.embedded._context import Context


@checked
class EmbeddedDatasets:
    """See :class:`jupyter_mlops.tracker.protocol.Datasets`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def uses(self, digest: str) -> tuple[DatasetUse, ...]:
        with self._context.read() as connection:
            return runs.dataset_uses(connection, digest, self._context.reach)
