"""The seals of the permanent record: made and compared for administrators."""

from __future__ import annotations

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.audit import AuditHead, AuditVerdict, SealedEntry, read_heads
from jupyter_mlops.core.errors import Conflict, InvalidValue, PermissionDenied
from jupyter_mlops.core.records import LARGEST_PAGE
from jupyter_mlops.core.values import LARGEST_INT, check_text
from jupyter_mlops.store import seals
from jupyter_mlops.tracker.embedded._context import Context

_LONGEST_PUBLISHED = 1 << 20
_ATTEMPTS = 5


def audit_head(context: Context) -> AuditHead:
    """Seal what is not sealed yet, and say how far the record reaches."""
    _require_admin(context.principal)
    attempts = _ATTEMPTS
    while True:
        try:
            with context.write() as connection:
                more = seals.seal(connection)
        except Conflict:
            # Another one sealed the same entries at the same time.
            attempts -= 1
            if not attempts:
                raise
            continue
        if not more:
            break
    with context.read() as connection:
        return seals.head(connection, context.clock())


def audit_verify(context: Context, published: str) -> AuditVerdict:
    """What became of the record since it was sealed and ``published``."""
    _require_admin(context.principal)
    heads = read_heads(check_text(published, "published", _LONGEST_PUBLISHED))
    with context.read() as connection:
        return seals.verify(connection, heads, context.clock())


def audit_export(context: Context, *, after: int, limit: int) -> tuple[SealedEntry, ...]:
    """The sealed entries behind the position ``after``, in order."""
    _require_admin(context.principal)
    if not 1 <= limit <= LARGEST_PAGE:
        raise InvalidValue(f"limit: {limit} is out of range; 1 to {LARGEST_PAGE} are possible")
    if not 0 <= after <= LARGEST_INT:
        raise InvalidValue(f"after: {after} is no position; 0 is before the first")
    with context.read() as connection:
        return seals.entries(connection, after, limit)


def _require_admin(principal: Principal) -> None:
    if principal.scope < Scope.ADMIN:
        raise PermissionDenied(f"the seals of the record need the scope 'admin', which {principal.name!r} lacks")
