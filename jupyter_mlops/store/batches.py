"""What one transaction of the group commit does: many calls to many runs as a few coalesced statements.

A group is applied as if its calls came one after the other: creations, then logs, then changes, then heartbeats. Rows
that other transactions may touch are written in the order of their keys, so that transactions never wait for each other
in a circle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.errors import AlreadyExists, Conflict, InvalidValue, NotFound
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.logged_model import ModelMetric
from jupyter_mlops.core.records import Dataset, Input, Lifecycle, RunStatus
from jupyter_mlops.core.redaction import shown
from jupyter_mlops.store import (
    events,
    heartbeats,
    logged_models,
    metrics,
    runs,
    schema,
    schema_logged,
    streams,
    tags,
    usage,
    writes,
)
from jupyter_mlops.store.calls import Change, Create, Heartbeat, Log, RunCall
from jupyter_mlops.store.events import Event
from jupyter_mlops.store.metrics import Summary
from jupyter_mlops.store.parameters import among
from jupyter_mlops.store.rows import fetch
from jupyter_mlops.store.runchange import CHANGE
from jupyter_mlops.store.upsert import Upsert
from jupyter_mlops.store.writes import Part

CROWD = 256
"""Chunks that this process adds to one history before it joins the small ones."""
EVENT_PERIOD_MS = 1000
"""A run that is logged to all the time tells so this often."""
_EVENTS_BETWEEN_TRIMS = 10_000
_MOST_COUNTED = 50_000
"""Histories whose chunks are counted; what is forgotten is merged at the end of its run."""


class _Facts(msgspec.Struct):
    """What must be known of a run before it is written to."""

    experiment_id: str
    owner: str
    active: bool
    name: str
    status: str


def _facts_of(row: Sequence[Any]) -> _Facts:
    return _Facts(row[0], row[1], row[2] == Lifecycle.ACTIVE.value, row[3], row[4])


_run = schema.run.c
_param = schema.param.c
_experiment = schema.experiment.c
_dataset = schema.dataset.c
_model = schema_logged.logged_model.c

_RUN_FACTS = (
    sa.select(_run.id, _run.experiment_id, _experiment.owner, _run.lifecycle, _run.name, _run.status, usage.ANY_QUOTA)
    .join(schema.experiment, _experiment.id == _run.experiment_id)
    .where(among(_run.id, "run_ids"))
)
# Shared locks: an experiment cannot be deleted between the look at it and the commit of a run in it.
_EXPERIMENT_FACTS = (
    sa.select(_experiment.id, _experiment.owner, _experiment.lifecycle, _experiment.name, usage.ANY_QUOTA)
    .where(among(_experiment.id, "experiment_ids"))
    .order_by(_experiment.id)
    .with_for_update(read=True)
)
_MODEL_FACTS = (
    sa.select(_model.id, _run.id, _run.experiment_id, _experiment.owner, _run.lifecycle, _run.name, _run.status)
    .join(schema.run, _run.id == _model.run_id)
    .join(schema.experiment, _experiment.id == _model.experiment_id)
    .where(among(_model.id, "model_ids"), _model.lifecycle == Lifecycle.ACTIVE.value)
)
_INSERT_RUN = sa.insert(schema.run)
_PARAM_TEXTS = sa.select(_param.run_id, _param.key, _param.text).where(
    among(_param.run_id, "run_ids"), among(_param.key, "keys")
)
_DATASETS = sa.select(_dataset.id, *runs.DATASET_COLUMNS).where(among(_dataset.digest, "digests"))


def _upserts(insert: Any) -> dict[str, Any]:
    run_input = insert(schema.run_input)
    return {
        # Else how many rows an insertion has added is forgotten with psycopg's cursor.
        "param": insert(schema.param).on_conflict_do_nothing().execution_options(preserve_rowcount=True),
        "dataset": insert(schema.dataset).on_conflict_do_nothing(),
        "input": run_input.on_conflict_do_update(
            index_elements=["run_id", "dataset_id", "context"],
            set_={name: run_input.excluded[name] for name in ("tags_json", "told_json")},
        ),
    }


_UPSERT = Upsert(_upserts)


class RunWriter:
    """Applies groups of calls on runs; used by one thread."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._told: dict[str, int] = {}
        """When a run last told that it changed."""
        self._untold: dict[str, _Facts] = {}
        """Runs that changed since then."""
        self._period = EVENT_PERIOD_MS
        self._chunks: dict[tuple[str, str], int] = {}
        """Chunks added to a history since it was last merged."""
        self._events = 0

    def end(self) -> None:
        """Let nothing untold wait for the end of its period, which nobody will be there for."""
        self._period = 0

    def due(self) -> float | None:
        """Seconds until a change must be told that was not yet."""
        if not self._untold:
            return None
        first = min(self._told[run_id] for run_id in self._untold)
        # No longer than a period, also where the clock was set back since.
        return min(max(0, first + self._period - self._clock()), self._period) / 1000

    def apply(self, connection: Connection, calls: Sequence[RunCall]) -> Callable[[], None]:
        """Apply the calls. What it gives is to be called once they are durable: until then nothing counts as told."""
        now = self._clock()
        fresh = self._beyond_watermarks(connection, calls, now)
        creates = [call for call in fresh if isinstance(call, Create)]
        changes = [call for call in fresh if isinstance(call, Change)]
        beats = [call for call in fresh if isinstance(call, Heartbeat)]
        facts, experiments, is_limited = _facts(connection, fresh)
        created = _create(connection, creates, facts, experiments)
        for call in fresh:
            if not isinstance(call, Create):
                _require_active(connection, call, facts)
        logs = [*_logs(fresh), *(call.log for call in created)]
        _add_params(connection, [row for log in logs for row in log.params])
        tags.write(connection, logs)
        _add_inputs(connection, [(log.run_id, item) for log in logs for item in log.inputs])
        measured = _add_model_points(connection, [log for log in logs if log.model_points])
        logged = [*measured, *(log.run_id for log in logs)]
        happened, note = self._happened(measured | facts, created, logged, changes, now)
        charge = usage.Charge(_growths(created, logs, changes, facts))
        crowded, is_full = self._crowded(logs), self._are_many(len(happened))
        # Nothing that others may hold is waited for once it is counted; usually that can go along.
        counted = () if changes or beats or crowded or is_full else (charge.addition(connection),)
        writes.insert(connection, *_points(connection, logs, facts), events.additions(happened), *counted)
        _change(connection, changes, facts, now)
        if beats:
            heartbeats.beat(connection, {call.run_id for call in beats}, now)
        self._merge_chunks(connection, crowded, changes)
        if is_full:
            events.trim_events(connection, now)
        _read_back(connection, [*creates, *changes])
        if not counted:
            writes.insert(connection, charge.addition(connection))
        if is_limited:
            charge.require_room(connection)
        return note

    def _beyond_watermarks(self, connection: Connection, calls: Sequence[RunCall], now: int) -> list[RunCall]:
        """The calls that were not applied before; their streams are advanced."""
        uses = [(call.position.stream, call.caller.stream_user) for call in calls if call.position]
        reached = streams.locked_watermarks(connection, uses, now)
        fresh = []
        advanced = {}
        for call in calls:
            if call.position is not None:
                if call.position.number <= reached[call.position.stream]:
                    continue
                advanced[call.position.stream] = reached[call.position.stream] = call.position.number
            fresh.append(call)
        streams.advance(connection, advanced, now)
        return fresh

    def _crowded(self, logs: Iterable[Log]) -> set[tuple[str, str]]:
        """The histories that have many small chunks, with those of the logs."""
        crowded = set()
        for log in logs:
            for key in log.summaries:
                history = (log.run_id, key)
                self._chunks[history] = self._chunks.get(history, 0) + 1
                if self._chunks[history] >= CROWD:
                    del self._chunks[history]
                    crowded.add(history)
        if len(self._chunks) > _MOST_COUNTED:
            self._chunks.clear()
        return crowded

    def _merge_chunks(self, connection: Connection, crowded: set[tuple[str, str]], changes: Iterable[Change]) -> None:
        ended = {call.run_id for call in changes if call.change.status and call.change.status.ended}
        metrics.merge_small(connection, crowded | set(metrics.with_small_chunks(connection, sorted(ended))))

    def _happened(
        self,
        facts: dict[str, _Facts],
        created: Sequence[Create],
        logged: Iterable[str],
        changes: Sequence[Change],
        now: int,
    ) -> tuple[list[Event], Callable[[], None]]:
        """What to tell: creations and changes at once, logging at most once a run and period; and what notes that it
        was told."""
        new = {call.run_id for call in created}
        at_once = {call.run_id for call in changes}
        untold = self._untold.copy()
        untold.update((run_id, facts[run_id]) for run_id in logged if run_id not in new)
        untold.update((run_id, facts[run_id]) for run_id in at_once)
        # What was told in the future was told before the clock was set back.
        resting = {run_id: at for run_id, at in self._told.items() if 0 <= now - at < self._period}
        told = {run_id: run for run_id, run in untold.items() if run_id in at_once or run_id not in resting}
        due = [("run.created", run_id, facts[run_id]) for run_id in sorted(new)]
        due += [("run.changed", run_id, run) for run_id, run in told.items()]

        def note() -> None:
            self._untold = {run_id: run for run_id, run in untold.items() if run_id not in told}
            self._told = resting | dict.fromkeys(told, now)

        happened = [Event(kind, run.owner, run_id, now, experiment_id=run.experiment_id) for kind, run_id, run in due]
        return happened, note

    def _are_many(self, events_added: int) -> bool:
        """Whether it is time to look for old events, with those that are added."""
        self._events += events_added
        if self._events < _EVENTS_BETWEEN_TRIMS:
            return False
        self._events = 0
        return True


