"""The working tree of a git repository as it was when a run was made: fetched from where the run says that it came
from, if the worker's administrator named that place. A run's record is its author's word, and fetches nothing else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from jupyter_mlops.core.errors import InvalidValue

GIT_SECONDS = 300.0
_COMMIT_DIGITS = (40, 64)
_SAFE = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
    "LC_ALL": "C",
}


def is_named(remote: str, places: Sequence[str]) -> bool:
    """Whether ``remote`` is one of the ``places`` or below one."""
    if any(character in remote for character in "\0\r\n") or ".." in remote.split("/"):
        return False
    return any(remote == place or remote.startswith((f"{place.rstrip('/')}/", f"{place}/")) for place in places)


def check_out(remote: str, commit: str, uncommitted: bytes, folder: Path) -> None:
    """Fill ``folder``, which is empty, with the commit of the repository at ``remote`` and what differed from it.

    Parameters
    ----------
    remote
        As git understands it; it must be one of :func:`is_named`.
    commit
        Its full digest.
    uncommitted
        A patch in git's format; empty for none.

    Raises
    ------
    InvalidValue
        It cannot be fetched, or the patch does not fit; the message is git's.
    """
    if len(commit) not in _COMMIT_DIGITS or not set(commit) <= set("0123456789abcdef"):
        raise InvalidValue(f"the run names no commit: {commit[:80]!r}")
    _git(folder, "init", "--quiet", "--template=")
    try:
        _git(folder, "fetch", "--quiet", "--no-tags", "--depth=1", "--", remote, commit)
    except InvalidValue:
        # A server need not give what no branch begins with.
        _git(folder, "fetch", "--quiet", "--", remote, "+refs/heads/*:refs/remotes/origin/*")
    _git(folder, "checkout", "--quiet", "--detach", commit)
    if uncommitted:
        _git(folder, "apply", "--whitespace=nowarn", "-", given=uncommitted)


def _git(folder: Path, *arguments: str, given: bytes = b"") -> None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "-c", "protocol.ext.allow=never", *arguments],
            input=given,
            capture_output=True,
            env={**os.environ, **_SAFE},
            timeout=GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InvalidValue(f"git {arguments[0]}: {error}") from error
    if done.returncode != 0:
        raise InvalidValue(f"git {arguments[0]}: {done.stderr.decode('utf-8', 'replace').strip()[-500:]}")
