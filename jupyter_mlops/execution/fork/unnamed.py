"""Files without a name, which a process and those that it forks or hands them to have together. It needs nothing that
is not Python's own."""

from __future__ import annotations

import os
import tempfile
from typing import IO


def unnamed_file(purpose: str) -> IO[bytes]:
    """A new file, in memory where Python can have it there: some are built for systems that could not."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create(purpose, os.MFD_CLOEXEC), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)
