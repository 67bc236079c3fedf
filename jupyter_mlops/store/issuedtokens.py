"""Tokens that the store gave out for a while: for each, who it stands for. What is kept of the token itself is its
SHA-256, so that whoever reads the store has no token."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.access import Principal
from jupyter_mlops.core.records import Record
from jupyter_mlops.store import schema, settings

_PREFIX = "token:"
"""Of their keys among the facts of the store; the digest follows."""

_setting = schema.setting.c
_ALL = sa.select(_setting.key, _setting.value).where(_setting.key.startswith(_PREFIX, autoescape=True))


class Issued(Record, frozen=True, kw_only=True):
    principal: Principal
    expires: int
    """Milliseconds since the epoch."""


def add(connection: Connection, digest: str, issued: Issued, now: int) -> None:
    """Keep a token, and forget those that have expired."""
    _forget(connection, lambda each: each.expires <= now)
    settings.set_first(connection, _PREFIX + digest, msgspec.json.encode(issued).decode())


def find(connection: Connection, digest: str, now: int) -> Issued | None:
    """The token of this digest; None when there is none, or it has expired."""
    value = settings.get(connection, _PREFIX + digest)
    found = None if value is None else msgspec.json.decode(value, type=Issued)
    return found if found is not None and found.expires > now else None


def remove(connection: Connection, digest: str) -> Issued | None:
    """Have a token count no more; gives it, or None when there is none."""
    value = settings.get(connection, _PREFIX + digest)
    if value is None:
        return None
    connection.execute(sa.delete(schema.setting).where(_setting.key == _PREFIX + digest))
    return msgspec.json.decode(value, type=Issued)


def count_of(connection: Connection, name: str) -> int:
    """How many tokens there are for who has this name."""
    return sum(msgspec.json.decode(value, type=Issued).principal.name == name for _, value in connection.execute(_ALL))


def revoke_of(connection: Connection, owner: str) -> int:
    """Have no token count any more that stands for ``owner``, that they answer for, or that creates things of theirs;
    gives how many there were."""
    return _forget(connection, lambda each: owner in (each.principal.person, *_owners(each.principal)))


def _owners(principal: Principal) -> tuple[str, ...]:
    return (principal.name,) if principal.default_owner is None else (principal.name, principal.default_owner)


def _forget(connection: Connection, which: Callable[[Issued], bool]) -> int:
    keys = [key for key, value in connection.execute(_ALL) if which(msgspec.json.decode(value, type=Issued))]
    if keys:
        connection.execute(sa.delete(schema.setting).where(_setting.key.in_(keys)))
    return len(keys)
