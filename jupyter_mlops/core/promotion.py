"""Requests to move a protected alias: what they hold, and the rule that says whether one may move it now.

A request is judged by the policy it was made under and by the one in force, so that neither weakening a policy nor
waiting for it to be weakened helps a request that is open.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from types import MappingProxyType

import msgspec

from jupyter_mlops.core.access import GROUP_PREFIX
from jupyter_mlops.core.checks import CheckResult, Verdict
from jupyter_mlops.core.compare import Comparison
from jupyter_mlops.core.model_card import Consumer
from jupyter_mlops.core.policy import CheckRule, Policy, rules_of
from jupyter_mlops.core.records import AliasMove, Dataset, Json, ModelVersion, Record, Run

_MENTION = re.compile(r"(?<![\w.@+-])@([A-Za-z0-9][\w.+@-]{0,254})")


class PromotionKind(str, Enum):
    REQUEST = "request"
    ROLLBACK = "rollback"
    OVERRIDE = "override"
    """An administrator moved the alias whatever the policy says."""


class PromotionState(str, Enum):
    OPEN = "open"
    PROMOTED = "promoted"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    SUPERSEDED = "superseded"
    """The same person asked for another version for the alias, or the candidate was deleted."""
    EXPIRED = "expired"


class ReviewVerdict(str, Enum):
    APPROVED = "approved"
    REJECTED = "rejected"
    CHANGES_REQUESTED = "changes requested"


class Review(Record, frozen=True, kw_only=True):
    user: str
    owners: tuple[str, ...] = ()
    """The reviewer and their groups (``group:NAME``) when they said so."""
    verdict: ReviewVerdict
    reason: str = ""
    at: int
    round: int = 1


class ReviewComment(Record, frozen=True, kw_only=True):
    user: str
    text: str
    mentions: tuple[str, ...] = ()
    """The users that ``@NAME`` names in it."""
    at: int


class CheckStatus(Record, frozen=True, kw_only=True):
    """A check of a request: waiting, being done, or done."""

    job_id: str
    rule: CheckRule
    round: int = 1
    claimed_by: str | None = None
    attempt: int = 0
    result: CheckResult | None = None


class Promotion(Record, frozen=True, kw_only=True):
    """A request to point an alias of a model at a version, and what became of it; or a rollback, or an override."""

    request_id: str
    kind: PromotionKind = PromotionKind.REQUEST
    state: PromotionState
    model: str
    alias: str
    version: int | None
    """The candidate; None where an override takes the alias away."""
    digest: str = ""
    """Of the candidate's bytes."""
    run_id: str | None = None
    safe: bool = True
    champion: int | None = None
    """What the alias pointed at when the request was made or refreshed; None when at nothing."""
    champion_digest: str | None = None
    requester: str
    """The person who counts as asking: of a service principal, its human owner."""
    asked_by: str
    """The principal that asked."""
    authors: tuple[str, ...] = ()
    """Who made the candidate's run."""
    reason: str = ""
    policy: Policy
    """As it was when the request was made."""
    policy_number: int | None = None
    round: int = 1
    """How often it was made or refreshed; only reviews and checks of the last round count."""
    created: int
    updated: int
    expires: int
    closed: int | None = None
    closed_by: str | None = None
    """Who closed it; None while it is open, and when its checks or its age did."""
    outcome: str = ""
    """Why it was closed."""
    reviews: tuple[Review, ...] = ()
    comments: tuple[ReviewComment, ...] = ()
    checks: tuple[CheckStatus, ...] = ()
    missing: tuple[str, ...] = ()
    """What it lacks to move the alias, a sentence each; empty when it is closed."""
    page: str | None = None
    """Where it is decided about in a browser; set by clients that know it, for open requests."""

    @property
    def is_open(self) -> bool:
        return self.state is PromotionState.OPEN


class RunSide(Record, frozen=True, kw_only=True):
    """A version, its run and its data, as far as the reader may see them."""

    version: ModelVersion
    run: Run | None = None
    datasets: tuple[Dataset, ...] = ()
    card: str = ""
    """The version's card, Markdown."""


class NotebookChanges(Record, frozen=True, kw_only=True):
    """What makes of one notebook (a champion's, say) another, as nbdime has it."""

    base: Json = None
    """The first notebook in format 4, with the cells' types and sources only; None when it is too large."""
    diff: Json = None
    """In nbdime's diff format (a list, empty when nothing differs) for ``base``; None when ``note`` says why."""
    note: str = ""


