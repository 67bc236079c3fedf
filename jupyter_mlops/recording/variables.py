"""The environment variables by which a runner tells a kernel what it belongs to, and a user tells a session what to do;
``docs/settings.md`` describes them."""

RUN_ID = "MLOPS_RUN_ID"
RUN_NAME = "MLOPS_RUN_NAME"
RUN_DIR = "MLOPS_RUN_DIR"
SPOOL_DIR = "MLOPS_SPOOL_DIR"
SPOOL_LIMIT = "MLOPS_SPOOL_LIMIT"
EXPERIMENT = "MLOPS_EXPERIMENT"
STRICT = "MLOPS_STRICT"