def _logs(calls: Iterable[RunCall]) -> Iterator[Log]:
    """What the calls log to runs that there were before."""
    for call in calls:
        if isinstance(call, Log):
            yield call
        elif isinstance(call, Change) and call.log is not None:
            yield call.log


def _growths(
    created: Sequence[Create], logs: Sequence[Log], changes: Sequence[Change], facts: dict[str, _Facts]
) -> Iterator[usage.Growth]:
    """What the calls add to what their owners hold."""
    for call in created:
        run = facts[call.run_id]
        yield usage.Growth(run.experiment_id, run.owner, runs=1)
    for log in logs:
        run = facts[log.run_id]
        yield usage.Growth(run.experiment_id, run.owner, points=log.points)
    for change in changes:
        run = facts[change.run_id]
        if change.change.status is RunStatus.RUNNING and run.status == RunStatus.SCHEDULED.value:
            yield usage.Growth(run.experiment_id, run.owner, running=1)


def _read_back(connection: Connection, calls: Sequence[RunCall]) -> None:
    """Give each call its run as it is now: one reading for all of a group."""
    found = {run.run_id: run for run in runs.load(connection, sorted({call.run_id for call in calls}))}
    for call in calls:
        call.run = found[call.run_id]


def _facts(
    connection: Connection, calls: Sequence[RunCall]
) -> tuple[dict[str, _Facts], dict[str, tuple[Any, ...]], bool]:
    """What must be known of the runs of the calls, and of the experiments of new ones: rows of
    :data:`_EXPERIMENT_FACTS`; and whether there are quotas."""
    creates = [call for call in calls if isinstance(call, Create)]
    run_ids = {call.run_id for call in calls} | {call.parent_id for call in creates if call.parent_id}
    if not run_ids:
        return {}, {}, False
    bound = {"run_ids": list(run_ids), "experiment_ids": list({call.experiment_id for call in creates})}
    runs, *experiments = fetch(connection, [_RUN_FACTS, _EXPERIMENT_FACTS] if creates else [_RUN_FACTS], bound)
    return (
        {row[0]: _facts_of(row[1:]) for row in runs},
        {row[0]: row for rows in experiments for row in rows},
        any(row[-1] for rows in (runs, *experiments) for row in rows),
    )


