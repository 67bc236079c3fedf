from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.jupyter import JupyterServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """A server without a hub, with a store of its own."""
    folder = tmp_path_factory.mktemp("server")
    configured = folder / "config" / "jupyter_server_config.d"
    configured.mkdir(parents=True)
    extensions = {"ServerApp": {"jpserver_extensions": {"tests.server.sharing": True}}}
    (configured / "sharing.json").write_text(json.dumps(extensions))
    running = JupyterServer(
        folder,
        "--MLOpsExtension.concurrent_runs=2",
        # Shared documents are not saved by themselves, so that what is saved can be told from what is shared.
        "--YDocExtension.document_save_delay=None",
        PYTHONPATH=str(Path(__file__).parents[2]),
    )
    running.start()
    yield running
    running.end()
