"""Models that runs logged, before anybody registers one: MLflow's *logged models*."""

from __future__ import annotations

from enum import Enum

import msgspec

from jupyter_mlops.core.records import Param, Record, Tag


class LoggedModelStatus(str, Enum):
    PENDING = "PENDING"
    """Its files are on their way."""
    READY = "READY"
    FAILED = "FAILED"
    """Its files did not come."""


class ModelRole(str, Enum):
    """What a run has to do with a logged model."""

    INPUT = "input"
    OUTPUT = "output"


class ModelMetric(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The latest point of a metric of a logged model, as one run measured it on one data set."""

    key: str
    value: float
    timestamp: int
    step: int
    run_id: str
    dataset_name: str = ""
    dataset_digest: str = ""


class LoggedModel(Record, frozen=True, kw_only=True):
    """A folder of a run's files that holds a model, with what is known of it."""

    model_id: str
    name: str
    experiment_id: str
    run_id: str
    """The run that has its files."""
    path: str
    """The folder there."""
    own_run: bool = False
    """Whether that run was made for it, because none had been named."""
    origin: str = ""
    """What it was said to come from, where that is no run here."""
    model_type: str = ""
    status: LoggedModelStatus
    created: int
    updated: int
    params: tuple[Param, ...] = ()
    metrics: tuple[ModelMetric, ...] = ()
    tags: tuple[Tag, ...] = ()
    versions: tuple[tuple[str, int], ...] = ()
    """The versions registered from it that the caller may see: names of models and numbers."""


class ModelUse(Record, frozen=True, kw_only=True):
    """A run's use of a logged model."""

    run_id: str
    model_id: str
    role: ModelRole
    step: int = 0
    """At which an output was logged."""
