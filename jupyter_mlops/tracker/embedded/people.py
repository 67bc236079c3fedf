"""People and groups that leave or get another name: who may, and all that follows, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy.engine import Connection

from jupyter_mlops.core import access
from jupyter_mlops.core.access import GROUP_PREFIX, SERVICE_PREFIX, TOKEN_USER_PREFIX, USER_PREFIX, Scope
from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.checks import JOB_PREFIX
from jupyter_mlops.core.errors import InvalidValue, PermissionDenied
from jupyter_mlops.core.people import Handover, NewName
from jupyter_mlops.core.policy import UNPROTECTED, Policy, PolicySource, weakened
from jupyter_mlops.core.promotion import Promotion, PromotionState
from jupyter_mlops.core.quotas import EVERY_GROUP, EVERY_USER
from jupyter_mlops.core.values import LONGEST_EXPERIMENT_NAME
from jupyter_mlops.store import accesstokens, events, issuedtokens, people, policies, promotions, registry
from jupyter_mlops.store.events import Event
from jupyter_mlops.store.people import Named
from jupyter_mlops.store.registry import Model
from jupyter_mlops.tracker.embedded import aliases, deciding
from jupyter_mlops.tracker.embedded._context import Context
from jupyter_mlops.tracker.embedded.policies import put_in_force

_NO_PERSON = (SERVICE_PREFIX, TOKEN_USER_PREFIX, JOB_PREFIX)


class _Rehearsed(Exception):
    """Ends the transaction of a dry run, which takes back what it did."""


@checked
class EmbeddedPeople:
    """See :class:`jupyter_mlops.tracker.people.People`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def offboard(self, owner: str, to: str, *, dry_run: bool = False) -> Handover:
        self._check(owner, to)
        return self._done(_Change(self._context, owner, to, stays=False), dry_run)

    def rename(self, owner: str, to: str, *, dry_run: bool = False) -> Handover:
        self._check(owner, to)
        if to.startswith(_NO_PERSON) and not owner.startswith(_NO_PERSON):
            raise InvalidValue(f"{to!r} begins like the name of a service, a token or a check: a user has another")
        if owner.startswith(GROUP_PREFIX) != to.startswith(GROUP_PREFIX):
            raise InvalidValue(
                f"{owner!r} and {to!r} are a group and a user; `offboard` hands over from one to the other"
            )
        return self._done(_Change(self._context, owner, to, stays=True), dry_run)

    def _check(self, owner: str, to: str) -> None:
        principal = self._context.principal
        if principal.scope < Scope.ADMIN:
            raise PermissionDenied(
                f"this is about all things of others: it needs the scope 'admin', which {principal.name!r} lacks"
            )
        access.require_decision(principal, "people")
        access.owner_name(owner)
        access.owner_name(to)
        for name in (owner, to):
            if name in (EVERY_USER, EVERY_GROUP):
                raise InvalidValue(f"{name!r} stands for all who have no rule of their own: it is nobody's name")
        if owner == to:
            raise InvalidValue(f"{owner!r} would be the same as before")

    def _done(self, change: _Change, dry_run: bool) -> Handover:
        done: list[Handover] = []
        try:
            with self._context.write() as connection:
                done.append(change.apply(connection))
                if dry_run:
                    raise _Rehearsed
        except _Rehearsed:
            pass
        return msgspec.structs.replace(done[-1], dry_run=dry_run)


