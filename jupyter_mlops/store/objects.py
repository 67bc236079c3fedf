"""Where bytes lie: a folder, or any fsspec location, holding objects that are named by ids and never change.

Keys are ids (:func:`jupyter_mlops.core.ids.new_id`); they lie in subfolders by their time, some hours each, so that no
folder grows without bound and the files of one upload lie together. A name that is not a key is none of ours: it is
neither listed nor removed.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

from jupyter_mlops.core.errors import NO_ROOM, InvalidValue, MissingDependency, MLOpsError, StorageFull, Unavailable
from jupyter_mlops.core.ids import is_id
from jupyter_mlops.core.redaction import masked_url

T = TypeVar("T")

PIECE = 1 << 20
"""Bytes that are read and written at a time."""
ANSWER_SECONDS = 120.0
"""How long an object store may take for one thing, the sending of a part of a large object included."""
_AHEAD = 16 << 20
"""Bytes that an object store is asked for at a time, when so many are wanted."""

_SHARD = 6
"""Leading hex digits of a key that name its subfolder: 2**24 ms, about 4.7 hours."""
_UNFINISHED = ".part"


class Writer(Protocol):
    """An object being written. It can be read once ``finish`` has returned, and whole."""

    def write(self, piece: bytes) -> None: ...

    def finish(self) -> None: ...

    def discard(self) -> None:
        """Leave nothing behind; called instead of ``finish``."""


class Objects(Protocol):
    """One location. Errors: ``StorageFull`` when there is no room, ``Unavailable`` when it does not answer."""

    url: str

    def create(self, key: str) -> Writer: ...

    def sync(self, keys: list[str]) -> None:
        """Make the names of finished objects durable."""

    def read(self, key: str, start: int, stop: int) -> Iterator[bytes]:
        """The bytes ``[start, stop)`` in pieces of :data:`PIECE` bytes, fewer where the object ends before. It is open
        when this returns; ``FileNotFoundError`` when there is none."""

    def remove(self, key: str) -> None:
        """Remove the object, also an unfinished one; harmless when there is none."""

    def listing(self) -> Iterator[tuple[str, int]]:
        """Key and size of each object here, unfinished ones too, in no order."""

    def link(self, key: str, seconds: int) -> str | None:
        """A URL by which anybody can read the object for ``seconds``; None where there is no such thing. Nothing says
        that the object is there."""


def open_location(location: str, namespace: str) -> Objects:
    """The objects below ``namespace`` (an id) in ``location``: a path, or an fsspec URL (``s3://bucket/prefix``).

    Namespaces keep apart the stores that share a location, so that collecting one can never see another's objects.
    """
    folder = _folder(location)
    return RemoteObjects(location, namespace) if folder is None else FolderObjects(folder / namespace)


def _folder(location: str) -> Path | None:
    """The folder of this machine that a location is, or None."""
    scheme, separator, rest = location.partition("://")
    if not separator:
        return Path(location).expanduser().absolute()
    return Path(rest) if scheme == "file" else None


def require_usable(location: str) -> None:
    """See that objects could be kept in ``location``, as far as that shows without trying.

    Raises
    ------
    MissingDependency
        The fsspec driver of its scheme is not installed.
    InvalidValue
        fsspec knows no such scheme, or the folder cannot be made or written to.
    """
    folder = _folder(location)
    if folder is None:
        require_driver(location)
        return
    present = next(place for place in chain((folder,), folder.parents) if os.path.lexists(place))
    if not present.is_dir() or not os.access(present, os.W_OK):
        raise InvalidValue(f"files cannot be stored in {folder}: {present} is no folder that can be written to")


def require_driver(location: str) -> None:
    """See that what ``location`` needs is installed, without connecting to it.

    Raises
    ------
    MissingDependency
        The fsspec driver of its scheme is not; the message says what to install.
    InvalidValue
        fsspec knows no such scheme.
    """
    import fsspec

    # URLs may be chained: simplecache::s3://bucket, zip://folder::s3://bucket/file.zip
    for part in location.split("::"):
        scheme = part.partition("://")[0]
        try:
            fsspec.get_filesystem_class(scheme)
        except ImportError as error:
            package = getattr(error.__cause__, "name", None) or f"fsspec[{scheme}]"
            raise MissingDependency(
                f"files cannot be stored in {masked_url(location)}: {sys.prefix} lacks the package that reads and "
                f"writes {scheme}://; pip install {package}"
            ) from error
        except ValueError as error:
            raise InvalidValue(f"the artifact location {masked_url(location)!r} cannot be used: {error}") from error


class FolderObjects:
    """A local (or network) folder, by plain system calls: fsspec's local file system does not sync."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = str(folder)

    def create(self, key: str) -> Writer:
        with self._failures():
            return _FolderWriter(self, key)

    def sync(self, keys: list[str]) -> None:
        with self._failures():
            for shard in {key[:_SHARD] for key in keys}:
                _sync_folder(self.folder / shard)

    def read(self, key: str, start: int, stop: int) -> Iterator[bytes]:
        with self._failures(passing=FileNotFoundError):
            return _pieces(self._path(key).open("rb", buffering=0), start, stop, self._failures)

    def remove(self, key: str) -> None:
        path = self._path(key)
        with self._failures():
            path.unlink(missing_ok=True)
            path.with_suffix(_UNFINISHED).unlink(missing_ok=True)

    def listing(self) -> Iterator[tuple[str, int]]:
        with self._failures():
            if not self.folder.is_dir():
                return
            for shard in self.folder.iterdir():
                for path in shard.iterdir() if len(shard.name) == _SHARD and shard.is_dir() else ():
                    key = path.name.removesuffix(_UNFINISHED)
                    if is_id(key) and key.startswith(shard.name):
                        try:
                            size = path.stat().st_size
                        except FileNotFoundError:
                            continue
                        yield key, size

    def link(self, key: str, seconds: int) -> None:  # noqa: ARG002
        return None

    def _path(self, key: str) -> Path:
        return self.folder / key[:_SHARD] / key

    @contextmanager
    def _failures(self, passing: type[Exception] | tuple[()] = ()) -> Iterator[None]:
        try:
            yield
        except passing:
            raise
        except OSError as error:
            raise _failure(error, self.url) from error


class _FolderWriter:
    def __init__(self, objects: FolderObjects, key: str) -> None:
        self._objects = objects
        # Paths as objects would take longer to make than the file.
        self._path = f"{objects.folder}/{key[:_SHARD]}/{key}"
        self._part = f"{self._path}{_UNFINISHED}"
        try:
            self._file = open(self._part, "xb", buffering=0)  # noqa: PTH123, SIM115 - finish or discard closes it
        except FileNotFoundError:
            _make_folder(Path(self._path).parent)
            self._file = open(self._part, "xb", buffering=0)  # noqa: PTH123, SIM115

    def write(self, piece: bytes) -> None:
        with self._objects._failures():
            view = memoryview(piece)
            while view:
                view = view[self._file.write(view) :]

    def finish(self) -> None:
        with self._objects._failures():
            os.fsync(self._file.fileno())
            self._file.close()
            os.rename(self._part, self._path)  # noqa: PTH104

    def discard(self) -> None:
        self._file.close()
        # What made the upload fail is being raised; a leftover is found by a collection.
        with suppress(OSError):
            os.unlink(self._part)  # noqa: PTH108


class RemoteObjects:
    """Any fsspec file system. An object that a failed upload leaves half written is removed, and referred to by
    nothing meanwhile. One is created only where none is, as far as the store can see to that (S3, GCS and Azure can),
    and looked for before it counts as written."""

    def __init__(self, location: str, namespace: str) -> None:
        import fsspec

        self.url = masked_url(location)
        require_driver(location)
        try:
            with self._failures(passing=ValueError):
                # Some drivers connect here.
                self._fs, root = self._answer(fsspec.core.url_to_fs, location)
        except ValueError as error:
            raise InvalidValue(f"the artifact location {self.url!r} cannot be used: {error}") from error
        self._root = f"{root.rstrip('/')}/{namespace}"

    def create(self, key: str) -> Writer:
        with self._failures():
            return _RemoteWriter(self, self._path(key))

    def sync(self, keys: list[str]) -> None:
        """Nothing to do: a file system behind a service has stored what it has acknowledged."""

    def read(self, key: str, start: int, stop: int) -> Iterator[bytes]:
        with self._failures(passing=FileNotFoundError):
            # The drivers would fetch up to 50 MiB beyond what is read, of a range of some bytes too, and hold it.
            ahead = max(min(stop - start, _AHEAD) - PIECE, 1)
            file = self._answer(self._fs.open, self._path(key), "rb", cache_type="readahead", block_size=ahead)
            return _pieces(file, start, stop, self._failures, self._answer)

    def remove(self, key: str) -> None:
        with suppress(FileNotFoundError), self._failures(passing=FileNotFoundError):
            self._answer(self._fs.rm_file, self._path(key))

    def listing(self) -> Iterator[tuple[str, int]]:
        with self._failures():
            self._fs.invalidate_cache()
            for path, detail in self._fs.find(self._root, detail=True).items():
                key = path.rpartition("/")[2]
                if is_id(key):
                    yield key, detail["size"]

    def link(self, key: str, seconds: int) -> str | None:
        try:
            with self._failures(passing=NotImplementedError):
                return str(self._answer(self._fs.sign, self._path(key), expiration=seconds))
        except NotImplementedError:
            return None

    def _path(self, key: str) -> str:
        return f"{self._root}/{key[:_SHARD]}/{key}"

    def _open_new(self, path: str) -> Any:
        try:
            return self._open_to_write(path)
        except FileNotFoundError:
            # Of the stores that have folders.
            self._answer(self._fs.makedirs, path.rpartition("/")[0], exist_ok=True)
            return self._open_to_write(path)

    def _open_to_write(self, path: str) -> Any:
        try:
            return self._answer(self._fs.open, path, "xb")
        except (NotImplementedError, ValueError):
            return self._answer(self._fs.open, path, "wb")

    def _answer(self, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """What ``function`` gives; ``Unavailable`` when it takes too long. The drivers' own limits leave gaps: that of
        S3 waits for a server's permission to send for ever."""
        answer: Future[T] = Future()

        def ask() -> None:
            try:
                answer.set_result(function(*arguments, **named))
            except BaseException as error:  # noqa: BLE001 - raised where it was asked
                answer.set_exception(error)

        threading.Thread(target=ask, name="mlops-objects", daemon=True).start()
        if not wait([answer], ANSWER_SECONDS).done:
            raise _unavailable(f"the artifact location {self.url} did not answer within {ANSWER_SECONDS:g} s")
        return answer.result()

    @contextmanager
    def _failures(self, passing: type[Exception] | tuple[()] = ()) -> Iterator[None]:
        try:
            yield
        except MLOpsError:
            raise
        except passing:
            raise
        except Exception as error:
            # Each file system behind fsspec has exceptions of its own, with no common base.
            raise _failure(error, self.url) from error


class _RemoteWriter:
    def __init__(self, objects: RemoteObjects, path: str) -> None:
        self._objects = objects
        self._path = path
        self._file = objects._open_new(path)
        self._size = 0

    def write(self, piece: bytes) -> None:
        with self._objects._failures():
            self._objects._answer(self._file.write, piece)
            self._size += len(piece)

    def finish(self) -> None:
        with self._objects._failures():
            self._objects._answer(self._file.close)
            # Names what a store acknowledged and does not have.
            there = self._objects._answer(self._objects._fs.info, self._path)["size"]
        if there != self._size:
            raise _unavailable(
                f"the artifact location {self._objects.url} took {self._size} bytes and has {there} of them"
            )

    def discard(self) -> None:
        # What made the upload fail is being raised, and nobody waits for this; a leftover is found by a collection.
        threading.Thread(target=self._discard, name="mlops-objects", daemon=True).start()

    def _discard(self) -> None:
        with suppress(Exception):
            self._file.close()
        with suppress(Exception):
            self._objects._fs.rm_file(self._path)


def _failure(error: Exception, url: str) -> MLOpsError:
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        full = StorageFull(f"no room left in the artifact location {url}: {error.strerror}")
        full.public = "the store has no room for files; nothing half written is visible"
        return full
    return _unavailable(f"the artifact location {url} failed: {error}")


def _unavailable(message: str) -> Unavailable:
    error = Unavailable(message)
    error.public = "the place of the store's files does not answer as it should; try again"
    return error


def _call(function: Callable[..., T], *arguments: Any) -> T:
    return function(*arguments)


def _pieces(
    file: IO[bytes],
    start: int,
    stop: int,
    failures: Callable[[], AbstractContextManager[None]],
    call: Callable[..., Any] = _call,
) -> Iterator[bytes]:
    file.seek(start)

    def pieces() -> Iterator[bytes]:
        left = stop - start
        with file:
            while left > 0:
                with failures():
                    piece: bytes = call(file.read, min(left, PIECE))
                if not piece:
                    return
                left -= len(piece)
                yield piece

    return pieces()


def _make_folder(folder: Path) -> None:
    """``mkdir -p`` whose result survives a power failure."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for child in reversed(missing):
        child.mkdir(exist_ok=True)
        _sync_folder(child.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
