"""Retention: who may set and apply the rules, then the store."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial

from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.quotas import EVERY_GROUP, EVERY_USER
from jupyter_mlops.core.records import Collected
from jupyter_mlops.core.retention import (
    Expiry,
    Retention,
    RetentionRule,
    all_collected,
    checked_retention,
    together,
    whole,
)
from jupyter_mlops.store import ownerrules, settings, staging, tokens
from jupyter_mlops.store import retention as store
from jupyter_mlops.store.retention import DAY_MS, Page, Place
from jupyter_mlops.tracker.embedded import _context
from jupyter_mlops.tracker.embedded._context import Context
from jupyter_mlops.tracker.embedded.collection import collect
from jupyter_mlops.tracker.embedded.quotas import readable_owners, require_admin, set_rule

_LISTING = "retention"
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

    def preview(self, owner: str | None = None, *, page_token: str | None = None) -> Expiry:
        principal = self._context.principal
        everyone = owner is None and principal.scope >= Scope.ADMIN
        owners = None if everyone else readable_owners(principal, owner)
        after = _place(page_token)
        pages = store.expired(self._context.read, self._context.clock(), owners, after)
        return together(_within(_context.ANSWER_SECONDS, pages))

    def apply(self, *, page_token: str | None = None) -> Expiry:
        principal = self._context.principal
        require_admin(principal, "deleting what is past its time")
        after = _place(page_token)
        pages = store.expire(self._context.write, self._context.clock(), principal.name, after)
        return together(_within(_context.ANSWER_SECONDS, pages))


def daily(context: Context, collect_after_days: float) -> tuple[Expiry, Collected] | None:
    """Apply the rules, give up uploads that nobody has gone on with, and collect what was deleted more than
    ``collect_after_days`` ago (nothing when 0), once a day; None when it is not time, or another does it."""
    now = context.clock()
    with context.read() as connection:
        begun = settings.get(connection, _DAILY)
        # From when it will not be for a day, a clock was wrong: it must not stay so until then.
        if begun is not None and abs(now - int(begun)) < DAY_MS:
            return None
        if not (collect_after_days or store.rules(connection) or staging.any_overdue(connection, now)):
            return None
    with context.write() as connection:
        settings.set_first(connection, _DAILY, "0")
        if not settings.swap(connection, _DAILY, begun or "0", str(now)):
            return None
    retention = EmbeddedRetention(context)
    found = whole(lambda token: retention.apply(page_token=token))
    if not collect_after_days:
        # A collection would do it; until one is asked for, their bytes take no room from their owners.
        with context.write() as connection:
            staging.expire(connection, now)
        return found, Collected()
    return found, all_collected(partial(collect, context, older_than_seconds=collect_after_days * DAY_MS / 1000))


def _place(page_token: str | None) -> Place | None:
    if page_token is None:
        return None
    place = tokens.decode(_LISTING, page_token, Place)
    if not all(map(tokens.is_storable, (place.experiment_id, place.start_time, place.run_id))):
        raise InvalidValue(f"page_token {page_token[:60]!r} is none that was given: begin without a token")
    return place


def _within(seconds: float, pages: Iterable[Page]) -> Iterator[Expiry]:
    """What the pages come to that are there after so many seconds, one at least; then where the next begins."""
    deadline = time.monotonic() + seconds
    for page in pages:
        owners = Counter(each.owner for each in page.expired)
        yield Expiry(runs=owners.total(), spared=page.spared, by_owner=owners, listed=page.expired)
        if time.monotonic() >= deadline:
            yield Expiry(next_page_token=tokens.encode(_LISTING, page.last))
            return
