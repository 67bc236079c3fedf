"""Access tokens: how what is no person (CI, a scheduled job elsewhere) is known to a service, whoever else it asks."""

from __future__ import annotations

import msgspec

from jupyter_mlops.core.access import GROUP_PREFIX, TOKEN_USER_PREFIX, Principal, Scope
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Record
from jupyter_mlops.core.values import check_name, short

SECRET_PREFIX = "mlops_access_"
"""What a token begins with, so that it is not looked for elsewhere."""
LONGEST_NAME = 100
LONGEST_DAYS = 366
DEFAULT_DAYS = 90
SCOPES = (Scope.READ, Scope.WRITE)
"""What a token may allow: none decides for others."""


class AccessToken(Record, frozen=True, kw_only=True):
    """What is known of a token. It is kept as its hash."""

    token_id: str
    name: str
    """What it is for, such as ``nightly``."""
    owner: str
    """On whose things it works: a user's, or ``group:NAME``'s."""
    scope: str
    """``read`` or ``write``."""
    user: str
    """Who made it, answers for it, and counts as asking where it asks for a promotion."""
    created: int
    expires: int
    """From when on it counts no more, in milliseconds since the epoch."""
    last_used: int | None = None
    """To the hour; None as long as nobody used it."""
    secret: str | None = None
    """The token itself, in the answer that makes it and nowhere else."""

    def principal(self) -> Principal:
        """Who comes with it. A user's works as that user, without their groups; a group's has a name of its own."""
        users = Principal(
            name=self.owner,
            scope=Scope[self.scope.upper()],
            decides=False,
            expires=self.expires,
            token_id=self.token_id,
        )
        if not self.owner.startswith(GROUP_PREFIX):
            return users
        group = self.owner[len(GROUP_PREFIX) :]
        return msgspec.structs.replace(
            users,
            name=f"{TOKEN_USER_PREFIX}{self.name}@{group}",
            groups=frozenset([group]),
            default_owner=self.owner,
            acts_for=self.user,
        )


def token_name(name: object) -> str:
    """The name, checked: 1 to 100 characters, no control characters."""
    return check_name(name, "token name", LONGEST_NAME)


def token_scope(name: str) -> Scope:
    """The scope of that name; ``InvalidValue`` for one that no token has."""
    found = next((scope for scope in SCOPES if scope.name.lower() == name), None)
    if found is None:
        raise InvalidValue(f"scope: {short(name)} is none of an access token; 'read' and 'write' are")
    return found


def lifetime(days: int) -> int:
    """How long a token of so many days counts, in milliseconds; 1 to 366 days are possible."""
    if not 1 <= days <= LONGEST_DAYS:
        raise InvalidValue(f"days: {days} is out of range; 1 to {LONGEST_DAYS} are possible")
    return days * 24 * 60 * 60 * 1000
