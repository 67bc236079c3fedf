"""Waiting for what other processes do, and finding them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

import psutil

T = TypeVar("T")

DEADLINE = 60.0
"""Seconds that a condition may take to come true; far beyond what it takes, so that a busy machine fails no test."""


def until(condition: Callable[[], T], what: str, seconds: float = DEADLINE) -> T:
    """Wait for a condition to become true and return its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {seconds:.0f} s")


def processes_with(text: str) -> list[psutil.Process]:
    """Processes that have ``text`` on their command line or in their environment (as ``NAME=VALUE``), zombies not
    counted."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = [f"{name}={value}" for name, value in process.environ().items()]
            if process.status() != psutil.STATUS_ZOMBIE and text in "\n".join([*process.cmdline(), *environment]):
                found.append(process)
        except psutil.Error:
            continue
    return [process for process in found if process.pid != os.getpid()]


def lives(process: psutil.Process) -> bool:
    """Whether a process goes on: it has not ended, not even as a zombie that nobody has waited for yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def descendants(text: str, pid: int | None = None) -> list[psutil.Process]:
    """What a process (this one by default) has started, also by others, that lives and has ``text`` on its command
    line; parents before their children."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if lives(process) and text in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found
