"""Files by proxy. The root of all has experiments, in these runs, in these ``artifacts``; and the files of versions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

import msgspec

from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.errors import InvalidValue, NotFound
from jupyter_mlops.core.records import Artifact
from jupyter_mlops.core.values import short
from jupyter_mlops.service.content import DownloadHandler
from jupyter_mlops.service.mlflow import logged, messages
from jupyter_mlops.service.mlflow.handler import DialectHandler
from jupyter_mlops.service.mlflow.messages import Answer, Message
from jupyter_mlops.service.mlflow.runs import OfRun, found
from jupyter_mlops.service.mlflow.words import LOGGED, MODEL_PREFIX, VERSIONS, FileInfo, run_uri
from jupyter_mlops.service.receiving import ReceivingHandler
from jupyter_mlops.tracker.embedded import EmbeddedTracker
from jupyter_mlops.tracker.embedded.receiving import Found, Receiving

LARGEST_POSTED = 10 << 20
"""Bytes of a file that is no upload, but the body of a request."""

_OF_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
_MODEL = re.compile(rf"[^/]+/{LOGGED}/({MODEL_PREFIX}[^/]+)/artifacts(?:/(.*))?", re.DOTALL)
_RUN = re.compile(r"[^/]+/([^/]+)/artifacts(?:/(.*))?", re.DOTALL)
_VERSION = re.compile(rf"{VERSIONS}/([^/]+)/([0-9]{{1,10}})(?:/(.*))?", re.DOTALL)


class Listed(Answer, frozen=True, kw_only=True):
    files: tuple[FileInfo, ...] = ()


class ListedInRun(Answer, frozen=True, kw_only=True):
    root_uri: str
    files: tuple[FileInfo, ...] = ()


class List(Message, frozen=True, kw_only=True):
    path: str = ""


class ListInRun(OfRun, frozen=True, kw_only=True):
    path: str = ""


class ListOfModel(Message, frozen=True, kw_only=True):
    model_id: str
    artifact_directory_path: str = ""


class Files(Protocol):
    """A folder of the proxied tree that has files, and is somebody's."""

    def found(self, path: str) -> Found: ...

    def list(self, path: str) -> Sequence[Artifact]: ...

    def receive(self, path: str) -> Receiving[Any]: ...

    def delete(self, path: str) -> None: ...


class RunFiles:
    """The files of a run, or those below ``folder`` of it."""

    def __init__(self, tracker: EmbeddedTracker, run_id: str, folder: str = "") -> None:
        self._artifacts = tracker.artifacts
        self._run_id = run_id
        self._folder = folder

    def found(self, path: str) -> Found:
        return self._artifacts.found(self._run_id, self._inside(path))

    def list(self, path: str) -> Sequence[Artifact]:
        return self._artifacts.list(self._run_id, self._inside(path))

    def receive(self, path: str) -> Receiving[Any]:
        return self._artifacts.receive(self._run_id, self._inside(path))

    def delete(self, path: str) -> None:
        inside = self._inside(path)
        for each in [inside] if inside else [file.path for file in self._artifacts.list(self._run_id)]:
            self._artifacts.delete(self._run_id, each)

    def require_writable(self, path: str) -> None:
        """Raise unless a file may be stored under ``path``."""
        self._artifacts.receive(self._run_id, self._inside(path)).discard()

    def receive_part(self, upload_id: str, name: str) -> Receiving[Any]:
        return self._artifacts.receive_part(self._run_id, upload_id, name, 0)

    def join(self, upload_id: str, path: str, parts: Sequence[tuple[str, str]]) -> None:
        self._artifacts.join(self._run_id, upload_id, self._inside(path), parts)

    def abandon(self, upload_id: str) -> None:
        self._artifacts.abandon(self._run_id, upload_id)

    def _inside(self, path: str) -> str:
        return "/".join(part for part in (self._folder, path) if part)


class VersionFiles:
    """The files of a version, which never change."""

    def __init__(self, tracker: EmbeddedTracker, name: str, version: int) -> None:
        self._models = tracker.models
        self._name = name
        self._version = version

    def found(self, path: str) -> Found:
        return self._models.found(self._name, self._version, path)

    def list(self, path: str) -> Sequence[Artifact]:
        prefix = f"{path}/" if path else ""
        there: dict[str, Artifact] = {}
        for file in self._models.files(self._name, self._version):
            if file.path.startswith(prefix):
                first, slash, _ = file.path[len(prefix) :].partition("/")
                there[first] = Artifact(path=prefix + first, is_folder=True) if slash else file
        return list(there.values())

    def receive(self, path: str) -> Receiving[Any]:
        raise self._unchangeable(path)

    def delete(self, path: str) -> None:
        raise self._unchangeable(path)

    def _unchangeable(self, path: str) -> InvalidValue:
        return InvalidValue(
            f"the files of version {self._version} of {self._name!r} never change, nor does {path!r}: register another"
        )


def place_of(tracker: EmbeddedTracker, path: str) -> tuple[Files, str]:
    """What a path below the root of all artifacts is in, and the path in that; ``NotFound`` for any other."""
    path = safe_path(path.strip("/"))
    version = _VERSION.fullmatch(path)
    if version is not None:
        return VersionFiles(tracker, version[1], int(version[2])), version[3] or ""
    model = _MODEL.fullmatch(path)
    if model is not None:
        return _files_of(tracker, model[1]), model[2] or ""
    run = _RUN.fullmatch(path)
    if run is not None:
        return RunFiles(tracker, run[1]), run[2] or ""
    raise NotFound(f"there is no artifact {short(path)}: a run's are at EXPERIMENT_ID/RUN_ID/artifacts/PATH")


