"""What an import found, did and could not do."""

from __future__ import annotations

import threading

import msgspec

KINDS = (
    "experiments",
    "runs",
    "parameters",
    "metrics",
    "points",
    "tags",
    "data sets",
    "files",
    "logged models",
    "models",
    "versions",
    "aliases",
)


class Count(msgspec.Struct):
    """Of one kind of things: what the source has, what was copied just now, and what is not here as it is there."""

    found: int = 0
    copied: int = 0
    differing: int = 0


class Note(msgspec.Struct, frozen=True):
    """Something about one thing of the source: what it is, and what is to be said of it."""

    what: str
    why: str


class Report(msgspec.Struct):
    """What an import did. Any thread may add to it."""

    source: str
    target: str
    counts: dict[str, Count] = msgspec.field(default_factory=lambda: {kind: Count() for kind in KINDS})
    bytes: int = 0
    """Of files, copied just now."""
    problems: list[Note] = msgspec.field(default_factory=list)
    """What is not here as it is in the source."""
    remarks: list[Note] = msgspec.field(default_factory=list)
    """What is kept in another form, and what was left alone."""

    def found(self, kind: str, count: int = 1) -> None:
        with _LOCK:
            self.counts[kind].found += count

    def copied(self, kind: str, count: int = 1, size: int = 0) -> None:
        with _LOCK:
            self.counts[kind].copied += count
            self.bytes += size

    def problem(self, kind: str, what: str, why: str) -> None:
        with _LOCK:
            self.counts[kind].differing += 1
            self.problems.append(Note(what, why))

    def remark(self, what: str, why: str) -> None:
        with _LOCK:
            self.remarks.append(Note(what, why))


_LOCK = threading.Lock()
