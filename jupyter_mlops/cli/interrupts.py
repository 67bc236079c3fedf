"""Being asked to stop: SIGTERM and SIGHUP are an orderly end like Ctrl-C, with exit codes of their own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

import click

from jupyter_mlops.core.records import Run, RunStatus

_ENDING = (signal.SIGTERM, signal.SIGHUP)


class Terminated(KeyboardInterrupt):
    """The signal ``number`` came."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def orderly() -> Iterator[None]:
    """While it lasts, SIGTERM and SIGHUP raise :class:`Terminated` where Ctrl-C raises ``KeyboardInterrupt``; each ends
    the command with the shell's exit code for it: 143, 129 or 130. Ignored signals (``nohup``) stay ignored."""

    def terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal calls it
        raise Terminated(number)

    with ExitStack() as restored:
        for number in _ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                restored.callback(signal.signal, number, signal.signal(number, terminate))
        try:
            yield
        except Terminated as terminated:
            raise click.exceptions.Exit(128 + terminated.number) from None
        except KeyboardInterrupt:
            raise click.exceptions.Exit(128 + signal.SIGINT) from None


def exit_code(run: Run) -> int:
    """The exit code of a command whose run did not finish: 1 when it failed, the shell's when it was cancelled."""
    if run.status is not RunStatus.KILLED:
        return 1
    told = "" if run.reason is None else run.reason.message
    return 128 + next((number for number in _ENDING if number.name in told), signal.SIGINT)
