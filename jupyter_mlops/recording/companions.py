"""What is beside the kernel of a notebook run for as long as it lives: an address that its code can log to.

Companions are known by name here: they are of layers above this one, which runs notebooks without knowing them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Protocol

from jupyter_mlops.tracker.protocol import Tracker

_KNOWN = (("jupyter_mlops.service.mlflow.beside", "Beside"),)


class Companion(Protocol):
    """Made before the kernel starts, by ``Class(run_id, named=..., tracking_url=...)``."""

    environment: Mapping[str, str]
    """What the kernel is told."""

    @property
    def may_have_begun_runs(self) -> bool:
        """Whether the kernel's code may have begun runs within its own by that address."""

    def open(self, tracker: Tracker) -> None:
        """Begin; the kernel may run already."""

    def close(self) -> None:
        """End, after the kernel. Nothing happens when it is closed."""


def known_companions() -> list[Callable[..., Companion]]:
    """What makes them, imported."""
    return [getattr(import_module(module), name) for module, name in _KNOWN]


def companions(run_id: str, *, named: bool, tracking_url: str) -> list[Companion]:
    """Those of a run; ``named`` says whether a name was chosen for it."""
    return [make(run_id, named=named, tracking_url=tracking_url) for make in known_companions()]
