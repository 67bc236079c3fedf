"""Which notebook a kernel executes, when servers are slow to say."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from jupyter_mlops.recording import notebook_file
from jupyter_mlops.recording.notebook_file import find_notebook


@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])
def test_a_server_that_does_not_answer_is_not_waited_for_again(
    is_busy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_busy:
        # Who waits goes on only after the thread that asks has given up.
        join = threading.Thread.join
        monkeypatch.setattr(threading.Thread, "join", lambda thread, _: join(thread))
    (tmp_path / "work.ipynb").write_text("{}")
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "work.ipynb"))
    monkeypatch.setattr(notebook_file, "_asked_from", 0.0)
    monkeypatch.setattr(notebook_file, "_connection_file", lambda: tmp_path / "kernel-x.json")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        about = {"url": f"http://127.0.0.1:{silent.getsockname()[1]}/", "root_dir": str(tmp_path), "token": "t"}
        (tmp_path / "jpserver-1.json").write_text(json.dumps(about))
        for _ in range(3):
            assert find_notebook(SimpleNamespace(user_ns={})) == tmp_path / "work.ipynb"
        silent.accept()[0].close()
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.accept()
