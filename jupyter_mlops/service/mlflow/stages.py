"""Stages, which MLflow had before aliases: ``Staging`` and ``Production`` are the aliases of these names, so that what
protects an alias protects a stage, and one version is in each."""

from __future__ import annotations

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import ModelVersion, Tag
from jupyter_mlops.core.values import short
from jupyter_mlops.tracker.embedded import EmbeddedTracker

NONE, ARCHIVED = "None", "Archived"
ALIASES = {"Production": "production", "Staging": "staging"}
STAGE_TAG = "mlflow.stage"
"""Of archived versions."""

_STAGES = (NONE, "Staging", "Production", ARCHIVED)
_REASON = "a stage, set through MLflow's API"
_ARCHIVED_TAGS = (Tag(STAGE_TAG, ARCHIVED),)


def stage_of(version: ModelVersion) -> str:
    """The stage that a version is in."""
    for stage, alias in ALIASES.items():
        if alias in version.aliases:
            return stage
    archived = any(tag.key == STAGE_TAG and tag.value == ARCHIVED for tag in version.tags)
    return ARCHIVED if archived else NONE


def stage_named(name: str) -> str:
    """The stage of that name, whatever its case."""
    for stage in _STAGES:
        if stage.lower() == name.lower():
            return stage
    raise InvalidValue(f"Invalid Model Version stage: {short(name)}. Value must be one of {', '.join(_STAGES)}.")


def transition(tracker: EmbeddedTracker, name: str, number: int, stage: str, archive: bool) -> ModelVersion:
    """Put a version in a stage, in one transaction; gives it as it is then. With ``archive``, which was there before is
    archived."""
    alias = ALIASES.get(stage)
    with tracker.models.changing(name) as change:
        version = change.version(number)
        if alias is not None and alias not in version.aliases:
            before = change.target(alias)
            change.set_alias(alias, number, _REASON)
            if archive and before is not None:
                change.set_tags(_ARCHIVED_TAGS, before)
        for other in ALIASES.values():
            if other in version.aliases and other != alias:
                change.delete_alias(other, _REASON)
        if stage == ARCHIVED:
            change.set_tags(_ARCHIVED_TAGS, number)
        elif any(tag.key == STAGE_TAG for tag in version.tags):
            change.delete_tag(STAGE_TAG, number)
        return change.version(number)
