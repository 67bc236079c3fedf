from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.service.described import Described, describing, known_to
from tests.service.inprocess import Running, running


@pytest.fixture
def service(sqlite_url: str, tmp_path: Path) -> Iterator[Running]:
    """A service over an empty store."""
    with running(sqlite_url, tmp_path / "artifacts", tmp_path) as service:
        yield service


@pytest.fixture(scope="module")
def described(_sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    """A service over an empty store, with its description."""
    with describing(_sqlite_template, tmp_path_factory.mktemp("described")) as service:
        yield service


@pytest.fixture
def known(described: Described) -> Mapping[str, str]:
    return known_to(described)