def _require_active(connection: Connection, call: RunCall, facts: dict[str, _Facts]) -> None:
    what = f"run {call.run_id}"
    run = facts.get(call.run_id)
    if run is None:
        raise NotFound(f"{what} does not exist")
    call.caller.authorize(connection, run.owner, run.experiment_id, what)
    if not run.active:
        raise Conflict(f"{what} is deleted: restore it first")


def _create(
    connection: Connection,
    calls: Sequence[Create],
    facts: dict[str, _Facts],
    experiments: dict[str, tuple[Any, ...]],
) -> list[Create]:
    """Insert the runs that there are not yet, and return their calls; their facts are added."""
    created = []
    for call in calls:
        what = f"experiment {call.experiment_id}"
        experiment = experiments.get(call.experiment_id)
        if experiment is None:
            raise NotFound(f"{what} does not exist")
        call.caller.authorize(connection, experiment[1], call.experiment_id, what)
        existing = facts.get(call.run_id)
        if existing is not None:
            if existing.experiment_id != call.experiment_id:
                raise AlreadyExists(f"the run id {call.run_id} is taken: choose another")
            continue
        if experiment[2] != Lifecycle.ACTIVE.value:
            raise Conflict(f"the experiment {experiment[3]!r} is deleted: restore it first")
        if call.parent_id is not None:
            parent = facts.get(call.parent_id)
            if parent is None:
                raise NotFound(f"run {call.parent_id}, the parent, does not exist")
            call.caller.authorize(connection, parent.owner, parent.experiment_id, f"run {call.parent_id}, the parent,")
        facts[call.run_id] = _Facts(
            call.experiment_id, experiment[1], True, str(call.row["name"]), str(call.row["status"])
        )
        created.append(call)
    writes.insert(connection, (_INSERT_RUN, sorted((call.row for call in created), key=lambda row: str(row["id"]))))
    return created


