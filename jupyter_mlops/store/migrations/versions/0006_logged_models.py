"""Models that runs logged, with what is known of them, and from which a version was registered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "logged_model",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("experiment_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("own_run", sa.Boolean(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("model_type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("lifecycle", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_logged_model_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_logged_model")),
    )
    op.create_index(op.f("ix_logged_model_run_id"), "logged_model", ["run_id"], unique=False)
    op.create_index(
        op.f("ix_logged_model_experiment_id_lifecycle_created_id"),
        "logged_model",
        ["experiment_id", "lifecycle", "created", "id"],
        unique=False,
    )
    op.create_table(
        "logged_model_param",
        sa.Column("model_id", sa.String(length=32), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value_json", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("number", sa.Double(), nullable=True),
        sa.Column("redacted", sa.Boolean(), nullable=False),
        _of_model("logged_model_param"),
        sa.PrimaryKeyConstraint("model_id", "key", name=op.f("pk_logged_model_param")),
    )
    op.create_table(
        "logged_model_tag",
        sa.Column("model_id", sa.String(length=32), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        _of_model("logged_model_tag"),
        sa.PrimaryKeyConstraint("model_id", "key", name=op.f("pk_logged_model_tag")),
    )
    op.create_table(
        "logged_model_metric",
        sa.Column("model_id", sa.String(length=32), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("dataset_name", sa.Text(), nullable=False),
        sa.Column("dataset_digest", sa.Text(), nullable=False),
        sa.Column("bits", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        _of_model("logged_model_metric"),
        sa.PrimaryKeyConstraint(
            "model_id", "key", "run_id", "dataset_name", "dataset_digest", name=op.f("pk_logged_model_metric")
        ),
    )
    op.create_table(
        "run_model",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("model_id", sa.String(length=32), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_run_model_run_id"), ondelete="CASCADE"),
        _of_model("run_model"),
        sa.PrimaryKeyConstraint("run_id", "model_id", "role", name=op.f("pk_run_model")),
    )
    op.create_index(op.f("ix_run_model_model_id"), "run_model", ["model_id"], unique=False)
    op.add_column("model_version", sa.Column("logged_model_id", sa.String(length=32), nullable=True))
    op.create_index(op.f("ix_model_version_logged_model_id"), "model_version", ["logged_model_id"], unique=False)


def _of_model(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_model_id")
    return sa.ForeignKeyConstraint(["model_id"], ["logged_model.id"], name=name, ondelete="CASCADE")
