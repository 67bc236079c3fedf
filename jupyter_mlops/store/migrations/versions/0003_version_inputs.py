"""What data sets a model version came from, known also when its run is gone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "version_input",
        sa.Column("version_id", sa.String(length=32), nullable=False),
        sa.Column("dataset_id", sa.String(length=32), nullable=False),
        sa.Column("context", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_version_input_dataset_id")),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["model_version.id"],
            name=op.f("fk_version_input_version_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("version_id", "dataset_id", "context", name=op.f("pk_version_input")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_version_input_dataset_id"), "version_input", ["dataset_id"], unique=False)
    op.execute(
        "INSERT INTO version_input (version_id, dataset_id, context)"
        " SELECT model_version.id, run_input.dataset_id, run_input.context"
        " FROM model_version JOIN run_input ON run_input.run_id = model_version.run_id"
    )
