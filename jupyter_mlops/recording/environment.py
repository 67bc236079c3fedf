"""What a run executed in: interpreter, installed packages, machine. Read from outside the kernel, but for one question
that any Python kernel can answer."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import socket
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from jupyter_mlops.tracker.process import this_user

PROBE = (
    "__import__('json').dumps({"
    "'executable': __import__('sys').executable, 'version': __import__('platform').python_version(), "
    "'implementation': __import__('platform').python_implementation(), 'prefix': __import__('sys').prefix, "
    "'path': [p for p in __import__('sys').path if isinstance(p, str)], 'cwd': __import__('os').getcwd(), "
    "'logs': __import__('importlib.util').util.find_spec('jupyter_mlops') is not None})"
)
"""A Python expression that tells what :class:`Interpreter` holds."""

MODULES_PROBE = (
    "(lambda known, sys=__import__('sys'): __import__('json').dumps(sorted({f for f in "
    "(getattr(sys.modules.get(n), '__file__', None) "
    "for n in list(__import__('itertools').islice(reversed(sys.modules), max(0, len(sys.modules) - known)))) "
    "if isinstance(f, str) and 'site-packages' not in f "
    "and not f.startswith((sys.prefix + '/', sys.base_prefix + '/'))})))"
)
"""A Python expression for a function that tells the files of imported modules that belong to no installation, but for
the first ``known`` modules: a text that is a list in JSON."""

_ANSWER_SECONDS = 5.0
"""How long a command may take that tells of the machine; without an answer it is left out."""


class Interpreter(msgspec.Struct, frozen=True):
    """The Python that a kernel runs."""

    executable: str
    version: str
    implementation: str
    prefix: str
    path: tuple[str, ...]
    """``sys.path`` at the start."""
    cwd: str
    logs: bool
    """Whether ``import jupyter_mlops`` works there."""


def lock(interpreter: Interpreter) -> str:
    """The installed distributions as a requirements file: exact versions, and exact sources of what did not come from
    an index (PEP 610). Read from the names of the metadata folders, which takes milliseconds for hundreds of them."""
    lines: dict[str, str] = {}
    for entry in interpreter.path:
        folder = Path(interpreter.cwd, entry)
        try:
            entries = list(folder.iterdir())
        except OSError:  # an entry of sys.path need not exist, nor be a folder
            continue
        for metadata in entries:
            if metadata.suffix in (".dist-info", ".egg-info") and (found := _requirement(metadata)):
                # The first folder of sys.path wins, as for import.
                lines.setdefault(re.sub(r"[-_.]+", "-", found[0]).lower(), found[1])
    header = f"# {interpreter.implementation} {interpreter.version}\n"
    return header + "".join(f"{lines[key]}\n" for key in sorted(lines))


def conda_packages(interpreter: Interpreter) -> str | None:
    """The packages of the interpreter's conda environment, one ``name-version-build`` a line; None outside conda."""
    try:
        entries = sorted(Path(interpreter.prefix, "conda-meta").iterdir())
    except OSError:
        return None
    return "".join(f"{entry.stem}\n" for entry in entries if entry.suffix == ".json")


def machine() -> dict[str, Any]:
    """User, host, operating system and hardware as JSON values; memory is what this container may use, in bytes."""
    import psutil

    memory = psutil.virtual_memory().total
    limit = _number(Path("/sys/fs/cgroup/memory.max"))
    return {
        "user": this_user(),
        "host": socket.gethostname(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": memory if limit is None else min(memory, limit),
        "gpus": gpus(),
    }


def gpus() -> list[dict[str, Any]]:
    """Name and memory (bytes) of each NVIDIA GPU that can be read; empty without ``nvidia-ml-py`` or a driver."""
    handles = gpu_handles()
    if not handles:
        return []
    import pynvml

    found = []
    for handle in handles.values():
        with contextlib.suppress(pynvml.NVMLError):
            name = pynvml.nvmlDeviceGetName(handle)
            found.append(
                {
                    "name": name.decode() if isinstance(name, bytes) else name,
                    "memory": pynvml.nvmlDeviceGetMemoryInfo(handle).total,
                }
            )
    return found


def gpu_handles() -> dict[int, Any]:
    """NVML's handles of the NVIDIA GPUs by their index, without those that have failed or may not be used here."""
    if not _has_nvml():
        return {}
    import pynvml

    handles = {}
    with contextlib.suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        for index in range(pynvml.nvmlDeviceGetCount()):
            with contextlib.suppress(pynvml.NVMLError):
                handles[index] = pynvml.nvmlDeviceGetHandleByIndex(index)
    return handles


@cache
def _has_nvml() -> bool:
    """Whether ``nvidia-ml-py`` is installed. That it is not, Python would look up each time."""
    try:
        import pynvml  # noqa: F401
    except ImportError:
        return False
    return True


def _requirement(metadata: Path) -> tuple[str, str] | None:
    """The name of a distribution and its line in a requirements file, from its metadata folder (or egg-info file)."""
    name, _, version = metadata.stem.partition("-")
    version = re.sub(r"-py\d+(\.\d+)?$", "", version)
    if not version:
        fields = dict(_fields(metadata / "PKG-INFO"))
        name, version = fields.get("Name", name), fields.get("Version", "")
        if not version:
            return None
    try:
        origin = json.loads((metadata / "direct_url.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return name, f"{name}=={version}"
    return name, _from_origin(name, origin)


def _from_origin(name: str, origin: dict[str, Any]) -> str:
    url = re.sub(r"://[^/@]*@", "://", str(origin.get("url", "")))
    if "vcs_info" in origin:
        return f"{name} @ {origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}"
    if origin.get("dir_info", {}).get("editable"):
        return f"-e {url}  # {name}"
    return f"{name} @ {url}"


def _fields(path: Path) -> Iterable[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        if not line:
            return
        key, _, value = line.partition(": ")
        yield key, value


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return _ask("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def _ask(*command: str) -> str:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such limit, or "max"
        return None