def _files_of(tracker: EmbeddedTracker, model_id: str) -> RunFiles:
    model = logged.model_of(tracker, model_id)
    return RunFiles(tracker, model.run_id, model.path)


def safe_path(path: str) -> str:
    """The path, which leads nowhere else."""
    if any(part in (".", "..") for part in path.split("/")) or path.startswith("/") or "\0" in path:
        raise InvalidValue("Invalid path")
    return path


def listed(files: Sequence[Artifact], *, start: int = 0) -> tuple[FileInfo, ...]:
    """Files as they are answered, by their paths from the character ``start`` on."""
    return tuple(FileInfo(path=file.path[start:], is_dir=file.is_folder, file_size=file.size) for file in files)


def list_in_run(tracker: EmbeddedTracker, asked: ListInRun) -> ListedInRun:
    path = safe_path(asked.path.rstrip("/"))
    run = found(tracker, asked.run)
    return ListedInRun(root_uri=run_uri(run), files=listed(tracker.artifacts.list(run.run_id, path)))


def list_of_model(tracker: EmbeddedTracker, asked: ListOfModel) -> ListedInRun:
    path = safe_path(asked.artifact_directory_path.rstrip("/"))
    model = logged.model_of(tracker, asked.model_id)
    there = RunFiles(tracker, model.run_id, model.path).list(path)
    return ListedInRun(root_uri=logged.root_of(model), files=listed(there, start=len(model.path) + 1))


def list_by_path(tracker: EmbeddedTracker, asked: List) -> Listed:
    try:
        files, path = place_of(tracker, asked.path)
        there = files.list(path)
    except NotFound:
        # As of any folder that is not there.
        return Listed()
    return Listed(
        files=tuple(msgspec.structs.replace(file, path=file.path.rpartition("/")[2]) for file in listed(there))
    )


class ArtifactHandler(DownloadHandler, DialectHandler, ReceivingHandler):
    """Files by their paths below the root of all artifacts."""

    scopes = MappingProxyType({"GET": Scope.READ, "PUT": Scope.WRITE, "DELETE": Scope.WRITE})

    def receive(self) -> Receiving[Any]:
        files, path = place_of(self.tracker, self.path_kwargs["path"])
        return files.receive(path)

    def give(self, value: Any) -> None:  # noqa: ARG002 - MLflow answers an upload with nothing
        self.answer(messages.NOTHING)

    async def get(self, path: str) -> None:
        await self.answered(self._send(partial(self._found, path)))

    async def head(self, path: str) -> None:
        await self.get(path)

    async def delete(self, path: str) -> None:
        await self.answered(self._delete(path))

    def _found(self, path: str) -> Found:
        files, inside = place_of(self.tracker, path)
        return files.found(inside)

    async def _delete(self, path: str) -> None:
        def delete() -> None:
            files, inside = place_of(self.tracker, path)
            files.delete(inside)

        await self.call(delete)
        self.answer(messages.NOTHING)


class NamedArtifactHandler(DownloadHandler, DialectHandler):
    """A file of a run (``run_id``) or of a version (``name``, ``version``), by ``path`` in the query."""

    scopes = MappingProxyType({"GET": Scope.READ})

    def initialize(self, service: Any, find: Callable[[EmbeddedTracker, dict[str, str]], tuple[Files, str]]) -> None:  # type: ignore[override]
        super().initialize(service)
        self._find = find

    async def get(self, **parts: str) -> None:
        await self.answered(self._get(parts))

    async def _get(self, parts: dict[str, str]) -> None:
        given = {**self.query(), **parts}

        def find() -> Found:
            files, path = self._find(self.tracker, given)
            return files.found(safe_path(path))

        await self._send(find)


class UploadHandler(DialectHandler):
    """A small file of a run, by ``run_uuid`` and ``path`` in the query: how MLflow's pages store one."""

    scopes = MappingProxyType({"POST": Scope.WRITE})

    async def post(self, **parts: str) -> None:
        await self.answered(self._post(parts))

    async def _post(self, parts: dict[str, str]) -> None:
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind in _OF_FORMS:
            raise InvalidValue(f"Bad Request. Content-Type cannot be {kind}, which a form of another site can send.")
        asked = messages.convert({**self.query(), **parts}, ListInRun)
        run_id, content = asked.run_id or asked.run_uuid, self.request.body
        for given, what in ((run_id, "run_uuid"), (safe_path(asked.path), "path"), (content, "data")):
            if not given:
                raise InvalidValue(f"Request must specify {what}.")
        if len(content) > LARGEST_POSTED:
            raise InvalidValue("Artifact size is too large. Max size is 10MB.")

        def store() -> None:
            receiving = RunFiles(self.tracker, run_id).receive(asked.path)
            receiving.write(content)
            receiving.finish(None)

        await self.call(store)
        self.answer(messages.NOTHING)


def in_run(tracker: EmbeddedTracker, given: dict[str, str]) -> tuple[Files, str]:
    asked = messages.convert(given, ListInRun)
    return RunFiles(tracker, asked.run), asked.path


def in_version(tracker: EmbeddedTracker, given: dict[str, str]) -> tuple[Files, str]:
    asked = messages.convert(given, _OfVersion)
    return VersionFiles(tracker, asked.name, asked.version), asked.path


def in_model(tracker: EmbeddedTracker, given: dict[str, str]) -> tuple[Files, str]:
    asked = messages.convert(given, _OfModel)
    return _files_of(tracker, asked.model_id), asked.artifact_file_path


class _OfModel(Message, frozen=True, kw_only=True):
    model_id: str
    artifact_file_path: str


class _OfVersion(Message, frozen=True, kw_only=True):
    name: str
    version: int
    path: str
