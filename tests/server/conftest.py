from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.jupyter import JupyterServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """A server without a hub, with a store of its own."""
    running = JupyterServer(tmp_path_factory.mktemp("server"), "--MLOpsExtension.concurrent_runs=2")
    running.start()
    yield running
    running.end()
