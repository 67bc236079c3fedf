"""What is recorded about a notebook run beside its outputs: the source, the environment, the state of the code."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from jupyter_mlops.core.records import Tag
from jupyter_mlops.core.run_files import CONDA, ENVIRONMENT, GIT, LOCK, MODULES, UNCOMMITTED
from jupyter_mlops.recording import git
from jupyter_mlops.recording.environment import Interpreter, conda_packages, lock, machine
from jupyter_mlops.recording.kernel import Shared
from jupyter_mlops.recording.recorder import Recorder
from jupyter_mlops.recording.redactor import Redactor


class Capture:
    """Describes the environment in a thread of its own, while the first cells execute."""

    def __init__(self, recorder: Recorder, redactor: Redactor, cwd: Path) -> None:
        self._recorder = recorder
        self._redactor = redactor
        self._cwd = cwd
        self._interpreter: Interpreter | None = None
        self._checkout: git.Checkout | None = None
        self._thread = threading.Thread(target=self._describe, name="mlops-capture", daemon=True)

    def start(self, interpreter: Interpreter | None, kernel: dict[str, Any], shared: Shared) -> None:
        """Begin. ``interpreter`` is None where the kernel runs no Python. What is ``shared`` is found out once, for the
        first run; the next ones have its tags from their beginning."""
        self._interpreter = interpreter
        self._kernel = kernel
        self._shared = shared
        if shared.description is None:
            self._thread.start()
        else:
            self._put(shared.description)

    def modules(self, files: Iterable[str]) -> None:
        """Record which of the imported ``files`` are local modules that git does not keep; waits for the rest."""
        self.wait()
        files = tuple(files)
        if self._interpreter is None or not files:
            return
        root = None if self._checkout is None else Path(self._checkout.root)
        cwd = Path(self._interpreter.cwd)
        base = (root or cwd).resolve()
        for path in git.local_modules(files, cwd=cwd, root=root):
            with contextlib.suppress(OSError):  # removed since, or not readable any more
                text = self._redactor.text(path.read_text(encoding="utf-8", errors="replace"))
                self._recorder.put(f"{MODULES}/{path.relative_to(base).as_posix()}", text.encode())

    def wait(self) -> None:
        if self._thread.ident is not None:
            self._thread.join()

    def _describe(self) -> None:
        description = describe(self._interpreter, self._kernel, self._cwd, self._redactor)
        if self._shared.interpreter is not None:
            self._shared.description = description
        self._put(description)
        self._recorder.log(tags=description.as_tags())

    def _put(self, description: Description) -> None:
        self._checkout = description.checkout
        for path, content in description.files.items():
            self._recorder.put(path, content)


class Description(msgspec.Struct, frozen=True):
    """What a kernel executes in, as it is recorded."""

    files: dict[str, bytes]
    """By artifact path."""
    tags: dict[str, str]
    checkout: git.Checkout | None

    def as_tags(self) -> tuple[Tag, ...]:
        return tuple(Tag(key, value) for key, value in self.tags.items())


def describe(interpreter: Interpreter | None, kernel: dict[str, Any], cwd: Path, redactor: Redactor) -> Description:
    """Describe the environment of a kernel that works in ``cwd``, without secrets."""
    facts = {"kernel": kernel, "cwd": str(cwd), "machine": machine()}
    tags = {"mlops.kernel": str(kernel["name"])}
    files: dict[str, bytes] = {}
    if interpreter is not None:
        facts["python"] = {
            "version": interpreter.version,
            "implementation": interpreter.implementation,
            "executable": interpreter.executable,
            "prefix": interpreter.prefix,
        }
        tags["mlops.python"] = interpreter.version
        files[LOCK] = lock(interpreter).encode()
        conda = conda_packages(interpreter)
        if conda is not None:
            files[CONDA] = conda.encode()
    files[ENVIRONMENT] = _json(facts)
    checkout = git.checkout(cwd)
    if checkout is not None:
        known = msgspec.to_builtins(checkout)
        diff = known.pop("diff")
        files[GIT] = _json(known)
        if diff:
            files[UNCOMMITTED] = redactor.text(diff).encode()
        tags["mlops.git.dirty"] = str(checkout.dirty).lower()
        if checkout.commit:
            tags["mlops.git.commit"] = checkout.commit
        if checkout.branch:
            tags["mlops.git.branch"] = checkout.branch
    return Description(files, tags, checkout)


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"
