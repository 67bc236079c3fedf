"""The tables of logged models, beside :mod:`.schema`. Their files are their run's."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, ForeignKey, Index, String, Table, Text

from jupyter_mlops.store.schema import metadata


def _model_id() -> Column[str]:
    return Column("model_id", String(32), ForeignKey("logged_model.id", ondelete="CASCADE"), primary_key=True)


# `path` is the folder of the run; one of a deleted model may be used again.
logged_model = Table(
    "logged_model",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("run_id", String(32), ForeignKey("run.id", ondelete="CASCADE"), nullable=False),
    Column("experiment_id", String(32), nullable=False),
    Column("name", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("own_run", Boolean, nullable=False),
    Column("origin", Text, nullable=False),
    Column("model_type", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("lifecycle", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Index(None, "run_id"),
    Index(None, "experiment_id", "lifecycle", "created", "id"),
)

logged_model_param = Table(
    "logged_model_param",
    metadata,
    _model_id(),
    Column("key", Text, primary_key=True),
    Column("value_json", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("number", Double),
    Column("redacted", Boolean, nullable=False),
)

logged_model_tag = Table(
    "logged_model_tag",
    metadata,
    _model_id(),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# The latest point by run and data set; `bits` and `value` as in `metric`.
logged_model_metric = Table(
    "logged_model_metric",
    metadata,
    _model_id(),
    Column("key", Text, primary_key=True),
    Column("run_id", String(32), primary_key=True),
    Column("dataset_name", Text, primary_key=True),
    Column("dataset_digest", Text, primary_key=True),
    Column("bits", BigInteger, nullable=False),
    Column("value", Double),
    Column("step", BigInteger, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
)

run_model = Table(
    "run_model",
    metadata,
    Column("run_id", String(32), ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    _model_id(),
    Column("role", Text, primary_key=True),
    Column("step", BigInteger, nullable=False),
    Index(None, "model_id"),
)
