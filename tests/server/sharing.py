"""A server extension for tests: an editor of shared documents that is no browser."""

from __future__ import annotations

import json
from typing import Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado.web import authenticated


class ShareHandler(APIHandler):
    @authenticated
    async def put(self, path: str) -> None:
        """Open the notebook at ``path`` for editors, as one of whom write the source of its first cell."""
        (extension,) = self.settings["serverapp"].extension_manager.extension_apps["jupyter_server_ydoc"]
        document = await extension.get_document(
            path=path, content_type="notebook", file_format="json", copy=False, create=True
        )
        cell = document.get_cell(0)
        document.set_cell(0, {**cell, "source": json.loads(self.request.body)["source"]})
        self.set_status(204)


def _load_jupyter_server_extension(serverapp: Any) -> None:
    serverapp.web_app.settings["serverapp"] = serverapp
    pattern = url_path_join(serverapp.base_url, "tests/share/(.*)")
    serverapp.web_app.add_handlers(".*$", [(pattern, ShareHandler)])
