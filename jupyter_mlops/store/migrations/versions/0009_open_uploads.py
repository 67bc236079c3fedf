"""Open uploads count for their owners. What one that is open now has brought is not counted, for a day at most."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("upload", sa.Column("experiment_id", sa.String(length=32), nullable=True))
    op.add_column("upload", sa.Column("bytes", sa.BigInteger(), nullable=True))
    op.add_column("upload", sa.Column("declared", sa.BigInteger(), nullable=True))
