"""Whoever follows the feed from the beginning knows what changed since, whatever was done by whom in which order."""

from __future__ import annotations

import io
import shutil
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from jupyter_mlops.core import values
from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import (
    Batch,
    Happening,
    Metric,
    ModelPoint,
    NewRun,
    Progress,
    RunChange,
    RunStatus,
    Tag,
    View,
)
from jupyter_mlops.store import batches
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.embedded import EmbeddedTracker

Thing = tuple[str, str]
"""A noun, and an id or a name."""
NAMES = ("m", "n")


class World:
    """Two trackers on one file, as of two processes, and one that looks on. Runs and logged models have their ids from
    here, so that those are known that cannot be made."""

    def __init__(self, url: str, files: Path, opened: ExitStack) -> None:
        self.workers, self.watcher = [self._open(url, files, opened) for _ in range(2)], self._open(url, files, opened)
        self.feed = self.watcher.feed()
        ensure = self.workers[0].experiments.ensure
        self.experiments = [ensure(name).experiment_id for name in ("e", "f")]
        self.runs: list[str] = []
        self.logged: list[str] = []
        self.places: dict[str, str] = {}
        """The experiments of runs."""
        # So that something can be changed from the first step on.
        for number in range(3):
            self.create_run(self.workers[0], 0, number)
            self.create_logged(self.workers[0], 0, number)
        self.workers[0].models.create("m")
        for _ in range(2):
            self.workers[0].models.refer("m", "s3://bucket/model")
        self.state()

    def _open(self, url: str, files: Path, opened: ExitStack) -> EmbeddedTracker:
        tracker = opened.enter_context(connect(url, artifacts=files))
        assert isinstance(tracker, EmbeddedTracker)
        return tracker

    def create_run(self, tracker: EmbeddedTracker, a: int, b: int) -> None:
        experiment_id, run_id = self.experiments[a % 2], new_id()
        parent = self.runs[b % len(self.runs)] if self.runs and b % 3 else None
        tracker.runs.create(NewRun(experiment_id=experiment_id, run_id=run_id, parent_run_id=parent))
        self.runs.append(run_id)

    def create_logged(self, tracker: EmbeddedTracker, a: int, b: int) -> None:
        model_id, run_id = new_id(), self.run(b) if b % 2 else None
        experiment_id = self.experiments[a % 2] if run_id is None else tracker.runs.get(run_id).experiment_id
        tracker.logged_models.create(experiment_id, run_id=run_id, model_id=model_id)
        self.logged.append(model_id)
        if run_id is None:
            self.runs.append(model_id)

    def run(self, number: int) -> str:
        return self.runs[number % len(self.runs)] if self.runs else new_id()

    def model(self, number: int) -> str:
        return self.logged[number % len(self.logged)] if self.logged else new_id()

    def state(self) -> dict[Thing, object]:
        """Each thing that there is, as it is now."""
        tracker = self.watcher
        found: dict[Thing, object] = {}
        for each in tracker.experiments.search(view=View.ALL).items:
            found["experiment", each.experiment_id] = each, tracker.experiments.shares(each.experiment_id)
        models = defaultdict(list)
        for model in tracker.logged_models.search().items:
            # Which versions are made of one is the registered model's to tell.
            models[model.run_id].append(msgspec.structs.replace(model, versions=()))
        for run in tracker.runs.search(view=View.ALL).items:
            self.places[run.run_id] = run.experiment_id
            files, comments = tracker.artifacts.list(run.run_id), tracker.runs.comments(run.run_id)
            found["run", run.run_id] = msgspec.structs.replace(run, heartbeat=0), models[run.run_id], files, comments
        for each in tracker.models.search().items:
            found["model", each.name] = self._model(each.name)
        return found

    def _model(self, name: str) -> object:
        models = self.watcher.models
        versions = models.versions(f"name = '{name}'").items
        cards = [models.card(name, each.version) for each in versions]
        written = [card for card in cards if card.edited_by is not None]
        return models.get(name), versions, models.alias_history(name), written

    def named(self) -> set[Thing]:
        """The things that were named since the last time, as the panel takes it."""
        told = self.feed.visible(self.watcher.principal, self.feed.read())
        return {thing for happening in told for thing in self._named(happening)}

    def _named(self, happening: Happening) -> list[Thing]:
        noun = happening.kind.partition(".")[0]
        if noun == "run":
            return [("run", happening.target), ("experiment", str(happening.experiment_id))]
        if noun == "experiment":
            is_all = happening.detail == {"runs": True}
            runs = [run_id for run_id, place in self.places.items() if is_all and place == happening.target]
            return [("experiment", happening.target), *(("run", run_id) for run_id in runs)]
        return [("model", happening.target)]


def log(world: World, tracker: EmbeddedTracker, a: int, b: int) -> None:
    tracker.runs.log(world.run(a), Batch(metrics=(Metric("auc", float(b), 1, b),), tags=(Tag("t", str(b)),)))


def measure(world: World, tracker: EmbeddedTracker, a: int, b: int) -> None:
    tracker.runs.log(world.run(a), Batch(model_points=(ModelPoint(world.model(b), Metric("auc", float(b), 1, b)),)))


