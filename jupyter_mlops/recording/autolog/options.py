"""What autologging does, and what the hooks of a framework are."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Options(msgspec.Struct, frozen=True):
    """See :func:`jupyter_mlops.recording.autolog.autolog`."""

    log_models: bool
    log_input_examples: bool
    log_model_signatures: bool
    log_every_n_step: int
    silent: bool


class Hooks:
    """Changes made to a framework, which can be undone."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], object]] = []

    def add(self, undo: Callable[[], object]) -> None:
        self._undo.append(undo)

    def remove(self) -> None:
        """Undo all changes, the last first."""
        while self._undo:
            self._undo.pop()()
