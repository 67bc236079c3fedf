"""Runs: reading them whole, finding them by what people type, deleting, restoring, comments. Writing: ``batches``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import (
    Comment,
    Dataset,
    DatasetSummary,
    DatasetUse,
    Input,
    Json,
    Lifecycle,
    Param,
    Progress,
    Reason,
    Run,
    RunKind,
    Runner,
    RunStatus,
    Tag,
)
from jupyter_mlops.core.values import decode_json
from jupyter_mlops.store import metrics, schema
from jupyter_mlops.store.parameters import among
from jupyter_mlops.store.rows import Tables, by_run, fetch
from jupyter_mlops.store.shares import Reach, reached_model, within

_run = schema.run.c
_experiment = schema.experiment.c
_param = schema.param.c
_tag = schema.tag.c
_input = schema.run_input.c
_dataset = schema.dataset.c
_comment = schema.run_comment.c
_version = schema.model_version.c
_version_input = schema.version_input.c

_RUNS = sa.select(
    _run.id,
    _run.experiment_id,
    _run.name,
    _run.kind,
    _run.created_by,
    _run.status,
    _run.reason_json,
    _run.created,
    _run.start_time,
    _run.end_time,
    _run.lifecycle,
    _run.parent_id,
    _run.source,
    _run.hidden_state,
    _run.progress_done,
    _run.progress_total,
    _run.progress_failed,
    _run.runner_json,
    _run.heartbeat,
    _run.submitted_by,
).where(among(_run.id, "run_ids"))
_PARAMS = (
    sa.select(_param.run_id, _param.key, _param.value_json, _param.text, _param.redacted)
    .where(among(_param.run_id, "run_ids"))
    .order_by(_param.run_id, _param.key)
)
_TAGS = (
    sa.select(_tag.run_id, _tag.key, _tag.value).where(among(_tag.run_id, "run_ids")).order_by(_tag.run_id, _tag.key)
)
DATASET_COLUMNS = (
    _dataset.name,
    _dataset.digest,
    _dataset.source_type,
    _dataset.source,
    _dataset.schema_json,
    _dataset.profile_json,
    _dataset.rows,
)
_INPUTS = (
    sa.select(_input.run_id, *DATASET_COLUMNS, _input.told_json, _input.context, _input.tags_json)
    .join(schema.dataset, _dataset.id == _input.dataset_id)
    .where(among(_input.run_id, "run_ids"))
    .order_by(_input.run_id, _dataset.name, _dataset.digest, _input.context)
)
_WHOLE = Tables(_RUNS, _INPUTS, sorted_here=(_PARAMS, _TAGS))
_FACTS = (
    sa.select(_run.experiment_id, _experiment.owner, _run.lifecycle)
    .select_from(schema.run)
    .join(schema.experiment, _experiment.id == _run.experiment_id)
    .where(_run.id == sa.bindparam("run_id"))
)

_MOST_DATASETS = 1000

_STATUS = {status.value: status for status in RunStatus}
_KIND = {kind.value: kind for kind in RunKind}
_LIFECYCLE = {lifecycle.value: lifecycle for lifecycle in Lifecycle}
_tags_decoder = msgspec.json.Decoder(tuple[Tag, ...])
_reason_decoder = msgspec.json.Decoder(Reason)
_runner_decoder = msgspec.json.Decoder(Runner)
_dataset_decoder = msgspec.json.Decoder(Dataset)


def load(connection: Connection, run_ids: Sequence[str]) -> list[Run]:
    """The runs of ``run_ids``, complete, in that order, without those that do not exist."""
    if not run_ids:
        return []
    [[texts], summary_rows] = fetch(connection, [_WHOLE.statement(connection), metrics.OF_RUNS], {"run_ids": run_ids})
    run_columns, input_columns, param_columns, tag_columns = _WHOLE.columns(texts)
    runs = {row[0]: row for row in zip(*run_columns, strict=True)}
    params = by_run(param_columns, _params)
    tags = by_run(tag_columns, lambda keys, values: map(Tag, keys, values))
    inputs = by_run(input_columns, _inputs)
    summaries = metrics.summaries(summary_rows)
    return [
        Run(
            run_id=run_id,
            experiment_id=row[1],
            name=row[2],
            kind=_KIND[row[3]],
            user=row[4],
            submitted_by=row[19],
            status=_STATUS[row[5]],
            reason=None if row[6] is None else _reason_decoder.decode(row[6]),
            created=row[7],
            start_time=row[8],
            end_time=row[9],
            lifecycle=_LIFECYCLE[row[10]],
            parent_run_id=row[11],
            source=row[12],
            hidden_state=row[13],
            progress=None if row[14] is None else Progress(done=row[14], total=row[15], failed=row[16]),
            runner=None if row[17] is None else _runner_decoder.decode(row[17]),
            heartbeat=row[18],
            params=params.get(run_id, ()),
            metrics=summaries.get(run_id, ()),
            tags=tags.get(run_id, ()),
            inputs=inputs.get(run_id, ()),
        )
        for run_id in run_ids
        if (row := runs.get(run_id)) is not None
    ]


def _params(
    keys: Sequence[str], values: Sequence[str], texts: Sequence[str], redacted: Sequence[bool]
) -> Iterator[Param]:
    return map(Param, keys, _decoded(values), texts, map(bool, redacted))


def _inputs(*columns: Sequence[Any]) -> Iterator[Input]:
    *datasets, told, contexts, labels = columns
    return map(Input, map(_told, map(Dataset, *datasets), told), contexts, map(_tags_decoder.decode, labels))


def _told(first: Dataset, told: str | None) -> Dataset:
    """What was said of a data set by whom an input is of: something of their own, or what was said first."""
    return first if told is None else _dataset_decoder.decode(told)


class Facts(msgspec.Struct, frozen=True):
    """What decides who may do what with a run."""

    experiment_id: str
    owner: str
    lifecycle: Lifecycle


def facts(connection: Connection, run_id: str) -> Facts | None:
    """In which experiment of whose the run is, and whether it is deleted; None when there is no such run."""
    row = connection.execute(_FACTS, {"run_id": run_id}).first()
    return None if row is None else Facts(row[0], row[1], _LIFECYCLE[row[2]])


def candidates(
    connection: Connection, text: str, reach: Reach | None, experiment_id: str | None, *, prefix: bool
) -> list[str]:
    """Ids of the active runs that are called ``text`` or, if ``prefix``, whose id begins with it; newest first."""
    named = _run.name == text
    # 'g' sorts after every hex digit.
    matches = sa.or_(named, sa.and_(_run.id >= text, _run.id < text + "g")) if prefix else named
    query = sa.select(_run.id).where(matches, _run.lifecycle == Lifecycle.ACTIVE.value)
    if experiment_id is not None:
        query = query.where(_run.experiment_id == experiment_id)
    query = within(query, _run.experiment_id, reach)
    return list(connection.execute(query.order_by(_run.start_time.desc(), _run.id.desc()).limit(11)).scalars())


def active_ids(connection: Connection, user: str, reach: Reach | None) -> list[str]:
    """Ids of the runs of ``user`` that have not ended, oldest first."""
    open_status = [status.value for status in RunStatus if not status.ended]
    query = sa.select(_run.start_time, _run.id, _run.lifecycle).where(
        _run.status.in_(open_status), _run.created_by == user
    )
    # Asked for their order and what is not deleted, SQLite looks through all runs that ever were, for these few.
    rows = sorted(tuple(row) for row in connection.execute(within(query, _run.experiment_id, reach)))
    return [id for _, id, lifecycle in rows if lifecycle == Lifecycle.ACTIVE.value]


def child_ids(connection: Connection, run_id: str, reach: Reach | None) -> list[str]:
    """Ids of the active direct children, oldest first."""
    query = sa.select(_run.id).where(_run.parent_id == run_id, _run.lifecycle == Lifecycle.ACTIVE.value)
    query = within(query, _run.experiment_id, reach)
    return list(connection.execute(query.order_by(_run.start_time, _run.id)).scalars())


def delete(connection: Connection, run_id: str, owners: Sequence[str] | None, now: int) -> set[str]:
    """Mark a run and its active descendants deleted, those of ``owners`` (of all when None). Gives the ids of the
    experiments that the descendants are in."""
    return _mark(
        connection,
        run_id,
        owners,
        # Not deleted, and not active: for that, SQLite would look through all that are active.
        _run.lifecycle != Lifecycle.DELETED.value,
        {"lifecycle": Lifecycle.DELETED.value, "deleted_with": run_id, "deleted_at": now},
    )


def restore(connection: Connection, run_id: str, owners: Sequence[str] | None) -> set[str]:
    """Undo the deletion that took the run, for it and its descendants, those of ``owners`` (of all when None): what was
    deleted before stays deleted. Gives the ids of the experiments that the descendants are in."""
    taken_with = connection.execute(sa.select(_run.deleted_with).where(_run.id == run_id)).scalar()
    return _mark(
        connection,
        run_id,
        owners,
        _run.deleted_with == taken_with,
        {"lifecycle": Lifecycle.ACTIVE.value, "deleted_with": None, "deleted_at": None},
    )


def in_deleted_experiment(connection: Connection, run_id: str) -> bool:
    """Whether the experiment of a run is deleted."""
    experiment = sa.select(_run.experiment_id).where(_run.id == run_id).scalar_subquery()
    query = sa.select(_experiment.lifecycle).where(_experiment.id == experiment)
    return connection.execute(query).scalar() == Lifecycle.DELETED.value


def delete_tag(connection: Connection, run_id: str, key: str) -> bool:
    """Remove a tag; False when there is none."""
    return connection.execute(sa.delete(schema.tag).where(_tag.run_id == run_id, _tag.key == key)).rowcount > 0


def add_comment(connection: Connection, run_id: str, user: str, text: str, now: int) -> Comment:
    comment = Comment(comment_id=new_id(), run_id=run_id, user=user, text=text, created=now)
    row = {"id": comment.comment_id, "run_id": run_id, "created_by": user, "text": text, "created": now}
    connection.execute(sa.insert(schema.run_comment), row)
    return comment


def comments(connection: Connection, run_id: str) -> tuple[Comment, ...]:
    """The comments on a run, oldest first."""
    query = sa.select(_comment.id, _comment.run_id, _comment.created_by, _comment.text, _comment.created)
    rows = connection.execute(query.where(_comment.run_id == run_id).order_by(_comment.created, _comment.id))
    return tuple(Comment(comment_id=row[0], run_id=row[1], user=row[2], text=row[3], created=row[4]) for row in rows)


def dataset_uses(connection: Connection, digest: str, reach: Reach | None) -> tuple[DatasetUse, ...]:
    """Who used a data set of ``digest``: the active runs within ``reach``, newest first, with the versions registered
    from them that are within it too; then the other versions within it, newest first, whose runs are not.

    The latter tell others than their owner only what identifies the data set: where its data are is the run's to say.
    """
    query = (
        sa.select(_run.id, _input.context, _input.told_json, *DATASET_COLUMNS)
        .select_from(schema.dataset)
        .join(schema.run_input, _input.dataset_id == _dataset.id)
        .join(schema.run, _run.id == _input.run_id)
        .where(_dataset.digest == digest, _run.lifecycle == Lifecycle.ACTIVE.value)
        .order_by(_run.start_time.desc(), _run.id.desc(), _dataset.name, _input.context)
    )
    rows = connection.execute(within(query, _run.experiment_id, reach)).all()
    models = {} if reach is None else reach.models()
    reached = reached_model(frozenset(models))
    run_ids = list({row[0] for row in rows})
    versions: dict[str, list[tuple[str, int]]] = defaultdict(list)
    registered = (
        sa.select(_version.run_id, schema.model.c.name, _version.version)
        .join(schema.model, schema.model.c.id == _version.model_id)
        .where(among(_version.run_id, "run_ids", run_ids), reached)
        .order_by(schema.model.c.name, _version.version)
    )
    for run_id, model, version in connection.execute(registered, models):
        versions[run_id].append((model, version))
    uses = [
        DatasetUse(
            dataset=_told(Dataset(*row[3:]), row[2]),
            run_id=row[0],
            context=row[1],
            versions=tuple(versions.get(row[0], ())),
        )
        for row in rows
    ]
    without_run = (
        sa.select(
            _version.run_id,
            _version_input.context,
            schema.model.c.name,
            _version.version,
            schema.model.c.owner,
            _version_input.told_json,
            *DATASET_COLUMNS,
        )
        .select_from(schema.dataset)
        .join(schema.version_input, _version_input.dataset_id == _dataset.id)
        .join(schema.model_version, _version.id == _version_input.version_id)
        .join(schema.model, schema.model.c.id == _version.model_id)
        .where(_dataset.digest == digest, ~among(_version.run_id, "run_ids", run_ids), reached)
        .order_by(_version.created.desc(), _version.id.desc(), _dataset.name, _version_input.context)
    )
    uses += [
        DatasetUse(
            dataset=_told(Dataset(*row[6:]), row[5]) if reach is None or row[4] in reach.owners else Dataset(*row[6:8]),
            run_id=row[0],
            context=row[1],
            versions=((row[2], row[3]),),
        )
        for row in connection.execute(without_run, models)
    ]
    return tuple(uses)


def experiment_datasets(
    connection: Connection, experiment_ids: Sequence[str], reach: Reach | None
) -> tuple[DatasetSummary, ...]:
    """The data sets that the active runs of those of the experiments used that are within ``reach``."""
    query = (
        sa.select(_run.experiment_id, _dataset.name, _dataset.digest, _input.context)
        .select_from(schema.run)
        .join(schema.run_input, _input.run_id == _run.id)
        .join(schema.dataset, _dataset.id == _input.dataset_id)
        .where(among(_run.experiment_id, "experiment_ids", experiment_ids), _run.lifecycle == Lifecycle.ACTIVE.value)
        .distinct()
        .order_by(_run.experiment_id, _dataset.name, _dataset.digest, _input.context)
        .limit(_MOST_DATASETS)
    )
    rows = connection.execute(within(query, _run.experiment_id, reach))
    return tuple(DatasetSummary(experiment_id=row[0], name=row[1], digest=row[2], context=row[3]) for row in rows)


def _mark(
    connection: Connection,
    run_id: str,
    owners: Sequence[str] | None,
    which: sa.ColumnElement[bool],
    values: dict[str, Any],
) -> set[str]:
    """Update a run and its descendants, those of them to which ``which`` applies and that belong to ``owners``. Gives
    the experiments of the descendants that were updated."""
    family = sa.select(sa.literal(run_id, sa.String(32)).label("id")).cte("family", recursive=True)
    family = family.union(sa.select(_run.id).join(family, _run.parent_id == family.c.id))
    marked = sa.update(schema.run).where(_run.id.in_(sa.select(family.c.id)), which)
    if owners is not None:
        own = sa.select(_experiment.id).where(among(_experiment.owner, "owners", owners))
        marked = marked.where(_run.experiment_id.in_(own))
    rows = connection.execute(marked.values(**values).returning(_run.id, _run.experiment_id))
    return {experiment_id for id, experiment_id in rows if id != run_id}


_list_decoder = msgspec.json.Decoder(list[Any])


def _decoded(texts: Sequence[str]) -> list[Json]:
    try:
        # All at once, which is much faster.
        return _list_decoder.decode(f"[{','.join(texts)}]")
    except msgspec.DecodeError:
        # NaN and infinities, which strict JSON lacks.
        return [decode_json(text) for text in texts]
