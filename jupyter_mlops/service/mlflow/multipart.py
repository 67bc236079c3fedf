"""Large files in parts, which come in any order and side by side. Each part is a file of an upload, by its number; at
the end they are joined. The URLs of parts are the service's own, and the caller's own credential opens them."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.errors import InvalidValue, Unauthenticated
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Part
from jupyter_mlops.core.values import short
from jupyter_mlops.service.mlflow import messages
from jupyter_mlops.service.mlflow.artifacts import RunFiles, place_of
from jupyter_mlops.service.mlflow.handler import DialectHandler
from jupyter_mlops.service.mlflow.messages import Answer, Message, limited
from jupyter_mlops.service.receiving import ReceivingHandler
from jupyter_mlops.tracker.embedded import EmbeddedTracker
from jupyter_mlops.tracker.embedded.receiving import Receiving

MOST_PARTS = 10_000
_PART_NAME = "{:05}"


class Create(Message, frozen=True, kw_only=True):
    path: str
    num_parts: int = 1


class PartSent(Message, frozen=True, kw_only=True):
    part_number: int
    etag: str
    url: str = ""


class Complete(Message, frozen=True, kw_only=True):
    path: str
    upload_id: str
    parts: tuple[PartSent, ...]


class Abort(Message, frozen=True, kw_only=True):
    path: str
    upload_id: str


class Credential(Answer, frozen=True, kw_only=True):
    url: str
    part_number: int
    headers: dict[str, str]


class Begun(Answer, frozen=True, kw_only=True):
    upload_id: str
    credentials: tuple[Credential, ...]


class MultipartHandler(DialectHandler):
    """Begins and ends uploads of a file: ``path`` in the URL is its folder, in the body its own place, whose last part
    is its name."""

    scopes = MappingProxyType({"POST": Scope.WRITE})

    async def post(self, action: str, path: str) -> None:
        await self.answered(self._post(action, path))

    async def _post(self, action: str, folder: str) -> None:
        self.require_json()
        body = self.request.body
        act: Callable[[], Any]
        if action == "create":
            begun = messages.read(body, Create)
            place = _place(folder, begun.path)
            upload_id = new_id()

            def act() -> Begun:
                count = limited(begun.num_parts, "num_parts", MOST_PARTS)
                files, inside = files_of(self.tracker, place)
                files.require_writable(inside)
                return Begun(
                    upload_id=upload_id,
                    credentials=tuple(self._credential(place, upload_id, number + 1) for number in range(count)),
                )
        elif action == "complete":
            done = messages.read(body, Complete)
            place = _place(folder, done.path)

            def act() -> None:
                files, inside = files_of(self.tracker, place)
                ordered = sorted(done.parts, key=lambda part: part.part_number)
                parts = [(_PART_NAME.format(part.part_number), part.etag.strip('"')) for part in ordered]
                files.join(done.upload_id, inside, parts)
        else:
            given_up = messages.read(body, Abort)
            place = _place(folder, given_up.path)

            def act() -> None:
                files_of(self.tracker, place)[0].abandon(given_up.upload_id)

        self.answer(messages.encode(await self.call(act)))

    def _credential(self, place: str, upload_id: str, number: int) -> Credential:
        authorization = self.request.headers.get("Authorization")
        if authorization is None:
            raise Unauthenticated("an upload in parts needs a token, which its parts are sent with")
        root = self.request.path.partition("/mpu/")[0]
        url = f"{self.request.protocol}://{self.request.host}{root}/mpu/part/{upload_id}/{number}/{quote(place)}"
        return Credential(url=url, part_number=number, headers={"Authorization": authorization})


class PartHandler(DialectHandler, ReceivingHandler):
    """Takes a part; its ETag is the SHA-256."""

    scopes = MappingProxyType({"PUT": Scope.WRITE})

    def receive(self) -> Receiving[Any]:
        files, _ = files_of(self.tracker, self.path_kwargs["path"])
        number = int(self.path_kwargs["number"])
        return files.receive_part(self.path_kwargs["upload_id"], _PART_NAME.format(limited(number, "part", MOST_PARTS)))

    def give(self, value: Part) -> None:
        self.set_header("ETag", f'"{value.digest}"')
        self.answer(messages.NOTHING)


def files_of(tracker: EmbeddedTracker, place: str) -> tuple[RunFiles, str]:
    """The run whose file a place is, and the path there."""
    files, inside = place_of(tracker, place)
    if not isinstance(files, RunFiles) or not inside:
        raise InvalidValue(f"{short(place)} is no file of a run or of a logged model")
    return files, inside


def _place(folder: str, path: str) -> str:
    name = re.split(r"[/\\]", path)[-1]
    return f"{folder.strip('/')}/{name}"
