"""Data sets: who used which."""

from __future__ import annotations

from collections.abc import Sequence

from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.records import DatasetSummary, DatasetUse
from jupyter_mlops.store import runs
from jupyter_mlops.tracker.embedded._context import Context


@checked
class EmbeddedDatasets:
    """See :class:`jupyter_mlops.tracker.protocol.Datasets`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def search(self, experiment_ids: Sequence[str]) -> tuple[DatasetSummary, ...]:
        with self._context.read() as connection:
            return runs.experiment_datasets(connection, experiment_ids, self._context.reach)

    def uses(self, digest: str) -> tuple[DatasetUse, ...]:
        with self._context.read() as connection:
            return runs.dataset_uses(connection, digest, self._context.reach)
