"""What this process executes: a script, or cells in IPython."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def in_ipython() -> bool:
    """Whether code is executed by IPython, as in a notebook."""
    return _shell() is not None


def executed() -> str:
    """What is being executed, as its user knows it: the notebook where anybody says which, else the script."""
    shell = _shell()
    if shell is not None:
        from jupyter_mlops.recording.notebook_file import find_notebook

        path = find_notebook(shell)
        return str(path) if path is not None else os.environ.get("JPY_SESSION_NAME", "")
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return str(Path(file).absolute()) if file else ""


def after_each_cell(call: Callable[[], object]) -> None:
    """Have ``call`` called at the end of each cell; nothing happens outside of IPython."""
    shell = _shell()
    if shell is not None:
        shell.events.register("post_run_cell", lambda *_: call())


def _shell() -> Any:
    module = sys.modules.get("IPython")
    return module.get_ipython() if module is not None and hasattr(module, "get_ipython") else None
