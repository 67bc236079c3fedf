"""More tables, beside :mod:`.schema`: who uses a model, its card, whom to tell what happens to it, and seals."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from jupyter_mlops.store.schema import metadata

_RowNumber = BigInteger().with_variant(Integer, "sqlite")

# Who loads which version, by which reference (an alias with its @, or none) and what for.
model_consumer = Table(
    "model_consumer",
    metadata,
    Column("version_id", String(32), ForeignKey("model_version.id", ondelete="CASCADE"), primary_key=True),
    Column("consumer", Text, primary_key=True),
    Column("reference", Text, primary_key=True),
    Column("purpose", Text, primary_key=True),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("loads", BigInteger, nullable=False),
)

# What people wrote in place of the card that is drafted from the record.
model_card = Table(
    "model_card",
    metadata,
    Column("version_id", String(32), ForeignKey("model_version.id", ondelete="CASCADE"), primary_key=True),
    Column("text", Text, nullable=False),
    Column("edited_by", Text, nullable=False),
    Column("edited", BigInteger, nullable=False),
)

webhook = Table(
    "webhook",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", Text, nullable=False),
    # No foreign key: what was told last is that the model is gone.
    Column("model_id", String(32)),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("events_json", Text, nullable=False),
    Column("template", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Index(None, "owner"),
)

# Messages to webhooks. Written in the transaction of what they tell, in which the model is locked: so their numbers are
# in order for each model. `next_attempt` is also how long the one who claimed it may take.
webhook_delivery = Table(
    "webhook_delivery",
    metadata,
    Column("number", _RowNumber, primary_key=True, autoincrement=True),
    Column("webhook_id", String(32), ForeignKey("webhook.id", ondelete="CASCADE"), nullable=False),
    Column("model_id", String(32), nullable=False),
    Column("message_id", String(64), nullable=False),
    Column("kind", Text, nullable=False),
    Column("message_json", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("next_attempt", BigInteger, nullable=False),
    Column("claim", String(32)),
    Column("ended", BigInteger),
    Column("status", Integer),
    Column("error", Text, nullable=False),
    Index(None, "state", "webhook_id", "model_id", "number"),
    Index(None, "webhook_id", "number"),
    sqlite_autoincrement=True,
)

# A chain of digests over the rows of the tables that are permanent, in the order in which they were sealed.
audit_seal = Table(
    "audit_seal",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("source", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    UniqueConstraint("source", "number"),
)
