"""Page tokens: opaque text that names a place in a listing, and is bound to what was asked."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TypeVar

import msgspec

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.values import LARGEST_INT, SMALLEST_INT

P = TypeVar("P", bound=msgspec.Struct)

_BINDING = 8


def encode(query: str, place: msgspec.Struct) -> str:
    """The token of ``place`` in the listing that ``query`` describes."""
    return base64.urlsafe_b64encode(_binding(query) + msgspec.msgpack.encode(place)).decode().rstrip("=")


def decode(query: str, token: str, place: type[P]) -> P:
    """The place of a token. Raises ``InvalidValue`` for what is no token, or one of another query."""
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        if data[:_BINDING] != _binding(query):
            raise InvalidValue(
                f"page_token {token[:60]!r} is of another query: repeat that one, or begin without a token"
            )
        return msgspec.msgpack.decode(data[_BINDING:], type=place)
    except (binascii.Error, UnicodeError, ValueError, msgspec.DecodeError, AttributeError, TypeError) as error:
        raise InvalidValue(f"page_token {str(token)[:60]!r} is none that was given: begin without a token") from error


def is_storable(value: object) -> bool:
    """Whether a database takes a value out of a token, which anyone may have made up."""
    if isinstance(value, str):
        return "\0" not in value
    return not isinstance(value, int) or SMALLEST_INT <= value <= LARGEST_INT


def _binding(query: str) -> bytes:
    return hashlib.blake2b(query.encode("utf-8", "surrogatepass"), digest_size=_BINDING).digest()