class PromotionEvidence(Record, frozen=True, kw_only=True):
    """All that a reviewer needs: the candidate beside the champion, and what was found out."""

    promotion: Promotion
    policy: Policy
    """The one in force."""
    candidate: RunSide | None
    champion: RunSide | None = None
    comparison: Comparison | None = None
    """Champion and candidate, in this order; the candidate alone where there is no champion."""
    notebook_diff: str = ""
    """How the code of the notebooks differs from the champion's to the candidate's, for people; without outputs."""
    notebook_changes: NotebookChanges | None = None
    """The same for programs; None where one of the two has no notebook that the reader may see."""
    lineage: tuple[str, ...] = ()
    """From the data to the alias: data sets, notebook, run, version, alias."""
    consumers: tuple[Consumer, ...] = ()
    """Who loads the model by this alias, and is reached by the change, as far as the reader may know."""
    refused: dict[str, str] = msgspec.field(default_factory=dict)
    """What the reader cannot do about it, by operation (``approve``, ``reject``, ``request_changes``, ``comment``,
    ``refresh``, ``withdraw``), with why."""


class Mention(Record, frozen=True, kw_only=True):
    """That somebody asks for a person by name, in a comment to an open request."""

    request_id: str
    model: str
    alias: str
    version: int | None
    user: str
    """Who said it."""
    text: str
    at: int


class Waiting(Record, frozen=True, kw_only=True):
    """What waits for one person."""

    decide: tuple[Promotion, ...] = ()
    """Open requests that lack an approval which they could give, and have not spoken about in this round; newest
    first."""
    mentions: tuple[Mention, ...] = ()
    """Where they are mentioned and have said nothing since; newest first."""
    more: bool = False
    """Whether there are so many open requests that not all were looked at."""


class AliasStanding(Record, frozen=True, kw_only=True):
    """An alias as it is now, and what somebody may do about it."""

    model: str
    alias: str
    version: int | None
    """None when it points at nothing."""
    protected: bool
    policy: Policy
    """The one in force."""
    back_to: int | None = None
    """The version that a rollback restores; None when there is none."""
    consumers: tuple[Consumer, ...] = ()
    """Who loads the model by this alias, as far as the caller may know."""
    refused: dict[str, str] = msgspec.field(default_factory=dict)
    """What the caller cannot do, by operation (``request``, ``rollback``, ``override``), with why."""


class AliasPeriod(Record, frozen=True, kw_only=True):
    """What an alias pointed at for a time, how that came, and on what evidence."""

    move: AliasMove
    until: int | None = None
    """When it moved on; None while it is so."""
    promotion: Promotion | None = None
    """The request, rollback or override that moved it; None where it was not protected."""


class CheckOutcome(msgspec.Struct, frozen=True):
    rule: CheckRule
    result: CheckResult | None


def outcomes(promotion: Promotion, rules: Sequence[CheckRule]) -> list[CheckOutcome]:
    """What a worker found out about each of the rules, in this round. What others reported does not count."""
    found = []
    for rule in rules:
        done = [each for each in promotion.checks if each.rule == rule and each.round == promotion.round]
        results = [each.result for each in done if each.result is not None and not each.result.self_reported]
        found.append(CheckOutcome(rule, results[-1] if results else None))
    return found


def verdicts(promotion: Promotion) -> dict[str, Review]:
    """The last word of each reviewer in this round."""
    return {review.user: review for review in promotion.reviews if review.round == promotion.round}


def may_not_approve(promotion: Promotion, policies: Sequence[Policy], owners: Sequence[str]) -> str | None:
    """Why somebody, known by ``owners`` (their name, then their groups as ``group:NAME``), may not approve; None when
    they may, as far as the policies go."""
    user = owners[0]
    if user in (promotion.requester, promotion.asked_by):
        return f"{user!r} asked for it; somebody else has to decide"
    for policy in policies:
        if user in promotion.authors and not policy.author_may_approve:
            return f"{user!r} is the author of the candidate's run; somebody else has to decide"
        if policy.approvers and not set(policy.approvers) & set(owners):
            return f"the policy lets {', '.join(policy.approvers)} approve, and {user!r} is none of them"
    return None


def waits_for(promotion: Promotion, policies: Sequence[Policy], owners: Sequence[str]) -> bool:
    """Whether an open request lacks an approval that somebody with ``promote`` on its model, known by ``owners`` as in
    :func:`may_not_approve`, could give, and has not spoken about."""
    if owners[0] in verdicts(promotion) or may_not_approve(promotion, policies, owners) is not None:
        return False
    return any(len(_approving(promotion, policies)) < policy.approvals_needed for policy in policies)


def unanswered(promotion: Promotion, user: str) -> tuple[ReviewComment, ...]:
    """The comments that mention ``user`` and after which they have not said anything about the request."""
    spoke = [comment.at for comment in promotion.comments if comment.user == user]
    spoke += [review.at for review in promotion.reviews if review.user == user]
    last = max(spoke, default=-1)
    return tuple(
        comment
        for comment in promotion.comments
        if user in comment.mentions and comment.user != user and comment.at >= last
    )


