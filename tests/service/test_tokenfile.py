"""The file of tokens, as whoever administers it finds it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from jupyter_mlops.core.errors import Unavailable
from jupyter_mlops.service import tokens
from jupyter_mlops.service.tokens import Grant, create_token, find_tokens, revoke_tokens

SERVICE = 12345


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_whom_it_was_given_to_still_reads_it_after_a_change(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    create_token(path, Grant(user="ann"))
    assert path.stat().st_mode & 0o777 == 0o600
    os.chown(path, SERVICE, SERVICE)
    path.chmod(0o640)
    create_token(path, Grant(user="bob"))
    revoke_tokens(path, find_tokens(path, user="ann"))
    found = path.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (SERVICE, SERVICE, 0o640)
    assert [grant.user for grant in find_tokens(path, user="bob").values()] == ["bob"]


def test_a_process_that_was_stopped_in_a_change_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tokens.json"
    monkeypatch.setattr(tokens, "_PATIENCE_SECONDS", 0.1)
    held = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(Unavailable, match=r"busy with it for 0\.1 s"):
        create_token(path, Grant(user="ann"))
    os.close(held)
    create_token(path, Grant(user="ann"))
    assert [grant.user for grant in find_tokens(path, user="ann").values()] == ["ann"]
