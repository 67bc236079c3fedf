"""The state of the code beside a notebook: commit, uncommitted changes, and imported modules that git does not keep."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import msgspec

_TIMEOUT = 20.0
_LARGEST_DIFF = 10 << 20
_LARGEST_MODULE = 1 << 20


class Checkout(msgspec.Struct, frozen=True):
    """A working tree at one moment."""

    root: str
    commit: str | None
    """None before the first commit."""
    branch: str | None
    """None when the head is detached."""
    remote: str | None
    """URL of ``origin``, without credentials."""
    dirty: bool
    """Whether tracked files differ from the commit."""
    diff: str
    """What differs, as a patch; empty when nothing does, and when it is larger than 10 MB."""


def checkout(folder: Path) -> Checkout | None:
    """The working tree that ``folder`` is in; None when it is in none, or there is no git."""
    root = _git(folder, "rev-parse", "--show-toplevel")
    if not root:
        return None
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD") or None
    diff = _git(folder, "diff", "HEAD", "--no-ext-diff", "--no-color", "--no-textconv", "--binary") if commit else ""
    remote = _git(folder, "config", "--get", "remote.origin.url")
    return Checkout(
        root=root.strip(),
        commit=commit and commit.strip(),
        branch=(_git(folder, "symbolic-ref", "--short", "--quiet", "HEAD") or "").strip() or None,
        remote=re.sub(r"://[^/@]*@", "://", remote.strip()) if remote else None,
        dirty=bool(diff),
        diff=diff if diff and len(diff) <= _LARGEST_DIFF else "",
    )


def local_modules(files: Iterable[str], *, cwd: Path, root: Path | None) -> list[Path]:
    """Which of the imported ``files`` git does not keep: those below ``root`` that are untracked, and outside of a
    working tree those below ``cwd``."""
    base = (root or cwd).resolve()
    found = []
    for name in sorted(set(files)):
        path = Path(name).resolve()
        if path.is_relative_to(base) and path.is_file() and path.stat().st_size <= _LARGEST_MODULE:
            found.append(path)
    if root is None or not found:
        return found
    tracked = _git(root, "ls-files", "-z", "--", *(str(path.relative_to(base)) for path in found)) or ""
    known = set(tracked.split("\0"))
    return [path for path in found if path.relative_to(base).as_posix() not in known]


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says, None when it refuses or is not there."""
    # Without optional locks, a run beside an interactive `git commit` cannot make it fail.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=environment,
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
