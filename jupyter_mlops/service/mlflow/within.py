"""Inside a notebook run: what its code begins through MLflow's client is one record, and not two.

The first run that it begins is the notebook run itself, later ones are its children, and ending the first ends nothing:
the notebook goes on. Which run that is, a client's URL says (``…/within/<id>/``), since a URL is all that every version
of every client in every environment can be told. It gives no rights: who asks is found out as always.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec

from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Batch, Run, RunChange, StreamPosition, Tag
from jupyter_mlops.core.run_fields import OWN_NAME_TAG
from jupyter_mlops.service.mlflow import runs
from jupyter_mlops.service.mlflow.handler import Route, Writing
from jupyter_mlops.service.mlflow.messages import Message
from jupyter_mlops.service.mlflow.words import KeyValue
from jupyter_mlops.store.calls import RunCall
from jupyter_mlops.tracker.embedded import EmbeddedTracker

R = TypeVar("R", bound=Route)

PREFIX = r"(?:within/(?P<within>[0-9a-f]{32})(?P<named>/named)?/)?"
"""Before the paths of a client inside a run. With ``named``, a name was chosen for that, which its code leaves."""
FIRST_TAG = "mlops.mlflow"
"""On a notebook run that was begun by its code, too: which of the calls that came at once began it."""

_DEFAULT = "0"


def adapted(run_id: str, named: bool, route: Route) -> Route:
    """What is answered at a path inside a notebook run."""
    return Within(run_id, named).adapted(route)


class Within(msgspec.Struct, frozen=True):
    """The notebook run that a client is inside of."""

    run_id: str
    named: bool

    def adapted(self, route: Route) -> Route:
        """What is answered at a path inside the run."""
        if route.path == "runs/create":
            assert isinstance(route, Writing)
            return msgspec.structs.replace(route, function=self._create, waits=_always)
        if route.path == "runs/update":
            return msgspec.structs.replace(route, function=self._update)
        if {"experiment_id", "experiment_ids"} & set(route.message.__struct_fields__):
            return msgspec.structs.replace(route, function=partial(self._placed, route))
        return route

    def _create(self, tracker: EmbeddedTracker, asked: runs.Create) -> Sequence[RunCall]:
        enclosing = runs.found(tracker, self.run_id)
        tags = {tag.key: tag.value for tag in asked.tags}
        parent = tags.get(runs.PARENT)
        if parent is None and self._is_first(tracker):
            return self._attach(tracker, enclosing, asked.run_name or tags.get(runs.RUN_NAME), tags)
        inside = asked.experiment_id in ("", _DEFAULT)
        more = {runs.PARENT: parent or self.run_id, runs.SOURCE: enclosing.source}
        pairs = tuple(tag for tag in asked.tags if tag.key not in more)
        child = msgspec.structs.replace(
            asked,
            experiment_id=enclosing.experiment_id if inside else asked.experiment_id,
            tags=(*pairs, *(KeyValue(key=key, value=value) for key, value in more.items() if value)),
        )
        return runs.create(tracker, child)

    def _attach(
        self, tracker: EmbeddedTracker, enclosing: Run, name: str | None, tags: dict[str, str]
    ) -> Sequence[RunCall]:
        # Who runs it, and what it executes, is known of a notebook run; a client knows the kernel's program.
        kept = {key: value for key, value in tags.items() if key not in (runs.RUN_NAME, runs.USER, runs.SOURCE)}
        kept.pop("mlflow.source.type", None)
        if name and self.named:
            kept[OWN_NAME_TAG] = name
        calls: list[RunCall] = []
        if kept:
            labels = tuple(Tag(key, value) for key, value in kept.items())
            calls.append(tracker.run_calls.log(enclosing.run_id, Batch(tags=labels)))
        change = RunChange(name=name if name and not self.named else None)
        return [*calls, tracker.run_calls.change(enclosing.run_id, change)]

    def _update(self, tracker: EmbeddedTracker, asked: runs.Update) -> Sequence[RunCall]:
        if asked.run != self.run_id:
            return runs.update(tracker, asked)
        if asked.run_name and self.named:
            log = tracker.run_calls.log(self.run_id, Batch(tags=(Tag(OWN_NAME_TAG, asked.run_name),)))
            return log, tracker.run_calls.change(self.run_id, RunChange())
        return (tracker.run_calls.change(self.run_id, RunChange(name=asked.run_name or None)),)

    def _is_first(self, tracker: EmbeddedTracker) -> bool:
        """Whether nothing was begun in the run before; true once, whoever asks at once."""
        stream = f"mlflow-within:{self.run_id}"
        if tracker.runs.watermark(stream):
            return False
        claim = new_id()
        tracker.runs.log(self.run_id, Batch(tags=(Tag(FIRST_TAG, claim),)), StreamPosition(stream, 1))
        return Tag(FIRST_TAG, claim) in tracker.runs.get(self.run_id).tags

    def _placed(self, route: Route, tracker: EmbeddedTracker, asked: Message) -> Any:
        """As always, but that experiment 0, where MLflow's client is when nobody has set another, is the run's."""
        changes: dict[str, Any] = {}
        given = {name: getattr(asked, name) for name in asked.__struct_fields__}
        if given.get("experiment_id") == _DEFAULT or _DEFAULT in given.get("experiment_ids", ()):
            own = runs.found(tracker, self.run_id).experiment_id
            if "experiment_id" in given:
                changes["experiment_id"] = own
            else:
                changes["experiment_ids"] = tuple(own if each == _DEFAULT else each for each in asked.experiment_ids)  # type: ignore[attr-defined]
        return route.function(tracker, msgspec.structs.replace(asked, **changes))


def _always(asked: Any) -> bool:  # noqa: ARG001
    return True
