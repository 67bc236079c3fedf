"""The table of access tokens, beside :mod:`.schema`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, String, Table, Text

from jupyter_mlops.store.schema import metadata

# `digest` is the SHA-256 of the token, which is nowhere.
access_token = Table(
    "access_token",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("last_used", BigInteger),
    Index(None, "owner"),
)
