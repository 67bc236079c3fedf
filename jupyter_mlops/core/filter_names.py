"""What a search may name: the fields of each kind of thing, under MLflow's names for them."""

from __future__ import annotations

from enum import Enum

import msgspec

from jupyter_mlops.core.logged_model import LoggedModelStatus
from jupyter_mlops.core.records import RunKind, RunStatus


class Entity(str, Enum):
    """What is searched."""

    RUN = "run"
    EXPERIMENT = "experiment"
    MODEL = "registered model"
    VERSION = "model version"
    LOGGED = "logged model"


class FieldKind(str, Enum):
    """Where a field's value is kept. The values are how a filter spells them."""

    METRIC = "metrics"
    PARAM = "params"
    TAG = "tags"
    ATTRIBUTE = "attributes"
    DATASET = "datasets"


class Attribute(msgspec.Struct, frozen=True):
    """A field that each thing of an entity has. ``name`` is the field of its record."""

    name: str
    aliases: tuple[str, ...] = ()
    number: bool = False
    nullable: bool = False
    choices: tuple[str, ...] = ()
    """All values there are, where that is known."""


PREFIXES: dict[str, FieldKind] = {
    **dict.fromkeys(("metrics", "metric"), FieldKind.METRIC),
    **dict.fromkeys(("params", "param", "parameters", "parameter"), FieldKind.PARAM),
    **dict.fromkeys(("tags", "tag"), FieldKind.TAG),
    **dict.fromkeys(("attributes", "attribute", "attr", "run"), FieldKind.ATTRIBUTE),
    **dict.fromkeys(("datasets", "dataset"), FieldKind.DATASET),
}
"""What may stand before the dot, as MLflow spells it (in lower case)."""

KINDS: dict[Entity, tuple[FieldKind, ...]] = {
    Entity.RUN: tuple(FieldKind),
    Entity.EXPERIMENT: (FieldKind.ATTRIBUTE, FieldKind.TAG),
    Entity.MODEL: (FieldKind.ATTRIBUTE, FieldKind.TAG),
    Entity.VERSION: (FieldKind.ATTRIBUTE, FieldKind.TAG),
    Entity.LOGGED: tuple(FieldKind),
}

DATASET_KEYS = ("name", "digest", "context")

_CREATED = Attribute("created", ("creation_time", "creation_timestamp", "timestamp"), number=True)
_UPDATED = Attribute("updated", ("last_update_time", "last_updated_timestamp"), number=True)

ATTRIBUTES: dict[Entity, tuple[Attribute, ...]] = {
    Entity.RUN: (
        Attribute("run_id"),
        Attribute("experiment_id"),
        Attribute("name", ("run_name", "run name", "Run name", "Run Name")),
        Attribute("status", choices=tuple(status.value for status in RunStatus)),
        Attribute("kind", choices=tuple(kind.value for kind in RunKind)),
        Attribute("user", ("user_id",)),
        Attribute("source"),
        Attribute("parent_run_id", nullable=True),
        Attribute("start_time", ("created", "Created"), number=True),
        Attribute("end_time", number=True, nullable=True),
    ),
    Entity.EXPERIMENT: (Attribute("experiment_id"), Attribute("name"), Attribute("owner"), _CREATED, _UPDATED),
    Entity.MODEL: (Attribute("name"), Attribute("owner"), _CREATED, _UPDATED),
    Entity.VERSION: (
        Attribute("model", ("name",)),
        Attribute("version", ("version_number",), number=True),
        Attribute("run_id", nullable=True),
        Attribute("source", ("source_path",)),
        Attribute("digest"),
        Attribute("user", ("user_id",)),
        _CREATED,
        _UPDATED,
    ),
    Entity.LOGGED: (
        Attribute("model_id"),
        Attribute("name", ("model_name",)),
        Attribute("experiment_id"),
        Attribute("run_id", ("source_run_id",)),
        Attribute("model_type"),
        Attribute("status", choices=tuple(status.value for status in LoggedModelStatus)),
        _CREATED,
        _UPDATED,
    ),
}

MLFLOW_TAGS = {
    "mlflow.runName": "name",
    "mlflow.parentRunId": "parent_run_id",
    "mlflow.user": "user",
    "mlflow.source.name": "source",
}
"""Tags in which MLflow keeps what are attributes of a run here: a search may name them so, too."""

_BY_NAME: dict[Entity, dict[str, Attribute]] = {
    entity: {name: attribute for attribute in attributes for name in (attribute.name, *attribute.aliases)}
    for entity, attributes in ATTRIBUTES.items()
}


def find_attribute(entity: Entity, name: str) -> Attribute | None:
    """The attribute of ``entity`` known as ``name``, in its own or in MLflow's spelling."""
    return _BY_NAME[entity].get(name)


def attribute_names(entity: Entity) -> tuple[str, ...]:
    """Every accepted spelling of the attributes of ``entity``."""
    return tuple(_BY_NAME[entity])
