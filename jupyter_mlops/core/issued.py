"""Tokens that stand for a user for a limited time, with no more than writing to their things."""

from __future__ import annotations

import msgspec

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.checks import JOB_PREFIX
from jupyter_mlops.core.errors import InvalidValue, PermissionDenied
from jupyter_mlops.core.records import Record

TOKEN_PREFIX = "mlops_issued_"
"""What such a token begins with, so that it is not looked for elsewhere."""
DEFAULT_SECONDS = 3600
LONGEST_SECONDS = 24 * 3600
MOST_AT_ONCE = 100
"""Of one principal: all are looked through when one is made."""


class IssuedToken(Record, frozen=True, kw_only=True):
    """A token, which is told once."""

    token: str
    expires: int
    """From when on it counts no more, in milliseconds since the epoch."""


def lessened(principal: Principal, seconds: int, at: int) -> Principal:
    """Who a token stands for that ``principal`` asks for at the time ``at`` (milliseconds), for so many ``seconds`` but
    no longer than the credential counts by which ``principal`` is known.

    Raises
    ------
    InvalidValue
        It is no time that such a token may count.
    PermissionDenied
        ``principal`` is known by the token of a check, which counts while that goes on.
    """
    if not 1 <= seconds <= LONGEST_SECONDS:
        raise InvalidValue(f"seconds: {seconds} are not possible; a token counts for 1 to {LONGEST_SECONDS}")
    if principal.name.startswith(JOB_PREFIX):
        raise PermissionDenied("the token of a check gives no others")
    expires = at + 1000 * seconds
    return msgspec.structs.replace(
        principal,
        scope=min(principal.scope, Scope.WRITE),
        group_scopes=tuple((group, min(scope, Scope.WRITE)) for group, scope in principal.group_scopes),
        decides=False,
        expires=expires if principal.expires is None else min(expires, principal.expires),
    )
