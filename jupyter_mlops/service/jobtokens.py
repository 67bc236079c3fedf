"""Tokens that the store knows: of a check, as long as its job goes on, and access tokens of what is no person."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from tornado.web import RequestHandler

from jupyter_mlops.core.access import Principal
from jupyter_mlops.core.accesstokens import SECRET_PREFIX
from jupyter_mlops.core.checks import TOKEN_PREFIX, token_digest
from jupyter_mlops.core.errors import Unauthenticated
from jupyter_mlops.service.identity import Identity
from jupyter_mlops.service.issuedtokens import IssuedTokens
from jupyter_mlops.service.tokens import credential
from jupyter_mlops.tracker.embedded import EmbeddedTracker


class JobTokens:
    """An identity that knows the tokens of jobs, or others that the store has, and asks another one about all else.

    Parameters
    ----------
    identity
        The other one.
    find
        Gives the principal of a token by its digest; None when there is no such job, or it is over.
    executor
        Where ``find`` is called: it waits for a database.
    prefix
        What such tokens begin with.
    unknown
        What somebody is told whose token is not found.
    """

    def __init__(
        self,
        identity: Identity,
        find: Callable[[str], Principal | None],
        executor: Executor,
        *,
        prefix: str = TOKEN_PREFIX,
        unknown: str = "this token is that of a check, which is over or was begun again",
    ) -> None:
        self.handler_class: type[RequestHandler] = identity.handler_class
        self._identity = identity
        self._find = find
        self._executor = executor
        self._prefix = prefix
        self._unknown = unknown

    async def principal(self, handler: RequestHandler, *, fresh: bool = False) -> Principal:
        token = credential(handler)
        if token is None or not token.startswith(self._prefix):
            return await self._identity.principal(handler, fresh=fresh)
        # Asked anew each time: it counts no longer than the store says.
        found = await asyncio.get_running_loop().run_in_executor(self._executor, self._find, token_digest(token))
        if found is None:
            raise Unauthenticated(self._unknown)
        return found


def with_stored_tokens(identity: Identity, tracker: EmbeddedTracker, executor: Executor) -> JobTokens:
    """``identity``, and all tokens that the store of ``tracker`` knows."""
    with_access_tokens = JobTokens(
        IssuedTokens(identity, tracker.principal_of_issued, executor),
        tracker.principal_of_access_token,
        executor,
        prefix=SECRET_PREFIX,
        unknown="this access token is not known here; it may have been revoked",
    )
    return JobTokens(with_access_tokens, tracker.principal_of_check, executor)
