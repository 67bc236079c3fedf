"""How much the things of an owner may take: what there is of them, how much there may be, and what is said of both.

A quota is an owner's own (``ada``, ``group:red``), or the one for every user (``*``) or every group (``group:*``) that
has none of its own. What is counted is what the records say, deleted ones included until they are collected: a file
counts for each run and each model version that has it, although its bytes are kept once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from jupyter_mlops.core import formats
from jupyter_mlops.core.access import GROUP_PREFIX
from jupyter_mlops.core.errors import InvalidValue, QuotaExceeded, TooLarge
from jupyter_mlops.core.records import Record
from jupyter_mlops.core.values import LARGEST_INT

EVERY_USER = "*"
EVERY_GROUP = f"{GROUP_PREFIX}*"
NEARLY = 0.8
"""From which part of a quota on its owner is warned."""


class Quota(Record, frozen=True, kw_only=True):
    """How much there may be; None is without a limit."""

    bytes: int | None = None
    """Of files of runs and of model versions."""
    runs: int | None = None
    points: int | None = None
    """Of metrics."""
    file_bytes: int | None = None
    """Of one file of a run."""
    running: int | None = None
    """Runs at once. One that was submitted waits for its turn; those that begin by themselves count, and are not held
    up."""


class Usage(Record, frozen=True, kw_only=True):
    """How much there is."""

    bytes: int = 0
    runs: int = 0
    points: int = 0
    running: int = 0
    """Runs that are being done, those of sweeps one by one."""


class Standing(Record, frozen=True, kw_only=True):
    """An owner's quota, and how much of it is used."""

    owner: str
    usage: Usage
    quota: Quota
    subject: str | None = None
    """Whose quota it is: the owner, ``*`` or ``group:*``; None when there is none."""
    warnings: tuple[str, ...] = ()
    """What is to be said of it: one sentence for each part of it that is nearly used up, or is."""


class QuotaRule(Record, frozen=True, kw_only=True):
    """A quota as it was set."""

    subject: str
    quota: Quota
    user: str
    """Who set it."""
    at: int


class _Kind(NamedTuple):
    what: str
    remedy: str


_COUNTED = "runs count until they are collected"
_KINDS = {
    "bytes": _Kind("files", f"delete files, versions or runs that are not needed ({_COUNTED})"),
    "runs": _Kind("runs", f"delete runs that are not needed ({_COUNTED})"),
    "points": _Kind("metric points", f"log fewer steps, or delete runs that are not needed ({_COUNTED})"),
    "running": _Kind("runs at once", "wait for one to end"),
}
"""What is limited, by the fields of :class:`Usage`."""


def checked_quota(quota: Quota) -> Quota:
    """The quota; ``InvalidValue`` unless its numbers are 0 or more."""
    for name in Quota.__struct_fields__:
        value = getattr(quota, name)
        if value is not None and not 0 <= value <= LARGEST_INT:
            raise InvalidValue(f"quota: {name} is 0 or more, not {value}; leave it out for no limit")
    return quota


def quota_of(owner: str, quotas: Mapping[str, Quota]) -> tuple[str | None, Quota]:
    """Whose quota, of those by subject, is that of ``owner``, and the quota. Their own counts alone: what it does not
    limit is not limited."""
    for subject in (owner, EVERY_GROUP if owner.startswith(GROUP_PREFIX) else EVERY_USER):
        if subject in quotas:
            return subject, quotas[subject]
    return None, Quota()


def standing(owner: str, usage: Usage, quotas: Mapping[str, Quota]) -> Standing:
    """Where the owner stands."""
    subject, quota = quota_of(owner, quotas)
    return Standing(owner=owner, usage=usage, quota=quota, subject=subject, warnings=_warnings(owner, usage, quota))


def require_room(owner: str, usage: Usage, quota: Quota, grown: Usage) -> None:
    """Raise ``QuotaExceeded`` when ``usage``, which has what it has ``grown`` by, is more than ``quota`` has room for.
    What did not grow is not looked at: who is over a limit may still do what does not need it."""
    for name in _KINDS:
        limit, more = getattr(quota, name), getattr(grown, name)
        if limit is not None and more > 0 and getattr(usage, name) > limit:
            raise _exceeded(owner, name, limit, getattr(usage, name) - more)


def require_file(owner: str, quota: Quota, used: int, size: int, total: int) -> None:
    """Raise when files of ``owner``, who has ``used`` bytes already, may not be: one of ``size`` bytes, with which come
    ``total`` bytes. ``TooLarge`` when it never may, ``QuotaExceeded`` when there is no room now."""
    if quota.file_bytes is not None and size > quota.file_bytes:
        raise TooLarge(
            f"a file in what belongs to {owner!r} has at most {formats.size(quota.file_bytes)}: store a part of it, or "
            "only where it is"
        )
    if quota.bytes is not None and used + total > quota.bytes:
        raise _exceeded(owner, "bytes", quota.bytes, used)


def _exceeded(owner: str, name: str, limit: int, used: int) -> QuotaExceeded:
    kind = _KINDS[name]
    remedy = f"{kind.remedy[0].upper()}{kind.remedy[1:]}, or ask an administrator for more"
    return QuotaExceeded(
        f"the quota of {owner!r} for {kind.what} is {_amount(limit, name)}, of which {_amount(used, name)} are used: "
        f"there is no room for this. {remedy}; `jupyter mlops quota` shows what is used"
    )


def _warnings(owner: str, usage: Usage, quota: Quota) -> tuple[str, ...]:
    told = []
    for name, kind in _KINDS.items():
        limit, used = getattr(quota, name), getattr(usage, name)
        # As many runs at once as there may be is how it is meant.
        if limit is not None and used >= NEARLY * limit and name != "running":
            share = f"{100 * used // limit} %" if limit else "all"
            told.append(
                f"{owner!r} uses {share} of its quota for {kind.what}: {_amount(used, name)} of {_amount(limit, name)}"
            )
    return tuple(told)


def _amount(count: int, name: str) -> str:
    return formats.size(count) if name == "bytes" else f"{count:,}"
