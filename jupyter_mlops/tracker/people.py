"""The tracker's noun for people and groups that leave, or get another name."""

from __future__ import annotations

from typing import Protocol

from jupyter_mlops.core.people import Handover


class People(Protocol):
    """What an administrator does here when somebody leaves, or the hub renames or removes a user or a group. Owners are
    users, or ``group:NAME``. Each call is one transaction, and may be repeated: it finds what came in between. The
    permanent record keeps the names under which things were done, and gets an entry for each thing that changes hands.
    With ``dry_run`` nothing is changed, and the answer says what would be. Only for principals that decide."""

    def offboard(self, owner: str, to: str, *, dry_run: bool = False) -> Handover:
        """Hand all that ``owner`` has over to ``to``: experiments with their runs (deleted ones, too), and models with
        their versions, their aliases and what protects them.

        What ``to`` has an experiment of the same name for gets the owner's name behind its own. A group's webhooks go
        with it; a person's are deleted, and the access tokens that they made are revoked. Shares with ``owner`` end.
        Open requests that they made, or whose policy lets them approve, are closed; policies name ``to`` in their
        place. Runs keep who made them."""

    def rename(self, owner: str, to: str, *, dry_run: bool = False) -> Handover:
        """Have ``to`` (a user for a user, a group for a group) be who was ``owner``: as :meth:`offboard`, and shares,
        webhooks, access tokens, runs, versions, comments and numbered streams name them, too. So what the user's
        processes have not sent yet arrives, and nobody approves what they made under another name: open requests that
        name the user in any way are closed."""
