"""What a spool file is made of: its header, its frames, and the entries that they hold. See
:mod:`jupyter_mlops.tracker.spool`, which writes it."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import msgspec

from jupyter_mlops.core.errors import InvalidValue, Unavailable
from jupyter_mlops.core.ids import is_id
from jupyter_mlops.core.records import Batch, NewRun, RunChange, Runner

VERSION = 1
SUFFIX = ".spool"
STAGED_SUFFIX = ".file"
MAGIC = b"jupyter-mlops spool\n"
_FRAME = struct.Struct("<II")
_LARGEST_FRAME = 256 << 20


class Log(msgspec.Struct, frozen=True, tag="log"):
    """Write ``batch`` to a run."""

    run_id: str
    batch: Batch


class PutArtifact(msgspec.Struct, frozen=True, tag="put"):
    """Store the staged copy ``file`` (a name in the spool's folder), or ``content`` where that is given, under ``path``
    of a run."""

    run_id: str
    path: str
    file: str
    content: bytes | None = None


class Change(msgspec.Struct, frozen=True, tag="change"):
    """Change a run."""

    run_id: str
    change: RunChange


class Create(msgspec.Struct, frozen=True, tag="create"):
    """Create a run. An empty ``new.experiment_id`` means the experiment named ``experiment`` (made when there is none)
    or, when that is empty too, the parent run's."""

    new: NewRun
    experiment: str = ""


class Closed(msgspec.Struct, frozen=True, tag="closed"):
    """The writer has ended this stream; nothing follows."""


Entry = Log | PutArtifact | Change | Create | Closed


class _Version(msgspec.Struct, frozen=True):
    """What headers of all formats have."""

    version: int


class Header(msgspec.Struct, frozen=True):
    """Who writes a stream, and for which tracker."""

    version: int
    stream: str
    session: str
    """The same for the streams of one process and of the children it forked; their order is that of ``created``."""
    created: int
    """Nanoseconds since the epoch."""
    target: str
    """What tracker it is for, as :func:`target_of` says it; empty when the folder says so by itself."""
    writer: Runner


_ROOT = Path("/")
_entry_decoder: msgspec.msgpack.Decoder[Entry] = msgspec.msgpack.Decoder(Entry)
_header_decoder = msgspec.msgpack.Decoder(Header)
_version_decoder = msgspec.msgpack.Decoder(_Version)


def target_of(url: str) -> str:
    """What tells one tracker from another in its URL: no user or password, no driver, no options."""
    scheme, _, rest = url.partition("://")
    scheme = scheme.partition("+")[0].lower()
    authority, _, path = rest.partition("?")[0].partition("/")
    if scheme == "sqlite":
        return f"sqlite:///{_absolute(path, _ROOT if path.startswith('/') else Path.cwd())}"
    return f"{scheme}://{authority.rpartition('@')[2].lower()}/{path}"


@lru_cache(maxsize=16)
def _absolute(path: str, folder: Path) -> Path:
    """Asked for again and again, of a path or two."""
    return folder / path


def frame(payload: bytes) -> bytes:
    """``payload`` as it is written to the file; ``InvalidValue`` when it is too large to be read back."""
    if len(payload) > _LARGEST_FRAME:
        raise InvalidValue(f"{len(payload):,} bytes in one call are too many; log them in several")
    return _FRAME.pack(len(payload), crc32(payload)) + payload


def decode(payload: bytes) -> Entry:
    """The entry of a frame; ``msgspec.DecodeError`` when it is none that this version knows."""
    return _entry_decoder.decode(payload)


def _read_frame(file: BinaryIO) -> bytes | None:
    """The payload of the frame at the file's position; None when there is none, or none that is whole and undamaged."""
    head = file.read(_FRAME.size)
    if len(head) < _FRAME.size:
        return None
    length, checksum = _FRAME.unpack(head)
    # A crashed file system leaves zeros, and zeros would be a valid frame of no bytes.
    if not 0 < length <= _LARGEST_FRAME:
        return None
    payload = file.read(length)
    return payload if len(payload) == length and crc32(payload) == checksum else None


def read_header(file: BinaryIO) -> Header | None:
    """The header of an open spool, which is left at its first entry; None when it is not (yet) whole, or none at all.

    Raises
    ------
    Unavailable
        The file was written by a newer version of this package.
    """
    file.seek(0)
    if file.read(len(MAGIC)) != MAGIC:
        return None
    payload = _read_frame(file)
    if payload is None:
        return None
    try:
        version = _version_decoder.decode(payload).version
        if version > VERSION:
            raise Unavailable(
                f"the spool {file.name} has format {version}, this version of jupyter-mlops reads up to {VERSION}: "
                "upgrade it to have what was logged stored"
            )
        header = _header_decoder.decode(payload)
    except msgspec.DecodeError:
        return None
    # Under another name its entries would be taken for those of another stream.
    return header if header.stream == Path(file.name).stem and is_id(header.stream) else None


def read_payloads(file: BinaryIO, offset: int) -> Iterator[tuple[bytes, int]]:
    """The payloads from ``offset`` on, each with the offset behind it, up to the end or the first damaged frame."""
    file.seek(offset)
    while (payload := _read_frame(file)) is not None:
        offset += _FRAME.size + len(payload)
        yield payload, offset


def is_torn(file: BinaryIO, offset: int) -> bool:
    """Whether what follows ``offset`` is one frame that was not written to its end: what a killed writer leaves."""
    rest = os.fstat(file.fileno()).st_size - offset
    file.seek(offset)
    head = file.read(_FRAME.size)
    return len(head) < _FRAME.size or rest - _FRAME.size < _FRAME.unpack(head)[0] <= _LARGEST_FRAME
