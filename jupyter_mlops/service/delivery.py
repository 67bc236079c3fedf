"""Sends the messages of webhooks, for as long as the service runs. Several replicas may do so at once.

A receiver is somebody's URL: it is called only at addresses that the service may be asked to call, looked up once and
then connected to, and no redirect is followed. It may fail, hang or answer without end: each attempt is over after
:data:`ATTEMPT_SECONDS`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from tornado.httpclient import HTTPError, HTTPRequest
from tornado.netutil import Resolver
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from jupyter_mlops._version import __version__
from jupyter_mlops.core import addresses, wording
from jupyter_mlops.core.addresses import Network
from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.core.webhooks import MAIL, DeliveryState, Message, shown_url, signature
from jupyter_mlops.service.handlers import Service
from jupyter_mlops.service.mail import Mail
from jupyter_mlops.store.webhooks import Claimed

logger = logging.getLogger("jupyter_mlops.service")

ATTEMPT_SECONDS = 10.0
PERIOD_SECONDS = 1.0
"""How long a message waits at most before it is sent for the first time."""
_AT_ONCE = 16
_TRIM_SECONDS = 3600.0
_LARGEST_ANSWER = 64 << 10


class Refused(Exception):
    """The receiver's address is not one that this service may be asked to call."""


class GuardedResolver(Resolver):
    """Looks names up, and refuses those with an address that may not be called.

    What it gives is what is connected to, so that a name cannot lead elsewhere between the check and the connection.
    """

    def initialize(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[tuple[int, Any]]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        for each in found:
            if not addresses.is_allowed(str(each[4][0]), self._allowed):
                raise Refused(
                    f"{host} is at {each[4][0]}, which is no public address: an administrator may allow its network "
                    "(MLOpsService.webhook_networks)"
                )
        return [(each[0], each[4]) for each in found]


class Couriers:
    """Claims messages and sends them, for as long as :meth:`run` runs.

    Parameters
    ----------
    service
        Whose store's messages are sent.
    allowed
        Networks that may be called although they are not public.
    mail
        Sends what goes to a mail address; None where the service sends no mail.
    """

    def __init__(self, service: Service, allowed: Sequence[Network] = (), mail: Mail | None = None) -> None:
        self._service = service
        self._outgoing = service.tracker.outgoing()
        self._allowed = allowed
        self._mail = mail
        self._sending: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Do it until cancelled; what is being sent then is cut off, and sent again later."""
        loop = asyncio.get_running_loop()
        trimmed = loop.time()
        try:
            while True:
                try:
                    await self.dispatch()
                    if loop.time() - trimmed > _TRIM_SECONDS:
                        trimmed = loop.time()
                        await self._service.call(self._outgoing.trim)
                except MLOpsError as error:
                    logger.warning("messages to webhooks cannot be looked for: %s", error.message)
                except Exception:
                    logger.exception("messages to webhooks cannot be looked for")
                await self._pause()
        finally:
            for task in self._sending:
                task.cancel()

    async def dispatch(self) -> int:
        """Claim what is due and begin to send it; gives how many."""
        free = _AT_ONCE - len(self._sending)
        claimed = await self._service.call(partial(self._outgoing.claim, free)) if free else []
        for each in claimed:
            task = asyncio.create_task(self._deliver(each))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        return len(claimed)

    async def _pause(self) -> None:
        """Until something that was sent may have made room for the next, or the period is over."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=PERIOD_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(PERIOD_SECONDS)

    async def _deliver(self, claimed: Claimed) -> None:
        status, error = await self._attempt(claimed)
        try:
            if error is None:
                await self._service.call(partial(self._outgoing.delivered, claimed, status))
                self._service.metrics.attempted("delivered")
                return
            state = await self._service.call(partial(self._outgoing.failed, claimed, status, error))
        except MLOpsError as failure:
            # The claim runs out, and the message is sent once more.
            logger.warning("what became of message %s cannot be noted: %s", claimed.message.id, failure.message)
            return
        self._service.metrics.attempted("failed" if state is DeliveryState.FAILED else "repeated")
        if state is DeliveryState.FAILED:
            where = (claimed.message.id, shown_url(claimed.url), error)
            logger.warning("message %s to %s was given up: %s", *where)

    async def _attempt(self, claimed: Claimed) -> tuple[int | None, str | None]:
        """Send once; gives the status of the answer, if there was one, and what was wrong, if anything was."""
        try:
            message = self._with_link(claimed.message)
            if claimed.url.startswith(MAIL):
                await self._send_mail(claimed.url[len(MAIL) :], message)
                return None, None
            return await self._post(claimed, message)
        except (HTTPError, MLOpsError, Refused, OSError, ValueError) as error:
            return None, getattr(error, "message", "") or str(error) or type(error).__name__
        except Exception:
            logger.exception("message %s could not be sent", claimed.message.id)
            return None, "the service failed; its log tells more"

    def _with_link(self, message: Message) -> Message:
        page, request_id = self._service.page, message.data.get("request_id")
        if page is None or not page.is_public:
            return message
        link = page.of_request(request_id) if isinstance(request_id, str) else page.of_model(message.model)
        return msgspec.structs.replace(message, link=link)

    async def _post(self, claimed: Claimed, message: Message) -> tuple[int | None, str | None]:
        body = wording.body(message, claimed.template)
        timestamp = self._outgoing.now() // 1000
        request = HTTPRequest(
            claimed.url,
            method="POST",
            body=body,
            headers={
                "Content-Type": "application/json",
                "webhook-id": claimed.message.id,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": signature(claimed.secret, claimed.message.id, timestamp, body),
            },
            user_agent=f"jupyter-mlops/{__version__}",
            follow_redirects=False,
            decompress_response=False,
            connect_timeout=ATTEMPT_SECONDS,
            request_timeout=ATTEMPT_SECONDS,
        )
        resolver = GuardedResolver(allowed=self._allowed)
        # A client of its own for each attempt: nothing of another receiver is in it, and it queues nothing.
        client = SimpleAsyncHTTPClient(force_instance=True, resolver=resolver, max_body_size=_LARGEST_ANSWER)
        try:
            answer = await client.fetch(request, raise_error=False)
        finally:
            client.close()
        if 200 <= answer.code < 300:
            return answer.code, None
        told = "a redirect is not followed" if 300 <= answer.code < 400 else "it is tried again"
        return answer.code, f"it answered {answer.code}; {told}"

    async def _send_mail(self, address: str, message: Message) -> None:
        if self._mail is None:
            raise ValueError("this service sends no mail: an administrator sets MLOpsService.smtp_url")
        send = partial(self._mail.send, address, wording.subject(message), wording.mail_text(message), message.id)
        await self._service.call(send)
