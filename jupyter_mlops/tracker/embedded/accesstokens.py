"""Access tokens: who may make, see and revoke them, and whom they stand for."""

from __future__ import annotations

import logging

import msgspec
from sqlalchemy.engine import Connection

from jupyter_mlops.core import access, accesstokens
from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.accesstokens import DEFAULT_DAYS, AccessToken
from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.credentials import new_token, token_digest
from jupyter_mlops.core.errors import MLOpsError, NotFound, PermissionDenied, Unauthenticated
from jupyter_mlops.core.ids import is_id, new_id
from jupyter_mlops.core.values import short
from jupyter_mlops.store import accesstokens as store
from jupyter_mlops.store import events
from jupyter_mlops.tracker.embedded._context import Context

logger = logging.getLogger("jupyter_mlops")

_NOTED_MS = 60 * 60 * 1000
"""How often it is noted that a token is in use."""


@checked
class EmbeddedAccessTokens:
    """See :class:`jupyter_mlops.tracker.accesstokens.AccessTokens`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def create(
        self, name: str, *, owner: str | None = None, scope: str = "write", days: int = DEFAULT_DAYS
    ) -> AccessToken:
        accesstokens.token_name(name)
        wanted, lifetime = accesstokens.token_scope(scope), accesstokens.lifetime(days)
        principal, now = self._context.principal, self._context.clock()
        chosen = self._context.owner_of_new(owner, f"access token {name!r}")
        if principal.scope_on(chosen) < wanted:
            raise PermissionDenied(f"access token {name!r}: it would allow more than {principal.name!r} may do")
        access.require_decision(principal, f"access token {name!r}")
        secret = new_token(accesstokens.SECRET_PREFIX)
        new = AccessToken(
            token_id=new_id(),
            name=name,
            owner=chosen,
            scope=scope,
            user=principal.person,
            created=now,
            expires=now + lifetime,
        )
        with self._context.write() as connection:
            store.insert(connection, new, token_digest(secret))
            self._audit(connection, "token.create", new)
        return msgspec.structs.replace(new, secret=secret)

    def list(self, owner: str | None = None) -> tuple[AccessToken, ...]:
        owners = self._context.writable_owners
        if owner is not None:
            owners = (owner,) if owners is None or owner in owners else ()
        with self._context.read() as connection:
            return store.load(connection, owners, self._context.clock() - store.KEPT_MS)

    def revoke(self, token_id: str) -> None:
        principal, what = self._context.principal, f"access token {short(token_id)}"
        with self._context.write() as connection:
            found = store.find(connection, token_id) if is_id(token_id) else None
            if found is None:
                raise NotFound(f"{what} does not exist")
            access.require(principal, found.owner, Scope.WRITE, what)
            access.require_decision(principal, what)
            store.delete(connection, token_id)
            self._audit(connection, "token.revoke", found)

    def _audit(self, connection: Connection, action: str, token: AccessToken) -> None:
        detail = {"name": token.name, "owner": token.owner, "scope": token.scope, "expires": token.expires}
        now = self._context.clock()
        events.add_audit(connection, self._context.principal.name, action, token.token_id, now, dict(detail))


def principal_of_token(context: Context, digest: str) -> Principal | None:
    """Who comes with the token of that hash; None when there is none, ``Unauthenticated`` when it has expired."""
    now = context.clock()
    with context.read() as connection:
        found = store.find_digest(connection, digest)
    if found is None:
        return None
    if found.expires <= now:
        raise Unauthenticated("this access token has expired; make another")
    if found.last_used is None or now - found.last_used >= _NOTED_MS:
        try:
            with context.write() as connection:
                store.note_use(connection, found.token_id, now)
        except MLOpsError as error:
            # Who reads gets what they ask for also when nothing can be written.
            logger.warning("the use of access token %s could not be noted: %s", found.token_id, error.message)
    return found.principal()
