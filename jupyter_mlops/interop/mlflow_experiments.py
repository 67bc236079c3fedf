"""Experiments of a source, and those here that their runs go to."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from jupyter_mlops.core.errors import AlreadyExists, Conflict, NotFound
from jupyter_mlops.core.records import Experiment, Lifecycle, View
from jupyter_mlops.interop.mlflow_records import IMPORTED_TAG, experiment_tags, is_same
from jupyter_mlops.interop.mlflow_runs import is_deleted
from jupyter_mlops.interop.transfer import Transfer

Entity = Any


class Place(msgspec.Struct):
    """An experiment of a source, and its counterpart; ``here`` is None where there is none and none may be made."""

    name: str
    deleted: bool
    """In the source."""
    here: Experiment | None = None


class Places:
    """The experiments that are imported, by their ids in the source. What is deleted here is restored as soon as
    something is written to it; :meth:`settle` deletes it again."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._tracker = transfer.tracker
        self._report = transfer.report
        self._places: dict[str, Place] = {}

    def __getitem__(self, experiment_id: str) -> Place:
        return self._places[experiment_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def copy(self, experiment: Entity) -> None:
        """Make the experiment, or find it by its name and owner, and have its tags be those of the source."""
        place = Place(experiment.name, experiment.lifecycle_stage == "deleted")
        tags, refused = experiment_tags(experiment, self._transfer.source.shown)
        what = f"experiment {experiment.name!r}"
        for why in refused:
            self._report.problem("experiments", what, why)
        place.here = self._find(experiment.name)
        if place.here is None and not self._transfer.verify:
            try:
                place.here = self._tracker.experiments.create(experiment.name, owner=self._transfer.owner, tags=tags)
                self._report.copied("experiments")
            except AlreadyExists:
                # Another import made it just now.
                place.here = self._find(experiment.name)
                if place.here is None:
                    raise
        if place.here is not None:
            if place.here.lifecycle is Lifecycle.DELETED and not place.deleted:
                raise Conflict("it is deleted here: restore it to import into it")
            self._places[experiment.experiment_id] = place
            self._tag(experiment.experiment_id, place.here, tags, what)
        else:
            self._places[experiment.experiment_id] = place
            self._report.problem("experiments", what, "is not here")

    def open(self, experiment_id: str) -> Experiment:
        """The experiment here, not deleted."""
        place = self._places[experiment_id]
        if place.here is None:
            raise NotFound(f"the experiment {place.name!r} is not here")
        # Another import may have deleted it since, as the source did.
        if self._tracker.experiments.get(place.here.experiment_id).lifecycle is Lifecycle.DELETED:
            self._tracker.experiments.restore(place.here.experiment_id)
        place.here = msgspec.structs.replace(place.here, lifecycle=Lifecycle.ACTIVE)
        return place.here

    def revive(self, experiment_id: str, run_id: str) -> None:
        """Have the run here, of an experiment of the source, not be deleted."""
        self.open(experiment_id)
        if is_deleted(self._tracker.runs.get(run_id)):
            self._tracker.runs.restore(run_id)

    def settle(self) -> None:
        """Have deleted here what is deleted in the source."""
        for place in self._places.values():
            if place.deleted and place.here is not None and place.here.lifecycle is not Lifecycle.DELETED:
                what = f"experiment {place.name!r}"
                with self._transfer.noted("experiments", what):
                    if self._transfer.verify:
                        self._report.problem("experiments", what, "is not deleted here")
                    else:
                        self._tracker.experiments.delete(place.here.experiment_id)

    def _find(self, name: str) -> Experiment | None:
        quoted = "'" + name.replace("'", "''") + "'"
        page = self._tracker.experiments.search(f"name = {quoted}", view=View.ALL)
        return next((each for each in page.items if each.owner == self._transfer.owner), None)

    def _tag(self, experiment_id: str, found: Experiment, tags: dict[str, str], what: str) -> None:
        here = {tag.key: tag.value for tag in found.tags}
        other = {key: value for key, value in tags.items() if here.get(key) != value and key != IMPORTED_TAG}
        if not is_same(here, tags):
            # What people said of an experiment of their own stays.
            other = {key: value for key, value in other.items() if key not in here}
            self._report.remark(what, "its runs are in the experiment of that name that was here before")
        if other and self._transfer.verify:
            self._report.problem("experiments", what, f"has other tags here: {', '.join(other)}")
        elif other:
            set_tags = partial(self._tracker.experiments.set_tags, found.experiment_id, other)
            self._transfer.written(set_tags, partial(self.open, experiment_id))
