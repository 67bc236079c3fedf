"""Which entries of a stream go into one write: a transaction each would cost more than what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from jupyter_mlops.core.records import Batch
from jupyter_mlops.tracker.files import PutsTogether
from jupyter_mlops.tracker.protocol import LogsAndChanges, Tracker
from jupyter_mlops.tracker.spoolfile import Change, Entry, Log, PutArtifact

_MOST_ENTRIES = 2_000
_MOST_BYTES = 2 << 20
_MOST_FILES, _LARGEST_FILE = 100, 1 << 20
"""How many files are stored together, and how large each is at most: a large one gains nothing."""


class Pending(msgspec.Struct, frozen=True):
    """An entry that is to be sent, with its number in the stream and where it ends in the stream's file."""

    number: int
    payload: bytes
    entry: Entry
    end: int


def goes_along(group: Sequence[Pending], pending: Pending, tracker: Tracker, folder: Path) -> bool:
    """Whether ``tracker`` can write an entry together with those before it, which it can; ``folder`` is the spool's."""
    last, entry = group[-1].entry, pending.entry
    if isinstance(last, Log) and isinstance(entry, Log):
        return (
            last.run_id == entry.run_id
            # A batch has its series behind its points: merged, they would change places with those of others.
            and not last.batch.series
            and len(group) < _MOST_ENTRIES
            and pending.end - group[0].end < _MOST_BYTES
        )
    if isinstance(last, Log) and isinstance(entry, Change):
        return last.run_id == entry.run_id and isinstance(tracker.runs, LogsAndChanges)
    if isinstance(last, PutArtifact) and isinstance(entry, PutArtifact):
        return (
            last.run_id == entry.run_id
            and isinstance(tracker.artifacts, PutsTogether)
            and len(group) < _MOST_FILES
            and all(_is_small(each, folder) for each in (last, entry))
        )
    return False


def parted(group: Sequence[Pending]) -> tuple[Sequence[Pending], Sequence[Pending]]:
    """The two parts in which a group is sent that cannot be written as one."""
    # What is refused may be one of them, or, by a proxy that takes little at once, the size of all. A change is sent as
    # if it had never been with what was logged before it.
    first = len(group) - 1 if isinstance(group[-1].entry, Change) else len(group) // 2
    return group[:first], group[first:]


def _is_small(entry: PutArtifact, folder: Path) -> bool:
    return entry.content is not None or _size(folder / entry.file) <= _LARGEST_FILE


def _size(path: Path) -> int:
    """The size of a file in bytes; 0 when it cannot be told, which storing it will find."""
    try:
        return path.lstat().st_size
    except (OSError, ValueError):
        return 0


def merged(batches: list[Batch]) -> Batch:
    """One batch that does what ``batches`` do one after the other."""
    params = {(param.key, param.text): param for batch in batches for param in batch.params}
    tags = {tag.key: tag for batch in batches for tag in batch.tags}
    return Batch(
        metrics=tuple(metric for batch in batches for metric in batch.metrics),
        params=tuple(params.values()),
        tags=tuple(tags.values()),
        inputs=tuple(use for batch in batches for use in batch.inputs),
        series=tuple(series for batch in batches for series in batch.series),
        model_points=tuple(point for batch in batches for point in batch.model_points),
    )