def missing(promotion: Promotion, policies: Sequence[Policy], current: int | None, now: int) -> tuple[str, ...]:
    """What an open request lacks to move the alias, a sentence each; empty when it may.

    Parameters
    ----------
    policies
        The one that the request was made under, and the one in force.
    current
        What the alias points at now.
    now
        The latest time that is known, so that a clock that was set back does not extend anything.
    """
    if promotion.state is not PromotionState.OPEN:
        return (f"it is {promotion.state.value}",)
    if promotion.expires <= now:
        return ("it has expired: ask again",)
    found = []
    if current != promotion.champion:
        found.append(stale(promotion, current))
    if not promotion.safe and any(policy.safe_formats for policy in policies):
        found.append("its format can run code when it is loaded, which the policy bars")
    for outcome in outcomes(promotion, rules_of(policies)):
        if (sentence := _unpassed(promotion, outcome)) is not None:
            found.append(sentence)
    said = verdicts(promotion)
    for review in said.values():
        if review.verdict is ReviewVerdict.CHANGES_REQUESTED:
            found.append(f"{review.user} asks for changes: {review.reason}")
    approving = _approving(promotion, policies)
    for policy in policies:
        lacking = policy.approvals_needed - len(approving)
        if lacking > 0:
            who = f" of {', '.join(policy.approvers)}" if policy.approvers else ""
            found.append(f"{lacking} more{who} must approve")
    return tuple(dict.fromkeys(found))


def stale(promotion: Promotion, current: int | None) -> str:
    """What it says of a request whose alias has moved since."""
    was, now = (f"version {number}" if number is not None else "nothing" for number in (promotion.champion, current))
    return (
        f"{promotion.alias} points at {now} now, and pointed at {was} when the request was made: it must be refreshed"
    )


def nobody_could(
    promotion: Promotion, policies: Sequence[Policy], members: Mapping[str, Collection[str]] = MappingProxyType({})
) -> str | None:
    """Why nobody could approve the request, with what would help; None when somebody might.

    Parameters
    ----------
    members
        Who belongs to groups, by ``group:NAME``; of others it is not known, so that they may have anybody.
    """
    for policy in policies:
        groups = [name for name in policy.approvers if name.startswith(GROUP_PREFIX)]
        if not policy.approvers or any(group not in members for group in groups):
            continue
        people: dict[str, tuple[str, ...]] = {name: (name,) for name in policy.approvers if name not in groups}
        for group in groups:
            people |= {name: (*people.get(name, (name,)), group) for name in members[group]}
        left = sorted(name for name, owners in people.items() if may_not_approve(promotion, policies, owners) is None)
        if len(left) < policy.approvals_needed:
            able = f"only {', '.join(left)} could" if left else "none of them could"
            return (
                f"nobody could approve this: the policy asks for {policy.approvals} of {', '.join(policy.approvers)}, "
                f"and {able}, since who asks and the author of the run do not count. Let somebody else ask, or have an "
                "administrator name further approvers: jupyter mlops policy set"
                + (" (or put somebody into the group)" if groups else "")
            )
    return None


def restorable(moves: Sequence[tuple[int, AliasMove]], rollbacks: Collection[int]) -> list[int]:
    """The versions that an alias can be rolled back to, the one before last.

    A rollback takes back what it passes over, so that two in a row go two versions back.

    Parameters
    ----------
    moves
        Of the alias, with their numbers, oldest first.
    rollbacks
        The numbers of those that were rollbacks.
    """
    held: list[int] = []
    for number, move in moves:
        if number in rollbacks and move.version in held:
            del held[_last(held, move.version) + 1 :]
        elif move.version is not None and held[-1:] != [move.version]:
            held.append(move.version)
    return held[:-1] if moves and moves[-1][1].version is not None else held


def mentions(text: str) -> tuple[str, ...]:
    """The users that ``@NAME`` names in a comment, in order, once each."""
    return tuple(dict.fromkeys(found.rstrip(".-@") for found in _MENTION.findall(text)))


def _approving(promotion: Promotion, policies: Sequence[Policy]) -> list[Review]:
    """The approvals that count."""
    return [
        review
        for review in verdicts(promotion).values()
        if review.verdict is ReviewVerdict.APPROVED
        and may_not_approve(promotion, policies, (review.user, *review.owners)) is None
    ]


def _last(held: Sequence[int], version: int) -> int:
    return len(held) - 1 - held[::-1].index(version)


def _unpassed(promotion: Promotion, outcome: CheckOutcome) -> str | None:
    name, result = outcome.rule.name, outcome.result
    if result is None:
        there = any(
            each.rule == outcome.rule
            and each.round == promotion.round
            and not (each.result is not None and each.result.self_reported)
            for each in promotion.checks
        )
        return f"the check {name!r} is not done yet" + (
            "" if there else ": the policy has it since; refresh the request"
        )
    if result.verdict is Verdict.PASSED:
        return None
    if result.verdict is Verdict.FAILED:
        return f"the check {name!r} failed: {result.summary}"
    return f"the check {name!r} could not be done: {result.summary}"
