"""Tokens for processes elsewhere that write for a user: see :mod:`jupyter_mlops.core.issued`."""

from __future__ import annotations

import msgspec

from jupyter_mlops.core.access import Principal
from jupyter_mlops.core.credentials import new_token, token_digest
from jupyter_mlops.core.errors import Conflict
from jupyter_mlops.core.issued import MOST_AT_ONCE, TOKEN_PREFIX, IssuedToken, lessened
from jupyter_mlops.store import accesstokens, events, issuedtokens
from jupyter_mlops.store.issuedtokens import Issued
from jupyter_mlops.tracker.embedded._context import Context


def issue(context: Context, seconds: int) -> IssuedToken:
    """See :meth:`jupyter_mlops.tracker.protocol.Tracker.issue_token`."""
    at = context.clock()
    principal = lessened(context.principal, seconds, at)
    assert principal.expires is not None
    issued = Issued(principal=principal, expires=principal.expires)
    token = new_token(TOKEN_PREFIX)
    with context.write() as connection:
        issuedtokens.add(connection, token_digest(token), issued, at)
        if issuedtokens.count_of(connection, principal.name) > MOST_AT_ONCE:
            raise Conflict(
                f"{principal.name!r} has {MOST_AT_ONCE} issued tokens: revoke those that are not needed, or wait until "
                "they have expired"
            )
        events.add_audit(connection, principal.name, "token.issue", principal.name, at)
    return IssuedToken(token=token, expires=issued.expires)


def revoke(context: Context, token: str) -> None:
    """See :meth:`jupyter_mlops.tracker.protocol.Tracker.revoke_token`."""
    with context.write() as connection:
        found = issuedtokens.remove(connection, token_digest(token))
        if found is not None:
            events.add_audit(connection, context.principal.name, "token.revoke", found.principal.name, context.clock())


def principal_of_token(context: Context, digest: str) -> Principal | None:
    """Who an issued token stands for, by its digest, in those groups of which they still are members; None when it does
    not count, or the access token does not any more by which it was asked for."""
    with context.read() as connection:
        found = issuedtokens.find(connection, digest, context.clock())
        if found is None:
            return None
        principal = found.principal
        if principal.token_id is not None:
            # An access token is of one group, whose member it is as long as there is the token.
            return None if accesstokens.find(connection, principal.token_id) is None else principal
    return msgspec.structs.replace(
        principal, groups=frozenset(group for group in principal.groups if _is_member(context, principal, group))
    )


def _is_member(context: Context, principal: Principal, group: str) -> bool:
    members = context.store.members(group)
    return members is None or principal.name in members
