"""The extension as Jupyter Server knows it: its settings, what it mounts, how it starts and stops."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import cast

from jupyter_server.extension.application import ExtensionApp

from jupyter_mlops.server.identity import JupyterIdentity
from jupyter_mlops.server.store import SETTING, LazyTracker
from jupyter_mlops.service.app import routes
from jupyter_mlops.service.handlers import Service
from jupyter_mlops.tracker.embedded import EmbeddedTracker
from jupyter_mlops.tracker.location import default_url

_THREADS = 32
"""Requests that may wait for the store at once."""


class MLOpsExtension(ExtensionApp):
    """Experiment tracking and a model registry, served beside the notebooks."""

    name = "jupyter_mlops"
    extension_url = "/mlops/"
    load_other_extensions = True

    def initialize_settings(self) -> None:
        self.executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="mlops")
        self.tracker = LazyTracker(default_url(), self.executor)
        self.settings[SETTING] = self.tracker

    def initialize_handlers(self) -> None:
        service = Service(cast(EmbeddedTracker, self.tracker), JupyterIdentity(), self.executor)
        self.handlers.extend(routes(service, "/mlops/"))

    async def stop_extension(self) -> None:
        self.tracker.close()
        self.executor.shutdown(wait=False)
