"""Being asked to stop: SIGTERM is an orderly end like Ctrl-C, with an exit code of its own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from jupyter_mlops.core.records import Run, RunStatus


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


def exit_code(run: Run) -> int:
    """The exit code of a command whose run did not finish: 1 when it failed, the shell's when it was cancelled."""
    if run.status is not RunStatus.KILLED:
        return 1
    terminated = run.reason is not None and signal.SIGTERM.name in run.reason.message
    return 128 + (signal.SIGTERM if terminated else signal.SIGINT)
