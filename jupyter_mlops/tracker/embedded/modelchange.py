"""What one transaction changes of a model that it has locked: several changes are made together, or none of them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.engine import Connection

from jupyter_mlops.core import values
from jupyter_mlops.core.errors import NotFound
from jupyter_mlops.core.records import ModelVersion, Tag
from jupyter_mlops.store import registry
from jupyter_mlops.store.registry import Model
from jupyter_mlops.tracker.embedded import aliases
from jupyter_mlops.tracker.embedded._context import Context
from jupyter_mlops.tracker.embedded.aliases import named, require_version


class ModelChange:
    """Changes of ``model``, which the principal may write to; what names, tags and reasons may be was asked before."""

    def __init__(self, context: Context, connection: Connection, model: Model) -> None:
        self._context = context
        self._connection = connection
        self._model = model

    def version(self, number: int) -> ModelVersion:
        """The version as it is now."""
        version_id = require_version(self._connection, self._model, number)
        return registry.load_versions(self._connection, [version_id])[0]

    def target(self, alias: str) -> int | None:
        """The number of the version that the alias points at now."""
        found = registry.alias_target(self._connection, self._model.id, alias)
        return None if found is None else found[1]

    def set_tags(self, tags: Sequence[Tag], version: int | None = None) -> None:
        if version is None:
            registry.set_tags(self._connection, self._model.id, tags)
            self.touch()
        else:
            version_id = require_version(self._connection, self._model, version)
            registry.set_version_tags(self._connection, version_id, tags)
            self.touch(version_id)

    def delete_tag(self, key: str, version: int | None = None) -> None:
        version_id = None if version is None else require_version(self._connection, self._model, version)
        if version_id is None:
            deleted = registry.delete_tag(self._connection, self._model.id, key)
        else:
            deleted = registry.delete_version_tag(self._connection, version_id, key)
        if not deleted:
            raise NotFound(f"{named(self._model.name, version)} has no tag {values.short(key)}")
        self.touch(version_id)

    def set_alias(self, alias: str, version: int, reason: str) -> None:
        target = (require_version(self._connection, self._model, version), version)
        before = registry.alias_target(self._connection, self._model.id, alias)
        if before != target:
            self._move(alias, target, before, reason)

    def delete_alias(self, alias: str, reason: str) -> None:
        before = registry.alias_target(self._connection, self._model.id, alias)
        if before is None:
            raise no_alias(self._connection, self._model, alias)
        self._move(alias, None, before, reason)

    def touch(self, version_id: str | None = None) -> None:
        """Note, and tell, that the model was changed, and the version if one is given."""
        now = self._context.clock()
        if version_id is not None:
            registry.update_version(self._connection, version_id, now)
        registry.update(self._connection, self._model.id, now)
        aliases.announce(self._context, self._connection, "model.changed", self._model)

    def _move(self, alias: str, after: aliases.Target | None, before: aliases.Target | None, reason: str) -> None:
        aliases.require_free(self._connection, self._model, alias)
        aliases.move(self._context, self._connection, self._model, alias, after=after, before=before, reason=reason)


def no_alias(connection: Connection, model: Model, alias: str) -> NotFound:
    """The error that the model has none of that name."""
    known = ", ".join(registry.aliases(connection, model.id))
    return NotFound(
        f"{named(model.name)} has no alias {values.short(alias)} ({f'it has {known}' if known else 'it has none'})"
    )
