"""The tracker's noun for access tokens."""

from __future__ import annotations

from typing import Protocol

from jupyter_mlops.core.accesstokens import DEFAULT_DAYS, AccessToken


class AccessTokens(Protocol):
    """Tokens for what is no person, kept in the store: a service knows them whether a hub or a file says who else its
    callers are. They are seen and revoked by who may write to their owner's things; making and revoking one is for
    principals that decide, so that no code in a notebook makes itself a way back in."""

    def create(
        self, name: str, *, owner: str | None = None, scope: str = "write", days: int = DEFAULT_DAYS
    ) -> AccessToken:
        """Make a token that allows ``read`` or ``write`` on the things of ``owner`` for so many days (366 at most). The
        answer alone has its secret."""

    def list(self, owner: str | None = None) -> tuple[AccessToken, ...]:
        """The tokens of ``owner``, or of all whose things the caller may write to; oldest first, with those that have
        expired in the last 30 days."""

    def revoke(self, token_id: str) -> None:
        """Let a token count no more, from the next request on."""
