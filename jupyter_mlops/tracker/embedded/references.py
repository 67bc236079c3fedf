"""Versions of what is elsewhere: of another version, whose files they share, or of what is not kept here."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from sqlalchemy.engine import Connection

from jupyter_mlops.core import values
from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import ModelVersion, Tag
from jupyter_mlops.core.redaction import redact_tags, redact_text
from jupyter_mlops.store import artifacts, events, registry, usage, webhooks
from jupyter_mlops.store.artifacts import File
from jupyter_mlops.tracker.embedded.aliases import require_version
from jupyter_mlops.tracker.embedded.loggedmodels import require_logged
from jupyter_mlops.tracker.embedded.model_cards import EmbeddedModelCards

_VERSION = re.compile(r"models:/([^/:]+)/([0-9]{1,10})")
_LONGEST_RUN_ID = 32


@checked
class EmbeddedReferences(EmbeddedModelCards):
    """Part of :class:`jupyter_mlops.tracker.protocol.Models`."""

    def refer(
        self,
        name: str,
        source: str,
        *,
        run_id: str | None = None,
        logged_model_id: str | None = None,
        description: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> ModelVersion:
        values.check_name(source, "source", values.LONGEST_RUN_SOURCE)
        values.description(description)
        if run_id is not None:
            values.check_name(run_id, "run_id", _LONGEST_RUN_ID)
        labels = registry_tags(tags or {})
        other = _VERSION.fullmatch(source)
        context = self._context
        with context.write() as connection:
            # In one order, so that two that copy each other's do not wait for each other.
            for each in sorted({name, other[1]} if other else {name}):
                registry.find(connection, each, lock=True)
            model = context.model_allowed(connection, name, Scope.WRITE)
            now = context.clock()
            new = ModelVersion(
                model=name,
                version=0,
                description=description,
                user=context.principal.name,
                created=now,
                updated=now,
                run_id=run_id,
                source=redact_text(source),
                safe=False,
                logged_model_id=logged_model_id,
                tags=labels,
            )
            if logged_model_id is not None:
                require_logged(context, connection, logged_model_id, Scope.READ)
            files: tuple[File, ...] = ()
            copied = None
            if other is not None:
                copied, new, files = self._copy(connection, new, other[1], int(other[2]))
            number = registry.insert_version(connection, model.id, new_id(), new, files, copy_of=copied)
            user = context.principal.name
            webhooks.announce(connection, model, "version.created", now, user, {"version": number})
            detail = {"version": number, "source": new.source, "digest": new.digest}
            events.add_audit(connection, user, "version.create", name, now, detail)
            held = sum(file.blob.size for file in files)
            usage.charge(connection, [usage.Growth(model.id, model.owner, bytes=held)])
        return msgspec.structs.replace(new, version=number)

    def _copy(
        self, connection: Connection, new: ModelVersion, name: str, number: int
    ) -> tuple[str, ModelVersion, tuple[File, ...]]:
        """The id of the version that is copied, what the new one has of it, and its files."""
        model = self._context.model_allowed(connection, name, Scope.READ)
        version_id = require_version(connection, model, number)
        found = registry.load_versions(connection, [version_id])[0]
        if new.run_id not in (None, found.run_id):
            raise InvalidValue(f"{new.source} comes from run {found.run_id}, not from {values.short(new.run_id)}")
        copied = msgspec.structs.replace(
            new,
            run_id=found.run_id,
            digest=found.digest,
            size=found.size,
            safe=found.safe,
            flavors=found.flavors,
            logged_model_id=found.logged_model_id,
        )
        return version_id, copied, artifacts.walk_files(connection, version_id)


def registry_tags(tags: Mapping[str, str]) -> tuple[Tag, ...]:
    """Tags of a registered model or a version, checked."""
    longest = values.LONGEST_REGISTRY_TAG
    return redact_tags(values.tag(key, value, longest=longest) for key, value in sorted(tags.items()))
