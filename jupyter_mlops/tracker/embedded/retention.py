"""Retention: who may set and apply the rules, then the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.quotas import EVERY_GROUP, EVERY_USER
from jupyter_mlops.core.records import Collected
from jupyter_mlops.core.retention import Expired, Expiry, Retention, RetentionRule, checked_retention
from jupyter_mlops.store import ownerrules, settings
from jupyter_mlops.store import retention as store
from jupyter_mlops.store.retention import DAY_MS, Page
from jupyter_mlops.tracker.embedded._context import Context
from jupyter_mlops.tracker.embedded.collection import collect
from jupyter_mlops.tracker.embedded.quotas import readable_owners, require_admin, set_rule

MOST_LISTED = 1000
_DAILY = "upkeep.begun"
"""Under this setting, when the last round of :func:`daily` began, milliseconds since the epoch."""


@checked
class EmbeddedRetention:
    """See :class:`jupyter_mlops.tracker.limits.Retentions`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def rules(self) -> tuple[RetentionRule, ...]:
        principal = self._context.principal
        mine = {*readable_owners(principal, None), EVERY_USER, EVERY_GROUP}
        with self._context.read() as connection:
            found = ownerrules.entries(connection, ownerrules.RETENTION, Retention)
        return tuple(
            RetentionRule(subject=each.subject, retention=each.rule, user=each.set_by, at=each.at)
            for each in found
            if principal.scope >= Scope.ADMIN or each.subject in mine
        )

    def set(self, subject: str, retention: Retention | None) -> None:
        given = None if retention is None else checked_retention(retention)
        set_rule(self._context, ownerrules.RETENTION, subject, given)

    def preview(self, owner: str | None = None) -> Expiry:
        principal = self._context.principal
        everyone = owner is None and principal.scope >= Scope.ADMIN
        owners = None if everyone else readable_owners(principal, owner)
        return _summed(store.expired(self._context.read, self._context.clock(), owners))

    def apply(self) -> Expiry:
        principal = self._context.principal
        require_admin(principal, "deleting what is past its time")
        return _summed(store.expire(self._context.write, self._context.clock(), principal.name))


def daily(context: Context, collect_after_days: float) -> tuple[Expiry, Collected] | None:
    """Apply the rules, and collect what was deleted more than ``collect_after_days`` ago (nothing when 0), once a day;
    None when it is not time, or another does it."""
    now = context.clock()
    with context.read() as connection:
        begun = settings.get(connection, _DAILY)
        # From when it will not be for a day, a clock was wrong: it must not stay so until then.
        if begun is not None and abs(now - int(begun)) < DAY_MS:
            return None
        if not collect_after_days and not store.rules(connection):
            return None
    with context.write() as connection:
        settings.set_first(connection, _DAILY, "0")
        if not settings.swap(connection, _DAILY, begun or "0", str(now)):
            return None
    found = EmbeddedRetention(context).apply()
    age = collect_after_days * DAY_MS / 1000
    return found, collect(context, older_than_seconds=age) if collect_after_days else Collected()


def _summed(pages: Iterable[Page]) -> Expiry:
    by_owner: Counter[str] = Counter()
    listed: list[Expired] = []
    spared = 0
    for page in pages:
        by_owner.update(each.owner for each in page.expired)
        listed += page.expired[: MOST_LISTED - len(listed)]
        spared += page.spared
    return Expiry(runs=by_owner.total(), spared=spared, by_owner=dict(sorted(by_owner.items())), listed=tuple(listed))
