"""Prompts, which MLflow keeps among registered models, and which are not offered."""

from __future__ import annotations

from collections.abc import Mapping

from jupyter_mlops.core.errors import NotSupported
from jupyter_mlops.core.filters import Entity, FieldKind, Operator, parse_filter, render_filter

PROMPT_TAG = "mlflow.prompt.is_prompt"


def without_prompts(filter: str, entity: Entity) -> str:
    """A filter without what leaves prompts out, which clients ask for on their own: there are none."""
    if PROMPT_TAG not in filter:
        return filter
    kept = tuple(
        each
        for each in parse_filter(filter, entity)
        if (each.field.kind, each.field.key, each.operator) != (FieldKind.TAG, PROMPT_TAG, Operator.NE)
    )
    return render_filter(kept)


def refuse_prompt(tags: Mapping[str, str]) -> None:
    """Raise ``NotSupported`` for what is to become a prompt."""
    if PROMPT_TAG in tags:
        raise NotSupported("prompts of MLflow's API are not offered here")
