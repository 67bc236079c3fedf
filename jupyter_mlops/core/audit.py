"""How far the permanent record of who did what reaches, and whether it still is what it was."""

from __future__ import annotations

import re

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Json, Record
from jupyter_mlops.core.values import short

_WRITTEN = re.compile(r"mlops-audit (\d{1,18}) sha256:([0-9a-f]{64}) at (\d{1,15})")


class AuditHead(Record, frozen=True, kw_only=True):
    """How far the permanent record reaches: kept outside the database, it shows later that nothing was changed."""

    position: int
    """Entries that are sealed, 1 being the first; 0 when there is none."""
    digest: str
    """SHA-256 (hex) that covers all of them."""
    at: int


class SealedEntry(Record, frozen=True, kw_only=True):
    """An entry of the permanent record with its seal.

    ``digest`` is the SHA-256 (hex) of the digest before it, ``source`` and the entry, with NUL between them; the entry
    as the JSON of a list of its names and values, ``[["number",1],...]``, without spaces and with all characters
    outside of ASCII as they are. Before the first is the SHA-256 of ``jupyter-mlops audit``.
    """

    position: int
    source: str
    """What it is of: ``audit``, ``alias_move``, ``policy``, ``promotion_review`` or ``promotion_comment``."""
    number: int
    """Its own, among those of its source."""
    digest: str
    entry: dict[str, Json] | None
    """Its fields, in order; None when it is gone."""


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
