"""Tags of runs: of what is written, the last value counts; a list in a tag grows, whoever else adds to it meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.values import appended
from jupyter_mlops.store import schema, writes
from jupyter_mlops.store.calls import Append, Log
from jupyter_mlops.store.parameters import among
from jupyter_mlops.store.rows import fetch
from jupyter_mlops.store.upsert import Upsert

Key = tuple[str, str]
"""Of a row: the run's id and the tag's name."""

_tag = schema.tag.c
_VALUES = sa.select(_tag.run_id, _tag.key, _tag.value).where(among(_tag.run_id, "run_ids"), among(_tag.key, "keys"))


def _upserts(insert: Any) -> dict[str, Any]:
    tag = insert(schema.tag)
    key = ["run_id", "key"]
    return {
        "set": tag.on_conflict_do_update(index_elements=key, set_={"value": tag.excluded.value}),
        "lock": tag.on_conflict_do_update(index_elements=key, set_={"value": _tag.value}),
    }


_UPSERT = Upsert(_upserts)


def write(connection: Connection, logs: Sequence[Log]) -> None:
    """Write the tags of the logs, as if these came one after the other."""
    added = [log for log in logs if isinstance(log, Append)]
    if added:
        keys = {key for log in logs for key in log.tags} | {(log.run_id, log.key) for log in added}
        tags = _locked(connection, sorted(keys))
        for log in logs:
            tags.update(log.tags)
            if isinstance(log, Append):
                key = (log.run_id, log.key)
                tags[key] = appended(log.key, tags[key], log.item).value
    else:
        tags = {key: value for log in logs for key, value in log.tags.items()}
    writes.insert(connection, (_UPSERT.on(connection)["set"], _rows(sorted(tags.items()))))


def _locked(connection: Connection, keys: Sequence[Key]) -> dict[Key, str]:
    """The values of tags, which no other transaction writes until this one ends; empty texts for new ones, whose rows
    are inserted, since only what is there can be locked."""
    writes.insert(connection, (_UPSERT.on(connection)["lock"], _rows([(key, "") for key in keys])))
    bound = {"run_ids": list({run_id for run_id, _ in keys}), "keys": list({key for _, key in keys})}
    [rows] = fetch(connection, [_VALUES], bound)
    values = {(run_id, key): value for run_id, key, value in rows}
    return {key: values[key] for key in keys}


def _rows(tags: Sequence[tuple[Key, str]]) -> list[dict[str, str]]:
    return [{"run_id": run_id, "key": key, "value": value} for (run_id, key), value in tags]