def _points(connection: Connection, logs: Sequence[Log], facts: dict[str, _Facts]) -> tuple[Part, Part]:
    """What adds the metrics of the logs."""
    summaries: dict[tuple[str, str], Summary] = {}
    for log in logs:
        for key, summary in log.summaries.items():
            present = summaries.get((log.run_id, key))
            if present is None:
                summaries[log.run_id, key] = msgspec.structs.replace(summary)
            else:
                present.merge(summary)
    experiments = {run_id: run.experiment_id for run_id, run in facts.items()}
    return metrics.additions(connection, summaries, [row for log in logs for row in log.chunks], experiments)


def _add_params(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return
    wanted: dict[tuple[str, str], str] = {}
    for row in rows:
        _require_same(
            row["run_id"], row["key"], wanted.setdefault((row["run_id"], row["key"]), row["text"]), row["text"]
        )
    ordered = sorted(rows, key=lambda row: (row["run_id"], row["key"]))
    if connection.execute(_UPSERT.on(connection)["param"], ordered).rowcount == len(ordered):
        return
    # Looked at after the insertion, which waits for transactions that insert the same: theirs are seen too.
    bound = {"run_ids": list({run_id for run_id, _ in wanted}), "keys": list({key for _, key in wanted})}
    for run_id, key, text in connection.execute(_PARAM_TEXTS, bound):
        _require_same(run_id, key, text, wanted.get((run_id, key), text))


def _require_same(run_id: str, key: str, present: str, new: str) -> None:
    if present != new:
        raise InvalidValue(
            f"run {run_id}: parameter {key!r} is {shown(key, present)} already and cannot become {shown(key, new)}; "
            "log a changing value as a tag or a metric"
        )


def _add_inputs(connection: Connection, inputs: Sequence[tuple[str, Input]]) -> None:
    if not inputs:
        return
    upsert = _UPSERT.on(connection)
    datasets = {(item.dataset.name, item.dataset.digest): item.dataset for _, item in inputs}
    connection.execute(
        upsert["dataset"],
        [
            {
                "id": new_id(),
                "name": name,
                "digest": digest,
                "source_type": dataset.source_type,
                "source": dataset.source,
                "schema_json": dataset.schema,
                "profile_json": dataset.profile,
                "rows": dataset.rows,
            }
            for (name, digest), dataset in sorted(datasets.items())
        ],
    )
    found = connection.execute(_DATASETS, {"digests": list({digest for _, digest in datasets})})
    stored = {(row[1], row[2]): (row[0], Dataset(*row[1:])) for row in found}
    rows = {}
    for run_id, item in inputs:
        dataset_id, first = stored[item.dataset.name, item.dataset.digest]
        rows[run_id, dataset_id, item.context] = {
            "run_id": run_id,
            "dataset_id": dataset_id,
            "context": item.context,
            "tags_json": msgspec.json.encode(item.tags).decode(),
            "told_json": None if item.dataset == first else msgspec.json.encode(item.dataset).decode(),
        }
    connection.execute(upsert["input"], [row for _, row in sorted(rows.items())])


def _add_model_points(connection: Connection, logs: Sequence[Log]) -> dict[str, _Facts]:
    """Gives the runs that the measured models are of."""
    if not logs:
        return {}
    wanted = {point.model_id for log in logs for point in log.model_points}
    rows = connection.execute(_MODEL_FACTS, {"model_ids": list(wanted)}).all()
    models = {row[0]: _facts_of(row[2:]) for row in rows}
    points = []
    for log in logs:
        for model_id in {point.model_id for point in log.model_points}:
            what = f"logged model {model_id}"
            if model_id not in models:
                raise NotFound(f"{what} does not exist")
            model = models[model_id]
            log.caller.authorize(connection, model.owner, model.experiment_id, what)
        points += [
            (
                measured.model_id,
                ModelMetric(
                    key=measured.metric.key,
                    value=measured.metric.value,
                    timestamp=measured.metric.timestamp,
                    step=measured.metric.step,
                    run_id=log.run_id,
                    dataset_name=measured.dataset_name,
                    dataset_digest=measured.dataset_digest,
                ),
            )
            for measured in log.model_points
        ]
    logged_models.add_metrics(connection, points)
    return {row[1]: models[row[0]] for row in rows}


def _change(connection: Connection, calls: Sequence[Change], facts: dict[str, _Facts], now: int) -> None:
    if not calls:
        return
    rows = []
    for call in calls:
        change, progress = call.change, call.change.progress
        rows.append(
            {
                "run_id": call.run_id,
                "now": now,
                "new_name": change.name,
                "new_status": None if change.status is None else change.status.value,
                "new_end_time": change.end_time,
                "new_reason": call.reason,
                "new_hidden_state": change.hidden_state,
                "new_progress_done": None if progress is None else progress.done,
                "new_progress_total": None if progress is None else progress.total,
                "new_progress_failed": None if progress is None else progress.failed,
                "new_runner": call.runner,
            }
        )
        old = facts[call.run_id]
        if change.name is not None and change.name != old.name:
            detail = {"from": old.name, "to": change.name}
            events.add_audit(connection, call.caller.user, "run.rename", call.run_id, now, detail)
    # Changes of one run keep their order: sorting is stable.
    connection.execute(CHANGE, sorted(rows, key=lambda row: str(row["run_id"])))
