"""Landlock: a process of Linux gives up, for itself and all that it starts, what it need not reach.

It needs no privilege. The kernel's documentation is ``userspace-api/landlock``; the numbers are those of its headers.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_QUERY_VERSION = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEVICE = 1 << 14, 1 << 15
_FILE_RIGHTS_OF_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_ALL_FILE_RIGHTS = (1 << 16) - 1
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE
"""The rights that mean something on what is no folder."""
_READING = _EXECUTE | _READ_FILE | _READ_DIR
_BIND_AND_CONNECT = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11

_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """The version of Landlock that this kernel has; 0 without it."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, 0, _QUERY_VERSION)))


def restrict(*, readable: Iterable[Path], writable: Iterable[Path], network: bool) -> None:
    """Take from this thread, and from all that it starts, every file but those below ``readable`` (to read and execute)
    and ``writable`` (to do all with), and signals and abstract sockets to others. Places that do not exist are passed
    over. ``network`` False also takes TCP. What the kernel's version does not know is not taken.

    No new privileges must be possible any more (``PR_SET_NO_NEW_PRIVS``). ``OSError`` when the kernel refuses.
    """
    known = version()
    handled = _FILE_RIGHTS_OF_VERSION.get(known, _ALL_FILE_RIGHTS)
    attributes = struct.pack(
        "=QQQ",
        handled,
        _BIND_AND_CONNECT if known >= 4 and not network else 0,
        _ABSTRACT_SOCKETS_AND_SIGNALS if known >= 6 else 0,
    )
    size = 8 if known < 4 else 16 if known < 6 else 24
    rules = _call(_CREATE_RULESET, attributes, size, 0)
    try:
        for paths, rights in ((readable, _READING), (writable, handled)):
            for path in paths:
                with contextlib.suppress(FileNotFoundError, PermissionError):
                    _allow(rules, path, rights & handled)
        _call(_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def _allow(rules: int, path: Path, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _OF_FILES
        _call(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: int | bytes) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return result
