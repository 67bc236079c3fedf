"""The notebook at a path of the server's contents manager: as it is shared in the browser now, else as saved."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import msgspec
from tornado.web import HTTPError

from jupyter_mlops.core.errors import InvalidValue, NotebookError, NotFound, PermissionDenied
from jupyter_mlops.core.values import short

LARGEST_NOTEBOOK = 128 << 20
"""Bytes of a notebook that can be submitted: it passes through the memory of the user's server several times over."""
_SHARED = "jupyter_server_ydoc"
"""The extension of jupyter-collaboration that keeps shared documents."""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A notebook that is to be run."""

    path: str
    """As the contents manager knows it."""
    content: bytes
    source: str
    """What the record names: its absolute path where it is a file of this machine."""
    cwd: str
    """The folder it runs in: its own, or that of the server's root where it has none."""
    is_shared: bool
    """It is open in a browser, and this is what its editors see."""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class Documents:
    """The notebooks of one server.

    Parameters
    ----------
    serverapp
        The ``ServerApp``.
    """

    def __init__(self, serverapp: Any) -> None:
        self._serverapp = serverapp

    async def read(self, path: str) -> Document:
        """The notebook at ``path``.

        Raises
        ------
        NotFound, PermissionDenied
            The contents manager knows or gives no such file.
        NotebookError, InvalidValue
            It is no notebook, or one too large.
        """
        path = _checked(path)
        saved = await self._saved(path)
        shared = await self._shared(path)
        place = self._file(path)
        root = Path(getattr(self._serverapp.contents_manager, "root_dir", "") or Path.home())
        return Document(
            path=path,
            content=saved if shared is None else shared,
            source=path if place is None else str(place),
            cwd=str(root if place is None else place.parent),
            is_shared=shared is not None,
        )

    def path_of(self, file: str) -> str | None:
        """The path, as the contents manager knows it, of a file of this machine; None when it shows no such file."""
        root = getattr(self._serverapp.contents_manager, "root_dir", None)
        if root is None:
            return None
        try:
            return Path(file).relative_to(root).as_posix() if Path(file).is_file() else None
        except (OSError, ValueError):  # it is elsewhere, another user's, or no name that a file can have
            return None

    async def _saved(self, path: str) -> bytes:
        contents = self._serverapp.contents_manager
        try:
            model = contents.get(path, content=False, type="file")
            model = await model if inspect.isawaitable(model) else model
            if (model.get("size") or 0) > LARGEST_NOTEBOOK:
                raise NotebookError(
                    f"the notebook {short(path)} has {model['size']:,} bytes, and at most {LARGEST_NOTEBOOK:,} can be "
                    "submitted; clear its outputs, or run it with `jupyter mlops run`"
                )
            # As text, which is the file as it is: a model of a notebook would be written anew.
            model = contents.get(path, content=True, type="file", format="text")
            model = await model if inspect.isawaitable(model) else model
        except HTTPError as error:
            raise _refusal(error, path) from None
        return str(model["content"]).encode()

    async def _shared(self, path: str) -> bytes | None:
        """What the editors of the document see, when it is open in the browser of any of them."""
        if "file_id_manager" not in self._serverapp.web_app.settings:
            # Where the extension could not start, nothing is shared.
            return None
        for extension in self._serverapp.extension_manager.extension_apps.get(_SHARED, ()):
            document = await extension.get_document(path=path, content_type="notebook", file_format="json", copy=True)
            if document is not None:
                return json.dumps(document.source).encode()
        return None

    def _file(self, path: str) -> Path | None:
        """The file of this machine that the path names; None for a contents manager that keeps no files here."""
        root = getattr(self._serverapp.contents_manager, "root_dir", None)
        found = Path(root, path) if root else None
        return found if found is not None and found.is_file() else None


def _checked(path: str) -> str:
    parts = path.strip("/").split("/")
    if not path or "\\" in path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise InvalidValue(f"path: {short(path)} is no path of a notebook; write it as the file browser shows it")
    if not path.endswith(".ipynb"):
        raise NotebookError(f"path: {short(path)} is no notebook; its name would end in .ipynb")
    return "/".join(parts)


def _refusal(error: HTTPError, path: str) -> Exception:
    if error.status_code == 404:
        return NotFound(f"there is no notebook {short(path)}")
    if error.status_code == 403:
        return PermissionDenied(f"the notebook {short(path)} may not be read")
    return NotebookError(f"the notebook {short(path)} cannot be read: {error.log_message or error.reason}")
