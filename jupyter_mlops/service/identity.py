"""Who is asking: the one question that differs between a hub, a Jupyter server and a file of tokens."""

from __future__ import annotations

from typing import Protocol

from tornado.web import RequestHandler

from jupyter_mlops.core.access import Principal


class Identity(Protocol):
    """Answers for each request. Thread-safety is not needed: the event loop asks."""

    handler_class: type[RequestHandler]
    """The base of all handlers: what the surrounding server needs for its own checks (cookies, XSRF, origins)."""

    async def principal(self, handler: RequestHandler, *, fresh: bool = False) -> Principal:
        """Who made the request, and what their credential allows; with ``fresh`` as it is now, not as it was known a
        while ago.

        Raises
        ------
        Unauthenticated
            There is no credential, or none that counts.
        Unavailable
            It cannot be known now: nobody is let in.
        """
