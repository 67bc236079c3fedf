"""What promoted models descend from: the runs that nothing but a person may take away.

A version is *held* when an alias points at it or ever did, while a request for promotion asks for it, and when somebody
has loaded it. Its run is held, and with it, one after the other, what a run comes from: its parent, the runs of the
logged models that it used, the run that it repeats, and the runs that its data sets are said to be from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.logged_model import ModelRole
from jupyter_mlops.core.promotion import PromotionState
from jupyter_mlops.core.run_fields import RERUN_TAG
from jupyter_mlops.store import schema, schema_logged, schema_promotion, schema_telling
from jupyter_mlops.store.parameters import among

_AT_ONCE = 1000
_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")

_run = schema.run.c
_tag = schema.tag.c
_version = schema.model_version.c
_alias = schema.alias.c
_move = schema.alias_move.c
_input = schema.run_input.c
_dataset = schema.dataset.c
_used = schema_logged.run_model.c
_model = schema_logged.logged_model.c
_consumer = schema_telling.model_consumer.c
_promotion = schema_promotion.promotion.c

_HELD = sa.union(
    sa.select(_version.run_id).join(schema.alias, _alias.version_id == _version.id),
    sa.select(_version.run_id).join(
        schema.alias_move, sa.and_(_move.model_id == _version.model_id, _move.version == _version.version)
    ),
    sa.select(_version.run_id).join(schema_telling.model_consumer, _consumer.version_id == _version.id),
    sa.select(_promotion.run_id).where(_promotion.state == PromotionState.OPEN.value),
)


def held_runs(connection: Connection) -> set[str]:
    """The ids of the runs that promoted models descend from."""
    found = {run_id for run_id in connection.execute(_HELD).scalars() if run_id is not None}
    fresh = found
    while fresh:
        fresh = _sources(connection, sorted(fresh)) - found
        found |= fresh
    return found


def _sources(connection: Connection, run_ids: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(run_ids), _AT_ONCE):
        part = run_ids[start : start + _AT_ONCE]
        found |= set(_told(connection, part))
    return found


def _told(connection: Connection, run_ids: Sequence[str]) -> Iterable[str]:
    parents = sa.select(_run.parent_id).where(among(_run.id, "runs", run_ids), _run.parent_id.is_not(None))
    yield from connection.execute(parents).scalars()
    models = (
        sa.select(_model.run_id)
        .join(schema_logged.run_model, _used.model_id == _model.id)
        .where(among(_used.run_id, "runs", run_ids), _used.role == ModelRole.INPUT.value)
    )
    yield from connection.execute(models).scalars()
    repeated = sa.select(_tag.value).where(among(_tag.run_id, "runs", run_ids), _tag.key == RERUN_TAG)
    sources = (
        sa.select(sa.func.coalesce(_input.told_json, _dataset.source))
        .join(schema.run_input, _input.dataset_id == _dataset.id)
        .where(among(_input.run_id, "runs", run_ids))
    )
    for query in (repeated, sources):
        for text in connection.execute(query.distinct()).scalars():
            yield from _ID.findall(text)
