"""The policy of a protected alias: what a version must pass, and who must agree, before the alias may point at it.

Models of a group are protected, models of a person are not, unless a policy of their own says so. What a policy demands
of one request is the business of :mod:`jupyter_mlops.core.promotion`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import msgspec

from jupyter_mlops.core import values
from jupyter_mlops.core.access import GROUP_PREFIX, owner_name
from jupyter_mlops.core.checks import check_settings
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Json, Record

MOST_APPROVALS = 20
LONGEST_LIFETIME_DAYS = 365
MOST_CHECKS = 50
MOST_NAMES = 200
LARGEST_SETTINGS = 100_000
"""Characters of the settings of one check, as JSON."""
DAY_MS = 24 * 60 * 60 * 1000


class CheckRule(Record, frozen=True, kw_only=True):
    """A check that must pass."""

    name: str
    settings: dict[str, Json] = msgspec.field(default_factory=dict)


class Policy(Record, frozen=True, kw_only=True):
    """What it takes to move an alias. The defaults are those of a group's models."""

    protected: tuple[str, ...] = ("champion", "production")
    """The aliases it is about; all others just move."""
    approvals: int = 1
    """How many people must approve, 1 to 20."""
    approvers: tuple[str, ...] = ()
    """Who of those that have ``promote`` on the model may approve: users, and groups as ``group:NAME``; all when
    empty."""
    author_may_approve: bool = False
    """Whether the author of the candidate's run counts, unless they ask for the promotion."""
    checks: tuple[CheckRule, ...] = (CheckRule(name="loads"),)
    safe_formats: bool = False
    """Whether a format that can run code when it is loaded is barred."""
    automatic: bool = False
    """Whether passed checks are enough: then nobody needs to approve."""
    lifetime_days: int = 14
    """How long a request lives, 1 to 365 days."""

    @property
    def approvals_needed(self) -> int:
        """How many people must approve, with what ``automatic`` says."""
        return 0 if self.automatic else self.approvals


DEFAULT = Policy()
"""Of the models of groups."""
UNPROTECTED = Policy(protected=(), checks=())
"""Of the models of persons."""


class PolicySource(str, Enum):
    """Whose policy it is."""

    MODEL = "model"
    GROUP = "group"
    DEFAULT = "default"
    """Nobody has set one for the group."""
    NONE = "none"
    """A person's model: nothing is protected."""


class PolicyVersion(Record, frozen=True, kw_only=True):
    """A policy as it was set once, or in force: for a model, or for all models of a group that have none."""

    number: int | None = None
    """Of the entry in the history of policies; None for one that nobody has set."""
    model: str | None = None
    owner: str | None = None
    """``group:NAME``, of a policy for a group."""
    source: PolicySource
    policy: Policy | None
    """None where a policy was taken back."""
    user: str | None = None
    """Who set it."""
    at: int | None = None
    reason: str = ""


def default_for(owner: str) -> Policy:
    """The policy of the models of ``owner`` where none was set."""
    return DEFAULT if owner.startswith(GROUP_PREFIX) else UNPROTECTED


def checked_policy(policy: Policy) -> Policy:
    """The policy, checked, its aliases and approvers in order and once each.

    Raises
    ------
    InvalidValue
        Something in it is impossible; the message says what would be right.
    """
    _in_range("approvals", policy.approvals, MOST_APPROVALS)
    _in_range("lifetime_days", policy.lifetime_days, LONGEST_LIFETIME_DAYS)
    for what, names, longest in (
        ("protected", policy.protected, MOST_NAMES),
        ("approvers", policy.approvers, MOST_NAMES),
        ("checks", policy.checks, MOST_CHECKS),
    ):
        if len(names) > longest:
            raise InvalidValue(f"{what}: {len(names)} are too many; at most {longest} are possible")
    for rule in policy.checks:
        check_rule(rule)
    seen = [msgspec.json.encode(rule, order="deterministic") for rule in policy.checks]
    if len(set(seen)) < len(seen):
        raise InvalidValue("checks: one is there twice, with the same settings")
    if policy.automatic and not policy.checks:
        raise InvalidValue("automatic: without checks, everything would be approved; name a check, or leave it off")
    people = [name for name in policy.approvers if not name.startswith(GROUP_PREFIX)]
    if policy.approvers and len(people) == len(set(policy.approvers)) < policy.approvals_needed:
        raise InvalidValue(
            f"approvals: {policy.approvals} are asked for, and approvers has {len(people)}: name more, or a group as "
            "group:NAME"
        )
    return msgspec.structs.replace(
        policy,
        protected=tuple(sorted({values.alias_name(alias) for alias in policy.protected})),
        approvers=tuple(sorted({owner_name(name) for name in policy.approvers})),
    )


def check_rule(rule: CheckRule) -> None:
    """Raise ``InvalidValue`` unless the rule names a check as it can be, with settings that the check has. Whether a
    worker has a check of others is known to the worker."""
    values.check_key(rule.name, "check")
    if len(values.encode_json(rule.settings)) > LARGEST_SETTINGS:
        raise InvalidValue(f"check {rule.name!r}: its settings are longer than {LARGEST_SETTINGS} characters")
    check_settings(rule.name, rule.settings)


def weakened(before: Policy, after: Policy) -> tuple[str, ...]:
    """In what ``after`` demands less than ``before``, a sentence each; empty when in nothing."""
    found = []
    if lost := sorted(set(before.protected) - set(after.protected)):
        found.append(f"{', '.join(lost)} would not be protected any more")
    if after.approvals_needed < before.approvals_needed:
        found.append(f"{after.approvals_needed} would have to approve instead of {before.approvals_needed}")
    if before.approvers and not (after.approvers and set(after.approvers) <= set(before.approvers)):
        found.append("others could approve")
    if after.author_may_approve and not before.author_may_approve:
        found.append("the author could approve")
    for rule in before.checks:
        if rule not in after.checks:
            found.append(f"the check {rule.name!r} would be gone or another")
    if before.safe_formats and not after.safe_formats:
        found.append("formats that run code would be accepted")
    if after.lifetime_days > before.lifetime_days:
        found.append(f"requests would live {after.lifetime_days} days instead of {before.lifetime_days}")
    return tuple(found) if before.protected else ()


def rules_of(policies: Sequence[Policy]) -> tuple[CheckRule, ...]:
    """The checks that any of the policies demands, once each."""
    found: list[CheckRule] = []
    for policy in policies:
        found += [rule for rule in policy.checks if rule not in found]
    return tuple(found)


def _in_range(what: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise InvalidValue(f"{what}: {value} is out of range; 1 to {most} are possible")
