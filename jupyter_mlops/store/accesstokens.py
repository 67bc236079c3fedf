"""Access tokens: rows and records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.access import GROUP_PREFIX
from jupyter_mlops.core.accesstokens import AccessToken
from jupyter_mlops.store.parameters import among
from jupyter_mlops.store.schema_access import access_token

KEPT_MS = 30 * 24 * 3600 * 1000
"""How long a token is to be seen that counts no more."""
_token = access_token.c


def insert(connection: Connection, new: AccessToken, digest: str) -> None:
    """Insert a token, and forget those that expired long ago."""
    connection.execute(access_token.delete().where(_token.expires < new.created - KEPT_MS))
    row = {
        "id": new.token_id,
        "digest": digest,
        "name": new.name,
        "owner": new.owner,
        "scope": new.scope,
        "created_by": new.user,
        "created": new.created,
        "expires": new.expires,
    }
    connection.execute(access_token.insert(), row)


def load(connection: Connection, owners: Sequence[str] | None, oldest: int) -> tuple[AccessToken, ...]:
    """The tokens of ``owners`` (None: of all) that count since ``oldest`` or later, oldest first."""
    query = sa.select(access_token).where(_token.expires >= oldest)
    if owners is not None:
        query = query.where(among(_token.owner, "owners", owners))
    return tuple(_record(row) for row in connection.execute(query.order_by(_token.created, _token.id)))


def find(connection: Connection, token_id: str) -> AccessToken | None:
    """The token of an id."""
    return _one(connection, sa.select(access_token).where(_token.id == token_id))


def find_digest(connection: Connection, digest: str) -> AccessToken | None:
    """The token of a hash."""
    return _one(connection, sa.select(access_token).where(_token.digest == digest))


def note_use(connection: Connection, token_id: str, now: int) -> None:
    """Note that a token is in use."""
    connection.execute(sa.update(access_token).where(_token.id == token_id).values(last_used=now))


def delete(connection: Connection, token_id: str) -> None:
    connection.execute(access_token.delete().where(_token.id == token_id))


def revoke_of(connection: Connection, owner: str) -> int:
    """Delete the tokens that a user made or that work on the things of an owner; gives how many."""
    of = sa.or_(_token.owner == owner, _token.created_by == owner)
    return connection.execute(access_token.delete().where(of)).rowcount


def rename(connection: Connection, owner: str, to: str) -> int:
    """Have tokens name an owner by another name; gives how many."""
    moved = connection.execute(sa.update(access_token).where(_token.owner == owner).values(owner=to)).rowcount
    if owner.startswith(GROUP_PREFIX):
        return moved
    made = sa.update(access_token).where(_token.created_by == owner)
    others = connection.execute(made.where(_token.owner != to).values(created_by=to)).rowcount
    connection.execute(made.values(created_by=to))
    return moved + others


def _one(connection: Connection, query: sa.Select[Any]) -> AccessToken | None:
    row = connection.execute(query).one_or_none()
    return None if row is None else _record(row)


def _record(row: Any) -> AccessToken:
    return AccessToken(
        token_id=row.id,
        name=row.name,
        owner=row.owner,
        scope=row.scope,
        user=row.created_by,
        created=row.created,
        expires=row.expires,
        last_used=row.last_used,
    )
