from __future__ import annotations

from collections.abc import Iterator

import pytest
from machines import Machine


@pytest.fixture
def machine() -> Iterator[Machine]:
    machine = Machine()
    yield machine
    machine.close()
