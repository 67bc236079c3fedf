"""Dead letters: entries of spools that the tracker refused, for people to read; one JSON object a line."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import msgspec

DEAD_SUFFIX = ".dead"


class DeadLetter(msgspec.Struct, frozen=True):
    """An entry that the tracker refused: its number in the stream, when, why, and the entry, to read and exact."""

    number: int
    at: int
    error: str
    entry: Any
    payload: bytes
    """The entry's MessagePack (base64 in the file)."""


def dead_letters(folder: Path) -> dict[str, tuple[DeadLetter, ...]]:
    """What was refused, by stream."""
    return {path.stem: tuple(read_dead(path)) for path in sorted(folder.glob(f"*{DEAD_SUFFIX}"))}


def read_dead(path: Path) -> list[DeadLetter]:
    """What is in one file of them; nothing when there is none."""
    letters = []
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(msgspec.DecodeError):  # empty, or left half written by a killed replayer
                letters.append(msgspec.json.decode(line, type=DeadLetter))
    return letters
