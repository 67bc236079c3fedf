"""``notebook``: a validation notebook, run on the candidate and the champion, itself a recorded run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from jupyter_mlops.checks.check import Finding, Subject, failed, passed, with_process
from jupyter_mlops.checks.notebookrun import EnclosedRun, run_notebook
from jupyter_mlops.core.checks import NotebookSettings, logged_checks
from jupyter_mlops.core.errors import InvalidValue, NotebookError
from jupyter_mlops.core.reasons import brief
from jupyter_mlops.core.records import Json, ModelVersion, RunStatus
from jupyter_mlops.core.run_files import SOURCE
from jupyter_mlops.recording.source import parse_source

CANDIDATE, CHAMPION, SERVICE = "candidate", "champion", "tracking_url"
"""Parameters that the notebook is given where it declares them: models as ``mlops.load_model`` takes them (an empty
text where there is no champion), and where the service is that the job's token is for."""
REQUEST_TAG, MODEL_TAG = "mlops.check.request", "mlops.check.model"


class NotebookCheck:
    """It passes when it ends without error and logs no failed check."""

    def __call__(self, subject: Subject) -> Finding:
        settings = subject.settings(NotebookSettings)
        origin = subject.tracker.runs.get(settings.run)
        authors = {subject.candidate.user, getattr(subject.run_of(subject.candidate), "user", None)}
        if settings.other_owner and origin.user in authors:
            return failed(f"the validation notebook is {origin.user}'s, who is the candidate's author too")
        content = b"".join(subject.tracker.artifacts.open(origin.run_id, SOURCE))
        if settings.digest is not None and hashlib.sha256(content).hexdigest() != settings.digest.lower():
            raise InvalidValue(f"the notebook of run {origin.run_id} is not the one with the digest {settings.digest}")
        ended = run_notebook(
            subject.sandbox,
            subject.tracker,
            _given(subject, content),
            self._parameters(subject, settings, content),
            experiment_id=subject.experiment_id(),
            source=origin.source,
            kernel=parse_source(content, origin.source).kernel,
            tags={REQUEST_TAG: subject.job.request_id, MODEL_TAG: _uri(subject.candidate)},
            shown={
                CANDIDATE: _uri(subject.candidate),
                CHAMPION: "" if subject.champion is None else _uri(subject.champion),
            },
            token=subject.token,
        )
        return with_process(_finding(ended), ended.process)

    def _parameters(self, subject: Subject, settings: NotebookSettings, content: bytes) -> dict[str, Json]:
        declared = parse_source(content, "the validation notebook").declared
        known = None if declared is None else {parameter.name for parameter in declared}
        if known is not None and CANDIDATE not in known:
            raise NotebookError(f"the validation notebook declares no parameter {CANDIDATE!r} in its parameters cell")
        champion = "" if subject.champion is None else str(subject.folder(subject.champion))
        offered: dict[str, Json] = {
            CANDIDATE: str(subject.folder(subject.candidate)),
            CHAMPION: champion,
            SERVICE: "" if subject.token is None else subject.tracker.url,
        }
        given = {name: value for name, value in offered.items() if known is None or name in known}
        return {**given, **settings.parameters}


def _given(subject: Subject, content: bytes) -> Path:
    place = subject.sandbox.given / "notebook.ipynb"
    place.write_bytes(content)
    return place


def _uri(version: ModelVersion) -> str:
    return f"models:/{version.model}/{version.version}"


def _finding(ended: EnclosedRun) -> Finding:
    run = ended.run
    if run is None:
        return failed(str(ended.process.error))
    checks = logged_checks(run)
    detail: dict[str, Json] = {"run_id": run.run_id, "checks": checks}
    bad = [name for name, good in checks.items() if not good]
    if run.status is not RunStatus.FINISHED:
        why = f": {brief(run.reason)}" if run.reason is not None else ""
        return failed(
            f"the notebook {run.status.value.lower()}{why}", {**detail, "reason": msgspec.to_builtins(run.reason)}
        )
    if bad:
        return failed(f"the notebook says that {', '.join(bad)} did not pass", detail)
    told = f", and {', '.join(checks)} passed" if checks else ""
    return passed(f"the notebook ended without error{told}", detail)
