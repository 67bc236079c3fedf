"""Keeps it: schema, migrations, group commit, metric history, search, content-addressed artifacts."""
