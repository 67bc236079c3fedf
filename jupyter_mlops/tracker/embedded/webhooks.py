"""Webhooks: who may, then the store; and their messages, as the service that sends them needs them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.engine import Connection

from jupyter_mlops.core import access
from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.errors import InvalidValue, NotFound
from jupyter_mlops.core.formats import abridged
from jupyter_mlops.core.ids import is_id, new_id
from jupyter_mlops.core.records import Json
from jupyter_mlops.core.values import short
from jupyter_mlops.core.webhooks import (
    ATTEMPTS,
    LONGEST_ERROR,
    MAIL,
    Delivery,
    DeliveryState,
    Template,
    Webhook,
    delay_ms,
    event_kinds,
    new_secret,
    shown_url,
    target_url,
)
from jupyter_mlops.store import events as outbox
from jupyter_mlops.store import webhooks
from jupyter_mlops.store.webhooks import Claimed
from jupyter_mlops.tracker.embedded._context import Context, OpenStore
from jupyter_mlops.tracker.protocol import LARGEST_PAGE

CLAIM_MS = 120_000
"""How long an attempt may take; a process that claims one and dies is followed then."""


@checked
class EmbeddedWebhooks:
    """See :class:`jupyter_mlops.tracker.protocol.Webhooks`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def create(
        self,
        url: str,
        *,
        model: str | None = None,
        owner: str | None = None,
        events: Sequence[str] = ("*",),
        template: Template | str = Template.JSON,
    ) -> Webhook:
        url = target_url(url)
        kinds = event_kinds(events)
        shape = _template(template)
        if url.startswith(MAIL) and shape is not Template.JSON:
            raise InvalidValue("template: a mail has one form only; leave it out")
        if model is not None and owner is not None:
            raise InvalidValue("give a model or an owner, not both: a model has its owner's webhooks")
        principal = self._context.principal
        with self._context.write() as connection:
            if model is None:
                model_id, whose = None, self._context.owner_of_new(owner, "a webhook")
            else:
                found = self._context.model_allowed(connection, model, Scope.WRITE)
                model_id, whose = found.id, found.owner
            if whose != principal.name:
                access.require_decision(principal, f"webhooks of {whose!r}")
            new = Webhook(
                webhook_id=new_id(),
                owner=whose,
                model=model,
                url=url,
                events=kinds,
                template=shape,
                user=principal.name,
                created=self._context.clock(),
                secret=new_secret(),
            )
            webhooks.insert(connection, new, model_id)
            self._audit(connection, "webhook.create", new)
        return new

    def list(self, owner: str | None = None) -> tuple[Webhook, ...]:
        owners = self._context.writable_owners
        if owner is not None:
            owners = (owner,) if owners is None or owner in owners else ()
        with self._context.read() as connection:
            return webhooks.load(connection, owners)

    def delete(self, webhook_id: str) -> None:
        principal = self._context.principal
        with self._context.write() as connection:
            found = self._found(connection, webhook_id)
            if found.owner != principal.name:
                access.require_decision(principal, f"webhooks of {found.owner!r}")
            webhooks.delete(connection, webhook_id)
            self._audit(connection, "webhook.delete", found)

    def deliveries(self, webhook_id: str, *, limit: int = 100) -> tuple[Delivery, ...]:
        if not 1 <= limit <= LARGEST_PAGE:
            raise InvalidValue(f"limit: {limit} is out of range; 1 to {LARGEST_PAGE} are possible")
        with self._context.read() as connection:
            self._found(connection, webhook_id)
            return webhooks.deliveries(connection, webhook_id, limit)

    def _found(self, connection: Connection, webhook_id: str) -> Webhook:
        what = f"webhook {short(webhook_id)}"
        found = webhooks.load(connection, None, webhook_id) if is_id(webhook_id) else ()
        if not found:
            raise NotFound(f"{what} does not exist")
        access.require(self._context.principal, found[0].owner, Scope.WRITE, what)
        return found[0]

    def _audit(self, connection: Connection, action: str, hook: Webhook) -> None:
        # The path of a URL may be a secret.
        detail: Json = {"owner": hook.owner, "model": hook.model, "url": shown_url(hook.url)}
        outbox.add_audit(
            connection, self._context.principal.name, action, hook.webhook_id, self._context.clock(), detail
        )


class Outgoing:
    """The messages of a whole store, for the service that sends them. Threads and replicas may use it at once."""

    def __init__(self, store: OpenStore) -> None:
        self._store = store

    def now(self) -> int:
        """Milliseconds since the epoch, as the store has them."""
        return self._store.clock()

    def claim(self, limit: int) -> list[Claimed]:
        """Messages to send now, ``limit`` at most; each is to be settled within :data:`CLAIM_MS`."""
        now = self._store.clock()
        with self._store.database.read() as connection:
            numbers = webhooks.due(connection, now, limit)
        if not numbers:
            return []
        with self._store.database.write() as connection:
            return webhooks.claim(connection, numbers, now, now + CLAIM_MS)

    def delivered(self, done: Claimed, status: int | None) -> None:
        """Note that it arrived."""
        now = self._store.clock()
        with self._store.database.write() as connection:
            state = DeliveryState.DELIVERED
            webhooks.settle(connection, done, state, at=now, next_attempt=now, status=status, error="")

    def failed(self, done: Claimed, status: int | None, error: str) -> DeliveryState:
        """Note that it did not; gives whether it is tried again."""
        now = self._store.clock()
        state = DeliveryState.WAITING if done.attempts < ATTEMPTS else DeliveryState.FAILED
        told, again = abridged(error, LONGEST_ERROR), now + delay_ms(done.attempts)
        with self._store.database.write() as connection:
            webhooks.settle(connection, done, state, at=now, next_attempt=again, status=status, error=told)
        return state

    def trim(self) -> None:
        """Forget what ended long ago."""
        with self._store.database.write() as connection:
            webhooks.trim(connection, self._store.clock())


def _template(name: Template | str) -> Template:
    try:
        return Template(name)
    except ValueError:
        choices = ", ".join(repr(each.value) for each in Template)
        raise InvalidValue(f"template: {short(name)} is none; {choices} are") from None
