"""Who loads versions, and the cards of versions: who may, then the store."""

from __future__ import annotations

import hashlib

from sqlalchemy.engine import Connection

from jupyter_mlops.core import values
from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.checks import CheckResult
from jupyter_mlops.core.errors import InvalidValue, NotFound
from jupyter_mlops.core.model_card import LONGEST_CARD, LONGEST_PURPOSE, Consumer, ModelCard, draft
from jupyter_mlops.core.records import ModelVersion, Run
from jupyter_mlops.store import consumers, events, promotions, registry, runs
from jupyter_mlops.tracker.embedded._context import Context
from jupyter_mlops.tracker.embedded.aliases import announce, require_version


@checked
class EmbeddedModelCards:
    """The part of :class:`jupyter_mlops.tracker.protocol.Models` that is about who uses versions, and about their
    cards."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def consume(self, name: str, version: int, *, reference: str = "", purpose: str = "") -> None:
        values.check_text(purpose, "purpose", LONGEST_PURPOSE)
        if reference and not reference.startswith("@"):
            raise InvalidValue(f"reference: {values.short(reference)} is no alias; write it as '@production'")
        if reference:
            values.alias_name(reference[1:])
        principal = self._context.principal
        with self._context.write() as connection:
            version_id, _ = self._version(connection, name, version, Scope.READ)
            now = self._context.clock()
            consumers.note_load(connection, version_id, principal.name, reference, purpose, now)

    def consumers(self, name: str) -> tuple[Consumer, ...]:
        principal = self._context.principal
        with self._context.read() as connection:
            model = self._context.model_allowed(connection, name, Scope.READ)
            theirs = principal.scope_on(model.owner) >= Scope.READ
            return consumers.of_model(connection, model.id, None if theirs else principal.name)

    def card(self, name: str, version: int) -> ModelCard:
        with self._context.read() as connection:
            version_id, record = self._version(connection, name, version, Scope.READ)
            written = consumers.card(connection, version_id)
            if written is not None:
                text, user, at = written
                return ModelCard(model=record.model, version=version, text=text, edited_by=user, edited=at)
            checks = self._checks(connection, name, version)
            text = draft(record, self._run(connection, record), checks)
            return ModelCard(model=record.model, version=version, text=text)

    def set_card(self, name: str, version: int, text: str) -> ModelCard:
        values.check_text(text, "text", LONGEST_CARD)
        principal = self._context.principal
        with self._context.write() as connection:
            model = self._context.model_allowed(connection, name, Scope.WRITE, lock=True)
            version_id, _ = self._version(connection, name, version, Scope.WRITE)
            now = self._context.clock()
            consumers.set_card(connection, version_id, text, principal.name, now)
            announce(self._context, connection, "model.changed", model)
            digest = hashlib.sha256(text.encode()).hexdigest() if text else None
            detail = {"version": version, "sha256": digest}
            events.add_audit(connection, principal.name, "card.edit", name, now, detail)
        return self.card(name, version)

    def _version(self, connection: Connection, name: str, version: int, scope: Scope) -> tuple[str, ModelVersion]:
        model = self._context.model_allowed(connection, name, scope)
        version_id = require_version(connection, model, version)
        return version_id, registry.load_versions(connection, [version_id])[0]

    def _checks(self, connection: Connection, name: str, version: int) -> list[CheckResult]:
        """What came of the version's checks by workers, the last of each."""
        model = self._context.model_allowed(connection, name, Scope.READ)
        found: dict[str, CheckResult] = {}
        for request in promotions.load(connection, promotions.ids_of_version(connection, model.id, version)):
            results = [each.result for each in request.checks if each.result is not None]
            found |= {result.name: result for result in results if not result.self_reported}
        return list(found.values())

    def _run(self, connection: Connection, version: ModelVersion) -> Run | None:
        """The run that the version came from, where it is there and the caller may see it."""
        if version.run_id is None:
            return None
        try:
            self._context.run_allowed(connection, version.run_id, Scope.READ)
        except NotFound:
            return None
        return next(iter(runs.load(connection, [version.run_id])), None)
