"""Facts that a store keeps about itself."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.store import schema
from jupyter_mlops.store.upsert import Upsert

ARTIFACTS_URL = "artifacts.url"
"""Where the files are: a URL or an absolute path, or the name of the folder beside the SQLite file."""

_setting = schema.setting.c
_GET = sa.select(_setting.value).where(_setting.key == sa.bindparam("name"))
_HOLD = _GET.with_for_update(read=True, key_share=True)
_LOCK = _GET.with_for_update()
_SET_FIRST = Upsert(lambda insert: insert(schema.setting).on_conflict_do_nothing())


def get(connection: Connection, key: str) -> str | None:
    """The value kept under ``key``."""
    return connection.execute(_GET, {"name": key}).scalar()


def hold(connection: Connection, key: str) -> str | None:
    """The value kept under ``key``, which nobody who takes :func:`lock` changes before the transaction ends."""
    return connection.execute(_HOLD, {"name": key}).scalar()


def lock(connection: Connection, key: str) -> str | None:
    """The value kept under ``key``, once all who hold it have ended; others wait for this transaction's end."""
    return connection.execute(_LOCK, {"name": key}).scalar()


def set_first(connection: Connection, key: str, value: str) -> None:
    """Keep ``value`` unless there is one."""
    connection.execute(_SET_FIRST.on(connection), {"key": key, "value": value})


def swap(connection: Connection, key: str, old: str, new: str) -> bool:
    """Keep ``new`` in place of ``old``; False when something else is kept by now. Of several that try at once one
    succeeds."""
    changed = sa.update(schema.setting).where(_setting.key == key, _setting.value == old).values(value=new)
    return connection.execute(changed).rowcount == 1


def replace(connection: Connection, key: str, value: str) -> None:
    """Keep ``value`` in place of the one there is."""
    connection.execute(sa.update(schema.setting).where(_setting.key == key).values(value=value))
