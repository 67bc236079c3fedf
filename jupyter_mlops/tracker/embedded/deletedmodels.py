"""Models that were deleted: what happened to their aliases stays on record, for those whom it concerned."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.records import Json
from jupyter_mlops.store import events, promotions, registry
from jupyter_mlops.store.registry import Model
from jupyter_mlops.tracker.embedded._context import Context

DELETED = "model.delete"
"""The action under which the record has it."""


def detail(model: Model) -> Json:
    """What the record keeps of a model that is deleted: who may ask about it later."""
    return {"owner": model.owner, "model_id": model.id}


def visible(context: Context, connection: Connection, name: str) -> list[str]:
    """The ids of the deleted models that were called ``name`` and had aliases, oldest first: all to administrators, to
    others those that were theirs."""
    ids = registry.deleted_called(connection, name)
    return [id for id in ids if _may_know(context.principal, _owner(connection, name, id))] if ids else []


def shows_request(context: Context, connection: Connection, request_id: str) -> bool:
    """Whether a request is about a deleted model of which the principal may know."""
    found = promotions.about(connection, request_id)
    if found is None or registry.name_of(connection, found[0]) is not None:
        return False
    model_id, name = found
    return _may_know(context.principal, _owner(connection, name, model_id))


def _owner(connection: Connection, name: str, model_id: str) -> str | None:
    """Whose it was in the end; None when the record does not say."""
    for entry in events.audit_of(connection, DELETED, name):
        if isinstance(entry, dict) and entry.get("model_id") == model_id and isinstance(entry.get("owner"), str):
            return str(entry["owner"])
    return None


def _may_know(principal: Principal, owner: str | None) -> bool:
    return principal.scope >= Scope.ADMIN or (owner is not None and principal.scope_on(owner) >= Scope.READ)
