"""Tokens that the store issued for a while, of which each request shows one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor

from tornado.web import RequestHandler

from jupyter_mlops.core.access import Principal
from jupyter_mlops.core.checks import token_digest
from jupyter_mlops.core.errors import Unauthenticated
from jupyter_mlops.core.formats import now
from jupyter_mlops.core.issued import TOKEN_PREFIX
from jupyter_mlops.service.identity import Identity
from jupyter_mlops.service.tokens import credential

KEPT_SECONDS = 10.0
"""How long an answer of the store counts: a thousand workers ask with the same token."""
_MOST = 10_000


class IssuedTokens:
    """An identity that knows the tokens that a store issued, and asks another one about all else.

    Parameters
    ----------
    identity
        The other one.
    find
        Gives the principal of a token by its digest; None when it does not count.
    executor
        Where ``find`` is called: it waits for a database.
    """

    def __init__(self, identity: Identity, find: Callable[[str], Principal | None], executor: Executor) -> None:
        self.handler_class: type[RequestHandler] = identity.handler_class
        self._identity = identity
        self._find = find
        self._executor = executor
        self._known: dict[str, tuple[Principal, float]] = {}

    async def principal(self, handler: RequestHandler, *, fresh: bool = False) -> Principal:
        token = credential(handler)
        if token is None or not token.startswith(TOKEN_PREFIX):
            return await self._identity.principal(handler, fresh=fresh)
        digest = token_digest(token)
        known, until = self._known.get(digest, (None, 0.0))
        if known is not None and time.monotonic() < until and not fresh and now() < (known.expires or 0):
            return known
        found = await asyncio.get_running_loop().run_in_executor(self._executor, self._find, digest)
        if found is None:
            self._known.pop(digest, None)
            raise Unauthenticated("this token has expired; whoever asked for it has to ask for another")
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[digest] = (found, time.monotonic() + KEPT_SECONDS)
        return found
