"""Tokens that are made here: how they look, and what is kept of them."""

from __future__ import annotations

import hashlib
import secrets


def new_token(prefix: str) -> str:
    """Another token; ``prefix`` says of which kind, so that one is not looked for where others are known."""
    return prefix + secrets.token_urlsafe(32)


def token_digest(token: str) -> str:
    """What a token is kept as: it is random and long, so that its SHA-256 gives nothing away."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
