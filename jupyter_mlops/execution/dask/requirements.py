"""What a worker has to have in common with who submits, and in what it differs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping

import msgspec

from jupyter_mlops._version import __version__
from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.recording.kernel import kernel_spec

_SECONDS = 60.0
_PROBE = """
import importlib.metadata as metadata, json, platform, sys
asked = json.load(sys.stdin)
names = set(asked["packages"])
if asked["modules"]:
    providers = metadata.packages_distributions()
    names.update(name for module in asked["modules"] for name in providers.get(module, ()))
found = {}
for name in names:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
json.dump({"python": platform.python_version(), "packages": found}, sys.stdout)
"""


class Requirements(msgspec.Struct, frozen=True, kw_only=True):
    """An environment, as far as it counts for one notebook."""

    mlops: str
    """The version of jupyter-mlops that runs the notebook,"""
    python: str | None = None
    """and that of the kernel's Python; None for a kernel of another language."""
    packages: dict[str, str] = {}
    """Versions of the distributions in the kernel's environment that the notebook imports, and of ipykernel."""


def requirements(kernel: str, modules: Iterable[str]) -> Requirements:
    """What a notebook that imports ``modules`` has here. A module that is not installed is no requirement.

    Raises
    ------
    NotebookError
        There is no such kernel.
    """
    return _ask(kernel, modules=modules, packages=["ipykernel"])


def difference(wanted: Requirements, kernel: str) -> str | None:
    """In what this environment differs from ``wanted``, in words; None when it does not."""
    try:
        found = _ask(kernel, modules=(), packages=wanted.packages)
    except MLOpsError as error:
        return error.message
    pairs: list[tuple[str, str | None, str | None]] = [("jupyter-mlops", found.mlops, wanted.mlops)]
    # The bytes that a kernel compiles and pickles are the same within a minor version.
    if _minor(found.python) != _minor(wanted.python):
        pairs.append(("Python", found.python, wanted.python))
    pairs += [(name, found.packages.get(name), version) for name, version in sorted(wanted.packages.items())]
    told = [f"{name} {there or 'is missing'} (here {here})" for name, there, here in pairs if there != here]
    return ", ".join(told) or None


def _minor(version: str | None) -> list[str] | None:
    return None if version is None else version.split(".")[:2]


def _ask(kernel: str, *, modules: Iterable[str], packages: Iterable[str] | Mapping[str, str]) -> Requirements:
    spec = kernel_spec(kernel)
    if spec.language.lower() != "python":
        return Requirements(mlops=__version__)
    command = spec.argv[0] if "/" in spec.argv[0] else sys.executable
    asked = json.dumps({"modules": list(modules), "packages": list(packages)})
    try:
        done = subprocess.run(
            [command, "-c", _PROBE], input=asked, capture_output=True, text=True, timeout=_SECONDS, check=True
        )
        answer = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        # What is wrong with it, the notebook's own run tells better.
        return Requirements(mlops=__version__)
    return Requirements(mlops=__version__, python=answer["python"], packages=answer["packages"])
