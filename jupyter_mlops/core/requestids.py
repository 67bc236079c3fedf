"""The id of a request: what finds it in a service's log. The service makes one, unless whoever asks sends theirs."""

from __future__ import annotations

import re

HEADER = "X-Request-Id"
"""Carries it, with a request and with each answer."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")


def accepted(given: str | None) -> str | None:
    """The id that a caller or a proxy sent: 8 to 64 letters, digits, ``.``, ``_`` and ``-``. None for anything else,
    which no log should repeat."""
    return given if given is not None and _ID.fullmatch(given) else None
