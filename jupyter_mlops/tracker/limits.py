"""The tracker's nouns for what owners may have: quotas, and how long runs are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from jupyter_mlops.core.errors import NotFound
from jupyter_mlops.core.quotas import Quota, QuotaRule, Standing
from jupyter_mlops.core.retention import Expiry, Retention, RetentionRule

if TYPE_CHECKING:
    from jupyter_mlops.tracker.protocol import Tracker


def quota_warnings(tracker: Tracker) -> tuple[str, ...]:
    """What to say of quotas of the caller and their groups that are nearly used up: sentences without a full stop. None
    where the store is of a version without quotas."""
    try:
        return tuple(warning for each in tracker.quotas.standing() for warning in each.warnings)
    except NotFound:
        return ()


class Quotas(Protocol):
    """How much the things of an owner may take (:mod:`jupyter_mlops.core.quotas`). What finds no room is refused with
    ``QuotaExceeded``, and nothing of it is stored; reading, deleting and what takes no room go on."""

    def standing(self, owner: str | None = None, *, everyone: bool = False) -> tuple[Standing, ...]:
        """What of their quotas the caller and their groups use, or one ``owner`` whose things the caller may read.
        ``everyone`` gives all that have something, who uses most first; for administrators."""

    def rules(self) -> tuple[QuotaRule, ...]:
        """The quotas that were set, by subject; for administrators."""

    def set(self, subject: str, quota: Quota | None) -> None:
        """Give a user, ``group:NAME``, all users (``*``) or all groups (``group:*``) a quota, or take theirs back. One
        that is below what there is deletes nothing. For administrators."""

    def recount(self) -> int:
        """Count again what everybody has; gives how many counters were wrong. For administrators."""


class Retentions(Protocol):
    """How long runs are kept (:mod:`jupyter_mlops.core.retention`). What its rule no longer keeps is deleted, and can
    be restored until it is collected. Never: runs that have not ended, runs that promoted models descend from, those
    tagged ``mlops.keep``, and the parents of any of these. A service applies the rules once a day.

    One answer takes some seconds at most: of very many runs it is of a part, and has a ``next_page_token`` for the rest
    (:func:`~jupyter_mlops.core.retention.whole` asks for all)."""

    def rules(self) -> tuple[RetentionRule, ...]:
        """The rules that concern the caller and their groups, by subject; for administrators all."""

    def set(self, subject: str, retention: Retention | None) -> None:
        """Give a user, ``group:NAME``, all users (``*``) or all groups (``group:*``) a rule, or take theirs back. For
        administrators."""

    def preview(self, owner: str | None = None, *, page_token: str | None = None) -> Expiry:
        """What :meth:`apply` would delete now, and why: of ``owner``, whose things the caller may read; else of the
        caller and their groups, for administrators of all."""

    def apply(self, *, page_token: str | None = None) -> Expiry:
        """Delete what the rules no longer keep; each run is on record. For administrators."""
