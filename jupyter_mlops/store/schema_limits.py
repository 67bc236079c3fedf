"""The tables of quotas and retention, beside :mod:`.schema`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, Table, Text

from jupyter_mlops.store.schema import metadata

# What an experiment (its runs, their files and metric points) or a model (the files of its versions) holds: counters
# that are written in the transaction of what they count, last of all, in the order of their holders. By holder and not
# by owner, so that a holder that is handed over takes its counters along. No foreign key: `holder` is the id of either.
usage = Table(
    "usage",
    metadata,
    Column("holder", String(32), primary_key=True),
    Column("runs", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("points", BigInteger, nullable=False),
)

# What administrators set for an owner, or for all users or groups that have nothing of their own: `kind` is `quota` or
# `retention`.
owner_rule = Table(
    "owner_rule",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("rule_json", Text, nullable=False),
    Column("set_by", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)
