"""Data sets that runs of experiments used."""

from __future__ import annotations

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.service.mlflow.messages import Answer, Message
from jupyter_mlops.service.mlflow.words import experiment_of
from jupyter_mlops.tracker.embedded import EmbeddedTracker

MOST_EXPERIMENTS = 20


class Search(Message, frozen=True, kw_only=True):
    experiment_ids: tuple[str, ...] = ()


class Summary(Answer, frozen=True, kw_only=True):
    experiment_id: str
    name: str
    digest: str
    context: str = ""


class Listed(Answer, frozen=True, kw_only=True):
    dataset_summaries: tuple[Summary, ...] = ()


def search(tracker: EmbeddedTracker, asked: Search) -> Listed:
    if not asked.experiment_ids:
        raise InvalidValue("SearchDatasets request must specify at least one experiment_id.")
    if len(asked.experiment_ids) > MOST_EXPERIMENTS:
        raise InvalidValue(
            f"SearchDatasets request cannot specify more than {MOST_EXPERIMENTS} experiment_ids. Received "
            f"{len(asked.experiment_ids)} experiment_ids."
        )
    found = tracker.datasets.search([experiment_of(tracker, each) for each in asked.experiment_ids])
    return Listed(
        dataset_summaries=tuple(
            Summary(experiment_id=each.experiment_id, name=each.name, digest=each.digest, context=each.context)
            for each in found
        )
    )
