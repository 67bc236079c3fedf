"""What was logged on this machine and is not stored: entries that wait in spools, and what the store refused."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from jupyter_mlops.core.errors import NotFound
from jupyter_mlops.tracker.deadletters import DEAD_SUFFIX, DeadLetter, dead_letters
from jupyter_mlops.tracker.location import home
from jupyter_mlops.tracker.protocol import Tracker
from jupyter_mlops.tracker.replay import DAMAGED_SUFFIX
from jupyter_mlops.tracker.spoolfile import SUFFIX, Closed, decode, read_header, read_payloads, target_of


class Refused(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entry that the store refused; it stays in ``file`` until somebody deletes that."""

    file: str
    at: int
    """When, in milliseconds since the epoch."""
    error: str
    entry: str = ""
    """What it was: ``log``, ``put``, ``change``, ``create``; empty when it could not be read."""
    run_id: str | None = None


class Undelivered(msgspec.Struct, kw_only=True):
    waiting: int = 0
    """Entries that the next command, or the process that logged them, will store."""
    refused: list[Refused] = []
    damaged: list[str] = []
    """Files whose end could not be read."""


def undelivered(tracker: Tracker) -> Undelivered:
    """What this machine's spools hold that ``tracker`` has not stored. Nothing is changed."""
    return _look(_folders(tracker), tracker.url, tracker.runs.watermark)


def held(url: str) -> Undelivered:
    """What this machine's spools hold for the tracker at ``url``, which need not answer: some of it may be stored there
    already."""
    return _look((folder for folder, _ in _every_folder()), url, lambda _: 0)


def held_bytes() -> int:
    """The size of this machine's spools: some of it may be stored already."""
    size = 0
    for folder, _ in _every_folder():
        for path in folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                size += path.stat().st_size
    return size


def _look(folders: Iterable[Path], url: str, watermark: Callable[[str], int]) -> Undelivered:
    found = Undelivered()
    for folder in folders:
        found.waiting += sum(_waiting(path, url, watermark) for path in folder.glob(f"*{SUFFIX}"))
        found.refused += _refused(folder)
        found.damaged += [str(path) for path in sorted(folder.glob(f"*{DAMAGED_SUFFIX}"))]
    return found


def refused_of(run_id: str) -> list[Refused]:
    """What was refused of one run."""
    folders = [home() / "spool", home() / "runs" / run_id / "spool"]
    return [refused for folder in folders for refused in _refused(folder) if refused.run_id == run_id]


def _every_folder() -> Iterator[tuple[Path, str | None]]:
    """The spool folders of this machine, each with the run that it is of, if it is of one."""
    yield home() / "spool", None
    for folder in sorted((home() / "runs").glob("*/spool")):
        yield folder, folder.parent.name


def _folders(tracker: Tracker) -> Iterator[Path]:
    for folder, run_id in _every_folder():
        # A home may have served several stores.
        with contextlib.suppress(NotFound):
            if run_id is not None:
                tracker.runs.get(run_id)
            yield folder


def _waiting(path: Path, url: str, watermark: Callable[[str], int]) -> int:
    if not path.is_file():  # opening a pipe would wait for ever
        return 0
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        header = read_header(file)
        if header is None or header.target not in ("", target_of(url)):
            return 0
        passed = watermark(header.stream)
        dead = {letter.number for letter in dead_letters(path.parent).get(header.stream, ())}
        payloads = enumerate((payload for payload, _ in read_payloads(file, file.tell())), 1)
        return sum(number > passed and number not in dead and not _is_end(payload) for number, payload in payloads)
    return 0


def _is_end(payload: bytes) -> bool:
    try:
        return isinstance(decode(payload), Closed)
    except msgspec.DecodeError:
        # Of a newer version, or damaged: the replay will say so.
        return False


def _refused(folder: Path) -> list[Refused]:
    return [
        _told(str(folder / f"{stream}{DEAD_SUFFIX}"), letter)
        for stream, letters in dead_letters(folder).items()
        for letter in letters
    ]


def _told(file: str, letter: DeadLetter) -> Refused:
    entry = letter.entry if isinstance(letter.entry, dict) else {}
    run_id = entry.get("run_id") or (entry.get("new") or {}).get("run_id")
    return Refused(file=file, at=letter.at, error=letter.error, entry=entry.get("type", ""), run_id=run_id)
