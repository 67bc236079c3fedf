"""Collection: who may, then the store."""

from __future__ import annotations

import msgspec

from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.errors import InvalidValue, PermissionDenied
from jupyter_mlops.core.records import Collected
from jupyter_mlops.store import collect as store
from jupyter_mlops.store import events
from jupyter_mlops.tracker.embedded import _context
from jupyter_mlops.tracker.embedded._context import Context

_LONGEST_AGE = 1e10
"""Seconds: some 300 years."""


def collect(context: Context, *, older_than_seconds: float = 0.0, dry_run: bool = False) -> Collected:
    """See :meth:`jupyter_mlops.tracker.protocol.Tracker.gc`. For administrators: it is about everybody's things."""
    if not 0 <= older_than_seconds <= _LONGEST_AGE:
        raise InvalidValue(f"older_than_seconds: {older_than_seconds} is no age; 0 to {_LONGEST_AGE:.0f} are possible")
    principal = context.principal
    if principal.scope < Scope.ADMIN:
        raise PermissionDenied(f"collecting needs the scope 'admin', which {principal.name!r} lacks")
    now = context.clock()
    cutoff = now - round(older_than_seconds * 1000)
    if dry_run:
        return store.preview(context.database, context.blobs, cutoff)
    collected = store.collect(context.database, context.blobs, cutoff, seconds=_context.ANSWER_SECONDS)
    if collected not in (Collected(), Collected(unfinished=True)):
        with context.write() as connection:
            detail = msgspec.to_builtins(collected)
            events.add_audit(connection, principal.name, "store.collect", "store", context.clock(), detail)
    return collected
