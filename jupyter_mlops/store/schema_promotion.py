"""The tables of promotion, beside :mod:`.schema`: policies, requests with what was said of them, and their checks.

None refers to a model by a foreign key: what they tell outlives it.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, sql

from jupyter_mlops.store.schema import metadata

_RowNumber = BigInteger().with_variant(Integer, "sqlite")

# Append-only: the last row of a model, or of a group, is in force. `policy_json` NULL takes the one before it back.
policy = Table(
    "policy",
    metadata,
    Column("number", _RowNumber, primary_key=True, autoincrement=True),
    Column("model_id", String(32)),
    Column("model", Text),
    Column("owner", Text),
    Column("policy_json", Text),
    Column("set_by", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Index(None, "model_id", "number"),
    Index(None, "owner", "number"),
    sqlite_autoincrement=True,
)

# `move_id` is the move of the alias that it came to; `policy_json` is the policy as it was when the request was made.
promotion = Table(
    "promotion",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("model_id", String(32), nullable=False),
    Column("model", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("alias", Text, nullable=False),
    Column("version", Integer),
    Column("digest", String(64), nullable=False),
    Column("run_id", String(32)),
    Column("safe", Boolean, nullable=False, server_default=sql.true()),
    Column("champion", Integer),
    Column("champion_digest", String(64)),
    Column("requester", Text, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("authors_json", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("policy_json", Text, nullable=False),
    Column("policy_number", BigInteger),
    Column("round", Integer, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("closed", BigInteger),
    Column("closed_by", Text),
    Column("outcome", Text, nullable=False),
    Column("move_id", BigInteger),
    Index(None, "model_id", "alias", "state"),
    Index(None, "state", "expires"),
    Index(None, "updated"),
    Index(None, "move_id"),
)

# Append-only. `owners_json` are the reviewer and their groups when they said it.
promotion_review = Table(
    "promotion_review",
    metadata,
    Column("id", _RowNumber, primary_key=True, autoincrement=True),
    Column("promotion_id", String(32), ForeignKey("promotion.id"), nullable=False),
    Column("reviewer", Text, nullable=False),
    Column("owners_json", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("round", Integer, nullable=False),
    Index(None, "promotion_id", "id"),
    sqlite_autoincrement=True,
)

# Append-only.
promotion_comment = Table(
    "promotion_comment",
    metadata,
    Column("id", _RowNumber, primary_key=True, autoincrement=True),
    Column("promotion_id", String(32), ForeignKey("promotion.id"), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index(None, "promotion_id", "id"),
    sqlite_autoincrement=True,
)

# The queue of workers, and what they found out. A job that nobody holds (`lease_until` is over, and there is no result)
# is anybody's to claim; `token_digest` is of the token that its code may ask the service with meanwhile, and what the
# worker shows that it has the job by. A result that somebody reported of their own accord is a row without a claim.
check_job = Table(
    "check_job",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("promotion_id", String(32), ForeignKey("promotion.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("settings_json", Text, nullable=False),
    Column("cost", Integer, nullable=False),
    Column("round", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Column("claimed_by", Text),
    Column("token_digest", String(64), unique=True),
    Column("result_json", Text),
    Index(None, "promotion_id", "id"),
    Index(None, "state", "cost", "id"),
)
