"""What happened, in a sentence, and in the forms that chats and mail take.

Texts of users go into these: nothing in them may mention a channel, be a link, or end a header.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from jupyter_mlops.core.formats import abridged, printable
from jupyter_mlops.core.records import Json
from jupyter_mlops.core.webhooks import Message, Template

_LONGEST_TEXT = 500
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+.!|~<>-])")


def sentence(message: Message) -> str:
    """One plain line."""
    data = message.data
    alias, version, replaced = (data.get(key) for key in ("alias", "version", "replaced"))
    name, user = message.model, message.user
    if message.type == "alias.moved" and version is None:
        told = f"{user} took the alias {alias} from {name}; it was version {replaced}"
    elif message.type == "alias.moved":
        was = f" (it was version {replaced})" if replaced is not None else ""
        told = f"{name}@{alias} is now version {version}{was}, by {user}"
    elif message.type == "consumed.moved":
        now = f"is now version {version}" if version is not None else "is gone"
        told = f"{name}@{alias}, which you load, {now} (it was version {replaced}), by {user}"
    elif message.type == "promotion.mentioned":
        told = f"{user} mentions you in a request for {name}@{alias}: {data.get('text')}"
    elif message.type == "version.created":
        told = f"{user} registered {name} version {version}"
    else:
        told = f"{message.type.replace('.', ' ').replace('_', ' ')}: {name}, by {user}"
        details = [f"{key} {value}" for key, value in data.items() if key in ("alias", "version", "state", "check")]
        told += f" ({', '.join(details)})" if details else ""
    reason = data.get("reason")
    return printable(abridged(f"{told}: {reason}" if reason else told, _LONGEST_TEXT))


def body(message: Message, template: Template) -> bytes:
    """The body of a message to a webhook, JSON."""
    if template is Template.SLACK:
        text = sentence(message).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return msgspec.json.encode({"text": f"{text}\n{message.link}".rstrip()})
    if template is Template.TEAMS:
        return msgspec.json.encode(_card(message))
    return msgspec.json.encode(message)


def subject(message: Message) -> str:
    """Of a mail."""
    return printable(abridged(f"[mlops] {message.model}: {message.type}", 200))


def mail_text(message: Message) -> str:
    """The text of a mail."""
    lines = [sentence(message), ""]
    lines += [
        f"{key}: {printable(abridged(str(value), _LONGEST_TEXT))}" for key, value in message.data.items() if value
    ]
    if message.link:
        lines += ["", message.link]
    return "\n".join(lines) + "\n"


def _card(message: Message) -> Mapping[str, Json]:
    text = _MARKDOWN.sub(r"\\\1", sentence(message))
    card: dict[str, Json] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "TextBlock", "text": text, "wrap": True}],
    }
    if message.link:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open", "url": message.link}]
    attachment: dict[str, Json] = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return {"type": "message", "attachments": [attachment]}
