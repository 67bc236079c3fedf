"""``reproduces``: the candidate's notebook, run again with its parameters, gives the same metrics."""

from __future__ import annotations

from functools import partial
from pathlib import Path, PurePosixPath

import msgspec

from jupyter_mlops.checks.check import Finding, Subject, failed, passed, with_process
from jupyter_mlops.checks.checkout import check_out, is_named
from jupyter_mlops.checks.notebook import SERVICE
from jupyter_mlops.checks.notebookrun import file_of, run_notebook
from jupyter_mlops.core.checks import ReproducesSettings, Verdict
from jupyter_mlops.core.reasons import brief
from jupyter_mlops.core.records import Run, RunKind, RunStatus
from jupyter_mlops.core.reproduction import comparable_metrics
from jupyter_mlops.core.run_fields import RERUN_TAG
from jupyter_mlops.core.run_files import ENVIRONMENT, GIT, MODULES, SOURCE, UNCOMMITTED
from jupyter_mlops.recording.repeat import parameters_again
from jupyter_mlops.recording.source import parse_source
from jupyter_mlops.tracker.download import save_file
from jupyter_mlops.tracker.evidence import reproduction


class ReproducesCheck:
    """The repetition has what was recorded: the notebook, its parameters, imported modules that git does not keep, and
    the rest of its repository where the worker may fetch it. What else it reads, it must reach from the worker."""

    def __call__(self, subject: Subject) -> Finding:
        settings = subject.settings(ReproducesSettings)
        tracker, run = subject.tracker, subject.run_of(subject.candidate)
        if run is None or run.kind is not RunKind.NOTEBOOK:
            return failed(f"version {subject.job.version} comes from no recorded notebook run")
        comparable_metrics(run, settings.metrics)
        content = b"".join(tracker.artifacts.open(run.run_id, SOURCE))
        notebook = subject.sandbox.given / "notebook.ipynb"
        notebook.write_bytes(content)
        source = parse_source(content, run.source)
        where = _Where.of(subject, run)
        parameters = parameters_again(tracker, run, source.declared, {})
        shown = {}
        if subject.token is not None and SERVICE in parameters:
            # It is elsewhere for this job than it was for the author.
            shown = {SERVICE: parameters[SERVICE]}
            parameters[SERVICE] = tracker.url
        ended = run_notebook(
            subject.sandbox,
            tracker,
            notebook,
            parameters,
            experiment_id=subject.experiment_id(),
            source=run.source,
            kernel=where.kernel or source.kernel,
            fill=where.fill,
            cwd=where.cwd,
            tags={RERUN_TAG: run.run_id},
            shown=shown,
            token=subject.token,
        )
        again = ended.run
        if again is None:
            return with_process(failed(f"it could not be run again: {ended.process.error}"), ended.process)
        if again.status is not RunStatus.FINISHED:
            why = f": {brief(again.reason)}" if again.reason is not None else ""
            lacking = _lacking(again, content, where)
            told = Finding(
                verdict=Verdict.ERROR if lacking else Verdict.FAILED,
                summary=". ".join((f"it could not be run again{why}", *lacking)),
                detail={"run_id": again.run_id},
            )
            return with_process(told, ended.process)
        found = reproduction(tracker, run.run_id, again.run_id, tolerance=settings.tolerance, only=settings.metrics)
        detail = {"run_id": again.run_id, **msgspec.to_builtins(found)}
        return with_process((passed if found.reproduced else failed)(found.summary, detail), ended.process)


def _lacking(again: Run, content: bytes, where: _Where) -> list[str]:
    """What of its surroundings a notebook may have failed for want of, a sentence each: what the worker does not have
    says nothing of the candidate."""
    reason = "" if again.reason is None else f"{again.reason.message} {again.reason.traceback or ''}"
    found = []
    if where.commit is not None and where.absent is not None and any(name in reason for name in _MISSING_FILES):
        found.append(
            f"Its run was in a git repository at commit {where.commit[:12]}, which was not checked out "
            f"({where.absent}): of that there were the notebook and the modules that git does not keep, and no other "
            "file"
        )
    if any(uri in content for uri in _SHARED):
        found.append(
            "It reads models or runs of the shared store, which an enclosed notebook does not see by their names: it "
            f"can with the job's token when it declares the parameter {SERVICE!r} and connects to that"
        )
    return found


_MISSING_FILES = ("ModuleNotFoundError", "ImportError", "FileNotFoundError")
_SHARED = (b"models:/", b"runs:/")


class _Place(msgspec.Struct, frozen=True):
    cwd: str | None = None
    root: str | None = None
    commit: str | None = None
    remote: str | None = None
    kernel: dict[str, object] = {}


class _Where(msgspec.Struct, frozen=True, kw_only=True):
    """Where a notebook ran, and what lay there."""

    kernel: str | None
    cwd: str
    """Relative to the working tree that it was in."""
    modules: dict[str, bytes]
    commit: str | None
    remote: str
    """Where the commit is fetched from; empty where it is not."""
    absent: str | None
    """Why it is not."""
    uncommitted: bytes

    @classmethod
    def of(cls, subject: Subject, run: Run) -> _Where:
        tracker = subject.tracker
        environment = _decoded(file_of(tracker, run.run_id, ENVIRONMENT))
        git = _decoded(file_of(tracker, run.run_id, GIT))
        root, remote = git.root, git.remote or ""
        cwd = ""
        if root is not None and environment.cwd is not None:
            inside = Path(environment.cwd)
            cwd = inside.relative_to(root).as_posix() if inside.is_relative_to(root) else ""
        modules = {
            file.path[len(MODULES) + 1 :]: b"".join(tracker.artifacts.open(run.run_id, file.path))
            for file in tracker.artifacts.walk(run.run_id, MODULES)
        }
        kernel = environment.kernel.get("name")
        absent = None
        if not remote:
            absent = "its repository has no remote"
        elif not is_named(remote, subject.repositories):
            absent = f"the worker was started without --repository for {remote}"
        return cls(
            kernel=kernel if isinstance(kernel, str) else None,
            cwd=cwd if ".." not in PurePosixPath(cwd).parts else "",
            modules=modules,
            commit=git.commit,
            remote="" if git.commit is None or absent is not None else remote,
            absent=absent,
            uncommitted=file_of(tracker, run.run_id, UNCOMMITTED) or b"",
        )

    def fill(self, folder: Path) -> None:
        """Put what lay there into the working folder; ``InvalidValue`` when the commit cannot be had."""
        if self.commit is not None and self.remote:
            check_out(self.remote, self.commit, self.uncommitted, folder)
        for path, content in self.modules.items():
            # What was checked out may hold links that lead elsewhere.
            save_file(folder, path, partial(iter, (content,)))


def _decoded(content: bytes | None) -> _Place:
    try:
        return _Place() if content is None else msgspec.json.decode(content, type=_Place)
    except msgspec.MsgspecError:  # a file of the notebook's own under that name
        return _Place()
