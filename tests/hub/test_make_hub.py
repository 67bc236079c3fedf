"""``make hub``: what it prints is true, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import requests

from tests.hub.realhub import filled_in
from tests.waiting import lives

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def log_in(url: str, user: str, password: str) -> tuple[requests.Session, requests.Response]:
    browser = requests.Session()
    form = browser.get(f"{url}/services/mlops/", timeout=30)
    return browser, browser.post(form.url, data=filled_in(form.text, user, password), timeout=30)


def test_one_command_to_a_hub_that_works(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / "hub" / "run.py"), str(tmp_path / "hub")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = ""
            for line in process.stdout:
                told += line
                if line.startswith("Ctrl-C"):
                    break
            ready = re.search(r"ready at (http://\S+)", told)
            assert ready is not None, told
            users = dict(re.findall(r"^  (\w+) +(\S+) ", told, re.MULTILINE))
            assert set(users) == {"ann", "ben", "lea", "admin"}
            _, page = log_in(ready[1], "ann", users["ann"])
            assert "<strong>ann</strong>" in page.text
            assert "<strong>churn</strong>" in page.text
            _, refused = log_in(ready[1], "ann", users["ben"])
            assert refused.status_code == 403
            lead, _ = log_in(ready[1], "lea", users["lea"])
            promotes = lead.get(f"{ready[1]}/services/mlops/api/v1/principal", timeout=30).json()["group_scopes"]
            assert [group for group, _ in promotes] == ["churn", "fraud"]
            for user in users:
                assert (tmp_path / "hub" / "home" / user / "breast-cancer.ipynb").exists()
            started = psutil.Process(process.pid).children(recursive=True)
            assert len(started) >= 3
            process.send_signal(signal.SIGINT)
            process.wait(60)
            assert not any(map(lives, started))
        finally:
            if process.poll() is None:
                process.terminate()
