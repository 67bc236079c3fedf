"""A whole version of a model as one download, for deployments: asked for by alias, sent only when it is another."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from urllib.parse import quote

from tornado.iostream import StreamClosedError

from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.records import Artifact, ModelVersion
from jupyter_mlops.service.handlers import ApiHandler
from jupyter_mlops.service.loads import note_load
from jupyter_mlops.tracker.download import require_whole
from jupyter_mlops.tracker.protocol import Models

VERSION_HEADER = "X-Model-Version"
DIGEST_HEADER = "X-Model-Digest"
"""The version's digest: SHA-256 over the sorted (path, file digest) pairs, each as ``path NUL digest NUL``."""
_END = bytes(2 * tarfile.BLOCKSIZE)


class ArchiveHandler(ApiHandler):
    """A tar archive of the files of a version, always the same bytes. ``reference`` in the query is a number, @ALIAS
    or latest; ``consumer`` says what asks. Each file is compared with its digest on its way: what was changed cuts
    the answer off before its end."""

    scopes = MappingProxyType({"GET": Scope.READ})

    async def get(self, name: str) -> None:
        await self.answered(self._get(name))

    async def head(self, name: str) -> None:
        await self.get(name)

    async def _get(self, name: str) -> None:
        models, reference = self.tracker.models, self.asked("reference")
        version = await self.call(lambda: models.resolve(name, reference))
        await self.call(lambda: self._note_load(models, version, reference))
        self.set_header("ETag", f'"{version.digest}"')
        self.set_header("Cache-Control", "private, no-cache")
        self.set_header(VERSION_HEADER, str(version.version))
        self.set_header(DIGEST_HEADER, version.digest)
        if self.check_etag_header():
            self.set_status(304)
            await self.finish()
            return
        files = await self.call(lambda: models.files(version.model, version.version))
        require_whole(version, files)
        self.set_header("Content-Type", "application/x-tar")
        file_name = quote(f"{version.model}-{version.version}.tar", safe="")
        self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{file_name}")
        self.set_header("Content-Security-Policy", "sandbox; default-src 'none'")
        self.set_header("Content-Length", str(archive_size(version, files)))
        if self.request.method == "HEAD":
            await self.finish()
            return
        pieces = archive(models, version, files)
        try:
            while (piece := await self.call(lambda: next(pieces, None))) is not None:
                self.write(piece)
                await self.flush()
            await self.finish()
        except StreamClosedError:
            # The client has gone.
            return

    def _note_load(self, models: Models, version: ModelVersion, reference: str) -> None:
        purpose = self.query().get("consumer") or self.request.headers.get("User-Agent", "")
        alias = reference if reference.startswith("@") else ""
        note_load(models, version.model, version.version, reference=alias, purpose=purpose)


def archive(models: Models, version: ModelVersion, files: Sequence[Artifact]) -> Iterator[bytes]:
    """The archive in pieces; ``IntegrityError`` when a file is not what was registered."""
    for file in _sorted(files):
        yield _header(version, file)
        yield from models.open(version.model, version.version, file.path)
        padding = -(file.size or 0) % tarfile.BLOCKSIZE
        if padding:
            yield bytes(padding)
    yield _END


def archive_size(version: ModelVersion, files: Sequence[Artifact]) -> int:
    """Bytes."""
    sizes = [file.size or 0 for file in files]
    content = sum(size + -size % tarfile.BLOCKSIZE for size in sizes)
    return content + sum(len(_header(version, file)) for file in files) + len(_END)


def _sorted(files: Sequence[Artifact]) -> list[Artifact]:
    return sorted(files, key=lambda file: file.path)


def _header(version: ModelVersion, file: Artifact) -> bytes:
    entry = tarfile.TarInfo(file.path)
    entry.size = file.size or 0
    # Whole seconds: others take a header more.
    entry.mtime = version.created // 1000
    entry.mode = 0o644
    return entry.tobuf(format=tarfile.PAX_FORMAT)