LATER = {log, measure}
"""What is told at the latest when its tracker is closed; all else is told at once."""
Change = Callable[[World, EmbeddedTracker, int, int], object]
CHANGES: dict[str, Change] = {
    "create a run": World.create_run,
    "create a run, too": World.create_run,
    "log": log,
    "measure": measure,
    "rename a run": lambda w, t, a, b: t.runs.change(w.run(a), RunChange(name=f"r{b}")),
    "end a run": lambda w, t, a, b: t.runs.change(w.run(a), RunChange(status=list(RunStatus)[b % 5])),
    "progress": lambda w, t, a, b: t.runs.change(w.run(a), RunChange(progress=Progress(done=b, total=9))),
    "untag a run": lambda w, t, a, b: t.runs.delete_tag(w.run(a), "t"),
    "comment": lambda w, t, a, b: t.runs.comment(w.run(a), "x"),
    "put": lambda w, t, a, b: t.artifacts.put(w.run(a), f"{b}.txt", io.BytesIO(b"x")),
    "remove": lambda w, t, a, b: t.artifacts.delete(w.run(a), f"{b}.txt"),
    "delete a run": lambda w, t, a, b: t.runs.delete(w.run(a)),
    "restore a run": lambda w, t, a, b: t.runs.restore(w.run(a)),
    "create a logged model": World.create_logged,
    "finish": lambda w, t, a, b: t.logged_models.finish(w.model(a), ("READY", "FAILED")[b % 2]),
    "tag a logged model": lambda w, t, a, b: t.logged_models.set_tags(w.model(a), {"t": str(b)}),
    "untag a logged model": lambda w, t, a, b: t.logged_models.delete_tag(w.model(a), "t"),
    "parameters": lambda w, t, a, b: t.logged_models.log_params(w.model(a), [values.param(f"p{b}", b)]),
    "delete a logged model": lambda w, t, a, b: t.logged_models.delete(w.model(a)),
    "rename an experiment": lambda w, t, a, b: t.experiments.rename(w.experiments[a % 2], f"e{b}"),
    "tag an experiment": lambda w, t, a, b: t.experiments.set_tags(w.experiments[a % 2], {"t": str(b)}),
    "delete an experiment": lambda w, t, a, b: t.experiments.delete(w.experiments[a % 2]),
    "restore an experiment": lambda w, t, a, b: t.experiments.restore(w.experiments[a % 2]),
    "share": lambda w, t, a, b: t.experiments.share(w.experiments[a % 2], to_user=f"u{b}"),
    "hand over": lambda w, t, a, b: t.experiments.transfer(w.experiments[a % 2], f"u{b % 2}"),
    "collect": lambda w, t, a, b: t.gc(),
    "create a model": lambda w, t, a, b: t.models.create(NAMES[a % 2]),
    "describe a model": lambda w, t, a, b: t.models.update(NAMES[a % 2], description=str(b)),
    "rename a model": lambda w, t, a, b: t.models.update(NAMES[a % 2], new_name=NAMES[b % 2]),
    "tag a model": lambda w, t, a, b: t.models.set_tags(NAMES[a % 2], {"t": str(b)}),
    "untag a model": lambda w, t, a, b: t.models.delete_tag(NAMES[a % 2], "t"),
    "restrict": lambda w, t, a, b: t.models.restrict(NAMES[a % 2], bool(b % 2)),
    "hand over a model": lambda w, t, a, b: t.models.transfer(NAMES[a % 2], f"u{b % 2}"),
    "delete a model": lambda w, t, a, b: t.models.delete(NAMES[a % 2]),
    "a version": lambda w, t, a, b: t.models.refer(NAMES[a % 2], "s3://bucket/model"),
    "describe a version": lambda w, t, a, b: t.models.update_version(NAMES[a % 2], 1 + b % 2, description=str(b)),
    "tag a version": lambda w, t, a, b: t.models.set_tags(NAMES[a % 2], {"t": str(b)}, version=1 + b % 2),
    "delete a version": lambda w, t, a, b: t.models.delete_version(NAMES[a % 2], 1 + b % 2),
    "point": lambda w, t, a, b: t.models.set_alias(NAMES[a % 2], "live", 1 + b % 2),
    "unpoint": lambda w, t, a, b: t.models.delete_alias(NAMES[a % 2], "live"),
    "write a card": lambda w, t, a, b: t.models.set_card(NAMES[a % 2], 1 + b % 2, str(b)),
}
STEPS = 40


def test_what_changed_is_told(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = Path(sqlite_url.removeprefix("sqlite:///"))
    # What is logged to a run that has told of it is told when something else happens to it, or at the end.
    monkeypatch.setattr(batches, "EVENT_PERIOD_MS", 1_000_000_000)

    # The same stories each time, so that a change fails for what it changed. They are drawn by seeds, evenly; the step
    # that tells nothing is named, where to look for a shorter story would take minutes.
    @settings(
        derandomize=True,
        max_examples=20,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=True))
    def each(random: Random) -> None:
        with TemporaryDirectory(dir=tmp_path) as folder, ExitStack() as opened:
            shutil.copyfile(template, Path(folder, "mlops.db"))
            world = World(f"sqlite:///{folder}/mlops.db", Path(folder, "files"), opened)
            world.named()
            before, untold = world.state(), set[Thing]()
            for name in random.choices(sorted(CHANGES), k=STEPS):
                change, worker = CHANGES[name], random.choice(world.workers)
                with suppress(MLOpsError):
                    change(world, worker, random.randrange(6), random.randrange(6))
                now = world.state()
                changed = {thing for thing in {*now, *before} if now.get(thing) != before.get(thing)}
                untold = (untold | changed) - world.named()
                assert change in LATER or not changed & untold, f"{name} told nothing of {changed & untold}"
                before = now
            for worker in world.workers:
                worker.close()
            assert not untold - world.named()

    each()
