"""What becomes of the things of a person, or of a group, that leaves or gets another name."""

from __future__ import annotations

from jupyter_mlops.core.records import Record


class NewName(Record, frozen=True):
    """An experiment that got another name, since its new owner has one of its name."""

    experiment_id: str
    before: str
    after: str


class Handover(Record, frozen=True, kw_only=True):
    """What was handed over, changed and ended, in one transaction."""

    owner: str
    """Whose it was: a user, or ``group:NAME``."""
    to: str
    """Whose it is."""
    dry_run: bool = False
    """Whether nothing was done: then this is what would be."""
    experiments: int = 0
    runs: int = 0
    """Runs in these experiments."""
    models: int = 0
    webhooks: int = 0
    """Handed over; those of a person who leaves are deleted instead, since their URLs may be that person's."""
    shares: int = 0
    """Shares that named the owner: deleted when they leave, changed with a new name."""
    policies: int = 0
    """Policies that were set anew, since they named the owner or would have been lost."""
    requests: int = 0
    """Open requests for promotion that were closed: what they rest on is not so any more."""
    tokens: int = 0
    """Access tokens: revoked when their maker leaves, changed with a new name."""
    new_names: tuple[NewName, ...] = ()
