"""The tracker's noun for webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from jupyter_mlops.core.webhooks import Delivery, Template, Webhook


class Webhooks(Protocol):
    """Who is told what happens to registered models, by a message to a URL or by mail. The service sends them: signed,
    at least once, and in order for each model (:mod:`jupyter_mlops.core.webhooks`). They are seen and changed by who
    may write to their owner's things; a group's are changed only by a principal that decides."""

    def create(
        self,
        url: str,
        *,
        model: str | None = None,
        owner: str | None = None,
        events: Sequence[str] = ("*",),
        template: Template | str = Template.JSON,
    ) -> Webhook:
        """Tell ``url`` (``https://…``, ``http://…`` or ``mailto:ADDRESS``) what happens to ``model``, or to all models
        of ``owner``. The answer alone has the secret that messages are signed with, and the whole URL."""

    def list(self, owner: str | None = None) -> tuple[Webhook, ...]:
        """The webhooks of ``owner``, or of all whose things the caller may write to; oldest first."""

    def delete(self, webhook_id: str) -> None:
        """Tell nothing any more, nor what waits to be told."""

    def deliveries(self, webhook_id: str, *, limit: int = 100) -> tuple[Delivery, ...]:
        """What it was and is to be told, newest first; kept for 30 days."""
