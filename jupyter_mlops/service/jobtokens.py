"""Tokens of checks: what a notebook that examines a candidate may ask the service with, as long as its job goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from tornado.web import RequestHandler

from jupyter_mlops.core.access import Principal
from jupyter_mlops.core.checks import TOKEN_PREFIX, token_digest
from jupyter_mlops.core.errors import Unauthenticated
from jupyter_mlops.service.identity import Identity
from jupyter_mlops.service.tokens import credential


class JobTokens:
    """An identity that knows the tokens of jobs, and asks another one about all else.

    Parameters
    ----------
    identity
        The other one.
    find
        Gives the principal of a token by its digest; None when there is no such job, or it is over.
    executor
        Where ``find`` is called: it waits for a database.
    """

    def __init__(self, identity: Identity, find: Callable[[str], Principal | None], executor: Executor) -> None:
        self.handler_class: type[RequestHandler] = identity.handler_class
        self._identity = identity
        self._find = find
        self._executor = executor

    async def principal(self, handler: RequestHandler, *, fresh: bool = False) -> Principal:
        token = credential(handler)
        if token is None or not token.startswith(TOKEN_PREFIX):
            return await self._identity.principal(handler, fresh=fresh)
        # Asked anew each time: it counts no longer than the job goes on.
        found = await asyncio.get_running_loop().run_in_executor(self._executor, self._find, token_digest(token))
        if found is None:
            raise Unauthenticated("this token is that of a check, which is over or was begun again")
        return found
