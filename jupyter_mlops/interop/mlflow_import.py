"""Bringing here what MLflow keeps: experiments, runs, files, registered models; see :func:`import_from`."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial

import msgspec

from jupyter_mlops.core.access import default_owner
from jupyter_mlops.core.errors import NotFound
from jupyter_mlops.core.logged_model import ModelRole
from jupyter_mlops.interop.mlflow_experiments import Places
from jupyter_mlops.interop.mlflow_models import LoggedModels
from jupyter_mlops.interop.mlflow_records import PARENT_TAG, Point, model_uses, points_of, run_id_of, wanted_run
from jupyter_mlops.interop.mlflow_registry import Registry
from jupyter_mlops.interop.mlflow_runs import RunCopy, is_deleted, is_imported
from jupyter_mlops.interop.mlflow_source import Source
from jupyter_mlops.interop.report import Report
from jupyter_mlops.interop.transfer import Told, Transfer
from jupyter_mlops.tracker.protocol import Tracker

_AT_ONCE = 4
"""Runs that are copied at once: one waits for the source while another waits for the disk."""


class _Light(msgspec.Struct, frozen=True):
    """What must be known of all runs of a source before one is copied."""

    run_id: str
    experiment_id: str
    artifacts: str
    parent: str | None
    deleted: bool


def import_from(
    source: Source, tracker: Tracker, *, owner: str | None = None, verify: bool = False, told: Told | None = None
) -> Report:
    """Bring here what a source has, and compare every field.

    May be ended at any moment and repeated, also twice at once: what is here is not written again. What both sides have
    and is different becomes what the source says; what was deleted here stays deleted.

    Parameters
    ----------
    owner
        Whose the experiments and models become; as what the caller creates when None.
    verify
        Write nothing, compare only: also the bytes of all files.
    told
        Is called with progress.

    Raises
    ------
    Unavailable, Unauthenticated, StorageFull, QuotaExceeded
        The source or the store does not answer, or has no room; repeated later, the import goes on.
    """
    report = Report(source=source.shown, target=tracker.url)
    whose = owner or default_owner(tracker.principal)
    _Import(Transfer(source, tracker, whose, verify, report, told or _untold)).run()
    return report


def _untold(what: str, done: int, total: int) -> None:
    """Nobody follows."""


class _Import:
    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._source, self._tracker, self._report = transfer.source, transfer.tracker, transfer.report
        self._places = Places(transfer)
        self._runs: dict[str, _Light] = {}
        self._uses: dict[str, list[tuple[str, ModelRole, int]]] = {}
        """Which logged models runs took or made, and at which step."""

    def run(self) -> None:
        for experiment in self._source.experiments():
            self._report.found("experiments")
            with self._transfer.noted("experiments", f"experiment {experiment.name!r}"):
                self._places.copy(experiment)
        logged = LoggedModels(self._transfer, self._places, self._runs)
        for experiment_id in self._places:
            with self._transfer.noted("experiments", f"experiment {self._places[experiment_id].name!r}"):
                self._look(experiment_id)
                logged.look(experiment_id)
        for run_id in self._source.unreadable(self._runs):
            self._report.found("runs")
            self._report.problem("runs", f"run {run_id}", "its folder is damaged: MLflow does not read it")
        self._copy_runs()
        logged.copy()
        for run_id, uses in self._uses.items():
            with self._transfer.noted("logged models", f"run {run_id}"):
                logged.use(run_id, self._runs[run_id].experiment_id, uses)
        experiments = {run_id: light.experiment_id for run_id, light in self._runs.items()}
        artifacts = {run_id: light.artifacts for run_id, light in self._runs.items()}
        Registry(self._transfer, self._places, logged, experiments, artifacts).copy()
        self._settle()

    def _look(self, experiment_id: str) -> None:
        """Find the runs of an experiment."""
        for run in self._source.runs(experiment_id):
            info = run.info
            self._runs[info.run_id] = _Light(
                info.run_id,
                experiment_id,
                info.artifact_uri,
                run.data.tags.get(PARENT_TAG),
                info.lifecycle_stage == "deleted",
            )
            self._transfer.told("looking", len(self._runs), 0)

    # --- runs ---

    def _copy_runs(self) -> None:
        done = 0
        for level in self._levels():
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                futures = [pool.submit(self._copy_run, light) for light in level]
                try:
                    for future in as_completed(futures):
                        future.result()
                        done += 1
                        self._transfer.told("runs", done, len(self._runs))
                except BaseException:
                    for future in futures:
                        future.cancel()
                    raise

    def _levels(self) -> Iterator[list[_Light]]:
        """All runs: those without a parent, then their children, and so on."""
        left, before = dict(self._runs), set[str]()
        while left:
            level = [light for light in left.values() if (parent := self._parent(light)) is None or parent in before]
            yield level
            before = {light.run_id for light in level}
            for run_id in before:
                del left[run_id]

    def _parent(self, light: _Light) -> str | None:
        """The parent of a run, if the source has it; None where parents go in a circle."""
        seen = {light.run_id}
        above = light.parent
        while above in self._runs:
            if above in seen:
                return None
            seen.add(above)
            above = self._runs[above].parent
        return light.parent if light.parent in self._runs else None

    def _copy_run(self, light: _Light) -> None:
        self._report.found("runs")
        what = f"run {light.run_id}"
        with self._transfer.noted("runs", what):
            run = self._source.run(light.run_id)
            parent = self._parent(light)
            wanted = wanted_run(run, self._source.shown, None if parent is None else run_id_of(parent))
            histories: dict[str, list[Point]] = {}
            for key in run.data.metrics:
                histories[key], refused = points_of(self._source.history(light.run_id, key), key)
                for why in refused:
                    self._report.problem("points", what, why)
            for why in wanted.refused:
                self._report.problem("runs", what, why)
            for why in wanted.adapted:
                self._report.remark(what, why)
            copy = RunCopy(self._tracker, wanted, histories)
            for kind, count in copy.counts().items():
                self._report.found(kind, count)
            if self._bring(light, copy, what):
                uses = list(model_uses(run))
                if uses:
                    self._uses[light.run_id] = uses
                revive = partial(self._places.revive, light.experiment_id, wanted.run_id)
                self._transfer.copy_files(run.info.artifact_uri, wanted.run_id, "", revive)

    def _bring(self, light: _Light, copy: RunCopy, what: str) -> bool:
        """Make the run here what it is in the source, its files aside; whether it is here then."""
        verify = self._transfer.verify
        found = copy.find()
        if found is None:
            if verify:
                self._report.problem("runs", what, "is not here")
                return False
            there = partial(self._places.open, light.experiment_id)
            found = self._transfer.written(lambda: copy.create(there().experiment_id), there)
            self._report.copied("runs")
            written = copy.counts()
        elif not is_imported(found):
            self._report.problem("runs", what, "there is a run of this id here that was not imported: left alone")
            return False
        elif is_deleted(found) and not light.deleted and not self._under_deleted(light):
            self._report.remark(what, "was deleted here: left alone")
            return False
        else:
            written = {}
        missing = copy.missing(found)
        if missing and not verify:
            written = written or missing.counts()
            revive = partial(self._places.revive, light.experiment_id, found.run_id)
            missing = self._transfer.written(copy.complete, revive)
        for kind, count in written.items():
            self._report.copied(kind, count)
        for why in (*missing.told, *copy.unequal(found)):
            self._report.problem("runs", what, f"differs here: {why}")
        return True

    def _under_deleted(self, light: _Light) -> bool:
        """Whether the source deleted an ancestor of a run, or its experiment: that deletes the run here, too."""
        above = light
        while (parent := self._parent(above)) is not None:
            above = self._runs[parent]
            if above.deleted:
                return True
        return self._places[light.experiment_id].deleted

    # --- what is deleted ---

    def _settle(self) -> None:
        """Have deleted here what is deleted in the source, and nothing else that was deleted with it."""
        order = [light for level in self._levels() for light in level]
        for light in order:
            if not self._places[light.experiment_id].deleted and (light.deleted or self._under_deleted(light)):
                with self._transfer.noted("runs", f"run {light.run_id}"):
                    self._settle_run(light)
        self._places.settle()

    def _settle_run(self, light: _Light) -> None:
        run_id = run_id_of(light.run_id)
        try:
            found = self._tracker.runs.get(run_id)
        except NotFound:
            # Why it is not here was told when it was copied.
            return
        if is_deleted(found) == light.deleted or not is_imported(found):
            return
        if self._transfer.verify:
            problem = "is not deleted here" if light.deleted else "is deleted here"
            self._report.problem("runs", f"run {light.run_id}", problem)
        elif light.deleted:
            self._tracker.runs.delete(run_id)
        else:
            self._tracker.runs.restore(run_id)
