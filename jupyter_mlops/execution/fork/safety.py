"""What a process must not have when others are forked off it, and what these must not share. It needs nothing that is
not Python's own."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import gc
import os
import random
import sqlite3
import stat
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

_HARMLESS_FILES = ("/dev/null", "/dev/urandom", "/dev/random", "/dev/zero")
_HARMLESS_THREADS = ("jemalloc_bg_thd",)
"""Threads whose library takes care of forks: here the allocator that comes with Arrow, and so with pandas."""
_FROM_ENTROPY = 1 << 64
"""A seed of at least so much was drawn by NumPy, unless the code has that number."""
_LOGGING = ("jupyter_mlops.recording.session", "jupyter_mlops.recording.fluent")
_TASKS = Path("/proc/self/task")


class Unsafe(Exception):
    """Why no process can be forked off this one."""


class Surroundings:
    """What was open before cells were executed."""

    def __init__(self) -> None:
        self._files = set(_open_files())
        self._databases = {id(found) for found in _databases()}
        self._read: set[tuple[int, str]] = set()
        """Files that the cells opened to read."""

    def check(self, loop: asyncio.AbstractEventLoop) -> None:
        """``Unsafe`` when a process that is forked now would not be what a fresh one is."""
        if asyncio.all_tasks(loop):
            raise Unsafe("an asynchronous task goes on when the points part")
        if children():
            raise Unsafe("a process that the cells started is running when the points part")
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            raise Unsafe("CUDA is initialised when the points part")
        if any(name in sys.modules for name in _LOGGING):
            raise Unsafe("code that the cells call logs to a run before the points part")
        if any(id(found) not in self._databases for found in _databases()):
            raise Unsafe("a database is open when the points part")
        opened = [each for each in _open_files() if each not in self._files]
        # It opens other things, too, that say less.
        if any(target.startswith("/dev/nvidia") for _, target in opened):
            raise Unsafe("CUDA is initialised when the points part")
        for number, target in opened:
            if target not in _HARMLESS_FILES:
                if not _is_read_only(number):
                    raise Unsafe(f"{_what_is_open(target)} when the points part")
                self._read.add((number, target))
        more = [name for name in _threads() if name not in _HARMLESS_THREADS]
        if more:
            own = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
            raise Unsafe(f"other threads go on ({', '.join(own or more)}) when the points part")

    def reopen(self) -> None:
        """Give a forked process places of its own in the files that it reads."""
        if not self._read:
            return
        # Some are closed already, by libraries that look out for forks.
        for number, _ in self._read.intersection(_open_files()):
            own = os.open(f"/proc/self/fd/{number}", os.O_RDONLY)
            os.lseek(own, os.lseek(number, 0, os.SEEK_CUR), os.SEEK_SET)
            os.dup2(own, number, os.get_inheritable(number))
            os.close(own)


class Seeds:
    """Whether the notebook seeds what is random; what it does not is seeded anew in each child, or restored."""

    def __init__(self) -> None:
        self._seeded = False
        self._seed, self._seed_own = random.seed, random.Random.seed
        self._unseeded: weakref.WeakSet[random.Random] = weakref.WeakSet()
        self._state = random.getstate()
        random.seed = self._noted
        self._noted_own = random.Random.seed = self._noting(random.Random.seed)  # type: ignore[method-assign]

    def hold(self) -> None:
        """Note how far the cells have come."""
        self._state = random.getstate()

    def _noted(self, *arguments: Any, **options: Any) -> None:
        self._seeded = any(given is not None for given in (*arguments[:1], options.get("a")))
        self._seed(*arguments, **options)

    def _noting(self, seed: Callable[..., None]) -> Callable[..., None]:
        def noting(generator: random.Random, a: Any = None, *arguments: Any, **options: Any) -> None:
            (self._unseeded.add if a is None else self._unseeded.discard)(generator)
            seed(generator, a, *arguments, **options)

        return functools.wraps(seed)(noting)

    def _forget(self) -> None:
        if random.seed == self._noted:
            random.seed = self._seed
        if random.Random.seed is self._noted_own:
            random.Random.seed = self._seed_own  # type: ignore[method-assign]

    def restore(self) -> None:
        """Have a child go on as every other does."""
        self._forget()
        # Python itself seeds it anew in each child.
        random.setstate(self._state)

    def renew(self, namespace: dict[str, Any], source: str) -> None:
        """Seed what the cells, whose text is ``source``, have not seeded."""
        self._forget()
        # Python itself seeds it anew in each child.
        if self._seeded:
            random.setstate(self._state)
        for generator in list(self._unseeded):
            generator.seed()
        numpy = sys.modules.get("numpy.random")
        if numpy is None:
            return
        # Seeding it forgets the sequence that it was made with.
        if getattr(numpy.mtrand._rand._bit_generator, "_seed_seq", None) is not None:
            numpy.seed()
        for value in list(namespace.values()):
            if isinstance(value, numpy.Generator):
                made = value.bit_generator
                entropy = getattr(getattr(made, "seed_seq", None), "entropy", None)
                if isinstance(entropy, int) and entropy >= _FROM_ENTROPY and str(entropy) not in source:
                    made.state = type(made)().state


def _threads() -> list[str]:
    """The names of all threads but this one, as the system has them."""
    found = []
    for task in _TASKS.iterdir():
        with contextlib.suppress(OSError):  # it ended
            found.append((int(task.name), (task / "comm").read_text(encoding="utf-8").strip()))
    return [name for number, name in found if number != threading.get_native_id()]


def _databases() -> list[Any]:
    return [found for found in gc.get_objects() if isinstance(found, sqlite3.Connection)]


def _open_files() -> list[tuple[int, str]]:
    found = []
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one of the listing itself
            found.append((int(file.name), str(file.readlink())))
    return found


def _is_read_only(number: int) -> bool:
    """Whether it is an ordinary file that is only read."""
    flags = fcntl.fcntl(number, fcntl.F_GETFL)
    return stat.S_ISREG(os.fstat(number).st_mode) and flags & os.O_ACCMODE == os.O_RDONLY


def _what_is_open(target: str) -> str:
    if target.startswith("socket:"):
        return "a socket is open"
    return f"{os.path.relpath(target) if target.startswith('/') else target} is open"


def children() -> list[int]:
    """The processes that this one has started and that are there."""
    found: list[int] = []
    for task in _TASKS.iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text(encoding="ascii").split())
    return found


def has_children() -> bool:
    """Whether there are any, or ended ones that were not waited for: a hundred times as fast as to say which."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
