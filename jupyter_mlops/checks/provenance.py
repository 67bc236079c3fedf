"""``provenance``: where the candidate comes from is on record."""

from __future__ import annotations

from jupyter_mlops.checks.check import Finding, Subject, failed, passed
from jupyter_mlops.core.checks import ProvenanceSettings
from jupyter_mlops.core.records import Run
from jupyter_mlops.core.run_files import UNCOMMITTED


class ProvenanceCheck:
    """Git, hidden state and data sets, by the record of the candidate's run."""

    def __call__(self, subject: Subject) -> Finding:
        settings = subject.settings(ProvenanceSettings)
        run = subject.run_of(subject.candidate)
        if run is None:
            return failed(f"the run that version {subject.job.version} came from is not there")
        missing = []
        if settings.git and (problem := _git(subject, run)):
            missing.append(problem)
        if settings.no_hidden_state and run.hidden_state:
            missing.append(f"it may depend on hidden state: {run.hidden_state}")
        if settings.datasets and not run.inputs:
            missing.append("it logged no data set as an input")
        if missing:
            return failed("; ".join(missing), {"missing": missing})
        found = {
            "commit": {tag.key: tag.value for tag in run.tags}.get("mlops.git.commit"),
            "datasets": {item.dataset.name: item.dataset.digest for item in run.inputs},
        }
        return passed("its code, its state and its data are on record", found)


def _git(subject: Subject, run: Run) -> str | None:
    """What the record lacks of the code."""
    tags = {tag.key: tag.value for tag in run.tags}
    if not tags.get("mlops.git.commit"):
        return "it records no git commit"
    recorded = subject.tracker.artifacts.walk(run.run_id, UNCOMMITTED)
    if tags.get("mlops.git.dirty") == "true" and not recorded:
        return "what differed from the commit was too large to be recorded"
    return None
