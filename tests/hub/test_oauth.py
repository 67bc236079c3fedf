"""The secret that signs logins, which outlives the processes that use it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jupyter_mlops.hub.oauth import COOKIE_SECRET, kept_cookie_secret


@pytest.fixture(autouse=True)
def _no_secret_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(COOKIE_SECRET, raising=False)


def test_it_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "home" / "secret"
    secret = kept_cookie_secret(path)
    assert kept_cookie_secret(path) == secret
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_one_that_was_killed_while_it_made_it_leaves_it_as_it_is(tmp_path: Path) -> None:
    """In a container the next process has the same number."""
    path = tmp_path / "secret"
    secret = kept_cookie_secret(path)
    path.with_name(f".{path.name}.{os.getpid()}").hardlink_to(path)
    assert kept_cookie_secret(path) == secret
