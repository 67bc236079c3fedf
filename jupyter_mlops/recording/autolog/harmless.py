"""Keeping trouble with logging away from training."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class AutologWarning(UserWarning):
    """Something could not be logged automatically."""


class Harmless:
    """Turns errors into warnings, each told once."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._told: set[str] = set()

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """Run a block that logs ``what``."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, training goes on
            text = f"autolog: {what} not logged: {error or type(error).__name__}"
            if not self._silent and text not in self._told:
                self._told.add(text)
                warnings.warn(text, AutologWarning, stacklevel=4)
