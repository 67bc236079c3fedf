"""The tables. The one place where names of tables and columns are written down; ``migrations/`` brings a database here.

Ids are 32 hex digits, times are milliseconds since the epoch. ``lifecycle``, ``status`` and ``kind`` hold the values of
the enumerations in :mod:`jupyter_mlops.core.records`. Columns that end in ``_json`` hold JSON text.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    sql,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only in a column declared INTEGER.
_RowNumber = BigInteger().with_variant(Integer, "sqlite")


def _id(name: str, *args: object, **kwargs: object) -> Column[str]:
    return Column(name, String(32), *args, **kwargs)  # type: ignore[arg-type]


experiment = Table(
    "experiment",
    metadata,
    _id("id", primary_key=True),
    Column("name", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("lifecycle", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    UniqueConstraint("owner", "name"),
)

experiment_tag = Table(
    "experiment_tag",
    metadata,
    _id("experiment_id", ForeignKey("experiment.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# Whom an experiment is open to besides its owner: `grantee` is a form of :mod:`jupyter_mlops.core.access`.
experiment_share = Table(
    "experiment_share",
    metadata,
    _id("experiment_id", ForeignKey("experiment.id", ondelete="CASCADE"), primary_key=True),
    Column("grantee", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Index(None, "grantee", "experiment_id"),
)

run = Table(
    "run",
    metadata,
    _id("id", primary_key=True),
    _id("experiment_id", ForeignKey("experiment.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason_json", Text),
    Column("created", BigInteger, nullable=False),
    Column("start_time", BigInteger, nullable=False),
    Column("end_time", BigInteger),
    Column("lifecycle", Text, nullable=False),
    # Which deletion took the run (its own id, its parent's or its experiment's), so that a restore brings back exactly
    # what that deletion took.
    _id("deleted_with"),
    Column("deleted_at", BigInteger),
    _id("parent_id"),
    Column("source", Text, nullable=False),
    Column("hidden_state", Text),
    Column("progress_done", Integer),
    Column("progress_total", Integer),
    Column("progress_failed", Integer),
    Column("runner_json", Text),
    Column("heartbeat", BigInteger),
    Column("submitted_by", Text),
    Index(None, "experiment_id", "lifecycle", "start_time", "id"),
    Index(None, "lifecycle", "start_time", "id"),
    Index(None, "status"),
    Index(None, "parent_id"),
    Index(None, "name"),
)

# Tables of many small rows that are read by their key are kept in its order in SQLite, too (`WITHOUT ROWID`).
param = Table(
    "param",
    metadata,
    _id("run_id", ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value_json", Text, nullable=False),
    Column("text", Text, nullable=False),
    # The value where it is a number (booleans are not), for native filters by type.
    Column("number", Double),
    Column("redacted", Boolean, nullable=False),
    sqlite_with_rowid=False,
)

tag = Table(
    "tag",
    metadata,
    _id("run_id", ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)

# One row per (run, metric): the latest point by MLflow's rule, and bounds. `bits` is the IEEE 754 pattern of the value
# as a signed integer, since SQLite turns -0.0 into 0.0 and NaN into NULL; `value` is the same to sort and filter by,
# NULL for NaN.
metric = Table(
    "metric",
    metadata,
    _id("run_id", ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    _id("experiment_id", nullable=False),
    Column("bits", BigInteger, nullable=False),
    Column("value", Double),
    Column("step", BigInteger, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("min", Double),
    Column("max", Double),
    Index(None, "experiment_id", "key", "value", "run_id"),
    sqlite_with_rowid=False,
)

# A metric's history: packed points, in the order of `id` and, inside, in the order logged.
metric_chunk = Table(
    "metric_chunk",
    metadata,
    Column("id", _RowNumber, primary_key=True, autoincrement=True),
    _id("run_id", ForeignKey("run.id", ondelete="CASCADE"), nullable=False),
    Column("key", Text, nullable=False),
    Column("count", Integer, nullable=False),
    Column("codec", Integer, nullable=False),
    Column("points", LargeBinary, nullable=False),
    Index(None, "run_id", "key", "id"),
    sqlite_autoincrement=True,
)

# What was first said of a data set. Whoever says something else of one of this name and digest keeps that with their
# input (`told_json`, all of it): none sees, or says, what another one said.
dataset = Table(
    "dataset",
    metadata,
    _id("id", primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("source_type", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("schema_json", Text),
    Column("profile_json", Text),
    Column("rows", BigInteger),
    UniqueConstraint("name", "digest"),
    Index(None, "digest"),
)

run_input = Table(
    "run_input",
    metadata,
    _id("run_id", ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    _id("dataset_id", ForeignKey("dataset.id"), primary_key=True),
    Column("context", Text, primary_key=True),
    Column("tags_json", Text, nullable=False),
    Column("told_json", Text),
    Index(None, "dataset_id"),
    sqlite_with_rowid=False,
)

run_comment = Table(
    "run_comment",
    metadata,
    _id("id", primary_key=True),
    _id("run_id", ForeignKey("run.id", ondelete="CASCADE"), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Index(None, "run_id", "created"),
)

# Bytes, once per content. The object's key in the artifact location is `id`, the id of the upload that brought it, so
# that a late delete can never hit a later upload of the same content.
blob = Table(
    "blob",
    metadata,
    _id("id", primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("size", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
)

# Leases of long uploads: `id` is the key of an object that has no row yet and is not collected until `lease_until`; or
# the holder of the parts of an upload in parts (store/staging.py), which are given up then. Its `bytes`, or those that
# it was `declared` to have, if these are more, count for the owner of `experiment_id`; no foreign key, since the
# experiment may go first.
upload = Table(
    "upload",
    metadata,
    _id("id", primary_key=True),
    Column("started", BigInteger, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    _id("experiment_id"),
    Column("bytes", BigInteger),
    Column("declared", BigInteger),
)

# A file of a run or of a model version, or a part of an upload: `holder` is the id of any of them.
artifact = Table(
    "artifact",
    metadata,
    _id("holder", primary_key=True),
    Column("path", Text, primary_key=True),
    _id("blob_id", ForeignKey("blob.id"), nullable=False),
    Column("created", BigInteger, nullable=False),
    Index(None, "blob_id"),
)

model = Table(
    "model",
    metadata,
    _id("id", primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("owner", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Column("last_version", Integer, nullable=False),
    Column("restricted", Boolean, nullable=False, server_default=sql.false()),
    Index(None, "owner"),
)

model_tag = Table(
    "model_tag",
    metadata,
    _id("model_id", ForeignKey("model.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

model_version = Table(
    "model_version",
    metadata,
    _id("id", primary_key=True),
    _id("model_id", ForeignKey("model.id", ondelete="CASCADE"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("description", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    # No foreign key: the lineage stays readable after the run was collected.
    _id("run_id"),
    Column("source", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("safe", Boolean, nullable=False),
    Column("flavors_json", Text, nullable=False),
    # Of a logged model, where it was registered from one; no foreign key, as with the run.
    _id("logged_model_id"),
    UniqueConstraint("model_id", "version"),
    Index(None, "run_id"),
    Index(None, "logged_model_id"),
)

version_tag = Table(
    "version_tag",
    metadata,
    _id("version_id", ForeignKey("model_version.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# The data sets that the version's run had used when it was registered; they outlive the run.
version_input = Table(
    "version_input",
    metadata,
    _id("version_id", ForeignKey("model_version.id", ondelete="CASCADE"), primary_key=True),
    _id("dataset_id", ForeignKey("dataset.id"), primary_key=True),
    Column("context", Text, primary_key=True),
    Column("told_json", Text),
    Index(None, "dataset_id"),
    sqlite_with_rowid=False,
)

# No cascade from the version: a version that an alias points at cannot be deleted, whatever code tries.
alias = Table(
    "alias",
    metadata,
    _id("model_id", ForeignKey("model.id"), primary_key=True),
    Column("alias", Text, primary_key=True),
    _id("version_id", ForeignKey("model_version.id"), nullable=False),
    Index(None, "version_id"),
)

# Append-only, and without foreign keys: it outlives what it tells of.
alias_move = Table(
    "alias_move",
    metadata,
    Column("id", _RowNumber, primary_key=True, autoincrement=True),
    _id("model_id", nullable=False),
    Column("model", Text, nullable=False),
    Column("alias", Text, nullable=False),
    Column("version", Integer),
    Column("replaced", Integer),
    Column("moved_by", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Index(None, "model_id", "alias", "id"),
    sqlite_autoincrement=True,
)

# What a client's numbered stream has reached; see core.records.StreamPosition. Nobody but `created_by` can advance it,
# where that is known.
stream = Table(
    "stream",
    metadata,
    Column("id", Text, primary_key=True),
    Column("watermark", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Column("created_by", Text),
)

# An outbox of what changed, for live views and webhooks; trimmed. Written in the transaction of what it tells. Who may
# learn of it follows from `owner`, from `experiment_id` and its shares (of an experiment and what is in it), and from
# `restricted` (of a registered model and its versions).
event = Table(
    "event",
    metadata,
    Column("id", _RowNumber, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("detail_json", Text),
    _id("experiment_id"),
    Column("restricted", Boolean, nullable=False, server_default=sql.false()),
    sqlite_autoincrement=True,
)

# Who did what; permanent. Written in the transaction of what it tells.
audit = Table(
    "audit",
    metadata,
    Column("number", _RowNumber, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("detail_json", Text),
    sqlite_autoincrement=True,
)

# Facts about the store itself: its id, where its artifacts are.
setting = Table(
    "setting",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    CheckConstraint("length(key) > 0", name="key_present"),
)
