"""What a process says of itself, where the system knows little of it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

WHO = """
import os
from jupyter_mlops.tracker.process import this_user
os.setuid(54321)
print(this_user())
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes a user that has no name")
def test_a_user_without_a_name_is_known_by_number() -> None:
    variables = {
        name: value for name, value in os.environ.items() if name not in ("LOGNAME", "USER", "LNAME", "USERNAME")
    }
    done = subprocess.run([sys.executable, "-c", WHO], env=variables, capture_output=True, text=True, check=False)
    assert done.stdout == "54321\n", done.stderr
