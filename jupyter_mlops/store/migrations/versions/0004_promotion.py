"""Policies of aliases, requests to move them, reviews, and the queue of checks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "policy",
        sa.Column("number", _number, autoincrement=True, nullable=False),
        sa.Column("model_id", sa.String(length=32), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("policy_json", sa.Text(), nullable=True),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_policy")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_policy_model_id_number"), "policy", ["model_id", "number"], unique=False)
    op.create_index(op.f("ix_policy_owner_number"), "policy", ["owner", "number"], unique=False)
    op.create_table(
        "promotion",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("model_id", sa.String(length=32), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=True),
        sa.Column("safe", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("champion", sa.Integer(), nullable=True),
        sa.Column("champion_digest", sa.String(length=64), nullable=True),
        sa.Column("requester", sa.Text(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("authors_json", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("policy_json", sa.Text(), nullable=False),
        sa.Column("policy_number", sa.BigInteger(), nullable=True),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("closed", sa.BigInteger(), nullable=True),
        sa.Column("closed_by", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("move_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotion")),
    )
    op.create_index(
        op.f("ix_promotion_model_id_alias_state"), "promotion", ["model_id", "alias", "state"], unique=False
    )
    op.create_index(op.f("ix_promotion_state_expires"), "promotion", ["state", "expires"], unique=False)
    op.create_index(op.f("ix_promotion_updated"), "promotion", ["updated"], unique=False)
    op.create_index(op.f("ix_promotion_move_id"), "promotion", ["move_id"], unique=False)
    op.create_table(
        "promotion_review",
        sa.Column("id", _number, autoincrement=True, nullable=False),
        sa.Column("promotion_id", sa.String(length=32), nullable=False),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("owners_json", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["promotion_id"], ["promotion.id"], name=op.f("fk_promotion_review_promotion_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotion_review")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_promotion_review_promotion_id_id"), "promotion_review", ["promotion_id", "id"])
    op.create_table(
        "promotion_comment",
        sa.Column("id", _number, autoincrement=True, nullable=False),
        sa.Column("promotion_id", sa.String(length=32), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["promotion_id"], ["promotion.id"], name=op.f("fk_promotion_comment_promotion_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotion_comment")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_promotion_comment_promotion_id_id"), "promotion_comment", ["promotion_id", "id"])
    op.create_table(
        "check_job",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("promotion_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("settings_json", sa.Text(), nullable=False),
        sa.Column("cost", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("token_digest", sa.String(length=64), nullable=True),
        sa.Column("result_json", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["promotion_id"], ["promotion.id"], name=op.f("fk_check_job_promotion_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_check_job")),
        sa.UniqueConstraint("token_digest", name=op.f("uq_check_job_token_digest")),
    )
    op.create_index(op.f("ix_check_job_promotion_id_id"), "check_job", ["promotion_id", "id"])
    op.create_index(op.f("ix_check_job_state_cost_id"), "check_job", ["state", "cost", "id"])
