"""What owners hold, counted, and what administrators set for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_COUNT = (
    """
    INSERT INTO usage (holder, runs, bytes, points)
    SELECT experiment.id,
           (SELECT count(*) FROM run WHERE run.experiment_id = experiment.id),
           (SELECT coalesce(sum(blob.size), 0) FROM run JOIN artifact ON artifact.holder = run.id
            JOIN blob ON blob.id = artifact.blob_id WHERE run.experiment_id = experiment.id),
           (SELECT coalesce(sum(metric.count), 0) FROM metric WHERE metric.experiment_id = experiment.id)
    FROM experiment
    """,
    """
    INSERT INTO usage (holder, runs, bytes, points)
    SELECT model.id, 0,
           (SELECT coalesce(sum(blob.size), 0) FROM model_version JOIN artifact ON artifact.holder = model_version.id
            JOIN blob ON blob.id = artifact.blob_id WHERE model_version.model_id = model.id),
           0
    FROM model
    """,
)


def upgrade() -> None:
    op.create_table(
        "usage",
        sa.Column("holder", sa.String(length=32), nullable=False),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("holder", name=op.f("pk_usage")),
    )
    op.create_table(
        "owner_rule",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("rule_json", sa.Text(), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject", name=op.f("pk_owner_rule")),
    )
    op.create_index(op.f("ix_model_owner"), "model", ["owner"], unique=False)
    for statement in _COUNT:
        op.execute(statement)
