from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.inprocess import Running, running


@pytest.fixture
def service(sqlite_url: str, tmp_path: Path) -> Iterator[Running]:
    """A service over an empty store."""
    with running(sqlite_url, tmp_path / "artifacts", tmp_path) as service:
        yield service
