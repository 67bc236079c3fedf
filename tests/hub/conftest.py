from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.hub import chromium, realhub


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium. It is closed after each module: while it runs, nothing else can use an event loop."""
    path = chromium.found()
    if path is None:
        pytest.skip(chromium.MISSING)
    with chromium.started(path) as started:
        yield started


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[realhub.Hub]:
    """A hub with the service over an SQLite file."""
    folder = tmp_path_factory.mktemp("hub")
    with realhub.running(folder, f"sqlite:///{folder / 'mlops.db'}") as hub:
        yield hub


@pytest.fixture(scope="session")
def lead_server(hub: realhub.Hub) -> Iterator[dict[str, str]]:
    """What the hub put into the environment of a notebook server of the lead's, and so of its kernels."""
    yield hub.start_server(realhub.LEAD)
    hub.stop_server(realhub.LEAD)
