"""How far the permanent record of who did what reaches, and whether it still is what it was."""

from __future__ import annotations

import re

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Record
from jupyter_mlops.core.values import short

_WRITTEN = re.compile(r"mlops-audit (\d{1,18}) sha256:([0-9a-f]{64}) at (\d{1,15})")


class AuditHead(Record, frozen=True, kw_only=True):
    """How far the permanent record reaches: kept outside the database, it shows later that nothing was changed."""

    position: int
    """Entries that are sealed, 1 being the first; 0 when there is none."""
    digest: str
    """SHA-256 (hex) that covers all of them."""
    at: int


class AuditVerdict(Record, frozen=True, kw_only=True):
    """What became of the permanent record since it was sealed."""

    intact: bool
    head: AuditHead
    problems: tuple[str, ...] = ()
    """Where it breaks, first things first; a hundred at most."""
    unsealed: int = 0
    """Entries that no seal covers yet."""


def written(head: AuditHead) -> str:
    """A head as a line of text, to be kept somewhere else."""
    return f"mlops-audit {head.position} sha256:{head.digest} at {head.at}"


def read_heads(text: str) -> tuple[AuditHead, ...]:
    """The heads in a text, one a line; ``InvalidValue`` for a line that is none."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        match = _WRITTEN.fullmatch(line.strip())
        if match is None:
            raise InvalidValue(
                f"line {number} is no head of the audit record, as `jupyter mlops audit head` prints it: {short(line)}"
            )
        found.append(AuditHead(position=int(match[1]), digest=match[2], at=int(match[3])))
    return tuple(found)
