"""Webhooks: who is told what happens to registered models, and how a message is signed and tried again.

Signing is that of `Standard Webhooks <https://www.standardwebhooks.com>`_, for which receivers have libraries: the
headers ``webhook-id``, ``webhook-timestamp`` and ``webhook-signature``, HMAC-SHA256 over ``id.timestamp.body``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from enum import Enum
from urllib.parse import urlsplit

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Json, Record
from jupyter_mlops.core.values import check_text, short

LONGEST_URL = 2000
LONGEST_ERROR = 500
SECRET_PREFIX = "whsec_"
MAIL = "mailto:"
ATTEMPTS = 20
"""How often a message is tried, over two days and a half."""
TOLERANCE_SECONDS = 300
"""How old a signed message may be when it is looked at, so that nobody sends an old one again."""
KINDS = ("model", "version", "alias", "promotion", "policy", "consumed")
"""What the kinds of events that a webhook may ask for begin with."""

_FIRST_DELAY_MS = 5_000
_LONGEST_DELAY_MS = 8 * 3600 * 1000
_KIND = re.compile(rf"({'|'.join(KINDS)})\.(\*|[a-z_]{{1,40}})|\*")
_MAIL_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+")


class Template(str, Enum):
    """What a message looks like."""

    JSON = "json"
    """The event itself."""
    SLACK = "slack"
    """A sentence for an incoming webhook of Slack, or of what understands the same (Mattermost)."""
    TEAMS = "teams"
    """An adaptive card for a workflow of Microsoft Teams."""


class DeliveryState(str, Enum):
    WAITING = "waiting"
    """To be sent, or tried again."""
    DELIVERED = "delivered"
    FAILED = "failed"
    """Given up after :data:`ATTEMPTS`."""


class Webhook(Record, frozen=True, kw_only=True):
    """Somebody who is told what happens to the models of ``owner``."""

    webhook_id: str
    owner: str
    """A user's name, or ``group:NAME``."""
    model: str | None = None
    """Only what happens to this one."""
    url: str
    """Where messages go; without its path and query, which may be a secret, except when it was just created."""
    events: tuple[str, ...] = ("*",)
    template: Template = Template.JSON
    user: str
    """Who created it."""
    created: int
    secret: str | None = None
    """What messages are signed with; told only when it was just created."""


class Delivery(Record, frozen=True, kw_only=True):
    """One message to one webhook, and how far it got."""

    number: int
    webhook_id: str
    message_id: str
    """The ``webhook-id`` of its header, the same at each attempt: receivers tell repetitions by it."""
    kind: str
    model: str
    state: DeliveryState
    attempts: int
    created: int
    next_attempt: int | None = None
    """When it is tried again, if it is waiting."""
    ended: int | None = None
    status: int | None = None
    """Of the last answer, if there was one."""
    error: str = ""
    """Why the last attempt failed."""


class Message(Record, frozen=True, kw_only=True):
    """The body of a message, as ``json`` has it."""

    id: str
    type: str
    """Such as ``alias.moved``."""
    model: str
    owner: str
    timestamp: int
    """When it happened, in milliseconds since the epoch."""
    user: str
    """Who did it."""
    data: Mapping[str, Json]
    """What is to be known of it: for ``alias.moved`` the ``alias``, the ``version`` it is now (or null), the version
    that it ``replaced``, the ``reason``, and the ``consumers`` who load the model by that alias."""
    link: str = ""
    """Where it is looked at; empty where the service was not told by which name browsers reach it."""


def target_url(url: object) -> str:
    """The URL of a webhook, checked: ``https://``, ``http://`` or ``mailto:ADDRESS``, without a password."""
    text = check_text(url, "url", LONGEST_URL)
    if text.startswith(MAIL):
        if _MAIL_ADDRESS.fullmatch(text[len(MAIL) :]) is None:
            raise InvalidValue(f"url: {short(text)} names no mail address; write mailto:team@example.org")
        return text
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or re.search(r"[\s\0-\x1f\\]", text):
        raise InvalidValue("url: a webhook's URL is https://HOST/..., http://HOST/... or mailto:ADDRESS")
    if parts.username is not None or parts.password is not None:
        raise InvalidValue("url: a password does not belong into a webhook's URL; receivers verify the signature")
    return text


def shown_url(url: str) -> str:
    """The URL without what may be a secret in it: paths of Slack's and Teams' webhooks are their passwords."""
    if url.startswith(MAIL):
        return url
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/" + ("…" if parts.path.strip("/") or parts.query else "")


def event_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """Kinds of events, checked: ``*``, ``alias.*``, ``alias.moved``."""
    if not kinds:
        raise InvalidValue("events: name one at least; '*' is all")
    for kind in kinds:
        if _KIND.fullmatch(kind) is None:
            listed = ", ".join(f"'{each}.*'" for each in KINDS)
            raise InvalidValue(f"events: {short(kind)} is no kind of event; '*', {listed} and 'alias.moved' are")
    return tuple(dict.fromkeys(kinds))


def wants(kinds: Sequence[str], kind: str) -> bool:
    """Whether who asked for ``kinds`` is told of ``kind``."""
    return any(each in ("*", kind) or (each.endswith(".*") and kind.startswith(each[:-1])) for each in kinds)


def new_secret() -> str:
    """A secret of 256 bits, in the form that receivers' libraries take."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``; ``timestamp`` in seconds."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise InvalidValue("a webhook's secret is whsec_ and base64") from error
    signed = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def verify_signature(secret: str, headers: Mapping[str, str], body: bytes, *, now: float) -> bool:
    """Whether a received message is what this service signed, not long ago; ``headers`` by lower-case names, ``now``
    in seconds since the epoch. For receivers in Python."""
    told = headers.get("webhook-timestamp", "")
    if not (told.isascii() and told.isdigit() and len(told) <= 12) or abs(now - int(told)) > TOLERANCE_SECONDS:
        return False
    expected = signature(secret, headers.get("webhook-id", ""), int(told), body)
    given = headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(expected.encode(), each.encode()) for each in given)


def delay_ms(attempts: int) -> int:
    """How long to wait after so many failed attempts: 5 s, twice as long each time, 8 h at most."""
    return min(_FIRST_DELAY_MS << min(attempts - 1, 20), _LONGEST_DELAY_MS)
