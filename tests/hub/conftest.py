from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hub import realhub


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[realhub.Hub]:
    """A hub with the service over an SQLite file."""
    folder = tmp_path_factory.mktemp("hub")
    with realhub.running(folder, f"sqlite:///{folder / 'mlops.db'}") as hub:
        yield hub
