"""Shared experiments, restricted models, who submitted a run, whose a stream is, and who may learn of an event."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "experiment_share",
        sa.Column("experiment_id", sa.String(length=32), nullable=False),
        sa.Column("grantee", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiment.id"],
            name=op.f("fk_experiment_share_experiment_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("experiment_id", "grantee", name=op.f("pk_experiment_share")),
    )
    op.create_index(
        op.f("ix_experiment_share_grantee_experiment_id"),
        "experiment_share",
        ["grantee", "experiment_id"],
        unique=False,
    )
    op.add_column("run", sa.Column("submitted_by", sa.Text(), nullable=True))
    op.add_column("stream", sa.Column("created_by", sa.Text(), nullable=True))
    op.add_column("model", sa.Column("restricted", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("event", sa.Column("experiment_id", sa.String(length=32), nullable=True))
    op.add_column("event", sa.Column("restricted", sa.Boolean(), nullable=False, server_default=sa.false()))
