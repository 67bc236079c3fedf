"""The HTTP API: a tracker for many callers, each of whom sees what is theirs."""
