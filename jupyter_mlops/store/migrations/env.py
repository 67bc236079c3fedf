"""Alembic's environment: it is given a connection by :mod:`jupyter_mlops.store.migrate` and runs in its transaction."""

from __future__ import annotations

from alembic import context

from jupyter_mlops.store import schema

config = context.config
connection = config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=schema.metadata,
    version_table=config.get_main_option("version_table"),
    # SQLite can alter little in place; batches make a new table and copy.
    render_as_batch=connection.dialect.name == "sqlite",
)
context.run_migrations()
