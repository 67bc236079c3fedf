"""What a run says of a data set is its own, also where another one said something else first."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run_input", sa.Column("told_json", sa.Text(), nullable=True))
    op.add_column("version_input", sa.Column("told_json", sa.Text(), nullable=True))
