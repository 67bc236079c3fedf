"""The tracker's nouns for promotion: requests, policies, and the queue of checks.

A *protected* alias moves by a request that meets the policy, by a rollback, or by an administrator's override, and in
no other way. Which aliases are protected, and what it takes, the policy says: a model's own, else that of its group;
models of persons have none, and their aliases just move.

What decides (:meth:`Promotions.approve` and the like, :meth:`Policies.set`) is refused with ``PermissionDenied`` to a
principal that does not decide: see :class:`jupyter_mlops.core.access.Principal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from jupyter_mlops.core.checks import CheckJob, CheckResult
from jupyter_mlops.core.policy import Policy, PolicyVersion
from jupyter_mlops.core.promotion import (
    AliasPeriod,
    AliasStanding,
    Promotion,
    PromotionEvidence,
    PromotionState,
    Waiting,
)
from jupyter_mlops.core.records import DEFAULT_PAGE, Page


class Promotions(Protocol):
    """Asking needs ``write`` on the model, deciding ``promote``. Reading is for all who see the model."""

    def request(self, model: str, version: int, *, alias: str = "production", reason: str = "") -> Promotion:
        """Ask to point ``alias`` at ``version``. An alias that is not protected moves at once, and the request is
        closed; asking for the same again gives the request that is open; asking for another version supersedes it.

        Raises
        ------
        Conflict
            The alias points there already, or nobody could approve this; the message says what would help.
        UnsafeModel
            Its format is one that the policy bars.
        """

    def refresh(self, request_id: str) -> Promotion:
        """Ask again, against what the alias points at now and the checks that the policy has now: reviews and checks
        begin anew. It lives no longer for that."""

    def withdraw(self, request_id: str, *, reason: str = "") -> Promotion:
        """Close a request of one's own; administrators may close any."""

    def comment(self, request_id: str, text: str) -> Promotion:
        """Say something; ``@NAME`` mentions a user. 1 to 20,000 characters. Needs ``write``."""

    def get(self, request_id: str) -> Promotion: ...

    def search(
        self,
        *,
        model: str | None = None,
        alias: str | None = None,
        state: PromotionState | str | None = None,
        requester: str | None = None,
        limit: int = DEFAULT_PAGE,
        page_token: str | None = None,
    ) -> Page[Promotion]:
        """Requests, rollbacks and overrides, newest first. ``state`` is the one written down: a request whose time is
        over may be among the open ones until the service has looked, and says itself that it has expired."""

    def waiting(self) -> Waiting:
        """What waits for the caller: open requests that they may decide about and have not spoken about, and comments
        that mention them. One answer, for a badge; where a credential decides nothing, what waits for its person."""

    def evidence(self, request_id: str) -> PromotionEvidence:
        """All that a reviewer needs. Who may decide sees the runs of the candidate and the champion here, whoever owns
        them; others see of these what they see anyway."""

    def standing(self, model: str, *, alias: str = "production", version: int | None = None) -> AliasStanding:
        """What an alias is now, and what the caller may do about it: ask for ``version`` (for any, when None), roll it
        back, override it."""

    def history(
        self, model: str, alias: str | None = None, *, at: int | None = None, deleted: bool = False
    ) -> tuple[AliasPeriod, ...]:
        """What the aliases of a model, or one, pointed at, oldest first: with who asked, who approved, and on what
        evidence. With ``at`` (milliseconds since the epoch), only what held then.

        Where there is no model of that name any more, and with ``deleted`` in any case, it is the history of those that
        were deleted: for administrators, and for those to whom they belonged."""

    def approve(self, request_id: str, *, reason: str = "", round: int | None = None) -> Promotion:
        """Approve; when the policy is met, the alias moves with it. ``round`` is that of the request which was looked
        at.

        Raises
        ------
        PermissionDenied
            The caller asked for it themselves, is the author of the run, or is not among the policy's approvers.
        Conflict
            The request is closed, or was refreshed since, or the alias has moved and it must be refreshed.
        """

    def reject(self, request_id: str, *, reason: str) -> Promotion:
        """Close a request for a reason."""

    def request_changes(self, request_id: str, *, reason: str) -> Promotion:
        """Keep a request from being promoted until it is refreshed, or the caller approves."""

    def rollback(self, model: str, alias: str, *, reason: str, to: int | None = None) -> Promotion:
        """Point ``alias`` at the version before, at once; two rollbacks go two versions back. ``to`` is the version
        that the caller expects: ``Conflict`` when it is another. Needs ``promote`` where the alias is protected."""

    def override(self, model: str, alias: str, *, version: int | None, reason: str) -> Promotion:
        """Point ``alias`` at ``version``, or nowhere, whatever the policy says. For administrators; on record."""


class Policies(Protocol):
    """A policy is of a model (``model``) or of all models of a group that have none (``owner``, ``group:NAME``)."""

    def get(self, *, model: str | None = None, owner: str | None = None) -> PolicyVersion:
        """The policy in force, and whose it is."""

    def set(
        self, policy: Policy | None, *, model: str | None = None, owner: str | None = None, reason: str = ""
    ) -> PolicyVersion:
        """Put a policy into force, or with None take it back. Demanding more needs ``promote``, demanding less
        ``admin``. Requests that are open go on being judged by the policy they were made under, too."""

    def history(self, *, model: str | None = None, owner: str | None = None) -> tuple[PolicyVersion, ...]:
        """What was set, oldest first."""


class Checks(Protocol):
    """The queue of checks. Workers have ``admin`` on the models that they examine."""

    def claim(self, names: Sequence[str] = (), *, token_digest: str | None = None) -> CheckJob | None:
        """Take a job, the cheapest first, of the checks ``names`` when given; None when there is none. It is the
        caller's for 60 s, and longer as long as it is renewed. ``token_digest`` is the SHA-256 (hex) of a token for
        what the job runs."""

    def renew(self, job_id: str, claim: str) -> None:
        """Keep a job for 60 s more, by the ``claim`` that came with it; ``Conflict`` when it is not the caller's any
        more, be it that another worker with the same token has it."""

    def report(self, job_id: str, claim: str, result: CheckResult) -> None:
        """Tell what came out. When the policy is met by it, the alias moves with it. ``Conflict`` when the job is not
        the caller's any more."""

    def self_report(self, request_id: str, result: CheckResult) -> None:
        """Add what somebody found out by themselves. It is shown to reviewers as that, and the policy does not count
        it. Needs ``write`` on the model."""
