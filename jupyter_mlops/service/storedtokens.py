"""Tokens that the store knows: of a check, as long as its job goes on; access tokens of what is no person; and those
that were issued for a while to workers that write for a user."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import NamedTuple

from tornado.web import RequestHandler

from jupyter_mlops.core import accesstokens, checks, issued
from jupyter_mlops.core.access import Principal
from jupyter_mlops.core.credentials import token_digest
from jupyter_mlops.core.errors import Unauthenticated
from jupyter_mlops.core.formats import now
from jupyter_mlops.service.identity import Identity
from jupyter_mlops.service.tokens import credential
from jupyter_mlops.tracker.embedded import EmbeddedTracker

_MOST_KEPT = 10_000


class Kind(NamedTuple):
    """One kind of such tokens."""

    prefix: str
    """What they begin with."""
    find: Callable[[str], Principal | None]
    """Gives the principal of a token by its digest; None when it does not count. It waits for a database."""
    unknown: str
    """What somebody is told whose token does not count."""
    kept_seconds: float = 0.0
    """How long an answer of the store counts; with 0 it is asked at each request, and a token counts no longer than it
    says."""


def of_checks(find: Callable[[str], Principal | None]) -> Kind:
    return Kind(checks.TOKEN_PREFIX, find, "this token is that of a check, which is over or was begun again")


class StoredTokens:
    """An identity that knows tokens of these kinds, and asks another one about all else.

    Parameters
    ----------
    identity
        The other one.
    executor
        Where the store is asked.
    kinds
        What the store knows.
    """

    def __init__(self, identity: Identity, executor: Executor, kinds: Sequence[Kind]) -> None:
        self.handler_class: type[RequestHandler] = identity.handler_class
        self._identity = identity
        self._executor = executor
        self._kinds = kinds
        self._kept: dict[str, tuple[Principal, float]] = {}

    async def principal(self, handler: RequestHandler, *, fresh: bool = False) -> Principal:
        token = credential(handler) or ""
        for kind in self._kinds:
            if token.startswith(kind.prefix):
                return await self._principal(kind, token_digest(token), fresh)
        return await self._identity.principal(handler, fresh=fresh)

    async def _principal(self, kind: Kind, digest: str, fresh: bool) -> Principal:
        known, until = self._kept.get(digest, (None, 0.0))
        if known is not None and not fresh and time.monotonic() < until and now() < (known.expires or 0):
            return known
        found = await asyncio.get_running_loop().run_in_executor(self._executor, kind.find, digest)
        if found is None:
            self._kept.pop(digest, None)
            raise Unauthenticated(kind.unknown)
        if kind.kept_seconds:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[digest] = found, time.monotonic() + kind.kept_seconds
        return found


def with_stored_tokens(identity: Identity, tracker: EmbeddedTracker, executor: Executor) -> StoredTokens:
    """``identity``, and all tokens that the store of ``tracker`` knows."""
    kinds = (
        of_checks(tracker.principal_of_check),
        Kind(
            accesstokens.SECRET_PREFIX,
            tracker.principal_of_access_token,
            "this access token is not known here; it may have been revoked",
        ),
        Kind(
            issued.TOKEN_PREFIX,
            tracker.principal_of_issued,
            "this token has expired; whoever asked for it has to ask for another",
            # A thousand workers ask with the same token.
            kept_seconds=10.0,
        ),
    )
    return StoredTokens(identity, executor, kinds)
