"""What the kernels of this Jupyter have of the package; each is an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jupyter_mlops._version import __version__
from jupyter_mlops.core.findings import Finding, doubtful, good
from jupyter_mlops.core.values import short

_ANSWER_SECONDS = 30
_ASK = """
from importlib.metadata import PackageNotFoundError, version
try:
    print(version("jupyter-mlops"))
except PackageNotFoundError:
    pass
"""


def examined() -> Iterator[Finding]:
    """About each kernel whose command begins with a Python."""
    from jupyter_client.kernelspec import KernelSpecManager

    known: Mapping[str, Any] = KernelSpecManager().get_all_specs()
    for name in sorted(known):
        spec = known[name]["spec"]
        command: Sequence[str] = spec.get("argv") or ("",)
        if Path(command[0]).name.startswith("python"):
            yield _examined(name, command[0], spec.get("env") or {})


def _examined(name: str, python: str, environment: Mapping[str, str]) -> Finding:
    what = f"kernel {name}"
    # As Jupyter starts it: a bare name is the Python that Jupyter runs in.
    python = python if os.path.sep in python else sys.executable
    try:
        asked = subprocess.run(
            [python, "-c", _ASK],
            # What lies where this was typed is no part of the kernel.
            cwd=tempfile.gettempdir(),
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        told = f"{python} cannot be started: {short(str(error), 200)}"
        return doubtful(what, told, f"jupyter kernelspec remove {name}, or install it anew")
    version = asked.stdout.strip()
    install = f"{python} -m pip install jupyter-mlops=={__version__}"
    if not version:
        told = f"{python} has no jupyter-mlops: its runs are recorded from outside, and its cells cannot import it"
        return doubtful(what, told, f"where that is not enough: {install}")
    if version != __version__:
        return doubtful(what, f"{python} has jupyter-mlops {version}, and this is {__version__}", install)
    return good(what, f"has jupyter-mlops {version}, as this environment")
