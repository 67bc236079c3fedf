"""``format``: the candidate can be loaded without running code that came with it."""

from __future__ import annotations

from jupyter_mlops.checks.check import Finding, Subject, failed, passed, with_process
from jupyter_mlops.checks.loads import failure, load_safely
from jupyter_mlops.core.checks import FormatSettings
from jupyter_mlops.core.model_safety import unsafe_reason
from jupyter_mlops.recording.model_formats import read_mlmodel


class FormatCheck:
    """First what the ``MLmodel`` file says, then whether the bytes are that."""

    def __call__(self, subject: Subject) -> Finding:
        subject.settings(FormatSettings)
        folder = subject.folder(subject.candidate)
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        unsafe = unsafe_reason(read_mlmodel(folder), files)
        if unsafe is not None:
            return failed(f"loading it can run code that came with it: {unsafe}")
        process = subject.sandbox.run(f"{load_safely.__module__}:{load_safely.__name__}", {"folder": str(folder)})
        found = failure(process) or passed("it is in a format that runs no code of its own when it is loaded")
        return with_process(found, process)
