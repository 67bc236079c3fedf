"""Experiments: who may do what, then the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy.engine import Connection

from jupyter_mlops.core import access, values
from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.errors import AlreadyExists, Conflict, InvalidValue, NameTaken, NotFound
from jupyter_mlops.core.ids import is_id, new_id
from jupyter_mlops.core.records import Experiment, Lifecycle, Page, Role, Share, Tag, View
from jupyter_mlops.core.redaction import redact_tags
from jupyter_mlops.store import events, experiments, shares, usage
from jupyter_mlops.store.events import Event
from jupyter_mlops.store.shares import StoredShare
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
                    f"{new.owner!r} has an experiment {new.name!r} already (a deleted one keeps its name): "
                    "choose another name, or restore that one"
                )
        return new

    def ensure(self, name: str, *, owner: str | None = None) -> Experiment:
        new = self._new(name, owner, {})
        with self._context.read() as connection:
            found = experiments.of_owner(connection, new.owner, new.name)
        if found is None:
            with self._context.write() as connection:
                if self._insert(connection, new):
                    return new
                found = experiments.of_owner(connection, new.owner, new.name)
        if found is None:
            raise Conflict(f"the experiment {new.name!r} was renamed or handed over just now: try again")
        if found.lifecycle is Lifecycle.DELETED:
            raise Conflict(f"the experiment {new.name!r} is deleted: restore it, or choose another name")
        return found

    def get(self, experiment_id: str) -> Experiment:
        with self._context.read() as connection:
            return self._allowed(connection, experiment_id, Scope.READ)

    def find(self, name: str) -> Experiment:
        principal = self._context.principal
        owner, plain = access.split_owner(principal, values.experiment_name(name))
        with self._context.read() as connection:
            found = experiments.find(connection, values.experiment_name(plain), self._context.reach)
        if owner is not None:
            found = [experiment for experiment in found if experiment.owner == owner]
        if not found:
            raise NotFound(f"there is no experiment {name!r}")
        # What `ensure` would give comes first, then what is the caller's own.
        for mine in (access.default_owner(principal), principal.name):
            for experiment in found:
                if experiment.owner == mine:
                    return experiment
        if len(found) > 1:
            owners = ", ".join(repr(experiment.owner) for experiment in found)
            raise InvalidValue(f"several experiments are called {name!r}, of {owners}: name one by its id")
        return found[0]

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
            page = search.experiment_ids(connection, query, self._context.reach)
            found = experiments.load(connection, page.items, counted=True)
        return Page(items=tuple(found), next_page_token=page.next_page_token)

    def rename(self, experiment_id: str, name: str) -> None:
        values.experiment_name(name)
        with self._context.write() as connection:
            experiment = self._active(connection, experiment_id)
            if experiment.name == name:
                return
            if experiments.of_owner(connection, experiment.owner, name) is not None:
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
            experiment = self._owned(connection, experiment_id)
            if experiment.lifecycle is Lifecycle.ACTIVE:
                experiments.delete(connection, experiment_id, self._context.clock())
                self._note(connection, "experiment.delete", experiment, {"name": experiment.name})

    def restore(self, experiment_id: str) -> None:
        with self._context.write() as connection:
            experiment = self._owned(connection, experiment_id)
            if experiment.lifecycle is Lifecycle.DELETED:
                experiments.restore(connection, experiment_id, self._context.clock())
                self._note(connection, "experiment.restore", experiment, {"name": experiment.name})

    # --- for others ---

    def share(
        self,
        experiment_id: str,
        *,
        to_user: str | None = None,
        to_group: str | None = None,
        to_everyone: bool = False,
        role: Role | str = Role.READ,
    ) -> None:
        grantee = access.grantee(to_user=to_user, to_group=to_group, to_everyone=to_everyone)
        given = access.role_named(role)
        with self._context.write() as connection:
            experiment = self._deciding(connection, experiment_id)
            if experiment.lifecycle is Lifecycle.DELETED:
                raise _deleted(experiment)
            made = StoredShare(grantee, given, self._context.principal.name, self._context.clock())
            shares.put(connection, experiment_id, made)
            self._note(connection, "experiment.share", experiment, {"to": grantee, "role": given.value})

    def unshare(
        self,
        experiment_id: str,
        *,
        to_user: str | None = None,
        to_group: str | None = None,
        to_everyone: bool = False,
    ) -> None:
        grantee = access.grantee(to_user=to_user, to_group=to_group, to_everyone=to_everyone)
        with self._context.write() as connection:
            experiment = self._deciding(connection, experiment_id)
            if not shares.remove(connection, experiment_id, grantee):
                raise NotFound(f"the experiment {experiment.name!r} is not shared with {grantee!r}")
            self._note(connection, "experiment.unshare", experiment, {"to": grantee})

    def shares(self, experiment_id: str) -> tuple[Share, ...]:
        principal = self._context.principal
        with self._context.read() as connection:
            experiment = self._allowed(connection, experiment_id, Scope.READ)
            owned = principal.scope_on(experiment.owner) >= Scope.READ
            found = shares.of_experiment(connection, experiment_id, None if owned else access.grantees_of(principal))
        return tuple(_share(experiment_id, stored) for stored in found)

    def transfer(self, experiment_id: str, owner: str) -> None:
        access.owner_name(owner)
        with self._context.write() as connection:
            experiment = self._deciding(connection, experiment_id)
            if experiment.lifecycle is Lifecycle.DELETED:
                raise _deleted(experiment)
            if experiment.owner == owner:
                return
            taken = experiments.of_owner(connection, owner, experiment.name)
            if taken is not None:
                # Whoever gets it may have things that the giver does not see.
                raise NameTaken(
                    f"the experiment {experiment.name!r} cannot be handed over to {owner!r} under this name: rename it"
                )
            experiments.transfer(connection, experiment_id, owner, self._context.clock())
            usage.require_room_for(connection, experiment_id, owner)
            detail = {"name": experiment.name, "from": experiment.owner, "to": owner}
            self._note(connection, "experiment.transfer", experiment, detail)
            # The new owner's side is told too; the note above tells the side that it leaves.
            self._tell(connection, "experiment.changed", msgspec.structs.replace(experiment, owner=owner))

    # --- shared ---

    def _new(self, name: str, owner: str | None, tags: Mapping[str, str]) -> Experiment:
        values.experiment_name(name)
        plain = name
        if owner is None:
            owner, plain = access.split_owner(self._context.principal, name)
            values.experiment_name(plain)
        now = self._context.clock()
        return Experiment(
            experiment_id=new_id(),
            name=plain,
            owner=self._context.owner_of_new(owner, f"experiment {plain!r}"),
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
        experiment = self._found(connection, experiment_id)
        what = f"experiment {experiment_id}"
        self._context.require(connection, experiment.owner, experiment_id, scope, what)
        return experiment

    def _owned(self, connection: Connection, experiment_id: str) -> Experiment:
        """An experiment with which the principal may do what only its owner may."""
        experiment = self._found(connection, experiment_id)
        what = f"experiment {experiment_id}"
        self._context.require_ownership(connection, experiment.owner, experiment_id, what)
        return experiment

    def _found(self, connection: Connection, experiment_id: str) -> Experiment:
        experiment = experiments.get(connection, experiment_id) if is_id(experiment_id) else None
        if experiment is None:
            shown = experiment_id if is_id(experiment_id) else values.short(experiment_id)
            raise NotFound(f"experiment {shown} does not exist")
        return experiment

    def _active(self, connection: Connection, experiment_id: str) -> Experiment:
        experiment = self._owned(connection, experiment_id)
        if experiment.lifecycle is Lifecycle.DELETED:
            raise _deleted(experiment)
        return experiment

    def _deciding(self, connection: Connection, experiment_id: str) -> Experiment:
        """An experiment about which the principal may decide for others; it stays whose it is until the end of the
        transaction."""
        experiments.lock(connection, experiment_id)
        experiment = self._owned(connection, experiment_id)
        access.require_decision(self._context.principal, f"experiment {experiment_id}")
        return experiment

    def _touch(self, connection: Connection, experiment: Experiment) -> None:
        experiments.touch(connection, experiment.experiment_id, self._context.clock())
        self._tell(connection, "experiment.changed", experiment)

    def _tell(self, connection: Connection, kind: str, experiment: Experiment) -> None:
        now, target = self._context.clock(), experiment.experiment_id
        events.add_events(connection, Event(kind, experiment.owner, target, now, experiment_id=target))

    def _note(self, connection: Connection, action: str, experiment: Experiment, detail: dict[str, str]) -> None:
        now, target = self._context.clock(), experiment.experiment_id
        if action in ("experiment.delete", "experiment.restore"):
            experiments.tell_of_runs(connection, [target], now)
        else:
            kind = "experiment.created" if action == "experiment.create" else "experiment.changed"
            self._tell(connection, kind, experiment)
        events.add_audit(connection, self._context.principal.name, action, target, now, detail)


def _deleted(experiment: Experiment) -> Conflict:
    return Conflict(f"the experiment {experiment.name!r} is deleted: restore it first")


def _share(experiment_id: str, stored: StoredShare) -> Share:
    to_user, to_group = access.grantee_parts(stored.grantee)
    return Share(
        experiment_id=experiment_id,
        to_user=to_user,
        to_group=to_group,
        to_everyone=stored.grantee == access.EVERYONE,
        role=stored.role,
        user=stored.created_by,
        created=stored.created,
    )


def _checked_tags(tags: Mapping[str, str]) -> tuple[Tag, ...]:
    longest = values.LONGEST_EXPERIMENT_TAG
    return redact_tags(values.tag(key, value, longest=longest) for key, value in sorted(tags.items()))
