"""Experiments: who may do what, then the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy.engine import Connection

from jupyter_mlops.core import values
from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.errors import AlreadyExists, Conflict, InvalidValue, NotFound
from jupyter_mlops.core.ids import is_id, new_id
from jupyter_mlops.core.records import Experiment, Lifecycle, Page, Tag, View
from jupyter_mlops.store import events, experiments
from jupyter_mlops.tracker.embedded._context import Context
from jupyter_mlops.tracker.protocol import DEFAULT_PAGE


@checked
class EmbeddedExperiments:
    """See :class:`jupyter_mlops.tracker.protocol.Experiments`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def create(self, name: str, *, owner: str | None = None, tags: Mapping[str, str] | None = None) -> Experiment:
        new = self._new(name, owner, tags or {})
        with self._context.write() as connection:
            if not self._insert(connection, new):
                raise AlreadyExists(
                    f"{new.owner!r} has an experiment {name!r} already (a deleted one keeps its name): "
                    "choose another name, or restore that one"
                )
        return new

    def ensure(self, name: str, *, owner: str | None = None) -> Experiment:
        new = self._new(name, owner, {})
        with self._context.read() as connection:
            found = experiments.find(connection, name, [new.owner])
        if not found:
            with self._context.write() as connection:
                if self._insert(connection, new):
                    return new
                found = experiments.find(connection, name, [new.owner])
        if found[0].lifecycle is Lifecycle.DELETED:
            raise Conflict(f"the experiment {name!r} is deleted: restore it, or choose another name")
        return found[0]

    def get(self, experiment_id: str) -> Experiment:
        with self._context.read() as connection:
            return self._allowed(connection, experiment_id, Scope.READ)

    def find(self, name: str) -> Experiment:
        values.experiment_name(name)
        with self._context.read() as connection:
            found = experiments.find(connection, name, self._context.owners)
        own = [experiment for experiment in found if experiment.owner == self._context.principal.name]
        if not found:
            raise NotFound(f"there is no experiment {name!r}")
        if len(own or found) > 1:
            owners = ", ".join(repr(experiment.owner) for experiment in found)
            raise InvalidValue(f"several experiments are called {name!r}, of {owners}: name one by its id")
        return (own or found)[0]

    def search(
        self,
        filter: str = "",
        order_by: Sequence[str] = (),
        *,
        view: View = View.ACTIVE,
        limit: int = DEFAULT_PAGE,
        page_token: str | None = None,
    ) -> Page[Experiment]:
        # The grammar and its SQL, which those who only record never need.
        from jupyter_mlops.core.filters import Entity, parse_filter, parse_order_by
        from jupyter_mlops.store import search

        query = search.Query(
            parse_filter(filter, Entity.EXPERIMENT),
            parse_order_by(order_by, Entity.EXPERIMENT),
            view,
            limit,
            page_token,
        )
        with self._context.read() as connection:
            page = search.experiment_ids(connection, query, self._context.owners)
            found = experiments.load(connection, page.items, counted=True)
        return Page(items=tuple(found), next_page_token=page.next_page_token)

    def rename(self, experiment_id: str, name: str) -> None:
        values.experiment_name(name)
        with self._context.write() as connection:
            experiment = self._active(connection, experiment_id)
            if experiment.name == name:
                return
            if experiments.find(connection, name, [experiment.owner]):
                raise AlreadyExists(f"{experiment.owner!r} has an experiment {name!r} already: choose another name")
            experiments.rename(connection, experiment_id, name, self._context.clock())
            self._note(connection, "experiment.rename", experiment, {"from": experiment.name, "to": name})

    def set_tags(self, experiment_id: str, tags: Mapping[str, str]) -> None:
        checked = _checked_tags(tags)
        with self._context.write() as connection:
            experiment = self._active(connection, experiment_id)
            experiments.upsert_tags(connection, experiment_id, {tag.key: tag.value for tag in checked})
            self._touch(connection, experiment)

    def delete_tag(self, experiment_id: str, key: str) -> None:
        values.check_key(key, "tag")
        with self._context.write() as connection:
            experiment = self._active(connection, experiment_id)
            if not experiments.delete_tag(connection, experiment_id, key):
                raise NotFound(f"the experiment {experiment.name!r} has no tag {key!r}")
            self._touch(connection, experiment)

    def delete(self, experiment_id: str) -> None:
        with self._context.write() as connection:
            experiment = self._allowed(connection, experiment_id, Scope.WRITE)
            if experiment.lifecycle is Lifecycle.ACTIVE:
                experiments.delete(connection, experiment_id, self._context.clock())
                self._note(connection, "experiment.delete", experiment, {"name": experiment.name})

    def restore(self, experiment_id: str) -> None:
        with self._context.write() as connection:
            experiment = self._allowed(connection, experiment_id, Scope.WRITE)
            if experiment.lifecycle is Lifecycle.DELETED:
                experiments.restore(connection, experiment_id, self._context.clock())
                self._note(connection, "experiment.restore", experiment, {"name": experiment.name})

    def _new(self, name: str, owner: str | None, tags: Mapping[str, str]) -> Experiment:
        values.experiment_name(name)
        now = self._context.clock()
        return Experiment(
            experiment_id=new_id(),
            name=name,
            owner=self._context.owner_of_new(owner, f"experiment {name!r}"),
            created=now,
            updated=now,
            tags=_checked_tags(tags),
        )

    def _insert(self, connection: Connection, new: Experiment) -> bool:
        if not experiments.add(connection, new):
            return False
        self._note(connection, "experiment.create", new, {"name": new.name})
        return True

    def _allowed(self, connection: Connection, experiment_id: str, scope: Scope) -> Experiment:
        what = f"experiment {experiment_id if is_id(experiment_id) else values.short(experiment_id)}"
        experiment = experiments.get(connection, experiment_id) if is_id(experiment_id) else None
        if experiment is None:
            raise NotFound(f"{what} does not exist")
        self._context.require(experiment.owner, scope, what)
        return experiment

    def _active(self, connection: Connection, experiment_id: str) -> Experiment:
        experiment = self._allowed(connection, experiment_id, Scope.WRITE)
        if experiment.lifecycle is Lifecycle.DELETED:
            raise Conflict(f"the experiment {experiment.name!r} is deleted: restore it first")
        return experiment

    def _touch(self, connection: Connection, experiment: Experiment) -> None:
        now = self._context.clock()
        experiments.touch(connection, experiment.experiment_id, now)
        events.add_event(connection, "experiment.changed", experiment.owner, experiment.experiment_id, now)

    def _note(self, connection: Connection, action: str, experiment: Experiment, detail: dict[str, str]) -> None:
        now, target = self._context.clock(), experiment.experiment_id
        kind = "experiment.created" if action == "experiment.create" else "experiment.changed"
        events.add_event(connection, kind, experiment.owner, target, now)
        events.add_audit(connection, self._context.principal.name, action, target, now, detail)


def _checked_tags(tags: Mapping[str, str]) -> tuple[Tag, ...]:
    longest = values.LONGEST_EXPERIMENT_TAG
    return tuple(values.tag(key, value, longest=longest) for key, value in sorted(tags.items()))