class _Change:
    """What follows when an owner's things become another's; ``stays`` when they are the same under another name."""

    def __init__(self, context: Context, owner: str, to: str, *, stays: bool) -> None:
        self._context = context
        self._owner = owner
        self._to = to
        self._stays = stays
        self._is_group = owner.startswith(GROUP_PREFIX)
        self._why = f"{owner} is {to} now" if stays else f"{owner} has left, {to} takes over"

    def apply(self, connection: Connection) -> Handover:
        owner, to = self._owner, self._to
        named = people.policies_naming(connection, owner)
        touched = self._touched(connection)
        own = people.models_of(connection, owner)
        about = {*own, *touched.values(), *(each.model_id for each in named if each.model_id is not None)}
        models = people.lock_models(connection, about)
        requests = self._close_requests(connection, list(touched), models)
        runs = people.count_runs(connection, owner)
        new_names, experiments = self._move_experiments(connection)
        set_anew = self._move_policies(connection, named, models)
        set_anew += self._move_models(connection, [models[id] for id in own if id in models])
        done = Handover(
            owner=owner,
            to=to,
            experiments=experiments,
            runs=runs,
            models=len(own),
            webhooks=self._move_webhooks(connection),
            shares=self._move_shares(connection),
            policies=set_anew,
            requests=requests,
            tokens=self._move_tokens(connection),
            new_names=new_names,
        )
        if self._stays:
            people.move_rules(connection, owner, to)
        else:
            people.drop_rules(connection, owner)
        if self._stays and not self._is_group:
            people.rename_doer(connection, owner, to)
        told = {name: value for name, value in msgspec.to_builtins(done).items() if name not in ("owner", "new_names")}
        self._audit(connection, "people.rename" if self._stays else "people.offboard", owner, told)
        return done

    # --- experiments ---

    def _move_experiments(self, connection: Connection) -> tuple[tuple[NewName, ...], int]:
        context, now = self._context, self._context.clock()
        taken = people.names_of(connection, self._to)
        before = people.experiments_of(connection, self._owner)
        after = []
        for each in before:
            name = _free_name(each.name, self._owner.removeprefix(GROUP_PREFIX), taken)
            taken.add(name)
            after.append(Named(each.experiment_id, name))
        people.hand_over(connection, after, self._to, now)
        told = [
            Event("experiment.changed", owner, each.experiment_id, now, experiment_id=each.experiment_id)
            for each in before
            # Both sides are told: the one that it leaves, and the one that gets it.
            for owner in (self._owner, self._to)
        ]
        if told:
            events.add_events(connection, *told)
        for old, new in zip(before, after, strict=True):
            detail = {"name": old.name, "from": self._owner, "to": self._to}
            if new.name != old.name:
                detail["new_name"] = new.name
            events.add_audit(
                connection, context.principal.name, "experiment.transfer", old.experiment_id, now, dict(detail)
            )
        changed = [
            NewName(old.experiment_id, old.name, new.name)
            for old, new in zip(before, after, strict=True)
            if old.name != new.name
        ]
        return tuple(changed), len(before)

    def _move_shares(self, connection: Connection) -> int:
        grantee = self._owner if self._is_group else USER_PREFIX + self._owner
        if not self._stays:
            return people.delete_shares(connection, grantee)
        return people.move_shares(connection, grantee, self._to if self._is_group else USER_PREFIX + self._to)

    # --- models, and what protects them ---

    def _move_models(self, connection: Connection, models: Sequence[Model]) -> int:
        """Hand models over; gives how many needed a policy of their own, so as not to be less protected than before."""
        set_anew = 0
        for model in models:
            before = self._renamed(policies.in_force(connection, model).policy or UNPROTECTED)
            moved = msgspec.structs.replace(model, owner=self._to)
            registry.update(connection, model.id, self._context.clock(), owner=self._to)
            if weakened(before, policies.in_force(connection, moved).policy or UNPROTECTED):
                self._set_policy(connection, before, moved)
                set_anew += 1
            for each in (model, moved):
                aliases.announce(self._context, connection, "model.changed", each)
            self._audit(connection, "model.transfer", model.name, {"from": self._owner, "to": self._to})
        return set_anew

    def _move_policies(
        self, connection: Connection, named: Sequence[people.PolicyInForce], models: dict[str, Model]
    ) -> int:
        """Have policies name the other; a group's own becomes that of a group which has none."""
        set_anew = 0
        for each in named:
            if each.model_id is not None:
                model = models.get(each.model_id)
                if model is not None:
                    self._set_policy(connection, self._renamed(each.policy), model)
                    set_anew += 1
            elif each.owner == self._owner:
                set_anew += self._move_own_policy(connection, each.policy)
            else:
                self._set_policy(connection, self._renamed(each.policy), str(each.owner))
                set_anew += 1
        return set_anew

    def _move_own_policy(self, connection: Connection, policy: Policy) -> int:
        # Models are handed over with it in force still: where the other's demands less, each gets it as its own.
        if not self._to.startswith(GROUP_PREFIX):
            return 0
        if policies.in_force_for(connection, self._to).source is not PolicySource.DEFAULT:
            return 0
        self._set_policy(connection, self._renamed(policy), self._to)
        return 1

    def _renamed(self, policy: Policy) -> Policy:
        named = {self._to if name == self._owner else name for name in policy.approvers}
        return msgspec.structs.replace(policy, approvers=tuple(sorted(named)))

    def _set_policy(self, connection: Connection, policy: Policy, of: Model | str) -> None:
        put_in_force(self._context, connection, policy, of, reason=self._why)

    # --- requests ---

    def _touched(self, connection: Connection) -> dict[str, str]:
        """The open requests that cannot go on, with their models' ids."""
        found = people.open_requests(connection)
        return {
            request.request_id: found[request.request_id]
            for request in promotions.load(connection, list(found))
            if self._names(request)
        }

    def _names(self, request: Promotion) -> bool:
        names = {request.requester, request.asked_by, *request.policy.approvers}
        if self._stays:
            # Who reviewed or made it must not count once more under the new name.
            names |= {*request.authors, *(review.user for review in request.reviews)}
        return self._owner in names

    def _close_requests(self, connection: Connection, ids: Sequence[str], models: dict[str, Model]) -> int:
        now = deciding.latest_time(self._context, connection)
        about = promotions.models_of(connection, ids)
        closed = 0
        for request in promotions.load(connection, ids):
            model = models.get(about[request.request_id].id) if request.request_id in about else None
            # It may have been closed before its model was locked.
            if model is None or request.state is not PromotionState.OPEN:
                continue
            outcome, by = f"{self._why}: ask again", self._context.principal.name
            state = PromotionState.SUPERSEDED
            promotions.close(connection, request.request_id, state, now, by=by, outcome=outcome)
            deciding.tell(self._context, connection, model, request, "promotion.superseded", reason=outcome)
            closed += 1
        return closed

    # --- others ---

    def _move_webhooks(self, connection: Connection) -> int:
        if self._stays or self._is_group:
            return people.move_webhooks(connection, self._owner, self._to)
        return people.delete_webhooks(connection, self._owner)

    def _move_tokens(self, connection: Connection) -> int:
        # Those that were issued for a while stand for the old name; who still may asks for others.
        issued = issuedtokens.revoke_of(connection, self._owner)
        if self._stays:
            return issued + accesstokens.rename(connection, self._owner, self._to)
        return issued + accesstokens.revoke_of(connection, self._owner)

    def _audit(self, connection: Connection, action: str, target: str, detail: dict[str, object]) -> None:
        aliases.audit(self._context, connection, action, target, detail)


def _free_name(name: str, owner: str, taken: set[str]) -> str:
    """``name``, or what it is called where that is taken: with its owner behind it, and a number if need be."""
    if name not in taken:
        return name
    number = 1
    while True:
        behind = f" ({owner})" if number == 1 else f" ({owner}, {number})"
        candidate = name[: LONGEST_EXPERIMENT_NAME - len(behind)] + behind
        if candidate not in taken:
            return candidate
        number += 1
