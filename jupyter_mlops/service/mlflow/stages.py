"""Stages, which MLflow had before aliases: ``Staging`` and ``Production`` are the aliases of these names, so that what
protects an alias protects a stage, and one version is in each."""

from __future__ import annotations

from jupyter_mlops.core.errors import InvalidValue, NotFound
from jupyter_mlops.core.records import ModelVersion
from jupyter_mlops.core.values import short
from jupyter_mlops.tracker.embedded import EmbeddedTracker

NONE, ARCHIVED = "None", "Archived"
ALIASES = {"Production": "production", "Staging": "staging"}
STAGE_TAG = "mlflow.stage"
"""Of archived versions."""

_STAGES = (NONE, "Staging", "Production", ARCHIVED)
_REASON = "a stage, set through MLflow's API"


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
    """Put a version in a stage; gives it as it is then. With ``archive``, which was there before is archived."""
    models = tracker.models
    version = models.version(name, number)
    alias = ALIASES.get(stage)
    before = None
    if alias is not None and alias not in version.aliases:
        if archive:
            before = next((each for each in models.get(name).aliases if each.alias == alias), None)
        models.set_alias(name, alias, number, reason=_REASON)
    for other in ALIASES.values():
        if other in version.aliases and other != alias:
            models.delete_alias(name, other, reason=_REASON)
    if before is not None and before.version != number:
        models.set_tags(name, {STAGE_TAG: ARCHIVED}, version=before.version)
    if stage == ARCHIVED:
        models.set_tags(name, {STAGE_TAG: ARCHIVED}, version=number)
    elif any(tag.key == STAGE_TAG for tag in version.tags):
        try:
            models.delete_tag(name, STAGE_TAG, version=number)
        except NotFound:
            # Somebody else did so meanwhile.
            return models.version(name, number)
    return models.version(name, number)
