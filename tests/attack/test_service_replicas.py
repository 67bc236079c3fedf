"""Two replicas behind one address, of which one is killed: the short form of ``benchmarks/load.py``."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.load import load


@pytest.mark.slow
def test_nobody_notices_that_a_replica_was_killed(postgres_url: str, tmp_path: Path) -> None:
    loaded = load(postgres_url, tmp_path, clients=12, seconds=4.0, each_seconds=0.2)
    assert loaded.failures == []
    assert loaded.lost == []
    assert len(loaded.times) > 12 * 5
    # Somebody met the dead one, or this has shown nothing.
    assert loaded.passed_over > 0
