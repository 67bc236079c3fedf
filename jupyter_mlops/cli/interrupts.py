"""Being asked to stop: SIGTERM is an orderly end like Ctrl-C, with an exit code of its own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


@contextmanager
def orderly() -> Iterator[None]:
    """While it lasts, SIGTERM raises :class:`Terminated` where Ctrl-C raises ``KeyboardInterrupt``; either ends the
    command with the shell's exit code for it: 143 or 130."""

    def terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal calls it
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except Terminated:
        raise click.exceptions.Exit(128 + signal.SIGTERM) from None
    except KeyboardInterrupt:
        raise click.exceptions.Exit(128 + signal.SIGINT) from None
    finally:
        signal.signal(signal.SIGTERM, before)
