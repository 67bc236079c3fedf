"""How long runs are kept: rules for owners, and what they come to.

A rule is an owner's own, or the one for every user or group that has none, as with quotas (:mod:`.quotas`). A run that
no rule keeps any longer is deleted as by hand: it can be restored until it is collected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from jupyter_mlops.core.access import GROUP_PREFIX
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.quotas import EVERY_GROUP, EVERY_USER
from jupyter_mlops.core.records import Collected, Record
from jupyter_mlops.core.values import check_key

KEEP_TAG = "mlops.keep"
"""A run that has this tag, whatever its value, is kept."""
LONGEST_DAYS = 36_500
MOST_KEPT = 10_000
MOST_LISTED = 1000


class Retention(Record, frozen=True, kw_only=True):
    """How long runs are kept after their end. Without ``days``, those that finished well are kept for ever."""

    days: int | None = None
    failed_days: int | None = None
    """For those that failed or were killed; as ``days`` when None."""
    keep_best: int = 0
    """Of each experiment so many runs, the best by ``metric``, are kept for ever."""
    metric: str = ""
    minimize: bool = False
    """Whether the least value is the best."""


class RetentionRule(Record, frozen=True, kw_only=True):
    """A rule as it was set."""

    subject: str
    retention: Retention
    user: str
    """Who set it."""
    at: int


class Expired(Record, frozen=True, kw_only=True):
    """A run that a rule no longer keeps."""

    run_id: str
    name: str
    experiment_id: str
    owner: str
    end_time: int
    why: str


class Expiry(Record, frozen=True, kw_only=True):
    """What the rules come to now."""

    runs: int = 0
    """That are deleted, or would be."""
    spared: int = 0
    """That are past their time, and kept: promoted models descend from them, or they are among the best, tagged, or the
    parents of runs that are kept."""
    by_owner: dict[str, int] = msgspec.field(default_factory=dict)
    """How many are deleted, or would be, of each owner."""
    listed: tuple[Expired, ...] = ()
    """Some of them."""
    next_page_token: str | None = None
    """Where there are more runs to look at: what to ask with for these."""


def together(parts: Iterable[Expiry]) -> Expiry:
    """What several come to, the last one's token included; up to :data:`MOST_LISTED` runs are listed."""
    by_owner: Counter[str] = Counter()
    listed: list[Expired] = []
    spared, token = 0, None
    for part in parts:
        by_owner.update(part.by_owner)
        listed += part.listed[: MOST_LISTED - len(listed)]
        spared += part.spared
        token = part.next_page_token
    return Expiry(
        runs=by_owner.total(),
        spared=spared,
        by_owner=dict(sorted(by_owner.items())),
        listed=tuple(listed),
        next_page_token=token,
    )


def whole(ask: Callable[[str | None], Expiry]) -> Expiry:
    """What ``ask`` gives for a page token, from the first page (None) to the last."""

    def parts() -> Iterator[Expiry]:
        yield (part := ask(None))
        while part.next_page_token is not None:
            yield (part := ask(part.next_page_token))

    return together(parts())


def all_collected(ask: Callable[[], Collected]) -> Collected:
    """What ``ask`` gives altogether, until it has finished."""
    part = ask()
    while part.unfinished:
        more = ask()
        part = Collected(
            experiments=part.experiments + more.experiments,
            runs=part.runs + more.runs,
            blobs=part.blobs + more.blobs,
            bytes=part.bytes + more.bytes,
            unfinished=more.unfinished,
        )
    return part


def checked_retention(rule: Retention) -> Retention:
    """The rule; ``InvalidValue`` when it says nothing, or what cannot be."""
    for name in ("days", "failed_days"):
        value = getattr(rule, name)
        if value is not None and not 1 <= value <= LONGEST_DAYS:
            raise InvalidValue(f"retention: {name} is 1 to {LONGEST_DAYS}, not {value}; leave it out to keep for ever")
    if rule.days is None and rule.failed_days is None:
        raise InvalidValue("retention: give days or failed_days: a rule that ends nothing keeps everything")
    if not 0 <= rule.keep_best <= MOST_KEPT:
        raise InvalidValue(f"retention: keep_best is 0 to {MOST_KEPT}, not {rule.keep_best}")
    if bool(rule.keep_best) != bool(rule.metric):
        raise InvalidValue("retention: the best are those by a metric: give both keep_best and metric, or neither")
    if rule.metric:
        check_key(rule.metric, "metric")
    return rule


def retention_of(owner: str, rules: Mapping[str, Retention]) -> Retention | None:
    """The rule for the runs of ``owner``, of those by subject."""
    return rules.get(owner) or rules.get(EVERY_GROUP if owner.startswith(GROUP_PREFIX) else EVERY_USER)
