"""What foreign code may try, each as a function that an enclosed process calls."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def attempt(action: Callable[[], Any]) -> str:
    """What came of an action, in a word."""
    try:
        action()
    except OSError as error:
        return type(error).__name__
    return "done"


def touch(places: list[str]) -> dict[str, str]:
    """Write a file at each place."""
    return {place: attempt(Path(place).touch) for place in places}


def read(places: list[str]) -> dict[str, str]:
    return {place: attempt(Path(place).read_bytes) for place in places}


def environment() -> dict[str, str]:
    return dict(os.environ)


def reach(host: str, port: int) -> str:
    return attempt(lambda: socket.create_connection((host, port), timeout=5).close())


def signal_to(pid: int) -> str:
    return attempt(lambda: os.kill(pid, signal.SIGKILL))


def identity() -> dict[str, Any]:
    seen = [int(place.name) for place in Path("/proc").iterdir() if place.name.isdecimal()]
    return {"uid": os.getuid(), "pid": os.getpid(), "processes": seen}


def allocate(size: int) -> int:
    """Have that much memory in one process."""
    return len(bytearray(size))


def allocate_in_many(size: int, processes: int) -> None:
    """Have that much memory in several processes together."""
    code = f"import time; held = b'x' * {size // processes}; time.sleep(600)"
    for process in [subprocess.Popen([sys.executable, "-c", code]) for _ in range(processes)]:
        process.wait()


def sleep(how_long: float) -> None:
    time.sleep(how_long)


def leave_and_sleep(mark: str) -> None:
    leave_behind(mark)
    time.sleep(600)


def answer_nonsense() -> None:
    """Write to every open file of this process, and end as if all was well."""
    for descriptor in range(3, 100):
        try:
            os.write(descriptor, b"{nonsense\n")
        except OSError:
            continue
    os._exit(0)


def leave_behind(mark: str) -> None:
    """Start a process that wants to outlive this one."""
    subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)", mark],
        start_new_session=True,
        env={},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def print_much(characters: int) -> None:
    for _ in range(characters // 1000):
        print("x" * 999)
    print("the end")


def exit_at_once(code: int) -> None:
    os._exit(code)


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)
    os.abort()
